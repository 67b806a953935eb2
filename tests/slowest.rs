//! What `slowest` promises, on traffic with a seed, by a truth that it never sees. `cargo bench --bench slowest` is the same over days.

#[path = "../benchmarks/slowest/mod.rs"]
mod slowest;

use slowest::{
    Outcome,
    boutique::{self, Replay},
    cluster::{Cluster, Spread},
    run,
    traffic::{CASES, Operation, traffic},
};

const SEED: u64 = 1;
/// The worst that was promised: four workers, each of which learns two ticks later what the others have seen.
const SPREAD: Spread = Spread { partitions: 4, skewed: true };

fn outcome(case: usize, rate: f64, windows: u64) -> Outcome {
    let (name, shape, course) = CASES[case];
    let mut cluster = Cluster::new(SPREAD, 100, SEED);
    let outcome = run(traffic(vec![Operation { shape, course, rate }], windows, SEED), &mut cluster, false)[0];
    let reported = cluster.coverage(0);
    let truth = outcome.warm_up.covered + outcome.slowest.covered;
    println!(
        "{name}: {:.4} at {:.3}; {} reported, {truth} covered",
        outcome.coverage(),
        outcome.cost(),
        reported.covered
    );
    // What an operation does before it has a state of its own is not reported as its own. Of values that are alike each partition
    // tells by itself how many of those it needs it kept.
    let part = if name.contains("time out") { 10 } else { 100 };
    assert!(reported.covered.abs_diff(truth) * part < truth, "{name}");
    outcome
}

#[test]
fn of_100_000_traces_a_window_99_percent_are_covered_at_a_third_more() {
    for case in [0, 2] {
        let outcome = outcome(case, 100_000.0, 8);
        assert!(outcome.coverage() >= 0.99, "{}", outcome.coverage());
        // Over a day, the warm-up is a part of it that hardly counts; of eight windows it is not.
        assert!(outcome.slowest.cost() <= 1.3, "{}", outcome.slowest.cost());
        assert!(outcome.warm_up.cost() <= 2.5, "{}", outcome.warm_up.cost());
    }
}

#[test]
fn of_10_000_traces_a_window_99_percent_are_covered_at_twice_as_many() {
    for case in 0..6 {
        let outcome = outcome(case, 10_000.0, 36);
        assert!(outcome.coverage() >= 0.99, "{}", outcome.coverage());
        assert!(outcome.cost() <= 2.2, "{}", outcome.cost());
    }
}

#[test]
fn a_day_with_a_deploy_costs_one_window() {
    let outcome = outcome(7, 10_000.0, 144);
    assert!(outcome.coverage() >= 0.985, "{}", outcome.coverage());
    assert!(outcome.cost() <= 2.2, "{}", outcome.cost());
    // A threshold that is set once keeps a hundred times as many while all is slower; one at the 95th percentile, fifty always.
    assert!(outcome.fixed.cost() > 10.0 && outcome.p95.cost() > 40.0);
}

#[test]
fn workers_that_are_killed_need_no_second_warm_up() {
    let (_, shape, course) = CASES[0];
    for spread in [1, 4, 32].map(|partitions| Spread { partitions, skewed: partitions > 1 }) {
        let traces = || traffic(vec![Operation { shape, course, rate: 10_000.0 }], 24, SEED);
        let mut cluster = Cluster::new(spread, 100, SEED).kill_in(1..24);
        let outcome = run(traces(), &mut cluster, false)[0];
        assert_eq!(outcome.traces, traces().count() as u64, "each is decided once");
        assert!(outcome.coverage() >= 0.98, "{spread:?}: {}", outcome.coverage());
        assert!(outcome.slowest.cost() <= 2.2, "{spread:?}: {}", outcome.slowest.cost());
    }
}

#[test]
fn real_traces_are_covered() {
    let Some(minutes) = boutique::minutes() else {
        return println!("not run: the traces of the Online Boutique are not in ../shared/data");
    };
    let mut cluster = Cluster::new(SPREAD, 100, SEED);
    let outcome = run(boutique::traffic(minutes, Replay::Turns, 100_000, 8, SEED), &mut cluster, false)[0];
    assert!(outcome.coverage() >= 0.99, "{}", outcome.coverage());
    assert!(outcome.cost() <= 1.4, "{}", outcome.cost());
}
