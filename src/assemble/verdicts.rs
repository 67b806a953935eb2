//! Remembered verdicts: an exact store, first in first out (C7), never a cache that may miss.
//!
//! The decision log is read again in whole records, and what is read again binds. So all verdicts of a tick are forgotten
//! together: one that memory had forgotten and a restart would remember makes it skip a span that was held anew.

use std::collections::VecDeque;

use super::slab::{Linked, NIL, Slab};
use crate::model::RecordTime;

/// The verdicts of one domain in the order they were written.
#[derive(Debug)]
pub struct Fallen {
    head: u32,
    tail: u32,
    ticks: VecDeque<Written>,
}

/// What the verdicts of a tick have in common.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub tick: u64,
    /// When the last of them fell.
    pub decided: RecordTime,
    /// The tick in which a span of any of their traces was last seen.
    pub touched: u64,
}

/// Where a verdict comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Of this life: what it was made of is not read again.
    Here,
    /// Of a life before: of its spans, those that were handled then are skipped.
    Restored,
    /// Of a life before, which may not have acted on it: it binds, and its spans are taken in again.
    Bound,
}

pub struct Verdicts<V> {
    entries: Slab<Entry<V>>,
}

#[derive(Clone)]
struct Entry<V> {
    id: [u8; 16],
    tick: u64,
    standing: Standing,
    verdict: V,
    next: u32,
}

// === impl Verdicts ===

impl<V: Copy> Verdicts<V> {
    /// Remembers a verdict of `written.tick`, which is not before that of the one pushed last.
    pub fn push(&mut self, fallen: &mut Fallen, id: [u8; 16], verdict: V, standing: Standing, written: Written) -> u32 {
        let at = self.entries.insert(Entry { id, tick: written.tick, standing, verdict, next: NIL });
        match fallen.tail {
            NIL => fallen.head = at,
            tail => self.entries[tail].next = at,
        }
        fallen.tail = at;
        match fallen.ticks.back_mut() {
            Some(latest) if latest.tick == written.tick => {
                latest.decided = latest.decided.max(written.decided);
                latest.touched = latest.touched.max(written.touched);
            }
            _ => fallen.ticks.push_back(written),
        }
        at
    }

    /// A span of its trace was seen in tick `now`. What it was written with.
    pub fn touch(&self, fallen: &mut Fallen, at: u32, now: u64) -> Option<Written> {
        let tick = self.entries[at].tick;
        let place = fallen.ticks.binary_search_by_key(&tick, |written| written.tick).ok()?;
        let written = &mut fallen.ticks[place];
        written.touched = written.touched.max(now);
        Some(*written)
    }

    /// Forgets one verdict of the oldest tick: its number and its trace. None when that tick is through.
    pub fn pop(&mut self, fallen: &mut Fallen) -> Option<(u32, [u8; 16])> {
        let oldest = fallen.ticks.front()?.tick;
        let at = fallen.head;
        if at == NIL || self.entries[at].tick != oldest {
            fallen.ticks.pop_front();
            return None;
        }
        let id = self.entries[at].id;
        fallen.head = self.entries[at].next;
        if fallen.head == NIL {
            fallen.tail = NIL;
        }
        self.entries.remove(at);
        Some((at, id))
    }

    pub fn id(&self, at: u32) -> &[u8; 16] {
        &self.entries[at].id
    }

    pub fn standing(&self, at: u32) -> Standing {
        self.entries[at].standing
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

impl Fallen {
    /// The oldest tick of which anything is remembered.
    pub fn oldest(&self) -> Option<Written> {
        self.ticks.front().copied()
    }

    /// Bytes of what is known of each tick.
    pub fn bytes(&self) -> usize {
        self.ticks.capacity() * size_of::<Written>()
    }
}

impl Default for Fallen {
    fn default() -> Self {
        Self { head: NIL, tail: NIL, ticks: VecDeque::new() }
    }
}

// === impl Entry ===

impl<V> Linked for Entry<V> {
    fn link(&mut self) -> &mut u32 {
        &mut self.next
    }
}
