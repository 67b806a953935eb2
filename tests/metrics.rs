//! What a live processor says in numbers. The names are a contract: dashboards and alerts use them.

use crate::support::{
    kafka::{Record, kafka},
    processor::Job,
    spans::{failed, keyed, passing_time, span, trace},
    witness,
};

#[test]
fn a_live_processor_counts_by_these_names() {
    let input = kafka().topic("metrics-spans", 1);
    let _output = kafka().topic("metrics-kept", 1);
    let mut job = Job::named("metrics");
    job.max_wait = "30m";
    job.policies = job.policies.replace(
        "otherwise:",
        "  - { name: all, keep: always, shadow: true }
  - { name: few, when: trace.span_count == 5, keep: { rate: { spans_per_second: 1, burst: 10s } } }
otherwise:",
    );
    let idle: Vec<Record> = passing_time(0, 100, 60_000).collect();
    let mut without_id = keyed(0, 50, vec![span([0; 16], 1, 0, 0)]);
    without_id.key = None;
    input.produce([
        keyed(0, 0, vec![failed(span(trace(1), 1, 0, 0)), span(trace(1), 2, 1, 2)]),
        keyed(0, 0, vec![span(trace(2), 1, 0, 0)]),
        without_id,
        Record { value: b"this is not OTLP".to_vec(), ..keyed(0, 50, vec![]) },
        // Its root does not come.
        keyed(0, 50, vec![span(trace(3), 2, 1, 0)]),
        // In its first second a rate has no room for five: there is a chance, and not with so low a randomness.
        keyed(0, 50, (1..=5).map(|id| span(trace(4), id, id - 1, 0)).collect()),
    ]);
    input.produce(idle.clone());
    input.produce([1, 1, 2].map(|number| keyed(0, 60_000, vec![span(trace(number), 3, 1, 5)])));
    let idle = idle.len() as u64;

    let mut processor = job.run();
    processor.wait_until("all but one trace to be decided and committed", |metrics| {
        metrics.late() == 3 && metrics.held() == 1 && metrics.sum("tailwater_watermark_age_seconds") >= 60
    });
    let metrics = processor.metrics().expect("it runs");
    let place = [("topic", "metrics-spans"), ("partition", "0")];
    let decided = |verdict, policy| [("verdict", verdict), ("policy", policy), ("reason", "structure")];
    let cut = |which| [("policy", "few"), ("which", which)];
    let nothing = &[][..];
    let counted = [
        ("tailwater_spans_received_total", nothing, 13 + idle),
        ("tailwater_spans_forwarded_total", nothing, 4),
        ("tailwater_spans_dropped_total", nothing, 7 + idle),
        ("tailwater_spans_rejected_total", nothing, 1),
        ("tailwater_spans_returned_total", nothing, 0),
        ("tailwater_spans_late_total", &[("verdict", "keep")][..], 2),
        ("tailwater_spans_late_total", &[("verdict", "drop")][..], 1),
        ("tailwater_spans_held", nothing, 1),
        ("tailwater_spans_lost", nothing, 0),
        ("tailwater_traces_held", nothing, 1),
        ("tailwater_spans_given_up_total", nothing, 0),
        ("tailwater_traces_recalled_total", nothing, 0),
        ("tailwater_spans_recalled_total", nothing, 0),
        ("tailwater_traces_recalled_in_part_total", nothing, 0),
        ("tailwater_spans_gone_total", nothing, 0),
        ("tailwater_recall_records_read_total", nothing, 0),
        ("tailwater_recall_bytes_read_total", nothing, 0),
        ("tailwater_recall_bytes_kept_total", nothing, 0),
        ("tailwater_traces_decided_total", &decided("keep", "errors")[..], 1),
        ("tailwater_traces_decided_total", &decided("drop", "otherwise")[..], 2 + idle),
        ("tailwater_shadow_traces_total", &[("verdict", "keep"), ("policy", "all")][..], 3 + idle),
        ("tailwater_cut_traces_total", &cut("rate")[..], 1),
        ("tailwater_cut_traces_total", &cut("budget")[..], 0),
        ("tailwater_cut_traces_total", &cut("protected")[..], 0),
        ("tailwater_cut_traces_total", &cut("starved")[..], 0),
        ("tailwater_completion_spans_total", &[("reason", "structure"), ("when", "before")][..], 8 + idle),
        ("tailwater_completion_spans_total", &[("reason", "structure"), ("when", "late")][..], 3),
        ("tailwater_traces_spread_total", nothing, 0),
        ("tailwater_records_rejected_total", nothing, 1),
        ("tailwater_records_skewed_total", nothing, 0),
        ("tailwater_records_expired_total", nothing, 0),
        ("tailwater_decisions_gone", nothing, 0),
        ("tailwater_dry_run", nothing, 0),
        ("tailwater_verdicts_forgotten_total", nothing, 0),
        ("tailwater_position_lag_records", &place[..], 0),
    ];
    for (name, labels, number) in counted {
        assert_eq!(metrics.value(name, labels), Some(number as f64), "{name} {labels:?}");
    }
    assert!(metrics.value("tailwater_watermark_age_seconds", &place).is_some_and(|age| age >= 60.0));
    assert!(metrics.value("tailwater_bytes_held", &[]).is_some_and(|bytes| bytes > 0.0));
    // Each waits for 2 s, and then for the end of the second in which a rate judges.
    let held = metrics.value("tailwater_held_seconds_total", &[("reason", "structure")]).expect("a number");
    let traces = (3 + idle) as f64;
    assert!((2.0 * traces - 1.0..=3.1 * traces).contains(&held), "{held} s of {traces} traces");
    processor.terminate();
    witness("metrics");
}
