//! Imported policies judge as the Collector does: its scenarios, through the real engine. `tests/collector.rs` asks the Collector itself.
//!
//! What limits let through is asked in `tests/collector/limits.rs`. Scenarios of the processor (late spans, memory, batches of one
//! trace) are the engine's tests; of decision_wait, decision caches, span-ingest, num_shards and metrics there is nothing to import.

use std::sync::Arc;

use insta::assert_snapshot;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData, span::Event},
};
use prost::Message;

use super::{Draft, Version, collector};
use crate::{
    assemble::{Completion, Keying, Start},
    decide::{Part, PolicySet},
    diagnostic::{Diagnostics, Source},
    engine::{Engine, Past, Record, Settings},
    model::RecordTime,
    yaml,
};

fn imported(text: &str, version: Version) -> Draft {
    let mut diagnostics = Diagnostics::default();
    let source = Arc::new(Source { name: "collector.yaml".into(), text: text.into() });
    let root = yaml::parse(source, &mut diagnostics);
    let draft = root.and_then(|root| collector(&root, None, version, &mut diagnostics));
    draft.unwrap_or_else(|| panic!("{diagnostics}"))
}

fn compiled(text: &str) -> PolicySet {
    let mut diagnostics = Diagnostics::default();
    let source = Arc::new(Source { name: "policies.yaml".into(), text: text.into() });
    let root = yaml::parse(source, &mut diagnostics);
    let set = root.and_then(|root| PolicySet::compile(&[Part::File(&root)], &mut diagnostics));
    set.unwrap_or_else(|| panic!("{diagnostics}\n{text}"))
}

/// Whether a trace of these spans is kept.
fn keeps(set: Arc<PolicySet>, spans: &[(Resource, Span)]) -> bool {
    let settings = Settings {
        keying: Keying::Keyed,
        completion: Completion { quiet: 1_000, completeness: None, max_wait: 10_000, max_trace_bytes: 1 << 20 },
        late_window: 60_000,
        past: Past::Decide,
        buffer: 64 << 20,
        tick_bytes: 1 << 20,
        output_record_bytes: 1 << 20,
        stamps: crate::encode::Stamps::NONE,
        recall: None,
    };
    let mut engine = Engine::new(settings, set);
    engine.assign(Start::at(0));
    let resource_spans = spans.iter().map(|(resource, span)| ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![ScopeSpans { spans: vec![span.clone()], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    });
    let payload = TracesData { resource_spans: resource_spans.collect() }.encode_to_vec();
    let record =
        Record { partition: 0, offset: 0, timestamp: Some(RecordTime(0)), headers: &(), payload: Some(&payload) };
    engine.ingest(record, RecordTime::END).expect("room for one record");
    engine.finish(0);
    engine.advance().expect("room for one trace");
    let tick = engine.cut();
    assert_eq!(tick.decisions.len(), 1);
    !tick.kept.is_empty()
}

/// A span of a trace, and its resource.
fn span(attributes: &[(&str, Value)]) -> (Resource, Span) {
    let span = Span {
        trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes().to_vec(),
        span_id: vec![1; 8],
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 1_000_000_000,
        attributes: pairs(attributes),
        ..Span::default()
    };
    (Resource::default(), span)
}

fn pairs(attributes: &[(&str, Value)]) -> Vec<KeyValue> {
    let pair = |(key, value): &(&str, Value)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(value.clone()) }),
        ..KeyValue::default()
    };
    attributes.iter().map(pair).collect()
}

fn of_resource(attributes: &[(&str, Value)]) -> (Resource, Span) {
    (Resource { attributes: pairs(attributes), ..Resource::default() }, span(&[]).1)
}

fn lasting(from_us: u64, to_us: u64) -> (Resource, Span) {
    let (resource, span) = span(&[]);
    let at = |us: u64| 1_000_000_000 + us * 1_000;
    (resource, Span { start_time_unix_nano: at(from_us), end_time_unix_nano: at(to_us), ..span })
}

fn coded(code: i32) -> (Resource, Span) {
    let (resource, span) = span(&[]);
    (resource, Span { status: Some(Status { code, ..Status::default() }), ..span })
}

fn text(text: &str) -> Value {
    Value::StringValue(text.into())
}

/// A list of policies, or one without its name, in flow style.
fn judge(policies: &str, spans: &[(Resource, Span)]) -> bool {
    let text = match policies.starts_with('[') {
        true => format!("policies: {policies}"),
        false => format!("policies: [{{ name: p, {policies} }}]"),
    };
    let draft = imported(&text, Version::default());
    assert_eq!(draft.missing().collect::<Vec<_>>(), []);
    keeps(Arc::new(compiled(&draft.text())), spans)
}

/// Policies, the spans of a trace, and whether it is kept.
type Row<'a> = (&'a str, &'a [(Resource, Span)], bool);

