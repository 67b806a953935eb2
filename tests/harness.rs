//! The judge is judged first: what it says of the generator's traffic, and of output that is wrong.

use std::collections::HashSet;

use opentelemetry_proto::tonic::{common::v1::KeyValue, trace::v1::TracesData};
use prost::Message;
use tailwater::generate::Shape;

use crate::support::{
    kafka::{Committed, Record, kafka},
    oracle::{Copies, Expected, TraceId},
    seed::seed,
    spans::{self, failed, heavy, keyed, record, span, trace},
    traffic::Shop,
};

/// Kept by an error, and in two records.
fn input() -> Vec<Record> {
    vec![
        keyed(0, 0, vec![failed(span(trace(1), 2, 1, 0))]),
        keyed(1, 5, vec![span(trace(2), 1, 0, 0)]),
        keyed(0, 20, vec![span(trace(1), 1, 0, 0), heavy(span(trace(1), 3, 1, 2), 100)]),
    ]
}

/// As the program would stamp it: the weight on all, the reasons on the root.
fn stamped(mut record: Record, trace_state: &str) -> Record {
    let mut data = TracesData::decode(&record.value[..]).expect("OTLP");
    for span in data.resource_spans.iter_mut().flat_map(|of| &mut of.scope_spans).flat_map(|of| &mut of.spans) {
        span.trace_state = trace_state.to_owned();
        if span.parent_span_id.is_empty() {
            span.attributes.extend(reasons());
        }
    }
    record.value = data.encode_to_vec();
    record
}

/// With the reasons on all spans.
fn noted(mut record: Record) -> Record {
    let mut data = TracesData::decode(&record.value[..]).expect("OTLP");
    let spans = data.resource_spans.iter_mut().flat_map(|of| &mut of.scope_spans).flat_map(|of| &mut of.spans);
    spans.for_each(|span| span.attributes.extend(reasons()));
    record.value = data.encode_to_vec();
    record
}

fn reasons() -> impl Iterator<Item = KeyValue> {
    let all = [("policy", "errors"), ("reason", "always"), ("completion", "structure")];
    all.into_iter().map(|(key, text)| spans::text(&format!("tailwater.{key}"), text))
}

#[test]
fn records_come_back_as_they_were_sent() {
    let topic = kafka().topic("harness-records", 2);
    let mut sent = input();
    sent[0].headers.push(("reason".to_owned(), b"none".to_vec()));
    topic.produce(sent.clone());
    sent[2].offset = 1;
    let mut read = topic.records();
    read.sort_by_key(|record| record.timestamp);
    assert_eq!(read, sent);
    assert_eq!(topic.ends(), [2, 1]);
    assert_eq!(topic.committed("nobody"), vec![Committed { offset: None, metadata: String::new() }; 2]);
}

#[test]
fn the_oracle_and_the_generator_agree() {
    let shop = Shop { seed: seed(), traces: 3_000, shape: Shape::default() };
    let keep = |error, http_5xx, duration_ns, randomness| {
        error || http_5xx || duration_ns > 5_000_000_000 || randomness >= 71_337_018_784_743_424
    };
    let traces = shop
        .traces()
        .filter(|trace| keep(trace.truth.error, trace.truth.http_5xx, trace.truth.duration_ns, trace.truth.randomness));
    let truth: HashSet<TraceId> = traces.map(|trace| trace.id.0).collect();
    let spans: usize = shop.traces().map(|trace| trace.spans.len()).sum();
    for (name, records) in
        [("harness-keyed", shop.keyed(3).collect::<Vec<Record>>()), ("harness-batched", shop.batched(3).collect())]
    {
        let topic = kafka().topic(name, 3);
        topic.produce(records);
        let expected = Expected::of(&[&topic]);
        assert_eq!((expected.traces, expected.spans), (3_000, spans));
        assert_eq!(expected.kept.keys().copied().collect::<HashSet<TraceId>>(), truth);
    }
}

#[test]
fn the_oracle_sees_what_is_wrong() {
    let topic = kafka().topic("harness-faults", 2);
    topic.produce(input());
    let expected = Expected::of(&[&topic]);
    let fault = |output: &[Record], copies| {
        let panic = std::panic::catch_unwind(|| expected.check(output, copies)).err()?;
        panic.downcast_ref::<String>().cloned()
    };
    let right = [stamped(input().remove(0), "ot=th:0"), stamped(input().remove(2), "ot=th:0")];
    assert_eq!(fault(&right, Copies::One), None);

    let faults: [(&str, Vec<Record>); 9] = [
        ("\"ot=th:8\"", vec![right[0].clone(), stamped(input().remove(2), "ot=th:8")]),
        ("Some(2) spans say why", vec![noted(right[0].clone()), right[1].clone()]),
        ("missing", vec![]),
        ("1 spans absent", vec![right[1].clone()]),
        ("1 doubled", vec![right[0].clone(), right[0].clone(), right[1].clone()]),
        ("no business", vec![right[0].clone(), right[1].clone(), stamped(input().remove(1), "ot=th:fd70a3d70a3d71")]),
        ("under the key None", vec![Record { key: None, ..right[0].clone() }, right[1].clone()]),
        ("2 traces in one record", vec![record(0, 0, vec![span(trace(1), 1, 0, 0), span(trace(2), 1, 0, 0)])]),
        ("not as sent", vec![right[0].clone(), keyed(0, 20, vec![span(trace(1), 1, 0, 1), span(trace(1), 3, 1, 2)])]),
    ];
    for (words, output) in faults {
        let said = fault(&output, Copies::One).unwrap_or_else(|| panic!("{words}: not seen"));
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(fault(&[right[0].clone(), right[0].clone(), right[1].clone()], Copies::OneOrMore), None);
}
