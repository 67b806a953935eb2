//! What a backtest says is what an engine decides, and what the generator knows to be true.

use std::collections::{BTreeMap, HashMap, HashSet};

use fastrand::Rng;

use super::{
    report::{self, List, Outcome, PolicyRow},
    spool::Most,
    *,
};
use crate::{
    assemble::{Completion, Start},
    decide::Part,
    diagnostic::{Diagnostics, Source},
    engine::{self, Engine, Past},
    generate::{Shape, Trace, Traffic, batched, keyed},
    model::RecordTime,
    recording::{Header, Record},
    yaml,
};

const PARTITIONS: u32 = 3;
const TRACES: usize = 5_000;
const POLICIES: [&str; 5] = [
    "{ name: health, when: 'root.attributes[\"http.route\"] == \"/healthz\"', drop: always }",
    "{ name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }",
    "{ name: slow, when: trace.duration > 5s, keep: { probability: 50% } }",
    "{ name: carts, when: any(service == \"cart\"), keep: { probability: 10% } }",
    "{ name: baseline, keep: { probability: 1% } }",
];

fn compiled(policies: &[&str]) -> Arc<PolicySet> {
    compiled_file(format!("policies:\n{}", policies.iter().map(|policy| format!("- {policy}\n")).collect::<String>()))
}

fn compiled_file(text: String) -> Arc<PolicySet> {
    let mut diagnostics = Diagnostics::default();
    let source = Arc::new(Source { name: "policies.yaml".into(), text });
    let root = yaml::parse(source, &mut diagnostics);
    let set = root.and_then(|root| PolicySet::compile(&[Part::File(&root)], &mut diagnostics));
    Arc::new(set.unwrap_or_else(|| panic!("{diagnostics}")))
}

fn traffic() -> impl Iterator<Item = Trace> {
    let shape =
        Shape { spans_per_second: 2_000.0, slow_share: 0.05, error_share: 0.05, late_share: 0.1, ..Shape::default() };
    Traffic::new(11, shape).take(TRACES)
}

/// By partition, in the order they were written.
fn logs(records: impl Iterator<Item = (u32, crate::generate::Record)>) -> Vec<Vec<Record>> {
    let mut logs = vec![Vec::new(); PARTITIONS as usize];
    for (partition, record) in records {
        let log: &mut Vec<Record> = &mut logs[partition as usize];
        log.push(Record {
            topic: "spans".to_owned(),
            partition: partition as i32,
            offset: log.len() as i64,
            timestamp: Some(1_767_225_600_000 + record.at_ms as i64),
            value: Some(record.value),
            ..Record::default()
        });
    }
    logs
}

fn keyed_logs() -> Vec<Vec<Record>> {
    logs(keyed(traffic()).map(|record| (u32::from(record.spans[0].0.0[0]) % PARTITIONS, record)))
}

fn spread_logs() -> Vec<Vec<Record>> {
    logs((0..PARTITIONS).cycle().zip(batched(traffic(), 20)))
}

fn spooled<'r>(records: impl IntoIterator<Item = &'r Record>, sample: Sample) -> Records {
    let mut spool = Spool::new(sample).expect("a temporary file");
    records.into_iter().for_each(|record| spool.add(record.clone()).expect("few records"));
    spool.merge().expect("a disk")
}

fn question(candidate: Arc<PolicySet>, current: Option<Arc<PolicySet>>) -> Question {
    let settings = Settings {
        keying: Keying::Keyed,
        completion: Completion { quiet: 1000, completeness: None, max_wait: 10_000, max_trace_bytes: 1 << 20 },
        late_window: 60_000,
        past: Past::Decide,
        buffer: 1 << 28,
        tick_bytes: 1 << 20,
        output_record_bytes: 1 << 20,
        stamps: crate::encode::Stamps::NONE,
        recall: None,
    };
    Question { settings, candidate, current, theirs: None }
}

fn report(records: &Records, candidate: &[&str], current: Option<&[&str]>) -> Report {
    question(compiled(candidate), current.map(compiled)).ask(records, |_| ()).expect("a report")
}

