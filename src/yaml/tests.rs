use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source { name: "policies.yaml".into(), text: text.into() })
}

fn read(text: &str) -> Node {
    let mut diagnostics = Diagnostics::default();
    let node = parse(source(text), &mut diagnostics);
    assert!(diagnostics.is_empty(), "{diagnostics}");
    node.expect("a node or a mistake")
}

fn mistakes(text: &str) -> String {
    let mut diagnostics = Diagnostics::default();
    assert!(parse(source(text), &mut diagnostics).is_none());
    diagnostics.to_string()
}

fn field<'a>(node: &'a Node, name: &str) -> &'a Node {
    let Kind::Map(entries) = &node.kind else { panic!("no mapping") };
    &entries.iter().find(|(key, _)| key.is_text(name)).expect("no such field").1
}

/// Looks a word of a scalar's text up in the source.
fn located(node: &Node, word: &str) -> String {
    let Kind::Scalar { text, .. } = &node.kind else { panic!("no text") };
    let start = text.find(word).expect("no such word");
    node.locate(start..start + word.len()).text().to_owned()
}

#[test]
fn nodes_know_where_they_stand() {
    let text = "\u{feff}# größe\na: ü # ä\nb: 'ö'\nc:\n  - \"q\"\r\n  - {d: 1 , e: [2, 3] }  \n\nf: >-\n  gß\n  h\n\nempty:\nz: 1\n";
    let root = read(text);
    let written = |node: &Node| node.at.text().to_owned();
    assert_eq!(written(field(&root, "a")), "ü");
    assert_eq!(written(field(&root, "b")), "'ö'");
    assert_eq!(written(field(&root, "c")), "- \"q\"\r\n  - {d: 1 , e: [2, 3] }");
    let Kind::Seq(nodes) = &field(&root, "c").kind else { panic!() };
    assert_eq!(written(&nodes[0]), "\"q\"");
    assert_eq!(written(&nodes[1]), "{d: 1 , e: [2, 3] }");
    assert_eq!(written(field(&nodes[1], "e")), "[2, 3]");
    assert_eq!(written(field(&root, "f")), "gß\n  h");
    assert_eq!((written(field(&root, "empty")).as_str(), field(&root, "empty").at.line_column()), ("", (12, 6)));
    assert!(field(&root, "empty").is_null());
    assert_eq!(root.at.range, 13..text.len() - 1);
}

#[test]
fn texts_are_not_typed() {
    let root = read("a: no\nb: '1'\nc: 1.50\nd: |\n  null\n");
    let text = |name| match &field(&root, name).kind {
        Kind::Scalar { text, quoted } => (text.as_str(), *quoted),
        _ => panic!(),
    };
    assert_eq!(text("a"), ("no", false));
    assert_eq!(text("b"), ("1", true));
    assert_eq!(text("c"), ("1.50", false));
    assert_eq!(text("d"), ("null\n", true));
}

#[test]
fn an_empty_document_is_an_empty_mapping() {
    for text in ["", "# nothing\n", "---\n", "---\n...\n", "\u{feff}"] {
        assert!(matches!(read(text).kind, Kind::Map(entries) if entries.is_empty()), "{text:?}");
    }
}

#[test]
fn aliases_stand_where_the_anchor_stands() {
    let root = read("a: &x { b: 1 }\nc: *x\nd: &y >-\n  ü v\ne: *y\nf: &z 'it''s'\n");
    assert_eq!(field(&root, "c").at, field(&root, "a").at);
    assert_eq!(field(field(&root, "c"), "b").at.text(), "1");
    assert_eq!(field(&root, "e").at.text(), "ü v");
    assert_eq!(located(field(&root, "e"), "v"), "v");
    assert_eq!(field(&root, "f").at.text(), "'it''s'");
    assert_eq!(root.at.line_column(), (1, 1));
    assert_eq!(root.at.text().lines().count(), 6);
}

