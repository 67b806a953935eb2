//! Traces cut into the records that agents would send.

use std::{cmp::Reverse, collections::BinaryHeap, iter::Peekable, sync::Arc};

use prost::Message;

use super::{
    envelope::{ResourceSpans, ScopeSpans, Traces},
    traffic::{Origin, Span, Trace},
};
use crate::model::TraceId;

/// Small records, each of one trace and one resource and at most two spans, keyed by the trace, in the order of sending.
/// `traces` come in the order of their starts.
pub fn keyed(traces: impl Iterator<Item = Trace>) -> impl Iterator<Item = Record> {
    in_order(traces.map(|trace| {
        let key = trace.id.hex();
        let groups = pairs(trace.spans);
        (trace.start_ms, groups.into_iter().map(move |spans| (trace.id, Some(key), spans)).collect())
    }))
    .map(|(at_ms, (id, key, spans))| Record {
        at_ms,
        key,
        value: encode(spans.iter().map(|span| (&span.origin, &span.bytes))),
        spans: spans.into_iter().map(|span| (id, span.id)).collect(),
    })
}

/// Unkeyed batches that mix traces, as collectors send them: `size` spans (the last one fewer), grouped by resource.
/// `traces` come in the order of their starts.
pub fn batched(traces: impl Iterator<Item = Trace>, size: usize) -> impl Iterator<Item = Record> {
    let mut spans = in_order(traces.map(|trace| {
        let id = trace.id;
        (trace.start_ms, trace.spans.into_iter().map(|span| (id, None, vec![span])).collect())
    }))
    .flat_map(|(at_ms, (id, _, spans))| spans.into_iter().map(move |span| (at_ms, id, span)));
    std::iter::from_fn(move || {
        let mut batch: Vec<(u64, TraceId, Span)> = spans.by_ref().take(size).collect();
        let at_ms = batch.last()?.0;
        batch.sort_by_key(|(_, _, span)| span.origin.index);
        Some(Record {
            at_ms,
            key: None,
            value: encode(batch.iter().map(|(_, _, span)| (&span.origin, &span.bytes))),
            spans: batch.iter().map(|(_, id, span)| (*id, span.id)).collect(),
        })
    })
}

/// A Kafka record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it is sent, ms after the epoch of the traffic.
    pub at_ms: u64,
    /// The trace's id in lower-case hex.
    pub key: Option<[u8; 32]>,
    /// An OTLP `TracesData`.
    pub value: Vec<u8>,
    /// Which spans it holds.
    pub spans: Vec<(TraceId, u64)>,
}

/// Spans in one record may have waited this long for each other, ms.
const PATIENCE_MS: u64 = 100;

type Group = (TraceId, Option<[u8; 32]>, Vec<Span>);

/// Neighbours of one origin, two by two.
fn pairs(spans: Vec<Span>) -> Vec<Vec<Span>> {
    let mut groups: Vec<Vec<Span>> = Vec::with_capacity(spans.len());
    for span in spans {
        let open = groups.iter_mut().rev().find(|group| {
            group.len() == 1
                && group[0].origin.index == span.origin.index
                && span.delay_ms - group[0].delay_ms <= PATIENCE_MS
        });
        match open {
            Some(group) => group.push(span),
            None => groups.push(vec![span]),
        }
    }
    groups
}

/// Merges the traces' groups by the time of their last span.
fn in_order(traces: impl Iterator<Item = (u64, Vec<Group>)>) -> impl Iterator<Item = (u64, Group)> {
    InOrder { traces: traces.peekable(), waiting: BinaryHeap::new(), sequence: 0 }
}

struct InOrder<I: Iterator<Item = (u64, Vec<Group>)>> {
    traces: Peekable<I>,
    /// Traces overlap by seconds, so this holds seconds of traffic.
    waiting: BinaryHeap<Reverse<Waiting>>,
    sequence: u64,
}

/// Ordered by time, then by when it was drawn.
struct Waiting {
    order: (u64, u64),
    group: Group,
}

// === impl InOrder ===

