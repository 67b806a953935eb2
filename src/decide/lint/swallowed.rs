//! A `drop` that takes errors with it which another policy wants.

use super::{Policy, places};
use crate::{
    decide::{
        Action, List, Match,
        condition::{
            Constant, Field, Formula, Number, Op, SpanTest, Subject, Test, TraceTest,
            proof::{Proof, ways},
        },
    },
    diagnostic::Diagnostics,
    model::Threshold,
};

pub fn find(list: &List, all: &[Policy<'_>], proof: &mut Proof, found: &mut Diagnostics) {
    let wanting: Vec<_> = all.iter().filter(|policy| wants_errors(policy)).collect();
    for drop in all {
        let Action::Drop { threshold, .. } = &drop.read.action else { continue };
        if drop.shadow || *threshold == Threshold::ALWAYS {
            continue;
        }
        let dropped = reached(drop, list, all);
        if speaks_of_errors(&dropped) {
            continue;
        }
        let eaten = wanting.iter().find(|keep| {
            reaches(drop, keep)
                && drop.outlasts(keep)
                && !proof.never(&Formula::All(vec![dropped.clone(), keep.whole.clone()]))
        });
        if let Some(keep) = eaten {
            let at =
                drop.condition.as_ref().map_or(drop.read.at.clone(), |condition| condition.at(&condition.written.at));
            found
                .warn(&at, format!("`{}` drops errors that `{}` would keep", drop.name(), keep.name()))
                .also(&keep.read.at, "this one")
                .hint("add `and none(status.code == STATUS_CODE_ERROR)`, or what is meant of errors");
        }
    }
}

/// The traces that come to a policy and match it.
fn reached(policy: &Policy<'_>, list: &List, all: &[Policy<'_>]) -> Formula<TraceTest> {
    let mut parts = vec![policy.whole.clone()];
    let mut list = list;
    for (matching, place) in &policy.lists {
        if *matching == Match::First {
            let earlier = places(list, all).into_iter().take_while(|other| other < place);
            let ends = earlier.filter(|other| match &all[*other].read.action {
                Action::Keep { ends, .. } | Action::Drop { ends, .. } => *ends && !all[*other].read.shadow,
                Action::Group(_) => false,
            });
            parts.extend(ends.map(|other| all[other].read.when.clone().negated()));
        }
        if let Action::Group(inner) = &all[*place].read.action {
            list = inner;
        }
    }
    Formula::All(parts)
}

/// Whether a drop takes what another policy would keep: a veto does wherever it stands, and where the first decides, the
/// first.
fn reaches(drop: &Policy<'_>, keep: &Policy<'_>) -> bool {
    let parting = drop.lists.iter().zip(&keep.lists).find(|((_, a), (_, b))| a != b);
    parting.is_some_and(|((matching, a), (_, b))| *matching == Match::Any || a < b)
}

fn wants_errors(policy: &Policy<'_>) -> bool {
    let keeps = matches!(policy.read.action, Action::Keep { protect: false, .. });
    let is_error =
        |test: &SpanTest| *test == SpanTest { subject: Subject::Status, test: Test::Compare(Op::Eq, Constant::Int(2)) };
    let of_spans = |formula: &Formula<SpanTest>| {
        let ways = ways(formula, true).unwrap_or_default();
        ways.iter().flatten().any(|(test, whether)| *whether && is_error(test))
    };
    let wants = |(test, whether): &(&TraceTest, bool)| match test {
        TraceTest::Any(formula) => *whether && of_spans(formula),
        TraceTest::Root(test) => *whether && is_error(test),
        TraceTest::Number(Number::Count(formula), op, _) => {
            *whether == matches!(op, Op::Gt | Op::Ge) && of_spans(formula)
        }
        _ => false,
    };
    keeps && !policy.shadow && ways(&policy.whole, true).unwrap_or_default().iter().flatten().any(wants)
}

/// Whether it asks for anything that tells an error: its writer has thought of them.
fn speaks_of_errors(formula: &Formula<TraceTest>) -> bool {
    let mut speaks = false;
    formula.leaves(&mut |test| match test {
        TraceTest::Any(inner) | TraceTest::Number(Number::Count(inner) | Number::Siblings(inner), ..) => {
            speaks |= speaks_of_span(inner)
        }
        TraceTest::Under { below, above, .. } => speaks |= speaks_of_span(below) || speaks_of_span(above),
        TraceTest::Root(test) => speaks |= is_telling(test),
        TraceTest::Number(Number::Values(subject) | Number::Different(subject), ..) => {
            speaks |= is_telling(&SpanTest { subject: subject.clone(), test: Test::Compare(Op::Eq, Constant::Nil) });
        }
        TraceTest::Number(..) | TraceTest::Complete => {}
    });
    speaks
}

fn speaks_of_span(formula: &Formula<SpanTest>) -> bool {
    let mut speaks = false;
    formula.leaves(&mut |test| speaks |= is_telling(test));
    speaks
}

fn is_telling(SpanTest { subject, test }: &SpanTest) -> bool {
    let key = match subject.bare() {
        Subject::Status | Subject::Field(Field::StatusMessage) => return true,
        Subject::Attribute(key) => key,
        Subject::Inside(outer, _) if let Subject::Attribute(key) = &**outer => key,
        _ => "",
    };
    let is_named = ["error", "exception", "status"].iter().any(|word| key.contains(word));
    is_named
        || match test {
            Test::Any(formula) => {
                let mut exception = false;
                formula.leaves(&mut |test| {
                    exception |= is_telling(test)
                        || matches!(&test.test, Test::Compare(_, Constant::Text(text)) if text.contains("exception"));
                });
                exception
            }
            Test::Comes(expression, _) => {
                let mut told = false;
                expression.subjects(&mut |subject| {
                    let test = Test::Compare(Op::Eq, Constant::Nil);
                    told |= is_telling(&SpanTest { subject: subject.clone(), test });
                });
                told
            }
            Test::Compare(..) | Test::Matches(_) => false,
        }
}
