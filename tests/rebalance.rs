//! A second processor of the group comes and goes, and nothing is missing.

use std::time::Duration;

use tailwater::generate::Shape;

use crate::support::{
    kafka::kafka,
    oracle::{Copies, Expected},
    processor::{Job, Metrics},
    seed::seed,
    spans::{EPOCH, passing_time},
    stream::Stream,
    traffic::Shop,
    wait::wait_until,
    witness,
};

const PARTITIONS: i32 = 6;

#[test]
fn a_second_processor_joins_and_leaves() {
    let shape = Shape { spans_per_second: 2_500.0, ..Shape::default() };
    let shop = Shop { seed: seed(), traces: usize::MAX, shape };
    let input = kafka().topic("rebalance-spans", PARTITIONS);
    let output = kafka().topic("rebalance-kept", 2);
    let mut job = Job::named("rebalance");
    // No span is late: a partition's new owner does not know the verdicts of the one before yet.
    (job.quiet, job.max_wait) = ("6s", "30s");
    job.more = "tick: { interval: 100ms }\n".to_owned();
    let nothing_is_lost = |metrics: &Metrics| assert_eq!(metrics.lost(), 0);

    let stream = Stream::start(&input, 1_000, shop.keyed(PARTITIONS));
    let mut first = job.run();
    first.wait_until("output of the first", |metrics| {
        nothing_is_lost(metrics);
        metrics.forwarded() > 0
    });
    let mut second = job.run();
    second.wait_until("output of the second", |metrics| {
        nothing_is_lost(metrics);
        metrics.forwarded() > 0
    });
    let metrics = first.metrics().expect("it runs");
    nothing_is_lost(&metrics);
    assert!(metrics.sum("tailwater_spans_returned_total") > 0, "it gave up nothing undecided");
    let received = metrics.received();
    let ended = second.terminate();
    assert!(ended.status.success(), "{}", ended.said);
    first.wait_until("the first to go on", |metrics| metrics.received() > received);
    let last = stream.end() - EPOCH;

    (0..PARTITIONS).for_each(|partition| input.produce(passing_time(partition, last, last + 40_000)));
    let ends: Vec<Option<i64>> = input.ends().into_iter().map(Some).collect();
    wait_until("all of it to be decided and committed", Duration::from_secs(120), || {
        nothing_is_lost(&first.metrics().expect("it runs"));
        input.committed(&job.group).into_iter().map(|of| of.offset).collect::<Vec<_>>() == ends
    });
    let ended = first.terminate();
    assert!(ended.status.success(), "{}", ended.said);
    let expected = Expected::of(&[&input]);
    println!("{} of {} traces must be kept", expected.kept.len(), expected.traces);
    expected.check(&output.records(), Copies::One);
    witness("rebalance");
}
