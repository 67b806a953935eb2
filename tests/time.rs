//! Record time: late spans, partitions that lag behind, an outage that splits nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    thread,
    time::{Duration, Instant, SystemTime},
};

use rdkafka::producer::Producer;
use tailwater::{
    decisions::{self, Decision},
    generate::Shape,
};

use crate::support::{
    kafka::{Record, Topic, kafka},
    oracle::{Copies, Expected, Named, TraceId, count, named},
    processor::{Job, Metrics, Processor},
    seed::seed,
    spans::{EPOCH, failed, keyed, passing_time, span, trace},
    traffic::{self, Records, Shop, Traces},
    wait::wait_until,
    witness,
};

/// Of a broker.
const ANSWER: Duration = Duration::from_secs(30);

#[test]
fn late_spans_follow_the_verdict() {
    let input = kafka().topic("late-spans", 1);
    let output = kafka().topic("late-kept", 1);
    let kept = [failed(span(trace(1), 1, 0, 0)), span(trace(1), 2, 1, 2)];
    let dropped = [span(trace(2), 1, 0, 0), span(trace(2), 2, 1, 2)];
    input.produce([keyed(0, 20, kept.to_vec()), keyed(0, 20, dropped.to_vec())]);
    input.produce(passing_time(0, 100, 60_000));
    // An error alone does not bring back what was dropped.
    input.produce([
        keyed(0, 61_000, vec![span(trace(1), 3, 1, 5)]),
        keyed(0, 61_000, vec![failed(span(trace(2), 3, 1, 5))]),
    ]);
    let mut processor = Job::named("late").run();
    processor.wait_until("both late spans", |metrics| metrics.late() == 2);
    processor.wait_until("all of it to be decided", |metrics| metrics.held() == 0);
    let metrics = processor.metrics().expect("it runs");
    assert_eq!((metrics.forwarded(), metrics.lost()), (3, 0));
    processor.terminate();

    let mut expected = Expected::of(&[&input]);
    expected.kept.remove(&trace(2)).expect("the oracle knows no verdicts, only traces");
    expected.check(&output.records(), Copies::One);
    witness("time-late");
}

/// Where verdicts are forgotten, a late span is dropped or put with the dead letters, as it is said. Where they are not, it follows
/// its trace, and what that costs is counted.
#[test]
fn what_comes_too_late_goes_where_it_is_told() {
    // More than `max_wait` and `late_window` together.
    const LATER: i64 = 120_000;
    for (late, rejected) in [("drop", 0), ("dead_letter", 2)] {
        let name = format!("past-{}", late.replace('_', "-"));
        let input = kafka().topic(&format!("{name}-spans"), 1);
        let output = kafka().topic(&format!("{name}-kept"), 1);
        let mut job = Job::named(&name);
        (job.keyed, job.max_wait) = ("yes", "5s");
        job.more = format!("late_window: 60s\nlate: {late}\ntick: {{ interval: 100ms }}\n");
        let mut processor = job.run();
        // Memory forgets whole ticks.
        let settles = |processor: &mut Processor| {
            let ends = input.ends();
            processor.wait_until("all of it to be decided and committed", |_| {
                input.committed(&name).iter().zip(&ends).all(|(of, end)| of.offset == Some(*end))
            });
        };
        input.produce([keyed(0, 0, vec![failed(span(trace(1), 1, 0, 0))]), keyed(0, 0, vec![span(trace(2), 1, 0, 0)])]);
        input.produce(passing_time(0, 100, 10_000));
        settles(&mut processor);
        input.produce([keyed(0, 12_000, vec![failed(span(trace(2), 2, 1, 5))])]);
        settles(&mut processor);
        input.produce(passing_time(0, 12_100, LATER));
        settles(&mut processor);
        input.produce([
            keyed(0, LATER + 2_000, vec![span(trace(1), 3, 1, 5)]),
            keyed(0, LATER + 2_000, vec![failed(span(trace(2), 3, 1, 5))]),
        ]);
        settles(&mut processor);
        processor.wait_until("both to be past", |metrics| {
            metrics.sum("tailwater_spans_past_total") == 2 && metrics.rejected() == rejected
        });
        let metrics = processor.metrics().expect("it runs");
        assert_eq!((metrics.late(), metrics.forwarded(), metrics.rejected(), metrics.lost()), (1, 1, rejected, 0));
        let regret = metrics.value("tailwater_regret_spans_total", &[("policy", "errors")]);
        assert_eq!(regret, Some(1.0), "the span of 12 s");
        let dropped = metrics.sum("tailwater_spans_dropped_total");
        assert_eq!(dropped, metrics.received() - 1 - rejected);
        let ended = processor.terminate();
        assert!(ended.status.success(), "{}", ended.said);

        let mut expected = Expected::of(&[&input]);
        expected.kept.remove(&trace(2)).expect("a span of it failed");
        expected.kept.get_mut(&trace(1)).expect("a span of it failed").truncate(1);
        expected.check(&output.records(), Copies::One);
        let dead = kafka().existing(&job.dead_letters(), 1).records();
        let traces: Vec<TraceId> = dead.iter().flat_map(|letter| named(&letter.value)).map(|span| span.trace).collect();
        assert_eq!(traces, [trace(1), trace(2)][..rejected as usize]);
        let says_why = |letter: &Record| letter.header("tailwater.reason").is_some_and(|why| why.contains("so late"));
        assert!(dead.iter().all(says_why), "{dead:?}");
    }
    witness("time-past");
}

