//! Reads the kept topic and the dead letters into the ledger, as a consumer of its own.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use super::{
    broker::{Broker, OUTPUT_PARTITIONS, Topics},
    ledger::Ledger,
};

/// The running thread.
pub(super) struct Reader {
    finish: Arc<AtomicBool>,
    dead_letters: Arc<AtomicU64>,
    thread: JoinHandle<anyhow::Result<()>>,
}

/// For the ends of the topics to be reached once nobody writes any more.
const DRAIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// The last offset may belong to no record (a transaction's marker), so silence ends a partition too.
const QUIET: Duration = Duration::from_secs(3);
/// For one question about a partition's end.
const ASK: Duration = Duration::from_secs(5);

// === impl Reader ===

impl Reader {
    /// # Errors
    /// No consumer, or no thread.
    pub fn start(broker: &Broker, ledger: Arc<Mutex<Ledger>>) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &broker.address)
            // Asked for by librdkafka, and never joined.
            .set("group.id", format!("{}-check", broker.topics.group))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.queue.backoff.ms", "10")
            .create()
            .context("no Kafka consumer")?;
        let mut partitions = TopicPartitionList::new();
        for (topic, partition) in read_partitions(&broker.topics) {
            partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&partitions)?;
        let (finish, dead_letters) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (finishes, letters, topics) = (finish.clone(), dead_letters.clone(), broker.topics.clone());
        let thread = std::thread::Builder::new().name("check".to_owned()).spawn(move || {
            let mut positions: HashMap<(bool, i32), i64> = HashMap::new();
            while !finishes.load(Ordering::Relaxed) {
                take(&consumer, &topics, &ledger, &letters, &mut positions);
            }
            // Nobody writes any more: what the broker says now are the ends.
            let mut ends = HashMap::new();
            for (topic, partition) in read_partitions(&topics) {
                let (_, end) =
                    consumer.fetch_watermarks(topic, partition, ASK).with_context(|| format!("the end of {topic}"))?;
                ends.insert((topic == topics.output, partition), end);
            }
            let (started, mut quiet_since) = (Instant::now(), Instant::now());
            let at_end =
                |positions: &HashMap<_, i64>| ends.iter().all(|(at, end)| positions.get(at).unwrap_or(&0) >= end);
            while !at_end(&positions) && quiet_since.elapsed() < QUIET {
                ensure!(started.elapsed() < DRAIN, "the kept topic was not read to its end within {DRAIN:?}");
                if take(&consumer, &topics, &ledger, &letters, &mut positions) {
                    quiet_since = Instant::now();
                }
            }
            Ok(())
        })?;
        Ok(Self { finish, dead_letters, thread })
    }

    /// Reads to the ends as they are now. Returns the dead letters.
    ///
    /// # Errors
    /// The ends are not known, or not reached in time.
    pub fn finish(self) -> anyhow::Result<u64> {
        self.finish.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the checker panicked"))??;
        Ok(self.dead_letters.load(Ordering::Relaxed))
    }
}

fn read_partitions(topics: &Topics) -> impl Iterator<Item = (&str, i32)> {
    [&topics.output, &topics.dead_letters]
        .into_iter()
        .flat_map(|topic| (0..OUTPUT_PARTITIONS).map(move |p| (&topic[..], p)))
}

/// Whether there was a record.
fn take(
    consumer: &BaseConsumer,
    topics: &Topics,
    ledger: &Mutex<Ledger>,
    dead_letters: &AtomicU64,
    positions: &mut HashMap<(bool, i32), i64>,
) -> bool {
    let Some(Ok(message)) = consumer.poll(POLL) else { return false };
    let kept = message.topic() == topics.output;
    positions.insert((kept, message.partition()), message.offset() + 1);
    if kept {
        let mut ledger = ledger.lock().expect("no holder panics");
        ledger.observe(message.key(), message.payload().unwrap_or_default());
    } else {
        dead_letters.fetch_add(1, Ordering::Relaxed);
    }
    true
}

#[cfg(test)]
mod tests {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    use super::*;
    use crate::{
        demo::{Args, agents::Agents, args::PARTITIONS, ledger::Findings},
        model::TraceId,
    };

    /// What a perfect processor would deliver, without one: the due records of the input, and one more.
    #[test]
    fn what_was_sent_is_what_is_checked() {
        let broker = Broker::start(None).unwrap();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let reader = Reader::start(&broker, ledger.clone()).unwrap();
        let args = Args { time: Duration::from_secs(1), kafka: None, fault: None, rate: 4_000, seed: None };
        let agents = Agents::start(&args, 5, &broker, ledger.clone()).unwrap();
        while !agents.is_done() {
            std::thread::sleep(POLL);
        }
        let (acked, refused) = agents.sent();
        agents.finish().unwrap();
        assert_eq!((acked, refused), (ledger.lock().unwrap().sent.spans, 0));

        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &broker.address).set("group.id", "relay");
        let (consumer, producer): (BaseConsumer, BaseProducer) = (client.create().unwrap(), client.create().unwrap());
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset(&broker.topics.input, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&partitions).unwrap();
        let mut read = 0;
        while read < acked {
            let Some(Ok(record)) = consumer.poll(ASK) else { panic!("read {read} of {acked} spans") };
            let (key, value) = (record.key().unwrap(), record.payload().unwrap());
            read += crate::generate::carried(value).unwrap().len() as u64;
            if ledger.lock().unwrap().is_due(TraceId::from_hex(key).unwrap()) {
                producer.send(BaseRecord::to(&broker.topics.output).key(key).payload(value)).unwrap();
            }
        }
        producer.send(BaseRecord::<[u8], [u8]>::to(&broker.topics.dead_letters).payload(b"?")).unwrap();
        producer.flush(ASK).unwrap();

        assert_eq!(reader.finish().unwrap(), 1);
        let ledger = ledger.lock().unwrap();
        assert!(ledger.sent.due_traces > 0);
        assert_eq!(ledger.seen.spans, ledger.sent.due_spans);
        assert_eq!(ledger.seen.whole, ledger.sent.due);
        let findings = ledger.findings();
        let late = findings.late_due;
        assert_eq!(findings, Findings { late_due: late, late_seen: late, ..Findings::default() });
    }
}
