//! How many numbers of a stream lie above a given one, told from bounded memory.

use std::{
    cmp::{Ordering, Reverse},
    iter,
};

use super::{Malformed, schema};

/// The upper tail of a stream of numbers in buckets of equal relative width, and how many numbers there were in all. Some of
/// them are marked: what was kept.
///
/// Source: Masson, Rim, Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", PVLDB 12
/// (2019): buckets on a logarithmic scale, of which the lowest are given up. Where that would give up part of the tail, two
/// neighbours become one instead, as in Epicoco, Melle, Cafaro, Pulimeno, Morleo, "UDDSketch", IEEE Access 8 (2020). A bucket's
/// bounds are read off the binary form of a number, its exponent and the first bits of its fraction: no logarithm is computed,
/// and all machines agree.
///
/// What is counted above a bucket is exact; where in its bucket a number lies is not known. Below the lowest bucket only the
/// count is known: quantiles down there cannot be asked for. Zero, negative numbers and what is no number are below every
/// positive one.
#[derive(Clone, Debug, PartialEq)]
pub struct Sketch {
    /// The share of all numbers that will be asked for.
    tail: f64,
    count: u64,
    marked: u64,
    /// Of `count`, those in buckets.
    stored: u64,
    /// What has a lower index is not in a bucket any more.
    floor: u32,
    /// Bits of the fraction by which buckets are told apart.
    fineness: u8,
    /// The highest first: there, most looks end.
    buckets: Vec<Bucket>,
}

/// What is above a number, and what cannot be told from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub above: u64,
    pub beside: u64,
}

/// Numbers, and those of them that are marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub count: u64,
    pub marked: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    index: u32,
    count: u32,
    marked: u32,
}

/// 6 KiB. Of a million numbers from anything between a normal and a Pareto distribution, the highest 4,000 fit at less than 1 %
/// width.
pub const BUCKETS_MAX: usize = 512;

/// A bucket is at most 1/256 wide: its middle is less than 0.2 % away from all that is in it.
const FINEST: u8 = 8;

/// At most 1/8 wide, which is 6 %: 512 such buckets reach over 64 powers of two, further than durations do.
const COARSEST: u8 = 3;

/// Numbers in buckets, as a multiple of those that will be asked for: what is asked leans, and traffic may step down.
const REACH: f64 = 4.0;

/// And so many more. A partition may have seen a few numbers of an operation, and of all partitions' it must be told where the
/// tail begins.
const REACH_LEAST: u64 = 32;

/// No window holds more, so that sums of counts cannot overflow.
const COUNT_MAX: u64 = 1 << 48;

/// Above the index of every bucket.
const FIRST: u32 = 1 << 20;

// === impl Sketch ===

impl Sketch {
    /// Of which the highest numbers will be asked for, `tail` being their share of all.
    pub fn new(tail: f64) -> Self {
        Self { tail, count: 0, marked: 0, stored: 0, floor: 0, fineness: FINEST, buckets: Vec::new() }
    }

    pub fn add(&mut self, value: f64, marked: bool) {
        self.count += 1;
        self.marked += u64::from(marked);
        let index = index(value, self.fineness);
        if index < self.floor {
            return;
        }
        self.stored += 1;
        let at = self.buckets.partition_point(|bucket| bucket.index > index);
        if self.buckets.get(at).is_none_or(|bucket| bucket.index != index) {
            if self.buckets.len() == self.buckets.capacity() {
                // Doubling would waste more than it saves: most sketches stay small.
                self.buckets.reserve_exact(8 + self.buckets.len() / 4);
            }
            self.buckets.insert(at, Bucket { index, count: 0, marked: 0 });
        }
        self.buckets[at].add(1, u32::from(marked));
        self.shorten();
    }

    /// All numbers that were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Those of them that are in buckets, the highest.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// The share of all numbers that can be asked for.
    pub fn tail(&self) -> f64 {
        self.tail
    }

    /// Beside its own size.
    pub fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    /// Where a number stands. Above, no more than just over `enough` are counted.
    pub fn place(&self, value: f64, enough: u64) -> Place {
        let index = index(value, self.fineness);
        if index < self.floor {
            return self.below();
        }
        let mut above = 0;
        for bucket in &self.buckets {
            if bucket.index <= index {
                let beside = if bucket.index == index { u64::from(bucket.count) } else { 0 };
                return Place { above, beside };
            }
            above += u64::from(bucket.count);
            if above > enough {
                break;
            }
        }
        Place { above, beside: 0 }
    }

