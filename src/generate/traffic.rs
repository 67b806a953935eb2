//! A seeded, endless stream of traces.

use std::{ops::Range, sync::Arc};

use fastrand::Rng;

use super::{
    workflow::{What, Workflow},
    write,
};
use crate::model::TraceId;

/// Traces in the order of their starts. The same seed and shape give the same traces, byte for byte.
pub struct Traffic {
    rng: Rng,
    shape: Shape,
    origins: Vec<Arc<Origin>>,
    /// ms after the epoch.
    now: f64,
}

/// What the traffic is made of. Shares are of the traces that users set off.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// When the first trace may start, ns after the Unix epoch.
    pub epoch_ns: u64,
    /// Arrivals are a Poisson process of this rate over [`Shape::SPANS_PER_TRACE`].
    pub spans_per_second: f64,
    /// Of all traces: single spans on `/healthz`.
    pub health_share: f64,
    /// A span that failed: half of them never reach the root.
    pub error_share: f64,
    /// A root that answered 5xx without a status of ERROR anywhere.
    pub root_5xx_share: f64,
    pub slow_share: f64,
    /// How long a slow trace stands still, ms: it lasts at least `start`, at most `end + calm_ms`.
    pub slow_ms: Range<u64>,
    /// No other trace lasts longer, ms.
    pub calm_ms: u64,
    /// Traces with one span that comes long after the others.
    pub late_share: f64,
    /// How long after, ms.
    pub late_ms: Range<u64>,
}

/// A trace: its spans in the order in which they are sent.
#[derive(Clone, Debug)]
pub struct Trace {
    pub id: TraceId,
    /// ms after the epoch.
    pub start_ms: u64,
    pub spans: Vec<Span>,
    pub truth: Truth,
}

#[derive(Clone, Debug)]
pub struct Span {
    pub id: u64,
    pub origin: Arc<Origin>,
    /// An encoded OTLP `Span`.
    pub bytes: Vec<u8>,
    /// When its agent sends it, ms after the trace's start: when it has ended, and a little later.
    pub delay_ms: u64,
}

/// A pod, as the bytes around its spans say.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    pub index: usize,
    pub service: &'static str,
    /// An encoded OTLP `Resource`.
    pub resource: Vec<u8>,
    /// An encoded OTLP `InstrumentationScope`.
    pub scope: Vec<u8>,
    pub schema_url: &'static str,
}

/// What is true of a trace, as the generator decided it.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// R: the low 56 bits of the id.
    pub randomness: u64,
    /// A span has status ERROR.
    pub error: bool,
    /// A span has `http.response.status_code` ≥ 500.
    pub http_5xx: bool,
    pub health_check: bool,
    /// Last end − first start.
    pub duration_ns: u64,
    pub root_service: &'static str,
    /// As many as the trace has, in its order.
    pub spans: Vec<SpanTruth>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanTruth {
    pub id: u64,
    /// As [`super::Carried::fingerprint`].
    pub fingerprint: u64,
    /// It comes long after the others, and nothing about the trace depends on it.
    pub late: bool,
    /// No span has it as its parent, and nothing about the trace depends on it.
    pub spare: bool,
}

// === impl Shape ===

impl Shape {
    /// The mean, as the shop and `health_share` of the default make it; a test holds it.
    pub const SPANS_PER_TRACE: f64 = 14.5;
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            // 2026-01-01T00:00:00Z.
            epoch_ns: 1_767_225_600_000_000_000,
            spans_per_second: 10_000.0,
            health_share: 0.08,
            error_share: 0.012,
            root_5xx_share: 0.003,
            slow_share: 0.01,
            slow_ms: 5_200..12_000,
            calm_ms: 1_500,
            late_share: 0.02,
            late_ms: 1_500..4_000,
        }
    }
}

// === impl Traffic ===

impl Traffic {
    pub fn new(seed: u64, shape: Shape) -> Self {
        let mut rng = Rng::with_seed(seed);
        let origins = write::origins(&mut rng).into_iter().map(Arc::new).collect();
        Self { rng, shape, origins, now: 0.0 }
    }

    fn arrival_ms(&mut self) -> u64 {
        let mean_gap = 1000.0 * Shape::SPANS_PER_TRACE / self.shape.spans_per_second;
        self.now -= mean_gap * (1.0 - self.rng.f64()).ln();
        self.now as u64
    }

