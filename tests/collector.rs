//! The OpenTelemetry Collector as the judge of what is imported from it: one topic through both, policy by policy.

mod boutique;
mod corpus;
mod limits;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::support::{
    collector::{AT_THE_END, Collector, traces},
    kafka::{Topic, kafka},
    oracle::{TraceId, hex},
    processor::Job,
    seed::seed,
    witness,
};

/// By name, what stands under `policies`. On these the Collector and we must agree.
const SAME: &[(&str, &str)] = &[
    // always_sample keeps everything: it shows where something else drops.
    (
        "drop",
        "[{ name: all, type: always_sample }, { name: d, type: drop, drop: { drop_sub_policy: [{ name: a, type: string_attribute, string_attribute: { key: http.route, values: [/healthz, /ready] } }, { name: b, type: not, not: { not_sub_policy: { name: c, type: status_code, status_code: { status_codes: [ERROR] } } } }] } }]",
    ),
    ("latency", "[{ name: p, type: latency, latency: { threshold_ms: 3000 } }]"),
    ("latency-of-whole-ms", "[{ name: p, type: latency, latency: { threshold_ms: 1900 } }]"),
    (
        "number-from",
        "[{ name: p, type: numeric_attribute, numeric_attribute: { key: http.response.status_code, min_value: 404 } }]",
    ),
    ("number-to", "[{ name: p, type: numeric_attribute, numeric_attribute: { key: retries, max_value: 40 } }]"),
    (
        "number-between",
        "[{ name: p, type: numeric_attribute, numeric_attribute: { key: retries, min_value: -10, max_value: 5 } }]",
    ),
    (
        "number-not",
        "[{ name: p, type: numeric_attribute, numeric_attribute: { key: http.response.status_code, min_value: 300, max_value: 599, invert_match: true } }]",
    ),
    ("probability", "[{ name: p, type: probabilistic, probabilistic: { sampling_percentage: 33.3 } }]"),
    (
        "probability-salted",
        "[{ name: p, type: probabilistic, probabilistic: { sampling_percentage: 10, hash_salt: pepper } }]",
    ),
    ("status", "[{ name: p, type: status_code, status_code: { status_codes: [ERROR] } }]"),
    ("status-ok", "[{ name: p, type: status_code, status_code: { status_codes: [OK, ERROR] } }]"),
    (
        "string",
        "[{ name: p, type: string_attribute, string_attribute: { key: http.route, values: [/search, \"\", \"5\"] } }]",
    ),
    (
        "string-resource",
        "[{ name: p, type: string_attribute, string_attribute: { key: service.name, values: [cart, payments] } }]",
    ),
    (
        "string-not",
        "[{ name: p, type: string_attribute, string_attribute: { key: http.route, values: [/cart], invert_match: true } }]",
    ),
    (
        "regex",
        r#"[{ name: p, type: string_attribute, string_attribute: { key: http.route, values: ["v[0-9]+.HealthCheck$$", "^/ch"], enabled_regex_matching: true } }]"#,
    ),
    (
        "regex-empty",
        r#"[{ name: p, type: string_attribute, string_attribute: { key: tier, values: ["^$|old"], enabled_regex_matching: true } }]"#,
    ),
    (
        "regex-not",
        r#"[{ name: p, type: string_attribute, string_attribute: { key: tier, values: [".*"], enabled_regex_matching: true, invert_match: true } }]"#,
    ),
    ("boolean", "[{ name: p, type: boolean_attribute, boolean_attribute: { key: cached, value: true } }]"),
    ("boolean-false", "[{ name: p, type: boolean_attribute, boolean_attribute: { key: cached, value: false } }]"),
    (
        "boolean-not",
        "[{ name: p, type: boolean_attribute, boolean_attribute: { key: cached, value: false, invert_match: true } }]",
    ),
    ("trace-state", "[{ name: p, type: trace_state, trace_state: { key: vendor, values: [a, c] } }]"),
    ("trace-flags", "[{ name: p, type: trace_flags }]"),
    ("span-count", "[{ name: p, type: span_count, span_count: { min_spans: 9 } }]"),
    ("span-count-between", "[{ name: p, type: span_count, span_count: { min_spans: 3, max_spans: 5 } }]"),
    (
        "and",
        "[{ name: p, type: and, and: { and_sub_policy: [{ name: a, type: status_code, status_code: { status_codes: [ERROR] } }, { name: b, type: string_attribute, string_attribute: { key: service.name, values: [front] } }] } }]",
    ),
    (
        "and-probability",
        "[{ name: p, type: and, and: { and_sub_policy: [{ name: a, type: span_count, span_count: { min_spans: 4 } }, { name: b, type: probabilistic, probabilistic: { sampling_percentage: 50 } }] } }]",
    ),
    (
        "not",
        "[{ name: p, type: not, not: { not_sub_policy: { name: a, type: latency, latency: { threshold_ms: 2100 } } } }]",
    ),
    (
        "several",
        "[{ name: a, type: latency, latency: { threshold_ms: 5000 } }, { name: b, type: status_code, status_code: { status_codes: [ERROR] } }, { name: c, type: probabilistic, probabilistic: { sampling_percentage: 5 } }]",
    ),
    (
        "ottl",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: ignore, span: ["attributes[\"http.route\"] == \"/checkout\" and status.code != STATUS_CODE_OK", "name == \"PING\" and kind == SPAN_KIND_CLIENT"] } }]"#,
    ),
    (
        "ottl-absent",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: ignore, span: ["attributes[\"tier\"] != \"gold\" and IsRootSpan() and resource.attributes[\"service.name\"] == \"cart\""] } }]"#,
    ),
    (
        "ottl-types",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: ignore, span: ["attributes[\"http.response.status_code\"] >= 500", "attributes[\"retries\"] > 45.5"] } }]"#,
    ),
    (
        "ottl-regex",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: silent, span: ["IsMatch(attributes[\"http.route\"], \"^/cart/\") and not IsMatch(name, \"^GET\")"] } }]"#,
    ),
    (
        "ottl-scope",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: ignore, span: ["instrumentation_scope.name == \"sql\" and kind == SPAN_KIND_PRODUCER"] } }]"#,
    ),
    (
        "ottl-time",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: ignore, span: ["end_time_unix_nano - start_time_unix_nano > 3000000000"] } }]"#,
    ),
    (
        "ottl-status",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: ignore, span: ["status.message == \"timeout\"", "trace_state[\"vendor\"] == \"b\""] } }]"#,
    ),
    (
        "ottl-event",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: ignore, spanevent: ["name == \"exception\" and attributes[\"exception.type\"] == \"Timeout\"", "spanevent.name == \"nothing\""] } }]"#,
    ),
    (
        "ottl-both",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: ignore, span: ["span.name == \"Charge\" and span.kind == SPAN_KIND_SERVER"], spanevent: ["name == \"exception\" and IsMatch(attributes[\"exception.type\"], \"^java\")"] } }]"#,
    ),
    (
        "ottl-event-of-span",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: ignore, spanevent: ["name == \"exception\" and span.attributes[\"http.route\"] == \"/cart\"", "spanevent.attributes[\"exception.type\"] == \"Timeout\" and span.kind == SPAN_KIND_CLIENT and not IsMatch(span.name, \"^GET\")"] } }]"#,
    ),
    (
        "ottl-event-of-resource",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: ignore, spanevent: ["name == \"retry\" and resource.attributes[\"service.name\"] == \"checkout\"", "name == \"exception\" and resource.attributes[\"tier\"] != nil"] } }]"#,
    ),
    (
        "ottl-event-of-scope",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: ignore, spanevent: ["name != \"exception\" and instrumentation_scope.name == \"sql\"", "attributes[\"exception.type\"] == \"Refused\" and scope.version == \"2.0\" and span.status.code == STATUS_CODE_ERROR"] } }]"#,
    ),
    (
        "ottl-event-absent",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: ignore, spanevent: ["attributes[\"exception.type\"] == span.attributes[\"tier\"] and span.parent_span_id == SpanID(0x0000000000000000)"] } }]"#,
    ),
];

