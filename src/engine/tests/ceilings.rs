//! Rates and budgets, as policies name them.

use std::collections::BTreeMap;

use super::{samplers::root, *};

/// A trace of one or more spans, that comes so many milliseconds after the epoch.
#[derive(Clone, Copy)]
struct Given {
    name: &'static str,
    at: i64,
    spans: u64,
    error: bool,
}

const SECONDS: i64 = 60;

/// So many traces a second of this name.
fn traffic(name: &'static str, per_second: i64) -> Vec<Given> {
    let traces = (0..SECONDS * per_second).map(|number| number * 1000 / per_second);
    traces.map(|at| Given { name, at, spans: 1, error: false }).collect()
}

fn merged(parts: impl IntoIterator<Item = Vec<Given>>) -> Vec<Given> {
    let mut all: Vec<Given> = parts.into_iter().flatten().collect();
    all.sort_by_key(|given| given.at);
    all
}

/// Runs them through; the ids are random.
fn run(settings: Settings, text: &str, all: &[Given], partitions: u32) -> (Rig, BTreeMap<TraceId, Given>) {
    let mut rig = Rig::new(settings, text);
    (0..partitions).for_each(|rank| _ = rig.engine.assign(Start { rank, ..Start::at(0) }));
    rig.engine.share(partitions);
    let mut random = fastrand::Rng::with_seed(11);
    let mut traces = BTreeMap::new();
    for (number, given) in (0..).zip(all) {
        let trace_id = random.u128(1..);
        let root = Otlp {
            trace_id: trace_id.to_be_bytes().to_vec(),
            span_id: 1_u64.to_be_bytes().to_vec(),
            name: given.name.into(),
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            status: given.error.then(|| Status { code: 2, ..Status::default() }),
            ..Otlp::default()
        };
        let child = |span: u64| {
            let parent_span_id = root.span_id.clone();
            Otlp { span_id: span.to_be_bytes().to_vec(), parent_span_id, status: None, ..root.clone() }
        };
        let spans = std::iter::once(root.clone()).chain((2..=given.spans).map(child)).collect();
        let partition = number as u32 % partitions;
        rig.give(partition, number, given.at, Some(&record_of("shop", spans)));
        traces.insert(TraceId(trace_id.to_be_bytes()), *given);
    }
    (0..partitions).for_each(|partition| rig.engine.finish(partition));
    rig.advance();
    assert_eq!(rig.decided.len(), all.len());
    (rig, traces)
}

/// Of each name, how many traces are kept in a second.
fn kept(text: &str, all: &[Given]) -> BTreeMap<&'static str, f64> {
    let (rig, traces) = run(settings(Keying::Keyed), text, all, 1);
    let mut kept = BTreeMap::new();
    for (trace, _) in &rig.kept {
        *kept.entry(traces[trace].name).or_default() += 1.0 / SECONDS as f64;
    }
    kept
}

#[track_caller]
fn assert_near(is: &BTreeMap<&str, f64>, wanted: &[(&str, f64)]) {
    let near = |name: &str, wanted: f64| {
        let is = is.get(name).copied().unwrap_or(0.0);
        // A burst of five seconds in a minute is a twelfth.
        is >= wanted * 0.93 && is <= wanted * 1.1
    };
    assert!(wanted.iter().all(|(name, wanted)| near(name, *wanted)), "{is:?} for {wanted:?}");
}

fn rate(more: &str) -> String {
    format!("policies: [ {{ name: some, keep: {{ rate: {{ {more} }} }} }} ]")
}

#[test]
fn no_more_is_kept_than_the_rate() {
    let all = traffic("a", 100);
    assert_near(&kept(&rate("traces_per_second: 20"), &all), &[("a", 20.0)]);
    assert_near(&kept(&rate("traces_per_second: 200"), &all), &[("a", 100.0)]);
    let large: Vec<_> = all.iter().map(|given| Given { spans: 5, ..*given }).collect();
    assert_near(&kept(&rate("spans_per_second: 100"), &large), &[("a", 20.0)]);
    // A span has 49 bytes.
    assert_near(&kept(&rate("bytes_per_second: 980B"), &all), &[("a", 20.0)]);
}

#[test]
fn keys_share_it_fairly() {
    let all = merged([traffic("a", 10), traffic("b", 40), traffic("c", 100)]);
    let by = "traces_per_second: 50, by: [root.name]";
    assert_near(&kept(&rate(by), &all), &[("a", 10.0), ("b", 20.0), ("c", 20.0)]);
}

#[test]
fn partitions_share_it() {
    let all = traffic("a", 100);
    for (keying, partitions) in [(Keying::Keyed, 4), (Keying::Unkeyed, 4), (Keying::Unkeyed, 1)] {
        let (rig, _) = run(settings(keying), &rate("traces_per_second: 20"), &all, partitions);
        let kept = rig.kept.len() as f64 / SECONDS as f64;
        assert!((18.0..22.0).contains(&kept), "{keying:?}, {partitions}: {kept}");
    }
}

