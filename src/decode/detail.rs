//! What only few policies look at, found in the bytes when one does.
//!
//! The bytes have been walked once by decoding, so fields are where they seem to be; inside a message that was not looked at,
//! what is malformed counts as absent, and so does a field of another wire type.
//!
//! Field numbers: opentelemetry-proto, `trace/v1/trace.proto`.

use super::{
    value::Bodies,
    wire::{Reader, Wire},
};

/// Fields of a span beside those of [`Span`](super::Span).
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail<'a> {
    pub span_id: &'a [u8],
    pub parent_id: &'a [u8],
    pub trace_state: &'a [u8],
    pub status_message: &'a [u8],
    pub dropped_attributes: u32,
    pub dropped_events: u32,
    pub dropped_links: u32,
    pub flags: u32,
}

/// A span's event, or its link to another span. What it does not have is empty or 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Item<'a> {
    pub bytes: &'a [u8],
    /// Where its attributes are among its fields.
    pub attributes: u32,
    pub time: u64,
    pub name: &'a [u8],
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    pub trace_state: &'a [u8],
    pub dropped_attributes: u32,
    pub flags: u32,
}

/// Name and version of the scope in `rest`, the fields of a `ScopeSpans` other than its spans.
pub fn scope(rest: &[u8]) -> (&[u8], &[u8]) {
    let (mut name, mut version): (&[u8], &[u8]) = (&[], &[]);
    for scope in Bodies::of(rest, 1) {
        name = text(scope, 1).unwrap_or(name);
        version = text(scope, 2).unwrap_or(version);
    }
    (name, version)
}

/// The schema URL in the fields of a `ResourceSpans` or a `ScopeSpans`.
pub fn schema_url(rest: &[u8]) -> &[u8] {
    text(rest, 3).unwrap_or_default()
}

/// The events of a span, in the order they were sent.
pub fn events(span: &[u8]) -> impl Iterator<Item = Item<'_>> {
    Bodies::of(span, 11).map(|bytes| {
        let mut event = Item { bytes, attributes: 3, ..Item::default() };
        each(bytes, |number, value| match (number, value) {
            (1, Wire::Fixed64(time)) => event.time = time,
            (2, Wire::Bytes(name)) => event.name = name,
            (4, Wire::Varint(count)) => event.dropped_attributes = count as u32,
            _ => {}
        });
        event
    })
}

/// The links of a span, in the order they were sent.
pub fn links(span: &[u8]) -> impl Iterator<Item = Item<'_>> {
    Bodies::of(span, 13).map(|bytes| {
        let mut link = Item { bytes, attributes: 4, ..Item::default() };
        each(bytes, |number, value| match (number, value) {
            (1, Wire::Bytes(id)) => link.trace_id = id,
            (2, Wire::Bytes(id)) => link.span_id = id,
            (3, Wire::Bytes(state)) => link.trace_state = state,
            (5, Wire::Varint(count)) => link.dropped_attributes = count as u32,
            (6, Wire::Fixed32(flags)) => link.flags = flags,
            _ => {}
        });
        link
    })
}

// === impl Detail ===

impl<'a> Detail<'a> {
    /// Of the body of a span.
    pub fn of(span: &'a [u8]) -> Self {
        let mut detail = Self::default();
        each(span, |number, value| match (number, value) {
            (2, Wire::Bytes(id)) => detail.span_id = id,
            (3, Wire::Bytes(state)) => detail.trace_state = state,
            (4, Wire::Bytes(id)) => detail.parent_id = id,
            (10, Wire::Varint(count)) => detail.dropped_attributes = count as u32,
            (12, Wire::Varint(count)) => detail.dropped_events = count as u32,
            (14, Wire::Varint(count)) => detail.dropped_links = count as u32,
            (15, Wire::Bytes(status)) => detail.status_message = text(status, 2).unwrap_or(detail.status_message),
            (16, Wire::Fixed32(flags)) => detail.flags = flags,
            _ => {}
        });
        detail
    }
}

/// Visits the fields of a message, up to where it is malformed.
fn each<'a>(message: &'a [u8], mut visit: impl FnMut(u32, Wire<'a>)) {
    let Ok(mut reader) = Reader::new(message) else { return };
    while let Ok(Some(field)) = reader.field() {
        visit(field.number, field.value);
    }
}

/// The last of the fields of one number.
fn text(message: &[u8], number: u32) -> Option<&[u8]> {
    Bodies::of(message, number).last()
}
