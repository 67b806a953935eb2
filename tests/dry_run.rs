//! A run that writes nothing counts what a run would write.

use std::time::Duration;

use tailwater::generate::Shape;

use crate::support::{
    kafka::{Record, Topic, kafka},
    oracle::count,
    processor::{Job, Metrics},
    seed::seed,
    spans::{failed, keyed, passing_time, span, trace},
    traffic::Shop,
    wait::wait_for,
    witness,
};

const PLACE: &[(&str, &str)] = &[("topic", "dry-live-spans"), ("partition", "0")];

fn has_offsets(input: &Topic, group: &str) -> bool {
    input.committed(group).iter().any(|committed| committed.offset.is_some())
}

#[test]
fn to_the_end_it_counts_what_a_run_writes() {
    let input = kafka().topic("dry-end-spans", 3);
    let mut job = Job::named("dry-end");
    (job.keyed, job.more) = ("yes", "workers: 2\n".to_owned());
    let mut without_id = keyed(0, 0, vec![span([0; 16], 1, 0, 0)]);
    without_id.key = None;
    input.produce([without_id, Record { value: b"this is not OTLP".to_vec(), ..keyed(1, 0, vec![]) }]);
    let shop = Shop { seed: seed(), traces: 3_000, shape: Shape::default() };
    let spans: usize = shop.traces().map(|trace| trace.spans.len()).sum();
    input.produce(shop.keyed(3));
    let run = || {
        let ran = job.ask("run", &["--dry-run", "--until-end"]);
        assert!(ran.status.success(), "{}", ran.said);
        assert!(ran.said.contains("a dry run, from the start of the log"), "{}", ran.said);
        let counters = ran.said.lines().filter(|line| line.starts_with("tailwater_") && line.contains("_total"));
        let mut counters: Vec<String> = counters.map(str::to_owned).collect();
        counters.sort();
        (ran.metrics(), counters)
    };

    // Not even the output is there.
    let (dry, counters) = run();
    assert_eq!((dry.value("tailwater_dry_run", &[]), dry.lost(), dry.held()), (Some(1.0), 0, 0));
    assert_eq!(dry.received(), spans as u64 + 1);
    assert_eq!(kafka().topics("dry-end"), ["dry-end-spans"]);
    assert!(!has_offsets(&input, "dry-end") && !has_offsets(&input, "dry-end-dry-run"));

    let output = kafka().topic("dry-end-kept", 1);
    job.run_until_end();
    let dead = kafka().existing(&job.dead_letters(), 3).records();
    let forwarded: u64 = output.records().iter().map(|record| count(&record.value)).sum();
    assert!(forwarded > 0 && forwarded < spans as u64, "some are kept and some are not: {forwarded} of {spans}");
    assert_eq!(dry.forwarded(), forwarded);
    assert_eq!(dry.sum("tailwater_spans_dropped_total"), spans as u64 - forwarded);
    assert_eq!((dry.rejected(), dry.sum("tailwater_records_rejected_total"), dead.len()), (1, 1, 2));

    // What was committed meanwhile is another group's.
    let ends = output.open_ends();
    assert_eq!(run().1, counters);
    assert_eq!(output.open_ends(), ends);
    assert!(!has_offsets(&input, "dry-end-dry-run"));

    // Unless somebody has put its offsets on purpose.
    input.put("dry-end-dry-run", &input.ends());
    assert_eq!(run().0.received(), 0);
    witness("dry-run-end");
}

