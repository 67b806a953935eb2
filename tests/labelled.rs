//! Labelled faults in real traces, at a budget. `cargo bench --bench labelled` is the same over more hours and budgets.

#[path = "../benchmarks/labelled/mod.rs"]
mod labelled;

use labelled::{Outcome, Tally, replay::Replay, run, way::Way};

const SEED: u64 = 1;
const SHARE: f64 = 0.05;

#[test]
fn of_fault_windows_a_budget_keeps_more_than_chance() {
    let Some(replay) = Replay::new(20, SEED) else {
        return println!("not run: the traces of the Online Boutique are not in ../shared/data");
    };
    let ways = vec![Way::ours(SHARE, replay.rate), Way::uniform(SHARE)];
    let [ours, uniform] = run(&replay, ways, SEED).try_into().expect("two ways");
    for (name, outcome) in [("ours", &ours), ("uniform", &uniform)] {
        println!("{name}: all {:?}, windows {:?}, visible {:?}", outcome.all, outcome.window(), outcome.visible());
    }
    assert!(ours.all.share() <= SHARE, "{}", ours.all.share());
    let times = |of: fn(&Outcome) -> Tally| of(&ours).share() / of(&uniform).share();
    assert!(times(Outcome::visible) >= 5.0, "{}", times(Outcome::visible));
    assert!(times(Outcome::window) >= 2.0, "{}", times(Outcome::window));
}
