//! The core as its driver sees it.

mod ceilings;
mod follow;
mod model;
mod output;
mod recall;
mod reload;
mod restart;
mod samplers;
mod stamp;
mod waits;

use std::{collections::BTreeMap, iter};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as Otlp, Status, TracesData},
};
use prost::Message;

use super::*;
use crate::{
    decide::Part,
    decode::{self, Batch, Keys},
    diagnostic::{Diagnostics, Source},
    limits,
    model::Threshold,
    tick::Watermark,
    yaml,
};

const ERRORS: &str = "policies: [ { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always } ]";
const ALL: &str = "policies: []\notherwise: keep";

/// A late window longer than any history here: nothing is forgotten, so each trace has one verdict for good.
const FOREVER: u64 = 1 << 40;

fn policies(text: &str) -> Arc<PolicySet> {
    rooted(text, None)
}

/// With a condition on what counts as a root.
fn rooted(text: &str, root: Option<&str>) -> Arc<PolicySet> {
    let mut diagnostics = Diagnostics::default();
    let mut parse = |text: &str| {
        yaml::parse(Arc::new(Source { name: "policies.yaml".into(), text: text.into() }), &mut diagnostics)
            .unwrap_or_else(|| panic!("{text}"))
    };
    let (file, root) = (parse(text), root.map(&mut parse));
    let parts: Vec<_> = [Part::File(&file)].into_iter().chain(root.as_ref().map(Part::Root)).collect();
    let set = PolicySet::compile(&parts, &mut diagnostics);
    Arc::new(set.unwrap_or_else(|| panic!("{diagnostics}")))
}

fn settings(keying: Keying) -> Settings {
    Settings {
        keying,
        completion: Completion { quiet: 1000, completeness: None, max_wait: 10_000, max_trace_bytes: 1 << 20 },
        late_window: 60_000,
        past: Past::Decide,
        buffer: 64 << 20,
        tick_bytes: 1 << 20,
        output_record_bytes: 1 << 20,
        stamps: Stamps::NONE,
        recall: None,
    }
}

/// A span as tests speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spec {
    trace: u8,
    id: u64,
    /// 0 for a root.
    parent: u64,
    running: bool,
    error: bool,
    /// Bytes of its name.
    size: usize,
}

/// An ended root without error.
const ROOT: Spec = Spec { trace: 1, id: 1, parent: 0, running: false, error: false, size: 0 };
const CHILD: Spec = Spec { id: 2, parent: 1, ..ROOT };

fn of_trace(trace: u8) -> TraceId {
    TraceId([trace; 16])
}

fn otlp(span: &Spec) -> Otlp {
    Otlp {
        trace_id: vec![span.trace; 16],
        span_id: span.id.to_be_bytes().to_vec(),
        parent_span_id: if span.parent == 0 { Vec::new() } else { span.parent.to_be_bytes().to_vec() },
        name: "n".repeat(span.size),
        start_time_unix_nano: 1_000 + span.id,
        end_time_unix_nano: if span.running { 0 } else { 2_000 },
        status: span.error.then(|| Status { code: 2, ..Status::default() }),
        ..Otlp::default()
    }
}

/// A record of one service.
fn record_of(service: &str, spans: Vec<Otlp>) -> Vec<u8> {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(service.to_owned())) });
    let attributes = vec![KeyValue { key: "service.name".into(), value, ..KeyValue::default() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    TracesData { resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }] }
        .encode_to_vec()
}

fn record(spans: &[Spec]) -> Vec<u8> {
    record_of("shop", spans.iter().map(otlp).collect())
}

/// An engine with its output taken out as a driver would.
struct Rig {
    engine: Engine,
    /// What was given, where it can be recalled.
    log: BTreeMap<(u32, i64), Vec<u8>>,
    /// Trace and spans, as raw bytes, of each record of the output.
    kept: Vec<(TraceId, Vec<Vec<u8>>)>,
    /// Offset, reason and bytes.
    dead: Vec<(i64, String, Vec<u8>)>,
    decided: Vec<Decision>,
    watermarks: Vec<Watermark>,
}

impl Rig {
    fn new(settings: Settings, text: &str) -> Self {
        let engine = Engine::new(settings, policies(text));
        Self {
            engine,
            log: BTreeMap::new(),
            kept: Vec::new(),
            dead: Vec::new(),
            decided: Vec::new(),
            watermarks: Vec::new(),
        }
    }

    /// One partition, keyed.
    fn keyed(text: &str) -> Self {
        Self::within(settings(Keying::Keyed).buffer, text)
    }

    /// The same, with a budget of so many bytes.
    fn within(buffer: usize, text: &str) -> Self {
        let mut rig = Self::new(Settings { buffer, ..settings(Keying::Keyed) }, text);
        rig.engine.assign(Start::at(0));
        rig
    }

    fn cut(&mut self) {
        let mut tick = self.engine.cut();
        self.recall(&mut tick);
        for kept in &tick.kept {
            let spans = raw_spans(&tick.bytes[kept.bytes.clone()]);
            assert_eq!(spans.len(), kept.spans as usize);
            self.kept.push((kept.trace, spans));
        }
        for dead in &tick.dead {
            self.dead.push((dead.offset, dead.reason.to_string(), tick.bytes[dead.bytes.clone()].to_vec()));
        }
        self.decided.extend(tick.decisions.iter().map(|(_, decision)| decision));
        self.watermarks.clone_from(&tick.watermarks);
        assert_eq!(self.engine.stats().lost(self.engine.spans_held()), 0, "while a tick is out");
        self.engine.settle(tick, &[]);
        self.assert_conserved();
    }

    /// As whoever brings a tick out does.
    fn recall(&self, tick: &mut Tick) {
        let Settings { output_record_bytes, recall, .. } = self.engine.settings;
        let Some(Terms { partial, .. }) = recall.filter(|_| !tick.recall.is_empty()) else { return };
        for (partition, offsets) in tick.recall.begin() {
            for offset in offsets {
                if let Some(payload) = self.log.get(&(partition, offset)) {
                    tick.recall.take(partition, offset, payload);
                }
            }
        }
        tick.fill(output_record_bytes, partial);
    }

    fn give(&mut self, partition: u32, offset: i64, time: i64, payload: Option<&[u8]>) {
        self.give_below(RecordTime::END, partition, offset, time, payload);
    }

    fn give_below(&mut self, ceiling: RecordTime, partition: u32, offset: i64, time: i64, payload: Option<&[u8]>) {
        if let (Some(payload), true) = (payload, self.engine.settings.recall.is_some()) {
            self.log.insert((partition, offset), payload.to_vec());
        }
        let record = Record { partition, offset, timestamp: Some(RecordTime(time)), headers: &(), payload };
        while self.engine.ingest(record, ceiling) == Err(Full) {
            self.assert_conserved();
            self.cut();
        }
        self.assert_conserved();
    }

    fn spans(&mut self, offset: i64, time: i64, spans: &[Spec]) {
        self.give(0, offset, time, Some(&record(spans)));
    }

    fn advance(&mut self) {
        while self.engine.advance() == Err(Full) {
            self.cut();
        }
        self.cut();
    }

    fn assert_conserved(&self) {
        assert_eq!(self.engine.stats().lost(self.engine.spans_held()), 0);
    }

    /// What was decided and how often.
    fn decisions(&self) -> BTreeMap<(bool, Reason), u64> {
        let mut decisions = BTreeMap::new();
        for (_, keep, reason, count) in self.engine.stats().decisions().filter(|&(.., count)| count > 0) {
            *decisions.entry((keep, reason)).or_default() += count;
        }
        decisions
    }

