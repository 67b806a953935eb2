//! One trace followed through the core: what was seen of it, what each policy asked and found, what became of it.

mod gather;
mod table;
#[cfg(test)]
mod tests;

pub use gather::Gathered;

use std::sync::Arc;

use crate::{
    assemble::{Completion, Keying, Start},
    decide::{
        Action, PolicySet,
        explain::{Questions, Row, Tally, one_line},
    },
    decisions::Decision,
    decode::Batch,
    encode::Stamps,
    engine::{Engine, Full, Past, Record, Settings},
    model::{Randomness, RecordTime, Threshold, TraceId},
};

/// Reads records as a worker does, and takes notes on one trace.
pub struct Follow {
    trace: TraceId,
    policies: Arc<PolicySet>,
    questions: Questions,
    judge: Engine,
    /// In a test: the policies whose samplers that learn keep what they match.
    given: Option<Vec<u16>>,
    partitions: Vec<u32>,
    batch: Batch,
    open: Option<Open>,
    told: Vec<Explanation>,
}

/// What is known of a trace, and why its verdict is what it is.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub trace: TraceId,
    /// The first of them, in the order they came.
    pub spans: Vec<Seen>,
    /// As many as the verdict rests on.
    pub span_count: usize,
    /// Spans that came when there was a verdict, which they followed.
    pub late: usize,
    /// In their order.
    pub policies: Vec<Policy>,
    /// What of the rest is kept.
    pub otherwise: Threshold,
    /// None only while it is not made.
    pub decision: Option<Decision>,
}

/// A span.
#[derive(Clone, Debug)]
pub struct Seen {
    pub id: u64,
    pub parent: u64,
    pub name: String,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    /// Nanoseconds.
    pub duration: u64,
    /// OTLP's number.
    pub status: i32,
}

/// A policy, and what it asked and found.
#[derive(Clone, Debug)]
pub struct Policy {
    pub name: String,
    pub action: Action,
    /// Those of the action that learn, on one line each.
    pub samplers: Vec<String>,
    /// What the samplers of the action say, to keep the trace or not, where that is known: of those that learn, in tests.
    pub says: Option<bool>,
    /// As if absent.
    pub shadow: bool,
    /// On one line; empty where there is no condition.
    pub condition: String,
    /// It is asked, and its condition holds.
    pub matches: bool,
    pub asked: Asked,
    /// The parts of the condition; none of one that is too large to be taken apart with all others.
    pub rows: Vec<Row>,
}

/// Whether a policy has a say when the trace is judged, whatever its condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Yes,
    /// Its `until` is over.
    Over,
    /// The group that it is in does not match.
    Outside,
}

/// Notes on a trace that waits for its verdict.
struct Open {
    /// Its policies are the questions. It reads only records that hold spans of the trace, and no time passes for it, so that
    /// it holds the trace for as long as it is asked.
    asked: Engine,
    partition: u32,
    records: i64,
    tally: Tally,
    so_far: Explanation,
}

/// Spans that are listed: nobody reads more.
const SPANS: usize = 100;

/// For an engine that only holds one trace, with what else is in its records.
const ASKED: Settings = Settings {
    keying: Keying::Keyed,
    completion: Completion {
        quiet: u64::MAX / 4,
        completeness: None,
        max_wait: u64::MAX / 2,
        max_trace_bytes: usize::MAX,
    },
    late_window: 0,
    past: Past::Decide,
    buffer: 4 << 30,
    tick_bytes: 1 << 20,
    output_record_bytes: 1 << 20,
    stamps: Stamps::NONE,
    recall: None,
};

// === impl Follow ===

impl Follow {
    pub fn new(trace: TraceId, settings: Settings, policies: Arc<PolicySet>) -> Self {
        Self {
            trace,
            questions: Questions::new(&policies),
            judge: Engine::new(settings, policies.clone()),
            policies,
            given: None,
            partitions: Vec::new(),
            batch: Batch::default(),
            open: None,
            told: Vec::new(),
        }
    }

    /// The samplers that learn answer for a test: those of these policies keep what they match.
    pub fn give(&mut self, policies: &[u16]) {
        self.judge.give(policies);
        self.given = Some(policies.to_vec());
    }

    /// Takes a partition on, whose records begin at an offset; they name it by this number.
    pub fn assign(&mut self, offset: i64) -> u32 {
        let partition = self.judge.assign(Start::at(offset));
        self.partitions.push(partition);
        partition
    }

    /// Takes the next record in.
    pub fn ingest(&mut self, record: Record<'_>) {
        while let Err(Full) = self.judge.ingest(record, RecordTime::END) {
            self.settle();
        }
        let Some(payload) = record.payload else { return };
        let mut batch = std::mem::take(&mut self.batch);
        if self.questions.policies().decode(payload, record.headers, &mut batch).is_ok() {
            let spans = batch.spans.iter().filter(|span| span.trace_id == self.trace.0).count();
            if spans > 0 {
                // The record's time may have brought the verdict.
                self.settle();
                if self.judge.held(self.trace).is_some() {
                    self.note(record, payload, &batch);
                } else if let Some(last) = self.told.last_mut() {
                    last.late += spans;
                }
            }
        }
        self.batch = batch;
    }

