//! The policy sets that are measured.

use std::{fmt::Write, sync::Arc};

use tailwater::{
    decide::{Part, PolicySet},
    diagnostic::{Diagnostics, Source},
    yaml,
};

/// Looks at no span.
pub fn none() -> Arc<PolicySet> {
    compile("policies: [{ name: never, when: trace.span_count > 1000000, keep: always }]".to_owned())
}

/// Those of the side-by-side run against the Collector.
pub fn five() -> Arc<PolicySet> {
    compile(FIVE.to_owned())
}

/// The five and 95 more over 60 keys, half of which occur in the traffic, 20 of them by regular expression. Ten hold of
/// some span of most traces and keep the hundredth that is kept anyway, so the output stays that of the five.
pub fn hundred() -> Arc<PolicySet> {
    let mut yaml = FIVE.to_owned();
    for i in 0..95 {
        let (condition, keep) = condition(i);
        _ = writeln!(yaml, "  - {{ name: more-{i}, when: 'any({condition})', keep: {keep} }}");
    }
    compile(yaml)
}

/// Looks at no span, and keeps every trace.
pub fn all() -> Arc<PolicySet> {
    compile("policies: [{ name: all, keep: always }]".to_owned())
}

/// A set read from YAML.
///
/// # Panics
/// Where it has a mistake.
pub fn compile(text: String) -> Arc<PolicySet> {
    let mut diagnostics = Diagnostics::default();
    let source = Arc::new(Source { name: "policies".to_owned(), text });
    let set = yaml::parse(source, &mut diagnostics)
        .and_then(|node| PolicySet::compile(&[Part::File(&node)], &mut diagnostics));
    set.map(Arc::new).unwrap_or_else(|| panic!("{}", diagnostics.coloured()))
}

const FIVE: &str = r#"
policies:
  - name: health-checks
    when: root.attributes["http.route"] == "/healthz" and none(status.code == STATUS_CODE_ERROR)
    drop: always
  - { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }
  - name: server-errors
    when: any(attributes["http.response.status_code"] >= 500)
    keep: always
  - { name: slow, when: trace.duration > 5s, keep: always }
  - { name: baseline, keep: { probability: 1% } }
"#;

/// All the keys of texts in the traffic, and all those of numbers.
pub const TEXTS: [&str; 24] = [
    "url.full",
    "db.query.text",
    "server.address",
    "http.route",
    "user_agent.original",
    "tenant",
    "rpc.service",
    "rpc.method",
    "code.function.name",
    "messaging.destination.name",
    "http.request.method",
    "url.path",
    "url.scheme",
    "network.protocol.version",
    "rpc.system",
    "db.system",
    "db.namespace",
    "db.operation.name",
    "db.collection.name",
    "thread.name",
    "messaging.system",
    "messaging.operation.type",
    "messaging.destination.partition.id",
    "messaging.message.id",
];
pub const NUMBERS: [&str; 6] =
    ["http.response.status_code", "server.port", "rpc.grpc.status_code", "code.line.number", "items", "thread.id"];
const COMMON: [&str; 10] = [
    r#"attributes["http.request.method"] == "GET""#,
    r#"attributes["url.scheme"] == "http""#,
    r#"attributes["network.protocol.version"] == "1.1""#,
    r#"attributes["http.response.status_code"] == 200"#,
    r#"attributes["server.port"] > 1"#,
    r#"attributes["thread.id"] > 0"#,
    r#"attributes["db.system"] != nil"#,
    r#"attributes["rpc.system"] == "grpc""#,
    r#"attributes["items"] >= 1"#,
    r#"attributes["db.operation.name"] == "SELECT" and kind == SPAN_KIND_CLIENT"#,
];

fn condition(i: usize) -> (String, &'static str) {
    const ALWAYS: &str = "always";
    let absent = |i: usize| format!("app.team-{:02}.feature", i % 30);
    match i {
        0..10 => (COMMON[i].to_owned(), "{ probability: 1% }"),
        10..20 => (format!(r#"IsMatch(attributes["{}"], "(?i)(synthetic|probe)-[0-9]+$")"#, TEXTS[i - 10]), ALWAYS),
        20..30 => (format!(r#"IsMatch(attributes["{}"], "^canary-[a-z]+")"#, absent(i)), ALWAYS),
        30..54 => (format!(r#"attributes["{}"] == "value-{i}""#, TEXTS[i - 30]), ALWAYS),
        54..60 => (format!(r#"attributes["{}"] > {}"#, NUMBERS[i - 54], 1_000_000 + i), ALWAYS),
        60..90 => (format!(r#"attributes["{}"] == "on" and duration > {i}ms"#, absent(i)), ALWAYS),
        _ => (format!(r#"service == "service-{i}" and name == "job-{i}""#), ALWAYS),
    }
}
