//! Randomness that can be had again.

use std::env;

/// `TAILWATER_SEED`, or a new one; printed, so that a failure shows how to repeat it.
pub fn seed() -> u64 {
    let given = env::var("TAILWATER_SEED").ok().map(|seed| seed.parse().expect("TAILWATER_SEED is a number"));
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("TAILWATER_SEED={seed} repeats this");
    seed
}
