//! Reads remembered decisions back from the log, and what samplers have learned.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};

use super::{Event, Head, Partition, context::Context, reader};
use crate::{
    config::Config,
    decisions::{self, Decision},
    sample::{Learned, Name},
};

/// What newly assigned partitions remember, on its way out of the log. A thread reads it, since requests to brokers take as
/// long as they like, and the worker must go on polling. Dropped, it stops reading.
pub struct Restore {
    outcome: Receiver<anyhow::Result<Memory>>,
    stop: Arc<AtomicBool>,
}

/// What to read back for a partition of the input: what its committed metadata says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub partition: Partition,
    /// The offset in the decision log where remembering begins.
    pub floor: i64,
    /// The offset there of the last record that was committed with the metadata.
    pub last: Option<i64>,
    /// Whether there are samplers that go by what was learned of it.
    pub learned: bool,
}

/// What was read back.
#[derive(Debug, Default)]
pub struct Memory {
    /// All decisions wanted, in the order of their partition's log.
    pub decisions: Vec<Restored>,
    /// The last state of each name.
    pub states: Vec<Learned<Partition>>,
}

/// A decision that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Of the input.
    pub partition: Partition,
    pub tick: u64,
    /// Of the record that holds it, in the decision log.
    pub offset: i64,
    /// It stands after `last`: it was made, and its output may not have been sent. It is the verdict of its trace, and what
    /// it was made on is to be handled again.
    pub bound: bool,
    pub decision: Decision,
}

/// One request to a broker, and the pause between two.
const REQUEST: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);
/// Between two looks at everything else.
const STEP: Duration = Duration::from_millis(50);
/// How often librdkafka says how far it is: what ends in a commit marker ends in nothing that could be polled.
const STATISTICS: Duration = Duration::from_millis(100);
/// Without anything new for so long while brokers answer, nothing will come. Open transactions of workers that died are
/// aborted before that.
const WATCHDOG: Duration = Duration::from_secs(60);
/// Partitions that a message names; there may be thousands.
const NAMED: usize = 5;

// === impl Restore ===

