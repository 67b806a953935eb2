//! A policy: a condition and what to do with the traces that fulfil it.

use super::program::Compiled;
use crate::model::Threshold;

#[derive(Debug)]
pub struct Policy {
    /// Unique in its set.
    pub name: String,
    /// The condition, as text; empty where there is none.
    pub written: String,
    pub action: Action,
    pub(super) when: Compiled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Where the trace's randomness reaches the threshold.
    Keep(Threshold),
    Drop,
}

/// How the policies of a set meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Match {
    /// Kept if any policy keeps it; a matching `drop` vetoes, wherever it stands.
    #[default]
    Any,
    /// The first policy that matches decides.
    First,
}
