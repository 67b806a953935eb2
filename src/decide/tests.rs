//! The compiled evaluator against a walk over the tree, on random policies and random traces.

use std::sync::Arc;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Event, Link},
    },
};
use proptest::prelude::*;
use prost::Message;

use super::{
    Facts, NOTES, Node, Part, PolicySet, Tree, Values,
    condition::{
        self, Scope, outline,
        proof::Proof,
        reference::{Seen, Trace, beside, holds, quantified, recombine},
        written::written,
    },
    explain::{Questions, Row},
};
use crate::{
    decode::Batch,
    diagnostic::{Diagnostics, Source},
    model::{Randomness, RecordTime, Threshold},
    yaml,
};

/// A policy set of one file, which must be right.
pub fn policy_set(text: &str) -> PolicySet {
    compiled(text).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

pub fn compiled(text: &str) -> Result<PolicySet, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let source = Arc::new(Source { name: "policies.yaml".into(), text: text.into() });
    let root = yaml::parse(source, &mut diagnostics);
    let set = root.and_then(|root| PolicySet::compile(&[Part::File(&root)], &mut diagnostics));
    set.ok_or(diagnostics)
}

/// A record with this span, and what is decoded of it.
fn sent(set: &PolicySet, seen: &Seen) -> (Vec<u8>, Batch) {
    let (span, resource, scope) = seen;
    let scope_spans =
        vec![ScopeSpans { scope: Some(scope.clone()), spans: vec![span.clone()], ..ScopeSpans::default() }];
    let resource = Some(resource.clone());
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    };
    let payload = request.encode_to_vec();
    let mut batch = Batch::default();
    set.decode(&payload, &beside(seen), &mut batch).expect("a well-formed request");
    assert_eq!(batch.spans.len(), 1);
    (payload, batch)
}

/// What a trace comes to when its spans pass in this order; those in `roots` count as the root when they pass.
struct Observed {
    bits: Vec<u64>,
    counts: Vec<u32>,
    duration_ns: u64,
    span_count: u32,
    bytes: u64,
    tree: Tree,
    values: Values,
}

impl Observed {
    fn new(set: &PolicySet, spans: &[Seen], roots: &[bool]) -> Self {
        let mut scratch = set.scratch();
        let end = spans.iter().map(|(span, ..)| span.end_time_unix_nano).max().unwrap_or(0);
        let start = spans.iter().map(|(span, ..)| span.start_time_unix_nano).min().unwrap_or(0);
        let mut observed = Self {
            bits: set.blank().to_vec(),
            counts: vec![0; set.counters()],
            duration_ns: end.saturating_sub(start),
            span_count: spans.len() as u32,
            bytes: spans.iter().map(|(span, ..)| span.encoded_len() as u64).sum(),
            tree: Tree::default(),
            values: Values::default(),
        };
        let mut nodes = Vec::new();
        for (seen, root) in spans.iter().zip(roots) {
            let (payload, batch) = sent(set, seen);
            let span = &batch.spans[0];
            let scope = batch.scopes[span.scope as usize];
            let resource = batch.resources[scope.resource as usize];
            let context = set.context(resource.rest.of(&batch.rest), scope.rest.of(&batch.rest));
            let Self { bits, counts, values, .. } = &mut observed;
            let mut notes = vec![0; set.notes()];
            set.observe(&context, &payload, &batch, span, &mut scratch, bits, counts, &mut notes);
            if *root {
                set.crown(&payload, &batch, span, &scratch, bits);
            }
            values.add(notes.get(NOTES..).unwrap_or_default());
            let [marks, name] = [0, 1].map(|at| notes.get(at).copied().unwrap_or(0));
            nodes.push(Node { id: span.span_id, parent: span.parent_id, service: context.service, name, marks });
        }
        observed.tree.grow(nodes.into_iter());
        observed.values.settle();
        observed
    }

    fn facts(&self, randomness: u64) -> Facts<'_> {
        let Self { bits, counts, duration_ns, span_count, bytes, tree, values } = self;
        let (duration_ns, span_count, bytes, complete) = (*duration_ns, *span_count, *bytes, tree.is_whole());
        let (randomness, time) = (Randomness(randomness), RecordTime(0));
        Facts {
            bits,
            counts,
            duration_ns,
            span_count,
            bytes,
            randomness,
            time,
            complete,
            tree,
            values,
            links: &[],
            votes: &[],
            cuts: &[],
        }
    }
}

fn pick(options: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(options)
}

