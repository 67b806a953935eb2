//! At least so many kept traces of each key in each period, whoever keeps them.
//!
//! The first that come are kept, until there are enough; what other policies keep counts. Workers hear of each other some
//! ticks late. So each keeps no more than its part of what is missing before it has heard of the others: of W workers and a
//! floor of n, at most n + W − 1 are kept, and more only by other policies. Of a key that was frequent in the last period the
//! partition that had most of it goes first, and the other workers wait for a part of the period: there it is n.

use super::{
    demand::Keys,
    pack::{Malformed, Reader, Writer},
};
use crate::model::RecordTime;

/// A worker's state: that of its partitions, and what it heard of the others.
#[derive(Clone, Debug)]
pub struct Rare {
    at_least: u32,
    /// Milliseconds.
    per: u64,
    /// The most keys with a floor of their own.
    limit: usize,
    keys: Keys<Key>,
    /// By partition.
    own: Vec<Option<Own>>,
    /// How many workers may keep before they hear of each other.
    workers: u32,
    /// The latest period of which anything was asked.
    period: u32,
    /// Traces that shared a floor in this period, their keys having found no place.
    crowded: u64,
}

/// Of one key, what a partition tells the others and leaves for a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Which period of record time this is of, counted from the epoch.
    period: u32,
    /// Kept in it, in all, and since it was last told.
    kept: u32,
    more: u32,
    seen: u32,
}

/// How far the floor holds, in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pub keys: usize,
    /// Of these, those of which fewer were kept than the floor says and there were.
    pub uncovered: usize,
    /// Traces whose keys shared floors.
    pub crowded: u64,
}

/// Of all partitions, as far as is known here.
#[derive(Clone, Copy, Debug, Default)]
struct Key {
    period: u32,
    kept: u32,
    kept_before: u32,
    /// Of one's own.
    seen: u32,
    /// The most that one partition had in this period, so far, and in the one before, and which.
    most: (u32, u32),
    most_before: (u32, u32),
    /// How many were kept here of which the others may not have heard, and when the last was, in milliseconds of the period.
    recent: u32,
    last: u32,
}

#[derive(Clone, Debug, Default)]
struct Own {
    keys: Keys<Told>,
    changed: Vec<u64>,
}

/// Places that keys share when there are as many as there may be: each has a floor, and a key is always in the same one.
const SHARED: u64 = 1024;

/// What others keep is known here by then, in milliseconds: summaries are two ticks of a second late at most.
const LAG: u32 = 3_000;

/// Who does not go first waits a tenth of the period.
const WAIT: u64 = 10;

/// Of a key of which a partition had fewer in the last period, nobody waits for anyone: the next may be the last.
const FREQUENT: u32 = 16;

// === impl Rare ===

impl Rare {
    /// `per` is in milliseconds.
    ///
    /// # Panics
    /// If `per` is below a second.
    pub fn new(at_least: u32, per: u64, limit: usize, partitions: usize, workers: u32) -> Self {
        assert!(per >= 1000, "a period lasts at least a second");
        let own = vec![None; partitions];
        Self { at_least, per, limit, keys: Keys::default(), own, workers: workers.max(1), period: 0, crowded: 0 }
    }

    /// Takes a partition on, or gives it back.
    pub fn own(&mut self, partition: usize, own: bool) {
        if let Some(place) = self.own.get_mut(partition) {
            *place = own.then(Own::default);
        }
    }

    /// Whether one more trace of the key is to be kept, lest there be too few.
    pub fn ask(&mut self, key: u64, now: RecordTime) -> bool {
        let (period, passed) = self.period_of(now);
        let (at_least, wait) = (self.at_least, self.per / WAIT);
        let place = self.place(key);
        let key = self.keys.entry(place).or_default();
        key.turn(period);
        if key.period != period {
            // A partition that is behind: of the period before it is still known how many there were.
            return key.period == period + 1 && key.kept_before < at_least;
        }
        if key.kept >= at_least {
            return false;
        }
        let (most, first) = key.most_before;
        let is_first = most >= FREQUENT && self.own.get(first as usize).is_some_and(Option::is_some);
        let waits = most >= FREQUENT && u64::from(passed) < wait;
        if self.own.iter().all(Option::is_some) {
            return true;
        }
        let recent = if passed.saturating_sub(key.last) < LAG { key.recent } else { 0 };
        let missing = at_least - (key.kept - recent.min(key.kept));
        is_first || (!waits && recent < missing.div_ceil(self.workers))
    }

