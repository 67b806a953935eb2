//! Producers of the input that use transactions, and spans that come very late.

use std::{
    thread,
    time::{Duration, Instant},
};

use rdkafka::producer::Producer;

use crate::support::{
    kafka::{Topic, kafka},
    log::Log,
    observer::Observer,
    oracle::{Copies, Expected, count},
    processor::{Job, Metrics, Processor},
    spans::{failed, keyed, passing_time, record, span, trace},
    witness,
};

const ANSWER: Duration = Duration::from_secs(30);
/// Twice `max_wait`.
const HELD: Duration = Duration::from_secs(20);

/// What comes after an open transaction is not to be had, though it is there: the partition is not idle, and its clock stands.
#[test]
fn an_open_transaction_upstream_stops_time() {
    let input = kafka().topic("fault-open-spans", 1);
    let output = kafka().topic("fault-open-kept", 1);
    let observer = Observer::start("fault-open", &[&input], &output);
    input.produce([keyed(0, 0, vec![failed(span(trace(1), 2, 1, 0))])]);
    let mut job = Job::named("fault-open");
    (job.max_wait, job.keyed) = ("10s", "yes");
    let mut processor = job.run();
    processor.wait_until("the first span", |metrics| metrics.received() == 1);
    let upstream = input.produce_open([keyed(0, 10, vec![span(trace(1), 1, 0, 0)])]);
    input.produce([keyed(0, 20, vec![failed(span(trace(2), 2, 1, 20))])]);
    let start = Instant::now();
    while start.elapsed() < HELD {
        let metrics = processor.metrics().expect("it runs");
        assert_eq!((decided(&metrics), metrics.received()), (0, 1), "after {:?}", start.elapsed());
        thread::sleep(Duration::from_millis(200));
    }
    upstream.commit_transaction(ANSWER).expect("a commit");
    processor.wait_until("the trace", |metrics| metrics.forwarded() == 2);

    // An aborted one leaves a hole.
    let upstream = input.produce_open([keyed(0, 30, vec![failed(span(trace(3), 1, 0, 20))])]);
    upstream.abort_transaction(ANSWER).expect("the end of it");
    input.produce([keyed(0, 40, vec![span(trace(2), 1, 0, 20)])]);
    processor.wait_until("the other trace", |metrics| metrics.forwarded() == 4);
    processor.kill();
    job.run_until_end();
    judge(&input, &output, observer);
    witness("fault-open");
}

/// A verdict holds for `late_window`, over a crash too. What comes later is judged by itself.
#[test]
fn late_spans_follow_the_verdict_over_a_crash() {
    const WINDOW: i64 = 20_000;
    let input = kafka().topic("fault-late-spans", 1);
    let output = kafka().topic("fault-late-kept", 1);
    let observer = Observer::start("fault-late", &[&input], &output);
    let mut job = Job::named("fault-late");
    job.more = "late_window: 20s\ntick: { interval: 100ms }\n".to_owned();
    (job.keyed, job.properties) = ("yes", "group.instance.id: fault-late, ".to_owned());
    let pass = |from, to| input.produce(passing_time(0, from, to));
    let settled = |processor: &mut Processor| {
        let end = input.ends()[0].to_string();
        processor.wait_until("all of it to be read and committed", |_| {
            input.committed("fault-late")[0].metadata.split(':').nth(3) == Some(&end)
        });
    };

    // Decided at some 2 s.
    input.produce([keyed(0, 0, vec![failed(span(trace(1), 1, 0, 0))])]);
    pass(100, WINDOW / 2);
    let mut processor = job.run();
    processor.wait_until("the verdict", |metrics| metrics.forwarded() == 1);
    settled(&mut processor);
    processor.kill();
    input.produce([keyed(0, WINDOW / 2, vec![span(trace(1), 2, 1, 5)])]);

    let mut processor = job.run();
    processor.wait_until("the late span", |metrics| metrics.forwarded() == 1 && metrics.late() == 1);
    // It may be committed by now, or not.
    processor.kill();
    let expected = Expected::of(&[&input]);
    let after = 2 * WINDOW + WINDOW / 2;
    pass(WINDOW / 2 + 100, after);
    let mut processor = job.run();
    settled(&mut processor);
    processor.kill();
    input.produce([keyed(0, after + 2_000, vec![span(trace(1), 3, 1, 5)])]);
    job.run_until_end();
    expected.check(&output.records(), Copies::One);
    // It would ask for the last span too.
    observer.end();
    witness("fault-late");
}

/// Of an unkeyed input one partition is held up by a transaction: the others wait for it.
#[test]
fn an_open_transaction_on_one_partition_holds_all() {
    let input = kafka().topic("fault-held-spans", 2);
    let output = kafka().topic("fault-held-kept", 1);
    let observer = Observer::start("fault-held", &[&input], &output);
    let mut job = Job::named("fault-held");
    (job.max_wait, job.keyed) = ("10s", "no");
    let upstream = input.produce_open([record(1, 10, vec![span(trace(1), 1, 0, 0)])]);
    input.produce([record(0, 0, vec![failed(span(trace(1), 2, 1, 0))])]);
    // A minute of the other partition.
    input.produce(passing_time(0, 100, 60_000));
    let mut processor = job.run();
    processor.wait_until("a record", |metrics| metrics.received() > 0);
    let start = Instant::now();
    while start.elapsed() < HELD {
        assert_eq!(decided(&processor.metrics().expect("it runs")), 0, "after {:?}", start.elapsed());
        thread::sleep(Duration::from_millis(200));
    }
    upstream.commit_transaction(ANSWER).expect("a commit");
    processor.wait_until("the trace", |metrics| metrics.forwarded() == 2);
    processor.kill();
    job.run_until_end();
    let mut spans = 0;
    input.each(|record| spans += count(&record.value));
    assert!(spans > 500);
    judge(&input, &output, observer);
    witness("fault-held");
}

fn decided(metrics: &Metrics) -> u64 {
    metrics.sum("tailwater_traces_decided_total")
}

fn judge(input: &Topic, output: &Topic, observer: Observer) {
    let expected = Expected::of(&[input]);
    expected.check(&output.records(), Copies::One);
    observer.end().check(&Log::read(&[input]), &expected);
}
