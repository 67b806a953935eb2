//! Rates and budgets of several workers hold, whoever is killed.

use fastrand::Rng;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::support::{
    kafka::kafka,
    oracle::hex,
    processor::Job,
    seed::seed,
    spans::{keyed, span, trace},
    witness,
};

/// `some` alone would keep all.
const POLICIES: &str = "
policies:
  - { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always, protect: true }
  - { name: some, keep: { rate: { traces_per_second: 16, burst: 10s, by: [root.name] } } }
budget: { traces_per_second: 12, burst: 10s, give_way: [some] }
";
const RATE: f64 = 12.0;
const BURST: f64 = 10.0 * RATE;
const PARTITIONS: i32 = 4;
const LIVES: u64 = 11;
const TRACES: u64 = 2000;
/// Between two traces, ms.
const APART: i64 = 16;
/// One of so many fails: about one a second.
const FAILS: u64 = 50;

fn fails(number: u64) -> bool {
    number.is_multiple_of(FAILS)
}

#[test]
fn a_budget_holds_over_ten_kills() {
    let mut rng = Rng::with_seed(seed());
    let input = kafka().topic("ceilings-spans", PARTITIONS);
    let output = kafka().topic("ceilings-kept", 1);
    let job = Job {
        keyed: "yes",
        quiet: "1s",
        policies: POLICIES.to_owned(),
        // A life waits for the end of the one before.
        session: "session.timeout.ms: 2000, heartbeat.interval.ms: 500, ",
        more: "workers: 2\n".to_owned(),
        ..Job::named("ceilings")
    };
    let number = |life: u64| life * TRACES..(life + 1) * TRACES;
    for life in 0..LIVES {
        let before: i64 = input.ends().iter().sum();
        let records: Vec<_> = number(life)
            .map(|number| {
                let at = number as i64 * APART;
                let root = Span {
                    name: format!("GET /{}", rng.u64(..5)),
                    status: fails(number).then(|| Status { code: 2, ..Status::default() }),
                    ..span(trace(number), 1, 0, at)
                };
                keyed((number % PARTITIONS as u64) as i32, at, vec![root])
            })
            .collect();
        input.produce(records);
        // Some are killed while there is much to do, and some when there is little left.
        let reached = before + rng.i64(1..TRACES as i64);
        job.live_until(&input, reached);
    }
    job.run_until_end();
    let kept = output.traces();
    let failed = (0..LIVES * TRACES).filter(|number| fails(*number));
    let missing = failed.filter(|number| !kept.contains(&hex(&trace(*number)))).count();
    assert_eq!(missing, 0, "what is protected has room");
    let seconds = (LIVES * TRACES) as f64 * APART as f64 / 1000.0;
    println!("{} kept in {seconds} s", kept.len());
    let most = seconds * RATE * 1.05 + BURST;
    assert!((kept.len() as f64) < most, "{} of {most}", kept.len());
    assert!(kept.len() as f64 > seconds * RATE * 0.7, "{}: much is left unused", kept.len());
    witness("ceilings");
}