    /// A trace of the key was decided.
    pub fn learn(&mut self, partition: usize, key: u64, now: RecordTime, kept: bool) {
        let (period, passed) = self.period_of(now);
        let place = self.place(key);
        self.crowded += u64::from(place != key);
        let Some(Some(own)) = self.own.get_mut(partition) else { return };
        let told = own.keys.entry(place).or_default();
        if told.period < period {
            *told = Told { period, ..Told::default() };
        }
        if told.seen == 0 || kept || told.seen.is_power_of_two() {
            own.changed.push(place);
        }
        told.seen = told.seen.saturating_add(1);
        let seen = told.seen;
        if kept {
            told.kept = told.kept.saturating_add(1);
            told.more = told.more.saturating_add(1);
        }
        let key = self.keys.entry(place).or_default();
        key.turn(period);
        key.compare(period, seen, partition);
        if key.period == period {
            key.seen = key.seen.saturating_add(1);
        }
        if kept {
            key.add(period, 1);
            key.recent = if passed.saturating_sub(key.last) < LAG { key.recent.saturating_add(1) } else { 1 };
            key.last = passed;
        }
    }

    /// What is to be written for a partition, and told the others: keys that were seen for the first time in a period, twice,
    /// four times and so on, or kept.
    pub fn changes(&mut self, partition: usize, mut put: impl FnMut(u64, Told)) {
        let Some(Some(own)) = self.own.get_mut(partition) else { return };
        own.changed.sort_unstable();
        own.changed.dedup();
        for key in own.changed.drain(..) {
            if let Some(told) = own.keys.get_mut(&key) {
                put(key, *told);
                told.more = 0;
            }
        }
    }

    /// What a partition of another worker told, once. After a start, what each had told last is heard as a [`Told::whole`].
    pub fn hear(&mut self, partition: usize, key: u64, told: Told) {
        if self.own.get(partition).is_none_or(Option::is_some) || told.period + 1 < self.period {
            return;
        }
        let place = self.place(key);
        let key = self.keys.entry(place).or_default();
        key.turn(told.period);
        key.add(told.period, told.more);
        key.compare(told.period, told.seen, partition);
    }

    /// Goes on with a partition from what was last told of it. `heard`: while it was another's, this worker listened.
    pub fn restore(&mut self, partition: usize, key: u64, told: Told, heard: bool) {
        if !heard {
            let place = self.place(key);
            let known = self.keys.entry(place).or_default();
            known.turn(told.period);
            known.add(told.period, told.kept);
            known.compare(told.period, told.seen, partition);
        }
        if let Some(Some(own)) = self.own.get_mut(partition) {
            own.keys.insert(key, Told { more: 0, ..told });
        }
    }

    /// Of the keys seen here in the latest period.
    pub fn coverage(&self) -> Coverage {
        let seen = self.keys.values().filter(|key| key.period == self.period && key.seen > 0);
        let uncovered = |key: &&Key| key.kept < self.at_least.min(key.seen);
        Coverage { keys: seen.clone().count(), uncovered: seen.filter(uncovered).count(), crowded: self.crowded }
    }

    pub fn bytes(&self) -> usize {
        let own = self.own.iter().flatten().map(Own::bytes).sum::<usize>();
        self.keys.allocation_size() + self.own.capacity() * size_of::<Option<Own>>() + own
    }

