//! The producer, and what is done with a tick.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{DeliveryResult, Header, Message, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig},
};

use super::{Delivered, Outcome, Parcel, Shared};
use crate::{
    config::{Config, Delivery},
    decisions,
    model::RecordTime,
    source::{self, Committer, Metadata, Partition, Refusal, Use},
    tick::{Dead, Logged, Tick, Watermark},
};

pub struct Sender {
    producer: BaseProducer<Deliveries>,
    /// Whether a tick is a transaction. If not, what fences another worker's commits is the group alone.
    transactional: bool,
    /// Tells this life of the worker from others, in metadata and decisions.
    incarnation: u64,
    config: Arc<Config>,
    output_record_bytes: usize,
    policies: Vec<String>,
    committer: Committer,
    shared: Arc<Shared>,
}

/// A record on its way.
enum Piece {
    /// In `Tick::kept`.
    Kept(usize),
    /// In `Tick::dead`.
    Dead(usize),
    /// Decisions of a partition.
    Decisions { partition: u32, value: Vec<u8> },
}

/// Why a tick did not go out.
enum Fault {
    /// Its transaction cannot be committed; another with the same content can.
    Abort(KafkaError),
    /// The producer is of no more use.
    Fatal(KafkaError),
}

/// What came of records, noted while the producer is polled; a record is known by its place among the pieces.
#[derive(Default)]
struct Deliveries {
    acknowledged: AtomicUsize,
    failed: Mutex<Vec<(usize, RDKafkaErrorCode)>>,
    /// Offsets of all that were acknowledged.
    offsets: Mutex<Vec<(usize, i64)>>,
}

/// Tuned for kept traces: few, large, worth waiting 50 ms for company. Any of them can be set in `kafka.properties`.
const DEFAULTS: &[(&str, &str)] = &[
    ("linger.ms", "50"),
    ("compression.type", "lz4"),
    // The partitioner of the Java clients, so that other keyed topics agree.
    ("partitioner", "murmur2_random"),
    // Bounds what librdkafka holds beside our budget, for each worker.
    ("queue.buffering.max.kbytes", "65536"),
    // A dead worker's transaction holds back the readers of the output for so long, if nobody takes its name. Below the
    // group's session timeout, so that it is over before its partitions are somebody else's.
    ("transaction.timeout.ms", "30000"),
];
/// Between two looks at what is not acknowledged yet.
const STEP: Duration = Duration::from_millis(20);
/// One try of a transaction's step; then it is looked at whether anybody still waits.
const TRY: Duration = Duration::from_secs(5);

// === impl Sender ===

impl Sender {
    /// # Errors
    /// A property librdkafka does not know or refuses.
    pub fn new(
        config: &Arc<Config>,
        transactional_id: &str,
        output_record_bytes: usize,
        committer: Committer,
        shared: Arc<Shared>,
    ) -> KafkaResult<Self> {
        let transactional = config.delivery == Delivery::ExactlyOnce;
        let mut client: ClientConfig = source::client(config);
        client.set("enable.idempotence", "true");
        for (name, value) in DEFAULTS {
            if !config.kafka.properties.contains_key(*name) {
                client.set(*name, *value);
            }
        }
        if transactional {
            client.set("transactional.id", transactional_id);
        }
        Ok(Self {
            producer: client.create_with_context(Deliveries::default())?,
            transactional,
            incarnation: fastrand::u64(..),
            policies: config.policies.policies().iter().map(|policy| policy.name.clone()).collect(),
            config: config.clone(),
            output_record_bytes,
            committer,
            shared,
        })
    }

    /// Ends what a predecessor of the same name left open, and fences it. Until then the offsets it was about to commit are not
    /// given out.
    ///
    /// # Errors
    /// The producer is of no use, or nobody waits any more.
    pub fn begin(&self) -> KafkaResult<()> {
        if !self.transactional {
            return Ok(());
        }
        self.persist(|producer| producer.init_transactions(TRY)).map_err(Fault::into_inner)
    }

