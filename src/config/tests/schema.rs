//! The JSON Schema of policy files says what the reader says.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::*;

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../policies/schema.json")).expect("JSON")
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).expect("a schema")
}

/// As an editor sees it: plain scalars have the types of YAML 1.2.
fn value(node: &Node) -> Value {
    match &node.kind {
        _ if node.is_null() => Value::Null,
        Kind::Scalar { text, quoted: true } => Value::String(text.clone()),
        Kind::Scalar { text, .. } => match text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => text.parse().map_or_else(|_| Value::String(text.clone()), Value::Number),
        },
        Kind::Seq(nodes) => nodes.iter().map(value).collect(),
        Kind::Map(entries) => {
            let text = |key: &Node| value(key).as_str().map(str::to_owned).unwrap_or_default();
            Value::Object(entries.iter().map(|(key, of)| (text(key), value(of))).collect::<Map<_, _>>())
        }
    }
}

fn document(text: &str) -> Value {
    let source = Arc::new(Source { name: "policies.yaml".into(), text: text.into() });
    value(&yaml::parse(source, &mut Diagnostics::default()).expect("YAML"))
}

fn read(text: &str) -> Result<Arc<PolicySet>, Diagnostics> {
    compile("policies.yaml", text, Path::new("."))
}

/// The fields that the reader knows in the place of `UNKNOWN`, without those it has not yet.
fn known(text: &str) -> BTreeSet<String> {
    let told = read(&text.replace("UNKNOWN", "unknown: 1")).expect_err("an unknown field").0;
    let told = told.iter().find(|told| told.message == "unknown field `unknown`").expect("it is named");
    let list = told.hint.as_ref().and_then(|hint| hint.strip_prefix("known fields: ")).expect("a list");
    let later = |field: &str| {
        let told = read(&text.replace("UNKNOWN", &format!("{field}: 1")));
        told.is_err_and(|told| told.to_string().contains(&format!("`{field}` is not available yet")))
    };
    list.split(", ").filter(|field| !later(field)).map(str::to_owned).collect()
}

#[test]
fn has_the_fields_that_the_reader_knows() {
    let schema = schema();
    let reference = include_str!("../../../docs/policies.md");
    let mut policy = known("policies: [{ name: a, keep: always, UNKNOWN }]");
    // It is what makes it a group.
    assert!(policy.remove("policies"));
    let kinds = [
        ("", known("UNKNOWN")),
        ("/definitions/policy", policy),
        ("/definitions/group", known("policies: [{ name: a, policies: [{ name: b, keep: always }], UNKNOWN }]")),
        ("/definitions/sampler", known("policies: [{ name: a, keep: { probability: 1%, UNKNOWN } }]")),
        ("/definitions/slowest", known("policies: [{ name: a, keep: { slowest: { quantile: 0.9, UNKNOWN } } }]")),
        ("/definitions/rare", known("policies: [{ name: a, keep: { rare: { by: [root.name], UNKNOWN } } }]")),
        ("/definitions/adaptive", known("policies: [{ name: a, keep: { adaptive: { probability: 1%, UNKNOWN } } }]")),
        ("/definitions/rate", known("policies: [{ name: a, keep: { rate: { traces_per_second: 1, UNKNOWN } } }]")),
        ("/definitions/follow", known("policies: [{ name: a, keep: { follow: { by: [links], UNKNOWN } } }]")),
        ("/definitions/budget", known("policies: []\nbudget: { traces_per_second: 1, UNKNOWN }")),
    ];
    for (kind, known) in kinds {
        let properties = schema.pointer(&format!("{kind}/properties")).and_then(Value::as_object).expect("properties");
        assert_eq!(properties.keys().cloned().collect::<BTreeSet<_>>(), known, "of `{kind}`");
        for (name, property) in properties {
            let referred = property["$ref"].as_str().and_then(|at| schema.pointer(at.trim_start_matches('#')));
            let described = [Some(property), referred].into_iter().flatten().any(|of| of["description"].is_string());
            assert!(described, "`{name}` of `{kind}` has no description");
            assert!(
                reference.contains(&format!("`{name}`")) || reference.contains(&format!("{name}:")),
                "{name} in the reference"
            );
        }
    }
}

