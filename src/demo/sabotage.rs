//! A run spoilt on purpose.

use super::{args::Fault, due::Due};
use crate::{generate::Trace, model::TraceId};

/// One fault, in the first trace that it fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sabotage {
    fault: Fault,
    /// None until it is done.
    pub trace: Option<TraceId>,
}

// === impl Sabotage ===

impl Sabotage {
    pub fn new(fault: Fault) -> Self {
        Self { fault, trace: None }
    }

    /// Once: takes from what is sent, and not from the truth.
    pub fn spoil(&mut self, trace: &mut Trace) {
        let done = self.trace.is_none()
            && match self.fault {
                Fault::DropOneSpan => drop_one_span(trace),
            };
        if done {
            self.trace = Some(trace.id);
        }
    }
}

/// A span whose absence changes no verdict. False where the trace need not be kept, or has no such span.
fn drop_one_span(trace: &mut Trace) -> bool {
    if !Due::of(&trace.truth).must() {
        return false;
    }
    let spare = trace.truth.spans.iter().position(|span| span.spare && !span.late);
    spare.map(|at| trace.spans.remove(at)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Shape, Traffic};

    #[test]
    fn the_fault_is_one_span() {
        let mut sabotage = Sabotage::new(Fault::DropOneSpan);
        let mut spoilt = Vec::new();
        for mut trace in Traffic::new(1, Shape::default()).take(2_000) {
            sabotage.spoil(&mut trace);
            if trace.spans.len() != trace.truth.spans.len() {
                spoilt.push(trace);
            }
        }
        assert_eq!(spoilt.len(), 1);
        assert_eq!(spoilt[0].spans.len() + 1, spoilt[0].truth.spans.len());
        assert!(Due::of(&spoilt[0].truth).must());
        assert_eq!(sabotage.trace, Some(spoilt[0].id));
    }

    #[test]
    fn what_does_not_fit_is_left_alone() {
        let mut sabotage = Sabotage::new(Fault::DropOneSpan);
        for mut trace in Traffic::new(1, Shape::default()).filter(|trace| !Due::of(&trace.truth).must()).take(200) {
            sabotage.spoil(&mut trace);
            assert_eq!(trace.spans.len(), trace.truth.spans.len());
        }
        assert_eq!(sabotage.trace, None);
    }
}
