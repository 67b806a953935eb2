//! The producer, and what is done with a tick.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, TopicPartitionList,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::{
    Delivered, Outcome, Parcel, Shared, contents,
    deliveries::Deliveries,
    transactions::{self, End, Fault, STEP, Transactions, is_denied},
};
use crate::{
    config::{Config, Delivery},
    recall, rekey,
    sample::Learned,
    source::{self, Committer, Metadata, Partition, Recaller, Refusal, Use},
    tick::{Dead, Logged, Tick},
};

pub struct Sender {
    /// For transactions. None with at-least-once delivery where the cluster allows none: then what fences another worker's
    /// commits is the group alone, and nothing fences its decisions.
    transactions: Option<Transactions>,
    /// For what is in no transaction, with at-least-once delivery.
    plain: Option<BaseProducer<Deliveries>>,
    /// Tells this life of the worker from others, in metadata and decisions.
    incarnation: u64,
    config: Arc<Config>,
    route: Route,
    committer: Committer,
    recaller: Recaller,
    /// Spans that were gone and their traces, since that was last said, and when.
    gone: [u64; 2],
    told: Option<Instant>,
    shared: Arc<Shared>,
}

/// Where kept traces go.
pub struct Route {
    pub topic: String,
    /// How many of it there are, where each trace has one of its own; else the producer chooses by the key.
    pub partitions: Option<i32>,
    /// The largest record it takes, in bytes.
    pub record_bytes: usize,
}

/// A record on its way.
enum Piece {
    /// In `Tick::kept`.
    Kept(usize),
    /// In `Tick::dead`.
    Dead(usize),
    /// Decisions of a partition.
    Decisions { partition: u32, value: Vec<u8> },
    /// In `Tick::states`.
    State(usize),
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
    (transactions::TIMEOUT, "30000"),
];
/// A partition that is in no tick of ours.
const UNNAMED: KafkaError = KafkaError::MessageProduction(RDKafkaErrorCode::UnknownPartition);
/// A record's key, headers and framing beside its value.
pub const FRAMING: usize = 512;
/// What goes on is not said with every tick.
const TELL: Duration = Duration::from_secs(30);
/// Before the group is asked again.
const PAUSE: Duration = Duration::from_secs(1);

// === impl Sender ===

impl Sender {
    /// # Errors
    /// A property librdkafka does not know or refuses.
    pub fn new(
        config: &Arc<Config>,
        transactional_id: &str,
        route: Route,
        committer: Committer,
        shared: Arc<Shared>,
    ) -> KafkaResult<Self> {
        let mut client: ClientConfig = source::client(config);
        client.set("enable.idempotence", "true");
        for (name, value) in DEFAULTS {
            if !config.kafka.properties.contains_key(*name) {
                client.set(*name, *value);
            }
        }
        // A topic of ours takes what the input took.
        if route.partitions.is_some() && !config.kafka.properties.contains_key("message.max.bytes") {
            client.set("message.max.bytes", (route.record_bytes + FRAMING).to_string());
        }
        let plain = match config.delivery {
            Delivery::ExactlyOnce => None,
            Delivery::AtLeastOnce => Some(client.create_with_context(Deliveries::default())?),
        };
        client.set("transactional.id", transactional_id);
        Ok(Self {
            transactions: Some(Transactions::new(client, shared.clone())?),
            plain,
            incarnation: fastrand::u64(..),
            config: config.clone(),
            recaller: Recaller::new(config.clone()),
            gone: [0; 2],
            told: None,
            route,
            committer,
            shared,
        })
    }

    /// Ends what a predecessor of the same name left open, and fences it. Until then the offsets it was about to commit are not
    /// given out.
    ///
    /// # Errors
    /// The producer is of no use, or nobody waits any more.
    pub fn begin(&mut self) -> KafkaResult<()> {
        let Some(transactions) = &self.transactions else { return Ok(()) };
        match transactions.take_name() {
            Err(error) if self.plain.is_some() && are_not_to_be_had(&error) => {
                tracing::warn!(
                    %error,
                    "no transactions are to be had: a worker that was put out of the group and does not know it yet may still \
                     decide and send"
                );
                self.transactions = None;
                Ok(())
            }
            done => done,
        }
    }

