//! The outer three levels of OTLP around spans that stay bytes.
//!
//! On the wire a message and a byte string are the same, so prost itself cuts a record into raw resources, scopes and spans,
//! and puts encoded ones together: what was sent and what came back are compared as they were, not as re-encoded.

use std::hash::{BuildHasher, Hasher};

use prost::Message;

/// Every span of an OTLP record, in order, with what stands around it.
pub fn carried(record: &[u8]) -> Result<Vec<Carried>, prost::DecodeError> {
    let mut spans = Vec::new();
    for resource_spans in Traces::decode(record)?.resource_spans {
        let outer = ResourceSpans::decode(&resource_spans[..])?;
        for scope_spans in outer.scope_spans {
            let inner = ScopeSpans::decode(&scope_spans[..])?;
            spans.extend(inner.spans.into_iter().map(|span| Carried {
                resource: outer.resource.clone(),
                scope: inner.scope.clone(),
                schema_urls: [outer.schema_url.clone(), inner.schema_url.clone()],
                span,
            }));
        }
    }
    Ok(spans)
}

/// A span as it travels: its own bytes and those of its resource and scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub resource: Vec<u8>,
    pub scope: Vec<u8>,
    /// The resource's and the scope's.
    pub schema_urls: [String; 2],
    /// An encoded `Span`.
    pub span: Vec<u8>,
}

/// A record's spans, taken together under one entry where resource and scope are the same.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Traces {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub resource_spans: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceSpans {
    #[prost(bytes = "vec", tag = "1")]
    pub resource: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub scope_spans: Vec<Vec<u8>>,
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScopeSpans {
    #[prost(bytes = "vec", tag = "1")]
    pub scope: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub spans: Vec<Vec<u8>>,
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

// === impl Carried ===

impl Carried {
    /// A hash of all the bytes, the same in every process.
    pub fn fingerprint(&self) -> u64 {
        let [resource_url, scope_url] = &self.schema_urls;
        fingerprint([&self.resource, resource_url.as_bytes(), &self.scope, scope_url.as_bytes(), &self.span])
    }
}

/// Resource, its schema URL, scope, its schema URL, span.
pub(super) fn fingerprint(parts: [&[u8]; 5]) -> u64 {
    let mut hasher = foldhash::quality::FixedState::with_seed(0x7461_696c).build_hasher();
    for part in parts {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    hasher.finish()
}
