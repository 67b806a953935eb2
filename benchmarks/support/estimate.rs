//! Whether a kept sample tells the truth: Horvitz–Thompson estimates under overlapping policies and a budget's cuts.

use std::{
    iter,
    num::NonZero,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use tailwater::{
    estimate::{Estimated, Sum},
    model::{RecordTime, Threshold},
    sample::{Account, Adaptive, Candidate, Ceiling, Share, adaptive::Means, budget, ceiling::BURST, rate},
};

use super::{
    cluster::{candidates, thresholds},
    traces::{Trace, Traces},
    workers::{self, Workers, is_rated},
};

/// Of many runs, in what share an interval of 95 % covered the truth.
pub struct Coverage {
    pub shares: Vec<(&'static str, f64)>,
    /// The share of traces that were not kept whatever their randomness: no estimate knows of them.
    pub starved: f64,
    /// How many traces were estimated to one that came.
    pub estimated: f64,
}

/// What is estimated adds up what traces are.
struct Kind {
    spans: f64,
    is_error: bool,
    is_long: bool,
    is_rated: bool,
}

/// A sum over all traces, estimated from those that were kept.
#[derive(Clone, Copy, Debug, Default)]
struct Estimate {
    truth: f64,
    kept: Sum,
}

/// What came of a run.
#[derive(Clone, Copy, Default)]
struct Sample {
    estimates: [Estimate; QUANTITIES.len()],
    starved: u64,
}

/// What is estimated, and what each trace adds to it.
type Quantity = (&'static str, fn(&Kind) -> f64);

const QUANTITIES: [Quantity; 6] = [
    ("traces", |_| 1.0),
    ("spans", |kind| kind.spans),
    ("errors", |kind| f64::from(u8::from(kind.is_error))),
    ("long traces", |kind| f64::from(u8::from(kind.is_long))),
    ("traces of a rate", |kind| f64::from(u8::from(kind.is_rated))),
    ("others", |kind| f64::from(u8::from(!kind.is_rated && !kind.is_error))),
];

const KEYS: usize = 100;

const SECONDS: i64 = 12;

/// Seconds before anything is estimated: a bucket begins empty, and few traces have to stand for many.
const WARM_UP: i64 = 4;

/// Seconds that are estimated together.
const COUNTED: i64 = SECONDS - WARM_UP;

/// Of engines, when these begin: as soon after their first batch, which closes in the third second, and when buckets are as they will be.
pub const WINDOWS: [i64; 2] = [2 + WARM_UP, 2 + WARM_UP + COUNTED];

/// Seconds after which engines have decided what came: a trace waits for one, and a batch for another.
const REST: i64 = 3;

/// Traces a second that come to engines.
const TRAFFIC: f64 = 1_000.0;

/// Of these, spans are 1 to twice this less 1.
const SPANS: u64 = 3;

/// Of the spans that come, what there is for the rate and the budget.
const SHARES: [f64; 2] = [1_300.0 / 15_000.0, 2_700.0 / 15_000.0];

/// By the arithmetic of samplers on one partition.
pub fn coverage(seed: u64, runs: u64) -> Coverage {
    let [coverage] = cover(seed, runs, |seed| [by_arithmetic(seed)]);
    coverage
}

/// Through engines, in each of the windows. `give_way` are policies.
pub fn through_engines(seed: u64, runs: u64, partitions: usize, give_way: &str) -> [Coverage; WINDOWS.len()] {
    cover(seed, runs, |seed| by_engines(seed, partitions, give_way))
}

fn cover<const N: usize>(seed: u64, runs: u64, run: impl Fn(u64) -> [Sample; N] + Sync) -> [Coverage; N] {
    let next = AtomicU64::new(0);
    let some = || {
        let numbers = iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < runs));
        numbers.map(|number| run(seed * 1_000_000 + number)).collect()
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let runs: Vec<[Sample; N]> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("a run that ends"));
        done.flat_map(|runs: Vec<[Sample; N]>| runs).collect()
    });
    std::array::from_fn(|window| Coverage::of(&runs.iter().map(|run| run[window]).collect::<Vec<_>>()))
}

fn by_arithmetic(seed: u64) -> Sample {
    let mut traces = Traces::new(seed, KEYS, 1_000.0);
    traces.cost = 15;
    let mut policies = Policies {
        adaptive: Means::new(Adaptive::Probability(0.1), 1_000),
        rated: Account::default(),
        budgeted: Account::default(),
    };
    let mut sample = Sample::default();
    for second in 0..SECONDS {
        let all = traces.second(|_| 1.0);
        let thresholds = policies.second(RecordTime(second * 1000), &all);
        for (trace, threshold) in all.iter().zip(thresholds).filter(|_| second >= WARM_UP) {
            sample.add(&Kind::of(trace, traces.cost, is_error(trace)), trace, threshold);
        }
    }
    sample
}

