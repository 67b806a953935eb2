//! Real traces with labelled faults, replayed among normal traffic through engines that judge them in different ways.

#![allow(dead_code, reason = "every user takes a part of it")]

#[path = "../support/nezha.rs"]
mod nezha;
pub mod replay;
#[path = "../support/mod.rs"]
mod support;
pub mod trace;
pub mod way;

use fastrand::Rng;
use replay::Replay;
use way::Way;

/// How many there were of some traces, and how many of them were kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub kept: u64,
    pub of: u64,
}

/// What became of the traces that a fault had touched, or not.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub all: Tally,
    /// By fault: those of its window, and of these the visible ones.
    pub windows: Vec<(Tally, Tally)>,
}

/// What comes of a replay, by way.
pub fn run(replay: &Replay, mut ways: Vec<Way>, seed: u64) -> Vec<Outcome> {
    let mut rng = Rng::with_seed(seed);
    for (number, coming) in (1..).zip(&replay.comings) {
        let id = u128::from(number as u64) << 64 | u128::from(rng.u64(..));
        let value = replay.traces[coming.trace].encode(id, coming.start, coming.stretch);
        ways.iter_mut().for_each(|way| way.take(coming.end_ms(), &value));
    }
    ways.into_iter().map(|way| Outcome::of(replay, &way.finish())).collect()
}

// === impl Tally ===

impl Tally {
    pub fn share(&self) -> f64 {
        self.kept as f64 / self.of as f64
    }

    fn count(&mut self, kept: bool) {
        self.of += 1;
        self.kept += u64::from(kept);
    }

    fn sum(tallies: impl Iterator<Item = Self>) -> Self {
        tallies.fold(Self::default(), |all, tally| Self { kept: all.kept + tally.kept, of: all.of + tally.of })
    }
}

// === impl Outcome ===

impl Outcome {
    /// Of the traces of a replay, whether each is kept.
    fn of(replay: &Replay, kept: &[bool]) -> Self {
        assert_eq!(kept.len(), replay.comings.len(), "each trace is decided");
        let mut outcome = Self { all: Tally::default(), windows: vec![Default::default(); replay.faults.len()] };
        for (coming, &kept) in replay.comings.iter().zip(kept) {
            outcome.all.count(kept);
            let trace = &replay.traces[coming.trace];
            if let Some(fault) = trace.fault {
                let (window, visible) = &mut outcome.windows[fault];
                window.count(kept);
                if trace.visible {
                    visible.count(kept);
                }
            }
        }
        outcome
    }

    pub fn window(&self) -> Tally {
        Tally::sum(self.windows.iter().map(|(window, _)| *window))
    }

    pub fn visible(&self) -> Tally {
        Tally::sum(self.windows.iter().map(|(_, visible)| *visible))
    }
}
