//! The shop's traffic, and what is made of it where another kind is asked for.

use prost::Message;
use tailwater::generate::{
    Shape, Trace, Traffic,
    otlp::{self, KeyValue},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 14.5 spans a trace, on average.
    Shop,
    /// 14 of the shop's traces in one: 203 spans.
    Long,
    /// 10 kB more on each span.
    Wide,
    /// The roots alone.
    Single,
}

const SEED: u64 = 7;
/// Of record time, at least, and so many that all of it comes in as many seconds: what is held for 30 s is everything then, of the
/// Collector, which reads as fast as it can, and of us.
const SPANS_PER_SECOND: f64 = 40_000.0;
const SECONDS: f64 = 21.75;
const JOINED: usize = 14;
const WIDTH: usize = 10_000;

// === impl Kind ===

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Shop => "14.5 spans a trace",
            Self::Long => "203 spans a trace",
            Self::Wide => "14.5 spans a trace, of 10 kB each",
            Self::Single => "one-span traces",
        }
    }

    /// Traces of this many spans together, about, in the order of their starts.
    pub fn traces(self, spans: usize) -> Box<dyn Iterator<Item = Trace>> {
        let spans_per_second = SPANS_PER_SECOND.max(spans as f64 / SECONDS);
        let shape = Shape { spans_per_second, ..Shape::default() };
        let shops = (spans as f64 / Shape::SPANS_PER_TRACE) as usize;
        match self {
            Self::Shop => Box::new(Traffic::new(SEED, shape).take(shops)),
            Self::Long => {
                // As many of the long traces are kept as of the short.
                let share = |share: f64| share / JOINED as f64;
                let shape = Shape {
                    error_share: share(shape.error_share),
                    root_5xx_share: share(shape.root_5xx_share),
                    slow_share: share(shape.slow_share),
                    health_share: 0.0,
                    ..shape
                };
                let mut traffic = Traffic::new(SEED, shape);
                let long = move || join(traffic.by_ref().take(JOINED).collect());
                Box::new(std::iter::repeat_with(long).take(shops / JOINED))
            }
            Self::Wide => {
                let mut rng = fastrand::Rng::with_seed(SEED);
                Box::new(Traffic::new(SEED, shape).take(shops).map(move |trace| widen(&mut rng, trace)))
            }
            Self::Single => {
                let shape = Shape { spans_per_second: spans_per_second * Shape::SPANS_PER_TRACE, ..shape };
                Box::new(Traffic::new(SEED, shape).take(spans).map(root))
            }
        }
    }

    /// Milliseconds after the Unix epoch at which the traffic begins.
    pub fn epoch() -> u64 {
        Shape::default().epoch_ns / 1_000_000
    }
}

/// All of them under the first one's id.
fn join(mut traces: Vec<Trace>) -> Trace {
    let mut joined = traces.remove(0);
    for trace in traces {
        let later = trace.start_ms - joined.start_ms;
        joined.spans.extend(trace.spans.into_iter().map(|mut span| {
            let mut decoded = otlp::Span::decode(&span.bytes[..]).expect("a span");
            decoded.trace_id = joined.id.0.to_vec();
            span.bytes = decoded.encode_to_vec();
            span.delay_ms += later;
            span
        }));
    }
    joined.spans.sort_by_key(|span| span.delay_ms);
    joined
}

/// An attribute more on each span: fields of one message may stand apart, so it is put behind the others.
fn widen(rng: &mut fastrand::Rng, mut trace: Trace) -> Trace {
    for span in &mut trace.spans {
        let text: String = std::iter::repeat_with(|| rng.alphanumeric()).take(WIDTH).collect();
        let more = otlp::Span { attributes: vec![KeyValue::new("payload", text)], ..otlp::Span::default() };
        span.bytes.extend(more.encode_to_vec());
    }
    trace
}

fn root(mut trace: Trace) -> Trace {
    trace.spans.retain(|span| otlp::Span::decode(&span.bytes[..]).expect("a span").parent_span_id.is_empty());
    trace
}
