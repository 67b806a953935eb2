//! Partitions of several workers that share a goal, as samplers see them: summaries two ticks late, states that fall back to
//! the last commit when a worker is killed, and record time that goes on behind the wall clock while it is away.

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use tailwater::{
    model::{RecordTime, Threshold},
    sample::{
        Account, Adaptive, Candidate, Ceiling, Share, Shares, Summary,
        adaptive::{self, Means},
        budget,
        ceiling::{BURST, Between},
        keys::{Holder, Key},
        known::{Table as _, Written as _},
        rate,
        share::{Said as _, Split, fairly},
    },
};

use super::traces::{Trace, Traces};

/// What is committed of a partition: its head, and what it has by key.
pub type State = BTreeMap<Option<u64>, Vec<u8>>;

/// A sampler as a member of a cluster.
pub trait Member {
    /// The traces of a second, each with its threshold.
    fn second(&mut self, now: RecordTime, share: &Share, traces: &[Trace]) -> Vec<Threshold>;
    fn summary(&self) -> Option<Summary>;
    fn commit(&mut self, state: &mut State);
}

pub struct Cluster<M> {
    rng: Rng,
    make: Box<dyn Fn(&State) -> M>,
    goal: f64,
    split: Split,
    workers: Vec<Worker<M>>,
    partitions: Vec<Partition>,
    /// Summaries on their way: when they arrive.
    told: VecDeque<(i64, usize, Summary)>,
    now: i64,
    /// Seconds of the wall clock at which a worker is killed.
    pub kills: Vec<i64>,
    /// By how many seconds at most the clocks of partitions are behind each other.
    pub skew: i64,
}

struct Worker<M> {
    shares: Shares,
    /// By partition. None while it is down, up to this second.
    members: Option<BTreeMap<usize, M>>,
    back: i64,
}

#[derive(Default)]
struct Partition {
    state: State,
    latest: Option<Summary>,
    /// What is not decided yet, each second in turn.
    input: VecDeque<(i64, Vec<Trace>)>,
}

/// What became of a second of record time, all partitions together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Second {
    pub asked: f64,
    pub kept: f64,
}

const LATE: i64 = 2;
const DOWN: i64 = 7;

// === impl Cluster ===

impl<M: Member> Cluster<M> {
    pub fn new(
        seed: u64,
        partitions: usize,
        make: impl Fn(&State) -> M + 'static,
        (goal, split): (f64, Split),
    ) -> Self {
        let count = partitions.min(4);
        let all: Vec<Partition> = (0..partitions).map(|_| Partition::default()).collect();
        let workers = (0..count).map(|worker| {
            let members = (worker..partitions).step_by(count).map(|partition| (partition, make(&State::new())));
            Worker { shares: Shares::new(goal, partitions), members: Some(members.collect()), back: 0 }
        });
        Self {
            workers: workers.collect(),
            partitions: all,
            rng: Rng::with_seed(seed),
            make: Box::new(make),
            goal,
            split,
            told: VecDeque::new(),
            now: 0,
            kills: Vec::new(),
            skew: 0,
        }
    }

    /// One second of the wall clock: traces come, summaries arrive, workers decide. `each` hears of every trace that is decided,
    /// once, with its threshold and its second.
    pub fn second(&mut self, traces: Vec<Trace>, mut each: impl FnMut(i64, &Trace, Threshold)) {
        self.now += 1;
        let mut parts: Vec<Vec<Trace>> = vec![Vec::new(); self.partitions.len()];
        traces.into_iter().for_each(|trace| parts[trace.partition].push(trace));
        for (partition, traces) in self.partitions.iter_mut().zip(parts) {
            partition.input.push_back((self.now, traces));
        }
        while let Some((_, partition, summary)) = self.told.pop_front_if(|(due, ..)| *due <= self.now) {
            self.workers.iter_mut().for_each(|worker| worker.shares.hear(partition, summary.clone()));
            self.partitions[partition].latest = Some(summary);
        }
        let kill = self.kills.contains(&self.now).then(|| self.rng.usize(..self.workers.len()));
        for number in 0..self.workers.len() {
            self.turn(number, kill == Some(number), &mut each);
        }
    }

    fn turn(&mut self, number: usize, killed: bool, each: &mut impl FnMut(i64, &Trace, Threshold)) {
        self.restart(number);
        let worker = &mut self.workers[number];
        let Some(members) = &mut worker.members else { return };
        for (&at, member) in members {
            let partition = &mut self.partitions[at];
            while let Some((second, traces)) = partition.input.front() {
                let now = RecordTime((second - at as i64 * 7 % (self.skew + 1)) * 1000);
                let share = worker.shares.of(at, now, self.split);
                let thresholds = member.second(now, &share, traces);
                if killed {
                    // It was decided, and not committed: as if it had not been.
                    break;
                }
                traces.iter().zip(thresholds).for_each(|(trace, threshold)| each(*second, trace, threshold));
                member.commit(&mut partition.state);
                let summary = member.summary().expect("a batch was closed");
                self.told.push_back((self.now + LATE, at, summary));
                partition.input.pop_front();
            }
        }
        if killed {
            (worker.members, worker.back) = (None, self.now + DOWN);
        }
    }

