//! What must come out, judged without a line of the program: `opentelemetry-proto` decodes, a scan of its own cuts bytes.
//!
//! The policies are those of [`super::processor::POLICIES`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write,
};

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, TracesData, status::StatusCode},
};
use prost::Message;

use super::kafka::{Record, Topic};

pub type TraceId = [u8; 16];

/// The traces that must come out, with all their spans.
pub struct Expected {
    pub kept: HashMap<TraceId, Vec<Carried>>,
    /// Those of them that are kept whatever their randomness is.
    certain: HashSet<TraceId>,
    /// Of the whole input.
    pub traces: usize,
    pub spans: usize,
}

/// A span as it travels: what stands around it, without the other spans, and its own bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Carried {
    /// The fields of its `ResourceSpans` but the spans: resource, schema URL and any unknown.
    around_resource: Vec<u8>,
    /// The fields of its `ScopeSpans` but the spans.
    around_scope: Vec<u8>,
    span: Vec<u8>,
}

/// How often a span may come out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    One,
    /// After a crash, where the delivery is at least once.
    OneOrMore,
}

/// What the policies ask of a trace.
#[derive(Clone, Copy)]
struct Facts {
    error: bool,
    server_error: bool,
    start: u64,
    end: u64,
    spans: usize,
}

/// What is stamped on a span.
#[derive(Default)]
struct Stamp {
    trace_state: String,
    /// Attributes, by key and text.
    notes: Vec<(String, String)>,
}

/// T for 1 %, in 56 bits: a trace is kept where its randomness is not below it.
const ONE_PERCENT: u64 = ((1 << 56) * 99 + 50) / 100;
/// The trace states that say so, and that all are kept.
const SAMPLED: &str = "ot=th:fd70a3d70a3d71";
const CERTAIN: &str = "ot=th:0";

// === impl Expected ===

impl Expected {
    /// Reads the topics twice: once to judge, once to cut out what is kept.
    pub fn of(inputs: &[&Topic]) -> Self {
        let mut traces: HashMap<TraceId, Facts> = HashMap::new();
        let mut foreign = HashSet::new();
        for input in inputs {
            input.each(|record| {
                if !learn(&mut traces, &record.value) {
                    foreign.insert((&input.name, record.partition, record.offset));
                }
            });
        }
        let spans = traces.values().map(|facts| facts.spans).sum();
        let mut kept: HashMap<TraceId, Vec<Carried>> = HashMap::new();
        for input in inputs {
            input.each(|record| {
                if foreign.contains(&(&input.name, record.partition, record.offset)) {
                    return;
                }
                for (id, carried) in scan(&record.value) {
                    if traces.get(&id).is_some_and(|facts| facts.must_be_kept(&id)) {
                        kept.entry(id).or_default().push(carried());
                    }
                }
            });
        }
        let certain = traces.iter().filter(|(_, facts)| facts.is_certain()).map(|(id, _)| *id).collect();
        Self { kept, certain, traces: traces.len(), spans }
    }

    /// Panics with what is wrong: the very traces, each whole, one trace a record, its id the key; each span byte for byte, once the
    /// stamp is off it, which says its weight, and on one span of each trace why it was kept.
    pub fn check(&self, output: &[Record], copies: Copies) {
        self.check_telling(output, copies, |_| String::new());
    }

    /// As [`Expected::check`]; `tell` says what else is known of traces that are not as they should be.
    pub fn check_telling(&self, output: &[Record], copies: Copies, tell: impl FnOnce(&[TraceId]) -> String) {
        let (mut wrong, mut traces) = (Vec::new(), Vec::new());
        let mut seen: HashMap<TraceId, Vec<Carried>> = HashMap::new();
        let mut noted: HashMap<TraceId, usize> = HashMap::new();
        for record in output {
            let place = format!("{}@{}", record.partition, record.offset);
            let mut ids = Vec::new();
            for (id, carried) in carried(&record.value) {
                let mut carried = carried();
                let stamp = carried.unstamp();
                wrong.extend(self.misstamped(&id, &stamp).map(|fault| format!("{place}: trace {}: {fault}", hex(&id))));
                *noted.entry(id).or_default() += usize::from(!stamp.notes.is_empty());
                seen.entry(id).or_default().push(carried);
                ids.push(id);
            }
            ids.dedup();
            match ids[..] {
                [id] if record.key.as_deref() == Some(hex(&id).as_bytes()) => {}
                [id] => wrong.push(format!("{place}: trace {} under the key {:?}", hex(&id), record.key)),
                _ => wrong.push(format!("{place}: {} traces in one record", ids.len())),
            }
        }
        for (id, spans) in &self.kept {
            let seen = seen.remove(id).unwrap_or_default();
            if let Some(fault) = compare(counted(spans), counted(&seen), copies) {
                wrong.push(format!("trace {} of {} spans: {fault}", hex(id), spans.len()));
                traces.push(*id);
            }
            match noted.get(id) {
                Some(1) => {}
                Some(2..) if copies == Copies::OneOrMore => {}
                noted => {
                    wrong.push(format!("trace {}: {noted:?} spans say why it was kept", hex(id)));
                    traces.push(*id);
                }
            }
        }
        wrong.extend(
            seen.iter().map(|(id, spans)| format!("trace {}: {} spans of no business here", hex(id), spans.len())),
        );
        wrong.sort();
        let few: Vec<&str> = wrong.iter().take(20).map(String::as_str).collect();
        assert!(
            wrong.is_empty(),
            "{} faults in {} kept traces:\n{}\n{}",
            wrong.len(),
            self.kept.len(),
            few.join("\n"),
            tell(&traces)
        );
    }
}

