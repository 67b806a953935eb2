//! What a path may be compared with.

use std::ops::Range;

use super::{Constant, Error, Subject, ast::Literal, expression::Math, literal::hex};
use crate::diagnostic::nearest;

/// The type of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Whatever the sender wrote: OTTL's dynamic comparison.
    Any,
    Text,
    Kind,
    Status,
    Duration,
    /// A number of spans, or of what they have.
    Count,
    /// A hash, written as 16 hexadecimal digits.
    Shape,
    /// Of all spans, each once.
    Values,
    Bool,
    Int,
    Double,
    List,
    /// A point in time.
    Time,
    TraceId,
    SpanId,
}

/// A constant that still knows how it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Literal(Literal),
    Kind(i64),
    Status(i64),
}

/// Source: opentelemetry-proto, `trace/v1/trace.proto`.
const KINDS: [(&str, i64); 6] = [
    ("SPAN_KIND_UNSPECIFIED", 0),
    ("SPAN_KIND_INTERNAL", 1),
    ("SPAN_KIND_SERVER", 2),
    ("SPAN_KIND_CLIENT", 3),
    ("SPAN_KIND_PRODUCER", 4),
    ("SPAN_KIND_CONSUMER", 5),
];
const STATUSES: [(&str, i64); 3] = [("STATUS_CODE_UNSET", 0), ("STATUS_CODE_OK", 1), ("STATUS_CODE_ERROR", 2)];

/// How a condition writes a span's kind, or its status.
pub fn name_of(subject: &Subject, number: i32) -> Option<&'static str> {
    let names: &[_] = match subject {
        Subject::Kind => &KINDS,
        Subject::Status => &STATUSES,
        _ => &[],
    };
    names.iter().find(|(_, known)| *known == i64::from(number)).map(|(name, _)| *name)
}

/// `STATUS_CODE_ERROR` and the like; None where the name is not written as constants are.
pub fn named(name: &str, at: &Range<usize>) -> Option<Result<Value, Error>> {
    let number = |names: &[(&str, i64)]| names.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    if let Some(value) = number(&KINDS).map(Value::Kind).or_else(|| number(&STATUSES).map(Value::Status)) {
        return Some(Ok(value));
    }
    if !name.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_') {
        return None;
    }
    let error = Error::new(at.clone(), format!("unknown constant `{name}`"));
    Some(Err(match meant(name) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint(format!("the constants are {}", listed(constants()))),
    }))
}

