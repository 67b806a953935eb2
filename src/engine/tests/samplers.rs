//! Samplers that learn, as policies name them.

use super::*;
use crate::sample::Rank;

/// A root that took so many milliseconds.
pub(super) fn root(trace: u64, service: &str, name: &str, ms: u64) -> Vec<u8> {
    let span = Otlp {
        trace_id: u128::from(trace + 1).to_be_bytes().to_vec(),
        span_id: 1_u64.to_be_bytes().to_vec(),
        name: name.into(),
        start_time_unix_nano: 1_000_000,
        end_time_unix_nano: 1_000_000 + ms * 1_000_000,
        ..Otlp::default()
    };
    record_of(service, vec![span])
}

/// Traces come 20 ms apart; what is kept of them, by milliseconds.
fn kept(text: &str, traces: &[(&str, &str, u64)]) -> Vec<u64> {
    let mut rig = Rig::keyed(text);
    for (number, (service, name, ms)) in (0..).zip(traces) {
        rig.give(0, number as i64, number as i64 * 20, Some(&root(number, service, name, *ms)));
    }
    rig.engine.finish(0);
    rig.advance();
    let number = |trace: &TraceId| u128::from_be_bytes(trace.0) as usize - 1;
    rig.kept.iter().map(|(trace, _)| traces[number(trace)].2).collect()
}

const SLOWEST: &str =
    "policies: [ { name: outliers, keep: { slowest: { quantile: 0.99, by: [root.service, root.name] } } } ]";

#[test]
fn of_each_operation_the_slowest_are_kept() {
    let mut random = fastrand::Rng::with_seed(7);
    // Few are slow, as it is: exponentially fewer.
    let mut slowness = || -(1.0 - random.f64()).ln();
    let traces: Vec<_> = (0..20_000)
        .map(|number| match number % 2 {
            0 => ("shop", "GET /", 1 + (slowness() * 1e3) as u64),
            _ => ("shop", "POST /", 100_000 + (slowness() * 1e5) as u64),
        })
        .collect();
    let kept = kept(SLOWEST, &traces);
    let (fast, slow): (Vec<u64>, Vec<u64>) = kept.iter().partition(|ms| **ms < 100_000);
    for (name, kept) in [("GET /", fast), ("POST /", slow)] {
        let mut all: Vec<u64> = traces.iter().filter(|(_, of, _)| *of == name).map(|(.., ms)| *ms).collect();
        all.sort_unstable();
        let beyond = &all[all.len() * 99 / 100..];
        let covered = kept.iter().filter(|ms| **ms >= beyond[0]).count();
        assert!(covered * 100 >= beyond.len() * 95, "{name}: {covered} of {}", beyond.len());
        assert!(kept.len() * 10 < beyond.len() * 18, "{name}: {} for {}", kept.len(), beyond.len());
    }
}

#[test]
fn keys_tell_traces_apart() {
    // Of so few, the two slowest of each kind are kept.
    let traces = [("a", "x", 20), ("a", "x", 19), ("a", "x", 18), ("a", "y", 17), ("b", "x", 16), ("b", "y", 15)];
    let by = |by: &str| {
        kept(&format!("policies: [ {{ name: a, keep: {{ slowest: {{ quantile: 0.99, by: [{by}] }} }} }} ]"), &traces)
    };
    assert_eq!(by(""), [20, 19]);
    assert_eq!(by("root.service"), [20, 19, 16, 15]);
    assert_eq!(by("root.name"), [20, 19, 17, 15]);
    assert_eq!(by("root.service, root.name"), [20, 19, 17, 16, 15]);
    assert_eq!(by("trace.span_count"), [20, 19]);
}

#[test]
fn what_has_no_measure_is_neither_kept_nor_learned() {
    let of = r#"policies: [ { name: a, keep: { slowest: { quantile: 0.5, of: 'root.attributes["bytes"]' } } } ]"#;
    assert_eq!(kept(of, &[("a", "x", 9), ("a", "x", 8)]), [] as [u64; 0]);
    let of = "policies: [ { name: a, keep: { slowest: { quantile: 0.5, of: trace.span_count } } } ]";
    assert!(!kept(of, &[("a", "x", 9)]).is_empty());
}

/// What is kept of traces of a name each, that come so many milliseconds after the epoch.
fn first(text: &str, traces: &[(&str, i64)]) -> Vec<usize> {
    let mut rig = Rig::keyed(text);
    for (number, (name, at)) in (0..).zip(traces) {
        rig.give(0, number as i64, *at, Some(&root(number, "shop", name, 1)));
        rig.engine.elapse(0, 2_000, RecordTime::END);
        rig.advance();
    }
    rig.engine.finish(0);
    rig.advance();
    rig.kept.iter().map(|(trace, _)| u128::from_be_bytes(trace.0) as usize - 1).collect()
}

