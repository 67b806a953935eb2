//! What a partition may spend of its share of a goal, and what it was asked for.

use super::{
    Malformed,
    allowances::Allowances,
    bucket::Bucket,
    demand::Demand,
    keys::Holder,
    known::{State, Table, Written},
    pack::{Reader, Writer},
    share::{Said, Share, Summary},
};
use crate::model::RecordTime;

#[derive(Clone, Debug, Default)]
pub struct Account {
    bucket: Bucket,
    demand: Demand,
    /// Of keys, where each has a ceiling of its own.
    pub allowances: Allowances,
    /// It is to be written.
    changed: bool,
}

/// What may be spent on a batch.
#[derive(Clone, Copy, Debug)]
pub struct Funds {
    pub capacity: f64,
    pub full: bool,
    /// A second of what there is. Where the bucket is empty, what has flowed in since the batch before, and less the more it owes: a part
    /// of it may be spent all the same, so that nothing is without a chance, and what is owed is paid by the rest.
    pub flow: f64,
    /// What may be held back of it: half of what the bucket holds, but there is always room
    /// for what flows in within a second. Without it
    /// what gives way would use up each second what is to meet the bursts of what does not.
    pub reserve: f64,
}

/// Of what flows in, what may be spent though the bucket owes as much and more.
const OWING: f64 = 0.5;

/// Whose it is.
const ALL: Holder = Holder::Group(0);

// === impl Account ===

impl Account {
    /// Bytes of one that is written, at most.
    pub const WRITTEN: usize = 3_200;

    /// For the batch that closes at `now` and asks for this, each key once. The bucket holds so many seconds of the share.
    pub fn open(&mut self, now: RecordTime, share: &Share, burst: f64, asked: &[(u64, f64)]) -> Funds {
        self.changed = true;
        let (passed, funds) = Funds::of(&mut self.bucket, now, share.per_second, burst);
        self.demand.learn(passed, burst, asked);
        funds
    }

    pub fn spend(&mut self, cost: f64) {
        self.bucket.take(cost);
    }

    /// When its last batch closed.
    pub fn at(&self) -> Option<RecordTime> {
        self.bucket.at()
    }

    /// # Errors
    /// The bytes are not a state of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes)?;
        let bucket = Bucket::load(&mut from)?;
        let (demand, allowances) = match bucket.at() {
            Some(at) => (Demand::restore(&Summary::load(&mut from)?), Allowances::load(&mut from, at)?),
            None => Default::default(),
        };
        from.end()?;
        Ok(Self { bucket, demand, allowances, changed: false })
    }
}

// === impl Funds ===

impl Funds {
    /// What a bucket holds at `now`, into which so much flows and which holds so many seconds of it. And the milliseconds that passed.
    pub fn of(bucket: &mut Bucket, now: RecordTime, per_second: f64, burst: f64) -> (u64, Self) {
        let depth = burst * per_second;
        let passed = bucket.fill(now, per_second, depth);
        let capacity = bucket.tokens();
        let owing = (per_second * passed as f64 / 1000.0).min(depth) * patience(capacity, depth);
        let flow = owing.max(capacity.min(per_second));
        let reserve = (burst / 2.0).min(burst - 1.0).max(0.0) * per_second;
        (passed, Self { capacity: capacity.max(0.0), full: capacity > 0.0 && capacity >= depth, flow, reserve })
    }

    /// As much as may be spent though the bucket owe something.
    pub fn or_owing(self) -> Self {
        Self { capacity: self.capacity.max(OWING * self.flow), ..self }
    }
}

/// None before the first batch.
impl Said for Account {
    fn summary(&self) -> Option<Summary> {
        self.bucket.at().map(|at| self.demand.summary(at))
    }
}

impl Written for Account {
    /// [`Account::WRITTEN`] at most.
    fn to_bytes(&self) -> Vec<u8> {
        let mut into = Writer::new();
        self.bucket.save(&mut into);
        if let Some(summary) = self.summary() {
            summary.save(&mut into);
            self.allowances.save(&mut into);
        }
        into.bytes()
    }
}

impl State for Account {
    fn bytes(&self) -> usize {
        self.demand.bytes() + self.allowances.bytes()
    }
}

impl Table for Account {
    fn write(&mut self, write: &mut dyn FnMut(Holder, &dyn Written) -> bool) {
        if self.changed && write(ALL, self) {
            self.changed = false;
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + State::bytes(self)
    }
}

/// Where randomness is not even, as behind somebody who samples by it, too, more is kept by chance than is meant, again and again.
/// The more is owed the less is meant, until what comes out is what flows in.
fn patience(tokens: f64, depth: f64) -> f64 {
    if tokens < 0.0 && depth > 0.0 { (1.0 - tokens / depth).powi(-2) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(batches in vec(vec((any::<u64>(), 0.0..1e9_f64), 0..200), 0..4)) {
            let mut account = Account::default();
            for (second, batch) in batches.iter().enumerate() {
                let now = RecordTime(second as i64 * 1000);
                account.open(now, &Share::whole(100.0), 5.0, batch);
                for &(key, cost) in batch {
                    account.allowances.open(key, now, 10.0, 5.0);
                    account.allowances.spend(key, cost);
                }
                account.allowances.trim();
            }
            let bytes = account.to_bytes();
            prop_assert!(bytes.len() <= Account::WRITTEN, "{}", bytes.len());
            let read = Account::from_bytes(&bytes).unwrap();
            prop_assert_eq!(read.bucket, account.bucket);
            // What is restored goes on as it was, but for the digits that are not written.
            if let (Some(read), Some(own)) = (read.summary(), account.summary()) {
                let sum = |summary: &Summary| summary.rest + summary.keys.iter().map(|(_, rate)| rate).sum::<f64>();
                prop_assert!((sum(&read) - sum(&own)).abs() <= 1e-5 * sum(&own));
                prop_assert_eq!(read.keys.len(), own.keys.len());
            }
            // Every beginning, and every addition, is noticed, but for that of before keys had ceilings.
            let beginnings = (0..bytes.len()).filter_map(|end| Account::from_bytes(&bytes[..end]).ok());
            let without = beginnings.map(|read| read.allowances.is_empty()).collect::<Vec<_>>();
            prop_assert_eq!(without, vec![true; usize::from(!account.allowances.is_empty())]);
            prop_assert!(Account::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        }

        #[test]
        fn nothing_panics(bytes in vec(any::<u8>(), 0..80), version in 0..3_u8) {
            _ = Account::from_bytes(&bytes);
            _ = Account::from_bytes(&[&[version, 1], &bytes[..]].concat());
            _ = Summary::from_bytes(&[&[version, 1], &bytes[..]].concat());
        }
    }
}
