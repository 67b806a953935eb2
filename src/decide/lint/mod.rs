//! Policies that can be read and are hardly meant so.
//!
//! A lint says only what is certain of the policies, and leaves it to the person whether it is meant.

mod absent;
mod beyond;
mod mixed;
mod negative;
mod never;
mod nothing;
mod shadowed;
mod swallowed;
mod unbounded;
mod vacuous;

use std::ops::Range;

use super::{
    Action, List, Match, Part,
    condition::{
        Constant, Formula, Op, SpanTest, Test, TraceTest,
        proof::{Proof, Question},
        written::{self, Argument, Written},
    },
    read,
};
use crate::{
    diagnostic::{Diagnostics, Location},
    model::RecordTime,
    yaml::Node,
};

/// A policy, or a group, as the lints look at it.
struct Policy<'a> {
    read: &'a read::Policy<'a>,
    /// None where it has none.
    condition: Option<Condition<'a>>,
    /// With the conditions of the groups it is in.
    whole: Formula<TraceTest>,
    /// The lists it is in, from the outermost, and the place of it or its group in each.
    lists: Vec<(Match, usize)>,
    /// It, or a group that it is in.
    shadow: bool,
    /// When the first of it and its groups is over.
    until: Option<RecordTime>,
}

/// A condition and where it stands.
struct Condition<'a> {
    node: &'a Node,
    written: Written<TraceTest>,
}

/// Stands for a function in whose brackets the condition on roots is.
const ROOT: &str = "completion.root";

/// A question that is about one span, or may be.
trait About: Question {
    fn test(&self) -> Option<&SpanTest>;

    fn of(test: SpanTest) -> Self;
}