    /// Brings a tick out: its records, its decisions, its watermarks.
    ///
    /// # Errors
    /// The producer is beyond repair, or nobody waits any more.
    pub fn deliver(&mut self, mut parcel: Parcel) -> KafkaResult<Delivered> {
        let result = if self.transactional { self.transact(&mut parcel) } else { self.send_then_commit(&mut parcel) };
        let (logged, outcome) = match result {
            Ok((logged, outcome)) => (logged, outcome),
            Err(Fault::Abort(error)) => {
                let error = self.cause().unwrap_or(error);
                let aborted = self.abort();
                if is_denied(&error) {
                    return Err(error);
                }
                aborted?;
                (Vec::new(), Outcome::Aborted(error))
            }
            Err(Fault::Fatal(error)) => return Err(error),
        };
        Ok(Delivered { parcel, logged, outcome, revoked: HashSet::new() })
    }

    /// All of it or nothing: readers of committed records never see anything undone.
    fn transact(&mut self, parcel: &mut Parcel) -> Result<(Vec<Logged>, Outcome), Fault> {
        self.producer.begin_transaction().map_err(fault)?;
        let pieces = self.decision_pieces(&parcel.tick).chain(output_pieces(&parcel.tick)).collect();
        let logged = self.send_all(parcel, pieces)?;
        let offsets = self.offsets(parcel, &logged).map_err(Fault::Fatal)?;
        self.shared.committing(true);
        let committed = (|| {
            if let (Some(membership), true) = (&parcel.membership, offsets.count() > 0) {
                self.persist(|producer| producer.send_offsets_to_transaction(&offsets, membership, TRY))?;
            }
            self.persist(|producer| producer.commit_transaction(TRY))
        })();
        self.shared.committing(false);
        committed.map(|()| (logged, Outcome::Committed))
    }

    /// The decisions first: a verdict that may have been acted on must be found again. Then the output, then the offsets.
    fn send_then_commit(&mut self, parcel: &mut Parcel) -> Result<(Vec<Logged>, Outcome), Fault> {
        let decisions = self.decision_pieces(&parcel.tick).collect();
        let logged = self.send_all(parcel, decisions)?;
        let output = output_pieces(&parcel.tick).collect();
        self.send_all(parcel, output)?;
        self.shared.acknowledge();
        self.shared.disown(parcel);
        let offsets = self.offsets(parcel, &logged).map_err(Fault::Fatal)?;
        let outcome = self.committer.commit(&offsets).map_or_else(Outcome::Uncommitted, |()| Outcome::Committed);
        Ok((logged, outcome))
    }

    /// An error as a person has to read it.
    pub fn reason(&self, error: KafkaError) -> anyhow::Error {
        let Config { input, output, .. } = &*self.config;
        let ours = input.topics.iter().map(|topic| input.decisions(&topic.name)).chain([input.dead_letters()]);
        let ours = ours.collect::<Vec<_>>();
        let topics = [&output.name].into_iter().chain(&ours).map(String::as_str).collect::<Vec<_>>();
        match Refusal::of_right(&error, &input.group, Use::Write(&topics)) {
            Some(refusal) => refusal.into(),
            None => error.into(),
        }
    }

    /// Why a transaction has to be aborted, where librdkafka knows: it only says so to who goes on with it. Records that
    /// failed were taken out of its queue, and have nothing to tell.
    fn cause(&self) -> Option<KafkaError> {
        match self.producer.begin_transaction() {
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => Some(KafkaError::Transaction(error)),
            _ => None,
        }
    }

    /// Ends a transaction that cannot be committed. Its content is still ours.
    fn abort(&self) -> KafkaResult<()> {
        if !self.transactional {
            return Ok(());
        }
        // What has not gone out is not to; its reports have to be heard before librdkafka is done with it.
        self.producer.purge(PurgeConfig::default().queue().inflight());
        while self.producer.in_flight_count() > 0 && !self.shared.is_abandoned() {
            self.producer.poll(STEP);
        }
        self.persist(|producer| producer.abort_transaction(TRY)).map_err(Fault::into_inner)
    }

    /// Does a transaction's step again for as long as librdkafka says that it may succeed.
    fn persist(&self, step: impl Fn(&BaseProducer<Deliveries>) -> KafkaResult<()>) -> Result<(), Fault> {
        loop {
            match step(&self.producer) {
                Ok(()) => return Ok(()),
                Err(error) if self.shared.is_abandoned() => return Err(Fault::Fatal(error)),
                Err(error) if is_retriable(&error) => tracing::warn!(%error, "a transaction takes its time; going on"),
                Err(error) => return Err(fault(error)),
            }
        }
    }

