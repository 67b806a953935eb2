//! A partition's clock: record time, made robust against single producers with a wrong one.

use crate::model::RecordTime;

/// The running maximum of the median of the last 15 record timestamps (C11).
///
/// It says nothing before there are so many, unless there are no more: it cannot go back, and one wrong producer among the
/// first few would set it.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// The last timestamps in the order they came, a ring.
    last: [i64; WINDOW],
    /// The same, sorted.
    sorted: [i64; WINDOW],
    seen: usize,
    /// Wall-clock milliseconds that passed at the head of the log since the last record.
    rested: u64,
    /// Of the last timestamps, not above the ceiling of the last.
    median: RecordTime,
    now: Option<RecordTime>,
    /// `now` is of a life before, and the timestamps it was made of are not all here again.
    resumed: bool,
}

/// What a successor needs of a clock to go on as this one would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// None before it is established.
    pub now: Option<RecordTime>,
    /// The timestamps that the next ones are compared with.
    pub stamps: Stamps,
}

/// The last record timestamps, the oldest first, as many as a clock looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    stamps: [i64; WINDOW],
    len: usize,
}

/// Odd; seven producers in a row may be wrong.
pub const WINDOW: usize = 15;

// === impl Clock ===

impl Clock {
    /// None before it is established.
    pub fn now(&self) -> Option<RecordTime> {
        self.now
    }

    /// Whether it can be told from its own records when something was seen.
    pub fn is_established(&self) -> bool {
        self.now.is_some() && !self.resumed
    }

    /// Records observed.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Wall-clock milliseconds that passed at the head of the log since the last record.
    pub fn rested(&self) -> u64 {
        self.rested
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
        self.rested = 0;
        self.median = RecordTime(self.sorted[end / 2]).min(ceiling);
        if self.seen >= WINDOW || self.is_established() {
            self.resumed = false;
            self.now = self.now.max(Some(self.median));
        }
    }

    /// There is no more to wait for: what was seen has to do.
    pub fn establish(&mut self, ceiling: RecordTime) {
        if self.seen > 0 && !self.is_established() {
            self.resumed = false;
            self.now = self.now.max(Some(self.median.min(ceiling)));
        }
    }

    /// What it is now, for a successor. One that does not have all stamps of its life before has none.
    pub fn moment(&self) -> Moment {
        let oldest = if self.seen < WINDOW { 0 } else { self.seen % WINDOW };
        let (newer, older) = self.last[..self.seen.min(WINDOW)].split_at(oldest);
        let stamps = older.iter().chain(newer).copied().filter(|_| !self.resumed);
        Moment { now: self.now, stamps: stamps.collect() }
    }

    /// Goes on from a moment of a life before.
    pub fn at(Moment { now, stamps }: Moment) -> Self {
        let mut clock = Self::default();
        // None of them moved it then.
        let ceiling = now.unwrap_or(RecordTime::END);
        stamps.as_slice().iter().for_each(|&stamp| clock.observe(RecordTime(stamp), ceiling));
        clock.resumed = now.is_some() && stamps.as_slice().is_empty();
        clock.now = now;
        clock
    }

    /// It has been so late before.
    pub fn resume(&mut self, now: RecordTime) {
        self.resumed = self.seen < WINDOW && !self.is_established();
        self.now = self.now.max(Some(now));
    }

    /// Lets wall-clock milliseconds pass, while the partition is at the head of its log. What came before the latest record
    /// has been read, so there is no need to stay some records behind it, unless it is from the future. Of a log that lags
    /// behind the wall clock this is not told by the ceiling: what is more than `leap` milliseconds ahead is believed when
    /// nothing has come for as long.
    pub fn elapse(&mut self, ms: u64, ceiling: RecordTime, leap: u64) {
        self.rested = self.rested.saturating_add(ms);
        self.catch_up(ms, ceiling, leap);
    }

    /// The same, where what is here may have come at any time in between: it is no rest.
    pub fn catch_up(&mut self, ms: u64, ceiling: RecordTime, leap: u64) {
        self.establish(ceiling);
        if let Some(now) = self.now {
            let bound = if self.rested < leap { now.plus(leap).min(ceiling) } else { ceiling };
            self.now = Some(now.plus(ms).min(ceiling).max(self.caught_up(now, bound)));
        }
    }

    /// It is as late as elsewhere, if it is any time at all.
    pub fn rise(&mut self, now: RecordTime) {
        self.now = self.now.map(|before| before.max(now));
    }

    /// `now`, or the greatest of the last timestamps not above the ceiling where that is later.
    pub fn caught_up(&self, now: RecordTime, ceiling: RecordTime) -> RecordTime {
        self.latest(ceiling).map_or(now, |latest| latest.max(now))
    }

    /// The greatest of the last timestamps.
    pub fn greatest(&self) -> Option<RecordTime> {
        self.sorted[..self.seen.min(WINDOW)].last().copied().map(RecordTime)
    }

    /// The greatest of the last timestamps not above the ceiling.
    fn latest(&self, ceiling: RecordTime) -> Option<RecordTime> {
        let sorted = &self.sorted[..self.seen.min(WINDOW)];
        sorted[..sorted.partition_point(|&t| t <= ceiling.0)].last().copied().map(RecordTime)
    }

