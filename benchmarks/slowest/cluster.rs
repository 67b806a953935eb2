//! Partitions, the workers that own them, and what these know of each other.

use std::{
    collections::{BTreeMap, VecDeque},
    iter,
};

use fastrand::Rng;
use tailwater::{
    model::RecordTime,
    sample::{
        coverage::Coverage,
        keys::{self, Holder, Key, Keys},
        known::Table as _,
        slowest::{Fate, Slowest, State, Window},
    },
};

use super::traffic::{Trace, WINDOW};

/// How traffic is spread over partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    pub partitions: usize,
    /// The first has half of it.
    pub skewed: bool,
}

pub struct Cluster {
    rule: Slowest,
    spread: Spread,
    partitions: Vec<Keys>,
    /// By worker: what the others know of its partitions.
    known: Vec<Keys>,
    /// By tick, the newest last: what has been written of each worker's partitions.
    written: VecDeque<Vec<(usize, Holder, State)>>,
    tick: i64,
    rng: Rng,
    over: BTreeMap<(Holder, RecordTime), Window>,
    /// Minute by minute: the least value of operation 0 that would be kept.
    pub thresholds: Vec<f64>,
}

pub const QUANTILE: f64 = 0.999;
const WORKERS: usize = 4;
/// In milliseconds.
const TICK: i64 = 1000;
/// What is written in a tick is known to others so many ticks later.
const LATE: usize = 2;

// === impl Cluster ===

impl Cluster {
    pub fn new(spread: Spread, most_keys: usize, seed: u64) -> Self {
        let rule = Slowest::new(QUANTILE, WINDOW);
        let keys = || Keys::new(rule, most_keys, RecordTime(0));
        Self {
            rule,
            spread,
            partitions: (0..spread.partitions).map(|_| keys()).collect(),
            known: (0..WORKERS).map(|_| keys()).collect(),
            written: VecDeque::new(),
            tick: 0,
            rng: Rng::with_seed(seed),
            over: BTreeMap::new(),
            thresholds: Vec::new(),
        }
    }

    /// Whether a trace is kept.
    pub fn take(&mut self, trace: &Trace) -> bool {
        while self.tick < trace.at.0.div_euclid(TICK) {
            self.tick();
        }
        let key = key(trace.operation);
        let partition = self.partition();
        let probability = self.probability(partition % WORKERS, key, trace.value, trace.at);
        let kept = probability > 0.0 && self.rng.f64() < probability;
        let over = self.partitions[partition].learn(key, trace.value, Fate { chosen: kept, kept }, trace.at);
        self.finish(over);
        kept
    }

    /// What the sampler itself says of an operation it has kept a state for, all windows together.
    pub fn coverage(&mut self, operation: u16) -> Coverage {
        for partition in 0..self.partitions.len() {
            let over = self.partitions[partition].advance(RecordTime::END);
            self.finish(over);
        }
        let mut all = Coverage::default();
        let own = self.over.iter().filter(|((holder, _), _)| *holder == Holder::Key(key(operation)));
        own.for_each(|(_, window)| all += Coverage::of(window));
        all
    }

    /// Bytes of all partitions.
    pub fn bytes(&self) -> usize {
        self.partitions.iter().map(Keys::bytes).sum()
    }

    /// In the eyes of one worker.
    fn probability(&self, worker: usize, key: Key, value: f64, at: RecordTime) -> f64 {
        let own = self.partitions.iter().skip(worker).step_by(WORKERS);
        let others = (0..WORKERS).filter(|other| *other != worker).map(|other| &self.known[other]);
        keys::probability(&self.rule, key, value, at, own.chain(others), |_| iter::empty())
    }

    /// Between a nanosecond and an hour, to a thousandth.
    fn threshold(&self) -> f64 {
        let (mut from, mut to): (f64, f64) = (1.0, 3.6e12);
        while to > 1.001 * from {
            let value = (from * to).sqrt();
            let kept = self.probability(0, key(0), value, RecordTime(self.tick * TICK)) >= 0.5;
            *if kept { &mut to } else { &mut from } = value;
        }
        to
    }

    fn partition(&mut self) -> usize {
        let Spread { partitions, skewed } = self.spread;
        if skewed && self.rng.bool() { 0 } else { self.rng.usize(..partitions) }
    }

    fn tick(&mut self) {
        self.tick += 1;
        if self.tick % 60 == 0 {
            self.thresholds.push(self.threshold());
        }
        if self.spread.partitions == 1 {
            return;
        }
        let mut written = Vec::new();
        for worker in 0..WORKERS {
            let mut touched: Vec<Holder> = Vec::new();
            for keys in self.partitions.iter_mut().skip(worker).step_by(WORKERS) {
                keys.write(|holder, _| {
                    touched.push(holder);
                    true
                });
            }
            touched.sort_unstable();
            touched.dedup();
            for holder in touched {
                let mut own =
                    self.partitions.iter().skip(worker).step_by(WORKERS).filter_map(|keys| keys.state(holder));
                let Some(mut state) = own.next().cloned() else { continue };
                own.for_each(|other| state.merge(&self.rule, other));
                written.push((worker, holder, state));
            }
        }
        self.written.push_back(written);
        if self.written.len() > LATE {
            for (worker, holder, state) in self.written.pop_front().into_iter().flatten() {
                self.known[worker].put(holder, state);
            }
        }
    }

    fn finish(&mut self, over: Vec<(Holder, Window)>) {
        for (holder, window) in over {
            let place = self.over.entry((holder, window.start));
            place.and_modify(|all| all.merge(&window)).or_insert(window);
        }
    }
}

fn key(operation: u16) -> Key {
    // Fibonacci hashing.
    Key((u64::from(operation) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
