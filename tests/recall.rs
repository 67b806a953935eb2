//! Traces that do not fit into memory: what they carry is given up, and read again of those that are kept.

use std::{collections::BTreeMap, time::Duration};

use opentelemetry_proto::tonic::trace::v1::Span;

use crate::support::{
    kafka::{Kafka, Record, Topic, kafka},
    oracle::{self, TraceId, hex},
    processor::{Job, Metrics},
    spans::{failed, heavy, in_json, keyed, record, span, trace},
    wait::wait_until,
    way::{Held, Request},
    witness,
};

const TRACES: u64 = 4_000;
const SPANS: u64 = 4;
/// Of each span: all of them are ten times what is left of the least memory there may be, beside what is known of them.
const BYTES: usize = 4_000;
const PARTITIONS: u64 = 2;
const PATIENCE: Duration = Duration::from_secs(120);
/// One of so many is kept, and how many of a hundred that is.
const PARTS: [(u64, u64); 3] = [(100, 1), (10, 10), (1, 100)];

/// The first spans of all traces, then the second ones, …; every so many of the traces failed.
fn spans(every: u64) -> impl Iterator<Item = (u64, Span)> {
    (1..=SPANS).flat_map(move |id| {
        (0..TRACES).map(move |number| {
            let of = heavy(span(trace(number), id, id - 1, 0), BYTES);
            (number, if is_kept(number, every) && id == 2 { failed(of) } else { of })
        })
    })
}

/// In all partitions.
fn is_kept(number: u64, every: u64) -> bool {
    (number / PARTITIONS).is_multiple_of(every)
}

fn by_trace(every: u64) -> Vec<Record> {
    let at = |place: usize| place as i64 / 100;
    spans(every)
        .enumerate()
        .map(|(place, (number, of))| keyed((number % PARTITIONS) as i32, at(place), vec![of]))
        .collect()
}

/// Batches of ten traces, and the spans of each trace in both partitions.
fn mixed(every: u64) -> Vec<Record> {
    let spans: Vec<_> = spans(every).map(|(_, of)| of).collect();
    let records = spans.chunks(10).enumerate();
    records.map(|(place, of)| record((place as u64 % PARTITIONS) as i32, place as i64 / 10, of.to_vec())).collect()
}

fn job(name: &str) -> Job {
    let mut job = Job::named(name);
    job.policies =
        "policies: [ { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always } ]".to_owned();
    // A transaction takes a while, and there are many.
    (job.quiet, job.max_wait) = ("5s", "30m");
    job.more = "memory: { buffer: 16MiB }\nworkers: 1\nlate_window: 1h\n".to_owned();
    job
}

/// The same job on the way that is straight, and on the one where it can be held up.
fn jobs(kafka: &Kafka, name: &str) -> [Job; 2] {
    let job = Job { keyed: "yes", brokers: kafka.bootstrap.clone(), ..job(name) };
    let slow = Job { brokers: kafka.outside.bootstrap(), ..job.clone() };
    [job, slow]
}

fn topics(kafka: &Kafka, name: &str) -> (Topic, Topic) {
    (kafka.topic(&format!("{name}-spans"), PARTITIONS as i32), kafka.topic(&format!("{name}-kept"), 1))
}

/// Waits until it asks for what it gave up, which is held back.
fn recalls(held: &Held<'_>) {
    wait_until("it to recall", PATIENCE, || held.is_reached());
}

/// The ids of the spans that are out, by trace; each trace is in one record.
fn kept(output: &Topic) -> BTreeMap<TraceId, Vec<u64>> {
    let mut traces = BTreeMap::new();
    for record in output.records() {
        let spans = oracle::named(&record.value);
        let trace = spans[0].trace;
        assert_eq!(record.key, Some(hex(&trace).into_bytes()));
        let ids = spans.iter().map(|of| u64::from_be_bytes(of.span[..].try_into().expect("8 bytes")));
        let mut ids: Vec<u64> = ids.collect();
        ids.sort_unstable();
        assert_eq!(traces.insert(trace, ids), None, "{} is out twice", hex(&trace));
    }
    traces
}

fn all_of(every: u64) -> BTreeMap<TraceId, Vec<u64>> {
    let kept = (0..TRACES).filter(|number| is_kept(*number, every));
    kept.map(|number| (trace(number), (1..=SPANS).collect())).collect()
}

fn tell(name: &str, lives: &[Metrics]) {
    let [read, kept, given_up] = ["recall_bytes_read", "recall_bytes_kept", "spans_given_up"]
        .map(|name| lives.iter().map(|metrics| metrics.sum(&format!("tailwater_{name}_total"))).sum::<u64>());
    println!(
        "{name}: {given_up} spans given up, {kept} bytes recalled, {:.2} times as many read",
        read as f64 / kept as f64
    );
    assert!(kept > 0 && given_up > TRACES * SPANS / 2, "{kept}, {given_up}");
    for metrics in lives {
        assert_eq!((metrics.decided("memory"), metrics.lost(), metrics.sum("tailwater_spans_gone_total")), (0, 0, 0));
    }
}

fn is_over(input: &Topic, group: &str) -> bool {
    let committed = input.committed(group).iter().map(|of| of.offset.unwrap_or(0)).collect::<Vec<_>>();
    committed == input.ends()
}

