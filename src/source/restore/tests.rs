//! Reading back what was remembered, from a broker in this process. It has no transactions: what they do to the ends of logs is
//! said to a [`Log`] directly.

use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer},
};

use super::*;
use crate::{
    assemble::Reason,
    decide::Verdict,
    model::{Fingerprint, RecordTime, Threshold, TraceId},
    sample::keys::Holder,
};

const SOON: Duration = Duration::from_secs(20);

/// A broker with the decision log of the topic `spans`.
struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

fn decision(trace: u8) -> Decision {
    let verdict = Verdict { keep: true, policy: Some(0), threshold: Threshold::ALWAYS };
    let (decided, policies) = (RecordTime(5), Fingerprint(7));
    let (rank, reason) = (None, Reason::Structure);
    Decision { trace: TraceId([trace; 16]), verdict, rank, reason, decided, spans: 3, policies }
}

fn partition(number: i32) -> Partition {
    ("spans".into(), number)
}

fn wanted(number: i32, floor: i64, last: Option<i64>) -> Wanted {
    Wanted { partition: partition(number), floor, last, learned: false }
}

fn names() -> Arc<[String]> {
    Arc::from(["all".to_owned()])
}

fn config(brokers: &str) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tailwater.yaml");
    let text = format!(
        "kafka: {{ brokers: '{brokers}' }}\ninput: {{ topics: [spans] }}\noutput: [ {{ kafka: {{ topic: kept }} }} ]\n\
         policies: [ {{ name: all, keep: always }} ]\n"
    );
    std::fs::write(&path, text).expect("written");
    Config::load(&path, [], []).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// What comes of it, and how long the longest turn took.
fn outcome(mut restore: Restore) -> anyhow::Result<Memory> {
    let (budget, begun) = (Duration::from_millis(5), Instant::now());
    loop {
        if let Some(restored) = restore.poll(budget)? {
            return Ok(restored);
        }
        assert!(begun.elapsed() < SOON, "nothing came");
    }
}

// === impl Broker ===

impl Broker {
    fn start() -> Self {
        let cluster = MockCluster::new(1).expect("a broker");
        cluster.create_topic("tailwater-decisions", 2, 1).expect("a topic");
        cluster.create_topic("tailwater-samplers", 2, 1).expect("a topic");
        let producer =
            ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().expect("a producer");
        Self { cluster, producer }
    }

    /// Each tick is a record with the decision on one trace.
    fn decide(&self, partition: i32, ticks: std::ops::Range<u8>) {
        for tick in ticks {
            let value = decisions::encode(1, u64::from(tick), [decision(tick)].into_iter(), &names(), 1000).remove(0);
            self.write(partition, &value);
        }
    }

    fn write(&self, partition: i32, value: &[u8]) {
        self.send(BaseRecord::to("tailwater-decisions").partition(partition).payload(value));
    }

    fn learn(&self, partition: i32, name: &[u8], value: &[u8]) {
        self.send(BaseRecord::to("tailwater-samplers").partition(partition).key(name).payload(value));
    }

    fn send(&self, record: BaseRecord<'_, [u8], [u8]>) {
        self.producer.send(record).map_err(|(error, _)| error).expect("room");
        self.producer.flush(SOON).expect("written");
    }

    fn restore(&self, wanted: Vec<Wanted>, to_end: bool, max_bytes: usize) -> anyhow::Result<Vec<Restored>> {
        Ok(outcome(self.begin(wanted, to_end, max_bytes)?)?.decisions)
    }

    fn begin(&self, wanted: Vec<Wanted>, to_end: bool, max_bytes: usize) -> anyhow::Result<Restore> {
        Restore::new(&config(&self.cluster.bootstrap_servers()), wanted, names(), to_end, max_bytes)
    }

    fn lead(&self, partition: i32, leader: Option<i32>) {
        self.cluster.partition_leader("tailwater-decisions", partition, leader).expect("a leader, or none");
    }

    fn error(&self, wanted: Vec<Wanted>, max_bytes: usize) -> String {
        format!("{:#}", self.restore(wanted, false, max_bytes).expect_err("not to be had"))
    }
}

