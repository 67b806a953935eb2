use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, EntityRef, InstrumentationScope, KeyValue, any_value::Value as Any},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status, TracesData,
        span::{Event, Link},
    },
};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::decode::arbitrary::finite;

/// What another decoder makes of what comes of a record.
fn read(json: &str) -> Result<TracesData, NotJson> {
    let mut buffer = Vec::new();
    let protobuf = protobuf(json.as_bytes(), &mut buffer)?;
    assert!(protobuf.len() <= json.len());
    Ok(TracesData::decode(protobuf).expect("protobuf"))
}

fn refusal(json: &str) -> String {
    read(json).expect_err(json).to_string()
}

/// A record of one span with these fields.
fn span(fields: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#)
}

/// A record of one span with an attribute of this value.
fn attribute(value: &str) -> String {
    span(&format!(r#""attributes":[{{"key":"k","value":{value}}}]"#))
}

proptest! {
    #[test]
    fn it_says_what_another_encoder_wrote(data in finite()) {
        let json = serde_json::to_string(&data).expect("JSON");
        prop_assert_eq!(read(&json), Ok(data), "{}", json);
    }
}

/// The example of the specification, and what producers write besides.
#[test]
fn every_field_is_known() {
    let json = r#"{
        "resourceSpans": [{
            "resource": {
                "attributes": [{ "key": "service.name", "value": { "stringValue": "my.service" } }],
                "droppedAttributesCount": 1,
                "entityRefs": [{ "schemaUrl": "s", "type": "host", "idKeys": ["a", "b"], "descriptionKeys": ["c"] }]
            },
            "scopeSpans": [{
                "scope": { "name": "my.library", "version": "1.0.0", "attributes": [], "droppedAttributesCount": 2 },
                "spans": [{
                    "traceId": "5B8EFFF798038103D269B633813FC60C",
                    "spanId": "eee19b7ec3c1b174",
                    "traceState": "a=b",
                    "parentSpanId": "",
                    "flags": 257,
                    "name": "I'm a \"server\" ünd mehr",
                    "kind": 2,
                    "startTimeUnixNano": "1544712660000000000",
                    "endTimeUnixNano": 1544712661000000000,
                    "attributes": [{ "key": "my.span.attr", "value": { "intValue": "-3" } }],
                    "droppedAttributesCount": 3,
                    "events": [{ "timeUnixNano": "1", "name": "e", "attributes": [], "droppedAttributesCount": 4 }],
                    "droppedEventsCount": 5,
                    "links": [{ "traceId": "00ff", "spanId": "01", "traceState": "c=d", "attributes": [], "droppedAttributesCount": 6, "flags": 7 }],
                    "droppedLinksCount": 8,
                    "status": { "message": "no", "code": 2 }
                }],
                "schemaUrl": "t"
            }],
            "schemaUrl": "u"
        }]
    }"#;
    let value = |value| Some(AnyValue { value: Some(value) });
    let pair = |key: &str, value| KeyValue { key: key.to_owned(), value, ..KeyValue::default() };
    let span = Span {
        trace_id: 0x5b8e_fff7_9803_8103_d269_b633_813f_c60c_u128.to_be_bytes().to_vec(),
        span_id: 0xeee1_9b7e_c3c1_b174_u64.to_be_bytes().to_vec(),
        trace_state: "a=b".into(),
        flags: 257,
        name: "I'm a \"server\" ünd mehr".into(),
        kind: 2,
        start_time_unix_nano: 1_544_712_660_000_000_000,
        end_time_unix_nano: 1_544_712_661_000_000_000,
        attributes: vec![pair("my.span.attr", value(Any::IntValue(-3)))],
        dropped_attributes_count: 3,
        events: vec![Event { time_unix_nano: 1, name: "e".into(), dropped_attributes_count: 4, ..Event::default() }],
        dropped_events_count: 5,
        links: vec![Link {
            trace_id: vec![0, 0xff],
            span_id: vec![1],
            trace_state: "c=d".into(),
            dropped_attributes_count: 6,
            flags: 7,
            ..Link::default()
        }],
        dropped_links_count: 8,
        status: Some(Status { message: "no".into(), code: 2 }),
        ..Span::default()
    };
    let scope = InstrumentationScope {
        name: "my.library".into(),
        version: "1.0.0".into(),
        dropped_attributes_count: 2,
        ..InstrumentationScope::default()
    };
    let resource = Resource {
        attributes: vec![pair("service.name", value(Any::StringValue("my.service".into())))],
        dropped_attributes_count: 1,
        entity_refs: vec![EntityRef {
            schema_url: "s".into(),
            r#type: "host".into(),
            id_keys: vec!["a".into(), "b".into()],
            description_keys: vec!["c".into()],
        }],
    };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: vec![span], schema_url: "t".into() }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, schema_url: "u".into() }];
    assert_eq!(read(json), Ok(TracesData { resource_spans }));
}