#[test]
fn accepts_what_is_shown() {
    let validator = validator();
    for (name, text) in shown().iter().filter(|(_, text)| !text.starts_with("kafka:")) {
        let mistakes: Vec<_> = validator.iter_errors(&document(text)).map(|error| error.to_string()).collect();
        assert!(mistakes.is_empty(), "{name}: {mistakes:?}\n{text}");
    }
}

/// All of these but conditions, and what depends on what stands around: the schema does not know of it.
#[test]
fn judges_as_the_reader() {
    let validator = validator();
    let files = [
        ("", true),
        ("match: first", true),
        ("match: all", false),
        ("otherwise: keep", true),
        ("otherwise: always", false),
        ("otherwise: { probability: 1/3 }", true),
        ("policy: []", false),
        ("policies: {}", false),
        ("policies: [text]", false),
        ("policies: [{ keep: always }]", false),
        ("policies: [{ name: a }]", false),
        ("policies: [{ name: otherwise, keep: always }]", false),
        ("policies: [{ name: a, keep: always, drop: always }]", false),
        ("policies: [{ name: a, keep: always, when: true, note: why, until: 2026-12-24, shadow: true }]", true),
        ("policies: [{ name: a, keep: always, until: 2026-12-24T18:00:00.5+01:00, protect: true }]", true),
        ("policies: [{ name: a, keep: always, until: 2026-12-24T18:00:00 }]", false),
        ("policies: [{ name: a, keep: always, until: tomorrow }]", false),
        ("policies: [{ name: a, keep: always, shadow: yes }]", false),
        ("policies: [{ name: a, keep: always, protected: true }]", false),
        ("policies: [{ name: a, keep: always, match: any }]", false),
        ("policies: [{ name: a, keep: never }]", false),
        ("policies: [{ name: a, keep: [] }]", false),
        ("policies: [{ name: a, keep: {} }]", false),
        ("policies: [{ name: a, keep: { probability: 1 } }]", false),
        ("policies: [{ name: a, keep: { probability: -1% } }]", false),
        ("policies: [{ name: a, keep: { probability: 0 } }]", true),
        ("policies: [{ name: a, keep: { probability: 0.25 } }]", true),
        ("policies: [{ name: a, keep: { probability: 12.5% } }]", true),
        ("policies: [{ name: a, drop: [{ probability: 1% }, { probability: 1/2 }] }]", true),
        ("policies: [{ name: a, drop: [always] }]", false),
        ("policies: [{ name: a, drop: { rate: {} } }]", false),
        ("match: first\npolicies: [{ name: a, drop: { probability: 1% }, on_reject: next }]", true),
        ("match: first\npolicies: [{ name: a, drop: { probability: 1% }, on_reject: end }]", false),
        ("policies: [{ name: a, policies: [{ name: b, keep: always }], otherwise: drop, match: first }]", true),
        ("policies: [{ name: a, policies: [{ name: b, policies: [{ name: c, keep: always }] }], note: x }]", true),
        ("policies: [{ name: a, policies: [{ name: b, policies: [{ name: c }] }] }]", false),
        ("policies: [{ name: a, policies: [] }]", false),
        ("policies: [{ name: a, policies: [{ name: b, keep: always }], keep: always }]", false),
        ("policies: [{ name: a, policies: [{ name: b, keep: always }], protect: true }]", false),
        ("policies: [{ policies: [{ name: b, keep: always }] }]", false),
        ("policies: [{ name: a, policies: [{ name: b, keep: always }], budget: 1 }]", false),
    ];
    for (text, right) in files {
        assert_eq!(read(text).is_ok(), right, "the reader: {text}");
        assert_eq!(validator.is_valid(&document(text)), right, "the schema: {text}");
    }
}
