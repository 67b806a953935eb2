//! Records read again whose payload was given up: the log is the buffer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
};

use super::{
    Partition, reader,
    refusal::{Trouble, is_refused},
};
use crate::{config::Config, recall::Recall};

/// A reader beside that of a worker, which joins no group. It is made when the first trace is recalled: most never are.
pub struct Recaller {
    config: Arc<Config>,
    consumer: Option<BaseConsumer<Trouble>>,
}

/// What is left to be read, in one sweep over each partition.
struct Sweep<'c, 'p> {
    consumer: &'c BaseConsumer<Trouble>,
    left: Vec<Left<'p>>,
    /// When the last record came, or it was looked at why none does.
    since: Instant,
    /// How often that was looked at.
    looks: u32,
}

/// What is left of a partition.
struct Left<'p> {
    partition: &'p Partition,
    /// Its number in the tick.
    at: u32,
    /// Of the records that are sought, the next one last.
    offsets: Vec<i64>,
    /// Where the reader was last sent.
    sent: Option<i64>,
}

/// Between two looks at whether somebody still waits.
const STEP: Duration = Duration::from_millis(100);
/// One request to a broker.
const REQUEST: Duration = Duration::from_secs(5);
/// Bytes to be passed by for which it pays to ask for what is behind them instead: what a broker sends in the time of a request.
const GAP: u64 = 2 << 20;
/// Without a record for so long, it is looked at whether the log still has what is sought.
const QUIET: Duration = Duration::from_secs(1);
/// So often nothing has come though brokers answer: it will not. A new leader knows by then how far its log goes.
const LOOKS: u32 = 60;
/// Less than what a worker's own reader fetches ahead: much of it may be passed by, and it is beside the budget.
const DEFAULTS: &[(&str, &str)] = &[("queued.max.messages.kbytes", "6400"), ("fetch.message.max.bytes", "1048576")];

// === impl Recaller ===

impl Recaller {
    pub fn new(config: Arc<Config>) -> Self {
        Self { config, consumer: None }
    }

    /// Reads what is sought, in the order of the offsets; `name` says what partitions are called. What is no longer in the log is
    /// left out. False where nobody waits any more.
    ///
    /// # Errors
    /// librdkafka refuses, or what is there does not come.
    pub fn read<'p>(
        &mut self,
        recall: &mut Recall,
        name: impl Fn(u32) -> Option<&'p Partition>,
        is_abandoned: impl Fn() -> bool,
    ) -> KafkaResult<bool> {
        let consumer = match &mut self.consumer {
            Some(consumer) => consumer,
            none => none.insert(create(&self.config)?),
        };
        let mut starts = TopicPartitionList::new();
        let mut left = Vec::new();
        for (at, mut offsets) in recall.begin() {
            let Some(partition) = name(at) else { continue };
            starts.add_partition_offset(&partition.0, partition.1, Offset::Offset(offsets[0]))?;
            offsets.reverse();
            left.push(Left { partition, at, offsets, sent: None });
        }
        consumer.incremental_assign(&starts)?;
        let mut sweep = Sweep { consumer, left, since: Instant::now(), looks: 0 };
        while !sweep.left.is_empty() {
            if is_abandoned() {
                sweep.left.iter_mut().for_each(|left| left.offsets.clear());
                sweep.finish()?;
                return Ok(false);
            }
            match consumer.poll(STEP) {
                Some(Ok(message)) => sweep.take(recall, &message)?,
                Some(Err(error)) if is_refused(&error) || matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                    return Err(error);
                }
                Some(Err(error)) => tracing::warn!(%error, "Kafka, reading what was given up; going on"),
                None => sweep.look()?,
            }
        }
        Ok(true)
    }
}

fn create(config: &Config) -> KafkaResult<BaseConsumer<Trouble>> {
    let mut client = reader(config, &config.input.group, Duration::ZERO);
    // What is gone is noticed by what comes instead.
    client.set("auto.offset.reset", "earliest");
    // So that a broker's quotas and metrics tell what is read again from the rest.
    let id = format!("{}-recall", client.get("client.id").unwrap_or_default());
    client.set("client.id", id);
    for (name, value) in DEFAULTS {
        client.set(*name, *value);
    }
    client.create_with_context(Trouble::default())
}

