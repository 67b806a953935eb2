//! A trace as a person writes it: YAML into the bytes that a producer would send.

use std::path::Path;

use prost::Message;

use crate::{
    decide::condition,
    diagnostic::{Diagnostics, Location, nearest},
    generate::otlp::{
        AnyValue, ArrayValue, Code, Event, KeyValue, KeyValueList, Kind as SpanKind, Link, Resource, ResourceSpans,
        Scope, ScopeSpans, Span, Status, TracesData, Value,
    },
    limits,
    model::{Randomness, TraceId},
    recording::{Header, Reader, Record},
    yaml::{Fields, Kind, Node},
};

/// The spans of one trace, by record; the value of each is still to be made of them.
#[derive(Clone, Debug)]
pub struct Trace(Vec<(Record, TracesData)>);

/// A span as written, before it is known what it is a child of.
struct Written {
    span: Span,
    resource: Option<Resource>,
    scope: Option<Scope>,
    parent: Option<(String, Location)>,
    root: Option<bool>,
    repeat: u64,
}

/// What the trace begins at: a span without a time has not ended.
const EPOCH_NS: u64 = 946_684_800_000_000_000;
const MILLISECOND: u64 = 1_000_000;
/// Spans of one trace, repeated ones counted: larger ones are for benchmarks.
const SPANS: usize = 10_000;
/// Of the trace, but for the randomness.
const TRACE: [u8; 16] = *b"test\0\0\0\0\0\0\0\0\0\0\0\0";
/// Of parents that never come.
const ABSENT: u64 = 1 << 63;

const SPAN: &str = "write `trace: [ { name: POST /pay, service: checkout, status: error } ]`";

/// Reads a list of spans, which came in one record.
pub fn read(node: &Node, record: Record, diagnostics: &mut Diagnostics) -> Option<Trace> {
    let before = diagnostics.0.len();
    let nodes = node.as_seq("`trace`", diagnostics)?;
    if nodes.is_empty() {
        diagnostics.error(&node.at, "a trace has at least one span").hint(SPAN);
        return None;
    }
    let written: Vec<Written> = nodes.iter().filter_map(|node| span(node, diagnostics)).collect();
    let spans = written.iter().map(|span| span.repeat as usize).sum::<usize>();
    if spans > SPANS {
        diagnostics.error(&node.at, format!("a trace of {spans} spans")).hint(format!("at most {SPANS}"));
    }
    if diagnostics.0.len() > before {
        return None;
    }
    let trace = join(written, diagnostics)?;
    if trace.encoded_len() > limits::RECORD_BYTES {
        diagnostics.error(&node.at, "more bytes than a record may have");
        return None;
    }
    Some(Trace(vec![(record, trace)]))
}

/// Reads what stands beside a record's value: `{ topic: spans-eu, headers: { tenant: acme } }`.
pub fn beside(node: &Node, d: &mut Diagnostics) -> Option<Record> {
    let before = d.0.len();
    let mut fields = Fields::of(node, "`record`", d)?;
    let topic = fields.take("topic").map_or(Some(""), |node| node.as_str("`topic`", d));
    let headers = fields.take("headers").map_or(Some(Vec::new()), |node| headers(node, d));
    fields.finish(d);
    let (topic, headers) = (topic?.to_owned(), headers?);
    (d.0.len() == before).then_some(Record { topic, headers, ..Record::default() })
}

/// Text; nothing is a header without a value.
fn headers(node: &Node, d: &mut Diagnostics) -> Option<Vec<Header>> {
    let Kind::Map(entries) = &node.kind else {
        d.error(&node.at, format!("`headers` must be a mapping, not {}", node.noun())).hint("write `{ tenant: acme }`");
        return None;
    };
    let header = |(key, node): &(Node, Node)| {
        let value = if node.is_null() { None } else { Some(node.as_str("a header", d)?.as_bytes().to_vec()) };
        Some(Header { key: key.text().to_owned(), value })
    };
    // Every value names its mistake.
    let headers: Vec<Option<Header>> = entries.iter().map(header).collect();
    headers.into_iter().collect()
}

