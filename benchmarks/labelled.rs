//! How many traces of labelled faults are kept at a budget. `cargo bench --bench labelled`.

#[path = "labelled/mod.rs"]
mod labelled;
#[path = "support/plot.rs"]
mod plot;
#[path = "labelled/plots.rs"]
mod plots;

use labelled::{Outcome, replay::Replay, run, way::Way};

const SHARES: [f64; 4] = [0.001, 0.01, 0.05, 0.1];
const PARTITIONS: [usize; 3] = [1, 4, 32];
/// Of normal traffic before each fault.
const MINUTES: u64 = 60;
const SEED: u64 = 1;

fn main() {
    let Some(replay) = Replay::new(MINUTES, SEED) else {
        return println!("not run: the traces of the Online Boutique are not in ../shared/data");
    };
    let over = |partitions| SHARES.iter().map(move |&share| (share, partitions));
    let ours = PARTITIONS.into_iter().flat_map(over);
    let ours = ours.map(|(share, partitions)| Way::ours(share, replay.rate, partitions));
    let others = SHARES.iter().map(|&share| Way::uniform(share)).chain([Way::errors_only()]);
    let mut outcomes = run(&replay, ours.chain(others).collect(), SEED);
    let errors = outcomes.pop().expect("a way");
    let uniform = outcomes.split_off(PARTITIONS.len() * SHARES.len());
    let several = outcomes.split_off(SHARES.len());
    println!(
        "{} traces, {:.1} a second but in the windows of {} faults; kept, in per cent",
        replay.comings.len(),
        replay.rate,
        replay.faults.len()
    );
    println!("{:>8}{:>14}{:>10}{:>18}{:>10}", "budget", "", "of all", "of the windows", "visible");
    for ((share, ours), uniform) in SHARES.iter().zip(&outcomes).zip(&uniform) {
        row(&format!("{} %", 100.0 * share), "tailwater", ours);
        row("", "uniform", uniform);
        row("", "errors only", &errors);
    }
    println!("\nover several partitions of 4 workers, one partition with half of the traces");
    println!("{:>8}{:>14}{:>10}{:>18}{:>10}", "budget", "partitions", "of all", "of the windows", "visible");
    for (partitions, outcomes) in PARTITIONS[1..].iter().zip(several.chunks(SHARES.len())) {
        for (share, outcome) in SHARES.iter().zip(outcomes) {
            row(&format!("{} %", 100.0 * share), &partitions.to_string(), outcome);
        }
    }
    println!("\nof the windows, and of what is visible in them, by fault");
    for (place, fault) in replay.faults.iter().enumerate() {
        let (window, visible) = errors.windows[place];
        println!("{} of {}: {} traces, {} visible", fault.kind, fault.service, window.of, visible.of);
        for ((share, ours), uniform) in SHARES.iter().zip(&outcomes).zip(&uniform) {
            let [ours, uniform] = [ours, uniform].map(|outcome| outcome.windows[place]);
            println!(
                "{:>8}{:>8.2}{:>8.2}   uniform{:>8.2}{:>8.2}",
                format!("{} %", 100.0 * share),
                100.0 * ours.0.share(),
                100.0 * ours.1.share(),
                100.0 * uniform.0.share(),
                100.0 * uniform.1.share()
            );
        }
    }
    plots::shares(&SHARES, &outcomes, &uniform, &errors);
}

fn row(budget: &str, name: &str, outcome: &Outcome) {
    println!(
        "{budget:>8}{name:>14}{:>10.3}{:>18.2}{:>10.2}",
        100.0 * outcome.all.share(),
        100.0 * outcome.window().share(),
        100.0 * outcome.visible().share()
    );
}
