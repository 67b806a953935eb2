//! Each lint where it is due, and where it is not.

use std::sync::Arc;

use insta::assert_snapshot;

use super::*;
use crate::{diagnostic::Source, yaml};

/// What is said of these policies.
fn lint(files: &[&str]) -> Diagnostics {
    let mut mistakes = Diagnostics::default();
    let source = |(number, text): (usize, &&str)| {
        let name = ["one.yaml", "two.yaml"][number].into();
        yaml::parse(Arc::new(Source { name, text: (*text).into() }), &mut mistakes)
    };
    let nodes: Vec<Node> = files.iter().enumerate().filter_map(source).collect();
    let parts: Vec<_> = nodes.iter().map(Part::File).collect();
    assert!(read::read(&parts, &mut mistakes).is_some(), "{mistakes}");
    find(&parts)
}

/// What is said of a policy that keeps what fulfils this.
fn lint_condition(condition: &str) -> Diagnostics {
    let condition = serde_json::to_string(condition).expect("a text");
    lint(&[&format!("policies: [ {{ name: p, keep: always, when: {condition} }} ]")])
}

fn quiet(conditions: &[&str]) {
    for condition in conditions {
        let found = lint_condition(condition);
        assert!(found.is_empty(), "{found}");
    }
}

/// The messages, with the text each is about.
fn messages(found: &Diagnostics) -> String {
    let line = |warning: &crate::diagnostic::Diagnostic| {
        format!("{}: {}\n", warning.at.as_ref().map_or("", Location::text), warning.message)
    };
    found.0.iter().map(line).collect()
}

/// What is said of what counts as a root.
fn lint_root(condition: &str) -> Diagnostics {
    let source = Arc::new(Source { name: "tailwater.yaml".into(), text: condition.into() });
    let rest = Arc::new(Source { name: "policies.yaml".into(), text: "otherwise: keep".into() });
    let rest = yaml::parse(rest, &mut Diagnostics::default()).expect("YAML");
    let root = Node::plain(Location { range: 0..condition.len(), source }, condition);
    find(&[Part::File(&rest), Part::Root(&root)])
}