    /// Decides what is left, as at the end of a finite input. What was told of the trace: more than once, where its verdict
    /// was forgotten.
    pub fn finish(mut self) -> Vec<Explanation> {
        for partition in std::mem::take(&mut self.partitions) {
            self.judge.finish(partition);
        }
        while let Err(Full) = self.judge.advance() {
            self.settle();
        }
        self.settle();
        self.told
    }

    /// Looks through what was decided.
    fn settle(&mut self) {
        let tick = self.judge.cut();
        let decisions = tick.decisions.iter().map(|(_, decision)| *decision);
        for decision in decisions.filter(|decision| decision.trace == self.trace) {
            // It stands in the log of each partition of the trace.
            let told = self.open.take().map(|open| open.so_far.decided(decision, &self.policies));
            self.told.extend(told);
        }
        self.judge.settle(tick, &[]);
    }

    /// Notes the spans of a record that joined the trace.
    fn note(&mut self, record: Record<'_>, payload: &[u8], batch: &Batch) {
        let Self { trace, policies, questions, judge, given, open, .. } = self;
        let Some((facts, root)) = judge.held(*trace) else { return };
        let open = open.get_or_insert_with(|| Open::new(*trace, questions, policies));
        let Open { asked, partition, records, tally, so_far } = open;
        for span in batch.spans.iter().filter(|span| span.trace_id == trace.0) {
            questions.ask(payload, batch, span, so_far.span_count, root == Some(span.span_id), tally);
            so_far.span_count += 1;
            if so_far.spans.len() < SPANS {
                so_far.spans.push(Seen {
                    id: span.span_id,
                    parent: span.parent_id,
                    name: String::from_utf8_lossy(span.name.of(payload)).into_owned(),
                    start: span.start,
                    duration: span.duration(),
                    status: span.status,
                });
            }
        }
        for (number, policy) in so_far.policies.iter_mut().enumerate() {
            policy.matches = policies.holds(number, facts);
            let learned = given.as_ref().map(|given| given.iter().any(|keeps| usize::from(*keeps) == number));
            policy.says = policy.answer(learned, facts.randomness);
        }
        let record = Record { partition: *partition, offset: *records, timestamp: None, ..record };
        *records += 1;
        while let Err(Full) = asked.ingest(record, RecordTime::END) {
            let tick = asked.cut();
            asked.settle(tick, &[]);
        }
        if let Some((facts, _)) = asked.held(*trace) {
            let root = so_far.spans.iter().position(|span| Some(span.id) == root);
            for (number, policy) in so_far.policies.iter_mut().enumerate() {
                policy.rows = questions.rows(number, facts, tally, root);
            }
        }
    }
}

// === impl Policy ===

impl Policy {
    /// What its samplers come to; of those that learn it is `learned`.
    fn answer(&self, learned: Option<bool>, randomness: Randomness) -> Option<bool> {
        let reaches = |threshold: Threshold| randomness.0 >= threshold.0;
        match self.action {
            Action::Keep { threshold, .. } if !self.samplers.is_empty() && reaches(threshold) => learned,
            Action::Keep { threshold: Threshold::ALWAYS, .. }
            | Action::Drop { threshold: Threshold::NEVER, .. }
            | Action::Group(_) => None,
            Action::Keep { threshold, .. } | Action::Drop { threshold, .. } => Some(reaches(threshold)),
        }
    }
}

// === impl Explanation ===

impl Explanation {
    /// When it was judged is known now: what was over then is not asked, nor what is in a group that does not match.
    fn decided(mut self, decision: Decision, set: &PolicySet) -> Self {
        for (number, policy) in set.policies().iter().enumerate() {
            let told = &mut self.policies[number];
            if policy.until.is_some_and(|until| decision.decided > until) {
                told.asked = Asked::Over;
            }
            told.matches &= told.asked == Asked::Yes;
            if let (Action::Group(list), false) = (&policy.action, told.matches) {
                for inner in list.policies.clone() {
                    self.policies[usize::from(inner)].asked = Asked::Outside;
                }
            }
        }
        Self { decision: Some(decision), ..self }
    }
}

// === impl Open ===

impl Open {
    fn new(trace: TraceId, questions: &Questions, policies: &PolicySet) -> Self {
        let mut asked = Engine::new(ASKED, questions.policies().clone());
        let partition = asked.assign(Start::at(0));
        let of = |policy: &crate::decide::Policy| Policy {
            name: policy.name.clone(),
            action: policy.action.clone(),
            samplers: policies.samplers(policy).map(one_line).collect(),
            says: None,
            shadow: policy.shadow,
            condition: one_line(&policy.written),
            matches: false,
            asked: Asked::Yes,
            rows: Vec::new(),
        };
        let so_far = Explanation {
            trace,
            spans: Vec::new(),
            span_count: 0,
            late: 0,
            policies: policies.policies().iter().map(of).collect(),
            otherwise: policies.otherwise(),
            decision: None,
        };
        Self { asked, partition, records: 0, tally: questions.tally(), so_far }
    }
}