    /// What is committed of each partition.
    fn offsets(&self, parcel: &Parcel, logged: &[Logged]) -> KafkaResult<TopicPartitionList> {
        let last = |watermark: &Watermark| {
            let now = logged.iter().find(|logged| logged.partition == watermark.partition);
            now.map(|logged| logged.last).or(watermark.last)
        };
        source::offsets(parcel.tick.watermarks.iter().filter_map(|watermark| {
            let clock = watermark.clock.filter(|&clock| clock != RecordTime::END).map(|clock| clock.0);
            let metadata = Metadata {
                incarnation: self.incarnation,
                tick: parcel.tick.number,
                position: watermark.position,
                floor: watermark.floor,
                last: last(watermark),
                clock,
            };
            Some((parcel.name(watermark.partition)?, watermark.offset, metadata))
        }))
    }

    /// The decisions of a tick, packed for each partition's log.
    fn decision_pieces(&self, tick: &Tick) -> impl Iterator<Item = Piece> {
        let limit = self.output_record_bytes;
        tick.decisions
            .chunk_by(|a, b| a.0 == b.0)
            .flat_map(move |of| {
                let partition = of[0].0;
                let decisions = of.iter().map(|(_, decision)| *decision);
                let values = decisions::encode(self.incarnation, tick.number, decisions, &self.policies, limit);
                values.into_iter().map(move |value| Piece::Decisions { partition, value })
            })
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Sends records until every one is acknowledged; returns where the decisions among them stand.
    fn send_all(&self, parcel: &mut Parcel, mut pieces: Vec<Piece>) -> Result<Vec<Logged>, Fault> {
        let deliveries = self.producer.context();
        deliveries.clear();
        let mut rest: Vec<usize> = (0..pieces.len()).rev().collect();
        loop {
            for (piece, code) in deliveries.take_failed() {
                self.undelivered(&mut parcel.tick, &mut pieces[piece], code);
                let error = KafkaError::MessageProduction(code);
                if self.transactional {
                    return Err(Fault::Abort(error));
                }
                if is_denied(&error) {
                    return Err(Fault::Fatal(error));
                }
                rest.push(piece);
            }
            self.hand_over(parcel, &mut pieces, &mut rest)?;
            if deliveries.acknowledged.load(Ordering::Relaxed) == pieces.len() {
                return deliveries.logged(&pieces);
            }
            if self.shared.is_abandoned() {
                return Err(Fault::Fatal(KafkaError::Canceled));
            }
            self.producer.poll(STEP);
            if let Some((code, reason)) = self.producer.client().fatal_error() {
                tracing::error!(reason, "the producer cannot go on");
                return Err(Fault::Fatal(KafkaError::MessageProduction(code)));
            }
        }
    }

    fn hand_over(&self, parcel: &mut Parcel, pieces: &mut [Piece], rest: &mut Vec<usize>) -> Result<(), Fault> {
        while let Some(&piece) = rest.last() {
            match self.send(parcel, &pieces[piece], piece) {
                Ok(()) => _ = rest.pop(),
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => return Ok(()),
                Err(error) => {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                    if self.transactional && !is_too_large(code) {
                        return Err(Fault::Abort(error));
                    }
                    self.undelivered(&mut parcel.tick, &mut pieces[piece], code);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn send(&self, parcel: &Parcel, piece: &Piece, number: usize) -> KafkaResult<()> {
        let tick = &parcel.tick;
        match piece {
            Piece::Kept(kept) => {
                let kept = &tick.kept[*kept];
                let key = kept.trace.hex();
                let payload = &tick.bytes[kept.bytes.clone()];
                let record =
                    BaseRecord::with_opaque_to(&self.config.output.name, number).key(&key[..]).payload(payload);
                self.producer.send(record).map_err(|(error, _)| error)
            }
            Piece::Dead(dead) => {
                let dead = &tick.dead[*dead];
                let topic = self.config.input.dead_letters();
                let record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&topic, number)
                    .headers(headers(dead, parcel.name(dead.partition)))
                    .payload(&tick.bytes[dead.bytes.clone()]);
                self.producer.send(record).map_err(|(error, _)| error)
            }
            Piece::Decisions { partition, value } => {
                let Some((topic, partition)) = parcel.name(*partition) else {
                    return Err(KafkaError::MessageProduction(RDKafkaErrorCode::UnknownPartition));
                };
                let topic = self.config.input.decisions(topic);
                let record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&topic, number)
                    .partition(*partition)
                    .payload(value);
                self.producer.send(record).map_err(|(error, _)| error)
            }
        }
    }

    /// What the broker will never take becomes a pointer in the dead letters; all else is sent again as it is.
    fn undelivered(&self, tick: &mut Tick, piece: &mut Piece, code: RDKafkaErrorCode) {
        match piece {
            Piece::Kept(kept) if is_too_large(code) => {
                let refused = &mut tick.kept[*kept];
                let (trace, len) = (refused.trace, refused.bytes.len());
                let spans = std::mem::take(&mut refused.spans);
                let reason = format!("the output refused {len} bytes of trace {trace} as too large");
                tracing::error!("{reason}; see `max.message.bytes` of topic {}", self.config.output.name);
                let (partition, offset) = (refused.partition, refused.offset);
                *piece = Piece::Dead(tick.dead.len());
                tick.bury(Dead { partition, offset, spans, reason: reason.into(), bytes: 0..0 });
            }
            Piece::Dead(dead) if is_too_large(code) => tick.dead[*dead].bytes = 0..0,
            _ => tracing::warn!(%code, "a record was not delivered and is sent again"),
        }
    }
}

fn output_pieces(tick: &Tick) -> impl Iterator<Item = Piece> + use<> {
    // What was refused as too large is among the dead.
    let kept = tick.kept.iter().enumerate().filter(|(_, kept)| kept.spans > 0).map(|(at, _)| Piece::Kept(at));
    let dead = (0..tick.dead.len()).map(Piece::Dead);
    kept.chain(dead).collect::<Vec<_>>().into_iter()
}

fn is_too_large(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
}

/// Sent again, it would be refused again.
fn is_denied(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
        )
    )
}

fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable() && !error.txn_requires_abort() && !error.is_fatal(),
        // `commit_transaction` flushes first, and says so when that takes its time.
        KafkaError::Flush(code) => *code == RDKafkaErrorCode::OperationTimedOut,
        _ => false,
    }
}

