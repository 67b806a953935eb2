//! At least so many kept traces of each key in each period, whoever keeps them.
//!
//! The first that come are kept, until there are enough; what other policies keep counts. Workers hear of each other some
//! ticks late. So what a worker would keep of what is missing it pledges first, and no more than its part: it is held until all
//! have heard of that, and is kept then unless enough are kept already or pledged by partitions before it. Two that pledge without knowing of each
//! other know of it when they decide, and who goes first is the same to both. Of a key that was frequent in the last period the
//! partition that had most of it goes first and pledges nothing, and the other workers wait for a part of the period.
//!
//! Where a worker hears of nothing for that long, as it was away or reads faster than others speak, no more than its part is kept all the
//! same: of W workers and a floor of n, at most n + W − 1.

use std::{collections::VecDeque, ops::AddAssign};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{
    Malformed, Measured, Others, Rank,
    keys::{Holder, Key},
    known::{self, Division, Known, Learns, Remembers, Written},
    pack::{Reader, VALUE, Writer},
    slowest::Fate,
};
use crate::model::RecordTime;

/// The rule: the floor, and the period in milliseconds of record time. Periods begin at multiples of their length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rare {
    at_least: u32,
    per: u64,
}

/// What a partition has seen and kept of each key.
#[derive(Debug)]
pub struct Floors {
    counts: HashMap<u64, Counted, FixedState>,
    /// Of a batch that is being judged: how many are kept of which is to be learned.
    expected: HashMap<u64, u32, FixedState>,
    /// The keys of those that are to be written, the first first.
    changed: VecDeque<u64>,
    /// The latest of which anything was counted.
    period: u32,
    /// Traces that shared a floor in this period, their keys having found no place.
    crowded: u64,
}

/// Of one key in one partition, in a period and in the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Counted from the epoch.
    period: u32,
    seen: u32,
    kept: u32,
    seen_before: u32,
    kept_before: u32,
    pledges: Pledges,
}

/// Of one period, what was to be kept if nobody else does, how much of that came to a verdict, and when the last was, in milliseconds of
/// the period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pledges {
    made: u16,
    settled: u16,
    last: u32,
}

/// Whether one more is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    No,
    /// If nobody else does.
    Pledge,
    Yes,
}

/// How far floors held, in periods that are over. A key counts once for each partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pub keys: u64,
    /// Of these, those of which fewer were kept than the floor says and there were.
    pub uncovered: u64,
    /// Traces whose keys shared floors.
    pub crowded: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    count: Count,
    /// How many were kept or pledged here of which other workers may not have heard, and when the last was, in milliseconds of the period.
    recent: u16,
    last: u32,
    /// It is to be written.
    changed: bool,
}

/// Keys of a partition that have a floor of their own, at most: that is 7 MB.
const KEYS_MAX: usize = 100_000;

/// Places that keys share when there are as many as there may be: each has a floor, and a key is always in the same one.
const SHARED: u64 = 1024;

/// What others keep is known here by then, in milliseconds: states are two ticks of a second late at most.
const LAG: u32 = 3_000;

/// Milliseconds for which a pledge is held. Of two that were made while nobody knew of the other, the first is held until the second is known.
pub const HELD: u64 = 2 * LAG as u64;

/// Who does not go first waits a tenth of the period.
const WAIT: u64 = 10;

/// Of a key of which a partition had fewer in the last period, nobody waits for anyone: the next may be the last.
const FREQUENT: u32 = 16;

// === impl Rare ===

impl Rare {
    /// `per` are milliseconds, of which there are 1,000 at least.
    pub fn new(at_least: u32, per: u64) -> Self {
        Self { at_least, per: per.max(1000) }
    }

