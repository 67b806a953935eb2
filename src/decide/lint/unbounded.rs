//! `by: [root.trace_id]`: with a key of its own, a trace is compared with no other.

use crate::{
    decide::{
        condition::{Aspect, Expression, Field, Number, Subject},
        read::Learning,
    },
    diagnostic::Diagnostics,
};

pub fn find(learning: &[Learning<'_>], found: &mut Diagnostics) {
    for Learning { sampler, by, .. } in learning {
        for (_, written) in sampler.by.iter().zip(*by).filter(|(aspect, _)| is_unbounded(aspect)) {
            found
                .warn(&written.at, format!("`{}` is another of nearly every trace", written.text()))
                .hint("a sampler goes by what came before of the same key: choose what many traces have in common");
        }
    }
}

/// Whether it tells nearly every trace from all others: ids and times. What stands in an attribute is not known.
fn is_unbounded(aspect: &Aspect) -> bool {
    use Field::{End, SpanId, SpanIdText, Start, TraceId, TraceIdText};
    match aspect {
        Aspect::Trace(Number::Duration) | Aspect::Root(Expression::Path(Subject::Duration)) => true,
        Aspect::Root(Expression::Path(Subject::Field(field))) => {
            matches!(field, Start | End | TraceId | TraceIdText | SpanId | SpanIdText)
        }
        _ => false,
    }
}
