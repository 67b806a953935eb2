//! The names of what can be looked at.

use std::ops::Range;

use super::{
    Around, Constant, Error, Field, Formula, Number, Op, SpanTest, Subject, Test,
    ast::{Literal, Segment},
    types::{Type, listed, meant as constant},
};
use crate::{decode::Key, diagnostic::nearest};

/// What a path names.
#[derive(Clone, Debug, PartialEq)]
pub enum Path {
    /// Of each span, inside a quantifier.
    Span(Subject, Type),
    /// Of each event of a span, inside `any_event`.
    Event(Subject, Type),
    /// Of each link of a span, inside `any_link`.
    Link(Subject, Type),
    /// Of the root span, outside.
    Root(Subject, Type),
    /// Of the whole trace, outside.
    Trace(Number, Type),
    /// Whether the whole trace is there: true or false by itself.
    Complete,
}

/// The paths of a span: alone or behind `span.` and `root.`. An attribute takes a key.
const SPAN: [&str; 35] = [
    "name",
    "kind",
    "status.code",
    "duration",
    "service",
    "attributes",
    "resource.attributes",
    "status.message",
    "kind.string",
    "start_time_unix_nano",
    "end_time_unix_nano",
    "start_time",
    "end_time",
    "trace_id",
    "trace_id.string",
    "span_id",
    "span_id.string",
    "parent_span_id",
    "parent_span_id.string",
    "trace_state",
    "flags",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
    "resource.schema_url",
    "scope.name",
    "scope.version",
    "scope.attributes",
    "scope.schema_url",
    "instrumentation_scope.name",
    "instrumentation_scope.version",
    "instrumentation_scope.attributes",
    "instrumentation_scope.schema_url",
    "record.topic",
    "record.headers",
];
/// So many of them, the first, are named where no other help is to be had.
const COMMON: usize = 7;
const EVENT: [&str; 5] = ["name", "attributes", "time_unix_nano", "time", "dropped_attributes_count"];
const LINK: [&str; 8] = [
    "attributes",
    "trace_id",
    "trace_id.string",
    "span_id",
    "span_id.string",
    "trace_state",
    "flags",
    "dropped_attributes_count",
];
const TRACE: [&str; 8] = ["duration", "span_count", "bytes", "error_count", "services", "depth", "shape", "complete"];

/// How others write `nil`.
const NILS: [&str; 4] = ["null", "none", "None", "NULL"];

/// `service` is the resource's attribute of this name.
const SERVICE: &str = "service.name";

/// Keys behind each other: deeper values are carried, not looked at.
const KEYS_MAX: usize = 8;

