//! What must be true of everything that is durable, at every moment.
//!
//! The judge sees the input and what was committed, and nothing of the workers.

use std::collections::BTreeMap;

use super::{
    history::Setup,
    record::{self, Sent},
    undisturbed::Verdict,
};
use crate::{
    assemble::Reason,
    config::Delivery,
    decisions::{self, Decision},
    model::TraceId,
    source::Metadata,
};

pub struct Judge {
    traces: Vec<Trace>,
    /// By span id less one.
    spans: Vec<Span>,
    /// Offsets of each partition, with the spans there; a record that is no record has none.
    records: Vec<BTreeMap<i64, Vec<u64>>>,
    /// Committed dead letters, and how often, by the record.
    dead: BTreeMap<(usize, i64), (Letter, usize)>,
    /// What is decided of each trace where nothing happens, if that is known.
    undisturbed: BTreeMap<usize, Verdict>,
    /// Verdicts are remembered for as long as a history lasts.
    for_good: bool,
    /// Output may come twice.
    at_least_once: bool,
    names: Vec<String>,
    /// Prints what happens.
    tells: bool,
    /// The first thing that was wrong.
    pub wrong: Option<String>,
}

/// Milliseconds after the first of a strict trace in which its last span comes: clocks of producers are off by a bit, and
/// deadlines are rounded.
pub const STRICT: i64 = super::history::MAX_WAIT - 3_000;

pub struct Trace {
    pub id: [u8; 16],
    pub spans: Vec<u64>,
    pub error: bool,
    pub veto: bool,
    /// All of it comes in time, the root last: it is decided whole, whatever happens.
    pub strict: bool,
    /// Its root is there.
    pub closed: bool,
    /// Record time.
    pub first: i64,
    /// Committed.
    pub verdict: Option<bool>,
}

/// A dead letter: of a record as a whole, or of so many of its spans.
#[derive(Clone, Copy, Debug)]
pub struct Letter {
    pub partition: usize,
    pub offset: i64,
    pub spans: u32,
}

/// The number of a trace.
pub fn number(trace: TraceId) -> usize {
    u64::from_be_bytes(trace.0[8..].try_into().expect("8 of 16 bytes")) as usize
}

struct Span {
    trace: usize,
    sent: Sent,
    /// The record it came in.
    at: (usize, i64),
    out: usize,
}

// === impl Judge ===

impl Judge {
    pub fn new(partitions: usize, names: Vec<String>, setup: &Setup) -> Self {
        Self {
            traces: Vec::new(),
            spans: Vec::new(),
            records: vec![BTreeMap::new(); partitions],
            dead: BTreeMap::new(),
            undisturbed: BTreeMap::new(),
            for_good: setup.for_good,
            at_least_once: setup.config.delivery == Delivery::AtLeastOnce,
            names,
            tells: setup.tells,
            wrong: None,
        }
    }

    pub fn traces(&mut self) -> &mut Vec<Trace> {
        &mut self.traces
    }

    /// From now on, nothing else may be decided.
    pub fn expect(&mut self, verdicts: BTreeMap<usize, Verdict>) {
        self.undisturbed = verdicts;
    }

    /// It is so late: what is not whole by now will not be in time.
    pub fn expire(&mut self, now: i64) {
        self.traces
            .iter_mut()
            .filter(|trace| !trace.closed)
            .for_each(|trace| trace.strict &= now - trace.first < STRICT);
    }

    /// A new span's id.
    pub fn span(&mut self, trace: usize) -> u64 {
        self.spans.push(Span { trace, sent: Sent::default(), at: (0, 0), out: 0 });
        let id = self.spans.len() as u64;
        self.traces[trace].spans.push(id);
        id
    }

    pub fn produced(&mut self, partition: usize, offset: usize, time: i64, spans: Vec<(u64, Sent)>) {
        self.tell(|| {
            let of: Vec<_> = spans.iter().map(|(span, _)| (span, self.spans[*span as usize - 1].trace)).collect();
            format!("{partition}/{offset} at {time}: spans and traces {of:?}")
        });
        let spans = spans.into_iter().map(|(id, sent)| {
            let span = &mut self.spans[id as usize - 1];
            (span.sent, span.at) = (sent, (partition, offset as i64));
            id
        });
        self.records[partition].insert(offset as i64, spans.collect());
    }

    /// The ids of the spans in a record for the output. They are as they came (I6), whether the record is ever committed or not.
    pub fn sent(&mut self, record: &[u8]) -> Vec<u64> {
        let mut ids = Vec::new();
        for span in record::spans(record) {
            let id = span.id();
            if !span.is(&self.spans[id as usize - 1].sent) {
                self.wrong(format!("span {id} is sent otherwise than it came (I6)"));
            }
            ids.push(id);
        }
        ids
    }