/// Takes a trace out of a recording: the one of this id, or the only one.
pub fn recorded(path: &Path, id: Option<TraceId>) -> Result<Trace, String> {
    let (mut found, mut records, mut bytes) = (id, Vec::new(), 0);
    for record in Reader::open(path).map_err(|error| error.to_string())? {
        let mut record = record.map_err(|error| error.to_string())?;
        // What the processor would not take either.
        let Ok(mut data) = TracesData::decode(&*record.value.take().unwrap_or_default()) else { continue };
        for scope in data.resource_spans.iter_mut().flat_map(|of| &mut of.scope_spans) {
            for span in &scope.spans {
                match (TraceId::new(&span.trace_id), found) {
                    (Some(other), Some(known)) if other != known && id.is_none() => {
                        return Err(format!("{} holds several traces; write `trace_id: {known}`", path.display()));
                    }
                    (Some(first), None) => found = Some(first),
                    _ => {}
                }
            }
            scope.spans.retain(|span| found.is_some_and(|found| span.trace_id == found.0));
        }
        data.resource_spans.retain_mut(|of| {
            of.scope_spans.retain(|of| !of.spans.is_empty());
            !of.scope_spans.is_empty()
        });
        if !data.resource_spans.is_empty() {
            bytes += data.encoded_len();
            records.push((record, data));
        }
        if bytes > limits::RECORD_BYTES {
            return Err(format!("the trace in {} has more bytes than a record may have", path.display()));
        }
    }
    match (records.is_empty(), id) {
        (false, _) => Ok(Trace(records)),
        (true, Some(id)) => Err(format!("{} holds no span of the trace {id}", path.display())),
        (true, None) => Err(format!("{} holds no span", path.display())),
    }
}

/// Gives the spans ids and parents: the first is the root, and the others are its children where they do not say otherwise.
fn join(written: Vec<Written>, diagnostics: &mut Diagnostics) -> Option<TracesData> {
    let names: Vec<String> = written.iter().map(|written| written.span.name.clone()).collect();
    // The id of the first copy of each.
    let ids: Vec<u64> = written
        .iter()
        .scan(1, |next, written| {
            let id = *next;
            *next += written.repeat;
            Some(id)
        })
        .collect();
    let common = written.first().and_then(|first| first.resource.clone());
    let before = diagnostics.0.len();
    let mut resource_spans = Vec::new();
    for (at, written) in written.into_iter().enumerate() {
        let parent = match (&written.parent, written.root) {
            (Some((name, place)), _) => parent(name, place, at, &names, diagnostics).map(|at| ids[at]),
            (None, Some(false)) if at == 0 => Some(ABSENT),
            (None, Some(true)) => None,
            (None, _) if at == 0 => None,
            (None, _) => Some(ids[0]),
        };
        let parent_span_id = parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default();
        let resource = written.resource.or_else(|| common.clone());
        let span = Span { trace_id: TRACE.to_vec(), parent_span_id, ..written.span };
        let spans = (ids[at]..ids[at] + written.repeat)
            .map(|id| Span { span_id: id.to_be_bytes().to_vec(), ..span.clone() })
            .collect();
        let scope_spans = vec![ScopeSpans { scope: written.scope, spans, ..ScopeSpans::default() }];
        resource_spans.push(ResourceSpans { resource, scope_spans, ..ResourceSpans::default() });
    }
    (diagnostics.0.len() == before).then_some(TracesData { resource_spans })
}

/// Which span a name is of: of several the last one before, else the first one behind.
fn parent(name: &str, place: &Location, at: usize, names: &[String], diagnostics: &mut Diagnostics) -> Option<usize> {
    let is = |other: &usize| *other != at && names[*other] == name;
    let found = (0..at).rev().find(is).or_else(|| (at..names.len()).find(is));
    if found.is_none() {
        let error = diagnostics.error(place, format!("no other span is named `{name}`"));
        match nearest(name, names.iter().enumerate().filter(|(of, _)| *of != at).map(|(_, name)| name.as_str())) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error.hint("`parent` is the name of a span of the trace; `root: false` says that it never comes"),
        };
    }
    found
}

