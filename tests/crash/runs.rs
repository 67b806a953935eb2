//! 60,000 traces, and at least three kills that count.

use std::time::Instant;

use tailwater::generate::Shape;

use crate::support::{
    kafka::{Record, kafka},
    seed::{runs, seed},
    siege::{Outcome, Siege, State},
    traffic::Shop,
    witness,
};

type Records = fn(&Shop) -> Box<dyn Iterator<Item = Record>>;

const PARTITIONS: i32 = 4;
/// Of which three have to count.
const KILLS: u64 = 4;
/// Not in long runs of one partition, so that all of them have come some way at a kill.
const EVENLY: &str = "queued.min.messages: 10000, fetch.message.max.bytes: 262144, ";
/// A partition of an unkeyed input may be so far ahead of the others (`max_wait`).
const AHEAD_MS: i64 = 30_000;

#[test]
fn sixty_thousand_keyed_traces() {
    runs_of("crash-run-keyed", 0, |shop| Box::new(shop.keyed(PARTITIONS)));
}

#[test]
fn sixty_thousand_traces_in_unkeyed_batches() {
    runs_of("crash-run-batched", AHEAD_MS, |shop| Box::new(shop.batched(PARTITIONS)));
}

/// One run; `make proof` has more, and shows them in a table.
fn runs_of(name: &str, ahead_ms: i64, records: Records) {
    let mut random = fastrand::Rng::with_seed(seed());
    for run in 1..=runs() {
        let (seed, start) = (random.u64(..), Instant::now());
        let outcome = one_run(&format!("{name}-{run}"), seed, ahead_ms, records);
        println!("{name} run {run:>2}: {outcome}; {:>3.0?}, seed {seed}", start.elapsed());
        assert!(outcome.counting >= 3, "too few kills count");
    }
    witness(name);
}

/// Kills at moments nobody chose, one in each part of the topic.
fn one_run(name: &str, seed: u64, ahead_ms: i64, records: Records) -> Outcome {
    let shape = Shape { spans_per_second: 2_500.0, ..Shape::default() };
    let shop = Shop { seed, traces: 60_000, shape };
    let mut siege = Siege::new(kafka(), name, &["spans"], PARTITIONS);
    siege.inputs[0].produce(records(&shop));
    let ends = siege.inputs[0].ends();
    let (all, least) = (ends.iter().sum::<i64>(), ends.iter().max().map_or(0, |end| end / 10));
    let mut random = fastrand::Rng::with_seed(seed);
    // From a seventh of the topic to six of them; what is committed lags behind.
    siege.job.properties.push_str(EVENLY);
    let parts = KILLS as i64 + 3;
    for part in 1..=KILLS as i64 {
        let target = random.i64(all * part / parts + all / 20..all * (part + 1) / parts);
        let before = siege.commits();
        let mut processor = siege.job.run();
        let mut at = 0;
        processor.wait_until("a place in the topic to be passed", |_| {
            let now = siege.commits();
            at = now.iter().map(|commit| commit.position).sum();
            at >= target && now != before && now.iter().all(|commit| commit.watermark > least)
        });
        siege.kill(processor, format!("at {:.0} %", at as f64 / all as f64 * 100.0), State::Anything);
    }
    siege.judge(ahead_ms)
}
