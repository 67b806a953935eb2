//! Members of a group that sleep, come, go, and are taken for one another.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    producer::{BaseProducer, Producer},
    types::RDKafkaRespErr,
};

use crate::support::{
    kafka::kafka,
    processor::{Job, Processor},
    seed::seed,
    siege::Siege,
    traffic::{keyed, spread},
    wait::wait_until,
    witness,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Twice the session of the tests.
const SLEEP: Duration = Duration::from_secs(13);

/// The group has given its partitions away, and its transaction is still open.
#[test]
fn a_sleeper_commits_nothing() {
    asleep("fault-sleeper", "");
}

/// And the coordinator has ended its transaction.
#[test]
fn a_sleeper_without_its_transaction_commits_nothing() {
    asleep("fault-sleeper-fenced", "transaction.timeout.ms: 8000, ");
}

fn asleep(name: &str, properties: &str) {
    let siege = siege(name, 4, properties);
    let load = siege.load(seed(), keyed);
    let mut processors = [siege.job.run(), siege.job.run()];
    processors.iter_mut().for_each(delivers);
    let [first, second] = processors;
    while !stops_the_output(&siege, &first) {
        first.thaw();
    }
    thread::sleep(SLEEP);
    first.thaw();
    siege.wait_for_all();
    load.end();
    let ended = second.terminate();
    assert!(ended.status.success(), "{}", ended.said);
    // It may go on as a member, or end with the reason.
    let ended = first.terminate();
    assert!(ended.status.success() || ended.said.contains("rror"), "{}", ended.said);
    siege.judge(0);
    witness(name);
}

/// Whether a processor has a transaction open now that it stands still.
fn stops_the_output(siege: &Siege, processor: &Processor) -> bool {
    wait_until("an open transaction", PATIENCE, || siege.is_open());
    processor.freeze();
    let (before, open) = (siege.output.ends(), siege.output.open_ends());
    // The other's are over in this time, and it goes on.
    thread::sleep(Duration::from_secs(1));
    let now = siege.output.ends();
    before.iter().zip(&open).zip(&now).any(|((before, open), now)| before < open && before == now)
}

#[test]
fn a_nap_within_the_session_moves_nothing() {
    let siege = siege("fault-nap", 4, "");
    let load = siege.load(seed(), keyed);
    let mut processors = [siege.job.run(), siege.job.run()];
    processors.iter_mut().for_each(delivers);
    wait_until("two partitions each", PATIENCE, || processors.iter().all(|each| owned(each) == 2));
    let before = processors.each_ref().map(moves);
    processors[0].freeze();
    thread::sleep(Duration::from_secs(3));
    processors[0].thaw();
    siege.wait_for_all();
    assert_eq!(processors.each_ref().map(moves), before, "a partition has moved");
    load.end();
    stop(processors);
    siege.judge(0);
    witness("fault-nap");
}

#[test]
fn one_four_and_one_again() {
    scaled("fault-scale", "", None);
}

/// `range` takes everything from everybody at each change.
#[test]
fn one_four_and_one_again_by_eager_assignment() {
    scaled("fault-scale-eager", "partition.assignment.strategy: range, ", None);
}

#[test]
fn one_four_and_one_again_by_the_newer_protocol() {
    scaled("fault-scale-newer", "", Some("group.protocol: consumer, "));
}

fn scaled(name: &str, properties: &str, session: Option<&'static str>) {
    let mut siege = siege(name, 8, properties);
    siege.job.session = session.unwrap_or(siege.job.session);
    let load = siege.load(seed(), keyed);
    let mut first = siege.job.run();
    delivers(&mut first);
    let mut others = [siege.job.run(), siege.job.run(), siege.job.run()];
    others.iter_mut().for_each(delivers);
    siege.wait_for_all();
    for other in others {
        nothing_is_lost(&other);
        stop([other]);
        siege.wait_for_all();
    }
    nothing_is_lost(&first);
    let returned = first.metrics().expect("it runs").sum("tailwater_spans_returned_total");
    assert!(returned > 0, "it gave up nothing undecided");
    load.end();
    siege.wait_for_all();
    stop([first]);
    siege.judge(0);
    witness(name);
}

/// The group changes all the time, and the one that stays goes on nevertheless.
#[test]
fn a_storm_of_members() {
    let siege = siege("fault-storm", 6, "");
    let load = siege.load(seed(), keyed);
    let mut stays = siege.job.run();
    delivers(&mut stays);
    for _ in 0..8 {
        let passes = siege.job.run();
        wait_until("it to be given partitions", PATIENCE, || owned(&passes) > 0);
        stop([passes]);
    }
    siege.wait_for_all();
    nothing_is_lost(&stays);
    load.end();
    stop([stays]);
    siege.judge(0);
    witness("fault-storm");
}

/// Members with a name come back before anybody takes their partitions.
#[test]
fn a_rolling_deploy_moves_nothing() {
    let siege = siege("fault-rolling", 6, "");
    let load = siege.load(seed(), keyed);
    let job = |name: &str| Job { properties: format!("group.instance.id: {name}, "), ..siege.job.clone() };
    let mut running: Vec<(&str, Processor)> = ["a", "b", "c"].map(|name| (name, job(name).run())).into();
    wait_until("two partitions each", PATIENCE, || running.iter().all(|(_, each)| owned(each) == 2));
    running.iter_mut().for_each(|(_, each)| delivers(each));
    for _ in 0..running.len() {
        let (name, old) = running.remove(0);
        let before: Vec<usize> = running.iter().map(|(_, each)| moves(each)).collect();
        stop([old]);
        let mut new = job(name).run();
        delivers(&mut new);
        assert_eq!(owned(&new), 2, "{}", new.said());
        assert_eq!(running.iter().map(|(_, each)| moves(each)).collect::<Vec<_>>(), before, "a partition has moved");
        running.push((name, new));
    }
    load.end();
    running.into_iter().for_each(|(_, each)| stop([each]));
    siege.judge(0);
    witness("fault-rolling");
}

/// A member was to give partitions to another, and died; it comes back, by its name, to what it kept. The group waits for nobody, and
/// the partitions are nobody's.
#[test]
fn members_that_come_back_amid_a_move() {
    let mut siege = Siege::new(kafka(), "fault-orphans", &["spans"], 4);
    siege.job.keyed = "yes";
    siege.job.more.push_str("workers: 2\n");
    let load = siege.load(seed(), keyed);
    let member = |number: usize| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &siege.job.brokers).set("group.id", &siege.job.group);
        config.set("group.instance.id", format!("fault-orphans-{number}")).set("session.timeout.ms", "60000");
        config.set("partition.assignment.strategy", "cooperative-sticky").set("enable.auto.commit", "false");
        let member: BaseConsumer<Dies> = config.create_with_context(Dies::default()).expect("a consumer");
        member.subscribe(&[&siege.inputs[0].name]).expect("a topic to read");
        member
    };
    let rebalances = |of: &BaseConsumer<Dies>| {
        drop(of.poll(Duration::ZERO));
        of.context().rebalances.load(Ordering::Relaxed)
    };
    let first = member(0);
    wait_until("a member to have them all", PATIENCE, || rebalances(&first) == 1);
    let second = member(1);
    wait_until("it to be asked for two of them", PATIENCE, || (rebalances(&first), rebalances(&second)) == (2, 1));
    // As if they were killed: they say nothing more.
    std::mem::forget((first, second));
    let mut processor = siege.job.run();
    delivers(&mut processor);
    wait_until("all four partitions", PATIENCE, || owned(&processor) == 4);
    load.end();
    stop([processor]);
    siege.judge(0);
    witness("fault-orphans");
}