#[test]
fn a_rate_is_not_asked_for_what_is_decided_anyway() {
    let all = merged([traffic("a", 50), traffic("b", 50)]);
    let always = "{ name: all, when: 'root.name == \"a\"', keep: always }, { name: some, keep: { rate: { traces_per_second: 20 } } }";
    assert_near(&kept(&format!("policies: [ {always} ]"), &all), &[("a", 50.0), ("b", 20.0)]);
    assert_near(&kept(&format!("policies: [ {always} ]\nmatch: first"), &all), &[("a", 50.0), ("b", 20.0)]);
    let never = always.replace("keep: always", "drop: always");
    assert_near(&kept(&format!("policies: [ {never} ]"), &all), &[("a", 0.0), ("b", 20.0)]);
    // What two keep, both are asked for, and one of them is enough.
    let two = "policies: [ { name: a, when: 'root.name == \"a\"', keep: { rate: { traces_per_second: 10 } } },
                           { name: b, keep: { rate: { traces_per_second: 30 } } } ]";
    let kept = kept(two, &all);
    assert!(kept["a"] + kept["b"] < 42.0 && kept["a"] > 13.0 && kept["b"] > 13.0, "{kept:?}");
}

#[test]
fn samplers_of_a_list_agree() {
    let all = traffic("a", 100);
    let both = "policies: [ { name: some, keep: [ { probability: 30% }, { rate: { traces_per_second: 20 } } ] } ]";
    assert_near(&kept(both, &all), &[("a", 20.0)]);
    let both = "policies: [ { name: some, keep: [ { probability: 10% }, { rate: { traces_per_second: 20 } } ] } ]";
    let kept = kept(both, &all)["a"];
    assert!((8.5..11.5).contains(&kept), "{kept}");
}

#[test]
fn what_is_kept_tells_what_there_was() {
    let all = merged([traffic("a", 10), traffic("b", 100)]);
    let text = "policies: [ { name: sure, when: 'root.name == \"a\"', keep: { probability: 20% } },
                            { name: some, keep: { rate: { traces_per_second: 20, by: [root.name] } } } ]
budget: { traces_per_second: 15, give_way: [some] }";
    let (rig, traces) = run(settings(Keying::Keyed), text, &all, 1);
    for name in ["a", "b"] {
        let kept = rig.decided.iter().filter(|of| of.verdict.keep && traces[&of.trace].name == name);
        let weight = |threshold: Threshold| 1.0 / (1.0 - threshold.0 as f64 / (Threshold::NEVER.0 + 1) as f64);
        let estimated: f64 = kept.map(|of| weight(of.verdict.threshold)).sum();
        let there_were = all.iter().filter(|given| given.name == name).count() as f64;
        assert!((estimated / there_were - 1.0).abs() < 0.2, "{name}: {estimated} of {there_were}");
    }
}

const BUDGET: &str = "policies: [
    { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always, protect: true },
    { name: a, when: 'root.name == \"a\"', keep: always },
    { name: b, when: 'root.name == \"b\"', keep: always },
    { name: c, when: 'root.name == \"c\"', keep: always } ]
budget: { traces_per_second: 40, give_way: [c, b] }";

#[test]
fn below_a_budget_some_give_way_and_what_is_protected_last() {
    let all = merged([traffic("a", 10), traffic("b", 20), traffic("c", 30)]);
    assert_near(&kept(BUDGET, &all), &[("a", 10.0), ("b", 20.0), ("c", 10.0)]);
    let errors: Vec<_> = traffic("d", 25).into_iter().map(|given| Given { error: true, ..given }).collect();
    let all = merged([all, errors.clone()]);
    let kept_now = kept(BUDGET, &all);
    assert_near(&kept_now, &[("d", 25.0)]);
    assert!(kept_now["a"] > 8.0 && kept_now["b"] < 4.0 && kept_now["c"] < 3.0, "{kept_now:?}: some of each is kept");
    let more = merged([all, errors.clone(), errors]);
    let (rig, traces) = run(settings(Keying::Keyed), BUDGET, &more, 1);
    let kept = rig.kept.iter().filter(|(trace, _)| traces[trace].error).count() as i64;
    assert!((34 * SECONDS..42 * SECONDS).contains(&kept), "{kept}");
    let cuts = rig.engine.stats().cuts[0];
    assert_eq!(cuts.by_budget as i64, 75 * SECONDS - kept, "it is said that what is protected is cut");
}

