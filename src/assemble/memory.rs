//! What everything held takes, and payload that is given up or moved together.

use super::{Arrival, Assembly, Expected, slab::NIL, verdicts::Verdicts};

/// A chunk of payload and a page of each slab, rounded up.
const SLACK: usize = 1 << 20;

impl<C, V: Copy> Assembly<C, V> {
    /// Bytes allocated for everything held (I3).
    pub fn bytes(&self) -> usize {
        self.table.allocation_size()
            + self.traces.bytes()
            + self.spans.bytes()
            + self.anchors.bytes()
            + self.links.bytes()
            + self.arena.bytes()
            + self.envelopes.bytes()
            + self.verdicts.bytes()
            + self.bits.bytes()
            + self.counts.bytes()
            + self.notes.bytes()
            + self.expected.bytes()
            + self.arrivals.bytes()
            + self.bound.allocation_size()
            + self.time.bytes()
            + self.structure.bytes()
            + self.due.capacity() * size_of::<u32>()
    }

    /// Bytes of remembered verdicts and their places in the table.
    pub fn remembered_bytes(&self) -> usize {
        self.verdicts.len() as usize * (Verdicts::<V>::ENTRY + size_of::<u32>() * 2)
    }

    /// Bytes that learning how long to wait may cost for a span, with its trace.
    pub fn learning_overhead(&self) -> usize {
        self.learns * (size_of::<Expected>() + size_of::<Arrival>())
    }

    /// Spans that may be taken in, each with a trace of its own, in what is allocated, but for their payload.
    pub fn spare(&self) -> usize {
        self.spans.spare().min(self.traces.spare()).min(self.anchors.spare())
    }

    /// What taking in `spans` spans may allocate beside their payload and entries: memory comes in chunks and pages, and a
    /// full table is copied into one of twice its size.
    pub fn growth(&self, spans: usize) -> usize {
        let full = self.table.len() + spans > self.table.capacity();
        SLACK + self.envelopes.growth() + if full { self.table.allocation_size() * 2 } else { 0 }
    }

    /// Gives up the oldest payload, some hundred kilobytes of it, and returns of how many spans; None where that makes no room.
    /// What is known of their traces stays.
    pub fn give_up(&mut self) -> Option<usize> {
        let Self { arena, spans, time, .. } = self;
        arena.give_up(spans, |span| span.offset < time.fragile(span.partition))
    }

    /// The same, of what the log may lose soon, too.
    pub fn give_up_at_a_risk(&mut self) -> Option<usize> {
        let Self { arena, spans, .. } = self;
        arena.reconsider();
        arena.give_up(spans, |span| span.partition == NIL)
    }

    /// Moves survivors out of chunks that are mostly dead.
    pub fn compact(&mut self) {
        while self.arena.compact(&mut self.spans) {}
    }

    /// What holds payload takes no more.
    #[cfg(test)]
    pub fn close(&mut self) {
        self.arena.close();
    }
}
