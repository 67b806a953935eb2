//! The names of what can be looked at.

use super::{
    Constant, Error, Formula, Number, Op, SpanTest, Subject, Test,
    ast::{Literal, Segment},
    types::{Type, listed},
};
use crate::diagnostic::nearest;

/// What a path names.
#[derive(Clone, Debug, PartialEq)]
pub enum Path {
    /// Of each span, inside a quantifier.
    Span(Subject, Type),
    /// Of the root span, outside.
    Root(Subject, Type),
    /// Of the whole trace, outside.
    Trace(Number, Type),
    /// Whether the whole trace is there: true or false by itself.
    Complete,
}

/// The paths of a span: alone or behind `span.` and `root.`. An attribute takes a key.
const SPAN: [&str; 7] = ["name", "kind", "status.code", "duration", "service", "attributes", "resource.attributes"];
const TRACE: [&str; 7] = ["duration", "span_count", "error_count", "services", "depth", "shape", "complete"];

/// `service` is the resource's attribute of this name.
const SERVICE: &str = "service.name";

/// # Errors
/// An unknown name, a key that is missing or too much.
pub fn resolve(segments: &[Segment<'_>]) -> Result<Path, Error> {
    let (prefix, rest) = match segments {
        [first, rest @ ..]
            if ["span", "root", "trace"].contains(&first.name) && first.keys.is_empty() && !rest.is_empty() =>
        {
            (first.name, rest)
        }
        _ => ("", segments),
    };
    let names: Vec<&str> = rest.iter().map(|segment| segment.name).collect();
    let name = names.join(".");
    if prefix == "trace" {
        let (number, kind) = match name.as_str() {
            "duration" => (Number::Duration, Type::Duration),
            "span_count" => (Number::Spans, Type::Count),
            "error_count" => (Number::Count(Formula::Leaf(failed())), Type::Count),
            "services" => (Number::Services, Type::Count),
            "depth" => (Number::Depth, Type::Count),
            "shape" => (Number::Shape, Type::Shape),
            "complete" => {
                no_key(rest)?;
                return Ok(Path::Complete);
            }
            _ => return Err(unknown(segments)),
        };
        no_key(rest)?;
        return Ok(Path::Trace(number, kind));
    }
    let (subject, kind) = match name.as_str() {
        "name" => (Subject::Name, Type::Text),
        "kind" => (Subject::Kind, Type::Kind),
        "status.code" => (Subject::Status, Type::Status),
        "duration" => (Subject::Duration, Type::Duration),
        "service" => (service(), Type::Text),
        "attributes" => (Subject::Attribute(key(rest)?), Type::Any),
        "resource.attributes" => (Subject::ResourceAttribute(key(rest)?), Type::Any),
        _ => return Err(unknown(segments)),
    };
    if kind != Type::Any {
        no_key(rest)?;
    }
    Ok(if prefix == "root" { Path::Root(subject, kind) } else { Path::Span(subject, kind) })
}

/// `service`.
pub fn service() -> Subject {
    Subject::ResourceAttribute(SERVICE.to_owned())
}

/// `status.code == STATUS_CODE_ERROR`.
fn failed() -> SpanTest {
    SpanTest { subject: Subject::Status, test: Test::Compare(Op::Eq, Constant::Int(2)) }
}

/// The one key of `attributes["key"]`.
fn key(segments: &[Segment<'_>]) -> Result<String, Error> {
    let (Some(last), [.., _]) = (segments.last(), segments) else {
        return Err(Error::new(0..0, "a path has a name"));
    };
    no_key(&segments[..segments.len() - 1])?;
    match last.keys.as_slice() {
        [(Literal::Text(key), _)] => Ok(key.clone()),
        [] => Err(Error::new(last.at.clone(), "`attributes` takes a key").hint("write `attributes[\"key\"]`")),
        [(Literal::Text(_), _), (_, at), ..] => {
            Err(Error::new(at.clone(), "a key inside an attribute is not available yet"))
        }
        [(_, at), ..] => {
            Err(Error::new(at.clone(), "the key of an attribute is text").hint("a key stands in double quotes"))
        }
    }
}

fn no_key(segments: &[Segment<'_>]) -> Result<(), Error> {
    match segments.iter().find_map(|segment| segment.keys.first().map(|(_, at)| (segment.name, at))) {
        Some((name, at)) => Err(Error::new(at.clone(), format!("`{name}` takes no key"))),
        None => Ok(()),
    }
}

fn unknown(segments: &[Segment<'_>]) -> Error {
    let written: Vec<&str> = segments.iter().map(|segment| segment.name).collect();
    let written = written.join(".");
    let at = match segments {
        [first, .., last] => first.at.start..last.at.end,
        [only] => only.at.clone(),
        [] => 0..0,
    };
    let error = Error::new(at, format!("unknown path `{written}`"));
    // `attributes.http.route` is how it looks in other languages.
    if let Some((owner, key)) = written.split_once("attributes.") {
        return error.hint(format!("did you mean `{owner}attributes[\"{key}\"]`?"));
    }
    if ["null", "none", "None", "NULL"].contains(&written.as_str()) {
        return error.hint("what is absent is `nil`");
    }
    let counted = [("trace.spans", "trace.span_count"), ("trace.errors", "trace.error_count")];
    if let Some((_, meant)) = counted.iter().find(|(name, _)| *name == written) {
        return error.hint(format!("did you mean `{meant}`?"));
    }
    let known = known();
    let known = || known.iter().map(String::as_str);
    let nested = |path: &&str| path.strip_prefix(&written).is_some_and(|rest| rest.starts_with('.'));
    if let Some(meant) = nearest(&written, known().chain(["true", "false", "nil"])).or_else(|| known().find(nested)) {
        return error.hint(format!("did you mean `{}`?", with_key(meant)));
    }
    if written.starts_with("trace.") {
        return error.hint(format!(
            "a trace has {}",
            listed(TRACE.map(|path| format!("trace.{path}")).iter().map(String::as_str))
        ));
    }
    let paths = listed(SPAN.map(with_key).iter().map(String::as_str));
    error.hint(format!("a span has {paths}; the root has them behind `root.`"))
}

fn known() -> Vec<String> {
    let span = SPAN.iter().flat_map(|path| ["", "span.", "root."].map(|prefix| format!("{prefix}{path}")));
    span.chain(TRACE.iter().map(|path| format!("trace.{path}"))).collect()
}

fn with_key(path: &str) -> String {
    if path.ends_with("attributes") { format!("{path}[\"…\"]") } else { path.to_owned() }
}
