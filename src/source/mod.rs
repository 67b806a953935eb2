//! Records out of Kafka: one consumer per worker, polled on the worker's own thread.

mod board;
mod context;
mod expired;
mod follow;
mod keying;
mod metadata;
mod orphans;
mod polled;
mod range;
mod recaller;
pub mod record;
mod refusal;
mod restore;
mod spread;
mod topics;

pub use board::Board;
pub use expired::{Expired, expired};
pub use keying::look as look_at_keys;
pub use metadata::{Metadata, Unknown as UnknownMetadata};
pub use polled::Polled;
pub use range::{Offsets, Place, Range, Wanted as WantedRange};
pub use recaller::Recaller;
pub use refusal::{Refusal, Trouble, Use, is_refused};
pub use restore::{Memory, Restore, Restored, Wanted};
pub use spread::watch as watch_spread;
pub use topics::{Missing, Silence, Topics};

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
};

use crate::{
    config::{Config, Kafka, Start},
    model::RecordTime,
};
use context::Context;
pub use context::{Event, Head};
use orphans::Orphans;

/// A topic's partition. Topic names are few and shared.
pub type Partition = (Arc<str>, i32);

/// A worker's consumer.
pub struct Source {
    consumer: Arc<BaseConsumer<Context>>,
    start: Start,
    /// Of a group that moves partitions one by one, and knows this member by a name.
    orphans: Option<Orphans>,
}

/// Commits offsets for a source, from another thread.
pub struct Committer(Arc<BaseConsumer<Context>>);

/// An offset and what rides along with it.
pub type Committed = Option<(i64, Metadata)>;

/// Where a partition's records begin for us.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    pub offset: i64,
    /// Whether the group has it committed. If not, that comes before anything is read: the configured start moves.
    pub committed: bool,
    /// Records from the committed offset on that are no longer in the log.
    pub expired: i64,
    pub metadata: Metadata,
}

/// Why it is not known where partitions begin.
#[derive(Debug, thiserror::Error)]
pub enum NoBeginning {
    /// It may be known soon.
    #[error(transparent)]
    Away(#[from] KafkaError),
    #[error(transparent)]
    Metadata(#[from] UnknownMetadata),
    #[error(
        "records of the input were removed before they were read: {}. Give the topic a longer retention.ms; to go on without \
         these records, start with --accept-expired",
        all(.0)
    )]
    Expired(Vec<Expired>),
}

/// Makes a member static; two members of one name fence each other.
const INSTANCE: &str = "group.instance.id";
const STRATEGY: &str = "partition.assignment.strategy";
/// How long one request to a broker may take before it is tried again: a worker polls in between.
const REQUEST: Duration = Duration::from_secs(1);

// === impl Source ===

impl Source {
    /// Joins the group. No broker is contacted before the first poll. `instance` tells the workers of a static member apart.
    ///
    /// # Errors
    /// A property librdkafka does not know or refuses; no thread to be had.
    pub fn new(config: &Config, statistics: Duration, instance: Option<usize>) -> anyhow::Result<Self> {
        let mut client = reader(config, &config.input.group, statistics);
        if let (Some(member), Some(instance)) = (config.kafka.properties.get(INSTANCE), instance) {
            client.set(INSTANCE, format!("{member}-{instance}"));
        }
        let consumer: Arc<BaseConsumer<Context>> = Arc::new(client.create_with_context(Context::default())?);
        let topics = config.input.topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>();
        consumer.subscribe(&topics)?;
        let moves_one_by_one = client.get(STRATEGY).is_some_and(|strategy| strategy.contains("cooperative"));
        let is_static = config.kafka.properties.contains_key(INSTANCE);
        // One of a process looks.
        let looks = is_static && moves_one_by_one && instance.is_none_or(|instance| instance == 0);
        let orphans = looks.then(|| Orphans::watch(config)).transpose()?;
        Ok(Self { consumer, start: config.input.start, orphans })
    }

    /// Joins no group, which is then not there for anybody to see: these partitions are assigned, and stay so.
    ///
    /// # Errors
    /// A property librdkafka does not know or refuses.
    pub fn standalone(config: &Config, statistics: Duration, partitions: Vec<Partition>) -> KafkaResult<Self> {
        let context = Context::default();
        context.push(Event::Assigned(partitions));
        let consumer = reader(config, &config.input.group, statistics).create_with_context(context)?;
        Ok(Self { consumer: Arc::new(consumer), start: config.input.start, orphans: None })
    }

