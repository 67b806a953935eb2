//! Drafts put down as OTLP, with the attributes that instrumentation libraries give.
//!
//! Source of the names: OpenTelemetry semantic conventions 1.37.

use fastrand::Rng;
use prost::Message;

use super::{
    envelope::fingerprint,
    otlp::{Code, Event, KeyValue, Kind, Resource, Scope, Span, Status},
    shop::{Operation, Protocol, Query, SERVICES},
    traffic::Origin,
    workflow::{Draft, PODS, What},
};

/// Where every pod's spans come from, at `service * PODS + pod`.
pub fn origins(rng: &mut Rng) -> Vec<Origin> {
    (0..SERVICES.len() * PODS).map(|index| origin(rng, index)).collect()
}

/// An encoded span. `ids` are the trace's, the span's and the parent's; `epoch_ns` is when the workflow began.
pub fn span(rng: &mut Rng, draft: &Draft, ids: (&[u8; 16], u64, Option<u64>), epoch_ns: u64) -> Vec<u8> {
    let (trace, id, parent) = ids;
    let end = epoch_ns + draft.end * 1000;
    let (name, kind) = name_and_kind(&draft.what);
    let remote = matches!(draft.what, What::Serve(_) | What::Consume(_));
    Span {
        trace_id: trace.to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
        name,
        kind: kind.into(),
        start_time_unix_nano: epoch_ns + draft.start * 1000,
        end_time_unix_nano: end,
        attributes: attributes(rng, draft, parent.is_none()),
        events: if draft.failed { vec![exception(end)] } else { Vec::new() },
        status: draft.failed.then(|| Status { message: "deadline exceeded".to_owned(), code: Code::Error.into() }),
        flags: 0x101 | if remote && parent.is_some() { 0x200 } else { 0 },
        ..Span::default()
    }
    .encode_to_vec()
}

/// The fingerprint of a span sent from an origin.
pub fn mark(origin: &Origin, span: &[u8]) -> u64 {
    fingerprint([&origin.resource, origin.schema_url.as_bytes(), &origin.scope, b"", span])
}

fn origin(rng: &mut Rng, index: usize) -> Origin {
    let service = &SERVICES[index / PODS];
    let pod = format!("{}-{:08x}-{:05x}", service.name, rng.u32(..), rng.u32(..1 << 20));
    let resource = Resource {
        attributes: vec![
            KeyValue::new("service.name", service.name),
            KeyValue::new("service.namespace", "shop"),
            KeyValue::new("service.version", service.version),
            KeyValue::new("deployment.environment.name", "production"),
            KeyValue::new("telemetry.sdk.name", "opentelemetry"),
            KeyValue::new("telemetry.sdk.language", service.language),
            KeyValue::new("k8s.cluster.name", "eu-central-1a"),
            KeyValue::new("k8s.namespace.name", "shop"),
            KeyValue::new("k8s.node.name", format!("node-{:02}", rng.u8(..24))),
            KeyValue::new("k8s.pod.name", pod),
        ],
        dropped_attributes_count: 0,
    };
    let scope = Scope {
        name: format!("instrumentation/{}", service.language),
        version: "0.58.0".to_owned(),
        ..Scope::default()
    };
    Origin {
        index,
        service: service.name,
        resource: resource.encode_to_vec(),
        scope: scope.encode_to_vec(),
        schema_url: "https://opentelemetry.io/schemas/1.37.0",
    }
}

fn name_and_kind(what: &What) -> (String, Kind) {
    match what {
        What::HealthCheck => {
            let (method, route) = what.route().unwrap_or_default();
            (format!("{method} {route}"), Kind::Server)
        }
        What::Serve(operation) => (operation_name(operation), Kind::Server),
        What::Ask(Operation { protocol: Protocol::Http { method, .. }, .. }) => ((*method).to_owned(), Kind::Client),
        What::Ask(operation) => (operation_name(operation), Kind::Client),
        What::Query(query) if query.collection.is_empty() => (query.operation.to_owned(), Kind::Client),
        What::Query(query) => (format!("{} {}", query.operation, query.collection), Kind::Client),
        What::Step(name) => ((*name).to_owned(), Kind::Internal),
        What::Publish(operation) => (format!("send {}", operation_name(operation)), Kind::Producer),
        What::Consume(operation) => (format!("process {}", operation_name(operation)), Kind::Consumer),
    }
}

fn operation_name(operation: &Operation) -> String {
    match operation.protocol {
        Protocol::Http { method, route } => format!("{method} {route}"),
        Protocol::Grpc { service, method } => format!("{service}/{method}"),
        Protocol::Topic(topic) => topic.to_owned(),
    }
}