#[test]
fn numbers_may_be_written_in_several_ways() {
    let start = |written: &str| {
        read(&span(&format!(r#""startTimeUnixNano":{written}"#)))
            .map(|data| data.resource_spans[0].scope_spans[0].spans[0].start_time_unix_nano)
    };
    for (written, meant) in [
        ("0", 0),
        ("\"0\"", 0),
        ("18446744073709551615", u64::MAX),
        ("\"18446744073709551615\"", u64::MAX),
        ("1.5447e18", 1_544_700_000_000_000_000),
        ("\"1e3\"", 1000),
        ("null", 0),
    ] {
        assert_eq!(start(written), Ok(meant), "{written}");
    }
    for wrong in ["-1", "\"-1\"", "18446744073709551616", "1.5", "\"x\"", "\"\"", "true", "{}", "[]", "1e400"] {
        assert!(start(wrong).is_err(), "{wrong}");
    }
    let kind = |written: &str| {
        read(&span(&format!(r#""kind":{written}"#))).map(|data| data.resource_spans[0].scope_spans[0].spans[0].kind)
    };
    assert_eq!([kind("3"), kind("\"SPAN_KIND_CLIENT\""), kind("\"3\""), kind("-1")], [Ok(3), Ok(3), Ok(3), Ok(-1)]);
    assert!(kind("\"CLIENT\"").is_err() && kind("2147483648").is_err());
}

#[test]
fn values_are_of_the_kind_that_is_said() {
    let value = |written: &str| {
        let mut data = read(&attribute(written)).expect(written);
        let value = data.resource_spans[0].scope_spans[0].spans[0].attributes.remove(0).value.expect("a value");
        value.value
    };
    assert_eq!(value("{}"), None);
    assert_eq!(value(r#"{"stringValue":null}"#), None);
    assert_eq!(value(r#"{"stringValue":""}"#), Some(Any::StringValue(String::new())));
    assert_eq!(value(r#"{"boolValue":false}"#), Some(Any::BoolValue(false)));
    assert_eq!(value(r#"{"intValue":"-9223372036854775808"}"#), Some(Any::IntValue(i64::MIN)));
    assert_eq!(value(r#"{"intValue":0}"#), Some(Any::IntValue(0)));
    assert_eq!(value(r#"{"doubleValue":1}"#), Some(Any::DoubleValue(1.0)));
    assert_eq!(value(r#"{"doubleValue":"-Infinity"}"#), Some(Any::DoubleValue(f64::NEG_INFINITY)));
    // With padding and without, in either alphabet.
    for written in ["+/8=", "+/8", "-_8=", "-_8"] {
        let json = format!(r#"{{"bytesValue":"{written}"}}"#);
        assert_eq!(value(&json), Some(Any::BytesValue(vec![0xfb, 0xff])), "{written}");
    }
}

#[test]
fn what_is_not_known_is_left_out() {
    let with = span(r#""spanId":"01","new":{"deep":[1,{"x":null}]},"name":"a""#);
    assert_eq!(read(&with), read(&span(r#""spanId":"01","name":"a""#)));
    assert_eq!(read("{}"), Ok(TracesData::default()));
    assert_eq!(read(r#"{"resourceSpans":[],"new":1}"#), Ok(TracesData::default()));
    assert_eq!(read(r#"{"resourceSpans":null}"#), Ok(TracesData::default()));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let wrong = [
        "{",
        r#"{"resourceLogs":[]}"#,
        r#"{"resourceSpans":{}}"#,
        r#"{"resourceSpans":[7]}"#,
        r#"{"resourceSpans":[]} {"resourceSpans":[]}"#,
        &span(r#""traceId":"W47/95gDgQPSabYzgT/GDA==""#),
        &span(r#""traceId":"5b8""#),
        &span(r#""name":7"#),
        &span(r#""status":2"#),
        &span(r#""droppedLinksCount":-1"#),
        &attribute(r#"{"boolValue":"true"}"#),
        &attribute(r#"{"bytesValue":"?"}"#),
        r#"{"resourceSpans":[{"resource":{"entityRefs":[{"idKeys":[1]}]}}]}"#,
    ]
    .map(|json| format!("{json}\n    {}", refusal(json)));
    insta::assert_snapshot!(wrong.join("\n"), @r#"
    {
        not OTLP/JSON: EOF while parsing an object at line 1 column 1
    {"resourceLogs":[]}
        not OTLP/JSON: no resourceSpans, only unknown fields
    {"resourceSpans":{}}
        not OTLP/JSON: expected an array of objects as `resourceSpans` at line 1 column 19
    {"resourceSpans":[7]}
        not OTLP/JSON: invalid type: integer `7`, expected an object at line 1 column 19
    {"resourceSpans":[]} {"resourceSpans":[]}
        not OTLP/JSON: trailing characters at line 1 column 22
    {"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"W47/95gDgQPSabYzgT/GDA=="}]}]}]}
        not OTLP/JSON: expected hexadecimal digits as `traceId` at line 1 column 80
    {"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8"}]}]}]}
        not OTLP/JSON: expected hexadecimal digits as `traceId` at line 1 column 59
    {"resourceSpans":[{"scopeSpans":[{"spans":[{"name":7}]}]}]}
        not OTLP/JSON: expected a string as `name` at line 1 column 52
    {"resourceSpans":[{"scopeSpans":[{"spans":[{"status":2}]}]}]}
        not OTLP/JSON: expected an object as `status` at line 1 column 54
    {"resourceSpans":[{"scopeSpans":[{"spans":[{"droppedLinksCount":-1}]}]}]}
        not OTLP/JSON: expected a whole number of 32 bits, not below 0 as `droppedLinksCount` at line 1 column 66
    {"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"k","value":{"boolValue":"true"}}]}]}]}]}
        not OTLP/JSON: expected true or false as `boolValue` at line 1 column 96
    {"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"k","value":{"bytesValue":"?"}}]}]}]}]}
        not OTLP/JSON: expected base64 as `bytesValue` at line 1 column 94
    {"resourceSpans":[{"resource":{"entityRefs":[{"idKeys":[1]}]}}]}
        not OTLP/JSON: invalid type: integer `1`, expected an array of strings as `idKeys` at line 1 column 57
    "#);
}

/// What is quoted has a bound, and so has what is nested.
#[test]
fn long_and_deep_mistakes_are_told_briefly() {
    let long = refusal(&format!(r#"{{"resourceSpans":["{}"]}}"#, "ü".repeat(1_000_000)));
    assert!(long.len() < 300 && long.ends_with("at line 1 column 2000020"), "{long}");
    let deep = format!("{}{}", r#"{"arrayValue":{"values":["#.repeat(1000), "]}}".repeat(1000));
    assert!(refusal(&attribute(&deep)).contains("recursion limit"), "it is deep");
}

#[test]
fn protobuf_stays_as_it_is() {
    let mut buffer = Vec::new();
    for payload in [&b""[..], b"\x0a\x00", b"[]", b" {}", b"\xff"] {
        assert_eq!(protobuf(payload, &mut buffer), Ok(payload));
    }
    let no_text = protobuf(b"{\"\xff\":0}", &mut buffer).expect_err("no text");
    assert_eq!(no_text.to_string(), "not OTLP/JSON: invalid utf-8 sequence of 1 bytes from index 2");
}
