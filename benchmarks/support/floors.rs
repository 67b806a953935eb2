//! Partitions of several workers that share floors, as `rare` sees them: told two ticks late, and fallen back to the last
//! commit when a worker is killed.

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use tailwater::{
    model::RecordTime,
    sample::{Rare, rare::Told},
};

use super::traces::Trace;

pub struct Floors {
    rng: Rng,
    at_least: u32,
    /// Seconds.
    period: i64,
    partitions: usize,
    workers: Vec<Option<Rare>>,
    /// When a worker that is down is back.
    back: Vec<i64>,
    /// By partition and key, as it arrived.
    committed: BTreeMap<(usize, u64), Told>,
    on_their_way: VecDeque<(i64, usize, u64, Told)>,
    /// By partition: what is not decided yet.
    input: Vec<VecDeque<(i64, Vec<Trace>)>>,
    /// By period and key: traces, and how many of them were kept.
    pub kept: BTreeMap<(i64, u64), (u32, u32)>,
    now: i64,
    pub kills: Vec<i64>,
}

const LATE: i64 = 2;
const DOWN: i64 = 7;
const LIMIT: usize = 100_000;

// === impl Floors ===

impl Floors {
    pub fn new(seed: u64, partitions: usize, at_least: u32, period: i64) -> Self {
        let workers = partitions.min(4);
        let mut floors = Self {
            rng: Rng::with_seed(seed),
            at_least,
            period,
            partitions,
            workers: vec![None; workers],
            back: vec![0; workers],
            committed: BTreeMap::new(),
            on_their_way: VecDeque::new(),
            input: vec![VecDeque::new(); partitions],
            kept: BTreeMap::new(),
            now: 0,
            kills: Vec::new(),
        };
        (0..workers).for_each(|worker| floors.start(worker));
        floors
    }

    /// One second of the wall clock. `other`: whether another policy keeps the trace.
    pub fn second(&mut self, traces: Vec<Trace>, other: impl Fn(&Trace) -> bool) {
        self.now += 1;
        let mut parts: Vec<Vec<Trace>> = vec![Vec::new(); self.partitions];
        traces.into_iter().for_each(|trace| parts[trace.partition].push(trace));
        self.input.iter_mut().zip(parts).for_each(|(input, traces)| input.push_back((self.now, traces)));
        while let Some((_, partition, key, told)) = self.on_their_way.pop_front_if(|(due, ..)| *due <= self.now) {
            self.workers.iter_mut().flatten().for_each(|rare| rare.hear(partition, key, told));
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
        let rare = self.workers[worker].as_mut().expect("it is up");
        for partition in (worker..self.partitions).step_by(self.back.len()) {
            while let Some((second, traces)) = self.input[partition].front() {
                let verdicts: Vec<bool> = traces
                    .iter()
                    .zip(0_i64..)
                    .map(|(trace, at)| {
                        let now = RecordTime(second * 1000 + at * 1000 / traces.len() as i64);
                        let kept = rare.ask(trace.key, now) || other(trace);
                        rare.learn(partition, trace.key, now, kept);
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
                rare.changes(partition, |key, told| {
                    self.committed.insert((partition, key), told);
                    self.on_their_way.push_back((self.now + LATE, partition, key, told));
                });
                self.input[partition].pop_front();
            }
        }
        if killed {
            self.workers[worker] = None;
            self.back[worker] = self.now + DOWN;
        }
    }

    /// From what is committed, what is on its way included: a start reads to the end.
    fn start(&mut self, worker: usize) {
        let workers = self.back.len();
        let mut rare = Rare::new(self.at_least, self.period as u64 * 1000, LIMIT, self.partitions, workers as u32);
        (worker..self.partitions).step_by(workers).for_each(|partition| rare.own(partition, true));
        for (&(partition, key), told) in &self.committed {
            let told = Told::from_bytes(&told.to_bytes()).expect("as written");
            if partition % workers == worker {
                rare.restore(partition, key, told, false);
            } else {
                rare.hear(partition, key, told.whole());
            }
        }
        // What it has just read is not told it again.
        let own = std::mem::take(&mut self.on_their_way);
        own.iter().for_each(|(due, partition, key, told)| {
            if *due > self.now {
                self.workers.iter_mut().flatten().for_each(|other| other.hear(*partition, *key, *told));
            }
        });
        self.workers[worker] = Some(rare);
    }
}
