//! `all(service != "payments" or duration < 1s)`: it holds of a trace that has nothing of payments.

use super::{Condition, negative::is_negative};
use crate::{
    decide::condition::{
        Formula, SpanTest, TraceTest,
        proof::{Proof, ways},
        written::Written,
    },
    diagnostic::Diagnostics,
};

pub fn find(condition: &Condition<'_>, proof: &mut Proof, found: &mut Diagnostics) {
    for argument in condition.arguments() {
        if argument.function != "all" || !matches!(argument.condition.formula, Formula::Any(_)) {
            continue;
        }
        let (excepted, rest): (Vec<_>, Vec<_>) = argument.condition.parts.iter().partition(|part| excepts(part));
        let (Some(first), false) = (excepted.first(), rest.is_empty()) else { continue };
        let is_there = |part: &&&Written<SpanTest>| {
            let some = Formula::Leaf(TraceTest::Any(part.formula.clone().negated()));
            proof.implies(&condition.written.formula, &some)
        };
        if excepted.iter().any({
            let mut is_there = is_there;
            move |part| is_there(&part)
        }) {
            continue;
        }
        let some = condition.opposite(first).unwrap_or("…".to_owned());
        found
            .warn(&condition.at(&argument.at), format!("`all(…)` holds also where no span is `{some}`"))
            .hint(format!("if there is to be one, ask for it too: `any({some}) and all(…)`"));
    }
}

/// What makes an exception of the spans that are not meant.
fn excepts(part: &Written<SpanTest>) -> bool {
    let ways = ways(&part.formula, true).unwrap_or_default();
    matches!(ways.as_slice(), [way] if !way.is_empty() && way.iter().all(is_negative))
}