    /// The next record, if one comes in time. Events collect meanwhile.
    pub fn poll(&self, timeout: Duration) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        if let Some(orphans) = &self.orphans
            && !self.consumer.context().is_asked()
            && orphans.are_found()
            && let Err(error) = self.join_anew()
        {
            return Some(Err(error));
        }
        self.consumer.poll(timeout)
    }

    /// Leaves the group, which gives all that is nobody's to somebody, and comes back.
    fn join_anew(&self) -> KafkaResult<()> {
        let subscription = self.consumer.subscription()?;
        let topics = subscription.elements();
        let topics: Vec<&str> = topics.iter().map(|element| element.topic()).collect();
        self.consumer.unsubscribe();
        self.consumer.subscribe(&topics)
    }

    /// What the brokers refuse, right after a poll that failed on it.
    pub fn refusal(&self) -> Option<Refusal> {
        self.consumer.context().refusal()
    }

    pub fn next_event(&self) -> Option<Event> {
        self.consumer.context().pop()
    }

    /// Where newly assigned partitions are to be read from: the committed offset, else the configured start, or that of the log
    /// for a partition that was added when the group had begun (C4). Where records are gone that come after the committed
    /// offset, it is the start of the log, if that is accepted.
    ///
    /// # Errors
    /// The brokers do not say in time, or what they say is not for us.
    pub fn beginnings(
        &self,
        partitions: &[Partition],
        accept_expired: bool,
    ) -> Result<Vec<(Partition, Beginning)>, NoBeginning> {
        let committed = self.consumer.committed_offsets(list(partitions), REQUEST)?;
        let expired = expired(&self.consumer, &committed, REQUEST)?;
        if !expired.is_empty() && !accept_expired {
            // What other workers are about to find belongs to the picture.
            return Err(NoBeginning::Expired(self.all_expired().unwrap_or(expired)));
        }
        let mut began_with = HashMap::new();
        let mut of = |partition: &Partition| -> Result<Beginning, NoBeginning> {
            let (topic, number) = partition;
            let element = committed
                .find_partition(topic, *number)
                .ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownPartition))?;
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                let metadata = Metadata::parse(element.metadata(), offset)?;
                let Some(gone) = expired.iter().find(|gone| gone.partition == *partition) else {
                    return Ok(Beginning { offset, committed: true, expired: 0, metadata });
                };
                let metadata = Metadata { position: metadata.position.max(gone.start), ..metadata };
                return Ok(Beginning { offset: gone.start, committed: true, expired: gone.records(), metadata });
            }
            let began_with = match began_with.entry(topic.clone()) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => *unknown.insert(self.began_with(topic)?),
            };
            if *number >= began_with {
                tracing::info!(%topic, number, "the group began without this partition, which is read from its start");
            }
            let (low, high) = self.consumer.fetch_watermarks(topic, *number, REQUEST)?;
            let offset = match self.start {
                Start::Latest if *number < began_with => high,
                Start::Earliest | Start::Latest => low,
            };
            let metadata = Metadata { began_with, ..Metadata::at(offset, None) };
            Ok(Beginning { offset, committed: false, expired: 0, metadata })
        };
        partitions.iter().map(|partition| Ok((partition.clone(), of(partition)?))).collect()
    }

    /// How many partitions a topic had when the group began with it: as many as it has, where nothing of it is committed.
    fn began_with(&self, topic: &str) -> Result<i32, NoBeginning> {
        let metadata = self.consumer.fetch_metadata(Some(topic), REQUEST)?;
        let mut all = TopicPartitionList::new();
        metadata.topics().iter().flat_map(|of| of.partitions()).for_each(|of| _ = all.add_partition(topic, of.id()));
        let count = all.count() as i32;
        let mut known = None;
        for element in self.consumer.committed_offsets(all, REQUEST)?.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                known = known.max(Some(Metadata::parse(element.metadata(), offset)?.began_with));
            }
        }
        Ok(known.unwrap_or(count))
    }

    /// Of all partitions of the input.
    fn all_expired(&self) -> KafkaResult<Vec<Expired>> {
        let mut all = TopicPartitionList::new();
        for topic in self.consumer.subscription()?.elements() {
            let metadata = self.consumer.fetch_metadata(Some(topic.topic()), REQUEST)?;
            let topics = metadata.topics().iter();
            topics.flat_map(|of| of.partitions()).for_each(|of| _ = all.add_partition(topic.topic(), of.id()));
        }
        expired(&self.consumer, &self.consumer.committed_offsets(all, REQUEST)?, REQUEST)
    }

    /// Completes an assignment that was announced by [`Event::Assigned`].
    pub fn assign(&self, beginnings: &[(Partition, Beginning)]) -> KafkaResult<()> {
        let mut partitions = TopicPartitionList::new();
        for ((topic, partition), beginning) in beginnings {
            partitions.add_partition_offset(topic, *partition, Offset::Offset(beginning.offset))?;
        }
        context::assign(&self.consumer, &partitions)
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

    /// As whom the group knows this member now; a transaction's offsets are taken from nobody else.
    pub fn membership(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.group_metadata()
    }

    /// For the thread that forwards.
    pub fn committer(&self) -> Committer {
        Committer(self.consumer.clone())
    }
}

