//! Traces that are judged together, since they are below one ceiling: those of one moment of one partition.
//!
//! Where policies have a rate or a budget, alarms ring together (see [`Assembly::ring_together`](crate::assemble::Assembly)), and
//! what has rung is judged as a whole: first what rates let through of what is asked of them, then each trace by its policies, and at
//! last what budgets leave of that. What was judged is carried out when the tick has room; meanwhile nothing else is taken in.

use std::{collections::VecDeque, mem};

use super::{
    Engine,
    judge::{Judged, facts, weighed},
};
use crate::{
    assemble::{Keying, PutOff, Reason},
    decide::{Answering, Facts, PolicySet, Vote},
    model::{RecordTime, Threshold},
    sample::{Candidate, Rule},
};

#[derive(Default)]
pub struct Batch {
    /// What was judged and is not carried out yet.
    judged: VecDeque<Judged>,
    /// Bytes of the votes on them: asked for at every decision.
    votes: usize,
    /// What is kept of the batch in hand, if budgets leave it.
    claims: Vec<Claim>,
    /// Scratch space.
    cuts: Vec<Threshold>,
}

/// A trace that is due.
#[derive(Clone, Copy)]
pub struct Due {
    pub trace: u32,
    pub reason: Reason,
    /// When it is decided.
    pub decided: RecordTime,
    /// The partition below whose ceilings it is, by its place among all.
    pub spender: u32,
}

/// What a trace of the batch asks of a rate.
struct Asked {
    /// The rate's name.
    rate: u64,
    sampler: u16,
    policy: u16,
    /// The trace is a place in the batch.
    candidate: Candidate,
}

/// What a trace of the batch would take of a budget.
#[derive(Clone, Copy)]
struct Claim {
    /// The budget, and its place in the set.
    budget: u64,
    order: u16,
    candidate: Candidate,
}

/// What a rate lets through of a trace, by its sampler.
pub type Granted = (u16, Threshold);

/// Bytes that a trace may take while its batch is judged, beside its votes and what it claims: see the types above, [`Judged`], and the bucket
/// of a key that nobody has seen before.
const TRACE_BYTES: usize = 480;
/// Of each class of a budget that keeps it: the claim, and twice a candidate when the budget closes.
const CLAIM_BYTES: usize = size_of::<Claim>() + 2 * size_of::<Candidate>();

// === impl Due ===

impl Due {
    /// There is no room to hold it any longer.
    pub fn is_full(&self) -> bool {
        matches!(self.reason, Reason::Size | Reason::Memory)
    }
}

// === impl Engine ===

impl Engine {
    /// Whether traces are judged together is as the policies in force ask.
    pub(super) fn gather_or_not(&mut self) {
        self.assembly.ring_together(self.given.is_none() && self.sets.have_ceilings());
    }

    /// What the next batch may take.
    pub(super) fn batch_bytes(&self) -> usize {
        if !self.assembly.rings_together() {
            return 0;
        }
        let each = TRACE_BYTES + self.sets.votes() * size_of::<Vote>() + self.sets.claims() * CLAIM_BYTES;
        self.assembly.traces_held() as usize * each
    }

    /// Judges what is due next in a domain; false where nothing is.
    pub(super) fn gather(&mut self, domain: u32) -> bool {
        loop {
            let mut rung = Vec::new();
            while let Some((trace, reason)) = self.assembly.next_due() {
                rung.push(self.due(trace, reason));
            }
            if !rung.is_empty() {
                self.judge_batch(rung);
                return true;
            }
            if !self.assembly.ring(domain) {
                return false;
            }
        }
    }

    pub(super) fn due(&mut self, trace: u32, reason: Reason) -> Due {
        let decided = self.assembly.decided(trace, reason);
        // Of an unkeyed input one worker has all partitions, and a trace may be in each of them: what is spent is spent as one.
        let is_keyed = self.settings.keying == Keying::Keyed;
        let spender = if is_keyed { self.assembly.rank(self.assembly.first_place(trace).0) } else { 0 };
        Due { trace, reason, decided, spender }
    }

    /// Judges what has rung.
    pub(super) fn judge_batch(&mut self, mut rung: Vec<Due>) {
        // What is too large rings at once, whatever its partition.
        rung.sort_by_key(|due| (due.decided, due.spender));
        rung.retain(|due| !self.pledges(due));
        for together in rung.chunk_by(|a, b| (a.decided, a.spender) == (b.decided, b.spender)) {
            self.judge_all(together);
        }
    }

