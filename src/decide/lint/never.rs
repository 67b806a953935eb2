//! What no trace fulfils.

use super::{Condition, Policy};
use crate::{
    decide::condition::{
        proof::{Proof, Question},
        written::Written,
    },
    diagnostic::Diagnostics,
};

pub fn find(policy: &Policy<'_>, proof: &mut Proof, found: &mut Diagnostics) {
    let Some(condition) = &policy.condition else { return };
    if search(condition, &condition.written, false, proof, found) {
        return;
    }
    // The group's own condition is its own lint.
    if proof.never(&policy.whole) {
        let at = condition.at(&condition.written.at);
        found
            .warn(
                &at,
                format!("`{}` never matches: no trace fulfils this and the condition of its group", policy.name()),
            )
            .hint("the policies of a group are asked only where the group's `when` holds");
    }
}

/// Names the smallest parts that never hold, and says whether there is one. `span`: they are asked of one span.
pub fn search<L: Question>(
    condition: &Condition<'_>,
    written: &Written<L>,
    span: bool,
    proof: &mut Proof,
    found: &mut Diagnostics,
) -> bool {
    let mut any = false;
    for part in &written.parts {
        any |= search(condition, part, span, proof, found);
    }
    for argument in &written.arguments {
        any |= search(condition, &argument.condition, true, proof, found);
    }
    if any || !proof.never(&written.formula) {
        return any;
    }
    let warning = found.warn(&condition.at(&written.at), "this never holds, whatever the trace");
    if written.parts.len() > 1 {
        warning.hint(match span {
            true => "one span would have to be all of it: write `or`, or `any(…) and any(…)`, which may be two spans",
            false => "did you mean `or`?",
        });
    }
    true
}
