//! How much of what is beyond the 99.9th percentile `slowest` keeps, and at what price. `cargo bench --bench slowest`, or a part of
//! it: `cargo bench --bench slowest -- many real`.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/parts.rs"]
mod parts;
#[path = "support/plot.rs"]
mod plot;
#[path = "slowest/plots.rs"]
mod plots;
#[path = "slowest/mod.rs"]
mod slowest;

use std::{hint::black_box, iter};

use cpu::cpu_time;
use fastrand::Rng;
use slowest::{
    Judgement, Outcome,
    boutique::{self, Replay},
    cluster::{Cluster, QUANTILE, Spread},
    run,
    traffic::{self, CASES, Operation, Trace, WINDOW},
    truth::Tally,
    windows,
};
use tailwater::{
    model::RecordTime,
    sample::{
        keys::{self, Key, Keys},
        known::Table as _,
        slowest::{Fate, Slowest},
    },
};

/// A day.
const WINDOWS: u64 = 144;
const SEED: u64 = 1;
/// Windows with kills.
const HIT: [u64; 2] = [10, 30];
const SPREADS: [Spread; 3] = [
    Spread { partitions: 1, skewed: false },
    Spread { partitions: 4, skewed: true },
    Spread { partitions: 32, skewed: true },
];

fn main() {
    parts::run(&[
        ("one", one_operation),
        ("seeds", other_seeds),
        ("many", many_operations),
        ("kills", kills),
        ("real", real_traces),
        ("cost", cost),
    ]);
}

fn one_operation() {
    head("one operation, a day of 144 windows");
    let (mut days, mut outcomes) = (Vec::new(), Vec::new());
    for rate in [100_000.0, 10_000.0] {
        for (name, shape, course) in CASES {
            for spread in SPREADS {
                let traces = traffic::traffic(vec![Operation { shape, course, rate }], WINDOWS, SEED);
                let day = row(&format!("{rate} {name}"), spread, traces);
                if spread == SPREADS[1] {
                    outcomes.push((rate, Outcome::of(&day.windows)));
                    days.push(day);
                }
            }
        }
    }
    let drawn = [
        ("log-normal, ±30 % over a day", &days[0]),
        ("Pareto, 0.5 % slower each window", &days[2]),
        ("a deploy, 3 times slower, and back", &days[7]),
    ];
    plots::rules(&outcomes);
    plots::thresholds(drawn);
    plots::windows(drawn);
}

/// On none of these seeds was anything chosen.
fn other_seeds() {
    println!("\none operation, 48 windows, 4 partitions, seeds 2 to 10");
    println!("{:<44} |{:^27}|{:^16}", "", "coverage", "cost");
    println!("{:<44} |{:>9}{:>9}{:>9}|{:>8}{:>8}", "", "mean", "worst", "least", "mean", "worst");
    for rate in [100_000.0, 10_000.0] {
        for (name, shape, course) in CASES {
            let outcomes = (2..=10).map(|seed| {
                let traces = traffic::traffic(vec![Operation { shape, course, rate }], 48, seed);
                run(traces, &mut Cluster::new(SPREADS[1], 10_000, seed), false)[0]
            });
            seeds_row(&format!("{rate} {name}"), &outcomes.collect::<Vec<_>>());
        }
    }
}

fn seeds_row(name: &str, outcomes: &[Outcome]) {
    let mean = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / outcomes.len() as f64;
    println!(
        "{name:<44} |{:>8.2}%{:>8.2}%{:>8.1}%|{:>8.2}{:>8.2}",
        100.0 * mean(Outcome::coverage),
        100.0 * outcomes.iter().map(Outcome::coverage).fold(1.0, f64::min),
        100.0 * outcomes.iter().map(|outcome| outcome.slowest.least).fold(1.0, f64::min),
        mean(Outcome::cost),
        outcomes.iter().map(Outcome::cost).fold(0.0, f64::max)
    );
}

