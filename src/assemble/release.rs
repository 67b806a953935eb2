//! Traces go, with a verdict or undecided, and with them partitions.

use std::hash::BuildHasher;

use super::{
    Assembly, Held, REMEMBERED, Trace, anchors,
    arena::Place,
    slab::NIL,
    time::Keying,
    verdicts::{Standing, Written},
};
use crate::model::RecordTime;

impl<C, V: Copy> Assembly<C, V> {
    /// Lets a trace go: with a verdict, which is remembered, or without, where it is given back undecided.
    pub fn release(&mut self, trace: u32, verdict: Option<(V, RecordTime)>) {
        let entry = self.traces[trace].clone();
        self.lengths.leave(u64::from(entry.span_count));
        self.sizes.leave(entry.size());
        let Trace { id, spans, anchors, links, domain, generation, .. } = entry;
        self.generations[usize::from(generation)].held -= 1;
        let mut at = spans;
        while at != NIL {
            let Held { place, len, scope, next, .. } = self.spans[at].clone();
            if place != Place::NOWHERE {
                self.arena.release(place, len);
            }
            self.envelopes.release(scope);
            self.spans[at].place = Place::NOWHERE;
            self.spans.remove(at);
            at = next;
        }
        self.anchors.remove(anchors, &mut self.time);
        self.links.remove(links);
        self.disarm(trace);
        let hash = self.hasher.hash_one(id);
        let entry = self.table.find_entry(hash, |&at| at == trace);
        match (entry, verdict) {
            (Ok(mut entry), Some((verdict, decided))) => {
                let fallen = &mut self.time.in_domain(domain).fallen;
                let written = Written { tick: self.tick, decided, touched: self.tick };
                *entry.get_mut() = self.verdicts.push(fallen, id, verdict, Standing::Here, written) | REMEMBERED;
            }
            (Ok(entry), None) => _ = entry.remove(),
            (Err(_), _) => debug_assert!(false, "a held trace is in the table"),
        }
        if !self.bound.is_empty() {
            self.bound.remove(&trace);
        }
        self.traces.remove(trace);
    }

    /// Takes a partition away. Its undecided traces are given back: `returned` is told of each before it goes. A trace of a
    /// keyed topic that is also in a partition still here stays with that one, or its spans there would be lost.
    pub fn revoke(&mut self, partition: u32, mut returned: impl FnMut(&Self, u32)) {
        loop {
            let queue = *anchors::Queues::queue(&mut self.time, partition);
            let Some((_, trace)) = self.anchors.first(&queue) else { break };
            if self.time.keying() == Keying::Keyed && self.anchors.spread(self.traces[trace].anchors) {
                self.leave(trace, partition);
            } else {
                returned(self, trace);
                self.release(trace, None);
            }
        }
        if self.time.is_alone(partition) {
            let domain = self.time.domain(partition);
            while self.time.in_domain(domain).fallen.oldest().is_some() {
                self.forget_tick(domain);
            }
        }
        self.time.remove(partition);
    }

    /// Takes a trace out of a partition, and out of its time.
    fn leave(&mut self, trace: u32, partition: u32) {
        // Nobody knows where they stand any more, so what is here of them stays.
        let mut at = self.traces[trace].spans;
        while at != NIL {
            let span = &mut self.spans[at];
            if span.partition == partition {
                span.partition = NIL;
            }
            at = span.next;
        }
        let anchors = self.anchors.remove_in(self.traces[trace].anchors, partition, &mut self.time);
        self.traces[trace].anchors = anchors;
        let domain = self.traces[trace].domain;
        if domain == self.time.domain(partition) {
            self.disarm(trace);
            let (stays, _) = self.anchors.place(anchors);
            self.traces[trace].domain = self.time.domain(stays);
            self.arm(trace);
        }
    }
}
