//! The byte budget: what is held, what a record and the decisions after it may take, and what makes room (I3).
//!
//! First payload is given up, the oldest first, which can be recalled; then the oldest trace is decided.

use super::{Decided, Engine, Full, LOOK, STATE_BYTES, Settings};
use crate::{
    assemble::{Assembly, Keying, Reason},
    decide::{Context, NOTES, Vote},
    decode::Batch,
    encode, limits,
    mutant::{self, Mutant},
    recall::Recall,
};

impl Engine {
    /// Bytes allocated for everything held (I3).
    pub fn bytes_held(&self) -> usize {
        self.assembly.bytes()
            + self.tick.allocated()
            + self.spare.allocated()
            + self.out.0
            + self.scratch.bytes()
            + self.sets.bytes()
            + self.states.bytes()
            + self.lessons.bytes()
            + self.votes.capacity() * size_of::<Vote>()
            + self.batch.bytes()
    }

    /// Gives all payload up, though there is room.
    #[cfg(test)]
    pub fn give_all_up(&mut self) {
        self.assembly.close();
        while self.give_up() {}
        self.room = 0;
    }

    /// What taking a record in may cost, in bytes.
    pub(super) fn need(&self, payload: &[u8], batch: &Batch) -> usize {
        // Fields around the resources stand in the payload once, and in each of the envelopes.
        payload.len()
            // Each link is larger than what is noted of it.
            + if self.sets.ask_links() { payload.len() } else { 0 }
            + batch.rest.len()
            + batch.spans.len()
                * (limits::SPAN_OVERHEAD + self.assembly.learning_overhead() + self.sets.notes() * size_of::<u64>())
            + batch.scopes.len() * self.sets.scope_overhead()
            + batch.resources.len() * limits::ENVELOPE_OVERHEAD
    }

    /// Makes room for `need` bytes and `spans` spans; false where one record wants more than a quarter of the budget.
    pub(super) fn make_room(&mut self, need: usize, spans: usize) -> Result<bool, Full> {
        if self.room < need {
            // One record does not put all others out, and is in memory twice if it becomes output at once.
            if need > self.settings.buffer / 4 {
                return Ok(false);
            }
            // While all of an unkeyed input waits for what is read again, nothing is decided: what came in another order before has
            // to fit as it did then.
            let waits = self.settings.keying == Keying::Unkeyed && self.assembly.time().is_behind(0);
            let reserve = if waits { self.settings.tick_bytes } else { self.reserve(need) };
            let beside = self.assembly.growth(spans.max(LOOK / limits::SPAN_OVERHEAD)) + reserve;
            self.evict(need + beside, spans)?;
            self.room = self.settings.buffer.saturating_sub(self.bytes_held() + beside).min(LOOK).max(need);
        }
        self.room -= need;
        Ok(true)
    }

    /// Gives payload up, the oldest first, until the budget has so many bytes left, those of `spans` among them; where that is not
    /// enough, decides the oldest traces.
    pub(super) fn evict(&mut self, bytes: usize, spans: usize) -> Result<(), Full> {
        while self.bytes_held() + self.lacking(bytes, spans) > self.settings.buffer
            && !mutant::is(Mutant::BudgetIgnored)
        {
            if self.give_up() {
                continue;
            }
            if self.full() {
                return Err(Full);
            }
            match self.assembly.oldest() {
                Some(oldest) => self.decide(oldest, Reason::Memory),
                None if self.has_output() => {
                    self.crowded = true;
                    return Err(Full);
                }
                // Better that some of it may be lost than that nothing goes on.
                None if self.give_up_by(Assembly::give_up_at_a_risk) => continue,
                None if self.assembly.traces_held() > 0 => {
                    self.stuck = true;
                    return Err(Full);
                }
                // What is left is tables and pages that wait for the next record.
                None => break,
            }
            self.assembly.envelopes.sweep();
        }
        Ok(())
    }