    /// The period and the milliseconds of it that have passed.
    fn period(&self, at: RecordTime) -> (u32, u32) {
        let ms = at.0.max(0) as u64;
        // A period that ends with time itself has none behind it.
        let period = u32::try_from(ms / self.per).unwrap_or(u32::MAX).min(u32::MAX - 1);
        (period, u32::try_from(ms % self.per).unwrap_or(u32::MAX))
    }

    fn start(&self, period: u32) -> RecordTime {
        RecordTime(i64::try_from(u64::from(period).saturating_mul(self.per)).unwrap_or(i64::MAX))
    }

    /// Of a period that is over, how far the floor held in a partition.
    fn covered(&self, floors: &Floors, known: &Known<Self>) -> Coverage {
        let mut coverage = Coverage { crowded: floors.crowded, ..Coverage::default() };
        for (&key, counted) in &floors.counts {
            let Some((seen, kept)) = counted.count.at(floors.period).filter(|(seen, _)| *seen > 0) else { continue };
            let wanted = self.at_least.min(seen);
            let is_covered = kept >= wanted || {
                let all = known.counts(Key(key)).filter_map(|(_, count)| count.at(floors.period));
                all.map(|(_, kept)| kept).fold(0, u32::saturating_add) >= wanted
            };
            coverage.keys += 1;
            coverage.uncovered += u64::from(!is_covered);
        }
        coverage
    }

    fn answer(&self, measured: Measured, known: &Known<Self>, division: Division) -> Answer {
        let Measured { key, time, .. } = measured;
        let (period, passed) = self.period(time);
        let (mut kept, mut pledged, mut most) = (0_u32, 0_u32, (0, 0));
        for (partition, count) in known.counts(key) {
            let Some((_, here)) = count.at(period) else { return Answer::No };
            kept = kept.saturating_add(here);
            pledged = pledged.saturating_add(count.pledged(period, passed));
            most = most.max((count.frequency_before(period), partition));
        }
        let expected = known.own.iter().map(|(_, floors)| floors.expected(key)).sum::<u32>();
        let promised = kept.saturating_add(expected).saturating_add(pledged);
        // What was known of a period long gone is forgotten.
        let is_gone = known.own.iter().any(|(_, floors)| floors.period > period + 1);
        if is_gone || promised >= self.at_least {
            return Answer::No;
        }
        if division.workers <= 1 {
            return Answer::Yes;
        }
        let (most, first) = most;
        if most >= FREQUENT && known.own.iter().any(|(of, _)| *of == first) {
            return Answer::Yes;
        }
        let waits = most >= FREQUENT && u64::from(passed) < self.per / WAIT;
        let recent = known.own.iter().map(|(_, floors)| floors.recent(key, period, passed)).sum::<u32>() + expected;
        let missing = self.at_least - (promised - recent.min(promised));
        if waits || recent >= missing.div_ceil(division.workers) {
            return Answer::No;
        }
        // What is kept in the next period is none of this one's, and alarms ring a second late at most.
        if u64::from(passed) + HELD + u64::from(LAG) < self.per { Answer::Pledge } else { Answer::Yes }
    }

    /// Whether a trace would be kept that has to be pledged.
    pub fn would_pledge(&self, measured: Measured, known: &Known<Self>, division: Division) -> bool {
        self.answer(measured, known, division) == Answer::Pledge
    }

    pub fn pledge(&self, measured: Measured, known: &mut Known<Self>) {
        let Measured { partition, key, time, .. } = measured;
        let (period, passed) = self.period(time);
        let floors = known.table(partition, self, time);
        floors.turn(period);
        floors.change(floors.place(key.0), |counted| {
            counted.turn(period);
            let is_pledged = counted.count.pledge(period, passed);
            if is_pledged {
                counted.note(passed);
            }
            is_pledged
        });
    }

