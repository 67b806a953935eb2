//! How much of a partition's decision log a restart must read again.
//!
//! A verdict must be found again for as long as a restart may read a span of its trace again: until the watermark has passed
//! what was read when the trace was last touched. So each tick remembers its position, and each record of the log its tick.

use std::collections::VecDeque;

#[derive(Debug)]
pub struct Floor {
    /// Ticks with their positions, above the watermark.
    cuts: VecDeque<(u64, i64)>,
    /// The newest tick whose position the watermark has reached.
    passed: u64,
    /// Records of the log that hold remembered decisions.
    records: VecDeque<Records>,
    floor: i64,
    last: Option<i64>,
    /// The last whose decisions have all been acted on.
    settled: Option<i64>,
}

/// What one tick wrote to the log: mostly a single record.
#[derive(Debug)]
struct Records {
    tick: u64,
    first: i64,
    last: i64,
}

// === impl Floor ===

impl Floor {
    /// Of a partition whose commit says: tick, position, floor and last record.
    pub fn new(tick: u64, position: i64, floor: i64, last: Option<i64>) -> Self {
        Self {
            cuts: VecDeque::from([(tick, position)]),
            passed: tick.saturating_sub(1),
            records: VecDeque::new(),
            floor,
            last,
            settled: last,
        }
    }

    /// A tick was cut at `position`, with this watermark.
    pub fn cut(&mut self, tick: u64, position: i64, watermark: i64) {
        // An idle tick adds nothing but its number.
        match self.cuts.back_mut() {
            Some((latest, at)) if *at == position => *latest = tick,
            _ => self.cuts.push_back((tick, position)),
        }
        while let Some(&(tick, position)) = self.cuts.front()
            && position <= watermark
        {
            self.passed = tick;
            self.cuts.pop_front();
        }
    }

    /// What was last touched in this tick or before is not read again.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// A tick's decisions stand in the log from `first` to `last`.
    pub fn logged(&mut self, tick: u64, first: i64, last: i64) {
        self.records.push_back(Records { tick, first, last });
        self.last = self.last.max(Some(last));
    }

    /// A record of the log holds something that is remembered again. They come in the order of the log.
    pub fn restore(&mut self, tick: u64, record: i64) {
        if self.records.back().is_none_or(|known| known.last < record) {
            self.records.push_back(Records { tick, first: record, last: record });
        }
    }

    /// Where the log must be read from, when `oldest` is the tick of the oldest decision that is remembered.
    pub fn rise(&mut self, oldest: Option<u64>) -> i64 {
        while let Some(&Records { tick, first, last }) = self.records.front() {
            if oldest.is_some_and(|oldest| tick >= oldest) {
                self.floor = self.floor.max(first);
                return self.floor;
            }
            self.records.pop_front();
            self.floor = self.floor.max(last + 1);
        }
        // What is remembered, if anything, is not in the log yet.
        self.floor = self.floor.max(self.last.map_or(0, |last| last + 1));
        self.floor
    }

    /// The last record of the log up to which everything decided has been acted on; `all` if that is so of every record.
    pub fn settle(&mut self, all: bool) -> Option<i64> {
        if all {
            self.settled = self.last;
        }
        self.settled
    }

    pub fn bytes(&self) -> usize {
        self.cuts.capacity() * size_of::<(u64, i64)>() + self.records.capacity() * size_of::<Records>()
    }
}
