//! What was there, told from what was kept: counts of traces and quantiles of how long they took, each with an interval.
//!
//! `docs/sampling.md` has the formulas.

mod estimator;
mod kept;
mod report;
mod text;

#[cfg(test)]
mod tests;

pub use estimator::{Estimated, QUANTILES, Sum, Unit, quantile, total};
pub use kept::Kept;
pub use report::{By, Report};
