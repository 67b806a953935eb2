//! The wire reader against prost and the published schema.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as Theirs, TracesData},
};
use proptest::prelude::*;
use prost::Message;

use super::{
    arbitrary::{shaken, traces_data},
    detail::Detail,
    tracestate::explicit_randomness,
    *,
};

const WANTED: [&str; 3] = ["a", "b", "http.route"];

fn read(payload: &[u8]) -> Result<Batch, Malformed> {
    let mut batch = Batch::default();
    decode(payload, &Keys::new(WANTED.map(str::as_bytes)), &mut batch).map(|()| batch)
}

fn id(bytes: &[u8]) -> u64 {
    match bytes.try_into() {
        Ok(id) => u64::from_be_bytes(id),
        Err(_) if bytes.is_empty() => 0,
        Err(_) => Span::NO_SPAN,
    }
}

/// The first value of a key.
fn first<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a KeyValue> {
    attributes.iter().find(|attribute| attribute.key == key)
}

fn same_value(ours: Value<'_>, theirs: Option<&AnyValue>) -> bool {
    let theirs = theirs.and_then(|value| value.value.as_ref());
    match (ours, theirs) {
        (Value::Nil, None) => true,
        (Value::Bool(a), Some(any_value::Value::BoolValue(b))) => a == *b,
        (Value::Int(a), Some(any_value::Value::IntValue(b))) => a == *b,
        (Value::Double(a), Some(any_value::Value::DoubleValue(b))) => a.to_bits() == b.to_bits(),
        (Value::Str(a), Some(any_value::Value::StringValue(b))) => a == b.as_bytes(),
        (Value::Bytes(a), Some(any_value::Value::BytesValue(b))) => a == b,
        (Value::List(a), Some(any_value::Value::ArrayValue(b))) => ArrayValue::decode(a).as_ref() == Ok(b),
        (Value::Map(a), Some(any_value::Value::KvlistValue(b))) => KeyValueList::decode(a).as_ref() == Ok(b),
        _ => false,
    }
}

/// Whether a batch holds what prost reads, attributes aside.
fn assert_same(payload: &[u8], batch: &Batch, theirs: &TracesData) {
    let scopes: Vec<(&ResourceSpans, &ScopeSpans)> =
        theirs.resource_spans.iter().flat_map(|r| r.scope_spans.iter().map(move |scope| (r, scope))).collect();
    assert_eq!(batch.resources.len(), theirs.resource_spans.len());
    assert_eq!(batch.scopes.len(), scopes.len());
    for (ours, (resource, scope)) in batch.scopes.iter().zip(&scopes) {
        let around = batch.resources[ours.resource as usize];
        let rest = &around.rest.of(&batch.rest)[around.outer as usize..];
        let bare = ResourceSpans { scope_spans: Vec::new(), ..(*resource).clone() };
        assert_eq!(ResourceSpans::decode(rest), Ok(bare));
        let bare = ScopeSpans { spans: Vec::new(), ..(*scope).clone() };
        assert_eq!(ScopeSpans::decode(ours.rest.of(&batch.rest)), Ok(bare));
    }
    let theirs: Vec<(u32, &Theirs)> =
        (0..).zip(&scopes).flat_map(|(at, (_, scope))| scope.spans.iter().map(move |span| (at, span))).collect();
    let (good, bad): (Vec<_>, Vec<_>) =
        theirs.into_iter().partition(|(_, span)| span.trace_id.len() == 16 && span.trace_id.iter().any(|&b| b != 0));
    assert_eq!(batch.spans.len(), good.len());
    for (ours, (scope, theirs)) in batch.spans.iter().zip(&good) {
        assert_eq!(ours.trace_id[..], theirs.trace_id[..]);
        assert_eq!(
            (ours.scope, ours.span_id, ours.parent_id),
            (*scope, id(&theirs.span_id), id(&theirs.parent_span_id))
        );
        assert_eq!((ours.start, ours.end), (theirs.start_time_unix_nano, theirs.end_time_unix_nano));
        assert_eq!((ours.kind, ours.status), (theirs.kind, theirs.status.as_ref().map_or(0, |status| status.code)));
        assert_eq!(ours.name.of(payload), theirs.name.as_bytes());
        assert_eq!(ours.randomness, explicit_randomness(theirs.trace_state.as_bytes()));
        assert_eq!(Theirs::decode(ours.bytes.of(payload)).as_ref(), Ok(*theirs));
    }
    assert_eq!(batch.rejected.len(), bad.len());
    for (ours, (scope, theirs)) in batch.rejected.iter().zip(&bad) {
        assert_eq!((ours.scope, ours.trace_id_len as usize), (*scope, theirs.trace_id.len()));
        assert_eq!(Theirs::decode(ours.span.of(payload)).as_ref(), Ok(*theirs));
    }
}

