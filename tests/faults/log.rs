//! Logs that lost what was still needed: the program says so, and goes on with nothing less.

use std::time::Duration;

use crate::support::{
    kafka::{Topic, kafka},
    processor::{Ended, Job},
    spans::{failed, keyed, span, trace},
    wait::wait_until,
    witness,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn decisions_that_are_gone_are_missed() {
    let input = killed_with_an_open_trace("fault-decisions");
    let decisions = kafka().existing("fault-decisions-decisions", 1);
    decisions.expire(&decisions.ends());
    let ended = refused(&input, "fault-decisions");
    assert!(ended.said.contains("fault-decisions-decisions/0"), "{}", ended.said);
    assert!(ended.said.contains("are gone"), "{}", ended.said);
    witness("fault-decisions");
}

#[test]
fn decisions_that_a_restart_would_need_are_missed_by_who_runs() {
    let input = kafka().topic("fault-floor-spans", 1);
    let output = kafka().topic("fault-floor-kept", 1);
    // Without our right to make it, somebody else has.
    let decisions = kafka().topic("fault-floor-decisions", 1);
    input.produce([keyed(0, 0, vec![failed(span(trace(1), 1, 0, 0))])]);
    let mut processor = job("fault-floor").run();
    let said = "message.timestamp.type is CreateTime and has to be LogAppendTime";
    wait_until("a word about its settings", PATIENCE, || processor.said().contains(said));
    wait_until("the commit of a decision", PATIENCE, || {
        input.committed("fault-floor")[0].metadata.split(':').nth(5).is_some_and(|last| last != "-")
    });
    wait_until("readiness", PATIENCE, || processor.is_ready());
    decisions.expire(&decisions.ends());
    processor.wait_until("it to be noticed", |metrics| metrics.sum("tailwater_decisions_gone") == 1);
    let (status, why) = processor.get("/readyz").expect("it runs");
    assert_eq!((status, &*why), (503, "decisions are gone that a restart would need\n"));
    wait_until("a word about it", PATIENCE, || processor.said().contains("need them from 0 on and be refused"));
    // It remembers them, and goes on.
    input.produce([keyed(0, 0, vec![failed(span(trace(1), 2, 1, 0))])]);
    processor.wait_until("a late span to follow", |metrics| metrics.forwarded() == 2 && metrics.late() == 1);
    processor.kill();
    let ended = refused(&input, "fault-floor");
    assert!(ended.said.contains("are gone"), "{}", ended.said);
    assert_eq!(output.records().len(), 2);
    witness("fault-floor");
}

#[test]
fn records_that_are_gone_are_missed() {
    let input = killed_with_an_open_trace("fault-retention");
    input.expire(&input.ends());
    let ended = refused(&input, "fault-retention");
    assert!(ended.said.contains("removed before they were read"), "{}", ended.said);
    witness("fault-retention");
}

/// One trace is decided and may be read again, another is open.
fn killed_with_an_open_trace(name: &str) -> Topic {
    let input = kafka().topic(&format!("{name}-spans"), 1);
    let _output = kafka().topic(&format!("{name}-kept"), 1);
    input.produce([
        keyed(0, 0, vec![failed(span(trace(1), 2, 1, 0))]),
        keyed(0, 0, vec![failed(span(trace(2), 1, 0, 0))]),
    ]);
    let mut job = job(name);
    job.max_wait = "10m";
    let mut processor = job.run();
    processor.wait_until("one to be decided", |metrics| metrics.forwarded() == 1);
    wait_until("the commit", PATIENCE, || {
        input.committed(name)[0].metadata.split(':').nth(5).is_some_and(|last| last != "-")
    });
    processor.kill();
    input
}

fn refused(input: &Topic, name: &str) -> Ended {
    let before = input.committed(name);
    let ended = job(name).run().ends_within(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
    assert_eq!(input.committed(name), before, "nothing is skipped");
    ended
}

fn job(name: &str) -> Job {
    let mut job = Job::named(name);
    (job.keyed, job.properties) = ("yes", format!("group.instance.id: {name}, "));
    job
}
