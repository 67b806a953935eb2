//! Mistakes as a person sees them, and what is accepted.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::{read, token::Lexer};
use crate::decide::program::{self, Source};

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
fn a_difference_of_times_is_a_duration() {
    for of in
        ["end_time_unix_nano - start_time_unix_nano > 5000000", "5000000 < end_time_unix_nano - start_time_unix_nano"]
    {
        assert_eq!(read(&format!("any({of})")), read("any(duration > 5ms)"), "{of}");
        assert_eq!(read(&format!("not any({of})")), read("not any(duration > 5ms)"), "{of}");
    }
    // What has not ended is below this too, and has no duration.
    for of in ["< 5", "== 5", "> -5", "> 0"] {
        assert_ne!(
            read(&format!("any(end_time_unix_nano - start_time_unix_nano {of})")),
            read(&format!("any(duration {of}ns)")),
            "{of}"
        );
    }
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
        "any(status.message == \"x\" and kind.string == \"Server\" and span.trace_state[\"a\"] != nil and flags == 1)",
        "any(trace_id == TraceID(0x0102030405060708090a0b0c0d0e0f10) and span_id != SpanID(\"0102030405060708\"))",
        "any(trace_id == \"0102030405060708090A0b0c0d0e0f10\" and parent_span_id != 0x0102030405060708)",
        "root.trace_id.string >= \"8\" and root.end_time_unix_nano - root.start_time_unix_nano > 1000000",
        "any((end_time_unix_nano - start_time_unix_nano) > 1000000 and end_time - start_time > 1ms)",
        "any(dropped_attributes_count + dropped_events_count + dropped_links_count > 0)",
        "any(scope.name == \"a\" and instrumentation_scope.version != \"b\" and scope.attributes[\"a\"] == 1)",
        "any(resource.schema_url == \"\" or scope.schema_url == \"\" or resource.attributes[\"a\"][0][\"b\"] == nil)",
        "any(attributes[\"a\"][\"b\"][0] == 0x0aff) and root.attributes[\"a\"][3] == nil",
        "any(IsRootSpan() and not IsRootSpan()) and any(IsRootSpan() == false)",
        "any_event(name == \"exception\" and spanevent.attributes[\"exception.type\"] != nil) and not any_link(true)",
        "all(any_event(time_unix_nano > 5 and time > time) or not any_link(trace_state[\"a\"] == \"b\"))",
        "any_event(name == \"a\" and span.name == \"b\" and span.attributes[\"c\"][\"d\"] == attributes[\"c\"] and IsRootSpan())",
        "any(any_event(resource.attributes[\"a\"] == 1 and scope.name == \"b\" or instrumentation_scope.version == \"c\"))",
        "all(any_event(time - span.start_time > 1s and service == \"a\" and span.service == \"a\" and span.status.code == 2))",
        "any_link(trace_id == span.trace_id and span.kind == SPAN_KIND_CONSUMER and not IsMatch(span.resource.attributes[\"a\"], \"b\"))",
        "count(any_link(trace_id == \"0102030405060708090a0b0c0d0e0f10\" or span_id.string == \"a\")) > 2",
        "any(attributes[\"a\"] == attributes[\"b\"] and kind > attributes[\"c\"] and kind == status.code)",
        "any(Len(name) > 5 and Int(attributes[\"a\"]) / 2 + 1 >= -kind * 3 and Double(attributes[\"b\"]) < 1)",
        "any(Concat([name, service, 5], \"-\") == \"a\" and Substring(name, 0, 3) != \"b\" and String(kind) == \"2\")",
        "any(Split(name, \"/\")[1] == \"api\" and Split(name, \"/\") != [] and ContainsValue(Split(name, \"/\"), \"a\"))",
        "any(ContainsValue([\"a\", \"b\"], name) and ToLowerCase(name) == ToUpperCase(service) and Trim(name, \" /\") == Trim(name))",
        "any(HasPrefix(name, \"GET \") and not HasSuffix(attributes[\"a\"], \"z\") and HasPrefix(name, service) == true)",
        "any(IsString(attributes[\"a\"]) or IsInt(attributes[\"a\"]) or IsDouble(attributes[\"a\"]) or IsBool(attributes[\"a\"]))",
        "any(IsMap(attributes[\"a\"]) or IsList(attributes[\"a\"]) or Bool(attributes[\"a\"]) or Bool(attributes[\"a\"]) != true)",
        "any(Seconds(duration) > 1.5 and Milliseconds(duration) >= attributes[\"budget\"] and duration < duration + 1s)",
        "any(IsMatch(ToLowerCase(name), \"^get\") and IsMatch(Split(name, \" \")[0], \"GET\"))",
        "trace.span_count > 2 * (3 + 4) - 1 and trace.duration > 1s + 500ms and root.name == Concat([\"a\", 1], \"-\")",
        "any(1 < flags and 3 == Len(name) and \"a\" == ToLowerCase(name) and nil != Int(attributes[\"a\"]))",
        "HasPrefix(root.name, \"GET\") and Int(root.attributes[\"a\"]) == nil and root.duration > root.duration - 1ms",
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
fn says_what_was_meant_by_what_newcomers_write() {
    assert_snapshot!(all(&[
        "root.service == checkout",
        "any(status.code == error)",
        "any(kind == server)",
        "any(resource.service.name == \"a\")",
        "any(StartsWith(name, \"a\"))",
        "any(name.startsWith(\"a\"))",
        "trace.complete AND trace.depth > 3",
        "any(name is nil)",
        "any(name == \"a\") # not b",
    ]), @r#"
        root.service == checkout
                        ^^^^^^^^ unknown path `checkout`
                        hint: text stands in double quotes: `"checkout"`

        any(status.code == error)
                           ^^^^^ unknown path `error`
                           hint: did you mean `STATUS_CODE_ERROR`?

        any(kind == server)
                    ^^^^^^ unknown path `server`
                    hint: did you mean `SPAN_KIND_SERVER`?

        any(resource.service.name == "a")
            ^^^^^^^^^^^^^^^^^^^^^ unknown path `resource.service.name`
            hint: did you mean `resource.attributes["service.name"]`?

        any(StartsWith(name, "a"))
            ^^^^^^^^^^ unknown function `StartsWith`
            hint: did you mean `HasPrefix`?

        any(name.startsWith("a"))
                           ^ nothing is called behind a dot, found `(`
                           hint: a function stands in front: `HasPrefix(name, "GET ")`

        trace.complete AND trace.depth > 3
                       ^^^ `AND` means nothing here
                       hint: write `and`

        any(name is nil)
                 ^^ `is` means nothing here
                 hint: write `name == …` or `name != …`

        any(name == "a") # not b
                         ^ `#` means nothing here
                         hint: a condition has no comments: write them above it, or as its `note`
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
        "any(HasPrefx(name, \"a\"))",
        "any(Sha256(name) == \"a\")",
        "any(name == null)",
        "any(name == True)",
        "any(latency > 2s)",
        "root.status == STATUS_CODE_ERROR",
        "any(http.status_code >= 500)",
        "root.db.system == nil",
        "any(service.name == \"a\")",
        "any(statuss.code == 2 or Status.code == 2)",
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

        any(HasPrefx(name, "a"))
            ^^^^^^^^ unknown function `HasPrefx`
            hint: did you mean `HasPrefix`?

        any(Sha256(name) == "a")
            ^^^^^^ unknown function `Sha256`
            hint: docs/conditions.md lists the functions

        any(name == null)
                    ^^^^ unknown path `null`
                    hint: what is absent is `nil`

        any(name == True)
                    ^^^^ unknown path `True`
                    hint: did you mean `true`?

        any(latency > 2s)
            ^^^^^^^ unknown path `latency`
            hint: a span has `name`, `kind`, `status.code`, `duration`, `service`, `attributes["…"]`, `resource.attributes["…"]` and more, which docs/conditions.md lists; the root has them behind `root.`

        root.status == STATUS_CODE_ERROR
        ^^^^^^^^^^^ unknown path `root.status`
        hint: did you mean `root.status.code`?

        any(http.status_code >= 500)
            ^^^^^^^^^^^^^^^^ unknown path `http.status_code`
            hint: did you mean `attributes["http.status_code"]`?

        root.db.system == nil
        ^^^^^^^^^^^^^^ unknown path `root.db.system`
        hint: did you mean `root.attributes["db.system"]`?

        any(service.name == "a")
            ^^^^^^^^^^^^ unknown path `service.name`
            hint: did you mean `service`?

        any(statuss.code == 2 or Status.code == 2)
            ^^^^^^^^^^^^ unknown path `statuss.code`
            hint: did you mean `status.code`?
                                 ^^^^^^^^^^^ unknown path `Status.code`
                                 hint: did you mean `status.code`?
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
        "any(attributes[\"a\"][-1] == 1)",
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

        any(attributes["a"][-1] == 1)
                            ^ a key should stand here, found `-`
                            hint: a key stands in double quotes: `["key"]`

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
        "trace.span_count > 1 +",
        "any(name == [\"a\", ",
        "any(name == [\"a\" \"b\"])",
        "any(attributes[\"a\"] == 0xabc)",
        "any(attributes[\"a\"] == 0xz)",
        "trace.span_count > 99999999999999999999",
        "root. == 1",
        "root.attributes[k] == 1",
        "root.attributes[\"k\" == 1",
        "any(name == \"é\") § true",
        "any(name =~ \"a\")",
        "any(name in [\"a\", \"b\"])",
        "any(attributes[\"a\"] contains \"b\")",
        "trace.duration > 2 s",
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

        trace.span_count > 1 +
                              ^ a value or a condition should stand here, the condition ends

        any(name == ["a", 
                          ^ a value or a condition should stand here, the condition ends

        any(name == ["a" "b"])
                         ^^^ `]` should stand here, found `"b"`

        any(attributes["a"] == 0xabc)
                               ^^^^^ `0xabc` is not bytes
                               hint: bytes are `0x` and two hexadecimal digits for each

        any(attributes["a"] == 0xz)
                               ^^^ `0xz` is not bytes
                               hint: bytes are `0x` and two hexadecimal digits for each

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

        any(name =~ "a")
                 ^^ `=~` means nothing here
                 hint: write `IsMatch(path, "regex")`

        any(name in ["a", "b"])
                 ^^ `in` means nothing here
                 hint: write `ContainsValue([…], name)`

        any(attributes["a"] contains "b")
                            ^^^^^^^^ `contains` means nothing here
                            hint: write `IsMatch(attributes["a"], "regex")`

        trace.duration > 2 s
                           ^ `s` means nothing here
                           hint: write `2s`
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
fn names_the_scope_of_events_and_links() {
    assert_snapshot!(all(&[
        "spanevent.name == \"a\"",
        "any(spanevent.name == \"a\")",
        "any_event(duration > 2s)",
        "any_event(span.colour == 1)",
        "any_event(spanevent.resource.attributes[\"a\"] == 1)",
        "any_event(kind == SPAN_KIND_SERVER and root.name == \"a\")",
        "any_event(trace.duration > 2s)",
        "any_link(spanevent.name == \"a\")",
        "any_link(name == \"a\")",
        "any_event(any_link(true))",
        "any_event(any(true))",
        "any(any_event(count(true) > 1))",
        "any_event()",
        "any_event(nmae == \"a\")",
        "any_event(colour == 1)",
        "any_link(color == 1)",
        "any_event(IsRootSpan(name))",
        "IsRootSpan()",
        "any(IsRootSpan(name))",
        "any_event(true) == \"a\"",
        "any(event.name == \"a\")",
    ]), @r#"
        spanevent.name == "a"
        ^^^^^^^^^^^^^^ `spanevent.name` is of an event, and a span has many
        hint: did you mean `any_event(spanevent.name == "a")`?

        any(spanevent.name == "a")
            ^^^^^^^^^^^^^^ `spanevent.name` is of an event, and a span has many
            hint: did you mean `any_event(spanevent.name == "a")`?

        any_event(duration > 2s)
                  ^^^^^^^^ `duration` is of the span, inside `any_event(…)`, which looks at one event at a time
                  hint: did you mean `span.duration`?

        any_event(span.colour == 1)
                  ^^^^^^^^^^^ unknown path `span.colour`
                  hint: an event has `name`, `attributes["…"]`, `time_unix_nano`, `time`, `dropped_attributes_count`; its span is behind `span.`

        any_event(spanevent.resource.attributes["a"] == 1)
                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ unknown path `spanevent.resource.attributes`
                  hint: did you mean `span.resource.attributes["…"]`?

        any_event(kind == SPAN_KIND_SERVER and root.name == "a")
                  ^^^^ `kind` is of the span, inside `any_event(…)`, which looks at one event at a time
                  hint: did you mean `span.kind`?
                                               ^^^^^^^^^ `root.name` inside `any_event(…)`, which looks at one event at a time
                                               hint: move it outside: `root.name == "a" and any_event(…)`

        any_event(trace.duration > 2s)
                  ^^^^^^^^^^^^^^ `trace.duration` inside `any_event(…)`, which looks at one event at a time
                  hint: move it outside: `trace.duration > 2s and any_event(…)`

        any_link(spanevent.name == "a")
                 ^^^^^^^^^^^^^^ `spanevent.name` is of an event, and a link has none
                 hint: move it outside: `any_event(spanevent.name == "a") and any_link(…)`

        any_link(name == "a")
                 ^^^^ `name` is of the span, inside `any_link(…)`, which looks at one link at a time
                 hint: did you mean `span.name`?

        any_event(any_link(true))
                  ^^^^^^^^^^^^^^ `any_link(…)` inside `any_event(…)`
                  hint: the argument is tested on one event: join the two outside, with `and` or `or`

        any_event(any(true))
                  ^^^^^^^^^ `any(…)` inside `any_event(…)`
                  hint: the argument is tested on one event: join quantifiers outside, with `and` or `or`

        any(any_event(count(true) > 1))
                      ^^^^^^^^^^^ `count(…)` inside `any_event(…)`
                      hint: the argument is tested on one event: join quantifiers outside, with `and` or `or`

        any_event()
        ^^^^^^^^^^^ `any_event` takes one condition on a span's event, not 0
        hint: write `any_event(name == "exception")`

        any_event(nmae == "a")
                  ^^^^ unknown path `nmae`
                  hint: did you mean `name`?

        any_event(colour == 1)
                  ^^^^^^ unknown path `colour`
                  hint: an event has `name`, `attributes["…"]`, `time_unix_nano`, `time`, `dropped_attributes_count`; its span is behind `span.`

        any_link(color == 1)
                 ^^^^^ unknown path `color`
                 hint: a link has `attributes["…"]`, `trace_id`, `trace_id.string`, `span_id`, `span_id.string`, `trace_state`, `flags`, `dropped_attributes_count`; its span is behind `span.`

        any_event(IsRootSpan(name))
                  ^^^^^^^^^^^^^^^^ `IsRootSpan` takes nothing
                  hint: write `IsRootSpan()`

        IsRootSpan()
        ^^^^^^^^^^^^ `IsRootSpan()` is of a span, and a trace has many
        hint: did you mean `any(IsRootSpan())`?

        any(IsRootSpan(name))
            ^^^^^^^^^^^^^^^^ `IsRootSpan` takes nothing
            hint: write `IsRootSpan()`

        any_event(true) == "a"
        ^^^^^^^^^^^^^^^ `any_event(true)` is a condition, not a value
        hint: conditions are joined with `and` and `or`, and negated with `not`

        any(event.name == "a")
            ^^^^^^^^^^ unknown path `event.name`
            hint: did you mean `spanevent.name`?
    "#);
}

#[test]
fn names_what_cannot_be_computed() {
    assert_snapshot!(all(&[
        "any(Len(name) > \"a\")",
        "any(Len(name))",
        "any(ToLowerCase(name))",
        "any(Len() > 1)",
        "any(Substring(name, 1) == \"a\")",
        "any(HasPrefix(kind, \"S\"))",
        "any(HasPrefix(trace_id, \"00\"))",
        "any(HasPrefix(5, \"00\"))",
        "any(Seconds(5) > 1)",
        "any(Concat(name, \"-\") == \"a\")",
        "any(name == kind)",
        "any(duration > attributes[\"budget\"])",
        "any(start_time > 5)",
        "any(start_time > start_time_unix_nano)",
        "any(duration * 2 > 1s)",
        "any(name + 1 > 2)",
        "any(span_id == \"abc\")",
        "any(trace_id == SpanID(0x0102030405060708))",
        "any(span_id < 0x0102030405060708)",
        "any(span_id == trace_id)",
        "any(SpanID(name) == span_id)",
        "any(attributes[\"a\"] == [\"a\"] and Split(name, \"/\") == \"a\")",
        "any([1] == [1])",
        "any(Len(\"abc\") == 3)",
        "any(flags == 1 / 0)",
        "trace.duration > root.duration",
        "count(true) / 2 > 3",
        "values(service) > [\"a\"] or values(service) == \"a\" or values(service) == [name] or values(kind) == [\"a\", nil]",
        "any(values(name) == [\"a\"]) or values(root.name) == [] or values(ToLowerCase(name)) == []",
        "values(trace.duration) == [] or values(any(true)) == [] or values() == [] or values(name)",
        "root.name == values(name) or ContainsValue(values(name), \"a\") or Len(values(name)) or Len(values(name)) == \"a\"",
        "any(trace_state[1] == \"a\")",
        "any(record.headers == \"a\" or record.headers[\"a\"][0] == \"b\" or record.headers[0] == \"c\")",
        "record.topic == \"a\" and any(record.topic[\"a\"] == \"b\" or record.topic > 5)",
        "any(record.key == \"a\" and record.header[\"a\"] == \"b\")",
        "any(attributes[\"a\"][\"1\"][\"2\"][\"3\"][\"4\"][\"5\"][\"6\"][\"7\"][\"8\"][\"9\"] == 1)",
        "any(Len(name)[0] == 1)",
        "any(Int(attributes[\"a\"]) < nil)",
        "any(IsMatch(Split(name, \"/\"), \"a\"))",
        "any(flags > 2s)",
        "any(Bool(attributes[\"a\"]) == 1)",
        "ToLowerCase(name) == \"a\" and HasPrefix(name, \"a\") and end_time - start_time > 1s",
        "any(ToLowerCase(nmae) == Concat([kidn, 1 + status], 5))",
    ]), @r#"
        any(Len(name) > "a")
                        ^^^ `Len(name)` is a number and `"a"` is none
                        hint: a number stands alone: `10`, `0.5`

        any(Len(name))
            ^^^^^^^^^ `Len(name)` is a value, not a condition
            hint: compare it: `Len(name) > 3`

        any(ToLowerCase(name))
            ^^^^^^^^^^^^^^^^^ `ToLowerCase(name)` is a value, not a condition
            hint: compare it: `ToLowerCase(name) == …`

        any(Len() > 1)
            ^^^^^ `Len` takes 1 argument, not 0
            hint: write `Len(attributes["db.query.text"])`

        any(Substring(name, 1) == "a")
            ^^^^^^^^^^^^^^^^^^ `Substring` takes 3 arguments, not 2
            hint: write `Substring(name, 0, 4)`

        any(HasPrefix(kind, "S"))
                      ^^^^ `kind` is a span kind, and `HasPrefix` takes text
                      hint: did you mean `kind.string`?

        any(HasPrefix(trace_id, "00"))
                      ^^^^^^^^ `trace_id` is a trace id, and `HasPrefix` takes text
                      hint: did you mean `trace_id.string`?

        any(HasPrefix(5, "00"))
                      ^ `5` is a number, and `HasPrefix` takes text
                      hint: did you mean `String(5)`?

        any(Seconds(5) > 1)
                    ^ `5` is a number, and `Seconds` takes a duration
                    hint: durations are `duration`, `2s` and what is between two times

        any(Concat(name, "-") == "a")
                   ^^^^ `name` is text, and `Concat` takes a list
                   hint: did you mean `[name]`?

        any(name == kind)
            ^^^^^^^^^^^^ `name == kind` compares text with a span kind
            hint: `Int(…)`, `Double(…)` and `String(…)` make one of the other

        any(duration > attributes["budget"])
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ `duration > attributes["budget"]` compares a duration with an attribute
            hint: a duration is a number behind `Seconds(…)`, `Milliseconds(…)` or `Nanoseconds(…)`

        any(start_time > 5)
                         ^ `start_time` is a point in time and `5` is none
                         hint: its difference from another is a duration: `end_time - start_time > 2s`

        any(start_time > start_time_unix_nano)
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ `start_time > start_time_unix_nano` compares a point in time with a number
            hint: times are compared with times; a number is `start_time_unix_nano`, and so on

        any(duration * 2 > 1s)
                       ^ `duration * 2` calculates with a duration and a number
                       hint: a duration is a number behind `Seconds(…)`, `Milliseconds(…)` or `Nanoseconds(…)`

        any(name + 1 > 2)
                   ^ `name + 1` calculates with text and a number
                   hint: `Int(…)`, `Double(…)` and `String(…)` make one of the other

        any(span_id == "abc")
                       ^^^^^ `span_id` is a span id and `"abc"` is none
                       hint: it has 8 bytes: 16 hexadecimal digits in double quotes, or `SpanID(0x…)`

        any(trace_id == SpanID(0x0102030405060708))
                        ^^^^^^^^^^^^^^^^^^^^^^^^^^ `trace_id` is a trace id and `SpanID(0x0102030405060708)` is none
                        hint: it has 16 bytes: 32 hexadecimal digits in double quotes, or `TraceID(0x…)`

        any(span_id < 0x0102030405060708)
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ `span_id < 0x0102030405060708` orders a span id
            hint: compare it with `==` or `!=`

        any(span_id == trace_id)
            ^^^^^^^^^^^^^^^^^^^ `span_id == trace_id` compares a span id with a trace id
            hint: an id is text behind `.string`

        any(SpanID(name) == span_id)
            ^^^^^^^^^^^^ `SpanID` takes 8 bytes
            hint: write `SpanID(0x0123456789abcdef)`

        any(attributes["a"] == ["a"] and Split(name, "/") == "a")
                                                             ^^^ `Split(name, "/")` is a list and `"a"` is none
                                                             hint: did you mean `ContainsValue(Split(name, "/"), "a")`?

        any([1] == [1])
            ^^^^^^^^^^ `[1] == [1]` compares two constants
            hint: one side is a path, such as `root.attributes["key"]`

        any(Len("abc") == 3)
            ^^^^^^^^^^^^^^^ `Len("abc") == 3` compares two constants
            hint: one side is a path, such as `root.attributes["key"]`

        any(flags == 1 / 0)
                     ^^^^^ `1 / 0` has no value
                     hint: it can never be computed

        trace.duration > root.duration
        ^^^^^^^^^^^^^^ `trace.duration` is known only when the trace is judged
        hint: compare it with a constant

        count(true) / 2 > 3
        ^^^^^^^^^^^ `count(true)` is known only when the trace is judged
        hint: compare it with a constant

        values(service) > ["a"] or values(service) == "a" or values(service) == [name] or values(kind) == ["a", nil]
        ^^^^^^^^^^^^^^^^^^^^^^^ `values(service) > ["a"]` orders the values of all spans
        hint: compare it with `==` or `!=`
                                                      ^^^ `values(service)` are the values of all spans and `"a"` is no list
                                                      hint: did you mean `values(service) == ["a"]`?
                                                                                 ^^^^ `name` is of a span, and a trace has many
                                                                                 hint: did you mean `any(values(service) == [name])`?
                                                                                                           ^^^ `kind` is a span kind and `"a"` is none
                                                                                                           hint: the span kinds are `SPAN_KIND_UNSPECIFIED`, `SPAN_KIND_INTERNAL`, `SPAN_KIND_SERVER`, `SPAN_KIND_CLIENT`, `SPAN_KIND_PRODUCER`, `SPAN_KIND_CONSUMER`
                                                                                                                ^^^ what is absent is no value
                                                                                                                hint: leave `nil` out

        any(values(name) == ["a"]) or values(root.name) == [] or values(ToLowerCase(name)) == []
            ^^^^^^^^^^^^ `values(…)` inside `any(…)`, which looks at one of them at a time
            hint: move it outside, and join the two: `… and any(…)`
                                             ^^^^^^^^^ `root.name` inside `values(…)`, which looks at one span at a time
                                             hint: move it outside: `root.name == … and values(…)`
                                                                 ^^^^^^^^^^^^^^^^^^^^^^^^^ `values` takes one path of a span
                                                                 hint: write `values(service)`

        values(trace.duration) == [] or values(any(true)) == [] or values() == [] or values(name)
               ^^^^^^^^^^^^^^ `trace.duration` inside `values(…)`, which looks at one span at a time
               hint: move it outside: `trace.duration == … and values(…)`
                                        ^^^^^^^^^^^^^^^^^ `values` takes one path of a span
                                        hint: write `values(service)`
                                                                   ^^^^^^^^ `values` takes one path of a span
                                                                   hint: write `values(service)`
                                                                                     ^^^^^^^^^^^^ `values(name)` is a value, not a condition
                                                                                     hint: compare it with a list: `values(name) == ["cart"]`

        root.name == values(name) or ContainsValue(values(name), "a") or Len(values(name)) or Len(values(name)) == "a"
        ^^^^^^^^^^^^^^^^^^^^^^^^^ `root.name == values(name)` compares text with the values of all spans
        hint: `Int(…)`, `Double(…)` and `String(…)` make one of the other
                                                   ^^^^^^^^^^^^ `values(name)` is the values of all spans, and `ContainsValue` takes a list
                                                   hint: `any(… == …)` asks whether one of them is such
                                                                         ^^^^^^^^^^^^^^^^^ `Len(values(name))` is a value, not a condition
                                                                         hint: compare it: `Len(values(name)) > 3`
                                                                                                                   ^^^ `Len(values(name))` is a number and `"a"` is no whole number
                                                                                                                   hint: write `10`

        any(trace_state[1] == "a")
                        ^ `trace_state` takes one key, a text
                        hint: write `trace_state["vendor"]`

        any(record.headers == "a" or record.headers["a"][0] == "b" or record.headers[0] == "c")
                   ^^^^^^^ `headers` takes a key
                   hint: write `record.headers["key"]`
                                                         ^ `headers` takes one key, a text
                                                         hint: write `record.headers["key"]`
                                                                                     ^ `headers` takes one key, a text
                                                                                     hint: write `record.headers["key"]`

        record.topic == "a" and any(record.topic["a"] == "b" or record.topic > 5)
        ^^^^^^^^^^^^ `record.topic` is of a span, and a trace has many
        hint: did you mean `any(record.topic == "a")`?
                                                 ^^^ `topic` takes no key
                                                                               ^ `record.topic` is text and `5` is not
                                                                               hint: text stands in double quotes

        any(record.key == "a" and record.header["a"] == "b")
            ^^^^^^^^^^ unknown path `record.key`
            hint: a span has `name`, `kind`, `status.code`, `duration`, `service`, `attributes["…"]`, `resource.attributes["…"]` and more, which docs/conditions.md lists; the root has them behind `root.`
                                  ^^^^^^^^^^^^^ unknown path `record.header`
                                  hint: did you mean `record.headers["…"]`?

        any(attributes["a"]["1"]["2"]["3"]["4"]["5"]["6"]["7"]["8"]["9"] == 1)
                                                                    ^^^ more than 8 keys behind each other

        any(Len(name)[0] == 1)
            ^^^^^^^^^^^^ `Len(name)` has nothing inside
            hint: keys stand behind attributes and `Split(…)`

        any(Int(attributes["a"]) < nil)
            ^^^^^^^^^^^^^^^^^^^^^^^^^^ `Int(attributes["a"]) < nil` orders nil
            hint: compare nil with `==` or `!=`

        any(IsMatch(Split(name, "/"), "a"))
                    ^^^^^^^^^^^^^^^^ `Split(name, "/")` has no text to match
                    hint: names, services and attributes have

        any(flags > 2s)
                    ^^ `flags` is a number and `2s` a duration
                    hint: in nanoseconds it is 2000000000

        any(Bool(attributes["a"]) == 1)
                                     ^ `Bool(attributes["a"])` is true or false and never `1`
                                     hint: write `Bool(attributes["a"])` alone

        ToLowerCase(name) == "a" and HasPrefix(name, "a") and end_time - start_time > 1s
                    ^^^^ `name` is of a span, and a trace has many
                    hint: did you mean `any(ToLowerCase(name) == "a")`?
                                               ^^^^ `name` is of a span, and a trace has many
                                               hint: did you mean `any(HasPrefix(name, "a"))`?
                                                              ^^^^^^^^ `end_time` is of a span, and a trace has many
                                                              hint: did you mean `any(end_time - start_time > 1s)`?
                                                                         ^^^^^^^^^^ `start_time` is of a span, and a trace has many
                                                                         hint: did you mean `any(end_time - start_time > 1s)`?

        any(ToLowerCase(nmae) == Concat([kidn, 1 + status], 5))
                        ^^^^ unknown path `nmae`
                        hint: did you mean `name`?
                                         ^^^^ unknown path `kidn`
                                         hint: did you mean `kind`?
                                                   ^^^^^^ unknown path `status`
                                                   hint: did you mean `status.code`?
                                                            ^ `5` is a number, and `Concat` takes text
                                                            hint: did you mean `String(5)`?
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
    // Neither is a sum, and its signs are.
    let sum = vec!["flags"; 1000].join(" - ");
    assert!(read(&format!("any({sum} > 1)")).is_ok());
    assert!(read(&format!("any({}flags > 1)", "- ".repeat(1000))).is_err());
    assert!(read(&format!("any({}name{} == nil)", "[".repeat(1000), "]".repeat(1000))).is_err());
    assert!(read(&format!("any(ContainsValue([{}], name))", "1,".repeat(257))).is_err());
    assert!(read(&format!("any(ContainsValue([{}], name))", "1,".repeat(256))).is_ok());
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
        "any_event(",
        "any_link(",
        "spanevent.",
        "IsRootSpan()",
        "Len(",
        "Split(",
        "Concat(",
        "HasPrefix(",
        "Substring(",
        "Seconds(",
        "SpanID(",
        "trace_id",
        "span_id.string",
        "trace_state[\"a\"]",
        "start_time",
        "flags",
        "[0]",
        "*",
        "/",
        "0x0a",
        "0x",
    ]);
    prop::collection::vec(words, 0..24).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn never_panics(text in prop_oneof![".{0,64}", soup(), "[a-z0-9.()\\[\\]\"\\\\<>=!&|' µé+-]{0,64}"]) {
        match read(&text) {
            Ok(condition) => _ = program::compile(Source { conditions: &[condition], ..Source::default() }),
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in errors {
                    prop_assert!(text.get(error.at.clone()).is_some(), "{error:?} is not within the text");
                }
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

/// `docs/conditions.md` says what there is, and its examples are right.
#[test]
fn the_reference_is_the_language() {
    let text = include_str!("../../../docs/conditions.md");
    let blocks =
        text.split("```ottl\n").skip(1).flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    let examples: Vec<_> = blocks.collect();
    assert!(examples.len() >= 30, "{} examples", examples.len());
    for example in examples {
        assert!(read(example).is_ok(), "{}", mistakes(example));
    }
    let shown = |name: &str| ["`", "(", "["].iter().any(|end| text.contains(&format!("`{name}{end}")));
    for name in super::check::names().chain(super::path::names()) {
        let name = name.strip_prefix("instrumentation_").unwrap_or(name);
        assert!(shown(name), "`{name}` is missing");
    }
}