/// What the Collector keeps where we differ from it.
#[derive(Clone, Copy)]
enum Differs {
    /// All that we keep, and more.
    More,
    /// Not all that we keep, and nothing else.
    Fewer,
}

/// Where we choose to differ: why is in the comments of what is imported, and in docs/conditions.md.
const DIFFERENT: &[(&str, &str, Differs)] = &[
    // It is asked span by span, and remembers that the trace was once within the bounds.
    (
        "latency-between",
        "[{ name: p, type: latency, latency: { threshold_ms: 1000, upper_threshold_ms: 2000 } }]",
        Differs::More,
    ),
    // One bad entry spoils a trace state for it.
    ("bad-trace-state", "[{ name: p, type: trace_state, trace_state: { key: debug, values: [on] } }]", Differs::Fewer),
    // A condition that fails on one span leaves the policy out for the whole trace.
    (
        "ottl-propagate",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: propagate, span: ["Int(attributes[\"retries\"]) > 25"] } }]"#,
        Differs::Fewer,
    ),
    // What fails is not asked for the rest of the condition either.
    (
        "ottl-fails",
        r#"[{ name: p, type: ottl_condition, ottl_condition: { error_mode: ignore, span: ["attributes[\"retries\"] + 1 > 5 or name == \"PING\""] } }]"#,
        Differs::Fewer,
    ),
];

