//! The producer of transactions, and how one comes to an end that cannot be committed (C20).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, TopicPartitionList,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    producer::{BaseProducer, Producer, PurgeConfig},
};

use super::{Shared, deliveries::Deliveries};
use crate::tick::Logged;

pub struct Transactions {
    producer: BaseProducer<Deliveries>,
    /// What it is made from.
    client: ClientConfig,
    /// The cluster ends a transaction that is open for longer.
    timeout: Duration,
    shared: Arc<Shared>,
}

/// Why a tick did not go out.
pub struct Fault {
    pub error: KafkaError,
    /// Its transaction can be aborted, and another with the same content committed; else the producer is of no more use.
    pub aborts: bool,
    /// Since when its transaction is open.
    pub open: Option<Instant>,
    /// Where its decisions stand, if it may have been committed.
    pub asked: Option<Box<[Logged]>>,
}

/// How a transaction has ended.
pub enum End {
    /// Nothing of it is out.
    Aborted,
    /// The producer is of no more use, for this reason. Nothing of it is out, or all of it if that was asked for.
    Unknown(KafkaError),
}

pub const TIMEOUT: &str = "transaction.timeout.ms";
/// Between two looks at what is not acknowledged yet.
pub const STEP: Duration = Duration::from_millis(20);
/// One try of a transaction's step; then it is looked at whether anybody still waits.
const TRY: Duration = Duration::from_secs(5);

// === impl Transactions ===

impl Transactions {
    /// # Errors
    /// A property librdkafka does not know or refuses.
    pub fn new(client: ClientConfig, shared: Arc<Shared>) -> KafkaResult<Self> {
        let producer = client.create_with_context(Deliveries::default())?;
        // librdkafka has taken it for a number.
        let timeout = client.get(TIMEOUT).and_then(|timeout| timeout.trim().parse().ok());
        let timeout = timeout.map_or(Duration::MAX, Duration::from_millis);
        Ok(Self { producer, client, timeout, shared })
    }

    pub fn producer(&self) -> &BaseProducer<Deliveries> {
        &self.producer
    }

    /// Ends what a predecessor of the same name left open, and fences it.
    ///
    /// # Errors
    /// The producer is of no use, or nobody waits any more.
    pub fn take_name(&self) -> KafkaResult<()> {
        self.persist(|producer| producer.init_transactions(TRY)).map_err(|fault| fault.error)
    }

    /// Begins one.
    pub fn begin(&self) -> Result<(), Fault> {
        self.producer.begin_transaction().map_err(Fault::of)
    }

    pub fn send_offsets(&self, offsets: &TopicPartitionList, membership: &ConsumerGroupMetadata) -> Result<(), Fault> {
        self.persist(|producer| producer.send_offsets_to_transaction(offsets, membership, TRY))
    }

    pub fn commit(&self) -> Result<(), Fault> {
        self.persist(|producer| producer.commit_transaction(TRY))
    }

    /// Brings one to its end that could not be committed. Returns what was wrong with it.
    ///
    /// # Errors
    /// Another try is pointless, or another has our name.
    pub fn end(&self, Fault { error, aborts, open, .. }: Fault) -> KafkaResult<(KafkaError, End)> {
        let (error, ended) = match aborts {
            true => (self.cause().unwrap_or(error), self.abort()),
            false => (error.clone(), Err(error)),
        };
        if is_denied(&error) {
            return Err(error);
        }
        match ended {
            Ok(()) => Ok((error, End::Aborted)),
            Err(reason) if open.is_some_and(|open| self.may_renew(&reason, open)) => Ok((error, End::Unknown(reason))),
            Err(reason) => Err(reason),
        }
    }

    /// Another producer of the same name. When it has that, what the one before it has left is committed or aborted, and nothing
    /// of it that is still under way changes that.
    ///
    /// # Errors
    /// As [`Self::take_name`].
    pub fn renew(&mut self) -> KafkaResult<()> {
        self.producer = self.client.create_with_context(Deliveries::default())?;
        if self.shared.is_abandoned() {
            return Err(KafkaError::Canceled);
        }
        self.take_name()
    }

    /// Why a transaction has to be aborted, where librdkafka knows: it only says so to who goes on with it. Records that
    /// failed were taken out of its queue, and have nothing to tell.
    fn cause(&self) -> Option<KafkaError> {
        match self.producer.begin_transaction() {
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => Some(KafkaError::Transaction(error)),
            _ => None,
        }
    }

    fn abort(&self) -> KafkaResult<()> {
        // What has not gone out is not to; its reports have to be heard before librdkafka is done with it.
        self.producer.purge(PurgeConfig::default().queue().inflight());
        while self.producer.in_flight_count() > 0 && !self.shared.is_abandoned() {
            self.producer.poll(STEP);
        }
        self.persist(|producer| producer.abort_transaction(TRY)).map_err(|fault| fault.error)
    }

    /// Whether another producer may go on. Who has our name now is not to be fenced in turn; but the cluster says the same of a
    /// producer whose transaction was open for too long.
    fn may_renew(&self, reason: &KafkaError, open: Instant) -> bool {
        !self.shared.is_abandoned() && (!is_fenced(reason) || open.elapsed() >= self.timeout)
    }

    /// Does a transaction's step again for as long as librdkafka says that it may succeed.
    fn persist(&self, step: impl Fn(&BaseProducer<Deliveries>) -> KafkaResult<()>) -> Result<(), Fault> {
        loop {
            match step(&self.producer) {
                Ok(()) => return Ok(()),
                Err(error) if self.shared.is_abandoned() => return Err(Fault::fatal(error)),
                Err(error) if is_retriable(&error) => tracing::warn!(%error, "a transaction takes its time; going on"),
                Err(error) => return Err(Fault::of(error)),
            }
        }
    }
}

/// Sent again, it would be refused again.
pub fn is_denied(error: &KafkaError) -> bool {
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

/// Another has its name, or its transaction was open for too long.
fn is_fenced(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fenced)
}

fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable() && !error.txn_requires_abort() && !error.is_fatal(),
        // `commit_transaction` flushes first, and says so when that takes its time.
        KafkaError::Flush(code) => *code == RDKafkaErrorCode::OperationTimedOut,
        _ => false,
    }
}

// === impl Fault ===

impl Fault {
    pub fn abort(error: KafkaError) -> Self {
        Self { error, aborts: true, open: None, asked: None }
    }

    pub fn fatal(error: KafkaError) -> Self {
        Self { error, aborts: false, open: None, asked: None }
    }

    fn of(error: KafkaError) -> Self {
        match &error {
            KafkaError::Transaction(inner) if inner.txn_requires_abort() && !inner.is_fatal() => Self::abort(error),
            _ => Self::fatal(error),
        }
    }
}
