//! Policies as the Collector writes them; ours are imported from these.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::support::policies::{NUMBERS, TEXTS};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policies {
    /// Health checks are dropped; errors, answers of 500 and more, what is slow and one percent of the rest are kept.
    Five,
    /// The five and 95 more that keep no other trace: over 60 keys, half of which occur, 20 of them by regular expression.
    Hundred,
    /// The five and 50 regular expressions that match nothing.
    Regexes,
    /// Everything is kept.
    All,
}

const FIVE: [&str; 5] = [
    "name: health-checks, type: drop, drop: { drop_sub_policy: [\
     { name: route, type: string_attribute, string_attribute: { key: http.route, values: [/healthz] } }, \
     { name: sound, type: not, not: { not_sub_policy: \
     { name: error, type: status_code, status_code: { status_codes: [ERROR] } } } }] }",
    "name: errors, type: status_code, status_code: { status_codes: [ERROR] }",
    "name: server-errors, type: numeric_attribute, numeric_attribute: { key: http.response.status_code, min_value: 500 }",
    "name: slow, type: latency, latency: { threshold_ms: 5000 }",
    "name: baseline, type: probabilistic, probabilistic: { sampling_percentage: 1 }",
];
/// Of some span of most traces.
const COMMON: [&str; 10] = [
    "string_attribute, string_attribute: { key: http.request.method, values: [GET] }",
    "string_attribute, string_attribute: { key: url.scheme, values: [http] }",
    "string_attribute, string_attribute: { key: network.protocol.version, values: [\"1.1\"] }",
    "numeric_attribute, numeric_attribute: { key: http.response.status_code, min_value: 200, max_value: 200 }",
    "numeric_attribute, numeric_attribute: { key: server.port, min_value: 2 }",
    "numeric_attribute, numeric_attribute: { key: thread.id, min_value: 1 }",
    "string_attribute, string_attribute: { key: db.system, values: [postgresql, redis] }",
    "string_attribute, string_attribute: { key: rpc.system, values: [grpc] }",
    "numeric_attribute, numeric_attribute: { key: items, min_value: 1 }",
    "string_attribute, string_attribute: { key: db.operation.name, values: [SELECT] }",
];

// === impl Policies ===

impl Policies {
    pub fn name(self) -> &'static str {
        match self {
            Self::Five => "5 policies",
            Self::Hundred => "100 policies",
            Self::Regexes => "5 policies and 50 regular expressions",
            Self::All => "everything kept",
        }
    }

    /// Into files: the Collector's, and what is imported from them.
    pub fn written(self, folder: &Path) -> [PathBuf; 2] {
        let [theirs, ours] = ["collector.yaml", "tailwater.yaml"].map(|name| folder.join(name));
        fs::write(&theirs, self.collector()).expect("policies");
        let mut import = Command::new(env!("CARGO_BIN_EXE_tailwater"));
        let status = import.arg("import").arg(&theirs).arg("--output").arg(&ours).status().expect("the program starts");
        assert!(status.success(), "the policies cannot be imported: {}", self.name());
        [theirs, ours]
    }

    /// To be laid over a configuration.
    pub fn collector(self) -> String {
        let mut policies: Vec<String> = FIVE.map(str::to_owned).to_vec();
        match self {
            Self::Five => {}
            Self::Hundred => policies.extend((0..95).map(|i| format!("name: more-{i}, type: {}", more(i)))),
            Self::Regexes => policies.extend((0..50).map(|i| {
                let key = TEXTS[i % TEXTS.len()];
                let regex = if i % 2 == 0 {
                    format!("(?i)(synthetic|probe)-{i}[0-9]+$$")
                } else {
                    format!("^canary-{i}[a-z]+")
                };
                format!("name: regex-{i}, type: {}", matches(key, &regex))
            })),
            Self::All => policies = vec!["name: all, type: always_sample".to_owned()],
        }
        let mut text = "processors:\n  tail_sampling:\n    policies:\n".to_owned();
        policies.iter().for_each(|policy| _ = writeln!(text, "      - {{ {policy} }}"));
        text
    }
}

/// The type of one of the 95, and what goes with it: those of `support::policies`, as far as the Collector can say them.
fn more(i: usize) -> String {
    let absent = |i: usize| format!("app.team-{:02}.feature", i % 30);
    match i {
        0..10 => format!(
            "and, and: {{ and_sub_policy: [{{ name: common, type: {} }}, {{ {} }}] }}",
            COMMON[i],
            FIVE[FIVE.len() - 1]
        ),
        10..20 => matches(TEXTS[i - 10], "(?i)(synthetic|probe)-[0-9]+$$"),
        20..30 => matches(&absent(i), "^canary-[a-z]+"),
        30..54 => format!("string_attribute, string_attribute: {{ key: {}, values: [value-{i}] }}", TEXTS[i - 30]),
        54..60 => {
            let (key, least) = (NUMBERS[i - 54], 1_000_000 + i);
            format!("numeric_attribute, numeric_attribute: {{ key: {key}, min_value: {least} }}")
        }
        60..90 => ottl(&format!(
            r#"attributes["{}"] == "on" and end_time_unix_nano - start_time_unix_nano > {i}000000"#,
            absent(i)
        )),
        _ => ottl(&format!(r#"resource.attributes["service.name"] == "service-{i}" and name == "job-{i}""#)),
    }
}

fn matches(key: &str, regex: &str) -> String {
    format!("string_attribute, string_attribute: {{ key: {key}, values: ['{regex}'], enabled_regex_matching: true }}")
}

fn ottl(condition: &str) -> String {
    format!("ottl_condition, ottl_condition: {{ error_mode: ignore, span: ['{condition}'] }}")
}
