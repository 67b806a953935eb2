//! A token bucket in record time.

use super::{
    Malformed,
    pack::{Reader, Writer},
};
use crate::model::RecordTime;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bucket {
    /// Below 0 after something that cost more than there was.
    tokens: f64,
    /// None: of a partition of which nothing is known.
    at: Option<RecordTime>,
}

/// What is filled in at first, in milliseconds of the rate: no burst. A partition of which nothing is known asks for less than
/// it may have had, never for more (protocol, §8).
const FIRST: u64 = 1000;

// === impl Bucket ===

impl Bucket {
    pub fn owing(owed: f64, at: RecordTime) -> Self {
        Self { tokens: -owed, at: Some(at) }
    }

    /// What has flowed in since, and no more than fits. Time that goes back brings nothing. Returns the milliseconds that passed.
    pub fn fill(&mut self, now: RecordTime, per_second: f64, depth: f64) -> u64 {
        let passed = self.at.map_or(FIRST, |at| now.since(at));
        self.tokens = (self.tokens + per_second * passed as f64 / 1000.0).min(depth);
        self.at = self.at.max(Some(now));
        passed
    }

    pub fn take(&mut self, cost: f64) {
        self.tokens -= cost;
    }

    pub fn tokens(&self) -> f64 {
        self.tokens
    }

    pub fn at(&self) -> Option<RecordTime> {
        self.at
    }

    pub fn save(&self, into: &mut Writer) {
        into.time(self.at);
        into.float(self.tokens);
    }

    pub fn load(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { at: from.time()?, tokens: from.float()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_no_more_than_fits_however_time_goes() {
        let mut bucket = Bucket::default();
        // Nothing is known: a second's worth, though the bucket would hold five.
        bucket.fill(RecordTime(1_000_000), 10.0, 50.0);
        assert_eq!(bucket.tokens(), 10.0);
        bucket.take(10.0);
        bucket.fill(RecordTime(1_000_000), 10.0, 50.0);
        assert_eq!(bucket.tokens(), 0.0, "time stands still");
        bucket.fill(RecordTime(1_002_500), 10.0, 50.0);
        assert_eq!(bucket.tokens(), 25.0);
        bucket.fill(RecordTime(999_000), 10.0, 50.0);
        bucket.fill(RecordTime(1_002_500), 10.0, 50.0);
        assert_eq!(bucket.tokens(), 25.0, "time goes back and comes again");
        bucket.fill(RecordTime(i64::MAX), 10.0, 50.0);
        assert_eq!(bucket.tokens(), 50.0, "time leaps");
        bucket.fill(RecordTime(i64::MAX), 10.0, 20.0);
        assert_eq!(bucket.tokens(), 20.0, "what no longer fits is gone");
    }
}
