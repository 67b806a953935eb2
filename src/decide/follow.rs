//! Traces that are kept because another one of their causal group was.
//!
//! A kept trace marks its keys, and a trace with a marked key is kept. Where the mark is of one of a sample, the trace says nothing of
//! others that are like it: it is kept by the randomness of another trace, and so without a weight.

use super::{Action, Facts, List, PolicySet, Verdict, Vote, answer::Said};
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

    /// On a trace that was put off, samplers that come to a goal have had their say: asked again, each trace would have two chances.
    pub fn ask_no_more(&self, votes: &mut [Vote]) {
        for vote in votes {
            if matches!(self.samplers[usize::from(vote.sampler)].rule, Rule::Adaptive(_) | Rule::Rate(_)) {
                vote.threshold = Threshold::NEVER;
            }
        }
    }

    /// Marks what a trace that is kept has in common with others; `certain`, if all such traces are. Says how many marks have left
    /// before their time for want of room.
    pub fn mark(
        &self,
        votes: &[Vote],
        known: Facts<'_>,
        certain: bool,
        (partition, states): (u32, &mut States),
    ) -> u64 {
        let alone: Vec<Vote> = votes.iter().map(Vote::alone).collect();
        let alone = Facts { votes: &alone, ..known };
        let own = self.decide(alone);
        let mut gone = 0;
        for follower in &self.followers {
            let sampler = &self.samplers[usize::from(follower.sampler)];
            let Rule::Follow(rule) = sampler.rule else { continue };
            let begins = own.keep && follower.of.as_ref().is_none_or(|of| self.keeps_one(&self.list, of, alone));
            let followed = votes.iter().find(|vote| vote.sampler == follower.sampler).and_then(|vote| vote.marked);
            // It may do both, and one may be over sooner than the other.
            let begun = begins.then_some((None, certain && own.threshold == Threshold::ALWAYS));
            let passed_on = followed.map(|mark| (followed, certain && mark.certain));
            if begun.is_none() && passed_on.is_none() {
                continue;
            }
            let keys = sampler.keys(&known);
            for mark in begun.into_iter().chain(passed_on) {
                gone += states.mark((sampler.state, rule), (partition, known.time), &keys, mark);
            }
        }
        gone
    }

    /// Whether one of these policies keeps the trace by itself, whoever else does.
    fn keeps_one(&self, list: &List, of: &[u16], facts: Facts<'_>) -> bool {
        let mut asked = self.members(list).filter(|(_, policy)| !policy.shadow && self.is_asked(policy, facts));
        asked.any(|(number, policy)| {
            let named = of.binary_search(&number).is_ok();
            let said = named.then(|| self.answer(number, policy, None, facts).said(facts.randomness));
            matches!(said, Some(Said::Keep | Said::Protected))
                || matches!(&policy.action, Action::Group(list) if self.keeps_one(list, of, facts))
        })
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