fn span(node: &Node, d: &mut Diagnostics) -> Option<Written> {
    let before = d.0.len();
    let mut fields = Fields::of(node, "a span", d)?;
    let name = fields.take("name").map_or(Some(""), |node| node.as_str("`name`", d));
    let service = fields.take("service").and_then(|node| node.as_str("`service`", d));
    let kind = fields.take("kind").map_or(Some(SpanKind::Internal), |node| kind(node, d));
    let status = fields.take("status").map_or(Some(None), |node| status(node, d).map(Some));
    let start = fields.take("start").map_or(Some(0), |node| time(node, "`start`", d));
    let duration = fields.take("duration").map_or(Some(MILLISECOND), |node| time(node, "`duration`", d));
    let parent = fields.take("parent").and_then(|node| Some((node.as_str("`parent`", d)?.to_owned(), node.at.clone())));
    let root = fields.take("root").and_then(|node| node.as_bool("`root`", d));
    let repeat = fields.take("repeat").map_or(Some(1), |node| node.as_u64("`repeat`", d));
    let resource = fields.take("resource").map(|node| attributes(node, "`resource`", d));
    let attributes = attributes_of(&mut fields, d);
    let scope = fields.take("scope").map(|node| scope(node, d));
    let start_ns = EPOCH_NS.saturating_add(start.unwrap_or(0));
    let events = fields
        .take("events")
        .map_or(Some(Vec::new()), |node| list(node, "`events`", d, |node, d| event(node, start_ns, d)));
    let links = fields.take("links").map_or(Some(Vec::new()), |node| list(node, "`links`", d, link));
    fields.finish(d);
    if let (Some((_, at)), Some(_)) = (&parent, root) {
        d.error(at, "`parent` and `root` say the same of a span").hint("write one of them");
    }
    let resource = match (service, resource) {
        (None, None) => None,
        (service, resource) => {
            let service = service.map(|service| KeyValue::new("service.name", service));
            let attributes = service.into_iter().chain(resource.flatten().into_iter().flatten()).collect();
            Some(Resource { attributes, ..Resource::default() })
        }
    };
    let span = Span {
        name: name?.to_owned(),
        kind: kind? as i32,
        start_time_unix_nano: start_ns,
        end_time_unix_nano: start_ns.saturating_add(duration?),
        attributes: attributes?,
        events: events?,
        links: links?,
        status: status?,
        ..Span::default()
    };
    if !(1..=SPANS as u64).contains(&repeat?) {
        d.error(&node.at, format!("`repeat` must be from 1 to {SPANS}"));
    }
    (d.0.len() == before).then_some(Written { span, resource, scope: scope.flatten(), parent, root, repeat: repeat? })
}

fn kind(node: &Node, d: &mut Diagnostics) -> Option<SpanKind> {
    const KINDS: [(&str, SpanKind); 6] = [
        ("internal", SpanKind::Internal),
        ("server", SpanKind::Server),
        ("client", SpanKind::Client),
        ("producer", SpanKind::Producer),
        ("consumer", SpanKind::Consumer),
        ("unspecified", SpanKind::Unspecified),
    ];
    choice(node, "`kind`", "SPAN_KIND_", &KINDS, d)
}

/// `error`, or `{ code: error, message: out of stock }`.
fn status(node: &Node, d: &mut Diagnostics) -> Option<Status> {
    const CODES: [(&str, Code); 3] = [("ok", Code::Ok), ("error", Code::Error), ("unset", Code::Unset)];
    let (code, message) = match &node.kind {
        Kind::Map(_) => {
            let mut fields = Fields::of(node, "`status`", d)?;
            let code = fields.require("code", "write `status: error`", d);
            let code = code.and_then(|node| choice(node, "`code`", "STATUS_CODE_", &CODES, d));
            let message = fields.take("message").map_or(Some(""), |node| node.as_str("`message`", d));
            fields.finish(d);
            (code, message)
        }
        _ => (choice(node, "`status`", "STATUS_CODE_", &CODES, d), Some("")),
    };
    Some(Status { message: message?.to_owned(), code: code? as i32 })
}

