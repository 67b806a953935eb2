//! OTLP/JSON as the OpenTelemetry Collector writes it.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message;
use tailwater::generate::Shape;

use crate::support::{
    collector::Collector,
    kafka::{Record, Topic, kafka},
    oracle::{Expected, TraceId, hex},
    processor::Job,
    seed::seed,
    traffic::Shop,
    witness,
};

const TRACES: usize = 4_000;
const PARTITIONS: i32 = 4;

#[test]
fn what_the_collector_writes_in_json_is_sampled() {
    let sent = kafka().topic("json-sent", PARTITIONS);
    sent.produce(Shop { seed: seed(), traces: TRACES, shape: Shape::default() }.keyed(PARTITIONS));
    let expected = Expected::of(&[&sent]);
    let input = kafka().topic("json-spans", PARTITIONS);
    let job = Job { inputs: vec!["{ name: json-spans, encoding: otlp_json }".to_owned()], ..Job::named("json") };
    Collector::relay(&sent, &input, "json-relay", "otlp_json").start().stop(&sent);
    assert!(input.records().iter().all(|record| record.value.starts_with(b"{\"resourceSpans\"")));

    let output = kafka().topic(&job.output, PARTITIONS);
    let ended = job.run_until_end();
    assert!(ended.said.contains("records are their trace ids"), "{}", ended.said);
    let kept = spans(&output);
    let mut meant = spans(&sent);
    meant.retain(|trace, _| expected.kept.contains_key(trace));
    assert!(meant.len() > TRACES / 100);
    assert!(kept.keys().eq(meant.keys()), "{} traces are out, {} are to be", kept.len(), meant.len());
    kept.iter().for_each(|(trace, spans)| assert_eq!(spans, &meant[trace]));

    let trace = hex(expected.kept.keys().next().expect("some are kept"));
    let told = job.ask("explain", &[&trace]);
    assert!(told.status.success() && told.said.contains("kept by"), "{}", told.said);
    witness("json");
}

/// By trace, as the Collector writes them, and as they were before they were stamped.
fn spans(topic: &Topic) -> BTreeMap<TraceId, Vec<String>> {
    let mut traces: BTreeMap<TraceId, Vec<String>> = BTreeMap::new();
    topic.each(|Record { value, .. }| {
        for resource in TracesData::decode(&value[..]).expect("OTLP").resource_spans {
            for scope in resource.scope_spans {
                for span in scope.spans {
                    let trace = span.trace_id[..].try_into().expect("16 bytes");
                    let around = (&resource.resource, &resource.schema_url, &scope.scope, &scope.schema_url);
                    traces.entry(trace).or_default().push(format!("{around:?} {:?}", plain(span)));
                }
            }
        }
    });
    traces.values_mut().for_each(|spans| spans.sort_unstable());
    traces
}

fn plain(mut span: Span) -> Span {
    // An empty one, where there was none.
    span.status.get_or_insert_default();
    span.attributes.retain(|attribute| !attribute.key.starts_with("tailwater."));
    if span.trace_state.starts_with("ot=th:") {
        span.trace_state.clear();
    }
    span
}
