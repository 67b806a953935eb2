//! The most that any one of many has.

/// To a factor of two, so that each may grow, and leave, at the cost of a few instructions.
#[derive(Clone, Debug)]
pub struct Most {
    /// How many there are, by the logarithm of what they have.
    powers: [u32; u64::BITS as usize],
}

// === impl Most ===

impl Most {
    /// One grows; from nothing when it comes.
    #[inline(always)]
    pub fn grow(&mut self, from: u64, to: u64) {
        let (from, to) = (from.checked_ilog2(), to.checked_ilog2());
        if from == to {
            return;
        }
        to.into_iter().for_each(|to| self.powers[to as usize] += 1);
        from.into_iter().for_each(|from| self.powers[from as usize] -= 1);
    }

    /// One leaves.
    pub fn leave(&mut self, has: u64) {
        self.grow(has, 0);
    }

    /// None has more; less than twice as much as one has.
    pub fn bound(&self) -> u64 {
        let at = self.powers.iter().rposition(|count| *count > 0);
        at.map_or(0, |at| u64::MAX >> (u64::BITS as usize - 1 - at))
    }
}

impl Default for Most {
    fn default() -> Self {
        Self { powers: [0; u64::BITS as usize] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Most;

    proptest! {
        #[test]
        fn the_bound_is_between_once_and_twice_the_most(
            grown in prop::collection::vec((0_usize..4, 0_u64..1 << 40), 0..64),
        ) {
            let (mut most, mut each) = (Most::default(), [0; 4]);
            for (place, by) in grown {
                let has: &mut u64 = &mut each[place];
                // Some leave, and come again.
                if by.is_multiple_of(7) {
                    most.leave(*has);
                    *has = 0;
                } else {
                    most.grow(*has, *has + by);
                    *has += by;
                }
                let truth = *each.iter().max().expect("four");
                prop_assert!(truth <= most.bound() && most.bound() <= truth.saturating_mul(2));
            }
        }
    }
}
