//! A partition's clock: record time, made robust against single producers with a wrong one.

use crate::model::RecordTime;

/// The running maximum of the median of the last 15 record timestamps (protocol §6.4).
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// The last timestamps in the order they came, a ring.
    last: [i64; WINDOW],
    /// The same, sorted.
    sorted: [i64; WINDOW],
    seen: usize,
    now: Option<RecordTime>,
}

/// Odd; seven producers in a row may be wrong.
const WINDOW: usize = 15;

// === impl Clock ===

impl Clock {
    /// None before the first record.
    pub fn now(&self) -> Option<RecordTime> {
        self.now
    }

    /// Takes a record's timestamp. The clock never passes `ceiling`, which is just above the wall clock when live.
    pub fn observe(&mut self, timestamp: RecordTime, ceiling: RecordTime) {
        let len = self.seen.min(WINDOW);
        let slot = self.seen % WINDOW;
        // The sorted window loses the oldest and gains the newest.
        let hole = if len == WINDOW { self.sorted.partition_point(|&t| t < self.last[slot]) } else { len };
        let end = len.min(WINDOW - 1);
        self.sorted.copy_within((hole + 1).min(end + 1)..=end, hole);
        let place = self.sorted[..end].partition_point(|&t| t < timestamp.0);
        self.sorted.copy_within(place..end, place + 1);
        self.sorted[place] = timestamp.0;
        self.last[slot] = timestamp.0;
        self.seen += 1;
        let median = RecordTime(self.sorted[end / 2]).min(ceiling);
        self.now = self.now.max(Some(median));
    }

    /// Lets wall-clock milliseconds pass, while the partition is at the head of its log.
    pub fn elapse(&mut self, ms: u64, ceiling: RecordTime) {
        if let Some(now) = self.now {
            self.now = Some(now.max(now.plus(ms).min(ceiling)));
        }
    }

    /// It has been so late before.
    pub fn resume(&mut self, now: RecordTime) {
        self.now = self.now.max(Some(now));
    }

    /// Time runs out: the partition's input has ended.
    pub fn end(&mut self) {
        self.now = Some(RecordTime::END);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_wrong_producer_moves_nothing() {
        let mut clock = Clock::default();
        for t in 0..100 {
            clock.observe(RecordTime(if t % 10 == 9 { t + 3_600_000 } else { t }), RecordTime::END);
        }
        assert!(clock.now().unwrap().0 < 100);
    }

    #[test]
    fn never_above_the_ceiling() {
        let mut clock = Clock::default();
        clock.observe(RecordTime(5_000), RecordTime(1_000));
        assert_eq!(clock.now(), Some(RecordTime(1_000)));
        clock.elapse(10, RecordTime(1_005));
        assert_eq!(clock.now(), Some(RecordTime(1_005)));
    }

    proptest! {
        #[test]
        fn is_the_running_maximum_of_the_median(times in prop::collection::vec(-50_i64..50, 1..60)) {
            let (mut clock, mut expected) = (Clock::default(), i64::MIN);
            for (i, &time) in times.iter().enumerate() {
                clock.observe(RecordTime(time), RecordTime::END);
                let mut window = times[(i + 1).saturating_sub(WINDOW)..=i].to_vec();
                window.sort_unstable();
                expected = expected.max(window[(window.len() - 1) / 2]);
                prop_assert_eq!(clock.now(), Some(RecordTime(expected)));
            }
        }
    }
}
