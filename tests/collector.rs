//! The OpenTelemetry Collector as the judge of what is imported from it: one topic through both, policy by policy.

mod corpus;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::support::{
    collector::{Collector, traces},
    kafka::{Topic, kafka},
    oracle::{TraceId, hex},
    processor::Job,
    seed::seed,
    witness,
};

/// By name, what stands under `policies`. On these the Collector and we must agree.
const SAME: &[(&str, &str)] = &[("status", "[{ name: p, type: status_code, status_code: { status_codes: [ERROR] } }]")];

const TRACES: usize = 2_000;
const PARTITIONS: i32 = 2;
/// Runs of the program at a time.
const RUNS: usize = 4;

#[test]
fn imported_policies_keep_what_the_collector_keeps() {
    let input = kafka().topic("collector-spans", PARTITIONS);
    input.produce(corpus::corpus(seed(), TRACES, PARTITIONS));
    agree(&input, "collector", SAME, TRACES);
    witness("collector");
}

/// That the very same traces come out, and neither none nor all.
fn agree(input: &Topic, name: &str, processors: &[(&str, &str)], traces: usize) {
    let collector = Collector::of(input, name, processors);
    let theirs = collector.run(input);
    let ours = ours(input, &collector, processors);
    let mut wrong = Vec::new();
    for (processor, policies) in processors {
        let none = BTreeSet::new();
        let (theirs, ours) = (theirs.get(*processor).unwrap_or(&none), &ours[*processor]);
        let share = theirs.len() * 100 / traces;
        println!("{processor}: {} of {traces} traces kept", theirs.len());
        if !(5..95).contains(&share) {
            wrong.push(format!("{processor}: {share} % of the traces prove nothing: {policies}"));
        }
        let differing: Vec<_> = theirs.symmetric_difference(ours).collect();
        if let Some(id) = differing.first() {
            let by = if theirs.contains(*id) { "only by the Collector" } else { "only by us" };
            let (count, id) = (differing.len(), hex(id));
            wrong.push(format!("{processor}: {count} traces differ, {id} is kept {by}: {policies}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the program keeps, of each processor's policies.
fn ours(input: &Topic, collector: &Collector, processors: &[(&str, &str)]) -> BTreeMap<String, BTreeSet<TraceId>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut kept = Vec::new();
        while let Some((processor, _)) = processors.get(next.fetch_add(1, Ordering::SeqCst)) {
            kept.push(((*processor).to_owned(), run(input, collector, processor)));
        }
        kept
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..RUNS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("every run succeeds")).collect()
    })
}

fn run(input: &Topic, collector: &Collector, processor: &str) -> BTreeSet<TraceId> {
    let imported = Command::new(env!("CARGO_BIN_EXE_tailwater"))
        .args(["import", "--processor", &format!("tail_sampling/{processor}")])
        .arg(collector.config())
        .output()
        .expect("the program starts");
    assert!(imported.status.success(), "{processor}: {}", String::from_utf8_lossy(&imported.stderr));
    let mut job = Job::named(&format!("{}-{processor}", input.name));
    job.inputs = vec![input.name.clone()];
    job.policies = String::from_utf8(imported.stdout).expect("text");
    let output = kafka().topic(&job.output, 1);
    job.run_until_end();
    output.records().iter().flat_map(|record| traces(&record.value)).collect()
}
