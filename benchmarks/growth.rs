//! How the cost of a span in the core, and the memory of one that is held, grow with what is held, and with the size of traces:
//! `cargo bench --bench growth`, or a part of it: `cargo bench --bench growth -- long`.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/parts.rs"]
mod parts;
#[path = "support/plot.rs"]
mod plot;
mod support;

use std::{collections::BTreeSet, hint::black_box};

use cpu::cpu_time;
use plot::{Axis, BLUE, Figure, GREEN, Mark, Panel, Series};
use prost::Message;
use support::{
    Feed, Form, feed, policies,
    records::{Record, spans},
};
use tailwater::{
    assemble::Completion,
    engine::Settings,
    generate::{self, Shape, Trace, Traffic, otlp},
    recall::Terms,
};

/// In a steady state.
struct Cost {
    /// Of CPU time, a span.
    ns: f64,
    spans_held: u64,
    /// A held span: of the records it came in, and of all that is allocated, remembered verdicts and ticks too.
    payload: f64,
    bytes: f64,
}

const SEED: u64 = 7;
const HELD: [u64; 4] = [10_000, 100_000, 1_000_000, 5_000_000];
const SIZES: [usize; 6] = [1, 5, 15, 50, 200, 500];
/// Spans that are measured, at least.
const MEASURED: u64 = 400_000;
/// Spans that are made before they are taken in, and timed together.
const TOGETHER: u64 = 50_000;
/// Seconds until verdicts are forgotten as fast as they fall: a little more than the late window.
const FORGET: u64 = 12;
/// Seconds that each trace is held; of the traces of all sizes, and how many spans come in one.
const LONG_WAIT: u64 = 30;
const WAIT: u64 = 10;
/// Seconds after which a trace is decided that has its root, and spans a second: 100,000 and 1,000,000 are held.
const QUIET: u64 = 5;
const LONG_RATES: [f64; 2] = [14_000.0, 140_000.0];
const SPANS_PER_SECOND: f64 = 10_000.0;
/// Bytes for all that is held, and bytes for little more than what is known of it: there, payload is given up.
const AMPLE: usize = 8 << 30;
const SCARCE: usize = 256 << 20;
/// Odd, so that no two numbers below 2^64 times it are the same: the golden ratio's.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;

fn main() {
    println!(
        "{:<24}{:>14}{:>14}{:>12}{:>14}{:>14}",
        "records", "", "spans held", "CPU ns/span", "payload B", "memory B"
    );
    parts::run(&[("grow", grow), ("given-up", given_up), ("long", some_long)]);
}

fn grow() {
    let held = Form::ALL.map(|form| {
        let cost = |held: &u64| {
            let traffic = Traffic::new(SEED, Shape { spans_per_second: (held / LONG_WAIT) as f64, ..Shape::default() });
            (*held as f64, cost(form, &held.to_string(), traffic, all_for(LONG_WAIT), AMPLE))
        };
        HELD.iter().map(cost).collect::<Vec<_>>()
    });
    let sizes = Form::ALL.map(|form| {
        let cost = |size: &usize| {
            let traffic = Traffic::new(SEED, Shape { spans_per_second: SPANS_PER_SECOND, ..Shape::default() });
            (*size as f64, cost(form, &format!("{size} a trace"), resized(traffic, *size), all_for(WAIT), AMPLE))
        };
        SIZES.iter().map(cost).collect::<Vec<_>>()
    });
    let panels = [
        panel("CPU, by spans held", Axis::log("spans held", &[10e3, 100e3, 1e6, 10e6]), &held, NS),
        panel("CPU, by the size of traces", Axis::log("spans a trace", &[1.0, 10.0, 100.0, 1000.0]), &sizes, NS),
        panel("memory, by spans held", Axis::log("spans held", &[10e3, 100e3, 1e6, 10e6]), &held, BYTES),
        panel("memory, by the size of traces", Axis::log("spans a trace", &[1.0, 10.0, 100.0, 1000.0]), &sizes, BYTES),
    ];
    Figure { name: "growth", columns: 2, height: 240, panels: panels.into() }.save();
}

fn given_up() {
    for form in Form::ALL {
        let traffic = Traffic::new(SEED, Shape { spans_per_second: (HELD[3] / LONG_WAIT) as f64, ..Shape::default() });
        cost(form, "given up", traffic, all_for(LONG_WAIT), SCARCE);
    }
}

/// One of 20 traces waits for as long as one may.
fn some_long() {
    for form in Form::ALL {
        for spans_per_second in LONG_RATES {
            let traffic = || long(Traffic::new(SEED, Shape { spans_per_second, ..Shape::default() }));
            let completion = Completion { quiet: QUIET * 1000, ..all_for(LONG_WAIT) };
            let mixed = traces_a_record(form, traffic());
            cost(form, &format!("some long, {mixed:.0}"), traffic(), completion, AMPLE);
        }
    }
}

/// What is drawn of a cost: what it is, up to where, and it.
type Drawn = (&'static str, &'static [f64], fn(&Cost) -> f64);