/// A comparison on a span, its path behind `prefix`.
fn comparison(prefix: &'static str) -> impl Strategy<Value = String> {
    let op = pick(&["==", "!=", "<", "<=", ">", ">="]);
    let equality = pick(&["==", "!="]);
    let attribute = pick(&[
        "attributes[\"a\"]",
        "attributes[\"b\"]",
        "attributes[\"c\"]",
        "resource.attributes[\"a\"]",
        "resource.attributes[\"r\"]",
        "scope.attributes[\"a\"]",
        "attributes[\"c\"][\"a\"]",
        "attributes[\"c\"][\"a\"][1]",
        "attributes[\"c\"][0]",
    ]);
    let words = pick(&[
        "name",
        "service",
        "status.message",
        "kind.string",
        "trace_state",
        "trace_state[\"a\"]",
        "scope.name",
        "instrumentation_scope.version",
        "span_id.string",
        "record.topic",
        "record.headers[\"a\"]",
    ]);
    let number = pick(&[
        "start_time_unix_nano",
        "end_time_unix_nano",
        "flags",
        "dropped_attributes_count",
        "dropped_events_count",
        "dropped_links_count",
    ]);
    let id = pick(&["span_id", "parent_span_id"]);
    let known = pick(&["\"0000000000000000\"", "SpanID(0x0000000000000001)", "0x0000000000000002"]);
    let literal = pick(&["0", "1", "-1", "1.0", "0.5", "\"\"", "\"a\"", "\"b\"", "\"1\"", "true", "false", "0x61"]);
    let text = pick(&["\"\"", "\"a\"", "\"b\"", "\"GET /\"", "\"Server\"", "\"0000000000000001\""]);
    let code = pick(&["STATUS_CODE_UNSET", "STATUS_CODE_ERROR", "1"]);
    let kind = pick(&["SPAN_KIND_SERVER", "0", "3"]);
    let duration = pick(&["0s", "5ns", "1us"]);
    let nilable = pick(&[
        "name",
        "service",
        "kind",
        "duration",
        "attributes[\"a\"]",
        "resource.attributes[\"r\"]",
        "attributes[\"c\"][\"a\"]",
        "attributes[\"c\"][0]",
        "trace_state[\"a\"]",
        "scope.attributes[\"a\"]",
        "record.headers[\"a\"]",
    ]);
    let matchable = pick(&[
        "name",
        "service",
        "attributes[\"a\"]",
        "attributes[\"b\"]",
        "resource.attributes[\"r\"]",
        "status.message",
        "kind.string",
        "span_id.string",
        "scope.name",
        "attributes[\"c\"][\"a\"]",
    ]);
    let pattern = pick(&["", "^a", "1", "^$", "[b-z]", "true|GET"]);
    prop_oneof![
        4 => (attribute, op.clone(), literal).prop_map(move |(path, op, value)| format!("{prefix}{path} {op} {value}")),
        2 => (words, op.clone(), text).prop_map(move |(path, op, text)| format!("{text} {op} {prefix}{path}")),
        2 => (op.clone(), code).prop_map(move |(op, code)| format!("{prefix}status.code {op} {code}")),
        1 => (op.clone(), kind).prop_map(move |(op, kind)| format!("{prefix}kind {op} {kind}")),
        1 => (number, op.clone(), pick(&["0", "1", "1000", "0.5"])).prop_map(move |(path, op, value)| format!("{prefix}{path} {op} {value}")),
        1 => (id, equality.clone(), known).prop_map(move |(path, op, id)| format!("{prefix}{path} {op} {id}")),
        1 => (op, duration).prop_map(move |(op, duration)| format!("{prefix}duration {op} {duration}")),
        1 => (nilable, equality).prop_map(move |(path, op)| format!("{prefix}{path} {op} nil")),
        2 => (matchable, pattern).prop_map(move |(path, pattern)| format!("IsMatch({prefix}{path}, \"{pattern}\")")),
    ]
}

/// A value that may be of any type; `deep` bounds how far it is nested.
fn any_value(prefix: &'static str, deep: u32) -> BoxedStrategy<String> {
    let path = pick(&[
        "attributes[\"a\"]",
        "attributes[\"b\"]",
        "attributes[\"c\"]",
        "attributes[\"c\"][\"a\"]",
        "attributes[\"c\"][0]",
        "resource.attributes[\"a\"]",
        "scope.attributes[\"a\"]",
    ]);
    let path = path.prop_map(move |path| format!("{prefix}{path}"));
    if deep == 0 {
        return path.boxed();
    }
    let part = (text(prefix, deep - 1), pick(&["\"\"", "\"a\"", "\"/\""]), 0..3)
        .prop_map(|(text, by, place)| format!("Split({text}, {by})[{place}]"));
    let math = (any_value(prefix, deep - 1), pick(&["+", "-", "*", "/"]), number(prefix, deep - 1))
        .prop_map(|(a, op, b)| format!("({a} {op} {b})"));
    prop_oneof![3 => path, 1 => part, 1 => math].boxed()
}