    /// The period and the milliseconds of it that have passed.
    fn period_of(&mut self, now: RecordTime) -> (u32, u32) {
        let ms = now.0.max(0) as u64;
        let period = u32::try_from(ms / self.per).unwrap_or(u32::MAX - 1);
        if period > self.period {
            self.period = period;
            self.crowded = 0;
            // What did not come for a whole period has no more to say.
            self.keys.retain(|_, key| key.period + 1 >= period);
            self.own.iter_mut().flatten().for_each(|own| own.keys.retain(|_, told| told.period + 1 >= period));
        }
        (period, u32::try_from(ms % self.per).unwrap_or(u32::MAX))
    }

    /// A key's own place, or one that it shares.
    fn place(&self, key: u64) -> u64 {
        let has_place = self.keys.len() < self.limit || self.keys.contains_key(&key);
        if has_place { key } else { key % SHARED }
    }
}

// === impl Key ===

impl Key {
    fn turn(&mut self, period: u32) {
        if self.period < period {
            let is_next = self.period + 1 == period;
            *self = Self {
                period,
                kept_before: if is_next { self.kept } else { 0 },
                most_before: if is_next { self.most } else { (0, 0) },
                ..Self::default()
            };
        }
    }

    /// All have to name the same as first, so each is compared by what all have heard of it: powers of two.
    fn compare(&mut self, period: u32, seen: u32, partition: usize) {
        let had = (seen.checked_ilog2().map_or(0, |power| 1 << power), partition as u32);
        if self.period == period {
            self.most = self.most.max(had);
        } else if self.period == period + 1 {
            self.most_before = self.most_before.max(had);
        }
    }

    fn add(&mut self, period: u32, kept: u32) {
        if self.period == period {
            self.kept = self.kept.saturating_add(kept);
        } else if self.period == period + 1 {
            self.kept_before = self.kept_before.saturating_add(kept);
        }
    }
}

// === impl Told ===

impl Told {
    /// As told to somebody who has heard nothing.
    pub fn whole(self) -> Self {
        Self { more: self.kept, ..self }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut into = Writer::new();
        [self.period, self.kept, self.more, self.seen].iter().for_each(|value| into.number(u64::from(*value)));
        into.bytes()
    }

    /// # Errors
    /// The bytes are not of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes)?;
        let mut number = || u32::try_from(from.number()?).map_err(|_| Malformed::Value);
        let told = Self { period: number()?, kept: number()?, more: number()?, seen: number()? };
        from.end()?;
        // A period that ends with time itself has none behind it.
        if told.period == u32::MAX || told.more > told.kept { Err(Malformed::Value) } else { Ok(told) }
    }
}

// === impl Own ===