/// Partition, offset, bound, trace.
fn seen(restored: &[Restored]) -> Vec<(i32, i64, bool, u8)> {
    let mut seen: Vec<_> = restored.iter().map(|r| (r.partition.1, r.offset, r.bound, r.decision.trace.0[0])).collect();
    seen.sort_unstable();
    seen
}

#[test]
fn reads_from_the_floor_to_the_last_that_was_committed() {
    let broker = Broker::start();
    broker.decide(0, 10..15);
    broker.decide(1, 20..22);
    let restored = broker.restore(vec![wanted(0, 1, Some(3)), wanted(1, 0, Some(0))], false, 1 << 20).expect("all");
    assert_eq!(seen(&restored), [(0, 1, false, 11), (0, 2, false, 12), (0, 3, false, 13), (1, 0, false, 20)]);
    let first = restored.iter().find(|r| r.offset == 1).expect("there");
    assert_eq!((&first.partition, first.tick, first.decision), (&partition(0), 11, decision(11)));
}

#[test]
fn reads_on_to_the_end_where_that_is_wanted() {
    let broker = Broker::start();
    broker.decide(0, 10..14);
    broker.decide(1, 20..22);
    let restored = broker.restore(vec![wanted(0, 1, Some(2)), wanted(1, 0, None)], true, 1 << 20).expect("all");
    let expected = [(0, 1, false, 11), (0, 2, false, 12), (0, 3, true, 13), (1, 0, true, 20), (1, 1, true, 21)];
    assert_eq!(seen(&restored), expected);
}

#[test]
fn a_partition_between_two_leaders_is_asked_for_again() {
    let broker = Broker::start();
    broker.decide(0, 10..12);
    broker.lead(0, None);
    let mut restore = broker.begin(vec![wanted(0, 0, Some(1))], false, 1 << 20).expect("begun");
    assert!(restore.poll(Duration::from_secs(1)).expect("it goes on").is_none());
    broker.lead(0, Some(1));
    assert_eq!(seen(&outcome(restore).expect("all").decisions), [(0, 0, false, 10), (0, 1, false, 11)]);
}

#[test]
fn nothing_remembered_is_nothing_read() {
    let nowhere = config("localhost:1");
    let wanted = || vec![wanted(0, 0, None), wanted(1, 7, Some(6))];
    let restore = Restore::new(&nowhere, wanted(), names(), false, 0).expect("begun");
    assert_eq!(outcome(restore).expect("nothing to ask a broker for").decisions, []);
    let broker = Broker::start();
    assert_eq!(broker.restore(vec![self::wanted(0, 0, None)], true, 0).expect("an empty log"), []);
}

#[test]
fn a_log_that_is_shorter_than_what_was_committed_is_an_error() {
    let broker = Broker::start();
    broker.decide(0, 10..12);
    let error = broker.error(vec![wanted(0, 0, Some(2))], 1 << 20);
    assert!(error.starts_with("tailwater-decisions/0 ends at 2, but decisions up to 2 were committed"), "{error}");
    assert!(error.contains("--reset-offsets"), "{error}");
}

#[test]
fn the_last_state_of_each_name_is_read() {
    let broker = Broker::start();
    let name = |group| Name { sampler: 7, holder: Holder::Group(group) };
    for (partition, group, value) in [(0, 1, "old"), (0, 2, "b"), (0, 1, "new"), (1, 1, "other's")] {
        broker.learn(partition, &name(group).to_bytes(), value.as_bytes());
    }
    broker.learn(0, b"what is that?", b"c");
    let wanted = || vec![Wanted { learned: true, ..wanted(0, 0, None) }];
    let memory = outcome(broker.begin(wanted(), false, 1 << 20).expect("begun")).expect("all");
    let state = |group, value: &str| Learned { partition: partition(0), name: name(group), value: value.into() };
    assert_eq!(memory.states, [state(1, "new"), state(2, "b")]);
    let bytes = 2 * size_of::<Learned<Partition>>() + 4;
    let restore = |bytes| outcome(broker.begin(wanted(), false, bytes).expect("begun"));
    restore(bytes).expect("room for the last of each");
    restore(bytes - 1).expect_err("no room");
}

