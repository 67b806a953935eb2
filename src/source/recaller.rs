//! Records read again whose payload was given up: the log is the buffer.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
};

use super::{Partition, reader, refusal::Trouble};
use crate::{config::Config, recall::Recall};

/// A reader beside that of a worker, which joins no group. It is made when the first trace is recalled: most never are.
pub struct Recaller {
    config: Arc<Config>,
    consumer: Option<BaseConsumer<Trouble>>,
}

/// What is left to be read of a partition, in one sweep.
struct Sweep {
    /// Its number in the tick.
    at: u32,
    /// Of the records that are sought, the next one last.
    left: Vec<i64>,
}

/// Between two looks at whether somebody still waits.
const STEP: Duration = Duration::from_millis(100);
/// One request to a broker.
const REQUEST: Duration = Duration::from_secs(5);
/// Bytes to be passed by for which it pays to ask for what is behind them instead: what a broker sends in the time of a request.
const GAP: u64 = 8 << 20;
/// A tenth of what a worker's own reader fetches ahead: much of it may be passed by, and it is beside the budget.
const DEFAULTS: &[(&str, &str)] = &[("queued.max.messages.kbytes", "6400"), ("fetch.message.max.bytes", "1048576")];

// === impl Recaller ===

impl Recaller {
    pub fn new(config: Arc<Config>) -> Self {
        Self { config, consumer: None }
    }

    /// Reads what is sought, in the order of the offsets; `name` says what partitions are called. What is no longer in the log is
    /// left out.
    ///
    /// # Errors
    /// Nobody waits any more, or librdkafka refuses.
    pub fn read<'p>(
        &mut self,
        recall: &mut Recall,
        name: impl Fn(u32) -> Option<&'p Partition>,
        is_abandoned: impl Fn() -> bool,
    ) -> KafkaResult<()> {
        let consumer = match &mut self.consumer {
            Some(consumer) => consumer,
            none => none.insert(create(&self.config)?),
        };
        let mut sweeps: HashMap<Partition, Sweep> = HashMap::new();
        let mut starts = TopicPartitionList::new();
        for (at, mut left) in recall.begin() {
            let Some((topic, partition)) = name(at) else { continue };
            starts.add_partition_offset(topic, *partition, Offset::Offset(left[0]))?;
            left.reverse();
            sweeps.insert((topic.clone(), *partition), Sweep { at, left });
        }
        consumer.incremental_assign(&starts)?;
        let read = sweep(consumer, &mut sweeps, recall, is_abandoned);
        let left = sweeps.keys().map(|(topic, partition)| ((topic.to_string(), *partition), Offset::Invalid));
        consumer.incremental_unassign(&TopicPartitionList::from_topic_map(&left.collect())?)?;
        read
    }
}

fn create(config: &Config) -> KafkaResult<BaseConsumer<Trouble>> {
    let mut client = reader(config, &config.input.group, Duration::ZERO);
    client
        .set("enable.partition.eof", "true")
        // What is gone is noticed by what comes instead.
        .set("auto.offset.reset", "earliest");
    for (name, value) in DEFAULTS {
        client.set(*name, *value);
    }
    client.create_with_context(Trouble::default())
}

/// Passes over all partitions until nothing is left of any.
fn sweep(
    consumer: &BaseConsumer<Trouble>,
    sweeps: &mut HashMap<Partition, Sweep>,
    recall: &mut Recall,
    is_abandoned: impl Fn() -> bool,
) -> KafkaResult<()> {
    while !sweeps.is_empty() {
        if is_abandoned() {
            return Err(KafkaError::Canceled);
        }
        match consumer.poll(STEP) {
            Some(Ok(message)) => take(consumer, sweeps, recall, &message)?,
            // A new leader may not know yet how far its log goes, so the end of what there is is not the end of what was.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                for (of, sweep) in sweeps.iter_mut().filter(|((_, of), _)| *of == partition) {
                    if let Ok((low, _)) = consumer.fetch_watermarks(&of.0, of.1, REQUEST) {
                        sweep.pass(low);
                    }
                }
                finish(consumer, sweeps)?;
            }
            Some(Err(error)) => tracing::warn!(%error, "Kafka, reading what was given up; going on"),
            None => {}
        }
    }
    Ok(())
}

fn take(
    consumer: &BaseConsumer<Trouble>,
    sweeps: &mut HashMap<Partition, Sweep>,
    recall: &mut Recall,
    message: &BorrowedMessage<'_>,
) -> KafkaResult<()> {
    let (offset, value) = (message.offset(), message.payload().unwrap_or_default());
    let Some((of, sweep)) = sweeps
        .iter_mut()
        .find(|((topic, partition), _)| *partition == message.partition() && &**topic == message.topic())
    else {
        return Ok(());
    };
    recall.read.records += 1;
    recall.read.bytes += value.len() as u64;
    sweep.pass(offset);
    if sweep.left.last() == Some(&offset) {
        recall.take(sweep.at, offset, value);
        sweep.left.pop();
    }
    let mean = recall.read.bytes / recall.read.records;
    match sweep.left.last() {
        Some(&next) if (next - offset) as u64 * mean > GAP => consumer.seek(&of.0, of.1, Offset::Offset(next), REQUEST),
        Some(_) => Ok(()),
        None => finish(consumer, sweeps),
    }
}

/// Lets go of the partitions of which nothing is left.
fn finish(consumer: &BaseConsumer<Trouble>, sweeps: &mut HashMap<Partition, Sweep>) -> KafkaResult<()> {
    let mut finished = TopicPartitionList::new();
    sweeps.retain(|(topic, partition), sweep| {
        let is_finished = sweep.left.is_empty();
        if is_finished {
            finished.add_partition(topic, *partition);
        }
        !is_finished
    });
    if finished.count() == 0 { Ok(()) } else { consumer.incremental_unassign(&finished) }
}

// === impl Sweep ===

impl Sweep {
    /// What is below is no longer in the log.
    fn pass(&mut self, offset: i64) {
        while self.left.last().is_some_and(|next| *next < offset) {
            self.left.pop();
        }
    }
}