/// What a path names where `item` is the function inside of which it stands, of those that look at events and links.
///
/// # Errors
/// An unknown name, a key that is missing or too much.
pub fn resolve(segments: &[Segment<'_>], item: Option<&str>) -> Result<Path, Error> {
    let prefixes = ["span", "spanevent", "root", "trace"];
    let (prefix, rest) = match segments {
        [first, rest @ ..] if prefixes.contains(&first.name) && first.keys.is_empty() && !rest.is_empty() => {
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
            "bytes" => (Number::Bytes, Type::Count),
            "error_count" => (Number::Count(Formula::Leaf(failed())), Type::Count),
            "services" => (Number::Services, Type::Count),
            "depth" => (Number::Depth, Type::Count),
            "shape" => (Number::Shape, Type::Shape),
            "complete" => {
                no_key(rest)?;
                return Ok(Path::Complete);
            }
            _ => return Err(unknown(segments, item)),
        };
        no_key(rest)?;
        return Ok(Path::Trace(number, kind));
    }
    // What an event or a link does not have may be its span's, and then that is the mistake, unless it says so.
    match (prefix, item) {
        ("spanevent", _) | ("", Some("any_event")) => {
            if let Some((subject, kind)) = of_event(&name, rest)? {
                return Ok(Path::Event(subject, kind));
            }
        }
        ("", Some(_)) => {
            if let Some((subject, kind)) = of_link(&name, rest)? {
                return Ok(Path::Link(subject, kind));
            }
        }
        _ => {}
    }
    match of_span(&name, rest)? {
        Some((subject, kind)) if prefix == "root" => Ok(Path::Root(subject, kind)),
        Some((subject, kind)) if prefix == "span" || prefix.is_empty() && subject.is_of_span_alone() => {
            Ok(of_its_span(subject, kind, item))
        }
        Some((subject, kind)) if prefix != "spanevent" => Ok(Path::Span(subject, kind)),
        _ => Err(unknown(segments, item)),
    }
}

/// What says that it is of a span: the one at hand, or that of the event or the link.
pub fn of_its_span(subject: Subject, kind: Type, item: Option<&str>) -> Path {
    let of_span = |subject| Subject::OfSpan(Box::new(subject));
    match item {
        Some("any_event") => Path::Event(of_span(subject), kind),
        Some(_) => Path::Link(of_span(subject), kind),
        None => Path::Span(subject, kind),
    }
}

fn of_span(name: &str, segments: &[Segment<'_>]) -> Result<Option<(Subject, Type)>, Error> {
    let name = name.strip_prefix("instrumentation_").filter(|name| name.starts_with("scope.")).unwrap_or(name);
    let around = |around| (Subject::Around(around), Type::Text);
    let (subject, kind) = match name {
        "name" => (Subject::Name, Type::Text),
        "kind" => (Subject::Kind, Type::Kind),
        "status.code" => (Subject::Status, Type::Status),
        "duration" => (Subject::Duration, Type::Duration),
        "service" => (service(), Type::Text),
        "resource.schema_url" => around(Around::ResourceSchemaUrl),
        "scope.name" => around(Around::ScopeName),
        "scope.version" => around(Around::ScopeVersion),
        "scope.schema_url" => around(Around::ScopeSchemaUrl),
        "attributes" => return attribute(segments, Subject::Attribute).map(Some),
        "resource.attributes" => return attribute(segments, Subject::ResourceAttribute).map(Some),
        "scope.attributes" => {
            return attribute(segments, |key| Subject::Around(Around::ScopeAttribute(key))).map(Some);
        }
        "trace_state" => return trace_state(segments).map(Some),
        "record.headers" => return header(segments).map(Some),
        _ => {
            let (field, kind) = match name {
                "status.message" => (Field::StatusMessage, Type::Text),
                "kind.string" => (Field::KindText, Type::Text),
                "start_time_unix_nano" => (Field::Start, Type::Int),
                "end_time_unix_nano" => (Field::End, Type::Int),
                "start_time" => (Field::Start, Type::Time),
                "end_time" => (Field::End, Type::Time),
                "trace_id" => (Field::TraceId, Type::TraceId),
                "trace_id.string" => (Field::TraceIdText, Type::Text),
                "span_id" => (Field::SpanId, Type::SpanId),
                "span_id.string" => (Field::SpanIdText, Type::Text),
                "parent_span_id" => (Field::ParentId, Type::SpanId),
                "parent_span_id.string" => (Field::ParentIdText, Type::Text),
                "flags" => (Field::Flags, Type::Int),
                "dropped_attributes_count" => (Field::DroppedAttributes, Type::Int),
                "dropped_events_count" => (Field::DroppedEvents, Type::Int),
                "dropped_links_count" => (Field::DroppedLinks, Type::Int),
                "record.topic" => (Field::Topic, Type::Text),
                _ => return Ok(None),
            };
            (Subject::Field(field), kind)
        }
    };
    no_key(segments)?;
    Ok(Some((subject, kind)))
}

/// `service`.
pub fn service() -> Subject {
    Subject::ResourceAttribute(SERVICE.to_owned())
}

/// `status.code == STATUS_CODE_ERROR`.
fn failed() -> SpanTest {
    SpanTest { subject: Subject::Status, test: Test::Compare(Op::Eq, Constant::Int(2)) }
}

fn of_event(name: &str, segments: &[Segment<'_>]) -> Result<Option<(Subject, Type)>, Error> {
    let (subject, kind) = match name {
        "name" => (Subject::Name, Type::Text),
        "attributes" => return attribute(segments, Subject::Attribute).map(Some),
        "time_unix_nano" => (Subject::Field(Field::Time), Type::Int),
        "time" => (Subject::Field(Field::Time), Type::Time),
        "dropped_attributes_count" => (Subject::Field(Field::DroppedAttributes), Type::Int),
        _ => return Ok(None),
    };
    no_key(segments)?;
    Ok(Some((subject, kind)))
}

fn of_link(name: &str, segments: &[Segment<'_>]) -> Result<Option<(Subject, Type)>, Error> {
    if LINK.contains(&name) { of_span(name, segments) } else { Ok(None) }
}

/// `attributes["key"]`, and what is inside of its value.
fn attribute(segments: &[Segment<'_>], subject: impl Fn(String) -> Subject) -> Result<(Subject, Type), Error> {
    let (Some(last), [.., _]) = (segments.last(), segments) else {
        return Err(Error::new(0..0, "a path has a name"));
    };
    no_key(&segments[..segments.len() - 1])?;
    match last.keys.as_slice() {
        [(Literal::Text(key), _)] => Ok((subject(key.clone()), Type::Any)),
        [] => Err(Error::new(last.at.clone(), "`attributes` takes a key").hint("write `attributes[\"key\"]`")),
        [(Literal::Text(key), _), inner @ ..] => {
            Ok((Subject::Inside(Box::new(subject(key.clone())), keys(inner)?), Type::Any))
        }
        [(_, at), ..] => {
            Err(Error::new(at.clone(), "the key of an attribute is text").hint("a key stands in double quotes"))
        }
    }
}

/// Keys of maps and places in lists.
///
/// # Errors
/// What is neither, and too many of them.
pub fn keys(written: &[(Literal, Range<usize>)]) -> Result<Vec<Key>, Error> {
    if let Some((_, at)) = written.get(KEYS_MAX) {
        return Err(Error::new(at.clone(), format!("more than {KEYS_MAX} keys behind each other")));
    }
    let key = |(key, at): &(Literal, Range<usize>)| match key {
        Literal::Text(name) => Ok(Key::Name(name.clone())),
        Literal::Int(place) => u32::try_from(*place)
            .map(Key::Place)
            .map_err(|_| Error::new(at.clone(), format!("`{place}` is no place in a list")).hint("the first is `[0]`")),
        _ => Err(Error::new(at.clone(), "a key is text, or a place in a list").hint("write `[\"key\"]` or `[0]`")),
    };
    written.iter().map(key).collect()
}

fn trace_state(segments: &[Segment<'_>]) -> Result<(Subject, Type), Error> {
    let field = match segments {
        [Segment { keys, .. }] => match keys.as_slice() {
            [] => Field::TraceState,
            [(Literal::Text(key), _)] => Field::TraceStateEntry(key.clone()),
            [(_, at)] | [_, (_, at), ..] => {
                return Err(Error::new(at.clone(), "`trace_state` takes one key, a text")
                    .hint("write `trace_state[\"vendor\"]`"));
            }
        },
        _ => return Err(Error::new(0..0, "a path has a name")),
    };
    Ok((Subject::Field(field), Type::Text))
}

/// `record.headers["key"]`.
fn header(segments: &[Segment<'_>]) -> Result<(Subject, Type), Error> {
    let (Some(last), [before @ .., _]) = (segments.last(), segments) else {
        return Err(Error::new(0..0, "a path has a name"));
    };
    no_key(before)?;
    match last.keys.as_slice() {
        [(Literal::Text(key), _)] => Ok((Subject::Field(Field::Header(key.clone())), Type::Text)),
        [] => Err(Error::new(last.at.clone(), "`headers` takes a key").hint("write `record.headers[\"key\"]`")),
        [(_, at)] | [_, (_, at), ..] => {
            Err(Error::new(at.clone(), "`headers` takes one key, a text").hint("write `record.headers[\"key\"]`"))
        }
    }
}

fn no_key(segments: &[Segment<'_>]) -> Result<(), Error> {
    match segments.iter().find_map(|segment| segment.keys.first().map(|(_, at)| (segment.name, at))) {
        Some((name, at)) => Err(Error::new(at.clone(), format!("`{name}` takes no key"))),
        None => Ok(()),
    }
}

fn unknown(segments: &[Segment<'_>], item: Option<&str>) -> Error {
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
    if NILS.contains(&written.as_str()) {
        return error.hint("what is absent is `nil`");
    }
    if let (false, Some(meant)) = (written.contains('.'), constant(&written)) {
        return error.hint(format!("did you mean `{meant}`?"));
    }
    let counted = [("trace.spans", "trace.span_count"), ("trace.errors", "trace.error_count")];
    if let Some((_, meant)) = counted.iter().find(|(name, _)| *name == written) {
        return error.hint(format!("did you mean `{meant}`?"));
    }
    let known = known(item);
    let known = || known.iter().map(String::as_str);
    let nested = |path: &&str| path.strip_prefix(&written).is_some_and(|rest| rest.starts_with('.'));
    let field = |path: &&str| written.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    if let Some(meant) = known().find(nested).or_else(|| known().find(field)) {
        return error.hint(format!("did you mean `{}`?", with_key(meant)));
    }
    // No path begins as `http.route` does, so it is a key.
    let owner = ["root.", "span."].into_iter().find(|owner| written.starts_with(owner)).unwrap_or_default();
    let key = &written[owner.len()..];
    if let (Some((first, _)), None) = (key.split_once('.'), item) {
        let begins = || known().filter_map(|path| path.split('.').next());
        if first != "event" && nearest(first, begins()).is_none() {
            return error.hint(format!("did you mean `{owner}attributes[\"{key}\"]`?"));
        }
    }
    if let Some(meant) = nearest(&written, known().chain(["true", "false", "nil"])) {
        return error.hint(format!("did you mean `{}`?", with_key(meant)));
    }
    if written.starts_with("trace.") {
        return error.hint(format!(
            "a trace has {}",
            listed(TRACE.map(|path| format!("trace.{path}")).iter().map(String::as_str))
        ));
    }
    if let Some((owner, key)) = key.strip_prefix("resource.").map(|key| (owner, key)) {
        return error.hint(format!("did you mean `{owner}resource.attributes[\"{key}\"]`?"));
    }
    let shown =
        |paths: &[&str]| listed(paths.iter().map(|path| with_key(path)).collect::<Vec<_>>().iter().map(String::as_str));
    match item {
        Some("any_event") => error.hint(format!("an event has {}; its span is behind `span.`", shown(&EVENT))),
        Some(_) => error.hint(format!("a link has {}; its span is behind `span.`", shown(&LINK))),
        None => error.hint(format!(
            "a span has {} and more, which docs/conditions.md lists; the root has them behind `root.`",
            shown(&SPAN[..COMMON])
        )),
    }
}

/// Whether a word alone is not nearly a name of anything: it may be text without its quotes.
pub fn is_foreign(word: &str) -> bool {
    let known = known(None);
    let mut known = known.iter().map(String::as_str).chain(["true", "false", "nil"]);
    !NILS.contains(&word)
        && constant(word).is_none()
        && nearest(word, known.clone()).is_none()
        && !known.any(|path| path.split('.').any(|part| part == word))
}

fn known(item: Option<&str>) -> Vec<String> {
    let prefixed = |paths: &[&str], prefixes: &[&str]| {
        let paths = paths.iter().flat_map(|path| prefixes.iter().map(move |prefix| format!("{prefix}{path}")));
        paths.collect::<Vec<_>>()
    };
    let inside = match item {
        Some("any_event") => prefixed(&EVENT, &["", "spanevent."]),
        Some(_) => prefixed(&LINK, &[""]),
        None => prefixed(&EVENT, &["spanevent."]),
    };
    let span = prefixed(&SPAN, &["", "span.", "root."]);
    inside.into_iter().chain(span).chain(prefixed(&TRACE, &["trace."])).collect()
}

/// Of all paths.
#[cfg(test)]
pub fn names() -> impl Iterator<Item = &'static str> {
    SPAN.into_iter().chain(EVENT).chain(LINK)
}

fn with_key(path: &str) -> String {
    if path.ends_with("attributes") || path.ends_with("headers") { format!("{path}[\"…\"]") } else { path.to_owned() }
}