impl<I: Iterator<Item = (u64, Vec<Group>)>> Iterator for InOrder<I> {
    type Item = (u64, Group);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let due = self.waiting.peek().map(|Reverse(waiting)| waiting.order.0);
            match self.traces.peek().map(|(start, _)| *start) {
                // A later trace sends nothing before its start.
                Some(start) if due.is_none_or(|due| start <= due) => {}
                _ => return self.waiting.pop().map(|Reverse(waiting)| (waiting.order.0, waiting.group)),
            }
            if let Some((start, groups)) = self.traces.next() {
                for group in groups {
                    let at = start + group.2.last().map_or(0, |span| span.delay_ms);
                    self.sequence += 1;
                    self.waiting.push(Reverse(Waiting { order: (at, self.sequence), group }));
                }
            }
        }
    }
}

// === impl Waiting ===

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

/// Neighbours of one origin share an entry.
fn encode<'a>(spans: impl Iterator<Item = (&'a Arc<Origin>, &'a Vec<u8>)>) -> Vec<u8> {
    let mut traces = Traces::default();
    let mut group: Option<(&Arc<Origin>, ScopeSpans)> = None;
    let mut close = |group: Option<(&Arc<Origin>, ScopeSpans)>| {
        if let Some((origin, scope_spans)) = group {
            let outer = ResourceSpans {
                resource: origin.resource.clone(),
                scope_spans: vec![scope_spans.encode_to_vec()],
                schema_url: origin.schema_url.to_owned(),
            };
            traces.resource_spans.push(outer.encode_to_vec());
        }
    };
    for (origin, bytes) in spans {
        if group.as_ref().is_none_or(|(open, _)| open.index != origin.index) {
            let next = ScopeSpans { scope: origin.scope.clone(), ..ScopeSpans::default() };
            close(group.replace((origin, next)));
        }
        if let Some((_, scope_spans)) = &mut group {
            scope_spans.spans.push(bytes.clone());
        }
    }
    close(group);
    traces.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use prost::Message;

    use super::*;
    use crate::generate::{Shape, Traffic, carried, otlp};

    fn traces() -> Vec<Trace> {
        Traffic::new(5, Shape::default()).take(2_000).collect()
    }

    fn check(traces: &[Trace], records: &[Record]) {
        assert!(records.is_sorted_by_key(|record| record.at_ms));
        let mut truth: HashMap<(TraceId, u64), u64> = HashMap::new();
        for trace in traces {
            truth.extend(trace.truth.spans.iter().map(|span| ((trace.id, span.id), span.fingerprint)));
        }
        for record in records {
            otlp::TracesData::decode(&record.value[..]).unwrap();
            let spans = carried(&record.value).unwrap();
            assert_eq!(spans.len(), record.spans.len());
            for (span, name) in spans.iter().zip(&record.spans) {
                let decoded = otlp::Span::decode(&span.span[..]).unwrap();
                assert_eq!(decoded.trace_id, name.0.0);
                assert_eq!(decoded.span_id, name.1.to_be_bytes());
                assert_eq!(truth.remove(name), Some(span.fingerprint()));
            }
        }
        assert!(truth.is_empty(), "{} spans were not sent", truth.len());
    }

    fn bytes_a_span(records: &[Record]) -> f64 {
        let (bytes, spans) = records.iter().fold((0, 0), |(b, s), r| (b + r.value.len(), s + r.spans.len()));
        bytes as f64 / spans as f64
    }

    #[test]
    fn keyed_records_hold_two_spans_of_one_trace() {
        let traces = traces();
        let records: Vec<Record> = keyed(traces.clone().into_iter()).collect();
        check(&traces, &records);
        for record in &records {
            assert!((1..=2).contains(&record.spans.len()));
            assert!(record.spans.iter().all(|(id, _)| Some(id.hex()) == record.key));
            assert_eq!(otlp::TracesData::decode(&record.value[..]).unwrap().resource_spans.len(), 1);
        }
        let size = bytes_a_span(&records);
        assert!((500.0..600.0).contains(&size), "{size} B a span");
    }

    #[test]
    fn batches_mix_traces() {
        let traces = traces();
        let records: Vec<Record> = batched(traces.clone().into_iter(), 100).collect();
        check(&traces, &records);
        let (last, full) = records.split_last().unwrap();
        assert!(full.iter().all(|record| record.spans.len() == 100) && last.spans.len() <= 100);
        let size = bytes_a_span(&records);
        assert!((380.0..460.0).contains(&size), "{size} B a span");
    }
}
