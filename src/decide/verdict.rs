//! The verdict on a trace.

use super::{
    Action, Answering, Match, Policy, PolicySet, Tree, Values, Vote,
    answer::{Answer, Said},
    policy::List,
    program::{Fact, bit},
};
use crate::{
    model::{Randomness, RecordTime, Threshold},
    sample::{Over, Rank, Rule, States, slowest::Fate},
};

/// What is known of a trace when it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// As `PolicySet::observe` left them; they began as `PolicySet::blank`.
    pub bits: &'a [u64],
    pub counts: &'a [u32],
    /// Last end minus first start, in nanoseconds.
    pub duration_ns: u64,
    pub span_count: u32,
    /// Of its spans.
    pub bytes: u64,
    pub randomness: Randomness,
    /// Of the records, when it is judged.
    pub time: RecordTime,
    /// Its root has ended and every parent is there.
    pub complete: bool,
    /// Grown only if `PolicySet::asks_tree`.
    pub tree: &'a Tree,
    /// Gathered with it.
    pub values: &'a Values,
    /// The keys of the traces that it is linked with, and its own. Empty unless `PolicySet::asks_links`.
    pub links: &'a [u64],
    /// Of the samplers of the policies that match, in the order of the samplers. One that is missing keeps nothing.
    pub votes: &'a [Vote],
    /// What budgets leave of what each policy keeps, by its number, and at the end of what the `otherwise` of all keeps. Empty:
    /// all of it.
    pub cuts: &'a [Threshold],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub keep: bool,
    /// In `PolicySet::policies`: the policy, or the group by its own `otherwise`. None: the `otherwise` of all.
    pub policy: Option<u16>,
    /// Of all traces with these facts, those are kept whose randomness reaches it; so it does not depend on the trace's
    /// own. `NEVER` of what a policy always drops, and of what is kept because another trace was that is one of a sample: it stands
    /// for no others.
    pub threshold: Threshold,
}

/// What a policy that matches is to a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Weight {
    pub policy: u16,
    /// The trace would be kept if the policy were absent.
    pub without: bool,
    /// Of one in the shadow: whether it would keep the trace, if it would say anything.
    pub would: Option<bool>,
}

// === impl Verdict ===

impl Verdict {
    /// It is kept, and stands for no others.
    pub fn is_weightless(&self) -> bool {
        self.keep && self.threshold == Threshold::NEVER
    }

    /// In a word, of what is kept: all that is like it is, or a sample of it, or what goes with one of a sample.
    pub fn reason(&self) -> &'static str {
        match self.threshold {
            Threshold::ALWAYS => "always",
            Threshold::NEVER => "followed",
            _ => "sampled",
        }
    }
}

// === impl Facts ===

impl Facts<'_> {
    /// What a sampler keeps of such traces.
    fn vote(&self, sampler: u16) -> Threshold {
        let place = self.votes.binary_search_by_key(&sampler, |vote| vote.sampler);
        place.map_or(Threshold::NEVER, |place| self.votes[place].threshold)
    }

    /// What budgets leave of what a policy keeps, or `otherwise` of all.
    fn cut(&self, by: Option<u16>) -> Threshold {
        let cut = by.map_or(self.cuts.last(), |policy| self.cuts.get(usize::from(policy)));
        cut.copied().unwrap_or(Threshold::ALWAYS)
    }
}

// === impl PolicySet ===

impl PolicySet {
    pub fn decide(&self, facts: Facts<'_>) -> Verdict {
        self.decide_without(None, facts)
    }

    /// As if a policy were absent.
    fn decide_without(&self, absent: Option<u16>, facts: Facts<'_>) -> Verdict {
        let answer = self.ask(&self.list, None, absent, facts);
        let threshold = answer.threshold();
        Verdict { keep: facts.randomness.0 >= threshold.0, policy: answer.by, threshold }
    }