    /// The workflow, and which of its spans is late.
    fn workflow(&mut self) -> (Workflow, Option<usize>) {
        let (rng, shape) = (&mut self.rng, &self.shape);
        if rng.f64() < shape.health_share {
            let mut check = Workflow::health_check(rng);
            if rng.f64() < shape.error_share {
                check.fail(rng, true);
            }
            return (check, None);
        }
        let mut workflow = Workflow::of_a_user(rng);
        workflow.calm(shape.calm_ms * 1000);
        if rng.f64() < shape.slow_share {
            let pause = rng.u64(shape.slow_ms.start * 1000..shape.slow_ms.end * 1000);
            workflow.stall(rng, pause);
        }
        if rng.f64() < shape.error_share {
            let reaches_the_root = rng.bool();
            workflow.fail(rng, reaches_the_root);
        } else if rng.f64() < shape.root_5xx_share {
            workflow.spans[0].http_status = Some(rng.u16(500..=504));
        } else if rng.f64() < 0.02 {
            workflow.spans[0].http_status = Some(404);
        }
        let late = (rng.f64() < shape.late_share).then(|| workflow.spare_leaf(rng)).flatten();
        (workflow, late)
    }

    /// When each span is sent, ms after the start.
    fn delays(&mut self, workflow: &Workflow, late: Option<usize>) -> Vec<u64> {
        // An agent's batch timer, as short as a sidecar's.
        let mut delays: Vec<u64> = workflow.spans.iter().map(|span| span.end / 1000 + self.rng.u64(1..=60)).collect();
        if let Some(late) = late {
            let others = delays.iter().enumerate().filter(|(at, _)| *at != late).map(|(_, delay)| *delay);
            delays[late] = others.max().unwrap_or(0) + self.rng.u64(self.shape.late_ms.clone());
        }
        delays
    }
}

impl Iterator for Traffic {
    type Item = Trace;

