//! A part of all traces, and what it says of all.

use serde::Serialize;

use crate::{model::TraceId, rekey};

/// A share of traces, chosen by their ids: by a hash, for the ids themselves are what probabilities are decided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub probability: f64,
}

/// So many of so many, and as a share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    pub kept: u64,
    pub of: u64,
    /// None of nothing.
    pub share: Option<f64>,
    /// Of a sample: where the share of all is, in 95 of 100 samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
}

/// The normal distribution's 97.5th percentile.
const Z: f64 = 1.959_963_984_540_054;

// === impl Sample ===

impl Sample {
    pub const ALL: Self = Self { probability: 1.0 };

    pub fn is_all(self) -> bool {
        self.probability >= 1.0
    }

    pub fn has(self, trace: TraceId) -> bool {
        self.is_all() || f64::from(rekey::hash(trace)) < self.probability * 2_f64.powi(32)
    }

    pub fn share(self, kept: u64, of: u64) -> Share {
        let share = (of > 0).then(|| kept as f64 / of as f64);
        let interval = share.filter(|_| !self.is_all()).map(|share| wilson(share, of as f64));
        Share { kept, of, share, interval }
    }
}

/// Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927. It stays between 0 and 1, and
/// is not empty where none or all are kept.
fn wilson(share: f64, n: f64) -> [f64; 2] {
    let square = Z * Z / n;
    let middle = share + square / 2.0;
    let reach = Z * ((share * (1.0 - share) + square / 4.0) / n).sqrt();
    [middle - reach, middle + reach].map(|end| (end / (1.0 + square)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of R's `binom::binom.wilson`.
    #[test]
    fn intervals_are_wilsons() {
        for (kept, of, low, high) in [(0, 10, 0.0, 0.277_533), (5, 50, 0.043_477, 0.213_600), (10, 10, 0.722_467, 1.0)]
        {
            let interval = Sample { probability: 0.5 }.share(kept, of).interval.expect("of a sample");
            assert!(
                (interval[0] - low).abs() < 1e-5 && (interval[1] - high).abs() < 1e-5,
                "{kept} of {of}: {interval:?}"
            );
        }
        assert_eq!(Sample::ALL.share(1, 4), Share { kept: 1, of: 4, share: Some(0.25), interval: None });
        assert_eq!(Sample::ALL.share(0, 0).share, None);
    }

    #[test]
    fn a_sample_is_as_large_as_asked_and_a_part_of_a_larger_one() {
        let traces = || (1..=20_000_u128).map(|number| TraceId(number.to_be_bytes()));
        let [tenth, half] = [0.1, 0.5].map(|probability| Sample { probability });
        let count = traces().filter(|trace| tenth.has(*trace)).count();
        assert!((1_800..2_200).contains(&count), "{count}");
        assert!(traces().all(|trace| Sample::ALL.has(trace) && (!tenth.has(trace) || half.has(trace))));
        assert!(!traces().any(|trace| Sample { probability: 0.0 }.has(trace)));
    }
}