    /// Whether a trace is kept that was pledged: unless enough are, or were pledged by those that go before. One of which nothing is known, as a period
    /// has begun since, or its key is another now, is kept as if there were no time to pledge it.
    pub fn confirms(&self, measured: Measured, known: &Known<Self>, division: Division) -> bool {
        let Measured { partition, key, time, .. } = measured;
        let (period, passed) = self.period(time);
        let own = known.find(partition).and_then(|floors| floors.get(key));
        if own.is_none_or(|own| own.count.outstanding(period) == 0) {
            return self.answer(measured, known, division) != Answer::No;
        }
        let mut sum = 0_u32;
        for (of, count) in known.counts(key) {
            let Some((_, kept)) = count.at(period) else { return false };
            let expected = known.find(of).map_or(0, |floors| floors.expected(key));
            let before = if of < partition { count.pledged(period, passed).saturating_sub(expected) } else { 0 };
            sum = sum.saturating_add(kept).saturating_add(expected).saturating_add(before);
        }
        sum < self.at_least
    }

    /// A trace that was pledged has its verdict, and that was learned of. That it is kept all others have known before.
    pub fn settle(&self, measured: Measured, kept: bool, known: &mut Known<Self>) {
        let Measured { partition, key, time, .. } = measured;
        let (period, _) = self.period(time);
        let floors = known.table(partition, self, time);
        floors.change(floors.place(key.0), |counted| {
            counted.recent -= u16::from(kept).min(counted.recent);
            counted.count.settle(period)
        });
    }
}

impl Remembers for Rare {
    type State = Count;
    type Table = Floors;
    type Others = Others<Count>;

    fn table(&self, now: RecordTime) -> Floors {
        let (period, _) = self.period(now);
        Floors {
            counts: HashMap::default(),
            expected: HashMap::default(),
            changed: VecDeque::new(),
            period,
            crowded: 0,
        }
    }

    fn put(floors: &mut Floors, holder: Holder, count: Count) {
        if let Holder::Key(Key(key)) = holder
            && floors.place(key) == key
        {
            floors.period = floors.period.max(count.period);
            floors.counts.insert(key, Counted { count, ..Counted::default() });
            // What was pledged comes again, and is pledged again.
            floors.change(key, |counted| counted.count.settle_all());
        }
    }

    fn read(&self, value: &[u8]) -> Result<Count, Malformed> {
        Count::from_bytes(value)
    }

    fn time(&self, count: &Count) -> RecordTime {
        self.start(count.period)
    }

    fn is_past(&self, count: &Count, now: RecordTime) -> bool {
        count.period + 1 < self.period(now).0
    }
}

impl Learns for Rare {
    type Over = Coverage;

    /// Whether one more trace of the key is to be kept, lest there be too few.
    fn probability(&self, measured: Measured, known: &Known<Self>, division: Division) -> f64 {
        f64::from(u8::from(self.answer(measured, known, division) != Answer::No))
    }

    fn learn(&self, measured: Measured, fate: Fate, known: &mut Known<Self>, _: Division) -> Coverage {
        let Measured { partition, key, time, .. } = measured;
        let (period, passed) = self.period(time);
        let before = known.find(partition).filter(|floors| floors.period < period);
        let over = before.map_or_else(Coverage::default, |floors| self.covered(floors, known));
        let floors = known.table(partition, self, time);
        floors.turn(period);
        floors.learn(key.0, (period, passed), fate.kept);
        over
    }
}

// === impl Known ===

impl Known<Rare> {
    /// How many of a trace's key are kept before it.
    pub fn rank(&self, rule: &Rare, measured: Measured) -> Rank {
        let (period, _) = rule.period(measured.time);
        let kept = self.counts(measured.key).filter_map(|(_, count)| count.at(period)).map(|(_, kept)| kept);
        Rank { before: kept.fold(0, u32::saturating_add), most: rule.at_least }
    }

    /// One that is kept is to be learned of when the others of its batch are judged.
    pub fn expect(&mut self, rule: &Rare, measured: Measured) {
        let Measured { partition, key, time, .. } = measured;
        let floors = self.table(partition, rule, time);
        let place = floors.place(key.0);
        *floors.expected.entry(place).or_default() += 1;
    }

