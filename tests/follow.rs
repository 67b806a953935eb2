//! A trace follows what was kept in a life before.

use std::collections::BTreeSet;

use fastrand::Rng;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::Link};

use crate::support::{
    kafka::{Record, kafka},
    oracle::hex,
    processor::Job,
    seed::seed,
    spans::{keyed, span, trace},
    witness,
};

/// The one is held for 5 s after its second of quiet, and the other fails 3 s after it.
const POLICIES: &str = "
policies:
  - { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }
  - { name: caused, keep: { follow: { by: [links], wait: 5s } } }
";
const LATER: i64 = 3000;
const PARTITIONS: u64 = 4;
const LIVES: u64 = 4;
/// Two traces each.
const PAIRS: u64 = 2000;
/// Between two pairs, ms: as many are decided and not yet followed when a worker is killed as come in five seconds.
const APART: i64 = 10;
/// One of so many fails.
const FAILS: u64 = 20;

fn fails(pair: u64) -> bool {
    pair.is_multiple_of(FAILS)
}

#[test]
fn who_caused_a_failure_is_kept_over_kills() {
    let mut rng = Rng::with_seed(seed());
    let input = kafka().topic("follow-spans", PARTITIONS as i32);
    let output = kafka().topic("follow-kept", 1);
    let job = Job {
        keyed: "yes",
        quiet: "1s",
        policies: POLICIES.to_owned(),
        more: "workers: 2\n".to_owned(),
        ..Job::named("follow")
    };
    for life in 0..LIVES {
        let before: i64 = input.ends().iter().sum();
        let mut records: Vec<_> = (life * PAIRS..(life + 1) * PAIRS).flat_map(pair).collect();
        records.sort_by_key(|(at, _)| *at);
        input.produce(records.into_iter().map(|(_, record)| record));
        let reached = before + rng.i64(1..2 * PAIRS as i64 - 1200);
        job.live_until(&input, reached);
    }
    job.run_until_end();
    let kept = output.traces();
    let failed = (0..LIVES * PAIRS).filter(|pair| fails(*pair));
    let wanted: BTreeSet<_> = failed.flat_map(|pair| [2 * pair, 2 * pair + 1]).map(|of| hex(&trace(of))).collect();
    let missing = wanted.difference(&kept).count();
    let more = kept.difference(&wanted).count();
    assert_eq!((missing, more), (0, 0), "of {}", wanted.len());
    witness("follow");
}

/// One trace, and one that it causes: both on the same partition, as others are read at a pace of their own.
fn pair(number: u64) -> [(i64, Record); 2] {
    let [cause, effect] = [2 * number, 2 * number + 1].map(trace);
    let partition = (number % PARTITIONS) as i32;
    let at = number as i64 * APART;
    let link = Link { trace_id: cause.to_vec(), span_id: vec![1; 8], ..Link::default() };
    let failed = fails(number).then(|| Status { code: 2, ..Status::default() });
    let job = Span { links: vec![link], status: failed, ..span(effect, 1, 0, at + LATER) };
    [(at, keyed(partition, at, vec![span(cause, 1, 0, at)])), (at + LATER, keyed(partition, at + LATER, vec![job]))]
}
