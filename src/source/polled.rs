//! How far a partition has been polled, which the records that came do not always tell: markers of transactions never come.

use super::Head;
use crate::mutant::{self, Mutant};

/// What librdkafka's statistics said of a partition of which nothing waits to be polled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Polled {
    /// Statistics to be passed over: what was fetched before a pause is gone, and they do not know it yet.
    stale: u8,
    claim: Option<Claim>,
}

/// That what lies between the last record that came and `next` are markers.
#[derive(Clone, Copy, Debug)]
struct Claim {
    fetched: i64,
    next: i64,
    broker: i32,
    /// That its broker had been asked for when it was first made.
    fetches: i64,
}

/// Fetches after which a claim is believed. The first may have been on its way when the claim was made.
const FETCHES: i64 = 2;

// === impl Polled ===

impl Polled {
    /// So many statistics after a pause or its end may still speak of records that were fetched before: one on its way, and one
    /// taken before the fetcher had heard of it.
    pub const STALE: u8 = 2;

    /// Librdkafka was told to stop, or to go on.
    pub fn told() -> Self {
        Self { stale: Self::STALE, claim: None }
    }

    /// The offset below which nothing is left to be polled, as far as statistics go; `fetched` is that after the last record that came. None
    /// where they are of no use.
    ///
    /// While a group rebalances, librdkafka pauses partitions that stay, too, and throws away what was fetched of them. Until its fetcher
    /// hears of that, statistics show an empty queue, and behind it the offset as it was. So they are believed when they still
    /// say the same after more fetches: before each the fetcher looks at what it was told. The queue is one for all partitions, so a
    /// worker that always has something to poll hears of markers late.
    pub fn below(&mut self, head: &Head, fetched: i64) -> Option<i64> {
        let Head { next, queued, broker, fetches, .. } = *head;
        if self.stale > 0 || !head.fresh {
            *self = Self { stale: self.stale.saturating_sub(1), claim: None };
            return None;
        }
        if next <= fetched || queued > 0 {
            self.claim = None;
            return Some(fetched.min(next));
        }
        let is_same = |claim: &Claim| (claim.fetched, claim.next, claim.broker) == (fetched, next, broker);
        let claim = self.claim.filter(is_same).unwrap_or(Claim { fetched, next, broker, fetches });
        self.claim = Some(claim);
        let is_believed = fetches >= claim.fetches + FETCHES || mutant::is(Mutant::EmptyQueueIsPolled);
        Some(if is_believed { next } else { fetched })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn head(next: i64, queued: i64, fetches: i64) -> Head {
        let partition = ("spans".into(), 0);
        Head { partition, high: 100, next, queued, broker: 1, fetches, fresh: true, at: Instant::now() }
    }

    #[test]
    fn markers_are_believed_after_two_fetches() {
        let mut polled = Polled::default();
        assert_eq!(polled.below(&head(100, 0, 7), 98), Some(98));
        assert_eq!(polled.below(&head(100, 0, 8), 98), Some(98));
        assert_eq!(polled.below(&head(100, 0, 9), 98), Some(100));
        // It goes on, and that is another claim.
        assert_eq!(polled.below(&head(103, 0, 12), 98), Some(98));
        assert_eq!(polled.below(&head(103, 0, 12), 103), Some(103), "what came needs no word on it");
    }

    #[test]
    fn what_is_said_soon_after_a_pause_is_passed_over() {
        let mut polled = Polled::told();
        assert_eq!(polled.below(&head(100, 0, 7), 100), None);
        assert_eq!(polled.below(&head(100, 0, 9), 100), None);
        assert_eq!(polled.below(&head(100, 0, 11), 100), Some(100));
        assert_eq!(polled.below(&Head { fresh: false, ..head(100, 0, 13) }, 100), None, "its broker is silent");
        assert_eq!(polled.below(&head(100, 0, 13), 100), Some(100));
    }

    #[test]
    fn what_was_thrown_away_is_not_taken_for_markers() {
        let mut polled = Polled::default();
        assert_eq!(polled.below(&head(100, 0, 7), 40), Some(40), "the fetcher has not heard of it");
        assert_eq!(polled.below(&head(40, 0, 8), 40), Some(40), "it begins anew");
        assert_eq!(polled.below(&head(30, 0, 8), 40), Some(30), "statistics are of before");
        assert_eq!(polled.below(&head(100, 60, 9), 40), Some(40));
        assert_eq!(polled.below(&head(100, 0, 10), 41), Some(41), "it is thrown away again");
        assert_eq!(polled.below(&head(100, 3, 12), 41), Some(41));
        assert_eq!(polled.below(&head(100, 0, 14), 99), Some(99));
        let elsewhere = Head { broker: 2, fetches: 90, ..head(100, 0, 0) };
        assert_eq!(polled.below(&elsewhere, 99), Some(99), "another broker was asked more often");
    }
}
