//! What is true of traces, whatever policies say: all spans of the range count, late ones too.

use std::collections::HashMap;

use super::sample::Sample;
use crate::{
    decode::{Batch, Span, Value, resource_attribute},
    model::TraceId,
    names::Names,
};

/// Every trace of the sample that has a span in the range.
#[derive(Default)]
pub struct Traces {
    numbers: HashMap<TraceId, u32>,
    all: Vec<Trace>,
    parts: Vec<Part>,
    pub services: Names,
    /// The service, by its number in 4 bytes, and the name of the span.
    operations: Names,
    /// Of the record in hand: the services of its resources.
    of_resources: Vec<u32>,
}

pub struct Trace {
    pub id: TraceId,
    start: u64,
    end: u64,
    pub spans: u32,
    /// Some span's status is an error.
    pub failed: bool,
    /// The first root by (start, id), which are here, and what it does.
    root: Option<(u64, u64)>,
    /// In `Traces::operations`.
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
const SERVICE: &[u8] = b"service.name";

// === impl Traces ===

impl Traces {
    /// The spans of a record.
    pub fn add(&mut self, payload: &[u8], batch: &Batch, sample: Sample) {
        self.of_resources.clear();
        for resource in &batch.resources {
            let service = match resource_attribute(resource.rest.of(&batch.rest), SERVICE) {
                Value::Str(service) => self.services.number(service),
                _ => 0,
            };
            self.of_resources.push(service);
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
            let (start, end) = (u64::MAX, 0);
            self.all.push(Trace { id, start, end, spans: 0, failed: false, root: None, operation: 0, parts: NIL });
        }
        let trace = &mut self.all[number as usize];
        trace.spans += 1;
        trace.failed |= span.status == 2;
        if span.start > 0 {
            trace.start = trace.start.min(span.start);
            trace.end = trace.end.max(span.end);
        }
        let root = (span.start, span.span_id);
        if span.is_root() && trace.root.is_none_or(|first| root < first) {
            trace.root = Some(root);
            let name = span.name.of(payload);
            trace.operation = self.operations.number(&[&service.to_be_bytes(), name].concat());
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

    /// The service and the name of the span at the root, as text. Both are empty where there is no root.
    pub fn operation(&self, number: u32) -> (String, String) {
        match self.operations.get(number).split_first_chunk::<4>() {
            Some((service, name)) => {
                (self.services.text(u32::from_be_bytes(*service)), String::from_utf8_lossy(name).into_owned())
            }
            None => (String::new(), String::new()),
        }
    }
}

// === impl Trace ===

impl Trace {
    /// Nanoseconds from the first start to the last end.
    pub fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}
