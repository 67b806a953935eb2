//! Brokers that are away, topics that are missing, and the end.

use std::time::Duration;

use crate::support::{
    kafka::kafka,
    oracle::{Copies, Expected, hex},
    processor::Job,
    spans::{failed, keyed, passing_time, span, trace},
    wait::wait_until,
    witness,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_broker_that_is_away_is_waited_for() {
    let input = kafka().topic("away-spans", 2);
    let output = kafka().topic("away-kept", 1);
    input.produce([keyed(0, 0, vec![failed(span(trace(1), 1, 0, 0))])]);
    let way = &kafka().outside;
    let mut job = Job::named("away");
    job.brokers = way.bootstrap();

    let mut processor = job.run();
    wait_until("a word about it", PATIENCE, || processor.said().contains(&job.brokers));
    assert!(matches!(processor.get("/livez"), Some((200, _))), "{}", processor.said());
    assert!(matches!(processor.get("/readyz"), Some((503, _))));
    assert_eq!(way.passed(), [0, 0]);

    let open = way.open();
    wait_until("readiness", PATIENCE, || processor.is_ready());
    processor.wait_until("the trace to go out", |metrics| metrics.forwarded() == 1);
    // The trace went either way, and more than that.
    assert!(way.passed().iter().all(|bytes| *bytes > 200), "{:?}", way.passed());

    drop(open);
    wait_until("readiness to end", PATIENCE, || !processor.is_ready());
    assert!(matches!(processor.get("/livez"), Some((200, _))), "{}", processor.said());
    input.produce([keyed(1, 0, vec![failed(span(trace(2), 1, 0, 0))])]);

    let _open = way.open();
    wait_until("readiness again", PATIENCE, || processor.is_ready());
    processor.wait_until("the second trace to go out", |metrics| metrics.forwarded() == 2 && metrics.lost() == 0);
    let ended = processor.terminate();
    assert!(ended.status.success(), "{}", ended.said);
    Expected::of(&[&input]).check(&output.records(), Copies::One);
    witness("lifecycle-away");
}

#[test]
fn a_missing_topic_is_named() {
    let _output = kafka().topic("missing-kept", 1);
    let ended = Job::named("missing").start(&[]).ends_within(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
    assert!(ended.said.contains("missing-spans"), "{}", ended.said);

    let _input = kafka().topic("missing-spans", 1);
    let mut job = Job::named("missing");
    job.output = "missing-output".to_owned();
    let ended = job.start(&["--until-end"]).ends_within(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
    assert!(ended.said.contains("missing-output"), "{}", ended.said);
    assert!(!kafka().existing("missing-output", 1).exists(), "it is not the program's to make");
    witness("lifecycle-missing");
}

#[test]
fn an_empty_topic_ends_at_once() {
    let input = kafka().topic("empty-spans", 3);
    let output = kafka().topic("empty-kept", 1);
    Job::named("empty").run_until_end();
    assert_eq!(input.ends(), [0, 0, 0]);
    assert_eq!(output.ends(), [0]);
    witness("lifecycle-empty");
}

#[test]
fn sigterm_delivers_what_is_decided_and_forces_nothing() {
    let input = kafka().topic("term-spans", 1);
    let output = kafka().topic("term-kept", 1);
    let mut job = Job::named("term");
    job.max_wait = "30m";
    let decided = keyed(0, 0, vec![failed(span(trace(1), 1, 0, 0))]);
    // Its root has not come, so it stays open for half an hour.
    let open = keyed(0, 60_000, vec![failed(span(trace(2), 2, 1, 60_000))]);
    let before = passing_time(0, 100, 50_000).collect::<Vec<_>>();
    let open_at = 1 + before.len() as i64;
    input.produce([vec![decided], before, vec![open]].concat());
    input.produce(passing_time(0, 60_100, 90_000));
    let all = input.ends()[0];

    let mut processor = job.run();
    processor
        .wait_until("all but one to be decided", |metrics| metrics.received() == all as u64 && metrics.held() == 1);
    let ended = processor.terminate();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    let key = |number| Some(hex(&trace(number)).into_bytes());
    assert_eq!(output.records().into_iter().map(|record| record.key).collect::<Vec<_>>(), [key(1)]);
    // At a record where the clock was noted, of which one in sixteen is.
    let stands = input.committed("term")[0].offset.expect("a commit");
    assert!(
        (open_at - 16..=open_at).contains(&stands),
        "the commit stands at {stands}, and the open trace at {open_at}"
    );

    input.produce([keyed(0, 92_000, vec![span(trace(2), 1, 0, 60_000)])]);
    job.run_until_end();
    Expected::of(&[&input]).check(&output.records(), Copies::One);
    assert_eq!(input.committed("term")[0].offset, Some(all + 1));
    witness("lifecycle-term");
}