/// A constant as the type of the path it is compared with has it: durations in nanoseconds, enums as OTLP's numbers.
/// `path` and `written` are how the two stand in the condition.
///
/// # Errors
/// At `at`, where the constant stands, if it does not fit.
pub fn constant(value: Value, kind: Type, path: &str, written: &str, at: &Range<usize>) -> Result<Constant, Error> {
    use super::ast::Literal::{Bool, Bytes, Duration, Float, Int, Nil, Text};
    use Value::{Kind, Literal, Status};
    let (message, hint) = match (kind, value) {
        (Type::Any, Literal(Nil)) => return Ok(Constant::Nil),
        (Type::Any, Literal(Bool(value))) => return Ok(Constant::Bool(value)),
        (Type::Any, Literal(Float(value))) => return Ok(Constant::Float(value)),
        (Type::Any, Literal(Int(value))) => return Ok(Constant::Int(value)),
        (Type::Any | Type::Text, Literal(Text(text))) => return Ok(Constant::Text(text.into())),
        // OTTL compares both with numbers too.
        (Type::Kind, Kind(value) | Literal(Int(value @ 0..=5))) => return Ok(Constant::Int(value)),
        (Type::Status, Status(value) | Literal(Int(value @ 0..=2))) => return Ok(Constant::Int(value)),
        (Type::Duration, Literal(Duration(ns))) => return Ok(Constant::Int(i64::try_from(ns).unwrap_or(i64::MAX))),
        (Type::Shape, Literal(Text(text))) if shape(&text).is_some() => {
            return Ok(Constant::Int(shape(&text).unwrap_or_default()));
        }
        (Type::Count | Type::Int | Type::Double, Literal(Int(value))) => return Ok(Constant::Int(value)),
        (Type::Int | Type::Double, Literal(Float(value))) => return Ok(Constant::Float(value)),
        (Type::Bool, Literal(Bool(value))) => return Ok(Constant::Bool(value)),
        (Type::Any, Literal(Bytes(bytes))) => return Ok(Constant::Bytes(bytes.into())),
        (Type::TraceId, Literal(Bytes(id))) if id.len() == 16 => return Ok(Constant::Bytes(id.into())),
        (Type::SpanId, Literal(Bytes(id))) if id.len() == 8 => return Ok(Constant::Bytes(id.into())),
        (Type::TraceId, Literal(Text(text))) if let Some(id) = id(&text, 16) => return Ok(id),
        (Type::SpanId, Literal(Text(text))) if let Some(id) = id(&text, 8) => return Ok(id),

        (Type::Any, Literal(Duration(_))) => (
            format!("`{path}` is an attribute and has no unit of time"),
            "write the number, in the unit its sender uses".to_owned(),
        ),
        (Type::Any, Kind(number)) => (
            format!("`{path}` is an attribute and `{written}` a span kind"),
            format!("did you mean `kind`? the number is {number}"),
        ),
        (Type::Any, Status(number)) => (
            format!("`{path}` is an attribute and `{written}` a status code"),
            format!("did you mean `status.code`? the number is {number}"),
        ),
        (Type::Text, _) => {
            (format!("`{path}` is text and `{written}` is not"), "text stands in double quotes".to_owned())
        }
        (Type::Kind | Type::Status, Literal(Text(text))) if meant(&text).is_some() => (
            format!("`{path}` is a number with names, and `{written}` is text"),
            format!("did you mean `{}`?", meant(&text).unwrap_or_default()),
        ),
        (Type::Kind, _) => (
            format!("`{path}` is a span kind and `{written}` is none"),
            format!("the span kinds are {}", listed(KINDS.map(|(name, _)| name))),
        ),
        (Type::Status, Literal(Int(_))) => (
            format!("`{path}` is 0, 1 or 2 and never `{written}`"),
            "did you mean `attributes[\"http.response.status_code\"]`?".to_owned(),
        ),
        (Type::Status, _) => (
            format!("`{path}` is a status code and `{written}` is none"),
            format!("the status codes are {}", listed(STATUSES.map(|(name, _)| name))),
        ),
        (Type::Duration, Literal(Int(number))) => (
            format!("`{path}` is a duration and `{written}` has no unit"),
            format!("did you mean `{}`?", with_unit(number)),
        ),
        (Type::Duration, _) => (
            format!("`{path}` is a duration and `{written}` is none"),
            "a duration is written `2s`, `1500ms` or `1m30s`".to_owned(),
        ),
        (Type::Shape, _) => (
            format!("`{path}` is a hash and `{written}` is none"),
            "it is written as text of 16 hexadecimal digits, as `tailwater explain` shows it".to_owned(),
        ),
        (Type::Values, _) => (
            format!("`{path}` are the values of all spans and `{written}` is no list"),
            format!("did you mean `{path} == [{written}]`?"),
        ),
        (Type::Count, _) => {
            (format!("`{path}` is a number and `{written}` is no whole number"), "write `10`".to_owned())
        }
        (Type::Int | Type::Double, Literal(Duration(ns))) => {
            (format!("`{path}` is a number and `{written}` a duration"), format!("in nanoseconds it is {ns}"))
        }
        (Type::Int | Type::Double, _) => {
            (format!("`{path}` is a number and `{written}` is none"), "a number stands alone: `10`, `0.5`".to_owned())
        }
        (Type::Bool, _) => {
            (format!("`{path}` is true or false and never `{written}`"), format!("write `{path}` alone"))
        }
        (Type::List, _) => (
            format!("`{path}` is a list and `{written}` is none"),
            format!("did you mean `ContainsValue({path}, {written})`?"),
        ),
        (Type::Time, _) => (
            format!("`{path}` is a point in time and `{written}` is none"),
            "its difference from another is a duration: `end_time - start_time > 2s`".to_owned(),
        ),
        (Type::TraceId, _) => (
            format!("`{path}` is a trace id and `{written}` is none"),
            "it has 16 bytes: 32 hexadecimal digits in double quotes, or `TraceID(0x…)`".to_owned(),
        ),
        (Type::SpanId, _) => (
            format!("`{path}` is a span id and `{written}` is none"),
            "it has 8 bytes: 16 hexadecimal digits in double quotes, or `SpanID(0x…)`".to_owned(),
        ),
    };
    Err(Error::new(at.clone(), message).hint(hint))
}

/// The bits of a hash.
fn shape(text: &str) -> Option<i64> {
    let is_hash = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hash.then(|| u64::from_str_radix(text, 16).ok().map(u64::cast_signed)).flatten()
}

/// Whether values of these types can be equal. An attribute is whatever its sender wrote, and has no unit.
pub fn comparable(a: Type, b: Type) -> bool {
    let number = |kind| matches!(kind, Type::Int | Type::Double | Type::Kind | Type::Status | Type::Count);
    let scalar = |kind| number(kind) || matches!(kind, Type::Any | Type::Text | Type::Bool | Type::List);
    a == b || number(a) && number(b) || a == Type::Any && scalar(b) || b == Type::Any && scalar(a)
}

