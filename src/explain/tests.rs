//! What is explained is what an engine decided that read everything.

use std::collections::HashMap;

use super::*;
use crate::{
    diagnostic::{Diagnostics, Source},
    generate::{Shape, Traffic, batched, keyed},
    recording::Record as Recorded,
    yaml,
};

const PARTITIONS: u32 = 3;
const POLICIES: &str = "
policies:
  - name: health
    when: root.attributes[\"http.route\"] == \"/healthz\"
    drop: always
  - { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }
  - { name: slow, when: trace.duration > 5s, keep: { probability: 50% } }
  - { name: deep, when: trace.depth > 4 and not trace.complete, keep: { probability: 10% } }
  - { name: baseline, keep: { probability: 1% } }
";

fn policies() -> Arc<PolicySet> {
    compiled(POLICIES)
}

fn compiled(text: &str) -> Arc<PolicySet> {
    let mut diagnostics = Diagnostics::default();
    let source = Arc::new(Source { name: "policies.yaml".into(), text: text.into() });
    let root = yaml::parse(source, &mut diagnostics);
    let set = root.and_then(|root| PolicySet::compile(&[crate::decide::Part::File(&root)], &mut diagnostics));
    Arc::new(set.unwrap_or_else(|| panic!("{diagnostics}")))
}

fn settings(keying: Keying) -> Settings {
    let completion = Completion { quiet: 1000, completeness: None, max_wait: 10_000, max_trace_bytes: 1 << 20 };
    Settings { keying, completion, late_window: 60_000, ..ASKED }
}

fn traffic() -> impl Iterator<Item = crate::generate::Trace> {
    let shape =
        Shape { spans_per_second: 500.0, late_share: 0.2, slow_share: 0.1, error_share: 0.1, ..Shape::default() };
    Traffic::new(7, shape).take(400)
}

/// Every decision on these records, read in this order, and how many spans came late.
fn decided(records: &[Recorded], keying: Keying) -> (HashMap<TraceId, Decision>, u64) {
    let mut engine = Engine::new(settings(keying), policies());
    let partitions: Vec<u32> = (0..PARTITIONS).map(|_| engine.assign(Start::at(0))).collect();
    for record in records {
        let record = Record {
            partition: partitions[record.partition as usize],
            offset: record.offset,
            timestamp: record.timestamp.map(RecordTime),
            headers: &(),
            payload: record.value.as_deref(),
        };
        engine.ingest(record, RecordTime::END).expect("one tick takes it all");
    }
    partitions.into_iter().for_each(|partition| engine.finish(partition));
    engine.advance().expect("one tick takes it all");
    let late = engine.stats().late_kept + engine.stats().late_dropped;
    (engine.cut().decisions.into_iter().map(|(_, decision)| (decision.trace, decision)).collect(), late)
}

fn explained(records: &[Recorded], trace: TraceId) -> Vec<Explanation> {
    explained_by(policies(), records, trace)
}

fn explained_by(set: Arc<PolicySet>, records: &[Recorded], trace: TraceId) -> Vec<Explanation> {
    let mut gathered = Gathered::new(trace);
    records.iter().for_each(|record| gathered.add(record.clone()).expect("few records"));
    gathered.explain(settings(Keying::Keyed), set)
}

fn recorded(records: impl Iterator<Item = (u32, crate::generate::Record)>) -> Vec<Recorded> {
    let mut offsets = [0; PARTITIONS as usize];
    let of = |(partition, record): (u32, crate::generate::Record)| {
        let offset = &mut offsets[partition as usize];
        *offset += 1;
        Recorded {
            topic: "spans".to_owned(),
            partition: partition as i32,
            offset: *offset - 1,
            timestamp: Some(1_767_225_600_000 + record.at_ms as i64),
            value: Some(record.value),
            ..Recorded::default()
        }
    };
    records.map(of).collect()
}

#[test]
fn a_keyed_trace_is_explained_as_it_was_decided() {
    let records = recorded(keyed(traffic()).map(|record| (u32::from(record.spans[0].0.0[0]) % PARTITIONS, record)));
    let (decided, late) = decided(&records, Keying::Keyed);
    assert!(decided.len() == 400 && late > 10, "{} decided, {late} late", decided.len());
    let mut late_too = 0;
    for trace in traffic().step_by(5) {
        let [explanation] = explained(&records, trace.id).try_into().expect("one verdict");
        let decision = explanation.decision.expect("all is over");
        assert_eq!(decision, decided[&trace.id]);
        assert_eq!(
            (explanation.span_count, explanation.spans.len().min(SPANS)),
            (decision.spans as usize, explanation.spans.len())
        );
        assert_eq!(explanation.span_count + explanation.late, trace.spans.len());
        late_too += explanation.late;
        // `health` vetoes, `errors` keeps, and what the others say is what is kept of the rest.
        let says = |policy: &Policy| policy.matches && policy.says == Some(true);
        let [health, errors, others @ ..] = &*explanation.policies else { panic!("{explanation}") };
        assert_eq!(
            decision.verdict.keep,
            !health.matches && (errors.matches || others.iter().any(says)),
            "{explanation}"
        );
        if let Some(policy) = decision.verdict.policy {
            assert!(explanation.policies[usize::from(policy)].matches, "{explanation}");
        }
        // The parts of each condition are there.
        assert_eq!(explanation.policies.iter().map(|policy| policy.rows.len()).collect::<Vec<_>>(), [1, 2, 1, 2, 0]);
    }
    assert!(late_too > 0);
}

/// Their conditions hold, and they have no say.
#[test]
fn what_is_over_or_in_another_group_does_not_match() {
    let set = compiled(
        "
policies:
  - { name: over, until: 2025-12-31, keep: always }
  - { name: still, until: 2027-01-01, keep: { probability: 1% } }
  - name: outer
    when: none(true)
    policies: [ { name: group, policies: [ { name: inner, drop: always } ] } ]
  - { name: past, until: 2025-12-31, policies: [ { name: within, drop: always } ] }
",
    );
    let records = recorded(keyed(traffic().take(20)).map(|record| (0, record)));
    let trace = traffic().next().expect("a trace").id;
    let explanation = explained_by(set, &records, trace).pop().expect("a verdict");
    let told: Vec<_> =
        explanation.policies.iter().map(|policy| (&*policy.name, policy.matches, policy.asked)).collect();
    assert_eq!(
        told,
        [
            ("over", false, Asked::Over),
            ("still", true, Asked::Yes),
            ("outer", false, Asked::Yes),
            ("group", false, Asked::Outside),
            ("inner", false, Asked::Outside),
            ("past", false, Asked::Over),
            ("within", false, Asked::Outside),
        ]
    );
    let said = explanation.to_string();
    assert!(said.contains("is over") && said.contains("is not asked"), "{said}");
}

/// It follows from all traces before, and one is read: no verdict is told that would be another in truth.
#[test]
fn what_a_policy_has_learned_is_not_known_of_one_trace() {
    let outliers = "{ name: outliers, keep: { slowest: { quantile: 99%, by: [root.name] } } }";
    let records = recorded(keyed(traffic().take(20)).map(|record| (0, record)));
    let trace = traffic().next().expect("a trace").id;
    let said = |policies: &str| {
        let set = compiled(&format!("policies: [ {policies} ]"));
        explained_by(set, &records, trace).pop().expect("a verdict").to_string()
    };
    let alone = said(outliers);
    let manual = include_str!("../../docs/tools.md");
    let shown = manual.split("```text\n").find(|block| block.starts_with("outliers  matches  keep")).expect("shown");
    let shown = shown.split("```").next().expect("a block").trim();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&alone).contains(&words(shown)), "{alone}");
    // Nothing was kept that it could follow, as far as one trace tells.
    let follows =
        said("{ name: related, keep: { follow: { by: [links] } } }, { name: none, drop: always, shadow: true }");
    assert!(follows.contains("kept by `related` if it says so"), "{follows}");
    // What is kept or dropped whatever it says is told.
    let kept = said(&format!("{{ name: all, keep: always }}, {outliers}"));
    assert!(kept.contains("kept by `all`"), "{kept}");
    let dropped = said(&format!("{outliers}, {{ name: none, drop: always }}"));
    assert!(dropped.contains("dropped by `none`"), "{dropped}");
}

