//! Real traces of the Online Boutique, where they are at hand: they are a third party's, and no part of this project.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData},
};
use prost::Message;

use crate::support::{kafka::Record, spans::EPOCH};

/// One record a trace, all of the same second; None where the traces are not there.
pub fn boutique(partitions: i32) -> Option<Vec<Record>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/nezha/online-boutique/trace");
    let mut files: Vec<_> = fs::read_dir(folder).ok()?.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut traces: BTreeMap<String, Vec<ResourceSpans>> = BTreeMap::new();
    for file in files {
        let unpacked = Command::new("gzip").arg("-dc").arg(&file).output().expect("gzip starts");
        assert!(unpacked.status.success(), "{}", file.display());
        for line in str::from_utf8(&unpacked.stdout).expect("text").lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            traces.entry(fields[0].to_owned()).or_default().push(span(&fields));
        }
    }
    let record = |(id, resource_spans): (String, Vec<ResourceSpans>)| Record {
        partition: i32::from(bytes(&id)[0]) % partitions,
        timestamp: EPOCH,
        key: Some(id.into_bytes()),
        value: TracesData { resource_spans }.encode_to_vec(),
        ..Record::default()
    };
    Some(traces.into_iter().map(record).collect())
}

/// `TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration`
fn span(fields: &[&str]) -> ResourceSpans {
    let [trace, id, parent, pod, name, start, end] = fields[..7] else { panic!("eight fields: {fields:?}") };
    // The service, and what Kubernetes adds to its name.
    let service = pod.rsplitn(3, '-').last().unwrap_or(pod);
    let service = Some(AnyValue { value: Some(Value::StringValue(service.to_owned())) });
    let service = KeyValue { key: "service.name".to_owned(), value: service, ..KeyValue::default() };
    let span = Span {
        trace_id: bytes(trace),
        span_id: bytes(id),
        parent_span_id: if parent == "root" { Vec::new() } else { bytes(parent) },
        name: name.to_owned(),
        start_time_unix_nano: start.parse().expect("a time"),
        end_time_unix_nano: end.parse().expect("a time"),
        ..Span::default()
    };
    ResourceSpans {
        resource: Some(Resource { attributes: vec![service], ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}