#[test]
fn locates_in_every_style() {
    let root = read(
        r#"
plain: one ü two
lines: one
   two

   three
single: 'it''s "one"
  ü two'
double: "a\tb \u00fc \"one\" \
   joined two"
literal: |
  "one"

    ü two
folded: >-
  any(ü ==
    "one")
   and two
folded-quotes: >-
  "one" == "two"
"#,
    );
    assert_eq!(located(field(&root, "plain"), "two"), "two");
    assert_eq!(located(field(&root, "lines"), "three"), "three");
    assert_eq!(located(field(&root, "lines"), "one two"), "one\n   two");
    assert_eq!(located(field(&root, "single"), "'s"), "''s");
    assert_eq!(located(field(&root, "single"), "\"one\""), "\"one\"");
    assert_eq!(located(field(&root, "single"), "two"), "two");
    assert_eq!(located(field(&root, "double"), "\tb"), "\\tb");
    assert_eq!(located(field(&root, "double"), "ü"), "\\u00fc");
    assert_eq!(located(field(&root, "double"), "\"one\""), "\\\"one\\\"");
    assert_eq!(located(field(&root, "double"), "joined"), "joined");
    assert_eq!(located(field(&root, "literal"), "\"one\""), "\"one\"");
    assert_eq!(located(field(&root, "literal"), "two"), "two");
    assert_eq!(located(field(&root, "folded"), "\"one\""), "\"one\"");
    assert_eq!(located(field(&root, "folded"), "and"), "and");
    assert_eq!(located(field(&root, "folded-quotes"), "\"two\""), "\"two\"");
    assert_eq!(located(field(&root, "folded-quotes"), "\"one\""), "\"one\"");
}

#[test]
fn locates_the_end_and_falls_back() {
    let root = read("when: 'a and '\n");
    let node = field(&root, "when");
    let end = node.locate(6..6);
    assert_eq!((end.text(), end.line_column()), ("", (1, 14)));
    let elsewhere = Node { at: node.at.clone(), kind: Kind::Scalar { text: "other".into(), quoted: false } };
    assert_eq!(elsewhere.locate(1..2), node.at);
    assert_eq!(root.locate(1..2), root.at);
}

