//! OTLP protobuf (`ExportTraceServiceRequest`, `TracesData`: the same bytes) into ranges.
//!
//! Field numbers: opentelemetry-proto, `trace/v1/trace.proto`. The walk goes down to the fields of a span and no further;
//! inside an attribute it looks only where a policy names the key. What it does not look at it does not check: the bytes
//! are carried as they came.

use super::{
    Batch, Found, Keys, Rejected, Resource, Scope, Span,
    tracestate::explicit_randomness,
    value::{Value, key_value},
    wire::{Field, Malformed, Range, Reader},
};
use crate::{limits, lines, model::TraceId};

const RESOURCE_SPANS: u32 = 1;
const SCOPE_SPANS: u32 = 2;
const SPANS: u32 = 2;

/// What fits into the nearer caches: of a larger record the first lines would be gone again before they are walked.
const NEAR: usize = 256 << 10;

/// Reads one record into `batch`, which is emptied first. `keys` are the span attributes to look for.
///
/// # Errors
/// The record as a whole is refused; `batch` is then to be ignored.
pub fn decode(payload: &[u8], keys: &Keys, batch: &mut Batch) -> Result<(), Malformed> {
    batch.clear();
    lines::touch(&payload[..payload.len().min(NEAR)]);
    let mut reader = Reader::new(payload)?;
    while let Some(field) = reader.field()? {
        match field.number {
            RESOURCE_SPANS => message_of(field, batch)?,
            _ => batch.rest.extend_from_slice(field.range.of(payload)),
        }
    }
    let outer = batch.rest.len();
    if batch.messages.is_empty() && outer > 0 {
        return Err(Malformed::Foreign);
    }
    // The body of a message is walked twice, the envelope first: a resource may stand behind its spans.
    let resources = batch.messages.len();
    for i in 0..resources {
        let message = batch.messages[i];
        let first = batch.messages.len();
        let start = batch.rest.len();
        if start + outer > limits::RECORD_BYTES {
            return Err(Malformed::TooMany);
        }
        batch.rest.extend_from_within(..outer);
        envelope(payload, message, SCOPE_SPANS, batch)?;
        batch.resources.push(Resource { outer: outer as u32, rest: rest_since(start, batch) });
        for j in first..batch.messages.len() {
            scope(payload, batch.messages[j], keys, batch)?;
        }
        batch.messages.truncate(first);
    }
    Ok(())
}

fn message_of(field: Field<'_>, batch: &mut Batch) -> Result<(), Malformed> {
    batch.messages.push(field.bytes()?.1);
    batch.check()
}

/// Splits a message into its repeated children of field `children`, pushed to `batch.messages`, and the rest.
fn envelope(payload: &[u8], message: Range, children: u32, batch: &mut Batch) -> Result<(), Malformed> {
    let mut reader = Reader::within(payload, message);
    while let Some(field) = reader.field()? {
        if field.number == children {
            message_of(field, batch)?;
        } else {
            batch.rest.extend_from_slice(field.range.of(payload));
        }
    }
    Ok(())
}

fn scope(payload: &[u8], message: Range, keys: &Keys, batch: &mut Batch) -> Result<(), Malformed> {
    let start = batch.rest.len();
    let mut reader = Reader::within(payload, message);
    while let Some(field) = reader.field()? {
        match field.number {
            SPANS => _ = field.bytes()?,
            _ => batch.rest.extend_from_slice(field.range.of(payload)),
        }
    }
    let scope = batch.scopes.len() as u32;
    let resource = batch.resources.len() as u32 - 1;
    batch.scopes.push(Scope { resource, rest: rest_since(start, batch) });
    let mut reader = Reader::within(payload, message);
    while let Some(field) = reader.field()? {
        if field.number == SPANS {
            span(payload, field.bytes()?.1, scope, keys, batch)?;
        }
    }
    Ok(())
}

fn span(payload: &[u8], message: Range, scope: u32, keys: &Keys, batch: &mut Batch) -> Result<(), Malformed> {
    let mut trace_id: &[u8] = &[];
    let found = batch.found.len();
    let mut span = Span { scope, bytes: message, ..Span::default() };
    let mut reader = Reader::within(payload, message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => trace_id = field.bytes()?.0,
            2 => span.span_id = id(field)?,
            3 => span.randomness = explicit_randomness(field.bytes()?.0),
            4 => span.parent_id = id(field)?,
            5 => span.name = field.bytes()?.1,
            6 => span.kind = field.varint()? as i32,
            7 => span.start = field.fixed64()?,
            8 => span.end = field.fixed64()?,
            9 if !keys.is_empty() => attribute(payload, field, keys, found, batch)?,
            15 => status(payload, field, &mut span)?,
            _ => {}
        }
    }
    match TraceId::new(trace_id) {
        Some(id) => {
            span.trace_id = id.0;
            span.found = Range { start: found as u32, end: batch.found.len() as u32 };
            batch.spans.push(span);
        }
        None => {
            batch.found.truncate(found);
            batch.rejected.push(Rejected { scope, span: message, trace_id_len: trace_id.len() as u32 });
        }
    }
    batch.check()
}

/// Keeps a wanted attribute. Of a key given twice the first counts, as in the Collector.
fn attribute(payload: &[u8], field: Field<'_>, keys: &Keys, span: usize, batch: &mut Batch) -> Result<(), Malformed> {
    let (key, value) = key_value(payload, field.bytes()?.1)?;
    if let Some(slot) = keys.slot(key)
        && !batch.found[span..].iter().any(|found| found.slot == slot)
    {
        Value::parse(payload, value)?;
        batch.found.push(Found { slot, value });
    }
    Ok(())
}

fn status(payload: &[u8], field: Field<'_>, span: &mut Span) -> Result<(), Malformed> {
    let mut reader = Reader::within(payload, field.bytes()?.1);
    while let Some(field) = reader.field()? {
        if field.number == 3 {
            span.status = field.varint()? as i32;
        }
    }
    Ok(())
}

/// A span id; 0 where it is absent or all zero. An id of a wrong length names no span: it becomes `Span::NO_SPAN`.
fn id(field: Field<'_>) -> Result<u64, Malformed> {
    let bytes = field.bytes()?.0;
    Ok(match <[u8; 8]>::try_from(bytes) {
        Ok(id) => u64::from_be_bytes(id),
        Err(_) if bytes.is_empty() => 0,
        Err(_) => Span::NO_SPAN,
    })
}

fn rest_since(start: usize, batch: &Batch) -> Range {
    Range { start: start as u32, end: batch.rest.len() as u32 }
}