    /// What is out, by trace, the spans sorted.
    fn by_trace(&self) -> BTreeMap<TraceId, Vec<Vec<u8>>> {
        let mut traces = BTreeMap::<_, Vec<_>>::new();
        for (trace, spans) in &self.kept {
            traces.entry(*trace).or_default().extend(spans.iter().cloned());
        }
        traces.values_mut().for_each(|spans| spans.sort());
        traces
    }

    fn reasons(&self) -> Vec<&str> {
        self.dead.iter().map(|(_, reason, _)| &**reason).collect()
    }
}

fn raw_spans(payload: &[u8]) -> Vec<Vec<u8>> {
    let mut batch = Batch::default();
    decode::decode(payload, &Keys::new([]), &mut batch).expect("output is well-formed");
    batch.spans.iter().map(|span| span.bytes.of(payload).to_vec()).collect()
}

#[test]
fn bad_records_are_buried_and_the_stream_goes_on() {
    let mut rig = Rig::keyed(ALL);
    rig.give(0, 0, 0, None);
    rig.give(0, 1, 0, Some(b"\x0a\xff"));
    rig.give(0, 2, 0, Some(b"\x12\x01x"));
    rig.give(0, 3, 0, Some(&vec![0; limits::RECORD_BYTES + 1]));
    rig.spans(4, 0, &[ROOT]);
    rig.engine.finish(0);
    rig.advance();
    assert_eq!(
        rig.reasons(),
        [
            "the record has no value",
            "the bytes end inside a field",
            "no resource_spans, only unknown fields: this is not OTLP protobuf",
            "the record has 8388609 bytes, more than 8388608",
        ]
    );
    let bytes: Vec<_> = rig.dead.iter().map(|(offset, _, bytes)| (*offset, bytes.len())).collect();
    assert_eq!(bytes, [(0, 0), (1, 2), (2, 3), (3, 0)], "a record too large is a pointer");
    assert_eq!(rig.engine.stats().rejected_records, 4);
    assert_eq!(rig.kept.len(), 1);
    assert_eq!((rig.watermarks[0].offset, rig.watermarks[0].position), (5, 5));
}

#[test]
fn the_reason_of_a_dead_letter_counts() {
    let mut rig = Rig::keyed(ALL);
    rig.give(0, 0, 0, None);
    let borrowed = rig.engine.tick.size();
    rig.give(0, 1, 0, Some(&vec![0; limits::RECORD_BYTES + 1]));
    let reason = "the record has 8388609 bytes, more than 8388608".len();
    assert!(rig.engine.tick.size() >= 2 * borrowed + reason, "{}", rig.engine.tick.size());
    let allocated = rig.engine.tick.allocated() - rig.engine.tick.dead.capacity() * size_of::<crate::tick::Dead>();
    assert!(allocated >= reason, "{allocated}");
    rig.cut();
    rig.cut();
    assert_eq!(rig.engine.tick.size(), 0, "and goes with it");
}

#[test]
fn a_span_without_a_trace_is_buried_in_its_envelopes() {
    let mut rig = Rig::keyed(ALL);
    let zero = Otlp { trace_id: vec![0; 16], name: "zero".into(), ..Otlp::default() };
    let short = Otlp { trace_id: vec![1; 8], name: "short".into(), ..Otlp::default() };
    rig.give(0, 0, 0, Some(&record_of("shop", vec![zero.clone(), otlp(&ROOT), short.clone()])));
    rig.cut();
    assert_eq!(rig.reasons(), ["a span's trace id is all zero", "a span's trace id has 8 bytes, not 16"]);
    for ((_, _, bytes), span) in iter::zip(&rig.dead, [zero, short]) {
        assert_eq!(bytes, &record_of("shop", vec![span]));
    }
    assert_eq!((rig.engine.stats().received, rig.engine.stats().rejected, rig.engine.spans_held()), (3, 2, 1));
}

#[test]
fn a_complete_trace_goes_after_the_quiet_period() {
    let mut rig = Rig::keyed(ALL);
    rig.spans(0, 0, &[CHILD]);
    rig.engine.elapse(0, 500, RecordTime::END);
    rig.spans(1, 0, &[ROOT]);
    rig.engine.elapse(0, 1_035, RecordTime::END);
    rig.advance();
    assert_eq!(rig.engine.traces_held(), 1, "1500 is kept to 64 ms, rounded up: 1536");
    rig.engine.elapse(0, 1, RecordTime::END);
    rig.advance();
    assert_eq!(rig.decisions(), [((true, Reason::Structure), 1)].into());
    assert_eq!(rig.kept, [(of_trace(1), vec![otlp(&CHILD).encode_to_vec(), otlp(&ROOT).encode_to_vec()])]);
}

#[test]
fn what_acts_as_a_root_is_one() {
    let condition = "{ name: slow-gateway, when: root.service == \"gateway\" and trace.complete, keep: always }";
    let policies =
        rooted(&format!("policies: [{condition}]"), Some("'service == \"gateway\" and kind == SPAN_KIND_SERVER'"));
    let mut rig = Rig { engine: Engine::new(settings(Keying::Keyed), policies), ..Rig::keyed(ALL) };
    rig.engine.assign(Start::at(0));
    let server = |id, parent| Otlp { kind: 2, ..otlp(&Spec { id, parent, ..CHILD }) };
    // The true root, 9, never comes.
    rig.give(0, 0, 0, Some(&record_of("gateway", vec![server(1, 9), otlp(&Spec { id: 2, parent: 1, ..CHILD })])));
    rig.give(0, 1, 0, Some(&record_of("shop", vec![server(3, 2)])));
    rig.engine.elapse(0, 1_100, RecordTime::END);
    rig.advance();
    rig.cut();
    assert_eq!(rig.decisions(), [((true, Reason::Structure), 1)].into());
    // It comes first, and a span of another trace that acts as one does not make up for a parent that is missing.
    let of = |trace, span: Otlp| Otlp { trace_id: vec![trace; 16], ..span };
    rig.give(
        0,
        2,
        2_000,
        Some(&record_of("app", vec![of(2, otlp(&Spec { id: 9, ..ROOT })), of(3, otlp(&Spec { id: 9, ..ROOT }))])),
    );
    rig.give(
        0,
        3,
        2_000,
        Some(&record_of(
            "gateway",
            vec![
                of(2, server(1, 9)),
                of(3, server(1, 9)),
                of(3, server(2, 7)),
                of(3, otlp(&Spec { id: 4, parent: 8, ..CHILD })),
            ],
        )),
    );
    rig.engine.elapse(0, 2_000, RecordTime::END);
    rig.advance();
    rig.cut();
    assert_eq!(rig.decisions(), [((true, Reason::Structure), 2)].into(), "its root is the gateway's");
    rig.engine.elapse(0, 10_000, RecordTime::END);
    rig.advance();
    rig.cut();
    assert_eq!(rig.decisions()[&(false, Reason::MaxWait)], 1);
}

