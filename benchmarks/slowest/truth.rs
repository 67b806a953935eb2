//! What was really beyond the quantile: all values of a window, sorted, which no sampler ever sees.

use std::ops::Add;

/// Windows of operations, together.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    pub beyond: u64,
    pub covered: u64,
    pub kept: u64,
    /// The least share that was covered in one window.
    pub least: f64,
    /// The most that were kept for each that was beyond.
    pub most: f64,
}

/// One trace in the eyes of the truth.
pub type Judged = (f64, bool);

/// One window of one operation. Of values that are all the same at the quantile, any will do.
pub fn judge(traces: &mut [Judged], quantile: f64) -> Tally {
    let beyond = ((1.0 - quantile) * traces.len() as f64 + 1e-6) as usize;
    let kept = traces.iter().filter(|(_, kept)| *kept).count();
    let mut covered = 0;
    if beyond > 0 {
        let (above, at, _) = traces.select_nth_unstable_by(beyond - 1, |a, b| b.0.total_cmp(&a.0));
        let level = at.0;
        let higher = above.iter().filter(|(value, _)| *value > level).count();
        let covered_above = above.iter().filter(|(value, kept)| *value > level && *kept).count();
        let alike = traces.iter().filter(|(value, kept)| *value == level && *kept).count();
        covered = covered_above + alike.min(beyond - higher);
    }
    Tally::of(beyond as u64, covered as u64, kept as u64)
}

/// The value that so many are not above.
pub fn quantile(traces: &mut [Judged], quantile: f64) -> Option<f64> {
    let rank = (quantile * traces.len() as f64).ceil() as usize;
    (rank > 0).then(|| traces.select_nth_unstable_by(rank - 1, |a, b| a.0.total_cmp(&b.0)).1.0)
}

// === impl Tally ===

impl Tally {
    fn of(beyond: u64, covered: u64, kept: u64) -> Self {
        let share = |part: u64, none| if beyond == 0 { none } else { part as f64 / beyond as f64 };
        Self { beyond, covered, kept, least: share(covered, 1.0), most: share(kept, 0.0) }
    }

    pub fn coverage(&self) -> f64 {
        self.covered as f64 / self.beyond as f64
    }

    pub fn cost(&self) -> f64 {
        self.kept as f64 / self.beyond as f64
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::of(0, 0, 0)
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let Self { beyond, covered, kept, least, most } = other;
        Self {
            beyond: self.beyond + beyond,
            covered: self.covered + covered,
            kept: self.kept + kept,
            least: self.least.min(least),
            most: self.most.max(most),
        }
    }
}
