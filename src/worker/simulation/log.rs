//! A partition as a broker keeps it: records, transactions, markers.

use std::collections::BTreeSet;

/// Which transaction, over all partitions and producers.
pub type Txn = usize;

/// Markers have offsets too, and records of a transaction that is not marked yet hide all that comes after.
pub struct Log<T> {
    entries: Vec<Entry<T>>,
    /// Transactions without their marker here, with the first offset of each.
    unmarked: Vec<(Txn, usize)>,
    aborted: BTreeSet<Txn>,
}

struct Entry<T> {
    txn: Option<Txn>,
    /// None of a marker.
    body: Option<T>,
}

// === impl Log ===

impl<T> Log<T> {
    pub fn append(&mut self, txn: Option<Txn>, body: T) -> usize {
        let offset = self.entries.len();
        if let Some(txn) = txn
            && !self.unmarked.iter().any(|(known, _)| *known == txn)
        {
            self.unmarked.push((txn, offset));
        }
        self.entries.push(Entry { txn, body: Some(body) });
        offset
    }

    pub fn mark(&mut self, txn: Txn, commit: bool) {
        self.unmarked.retain(|(of, _)| *of != txn);
        if !commit {
            self.aborted.insert(txn);
        }
        self.entries.push(Entry { txn: Some(txn), body: None });
    }

    /// The high watermark.
    pub fn high(&self) -> usize {
        self.entries.len()
    }

    /// The last stable offset: committed reads end here.
    pub fn stable(&self) -> usize {
        self.unmarked.iter().map(|(_, first)| *first).min().unwrap_or(self.entries.len())
    }

    /// The first record from `offset` on that a committed read may see.
    pub fn next(&self, offset: usize) -> Option<(usize, &T)> {
        self.committed(offset).next()
    }

    /// All records from `offset` on that a committed read may see.
    pub fn committed(&self, offset: usize) -> impl Iterator<Item = (usize, &T)> {
        let stable = self.entries[..self.stable()].iter().enumerate().skip(offset);
        stable
            .filter(|(_, entry)| entry.txn.is_none_or(|txn| !self.aborted.contains(&txn)))
            .filter_map(|(at, entry)| Some((at, entry.body.as_ref()?)))
    }

    /// All records, of which no transaction is aborted.
    pub fn records(&self) -> impl Iterator<Item = (usize, &T)> {
        debug_assert!(self.aborted.is_empty());
        self.entries.iter().enumerate().filter_map(|(at, entry)| Some((at, entry.body.as_ref()?)))
    }

    /// A record, whatever became of its transaction.
    pub fn get(&self, offset: usize) -> Option<(Option<Txn>, &T)> {
        let entry = self.entries.get(offset)?;
        Some((entry.txn, entry.body.as_ref()?))
    }
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), unmarked: Vec::new(), aborted: BTreeSet::new() }
    }
}
