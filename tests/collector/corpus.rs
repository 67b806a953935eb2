//! Traces with something in them for every policy of the Collector, and with what policies stumble over.

use fastrand::Rng;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status, TracesData,
        span::{Event, Link},
    },
};
use prost::Message;

use crate::support::{
    kafka::Record,
    oracle::{TraceId, hex},
    spans::EPOCH,
};

/// So many traces, in one to three records each, all of the same second.
pub fn corpus(seed: u64, traces: usize, partitions: i32) -> Vec<Record> {
    let mut rng = Rng::with_seed(seed);
    (0..traces).flat_map(|_| trace(&mut rng, partitions)).collect()
}

fn trace(rng: &mut Rng, partitions: i32) -> Vec<Record> {
    let id: TraceId = rng.u128(1..).to_be_bytes();
    let state = pick(
        rng,
        &[
            "",
            "",
            "vendor=a",
            "vendor=b,other=a",
            " other=c , vendor=a ",
            "vendor",
            "ot=th:8,vendor=c",
            "debug=on",
            "debug=on,=x",
        ],
    );
    let flags = pick(rng, &[0, 0, 0x100, 1, 0x301]);
    let spans: Vec<Span> = (1..=rng.u64(1..=12))
        .map(|at| Span {
            trace_id: id.to_vec(),
            span_id: at.to_be_bytes().to_vec(),
            parent_span_id: if at == 1 { Vec::new() } else { rng.u64(1..at).to_be_bytes().to_vec() },
            trace_state: if rng.u8(..3) == 0 { state.to_owned() } else { String::new() },
            flags: if rng.bool() { flags } else { 0 },
            ..span(rng)
        })
        .collect();
    let mut rest = &spans[..];
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (some, more) = rest.split_at(if records.len() == 2 { rest.len() } else { rng.usize(1..=rest.len()) });
        rest = more;
        records.push(Record {
            partition: i32::from(id[15]) % partitions,
            timestamp: EPOCH + rng.i64(0..1_000),
            key: Some(hex(&id).into_bytes()),
            value: TracesData { resource_spans: parts(rng, some) }.encode_to_vec(),
            ..Record::default()
        });
    }
    records
}

/// In two resources, or scopes, where there are enough.
fn parts(rng: &mut Rng, spans: &[Span]) -> Vec<ResourceSpans> {
    let (one, two) = spans.split_at(rng.usize(..=spans.len()));
    let resources = [one, two].into_iter().filter(|spans| !spans.is_empty()).map(|spans| ResourceSpans {
        resource: (rng.u8(..10) > 0).then(|| resource(rng)),
        scope_spans: spans
            .chunks(4)
            .map(|spans| ScopeSpans { scope: Some(scope(rng)), spans: spans.to_vec(), ..ScopeSpans::default() })
            .collect(),
        ..ResourceSpans::default()
    });
    resources.collect()
}

fn resource(rng: &mut Rng) -> Resource {
    let mut attributes =
        vec![pair("service.name", text(pick(rng, &["front", "cart", "checkout", "payments", "search"])))];
    match rng.u8(..20) {
        0 => attributes.push(pair("tier", text(""))),
        1 => attributes.push(pair("tier", Value::IntValue(3))),
        2..4 => attributes.push(pair("tier", text(pick(rng, &["gold", "silver"])))),
        4 => attributes.push(pair("retries", Value::IntValue(rng.i64(0..9)))),
        5 => attributes.push(pair("cached", Value::BoolValue(rng.bool()))),
        _ => {}
    }
    Resource { attributes, ..Resource::default() }
}

fn scope(rng: &mut Rng) -> InstrumentationScope {
    let name = pick(rng, &["http", "grpc", "sql", ""]).to_owned();
    InstrumentationScope { name, version: pick(rng, &["1.0", "2.0"]).to_owned(), ..InstrumentationScope::default() }
}

fn span(rng: &mut Rng) -> Span {
    let start = u64::try_from(EPOCH).expect("after 1970") * 1_000_000 + rng.u64(..2_000_000_000);
    // A few long ones.
    let duration = if rng.u8(..12) == 0 { rng.u64(..9_000_000_000) } else { rng.u64(..300_000_000) };
    let code = pick(rng, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    Span {
        name: pick(rng, &["GET /cart", "POST /checkout", "GET /healthz", "SELECT orders", "Charge", "PING"]).to_owned(),
        kind: rng.i32(0..=5),
        start_time_unix_nano: start,
        end_time_unix_nano: start + duration,
        attributes: attributes(rng),
        status: (code > 0).then(|| Status { code, message: pick(rng, &["", "timeout", "refused"]).to_owned() }),
        events: (0..rng.u8(..8).saturating_sub(5)).map(|_| event(rng)).collect(),
        links: (0..rng.u8(..20) / 19)
            .map(|_| Link { trace_id: vec![7; 16], span_id: vec![7; 8], ..Link::default() })
            .collect(),
        ..Span::default()
    }
}

fn attributes(rng: &mut Rng) -> Vec<KeyValue> {
    let mut attributes = Vec::new();
    match rng.u8(..16) {
        0..5 => attributes.push(pair("http.route", text(pick(rng, &["/cart", "/checkout", "/cart/{id}", "/search"])))),
        5 => attributes.push(pair("http.route", text(pick(rng, &["/healthz", "/ready", "grpc.v1.HealthCheck", ""])))),
        6 => attributes.push(pair("http.route", Value::IntValue(5))),
        _ => {}
    }
    match rng.u8(..16) {
        0..4 => {
            attributes.push(pair("http.response.status_code", Value::IntValue(pick(rng, &[200, 200, 204, 302, 404]))))
        }
        4 => attributes.push(pair("http.response.status_code", Value::IntValue(pick(rng, &[500, 503])))),
        5 => attributes.push(pair("http.response.status_code", text(pick(rng, &["200", "503"])))),
        6 => attributes.push(pair("http.response.status_code", Value::DoubleValue(pick(rng, &[200.0, 503.5])))),
        _ => {}
    }
    match rng.u8(..20) {
        0 => attributes.push(pair("retries", Value::IntValue(rng.i64(-20..200)))),
        1 => attributes
            .push(pair("retries", pick(rng, &[text("many"), Value::DoubleValue(50.0), Value::BoolValue(true)]))),
        2 => attributes.push(pair("cached", Value::BoolValue(rng.bool()))),
        3 => attributes.push(pair("cached", pick(rng, &[text("true"), Value::IntValue(1)]))),
        4 => attributes.push(pair("tier", text(pick(rng, &["gold", "silver", ""])))),
        5 => attributes.push(pair("parts", array(&["a", "b"]))),
        6 => attributes.push(pair("blob", Value::BytesValue(vec![0, 255]))),
        _ => {}
    }
    attributes
}

fn event(rng: &mut Rng) -> Event {
    let attributes = vec![pair("exception.type", text(pick(rng, &["Timeout", "Refused", "java.io.IOException"])))];
    match rng.bool() {
        true => Event { name: "exception".to_owned(), attributes, ..Event::default() },
        false => Event { name: pick(rng, &["retry", "cache miss"]).to_owned(), ..Event::default() },
    }
}

fn pick<T: Clone>(rng: &mut Rng, among: &[T]) -> T {
    among[rng.usize(..among.len())].clone()
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn array(texts: &[&str]) -> Value {
    let values = texts.iter().map(|each| AnyValue { value: Some(text(each)) }).collect();
    Value::ArrayValue(ArrayValue { values })
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
