//! A partition on its way through the stage.

use std::time::{Duration, Instant};

use crate::{
    assemble::{Clock, Moment},
    model::RecordTime,
    source::{Beginning, Head, Metadata, Partition, Polled},
    tick::Watermark,
};

/// A partition of the input, from assignment to revocation.
pub struct Lane {
    pub partition: Partition,
    /// Its number in ticks.
    pub at: u32,
    /// The offset after the last record taken apart.
    pub position: i64,
    /// The offset below which nothing is left to read: markers of transactions have offsets, too.
    read: i64,
    /// The high watermark last heard of.
    high: i64,
    clock: Clock,
    /// Where its finite input ends.
    end: Option<i64>,
    pub finished: bool,
    /// What the group has committed of it, or will have before anything is read.
    pub standing: (i64, Metadata),
    /// Its start is committed: it may be read.
    pub begun: bool,
    /// Held back: its clock is far ahead of the slowest.
    pub ahead: bool,
    /// What was last committed; None where nothing is, or a commit failed.
    pub committed: Option<Watermark>,
    /// The time up to which it has shown no record since it was assigned: it holds no time back. What its clock was before may
    /// be of long ago.
    idle: Option<RecordTime>,
    /// Milliseconds that its records came behind the wall clock before it was ours.
    delay: i64,
    /// When it was last seen at the head of its log.
    at_head: Option<Instant>,
    /// What librdkafka was told. It remembers a pause over a revocation, so None is not true.
    pub flows: Option<bool>,
    /// What statistics said.
    polled: Polled,
}

/// The ceiling is a second ahead of the wall clock, and the fetch that found nothing may be a second old.
const UNSEEN: i64 = 2000;
/// The clock of an idle partition is worth a commit when it has moved by so many milliseconds: others wait for it.
const HEARTBEAT: u64 = 500;

// === impl Lane ===

impl Lane {
    pub fn new(partition: Partition, at: u32, beginning: &Beginning, end: Option<i64>) -> Self {
        let Beginning { offset, committed, metadata, expired: _ } = *beginning;
        let mut clock = Clock::default();
        if let Some(before) = metadata.clock {
            clock.resume(RecordTime(before));
        }
        Self {
            partition,
            at,
            position: offset,
            read: offset,
            high: offset,
            clock,
            end,
            finished: end.is_some_and(|end| offset >= end),
            standing: (offset, metadata),
            begun: committed,
            ahead: false,
            committed: None,
            idle: None,
            // What was committed of an idle one was behind by as much, and must not fall behind further with every start.
            delay: metadata.wall.zip(metadata.clock).map_or(0, |(wall, clock)| (wall - clock - UNSEEN).max(0)),
            at_head: None,
            flows: None,
            polled: Polled::default(),
        }
    }

    /// Whether a record is the next to be taken apart. Others were fetched before a pause and come again after it, or stand
    /// behind the end.
    pub fn takes(&mut self, offset: i64) -> bool {
        if self.flows != Some(true) || offset < self.position {
            return false;
        }
        // What is before the end may have been a transaction's marker, which never comes.
        self.finished |= self.end.is_some_and(|end| offset >= end);
        !self.finished
    }

    /// A record was taken apart.
    pub fn pass(&mut self, offset: i64, timestamp: RecordTime, ceiling: RecordTime) {
        self.clock.observe(timestamp, ceiling);
        self.idle = None;
        self.position = offset + 1;
        self.finished |= self.end.is_some_and(|end| self.position >= end);
    }

    /// Records between the position and the head of the log.
    pub fn lag(&self) -> u64 {
        (self.high - self.position.max(self.read)).max(0) as u64
    }

    /// Tells whether it may flow; true where that is news.
    pub fn regulate(&mut self, flows: bool) -> bool {
        let news = self.flows.replace(flows) != Some(flows);
        if news {
            self.polled = Polled::told();
        }
        news
    }

    /// How far, in milliseconds, it is ahead of the slowest. A time that is not known waits for a partition that has said
    /// nothing yet.
    pub fn ahead_of(&self, frontier: Option<RecordTime>) -> u64 {
        match (self.clock.now(), frontier) {
            _ if self.finished => 0,
            (Some(clock), Some(frontier)) => clock.since(frontier),
            (Some(_), None) => u64::MAX,
            (None, _) => 0,
        }
    }

    /// What is to be committed of it, where that is news.
    pub fn watermark(&self) -> Option<Watermark> {
        let clock = self.idle.or(self.clock.now());
        let Self { at, position, .. } = *self;
        let now = Watermark {
            partition: at,
            offset: position,
            position,
            floor: 0,
            last: None,
            settled: true,
            since: Moment::default(),
            clock,
            age: 0,
        };
        let is_news = self.committed.is_none_or(|committed| {
            let moved = match (committed.clock, clock) {
                (Some(before), Some(now)) => now.since(before) >= HEARTBEAT,
                (before, now) => before != now,
            };
            moved || !committed.says_the_same(&now)
        });
        is_news.then_some(now)
    }

    /// All of a finite input is out.
    pub fn is_done(&self) -> bool {
        self.finished && self.committed.is_some_and(|committed| committed.offset == self.position)
    }