    /// Where the highest but `rank` stands, and a number that is at least as high as what is beside it, and not as what is below.
    pub fn at(&self, rank: u64) -> (f64, Place) {
        let mut above = 0;
        for bucket in &self.buckets {
            let beside = u64::from(bucket.count);
            if above + beside > rank {
                return (bound(bucket.index, self.fineness), Place { above, beside });
            }
            above += beside;
        }
        (f64::NEG_INFINITY, self.below())
    }

    /// What no more than `rank` of all that were added to these are above, as far as buckets tell: the end of one.
    pub fn limit<'s>(sketches: impl Iterator<Item = &'s Self>, rank: u64) -> f64 {
        let near = |sketch: &'s Self| {
            let mut above = 0;
            sketch.ends().map(|(end, of)| (end, of.count)).take_while(move |(_, count)| {
                let is_near = above <= rank;
                above += count;
                is_near
            })
        };
        let mut ends: Vec<(f64, u64)> = sketches.flat_map(near).collect();
        ends.sort_unstable_by(|(left, _), (right, _)| right.total_cmp(left));
        let mut above = 0;
        let limit = ends.into_iter().find(|(_, count)| {
            above += count;
            above > rank
        });
        limit.map_or(0.0, |(end, _)| end)
    }

    /// What is in buckets that end above a limit, and what is in the one that ends there.
    pub fn around(&self, limit: f64) -> [Counted; 2] {
        let mut around = [Counted::default(); 2];
        for (end, Counted { count, marked }) in self.ends() {
            let place = match end.total_cmp(&limit) {
                Ordering::Greater => &mut around[0],
                Ordering::Equal => &mut around[1],
                Ordering::Less => continue,
            };
            place.count += count;
            place.marked += marked;
        }
        around
    }

    /// As if all that was added to the other had been added here.
    pub fn merge(&mut self, other: &Self) {
        let fineness = self.fineness.min(other.fineness);
        if other.count == 0 {
            return;
        }
        self.coarsen(fineness);
        let mut other = other.clone();
        other.coarsen(fineness);
        self.count += other.count;
        self.marked += other.marked;
        self.floor = self.floor.max(other.floor);
        self.buckets.append(&mut other.buckets);
        self.buckets.sort_unstable_by_key(|bucket| Reverse(bucket.index));
        self.tidy();
        self.shorten();
    }

    /// Forgets half: of what is above any number, every other. No mark is left.
    pub fn halve(&mut self) {
        let stored = self.stored;
        let mut carried = 0;
        for bucket in &mut self.buckets {
            let odd = bucket.count % 2 + carried;
            bucket.count = bucket.count / 2 + odd / 2;
            carried = odd % 2;
        }
        self.buckets.retain(|bucket| bucket.count > 0);
        self.tidy();
        self.count = self.stored + (self.count - stored) / 2;
        self.unmark();
    }

    pub fn unmark(&mut self) {
        self.marked = 0;
        self.buckets.iter_mut().for_each(|bucket| bucket.marked = 0);
    }

    /// Gives back memory that is not used: nothing more will be added.
    pub fn shrink(&mut self) {
        self.buckets.shrink_to_fit();
    }

    /// All but `tail`, which is configuration.
    pub fn write(&self) -> schema::Sketch {
        let indices = self.buckets.iter().map(|bucket| bucket.index);
        let marks = if self.marked == 0 { &[][..] } else { &self.buckets };
        schema::Sketch {
            fineness: self.fineness.into(),
            count: self.count,
            marked: self.marked,
            floor: self.floor,
            steps: iter::once(FIRST).chain(indices.clone()).zip(indices).map(|(last, index)| last - index).collect(),
            counts: self.buckets.iter().map(|bucket| bucket.count).collect(),
            marks: marks.iter().map(|bucket| bucket.marked).collect(),
        }
    }

    /// # Errors
    /// It was not written by `write`.
    pub fn read(written: &schema::Sketch, tail: f64) -> Result<Self, Malformed> {
        let schema::Sketch { fineness, count, marked, floor, ref steps, ref counts, ref marks } = *written;
        let fineness = u8::try_from(fineness).ok().filter(|bits| (COARSEST..=FINEST).contains(bits));
        let fineness = fineness.ok_or(Malformed("a width of buckets that there is not"))?;
        if steps.len() > BUCKETS_MAX || counts.len() != steps.len() || !(marks.is_empty() || marks.len() == steps.len())
        {
            return Err(Malformed("buckets of which a part is missing, or too many"));
        }
        let mut sketch = Self { count, marked, floor, fineness, ..Self::new(tail) };
        let mut last = FIRST;
        for (i, (&step, &count)) in steps.iter().zip(counts).enumerate() {
            let index = last.checked_sub(step).filter(|&index| index >= floor && index < last);
            let index = index.filter(|&index| index <= highest(fineness));
            last = index.ok_or(Malformed("buckets out of order or out of range"))?;
            sketch.buckets.push(Bucket { index: last, count, marked: marks.get(i).copied().unwrap_or(0) });
        }
        let sum = |of: fn(&Bucket) -> u32| sketch.buckets.iter().map(|bucket| u64::from(of(bucket))).sum::<u64>();
        sketch.stored = sum(|bucket| bucket.count);
        let marked = sum(|bucket| bucket.marked);
        let sound = sketch.buckets.iter().all(|bucket| bucket.count > 0 && bucket.marked <= bucket.count)
            && sketch.count <= COUNT_MAX
            && sketch.stored <= sketch.count
            && marked <= sketch.marked
            && sketch.marked - marked <= sketch.count - sketch.stored;
        if sound { Ok(sketch) } else { Err(Malformed("counts that do not add up")) }
    }

    /// Where everything stands that is not in a bucket.
    fn below(&self) -> Place {
        Place { above: self.stored, beside: self.count - self.stored }
    }

    /// Where each bucket ends, and what it holds, the highest first; last, what is in none.
    fn ends(&self) -> impl Iterator<Item = (f64, Counted)> {
        let of = |bucket: &Bucket| Counted { count: bucket.count.into(), marked: bucket.marked.into() };
        let buckets = self.buckets.iter().map(move |bucket| (bound(bucket.index + 1, self.fineness), of(bucket)));
        buckets.chain(iter::once_with(|| {
            let stored = self.buckets.iter().map(|bucket| u64::from(bucket.marked)).sum();
            let rest = Counted { count: self.count - self.stored, marked: self.marked.saturating_sub(stored) };
            (bound(self.floor, self.fineness).max(0.0), rest)
        }))
    }

    /// Gives up what is not needed, or does not fit.
    fn shorten(&mut self) {
        // A cast from float to integer saturates.
        let reach = (REACH * self.tail * self.count as f64) as u64 + REACH_LEAST;
        while let Some(lowest) = self.buckets.last()
            && self.stored - u64::from(lowest.count) >= reach
        {
            self.give_up_lowest();
        }
        while self.buckets.len() > BUCKETS_MAX {
            if self.fineness > COARSEST {
                self.coarsen(self.fineness - 1);
            } else {
                self.give_up_lowest();
            }
        }
    }

    fn give_up_lowest(&mut self) {
        if let Some(lowest) = self.buckets.pop() {
            self.stored -= u64::from(lowest.count);
            self.floor = lowest.index + 1;
        }
    }

    /// Makes buckets wider. One of which a part had been given up is given up as a whole.
    fn coarsen(&mut self, fineness: u8) {
        let by = self.fineness - fineness;
        if by == 0 {
            return;
        }
        // Index 0 is apart, and stays.
        let wider = |index: u32| if index == 0 { 0 } else { 1 + ((index - 1) >> by) };
        let cut = self.floor > 1 && (self.floor - 1) & ((1 << by) - 1) != 0;
        self.floor = wider(self.floor) + u32::from(cut);
        self.buckets.iter_mut().for_each(|bucket| bucket.index = wider(bucket.index));
        self.fineness = fineness;
        self.tidy();
    }

    /// One bucket of each index, none below the floor, and as many stored as there are.
    fn tidy(&mut self) {
        self.buckets.dedup_by(|lower, bucket| {
            let same = lower.index == bucket.index;
            if same {
                bucket.add(lower.count, lower.marked);
            }
            same
        });
        let above = self.buckets.partition_point(|bucket| bucket.index >= self.floor);
        self.buckets.truncate(above);
        self.stored = self.buckets.iter().map(|bucket| u64::from(bucket.count)).sum();
    }
}