impl Own {
    fn bytes(&self) -> usize {
        self.keys.allocation_size() + self.changed.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const PERIOD: u64 = 60_000;

    fn worker(at_least: u32, own: &[usize]) -> Rare {
        let mut rare = Rare::new(at_least, PERIOD, 1_000, 2, 2);
        own.iter().for_each(|&partition| rare.own(partition, true));
        rare
    }

    fn come(rare: &mut Rare, partition: usize, key: u64, ms: i64) -> bool {
        let keeps = rare.ask(key, RecordTime(ms));
        rare.learn(partition, key, RecordTime(ms), keeps);
        keeps
    }

    fn tell(from: &mut Rare, partition: usize, to: &mut Rare) {
        from.changes(partition, |key, told| to.hear(partition, key, told));
    }

    #[test]
    fn the_first_of_a_period_is_kept_whatever_keeps_it() {
        let mut rare = worker(1, &[0]);
        assert!(come(&mut rare, 0, 7, 60_000));
        assert!(!come(&mut rare, 0, 7, 60_001));
        rare.learn(0, 8, RecordTime(60_002), true);
        assert!(!come(&mut rare, 0, 8, 60_003), "another policy kept one");
        assert!(come(&mut rare, 0, 7, 120_000));
        assert_eq!(rare.coverage(), Coverage { keys: 1, uncovered: 0, crowded: 0 });
    }

    #[test]
    fn what_others_keep_counts_when_it_is_heard_of() {
        let (mut here, mut there) = (worker(1, &[0]), worker(1, &[1]));
        assert!(come(&mut here, 0, 7, 60_000));
        assert!(come(&mut there, 1, 7, 61_000), "not heard of yet");
        assert!(come(&mut here, 0, 8, 62_000));
        tell(&mut here, 0, &mut there);
        assert!(!come(&mut there, 1, 8, 64_000));
    }

    #[test]
    fn of_a_frequent_key_one_partition_goes_first() {
        let (mut here, mut there) = (worker(1, &[0]), worker(1, &[1]));
        for at in 0..100 {
            come(&mut here, 0, 7, 60_000 + at);
        }
        for at in 0..40 {
            come(&mut there, 1, 7, 60_000 + at);
        }
        tell(&mut here, 0, &mut there);
        tell(&mut there, 1, &mut here);
        assert!(!come(&mut there, 1, 7, 120_000), "it waits");
        assert!(!come(&mut there, 1, 7, 125_999));
        assert!(come(&mut there, 1, 7, 126_000), "the first has nothing");
        assert!(come(&mut here, 0, 7, 120_000), "it waits for nobody");
    }

    #[test]
    fn a_floor_above_one_is_shared_out_until_others_are_heard_of() {
        let mut rare = worker(5, &[0]);
        let kept = (0..10).filter(|at| come(&mut rare, 0, 7, 60_000 + at)).count();
        assert_eq!(kept, 3, "half of five, rounded up");
        let kept = (0..10).filter(|at| come(&mut rare, 0, 7, 63_100 + at)).count();
        assert_eq!(kept, 1, "half of two");
        assert_eq!(rare.coverage(), Coverage { keys: 1, uncovered: 1, crowded: 0 });
        // Who owns all partitions has nobody to wait for.
        let mut alone = worker(5, &[0, 1]);
        assert_eq!((0..10).filter(|at| come(&mut alone, 0, 7, 60_000 + at)).count(), 5);
    }

    #[test]
    fn a_restart_keeps_no_more() {
        let mut rare = worker(2, &[0]);
        assert!(come(&mut rare, 0, 7, 60_000));
        let mut state = Vec::new();
        rare.changes(0, |key, told| state.push((key, told.to_bytes())));
        come(&mut rare, 0, 7, 64_000);
        // The second was not committed: it comes again.
        let mut next = worker(2, &[0]);
        for (key, bytes) in state {
            next.restore(0, key, Told::from_bytes(&bytes).unwrap(), false);
        }
        assert!(come(&mut next, 0, 7, 64_000));
        assert!(!come(&mut next, 0, 7, 70_000));
    }

    #[test]
    fn a_partition_that_is_behind_finds_what_its_period_had() {
        let mut rare = worker(1, &[0, 1]);
        assert!(come(&mut rare, 0, 7, 60_000));
        come(&mut rare, 0, 7, 120_000);
        assert!(!come(&mut rare, 1, 7, 119_000));
        assert!(!come(&mut rare, 1, 7, 1_000), "of periods long gone nothing is known");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(period in 0..u32::MAX, kept: u32, more: u32, seen: u32) {
            let told = Told { period, kept, more: more.min(kept), seen };
            let bytes = told.to_bytes();
            prop_assert!(bytes.len() <= 21);
            prop_assert_eq!(Told::from_bytes(&bytes), Ok(told));
            for end in 0..bytes.len() {
                prop_assert!(Told::from_bytes(&bytes[..end]).is_err());
            }
        }

        #[test]
        fn nothing_panics(bytes in vec(any::<u8>(), 0..30), times in vec(any::<i64>(), 1..20), period in 0..u32::MAX) {
            _ = Told::from_bytes(&bytes);
            _ = Told::from_bytes(&[&[1], &bytes[..]].concat());
            let mut rare = worker(3, &[0]);
            rare.hear(1, 7, Told { period, kept: u32::MAX, more: u32::MAX, seen: u32::MAX });
            rare.restore(0, 7, Told { period, kept: u32::MAX, more: 0, seen: u32::MAX }, false);
            times.into_iter().for_each(|ms| _ = come(&mut rare, 0, 7, ms));
        }
    }
}
