//! Traces that `rare` would keep, and of which the other workers are to hear before.

use super::{Facts, PolicySet, Vote};
use crate::{
    model::Threshold,
    sample::{Measured, Rare, Rule, States},
};

// === impl PolicySet ===

impl PolicySet {
    /// Whether anything may be pledged.
    pub fn has_floors(&self) -> bool {
        self.samplers.iter().any(|sampler| matches!(sampler.rule, Rule::Rare(_)))
    }

    /// Pledges a trace where that makes a difference to it, whatever its randomness, or what is kept would not be the same part of all there is.
    pub fn pledge(&self, votes: &[Vote], known: Facts<'_>, states: &mut States) -> bool {
        let (mut pledged, mut others) = (Vec::new(), votes.to_vec());
        for vote in &mut others {
            if let Some((state, rule, measured)) = self.floor(vote)
                && states.would_pledge(state, &rule, measured)
            {
                vote.threshold = Threshold::NEVER;
                pledged.push((state, rule, measured));
            }
        }
        if pledged.is_empty() {
            return false;
        }
        let [with, without] = [votes, &others].map(|votes| self.decide(Facts { votes, ..known }).threshold);
        if with >= without {
            return false;
        }
        pledged.iter().for_each(|(state, rule, measured)| states.pledge(*state, rule, *measured));
        true
    }

    /// On a trace that was pledged, floors say whether they keep it.
    pub fn confirm(&self, votes: &mut [Vote], states: &States) {
        for vote in votes {
            if let Some((state, rule, measured)) = self.floor(vote) {
                let keeps = states.confirms(state, &rule, measured);
                vote.threshold = if keeps { Threshold::ALWAYS } else { Threshold::NEVER };
            }
        }
    }

    /// The verdict on a trace that was pledged is carried out, and was learned of.
    pub fn settle(&self, votes: &[Vote], kept: bool, states: &mut States) {
        for (state, rule, measured) in votes.iter().filter_map(|vote| self.floor(vote)) {
            states.settle(state, &rule, measured, kept);
        }
    }

    fn floor(&self, vote: &Vote) -> Option<(u64, Rare, Measured)> {
        let sampler = &self.samplers[usize::from(vote.sampler)];
        let Rule::Rare(rule) = sampler.rule else { return None };
        Some((sampler.state, rule, vote.measured?))
    }
}