    /// From what is committed, with the latest summary of each partition.
    fn restart(&mut self, number: usize) {
        let (count, worker) = (self.workers.len(), &mut self.workers[number]);
        if worker.members.is_some() || self.now < worker.back {
            return;
        }
        worker.shares = Shares::new(self.goal, self.partitions.len());
        for (at, partition) in self.partitions.iter().enumerate() {
            partition.latest.iter().for_each(|summary| worker.shares.hear(at, summary.clone()));
        }
        let own = (number..self.partitions.len()).step_by(count);
        worker.members = Some(own.map(|at| (at, (self.make)(&self.partitions[at].state))).collect());
    }
}

/// So many seconds, the traffic times `factor`: of each second of record time what became of it.
pub fn play<M: Member>(
    cluster: &mut Cluster<M>,
    traces: &mut Traces,
    seconds: i64,
    factor: impl Fn(i64, u64) -> f64,
) -> Vec<Second> {
    let mut all = vec![Second::default(); seconds as usize + 1];
    for second in 1..=seconds {
        let traces = traces.second(|key| factor(second, key));
        cluster.second(traces, |second, trace, threshold| {
            let place = &mut all[second as usize];
            place.asked += trace.cost as f64;
            place.kept += if trace.randomness.0 >= threshold.0 { trace.cost as f64 } else { 0.0 };
        });
    }
    all.remove(0);
    all
}

/// What a partition spends below a ceiling.
pub struct Spender {
    pub ceiling: Ceiling,
    pub account: Account,
}

pub fn rate(seed: u64, partitions: usize, goal: f64) -> Cluster<Spender> {
    below(seed, partitions, Ceiling::rate(goal, BURST))
}

pub fn budget(seed: u64, partitions: usize, goal: f64) -> Cluster<Spender> {
    below(seed, partitions, Ceiling::budget(goal, BURST))
}

fn below(seed: u64, partitions: usize, ceiling: Ceiling) -> Cluster<Spender> {
    let account = |bytes: &Vec<u8>| Account::from_bytes(bytes).expect("as written");
    let make = move |state: &State| Spender { ceiling, account: state.get(&None).map(account).unwrap_or_default() };
    Cluster::new(seed, partitions, make, (ceiling.per_second, ceiling.split()))
}

/// A throughput if it is 1 or more.
pub fn adaptive(seed: u64, partitions: usize, goal: f64) -> Cluster<Means> {
    let make = move |state: &State| {
        let goal = if goal < 1.0 { Adaptive::Probability(goal) } else { Adaptive::Throughput(goal) };
        let mut means = Means::new(goal, 100_000);
        for (key, bytes) in state {
            let holder = key.map_or(Holder::Group(0), |key| Holder::Key(Key(key)));
            means.restore(holder, adaptive::Written::from_bytes(bytes).expect("as written"));
        }
        means
    };
    Cluster::new(seed, partitions, make, (goal, fairly))
}

// === impl Member ===

impl Member for Spender {
    /// The class is in the low bits of the key.
    fn second(&mut self, now: RecordTime, share: &Share, traces: &[Trace]) -> Vec<Threshold> {
        let Self { ceiling, account } = self;
        let batch = match ceiling.between {
            Between::Keys => {
                let mut batch = candidates(traces, |trace| trace.key);
                rate::close(ceiling, account, now, share, &mut batch);
                batch
            }
            Between::Classes => {
                let mut batch = candidates(traces, |trace| trace.key % 4);
                budget::close(ceiling, account, now, share, &mut batch);
                batch
            }
        };
        thresholds(batch)
    }

    fn summary(&self) -> Option<Summary> {
        self.account.summary()
    }

    fn commit(&mut self, state: &mut State) {
        state.insert(None, self.account.to_bytes());
    }
}

impl Member for Means {
    fn second(&mut self, now: RecordTime, share: &Share, traces: &[Trace]) -> Vec<Threshold> {
        let thresholds = traces.iter().map(|trace| self.ask(trace.key, trace.cost as f64)).collect();
        self.advance(now, share);
        thresholds
    }

    fn summary(&self) -> Option<Summary> {
        self.summary()
    }

    fn commit(&mut self, state: &mut State) {
        self.write(&mut |holder, written| {
            let key = if let Holder::Key(key) = holder { Some(key.0) } else { None };
            state.insert(key, written.to_bytes());
            true
        });
    }
}

pub fn candidates(traces: &[Trace], key: impl Fn(&Trace) -> u64) -> Vec<Candidate> {
    let candidate = |(number, trace): (usize, &Trace)| Candidate {
        trace: number as u32,
        key: key(trace),
        cost: trace.cost,
        randomness: trace.randomness,
        threshold: Threshold::ALWAYS,
        elsewhere: false,
    };
    traces.iter().enumerate().map(candidate).collect()
}

pub fn thresholds(mut batch: Vec<Candidate>) -> Vec<Threshold> {
    batch.sort_unstable_by_key(|candidate| candidate.trace);
    batch.into_iter().map(|candidate| candidate.threshold).collect()
}