// === impl Sweep ===

impl Sweep<'_, '_> {
    fn take(&mut self, recall: &mut Recall, message: &BorrowedMessage<'_>) -> KafkaResult<()> {
        (self.since, self.looks) = (Instant::now(), 0);
        let (topic, partition) = (message.topic(), message.partition());
        let is = |left: &Left<'_>| left.partition.1 == partition && *left.partition.0 == *topic;
        // Long runs come from one partition.
        let Some(at) = self.left.iter().rposition(is) else { return Ok(()) };
        let last = self.left.len() - 1;
        self.left.swap(at, last);
        let left = &mut self.left[last];
        let (offset, value) = (message.offset(), message.payload().unwrap_or_default());
        recall.read.records += 1;
        recall.read.bytes += value.len() as u64;
        if left.offsets.last().is_some_and(|next| *next < offset) {
            // Where the log begins behind it, it is gone. Where it does not, it is asked for once more.
            let bounds = self.consumer.fetch_watermarks(topic, partition, REQUEST);
            if bounds.map_or(true, |(low, _)| left.is_from(low)) && left.seek(self.consumer) {
                return Ok(());
            }
            left.pass(offset);
        }
        if left.offsets.last() == Some(&offset) {
            recall.take(left.at, offset, value);
            left.offsets.pop();
        }
        let mean = recall.read.bytes / recall.read.records;
        match left.offsets.last() {
            Some(next) if next.abs_diff(offset).saturating_mul(mean) > GAP => _ = left.seek(self.consumer),
            Some(_) => {}
            None => self.finish()?,
        }
        Ok(())
    }

    /// Looks why nothing comes.
    fn look(&mut self) -> KafkaResult<()> {
        if self.since.elapsed() < QUIET {
            return Ok(());
        }
        self.since = Instant::now();
        let mut answered = true;
        for left in &mut self.left {
            let (topic, partition) = left.partition;
            match self.consumer.fetch_watermarks(topic, *partition, REQUEST) {
                Ok((low, _)) => left.pass(low),
                Err(_) => answered = false,
            }
        }
        self.looks += u32::from(answered);
        if self.looks > LOOKS {
            let Some(Left { partition: (topic, partition), offsets, .. }) = self.left.first() else { return Ok(()) };
            tracing::error!(
                %topic,
                partition,
                "{} records that were given up for lack of memory do not come again, though the log has them; the next start reads \
                 them anew",
                offsets.len()
            );
            return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
        }
        self.finish()
    }

    /// Lets go of the partitions of which nothing is left.
    fn finish(&mut self) -> KafkaResult<()> {
        let mut finished = TopicPartitionList::new();
        self.left.retain(|Left { partition, offsets, .. }| {
            if offsets.is_empty() {
                finished.add_partition(&partition.0, partition.1);
            }
            !offsets.is_empty()
        });
        if finished.count() == 0 { Ok(()) } else { self.consumer.incremental_unassign(&finished) }
    }
}

// === impl Left ===

impl Left<'_> {
    /// What is below is no longer in the log.
    fn pass(&mut self, offset: i64) {
        while self.offsets.last().is_some_and(|next| *next < offset) {
            self.offsets.pop();
        }
    }

    /// Whether the next one is not below an offset.
    fn is_from(&self, offset: i64) -> bool {
        self.offsets.last().is_none_or(|next| *next >= offset)
    }

    /// Sends the reader to the next one; false where it was. Where that fails, reading on leads there too.
    fn seek(&mut self, consumer: &BaseConsumer<Trouble>) -> bool {
        let Some(next) = self.offsets.last().copied().filter(|next| self.sent != Some(*next)) else { return false };
        self.sent = Some(next);
        _ = consumer.seek(&self.partition.0, self.partition.1, Offset::Offset(next), REQUEST);
        true
    }
}
