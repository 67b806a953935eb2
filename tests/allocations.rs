//! What the core asks of the allocator: nothing in the long run, and never more than it says (I3).

#[path = "../benchmarks/support/mod.rs"]
mod support;

use std::sync::Arc;

use prost::Message;
use support::{Counting, Feed, Form, Records, counting, feed, policies, records::spans};
use tailwater::{
    assemble::Completion,
    decide::PolicySet,
    engine::Settings,
    generate::otlp::{KeyValue, Resource, ResourceSpans, ScopeSpans, Span, TracesData},
    limits,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BUFFER: usize = 16 << 20;
/// Of what is held, in per cent and in bytes: tables and pages are counted exactly, the heads of allocations are not, nor
/// is the scratch space of an ordinary record.
const TOLERANCE: (usize, usize) = (2, 64 << 10);

#[test]
fn keyed_records_cost_no_allocations() {
    costs_no_allocations(Form::Keyed, policies::five());
}

#[test]
fn batches_cost_no_allocations() {
    costs_no_allocations(Form::Batched, policies::five());
}

#[test]
fn a_hundred_policies_cost_no_allocations() {
    costs_no_allocations(Form::Batched, policies::hundred());
}

/// Also that what is said to be held is what is allocated, growing and grown.
fn costs_no_allocations(form: Form, policies: Arc<PolicySet>) {
    // Some hold times of 1 s, and the longest, before anything is measured.
    let records = Records::generate(form, 40);
    let completion = Completion { quiet: 1_000, completeness: None, max_wait: 10_000, max_trace_bytes: 1 << 20 };
    let mut watched = Watched::new(Settings { completion, ..feed::settings(form) }, policies);
    let (warm_up, measured) = records.split(15);
    watched.take(warm_up);
    let before = counting::counts().allocations;
    watched.take(measured);
    let allocations = counting::counts().allocations - before;
    let spans = spans(measured);
    assert!(spans >= 200_000, "{spans} spans");
    assert!(allocations as f64 <= spans as f64 * 0.01, "{allocations} allocations for {spans} spans");
    watched.finish();
}

#[test]
fn more_traffic_than_the_budget() {
    for form in Form::ALL {
        let traffic = Records::generate(form, 12);
        let mut watched = Watched::new(small(form), policies::five());
        watched.take(&traffic.records);
        // So small a one is needed for what the largest trace might become while it goes out, stamped: more than half of it.
        assert!(watched.fullest > BUFFER * 3 / 8, "the budget is used: {} bytes", watched.fullest);
        watched.finish();
    }
}

#[test]
fn all_of_it_kept() {
    for form in Form::ALL {
        let traffic = Records::generate(form, 8);
        let mut watched = Watched::new(small(form), policies::all());
        watched.take(&traffic.records);
        watched.finish();
    }
}

#[test]
fn a_huge_record() {
    let spans = |size: usize, traces: u64| {
        let count = (limits::RECORD_BYTES - 1_000) / (size + 60);
        record(0, (0..count as u64).map(|i| span(i % traces, i + 1, size)).collect())
    };
    let huge = [
        // One span, many spans of one trace, as many of a thousand traces, and spans that are all entry and no payload.
        record(0, vec![span(1, 1, limits::RECORD_BYTES - 1_000)]),
        spans(1_000, 1),
        spans(1_000, 1_000),
        spans(0, u64::MAX),
        spans(0, 1),
    ];
    let traffic = Records::generate(Form::Keyed, 5);
    for value in &huge {
        assert!(value.len() <= limits::RECORD_BYTES && value.len() > limits::RECORD_BYTES / 2, "{}", value.len());
        for policies in [policies::five(), policies::all()] {
            let mut watched = Watched::new(small(Form::Keyed), policies);
            watched.take(&traffic.records);
            watched.ingest(10_000, value);
            watched.ingest(10_001, value);
            watched.finish();
        }
    }
}

#[test]
fn a_record_that_asks_for_more_than_it_is() {
    // Unknown fields around a million resources, each of which would carry them; a million scopes of nothing.
    let field = |tag: u8, body: &[u8]| [&[tag][..], &varint(body.len()), body].concat();
    let around = field(0x7a, &vec![0; 4 << 20]);
    let resources = [0x0a, 0].repeat(1 << 20);
    for value in [[around, resources].concat(), field(0x0a, &[0x12, 0].repeat(1 << 20))] {
        let before = counting::counts().live;
        counting::reset_peak();
        let mut feed = Feed::new(small(Form::Keyed), policies::all());
        feed.ingest(0, 0, &value);
        let peak = counting::counts().peak - before;
        assert!(peak <= 2 * limits::RECORD_BYTES as isize, "{peak} bytes for a record of {}", value.len());
        feed.finish();
        assert_eq!(feed.engine.stats().rejected_records, 1);
    }
}

fn varint(value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    tailwater::decode::wire::put_varint(&mut out, value as u64);
    out
}

#[test]
fn a_huge_trace() {
    // 48 MiB of one trace, in records of 100 kB.
    let values: Vec<_> = (0..480).map(|i| record(0, (0..100).map(|j| span(1, i * 100 + j, 1_000)).collect())).collect();
    for policies in [policies::five(), policies::all()] {
        let mut watched = Watched::new(small(Form::Keyed), policies);
        values.iter().zip(0..).for_each(|(value, at_ms)| watched.ingest(at_ms, value));
        watched.finish();
    }
}

#[test]
fn a_resource_for_every_record() {
    let values: Vec<_> = (0..40_000).map(|i| record(i, vec![span(i + 1, i + 1, 100)])).collect();
    let mut watched = Watched::new(small(Form::Keyed), policies::hundred());
    values.iter().zip(0..).for_each(|(value, at_ms)| watched.ingest(at_ms, value));
    watched.finish();
}

/// The least budget, and traces that wait long.
fn small(form: Form) -> Settings {
    let completion = Completion { quiet: 60_000, completeness: None, max_wait: 3_600_000, max_trace_bytes: BUFFER };
    Settings { completion, late_window: 600_000, buffer: BUFFER, tick_bytes: BUFFER / 8, ..feed::settings(form) }
}

/// A record of one resource, the `pod`th.
fn record(pod: u64, spans: Vec<Span>) -> Vec<u8> {
    let attributes =
        vec![KeyValue::new("service.name", "till"), KeyValue::new("k8s.pod.name", format!("till-{pod:032}"))];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    TracesData { resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }] }
        .encode_to_vec()
}

