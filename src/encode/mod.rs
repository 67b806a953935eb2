//! Kept spans back into OTLP protobuf: the received bytes under newly written lengths, and what is stamped on them.
//!
//! Part of the pure core.

mod stamp;
mod trace_state;

pub use stamp::{Edit, Notes, SPAN_LEAST, SPAN_STAMP, Stamp, Stamps, start};

use crate::decode::wire::{put_varint, varint_len};

/// A span to write, and the envelopes it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    pub resource: u32,
    pub scope: u32,
    /// Keeps the order of arrival within a scope.
    pub order: u32,
    pub span: u32,
    /// Length of the span's body as it is written, in bytes.
    pub len: u32,
    /// What is stamped on it.
    pub edit: Edit,
}

/// Where the bytes of items are.
pub trait Carried {
    /// Unknown fields around the `ResourceSpans`, and its own fields without its scopes.
    fn resource(&self, resource: u32) -> (&[u8], &[u8]);
    /// The fields of the `ScopeSpans` without its spans.
    fn scope(&self, scope: u32) -> &[u8];
    fn span(&self, span: u32) -> &[u8];
    /// A span's own id.
    fn span_id(&self, span: u32) -> u64;
}

/// Field 1 of `TracesData`, field 2 of `ResourceSpans`, field 2 of `ScopeSpans`, all length-delimited.
const RESOURCE_SPANS: u8 = 1 << 3 | 2;
const SCOPE_SPANS: u8 = 2 << 3 | 2;
const SPANS: u8 = 2 << 3 | 2;

/// Writes items, sorted, as one `TracesData`. `stamped` is what their edits put in.
pub fn traces_data(items: &[Item], carried: &impl Carried, stamped: &[u8], out: &mut Vec<u8>) {
    for resource in items.chunk_by(|a, b| a.resource == b.resource) {
        let (outer, rest) = carried.resource(resource[0].resource);
        out.extend_from_slice(outer);
        let scopes = || resource.chunk_by(|a, b| a.scope == b.scope);
        let len = rest.len() + scopes().map(|scope| field_len(scope_len(scope, carried))).sum::<usize>();
        put_field(RESOURCE_SPANS, len, rest, out);
        for scope in scopes() {
            put_field(SCOPE_SPANS, scope_len(scope, carried), carried.scope(scope[0].scope), out);
            for item in scope {
                let [before, put, behind] = item.edit.parts(carried.span(item.span), stamped);
                put_field(SPANS, item.len as usize, before, out);
                out.extend_from_slice(put);
                out.extend_from_slice(behind);
            }
        }
    }
}

/// How many of the leading items one record of at most `limit` bytes can take; 0 where not even the first fits.
pub fn fitting(items: &[Item], carried: &impl Carried, limit: usize) -> usize {
    fit(items, carried, limit).0
}

/// How many bytes items, sorted, may take in records of at most `limit` bytes.
pub fn size(items: &[Item], carried: &impl Carried, limit: usize) -> usize {
    let (mut total, mut rest) = (0, items);
    while !rest.is_empty() {
        let (count, size) = fit(rest, carried, limit);
        total += size;
        rest = &rest[count.max(1)..];
    }
    total
}

/// How many of the leading items fit, and how many bytes they may take.
fn fit(items: &[Item], carried: &impl Carried, limit: usize) -> (usize, usize) {
    let (mut size, mut previous): (usize, Option<&Item>) = (0, None);
    for (count, item) in items.iter().enumerate() {
        let before = size;
        // A message's length may take all 5 bytes of a varint below 4 GiB.
        if previous.is_none_or(|p| p.resource != item.resource) {
            let (outer, rest) = carried.resource(item.resource);
            size += outer.len() + 6 + rest.len();
        }
        if previous.is_none_or(|p| p.scope != item.scope) {
            size += 6 + carried.scope(item.scope).len();
        }
        size += field_len(item.len as usize);
        if size > limit {
            return (count, before);
        }
        previous = Some(item);
    }
    (items.len(), size)
}

// === impl Item ===

impl Item {
    /// Takes an edit on; the span has none yet.
    pub fn stamp(&mut self, edit: Edit) {
        self.edit = edit;
        self.len = self.len - edit.cut.len() as u32 + edit.put.len() as u32;
    }

    /// Goes out as it came. False where it does that already.
    pub fn unstamp(&mut self) -> bool {
        let edit = std::mem::take(&mut self.edit);
        self.len = self.len - edit.put.len() as u32 + edit.cut.len() as u32;
        edit != Edit::default()
    }
}

fn scope_len(items: &[Item], carried: &impl Carried) -> usize {
    carried.scope(items[0].scope).len() + items.iter().map(|item| field_len(item.len as usize)).sum::<usize>()
}

fn field_len(body: usize) -> usize {
    1 + varint_len(body as u64) + body
}

/// Writes a field's tag and length, and the first of its body.
fn put_field(tag: u8, len: usize, body: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    put_varint(out, len as u64);
    out.extend_from_slice(body);
}
