//! What is done with a tick: its records are sent, its offsets committed.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, TopicPartitionList,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    producer::{BaseProducer, Producer},
};

use super::{
    Delivered, Outcome, Parcel, Shared, contents,
    deliveries::Deliveries,
    piece::{FRAMING, Piece, Route, is_too_large},
    transactions::{self, End, Fault, STEP, Transactions, is_denied},
};
use crate::{
    config::{Config, Delivery},
    recall,
    source::{self, Committer, Metadata, Partition, Recaller, Refusal, Use},
    tick::{Logged, Tick},
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
        let pieces = self.decisions(&parcel.tick).chain(Piece::output(&parcel.tick)).collect();
        let logged = self.transaction(parcel, pieces, |parcel, logged| self.offsets(parcel, logged))?;
        Ok((logged, Outcome::Committed))
    }

    /// The decisions first: a verdict that may have been acted on must be found again. Then the output, then the offsets.
    fn decide_then_send(
        &self,
        plain: &BaseProducer<Deliveries>,
        parcel: &mut Parcel,
    ) -> Result<(Vec<Logged>, Outcome), Fault> {
        let decisions: Vec<_> = self.decisions(&parcel.tick).collect();
        let logged = if self.transactions.is_some() && !decisions.is_empty() {
            // The group is told nothing new, and refuses it if the partitions are no longer ours: then nothing is sent.
            self.transaction(parcel, decisions, |parcel, _| source::offsets(parcel.standing.iter().map(borrowed)))?
        } else {
            self.send_all(plain, parcel, decisions)?
        };
        let output = Piece::output(&parcel.tick).collect();
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

    fn decisions(&self, tick: &Tick) -> impl Iterator<Item = Piece> + use<> {
        Piece::decisions(tick, self.incarnation, self.route.record_bytes)
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
                pieces[piece].undelivered(&mut parcel.tick, &self.route.topic, code);
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
            match pieces[piece].send(piece, parcel, (&self.route, &self.config.input), producer) {
                Ok(()) => _ = rest.pop(),
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => return Ok(()),
                Err(error) => {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                    if self.is_transactional(producer) && !is_too_large(code) {
                        return Err(Fault::abort(error));
                    }
                    pieces[piece].undelivered(&mut parcel.tick, &self.route.topic, code);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn is_transactional(&self, producer: &BaseProducer<Deliveries>) -> bool {
        self.transactions.as_ref().is_some_and(|transactions| std::ptr::eq(transactions.producer(), producer))
    }
}

fn owned((partition, offset, metadata): (&Partition, i64, Metadata)) -> (Partition, i64, Metadata) {
    (partition.clone(), offset, metadata)
}

fn borrowed((partition, offset, metadata): &(Partition, i64, Metadata)) -> (&Partition, i64, Metadata) {
    (partition, *offset, *metadata)
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
