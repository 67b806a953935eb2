//! Policy files as people get them wrong.

use std::sync::Arc;

use insta::assert_snapshot;

use crate::{
    decide::{Action, Part, PolicySet},
    diagnostic::{Diagnostic, Diagnostics, Source},
    yaml,
};

/// What is said of these files.
fn compile(files: &[&str]) -> Result<PolicySet, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let roots: Vec<_> = (0..)
        .zip(files)
        .filter_map(|(i, text)| {
            let source =
                Arc::new(Source { name: format!("{}.yaml", ["one", "two", "three"][i]), text: (*text).into() });
            yaml::parse(source, &mut diagnostics)
        })
        .collect();
    let parts: Vec<_> = roots.iter().map(Part::File).collect();
    let set = PolicySet::compile(&parts, &mut diagnostics);
    set.filter(|_| diagnostics.is_empty()).ok_or(diagnostics)
}

fn mistakes(files: &[&str]) -> String {
    compile(files).expect_err("wrong files").to_string()
}

#[test]
fn merges_files_in_order() {
    let set = compile(&[
        "match: first\npolicies:\n- { name: a, drop: always }\n",
        "otherwise: keep\n",
        "policies:\n- { name: b, when: 'any(attributes[\"k\"] == 1)', keep: always }\n- { name: c, keep: [{ probability: 1/2 }] }\n",
    ])
    .unwrap();
    assert_eq!(set.policies().iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(set.program.keys.slot(b"k"), Some(0));
    assert_eq!((set.words(), set.counters()), (1, 0));
    assert!(compile(&[""]).unwrap().policies().is_empty());
}

#[test]
fn takes_policies_from_the_configuration() {
    let mut diagnostics = Diagnostics::default();
    let mut node = |text: &str| {
        yaml::parse(Arc::new(Source { name: "tailwater.yaml".into(), text: text.into() }), &mut diagnostics).unwrap()
    };
    let (file, inline) = (node("policies: [{ name: a, keep: always }]"), node("{ name: b, drop: always }"));
    let set = PolicySet::compile(&[Part::Policy(&inline), Part::File(&file)], &mut diagnostics).unwrap();
    assert_eq!(set.policies().iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
}

#[test]
fn names_every_mistake_at_once() {
    assert_snapshot!(mistakes(&[r#"
match: all
policies:
  - name: errors
    when: any(statsu.code == STATUS_CODE_ERROR)
    keep: always
  - name: errors
    drop: always
  - name: slow
    when: >-
      root.service == "checkout"
      and trace.duration > 2
    keeps: always
  - keep: 1%
  - name: both
    keep: { probability: 1 }
    drop: always
  - name: nothing
  - name: later
    keep:
      rate: { spans_per_second: 2000, by: [root.service] }
  - name: quoted
    when: 'any(name == "it''s" and kind == SERVER)'
    drop: { probability: 10 }
  - just text
otherwise: always
tests: []
"#]), @r#"
        error: `match` is neither any nor first
         --> one.yaml:2:8
          |
        2 | match: all
          |        ^^^
          |
          = hint: write `match: any` or `match: first`

        error: unknown path `statsu.code`
         --> one.yaml:5:15
          |
        5 |     when: any(statsu.code == STATUS_CODE_ERROR)
          |               ^^^^^^^^^^^
          |
          = hint: did you mean `status.code`?

        error: two policies named `errors`
         --> one.yaml:7:11
          |
        7 |   - name: errors
          |           ^^^^^^
          |
         ::: one.yaml:4:11
          |
        4 |   - name: errors
          |           ------ the first is here

        error: `trace.duration` is a duration and `2` has no unit
          --> one.yaml:12:28
           |
        12 |       and trace.duration > 2
           |                            ^
           |
           = hint: did you mean `2s`?

        error: a policy needs `keep` or `drop`
         --> one.yaml:9:5
          |
        9 |   - name: slow
          |     ^^^^^^^^^^
          |
          = hint: write `keep: always`, `keep: { probability: 1% }` or `drop: always`; a group has `policies`

        error: unknown field `keeps`, did you mean `keep`?
          --> one.yaml:13:5
           |
        13 |     keeps: always
           |     ^^^^^

        error: missing field `name`
          --> one.yaml:14:5
           |
        14 |   - keep: 1%
           |     ^^^^^^^^
           |
           = hint: write `name: errors`

        error: `keep` is neither `always`, a sampler nor a list of samplers
          --> one.yaml:14:11
           |
        14 |   - keep: 1%
           |           ^^
           |
           = hint: write `keep: always` or `keep: { probability: 1% }`

        error: a policy has `keep` or `drop`, not both
          --> one.yaml:17:11
           |
        17 |     drop: always
           |           ^^^^^^
           |
           = hint: make two policies of it

        error: a policy needs `keep` or `drop`
          --> one.yaml:18:5
           |
        18 |   - name: nothing
           |     ^^^^^^^^^^^^^
           |
           = hint: write `keep: always`, `keep: { probability: 1% }` or `drop: always`; a group has `policies`

        error: unknown constant `SERVER`
          --> one.yaml:23:44
           |
        23 |     when: 'any(name == "it''s" and kind == SERVER)'
           |                                            ^^^^^^
           |
           = hint: did you mean `SPAN_KIND_SERVER`?

        error: `probability`: `10` could be per cent or all
          --> one.yaml:24:26
           |
        24 |     drop: { probability: 10 }
           |                          ^^
           |
           = hint: did you mean 10%? all is 100%

        error: a policy must be a mapping, not text
          --> one.yaml:25:5
           |
        25 |   - just text
           |     ^^^^^^^^^

        error: `otherwise` is neither drop, keep nor a sampler
          --> one.yaml:26:12
           |
        26 | otherwise: always
           |            ^^^^^^
           |
           = hint: write `otherwise: drop`, `keep` or `{ probability: 1% }`

        14 errors
    "#);
}

/// What YAML makes of conditions that it does not leave alone, each in a file of its own.
#[test]
fn shows_what_yaml_took_of_a_condition() {
    let told = |when: &str| mistakes(&[&format!("policies:\n  - name: a\n    when: {when}\n    keep: always\n")]);
    let within = |when: &str| mistakes(&[&format!("policies:\n  - {{ name: a, when: {when}, keep: always }}\n")]);
    assert_snapshot!(told(r#"any(name == "GET #1")"#), @r#"
        error: YAML takes ` #` for the beginning of a comment
         --> one.yaml:3:28
          |
        3 |     when: any(name == "GET #1")
          |                            ^
          |
          = hint: quote the condition: when: 'any(name == "GET #1")'

        1 error
    "#);
    assert_snapshot!(told(r#"any(name == "GET: all") # all"#), @r#"
        error: YAML takes `: ` for the end of a key
         --> one.yaml:3:27
          |
        3 |     when: any(name == "GET: all") # all
          |                           ^
          |
          = hint: quote the condition: when: 'any(name == "GET: all")'

        1 error
    "#);
    assert_snapshot!(told(r#"any(
      name == "GET" and
      service == "a #1")"#), @r#"
        error: YAML takes ` #` for the beginning of a comment
         --> one.yaml:5:21
          |
        5 |       service == "a #1")
          |                     ^
          |
          = hint: write the condition on lines of its own below `when: >-`, where all is text

        1 error
    "#);
    assert_snapshot!(told(r#"any(
      name == "GET" and
      service == "a: 1")"#), @r#"
        error: YAML takes `: ` for the end of a key
         --> one.yaml:5:20
          |
        5 |       service == "a: 1")
          |                    ^
          |
          = hint: write the condition on lines of its own below `when: >-`, where all is text

        1 error
    "#);
    assert_snapshot!(told("\n      any(name == \"GET #1\")"), @r#"
    error: YAML takes ` #` for the beginning of a comment
     --> one.yaml:4:24
      |
    4 |       any(name == "GET #1")
      |                        ^
      |
      = hint: quote the condition: when: 'any(name == "GET #1")'

    1 error
    "#);
    assert_snapshot!(told("\n      !any(name == \"a\")"), @r#"
    error: YAML takes a `!` in front for a tag
     --> one.yaml:4:7
      |
    4 |       !any(name == "a")
      |       ^
      |
      = hint: a condition is negated by `not`: when: not any(name == "a")

    1 error
    "#);
    assert_snapshot!(told("\n  - !any"), @r#"
    error: tags (`!…`) are not supported
     --> one.yaml:4:5
      |
    4 |   - !any
      |     ^^^^
      |
      = hint: quote the text if it begins with `!`

    1 error
    "#);
    assert_snapshot!(told(r#""a" == root.name"#), @r#"
        error: YAML takes a quote in front for one around the whole text
         --> one.yaml:3:11
          |
        3 |     when: "a" == root.name
          |           ^
          |
          = hint: quote the condition: when: '"a" == root.name'

        1 error
    "#);
    assert_snapshot!(told(r#""any(name == "a")""#), @r#"
        error: YAML ends the text at this quote
         --> one.yaml:3:24
          |
        3 |     when: "any(name == "a")"
          |                        ^
          |
          = hint: quote the condition: when: 'any(name == "a")'

        1 error
    "#);
    assert_snapshot!(told(r#"'any(name == 'a')'"#), @r#"
        error: YAML ends the text at this quote
         --> one.yaml:3:24
          |
        3 |     when: 'any(name == 'a')'
          |                        ^
          |
          = hint: quote the condition: when: 'any(name == "a")'

        1 error
    "#);
    assert_snapshot!(told(r#""any(IsMatch(name, \"\d+\"))""#), @r#"
        error: in double quotes, YAML knows no `\d`
         --> one.yaml:3:32
          |
        3 |     when: "any(IsMatch(name, \"\d+\"))"
          |                                ^^
          |
          = hint: quote the condition: when: 'any(IsMatch(name, "\\d+"))'

        1 error
    "#);
    assert_snapshot!(told(r#"!any(name == "a")"#), @r#"
        error: YAML takes a `!` in front for a tag
         --> one.yaml:3:11
          |
        3 |     when: !any(name == "a")
          |           ^
          |
          = hint: a condition is negated by `not`: when: not any(name == "a")

        1 error
    "#);
    assert_snapshot!(told(r#"*any(name == "a")"#), @r#"
        error: YAML takes a `*` in front for the alias of another value
         --> one.yaml:3:11
          |
        3 |     when: *any(name == "a")
          |           ^
          |
          = hint: quote the condition: when: '*any(name == "a")'

        1 error
    "#);
    assert_snapshot!(told(r#"&any(name == "a")"#), @r#"
        error: YAML takes a `&` in front for the name of an anchor
         --> one.yaml:3:11
          |
        3 |     when: &any(name == "a")
          |           ^
          |
          = hint: quote the condition: when: '&any(name == "a")'

        1 error
    "#);
    assert_snapshot!(told(r#"%any(name == "a")"#), @r#"
        error: in YAML no text has a `%` in front
         --> one.yaml:3:11
          |
        3 |     when: %any(name == "a")
          |           ^
          |
          = hint: quote the condition: when: '%any(name == "a")'

        1 error
    "#);
    assert_snapshot!(told(r#"@any(name == "a")"#), @r#"
        error: in YAML no text has a `@` in front
         --> one.yaml:3:11
          |
        3 |     when: @any(name == "a")
          |           ^
          |
          = hint: quote the condition: when: '@any(name == "a")'

        1 error
    "#);
    assert_snapshot!(told(r#"`any(name == "a")`"#), @r#"
        error: in YAML no text has a ``` in front
         --> one.yaml:3:11
          |
        3 |     when: `any(name == "a")`
          |           ^
          |
          = hint: quote the condition: when: '`any(name == "a")`'

        1 error
    "#);
    assert_snapshot!(told(r#"["a", "b"] == root.attributes["k"]"#), @r#"
        error: YAML takes a `[` in front for a list
         --> one.yaml:3:11
          |
        3 |     when: ["a", "b"] == root.attributes["k"]
          |           ^
          |
          = hint: quote the condition: when: '["a", "b"] == root.attributes["k"]'

        1 error
    "#);
    assert_snapshot!(told(r#"> 5 == trace.span_count"#), @r#"
        error: YAML takes a `>` in front for the head of a block of text
         --> one.yaml:3:11
          |
        3 |     when: > 5 == trace.span_count
          |           ^
          |
          = hint: quote the condition: when: '> 5 == trace.span_count'

        1 error
    "#);
    assert_snapshot!(within(r#"any(name == "a, b")"#), @r#"
        error: inside of `{ }`, YAML takes `,` for the end of a value
         --> one.yaml:2:36
          |
        2 |   - { name: a, when: any(name == "a, b"), keep: always }
          |                                    ^
          |
          = hint: quote the condition: when: 'any(name == "a, b")'

        error: unknown field `b")`
         --> one.yaml:2:38
          |
        2 |   - { name: a, when: any(name == "a, b"), keep: always }
          |                                      ^^^
          |
          = hint: known fields: name, when, until, shadow, note, policies, keep, drop, protect, on_reject

        2 errors
    "#);
    assert_snapshot!(within(r#"any(name == "{a}")"#), @r#"
        error: inside of `{ }`, YAML takes `{` for its own
         --> one.yaml:2:35
          |
        2 |   - { name: a, when: any(name == "{a}"), keep: always }
          |                                   ^
          |
          = hint: quote the condition: when: 'any(name == "{a}")'

        1 error
    "#);
    assert_snapshot!(within(r#"root.attributes["k"] == 1"#), @r#"
        error: inside of `{ }`, YAML takes `[` for its own
         --> one.yaml:2:37
          |
        2 |   - { name: a, when: root.attributes["k"] == 1, keep: always }
          |                                     ^
          |
          = hint: quote the condition: when: 'root.attributes["k"] == 1'

        1 error
    "#);
    assert_snapshot!(within(r#""any(name == "a")""#), @r#"
        error: YAML ends the text at this quote
         --> one.yaml:2:35
          |
        2 |   - { name: a, when: "any(name == "a")", keep: always }
          |                                   ^
          |
          = hint: quote the condition: when: 'any(name == "a")'

        1 error
    "#);
    assert_snapshot!(within(r#"any(name == "a #1")"#), @r#"
        error: YAML takes ` #` for the beginning of a comment
         --> one.yaml:2:37
          |
        2 |   - { name: a, when: any(name == "a #1"), keep: always }
          |                                     ^
          |
          = hint: quote the condition: when: 'any(name == "a #1")'

        1 error
    "#);
    assert_snapshot!(within(r#"IsMatch(root.name, "it's: [ab]")"#), @r#"
        error: inside of `{ }`, YAML takes `,` for the end of a value
         --> one.yaml:2:39
          |
        2 |   - { name: a, when: IsMatch(root.name, "it's: [ab]"), keep: always }
          |                                       ^
          |
          = hint: quote the condition: when: 'IsMatch(root.name, "it''s: [ab]")'

        1 error
    "#);
}

/// A comment behind a whole condition is one, and other mistakes are shown for what they are.
#[test]
fn takes_what_yaml_left_alone() {
    let told = |when: &str| messages(&[&format!("policies:\n  - name: a\n    when: {when}\n    keep: always\n")]);
    for when in [
        "any(statsu == 1) # note",
        "'any(statsu == 1)' # note: b",
        ">-\n      any(statsu == \"#1: a\")",
        "&a any(statsu == 1)",
    ] {
        assert!(told(when).starts_with("unknown path `statsu`: "), "{when}: {}", told(when));
    }
    assert!(told("any(name == \"a").starts_with("this string has no end"));
    assert!(
        compile(&["policies: [{ name: a, when: &a any(true), keep: always }, { name: b, when: *a, keep: always }]"])
            .is_ok()
    );
    assert!(compile(&["policies:\n- name: a\n  when: any(name == \"a:b#c\") # d: e\n  keep: always\n"]).is_ok());
}

/// The messages and hints, a line each.
fn messages(files: &[&str]) -> String {
    let errors = compile(files).expect_err("wrong files").0;
    let line = |error: &Diagnostic| match &error.hint {
        Some(hint) => format!("{}: {hint}\n", error.message),
        None => format!("{}\n", error.message),
    };
    errors.iter().map(line).collect()
}

#[test]
fn refuses_what_could_have_no_effect() {
    let beside_any = messages(&[r#"
policies:
  - { name: a, drop: true }
  - { name: b, keep: { probability: 1% }, on_reject: next }
  - { name: c, drop: { probability: 1% }, protect: true, on_reject: drop }
  - { name: d, keep: always, protect: yes, shadow: 1, note: [], until: tomorrow }
  - { name: e, keep: always, match: first }
  - name: f
    match: first
    keep: always
    policies:
      - { name: g, keep: always, on_reject: next }
      - { name: h, keep: { probability: 1% }, on_reject: next, protect: true }
      - { name: i, match: one, policies: [{ name: j, keep: { probability: 1% }, on_reject: next }], otherwise: 1% }
  - { name: k, policies: [] }
  - { name: l, policies: {}, budget: 1 }
  - { name: m, until: 2026-12-01T10:00:00, keep: always }
"#]);
    let beside_first = messages(&[
        "policies:\n- { name: a, keep: always, protect: true }\n- { name: b, match: first, policies: [{ name: c, keep: always, protect: true }] }\n",
        "match: first\npolicies:\n- { name: d, keep: always, protect: false }\n- { name: e, policies: [{ name: f, keep: always, protect: true }] }\n",
    ]);
    assert_snapshot!(format!("{beside_any}\n{beside_first}"), @"
    `drop` is neither `always`, a sampler nor a list of samplers: write `drop: always` or `drop: { probability: 1% }`
    `on_reject` where a sampler's no ends nothing: remove it: with `match: any` every policy is asked
    `on_reject` is not `next`: write `on_reject: next`, or nothing: then the search ends
    `protect` for what is dropped: write it at the policies that no `drop` may veto
    `until`: `tomorrow` is no date: write 2026-12-24 or 2026-12-24T18:00:00Z
    `shadow` must be true or false
    `note` must be text, not a list
    `protect` must be true or false
    unknown field `match`: known fields: name, when, until, shadow, note, policies, keep, drop, protect, on_reject
    `on_reject` without a sampler: remove it: `always` rejects nothing
    `protect` where nothing vetoes: with `match: first` the policy that stands first decides: move this one up
    `match` is neither any nor first: write `match: any` or `match: first`
    `otherwise` is neither drop, keep nor a sampler: write `otherwise: drop`, `keep` or `{ probability: 1% }`
    unknown field `keep`: known fields: name, when, until, shadow, note, policies, match, otherwise, budget
    a group without policies: remove the group, or write policies into it
    `policies` must be a list, not a mapping: a list stands in brackets, or has a `-` before each entry
    `until`: `2026-12-01T10:00:00` has no offset from UTC: did you mean 2026-12-01T10:00:00Z?

    `protect` where nothing vetoes: with `match: first` the policy that stands first decides: move this one up
    `protect` where nothing vetoes: with `match: first` the policy that stands first decides: move this one up
    ");
    // What `match` was meant to be is not known: nothing is said of what depends on it.
    let told =
        messages(&["match: all\npolicies: [{ name: a, keep: { probability: 1% }, protect: true, on_reject: next }]\n"]);
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn groups_are_read_in_their_order() {
    let set = compile(&[
        "policies:\n- name: a\n  policies:\n  - { name: b, policies: [{ name: c, keep: always }] }\n  - { name: d, drop: always }\n- { name: e, keep: always }\n",
    ]);
    let set = set.unwrap();
    assert_eq!(set.policies().iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
    let ranges = set.policies().iter().map(|policy| match &policy.action {
        Action::Group(list) => list.policies.clone(),
        _ => 0..0,
    });
    assert_eq!(ranges.collect::<Vec<_>>(), [1..4, 2..3, 0..0, 0..0, 0..0]);
}

#[test]
fn names_are_unique_over_groups() {
    let told = messages(&[
        "policies: [{ name: a, policies: [{ name: b, keep: always }] }]",
        "policies: [{ name: c, policies: [{ name: a, keep: always }, { name: b, policies: [{ name: c, drop: always }] }] }]",
    ]);
    assert_eq!(told, "two policies named `a`\ntwo policies named `b`\ntwo policies named `c`\n");
}

#[test]
fn bounds_the_depth_of_groups() {
    let nested = |depth: usize| {
        let group = |inside: String, i| format!("{{ name: g{i}, policies: [{inside}] }}");
        format!("policies: [{}]", (0..depth).fold("{ name: p, keep: always }".to_owned(), group))
    };
    assert_eq!(compile(&[&nested(8)]).unwrap().policies().len(), 9);
    let told = messages(&[&nested(9)]);
    assert_eq!(told, "more than 8 groups inside each other: write the groups further in side by side\n");
}

#[test]
fn names_both_places() {
    assert_snapshot!(mistakes(&[
        "match: any\notherwise: drop\npolicies:\n- { name: a, keep: always }\n",
        "match: any\notherwise: keep\npolicies:\n- { name: a, keep: always }\n",
    ]), @r#"
        error: `match` stands in two files
         --> two.yaml:1:8
          |
        1 | match: any
          |        ^^^
          |
         ::: one.yaml:1:8
          |
        1 | match: any
          |        --- the first is here
          |
          = hint: the files are read as one list: write it in one of them

        error: two policies named `a`
         --> two.yaml:4:11
          |
        4 | - { name: a, keep: always }
          |           ^
          |
         ::: one.yaml:4:11
          |
        4 | - { name: a, keep: always }
          |           - the first is here

        error: `otherwise` stands in two files
         --> two.yaml:2:12
          |
        2 | otherwise: keep
          |            ^^^^
          |
         ::: one.yaml:2:12
          |
        2 | otherwise: drop
          |            ---- the first is here
          |
          = hint: the files are read as one list: write it in one of them

        3 errors
    "#);
}

#[test]
fn what_is_of_all_policies_stands_in_one_file() {
    for field in ["match: first", "otherwise: keep", "randomness: trace", "budget: { traces_per_second: 1 }"] {
        let name = field.split(':').next().expect("a name");
        let Diagnostics(mistakes) = compile(&[field, "policies: []", field]).expect_err("it is there twice");
        let [Diagnostic { message, also: Some((first, _)), at: Some(second), .. }] = &*mistakes else {
            panic!("{mistakes:?}")
        };
        assert_eq!(*message, format!("`{name}` stands in two files"));
        assert_eq!((&*first.source.name, &*second.source.name), ("one.yaml", "three.yaml"));
    }
}

#[test]
fn names_wrong_names_and_samplers() {
    assert_snapshot!(mistakes(&[r#"
policies:
  - { name: otherwise, keep: always }
  - { name: " a", keep: always }
  - { name: "a\nb", keep: always }
  - { name: , keep: always }
  - { name: [a], keep: always }
  - { name: b, keep: [] }
  - { name: c, keep: {} }
  - { name: d, keep: { probability: 1%, rate: {} } }
  - { name: e, keep: [always] }
  - { name: f, keep: { probabilty: 1% } }
  - { name: g, when: , keep: always }
  - { name: h, when: { a: b }, keep: always }
"#]), @r#"
        error: `otherwise` is the name of what happens to the rest
         --> one.yaml:3:13
          |
        3 |   - { name: otherwise, keep: always }
          |             ^^^^^^^^^
          |
          = hint: choose another name

        error: a name is one line, without space around it
         --> one.yaml:4:13
          |
        4 |   - { name: " a", keep: always }
          |             ^^^^
          |
          = hint: write `name: errors`

        error: a name is one line, without space around it
         --> one.yaml:5:13
          |
        5 |   - { name: "a\nb", keep: always }
          |             ^^^^^^
          |
          = hint: write `name: errors`

        error: `name` has no value
         --> one.yaml:6:11
          |
        6 |   - { name: , keep: always }
          |           ^

        error: `name` must be text, not a list
         --> one.yaml:7:13
          |
        7 |   - { name: [a], keep: always }
          |             ^^^

        error: `keep` is neither `always`, a sampler nor a list of samplers
         --> one.yaml:8:22
          |
        8 |   - { name: b, keep: [] }
          |                      ^^
          |
          = hint: write `keep: always` or `keep: { probability: 1% }`

        error: no sampler
         --> one.yaml:9:22
          |
        9 |   - { name: c, keep: {} }
          |                      ^^
          |
          = hint: write `{ probability: 1% }` or `{ slowest: { quantile: 0.999 } }`

        error: two samplers in one
          --> one.yaml:10:47
           |
        10 |   - { name: d, keep: { probability: 1%, rate: {} } }
           |                                               ^^
           |
           = hint: write a list: `[ { probability: 10% }, { rate: … } ]`

        error: a sampler must be a mapping, not text
          --> one.yaml:11:23
           |
        11 |   - { name: e, keep: [always] }
           |                       ^^^^^^

        error: unknown field `probabilty`, did you mean `probability`?
          --> one.yaml:12:24
           |
        12 |   - { name: f, keep: { probabilty: 1% } }
           |                        ^^^^^^^^^^

        error: `when` has no value
          --> one.yaml:13:20
           |
        13 |   - { name: g, when: , keep: always }
           |                    ^

        error: `when` must be text, not a mapping
          --> one.yaml:14:22
           |
        14 |   - { name: h, when: { a: b }, keep: always }
           |                      ^^^^^^^^

        12 errors
    "#);
}

#[test]
fn says_what_was_meant_by_what_newcomers_write() {
    let told = [
        "- { name: a, keep: always }",
        "policies: [ { name: a, keep: 10% } ]",
        "policies: [ { name: a, drop: never } ]",
        "policies: []\notherwise: 10%",
        "policies: [ { name: a, when: [ trace.duration > 2s, trace.complete ], keep: always } ]",
    ];
    assert_snapshot!(told.map(|file| messages(&[file])).concat(), @"
    a policy file must be a mapping, not a list: write `policies:` on a line of its own above the list
    `keep` is neither `always`, a sampler nor a list of samplers: write `keep: always` or `keep: { probability: 10% }`
    `drop` is neither `always`, a sampler nor a list of samplers: write `drop: always` or `drop: { probability: 1% }`
    `otherwise` is neither drop, keep nor a sampler: write `otherwise: drop`, `keep` or `{ probability: 10% }`
    `when` must be text, not a list: write one condition: its parts are joined with `and` or `or`
    ");
}

#[test]
fn bounds_the_number_of_policies() {
    let policies = |n: usize| (0..n).map(|i| format!("- {{name: p{i}, drop: always}}\n")).collect::<String>();
    let text = |n| format!("policies:\n{}", policies(n));
    assert_eq!(compile(&[&text(10_000)]).unwrap().policies().len(), 10_000);
    let errors = compile(&[&text(10_001)]).unwrap_err();
    assert_eq!(errors.0.len(), 1);
    assert_eq!(errors.0[0].message, "more than 10000 policies");
}

#[test]
fn bounds_what_all_conditions_ask() {
    let policy = |i: usize, when: String| format!("- {{name: p{i}, when: '{when}', drop: always}}\n");
    let counts: String = (0..1001).map(|i| policy(i, format!("count(name == \"{i}\") > 1"))).collect();
    let errors = compile(&[&format!("policies:\n{counts}")]).unwrap_err();
    assert_eq!(errors.0[0].message, "more than 1000 different counts in all policies");
    assert!(errors.0[0].at.as_ref().unwrap().text().contains("p1000"));
    let patterns: String = (0..1001).map(|i| policy(i, format!("any(IsMatch(name, \"{i}\"))"))).collect();
    let errors = compile(&[&format!("policies:\n{patterns}")]).unwrap_err();
    assert_eq!(errors.0[0].message, "more than 1000 different patterns in all policies");
}

#[test]
fn names_wrong_samplers_that_learn() {
    let keep = |keep: &str| messages(&[&format!("policies: [ {{ name: a, keep: {keep} }} ]")]);
    let slowest = |fields: &str| keep(&format!("{{ slowest: {{ {fields} }} }}"));
    let rare = |fields: &str| keep(&format!("{{ rare: {{ {fields} }} }}"));
    let told = [
        keep("{ slowest: 0.999 }"),
        slowest(""),
        slowest("quantile: 1"),
        slowest("quantile: 100%"),
        slowest("quantile: 0"),
        slowest("quantile: 0.999, window: 5s"),
        slowest("quantile: 0.999, key: [root.service]"),
        slowest("quantile: 0.999, by: root.service"),
        slowest("quantile: 0.999, by: [service, root.nam, trace.duration > 2s]"),
        slowest("quantile: 0.999, of: root.name"),
        slowest("quantile: 0.999, of: 5"),
        keep("{ slowest: { quantile: 0.9 }, probability: 1% }"),
        messages(&["policies: [ { name: a, drop: { slowest: { quantile: 0.9 } } } ]"]),
        keep("{ rare: [root.service] }"),
        rare("at_least: 0, per: 2d"),
        rare("by: [root.service], at_least: many, window: 5m"),
        rare("by: [span.name]"),
        keep("{ rare: { by: [] }, slowest: { quantile: 0.9 } }"),
        messages(&["otherwise: { rare: { by: [root.service] } }"]),
        keep("{ adaptive: 10% }"),
        keep("{ adaptive: {} }"),
        keep("{ adaptive: { probability: 10%, traces_per_second: 5 } }"),
        keep("{ adaptive: { probability: 10, keys: [] } }"),
        keep("{ adaptive: { spans_per_second: -1, by: [root.nam] } }"),
        messages(&["otherwise: { slowest: { quantile: 0.9 } }"]),
        keep("{ follow: links }"),
        keep("{ follow: { of: [b], for: 5s, wait: 1h } }"),
        keep("{ follow: { by: [] } }"),
        keep("{ follow: { by: ['attributes[\"order\"]', link], of: errors } }"),
        keep("{ follow: { by: [links, links.trace_id] } }"),
        keep("{ follow: { by: [links], of: [] } }"),
        keep("{ follow: { by: [links], of: [b, 7, a, otherwise] } }"),
        messages(&["policies: [ { name: a, drop: { follow: { by: [links] } } } ]"]),
    ];
    assert_snapshot!(told.concat(), @r#"
    `slowest` must be a mapping, not text: write `slowest: { quantile: 0.999 }`
    missing field `quantile`: write `quantile: 0.999`: of a thousand, one is kept
    `quantile`: `1` is not a quantile: write 0.999, or 99.9%
    `quantile`: `100%` is not a quantile: write 0.999, or 99.9%
    `quantile`: `0` is not a quantile: write 0.999, or 99.9%
    `window`: `5s` is not from 1m to 24h: write such as 10m
    unknown field `key`: known fields: quantile, by, of, window
    `by` must be a list, not text: a list stands in brackets, or has a `-` before each entry
    `service` is of a span, and a trace has many: did you mean `root.service`?
    unknown path `root.nam`: did you mean `root.name`?
    `trace.duration > 2s` is a condition, not a value: conditions are joined with `and` and `or`, and negated with `not`
    `root.name` is no number: write `root.duration`, `trace.duration` or an attribute that is a number
    `5` is the same of all traces: write a path, such as `root.service`
    two samplers in one: write a list: `[ { probability: 10% }, { slowest: … } ]`
    `slowest` outside of `keep`: it is for what a policy keeps: `keep: { slowest: … }`
    `rare` must be a mapping, not a list: write `rare: { by: [root.service, root.name] }`
    missing field `by`: write `by: [root.service, root.name, trace.shape]`: some traces of each are kept
    `at_least`: `0` is no number of traces: write 1 to 1000
    `per`: `2d` is not a duration: write 500ms, 2s, 1m30s, 10m or 1h
    `at_least`: `many` is no number of traces: write 1 to 1000
    unknown field `window`: known fields: by, at_least, per
    `span.name` is of a span, and a trace has many: did you mean `root.name`?
    two samplers in one: write a list: `[ { probability: 10% }, { rare: … } ]`
    `rare` outside of `keep`: it is for what a policy keeps: `keep: { rare: … }`
    `adaptive` must be a mapping, not text: write `adaptive: { traces_per_second: 200, by: [root.service] }`
    no goal: write `probability: 10%` or `traces_per_second: 200`
    two goals in one: choose one of them
    unknown field `keys`: known fields: probability, traces_per_second, spans_per_second, by
    `probability`: `10` could be per cent or all: did you mean 10%? all is 100%
    `spans_per_second`: `-1` is no number a second: write such as 200, or 0.5
    unknown path `root.nam`: did you mean `root.name`?
    `slowest` outside of `keep`: it is for what a policy keeps: `keep: { slowest: … }`
    `follow` must be a mapping, not text: write `follow: { by: [links] }`
    missing field `by`: write `by: [links]`
    `for`: `5s` is not from 1m to 24h: write such as 10m
    `wait`: `1h` is more than 10m: write such as 5s, or 0s
    `follow` by nothing: write `by: [links]`
    `of` must be a list, not text: a list stands in brackets, or has a `-` before each entry
    `attributes["order"]` is of a span, and a trace has many: did you mean `root.attributes["order"]`? or, of all spans, `values(attributes["order"])`?
    unknown path `link`: write `links`: the traces that it is linked with
    unknown path `links.trace_id`: write `links`: the traces that it is linked with
    nobody is followed: name a policy in `of`, or remove it
    there is no policy `b`: name policies or groups whose traces others are to follow
    there is no policy `7`: name policies or groups whose traces others are to follow
    there is no policy `otherwise`: name policies or groups whose traces others are to follow
    `follow` outside of `keep`: it is for what a policy keeps: `keep: { follow: … }`
    "#);
}

#[test]
fn reads_samplers_that_learn() {
    let right = [
        "quantile: 0.999",
        "quantile: 99.9%, window: 1h",
        r#"quantile: 0.95, by: [root.service, root.name, trace.shape, 'root.attributes["http.route"]']"#,
        r#"quantile: 0.95, by: ['Concat([root.service, root.name], " ")'], of: trace.duration"#,
        r#"quantile: 0.5, of: 'root.attributes["bytes"]'"#,
        "quantile: 0.5, of: trace.error_count",
    ];
    let slowest = right.iter().map(|fields| format!("{{ slowest: {{ {fields} }} }}"));
    let right =
        ["by: [root.service, root.name, trace.shape], at_least: 3, per: 1h", "by: ['root.attributes[\"error.type\"]']"];
    let rare = right.iter().map(|fields| format!("{{ rare: {{ {fields} }} }}"));
    let right = [
        "probability: 10%, by: [root.service]",
        "traces_per_second: 200",
        r#"spans_per_second: 0.5, by: ['root.attributes["tenant"]']"#,
    ];
    let adaptive = right.iter().map(|fields| format!("{{ adaptive: {{ {fields} }} }}"));
    let right = [
        "by: [links]",
        r#"by: [links, 'values(attributes["messaging.message.id"])', 'root.attributes["order"]'], of: [a], for: 1h, wait: 0s"#,
    ];
    let follow = right.iter().map(|fields| format!("{{ follow: {{ {fields} }} }}"));
    for sampler in slowest.chain(rare).chain(adaptive).chain(follow) {
        let text = format!("policies: [ {{ name: a, keep: [ {sampler}, {{ probability: 10% }} ] }} ]");
        compile(&[&text]).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    }
}

#[test]
fn names_mistakes_of_ceilings() {
    let found = messages(&["\
policies:
  - { name: a, keep: { rate: {} } }
  - { name: b, keep: { rate: { traces_per_second: 1, spans_per_second: 2 } } }
  - { name: c, keep: { rate: { bytes_per_second: 0B } } }
  - { name: d, keep: { rate: { traces_per_second: 1, burst: 1h } } }
  - { name: e, drop: { rate: { traces_per_second: 1 } } }
  - { name: k, keep: { rate: { traces_per_second: 1, each: 1 } } }
  - { name: l, keep: { rate: { bytes_per_second: 1KB, each: 1MB, by: [root.service] } } }
  - { name: m, keep: { rate: { traces_per_second: 1, each: 1KB, by: [root.service] } } }
  - { name: f, keep: always, protect: true }
  - { name: g, budget: { spans_per_second: 1, give_way: [h, f] }, policies: [ { name: h, keep: always } ] }
budget: { traces_per_second: 1, give_way: [f, h, 1] }
"]);
    assert_snapshot!(found, @"
    nothing says how much: write one of `traces_per_second`, `spans_per_second`, `bytes_per_second`
    two rates in one: choose one of them
    `bytes_per_second`: nothing a second: write such as 10MiB
    `burst`: `1h` is not from 1s to 10m: write such as 5s
    `rate` outside of `keep`: it is for what a policy keeps: `keep: { rate: … }`
    `each` without a key: name what has a ceiling of its own: `by: [root.service]`
    each may have more than all together: write less than `bytes_per_second`, or leave `each` out
    `each`: `1KB` is no number a second: write such as 200, or 0.5
    no policy `f` is under this budget: name policies or groups that stand directly under the budget
    ");
    let names = |names: &str| {
        messages(&[&format!(
            "policies: [ {{ name: f, keep: always, protect: true }}, {{ name: g, policies: [ {{ name: h, keep: always }} ] }} ]
budget: {{ traces_per_second: 1, give_way: [{names}] }}"
        )])
    };
    assert_snapshot!([names("f, h"), names("f"), names("g, a, b, c, d, e"), messages(&["budget: 3"])].join("\n"), @"
    no policy `h` is under this budget: name policies or groups that stand directly under the budget
    `f` is protected: it gives way last: remove it here, or its `protect: true`

    `f` is protected: it gives way last: remove it here, or its `protect: true`

    more than 5 give way one after the other: put some of them into a group: it gives way as one

    `budget` must be a mapping, not text: write `budget: { spans_per_second: 5000, give_way: [baseline] }`
    ");
}
