//! `tailwater check`: mistakes before a run, and what brokers lack for one.

use crate::support::{
    acl::{Operation::*, Resource::*},
    kafka::{PASSWORD, kafka},
    processor::{Checked, Job},
    spans::{failed, keyed, record, span, trace},
    witness,
};

/// The line of a check that has all these words is there.
fn has(checked: &Checked, level: &str, words: &[&str]) {
    let found =
        checked.said.lines().any(|line| line.starts_with(level) && words.iter().all(|word| line.contains(word)));
    assert!(found, "{level} {words:?} in:\n{}", checked.said);
}

#[test]
fn a_ready_cluster_passes_while_the_processor_runs() {
    let input = kafka().topic("ready-spans", 2);
    let output = kafka().topic("ready-kept", 1);
    let trace_of = |number| keyed(0, 0, vec![failed(span(trace(number), 1, 0, 0))]);
    input.produce([trace_of(1)]);
    let job = Job::named("ready");

    let before = job.check(&["--preflight"]);
    assert_eq!(before.status.code(), Some(0), "{}", before.said);
    has(&before, "ok", &["topics", "2 partitions"]);
    has(&before, "ok", &["internal", "`ready-decisions` will be created", "retention.ms"]);
    has(&before, "ok", &["keying", "keyed by trace id"]);
    has(&before, "ok", &["reading", "`ready-spans`"]);
    has(&before, "ok", &["transactions", "`ready`"]);
    has(&before, "ok", &["writing", "`ready-kept`"]);
    has(&before, "warning", &["replication", "`ready-kept` has one replica"]);
    assert!(!kafka().existing("ready-decisions", 2).exists(), "it makes nothing");

    let mut processor = job.run();
    processor.wait_until("the trace to go out", |metrics| metrics.forwarded() == 1);
    let during = job.check(&["--preflight"]);
    assert_eq!(during.status.code(), Some(0), "{}", during.said);
    has(&during, "ok", &["internal", "`ready-decisions` exists"]);
    has(&during, "ok", &["reading", "`ready-decisions`"]);
    has(&during, "ok", &["writing", "`ready-decisions`"]);
    input.produce([trace_of(2)]);
    processor.wait_until("the processor to go on", |metrics| metrics.forwarded() == 2);
    let ended = processor.terminate();
    assert!(ended.status.success(), "{}", ended.said);
    assert!(!ended.said.contains("fence"), "{}", ended.said);
    assert_eq!(output.records().len(), 2);
    // Two records and the ends of their transactions, and those of the preflights, which hold nothing.
    assert_eq!(output.ends(), [6]);
    let after = job.check(&["--preflight"]);
    has(&after, "ok", &["position", "all within the log"]);
    witness("preflight-ready");
}

#[test]
fn what_would_not_work_is_an_error_each() {
    let input = kafka().topic_with("wanting-spans", 2, &[("retention.ms", "40000")]);
    let output = kafka().topic_with("wanting-kept", 1, &[("min.insync.replicas", "2")]);
    let _decisions = kafka().topic_with("wanting-decisions", 3, &[("cleanup.policy", "compact")]);
    // Of now, or they expire by themselves.
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let spans = (0..20).map(|number| {
        let mut record = record(0, 0, vec![failed(span(trace(number), 1, 0, 0))]);
        record.timestamp = now;
        record
    });
    input.produce(spans);
    let mut job = Job::named("wanting");
    job.max_wait = "30s";
    job.more = "workers: 2".to_owned();
    let checked = job.check(&["--preflight"]);
    assert_eq!(checked.status.code(), Some(1), "{}", checked.said);
    has(&checked, "warning", &["retention", "`wanting-spans` keeps records for 40s", "60000"]);
    has(&checked, "error", &["internal", "`wanting-decisions` has 3 partitions", "`wanting-spans` has 2"]);
    has(&checked, "error", &["replication", "`wanting-kept` takes no records", "min.insync.replicas is 2"]);
    has(&checked, "error", &["keying", "a record's key is not its trace id", "`workers: auto`"]);
    assert_eq!(output.records().len(), 0);

    job.group = "wanting-too".to_owned();
    job.output = "wanting-nowhere".to_owned();
    let checked = job.check(&["--preflight"]);
    assert_eq!(checked.status.code(), Some(1), "{}", checked.said);
    has(&checked, "error", &["topics", "the output topic `wanting-nowhere` does not exist"]);

    job.brokers = "127.0.0.1:1".to_owned();
    let checked = job.check(&["--preflight"]);
    assert_eq!(checked.status.code(), Some(1), "{}", checked.said);
    has(&checked, "error", &["brokers", "127.0.0.1:1 cannot be reached", "refused"]);
    witness("preflight-wanting");
}

