//! When held traces are looked at again, and which of them are complete then.

use super::{
    Assembly, Trace,
    completion::{Completion, Reason},
    slab::NIL,
    time::Domain,
    wheel::{GRAIN, TOGETHER, grain},
};
use crate::{
    model::{self, RecordTime},
    sample::Periods,
};

/// Why a trace was put off: what was to become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOff {
    /// All such traces are dropped.
    ForCertain,
    /// Those of them that had more randomness were kept.
    ByChance,
    /// It was not yet to be dropped or kept: others are to hear of it before.
    Pledged,
}

/// Milliseconds between two looks at a trace that was put off.
const AGAIN: u64 = 1000;
/// The grain of a trace that is in `due` and not in the wheel.
pub(super) const DUE: i64 = i64::MIN;
/// The grain of a trace that is in neither: new, or in the hands of whoever asked for the next.
pub(super) const IDLE: i64 = i64::MIN + 1;

// === impl PutOff ===

impl PutOff {
    /// It waits for another that it would follow.
    pub fn follows(self) -> bool {
        self != Self::Pledged
    }
}

// === impl Assembly ===

impl<C, V: Copy> Assembly<C, V> {
    /// The next trace of a domain that is complete at the domain's time, in the order of (deadline, trace id), after those of
    /// any domain that are too large.
    pub fn next_complete(&mut self, domain: u32) -> Option<(u32, Reason)> {
        loop {
            if let Some(complete) = self.next_due() {
                return Some(complete);
            }
            if !self.ring(domain) {
                return None;
            }
        }
    }

    /// The next trace that is complete, of those whose alarms have rung.
    pub fn next_due(&mut self) -> Option<(u32, Reason)> {
        while let Some(trace) = self.due.pop() {
            self.traces[trace].timer.grain = IDLE;
            if let Some(reason) = self.completed(trace) {
                return Some((trace, reason));
            }
            self.arm(trace);
        }
        None
    }

    /// Rings the next alarms of a domain that are due at its time, which are those of one moment; false where there are none.
    pub fn ring(&mut self, domain: u32) -> bool {
        let Domain { now, wheel, .. } = self.time.in_domain(domain);
        if !now.is_some_and(|now| wheel.due(&mut self.traces, now.0, &mut self.due)) {
            return false;
        }
        let Self { due, traces, .. } = self;
        due.sort_unstable_by(|&a, &b| traces[b].id.cmp(&traces[a].id));
        due.iter().for_each(|&trace| traces[trace].timer.grain = DUE);
        true
    }

    /// From now on alarms ring together that are due in the same 1.024 s, at the end of it; or each at its own time.
    pub fn ring_together(&mut self, together: bool) {
        self.together = together;
    }

    pub fn rings_together(&self) -> bool {
        self.together
    }

    /// Arms a trace, of which something was seen, for its deadline. An earlier alarm stands: when it rings, the deadline is
    /// looked at again. One that is too large is due at once.
    pub fn arm(&mut self, trace: u32) {
        let entry = &self.traces[trace];
        if self.is_too_large(entry) {
            if entry.timer.grain != DUE {
                self.disarm(trace);
                self.traces[trace].timer.grain = DUE;
                self.due.push(trace);
            }
            return;
        }
        let deadline = self.grain(entry.deadline(self.periods(trace), &self.completion));
        let (armed, domain) = (entry.timer.grain, entry.domain);
        if armed == DUE || armed != IDLE && armed <= deadline {
            return;
        }
        self.disarm(trace);
        self.time.in_domain(domain).wheel.arm(&mut self.traces, trace, deadline);
    }

    pub fn was_put_off(&self, trace: u32) -> Option<PutOff> {
        self.traces[trace].put_off
    }

    /// For how many milliseconds a trace that is due may be put off at most.
    pub fn time_left(&self, trace: u32, decided: RecordTime) -> u64 {
        let entry = &self.traces[trace];
        let bound = entry.bound(&self.completion);
        let last = RecordTime(entry.first_seen).plus(entry.last.into());
        if entry.follows() { last.min(bound) } else { bound }.since(decided)
    }

    /// Puts off a trace that is due, by so many milliseconds, which are left. One that is to be dropped is due again before, for what it waits
    /// for may have come, and others may wait for it.
    pub fn put_off(&mut self, trace: u32, decided: RecordTime, ms: u64, by: PutOff) {
        let entry = &mut self.traces[trace];
        let after = |at: RecordTime| u32::try_from(at.since(RecordTime(entry.first_seen))).unwrap_or(u32::MAX);
        let last = after(decided.plus(ms));
        if !entry.follows() {
            (entry.put_off, entry.last) = (Some(by), last);
        }
        entry.again = if entry.follows() { after(decided.plus(ms.min(AGAIN))) } else { last };
        self.arm(trace);
    }

