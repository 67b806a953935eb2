//! What a contender kept.

use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;

/// A trace and a span of it.
pub type Name = (u128, u64);

/// Which spans, in order; one that stands in the output twice is here twice.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kept(Vec<Name>);

// === impl Kept ===

impl Kept {
    pub fn spans(&self) -> usize {
        self.0.len()
    }

    pub fn traces(&self) -> usize {
        self.0.chunk_by(|a, b| a.0 == b.0).count()
    }

    /// Traces of which not the same spans were kept.
    pub fn differing(&self, other: &Self) -> usize {
        let (mut ours, mut theirs) = (self.by_trace().peekable(), other.by_trace().peekable());
        let mut differing = 0;
        loop {
            let order = match (ours.peek(), theirs.peek()) {
                (None, None) => return differing,
                (None, _) => std::cmp::Ordering::Greater,
                (_, None) => std::cmp::Ordering::Less,
                (Some(ours), Some(theirs)) => ours[0].0.cmp(&theirs[0].0),
            };
            let our = if order.is_le() { ours.next() } else { None };
            let their = if order.is_ge() { theirs.next() } else { None };
            differing += usize::from(our != their);
        }
    }

    fn by_trace(&self) -> impl Iterator<Item = &[Name]> {
        self.0.chunk_by(|a, b| a.0 == b.0)
    }
}

impl FromIterator<Name> for Kept {
    fn from_iter<I: IntoIterator<Item = Name>>(spans: I) -> Self {
        let mut spans: Vec<Name> = spans.into_iter().collect();
        spans.sort_unstable();
        Self(spans)
    }
}

/// Of a record.
pub fn spans_of(value: &[u8]) -> impl Iterator<Item = Name> {
    let scopes = TracesData::decode(value).expect("OTLP").resource_spans.into_iter().flat_map(|of| of.scope_spans);
    scopes.flat_map(|of| of.spans).map(|span| {
        let trace = span.trace_id.try_into().map(u128::from_be_bytes).expect("16 bytes");
        (trace, span.span_id.try_into().map(u64::from_be_bytes).expect("8 bytes"))
    })
}
