//! Policies change while traces are held.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::select};

use super::*;

/// Different attributes, different counts, different roots; the same names mean something else.
const SETS: [(&str, Option<&str>); 3] = [
    ("policies: [ { name: a, when: 'any(attributes[\"a\"] == 1)', keep: always } ]", None),
    (
        "policies:
- { name: b, when: 'count(attributes[\"b\"] == 1) > 1 and count(attributes[\"c\"] == \"x\") < 9', keep: always }
- { name: a, when: 'root.attributes[\"a\"] == 2 or all(name == \"\")', keep: { probability: 50% } }
otherwise: drop",
        None,
    ),
    (
        "policies:
- { name: c, when: 'siblings(attributes[\"b\"] == 1) > 1 or child_of(attributes[\"a\"] == 1, attributes[\"b\"] == 0)', keep: always }
- { name: b, when: 'trace.complete and root.attributes[\"b\"] == 0', keep: always }
- { name: a, when: 'trace.depth > 2', drop: always }",
        Some("'attributes[\"a\"] == 2'"),
    ),
];

/// One edition of each, in this order.
fn editions() -> [Arc<Edition>; 3] {
    let [first, second, third] = SETS.map(|(text, root)| rooted(text, root));
    let first = Edition::first(first);
    let second = first.next(second).expect("few names");
    let third = second.next(third).expect("few names");
    [first, second, third].map(Arc::new)
}

/// A span with attributes that are told by its id.
fn attributed(span: &Spec) -> Otlp {
    let attribute = |key: &str, value: u64| {
        let value = Some(AnyValue { value: Some(any_value::Value::IntValue(value as i64)) });
        KeyValue { key: key.into(), value, ..KeyValue::default() }
    };
    Otlp { attributes: vec![attribute("a", span.id % 3), attribute("b", span.id % 2)], ..otlp(span) }
}

fn give(rig: &mut Rig, offset: i64, time: i64, spans: &[Spec]) {
    rig.give(0, offset, time, Some(&record_of("shop", spans.iter().map(attributed).collect())));
}

fn rig(edition: &Edition) -> Rig {
    let mut engine =
        Engine::new(Settings { late_window: FOREVER, ..settings(Keying::Keyed) }, edition.policies.clone());
    engine.assign(Start::at(0));
    Rig { engine, ..Rig::keyed(ALL) }
}

#[test]
fn a_trace_finishes_under_the_policies_it_began_with() {
    let [first, second, _] = editions();
    let mut rig = rig(&first);
    // Neither 1 nor 2 is kept by its first span, whoever is asked; 4 is a = 1, b = 0; 3 and 9 are a = 0, b = 1.
    give(&mut rig, 0, 0, &[Spec { id: 6, ..ROOT }, Spec { trace: 2, id: 6, ..ROOT }]);
    assert!(rig.engine.reload(&second));
    let of = |trace, id| Spec { trace, id, parent: 6, size: 1, ..ROOT };
    let root = |trace| Spec { trace, id: 6, size: 1, ..ROOT };
    let spans = [of(1, 4), of(2, 3), of(2, 9), root(3), of(3, 4), root(4), of(4, 3), of(4, 9)];
    give(&mut rig, 1, 0, &spans);
    rig.engine.elapse(0, 1_100, RecordTime::END);
    assert_eq!(rig.engine.advance(), Ok(()));
    let tick = rig.engine.cut();
    let names = &rig.engine.edition().names;
    let told: Vec<_> = tick
        .decisions
        .iter()
        .map(|(_, decision)| *decision)
        .map(|decision| {
            let policy = decision.verdict.policy.map(|policy| names[usize::from(policy)].as_str());
            (decision.trace.0[0], decision.verdict.keep, policy, decision.policies)
        })
        .collect();
    let [before, now] = [&first, &second].map(|edition| edition.policies.fingerprint());
    assert_ne!(before, now);
    assert_eq!(
        told,
        [(1, true, Some("a"), before), (2, false, None, before), (3, false, None, now), (4, true, Some("b"), now)]
    );
    rig.engine.settle(tick, &[]);
    rig.assert_conserved();
}

#[test]
fn a_third_set_waits_until_the_first_has_no_traces() {
    let [first, second, third] = editions();
    let mut rig = rig(&first);
    give(&mut rig, 0, 0, &[CHILD]);
    rig.engine.elapse(0, 5_000, RecordTime::END);
    assert!(rig.engine.reload(&second));
    give(&mut rig, 1, 5_000, &[Spec { trace: 2, ..CHILD }]);
    assert!(!rig.engine.reload(&third), "of the first a trace is held");
    assert!(Arc::ptr_eq(rig.engine.edition(), &second));
    rig.engine.elapse(0, 5_100, RecordTime::END);
    rig.advance();
    assert_eq!(rig.engine.traces_held(), 1);
    assert!(rig.engine.reload(&third));
    assert!(!rig.engine.reload(&first), "of the second one is held");
    rig.engine.revoke(0);
    assert!(rig.engine.reload(&first), "it was given back");
    assert!(rig.engine.reload(&second), "and nothing holds that one up");
}

