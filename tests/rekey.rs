//! An input that is not keyed by trace id, and several workers behind the stage that brings traces together.

use std::time::Duration;

use tailwater::generate::Shape;

use crate::support::{
    kafka::{Record, kafka},
    oracle::{Copies, Expected},
    processor::Job,
    seed::seed,
    spans::{EPOCH, failed, record, span, trace},
    stream::Stream,
    traffic::Shop,
    wait::{wait_for, wait_until},
    witness,
};

const PARTITIONS: i32 = 3;
fn shop(traces: usize) -> Shop {
    Shop { seed: seed(), traces, shape: Shape { spans_per_second: 2_500.0, ..Shape::default() } }
}

fn job(name: &str) -> Job {
    let mut job = Job::named(name);
    job.keyed = "rekey";
    job.quiet = "6s";
    job.more = "workers: 3\ntick: { interval: 100ms }\n".to_owned();
    job
}

#[test]
fn three_workers_keep_exactly_what_must_be_kept() {
    let input = kafka().topic("rekey-spans", PARTITIONS);
    let output = kafka().topic("rekey-kept", 4);
    input.produce(shop(20_000).batched(PARTITIONS));
    let job = job("rekey");
    let ended = job.run_until_end();
    println!("re-keyed and decided in {:.1?}", ended.took);
    let expected = Expected::of(&[&input]);
    println!("{} of {} traces must be kept", expected.kept.len(), expected.traces);
    let kept = output.records();
    expected.check(&kept, Copies::One);
    assert_eq!(input.committed("rekey-rekey").iter().filter_map(|of| of.offset).collect::<Vec<_>>(), input.ends());

    let by_trace = kafka().existing("rekey-by-trace", PARTITIONS).bounds();
    assert!(by_trace.iter().all(|(start, _)| *start > 0), "what is done with stays: {by_trace:?}");
    job.run_until_end();
    assert_eq!(output.records().len(), kept.len(), "there was nothing left to do");
    witness("rekey");
}

#[test]
fn it_does_without_transactions_too() {
    let input = kafka().topic("rekey-plain-spans", PARTITIONS);
    let output = kafka().topic("rekey-plain-kept", 1);
    input.produce(shop(2_000).batched(PARTITIONS));
    let mut job = job("rekey-plain");
    job.more.push_str("delivery: at_least_once\n");
    job.run_until_end();
    Expected::of(&[&input]).check(&output.records(), Copies::One);
    witness("rekey-plain");
}

/// Kills at moments nobody chose; both stages are at work.
#[test]
fn kills_amid_both_stages_lose_nothing() {
    const KILLS: u64 = 4;
    let input = kafka().topic("rekey-crash-spans", PARTITIONS);
    let output = kafka().topic("rekey-crash-kept", PARTITIONS);
    let by_trace = kafka().existing("rekey-crash-by-trace", PARTITIONS);
    let shop = shop(60_000);
    let mut random = fastrand::Rng::with_seed(shop.seed);
    input.produce(shop.batched(PARTITIONS));
    let all: i64 = input.ends().iter().sum();
    let job = job("rekey-crash");
    let (mut amid, mut before) = (0, 0);
    for kill in 1..=KILLS {
        let target = all * random.i64(kill as i64 * 10 - 9..kill as i64 * 10) / (KILLS as i64 * 10);
        let mut processor = job.run();
        processor.wait_until("a place in the input to be passed", |_| input.passed("rekey-crash-rekey") >= target);
        processor.wait_until("more of it to be decided", |_| by_trace.passed("rekey-crash") > before);
        processor.kill();
        let (rekeyed, decided) = (input.passed("rekey-crash-rekey"), by_trace.passed("rekey-crash"));
        println!("killed with {rekeyed} of {all} records re-keyed, watermarks at {decided} of {:?}", by_trace.ends());
        before = decided;
        amid += u32::from(rekeyed < all && decided > 0);
    }
    assert!(amid > 0, "no kill came amid both stages");
    job.run_until_end();
    Expected::of(&[&input]).check(&output.records(), Copies::One);
    witness("rekey-crash");
}

#[test]
fn two_processes_share_the_work() {
    // Two for each thread of one process.
    let input = kafka().topic("rekey-two-spans", 2 * PARTITIONS);
    let output = kafka().topic("rekey-two-kept", PARTITIONS);
    let job = job("rekey-two");
    let stream = Stream::start(&input, 200, shop(usize::MAX).batched(2 * PARTITIONS));
    let mut first = job.run();
    first.wait_until("output of the first", |metrics| metrics.lost() == 0 && metrics.forwarded() > 0);
    let mut second = job.run();
    second.wait_until("output of the second", |metrics| {
        metrics.lost() == 0 && metrics.forwarded() > 0 && metrics.sum("tailwater_rekey_spans_total") > 0
    });
    let ends = input.ends();
    second.kill();
    wait_until("more records to come in", Duration::from_secs(60), || input.ends() != ends);
    stream.end();
    let ended = first.terminate();
    assert!(ended.status.success(), "{}", ended.said);
    job.run_until_end();
    Expected::of(&[&input]).check(&output.records(), Copies::One);
    witness("rekey-two");
}

