//! How much of what was beyond the quantile was kept.

use std::{iter, ops::AddAssign};

use super::{sketch::Sketch, slowest::Window};

/// Of the traces of a window, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Beyond the quantile of their window.
    pub beyond: u64,
    /// Those of them that were kept, by whatever policy.
    pub covered: u64,
    /// Those that the rule chose, of all.
    pub chosen: u64,
}

// === impl Coverage ===

impl Coverage {
    /// A partition's part, of a window that is over: what is beyond the quantile is so among all partitions, of which those before
    /// this one and those after it have seen so much of the window. The parts of all add up to the whole.
    ///
    /// It is exact but for the one bucket in which the quantile lies: of what is in it, any that were kept count, as many as are needed.
    pub fn of(window: &Window, before: &[&Sketch], after: &[&Sketch]) -> Self {
        let own = &window.values;
        let all = || before.iter().copied().chain(iter::once(own)).chain(after.iter().copied());
        // 0.1 % of 1,000 is 1, whatever binary fractions make of it. A cast from float to integer saturates.
        let beyond = (own.tail() * all().map(Sketch::count).sum::<u64>() as f64 + 1e-6) as u64;
        if beyond == 0 {
            return Self { chosen: window.chosen, ..Self::default() };
        }
        let limit = Sketch::limit(all(), beyond);
        let counts = |sketches: &[&Sketch]| {
            let around = sketches.iter().map(|sketch| sketch.around(limit).map(|of| of.count));
            around.fold([0; 2], |[above, beside], [higher, in_it]| [above + higher, beside + in_it])
        };
        let ([higher, in_it], earlier, later) = (own.around(limit), counts(before), counts(after));
        let [above, beside] = [earlier[0] + higher.count + later[0], earlier[1] + in_it.count + later[1]];
        let rest = beyond.saturating_sub(above);
        // Of what is in the bucket as much is beyond of each partition as of all; the rounded parts add up.
        let part = |of: u64| (u128::from(rest) * u128::from(of) / u128::from(beside.max(1))) as u64;
        let rest = part(earlier[1] + in_it.count) - part(earlier[1]);
        Self { beyond: higher.count + rest, covered: higher.marked + in_it.marked.min(rest), chosen: window.chosen }
    }

    /// The rule chose so many more than it had to.
    pub fn excess(&self) -> u64 {
        self.chosen.saturating_sub(self.covered)
    }
}

impl AddAssign for Coverage {
    fn add_assign(&mut self, other: Self) {
        let Self { beyond, covered, chosen } = other;
        self.beyond += beyond;
        self.covered += covered;
        self.chosen += chosen;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::model::RecordTime;

    const TAIL: f64 = 0.01;

    /// What came to so many partitions, each value with whether it was kept.
    fn partitions() -> impl Strategy<Value = Vec<Vec<(f64, bool)>>> {
        let value = prop_oneof![(0.0..10.0_f64).prop_map(f64::exp2), (0_u32..40).prop_map(f64::from)];
        vec(vec((value, any::<bool>()), 0..600), 1..6)
    }

    fn window(values: &[(f64, bool)]) -> Window {
        let mut sketch = Sketch::new(TAIL);
        values.iter().for_each(|(value, kept)| sketch.add(*value, *kept));
        Window { start: RecordTime(0), values: sketch, chosen: values.len() as u64 }
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(partitions in partitions()) {
            let windows: Vec<_> = partitions.iter().map(|values| window(values)).collect();
            let sketches: Vec<_> = windows.iter().map(|window| &window.values).collect();
            let mut parts = Coverage::default();
            for (at, window) in windows.iter().enumerate() {
                parts += Coverage::of(window, &sketches[..at], &sketches[at + 1..]);
            }
            let whole = Coverage::of(&window(&partitions.concat()), &[], &[]);
            prop_assert_eq!((parts.beyond, parts.chosen), (whole.beyond, whole.chosen));
            // Kept ones of a bucket count where they are, and may be more than are needed there.
            prop_assert!(parts.covered <= whole.covered, "{:?} {:?}", parts, whole);
        }
    }

    #[test]
    fn a_partition_with_little_traffic_has_its_part_of_what_is_beyond() {
        let large: Vec<_> = (0..9_900).map(|value| (f64::from(value), value >= 9_800)).collect();
        let small: Vec<_> = (0..100).map(|_| (1e6, true)).collect();
        let (large, small) = (window(&large), window(&small));
        let [of_large, of_small] =
            [Coverage::of(&large, &[], &[&small.values]), Coverage::of(&small, &[&large.values], &[])];
        assert_eq!((of_large.beyond, of_small.beyond, of_small.covered), (0, 100, 100));
    }
}