#[test]
fn structure_is_what_was_seen_of_the_whole_trace() {
    let text = "policies:
- { name: loop, when: 'siblings(service == \"db\") > 9', keep: always }
- { name: deep, when: trace.depth > 3 and trace.services > 1, keep: always }
- { name: swallowed, when: 'child_of(status.code == STATUS_CODE_ERROR, service == \"shop\") and calls(\"shop\", \"db\")', keep: always }
";
    let mut rig = Rig::keyed(text);
    let named = |name: &str, span: Otlp| Otlp { name: name.into(), ..span };
    let of = |trace, id, parent| Spec { trace, id, parent, ..ROOT };
    // 1 calls the same thing ten times, 2 two things five times each; 3 is deep; 4 fails below the shop, 5 in it.
    rig.spans(
        0,
        0,
        &[
            of(1, 1, 0),
            of(2, 1, 0),
            of(3, 1, 0),
            of(4, 1, 0),
            Spec { error: true, ..of(5, 1, 0) },
            of(3, 2, 1),
            of(3, 3, 2),
        ],
    );
    let calls = (2..12).flat_map(|id| {
        [(1, "select"), (2, if id % 2 == 0 { "select" } else { "insert" })]
            .map(|(trace, name)| named(name, otlp(&of(trace, id, 1))))
    });
    let rest = [otlp(&of(3, 4, 3)), otlp(&Spec { error: true, ..of(4, 2, 1) }), otlp(&of(5, 2, 1))];
    rig.give(0, 1, 0, Some(&record_of("db", calls.chain(rest).collect())));
    rig.engine.elapse(0, 20_000, RecordTime::END);
    rig.advance();
    rig.cut();
    let kept: Vec<_> = rig.by_trace().keys().map(|trace| trace.0[0]).collect();
    assert_eq!(kept, [1, 3, 4]);
}

#[test]
fn decisions_fall_in_the_order_of_deadline_and_id() {
    let mut rig = Rig::keyed(ALL);
    rig.spans(0, 0, &[Spec { trace: 3, ..CHILD }, Spec { trace: 9, ..ROOT }, Spec { trace: 2, ..CHILD }]);
    rig.spans(1, 0, &[Spec { trace: 5, ..ROOT }]);
    rig.engine.elapse(0, 100_000, RecordTime::END);
    rig.advance();
    let order: Vec<_> = rig.kept.iter().map(|(trace, _)| trace.0[0]).collect();
    assert_eq!(order, [5, 9, 2, 3]);
}

#[test]
fn a_long_wait_of_one_trace_does_not_hurry_or_delay_another() {
    let mut settings = settings(Keying::Keyed);
    settings.completion.max_wait = 600_000;
    let mut rig = Rig::new(settings, ALL);
    rig.engine.assign(Start::at(0));
    // Without a root it waits for ten minutes: far more than a round of the wheel.
    rig.spans(0, 0, &[CHILD]);
    rig.spans(1, 0, &[Spec { trace: 2, ..ROOT }]);
    rig.engine.elapse(0, 1_100, RecordTime::END);
    rig.advance();
    assert_eq!(rig.decisions(), [((true, Reason::Structure), 1)].into(), "after its quiet period, not a minute later");
    // Both alarms ring at once, and neither is complete: one has lost a parent, the other heard of a new span.
    rig.spans(2, 1_100, &[Spec { trace: 3, ..ROOT }, Spec { trace: 3, id: 3, parent: 7, ..ROOT }]);
    rig.spans(3, 1_100, &[Spec { trace: 4, ..ROOT }]);
    rig.engine.elapse(0, 500, RecordTime::END);
    rig.spans(4, 1_100, &[Spec { trace: 4, ..CHILD }]);
    rig.engine.elapse(0, 600, RecordTime::END);
    rig.advance();
    assert_eq!(rig.engine.traces_held(), 3, "not before its own quiet period");
    rig.engine.elapse(0, 500, RecordTime::END);
    rig.advance();
    assert_eq!(rig.engine.traces_held(), 2);
}

#[test]
fn alarms_that_ring_together_do_not_pull_each_other_ahead() {
    let mut settings = settings(Keying::Keyed);
    settings.completion.max_wait = 600_000;
    let mut rig = Rig::new(settings, ALL);
    rig.engine.assign(Start::at(0));
    let torn = Spec { trace: 1, id: 3, parent: 7, ..ROOT };
    rig.spans(0, 0, &[ROOT, torn, Spec { trace: 2, ..ROOT }]);
    rig.engine.elapse(0, 900, RecordTime::END);
    rig.spans(1, 0, &[Spec { trace: 2, ..CHILD }]);
    rig.engine.elapse(0, 200, RecordTime::END);
    rig.advance();
    assert_eq!(rig.engine.traces_held(), 2, "the second is quiet since 900 only");
}

#[test]
fn nothing_is_decided_before_a_clock_is_established() {
    // The first of all records is an hour ahead.
    let mut rig = Rig::keyed(ERRORS);
    rig.spans(0, 3_600_000, &[]);
    for offset in 1..14 {
        rig.spans(offset, offset * 3_000, &[Spec { trace: offset as u8, ..ROOT }]);
    }
    rig.cut();
    assert_eq!((rig.engine.traces_held(), rig.watermarks[0].clock), (13, None));
    rig.spans(14, 42_000, &[]);
    assert_eq!(rig.engine.traces_held(), 13, "the clock stands at 24 000, and the latest record is of 33 000");
    // A partition with fewer records has its clock where there are no more.
    for ended in [false, true] {
        let mut rig = Rig::keyed(ERRORS);
        rig.engine.assign(Start::at(0));
        rig.spans(0, 0, &[ROOT]);
        rig.spans(1, 3_000, &[]);
        rig.spans(2, 3_000, &[]);
        rig.advance();
        assert_eq!(rig.engine.traces_held(), 1);
        if ended {
            rig.engine.finish(0)
        } else {
            rig.engine.elapse(0, 1_100, RecordTime::END)
        }
        rig.advance();
        assert_eq!(rig.engine.traces_held(), 0);
    }
}

#[test]
fn late_spans_follow_the_verdict_until_it_is_forgotten() {
    let mut rig = Rig::keyed(ERRORS);
    rig.spans(0, 0, &[Spec { error: true, ..ROOT }, Spec { trace: 2, ..ROOT }]);
    rig.engine.elapse(0, 1_100, RecordTime::END);
    rig.advance();
    assert_eq!(rig.decisions(), [((true, Reason::Structure), 1), ((false, Reason::Structure), 1)].into());
    // One of the dropped trace stays out though it is an error: one verdict.
    rig.spans(1, 1_100, &[CHILD, Spec { trace: 2, error: true, ..CHILD }]);
    rig.cut();
    assert_eq!(rig.kept[1..], [(of_trace(1), vec![otlp(&CHILD).encode_to_vec()])]);
    assert_eq!((rig.engine.stats().late_kept, rig.engine.stats().late_dropped), (1, 1));
    rig.engine.elapse(0, 60_001, RecordTime::END);
    rig.advance();
    rig.spans(2, 1_100, &[Spec { trace: 2, error: true, ..ROOT }]);
    assert_eq!(rig.engine.traces_held(), 1, "forgotten, so decided anew");
    assert_eq!(rig.engine.stats().forgotten, 0, "in its time");
    rig.engine.finish(0);
    rig.advance();
    assert_eq!(rig.decisions()[&(true, Reason::Structure)], 2);
}

#[test]
fn a_lull_does_not_lengthen_the_memory() {
    let is_late = |wait: u64, after: u64| {
        let mut rig = Rig::keyed(ALL);
        rig.spans(0, 0, &[ROOT]);
        // Decided at 1024 at the latest, though time comes to tell of it only then.
        [wait, 60_000 - wait, after].into_iter().for_each(|ms| {
            rig.engine.elapse(0, ms, RecordTime::END);
            rig.advance();
        });
        rig.spans(1, 0, &[CHILD]);
        rig.engine.stats().late_kept == 1
    };
    for wait in [1_100, 50_000] {
        assert!(is_late(wait, 1_000) && !is_late(wait, 1_025));
    }
}