    /// Brings a tick out: its records, its decisions, its watermarks.
    ///
    /// # Errors
    /// The producer is beyond repair, or nobody waits any more.
    pub fn deliver(&mut self, mut parcel: Parcel) -> KafkaResult<Delivered> {
        self.recall(&mut parcel)?;
        let result = match &self.plain {
            None => self.transact(&mut parcel),
            Some(plain) => self.decide_then_send(plain, &mut parcel),
        };
        let (logged, outcome) = match result {
            Ok(out) => out,
            Err(fault) => {
                self.shared.committing(true);
                let recovered = self.recover(fault, &parcel);
                self.shared.committing(false);
                recovered?
            }
        };
        let commits = match outcome {
            Outcome::Committed => contents::commits(&parcel, &logged, self.incarnation).map(owned).collect(),
            _ => Vec::new(),
        };
        Ok(Delivered { parcel, logged, commits, outcome, revoked: HashSet::new() })
    }

    /// Reads again what was given up of what is kept, before anything is sent.
    fn recall(&mut self, parcel: &mut Parcel) -> KafkaResult<()> {
        let Parcel { tick, names, .. } = parcel;
        if tick.recall.is_empty() {
            return Ok(());
        }
        let named = |partition| super::name(names, partition).map(|name| &name.partition);
        // Nothing is out yet: who stops meanwhile leaves nothing half done.
        self.shared.acknowledge();
        if !self.recaller.read(&mut tick.recall, named, || self.shared.is_abandoned())? {
            return Err(KafkaError::Canceled);
        }
        self.shared.acknowledged.store(false, Ordering::Release);
        tick.fill(self.route.record_bytes, self.config.memory.recall_partial);
        let recall::Read { partial, gone, .. } = tick.recall.read;
        self.gone = [self.gone[0] + gone, self.gone[1] + partial];
        let [spans, traces] = self.gone;
        if spans > 0 && self.told.is_none_or(|told| told.elapsed() > TELL) {
            (self.gone, self.told) = ([0; 2], Some(Instant::now()));
            tracing::error!(
                "{spans} spans of {traces} traces were removed from the log before they were read again: see the dead letters. Give \
                 the input a longer retention.ms, or memory.buffer more"
            );
        }
        Ok(())
    }

    /// All of it or nothing: readers of committed records never see anything undone.
    fn transact(&self, parcel: &mut Parcel) -> Result<(Vec<Logged>, Outcome), Fault> {
        let pieces = self.decision_pieces(&parcel.tick).chain(output_pieces(&parcel.tick)).collect();
        let logged = self.transaction(parcel, pieces, |parcel, logged| self.offsets(parcel, logged))?;
        Ok((logged, Outcome::Committed))
    }

    /// The decisions first: a verdict that may have been acted on must be found again. Then the output, then the offsets.
    fn decide_then_send(
        &self,
        plain: &BaseProducer<Deliveries>,
        parcel: &mut Parcel,
    ) -> Result<(Vec<Logged>, Outcome), Fault> {
        let decisions: Vec<_> = self.decision_pieces(&parcel.tick).collect();
        let logged = if self.transactions.is_some() && !decisions.is_empty() {
            // The group is told nothing new, and refuses it if the partitions are no longer ours: then nothing is sent.
            self.transaction(parcel, decisions, |parcel, _| source::offsets(parcel.standing.iter().map(borrowed)))?
        } else {
            self.send_all(plain, parcel, decisions)?
        };
        let output = output_pieces(&parcel.tick).collect();
        self.send_all(plain, parcel, output)?;
        self.shared.acknowledge();
        self.shared.disown(parcel);
        let offsets = self.offsets(parcel, &logged).map_err(Fault::fatal)?;
        let outcome = self.committer.commit(&offsets).map_or_else(Outcome::Uncommitted, |()| Outcome::Committed);
        Ok((logged, outcome))
    }

