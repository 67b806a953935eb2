//! Whether a kept sample tells the truth: Horvitz–Thompson estimates under overlapping policies and a budget's cuts.

use tailwater::{
    model::{RecordTime, Threshold},
    sample::{Account, Adaptive, Candidate, Ceiling, Share, adaptive::Means, budget, ceiling::BURST, rate},
};

use super::{
    cluster::{candidates, thresholds},
    traces::{Trace, Traces},
    workers::{self, Workers},
};

/// What came to engines.
#[derive(Clone, Copy)]
pub struct Traffic {
    pub partitions: usize,
    pub per_second: f64,
    /// Spans of a trace are 1 to twice this less 1.
    pub cost: u64,
}

/// Of many runs, in what share an interval of 95 % covered the truth.
pub struct Coverage {
    pub of: Vec<(&'static str, f64)>,
    /// The share of traces that were not kept whatever their randomness.
    pub starved: f64,
}

/// A sum over all traces, estimated from those that were kept.
#[derive(Clone, Copy, Debug, Default)]
struct Estimate {
    truth: f64,
    sum: f64,
    variance: f64,
}

/// What is estimated, and what each trace adds to it.
type Quantity = (&'static str, fn(&Trace) -> f64);

const QUANTITIES: [Quantity; 6] = [
    ("traces", |_| 1.0),
    ("spans", |trace| trace.cost as f64),
    ("errors", |trace| f64::from(u8::from(is_error(trace)))),
    ("long traces", |trace| f64::from(u8::from(trace.cost > 20))),
    ("traces of a rate", |trace| f64::from(u8::from(is_rated(trace)))),
    ("others", |trace| f64::from(u8::from(!is_rated(trace) && !is_error(trace)))),
];

const SECONDS: i64 = 12;

/// Seconds before anything is estimated: a bucket begins empty, and few traces have to stand for many.
const WARM_UP: i64 = 4;

/// Of so many runs, in what share an interval of 95 % covered the truth.
pub fn coverage(seed: u64, runs: u64) -> Vec<(&'static str, f64)> {
    let mut covered = [0_u64; QUANTITIES.len()];
    for run in 0..runs {
        for (covered, estimate) in covered.iter_mut().zip(run_once(seed * 1_000_000 + run)) {
            *covered += u64::from((estimate.sum - estimate.truth).abs() <= 1.96 * estimate.variance.sqrt());
        }
    }
    QUANTITIES.iter().zip(covered).map(|((what, _), covered)| (*what, covered as f64 / runs as f64)).collect()
}

fn run_once(seed: u64) -> [Estimate; QUANTITIES.len()] {
    let mut traces = Traces::new(seed, 100, 1_000.0);
    traces.cost = 15;
    let mut policies = Policies {
        adaptive: Means::new(Adaptive::Probability(0.1), 1_000),
        rated: Account::default(),
        budgeted: Account::default(),
    };
    let mut estimates = [Estimate::default(); QUANTITIES.len()];
    for second in 0..SECONDS {
        let traces = traces.second(|_| 1.0);
        let thresholds = policies.second(RecordTime(second * 1000), &traces);
        for (trace, threshold) in traces.iter().zip(thresholds).filter(|_| second >= WARM_UP) {
            for (estimate, (_, of)) in estimates.iter_mut().zip(QUANTITIES) {
                estimate.add(of(trace), trace, threshold);
            }
        }
    }
    estimates
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

fn is_rated(trace: &Trace) -> bool {
    trace.key.is_multiple_of(3)
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
            let one =
                Candidate { trace: number as u32, key, cost: trace.cost, randomness: trace.randomness, threshold };
            batch.extend(Some(one).filter(Candidate::is_kept));
        }
        self.adaptive.advance(now, &Share::whole(0.0));
        let share = Share::whole(2_700.0);
        budget::close(&Ceiling::budget(2_700.0, BURST), &mut self.budgeted, now, &share, &mut batch);
        batch.iter().for_each(|candidate| all[candidate.trace as usize] = candidate.threshold);
        all
    }
}

// === impl Estimate ===

impl Estimate {
    fn add(&mut self, value: f64, trace: &Trace, threshold: Threshold) {
        self.truth += value;
        if trace.randomness.0 >= threshold.0 {
            let probability = 1.0 - threshold.0 as f64 / Threshold::NEVER.0 as f64;
            self.sum += value / probability;
            self.variance += (1.0 - probability) * value * value / (probability * probability);
        }
    }
}
