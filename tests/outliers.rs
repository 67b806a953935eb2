//! What `slowest` has learned outlives the process that learned it.

use std::{collections::BTreeSet, time::Duration};

use fastrand::Rng;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::support::{
    kafka::{Topic, kafka},
    oracle::hex,
    processor::Job,
    spans::{EPOCH, keyed, span, trace},
    wait::wait_until,
    witness,
};

const POLICIES: &str = "
policies:
  - name: outliers
    keep: { slowest: { quantile: 0.99, by: [root.name] } }
otherwise: drop
";
const PARTITIONS: i32 = 2;
/// Few, so that each has a state of its own before its first life is over: when it gets one, it learns anew.
const OPERATIONS: u64 = 2;
/// So many lives of the processor, and traces in each.
const LIVES: u64 = 11;
const TRACES: u64 = 600;
/// Between two traces, ms: all lives are in one window of ten minutes.
const APART: i64 = 80;
const PATIENCE: Duration = Duration::from_secs(60);

fn job(name: &str) -> Job {
    Job { keyed: "yes", quiet: "1s", policies: POLICIES.to_owned(), ..Job::named(name) }
}

/// Whether all that is there is decided and committed.
fn is_committed(input: &Topic, group: &str) -> bool {
    input.committed(group).iter().zip(input.ends()).all(|(of, end)| of.offset == Some(end))
}

/// The traces of a life, one root each, with durations of which few are long.
fn produce(input: &Topic, rng: &mut Rng, life: u64) {
    let records: Vec<_> = (life * TRACES..(life + 1) * TRACES)
        .map(|number| {
            let at = number as i64 * APART;
            let millis = -(1.0 - rng.f64()).ln() * 20.0;
            let root = Span {
                name: format!("GET /{}", rng.u64(..OPERATIONS)),
                end_time_unix_nano: ((EPOCH + at) as f64 + millis) as u64 * 1_000_000,
                ..span(trace(number), 1, 0, at)
            };
            keyed((number % PARTITIONS as u64) as i32, at, vec![root])
        })
        .collect();
    input.produce(records);
}

fn of_life(kept: &BTreeSet<String>, life: u64) -> usize {
    (life * TRACES..(life + 1) * TRACES).filter(|number| kept.contains(&hex(&trace(*number)))).count()
}

/// What is kept is compared with bounds, so all runs have the same traffic.
const SEED: u64 = 7;

#[test]
fn what_was_learned_outlives_ten_kills() {
    let mut rng = Rng::with_seed(SEED);
    let input = kafka().topic("outliers-spans", PARTITIONS);
    let output = kafka().topic("outliers-kept", 1);
    let mut job = job("outliers");
    for life in 0..LIVES {
        produce(&input, &mut rng, life);
        let processor = job.run();
        wait_until("all to be decided and committed", PATIENCE, || is_committed(&input, &job.group));
        let remembers = processor.said().contains("states of samplers are remembered from before");
        assert_eq!(remembers, life > 0, "{}", processor.said());
        processor.kill();
    }
    let killed = output.traces();

    // Whoever begins with nothing keeps more, in its first life only.
    let undisturbed = kafka().topic("outliers-undisturbed", 1);
    (job.group, job.output) = ("outliers-undisturbed".to_owned(), undisturbed.name.clone());
    job.run_until_end();
    let undisturbed = undisturbed.traces();

    let lives = |kept| (0..LIVES).map(|life| of_life(kept, life)).collect::<Vec<_>>();
    let [killed, undisturbed] = [&killed, &undisturbed].map(lives);
    println!("killed: {killed:?}, undisturbed: {undisturbed:?}");
    let warm_up = killed[0];
    let [killed_later, undisturbed_later] = [killed, undisturbed].map(|lives| lives[1..].iter().sum::<usize>());
    assert!(warm_up * 10 > killed_later * 3, "a warm-up shows: {warm_up} in the first life, {killed_later} in ten");
    let slack = undisturbed_later / 10 + 5;
    // Those that are killed hear of each other between two lives. Who reads all in a second does not, and keeps more.
    let fits = undisturbed_later / 2..=undisturbed_later + slack;
    assert!(fits.contains(&killed_later), "ten kills: {killed_later}, undisturbed: {undisturbed_later}");
    witness("outliers");
}

/// Each of two workers hears of the other, and of one that comes to it when it goes.
#[test]
fn workers_tell_each_other() {
    let mut rng = Rng::with_seed(SEED);
    let input = kafka().topic("outliers-told-spans", PARTITIONS);
    let _output = kafka().topic("outliers-told-kept", 1);
    // With more workers than partitions, one of the two might have none.
    let job = Job { more: "workers: 1\n".to_owned(), ..job("outliers-told") };
    let processors = [job.run(), job.run()];
    for processor in &processors {
        wait_until("each to have a partition", PATIENCE, || processor.said().contains("assigned"));
    }
    produce(&input, &mut rng, 0);
    for processor in &processors {
        wait_until("to hear of the other", PATIENCE, || processor.said().contains("are known of other workers"));
    }
    wait_until("all to be decided and committed", PATIENCE, || is_committed(&input, &job.group));
    let [stays, goes] = processors;
    assert!(goes.terminate().status.success());
    wait_until("what was the other's to be its own", PATIENCE, || {
        stays.said().contains("states of samplers are remembered from before")
    });
    assert!(stays.terminate().status.success());
    witness("outliers-told");
}
