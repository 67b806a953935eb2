//! A worker that does nothing to the world: it reads, and what it sends is acknowledged at once.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use rdkafka::{error::KafkaResult, message::BorrowedMessage};

use super::{
    Orders, STATISTICS,
    io::{Io, wall_clock},
};
use crate::{
    forward::{Delivered, Outcome, Parcel},
    model::RecordTime,
    source::{Beginning, Board, Event, Memory, NoBeginning, Partition, Refusal, Source, Wanted},
};

/// The brokers as a reader sees them. Nothing is restored: no life before has left anything.
pub struct DryRun {
    source: Source,
    accept_expired: bool,
    /// Where the workers of this process tell each other what they learn.
    board: Option<Arc<Board>>,
    /// The tick that is out.
    parcel: Option<Parcel>,
}

// === impl DryRun ===

impl DryRun {
    /// Reads its share of the `partitions` of the input: the same number of each topic goes to the same worker, as their traces
    /// may do.
    ///
    /// # Errors
    /// Kafka properties that librdkafka refuses.
    pub fn new(orders: &Orders, partitions: &[Partition]) -> anyhow::Result<Self> {
        let is_mine = |(_, partition): &&Partition| *partition as usize % orders.workers == orders.number;
        let mine = partitions.iter().filter(is_mine).cloned().collect();
        let source = Source::standalone(&orders.config, STATISTICS, mine).context("the consumer's configuration")?;
        Ok(Self { source, accept_expired: orders.accept_expired, board: orders.board.clone(), parcel: None })
    }
}

impl Io for DryRun {
    type Record<'a> = BorrowedMessage<'a>;
    type Restore = ();

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
        false
    }

    fn pause(&self, partitions: &[Partition]) -> KafkaResult<()> {
        self.source.pause(partitions)
    }

    fn resume(&self, partitions: &[Partition]) -> KafkaResult<()> {
        self.source.resume(partitions)
    }

    fn restore(&self, _: Vec<Wanted>, _: Arc<[String]>, _: usize) -> anyhow::Result<()> {
        Ok(())
    }

    fn restored(&self, (): &mut (), _: Duration) -> anyhow::Result<Option<Memory>> {
        Ok(Some(Memory::default()))
    }

    fn send(&mut self, parcel: Parcel) -> anyhow::Result<()> {
        if let Some(board) = &self.board {
            for learned in &parcel.tick.states {
                if let Some(partition) = parcel.name(learned.partition) {
                    board.put(learned.clone().called(partition.clone()));
                }
            }
        }
        self.parcel = Some(parcel);
        Ok(())
    }

    fn sent(&mut self, _: Duration) -> anyhow::Result<Option<Delivered>> {
        let delivered = |parcel| Delivered {
            parcel,
            logged: Vec::new(),
            commits: Vec::new(),
            outcome: Outcome::Committed,
            revoked: HashSet::new(),
        };
        Ok(self.parcel.take().map(delivered))
    }

    fn is_sending(&self) -> bool {
        self.parcel.is_some()
    }

    fn is_acknowledged(&self) -> bool {
        true
    }

    fn committing(&self) -> Option<Duration> {
        None
    }

    /// Nobody takes partitions away.
    fn disown(&mut self, _: &Partition) {}
}
