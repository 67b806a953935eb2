//! Randomness that can be had again.

use std::{
    env,
    time::{Duration, Instant},
};

/// `TAILWATER_SEED`, or a new one; printed, so that a failure shows how to repeat it.
pub fn seed() -> u64 {
    let given = env::var("TAILWATER_SEED").ok().map(|seed| seed.parse().expect("TAILWATER_SEED is a number"));
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("TAILWATER_SEED={seed} repeats this");
    seed
}

/// Does something once, or again and again for the time of a soak; it is told which round it is.
pub fn repeat(mut round: impl FnMut(usize)) {
    let (time, start) = (soak(), Instant::now());
    round(0);
    (1..).take_while(|_| start.elapsed() < time).for_each(round);
}

/// For as long as `TAILWATER_SOAK` says (30s, 10m, 1h); no time where it says nothing.
pub fn soak() -> Duration {
    let Ok(text) = env::var("TAILWATER_SOAK") else { return Duration::ZERO };
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let seconds =
        units.iter().find_map(|(unit, seconds)| Some(text.strip_suffix(unit)?.parse::<u64>().ok()? * seconds));
    Duration::from_secs(seconds.expect("TAILWATER_SOAK is a time, as 10m"))
}

/// `TAILWATER_RUNS`, or one.
pub fn runs() -> usize {
    env::var("TAILWATER_RUNS").map_or(1, |runs| runs.parse().expect("TAILWATER_RUNS is a number"))
}