fn assert_same_attributes(payload: &[u8], batch: &Batch, theirs: &TracesData) {
    let spans = theirs.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
    let good = spans.filter(|span| span.trace_id.len() == 16 && span.trace_id.iter().any(|&b| b != 0));
    for (ours, theirs) in batch.spans.iter().zip(good) {
        let found = &batch.found[ours.found.start as usize..ours.found.end as usize];
        for (slot, key) in WANTED.into_iter().enumerate() {
            let ours: Vec<_> = found.iter().filter(|found| usize::from(found.slot) == slot).collect();
            let theirs = first(&theirs.attributes, key);
            assert_eq!(ours.len(), usize::from(theirs.is_some()), "{key}");
            if let (Some(ours), Some(theirs)) = (ours.first(), theirs) {
                let ours = Value::parse(payload, ours.value).expect("parsed when decoded");
                assert!(same_value(ours, theirs.value.as_ref()), "{key}: {ours:?}, not {:?}", theirs.value);
            }
        }
    }
    for (ours, around) in batch.resources.iter().zip(&theirs.resource_spans) {
        let rest = &ours.rest.of(&batch.rest)[ours.outer as usize..];
        let none = Resource::default();
        let attributes = &around.resource.as_ref().unwrap_or(&none).attributes;
        for key in WANTED {
            let theirs = first(attributes, key).and_then(|attribute| attribute.value.as_ref());
            let ours = resource_attribute(rest, key.as_bytes());
            assert!(same_value(ours, theirs), "resource {key}: {ours:?}, not {theirs:?}");
        }
        assert_eq!(detail::schema_url(rest), around.schema_url.as_bytes());
    }
    let scopes = theirs.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    for (ours, theirs) in batch.scopes.iter().zip(scopes) {
        let rest = ours.rest.of(&batch.rest);
        let scope = theirs.scope.clone().unwrap_or_default();
        assert_eq!(detail::scope(rest), (scope.name.as_bytes(), scope.version.as_bytes()));
        assert_eq!(detail::schema_url(rest), theirs.schema_url.as_bytes());
        for key in WANTED {
            let theirs = first(&scope.attributes, key).and_then(|attribute| attribute.value.as_ref());
            let ours = scope_attribute(rest, key.as_bytes());
            assert!(same_value(ours, theirs), "scope {key}: {ours:?}, not {theirs:?}");
        }
    }
}

/// What only few policies look at, found in a span's bytes.
fn assert_same_detail(payload: &[u8], batch: &Batch, theirs: &TracesData) {
    let spans = theirs.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
    let good = spans.filter(|span| span.trace_id.len() == 16 && span.trace_id.iter().any(|&b| b != 0));
    for (ours, theirs) in batch.spans.iter().zip(good) {
        let body = ours.bytes.of(payload);
        let ours = Detail::of(body);
        let message = theirs.status.as_ref().map_or("", |status| &status.message);
        assert_eq!((ours.span_id, ours.parent_id), (&theirs.span_id[..], &theirs.parent_span_id[..]));
        assert_eq!((ours.trace_state, ours.status_message), (theirs.trace_state.as_bytes(), message.as_bytes()));
        assert_eq!(
            (ours.dropped_attributes, ours.dropped_events, ours.dropped_links, ours.flags),
            (theirs.dropped_attributes_count, theirs.dropped_events_count, theirs.dropped_links_count, theirs.flags)
        );
        let events: Vec<_> = detail::events(body).collect();
        let links: Vec<_> = detail::links(body).collect();
        assert_eq!((events.len(), links.len()), (theirs.events.len(), theirs.links.len()));
        let same_attributes = |ours: &detail::Item<'_>, theirs: &[KeyValue]| {
            for key in WANTED {
                let theirs = first(theirs, key).and_then(|attribute| attribute.value.as_ref());
                let ours = attribute(ours.bytes, ours.attributes, key.as_bytes());
                assert!(same_value(ours, theirs), "{key}: {ours:?}, not {theirs:?}");
            }
        };
        for (ours, theirs) in events.iter().zip(&theirs.events) {
            assert_eq!((ours.time, ours.name), (theirs.time_unix_nano, theirs.name.as_bytes()));
            assert_eq!(ours.dropped_attributes, theirs.dropped_attributes_count);
            same_attributes(ours, &theirs.attributes);
        }
        for (ours, theirs) in links.iter().zip(&theirs.links) {
            assert_eq!((ours.trace_id, ours.span_id), (&theirs.trace_id[..], &theirs.span_id[..]));
            assert_eq!((ours.trace_state, ours.flags), (theirs.trace_state.as_bytes(), theirs.flags));
            assert_eq!(ours.dropped_attributes, theirs.dropped_attributes_count);
            same_attributes(ours, &theirs.attributes);
        }
    }
}