fn text(prefix: &'static str, deep: u32) -> BoxedStrategy<String> {
    let path = pick(&[
        "name",
        "status.message",
        "kind.string",
        "span_id.string",
        "scope.name",
        "trace_state[\"a\"]",
        "record.topic",
        "record.headers[\"a\"]",
    ]);
    let path = path.prop_map(move |path| format!("{prefix}{path}"));
    if deep == 0 {
        return path.boxed();
    }
    let of_text = (pick(&["ToLowerCase", "ToUpperCase", "Trim"]), text(prefix, deep - 1))
        .prop_map(|(function, text)| format!("{function}({text})"));
    let of_two = (
        pick(&["TrimPrefix", "TrimSuffix", "Trim"]),
        text(prefix, deep - 1),
        pick(&["\"\"", "\"a\"", "\"GET\"", "\"/ G\""]),
    )
        .prop_map(|(function, text, other)| format!("{function}({text}, {other})"));
    let of_any = any_value(prefix, deep - 1);
    prop_oneof![
        3 => path,
        2 => of_text,
        1 => of_two,
        1 => of_any.clone(),
        1 => of_any.clone().prop_map(|value| format!("String({value})")),
        1 => (of_any, text(prefix, deep - 1), pick(&["\"\"", "\"-\""]))
            .prop_map(|(a, b, by)| format!("Concat([{a}, {b}, 1, nil], {by})")),
        1 => (text(prefix, deep - 1), -1..3, 0..4)
            .prop_map(|(text, start, length)| format!("Substring({text}, {start}, {length})")),
    ]
    .boxed()
}

fn number(prefix: &'static str, deep: u32) -> BoxedStrategy<String> {
    let path = pick(&["start_time_unix_nano", "end_time_unix_nano", "flags", "dropped_links_count", "kind"]);
    let path = path.prop_map(move |path| format!("{prefix}{path}"));
    let literal = pick(&["0", "1", "-2", "0.5", "9223372036854775807"]).prop_map(str::to_owned);
    if deep == 0 {
        return prop_oneof![path, literal].boxed();
    }
    let number = number(prefix, deep - 1);
    prop_oneof![
        2 => path,
        1 => literal,
        2 => (number.clone(), pick(&["+", "-", "*", "/"]), number.clone())
            .prop_map(move |(a, op, b)| format!("({a} {op} ({b} + {prefix}flags))")),
        1 => number.prop_map(|a| format!("-{a}")),
        2 => (pick(&["Len", "Int", "Double"]), prop_oneof![text(prefix, deep - 1), any_value(prefix, deep - 1)])
            .prop_map(|(function, value)| format!("{function}({value})")),
        1 => pick(&["Seconds", "Milliseconds", "Microseconds", "Nanoseconds", "Minutes", "Hours"])
            .prop_map(move |function| format!("{function}({prefix}end_time - {prefix}start_time + 1us)")),
    ]
    .boxed()
}

/// A condition that has to be computed.
fn computed(prefix: &'static str) -> impl Strategy<Value = String> {
    let op = || pick(&["==", "!=", "<", "<=", ">", ">="]);
    let list = pick(&["[\"a\", 1, nil]", "[]", "[0, 0.5, true]", "Split(\"a/b\", \"/\")"]);
    prop_oneof![
        (any_value(prefix, 1), op(), any_value(prefix, 2)).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (text(prefix, 2), op(), text(prefix, 1)).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (text(prefix, 2), op(), pick(&["\"a\"", "\"GET\""]))
            .prop_map(|(a, op, b)| format!("{b} {op} ToLowerCase({a})")),
        (number(prefix, 2), op(), number(prefix, 1))
            .prop_map(move |(a, op, b)| format!("{a} {op} {b} + {prefix}flags")),
        (op(), pick(&["0s", "1us"]))
            .prop_map(move |(op, d)| format!("{prefix}duration + {prefix}duration {op} {d} + 1us")),
        op().prop_map(move |op| format!("{prefix}start_time {op} {prefix}end_time - 1us")),
        (pick(&["==", "!="]), list.clone())
            .prop_map(move |(op, list)| format!("{prefix}attributes[\"c\"] {op} {list}")),
        (list, any_value(prefix, 1)).prop_map(|(list, item)| format!("ContainsValue({list}, {item})")),
        any_value(prefix, 0).prop_map(|list| format!("ContainsValue({list}, 1)")),
        (text(prefix, 1), pick(&["^a", "[B-Z]", ""]))
            .prop_map(|(text, pattern)| format!("IsMatch(ToUpperCase({text}), \"{pattern}\")")),
        (pick(&["HasPrefix", "HasSuffix"]), text(prefix, 1), pick(&["\"a\"", "\"\"", "name"])).prop_map(
            move |(function, text, other)| {
                let other = if other == "name" { format!("{prefix}name") } else { other.to_owned() };
                format!("{function}({text}, {other})")
            }
        ),
        (pick(&["IsString", "IsInt", "IsDouble", "IsBool", "IsMap", "IsList", "Bool"]), any_value(prefix, 1))
            .prop_map(|(function, value)| format!("{function}({value})")),
        (any_value(prefix, 1), pick(&["==", "!="])).prop_map(|(value, op)| format!("Int({value}) {op} nil")),
    ]
}

