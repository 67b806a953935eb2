//! What each key may have for itself, below what all have together.

use super::{
    Malformed,
    account::Funds,
    bucket::Bucket,
    demand::Keys,
    pack::{Reader, VALUE, Writer},
};
use crate::model::RecordTime;

/// A bucket for each key that came lately. One that is not here begins with a second of what flows in, and so does one that was let go.
#[derive(Clone, Debug, Default)]
pub struct Allowances {
    buckets: Keys<Bucket>,
}

/// So many keys have a bucket at most; beyond, the half that has most left is let go: it loses what it has saved up, and never what it owes.
const FOLLOWED: usize = 2048;

/// Of so many, what they owe is written.
const LISTED: usize = 128;

// === impl Allowances ===

impl Allowances {
    /// For the batch that closes at `now`: what a key may have of it, where so much flows in for it, and its bucket holds so many seconds of that.
    pub fn open(&mut self, key: u64, now: RecordTime, per_second: f64, burst: f64) -> Funds {
        Funds::of(self.buckets.entry(key).or_default(), now, per_second, burst).1
    }

    pub fn spend(&mut self, key: u64, cost: f64) {
        if let Some(bucket) = self.buckets.get_mut(&key) {
            bucket.take(cost);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// At the end of a batch.
    pub fn trim(&mut self) {
        if self.buckets.len() > FOLLOWED {
            let bound = self.least(FOLLOWED / 2).1;
            self.buckets.retain(|key, bucket| (bucket.tokens(), *key) < bound);
            self.buckets.shrink_to(FOLLOWED);
        }
    }

    /// Those that have least left, so many, and the first that is none of them.
    fn least(&self, count: usize) -> (Vec<(f64, u64)>, (f64, u64)) {
        let mut all: Vec<(f64, u64)> = self.buckets.iter().map(|(key, bucket)| (bucket.tokens(), *key)).collect();
        if all.len() <= count {
            return (all, (f64::INFINITY, 0));
        }
        let (_, &mut bound, _) = all.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all.truncate(count);
        (all, bound)
    }

    /// Nothing is written where no key has a bucket. What was saved up is lost in a restart.
    pub fn save(&self, into: &mut Writer) {
        if self.is_empty() {
            return;
        }
        let (mut least, _) = self.least(LISTED);
        least.sort_unstable_by_key(|(_, key)| *key);
        into.number(least.len() as u64);
        for (tokens, key) in least {
            into.key(key);
            into.short((-tokens).max(0.0));
        }
    }

    /// As of this time.
    pub fn load(from: &mut Reader<'_>, at: RecordTime) -> Result<Self, Malformed> {
        if from.is_empty() {
            return Ok(Self::default());
        }
        let count = Some(from.count(LISTED)?).filter(|count| *count > 0).ok_or(VALUE)?;
        let one = |_| Ok((from.key()?, Bucket::owing(from.short()?, at)));
        Ok(Self { buckets: (0..count).map(one).collect::<Result<_, Malformed>>()? })
    }

    pub fn bytes(&self) -> usize {
        self.buckets.allocation_size()
    }
}