/// Looks for what policies can hardly mean, in the order it stands in the files. Nothing of policies with mistakes.
pub fn find(parts: &[Part<'_>]) -> Diagnostics {
    let mut found = Diagnostics::default();
    let Some(read::Policies { list, policies, learning, budgets, .. }) = read::read(parts, &mut Diagnostics::default())
    else {
        return found;
    };
    let mut all: Vec<Policy<'_>> = policies.iter().map(Policy::new).collect();
    surround(&list, &Formula::constant(true), &[], &mut all);
    nothing::find(&list, &mut found);
    let mut proof = Proof::default();
    for policy in &all {
        never::find(policy, &mut proof, &mut found);
        if let Some(condition) = &policy.condition {
            negative::find(condition, &mut found);
            absent::find(condition, &mut proof, &mut found);
            vacuous::find(condition, &mut proof, &mut found);
        }
    }
    for condition in parts.iter().filter_map(Condition::on_roots) {
        never::search(&condition, &condition.written, false, &mut proof, &mut found);
        negative::find(&condition, &mut found);
        absent::find(&condition, &mut proof, &mut found);
    }
    mixed::find(&all, &mut found);
    shadowed::find(&list, &all, &mut proof, &mut found);
    swallowed::find(&list, &all, &mut proof, &mut found);
    unbounded::find(&learning, &mut found);
    beyond::find(&budgets, &learning, &all, &mut found);
    sort(&mut found, parts);
    if proof.is_exhausted() {
        found
            .warn_nowhere("not all policies were compared with each other: there are too many")
            .hint("split them into groups");
    }
    found
}

/// Gives what is in groups the conditions of these.
fn surround(list: &List, around: &Formula<TraceTest>, lists: &[(Match, usize)], all: &mut [Policy<'_>]) {
    for place in places(list, all) {
        all[place].lists = [lists, &[(list.matching, place)]].concat();
        let groups = lists.iter().map(|(_, group)| all[*group].read);
        let (shadow, until) = (groups.clone().any(|of| of.shadow), groups.filter_map(|of| of.until).min());
        all[place].shadow |= shadow;
        all[place].until = all[place].until.into_iter().chain(until).min();
        let own = all[place].read.when.clone();
        all[place].whole = match around {
            Formula::All(parts) if parts.is_empty() => own,
            around => Formula::All(vec![around.clone(), own]),
        };
        if let Action::Group(inner) = &all[place].read.action {
            let (whole, lists) = (all[place].whole.clone(), all[place].lists.clone());
            surround(inner, &whole, &lists, all);
        }
    }
}

/// The policies and groups of a list, but not what is in its groups.
fn places(list: &List, all: &[Policy<'_>]) -> Vec<usize> {
    let (mut next, mut places) = (usize::from(list.policies.start), Vec::new());
    while next < usize::from(list.policies.end) {
        places.push(next);
        next = match &all[next].read.action {
            Action::Group(inner) => usize::from(inner.policies.end),
            _ => next + 1,
        };
    }
    places
}

/// By file, in the order these were named, and by place.
fn sort(found: &mut Diagnostics, parts: &[Part<'_>]) {
    let sources: Vec<_> = parts
        .iter()
        .map(|part| match part {
            Part::File(node) | Part::Policy(node) | Part::Root(node) => &node.at.source,
        })
        .collect();
    found.0.sort_by_key(|diagnostic| {
        let at = diagnostic.at.as_ref();
        let file = at.and_then(|at| sources.iter().position(|source| **source == at.source));
        (file, at.map(|at| at.range.start))
    });
}

/// Visits the comparisons in a condition, with the function in whose brackets they stand.
fn tests<'w, L: About>(
    written: &'w Written<L>,
    function: &'w str,
    visit: &mut dyn FnMut(&'w Range<usize>, &'w str, &'w SpanTest),
) {
    written.leaves(&mut |leaf| {
        let asked = match &leaf.formula {
            Formula::Not(inner) => inner,
            formula => formula,
        };
        if let Formula::Leaf(asked) = asked
            && let Some(test) = asked.test()
        {
            visit(&leaf.at, function, test);
        }
        leaf.arguments.iter().for_each(|argument| tests(&argument.condition, &argument.function, visit));
    });
}

/// Whether it asks for what is absent.
fn is_nil(test: &SpanTest) -> bool {
    test.test == Test::Compare(Op::Eq, Constant::Nil)
}

// === impl Policy ===

impl<'a> Policy<'a> {
    fn new(read: &'a read::Policy<'a>) -> Self {
        let condition = read.written.and_then(|node| Some(Condition { node, written: written::written(node.text())? }));
        let (shadow, until) = (read.shadow, read.until);
        Self { read, condition, whole: Formula::constant(true), lists: Vec::new(), shadow, until }
    }

    fn name(&self) -> &str {
        &self.read.name
    }

    /// It may be there when the other is, and count for as much.
    fn outlasts(&self, other: &Self) -> bool {
        !self.read.shadow && (self.until.is_none() || other.until.is_some_and(|until| Some(until) <= self.until))
    }
}

// === impl Condition ===

impl<'a> Condition<'a> {
    /// What counts as a root: asked of every span, and one that is such is enough.
    fn on_roots(part: &Part<'a>) -> Option<Self> {
        let Part::Root(node) = part else { return None };
        let condition = written::written_span(node.text())?;
        let (at, formula) = (condition.at.clone(), Formula::Leaf(TraceTest::Any(condition.formula.clone())));
        let argument = Argument { function: ROOT.to_owned(), at: at.clone(), condition };
        Some(Self { node, written: Written { at, formula, parts: Vec::new(), arguments: vec![argument] } })
    }

    fn at(&self, range: &Range<usize>) -> Location {
        self.node.locate(range.clone())
    }

    fn text(&self, range: &Range<usize>) -> &'a str {
        &self.node.text()[range.clone()]
    }

    /// What a comparison denies, or what denies it; None of what is no comparison.
    fn opposite<L>(&self, written: &Written<L>) -> Option<String> {
        let text = self.text(&written.at);
        match written.parts.as_slice() {
            [] if text.matches("!=").count() == 1 => Some(text.replacen("!=", "==", 1)),
            [] if text.matches("==").count() == 1 => Some(text.replacen("==", "!=", 1)),
            [part] if text.starts_with("not") => Some(self.text(&part.at).to_owned()),
            _ => None,
        }
    }

    /// The conditions in the brackets of functions.
    fn arguments(&self) -> Vec<&Argument> {
        let mut arguments = Vec::new();
        self.written.arguments(&mut |argument| arguments.push(argument));
        arguments
    }
}

// === impl About ===

impl About for SpanTest {
    fn test(&self) -> Option<&SpanTest> {
        Some(self)
    }

    fn of(test: SpanTest) -> Self {
        test
    }
}

impl About for TraceTest {
    fn test(&self) -> Option<&SpanTest> {
        match self {
            TraceTest::Root(test) => Some(test),
            _ => None,
        }
    }

    fn of(test: SpanTest) -> Self {
        TraceTest::Root(test)
    }
}

#[cfg(test)]
mod tests;
