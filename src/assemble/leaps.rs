//! Spans stamped far ahead of their partition's clock, noted until it is known who was right.
//!
//! After a lull the record is, and the clock follows within a few more; or its producer is wrong, and the clock does not.
//! So as many records later as the clock looks at, the leap is judged by what it shows then.

use std::collections::VecDeque;

use super::clock::WINDOW;
use crate::model::RecordTime;

/// The leaps of one partition not yet judged, in the order they came.
#[derive(Default)]
pub struct Leaps {
    records: VecDeque<Leap>,
    /// The traces of all of them, one behind the other.
    traces: VecDeque<[u8; 16]>,
}

/// What a record's spans were stamped with.
struct Leap {
    /// How many records the partition had shown.
    seen: usize,
    stamp: RecordTime,
    traces: usize,
}

/// Traces noted, at most: as large as a chunk of payload. With more a leap stands; to wait too long for some traces of one
/// wrong producer of huge records is better than to split those of all after a lull.
const LIMIT: usize = 1 << 14;
/// Places for traces kept when there are none.
const IDLE: usize = 1 << 8;

// === impl Leaps ===

impl Leaps {
    /// Notes that the last of `seen` records stamped a trace far ahead.
    pub fn note(&mut self, seen: usize, stamp: RecordTime, trace: [u8; 16]) {
        if self.traces.len() == LIMIT {
            return;
        }
        self.traces.push_back(trace);
        match self.records.back_mut() {
            Some(leap) if leap.seen == seen => leap.traces += 1,
            _ => self.records.push_back(Leap { seen, stamp, traces: 1 }),
        }
    }

    /// The next leap to be judged when `seen` records were shown: what a trace was stamped with.
    pub fn next(&mut self, seen: usize) -> Option<(RecordTime, [u8; 16])> {
        let leap = self.records.front_mut().filter(|leap| seen >= leap.seen + WINDOW)?;
        let (stamp, trace) = (leap.stamp, self.traces.pop_front()?);
        leap.traces -= 1;
        if leap.traces == 0 {
            self.records.pop_front();
        }
        if self.traces.is_empty() {
            self.traces.shrink_to(IDLE);
        }
        Some((stamp, trace))
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.records.capacity() * size_of::<Leap>() + self.traces.capacity() * size_of::<[u8; 16]>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_judged_a_window_later_in_the_order_they_came() {
        let mut leaps = Leaps::default();
        leaps.note(1, RecordTime(70), [1; 16]);
        leaps.note(1, RecordTime(70), [2; 16]);
        leaps.note(2, RecordTime(80), [1; 16]);
        assert_eq!(leaps.next(WINDOW), None);
        assert_eq!(leaps.next(WINDOW + 1), Some((RecordTime(70), [1; 16])));
        assert_eq!(leaps.next(WINDOW + 1), Some((RecordTime(70), [2; 16])));
        assert_eq!(leaps.next(WINDOW + 1), None);
        assert_eq!(leaps.next(WINDOW + 2), Some((RecordTime(80), [1; 16])));
        assert_eq!(leaps.next(usize::MAX), None);
    }

    #[test]
    fn are_bounded_and_leave_nothing_behind() {
        let mut leaps = Leaps::default();
        for record in 1..=3 {
            (0..10_000_u128).for_each(|trace| leaps.note(record, RecordTime(0), trace.to_be_bytes()));
        }
        assert!(leaps.bytes() <= LIMIT * 16 + 1024, "{}", leaps.bytes());
        assert_eq!(std::iter::from_fn(|| leaps.next(WINDOW + 3)).count(), LIMIT);
        assert!(leaps.bytes() <= IDLE * 16 + 1024, "{}", leaps.bytes());
    }
}
