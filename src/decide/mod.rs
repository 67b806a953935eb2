//! Whether a trace is kept: policies, compiled so that each span is looked at once, as it passes.
//!
//! Part of the pure core: no clock, no lock, no I/O. A [`PolicySet`] is read from YAML and never changes. Every passing
//! span is folded into its trace's facts, a few words of bits and counters ([`PolicySet::observe`]), and the verdict is a
//! function of these facts and the trace's randomness ([`PolicySet::decide`]).

mod answer;
pub mod budget;
pub mod condition;
mod edition;
pub mod explain;
mod fnv;
mod follow;
mod key;
mod lint;
mod look;
mod memo;
mod observe;
mod part;
mod pledge;
mod policy;
mod probability;
mod program;
mod randomness;
mod read;
mod sampler;
mod set;
mod tree;
mod values;
mod verdict;

pub use edition::{Edition, Full};
pub use key::{linked, operation};
pub use lint::find as lint;
pub use observe::{Context, Scratch};
pub use policy::{Action, List, Match, Policy};
pub use probability::{of_such, percentage, threshold};
pub use read::Part;
pub use sampler::{Answering, Vote};
pub use set::PolicySet;
pub use tree::{NOTES, Node, Tree};
pub use values::Values;
pub use verdict::{Facts, Verdict, Weight};

#[cfg(test)]
mod tests;
