//! How long traces are held for how much of their spans. `cargo bench --bench completion`.

#[path = "completion/mod.rs"]
mod completion;
#[path = "support/plot.rs"]
mod plot;
#[path = "completion/plots.rs"]
mod plots;

use std::{hint::black_box, time::Instant};

use completion::{
    MAX_WAIT, Outcome, Way, key, least, needs, play,
    traffic::{self, Operation, Trace},
    worst,
};
use fastrand::Rng;
use tailwater::{
    model::RecordTime,
    sample::{
        quiet::Quiet,
        trail::Gaps,
        waits::{Wait, Waits},
    },
};

const SEED: u64 = 1;
const GOAL: f64 = 0.999;
const SECONDS: u64 = 2 * 60 * 60;

/// What came of ways to wait.
struct Compared {
    /// All operations together, of some fixed times.
    waits: Vec<Outcome>,
    /// Of some fixed quiet periods.
    quiets: Vec<Outcome>,
    /// By operation, of what the processor does.
    learned: Vec<Outcome>,
}

fn main() {
    println!(
        "200 operations with Zipf rates, 100 traces/s, two hours; tails of 5 to 60 s in 1 % of the traces, those of four"
    );
    println!(
        "operations; 0.5 % lose a parent. Of all spans that ever come, those before the verdict; time held in seconds."
    );
    let operations = traffic::operations(200, 100.0);
    let compared = compare(|| traffic::traffic(operations.clone(), SECONDS, SEED, |_| 1.0));
    by_operation(&operations, &compared.learned);
    plots::held(&compared);
    println!("\nthe same, and gaps are three times as long for twenty minutes");
    let slow = |second: f64| if (1800.0..3000.0).contains(&second) { 3.0 } else { 1.0 };
    slower(|| traffic::traffic(operations.clone(), SECONDS, SEED, slow));
    cost();
}

/// All ways to wait, and the fixed times that are as complete.
fn compare<T: Iterator<Item = Trace>>(traces: impl Fn() -> T) -> Compared {
    head();
    let run = |name: &str, mut way: Way| {
        let outcomes = play(traces(), &mut way);
        row(name, &outcomes);
        outcomes
    };
    let waits =
        [5, 10, 20, 30, 40, 60].map(|wait| run(&format!("{wait} s from the first span"), Way::Wait(wait * 1000)));
    let quiets = [5, 10, 20, 30, 40].map(|quiet| run(&format!("quiet for {quiet} s"), Way::Quiet(quiet * 1000)));
    run("whole and quiet for 5 s", Way::Structure(5_000));
    let quiet = run("quiet, as learned", Way::learned(GOAL));
    let with_structure = |name, partitions, kills| run(name, Way::learned_structure(GOAL, partitions, kills));
    let learned = with_structure("whole or torn and quiet, as learned", 1, 0);
    with_structure("  of 4 partitions, by 4 workers", 4, 0);
    with_structure("  of 32 partitions", 32, 0);
    with_structure("  of 32 partitions, with 10 kills", 32, SECONDS / 11);
    println!("as complete, by an exact sort of all that ever came:");
    let needs = needs(traces());
    let goals = [("99.9 %", GOAL), ("learned", complete(&quiet)), ("with structure", complete(&learned))];
    for (name, share) in goals {
        let (wait, quiet) = (least(&needs.wait, share), least(&needs.quiet, share));
        run(&format!("  {name}: {wait} ms from the first"), Way::Wait(wait));
        run(&format!("  {name}: quiet for {quiet} ms"), Way::Quiet(quiet));
    }
    let all = |outcomes: &[Vec<Outcome>]| outcomes.iter().map(|outcomes| Outcome::all(outcomes)).collect();
    Compared { waits: all(&waits), quiets: all(&quiets), learned }
}

/// What the processor does, and the fixed time that is as complete.
fn slower<T: Iterator<Item = Trace>>(traces: impl Fn() -> T) {
    head();
    let learned = play(traces(), &mut Way::learned_structure(GOAL, 1, 0));
    row("whole or torn and quiet, as learned", &learned);
    row("  of 32 partitions", &play(traces(), &mut Way::learned_structure(GOAL, 32, 0)));
    let wait = least(&needs(traces()).wait, complete(&learned));
    row(&format!("as complete: {wait} ms from the first"), &play(traces(), &mut Way::Wait(wait)));
}

/// What a span costs, which asks once and teaches once, and an operation: each has a hundred traces of twenty spans.
fn cost() {
    println!("\ncost of a partition's state, 2,000 spans of each operation");
    for count in [1, 10_000, 100_000] {
        let mut waits = Waits::new(Quiet::new(GOAL, 5_000, MAX_WAIT), 1 << 30);
        let mut rng = Rng::with_seed(SEED);
        let start = Instant::now();
        let traces = 100 * count.max(1_000);
        for trace in 0..traces {
            // Gaps from 1 ms to 10 s, most of them short.
            let mut gap = || (10_000.0_f64.ln() * rng.f64() * rng.f64()).exp() as u64;
            let gaps = [(); 20].map(|()| Gaps { whole: gap(), torn: gap() });
            let key = key(trace % count);
            let mut is_known = false;
            gaps.iter().for_each(|_| Wait { is_known, .. } = black_box(waits.wait(key)));
            // A partition has no more than 10,000.
            waits.learn(
                (trace % count / 10_000) as u32,
                key,
                &gaps,
                is_known,
                RecordTime((trace * 600_000 / traces) as i64),
            );
        }
        let ns = start.elapsed().as_nanos() as usize / traces / 20;
        println!("{count:>8} operations: {ns} ns a span, {} bytes, {} each", waits.bytes(), waits.bytes() / count);
    }
}

fn by_operation(operations: &[Operation], outcomes: &[Outcome]) {
    println!("\nwhole or torn and quiet, as learned, by operation; tails: of its traces, those that have one");
    println!("{:>4}{:>12}{:>8}{:>14}{:>10}{:>10}{:>10}", "", "spans", "tails", "complete, %", "median", "mean", "p99");
    for (n, (operation, outcome)) in operations.iter().zip(outcomes).enumerate() {
        if [1, 2, 3, 4, 5, 6, 10, 20, 50, 100, 200].contains(&(n + 1)) {
            println!(
                "{:>4}{:>12}{:>8.2}{:>14.3}{:>10.2}{:>10.2}{:>10.2}",
                n + 1,
                outcome.spans,
                operation.tails,
                100.0 * outcome.completeness(),
                outcome.held(0.5),
                outcome.mean(),
                outcome.held(0.99)
            );
        }
    }
}

fn complete(outcomes: &[Outcome]) -> f64 {
    Outcome::all(outcomes).completeness()
}

fn head() {
    println!("{:<40}{:>14}{:>10}{:>10}{:>10}{:>20}", "", "complete, %", "median", "mean", "p99", "worst operation, %");
}

fn row(name: &str, outcomes: &[Outcome]) {
    let all = Outcome::all(outcomes);
    println!(
        "{name:<40}{:>14.3}{:>10.2}{:>10.2}{:>10.2}{:>20.3}",
        100.0 * all.completeness(),
        all.held(0.5),
        all.mean(),
        all.held(0.99),
        100.0 * worst(outcomes).completeness()
    );
}
