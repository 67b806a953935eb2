//! A ceiling over what is kept, a second: the rule of `rate` and of `budget`.

use super::{
    Malformed,
    account::Account,
    budget,
    keys::Holder,
    known::{Division, Known, Remembers},
    share::{Said, Share, Shares, Split, fairly},
};
use crate::model::RecordTime;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceiling {
    pub per_second: f64,
    /// What a key may have of that at most.
    pub each: Option<f64>,
    /// Seconds of its share that a partition's bucket holds.
    pub burst: f64,
    pub between: Between,
}

/// Who shares what is below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// Fairly.
    Keys,
    /// One after the other.
    Classes,
}

/// Seconds that a bucket holds unless the policy says otherwise: with less, the share of a small partition is soon below what
/// one trace costs.
pub const BURST: f64 = 5.0;

/// A partition of which nothing was asked for so many milliseconds says so to the others.
const SILENT: u64 = 3_000;

// === impl Ceiling ===

impl Ceiling {
    /// Between keys.
    pub fn rate(per_second: f64, burst: f64) -> Self {
        Self { per_second, each: None, burst, between: Between::Keys }
    }

    /// Between classes.
    pub fn budget(per_second: f64, burst: f64) -> Self {
        Self { per_second, each: None, burst, between: Between::Classes }
    }

    /// What was spent and may be spent in a partition, for the batch that closes at `now`: `close` does, and the others are told.
    pub fn close<T>(
        &self,
        (partition, now): (u32, RecordTime),
        known: &mut Known<Self>,
        division: Division,
        close: impl FnOnce(&Self, &mut Account, RecordTime, &Share) -> T,
    ) -> T {
        known.others.aim(self.per_second, self.each, division.partitions as usize);
        let share = known.others.of(partition as usize, now, self.split());
        let account = known.table(partition, self, now);
        let closed = close(self, account, now, &share);
        // Nobody knows more of this partition than the others do.
        if let Some(summary) = account.summary() {
            known.others.hear(partition as usize, summary);
        }
        closed
    }

    pub fn split(&self) -> Split {
        match self.between {
            Between::Keys => fairly,
            Between::Classes => budget::by_class,
        }
    }
}

impl Remembers for Ceiling {
    type State = Account;
    type Table = Account;
    type Others = Shares;

    fn table(&self, _: RecordTime) -> Account {
        Account::default()
    }

    fn put(account: &mut Account, _: Holder, state: Account) {
        *account = state;
    }

    fn read(&self, value: &[u8]) -> Result<Account, Malformed> {
        Account::from_bytes(value)
    }

    fn time(&self, account: &Account) -> RecordTime {
        account.at().unwrap_or(RecordTime(0))
    }

    fn is_past(&self, _: &Account, _: RecordTime) -> bool {
        false
    }

    /// A partition that asks for nothing says so: of one that says nothing the others do not know that they may have its part.
    fn rest(&self, partition: u32, now: RecordTime, known: &mut Known<Self>, division: Division) {
        let at = known.find(partition).and_then(Account::at);
        if at.is_none_or(|at| now.since(at) >= SILENT) {
            self.close((partition, now), known, division, |rule, account, now, share| {
                account.open(now, share, rule.burst, &[]);
            });
        }
    }
}
