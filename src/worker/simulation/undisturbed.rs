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
    source::Partition,
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

/// By the number of the trace; of partitions and their logs.
pub fn verdicts(orders: &Orders, partitions: &[Partition], input: &[Log<Input>]) -> BTreeMap<usize, Verdict> {
    mutant::without(|| {
        let ranks = partitions.iter().map(|partition| orders.rank(partition).expect("a partition of the world"));
        let logs: Vec<_> = ranks.zip(input).collect();
        let decisions: Vec<Decision> = match orders.keying {
            Keying::Keyed => logs.chunks(1).flat_map(|log| decisions(orders, log)).collect(),
            Keying::Unkeyed => decisions(orders, &logs),
        };
        decisions.iter().map(|decision| (number(decision.trace), Verdict::of(decision))).collect()
    })
}

/// Of an unkeyed input, which is read by turns to its end, and of a partition of a keyed one, which then rests.
fn decisions(orders: &Orders, logs: &[(u32, &Log<Input>)]) -> Vec<Decision> {
    let mut engine = Engine::new(settings(orders), orders.config.policies.clone());
    let mut decisions = Vec::new();
    let mut settle = |engine: &mut Engine| {
        let tick = engine.cut();
        decisions.extend(tick.decisions.iter().map(|&(_, decision)| decision));
        engine.settle(tick, &[]);
    };
    let start = |&(rank, log)| (engine.assign(Start { rank, ..Start::at(0) }), Log::records(log));
    let mut left: BTreeMap<u32, _> = logs.iter().map(start).collect();
    while let Some((&first, _)) = left.first_key_value() {
        let partition = engine.turn().unwrap_or(first);
        let Some((offset, Input { time, payload })) = left.get_mut(&partition).and_then(Iterator::next) else {
            left.remove(&partition);
            if orders.keying == Keying::Unkeyed {
                engine.finish(partition);
            }
            continue;
        };
        let (offset, timestamp) = (offset as i64, Some(RecordTime(*time)));
        let record = Record { partition, offset, timestamp, headers: &(), payload: Some(payload) };
        while engine.ingest(record, RecordTime::END) == Err(Full) {
            settle(&mut engine);
        }
    }
    for _ in 0..STEPS {
        if orders.keying == Keying::Keyed {
            engine.elapse(0, STEP_MS, RecordTime::END);
        }
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
