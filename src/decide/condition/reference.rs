//! The language a second time, as simply as it can be said: a walk over the tree and all spans. The compiled evaluator
//! is held against it.

use std::{cmp::Ordering, ops::Range};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{
        Span,
        span::{Event, Link},
    },
};

use super::{
    Op,
    ast::{Expr, ExprKind, Literal, Segment},
    check::compared_with_bool,
    expression::Math,
    literal,
    parse::parse,
};
use crate::decode::Headers;

/// A span, and what is around it.
pub type Seen = (Span, Resource, InstrumentationScope);

/// What stands beside the value of the record that a span comes in: a topic, and headers, some of them with one key.
pub struct Beside {
    topic: &'static str,
    headers: Vec<(&'static str, Option<Vec<u8>>)>,
}

pub fn beside((span, ..): &Seen) -> Beside {
    let value = match span.flags {
        0 => None,
        1 => Some(b"a".to_vec()),
        _ => Some(span.name.clone().into_bytes()),
    };
    let mut headers = vec![("b", Some(b"b".to_vec())), ("a", value), ("a", Some(b"b".to_vec()))];
    headers.truncate(span.name.len() + 1);
    Beside { topic: if span.kind == 2 { "a" } else { "b" }, headers }
}

impl Headers for Beside {
    fn topic(&self) -> Option<&[u8]> {
        Some(self.topic.as_bytes())
    }

    fn header(&self, key: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(known, _)| *known == key)?.1.as_deref()
    }
}

/// A trace as it is when all has been seen.
pub struct Trace<'a> {
    pub spans: &'a [Seen],
    pub root: Option<usize>,
}

/// Whether a condition holds. It must be one that the checker accepts.
pub fn holds(condition: &str, trace: &Trace<'_>) -> bool {
    let tree = parse(condition).expect("a condition that parses");
    is_true(&tree, At { trace, span: None, item: None }) == Some(true)
}

/// Whether a condition holds, put together from the answers to its parts, which [`super::outline`] names.
pub fn recombine(condition: &str, part: &mut dyn FnMut(&Range<usize>) -> bool) -> bool {
    joined(&parse(condition).expect("a condition that parses"), part)
}

/// All quantifiers: where the part stands that one is in, its name, and where its argument stands, in parentheses.
pub fn quantified(condition: &str) -> Vec<(Range<usize>, &str, Range<usize>)> {
    let tree = parse(condition).expect("a condition that parses");
    let (mut found, mut left) = (Vec::new(), vec![&tree]);
    while let Some(expr) = left.pop() {
        match &expr.kind {
            ExprKind::And(parts) | ExprKind::Or(parts) => left.extend(parts),
            ExprKind::Not(inner) => left.push(inner),
            ExprKind::Call { name: name @ ("any" | "all" | "none"), .. } => {
                found.push((expr.at.clone(), *name, expr.at.start + name.len()..expr.at.end));
            }
            ExprKind::Compare { op, sides } if let Some((inner, _)) = compared_with_bool(*op, sides) => {
                left.push(inner)
            }
            ExprKind::Compare { sides, .. } => {
                for side in sides.iter() {
                    if let ExprKind::Call { name: name @ "count", .. } = &side.kind {
                        found.push((expr.at.clone(), *name, side.at.start + name.len()..side.at.end));
                    }
                }
            }
            _ => {}
        }
    }
    found
}

