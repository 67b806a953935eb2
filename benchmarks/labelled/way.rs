//! Policies on engines of their own, which share the partitions and hear of each other two ticks late.

use fastrand::Rng;
use tailwater::{
    assemble::Start,
    engine::{Engine, Full, Record},
    model::RecordTime,
    tick::Tick,
};

use super::support::{
    Form,
    feed::settings,
    partitions::{Told, draw},
    policies::compile,
};

pub struct Way {
    /// Of four workers at most: a partition is the engine's that its place comes to, in turn.
    engines: Vec<Engine>,
    partitions: Vec<Partition>,
    rng: Rng,
    told: Told,
    ticks: i64,
    /// Milliseconds of the last tick, or of the first record.
    cut: Option<i64>,
    /// By the number of a trace, from 1 on: it is kept.
    kept: Vec<bool>,
}

#[derive(Clone, Default)]
struct Partition {
    offset: i64,
    /// Something has come since the last tick.
    moved: bool,
}

/// Milliseconds of record time.
const TICK: i64 = 1000;
const WORKERS: usize = 4;

// === impl Way ===

impl Way {
    /// Keeps a share of the traces, where so many come in a second, over so many partitions.
    pub fn ours(share: f64, rate: f64, partitions: usize) -> Self {
        Self::over(ours(share, rate), partitions)
    }

    pub fn uniform(share: f64) -> Self {
        Self::new(format!("policies: []\notherwise: {{ probability: {share} }}"))
    }

    pub fn errors_only() -> Self {
        Self::new(format!("policies:\n{ERRORS}"))
    }

    pub fn new(policies: String) -> Self {
        Self::over(policies, 1)
    }

    fn over(policies: String, partitions: usize) -> Self {
        let policies = compile(policies);
        let engine = || {
            let mut engine = Engine::new(settings(Form::Keyed), policies.clone());
            engine.share(partitions as u32);
            engine
        };
        let mut engines: Vec<Engine> = (0..partitions.min(WORKERS)).map(|_| engine()).collect();
        let count = engines.len();
        for place in 0..partitions {
            engines[place % count].assign(Start { rank: place as u32, ..Start::at(0) });
        }
        Self {
            engines,
            partitions: vec![Partition::default(); partitions],
            rng: Rng::with_seed(partitions as u64),
            told: Told::default(),
            ticks: 0,
            cut: None,
            kept: Vec::new(),
        }
    }

    /// A record with a whole trace, in the order of time.
    pub fn take(&mut self, at_ms: i64, value: &[u8]) {
        let passed = at_ms - *self.cut.get_or_insert(at_ms);
        if passed >= TICK {
            self.rest(passed);
            self.cut = Some(at_ms);
            self.tick();
        }
        let place = draw(&mut self.rng, self.partitions.len());
        let (worker, partition) = self.find(place);
        let timestamp = Some(RecordTime(at_ms));
        let Partition { offset, .. } = self.partitions[place];
        self.partitions[place] = Partition { offset: offset + 1, moved: true };
        let record = Record { partition, offset, timestamp, headers: &(), payload: Some(value) };
        while self.engines[worker].ingest(record, RecordTime::END) == Err(Full) {
            self.tick();
        }
    }

    /// Of each trace, whether it is kept.
    pub fn finish(mut self) -> Vec<bool> {
        for place in 0..self.partitions.len() {
            let (worker, partition) = self.find(place);
            self.engines[worker].finish(partition);
        }
        self.tick();
        self.kept
    }

    /// Of a partition, the engine, and its number there.
    fn find(&self, place: usize) -> (usize, u32) {
        (place % self.engines.len(), (place / self.engines.len()) as u32)
    }

    /// Time passes where nothing comes, too.
    fn rest(&mut self, ms: i64) {
        for place in 0..self.partitions.len() {
            if !std::mem::take(&mut self.partitions[place].moved) {
                let (worker, partition) = self.find(place);
                self.engines[worker].elapse(partition, ms as u64, RecordTime::END);
            }
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        self.told.hear(self.ticks, self.engines.len(), self.engines.iter_mut().enumerate());
        for worker in 0..self.engines.len() {
            while self.engines[worker].advance() == Err(Full) {
                let tick = self.engines[worker].cut();
                self.settle(worker, tick);
            }
            let tick = self.engines[worker].cut();
            self.settle(worker, tick);
        }
    }

    fn settle(&mut self, worker: usize, tick: Tick) {
        for (_, decision) in &tick.decisions {
            let number = u64::from_be_bytes(decision.trace.0[..8].try_into().expect("8 of 16 bytes")) as usize;
            self.kept.resize(self.kept.len().max(number), false);
            self.kept[number - 1] = decision.verdict.keep;
        }
        for learned in &tick.states {
            let place = worker + learned.partition as usize * self.engines.len();
            self.told.tell(self.ticks, learned.clone().called(place as u32));
        }
        self.engines[worker].settle(tick, &[]);
    }
}

const ERRORS: &str = "  - { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always, protect: true }";

/// What a budget leaves is for the slowest and the rare of each shape, as all pages of this shop are one operation. In a calm hour they
/// and the rest ask for half of it, so that there is something saved up when a fault comes.
fn ours(share: f64, rate: f64) -> String {
    let (slowest, rest, budget) = (1.0 - share / 4.0, share / 4.0, share * rate);
    let at_least = (100.0 * share).max(1.0) as u32;
    // Of each window some of each kind are kept, however few there are to be: in 10 minutes that would be all of a thousandth.
    let (window, per) = if share < 0.01 { ("2h", "2h") } else { ("10m", "15m") };
    format!(
        "
policies:
{ERRORS}
  - name: slowest
    keep: {{ slowest: {{ quantile: {slowest}, by: [root.service, root.name, trace.shape], window: {window} }} }}
    protect: true
  - name: rare
    keep: {{ rare: {{ by: [root.service, root.name, trace.shape], at_least: {at_least}, per: {per} }} }}
    protect: true
  - {{ name: rest, keep: {{ probability: {rest} }} }}
budget: {{ traces_per_second: {budget}, burst: 10m, give_way: [rest] }}
"
    )
}