    fn next(&mut self) -> Option<Trace> {
        let start_ms = self.arrival_ms();
        let (workflow, late) = self.workflow();
        let delays = self.delays(&workflow, late);
        let rng = &mut self.rng;
        let low = rng.u64(..);
        let id = TraceId((u128::from(rng.u64(1..)) << 64 | u128::from(low)).to_be_bytes());
        let ids: Vec<u64> = workflow.spans.iter().map(|_| rng.u64(1..)).collect();

        let mut parents = vec![false; ids.len()];
        workflow.spans.iter().filter_map(|span| span.parent).for_each(|parent| parents[parent] = true);
        let duration = workflow.duration();
        let epoch_ns = self.shape.epoch_ns + start_ms * 1_000_000;
        let mut spans: Vec<(Span, SpanTruth)> = Vec::with_capacity(ids.len());
        for (at, draft) in workflow.spans.iter().enumerate() {
            let parent = draft.parent.map(|parent| ids[parent]);
            let bytes = write::span(rng, draft, (&id.0, ids[at], parent), epoch_ns);
            let origin = &self.origins[draft.service * super::workflow::PODS + draft.pod];
            let decides = draft.failed || draft.http_status.unwrap_or(0) >= 500 || draft.end == duration;
            let truth = SpanTruth {
                id: ids[at],
                fingerprint: write::mark(origin, &bytes),
                late: late == Some(at),
                spare: !parents[at] && !decides && draft.parent.is_some(),
            };
            spans.push((Span { id: ids[at], origin: origin.clone(), bytes, delay_ms: delays[at] }, truth));
        }
        spans.sort_by_key(|(span, _)| span.delay_ms);
        let root = &workflow.spans[0];
        let truth = Truth {
            randomness: low & ((1 << 56) - 1),
            error: workflow.spans.iter().any(|span| span.failed),
            http_5xx: workflow.spans.iter().any(|span| span.http_status.unwrap_or(0) >= 500),
            health_check: matches!(root.what, What::HealthCheck),
            duration_ns: duration * 1000,
            root_service: super::shop::SERVICES[root.service].name,
            spans: spans.iter().map(|(_, truth)| *truth).collect(),
        };
        Some(Trace { id, start_ms, spans: spans.into_iter().map(|(span, _)| span).collect(), truth })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::generate::otlp;

    fn traces(count: usize) -> Vec<Trace> {
        Traffic::new(11, Shape::default()).take(count).collect()
    }

    #[test]
    fn a_seed_is_a_stream() {
        let (one, two) = (traces(300), traces(300));
        assert!(one.iter().zip(&two).all(|(a, b)| a.id == b.id && a.truth == b.truth && a.start_ms == b.start_ms));
        assert_ne!(one[0].id, Traffic::new(12, Shape::default()).next().unwrap().id);
    }

    #[test]
    fn the_numbers_are_those_of_the_shape() {
        let shape = Shape::default();
        let traces = traces(30_000);
        let all = traces.len() as f64;
        let share = |which: &dyn Fn(&Trace) -> bool| traces.iter().filter(|trace| which(trace)).count() as f64 / all;
        let spans: usize = traces.iter().map(|trace| trace.spans.len()).sum();
        let mean = spans as f64 / all;
        assert!((mean - Shape::SPANS_PER_TRACE).abs() < 0.1, "{mean} spans a trace");
        let bytes: usize = traces.iter().flat_map(|trace| &trace.spans).map(|span| span.bytes.len()).sum();
        let size = bytes as f64 / spans as f64;
        assert!((270.0..340.0).contains(&size), "{size} B a span");
        assert!((0.010..0.014).contains(&share(&|t| t.truth.error)));
        assert!((0.002..0.004).contains(&share(&|t| t.truth.http_5xx && !t.truth.error)));
        assert!((0.002..0.008).contains(&share(&|t| t.truth.error && !t.truth.http_5xx)), "errors that stay deep");
        assert!((0.007..0.011).contains(&share(&|t| t.truth.duration_ns > 5_000_000_000)));
        assert!((0.072..0.088).contains(&share(&|t| t.truth.health_check && t.spans.len() == 1)));
        assert!((0.014..0.020).contains(&share(&|t| t.truth.spans.iter().any(|span| span.late))));
        assert!((0.0090..0.0110).contains(&share(&|t| t.truth.randomness >= ((1u64 << 56) / 100) * 99)));
        let between = shape.calm_ms * 1_000_000..shape.slow_ms.start * 1_000_000;
        assert!(traces.iter().all(|t| t.truth.duration_ns <= between.start || t.truth.duration_ns >= between.end));
        let rate = spans as f64 / (traces.last().unwrap().start_ms as f64 / 1000.0);
        assert!((rate / shape.spans_per_second - 1.0).abs() < 0.05, "{rate} spans/s");
    }

    #[test]
    fn the_bytes_say_what_the_truth_says() {
        for trace in traces(2_000) {
            let spans: Vec<otlp::Span> =
                trace.spans.iter().map(|span| otlp::Span::decode(&span.bytes[..]).unwrap()).collect();
            let status = |span: &otlp::Span| {
                span.attributes.iter().any(|entry| {
                    entry.key == "http.response.status_code"
                        && matches!(entry.value.as_ref().unwrap().value, Some(otlp::Value::Int(500..)))
                })
            };
            let code = i32::from(otlp::Code::Error);
            assert_eq!(
                trace.truth.error,
                spans.iter().any(|span| span.status.as_ref().is_some_and(|s| s.code == code))
            );
            assert_eq!(trace.truth.http_5xx, spans.iter().any(status));
            let start = spans.iter().map(|span| span.start_time_unix_nano).min().unwrap();
            let end = spans.iter().map(|span| span.end_time_unix_nano).max().unwrap();
            assert_eq!(trace.truth.duration_ns, end - start);
            assert_eq!(trace.truth.randomness, trace.id.randomness().0);
            assert_eq!(spans.iter().filter(|span| span.parent_span_id.is_empty()).count(), 1);
            for (span, truth) in spans.iter().zip(&trace.truth.spans) {
                assert_eq!(span.span_id, truth.id.to_be_bytes());
                assert_eq!(span.trace_id, trace.id.0);
                let parent = &span.parent_span_id;
                assert!(parent.is_empty() || spans.iter().any(|other| other.span_id == *parent));
                assert!(!truth.late || truth.spare);
            }
        }
    }
}
