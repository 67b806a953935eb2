//! The traces of a kept sample, put together from its records.

use std::collections::HashMap;

use anyhow::ensure;

use super::Unit;
use crate::{
    course::Course,
    decode::{Batch, Decoder, Span, detail::Detail, explicit_threshold},
    limits,
    model::{Threshold, TraceId},
    names::Operations,
};

/// Records are given one by one, in any order.
pub struct Kept {
    traces: HashMap<TraceId, Trace>,
    pub records: u64,
    /// That hold no spans.
    pub refused: u64,
    pub spans: u64,
    /// Of roots.
    pub operations: Operations,
    decoder: Decoder,
    /// More traces are refused.
    pub(super) most: usize,
}

#[derive(Clone, Copy, Default)]
pub struct Trace {
    course: Course,
    /// Of the root, or the least of all spans where there is none.
    threshold: Option<Threshold>,
    /// In `Kept::operations`; 0 without a root.
    pub service: u32,
    pub operation: u32,
}

/// Some 150 bytes each: three quarters of a gigabyte.
const MOST: usize = 5_000_000;

// === impl Kept ===

impl Kept {
    /// # Errors
    /// There are too many traces.
    pub fn add(&mut self, payload: Option<&[u8]>) -> anyhow::Result<()> {
        self.records += 1;
        let mut decoder = std::mem::take(&mut self.decoder);
        let payload = payload.filter(|payload| payload.len() <= limits::RECORD_BYTES);
        match payload.and_then(|payload| decoder.read(payload).ok()) {
            Some((payload, batch)) => batch.spans.iter().for_each(|span| self.span(payload, batch, span)),
            None => self.refused += 1,
        }
        self.decoder = decoder;
        ensure!(self.traces.len() <= self.most, "more than {} traces; choose a shorter range", self.most);
        Ok(())
    }

    fn span(&mut self, payload: &[u8], batch: &Batch, span: &Span) {
        let Self { traces, operations, .. } = self;
        self.spans += 1;
        let id = TraceId(span.trace_id);
        let threshold = threshold(id, span, span.bytes.of(payload));
        let trace = traces.entry(id).or_default();
        if trace.course.add(span) {
            let scope = &batch.scopes[span.scope as usize];
            trace.service = operations.service(batch.resources[scope.resource as usize].rest.of(&batch.rest));
            trace.operation = operations.number(trace.service, span.name.of(payload));
            trace.threshold = threshold;
        } else if !trace.course.has_root() {
            trace.threshold = match (trace.threshold, threshold) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
    }

    pub fn traces(&self) -> impl Iterator<Item = &Trace> {
        self.traces.values()
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            traces: HashMap::new(),
            records: 0,
            refused: 0,
            spans: 0,
            operations: Operations::default(),
            decoder: Decoder::default(),
            most: MOST,
        }
    }
}

// === impl Trace ===

impl Trace {
    /// None of one without a weight.
    pub fn unit(&self) -> Option<Unit> {
        let Self { course, threshold, .. } = self;
        Some(Unit { threshold: (*threshold)?, failed: course.failed, duration: course.duration() })
    }
}

/// What a span says it was sampled by, if that can be.
fn threshold(trace: TraceId, span: &Span, body: &[u8]) -> Option<Threshold> {
    let threshold = explicit_threshold(Detail::of(body).trace_state).ok()??;
    let randomness = span.randomness.unwrap_or_else(|| trace.randomness());
    (randomness.0 >= threshold.0).then_some(threshold)
}
