use std::sync::Arc;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::{decide::Part, diagnostic::Source, yaml};

const POLICIES: &str = "
policies:
  - { name: noise, when: root.name == \"ping\", drop: always }
  - { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }
  - { name: tenth, when: count(service == \"shop\") > 1, keep: { probability: 10% } }
  - { name: hundredth, keep: { probability: 1% } }
";

/// Policies and their tests, which must be right.
fn cases(text: &str) -> (Arc<PolicySet>, Vec<Case>) {
    read_all(text).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

fn read_all(text: &str) -> Result<(Arc<PolicySet>, Vec<Case>), Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let source = Arc::new(Source { name: "policies.yaml".into(), text: text.into() });
    let Some(root) = yaml::parse(source, &mut diagnostics) else { return Err(diagnostics) };
    let set = PolicySet::compile(&[Part::File(&root)], &mut diagnostics).unwrap_or_else(|| panic!("{diagnostics}"));
    let cases = read(&root, &set, &mut diagnostics);
    if diagnostics.is_empty() { Ok((Arc::new(set), cases)) } else { Err(diagnostics) }
}

/// The mistakes of one test.
fn mistakes(test: &str) -> String {
    let text = format!("{}tests:\n{test}", POLICIES.trim_start());
    read_all(&text).expect_err("a mistake").to_string()
}

/// Whether a test passes, written as what follows its name.
fn passes(test: &str) -> bool {
    let (set, cases) = cases(&format!("{POLICIES}tests: [ {{ name: t, {test} }} ]"));
    cases[0].run(&set).is_none()
}

#[test]
fn expectations_can_be_met_and_missed() {
    let error = "trace: [ { status: error } ]";
    let shop = "trace: [ { service: shop }, {} ]";
    let ping = "trace: [ { name: ping, status: error } ]";
    for (test, expected) in [
        (format!("{error}, expect: {{ keep: errors }}"), true),
        (format!("{error}, expect: {{ keep: hundredth }}"), false),
        (format!("{error}, expect: {{ keep: otherwise }}"), false),
        (format!("{error}, expect: keep"), true),
        (format!("{error}, expect: drop"), false),
        (format!("{error}, expect: {{ matches: [errors, hundredth] }}"), true),
        (format!("{error}, expect: {{ matches: [noise] }}"), false),
        (format!("{error}, expect: {{ probability: 100% }}"), true),
        (format!("{error}, expect: {{ probability: 1% }}"), false),
        (format!("{ping}, expect: {{ drop: noise, matches: [errors], probability: 0% }}"), true),
        (format!("{ping}, expect: {{ drop: otherwise }}"), false),
        (format!("{shop}, expect: {{ drop: otherwise, probability: 10% }}"), true),
        (format!("{shop}, given: {{ tenth: keep }}, expect: {{ keep: tenth, probability: 10% }}"), true),
        (format!("{shop}, given: {{ tenth: keep, hundredth: reject }}, expect: {{ keep: tenth }}"), true),
        (format!("{shop}, given: {{ tenth: reject }}, expect: {{ drop: otherwise }}"), true),
        (format!("{shop}, given: {{ hundredth: keep }}, expect: {{ keep: tenth }}"), true),
        ("trace: [ {} ], given: { hundredth: keep }, expect: { keep: hundredth, probability: 1% }".to_owned(), true),
        ("trace: [ {} ], given: { hundredth: reject }, expect: { keep: hundredth }".to_owned(), false),
    ] {
        assert_eq!(passes(&test), expected, "{test}");
    }
}

/// Whether a condition holds of a trace.
fn holds(condition: &str, trace: &str) -> bool {
    let condition = serde_json::to_string(condition).expect("text");
    let text = format!(
        "policies: [ {{ name: p, when: {condition}, keep: always }} ]\n\
         tests: [ {{ name: t, trace: {trace}, expect: {{ keep: p }} }} ]"
    );
    let (set, cases) = cases(&text);
    cases[0].run(&set).is_none()
}

/// What samplers are, with what was not written, and what they say: all that another randomness would change.
#[test]
fn a_failure_shows_samplers_and_what_they_say() {
    let policies = "policies:
  - name: outliers
    keep: [ { probability: 50% }, { slowest: { quantile: 99%, by: [root.service, root.name] } } ]
  - { name: tenth, keep: { probability: 10% } }
  - { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }
";
    let shown = |given: &str| {
        let test = format!("{policies}tests: [ {{ name: t, trace: [ {{}} ], {given} expect: {{ drop: errors }} }} ]");
        let (set, cases) = cases(&test);
        let shown = cases[0].run(&set).expect("it fails").to_string();
        shown.lines().filter(|line| line.contains("keep ")).collect::<Vec<_>>().join("\n")
    };
    let slowest =
        "keep 50 % and slowest { quantile: 99%, of: root.duration, by: [root.service, root.name], window: 10m }";
    for (given, outliers, tenth) in [
        ("", "reject", "reject"),
        ("given: { outliers: keep },", "keep", "reject"),
        ("given: { outliers: reject, tenth: keep },", "reject", "keep"),
    ] {
        let expected = [
            format!("outliers  matches         {slowest}, says {outliers}"),
            format!("tenth     matches         keep 10 %, says {tenth}"),
            "errors    does not match  keep 100 %".to_owned(),
        ];
        assert_eq!(shown(given), expected.join("\n"), "{given}");
    }
}

/// Where a hash of the id decides, no test depends on luck either.
#[test]
fn what_is_given_is_so_of_a_hash_too() {
    let policies = "randomness: { fnv: default-hash-seed }
policies:
  - { name: most, when: root.name == \"a\", keep: { probability: 99% } }
  - { name: tenth, keep: { probability: 10% } }
  - { name: few, keep: { probability: 1/1000 } }
";
    for (given, expect) in [
        ("", "drop"),
        ("given: { most: keep },", "{ keep: most }"),
        ("given: { tenth: keep, few: reject },", "keep"),
        ("given: { few: keep },", "keep"),
        ("given: { most: keep, tenth: reject },", "{ keep: most, probability: 99% }"),
    ] {
        let test = format!("{policies}tests: [ {{ name: t, trace: [ {{ name: a }} ], {given} expect: {expect} }} ]");
        let (set, cases) = cases(&test);
        assert!(cases[0].run(&set).is_none(), "{given} {expect}");
    }
}

#[test]
fn spans_are_as_written() {
    let one = "[ { name: a, service: s, kind: client, status: error, duration: 5us, attributes: { i: 5, f: 0.5, b: true, \
               t: \"5\", h: 0x10, o: 0o10, p: plain, n: , l: [1], m: { k: v }, inf: -.inf } } ]";
    for condition in [
        "root.name == \"a\"",
        "root.service == \"s\"",
        "root.kind == SPAN_KIND_CLIENT",
        "root.status.code == STATUS_CODE_ERROR",
        "root.duration == 5us and trace.duration == 5us and trace.span_count == 1",
        "root.attributes[\"i\"] == 5 and root.attributes[\"i\"] != \"5\"",
        "root.attributes[\"f\"] == 0.5",
        "root.attributes[\"b\"] == true",
        "root.attributes[\"t\"] == \"5\"",
        "root.attributes[\"h\"] == 16 and root.attributes[\"o\"] == 8",
        "root.attributes[\"p\"] == \"plain\"",
        "root.attributes[\"n\"] == nil",
        "root.attributes[\"l\"] != nil and root.attributes[\"m\"] != nil",
        "root.attributes[\"inf\"] < -1000000",
    ] {
        assert!(holds(condition, one), "{condition}");
    }
    for (condition, trace) in [
        ("root.duration == 1ms and root.kind == SPAN_KIND_INTERNAL and root.service == nil", "[ {} ]"),
        ("root.status.code == STATUS_CODE_UNSET", "[ {} ]"),
        ("root.name == \"a\" and trace.duration == 3ms", "[ { name: a, duration: 3ms }, { name: b } ]"),
        ("trace.duration == 12ms", "[ {}, { start: 10ms, duration: 2ms } ]"),
        // The first span's resource is all others' that have none.
        ("count(service == \"s\") == 2 and any(service == \"t\")", "[ { service: s }, {}, { service: t } ]"),
        ("count(resource.attributes[\"r\"] == 1) == 2", "[ { service: s, resource: { r: 1 } }, {}, { service: t } ]"),
        ("root.name == nil and trace.span_count == 2", "[ { name: a, root: false }, { parent: a } ]"),
        // Of two roots the earlier one counts.
        (
            "values(name) == [\"b\", \"a\"] and Len(values(service)) == 2",
            "[ { name: a, service: s }, { name: b, service: t }, { name: a, repeat: 9 } ]",
        ),
        (
            "values(name) != [\"a\"] and values(attributes[\"k\"]) == [1]",
            "[ { name: a, attributes: { k: 1 } }, { name: b, attributes: { k: 1.0 } }, { attributes: { k: [1] } } ]",
        ),
        ("root.name == \"b\"", "[ { name: a, start: 1ms }, { name: b, root: true } ]"),
        ("count(name == \"q\") == 41 and trace.span_count == 42", "[ { name: a }, { name: q, repeat: 41 } ]"),
    ] {
        assert!(holds(condition, trace), "{condition} of {trace}");
    }
    let record = "record: { topic: spans-eu, headers: { tenant: acme, none: , empty: \"\" } }";
    for condition in [
        "root.record.topic == \"spans-eu\" and all(record.headers[\"tenant\"] == \"acme\")",
        "root.record.headers[\"none\"] == nil and root.record.headers[\"Tenant\"] == nil",
        "root.record.headers[\"empty\"] == \"\"",
    ] {
        assert!(holds(condition, &format!("[ {{}}, {{}} ], {record}")), "{condition}");
    }
    assert!(holds("root.record.topic == \"\" and root.record.headers[\"tenant\"] == nil", "[ {} ]"));
}

#[test]
fn every_mistake_is_shown_where_it_is() {
    assert_snapshot!(mistakes(
        "- nme: x
- name: one
  trace:
    - { name: a, kind: sever, status: failed, duration: 5, start: 1x, attributes: [1] }
    - { parent: b, root: maybe, links: [ { trace_id: 12 } ], events: x, repeat: many }
    - { attributes: { n: 99999999999999999999 }, colour: red }
  given: { tenth: yes, errors: keep, otherwise: keep, hundreth: keep }
  expect: { keep: eror, drop: noise, matches: errors, probability: 1 % }
- { name: two, trace: [], expect: {} }
- { name: three, trace: [ { name: a }, { parent: b } ], expect: { matches: [otherwise] } }
- { name: four, trace: [ {} ], given: { hundredth: keep, tenth: reject }, expect: maybe }
- { name: five, trace: [ { repeat: 9999 }, {}, {} ], expect: {} }
"
    ), @"
    error: missing field `name`
     --> policies.yaml:7:3
      |
    7 | - nme: x
      |   ^^^^^^
      |
      = hint: write `name: a failed checkout is kept`

    error: missing field `trace`
     --> policies.yaml:7:3
      |
    7 | - nme: x
      |   ^^^^^^
      |
      = hint: write `trace: [ { name: GET /healthz, status: error } ]`

    error: missing field `expect`
     --> policies.yaml:7:3
      |
    7 | - nme: x
      |   ^^^^^^
      |
      = hint: write `expect: { keep: errors }`, `{ drop: otherwise }`, `{ matches: [errors] }`, `{ probability: 1% }`, `keep` or `drop`

    error: unknown field `nme`, did you mean `name`?
     --> policies.yaml:7:3
      |
    7 | - nme: x
      |   ^^^

    error: `kind`: unknown `sever`
      --> policies.yaml:10:24
       |
    10 |     - { name: a, kind: sever, status: failed, duration: 5, start: 1x, attributes: [1] }
       |                        ^^^^^
       |
       = hint: did you mean `server`?

    error: `status`: unknown `failed`
      --> policies.yaml:10:39
       |
    10 |     - { name: a, kind: sever, status: failed, duration: 5, start: 1x, attributes: [1] }
       |                                       ^^^^^^
       |
       = hint: one of ok, error, unset

    error: `start`: `x` is no unit of time
      --> policies.yaml:10:67
       |
    10 |     - { name: a, kind: sever, status: failed, duration: 5, start: 1x, attributes: [1] }
       |                                                                   ^^
       |
       = hint: a duration is written `2s`, `1500ms` or `1m30s`

    error: `duration`: `5` is no duration
      --> policies.yaml:10:57
       |
    10 |     - { name: a, kind: sever, status: failed, duration: 5, start: 1x, attributes: [1] }
       |                                                         ^
       |
       = hint: a duration is written `2s`, `1500ms` or `1m30s`

    error: `attributes` must be a mapping, not a list
      --> policies.yaml:10:83
       |
    10 |     - { name: a, kind: sever, status: failed, duration: 5, start: 1x, attributes: [1] }
       |                                                                                   ^^^
       |
       = hint: write `{ http.route: /cart, http.response.status_code: 500 }`

    error: `root` must be true or false
      --> policies.yaml:11:26
       |
    11 |     - { parent: b, root: maybe, links: [ { trace_id: 12 } ], events: x, repeat: many }
       |                          ^^^^^

    error: `repeat` must be a whole number
      --> policies.yaml:11:81
       |
    11 |     - { parent: b, root: maybe, links: [ { trace_id: 12 } ], events: x, repeat: many }
       |                                                                                 ^^^^

    error: `events` must be a list, not text
      --> policies.yaml:11:70
       |
    11 |     - { parent: b, root: maybe, links: [ { trace_id: 12 } ], events: x, repeat: many }
       |                                                                      ^
       |
       = hint: a list stands in brackets, or has a `-` before each entry

    error: `trace_id` must be 32 hex digits
      --> policies.yaml:11:54
       |
    11 |     - { parent: b, root: maybe, links: [ { trace_id: 12 } ], events: x, repeat: many }
       |                                                      ^^

    error: `99999999999999999999` does not fit 64 bits
      --> policies.yaml:12:26
       |
    12 |     - { attributes: { n: 99999999999999999999 }, colour: red }
       |                          ^^^^^^^^^^^^^^^^^^^^
       |
       = hint: quote it, if it is text

    error: unknown field `colour`
      --> policies.yaml:12:50
       |
    12 |     - { attributes: { n: 99999999999999999999 }, colour: red }
       |                                                  ^^^^^^
       |
       = hint: known fields: name, service, kind, status, start, duration, parent, root, repeat, resource, attributes, scope, events, links

    error: what `tenth` says is neither keep nor reject
      --> policies.yaml:13:19
       |
    13 |   given: { tenth: yes, errors: keep, otherwise: keep, hundreth: keep }
       |                   ^^^
       |
       = hint: write `given: { baseline: keep }`

    error: `errors` has no sampler whose answer could be given
      --> policies.yaml:13:24
       |
    13 |   given: { tenth: yes, errors: keep, otherwise: keep, hundreth: keep }
       |                        ^^^^^^
       |
       = hint: `given` is for policies that keep some of what matches

    error: `otherwise` has no sampler whose answer could be given
      --> policies.yaml:13:38
       |
    13 |   given: { tenth: yes, errors: keep, otherwise: keep, hundreth: keep }
       |                                      ^^^^^^^^^
       |
       = hint: `given` is for policies that keep some of what matches

    error: no policy is named `hundreth`
      --> policies.yaml:13:55
       |
    13 |   given: { tenth: yes, errors: keep, otherwise: keep, hundreth: keep }
       |                                                       ^^^^^^^^
       |
       = hint: did you mean `hundredth`?

    error: a trace is kept or dropped, not both
      --> policies.yaml:14:31
       |
    14 |   expect: { keep: eror, drop: noise, matches: errors, probability: 1 % }
       |                               ^^^^^
       |
       = hint: write `expect: { keep: errors }`, `{ drop: otherwise }`, `{ matches: [errors] }`, `{ probability: 1% }`, `keep` or `drop`

    error: `matches` must be a list, not text
      --> policies.yaml:14:47
       |
    14 |   expect: { keep: eror, drop: noise, matches: errors, probability: 1 % }
       |                                               ^^^^^^
       |
       = hint: a list stands in brackets, or has a `-` before each entry

    error: `probability`: `1 %` is not a probability
      --> policies.yaml:14:68
       |
    14 |   expect: { keep: eror, drop: noise, matches: errors, probability: 1 % }
       |                                                                    ^^^
       |
       = hint: write 1%, 0.01 or 1/100

    error: a trace has at least one span
      --> policies.yaml:15:23
       |
    15 | - { name: two, trace: [], expect: {} }
       |                       ^^
       |
       = hint: write `trace: [ { name: POST /pay, service: checkout, status: error } ]`

    error: nothing is expected
      --> policies.yaml:15:35
       |
    15 | - { name: two, trace: [], expect: {} }
       |                                   ^^
       |
       = hint: write `expect: { keep: errors }`, `{ drop: otherwise }`, `{ matches: [errors] }`, `{ probability: 1% }`, `keep` or `drop`

    error: no other span is named `b`
      --> policies.yaml:16:50
       |
    16 | - { name: three, trace: [ { name: a }, { parent: b } ], expect: { matches: [otherwise] } }
       |                                                  ^
       |
       = hint: `parent` is the name of a span of the trace; `root: false` says that it never comes

    error: `otherwise` has no condition
      --> policies.yaml:16:77
       |
    16 | - { name: three, trace: [ { name: a }, { parent: b } ], expect: { matches: [otherwise] } }
       |                                                                             ^^^^^^^^^

    error: where `hundredth` keeps a trace, `tenth` does too
      --> policies.yaml:17:58
       |
    17 | - { name: four, trace: [ {} ], given: { hundredth: keep, tenth: reject }, expect: maybe }
       |                                                          ^^^^^
       |
      ::: policies.yaml:17:41
       |
    17 | - { name: four, trace: [ {} ], given: { hundredth: keep, tenth: reject }, expect: maybe }
       |                                         --------- it keeps fewer
       |
       = hint: all probabilities look at the same randomness of the trace

    error: `expect` must be a mapping, not text
      --> policies.yaml:17:83
       |
    17 | - { name: four, trace: [ {} ], given: { hundredth: keep, tenth: reject }, expect: maybe }
       |                                                                                   ^^^^^
       |
       = hint: write `expect: { keep: errors }`, `{ drop: otherwise }`, `{ matches: [errors] }`, `{ probability: 1% }`, `keep` or `drop`

    error: a trace of 10001 spans
      --> policies.yaml:18:24
       |
    18 | - { name: five, trace: [ { repeat: 9999 }, {}, {} ], expect: {} }
       |                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = hint: at most 10000

    error: nothing is expected
      --> policies.yaml:18:62
       |
    18 | - { name: five, trace: [ { repeat: 9999 }, {}, {} ], expect: {} }
       |                                                              ^^
       |
       = hint: write `expect: { keep: errors }`, `{ drop: otherwise }`, `{ matches: [errors] }`, `{ probability: 1% }`, `keep` or `drop`

    30 errors
    ");
}

#[test]
fn a_failure_shows_what_was_asked_and_found() {
    let (set, cases) = cases(&format!(
        "{POLICIES}
tests:
  - name: t
    trace:
      - {{ name: GET /cart, service: shop }}
      - {{ name: price, service: prices, status: ok }}
      - {{ name: stock, service: stock }}
    expect: {{ keep: errors, matches: [tenth], probability: 100% }}
"
    ));
    let failure = cases[0].run(&set).expect("it fails");
    assert_snapshot!(failure.to_string(), @r#"
    expected: kept by `errors`; `tenth` matches; of such traces 100 % are kept
    found:    dropped by otherwise; of such traces 1 % are kept; complete by structure
    noise      does not match  drop
        root.name == "ping"  false  "GET /cart" in "GET /cart"
    errors     does not match  keep 100 %
        any(status.code == STATUS_CODE_ERROR)  false
          status.code == STATUS_CODE_ERROR     false  of 0 of 3 spans: STATUS_CODE_UNSET in "GET /cart" and 1 more; STATUS_CODE_OK in "price"
    tenth      does not match  keep 10 %
        count(service == "shop") > 1  false  1
          service == "shop"           true   of 1 of 3 spans: "shop" in "GET /cart"
    hundredth  matches         keep 1 %, says reject
    "#);
}

/// YAML that looks like tests: known names with values of all sorts.
fn nearly_a_value() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "name",
        "service",
        "kind",
        "status",
        "start",
        "duration",
        "parent",
        "root",
        "repeat",
        "attributes",
        "resource",
        "scope",
        "events",
        "links",
        "trace",
        "record",
        "trace_id",
        "given",
        "expect",
        "keep",
        "drop",
        "matches",
        "probability",
        "time",
        "version",
        "code",
        "message",
        "span_id",
        "tenth",
        "errors",
        "otherwise",
    ]);
    let leaf = prop::sample::select(vec![
        "",
        "a",
        "error",
        "5",
        "-1",
        "2s",
        "999999999h",
        "0x1f",
        "1e400",
        ".nan",
        "true",
        "\"\"",
        "keep",
        "reject",
        "1%",
        "tenth",
        "otherwise",
        "10001",
        "18446744073709551615",
        "ffffffffffffffff",
        "/",
        "[]",
        "{}",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(5, 60, 6, move |inner| {
        let entries = prop::collection::hash_map(name.clone(), inner.clone(), 0..6);
        prop_oneof![
            1 => prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            3 => entries.prop_map(|entries| {
                let entries = entries.into_iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>();
                format!("{{{}}}", entries.join(", "))
            }),
        ]
    })
}

/// A span that is right, whatever its name and parent.
fn right_span() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec![
        "service: shop",
        "kind: client",
        "status: error",
        "start: 5s",
        "duration: 0s",
        "repeat: 3",
        "repeat: 0",
        "attributes: { a: [1, { b: .nan }], c: }",
        "resource: { r: 0x1f }",
        "scope: lib",
        "events: [e, { time: 1ms }]",
        "links: [{}]",
        "name: a",
    ]);
    prop::collection::hash_set(field, 0..5)
        .prop_map(|fields| fields.into_iter().map(|field| (field.split(':').next().unwrap(), field)).collect())
        .prop_map(|fields: std::collections::BTreeMap<_, _>| {
            format!("{{ {} }}", fields.into_values().collect::<Vec<_>>().join(", "))
        })
}

proptest! {
    #[test]
    fn nothing_panics(tests in prop::collection::vec(nearly_a_value(), 0..4)) {
        let text = format!("{POLICIES}tests: [{}]", tests.join(", "));
        if let Ok((set, cases)) = read_all(&text) {
            cases.iter().for_each(|case| _ = case.run(&set).map(|failure| failure.to_string()));
        }
    }

    /// What is read is run, if there is a span at all.
    #[test]
    fn every_trace_is_judged(spans in prop::collection::vec(right_span(), 1..6)) {
        let spans = spans.join(", ");
        let text = format!("{POLICIES}tests: [ {{ name: t, trace: [{spans}], expect: {{ matches: [hundredth] }} }} ]");
        match read_all(&text) {
            Ok((set, cases)) => prop_assert!(cases[0].run(&set).is_none(), "{}", text),
            Err(mistakes) => prop_assert!(mistakes.to_string().contains("repeat"), "{}", mistakes),
        }
    }
}
