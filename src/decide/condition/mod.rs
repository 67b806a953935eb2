//! The language of conditions: OTTL's grammar and comparison rules, with quantifiers over a trace's spans.
//!
//! A text goes through [`parse`](parse::parse) (tokens to a tree that knows where each part stands) and
//! [`check`](check::check) (names, scopes and types; every mistake of a condition at once). What comes out is a [`Formula`]
//! over [`TraceTest`]s, in which nothing can fail any more.

mod ast;
mod check;
mod compare;
mod expression;
mod formula;
mod function;
mod literal;
mod outline;
mod parse;
mod path;
mod pattern;
pub mod proof;
mod test;
mod token;
mod types;
mod value;
pub mod written;

use std::ops::Range;

pub use compare::{Constant, Op};
pub use expression::{Computed, Expression};
pub use formula::Formula;
pub use literal::duration;
pub use outline::{Part, Scope, outline};
pub use pattern::Pattern;
pub use test::{Around, Deny, Field, Number, SpanTest, Subject, Test, TraceTest};
pub use types::name_of;

/// A value of a trace, for samplers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Aspect {
    /// Of the root; of one that never came everything is nil.
    Root(Expression),
    Trace(Number),
    /// The traces that it is linked with, and itself.
    Links,
}

/// One mistake in a condition: a sentence without a full stop, its byte range in the text, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub at: Range<usize>,
    pub message: String,
    pub hint: Option<String>,
}

/// Reads a condition.
///
/// # Errors
/// Every mistake found, at least one; a text that does not parse has exactly one.
pub fn read(text: &str) -> Result<Formula<TraceTest>, Vec<Error>> {
    let tree = parse::parse(text).map_err(|error| vec![error])?;
    check::check(text, &tree)
}

/// Reads a condition on one span, as stands inside `any(…)`.
///
/// # Errors
/// As of [`read`].
pub fn read_span(text: &str) -> Result<Formula<SpanTest>, Vec<Error>> {
    let tree = parse::parse(text).map_err(|error| vec![error])?;
    check::check_span(text, &tree)
}

/// Reads what a sampler tells traces apart by.
///
/// # Errors
/// As of [`read`].
pub fn read_key(text: &str) -> Result<Aspect, Vec<Error>> {
    let tree = parse::parse(text).map_err(|error| vec![error])?;
    check::check_key(text, &tree)
}

/// Reads what a sampler measures, a number.
///
/// # Errors
/// As of [`read`].
pub fn read_measure(text: &str) -> Result<Aspect, Vec<Error>> {
    let tree = parse::parse(text).map_err(|error| vec![error])?;
    check::check_measure(text, &tree)
}

// === impl Error ===

impl Error {
    fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
pub(super) mod reference;
#[cfg(test)]
mod tests;
