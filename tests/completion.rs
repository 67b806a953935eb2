//! What learned quiet periods promise, on traffic with seeds, counted over all spans that ever come. `cargo bench --bench completion` is
//! the same over hours.

#[path = "../benchmarks/completion/mod.rs"]
mod completion;

use completion::{
    MAX_WAIT, Outcome, Way, least, needs, play,
    traffic::{Trace, operations, traffic},
    worst,
};

const GOAL: f64 = 0.999;

/// A quarter of an hour, warm-up and all: some 32,000 traces of 430,000 spans. Of these 430 may be late, in groups of two or three:
/// the standard error is 0.008 %.
fn traces(seed: u64) -> impl Iterator<Item = Trace> {
    traffic(operations(20, 36.0), 900, seed, |_| 1.0)
}

#[test]
fn the_goal_is_reached_and_traces_are_held_five_times_shorter_than_with_a_fixed_wait() {
    for seed in 1..=3 {
        let outcomes = play(traces(seed), &mut Way::learned_structure(GOAL, 4, 300));
        let all = Outcome::all(&outcomes);
        let needs = needs(traces(seed));
        assert_eq!(all.spans, needs.wait.len() as u64, "every span is counted, in time or late");
        assert_eq!(all.held.len(), traces(seed).count(), "every trace is decided");
        println!("seed {seed}: {:.5}, median {}, mean {}", all.completeness(), all.held(0.5), all.mean());

        assert!(all.completeness() >= GOAL, "seed {seed}: {}", all.completeness());
        assert!(all.held(0.5) <= 6.0, "seed {seed}: {}", all.held(0.5));
        let [wait, quiet] = [&needs.wait, &needs.quiet].map(|needs| least(needs, all.completeness()));
        let shortest = wait.min(quiet) as f64 / 1000.0;
        assert!(all.held(0.5) * 5.0 < shortest && all.mean() * 2.0 < shortest, "seed {seed}: {shortest}");
        // Tails are no secret of the mean: of the operations that have them, no fewer spans are in time.
        let worst = worst(&outcomes).completeness();
        assert!(worst >= 0.997, "seed {seed}: {worst}");
    }
}

/// The way that is counted is the way that is taken: fixed times are as complete as an exact sort says.
#[test]
fn fixed_times_are_as_complete_as_they_have_to_be() {
    let needs = needs(traces(1));
    for share in [0.9, 0.99, 0.999] {
        let (wait, quiet) = (least(&needs.wait, share), least(&needs.quiet, share));
        let complete = |mut way: Way| Outcome::all(&play(traces(1), &mut way)).completeness();
        let waited = complete(Way::Wait(wait));
        assert!(waited >= share && waited < share + 0.001, "{waited} for {share}");
        // What comes in short gaps, after the longest wait there is, is late as well.
        let quieted = complete(Way::Quiet(quiet));
        assert!((quieted - share).abs() < 0.001, "{quieted} for {share}");
    }
}

#[test]
fn a_lost_parent_costs_no_whole_wait() {
    // Of these, the first four have no tails.
    let of = |mut way: Way| Outcome::all(&play(traces(1), &mut way)[..4]);
    let [fixed, learned] = [Way::Structure(5_000), Way::learned_structure(GOAL, 1, 0)].map(of);
    let longest = |outcome: &Outcome| outcome.held.iter().filter(|&&ms| u64::from(ms) == MAX_WAIT).count();
    // Who has lost the root waits as before, and so does everyone at first.
    let [fixed, learned] = [longest(&fixed), longest(&learned)];
    assert!(fixed > 50 && learned * 2 < fixed, "{fixed} {learned}");
}
