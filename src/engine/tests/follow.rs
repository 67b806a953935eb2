//! Traces that follow others of their causal group.

use opentelemetry_proto::tonic::trace::v1::span::Link;

use super::*;

/// A trace of one span, which ends at once.
#[derive(Clone, Copy, Default)]
struct Given {
    number: u8,
    at: i64,
    error: bool,
    links: &'static [u8],
    /// The id of a message.
    message: &'static str,
    /// Of a health check.
    health: bool,
}

const PLAIN: Given = Given { number: 0, at: 0, error: false, links: &[], message: "", health: false };

fn record(given: &Given) -> Vec<u8> {
    let text = |text: &str| Some(AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) });
    let message = Some(given.message).filter(|message| !message.is_empty());
    let attribute = message.map(|id| KeyValue { key: "message".into(), value: text(id), ..KeyValue::default() });
    let link = |of: &u8| Link { trace_id: vec![*of; 16], span_id: vec![9; 8], ..Link::default() };
    let span = Otlp {
        trace_id: vec![given.number; 16],
        span_id: vec![1; 8],
        name: if given.health { "health".into() } else { "work".into() },
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        status: given.error.then(|| Status { code: 2, ..Status::default() }),
        attributes: attribute.into_iter().collect(),
        links: given.links.iter().map(link).collect(),
        ..Otlp::default()
    };
    record_of("shop", vec![span])
}

fn policies_with(follow: &str) -> String {
    format!(
        "policies:
- {{ name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }}
- {{ name: group, keep: {{ follow: {{ {follow} }} }} }}"
    )
}

/// The numbers of those that are kept, in their order.
fn kept(text: &str, all: &[Given]) -> Vec<u8> {
    let mut rig = fed(settings(Keying::Keyed), text, all, 1);
    rig.engine.finish(0);
    rig.advance();
    numbers(&rig)
}

fn fed(settings: Settings, text: &str, all: &[Given], partitions: u32) -> Rig {
    let mut rig = Rig::new(settings, text);
    (0..partitions).for_each(|rank| _ = rig.engine.assign(Start { rank, ..Start::at(0) }));
    rig.engine.share(partitions);
    for (offset, given) in (0..).zip(all) {
        rig.give(u32::from(given.number) % partitions, offset, given.at, Some(&record(given)));
    }
    rig
}

