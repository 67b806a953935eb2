//! How much of what was beyond the quantile was kept.

use std::ops::AddAssign;

use super::slowest::Window;

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
    /// Of a window that is over, of all partitions together. What is beyond the quantile is exact but for the one bucket in which
    /// it lies: of those, any that were kept count, as many as are needed.
    pub fn of(window: &Window) -> Self {
        let values = &window.values;
        // 0.1 % of 1,000 is 1, whatever binary fractions make of it. A cast from float to integer saturates.
        let beyond = (values.tail() * values.count() as f64 + 1e-6) as u64;
        Self { beyond, covered: values.marked_among(beyond), chosen: window.chosen }
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