    /// Asks the samplers of the policies that match for their votes. Those of a policy in the shadow, too: what it would say is
    /// counted.
    pub fn vote(&self, facts: Facts<'_>, answering: Answering<'_>, votes: &mut Vec<Vote>) {
        votes.clear();
        if !self.samplers.is_empty() {
            self.vote_list(&self.list, facts, answering, votes);
        }
    }

    fn vote_list(&self, list: &List, facts: Facts<'_>, answering: Answering<'_>, votes: &mut Vec<Vote>) {
        for (number, policy) in self.members(list).filter(|(_, policy)| self.is_asked(policy, facts)) {
            match &policy.action {
                Action::Keep { samplers, .. } => votes.extend(samplers.clone().map(|place| {
                    let vote = self.samplers[usize::from(place)].vote((place, number), &facts, answering);
                    // What one in the shadow would keep is counted, whatever it weighs.
                    match vote.marked {
                        Some(_) if policy.shadow => Vote { threshold: Threshold::ALWAYS, ..vote },
                        _ => vote,
                    }
                })),
                Action::Drop { .. } => {}
                Action::Group(list) => self.vote_list(list, facts, answering, votes),
            }
        }
    }

    /// Votes on a trace, at most.
    pub fn votes(&self) -> usize {
        self.samplers.len()
    }

    /// Classes of budgets that a trace may be kept by, at most.
    pub fn claims(&self) -> usize {
        self.claims
    }

    /// Whether there is something that goes by what was.
    pub fn learns(&self) -> bool {
        !self.samplers.is_empty() || !self.budgets.is_empty()
    }

    /// Whether there is something below a ceiling: then traces are judged together that are decided at the same time.
    pub fn has_ceilings(&self) -> bool {
        !self.budgets.is_empty() || self.has_rates()
    }

    pub fn has_rates(&self) -> bool {
        self.samplers.iter().any(|sampler| matches!(sampler.rule, Rule::Rate(_)))
    }

    /// All that goes by what was, with its name.
    pub fn rules(&self) -> impl Iterator<Item = (u64, Rule)> {
        let samplers = self.samplers.iter().map(|sampler| (sampler.state, sampler.rule));
        samplers.chain(self.budgets.iter().map(|budget| (budget.state, Rule::Budget(budget.ceiling))))
    }

    /// Tells the rates that a trace asks, by name and vote: where it would be kept if the rates of a policy let it through, and others
    /// do not keep all such traces anyway. With each vote comes what would be kept then.
    ///
    /// What is asked for does not depend on whether others keep the very trace, or what they keep would be missing in the estimates.
    pub fn asks(&self, known: Facts<'_>, votes: &mut [Vote], mut tell: impl FnMut(u64, &Vote, Threshold)) {
        let is_rate = |vote: &Vote| {
            vote.measured.is_some() && matches!(self.samplers[usize::from(vote.sampler)].rule, Rule::Rate(_))
        };
        let mut outside = None;
        // The votes of a policy stand together.
        let mut begin = 0;
        while let Some(first) = votes.get(begin) {
            let policy = first.policy;
            let end = begin + votes[begin..].iter().take_while(|vote| vote.policy == policy).count();
            if votes[begin..end].iter().any(is_rate) {
                let outside = *outside.get_or_insert_with(|| self.decide(Facts { votes: &*votes, ..known }).threshold);
                let open = |votes: &mut [Vote], threshold| {
                    let rates = votes[begin..end].iter_mut().filter(|vote| is_rate(vote));
                    rates.for_each(|vote| vote.threshold = threshold);
                };
                open(votes, Threshold::ALWAYS);
                let with = self.with(policy, Facts { votes: &*votes, ..known });
                open(votes, Threshold::NEVER);
                let differs = with < outside || self.policies[usize::from(policy)].shadow;
                if differs && known.randomness.0 >= with.0 {
                    let rates = votes[begin..end].iter().filter(|vote| is_rate(vote));
                    rates.for_each(|vote| tell(self.samplers[usize::from(vote.sampler)].state, vote, with));
                }
            }
            begin = end;
        }
    }