    /// A transaction is decided to commit: readers will see it, sooner or later.
    pub fn committed<'a>(&mut self, decided: impl Iterator<Item = &'a [u8]>, kept: &[u64], dead: &[Letter]) {
        self.tell(|| format!("to be committed: {kept:?}, dead {dead:?}"));
        for value in decided {
            match decisions::decode(value, &self.names) {
                Ok(logged) => logged.decisions.iter().for_each(|decision| self.decided(decision)),
                Err(error) => self.wrong(format!("a record of decisions: {error}")),
            }
        }
        for &id in kept {
            let span = &mut self.spans[id as usize - 1];
            span.out += 1;
            if span.out > 1 && !self.at_least_once {
                let trace = span.trace;
                self.wrong(format!("span {id} of trace {trace} is doubled"));
            }
        }
        for &letter in dead {
            let (_, copies) = self.dead.entry((letter.partition, letter.offset)).or_insert((letter, 0));
            *copies += 1;
            if *copies > 1 && !self.at_least_once {
                self.wrong(format!("the dead letter of {letter:?} is doubled"));
            }
        }
    }

    fn decided(&mut self, decision: &Decision) {
        let number = number(decision.trace);
        let keep = decision.verdict.keep;
        self.tell(|| format!("  trace {number}: {keep}, {:?}, {} spans", decision.reason, decision.spans));
        // Where output may come twice, a verdict is written again for what is left of its trace.
        let verdict = Verdict::of(decision);
        if let (None, Some(due)) = (self.traces[number].verdict, self.undisturbed.get(&number))
            && *due != verdict
        {
            self.wrong(format!("trace {number} has the verdict {verdict:?}, and undisturbed {due:?} (I5)"));
        }
        // It could not be waited for.
        self.traces[number].strict &= !matches!(decision.reason, Reason::Memory | Reason::Size);
        let before = self.traces[number].verdict.replace(keep);
        if self.for_good && before.is_some_and(|before| before != keep) {
            self.wrong(format!("trace {number} has two verdicts"));
        }
    }

    /// Offsets of a partition are committed: nothing below is ever read again.
    pub fn moved(&mut self, partition: usize, before: Option<(i64, Metadata)>, (offset, metadata): (i64, Metadata)) {
        self.tell(|| format!("committed: {partition} at {offset} {metadata}"));
        if let Some((w, of)) = before {
            let fell = offset < w || metadata.position < of.position || metadata.floor < of.floor;
            if fell || metadata.tick <= of.tick {
                self.wrong(format!("{partition} fell from {w} {of} to {offset} {metadata}"));
            }
        }
        if metadata.position < offset {
            self.wrong(format!("{partition}: P below W: {offset} {metadata}"));
        }
        let passed = before.map_or(0, |(w, _)| w)..offset;
        let passed: Vec<_> = self.records[partition].range(passed).map(|(at, of)| (*at, of.clone())).collect();
        for (at, spans) in passed {
            if spans.is_empty() && !self.dead.contains_key(&(partition, at)) {
                self.wrong(format!("{partition}/{at} is no record, has been passed, and is not in the dead letters"));
            }
            spans.iter().for_each(|&span| self.check(span));
        }
    }

    /// All has been read and decided.
    pub fn end(&mut self) {
        (1..=self.spans.len() as u64).for_each(|span| self.check(span));
    }

    /// A span that was passed is out if its trace is kept, and not if not.
    fn check(&mut self, id: u64) {
        let Span { trace, at, out, .. } = self.spans[id as usize - 1];
        let Trace { strict, closed, verdict, .. } = self.traces[trace];
        if strict && !closed {
            self.wrong(format!("trace {trace} was decided before its root"));
        }
        let due = self.due(id);
        if due.is_some_and(|due| due != (out > 0)) && !self.are_set_aside(at) {
            let of = if strict { "strict " } else { "" };
            self.wrong(format!("span {id} of {of}trace {trace} is out {out} times, due is {due:?}"));
        }
        if self.for_good && verdict.is_none() {
            self.wrong(format!("span {id} of trace {trace} was passed without a verdict"));
        }
    }

    /// Whether a span is to be out, where that can be said.
    fn due(&self, id: u64) -> Option<bool> {
        let Trace { error, veto, strict, verdict, .. } = self.traces[self.spans[id as usize - 1].trace];
        if strict { Some(error && !veto) } else { verdict.filter(|_| self.for_good) }
    }

    /// Whether the spans of a record that are wrongly out or not are late ones of a kept trace, for which a tick had no room:
    /// they are not out, and the dead letters say how many they are.
    fn are_set_aside(&self, record: (usize, i64)) -> bool {
        let Some((Letter { spans: set_aside, .. }, _)) = self.dead.get(&record) else { return false };
        let ids = self.records[record.0].get(&record.1).into_iter().flatten();
        let wrong: Vec<(Option<bool>, usize)> = ids
            .map(|&id| (self.due(id), self.spans[id as usize - 1].out))
            .filter(|&(due, out)| due.is_some_and(|due| due != (out > 0)))
            .collect();
        wrong.len() <= *set_aside as usize && wrong.iter().all(|&(due, _)| due == Some(true))
    }

    /// A line of the story, where somebody listens.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        if self.tells {
            println!("    {}", line());
        }
    }

    pub fn wrong(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }
}