/// A span that never becomes a whole trace, with `size` bytes of name.
fn span(trace: u64, id: u64, size: usize) -> Span {
    Span {
        trace_id: (u128::from(trace) + 1).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: u64::MAX.to_be_bytes().to_vec(),
        name: "x".repeat(size),
        ..Span::default()
    }
}

/// An engine whose word is checked after every record against what the allocator says.
struct Watched {
    feed: Feed,
    settings: Settings,
    /// What the thread held before.
    before: isize,
    fullest: usize,
}

impl Watched {
    fn new(settings: Settings, policies: Arc<PolicySet>) -> Self {
        let before = counting::counts().live;
        counting::reset_peak();
        Self { feed: Feed::new(settings, policies), settings, before, fullest: 0 }
    }

    fn take(&mut self, records: &[support::records::Record]) {
        for record in records {
            self.feed.push(record);
            self.check();
        }
    }

    fn ingest(&mut self, at_ms: u64, value: &[u8]) {
        self.feed.ingest(0, at_ms, value);
        self.check();
    }

    fn finish(mut self) {
        self.feed.finish();
        self.check();
        assert_eq!(self.feed.engine.stats().lost(self.feed.engine.spans_held()), 0);
    }

    fn check(&mut self) {
        let counts = counting::counts();
        let (said, buffer) = (self.feed.engine.bytes_held(), self.settings.buffer);
        let [live, peak] = [counts.live, counts.peak].map(|bytes| (bytes - self.before) as usize);
        let (percent, bytes) = TOLERANCE;
        let tolerance = live * percent / 100 + bytes;
        assert!(said.abs_diff(live) <= tolerance, "{said} bytes are said to be held, {live} are allocated");
        assert!(said <= buffer, "{said} bytes are held, {buffer} may be");
        assert!(peak <= buffer + tolerance, "{peak} bytes were allocated at once, {buffer} may be");
        self.fullest = self.fullest.max(said);
    }
}
