use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::decode::arbitrary::{shaken, traces_data};

/// A trace, what stands around a span, and the span, as raw bytes.
type Carried = (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>);

fn none() -> HeaderList {
    HeaderList::default()
}

const AT: RecordTime = RecordTime(1_700_000_000_000);

/// The spans of a record, those without a usable trace id behind the others.
fn carried(payload: &[u8]) -> (Vec<Carried>, Vec<Carried>) {
    let mut decoder = Decoder::default();
    let (payload, batch) = decoder.read(payload).expect("well-formed");
    let of = |scope: u32, trace: &[u8], span: &[u8]| {
        let scope = batch.scopes[scope as usize];
        let resource = batch.resources[scope.resource as usize];
        let around = resource.rest.of(&batch.rest)[resource.outer as usize..].to_vec();
        (trace.to_vec(), around, scope.rest.of(&batch.rest).to_vec(), span.to_vec())
    };
    let spans = batch.spans.iter().map(|span| of(span.scope, &span.trace_id, span.bytes.of(payload))).collect();
    let rejected = batch.rejected.iter().map(|span| of(span.scope, &[], span.span.of(payload))).collect();
    (spans, rejected)
}

fn counted(spans: impl IntoIterator<Item = Carried>) -> BTreeMap<Carried, usize> {
    let mut counts = BTreeMap::new();
    spans.into_iter().for_each(|span| *counts.entry(span).or_default() += 1);
    counts
}

proptest! {
    /// Each span comes out once, byte for byte, among those of its trace, and what has none is a dead letter.
    #[test]
    fn spans_are_conserved(data in traces_data(), seed: u64) {
        let payload = shaken(&data, seed);
        let mut split = Split::new(1 << 20);
        split.take(7, 11, AT, &none(), Some(&payload));
        let tick = &split.tick;
        let bytes = |range: &std::ops::Range<usize>| &tick.bytes[range.clone()];
        if Decoder::default().read(&payload).is_err() {
            prop_assert!(tick.kept.is_empty());
            prop_assert_eq!((tick.dead.len(), tick.dead[0].spans), (1, 0));
            prop_assert_eq!(bytes(&tick.dead[0].bytes), &payload[..]);
            return Ok(());
        }
        let (spans, rejected) = carried(&payload);
        let mut traces = Vec::new();
        let mut out = Vec::new();
        for kept in &tick.kept {
            prop_assert_eq!((kept.partition, kept.offset, kept.timestamp), (7, 11, Some(AT)));
            let (spans, rejected) = carried(bytes(&kept.bytes));
            prop_assert_eq!((spans.len(), rejected.len()), (kept.spans as usize, 0));
            prop_assert!(spans.iter().all(|span| span.0 == kept.trace.0));
            traces.push(kept.trace);
            out.extend(spans);
        }
        prop_assert!(traces.is_sorted_by(|a, b| a < b), "one record a trace");
        prop_assert_eq!(counted(out), counted(spans));
        prop_assert_eq!(tick.dead.iter().map(|dead| dead.spans as usize).collect::<Vec<_>>(), vec![1; rejected.len()]);
        let dead = tick.dead.iter().flat_map(|dead| carried(bytes(&dead.bytes)).1);
        prop_assert_eq!(counted(dead), counted(rejected));
    }
}

fn reasons(split: &Split) -> Vec<(&str, u32)> {
    split.tick.dead.iter().map(|dead| (&*dead.reason, dead.spans)).collect()
}

/// A field of protobuf.
fn field(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut field = vec![tag];
    crate::decode::wire::put_varint(&mut field, body.len() as u64);
    field.extend_from_slice(body);
    field
}

/// One resource of `envelope` bytes, and a span of each trace.
fn batch_of(traces: u32, envelope: usize) -> Vec<u8> {
    let spans = (1..=traces).flat_map(|trace| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&trace.to_be_bytes());
        field(0x12, &field(0x0a, &id))
    });
    let scope = field(0x12, &spans.collect::<Vec<_>>());
    field(0x0a, &[field(0x0a, &vec![0; envelope]), scope].concat())
}

#[test]
fn what_cannot_be_read_is_said() {
    let mut split = Split::new(1 << 20);
    split.take(0, 1, AT, &none(), None);
    split.take(0, 2, AT, &none(), Some(b"not OTLP"));
    split.take(0, 3, AT, &none(), Some(&vec![0; limits::RECORD_BYTES + 1]));
    let reasons = reasons(&split);
    assert_eq!(reasons.len(), 3);
    assert_eq!(reasons[0], ("the record has no value", 0));
    assert!(reasons[2].0.contains("more than 8388608"), "{reasons:?}");
    assert!(split.tick.kept.is_empty());
}

#[test]
fn headers_go_with_each_trace_and_count() {
    let headers: HeaderList = [("tenant".to_owned(), Some(vec![b'x'; 400])), ("none".to_owned(), None)].into();
    let (mut bare, mut split) = (Split::new(1_000), Split::new(1_000));
    bare.take(0, 1, AT, &none(), Some(&batch_of(3, 500)));
    split.take(0, 1, AT, &headers, Some(&batch_of(3, 500)));
    assert!(split.tick.kept.iter().all(|kept| kept.headers.as_ref() == Some(&headers)));
    assert_eq!((bare.tick.kept.len(), split.tick.kept.len()), (3, 3));
    assert!(split.tick.size() >= bare.tick.size() + 3 * 400);
    split.tick.discard(0);
    assert_eq!(split.tick.size(), 0);
    // With them a record is larger than its topic takes.
    split.take(0, 2, AT, &headers, Some(&batch_of(3, 700)));
    assert_eq!((split.tick.kept.len(), split.tick.dead.iter().map(|dead| dead.spans).sum::<u32>()), (0, 3));
    bare.take(0, 2, AT, &none(), Some(&batch_of(3, 700)));
    assert_eq!(bare.tick.kept.len(), 6);
}

#[test]
fn a_span_that_fits_nowhere_is_named() {
    let mut split = Split::new(1_000);
    split.take(0, 1, AT, &none(), Some(&batch_of(2, 2_000)));
    assert!(split.tick.kept.is_empty());
    assert_eq!(split.tick.dead.iter().map(|dead| dead.spans).sum::<u32>(), 2);
}

#[test]
fn envelopes_around_every_trace_are_bounded() {
    let mut split = Split::new(1 << 20);
    split.take(0, 1, AT, &none(), Some(&batch_of(1_000, 500_000)));
    assert!(split.tick.size() < OVERFULL + (1 << 20));
    let kept = split.tick.kept.iter().map(|kept| kept.spans).sum::<u32>();
    let [(reason, spans)] = reasons(&split)[..] else { panic!("one pointer") };
    assert!(reason.contains("too much to be re-keyed"));
    assert_eq!(kept + spans, 1_000);
    assert!(split.is_full());
}