    pub(super) fn disarm(&mut self, trace: u32) {
        let Trace { timer, domain, .. } = self.traces[trace];
        match timer.grain {
            IDLE => return,
            DUE => self.due.retain(|&due| due != trace),
            _ => self.time.in_domain(domain).wheel.disarm(&mut self.traces, trace),
        }
        self.traces[trace].timer.grain = IDLE;
    }

    /// Since when a verdict that falls now is remembered: since its alarm was due, and not since a record came to ring it, or a
    /// lull would make it last longer, and other partitions' records what is too large.
    pub fn decided(&mut self, trace: u32, reason: Reason) -> RecordTime {
        let Trace { domain, last_seen, .. } = self.traces[trace];
        let Domain { now, wheel, .. } = self.time.in_domain(domain);
        let decided = match reason {
            // When time has run out it is no time to count from.
            Reason::Memory => now.filter(|&now| now != RecordTime::END),
            _ => wheel.current().map(|grain| RecordTime(grain.saturating_mul(GRAIN))),
        };
        // Its domain does not know the time yet: since it was seen.
        decided.unwrap_or(RecordTime(last_seen))
    }

    fn is_too_large(&self, trace: &Trace) -> bool {
        // Scopes may take turns in a trace, but there are no more of them than there are.
        trace.bytes + trace.around.min(self.envelopes.bytes() as u64) > self.completion.max_trace_bytes as u64
    }

    /// Whether a trace that is due is complete.
    fn completed(&mut self, trace: u32) -> Option<Reason> {
        if self.is_too_large(&self.traces[trace]) {
            return Some(Reason::Size);
        }
        if self.is_early(trace) {
            return None;
        }
        let periods = self.periods(trace);
        let entry = &mut self.traces[trace];
        let bound = entry.bound(&self.completion);
        if !entry.torn && entry.quiet(periods).is_some_and(|quiet| quiet <= bound) {
            let (spans, notes, mut at) = (&self.spans, &mut self.notes, entry.spans);
            let words = self.generations[usize::from(entry.generation)].layout.notes;
            let links = std::iter::from_fn(|| {
                let span = (at != NIL).then(|| &spans[at])?;
                // What acts as a root needs no parent.
                let acts = model::acts(notes.row(at, words));
                at = span.next;
                Some((span.id, if acts { 0 } else { span.parent }))
            });
            if self.structure.is_whole(links) {
                return Some(Reason::Structure);
            }
            entry.torn = true;
            if self.is_early(trace) {
                return None;
            }
        }
        // What was left over when a tick was full may be of another domain than the one asked for.
        let entry = &self.traces[trace];
        let due = RecordTime(self.grain(entry.deadline(periods, &self.completion)).saturating_mul(GRAIN));
        let is_quiet = entry.torn && entry.quiet(periods).is_some_and(|quiet| quiet < bound);
        let ended = self.time.in_domain(entry.domain).now == Some(RecordTime::END);
        Some(match ended && self.time.is_after_all(due) {
            true => Reason::End,
            false if is_quiet => Reason::Torn,
            false => Reason::MaxWait,
        })
    }

    /// Whether a trace's alarm was rung before its deadline.
    fn is_early(&mut self, trace: u32) -> bool {
        let entry = &self.traces[trace];
        let (deadline, domain) = (entry.deadline(self.periods(trace), &self.completion), entry.domain);
        let deadline = self.grain(deadline);
        Some(deadline) > self.time.in_domain(domain).wheel.current()
    }

    /// The grain in which an alarm for this time rings.
    fn grain(&self, ms: i64) -> i64 {
        let grain = grain(ms);
        if self.together { grain.saturating_add(TOGETHER - 1).div_euclid(TOGETHER) * TOGETHER } else { grain }
    }
}

// === impl Trace ===

impl Trace {
    fn follows(&self) -> bool {
        self.put_off.is_some_and(PutOff::follows)
    }

    /// When to look at it next, in milliseconds of record time.
    fn deadline(&self, periods: Periods, completion: &Completion) -> i64 {
        let bound = self.bound(completion);
        let again = RecordTime(self.first_seen).plus(self.again.into());
        self.quiet(periods).map_or(bound, |quiet| quiet.min(bound).max(again)).0
    }

    /// It waits no longer, whatever it looks like.
    fn bound(&self, completion: &Completion) -> RecordTime {
        RecordTime(self.first_seen).plus(completion.max_wait)
    }

    /// When nothing will have come for long enough, as far as is known what it looks like; None while no root has ended.
    fn quiet(&self, periods: Periods) -> Option<RecordTime> {
        let period = if self.torn { periods.torn } else { periods.whole };
        self.root.filter(|root| !root.running).map(|_| RecordTime(self.last_seen).plus(period))
    }
}