fn table(rows: &[Row<'_>]) {
    for (policies, spans, kept) in rows {
        assert_eq!(judge(policies, spans), *kept, "{policies} on {spans:?}");
    }
}

#[test]
fn latency() {
    const ABOVE: &str = "type: latency, latency: { threshold_ms: 5000 }";
    const BETWEEN: &str = "type: latency, latency: { threshold_ms: 5000, upper_threshold_ms: 10000 }";
    let of = |us| [lasting(0, us)];
    table(&[
        (ABOVE, &of(4_500_000), false),
        (ABOVE, &of(5_000_000), false),
        (ABOVE, &of(5_000_999), false),
        (ABOVE, &of(5_001_000), true),
        (ABOVE, &[lasting(0, 3_000_000), lasting(2_500_000, 5_500_000)], true),
        (BETWEEN, &of(5_000_000), false),
        (BETWEEN, &of(5_001_000), true),
        (BETWEEN, &of(10_000_000), true),
        (BETWEEN, &of(10_001_000), false),
        // Here the Collector's answer depends on the order of spans: to the first it says yes.
        (BETWEEN, &[lasting(0, 6_000_000), lasting(0, 20_000_000)], false),
        (BETWEEN, &[lasting(0, 20_000_000), lasting(0, 6_000_000)], false),
    ]);
    let old = imported(&format!("policies: [{{ name: p, {ABOVE} }}]"), Version(154));
    assert!(keeps(Arc::new(compiled(&old.text())), &of(5_000_000)), "before v0.157 the threshold counts");
}

#[test]
fn span_count() {
    let three = "type: span_count, span_count: { min_spans: 3 }";
    let range = "type: span_count, span_count: { min_spans: 2, max_spans: 3 }";
    let up_to_twenty = "type: span_count, span_count: { max_spans: 20 }";
    let spans = vec![span(&[]); 21];
    table(&[
        (up_to_twenty, &spans[..20], true),
        (up_to_twenty, &spans, false),
        (range, &spans[..2], true),
        (range, &spans[..4], false),
        (three, &spans[..2], false),
        (three, &spans[..3], true),
        (three, &spans[..4], true),
        (range, &spans[..1], false),
        (range, &spans[..3], true),
        (range, &spans, false),
        ("type: span_count, span_count: { max_spans: 3 }", &spans[..3], true),
        ("type: span_count, span_count: { min_spans: 0, max_spans: 0 }", &spans, true),
    ]);
}

#[test]
fn strings() {
    const EXACT: &str = "type: string_attribute, string_attribute: { key: example, values: [value, \"\"] }";
    const INVERTED: &str =
        "type: string_attribute, string_attribute: { key: example, values: [value], invert_match: true }";
    const REGEX: &str = r#"type: string_attribute, string_attribute: { key: example, values: ["v[0-9]+.HealthCheck$"], enabled_regex_matching: true }"#;
    const SEVERAL: &str = r#"type: string_attribute, string_attribute: { key: example, values: ["v[a-z]+.HealthCheck$", "plain text"], enabled_regex_matching: true }"#;
    const INVERTED_SEVERAL: &str = r#"type: string_attribute, string_attribute: { key: example, values: ["v[a-z]+.HealthCheck$", "plain text"], enabled_regex_matching: true, invert_match: true }"#;
    const EVERYTHING: &str =
        r#"type: string_attribute, string_attribute: { key: example, values: [".*"], enabled_regex_matching: true }"#;
    let example = |value: &str| [span(&[("example", text(value))])];
    table(&[
        (EXACT, &[span(&[("other", text("value"))])], false),
        (EXACT, &example("other"), false),
        (EXACT, &example(""), false),
        (EXACT, &example("value"), true),
        (EXACT, &[of_resource(&[("example", text("value"))])], true),
        (EXACT, &[span(&[]), span(&[("example", text("value"))])], true),
        (INVERTED, &[span(&[])], true),
        (INVERTED, &example("other"), true),
        (INVERTED, &example("value"), false),
        (INVERTED, &[of_resource(&[("example", text("value"))]), span(&[("example", text("other"))])], false),
        (REGEX, &example("grpc.health.v1.HealthCheck"), true),
        (REGEX, &example("grpc.health.vx.HealthCheck"), false),
        (SEVERAL, &example("grpc.health.v1.HealthCheck"), false),
        (SEVERAL, &example("the plain text in it"), true),
        (SEVERAL, &[of_resource(&[("example", text("plain text"))])], true),
        (INVERTED_SEVERAL, &example("grpc.health.v1.HealthCheck"), true),
        (INVERTED_SEVERAL, &example("the plain text in it"), false),
        (INVERTED_SEVERAL, &[span(&[])], true),
        (
            INVERTED_SEVERAL,
            &[&example("a")[..], &example("b")[..], &example("plain text")[..], &example("c")[..]].concat(),
            false,
        ),
        // Without regular expressions it is a text like any other.
        ("type: string_attribute, string_attribute: { key: example, values: ['*bad'] }", &example("*bad"), true),
        // A configuration of the Collector doubles its dollars.
        ("type: string_attribute, string_attribute: { key: example, values: ['$$5'] }", &example("$5"), true),
        ("type: string_attribute, string_attribute: { key: example, values: ['$5'] }", &example("$5"), true),
        ("type: string_attribute, string_attribute: { key: a, values: [] }", &[span(&[("a", text("b"))])], false),
        ("type: string_attribute, string_attribute: { key: a, values: [], invert_match: true }", &[span(&[])], true),
        (
            "type: string_attribute, string_attribute: { key: a, values: ['5'] }",
            &[span(&[("a", Value::IntValue(5))])],
            false,
        ),
        (
            "type: string_attribute, string_attribute: { key: a, values: ['5'], enabled_regex_matching: true }",
            &[span(&[("a", Value::IntValue(5))])],
            false,
        ),
        (EVERYTHING, &example(""), false),
        (EVERYTHING, &example("x"), true),
        (EVERYTHING, &[of_resource(&[("example", text(""))])], true),
        (EVERYTHING, &[of_resource(&[("example", Value::IntValue(5))])], true),
        (EVERYTHING, &[span(&[])], false),
    ]);
}

#[test]
fn numbers() {
    let of = |bounds: &str| format!("type: numeric_attribute, numeric_attribute: {{ key: n, {bounds} }}");
    let n = |n: i64| [span(&[("n", Value::IntValue(n))])];
    let rows: &[Row<'_>] = &[
        ("min_value: 400", &n(500), true),
        ("min_value: 400", &n(300), false),
        ("min_value: 400", &n(400), true),
        ("min_value: -100", &n(50), true),
        ("max_value: 1000", &n(500), true),
        ("max_value: 1000", &n(1001), false),
        ("min_value: 100, max_value: 200", &n(150), true),
        ("min_value: 100, max_value: 200", &n(50), false),
        ("min_value: 100, max_value: 200", &n(100), true),
        ("min_value: 100, max_value: 200", &n(200), true),
        ("min_value: 100, invert_match: true", &n(200), false),
        ("max_value: 100, invert_match: true", &n(50), false),
        ("min_value: 100, invert_match: true", &[span(&[])], true),
        ("min_value: 400", &[span(&[("n", Value::DoubleValue(450.0))])], false),
        // What is no integer is read as 0.
        ("max_value: 1000", &[span(&[("n", Value::DoubleValue(4500.0))])], true),
        ("min_value: -5, max_value: 5", &[span(&[("n", text("x"))])], true),
        ("min_value: -5, max_value: -1", &[span(&[("n", text("x"))])], false),
        ("min_value: 400", &[of_resource(&[("n", Value::IntValue(500))])], true),
    ];
    for (bounds, spans, kept) in rows {
        assert_eq!(judge(&of(bounds), spans), *kept, "{bounds} on {spans:?}");
    }
}

#[test]
fn booleans() {
    let of = |more: &str| format!("type: boolean_attribute, boolean_attribute: {{ key: b, {more} }}");
    let b = |b: bool| [span(&[("b", Value::BoolValue(b))])];
    for (more, spans, kept) in [
        ("value: true", &[span(&[])], false),
        ("value: true", &b(false), false),
        ("value: true", &b(true), true),
        ("value: true, invert_match: true", &[span(&[])], true),
        ("value: true, invert_match: true", &b(false), true),
        ("value: true, invert_match: true", &b(true), false),
        ("value: false", &b(false), true),
        ("value: false", &[span(&[("b", text("x"))])], true),
        ("value: false", &[span(&[])], false),
    ] {
        assert_eq!(judge(&of(more), spans), kept, "{more} on {spans:?}");
    }
}

#[test]
fn codes_flags_and_states() {
    let stated = |state: &str| [(Resource::default(), Span { trace_state: state.into(), ..span(&[]).1 })];
    let flagged = |flags| [(Resource::default(), Span { flags, ..span(&[]).1 })];
    const ERRORS: &str = "type: status_code, status_code: { status_codes: [ERROR] }";
    const STATE: &str = "type: trace_state, trace_state: { key: example, values: [value, other] }";
    table(&[
        (ERRORS, &[coded(0), coded(1)], false),
        (ERRORS, &[coded(0), coded(2)], true),
        ("type: status_code, status_code: { status_codes: [OK, UNSET] }", &[span(&[])], true),
        ("type: status_code, status_code: { status_codes: [OK] }", &[coded(1)], true),
        ("type: trace_flags", &flagged(1), true),
        ("type: trace_flags", &flagged(0), false),
        ("type: trace_flags", &flagged(0x300), false),
        ("type: trace_flags", &flagged(0x301), true),
        (STATE, &stated("example=value,non_matching=value"), true),
        (STATE, &stated("example=non_matching,non_matching=value"), false),
        (STATE, &stated(""), false),
        (STATE, &[stated("a=b"), stated("example=other")].concat(), true),
        (ERRORS, &[coded(1), coded(0), coded(2), coded(1)], true),
        ("type: status_code, status_code: { status_codes: [UNSET] }", &[coded(1), coded(2)], false),
        ("type: trace_state, trace_state: { key: example, values: [] }", &stated("example=value"), false),
    ]);
}

#[test]
fn and_not_and_drop() {
    const STRING_AND_ERROR: &str = "type: and, and: { and_sub_policy: [
        { name: a, type: string_attribute, string_attribute: { key: k, values: [v] } },
        { name: b, type: status_code, status_code: { status_codes: [ERROR] } }] }";
    const METRICS: &str = "[{ name: all, type: always_sample }, { name: metrics, type: drop, drop: { drop_sub_policy: [
        { name: a, type: string_attribute, string_attribute: { key: url.path, values: [/metrics] } }] } }]";
    const PROBES: &str = "[{ name: errors, type: status_code, status_code: { status_codes: [ERROR] } }, { name: all, type: always_sample },
        { name: probes, type: drop, drop: { drop_sub_policy: [
            { name: a, type: string_attribute, string_attribute: { key: route, values: [/live, /ready] } },
            { name: b, type: not, not: { not_sub_policy: { name: c, type: status_code, status_code: { status_codes: [ERROR] } } } }] } }]";
    const NOT_V_AND_ERROR: &str = "type: and, and: { and_sub_policy: [
        { name: a, type: string_attribute, string_attribute: { key: k, values: [v], invert_match: true } },
        { name: b, type: status_code, status_code: { status_codes: [ERROR] } }] }";
    const NOT_GOLD: &str = "[{ name: all, type: always_sample }, { name: cheap, type: drop, drop: { drop_sub_policy: [
        { name: a, type: string_attribute, string_attribute: { key: tier, values: [gold], invert_match: true } },
        { name: b, type: span_count, span_count: { max_spans: 1 } }] } }]";
    let [found, failed] = [span(&[("k", text("v"))]), coded(2)];
    let gold = span(&[("tier", text("gold"))]);
    let live = span(&[("route", text("/live"))]);
    table(&[
        (STRING_AND_ERROR, std::slice::from_ref(&failed), false),
        (STRING_AND_ERROR, std::slice::from_ref(&found), false),
        // By different spans.
        (STRING_AND_ERROR, &[found.clone(), failed.clone()], true),
        (
            "type: not, not: { not_sub_policy: { name: a, type: latency, latency: { threshold_ms: 1000 } } }",
            &[lasting(0, 500_000)],
            true,
        ),
        (
            "type: not, not: { not_sub_policy: { name: a, type: latency, latency: { threshold_ms: 1000 } } }",
            &[lasting(0, 1_500_000)],
            false,
        ),
        (NOT_V_AND_ERROR, std::slice::from_ref(&failed), true),
        (NOT_V_AND_ERROR, &[failed.clone(), found.clone()], false),
        (NOT_V_AND_ERROR, std::slice::from_ref(&found), false),
        // All of a drop's policies must match, inverted ones too.
        (NOT_GOLD, &[span(&[])], false),
        (NOT_GOLD, &[span(&[]), span(&[])], true),
        (NOT_GOLD, std::slice::from_ref(&gold), true),
        (METRICS, &[span(&[("url.path", text("/metrics"))])], false),
        (METRICS, &[span(&[]), span(&[("url.path", text("/metrics"))])], false),
        (METRICS, &[span(&[("url.path", text("/health"))])], true),
        (PROBES, &[live.clone(), failed.clone()], true),
        (PROBES, &[live], false),
        ("type: drop, drop: { drop_sub_policy: [{ name: a, type: always_sample }] }", &[span(&[])], false),
    ]);
}