fn joined(expr: &Expr<'_>, part: &mut dyn FnMut(&Range<usize>) -> bool) -> bool {
    match &expr.kind {
        // Not short-circuited: every part has its answer.
        ExprKind::And(parts) => parts.iter().map(|expr| joined(expr, part)).fold(true, |all, holds| all & holds),
        ExprKind::Or(parts) => parts.iter().map(|expr| joined(expr, part)).fold(false, |any, holds| any | holds),
        ExprKind::Not(inner) => !joined(inner, part),
        ExprKind::Literal(Literal::Bool(value)) => *value,
        ExprKind::Compare { op, sides } if let Some((inner, as_it_is)) = compared_with_bool(*op, sides) => {
            joined(inner, part) == as_it_is
        }
        _ => part(&expr.at),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Nil,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    Id(Vec<u8>),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

#[derive(Clone, Copy)]
struct At<'a> {
    trace: &'a Trace<'a>,
    span: Option<&'a Seen>,
    item: Option<Item<'a>>,
}

#[derive(Clone, Copy)]
enum Item<'a> {
    Event(&'a Event),
    Link(&'a Link),
}

/// None: it cannot be computed.
fn is_true(expr: &Expr<'_>, at: At<'_>) -> Option<bool> {
    let all = |parts: &[Expr<'_>], wanted: bool| {
        let parts: Vec<_> = parts.iter().map(|part| is_true(part, at)).collect();
        match () {
            () if parts.contains(&Some(!wanted)) => Some(!wanted),
            () if parts.contains(&None) => None,
            () => Some(wanted),
        }
    };
    match &expr.kind {
        ExprKind::And(parts) => all(parts, true),
        ExprKind::Or(parts) => all(parts, false),
        ExprKind::Not(inner) => is_true(inner, at).map(|value| !value),
        ExprKind::Compare { op, sides } if matches!(&sides[0].kind, ExprKind::Call { name: "values", .. }) => {
            let [Some(Value::List(left)), Some(Value::List(right))] = sides.each_ref().map(|side| value(side, at))
            else {
                panic!("two lists")
            };
            let among = |all: &[Value], one| all.iter().any(|other| order(other, one) == Some(Ordering::Equal));
            let same = left.iter().all(|one| among(&right, one)) && right.iter().all(|one| among(&left, one));
            Some(same == (*op == Op::Eq))
        }
        ExprKind::Compare { op, sides } => {
            let [left, right] = sides.each_ref().map(|side| value(side, at));
            Some(compare(&left?, *op, &right?))
        }
        _ => match value(expr, at)? {
            Value::Bool(value) => Some(value),
            // Only what is computed to be true or false may turn out to be neither.
            Value::Nil => None,
            other => panic!("{other:?} is no condition"),
        },
    }
}

fn is_such<'a>(condition: &Expr<'_>, span: &'a Seen, at: At<'a>) -> bool {
    is_true(condition, At { span: Some(span), ..at }) == Some(true)
}

fn value(expr: &Expr<'_>, at: At<'_>) -> Option<Value> {
    Some(match &expr.kind {
        ExprKind::Literal(literal) => match literal {
            Literal::Nil => Value::Nil,
            Literal::Bool(value) => Value::Bool(*value),
            Literal::Int(value) => Value::Int(i128::from(*value)),
            Literal::Float(value) => Value::Float(*value),
            Literal::Text(text) => Value::Text(text.clone().into_bytes()),
            Literal::Bytes(bytes) => Value::Bytes(bytes.clone()),
            Literal::Duration(ns) => Value::Int(i128::from(*ns)),
        },
        ExprKind::Path(segments) => path(segments, at),
        ExprKind::List(items) => Value::List(items.iter().map(|item| value(item, at)).collect::<Option<_>>()?),
        ExprKind::Inside { of, keys } => inside(value(of, at)?, keys),
        ExprKind::Math { first, rest } => {
            let mut result = value(first, at)?;
            for (math, operand) in rest {
                result = calculate(&result, *math, &value(operand, at)?)?;
            }
            result
        }
        ExprKind::Call { name, args } => {
            let such = || at.trace.spans.iter().filter(|span| is_such(&args[0], span, at)).count();
            let any_of = |seen: &'_ Seen, events: bool| {
                let (span, ..) = seen;
                let events = span.events.iter().filter(|_| events).map(Item::Event);
                let links = span.links.iter().filter(|_| *name == "any_link").map(Item::Link);
                events.chain(links).any(|item| {
                    is_true(&args[0], At { trace: at.trace, span: Some(seen), item: Some(item) }) == Some(true)
                })
            };
            match *name {
                "any" => Value::Bool(such() > 0),
                "all" => Value::Bool(such() == at.trace.spans.len()),
                "none" => Value::Bool(such() == 0),
                "count" => Value::Int(such() as i128),
                "values" => {
                    let mut different: Vec<Value> = Vec::new();
                    for span in at.trace.spans {
                        let value = value(&args[0], At { span: Some(span), ..at })?;
                        // What is equal to itself, and not nil.
                        let is_one = value != Value::Nil && order(&value, &value) == Some(Ordering::Equal);
                        if is_one && !different.iter().any(|known| order(known, &value) == Some(Ordering::Equal)) {
                            different.push(value);
                        }
                    }
                    Value::List(different)
                }
                "any_event" | "any_link" => Value::Bool(match at.span {
                    Some(span) => any_of(span, *name == "any_event"),
                    None => at.trace.spans.iter().any(|span| any_of(span, *name == "any_event")),
                }),
                "IsRootSpan" => Value::Bool(at.span.is_some_and(|(span, ..)| span.parent_span_id.is_empty())),
                "siblings" => {
                    let marked = at.trace.spans.iter().filter(|span| is_such(&args[0], span, at));
                    let marked = marked.filter(|(span, ..)| !span.parent_span_id.is_empty());
                    let mut calls = std::collections::BTreeMap::<_, i128>::new();
                    for (span, resource, _) in marked {
                        *calls.entry((&span.parent_span_id, service(resource), &span.name)).or_default() += 1;
                    }
                    Value::Int(calls.into_values().max().unwrap_or(0))
                }
                "child_of" | "descendant_of" => Value::Bool(at.trace.spans.iter().any(|below| {
                    let mut above = callers(below, at.trace);
                    let above = if *name == "child_of" {
                        above.next().into_iter().collect()
                    } else {
                        above.collect::<Vec<_>>()
                    };
                    is_such(&args[0], below, at) && above.iter().any(|above| is_such(&args[1], above, at))
                })),
                "calls" => {
                    let [caller, callee] = [0, 1].map(|of| value(&args[of], at).expect("a name"));
                    let named = |of: &Seen, name: &Value| compare(&service_of(&of.1), Op::Eq, name);
                    let called =
                        |below: &Seen| callers(below, at.trace).next().is_some_and(|above| named(above, &caller));
                    Value::Bool(at.trace.spans.iter().any(|below| named(below, &callee) && called(below)))
                }
                "IsMatch" => {
                    let text = text_of(&value(&args[0], at)?);
                    let ExprKind::Literal(Literal::Text(pattern)) = &args[1].kind else { panic!("a pattern is text") };
                    let pattern = regex::bytes::Regex::new(pattern).expect("a good pattern");
                    Value::Bool(text.is_some_and(|text| pattern.is_match(&text)))
                }
                name => {
                    let args = args.iter().map(|arg| value(arg, at)).collect::<Option<Vec<_>>>()?;
                    return call(name, &args);
                }
            }
        }
        _ => Value::Bool(is_true(expr, at)?),
    })
}