fn json(report: &Report) -> String {
    serde_json::to_string(report).expect("JSON")
}

/// Merged by chance, each partition in its order.
fn shuffled(logs: &[Vec<Record>], rng: &mut Rng) -> Vec<Record> {
    let mut left: Vec<_> = logs.iter().map(|log| log.iter()).collect();
    let mut records = Vec::new();
    while !left.is_empty() {
        let at = rng.usize(..left.len());
        // Runs, as brokers send them.
        let run = rng.usize(1..200);
        let before = records.len();
        records.extend(left[at].by_ref().take(run).cloned());
        if records.len() == before {
            _ = left.remove(at);
        }
    }
    records
}

#[test]
fn the_same_records_give_the_same_report_however_they_came() {
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    for logs in [keyed_logs(), spread_logs()] {
        let said = |records: Vec<Record>| {
            let report = report(&spooled(&records, Sample::ALL), &POLICIES, Some(&POLICIES[1..]));
            (json(&report), report.to_string())
        };
        let first = said(logs.concat());
        assert_eq!(first, said(logs.concat()), "twice the same");
        for _ in 0..2 {
            assert!(first == said(shuffled(&logs, &mut rng)), "another order, seed {seed}");
        }
        // From the last to the first.
        assert!(first == said(logs.concat().into_iter().rev().collect()), "backwards");
    }
}

