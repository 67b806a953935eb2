//! From a sample to all: each unit stands for as many as its probability says.
//!
//! Units are kept or not independently of each other, each with its own probability π = (2^56 − T) / 2^56, which is what consistent
//! sampling by the randomness of trace ids does. Sources: Horvitz and Thompson, "A Generalization of Sampling Without Replacement
//! From a Finite Universe", 1952, for totals and their variance; Woodruff, "Confidence Intervals for Medians and Other Position
//! Measures", 1952, for quantiles.

use serde::Serialize;

use crate::model::Threshold;

/// A kept trace, as far as estimates go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    pub threshold: Threshold,
    pub failed: bool,
    /// Nanoseconds.
    pub duration: u64,
}

/// A sum over all, as far as it is known of a sample.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// Of what was kept for certain.
    certain: f64,
    /// Of what was sampled: as it was seen, and with its weights.
    seen: f64,
    sampled: f64,
    /// Of that: each adds (1 − π) / π² times the square of its value.
    variance: f64,
    /// The most that a unit adds to the variance for each that it adds to the sum.
    heaviest: f64,
}

/// A number that is not known exactly: of 100 samples, 95 have the truth between `low` and `high`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimated {
    pub value: f64,
    pub low: f64,
    /// None where the sample says nothing of what is above.
    pub high: Option<f64>,
}

pub const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// The normal distribution's 97.5th percentile.
const Z: f64 = 1.959_963_984_540_054;

// === impl Unit ===

impl Unit {
    fn weight(self) -> f64 {
        weight(self.threshold)
    }

    /// What it adds to the variance of a total that it adds 1 to: (1 − π) / π².
    fn variance(self) -> f64 {
        let weight = self.weight();
        weight * (weight - 1.0)
    }
}

// === impl Sum ===

impl Sum {
    /// Adds what a kept unit is worth.
    pub fn add(&mut self, value: f64, threshold: Threshold) {
        if threshold == Threshold::ALWAYS {
            self.certain += value;
            return;
        }
        let weight = weight(threshold);
        self.seen += value;
        self.sampled += weight * value;
        self.variance += weight * (weight - 1.0) * value * value;
        self.heaviest = self.heaviest.max((weight - 1.0) * value);
    }

    /// The interval is a score interval: the variance is taken to grow with the sum, as it does, so that neither end is below what
    /// was seen and a few units do not make it too short. What was kept for certain is known exactly and has no part in it.
    ///
    /// A sample that has none of the units which stand for most is too small and does not know it. So above, it is as if one more came like the
    /// heaviest that did, and half of one on average. Where all weigh the same that changes nothing. After Fay and Feuer, "Confidence
    /// intervals for directly standardized rates", 1997, and its mid-p variant of Fay and Kim, 2017.
    pub fn estimated(&self) -> Estimated {
        let Self { certain, seen, sampled, variance, heaviest } = *self;
        let value = certain + sampled;
        if seen == 0.0 {
            return Estimated { value, low: value, high: Some(value) };
        }
        let ends = |sum: f64, variance: f64| {
            let square = Z * Z * variance;
            (sum + square / 2.0, (square * sum + square * square / 4.0).sqrt())
        };
        let usual = variance / sampled;
        let (below, reach) = ends(sampled, usual);
        let low = certain + (below - reach).max(seen);
        let (above, reach) =
            ends(sampled + (heaviest - usual) / 2.0, (variance + heaviest * heaviest) / (sampled + heaviest));
        Estimated { value, low, high: Some(certain + above + reach) }
    }
}

/// How many one stands for, itself among them: 1/π.
fn weight(threshold: Threshold) -> f64 {
    let never = Threshold::NEVER.0;
    // One that is never kept is not here; taken for the rarest there is.
    never as f64 / (never - threshold.0.min(never - 1)) as f64
}

/// How many there are of a kind, of which these were kept.
pub fn total(kept: impl Iterator<Item = Unit>) -> Estimated {
    let mut sum = Sum::default();
    kept.for_each(|unit| sum.add(1.0, unit.threshold));
    sum.estimated()
}

/// How long the given share of all takes at most. `kept` are sorted by duration. None of nothing.
///
/// The share of those that take at most so long is a ratio of totals; where its interval begins and ends, the durations of the
/// sample are looked up.
pub fn quantile(kept: &[Unit], share: f64) -> Option<Estimated> {
    let all: f64 = kept.iter().map(|unit| unit.weight()).sum();
    let at = position(kept, share * all)?;
    let variance = |units: &[Unit]| units.iter().map(|unit| unit.variance()).sum::<f64>();
    // Of the ratio, linearised: each unit adds (1 − π)/π² times the square of how far it is from the share. The one that is found
    // counts as above: else nothing would be where it is the last, and nothing looks certain.
    let below = kept.partition_point(|unit| unit.duration < kept[at].duration);
    let spread = variance(&kept[..below]) * (1.0 - share).powi(2) + variance(&kept[below..]) * share.powi(2);
    let reach = Z * spread.sqrt();
    let value = |at: usize| kept[at].duration as f64;
    let low = position(kept, share * all - reach)?;
    let high = if share * all + reach > all { None } else { position(kept, share * all + reach) };
    Some(Estimated { value: value(at), low: value(low), high: high.map(value) })
}

/// The first unit by which so much weight is reached.
fn position(kept: &[Unit], weight: f64) -> Option<usize> {
    let mut sum = 0.0;
    // Sums of fractions are off by a bit, and what is reached must not be missed for that.
    let reached = kept.iter().position(|unit| {
        sum += unit.weight();
        sum * (1.0 + 1e-9) >= weight
    });
    reached.or_else(|| kept.len().checked_sub(1))
}