/// A value as text; None of what has none.
fn text_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Float(value) if value.is_nan() => None,
        Value::Bool(value) => Some(value.to_string().into_bytes()),
        Value::Int(value) => Some(value.to_string().into_bytes()),
        Value::Float(value) => Some(value.to_string().into_bytes()),
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn call(name: &str, args: &[Value]) -> Option<Value> {
    let text = |at: usize| match &args[at] {
        Value::Text(text) => Some(String::from_utf8(text.clone()).expect("only text is generated")),
        _ => None,
    };
    let int = |at: usize| match &args[at] {
        Value::Int(value) => Some(*value),
        _ => None,
    };
    let list = |at: usize| match &args[at] {
        Value::List(items) => Some(items.as_slice()),
        _ => None,
    };
    let made = |text: &str| Value::Text(text.as_bytes().to_vec());
    Some(match name {
        "SpanID" | "TraceID" => match &args[0] {
            Value::Text(digits) => Value::Bytes(literal::hex(str::from_utf8(digits).expect("digits")).expect("digits")),
            bytes => bytes.clone(),
        },
        "Duration" => Value::Int(i128::from(literal::duration(&text(0)?, &(0..0)).expect("a duration"))),
        "Len" => Value::Int(match &args[0] {
            Value::Text(bytes) | Value::Bytes(bytes) => bytes.len(),
            Value::List(items) => items.len(),
            Value::Map(items) => items.len(),
            _ => return None,
        } as i128),
        "Int" => match &args[0] {
            Value::Nil => Value::Nil,
            Value::Int(value) => Value::Int(*value),
            Value::Float(value) => Value::Int(i128::from(*value as i64)),
            Value::Bool(value) => Value::Int(i128::from(*value)),
            _ => Value::Int(i128::from(text(0)?.parse::<i64>().ok()?)),
        },
        "Double" => match &args[0] {
            Value::Nil => Value::Nil,
            Value::Int(value) => Value::Float(*value as f64),
            Value::Float(value) => Value::Float(*value),
            Value::Bool(value) => Value::Float(if *value { 1.0 } else { 0.0 }),
            _ => Value::Float(text(0)?.parse().ok()?),
        },
        "Bool" => match &args[0] {
            Value::Nil => Value::Nil,
            Value::Bool(value) => Value::Bool(*value),
            Value::Int(value) => Value::Bool(*value != 0),
            Value::Float(value) => Value::Bool(*value != 0.0),
            _ => match text(0)?.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Value::Bool(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Value::Bool(false),
                _ => return None,
            },
        },
        "String" if args[0] == Value::Nil => Value::Nil,
        "String" => Value::Text(text_of(&args[0])?),
        "Concat" => {
            let nil = || b"<nil>".to_vec();
            let part = |part: &Value| if *part == Value::Nil { Some(nil()) } else { text_of(part) };
            Value::Text(list(0)?.iter().map(part).collect::<Option<Vec<_>>>()?.join(text(1)?.as_bytes()))
        }
        "Split" => {
            let (whole, by) = (text(0)?, text(1)?);
            if by.is_empty() {
                Value::List(whole.chars().map(|c| made(&c.to_string())).collect())
            } else {
                Value::List(whole.split(&by).map(made).collect())
            }
        }
        "Substring" => {
            let (whole, start, length) = (text(0)?, int(1)?, int(2)?);
            if start < 0 || length <= 0 || start + length > whole.len() as i128 {
                return None;
            }
            Value::Text(whole.as_bytes()[start as usize..(start + length) as usize].to_vec())
        }
        "ToLowerCase" => made(&text(0)?.to_lowercase()),
        "ToUpperCase" => made(&text(0)?.to_uppercase()),
        "Trim" => {
            let these = if args.len() > 1 { text(1)? } else { " ".to_owned() };
            made(text(0)?.trim_matches(|c| these.contains(c)))
        }
        "TrimPrefix" => made(text(0)?.strip_prefix(&text(1)?).unwrap_or(&text(0)?)),
        "TrimSuffix" => made(text(0)?.strip_suffix(&text(1)?).unwrap_or(&text(0)?)),
        "HasPrefix" => Value::Bool(text(0)?.starts_with(&text(1)?)),
        "HasSuffix" => Value::Bool(text(0)?.ends_with(&text(1)?)),
        "ContainsValue" => Value::Bool(list(0)?.iter().any(|item| order(item, &args[1]) == Some(Ordering::Equal))),
        "IsString" => Value::Bool(matches!(args[0], Value::Text(_))),
        "IsInt" => Value::Bool(matches!(args[0], Value::Int(_))),
        "IsDouble" => Value::Bool(matches!(args[0], Value::Float(_))),
        "IsBool" => Value::Bool(matches!(args[0], Value::Bool(_))),
        "IsMap" => Value::Bool(matches!(args[0], Value::Map(_))),
        "IsList" => Value::Bool(matches!(args[0], Value::List(_))),
        "Hours" => Value::Float(int(0)? as f64 / 3.6e12),
        "Minutes" => Value::Float(int(0)? as f64 / 6e10),
        "Seconds" => Value::Float(int(0)? as f64 / 1e9),
        "Milliseconds" => Value::Int(int(0)? / 1_000_000),
        "Microseconds" => Value::Int(int(0)? / 1_000),
        "Nanoseconds" => Value::Int(int(0)?),
        name => panic!("unknown function {name}"),
    })
}