#[test]
fn memory_is_bounded() {
    let broker = Broker::start();
    broker.decide(0, 10..14);
    let bytes = 4 * size_of::<Restored>();
    broker.restore(vec![wanted(0, 0, Some(3))], false, bytes).expect("room for four");
    let error = broker.error(vec![wanted(0, 0, Some(3))], bytes - 1);
    assert!(error.contains("raise memory.buffer"), "{error}");
}

#[test]
fn a_foreign_record_is_named() {
    let broker = Broker::start();
    broker.decide(0, 10..11);
    broker.write(0, b"hello");
    broker.decide(0, 12..13);
    let error = broker.error(vec![wanted(0, 0, Some(2))], 1 << 20);
    assert!(error.starts_with("record 1 of tailwater-decisions/0: it is not a record of decisions"), "{error}");
}

#[test]
fn a_broker_that_is_away_holds_no_turn_up() {
    let mut restore =
        Restore::new(&config("localhost:1"), vec![wanted(0, 0, Some(0))], names(), false, 0).expect("begun");
    let begun = Instant::now();
    assert!(restore.poll(Duration::from_millis(10)).expect("no error").is_none());
    drop(restore);
    // A request takes longer.
    assert!(begun.elapsed() < REQUEST / 2);
}

fn log(floor: i64, last: Option<i64>, watermarks: (i64, i64), to_end: bool) -> anyhow::Result<Log> {
    let mut log = Log::new("d".into(), Holds::Decisions, wanted(0, floor, last));
    log.begin(watermarks.0, watermarks.1, to_end)?;
    Ok(log)
}

fn head(next: i64, queued: i64) -> Head {
    Head { partition: ("d".into(), 0), high: 100, next, queued, broker: 1, fetches: 0, fresh: true, at: Instant::now() }
}

#[test]
fn a_log_that_begins_above_the_floor_is_an_error() {
    let error = log(5, Some(7), (6, 20), false).err().expect("gone").to_string();
    assert!(error.starts_with("d/0 begins at 6, and decisions from 5 on are gone"), "{error}");
    assert!(error.contains("retention.ms") && error.contains("--reset-offsets"), "{error}");
    log(5, Some(7), (5, 20), false).expect("there");
    // Nothing is remembered: what is gone is nobody's.
    assert_eq!(log(5, Some(4), (6, 20), true).expect("there").position, 6);
    assert_eq!(log(0, None, (6, 20), true).expect("there").position, 6);
}

#[test]
fn the_last_record_ends_it_whatever_comes_behind() {
    let mut log = log(5, Some(7), (0, 20), false).expect("there");
    assert!(log.take(5).expect("there") && !log.is_read());
    assert!(log.take(7).expect("there") && log.is_read());
    assert!(!log.take(8).expect("there"));
}

#[test]
fn a_last_record_that_is_not_there_is_an_error() {
    let mut passed = log(5, Some(7), (0, 20), false).expect("there");
    let error = passed.take(8).expect_err("7 is missing").to_string();
    assert!(error.starts_with("d/0 has no record at 7"), "{error}");
    // As where its transaction was aborted.
    let mut aborted = log(5, Some(7), (0, 20), false).expect("there");
    aborted.look(&head(8, 1)).expect("one is still to be polled");
    aborted.look(&head(8, 0)).expect_err("7 is missing");
}

#[test]
fn markers_end_a_log_too() {
    let mut log = log(5, Some(7), (0, 10), true).expect("there");
    log.take(7).expect("there");
    log.take(8).expect("there");
    log.look(&head(10, 1)).expect("on its way");
    assert!(!log.is_read());
    log.look(&head(10, 0)).expect("done");
    assert!(log.is_read());
}

#[test]
fn patience_ends_while_brokers_answer() {
    let mut patience = Patience::new();
    assert_eq!(patience.exhausted(), None);
    patience.since -= WATCHDOG + Duration::from_secs(1);
    patience.trouble = Some(KafkaError::NoMessageReceived);
    let words = patience.exhausted().expect("exhausted");
    assert!(words.starts_with("brokers answer, but nothing came back for 61s (No message"), "{words}");
    patience.restart();
    assert_eq!(patience.exhausted(), None);
}