/// A condition on an event or a link.
fn on_item(link: bool) -> impl Strategy<Value = String> {
    let prefix = if link { "" } else { "spanevent." };
    let paths = if link {
        &["attributes[\"a\"]", "trace_state", "trace_state[\"a\"]", "attributes[\"b\"]", "span_id.string"][..]
    } else {
        &["attributes[\"a\"]", "name", "attributes[\"b\"]", "attributes[\"c\"][0]", "time_unix_nano"]
    };
    let path = prop::sample::select(paths);
    let op = pick(&["==", "!="]);
    let literal = if link { pick(&["\"a\"", "\"b\"", "nil"]) } else { pick(&["nil", "nil"]) };
    let special = if link {
        pick(&[
            "span_id == SpanID(0x0101010101010101)",
            "flags > 0",
            "trace_id == \"01010101010101010101010101010101\"",
        ])
    } else {
        pick(&["name == \"a\"", "attributes[\"a\"] > 0", "time_unix_nano < 1000", "HasPrefix(name, \"GE\")"])
    };
    let of_both = if link {
        pick(&["attributes[\"a\"] == span.attributes[\"a\"]", "trace_state != span.trace_state"])
    } else {
        pick(&["attributes[\"a\"] == span.attributes[\"a\"]", "time >= span.start_time", "HasPrefix(name, span.name)"])
    };
    let of_span = pick(&[
        "IsRootSpan()",
        "service == \"a\"",
        "resource.attributes[\"r\"] != nil",
        "record.headers[\"a\"] == \"b\"",
    ]);
    joined(prop_oneof![
        (path.clone(), op, literal).prop_map(move |(path, op, value)| format!("{prefix}{path} {op} {value}")),
        comparison("span."),
        computed("span."),
        of_both.prop_map(str::to_owned),
        of_span.prop_map(str::to_owned),
        special.prop_map(str::to_owned),
        path.prop_map(move |path| format!("IsMatch(String({prefix}{path}), \"^[a1]\")")),
        (pick(&["Len", "Int"])).prop_map(move |f| format!("{f}({prefix}attributes[\"b\"]) >= 1")),
        pick(&["true", "dropped_attributes_count == 1"]).prop_map(str::to_owned),
    ])
}

fn of_items() -> impl Strategy<Value = String> {
    prop_oneof![
        on_item(false).prop_map(|inner| format!("any_event({inner})")),
        on_item(true).prop_map(|inner| format!("any_link({inner})")),
    ]
}

fn joined(leaf: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" and "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" or "))),
            inner.clone().prop_map(|part| format!("not ({part})")),
            inner.prop_map(|part| format!("(not ({part})) == false")),
        ]
    })
}

/// `computes`: parts may be such that they cannot be computed, and then neither they nor their negation holds.
fn condition(computes: bool) -> impl Strategy<Value = String> {
    let made = move |prefix| if computes { computed(prefix).boxed() } else { comparison(prefix).boxed() };
    let on_span = move || {
        joined(prop_oneof![
            9 => comparison(""),
            3 => comparison("span."),
            4 => made(""),
            1 => made("span."),
            2 => of_items(),
            1 => Just("IsRootSpan()".to_owned()),
            1 => pick(&["true", "false"]).prop_map(str::to_owned),
        ])
    };
    let op = || pick(&["==", "!=", "<", "<=", ">", ">="]);
    let values = prop_oneof![
        (pick(&["name"]), pick(&["[\"a\"]", "[\"b\", \"a\", \"a\"]", "[\"\", \"GET /\"]"])),
        (
            pick(&["attributes[\"a\"]", "resource.attributes[\"a\"]", "attributes[\"c\"][0]"]),
            pick(&["[]", "[1]", "[\"a\", 1.0]", "[\"1\", true, 0]", "[0x61]"])
        ),
        (pick(&["status.code"]), pick(&["[0, STATUS_CODE_ERROR]", "[1]"])),
        (pick(&["record.topic"]), pick(&["[\"a\"]", "[\"a\", \"b\"]"])),
    ];
    joined(prop_oneof![
        4 => (pick(&["any", "all", "none"]), on_span()).prop_map(|(quantifier, inner)| format!("{quantifier}({inner})")),
        2 => (on_span(), op(), -1..4).prop_map(|(inner, op, n)| format!("count({inner}) {op} {n}")),
        3 => comparison("root."),
        2 => made("root."),
        1 => of_items(),
        1 => (op(), pick(&["0s", "5ns", "1us"])).prop_map(|(op, value)| format!("trace.duration {op} {value}")),
        1 => (op(), pick(&["span_count", "bytes", "error_count", "services", "depth"]), 0..6)
            .prop_map(|(op, of, n)| format!("{n} {op} trace.{of}")),
        1 => (on_span(), op(), 0..4).prop_map(|(inner, op, n)| format!("siblings({inner}) {op} {n}")),
        2 => (pick(&["child_of", "descendant_of"]), on_span(), on_span())
            .prop_map(|(name, below, above)| format!("{name}({below}, {above})")),
        2 => (values, pick(&["==", "!="])).prop_map(|((path, values), op)| format!("values({path}) {op} {values}")),
        1 => (pick(&["name", "attributes[\"a\"]", "kind"]), op(), 0..4)
            .prop_map(|(path, op, n)| format!("Len(values({path})) {op} {n}")),
        1 => pick(&["trace.complete", "calls(\"a\", \"b\")", "calls(\"a\", \"a\")", "trace.shape == \"0123456789abcdef\""])
            .prop_map(str::to_owned),
    ])
}