fn calculate(left: &Value, math: Math, right: &Value) -> Option<Value> {
    Some(match (left, right) {
        (Value::Int(a), Value::Int(b)) => {
            let exact = match math {
                Math::Add => a + b,
                Math::Sub => a - b,
                Math::Mul => a * b,
                Math::Div => a.checked_div(*b)?,
            };
            Value::Int(i128::from(exact as i64))
        }
        (Value::Int(a), Value::Float(_)) => calculate(&Value::Float(*a as f64), math, right)?,
        (Value::Float(_), Value::Int(b)) => calculate(left, math, &Value::Float(*b as f64))?,
        (Value::Float(a), Value::Float(b)) => Value::Float(match math {
            Math::Add => a + b,
            Math::Sub => a - b,
            Math::Mul => a * b,
            Math::Div if *b == 0.0 => return None,
            Math::Div => a / b,
        }),
        _ => return None,
    })
}

fn path(segments: &[Segment<'_>], at: At<'_>) -> Value {
    let trace = at.trace;
    let keys = segments.last().map_or(&[][..], |last| &last.keys);
    let names: Vec<&str> = segments.iter().map(|segment| segment.name).collect();
    let is_of_span = matches!(names[0], "span" | "resource" | "scope" | "instrumentation_scope" | "service" | "record");
    let (names, seen) = match names.as_slice() {
        ["trace", "duration"] => {
            let start = trace.spans.iter().map(|(span, ..)| span.start_time_unix_nano).min().unwrap_or(0);
            let end = trace.spans.iter().map(|(span, ..)| span.end_time_unix_nano).max().unwrap_or(0);
            return Value::Int(i128::from(end.saturating_sub(start)));
        }
        ["STATUS_CODE_UNSET"] => return Value::Int(0),
        ["STATUS_CODE_OK" | "SPAN_KIND_INTERNAL"] => return Value::Int(1),
        ["STATUS_CODE_ERROR" | "SPAN_KIND_SERVER"] => return Value::Int(2),
        ["trace", "bytes"] => {
            let bytes = trace.spans.iter().map(|(span, ..)| prost::Message::encoded_len(span) as i128);
            return Value::Int(bytes.sum());
        }
        ["trace", "span_count"] => return Value::Int(trace.spans.len() as i128),
        ["trace", "error_count"] => {
            let failed = |(span, ..): &&Seen| span.status.as_ref().is_some_and(|status| status.code == 2);
            return Value::Int(trace.spans.iter().filter(failed).count() as i128);
        }
        ["trace", "services"] => {
            let services = trace.spans.iter().filter_map(|(_, resource, _)| service(resource));
            return Value::Int(services.collect::<std::collections::BTreeSet<_>>().len() as i128);
        }
        ["trace", "depth"] => {
            let depths = trace.spans.iter().map(|span| callers(span, trace).count() + 1);
            return Value::Int(depths.max().unwrap_or(0) as i128);
        }
        // No trace of a few spans has the one asked for.
        ["trace", "shape"] => return Value::Map(Vec::new()),
        ["trace", "complete"] => {
            let is_there = |id: &Vec<u8>| id.is_empty() || trace.spans.iter().any(|(span, ..)| span.span_id == *id);
            return Value::Bool(trace.spans.iter().all(|(span, ..)| is_there(&span.parent_span_id)));
        }
        ["root", names @ ..] => (names, trace.root.map(|root| &trace.spans[root])),
        ["span", names @ ..] | names => (names, at.span),
    };
    let text = |text: &str| Value::Text(text.as_bytes().to_vec());
    let count = |count: u32| Value::Int(i128::from(count));
    let attribute = |attributes: &[KeyValue]| {
        let [(Literal::Text(key), _), inner @ ..] = keys else { panic!("{keys:?} is no key") };
        let found = attributes.iter().find(|attribute| attribute.key == *key);
        inside(any_value(found.and_then(|attribute| attribute.value.as_ref())), inner)
    };
    let id = |id: &[u8], len: usize| Value::Id(if id.is_empty() { vec![0; len] } else { id.to_vec() });
    let hex = |id: Value| match id {
        Value::Id(id) => Value::Text(id.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes()),
        other => other,
    };
    let trace_state = |state: &str| match keys {
        [] => text(state),
        [(Literal::Text(key), _)] => {
            let entries = state.split(',').filter_map(|entry| entry.trim().split_once('='));
            entries.into_iter().find(|(vendor, _)| vendor == key).map_or(Value::Nil, |(_, value)| text(value))
        }
        keys => panic!("{keys:?} are no key"),
    };
    match (at.item.filter(|_| !is_of_span), names) {
        (Some(Item::Event(event)), ["spanevent", names @ ..] | names) => {
            return match names {
                ["name"] => text(&event.name),
                ["attributes"] => attribute(&event.attributes),
                ["time_unix_nano" | "time"] => Value::Int(i128::from(event.time_unix_nano)),
                ["dropped_attributes_count"] => count(event.dropped_attributes_count),
                other => panic!("unknown path {other:?}"),
            };
        }
        (Some(Item::Link(link)), names) => {
            return match names {
                ["attributes"] => attribute(&link.attributes),
                ["trace_id"] => id(&link.trace_id, 16),
                ["trace_id", "string"] => hex(id(&link.trace_id, 16)),
                ["span_id"] => id(&link.span_id, 8),
                ["span_id", "string"] => hex(id(&link.span_id, 8)),
                ["trace_state"] => trace_state(&link.trace_state),
                ["flags"] => count(link.flags),
                ["dropped_attributes_count"] => count(link.dropped_attributes_count),
                other => panic!("unknown path {other:?}"),
            };
        }
        (None, _) => {}
    }
    let Some(seen) = seen else { return Value::Nil };
    let (span, resource, scope) = seen;
    match names {
        ["name"] => text(&span.name),
        ["kind"] => Value::Int(i128::from(span.kind)),
        ["kind", "string"] => {
            let names = ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"];
            text(usize::try_from(span.kind).ok().and_then(|kind| names.get(kind)).unwrap_or(&""))
        }
        ["status", "code"] => Value::Int(span.status.as_ref().map_or(0, |status| i128::from(status.code))),
        ["status", "message"] => text(span.status.as_ref().map_or("", |status| &status.message)),
        ["duration"] => Value::Int(i128::from(span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano))),
        ["start_time_unix_nano" | "start_time"] => Value::Int(i128::from(span.start_time_unix_nano)),
        ["end_time_unix_nano" | "end_time"] => Value::Int(i128::from(span.end_time_unix_nano)),
        ["trace_id"] => id(&span.trace_id, 16),
        ["trace_id", "string"] => hex(id(&span.trace_id, 16)),
        ["span_id"] => id(&span.span_id, 8),
        ["span_id", "string"] => hex(id(&span.span_id, 8)),
        ["parent_span_id"] => id(&span.parent_span_id, 8),
        ["parent_span_id", "string"] => hex(id(&span.parent_span_id, 8)),
        ["trace_state"] => trace_state(&span.trace_state),
        ["flags"] => count(span.flags),
        ["dropped_attributes_count"] => count(span.dropped_attributes_count),
        ["dropped_events_count"] => count(span.dropped_events_count),
        ["dropped_links_count"] => count(span.dropped_links_count),
        ["record", "topic"] => text(beside(seen).topic),
        ["record", "headers"] => {
            let [(Literal::Text(key), _)] = keys else { panic!("{keys:?} is no key") };
            let beside = beside(seen);
            beside.header(key).map_or(Value::Nil, |value| Value::Text(value.to_vec()))
        }
        ["service"] => service_of(resource),
        ["attributes"] => attribute(&span.attributes),
        ["resource", "attributes"] => attribute(&resource.attributes),
        ["scope" | "instrumentation_scope", "attributes"] => attribute(&scope.attributes),
        ["scope" | "instrumentation_scope", "name"] => text(&scope.name),
        ["scope" | "instrumentation_scope", "version"] => text(&scope.version),
        other => panic!("unknown path {other:?}"),
    }
}