#[test]
fn what_cannot_be_re_keyed_is_set_aside_once() {
    let input = kafka().topic("rekey-bad-spans", 2);
    let output = kafka().topic("rekey-bad-kept", 1);
    let mut job = job("rekey-bad");
    (job.keyed, job.input) = ("rekey", "rekey_partitions: 4");
    job.more = "workers: 2\n".to_owned();
    let bad = Record { value: b"this is not OTLP".to_vec(), ..record(1, 10, vec![]) };
    input.produce([
        record(0, 0, vec![failed(span(trace(1), 1, 0, 0)), span([0; 16], 7, 0, 0), span(trace(2), 1, 0, 0)]),
        bad.clone(),
        record(1, 20, vec![span(trace(1), 2, 1, 5)]),
    ]);
    let mut processor = job.run();
    // What is set aside counts when its transaction is over. What moves to the other worker is received once more.
    processor.wait_until("all of it to be received, and the bad record to be set aside", |metrics| {
        let received = metrics.received() - metrics.sum("tailwater_spans_returned_total");
        received == 4 && metrics.rejected() == 1 && metrics.sum("tailwater_records_rejected_total") == 1
    });
    let metrics = processor.metrics().expect("it runs");
    assert_eq!(metrics.lost(), 0);
    assert_eq!(metrics.sum("tailwater_rekey_spans_total"), 3);
    assert_eq!(metrics.sum("tailwater_rekey_records_total"), 3);
    assert_eq!(
        metrics.value("tailwater_rekey_lag_records", &[("topic", "rekey-bad-spans"), ("partition", "1")]),
        Some(0.0)
    );
    wait_until("readiness", Duration::from_secs(30), || processor.is_ready());
    // The last offsets are markers of transactions, and nothing is behind them.
    processor.wait_until("the head of the log", |metrics| metrics.sum("tailwater_position_lag_records") == 0);
    processor.terminate();

    let re_keyed = kafka().existing("rekey-bad-by-trace", 4).records();
    let of_first = re_keyed.iter().filter(|of| of.key.as_deref() == Some(b"00000000000000010000000000000001"));
    let mut of_first: Vec<_> = of_first.map(|of| (of.partition, of.timestamp - EPOCH)).collect();
    of_first.sort();
    let [(first, 0), (second, 20)] = of_first[..] else { panic!("the times of the input: {of_first:?}") };
    assert_eq!(first, second);

    job.run_until_end();
    Expected::of(&[&input]).check(&output.records(), Copies::One);
    let dead = kafka().existing(&job.dead_letters(), 4).records();
    assert_eq!(dead.len(), 2);
    let whole = dead.iter().find(|letter| letter.value == bad.value).expect("the record as it was");
    assert_eq!(whole.header("tailwater.topic"), Some("rekey-bad-spans"));
    assert_eq!((whole.header("tailwater.partition"), whole.header("tailwater.offset")), (Some("1"), Some("0")));

    (job.keyed, job.input) = ("rekey", "rekey_partitions: 5");
    let ended = job.run().ends_within(Duration::from_secs(60));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
    assert!(ended.said.contains("rekey_partitions: 4"), "{}", ended.said);
    witness("rekey-bad");
}

/// Policies see the record that a span came in, and not the one that the stage made of it.
#[test]
fn topics_and_headers_are_those_of_the_input() {
    let (eu, us) = (kafka().topic("rekey-headers-eu", 2), kafka().topic("rekey-headers-us", 1));
    let output = kafka().topic("rekey-headers-kept", 1);
    let mut job = job("rekey-headers");
    job.inputs = ["rekey-headers-eu", "rekey-headers-us"].map(str::to_owned).into();
    job.policies = r#"
policies:
  - name: acme-in-europe
    when: any(record.topic == "rekey-headers-eu" and record.headers["tenant"] == "acme")
    keep: always
"#
    .to_owned();
    let of = |tenant: &str, record: Record| Record {
        headers: [("other", "x"), ("tenant", tenant), ("tenant", "acme")]
            .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()))
            .into(),
        ..record
    };
    let one = |number: u64, id| span(trace(number), id, id - 1, 0);
    eu.produce([
        // Two traces in one record, and one of them also in another, which says something else.
        of("acme", record(0, 0, vec![one(1, 1), one(2, 1)])),
        of("umbrella", record(1, 0, vec![one(2, 2), one(3, 1)])),
        record(1, 0, vec![one(4, 1)]),
    ]);
    us.produce([of("acme", record(0, 0, vec![one(5, 1)]))]);
    job.run_until_end();
    let mut kept: Vec<_> = output.records().into_iter().map(|record| record.key.expect("a trace")).collect();
    kept.sort();
    assert_eq!(kept, [1, 2].map(|number| super::support::oracle::hex(&trace(number)).into_bytes()));
    witness("rekey-headers");
}

#[test]
fn a_topic_that_is_said_to_be_keyed_and_is_not_is_found_out() {
    let input = kafka().topic("spread-spans", PARTITIONS);
    let _output = kafka().topic("spread-kept", 1);
    let mut job = job("spread");
    // One partition for each worker, so none of them sees it.
    job.keyed = "yes";
    let mut processor = job.run();
    wait_until("readiness", Duration::from_secs(60), || processor.is_ready());
    input.produce(shop(20_000).batched(PARTITIONS));
    processor.wait_until("it to be counted", |metrics| metrics.sum("tailwater_traces_spread_total") > 0);
    let (status, why) = processor.get("/readyz").expect("it runs");
    assert_eq!(status, 503);
    assert!(why.contains("spread over partitions"), "{why}");
    let line = wait_for("a line that names it", Duration::from_secs(10), || {
        let said = processor.said();
        said.lines().find(|line| line.contains("hold spans of one trace")).map(str::to_owned)
    });
    assert!(line.contains("trace=") && line.contains("input.keyed: rekey"), "{line}");
    witness("spread");
}