/// Stricter than prost on purpose: groups, and messages with nothing of OTLP in them.
fn is_stricter(malformed: Malformed) -> bool {
    matches!(malformed, Malformed::WireType(3) | Malformed::Foreign)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn reads_what_prost_reads(data in traces_data(), seed: u64) {
        for payload in [data.encode_to_vec(), shaken(&data, seed)] {
            let theirs = TracesData::decode(&payload[..]).expect("valid");
            match read(&payload) {
                Ok(batch) => {
                    assert_same(&payload, &batch, &theirs);
                    assert_same_attributes(&payload, &batch, &theirs);
                    assert_same_detail(&payload, &batch, &theirs);
                }
                Err(malformed) => {
                    prop_assert_eq!(malformed, Malformed::Foreign);
                    prop_assert!(theirs.resource_spans.is_empty());
                }
            }
        }
    }

    #[test]
    fn accepts_what_prost_accepts(
        data in traces_data(),
        seed: u64,
        harm in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<u8>()), 1..4),
    ) {
        let mut payload = shaken(&data, seed);
        for (at, how, byte) in harm {
            let at = at.index(payload.len() + 1);
            match how {
                0 => payload.truncate(at),
                1 => payload.insert(at, byte),
                _ if at < payload.len() => payload[at] = byte,
                _ => {}
            }
        }
        match (read(&payload), TracesData::decode(&payload[..])) {
            (Ok(batch), Ok(theirs)) => {
                assert_same(&payload, &batch, &theirs);
                assert_same_detail(&payload, &batch, &theirs);
            }
            (Err(malformed), Ok(_)) => prop_assert!(is_stricter(malformed), "{malformed}"),
            // What is only carried is not checked, and looking at it shows something or nothing.
            (Ok(batch), Err(_)) => {
                for span in &batch.spans {
                    let body = span.bytes.of(&payload);
                    Detail::of(body);
                    for item in detail::events(body).chain(detail::links(body)) {
                        attribute(item.bytes, item.attributes, b"a");
                    }
                }
            }
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        if let (Err(malformed), Ok(_)) = (read(&payload), TracesData::decode(&payload[..])) {
            prop_assert!(is_stricter(malformed), "{malformed}");
        }
    }
}

#[test]
fn a_batch_is_used_again() {
    let keys = Keys::new(WANTED.map(str::as_bytes));
    let span = Theirs { trace_id: vec![1; 16], name: "first".into(), ..Theirs::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let data = TracesData { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] };
    let mut batch = Batch::default();
    for _ in 0..2 {
        decode(&data.encode_to_vec(), &keys, &mut batch).expect("valid");
        assert_eq!((batch.resources.len(), batch.scopes.len(), batch.spans.len()), (1, 1, 1));
    }
    decode(b"\x0a\xff", &keys, &mut batch).expect_err("truncated");
    decode(&[], &keys, &mut batch).expect("nothing is a message");
    assert!(batch.spans.is_empty());
}

#[test]
fn foreign_bytes_are_refused() {
    // JSON, and Jaeger's protobuf span, whose field 1 is bytes as well but not a message.
    assert!(read(br#"{"resourceSpans":[]}"#).is_err());
    assert_eq!(read(&[0x12, 0x01, b'x']).unwrap_err(), Malformed::Foreign);
    assert_eq!(read(&[0x0b, 0x0c]).unwrap_err(), Malformed::WireType(3));
}

#[test]
fn values_nested_without_end_cost_no_stack() {
    // A list in a list in a list, 15,000 deep: prost refuses it, here it is only carried.
    let mut value = Vec::new();
    for _ in 0..15_000 {
        for tag in [0x0a, 0x2a] {
            let mut outer = vec![tag];
            wire::put_varint(&mut outer, value.len() as u64);
            outer.append(&mut value);
            value = outer;
        }
    }
    let put = |tag: u8, body: &[u8]| {
        let mut field = vec![tag];
        wire::put_varint(&mut field, body.len() as u64);
        field.extend(body);
        field
    };
    let attribute = [put(0x0a, b"a"), put(0x12, &value)].concat();
    let span = [put(0x0a, &[1; 16]), put(0x4a, &attribute)].concat();
    let payload = put(0x0a, &put(0x12, &put(0x12, &span)));
    assert_eq!(read(&payload).expect("accepted").found.len(), 1);
}
