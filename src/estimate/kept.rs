//! The traces of a kept sample, put together from its records.

use std::collections::HashMap;

use anyhow::ensure;

use super::Unit;
use crate::{
    decode::{self, Batch, Keys, Span, Value, detail::Detail, explicit_threshold, resource_attribute},
    limits,
    model::{Threshold, TraceId},
    names::Names,
};

/// Records are given one by one, in any order.
pub struct Kept {
    traces: HashMap<TraceId, Trace>,
    pub records: u64,
    /// That hold no spans.
    pub refused: u64,
    pub spans: u64,
    pub services: Names,
    /// The service, by its number in 4 bytes, and the name of the span.
    operations: Names,
    batch: Batch,
    nothing_wanted: Keys,
    /// More traces are refused.
    pub(super) most: usize,
}

#[derive(Clone, Copy)]
pub struct Trace {
    start: u64,
    end: u64,
    failed: bool,
    /// The first root by (start, id).
    root: Option<(u64, u64)>,
    /// Of the root, or the least of all spans where there is none.
    threshold: Option<Threshold>,
    /// In `Kept::services` and in its operations; 0 without a root.
    pub service: u32,
    pub operation: u32,
}

/// Some 150 bytes each: three quarters of a gigabyte.
const MOST: usize = 5_000_000;
const SERVICE: &[u8] = b"service.name";

// === impl Kept ===

impl Kept {
    /// # Errors
    /// There are too many traces.
    pub fn add(&mut self, payload: Option<&[u8]>) -> anyhow::Result<()> {
        self.records += 1;
        let mut batch = std::mem::take(&mut self.batch);
        let payload = payload.filter(|payload| payload.len() <= limits::RECORD_BYTES);
        match payload.filter(|payload| decode::decode(payload, &self.nothing_wanted, &mut batch).is_ok()) {
            Some(payload) => batch.spans.iter().for_each(|span| self.span(payload, &batch, span)),
            None => self.refused += 1,
        }
        self.batch = batch;
        ensure!(self.traces.len() <= self.most, "more than {} traces; choose a shorter range", self.most);
        Ok(())
    }

    fn span(&mut self, payload: &[u8], batch: &Batch, span: &Span) {
        let Self { traces, services, operations, .. } = self;
        self.spans += 1;
        let id = TraceId(span.trace_id);
        let threshold = threshold(id, span, span.bytes.of(payload));
        let trace = traces.entry(id).or_insert(Trace {
            start: u64::MAX,
            end: 0,
            failed: false,
            root: None,
            threshold: None,
            service: 0,
            operation: 0,
        });
        trace.failed |= span.status == 2;
        if span.start > 0 {
            trace.start = trace.start.min(span.start);
            trace.end = trace.end.max(span.end);
        }
        let root = (span.start, span.span_id);
        if span.is_root() && trace.root.is_none_or(|first| root < first) {
            let scope = &batch.scopes[span.scope as usize];
            let resource = batch.resources[scope.resource as usize].rest.of(&batch.rest);
            trace.service = match resource_attribute(resource, SERVICE) {
                Value::Str(service) => services.number(service),
                _ => 0,
            };
            let name = span.name.of(payload);
            trace.operation = operations.number(&[&trace.service.to_be_bytes(), name].concat());
            (trace.root, trace.threshold) = (Some(root), threshold);
        } else if trace.root.is_none() {
            trace.threshold = match (trace.threshold, threshold) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
    }

    pub fn traces(&self) -> impl Iterator<Item = &Trace> {
        self.traces.values()
    }

    /// The service and the name of the root. Both are empty where there is none.
    pub fn operation(&self, number: u32) -> (String, String) {
        match self.operations.get(number).split_first_chunk::<4>() {
            Some((service, name)) => {
                (self.services.text(u32::from_be_bytes(*service)), String::from_utf8_lossy(name).into_owned())
            }
            None => (String::new(), String::new()),
        }
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            traces: HashMap::new(),
            records: 0,
            refused: 0,
            spans: 0,
            services: Names::default(),
            operations: Names::default(),
            batch: Batch::default(),
            nothing_wanted: Keys::new([]),
            most: MOST,
        }
    }
}

// === impl Trace ===

impl Trace {
    /// None of one without a weight.
    pub fn unit(&self) -> Option<Unit> {
        let Self { failed, start, end, .. } = *self;
        Some(Unit { threshold: self.threshold?, failed, duration: end.saturating_sub(start) })
    }
}

/// What a span says it was sampled by, if that can be.
fn threshold(trace: TraceId, span: &Span, body: &[u8]) -> Option<Threshold> {
    let threshold = explicit_threshold(Detail::of(body).trace_state).ok()??;
    let randomness = span.randomness.unwrap_or_else(|| trace.randomness());
    (randomness.0 >= threshold.0).then_some(threshold)
}