const NS: Drawn = ("ns a span", &[0.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0], |cost| cost.ns);
const BYTES: Drawn = ("bytes a span held", &[0.0, 250.0, 500.0, 750.0, 1000.0], |cost| cost.bytes);

fn panel(title: &str, x: Axis, costs: &[Vec<(f64, Cost)>; 2], (y, ticks, of): Drawn) -> Panel {
    let marks = [(BLUE, Mark::Circles), (GREEN, Mark::Triangles)];
    let series = Form::ALL.into_iter().zip(costs).zip(marks).map(|((form, costs), (color, mark))| {
        Series::new(form.name(), color, mark, costs.iter().map(|(x, cost)| (*x, of(cost))))
    });
    Panel { title: title.to_owned(), x, y: Axis::linear(y, ticks), series: series.collect() }
}

/// All traces are held for so many seconds.
fn all_for(wait: u64) -> Completion {
    Completion { quiet: wait * 1000 - 1, completeness: None, max_wait: wait * 1000, max_trace_bytes: 16 << 20 }
}

/// Where so much fits. What is kept of what was given up is not read again.
fn cost(
    form: Form,
    name: &str,
    traces: impl Iterator<Item = Trace> + 'static,
    completion: Completion,
    buffer: usize,
) -> Cost {
    let recall = Some(Terms::FOREVER);
    let settings = Settings { completion, buffer, recall, ..feed::settings(form) };
    let mut feed = Feed::new(settings, policies::five());
    let mut records = form.records(traces);
    let warm = completion.max_wait + FORGET * 1000;
    let (mut ns, mut measured, mut payload, mut taken) = (0, 0, 0, 0);
    while measured < MEASURED {
        let next = together(&mut records);
        let is_warm = next[0].at_ms >= warm;
        let start = cpu_time();
        feed.take(black_box(&next));
        if is_warm {
            ns += cpu_time() - start;
            measured += spans(&next);
        }
        taken += spans(&next);
        payload += next.iter().map(|record| record.value.len()).sum::<usize>();
    }
    let held = feed.engine.spans_held();
    let cost = Cost {
        ns: ns as f64 / measured as f64,
        spans_held: held,
        payload: payload as f64 / taken as f64,
        bytes: feed.engine.bytes_held() as f64 / held as f64,
    };
    let Cost { ns, spans_held, payload, bytes } = cost;
    println!("{:<24}{name:>14}{spans_held:>14}{ns:>12.0}{payload:>14.0}{bytes:>14.0}", form.name());
    cost
}

/// One of 20 traces never gets its root, and so waits for as long as one may.
fn long(traffic: Traffic) -> impl Iterator<Item = Trace> {
    traffic.zip(1_u64..).map(|(mut trace, number)| {
        if number.is_multiple_of(20) {
            let is_root = |bytes: &[u8]| otlp::Span::decode(bytes).expect("a span").parent_span_id.is_empty();
            trace.spans.retain(|span| !is_root(&span.bytes));
        }
        trace
    })
}

/// How many traces a record mixes, on average, once there are as many under way as ever.
fn traces_a_record(form: Form, traces: impl Iterator<Item = Trace> + 'static) -> f64 {
    const RECORDS: usize = 1000;
    let records = form.cut(traces).skip_while(|record| record.at_ms < WAIT * 1000).take(RECORDS);
    let distinct = |record: generate::Record| record.spans.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>().len();
    records.map(distinct).sum::<usize>() as f64 / RECORDS as f64
}

fn together(records: &mut impl Iterator<Item = Record>) -> Vec<Record> {
    let (mut next, mut spans) = (Vec::new(), 0);
    while spans < TOGETHER {
        let record = records.next().expect("traffic has no end");
        spans += u64::from(record.spans);
        next.push(record);
    }
    next
}

/// The same spans, so many in each trace.
fn resized(traffic: Traffic, size: usize) -> impl Iterator<Item = Trace> {
    let mut spans = traffic.flat_map(|trace| {
        let Trace { id, start_ms, spans, truth } = trace;
        spans.into_iter().map(move |span| (id, start_ms, truth.clone(), span))
    });
    let mut count = 0_u64;
    std::iter::from_fn(move || {
        let together: Vec<_> = spans.by_ref().take(size).collect();
        let (mut id, start_ms, truth, _) = together.first()?.clone();
        // Several of these may begin in one of those.
        count += 1;
        id.0[..8].copy_from_slice(&count.wrapping_mul(SCATTER).to_be_bytes());
        let mut trace = Trace { id, start_ms, spans: Vec::new(), truth };
        for (_, start, _, mut span) in together {
            let mut decoded = otlp::Span::decode(&span.bytes[..]).expect("a span");
            decoded.trace_id = id.0.to_vec();
            span.bytes = decoded.encode_to_vec();
            span.delay_ms += start - start_ms;
            trace.spans.push(span);
        }
        trace.spans.sort_by_key(|span| span.delay_ms);
        Some(trace)
    })
}