    /// What is to be left of the budget for so many bytes. Tables do not shrink: what traces leave there is free for other spans, and
    /// tables grow only where some room is left beside them, or it would be all theirs in the end, and none the payload's.
    fn lacking(&self, bytes: usize, spans: usize) -> usize {
        let free = self.assembly.spare();
        let left = if free < spans { self.settings.buffer / 16 } else { 0 };
        bytes.saturating_sub(free.min(spans) * (limits::SPAN_OVERHEAD - limits::SPAN_HEADER)) + left
    }

    /// What the next decision, after a record of `need` bytes, may add to the open tick: as much as it holds, or a trace that
    /// was not too large before that record.
    pub(super) fn reserve(&self, need: usize) -> usize {
        let Settings { tick_bytes, completion, output_record_bytes, buffer, .. } = self.settings;
        let trace = self.largest(need);
        let tree = if self.sets.ask_tree() { self.tree_bytes(trace) } else { 0 };
        let links = if self.sets.ask_links() { trace } else { 0 };
        let stamped = if self.settings.stamps.is_none() { 0 } else { self.stamped_bytes(trace) };
        let states = if self.states.bytes() > 0 { 2 * STATE_BYTES } else { 0 };
        // Of two ticks, as above.
        let states = states + 2 * self.states.at_once() + self.batch_bytes();
        // What is recalled is in memory twice when it is written, and is none of what is held then.
        let recall = if self.settings.recall.is_some() { completion.max_trace_bytes + self.sought_bytes() } else { 0 };
        tick_bytes
            + states
            + trace
            + recall
            + tree
            + links
            + stamped
            + output_record_bytes.min(buffer / 8).max(LOOK).max(need)
    }

    /// Bytes of the largest trace when it is decided: until this is asked again, so much may come to one.
    pub(super) fn largest(&self, need: usize) -> usize {
        self.settings.completion.max_trace_bytes.min(self.assembly.largest() + need.max(LOOK))
    }

    /// What the call tree of a trace may take, and the values in it: a node is about twice the smallest span, and so are the
    /// values of two paths.
    pub(super) fn tree_bytes(&self, trace: usize) -> usize {
        trace * (2 + self.sets.notes().saturating_sub(NOTES))
    }

    /// What is stamped on a trace may take: its trace states once more, and, there and in the tick, what is added to its spans.
    fn stamped_bytes(&self, trace: usize) -> usize {
        trace + 2 * self.longest() * encode::SPAN_STAMP
    }

    /// What is noted of the spans of a trace that is to be recalled may take.
    fn sought_bytes(&self) -> usize {
        self.longest() * Recall::SPAN
    }

    /// Spans that a trace has at most; those of a record in hand are made room for beside them.
    fn longest(&self) -> usize {
        self.assembly.longest().min(self.settings.completion.max_trace_bytes / encode::SPAN_LEAST)
    }

    /// Output takes room too: after every piece of it, and when it is gone, there may be less or more.
    pub(super) fn wrote(&mut self) {
        self.room = 0;
        self.crowded = false;
        while self.has_output() && self.bytes_held() + self.reserve(0) > self.settings.buffer && !self.crowded {
            self.crowded = !self.give_up();
        }
    }

    /// Gives up the oldest payload, where it can be recalled; false where there is none.
    fn give_up(&mut self) -> bool {
        self.give_up_by(Assembly::give_up)
    }

    fn give_up_by(&mut self, way: fn(&mut Assembly<Context, Decided>) -> Option<usize>) -> bool {
        let given_up = self.settings.recall.and_then(|_| way(&mut self.assembly));
        self.stats.given_up += given_up.unwrap_or(0) as u64;
        given_up.is_some()
    }

    /// Output that leaves when it is settled, and makes room.
    pub(super) fn has_output(&self) -> bool {
        !self.tick.is_empty() || self.out.0 > 0
    }
}
