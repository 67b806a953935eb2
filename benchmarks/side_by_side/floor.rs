//! What reading alone costs: the least that anything can which looks at every span.

use std::{process::Command, time::Duration};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use serde::de::IgnoredAny;

use super::{support::cases::walk, topic::PARTITIONS};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Every record is taken over from librdkafka.
    Consume,
    /// And every field of every span is passed by.
    Walk,
}

/// The first word to this program where it is to be a floor; which one, the brokers and the topic follow.
pub const WORD: &str = "floor";
/// Those that Tailwater reads with.
const PROPERTIES: [(&str, &str); 5] = [
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.message.max.bytes", "1048576"),
    ("queued.max.messages.kbytes", "16384"),
    ("queued.min.messages", "1000000"),
];

// === impl Floor ===

impl Floor {
    pub fn name(self) -> &'static str {
        match self {
            Self::Consume => "consume",
            Self::Walk => "consume and walk",
        }
    }

    /// This program, as it.
    pub fn command(self, brokers: &str, topic: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("Linux"));
        command.args([WORD, self.name(), brokers, topic]);
        command
    }

    pub fn named(name: &str) -> Self {
        if name == Self::Walk.name() { Self::Walk } else { Self::Consume }
    }

    /// Reads the topic to its end.
    pub fn run(self, brokers: &str, topic: &str) {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", brokers).set("group.id", "floor").set("enable.auto.commit", "false");
        PROPERTIES.iter().for_each(|(name, value)| _ = client.set(*name, *value));
        let consumer: BaseConsumer = client.create().expect("a consumer");
        let mut all = TopicPartitionList::new();
        let mut rest = 0;
        for partition in 0..PARTITIONS {
            let bounds = consumer.fetch_watermarks(topic, partition, Duration::from_secs(30));
            rest += bounds.expect("watermarks").1;
            all.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&all).expect("partitions to read");
        let mut fields = 0;
        while rest > 0 {
            let message = consumer.poll(Duration::from_secs(30)).expect("a record").expect("no error");
            rest -= 1;
            if self == Self::Walk {
                let value = message.payload().expect("a value");
                fields += match value.first() {
                    Some(b'{') => serde_json::from_slice::<IgnoredAny>(value).map(|_| 1).expect("JSON"),
                    _ => walk(value).expect("OTLP"),
                };
            }
        }
        println!("{fields}");
    }
}