#[test]
fn what_was_held_before_a_restart_comes_first() {
    let [first, second, _] = editions();
    let mut engine = Engine::new(settings(Keying::Keyed), first.policies.clone());
    engine.assign(Start { position: 2, ..Start::at(0) });
    assert!(!engine.reload(&second));
    engine.reach(0, 2);
    assert!(engine.reload(&second));
}

#[test]
fn names_keep_their_numbers() {
    let [first, second, third] = editions();
    assert_eq!(*third.names, ["a", "b", "c"]);
    let again = Arc::new(third.next(first.policies.clone()).expect("few names"));
    assert_eq!(*again.names, ["a", "b", "c"]);
    // A decision on each: `a` of the first, `b` of the second, `b` of the third, `a` of the first again.
    let mut rig = rig(&first);
    let of = |trace, id| Spec { trace, id, parent: 0, ..ROOT };
    let spans = [[of(1, 1), of(1, 4)], [of(2, 3), of(2, 9)], [of(3, 2), of(3, 5)], [of(4, 1), of(4, 4)]];
    for (at, (edition, spans)) in (0..).zip(iter::zip([first, second, third, again], spans)) {
        assert!(at == 0 || rig.engine.reload(&edition));
        give(&mut rig, at, at * 20_000, &spans);
        rig.engine.elapse(0, 20_000, RecordTime::END);
        rig.advance();
    }
    let decided = rig.engine.stats().decisions().filter(|(.., count)| *count > 0);
    let decided: Vec<_> = decided.map(|(policy, keep, _, count)| (policy, keep, count)).collect();
    assert_eq!(decided, [(Some(0), true, 2), (Some(1), true, 2)]);
}

#[test]
fn a_renewed_verdict_names_the_policies_that_were_asked() {
    let [first, second, _] = editions();
    let mut rig = Rig { engine: Engine::new(settings(Keying::Keyed), first.policies.clone()), ..Rig::keyed(ALL) };
    rig.engine.assign(Start::at(0));
    give(&mut rig, 0, 0, &[ROOT]);
    rig.engine.elapse(0, 1_100, RecordTime::END);
    rig.advance();
    assert!(rig.engine.reload(&second));
    rig.engine.elapse(0, 50_000, RecordTime::END);
    give(&mut rig, 1, 51_100, &[CHILD]);
    let tick = rig.engine.cut();
    let [(_, decision)] = tick.decisions[..] else { panic!("{:?}", tick.decisions) };
    assert_eq!((decision.verdict.policy, decision.policies), (Some(0), first.policies.fingerprint()));
}

#[test]
fn memory_comes_back_when_the_old_policies_go() {
    let [first, second, third] = editions();
    let mut rig = rig(&first);
    // Envelopes of their own for some of them.
    for trace in 0..200_u8 {
        let service = format!("{}", trace % 7);
        rig.give(
            0,
            i64::from(trace),
            0,
            Some(&record_of(&service, vec![attributed(&Spec { trace: trace + 1, ..CHILD })])),
        );
    }
    rig.cut();
    let before = rig.engine.bytes_held();
    assert!(rig.engine.reload(&third));
    assert!(rig.engine.bytes_held() > before, "{before}: rows are longer");
    rig.engine.elapse(0, 20_000, RecordTime::END);
    rig.advance();
    assert!(rig.engine.reload(&second) && rig.engine.reload(&third) && rig.engine.reload(&first));
    // The same once more, of other traces.
    for trace in 0..200_u8 {
        let service = format!("{}", trace % 7);
        let span = Otlp { trace_id: vec![9, trace, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], ..attributed(&CHILD) };
        rig.give(0, 200 + i64::from(trace), 20_000, Some(&record_of(&service, vec![span])));
    }
    rig.cut();
    let remembered = rig.engine.assembly.remembered_bytes();
    let after = rig.engine.bytes_held() - remembered;
    // A tick of 200 verdicts is among it.
    assert!(after <= before + (80 << 10), "{before} before, {after} after, and {remembered} for verdicts");
}

#[test]
fn a_reload_stays_in_the_budget() {
    let buffer = 16 << 20;
    let wide: String = (0..4_000)
        .map(|n| format!("- {{ name: p{n}, when: 'any(attributes[\"a\"] == {n})', keep: always }}\n"))
        .collect();
    let first = Edition::first(policies(ERRORS));
    let wide = Arc::new(first.next(policies(&format!("policies:\n{wide}"))).expect("few names"));
    let mut rig = Rig::within(buffer, ERRORS);
    let span = |n: u32| Otlp { trace_id: (u128::from(n) << 64 | 1).to_be_bytes().to_vec(), ..otlp(&CHILD) };
    for offset in 0..200 {
        let spans = (0..100).map(|n| span(offset * 100 + n)).collect();
        rig.give(0, i64::from(offset), 0, Some(&record_of("shop", spans)));
    }
    let held = rig.engine.traces_held();
    let mut tries = 0;
    while !rig.engine.reload(&wide) {
        assert!(rig.engine.bytes_held() <= buffer);
        rig.cut();
        tries += 1;
        assert!(tries < 100, "a settled tick makes room");
    }
    assert!(rig.engine.bytes_held() <= buffer, "{}", rig.engine.bytes_held());
    assert!(rig.engine.traces_held() < held, "of {held}, the oldest had to go");
    for offset in 200..300 {
        let spans = (0..100).map(|n| span(offset * 100 + n)).collect();
        rig.give(0, i64::from(offset), 0, Some(&record_of("shop", spans)));
        assert!(rig.engine.bytes_held() <= buffer, "{}", rig.engine.bytes_held());
    }
    rig.assert_conserved();
}