/// Who called a span, and who called that one, up to the top.
fn callers<'a>(span: &'a Seen, trace: &'a Trace<'_>) -> impl Iterator<Item = &'a Seen> {
    let caller = |span: &Seen| trace.spans.iter().find(|(other, ..)| other.span_id == span.0.parent_span_id);
    std::iter::successors(caller(span), move |span| caller(span))
}

fn service_of(resource: &Resource) -> Value {
    let found = resource.attributes.iter().find(|attribute| attribute.key == "service.name");
    any_value(found.and_then(|attribute| attribute.value.as_ref()))
}

/// Where it is text.
fn service(resource: &Resource) -> Option<Vec<u8>> {
    match service_of(resource) {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn any_value(value: Option<&AnyValue>) -> Value {
    match value.and_then(|value| value.value.as_ref()) {
        None => Value::Nil,
        Some(any_value::Value::BoolValue(value)) => Value::Bool(*value),
        Some(any_value::Value::IntValue(value)) => Value::Int(i128::from(*value)),
        Some(any_value::Value::DoubleValue(value)) => Value::Float(*value),
        Some(any_value::Value::StringValue(text)) => Value::Text(text.clone().into_bytes()),
        Some(any_value::Value::BytesValue(bytes)) => Value::Bytes(bytes.clone()),
        Some(any_value::Value::ArrayValue(list)) => {
            Value::List(list.values.iter().map(|value| any_value(Some(value))).collect())
        }
        Some(any_value::Value::KvlistValue(map)) => {
            Value::Map(map.values.iter().map(|pair| (pair.key.clone(), any_value(pair.value.as_ref()))).collect())
        }
        Some(other) => panic!("{other:?} is not generated"),
    }
}

fn inside(value: Value, keys: &[(Literal, std::ops::Range<usize>)]) -> Value {
    keys.iter().fold(value, |value, (key, _)| match (value, key) {
        (Value::Map(pairs), Literal::Text(key)) => {
            pairs.into_iter().find(|(name, _)| name == key).map_or(Value::Nil, |(_, value)| value)
        }
        (Value::List(items), Literal::Int(place)) => items.into_iter().nth(*place as usize).unwrap_or(Value::Nil),
        _ => Value::Nil,
    })
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Nil, Value::Nil) => Some(Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Int(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Float(b)) => (*a as f64).partial_cmp(b),
        (Value::Float(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => a.partial_cmp(b),
        (Value::Id(a) | Value::Bytes(a), Value::Id(b) | Value::Bytes(b)) => a.partial_cmp(b),
        (Value::Id(id), Value::Text(hex)) | (Value::Text(hex), Value::Id(id)) => {
            let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            digits.as_bytes().partial_cmp(hex.as_slice())
        }
        _ => None,
    }
}

fn compare(left: &Value, op: Op, right: &Value) -> bool {
    let order = match (left, right) {
        (Value::List(a), Value::List(b)) => {
            let same = |(a, b): (&Value, &Value)| {
                std::mem::discriminant(a) == std::mem::discriminant(b) && order(a, b) == Some(Ordering::Equal)
            };
            let same = a.len() == b.len() && a.iter().zip(b).all(same);
            return if op == Op::Eq { same } else { op == Op::Ne && !same };
        }
        _ => order(left, right),
    };
    match (op, order) {
        (Op::Ne, order) => order != Some(Ordering::Equal),
        (_, None) => false,
        (Op::Eq, Some(order)) => order == Ordering::Equal,
        (Op::Lt, Some(order)) => order == Ordering::Less,
        (Op::Le, Some(order)) => order != Ordering::Greater,
        (Op::Gt, Some(order)) => order == Ordering::Greater,
        (Op::Ge, Some(order)) => order != Ordering::Less,
    }
}
