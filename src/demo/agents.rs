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

/// What happens to a trace before it is sent.
struct Plan {
    /// Of the kill, ms after the start.
    kill_ms: u64,
    sabotage: Option<Sabotage>,
}

/// Verdicts outlive a crash only in a later version; so a late span must not meet another processor than its trace did.
/// Those of earlier traces are held back from this long before the kill, for what the processor has not yet read or delivered.
const KILL_BEFORE_MS: u64 = 5_000;
/// A trace that starts this long after the planned kill is surely not decided before the kill.
const KILL_AFTER_MS: u64 = 1_000;
/// How long the broker may take for what is still unsent at the end.
const FLUSH: Duration = Duration::from_secs(30);

// === impl Agents ===

impl Agents {
    /// Starts sending: `args.time` of traffic, with the processor killed at `kill`.
    ///
    /// # Errors
    /// No producer, or no thread.
    pub fn start(
        args: &Args,
        seed: u64,
        kill: Duration,
        broker: &Broker,
        ledger: Arc<Mutex<Ledger>>,
    ) -> anyhow::Result<Self> {
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
        let mut plan = Plan { kill_ms: kill.as_millis() as u64, sabotage: args.fault.map(Sabotage::new) };
        let (topic, length, stopped) = (broker.topics.input.clone(), args.time.as_millis() as u64, stop.clone());
        let thread = std::thread::Builder::new().name("agents".to_owned()).spawn(move || {
            let traces = traffic
                .take_while(|trace| trace.start_ms < length && !stopped.load(Ordering::Relaxed))
                .map(|trace| plan.prepare(trace, &mut ledger.lock().expect("no holder panics")));
            for record in keyed(traces) {
                let due = started + Duration::from_millis(record.at_ms);
                producer.poll(due.saturating_duration_since(Instant::now()));
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                send(&producer, &topic, &record)?;
            }
            producer.flush(FLUSH).context("the broker did not take the last spans")?;
            Ok(plan.sabotage)
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

// === impl Plan ===

impl Plan {
    /// Holds back what must not be sent, and takes the rest down.
    fn prepare(&mut self, mut trace: Trace, ledger: &mut Ledger) -> Trace {
        let unsent = self.hold_back(&mut trace);
        ledger.expect(trace.id, &trace.truth, unsent);
        if let Some(sabotage) = &mut self.sabotage {
            sabotage.spoil(&mut trace);
        }
        trace
    }

    /// Late spans that the kill would come between.
    fn hold_back(&self, trace: &mut Trace) -> u64 {
        if trace.start_ms > self.kill_ms + KILL_AFTER_MS {
            return 0;
        }
        let from = self.kill_ms.saturating_sub(KILL_BEFORE_MS).saturating_sub(trace.start_ms);
        let held = |at: usize| trace.truth.spans[at].late && trace.spans[at].delay_ms >= from;
        let keep: Vec<bool> = (0..trace.spans.len()).map(|at| !held(at)).collect();
        let mut kept = keep.iter();
        trace.spans.retain(|_| *kept.next().unwrap_or(&true));
        let mut kept = keep.iter();
        trace.truth.spans.retain(|_| *kept.next().unwrap_or(&true));
        keep.iter().filter(|keep| !**keep).count() as u64
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Shape;

    fn traffic() -> impl Iterator<Item = Trace> {
        Traffic::new(1, Shape { late_share: 0.5, error_share: 0.2, ..Shape::default() }).take(20_000)
    }

    #[test]
    fn no_late_span_meets_the_kill() {
        let mut ledger = Ledger::default();
        let mut plan = Plan { kill_ms: 15_000, sabotage: None };
        let mut followed = [0, 0];
        for trace in traffic() {
            let trace = plan.prepare(trace, &mut ledger);
            assert_eq!(trace.spans.len(), trace.truth.spans.len());
            for (span, truth) in trace.spans.iter().zip(&trace.truth.spans) {
                assert_eq!(span.id, truth.id);
                let at = trace.start_ms + span.delay_ms;
                if truth.late && trace.start_ms <= 16_000 {
                    assert!(at < 10_000, "late at {at} ms");
                }
                followed[usize::from(trace.start_ms > 16_000)] += u64::from(truth.late);
            }
        }
        assert!(ledger.sent.withheld > 100 && followed[0] > 100 && followed[1] > 100);
    }
}