/// One partition is minutes behind the others: a clock for all of them would decide on half the spans.
#[test]
fn a_partition_held_back_by_minutes_splits_nothing() {
    let input = kafka().topic("behind-spans", 3);
    let output = kafka().topic("behind-kept", 1);
    let shape = Shape { spans_per_second: 200.0, ..Shape::default() };
    let shop = Shop { seed: seed(), traces: 4_000, shape };
    // 290 s of traffic, small batches, so that most traces are on every partition.
    let records: Vec<Record> = shop.batches_of(5, 3).collect();
    let end = records.last().expect("records").timestamp - EPOCH;
    let (held_back, rest): (Vec<Record>, Vec<Record>) =
        records.into_iter().partition(|record| record.partition == 2 && record.timestamp > shop.epoch() + 5_000);
    let most = rest.len() as u64 * 4 / 5;
    input.produce(rest);
    let mut job = Job::named("behind");
    // An idle partition follows the wall clock; holding it back takes less of it than `quiet`.
    (job.quiet, job.max_wait) = ("150s", "10m");
    let mut processor = job.run();
    let waiting = |metrics: &Metrics| metrics.sum("tailwater_records_waiting");
    processor.wait_until("minutes of two partitions", |metrics| waiting(metrics) > most);
    assert_eq!(processor.metrics().expect("it runs").sum("tailwater_traces_decided_total"), 0);
    input.produce(held_back);
    // Past `max_wait` for the last of them, in record time.
    (0..3).for_each(|partition| input.produce(passing_time(partition, end, end + 620_000)));
    let expected = Expected::of(&[&input]);
    let kept: usize = expected.kept.values().map(Vec::len).sum();
    processor.wait_until("everything to go out", |metrics| metrics.forwarded() == kept as u64);
    let metrics = processor.metrics().expect("it runs");
    assert_eq!((metrics.lost(), waiting(&metrics)), (0, 0));
    processor.terminate();
    expected.check(&output.records(), Copies::One);
    witness("time-behind");
}

/// Traces over several partitions and two topics, read in long runs of one partition at a time.
#[test]
fn traces_over_two_topics_come_out_whole() {
    let one = kafka().topic("two-a-spans", 2);
    let two = kafka().topic("two-b-spans", 3);
    let output = kafka().topic("two-kept", 2);
    let shop = Shop { seed: seed(), traces: 5_000, shape: Shape::default() };
    let (a, b): (Vec<Record>, Vec<Record>) = shop.batches_of(20, 5).partition(|record| record.partition < 2);
    one.produce(a);
    two.produce(b.into_iter().map(|record| Record { partition: record.partition - 2, ..record }));
    let mut job = Job::named("two");
    job.inputs = vec![one.name.clone(), two.name.clone()];
    job.run_until_end();
    Expected::of(&[&one, &two]).check(&output.records(), Copies::One);
    witness("time-topics");
}

