//! What comes out is what came in: encoding against an independent decoder.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::Span as Theirs;
use proptest::prelude::*;

use super::*;
use crate::decode::arbitrary::{finite, shaken, traces_data};

/// A trace id, and raw bytes of what stands around a span and of the span: resource, scope, span.
type Carried = ([u8; 16], Vec<u8>, Vec<u8>, Vec<u8>);

/// The spans of a record, and the unknown fields around all.
fn carried(payload: &[u8]) -> (Vec<Carried>, Vec<u8>) {
    let mut batch = Batch::default();
    if decode::decode(payload, &Keys::new([]), &mut batch).is_err() {
        return (Vec::new(), Vec::new());
    }
    let spans = batch.spans.iter().map(|span| {
        let scope = &batch.scopes[span.scope as usize];
        let resource = &batch.resources[scope.resource as usize];
        let around = &resource.rest.of(&batch.rest)[resource.outer as usize..];
        let bytes = span.bytes.of(payload).to_vec();
        (span.trace_id, around.to_vec(), scope.rest.of(&batch.rest).to_vec(), bytes)
    });
    let outer = batch.resources.first().map_or(Vec::new(), |r| r.rest.of(&batch.rest)[..r.outer as usize].to_vec());
    (spans.collect(), outer)
}

/// How often a span in its resource and scope, as the published schema has them, stands in a record.
fn spans_of(payload: &[u8], count: &mut BTreeMap<String, i64>, by: i64) {
    for mut resource in TracesData::decode(payload).expect("valid").resource_spans {
        for mut scope in std::mem::take(&mut resource.scope_spans) {
            for span in std::mem::take(&mut scope.spans) {
                if TraceId::new(&span.trace_id).is_some() {
                    *count.entry(format!("{resource:?} {scope:?} {span:?}")).or_default() += by;
                }
            }
        }
    }
}

/// The output of an engine that keeps everything, and the trace of each record.
fn through(payloads: &[Vec<u8>], output_record_bytes: usize) -> (Vec<(TraceId, Vec<u8>)>, Stats, usize) {
    let settings = Settings { output_record_bytes, ..settings(Keying::Keyed) };
    let mut engine = Engine::new(settings, policies(ALL));
    engine.assign(Start::at(0));
    for (offset, payload) in (0..).zip(payloads) {
        let record =
            Record { partition: 0, offset, timestamp: Some(RecordTime(0)), headers: &(), payload: Some(payload) };
        engine.ingest(record, RecordTime::END).expect("room");
    }
    engine.finish(0);
    engine.advance().expect("room");
    let tick = engine.cut();
    let kept = tick.kept.iter().map(|kept| (kept.trace, tick.bytes[kept.bytes.clone()].to_vec())).collect();
    let pointers = tick.dead.iter().filter(|dead| dead.bytes.is_empty()).count();
    engine.settle(tick, &[]);
    assert_eq!(engine.stats().lost(0), 0);
    (kept, engine.stats().clone(), pointers)
}

fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec((traces_data(), any::<u64>()), 0..4)
        .prop_map(|records| records.into_iter().map(|(data, seed)| shaken(&data, seed)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_kept_trace_is_what_was_received(payloads in payloads()) {
        let (kept, ..) = through(&payloads, 1 << 20);
        let mut count = BTreeMap::new();
        let mut received = Vec::new();
        for payload in &payloads {
            spans_of(payload, &mut count, 1);
            received.extend(carried(payload).0);
        }
        let mut sent = Vec::new();
        for (trace, payload) in &kept {
            spans_of(payload, &mut count, -1);
            let (spans, outer) = carried(payload);
            prop_assert!(spans.iter().all(|span| span.0 == trace.0), "one trace a record");
            // Unknown fields around the resources of a span's record come with it.
            for input in &payloads {
                let (theirs, around) = carried(input);
                if theirs.iter().any(|span| spans.contains(span)) && theirs.iter().all(|span| received.iter().filter(|s| *s == span).count() == 1) {
                    prop_assert!(outer.windows(around.len().max(1)).any(|w| w == around) || around.is_empty());
                }
            }
            sent.extend(spans);
        }
        count.retain(|_, count| *count != 0);
        prop_assert!(count.is_empty(), "by the schema: {:?}", count);
        received.sort();
        sent.sort();
        prop_assert_eq!(received, sent, "by bytes");
        let traces: Vec<_> = kept.iter().map(|(trace, _)| *trace).collect();
        let mut once = traces.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), traces.len(), "one record a trace");
    }

    #[test]
    fn what_comes_in_json_goes_out_as_protobuf(records in prop::collection::vec(finite(), 0..4)) {
        let encodings = [
            records.iter().map(|data| data.encode_to_vec()).collect::<Vec<_>>(),
            records.iter().map(|data| serde_json::to_vec(data).expect("JSON")).collect(),
        ];
        let mut count = BTreeMap::new();
        for (payloads, by) in encodings.iter().zip([1, -1]) {
            through(payloads, 1 << 20).0.iter().for_each(|(_, payload)| spans_of(payload, &mut count, by));
        }
        count.retain(|_, count| *count != 0);
        prop_assert!(count.is_empty(), "{:?}", count);
    }

    #[test]
    fn a_trace_too_large_for_a_record_is_split_between_spans(payloads in payloads(), limit in 50..600_usize) {
        let (kept, stats, pointers) = through(&payloads, limit);
        let mut received: Vec<_> = payloads.iter().flat_map(|payload| carried(payload).0).collect();
        let rejected: usize = stats.rejected as usize - payloads.iter().map(|p| zero_ids(p)).sum::<usize>();
        let mut traces_refused = std::collections::BTreeSet::new();
        for (_, payload) in &kept {
            prop_assert!(payload.len() <= limit);
            Theirs::decode(&raw_spans(payload)[0][..]).expect("whole");
            for span in carried(payload).0 {
                let at = received.iter().position(|other| *other == span);
                prop_assert!(at.is_some(), "twice, or changed");
                received.swap_remove(at.unwrap_or(0));
            }
        }
        prop_assert_eq!(received.len(), rejected, "what is not out is counted");
        for (trace, resource, scope, span) in received {
            // Tags and lengths take up to 18 bytes, unknown fields around are short.
            prop_assert!(resource.len() + scope.len() + span.len() + 100 > limit, "it would have fitted");
            traces_refused.insert(trace);
        }
        prop_assert!(pointers >= traces_refused.len());
    }
}

#[test]
fn what_is_no_json_is_set_aside_as_it_came() {
    let mut engine = Engine::new(settings(Keying::Keyed), policies(ALL));
    engine.assign(Start::at(0));
    let payload = br#"{"resourceSpans":7}"#;
    let record = Record { partition: 0, offset: 0, timestamp: None, headers: &(), payload: Some(payload) };
    engine.ingest(record, RecordTime::END).expect("room");
    let tick = engine.cut();
    let [letter] = &tick.dead[..] else { panic!("{} dead letters", tick.dead.len()) };
    assert_eq!(letter.reason, "not OTLP/JSON: expected an array of objects as `resourceSpans` at line 1 column 18");
    assert_eq!(&tick.bytes[letter.bytes.clone()], payload);
}

fn zero_ids(payload: &[u8]) -> usize {
    let mut batch = Batch::default();
    decode::decode(payload, &Keys::new([]), &mut batch).map_or(0, |()| batch.rejected.len())
}
