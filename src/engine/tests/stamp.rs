//! What is stamped on kept spans, as the driver sees it.

use super::*;

/// A quarter of all, and all with an error.
const QUARTER: &str = "policies:
- { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }
- { name: quarter, keep: { probability: 25% } }";

fn stamped(keying: Keying, stamps: Stamps) -> Settings {
    Settings { late_window: FOREVER, stamps, ..settings(keying) }
}

fn rig(text: &str, stamps: Stamps) -> Rig {
    let mut rig = Rig::new(stamped(Keying::Keyed, stamps), text);
    rig.engine.assign(Start::at(0));
    rig
}

/// The trace state of a span that came out, and its attributes.
fn seen(span: &[u8]) -> (String, Vec<(String, String)>) {
    let span = Otlp::decode(span).expect("a span");
    let text = |attribute: KeyValue| match attribute.value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => (attribute.key, text),
        other => (attribute.key, format!("{other:?}")),
    };
    (span.trace_state, span.attributes.into_iter().map(text).collect())
}

fn out(rig: &Rig) -> Vec<(String, Vec<(String, String)>)> {
    rig.kept.iter().flat_map(|(_, spans)| spans).map(|span| seen(span)).collect()
}

fn notes(policy: &str, reason: &str, completion: &str) -> Vec<(String, String)> {
    let of = |key: &str, text: &str| (format!("tailwater.{key}"), text.to_owned());
    vec![of("policy", policy), of("reason", reason), of("completion", completion)]
}

/// A trace whose id is all `trace`: its randomness is 0xffffffffffffff or 0x01010101010101.
const KEPT: u8 = 0xff;

#[test]
fn every_span_has_the_threshold_of_the_verdict_and_the_root_the_reasons() {
    let mut rig = rig(QUARTER, Stamps::default());
    let [root, child] = [ROOT, CHILD].map(|span| Spec { trace: KEPT, ..span });
    rig.spans(0, 0, &[child.clone(), root.clone()]);
    rig.spans(1, 0, &[Spec { error: true, ..ROOT }, CHILD]);
    rig.engine.elapse(0, 2_000, RecordTime::END);
    rig.advance();
    let quarter = || "ot=th:c".to_owned();
    let always = || "ot=th:0".to_owned();
    assert_eq!(
        out(&rig),
        [
            (always(), notes("errors", "always", "structure")),
            (always(), vec![]),
            (quarter(), vec![]),
            (quarter(), notes("quarter", "sampled", "structure")),
        ]
    );
    // A late span has the verdict's, whatever it is itself.
    rig.spans(2, 3_000, &[Spec { id: 3, error: true, ..child }, Spec { id: 4, ..CHILD }]);
    rig.cut();
    assert_eq!(out(&rig)[4..], [(always(), vec![]), (quarter(), vec![])]);
}

#[test]
fn each_can_be_had_without_the_others() {
    let mut rig = rig(QUARTER, Stamps { weights: false, reason: false, completion: false, ..Stamps::default() });
    rig.spans(0, 0, &[Spec { error: true, ..ROOT }, CHILD]);
    rig.engine.finish(0);
    rig.advance();
    assert_eq!(out(&rig), [(String::new(), notes("errors", "", "")[..1].to_vec()), (String::new(), vec![])]);
}

#[test]
fn a_trace_without_a_root_has_its_reasons_on_the_earliest_span() {
    let mut rig = rig("policies: []\notherwise: keep", Stamps::default());
    // Spans begin in the order of their ids.
    rig.spans(0, 0, &[Spec { id: 7, ..CHILD }, Spec { id: 5, ..CHILD }, Spec { id: 6, ..CHILD }]);
    rig.engine.elapse(0, 20_000, RecordTime::END);
    rig.advance();
    let notes = notes("otherwise", "always", "max_wait");
    let always = || "ot=th:0".to_owned();
    assert_eq!(out(&rig), [(always(), vec![]), (always(), notes), (always(), vec![])]);
}

