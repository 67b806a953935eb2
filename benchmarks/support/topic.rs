//! Topics that are made, filled with generated traffic, and deleted.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tailwater::generate::Record;

/// What a topic was filled with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Content {
    pub records: u64,
    pub spans: u64,
    /// Of the records' values.
    pub bytes: u64,
}

pub const PARTITIONS: i32 = 8;

/// Its records keep the times that they are given.
pub fn create(brokers: &str, topic: &str) {
    let topic = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1))
        .set("message.timestamp.type", "CreateTime")
        .set("retention.ms", "-1");
    let created = block_on(admin(brokers).create_topics([&topic], &AdminOptions::new())).expect("an answer");
    created.into_iter().for_each(|topic| _ = topic.expect("a topic"));
}

/// Those that are there.
pub fn delete(brokers: &str, topics: &[&str]) {
    _ = block_on(admin(brokers).delete_topics(topics, &AdminOptions::new()));
}

/// What a group that writes to `GROUP-kept` leaves.
pub fn delete_all_of(brokers: &str, group: &str) {
    let all = ["kept", "dead-letters", "decisions", "samplers"].map(|name| format!("{group}-{name}"));
    delete(brokers, &all.each_ref().map(String::as_str));
}

/// Records with a key go where Java's clients would send them, the others to every partition in turn. `epoch` is in milliseconds.
pub fn fill(brokers: &str, topic: &str, epoch: u64, records: impl Iterator<Item = Record>) -> Content {
    let producer: BaseProducer = client(brokers)
        .set("linger.ms", "50")
        .set("queue.buffering.max.kbytes", "262144")
        .set("partitioner", "murmur2_random")
        .create()
        .expect("a producer");
    let mut content = Content::default();
    for (number, record) in (0_i32..).zip(records) {
        content.records += 1;
        content.spans += record.spans.len() as u64;
        content.bytes += record.value.len() as u64;
        let at = i64::try_from(epoch + record.at_ms).expect("a time");
        let mut message = BaseRecord::<[u8], [u8]>::to(topic).payload(&record.value).timestamp(at);
        message = match &record.key {
            Some(key) => message.key(&key[..]),
            None => message.partition(number % PARTITIONS),
        };
        while let Err((error, back)) = producer.send(message) {
            assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
            producer.poll(Duration::from_millis(10));
            message = back;
        }
    }
    producer.flush(Duration::from_secs(60)).expect("the topic is filled");
    content
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    client(brokers).create().expect("an admin client")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

pub fn client(brokers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers);
    client
}
