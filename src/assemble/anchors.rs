//! Where in its partitions each held trace begins: what the watermark is made of.
//!
//! A trace has a first offset in every partition it touched (C1). Arrival is in offset order, so a partition's
//! anchors form a queue whose head is its watermark, and leaving it costs two links.

use super::slab::{Linked, NIL, Slab};
use crate::mutant::{self, Mutant};

/// The queue of one partition.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    head: u32,
    tail: u32,
}

#[derive(Default)]
pub struct Anchors {
    anchors: Slab<Anchor>,
}

#[derive(Clone)]
struct Anchor {
    offset: i64,
    trace: u32,
    partition: u32,
    previous: u32,
    next: u32,
    /// The next anchor of the same trace, in another partition.
    sibling: u32,
}

// === impl Anchors ===

impl Anchors {
    /// Notes that a trace, whose anchors begin at `first`, has a span at `offset`; returns where they begin now.
    pub fn add(&mut self, first: u32, trace: u32, partition: u32, offset: i64, queues: &mut impl Queues) -> u32 {
        let mut at = first;
        while at != NIL {
            if self.anchors[at].partition == partition || mutant::is(Mutant::OneFirstOffset) {
                return first;
            }
            at = self.anchors[at].sibling;
        }
        let queue = queues.queue(partition);
        let previous = queue.tail;
        let at = self.anchors.insert(Anchor { offset, trace, partition, previous, next: NIL, sibling: first });
        match previous {
            NIL => queue.head = at,
            _ => self.anchors[previous].next = at,
        }
        queue.tail = at;
        at
    }

    /// Takes all anchors of a trace out.
    pub fn remove(&mut self, first: u32, queues: &mut impl Queues) {
        let mut at = first;
        while at != NIL {
            at = self.take_out(at, queues);
        }
    }

    /// Takes the anchor in one partition out; returns where the trace's anchors begin now.
    pub fn remove_in(&mut self, first: u32, partition: u32, queues: &mut impl Queues) -> u32 {
        let (mut before, mut at) = (NIL, first);
        while at != NIL && self.anchors[at].partition != partition {
            before = at;
            at = self.anchors[at].sibling;
        }
        if at == NIL {
            return first;
        }
        let sibling = self.take_out(at, queues);
        if before == NIL {
            return sibling;
        }
        self.anchors[before].sibling = sibling;
        first
    }

    /// Takes one anchor out; returns the trace's next.
    fn take_out(&mut self, at: u32, queues: &mut impl Queues) -> u32 {
        let Anchor { partition, previous, next, sibling, .. } = self.anchors[at];
        let queue = queues.queue(partition);
        match previous {
            NIL => queue.head = next,
            _ => self.anchors[previous].next = next,
        }
        match next {
            NIL => queue.tail = previous,
            _ => self.anchors[next].previous = previous,
        }
        self.anchors.remove(at);
        sibling
    }

    /// The first offset a held trace needs, and the trace.
    pub fn first(&self, queue: &Queue) -> Option<(i64, u32)> {
        (queue.head != NIL).then(|| (self.anchors[queue.head].offset, self.anchors[queue.head].trace))
    }

    /// The traces of a queue.
    pub fn traces(&self, queue: &Queue) -> impl Iterator<Item = u32> {
        let mut at = queue.head;
        std::iter::from_fn(move || {
            let anchor = (at != NIL).then(|| &self.anchors[at])?;
            at = anchor.next;
            Some(anchor.trace)
        })
    }

    /// The partition and offset of an anchor.
    pub fn place(&self, at: u32) -> (u32, i64) {
        (self.anchors[at].partition, self.anchors[at].offset)
    }

    /// All partitions a trace touched.
    pub fn partitions(&self, first: u32, partitions: &mut Vec<u32>) {
        let mut at = first;
        while at != NIL {
            partitions.push(self.anchors[at].partition);
            at = self.anchors[at].sibling;
        }
    }

    /// Whether a trace touched more than one partition.
    pub fn spread(&self, first: u32) -> bool {
        first != NIL && self.anchors[first].sibling != NIL
    }

    /// Anchors that may be added to what is allocated.
    pub fn spare(&self) -> usize {
        self.anchors.spare()
    }

    pub fn bytes(&self) -> usize {
        self.anchors.bytes()
    }
}

/// Finds the queue of a partition.
pub trait Queues {
    fn queue(&mut self, partition: u32) -> &mut Queue;
}

// === impl Queue ===

impl Default for Queue {
    fn default() -> Self {
        Self { head: NIL, tail: NIL }
    }
}

// === impl Anchor ===

impl Linked for Anchor {
    fn link(&mut self) -> &mut u32 {
        &mut self.next
    }
}