impl Expected {
    /// What is wrong with the stamp of a span.
    fn misstamped(&self, id: &TraceId, stamp: &Stamp) -> Option<String> {
        let Stamp { trace_state, notes } = stamp;
        let is_certain = self.certain.contains(id);
        let weight = if is_certain { CERTAIN } else { SAMPLED };
        let policies: &[&str] = if is_certain { &["errors", "server-errors", "slow"] } else { &["baseline"] };
        let reason = if is_certain { "always" } else { "sampled" };
        let completions = ["structure", "torn", "max_wait", "size", "memory", "end"];
        let notes: Vec<(&str, &str)> = notes.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        let are_right = match notes[..] {
            [] => true,
            [("tailwater.policy", policy), ("tailwater.reason", why), ("tailwater.completion", completion)] => {
                policies.contains(&policy) && why == reason && completions.contains(&completion)
            }
            _ => false,
        };
        (!are_right || trace_state != weight).then(|| format!("{trace_state:?} and {notes:?}, certain: {is_certain}"))
    }
}

/// A multiset.
fn counted(spans: &[Carried]) -> BTreeMap<&Carried, usize> {
    let mut counts = BTreeMap::new();
    for span in spans {
        *counts.entry(span).or_default() += 1;
    }
    counts
}

fn compare(want: BTreeMap<&Carried, usize>, got: BTreeMap<&Carried, usize>, copies: Copies) -> Option<String> {
    if got.is_empty() {
        return Some("missing".to_owned());
    }
    let absent = want.keys().filter(|span| !got.contains_key(*span)).count();
    let foreign = got.keys().filter(|span| !want.contains_key(*span)).count();
    let doubled = got.iter().filter(|(span, count)| want.get(*span).is_some_and(|once| *count > once)).count();
    let doubled = if copies == Copies::One { doubled } else { 0 };
    (absent + foreign + doubled > 0).then(|| format!("{absent} spans absent, {foreign} not as sent, {doubled} doubled"))
}

// === impl Facts ===

impl Default for Facts {
    fn default() -> Self {
        Self { error: false, server_error: false, start: u64::MAX, end: 0, spans: 0 }
    }
}

impl Facts {
    fn must_be_kept(&self, id: &TraceId) -> bool {
        self.is_certain() || randomness(id) >= ONE_PERCENT
    }

    fn is_certain(&self) -> bool {
        let slow = self.end.saturating_sub(self.start) > 5_000_000_000;
        self.error || self.server_error || slow
    }

    fn add(&mut self, span: &Span) {
        self.error |= span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
        self.server_error |= span.attributes.iter().any(|attribute| {
            let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
            attribute.key == "http.response.status_code" && matches!(value, Some(Value::IntValue(500..)))
        });
        self.start = self.start.min(span.start_time_unix_nano);
        self.end = self.end.max(span.end_time_unix_nano);
        self.spans += 1;
    }
}

