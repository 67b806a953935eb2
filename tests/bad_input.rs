//! What cannot be used is set aside with the reason, and the stream goes on.

use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message;

use crate::support::{
    kafka::{Record, kafka},
    oracle::{Copies, Expected},
    processor::Job,
    spans::{EPOCH, failed, heavy, keyed, passing_time, record, span, trace},
};

#[test]
fn bad_records_and_bad_spans_go_to_the_dead_letters() {
    let input = kafka().topic("bad-spans", 2);
    let output = kafka().topic("bad-kept", 1);
    let job = Job::named("bad");
    let bad = |partition, value: &[u8]| Record {
        partition,
        timestamp: EPOCH + 10,
        key: Some(b"bad".to_vec()),
        value: value.to_vec(),
        ..Record::default()
    };
    let zero = Span { trace_id: vec![0; 16], ..span(trace(1), 7, 0, 10) };
    let short = Span { trace_id: vec![9; 8], ..span(trace(1), 8, 0, 10) };
    let mut cut = keyed(0, 10, vec![failed(span(trace(3), 1, 0, 0))]);
    cut.value.pop();
    input.produce([
        keyed(0, 0, vec![failed(span(trace(1), 1, 0, 0))]),
        bad(0, b"this is not OTLP"),
        record(0, 20, vec![zero.clone(), failed(span(trace(2), 1, 0, 0)), short.clone()]),
        bad(1, &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        bad(1, &cut.value),
        keyed(1, 30, vec![failed(span(trace(4), 1, 0, 0))]),
    ]);
    let mut processor = job.run();
    processor.wait_until("all of it to be handled", |metrics| metrics.received() >= 5 && metrics.held() == 0);
    let metrics = processor.metrics().expect("it runs");
    assert_eq!((metrics.forwarded(), metrics.rejected(), metrics.lost()), (3, 2, 0));
    assert_eq!(metrics.sum("tailwater_records_rejected_total"), 3);
    let ended = processor.terminate();
    assert!(ended.status.success(), "{}", ended.said);

    Expected::of(&[&input]).check(&output.records(), Copies::One);
    let dead = kafka().existing(&job.dead_letters(), 2).records();
    let letter = |partition: &str, offset: &str| -> Vec<&Record> {
        let here = |record: &&Record| {
            record.header("tailwater.topic") == Some("bad-spans")
                && record.header("tailwater.partition") == Some(partition)
                && record.header("tailwater.offset") == Some(offset)
                && record.header("tailwater.reason").is_some_and(|reason| !reason.is_empty())
        };
        dead.iter().filter(here).collect()
    };
    assert_eq!(dead.len(), 5);
    assert_eq!(letter("0", "1")[0].value, b"this is not OTLP");
    assert_eq!(letter("1", "0")[0].value, [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(letter("1", "1")[0].value, cut.value);
    let original =
        TracesData::decode(&input.records().iter().find(|r| (r.partition, r.offset) == (0, 2)).unwrap().value[..]);
    let original = &original.unwrap().resource_spans[0];
    let mut spans = Vec::new();
    for letter in letter("0", "2") {
        let data = TracesData::decode(&letter.value[..]).expect("a dead span is OTLP");
        let [resource] = &data.resource_spans[..] else { panic!("one resource") };
        assert_eq!((&resource.resource, &resource.schema_url), (&original.resource, &original.schema_url));
        assert_eq!(resource.scope_spans[0].scope, original.scope_spans[0].scope);
        assert_eq!(resource.scope_spans.len(), 1);
        spans.extend(resource.scope_spans[0].spans.clone());
    }
    spans.sort_by(|a, b| a.span_id.cmp(&b.span_id));
    assert_eq!(spans, [zero, short]);
}

#[test]
fn a_trace_over_the_topics_limit_comes_out_in_several_records() {
    const LIMIT: usize = 100_000;
    let input = kafka().topic("oversize-spans", 1);
    let output = kafka().topic_with("oversize-kept", 1, &[("max.message.bytes", &LIMIT.to_string())]);
    let root = |number| failed(span(trace(number), 1, 0, 0));
    let children = (2..1_000).map(|id| heavy(span(trace(1), id, 1, 1), 900)).collect::<Vec<_>>();
    let mut records: Vec<Record> = children.chunks(250).map(|spans| keyed(0, 5, spans.to_vec())).collect();
    records.push(keyed(0, 10, vec![root(1)]));
    records.push(keyed(0, 10, vec![root(2)]));
    input.produce(records);
    Job::named("oversize").run_until_end();

    let kept = output.records();
    Expected::of(&[&input]).check(&kept, Copies::One);
    assert!(kept.len() > 10, "{} records", kept.len());
    assert!(kept.iter().all(|record| record.value.len() < LIMIT));
}

#[test]
fn a_huge_trace_and_a_huge_record_stay_inside_the_budget() {
    const BUDGET: u64 = 64 << 20;
    let input = kafka().topic_with("huge-spans", 1, &[("max.message.bytes", "20000000")]);
    let output = kafka().topic("huge-kept", 1);
    let mut job = Job::named("huge");
    job.more = "memory: { buffer: 64MiB }\n".to_owned();
    // 6 MB in one record, 115 MB of one trace, more than the budget holds, and a record over the program's own limit.
    let record_of = |number, first, count| {
        let spans = (first..first + count).map(|id| heavy(span(trace(number), id, 1, 1), 12_000));
        keyed(0, 10, spans.collect())
    };
    let error = |number, at| keyed(0, at, vec![failed(span(trace(number), 1, 0, 0))]);
    input.produce([record_of(1, 2, 500), error(1, 20), record_of(4, 2, 1_000)]);
    input.produce((0..120).map(|part| record_of(2, 2 + part * 80, 80)));
    let end: Vec<Record> = passing_time(0, 100, 60_000).collect();
    let all = 500 + 1 + 120 * 80 + 1 + end.len() as u64;
    input.produce([vec![error(3, 30)], end].concat());
    let mut processor = job.run();
    let mut most = 0;
    processor.wait_until("all of it to be handled", |metrics| {
        most = most.max(metrics.sum("tailwater_bytes_held"));
        metrics.received() == all && metrics.held() == 0
    });
    println!("at most {most} bytes were held");
    assert!(most <= BUDGET);
    assert_eq!(processor.metrics().expect("it runs").lost(), 0);
    processor.terminate();

    let out = output.records();
    for small in [trace(1), trace(3)] {
        let key = crate::support::oracle::hex(&small);
        assert!(out.iter().any(|record| record.key.as_deref() == Some(key.as_bytes())), "{key} is kept");
    }
    let dead = kafka().existing(&job.dead_letters(), 1).records();
    let [pointer] = &dead[..] else { panic!("{} dead letters", dead.len()) };
    assert_eq!((pointer.header("tailwater.offset"), pointer.value.len()), (Some("2"), 0));
}