    pub fn expect_no_more(&mut self) {
        self.own.iter_mut().for_each(|(_, floors)| floors.expected = HashMap::default());
    }

    /// What is known of a key, by partition.
    fn counts(&self, key: Key) -> impl Iterator<Item = (u32, &Count)> {
        let own = self.own.iter().filter_map(move |(of, floors)| Some((*of, &floors.get(key)?.count)));
        own.chain(self.others.of(Holder::Key(key)))
    }
}

// === impl Floors ===

impl Floors {
    fn turn(&mut self, period: u32) {
        if period <= self.period {
            return;
        }
        (self.period, self.crowded) = (period, 0);
        // What did not come for a whole period has no more to say.
        self.counts.retain(|_, counted| counted.count.period + 1 >= period);
        self.counts.shrink_to(0);
        let Self { counts, changed, .. } = self;
        changed.retain(|key| counts.contains_key(key));
        changed.shrink_to(0);
    }

    fn learn(&mut self, key: u64, (period, passed): (u32, u32), kept: bool) {
        let place = self.place(key);
        self.crowded += u64::from(place != key);
        self.change(place, |counted| {
            counted.turn(period);
            let Some(seen) = counted.count.add(period, kept) else { return false };
            if kept {
                counted.note(passed);
            }
            kept || seen.is_power_of_two()
        });
    }

    /// Changes what is counted in a place; `change` says whether that is to be told.
    fn change(&mut self, place: u64, change: impl FnOnce(&mut Counted) -> bool) {
        let counted = self.counts.entry(place).or_default();
        if change(counted) && !counted.changed {
            counted.changed = true;
            self.changed.push_back(place);
        }
    }

    /// A key's own place, or one that it shares.
    fn place(&self, key: u64) -> u64 {
        let has_place = self.counts.len() < KEYS_MAX || self.counts.contains_key(&key);
        if has_place { key } else { key % SHARED }
    }

    fn get(&self, key: Key) -> Option<&Counted> {
        self.counts.get(&self.place(key.0))
    }

    fn expected(&self, key: Key) -> u32 {
        if self.expected.is_empty() { 0 } else { self.expected.get(&self.place(key.0)).copied().unwrap_or(0) }
    }

    fn recent(&self, key: Key, period: u32, passed: u32) -> u32 {
        let counted = self.get(key).filter(|counted| counted.count.period == period);
        counted.map_or(0, |counted| counted.recent_at(passed))
    }
}

impl known::Table for Floors {
    fn write(&mut self, write: &mut dyn FnMut(Holder, &dyn Written) -> bool) {
        while let Some(key) = self.changed.front() {
            if let Some(counted) = self.counts.get_mut(key) {
                if !write(Holder::Key(Key(*key)), &counted.count) {
                    return;
                }
                counted.changed = false;
            }
            self.changed.pop_front();
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.counts.allocation_size() + self.changed.capacity() * size_of::<u64>()
    }
}

// === impl Count ===

impl Count {
    /// How many were seen and kept in a period; none where that is long gone.
    fn at(&self, period: u32) -> Option<(u32, u32)> {
        match self.period {
            of if of == period => Some((self.seen, self.kept)),
            of if of == period + 1 => Some((self.seen_before, self.kept_before)),
            of if of < period => Some((0, 0)),
            _ => None,
        }
    }

    /// How many were seen in the period before. All have to name the same as first, so each is compared by what all have heard of
    /// it: powers of two.
    fn frequency_before(&self, period: u32) -> u32 {
        let seen = if self.period + 1 == period {
            self.seen
        } else if self.period == period {
            self.seen_before
        } else {
            0
        };
        seen.checked_ilog2().map_or(0, |power| 1 << power)
    }

