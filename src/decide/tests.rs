//! The compiled evaluator against a walk over the tree, on random policies and random traces.

use std::sync::Arc;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, ArrayValue, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status},
};
use proptest::prelude::*;
use prost::Message;

use super::{
    Facts, Node, Part, PolicySet, Tree,
    condition::{
        Scope, outline,
        reference::{Trace, holds, quantified, recombine},
    },
    explain::{Questions, Row},
};
use crate::{
    decode::{Batch, decode},
    diagnostic::{Diagnostics, Source},
    model::{Randomness, Threshold},
    yaml,
};

/// A policy set of one file, which must be right.
pub fn policy_set(text: &str) -> PolicySet {
    let mut diagnostics = Diagnostics::default();
    let source = Arc::new(Source { name: "policies.yaml".into(), text: text.into() });
    let root = yaml::parse(source, &mut diagnostics);
    let set = root.and_then(|root| PolicySet::compile(&[Part::File(&root)], &mut diagnostics));
    set.unwrap_or_else(|| panic!("{diagnostics}"))
}

/// A request with these spans, and what is decoded of it.
fn sent(set: &PolicySet, spans: &[(Span, Resource)]) -> (Vec<u8>, Batch) {
    let request = ExportTraceServiceRequest {
        resource_spans: spans
            .iter()
            .map(|(span, resource)| ResourceSpans {
                resource: Some(resource.clone()),
                scope_spans: vec![ScopeSpans { spans: vec![span.clone()], ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            })
            .collect(),
    };
    let payload = request.encode_to_vec();
    let mut batch = Batch::default();
    decode(&payload, set.keys(), &mut batch).expect("a well-formed request");
    assert_eq!(batch.spans.len(), spans.len());
    (payload, batch)
}

/// What a trace comes to when its spans pass in this order; those in `roots` count as the root when they pass.
struct Observed {
    bits: Vec<u64>,
    counts: Vec<u32>,
    duration_ns: u64,
    span_count: u32,
    tree: Tree,
}

impl Observed {
    fn new(set: &PolicySet, spans: &[(Span, Resource)], roots: &[bool]) -> Self {
        let (payload, batch) = sent(set, spans);
        let mut scratch = set.scratch();
        let mut observed = Self {
            bits: set.blank().to_vec(),
            counts: vec![0; set.counters()],
            duration_ns: batch
                .spans
                .iter()
                .map(|span| span.end)
                .max()
                .unwrap_or(0)
                .saturating_sub(batch.spans.iter().map(|span| span.start).min().unwrap_or(0)),
            span_count: spans.len() as u32,
            tree: Tree::default(),
        };
        let mut nodes = Vec::new();
        for (span, root) in batch.spans.iter().zip(roots) {
            let scope = batch.scopes[span.scope as usize];
            let resource = batch.resources[scope.resource as usize];
            let context = set.context(resource.rest.of(&batch.rest), scope.rest.of(&batch.rest));
            let Self { bits, counts, .. } = &mut observed;
            let mut notes = vec![0; set.notes()];
            set.observe(&context, &payload, &batch, span, &mut scratch, bits, counts, &mut notes);
            if *root {
                set.crown(&scratch, bits);
            }
            let [marks, name] = [0, 1].map(|at| notes.get(at).copied().unwrap_or(0));
            nodes.push(Node { id: span.span_id, parent: span.parent_id, service: context.service, name, marks });
        }
        observed.tree.grow(nodes.into_iter());
        observed
    }

    fn facts(&self, randomness: u64) -> Facts<'_> {
        let Self { bits, counts, duration_ns, span_count, tree } = self;
        let (duration_ns, span_count, complete) = (*duration_ns, *span_count, tree.is_whole());
        Facts { bits, counts, duration_ns, span_count, randomness: Randomness(randomness), complete, tree }
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
    ]);
    let literal = pick(&["0", "1", "-1", "1.0", "0.5", "\"\"", "\"a\"", "\"b\"", "\"1\"", "true", "false"]);
    let text = pick(&["\"\"", "\"a\"", "\"b\"", "\"GET /\""]);
    let code = pick(&["STATUS_CODE_UNSET", "STATUS_CODE_ERROR", "1"]);
    let kind = pick(&["SPAN_KIND_SERVER", "0", "3"]);
    let duration = pick(&["0s", "5ns", "1us"]);
    let nilable = pick(&["name", "service", "kind", "duration", "attributes[\"a\"]", "resource.attributes[\"r\"]"]);
    let matchable = pick(&["name", "service", "attributes[\"a\"]", "attributes[\"b\"]", "resource.attributes[\"r\"]"]);
    let pattern = pick(&["", "^a", "1", "^$", "[b-z]", "true|GET"]);
    prop_oneof![
        4 => (attribute, op.clone(), literal).prop_map(move |(path, op, value)| format!("{prefix}{path} {op} {value}")),
        2 => (pick(&["name", "service"]), op.clone(), text).prop_map(move |(path, op, text)| format!("{text} {op} {prefix}{path}")),
        2 => (op.clone(), code).prop_map(move |(op, code)| format!("{prefix}status.code {op} {code}")),
        1 => (op.clone(), kind).prop_map(move |(op, kind)| format!("{prefix}kind {op} {kind}")),
        1 => (op, duration).prop_map(move |(op, duration)| format!("{prefix}duration {op} {duration}")),
        1 => (nilable, equality).prop_map(move |(path, op)| format!("{prefix}{path} {op} nil")),
        2 => (matchable, pattern).prop_map(move |(path, pattern)| format!("IsMatch({prefix}{path}, \"{pattern}\")")),
    ]
}