/// Takes on what it is given, and never gives anything back.
#[derive(Default)]
struct Dies {
    rebalances: AtomicUsize,
}

impl ClientContext for Dies {}

impl ConsumerContext for Dies {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            consumer.incremental_assign(partitions).expect("what was given can be taken on");
        }
        self.rebalances.fetch_add(1, Ordering::Relaxed);
    }
}

/// The group knows the one that came last; the one before ends with the reason.
#[test]
fn two_members_of_one_name() {
    let siege = siege("fault-namesake", 2, "group.instance.id: namesake, ");
    let load = siege.load(seed(), keyed);
    let mut first = siege.job.run();
    delivers(&mut first);
    let mut second = siege.job.run();
    let ended = first.ends_within(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
    delivers(&mut second);
    load.end();
    stop([second]);
    siege.judge(0);
    witness("fault-namesake");
}

/// A trace of an unkeyed input is on several partitions: who loses one ends, and so does who is given a part of them (C9).
#[test]
fn an_unkeyed_input_is_not_shared() {
    let mut siege = siege("fault-parts", 4, "");
    siege.job.keyed = "no";
    let load = siege.load(seed(), spread);
    let mut first = siege.job.run();
    delivers(&mut first);
    let mut second = siege.job.run();
    let ended = first.ends_within(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
    assert!(ended.said.contains("another member joined group `fault-parts`"), "{}", ended.said);
    delivers(&mut second);
    assert_eq!(owned(&second), 4);
    stop([second]);

    let before = siege.commits();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &siege.job.brokers).set("group.id", &siege.job.group);
    config.set("partition.assignment.strategy", "cooperative-sticky").set("enable.auto.commit", "false");
    let other: BaseConsumer = config.create().expect("a consumer");
    other.subscribe(&[&siege.inputs[0].name]).expect("a topic to read");
    // It is a member for as long as it polls.
    let poll = || drop(other.poll(Duration::ZERO));
    wait_until("another member to have them all", PATIENCE, || {
        poll();
        other.assignment().is_ok_and(|assigned| assigned.count() == 4)
    });
    let third = siege.job.run();
    let reason = "one worker has to hold all 4 partitions, but the group gave this one 2";
    wait_until(reason, PATIENCE, || {
        poll();
        third.said().contains(reason)
    });
    let ended = third.ends_within(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
    assert_eq!(siege.commits(), before, "it has handled a part");
    drop(other);
    load.end();
    siege.judge(0);
    witness("fault-parts");
}

/// Another producer of the same `transactional.id` ends this one's transaction: the process ends with the reason.
#[test]
fn a_fenced_producer_ends_the_process() {
    let siege = siege("fault-fenced", 2, "");
    let load = siege.load(seed(), keyed);
    let mut first = siege.job.run();
    delivers(&mut first);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &siege.job.brokers).set("transactional.id", siege.job.transactional_id());
    let namesake: BaseProducer = config.create().expect("a producer");
    namesake.init_transactions(PATIENCE).expect("transactions");
    let ended = first.ends_within(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
    assert!(ended.said.contains("fenced"), "{}", ended.said);
    load.end();
    siege.judge(0);
    witness("fault-fenced");
}

/// Keyed, one worker a processor.
fn siege(name: &str, partitions: i32, properties: &str) -> Siege {
    let mut siege = Siege::new(kafka(), name, &["spans"], partitions);
    siege.job.keyed = "yes";
    siege.job.more.push_str("workers: 1\n");
    siege.job.properties = properties.to_owned();
    siege
}

fn delivers(processor: &mut Processor) {
    processor.wait_until("it to deliver", |metrics| metrics.forwarded() > 0);
}

fn nothing_is_lost(processor: &Processor) {
    let metrics = processor.metrics().expect("it runs");
    assert_eq!(metrics.lost(), 0);
}

fn stop<const N: usize>(processors: [Processor; N]) {
    for processor in processors {
        let start = Instant::now();
        let ended = processor.terminate();
        assert!(ended.status.success(), "{} after {:?}", ended.said, start.elapsed());
    }
}

/// How many partitions a processor has by now.
fn owned(processor: &Processor) -> usize {
    let said = processor.said();
    said.matches(" assigned ").count() - said.matches(" revoked ").count()
}

/// How often partitions came or went.
fn moves(processor: &Processor) -> usize {
    let said = processor.said();
    said.matches(" assigned ").count() + said.matches(" revoked ").count()
}
