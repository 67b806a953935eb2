//! Records into spans, as byte ranges: nothing is built of what is only carried. What is written in JSON is brought to protobuf first.
//!
//! Part of the pure core: no clock, no lock, no I/O.

mod decoder;
pub mod detail;
mod headers;
mod json;
mod keys;
mod otlp;
mod tracestate;
mod value;
pub mod wire;

#[cfg(test)]
pub mod arbitrary;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use decoder::{Decoder, NotOtlp};
pub use headers::Headers;
pub use json::protobuf;
pub use keys::Keys;
pub use otlp::decode;
pub use tracestate::{NoThreshold, OT, explicit_randomness, explicit_threshold, trace_state_entry};
pub use value::{Bodies, Key, Value, attribute, elements, resource_attribute, scope_attribute};
pub use wire::{Malformed, Range};

use crate::{limits, model::Randomness};

/// What one record holds. Reused from record to record, so that decoding allocates nothing once it has grown.
#[derive(Debug, Default)]
pub struct Batch {
    pub resources: Vec<Resource>,
    pub scopes: Vec<Scope>,
    pub spans: Vec<Span>,
    /// The attributes some policy names, of all spans.
    pub found: Vec<Found>,
    /// Spans that no trace can hold.
    pub rejected: Vec<Rejected>,
    /// The envelopes' own bytes: what is left of each `ResourceSpans` and `ScopeSpans` without its children.
    pub rest: Vec<u8>,
    /// What policies look at of the record beside its value, as they number it; in `rest`.
    pub beside: Vec<Option<Range>>,
    /// Messages still to be walked.
    messages: Vec<Range>,
}

/// A `ResourceSpans` without its scopes: resource, schema URL, unknown fields, as received.
#[derive(Clone, Copy, Debug)]
pub struct Resource {
    /// In `Batch::rest`.
    pub rest: Range,
    /// So many leading bytes of `rest` are unknown fields of the message around it.
    pub outer: u32,
}

/// A `ScopeSpans` without its spans: scope, schema URL, unknown fields, as received.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    pub resource: u32,
    /// In `Batch::rest`.
    pub rest: Range,
}

/// A span: what assembly and policies look at, and where its bytes stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Never all zero.
    pub trace_id: [u8; 16],
    /// 0 where absent.
    pub span_id: u64,
    /// 0 for a root.
    pub parent_id: u64,
    /// Nanoseconds since the Unix epoch; 0 where unset.
    pub start: u64,
    /// Nanoseconds since the Unix epoch; 0 where unset, as in a span still running.
    pub end: u64,
    pub kind: i32,
    pub status: i32,
    /// `rv` of the trace state.
    pub randomness: Option<Randomness>,
    pub scope: u32,
    /// The message's body in the payload, without tag and length.
    pub bytes: Range,
    pub name: Range,
    /// In `Batch::found`.
    pub found: Range,
}

/// A wanted attribute: the slot of its key in [`Keys`], and where its `AnyValue` stands in the payload.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub slot: u16,
    pub value: Range,
}

/// A span without a usable trace id.
#[derive(Clone, Copy, Debug)]
pub struct Rejected {
    pub scope: u32,
    pub span: Range,
    /// 16 means that the id was all zero.
    pub trace_id_len: u32,
}

// === impl Span ===

impl Span {
    /// Stands for an id that names no span.
    pub const NO_SPAN: u64 = u64::MAX;

    pub fn is_root(&self) -> bool {
        self.parent_id == 0
    }

    /// Nanoseconds; 0 where an end is unset or before the start.
    pub fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

// === impl Rejected ===

impl Rejected {
    /// In words, for whoever reads the dead letters.
    pub fn reason(&self) -> Cow<'static, str> {
        match self.trace_id_len {
            16 => "a span's trace id is all zero".into(),
            len => format!("a span's trace id has {len} bytes, not 16").into(),
        }
    }
}

// === impl Batch ===

impl Batch {
    /// Notes the next of what policies look at of the record beside its value.
    ///
    /// # Errors
    /// `TooMany` where it is more than a record may hold.
    pub fn note(&mut self, value: Option<&[u8]>) -> Result<(), Malformed> {
        let start = self.rest.len();
        if start + value.map_or(0, <[u8]>::len) > 2 * limits::RECORD_BYTES {
            return Err(Malformed::TooMany);
        }
        self.rest.extend_from_slice(value.unwrap_or_default());
        let range = Range { start: start as u32, end: self.rest.len() as u32 };
        self.beside.push(value.map(|_| range));
        Ok(())
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        let Self { resources, scopes, spans, found, rejected, rest, beside, messages } = self;
        resources.capacity() * size_of::<Resource>()
            + scopes.capacity() * size_of::<Scope>()
            + spans.capacity() * size_of::<Span>()
            + found.capacity() * size_of::<Found>()
            + rejected.capacity() * size_of::<Rejected>()
            + rest.capacity()
            + beside.capacity() * size_of::<Option<Range>>()
            + messages.capacity() * size_of::<Range>()
    }

    /// # Errors
    /// `TooMany` where it has outgrown what one record may hold.
    fn check(&self) -> Result<(), Malformed> {
        let parts = self.resources.len() + self.scopes.len() + self.spans.len() + self.rejected.len();
        if parts + self.messages.len() > limits::RECORD_PARTS { Err(Malformed::TooMany) } else { Ok(()) }
    }

    fn clear(&mut self) {
        let Self { resources, scopes, spans, found, rejected, rest, beside, messages } = self;
        resources.clear();
        scopes.clear();
        spans.clear();
        found.clear();
        rejected.clear();
        rest.clear();
        beside.clear();
        messages.clear();
    }
}
