//! What the subjects of conditions are: of a span that passes, of its resource and scope, of an event or a link.

use super::{
    condition::{Around, Computed, Field, SpanTest, Subject, Test},
    program::Program,
};
use crate::decode::{
    Batch, Span, Value, attribute,
    detail::{self, Detail, Item},
    resource_attribute, scope_attribute, trace_state_entry,
};

/// A span, and what it takes to look at all of it.
pub struct Passing<'a> {
    pub payload: &'a [u8],
    pub batch: &'a Batch,
    pub span: &'a Span,
    /// For which `batch` was decoded.
    pub program: &'a Program,
    pub detail: Detail<'a>,
    /// The fields around it: of its resource, and of its scope.
    pub around: (&'a [u8], &'a [u8]),
}

/// An absent id, as OTTL shows it.
const NO_ID: [u8; 16] = [0; 16];

/// Whether a test comes true of what `look` shows; the many are those of `span`, which is nothing where there are none.
pub fn holds<'a>(test: &'a SpanTest, span: &'a [u8], look: &dyn Fn(&Subject) -> Computed<'a>) -> bool {
    match &test.test {
        Test::Compare(op, constant) => {
            let value = look(&test.subject);
            op.holds(value.value().and_then(|value| constant.order(value)))
        }
        Test::Matches(pattern) => look(&test.subject).value().is_some_and(|value| pattern.is_match(value)),
        Test::Comes(expression, whether) => expression.comes_to(*whether, look),
        Test::Any(formula) => {
            let look = |subject: &Subject, item: &Item<'a>| match subject {
                Subject::OfSpan(subject) => look(subject),
                subject => of_item(subject, item),
            };
            let such = |item: Item<'a>| formula.holds(&|test| holds(test, &[], &|subject| look(subject, &item)));
            if test.subject == Subject::Events { detail::events(span).any(such) } else { detail::links(span).any(such) }
        }
    }
}

/// What spans of one resource and scope have in common.
pub fn of_around<'a>(subject: &Subject, resource: &'a [u8], scope: &'a [u8]) -> Value<'a> {
    match subject {
        Subject::ResourceAttribute(key) => resource_attribute(resource, key.as_bytes()),
        Subject::Around(Around::ResourceSchemaUrl) => Value::Str(detail::schema_url(resource)),
        Subject::Around(Around::ScopeName) => Value::Str(detail::scope(scope).0),
        Subject::Around(Around::ScopeVersion) => Value::Str(detail::scope(scope).1),
        Subject::Around(Around::ScopeAttribute(key)) => scope_attribute(scope, key.as_bytes()),
        Subject::Around(Around::ScopeSchemaUrl) => Value::Str(detail::schema_url(scope)),
        Subject::Inside(outer, keys) => {
            keys.iter().fold(of_around(outer, resource, scope), |value, key| value.entry(key))
        }
        _ => Value::Nil,
    }
}

fn of_item<'a>(subject: &Subject, item: &Item<'a>) -> Computed<'a> {
    Computed::Value(match subject {
        Subject::Name => Value::Str(item.name),
        Subject::Attribute(key) => attribute(item.bytes, item.attributes, key.as_bytes()),
        Subject::Inside(outer, keys) => {
            return of_item(outer, item).inside(keys);
        }
        Subject::Field(field) => match field {
            Field::Time => time(item.time),
            Field::TraceId => id(item.trace_id, 16),
            Field::SpanId => id(item.span_id, 8),
            Field::TraceIdText => return hex(id(item.trace_id, 16)),
            Field::SpanIdText => return hex(id(item.span_id, 8)),
            Field::TraceState => Value::Str(item.trace_state),
            Field::TraceStateEntry(vendor) => entry(item.trace_state, vendor),
            Field::Flags => Value::Int(i64::from(item.flags)),
            Field::DroppedAttributes => Value::Int(i64::from(item.dropped_attributes)),
            _ => Value::Nil,
        },
        _ => Value::Nil,
    })
}

// === impl Passing ===

