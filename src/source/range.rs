//! Records of topics from one place to another, for programs that look and do not process: no group is joined, nothing is
//! committed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};

use super::{record, refusal::Trouble};
use crate::recording::Record;

/// A place in all partitions of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where the log begins.
    Earliest,
    /// Where the log ends by now.
    Latest,
    /// The first record that is not older, by its timestamp: milliseconds since the Unix epoch.
    At(i64),
}

/// What is to be read, of each partition from one place to another. With offsets, only what is within these too, and partitions
/// that have none are not read.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub topics: Vec<String>,
    pub from: Place,
    pub to: Place,
    /// By partition.
    pub offsets: BTreeMap<i32, Offsets>,
}

/// Records on their way, topic by topic.
pub struct Range {
    consumer: BaseConsumer<Trouble>,
    /// The next offset and the end of what is being read, by partition.
    left: BTreeMap<i32, Offsets>,
    waiting: Vec<(String, BTreeMap<i32, Offsets>)>,
    total: u64,
}

/// The last one is not included.
pub type Offsets = std::ops::Range<i64>;

/// One request to a broker.
const REQUEST: Duration = Duration::from_secs(15);
/// Without a record for so long, while some are missing, none will come.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(100);

// === impl Range ===

impl Range {
    /// Looks where the records stand. `client` says which cluster.
    ///
    /// # Errors
    /// It does not answer, refuses, or has no such topic.
    pub fn open(mut client: ClientConfig, wanted: &Wanted) -> anyhow::Result<Self> {
        client
            // A group's name is needed to consume; it is not joined.
            .set("group.id", "tailwater-range")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false")
            .set("fetch.queue.backoff.ms", "10");
        let consumer: BaseConsumer<Trouble> = client.create_with_context(Trouble::default())?;
        let mut waiting = Vec::new();
        for topic in &wanted.topics {
            waiting.push((topic.clone(), ranges(&consumer, topic, wanted)?));
        }
        let total = waiting.iter().map(|(_, left)| length(left)).sum();
        Ok(Self { consumer, left: BTreeMap::new(), waiting, total })
    }

    /// Offsets in all; some of them may be markers of transactions, or compacted away.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Offsets that are behind.
    pub fn done(&self) -> u64 {
        self.total - length(&self.left) - self.waiting.iter().map(|(_, left)| length(left)).sum::<u64>()
    }

    /// The next record, of whatever partition; None at the end.
    ///
    /// # Errors
    /// The brokers refuse, or send nothing more.
    pub fn read(&mut self) -> anyhow::Result<Option<Record>> {
        let mut since = Instant::now();
        loop {
            if self.left.is_empty() {
                let Some((topic, left)) = self.waiting.pop() else { return Ok(None) };
                let mut assignment = TopicPartitionList::new();
                for (partition, offsets) in &left {
                    assignment.add_partition_offset(&topic, *partition, Offset::Offset(offsets.start))?;
                }
                self.consumer.assign(&assignment)?;
                self.left = left;
                continue;
            }
            match self.consumer.poll(STEP) {
                Some(Ok(message)) => {
                    since = Instant::now();
                    let partition = message.partition();
                    let Some(offsets) = self.left.get_mut(&partition) else { continue };
                    let within = message.offset() < offsets.end;
                    offsets.start = message.offset() + 1;
                    if offsets.is_empty() {
                        self.left.remove(&partition);
                    }
                    if within {
                        return Ok(Some(record::owned(&message)));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    // What is left are markers of transactions, or records of one that is open, which may not be read yet.
                    self.left.remove(&partition);
                }
                Some(Err(error)) => {
                    if let Some(refusal) = self.consumer.context().refusal() {
                        return Err(refusal.into());
                    }
                    if since.elapsed() > PATIENCE {
                        return Err(error).context("reading the topic");
                    }
                }
                None if since.elapsed() > PATIENCE => {
                    let said = self.consumer.context().last().map(|said| format!(": {said}")).unwrap_or_default();
                    bail!("no record came for {} s{said}", PATIENCE.as_secs());
                }
                None => {}
            }
        }
    }
}

fn length(left: &BTreeMap<i32, Offsets>) -> u64 {
    left.values().map(|offsets| offsets.end.abs_diff(offsets.start)).sum()
}

/// What is to be read of a topic, by partition.
fn ranges(consumer: &BaseConsumer<Trouble>, topic: &str, wanted: &Wanted) -> anyhow::Result<BTreeMap<i32, Offsets>> {
    let asked = || format!("asking for the topic `{topic}`");
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST).or_else(|error| {
        while consumer.poll(Duration::ZERO).is_some() {}
        match consumer.context().refusal() {
            Some(refusal) => Err(anyhow::Error::from(refusal)),
            None => Err(error).with_context(asked),
        }
    })?;
    let partitions = metadata.topics().first().filter(|topic| topic.error().is_none());
    let partitions: Vec<i32> =
        partitions.map(|topic| topic.partitions().iter().map(|of| of.id()).collect()).unwrap_or_default();
    if partitions.is_empty() {
        bail!("the topic `{topic}` does not exist, or may not be seen");
    }
    if let Some(missing) = wanted.offsets.keys().find(|partition| !partitions.contains(partition)) {
        bail!("the topic `{topic}` has no partition {missing}");
    }
    let mut found = BTreeMap::new();
    for partition in partitions {
        let within = match wanted.offsets.get(&partition) {
            Some(range) => range.clone(),
            None if wanted.offsets.is_empty() => 0..i64::MAX,
            None => continue,
        };
        let ends = consumer.fetch_watermarks(topic, partition, REQUEST).with_context(asked)?;
        let find = |of| place(consumer, topic, partition, of, ends);
        let offsets = within.start.max(find(wanted.from)?)..within.end.min(find(wanted.to)?);
        if !offsets.is_empty() {
            found.insert(partition, offsets);
        }
    }
    Ok(found)
}

fn place(
    consumer: &BaseConsumer<Trouble>,
    topic: &str,
    partition: i32,
    place: Place,
    (low, high): (i64, i64),
) -> anyhow::Result<i64> {
    let at = match place {
        Place::Earliest => return Ok(low),
        Place::Latest => return Ok(high),
        // What is below has other meanings for a broker.
        Place::At(at) => at.max(0),
    };
    let mut times = TopicPartitionList::new();
    times.add_partition_offset(topic, partition, Offset::Offset(at))?;
    let offsets = consumer.offsets_for_times(times, REQUEST).context("asking for offsets by time")?;
    Ok(match offsets.find_partition(topic, partition).map(|of| of.offset()) {
        Some(Offset::Offset(offset)) => offset.clamp(low, high),
        // All is older.
        _ => high,
    })
}
