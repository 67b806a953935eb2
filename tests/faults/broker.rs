//! A broker that stands still, dies and comes back, and connections that break.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    kafka::Kafka,
    processor::{Metrics, Processor},
    seed::seed,
    siege::{Siege, State},
    traffic::keyed,
    wait::wait_until,
    witness,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// While brokers are away nothing is committed, and what is sent then comes with old timestamps: no bound on what is read again.
const AWAY_MS: i64 = 3_600_000;

#[test]
fn a_broker_in_trouble() {
    let kafka = Kafka::start(1);
    let mut siege = outside(&kafka, "fault-broker");
    let load = siege.load(seed(), keyed);
    let open = kafka.outside.open();
    let mut processor = siege.job.run();
    processor.wait_until("it to deliver", |metrics| metrics.forwarded() > 0);

    for _ in 0..2 {
        wait_until("an open transaction", PATIENCE, || siege.is_open());
        kafka.freeze(0);
        thread::sleep(Duration::from_secs(5));
        kafka.thaw(0);
        goes_on(&mut processor);
    }
    for _ in 0..2 {
        wait_until("an open transaction", PATIENCE, || siege.is_open());
        kafka.kill();
        goes_on(&mut processor);
    }
    drop(open);
    // Connections hold for a moment only.
    let mut random = fastrand::Rng::with_seed(seed());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(15) {
        let _open = kafka.outside.open();
        thread::sleep(Duration::from_millis(random.u64(200..2_000)));
    }
    let _open = kafka.outside.open();
    goes_on(&mut processor);
    siege.kill(processor, "at last", State::Anything);
    load.end();
    siege.judge(AWAY_MS);
    witness("fault-broker");
}

/// The cluster ends a transaction that takes too long by itself, and then says of its producer what it says of a fenced one.
#[test]
fn transactions_that_take_too_long() {
    let kafka = Kafka::start(1);
    let mut siege = outside(&kafka, "fault-timeout");
    siege.job.properties.push_str("transaction.timeout.ms: 3000, ");
    let load = siege.load(seed(), keyed);
    let mut open = kafka.outside.open();
    let mut processor = siege.job.run();
    processor.wait_until("it to deliver", |metrics| metrics.forwarded() > 0);
    for _ in 0..3 {
        wait_until("an open transaction", PATIENCE, || siege.is_open());
        drop(open);
        wait_until("the cluster to end it", PATIENCE, || !siege.is_open());
        open = kafka.outside.open();
        goes_on(&mut processor);
    }
    siege.kill(processor, "at last", State::Anything);
    load.end();
    siege.judge(AWAY_MS);
    witness("fault-timeout");
}

/// The commit markers of a transaction reach the partitions one by one, and one of their leaders stands still for longer than
/// the cluster waits for it. The next processor reads decisions back meanwhile.
#[test]
fn leaders_that_stand_still_at_the_end_of_a_transaction() {
    let kafka = Kafka::start(3);
    let mut siege = Siege::new(&kafka, "fault-leaders", &["spans"], 3);
    siege.job.keyed = "yes";
    siege.job.more.push_str("workers: 1\n");
    let load = siege.load(seed(), keyed);
    for partition in 0..3 {
        let mut processor = siege.job.run();
        processor.wait_until("it to deliver", |metrics| metrics.forwarded() > 0);
        let leader = kafka.leader("fault-leaders-decisions", partition);
        wait_until("an open transaction", PATIENCE, || siege.is_open());
        kafka.freeze(leader);
        thread::sleep(Duration::from_secs(1));
        processor.kill();
        let mut next = siege.job.run();
        thread::sleep(Duration::from_secs(12));
        kafka.thaw(leader);
        next.wait_until("it to deliver", beyond(0));
        siege.kill(next, "when it stood no more", State::Anything);
    }
    // The coordinator of its transactions does, and another takes them on.
    let id = siege.job.transactional_id();
    let mut processor = siege.job.run();
    processor.wait_until("it to deliver", |metrics| metrics.forwarded() > 0);
    let coordinator = kafka.coordinator(&id);
    wait_until("an open transaction", PATIENCE, || siege.is_open());
    kafka.freeze(coordinator);
    wait_until("another coordinator", PATIENCE, || kafka.coordinator(&id) != coordinator);
    let mut processor = goes_on_or_again(&siege, processor);
    kafka.thaw(coordinator);
    // What went on may have been told before the coordinator stood still, and its call still wait for that one.
    goes_on(&mut processor);
    siege.kill(processor, "when its coordinator had moved", State::Anything);
    load.end();
    siege.judge(AWAY_MS);
    witness("fault-leaders");
}

/// Every broker in turn is asked to end, and starts again: what it leads moves, what it coordinates too.
#[test]
fn a_rolling_restart_of_three_brokers() {
    let kafka = Kafka::start(3);
    let mut siege = Siege::new(&kafka, "fault-rolling-brokers", &["spans"], 4);
    siege.job.keyed = "yes";
    siege.job.more.push_str("workers: 2\n");
    let load = siege.load(seed(), keyed);
    let mut processor = siege.job.run();
    processor.wait_until("it to deliver", |metrics| metrics.forwarded() > 0);
    for broker in 0..3 {
        wait_until("an open transaction", PATIENCE, || siege.is_open());
        kafka.restart(broker);
        goes_on(&mut processor);
    }
    siege.kill(processor, "at last", State::Anything);
    load.end();
    siege.judge(AWAY_MS);
    witness("fault-rolling-brokers");
}

/// Of two workers, on a way to the broker that can be cut.
fn outside(kafka: &Kafka, name: &str) -> Siege {
    let mut siege = Siege::new(kafka, name, &["spans"], 4);
    siege.job.keyed = "yes";
    siege.job.more.push_str("workers: 2\n");
    siege.job.brokers = kafka.outside.bootstrap();
    siege
}

/// Offsets on their way to a coordinator that stands still may not come back from there, and then the process ends (C20): the next goes on.
fn goes_on_or_again(siege: &Siege, mut processor: Processor) -> Processor {
    let forwarded = processor.metrics().expect("it runs").forwarded();
    if processor.runs_until("it to go on", beyond(forwarded)) {
        return processor;
    }
    let ended = processor.ends_within(PATIENCE);
    assert!(
        ended.said.contains("a transaction has not come to its end for 60 s though brokers answer"),
        "{}",
        ended.said
    );
    let mut next = siege.job.run();
    next.wait_until("it to deliver", beyond(0));
    next
}

pub fn goes_on(processor: &mut Processor) {
    let forwarded = processor.metrics().expect("it runs").forwarded();
    processor.wait_until("it to go on", beyond(forwarded));
}

/// More is out, and nothing lost.
fn beyond(forwarded: u64) -> impl Fn(&Metrics) -> bool {
    move |metrics| metrics.forwarded() > forwarded && metrics.lost() == 0
}
