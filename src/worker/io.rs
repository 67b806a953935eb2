//! What a worker does to the world outside, and what it learns of it.
//!
//! Kafka is one world, a simulation of it the other: the worker that is proved is the one that runs. A dry run does nothing to
//! it (`dry_run.rs`).

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use rdkafka::{
    error::KafkaResult,
    message::{BorrowedMessage, Message},
};

use super::{Orders, STATISTICS};
use crate::{
    config::{Config, Delivery},
    forward::{Delivered, Forward, Parcel, Route},
    model::RecordTime,
    source::{Beginning, Event, Memory, NoBeginning, Partition, Refusal, Restore, Source, Wanted},
};

/// The calls that wait say for how long; the others return at once, or as fast as one request to a broker.
pub trait Io {
    type Record<'a>: Message
    where
        Self: 'a;
    /// What was decided and learned, on its way out of the logs.
    type Restore;

    fn now(&self) -> Instant;
    fn wall_clock(&self) -> RecordTime;

    /// The next record, if one comes in time. Events collect meanwhile.
    fn poll(&self, wait: Duration) -> Option<KafkaResult<Self::Record<'_>>>;
    fn next_event(&self) -> Option<Event>;
    /// Where newly assigned partitions are to be read from.
    ///
    /// # Errors
    /// The brokers do not say in time, or what they say is not for us.
    fn beginnings(&self, partitions: &[Partition]) -> Result<Vec<(Partition, Beginning)>, NoBeginning>;
    /// What the brokers refuse, right after a poll that failed on it.
    fn refusal(&self) -> Option<Refusal>;
    /// Completes an assignment that was announced by [`Event::Assigned`].
    fn assign(&self, beginnings: &[(Partition, Beginning)]) -> KafkaResult<()>;
    /// Completes a revocation that was announced by [`Event::Revoked`].
    fn unassign(&self, partitions: &[Partition]) -> KafkaResult<()>;
    /// Whether the revoked partitions are already someone else's.
    fn lost(&self) -> bool;
    fn pause(&self, partitions: &[Partition]) -> KafkaResult<()>;
    fn resume(&self, partitions: &[Partition]) -> KafkaResult<()>;

    /// Begins to read back what was decided and learned, which may take `max_bytes`.
    ///
    /// # Errors
    /// It cannot be begun.
    fn restore(&self, wanted: Vec<Wanted>, names: Arc<[String]>, max_bytes: usize) -> anyhow::Result<Self::Restore>;
    /// All of it, once it is there.
    ///
    /// # Errors
    /// It is not to be had, and why.
    fn restored(&self, restore: &mut Self::Restore, wait: Duration) -> anyhow::Result<Option<Memory>>;

    /// Sends a tick as the member of the group that the worker is now; the one before is done.
    ///
    /// # Errors
    /// Nothing is forwarded any more.
    fn send(&mut self, parcel: Parcel) -> anyhow::Result<()>;
    /// The tick that was out, if it came to its end in time.
    ///
    /// # Errors
    /// The producer is beyond repair, or another worker has its name.
    fn sent(&mut self, wait: Duration) -> anyhow::Result<Option<Delivered>>;
    /// Whether a tick is out.
    fn is_sending(&self) -> bool;
    /// Whether nothing is out, or all of it is acknowledged and only its commit is not.
    fn is_acknowledged(&self) -> bool;
    /// For how long a transaction has been in calls that may never return.
    fn committing(&self) -> Option<Duration>;
    /// A partition was taken away: of what is out, its watermark is not committed any more.
    fn disown(&mut self, partition: &Partition);
}

/// The world that is there.
pub struct Kafka {
    source: Source,
    forward: Forward,
    config: Arc<Config>,
    accept_expired: bool,
}

// === impl Kafka ===

impl Kafka {
    /// # Errors
    /// Kafka properties that librdkafka refuses.
    pub fn new(orders: &Orders) -> anyhow::Result<Self> {
        let config = orders.config.clone();
        let instance = (orders.workers > 1).then_some(orders.number);
        let source = Source::new(&config, STATISTICS, instance).context("the consumer's configuration")?;
        let route =
            Route { topic: config.output.name.clone(), partitions: None, record_bytes: orders.output_record_bytes };
        let forward = Forward::new(&config, &orders.transactional_id, route, source.committer())
            .context("the producer's configuration")?;
        Ok(Self { source, forward, config, accept_expired: orders.accept_expired })
    }
}

impl Io for Kafka {
    type Record<'a> = BorrowedMessage<'a>;
    type Restore = Restore;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall_clock(&self) -> RecordTime {
        wall_clock()
    }

    fn poll(&self, wait: Duration) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        self.source.poll(wait)
    }

    fn next_event(&self) -> Option<Event> {
        self.source.next_event()
    }

    fn beginnings(&self, partitions: &[Partition]) -> Result<Vec<(Partition, Beginning)>, NoBeginning> {
        self.source.beginnings(partitions, self.accept_expired)
    }

    fn refusal(&self) -> Option<Refusal> {
        self.source.refusal()
    }

    fn assign(&self, beginnings: &[(Partition, Beginning)]) -> KafkaResult<()> {
        self.source.assign(beginnings)
    }

    fn unassign(&self, partitions: &[Partition]) -> KafkaResult<()> {
        self.source.unassign(partitions)
    }

    fn lost(&self) -> bool {
        self.source.lost()
    }

    fn pause(&self, partitions: &[Partition]) -> KafkaResult<()> {
        self.source.pause(partitions)
    }

    fn resume(&self, partitions: &[Partition]) -> KafkaResult<()> {
        self.source.resume(partitions)
    }

    fn restore(&self, wanted: Vec<Wanted>, names: Arc<[String]>, max_bytes: usize) -> anyhow::Result<Restore> {
        tracing::info!(partitions = wanted.len(), "reading back what was decided");
        // A plain producer's decisions may be ahead of the offsets.
        let to_end = self.config.delivery == Delivery::AtLeastOnce;
        Restore::new(&self.config, wanted, names, to_end, max_bytes)
    }

    fn restored(&self, restore: &mut Restore, wait: Duration) -> anyhow::Result<Option<Memory>> {
        restore.poll(wait)
    }

    fn send(&mut self, mut parcel: Parcel) -> anyhow::Result<()> {
        parcel.membership = self.source.membership();
        self.forward.begin(parcel)
    }

    fn sent(&mut self, wait: Duration) -> anyhow::Result<Option<Delivered>> {
        self.forward.progress(wait)
    }

    fn is_sending(&self) -> bool {
        self.forward.is_busy()
    }

    fn is_acknowledged(&self) -> bool {
        self.forward.is_acknowledged()
    }

    fn committing(&self) -> Option<Duration> {
        self.forward.committing()
    }

    fn disown(&mut self, partition: &Partition) {
        self.forward.forget(partition);
    }
}

pub fn wall_clock() -> RecordTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    RecordTime(now.as_millis() as i64)
}
