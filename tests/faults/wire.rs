//! Requests that are long on their way to the broker.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;

use super::broker::goes_on;
use crate::support::{
    kafka::{Kafka, Record},
    processor::{Job, Metrics, Processor},
    seed::seed,
    siege::{Siege, State},
    spans::{self, failed, span, trace},
    traffic::keyed,
    wait::wait_until,
    way::{Held, Request},
    witness,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn requests_that_come_late() {
    let kafka = Kafka::start(1);
    let _open = kafka.outside.open();
    the_end_of_a_transaction(&kafka);
    output_while_partitions_are_taken_away(&kafka);
    witness("fault-wire");
}

/// A call of librdkafka that hangs, though brokers answer: the process ends with the reason (C20). What it sent comes amid a
/// transaction of the next.
#[test]
fn offsets_that_hang_end_the_process() {
    let kafka = Kafka::start(1);
    let _open = kafka.outside.open();
    let mut siege = siege(&kafka, "fault-watchdog");
    let load = siege.load(seed(), keyed);
    let mut first = outside(&kafka, &siege).run();
    delivers(&mut first);
    // `TxnOffsetCommit` librdkafka gives up after 30 s, and aborts.
    let held = kafka.outside.hold(Request::AddOffsetsToTxn);
    wait_until("offsets on their way", PATIENCE, || held.is_reached());
    let ended = first.ends_within(2 * PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
    let reason = "a transaction has not come to its end for 60 s though brokers answer";
    assert!(ended.said.contains(reason), "{}", ended.said);
    comes_amid_a_transaction_of_the_next(&mut siege, held);
    load.end();
    siege.judge(0);
    witness("fault-watchdog");
}

/// Much more waits than memory may hold, and nothing of the output is acknowledged: reading stands still, then goes on.
#[test]
fn output_that_does_not_arrive_bounds_memory() {
    const BUDGET: u64 = 64 << 20;
    // librdkafka's queues, 16 MiB in and 64 MiB out, and the program itself.
    const BESIDE: u64 = 160 << 20;
    const TRACES: u64 = 3_000;
    const SPANS: u64 = 8;
    const STILL: Duration = Duration::from_secs(5);
    let kafka = Kafka::start(1);
    let _open = kafka.outside.open();
    let mut siege = siege(&kafka, "fault-pressure");
    // No trace has a root: nothing but memory decides it, and it has to where nothing is given up.
    siege.job.max_wait = "30m";
    siege.job.more.push_str("memory: { buffer: 64MiB, recall: false }\n");
    siege.inputs[0].produce(noisy(TRACES, SPANS));
    let held = kafka.outside.hold(Request::Produce);
    let mut processor = outside(&kafka, &siege).run();
    let (mut received, mut since, mut most) = (0, Instant::now(), 0);
    let mut held_bytes = |metrics: &Metrics| {
        let held = metrics.sum("tailwater_bytes_held");
        assert!(held <= BUDGET, "{held} bytes are held");
        most = held.max(most);
    };
    processor.wait_until("reading to stand still", |metrics| {
        held_bytes(metrics);
        if metrics.received() != received {
            (received, since) = (metrics.received(), Instant::now());
        }
        received > 0 && since.elapsed() > STILL
    });
    assert!(held.is_reached(), "no output was on its way");
    assert!(received < TRACES * SPANS / 2, "{received} spans were read");
    let before = processor.peak_bytes();
    drop(held);
    processor.wait_until("all of it to be read", |metrics| {
        held_bytes(metrics);
        metrics.received() == TRACES * SPANS && metrics.lost() == 0
    });
    let peak = processor.peak_bytes();
    println!("{received} spans read, at most {most} bytes held, {before} bytes in the process, {peak} after");
    assert!(most > BUDGET / 2, "it was never full");
    assert!(peak < BUDGET + BESIDE, "{peak} bytes in the process");
    let ended = processor.terminate();
    assert!(ended.status.success(), "{}", ended.said);
    siege.judge(0);
    witness("fault-pressure");
}

/// Traces to be kept, one record each, of spans of 12 kB that no compression makes smaller.
fn noisy(traces: u64, spans: u64) -> impl Iterator<Item = Record> {
    const BYTES: usize = 12_000;
    let mut random = fastrand::Rng::with_seed(seed());
    let noise: String = std::iter::repeat_with(|| random.alphanumeric()).take(1 << 20).collect();
    (1..=traces).map(move |number| {
        let spans = (2..2 + spans).map(|id| {
            let at = random.usize(..noise.len() - BYTES);
            Span { name: noise[at..at + BYTES].to_owned(), ..failed(span(trace(number), id, 1, number as i64)) }
        });
        spans::keyed(number as i32 % 4, number as i64, spans.collect())
    })
}

/// A commit comes when the program that sent it is dead, and its successor amid a transaction of the same name.
fn the_end_of_a_transaction(kafka: &Kafka) {
    let mut siege = siege(kafka, "fault-commit");
    let load = siege.load(seed(), keyed);
    for _ in 0..3 {
        let mut first = outside(kafka, &siege).run();
        delivers(&mut first);
        let held = kafka.outside.hold(Request::EndTxn);
        wait_until("a commit on its way", PATIENCE, || held.is_reached());
        siege.kill(first, "with a commit on its way", State::Anything);
        comes_amid_a_transaction_of_the_next(&mut siege, held);
    }
    load.end();
    siege.judge(0);
}

fn comes_amid_a_transaction_of_the_next(siege: &mut Siege, held: Held<'_>) {
    let mut second = siege.job.run();
    delivers(&mut second);
    wait_until("an open transaction", PATIENCE, || siege.is_open());
    drop(held);
    goes_on(&mut second);
    siege.kill(second, "after that", State::Anything);
}

/// Its owner gives a partition up with a transaction that does not end; the next owner begins where the last one ended.
fn output_while_partitions_are_taken_away(kafka: &Kafka) {
    let mut siege = siege(kafka, "fault-slow");
    siege.job.properties.clear();
    let load = siege.load(seed(), keyed);
    let mut first = outside(kafka, &siege).run();
    delivers(&mut first);
    let held = kafka.outside.hold(Request::Produce);
    wait_until("output on its way", PATIENCE, || held.is_reached());
    let mut second = siege.job.run();
    delivers(&mut second);
    let returned = first.metrics().expect("it runs").sum("tailwater_spans_returned_total");
    assert!(returned > 0, "it gave up nothing undecided");
    drop(held);
    goes_on(&mut first);
    goes_on(&mut second);
    load.end();
    for processor in [first, second] {
        let ended = processor.terminate();
        assert!(ended.status.success(), "{}", ended.said);
    }
    siege.judge(0);
}

fn siege(kafka: &Kafka, name: &str) -> Siege {
    let mut siege = Siege::new(kafka, name, &["spans"], 4);
    siege.job.keyed = "yes";
    siege.job.more.push_str("workers: 1\n");
    siege
}

/// The program on the way that can be held up.
fn outside(kafka: &Kafka, siege: &Siege) -> Job {
    Job { brokers: kafka.outside.bootstrap(), ..siege.job.clone() }
}

fn delivers(processor: &mut Processor) {
    processor.wait_until("it to deliver", |metrics| metrics.forwarded() > 0);
}