#[test]
fn beside_a_processor_it_counts_the_same_from_then_on() {
    let input = kafka().topic("dry-live-spans", 1);
    let output = kafka().topic("dry-live-kept", 1);
    let job = Job::named("dry-live");
    let old: Vec<Record> = passing_time(0, 0, 60_000).collect();
    input.produce([keyed(0, 0, vec![failed(span(trace(1), 1, 0, 0))])]);
    input.produce(old.clone());
    let old = old.len() as u64 + 1;
    let mut processor = job.run();
    processor.wait_until("the old traces to be decided", |metrics| metrics.received() == old && metrics.held() == 0);
    let topics = kafka().topics("dry-live");

    let mut dry = job.start(&["--dry-run"]);
    dry.wait_until("its beginning", |metrics| metrics.value("tailwater_position_lag_records", PLACE).is_some());
    let more: Vec<Record> = passing_time(0, 62_000, 70_000).collect();
    let kept = vec![failed(span(trace(2), 1, 0, 61_000)), span(trace(2), 2, 1, 61_000)];
    input.produce([keyed(0, 61_000, kept), keyed(0, 61_000, vec![span(trace(3), 1, 0, 61_000)])]);
    input.produce(more.clone());
    let more = more.len() as u64 + 1;
    processor.wait_until("the processor", |metrics| metrics.received() == old + 2 + more && metrics.held() == 0);
    dry.wait_until("the dry run", |metrics| metrics.received() == 2 + more && metrics.held() == 0);

    let (real, counted) = (processor.metrics().expect("it runs"), dry.metrics().expect("it runs"));
    let dropped = |of: &Metrics| of.sum("tailwater_spans_dropped_total");
    assert_eq!((real.forwarded(), dropped(&real)), (1 + 2, old - 1 + more));
    assert_eq!((counted.forwarded(), dropped(&counted)), (2, more));
    assert_eq!((real.value("tailwater_dry_run", &[]), counted.value("tailwater_dry_run", &[])), (Some(0.0), Some(1.0)));
    // What it reads, and in which group, is not what the configuration says, and no change of that.
    dry.hang_up();
    wait_for("the policies to be loaded again", Duration::from_secs(60), || {
        dry.said().contains("the policies are loaded again, and say nothing new").then_some(())
    });
    let ended = dry.terminate();
    assert!(ended.status.success() && !ended.said.contains("says otherwise than at the start"), "{}", ended.said);
    assert_eq!(kafka().topics("dry-live"), topics);
    assert!(!has_offsets(&input, "dry-live-dry-run"));
    processor.terminate();
    assert_eq!(output.records().iter().map(|record| count(&record.value)).sum::<u64>(), 3, "the processor's alone");
    witness("dry-run-live");
}

/// Of what is rare one trace is kept, and not one for each worker.
#[test]
fn its_workers_tell_each_other_what_they_learn() {
    let input = kafka().topic("dry-shared-spans", 2);
    let job = Job {
        keyed: "yes",
        policies: "policies: [ { name: each, when: any(status.code == STATUS_CODE_ERROR), \
                   keep: { rare: { by: [root.service], per: 1h } } } ]"
            .to_owned(),
        more: "workers: 2\n".to_owned(),
        ..Job::named("dry-shared")
    };
    let mut dry = job.start(&["--dry-run"]);
    dry.wait_until("its beginning", |metrics| {
        ["0", "1"].iter().all(|partition| {
            let place = [("topic", "dry-shared-spans"), ("partition", *partition)];
            metrics.value("tailwater_position_lag_records", &place).is_some()
        })
    });
    let produce = |partition: i32, at: i64| {
        let time = (0..2).flat_map(|partition| passing_time(partition, at + 1_000, at + 20_000));
        let failing = vec![failed(span(trace(partition as u64), 1, 0, at))];
        input.produce([keyed(partition, at, failing)].into_iter().chain(time));
    };
    produce(0, 0);
    dry.wait_until("one to be kept", |metrics| metrics.forwarded() == 1 && metrics.held() == 0);
    wait_for("the other to hear of it", Duration::from_secs(60), || {
        dry.said().contains("states of samplers are known of other workers").then_some(())
    });
    produce(1, 30_000);
    dry.wait_until("the next", |metrics| metrics.received() == 2 * (1 + 2 * 210) && metrics.held() == 0);
    assert_eq!(dry.metrics().expect("it runs").forwarded(), 1);
    assert!(dry.terminate().status.success());
    witness("dry-run-shared");
}