#[test]
fn partitions_that_remember_too_much_remember_equally_long() {
    let buffer = 16 << 20;
    let mut rig = Rig::new(Settings { buffer, late_window: 3_600_000, ..settings(Keying::Keyed) }, ERRORS);
    // One of them is half an hour behind, and has twice the traffic.
    let partitions = [(rig.engine.assign(Start::at(0)), 0, 400), (rig.engine.assign(Start::at(0)), 1_800_000, 200)];
    let span = |partition: u32, second: i64, n: u128| Otlp {
        trace_id: (1 << 100 | u128::from(partition) << 64 | (second as u128) << 32 | n).to_be_bytes().to_vec(),
        ..otlp(&ROOT)
    };
    for second in 0..300 {
        for (partition, start, count) in partitions {
            let spans = (0..count).map(|n| span(partition, second, n)).collect();
            rig.give(partition, second, start + second * 1_000, Some(&record_of("shop", spans)));
        }
        // What a restart would need is remembered: only what is committed can be forgotten, tick by tick.
        rig.cut();
    }
    assert!(rig.engine.stats().forgotten > 10_000, "{}", rig.engine.stats().forgotten);
    let [behind, ahead] = partitions.map(|(partition, start, _)| {
        (0..300).find(|&second| {
            let before = rig.engine.stats().late_dropped;
            let late = record_of("shop", vec![span(partition, second, 0)]);
            rig.give(partition, 300 + second, start + 300_000, Some(&late));
            rig.engine.stats().late_dropped > before
        })
    });
    let (behind, ahead) = (behind.expect("some are remembered"), ahead.expect("some are remembered"));
    assert!(behind.abs_diff(ahead) <= 2, "since {behind} and {ahead}");
}

#[test]
fn a_late_span_too_large_for_the_output_is_buried_as_a_pointer() {
    let mut rig = Rig::new(Settings { output_record_bytes: 200, ..settings(Keying::Keyed) }, ALL);
    rig.engine.assign(Start::at(0));
    rig.spans(0, 0, &[ROOT]);
    rig.engine.elapse(0, 1_100, RecordTime::END);
    rig.advance();
    rig.spans(1, 0, &[Spec { size: 300, ..CHILD }]);
    rig.cut();
    assert_eq!((rig.dead.len(), rig.dead[0].2.len()), (1, 0));
    assert!(rig.dead[0].1.contains("01010101010101010101010101010101"), "{}", rig.dead[0].1);
    assert_eq!((rig.engine.stats().rejected, rig.kept.len()), (1, 1));
}

#[test]
fn late_spans_of_a_record_go_out_together() {
    let mut rig = Rig::new(Settings { output_record_bytes: 200, ..settings(Keying::Keyed) }, ALL);
    rig.engine.assign(Start::at(0));
    rig.spans(0, 0, &[ROOT, Spec { trace: 2, ..ROOT }]);
    rig.engine.elapse(0, 1_100, RecordTime::END);
    rig.advance();
    rig.kept.clear();
    // Of two traces in turns; those of the second are too large for one record, and one of them for any.
    let late = |trace: u8, id: u64, size: usize| Spec { trace, id, size, ..CHILD };
    rig.spans(1, 0, &[late(2, 3, 70), late(1, 4, 0), late(2, 5, 300), late(2, 6, 70), late(1, 7, 0)]);
    rig.cut();
    let raw = |trace, ids: &[(u64, usize)]| {
        (of_trace(trace), ids.iter().map(|&(id, size)| otlp(&late(trace, id, size)).encode_to_vec()).collect())
    };
    assert_eq!(rig.kept, [raw(1, &[(4, 0), (7, 0)]), raw(2, &[(3, 70)]), raw(2, &[(6, 70)])]);
    assert_eq!((rig.dead.len(), rig.engine.stats().rejected, rig.engine.stats().late_kept), (1, 1, 5));
}

#[test]
fn one_record_makes_no_more_output_than_a_tick_takes() {
    let settings = Settings { tick_bytes: 300_000, output_record_bytes: 150_000, ..settings(Keying::Keyed) };
    let mut rig = Rig::new(settings, ALL);
    rig.engine.assign(Start::at(0));
    rig.spans(0, 0, &(1..=100).map(|trace| Spec { trace, ..ROOT }).collect::<Vec<_>>());
    rig.engine.elapse(0, 1_100, RecordTime::END);
    rig.advance();
    rig.kept.clear();
    // All of them late, or without a trace, and each to stand in a large envelope of its own.
    let service = "s".repeat(100_000);
    for bad in [false, true] {
        let spans = (1..=100)
            .map(|trace| Otlp { trace_id: vec![if bad { 0 } else { trace }; 16], ..otlp(&Spec { trace, ..CHILD }) });
        rig.give(0, 1 + i64::from(bad), 0, Some(&record_of(&service, spans.collect())));
        let size = rig.engine.tick.size();
        assert!(size <= 300_000 + 2 * 150_000, "{size}");
        let before = rig.dead.len();
        rig.cut();
        assert_eq!(rig.reasons().last(), Some(&letters::TOO_MANY));
        assert_eq!(rig.dead.len() - before, if bad { 6 } else { 1 });
    }
    assert_eq!((rig.kept.len(), rig.engine.stats().rejected), (5, 95 + 100));
}

