//! What samplers look at of a trace: values of its root, kept as a word each, and what is known of the whole.

use super::{
    Facts,
    condition::{Computed, Expression, Subject},
    key::key_of,
    look::Passing,
    tree::mix,
};
use crate::decode::Value;

/// A value of the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    pub of: Expression,
    /// Kept as a number, and else as a hash.
    pub measured: bool,
}

/// Where a value of a trace stands among its facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Of the root, by its place among the words of bits.
    Hash(u16),
    Number(u16),
    Count(u16),
    Duration,
    Spans,
    Bytes,
    Services,
    Depth,
    Siblings(u8),
    Shape,
    /// All values of a path, as one.
    Values(u8),
    Different(u8),
    Links,
}

// === impl Part ===

impl Part {
    /// Of a root that never came.
    pub fn blank(&self) -> u64 {
        self.word(&|_| Computed::NIL)
    }

    pub fn of<'a>(&'a self, passing: &Passing<'a>) -> u64 {
        self.word(&|subject| passing.subject(subject))
    }

    fn word<'a>(&'a self, look: &dyn Fn(&Subject) -> Computed<'a>) -> u64 {
        // What cannot be computed is as absent.
        let computed = self.of.compute(look).unwrap_or(Computed::NIL);
        if self.measured { number(&computed).unwrap_or(f64::NAN).to_bits() } else { key_of(&computed) }
    }
}

fn number(computed: &Computed<'_>) -> Option<f64> {
    match computed.value()? {
        Value::Int(number) => Some(number as f64),
        Value::Double(number) => Some(number),
        _ => None,
    }
}

// === impl Place ===

impl Place {
    /// What a trace is told apart by.
    pub fn hash(self, facts: &Facts<'_>) -> u64 {
        match self {
            Place::Hash(word) | Place::Number(word) => facts.bits[usize::from(word)],
            Place::Shape => facts.tree.shape(),
            Place::Values(path) => facts.values.key(path),
            Place::Links => facts.links.iter().fold(0, |key, link| mix(key, *link)),
            _ => self.number(facts).map_or(0, f64::to_bits),
        }
    }

    /// What a trace may have in common with others, one key for each: nothing where nothing is there.
    pub fn keys(self, facts: &Facts<'_>, mut tell: impl FnMut(u64)) {
        match self {
            Place::Links => facts.links.iter().copied().for_each(tell),
            Place::Values(path) => facts.values.of(path).for_each(tell),
            Place::Hash(word) if facts.bits[usize::from(word)] == key_of(&Computed::NIL) => {}
            _ => tell(self.hash(facts)),
        }
    }

    /// None of what is absent, or is no number.
    pub fn number(self, facts: &Facts<'_>) -> Option<f64> {
        match self {
            Place::Hash(_) | Place::Shape | Place::Values(_) | Place::Links => None,
            Place::Number(word) => {
                Some(f64::from_bits(facts.bits[usize::from(word)])).filter(|number| !number.is_nan())
            }
            Place::Count(counter) => Some(f64::from(facts.counts[usize::from(counter)])),
            Place::Duration => Some(facts.duration_ns as f64),
            Place::Spans => Some(f64::from(facts.span_count)),
            Place::Bytes => Some(facts.bytes as f64),
            Place::Services => Some(f64::from(facts.tree.services())),
            Place::Depth => Some(f64::from(facts.tree.depth())),
            Place::Siblings(mark) => Some(f64::from(facts.tree.siblings(mark))),
            Place::Different(path) => Some(f64::from(facts.values.count(path))),
        }
    }
}

/// Several places into one.
pub fn key(places: &[Place], facts: &Facts<'_>) -> u64 {
    places.iter().fold(0, |key, place| mix(key, place.hash(facts)))
}
