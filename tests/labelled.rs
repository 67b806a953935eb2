//! Labelled faults in real traces, at a budget. `cargo bench --bench labelled` is the same over more hours and budgets.

#[path = "../benchmarks/labelled/mod.rs"]
mod labelled;

use labelled::{replay::Replay, run, way::Way};

const SEED: u64 = 1;

#[test]
fn of_fault_windows_a_budget_keeps_more_than_chance() {
    let Some(replay) = Replay::new(20, SEED) else {
        return println!("not run: the traces of the Online Boutique are not in ../shared/data");
    };
    for share in [0.01, 0.1] {
        let ways = vec![Way::ours(share, replay.rate), Way::uniform(share), Way::errors_only()];
        let [ours, uniform, errors] = run(&replay, ways, SEED).try_into().expect("three");
        for (name, outcome) in [("ours", &ours), ("uniform", &uniform), ("errors only", &errors)] {
            let [all, window, visible] = [outcome.all, outcome.window(), outcome.visible()];
            println!("{share} {name}: all {all:?}, window {window:?}, visible {visible:?}");
        }
        assert!(ours.all.share() <= share);
    }
}