/// One of several words, as conditions write them or without their prefix.
fn choice<T: Copy>(node: &Node, what: &str, prefix: &str, words: &[(&str, T)], d: &mut Diagnostics) -> Option<T> {
    let text = node.as_str(what, d)?;
    let word = text.strip_prefix(prefix).map_or_else(|| text.to_owned(), str::to_ascii_lowercase);
    let found = words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
    if found.is_none() {
        let words = words.iter().map(|(word, _)| *word).collect::<Vec<_>>();
        let error = d.error(&node.at, format!("{what}: unknown `{text}`"));
        match nearest(&word, words.iter().copied()) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error.hint(format!("one of {}", words.join(", "))),
        };
    }
    found
}

/// Nanoseconds.
fn time(node: &Node, what: &str, d: &mut Diagnostics) -> Option<u64> {
    let text = node.as_str(what, d)?;
    match condition::duration(text, &(0..text.len())) {
        Ok(ns) if ns < u64::MAX - EPOCH_NS => Some(ns),
        Ok(_) => {
            d.error(&node.at, format!("{what}: `{text}` is too long"));
            None
        }
        Err(error) => {
            let hint = error.hint.unwrap_or_default();
            d.error(&node.at, format!("{what}: {}", error.message)).hint(hint);
            None
        }
    }
}

/// Reads every item, and names the mistakes of all.
fn list<T>(
    node: &Node,
    what: &str,
    d: &mut Diagnostics,
    mut read: impl FnMut(&Node, &mut Diagnostics) -> Option<T>,
) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = node.as_seq(what, d)?.iter().map(|node| read(node, d)).collect();
    items.into_iter().collect()
}

/// A name alone, or `{ name, time, attributes }`.
fn event(node: &Node, start_ns: u64, d: &mut Diagnostics) -> Option<Event> {
    if let Kind::Scalar { .. } = node.kind {
        let name = node.as_str("an event", d)?.to_owned();
        return Some(Event { name, time_unix_nano: start_ns, ..Event::default() });
    }
    let mut fields = Fields::of(node, "an event", d)?;
    let name = fields.take("name").map_or(Some(""), |node| node.as_str("`name`", d));
    let time = fields.take("time").map_or(Some(start_ns), |node| Some(EPOCH_NS + time(node, "`time`", d)?));
    let attributes = attributes_of(&mut fields, d);
    fields.finish(d);
    Some(Event { name: name?.to_owned(), time_unix_nano: time?, attributes: attributes?, ..Event::default() })
}

/// To a span of another trace.
fn link(node: &Node, d: &mut Diagnostics) -> Option<Link> {
    let mut fields = Fields::of(node, "a link", d)?;
    let trace_id = fields.take("trace_id").map_or(Some(vec![1; 16]), |node| hex(node, "`trace_id`", 16, d));
    let span_id = fields.take("span_id").map_or(Some(vec![1; 8]), |node| hex(node, "`span_id`", 8, d));
    let attributes = attributes_of(&mut fields, d);
    fields.finish(d);
    Some(Link { trace_id: trace_id?, span_id: span_id?, attributes: attributes?, ..Link::default() })
}

fn hex(node: &Node, what: &str, bytes: usize, d: &mut Diagnostics) -> Option<Vec<u8>> {
    let text = node.as_str(what, d)?;
    let pairs = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    let id = pairs.collect::<Option<Vec<u8>>>().filter(|id| id.len() == bytes && text.len() == 2 * bytes);
    if id.is_none() {
        d.error(&node.at, format!("{what} must be {} hex digits", 2 * bytes));
    }
    id
}

/// A name alone, or `{ name, version, attributes }`.
fn scope(node: &Node, d: &mut Diagnostics) -> Option<Scope> {
    if let Kind::Scalar { .. } = node.kind {
        return Some(Scope { name: node.as_str("`scope`", d)?.to_owned(), ..Scope::default() });
    }
    let mut fields = Fields::of(node, "`scope`", d)?;
    let name = fields.take("name").map_or(Some(""), |node| node.as_str("`name`", d));
    let version = fields.take("version").map_or(Some(""), |node| node.as_str("`version`", d));
    let attributes = attributes_of(&mut fields, d);
    fields.finish(d);
    Some(Scope { name: name?.to_owned(), version: version?.to_owned(), attributes: attributes?, ..Scope::default() })
}

