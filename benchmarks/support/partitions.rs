//! Partitions of several workers: where traffic goes, and what is told of them.

use std::collections::VecDeque;

use fastrand::Rng;
use tailwater::{engine::Engine, sample::Learned};

/// What has been learned of partitions, until others than their owners hear of it.
#[derive(Default)]
pub struct Told {
    /// Each with the tick in which that is.
    on_their_way: VecDeque<(i64, Learned)>,
}

/// Ticks.
const LATE: i64 = 2;

/// A partition for a trace: the first carries half of the traffic, where there are more.
pub fn draw(rng: &mut Rng, partitions: usize) -> usize {
    match partitions {
        1 => 0,
        _ if rng.bool() => 0,
        partitions => rng.usize(1..partitions),
    }
}

// === impl Told ===

impl Told {
    pub fn tell(&mut self, now: i64, learned: Learned) {
        self.on_their_way.push_back((now + LATE, learned));
    }

    /// Of so many workers those that are there hear what is due, but of their own partitions: these they own in turn.
    pub fn hear<'e>(&mut self, now: i64, workers: usize, engines: impl Iterator<Item = (usize, &'e mut Engine)>) {
        let due = self.on_their_way.iter().take_while(|(due, _)| *due <= now).count();
        let due: Vec<Learned> = self.on_their_way.drain(..due).map(|(_, learned)| learned).collect();
        for (worker, engine) in engines {
            let others = due.iter().filter(|learned| learned.partition as usize % workers != worker);
            engine.hear(others.cloned()).expect("as written");
        }
    }
}
