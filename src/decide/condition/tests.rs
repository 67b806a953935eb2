//! Mistakes as a person sees them, and what is accepted.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::{read, token::Lexer};

/// The text with each mistake below it.
fn mistakes(text: &str) -> String {
    let mut shown = text.to_owned();
    for error in read(text).expect_err("a wrong condition") {
        let (before, marked) = (text[..error.at.start].chars().count(), text[error.at.clone()].chars().count());
        shown += &format!("\n{}{} {}", " ".repeat(before), "^".repeat(marked.max(1)), error.message);
        if let Some(hint) = error.hint {
            shown += &format!("\n{}hint: {hint}", " ".repeat(before));
        }
    }
    shown
}

fn all(texts: &[&str]) -> String {
    texts.iter().map(|text| mistakes(text)).collect::<Vec<_>>().join("\n\n")
}

#[test]
fn accepts_the_language() {
    for text in [
        "any(status.code == STATUS_CODE_ERROR)",
        "any(span.status.code == 2 and span.kind == SPAN_KIND_SERVER)",
        "any((attributes[\"http.response.status_code\"] >= 500 or attributes[\"a\"] != nil) and not (duration < 1m30s))",
        "none(IsMatch(name, \"^GET \")) and all(service == \"a\") or count(true) > 3",
        "3 < count(resource.attributes[\"k\"] == -1.5) and not trace.duration <= Duration(\"1h\")",
        "root.name == \"a\" and root.service != nil and root.duration > 2s and root.kind == SPAN_KIND_CLIENT",
        "root.status.code != STATUS_CODE_OK and root.attributes[\"k\"] == true and root.resource.attributes[\"k\"] == nil",
        "any(span.resource.attributes[\"k\"] == \"\" and span.service == \"\" and span.duration == 0s and span.name > \"a\")",
        "trace.span_count >= 100 and IsMatch(root.attributes[\"k\"], \"5..\")",
        "any(IsMatch(name, \"x\") == true) and (none(true) != false) == false",
        "trace.error_count > 3 and trace.services >= 2 and trace.depth < 10 and trace.complete and not trace.complete",
        "trace.complete == false or trace.shape != \"0123456789abcdeF\"",
        "child_of(status.code == STATUS_CODE_ERROR, service == \"a\") or descendant_of(true, name == \"a\")",
        "calls(\"a\", \"b\") and siblings(kind == SPAN_KIND_CLIENT) > 10",
        "true",
        "root.attributes[\"k\"] == -9223372036854775808",
    ] {
        assert!(read(text).is_ok(), "{}", mistakes(text));
    }
}

