//! A policy: a condition and what to do with the traces that fulfil it.

use std::ops::Range;

use super::program::Compiled;
use crate::model::{RecordTime, Threshold};

/// A policy, or a group of them.
#[derive(Debug)]
pub struct Policy {
    /// Unique in its set.
    pub name: String,
    /// The condition, as text; empty where there is none.
    pub written: String,
    pub action: Action,
    /// As if absent; what it would say is counted.
    pub shadow: bool,
    /// The last moment it is there.
    pub until: Option<RecordTime>,
    pub(super) when: Compiled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Where the trace's randomness reaches the threshold, and all the samplers that learn, at these places of the set, agree.
    /// `ends`: where not, no other policy is asked.
    Keep { threshold: Threshold, samplers: Range<u16>, protect: bool, ends: bool },
    /// Where it does not. `ends`: where it does, no other policy is asked.
    Drop { threshold: Threshold, ends: bool },
    /// What the group says.
    Group(List),
}

/// Policies that are judged together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    pub matching: Match,
    /// Places in the set. Behind a group stand those it is made of.
    pub policies: Range<u16>,
    /// What of the rest is kept; None leaves it to others.
    pub otherwise: Option<Threshold>,
}

/// How policies meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Match {
    /// Kept if any policy keeps it; a matching `drop` vetoes, wherever it stands.
    #[default]
    Any,
    /// The first policy that matches decides.
    First,
}

// === impl Policy ===

impl Policy {
    pub fn is_protected(&self) -> bool {
        self.action.is_protected()
    }
}

// === impl Action ===

impl Action {
    pub fn is_protected(&self) -> bool {
        matches!(self, Self::Keep { protect: true, .. })
    }
}