#[test]
fn of_each_kind_some_are_kept_in_a_period() {
    let rare = |more: &str| {
        format!("policies: [ {more} {{ name: each, keep: {{ rare: {{ by: [root.name], at_least: 2, per: 1m }} }} }} ]")
    };
    let traces: Vec<_> = ["a", "a", "b", "a", "c", "b", "b"].into_iter().zip((0..).step_by(3_000)).collect();
    assert_eq!(first(&rare(""), &traces), [0, 1, 2, 4, 5]);
    let kept = first(&rare("{ name: all, when: 'root.name == \"b\"', keep: always },"), &traces);
    assert_eq!(kept, [0, 1, 2, 4, 5, 6], "what another keeps counts, and it goes on");
    let vetoed = first(&rare("{ name: none, when: 'root.name == \"a\"', drop: always },"), &traces);
    assert_eq!(vetoed, [2, 4, 5]);
    let again: Vec<_> = traces.iter().map(|(name, at)| (*name, at * 10)).collect();
    assert_eq!(first(&rare(""), &again), [0, 1, 2, 3, 4, 5, 6], "a new period has a new floor");
}

#[test]
fn a_goal_is_come_to_with_more_for_the_rare() {
    let text = "policies: [ { name: goal, keep: { adaptive: { probability: 10%, by: [root.name] } } } ]";
    let mut random = fastrand::Rng::with_seed(9);
    let traces: Vec<_> =
        (0..40_000).map(|_| ("shop", if random.u8(..100) == 0 { "seldom" } else { "often" }, 1)).collect();
    let mut rig = Rig::keyed(text);
    for (number, (service, name, ms)) in (0..).zip(&traces) {
        // As a trace id is random, but for this one.
        let id = random.u64(1..u64::MAX);
        rig.give(0, number, number * 5, Some(&root(id - 1, service, name, *ms)));
    }
    rig.engine.finish(0);
    rig.advance();
    let names = rig.kept.iter().map(|(_, spans)| Otlp::decode(&*spans[0]).expect("a span").name);
    let (often, seldom): (Vec<_>, Vec<_>) = names.partition(|name| name == "often");
    let share = (often.len() + seldom.len()) as f64 / traces.len() as f64;
    assert!((0.09..0.11).contains(&share), "{share}");
    let all = traces.iter().filter(|(_, name, _)| *name == "seldom").count();
    assert!(seldom.len() * 100 > all * 80, "{} of {all}", seldom.len());
}

/// By the state of then, which nobody knows later.
#[test]
fn how_far_down_a_trace_was_is_noted_of_what_is_kept() {
    let ranks = |text: &str, traces: &[(&str, &str, u64)]| {
        let mut rig = Rig::keyed(text);
        for (number, (service, name, ms)) in (0..).zip(traces) {
            rig.give(0, number as i64, number as i64 * 20, Some(&root(number, service, name, *ms)));
        }
        rig.engine.finish(0);
        rig.advance();
        rig.decided.iter().filter(|decision| decision.verdict.keep).map(|decision| decision.rank).collect::<Vec<_>>()
    };
    let rank = |before, most| Some(Rank { before, most });
    let of_each = r#"policies: [ { name: each, keep: { rare: { by: [root.name], at_least: 2, per: 1m } } } ]"#;
    assert_eq!(ranks(of_each, &[("a", "x", 1), ("a", "x", 1), ("a", "x", 1)]), [rank(0, 2), rank(1, 2)]);
    // The first of all is beyond what is known, which is nothing, and one is kept of that.
    assert_eq!(ranks(SLOWEST, &[("a", "x", 9), ("a", "x", 1)])[0], rank(0, 1));
    assert_eq!(ranks("policies: [ { name: all, keep: always } ]", &[("a", "x", 1)]), [None]);
}

#[test]
fn what_a_floor_would_keep_is_held_until_others_have_heard_of_it() {
    let text = r#"policies:
- { name: all, when: root.name == "sure", keep: always }
- { name: each, keep: { rare: { by: [root.name], per: 1m } } }"#;
    let decided = |partitions| {
        let mut rig = Rig::keyed(text);
        rig.engine.share(partitions);
        // Others come each half a second, so that time passes.
        let others = (0..100).map(|half| ("", half * 500));
        let mut all: Vec<_> =
            [("new", 20_010), ("sure", 20_020), ("new", 20_030), ("new", 40_010)].into_iter().chain(others).collect();
        all.sort_by_key(|(_, at)| *at);
        for (number, (name, at)) in (0..).zip(&all) {
            rig.give(0, number as i64, *at, Some(&root(number, "shop", name, 1)));
        }
        rig.advance();
        let name = |decision: &Decision| all[u128::from_be_bytes(decision.trace.0) as usize - 1].0;
        let named = rig.decided.iter().filter(|decision| !name(decision).is_empty());
        let mut decided: Vec<_> =
            named.map(|decision| (name(decision), decision.decided.0 / 1000, decision.verdict.keep)).collect();
        decided.sort_unstable();
        decided
    };
    assert_eq!(decided(1), [("new", 21, false), ("new", 21, true), ("new", 41, false), ("sure", 21, true)]);
    // Others may have as many partitions. What is kept for certain is kept at once, and what is dropped, dropped.
    assert_eq!(decided(2), [("new", 21, false), ("new", 27, true), ("new", 41, false), ("sure", 21, true)]);
}