// === impl Bucket ===

impl Bucket {
    fn add(&mut self, count: u32, marked: u32) {
        self.count = self.count.saturating_add(count);
        self.marked = self.marked.saturating_add(marked);
    }
}

/// Of the bucket of a number: 0 for what is not positive, else its exponent and the first bits of its fraction.
fn index(value: f64, fineness: u8) -> u32 {
    // An exponent has 11 bits, so that the cast loses nothing.
    if value > 0.0 { 1 + (value.min(f64::MAX).to_bits() >> (52 - fineness)) as u32 } else { 0 }
}

/// The least number of a bucket.
fn bound(index: u32, fineness: u8) -> f64 {
    if index == 0 { f64::NEG_INFINITY } else { f64::from_bits(u64::from(index - 1) << (52 - fineness)) }
}

fn highest(fineness: u8) -> u32 {
    index(f64::MAX, fineness)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use prost::Message;

    use super::*;

    const TAIL: f64 = 0.01;

    fn of<'v>(values: impl IntoIterator<Item = &'v f64>) -> Sketch {
        let mut sketch = Sketch::new(TAIL);
        values.into_iter().for_each(|&value| sketch.add(value, value.to_bits() % 3 == 0));
        sketch
    }

    fn above(sketch: &Sketch, value: f64) -> u64 {
        sketch.place(value, u64::MAX).above
    }

    /// Durations of any size, many of them alike, and what is no duration.
    fn values() -> impl Strategy<Value = Vec<f64>> {
        let value = prop_oneof![
            8 => (0.0..60.0_f64).prop_map(f64::exp2),
            4 => (20.0..21.0_f64).prop_map(f64::exp2),
            2 => (0_u32..9).prop_map(f64::from),
            1 => any::<f64>(),
        ];
        vec(value, 0..3000)
    }

    fn sound(sketch: &Sketch) -> Result<(), TestCaseError> {
        prop_assert!(sketch.buckets.len() <= BUCKETS_MAX);
        prop_assert!(sketch.buckets.is_sorted_by(|a, b| a.index > b.index));
        prop_assert!(sketch.buckets.iter().all(|bucket| bucket.index >= sketch.floor && bucket.count > 0));
        prop_assert_eq!(sketch.stored, sketch.buckets.iter().map(|bucket| u64::from(bucket.count)).sum::<u64>());
        prop_assert!(sketch.stored <= sketch.count && sketch.marked <= sketch.count);
        Ok(())
    }

    /// True of every sketch: what is counted above is above, and what is not counted beside is not above.
    fn tells_the_truth(sketch: &Sketch, values: &[f64]) -> Result<(), TestCaseError> {
        sound(sketch)?;
        prop_assert_eq!(sketch.count, values.len() as u64);
        for &value in values.iter().step_by(7).filter(|value| !value.is_nan()) {
            let higher = values.iter().filter(|other| **other > value).count() as u64;
            let Place { above, beside } = sketch.place(value, u64::MAX);
            prop_assert!(
                above <= higher && higher <= above + beside,
                "{} above {}, said {} and {}",
                higher,
                value,
                above,
                beside
            );
        }
        Ok(())
    }

    #[test]
    fn buckets_are_as_narrow_as_promised() {
        for fineness in COARSEST..=FINEST {
            for value in [f64::MIN_POSITIVE, 1e-9, 0.3, 1.0, 1.999_999, 2.0, 3.6e12, 9e15, 1e300] {
                let index = index(value, fineness);
                let [low, high] = [bound(index, fineness), bound(index + 1, fineness)];
                assert!(low <= value && value < high, "{low} {value} {high}");
                assert!((high - low) / low <= 0.5_f64.powi(fineness.into()), "{low} {high}");
            }
            assert!(highest(fineness) < FIRST);
        }
    }

    #[test]
    fn what_is_not_positive_is_below() {
        let sketch = of(&[1.0, 0.0, -5.0, f64::NAN, f64::NEG_INFINITY, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE]);
        assert_eq!(sketch.place(f64::MAX, 9), Place { above: 0, beside: 2 });
        assert_eq!(sketch.place(-1.0, 9), Place { above: 4, beside: 4 });
        assert_eq!(sketch.place(f64::NAN, 9), Place { above: 4, beside: 4 });
    }

    #[test]
    fn the_tail_is_kept_and_little_more() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut sketch = Sketch::new(0.001);
        // Pareto, α = 1: the highest of a million is a million times the lowest.
        (0..1_000_000).for_each(|_| sketch.add(1.0 / (1.0 - rng.f64()), false));
        assert!((4000..5000).contains(&sketch.stored), "{}", sketch.stored);
        assert!(sketch.fineness >= 6, "{}", sketch.fineness);
        assert!(sketch.bytes() <= BUCKETS_MAX * size_of::<Bucket>() * 5 / 4);
        // The 99.9th percentile is 1,000, and the standard error of a count of 1,000 is 32.
        assert!((900..1100).contains(&above(&sketch, 1000.0)), "{}", above(&sketch, 1000.0));
    }

    #[test]
    fn tells_what_is_marked_around_a_limit() {
        let mut sketch = Sketch::new(TAIL);
        [9.0, 9.0, 9.0, 8.0, 7.0].iter().zip([true, false, true, false, true]).for_each(|(v, m)| sketch.add(*v, m));
        let around = |rank| sketch.around(Sketch::limit(iter::once(&sketch), rank)).map(|of| (of.count, of.marked));
        assert_eq!([0, 2].map(around), [[(0, 0), (3, 2)]; 2], "all that are alike");
        assert_eq!(around(3), [(3, 2), (1, 0)]);
        assert_eq!(around(4), [(4, 2), (1, 1)]);
    }

    proptest! {
        #[test]
        fn a_sketch_tells_the_truth(values in values()) {
            let sketch = of(&values);
            tells_the_truth(&sketch, &values)?;
            let (level, place) = sketch.at(sketch.stored / 2);
            prop_assert!(place.above <= sketch.stored / 2);
            prop_assert_eq!(sketch.place(level, u64::MAX), place);
        }

        #[test]
        fn a_merged_one_does(values in values(), at in 0.0..1.0) {
            let (left, right) = values.split_at((at * values.len() as f64) as usize);
            let mut merged = of(left);
            merged.merge(&of(right));
            tells_the_truth(&merged, &values)?;
            if left.len().max(right.len()) < REACH_LEAST as usize {
                prop_assert_eq!(merged, of(&values));
            }
        }

        #[test]
        fn few_enough_are_above_a_limit(left in values(), right in values(), rank in 0_u64..200) {
            let limit = Sketch::limit([&of(&left), &of(&right)].into_iter(), rank);
            let all = || left.iter().chain(&right);
            prop_assert!(all().filter(|value| **value > limit).count() as u64 <= rank);
            // No less is known to be enough: what is in buckets is at most an eighth below.
            let near = all().filter(|value| **value >= limit / 1.126).count() as u64 > rank;
            let [left, right] = [of(&left), of(&right)];
            prop_assert!(near || limit <= [&left, &right].map(|sketch| bound(sketch.floor, sketch.fineness)).into_iter().fold(0.0, f64::max));
        }

        #[test]
        fn half_is_forgotten_everywhere(values in values()) {
            let before = of(&values);
            let mut after = before.clone();
            after.halve();
            sound(&after)?;
            prop_assert!(after.count.abs_diff(before.count / 2) <= 1);
            for bucket in &before.buckets {
                let level = bound(bucket.index, before.fineness);
                prop_assert!(above(&after, level) == above(&before, level) / 2);
            }
        }

        #[test]
        fn what_is_written_is_read(values in values()) {
            let mut sketch = of(&values);
            prop_assert_eq!(Sketch::read(&sketch.write(), TAIL), Ok(sketch.clone()));
            sketch.unmark();
            prop_assert_eq!(Sketch::read(&sketch.write(), TAIL), Ok(sketch));
        }

        #[test]
        fn what_is_damaged_is_refused_or_sound(values in values(), bytes in vec(any::<(u16, u8)>(), 1..9), other in values()) {
            let mut written = of(&values).write().encode_to_vec();
            for (at, byte) in bytes {
                let at = usize::from(at) % written.len().max(1);
                written.get_mut(at).into_iter().for_each(|place| *place = byte);
            }
            let read = schema::Sketch::decode(&*written).ok().and_then(|written| Sketch::read(&written, TAIL).ok());
            if let Some(mut sketch) = read {
                sound(&sketch)?;
                sketch.merge(&of(&other));
                other.iter().for_each(|&value| sketch.add(value, true));
                sketch.around(1.0);
                sketch.halve();
                sound(&sketch)?;
            }
        }
    }
}
