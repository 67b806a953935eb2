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
    /// Some span that is `below` was called by one that is `above`: by itself, if it is to be `direct`, or through others.
    Under {
        below: Formula<SpanTest>,
        above: Formula<SpanTest>,
        direct: bool,
    },
    /// The root has ended, and every parent that is named is there.
    Complete,
    Number(Number, Op, i64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// How many spans are such.
    Count(Formula<SpanTest>),
    /// Last end minus first start, in nanoseconds.
    Duration,
    Spans,
    /// Different services.
    Services,
    /// Spans on the longest way from a root down.
    Depth,
    /// The most calls of one kind, by service and name, that one span made, of spans that are such.
    Siblings(Formula<SpanTest>),
    /// The hash of who calls whom, its bits as they are.
    Shape,
}
