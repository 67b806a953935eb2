//! `any(attributes["x"] != "y")`: a span that lacks it is in nearly every trace.

use super::{Condition, ROOT, is_nil};
use crate::{
    decide::condition::{
        Constant, Expression, Field, Op, SpanTest, Subject, Test,
        proof::{Literal, ways},
        written::Argument,
    },
    diagnostic::Diagnostics,
};

pub fn find(condition: &Condition<'_>, found: &mut Diagnostics) {
    for argument in condition.arguments() {
        if !is_trap(argument) {
            continue;
        }
        let one = match argument.function.as_str() {
            "any_event" => "event",
            "any_link" => "link",
            _ => "span",
        };
        let a = if one == "event" { "an" } else { "a" };
        let function = &argument.function;
        let opposite = condition.opposite(&argument.condition).unwrap_or("…".to_owned());
        let (message, hint) = if function == ROOT {
            (
                "what counts as a root is said by what a span is not: every span that lacks it counts".to_owned(),
                "ask also for what the span is, such as `kind == SPAN_KIND_SERVER and …`".to_owned(),
            )
        } else if function == "none" {
            (
                format!("`none(…)` of what {a} {one} is not: one {one} that lacks it, and this does not hold"),
                format!("`none({opposite})` asks that no {one} is such, `all({opposite})` that every {one} is"),
            )
        } else {
            let none = if one == "span" { format!("none({opposite})") } else { format!("not {function}({opposite})") };
            (
                format!(
                    "`{function}(…)` of what {a} {one} is not: one {one} that lacks it is enough, and nearly every trace has one"
                ),
                format!("`{none}` asks that no {one} is such; if this is meant, ask also for what the {one} is"),
            )
        };
        found.warn(&condition.at(&argument.at), message).hint(hint);
    }
}

/// Some span is looked for by what it is not alone.
pub fn is_trap(argument: &Argument) -> bool {
    let asks = ["any", "none", "any_event", "any_link", ROOT].contains(&argument.function.as_str());
    let ways = if asks { ways(&argument.condition.formula, true) } else { None };
    ways.unwrap_or_default().iter().any(|way| !way.is_empty() && way.iter().all(is_negative))
}

/// What is so of a span for what it is not, or lacks.
pub fn is_negative((test, whether): &Literal<'_, SpanTest>) -> bool {
    match &test.test {
        // Of what every span of a service has, or lacks, its lack says something.
        _ if is_nil(test) => *whether && !test.subject.is_around(),
        Test::Compare(..) if *test.subject.bare() == Subject::Field(Field::IsRoot) => false,
        Test::Compare(Op::Eq, Constant::Bool(false)) => false,
        Test::Compare(..) | Test::Matches(_) | Test::Any(_) => !whether,
        Test::Comes(expression, false) => {
            *whether && matches!(**expression, Expression::Call(..) | Expression::Matches(..))
        }
        Test::Comes(_, true) => false,
    }
}
