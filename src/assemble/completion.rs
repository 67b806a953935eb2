//! When is a workflow complete?

use crate::{decode::Span, sample::Periods};

/// The bounds on waiting, in milliseconds of record time and in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// A trace whose structure is whole is complete when nothing arrived for so long. Where quiet periods are learned, that is so
    /// until enough is known.
    pub quiet: u64,
    /// The share of all spans that are to come before the verdict, for which quiet periods are learned; None where they are not.
    pub completeness: Option<f64>,
    /// No trace waits longer, counted from its first span.
    pub max_wait: u64,
    /// A trace with more payload is decided before the next record; its later spans follow the verdict.
    pub max_trace_bytes: usize,
}

/// Why waiting stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The root has ended, no parent is missing, and the quiet period passed.
    Structure,
    /// The root has ended, a parent is missing, and so long a quiet period passed that hardly anything was ever to come.
    Torn,
    /// `max_wait` passed first.
    MaxWait,
    /// The trace outgrew `max_trace_bytes`.
    Size,
    /// The byte budget was full, and this trace was the oldest.
    Memory,
    /// The input ended.
    End,
}

/// Checks structures; keeps its scratch space.
#[derive(Default)]
pub struct Structure {
    spans: Vec<u64>,
    parents: Vec<u64>,
}

// === impl Completion ===

impl Completion {
    /// How long a trace waits for another span where that is not learned.
    pub fn periods(&self) -> Periods {
        Periods { whole: self.quiet, torn: self.max_wait }
    }
}

// === impl Reason ===

impl Reason {
    pub const ALL: [Self; 6] = [Self::Structure, Self::Torn, Self::MaxWait, Self::Size, Self::Memory, Self::End];

    /// The name in metrics and decisions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Structure => "structure",
            Self::Torn => "torn",
            Self::MaxWait => "max_wait",
            Self::Size => "size",
            Self::Memory => "memory",
            Self::End => "end",
        }
    }
}

// === impl Structure ===

impl Structure {
    /// Whether every parent named is there. `links` are (span id, parent id); 0 names nothing.
    pub fn is_whole(&mut self, links: impl Iterator<Item = (u64, u64)>) -> bool {
        self.spans.clear();
        self.parents.clear();
        for (span, parent) in links {
            self.spans.push(span);
            // Siblings often follow each other.
            if parent != 0 && self.parents.last() != Some(&parent) {
                self.parents.push(parent);
            }
        }
        self.spans.sort_unstable();
        self.parents.iter().all(|parent| *parent != Span::NO_SPAN && self.spans.binary_search(parent).is_ok())
    }

    pub fn bytes(&self) -> usize {
        (self.spans.capacity() + self.parents.capacity()) * size_of::<u64>()
    }
}
