//! Record time: late spans, partitions that lag behind, an outage that splits nothing.

use tailwater::generate::Shape;

use crate::support::{
    kafka::{Record, kafka},
    oracle::{Copies, Expected},
    processor::Job,
    seed::seed,
    spans::{failed, keyed, passing_time, span, trace},
    traffic::Shop,
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
}

/// One partition is minutes behind the others: a clock for all of them would decide on half the spans.
#[test]
fn a_partition_held_back_by_minutes_splits_nothing() {
    let input = kafka().topic("behind-spans", 3);
    let output = kafka().topic("behind-kept", 1);
    let shape = Shape { spans_per_second: 200.0, ..Shape::default() };
    let epoch = (shape.epoch_ns / 1_000_000) as i64;
    let shop = Shop { seed: seed(), traces: 4_000, shape };
    // 290 s of traffic, small batches, so that most traces are on every partition.
    let records: Vec<Record> = shop.batches_of(5, 3).collect();
    let (held_back, rest): (Vec<Record>, Vec<Record>) =
        records.into_iter().partition(|record| record.partition == 2 && record.timestamp > epoch + 5_000);
    let spans =
        |records: &[Record]| records.iter().map(|record| crate::support::oracle::count(&record.value)).sum::<u64>();
    let (early, all) = (spans(&rest), spans(&rest) + spans(&held_back));
    input.produce(rest);
    let mut job = Job::named("behind");
    // An idle partition follows the wall clock; holding it back takes less of it than this.
    (job.quiet, job.max_wait) = ("30s", "90s");
    let mut processor = job.run();
    // The partitions that are ahead may wait for the one that is not, so not all of theirs need be read.
    processor.wait_until("minutes of two partitions", |metrics| metrics.received() >= early / 3);
    input.produce(held_back);
    processor.wait_until("everything to be decided", |metrics| metrics.received() == all && metrics.held() == 0);
    assert_eq!(processor.metrics().expect("it runs").lost(), 0);
    processor.terminate();
    Expected::of(&[&input]).check(&output.records(), Copies::One);
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
}
