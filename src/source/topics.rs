//! Which topics there are.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
};

use super::{
    client,
    refusal::{Refusal, Trouble, Use},
};
use crate::config::Config;

/// Partition counts by topic.
pub struct Topics {
    counts: HashMap<String, i32>,
    consumer: BaseConsumer<Trouble>,
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

/// Why a cluster does not answer.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// It may soon; with what librdkafka says of it.
    #[error("{0}")]
    Away(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the properties of `kafka`: {0}")]
    Misconfigured(KafkaError),
}

/// Between two looks at whether it is refused, and not only slow.
const STEP: Duration = Duration::from_millis(500);

// === impl Topics ===

impl Topics {
    /// Asks the cluster.
    pub fn ask(config: &Config, timeout: Duration) -> Result<Self, Silence> {
        let consumer: BaseConsumer<Trouble> = client(config)
            .set("allow.auto.create.topics", "false")
            .create_with_context(Trouble::default())
            .map_err(Silence::Misconfigured)?;
        let begun = Instant::now();
        let metadata = loop {
            match consumer.fetch_metadata(None, STEP.min(timeout)) {
                Ok(metadata) => break metadata,
                Err(error) => {
                    // Without a group nothing but trouble can come.
                    while consumer.poll(Duration::ZERO).is_some() {}
                    if let Some(refusal) = consumer.context().refusal() {
                        return Err(refusal.into());
                    }
                    if begun.elapsed() >= timeout {
                        return Err(Silence::Away(consumer.context().last().unwrap_or_else(|| error.to_string())));
                    }
                }
            }
        };
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

    /// Whether a topic is missing because it may not be seen. Brokers say so only of one that is asked for by name.
    pub fn refusal(&self, topic: &str, group: &str, used: Use<'_>, timeout: Duration) -> Option<Refusal> {
        let metadata = self.consumer.fetch_metadata(Some(topic), timeout).ok()?;
        let error = metadata.topics().first()?.error()?;
        Refusal::of_right(&KafkaError::MetadataFetch(error.into()), group, used)
    }

    /// The first and the next offset of a partition.
    pub fn watermarks(&self, topic: &str, partition: i32, timeout: Duration) -> KafkaResult<(i64, i64)> {
        self.consumer.fetch_watermarks(topic, partition, timeout)
    }
}
