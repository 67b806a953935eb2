//! Samplers that learn, as policies name them.

use super::*;

/// A root that took so many milliseconds.
fn root(trace: u64, service: &str, name: &str, ms: u64) -> Vec<u8> {
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