fn joined(leaf: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" and "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" or "))),
            inner.prop_map(|part| format!("not ({part})")),
        ]
    })
}

fn condition() -> impl Strategy<Value = String> {
    let on_span = || {
        joined(
            prop_oneof![9 => comparison(""), 3 => comparison("span."), 1 => pick(&["true", "false"]).prop_map(str::to_owned)],
        )
    };
    let op = || pick(&["==", "!=", "<", "<=", ">", ">="]);
    joined(prop_oneof![
        4 => (pick(&["any", "all", "none"]), on_span()).prop_map(|(quantifier, inner)| format!("{quantifier}({inner})")),
        2 => (on_span(), op(), -1..4).prop_map(|(inner, op, n)| format!("count({inner}) {op} {n}")),
        3 => comparison("root."),
        1 => (op(), pick(&["0s", "5ns", "1us"])).prop_map(|(op, value)| format!("trace.duration {op} {value}")),
        1 => (op(), pick(&["span_count", "error_count", "services", "depth"]), 0..6)
            .prop_map(|(op, of, n)| format!("{n} {op} trace.{of}")),
        1 => (on_span(), op(), 0..4).prop_map(|(inner, op, n)| format!("siblings({inner}) {op} {n}")),
        2 => (pick(&["child_of", "descendant_of"]), on_span(), on_span())
            .prop_map(|(name, below, above)| format!("{name}({below}, {above})")),
        1 => pick(&["trace.complete", "calls(\"a\", \"b\")", "calls(\"a\", \"a\")", "trace.shape == \"0123456789abcdef\""])
            .prop_map(str::to_owned),
    ])
}

fn attributes(keys: &'static [&'static str]) -> impl Strategy<Value = Vec<KeyValue>> {
    let text = pick(&["", "a", "b", "1", "GET /"]);
    let value = prop_oneof![
        Just(None),
        any::<bool>().prop_map(|value| Some(any_value::Value::BoolValue(value))),
        (-1_i64..3).prop_map(|value| Some(any_value::Value::IntValue(value))),
        prop::sample::select(vec![0.0, 0.5, 1.0, f64::NAN])
            .prop_map(|value| Some(any_value::Value::DoubleValue(value))),
        text.prop_map(|text| Some(any_value::Value::StringValue(text.into()))),
        Just(Some(any_value::Value::BytesValue(b"a".to_vec()))),
        Just(Some(any_value::Value::ArrayValue(ArrayValue::default()))),
    ];
    // A key may be there twice.
    let pair = (pick(keys), value).prop_map(|(key, value)| KeyValue {
        key: key.into(),
        value: Some(AnyValue { value }),
        ..KeyValue::default()
    });
    prop::collection::vec(pair, 0..4)
}

fn span() -> impl Strategy<Value = (Span, Resource)> {
    let intrinsic = (pick(&["", "a", "b", "GET /"]), 0..6, prop::option::of(0..3), 0_u64..2000, 0_u64..2000);
    let resource = attributes(&["service.name", "a", "r", "other"]);
    (intrinsic, attributes(&["a", "b", "c", "other"]), resource).prop_map(
        |((name, kind, status, start, end), attributes, resource)| {
            let span = Span {
                trace_id: vec![1; 16],
                name: name.into(),
                kind,
                start_time_unix_nano: start,
                end_time_unix_nano: end,
                attributes,
                status: status.map(|code| Status { code, ..Status::default() }),
                ..Span::default()
            };
            (span, Resource { attributes: resource, ..Resource::default() })
        },
    )
}

/// Gives spans ids and parents.
fn call(spans: &mut [(Span, Resource)], calls: u128) {
    for (at, (span, _)) in (1_u64..).zip(spans) {
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
            (condition(), prop_oneof![Just(Action::Drop), prop::sample::select(vec![0, 1, 25, 50, 100]).prop_map(Action::Keep)]),
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

    /// A condition that is put together from what is explained of its parts is the condition that decides.
    #[test]
    fn explains_what_decides(
        condition in condition(),
        spans in prop::collection::vec((span(), prop::bool::weighted(0.3)), 1..6),
        calls: u128,
    ) {
        let text = serde_json::to_string(&condition).unwrap();
        let set = policy_set(&format!("policies: [ {{ name: p, when: {text}, keep: always }} ]"));
        let questions = Questions::new(&set);
        let parts = outline(&condition);
        let rows_of = |spans: &[(Span, Resource)], roots: &[bool]| {
            let mut tally = questions.tally();
            let (payload, batch) = sent(questions.policies(), spans);
            for (at, (span, root)) in batch.spans.iter().zip(roots).enumerate() {
                questions.ask(&payload, &batch, span, at, *root, &mut tally);
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