    /// What is kept: of a policy in the shadow, what it would.
    fn with(&self, number: u16, facts: Facts<'_>) -> Threshold {
        let policy = &self.policies[usize::from(number)];
        if policy.shadow { self.answer(number, policy, None, facts).threshold() } else { self.decide(facts).threshold }
    }

    /// Lets samplers know of a trace that is kept, before they learn of it.
    pub fn expect(&self, votes: &[Vote], states: &mut States) {
        for vote in votes {
            if let Some(measured) = vote.measured {
                let sampler = &self.samplers[usize::from(vote.sampler)];
                states.expect(sampler.state, &sampler.rule, measured);
            }
        }
    }

    /// Lets samplers learn from a trace on which they have voted, and which was kept or not. Tells what came, by
    /// policy, of what is over now.
    pub fn teach(
        &self,
        votes: &[Vote],
        randomness: Randomness,
        kept: bool,
        states: &mut States,
        mut tell: impl FnMut(u16, Over),
    ) {
        for vote in votes {
            let Some(measured) = vote.measured else { continue };
            let fate = Fate { chosen: randomness.0 >= vote.threshold.0, kept };
            tell(vote.policy, self.samplers[usize::from(vote.sampler)].learn(measured, fate, states));
        }
    }

    /// How far down a trace that a policy keeps is among those that it keeps, where its samplers can say that.
    pub fn rank(&self, votes: &[Vote], policy: u16, randomness: Randomness, states: &States) -> Option<Rank> {
        let mut reached = votes.iter().filter(|vote| vote.policy == policy && randomness.0 >= vote.threshold.0);
        reached.find_map(|vote| {
            let sampler = &self.samplers[usize::from(vote.sampler)];
            states.rank(sampler.state, &sampler.rule, vote.measured?)
        })
    }

    /// Tells what each policy that matches is to the trace, those of a group where the group matches.
    pub fn weigh(&self, facts: Facts<'_>, mut tell: impl FnMut(Weight)) {
        self.weigh_list(&self.list, facts, &mut tell);
    }

    fn weigh_list(&self, list: &List, facts: Facts<'_>, tell: &mut dyn FnMut(Weight)) {
        for (number, policy) in self.members(list).filter(|(_, policy)| self.is_asked(policy, facts)) {
            let without = self.decide_without(Some(number), facts).keep;
            tell(Weight { policy: number, without, would: self.would(number, policy, facts) });
            if let Action::Group(list) = &policy.action {
                self.weigh_list(list, facts, tell);
            }
        }
    }

    /// Tells what each policy in the shadow would say of the trace, if it would say anything: whether to keep it.
    pub fn shadows(&self, facts: Facts<'_>, mut tell: impl FnMut(u16, bool)) {
        if self.has_shadows {
            self.ask_shadows(&self.list, facts, &mut tell);
        }
    }

    fn ask_shadows(&self, list: &List, facts: Facts<'_>, tell: &mut dyn FnMut(u16, bool)) {
        for (number, policy) in self.members(list).filter(|(_, policy)| self.is_asked(policy, facts)) {
            if let Some(keep) = self.would(number, policy, facts) {
                tell(number, keep);
            }
            if let Action::Group(list) = &policy.action {
                self.ask_shadows(list, facts, tell);
            }
        }
    }

    /// What a policy in the shadow would say of the trace, if it would say anything: whether to keep it.
    fn would(&self, number: u16, policy: &Policy, facts: Facts<'_>) -> Option<bool> {
        let said = policy.shadow.then(|| self.answer(number, policy, None, facts).said(facts.randomness))?;
        (said != Said::Nothing).then_some(matches!(said, Said::Keep | Said::Protected))
    }

