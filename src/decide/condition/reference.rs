//! The language a second time, as simply as it can be said: a walk over the tree and all spans. The compiled evaluator
//! is held against it.

use std::{cmp::Ordering, ops::Range};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::Span,
};

use super::{
    Op,
    ast::{Expr, ExprKind, Literal, Segment},
    parse::parse,
};

/// A trace as it is when all has been seen.
pub struct Trace<'a> {
    pub spans: &'a [(Span, Resource)],
    pub root: Option<usize>,
}

/// Whether a condition holds. It must be one that the checker accepts.
pub fn holds(condition: &str, trace: &Trace<'_>) -> bool {
    let tree = parse(condition).expect("a condition that parses");
    is_true(&tree, trace, None)
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
        _ => part(&expr.at),
    }
}

#[derive(Clone, Debug)]
enum Value {
    Nil,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Vec<u8>),
    /// Compares with nothing: bytes, lists, maps.
    Other,
}

type At<'a> = Option<&'a (Span, Resource)>;

fn is_true(expr: &Expr<'_>, trace: &Trace<'_>, span: At<'_>) -> bool {
    match &expr.kind {
        ExprKind::And(parts) => parts.iter().all(|part| is_true(part, trace, span)),
        ExprKind::Or(parts) => parts.iter().any(|part| is_true(part, trace, span)),
        ExprKind::Not(inner) => !is_true(inner, trace, span),
        ExprKind::Compare { op, sides } => {
            let [left, right] = sides.each_ref().map(|side| value(side, trace, span));
            compare(&left, *op, &right)
        }
        _ => match value(expr, trace, span) {
            Value::Bool(value) => value,
            other => panic!("{other:?} is no condition"),
        },
    }
}

fn value(expr: &Expr<'_>, trace: &Trace<'_>, span: At<'_>) -> Value {
    match &expr.kind {
        ExprKind::Literal(literal) => match literal {
            Literal::Nil => Value::Nil,
            Literal::Bool(value) => Value::Bool(*value),
            Literal::Int(value) => Value::Int(i128::from(*value)),
            Literal::Float(value) => Value::Float(*value),
            Literal::Text(text) => Value::Text(text.clone().into_bytes()),
            Literal::Duration(ns) => Value::Int(i128::from(*ns)),
        },
        ExprKind::Path(segments) => path(segments, trace, span),
        ExprKind::Call { name, args } => {
            let such = || trace.spans.iter().filter(|span| is_true(&args[0], trace, Some(span))).count();
            match *name {
                "any" => Value::Bool(such() > 0),
                "all" => Value::Bool(such() == trace.spans.len()),
                "none" => Value::Bool(such() == 0),
                "count" => Value::Int(such() as i128),
                "siblings" => {
                    let marked = trace.spans.iter().filter(|span| is_true(&args[0], trace, Some(span)));
                    let marked = marked.filter(|(span, _)| !span.parent_span_id.is_empty());
                    let mut calls = std::collections::BTreeMap::<_, i128>::new();
                    for (span, resource) in marked {
                        *calls.entry((&span.parent_span_id, service(resource), &span.name)).or_default() += 1;
                    }
                    Value::Int(calls.into_values().max().unwrap_or(0))
                }
                "child_of" | "descendant_of" => Value::Bool(trace.spans.iter().any(|below| {
                    let mut above = callers(below, trace);
                    let above = if *name == "child_of" {
                        above.next().into_iter().collect()
                    } else {
                        above.collect::<Vec<_>>()
                    };
                    is_true(&args[0], trace, Some(below))
                        && above.iter().any(|above| is_true(&args[1], trace, Some(above)))
                })),
                "calls" => {
                    let [caller, callee] = [0, 1].map(|at| value(&args[at], trace, span));
                    let is = |of: &(Span, Resource), name: &Value| compare(&service_of(&of.1), Op::Eq, name);
                    let called =
                        |below: &(Span, Resource)| callers(below, trace).next().is_some_and(|above| is(above, &caller));
                    Value::Bool(trace.spans.iter().any(|below| is(below, &callee) && called(below)))
                }
                "IsMatch" => {
                    let text = match value(&args[0], trace, span) {
                        Value::Nil | Value::Other => return Value::Bool(false),
                        Value::Float(value) if value.is_nan() => return Value::Bool(false),
                        Value::Bool(value) => value.to_string().into_bytes(),
                        Value::Int(value) => value.to_string().into_bytes(),
                        Value::Float(value) => value.to_string().into_bytes(),
                        Value::Text(text) => text,
                    };
                    let ExprKind::Literal(Literal::Text(pattern)) = &args[1].kind else { panic!("a pattern is text") };
                    Value::Bool(regex::bytes::Regex::new(pattern).expect("a good pattern").is_match(&text))
                }
                name => panic!("unknown function {name}"),
            }
        }
        _ => Value::Bool(is_true(expr, trace, span)),
    }
}

