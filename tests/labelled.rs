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
    let ways = vec![Way::ours(SHARE, replay.rate, 1), Way::uniform(SHARE)];
    let [ours, uniform] = run(&replay, ways, SEED).try_into().expect("two ways");
    for (name, outcome) in [("ours", &ours), ("uniform", &uniform)] {
        println!("{name}: all {:?}, windows {:?}, visible {:?}", outcome.all, outcome.window(), outcome.visible());
    }
    assert!(ours.all.share() <= SHARE, "{}", ours.all.share());
    let times = |of: fn(&Outcome) -> Tally| of(&ours).share() / of(&uniform).share();
    assert!(times(Outcome::visible) >= 5.0, "{}", times(Outcome::visible));
    assert!(times(Outcome::window) >= 2.0, "{}", times(Outcome::window));
}

#[test]
fn the_policies_that_are_shown_are_policies() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sampling.md")).expect("a page");
    let mut blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let policies = blocks.find(|block| block.starts_with("policies:")).expect("policies");
    assert!(policies.contains("budget:"), "{policies}");
    // Panics where there is a mistake.
    Way::new(policies.to_owned());
}