fn numbers(rig: &Rig) -> Vec<u8> {
    let mut numbers: Vec<_> = rig.kept.iter().map(|(trace, _)| trace.0[0]).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn what_is_linked_with_a_kept_trace_is_kept() {
    let by_links = policies_with("by: [links], wait: 0s");
    let all = [
        Given { number: 1, error: true, ..PLAIN },
        Given { number: 2, at: 5_000, links: &[1], ..PLAIN },
        Given { number: 3, at: 5_000, links: &[7], ..PLAIN },
        // It is linked with one that was kept for another's sake.
        Given { number: 4, at: 10_000, links: &[9, 2], ..PLAIN },
        // What both are linked with is not here.
        Given { number: 5, at: 20_000, links: &[9], ..PLAIN },
    ];
    assert_eq!(kept(&by_links, &all), [1, 2, 4, 5]);
}

#[test]
fn a_trace_waits_for_what_it_caused() {
    // Decided a second after it came, and the failure two seconds later.
    let all = [
        Given { number: 1, ..PLAIN },
        Given { number: 2, at: 2_000, error: true, links: &[1], ..PLAIN },
        Given { number: 3, at: 2_000, ..PLAIN },
        Given { number: 4, at: 30_000, ..PLAIN },
    ];
    assert_eq!(kept(&policies_with("by: [links], wait: 0s"), &all), [2]);
    assert_eq!(kept(&policies_with("by: [links], wait: 1s"), &all), [2]);
    assert_eq!(kept(&policies_with("by: [links], wait: 3s"), &all), [1, 2]);
    assert_eq!(kept(&policies_with("by: [links]"), &all), [1, 2]);
}

#[test]
fn nothing_waits_for_longer_than_it_may() {
    let all = [Given { number: 1, ..PLAIN }, Given { number: 2, at: 9_500, error: true, links: &[1], ..PLAIN }];
    let text = policies_with("by: [links], wait: 10m");
    assert_eq!(kept(&text, &all), [2], "10 s are all that a trace waits");
    let mut rig = fed(settings(Keying::Keyed), &text, &all[..1], 1);
    rig.engine.elapse(0, 9_000, RecordTime::END);
    rig.advance();
    assert_eq!(rig.decided.len(), 0);
    rig.engine.elapse(0, 2_000, RecordTime::END);
    rig.advance();
    assert_eq!((rig.decided.len(), rig.decided[0].reason), (1, Reason::Structure));
}

#[test]
fn what_is_dropped_all_the_same_waits_for_nothing() {
    let text = policies_with("by: [links]") + "\n- { name: health, when: 'root.name == \"health\"', drop: always }";
    let all =
        [Given { number: 1, error: true, ..PLAIN }, Given { number: 2, at: 2_000, links: &[1], health: true, ..PLAIN }];
    assert_eq!(kept(&text, &all), [1]);
    let mut rig = fed(settings(Keying::Keyed), &text, &[Given { number: 3, health: true, ..PLAIN }], 1);
    rig.engine.elapse(0, 1_500, RecordTime::END);
    rig.advance();
    assert_eq!(rig.decided.len(), 1);
}

#[test]
fn what_comes_at_the_end_is_waited_for() {
    // Time runs out for all of them at once, in the order of their deadlines.
    let all = [Given { number: 1, ..PLAIN }, Given { number: 2, at: 500, error: true, links: &[1], ..PLAIN }];
    assert_eq!(kept(&policies_with("by: [links]"), &all), [1, 2]);
    // Judged together with a rate, too.
    let text = policies_with("by: [links]") + "\n- { name: some, keep: { rate: { traces_per_second: 0.001 } } }";
    assert_eq!(kept(&text, &all), [1, 2]);
}

#[test]
fn a_group_lasts_for_its_time() {
    let all = |gap: i64| {
        [
            Given { number: 1, error: true, ..PLAIN },
            Given { number: 2, at: gap, links: &[1], ..PLAIN },
            Given { number: 3, at: 2 * gap, links: &[2], ..PLAIN },
        ]
    };
    let text = policies_with("by: [links], for: 1m, wait: 0s");
    assert_eq!(kept(&text, &all(25_000)), [1, 2, 3]);
    assert_eq!(kept(&text, &all(40_000)), [1, 2], "who follows makes it no longer");
    assert_eq!(kept(&text, &all(70_000)), [1]);
    let mut failing = all(40_000);
    failing[1].error = true;
    assert_eq!(kept(&text, &failing), [1, 2, 3], "who is kept anyway begins anew");
}

#[test]
fn values_are_followed_as_links_are() {
    let all = [
        Given { number: 1, error: true, message: "m1", ..PLAIN },
        Given { number: 2, at: 2_000, message: "m1", ..PLAIN },
        Given { number: 3, at: 2_000, message: "m2", ..PLAIN },
        // Both have none.
        Given { number: 4, at: 4_000, error: true, ..PLAIN },
        Given { number: 5, at: 6_000, ..PLAIN },
    ];
    for by in [r#"'values(attributes["message"])'"#, r#"'root.attributes["message"]'"#] {
        assert_eq!(kept(&policies_with(&format!("by: [{by}], wait: 0s")), &all), [1, 2, 4], "{by}");
    }
}

#[test]
fn some_policies_begin_groups() {
    let text = |of: &str| {
        format!(
            "policies:
- {{ name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }}
- {{ name: checks, policies: [ {{ name: health, when: 'root.name == \"health\"', keep: always }} ] }}
- {{ name: group, keep: {{ follow: {{ by: [links]{of} }} }} }}"
        )
    };
    let all = [
        Given { number: 1, error: true, ..PLAIN },
        Given { number: 2, health: true, ..PLAIN },
        Given { number: 3, at: 2_000, links: &[1], ..PLAIN },
        Given { number: 4, at: 2_000, links: &[2], ..PLAIN },
    ];
    assert_eq!(kept(&text(""), &all), [1, 2, 3, 4]);
    assert_eq!(kept(&text(", of: [errors]"), &all), [1, 2, 3]);
    for of in [", of: [health]", ", of: [checks]"] {
        assert_eq!(kept(&text(of), &all), [1, 2, 4], "{of}");
    }
}

#[test]
fn what_goes_with_one_of_a_sample_stands_for_no_others() {
    let text = "policies:
- { name: half, keep: { probability: 50% } }
- { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }
- { name: group, keep: { follow: { by: [links] } } }";
    let all = [
        // The randomness of these is as much as there is, that of the others next to nothing.
        Given { number: 0xff, ..PLAIN },
        Given { number: 1, at: 2_000, links: &[0xff], ..PLAIN },
        Given { number: 2, at: 2_000, links: &[1], ..PLAIN },
        Given { number: 3, at: 2_000, error: true, ..PLAIN },
        Given { number: 4, at: 2_000, links: &[3], ..PLAIN },
        Given { number: 0xfe, at: 2_000, links: &[0xff], ..PLAIN },
    ];
    let settings = Settings { stamps: Stamps::default(), ..settings(Keying::Keyed) };
    let mut rig = fed(settings, text, &all, 1);
    rig.engine.finish(0);
    rig.advance();
    let said: BTreeMap<u8, (String, String)> = rig
        .kept
        .iter()
        .map(|(trace, spans)| {
            let span = Otlp::decode(&*spans[0]).expect("a span");
            let reason = span.attributes.iter().find(|of| of.key == "tailwater.reason").and_then(|of| of.value.clone());
            let Some(any_value::Value::StringValue(reason)) = reason.and_then(|of| of.value) else {
                panic!("{span:?}")
            };
            (trace.0[0], (span.trace_state, reason))
        })
        .collect();
    let of = |state: &str, reason: &str| (state.to_owned(), reason.to_owned());
    let expected = [
        (1, of("", "followed")),
        (2, of("", "followed")),
        (3, of("ot=th:0", "always")),
        (4, of("ot=th:0", "always")),
        (0xfe, of("ot=th:8", "sampled")),
        (0xff, of("ot=th:8", "sampled")),
    ];
    assert_eq!(said, BTreeMap::from(expected));
}

#[test]
fn what_was_kept_is_known_in_other_partitions_lives_and_workers() {
    let text = policies_with("by: [links], wait: 0s");
    let first = [Given { number: 2, error: true, ..PLAIN }];
    let then = [Given { number: 3, at: 5_000, links: &[2], ..PLAIN }];
    let both = [first[0], then[0]];
    let mut rig = fed(settings(Keying::Keyed), &text, &both, 2);
    (0..2).for_each(|partition| rig.engine.finish(partition));
    rig.advance();
    assert_eq!(numbers(&rig), [2, 3]);

    let mut before = fed(settings(Keying::Keyed), &text, &first, 2);
    before.engine.elapse(0, 2_000, RecordTime::END);
    while before.engine.advance() == Err(Full) {}
    let states: Vec<_> = {
        let tick = before.engine.cut();
        let states = tick.states.iter().map(|of| of.clone().called(of.partition)).collect();
        before.engine.settle(tick, &[]);
        states
    };
    assert_eq!(states.len(), 1);
    assert!(before.engine.cut().states.is_empty(), "nothing is new");
    for heard in [false, true] {
        let mut after = Rig::new(settings(Keying::Keyed), &text);
        after.engine.share(2);
        let taken = if heard { 1..2 } else { 0..2 };
        taken.for_each(|rank| _ = after.engine.assign(Start { rank, ..Start::at(0) }));
        let states = states.iter().cloned();
        match heard {
            true => after.engine.hear(states).expect("as written"),
            false => after.engine.relearn(states).expect("as written"),
        }
        let partition = u32::from(!heard);
        after.give(partition, 1, 5_000, Some(&record(&then[0])));
        (0..=partition).for_each(|partition| after.engine.finish(partition));
        after.advance();
        assert_eq!(numbers(&after), [3], "{heard}");
    }
}

#[test]
fn of_an_unkeyed_input_all_partitions_are_one() {
    let text = policies_with("by: [links]");
    let all = [Given { number: 2, ..PLAIN }, Given { number: 3, at: 1_500, error: true, links: &[2], ..PLAIN }];
    let mut rig = fed(settings(Keying::Unkeyed), &text, &all, 2);
    (0..2).for_each(|partition| rig.engine.finish(partition));
    rig.advance();
    assert_eq!(numbers(&rig), [2, 3]);
}

#[test]
fn a_policy_in_the_shadow_counts_what_it_would_keep_and_nothing_waits_for_it() {
    let text = policies_with("by: [links]").replace("name: group,", "name: group, shadow: true,");
    let all = [Given { number: 1, error: true, ..PLAIN }, Given { number: 2, at: 2_000, links: &[1], ..PLAIN }];
    let mut rig = fed(settings(Keying::Keyed), &text, &all, 1);
    rig.engine.elapse(0, 4_000, RecordTime::END);
    rig.advance();
    assert_eq!((numbers(&rig), rig.decided.len()), (vec![1], 2));
    assert_eq!(rig.engine.stats().shadows[1], [0, 1]);
}

/// Also one that says of each look at a trace what it would do.
#[test]
fn a_trace_that_is_looked_at_again_counts_once() {
    let shadow = "\n- { name: none, shadow: true, drop: always }";
    let all = [Given { number: 1, ..PLAIN }, Given { number: 2, at: 2_000, error: true, links: &[1], ..PLAIN }];
    let mut rig = fed(settings(Keying::Keyed), &(policies_with("by: [links]") + shadow), &all, 1);
    rig.engine.finish(0);
    rig.advance();
    assert_eq!(numbers(&rig), [1, 2]);
    assert_eq!(rig.engine.stats().shadows[2], [2, 0]);
}

#[test]
fn a_chain_is_kept_to_its_beginning() {
    // Each is over before what it caused is, and the last fails.
    let all = [
        Given { number: 1, ..PLAIN },
        Given { number: 2, at: 1_000, links: &[1], ..PLAIN },
        Given { number: 3, at: 2_000, links: &[2], ..PLAIN },
        Given { number: 4, at: 3_000, error: true, links: &[3], ..PLAIN },
        Given { number: 5, at: 3_000, ..PLAIN },
    ];
    assert_eq!(kept(&policies_with("by: [links], wait: 9s"), &all), [1, 2, 3, 4]);
}

#[test]
fn links_to_nothing_join_nobody() {
    let all =
        [Given { number: 1, error: true, links: &[0], ..PLAIN }, Given { number: 2, at: 2_000, links: &[0], ..PLAIN }];
    assert_eq!(kept(&policies_with("by: [links]"), &all), [1]);
}

#[test]
fn who_is_followed_need_not_be_named_by_the_verdict() {
    let text = "policies:
- { name: all, when: any(status.code == STATUS_CODE_ERROR), keep: always }
- { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }
- { name: health, when: 'root.name == \"health\"', keep: always }
- { name: group, keep: { follow: { by: [links], of: [errors] } } }";
    let all = [
        Given { number: 1, error: true, ..PLAIN },
        Given { number: 2, at: 2_000, links: &[1], ..PLAIN },
        Given { number: 3, health: true, ..PLAIN },
        Given { number: 4, at: 2_000, links: &[3], ..PLAIN },
    ];
    assert_eq!(kept(text, &all), [1, 2, 3]);
}

/// Those that are kept at once stand for those that wait, and some of these are kept for certain later.
#[test]
fn what_waits_leaves_weights_right() {
    const CAUSES: u64 = 2_000;
    let text = "policies:
- { name: some, keep: { probability: 25% } }
- { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }
- { name: group, keep: { follow: { by: [links] } } }";
    let mut random = fastrand::Rng::with_seed(3);
    let mut rig = Rig::new(Settings { stamps: Stamps::default(), ..settings(Keying::Keyed) }, text);
    rig.engine.assign(Start::at(0));
    let span = |id: u128, failed: bool, of: Option<u128>| Otlp {
        trace_id: id.to_be_bytes().to_vec(),
        span_id: vec![1; 8],
        name: if of.is_some() { "effect".into() } else { "cause".into() },
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        status: failed.then(|| Status { code: 2, ..Status::default() }),
        links: of.iter().map(|of| Link { trace_id: of.to_be_bytes().to_vec(), ..Link::default() }).collect(),
        ..Otlp::default()
    };
    let causes: Vec<u128> = (0..CAUSES).map(|_| random.u128(1..)).collect();
    let mut records: Vec<(i64, Otlp)> = Vec::new();
    for (at, &cause) in (0..).step_by(10).zip(&causes) {
        records.push((at, span(cause, false, None)));
        records.push((at + 2_500, span(random.u128(1..), true, Some(cause))));
    }
    records.sort_by_key(|(at, _)| *at);
    for (offset, (at, span)) in (0..).zip(records) {
        rig.give(0, offset, at, Some(&record_of("shop", vec![span])));
    }
    rig.engine.finish(0);
    rig.advance();
    let kept: Vec<_> = rig.kept.iter().map(|(_, spans)| Otlp::decode(&*spans[0]).expect("a span")).collect();
    let of =
        |name: &str, state: &str| kept.iter().filter(|span| span.name == name && span.trace_state == state).count();
    assert_eq!(of("effect", "ot=th:0"), CAUSES as usize);
    let weighed = of("cause", "ot=th:c");
    assert_eq!(weighed + of("cause", ""), CAUSES as usize, "all are kept");
    let estimate = weighed as u64 * 4;
    // Four standard errors: √(n · 3).
    assert!(estimate.abs_diff(CAUSES) < 310, "{estimate} for {CAUSES}");
}

#[test]
fn what_waits_asks_a_rate_once() {
    let text = "policies:
- { name: some, keep: { rate: { traces_per_second: 1, burst: 10s } } }
- { name: group, keep: { follow: { by: [links] } } }";
    let all: Vec<_> = (1..=200).map(|number| Given { number, ..PLAIN }).collect();
    let alone = text.split("- { name: group").next().expect("the first part");
    assert_eq!(kept(text, &all).len(), kept(alone, &all).len());
}

#[test]
fn who_follows_with_luck_is_followed_without_a_weight() {
    let text = "policies:
- { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }
- { name: half, when: 'root.name != \"health\"', keep: [ { follow: { by: [links], wait: 0s } }, { probability: 50% } ] }
- { name: group, when: 'root.name == \"health\"', keep: { follow: { by: [links], wait: 0s } } }";
    let all = [
        Given { number: 1, error: true, ..PLAIN },
        Given { number: 0xff, at: 2_000, links: &[1], ..PLAIN },
        Given { number: 2, at: 2_000, links: &[1], ..PLAIN },
        Given { number: 3, at: 4_000, links: &[1], health: true, ..PLAIN },
    ];
    // What is marked for one policy is not for another.
    let reason = |rig: &Rig, number: u8| {
        let decision = rig.decided.iter().find(|decision| decision.trace.0[0] == number).expect("decided");
        (decision.verdict.keep, decision.verdict.reason())
    };
    let mut rig = fed(settings(Keying::Keyed), text, &all, 1);
    rig.engine.finish(0);
    rig.advance();
    assert_eq!((reason(&rig, 0xff), reason(&rig, 3)), ((true, "sampled"), (true, "always")));
    assert!(!reason(&rig, 2).0);
    let chain = [all[0], all[1], Given { number: 0xfe, at: 4_000, links: &[0xff], ..PLAIN }];
    let mut rig = fed(settings(Keying::Keyed), text, &chain, 1);
    rig.engine.finish(0);
    rig.advance();
    assert_eq!(reason(&rig, 0xfe), (true, "followed"));
}
