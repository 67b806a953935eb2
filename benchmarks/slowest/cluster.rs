//! Partitions, the workers that own them, and what these know of each other.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    iter, mem,
    vec::Drain,
};

use fastrand::Rng;
use tailwater::{
    model::RecordTime,
    sample::{
        Learned,
        coverage::Coverage,
        keys::{self, Holder, Key, Keys},
        known::{Table as _, Written as _},
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
    most_keys: usize,
    partitions: Vec<Partition>,
    /// By tick, the newest last: what has been written of each partition.
    written: VecDeque<Vec<(usize, Holder, State)>>,
    tick: i64,
    rng: Rng,
    covered: BTreeMap<Holder, Coverage>,
    /// In these ticks one of the workers is killed, each in its turn.
    kills: BTreeSet<i64>,
    killed: usize,
    /// By worker: the tick in which it is back, if it is down.
    back: [Option<i64>; WORKERS],
    /// What has been committed and not been asked for.
    verdicts: Vec<(Trace, bool)>,
    /// Minute by minute: the least value of operation 0 that would be kept.
    pub thresholds: Vec<f64>,
}

struct Partition {
    keys: Keys,
    /// What other workers know of it.
    known: Keys,
    /// All that was written of it: what is left when its worker is killed.
    committed: BTreeMap<Holder, State>,
    /// What the tick under way has decided.
    verdicts: Vec<(Trace, bool)>,
    /// And has told of windows that are over.
    told: Vec<(Holder, Coverage)>,
    /// What nobody has decided, as its worker is down.
    waiting: Vec<Trace>,
}

pub const QUANTILE: f64 = 0.999;
const WORKERS: usize = 4;
/// In milliseconds.
const TICK: i64 = 1000;
/// What is written in a tick is known to others so many ticks later.
const LATE: usize = 2;
/// So many ticks after it was killed a worker is back.
const DOWN: i64 = 7;
/// What a worker writes of states in a tick, as the engine has it.
const STATE_BYTES: usize = 64 << 10;

// === impl Cluster ===

impl Cluster {
    pub fn new(spread: Spread, most_keys: usize, seed: u64) -> Self {
        let rule = Slowest::new(QUANTILE, WINDOW);
        Self {
            rule,
            spread,
            most_keys,
            partitions: (0..spread.partitions).map(|_| Partition::new(rule, most_keys)).collect(),
            written: VecDeque::new(),
            tick: 0,
            rng: Rng::with_seed(seed),
            covered: BTreeMap::new(),
            kills: BTreeSet::new(),
            killed: 0,
            back: [None; WORKERS],
            verdicts: Vec::new(),
            thresholds: Vec::new(),
        }
    }

    /// In each of these windows workers are killed ten times: in its first second, and so late that it ends while one is down.
    pub fn kill_in(mut self, windows: impl IntoIterator<Item = u64>) -> Self {
        let begins = windows.into_iter().map(|window| (window * WINDOW) as i64 / TICK);
        self.kills = begins.flat_map(|begin| (0..10).map(move |kill| begin + 1 + 66 * kill)).collect();
        self
    }

    pub fn take(&mut self, trace: Trace) {
        while self.tick < trace.at.0.div_euclid(TICK) {
            self.tick();
        }
        let partition = self.partition();
        if self.back[partition % WORKERS].is_some() {
            self.partitions[partition].waiting.push(trace);
        } else {
            self.decide(partition, trace);
        }
    }

    /// No more comes.
    pub fn end(&mut self) {
        for worker in 0..WORKERS {
            self.resume(worker);
            self.commit(worker);
        }
    }

    /// Verdicts that have been committed since this was last asked.
    pub fn verdicts(&mut self) -> Drain<'_, (Trace, bool)> {
        self.verdicts.drain(..)
    }

    /// What the sampler itself says of an operation it has kept a state for, all windows together.
    pub fn coverage(&mut self, operation: u16) -> Coverage {
        for partition in 0..self.partitions.len() {
            let over = self.partitions[partition].keys.advance(RecordTime::END);
            self.tell(partition, over);
        }
        self.end();
        self.covered.get(&Holder::Key(key(operation))).copied().unwrap_or_default()
    }

    /// Bytes of all partitions.
    pub fn bytes(&self) -> usize {
        self.partitions.iter().map(|partition| partition.keys.bytes()).sum()
    }

    fn probability(&self, worker: usize, key: Key, value: f64, at: RecordTime) -> f64 {
        let all = self.seen_by(worker).map(|(_, keys)| keys);
        keys::place(&self.rule, key, value, at, all, |_| iter::empty()).probability()
    }

    /// All partitions in the eyes of one worker.
    fn seen_by(&self, worker: usize) -> impl Iterator<Item = (u32, &Keys)> + Clone {
        let seen = self.partitions.iter().enumerate();
        seen.map(move |(at, of)| (at as u32, if at % WORKERS == worker { &of.keys } else { &of.known }))
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

    fn decide(&mut self, partition: usize, trace: Trace) {
        let Trace { at, operation, value } = trace;
        let key = key(operation);
        let probability = self.probability(partition % WORKERS, key, value, at);
        let kept = probability > 0.0 && self.rng.f64() < probability;
        let of = &mut self.partitions[partition];
        of.verdicts.push((trace, kept));
        let over = of.keys.learn(key, value, Fate { chosen: kept, kept }, at);
        self.tell(partition, over);
    }

    fn tick(&mut self) {
        self.tick += 1;
        if self.tick % 60 == 0 {
            self.thresholds.push(self.threshold());
        }
        self.written.push_back(Vec::new());
        let killed = self.kills.contains(&self.tick).then(|| self.next_killed());
        for worker in 0..WORKERS {
            if self.back[worker] == Some(self.tick) {
                self.resume(worker);
            }
            if killed == Some(worker) {
                self.kill(worker);
            } else if self.back[worker].is_none() {
                self.commit(worker);
            }
        }
        if self.written.len() > LATE {
            for (partition, holder, state) in self.written.pop_front().into_iter().flatten() {
                self.partitions[partition].known.put(holder, state);
            }
        }
    }

    /// Of those that have a partition.
    fn next_killed(&mut self) -> usize {
        self.killed += 1;
        (self.killed - 1) % self.spread.partitions.min(WORKERS)
    }

    /// What the tick under way has decided was never written, and is decided again.
    fn kill(&mut self, worker: usize) {
        self.back[worker] = Some(self.tick + DOWN);
        for partition in self.partitions.iter_mut().skip(worker).step_by(WORKERS) {
            partition.fall_back(Keys::new(self.rule, self.most_keys, RecordTime(0)));
        }
    }

    /// It reads on from what is committed.
    fn resume(&mut self, worker: usize) {
        self.back[worker] = None;
        for partition in (worker..self.partitions.len()).step_by(WORKERS) {
            for trace in mem::take(&mut self.partitions[partition].waiting) {
                self.decide(partition, trace);
            }
        }
    }

    /// Verdicts are written, and of states as many as there is room for; the partitions have the first turn one after the other.
    fn commit(&mut self, worker: usize) {
        let mut own: Vec<usize> = (worker..self.partitions.len()).step_by(WORKERS).collect();
        let turn = self.tick as usize % own.len().max(1);
        own.rotate_left(turn);
        let mut room = STATE_BYTES;
        for number in own {
            let Partition { keys, committed, verdicts, told, .. } = &mut self.partitions[number];
            self.verdicts.append(verdicts);
            told.drain(..).for_each(|(holder, covered)| *self.covered.entry(holder).or_default() += covered);
            keys.write(|holder, state| {
                let fits = room > 0;
                if fits {
                    room = room.saturating_sub(state.to_bytes().len() + size_of::<Learned>());
                    committed.insert(holder, state.clone());
                    self.written.back_mut().into_iter().for_each(|tick| tick.push((number, holder, state.clone())));
                }
                fits
            });
        }
    }

    fn tell(&mut self, partition: usize, over: Vec<(Holder, Window)>) {
        for (holder, window) in over {
            let seen = self.seen_by(partition % WORKERS);
            let states = seen.filter_map(|(of, keys)| Some((of, keys.state(holder)?)));
            let covered = keys::coverage(&self.rule, partition as u32, &window, states);
            self.partitions[partition].told.push((holder, covered));
        }
    }
}

// === impl Partition ===

impl Partition {
    fn new(rule: Slowest, most_keys: usize) -> Self {
        let keys = || Keys::new(rule, most_keys, RecordTime(0));
        Self {
            keys: keys(),
            known: keys(),
            committed: BTreeMap::new(),
            verdicts: Vec::new(),
            told: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// To what is committed.
    fn fall_back(&mut self, mut keys: Keys) {
        self.committed.iter().for_each(|(holder, state)| keys.put(*holder, state.clone()));
        self.keys = keys;
        self.told.clear();
        self.waiting.extend(self.verdicts.drain(..).map(|(trace, _)| trace));
    }
}

fn key(operation: u16) -> Key {
    // Fibonacci hashing.
    Key((u64::from(operation) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
