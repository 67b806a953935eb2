//! What was decided before, read back from the decision log when partitions are taken on.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};

use super::{Partition, client};
use crate::{
    config::{Config, Delivery},
    decisions::{self, Decision},
};

/// Reads the logs of some partitions from their floors to their last records.
pub struct Restore {
    config: Arc<Config>,
    policies: Vec<String>,
    /// By topic and partition of the log.
    pending: HashMap<Partition, Log>,
    /// None before the first poll.
    consumer: Option<BaseConsumer>,
    restored: Vec<Restored>,
    max_bytes: usize,
    progressed: Instant,
}

/// A decision that is remembered again.
pub struct Restored {
    /// Of the input.
    pub partition: Partition,
    /// The tick that wrote it, and the record it stands in.
    pub tick: u64,
    pub record: i64,
    pub decision: Decision,
    /// The record is behind the one that was committed last: whether its output was sent is not known.
    pub bound: bool,
}

/// The log of one partition.
struct Log {
    input: Partition,
    floor: i64,
    last: Option<i64>,
    /// Where reading ends; known once the log has been looked at.
    end: i64,
    /// What was committed has been read.
    is_shown: bool,
}

/// One request to a broker, before it is tried again in the worker's next turn.
const REQUEST: Duration = Duration::from_secs(1);
/// Brokers that answer hand out a log faster than that.
const PATIENCE: Duration = Duration::from_secs(60);

// === impl Restore ===

impl Restore {
    /// Of each partition of the input: its floor, and the last record that was committed. What is restored may take
    /// `max_bytes`.
    pub fn new(config: &Arc<Config>, logs: impl Iterator<Item = (Partition, i64, Option<i64>)>, max_bytes: usize) -> Self {
        let log = |(input, floor, last): (Partition, i64, Option<i64>)| {
            let (topic, partition) = &input;
            ((config.input.decisions(topic).into(), *partition), Log { input, floor, last, end: 0, is_shown: last.is_none() })
        };
        Self {
            policies: config.policies.policies().iter().map(|policy| policy.name.clone()).collect(),
            pending: logs.map(log).collect(),
            config: config.clone(),
            consumer: None,
            restored: Vec::new(),
            max_bytes,
            progressed: Instant::now(),
        }
    }

    /// Reads on for as long as `budget`. All that is remembered, once it is read.
    ///
    /// # Errors
    /// The log lacks what must be remembered, or holds what is not ours; going on would judge traces anew.
    pub fn poll(&mut self, budget: Duration) -> anyhow::Result<Option<Vec<Restored>>> {
        let until = Instant::now() + budget;
        if self.consumer.is_none() {
            match self.open() {
                Ok(()) => {}
                Err(error) if error.downcast_ref::<KafkaError>().is_some() => {
                    tracing::warn!("the decision log is not to be had yet ({error:#}); trying again");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        while !self.pending.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if !self.read(left)? {
                break;
            }
        }
        if self.pending.is_empty() {
            return Ok(Some(std::mem::take(&mut self.restored)));
        }
        ensure!(
            self.progressed.elapsed() < PATIENCE,
            "the decision log does not show its committed records, {}; going on without them would judge traces anew",
            self.pending.iter().map(|((topic, p), log)| format!("{topic}/{p} before {}", log.end)).collect::<Vec<_>>().join(", ")
        );
        Ok(None)
    }

    /// Looks how much there is, and begins to read.
    fn open(&mut self) -> anyhow::Result<()> {
        let consumer: BaseConsumer = client(&self.config)
            .set("group.id", format!("{}-restore", self.config.input.group))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            // It names no topic: of several, all records have to come.
            .set("enable.partition.eof", (self.config.input.topics.len() == 1).to_string())
            .set("fetch.wait.max.ms", "100")
            .create()?;
        for ((topic, partition), log) in &mut self.pending {
            log.end = log.last.map_or(log.floor, |last| last + 1);
            // A plain producer's decisions may be ahead of the offsets.
            if log.last.is_some() || self.config.delivery == Delivery::AtLeastOnce {
                let (low, high) = consumer.fetch_watermarks(topic, *partition, REQUEST)?;
                ensure!(
                    low <= log.floor || log.floor >= log.end,
                    "{topic}/{partition} begins at {low}, and verdicts are remembered from {} on: its retention is too short. \
                     Raise retention.ms of {topic}, and go on with a new `input.group`, which reads the input from its start",
                    log.floor
                );
                if self.config.delivery == Delivery::AtLeastOnce {
                    log.end = log.end.max(high);
                }
                log.floor = log.floor.max(low);
            }
        }
        self.pending.retain(|_, log| log.floor < log.end);
        let mut assignment = TopicPartitionList::new();
        for ((topic, partition), log) in &self.pending {
            assignment.add_partition_offset(topic, *partition, Offset::Offset(log.floor))?;
        }
        consumer.assign(&assignment)?;
        self.consumer = Some(consumer);
        self.progressed = Instant::now();
        Ok(())
    }

    /// Reads one record; false where none came in time.
    fn read(&mut self, wait: Duration) -> anyhow::Result<bool> {
        let Self { consumer: Some(consumer), pending, restored, policies, max_bytes, .. } = self else { return Ok(false) };
        let record = match consumer.poll(wait) {
            None => return Ok(false),
            Some(Ok(record)) => record,
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                // What lies before the end may be markers of transactions, which never come. What was committed has to.
                pending.retain(|(_, of), log| *of != partition || !log.is_shown);
                return Ok(true);
            }
            Some(Err(error @ KafkaError::MessageConsumption(rdkafka::types::RDKafkaErrorCode::AutoOffsetReset))) => {
                bail!("the decision log no longer holds what is remembered ({error})");
            }
            // Of some broker; librdkafka goes on by itself.
            Some(Err(_)) => return Ok(!wait.is_zero()),
        };
        self.progressed = Instant::now();
        let at = (Arc::from(record.topic()), record.partition());
        let Some(log) = pending.get_mut(&at) else { return Ok(true) };
        let place = || format!("{}/{} at {}", record.topic(), record.partition(), record.offset());
        if record.offset() < log.end {
            let logged = decisions::decode(record.payload().unwrap_or_default(), policies).with_context(place)?;
            let bound = log.last.is_none_or(|last| record.offset() > last);
            restored.extend(logged.decisions.into_iter().map(|decision| Restored {
                partition: log.input.clone(),
                tick: logged.tick,
                record: record.offset(),
                decision,
                bound,
            }));
            ensure!(
                restored.len() * size_of::<Restored>() <= *max_bytes,
                "what is remembered takes more than {max_bytes} bytes; raise memory.buffer"
            );
        }
        log.is_shown |= log.last.is_some_and(|last| record.offset() >= last);
        if record.offset() + 1 >= log.end {
            pending.remove(&at);
        }
        Ok(true)
    }
}