#[test]
fn spans_are_shown_below_those_that_called_them() {
    let span =
        |id, parent, start, name: &str| Seen { id, parent, name: name.to_owned(), start, duration: 1000, status: 0 };
    // In the order they came. Two have the same id, and two call each other.
    let spans = vec![
        span(4, 3, 40, "SELECT"),
        span(3, 1, 30, "cart"),
        span(2, 1, 20, "catalog"),
        span(9, 8, 5, "of another"),
        span(1, 0, 10, "GET /"),
        span(2, 1, 25, "catalog again"),
        span(5, 2, 26, "below both"),
        span(6, 7, 90, "circle"),
        span(7, 6, 91, "circle, too"),
    ];
    let explanation = Explanation {
        trace: TraceId([1; 16]),
        span_count: spans.len(),
        spans,
        late: 0,
        policies: Vec::new(),
        otherwise: Threshold::NEVER,
        decision: None,
    };
    insta::assert_snapshot!(explanation, @r#"
    trace 01010101010101010101010101010101, 9 spans
      "of another"  +0ns  1µs
      "GET /"  +5ns  1µs
        "catalog"  +15ns  1µs
          "below both"  +21ns  1µs
        "catalog again"  +20ns  1µs
        "cart"  +25ns  1µs
          "SELECT"  +35ns  1µs
      "circle"  +85ns  1µs
        "circle, too"  +86ns  1µs


    not decided yet: it waits for more spans, or for time to pass
    "#);
}

#[test]
fn a_trace_over_several_partitions_is_explained_as_it_was_decided() {
    let records = recorded((0..PARTITIONS).cycle().zip(batched(traffic(), 20)));
    let (decided, _) = decided(&records, Keying::Unkeyed);
    let mut compared = 0;
    for trace in traffic().step_by(5) {
        let [explanation] = explained(&records, trace.id).try_into().expect("one verdict");
        let decision = explanation.decision.expect("all is over");
        assert_eq!(decision.verdict, decided[&trace.id].verdict, "{explanation}");
        compared += 1;
    }
    assert_eq!(compared, 80);
    assert!(explained(&records, TraceId([9; 16])).is_empty());
}