#[test]
fn what_expired_is_an_error_with_its_number() {
    let input = kafka().topic("past-spans", 1);
    let _output = kafka().topic("past-kept", 1);
    let job = Job::named("past");
    let spans = |numbers: std::ops::Range<u64>| numbers.map(|number| keyed(0, 0, vec![span(trace(number), 1, 0, 0)]));
    input.produce(spans(0..10));
    job.run_until_end();
    input.produce(spans(10..30));
    input.expire(&[25]);
    let decisions = kafka().existing("past-decisions", 1);
    decisions.expire(&decisions.ends());
    let checked = job.check(&["--preflight"]);
    assert_eq!(checked.status.code(), Some(1), "{}", checked.said);
    has(&checked, "error", &["position", "15 of past-spans/0 (offsets 10 to 24)", "--accept-expired"]);
    has(&checked, "error", &["position", "decisions of past-decisions/0", "needed from 0 on"]);
    witness("preflight-past");
}

#[test]
fn a_missing_right_is_an_error_each() {
    let input = kafka().topic("limited-spans", 1);
    let output = kafka().topic("limited-kept", 1);
    let _dead_letters = kafka().topic("limited-dead-letters", 1);
    input.produce([keyed(0, 0, vec![failed(span(trace(1), 1, 0, 0))])]);
    let mut job = Job::named("limited");
    job.brokers = kafka().sasl.clone();
    job.properties = "security.protocol: SASL_SSL, sasl.mechanism: PLAIN, sasl.username: limited, \
                      sasl.password: { env: KAFKA_PASSWORD }, ssl.ca.pem: { env: KAFKA_CA }"
        .to_owned();
    let with = |password: &str| {
        vec![("KAFKA_CA", kafka().certificates.text("ca.pem")), ("KAFKA_PASSWORD", password.to_owned())]
    };
    job.variables = with("no-password");
    let checked = job.check(&["--preflight"]);
    assert_eq!(checked.status.code(), Some(1), "{}", checked.said);
    has(&checked, "error", &["brokers", "Authentication failed", "`sasl.password`"]);
    assert!(!checked.said.contains("no-password"), "{}", checked.said);

    job.variables = with(PASSWORD);
    let rights = [
        (Describe, Topic("limited-spans")),
        (Describe, Topic("limited-kept")),
        (Write, Topic("limited-dead-letters")),
        (Describe, Group("limited")),
        (Write, TransactionalIds("limited/")),
    ];
    kafka().allow("limited", &rights);
    let checked = job.check(&["--preflight"]);
    assert_eq!(checked.status.code(), Some(1), "{}", checked.said);
    has(&checked, "ok", &["topics", "1 partition to read"]);
    has(&checked, "error", &["internal", "`limited-decisions`", "grant Create"]);
    has(&checked, "warning", &["retention", "DescribeConfigs"]);
    has(&checked, "error", &["reading", "read `limited-spans`", "grant Read"]);
    has(&checked, "error", &["transactions", "the group `limited`", "grant Read"]);
    has(&checked, "error", &["writing", "write to `limited-kept`", "grant Write"]);
    has(&checked, "ok", &["writing", "`limited-dead-letters`"]);
    assert_eq!(output.ends(), [0], "nothing is written");
    witness("preflight-rights");
}

/// As [`Job::named`], for a user of the listener that asks for a password.
fn as_user(name: &str, user: &str) -> Job {
    let mut job = Job::named(name);
    job.brokers = kafka().sasl.clone();
    job.properties = format!(
        "security.protocol: SASL_SSL, sasl.mechanism: PLAIN, sasl.username: {user}, \
         sasl.password: {{ env: KAFKA_PASSWORD }}, ssl.ca.pem: {{ env: KAFKA_CA }}"
    );
    job.variables = vec![("KAFKA_CA", kafka().certificates.text("ca.pem")), ("KAFKA_PASSWORD", PASSWORD.to_owned())];
    job
}

