//! What samplers of other workers have learned, once a second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Worker, io::Io};
use crate::source::Board;

/// What a worker has heard of the others.
pub struct Hearing {
    /// None where a worker is to go by what it sees itself.
    board: Option<Arc<Board>>,
    /// Where on the board it goes on.
    next: u64,
    last: Instant,
    /// Said that there are others: whatever comes first on the board may be all our own.
    said: bool,
}

/// Workers write with each tick, and what they have learned in a second changes a window of minutes by little.
const EVERY: Duration = Duration::from_secs(1);

// === impl Hearing ===

impl Hearing {
    pub fn new(board: Option<Arc<Board>>, now: Instant) -> Self {
        Self { board, next: 0, last: now, said: false }
    }

    /// A partition is another worker's now: what is on the board of it is news.
    pub fn begin_anew(&mut self) {
        (self.next, self.said) = (0, false);
    }
}

impl<I: Io> Worker<I> {
    pub(super) fn hear(&mut self) {
        let Some(board) = self.hearing.board.clone() else { return };
        if self.since(self.hearing.last) < EVERY {
            return;
        }
        self.hearing.last = self.io.now();
        let mut others = Vec::new();
        for learned in board.since(&mut self.hearing.next) {
            let of = &learned.partition;
            // What is ours we know better.
            if self.owned.find(&of.0, of.1).is_none()
                && let Some(rank) = self.orders.rank(of)
            {
                others.push(learned.called(rank));
            }
        }
        if others.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.hearing.said, true) {
            tracing::info!("{} states of samplers are known of other workers", others.len());
        }
        if let Err(error) = self.engine.hear(others.into_iter()) {
            tracing::warn!(%error, "some of what samplers of other workers have learned cannot be read");
        }
    }
}