fn many_operations() {
    let operations = traffic::zipf(500, 100_000.0);
    for (kills, killed) in [("no kills", 0..0), ("ten kills in each window but the first", 1..24)] {
        head(&format!("500 operations with Zipf rates, 24 windows, all kinds of durations, {kills}"));
        for spread in SPREADS {
            let mut cluster = Cluster::new(spread, 10_000, SEED).kill_in(killed.clone());
            let outcomes = run(traffic::traffic(operations.clone(), 24, SEED), &mut cluster, false);
            by_rate(&operations, &outcomes, spread);
            println!("  all sampler state: {} bytes", cluster.bytes());
        }
    }
}

fn by_rate(operations: &[Operation], outcomes: &[Outcome], spread: Spread) {
    let classes =
        [("50,000 a window and more", 5e4, 1e9), ("5,000 to 50,000", 5e3, 5e4), ("fewer than 5,000", 0.0, 5e3)];
    for (name, from, to) in classes {
        let class = || operations.iter().zip(outcomes).filter(|(operation, _)| (from..to).contains(&operation.rate));
        let all = class().fold(Outcome::default(), |all, (_, outcome)| all + *outcome);
        print(&format!("{name} ({})", class().count()), spread, &all);
        let worst = class().filter(|(_, outcome)| outcome.slowest.beyond > 0);
        if let Some((_, worst)) = worst.min_by(|(_, a), (_, b)| a.coverage().total_cmp(&b.coverage())) {
            print("  the worst of them", spread, worst);
        }
        let kept = all.warm_up.kept + all.slowest.kept;
        println!("  kept in a window of an operation: {:.1}", kept as f64 / 24.0 / class().count() as f64);
    }
}

/// In the two windows in which a deploy begins and ends, and in all but the first.
fn kills() {
    println!("\nten kills in a window, 36 windows");
    println!("{:<66}{:>10} |{:^31}|{:^18}", "", "partitions", "all windows", "windows 10 and 30");
    println!("{:<76} |{:>9}{:>8}{:>7}{:>7}|{:>10}{:>8}", "", "coverage", "least", "cost", "most", "coverage", "cost");
    for rate in [100_000.0, 10_000.0] {
        for (name, shape, course) in [CASES[0], CASES[7]] {
            for spread in SPREADS {
                let row = |when: &str, killed: &[u64]| {
                    killed_row(&format!("{rate} {name}, {when}"), Operation { shape, course, rate }, spread, killed);
                };
                row("no kills", &[]);
                row("in windows 10 and 30", &HIT);
                row("in each but the first", &Vec::from_iter(1..36));
            }
        }
    }
}

fn killed_row(name: &str, operation: Operation, spread: Spread, killed: &[u64]) {
    let traces = traffic::traffic(vec![operation], 36, SEED);
    let mut cluster = Cluster::new(spread, 10_000, SEED).kill_in(killed.iter().copied());
    let windows = windows(traces, &mut cluster, false).swap_remove(0);
    let outcome = Outcome::of(&windows);
    let hit = HIT.iter().fold(Tally::default(), |hit, &window| hit + windows[window as usize].slowest);
    println!(
        "{name:<66}{:>10} |{:>8.2}%{:>7.1}%{:>7.2}{:>7.2}|{:>9.2}%{:>8.2}",
        spread.partitions,
        100.0 * outcome.coverage(),
        100.0 * outcome.slowest.least,
        outcome.cost(),
        outcome.slowest.most,
        100.0 * hit.coverage(),
        hit.cost()
    );
}

fn real_traces() {
    let Some(minutes) = boutique::minutes() else {
        return println!("\nnot run: the traces of the Online Boutique are not in ../shared/data");
    };
    head("Online Boutique, real traces with faults, replayed, 144 windows");
    for rate in [100_000, 10_000] {
        // A minute in 10 s is as a minute in a minute with a window of an hour.
        for replay in [Replay::Turns, Replay::Minutes(10_000), Replay::Minutes(60_000)] {
            for spread in SPREADS {
                let traces = boutique::traffic(minutes.clone(), replay, rate, WINDOWS, SEED);
                let day = row(&format!("{rate} {replay:?}"), spread, traces);
                if spread == SPREADS[1] && replay == Replay::Minutes(60_000) {
                    by_beginning(&day.windows, minutes.len());
                }
            }
        }
    }
}

