//! Records that are removed before they are read: nothing is skipped without a word.

use std::time::Duration;

use crate::support::{
    kafka::{Topic, kafka},
    oracle::hex,
    processor::Job,
    spans::{failed, keyed, span, trace},
    witness,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Traces to be kept, one record each.
fn produce(input: &Topic, partition: i32, numbers: std::ops::Range<u64>) {
    input.produce(numbers.map(|number| keyed(partition, number as i64, vec![failed(span(trace(number), 1, 0, 0))])));
}

#[test]
fn records_that_expired_are_counted_and_not_skipped() {
    let input = kafka().topic("expired-spans", 3);
    let output = kafka().topic("expired-kept", 1);
    let job = Job::named("expired");
    (0..3).for_each(|partition| produce(&input, partition, 100 * partition as u64..100 * partition as u64 + 20));
    job.run_until_end();
    let committed: Vec<Option<i64>> = input.committed("expired").into_iter().map(|of| of.offset).collect();
    assert_eq!(committed, [Some(20); 3]);

    // Gone: 7 of the first partition, none of the second, all 10 of the third.
    (0..3).for_each(|partition| produce(&input, partition, 100 * partition as u64 + 20..100 * partition as u64 + 30));
    input.expire(&[27, 20, 30]);
    for flags in [&[][..], &["--until-end"]] {
        let ended = job.start(flags).ends_within(PATIENCE);
        assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
        let last = ended.said.lines().last().unwrap_or_default();
        assert_eq!(
            last,
            "error: records of the input were removed before they were read: 7 of expired-spans/0 (offsets 20 to 26), 10 of \
             expired-spans/2 (offsets 20 to 29). Give the topic a longer retention.ms; to go on without these records, start \
             with --accept-expired",
            "{}",
            ended.said
        );
    }
    assert_eq!(output.records().len(), 60, "nothing was done");

    let mut processor = job.start(&["--accept-expired"]);
    processor.wait_until("what is left", |metrics| metrics.forwarded() == 13);
    let metrics = processor.metrics().expect("it runs");
    assert_eq!(metrics.sum("tailwater_records_expired_total"), 17);
    let ended = processor.terminate();
    for words in ["7 records were removed", "10 records were removed"] {
        assert!(ended.said.contains(words), "{words} in:\n{}", ended.said);
    }
    let mut kept: Vec<_> = output.records().into_iter().filter_map(|record| record.key).skip(60).collect();
    kept.sort();
    let left = (27..30).chain(120..130).map(|number| hex(&trace(number)).into_bytes());
    assert_eq!(kept, left.collect::<Vec<_>>());
    // It is committed, so it is over.
    let ended = job.run_until_end();
    assert!(!ended.said.contains("removed"), "{}", ended.said);
    assert_eq!(output.records().len(), 73);
    witness("expired-input");
}

#[test]
fn decisions_that_expired_are_not_made_again() {
    let input = kafka().topic("forgotten-spans", 1);
    let output = kafka().topic("forgotten-kept", 1);
    let job = Job::named("forgotten");
    produce(&input, 0, 0..20);
    job.run_until_end();
    let decisions = kafka().existing("forgotten-decisions", 1);
    decisions.expire(&decisions.ends());
    produce(&input, 0, 20..30);
    for flags in [&[][..], &["--accept-expired"]] {
        let ended = job.start(flags).ends_within(PATIENCE);
        assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
        let last = ended.said.lines().last().unwrap_or_default();
        for words in ["forgotten-decisions/0", "decisions from 0 on are gone", "--reset-offsets"] {
            assert!(last.contains(words), "{words} in:\n{}", ended.said);
        }
    }
    assert_eq!(output.records().len(), 20);
    witness("expired-decisions");
}