    fn judge_all(&mut self, together: &[Due]) {
        let granted = self.ask_rates(together);
        self.batch.claims.clear();
        let mut judged: Vec<Judged> = Vec::with_capacity(together.len());
        for (at, due) in (0..).zip(together) {
            judged.push(self.judge(*due, at, of(&granted, at)));
        }
        self.states.expect_no_more();
        self.ask_budgets(together, &mut judged);
        judged.retain(|judged| !judged.waits);
        self.batch.votes += judged.iter().map(Judged::votes).sum::<usize>();
        self.batch.judged.extend(judged);
    }

    /// What rates let through of what traces ask of them, in the order of the traces and the samplers.
    fn ask_rates(&mut self, together: &[Due]) -> Vec<(u32, Granted)> {
        let Self { assembly, sets, states, votes, scratch, stats, .. } = self;
        let mut asked: Vec<Asked> = Vec::new();
        for (at, due) in (0..).zip(together) {
            let edition = &sets.asked(assembly.generation_of(due.trace)).edition;
            let has_waited = assembly.was_put_off(due.trace).is_some_and(PutOff::follows);
            let has_asked = assembly.bound(due.trace).is_some() || has_waited;
            if has_asked || !edition.policies.has_rates() {
                continue;
            }
            let partition = assembly.rank(assembly.first_place(due.trace).0);
            let complete = due.reason == Reason::Structure;
            let known = facts(assembly, &edition.policies, scratch, due.trace, complete, due.decided);
            edition.policies.vote(known, Answering::Learned(states, partition), votes);
            edition.policies.asks(known, votes, |rate, vote, threshold| {
                let Some(measured) = vote.measured else { return };
                let cost = measured.value.round() as u64;
                let (key, randomness) = (measured.key.0, known.randomness);
                let candidate = Candidate { trace: at, key, cost, randomness, threshold, elsewhere: false };
                asked.push(Asked { rate, sampler: vote.sampler, policy: edition.number(vote.policy), candidate });
            });
        }
        asked.sort_by_key(|asked| asked.rate);
        let mut granted: Vec<(u32, Granted)> = Vec::with_capacity(asked.len());
        for asked in asked.chunk_by(|a, b| a.rate == b.rate) {
            let Some(Rule::Rate(rule)) = sets.rule(asked[0].rate) else { continue };
            let mut batch = candidates(asked.iter().map(|asked| &asked.candidate));
            states.rate(asked[0].rate, &rule, (together[0].spender, together[0].decided), &mut batch);
            for candidate in batch {
                let Asked { sampler, policy, candidate: Candidate { trace, .. }, .. } = asked[candidate.trace as usize];
                if !candidate.is_kept() {
                    stats.cuts[usize::from(policy)].by_rate(candidate.threshold);
                }
                granted.push((trace, (sampler, candidate.threshold)));
            }
        }
        granted.sort_unstable_by_key(|&(at, (sampler, _))| (at, sampler));
        granted
    }

    /// Drops what budgets do not leave of a batch that was judged.
    fn ask_budgets(&mut self, together: &[Due], judged: &mut [Judged]) {
        if self.batch.claims.is_empty() {
            return;
        }
        let Self { sets, states, batch: Batch { claims, .. }, .. } = self;
        let mut cuts = sets.each(|policies| vec![Threshold::ALWAYS; policies.policies().len() + 1]);
        // What lets each trace through so far; none where a budget drops it.
        let mut left = vec![Some(Threshold::ALWAYS); judged.len()];
        // Those of groups before those around them.
        claims.sort_by_key(|claim| (claim.order, claim.budget));
        for claims in claims.chunk_by(|a, b| (a.order, a.budget) == (b.order, b.budget)) {
            let name = claims[0].budget;
            let Some(Rule::Budget(rule)) = sets.rule(name) else { continue };
            let asking: Vec<Candidate> = claims
                .iter()
                .filter_map(|Claim { candidate, .. }| {
                    let before = left[candidate.trace as usize]?;
                    Some(Candidate { threshold: candidate.threshold.max(before), ..*candidate })
                })
                .collect();
            let mut batch = candidates(asking.iter());
            let classes = states.budget(name, &rule, (together[0].spender, together[0].decided), &mut batch);
            for (generation, cuts) in &mut cuts {
                let budgets = sets.asked(*generation).policies().budgets();
                budgets.iter().filter(|budget| budget.state == name).for_each(|budget| budget.cut(&classes, cuts));
            }
            for candidate in batch.iter().filter(|candidate| !candidate.elsewhere) {
                let at = asking[candidate.trace as usize].trace;
                left[at as usize] = candidate.is_kept().then_some(candidate.threshold);
            }
        }
        for judged in judged.iter_mut().filter(|judged| judged.verdict.keep && !judged.bound) {
            self.cut_one(judged, &cuts);
        }
    }

