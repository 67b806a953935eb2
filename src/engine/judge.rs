//! Verdicts on traces, as policies and samplers have them.

use super::{
    Engine, Workspace,
    batch::{Due, Granted},
};
use crate::{
    assemble::{Assembly, PutOff, Reason, Summary},
    decide::{Answering, Context, Edition, Facts, NOTES, Node, PolicySet, Tree, Values, Verdict, Vote, Weight, linked},
    model::{Fingerprint, RecordTime, Threshold},
    sample::{Rank, rare::HELD},
};

/// A verdict that is not carried out yet.
pub struct Judged {
    pub due: Due,
    /// The policy is by its number.
    pub verdict: Verdict,
    pub rank: Option<Rank>,
    pub policies: Fingerprint,
    /// What each policy is worth to it, where that is asked.
    pub matching: Vec<Weight>,
    /// It was decided in a life before.
    pub bound: bool,
    /// It gives way last.
    pub protected: bool,
    /// Of samplers that are to learn of it.
    pub votes: Box<[Vote]>,
    /// It is put off, for one that it may follow.
    pub waits: bool,
}

impl Engine {
    /// Judges a trace by itself, the one at a place of its batch. `granted`: what rates let through of it, by sampler.
    pub(super) fn judge(&mut self, due: Due, at: u32, granted: &[(u32, Granted)]) -> Judged {
        let Due { trace, reason, decided, .. } = due;
        if let Some(of) = self.assembly.bound(trace) {
            let (verdict, policies, matching) = (of.verdict, of.policies, Vec::new());
            let votes = Box::default();
            return Judged {
                due,
                verdict,
                rank: None,
                policies,
                matching,
                bound: true,
                protected: false,
                votes,
                waits: false,
            };
        }
        let is_one_of_many = self.assembly.rings_together();
        let Self { assembly, sets, states, given, votes, batch, stats, scratch, .. } = self;
        let edition = &sets.asked(assembly.generation_of(trace)).edition;
        let policies = &edition.policies;
        let partition = assembly.rank(assembly.first_place(trace).0);
        let before = assembly.was_put_off(trace);
        let was_pledged = before == Some(PutOff::Pledged);
        let may_wait = policies.has_followers() && given.is_none() && !due.is_full();
        let left = if may_wait { assembly.time_left(trace, decided) } else { 0 };
        let known = facts(assembly, policies, scratch, trace, reason == Reason::Structure, decided);
        let answering = given.as_deref().map_or(Answering::Learned(states, partition), Answering::Given);
        policies.vote(known, answering, votes);
        grant(votes, granted);
        if was_pledged {
            policies.confirm(votes, states);
        } else if before.is_some() {
            policies.ask_no_more(votes);
        }
        let mut verdict = policies.decide_following(votes, known);
        let patience = if verdict.keep || left == 0 { 0 } else { policies.patience(votes, known).min(left) };
        let waits = patience > 0;
        if verdict.keep && before == Some(PutOff::ByChance) {
            // Those that waited had less randomness than others like them, which stand for all.
            verdict.threshold = Threshold::NEVER;
        }
        let facts = Facts { votes, ..known };
        if !waits {
            policies.shadows(facts, |policy, keep| stats.shadowed(edition.number(policy), keep));
        }
        let by = verdict.policy.filter(|_| verdict.keep);
        let rank = by.and_then(|policy| policies.rank(votes, policy, known.randomness, states));
        let matching = if self.weighed.is_some() { weighed(edition, facts) } else { Vec::new() };
        if verdict.keep && is_one_of_many {
            batch.claim(at, policies, facts);
            policies.expect(facts.votes, states);
        }
        let protected = verdict.policy.is_some_and(|policy| policies.policies()[usize::from(policy)].is_protected());
        if waits {
            if was_pledged {
                // As if it were not to be kept, and it may never be; if it is, that is learned of as it always is.
                policies.settle(votes, false, states);
            }
            let by = if verdict.threshold == Threshold::NEVER { PutOff::ForCertain } else { PutOff::ByChance };
            assembly.put_off(trace, decided, patience, by);
        }
        let verdict = edition.numbered(verdict);
        Judged {
            due,
            verdict,
            rank,
            policies: policies.fingerprint(),
            matching,
            bound: false,
            protected,
            votes: votes.as_slice().into(),
            waits,
        }
    }

    /// Puts a trace off that is to be judged, where it is pledged to be kept by a floor and others are to hear of that.
    pub(super) fn pledges(&mut self, due: &Due) -> bool {
        let Self { assembly, sets, states, given, votes, scratch, .. } = self;
        let Due { trace, reason, decided, .. } = *due;
        let policies = &sets.asked(assembly.generation_of(trace)).edition.policies;
        let may_wait = policies.has_floors() && states.are_shared() && given.is_none() && !due.is_full();
        let is_new = may_wait && assembly.bound(trace).is_none() && assembly.was_put_off(trace).is_none();
        if !is_new || assembly.time_left(trace, decided) < HELD {
            return false;
        }
        let partition = assembly.rank(assembly.first_place(trace).0);
        let known = facts(assembly, policies, scratch, trace, reason == Reason::Structure, decided);
        policies.vote(known, Answering::Learned(states, partition), votes);
        if !policies.pledge(votes, known, states) {
            return false;
        }
        assembly.put_off(trace, decided, HELD, PutOff::Pledged);
        true
    }