/// For traces without attributes and status.
const REAL: &[(&str, &str)] = &[
    ("slow", "[{ name: p, type: latency, latency: { threshold_ms: 100 } }]"),
    ("spans", "[{ name: p, type: span_count, span_count: { min_spans: 50 } }]"),
    (
        "service",
        "[{ name: p, type: string_attribute, string_attribute: { key: service.name, values: [cartservice] } }]",
    ),
];

const TRACES: usize = 2_000;
const PARTITIONS: i32 = 2;
/// Runs of the program at a time.
const RUNS: usize = 6;

#[test]
fn imported_policies_keep_what_the_collector_keeps() {
    let input = kafka().topic("collector-spans", PARTITIONS);
    input.produce(corpus::corpus(seed(), TRACES, PARTITIONS));
    agree(&input, "collector", SAME, TRACES);
    witness("collector");
}

#[test]
fn of_real_traces_too() {
    let Some(records) = boutique::boutique(PARTITIONS) else {
        return println!("not run: the traces of the Online Boutique are not in ../shared/data");
    };
    let input = kafka().topic("boutique-spans", PARTITIONS);
    let traces = records.len();
    input.produce(records);
    agree(&input, "boutique", REAL, traces);
}

#[test]
fn where_we_choose_to_differ_the_collector_does_as_we_say() {
    let input = kafka().topic("collector-different-spans", PARTITIONS);
    input.produce(corpus::corpus(seed(), TRACES, PARTITIONS));
    let processors: Vec<_> = DIFFERENT.iter().map(|(processor, policies, _)| (*processor, *policies)).collect();
    let collector = Collector::of(&input, "collector-different", AT_THE_END, &processors);
    let theirs = collector.run(&input);
    let ours = ours(&input, &collector, &processors);
    for (processor, _, differs) in DIFFERENT {
        let (theirs, ours) = (&theirs[*processor], &ours[*processor]);
        println!("{processor}: {} traces kept by the Collector, {} by us", theirs.len(), ours.len());
        let (fewer, more) = match differs {
            Differs::More => (ours, theirs),
            Differs::Fewer => (theirs, ours),
        };
        let some = TRACES / 20..TRACES - TRACES / 20;
        assert!(some.contains(&theirs.len()) && some.contains(&ours.len()), "{processor} proves nothing");
        assert!(fewer.is_subset(more) && fewer != more, "{processor}: the Collector keeps other traces");
    }
    witness("collector-different");
}

/// That the very same traces come out, and neither none nor all.
fn agree(input: &Topic, name: &str, processors: &[(&str, &str)], traces: usize) {
    let collector = Collector::of(input, name, AT_THE_END, processors);
    let theirs = collector.run(input);
    let ours = ours(input, &collector, processors);
    let mut wrong = Vec::new();
    for (processor, policies) in processors {
        let none = BTreeSet::new();
        let (theirs, ours) = (theirs.get(*processor).unwrap_or(&none), &ours[*processor]);
        let share = theirs.len() * 100 / traces;
        println!("{processor}: {} of {traces} traces kept", theirs.len());
        if !(5..95).contains(&share) {
            wrong.push(format!("{processor}: {share} % of the traces prove nothing: {policies}"));
        }
        let differing: Vec<_> = theirs.symmetric_difference(ours).collect();
        if let Some(id) = differing.first() {
            let by = if theirs.contains(*id) { "only by the Collector" } else { "only by us" };
            let (count, id) = (differing.len(), hex(id));
            wrong.push(format!("{processor}: {count} traces differ, {id} is kept {by}: {policies}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the program keeps, of each processor's policies.
fn ours(input: &Topic, collector: &Collector, processors: &[(&str, &str)]) -> BTreeMap<String, BTreeSet<TraceId>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut kept = Vec::new();
        while let Some((processor, _)) = processors.get(next.fetch_add(1, Ordering::SeqCst)) {
            kept.push(((*processor).to_owned(), run(input, collector, processor)));
        }
        kept
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..RUNS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("every run succeeds")).collect()
    })
}

fn run(input: &Topic, collector: &Collector, processor: &str) -> BTreeSet<TraceId> {
    let imported = Command::new(env!("CARGO_BIN_EXE_tailwater"))
        .args(["import", "--processor", &format!("tail_sampling/{processor}")])
        .arg(collector.config())
        .output()
        .expect("the program starts");
    assert!(imported.status.success(), "{processor}: {}", String::from_utf8_lossy(&imported.stderr));
    let mut job = Job::named(&format!("{}-{processor}", input.name));
    job.inputs = vec![input.name.clone()];
    job.policies = String::from_utf8(imported.stdout).expect("text");
    let output = kafka().topic(&job.output, 1);
    job.run_until_end();
    output.records().iter().flat_map(|record| traces(&record.value)).collect()
}
