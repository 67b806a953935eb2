//! Traces that wait for their batch to close, and the cut that says which of them are kept.
//!
//! Source: Ting, "Adaptive Threshold Sampling" (arXiv 1708.04970), §2: a threshold that does not change when a kept item's
//! randomness is any other that would be kept makes estimates unbiased as if it had been fixed before. That of the first
//! that is rejected is such a threshold; that of the last kept is not, and neither is going on behind the first rejected
//! one with what would still fit.
//!
//! Where one of them costs more than there is, it would have no chance, and no weight makes up for that. There each is kept by its own
//! randomness alone, with the probability at which all of them together cost on average what there is: Poisson sampling (Hájek 1964).

use super::fair::{Claim, level};
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
    /// A better class keeps it, too: of this one it takes nothing.
    pub elsewhere: bool,
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

/// What keeps so much of these on average, if not all of it. Less than a trace may be granted. Candidates are there because their randomness
/// reaches their thresholds, and what is true of all that such thresholds let through is true of them on average.
pub fn by_chance(candidates: &[Candidate], granted: f64) -> Threshold {
    let claim = |candidate: &Candidate| {
        let demand = candidate.cost.max(1) as f64;
        Claim { demand, weight: demand / candidate.odds() }
    };
    below(level(&mut candidates.iter().map(claim).collect::<Vec<_>>(), granted))
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

    /// Of how many, of 2^56, its threshold lets through.
    pub fn odds(&self) -> f64 {
        (Threshold::NEVER.0 - self.threshold.0.min(Threshold::NEVER.0 - 1)) as f64
    }
}

/// What keeps all whose randomness is above this one's.
pub fn above(randomness: Randomness) -> Threshold {
    Threshold(randomness.0.min(Threshold::NEVER.0 - 1) + 1)
}

/// What keeps all that rank lower than this.
pub fn below(rank: f64) -> Threshold {
    // A cast from float to integer saturates.
    Threshold(Threshold::NEVER.0 + 1 - (rank.ceil() as u64).clamp(1, Threshold::NEVER.0 + 1))
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    /// Candidates that a policy keeps with its own probability, and of which less than one fits: what is kept costs what is granted, and
    /// the sum over what is kept of cost / probability is that over all there are.
    #[test]
    fn where_less_than_one_fits_each_has_its_chance() {
        const ROUNDS: u32 = 200_000;
        let mut rng = Rng::with_seed(6);
        let population: Vec<(u64, Threshold)> = (0..40)
            .map(|_| (rng.u64(1..9), Threshold((Threshold::NEVER.0 as f64 * [0.0, 0.5, 0.9][rng.usize(0..3)]) as u64)))
            .collect();
        let (mut spent, mut estimated) = (0.0, 0.0);
        let granted = 0.7;
        for _ in 0..ROUNDS {
            let all = population.iter().map(|&(cost, threshold)| Candidate {
                trace: 0,
                key: 0,
                cost,
                randomness: Randomness(rng.u64(0..Threshold::NEVER.0)),
                threshold,
                elsewhere: false,
            });
            let candidates: Vec<Candidate> = all.filter(Candidate::is_kept).collect();
            let threshold = by_chance(&candidates, granted);
            for mut candidate in candidates {
                candidate.raise(threshold);
                if candidate.is_kept() {
                    spent += candidate.cost as f64 / f64::from(ROUNDS);
                    let probability = candidate.odds() / Threshold::NEVER.0 as f64;
                    estimated += candidate.cost as f64 / probability / f64::from(ROUNDS);
                }
            }
        }
        let truth: f64 = population.iter().map(|(cost, _)| *cost as f64).sum();
        // Standard errors of 0.6 and 0.8 %.
        assert!((spent / granted - 1.0).abs() < 0.03, "{spent}");
        assert!((estimated / truth - 1.0).abs() < 0.03, "{estimated} of {truth}");
    }

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