    /// Records and offsets in one transaction; returns where the decisions among them stand.
    fn transaction(
        &self,
        parcel: &mut Parcel,
        pieces: Vec<Piece>,
        offsets: impl FnOnce(&Parcel, &[Logged]) -> KafkaResult<TopicPartitionList>,
    ) -> Result<Vec<Logged>, Fault> {
        let transactions = self.transactions.as_ref().ok_or(Fault::fatal(KafkaError::Canceled))?;
        let open = Some(Instant::now());
        let unasked = |fault| Fault { open, ..fault };
        transactions.begin().map_err(unasked)?;
        let logged = self.send_all(transactions.producer(), parcel, pieces).map_err(unasked)?;
        let offsets = offsets(parcel, &logged).map_err(Fault::fatal)?;
        let asked = |fault| Fault { open, asked: Some(logged.as_slice().into()), ..fault };
        self.shared.committing(true);
        let committed = (|| {
            if let (Some(membership), true) = (&parcel.membership, offsets.count() > 0) {
                // A commit of the one before that arrives late would commit these.
                let sent = transactions.send_offsets(&offsets, membership);
                sent.map_err(|fault| if self.plain.is_none() { asked(fault) } else { unasked(fault) })?;
            }
            transactions.commit().map_err(asked)
        })();
        self.shared.committing(false);
        committed.map(|()| logged)
    }

    /// An error as a person has to read it.
    pub fn reason(&self, error: KafkaError) -> anyhow::Error {
        let Config { input, output, .. } = &*self.config;
        let remembered = input.remembered().map(|(topic, _)| topic);
        let ours = remembered.chain([input.dead_letters()]).collect::<Vec<_>>();
        let topics = [&output.name].into_iter().chain(&ours).map(String::as_str).collect::<Vec<_>>();
        match Refusal::of_right(&error, &input.group, Use::Write(&topics)) {
            Some(refusal) => refusal.into(),
            None => error.into(),
        }
    }

    /// Finds out what became of a tick that did not go out as it should: nothing of it is out, or all of it.
    ///
    /// # Errors
    /// Another try is pointless, or nobody knows what is out.
    fn recover(&mut self, mut fault: Fault, parcel: &Parcel) -> KafkaResult<(Vec<Logged>, Outcome)> {
        let asked = fault.asked.take();
        let Some(transactions) = &mut self.transactions else {
            return if fault.aborts { Ok((Vec::new(), Outcome::Aborted(fault.error))) } else { Err(fault.error) };
        };
        let (error, end) = transactions.end(fault)?;
        let End::Unknown(reason) = end else { return Ok((Vec::new(), Outcome::Aborted(error))) };
        tracing::warn!(%reason, "the producer is of no more use; another goes on");
        if let Some(transactions) = &mut self.transactions {
            transactions.renew()?;
        }
        let Some(logged) = asked else { return Ok((Vec::new(), Outcome::Aborted(error))) };
        if self.plain.is_some() {
            // Decisions were all that was in it, and no commit says whether they are there.
            tracing::error!("what became of a transaction is not known before the next start");
            return Err(reason);
        }
        match self.is_committed(parcel, &logged)? {
            Some(true) => Ok((logged.into(), Outcome::Committed)),
            // What others have committed since was taken away before, and is not sent from here again.
            Some(false) | None => Ok((Vec::new(), Outcome::Aborted(error))),
        }
    }

    /// Whether the group has what a transaction was to commit. None where others have committed since.
    fn is_committed(&self, parcel: &Parcel, logged: &[Logged]) -> KafkaResult<Option<bool>> {
        let new = contents::commits(parcel, logged, self.incarnation).collect::<Vec<_>>();
        loop {
            match self.committer.committed(new.iter().map(|(partition, ..)| *partition)) {
                Ok(committed) => return Ok(contents::is_committed(&new, &parcel.standing, &committed)),
                Err(error) if self.shared.is_abandoned() || is_denied(&error) => return Err(error),
                Err(error) => tracing::warn!(%error, "what is committed is not to be had; asking again"),
            }
            thread::sleep(PAUSE);
        }
    }

