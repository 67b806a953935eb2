//! What a checked condition asks for: of one span, and of a whole trace.

use super::{Constant, Formula, Op, Pattern};

/// A question about one span.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpanTest {
    pub subject: Subject,
    pub test: Test,
}

/// What of a span is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Name,
    /// OTLP's number.
    Kind,
    /// OTLP's number.
    Status,
    /// Nanoseconds.
    Duration,
    Attribute(String),
    ResourceAttribute(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// Never `Op::Ne`, which is the negation of `Op::Eq` for every value.
    Compare(Op, Constant),
    Matches(Pattern),
}

/// A question about a whole trace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TraceTest {
    /// Some span is such.
    Any(Formula<SpanTest>),
    /// The root is such; of a root that never came everything is nil.
    Root(SpanTest),
    Number(Number, Op, i64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// How many spans are such.
    Count(Formula<SpanTest>),
    /// Last end minus first start, in nanoseconds.
    Duration,
    Spans,
}