/// Ten minutes of traffic, in which one record of ten is an hour ahead or behind: the same verdicts, for the same reasons, on the same
/// spans, whoever reads it and however (I5).
#[test]
fn verdicts_do_not_depend_on_the_reader() {
    let seed = seed();
    let traffic = ten_minutes(&Shape::default(), seed, [HOUR, -HOUR], traffic::keyed);
    let records = || traffic.iter().map(|(_, record)| record.clone());
    let [input, singles] = ["reader-spans", "reader-single-spans"].map(|name| kafka().topic(name, PARTITIONS));
    input.produce(records());
    // A fetch brings one batch at least.
    singles.sender_of(1).send(records());
    let expected = Expected::of(&[&input]);
    let read = |name: &str, input: &Topic, workers: usize, properties: &str, kills: u64| {
        let job = reader(name, input, workers, properties);
        killed(&job, kills, &expected)
    };
    let one = read("reader-one", &input, 1, "", 0);
    assert_eq!(one.len(), TRACES);
    thread::scope(|scope| {
        scope.spawn(|| same("reader-open", &one, &held_up(&traffic, &expected)));
        scope.spawn(|| same("reader-throttled", &one, &throttled(&traffic, &expected)));
        scope.spawn(|| same("reader-away", &one, &away(seed)));
        same("reader-four", &one, &read("reader-four", &input, 4, "", 0));
        same("reader-slow", &one, &read("reader-slow", &input, 1, SLOWLY, 0));
        same("reader-killed", &one, &read("reader-killed", &input, 2, SLOWLY, 2));
        same("reader-at-once", &one, &read("reader-at-once", &input, 1, AT_ONCE, 0));
        same("reader-single", &one, &read("reader-single", &singles, 1, SINGLY, 0));
    });
    witness("time-reader");
}

/// The same of an input that is not keyed: each trace is on several partitions, of two topics.
#[test]
fn verdicts_on_an_unkeyed_input_do_not_depend_on_the_reader() {
    let traffic = ten_minutes(&Shape::default(), seed(), [HOUR, -HOUR], traffic::spread);
    let inputs = ["order-a-spans", "order-b-spans"].map(|name| kafka().topic(name, PARTITIONS / 2));
    for (first, input) in (0..).step_by(PARTITIONS as usize / 2).zip(&inputs) {
        let its = traffic.iter().map(|(_, record)| Record { partition: record.partition - first, ..record.clone() });
        input.produce(its.filter(|record| (0..PARTITIONS / 2).contains(&record.partition)));
    }
    let expected = Expected::of(&[&inputs[0], &inputs[1]]);
    let read = |name: &str, properties: &str, more: &str, kills: u64| {
        let mut job = reader(name, &inputs[0], 1, properties);
        job.inputs.push(inputs[1].name.clone());
        job.keyed = "no";
        job.more.push_str(more);
        killed(&job, kills, &expected)
    };
    let one = read("order-one", "", "", 0);
    assert_eq!(one.len(), TRACES);
    same("order-slow", &one, &read("order-slow", SLOWLY, "", 0));
    same("order-killed", &one, &read("order-killed", SLOWLY, "", 2));
    // So little may wait that partitions are paused for it.
    same("order-little", &one, &read("order-little", AT_ONCE, "memory: { buffer: 24MiB }\n", 0));
    witness("time-order");
}

/// As it comes, at twenty times its pace: as if it had been there.
#[test]
fn verdicts_on_what_comes_in_are_those_on_what_is_there() {
    const PACE: u32 = 20;
    const QUIET_MS: i64 = 12_000;
    // A machine that is busy with other tests brings nothing for some seconds, which are as many at the head of the log.
    const STALL_MS: i64 = 10_000;
    let shape = Shape { late_ms: 24_000..27_000, ..Shape::default() };
    let (quiet, max_wait) = ("12s", "50s");
    let traffic = ten_minutes(&shape, seed(), [HOUR, -HOUR], traffic::keyed);
    let there = kafka().topic("there-spans", PARTITIONS);
    there.produce(traffic.iter().map(|(_, record)| record.clone()));
    let expected = Expected::of(&[&there]);
    let job = Job { quiet, max_wait, ..reader("there", &there, 1, "") };
    job.run_until_end();
    let mut one = verdicts(&job, &expected);
    assert_eq!(one.len(), TRACES);
    // At the head time passes where no record comes for a second, too, and a busy machine is late: not of those is it asked whose
    // spans come near the end.
    let near = paused(&traffic, QUIET_MS - STALL_MS..QUIET_MS + STALL_MS);
    one.retain(|trace, _| !near.contains(trace));
    assert!(one.len() > TRACES * 9 / 10, "only {} traces are left", one.len());

    let live = kafka().topic("live-spans", PARTITIONS);
    let job = Job { quiet, max_wait, ..reader("live", &live, 2, "") };
    let processor = job.run();
    wait_until("readiness", Duration::from_secs(60), || processor.is_ready());
    let (sender, start, begin) = (live.sender(), Instant::now(), traffic[0].0);
    let mut left = &traffic[..];
    while !left.is_empty() {
        let now = begin + (start.elapsed() * PACE).as_millis() as i64;
        let (due, later) = left.split_at(left.partition_point(|(sent, _)| *sent <= now));
        sender.send(due.iter().map(|(_, record)| record.clone()));
        left = later;
        thread::sleep(Duration::from_millis(20));
    }
    same("live", &one, &finished(&job, processor, &expected));
    witness("time-live");
}

