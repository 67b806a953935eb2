//! What is true of traces, whatever policies say: all spans of the range count, late ones too.

use std::collections::HashMap;

use super::sample::Sample;
use crate::{
    course::Course,
    decode::{Batch, Span},
    model::TraceId,
    names::Operations,
};

/// Every trace of the sample that has a span in the range.
#[derive(Default)]
pub struct Traces {
    numbers: HashMap<TraceId, u32>,
    all: Vec<Trace>,
    parts: Vec<Part>,
    pub operations: Operations,
    /// Of the record in hand: the services of its resources.
    of_resources: Vec<u32>,
}

pub struct Trace {
    pub id: TraceId,
    pub course: Course,
    pub spans: u32,
    /// What its root does, in `Traces::operations`; 0 without one.
    pub operation: u32,
    /// In `Traces::parts`: the first of a chain.
    parts: u32,
}

/// What a service has of a trace.
struct Part {
    service: u32,
    spans: u32,
    bytes: u64,
    next: u32,
}

const NIL: u32 = u32::MAX;

// === impl Traces ===

impl Traces {
    /// The spans of a record.
    pub fn add(&mut self, payload: &[u8], batch: &Batch, sample: Sample) {
        self.of_resources.clear();
        for resource in &batch.resources {
            self.of_resources.push(self.operations.service(resource.rest.of(&batch.rest)));
        }
        for span in batch.spans.iter().filter(|span| sample.has(TraceId(span.trace_id))) {
            let service = self.of_resources[batch.scopes[span.scope as usize].resource as usize];
            self.span(payload, span, service);
        }
    }

    fn span(&mut self, payload: &[u8], span: &Span, service: u32) {
        let id = TraceId(span.trace_id);
        let number = *self.numbers.entry(id).or_insert(self.all.len() as u32);
        if number as usize == self.all.len() {
            self.all.push(Trace { id, course: Course::default(), spans: 0, operation: 0, parts: NIL });
        }
        let trace = &mut self.all[number as usize];
        trace.spans += 1;
        if trace.course.add(span) {
            trace.operation = self.operations.number(service, span.name.of(payload));
        }
        let mut at = trace.parts;
        while at != NIL && self.parts[at as usize].service != service {
            at = self.parts[at as usize].next;
        }
        if at == NIL {
            at = self.parts.len() as u32;
            self.parts.push(Part { service, spans: 0, bytes: 0, next: trace.parts });
            trace.parts = at;
        }
        let part = &mut self.parts[at as usize];
        part.spans += 1;
        part.bytes += span.bytes.len() as u64;
    }

    pub fn number(&self, id: TraceId) -> Option<usize> {
        self.numbers.get(&id).map(|&number| number as usize)
    }

    pub fn all(&self) -> &[Trace] {
        &self.all
    }

    /// What each service has of a trace: its number and its bytes.
    pub fn parts(&self, trace: &Trace) -> impl Iterator<Item = (u32, u64)> {
        let next = |at: u32| (at != NIL).then_some(at);
        std::iter::successors(next(trace.parts), move |&at| next(self.parts[at as usize].next)).map(|at| {
            let Part { service, bytes, .. } = self.parts[at as usize];
            (service, bytes)
        })
    }

    pub fn bytes(&self, trace: &Trace) -> u64 {
        self.parts(trace).map(|(_, bytes)| bytes).sum()
    }
}
