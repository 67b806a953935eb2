//! SIGKILL, and nothing that had to be kept is missing.

mod matrix;
mod runs;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tailwater::generate::Shape;

use crate::support::{
    kafka::{Record, Topic, kafka},
    log::{Entry, Log},
    observer::Observer,
    oracle::{Copies, Expected, Named, TraceId, named},
    processor::Job,
    seed::seed,
    spans::{failed, keyed, span, trace},
    traffic::Shop,
    wait::wait_until,
    witness,
};

const PARTITIONS: i32 = 3;
/// Reading takes seconds, so that a kill finds the program amid it, not at the end with nothing done yet.
const SLOWLY: &str = "queued.min.messages: 1, fetch.queue.backoff.ms: 50, fetch.message.max.bytes: 10000";
/// The slowest trace takes 13.5 s, and is quiet for 10 s before it is decided.
const HOLD_MS: i64 = 30_000;

#[test]
fn a_kill_in_the_middle_of_keyed_records_loses_nothing() {
    killed_in_the_middle("crash-keyed", |shop| Box::new(shop.keyed(PARTITIONS)));
}

#[test]
fn a_kill_in_the_middle_of_unkeyed_batches_loses_nothing() {
    killed_in_the_middle("crash-batched", |shop| Box::new(shop.batched(PARTITIONS)));
}

/// What is out may be out again; what was decided stays decided.
#[test]
fn kills_with_at_least_once_delivery_lose_and_split_nothing() {
    const KILLS: u64 = 6;
    let shop = Shop { seed: seed(), traces: 20_000, shape: shape() };
    let input = kafka().topic("crash-twice-spans", PARTITIONS);
    let output = kafka().topic("crash-twice-kept", PARTITIONS);
    input.produce(shop.batched(PARTITIONS));
    let log = Log::read(&[&input]);
    let all = log.spans_from(&[0; PARTITIONS as usize]);
    let mut job = Job::named("crash-twice");
    job.quiet = "6s";
    job.more = "delivery: at_least_once\ntick: { interval: 100ms }\n".to_owned();
    let mut random = fastrand::Rng::with_seed(shop.seed);
    let mut resumed = 0;
    for kill in 0..KILLS {
        let before = watermarks(&input, &job.group);
        let target = random.u64(all * kill / KILLS..all * (kill + 1) / KILLS);
        let read_before = all - log.spans_from(&before);
        let mut processor = Job { properties: SLOWLY.to_owned(), ..job.clone() }.run();
        processor.wait_until("a place in the topic to be passed", |metrics| {
            metrics.received() > 0 && read_before + metrics.received() >= target
        });
        processor.kill();
        resumed += usize::from(before.iter().all(|offset| *offset > 0));
        println!("killed, aimed at {target} of {all} spans; committed {:?}", watermarks(&input, &job.group));
    }
    assert!(resumed > 0, "every start was at the beginning");
    job.run_until_end();
    Expected::of(&[&input]).check(&output.records(), Copies::OneOrMore);
    witness("crash-twice");
}