const PARTITIONS: i32 = 4;
const TRACES: usize = 8_000;
const HOUR: i64 = 3_600_000;
const SLOWLY: &str = "queued.min.messages: 1, fetch.queue.backoff.ms: 50, fetch.message.max.bytes: 10000";
const SINGLY: &str = "queued.min.messages: 1, fetch.queue.backoff.ms: 0, fetch.message.max.bytes: 1";
const AT_ONCE: &str = "queued.min.messages: 100000, fetch.message.max.bytes: 20000000, fetch.min.bytes: 5000000";

/// Records with the time each was sent at, of which one in ten is stamped so far ahead by turns, and others for a minute more, in which
/// all of it is decided.
fn ten_minutes(
    shape: &Shape,
    seed: u64,
    wrong: [i64; 2],
    dealt: fn(Traces, i64, i32) -> Records,
) -> Vec<(i64, Record)> {
    const MINUTE: i64 = 60_000;
    let shop = Shop { seed, traces: TRACES, shape: Shape { spans_per_second: 200.0, ..shape.clone() } };
    let mut seen = [0; PARTITIONS as usize];
    let traffic = dealt(Box::new(shop.traces()), shop.epoch(), PARTITIONS).map(|record| {
        let seen = &mut seen[record.partition as usize];
        *seen += 1;
        let wrong = if *seen % 10 > 0 { 0 } else { wrong[*seen / 10 % 2] };
        (record.timestamp, Record { timestamp: record.timestamp + wrong, ..record })
    });
    let mut records: Vec<_> = traffic.collect();
    // From the last trace on, for what is left of it comes so seldom that only the wall clock would tell the time.
    let last = shop.traces().last().expect("traces").start_ms as i64 + shop.epoch() - EPOCH;
    let end = records.last().expect("records").0 - EPOCH;
    let minute = (0..PARTITIONS).flat_map(|partition| passing_time(partition, last, end + MINUTE));
    records.extend(minute.map(|record| (record.timestamp, record)));
    records.sort_by_key(|(sent, _)| *sent);
    records
}

/// The traces of which nothing was sent for about so long, and then more.
fn paused(traffic: &[(i64, Record)], about: Range<i64>) -> BTreeSet<[u8; 16]> {
    let mut last = BTreeMap::new();
    let mut paused = BTreeSet::new();
    for (sent, record) in traffic {
        for span in named(&record.value) {
            if about.contains(&(sent - last.insert(span.trace, *sent).unwrap_or(*sent))) {
                paused.insert(span.trace);
            }
        }
    }
    paused
}

fn reader(name: &str, input: &Topic, workers: usize, properties: &str) -> Job {
    let mut job = Job::named(name);
    kafka().topic(&job.output, 1);
    (job.keyed, job.inputs) = ("yes", vec![input.name.clone()]);
    job.more = format!("workers: {workers}\n");
    job.properties = properties.to_owned();
    job
}

/// It ended a minute ago, and the program was not there.
fn away(seed: u64) -> Verdicts {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    // Deadlines are kept to 64 ms: the other traffic begins at a multiple of them, too.
    let begin = (now - 720) / 64 * 64;
    let shape = Shape { epoch_ns: begin * 1_000_000_000, ..Shape::default() };
    let input = kafka().topic("reader-away-spans", PARTITIONS);
    input.produce(ten_minutes(&shape, seed, [HOUR, -HOUR], traffic::keyed).into_iter().map(|(_, record)| record));
    let job = reader("reader-away", &input, 2, "");
    finished(&job, job.run(), &Expected::of(&[&input]))
}

/// One partition stands in twenty transactions that end one by one, each when what was before it is read: all others are read long
/// before it.
fn throttled(traffic: &[(i64, Record)], expected: &Expected) -> Verdicts {
    const PORTIONS: usize = 20;
    let input = kafka().topic("reader-throttled-spans", PARTITIONS);
    let (theirs, rest): (Vec<Record>, Vec<Record>) =
        traffic.iter().map(|(_, record)| record.clone()).partition(|record| record.partition == 2);
    let portions: Vec<_> = theirs
        .chunks(theirs.len().div_ceil(PORTIONS))
        .map(|portion| (input.produce_open(portion.to_vec()), spans(portion)))
        .collect();
    let mut read = spans(&rest);
    input.produce(rest);
    let job = reader("reader-throttled", &input, 2, "");
    let mut processor = job.run();
    for (portion, spans) in portions {
        processor.wait_until("all that is to be had", |metrics| metrics.received() == read);
        portion.commit_transaction(ANSWER).expect("a commit");
        read += spans;
    }
    finished(&job, processor, expected)
}

