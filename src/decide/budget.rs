//! One ceiling over all that a list of policies keeps, and who gives way.

use super::{Facts, PolicySet};
use crate::{
    model::Threshold,
    sample::{
        Ceiling,
        budget::{CLASSES, Class},
    },
};

#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Tells what was spent of it from what was spent of others, in all versions of the policies.
    pub state: u64,
    pub ceiling: Ceiling,
    pub unit: Unit,
    /// By the number of the policy, and at the end for the `otherwise` of all: its class.
    pub classes: Box<[u8]>,
    /// All of it, as the list says it.
    pub written: String,
}

/// What is counted below a ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Traces,
    Spans,
    Bytes,
}

/// In `Budget::classes`: of what the budget is not over.
pub const OUTSIDE: u8 = u8::MAX;

// === impl Budget ===

impl Budget {
    /// The classes that are enough to keep a trace that policies keep, the best one first, and with what threshold each would alone: none where
    /// what the budget is over makes no difference to it. `cuts` is scratch space.
    pub fn classes(
        &self,
        set: &PolicySet,
        facts: Facts<'_>,
        cuts: &mut Vec<Threshold>,
        mut claim: impl FnMut(u64, Threshold),
    ) {
        let mut ask = |open: Option<u8>| {
            let cut = |class: &u8| match *class == OUTSIDE || Some(*class) == open {
                true => Threshold::ALWAYS,
                false => Threshold::NEVER,
            };
            cuts.clear();
            cuts.extend(self.classes.iter().map(cut));
            set.decide(Facts { cuts, ..facts })
        };
        let outside = ask(None).threshold;
        for class in self.present() {
            let with = ask(Some(class));
            if with.keep && with.threshold < outside {
                claim(class.into(), with.threshold);
            }
        }
    }

    /// Classes that a trace may be kept by, at most.
    pub fn claims(&self) -> usize {
        self.present().count()
    }

    fn present(&self) -> impl Iterator<Item = u8> {
        (0..CLASSES as u8).filter(|class| self.classes.contains(class))
    }

    /// Lowers `cuts` to what is left of each policy's traces: by the classes of a batch, the best first.
    pub fn cut(&self, classes: &[Class], cuts: &mut [Threshold]) {
        for (cut, class) in cuts.iter_mut().zip(&self.classes).filter(|(_, class)| **class != OUTSIDE) {
            let last = classes.iter().take_while(|of| of.class <= u64::from(*class)).last();
            *cut = last.map_or(*cut, |of| of.threshold.max(*cut));
        }
    }
}

// === impl Unit ===

impl Unit {
    pub const ALL: [Self; 3] = [Self::Traces, Self::Spans, Self::Bytes];

    /// As a policy names so many of it a second.
    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces_per_second",
            Self::Spans => "spans_per_second",
            Self::Bytes => "bytes_per_second",
        }
    }

    pub fn cost(self, facts: &Facts<'_>) -> u64 {
        match self {
            Self::Traces => 1,
            Self::Spans => facts.span_count.into(),
            Self::Bytes => facts.bytes,
        }
    }

    /// The path that says the same.
    pub fn path(self) -> Option<&'static str> {
        match self {
            Self::Traces => None,
            Self::Spans => Some("trace.span_count"),
            Self::Bytes => Some("trace.bytes"),
        }
    }
}