#[test]
fn looks_at_what_counts_as_a_root() {
    let found = [
        "kind == SPAN_KIND_SERVER and kind == SPAN_KIND_CONSUMER",
        "service != \"gateway\"",
        "IsRootSpan() or attributes[\"peer.service\"] != \"gateway\"",
        "kind == SPAN_KIND_SERVER and attributes[\"tenant\"] != \"test\"",
        "any_event(name == \"a\" and name == \"b\")",
    ];
    assert_snapshot!(found.map(|condition| lint_root(condition).to_string()).join("\n"), @r#"
    warning: this never holds, whatever the trace
     --> tailwater.yaml:1:1
      |
    1 | kind == SPAN_KIND_SERVER and kind == SPAN_KIND_CONSUMER
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: one span would have to be all of it: write `or`, or `any(…) and any(…)`, which may be two spans

    1 warning
    warning: what counts as a root is said by what a span is not: every span that lacks it counts
     --> tailwater.yaml:1:1
      |
    1 | service != "gateway"
      | ^^^^^^^^^^^^^^^^^^^^
      |
      = hint: ask also for what the span is, such as `kind == SPAN_KIND_SERVER and …`

    1 warning
    warning: what counts as a root is said by what a span is not: every span that lacks it counts
     --> tailwater.yaml:1:1
      |
    1 | IsRootSpan() or attributes["peer.service"] != "gateway"
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: ask also for what the span is, such as `kind == SPAN_KIND_SERVER and …`

    1 warning
    warning: `attributes["tenant"] != "test"` holds also where `attributes["tenant"]` is absent
     --> tailwater.yaml:1:30
      |
    1 | kind == SPAN_KIND_SERVER and attributes["tenant"] != "test"
      |                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: say which is meant: `attributes["tenant"] != nil and attributes["tenant"] != "test"`, or `(attributes["tenant"] == nil or attributes["tenant"] != "test")`

    1 warning
    warning: this never holds, whatever the trace
     --> tailwater.yaml:1:11
      |
    1 | any_event(name == "a" and name == "b")
      |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: one span would have to be all of it: write `or`, or `any(…) and any(…)`, which may be two spans

    1 warning
    "#);
    for quiet in [
        "IsRootSpan() or service == \"gateway\" and kind == SPAN_KIND_SERVER",
        "kind == SPAN_KIND_SERVER and not IsRootSpan()",
        "kind == SPAN_KIND_SERVER and attributes[\"tenant\"] != nil and attributes[\"tenant\"] != \"test\"",
    ] {
        let found = lint_root(quiet);
        assert!(found.is_empty(), "{found}");
    }
}

#[test]
fn warns_where_there_are_no_policies() {
    for nothing in ["# policies: to be written\n", "policies: []"] {
        assert_eq!(messages(&lint(&[nothing])), ": there is no policy: every trace is dropped\n", "{nothing}");
    }
    for something in ["otherwise: keep", "policies: [ { name: p, drop: always } ]"] {
        assert_eq!(messages(&lint(&[something])), "", "{something}");
    }
}

#[test]
fn warns_of_what_never_holds() {
    assert_snapshot!(lint(&[r#"
policies:
  - name: both
    when: any(kind == SPAN_KIND_SERVER and kind == SPAN_KIND_CLIENT)
    keep: always
  - name: short-and-long
    when: >-
      root.service == "checkout"
      and (trace.duration > 5s and trace.duration < 1s or trace.span_count < 0)
    keep: always
  - name: off
    when: 'false'
    keep: always
  - name: test
    when: root.attributes["env"] == "test"
    policies:
      - name: production
        when: root.attributes["env"] == "production"
        keep: always
"#]), @r#"
        warning: this never holds, whatever the trace
         --> one.yaml:4:15
          |
        4 |     when: any(kind == SPAN_KIND_SERVER and kind == SPAN_KIND_CLIENT)
          |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: one span would have to be all of it: write `or`, or `any(…) and any(…)`, which may be two spans

        warning: this never holds, whatever the trace
         --> one.yaml:9:12
          |
        9 |       and (trace.duration > 5s and trace.duration < 1s or trace.span_count < 0)
          |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: did you mean `or`?

        warning: this never holds, whatever the trace
         --> one.yaml:9:59
          |
        9 |       and (trace.duration > 5s and trace.duration < 1s or trace.span_count < 0)
          |                                                           ^^^^^^^^^^^^^^^^^^^^

        warning: this never holds, whatever the trace
          --> one.yaml:12:12
           |
        12 |     when: 'false'
           |            ^^^^^

        warning: `production` never matches: no trace fulfils this and the condition of its group
          --> one.yaml:18:15
           |
        18 |         when: root.attributes["env"] == "production"
           |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
           |
           = hint: the policies of a group are asked only where the group's `when` holds

        5 warnings
    "#);
}

#[test]
fn knows_what_never_holds() {
    let never = [
        r#"any(name == "a" and name == "b")"#,
        r#"any(name == nil)"#,
        r#"any(attributes["n"] > 3 and attributes["n"] < 3)"#,
        r#"any(attributes["n"] == 3 and attributes["n"] == "3")"#,
        r#"any(attributes["n"] > 1 and not (attributes["n"] > 0.5))"#,
        r#"any(attributes["n"] == nil and attributes["n"] > 0)"#,
        r#"any(name == "GET /" and IsMatch(name, "^POST"))"#,
        r#"any(duration < 0s)"#,
        r#"any(status.code == 1 and not (status.code == 1))"#,
        r#"any(any_event(name == "a" and name == "b"))"#,
        r#"any(any_event(name == "a" and span.name == "a" and span.name == "b"))"#,
        r#"any(any_event(span.duration == nil))"#,
        r#"any(any_event(name == "a") and not any_event(true))"#,
        r#"any(false)"#,
        r#"none(true)"#,
        r#"root.kind == 2 and root.kind == 3"#,
        r#"any(status.code == STATUS_CODE_ERROR) and none(status.code == STATUS_CODE_ERROR)"#,
        r#"any(name == "a" and status.code == 2) and trace.error_count == 0"#,
        r#"root.status.code == STATUS_CODE_ERROR and none(status.code == STATUS_CODE_ERROR)"#,
        r#"count(name == "a") > 2 and none(name == "a")"#,
        r#"child_of(name == "a", status.code == 2) and trace.error_count < 1"#,
        r#"trace.span_count < 1"#,
        r#"trace.complete and not trace.complete"#,
        r#"any(attributes["a"] + 1 > 2 and not (attributes["a"] + 1 > 2))"#,
    ];
    for condition in never {
        let found = lint_condition(condition);
        assert!(found.0.iter().any(|warning| warning.message == "this never holds, whatever the trace"), "{condition}");
    }
    quiet(&[
        r#"any(name == "a") and any(name == "b")"#,
        r#"any(name == "a" or name == "b")"#,
        // A whole number and a fraction, and a double between two whole numbers.
        r#"any(attributes["n"] > 1 and attributes["n"] < 2)"#,
        r#"any(attributes["n"] == 9007199254740993 and attributes["n"] == 9007199254740992)"#,
        r#"any(attributes["n"] == 1 and attributes["n"] == 1.0)"#,
        r#"any(name > "a" and name < "ab")"#,
        r#"root.name == nil"#,
        r#"root.duration > 5s and trace.duration < 1s"#,
        r#"count(name == "a") < 1 and trace.span_count > 0"#,
        r#"any(name == "a") and trace.error_count == 0"#,
        r#"siblings(name == "a") < 1 and any(name == "a")"#,
        // It is neither true nor false where it cannot be computed.
        r#"any(attributes["a"] + 1 > 2) and any(not (attributes["a"] + 1 > 2))"#,
    ]);
}

#[test]
fn warns_of_what_a_span_is_not() {
    assert_snapshot!(lint(&[r#"
policies:
  - name: other-routes
    when: any(attributes["http.route"] != "/healthz")
    keep: always
  - name: nobody-known
    when: any(attributes["user.id"] == nil) and none(not IsMatch(name, "^GET"))
    keep: always
  - name: no-exception
    when: any(kind == SPAN_KIND_SERVER and any_event(name != "exception"))
    keep: always
"#]), @r#"
        warning: `any(…)` of what a span is not: one span that lacks it is enough, and nearly every trace has one
         --> one.yaml:4:11
          |
        4 |     when: any(attributes["http.route"] != "/healthz")
          |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: `none(attributes["http.route"] == "/healthz")` asks that no span is such; if this is meant, ask also for what the span is

        warning: `any(…)` of what a span is not: one span that lacks it is enough, and nearly every trace has one
         --> one.yaml:7:11
          |
        7 |     when: any(attributes["user.id"] == nil) and none(not IsMatch(name, "^GET"))
          |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: `none(attributes["user.id"] != nil)` asks that no span is such; if this is meant, ask also for what the span is

        warning: `none(…)` of what a span is not: one span that lacks it, and this does not hold
         --> one.yaml:7:49
          |
        7 |     when: any(attributes["user.id"] == nil) and none(not IsMatch(name, "^GET"))
          |                                                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: `none(IsMatch(name, "^GET"))` asks that no span is such, `all(IsMatch(name, "^GET"))` that every span is

        warning: `any_event(…)` of what an event is not: one event that lacks it is enough, and nearly every trace has one
          --> one.yaml:10:44
           |
        10 |     when: any(kind == SPAN_KIND_SERVER and any_event(name != "exception"))
           |                                            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
           |
           = hint: `not any_event(name == "exception")` asks that no event is such; if this is meant, ask also for what the event is

        4 warnings
    "#);
    let traps = messages(&lint_condition(
        r#"any(status.code != STATUS_CODE_ERROR or name == "a") and any(not any_event(true)) and any(not (duration > 1s))"#,
    ));
    assert_eq!(traps.lines().count(), 3, "{traps}");
    quiet(&[
        r#"none(attributes["a"] == 1)"#,
        r#"any(attributes["a"] != nil)"#,
        r#"any(kind == SPAN_KIND_SERVER and status.code != STATUS_CODE_ERROR)"#,
        r#"any(attributes["a"] != nil and attributes["a"] != 1)"#,
        r#"any(resource.attributes["team"] == nil)"#,
        r#"any(not IsRootSpan() and duration > 1s)"#,
        r#"child_of(name == "a", name != "b")"#,
        r#"all(status.code != STATUS_CODE_ERROR)"#,
    ]);
}

#[test]
fn warns_of_what_holds_of_the_absent() {
    assert_snapshot!(lint(&[r#"
policies:
  - name: others
    when: >-
      root.attributes["tenant"] != "acme"
      and any(kind == SPAN_KIND_CLIENT and not (attributes["peer.service"] == "billing"))
    keep: always
  - name: people
    when: not IsMatch(root.attributes["user_agent.original"], "bot")
    keep: always
"#]), @r#"
        warning: `root.attributes["tenant"] != "acme"` holds also where `root.attributes["tenant"]` is absent
         --> one.yaml:5:7
          |
        5 |       root.attributes["tenant"] != "acme"
          |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: say which is meant: `root.attributes["tenant"] != nil and root.attributes["tenant"] != "acme"`, or `(root.attributes["tenant"] == nil or root.attributes["tenant"] != "acme")`

        warning: `not attributes["peer.service"] == "billing"` holds also where `attributes["peer.service"]` is absent
         --> one.yaml:6:49
          |
        6 |       and any(kind == SPAN_KIND_CLIENT and not (attributes["peer.service"] == "billing"))
          |                                                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: say which is meant: `attributes["peer.service"] != nil and not attributes["peer.service"] == "billing"`, or `(attributes["peer.service"] == nil or not attributes["peer.service"] == "billing")`

        warning: `not IsMatch(root.attributes["user_agent.original"], "bot")` holds also where `root.attributes["user_agent.original"]` is absent
         --> one.yaml:9:15
          |
        9 |     when: not IsMatch(root.attributes["user_agent.original"], "bot")
          |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: say which is meant: `root.attributes["user_agent.original"] != nil and not IsMatch(root.attributes["user_agent.original"], "bot")`, or `(root.attributes["user_agent.original"] == nil or not IsMatch(root.attributes["user_agent.original"], "bot"))`

        3 warnings
    "#);
    quiet(&[
        r#"root.attributes["tenant"] == "acme""#,
        r#"root.attributes["tenant"] != nil and root.attributes["tenant"] != "acme""#,
        r#"root.attributes["tenant"] == nil or root.attributes["tenant"] != "acme""#,
        r#"root.attributes["n"] > 5 and root.attributes["n"] != 7"#,
        r#"root.attributes["synthetic"] != true"#,
        r#"root.service != "checkout" and root.name != "a" and root.status.code != STATUS_CODE_ERROR"#,
        r#"all(attributes["tenant"] != "acme")"#,
        r#"not any(attributes["tenant"] == "acme")"#,
        r#"not (root.attributes["tenant"] == "acme") == false"#,
        // Neither it nor its negation can be computed of what is absent.
        r#"not HasPrefix(root.attributes["tenant"], "acme")"#,
    ]);
}

#[test]
fn warns_of_all_over_nothing() {
    assert_snapshot!(lint(&[r#"
policies:
  - name: quick-payments
    when: all(service != "payments" or duration < 1s)
    keep: { probability: 1% }
  - name: linked
    when: trace.span_count > 1 and all(not (kind == SPAN_KIND_CONSUMER) or any_link(true))
    keep: { probability: 1% }
"#]), @r#"
        warning: `all(…)` holds also where no span is `service == "payments"`
         --> one.yaml:4:11
          |
        4 |     when: all(service != "payments" or duration < 1s)
          |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: if there is to be one, ask for it too: `any(service == "payments") and all(…)`

        warning: `all(…)` holds also where no span is `kind == SPAN_KIND_CONSUMER`
         --> one.yaml:7:36
          |
        7 |     when: trace.span_count > 1 and all(not (kind == SPAN_KIND_CONSUMER) or any_link(true))
          |                                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: if there is to be one, ask for it too: `any(kind == SPAN_KIND_CONSUMER) and all(…)`

        2 warnings
    "#);
    quiet(&[
        r#"any(service == "payments") and all(service != "payments" or duration < 1s)"#,
        r#"count(service == "payments") >= 2 and all(service != "payments" or duration < 1s)"#,
        r#"any(service == "payments" and duration > 1s) and all(service != "payments" or status.code == 1)"#,
        r#"all(service == "payments" or service == "orders")"#,
        r#"all(service != "payments")"#,
        r#"all(service != "payments" or kind != SPAN_KIND_CLIENT)"#,
    ]);
}

#[test]
fn warns_of_mixed_types() {
    let one = r#"
policies:
  - name: server-errors
    when: any(attributes["http.status_code"] >= 500)
    keep: always
  - name: either
    when: any(attributes["http.status_code"] == 429 or attributes["http.status_code"] == "429")
    keep: always
"#;
    let two = r#"
policies:
  - name: throttled
    when: root.attributes["http.status_code"] == "429" or any(attributes["http.status_code"] == "503")
    keep: always
  - name: others
    when: any(any_event(attributes["http.status_code"] == "429") and resource.attributes["http.status_code"] == "1")
    keep: always
"#;
    assert_snapshot!(lint(&[one, two]), @r#"
        warning: `root.attributes["http.status_code"] == "429"` compares with text what is a number elsewhere
         --> two.yaml:4:11
          |
        4 |     when: root.attributes["http.status_code"] == "429" or any(attributes["http.status_code"] == "503")
          |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
         ::: one.yaml:4:15
          |
        4 |     when: any(attributes["http.status_code"] >= 500)
          |               ------------------------------------- a number here
          |
          = hint: values of different types are never equal: write what is sent, or `Int(…)`, `String(…)`

        1 warning
    "#);
    assert!(lint(&[one]).is_empty(), "whoever compares with both knows that it may be either");
    assert!(lint(&[two]).is_empty());
}

#[test]
fn warns_of_what_is_never_asked() {
    assert_snapshot!(lint(&[r#"
match: first
policies:
  - name: checkout
    when: root.service == "checkout"
    keep: { probability: 10% }
  - name: slow-checkout
    when: root.service == "checkout" and trace.duration > 2s
    keep: always
  - name: inner
    policies:
      - { name: all, keep: always }
      - { name: none-left, when: any(kind == SPAN_KIND_SERVER), keep: { probability: 1% } }
    otherwise: drop
  - name: after
    drop: always
"#]), @r#"
        warning: `slow-checkout` is never asked: all that it matches is decided before, by `checkout`
         --> one.yaml:7:5
          |
        7 |   - name: slow-checkout
          |     ^^^^^^^^^^^^^^^^^^^
          |
         ::: one.yaml:4:5
          |
        4 |   - name: checkout
          |     -------------- this one
          |
          = hint: move it up, or remove it

        warning: `none-left` changes nothing: all that it keeps is kept by `all`
          --> one.yaml:13:9
           |
        13 |       - { name: none-left, when: any(kind == SPAN_KIND_SERVER), keep: { probability: 1% } }
           |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
           |
          ::: one.yaml:12:9
           |
        12 |       - { name: all, keep: always }
           |         --------------------------- this one
           |
           = hint: remove it, or narrow the other

        warning: `after` is never asked: all that it matches is decided before, by `inner`
          --> one.yaml:15:5
           |
        15 |   - name: after
           |     ^^^^^^^^^^^
           |
          ::: one.yaml:10:5
           |
        10 |   - name: inner
           |     ----------- this one
           |
           = hint: move it up, or remove it

        3 warnings
    "#);
    assert!(
        lint(&[r#"
match: first
policies:
  - { name: a, when: trace.duration > 1s, keep: { probability: 10% }, on_reject: next }
  - { name: b, when: trace.duration > 2s, keep: always }
  - { name: c, when: trace.duration > 3s, keep: always, shadow: true }
  - { name: d, when: trace.span_count > 9, drop: always, until: 2030-01-01 }
  - { name: e, when: trace.span_count > 10, keep: always }
  - { name: f, when: any(name == "a"), shadow: true, keep: always }
  - { name: g, when: any(name == "a" and duration > 1s), keep: always }
  - { name: h, when: any(name == "b") and any(duration > 1s), keep: always }
  - { name: i, when: any(name == "b" and duration > 1s), policies: [ { name: j, keep: { probability: 1% } } ] }
  - { name: k, when: any(name == "b"), keep: always }
"#])
        .0
        .iter()
        .all(|warning| warning.message.starts_with("`i`"))
    );
}

#[test]
fn warns_of_what_changes_nothing() {
    assert_snapshot!(lint(&[r#"
policies:
  - { name: everything, keep: always }
  - { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }
  - { name: baseline, keep: { probability: 1% } }
"#]), @r#"
        warning: `errors` changes nothing: all that it keeps is kept by `everything`
         --> one.yaml:4:5
          |
        4 |   - { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }
          |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
         ::: one.yaml:3:5
          |
        3 |   - { name: everything, keep: always }
          |     ---------------------------------- this one
          |
          = hint: remove it, or narrow the other

        warning: `baseline` changes nothing: all that it keeps is kept by `everything`
         --> one.yaml:5:5
          |
        5 |   - { name: baseline, keep: { probability: 1% } }
          |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
         ::: one.yaml:3:5
          |
        3 |   - { name: everything, keep: always }
          |     ---------------------------------- this one
          |
          = hint: remove it, or narrow the other

        2 warnings
    "#);
    assert_snapshot!(messages(&lint(&[r#"
policies:
  - { name: probes, when: 'any(name == "GET /healthz")', drop: always }
  - { name: slow-probes, when: 'any(name == "GET /healthz" and duration > 1s)', keep: always }
  - { name: failing-probes, when: 'any(name == "GET /healthz" and status.code == STATUS_CODE_ERROR)', keep: always, protect: true }
  - { name: some-probes, when: 'any(name == "GET /healthz" and kind == SPAN_KIND_CLIENT)', drop: { probability: 50% } }
"#])), @r#"
        { name: slow-probes, when: 'any(name == "GET /healthz" and duration > 1s)', keep: always }: `slow-probes` keeps nothing: all that it matches is dropped by `probes`
        { name: some-probes, when: 'any(name == "GET /healthz" and kind == SPAN_KIND_CLIENT)', drop: { probability: 50% } }: `some-probes` changes nothing: all that it drops is dropped by `probes`
    "#);
    let quiet = lint(&[r#"
policies:
  - { name: baseline, keep: { probability: 1% } }
  - { name: slow, when: trace.duration > 2s, keep: { probability: 10% } }
  - { name: very-slow, when: trace.duration > 5s, keep: always }
  - { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }
  - { name: paying, when: any(status.code == STATUS_CODE_ERROR and service == "pay"), keep: always, protect: true }
  - { name: later, when: trace.span_count > 5, keep: always, until: 2030-01-01 }
  - { name: still, when: trace.span_count > 6, keep: always }
  - { name: names-it, when: trace.span_count > 6, keep: always, shadow: true }
"#]);
    assert!(quiet.is_empty(), "{quiet}");
}

#[test]
fn warns_of_errors_that_are_dropped() {
    assert_snapshot!(lint(&[r#"
policies:
  - name: health-checks
    when: root.attributes["http.route"] == "/healthz"
    drop: always
  - name: errors
    when: trace.error_count > 0
    keep: always
"#]), @r#"
        warning: `health-checks` drops errors that `errors` would keep
         --> one.yaml:4:11
          |
        4 |     when: root.attributes["http.route"] == "/healthz"
          |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
         ::: one.yaml:6:5
          |
        6 |   - name: errors
          |     ------------ this one
          |
          = hint: add `and none(status.code == STATUS_CODE_ERROR)`, or what is meant of errors

        1 warning
    "#);
    let of = |drop: &str, keep: &str| {
        let policies = format!("policies:\n- {{ name: d, {drop} }}\n- {{ name: k, {keep} }}\n");
        let found = messages(&lint(&[&policies])) + &messages(&lint(&[&format!("match: first\n{policies}")]));
        found.lines().count()
    };
    let route = r#"root.attributes["http.route"] == "/healthz""#;
    let errors = "when: any(status.code == STATUS_CODE_ERROR), keep: always";
    assert_eq!(of(&format!("when: '{route}', drop: always"), errors), 2);
    assert_eq!(of(&format!("when: '{route}', drop: {{ probability: 90% }}"), errors), 2);
    assert_eq!(of(&format!("when: '{route}', drop: always, shadow: true"), errors), 0);
    assert_eq!(of(&format!("when: '{route} and none(status.code == STATUS_CODE_ERROR)', drop: always"), errors), 0);
    assert_eq!(of(&format!("when: '{route} and none(attributes[\"error\"] == true)', drop: always"), errors), 0);
    assert_eq!(of(&format!("when: '{route}', drop: always"), "when: trace.duration > 1s, keep: always"), 0);
    let elsewhere = r#"when: 'root.attributes["http.route"] == "/pay" and trace.error_count > 0', keep: always"#;
    assert_eq!(of(&format!("when: '{route}', drop: always"), elsewhere), 0);
    let grouped = |of_group: &str| {
        let drop = format!("{{ name: d, when: '{route}', drop: always }}");
        messages(&lint(&[&format!(
            "policies:\n- {{ name: g, {of_group}, policies: [ {drop} ] }}\n- {{ name: k, {errors} }}\n"
        )]))
    };
    assert_eq!(grouped("note: probes").lines().count(), 1);
    for gone in ["shadow: true", "until: 2030-01-01"] {
        assert_eq!(grouped(gone), "", "{gone}");
    }
    let quiet = lint(&[
        "match: first\npolicies:\n- { name: k, when: trace.error_count > 0, keep: always }\n- { name: d, when: trace.span_count < 3, drop: always }\n",
    ]);
    assert!(quiet.is_empty(), "{quiet}");
}

#[test]
fn warns_of_keys_that_every_trace_has_for_itself() {
    let by = |by: &str| {
        messages(&lint(&[&format!(
            "policies: [ {{ name: a, keep: {{ slowest: {{ quantile: 0.9, by: [{by}] }} }} }} ]"
        )]))
    };
    assert_snapshot!(by("root.service, root.trace_id.string, trace.duration"), @"
    root.trace_id.string: `root.trace_id.string` is another of nearly every trace
    trace.duration: `trace.duration` is another of nearly every trace
    ");
    assert_eq!(by("root.service, trace.shape, trace.span_count, 'Substring(root.trace_id.string, 0, 1)'"), "");
}

#[test]
fn warnings_stand_in_the_order_of_the_files() {
    let file = |names: [&str; 2]| {
        format!(
            "policies:\n- {{ name: {}, when: any(name == nil), keep: always }}\n- {{ name: {}, when: 'any(name != \"\")', keep: always }}\n",
            names[0], names[1]
        )
    };
    let found = lint(&[&file(["a", "b"]), &file(["c", "d"])]);
    let places = found.0.iter().filter_map(|warning| warning.at.as_ref());
    let places: Vec<_> = places.map(|at| (at.source.name.as_str(), at.line_column().0)).collect();
    assert!(places.is_sorted() && places.len() > 4, "{places:?}");
}

#[test]
fn so_many_policies_that_comparing_them_all_would_take_long() {
    let policies = (1..10_001)
        .map(|i| format!("- {{ name: p{i}, when: trace.span_count == {i} and root.kind == 2, keep: always }}\n"));
    let found = lint(&[&format!("policies:\n{}", policies.collect::<String>())]);
    assert_eq!(messages(&found), ": not all policies were compared with each other: there are too many\n");
}

#[test]
fn rates_are_within_their_budget() {
    let rates = |budget: &str, more: &str| {
        lint(&[&format!(
            "policies: [ {{ name: a, keep: {{ rate: {{ spans_per_second: 2000 }} }} }},
                         {{ name: g, policies: [ {{ name: b, keep: {{ rate: {{ spans_per_second: 4000 }} }}{more} }} ] }} ]
budget: {{ {budget} }}"
        )])
    };
    let found = rates("spans_per_second: 5000", "");
    let said = "the rates under a budget of 5000 spans a second come to 6000";
    assert_eq!(messages(&found).matches(said).count(), 1, "{found}");
    for (budget, more) in [
        ("spans_per_second: 6000", ""),
        ("traces_per_second: 10", ""),
        ("spans_per_second: 5000", ", shadow: true"),
        ("spans_per_second: 5000", " } ], shadow: true }, { name: h, policies: [ { name: c, keep: always"),
    ] {
        let found = rates(budget, more);
        assert!(found.is_empty(), "{found}");
    }
}
