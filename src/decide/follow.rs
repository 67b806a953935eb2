//! Traces that are kept because another one of their causal group was.
//!
//! A kept trace marks its keys, and a trace with a marked key is kept. Where the mark is of one of a sample, the trace says nothing of
//! others that are like it: it is kept by the randomness of another trace, and so without a weight.

use super::{Facts, PolicySet, Verdict, Vote};
use crate::{
    model::Threshold,
    sample::{Rule, States},
};

/// A sampler that follows.
#[derive(Debug)]
pub struct Follower {
    /// Its place in the set.
    pub sampler: u16,
    /// Of the policies that begin groups, in their order; None where all do, and so does `otherwise`.
    pub of: Option<Box<[u16]>>,
}

// === impl PolicySet ===

impl PolicySet {
    /// The verdict on a trace, which may follow one of a sample.
    pub fn decide_following(&self, votes: &mut [Vote], known: Facts<'_>) -> Verdict {
        let verdict = self.decide(Facts { votes: &*votes, ..known });
        if verdict.keep || !votes.iter().any(Vote::follows_by_chance) {
            return verdict;
        }
        votes.iter_mut().filter(|vote| vote.follows_by_chance()).for_each(|vote| vote.threshold = Threshold::ALWAYS);
        let followed = self.decide(Facts { votes: &*votes, ..known });
        if followed.keep { Verdict { threshold: Threshold::NEVER, ..followed } } else { verdict }
    }

    /// For how many milliseconds more a trace that is dropped is to be held, since one that it would follow may be kept.
    pub fn patience(&self, votes: &mut [Vote], known: Facts<'_>) -> u64 {
        if self.followers.is_empty() {
            return 0;
        }
        let wait = |vote: &Vote| match self.samplers[usize::from(vote.sampler)].rule {
            Rule::Follow(rule) if vote.marked.is_none() && !self.policies[usize::from(vote.policy)].shadow => rule.wait,
            _ => 0,
        };
        let longest = votes.iter().map(wait).max().unwrap_or(0);
        if longest == 0 {
            return 0;
        }
        // What would be dropped all the same waits for nothing.
        let open = |votes: &mut [Vote], threshold| {
            votes.iter_mut().filter(|vote| wait(vote) > 0).for_each(|vote| vote.threshold = threshold);
        };
        open(votes, Threshold::ALWAYS);
        let keeps = self.decide(Facts { votes: &*votes, ..known }).keep;
        open(votes, Threshold::NEVER);
        if keeps { longest } else { 0 }
    }

    /// Whether the ids that traces are linked by are asked for.
    pub fn asks_links(&self) -> bool {
        self.program.asks_links
    }

    pub fn has_followers(&self) -> bool {
        !self.followers.is_empty()
    }

    /// Marks what a trace that is kept has in common with others. Says how many marks have left before their time for want of room.
    pub fn mark(&self, votes: &[Vote], known: Facts<'_>, partition: u32, states: &mut States) -> u64 {
        let alone: Vec<Vote> = votes.iter().map(|vote| vote.alone()).collect();
        let own = self.decide(Facts { votes: &alone, ..known });
        let certain = own.threshold == Threshold::ALWAYS;
        let mut gone = 0;
        for follower in &self.followers {
            let begins = own.keep && follower.begins(own.policy);
            let followed = votes.iter().find(|vote| vote.sampler == follower.sampler).and_then(|vote| vote.marked);
            let sampler = &self.samplers[usize::from(follower.sampler)];
            if let Rule::Follow(rule) = sampler.rule
                && (begins || followed.is_some())
            {
                let by = followed.filter(|_| !begins);
                let keys = sampler.keys(&known);
                gone += states.mark((sampler.state, rule), (partition, known.time), &keys, (by, certain));
            }
        }
        gone
    }
}

// === impl Follower ===

impl Follower {
    fn begins(&self, policy: Option<u16>) -> bool {
        let Some(of) = &self.of else { return true };
        policy.is_some_and(|policy| of.binary_search(&policy).is_ok())
    }
}

// === impl Vote ===

impl Vote {
    fn follows_by_chance(&self) -> bool {
        self.marked.is_some_and(|mark| !mark.certain)
    }

    /// As if it followed nobody.
    fn alone(&self) -> Self {
        let threshold = if self.marked.is_some() { Threshold::NEVER } else { self.threshold };
        Self { threshold, ..*self }
    }
}
