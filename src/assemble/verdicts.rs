//! Remembered verdicts: an exact store, first in first out (C7), never a cache that may miss.

use super::slab::{Linked, NIL, Slab};
use crate::model::RecordTime;

/// The verdicts of one domain in the order they fell.
#[derive(Clone, Copy, Debug)]
pub struct Fallen {
    head: u32,
    tail: u32,
}

pub struct Verdicts<V> {
    entries: Slab<Entry<V>>,
}

#[derive(Clone)]
struct Entry<V> {
    id: [u8; 16],
    decided: RecordTime,
    verdict: V,
    next: u32,
}

// === impl Verdicts ===

impl<V: Copy> Verdicts<V> {
    pub fn push(&mut self, fallen: &mut Fallen, id: [u8; 16], verdict: V, decided: RecordTime) -> u32 {
        let at = self.entries.insert(Entry { id, decided, verdict, next: NIL });
        match fallen.tail {
            NIL => fallen.head = at,
            tail => self.entries[tail].next = at,
        }
        fallen.tail = at;
        at
    }

    /// The oldest of a domain: its number, its trace, and when it fell.
    pub fn oldest(&self, fallen: &Fallen) -> Option<(u32, [u8; 16], RecordTime)> {
        (fallen.head != NIL).then(|| (fallen.head, self.entries[fallen.head].id, self.entries[fallen.head].decided))
    }

    /// Forgets the oldest.
    pub fn pop(&mut self, fallen: &mut Fallen) {
        let at = fallen.head;
        fallen.head = self.entries[at].next;
        if fallen.head == NIL {
            fallen.tail = NIL;
        }
        self.entries.remove(at);
    }

    pub fn id(&self, at: u32) -> &[u8; 16] {
        &self.entries[at].id
    }

    pub fn verdict(&self, at: u32) -> V {
        self.entries[at].verdict
    }

    pub fn len(&self) -> u32 {
        self.entries.len()
    }

    /// Bytes of what is remembered; pages that have become free serve the next.
    pub fn bytes(&self) -> usize {
        self.entries.bytes()
    }

    /// Bytes an entry takes.
    pub const ENTRY: usize = size_of::<Entry<V>>();
}

impl<V: Copy> Default for Verdicts<V> {
    fn default() -> Self {
        Self { entries: Slab::default() }
    }
}

// === impl Fallen ===

impl Default for Fallen {
    fn default() -> Self {
        Self { head: NIL, tail: NIL }
    }
}

// === impl Entry ===

impl<V> Linked for Entry<V> {
    fn link(&mut self) -> &mut u32 {
        &mut self.next
    }
}
