//! What samplers of other workers have learned, once a second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Worker, io::Io};
use crate::{
    sample::Written,
    source::{Board, Learned, Partition},
};

/// What a worker has heard of the others.
pub struct Hearing {
    /// None where a worker is to go by what it sees itself.
    board: Option<Arc<Board>>,
    /// Where on the board it goes on.
    next: u64,
    last: Instant,
    /// All partitions of the input, each of which has its place as its number.
    partitions: Vec<Partition>,
}

/// Workers write each 200 ms, and what they have learned in a second changes a window of minutes by little.
const EVERY: Duration = Duration::from_secs(1);

// === impl Hearing ===

impl Hearing {
    pub fn new(board: Option<Arc<Board>>, partitions: Vec<Partition>, now: Instant) -> Self {
        Self { board, next: 0, last: now, partitions }
    }

    /// By what number a partition is known while it is another worker's.
    pub fn number(&self, partition: &Partition) -> Option<u32> {
        self.partitions.binary_search(partition).ok().map(|at| at as u32)
    }

    /// A partition is another worker's now: what is on the board of it is news.
    pub fn begin_anew(&mut self) {
        self.next = 0;
    }
}

impl<I: Io> Worker<I> {
    pub(super) fn hear(&mut self) {
        let Some(board) = self.hearing.board.clone() else { return };
        if self.since(self.hearing.last) < EVERY {
            return;
        }
        self.hearing.last = self.io.now();
        let (first, mut others) = (self.hearing.next == 0, Vec::new());
        for Learned { partition, name, value } in board.since(&mut self.hearing.next) {
            // What is ours we know better.
            if self.owned.find(&partition.0, partition.1).is_none()
                && let Some(number) = self.hearing.number(&partition)
            {
                others.push(Written { partition: number, name, value });
            }
        }
        if others.is_empty() {
            return;
        }
        if first {
            tracing::info!("{} states of samplers are known of other workers", others.len());
        }
        if let Err(error) = self.engine.hear(others.iter()) {
            tracing::warn!(%error, "some of what samplers of other workers have learned cannot be read");
        }
    }
}
