//! A passing span folded into the facts of its trace.
//!
//! The baseline is a span of which everything is nil, in the resource and scope at hand. What holds of it is computed once
//! for each resource and scope, with the reason why: the atoms on which each predicate's value rests. A real span changes
//! few atoms, and only predicates that rest on a changed one are evaluated again. So a policy costs a span nothing while
//! the span, or its resource, gives the policy nothing to look at.

use super::{
    condition::Computed,
    look::{Passing, of_around},
    memo::{self, Memo},
    program::{Computation, Probe, Program, Question, bit, flip, words},
    tree, values,
};
use crate::{
    decode::{Batch, Range, Span, Value, detail::Detail, resource_attribute},
    model::ACTS,
};

/// What all spans of one resource and scope have in common.
#[derive(Debug)]
pub struct Context {
    /// The atoms that hold of the baseline.
    atoms: Box<[u64]>,
    /// The predicates that hold of the baseline.
    predicates: Box<[u64]>,
    /// The predicates that rest on atom `a`: `resting[starts[a]..starts[a + 1]]`.
    starts: Box<[u32]>,
    resting: Box<[u16]>,
    /// A hash of the resource's service; 0 where it has none.
    pub service: u64,
}

/// A worker's working memory for one policy set.
#[derive(Debug)]
pub struct Scratch {
    memo: Memo,
    /// A worker's own: there are patterns in them.
    computations: Vec<Computation>,
    atoms: Vec<u64>,
    predicates: Vec<u64>,
    /// Predicates to be evaluated again; all zero between spans.
    doubtful: Vec<u64>,
    /// Questions that have been asked of the span at hand.
    answered: Vec<bool>,
}

const SERVICE: &[u8] = b"service.name";

// === impl Context ===

impl Context {
    pub fn new(program: &Program, resource: &[u8], scope: &[u8]) -> Self {
        let mut atoms = program.nil.clone();
        let mut matching = |asked: &[_], value: Value<'_>, matched: &mut dyn FnMut(u16)| {
            memo::matching(&program.patterns, asked, value, matched);
        };
        for (subject, probe) in &program.around {
            let value = of_around(subject, resource, scope);
            probe.all_changes(value, &program.computations, &mut matching, &mut |atom| flip(&mut atoms, atom));
        }
        for place in &program.around_several {
            let computation = &program.computations[usize::from(*place)];
            if computation.changes(&[], &|subject| Computed::Value(of_around(subject, resource, scope))) {
                flip(&mut atoms, computation.atom);
            }
        }
        let mut predicates = vec![0; program.seen_words()];
        let mut reasons: Vec<(u16, u16)> = Vec::new();
        let mut reason = Vec::new();
        for (number, predicate) in (0..).zip(&program.predicates) {
            reason.clear();
            let (holds, _) =
                predicate.reason(&|atom| (bit(&atoms, *atom), program.costs[usize::from(*atom)]), &mut reason);
            if holds {
                flip(&mut predicates, number);
            }
            reasons.extend(reason.iter().map(|atom| (*atom, number)));
        }
        reasons.sort_unstable();
        reasons.dedup();
        let mut starts = vec![0_u32; program.costs.len() + 1];
        for (atom, _) in &reasons {
            starts[usize::from(*atom) + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self {
            atoms: atoms.into(),
            predicates: predicates.into(),
            starts: starts.into(),
            resting: reasons.into_iter().map(|(_, predicate)| predicate).collect(),
            service: match resource_attribute(resource, SERVICE) {
                Value::Str(service) => tree::hash(service),
                _ => 0,
            },
        }
    }

    /// What this context takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.atoms)
            + size_of_val(&*self.predicates)
            + size_of_val(&*self.starts)
            + size_of_val(&*self.resting)
    }

    #[inline]
    fn resting_on(&self, atom: u16) -> &[u16] {
        let atom = usize::from(atom);
        &self.resting[self.starts[atom] as usize..self.starts[atom + 1] as usize]
    }
}

