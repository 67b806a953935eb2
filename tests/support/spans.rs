//! Traces written by hand, where a test needs to know every span.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData, span::SpanKind, status::StatusCode},
};
use prost::Message;

use super::{kafka::Record, oracle::TraceId};

/// When the traces of these tests begin, ms after the Unix epoch.
pub const EPOCH: i64 = 1_767_225_600_000;

/// An id the 1 % does not keep.
pub fn trace(number: u64) -> TraceId {
    (u128::from(number) << 64 | 1).to_be_bytes()
}

/// A span of 10 ms that begins `start` ms after the epoch; `parent` 0 makes it a root.
pub fn span(trace: TraceId, id: u64, parent: u64, start: i64) -> Span {
    let start = u64::try_from(EPOCH + start).expect("after 1970") * 1_000_000;
    Span {
        trace_id: trace.to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
        name: format!("span {id}"),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 10_000_000,
        attributes: vec![text("http.route", "/orders/{id}")],
        ..Span::default()
    }
}

pub fn failed(span: Span) -> Span {
    Span { status: Some(Status { code: StatusCode::Error.into(), message: "refused".to_owned() }), ..span }
}

/// With an attribute of `bytes` bytes.
pub fn heavy(mut span: Span, bytes: usize) -> Span {
    span.attributes.push(text("payload", &"x".repeat(bytes)));
    span
}

/// The spans of one resource and scope, as their agent sends them at `at` ms after the epoch.
pub fn record(partition: i32, at: i64, spans: Vec<Span>) -> Record {
    Record { partition, timestamp: EPOCH + at, value: encode(spans), ..Record::default() }
}

/// As [`record`], with the trace's id as the key.
pub fn keyed(partition: i32, at: i64, spans: Vec<Span>) -> Record {
    let key =
        spans.first().map(|span| super::oracle::hex(&span.trace_id[..].try_into().expect("16 bytes")).into_bytes());
    Record { key, ..record(partition, at, spans) }
}

/// As its producer would write it in JSON.
pub fn in_json(record: Record) -> Record {
    let data = TracesData::decode(&record.value[..]).expect("OTLP");
    Record { value: serde_json::to_vec(&data).expect("JSON"), ..record }
}

/// Traces that nobody keeps, one record each, one every 100 ms: they move the clock of a partition from `from` to `to`.
pub fn passing_time(partition: i32, from: i64, to: i64) -> impl Iterator<Item = Record> {
    // The clock is a median of 15 records, so it stands some records before the last.
    (from..to + 2_000).step_by(100).map(move |at| {
        let number = 1 << 40 | u64::from(partition.unsigned_abs()) << 32 | at.unsigned_abs();
        keyed(partition, at, vec![span(trace(number), 1, 0, at)])
    })
}

fn encode(spans: Vec<Span>) -> Vec<u8> {
    let scope = InstrumentationScope { name: "by-hand".to_owned(), version: "1".to_owned(), ..Default::default() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans, schema_url: "https://example.org/scope".to_owned() };
    let resource = Resource { attributes: vec![text("service.name", "orders")], ..Default::default() };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        schema_url: "https://example.org/resource".to_owned(),
    };
    TracesData { resource_spans: vec![resource_spans] }.encode_to_vec()
}

pub fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..Default::default() }
}