fn attributes(rng: &mut Rng, draft: &Draft, root: bool) -> Vec<KeyValue> {
    let mut list = Vec::with_capacity(10);
    match draft.what {
        What::HealthCheck => served(&mut list, draft),
        What::Serve(operation) => {
            served(&mut list, draft);
            if root {
                list.push(KeyValue::new("tenant", format!("tenant-{:02}", skewed(rng, 40))));
                list.push(KeyValue::new(
                    "user_agent.original",
                    "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/145.0",
                ));
            }
            remote_call(&mut list, operation, draft.failed);
        }
        What::Ask(operation) => {
            if let (Some((method, route)), Some(status)) = (draft.what.route(), draft.http_status) {
                let server = &SERVICES[operation.service];
                list.push(KeyValue::new("http.request.method", method));
                list.push(KeyValue::new("url.full", format!("http://{}.shop.svc:{}{route}", server.name, server.port)));
                list.push(KeyValue::new("http.response.status_code", i64::from(status)));
            }
            address(&mut list, &SERVICES[operation.service]);
            remote_call(&mut list, operation, draft.failed);
        }
        What::Query(query) => asked(&mut list, query),
        What::Step(name) => {
            list.push(KeyValue::new("code.function.name", format!("shop.{}.{}", SERVICES[draft.service].name, name)));
            list.push(KeyValue::new("code.line.number", rng.i64(20..900)));
            list.push(KeyValue::new("thread.name", format!("worker-{}", rng.u8(..16))));
            list.push(KeyValue::new("items", rng.i64(1..60)));
        }
        What::Publish(operation) | What::Consume(operation) => {
            let sends = matches!(draft.what, What::Publish(_));
            list.push(KeyValue::new("messaging.system", "kafka"));
            list.push(KeyValue::new("messaging.destination.name", operation_name(operation)));
            list.push(KeyValue::new("messaging.operation.type", if sends { "send" } else { "process" }));
            list.push(KeyValue::new("messaging.destination.partition.id", rng.u8(..12).to_string()));
            list.push(KeyValue::new("messaging.message.id", format!("{:016x}", rng.u64(..))));
        }
    }
    list.push(KeyValue::new("thread.id", rng.i64(1..200)));
    list
}

fn served(list: &mut Vec<KeyValue>, draft: &Draft) {
    if let (Some((method, route)), Some(status)) = (draft.what.route(), draft.http_status) {
        list.push(KeyValue::new("http.request.method", method));
        list.push(KeyValue::new("http.route", route));
        list.push(KeyValue::new("url.path", route));
        list.push(KeyValue::new("url.scheme", "http"));
        list.push(KeyValue::new("http.response.status_code", i64::from(status)));
        list.push(KeyValue::new("network.protocol.version", "1.1"));
    }
    address(list, &SERVICES[draft.service]);
}

fn address(list: &mut Vec<KeyValue>, server: &super::shop::Service) {
    list.push(KeyValue::new("server.address", format!("{}.shop.svc.cluster.local", server.name)));
    list.push(KeyValue::new("server.port", i64::from(server.port)));
}

fn remote_call(list: &mut Vec<KeyValue>, operation: &Operation, failed: bool) {
    if let Protocol::Grpc { service, method } = operation.protocol {
        list.push(KeyValue::new("rpc.system", "grpc"));
        list.push(KeyValue::new("rpc.service", service));
        list.push(KeyValue::new("rpc.method", method));
        // 4: DEADLINE_EXCEEDED.
        list.push(KeyValue::new("rpc.grpc.status_code", if failed { 4 } else { 0 }));
    }
}

fn asked(list: &mut Vec<KeyValue>, query: &Query) {
    list.push(KeyValue::new("db.system", query.system));
    list.push(KeyValue::new("db.namespace", query.namespace));
    list.push(KeyValue::new("db.operation.name", query.operation));
    if !query.collection.is_empty() {
        list.push(KeyValue::new("db.collection.name", query.collection));
    }
    list.push(KeyValue::new("db.query.text", query.text));
    list.push(KeyValue::new("server.address", format!("{}.data.svc.cluster.local", query.server)));
    list.push(KeyValue::new("server.port", i64::from(query.port)));
}

fn exception(time_unix_nano: u64) -> Event {
    Event {
        time_unix_nano,
        name: "exception".to_owned(),
        attributes: vec![
            KeyValue::new("exception.type", "TimeoutError"),
            KeyValue::new("exception.message", "no answer within the deadline"),
        ],
        dropped_attributes_count: 0,
    }
}

/// A few of `bound` are common and most are rare.
fn skewed(rng: &mut Rng, bound: u64) -> u64 {
    let u = rng.f64();
    (u * u * u * bound as f64) as u64
}