/// Conditions that have much to do with each other.
fn alike() -> impl Strategy<Value = String> {
    let op = || pick(&["==", "!=", "<", "<=", ">", ">="]);
    let number = || pick(&["-1", "0", "1", "2", "0.5", "1.0", "nil", "\"1\"", "\"a\"", "true", "false"]);
    let on_span = move || {
        joined(prop_oneof![
            (op(), number()).prop_filter_map("nil has no order", |(op, value)| {
                (value != "nil" || ["==", "!="].contains(&op)).then(|| format!("attributes[\"a\"] {op} {value}"))
            }),
            (op(), pick(&["0ns", "1ns", "5ns"])).prop_map(|(op, value)| format!("duration {op} {value}")),
            (op(), 0..3).prop_map(|(op, value)| format!("status.code {op} {value}")),
            pick(&[
                "name == \"a\"",
                "name != \"\"",
                "name < \"b\"",
                "IsMatch(name, \"^a\")",
                "any_event(name == \"a\")",
                "any_event(name != \"b\")",
                "any_event(span.name == \"a\")",
                "any_event(name == \"a\" and not (span.name != \"\"))",
                "any_event(span.duration > 1ns)"
            ])
            .prop_map(str::to_owned),
        ])
    };
    joined(prop_oneof![
        4 => (pick(&["any", "all", "none"]), on_span()).prop_map(|(quantifier, inner)| format!("{quantifier}({inner})")),
        1 => (on_span(), op(), 0..3).prop_map(|(inner, op, n)| format!("count({inner}) {op} {n}")),
        1 => (on_span(), op(), 0..3).prop_map(|(inner, op, n)| format!("siblings({inner}) {op} {n}")),
        1 => (on_span(), on_span()).prop_map(|(below, above)| format!("descendant_of({below}, {above})")),
        1 => (op(), 0..3).prop_map(|(op, n)| format!("trace.error_count {op} {n}")),
        1 => (op(), 0..3).prop_map(|(op, n)| format!("trace.span_count {op} {n}")),
        1 => (op(), 0..3).prop_map(|(op, n)| format!("root.status.code {op} {n}")),
        1 => pick(&["root.name == \"a\"", "root.name != nil", "root.attributes[\"a\"] == 1", "root.attributes[\"a\"] != \"a\""])
            .prop_map(str::to_owned),
    ])
}

fn attributes(keys: &'static [&'static str]) -> impl Strategy<Value = Vec<KeyValue>> {
    let text = pick(&["", "a", "b", "1", "GET /", "a/b", "True"]);
    let leaf = prop_oneof![
        1 => Just(None),
        2 => any::<bool>().prop_map(|value| Some(any_value::Value::BoolValue(value))),
        3 => (-1_i64..3).prop_map(|value| Some(any_value::Value::IntValue(value))),
        2 => prop::sample::select(vec![0.0, 0.5, 1.0, f64::NAN])
            .prop_map(|value| Some(any_value::Value::DoubleValue(value))),
        3 => text.prop_map(|text| Some(any_value::Value::StringValue(text.into()))),
        1 => Just(Some(any_value::Value::BytesValue(b"a".to_vec()))),
    ]
    .prop_map(|value| AnyValue { value });
    let value = leaf.prop_recursive(2, 6, 3, |value| {
        prop_oneof![
            prop::collection::vec(value.clone(), 0..3)
                .prop_map(|values| any_value::Value::ArrayValue(ArrayValue { values })),
            prop::collection::vec(pair(&["a", "b"], value), 0..3)
                .prop_map(|values| any_value::Value::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    });
    // A key may be there twice.
    prop::collection::vec(pair(keys, value), 0..4)
}

fn pair(keys: &'static [&'static str], value: impl Strategy<Value = AnyValue>) -> impl Strategy<Value = KeyValue> {
    (pick(keys), value).prop_map(|(key, value)| KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() })
}

const STATES: [&str; 4] = ["", "a=b", "b=a, a=GET", "ot=th:8,a="];

fn event() -> impl Strategy<Value = Event> {
    let intrinsic = (0_u64..2000, pick(&["a", "b", "GET /"]), 0_u32..2);
    (intrinsic, attributes(&["a", "b", "c"])).prop_map(|((time_unix_nano, name, dropped), attributes)| Event {
        time_unix_nano,
        name: name.into(),
        attributes,
        dropped_attributes_count: dropped,
    })
}

