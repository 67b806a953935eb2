//! Records out of Kafka: one consumer per worker, polled on the worker's own thread.

mod context;
mod keying;
mod metadata;
mod topics;

pub use keying::look as look_at_keys;
pub use metadata::Metadata;
pub use topics::{Missing, Topics};

use std::{collections::HashMap, sync::Arc, time::Duration};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, RebalanceProtocol},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
};

use crate::config::{Config, Start};
use context::Context;
pub use context::{Event, Head};

/// A topic's partition. Topic names are few and shared.
pub type Partition = (Arc<str>, i32);

/// A worker's consumer.
pub struct Source {
    consumer: BaseConsumer<Context>,
    start: Start,
}

/// How long one request to a broker may take before it is tried again.
const REQUEST: Duration = Duration::from_secs(10);

// === impl Source ===

impl Source {
    /// Joins the group. No broker is contacted before the first poll.
    ///
    /// # Errors
    /// A property librdkafka does not know or refuses.
    pub fn new(config: &Config, statistics: Duration) -> KafkaResult<Self> {
        let mut client = client(config);
        client
            .set("group.id", &config.input.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A committed offset that is gone is an error, never a silent jump.
            .set("auto.offset.reset", "error")
            .set("statistics.interval.ms", statistics.as_millis().to_string());
        for (name, value) in DEFAULTS {
            if !config.kafka.properties.contains_key(*name) {
                client.set(*name, *value);
            }
        }
        let consumer: BaseConsumer<Context> = client.create_with_context(Context::default())?;
        let topics = config.input.topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>();
        consumer.subscribe(&topics)?;
        Ok(Self { consumer, start: config.input.start })
    }

    /// The next record, if one comes in time. Events collect meanwhile.
    pub fn poll(&self, timeout: Duration) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        self.consumer.poll(timeout)
    }

    pub fn next_event(&self) -> Option<Event> {
        self.consumer.context().pop()
    }

    /// Where a newly assigned partition is to be read from: the committed offset, or the configured start, which is
    /// then committed before anything is read (protocol §2.5).
    pub fn starts(&self, partitions: &[Partition]) -> KafkaResult<HashMap<Partition, i64>> {
        let mut starts = HashMap::new();
        let mut first = TopicPartitionList::new();
        let committed = self.consumer.committed_offsets(list(partitions), REQUEST)?;
        for (partition, element) in
            partitions.iter().zip(partitions.iter().map(|(t, p)| committed.find_partition(t, *p)))
        {
            let element =
                element.ok_or(KafkaError::MetadataFetch(rdkafka::types::RDKafkaErrorCode::UnknownPartition))?;
            element.error()?;
            let offset = match element.offset() {
                Offset::Offset(offset) => offset,
                _ => {
                    let (low, high) = self.consumer.fetch_watermarks(&partition.0, partition.1, REQUEST)?;
                    let offset = match self.start {
                        Start::Earliest => low,
                        Start::Latest => high,
                    };
                    add(&mut first, partition, offset, &Metadata::default())?;
                    offset
                }
            };
            starts.insert(partition.clone(), offset);
        }
        if first.count() > 0 {
            self.consumer.commit(&first, CommitMode::Sync)?;
        }
        Ok(starts)
    }

    /// Completes an assignment that was announced by [`Event::Assigned`].
    pub fn assign(&self, starts: &HashMap<Partition, i64>) -> KafkaResult<()> {
        let mut partitions = TopicPartitionList::new();
        for ((topic, partition), offset) in starts {
            partitions.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&partitions),
            _ => self.consumer.assign(&partitions),
        }
    }

    /// Completes a revocation that was announced by [`Event::Revoked`].
    pub fn unassign(&self, partitions: &[Partition]) -> KafkaResult<()> {
        context::unassign(&self.consumer, &list(partitions))
    }

    /// Whether the revoked partitions are already someone else's.
    pub fn lost(&self) -> bool {
        self.consumer.assignment_lost()
    }

    pub fn pause(&self, partitions: &[Partition]) -> KafkaResult<()> {
        self.consumer.pause(&list(partitions))
    }

    pub fn resume(&self, partitions: &[Partition]) -> KafkaResult<()> {
        self.consumer.resume(&list(partitions))
    }

    /// Commits watermarks.
    pub fn commit<'a>(
        &self,
        watermarks: impl Iterator<Item = (&'a Partition, i64, Metadata)>,
        mode: CommitMode,
    ) -> KafkaResult<()> {
        let mut offsets = TopicPartitionList::new();
        for (partition, offset, metadata) in watermarks {
            add(&mut offsets, partition, offset, &metadata)?;
        }
        if offsets.count() == 0 { Ok(()) } else { self.consumer.commit(&offsets, mode) }
    }

    /// From here on revocations complete themselves: dropping a consumer waits for them.
    pub fn close(&self) {
        self.consumer.context().close();
    }
}

/// Tuned for a fast reader; any of them can be set in `kafka.properties`.
const DEFAULTS: &[(&str, &str)] = &[
    ("partition.assignment.strategy", "cooperative-sticky"),
    // The default of a second stalls a reader that is faster than the fetches.
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.message.max.bytes", "4194304"),
    // Bounds what librdkafka holds beside our budget, for each worker.
    ("queued.max.messages.kbytes", "65536"),
    ("queued.min.messages", "1000000"),
];

/// What every client of ours is configured with.
pub fn client(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.kafka.brokers).set("client.id", "tailwater");
    for (name, value) in &config.kafka.properties {
        client.set(name, value);
    }
    client
}

/// The milliseconds of a record's timestamp, where the broker gave one.
pub fn timestamp(message: &BorrowedMessage<'_>) -> Option<i64> {
    message.timestamp().to_millis()
}

fn list(partitions: &[Partition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

fn add(
    offsets: &mut TopicPartitionList,
    (topic, partition): &Partition,
    offset: i64,
    metadata: &Metadata,
) -> KafkaResult<()> {
    let mut element = offsets.add_partition(topic, *partition);
    element.set_offset(Offset::Offset(offset))?;
    element.set_metadata(metadata.to_string());
    Ok(())
}
