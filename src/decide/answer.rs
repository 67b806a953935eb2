//! What policies say of a trace, whatever its randomness is.

use std::cmp::Reverse;

use crate::model::{Randomness, Threshold};

/// What a policy, or a list of them, says of a trace with the randomness R: the first of these that holds.
///
/// - R ≥ `protected`: keep, whatever vetoes.
/// - R < `veto`: drop, whatever keeps.
/// - R ≥ `keep`: keep.
/// - `ended`: drop, but where policies stand side by side another may keep.
/// - Nothing.
///
/// This form is never left: however policies stand side by side, one behind the other and in groups, more randomness never
/// keeps less. So what they come to together is a threshold again, and it is exact.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub protected: Threshold,
    pub veto: Threshold,
    pub keep: Threshold,
    pub ended: bool,
    /// Who says so to the trace at hand. None: the `otherwise` of the whole set.
    pub by: Option<u16>,
}

/// From what counts least to what counts most where policies stand side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    Nothing,
    Ended,
    Keep,
    Veto,
    Protected,
}

// === impl Answer ===

impl Answer {
    pub const NOTHING: Self =
        Self { protected: Threshold::NEVER, veto: Threshold::ALWAYS, keep: Threshold::NEVER, ended: false, by: None };

    pub fn said(&self, randomness: Randomness) -> Said {
        let reaches = |threshold: Threshold| randomness.0 >= threshold.0;
        if reaches(self.protected) {
            Said::Protected
        } else if !reaches(self.veto) {
            Said::Veto
        } else if reaches(self.keep) {
            Said::Keep
        } else if self.ended {
            Said::Ended
        } else {
            Said::Nothing
        }
    }

    /// What is kept where nobody else is asked.
    pub fn threshold(&self) -> Threshold {
        self.keep.max(self.veto).min(self.protected)
    }

    /// Both asked at once. Of those that keep, the one that keeps more is named.
    pub fn beside(self, other: Self, randomness: Randomness) -> Self {
        let rank = |answer: &Self| match answer.said(randomness) {
            Said::Protected => (Said::Protected, Reverse(answer.protected)),
            Said::Keep => (Said::Keep, Reverse(answer.keep)),
            said => (said, Reverse(Threshold::ALWAYS)),
        };
        Self {
            protected: self.protected.min(other.protected),
            veto: self.veto.max(other.veto),
            keep: self.keep.min(other.keep),
            ended: false,
            by: if rank(&other) > rank(&self) { other.by } else { self.by },
        }
    }

    /// The same without protection from what others veto.
    pub fn exposed(self) -> Self {
        // `keep` is not above `protected`: what is protected is kept.
        Self { protected: Threshold::NEVER, veto: self.veto.min(self.protected), ..self }
    }

    /// The next, which protects nothing, asked where this one says nothing.
    pub fn before(self, next: Self, randomness: Randomness) -> Self {
        if self.ended {
            return self;
        }
        Self {
            protected: self.protected,
            veto: self.veto.max(self.keep.min(next.veto)),
            keep: self.keep.min(next.keep),
            ended: next.ended,
            by: if self.said(randomness) == Said::Nothing { next.by } else { self.by },
        }
    }
}
