//! What a worker knows by one sampler's rule.

use std::fmt::Debug;

use super::{Malformed, Measured, keys::Holder, slowest::Fate};
use crate::model::RecordTime;

/// Of its own partitions, and of those of others as far as it was heard of. Partitions are known by their places among all.
#[derive(Debug)]
pub struct Known<R: Remembers> {
    /// In the order of the partitions.
    pub own: Vec<(u32, R::Table)>,
    pub others: R::Others,
}

/// Among whom the input is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// All there are, and never 0.
    pub partitions: u32,
    /// About so many share them.
    pub workers: u32,
}

/// A rule that goes by what was.
pub trait Remembers: Debug + Sized {
    /// What a partition has learned of one holder.
    type State: State;
    /// What a partition has learned.
    type Table: Table;
    /// What was heard of others.
    type Others: Hears<Self::State>;

    fn table(&self, now: RecordTime) -> Self::Table;

    /// Takes the state of a life before. One for which there is no place is left out.
    fn put(table: &mut Self::Table, holder: Holder, state: Self::State);

    /// # Errors
    /// It was not written by this version.
    fn read(&self, value: &[u8]) -> Result<Self::State, Malformed>;

    /// A time at which a state had learned something, or shortly before.
    fn time(&self, state: &Self::State) -> RecordTime;

    /// Whether a state has nothing to say any more.
    fn is_past(&self, state: &Self::State, now: RecordTime) -> bool;

    /// A partition is another worker's now: what was learned of it here is what was heard of it.
    fn revoked(_partition: u32, _table: Self::Table, _others: &mut Self::Others) {}

    /// Time passes in a partition of the worker, though nothing may have come of late.
    fn rest(&self, _partition: u32, _now: RecordTime, _known: &mut Known<Self>, _division: Division) {}
}

/// One that judges a trace by itself, and learns of it.
pub trait Learns: Remembers {
    /// What came of a time that is over.
    type Over;

    /// With what probability a trace of one of the worker's partitions is to be kept.
    fn probability(&self, measured: Measured, known: &Known<Self>, division: Division) -> f64;

    /// Learns of one.
    fn learn(&self, measured: Measured, fate: Fate, known: &mut Known<Self>, division: Division) -> Self::Over;
}

pub trait State: Clone + Debug + Written {
    /// Beside its own size.
    fn bytes(&self) -> usize;
}

/// What can be written.
pub trait Written {
    fn to_bytes(&self) -> Vec<u8>;
}

pub trait Table: Debug {
    /// Writes states that have learned something since they were last written, in turns, for as long as `write` has room for
    /// another.
    fn write(&mut self, write: &mut dyn FnMut(Holder, &dyn Written) -> bool);

    /// All of it.
    fn bytes(&self) -> usize;
}

/// Whoever sends them bounds how many states there are.
pub trait Hears<S>: Debug + Default {
    fn hear(&mut self, partition: u32, holder: Holder, state: S);

    /// A partition is no other worker's any more.
    fn forget(&mut self, partition: u32);

    fn expire(&mut self, is_past: impl Fn(&S) -> bool);

    fn bytes(&self) -> usize;
}

// === impl Known ===

impl<R: Remembers> Default for Known<R> {
    fn default() -> Self {
        Self { own: Vec::new(), others: R::Others::default() }
    }
}

impl<R: Remembers> Known<R> {
    /// What a partition has learned, from now on if it has learned nothing.
    pub fn table(&mut self, partition: u32, rule: &R, now: RecordTime) -> &mut R::Table {
        let place = match self.own.binary_search_by_key(&partition, |(of, _)| *of) {
            Ok(place) => place,
            Err(place) => {
                self.own.insert(place, (partition, rule.table(now)));
                place
            }
        };
        &mut self.own[place].1
    }

    /// What a partition of the worker has learned, if it has learned anything.
    pub fn find(&self, partition: u32) -> Option<&R::Table> {
        let place = self.own.binary_search_by_key(&partition, |(of, _)| *of).ok()?;
        Some(&self.own[place].1)
    }

    pub fn revoke(&mut self, partition: u32) {
        if let Ok(place) = self.own.binary_search_by_key(&partition, |(of, _)| *of) {
            let (_, table) = self.own.remove(place);
            R::revoked(partition, table, &mut self.others);
        }
    }

    pub fn bytes(&self) -> usize {
        self.own.iter().map(|(_, table)| table.bytes()).sum::<usize>() + self.others.bytes()
    }
}