#[test]
fn names_the_scope() {
    assert_snapshot!(all(&[
        "status.code == STATUS_CODE_ERROR",
        "root.name == \"a\" and attributes[\"k\"] > 5 or IsMatch(name, \"a\")",
        "service",
        "any(root.name == \"a\" and trace.duration > 2s)",
        "any(name == \"a\" and count(kind == SPAN_KIND_SERVER) > 3)",
        "all(any(name == \"a\"))",
        "any(not none(true))",
    ]), @r#"
        status.code == STATUS_CODE_ERROR
        ^^^^^^^^^^^ `status.code` is of a span, and a trace has many
        hint: did you mean `any(status.code == STATUS_CODE_ERROR)`?

        root.name == "a" and attributes["k"] > 5 or IsMatch(name, "a")
                             ^^^^^^^^^^^^^^^ `attributes["k"]` is of a span, and a trace has many
                             hint: did you mean `any(attributes["k"] > 5)`?
                                                            ^^^^ `name` is of a span, and a trace has many
                                                            hint: did you mean `any(IsMatch(name, "a"))`?

        service
        ^^^^^^^ `service` is of a span, and a trace has many
        hint: did you mean `any(service == …)`?

        any(root.name == "a" and trace.duration > 2s)
            ^^^^^^^^^ `root.name` inside `any(…)`, which looks at one span at a time
            hint: move it outside: `root.name == "a" and any(…)`
                                 ^^^^^^^^^^^^^^ `trace.duration` inside `any(…)`, which looks at one span at a time
                                 hint: move it outside: `trace.duration > 2s and any(…)`

        any(name == "a" and count(kind == SPAN_KIND_SERVER) > 3)
                            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ `count(…)` inside `any(…)`
                            hint: the argument is tested on one span: join quantifiers outside, with `and` or `or`

        all(any(name == "a"))
            ^^^^^^^^^^^^^^^^ `any(…)` inside `all(…)`
            hint: the argument is tested on one span: join quantifiers outside, with `and` or `or`

        any(not none(true))
                ^^^^^^^^^^ `none(…)` inside `any(…)`
                hint: the argument is tested on one span: join quantifiers outside, with `and` or `or`
    "#);
}

#[test]
fn names_unknown_words() {
    assert_snapshot!(all(&[
        "any(nmae == \"a\")",
        "any(status == STATUS_CODE_ERROR)",
        "any(attributes.http.route == \"/\")",
        "root.attribtues[\"a\"] == 1",
        "trace.spans > 5",
        "any(status.code == STATUS_CODE_EROR)",
        "any(status.code == ERROR)",
        "any(kind == QUEUE)",
        "any(kind == SERVER)",
        "Any(name == \"a\")",
        "any(HasPrefix(name, \"a\"))",
        "any(name == null)",
        "any(name == True)",
        "any(latency > 2s)",
    ]), @r#"
        any(nmae == "a")
            ^^^^ unknown path `nmae`
            hint: did you mean `name`?

        any(status == STATUS_CODE_ERROR)
            ^^^^^^ unknown path `status`
            hint: did you mean `status.code`?

        any(attributes.http.route == "/")
            ^^^^^^^^^^^^^^^^^^^^^ unknown path `attributes.http.route`
            hint: did you mean `attributes["http.route"]`?

        root.attribtues["a"] == 1
        ^^^^^^^^^^^^^^^ unknown path `root.attribtues`
        hint: did you mean `root.attributes["…"]`?

        trace.spans > 5
        ^^^^^^^^^^^ unknown path `trace.spans`
        hint: did you mean `trace.span_count`?

        any(status.code == STATUS_CODE_EROR)
                           ^^^^^^^^^^^^^^^^ unknown constant `STATUS_CODE_EROR`
                           hint: did you mean `STATUS_CODE_ERROR`?

        any(status.code == ERROR)
                           ^^^^^ unknown constant `ERROR`
                           hint: did you mean `STATUS_CODE_ERROR`?

        any(kind == QUEUE)
                    ^^^^^ unknown constant `QUEUE`
                    hint: the constants are `STATUS_CODE_UNSET`, `STATUS_CODE_OK`, `STATUS_CODE_ERROR`, `SPAN_KIND_UNSPECIFIED`, `SPAN_KIND_INTERNAL`, `SPAN_KIND_SERVER`, `SPAN_KIND_CLIENT`, `SPAN_KIND_PRODUCER`, `SPAN_KIND_CONSUMER`

        any(kind == SERVER)
                    ^^^^^^ unknown constant `SERVER`
                    hint: did you mean `SPAN_KIND_SERVER`?

        Any(name == "a")
        ^^^ unknown function `Any`
        hint: did you mean `any`?

        any(HasPrefix(name, "a"))
            ^^^^^^^^^ unknown function `HasPrefix`
            hint: the functions are `any`, `all`, `none`, `child_of`, `descendant_of`, `calls`, `IsMatch`, `count`, `siblings`, `Duration`

        any(name == null)
                    ^^^^ unknown path `null`
                    hint: what is absent is `nil`

        any(name == True)
                    ^^^^ unknown path `True`
                    hint: did you mean `true`?

        any(latency > 2s)
            ^^^^^^^ unknown path `latency`
            hint: a span has `name`, `kind`, `status.code`, `duration`, `service`, `attributes["…"]`, `resource.attributes["…"]`; the root has them behind `root.`
    "#);
}

#[test]
fn names_wrong_types() {
    assert_snapshot!(all(&[
        "trace.duration > 2",
        "trace.duration > 2000000000",
        "any(duration >= 250)",
        "root.duration > \"2s\"",
        "any(name == 5)",
        "root.service == true",
        "any(status.code >= 500)",
        "any(status.code == SPAN_KIND_SERVER)",
        "any(kind == \"server\")",
        "any(attributes[\"k\"] > 2s)",
        "any(attributes[\"k\"] == STATUS_CODE_ERROR)",
        "count(true) > 1.5",
        "trace.span_count == nil",
        "root.attributes[\"k\"] < nil",
        "1 == 2",
        "STATUS_CODE_ERROR == 2",
        "any(attributes[\"a\"] == attributes[\"b\"])",
        "root.name == any(true)",
        "(root.name == \"a\") == \"b\"",
    ]), @r#"
        trace.duration > 2
                         ^ `trace.duration` is a duration and `2` has no unit
                         hint: did you mean `2s`?

        trace.duration > 2000000000
                         ^^^^^^^^^^ `trace.duration` is a duration and `2000000000` has no unit
                         hint: did you mean `2s`?

        any(duration >= 250)
                        ^^^ `duration` is a duration and `250` has no unit
                        hint: did you mean `250ms`?

        root.duration > "2s"
                        ^^^^ `root.duration` is a duration and `"2s"` is none
                        hint: a duration is written `2s`, `1500ms` or `1m30s`

        any(name == 5)
                    ^ `name` is text and `5` is not
                    hint: text stands in double quotes

        root.service == true
                        ^^^^ `root.service` is text and `true` is not
                        hint: text stands in double quotes

        any(status.code >= 500)
                           ^^^ `status.code` is 0, 1 or 2 and never `500`
                           hint: did you mean `attributes["http.response.status_code"]`?

        any(status.code == SPAN_KIND_SERVER)
                           ^^^^^^^^^^^^^^^^ `status.code` is a status code and `SPAN_KIND_SERVER` is none
                           hint: the status codes are `STATUS_CODE_UNSET`, `STATUS_CODE_OK`, `STATUS_CODE_ERROR`

        any(kind == "server")
                    ^^^^^^^^ `kind` is a number with names, and `"server"` is text
                    hint: did you mean `SPAN_KIND_SERVER`?

        any(attributes["k"] > 2s)
                              ^^ `attributes["k"]` is an attribute and has no unit of time
                              hint: write the number, in the unit its sender uses

        any(attributes["k"] == STATUS_CODE_ERROR)
                               ^^^^^^^^^^^^^^^^^ `attributes["k"]` is an attribute and `STATUS_CODE_ERROR` a status code
                               hint: did you mean `status.code`? the number is 2

        count(true) > 1.5
                      ^^^ `count(true)` is a number and `1.5` is no whole number
                      hint: write `10`

        trace.span_count == nil
        ^^^^^^^^^^^^^^^^^^^^^^^ `trace.span_count` is never nil
        hint: compare it with a value

        root.attributes["k"] < nil
        ^^^^^^^^^^^^^^^^^^^^^^^^^^ `root.attributes["k"] < nil` orders nil
        hint: compare nil with `==` or `!=`

        1 == 2
        ^^^^^^ `1 == 2` compares two constants
        hint: one side is a path, such as `root.attributes["key"]`

        STATUS_CODE_ERROR == 2
        ^^^^^^^^^^^^^^^^^^^^^^ `STATUS_CODE_ERROR == 2` compares two constants
        hint: one side is a path, such as `root.attributes["key"]`

        any(attributes["a"] == attributes["b"])
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ `attributes["a"] == attributes["b"]` compares two paths, which is not available yet
            hint: one side is a constant

        root.name == any(true)
                     ^^^^^^^^^ `any(true)` is a condition, not a value
                     hint: conditions are joined with `and` and `or`, and negated with `not`

        (root.name == "a") == "b"
         ^^^^^^^^^^^^^^^^ `root.name == "a"` is a condition, not a value
         hint: conditions are joined with `and` and `or`, and negated with `not`
    "#);
}

#[test]
fn names_what_is_no_condition() {
    assert_snapshot!(all(&[
        "root.attributes[\"sampled\"]",
        "trace.duration",
        "count(true)",
        "\"a\"",
        "Duration(\"2s\")",
        "STATUS_CODE_ERROR",
        "any()",
        "any(name == \"a\", name == \"b\")",
        "any(IsMatch(name))",
        "any(IsMatch(name, service))",
        "any(IsMatch(kind, \"2\"))",
        "any(IsMatch(attributes[\"k\"], \"(a\"))",
        "any(attributes == 1)",
        "any(attributes[5] == 1)",
        "any(attributes[\"a\"][\"b\"] == 1)",
        "any(name[\"a\"] == \"b\")",
        "Duration(2) == trace.duration",
        "trace.duration > Duration(\"2d\")",
    ]), @r#"
        root.attributes["sampled"]
        ^^^^^^^^^^^^^^^^^^^^^^^^^^ `root.attributes["sampled"]` is a value, not a condition
        hint: write `root.attributes["sampled"] == true`, or `root.attributes["sampled"] != nil` if it is to exist

        trace.duration
        ^^^^^^^^^^^^^^ `trace.duration` is a value, not a condition
        hint: compare it: `trace.duration > 2s`

        count(true)
        ^^^^^^^^^^^ `count(true)` is a value, not a condition
        hint: compare it: `count(true) > 3`

        "a"
        ^^^ `"a"` is a value, not a condition
        hint: compare a path with it

        Duration("2s")
        ^^^^^^^^^^^^^^ `Duration("2s")` is a value, not a condition
        hint: compare a path with it

        STATUS_CODE_ERROR
        ^^^^^^^^^^^^^^^^^ `STATUS_CODE_ERROR` is a value, not a condition
        hint: compare a path with it

        any()
        ^^^^^ `any` takes one condition on a span, not 0
        hint: write `any(status.code == STATUS_CODE_ERROR)`

        any(name == "a", name == "b")
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ `any` takes one condition on a span, not 2
        hint: write `any(status.code == STATUS_CODE_ERROR)`

        any(IsMatch(name))
            ^^^^^^^^^^^^^ `IsMatch` takes a path and a pattern, not 1 arguments
            hint: write `IsMatch(root.name, "^GET ")`

        any(IsMatch(name, service))
                          ^^^^^^^ a pattern is text
                          hint: text stands in double quotes

        any(IsMatch(kind, "2"))
                    ^^^^ `kind` has no text to match
                    hint: names, services and attributes have

        any(IsMatch(attributes["k"], "(a"))
                                     ^^^^ wrong pattern: unclosed group
                                     hint: the syntax is RE2's

        any(attributes == 1)
            ^^^^^^^^^^ `attributes` takes a key
            hint: write `attributes["key"]`

        any(attributes[5] == 1)
                       ^ the key of an attribute is text
                       hint: a key stands in double quotes

        any(attributes["a"]["b"] == 1)
                            ^^^ a key inside an attribute is not available yet

        any(name["a"] == "b")
                 ^^^ `name` takes no key

        Duration(2) == trace.duration
        ^^^^^^^^^^^ `Duration` takes one text
        hint: write `Duration("2s")`, or `2s`

        trace.duration > Duration("2d")
                                  ^^^^ `d` is no unit of time
                                  hint: a duration is written `2s`, `1500ms` or `1m30s`
    "#);
}

#[test]
fn names_where_the_text_breaks() {
    assert_eq!(read(" ").unwrap_err()[0].message, "the condition is empty");
    assert_snapshot!(all(&[
        "any(name == \"a\"",
        "any(name == \"a\"))",
        "any(name == \"a\") any(true)",
        "any(name == )",
        "any(name = \"a\")",
        "any(name == 'a')",
        "any(name == \"a\") && any(true)",
        "!any(true)",
        "any(name == \"a)",
        "any(IsMatch(name, \"\\d\"))",
        "1 < trace.span_count < 5",
        "trace.duration > -2s",
        "trace.duration > 2d",
        "trace.span_count > 1 + 1",
        "trace.span_count > 99999999999999999999",
        "root. == 1",
        "root.attributes[k] == 1",
        "root.attributes[\"k\" == 1",
        "any(name == \"é\") § true",
    ]), @r#"
        any(name == "a"
           ^ this parenthesis is never closed

        any(name == "a"))
                        ^ this parenthesis closes nothing, found `)`

        any(name == "a") any(true)
                         ^^^ the condition should end here, found `any`
                         hint: conditions are joined with `and` or `or`

        any(name == )
                    ^ a value or a condition should stand here, found `)`

        any(name = "a")
                 ^ `=` means nothing here
                 hint: write `==`

        any(name == 'a')
                    ^ `'` means nothing here
                    hint: text stands in double quotes: `"…"`

        any(name == "a") && any(true)
                         ^^ `&&` means nothing here
                         hint: write `and`

        !any(true)
        ^ `!` means nothing here
        hint: write `not`

        any(name == "a)
                    ^^^ this string has no end
                    hint: close it with `"`

        any(IsMatch(name, "\d"))
                           ^^ `\d` is no escape
                           hint: a backslash is written twice: `\\d`

        1 < trace.span_count < 5
                             ^ comparisons cannot be chained, found `<`
                             hint: write `a < b and b < c`

        trace.duration > -2s
                         ^^^ a duration has no sign: it is never negative

        trace.duration > 2d
                         ^^ `d` is no unit of time
                         hint: a duration is written `2s`, `1500ms` or `1m30s`

        trace.span_count > 1 + 1
                             ^ arithmetic is not available yet

        trace.span_count > 99999999999999999999
                           ^^^^^^^^^^^^^^^^^^^^ `99999999999999999999` does not fit a number of 64 bits

        root. == 1
              ^^ a name should follow the dot, found `==`

        root.attributes[k] == 1
                        ^ a key should stand here, found `k`
                        hint: a key stands in double quotes: `["key"]`

        root.attributes["k" == 1
                            ^^ the key should end here, with `]`, found `==`

        any(name == "é") § true
                         ^ `§` means nothing here
    "#);
}

#[test]
fn names_what_is_wrong_about_structure() {
    assert_snapshot!(all(&[
        "trace.complet",
        "trace.complete == 3",
        "trace.shape > \"0123456789abcdef\"",
        "trace.shape == \"12\"",
        "any(trace.complete)",
        "child_of(name == \"a\")",
        "child_of(root.name == \"a\", trace.depth > 1)",
        "any(child_of(true, true))",
        "calls(service, \"a\")",
        "siblings(true)",
        "calls(\"a\", \"b\") > 3",
    ]), @r#"
        trace.complet
        ^^^^^^^^^^^^^ unknown path `trace.complet`
        hint: did you mean `trace.complete`?

        trace.complete == 3
        ^^^^^^^^^^^^^^ `trace.complete` is true or false by itself
        hint: write `trace.complete` or `not trace.complete`

        trace.shape > "0123456789abcdef"
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ `trace.shape > "0123456789abcdef"` orders a hash
        hint: compare it with `==` or `!=`

        trace.shape == "12"
                       ^^^^ `trace.shape` is a hash and `"12"` is none
                       hint: it is written as text of 16 hexadecimal digits, as `tailwater explain` shows it

        any(trace.complete)
            ^^^^^^^^^^^^^^ `trace.complete` inside `any(…)`, which looks at one span at a time
            hint: move it outside: `trace.complete and any(…)`

        child_of(name == "a")
        ^^^^^^^^^^^^^^^^^^^^^ `child_of` takes two conditions on spans, not 1
        hint: write `child_of(status.code == STATUS_CODE_ERROR, service == "checkout")`: the first is the one below

        child_of(root.name == "a", trace.depth > 1)
                 ^^^^^^^^^ `root.name` inside `child_of(…)`, which looks at one span at a time
                 hint: move it outside: `root.name == "a" and child_of(…)`
                                   ^^^^^^^^^^^ `trace.depth` inside `child_of(…)`, which looks at one span at a time
                                   hint: move it outside: `trace.depth > 1 and child_of(…)`

        any(child_of(true, true))
            ^^^^^^^^^^^^^^^^^^^^ `child_of(…)` inside `any(…)`
            hint: the argument is tested on one span: join quantifiers outside, with `and` or `or`

        calls(service, "a")
        ^^^^^^^^^^^^^^^^^^^ `calls` takes the names of two services
        hint: write `calls("checkout", "payments")`: who calls, and who is called

        siblings(true)
        ^^^^^^^^^^^^^^ `siblings(true)` is a value, not a condition
        hint: compare it: `siblings(true) > 3`

        calls("a", "b") > 3
        ^^^^^^^^^^^^^^^ `calls("a", "b")` is a condition, not a value
        hint: conditions are joined with `and` and `or`, and negated with `not`
    "#);
}

#[test]
fn names_every_mistake() {
    assert_snapshot!(mistakes("any(nmae == 5 and kind == \"a\") or trace.duration > 2 and any(any(latency > 1))"), @r#"
        any(nmae == 5 and kind == "a") or trace.duration > 2 and any(any(latency > 1))
            ^^^^ unknown path `nmae`
            hint: did you mean `name`?
                                  ^^^ `kind` is a span kind and `"a"` is none
                                  hint: the span kinds are `SPAN_KIND_UNSPECIFIED`, `SPAN_KIND_INTERNAL`, `SPAN_KIND_SERVER`, `SPAN_KIND_CLIENT`, `SPAN_KIND_PRODUCER`, `SPAN_KIND_CONSUMER`
                                                           ^ `trace.duration` is a duration and `2` has no unit
                                                           hint: did you mean `2s`?
                                                                     ^^^^^^^^^^^^^^^^ `any(…)` inside `any(…)`
                                                                     hint: the argument is tested on one span: join quantifiers outside, with `and` or `or`
    "#);
}

#[test]
fn bounds_length_and_depth() {
    let nested = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert!(read(&nested(63)).is_ok());
    assert_eq!(read(&nested(64)).unwrap_err()[0].message, "nested more than 64 deep, found `true`");
    assert!(read(&"not ".repeat(4000)).is_err());
    // A chain is no depth.
    let chain = vec!["any(true)"; 1000].join(" and ");
    assert!(read(&chain).is_ok());
    assert!(read(&" ".repeat((16 << 10) + 1)).unwrap_err()[0].message.starts_with("a condition of 16385 bytes"));
}

/// Text that is nearly a condition.
fn soup() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "any(",
        "all(",
        "none(",
        "count(",
        "IsMatch(",
        "Duration(",
        "(",
        ")",
        ")",
        "[",
        "]",
        ".",
        ",",
        "and",
        "or",
        "not",
        "==",
        "!=",
        "<",
        "<=",
        "-",
        "+",
        "root.",
        "trace.",
        "span.",
        "name",
        "kind",
        "status.code",
        "duration",
        "service",
        "attributes[\"k\"]",
        "resource.attributes[\"k\"]",
        "span_count",
        "STATUS_CODE_ERROR",
        "SERVER",
        "true",
        "nil",
        "5",
        "1.5",
        "2s",
        "\"a\"",
        "\"\\",
        "é",
        "\"(\"",
    ]);
    prop::collection::vec(words, 0..24).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn never_panics(text in prop_oneof![".{0,64}", soup(), "[a-z0-9.()\\[\\]\"\\\\<>=!&|' µé+-]{0,64}"]) {
        if let Err(errors) = read(&text) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(text.get(error.at.clone()).is_some(), "{error:?} is not within the text");
            }
        }
        let mut lexer = Lexer::new(&text);
        // Each token takes a byte at least, so reading ends.
        for _ in 0..=text.len() {
            if lexer.next().is_err() {
                break;
            }
        }
    }
}
