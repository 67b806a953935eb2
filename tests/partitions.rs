//! Partitions that are added to the input: nothing of them is skipped, whatever the group began with.

use std::time::Duration;

use crate::support::{
    kafka::{Topic, kafka},
    oracle::hex,
    processor::Job,
    spans::{failed, keyed, record, span, trace},
    wait::wait_until,
    witness,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Of each partition a trace to be kept, from this number on.
fn produce(input: &Topic, first: u64) {
    let of = |partition: i32| keyed(partition, 0, vec![failed(span(trace(first + partition as u64), 1, 0, 0))]);
    input.produce((0..input.partitions).map(of));
}

/// The traces that are out, each of them once.
fn kept(output: &Topic) -> Vec<String> {
    let mut kept: Vec<String> =
        output.records().into_iter().map(|of| String::from_utf8(of.key.expect("a key")).expect("hex")).collect();
    kept.sort();
    kept
}

fn traces(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|number| hex(&trace(number))).collect()
}

/// In place of the start that the configuration file has.
fn from_the_end() -> Vec<(&'static str, String)> {
    vec![("TAILWATER__INPUT__START", "latest".to_owned())]
}

fn has_begun(input: &Topic, group: &str) -> bool {
    input.committed(group).iter().all(|of| of.offset.is_some())
}

#[test]
fn what_is_added_to_a_group_that_began_at_the_end_is_read_whole() {
    let input = kafka().topic("added-spans", 3);
    let output = kafka().topic("added-kept", 1);
    let mut job = Job::named("added");
    (job.keyed, job.variables) = ("yes", from_the_end());
    produce(&input, 100);
    let processor = job.run();
    wait_until("its start to be committed", PATIENCE, || has_begun(&input, "added"));
    let began = input.committed("added");
    assert!(processor.terminate().status.success());

    let input = input.grow(5);
    produce(&input, 200);
    let refused = job.run().ends_within(PATIENCE);
    assert_eq!(refused.status.code(), Some(1), "{}", refused.said);
    assert!(refused.said.contains("--alter --topic added-decisions --partitions 5"), "{}", refused.said);
    kafka().existing("added-decisions", 3).grow(5);
    kafka().existing("added-samplers", 3).grow(5);
    job.run_until_end();
    assert_eq!(kept(&output), traces(200..205));

    // One that began with three partitions, and ended when the first had been committed.
    produce(&input, 300);
    job.group = "added-in-part".to_owned();
    input.put_committed(&job.group, &began[..1]);
    job.run_until_end();
    // The first whole, the two that it began with from the end, the two that were added later whole.
    let again = [200, 300, 203, 303, 204, 304];
    let mut expected = [traces(200..205), traces(again)].concat();
    expected.sort();
    assert_eq!(kept(&output), expected);
    witness("partitions-latest");
}

#[test]
fn what_is_added_meanwhile_waits_for_a_place_for_its_decisions() {
    let input = kafka().topic("grown-spans", 2);
    let output = kafka().topic("grown-kept", 1);
    let mut job = Job::named("grown");
    (job.keyed, job.variables) = ("yes", from_the_end());
    job.properties = "topic.metadata.refresh.interval.ms: 500, ".to_owned();
    let mut processor = job.run();
    wait_until("its start to be committed", PATIENCE, || has_begun(&input, "grown"));
    produce(&input, 0);
    processor.wait_until("what is there to go out", |metrics| metrics.forwarded() == 2);
    let input = input.grow(3);
    produce(&input, 10);
    let ended = processor.ends_within(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
    let last = ended.said.lines().last().unwrap_or_default();
    let words =
        ["`grown-spans` had 2 partitions", "a partition 2", "`grown-decisions` and `grown-samplers` have no place"];
    assert!(words.iter().all(|word| last.contains(word)), "{}", ended.said);
    kafka().existing("grown-decisions", 2).grow(3);
    kafka().existing("grown-samplers", 2).grow(3);
    job.run_until_end();
    assert_eq!(kept(&output), traces([0, 1, 10, 11, 12]));
    witness("partitions-meanwhile");
}

#[test]
fn what_is_added_before_the_re_key_stage_is_taken_on() {
    let input = kafka().topic("grown-rekey-spans", 2);
    let output = kafka().topic("grown-rekey-kept", 1);
    let mut job = Job::named("grown-rekey");
    (job.keyed, job.input, job.variables) = ("rekey", "rekey_partitions: 2", from_the_end());
    job.properties = "topic.metadata.refresh.interval.ms: 500, ".to_owned();
    job.more = "workers: 2\n".to_owned();
    let mut processor = job.run();
    wait_until("its start to be committed", PATIENCE, || has_begun(&input, "grown-rekey-rekey"));
    let input = input.grow(4);
    input.produce((0..4).map(|of| record(of, 0, vec![failed(span(trace(of as u64), 1, 0, 0))])));
    processor.wait_until("all of it to be re-keyed", |metrics| metrics.sum("tailwater_rekey_spans_total") == 4);
    assert!(processor.terminate().status.success());
    job.run_until_end();
    assert_eq!(kept(&output), traces(0..4));
    witness("partitions-rekey");
}