#[test]
fn ottl() {
    let of = |more: &str| format!("type: ottl_condition, ottl_condition: {{ error_mode: ignore, {more} }}");
    let event = Event { name: "exception".into(), ..Event::default() };
    let with_event = [(Resource::default(), Span { events: vec![event], ..span(&[]).1 })];
    for (more, spans, kept) in [
        (r#"span: ["attributes[\"k\"] == \"v\""]"#, &[span(&[("k", text("v"))])], true),
        (r#"span: ["attributes[\"k\"] == \"v\""]"#, &[span(&[])], false),
        (r#"span: ["attributes[\"k\"] != \"v\""]"#, &[span(&[])], true),
        (r#"span: ["span.attributes[\"k\"] == \"v\"", "IsRootSpan()"]"#, &[span(&[])], true),
        (r#"spanevent: ["name != \"x\""]"#, &[span(&[])], false),
        (r#"spanevent: ["name != \"x\""]"#, &with_event, true),
        (r#"spanevent: ["spanevent.name == \"x\""]"#, &with_event, false),
        (r#"span: ["name == \"x\""], spanevent: ["name == \"exception\""]"#, &with_event, true),
        (r#"span: ["name == \"x\"", "span.attributes[\"k\"] == \"v\""]"#, &[span(&[("k", text("v"))])], true),
        (r#"span: ["resource.attributes[\"k\"] == \"v\""]"#, &[of_resource(&[("k", text("v"))])], true),
        (r#"span: ["resource.attributes[\"k\"] == \"v\""]"#, &[span(&[("k", text("v"))])], false),
        (r#"span: ["scope.name == \"\" and instrumentation_scope.version == \"\""]"#, &[span(&[])], true),
        (r#"span: ["instrumentation_scope.name == \"http\""]"#, &[span(&[])], false),
        (r#"spanevent: ["spanevent.name == \"exception\""]"#, &with_event, true),
        (r#"spanevent: ["name == \"exception\" and span.attributes[\"k\"] == nil"]"#, &with_event, true),
        (r#"spanevent: ["name == \"exception\" and span.attributes[\"k\"] != nil"]"#, &with_event, false),
        (r#"spanevent: ["scope.name == \"\" and resource.attributes[\"k\"] == nil"]"#, &with_event, true),
        (r#"spanevent: ["scope.name == \"\" and resource.attributes[\"k\"] == nil"]"#, &[span(&[])], false),
        (r#"span: ["end_time_unix_nano - start_time_unix_nano > 1000"]"#, &[lasting(0, 2)], true),
    ] {
        assert_eq!(judge(&of(more), spans), kept, "{more} on {spans:?}");
    }
}

#[test]
fn probabilities() {
    let of = |percent: &str| format!("type: probabilistic, probabilistic: {{ sampling_percentage: {percent} }}");
    // The hash of the trace id lies at 64.5588 %.
    for (percent, kept) in [("64.5587", false), ("64.5589", true), ("0", false), ("100", true), ("250", true)] {
        assert_eq!(judge(&of(percent), &[span(&[])]), kept, "{percent}");
    }
}

#[test]
fn what_the_collector_would_not_start_with_is_not_imported() {
    for (policy, why) in [
        (
            "type: string_attribute, string_attribute: { key: k, values: ['*bad'], enabled_regex_matching: true }",
            "the pattern \"*bad\" is not understood here",
        ),
        (
            "type: and, and: { and_sub_policy: [{ name: a, type: composite, composite: {} }] }",
            "the Collector takes no `composite` in another policy",
        ),
        ("type: magic", "`magic` is no policy type of the Collector itself"),
        (
            r#"type: ottl_condition, ottl_condition: { span: ["nothing.name == \"x\""] }"#,
            r#"unknown path `nothing.name`, in any((nothing.name == "x"))"#,
        ),
        (
            r#"type: ottl_condition, ottl_condition: { spanevent: ["kind == SPAN_KIND_SERVER"] }"#,
            r#"`kind` is of the span, inside `any_event(…)`, which looks at one event at a time, in any_event((kind == SPAN_KIND_SERVER))"#,
        ),
    ] {
        let draft = imported(&format!("policies: [{{ name: p, {policy} }}]"), Version::default());
        assert_eq!(draft.missing().collect::<Vec<_>>(), [("p", why)]);
    }
}

#[test]
fn what_is_written_is_for_people() {
    let text = r#"
receivers: { kafka: {} }
processors:
  batch: {}
  tail_sampling:
    decision_wait: 10s
    num_traces: 100
    policies:
      - { name: health, type: drop, drop: { drop_sub_policy: [{ name: a, type: string_attribute, string_attribute: { key: http.route, values: [/healthz] } }] } }
      - { name: slow, type: latency, latency: { threshold_ms: 5000, upper_threshold_ms: 9000 } }
      - { name: limited, type: rate_limiting, rate_limiting: { spans_per_second: 35 } }
      - name: a tenth of checkout
        type: and
        and:
          and_sub_policy:
            - { name: a, type: string_attribute, string_attribute: { key: service.name, values: [checkout] } }
            - { name: b, type: probabilistic, probabilistic: { sampling_percentage: 10, hash_salt: pepper } }
"#;
    assert_snapshot!(imported(text, Version::default()).text(), @r#"
        # Imported from the Collector's tail_sampling.
        # decision_wait: 10s. Tailwater decides when a trace is complete; `completion: { max_wait: … }` in its
        # configuration bounds the wait.
        # num_traces: memory is bounded in bytes here, by `memory: { buffer: … }`.
        # Rates: the Collector's are of each Collector and follow its clock; here they are of all workers together, and
        # a second is one of the records.
        # The Collector lets through what comes first. Here what is above a rate is cut by randomness, and the weights
        # say so: about as much is kept, but not the same traces.
        # In the Collector a rate is also used up by traces that other policies keep; here only by those that no other
        # keeps for certain. So all policies together may keep more.
        # The Collector never keeps a trace that is larger than a burst; here it is kept when as much is saved up as can be.
        match: any
        randomness: { fnv: pepper }
        policies:
          - name: health
            when: >-
              any(attributes["http.route"] == "/healthz" or resource.attributes["http.route"] == "/healthz")
            drop: always

          # The Collector judges after each span, and keeps a trace that was between the bounds at any moment, also one
          # that grew beyond them: what it keeps depends on the order of spans. Here the whole trace counts.
          - name: slow
            when: >-
              trace.duration >= 5001ms and trace.duration < 9001ms
            keep: always

          - name: limited
            keep: { rate: { spans_per_second: 35, burst: 2s } }

          - name: "a tenth of checkout"
            when: >-
              any(attributes["service.name"] == "checkout" or resource.attributes["service.name"] == "checkout")
            keep: { probability: 10% }

        otherwise: drop
    "#);
}

/// What `policies` are imported as.
fn written(policies: &str, version: u32) -> String {
    let draft = imported(&format!("policies: {policies}"), Version(version));
    assert_eq!(draft.missing().collect::<Vec<_>>(), []);
    compiled(&draft.text());
    draft.text()
}

#[test]
fn limits() {
    let text = written(
        "[{ name: spans, type: rate_limiting, rate_limiting: { spans_per_second: 35 } },
          { name: burst, type: rate_limiting, rate_limiting: { spans_per_second: 100, burst_capacity: 250 } },
          { name: short, type: rate_limiting, rate_limiting: { spans_per_second: 100, burst_capacity: 20 } },
          { name: bytes, type: bytes_limiting, bytes_limiting: { bytes_per_second: 1000000 } },
          { name: none, type: rate_limiting, rate_limiting: {} },
          { name: failed, type: and, and: { and_sub_policy: [
              { name: a, type: rate_limiting, rate_limiting: { spans_per_second: 5 } },
              { name: b, type: status_code, status_code: { status_codes: [ERROR] } },
              { name: c, type: probabilistic, probabilistic: { sampling_percentage: 50 } }] } },
          { name: drop, type: drop, drop: { drop_sub_policy: [{ name: a, type: span_count, span_count: { max_spans: 1 } }] } }]",
        160,
    );
    assert_snapshot!(text, @r#"
        # Imported from the Collector's tail_sampling.
        # Rates: the Collector's are of each Collector and follow its clock; here they are of all workers together, and
        # a second is one of the records.
        # The Collector lets through what comes first. Here what is above a rate is cut by randomness, and the weights
        # say so: about as much is kept, but not the same traces.
        # In the Collector a rate is also used up by traces that other policies keep; here only by those that no other
        # keeps for certain. So all policies together may keep more.
        # The Collector never keeps a trace that is larger than a burst; here it is kept when as much is saved up as can be.
        match: any
        randomness: { fnv: default-hash-seed }
        policies:
          - name: spans
            keep: { rate: { spans_per_second: 35, burst: 2s } }

          - name: burst
            keep: { rate: { spans_per_second: 100, burst: 2500ms } }

          # burst_capacity: 20. Here at least a second of a rate is saved up, and at most ten minutes.
          - name: short
            keep: { rate: { spans_per_second: 100, burst: 1s } }

          # The Collector counts a trace as it would be written, resources and scopes included; here its spans are counted.
          - name: bytes
            keep: { rate: { bytes_per_second: 1000000, burst: 2s } }

          - name: none
            when: >-
              false
            keep: always

          # In the Collector its rate is also used up by what the sub-policies behind it turn down; here it is not.
          - name: failed
            when: >-
              any(status.code == STATUS_CODE_ERROR)
            keep: [{ rate: { spans_per_second: 5, burst: 2s } }, { probability: 50% }]

          - name: drop
            when: >-
              trace.span_count <= 1
            drop: always

        otherwise: drop
    "#);
    let alone = written("[{ name: p, type: rate_limiting, rate_limiting: { spans_per_second: 35 } }]", 152);
    assert_snapshot!(alone, @r#"
        # Imported from the Collector's tail_sampling.
        # Rates: the Collector's are of each Collector and follow its clock; here they are of all workers together, and
        # a second is one of the records.
        # The Collector lets through what comes first. Here what is above a rate is cut by randomness, and the weights
        # say so: about as much is kept, but not the same traces.
        # In the Collector a rate is also used up by traces that other policies keep; here only by those that no other
        # keeps for certain. So all policies together may keep more.
        # The Collector never keeps a trace that is larger than a burst; here it is kept when as much is saved up as can be.
        match: any
        policies:
          - name: p
            keep: { rate: { spans_per_second: 35, burst: 1s } }

        otherwise: drop
    "#);
}

/// What the reference shows, in its rows: a type, its settings, and what comes of them.
#[test]
fn limits_and_goals_as_in_the_reference() {
    let reference = include_str!("../../docs/policies.md");
    let (_, table) = reference.split_once("\n| there | here |\n|---|---|\n").expect("a table");
    let mut shown = 0;
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let texts: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let Some(settings) = texts.iter().position(|text| text.starts_with('{')) else { continue };
        for kind in &texts[..settings] {
            let (settings, kept) = (texts[settings], texts[settings + 1].replace(", by: […]", ""));
            let text = match kind.ends_with("_limiting") {
                true => written(&format!("[{{ name: p, type: {kind}, {kind}: {settings} }}]"), 160),
                // Its settings have another name.
                false if *kind == "DynamicSampler" => continue,
                false => {
                    let rules = format!("{{ RulesVersion: 2, Samplers: {{ p: {{ {kind}: {settings} }} }} }}");
                    rules_of(&rules, "p").text()
                }
            };
            assert!(text.contains(&kept), "{row}\n{text}");
            shown += 1;
        }
    }
    assert_eq!(shown, 6);
}

const COMPOSITE: &str = "[{ name: fair, type: composite, composite: {
    max_total_spans_per_second: 1000,
    policy_order: [slow, errors, rest],
    composite_sub_policy: [
        { name: errors, type: status_code, status_code: { status_codes: [ERROR] } },
        { name: half, type: and, and: { and_sub_policy: [
            { name: a, type: string_attribute, string_attribute: { key: tier, values: [gold] } },
            { name: b, type: probabilistic, probabilistic: { sampling_percentage: 50 } }] } },
        { name: slow, type: latency, latency: { threshold_ms: 1000 } },
        { name: rest, type: always_sample }],
    rate_allocation: [{ policy: errors, percent: 50 }, { policy: half, percent: 25 }, { policy: slow, percent: 25 }] } }]";

#[test]
fn composites() {
    assert_snapshot!(written(COMPOSITE, 160), @r#"
        # Imported from the Collector's tail_sampling.
        # Rates: the Collector's are of each Collector and follow its clock; here they are of all workers together, and
        # a second is one of the records.
        # The Collector lets through what comes first. Here what is above a rate is cut by randomness, and the weights
        # say so: about as much is kept, but not the same traces.
        # In the Collector a rate is also used up by traces that other policies keep; here only by those that no other
        # keeps for certain. So all policies together may keep more.
        # The Collector never keeps a trace that is larger than a burst; here it is kept when as much is saved up as can be.
        match: any
        randomness: { fnv: default-hash-seed }
        policies:
          # policy_order: the Collector goes by the order of composite_sub_policy, whatever stands there.
          # rate_allocation comes to 1250 spans a second. The Collector holds max_total_spans_per_second: 1000 for each
          # sub-policy, not for all together, and so does this; `budget: { spans_per_second: 1000 }` in the group would.
          - name: fair
            match: first
            policies:
              - name: fair/errors
                when: >-
                  any(status.code == STATUS_CODE_ERROR)
                keep: { rate: { spans_per_second: 500, burst: 1s } }
              # In the Collector what its sampler does not pick goes on to the next, and what is above its rate does not. Here
              # both do.
              - name: fair/half
                when: >-
                  any(attributes["tier"] == "gold" or resource.attributes["tier"] == "gold")
                keep: [{ probability: 50% }, { rate: { spans_per_second: 250, burst: 1s } }]
                on_reject: next
              - name: fair/slow
                when: >-
                  trace.duration >= 1001ms
                keep: { rate: { spans_per_second: 250, burst: 1s } }
              - name: fair/rest
                keep: { rate: { spans_per_second: 250, burst: 1s } }

        otherwise: drop
    "#);
    let old = written(COMPOSITE, 158);
    assert!(old.contains("name: fair/rest\n        keep: { probability: 0% }"), "{old}");
    let wrong = imported(
        "policies: [{ name: p, type: composite, composite: { max_total_spans_per_second: 9, composite_sub_policy: [{ name: a, type: magic }] } }]",
        Version::default(),
    );
    let why = "`a` in it: `magic` is no policy type of the Collector itself";
    assert_eq!(wrong.missing().collect::<Vec<_>>(), [("p", why)]);
}

#[test]
fn mistakes_stand_where_they_are() {
    let wrong = |text: &str| {
        let mut diagnostics = Diagnostics::default();
        let source = Arc::new(Source { name: "collector.yaml".into(), text: text.into() });
        let draft = yaml::parse(source, &mut diagnostics)
            .and_then(|root| collector(&root, None, Version::default(), &mut diagnostics));
        assert!(draft.is_none());
        diagnostics.to_string()
    };
    assert_snapshot!([
        "processors: { batch: {} }",
        "processors: { tail_sampling: { policies: [] }, tail_sampling/two: { policies: [] } }",
        "policies: [{ name: a, type: status_code, status_code: { status_codes: [ERR] } }]",
        "policies: [{ name: a, type: latency, latency: { treshold_ms: 5 } }]",
        "policies: [{ name: a, type: always_sample }, { name: a, type: trace_flags }]",
        "policies: [{ name: a, type: status_code, status_code: { status_codes: [] } }]",
        "policies: [{ name: a, type: ottl_condition, ottl_condition: { error_mode: ignore, span: [] } }]",
        "policies: [{ name: a, type: string_attribute, string_attribute: { key: k, values: ['${env:TIER}'] } }]",
    ].map(wrong).join("\n"), @r#"
        error: no processor `tail_sampling`
         --> collector.yaml:1:13
          |
        1 | processors: { batch: {} }
          |             ^^^^^^^^^^^^^
          |
          = hint: a whole collector configuration, its `processors`, or the processor's block

        1 error
        error: several processors: tail_sampling, tail_sampling/two
         --> collector.yaml:1:13
          |
        1 | processors: { tail_sampling: { policies: [] }, tail_sampling/two: { policies: [] } }
          |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: say which, with --processor

        1 error
        error: `ERR` is no status code
         --> collector.yaml:1:72
          |
        1 | policies: [{ name: a, type: status_code, status_code: { status_codes: [ERR] } }]
          |                                                                        ^^^
          |
          = hint: they are OK, ERROR and UNSET

        1 error
        error: unknown field `treshold_ms`, did you mean `threshold_ms`?
         --> collector.yaml:1:49
          |
        1 | policies: [{ name: a, type: latency, latency: { treshold_ms: 5 } }]
          |                                                 ^^^^^^^^^^^

        1 error
        error: the Collector refuses two policies named `a`
         --> collector.yaml:1:46
          |
        1 | policies: [{ name: a, type: always_sample }, { name: a, type: trace_flags }]
          |                                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1 error
        error: the Collector refuses an empty list of status codes
         --> collector.yaml:1:71
          |
        1 | policies: [{ name: a, type: status_code, status_code: { status_codes: [] } }]
          |                                                                       ^^

        1 error
        error: the Collector refuses an `ottl_condition` without conditions
         --> collector.yaml:1:61
          |
        1 | policies: [{ name: a, type: ottl_condition, ottl_condition: { error_mode: ignore, span: [] } }]
          |                                                             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1 error
        error: the Collector puts something else in the place of `${…}`
         --> collector.yaml:1:84
          |
        1 | policies: [{ name: a, type: string_attribute, string_attribute: { key: k, values: ['${env:TIER}'] } }]
          |                                                                                    ^^^^^^^^^^^^^
          |
          = hint: write what it stands for

        1 error
    "#);
}

const RULES: &str = r#"
RulesVersion: 2
Samplers:
  __default__: { DeterministicSampler: { SampleRate: 10 } }
  shop:
    RulesBasedSampler:
      Rules:
        - { Name: drop health, Drop: true, Conditions: [{ Field: root.http.route, Operator: "=", Value: /healthz }] }
        - { Name: errors, SampleRate: 1, Conditions: [{ Field: status, Operator: ">=", Value: 500, Datatype: int }] }
        - Name: slow query
          Scope: span
          SampleRate: 1
          Conditions:
            - { Field: db.system, Operator: exists }
            - { Field: name, Operator: starts-with, Value: "SELECT (" }
        - { Name: not gold, SampleRate: 1, Conditions: [{ Field: tier, Operator: "!=", Value: gold }] }
        - { Name: many, Drop: true, Conditions: [{ Field: "?.NUM_DESCENDANTS", Operator: ">", Value: 3 }, { Operator: has-root-span }] }
        - { Name: dynamic, Conditions: [{ Field: region, Operator: in, Value: [eu, us] }], Sampler: { EMADynamicSampler: { GoalSampleRate: 5 } } }
"#;

fn rules(environment: &str) -> Draft {
    rules_of(RULES, environment)
}

fn rules_of(text: &str, environment: &str) -> Draft {
    let mut diagnostics = Diagnostics::default();
    let source = Arc::new(Source { name: "rules.yaml".into(), text: text.into() });
    let root = yaml::parse(source, &mut diagnostics);
    let draft = root.and_then(|root| super::refinery(&root, environment, &mut diagnostics));
    draft.unwrap_or_else(|| panic!("{diagnostics}"))
}

#[test]
fn refinerys_rules() {
    let set = Arc::new(compiled(&rules("shop").text()));
    let gold = ("tier", text("gold"));
    let query = |name: &str, more: &[(&str, Value)]| {
        let (resource, span) = span(more);
        (resource, Span { name: name.into(), ..span })
    };
    let table: &[(&[(Resource, Span)], bool)] = &[
        (&[span(&[("http.route", text("/healthz"))])], false),
        (&[span(&[("status", Value::IntValue(503)), gold.clone()])], true),
        // Of one span, both; then a rule of all spans, of which one is not gold.
        (&[query("SELECT (a)", &[("db.system", text("x")), gold.clone()])], true),
        (
            &[
                span(std::slice::from_ref(&gold)),
                span(std::slice::from_ref(&gold)),
                span(std::slice::from_ref(&gold)),
                span(&[]),
            ],
            true,
        ),
        (&vec![span(std::slice::from_ref(&gold)); 4], false),
        (&[of_resource(std::slice::from_ref(&gold))], true),
    ];
    for (spans, kept) in table {
        assert_eq!(keeps(set.clone(), spans), *kept, "{spans:?}");
    }
    assert_snapshot!(rules("shop").text(), @r#"
        # Imported from Refinery's rules for shop. Refinery hashes trace ids in its own way: the shares are the same,
        # the traces picked are not.
        match: first
        policies:
          - name: "drop health"
            when: >-
              (root.attributes["http.route"] == "/healthz" or root.resource.attributes["http.route"] == "/healthz")
            drop: always

          - name: errors
            when: >-
              any((attributes["status"] >= 500 or resource.attributes["status"] >= 500))
            keep: always

          - name: "slow query"
            when: >-
              any((attributes["db.system"] != nil or resource.attributes["db.system"] != nil) and IsMatch(name, "^SELECT \\("))
            keep: always

          # `tier !=`: true as soon as one span is not such, also where it has no tier. Often none(…) is meant.
          - name: "not gold"
            when: >-
              any(not (attributes["tier"] == "gold" or resource.attributes["tier"] == "gold"))
            keep: always

          - name: many
            when: >-
              trace.span_count > 3 and root.name != nil
            drop: always

          # EMADynamicSampler: to Refinery one of 5 spans, events and links counted; here one of 5 traces.
          - name: dynamic
            when: >-
              any(((attributes["region"] == "eu" or attributes["region"] == "us" or resource.attributes["region"] == "eu" or
              resource.attributes["region"] == "us")))
            keep: { adaptive: { probability: 1/5 } }

        otherwise: keep
    "#);
    assert_snapshot!(rules("__default__").text(), @r#"
        # Imported from Refinery's rules for __default__. Refinery hashes trace ids in its own way: the shares are the
        # same, the traces picked are not.
        match: first
        policies:
          - name: __default__
            keep: { probability: 1/10 }

        otherwise: keep
    "#);
}

const DYNAMIC: &str = r#"
RulesVersion: 2
Samplers:
  __default__: { DynamicSampler: { SampleRate: 20, ClearFrequency: 60s, FieldList: [http.method, root.http.route, service.name] } }
  everything: { EMADynamicSampler: { GoalSampleRate: 1, FieldList: [name] } }
  strange: { MagicSampler: {} }
  shop:
    RulesBasedSampler:
      Rules:
        - Name: errors
          Conditions: [{ Field: error, Operator: exists }]
          Sampler: { EMAThroughputSampler: { GoalThroughputPerSec: 50, UseClusterSize: true, FieldList: [name], UseTraceLength: true } }
        - Name: gold
          Conditions: [{ Field: root.tier, Operator: "=", Value: gold }]
          Sampler: { WindowedThroughputSampler: { GoalThroughputPerSec: 70, UpdateFrequency: 1s, LookbackFrequency: 30s, FieldList: [root.name] } }
        - Name: many
          Conditions: [{ Field: root.tier, Operator: "=", Value: silver }]
          Sampler: { EMADynamicSampler: { AdjustmentInterval: 15s, Weight: 0.5, MaxKeys: 500, FieldList: [a, b, c, "it's", name] } }
        - Name: the rest
          Sampler: { TotalThroughputSampler: {} }
"#;

#[test]
fn refinerys_samplers_that_learn() {
    let text = |environment| {
        let draft = rules_of(DYNAMIC, environment);
        assert_eq!(draft.missing().collect::<Vec<_>>(), []);
        compiled(&draft.text());
        draft.text()
    };
    assert_snapshot!(text("__default__"), @r#"
        # Imported from Refinery's rules for __default__. Refinery hashes trace ids in its own way: the shares are the
        # same, the traces picked are not.
        match: first
        policies:
          # DynamicSampler: to Refinery one of 20 spans, events and links counted; here one of 20 traces.
          # ClearFrequency: there is nothing to set in how `adaptive` learns.
          - name: __default__
            keep:
              { adaptive: { probability: 1/20, by: ['values(attributes["http.method"])',
              'values(resource.attributes["http.method"])', 'root.attributes["http.route"]',
              'root.resource.attributes["http.route"]', values(service)] } }

        otherwise: keep
    "#);
    assert!(text("everything").contains("name: everything\n    keep: always"));
    assert_snapshot!(text("shop"), @r#"
        # Imported from Refinery's rules for shop. Refinery hashes trace ids in its own way: the shares are the same,
        # the traces picked are not.
        match: first
        policies:
          # GoalThroughputPerSec: Refinery's is of the cluster, with events and links counted; here it is of all workers
          # together, and of spans alone.
          - name: errors
            when: >-
              any((attributes["error"] != nil or resource.attributes["error"] != nil))
            keep: { adaptive: { spans_per_second: 50, by: [values(name), trace.span_count] } }

          # GoalThroughputPerSec: Refinery's is of each node, with events and links counted; here it is of all workers
          # together, and of spans alone.
          # By WindowedThroughputSampler each kind has an even part of the goal. Here frequent ones have more; `rate` with
          # the same `by` is even, and a ceiling.
          # UpdateFrequency, LookbackFrequency: there is nothing to set in how `adaptive` learns.
          - name: gold
            when: >-
              (root.attributes["tier"] == "gold" or root.resource.attributes["tier"] == "gold")
            keep: { adaptive: { spans_per_second: 70, by: [root.name] } }

          # EMADynamicSampler: to Refinery one of 10 spans, events and links counted; here one of 10 traces.
          # AdjustmentInterval, Weight: there is nothing to set in how `adaptive` learns.
          # it's: all spans are looked at for 8 paths at most, in all policies; of this the root's value counts.
          - name: many
            when: >-
              (root.attributes["tier"] == "silver" or root.resource.attributes["tier"] == "silver")
            keep:
              { adaptive: { probability: 1/10, by: ['values(attributes["a"])', 'values(resource.attributes["a"])',
              'values(attributes["b"])', 'values(resource.attributes["b"])', 'values(attributes["c"])',
              'values(resource.attributes["c"])', 'root.attributes["it''s"]', 'root.resource.attributes["it''s"]',
              values(name)] } }

          # GoalThroughputPerSec: Refinery's is of each node, with events and links counted; here it is of all workers
          # together, and of spans alone.
          # By TotalThroughputSampler each kind has an even part of the goal. Here frequent ones have more; `rate` with
          # the same `by` is even, and a ceiling.
          - name: "the rest"
            keep: { adaptive: { spans_per_second: 100 } }

        otherwise: keep
    "#);
    let strange = rules_of(DYNAMIC, "strange");
    assert_eq!(strange.missing().collect::<Vec<_>>(), [("strange", "`MagicSampler` is no sampler of Refinery's")]);
}