    fn offsets(&self, parcel: &Parcel, logged: &[Logged]) -> KafkaResult<TopicPartitionList> {
        source::offsets(contents::commits(parcel, logged, self.incarnation))
    }

    fn decision_pieces(&self, tick: &Tick) -> impl Iterator<Item = Piece> + use<> {
        let packed = contents::decisions(tick, self.incarnation, self.route.record_bytes);
        packed.into_iter().map(|(partition, value)| Piece::Decisions { partition, value })
    }

    /// Sends records until every one is acknowledged; returns where the decisions among them stand.
    fn send_all(
        &self,
        producer: &BaseProducer<Deliveries>,
        parcel: &mut Parcel,
        mut pieces: Vec<Piece>,
    ) -> Result<Vec<Logged>, Fault> {
        let deliveries = producer.context();
        let is_transaction = self.is_transactional(producer);
        deliveries.clear();
        let mut rest: Vec<usize> = (0..pieces.len()).rev().collect();
        loop {
            for (piece, code) in deliveries.take_failed() {
                self.undelivered(&mut parcel.tick, &mut pieces[piece], code);
                let error = KafkaError::MessageProduction(code);
                if is_transaction {
                    return Err(Fault::abort(error));
                }
                if is_denied(&error) {
                    return Err(Fault::fatal(error));
                }
                rest.push(piece);
            }
            self.hand_over(producer, parcel, &mut pieces, &mut rest)?;
            if deliveries.acknowledged() == pieces.len() {
                return logged(deliveries, &pieces);
            }
            if self.shared.is_abandoned() {
                return Err(Fault::fatal(KafkaError::Canceled));
            }
            producer.poll(STEP);
            if let Some((code, reason)) = producer.client().fatal_error() {
                tracing::error!(reason, "the producer cannot go on");
                return Err(Fault::fatal(KafkaError::MessageProduction(code)));
            }
        }
    }