fn link() -> impl Strategy<Value = Link> {
    let id = |len: usize| prop::sample::select(vec![vec![1; len], vec![2; len], vec![]]);
    let intrinsic = (id(16), id(8), prop::sample::select(&STATES[..]), 0_u32..2, 0_u32..2);
    (intrinsic, attributes(&["a", "b"])).prop_map(|((trace_id, span_id, trace_state, dropped, flags), attributes)| {
        Link {
            trace_id,
            span_id,
            trace_state: trace_state.into(),
            attributes,
            dropped_attributes_count: dropped,
            flags,
        }
    })
}

fn span() -> impl Strategy<Value = Seen> {
    let status = (0..3, pick(&["", "a", "GET"])).prop_map(|(code, message)| Status { code, message: message.into() });
    let intrinsic = (pick(&["", "a", "b", "GET /", " Ab "]), 0..7, prop::option::of(status), 0_u64..2000, 0_u64..2000);
    let rare = (prop::sample::select(&STATES[..]), 0_u32..3, (0_u32..2, 0_u32..2, 0_u32..2));
    let many = (prop::collection::vec(event(), 0..3), prop::collection::vec(link(), 0..3));
    let around = (
        attributes(&["service.name", "a", "r", "other"]),
        attributes(&["a", "other"]),
        pick(&["", "a", "b"]),
        pick(&["", "a"]),
    );
    (intrinsic, rare, many, attributes(&["a", "b", "c", "other"]), around).prop_map(
        |((name, kind, status, start, end), rare, (events, links), attributes, around)| {
            let (trace_state, flags, dropped) = rare;
            let (resource, scope, scope_name, version) = around;
            let span = Span {
                trace_id: vec![1; 16],
                trace_state: trace_state.into(),
                flags,
                name: name.into(),
                kind,
                start_time_unix_nano: start,
                end_time_unix_nano: end,
                attributes,
                dropped_attributes_count: dropped.0,
                events,
                dropped_events_count: dropped.1,
                links,
                dropped_links_count: dropped.2,
                status,
                ..Span::default()
            };
            let scope = InstrumentationScope {
                name: scope_name.into(),
                version: version.into(),
                attributes: scope,
                ..InstrumentationScope::default()
            };
            (span, Resource { attributes: resource, ..Resource::default() }, scope)
        },
    )
}

/// What OTTL v0.160 answers on `one_of_everything`, as it did when it was run.
const OTTL: &str = include_str!("tests/ottl-0.160.txt");

/// Where the language is other than OTTL on purpose, and what it answers.
const OTHERWISE: [(&str, bool); 8] = [
    // What is not there is nil, inside of a value too.
    ("attributes[\"list\"][9] == nil", true),
    ("attributes[\"list\"][9] != \"x\"", true),
    ("attributes[\"str\"][\"x\"] == nil", true),
    ("Split(name, \"/\")[9] == nil", true),
    // A list is its values, whoever made it.
    ("Split(name, \"/\") == [\"GET \", \"api\", \"Users\"]", true),
    // A map is equal to nothing.
    ("attributes[\"map\"] == attributes[\"map\"]", false),
    // What does not depend on what cannot be computed holds.
    ("attributes[\"str\"] + 1 == 2 or name == \"GET /api/Users\"", true),
    ("not (attributes[\"str\"] + 1 == 2) or name == \"GET /api/Users\"", true),
];

/// An error is `error_mode: ignore`: the span does not fulfil the condition.
#[test]
fn answers_as_ottl() {
    let trace = [one_of_everything()];
    let mut tried = 0;
    for line in OTTL.lines() {
        let (answer, condition) = line.split_once(char::is_whitespace).expect("an answer and a condition");
        let condition = condition.trim();
        let chosen = OTHERWISE.iter().find(|(other, _)| *other == condition);
        let expected = chosen.map_or(answer == "true", |(_, ours)| *ours);
        let when = serde_json::to_string(&format!("any({condition})")).unwrap();
        let set = policy_set(&format!("policies: [{{ name: a, when: {when}, keep: always }}]"));
        let observed = Observed::new(&set, &trace, &[true]);
        assert_eq!(set.matches(&set.policies()[0], observed.facts(0)), expected, "{condition}");
        let reference = Trace { spans: &trace, root: Some(0) };
        assert_eq!(holds(&format!("any({condition})"), &reference), expected, "{condition}, in the reference");
        tried += usize::from(chosen.is_some());
    }
    assert_eq!(tried, OTHERWISE.len(), "some difference is not tried");
}

