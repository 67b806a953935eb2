//! What cannot be used is set aside with the reason, and the stream goes on.

use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message;

use crate::support::{
    kafka::{Record, kafka},
    oracle::{Copies, Expected},
    processor::{Job, Metrics},
    spans::{EPOCH, failed, heavy, keyed, passing_time, record, span, trace},
    witness,
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
    witness("bad-input-dead-letters");
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
    witness("bad-input-oversize");
}

#[test]
fn huge_traces_and_a_huge_record_stay_inside_the_budget() {
    const BUDGET: u64 = 64 << 20;
    // 3 MB each; together twice the budget.
    const HUGE: std::ops::Range<u64> = 100..140;
    let input = kafka().topic_with("huge-spans", 1, &[("max.message.bytes", "20000000")]);
    let output = kafka().topic("huge-kept", 1);
    let mut job = Job::named("huge");
    // Nothing but memory and size can decide a trace before its root comes.
    job.max_wait = "30m";
    job.more = "memory: { buffer: 64MiB }\n".to_owned();
    let record_of = |number, first, count| {
        let spans = (first..first + count).map(|id| heavy(span(trace(number), id, 1, 1), 12_000));
        keyed(0, 10, spans.collect())
    };
    let error = |number| keyed(0, 10, vec![failed(span(trace(number), 2, 1, 0))]);
    let root = |number| keyed(0, 20, vec![span(trace(number), 1, 0, 0)]);
    // 6 MB in one record, and a record over the program's own limit.
    input.produce([error(1), record_of(1, 3, 500), record_of(2, 2, 1_000)]);
    // One trace that is larger than the budget.
    input.produce((0..75).map(|part| record_of(3, 2 + part * 80, 80)));
    input.produce(HUGE.map(error));
    input.produce((0..3).flat_map(|part| HUGE.map(move |number| record_of(number, 3 + part * 80, 80))));
    let early = 1 + 500 + 75 * 80 + 40 + 3 * 40 * 80;

    let mut processor = job.run();
    let mut most = 0;
    let mut held = |metrics: &Metrics| {
        most = most.max(metrics.sum("tailwater_bytes_held"));
        assert!(most <= BUDGET, "{most} bytes are held");
        most
    };
    processor.wait_until("the budget to be full", |metrics| {
        held(metrics);
        metrics.received() == early && metrics.sum("tailwater_spans_given_up_total") > 1_000
    });
    let metrics = processor.metrics().expect("it runs");
    assert_eq!(metrics.decided("size"), 1);
    // What does not fit is read again in the end.
    assert_eq!(metrics.decided("memory"), 0);

    let end: Vec<Record> = passing_time(0, 100, 60_000).collect();
    let all = early + 42 + end.len() as u64;
    input.produce([1, 3].into_iter().chain(HUGE).map(root).chain(end));
    processor.wait_until("all of it to be handled", |metrics| {
        held(metrics);
        metrics.received() == all && metrics.held() == 0
    });
    println!("at most {most} bytes were held");
    assert_eq!(processor.metrics().expect("it runs").lost(), 0);
    processor.terminate();

    // What was decided early went on by its verdict: whole, in pieces.
    Expected::of(&[&input]).check(&output.records(), Copies::One);
    let dead = kafka().existing(&job.dead_letters(), 1).records();
    let [pointer] = &dead[..] else { panic!("{} dead letters", dead.len()) };
    assert_eq!((pointer.header("tailwater.offset"), pointer.value.len()), (Some("2"), 0));
    witness("bad-input-huge");
}