#[test]
fn a_re_keyed_input_is_tried_as_the_stage_and_the_workers_use_it() {
    let input = kafka().topic("staged-spans", 3);
    let output = kafka().topic("staged-kept", 1);
    input.produce((0..20).map(|number| record(number % 3, 0, vec![failed(span(trace(number as u64), 1, 0, 0))])));
    let staged = |user: &str| {
        let mut job = as_user("staged", user);
        (job.keyed, job.input, job.more) = ("rekey", "rekey_partitions: 4", "workers: 2".to_owned());
        job
    };
    // What README.md asks for, without the stage.
    let workers = [
        (Read, Topic("staged-spans")),
        (DescribeConfigs, Topic("staged-spans")),
        (Write, Topic("staged-kept")),
        (DescribeConfigs, Topic("staged-kept")),
        (Read, Group("staged")),
        (Write, TransactionalIds("staged/")),
    ];
    let by_trace = Topic("staged-by-trace");
    let stage = [Read, Write, Delete, DescribeConfigs, Create].map(|operation| (operation, by_trace));
    kafka().allow("staged", &workers);
    for internal in [Topics("staged-d"), Topics("staged-samplers")] {
        kafka().allow("staged", &[Create, Read, Write, DescribeConfigs].map(|operation| (operation, internal)));
    }
    kafka().allow("staged", &stage);
    kafka().allow("staged", &[(Read, Group("staged-rekey"))]);

    let job = staged("staged");
    let before = job.check(&["--preflight"]);
    assert_eq!(before.status.code(), Some(0), "{}", before.said);
    has(&before, "ok", &["keying", "brought together first"]);
    has(&before, "ok", &["internal", "`staged-by-trace` will be created, with 4 partitions", "CreateTime"]);
    has(&before, "ok", &["internal", "`staged-decisions` will be created, with 4 partitions"]);
    has(&before, "ok", &["transactions", "`staged-rekey`"]);
    has(&before, "ok", &["transactions", "`staged`"]);
    assert_eq!(kafka().topics("staged-").len(), 2, "it makes nothing");

    job.run_until_end();
    assert_eq!(output.records().len(), 20);
    let re_keyed = kafka().existing("staged-by-trace", 4);
    let (bounds, committed) = (re_keyed.bounds(), input.committed("staged-rekey"));
    let after = job.check(&["--preflight"]);
    assert_eq!(after.status.code(), Some(0), "{}", after.said);
    has(&after, "ok", &["internal", "`staged-by-trace` exists"]);
    has(&after, "ok", &["internal", "`staged-decisions` exists"]);
    has(&after, "ok", &["reading", "`staged-by-trace`"]);
    has(&after, "ok", &["writing", "`staged-by-trace`"]);
    has(&after, "ok", &["removing", "`staged-by-trace`"]);
    has(&after, "ok", &["position", "`staged-rekey` has committed 3 partitions"]);
    has(&after, "ok", &["position", "`staged` has committed 4 partitions"]);
    // The mark of a transaction that was aborted is all that is left of it.
    assert_eq!(re_keyed.bounds()[1..], bounds[1..]);
    assert_eq!(re_keyed.bounds()[0].0, bounds[0].0, "nothing is removed");
    assert_eq!(input.committed("staged-rekey"), committed);

    let parted = Job { input: "", ..staged("staged") }.check(&["--preflight"]);
    assert_eq!(parted.status.code(), Some(1), "{}", parted.said);
    has(&parted, "error", &["internal", "`staged-by-trace` has 4 partitions", "`input.rekey_partitions: 4`"]);

    kafka().allow("unstaged", &workers);
    kafka().allow("unstaged", &[(Describe, by_trace)]);
    let without = staged("unstaged").check(&["--preflight"]);
    assert_eq!(without.status.code(), Some(1), "{}", without.said);
    has(&without, "error", &["reading", "read `staged-by-trace`", "grant Read"]);
    has(&without, "error", &["transactions", "the group `staged-rekey`", "grant Read"]);
    has(&without, "error", &["writing", "write to `staged-by-trace`", "grant Write"]);
    has(&without, "warning", &["removing", "`staged-by-trace`", "grant Delete"]);
    witness("preflight-rekey");
}

#[test]
fn a_secret_in_the_file_is_a_warning() {
    let mut job = Job::named("exposed");
    job.properties = "sasl.username: me, sasl.password: hunter3".to_owned();
    let checked = job.check(&[]);
    assert_eq!(checked.status.code(), Some(0), "{}", checked.said);
    has(&checked, "warning", &["`sasl.password`", "{ env: VARIABLE }"]);
    assert!(!checked.said.contains("hunter3"), "{}", checked.said);
    job.properties = "sasl.password: hunter3, linger.ms: soon".to_owned();
    let checked = job.check(&[]);
    assert_eq!(checked.status.code(), Some(1), "{}", checked.said);
    assert!(checked.said.contains("`linger.ms`") && !checked.said.contains("hunter3"), "{}", checked.said);
}

#[test]
fn ticks_too_long_for_shared_goals_are_a_warning() {
    let mut job = Job::named("seldom");
    job.more = "tick: { interval: 5s }\n".to_owned();
    let shares_nothing = job.check(&[]);
    assert!(shares_nothing.status.success() && !shares_nothing.said.contains("warning"), "{}", shares_nothing.said);
    job.policies = "policies: [ { name: some, keep: { rate: { traces_per_second: 10 } } } ]\n".to_owned();
    has(&job.check(&[]), "warning", &["`tick.interval: 5s`", "write 2s or less"]);
    job.more = "tick: { interval: 2s }\n".to_owned();
    assert!(!job.check(&[]).said.contains("warning"));
}