fn one_of_everything() -> Seen {
    let any = |value| AnyValue { value: Some(value) };
    let text = |text: &str| any(any_value::Value::StringValue(text.into()));
    let int = |value| any(any_value::Value::IntValue(value));
    let list = |values| any(any_value::Value::ArrayValue(ArrayValue { values }));
    let pair = |key: &str, value| KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() };
    let map = vec![pair("in", text("deep")), pair("list", list(vec![int(1), int(7)]))];
    let attributes = vec![
        pair("a", text("a")),
        pair("str", text("hello")),
        pair("numstr", text("503")),
        pair("truestr", text("true")),
        pair("int", int(5)),
        pair("int2", int(5)),
        pair("double", any(any_value::Value::DoubleValue(5.5))),
        pair("bool", any(any_value::Value::BoolValue(true))),
        pair("bytes", any(any_value::Value::BytesValue(vec![1, 2]))),
        pair("list", list(vec![text("a"), text("b")])),
        pair("nums", list(vec![int(1), int(2)])),
        pair("map", any(any_value::Value::KvlistValue(KeyValueList { values: map }))),
    ];
    let span = Span {
        trace_id: (1..=16).collect(),
        span_id: (1..=8).collect(),
        trace_state: "a=b,ot=th:8".into(),
        flags: 257,
        name: "GET /api/Users".into(),
        kind: 2,
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 3_500_000_000,
        attributes,
        dropped_attributes_count: 3,
        dropped_events_count: 4,
        dropped_links_count: 5,
        status: Some(Status { code: 2, message: "boom".into() }),
        ..Span::default()
    };
    let service = vec![pair("service.name", text("checkout"))];
    let scope = InstrumentationScope {
        name: "lib".into(),
        version: "1.2".into(),
        attributes: vec![pair("sa", text("x"))],
        ..InstrumentationScope::default()
    };
    (span, Resource { attributes: service, ..Resource::default() }, scope)
}

/// Gives spans ids and parents.
fn call(spans: &mut [Seen], calls: u128) {
    for (at, (span, ..)) in (1_u64..).zip(spans) {
        span.span_id = at.to_be_bytes().to_vec();
        // One before, nobody, or one that is not there.
        let parent = (calls >> (at * 5)) as u64 % (at + 1);
        let parent = if parent == at { 99 } else { parent };
        span.parent_span_id = if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() };
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Keep(u32),
    Drop,
}