/// Printed where a test fails; set TAILWATER_SEED to have it again.
fn seed() -> u64 {
    std::env::var("TAILWATER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..))
}

#[test]
fn what_is_counted_is_true() {
    for (logs, is_keyed) in [(keyed_logs(), true), (spread_logs(), false)] {
        let report = report(&spooled(logs.iter().flatten(), Sample::ALL), &POLICIES, None);
        assert_eq!(
            (report.input.keyed, report.input.traces, report.input.refused_records),
            (is_keyed, TRACES as u64, 0)
        );
        let spans: u64 = traffic().map(|trace| trace.spans.len() as u64).sum();
        let bytes: usize = traffic().flat_map(|trace| trace.spans).map(|span| span.bytes.len()).sum();
        assert_eq!((report.input.spans, report.input.bytes), (spans, bytes as u64));

        let Outcome { kept, expected, policies, services, coverage, operations, .. } = &report.candidate;
        let rows: BTreeMap<&str, &PolicyRow> = policies.iter().map(|row| (row.name.as_str(), row)).collect();
        // All that matches is looked at, whoever decides.
        let count = |holds: fn(&Trace) -> bool| traffic().filter(holds).count() as u64;
        assert_eq!(rows["baseline"].matches.traces, TRACES as u64);
        assert_eq!(rows["health"].matches.traces, count(|trace| trace.truth.health_check));
        assert_eq!(rows["errors"].matches.traces, count(|trace| trace.truth.error));
        assert_eq!(coverage.errors.of, count(|trace| trace.truth.error));
        // All decide, and each trace is decided by one.
        assert!(rows["slow"].kept.kept > 20 && rows["carts"].kept.kept > 20 && rows["baseline"].kept.kept > 10);
        assert_eq!(policies.iter().map(|row| row.kept.kept).sum::<u64>(), kept.kept);
        assert_eq!(policies.iter().map(|row| row.dropped.traces).sum::<u64>(), kept.of - kept.kept);
        // Randomness is uniform, so what is expected is near.
        assert!((expected - kept.kept as f64).abs() < 120.0, "{expected} expected, {} kept", kept.kept);

        assert_eq!(services.iter().map(|row| row.kept_bytes.of).sum::<u64>(), bytes as u64);
        assert_eq!(operations.iter().map(|row| row.kept.of).sum::<u64>(), TRACES as u64);
        assert_eq!(operations.iter().map(|row| row.coverage.errors.kept).sum::<u64>(), coverage.errors.kept);
        let mut of_root: BTreeMap<&str, u64> = BTreeMap::new();
        traffic().for_each(|trace| *of_root.entry(trace.truth.root_service).or_default() += 1);
        let mut found: BTreeMap<&str, u64> = BTreeMap::new();
        operations.iter().for_each(|row| *found.entry(row.service.as_str()).or_default() += row.kept.of);
        assert_eq!(found, of_root);
        // As a sort and a count say it.
        let most = operations.iter().max_by_key(|row| row.kept.of).expect("operations");
        assert!(most.kept.of > 1_000, "{most:?}");
        assert_eq!(most.coverage.slowest.of, most.kept.of / 1_000);
        let longest =
            traffic().filter(|trace| trace.truth.root_service == most.service).map(|trace| trace.truth.duration_ns);
        assert!(longest.max().is_some_and(|longest| longest > most.p999));
    }
}

#[test]
fn the_verdicts_are_those_of_an_engine() {
    let logs = keyed_logs();
    let Question { settings, candidate, .. } = question(compiled(&POLICIES), None);
    let mut engine = Engine::new(settings, candidate);
    let partitions: Vec<u32> = (0..PARTITIONS).map(|_| engine.assign(Start::at(0))).collect();
    let mut decided = HashMap::new();
    let mut cut = |engine: &mut Engine| {
        let tick = engine.cut();
        decided.extend(tick.decisions.iter().map(|(_, decision)| (decision.trace, decision.verdict)));
        engine.settle(tick, &[]);
    };
    for (log, partition) in logs.iter().zip(partitions) {
        for Record { offset, timestamp, value, .. } in log {
            let (offset, timestamp) = (*offset, timestamp.map(RecordTime));
            let record = engine::Record { partition, offset, timestamp, headers: &(), payload: value.as_deref() };
            while engine.ingest(record, RecordTime::END).is_err() {
                cut(&mut engine);
            }
        }
        engine.finish(partition);
    }
    while engine.advance().is_err() {
        cut(&mut engine);
    }
    cut(&mut engine);

    let report = report(&spooled(logs.iter().flatten(), Sample::ALL), &POLICIES, None);
    let row = |name: &str| report.candidate.policies.iter().find(|row| row.name == name).expect("a policy");
    for (number, name) in (0..).zip(["health", "errors", "slow", "carts", "baseline"]) {
        let by = || decided.values().filter(move |verdict| verdict.policy == Some(number));
        let kept = by().filter(|verdict| verdict.keep).count() as u64;
        assert_eq!((row(name).kept.kept, row(name).dropped.traces), (kept, by().count() as u64 - kept), "{name}");
    }
    assert_eq!(decided.len(), TRACES);
}

fn amount(list: &List<report::Change>) -> (u64, u64) {
    (list.traces, list.bytes)
}

/// What it says of a policy is what comes out without it.
#[test]
fn a_policy_is_worth_what_changes_without_it() {
    let records = spooled(keyed_logs().iter().flatten(), Sample::ALL);
    let all = report(&records, &POLICIES, None);
    let mut worth = [0, 0];
    for (at, row) in all.candidate.policies.iter().take(POLICIES.len()).enumerate() {
        let mut without = POLICIES.to_vec();
        without.remove(at);
        let changes = report(&records, &without, Some(&POLICIES)).changes.expect("two sets");
        let (kept, dropped) = (row.only_kept_by_it, row.only_dropped_by_it);
        assert_eq!((kept.traces, kept.bytes), amount(&changes.newly_dropped), "kept only by {}", row.name);
        assert_eq!((dropped.traces, dropped.bytes), amount(&changes.newly_kept), "dropped only by {}", row.name);
        worth[0] += kept.traces;
        worth[1] += dropped.traces;
    }
    assert!(worth[0] > 100 && worth[1] > 1, "{worth:?}");
}

/// One file for each way lists meet: in groups and around them, protected, expired, in the shadow.
fn files() -> [String; 2] {
    let groups = "\
        - { name: slow, when: trace.duration > 5s, policies: [\n    \
            { name: slowest, when: trace.duration > 8s, keep: always },\n    \
            { name: slow-carts, when: any(service == \"cart\"), keep: { probability: 20% } } ], otherwise: drop }\n\
        - { name: shop, when: trace.span_count > 2, match: first, policies: [\n    \
            { name: carts, when: any(service == \"cart\"), keep: { probability: 10% }, on_reject: next },\n    \
            { name: failed, when: any(status.code == STATUS_CODE_ERROR), match: any, policies: [\n        \
                { name: thin, drop: { probability: 50% } },\n        \
                { name: failed-checkouts, when: any(service == \"checkout\"), keep: always, protect: true },\n        \
                { name: failed-rest, keep: { probability: 70% } } ] },\n    \
            { name: shop-rest, keep: { probability: 5% } } ] }\n\
        - { name: past, until: 2020-12-31, policies: [ { name: long-past, keep: always } ] }\n\
        - { name: unseen, shadow: true, when: any(service == \"cart\"), keep: { probability: 30% } }\n\
        - { name: dark, shadow: true, when: trace.span_count > 2, policies: [ { name: darkly, drop: always } ] }\n\
        - { name: small, when: trace.span_count < 5, keep: { probability: 50% } }\n";
    let health = "- { name: health, when: 'root.attributes[\"http.route\"] == \"/healthz\"', drop: always }\n";
    let errors =
        "- { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: { probability: 30% }, protect: true }\n";
    [
        format!("match: any\notherwise: {{ probability: 1/200 }}\npolicies:\n{health}{errors}{groups}"),
        format!("match: first\notherwise: {{ probability: 2% }}\npolicies:\n{health}{groups}"),
    ]
}

#[test]
fn a_policy_is_worth_it_in_groups_and_in_the_order_of_policies() {
    let records = spooled(keyed_logs().iter().flatten(), Sample::ALL);
    let ask = |candidate: &str, current: Option<&str>| {
        let current = current.map(|current| compiled_file(current.to_owned()));
        question(compiled_file(candidate.to_owned()), current).ask(&records, |_| ()).expect("a report")
    };
    for file in files() {
        let all = ask(&file, None);
        let mut idle = Vec::new();
        for PolicyRow { name, only_kept_by_it: kept, only_dropped_by_it: dropped, .. } in &all.candidate.policies {
            if kept.traces + dropped.traces == 0 {
                idle.push(name);
                continue;
            }
            let absent = file.replace(&format!("name: {name},"), &format!("name: {name}, shadow: true,"));
            let changes = ask(&absent, Some(&file)).changes.expect("two sets");
            assert_eq!((kept.traces, kept.bytes), amount(&changes.newly_dropped), "kept only by {name}");
            assert_eq!((dropped.traces, dropped.bytes), amount(&changes.newly_kept), "dropped only by {name}");
        }
        // None is tried in vain, but those that are as if absent.
        idle.sort();
        assert_eq!(idle, ["dark", "darkly", "long-past", "otherwise", "past", "unseen"]);
    }
}

/// Of a sample too, whose records hold traces that are not in it.
#[test]
fn what_is_in_the_shadow_would_say_what_it_says_alone() {
    let alone = |policy: &str| compiled_file(format!("otherwise: keep\npolicies: [ {policy} ]\n"));
    let unseen = alone("{ name: unseen, when: any(service == \"cart\"), drop: { probability: 70% } }");
    let dark = alone("{ name: dark, when: trace.span_count > 2, policies: [ { name: darkly, drop: always } ] }");
    for sample in [Sample::ALL, Sample { probability: 0.5 }] {
        let records = spooled(spread_logs().iter().flatten(), sample);
        let ask = |set: Arc<PolicySet>| question(set, None).ask(&records, |_| ()).expect("a report").candidate;
        let [unseen, dark] = [&unseen, &dark].map(|set| ask(set.clone()).policies.remove(0));
        for file in files() {
            let report = ask(compiled_file(file));
            let row = |name: &str| report.policies.iter().find(|row| row.name == name).expect("a policy");
            let would = |name: &str| row(name).would.as_ref().map(|would| (would.keep, would.drop));
            assert!(unseen.matches.traces > 100 && dark.matches.traces > 100);
            // What its sampler does not keep it says nothing of, and ends the search where there is an order.
            let kept = unseen.matches.traces - unseen.dropped.traces;
            assert_eq!(would("unseen").map(|(keep, _)| keep), Some(kept));
            assert_eq!(would("dark"), Some((0, dark.matches.traces)));
            assert_eq!(row("dark").matches.traces, dark.matches.traces);
            // It is not asked what it would say alone: the group is.
            assert_eq!((row("darkly").shadow, would("darkly"), would("small")), (true, None, None));
        }
    }
}

#[test]
fn a_sample_is_near_the_whole_and_says_how_near() {
    for logs in [keyed_logs(), spread_logs()] {
        let whole = report(&spooled(logs.iter().flatten(), Sample::ALL), &POLICIES, None);
        let half = report(&spooled(logs.iter().flatten(), Sample { probability: 0.5 }), &POLICIES, None);
        assert!((2_300..2_700).contains(&half.input.traces), "{}", half.input.traces);
        let share = whole.candidate.kept.share.expect("traces");
        let [low, high] = half.candidate.kept.interval.expect("of a sample");
        assert!(low < share && share < high && high - low < 0.05, "{share} in {low} to {high}");
        assert_eq!(whole.candidate.kept.interval, None);
        // Its traces are whole: it finds no other errors.
        let sampled = traffic().filter(|trace| Sample { probability: 0.5 }.has(trace.id));
        let errors = sampled.filter(|trace| trace.truth.error).count() as u64;
        assert_eq!(half.candidate.coverage.errors.of, errors);
    }
}

#[test]
fn another_sampler_is_compared_by_trace() {
    let logs = keyed_logs();
    // It keeps a quarter by the first byte, in records that begin with ours, and one trace nobody knows.
    let keeps = |trace: &Trace| trace.id.0[0] < 64;
    let mut theirs = Theirs::new(Sample::ALL);
    let unknown = Traffic::new(12, Shape::default()).take(1);
    for record in keyed(traffic().filter(|trace| keeps(trace)).chain(unknown)) {
        theirs.add(&Record { value: Some(record.value), ..Record::default() }).expect("few");
    }
    theirs.add(&Record { value: Some(b"no spans".to_vec()), ..Record::default() }).expect("few");
    let records = spooled(logs.iter().flatten(), Sample::ALL);
    let mut question = question(compiled(&POLICIES), None);
    question.theirs = Some(("theirs".to_owned(), theirs));
    let report = question.ask(&records, |_| ()).expect("a report");
    let against = report.against.expect("another");
    let (kept, errors) = (
        traffic().filter(keeps).count() as u64,
        traffic().filter(|trace| keeps(trace) && trace.truth.error).count() as u64,
    );
    assert_eq!((against.kept.kept, against.unknown, against.refused_records), (kept, 1, 1));
    assert_eq!(against.coverage.errors.kept, errors);
    assert_eq!(against.both + against.only_theirs.traces, kept);
    assert_eq!(against.both + against.only_ours.traces, report.candidate.kept.kept);
    assert!(against.both > 0 && against.only_ours.traces > 0);
    assert!(against.only_theirs.listed.is_sorted_by_key(|only| only.trace_id.clone()));
    assert_eq!(against.only_theirs.listed.len() as u64, against.only_theirs.traces.min(1000));
}

#[test]
fn more_than_fits_is_refused_and_says_what_to_do() {
    let records = keyed_logs().concat();
    let refused = |most: Most, sample: Sample| {
        let mut spool = Spool::new(sample).expect("a temporary file");
        spool.most = most;
        records.iter().try_for_each(|record| spool.add(record.clone())).err().map(|error| error.to_string())
    };
    let most = Most { records: records.len(), traces: TRACES };
    assert_eq!(refused(most, Sample::ALL), None);
    assert_eq!(
        refused(Most { records: 99, ..most }, Sample::ALL).as_deref(),
        Some("more than 99 records; choose a shorter range")
    );
    let traces = Most { traces: 99, ..most };
    let advice = "choose a shorter range, or a part of the traces with --sample";
    assert_eq!(refused(traces, Sample::ALL), Some(format!("more than 99 traces; {advice}")));
    // It helps.
    assert_eq!(refused(traces, Sample { probability: 0.01 }), None);

    let mut theirs = Theirs::new(Sample::ALL);
    theirs.most = 99;
    let refused = records.iter().try_for_each(|record| theirs.add(record)).expect_err("too many");
    assert_eq!(refused.to_string(), format!("more than 99 traces were kept by the other; {advice}"));
}

#[test]
fn topics_and_headers_are_there() {
    let (mut logs, mut decoder) = (keyed_logs(), Decoder::default());
    for record in logs.iter_mut().flatten() {
        record.topic = format!("spans-{}", record.partition);
        // All records of a trace say the same, for some come late.
        let (_, batch) = decoder.read(record.value.as_deref().unwrap_or_default()).expect("spans");
        let number = batch.spans[0].trace_id[15];
        let tenant = ["acme", "umbrella"][usize::from(number % 2)].as_bytes().to_vec();
        record.headers = vec![Header { key: "tenant".to_owned(), value: (number % 3 > 0).then_some(tenant) }];
    }
    let records: Vec<&Record> = logs.iter().flatten().collect();
    let of = |condition: &str, is: &dyn Fn(&Record) -> bool| {
        let policy = format!("{{ name: p, when: '{condition}', keep: always }}");
        let report = report(&spooled(records.iter().copied(), Sample::ALL), &[policy.as_str()], None);
        let mut decoder = Decoder::default();
        let traces = records.iter().filter(|record| is(record)).flat_map(|record| {
            let (_, batch) = decoder.read(record.value.as_deref().unwrap_or_default()).expect("spans");
            batch.spans.iter().map(|span| span.trace_id).collect::<Vec<_>>()
        });
        let traces = traces.collect::<HashSet<_>>().len() as u64;
        assert!(0 < traces && traces < TRACES as u64, "{traces}");
        assert_eq!(report.candidate.policies[0].matches.traces, traces, "{condition}");
    };
    of("any(record.topic == \"spans-1\")", &|record| record.partition == 1);
    let tenant = |record: &Record| record.headers[0].value.clone().unwrap_or_default();
    of("any(record.headers[\"tenant\"] == \"acme\")", &|record| tenant(record) == b"acme");
}

#[test]
fn a_full_buffer_is_told() {
    let records = spooled(keyed_logs().iter().flatten(), Sample::ALL);
    let ask = |buffer| {
        let mut question = question(compiled(&POLICIES), None);
        question.settings = Settings { buffer, tick_bytes: buffer / 8, ..question.settings };
        question.ask(&records, |_| ()).expect("a report")
    };
    let told = "memory: memory.buffer was full, and verdicts came before their time\n";
    let (large, small) = (ask(1 << 28), ask(1 << 20));
    assert!(large.candidate.complete_by["memory"] == 0 && !large.to_string().contains(told), "{large}");
    assert!(small.candidate.complete_by["memory"] > 0 && small.to_string().contains(told), "{small}");
    assert_eq!(small.input.traces, TRACES as u64);
}

#[test]
fn what_no_engine_takes_is_counted_and_told() {
    let mut records = keyed_logs().concat();
    records.truncate(30);
    let damaged =
        |offset, value| Record { topic: "spans".to_owned(), partition: 9, offset, value, ..Record::default() };
    records.extend([damaged(0, None), damaged(1, Some(vec![0xff])), damaged(2, Some(Vec::new()))]);
    let report = report(&spooled(&records, Sample::ALL), &POLICIES, None);
    assert_eq!((report.input.refused_records, report.input.records, report.input.partitions), (2, 33, 2));
    assert!(report.to_string().contains("2 records are no spans"), "{report}");
}
