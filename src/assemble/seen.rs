//! When spans were seen, by their records and the clocks of their partitions (C11).

use super::Assembly;
use crate::{decode::Span, model::RecordTime};

/// The record a span came in.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    pub partition: u32,
    pub offset: i64,
    /// When its spans were seen: never before the partition's clock, and not at it where the record is later, for the
    /// clock stands for some records after a lull and then leaps.
    pub seen: RecordTime,
    /// That is so far ahead of the clock that the record's producer may be wrong.
    pub(super) leaps: bool,
}

impl<C, V: Copy> Assembly<C, V> {
    /// Takes a record's time.
    pub fn observe(&mut self, partition: u32, timestamp: RecordTime, ceiling: RecordTime) {
        self.time.observe(partition, timestamp, ceiling);
        self.stamp_early(partition, ceiling);
        self.judge_leaps(partition);
    }

    /// The partition is at the head of its log, where `ms` of wall-clock time passed, at `rest` or without anybody looking.
    pub fn elapse(&mut self, partition: u32, ms: u64, rest: bool, ceiling: RecordTime) {
        self.time.partition(partition).clock.establish(ceiling);
        self.stamp_early(partition, ceiling);
        self.time.elapse(partition, ms, rest, ceiling, self.completion.max_wait);
        self.judge_leaps(partition);
    }

    /// Judges who was right a window ago, or before a long rest: a trace waits no longer for a wrong producer.
    fn judge_leaps(&mut self, partition: u32) {
        let max_wait = self.completion.max_wait;
        loop {
            let (leap, now) = (self.time.next_leap(partition, max_wait), self.time.partition(partition).clock.now());
            let (Some((stamp, trace)), Some(now)) = (leap, now) else { break };
            if stamp.since(now) > max_wait {
                self.pull_back(&trace, now);
            }
        }
    }

    /// What came before its clock was established was seen no earlier than the latest of those records: there was nothing
    /// to tell a producer by whose clock is behind.
    fn stamp_early(&mut self, partition: u32, ceiling: RecordTime) {
        let at = self.time.partition(partition);
        if !at.early || !at.clock.is_established() {
            return;
        }
        at.early = false;
        let now = at.clock.now().unwrap_or_default();
        let bound = now.plus(self.completion.max_wait);
        let seen = at.clock.caught_up(now, if at.is_limited() { bound.min(ceiling) } else { bound });
        for trace in self.anchors.traces(&at.queue) {
            let entry = &mut self.traces[trace];
            entry.first_seen = entry.first_seen.max(seen.0);
            entry.last_seen = entry.last_seen.max(seen.0);
        }
    }

    /// A record whose time has been observed.
    pub fn origin(
        &mut self,
        partition: u32,
        offset: i64,
        timestamp: Option<RecordTime>,
        ceiling: RecordTime,
    ) -> Origin {
        let at = self.time.partition(partition);
        at.early |= !at.clock.is_established();
        let now = at.clock.now();
        let behind = now.filter(|&now| timestamp < Some(now));
        let seen = match (behind, at.is_limited()) {
            // Its producer's clock may be behind. It came after the records before it, with which the partition's clock has
            // not caught up.
            (Some(now), false) => at.clock.greatest().unwrap_or_default().max(now),
            // Where it is not told who was right, a wrong producer's time must not be taken.
            (Some(now), true) => at.clock.caught_up(now, now.plus(self.completion.max_wait).min(ceiling)),
            // One from the future, too: what was seen when must not depend on when it is read, and it is judged soon.
            (None, false) => timestamp.unwrap_or_default(),
            (None, true) => timestamp.unwrap_or_default().min(ceiling),
        };
        let leaps = !at.is_limited() && now.is_none_or(|now| seen.since(now) > self.completion.max_wait);
        Origin { partition, offset, seen, leaps }
    }

    /// Whether a span comes so long after its end that its trace, if it was decided, is forgotten: nobody knows it, and the
    /// longest wait and the late window are over.
    #[inline(always)]
    pub fn is_past(&self, origin: Origin, span: &Span) -> bool {
        let ended = (span.end.max(span.start) / 1_000_000) as i64;
        let lateness = self.completion.max_wait.saturating_add(self.late_window);
        let now = self.time.assigned(origin.partition).clock.now().unwrap_or_default();
        ended != 0 && now.since(RecordTime(ended)) > lateness && self.find(&span.trace_id).is_none()
    }

    /// A held trace was not seen after `now`, whatever it was stamped with.
    fn pull_back(&mut self, id: &[u8; 16], now: RecordTime) {
        let Some(trace) = self.held(id) else { return };
        let entry = &mut self.traces[trace];
        entry.first_seen = entry.first_seen.min(now.0);
        entry.last_seen = entry.last_seen.min(now.0);
        self.arm(trace);
    }
}