    fn turn(&mut self, period: u32) {
        if self.period < period {
            let (seen_before, kept_before) = self.at(period - 1).unwrap_or_default();
            *self = Self { period, seen_before, kept_before, ..Self::default() };
        }
    }

    fn pledge(&mut self, period: u32, passed: u32) -> bool {
        self.turn(period);
        // A period that is over has no more to say.
        if self.period != period {
            return false;
        }
        let Pledges { made, last, .. } = &mut self.pledges;
        (*made, *last) = (made.saturating_add(1), passed);
        true
    }

    fn settle(&mut self, period: u32) -> bool {
        let is_pledged = self.outstanding(period) > 0;
        self.pledges.settled += u16::from(is_pledged);
        is_pledged
    }

    fn settle_all(&mut self) -> bool {
        let is_pledged = self.outstanding(self.period) > 0;
        self.pledges.settled = self.pledges.made;
        is_pledged
    }

    /// What was pledged in a period and has no verdict.
    fn outstanding(&self, period: u32) -> u32 {
        if self.period == period { self.pledges.made.saturating_sub(self.pledges.settled).into() } else { 0 }
    }

    /// The same, as long as others may count on it: what is pledged comes to a verdict, and that is heard of.
    fn pledged(&self, period: u32, passed: u32) -> u32 {
        let is_over = u64::from(passed.saturating_sub(self.pledges.last)) >= HELD + u64::from(LAG);
        if is_over { 0 } else { self.outstanding(period) }
    }

    /// Counts one of a period, and says how many those are; none where it is long gone.
    fn add(&mut self, period: u32, kept: bool) -> Option<u32> {
        self.turn(period);
        let (all_seen, all_kept) = if self.period == period {
            (&mut self.seen, &mut self.kept)
        } else if self.period == period + 1 {
            (&mut self.seen_before, &mut self.kept_before)
        } else {
            return None;
        };
        *all_seen = all_seen.saturating_add(1);
        *all_kept = all_kept.saturating_add(u32::from(kept));
        Some(*all_seen)
    }

    /// In both periods.
    #[cfg(test)]
    pub fn kept(&self) -> u64 {
        u64::from(self.kept) + u64::from(self.kept_before)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes)?;
        let mut number = || u32::try_from(from.number()?).map_err(|_| VALUE);
        let mut count = Self {
            period: number()?,
            seen: number()?,
            kept: number()?,
            seen_before: number()?,
            kept_before: number()?,
            pledges: Pledges::default(),
        };
        if !from.is_empty() {
            let mut number = || u32::try_from(from.number()?).map_err(|_| VALUE);
            let [made, settled, last] = [number()?, number()?, number()?];
            let short = |number| u16::try_from(number).map_err(|_| VALUE);
            count.pledges = Pledges { made: short(made)?, settled: short(settled)?, last };
        }
        from.end()?;
        if count.period == u32::MAX { Err(VALUE) } else { Ok(count) }
    }
}

impl Written for Count {
    fn to_bytes(&self) -> Vec<u8> {
        let Self { period, seen, kept, seen_before, kept_before, pledges: Pledges { made, settled, last } } = *self;
        let mut into = Writer::new();
        let mut numbers = |numbers: &[u32]| numbers.iter().for_each(|value| into.number(u64::from(*value)));
        numbers(&[period, seen, kept, seen_before, kept_before]);
        if made > 0 {
            numbers(&[made.into(), settled.into(), last]);
        }
        into.bytes()
    }
}

impl known::State for Count {
    fn bytes(&self) -> usize {
        0
    }
}

// === impl Counted ===

impl Counted {
    fn turn(&mut self, period: u32) {
        if self.count.period < period {
            self.recent = 0;
        }
    }

    /// One more is kept or pledged.
    fn note(&mut self, passed: u32) {
        self.recent = u16::try_from(self.recent_at(passed) + 1).unwrap_or(u16::MAX);
        self.last = passed;
    }

