//! The traces as they were, and which of them a fault has touched.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use tailwater::generate::otlp;

use super::nezha::{self, Fault};

pub struct Trace {
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds from its start to its last end.
    pub duration: u64,
    spans: Vec<Span>,
    /// The fault in whose window it began, by its place.
    pub fault: Option<usize>,
    /// It took longer than 99 of 100 normal traces of its shape, or no normal one has its shape.
    pub visible: bool,
}

struct Span {
    id: u64,
    parent: Option<u64>,
    service: String,
    name: String,
    start: u64,
    end: u64,
}

/// Nanoseconds after a fault was put in for which traces are those of its window. What is at hand ends within 127 s of a fault and begins
/// again after five minutes, so any time in between is the same.
const WINDOW: u64 = 180_000_000_000;

/// All traces that are at hand, in the order of time; None where there are none.
pub fn traces(faults: &[Fault]) -> Option<Vec<Trace>> {
    let mut spans: BTreeMap<String, BTreeMap<u64, Span>> = BTreeMap::new();
    for rows in nezha::minutes()? {
        for row in rows.lines() {
            let (trace, span) = span(row).expect("a span");
            // Some rows stand in the files of two minutes.
            spans.entry(trace).or_default().insert(span.id, span);
        }
    }
    let mut traces: Vec<Trace> = spans.into_values().map(|spans| Trace::of(spans, faults)).collect();
    traces.sort_by_key(|trace| trace.start);
    find_visible(&mut traces);
    Some(traces)
}

fn span(row: &str) -> Option<(String, Span)> {
    let [trace, id, parent, pod, name, start, end, ..] = row.split(',').collect::<Vec<_>>()[..] else { return None };
    let number = |hex: &str| u64::from_str_radix(hex, 16).ok();
    let parent = if parent == "root" { None } else { Some(number(parent)?) };
    let (service, name) = (nezha::service(pod).to_owned(), name.to_owned());
    let span = Span { id: number(id)?, parent, service, name, start: start.parse().ok()?, end: end.parse().ok()? };
    Some((trace.to_owned(), span))
}

/// By an exact sort of the normal traces of each shape, which no sampler sees.
fn find_visible(traces: &mut [Trace]) {
    let shapes: Vec<String> = traces.iter().map(Trace::shape).collect();
    let mut normal: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (trace, shape) in traces.iter().zip(&shapes).filter(|(trace, _)| trace.fault.is_none()) {
        normal.entry(shape).or_default().push(trace.duration);
    }
    normal.values_mut().for_each(|durations| durations.sort_unstable());
    for (trace, shape) in traces.iter_mut().zip(&shapes) {
        let longest = normal.get(&**shape).map(|durations| durations[durations.len() * 99 / 100]);
        trace.visible = longest.is_none_or(|longest| trace.duration > longest);
    }
}

// === impl Trace ===

impl Trace {
    fn of(spans: BTreeMap<u64, Span>, faults: &[Fault]) -> Self {
        let start = spans.values().map(|span| span.start).min().expect("a span");
        let end = spans.values().map(|span| span.end).max().expect("a span");
        let fault = faults.iter().position(|fault| (fault.at..fault.at + WINDOW).contains(&start));
        Self { start, duration: end - start, spans: spans.into_values().collect(), fault, visible: false }
    }

    /// Who calls whom; calls of the same shape under one span count once.
    fn shape(&self) -> String {
        let mut under: BTreeMap<Option<u64>, Vec<&Span>> = BTreeMap::new();
        let ids: BTreeSet<u64> = self.spans.iter().map(|span| span.id).collect();
        for span in &self.spans {
            under.entry(span.parent.filter(|parent| ids.contains(parent))).or_default().push(span);
        }
        shape(&under, None)
    }

    /// As OTLP: with another id, beginning at another time, and stretched.
    pub fn encode(&self, id: u128, start: u64, stretch: f64) -> Vec<u8> {
        let mut services: BTreeMap<&str, Vec<otlp::Span>> = BTreeMap::new();
        let at = |time: u64| start + ((time - self.start) as f64 * stretch) as u64;
        for span in &self.spans {
            services.entry(&span.service).or_default().push(otlp::Span {
                trace_id: id.to_be_bytes().to_vec(),
                span_id: span.id.to_be_bytes().to_vec(),
                parent_span_id: span.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
                name: span.name.clone(),
                start_time_unix_nano: at(span.start),
                end_time_unix_nano: at(span.end),
                ..otlp::Span::default()
            });
        }
        let resource_spans = services.into_iter().map(|(service, spans)| {
            let attributes = vec![otlp::KeyValue::new("service.name", service)];
            let resource = Some(otlp::Resource { attributes, ..otlp::Resource::default() });
            let scope_spans = vec![otlp::ScopeSpans { spans, ..otlp::ScopeSpans::default() }];
            otlp::ResourceSpans { resource, scope_spans, ..otlp::ResourceSpans::default() }
        });
        otlp::TracesData { resource_spans: resource_spans.collect() }.encode_to_vec()
    }
}

fn shape(under: &BTreeMap<Option<u64>, Vec<&Span>>, parent: Option<u64>) -> String {
    let calls = under.get(&parent).into_iter().flatten();
    let shapes: BTreeSet<String> =
        calls.map(|span| format!("{} {}({})", span.service, span.name, shape(under, Some(span.id)))).collect();
    shapes.into_iter().collect()
}
