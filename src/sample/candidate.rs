//! Traces that wait for their batch to close, and the cut that says which of them are kept.
//!
//! Source: Ting, "Adaptive Threshold Sampling" (arXiv 1708.04970), §2: a threshold that does not change when a kept item's
//! randomness is any other that would be kept makes estimates unbiased as if it had been fixed before. That of the first
//! that is rejected is such a threshold; that of the last kept is not, and neither is going on behind the first rejected
//! one with what would still fit.

use crate::model::{Randomness, Threshold};

/// A trace that a policy would keep, held until the batch of its partition closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Whose it is, to whoever closes the batch.
    pub trace: u32,
    /// What it shares with: the hash of a key, or the number of a class.
    pub key: u64,
    /// Spans, bytes, or 1.
    pub cost: u64,
    pub randomness: Randomness,
    /// Of whoever would keep it; closing the batch raises it. The trace is kept iff its randomness reaches it.
    pub threshold: Threshold,
}

/// How many of the first fit: as many as their costs are within the capacity, up to the first that is not. A bucket that is
/// full lets one pass whatever it costs, or what costs more than the bucket holds could never.
pub fn fitting(costs: impl Iterator<Item = u64>, capacity: f64, full: bool) -> usize {
    let mut sum = 0.0;
    costs
        .enumerate()
        .take_while(|&(at, cost)| {
            sum += cost as f64;
            sum <= capacity || (full && at == 0)
        })
        .count()
}

// === impl Candidate ===

impl Candidate {
    pub fn is_kept(&self) -> bool {
        self.randomness.0 >= self.threshold.0
    }

    pub fn raise(&mut self, threshold: Threshold) {
        self.threshold = self.threshold.max(threshold);
    }

    /// Is kept where no more than this, of 2^56, is: the lower, the sooner.
    pub fn rank(&self) -> f64 {
        (Threshold::NEVER.0 - self.randomness.0.min(Threshold::NEVER.0 - 1)) as f64
    }
}

/// What keeps all whose randomness is above this one's.
pub fn above(randomness: Randomness) -> Threshold {
    Threshold(randomness.0.min(Threshold::NEVER.0 - 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_behind_the_first_that_does_not_fit() {
        let fit = |costs: &[u64], capacity, full| fitting(costs.iter().copied(), capacity, full);
        assert_eq!(fit(&[3, 3, 3, 1], 7.0, false), 2);
        assert_eq!(fit(&[3, 3, 1], 7.0, false), 3);
        assert_eq!(fit(&[9, 1], 7.0, false), 0);
        assert_eq!(fit(&[9, 1], 7.0, true), 1);
        assert_eq!(fit(&[1, 9, 1], 7.0, true), 1);
        assert_eq!(fit(&[], 7.0, true), 0);
        assert_eq!(above(Randomness(6)), Threshold(7));
        assert_eq!(above(Randomness(u64::MAX)), Threshold::NEVER);
    }
}
