//! Where a finite input ends, for `--until-end`.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use crate::source::Partition;

/// The ends seen at the start, and the partitions handled up to them, of all workers of the process.
pub struct Ends {
    ends: HashMap<Partition, i64>,
    finished: Mutex<HashSet<Partition>>,
}

// === impl Ends ===

impl Ends {
    pub fn new(ends: HashMap<Partition, i64>) -> Self {
        Self { ends, finished: Mutex::default() }
    }

    /// A partition that was not there at the start has nothing to handle.
    pub fn of(&self, partition: &Partition) -> Option<i64> {
        Some(self.ends.get(partition).copied().unwrap_or(0))
    }

    pub fn finish<'p>(&self, partitions: impl Iterator<Item = &'p Partition>) {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner).extend(partitions.cloned());
    }

    pub fn has_all<'p>(&self, mut partitions: impl Iterator<Item = &'p Partition>) -> bool {
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.all(|partition| finished.contains(partition))
    }

    pub fn all_finished(&self) -> bool {
        self.has_all(self.ends.keys())
    }
}
