//! Where a restart can begin and tell time as if it had read everything before.
//!
//! When something was seen depends on the records before it, which a restart at the watermark does not read. So what the clock
//! was is noted at some records, and the restart begins at the last of these that is not above the watermark.

use std::collections::VecDeque;

use super::clock::{Clock, Moment};

/// The marks of one partition, in the order of the log. There is always one.
#[derive(Debug)]
pub struct Marks {
    marks: VecDeque<Mark>,
    /// Records from one mark to the next.
    stride: usize,
    /// Records since the last.
    passed: usize,
}

/// What the clock was before the record at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub offset: i64,
    pub moment: Moment,
}

/// With more, every other one goes: a restart reads more than it must by an eighth of what was lately held, at most.
const LIMIT: usize = 64;
/// At least: as many records as a clock looks at.
const STRIDE: usize = 16;

// === impl Marks ===

impl Marks {
    pub fn new(offset: i64, clock: &Clock) -> Self {
        let first = Mark { offset, moment: clock.moment() };
        Self { marks: VecDeque::from([first]), stride: STRIDE, passed: 0 }
    }

    /// The record at `offset` is next to be shown to the clock.
    #[inline(always)]
    pub fn pass(&mut self, offset: i64, clock: &Clock) {
        self.passed += 1;
        if self.passed >= self.stride {
            self.note(offset, clock);
        }
    }

    fn note(&mut self, offset: i64, clock: &Clock) {
        if self.marks.len() == LIMIT {
            let mut number = 0;
            self.marks.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.stride *= 2;
        }
        self.marks.push_back(Mark { offset, moment: clock.moment() });
        self.passed = 0;
    }

    /// The last mark that is not above the watermark. Where nothing is held up to `next`, that is now.
    pub fn last_before(&mut self, watermark: i64, next: i64, clock: &Clock) -> Mark {
        if watermark == next {
            *self = Self::new(next, clock);
        }
        while self.marks.get(1).is_some_and(|mark| mark.offset <= watermark) {
            self.marks.pop_front();
        }
        if self.marks.len() < LIMIT / 4 {
            self.stride = (self.stride / 2).max(STRIDE);
        }
        self.marks[0]
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.marks.capacity() * size_of::<Mark>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::RecordTime;

    proptest! {
        /// Offsets have gaps, where markers of transactions are.
        #[test]
        fn a_restart_reads_little_more_than_it_must(
            steps in prop::collection::vec((1..4_i64, 0..2_000_usize), 1..20_000),
        ) {
            let mut clock = Clock::default();
            let mut marks = Marks::new(0, &clock);
            let (mut offsets, mut first, mut last, mut most) = (Vec::new(), 0, 0, 0);
            for (number, (step, behind)) in steps.iter().enumerate() {
                let offset = offsets.last().map_or(0, |last| last + step);
                marks.pass(offset, &clock);
                clock.observe(RecordTime(number as i64), RecordTime::END);
                offsets.push(offset);
                prop_assert!(marks.bytes() <= LIMIT * 2 * size_of::<Mark>());
                if number % 100 == 99 {
                    most = most.max(number + 1 - first);
                    first = first.max(number.saturating_sub(behind * 8));
                    let mark = marks.last_before(offsets[first], offset + 1, &clock);
                    let at = offsets.binary_search(&mark.offset).expect("a record");
                    prop_assert!(at >= last && at <= first);
                    last = at;
                    prop_assert!(first - at <= STRIDE.max(most / 8), "{} more, of {most}", first - at);
                    // What it was before that record.
                    prop_assert_eq!(mark.moment.now, (at >= 15).then(|| RecordTime(at as i64 - 8)));
                    prop_assert_eq!(mark.moment.stamps.as_slice().len(), at.min(15));
                }
            }
        }
    }
}
