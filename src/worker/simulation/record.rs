//! Records as producers write them, with fields that no schema knows, and what of these stands in the output.

use std::{iter, sync::LazyLock};

use prost::{
    Message,
    encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint},
};

use crate::generate::otlp::{KeyValue, Resource, Scope, Span};

/// A span as it was sent: its bytes, and which of the envelopes it stood in.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub resource: usize,
    pub scope: usize,
    pub bytes: Vec<u8>,
}

/// A span as it stands in a record, with the other fields of its resource and of its scope.
pub struct Found<'a> {
    resource: Vec<u8>,
    scope: Vec<u8>,
    bytes: &'a [u8],
}

/// How many different ones there are of resources, and of scopes.
pub const ENVELOPES: usize = 3;
/// Fields of `TracesData`, and of `ResourceSpans` and `ScopeSpans`.
const RESOURCES: u32 = 1;
const OWN: u32 = 1;
const INNER: u32 = 2;
const SCHEMA: u32 = 3;
/// No schema has it.
const UNKNOWN: u32 = 99;

/// What stands in a `ResourceSpans` and in a `ScopeSpans` beside what they hold.
static ENVELOPE: LazyLock<[(Vec<u8>, Vec<u8>); ENVELOPES]> = LazyLock::new(|| {
    std::array::from_fn(|number| {
        let attributes = vec![KeyValue { key: format!("key-{number}"), ..KeyValue::default() }];
        let resource = Resource { attributes, ..Resource::default() }.encode_to_vec();
        let scope = Scope { name: format!("scope-{number}"), ..Scope::default() }.encode_to_vec();
        let envelope = |own: &[u8]| {
            let mut envelope = Vec::new();
            put(&mut envelope, UNKNOWN, &[number as u8]);
            put(&mut envelope, OWN, own);
            put(&mut envelope, SCHEMA, format!("schema-{number}").as_bytes());
            envelope
        };
        (envelope(&resource), envelope(&scope))
    })
});

/// A span's bytes, so many of them in a field that nobody knows.
pub fn span(span: &Span, more: usize) -> Vec<u8> {
    let mut bytes = span.encode_to_vec();
    put(&mut bytes, UNKNOWN, &vec![0; more]);
    bytes
}

/// A record of spans, each in envelopes of its own.
pub fn record<'a>(spans: impl Iterator<Item = &'a Sent>) -> Vec<u8> {
    let mut record = Vec::new();
    for Sent { resource, scope, bytes } in spans {
        let (mut resource, mut scope) = (ENVELOPE[*resource].0.clone(), ENVELOPE[*scope].1.clone());
        put(&mut scope, INNER, bytes);
        put(&mut resource, INNER, &scope);
        put(&mut record, RESOURCES, &resource);
    }
    record
}

/// The spans of a record. It is read by hand: no decoder shows what it does not know.
pub fn spans(record: &[u8]) -> Vec<Found<'_>> {
    let mut spans = Vec::new();
    for (_, resource, _) in fields(record) {
        for (_, scope, _) in fields(resource).filter(|&(number, ..)| number == INNER) {
            for (_, bytes, _) in fields(scope).filter(|&(number, ..)| number == INNER) {
                spans.push(Found { resource: beside(resource), scope: beside(scope), bytes });
            }
        }
    }
    spans
}

// === impl Found ===

impl Found<'_> {
    pub fn id(&self) -> u64 {
        let span = Span::decode(self.bytes).expect("a span");
        u64::from_be_bytes(span.span_id.try_into().expect("8 bytes"))
    }

    /// I6: it stands there as it was sent, and behind that what is stamped on it.
    pub fn is(&self, sent: &Sent) -> bool {
        self.resource == ENVELOPE[sent.resource].0
            && self.scope == ENVELOPE[sent.scope].1
            && self.bytes.strip_prefix(&*sent.bytes).is_some_and(is_stamp)
    }
}

/// What is kept is kept for certain, and says so whatever happened in between; a root also says why.
fn is_stamp(fields: &[u8]) -> bool {
    let Ok(stamp) = Span::decode(fields) else { return false };
    let keys: Vec<&str> = stamp.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    let only = Span { trace_state: "ot=th:0".to_owned(), attributes: stamp.attributes.clone(), ..Span::default() };
    stamp == only && (keys.is_empty() || keys == ["tailwater.policy", "tailwater.reason", "tailwater.completion"])
}

fn put(message: &mut Vec<u8>, number: u32, value: &[u8]) {
    encode_key(number, WireType::LengthDelimited, message);
    encode_varint(value.len() as u64, message);
    message.extend_from_slice(value);
}

/// The fields of a message but for what it holds.
fn beside(message: &[u8]) -> Vec<u8> {
    fields(message).filter(|&(number, ..)| number != INNER).flat_map(|(.., whole)| whole).copied().collect()
}

/// Number, value, and all of it, of each field of a message in which all have a length.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u32, &[u8], &[u8])> {
    iter::from_fn(move || {
        let before = message;
        if message.is_empty() {
            return None;
        }
        let (number, kind) = decode_key(&mut message).expect("a field");
        assert_eq!(kind, WireType::LengthDelimited, "field {number}");
        let len = decode_varint(&mut message).expect("a length") as usize;
        let (value, rest) = message.split_at(len);
        message = rest;
        Some((number, value, &before[..before.len() - rest.len()]))
    })
}
