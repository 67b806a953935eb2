//! Requests that are long on their way to the broker.

use std::time::Duration;

use super::broker::goes_on;
use crate::support::{
    kafka::Kafka,
    processor::{Job, Processor},
    seed::seed,
    siege::Siege,
    traffic::keyed,
    wait::wait_until,
    way::Request,
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

/// A commit comes when the program that sent it is dead, and its successor amid a transaction of the same name.
fn the_end_of_a_transaction(kafka: &Kafka) {
    let mut siege = siege(kafka, "fault-commit");
    let load = siege.load(seed(), keyed);
    for _ in 0..3 {
        let mut first = outside(kafka, &siege).run();
        delivers(&mut first);
        let held = kafka.outside.hold(Request::EndTxn);
        wait_until("a commit on its way", PATIENCE, || held.is_reached());
        siege.kill(first, "with a commit on its way", None);
        let mut second = siege.job.run();
        delivers(&mut second);
        wait_until("an open transaction", PATIENCE, || siege.is_open());
        drop(held);
        goes_on(&mut second);
        siege.kill(second, "after that", None);
    }
    load.end();
    siege.judge(i64::MAX);
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
    siege.judge(i64::MAX);
}

fn siege(kafka: &Kafka, name: &str) -> Siege {
    let mut siege = Siege::new(kafka, name, &["spans"], 4);
    siege.job.keyed = "yes";
    siege.job.more.push_str("workers: 1\n");
    siege
}

/// The program on the way that can be held up.
fn outside(kafka: &Kafka, siege: &Siege) -> Job {
    Job { brokers: format!("127.0.0.1:{}", kafka.outside.port), ..siege.job.clone() }
}

fn delivers(processor: &mut Processor) {
    processor.wait_until("it to deliver", |metrics| metrics.forwarded() > 0);
}
