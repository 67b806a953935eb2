//! Limits, which depend on clocks: the Collector's follow its own, ours the records'. So records come at the pace of their times.
//!
//! The Collector decides once a second, and what it lets through of that second is what came first in it. We decide each 1.024 s of
//! record time. So over a stretch of traffic both are off by what one decision lets through, at each end, and by no more.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant, SystemTime},
};

use fastrand::Rng;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, TracesData};
use prost::Message;

use super::ours;
use crate::support::{
    collector::Collector,
    kafka::{Record, Topic, kafka},
    oracle::{TraceId, hex},
    seed::seed,
    spans::{EPOCH, failed, heavy, span},
    witness,
};

/// What is kept of which traces of one kind, by one processor, in which measure.
struct Limit {
    processor: &'static str,
    of: fn(&Sent) -> bool,
    measure: fn(&Sent) -> f64,
    /// A second, and how many seconds may be saved up.
    per_second: f64,
    burst: f64,
}

/// A trace.
struct Sent {
    /// Seconds after the first.
    at: f64,
    spans: f64,
    bytes: f64,
    has_error: bool,
}

const PROCESSORS: &[(&str, &str)] = &[
    ("spans", "[{ name: p, type: rate_limiting, rate_limiting: { spans_per_second: 400 } }]"),
    ("burst", "[{ name: p, type: rate_limiting, rate_limiting: { spans_per_second: 300, burst_capacity: 1200 } }]"),
    ("bytes", "[{ name: p, type: bytes_limiting, bytes_limiting: { bytes_per_second: 100000 } }]"),
    (
        "and",
        "[{ name: p, type: and, and: { and_sub_policy: [{ name: a, type: status_code, status_code: { status_codes: [ERROR] } }, { name: b, type: rate_limiting, rate_limiting: { spans_per_second: 150 } }] } }]",
    ),
    // Errors come to more than they may have, and do not get what the others have.
    (
        "composite",
        "[{ name: p, type: composite, composite: { max_total_spans_per_second: 400, policy_order: [errors, rest], composite_sub_policy: [{ name: errors, type: status_code, status_code: { status_codes: [ERROR] } }, { name: rest, type: always_sample }], rate_allocation: [{ policy: errors, percent: 25 }, { policy: rest, percent: 75 }] } }]",
    ),
];

const fn spans(sent: &Sent) -> f64 {
    sent.spans
}

const fn any(_: &Sent) -> bool {
    true
}

const LIMITS: &[Limit] = &[
    Limit { processor: "spans", of: any, measure: spans, per_second: 400.0, burst: 2.0 },
    Limit { processor: "burst", of: any, measure: spans, per_second: 300.0, burst: 4.0 },
    Limit { processor: "bytes", of: any, measure: |sent| sent.bytes, per_second: 100_000.0, burst: 2.0 },
    Limit { processor: "and", of: |sent| sent.has_error, measure: spans, per_second: 150.0, burst: 2.0 },
    Limit { processor: "composite", of: |sent| sent.has_error, measure: spans, per_second: 100.0, burst: 1.0 },
    Limit { processor: "composite", of: |sent| !sent.has_error, measure: spans, per_second: 300.0, burst: 1.0 },
];

const PARTITIONS: i32 = 2;
const TRACES_PER_SECOND: f64 = 500.0;
const SECONDS: usize = 20;
const TRACES: usize = 10_000;
/// What is saved up at the beginning is used up by then, and what is held at the end is not yet decided: between them, limits are
/// all there is.
const STEADY: std::ops::Range<f64> = 6.0..18.0;
/// Of these 12 s, one decision of the Collector's at each end. Of ours it is less, but the topic is read at once, one partition ahead
/// of the other, and until they have heard of each other their shares are not quite of one whole.
const ERROR: f64 = 2.0 / 12.0;