impl Drop for Source {
    /// Dropping a consumer waits until the group has let go of it, which waits for answers to rebalances: from here on they
    /// are given without a worker, and those that wait are given now.
    fn drop(&mut self) {
        self.consumer.context().close();
        while let Some(event) = self.next_event() {
            match event {
                Event::Assigned(partitions) => context::leave(&self.consumer, true, &list(&partitions)),
                Event::Revoked(partitions) => context::leave(&self.consumer, false, &list(&partitions)),
                Event::Heads { .. } => {}
            }
        }
        // The group hears of a member without partitions too.
        self.consumer.unsubscribe();
    }
}

// === impl Committer ===

impl Committer {
    /// Commits watermarks and waits for the answer, for as long as librdkafka does: more than a minute if need be.
    ///
    /// # Errors
    /// They are not committed; another worker may own the partitions.
    pub fn commit(&self, offsets: &TopicPartitionList) -> KafkaResult<()> {
        if offsets.count() == 0 { Ok(()) } else { self.0.commit(offsets, CommitMode::Sync) }
    }

    /// What the group has committed of some partitions, None where it is nothing; without those of which another program has.
    ///
    /// # Errors
    /// The brokers do not say in time.
    pub fn committed<'a>(&self, of: impl Iterator<Item = &'a Partition>) -> KafkaResult<Vec<(Partition, Committed)>> {
        let mut wanted = TopicPartitionList::new();
        of.for_each(|(topic, partition)| _ = wanted.add_partition(topic, *partition));
        let known = self.0.committed_offsets(wanted, REQUEST)?;
        let mut all = Vec::new();
        for element in known.elements() {
            element.error()?;
            let committed = match element.offset() {
                Offset::Offset(offset) => Metadata::parse(element.metadata(), offset).ok().map(|of| Some((offset, of))),
                _ => Some(None),
            };
            all.extend(committed.map(|committed| ((element.topic().into(), element.partition()), committed)));
        }
        Ok(all)
    }
}

/// Offsets with their metadata, as a commit or a transaction wants them.
pub fn offsets<'a>(of: impl Iterator<Item = (&'a Partition, i64, Metadata)>) -> KafkaResult<TopicPartitionList> {
    let mut offsets = TopicPartitionList::new();
    for ((topic, partition), offset, metadata) in of {
        let mut element = offsets.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(offset))?;
        element.set_metadata(metadata.to_string());
    }
    Ok(offsets)
}

/// Tuned for a fast reader; any of them can be set in `kafka.properties`.
const DEFAULTS: &[(&str, &str)] = &[
    // The default of a second stalls a reader that is faster than the fetches.
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.wait.max.ms", "100"),
    // What is fetched at once should still be in the caches when it is read, in memory that was there before: a fetch is no larger
    // than the queue, and of one partition no larger than this.
    ("fetch.message.max.bytes", "1048576"),
    // Bounds what librdkafka holds beside our budget, for each worker.
    ("queued.max.messages.kbytes", "16384"),
    ("queued.min.messages", "1000000"),
];

/// What a consumer is configured with that goes exactly where it is told to.
fn reader(config: &Config, group: &str, statistics: Duration) -> ClientConfig {
    let mut client = client(config);
    client
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // An offset that is gone is an error, never a silent jump.
        .set("auto.offset.reset", "error")
        .set("statistics.interval.ms", statistics.as_millis().to_string());
    // The newer group protocol has the broker assign, and takes no word on it.
    let is_classic = config.kafka.properties.get("group.protocol").is_none_or(|protocol| protocol == "classic");
    let moves_one_by_one = is_classic.then_some(&(STRATEGY, "cooperative-sticky"));
    for (name, value) in DEFAULTS.iter().chain(moves_one_by_one) {
        if !config.kafka.properties.contains_key(*name) {
            client.set(*name, *value);
        }
    }
    client
}

/// What every client of ours is configured with.
pub fn client(config: &Config) -> ClientConfig {
    client_of(&config.kafka)
}

/// The same, where no more is known than the cluster.
pub fn client_of(kafka: &Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &kafka.brokers).set("client.id", "tailwater");
    // The default of 10 s keeps a worker away for that long after its broker is back.
    client.set("reconnect.backoff.max.ms", "1000");
    for (name, value) in &kafka.properties {
        client.set(name, value);
    }
    client
}

/// A record's time, where producer or broker gave it one.
pub fn timestamp(message: &impl Message) -> Option<RecordTime> {
    message.timestamp().to_millis().map(RecordTime)
}

fn all(expired: &[Expired]) -> String {
    expired.iter().map(Expired::to_string).collect::<Vec<_>>().join(", ")
}

fn list(partitions: &[Partition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}
