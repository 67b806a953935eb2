//! Ticks out to Kafka: kept traces to the output topic, bad input to the dead letters, each record until acknowledged.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientContext,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use crate::{
    config::Config,
    source::{self, Partition},
    tick::{Dead, Tick},
};

/// A worker's producer and the tick it is sending.
pub struct Forward {
    producer: BaseProducer<Deliveries>,
    output: String,
    dead_letters: String,
    sending: Option<Sending>,
}

/// Names partitions by their numbers in the engine.
pub trait Names {
    fn name(&self, partition: u32) -> Option<&Partition>;
}

struct Sending {
    tick: Tick,
    /// Records handed over so far: the kept ones first, then the dead.
    sent: usize,
    /// Records to be handed over again.
    again: Vec<usize>,
}

/// What came of records, noted while the producer is polled.
#[derive(Default)]
struct Deliveries {
    acknowledged: AtomicUsize,
    failed: Mutex<Vec<(usize, RDKafkaErrorCode)>>,
}

/// Tuned for kept traces: few, large, worth waiting 50 ms for company. Any of them can be set in `kafka.properties`.
const DEFAULTS: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("linger.ms", "50"),
    ("compression.type", "lz4"),
    // The partitioner of the Java clients, so that other keyed topics agree.
    ("partitioner", "murmur2_random"),
    // Bounds what librdkafka holds beside our budget, for each worker.
    ("queue.buffering.max.kbytes", "65536"),
];

// === impl Forward ===

impl Forward {
    /// No broker is contacted before the first record.
    ///
    /// # Errors
    /// A property librdkafka does not know or refuses.
    pub fn new(config: &Config) -> KafkaResult<Self> {
        let mut client = source::client(config);
        for (name, value) in DEFAULTS {
            if !config.kafka.properties.contains_key(*name) {
                client.set(*name, *value);
            }
        }
        Ok(Self {
            producer: client.create_with_context(Deliveries::default())?,
            output: config.output.name.clone(),
            dead_letters: config.input.dead_letters(),
            sending: None,
        })
    }

    pub fn is_busy(&self) -> bool {
        self.sending.is_some()
    }

    /// Begins to send a tick; the one before is done.
    pub fn begin(&mut self, tick: Tick) {
        debug_assert!(self.sending.is_none());
        self.producer.context().acknowledged.store(0, Ordering::Relaxed);
        self.sending = Some(Sending { tick, sent: 0, again: Vec::new() });
    }

    /// A partition was taken away: what is out goes on, but its watermark is no longer ours to commit.
    pub fn forget(&mut self, partition: u32) {
        if let Some(sending) = &mut self.sending {
            sending.tick.watermarks.retain(|watermark| watermark.partition != partition);
        }
    }

    /// Goes on sending. Returns the tick when all of it is acknowledged.
    ///
    /// # Errors
    /// The producer is beyond repair.
    pub fn progress(&mut self, wait: Duration, names: &impl Names) -> KafkaResult<Option<Tick>> {
        self.producer.poll(wait);
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            tracing::error!(reason, "the producer cannot go on");
            return Err(KafkaError::MessageProduction(code));
        }
        let Some(mut sending) = self.sending.take() else { return Ok(None) };
        for (record, code) in self.producer.context().take_failed() {
            self.undelivered(&mut sending, record, code);
        }
        self.hand_over(&mut sending, names);
        let acknowledged = self.producer.context().acknowledged.load(Ordering::Relaxed);
        if acknowledged == sending.tick.kept.len() + sending.tick.dead.len() {
            return Ok(Some(sending.tick));
        }
        self.sending = Some(sending);
        Ok(None)
    }

    fn hand_over(&self, sending: &mut Sending, names: &impl Names) {
        loop {
            let again = sending.again.last().copied();
            let record = again.unwrap_or(sending.sent);
            if record >= sending.tick.kept.len() + sending.tick.dead.len() {
                return;
            }
            match self.send(&sending.tick, record, names) {
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => return,
                result => {
                    match again {
                        Some(_) => _ = sending.again.pop(),
                        None => sending.sent += 1,
                    }
                    if let Err(error) = result {
                        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                        self.undelivered(sending, record, code);
                        return;
                    }
                }
            }
        }
    }

    fn send(&self, tick: &Tick, record: usize, names: &impl Names) -> KafkaResult<()> {
        match tick.kept.get(record) {
            Some(kept) => {
                let key = kept.trace.hex();
                let payload = &tick.bytes[kept.bytes.clone()];
                let message = BaseRecord::with_opaque_to(&self.output, record).key(&key[..]).payload(payload);
                self.producer.send(message).map_err(|(error, _)| error)
            }
            None => {
                let dead = &tick.dead[record - tick.kept.len()];
                let message = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.dead_letters, record)
                    .headers(headers(dead, names))
                    .payload(&tick.bytes[dead.bytes.clone()]);
                self.producer.send(message).map_err(|(error, _)| error)
            }
        }
    }

    /// Sends a record again, or, if the broker will never take it, a pointer to it to the dead letters.
    fn undelivered(&self, sending: &mut Sending, record: usize, code: RDKafkaErrorCode) {
        let Sending { tick, again, .. } = sending;
        let too_large = matches!(code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize);
        let kept = tick.kept.len();
        match (too_large, record.checked_sub(kept)) {
            (true, None) => {
                let refused = &mut tick.kept[record];
                let (trace, len) = (refused.trace, refused.bytes.len());
                let spans = std::mem::take(&mut refused.spans);
                tick.refused += u64::from(spans);
                let reason = format!("the output refused {len} bytes of trace {trace} as too large");
                tracing::error!("{reason}; see `max.message.bytes` of topic {}", self.output);
                let (partition, offset) = (refused.partition, refused.offset);
                tick.bury(Dead { partition, offset, spans, reason: reason.into(), bytes: 0..0 });
                self.producer.context().acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            (true, Some(dead)) if !tick.dead[dead].bytes.is_empty() => {
                tick.dead[dead].bytes = 0..0;
                again.push(record);
            }
            _ => {
                tracing::warn!(%code, "a record was not delivered and is sent again");
                again.push(record);
            }
        }
    }
}

/// Where a dead letter came from, and why.
fn headers(dead: &Dead, names: &impl Names) -> OwnedHeaders {
    let (topic, partition) = names.name(dead.partition).map_or(("", -1), |(topic, partition)| (&**topic, *partition));
    [
        ("tailwater.topic", topic),
        ("tailwater.partition", &partition.to_string()),
        ("tailwater.offset", &dead.offset.to_string()),
        ("tailwater.reason", &dead.reason),
    ]
    .into_iter()
    .fold(OwnedHeaders::new_with_capacity(4), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}

// === impl Deliveries ===

impl Deliveries {
    fn take_failed(&self) -> Vec<(usize, RDKafkaErrorCode)> {
        std::mem::take(&mut self.failed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, record: usize) {
        match result {
            Ok(_) => _ = self.acknowledged.fetch_add(1, Ordering::Relaxed),
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).push((record, code));
            }
        }
    }
}
