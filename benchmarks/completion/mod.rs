//! Traffic through ways to wait, one event at a time.

#![allow(dead_code, reason = "every user takes a part of it")]

pub mod cluster;
pub mod traffic;

use std::{cmp::Reverse, collections::BinaryHeap};

use cluster::Cluster;
use tailwater::{
    model::RecordTime,
    sample::{
        keys::Key,
        quiet::Quiet,
        trail::{Form, Gaps, Trail},
        waits::Wait,
    },
};
use traffic::Trace;

/// A way to wait.
pub enum Way {
    /// So many milliseconds from the first span on.
    Wait(u64),
    /// Until nothing came for so many milliseconds.
    Quiet(u64),
    /// As `Quiet`, once the trace is whole; until `MAX_WAIT` before.
    Structure(u64),
    /// The quiet period is learned. Nobody looks at structures.
    Learned(Cluster),
    /// The quiet periods are learned, those of whole traces and those of torn ones.
    LearnedStructure(Cluster),
}

/// What came of the traces of an operation.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub spans: u64,
    pub late: u64,
    /// How long each trace was held, in milliseconds.
    pub held: Vec<u32>,
}

/// What all spans of some traffic had to be waited for, in milliseconds.
#[derive(Default)]
pub struct Needs {
    /// From the first span of the trace.
    pub wait: Vec<u32>,
    /// In one gap.
    pub quiet: Vec<u32>,
}

/// A trace on its way.
struct Passing {
    trace: Trace,
    /// How many of its spans have come.
    come: usize,
    trail: Trail,
    /// As it was known when the root came, if it is learned. Who never has a root asks for nothing, and teaches nothing.
    wait: Option<Wait>,
    /// What its spans teach when it is decided; None once it is.
    gaps: Option<Vec<Gaps>>,
}

/// Milliseconds: long enough for the longest tail.
pub const MAX_WAIT: u64 = 90_000;

/// Of an operation with fewer spans, what is late is a matter of chance.
const FEW: u64 = 20_000;

/// What comes of traffic, by operation.
pub fn play(traces: impl Iterator<Item = Trace>, way: &mut Way) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut passing: Vec<Passing> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    // A verdict comes before a record of the same time.
    let mut events: BinaryHeap<Reverse<(RecordTime, bool, usize)>> = BinaryHeap::new();
    let mut traces = traces.peekable();
    loop {
        let next = events.peek().map(|Reverse((at, ..))| *at);
        if let Some(trace) = traces.next_if(|trace| next.is_none_or(|next| trace.arrivals[0].at < next)) {
            let first = trace.arrivals[0].at;
            let new = Passing { trace, come: 0, trail: Trail::new(first), wait: None, gaps: Some(Vec::new()) };
            let place = free.pop().unwrap_or(passing.len());
            if place == passing.len() {
                passing.push(new)
            } else {
                passing[place] = new
            }
            events.push(Reverse((first, true, place)));
            continue;
        }
        let Some(Reverse((now, is_span, place))) = events.pop() else { return outcomes };
        let at = &mut passing[place];
        let operation = usize::from(at.trace.operation);
        if outcomes.len() <= operation {
            outcomes.resize_with(operation + 1, Outcome::default);
        }
        let outcome = &mut outcomes[operation];
        if is_span {
            at.span(way, now, outcome);
            let deadline = way.deadline(&at.trail, at.wait);
            let next = at.trace.arrivals.get(at.come).map(|arrival| arrival.at);
            if at.gaps.is_some() && next.is_none_or(|next| next > deadline) {
                events.push(Reverse((deadline, false, place)));
            }
            match next {
                Some(next) => events.push(Reverse((next, true, place))),
                None if at.gaps.is_none() => free.push(place),
                None => {}
            }
        } else {
            outcome.held.push(now.since(at.trail.first()) as u32);
            let gaps = at.gaps.take().expect("it is decided once");
            way.learn(at, &gaps, now);
            if at.come == at.trace.arrivals.len() {
                free.push(place);
            }
        }
    }
}

/// What the spans of some traffic need.
pub fn needs(traces: impl Iterator<Item = Trace>) -> Needs {
    let mut needs = Needs::default();
    for trace in traces {
        let (mut longest, mut last) = (0, trace.arrivals[0].at);
        for arrival in &trace.arrivals {
            longest = longest.max(arrival.at.since(last));
            last = arrival.at;
            needs.wait.push(last.since(trace.arrivals[0].at) as u32);
            needs.quiet.push(longest as u32);
        }
    }
    needs.wait.sort_unstable();
    needs.quiet.sort_unstable();
    needs
}