/// Amid one partition's records is a transaction that stays open for twenty seconds.
fn held_up(traffic: &[(i64, Record)], expected: &Expected) -> Verdicts {
    const OPEN: Duration = Duration::from_secs(20);
    let input = kafka().topic("reader-open-spans", PARTITIONS);
    let records: Vec<Record> = traffic.iter().map(|(_, record)| record.clone()).collect();
    let (before, after) = records.split_at(records.len() / 2);
    let (theirs, others): (Vec<Record>, Vec<Record>) = after.iter().cloned().partition(|record| record.partition == 1);
    let read = spans(before) + spans(&others);
    let (now, later) = theirs.split_at(theirs.len() / 10);
    input.produce(before.to_vec());
    let (upstream, start) = (input.produce_open(now.to_vec()), Instant::now());
    input.produce([later, &others].concat());
    let job = reader("reader-open", &input, 2, "");
    let mut processor = job.run();
    processor.wait_until("all that is to be had", |metrics| metrics.received() == read);
    thread::sleep(OPEN.saturating_sub(start.elapsed()));
    assert_eq!(processor.metrics().expect("it runs").received(), read);
    upstream.commit_transaction(ANSWER).expect("a commit");
    finished(&job, processor, expected)
}

fn spans(records: &[Record]) -> u64 {
    records.iter().map(|record| count(&record.value)).sum()
}

/// Killed so many times while it reads.
fn killed(job: &Job, kills: u64, expected: &Expected) -> Verdicts {
    for kill in 0..kills {
        let mut processor = job.run();
        processor.wait_until("some of it to be read", |metrics| metrics.received() > 10_000 * (kill + 1));
        processor.kill();
    }
    job.run_until_end();
    verdicts(job, expected)
}

/// When all is read, the rest of its time is over at once.
fn finished(job: &Job, mut processor: Processor, expected: &Expected) -> Verdicts {
    // What moves from one worker to another while they begin is read twice.
    processor.wait_until("all of it to be read", |metrics| metrics.received() >= expected.spans as u64);
    let ended = processor.terminate();
    assert!(ended.status.success(), "{}", ended.said);
    job.run_until_end();
    verdicts(job, expected)
}

/// Whether each trace was kept, why it was complete, on how many spans and, where it was kept, on which.
type Verdicts = BTreeMap<[u8; 16], (bool, String, u32, BTreeSet<Vec<u8>>)>;

/// Of a job that has judged all of its input.
fn verdicts(job: &Job, expected: &Expected) -> Verdicts {
    let output = kafka().existing(&job.output, 1).records();
    expected.check(&output, Copies::One);
    let logs = match &job.inputs[..] {
        [_] => vec![format!("{}-decisions", job.group)],
        inputs => inputs.iter().map(|input| format!("{}-decisions-{input}", job.group)).collect(),
    };
    // One that late spans asked for is written again, without spans.
    let mut first = BTreeMap::new();
    for log in &logs {
        kafka().existing(log, PARTITIONS / logs.len() as i32).each(|record| {
            let logged = decisions::decode(&record.value, &[]).expect("a record of decisions");
            for decision in logged.decisions.into_iter().filter(|decision| decision.spans > 0) {
                let before = first.entry(decision.trace.0).or_insert((logged.tick, decision));
                if logged.tick < before.0 {
                    *before = (logged.tick, decision);
                }
            }
        });
    }
    // Those of the last minute pass time, and some are left at the end.
    first.retain(|id, _| id[8..] != trace(0)[8..]);
    let verdict = |(_, decision): (u64, Decision)| {
        (decision.verdict.keep, decision.reason.name().to_owned(), decision.spans, BTreeSet::new())
    };
    let mut verdicts: Verdicts = first.into_iter().map(|(trace, decided)| (trace, verdict(decided))).collect();
    // Late spans come out behind those that were judged.
    for Named { trace, span, .. } in output.iter().flat_map(|record| named(&record.value)) {
        if let Some((_, _, count, judged)) = verdicts.get_mut(&trace)
            && judged.len() < *count as usize
        {
            judged.insert(span);
        }
    }
    verdicts
}

fn same(name: &str, one: &Verdicts, other: &Verdicts) {
    let differs = one.iter().filter(|(trace, verdict)| other.get(*trace) != Some(verdict));
    let differs: Vec<_> = differs.map(|(trace, verdict)| (verdict, other.get(trace))).collect();
    assert!(differs.is_empty(), "{name}: {} verdicts differ, such as {:?}", differs.len(), differs[0]);
}
