//! Which topics there are.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    metadata::MetadataPartition,
};

use super::{
    client,
    refusal::{Refusal, Trouble, Use},
};
use crate::config::Config;

/// What there is of topics.
pub struct Topics {
    shapes: HashMap<String, Shape>,
    consumer: BaseConsumer<Trouble>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub partitions: i32,
    /// Of the partition that has the least.
    pub replicas: usize,
    /// Of the partition that has the least.
    pub in_sync: usize,
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
        let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
        let shapes = topics.map(|topic| (topic.name().to_owned(), Shape::of(topic.partitions()))).collect();
        Ok(Self { shapes, consumer })
    }

    /// None where it does not exist.
    pub fn shape(&self, topic: &str) -> Option<Shape> {
        self.shapes.get(topic).copied().filter(|shape| shape.partitions > 0)
    }

    /// How many partitions a topic has; None where it does not exist.
    pub fn partitions(&self, topic: &str) -> Option<i32> {
        self.shape(topic).map(|shape| shape.partitions)
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

// === impl Shape ===

impl Shape {
    fn of(partitions: &[MetadataPartition]) -> Self {
        let least = |of: fn(&MetadataPartition) -> usize| partitions.iter().map(of).min().unwrap_or_default();
        Self {
            partitions: partitions.len() as i32,
            replicas: least(|partition| partition.replicas().len()),
            in_sync: least(|partition| partition.isr().len()),
        }
    }
}