/// The least that is enough for a share of what spans need.
pub fn least(needs: &[u32], share: f64) -> u64 {
    let enough = (share * needs.len() as f64).ceil() as usize;
    needs[enough.clamp(1, needs.len()) - 1].into()
}

/// The one of which the greatest share was late.
pub fn worst(outcomes: &[Outcome]) -> &Outcome {
    let enough = outcomes.iter().filter(|outcome| outcome.spans >= FEW);
    enough.min_by(|a, b| a.completeness().total_cmp(&b.completeness())).expect("one is frequent")
}

pub fn key(operation: usize) -> Key {
    // Fibonacci hashing.
    Key((operation as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

// === impl Way ===

impl Way {
    /// For a goal of completeness.
    pub fn learned(completeness: f64) -> Self {
        // With one form only, that one may have all that may be late, and not half.
        let rule = Quiet::new(1.0 - 2.0 * (1.0 - completeness), 5_000, MAX_WAIT);
        Self::Learned(Cluster::new(rule, 1, 0))
    }

    /// Kills are so many seconds apart; there are none where that is 0.
    pub fn learned_structure(completeness: f64, partitions: u32, kills: u64) -> Self {
        Self::LearnedStructure(Cluster::new(Quiet::new(completeness, 5_000, MAX_WAIT), partitions, kills))
    }

    /// What is known by now, where it is learned.
    fn ask(&mut self, trace: &Trace) -> Option<Wait> {
        match self {
            Self::Learned(cluster) | Self::LearnedStructure(cluster) => Some(cluster.wait(trace)),
            Self::Wait(_) | Self::Quiet(_) | Self::Structure(_) => None,
        }
    }

    fn deadline(&self, trail: &Trail, wait: Option<Wait>) -> RecordTime {
        let waits = |ms| trail.last().plus(ms).min(trail.first().plus(MAX_WAIT));
        match (self, trail.form, wait) {
            (Self::Wait(ms), ..) => trail.first().plus(*ms),
            (Self::Quiet(ms), ..) | (Self::Structure(ms), Form::Whole, _) => waits(*ms),
            (_, Form::Whole, Some(wait)) => waits(wait.periods.whole),
            (_, Form::Torn, Some(wait)) => waits(wait.periods.torn),
            _ => waits(MAX_WAIT),
        }
    }

    fn learn(&mut self, passing: &Passing, gaps: &[Gaps], now: RecordTime) {
        if let (Self::Learned(cluster) | Self::LearnedStructure(cluster), Some(wait)) = (self, passing.wait) {
            cluster.learn(&passing.trace, wait, gaps, now);
        }
    }
}

// === impl Passing ===

impl Passing {
    fn span(&mut self, way: &mut Way, now: RecordTime, outcome: &mut Outcome) {
        let gaps = self.trail.pass(now);
        outcome.spans += 1;
        if let Some(all) = &mut self.gaps {
            self.trail.form = match way {
                Way::Learned(_) => Form::Whole,
                _ => self.trace.arrivals[self.come].form,
            };
            all.push(gaps);
            if self.wait.is_none() && self.trail.form != Form::Rootless {
                self.wait = way.ask(&self.trace);
            }
        } else {
            outcome.late += 1;
            if now.since(self.trail.first()) <= MAX_WAIT {
                way.learn(self, &[gaps], now);
            }
        }
        self.come += 1;
    }
}

// === impl Outcome ===

impl Outcome {
    /// Of all operations together.
    pub fn all(outcomes: &[Self]) -> Self {
        outcomes.iter().fold(Self::default(), |mut all, outcome| {
            all.spans += outcome.spans;
            all.late += outcome.late;
            all.held.extend(&outcome.held);
            all
        })
    }

    pub fn completeness(&self) -> f64 {
        1.0 - self.late as f64 / self.spans as f64
    }

    /// The time that this share of the traces was held at most, in seconds.
    pub fn held(&self, share: f64) -> f64 {
        let mut held = self.held.clone();
        held.sort_unstable();
        least(&held, share) as f64 / 1000.0
    }

    pub fn mean(&self) -> f64 {
        self.held.iter().map(|&ms| f64::from(ms)).sum::<f64>() / self.held.len() as f64 / 1000.0
    }
}