#[test]
fn mistakes_are_shown() {
    assert_snapshot!(mistakes("policies:\n  - name: ä\n    when: x\n    name: b\n    \"when\": y\n"), @r#"
    error: `name` is there twice
     --> policies.yaml:4:5
      |
    4 |     name: b
      |     ^^^^
      |
     ::: policies.yaml:2:5
      |
    2 |   - name: ä
      |     ---- first here

    error: `when` is there twice
     --> policies.yaml:5:5
      |
    5 |     "when": y
      |     ^^^^^^
      |
     ::: policies.yaml:3:5
      |
    3 |     when: x
      |     ---- first here

    2 errors
    "#);
    assert_snapshot!(mistakes("when: \"a\" == root.name\n"), @r#"
    error: YAML takes a quote in front for one around the whole text
     --> policies.yaml:1:7
      |
    1 | when: "a" == root.name
      |       ^
      |
      = hint: quote the condition: when: '"a" == root.name'

    1 error
    "#);
    assert_snapshot!(mistakes("é: [1,\n"), @"
    error: not YAML: while parsing a node, did not find expected node content
     --> policies.yaml:2:1
      |
    2 |
      | ^
      |
      = hint: text with `: `, ` #` or a leading quote, bracket, `*`, `&` or `!` must be quoted, or stand on its own line below `>-`

    1 error
    ");
    assert_snapshot!(mistakes("policies:\n  - name: a\n   when: b\n"), @"
    error: not YAML: while parsing a block collection, did not find expected '-' indicator
     --> policies.yaml:3:4
      |
    3 |    when: b
      |    ^
      |
      = hint: what belongs together begins in one column

    1 error
    ");
    assert_snapshot!(mistakes("policies:\n  - name: a\n     when: b\n"), @"
    error: not YAML: mapping values are not allowed in this context
     --> policies.yaml:3:10
      |
    3 |      when: b
      |          ^
      |
      = hint: what belongs together begins in one column: the key, and those above and below it

    1 error
    ");
    assert_snapshot!(mistakes("- name: a\n\twhen: b\n"), @"
    error: not YAML: while scanning a plain scalar, found a tab
     --> policies.yaml:1:9
      |
    1 | - name: a
      |         ^
      |
      = hint: YAML is indented with spaces

    1 error
    ");
    assert_snapshot!(mistakes("a: !!str 1\nb: &x {c: 1}\nd:\n  <<: *x\n[e]: 1\n"), @"
    error: tags (`!…`) are not supported
     --> policies.yaml:1:4
      |
    1 | a: !!str 1
      |    ^^^^^^^
      |
      = hint: quote the text if it begins with `!`

    error: merge keys are not supported
     --> policies.yaml:4:3
      |
    4 |   <<: *x
      |   ^^
      |
      = hint: an alias can stand for a whole value: `key: *name`

    error: a key must be text, not a list
     --> policies.yaml:5:1
      |
    5 | [e]: 1
      | ^^^

    3 errors
    ");
    assert_snapshot!(mistakes("a: 1\n---\nb: 1\n"), @"
    error: a second document
     --> policies.yaml:2:1
      |
    2 | ---
      | ^^^
      |
      = hint: one file holds one document: remove the `---`

    1 error
    ");
    assert_snapshot!(mistakes("a: &x [*x]\n"), @"
    error: an alias inside what it stands for
     --> policies.yaml:1:8
      |
    1 | a: &x [*x]
      |        ^^

    1 error
    ");
    assert_snapshot!(mistakes("a: 1\0\n"), @"
    error: a NUL byte is not YAML
     --> policies.yaml:1:5
      |
    1 | a: 1␀
      |     ^

    1 error
    ");
}

#[test]
fn documents_are_bounded() {
    let bomb = (1..10).fold("a0: &a0 x\n".to_owned(), |bomb, n| {
        bomb + &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "))
    });
    assert!(mistakes(&bomb).contains("more than 100000 nodes"));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1000), "*a, ".repeat(5000));
    assert!(mistakes(&long).contains("bytes of text"));
    assert!(mistakes(&"[".repeat(70)).contains("more than 64 mappings and lists"));
    let nested = format!("a: &a {}{}\nb: {}*a{}\n", "[".repeat(40), "]".repeat(40), "[".repeat(40), "]".repeat(40));
    assert!(mistakes(&nested).contains("more than 64 mappings and lists"));
    assert!(mistakes(&"x".repeat(MAX_SOURCE + 1)).contains("more than 1 MiB"));
    assert!(mistakes(&"- \n".repeat(MAX_NODES)).contains("more than 100000 nodes"));
}

#[test]
fn fields_are_taken_by_name() {
    let root = read("name: a\nstatuss: 1\ncolour: 2\nlist: [1]\n");
    let mut diagnostics = Diagnostics::default();
    let mut fields = Fields::of(&root, "a policy", &mut diagnostics).expect("a mapping");
    let name = fields.take("name").expect("there");
    assert_eq!(name.as_str("`name`", &mut diagnostics), Some("a"));
    assert!(fields.take("status").is_none());
    fields.require("when", "when: any(status.code == STATUS_CODE_ERROR)", &mut diagnostics);
    let list = fields.take("list").expect("there");
    assert!(Fields::of(list, "a policy", &mut diagnostics).is_none());
    assert_eq!(list.as_seq("`list`", &mut diagnostics).map(<[Node]>::len), Some(1));
    assert!(list.as_str("`list`", &mut diagnostics).is_none());
    assert!(name.as_bool("`name`", &mut diagnostics).is_none());
    assert!(name.as_u64("`name`", &mut diagnostics).is_none());
    fields.finish(&mut diagnostics);
    assert_snapshot!(diagnostics, @"
    error: missing field `when`
     --> policies.yaml:1:1
      |
    1 | name: a
      | ^^^^^^^
      |
      = hint: when: any(status.code == STATUS_CODE_ERROR)

    error: a policy must be a mapping, not a list
     --> policies.yaml:4:7
      |
    4 | list: [1]
      |       ^^^

    error: `list` must be text, not a list
     --> policies.yaml:4:7
      |
    4 | list: [1]
      |       ^^^

    error: `name` must be true or false
     --> policies.yaml:1:7
      |
    1 | name: a
      |       ^

    error: `name` must be a whole number
     --> policies.yaml:1:7
      |
    1 | name: a
      |       ^

    error: unknown field `statuss`, did you mean `status`?
     --> policies.yaml:2:1
      |
    2 | statuss: 1
      | ^^^^^^^

    error: unknown field `colour`
     --> policies.yaml:3:1
      |
    3 | colour: 2
      | ^^^^^^
      |
      = hint: known fields: name, status, when, list

    7 errors
    ");
}

#[test]
fn a_key_of_an_attribute_belongs_below() {
    let root = read("http.route: /\n");
    let mut diagnostics = Diagnostics::default();
    let mut fields = Fields::of(&root, "a span", &mut diagnostics).expect("a mapping");
    fields.take("attributes");
    fields.finish(&mut diagnostics);
    let hint = diagnostics.0[0].hint.as_deref();
    assert_eq!(hint, Some("an attribute stands in `attributes`: `attributes: { http.route: … }`"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn parse_never_panics(text in r#"([ -~üß\n\r\t\x{feff}\x{85}\x{1}]|[\[\]{}:,\-?&*!|>'"%#@ \n]|: |- |\n  |&a |\*a|--- |\.\.\.){0,60}"#) {
        let mut diagnostics = Diagnostics::default();
        let node = parse(source(&text), &mut diagnostics);
        prop_assert_eq!(node.is_none(), !diagnostics.is_empty());
        let _ = diagnostics.to_string();
    }

    #[test]
    fn plain_texts_stand_where_they_say(keys in prop::collection::btree_map("[a-zü]{1,5}", "[a-z0-9üß]{1,8}( [a-z0-9ß]{1,3})?", 1..8), indent in 0usize..3) {
        let text: String = keys.iter().map(|(key, value)| format!("{:indent$}{key}: {value} # {value}é\n\n", "")).collect();
        let root = read(&text);
        for (key, value) in &keys {
            let node = field(&root, key);
            prop_assert_eq!(node.at.text(), value.as_str());
            prop_assert_eq!(node.locate(0..value.len()), node.at.clone());
        }
    }

    #[test]
    fn words_are_found_in_folded_text(words in prop::collection::vec("[a-zü\"'\\\\=]{1,6}", 1..20), breaks in prop::collection::vec(any::<bool>(), 20), style in 0..3) {
        let text = words.join(" ");
        let lines: String = words.iter().zip(&breaks).map(|(word, new_line)| format!("{word}{}", if *new_line { "\n    " } else { " " })).collect();
        let lines = lines.trim_end();
        let source = match style {
            0 => format!("a:\n  when: >-\n    {lines}\n"),
            1 => format!("a:\n  when: '{}'\n", lines.replace('\'', "''")),
            _ => format!("a:\n  when: \"{}\"\n", lines.replace('\\', "\\\\").replace('"', "\\\"")),
        };
        let root = read(&source);
        let node = field(field(&root, "a"), "when");
        prop_assert!(node.is_text(&text), "{source}");
        let mut offset = 0;
        for word in &words {
            let written = match style {
                0 => word.clone(),
                1 => word.replace('\'', "''"),
                _ => word.replace('\\', "\\\\").replace('"', "\\\""),
            };
            let at = node.locate(offset..offset + word.len());
            prop_assert_eq!(at.text(), written);
            offset += word.len() + 1;
        }
    }
}
