//! What is decided of records where nothing happens (I5): each partition of a keyed input is read at once, by an engine of its own,
//! and all of an unkeyed one by turns (C10).

use std::collections::BTreeMap;

use super::{broker::Input, judge::number, log::Log};
use crate::{
    assemble::{Keying, Reason, Start},
    decisions::Decision,
    engine::{Engine, Full, Record},
    model::RecordTime,
    mutant,
    worker::{Orders, settings},
};

/// What may not depend on anything but the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    keep: bool,
    reason: Reason,
    spans: u32,
}

/// A step of the wall clock when all is read, and how many there are: the last trace is decided long before.
const STEP_MS: u64 = 300;
const STEPS: usize = 100;

/// By the number of the trace.
pub fn verdicts(orders: &Orders, input: &[Log<Input>]) -> BTreeMap<usize, Verdict> {
    mutant::without(|| {
        let decisions: Vec<Decision> = match orders.keying {
            Keying::Keyed => input.chunks(1).flat_map(|log| decisions(orders, log)).collect(),
            Keying::Unkeyed => decisions(orders, input),
        };
        decisions.iter().map(|decision| (number(decision.trace), Verdict::of(decision))).collect()
    })
}

/// Reads logs by turns. What rests lets the others go on.
fn decisions(orders: &Orders, logs: &[Log<Input>]) -> Vec<Decision> {
    let mut engine = Engine::new(settings(orders), orders.config.policies.clone());
    let partitions: Vec<u32> = logs.iter().map(|_| engine.assign(Start::at(0))).collect();
    let mut decisions = Vec::new();
    let mut settle = |engine: &mut Engine| {
        let tick = engine.cut();
        decisions.extend(tick.decisions.iter().map(|&(_, decision)| decision));
        engine.settle(tick, &[]);
    };
    let mut left: Vec<_> = logs.iter().map(|log| log.records().peekable()).collect();
    while left.iter_mut().any(|records| records.peek().is_some()) {
        let partition = engine.turn().unwrap_or(partitions[0]);
        let Some((offset, Input { time, payload })) = left[partition as usize].next() else {
            engine.elapse(partition, STEP_MS, RecordTime::END);
            continue;
        };
        let (offset, timestamp) = (offset as i64, Some(RecordTime(*time)));
        let record = Record { partition, offset, timestamp, headers: &(), payload: Some(payload) };
        while engine.ingest(record, RecordTime::END) == Err(Full) {
            settle(&mut engine);
        }
    }
    for _ in 0..STEPS {
        partitions.iter().for_each(|&partition| engine.elapse(partition, STEP_MS, RecordTime::END));
        while engine.advance() == Err(Full) {
            settle(&mut engine);
        }
    }
    settle(&mut engine);
    decisions
}

// === impl Verdict ===

impl Verdict {
    pub fn of(decision: &Decision) -> Self {
        Self { keep: decision.verdict.keep, reason: decision.reason, spans: decision.spans }
    }
}
