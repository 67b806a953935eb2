//! What a checked condition asks for: of one span, and of a whole trace.

use super::{Constant, Expression, Formula, Op, Pattern};
use crate::decode::Key;

/// A question about one span, or about one of its events or links.
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
    /// A value inside that of an attribute.
    Inside(Box<Subject>, Vec<Key>),
    Field(Field),
    Around(Around),
    /// Several of these, as an expression names them.
    Several,
    /// Asked of an event or a link: what its span has.
    OfSpan(Box<Self>),
    Events,
    Links,
}

/// What few policies look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The kind in OTTL's words: `Server`.
    KindText,
    StatusMessage,
    /// Nanoseconds since the Unix epoch, as are `End` and `Time`.
    Start,
    End,
    /// Of an event.
    Time,
    TraceId,
    SpanId,
    ParentId,
    /// In hex.
    TraceIdText,
    SpanIdText,
    ParentIdText,
    TraceState,
    TraceStateEntry(String),
    Flags,
    DroppedAttributes,
    DroppedEvents,
    DroppedLinks,
    /// Whether it has no parent.
    IsRoot,
    /// Of the record it came in, as are `Header`s.
    Topic,
    Header(String),
}

/// What all spans of a resource and scope share, beside the resource's attributes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Around {
    ResourceSchemaUrl,
    ScopeName,
    ScopeVersion,
    ScopeAttribute(String),
    ScopeSchemaUrl,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// Never `Op::Ne`, which is the negation of `Op::Eq` for every value.
    Compare(Op, Constant),
    Matches(Pattern),
    /// Whether a condition comes to this. One that cannot be computed comes to nothing, so this is no negation of that.
    Comes(Box<Expression>, bool),
    /// Whether some of the subject's many are such.
    Any(Box<Formula<SpanTest>>),
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
    /// Of its spans, as they came.
    Bytes,
    /// Different services.
    Services,
    /// Spans on the longest way from a root down.
    Depth,
    /// The most calls of one kind, by service and name, that one span made, of spans that are such.
    Siblings(Formula<SpanTest>),
    /// The hash of who calls whom, its bits as they are.
    Shape,
    /// The key of all values that spans have of it, its bits as they are.
    Values(Subject),
    /// How many different ones there are.
    Different(Subject),
}

/// What can be denied: where it cannot be computed, neither it nor its denial holds.
pub trait Deny: Sized {
    fn denied(self) -> Formula<Self>;
}

// === impl SpanTest ===

impl SpanTest {
    /// Visits what it looks at of the span, for its events and links as well.
    pub fn subjects(&self, visit: &mut dyn FnMut(&Subject)) {
        match &self.test {
            Test::Compare(..) | Test::Matches(_) => visit(&self.subject),
            Test::Comes(expression, _) => expression.subjects(&mut |subject| visit(subject)),
            Test::Any(formula) => formula.leaves(&mut |test| {
                test.subjects(&mut |subject| {
                    if let Subject::OfSpan(subject) = subject {
                        visit(subject);
                    }
                });
            }),
        }
    }
}

impl Deny for SpanTest {
    fn denied(self) -> Formula<Self> {
        match self.test {
            Test::Comes(expression, whether) => Formula::Leaf(Self { test: Test::Comes(expression, !whether), ..self }),
            _ => Formula::Leaf(self).negated(),
        }
    }
}

// === impl TraceTest ===

impl Deny for TraceTest {
    fn denied(self) -> Formula<Self> {
        match self {
            TraceTest::Root(SpanTest { subject, test: Test::Comes(expression, whether) }) => {
                Formula::Leaf(TraceTest::Root(SpanTest { subject, test: Test::Comes(expression, !whether) }))
            }
            _ => Formula::Leaf(self).negated(),
        }
    }
}

// === impl Field ===

impl Field {
    /// Whether it is of the record that the span came in.
    pub fn is_of_record(&self) -> bool {
        matches!(self, Field::Topic | Field::Header(_))
    }

    /// Whether it has to be found in the span's bytes.
    pub fn is_detail(&self) -> bool {
        match self {
            Field::KindText | Field::Start | Field::End | Field::Time => false,
            Field::TraceId | Field::TraceIdText | Field::IsRoot | Field::Topic | Field::Header(_) => false,
            Field::StatusMessage
            | Field::SpanId
            | Field::ParentId
            | Field::SpanIdText
            | Field::ParentIdText
            | Field::TraceState
            | Field::TraceStateEntry(_)
            | Field::Flags
            | Field::DroppedAttributes
            | Field::DroppedEvents
            | Field::DroppedLinks => true,
        }
    }
}

// === impl Subject ===

impl Subject {
    /// Whether spans of one resource and scope have it in common.
    pub fn is_around(&self) -> bool {
        match self {
            Subject::ResourceAttribute(_) | Subject::Around(_) => true,
            Subject::Inside(outer, _) => outer.is_around(),
            Subject::OfSpan(subject) => subject.is_around(),
            _ => false,
        }
    }

    /// Whether it is of what the span came in, and of nothing else that has the same names.
    pub fn is_of_span_alone(&self) -> bool {
        self.is_around() || matches!(self, Subject::Field(field) if field.is_of_record())
    }

    /// The same, whether it is asked of a span or of what belongs to one.
    pub fn bare(&self) -> &Self {
        match self {
            Subject::OfSpan(subject) => subject,
            subject => subject,
        }
    }
}
