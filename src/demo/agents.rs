//! The agents of the shop: a thread that sends the traffic's records when they are due.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow};
use rdkafka::{
    ClientConfig, ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};

use super::{args::Args, broker::Broker, ledger::Ledger, sabotage::Sabotage};
use crate::generate::{Record, Trace, Traffic, keyed};

/// The running thread. It sends what its traces still owe after the traffic has ended.
pub(super) struct Agents {
    stop: Arc<AtomicBool>,
    acks: Acks,
    started: Instant,
    thread: JoinHandle<anyhow::Result<Option<Sabotage>>>,
}

/// Spans the broker has acknowledged, and those it has not taken.
#[derive(Clone, Default)]
struct Acks(Arc<[AtomicU64; 2]>);

/// How long the broker may take for what is still unsent at the end.
const FLUSH: Duration = Duration::from_secs(30);

// === impl Agents ===

impl Agents {
    /// Starts sending: `args.time` of traffic, with the processor killed at `kill`.
    ///
    /// # Errors
    /// No producer, or no thread.
    pub fn start(args: &Args, seed: u64, broker: &Broker, ledger: Arc<Mutex<Ledger>>) -> anyhow::Result<Self> {
        let acks = Acks::default();
        let producer: BaseProducer<Acks> = ClientConfig::new()
            .set("bootstrap.servers", &broker.address)
            .set("enable.idempotence", "true")
            // Agents on their own machines do not wait for each other.
            .set("linger.ms", "5")
            .create_with_context(acks.clone())
            .context("no Kafka producer")?;
        let stop = Arc::new(AtomicBool::new(false));
        let started = Instant::now();
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let traffic = Traffic::new(seed, args.shape(u64::try_from(epoch.as_nanos())?));
        let mut sabotage = args.fault.map(Sabotage::new);
        let (topic, length, stopped) = (broker.topics.input.clone(), args.time.as_millis() as u64, stop.clone());
        let thread = std::thread::Builder::new().name("agents".to_owned()).spawn(move || {
            let traces = traffic
                .take_while(|trace| trace.start_ms < length && !stopped.load(Ordering::Relaxed))
                .map(|trace| prepare(trace, &mut sabotage, &mut ledger.lock().expect("no holder panics")));
            for record in keyed(traces) {
                let due = started + Duration::from_millis(record.at_ms);
                producer.poll(due.saturating_duration_since(Instant::now()));
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                send(&producer, &topic, &record)?;
            }
            producer.flush(FLUSH).context("the broker did not take the last spans")?;
            Ok(sabotage)
        })?;
        Ok(Self { stop, acks, started, thread })
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// No more traces.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Everything is sent, or the thread has failed.
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Spans acknowledged, and failed, so far.
    pub fn sent(&self) -> (u64, u64) {
        let [acked, failed] = &*self.acks.0;
        (acked.load(Ordering::Relaxed), failed.load(Ordering::Relaxed))
    }

    /// What came of the sabotage that was asked for.
    ///
    /// # Errors
    /// The broker did not take everything.
    pub fn finish(self) -> anyhow::Result<Option<Sabotage>> {
        self.thread.join().map_err(|_| anyhow!("the generator panicked"))?
    }
}

// === impl Acks ===

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    /// Spans of the record.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, spans: usize) {
        self.0[usize::from(result.is_err())].fetch_add(spans as u64, Ordering::Relaxed);
    }
}

/// Takes a trace down, then spoils it where that was asked for.
fn prepare(mut trace: Trace, sabotage: &mut Option<Sabotage>, ledger: &mut Ledger) -> Trace {
    ledger.expect(trace.id, &trace.truth);
    if let Some(sabotage) = sabotage {
        sabotage.spoil(&mut trace);
    }
    trace
}

fn send(producer: &BaseProducer<Acks>, topic: &str, record: &Record) -> anyhow::Result<()> {
    let mut message = BaseRecord::with_opaque_to(topic, record.spans.len()).payload(&record.value);
    if let Some(key) = &record.key {
        message = message.key(&key[..]);
    }
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(Duration::from_millis(50));
                message = back;
            }
            Err((error, _)) => return Err(error).context("the broker does not take spans"),
        }
    }
}