fn fault(error: KafkaError) -> Fault {
    match &error {
        KafkaError::Transaction(inner) if inner.txn_requires_abort() && !inner.is_fatal() => Fault::Abort(error),
        _ => Fault::Fatal(error),
    }
}

// === impl Fault ===

impl Fault {
    fn into_inner(self) -> KafkaError {
        let (Self::Abort(error) | Self::Fatal(error)) = self;
        error
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
    fn clear(&self) {
        self.acknowledged.store(0, Ordering::Relaxed);
        lock(&self.failed).clear();
        lock(&self.offsets).clear();
    }

    fn take_failed(&self) -> Vec<(usize, RDKafkaErrorCode)> {
        std::mem::take(&mut lock(&self.failed))
    }

    /// The first and the last record of each partition's decisions.
    fn logged(&self, pieces: &[Piece]) -> Result<Vec<Logged>, Fault> {
        let mut logged: Vec<Logged> = Vec::new();
        for &(piece, offset) in &*lock(&self.offsets) {
            let Piece::Decisions { partition, .. } = pieces[piece] else { continue };
            if offset < 0 {
                // A retry that the broker knew already. Without its place it could not be found again.
                return Err(Fault::Abort(KafkaError::MessageProduction(RDKafkaErrorCode::InvalidRecord)));
            }
            match logged.iter_mut().find(|known| known.partition == partition) {
                Some(known) => {
                    known.first = known.first.min(offset);
                    known.last = known.last.max(offset);
                }
                None => logged.push(Logged { partition, first: offset, last: offset }),
            }
        }
        Ok(logged)
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, piece: usize) {
        match result {
            Ok(message) => {
                lock(&self.offsets).push((piece, message.offset()));
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                lock(&self.failed).push((piece, code));
            }
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
