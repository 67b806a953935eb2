//! A run: traffic through a cluster of workers, judged by the truth, beside what others do.

#![allow(dead_code, reason = "every user takes a part of it")]

pub mod boutique;
pub mod cluster;
#[path = "../support/nezha.rs"]
mod nezha;
pub mod traffic;
pub mod truth;

use std::ops::Add;

use cluster::{Cluster, QUANTILE};
use traffic::{Trace, WINDOW};
use truth::{Judged, Tally, judge, quantile};

/// What a run comes to for one operation, or several.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub traces: u64,
    /// The first window.
    pub warm_up: Tally,
    /// From the second window on.
    pub slowest: Tally,
    /// A threshold set once, from the first window.
    pub fixed: Tally,
    /// All that is beyond the 95th percentile of the window before.
    pub p95: Tally,
}

/// One window of one operation.
#[derive(Clone, Copy, Debug)]
pub struct Judgement {
    pub traces: u64,
    /// The value that is not exceeded by more than were to be kept.
    pub exact: Option<f64>,
    pub slowest: Tally,
    pub fixed: Tally,
    pub p95: Tally,
}

#[derive(Default)]
struct Operation {
    /// By window: what is not judged yet.
    open: Vec<(i64, Judged)>,
    fixed: Option<f64>,
    p95: Option<f64>,
    judgements: Vec<Judgement>,
}

/// By operation.
pub fn run(traces: impl Iterator<Item = Trace>, cluster: &mut Cluster, shifted: bool) -> Vec<Outcome> {
    windows(traces, cluster, shifted).iter().map(|windows| Outcome::of(windows)).collect()
}

/// By operation, from its first trace on. The truth's windows are the sampler's, or begin half a window later.
pub fn windows(traces: impl Iterator<Item = Trace>, cluster: &mut Cluster, shifted: bool) -> Vec<Vec<Judgement>> {
    let mut operations: Vec<Operation> = Vec::new();
    let shift = if shifted { WINDOW as i64 / 2 } else { 0 };
    let (mut number, mut judged) = (0, 0);
    for trace in traces {
        number = (trace.at.0 + shift).div_euclid(WINDOW as i64);
        // Where workers are killed, a verdict may come after the window is over.
        while judged < number - 1 {
            operations.iter_mut().for_each(|operation| operation.close(judged));
            judged += 1;
        }
        cluster.take(trace);
        cluster.verdicts().for_each(|verdict| sort(&mut operations, shift, verdict));
    }
    cluster.end();
    cluster.verdicts().for_each(|verdict| sort(&mut operations, shift, verdict));
    for judged in judged..=number {
        operations.iter_mut().for_each(|operation| operation.close(judged));
    }
    operations.into_iter().map(|operation| operation.judgements).collect()
}

fn sort(operations: &mut Vec<Operation>, shift: i64, (trace, kept): (Trace, bool)) {
    let place = usize::from(trace.operation);
    if place >= operations.len() {
        operations.resize_with(place + 1, Operation::default);
    }
    operations[place].open.push(((trace.at.0 + shift).div_euclid(WINDOW as i64), (trace.value, kept)));
}

// === impl Outcome ===

impl Outcome {
    pub fn of(windows: &[Judgement]) -> Self {
        let first = windows.iter().position(|window| window.traces > 0).unwrap_or_default();
        let mut all = Self::default();
        for (number, window) in windows.iter().enumerate() {
            let Judgement { traces, slowest, fixed, p95, .. } = *window;
            let judged = if number <= first {
                Self { traces, warm_up: slowest, ..Self::default() }
            } else {
                Self { traces, slowest, fixed, p95, ..Self::default() }
            };
            all = all + judged;
        }
        all
    }

    pub fn coverage(&self) -> f64 {
        self.slowest.coverage()
    }

    /// What was kept for each trace that was beyond the quantile, the warm-up included.
    pub fn cost(&self) -> f64 {
        (self.warm_up.kept + self.slowest.kept) as f64 / (self.warm_up.beyond + self.slowest.beyond) as f64
    }
}

impl Add for Outcome {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let Self { traces, warm_up, slowest, fixed, p95 } = other;
        Self {
            traces: self.traces + traces,
            warm_up: self.warm_up + warm_up,
            slowest: self.slowest + slowest,
            fixed: self.fixed + fixed,
            p95: self.p95 + p95,
        }
    }
}

// === impl Operation ===

impl Operation {
    /// All verdicts of a window have come.
    fn close(&mut self, window: i64) {
        let open = self.open.extract_if(.., |(of, _)| *of == window);
        let mut traces: Vec<Judged> = open.map(|(_, judged)| judged).collect();
        let judgement = Judgement {
            traces: traces.len() as u64,
            exact: quantile(&mut traces, QUANTILE),
            slowest: judge(&mut traces, QUANTILE),
            fixed: judge_threshold(&mut traces, self.fixed),
            p95: judge_threshold(&mut traces, self.p95),
        };
        self.judgements.push(judgement);
        self.fixed = self.fixed.or(judgement.exact);
        self.p95 = quantile(&mut traces, 0.95);
    }
}

/// If all above a threshold had been kept.
fn judge_threshold(traces: &mut [(f64, bool)], threshold: Option<f64>) -> Tally {
    traces.iter_mut().for_each(|(value, kept)| *kept = threshold.is_some_and(|threshold| *value > threshold));
    judge(traces, QUANTILE)
}
