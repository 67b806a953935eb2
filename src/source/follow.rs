//! Topics of ours, followed beside the workers by a thread of their own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
    message::BorrowedMessage,
};

use super::client;
use crate::config::Config;

/// What is followed, and how.
pub struct Followed {
    /// The thread's.
    pub name: &'static str,
    /// In words, of what goes wrong.
    pub what: &'static str,
    /// Each exists.
    pub topics: Vec<String>,
    /// Where in all partitions to begin.
    pub from: Offset,
    /// More of librdkafka's properties.
    pub properties: &'static [(&'static str, &'static str)],
}

const STEP: Duration = Duration::from_millis(100);
const REQUEST: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

/// Begins to show records to `see`, each with the place of its topic among those followed, until `stop`. What goes wrong is tried
/// again.
///
/// # Errors
/// A property librdkafka does not know or refuses; no thread to be had.
pub fn follow(
    config: &Config,
    followed: Followed,
    stop: Arc<AtomicBool>,
    mut see: impl FnMut(usize, &BorrowedMessage<'_>) + Send + 'static,
) -> anyhow::Result<()> {
    let Followed { name, what, topics, from, properties } = followed;
    let mut client = client(config);
    // A group's name is needed to consume, and the user may know no other; the group is never joined.
    client.set("group.id", &config.input.group).set("enable.auto.commit", "false");
    properties.iter().for_each(|(name, value)| _ = client.set(*name, *value));
    let consumer: BaseConsumer = client.create()?;
    thread::Builder::new().name(name.into()).spawn(move || {
        let mut assigned = false;
        while !stop.load(Ordering::Acquire) {
            let done = if assigned {
                consumer.poll(STEP).transpose().map(|record| {
                    if let Some(record) = record
                        && let Some(topic) = topics.iter().position(|topic| topic == record.topic())
                    {
                        see(topic, &record);
                    }
                })
            } else {
                assign(&consumer, &topics, from)
            };
            assigned |= done.is_ok();
            if let Err(error) = done {
                tracing::warn!(%error, "following {what}; going on");
                thread::sleep(PAUSE);
            }
        }
    })?;
    Ok(())
}

fn assign(consumer: &BaseConsumer, topics: &[String], from: Offset) -> KafkaResult<()> {
    let mut all = TopicPartitionList::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), REQUEST)?;
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            all.add_partition_offset(topic, partition.id(), from)?;
        }
    }
    consumer.assign(&all)
}