    /// C12: a clock follows the wall clock only at the head of the log, from its last value. C11: there a leap of more than so
    /// many milliseconds is not believed at once.
    pub fn look(&mut self, head: &Head, statistics: Duration, ceiling: RecordTime, leap: u64) {
        self.high = self.high.max(head.high);
        let polled = self.polled.below(head, self.position);
        let Some(polled) = polled.filter(|_| self.flows == Some(true)) else {
            self.at_head = None;
            return;
        };
        if polled >= head.next {
            self.read = self.read.max(head.next);
        }
        if let Some(end) = self.end {
            self.finished |= polled >= end;
        }
        if head.high < 0 || polled < head.high {
            self.at_head = None;
            return;
        }
        let now = Instant::now();
        let since = self.at_head.replace(now).map_or(Duration::ZERO, |before| now - before);
        // A process that was stopped has not seen the time in between.
        self.clock.elapse(since.min(statistics * 2).as_millis() as u64, ceiling, leap);
        let unseen = UNSEEN + head.at.elapsed().as_millis() as i64;
        self.idle = (self.clock.seen() == 0).then_some(RecordTime(ceiling.0 - unseen - self.delay));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assemble::CLOCK_WINDOW, source::Metadata};

    const CEILING: RecordTime = RecordTime(1_000_000);
    const STATISTICS: Duration = Duration::from_millis(500);
    const LEAP: u64 = 30_000;

    fn lane(offset: i64, clock: Option<i64>, end: Option<i64>) -> Lane {
        let metadata = Metadata { position: offset, clock, ..Metadata::default() };
        let beginning = Beginning { offset, committed: true, expired: 0, metadata };
        let mut lane = Lane::new(("spans".into(), 0), 3, &beginning, end);
        lane.regulate(true);
        (0..Polled::STALE).for_each(|_| lane.look(&head(&lane.partition, offset), STATISTICS, CEILING, LEAP));
        lane
    }

    /// Of a partition that has been fetched up to its head.
    fn head(partition: &Partition, high: i64) -> Head {
        let at = Instant::now();
        Head { partition: partition.clone(), high, next: high, queued: 0, broker: 1, fetches: 0, fresh: true, at }
    }

    fn clock(lane: &Lane) -> Option<i64> {
        lane.watermark().and_then(|watermark| watermark.clock).map(|clock| clock.0)
    }

    #[test]
    fn a_partition_without_records_holds_no_time_back() {
        // Of a life long ago, too.
        for before in [None, Some(5)] {
            let mut lane = lane(7, before, None);
            assert_eq!(clock(&lane), before);
            lane.look(&head(&lane.partition, 7), STATISTICS, CEILING, LEAP);
            let idle = CEILING.0 - UNSEEN;
            assert!(clock(&lane).is_some_and(|clock| (idle - 1_000..=idle).contains(&clock)));
            lane.pass(7, RecordTime(9), CEILING);
            assert_eq!(clock(&lane), before, "not before its clock is established");
            lane.look(&head(&lane.partition, 8), STATISTICS, CEILING, LEAP);
            assert!(clock(&lane).is_some_and(|clock| (9..1_000).contains(&clock)));
        }
    }

    /// Its time is not the wall clock's: who takes it for that judges all traffic to come on what is there.
    #[test]
    fn a_partition_whose_records_lag_holds_back_what_is_before_them() {
        const LAG: i64 = 600_000;
        let (wall, clock_before) = (Some(CEILING.0), Some(CEILING.0 - LAG));
        let metadata = Metadata { position: 7, clock: clock_before, wall, ..Metadata::default() };
        let beginning = Beginning { offset: 7, committed: true, expired: 0, metadata };
        let mut lane = Lane::new(("spans".into(), 0), 3, &beginning, None);
        lane.regulate(true);
        (0..=Polled::STALE).for_each(|_| lane.look(&head(&lane.partition, 7), STATISTICS, CEILING, LEAP));
        let idle = CEILING.0 - LAG;
        assert!(clock(&lane).is_some_and(|clock| (idle - 1_000..=idle).contains(&clock)));
    }

    #[test]
    fn is_ahead_of_the_slowest() {
        let mut lane = lane(0, None, None);
        assert_eq!(lane.ahead_of(None), 0);
        (0..CLOCK_WINDOW as i64).for_each(|offset| lane.pass(offset, RecordTime(500), CEILING));
        assert_eq!((lane.ahead_of(None), lane.ahead_of(Some(RecordTime(200)))), (u64::MAX, 300));
        assert_eq!(lane.ahead_of(Some(RecordTime(600))), 0);
    }

    #[test]
    fn what_is_not_news_is_not_committed() {
        let mut lane = lane(0, Some(1_000), None);
        lane.committed = lane.watermark();
        assert!(lane.committed.is_some() && lane.watermark().is_none());
        lane.clock.resume(RecordTime(1_000 + HEARTBEAT as i64 - 1));
        assert_eq!(lane.watermark(), None);
        lane.clock.resume(RecordTime(1_000 + HEARTBEAT as i64));
        assert!(lane.watermark().is_some());
        lane.committed = lane.watermark();
        lane.pass(0, RecordTime(0), CEILING);
        assert_eq!(lane.watermark().map(|watermark| watermark.offset), Some(1));
    }

    #[test]
    fn ends_at_its_end_and_not_before_it_is_committed() {
        let mut lane = lane(0, None, Some(3));
        assert!(lane.takes(0) && !lane.finished);
        lane.pass(0, RecordTime(0), CEILING);
        // What is left are markers.
        for fetches in [0, 2] {
            assert!(!lane.finished);
            lane.look(&Head { fetches, ..head(&lane.partition, 3) }, STATISTICS, CEILING, LEAP);
        }
        assert!(lane.finished && !lane.takes(3) && !lane.is_done());
        lane.committed = lane.watermark();
        assert!(lane.is_done());
    }
}
