//! Policies of other samplers, written as ours.
//!
//! What comes out is a policy file with the same verdicts. Where these cannot be the same, or where the original does something
//! its writer will not have meant, a comment says so beside the policy.

mod collector;
mod draft;
mod dynamic;
mod refinery;

pub use collector::{Version, collector};
pub use draft::Draft;
pub use refinery::{is_refinery, refinery};

#[cfg(test)]
mod tests;