/// By the minute with which a window begins.
fn by_beginning(windows: &[Judgement], minutes: usize) {
    let mut tallies = vec![Tally::default(); minutes];
    for (number, window) in windows.iter().enumerate().skip(1) {
        let place = &mut tallies[number * (WINDOW / 60_000) as usize % minutes];
        *place = *place + window.slowest;
    }
    for (minute, tally) in tallies.iter().enumerate() {
        println!(
            "  from minute {minute:>2} on: {:>6} beyond, of which {:>7.2} % are kept, at {:>5.2}",
            tally.beyond,
            100.0 * tally.coverage(),
            tally.cost()
        );
    }
}

/// What a trace costs, and a key: each is seen a hundred times in each of four windows.
fn cost() {
    println!("\ncost of a partition's state");
    for count in [1, 10_000, 100_000] {
        let rule = Slowest::new(QUANTILE, WINDOW);
        let mut keys = Keys::new(rule, 100_000, RecordTime(0));
        let mut rng = Rng::with_seed(SEED);
        let start = cpu_time();
        let traces = 4 * 100 * count.max(10_000);
        for trace in 0..traces {
            let at = RecordTime((trace * 4 * WINDOW / traces) as i64);
            // Fibonacci hashing.
            let key = Key((trace % count + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            // A duration from 1 to 1,000 ms, most of them short.
            let value = 1e6 * (1000.0_f64.ln() * rng.f64() * rng.f64()).exp();
            let probability = keys::place(&rule, key, value, at, iter::once(&keys), |_| iter::empty()).probability();
            black_box(keys.learn(key, value, Fate { chosen: probability > 0.0, kept: false }, at));
        }
        let ns = (cpu_time() - start) / traces;
        println!("{count:>8} keys: {ns} ns a trace, {} bytes, {} a key", keys.bytes(), keys.bytes() as u64 / count);
    }
}

fn head(of: &str) {
    println!("\n{of}");
    println!("{:<44}{:>10} |{:^31}|{:^18}|{:^18}", "", "", "slowest", "fixed threshold", "p95 rule");
    println!(
        "{:<44}{:>10} |{:>9}{:>8}{:>7}{:>7}|{:>10}{:>8}|{:>10}{:>8}",
        "", "partitions", "coverage", "least", "cost", "most", "coverage", "cost", "coverage", "cost"
    );
}

/// What became of one operation in a day.
struct Day {
    windows: Vec<Judgement>,
    /// Minute by minute.
    thresholds: Vec<f64>,
}

fn row(name: &str, spread: Spread, traces: impl Iterator<Item = Trace>) -> Day {
    let mut cluster = Cluster::new(spread, 10_000, SEED);
    let windows = windows(traces, &mut cluster, false).swap_remove(0);
    let outcome = Outcome::of(&windows);
    print(name, spread, &outcome);
    let reported = cluster.coverage(0);
    let truth = outcome.warm_up.covered + outcome.slowest.covered;
    if reported.covered.abs_diff(truth) * 100 > truth {
        println!("  the sampler itself says that it covered {}, and it was {truth}", reported.covered);
    }
    Day { windows, thresholds: cluster.thresholds }
}

fn print(name: &str, spread: Spread, outcome: &Outcome) {
    let Outcome { slowest, fixed, p95, .. } = outcome;
    println!(
        "{name:<44}{:>10} |{:>8.2}%{:>7.1}%{:>7.2}{:>7.2}|{:>9.2}%{:>8.2}|{:>9.2}%{:>8.2}",
        spread.partitions,
        100.0 * outcome.coverage(),
        100.0 * slowest.least,
        outcome.cost(),
        slowest.most,
        100.0 * fixed.coverage(),
        fixed.cost(),
        100.0 * p95.coverage(),
        p95.cost(),
    );
}
