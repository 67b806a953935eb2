//! Arbitrary OTLP, built by an independent encoder, and shaken on the wire in the ways protobuf allows.

use std::collections::HashMap;

use fastrand::Rng;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData, span},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::wire::{Reader, put_varint};

/// Keys that occur; policies ask for some of them.
const KEYS: [&str; 5] = ["a", "b", "c", "", "http.route"];

pub fn traces_data() -> impl Strategy<Value = TracesData> {
    let scope = (option::of(scope()), vec(span(), 0..4), text()).prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    });
    let resource = (option::of(resource()), vec(scope, 0..3), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(resource, 0..3).prop_map(|resource_spans| TracesData { resource_spans })
}

/// Without what JSON has no number for: it would be written as null.
pub fn finite() -> impl Strategy<Value = TracesData> {
    traces_data().prop_map(|mut data| {
        for resource in &mut data.resource_spans {
            let mut attributes: Vec<_> = resource.resource.iter_mut().flat_map(|of| &mut of.attributes).collect();
            for scope in &mut resource.scope_spans {
                attributes.extend(scope.scope.iter_mut().flat_map(|of| &mut of.attributes));
                for span in &mut scope.spans {
                    attributes.extend(&mut span.attributes);
                    attributes.extend(span.events.iter_mut().flat_map(|of| &mut of.attributes));
                    attributes.extend(span.links.iter_mut().flat_map(|of| &mut of.attributes));
                }
            }
            attributes.into_iter().filter_map(|of| of.value.as_mut()).for_each(make_finite);
        }
        data
    })
}

fn make_finite(value: &mut AnyValue) {
    match &mut value.value {
        Some(any_value::Value::DoubleValue(double)) if !double.is_finite() => *double = 0.5,
        Some(any_value::Value::ArrayValue(array)) => array.values.iter_mut().for_each(make_finite),
        Some(any_value::Value::KvlistValue(list)) => {
            list.values.iter_mut().filter_map(|of| of.value.as_mut()).for_each(make_finite);
        }
        _ => {}
    }
}

/// The bytes of a message as another encoder might have written them: fields in any order, singular ones repeated, unknown
/// ones between them, at every level.
pub fn shaken(data: &impl prost::Message, seed: u64) -> Vec<u8> {
    let mut shaker = Shaker { rng: Rng::with_seed(seed), seen: HashMap::new() };
    shaker.message(Level::TracesData, &data.encode_to_vec())
}

fn text() -> impl Strategy<Value = String> {
    select(vec!["", "x", "https://opentelemetry.io/schemas/1.30.0", "zwölf"]).prop_map(str::to_owned)
}