/// The probabilities below in per cent, and randomness so that it lies between all their thresholds.
fn threshold(percent: u32) -> u64 {
    (1 << 56) - ((1_u64 << 56) as f64 * f64::from(percent) / 100.0).round() as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn evaluates_as_the_reference(
        policies in prop::collection::vec(
            (condition(true), prop_oneof![Just(Action::Drop), prop::sample::select(vec![0, 1, 25, 50, 100]).prop_map(Action::Keep)]),
            1..8,
        ),
        first in any::<bool>(),
        otherwise in prop::sample::select(vec![0, 10, 25, 100]),
        spans in prop::collection::vec((span(), prop::bool::weighted(0.3)), 1..8),
        randomness in 0_u64..(1 << 56),
        calls: u128,
    ) {
        let mut text = format!("match: {}\notherwise: {{ probability: {otherwise}% }}\npolicies:\n", if first { "first" } else { "any" });
        for (i, (condition, action)) in policies.iter().enumerate() {
            let action = match action {
                Action::Keep(percent) => format!("keep: {{ probability: {percent}% }}"),
                Action::Drop => "drop: always".into(),
            };
            text += &format!("- {{ name: p{i}, when: {}, {action} }}\n", serde_json::to_string(condition).unwrap());
        }
        let set = policy_set(&text);
        let (mut spans, roots): (Vec<_>, Vec<_>) = spans.into_iter().unzip();
        call(&mut spans, calls);
        let observed = Observed::new(&set, &spans, &roots);
        let trace = Trace { spans: &spans, root: roots.iter().rposition(|root| *root) };
        let matching: Vec<bool> = policies.iter().map(|(condition, _)| holds(condition, &trace)).collect();

        let facts = observed.facts(randomness);
        for (i, expected) in matching.iter().enumerate() {
            prop_assert_eq!(set.matches(&set.policies()[i], facts), *expected, "{}", policies[i].0);
        }
        let verdict = set.decide(facts);
        let matched = || (0_u16..).zip(&policies).zip(&matching).filter(|(_, matches)| **matches).map(|((i, (_, action)), _)| (i, *action));
        let (policy, t) = if first {
            match matched().next() {
                Some((i, Action::Drop)) => (Some(i), 1 << 56),
                Some((i, Action::Keep(percent))) => (Some(i), threshold(percent)),
                None => (None, threshold(otherwise)),
            }
        } else if let Some((i, _)) = matched().find(|(_, action)| *action == Action::Drop) {
            (Some(i), 1 << 56)
        } else {
            let keeps = || matched().filter_map(|(i, action)| match action {
                Action::Keep(percent) => Some((threshold(percent), i)),
                Action::Drop => None,
            });
            let kept = keeps().filter(|(t, _)| randomness >= *t).min();
            let all = keeps().map(|(t, _)| t).chain([threshold(otherwise)]).min();
            (kept.map(|(_, i)| i), all.unwrap())
        };
        prop_assert_eq!((verdict.keep, verdict.policy, verdict.threshold), (randomness >= t, policy, Threshold(t)));
    }

    /// What can be shown of conditions is so of every trace.
    #[test]
    fn shows_only_what_is_so(
        (some, other) in prop_oneof![
            1 => (condition(true), condition(true)),
            3 => (alike(), alike()),
        ],
        spans in prop::collection::vec((span(), prop::bool::weighted(0.3)), 1..6),
        calls: u128,
    ) {
        let conditions = [some.clone(), other.clone(), format!("({some}) and ({other})"), format!("not ({some})")];
        let policies: Vec<String> = (0..).zip(&conditions).map(|(i, condition)| {
            format!("- {{ name: p{i}, when: {}, keep: always }}\n", serde_json::to_string(condition).unwrap())
        }).collect();
        let set = policy_set(&format!("policies:\n{}", policies.concat()));
        let (mut spans, roots): (Vec<_>, Vec<_>) = spans.into_iter().unzip();
        call(&mut spans, calls);
        let observed = Observed::new(&set, &spans, &roots);
        let formulas = conditions.each_ref().map(|condition| condition::read(condition).unwrap());
        let holds: Vec<bool> = (0..4).map(|i| set.holds(i, observed.facts(0))).collect();
        let mut proof = Proof::default();
        for (i, formula) in formulas.iter().enumerate() {
            prop_assert_eq!(&written(&conditions[i]).unwrap().formula, formula);
            prop_assert!(!(holds[i] && proof.never(formula)), "never: {}", conditions[i]);
            prop_assert!(holds[i] || !proof.always(formula), "always: {}", conditions[i]);
            for (j, other) in formulas.iter().enumerate() {
                let wrong = holds[i] && !holds[j];
                prop_assert!(!(wrong && proof.implies(formula, other)), "{} implies {}", conditions[i], conditions[j]);
            }
        }
    }

    /// A condition that is put together from what is explained of its parts is the condition that decides.
    #[test]
    fn explains_what_decides(
        condition in condition(false),
        spans in prop::collection::vec((span(), prop::bool::weighted(0.3)), 1..6),
        calls: u128,
    ) {
        let text = serde_json::to_string(&condition).unwrap();
        let set = policy_set(&format!("policies: [ {{ name: p, when: {text}, keep: always }} ]"));
        let questions = Questions::new(&set);
        let parts = outline(&condition);
        let rows_of = |spans: &[Seen], roots: &[bool]| {
            let mut tally = questions.tally();
            for (at, (seen, root)) in spans.iter().zip(roots).enumerate() {
                let (payload, batch) = sent(questions.policies(), seen);
                questions.ask(&payload, &batch, &batch.spans[0], at, *root, &mut tally);
            }
            let asked = Observed::new(questions.policies(), spans, roots);
            let rows: Vec<Row> = questions.rows(0, asked.facts(0), &tally, None);
            assert_eq!(rows.len(), parts.len());
            rows
        };
        let part = |at: &std::ops::Range<usize>| parts.iter().position(|part| part.at == *at).expect("a part");

        let (mut spans, roots): (Vec<_>, Vec<_>) = spans.into_iter().unzip();
        call(&mut spans, calls);
        let rows = rows_of(&spans, &roots);
        let mut of_trace = |at: &std::ops::Range<usize>| {
            assert_eq!(rows[part(at)].scope, Scope::Trace);
            rows[part(at)].holds
        };
        let matches = set.holds(0, Observed::new(&set, &spans, &roots).facts(0));
        prop_assert_eq!(recombine(&condition, &mut of_trace), matches, "{}", condition);

        // What holds of one span, and of how many: an argument is put together span by span.
        let each: Vec<Vec<Row>> =
            (0..spans.len()).map(|at| rows_of(&spans[at..=at], &roots[at..=at])).collect();
        for (row, at) in rows.iter().zip(0..).filter(|(row, _)| row.scope == Scope::Span) {
            prop_assert_eq!(row.spans, each.iter().filter(|rows| rows[at].holds).count(), "{}", row.text);
        }
        for (quantifier, name, argument) in quantified(&condition) {
            let such = each.iter().filter(|rows| {
                let moved = |at: &std::ops::Range<usize>| argument.start + at.start..argument.start + at.end;
                recombine(&condition[argument.clone()], &mut |at| rows[part(&moved(at))].holds)
            });
            let (such, row) = (such.count(), &rows[part(&quantifier)]);
            match name {
                "any" => prop_assert_eq!(row.holds, such > 0, "{}", row.text),
                "all" => prop_assert_eq!(row.holds, such == spans.len(), "{}", row.text),
                "none" => prop_assert_eq!(row.holds, such == 0, "{}", row.text),
                _ => prop_assert_eq!(&row.found.values[0].value, &such.to_string(), "{}", row.text),
            }
        }
    }
}