// === impl Scratch ===

impl Scratch {
    pub fn new(program: &Program) -> Self {
        let predicates = program.seen_words();
        Self {
            memo: Memo::new(&program.patterns),
            computations: program.computations.clone(),
            atoms: vec![0; words(program.costs.len())],
            predicates: vec![0; predicates],
            doubtful: vec![0; predicates],
            answered: vec![false; program.rare.asked.len()],
        }
    }

    #[inline]
    fn probe(&mut self, context: &Context, probe: &Probe, value: Value<'_>) {
        let Self { memo, computations, atoms, doubtful, .. } = self;
        let mut change = |atom| changed(context, atoms, doubtful, atom);
        probe.changes(value, &mut change);
        if !probe.patterns.is_empty() {
            memo.matching(&probe.patterns, value, &mut change);
        }
        if let Some(more) = &probe.more {
            let mut matching =
                |asked: &[_], value: Value<'_>, matched: &mut dyn FnMut(u16)| memo.matching(asked, value, matched);
            more.changes(value, computations, &mut matching, &mut change);
        }
    }

    /// Asks what makes a difference: what predicates rest on, or what is part of one that is in doubt. An answer may put more in
    /// doubt.
    fn ask<'p>(
        &mut self,
        context: &Context,
        asked: &[Question],
        passing: &mut Option<Passing<'p>>,
        look: impl Fn() -> Passing<'p>,
    ) {
        let Self { computations, atoms, doubtful, answered, .. } = self;
        answered.fill(false);
        let mut more = true;
        while more {
            more = false;
            for (question, answered) in asked.iter().zip(&mut *answered) {
                let computation = &computations[usize::from(question.place)];
                let matters = question.of_root
                    || !context.resting_on(computation.atom).is_empty()
                    || question.predicates.iter().any(|predicate| bit(doubtful, *predicate));
                if *answered || !matters {
                    continue;
                }
                *answered = true;
                let passing = &*passing.get_or_insert_with(&look);
                if computation.changes(passing.span.bytes.of(passing.payload), &|subject| passing.subject(subject)) {
                    changed(context, atoms, doubtful, computation.atom);
                    more = true;
                }
            }
        }
    }
}

/// An atom is other than in the baseline, and so may be what rests on it.
#[inline]
fn changed(context: &Context, atoms: &mut [u64], doubtful: &mut [u64], atom: u16) {
    flip(atoms, atom);
    for predicate in context.resting_on(atom) {
        doubtful[usize::from(predicate / 64)] |= 1 << (predicate % 64);
    }
}

// === impl Program ===

impl Program {
    /// Folds a span into its trace's `bits` (what was seen, then what holds of the root) and `counts`, and writes the `notes`
    /// that are kept of the span itself.
    #[allow(clippy::too_many_arguments)]
    pub fn observe(
        &self,
        context: &Context,
        payload: &[u8],
        batch: &Batch,
        span: &Span,
        scratch: &mut Scratch,
        bits: &mut [u64],
        counts: &mut [u32],
        notes: &mut [u64],
    ) {
        scratch.atoms.copy_from_slice(&context.atoms);
        scratch.predicates.copy_from_slice(&context.predicates);
        if !self.name.is_empty() {
            scratch.probe(context, &self.name, Value::Str(span.name.of(payload)));
        }
        if !self.kind.is_empty() {
            scratch.probe(context, &self.kind, Value::Int(i64::from(span.kind)));
        }
        if !self.status.is_empty() {
            scratch.probe(context, &self.status, Value::Int(i64::from(span.status)));
        }
        if !self.duration.is_empty() {
            scratch.probe(context, &self.duration, Value::Int(i64::try_from(span.duration()).unwrap_or(i64::MAX)));
        }
        let Range { start, end } = span.found;
        for found in &batch.found[start as usize..end as usize] {
            // Decoding has parsed it once, so it is well-formed.
            let value = Value::parse(payload, found.value).unwrap_or(Value::Nil);
            scratch.probe(context, &self.attributes[usize::from(found.slot)], value);
        }
        if !self.rare.is_empty() {
            self.observe_rare(context, payload, batch, span, scratch);
        }
        self.settle(scratch);
        for (seen, holds) in bits.iter_mut().zip(&scratch.predicates) {
            *seen |= holds;
        }
        self.count(&scratch.predicates, counts);
        if let [marks, rest @ ..] = notes {
            *marks = self.marks(&scratch.predicates);
            if let [name, values @ ..] = rest {
                *name = tree::hash(span.name.of(payload));
                if !values.is_empty() {
                    let passing = self.passing(payload, batch, span, self.rare.detailed);
                    for (note, subject) in values.iter_mut().zip(&self.values) {
                        *note = values::note(&passing.subject(subject));
                    }
                }
            }
        }
    }