/// The low 56 bits of a trace id.
fn randomness(id: &TraceId) -> u64 {
    id[9..].iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

pub fn hex(id: &TraceId) -> String {
    id.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Adds a record's spans; false where it is not OTLP and has none. A span without a proper trace id does not count.
fn learn(traces: &mut HashMap<TraceId, Facts>, record: &[u8]) -> bool {
    let Ok(data) = TracesData::decode(record) else { return false };
    let scopes = data.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    for span in scopes.flat_map(|scope| &scope.spans) {
        if let Some(id) = proper(&span.trace_id) {
            traces.entry(id).or_default().add(span);
        }
    }
    true
}

/// A span as its record names it.
pub struct Named {
    pub trace: TraceId,
    pub span: Vec<u8>,
    pub is_root: bool,
}

/// The spans of a record.
pub fn named(record: &[u8]) -> Vec<Named> {
    let data = TracesData::decode(record).expect("OTLP");
    let scopes = data.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let spans = scopes.flat_map(|scope| scope.spans);
    let named = |span: Span| {
        let trace = span.trace_id[..].try_into().expect("16 bytes");
        Named { trace, span: span.span_id, is_root: span.parent_span_id.is_empty() }
    };
    spans.map(named).collect()
}

/// How many spans a record holds.
pub fn count(record: &[u8]) -> u64 {
    let data = TracesData::decode(record).expect("OTLP");
    data.resource_spans.iter().flat_map(|resource| &resource.scope_spans).map(|scope| scope.spans.len() as u64).sum()
}

fn proper(id: &[u8]) -> Option<TraceId> {
    let id = TraceId::try_from(id).ok()?;
    (id != [0; 16]).then_some(id)
}

// === the scan ===

/// The spans of a record; one that is not OTLP has none.
fn carried(record: &[u8]) -> Vec<(TraceId, impl Fn() -> Carried)> {
    if TracesData::decode(record).is_ok() { scan(record) } else { Vec::new() }
}

/// Every span of an OTLP record that has a proper trace id; its bytes are copied only when asked for.
fn scan(record: &[u8]) -> Vec<(TraceId, impl Fn() -> Carried)> {
    let mut all = Vec::new();
    for resource in fields(record).filter(|field| field.number == 1).map(|field| field.content) {
        for scope in fields(resource).filter(|field| field.number == 2).map(|field| field.content) {
            for span in fields(scope).filter(|field| field.number == 2).map(|field| field.content) {
                let id = fields(span).filter(|field| field.number == 1).last().and_then(|field| proper(field.content));
                all.extend(id.map(|id| {
                    (id, move || Carried {
                        around_resource: all_but_spans(resource),
                        around_scope: all_but_spans(scope),
                        span: span.to_vec(),
                    })
                }));
            }
        }
    }
    all
}

// === impl Carried ===

impl Carried {
    /// Takes the stamp off. The spans of these tests come without a trace state, and without attributes of these names.
    fn unstamp(&mut self) -> Stamp {
        let mut stamp = Stamp::default();
        let span = std::mem::take(&mut self.span);
        for field in fields(&span) {
            let attribute = KeyValue::decode(if field.number == 9 { field.content } else { &[] }).expect("OTLP");
            match (field.number, attribute.key.as_str()) {
                (3, _) => stamp.trace_state = String::from_utf8_lossy(field.content).into_owned(),
                (9, key) if key.starts_with("tailwater.") || key == "sampling.unknown" => {
                    let text = match attribute.value.and_then(|value| value.value) {
                        Some(Value::StringValue(text)) => text,
                        other => format!("{other:?}"),
                    };
                    stamp.notes.push((attribute.key, text));
                }
                _ => self.span.extend_from_slice(field.whole),
            }
        }
        stamp
    }
}

/// In both messages, field 2 leads to the spans.
fn all_but_spans(message: &[u8]) -> Vec<u8> {
    fields(message).filter(|field| field.number != 2).flat_map(|field| field.whole).copied().collect()
}

/// A field of a protobuf message.
struct Field<'a> {
    number: u64,
    /// With its tag and length.
    whole: &'a [u8],
    content: &'a [u8],
}

/// Of a message that is known to be well-formed.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Field<'_>> {
    std::iter::from_fn(move || {
        let whole = rest;
        let tag = (!rest.is_empty()).then(|| varint(&mut rest))?;
        let length = match tag & 7 {
            0 => rest.iter().position(|byte| *byte < 128).expect("the end of a varint") + 1,
            1 => 8,
            2 => usize::try_from(varint(&mut rest)).expect("a length"),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (content, after) = rest.split_at(length);
        rest = after;
        Some(Field { number: tag >> 3, whole: &whole[..whole.len() - after.len()], content })
    })
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("the end of a varint");
        *bytes = rest;
        value |= u64::from(byte & 127) << shift;
        if *byte < 128 {
            break;
        }
    }
    value
}