impl Restore {
    /// Begins to read. `names` are those of the policies now. With `to_end`, decisions after `last` are read as well, as far
    /// as the log goes by now.
    ///
    /// # Errors
    /// A property librdkafka does not know or refuses.
    pub fn new(
        config: &Config,
        wanted: Vec<Wanted>,
        names: Arc<[String]>,
        to_end: bool,
        max_bytes: usize,
    ) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let reading = Reading::new(config, wanted, names, to_end, max_bytes, stop.clone())?;
        let (done, outcome) = mpsc::sync_channel(1);
        thread::Builder::new().name("restore".into()).spawn(move || {
            // Nobody listens where the partitions are already someone else's.
            _ = done.send(reading.run());
        })?;
        Ok(Self { outcome, stop })
    }

    /// All that is wanted, once all is there; it is asked no more after that. Waits for `budget` at most.
    ///
    /// # Errors
    /// They are not to be had, and why, or take more than `max_bytes`.
    pub fn poll(&mut self, budget: Duration) -> anyhow::Result<Option<Memory>> {
        match self.outcome.recv_timeout(budget) {
            Ok(outcome) => outcome.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the thread that reads decisions back is gone"),
        }
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

struct Reading {
    /// Its high watermarks are those of the log. The other's end where a transaction is open.
    asking: BaseConsumer<Context>,
    consumer: BaseConsumer<Context>,
    logs: Vec<Log>,
    names: Arc<[String]>,
    to_end: bool,
    max_bytes: usize,
    restored: Vec<Restored>,
    states: BTreeMap<(Partition, Name), Vec<u8>>,
    /// Bytes of all that was read back.
    bytes: usize,
    patience: Patience,
    stop: Arc<AtomicBool>,
}

/// A partition of a topic of ours.
struct Log {
    topic: String,
    holds: Holds,
    wanted: Wanted,
    /// The next offset to come.
    position: i64,
    /// Where reading ends.
    end: i64,
    /// The record at `last` was there, or none is named.
    found: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Decisions,
    /// A compacted log, which is read as a whole: its high watermark is not below what was committed, for a new leader gives none
    /// before it knows (KIP-207).
    States,
}

/// What a record held.
enum Taken {
    Decisions(Vec<Restored>),
    State(Partition, Name, Vec<u8>),
}

/// Notices that nothing goes on.
struct Patience {
    since: Instant,
    trouble: Option<KafkaError>,
}

// === impl Reading ===

impl Reading {
    fn new(
        config: &Config,
        wanted: Vec<Wanted>,
        names: Arc<[String]>,
        to_end: bool,
        max_bytes: usize,
        stop: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        // A group's name is needed to consume, and the user may know no other; the group is not joined.
        let mut client = reader(config, &config.input.group, STATISTICS);
        let mut create = |isolation: &str| -> anyhow::Result<BaseConsumer<Context>> {
            Ok(client.set("isolation.level", isolation).create_with_context(Context::default())?)
        };
        let (asking, consumer) = (create("read_uncommitted")?, create("read_committed")?);
        let mut logs = Vec::new();
        for wanted in wanted {
            let topic = &wanted.partition.0;
            let (decisions, samplers) = (config.input.decisions(topic), config.input.samplers(topic));
            if wanted.learned {
                logs.push(Log::new(samplers, Holds::States, wanted.clone()));
            }
            let decisions = Log::new(decisions, Holds::Decisions, wanted);
            // Without a record that is named, there is nothing to wait for but the end.
            if to_end || !decisions.found {
                logs.push(decisions);
            }
        }
        Ok(Self {
            asking,
            consumer,
            logs,
            names,
            to_end,
            max_bytes,
            restored: Vec::new(),
            states: BTreeMap::new(),
            bytes: 0,
            patience: Patience::new(),
            stop,
        })
    }

    fn run(mut self) -> anyhow::Result<Memory> {
        for log in 0..self.logs.len() {
            self.ask(log)?;
        }
        self.logs.retain(|log| !log.is_read());
        self.read()?;
        let states = self.states.into_iter();
        let states = states.map(|((partition, name), value)| Learned { partition, name, value }).collect();
        Ok(Memory { decisions: self.restored, states })
    }

    /// Learns where a log begins and ends.
    fn ask(&mut self, log: usize) -> anyhow::Result<()> {
        while !self.stop.load(Ordering::Acquire) {
            let Log { topic, wanted, .. } = &self.logs[log];
            match self.asking.fetch_watermarks(topic, wanted.partition.1, REQUEST) {
                Ok((low, high)) => {
                    self.patience.restart();
                    return self.logs[log].begin(low, high, self.to_end);
                }
                Err(error) => {
                    // A partition that was between two leaders is remembered without one, unless somebody asks.
                    _ = self.asking.fetch_metadata(Some(topic), REQUEST);
                    self.failed(error)?;
                }
            }
            _ = self.asking.poll(PAUSE);
            self.heed_events(|reading| &reading.asking)?;
        }
        Ok(())
    }

    fn read(&mut self) -> anyhow::Result<()> {
        let mut from = TopicPartitionList::with_capacity(self.logs.len());
        for log in &self.logs {
            from.add_partition_offset(&log.topic, log.wanted.partition.1, Offset::Offset(log.position))?;
        }
        self.consumer.assign(&from)?;
        self.patience.restart();
        while !self.logs.is_empty() && !self.stop.load(Ordering::Acquire) {
            // The consumer lends the record only.
            let taken = match self.consumer.poll(STEP) {
                Some(Ok(record)) => take(&mut self.logs, &record, &self.names)?.map(Ok),
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
            match taken {
                Some(Ok(taken)) => self.remember(taken)?,
                Some(Err(error)) => self.failed(error)?,
                None => {}
            }
            self.heed_events(|reading| &reading.consumer)?;
            self.logs.retain(|log| !log.is_read());
        }
        Ok(())
    }

    fn remember(&mut self, taken: Taken) -> anyhow::Result<()> {
        self.patience.restart();
        match taken {
            Taken::Decisions(mut decisions) => {
                self.bytes += decisions.len() * size_of::<Restored>();
                self.restored.append(&mut decisions);
            }
            Taken::State(partition, name, value) => {
                self.bytes += size_of::<Learned<Partition>>() + value.len();
                if let Some(before) = self.states.insert((partition, name), value) {
                    self.bytes -= size_of::<Learned<Partition>>() + before.len();
                }
            }
        }
        if self.bytes > self.max_bytes {
            bail!(
                "the decisions to be remembered, and what samplers have learned, take more than {} MiB; raise memory.buffer, or \
                 shorten late_window",
                self.max_bytes >> 20
            );
        }
        Ok(())
    }

    /// What librdkafka says beside records.
    fn heed_events(&mut self, of: fn(&Self) -> &BaseConsumer<Context>) -> anyhow::Result<()> {
        while let Some(event) = of(self).context().pop() {
            let Event::Heads { heads, connected, .. } = event else { continue };
            if !connected {
                self.patience.restart();
            }
            for head in heads {
                if let Some(log) = self.logs.iter_mut().find(|log| log.is(&head.partition.0, head.partition.1)) {
                    log.look(&head)?;
                }
            }
        }
        if let Some(trouble) = self.patience.exhausted() {
            bail!("{trouble}: {} are missing. An open transaction may hold them back", missing(&self.logs));
        }
        Ok(())
    }

    fn failed(&mut self, error: KafkaError) -> anyhow::Result<()> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                bail!("some of {} are gone: {GONE}", missing(&self.logs))
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                Err(error).with_context(|| format!("grant Read on the topic of {}", missing(&self.logs)))
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => Err(error.into()),
            _ => {
                tracing::warn!(%error, "reading decisions back; going on");
                self.patience.trouble = Some(error);
                Ok(())
            }
        }
    }
}