#[derive(Clone, Debug)]
enum Op {
    Give { step: i64, spans: Vec<Spec> },
    Elapse { ms: u64 },
    Cut,
    Reload { set: usize },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let span = (1..12_u8, 1..14_u64, 0..5_u64, any::<bool>(), 0..2_usize)
        .prop_map(|(trace, id, parent, running, size)| Spec { trace, id, parent, running, error: false, size });
    let op = prop_oneof![
        6 => (0..3_000_i64, prop::collection::vec(span, 0..6)).prop_map(|(step, spans)| Op::Give { step, spans }),
        2 => (0..6_000_u64).prop_map(|ms| Op::Elapse { ms }),
        1 => Just(Op::Cut),
        2 => select(&[0_usize, 1, 2][..]).prop_map(|set| Op::Reload { set }),
    ];
    prop::collection::vec(op, 1..60)
}

/// An engine and what it said of each trace; policies by name.
struct Judge {
    rig: Rig,
    told: BTreeMap<u8, (bool, Option<String>, Reason, u32, Fingerprint)>,
}

impl Judge {
    fn play(&mut self, op: &Op, offset: &mut i64, time: &mut i64) {
        match op {
            Op::Give { step, spans } => {
                *time += step;
                let payload = record_of("shop", spans.iter().map(attributed).collect());
                let record = Record {
                    partition: 0,
                    offset: *offset,
                    timestamp: Some(RecordTime(*time)),
                    headers: &(),
                    payload: Some(&payload),
                };
                *offset += 1;
                assert_eq!(self.rig.engine.ingest(record, RecordTime::END), Ok(()));
            }
            Op::Elapse { ms } => {
                self.rig.engine.elapse(0, *ms, RecordTime::END);
                assert_eq!(self.rig.engine.advance(), Ok(()));
            }
            Op::Cut => self.cut(),
            Op::Reload { .. } => {}
        }
    }

    fn cut(&mut self) {
        let tick = self.rig.engine.cut();
        let names = &self.rig.engine.edition().names;
        for (_, Decision { trace, verdict, reason, spans, policies, .. }) in &tick.decisions {
            let policy = verdict.policy.map(|policy| names[usize::from(policy)].clone());
            self.told.entry(trace.0[0]).or_insert((verdict.keep, policy, *reason, *spans, *policies));
        }
        self.rig.engine.settle(tick, &[]);
        self.rig.assert_conserved();
    }
}

proptest! {
    /// Every trace is judged as by an engine that never knew other policies than those it began with.
    #[test]
    fn each_trace_is_judged_as_if_nothing_had_changed(ops in ops()) {
        let editions = editions();
        let judge = |edition: &Edition| Judge { rig: rig(edition), told: BTreeMap::new() };
        let mut alone = [0, 1, 2].map(|set| judge(&editions[set]));
        let mut changing = judge(&editions[0]);
        let mut edition = editions[2].clone();
        let (mut set, mut began) = (0, BTreeMap::new());
        let (mut offset, mut time) = (0, 0);
        for op in &ops {
            let at = (offset, time);
            for judge in &mut alone {
                (offset, time) = at;
                judge.play(op, &mut offset, &mut time);
            }
            (offset, time) = at;
            changing.play(op, &mut offset, &mut time);
            match op {
                Op::Give { spans, .. } => spans.iter().for_each(|span| _ = began.entry(span.trace).or_insert(set)),
                Op::Reload { set: to } => {
                    let next = Arc::new(edition.next(editions[*to].policies.clone()).expect("few names"));
                    if changing.rig.engine.reload(&next) {
                        (set, edition) = (*to, next);
                    }
                }
                Op::Elapse { .. } | Op::Cut => {}
            }
        }
        for judge in alone.iter_mut().chain([&mut changing]) {
            judge.rig.engine.finish(0);
            assert_eq!(judge.rig.engine.advance(), Ok(()));
            judge.cut();
        }
        let expected: BTreeMap<_, _> = began.iter().map(|(trace, set)| (*trace, alone[*set].told[trace].clone())).collect();
        prop_assert_eq!(changing.told, expected);
        prop_assert!(changing.rig.engine.reload(&editions[0]), "nothing is held");
    }
}