#[test]
fn a_root_that_came_twice_is_noted_on_once() {
    let mut rig = rig("policies: []\notherwise: keep", Stamps::default());
    (0..2).for_each(|offset| rig.spans(offset, 0, &[ROOT, CHILD]));
    rig.engine.finish(0);
    rig.advance();
    let noted = out(&rig).into_iter().filter(|(_, notes)| !notes.is_empty()).count();
    assert_eq!((out(&rig).len(), noted), (4, 1));
}

#[test]
fn a_span_too_large_for_its_stamp_goes_without() {
    let settings = Settings { output_record_bytes: 1_000, ..stamped(Keying::Keyed, Stamps::default()) };
    let mut rig = Rig::new(settings, ALL);
    rig.engine.assign(Start::at(0));
    let sent: Vec<_> = (0..60).map(|more| Spec { id: more + 1, size: 890 + more as usize, ..ROOT }).collect();
    rig.spans(0, 0, &sent);
    rig.engine.finish(0);
    rig.advance();
    let (kept, refused) = (out(&rig), rig.engine.stats().rejected as usize);
    assert_eq!(kept.len() + refused, sent.len());
    let bare = kept.iter().filter(|(trace_state, notes)| trace_state.is_empty() && notes.is_empty()).count();
    assert!(bare > 5 && bare < kept.len() && refused > 5, "{bare} of {} without, {refused} not at all", kept.len());
}

/// Late spans after a restart, and a trace that is decided again under a verdict that may not have been acted on.
#[test]
fn a_new_life_stamps_the_same() {
    let of_life = |bound: Option<bool>| {
        let mut rig = rig(QUARTER, Stamps::default());
        let [root, child] = [ROOT, CHILD].map(|span| Spec { trace: KEPT, ..span });
        if let Some(bound) = bound {
            // The policies are others by now, or the trace has more spans; the verdict stands.
            let verdict = Verdict { keep: true, policy: Some(1), threshold: Threshold(3 << 54) };
            let decision = Decision {
                trace: of_trace(KEPT),
                verdict,
                rank: None,
                reason: Reason::Structure,
                decided: RecordTime(0),
                spans: 1,
                policies: Fingerprint::UNKNOWN,
            };
            rig.engine.restore(0, Remembered { decision, tick: 1, record: 0, bound });
        }
        rig.spans(0, 0, &[root, Spec { error: bound.is_some(), ..child }]);
        rig.engine.finish(0);
        rig.advance();
        out(&rig)
    };
    let first = of_life(None);
    let weights = |spans: &[(String, Vec<(String, String)>)]| spans.iter().map(|of| of.0.clone()).collect::<Vec<_>>();
    assert_eq!(weights(&first), ["ot=th:c", "ot=th:c"]);
    let again = of_life(Some(true));
    assert_eq!(weights(&again), weights(&first));
    assert_eq!(again[0].1[..2], first[0].1[..2], "{again:?}");
    let late = of_life(Some(false));
    assert_eq!((weights(&late), &late[0].1), (weights(&first), &vec![]));
}

/// Probabilities by the Collector's hash: the randomness is said, so that the threshold is one.
#[test]
fn a_hash_is_said() {
    let mut rig =
        rig("randomness: { fnv: salt }\npolicies: [ { name: half, keep: { probability: 50% } } ]", Stamps::default());
    for trace in 1..=100 {
        rig.spans(i64::from(trace), 0, &[Spec { trace, ..ROOT }]);
    }
    rig.engine.elapse(0, 2_000, RecordTime::END);
    rig.advance();
    let kept = rig.kept.clone();
    assert!((30..70).contains(&kept.len()), "{}", kept.len());
    for (trace, spans) in &kept {
        let (state, _) = seen(&spans[0]);
        let randomness = decode::explicit_randomness(state.as_bytes()).expect("it is said");
        assert!(randomness.0 >= 1 << 55 && state.ends_with(";th:8"), "{state}");
        // And late.
        rig.spans(1_000, 3_000, &[Spec { trace: trace.0[0], id: 9, ..CHILD }]);
        rig.cut();
        assert_eq!(seen(&rig.kept.last().expect("out").1[0]).0, state);
    }
}
