//! SIGKILL, and nothing that had to be kept is missing.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use tailwater::generate::Shape;

use crate::support::{
    kafka::{Record, Topic, kafka},
    oracle::{Copies, Expected, TraceId},
    processor::Job,
    seed::seed,
    stream::Stream,
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
    let log = Log::read(&input);
    let hold_start = log.offsets_at(middle - HOLD_MS);

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
    let whole = Log::read(&input);
    let expected = Expected::of(&[&input]);
    let undecided = undecided(&input, &half, &watermarks, &expected, &output.records());
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
    witness(name);
}

/// Kills at moments nobody chose, one in each quarter of the topic.
#[test]
fn kills_at_any_moment_lose_nothing() {
    const KILLS: u64 = 4;
    let shop = Shop { seed: seed(), traces: 20_000, shape: shape() };
    let input = kafka().topic("crash-random-spans", PARTITIONS);
    let output = kafka().topic("crash-random-kept", PARTITIONS);
    input.produce(shop.batched(PARTITIONS));
    let log = Log::read(&input);
    let all = log.spans_from(&[0; PARTITIONS as usize]);
    let job = busy("crash-random");
    let mut random = fastrand::Rng::with_seed(shop.seed);
    let mut committed = vec![0; PARTITIONS as usize];
    let mut resumed = 0;
    for kill in 0..KILLS {
        let target = random.u64(all * kill / KILLS..all * (kill + 1) / KILLS);
        let read_before = all - log.spans_from(&committed);
        let mut processor = Job { properties: SLOWLY, ..job.clone() }.run();
        let mut read = 0;
        processor.wait_until("a place in the topic to be passed", |metrics| {
            read = read_before + metrics.received();
            metrics.received() > 0 && read >= target
        });
        processor.kill();
        let now = watermarks(&input, &job.group);
        println!("killed at {read} of {all} spans, aimed at {target}; committed {now:?}");
        assert!(now.iter().zip(&committed).all(|(now, before)| now >= before), "a watermark fell: {committed:?}");
        resumed += usize::from(committed.iter().all(|offset| *offset > 0));
        committed = now;
    }
    // The first kills may find nothing done; the last may not.
    assert!(resumed > 0, "every start was at the beginning");
    assert!(committed != input.ends(), "the last kill came after the end");
    assert!(output.ends().iter().sum::<i64>() > 0, "nothing was out when it was killed");
    job.run_until_end();
    Expected::of(&[&input]).check(&output.records(), Copies::One);
    witness("crash-random");
}

/// A kill while records come in and kept traces go out.
#[test]
fn a_kill_amid_the_stream_loses_nothing() {
    let shop = Shop { seed: seed(), traces: usize::MAX, shape: shape() };
    let input = kafka().topic("crash-stream-spans", PARTITIONS);
    let output = kafka().topic("crash-stream-kept", PARTITIONS);
    let stream = Stream::start(&input, 100, shop.batched(PARTITIONS));
    let job = busy("crash-stream");
    let mut processor = Job { properties: SLOWLY, ..job.clone() }.run();
    let mut behind = 0;
    processor.wait_until("output while there is more to read", |metrics| {
        behind = metrics.sum("tailwater_position_lag_records");
        behind > 0
            && output.ends().iter().sum::<i64>() > 0
            && watermarks(&input, &job.group).iter().all(|offset| *offset > 0)
    });
    processor.kill();
    let ends = input.ends();
    println!("killed {behind} records behind; committed {:?} of {ends:?}", watermarks(&input, &job.group));
    wait_until("more records to come in", Duration::from_secs(60), || input.ends() != ends);
    stream.end();

    job.run_until_end();
    Expected::of(&[&input]).check(&output.records(), Copies::One);
    witness("crash-stream");
}

/// 60,000 traces are 350 s of traffic.
fn shape() -> Shape {
    Shape { spans_per_second: 2_500.0, ..Shape::default() }
}

/// Ticks come often, so that a kill hits one.
fn busy(name: &str) -> Job {
    let mut job = Job::named(name);
    job.quiet = "6s";
    job.more = "tick: { interval: 100ms }\n".to_owned();
    job
}

fn watermarks(input: &Topic, group: &str) -> Vec<i64> {
    input.committed(group).iter().map(|of| of.offset.unwrap_or(0)).collect()
}

/// Traces that had to be kept and were surely undecided at the kill: the root had not come, no watermark had passed
/// what had, and nothing of them was out.
fn undecided(input: &Topic, half: &[i64], watermarks: &[i64], expected: &Expected, output: &[Record]) -> Vec<TraceId> {
    let (mut here, mut rooted) = (HashMap::new(), HashSet::new());
    input.each(|record| {
        let partition = record.partition as usize;
        for (id, is_root) in spans(record) {
            if record.offset < half[partition] {
                *here.entry(id).or_insert(true) &= record.offset >= watermarks[partition];
                rooted.extend(is_root.then_some(id));
            }
        }
    });
    let out: HashSet<TraceId> = output.iter().flat_map(spans).map(|(id, _)| id).collect();
    let at_risk = |id: &TraceId| expected.kept.contains_key(id) && !rooted.contains(id) && !out.contains(id);
    here.into_iter().filter(|(id, live)| *live && at_risk(id)).map(|(id, _)| id).collect()
}

/// Trace ids, and which spans are roots.
fn spans(record: &Record) -> Vec<(TraceId, bool)> {
    let data = TracesData::decode(&record.value[..]).expect("OTLP");
    let scopes = data.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let spans = scopes.flat_map(|scope| scope.spans);
    spans.map(|span| (span.trace_id[..].try_into().expect("16 bytes"), span.parent_span_id.is_empty())).collect()
}

/// What a topic holds, in numbers: per partition and offset, the time and how many spans.
struct Log(Vec<Vec<(i64, u64)>>);

impl Log {
    fn read(topic: &Topic) -> Self {
        let mut log = vec![Vec::new(); PARTITIONS as usize];
        topic.each(|record| log[record.partition as usize].push((record.timestamp, spans(record).len() as u64)));
        Self(log)
    }

    /// The first offsets that are not before a time.
    fn offsets_at(&self, time: i64) -> Vec<i64> {
        self.0.iter().map(|records| records.partition_point(|(at, _)| *at < time) as i64).collect()
    }

    fn spans_from(&self, offsets: &[i64]) -> u64 {
        let left = self.0.iter().zip(offsets).flat_map(|(records, offset)| &records[*offset as usize..]);
        left.map(|(_, spans)| spans).sum()
    }
}