fn by_engines(seed: u64, partitions: usize, give_way: &str) -> [Sample; WINDOWS.len()] {
    let mut traces = Traces::new(seed, KEYS, TRAFFIC);
    (traces.partitions, traces.cost) = (partitions, SPANS);
    let [rate, budget] = SHARES.map(|share| (share * TRAFFIC * SPANS as f64) as u32);
    let mut workers = Workers::new(seed, partitions, &workers::overlapping(rate, budget, give_way), 60);
    let last = WINDOWS[WINDOWS.len() - 1] + COUNTED + REST;
    (0..last).for_each(|_| workers.second(traces.second(|_| 1.0)));
    WINDOWS.map(|from| {
        let mut sample = Sample::default();
        for decided in workers.decided.iter().filter(|decided| (from..from + COUNTED).contains(&decided.second)) {
            let kind = Kind::of(&decided.trace, SPANS, workers::fails(&decided.trace));
            sample.add(&kind, &decided.trace, decided.threshold);
        }
        sample
    })
}

/// All keep; errors are protected, and what only the sample of all keeps gives way first.
struct Policies {
    adaptive: Means,
    rated: Account,
    budgeted: Account,
}

const EVERY_TWENTIETH: Threshold = Threshold(Threshold::NEVER.0 / 20 * 19);

fn is_error(trace: &Trace) -> bool {
    trace.cost % 29 == 7
}

// === impl Policies ===

impl Policies {
    fn second(&mut self, now: RecordTime, traces: &[Trace]) -> Vec<Threshold> {
        let rated: Vec<Trace> = traces.iter().copied().filter(is_rated).collect();
        let mut batch = candidates(&rated, |trace| trace.key);
        let share = Share::whole(1_300.0);
        rate::close(&Ceiling::rate(1_300.0, BURST), &mut self.rated, now, &share, &mut batch);
        let mut rated = thresholds(batch).into_iter();

        let mut batch: Vec<Candidate> = Vec::new();
        let mut all: Vec<Threshold> = Vec::with_capacity(traces.len());
        for (number, trace) in traces.iter().enumerate() {
            let adaptive = self.adaptive.ask(trace.key, 1.0);
            let rate = if is_rated(trace) { rated.next().expect("one each") } else { Threshold::NEVER };
            // Of an error all is kept; of a sample of one in twenty and the others, what keeps more.
            let sampler = adaptive.min(rate);
            let (key, threshold) = match (is_error(trace), sampler < EVERY_TWENTIETH) {
                (true, _) => (0, Threshold::ALWAYS),
                (false, true) => (1, sampler),
                (false, false) => (2, EVERY_TWENTIETH),
            };
            all.push(threshold);
            let Trace { cost, randomness, .. } = *trace;
            let one = Candidate { trace: number as u32, key, cost, randomness, threshold, elsewhere: false };
            batch.extend(Some(one).filter(Candidate::is_kept));
        }
        self.adaptive.advance(now, &Share::whole(0.0));
        let share = Share::whole(2_700.0);
        budget::close(&Ceiling::budget(2_700.0, BURST), &mut self.budgeted, now, &share, &mut batch);
        batch.iter().for_each(|candidate| all[candidate.trace as usize] = candidate.threshold);
        all
    }
}

// === impl Coverage ===

impl Coverage {
    fn of(samples: &[Sample]) -> Self {
        let sum = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>();
        let share = |(at, (what, _)): (usize, &Quantity)| {
            let covered = samples.iter().filter(|sample| sample.estimates[at].covers()).count();
            (*what, covered as f64 / samples.len() as f64)
        };
        let traces = sum(|sample| sample.estimates[0].truth);
        Self {
            shares: QUANTITIES.iter().enumerate().map(share).collect(),
            starved: sum(|sample| sample.starved as f64) / traces,
            estimated: sum(|sample| sample.estimates[0].kept.estimated().value) / traces,
        }
    }
}

// === impl Kind ===

impl Kind {
    /// Where spans of a trace are `mean` on average.
    fn of(trace: &Trace, mean: u64, is_error: bool) -> Self {
        Self { spans: trace.cost as f64, is_error, is_long: 3 * trace.cost > 4 * mean, is_rated: is_rated(trace) }
    }
}

// === impl Sample ===

impl Sample {
    fn add(&mut self, kind: &Kind, trace: &Trace, threshold: Threshold) {
        self.starved += u64::from(threshold == Threshold::NEVER);
        for (estimate, (_, of)) in self.estimates.iter_mut().zip(QUANTITIES) {
            estimate.add(of(kind), trace, threshold);
        }
    }
}

// === impl Estimate ===

impl Estimate {
    fn add(&mut self, value: f64, trace: &Trace, threshold: Threshold) {
        self.truth += value;
        if trace.randomness.0 >= threshold.0 {
            self.kept.add(value, threshold);
        }
    }

    /// By the interval of `tailwater estimate`, with the values of traces where that counts them.
    fn covers(&self) -> bool {
        let Estimated { low, high, .. } = self.kept.estimated();
        low <= self.truth && high.is_none_or(|high| self.truth <= high)
    }
}