fn path(segments: &[Segment<'_>], trace: &Trace<'_>, span: At<'_>) -> Value {
    let key = segments.last().and_then(|last| last.keys.first()).map(|(key, _)| match key {
        Literal::Text(key) => key.as_str(),
        other => panic!("{other:?} is no key"),
    });
    let names: Vec<&str> = segments.iter().map(|segment| segment.name).collect();
    let (names, span) = match names.as_slice() {
        ["trace", "duration"] => {
            let start = trace.spans.iter().map(|(span, _)| span.start_time_unix_nano).min().unwrap_or(0);
            let end = trace.spans.iter().map(|(span, _)| span.end_time_unix_nano).max().unwrap_or(0);
            return Value::Int(i128::from(end.saturating_sub(start)));
        }
        ["STATUS_CODE_UNSET"] => return Value::Int(0),
        ["STATUS_CODE_ERROR" | "SPAN_KIND_SERVER"] => return Value::Int(2),
        ["trace", "span_count"] => return Value::Int(trace.spans.len() as i128),
        ["trace", "error_count"] => {
            let failed = |(span, _): &&(Span, Resource)| span.status.as_ref().is_some_and(|status| status.code == 2);
            return Value::Int(trace.spans.iter().filter(failed).count() as i128);
        }
        ["trace", "services"] => {
            let services = trace.spans.iter().filter_map(|(_, resource)| service(resource));
            return Value::Int(services.collect::<std::collections::BTreeSet<_>>().len() as i128);
        }
        ["trace", "depth"] => {
            let depths = trace.spans.iter().map(|span| callers(span, trace).count() + 1);
            return Value::Int(depths.max().unwrap_or(0) as i128);
        }
        // No trace of a few spans has the one asked for.
        ["trace", "shape"] => return Value::Other,
        ["trace", "complete"] => {
            let is_there = |id: &Vec<u8>| id.is_empty() || trace.spans.iter().any(|(span, _)| span.span_id == *id);
            return Value::Bool(trace.spans.iter().all(|(span, _)| is_there(&span.parent_span_id)));
        }
        ["root", names @ ..] => (names, trace.root.map(|root| &trace.spans[root])),
        ["span", names @ ..] | names => (names, span),
    };
    let Some((span, resource)) = span else { return Value::Nil };
    let attribute = |attributes: &[KeyValue], key: &str| {
        let found = attributes.iter().find(|attribute| attribute.key == key);
        any_value(found.and_then(|attribute| attribute.value.as_ref()))
    };
    match names {
        ["name"] => Value::Text(span.name.clone().into_bytes()),
        ["kind"] => Value::Int(i128::from(span.kind)),
        ["status", "code"] => Value::Int(span.status.as_ref().map_or(0, |status| i128::from(status.code))),
        ["duration"] => Value::Int(i128::from(span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano))),
        ["service"] => attribute(&resource.attributes, "service.name"),
        ["attributes"] => attribute(&span.attributes, key.expect("a key")),
        ["resource", "attributes"] => attribute(&resource.attributes, key.expect("a key")),
        other => panic!("unknown path {other:?}"),
    }
}

/// Who called a span, and who called that one, up to the top.
fn callers<'a>(span: &'a (Span, Resource), trace: &'a Trace<'_>) -> impl Iterator<Item = &'a (Span, Resource)> {
    let caller = |span: &(Span, Resource)| trace.spans.iter().find(|(other, _)| other.span_id == span.0.parent_span_id);
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
        Some(_) => Value::Other,
    }
}

fn compare(left: &Value, op: Op, right: &Value) -> bool {
    let order = match (left, right) {
        (Value::Nil, Value::Nil) => Some(Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Int(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Float(b)) => (*a as f64).partial_cmp(b),
        (Value::Float(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => a.partial_cmp(b),
        _ => None,
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
