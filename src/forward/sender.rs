//! The producer, and what is done with a tick.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
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

use super::{Delivered, Parcel, Shared};
use crate::{
    config::Config,
    model::RecordTime,
    source::{self, Committer, Metadata, Partition},
    tick::{Dead, Tick},
};

pub struct Sender {
    producer: BaseProducer<Deliveries>,
    output: String,
    dead_letters: String,
    committer: Committer,
    shared: Arc<Shared>,
}

/// Records of a tick on their way: the kept ones are numbered first, then the dead.
#[derive(Default)]
struct Sending {
    /// Handed over so far.
    sent: usize,
    /// To be handed over again.
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
/// Between two looks at what is not acknowledged yet.
const STEP: Duration = Duration::from_millis(20);

// === impl Sender ===

impl Sender {
    pub fn new(config: &Config, committer: Committer, shared: Arc<Shared>) -> KafkaResult<Self> {
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
            committer,
            shared,
        })
    }

    /// Sends a tick until all of it is acknowledged, then commits its watermarks (I4).
    ///
    /// # Errors
    /// The producer is beyond repair, or nobody waits any more.
    pub fn deliver(&mut self, mut parcel: Parcel) -> KafkaResult<Delivered> {
        self.send_all(&mut parcel)?;
        self.shared.acknowledged.store(true, Ordering::Release);
        self.shared.disown(&mut parcel.tick, &parcel.names);
        let committed = self.commit(&parcel);
        let Parcel { tick, names } = parcel;
        Ok(Delivered { tick, names, committed })
    }

    fn commit(&self, parcel: &Parcel) -> KafkaResult<()> {
        let offsets = parcel.tick.watermarks.iter().filter_map(|watermark| {
            let clock = watermark.clock.filter(|&clock| clock != RecordTime::END).map(|clock| clock.0);
            Some((parcel.name(watermark.partition)?, watermark.offset, Metadata::at(watermark.offset, clock)))
        });
        self.committer.commit(offsets)
    }

    fn send_all(&self, parcel: &mut Parcel) -> KafkaResult<()> {
        self.producer.context().acknowledged.store(0, Ordering::Relaxed);
        let mut sending = Sending::default();
        loop {
            for (record, code) in self.producer.context().take_failed() {
                self.undelivered(&mut parcel.tick, &mut sending, record, code);
            }
            self.hand_over(parcel, &mut sending);
            let acknowledged = self.producer.context().acknowledged.load(Ordering::Relaxed);
            if acknowledged == parcel.tick.kept.len() + parcel.tick.dead.len() {
                return Ok(());
            }
            if self.shared.is_abandoned() {
                return Err(KafkaError::Canceled);
            }
            self.producer.poll(STEP);
            if let Some((code, reason)) = self.producer.client().fatal_error() {
                tracing::error!(reason, "the producer cannot go on");
                return Err(KafkaError::MessageProduction(code));
            }
        }
    }

    fn hand_over(&self, parcel: &mut Parcel, sending: &mut Sending) {
        loop {
            let again = sending.again.last().copied();
            let record = again.unwrap_or(sending.sent);
            if record >= parcel.tick.kept.len() + parcel.tick.dead.len() {
                return;
            }
            match self.send(parcel, record) {
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => return,
                result => {
                    match again {
                        Some(_) => _ = sending.again.pop(),
                        None => sending.sent += 1,
                    }
                    if let Err(error) = result {
                        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                        self.undelivered(&mut parcel.tick, sending, record, code);
                        return;
                    }
                }
            }
        }
    }

    fn send(&self, parcel: &Parcel, record: usize) -> KafkaResult<()> {
        let tick = &parcel.tick;
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
                    .headers(headers(dead, parcel.name(dead.partition)))
                    .payload(&tick.bytes[dead.bytes.clone()]);
                self.producer.send(message).map_err(|(error, _)| error)
            }
        }
    }

    /// Sends a record again, or, if the broker will never take it, a pointer to it to the dead letters.
    fn undelivered(&self, tick: &mut Tick, sending: &mut Sending, record: usize, code: RDKafkaErrorCode) {
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
                tick.dead.push(Dead { partition, offset, spans, reason: reason.into(), bytes: 0..0 });
                self.producer.context().acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            (true, Some(dead)) if !tick.dead[dead].bytes.is_empty() => {
                tick.dead[dead].bytes = 0..0;
                sending.again.push(record);
            }
            _ => {
                tracing::warn!(%code, "a record was not delivered and is sent again");
                sending.again.push(record);
            }
        }
    }
}

/// Where a dead letter came from, and why.
fn headers(dead: &Dead, name: Option<&Partition>) -> OwnedHeaders {
    let (topic, partition) = name.map_or(("", -1), |(topic, partition)| (&**topic, *partition));
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
