//! What several runs say together.

use std::fmt;

/// Of the same thing measured several times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// Of many things measured once each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    pub median: f64,
    pub p99: f64,
}

/// In which order contenders run in a round: there, and back in the next, so that what changes steadily favours nobody.
pub fn order(round: usize, contenders: usize) -> Vec<usize> {
    let there = 0..contenders;
    if round.is_multiple_of(2) { there.collect() } else { there.rev().collect() }
}

/// Round by round: what both have in common in a round cancels out.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> Option<Spread> {
    Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
}

// === impl Tail ===

impl Tail {
    /// None of none.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        // The least that so large a share of them do not exceed.
        let at = |share: f64| samples.get((share * samples.len() as f64).ceil() as usize - 1).copied();
        samples.first()?;
        Some(Self { median: at(0.5)?, p99: at(0.99)? })
    }
}

// === impl Spread ===

impl Spread {
    /// None of none.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        let (least, most) = (*samples.first()?, *samples.last()?);
        let middle = samples.len() / 2;
        let median = if samples.len().is_multiple_of(2) {
            samples[middle - 1].midpoint(samples[middle])
        } else {
            samples[middle]
        };
        Some(Self { median, least, most })
    }

    pub fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self { median: change(self.median), least: change(self.least), most: change(self.most) }
    }
}

impl fmt::Display for Spread {
    /// With as many decimals as are asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(1);
        let Self { median, least, most } = self;
        write!(f, "{median:.decimals$} ({least:.decimals$}–{most:.decimals$})")
    }
}
