//! Which topics there are.

use std::{collections::HashMap, time::Duration};

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use super::client;
use crate::config::Config;

/// Partition counts by topic.
pub struct Topics {
    counts: HashMap<String, i32>,
    consumer: BaseConsumer,
}

/// A topic that is configured and not there.
#[derive(Debug, thiserror::Error)]
#[error("the {role} topic `{topic}` does not exist on {brokers}; create it, or correct `{key}`")]
pub struct Missing {
    pub role: &'static str,
    pub topic: String,
    pub brokers: String,
    pub key: &'static str,
}

// === impl Topics ===

impl Topics {
    /// Asks the cluster.
    pub fn ask(config: &Config, timeout: Duration) -> KafkaResult<Self> {
        let consumer: BaseConsumer = client(config).set("allow.auto.create.topics", "false").create()?;
        let metadata = consumer.fetch_metadata(None, timeout)?;
        let counts = metadata
            .topics()
            .iter()
            .filter(|topic| topic.error().is_none())
            .map(|topic| (topic.name().to_owned(), topic.partitions().len() as i32))
            .collect();
        Ok(Self { counts, consumer })
    }

    /// How many partitions a topic has; None where it does not exist.
    pub fn partitions(&self, topic: &str) -> Option<i32> {
        self.counts.get(topic).copied().filter(|&count| count > 0)
    }

    /// The first and the next offset of a partition.
    pub fn watermarks(&self, topic: &str, partition: i32, timeout: Duration) -> KafkaResult<(i64, i64)> {
        self.consumer.fetch_watermarks(topic, partition, timeout)
    }
}
