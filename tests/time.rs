//! Record time: late spans, partitions that lag behind, an outage that splits nothing.

use tailwater::generate::Shape;

use crate::support::{
    kafka::{Record, kafka},
    oracle::{Copies, Expected, count},
    processor::Job,
    seed::seed,
    spans::{EPOCH, failed, keyed, passing_time, span, trace},
    traffic::Shop,
    witness,
};

#[test]
fn late_spans_follow_the_verdict() {
    let input = kafka().topic("late-spans", 1);
    let output = kafka().topic("late-kept", 1);
    let kept = [failed(span(trace(1), 1, 0, 0)), span(trace(1), 2, 1, 2)];
    let dropped = [span(trace(2), 1, 0, 0), span(trace(2), 2, 1, 2)];
    input.produce([keyed(0, 20, kept.to_vec()), keyed(0, 20, dropped.to_vec())]);
    input.produce(passing_time(0, 100, 60_000));
    // An error alone does not bring back what was dropped.
    input.produce([
        keyed(0, 61_000, vec![span(trace(1), 3, 1, 5)]),
        keyed(0, 61_000, vec![failed(span(trace(2), 3, 1, 5))]),
    ]);
    let mut processor = Job::named("late").run();
    processor.wait_until("both late spans", |metrics| metrics.late() == 2);
    processor.wait_until("all of it to be decided", |metrics| metrics.held() == 0);
    let metrics = processor.metrics().expect("it runs");
    assert_eq!((metrics.forwarded(), metrics.lost()), (3, 0));
    processor.terminate();

    let mut expected = Expected::of(&[&input]);
    expected.kept.remove(&trace(2)).expect("the oracle knows no verdicts, only traces");
    expected.check(&output.records(), Copies::One);
    witness("time-late");
}

/// One partition is minutes behind the others: a clock for all of them would decide on half the spans.
#[test]
fn a_partition_held_back_by_minutes_splits_nothing() {
    let input = kafka().topic("behind-spans", 3);
    let output = kafka().topic("behind-kept", 1);
    let shape = Shape { spans_per_second: 200.0, ..Shape::default() };
    let shop = Shop { seed: seed(), traces: 4_000, shape };
    // 290 s of traffic, small batches, so that most traces are on every partition.
    let records: Vec<Record> = shop.batches_of(5, 3).collect();
    let end = records.last().expect("records").timestamp - EPOCH;
    let (held_back, rest): (Vec<Record>, Vec<Record>) =
        records.into_iter().partition(|record| record.partition == 2 && record.timestamp > shop.epoch() + 5_000);
    let early: u64 = rest.iter().map(|record| count(&record.value)).sum();
    input.produce(rest);
    let mut job = Job::named("behind");
    // An idle partition follows the wall clock; holding it back takes less of it than `quiet`. None is ahead of it by
    // `max_wait`, so all of the others is read meanwhile.
    (job.quiet, job.max_wait) = ("150s", "10m");
    let mut processor = job.run();
    processor.wait_until("minutes of two partitions", |metrics| metrics.received() == early);
    assert_eq!(processor.metrics().expect("it runs").sum("tailwater_traces_decided_total"), 0);
    input.produce(held_back);
    // Past `max_wait` for the last of them, in record time.
    (0..3).for_each(|partition| input.produce(passing_time(partition, end, end + 620_000)));
    let expected = Expected::of(&[&input]);
    let kept: usize = expected.kept.values().map(Vec::len).sum();
    processor.wait_until("everything to go out", |metrics| metrics.forwarded() == kept as u64);
    assert_eq!(processor.metrics().expect("it runs").lost(), 0);
    processor.terminate();
    expected.check(&output.records(), Copies::One);
    witness("time-behind");
}

/// Traces over several partitions and two topics, read in long runs of one partition at a time.
#[test]
fn traces_over_two_topics_come_out_whole() {
    let one = kafka().topic("two-a-spans", 2);
    let two = kafka().topic("two-b-spans", 3);
    let output = kafka().topic("two-kept", 2);
    let shop = Shop { seed: seed(), traces: 5_000, shape: Shape::default() };
    let (a, b): (Vec<Record>, Vec<Record>) = shop.batches_of(20, 5).partition(|record| record.partition < 2);
    one.produce(a);
    two.produce(b.into_iter().map(|record| Record { partition: record.partition - 2, ..record }));
    let mut job = Job::named("two");
    job.inputs = vec![one.name.clone(), two.name.clone()];
    job.run_until_end();
    Expected::of(&[&one, &two]).check(&output.records(), Copies::One);
    witness("time-topics");
}