    /// Lets samplers learn of a verdict that is carried out.
    pub(super) fn teach(&mut self, judged: &Judged) {
        let Self { assembly, sets, states, stats, scratch, .. } = self;
        let Due { trace, reason, decided, .. } = judged.due;
        let edition = &sets.asked(assembly.generation_of(trace)).edition;
        let marks = judged.verdict.keep && !judged.bound && edition.policies.has_followers();
        if judged.votes.is_empty() && !marks {
            return;
        }
        let Summary { id, randomness, .. } = assembly.summary(trace);
        let randomness = edition.policies.randomness(id, randomness);
        edition.policies.teach(&judged.votes, randomness, judged.verdict.keep, states, |policy, over| {
            stats.over(edition.number(policy), over);
        });
        if assembly.was_put_off(trace) == Some(PutOff::Pledged) {
            edition.policies.settle(&judged.votes, judged.verdict.keep, states);
        }
        if marks {
            let partition = assembly.rank(assembly.first_place(trace).0);
            let known = facts(assembly, &edition.policies, scratch, trace, reason == Reason::Structure, decided);
            let certain = judged.verdict.threshold == Threshold::ALWAYS;
            stats.unmarked += edition.policies.mark(&judged.votes, known, certain, (partition, states));
        }
    }
}

// === impl Judged ===

impl Judged {
    /// Bytes of the votes.
    pub fn votes(&self) -> usize {
        size_of_val(&*self.votes)
    }
}

/// What each policy is worth to a trace.
pub fn weighed(edition: &Edition, facts: Facts<'_>) -> Vec<Weight> {
    let mut weighed = Vec::new();
    edition.policies.weigh(facts, |weight| weighed.push(Weight { policy: edition.number(weight.policy), ..weight }));
    weighed
}

/// Puts what rates let through into the votes. Both are in the order of the samplers.
fn grant(votes: &mut [Vote], granted: &[(u32, Granted)]) {
    for &(_, (sampler, threshold)) in granted {
        if let Ok(at) = votes.binary_search_by_key(&sampler, |vote| vote.sampler) {
            votes[at].threshold = threshold;
        }
    }
}

/// What is known by now of a held trace, before samplers have voted. `complete` where assembly has found it so.
pub fn facts<'a>(
    assembly: &'a mut Assembly<Context, super::Decided>,
    policies: &PolicySet,
    scratch: &'a mut Workspace,
    trace: u32,
    complete: bool,
    time: RecordTime,
) -> Facts<'a> {
    let Workspace { spans, tree, values, links, .. } = scratch;
    if policies.asks_tree() {
        grow(assembly, spans, tree, values, trace);
    }
    links.clear();
    if policies.asks_links() {
        links.push(linked(&assembly.summary(trace).id.0));
        links.extend(assembly.links(trace));
        // Its own first: of too many some are left out.
        links[1..].sort_unstable();
        links.dedup();
    }
    let Summary { id, duration, span_count, bytes, randomness, root_ended, .. } = assembly.summary(trace);
    let randomness = policies.randomness(id, randomness);
    let (bits, counts) = assembly.facts(trace);
    let complete = complete || root_ended && tree.is_whole();
    Facts {
        bits,
        counts,
        duration_ns: duration,
        span_count,
        bytes,
        randomness,
        time,
        complete,
        tree,
        values,
        links,
        votes: &[],
        cuts: &[],
    }
}

/// Puts the call tree of a trace together, and its values; `spans` is scratch space.
fn grow(
    assembly: &mut Assembly<Context, super::Decided>,
    spans: &mut Vec<u32>,
    tree: &mut Tree,
    values: &mut Values,
    trace: u32,
) {
    assembly.spans_of(trace, spans);
    values.clear();
    tree.grow(spans.iter().map(|&at| {
        let (id, parent, context, notes) = assembly.link(trace, at);
        values.add(of_values(notes));
        noted(Node { id, parent, service: context.map_or(0, |context| context.service), ..Node::default() }, notes)
    }));
    values.settle();
}

/// A node with what is noted of its span.
pub fn noted(node: Node, notes: &[u64]) -> Node {
    let [marks, name] = [0, 1].map(|at| notes.get(at).copied().unwrap_or(0));
    Node { marks, name, ..node }
}

/// What a span noted for values.
pub fn of_values(notes: &[u64]) -> &[u64] {
    notes.get(NOTES..).unwrap_or_default()
}