    /// Time runs out: the partition's input has ended.
    pub fn end(&mut self) {
        self.now = Some(RecordTime::END);
    }
}

// === impl Stamps ===

impl Stamps {
    pub fn as_slice(&self) -> &[i64] {
        &self.stamps[..self.len]
    }
}

impl FromIterator<i64> for Stamps {
    /// Of more, the first.
    fn from_iter<I: IntoIterator<Item = i64>>(of: I) -> Self {
        let mut stamps = Self::default();
        for stamp in of.into_iter().take(WINDOW) {
            stamps.stamps[stamps.len] = stamp;
            stamps.len += 1;
        }
        stamps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEAP: u64 = 30_000;

    fn after(times: impl IntoIterator<Item = i64>) -> Clock {
        let mut clock = Clock::default();
        times.into_iter().for_each(|t| clock.observe(RecordTime(t), RecordTime::END));
        clock
    }

    #[test]
    fn one_wrong_producer_moves_nothing() {
        for first in 0..10 {
            let clock = after((0..100).map(|t| if t % 10 == first { t + 3_600_000 } else { t }));
            assert!(clock.now().unwrap().0 < 100);
        }
    }

    #[test]
    fn says_nothing_until_it_has_seen_enough() {
        let mut clock = after(0..WINDOW as i64 - 1);
        assert_eq!(clock.now(), None);
        clock.observe(RecordTime(14), RecordTime::END);
        assert_eq!(clock.now(), Some(RecordTime(7)));
    }

    #[test]
    fn few_records_do_where_there_are_no_more() {
        let mut clock = after([3_600_000, 1, 2]);
        clock.establish(RecordTime::END);
        assert_eq!(clock.now(), Some(RecordTime(2)));
        clock = after([3_600_000, 1, 2]);
        clock.elapse(10, RecordTime(20), LEAP);
        assert_eq!(clock.now(), Some(RecordTime(12)));
        clock = Clock::default();
        clock.establish(RecordTime::END);
        clock.elapse(10, RecordTime::END, LEAP);
        assert_eq!(clock.now(), None);
    }

    #[test]
    fn at_the_head_it_is_as_late_as_the_latest_record() {
        let mut clock = after((0..20).map(|t| t * 4_000));
        assert_eq!(clock.now(), Some(RecordTime(12 * 4_000)));
        clock.elapse(10, RecordTime::END, LEAP);
        assert_eq!(clock.now(), Some(RecordTime(19 * 4_000)));
        clock.elapse(10, RecordTime::END, LEAP);
        assert_eq!(clock.now(), Some(RecordTime(19 * 4_000 + 10)));
        // Not as late as one from the future.
        clock = after([100; 16]);
        clock.observe(RecordTime(200), RecordTime(1_500));
        clock.observe(RecordTime(3_600_000), RecordTime(1_500));
        clock.elapse(10, RecordTime(1_500), LEAP);
        assert_eq!(clock.now(), Some(RecordTime(200)));
        // And the one that left the window no longer counts.
        clock = after([9_000].into_iter().chain([100; 15]));
        clock.elapse(0, RecordTime::END, LEAP);
        assert_eq!(clock.now(), Some(RecordTime(100)));
    }

    #[test]
    fn at_the_head_of_a_log_that_lags_a_leap_is_believed_when_nothing_comes() {
        let mut clock = after([100; 16]);
        clock.observe(RecordTime(3_600_000), RecordTime::END);
        clock.elapse(LEAP - 1, RecordTime::END, LEAP);
        assert_eq!(clock.now(), Some(RecordTime(100 + LEAP as i64 - 1)));
        // It was one wrong producer.
        let mut wrong = clock.clone();
        wrong.observe(RecordTime(100), RecordTime::END);
        wrong.elapse(1, RecordTime::END, LEAP);
        assert_eq!(wrong.now(), Some(RecordTime(100 + LEAP as i64)));
        // It was a lull.
        clock.elapse(1, RecordTime::END, LEAP);
        assert_eq!(clock.now(), Some(RecordTime(3_600_000)));
    }

    #[test]
    fn never_above_the_ceiling() {
        let mut clock = Clock::default();
        clock.observe(RecordTime(5_000), RecordTime(1_000));
        clock.establish(RecordTime::END);
        assert_eq!(clock.now(), Some(RecordTime(1_000)));
        clock.elapse(10, RecordTime(1_005), LEAP);
        assert_eq!(clock.now(), Some(RecordTime(1_005)));
        clock.observe(RecordTime(5_000), RecordTime(1_006));
        assert_eq!(clock.now(), Some(RecordTime(1_006)));
    }

    proptest! {
        #[test]
        fn is_the_running_maximum_of_the_median(times in prop::collection::vec(-50_i64..50, 1..60)) {
            let (mut clock, mut expected) = (Clock::default(), None);
            for (i, &time) in times.iter().enumerate() {
                clock.observe(RecordTime(time), RecordTime::END);
                if i + 1 >= WINDOW {
                    let mut window = times[i + 1 - WINDOW..=i].to_vec();
                    window.sort_unstable();
                    expected = expected.max(Some(window[WINDOW / 2]));
                }
                prop_assert_eq!(clock.now(), expected.map(RecordTime));
            }
        }
    }
}