/// What it means that decisions are not there, and what can be done.
const GONE: &str = "the group remembers them, so without them traces would be decided again, and sent twice or in part. \
                    Give the topic a longer retention.ms. To go on without them on purpose, reset the group's offsets \
                    (kafka-consumer-groups --reset-offsets --to-current)";

/// What is in a record that is wanted.
fn take(logs: &mut [Log], record: &BorrowedMessage<'_>, names: &[String]) -> anyhow::Result<Option<Taken>> {
    let Some(log) = logs.iter_mut().find(|log| log.is(record.topic(), record.partition())) else {
        return Ok(None);
    };
    let (offset, value) = (record.offset(), record.payload().unwrap_or_default());
    if !log.take(offset)? {
        return Ok(None);
    }
    let partition = &log.wanted.partition;
    if log.holds == Holds::States {
        // What somebody else wrote there is no state of ours.
        let name = record.key().and_then(Name::from_bytes);
        return Ok(name.map(|name| Taken::State(partition.clone(), name, value.to_vec())));
    }
    let logged = decisions::decode(value, names).with_context(|| format!("record {offset} of {}", log.name()))?;
    let bound = log.wanted.last.is_none_or(|last| offset > last);
    let restored = |decision| Restored { partition: partition.clone(), tick: logged.tick, offset, bound, decision };
    Ok(Some(Taken::Decisions(logged.decisions.into_iter().map(restored).collect())))
}

fn missing(logs: &[Log]) -> String {
    let named = logs.iter().take(NAMED).map(|log| format!("{} from {} to {}", log.name(), log.position, log.end - 1));
    let more = logs.len().checked_sub(NAMED).filter(|&more| more > 0).map(|more| format!("{more} more"));
    format!("the records of {}", named.chain(more).collect::<Vec<_>>().join(", "))
}

// === impl Log ===

impl Log {
    /// Until it is known where the log ends, it is to be read as far as its last record that is named.
    fn new(topic: String, holds: Holds, wanted: Wanted) -> Self {
        let Wanted { floor, last, .. } = wanted;
        let end = last.map_or(floor, |last| last + 1);
        Self { topic, holds, position: floor, end, found: end <= floor, wanted }
    }

    /// Takes note of where the log begins and ends.
    fn begin(&mut self, low: i64, high: i64, to_end: bool) -> anyhow::Result<()> {
        if self.holds == Holds::States {
            (self.position, self.end, self.found) = (low, high, true);
            return Ok(());
        }
        let name = self.name();
        let Wanted { floor, last, .. } = self.wanted;
        if let Some(last) = last.filter(|&last| high <= last) {
            bail!("{name} ends at {high}, but decisions up to {last} were committed; was the topic made anew? {GONE}");
        }
        if !self.found && low > floor {
            bail!("{name} begins at {low}, and decisions from {floor} on are gone: {GONE}");
        }
        self.position = floor.max(low);
        if to_end {
            self.end = high;
        }
        Ok(())
    }

    /// Whether a record is to be read.
    fn take(&mut self, offset: i64) -> anyhow::Result<bool> {
        let wanted = (self.position..self.end).contains(&offset);
        self.found |= self.wanted.last == Some(offset);
        self.pass(offset + 1)?;
        Ok(wanted)
    }

    fn look(&mut self, head: &Head) -> anyhow::Result<()> {
        if head.queued == 0 { self.pass(head.next) } else { Ok(()) }
    }

    /// Everything below an offset has come.
    fn pass(&mut self, next: i64) -> anyhow::Result<()> {
        self.position = self.position.max(next);
        if self.is_read() && !self.found {
            let last = self.wanted.last.unwrap_or_default();
            bail!("{} has no record at {last}, though it was committed: {GONE}", self.name());
        }
        Ok(())
    }

    fn is_read(&self) -> bool {
        self.position >= self.end
    }

    fn is(&self, topic: &str, partition: i32) -> bool {
        self.wanted.partition.1 == partition && self.topic == topic
    }

    fn name(&self) -> String {
        format!("{}/{}", self.topic, self.wanted.partition.1)
    }
}

// === impl Patience ===

impl Patience {
    fn new() -> Self {
        Self { since: Instant::now(), trouble: None }
    }

    fn restart(&mut self) {
        *self = Self::new();
    }

    /// In words, if it is.
    fn exhausted(&self) -> Option<String> {
        let waited = self.since.elapsed();
        let trouble = self.trouble.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        (waited > WATCHDOG).then(|| format!("brokers answer, but nothing came back for {waited:.0?}{trouble}"))
    }
}

#[cfg(test)]
mod tests;