    /// What the span observed last says as the root of its trace.
    pub fn crown(&self, payload: &[u8], batch: &Batch, span: &Span, scratch: &Scratch, bits: &mut [u64]) {
        let (of_root, parts) = bits[self.seen_words()..].split_at_mut(self.root_words());
        of_root.copy_from_slice(&scratch.atoms[..of_root.len()]);
        if !self.parts.is_empty() {
            let passing = self.passing(payload, batch, span, self.parts_detailed);
            parts.iter_mut().zip(&self.parts).for_each(|(word, part)| *word = part.of(&passing));
        }
    }

    fn passing<'a>(&'a self, payload: &'a [u8], batch: &'a Batch, span: &'a Span, detailed: bool) -> Passing<'a> {
        let scope = batch.scopes[span.scope as usize];
        let resource = batch.resources[scope.resource as usize];
        let around = (resource.rest.of(&batch.rest), scope.rest.of(&batch.rest));
        let detail = if detailed { Detail::of(span.bytes.of(payload)) } else { Detail::default() };
        Passing { payload, batch, span, program: self, detail, around }
    }

    fn marks(&self, predicates: &[u64]) -> u64 {
        let acts = self.acts.is_some_and(|acts| bit(predicates, acts));
        let marks = (0..).zip(&self.marked).map(|(mark, predicate)| u64::from(bit(predicates, *predicate)) << mark);
        marks.fold(if acts { ACTS } else { 0 }, |marks, mark| marks | mark)
    }

    #[inline(never)]
    fn observe_rare(&self, context: &Context, payload: &[u8], batch: &Batch, span: &Span, scratch: &mut Scratch) {
        // Most spans are not asked, and then it is not looked for.
        let (mut passing, look) = (None, || self.passing(payload, batch, span, self.rare.detailed));
        for (field, probe) in &self.rare.fields {
            if let Some(value) = passing.get_or_insert_with(look).field(field).value() {
                scratch.probe(context, probe, value);
            }
        }
        scratch.ask(context, &self.rare.asked, &mut passing, look);
    }

    /// Evaluates again what is doubtful.
    fn settle(&self, scratch: &mut Scratch) {
        let Scratch { atoms, predicates, doubtful, .. } = scratch;
        for (i, word) in doubtful.iter_mut().enumerate() {
            let mut left = std::mem::take(word);
            while left != 0 {
                let low = left.trailing_zeros();
                left &= left - 1;
                let holds = self.predicates[i * 64 + low as usize].holds(&|atom| bit(atoms, *atom));
                predicates[i] = predicates[i] & !(1 << low) | u64::from(holds) << low;
            }
        }
    }

    fn count(&self, predicates: &[u64], counts: &mut [u32]) {
        for (counts, word) in counts.chunks_mut(64).zip(predicates) {
            let mut left = *word & (u64::MAX >> (64 - counts.len()));
            while left != 0 {
                let count = &mut counts[left.trailing_zeros() as usize];
                *count = count.saturating_add(1);
                left &= left - 1;
            }
        }
    }
}
