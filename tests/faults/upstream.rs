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

/// A verdict holds for `late_window`, over a crash too; the next crash is between a late span and its verdict. What comes later is
/// judged by itself.
#[test]
fn late_spans_follow_the_verdict_over_a_crash() {
    const WINDOW: i64 = 60_000;
    // Of three partitions: half a window after the verdicts, which fall at some 2 s, one and a half, three.
    const LATE: [i64; 3] = [2_000 + WINDOW / 2, 2_000 + WINDOW * 3 / 2, 2_000 + WINDOW * 3];
    let input = kafka().topic("fault-late-spans", 3);
    let output = kafka().topic("fault-late-kept", 1);
    let observer = Observer::start("fault-late", &[&input], &output);
    let mut job = Job::named("fault-late");
    (job.keyed, job.max_wait, job.properties) = ("yes", "5s", "group.instance.id: fault-late, ".to_owned());
    let with = |tick: &str| Job {
        more: format!("late_window: 60s\nworkers: 1\ntick: {{ interval: {tick} }}\n"),
        ..job.clone()
    };
    let settled = |processor: &mut Processor| {
        let ends = input.ends();
        processor.wait_until("all of it to be decided and committed", |_| {
            input.committed("fault-late").iter().zip(&ends).all(|(of, end)| of.offset == Some(*end))
        });
    };
    let (kept, dropped) = (|partition: i32| trace(1 + partition as u64), |partition: i32| trace(11 + partition as u64));

    for partition in 0..3 {
        input.produce([
            keyed(partition, 0, vec![failed(span(kept(partition), 1, 0, 0))]),
            keyed(partition, 0, vec![span(dropped(partition), 1, 0, 0)]),
        ]);
        input.produce(passing_time(partition, 100, 3_000));
    }
    let mut processor = with("100ms").run();
    processor.wait_until("the verdicts", |metrics| metrics.forwarded() == 3);
    settled(&mut processor);
    (0..).zip(LATE).for_each(|(partition, late)| input.produce(passing_time(partition, 5_100, late - 2_000)));
    settled(&mut processor);
    processor.kill();
    let before = input.ends();
    for (partition, late) in (0..).zip(LATE) {
        input.produce([
            keyed(partition, late, vec![span(kept(partition), 2, 1, 5)]),
            keyed(partition, late, vec![failed(span(dropped(partition), 2, 1, 5))]),
        ]);
    }

    let mut processor = with("30s").run();
    processor
        .wait_until("the late spans", |metrics| metrics.late() == 2 && metrics.sum("tailwater_spans_past_total") == 4);
    processor.kill();
    let committed = input.committed("fault-late");
    assert_eq!(
        committed.iter().map(|of| of.offset).collect::<Vec<_>>(),
        before.into_iter().map(Some).collect::<Vec<_>>()
    );
    with("100ms").run_until_end();

    // The oracle knows no windows.
    let mut expected = Expected::of(&[&input]);
    expected.kept.remove(&dropped(0)).expect("a span of it failed");
    for partition in 1..3 {
        expected.kept.get_mut(&kept(partition)).expect("a span of it failed").truncate(1);
        expected.kept.get_mut(&dropped(partition)).expect("a span of it failed").remove(0);
    }
    expected.check(&output.records(), Copies::One);
    // It would ask for the whole of them.
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