#[test]
fn imported_limits_let_through_what_the_collectors_do() {
    let input = kafka().topic("collector-limits-spans", PARTITIONS);
    let collector = Collector::of(&input, "collector-limits", "1s", PROCESSORS);
    let mut theirs = collector.start();
    let mut rng = Rng::with_seed(seed());
    // When this one is read, those that follow are read as they come.
    input.produce([trace(&mut rng, now(), 0.0).1]);
    theirs.reads(&input);
    let sent = send(&input, &mut rng);
    let theirs = theirs.end(&input);
    let ours = ours(&input, &collector, PROCESSORS);
    for limit in LIMITS {
        let Limit { processor, per_second, burst, .. } = *limit;
        for (who, kept) in [("the Collector", &theirs[processor]), ("we", &ours[processor])] {
            let kept = kept.iter().filter_map(|id| sent.get(id)).filter(|sent| (limit.of)(sent));
            let kept: Vec<(f64, f64)> = kept.map(|sent| (sent.at, (limit.measure)(sent))).collect();
            let sum = |from: f64, to: f64| {
                kept.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, measure)| measure).sum::<f64>()
            };
            let share = sum(STEADY.start, STEADY.end) / per_second / (STEADY.end - STEADY.start);
            println!("{processor}: {who} kept {:.1} % of the limit of {per_second} a second", share * 100.0);
            assert!((share - 1.0).abs() <= ERROR, "{processor}: {who} kept {share} of the limit of {per_second}");
            for (from, to) in (0..SECONDS).flat_map(|from| (from + 1..=SECONDS).map(move |to| (from, to))) {
                // What was saved up, what comes meanwhile, and what a decision at each end has.
                let most = per_second * ((to - from) as f64 + burst + 1.024) * 1.03;
                let sum = sum(from as f64, to as f64);
                assert!(sum <= most, "{processor}: from {from} s to {to} s {who} kept {sum}, and {most} is possible");
            }
        }
    }
    witness("collector-limits");
}

/// At a steady pace, each when its time has come.
fn send(input: &Topic, rng: &mut Rng) -> BTreeMap<TraceId, Sent> {
    const PORTION: Duration = Duration::from_millis(50);
    let (sender, start, first) = (input.sender(), Instant::now(), now());
    let due = || ((start.elapsed().as_secs_f64() * TRACES_PER_SECOND) as usize).min(TRACES);
    let mut all = BTreeMap::new();
    while all.len() < TRACES {
        let mut portion = Vec::new();
        for number in all.len()..due() {
            let at = number as f64 / TRACES_PER_SECOND;
            let (id, record, sent) = trace(rng, first + (at * 1000.0) as i64, at);
            all.insert(id, sent);
            portion.push(record);
        }
        sender.send(portion);
        thread::sleep(PORTION);
    }
    all
}

/// One in four has an error. It comes whole, with nothing around its spans that only the Collector would count.
fn trace(rng: &mut Rng, at_ms: i64, at: f64) -> (TraceId, Record, Sent) {
    let (id, spans, has_error) = (rng.u128(1..).to_be_bytes(), rng.u64(1..=4), rng.u8(..4) == 0);
    let written = (1..=spans).map(|number| {
        let span = heavy(span(id, number, u64::from(number > 1), at_ms - EPOCH), rng.usize(50..250));
        if has_error && number == spans { failed(span) } else { span }
    });
    let scope_spans = vec![ScopeSpans { spans: written.collect(), ..ScopeSpans::default() }];
    let bytes = scope_spans[0].spans.iter().map(Message::encoded_len).sum::<usize>();
    let value = TracesData { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] };
    let record = Record {
        partition: i32::from(id[15]) % PARTITIONS,
        timestamp: at_ms,
        key: Some(hex(&id).into_bytes()),
        value: value.encode_to_vec(),
        ..Record::default()
    };
    (id, record, Sent { at, spans: spans as f64, bytes: bytes as f64, has_error })
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292,000,000")
}