/// What the difference of two types is met with.
pub fn converted(a: Type, b: Type) -> &'static str {
    let both = [a, b];
    if both.contains(&Type::Duration) {
        "a duration is a number behind `Seconds(…)`, `Milliseconds(…)` or `Nanoseconds(…)`"
    } else if both.contains(&Type::Time) {
        "times are compared with times; a number is `start_time_unix_nano`, and so on"
    } else if both.contains(&Type::TraceId) || both.contains(&Type::SpanId) {
        "an id is text behind `.string`"
    } else {
        "`Int(…)`, `Double(…)` and `String(…)` make one of the other"
    }
}

/// What a calculation comes to; None where it has no meaning. As in OTTL, which knows it only when it calculates.
pub fn math(math: Math, a: Type, b: Type) -> Option<Type> {
    let number = |kind| matches!(kind, Type::Int | Type::Double | Type::Kind | Type::Status | Type::Any);
    Some(match (a, b, math) {
        (Type::Time, Type::Time, Math::Sub) => Type::Duration,
        (Type::Time, Type::Duration, Math::Add | Math::Sub) | (Type::Duration, Type::Time, Math::Add) => Type::Time,
        (Type::Duration, Type::Duration, Math::Add | Math::Sub) => Type::Duration,
        (Type::Any, b, _) if number(b) => Type::Any,
        (a, Type::Any, _) if number(a) => Type::Any,
        (Type::Double, b, _) if number(b) => Type::Double,
        (a, Type::Double, _) if number(a) => Type::Double,
        (a, b, _) if number(a) && number(b) => Type::Int,
        _ => return None,
    })
}

/// Of a constant that stands in an expression.
pub fn of(value: &Value) -> Type {
    match value {
        Value::Literal(Literal::Nil | Literal::Bytes(_)) => Type::Any,
        Value::Literal(Literal::Bool(_)) => Type::Bool,
        Value::Literal(Literal::Int(_)) => Type::Int,
        Value::Literal(Literal::Float(_)) => Type::Double,
        Value::Literal(Literal::Text(_)) => Type::Text,
        Value::Literal(Literal::Duration(_)) => Type::Duration,
        Value::Kind(_) => Type::Kind,
        Value::Status(_) => Type::Status,
    }
}

/// A constant as it stands in an expression: durations in nanoseconds, enums as OTLP's numbers.
pub fn plain(value: Value) -> Constant {
    match value {
        Value::Literal(Literal::Nil) => Constant::Nil,
        Value::Literal(Literal::Bool(value)) => Constant::Bool(value),
        Value::Literal(Literal::Int(value)) | Value::Kind(value) | Value::Status(value) => Constant::Int(value),
        Value::Literal(Literal::Float(value)) => Constant::Float(value),
        Value::Literal(Literal::Text(text)) => Constant::Text(text.into()),
        Value::Literal(Literal::Bytes(bytes)) => Constant::Bytes(bytes.into()),
        Value::Literal(Literal::Duration(ns)) => Constant::Int(i64::try_from(ns).unwrap_or(i64::MAX)),
    }
}

/// For a sentence.
pub fn name(kind: Type) -> &'static str {
    match kind {
        Type::Any => "an attribute",
        Type::Text => "text",
        Type::Kind => "a span kind",
        Type::Status => "a status code",
        Type::Duration => "a duration",
        Type::Count => "a number of spans",
        Type::Shape => "a hash",
        Type::Values => "the values of all spans",
        Type::Bool => "true or false",
        Type::Int | Type::Double => "a number",
        Type::List => "a list",
        Type::Time => "a point in time",
        Type::TraceId => "a trace id",
        Type::SpanId => "a span id",
    }
}

fn id(text: &str, len: usize) -> Option<Constant> {
    hex(text).filter(|bytes| bytes.len() == len).map(|bytes| Constant::Bytes(bytes.into()))
}

/// The constant that a word without its prefix, or with a slip in it, may stand for.
pub fn meant(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_uppercase();
    let whole = |known: &&str| known.strip_suffix(&word).is_some_and(|prefix| prefix.ends_with('_'));
    constants().find(whole).or_else(|| nearest(&word, constants()))
}

fn constants() -> impl Iterator<Item = &'static str> {
    STATUSES.iter().chain(&KINDS).map(|(name, _)| *name)
}

pub fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What a number without a unit may have meant: nanoseconds, which OTTL counts, where it is that large.
fn with_unit(number: i64) -> String {
    match number {
        1_000_000_000.. if number % 1_000_000_000 == 0 => format!("{}s", number / 1_000_000_000),
        1_000_000.. if number % 1_000_000 == 0 => format!("{}ms", number / 1_000_000),
        1_000_000.. => format!("{number}ns"),
        100.. => format!("{number}ms"),
        _ => format!("{number}s"),
    }
}