/// None of a field that is not there.
fn attributes_of(fields: &mut Fields<'_>, d: &mut Diagnostics) -> Option<Vec<KeyValue>> {
    fields.take("attributes").map_or(Some(Vec::new()), |node| attributes(node, "`attributes`", d))
}

fn attributes(node: &Node, what: &str, d: &mut Diagnostics) -> Option<Vec<KeyValue>> {
    let entries = match &node.kind {
        Kind::Map(entries) => entries.as_slice(),
        _ if node.is_null() => &[],
        _ => {
            d.error(&node.at, format!("{what} must be a mapping, not {}", node.noun()))
                .hint("write `{ http.route: /cart, http.response.status_code: 500 }`");
            return None;
        }
    };
    let pair = |(key, node): &(Node, Node)| Some(KeyValue { key: key.text().to_owned(), value: Some(value(node, d)?) });
    // Every value names its mistake.
    let pairs: Vec<Option<KeyValue>> = entries.iter().map(pair).collect();
    pairs.into_iter().collect()
}

/// A value of the type it has in YAML; what is quoted is text.
fn value(node: &Node, d: &mut Diagnostics) -> Option<AnyValue> {
    let value = match &node.kind {
        Kind::Map(_) => Value::Map(KeyValueList { values: attributes(node, "a value", d)? }),
        Kind::Seq(nodes) => {
            let values: Vec<Option<AnyValue>> = nodes.iter().map(|node| value(node, d)).collect();
            Value::Array(ArrayValue { values: values.into_iter().collect::<Option<_>>()? })
        }
        Kind::Scalar { text, quoted: true } => Value::Text(text.clone()),
        Kind::Scalar { text, .. } => match text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => return Some(AnyValue { value: None }),
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            text => match number(text) {
                Some(number) => number,
                None if is_integer(text) => {
                    d.error(&node.at, format!("`{text}` does not fit 64 bits")).hint("quote it, if it is text");
                    return None;
                }
                None => Value::Text(text.to_owned()),
            },
        },
    };
    Some(AnyValue { value: Some(value) })
}

/// A number as in YAML 1.2's core schema.
fn number(text: &str) -> Option<Value> {
    let radix = |prefix, radix| text.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok());
    if let Some(int) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Some(Value::Int(int));
    }
    if is_integer(text) {
        return text.parse().ok().map(Value::Int);
    }
    match text.trim_start_matches(['+', '-']) {
        ".inf" | ".Inf" | ".INF" => {
            Some(Value::Double(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }))
        }
        ".nan" | ".NaN" | ".NAN" => Some(Value::Double(f64::NAN)),
        digits if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            let is_float = text.bytes().all(|c| c.is_ascii_digit() || b"+-.eE".contains(&c));
            text.parse().ok().filter(|_| is_float).map(Value::Double)
        }
        _ => None,
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit())
}

// === impl Trace ===

impl Trace {
    pub fn id(&self) -> TraceId {
        let mut scopes = self.0.iter().flat_map(|(_, of)| &of.resource_spans).flat_map(|of| &of.scope_spans);
        let first = scopes.find_map(|of| of.spans.first()).expect("a trace has spans");
        TraceId::new(&first.trace_id).expect("16 bytes, not all zero")
    }

    /// Gives it a randomness, which stands in its id.
    pub fn draw(&mut self, randomness: Randomness) {
        let id = self.id().with(randomness);
        let scopes = self.0.iter_mut().flat_map(|(_, of)| &mut of.resource_spans).flat_map(|of| &mut of.scope_spans);
        for span in scopes.flat_map(|of| &mut of.spans) {
            span.trace_id = id.0.to_vec();
            // What a producer drew would go before it.
            let others = span.trace_state.split(',').filter(|member| !member.trim_start().starts_with("ot="));
            span.trace_state = others.collect::<Vec<_>>().join(",");
        }
    }

    pub fn records(&self) -> Vec<Record> {
        self.0.iter().map(|(record, data)| Record { value: Some(data.encode_to_vec()), ..record.clone() }).collect()
    }
}