impl<'a> Passing<'a> {
    pub fn subject(&self, subject: &Subject) -> Computed<'a> {
        let Self { payload, batch, span, .. } = *self;
        Computed::Value(match subject {
            Subject::Name => Value::Str(span.name.of(payload)),
            Subject::Kind => Value::Int(i64::from(span.kind)),
            Subject::Status => Value::Int(i64::from(span.status)),
            Subject::Duration => time(span.duration()),
            Subject::Attribute(key) => {
                let found = &batch.found[span.found.start as usize..span.found.end as usize];
                let slot = self.program.keys.slot(key.as_bytes());
                let found = found.iter().find(|found| Some(found.slot) == slot);
                found.and_then(|found| Value::parse(payload, found.value).ok()).unwrap_or(Value::Nil)
            }
            Subject::Inside(outer, keys) => return self.subject(outer).inside(keys),
            Subject::Field(field) => return self.field(field),
            Subject::ResourceAttribute(_) | Subject::Around(_) => of_around(subject, self.around.0, self.around.1),
            Subject::Several | Subject::OfSpan(_) | Subject::Events | Subject::Links => Value::Nil,
        })
    }

    /// Of the record.
    fn beside(&self, field: &Field) -> Value<'a> {
        let place = self.program.beside.iter().position(|known| known == field);
        let range = place.and_then(|place| *self.batch.beside.get(place)?);
        range.map_or(Value::Nil, |range| Value::Str(range.of(&self.batch.rest)))
    }

    pub fn field(&self, field: &Field) -> Computed<'a> {
        let Self { span, detail, .. } = self;
        Computed::Value(match field {
            Field::KindText => Value::Str(kind(span.kind).as_bytes()),
            Field::StatusMessage => Value::Str(detail.status_message),
            Field::Start => time(span.start),
            Field::End => time(span.end),
            Field::Time => Value::Nil,
            Field::TraceId => Value::Bytes(&span.trace_id),
            Field::SpanId => id(detail.span_id, 8),
            Field::ParentId => id(detail.parent_id, 8),
            Field::TraceIdText => return hex(Value::Bytes(&span.trace_id)),
            Field::SpanIdText => return hex(id(detail.span_id, 8)),
            Field::ParentIdText => return hex(id(detail.parent_id, 8)),
            Field::TraceState => Value::Str(detail.trace_state),
            Field::TraceStateEntry(vendor) => entry(detail.trace_state, vendor),
            Field::Flags => Value::Int(i64::from(detail.flags)),
            Field::DroppedAttributes => Value::Int(i64::from(detail.dropped_attributes)),
            Field::DroppedEvents => Value::Int(i64::from(detail.dropped_events)),
            Field::DroppedLinks => Value::Int(i64::from(detail.dropped_links)),
            Field::IsRoot => Value::Bool(span.is_root()),
            Field::Topic | Field::Header(_) => self.beside(field),
        })
    }
}

/// Nanoseconds; what does not fit is as large as can be.
fn time<'a>(ns: u64) -> Value<'a> {
    Value::Int(i64::try_from(ns).unwrap_or(i64::MAX))
}

fn id(id: &[u8], len: usize) -> Value<'_> {
    Value::Bytes(if id.is_empty() { &NO_ID[..len] } else { id })
}

fn hex<'a>(id: Value<'_>) -> Computed<'a> {
    let digit = |c: u8| char::from_digit(u32::from(c), 16).unwrap_or('0') as u8;
    match id {
        Value::Bytes(id) => Computed::Text(id.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()),
        _ => Computed::NIL,
    }
}

fn entry<'a>(trace_state: &'a [u8], vendor: &str) -> Value<'a> {
    trace_state_entry(trace_state, vendor.as_bytes()).map_or(Value::Nil, Value::Str)
}

/// As OTTL writes it; other numbers have no name.
fn kind(number: i32) -> &'static str {
    match number {
        0 => "Unspecified",
        1 => "Internal",
        2 => "Server",
        3 => "Client",
        4 => "Producer",
        5 => "Consumer",
        _ => "",
    }
}
