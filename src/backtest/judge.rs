//! A set of policies, and what it says of each trace.

use std::{collections::HashMap, sync::Arc};

use super::{
    spool::{Records, Turn},
    traces::Traces,
};
use crate::{
    assemble::{Reason, Start},
    decide::{PolicySet, Verdict, Weight},
    engine::{Engine, Full, Record, Settings, Weighed},
    model::RecordTime,
};

/// Reads records as a worker does.
pub struct Judge {
    engine: Engine,
    judged: Judged,
    /// By their numbers in the records.
    partitions: Vec<u32>,
    /// The time of the tick that was cut last.
    cut: RecordTime,
}

/// What became of the traces.
pub struct Judged {
    pub policies: Arc<PolicySet>,
    /// By the trace's number; None of one whose spans all came when any verdict on it was forgotten, and were set aside.
    verdicts: Vec<Option<Said>>,
    /// Different combinations of matching policies: there are few.
    matching: Vec<Vec<Weight>>,
    numbers: HashMap<Vec<Weight>, u32>,
    /// Verdicts by what completed their traces.
    pub reasons: [u64; Reason::ALL.len()],
    /// Verdicts on traces that had one, which was forgotten.
    pub again: u64,
}

#[derive(Clone, Copy)]
struct Said {
    verdict: Verdict,
    /// In `Judged::matching`.
    matching: u32,
}

/// A processor's tick, as it is by default.
const TICK: u64 = 1000;

// === impl Judge ===

impl Judge {
    pub fn new(settings: Settings, policies: Arc<PolicySet>, records: &Records) -> Self {
        let mut engine = Engine::new(settings, policies.clone());
        engine.weigh();
        let partitions = (0..).zip(&records.partitions);
        let partitions = partitions.map(|(rank, &first)| engine.assign(Start { rank, ..Start::at(first) })).collect();
        let judged = Judged {
            policies,
            verdicts: Vec::new(),
            matching: Vec::new(),
            numbers: HashMap::new(),
            reasons: [0; Reason::ALL.len()],
            again: 0,
        };
        Self { engine, judged, partitions, cut: RecordTime::START }
    }

    /// Takes the next record in. `traces` knows the spans before it.
    pub fn ingest(&mut self, turn: Turn<'_>, traces: &Traces) {
        let Turn { partition, offset, timestamp, clock, headers, payload, is_last } = turn;
        let partition = self.partitions[partition as usize];
        debug_assert!(self.engine.turn().is_none_or(|turn| turn == partition), "as a worker takes them in");
        let record = Record { partition, offset, timestamp, headers, payload: Some(payload) };
        while let Err(Full) = self.engine.ingest(record, RecordTime::END) {
            self.settle();
        }
        // Verdicts are forgotten by ticks, and the time of the wall is not the same twice.
        if clock.since(self.cut) >= TICK {
            self.cut = clock;
            self.settle();
        }
        if is_last {
            self.engine.finish(partition);
        }
        self.note(traces);
    }

    /// Decides what is left.
    pub fn finish(mut self, traces: &Traces) -> Judged {
        while let Err(Full) = self.engine.advance() {
            self.settle();
            self.note(traces);
        }
        self.note(traces);
        self.judged
    }

    /// Nothing goes out.
    fn settle(&mut self) {
        let tick = self.engine.cut();
        self.engine.settle(tick, &[]);
    }

    fn note(&mut self, traces: &Traces) {
        for Weighed { decision, matching } in self.engine.weighed() {
            // The others share records with traces of the sample.
            if let Some(number) = traces.number(decision.trace) {
                self.judged.note(number, decision.verdict, decision.reason, matching);
            }
        }
    }
}

// === impl Judged ===

impl Judged {
    fn note(&mut self, trace: usize, verdict: Verdict, reason: Reason, matching: Vec<Weight>) {
        self.reasons[reason as usize] += 1;
        let number = *self.numbers.entry(matching).or_insert_with_key(|matching| {
            self.matching.push(matching.clone());
            self.matching.len() as u32 - 1
        });
        if trace >= self.verdicts.len() {
            self.verdicts.resize(trace + 1, None);
        }
        let said = &mut self.verdicts[trace];
        self.again += u64::from(said.is_some());
        // Of a trace that is judged twice, some spans are out if one of the verdicts keeps.
        if said.is_none_or(|said| !said.verdict.keep) {
            *said = Some(Said { verdict, matching: number });
        }
    }

    pub fn verdict(&self, trace: usize) -> Option<Verdict> {
        Some(self.verdicts.get(trace)?.as_ref()?.verdict)
    }

    pub fn keeps(&self, trace: usize) -> bool {
        self.verdict(trace).is_some_and(|verdict| verdict.keep)
    }

    /// The policies that match a trace, and what each is to it.
    pub fn matching(&self, trace: usize) -> &[Weight] {
        match self.verdicts.get(trace) {
            Some(Some(said)) => &self.matching[said.matching as usize],
            _ => &[],
        }
    }

    /// The name of what a verdict on a trace is due to.
    pub fn by(&self, trace: usize) -> &str {
        let policy = self.verdict(trace).and_then(|verdict| verdict.policy);
        policy.map_or("otherwise", |number| &self.policies.policies()[usize::from(number)].name)
    }
}