    fn recent_at(&self, passed: u32) -> u32 {
        if passed.saturating_sub(self.last) < LAG { self.recent.into() } else { 0 }
    }
}

// === impl Coverage ===

impl AddAssign for Coverage {
    fn add_assign(&mut self, other: Self) {
        let Self { keys, uncovered, crowded } = other;
        self.keys += keys;
        self.uncovered += uncovered;
        self.crowded += crowded;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::sample::known::{Hears, Table};

    const PERIOD: u64 = 60_000;

    /// One of two workers, of two partitions in all, or the only one.
    struct Worker {
        rule: Rare,
        known: Known<Rare>,
        division: Division,
    }

    impl Worker {
        fn new(at_least: u32, own: &[u32]) -> Self {
            let (rule, mut known) = (Rare::new(at_least, PERIOD), Known::default());
            own.iter().for_each(|&partition| _ = known.table(partition, &rule, RecordTime(0)));
            Self { rule, known, division: Division { partitions: 2, workers: 2 / own.len() as u32 } }
        }

        fn ask(&self, key: u64, ms: i64) -> bool {
            self.rule.probability(measured(0, key, ms), &self.known, self.division) == 1.0
        }

        fn learn(&mut self, partition: u32, key: u64, ms: i64, kept: bool) -> Coverage {
            self.rule.learn(measured(partition, key, ms), Fate { chosen: kept, kept }, &mut self.known, self.division)
        }

        fn come(&mut self, partition: u32, key: u64, ms: i64) -> bool {
            let keeps = self.ask(key, ms);
            self.learn(partition, key, ms, keeps);
            keeps
        }

        fn pledge(&mut self, partition: u32, key: u64, ms: i64) -> bool {
            let measured = measured(partition, key, ms);
            let pledges = self.rule.would_pledge(measured, &self.known, self.division);
            if pledges {
                self.rule.pledge(measured, &mut self.known);
            }
            pledges
        }

        fn confirm(&mut self, partition: u32, key: u64, ms: i64) -> bool {
            let measured = measured(partition, key, ms);
            let keeps = self.rule.confirms(measured, &self.known, self.division);
            self.learn(partition, key, ms, keeps);
            self.rule.settle(measured, keeps, &mut self.known);
            keeps
        }

        fn written(&mut self, partition: u32) -> Vec<(Holder, Vec<u8>)> {
            let mut written = Vec::new();
            self.known.table(partition, &self.rule, RecordTime(0)).write(&mut |holder, count| {
                written.push((holder, count.to_bytes()));
                true
            });
            written
        }

        fn tell(&mut self, partition: u32, to: &mut Self) {
            for (holder, value) in self.written(partition) {
                to.known.others.hear(partition, holder, self.rule.read(&value).expect("as written"));
            }
        }
    }

    fn measured(partition: u32, key: u64, ms: i64) -> Measured {
        Measured { partition, key: Key(key), value: 1.0, time: RecordTime(ms) }
    }

    #[test]
    fn the_first_of_a_period_is_kept_whatever_keeps_it() {
        let mut worker = Worker::new(1, &[0]);
        assert!(worker.come(0, 7, 60_000));
        assert!(!worker.come(0, 7, 60_001));
        worker.learn(0, 8, 60_002, true);
        assert!(!worker.come(0, 8, 60_003), "another policy kept one");
        worker.learn(0, 9, 60_004, false);
        assert!(worker.ask(7, 120_000));
        let over = worker.learn(0, 7, 120_000, true);
        assert_eq!(over, Coverage { keys: 3, uncovered: 1, crowded: 0 });
    }

    #[test]
    fn of_two_who_pledge_without_knowing_one_keeps() {
        let (mut here, mut there) = (Worker::new(1, &[0]), Worker::new(1, &[1]));
        assert!(here.pledge(0, 7, 60_000));
        assert!(there.pledge(1, 7, 61_000), "not heard of yet");
        here.tell(0, &mut there);
        there.tell(1, &mut here);
        assert!(!here.pledge(0, 7, 64_000) && !there.pledge(1, 7, 64_000));
        assert!(here.confirm(0, 7, 66_000), "partition 0 goes first");
        assert!(!there.confirm(1, 7, 67_000), "its pledge is enough, though it is not heard yet that it is kept");
        here.tell(0, &mut there);
        assert!(!there.pledge(1, 7, 80_000), "it is kept");
    }

    #[test]
    fn what_is_heard_to_be_pledged_counts_as_long_as_it_may_be_held() {
        let (mut here, mut there) = (Worker::new(2, &[0]), Worker::new(2, &[1]));
        assert!(here.pledge(0, 7, 60_000) && !here.pledge(0, 7, 60_001), "its part");
        here.tell(0, &mut there);
        assert!(there.pledge(1, 7, 63_000) && !there.pledge(1, 7, 67_000));
        // The worker of partition 0 is away.
        assert!(there.confirm(1, 7, 69_000));
        assert!(there.pledge(1, 7, 73_000), "what was pledged has come to nothing");
        assert!(there.confirm(1, 7, 79_000));
        // It is back, and what it had pledged is to be pledged again.
        let written = here.known.table(0, &here.rule, RecordTime(0)).get(Key(7)).expect("it was seen").count;
        let mut back = Worker::new(2, &[0]);
        Rare::put(back.known.table(0, &back.rule, RecordTime(0)), Holder::Key(Key(7)), written);
        assert!(back.pledge(0, 7, 60_000) && back.confirm(0, 7, 66_000));
    }

    #[test]
    fn at_the_end_of_a_period_there_is_no_time_to_pledge() {
        let mut worker = Worker::new(1, &[0]);
        assert!(!worker.pledge(0, 7, 112_000));
        assert!(worker.come(0, 7, 112_000));
        assert!(worker.pledge(0, 7, 120_000));
        assert!(worker.confirm(0, 7, 126_000));
        assert!(worker.pledge(0, 8, 130_000));
        assert!(worker.confirm(0, 8, 180_000), "a period later nobody has kept one");
    }

    #[test]
    fn what_others_keep_counts_when_it_is_heard_of() {
        let (mut here, mut there) = (Worker::new(1, &[0]), Worker::new(1, &[1]));
        assert!(here.come(0, 7, 60_000));
        assert!(there.come(1, 7, 61_000), "not heard of yet");
        assert!(here.come(0, 8, 62_000));
        here.tell(0, &mut there);
        assert!(!there.come(1, 8, 64_000));
        there.learn(1, 8, 64_001, false);
        assert_eq!(there.learn(1, 7, 120_000, true).uncovered, 0);
    }

    #[test]
    fn of_a_frequent_key_one_partition_goes_first() {
        let (mut here, mut there) = (Worker::new(1, &[0]), Worker::new(1, &[1]));
        for at in 0..100 {
            here.come(0, 7, 60_000 + at);
        }
        for at in 0..40 {
            there.come(1, 7, 60_000 + at);
        }
        here.tell(0, &mut there);
        there.tell(1, &mut here);
        assert!(!there.come(1, 7, 120_000), "it waits");
        assert!(!there.come(1, 7, 125_999));
        assert!(there.come(1, 7, 126_000), "the first has nothing");
        assert!(here.come(0, 7, 120_000), "it waits for nobody");
    }

    #[test]
    fn a_floor_above_one_is_shared_out_until_others_are_heard_of() {
        let mut worker = Worker::new(5, &[0]);
        let kept = (0..10).filter(|at| worker.come(0, 7, 60_000 + at)).count();
        assert_eq!(kept, 3, "half of five, rounded up");
        let kept = (0..10).filter(|at| worker.come(0, 7, 63_100 + at)).count();
        assert_eq!(kept, 1, "half of two");
        assert_eq!(worker.learn(0, 7, 120_000, true), Coverage { keys: 1, uncovered: 1, crowded: 0 });
        // Who owns all partitions has nobody to wait for.
        let mut alone = Worker::new(5, &[0, 1]);
        assert_eq!((0..10).filter(|at| alone.come(0, 7, 60_000 + at)).count(), 5);
    }

    #[test]
    fn a_restart_keeps_no_more() {
        let mut worker = Worker::new(2, &[0]);
        assert!(worker.come(0, 7, 60_000));
        let written = worker.written(0);
        assert!(worker.written(0).is_empty(), "nothing is new");
        worker.come(0, 7, 64_000);
        // The second was not committed: it comes again.
        let mut next = Worker::new(2, &[0]);
        for (holder, value) in written {
            let count = next.rule.read(&value).expect("as written");
            Rare::put(next.known.table(0, &next.rule, RecordTime(0)), holder, count);
        }
        assert!(next.come(0, 7, 64_000));
        assert!(!next.come(0, 7, 70_000));
    }

    #[test]
    fn a_partition_that_is_behind_finds_what_its_period_had() {
        let mut worker = Worker::new(1, &[0, 1]);
        assert!(worker.come(0, 7, 60_000));
        worker.come(0, 7, 120_000);
        assert!(!worker.come(1, 7, 119_000));
        worker.come(0, 7, 180_000);
        assert!(!worker.come(1, 7, 119_000), "of periods long gone nothing is known");
        assert!(!worker.come(1, 8, 119_000));
    }

    #[test]
    fn keys_without_a_place_share_floors() {
        let mut worker = Worker::new(1, &[0, 1]);
        let keys = (1..=1_000_000_u64).map(|key| key.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let kept = keys.filter(|key| worker.come(0, *key, 0)).count();
        assert_eq!(kept, KEYS_MAX + SHARED as usize);
        let bytes = worker.known.bytes();
        assert!(bytes < 8 << 20, "{bytes}");
        worker.written(0);
        assert_eq!(worker.learn(0, 1, 60_000, false).crowded, 1_000_000 - KEYS_MAX as u64);
        worker.learn(0, 1, 120_000, false);
        assert!(worker.known.bytes() < 4096, "keys that do not come any more leave");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            period in 0..u32::MAX,
            [seen, kept, seen_before, kept_before] in any::<[u32; 4]>(),
            ([made, settled], last) in any::<([u16; 2], u32)>(),
        ) {
            let pledges = if made > 0 { Pledges { made, settled, last } } else { Pledges::default() };
            let count = Count { period, seen, kept, seen_before, kept_before, pledges };
            let bytes = count.to_bytes();
            prop_assert!(bytes.len() <= 41);
            prop_assert_eq!(Count::from_bytes(&bytes), Ok(count));
            // But for that of before there were pledges.
            let without = Count { pledges: Pledges::default(), ..count }.to_bytes().len();
            for end in (0..bytes.len()).filter(|end| *end != without) {
                prop_assert!(Count::from_bytes(&bytes[..end]).is_err());
            }
        }

        #[test]
        fn nothing_panics(bytes in vec(any::<u8>(), 0..30), times in vec(any::<i64>(), 1..20), period in 0..u32::MAX) {
            _ = Count::from_bytes(&bytes);
            _ = Count::from_bytes(&[&[1], &bytes[..]].concat());
            let (mut worker, most) = (Worker::new(3, &[0]), u32::MAX);
            let pledges = Pledges { made: u16::MAX, settled: 0, last: most };
            let count = Count { period, seen: most, kept: most, seen_before: most, kept_before: most, pledges };
            worker.known.others.hear(1, Holder::Key(Key(7)), count);
            Rare::put(worker.known.table(0, &worker.rule, RecordTime(0)), Holder::Key(Key(7)), count);
            times.into_iter().for_each(|ms| _ = worker.come(0, 7, ms));
        }
    }
}
