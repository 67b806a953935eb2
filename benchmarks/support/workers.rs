//! Partitions of several workers that share what they learn by one rule: told two ticks late, and fallen back to the last commit when
//! a worker is killed.

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use tailwater::{
    decide::threshold,
    model::RecordTime,
    sample::{Learned, Measured, Name, Rule, States, keys::Key, slowest::Fate},
};

use super::traces::Trace;

pub struct Workers {
    rng: Rng,
    rule: Rule,
    /// Seconds.
    period: i64,
    partitions: usize,
    workers: Vec<Option<States>>,
    /// When a worker that is down is back.
    back: Vec<i64>,
    committed: BTreeMap<(u32, Name), Learned>,
    on_their_way: VecDeque<(i64, Learned)>,
    /// By partition: what is not decided yet.
    input: Vec<VecDeque<(i64, Vec<Trace>)>>,
    /// By period and key: traces, and how many of them were kept.
    pub kept: BTreeMap<(i64, u64), (u32, u32)>,
    now: i64,
    pub kills: Vec<i64>,
}

const LATE: i64 = 2;
const DOWN: i64 = 7;
/// The one sampler.
const SAMPLER: u64 = 1;
/// Of a worker, in a tick.
const STATE_BYTES: usize = 64 << 10;

// === impl Workers ===

impl Workers {
    /// `period` is in seconds.
    pub fn new(seed: u64, partitions: usize, rule: Rule, period: i64) -> Self {
        let workers = partitions.min(4);
        let mut all = Self {
            rng: Rng::with_seed(seed),
            rule,
            period,
            partitions,
            workers: (0..workers).map(|_| None).collect(),
            back: vec![0; workers],
            committed: BTreeMap::new(),
            on_their_way: VecDeque::new(),
            input: vec![VecDeque::new(); partitions],
            kept: BTreeMap::new(),
            now: 0,
            kills: Vec::new(),
        };
        (0..workers).for_each(|worker| all.start(worker));
        all
    }

    /// One second of the wall clock. `other`: whether another policy keeps the trace.
    pub fn second(&mut self, traces: Vec<Trace>, other: impl Fn(&Trace) -> bool) {
        self.now += 1;
        let mut parts: Vec<Vec<Trace>> = vec![Vec::new(); self.partitions];
        traces.into_iter().for_each(|trace| parts[trace.partition].push(trace));
        self.input.iter_mut().zip(parts).for_each(|(input, traces)| input.push_back((self.now, traces)));
        while let Some((_, learned)) = self.on_their_way.pop_front_if(|(due, _)| *due <= self.now) {
            let owner = learned.partition as usize % self.workers.len();
            for (_, states) in self.workers.iter_mut().enumerate().filter(|(worker, _)| *worker != owner) {
                states.iter_mut().for_each(|states| states.hear(&learned, &self.rule).expect("as written"));
            }
        }
        let killed = self.kills.contains(&self.now).then(|| self.rng.usize(..self.workers.len()));
        for worker in 0..self.workers.len() {
            if self.workers[worker].is_none() && self.now >= self.back[worker] {
                self.start(worker);
            }
            if self.workers[worker].is_some() {
                self.turn(worker, killed == Some(worker), &other);
            }
        }
    }

    fn turn(&mut self, worker: usize, killed: bool, other: &impl Fn(&Trace) -> bool) {
        let (rule, states) = (self.rule, self.workers[worker].as_mut().expect("it is up"));
        for partition in (worker..self.partitions).step_by(self.back.len()) {
            while let Some((second, traces)) = self.input[partition].front() {
                let verdicts: Vec<bool> = traces
                    .iter()
                    .zip(0_i64..)
                    .map(|(trace, at)| {
                        let time = RecordTime(second * 1000 + at * 1000 / traces.len() as i64);
                        let partition = partition as u32;
                        let measured = Measured { partition, key: Key(trace.key), value: 1.0, time };
                        let threshold = threshold(states.probability(SAMPLER, &rule, measured));
                        let chosen = trace.randomness.0 >= threshold.0;
                        let kept = chosen || other(trace);
                        states.learn(SAMPLER, &rule, measured, Fate { chosen, kept });
                        kept
                    })
                    .collect();
                if killed {
                    break;
                }
                for (trace, kept) in traces.iter().zip(verdicts) {
                    let count = self.kept.entry((second / self.period, trace.key)).or_default();
                    *count = (count.0 + 1, count.1 + u32::from(kept));
                }
                self.input[partition].pop_front();
            }
        }
        if killed {
            self.workers[worker] = None;
            self.back[worker] = self.now + DOWN;
            return;
        }
        states.write(STATE_BYTES, |learned| {
            self.committed.insert((learned.partition, learned.name), learned.clone());
            self.on_their_way.push_back((self.now + LATE, learned));
        });
    }

    /// From what is committed. Of others it hears as the rest do, what is on its way included: a start reads to the end.
    fn start(&mut self, worker: usize) {
        let workers = self.back.len();
        let mut states = States::default();
        states.share(self.partitions as u32);
        (worker..self.partitions).step_by(workers).for_each(|partition| states.assign(partition as u32));
        for learned in self.committed.values() {
            let is_own = learned.partition as usize % workers == worker;
            let taken = if is_own { States::restore } else { States::hear };
            taken(&mut states, learned, &self.rule).expect("as written");
        }
        self.workers[worker] = Some(states);
    }
}