/// The middle is a moment of record time: what comes before it is there at the kill, the rest at the restart.
fn killed_in_the_middle(name: &str, records: fn(&Shop) -> Box<dyn Iterator<Item = Record>>) {
    let shop = Shop { seed: seed(), traces: 60_000, shape: shape() };
    let middle = shop.epoch() + 174_000;
    let input = kafka().topic(&format!("{name}-spans"), PARTITIONS);
    let output = kafka().topic(&format!("{name}-kept"), PARTITIONS);
    let mut job = Job::named(name);
    (job.quiet, job.max_wait) = ("10s", "60s");
    // A second would take partitions over, and read again what the first had read.
    job.more = "workers: 1\n".to_owned();

    input.produce(records(&shop).filter(|record| record.timestamp < middle));
    let half = input.ends();
    let log = Log::read(&[&input]);
    let hold_start = log.offsets_at(middle - HOLD_MS);

    let observer = Observer::start(name, &[&input], &output);
    let mut first = job.run();
    first
        .wait_until("everything to be read", |metrics| metrics.received() == log.spans_from(&[0; PARTITIONS as usize]));
    wait_until("the commits to follow", Duration::from_secs(60), || {
        watermarks(&input, name).iter().zip(&hold_start).all(|(watermark, start)| watermark >= start)
    });
    let delivered: i64 = output.ends().iter().sum();
    first.kill();

    let watermarks = watermarks(&input, name);
    let reread = log.spans_from(&watermarks);
    input.produce(records(&shop).filter(|record| record.timestamp >= middle));
    let whole = Log::read(&[&input]);
    let expected = Expected::of(&[&input]);
    let undecided = undecided(&whole, &half, &watermarks, &expected, &output.records());
    println!("{delivered} records delivered, committed {watermarks:?} of {half:?}; {reread} spans are read again");
    println!("{} traces that must be kept were undecided", undecided.len());
    assert!(delivered > 0);
    assert!(watermarks.iter().zip(input.ends()).all(|(watermark, end)| *watermark > end / 10));
    assert!(!undecided.is_empty());
    assert!(reread > 0 && reread <= log.spans_from(&hold_start), "{reread} spans are more than the hold time");

    let mut second = job.run();
    let left = whole.spans_from(&watermarks);
    second.wait_until("the rest to be decided", |metrics| metrics.received() >= left && metrics.held() == 0);
    let metrics = second.metrics().expect("it runs");
    assert_eq!(metrics.received(), left, "it starts from the watermark");
    assert_eq!(metrics.lost(), 0);
    let ended = second.terminate();
    assert!(ended.status.success(), "{}", ended.said);
    expected.check(&output.records(), Copies::One);
    observer.end().check(&whole, &expected);
    witness(name);
}

/// An open trace holds the watermark, nothing comes in: all that a commit has to tell is that something was decided.
#[test]
fn what_was_decided_while_the_input_rested_is_decided_once() {
    let input = kafka().topic("crash-rest-spans", 1);
    let output = kafka().topic("crash-rest-kept", 1);
    let mut job = Job::named("crash-rest");
    job.max_wait = "10m";
    job.properties = "group.instance.id: crash-rest, ".to_owned();
    input.produce([
        keyed(0, 0, vec![failed(span(trace(1), 2, 1, 0))]),
        keyed(0, 0, vec![failed(span(trace(2), 1, 0, 0))]),
    ]);
    let observer = Observer::start(&job.group, &[&input], &output);
    let mut first = job.run();
    first.wait_until("the second trace to be decided", |metrics| metrics.forwarded() == 1);
    first.kill();

    input.produce([keyed(0, 0, vec![span(trace(1), 1, 0, 0)])]);
    let mut second = job.run();
    second.wait_until("the first trace to be decided", |metrics| metrics.forwarded() > 0 && metrics.held() == 0);
    let ended = second.terminate();
    assert!(ended.status.success(), "{}", ended.said);
    let expected = Expected::of(&[&input]);
    expected.check(&output.records(), Copies::One);
    observer.end().check(&Log::read(&[&input]), &expected);
    witness("crash-rest");
}

/// 60,000 traces are 350 s of traffic.
fn shape() -> Shape {
    Shape { spans_per_second: 2_500.0, ..Shape::default() }
}

fn watermarks(input: &Topic, group: &str) -> Vec<i64> {
    input.committed(group).iter().map(|of| of.offset.unwrap_or(0)).collect()
}

/// Traces that had to be kept and were surely undecided at the kill: the root had not come, no watermark had passed
/// what had, and nothing of them was out.
fn undecided(log: &Log, half: &[i64], watermarks: &[i64], expected: &Expected, output: &[Record]) -> Vec<TraceId> {
    let (mut here, mut rooted) = (HashMap::new(), HashSet::new());
    for ((records, half), watermark) in log.partitions().iter().zip(half).zip(watermarks) {
        for Entry { offset, spans, .. } in records.iter().filter(|record| record.offset < *half) {
            for Named { trace, is_root, .. } in spans {
                *here.entry(*trace).or_insert(true) &= offset >= watermark;
                rooted.extend(is_root.then_some(*trace));
            }
        }
    }
    let out: HashSet<TraceId> = output.iter().flat_map(|record| named(&record.value)).map(|of| of.trace).collect();
    let at_risk = |id: &TraceId| expected.kept.contains_key(id) && !rooted.contains(id) && !out.contains(id);
    here.into_iter().filter(|(id, live)| *live && at_risk(id)).map(|(id, _)| id).collect()
}