/// One, ten and a hundred of a hundred are kept; the process is killed while it recalls, and of the next one a part is taken over while it
/// does.
#[test]
fn ten_times_what_fits_into_memory_is_kept_whole() {
    let kafka = Kafka::start(1);
    let _open = kafka.outside.open();
    for (every, percent) in PARTS {
        let name = format!("recall-{percent}");
        let (input, output) = topics(&kafka, &name);
        input.produce(by_trace(every));
        let [job, slow] = jobs(&kafka, &name);
        let held = kafka.outside.hold(Request::Recall);
        let first = slow.run();
        recalls(&held);
        let before = first.metrics().expect("it runs");
        first.kill();
        drop(held);

        let held = kafka.outside.hold(Request::Recall);
        let second = slow.run();
        recalls(&held);
        let mut third = job.run();
        third.wait_until("it to decide of what it took over", |metrics| metrics.decided("structure") > 0);
        drop(held);
        wait_until("all to be committed", PATIENCE, || is_over(&input, &job.group));
        let [second, third] = [second, third].map(|mut processor| {
            processor.wait_until("all to be counted", |metrics| metrics.held() == 0);
            let metrics = processor.metrics().expect("it runs");
            assert!(processor.terminate().status.success());
            metrics
        });
        assert!(second.sum("tailwater_spans_returned_total") > 0, "it gave up nothing undecided");
        tell(&name, &[before, second, third]);
        assert!(kept(&output) == all_of(every), "{percent} %");
    }
    witness("recall");
}

#[test]
fn what_is_not_keyed_is_recalled_from_all_partitions() {
    let input = kafka().topic("recall-mixed-spans", PARTITIONS as i32);
    let output = kafka().topic("recall-mixed-kept", 1);
    input.produce(mixed(10));
    let job = Job { keyed: "no", ..job("recall-mixed") };
    let ended = job.run_until_end();
    assert!(!ended.said.contains("removed from the log"), "{}", ended.said);
    assert!(kept(&output) == all_of(10));
    witness("recall-unkeyed");
}

#[test]
fn what_is_in_json_is_read_again_as_it_was_read() {
    let input = kafka().topic("recall-json-spans", PARTITIONS as i32);
    let output = kafka().topic("recall-json-kept", 1);
    input.produce(mixed(10).into_iter().map(in_json));
    let job = Job { keyed: "no", ..job("recall-json") };
    job.run_until_end();
    assert!(kept(&output) == all_of(10));
    witness("recall-json");
}

/// The log begins behind the first spans of all traces, while these are being recalled: the first of them, or where many are kept, some.
#[test]
fn what_the_log_has_lost_meanwhile_is_named() {
    let kafka = Kafka::start(1);
    let _open = kafka.outside.open();
    for (every, percent) in PARTS {
        let name = format!("recall-gone-{percent}");
        let (input, output) = topics(&kafka, &name);
        input.produce(by_trace(every));
        let [job, slow] = jobs(&kafka, &name);
        let are_some_out = every == 1;
        let at_once = (!are_some_out).then(|| kafka.outside.hold(Request::Recall));
        let mut processor = slow.run();
        if are_some_out {
            processor.wait_until("a part to be out", |metrics| metrics.forwarded() > TRACES / 10);
        }
        let held = at_once.unwrap_or_else(|| kafka.outside.hold(Request::Recall));
        recalls(&held);
        let first = (TRACES / PARTITIONS) as i64;
        input.expire(&[first; PARTITIONS as usize]);
        drop(held);
        wait_until("all to be committed", PATIENCE, || is_over(&input, &job.group));
        processor.wait_until("all to be counted", |metrics| metrics.held() == 0);
        let metrics = processor.metrics().expect("it runs");
        let gone = metrics.sum("tailwater_spans_gone_total");
        assert_eq!((metrics.lost(), metrics.sum("tailwater_traces_recalled_in_part_total")), (0, gone));
        let ended = processor.terminate();
        assert!(ended.said.contains("traces were removed from the log before they were read again"), "{}", ended.said);

        let out = kept(&output);
        assert!(out.values().all(|ids| *ids == [1, 2, 3, 4]), "no trace is kept in part");
        assert_eq!(out.is_empty(), !are_some_out);
        let letters = kafka.existing(&job.dead_letters(), PARTITIONS as i32).records();
        let mut named: Vec<TraceId> = letters.iter().map(of_what_is_gone).collect();
        assert_eq!(letters.len() as u64, gone);
        named.extend(out.keys());
        named.sort_unstable();
        assert!(named == all_of(every).into_keys().collect::<Vec<_>>(), "{percent} %");
    }
    witness("recall-gone");
}

/// The trace of a dead letter, which holds what is left of it.
fn of_what_is_gone(letter: &Record) -> TraceId {
    let left = oracle::named(&letter.value);
    assert_eq!(left.len(), 3, "what is left of it is there");
    let reason = format!("1 of the 4 spans of trace {} were removed", hex(&left[0].trace));
    let says = |(key, value): &(String, Vec<u8>)| key == "tailwater.reason" && value.starts_with(reason.as_bytes());
    assert!(letter.headers.iter().any(says), "{:?}", letter.headers);
    left[0].trace
}
