//! What a policy keeps of the traces it matches where more than their randomness decides: by what was learned of others.

use super::{
    Facts,
    condition::Aspect,
    part::{Place, key},
    probability::threshold,
    tree::mix,
};
use crate::{
    model::Threshold,
    sample::{Measured, Over, Rule, States, follow::Mark, keys::Key, slowest::Fate},
};

/// What one trace may follow others by, at most, of each kind: a batch of messages has as many links as messages.
const KEYS_MAX: usize = 1024;

/// A sampler that learns. `V` is what it looks at: as it was read, then where that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampler<V> {
    /// Tells what it has learned from what others have, in all versions of the policies.
    pub state: u64,
    /// Traces that differ in these are nothing to each other.
    pub by: Vec<V>,
    pub rule: Rule,
    /// What the rule measures, if it does.
    pub of: Option<V>,
    /// All of it, as a policy says it.
    pub written: String,
}

/// What a sampler that learns says of a trace that its policy matches.
#[derive(Clone, Copy, Debug)]
pub struct Vote {
    /// The places of both in the set.
    pub sampler: u16,
    pub policy: u16,
    /// None where there is nothing to measure, or nothing was asked for.
    pub measured: Option<Measured>,
    /// What of such traces is kept.
    pub threshold: Threshold,
    /// What it follows, if it does.
    pub marked: Option<Mark>,
}

/// Who answers for the samplers that learn.
#[derive(Clone, Copy, Debug)]
pub enum Answering<'a> {
    /// Of a trace that began in this partition, which is known by its place among all.
    Learned(&'a States, u32),
    /// Those of these policies keep the trace, and others do not.
    Given(&'a [u16]),
}

// === impl Sampler ===

impl Sampler<Aspect> {
    /// What it looks at, in the order that [`Sampler::placed`] takes, as a sampler of a policy.
    pub fn aspects(&self, policy: u16) -> impl Iterator<Item = (usize, Aspect, bool)> {
        let by = self.by.iter().map(|aspect| (aspect, false));
        by.chain(self.of.iter().map(|of| (of, true)))
            .map(move |(aspect, measured)| (usize::from(policy), aspect.clone(), measured))
    }

    /// The same sampler, that knows where to look.
    pub fn placed(self, places: &mut impl Iterator<Item = Place>) -> Sampler<Place> {
        let Self { state, by, rule, of, written } = self;
        // There are as many places as aspects.
        let by = places.by_ref().take(by.len()).collect();
        let of = of.and_then(|_| places.next());
        Sampler { state, by, rule, of, written }
    }
}

impl Sampler<Place> {
    /// On a trace with these facts, for a policy, where both have these places.
    pub fn vote(&self, (sampler, policy): (u16, u16), facts: &Facts<'_>, answering: Answering<'_>) -> Vote {
        let no = Vote { sampler, policy, measured: None, threshold: Threshold::NEVER, marked: None };
        let (states, partition) = match answering {
            Answering::Given(policies) if policies.contains(&policy) => {
                return Vote { threshold: Threshold::ALWAYS, ..no };
            }
            Answering::Given(_) => return no,
            Answering::Learned(states, partition) => (states, partition),
        };
        if matches!(self.rule, Rule::Follow(_)) {
            let marked = states.marked(self.state, &self.keys(facts), facts.time);
            // Of a sample, it is asked again when it is known what else keeps the trace.
            let threshold = if marked.is_some_and(|mark| mark.certain) { Threshold::ALWAYS } else { Threshold::NEVER };
            return Vote { threshold, marked, ..no };
        }
        let value = self.of.as_ref().map_or(Some(1.0), |of| of.number(facts));
        let Some(value) = value else { return no };
        let measured = Measured { partition, key: Key(key(&self.by, facts)), value, time: facts.time };
        let threshold = threshold(states.probability(self.state, &self.rule, measured));
        Vote { measured: Some(measured), threshold, ..no }
    }

    /// What traces follow each other by: a value is another in each place that it stands in.
    pub fn keys(&self, facts: &Facts<'_>) -> Vec<u64> {
        let mut keys = Vec::new();
        for (place, of) in (0..).zip(&self.by) {
            let most = keys.len() + KEYS_MAX;
            of.keys(facts, |key| {
                if keys.len() < most {
                    keys.push(mix(place, key));
                }
            });
        }
        keys
    }

    /// Learns of a trace, and tells what came of what is over now.
    pub fn learn(&self, measured: Measured, fate: Fate, states: &mut States) -> Over {
        states.learn(self.state, &self.rule, measured, fate)
    }
}