fn id() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => vec(0..3_u8, 16),
        3 => vec(0..3_u8, 8),
        1 => Just(vec![0; 16]),
        1 => Just(vec![0; 8]),
        1 => Just(vec![]),
        1 => vec(any::<u8>(), 1..20),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let leaf = prop_oneof![
        Just(None),
        text().prop_map(|text| Some(any_value::Value::StringValue(text))),
        any::<bool>().prop_map(|value| Some(any_value::Value::BoolValue(value))),
        any::<i64>().prop_map(|value| Some(any_value::Value::IntValue(value))),
        any::<f64>().prop_map(|value| Some(any_value::Value::DoubleValue(value))),
        vec(any::<u8>(), 0..4).prop_map(|bytes| Some(any_value::Value::BytesValue(bytes))),
    ]
    .prop_map(|value| AnyValue { value });
    let value = leaf.prop_recursive(3, 8, 3, |value| {
        prop_oneof![
            vec(value.clone(), 0..3).prop_map(|values| any_value::Value::ArrayValue(ArrayValue { values })),
            vec(key_value(value), 0..3).prop_map(|values| any_value::Value::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    });
    vec(key_value(value), 0..4)
}

fn key_value(value: impl Strategy<Value = AnyValue>) -> impl Strategy<Value = KeyValue> {
    (select(&KEYS[..]), option::of(value)).prop_map(|(key, value)| KeyValue {
        key: key.to_owned(),
        value,
        ..KeyValue::default()
    })
}

fn resource() -> impl Strategy<Value = Resource> {
    (attributes(), 0..2_u32).prop_map(|(attributes, dropped_attributes_count)| Resource {
        attributes,
        dropped_attributes_count,
        ..Resource::default()
    })
}

fn scope() -> impl Strategy<Value = InstrumentationScope> {
    (text(), text(), attributes()).prop_map(|(name, version, attributes)| InstrumentationScope {
        name,
        version,
        attributes,
        ..InstrumentationScope::default()
    })
}

fn span() -> impl Strategy<Value = Span> {
    let event = (any::<u64>(), text(), attributes()).prop_map(|(time_unix_nano, name, attributes)| span::Event {
        time_unix_nano,
        name,
        attributes,
        ..span::Event::default()
    });
    let link = (id(), id(), attributes()).prop_map(|(trace_id, span_id, attributes)| span::Link {
        trace_id,
        span_id,
        attributes,
        ..span::Link::default()
    });
    let status = (text(), -1..4_i32).prop_map(|(message, code)| Status { message, code });
    let state = select(vec!["", "ot=rv:40000000000000", "a=b,ot=th:8;rv:00000000000001", "ot=rv:4"]);
    let ids = (id(), id(), id(), state, any::<u32>());
    let times = (any::<u64>(), any::<u64>(), -1..7_i32, text());
    let rest = (attributes(), vec(event, 0..2), vec(link, 0..2), option::of(status));
    (ids, times, rest).prop_map(|(ids, times, rest)| Span {
        trace_id: ids.0,
        span_id: ids.1,
        parent_span_id: ids.2,
        trace_state: ids.3.to_owned(),
        flags: ids.4,
        start_time_unix_nano: times.0,
        end_time_unix_nano: times.1,
        kind: times.2,
        name: times.3,
        attributes: rest.0,
        events: rest.1,
        links: rest.2,
        status: rest.3,
        ..Span::default()
    })
}

/// The messages that are shaken. Of an `AnyValue` given twice protobuf merges what is inside; nobody writes that, so the
/// value of a `KeyValue` stays single.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Level {
    TracesData,
    ResourceSpans,
    Resource,
    ScopeSpans,
    Scope,
    Span,
    KeyValue,
    Status,
}

struct Shaker {
    rng: Rng,
    /// Fields of each kind of message, to be repeated elsewhere.
    seen: HashMap<Level, Vec<Vec<u8>>>,
}

// === impl Shaker ===

impl Shaker {
    fn message(&mut self, level: Level, bytes: &[u8]) -> Vec<u8> {
        let mut fields = Vec::new();
        let mut reader = Reader::new(bytes).expect("short");
        while let Some(field) = reader.field().expect("well-formed") {
            match level.inside(field.number) {
                Some(inside) => {
                    let body = self.message(inside, field.bytes().expect("a message").0);
                    let mut whole = Vec::new();
                    put_varint(&mut whole, u64::from(field.number) << 3 | 2);
                    put_varint(&mut whole, body.len() as u64);
                    whole.extend(body);
                    fields.push(whole);
                }
                None => fields.push(field.range.of(bytes).to_vec()),
            }
        }
        if level != Level::KeyValue {
            let seen = self.seen.entry(level).or_default();
            seen.extend(fields.iter().cloned());
            if !seen.is_empty() && self.rng.u8(..4) == 0 {
                fields.push(seen[self.rng.usize(..seen.len())].clone());
            }
        }
        if self.rng.u8(..4) == 0 {
            fields.push(self.unknown());
        }
        if self.rng.bool() {
            self.rng.shuffle(&mut fields);
        }
        fields.concat()
    }

    fn unknown(&mut self) -> Vec<u8> {
        let (number, kind) = (self.rng.u64(100..300), self.rng.usize(..4));
        let mut field = Vec::new();
        put_varint(&mut field, number << 3 | [0, 1, 2, 5][kind]);
        match kind {
            0 => put_varint(&mut field, self.rng.u64(..)),
            1 => field.extend([7; 8]),
            2 => field.extend([3, 1, 2, 3]),
            _ => field.extend([9; 4]),
        }
        field
    }
}

// === impl Level ===

impl Level {
    fn inside(self, number: u32) -> Option<Self> {
        match (self, number) {
            (Self::TracesData, 1) => Some(Self::ResourceSpans),
            (Self::ResourceSpans, 1) => Some(Self::Resource),
            (Self::ResourceSpans, 2) => Some(Self::ScopeSpans),
            (Self::ScopeSpans, 1) => Some(Self::Scope),
            (Self::ScopeSpans, 2) => Some(Self::Span),
            (Self::Resource, 1) | (Self::Scope, 3) | (Self::Span, 9) => Some(Self::KeyValue),
            (Self::Span, 15) => Some(Self::Status),
            _ => None,
        }
    }
}
