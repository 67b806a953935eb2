//! What all samplers of a worker have learned.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{
    coverage::Coverage,
    keys::{self, Key, Keys},
    slowest::{Fate, Slowest},
};
use crate::model::RecordTime;

/// By sampler and partition.
#[derive(Debug, Default)]
pub struct States {
    samplers: HashMap<u64, Vec<(u32, Keys)>, FixedState>,
    /// The latest time at which anything was learned.
    latest: Option<RecordTime>,
}

/// A trace, as a sampler sees it.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub key: Key,
    pub value: f64,
    /// When it was decided.
    pub time: RecordTime,
}

/// Keys of a sampler in a partition that have a state of their own. What is beyond shares.
const KEYS_MAX: usize = 10_000;

// === impl States ===

impl States {
    /// With what probability a trace is to be kept.
    pub fn probability(&self, sampler: u64, rule: &Slowest, Measured { key, value, time }: Measured) -> f64 {
        let partitions = self.samplers.get(&sampler).into_iter().flatten().map(|(_, keys)| keys);
        keys::probability(rule, key, value, self.at(time), partitions)
    }

    /// Learns of a trace of a partition, and tells what came of the windows that are over now.
    pub fn learn(
        &mut self,
        (sampler, partition): (u64, u32),
        rule: &Slowest,
        Measured { key, value, time }: Measured,
        fate: Fate,
    ) -> Coverage {
        let time = self.at(time);
        self.latest = self.latest.max(Some(time));
        let of = self.samplers.entry(sampler).or_default();
        let place = of.iter().position(|(owner, _)| *owner == partition).unwrap_or_else(|| {
            of.push((partition, Keys::new(*rule, KEYS_MAX, time)));
            of.len() - 1
        });
        let over = of[place].1.learn(key, value, fate, time);
        over.iter().fold(Coverage::default(), |mut sum, (_, window)| {
            sum += Coverage::of(window);
            sum
        })
    }

    /// A partition is another's now, and what was learned of it.
    pub fn revoke(&mut self, partition: u32) {
        self.samplers.retain(|_, of| {
            of.retain(|(owner, _)| *owner != partition);
            !of.is_empty()
        });
    }

    pub fn bytes(&self) -> usize {
        self.samplers.values().flatten().map(|(_, keys)| keys.bytes()).sum()
    }

    /// When the input has ended, time stands where it was.
    fn at(&self, time: RecordTime) -> RecordTime {
        if time == RecordTime::END { self.latest.unwrap_or(RecordTime(0)) } else { time }
    }
}