    /// `by` answers for the list's own `otherwise`.
    fn ask(&self, list: &List, by: Option<u16>, absent: Option<u16>, facts: Facts<'_>) -> Answer {
        let mut answer = Answer::NOTHING;
        for (number, policy) in self.members(list).filter(|(_, policy)| !policy.shadow) {
            if answer.ended {
                break;
            }
            let is_idle = list.matching == Match::Any && is_idle(policy, &answer);
            if is_idle || absent == Some(number) || !self.is_asked(policy, facts) {
                continue;
            }
            let more = self.answer(number, policy, absent, facts);
            answer = match list.matching {
                Match::Any => answer.beside(more, facts.randomness),
                // Else a sampler's no that leads to a protected policy could be worth more than its yes.
                Match::First => answer.before(more.exposed(), facts.randomness),
            };
        }
        match list.otherwise {
            Some(keep) => {
                let keep = keep.max(facts.cut(by));
                answer.before(Answer { keep, ended: true, by, ..Answer::NOTHING }, facts.randomness)
            }
            None => answer,
        }
    }

    pub(super) fn is_asked(&self, policy: &Policy, facts: Facts<'_>) -> bool {
        policy.until.is_none_or(|until| facts.time <= until) && self.matches(policy, facts)
    }

    pub(super) fn answer(&self, number: u16, policy: &Policy, absent: Option<u16>, facts: Facts<'_>) -> Answer {
        let by = Some(number);
        match &policy.action {
            Action::Keep { threshold, samplers, protect, ends } => {
                let votes = samplers.clone().map(|place| facts.vote(place));
                let keep = votes.fold(facts.cut(by).max(*threshold), Threshold::max);
                let protected = if *protect { keep } else { Threshold::NEVER };
                Answer { protected, keep, ended: *ends, by, ..Answer::NOTHING }
            }
            Action::Drop { threshold: veto, ends } => {
                let keep = if *ends { facts.cut(by).max(*veto) } else { Threshold::NEVER };
                Answer { veto: *veto, keep, ended: *ends, by, ..Answer::NOTHING }
            }
            Action::Group(list) => self.ask(list, by, absent, facts),
        }
    }

    pub(super) fn matches(&self, policy: &Policy, facts: Facts<'_>) -> bool {
        let of_root = self.program.seen_words();
        policy.when.holds(&|fact| match *fact {
            Fact::Seen(predicate) => bit(facts.bits, predicate),
            Fact::Root(atom) => bit(&facts.bits[of_root..], atom),
            Fact::Count(counter, op, value) => {
                op.holds(Some(i64::from(facts.counts[usize::from(counter)]).cmp(&value)))
            }
            Fact::Duration(op, value) => {
                op.holds(Some(i64::try_from(facts.duration_ns).unwrap_or(i64::MAX).cmp(&value)))
            }
            Fact::Spans(op, value) => op.holds(Some(i64::from(facts.span_count).cmp(&value))),
            Fact::Bytes(op, value) => op.holds(Some(i64::try_from(facts.bytes).unwrap_or(i64::MAX).cmp(&value))),
            Fact::Under { below, above, direct } => facts.tree.has_under(below, above, direct),
            Fact::Complete => facts.complete,
            Fact::Services(op, value) => op.holds(Some(i64::from(facts.tree.services()).cmp(&value))),
            Fact::Depth(op, value) => op.holds(Some(i64::from(facts.tree.depth()).cmp(&value))),
            Fact::Siblings(mark, op, value) => op.holds(Some(i64::from(facts.tree.siblings(mark)).cmp(&value))),
            Fact::Values(path, op, value) => op.holds(Some(facts.values.key(path).cast_signed().cmp(&value))),
            Fact::Different(path, op, value) => op.holds(Some(i64::from(facts.values.count(path)).cmp(&value))),
            Fact::Shape(op, value) => op.holds(Some(facts.tree.shape().cast_signed().cmp(&value))),
        })
    }
}

/// Whether the policy, of a list with `match: any`, has nothing to add to what the others said: its condition is not worth
/// a look.
fn is_idle(policy: &Policy, answer: &Answer) -> bool {
    let Action::Keep { threshold, protect: false, .. } = policy.action else { return false };
    threshold >= answer.keep || answer.veto == Threshold::NEVER
}

#[cfg(test)]
mod tests;