#[test]
fn what_two_keep_is_of_the_better_class() {
    // All of a is kept by the baseline too, which gives way first.
    let text = BUDGET.replace(
        "{ name: b,",
        "{ name: base, keep: { probability: 50% } },
    { name: b,",
    );
    let all = merged([traffic("a", 10), traffic("b", 20), traffic("x", 60)]);
    let text = text.replace("[c, b]", "[base, c, b]");
    assert_near(&kept(&text, &all), &[("a", 10.0), ("b", 20.0), ("x", 10.0)]);
}

#[test]
fn a_group_has_a_budget_of_its_own() {
    let text = "policies: [
    { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always },
    { name: tenant, budget: { traces_per_second: 10 }, policies: [
        { name: a, when: 'root.name == \"a\"', keep: always } ] },
    { name: b, when: 'root.name == \"b\"', keep: always } ]
budget: { traces_per_second: 40, give_way: [tenant] }";
    let all = merged([traffic("a", 30), traffic("b", 20)]);
    assert_near(&kept(text, &all), &[("a", 10.0), ("b", 20.0)]);
    let all = merged([traffic("a", 30), traffic("b", 35)]);
    assert_near(&kept(text, &all), &[("a", 5.0), ("b", 35.0)]);
    let failed: Vec<_> = traffic("a", 30).into_iter().map(|given| Given { error: true, ..given }).collect();
    assert_near(&kept(text, &failed), &[("a", 30.0)]);
}

/// The same is kept when ticks are full amid a batch.
#[test]
fn a_batch_may_fill_many_ticks() {
    let all = merged([traffic("a", 50), traffic("b", 50)]);
    let decided = |tick_bytes| {
        let settings = Settings { tick_bytes, ..settings(Keying::Keyed) };
        let (mut rig, _) = run(settings, BUDGET, &all, 1);
        rig.decided.sort_by_key(|decision| decision.trace);
        rig.decided
    };
    assert_eq!(decided(100), decided(1 << 20));
}

/// What was judged and is not out yet is undecided where its partition is taken away, and only there.
#[test]
fn a_partition_that_leaves_takes_what_was_judged_along() {
    let mut rig = Rig::new(Settings { tick_bytes: 100, ..settings(Keying::Keyed) }, BUDGET);
    (0..2).for_each(|rank| _ = rig.engine.assign(Start { rank, ..Start::at(0) }));
    for offset in 0..20 {
        let trace = Spec { trace: offset as u8 + 1, size: 40, error: true, ..ROOT };
        rig.give((offset % 2) as u32, offset, 0, Some(&record(&[trace])));
    }
    (0..2).for_each(|partition| rig.engine.elapse(partition, 5_000, RecordTime::END));
    assert_eq!(rig.engine.advance(), Err(Full));
    assert!(!rig.engine.is_drained());
    rig.engine.revoke(0);
    rig.assert_conserved();
    rig.advance();
    assert_eq!(rig.kept.len(), 10, "those of the partition that stays");
    assert!(rig.engine.stats().returned > 0);
}

/// A restart goes on with what is left in the bucket.
#[test]
fn what_was_spent_stays_spent() {
    let text = rate("traces_per_second: 10, burst: 10s");
    let mut rig = Rig::keyed(&text);
    let mut states = Vec::new();
    for number in 0..SECONDS * 100 {
        rig.give(0, number, number * 10, Some(&root(number as u64, "shop", "a", 1)));
        rig.engine.advance().expect("room");
        if number % 200 == 199 {
            let tick = rig.engine.cut();
            states = tick.states.iter().map(|of| of.clone().called(0)).collect();
            assert!(!states.is_empty() || number < 300, "each tick writes it");
            rig.engine.settle(tick, &[]);
        }
    }
    let mut next = Rig::keyed(&text);
    next.engine.relearn(states.into_iter()).expect("as written");
    for number in 0..200 {
        next.give(0, number, SECONDS * 1000 + number * 5, Some(&root(number as u64, "shop", "a", 1)));
    }
    next.engine.finish(0);
    next.advance();
    assert!((1..=40).contains(&next.kept.len()), "{}: no burst", next.kept.len());
}

/// Also where the first of a kind come in one second.
#[test]
fn a_floor_holds_below_ceilings() {
    let rare = |budget: &str| {
        format!(
            "policies: [ {{ name: each, keep: {{ rare: {{ by: [root.name], at_least: 2, per: 1h }} }} }},
                         {{ name: all, when: 'root.name == \"z\"', keep: always, protect: true }} ]
budget: {{ traces_per_second: {budget}, give_way: [each] }}"
        )
    };
    let all = merged([traffic("a", 50), traffic("b", 50)]);
    let (rig, traces) = run(settings(Keying::Keyed), &rare("100"), &all, 1);
    let of = |rig: &Rig, traces: &BTreeMap<TraceId, Given>, name| {
        rig.kept.iter().filter(|(trace, _)| traces[trace].name == name).count()
    };
    assert_eq!((of(&rig, &traces, "a"), of(&rig, &traces, "b")), (2, 2));
    // What the budget drops is not counted: another has its place.
    let all = merged([all, traffic("z", 50)]);
    let (rig, traces) = run(settings(Keying::Keyed), &rare("40"), &all, 1);
    assert_eq!((of(&rig, &traces, "a"), of(&rig, &traces, "b")), (2, 2));
    assert!(rig.engine.stats().cuts[0].by_budget > 0);
}
