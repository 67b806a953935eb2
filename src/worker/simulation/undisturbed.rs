//! What is decided of records where nothing happens: each partition is read at once, by an engine of its own (I5).

use std::collections::BTreeMap;

use super::{broker::Input, judge::number, log::Log};
use crate::{
    assemble::{Reason, Start},
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

/// By the number of the trace. Of a keyed input, whose partitions have nothing to do with each other.
pub fn verdicts(orders: &Orders, input: &[Log<Input>]) -> BTreeMap<usize, Verdict> {
    mutant::without(|| {
        let decisions = input.iter().flat_map(|log| decisions(orders, log));
        decisions.map(|decision| (number(decision.trace), Verdict::of(&decision))).collect()
    })
}

fn decisions(orders: &Orders, log: &Log<Input>) -> Vec<Decision> {
    let mut engine = Engine::new(settings(orders), orders.config.policies.clone());
    let partition = engine.assign(Start::at(0));
    let mut decisions = Vec::new();
    let mut settle = |engine: &mut Engine| {
        let tick = engine.cut();
        decisions.extend(tick.decisions.iter().map(|&(_, decision)| decision));
        engine.settle(tick, &[]);
    };
    for (offset, Input { time, payload }) in log.records() {
        let (offset, timestamp) = (offset as i64, Some(RecordTime(*time)));
        let record = Record { partition, offset, timestamp, headers: &(), payload: Some(payload) };
        while engine.ingest(record, RecordTime::END) == Err(Full) {
            settle(&mut engine);
        }
    }
    for _ in 0..STEPS {
        engine.elapse(partition, STEP_MS, RecordTime::END);
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
