//! How far the whole input is re-keyed, in record time.
//!
//! Re-keyed records stand in the order they were read, and who reads ten minutes of one partition, then ten of the next,
//! writes them so. No clock made of their times could say when a trace is complete. So each record says how far the slowest
//! partition of the input was when it was written, and the clocks behind go no further.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
};

use crate::{
    config::Config,
    model::RecordTime,
    source::{self, Metadata, Partition},
    worker::{AWAY, Ends},
};

/// What is known of it. The clock of each partition is committed with the records it was made of, so what is read back of
/// it is true of all processes, and everything that is earlier stands in the log already.
#[derive(Default)]
pub struct Frontier {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    now: Option<RecordTime>,
    /// What was known when, back to what is settled.
    history: VecDeque<(Instant, RecordTime)>,
    /// When the brokers last said it.
    heard: Option<Instant>,
}

/// One request to a broker, and the pause between two.
const REQUEST: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);
/// A partition that is added holds time back when it is known.
const TOPICS: Duration = Duration::from_secs(30);
/// The fetch that statistics speak of was a second before them (C12), or a little more: who was at the head then had read what
/// was known before.
const SETTLED: Duration = Duration::from_secs(2);

// === impl Frontier ===

impl Frontier {
    /// Begins to ask, until `stop`. `config` is that of the stage.
    ///
    /// # Errors
    /// A property librdkafka does not know or refuses; no thread to be had.
    pub fn follow(config: &Config, ends: Option<Arc<Ends>>, stop: Arc<AtomicBool>) -> anyhow::Result<Arc<Self>> {
        let frontier = Arc::new(Self::default());
        // Pending offsets are nobody's yet; to wait for them would be to wait for one transaction or another at all times.
        let consumer: BaseConsumer = source::client(config)
            .set("group.id", &config.input.group)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_uncommitted")
            .create()?;
        let topics = config.input.topics.iter().map(|topic| topic.name.as_str().into()).collect();
        let mut following = Following { consumer, topics, partitions: Vec::new(), asked: None, ends };
        thread::Builder::new().name("frontier".into()).spawn({
            let frontier = frontier.clone();
            move || {
                while !stop.load(Ordering::Acquire) {
                    match following.slowest() {
                        Ok(slowest) => frontier.learn(slowest, Instant::now()),
                        Err(error) => {
                            tracing::warn!(%error, "how far the input is re-keyed is not to be had; going on")
                        }
                    }
                    thread::sleep(PAUSE);
                }
            }
        })?;
        Ok(frontier)
    }

    /// Everything that is earlier is committed, and stands before what is written from now on.
    pub fn now(&self) -> Option<RecordTime> {
        self.known().now
    }

    /// Everything that is earlier was in the log when statistics were taken, at the time of the fetches they speak of.
    pub fn settled(&self, statistics: Instant) -> Option<RecordTime> {
        self.known().settled(statistics)
    }

    /// Whether brokers answer.
    pub fn hears(&self) -> bool {
        self.known().heard.is_some_and(|heard| heard.elapsed() < AWAY)
    }

    fn learn(&self, slowest: Option<RecordTime>, at: Instant) {
        self.known().learn(slowest, at);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Known ===

impl Known {
    /// What was known stays known: `slowest` may go back where a partition is new.
    fn learn(&mut self, slowest: Option<RecordTime>, at: Instant) {
        self.heard = Some(at);
        if slowest > self.now {
            self.now = slowest;
            self.history.extend(slowest.map(|slowest| (at, slowest)));
        }
        // The first is what is settled; all others are younger, a few a second.
        while self.history.get(1).is_some_and(|&(known, _)| at.saturating_duration_since(known) >= SETTLED) {
            self.history.pop_front();
        }
    }

    fn settled(&self, at: Instant) -> Option<RecordTime> {
        let old = |&&(known, _): &&(Instant, RecordTime)| at.saturating_duration_since(known) >= SETTLED;
        self.history.iter().rev().find(old).map(|&(_, time)| time)
    }
}

/// Who asks.
struct Following {
    consumer: BaseConsumer,
    topics: Vec<Arc<str>>,
    partitions: Vec<Partition>,
    /// When it was last asked which partitions there are.
    asked: Option<Instant>,
    ends: Option<Arc<Ends>>,
}

// === impl Following ===

impl Following {
    /// The clock of the slowest partition that is not at its end; None while one has none.
    fn slowest(&mut self) -> KafkaResult<Option<RecordTime>> {
        self.refresh()?;
        let is_finished = |partition| self.ends.as_ref().is_some_and(|ends| ends.has_all(std::iter::once(partition)));
        let mut wanted = TopicPartitionList::with_capacity(self.partitions.len());
        for partition in self.partitions.iter().filter(|partition| !is_finished(partition)) {
            wanted.add_partition(&partition.0, partition.1);
        }
        if wanted.count() == 0 {
            return Ok(None);
        }
        let committed = self.consumer.committed_offsets(wanted, REQUEST)?;
        let mut slowest = Some(RecordTime::END);
        for element in committed.elements() {
            element.error()?;
            // What is not ours is for the stage to refuse.
            let clock = match element.offset() {
                Offset::Offset(offset) => Metadata::parse(element.metadata(), offset).ok().and_then(|of| of.clock),
                _ => None,
            };
            slowest = slowest.min(clock.map(RecordTime));
        }
        Ok(slowest)
    }

    fn refresh(&mut self) -> KafkaResult<()> {
        if self.asked.is_some_and(|asked| asked.elapsed() < TOPICS) {
            return Ok(());
        }
        let metadata = self.consumer.fetch_metadata(None, REQUEST)?;
        let counts: HashMap<&str, i32> =
            metadata.topics().iter().map(|topic| (topic.name(), topic.partitions().len() as i32)).collect();
        let of = |topic: &Arc<str>| {
            let count = counts.get(&**topic).copied().filter(|&count| count > 0);
            let count = count.ok_or(KafkaError::MetadataFetch(rdkafka::error::RDKafkaErrorCode::UnknownTopic))?;
            Ok((0..count).map(|partition| (topic.clone(), partition)).collect::<Vec<_>>())
        };
        self.partitions = self.topics.iter().map(of).collect::<KafkaResult<Vec<_>>>()?.concat();
        self.asked = Some(Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_known_stays_known_and_settles() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut known = Known::default();
        known.learn(None, at(0));
        assert_eq!((known.now, known.settled(at(10_000))), (None, None));
        known.learn(Some(RecordTime(5)), at(100));
        known.learn(Some(RecordTime(3)), at(200));
        known.learn(None, at(300));
        known.learn(Some(RecordTime(9)), at(1_000));
        assert_eq!(known.now, Some(RecordTime(9)));
        assert_eq!(known.settled(at(2_099)), None);
        assert_eq!(known.settled(at(2_100)), Some(RecordTime(5)));
        assert_eq!(known.settled(at(3_000)), Some(RecordTime(9)));
        (0..1_000).for_each(|ms| known.learn(Some(RecordTime(10 + ms as i64)), at(2_000 + 200 * ms)));
        assert!(known.history.len() <= 12, "{}", known.history.len());
    }
}