    /// Judges a trace of the batch again, which is kept if budgets leave it.
    fn cut_one(&mut self, judged: &mut Judged, cuts: &[(usize, Vec<Threshold>)]) {
        let Self { assembly, sets, stats, scratch, .. } = self;
        let Due { trace, reason, decided, .. } = judged.due;
        let generation = assembly.generation_of(trace);
        let Some((_, cuts)) = cuts.iter().find(|(of, _)| *of == generation) else { return };
        if cuts.iter().all(|cut| *cut == Threshold::ALWAYS) {
            return;
        }
        let edition = &sets.asked(generation).edition;
        let policies = &edition.policies;
        let known = facts(assembly, policies, scratch, trace, reason == Reason::Structure, decided);
        let facts = Facts { votes: &judged.votes, cuts, ..known };
        // What goes with one of a sample stands for no others, and still does.
        let mut verdict = edition.numbered(policies.decide(facts));
        if verdict.keep && judged.verdict.is_weightless() {
            verdict.threshold = Threshold::NEVER;
        }
        if let (false, Some(policy)) = (verdict.keep, judged.verdict.policy) {
            stats.cuts[usize::from(policy)].by_budget(verdict.threshold, judged.protected);
        }
        judged.verdict = verdict;
        if self.weighed.is_some() {
            judged.matching = weighed(edition, facts);
        }
    }

    /// What was judged of a partition that is taken away is undecided again.
    pub(super) fn put_back(&mut self, partition: u32) {
        let domain = self.assembly.time().domain(partition);
        let (back, stays) = mem::take(&mut self.batch.judged).into_iter().partition(|judged| {
            let (of, _) = self.assembly.first_place(judged.due.trace);
            self.assembly.time().domain(of) == domain
        });
        self.batch.judged = stays;
        self.batch.votes = self.batch.judged.iter().map(Judged::votes).sum();
        let back: VecDeque<Judged> = back;
        back.iter().for_each(|judged| self.assembly.arm(judged.due.trace));
    }

    /// Lets ceilings and goals know how far time has come in partitions where they were asked for nothing.
    pub(super) fn rest(&mut self) {
        let Self { assembly, sets, states, settings, .. } = self;
        let partitions: Vec<_> =
            assembly.time().partitions().filter_map(|(_, of)| Some((of.rank, of.reached()?))).collect();
        let is_keyed = settings.keying == Keying::Keyed;
        for (name, rule) in sets.all().flat_map(|live| live.policies().rules()) {
            if is_keyed || matches!(rule, Rule::Adaptive(_)) {
                partitions.iter().for_each(|&(rank, now)| states.rest(name, &rule, rank, now));
            } else if let Some(now) = partitions.iter().map(|(_, now)| *now).min() {
                states.rest(name, &rule, 0, now);
            }
        }
    }
}

/// Those of a trace, of all that are in the order of the traces.
fn of<T>(all: &[(u32, T)], at: u32) -> &[(u32, T)] {
    let from = &all[all.partition_point(|(of, _)| *of < at)..];
    &from[..from.partition_point(|(of, _)| *of == at)]
}

/// As places among these.
fn candidates<'a>(of: impl Iterator<Item = &'a Candidate>) -> Vec<Candidate> {
    (0..).zip(of).map(|(trace, candidate)| Candidate { trace, ..*candidate }).collect()
}

// === impl Batch ===

impl Batch {
    /// What is to be carried out next.
    pub fn next(&mut self) -> Option<Judged> {
        let judged = self.judged.pop_front()?;
        self.votes -= judged.votes();
        Some(judged)
    }

    pub fn is_carried_out(&self) -> bool {
        self.judged.is_empty()
    }

    /// Notes what a trace that policies keep would take of budgets.
    pub fn claim(&mut self, at: u32, policies: &PolicySet, facts: Facts<'_>) {
        if policies.budgets().is_empty() {
            return;
        }
        for (order, budget) in (0..).zip(policies.budgets()) {
            let (cost, randomness) = (budget.unit.cost(&facts), facts.randomness);
            let mut elsewhere = false;
            budget.classes(policies, facts, &mut self.cuts, |key, threshold| {
                let candidate = Candidate { trace: at, key, cost, randomness, threshold, elsewhere };
                self.claims.push(Claim { budget: budget.state, order, candidate });
                elsewhere = true;
            });
        }
    }

    pub fn bytes(&self) -> usize {
        let Self { judged, votes, claims, cuts } = self;
        judged.capacity() * size_of::<Judged>()
            + claims.capacity() * size_of::<Claim>()
            + votes
            + cuts.capacity() * size_of::<Threshold>()
    }
}
