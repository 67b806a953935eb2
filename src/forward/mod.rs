//! Ticks out to Kafka, on a thread of their own: ingest goes on while one is out.
//!
//! A tick's kept traces go to the output topic, its bad input to the dead letters, its decisions to the decision log, and its
//! watermarks to the group. With exactly-once delivery all of it is one transaction. A transaction takes some 200 ms, and
//! librdkafka answers a plain commit only to somebody who waits for it, so it is this thread that waits and not the worker's.

pub mod contents;
mod deliveries;
mod piece;
mod retry;
mod sender;
mod transactions;

pub use piece::{FRAMING, Route};
pub use retry::{Retry, watch};

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::bail;
use rdkafka::{consumer::ConsumerGroupMetadata, error::KafkaError};

use crate::{
    config::Config,
    model::RecordTime,
    source::{Committer, Metadata, Partition},
    tick::{Logged, Tick},
};
use sender::Sender;

/// A worker's way out: one tick at a time.
pub struct Forward {
    /// None when it is over.
    parcels: Option<SyncSender<Parcel>>,
    delivered: Receiver<anyhow::Result<Delivered>>,
    busy: bool,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A tick as it was cut, and what belongs to that moment.
pub struct Parcel {
    pub tick: Tick,
    /// What its partitions are called.
    pub names: Vec<Name>,
    /// What the group has committed of its partitions: where there is no word of a transaction's end, what tells that it was
    /// aborted; with at-least-once delivery, what is sent along to learn whether they are still ours before anything goes out.
    pub standing: Vec<(Partition, i64, Metadata)>,
    /// The wall clock when it was cut.
    pub wall: RecordTime,
    /// In which generation of the group they were ours. A later one with the same content would be another owner's word.
    pub membership: Option<ConsumerGroupMetadata>,
}

/// What a partition is called in the world outside.
#[derive(Debug)]
pub struct Name {
    /// Its number in the tick.
    pub at: u32,
    pub partition: Partition,
    /// As [`Metadata::began_with`] has it.
    pub began_with: i32,
}

/// A tick that has come to an end.
pub struct Delivered {
    pub parcel: Parcel,
    /// Where its decisions stand.
    pub logged: Vec<Logged>,
    /// What was committed.
    pub commits: Vec<(Partition, i64, Metadata)>,
    pub outcome: Outcome,
    /// Partitions taken away since it was cut.
    pub revoked: HashSet<Partition>,
}

/// What came of a tick.
pub enum Outcome {
    /// All of it is out and committed.
    Committed,
    /// All of it is out; its watermarks are not committed.
    Uncommitted(KafkaError),
    /// Nothing of it is out.
    Aborted(KafkaError),
}

#[derive(Default)]
struct Shared {
    /// Nobody waits for what is out.
    abandoned: AtomicBool,
    /// Every record of what is out, which leaves a commit that may be done without.
    acknowledged: AtomicBool,
    /// Since when a transaction's offsets are being sent, it is being committed, or it is found out what became of it: calls that
    /// may never return.
    committing: Mutex<Option<Instant>>,
    /// Partitions taken away since the tick went out: their watermarks are no longer ours to commit.
    revoked: Mutex<HashSet<Partition>>,
}

// === impl Forward ===

impl Forward {
    /// No broker is contacted before the first record.
    ///
    /// # Errors
    /// A property librdkafka does not know or refuses; no thread to be had.
    pub fn new(
        config: &Arc<Config>,
        transactional_id: &str,
        route: Route,
        committer: Committer,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut sender = Sender::new(config, transactional_id, route, committer, shared.clone())?;
        let (parcels, next) = sync_channel::<Parcel>(1);
        let (done, delivered) = sync_channel(1);
        let thread = thread::Builder::new().name("forward".to_owned()).spawn(move || {
            if let Err(error) = sender.begin() {
                _ = done.send(Err(sender.reason(error)));
                return;
            }
            // Either end hangs up when the worker is gone.
            while let Ok(parcel) = next.recv() {
                let delivered = sender.deliver(parcel).map_err(|error| sender.reason(error));
                if done.send(delivered).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { parcels: Some(parcels), delivered, busy: false, shared, thread: Some(thread) })
    }

    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Whether nothing is out, or all of it is acknowledged and only its commit is not.
    pub fn is_acknowledged(&self) -> bool {
        !self.busy || self.shared.acknowledged.load(Ordering::Acquire)
    }

    /// For how long a transaction has been in calls that may never return.
    pub fn committing(&self) -> Option<Duration> {
        self.shared.committing.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since.elapsed())
    }

    /// Sends a tick; the one before is done.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn begin(&mut self, parcel: Parcel) -> anyhow::Result<()> {
        debug_assert!(!self.busy);
        self.shared.revoked().clear();
        self.shared.acknowledged.store(false, Ordering::Release);
        self.busy = true;
        let Some(parcels) = &self.parcels else { bail!("nothing is forwarded any more") };
        if parcels.send(parcel).is_err() {
            bail!("the thread that forwards has ended");
        }
        Ok(())
    }

    /// The tick that was out, if all of it is acknowledged in time; without the watermarks of partitions taken away since.
    ///
    /// # Errors
    /// The producer is beyond repair, or another worker has its name.
    pub fn progress(&mut self, wait: Duration) -> anyhow::Result<Option<Delivered>> {
        let wait = if self.busy { wait } else { Duration::ZERO };
        match self.delivered.recv_timeout(wait) {
            Ok(delivered) => {
                self.busy = false;
                let mut delivered = delivered?;
                self.shared.disown(&mut delivered.parcel);
                delivered.revoked.clone_from(&self.shared.revoked());
                Ok(Some(delivered))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the thread that forwards has ended"),
        }
    }

    /// A partition was taken away: what is out goes on, but its watermark is not committed any more.
    pub fn forget(&mut self, partition: &Partition) {
        self.shared.revoked().insert(partition.clone());
    }
}

impl Drop for Forward {
    /// A thread with nothing to do ends at once, and with it the last hold on the consumer; one that waits for a broker is
    /// left behind.
    fn drop(&mut self) {
        self.shared.abandoned.store(true, Ordering::Release);
        self.parcels = None;
        if !self.busy
            && let Some(thread) = self.thread.take()
        {
            _ = thread.join();
        }
    }
}

// === impl Parcel ===

impl Parcel {
    /// What a partition of the tick is called.
    pub fn name(&self, partition: u32) -> Option<&Partition> {
        name(&self.names, partition).map(|name| &name.partition)
    }
}

fn name(names: &[Name], partition: u32) -> Option<&Name> {
    names.iter().find(|name| name.at == partition)
}

// === impl Shared ===

impl Shared {
    fn revoked(&self) -> std::sync::MutexGuard<'_, HashSet<Partition>> {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the watermarks of revoked partitions out of a tick.
    fn disown(&self, parcel: &mut Parcel) {
        let revoked = self.revoked();
        let ours = |partition| name(&parcel.names, partition).is_some_and(|name| !revoked.contains(&name.partition));
        parcel.tick.watermarks.retain(|watermark| ours(watermark.partition));
        parcel.standing.retain(|(partition, ..)| !revoked.contains(partition));
    }

    fn committing(&self, committing: bool) {
        *self.committing.lock().unwrap_or_else(PoisonError::into_inner) = committing.then(Instant::now);
    }

    fn acknowledge(&self) {
        self.acknowledged.store(true, Ordering::Release);
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}
