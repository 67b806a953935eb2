//! Where partitions stand when a tick is cut.

use super::{Assembly, clock::Moment, marks::Mark};
use crate::{
    model::RecordTime,
    mutant::{self, Mutant},
};

/// Where a partition stands when a tick is cut.
pub struct Cut {
    pub offset: i64,
    /// What the clock was there.
    pub since: Moment,
    /// Milliseconds of record time that the first held trace has waited.
    pub age: u64,
    pub position: i64,
    pub floor: i64,
    pub last: Option<i64>,
    pub settled: bool,
    pub clock: Option<RecordTime>,
}

impl<C, V: Copy> Assembly<C, V> {
    /// A tick is cut: where a partition stands, if it is not behind. Of an unkeyed input another may be: then nothing is
    /// decided, but late spans and bad records of this one are in the tick, and are not to be read again.
    pub fn cut(&mut self, partition: u32) -> Option<Cut> {
        if self.time.partition(partition).is_behind() && !mutant::is(Mutant::PositionFallsBack) {
            return None;
        }
        let domain = self.time.domain(partition);
        let (watermark, first_seen) = self.watermark(partition);
        let oldest = self.time.in_domain(domain).fallen.oldest().map(|written| written.tick);
        let tick = self.tick;
        // A verdict of a life before whose trace is held again was not acted on; nor may one be whose trace is still to come.
        let settled = self.bound.is_empty() && !self.time.is_behind(domain);
        let at = self.time.partition(partition);
        let Mark { offset, moment: since } = at.marks.last_before(watermark, at.next, &at.clock);
        at.floor.cut(tick, at.next, offset);
        let (floor, last) = (at.floor.rise(oldest), at.floor.settle(settled));
        let clock = at.clock.now();
        let age = clock.zip(first_seen).map_or(0, |(clock, first_seen)| clock.since(first_seen));
        Some(Cut { offset, since, age, position: at.next, floor, last, settled, clock })
    }

    /// The watermark, below which no record holds a span of a held trace (I4), and since when the trace at it is held.
    pub fn watermark(&self, partition: u32) -> (i64, Option<RecordTime>) {
        let partition = self.time.assigned(partition);
        match self.anchors.first(&partition.queue) {
            Some((offset, trace)) => (offset, Some(RecordTime(self.traces[trace].first_seen))),
            None => (partition.next, None),
        }
    }
}
