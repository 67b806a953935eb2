//! Workers that learn, of partitions that one of them has at a time, and hear of each other.

use std::collections::{BTreeMap, VecDeque};

use tailwater::{
    model::RecordTime,
    sample::{
        keys::Holder,
        quiet::Quiet,
        trail::Gaps,
        waits::{Wait, Waits},
    },
};

use super::{key, traffic::Trace};

pub struct Cluster {
    rule: Quiet,
    partitions: u32,
    workers: Vec<Waits>,
    /// What was last written, by partition and holder.
    log: BTreeMap<(u32, Holder), Vec<u8>>,
    /// What was written of late, and when.
    told: VecDeque<(i64, u32, Holder)>,
    /// Seconds from one kill to the next.
    kills: u64,
    /// The second that is over.
    second: i64,
    killed: usize,
}

const WORKERS: usize = 4;

/// What was written is heard so many seconds later.
const LATE: i64 = 2;

/// Bytes of what a worker has learned.
const ROOM: usize = 64 << 20;

/// States that a worker writes each second; they are some hundred bytes each.
const WRITES: usize = 64;

// === impl Cluster ===

impl Cluster {
    pub fn new(rule: Quiet, partitions: u32, kills: u64) -> Self {
        let workers = (0..WORKERS.min(partitions as usize)).map(|_| Waits::new(rule, ROOM)).collect();
        let (log, told) = (BTreeMap::new(), VecDeque::new());
        Self { rule, partitions, workers, log, told, kills, second: 0, killed: 0 }
    }

    pub fn wait(&mut self, trace: &Trace) -> Wait {
        let worker = self.worker(self.partition(trace));
        self.workers[worker].wait(key(trace.operation.into()))
    }

    /// By a trace that waited so.
    pub fn learn(&mut self, trace: &Trace, wait: Wait, gaps: &[Gaps], now: RecordTime) {
        while self.second < now.0 / 1000 {
            self.second += 1;
            self.pass();
        }
        let partition = self.partition(trace);
        let worker = self.worker(partition);
        self.workers[worker].learn(partition, key(trace.operation.into()), gaps, wait.is_known, now);
    }

    pub fn bytes(&self) -> usize {
        self.workers.iter().map(Waits::bytes).sum()
    }

    /// The first has half of the traffic, if there are several.
    fn partition(&self, trace: &Trace) -> u32 {
        match trace.place / 2 {
            place if self.partitions > 1 && trace.place % 2 == 1 => 1 + place % (self.partitions - 1),
            _ => 0,
        }
    }

    fn worker(&self, partition: u32) -> usize {
        partition as usize % self.workers.len()
    }

    /// A second is over.
    fn pass(&mut self) {
        let Self { workers, log, told, second, .. } = self;
        for worker in &mut *workers {
            let mut written = 0;
            for (partition, table) in worker.tables() {
                table.write(&mut |holder, state| {
                    let has_room = written < WRITES;
                    if has_room {
                        log.insert((partition, holder), state.to_bytes());
                        told.push_back((*second, partition, holder));
                        written += 1;
                    }
                    has_room
                });
            }
        }
        while let Some((_, partition, holder)) = self.told.pop_front_if(|(at, ..)| *at + LATE <= self.second) {
            for worker in 0..self.workers.len() {
                self.hear(worker, partition, holder);
            }
        }
        // No second is a multiple of 0.
        if (self.second as u64).is_multiple_of(self.kills) {
            self.kill();
        }
    }

    fn hear(&mut self, worker: usize, partition: u32, holder: Holder) {
        if self.worker(partition) != worker {
            self.workers[worker].hear(partition, holder, &self.log[&(partition, holder)]).expect("it was written so");
        }
    }

    /// A worker knows what was written, and nothing else.
    fn kill(&mut self) {
        let worker = self.killed % self.workers.len();
        self.killed += 1;
        self.workers[worker] = Waits::new(self.rule, ROOM);
        let written: Vec<(u32, Holder)> = self.log.keys().copied().collect();
        for (partition, holder) in written {
            self.hear(worker, partition, holder);
            if self.worker(partition) == worker {
                let state = &self.log[&(partition, holder)];
                self.workers[worker].restore(partition, holder, state).expect("it was written so");
            }
        }
    }
}