#[test]
fn a_huge_trace_is_decided_by_size_and_its_later_spans_follow() {
    let mut settings = settings(Keying::Keyed);
    settings.completion.max_trace_bytes = 1_000;
    let mut rig = Rig::new(settings, ERRORS);
    rig.engine.assign(Start::at(0));
    let large = Spec { size: 600, error: true, ..CHILD };
    rig.spans(0, 0, &[large.clone(), Spec { id: 3, ..large.clone() }, Spec { id: 4, ..large }]);
    assert_eq!(rig.engine.traces_held(), 1, "the record is taken in as a whole");
    rig.spans(1, 0, &[ROOT]);
    assert_eq!(rig.engine.traces_held(), 0);
    rig.cut();
    assert_eq!(rig.decisions(), [((true, Reason::Size), 1)].into());
    assert_eq!(rig.kept.iter().map(|(_, spans)| spans.len()).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(rig.watermarks[0].offset, 2);
}

/// A resource for every span: what stands around spans is held, and written, as they are.
#[test]
fn a_trace_is_huge_by_its_resources_too() {
    let buffer = 16 << 20;
    let mut rig = Rig::within(buffer, ERRORS);
    for offset in 0..3_000_i64 {
        let span = otlp(&Spec { id: offset as u64 + 1, error: true, ..CHILD });
        rig.give(0, offset, 0, Some(&record_of(&format!("{offset:08000}"), vec![span])));
        assert!(rig.engine.bytes_held() <= buffer, "{} at {offset}", rig.engine.bytes_held());
    }
    rig.cut();
    assert_eq!(rig.decisions(), [((true, Reason::Size), 1)].into());
    // Two scopes that take turns are no more than two.
    let mut rig = Rig::within(buffer, ERRORS);
    for offset in 0..3_000_i64 {
        let span = otlp(&Spec { id: offset as u64 + 1, ..CHILD });
        rig.give(0, offset, 0, Some(&record_of(&format!("{:08000}", offset % 2), vec![span])));
    }
    assert_eq!(rig.engine.traces_held(), 1);
}

#[test]
fn overload_decides_the_oldest_and_keeps_the_budget() {
    for text in [ALL, ERRORS] {
        let buffer = 16 << 20;
        let settings = Settings { buffer, tick_bytes: 1 << 20, ..settings(Keying::Keyed) };
        let mut rig = Rig::new(settings, text);
        rig.engine.assign(Start::at(0));
        let mut most = 0;
        for offset in 0..1_500_i64 {
            let spans = (0..20_u64).map(|n| Otlp {
                trace_id: (u128::from(offset as u64) << 32 | u128::from(n) | 1 << 100).to_be_bytes().to_vec(),
                ..otlp(&Spec { size: 1_200, ..ROOT })
            });
            rig.give(0, offset, 0, Some(&record_of("shop", spans.collect())));
            most = most.max(rig.engine.bytes_held());
            assert!(rig.engine.bytes_held() <= buffer, "{} at {offset}", rig.engine.bytes_held());
        }
        assert!(most > buffer / 2, "the budget is used: {most}");
        let decided: u64 = rig.decisions().values().sum();
        assert_eq!(rig.decisions()[&(text == ALL, Reason::Memory)], decided);
        assert_eq!(decided + u64::from(rig.engine.traces_held()), 30_000);
    }
}

/// Nothing is decided of a partition that is behind: of a keyed input others make room for it, of an unkeyed one they wait.
#[test]
fn memory_that_is_full_after_a_restart_holds_back_what_is_new() {
    let buffer = 16 << 20;
    let spans = |offset: i64| {
        let span = |n: u64| Otlp {
            trace_id: (u128::from(offset as u64) << 32 | u128::from(n) | 1 << 100).to_be_bytes().to_vec(),
            ..otlp(&Spec { size: 1_200, ..CHILD })
        };
        record_of("shop", (0..20).map(span).collect())
    };
    for keying in [Keying::Keyed, Keying::Unkeyed] {
        let mut rig = Rig::new(Settings { buffer, ..settings(keying) }, ERRORS);
        let there = rig.engine.assign(Start::at(0));
        let behind = rig.engine.assign(Start { position: 10, ..Start::at(0) });
        rig.give(behind, 0, 0, Some(&record(&[CHILD])));
        assert_eq!(rig.engine.turn(), (keying == Keying::Unkeyed).then_some(behind));
        let is_stuck = (0..1_500).any(|offset| {
            let payload = spans(offset);
            let record = Record { partition: there, offset, timestamp: None, headers: &(), payload: Some(&payload) };
            while rig.engine.ingest(record, RecordTime::END) == Err(Full) && !rig.engine.is_stuck() {
                rig.cut();
            }
            assert!(rig.engine.bytes_held() <= buffer, "{} at {offset}", rig.engine.bytes_held());
            rig.engine.is_stuck()
        });
        assert_eq!(is_stuck, keying == Keying::Unkeyed, "who does not wait is told");
        assert_eq!(rig.decisions().contains_key(&(false, Reason::Memory)), keying == Keying::Keyed);
        assert!(rig.engine.held(of_trace(1)).is_some(), "the oldest of all, and behind");
    }
}

#[test]
fn bad_records_stay_in_the_budget_too() {
    let buffer = 16 << 20;
    let mut rig = Rig::new(Settings { buffer, tick_bytes: 2 << 20, ..settings(Keying::Keyed) }, ERRORS);
    rig.engine.assign(Start::at(0));
    let mut offset = 0;
    while rig.decisions().is_empty() {
        rig.spans(offset, 0, &[Spec { trace: (offset % 200) as u8 + 1, size: 10_000, ..ROOT }]);
        offset += 1;
    }
    for offset in offset..offset + 50 {
        rig.give(0, offset, 0, Some(&vec![0xff; 500 << 10]));
        assert!(rig.engine.bytes_held() <= buffer, "{}", rig.engine.bytes_held());
    }
    // A tick of nothing but pointers is full one day.
    rig.cut();
    let nothing = |offset| Record { partition: 0, offset, timestamp: None, headers: &(), payload: None };
    let full = (offset + 50..).find(|&at| rig.engine.ingest(nothing(at), RecordTime::END) == Err(Full));
    assert!(full.is_some_and(|full| full < offset + 100_000));
}

#[test]
fn envelopes_that_nobody_holds_stay_in_the_budget() {
    let buffer = 16 << 20;
    let mut rig = Rig::within(buffer, ERRORS);
    for offset in 0..400_i64 {
        // A process of its own each time, whose trace is complete at once.
        let service = format!("{offset:060000}");
        rig.give(0, offset, offset * 20_000, Some(&record_of(&service, vec![otlp(&ROOT)])));
        rig.engine.elapse(0, 20_000, RecordTime::END);
        rig.advance();
        assert!(rig.engine.bytes_held() <= buffer, "{} at {offset}", rig.engine.bytes_held());
    }
    assert!(!rig.decisions().contains_key(&(false, Reason::Memory)), "{:?}", rig.decisions());
}

#[test]
fn fields_that_every_resource_of_a_record_carries_stay_in_the_budget() {
    let buffer = 16 << 20;
    let mut rig = Rig::within(buffer, ERRORS);
    for offset in 0..20_i64 {
        // An unknown field around twenty resources, which goes with each of their spans.
        let mut payload = vec![0x7a, 0xa0, 0x8d, 0x06];
        payload.resize(4 + 100_000, offset as u8);
        for service in 0..20 {
            payload.extend(record_of(&format!("{offset}/{service}"), vec![otlp(&Spec { trace: service + 1, ..ROOT })]));
        }
        rig.give(0, offset, 0, Some(&payload));
        assert!(rig.engine.bytes_held() <= buffer, "{} at {offset}", rig.engine.bytes_held());
    }
    assert_eq!(rig.engine.stats().rejected_records, 0);
}

#[test]
fn records_off_by_more_than_max_wait_are_counted() {
    let mut rig = Rig::keyed(ALL);
    // Not while there is no clock to be off from.
    for (offset, time) in iter::repeat_n(0, 14).chain([50_000, 10_000, 0, 10_001, -10_001, 0]).enumerate() {
        rig.spans(offset as i64, time, &[]);
    }
    assert_eq!(rig.engine.stats().skewed, 2);
}

#[test]
fn a_trace_on_two_partitions_of_a_keyed_topic_is_counted() {
    let mut rig = Rig::keyed(ALL);
    rig.engine.assign(Start::at(0));
    rig.give(0, 0, 0, Some(&record(&[ROOT, Spec { trace: 2, ..ROOT }])));
    rig.give(1, 0, 0, Some(&record(&[CHILD])));
    rig.engine.finish(0);
    rig.engine.finish(1);
    rig.advance();
    assert_eq!(rig.engine.stats().spread, 1);
    assert_eq!(rig.by_trace()[&of_trace(1)].len(), 2);
}

#[test]
fn a_revoked_partition_gives_back_what_is_undecided() {
    let mut rig = Rig::keyed(ERRORS);
    let second = rig.engine.assign(Start::at(7));
    rig.spans(0, 0, &[Spec { error: true, ..ROOT }, Spec { error: true, ..CHILD }]);
    rig.give(second, 7, 0, Some(&record(&[Spec { trace: 2, error: true, ..ROOT }])));
    rig.engine.revoke(0);
    rig.assert_conserved();
    assert_eq!((rig.engine.stats().returned, rig.engine.traces_held()), (2, 1));
    // Its number serves again, with a time and an offset of its own.
    assert_eq!(rig.engine.assign(Start::at(100)), 0);
    rig.cut();
    let at: Vec<_> = rig.watermarks.iter().map(|w| (w.partition, w.offset, w.position, w.clock)).collect();
    assert_eq!(at, [(0, 100, 100, None), (1, 7, 8, None)]);
    rig.give(0, 100, -50_000, Some(&record(&[Spec { error: true, ..ROOT }])));
    rig.give(0, 101, -50_000, Some(&record(&[])));
    assert_eq!(rig.engine.traces_held(), 2);
    rig.engine.elapse(0, 1_100, RecordTime::END);
    rig.advance();
    assert_eq!(rig.by_trace().into_keys().collect::<Vec<_>>(), [of_trace(1)]);
}

#[test]
fn no_clock_passes_the_frontier() {
    let mut rig = Rig::keyed(ERRORS);
    let error = |trace| record(&[Spec { trace, error: true, ..CHILD }]);
    let mut offset = 0..;
    let mut give = |rig: &mut Rig, time, payload: &[u8]| {
        rig.give(0, offset.next().expect("no end"), time, Some(payload));
    };
    rig.engine.limit(0, RecordTime::START);
    // Who wrote the log had read ten minutes of one partition, and then ten of another.
    give(&mut rig, 0, &record(&[ROOT]));
    give(&mut rig, 600_000, &record(&[Spec { trace: 2, ..ROOT }]));
    (0..40).for_each(|at| give(&mut rig, at * 15_000, &record(&[])));
    rig.engine.elapse(0, 600_000, RecordTime::END);
    rig.advance();
    rig.engine.limit(0, RecordTime(0));
    give(&mut rig, 0, &error(1));
    rig.engine.elapse(0, 600_000, RecordTime::END);
    rig.advance();
    assert_eq!(rig.engine.traces_held(), 2);
    // What was known stays known.
    rig.engine.limit(0, RecordTime(5_000));
    rig.engine.limit(0, RecordTime(1));
    (0..15).for_each(|_| give(&mut rig, 600_000, &record(&[])));
    rig.advance();
    assert_eq!(rig.by_trace()[&of_trace(1)].len(), 2);
    // What is far ahead waits for its time, however many records come meanwhile.
    (0..20).for_each(|_| give(&mut rig, 5_000, &record(&[])));
    rig.engine.limit(0, RecordTime(590_000));
    give(&mut rig, 600_000, &error(2));
    rig.engine.limit(0, RecordTime(700_000));
    (0..15).for_each(|_| give(&mut rig, 700_000, &record(&[])));
    rig.advance();
    assert_eq!(rig.by_trace()[&of_trace(2)].len(), 2);
    assert_eq!((rig.engine.traces_held(), rig.engine.stats().skewed), (0, 0));
}

#[test]
fn a_trace_that_is_also_in_another_partition_stays_with_that_one() {
    // The partition that is revoked is once the one whose time the trace follows, once the other.
    for (revoked, stays) in [(0, 1), (1, 0)] {
        let mut rig = Rig::keyed(ERRORS);
        assert_eq!(rig.engine.assign(Start::at(7)), 1);
        rig.spans(3, 0, &[Spec { error: true, ..ROOT }]);
        rig.give(1, 7, 0, Some(&record(&[CHILD])));
        rig.engine.revoke(revoked);
        rig.assert_conserved();
        assert_eq!((rig.engine.stats().returned, rig.engine.traces_held()), (0, 1));
        rig.cut();
        assert_eq!(
            rig.watermarks
                .iter()
                .map(|w| (w.partition, rig.engine.assembly.watermark(w.partition).0))
                .collect::<Vec<_>>(),
            [(stays, [3, 7][stays as usize])]
        );
        rig.engine.finish(stays);
        rig.advance();
        assert_eq!(rig.by_trace()[&of_trace(1)].len(), 2);
    }
}

#[test]
fn a_revoked_partition_takes_with_it_what_was_made_of_it_since_the_cut() {
    let mut rig = Rig::keyed(ALL);
    let second = rig.engine.assign(Start::at(0));
    let zero = Otlp { trace_id: vec![0; 16], ..Otlp::default() };
    for (partition, trace) in [(0, 1), (second, 2)] {
        rig.give(partition, 0, 0, Some(&record_of("shop", vec![otlp(&Spec { trace, ..ROOT }), zero.clone()])));
        rig.give(partition, 1, 0, None);
        rig.engine.elapse(partition, 1_100, RecordTime::END);
        rig.engine.advance().expect("room");
        // Late, and kept.
        rig.give(partition, 2, 0, Some(&record(&[Spec { trace, ..CHILD }])));
    }
    let counts = |stats: &Stats| (stats.returned, stats.rejected, stats.rejected_records);
    assert_eq!((rig.engine.spans_held(), counts(rig.engine.stats())), (6, (0, 0, 0)));
    rig.engine.revoke(0);
    rig.assert_conserved();
    assert_eq!((rig.engine.spans_held(), counts(rig.engine.stats())), (3, (3, 0, 0)));
    rig.cut();
    assert_eq!(counts(rig.engine.stats()), (3, 1, 1));
    assert_eq!(rig.by_trace().into_keys().collect::<Vec<_>>(), [of_trace(2)]);
    assert_eq!((rig.kept.len(), rig.dead.len()), (2, 2));
    // Of what is out already, nothing.
    rig.engine.revoke(second);
    assert_eq!(counts(rig.engine.stats()), (3, 1, 1));
}

#[test]
fn a_kept_trace_that_is_also_in_another_partition_stays_with_that_one() {
    for goes in [false, true] {
        let mut rig = Rig::keyed(ALL);
        let second = rig.engine.assign(Start::at(0));
        rig.spans(0, 0, &[ROOT]);
        rig.give(second, 0, 0, Some(&record(&[CHILD])));
        rig.engine.elapse(0, 1_100, RecordTime::END);
        rig.engine.advance().expect("room");
        rig.engine.revoke(0);
        if goes {
            // Whoever reads these partitions now decides it again.
            rig.engine.revoke(second);
        }
        rig.cut();
        let out = rig.by_trace().get(&of_trace(1)).map_or(0, |spans| spans.len());
        assert_eq!((rig.engine.stats().returned, out), if goes { (2, 0) } else { (0, 2) });
    }
}

#[test]
fn time_ends_when_the_last_unfinished_partition_goes() {
    let mut rig = Rig::keyed(ERRORS);
    assert_eq!(rig.engine.assign(Start::at(0)), 1);
    rig.spans(0, 0, &[Spec { error: true, ..ROOT }]);
    rig.engine.finish(0);
    rig.advance();
    assert_eq!(rig.engine.traces_held(), 1);
    rig.engine.revoke(1);
    rig.advance();
    assert_eq!(rig.engine.traces_held(), 0);
}

#[test]
fn a_partition_that_was_empty_comes_in_by_the_time_of_its_records() {
    let mut rig = Rig::new(settings(Keying::Unkeyed), ERRORS);
    let [first, empty] = [0, 1].map(|_| rig.engine.assign(Start::at(0)));
    // It was seen at the head of its log, years after the time of what comes.
    rig.engine.elapse(empty, 0, RecordTime(1 << 40));
    rig.give(first, 0, 5_000, Some(&record(&[])));
    assert_eq!(rig.engine.turn(), Some(first));
    rig.engine.announce(empty, RecordTime(6_000));
    assert_eq!(rig.engine.turn(), Some(first), "the other's are older");
    // A clock follows when several records have said so.
    (1..40).for_each(|offset| rig.give(first, offset, 7_000, Some(&record(&[]))));
    assert_eq!(rig.engine.turn(), Some(empty));
}

#[test]
fn a_worker_that_lost_all_partitions_of_an_unkeyed_input_begins_anew() {
    let mut rig = Rig::new(settings(Keying::Unkeyed), ERRORS);
    for at in 0..2 {
        assert_eq!(rig.engine.assign(Start::at(0)), at);
        rig.give(at, 0, 0, Some(&record(&[])));
    }
    rig.spans(1, 0, &[ROOT]);
    rig.engine.elapse(0, 500_000, RecordTime::END);
    rig.engine.revoke(0);
    rig.engine.revoke(1);
    assert_eq!(rig.engine.traces_held(), 0);
    for _ in 0..2 {
        rig.engine.assign(Start::at(0));
    }
    // The same records again; what came after them in the first life must not hurry them.
    rig.give(0, 0, 0, Some(&record(&[ROOT])));
    rig.give(1, 0, 100, Some(&record(&[Spec { error: true, ..CHILD }])));
    assert_eq!(rig.engine.traces_held(), 1);
    for at in 0..2 {
        rig.engine.elapse(at, 1_200, RecordTime::END);
    }
    rig.advance();
    assert_eq!(rig.by_trace()[&of_trace(1)].len(), 2);
}

#[test]
fn a_verdict_is_remembered_from_before_time_is_known() {
    let mut settings = settings(Keying::Unkeyed);
    settings.completion.max_trace_bytes = 100;
    let mut rig = Rig::new(settings, ERRORS);
    let (first, silent) = (rig.engine.assign(Start::at(0)), rig.engine.assign(Start::at(0)));
    let now = 1_700_000_000_000;
    rig.give(first, 0, now, Some(&record(&[Spec { size: 200, ..ROOT }])));
    rig.give(silent, 0, now, Some(&record(&[])));
    rig.give(first, 1, now, Some(&record(&[Spec { error: true, ..CHILD }])));
    assert_eq!((rig.engine.stats().late_dropped, rig.engine.traces_held()), (1, 0));
}

#[test]
fn time_does_not_end_before_all_partitions_of_an_unkeyed_input_are_there() {
    let mut rig = Rig::new(settings(Keying::Unkeyed), ERRORS);
    let empty = rig.engine.assign(Start::at(5));
    rig.engine.finish(empty);
    rig.advance();
    let full = rig.engine.assign(Start::at(0));
    rig.give(full, 0, 0, Some(&record(&[ROOT])));
    rig.give(full, 1, 100, Some(&record(&[Spec { error: true, ..CHILD }])));
    assert_eq!(rig.engine.traces_held(), 1);
    rig.engine.finish(full);
    rig.advance();
    assert_eq!(rig.by_trace()[&of_trace(1)].len(), 2);
}

#[test]
fn a_partition_that_was_empty_holds_time_back_once_it_has_records() {
    let mut rig = Rig::new(settings(Keying::Unkeyed), ERRORS);
    let (first, second) = (rig.engine.assign(Start::at(0)), rig.engine.assign(Start::at(0)));
    rig.engine.elapse(second, 100, RecordTime::END);
    rig.give(first, 0, 0, Some(&record(&[ROOT])));
    rig.give(second, 0, 0, Some(&record(&[])));
    for offset in 1..20 {
        rig.give(first, offset, 60_000, Some(&record(&[])));
    }
    assert_eq!(rig.engine.traces_held(), 1, "the second partition is still at 0");
    rig.give(second, 1, 0, Some(&record(&[Spec { error: true, ..CHILD }])));
    rig.engine.finish(first);
    rig.engine.finish(second);
    rig.advance();
    assert_eq!(rig.by_trace()[&of_trace(1)].len(), 2);
}

#[test]
fn a_partition_that_was_empty_a_while_ago_holds_time_back() {
    let mut rig = Rig::new(settings(Keying::Unkeyed), ERRORS);
    let (first, second) = (rig.engine.assign(Start::at(0)), rig.engine.assign(Start::at(0)));
    rig.engine.elapse(second, 100, RecordTime(1_000));
    for offset in 0..40 {
        rig.give(first, offset, offset / 15 * 60_000, Some(&record(if offset == 0 { &[CHILD] } else { &[] })));
    }
    rig.advance();
    assert_eq!(rig.engine.traces_held(), 1, "what was written to the second partition since is not known");
    rig.engine.elapse(second, 100, RecordTime(61_000));
    rig.advance();
    assert_eq!(rig.engine.traces_held(), 0);
}

#[test]
fn a_partition_held_back_by_minutes_splits_nothing() {
    let mut rig = Rig::new(settings(Keying::Unkeyed), ERRORS);
    let (ahead, behind) = (rig.engine.assign(Start::at(0)), rig.engine.assign(Start::at(0)));
    // Five minutes of a trace a second; its root is on one partition, its error on the other.
    let trace = |second: i64| (second % 200) as u8 + 1;
    for second in 0..300 {
        rig.give(ahead, second, second * 1000, Some(&record(&[Spec { trace: trace(second), ..ROOT }])));
    }
    assert_eq!(rig.engine.traces_held(), 200, "nothing is decided while a partition has said nothing");
    rig = Rig::new(Settings { late_window: 20_000, ..settings(Keying::Unkeyed) }, ERRORS);
    let _ = (rig.engine.assign(Start::at(0)), rig.engine.assign(Start::at(0)));
    rig.give(behind, 0, 0, Some(&record(&[])));
    rig.engine.elapse(behind, 0, RecordTime::END);
    for second in 0..200 {
        rig.give(ahead, second, second * 1000, Some(&record(&[Spec { trace: trace(second), ..ROOT }])));
    }
    assert_eq!((rig.engine.traces_held(), rig.engine.turn()), (200, Some(behind)));
    for second in 0..200 {
        let error = Spec { trace: trace(second), error: true, ..CHILD };
        rig.give(behind, second + 1, second * 1000, Some(&record(&[error])));
    }
    rig.engine.finish(ahead);
    rig.engine.finish(behind);
    rig.advance();
    assert!(rig.kept.iter().all(|(_, spans)| spans.len() == 2));
    assert_eq!(rig.kept.len(), 200);
}

#[test]
fn a_leap_in_time_decides_what_came_before_on_what_came_before() {
    let mut rig = Rig::keyed(ERRORS);
    rig.spans(0, 0, &[ROOT]);
    rig.engine.elapse(0, 60_000, RecordTime::END);
    rig.spans(1, 60_000, &[Spec { error: true, ..CHILD }]);
    rig.cut();
    assert_eq!(rig.decisions(), [((false, Reason::Structure), 1)].into());
    assert_eq!(rig.engine.stats().late_dropped, 1);
}

#[test]
fn a_lull_splits_nothing() {
    let mut rig = Rig::keyed(ERRORS);
    let mut offset = 0..;
    let mut give = |rig: &mut Rig, time, spans: &[Spec]| rig.spans(offset.next().unwrap(), time, spans);
    (0..15).for_each(|_| give(&mut rig, 0, &[]));
    give(&mut rig, 60_000, &[ROOT]);
    (0..6).for_each(|_| give(&mut rig, 60_000, &[]));
    // The clock stood at 0 until now.
    give(&mut rig, 60_001, &[Spec { error: true, ..CHILD }]);
    (0..15).for_each(|_| give(&mut rig, 62_000, &[]));
    rig.cut();
    assert_eq!(rig.decisions(), [((true, Reason::Structure), 1)].into());
    assert_eq!(rig.by_trace()[&of_trace(1)].len(), 2);
}

#[test]
fn one_producer_of_ten_an_hour_ahead_splits_nothing_and_holds_nothing_up() {
    let mut rig = Rig::keyed(ALL);
    let (mut time, mut honest, mut wrong) = (0, 0, 0);
    // Of each trace: the record of its last span.
    let mut last = BTreeMap::new();
    for offset in 0..600 {
        time += 100;
        if offset % 10 == 0 {
            // Its traces never become whole. The very first record is one of them.
            let trace = 181 + wrong;
            rig.spans(offset, time + 3_600_000, &[Spec { trace, ..CHILD }]);
            last.insert(of_trace(trace), offset);
            wrong += 1;
        } else {
            // Three traces at a time take turns, a root and two children each; then there may be a lull.
            time += if honest % 180 == 90 { 60_000 } else { 0 };
            let trace = (honest / 9 * 3 + honest % 3) as u8 + 1;
            let id = honest % 9 / 3 + 1;
            rig.spans(offset, time, &[Spec { trace, id, parent: id.min(2) - 1, ..ROOT }]);
            last.insert(of_trace(trace), offset);
            honest += 1;
        }
        rig.cut();
        rig.kept.iter().for_each(|(trace, _)| _ = last.remove(trace));
        // Judged after 15 records, no more than `max_wait` (of 100 records) from there, by a clock 8 records behind.
        assert!(last.values().all(|&last| last > offset - 15 - 100 - 8 - 1), "at {offset}: {last:?}");
    }
    assert_eq!((honest, wrong), (540, 60));
    rig.engine.finish(0);
    rig.advance();
    let whole = rig.kept.iter().filter(|(trace, spans)| trace.0[0] <= 180 && spans.len() == 3).count();
    assert_eq!((whole, rig.kept.len()), (180, 240));
    assert_eq!(rig.decisions()[&(true, Reason::Structure)], 180);
}

#[test]
fn what_a_full_tick_left_over_goes_first_whoever_comes_next() {
    let mut rig = Rig::new(Settings { tick_bytes: 1, ..settings(Keying::Keyed) }, ALL);
    let (first, second) = (rig.engine.assign(Start::at(0)), rig.engine.assign(Start::at(0)));
    rig.give(first, 0, 0, Some(&record(&[ROOT, Spec { trace: 2, ..ROOT }])));
    rig.engine.elapse(first, 1_100, RecordTime::END);
    assert_eq!(rig.engine.advance(), Err(Full));
    rig.cut();
    assert_eq!(rig.engine.traces_held(), 1);
    // A partition that has no clock yet, with a span of the very trace.
    rig.give(second, 0, 0, Some(&record(&[Spec { trace: 2, ..CHILD }])));
    assert_eq!((rig.engine.traces_held(), rig.engine.stats().late_kept), (0, 1));
}

#[test]
fn a_full_tick_takes_nothing_twice() {
    let mut rig = Rig::new(Settings { tick_bytes: 1, ..settings(Keying::Keyed) }, ALL);
    rig.engine.assign(Start::at(0));
    let spans: Vec<_> = (1..50).map(|trace| Spec { trace, ..ROOT }).collect();
    rig.spans(0, 0, &spans);
    rig.engine.elapse(0, 60_000, RecordTime::END);
    let payload = record(&[Spec { trace: 99, ..ROOT }]);
    let next =
        Record { partition: 0, offset: 1, timestamp: Some(RecordTime(90_000)), headers: &(), payload: Some(&payload) };
    let mut cuts = 0;
    while rig.engine.ingest(next, RecordTime::END) == Err(Full) {
        assert_eq!(rig.engine.stats().received, 49);
        rig.cut();
        assert_eq!(rig.watermarks[0].position, 1);
        cuts += 1;
    }
    assert_eq!((cuts, rig.kept.len(), rig.engine.spans_held()), (49, 49, 1));
    assert_eq!(rig.engine.stats().skewed, 1, "its time was taken once");
}

#[test]
fn a_verdict_that_was_not_acted_on_is_named_when_it_is() {
    let mut rig = Rig::new(settings(Keying::Keyed), ERRORS);
    rig.engine.assign(Start { position: 1, tick: 4, ..Start::at(0) });
    let verdict = Verdict { keep: true, policy: Some(0), threshold: Threshold::ALWAYS };
    let decided = RecordTime(0);
    let policies = Fingerprint::UNKNOWN;
    let (rank, reason) = (None, Reason::Structure);
    let decision = Decision { trace: of_trace(1), verdict, rank, reason, decided, spans: 1, policies };
    rig.engine.restore(0, Remembered { decision, tick: 9, record: 3, bound: true });
    rig.spans(0, 0, &[ROOT]);
    let mut cut = || {
        let tick = rig.engine.cut();
        let said = (tick.number, tick.kept.len(), tick.watermarks[0].settled);
        rig.engine.settle(tick, &[]);
        rig.engine.finish(0);
        rig.engine.advance().expect("room");
        said
    };
    assert_eq!(cut(), (10, 0, false), "numbers rise above all that were used");
    assert_eq!(cut(), (11, 1, true), "it is kept, though there is no error in it");
}

#[test]
fn what_comes_when_the_verdict_is_forgotten_goes_where_it_is_told() {
    // In milliseconds: longer than max_wait and the late window together.
    const LATE: u64 = 71_000;
    for (past, held, dropped, dead) in [(Past::Decide, 1, 0, 0), (Past::Drop, 0, 1, 0), (Past::DeadLetter, 0, 0, 1)] {
        let mut rig = Rig::new(Settings { past, ..settings(Keying::Keyed) }, ERRORS);
        rig.engine.assign(Start::at(0));
        let ended = |trace: u8, ms: u64| Otlp { end_time_unix_nano: ms * 1_000_000, ..otlp(&Spec { trace, ..CHILD }) };
        let time = 100_000;
        for offset in 0..15 {
            rig.give(0, offset, time, Some(&record_of("shop", vec![ended(1, time as u64)])));
        }
        // Of a trace that is known it is late at most.
        let late = time as u64 - LATE;
        rig.give(0, 15, time, Some(&record_of("shop", vec![ended(1, late), ended(2, late), ended(3, late + 2_000)])));
        let stats = rig.engine.stats();
        assert_eq!((stats.past, stats.dropped, rig.engine.traces_held()), (1, dropped, 2 + held), "{past:?}");
        rig.cut();
        rig.assert_conserved();
        assert_eq!(rig.dead.len(), dead);
        assert_eq!(rig.engine.stats().rejected, dead as u64);
    }
}

#[test]
fn a_late_span_that_would_have_kept_its_trace_is_regretted() {
    let mut rig = Rig::keyed(ERRORS);
    rig.spans(0, 0, &[ROOT]);
    rig.engine.elapse(0, 2_000, RecordTime::END);
    rig.advance();
    rig.spans(1, 2_000, &[CHILD, Spec { error: true, ..CHILD }]);
    assert_eq!((rig.engine.stats().late_dropped, &*rig.engine.stats().regret), (2, &[1][..]));
}

#[test]
fn policies_end_by_record_time() {
    // The trace is decided at 1000, kept to 64 ms, rounded up; also where time has run out.
    for (until, kept) in [("1970-01-01T00:00:01.024Z", 1), ("1970-01-01T00:00:01.023Z", 0)] {
        for ended in [false, true] {
            let mut rig = Rig::keyed(&format!("policies: [ {{ name: a, keep: always, until: {until} }} ]"));
            rig.spans(0, 0, &[ROOT]);
            if ended {
                rig.engine.finish(0);
            } else {
                rig.engine.elapse(0, 100_000, RecordTime::END);
            }
            rig.advance();
            assert_eq!(rig.kept.len(), kept, "{until}, {ended}");
        }
    }
}

#[test]
fn what_is_said_in_the_shadow_is_counted_and_not_done() {
    let mut rig = Rig::keyed(
        "policies: [ { name: all, keep: always, shadow: true }, { name: errors, when: any(status.code == STATUS_CODE_ERROR), drop: always, shadow: true } ]",
    );
    rig.spans(0, 0, &[ROOT, Spec { trace: 2, error: true, ..ROOT }]);
    rig.engine.elapse(0, 100_000, RecordTime::END);
    rig.advance();
    rig.spans(1, 100_000, &[CHILD]);
    assert_eq!(rig.engine.stats().shadows, [[0, 2], [1, 0]]);
    assert_eq!(rig.decisions(), [((false, Reason::Structure), 2)].into());
    assert_eq!(rig.engine.stats().regret, [0, 0]);
}
