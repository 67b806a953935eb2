//! The different values that one path has over all spans of a trace, as far as policies know them: by their hashes.
//!
//! Each span notes the hash of its value, 8 bytes, however long the value is. Put together in order they are the same wherever
//! the same values were seen, in whatever order and however often.

use super::{condition::Computed, key::key_of, tree::mix};
use crate::decode::Value;

/// Paths whose values are asked for: each takes 8 bytes of every span that is held.
pub const PATHS_MAX: usize = 8;

/// Notes of spans, by path. Keeps its memory from trace to trace.
#[derive(Debug, Default)]
pub struct Values {
    /// The path and the hash.
    noted: Vec<(u8, u64)>,
}

// === impl Values ===

impl Values {
    pub fn clear(&mut self) {
        self.noted.clear();
    }

    /// Takes what a span has noted, in the order of the paths; 0 is none.
    pub fn add(&mut self, notes: &[u64]) {
        self.noted.extend((0..).zip(notes.iter().copied()).filter(|(_, hash)| *hash != 0));
    }

    /// All spans are there.
    pub fn settle(&mut self) {
        self.noted.sort_unstable();
        self.noted.dedup();
    }

    /// How many different ones a path has.
    pub fn count(&self, path: u8) -> u32 {
        self.of(path).count() as u32
    }

    /// One hash for all of a path: a key.
    pub fn key(&self, path: u8) -> u64 {
        join(self.of(path))
    }

    /// The hashes of a path's, in their order.
    pub fn of(&self, path: u8) -> impl Iterator<Item = u64> {
        let start = self.noted.partition_point(|(known, _)| *known < path);
        self.noted[start..].iter().take_while(move |(known, _)| *known == path).map(|(_, hash)| *hash)
    }

    pub fn bytes(&self) -> usize {
        self.noted.capacity() * size_of::<(u8, u64)>()
    }
}

/// The key of these values, as a path would have it that has no others.
pub fn key<'v>(values: impl IntoIterator<Item = Value<'v>>) -> u64 {
    let mut hashes: Vec<u64> = values.into_iter().map(|value| note(&Computed::Value(value))).collect();
    hashes.sort_unstable();
    hashes.dedup();
    join(hashes.into_iter().filter(|hash| *hash != 0))
}

/// What a span notes of its value: 0 where it has none, or one that is equal to nothing.
pub fn note(value: &Computed<'_>) -> u64 {
    match value.value() {
        None | Some(Value::Nil | Value::List(_) | Value::Map(_)) => 0,
        Some(Value::Double(value)) if value.is_nan() => 0,
        Some(_) => key_of(value).max(1),
    }
}

/// Hashes in their order, each once.
fn join(hashes: impl Iterator<Item = u64>) -> u64 {
    hashes.fold(0, mix)
}
