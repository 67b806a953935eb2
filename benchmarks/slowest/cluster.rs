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
    /// By partition: what other workers know of it.
    known: Vec<Keys>,
    /// By tick, the newest last: what has been written of each partition.
    written: VecDeque<Vec<(usize, Holder, State)>>,
    tick: i64,
    rng: Rng,
    covered: BTreeMap<Holder, Coverage>,
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
            known: (0..spread.partitions).map(|_| keys()).collect(),
            written: VecDeque::new(),
            tick: 0,
            rng: Rng::with_seed(seed),
            covered: BTreeMap::new(),
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
        self.finish(partition, over);
        kept
    }

    /// What the sampler itself says of an operation it has kept a state for, all windows together.
    pub fn coverage(&mut self, operation: u16) -> Coverage {
        for partition in 0..self.partitions.len() {
            let over = self.partitions[partition].advance(RecordTime::END);
            self.finish(partition, over);
        }
        self.covered.get(&Holder::Key(key(operation))).copied().unwrap_or_default()
    }

    /// Bytes of all partitions.
    pub fn bytes(&self) -> usize {
        self.partitions.iter().map(Keys::bytes).sum()
    }

    fn probability(&self, worker: usize, key: Key, value: f64, at: RecordTime) -> f64 {
        let all = self.seen_by(worker).map(|(_, keys)| keys);
        keys::probability(&self.rule, key, value, at, all, |_| iter::empty())
    }

    /// All partitions in the eyes of one worker.
    fn seen_by(&self, worker: usize) -> impl Iterator<Item = (u32, &Keys)> + Clone {
        let seen = self.partitions.iter().zip(&self.known).enumerate();
        seen.map(move |(at, (own, known))| (at as u32, if at % WORKERS == worker { own } else { known }))
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
        for (partition, keys) in self.partitions.iter_mut().enumerate() {
            keys.write(|holder, state| {
                written.push((partition, holder, state.clone()));
                true
            });
        }
        self.written.push_back(written);
        if self.written.len() > LATE {
            for (partition, holder, state) in self.written.pop_front().into_iter().flatten() {
                self.known[partition].put(holder, state);
            }
        }
    }

    fn finish(&mut self, partition: usize, over: Vec<(Holder, Window)>) {
        for (holder, window) in over {
            let seen = self.seen_by(partition % WORKERS);
            let states = seen.filter_map(|(of, keys)| Some((of, keys.state(holder)?)));
            let covered = keys::coverage(&self.rule, partition as u32, &window, states);
            *self.covered.entry(holder).or_default() += covered;
        }
    }
}

fn key(operation: u16) -> Key {
    // Fibonacci hashing.
    Key((u64::from(operation) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