    fn hand_over(
        &self,
        producer: &BaseProducer<Deliveries>,
        parcel: &mut Parcel,
        pieces: &mut [Piece],
        rest: &mut Vec<usize>,
    ) -> Result<(), Fault> {
        while let Some(&piece) = rest.last() {
            match self.send(producer, parcel, &pieces[piece], piece) {
                Ok(()) => _ = rest.pop(),
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => return Ok(()),
                Err(error) => {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                    if self.is_transactional(producer) && !is_too_large(code) {
                        return Err(Fault::abort(error));
                    }
                    self.undelivered(&mut parcel.tick, &mut pieces[piece], code);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn send(
        &self,
        producer: &BaseProducer<Deliveries>,
        parcel: &Parcel,
        piece: &Piece,
        number: usize,
    ) -> KafkaResult<()> {
        let tick = &parcel.tick;
        match piece {
            Piece::Kept(kept) => {
                let kept = &tick.kept[*kept];
                let key = kept.trace.hex();
                let payload = &tick.bytes[kept.bytes.clone()];
                let mut record = BaseRecord::with_opaque_to(&self.route.topic, number).key(&key[..]).payload(payload);
                record.partition = self.route.partitions.map(|count| rekey::partition(kept.trace, count));
                record.timestamp = kept.timestamp.map(|timestamp| timestamp.0);
                if self.route.partitions.is_some()
                    && let Some((topic, _)) = parcel.name(kept.partition)
                {
                    record.headers = Some(rekey::headers(topic, tick.frontier, kept.headers.as_ref()));
                }
                producer.send(record).map_err(|(error, _)| error)
            }
            Piece::Dead(dead) => {
                let dead = &tick.dead[*dead];
                let topic = self.config.input.dead_letters();
                let record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&topic, number)
                    .headers(headers(dead, parcel.name(dead.partition)))
                    .payload(&tick.bytes[dead.bytes.clone()]);
                producer.send(record).map_err(|(error, _)| error)
            }
            Piece::Decisions { partition, value } => {
                let (topic, partition) = parcel.name(*partition).ok_or(UNNAMED)?;
                let topic = self.config.input.decisions(topic);
                let record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&topic, number)
                    .partition(*partition)
                    .payload(value);
                producer.send(record).map_err(|(error, _)| error)
            }
            Piece::State(state) => {
                let Learned { partition, name, value } = &tick.states[*state];
                let (topic, partition) = parcel.name(*partition).ok_or(UNNAMED)?;
                let (topic, key) = (self.config.input.samplers(topic), name.to_bytes());
                let record = BaseRecord::with_opaque_to(&topic, number).partition(*partition).key(&key).payload(value);
                producer.send(record).map_err(|(error, _)| error)
            }
        }
    }

    fn is_transactional(&self, producer: &BaseProducer<Deliveries>) -> bool {
        self.transactions.as_ref().is_some_and(|transactions| std::ptr::eq(transactions.producer(), producer))
    }

    /// What the broker will never take becomes a pointer in the dead letters; all else is sent again as it is.
    fn undelivered(&self, tick: &mut Tick, piece: &mut Piece, code: RDKafkaErrorCode) {
        match piece {
            Piece::Kept(kept) if is_too_large(code) => {
                let refused = &mut tick.kept[*kept];
                let (trace, len) = (refused.trace, refused.bytes.len());
                let spans = std::mem::take(&mut refused.spans);
                let topic = &self.route.topic;
                let reason = format!("`{topic}` refused {len} bytes of trace {trace} as too large");
                tracing::error!("{reason}; see its `max.message.bytes`");
                let (partition, offset) = (refused.partition, refused.offset);
                *piece = Piece::Dead(tick.dead.len());
                tick.bury(Dead { partition, offset, spans, reason: reason.into(), bytes: 0..0 });
            }
            Piece::Dead(dead) if is_too_large(code) => tick.dead[*dead].bytes = 0..0,
            _ => tracing::warn!(%code, "a record was not delivered and is sent again"),
        }
    }
}

fn owned((partition, offset, metadata): (&Partition, i64, Metadata)) -> (Partition, i64, Metadata) {
    (partition.clone(), offset, metadata)
}

fn borrowed((partition, offset, metadata): &(Partition, i64, Metadata)) -> (&Partition, i64, Metadata) {
    (partition, *offset, *metadata)
}

fn output_pieces(tick: &Tick) -> impl Iterator<Item = Piece> + use<> {
    // What was refused as too large is among the dead.
    let kept = tick.kept.iter().enumerate().filter(|(_, kept)| kept.spans > 0).map(|(at, _)| Piece::Kept(at));
    let dead = (0..tick.dead.len()).map(Piece::Dead);
    // After the decisions: what was learned and not decided would be learned again.
    let states = (0..tick.states.len()).map(Piece::State);
    kept.chain(dead).chain(states).collect::<Vec<_>>().into_iter()
}

fn is_too_large(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
}

/// The cluster has no transactions, or none for us.
fn are_not_to_be_had(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        ClusterAuthorizationFailed, TransactionalIdAuthorizationFailed, UnsupportedFeature, UnsupportedVersion,
    };
    let codes =
        [ClusterAuthorizationFailed, TransactionalIdAuthorizationFailed, UnsupportedFeature, UnsupportedVersion];
    error.rdkafka_error_code().is_some_and(|code| codes.contains(&code))
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

/// The first and the last record of each partition's decisions.
fn logged(deliveries: &Deliveries, pieces: &[Piece]) -> Result<Vec<Logged>, Fault> {
    let mut logged: Vec<Logged> = Vec::new();
    for &(piece, offset) in &*deliveries.offsets() {
        let Piece::Decisions { partition, .. } = pieces[piece] else { continue };
        if offset < 0 {
            // Without its place it could not be found again.
            return Err(Fault::abort(KafkaError::MessageProduction(RDKafkaErrorCode::InvalidRecord)));
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
