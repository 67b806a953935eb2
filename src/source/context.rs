//! What librdkafka says beside records, collected while it is polled.
//!
//! Callbacks only take notes. The worker acts on them after the poll, where it owns the engine; a rebalance is complete
//! when the worker says so.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};
use serde::Deserialize;

use super::{Partition, Refusal, refusal::Trouble};

/// Something a worker has to act on.
#[derive(Debug)]
pub enum Event {
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
    /// What librdkafka saw when it took stock; `connected` if some broker answers.
    Heads {
        heads: Vec<Head>,
        connected: bool,
        /// When: milliseconds since the Unix epoch, of a clock that never goes back.
        at: i64,
    },
}

/// How a partition stood towards the head of its log when librdkafka last took stock.
#[derive(Debug)]
pub struct Head {
    pub partition: Partition,
    /// The high watermark of the last fetch response.
    pub high: i64,
    /// The offset librdkafka would fetch next.
    pub next: i64,
    /// Records fetched and not yet polled, of all partitions.
    pub queued: i64,
    /// The one it is fetched from.
    pub broker: i32,
    /// How often that broker was asked for records.
    pub fetches: i64,
    /// A fetch is going on and its broker answered within the last second.
    pub fresh: bool,
    /// When stock was taken.
    pub at: Instant,
}

#[derive(Default)]
pub struct Context {
    /// Bounded by what one poll brings: a rebalance, a statistic.
    events: Mutex<VecDeque<Event>>,
    trouble: Trouble,
    closing: AtomicBool,
    /// A rebalance waits for an answer.
    asked: AtomicBool,
    /// What librdkafka's clock said, in milliseconds, and the wall clock, when it first took stock.
    clocks: OnceLock<(i64, i64)>,
}

/// Takes partitions on, by the protocol the group speaks.
pub fn assign(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    consumer.context().asked.store(false, Ordering::Relaxed);
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        _ => consumer.assign(partitions),
    }
}

/// Gives partitions back, by the protocol the group speaks.
pub fn unassign(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    consumer.context().asked.store(false, Ordering::Relaxed);
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        _ => consumer.unassign(),
    }
}

/// Answers a rebalance for a consumer that leaves: it takes nothing on, and gives everything back.
pub fn leave(consumer: &BaseConsumer<Context>, assigned: bool, partitions: &TopicPartitionList) {
    let answered = if assigned { assign(consumer, &TopicPartitionList::new()) } else { unassign(consumer, partitions) };
    if let Err(error) = answered {
        tracing::warn!(%error, "giving partitions back while closing");
    }
}

// === impl Context ===

impl Context {
    pub fn pop(&self) -> Option<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    pub fn refusal(&self) -> Option<Refusal> {
        self.trouble.refusal()
    }

    /// Whether a rebalance waits for an answer.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn time(&self, of_librdkafka: i64) -> i64 {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let (then, wall) = *self.clocks.get_or_init(|| (of_librdkafka, now()));
        wall + of_librdkafka - then
    }

    pub fn push(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        self.asked.store(true, Ordering::Relaxed);
        if self.closing.load(Ordering::Acquire) {
            return leave(consumer, assigned, partitions);
        }
        let named = partitions.elements().iter().map(|e| (Arc::from(e.topic()), e.partition())).collect();
        self.push(if assigned { Event::Assigned(named) } else { Event::Revoked(named) });
    }
}

impl ClientContext for Context {
    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice::<Statistics>(statistics) {
            Ok(statistics) => {
                let connected = statistics.brokers.values().any(|broker| broker.nodeid >= 0 && broker.state == "UP");
                let at = self.time(statistics.ts / 1000);
                self.push(Event::Heads { heads: statistics.heads(), connected, at });
            }
            Err(error) => {
                tracing::warn!(%error, "librdkafka's statistics cannot be read; idle partitions hold time back")
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
        self.trouble.note(&error, reason);
    }
}

/// The part of librdkafka's statistics that tells where the heads of the logs are (STATISTICS.md).
#[derive(Deserialize)]
struct Statistics {
    /// Microseconds of a clock that never goes back.
    ts: i64,
    brokers: HashMap<String, Broker>,
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i32,
    state: String,
    /// Microseconds since anything was received.
    rxidle: i64,
    #[serde(default)]
    req: Requests,
}

/// How many were sent.
#[derive(Default, Deserialize)]
struct Requests {
    #[serde(rename = "Fetch", default)]
    fetch: i64,
}

#[derive(Deserialize)]
struct Topic {
    topic: String,
    partitions: HashMap<String, TopicPartition>,
}

#[derive(Deserialize)]
struct TopicPartition {
    partition: i32,
    broker: i32,
    fetch_state: String,
    fetchq_cnt: i64,
    next_offset: i64,
    hi_offset: i64,
}

/// C12: a fetch response of the last second.
const FRESH_US: i64 = 1_000_000;

// === impl Statistics ===

impl Statistics {
    fn heads(self) -> Vec<Head> {
        let broker = |id: i32| self.brokers.values().find(|b| b.nodeid == id);
        let answering = |b: &Broker| b.state == "UP" && (0..FRESH_US).contains(&b.rxidle);
        let at = Instant::now();
        let of = |topic: Arc<str>, p: TopicPartition| Head {
            partition: (topic, p.partition),
            high: p.hi_offset,
            next: p.next_offset,
            queued: p.fetchq_cnt,
            broker: p.broker,
            fetches: broker(p.broker).map_or(0, |broker| broker.req.fetch),
            fresh: p.fetch_state == "active" && broker(p.broker).is_some_and(answering),
            at,
        };
        self.topics
            .into_values()
            .flat_map(|Topic { topic, partitions }| {
                let topic = Arc::<str>::from(topic);
                partitions.into_values().map(move |p| (topic.clone(), p))
            })
            .filter(|(_, p)| p.partition >= 0)
            .map(|(topic, p)| of(topic, p))
            .collect()
    }
}
