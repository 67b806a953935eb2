//! What a partition's traffic asks for, by key, smoothed.

use super::share::Summary;
use crate::model::RecordTime;

/// Per second of record time, an exponential mean over as long as a bucket holds, or [`SMOOTHING`].
#[derive(Clone, Debug, Default)]
pub struct Demand {
    keys: Keys<f64>,
    total: f64,
    /// Distinct keys in a batch.
    distinct: f64,
    /// Seconds that it is the mean of, while they are few.
    learned: f64,
}

/// A map by hashes, which iterates in the same order wherever it was filled in the same order.
pub type Keys<V> = hashbrown::HashMap<u64, V, foldhash::fast::FixedState>;

/// So many keys are followed at most; beyond, the half that asks for least is let go. Shares need those that ask for most, and
/// of these a summary lists an eighth.
const TRACKED: usize = 1024;

/// In seconds, at least. Long enough that a summary is not the noise of one second, short beside what people call a step.
const SMOOTHING: f64 = 5.0;

// === impl Demand ===

impl Demand {
    /// What the batch of the last `passed` milliseconds asked for, each key once. Buckets hold `burst` seconds: who asks seldom saves
    /// up for that long, and is to have as much of the goal all the time.
    pub fn learn(&mut self, passed: u64, burst: f64, batch: &[(u64, f64)]) {
        let seconds = passed.max(1) as f64 / 1000.0;
        let weight = seconds / (seconds + self.learned.min(burst.max(SMOOTHING)));
        self.learned += seconds;
        self.keys.values_mut().for_each(|rate| *rate *= 1.0 - weight);
        for &(key, cost) in batch {
            *self.keys.entry(key).or_default() += weight * cost / seconds;
        }
        let total: f64 = batch.iter().map(|(_, cost)| cost).sum();
        self.total += weight * (total / seconds - self.total);
        self.distinct += weight * (batch.len() as f64 - self.distinct);
        if self.keys.len() > TRACKED {
            let mut rates: Vec<f64> = self.keys.values().copied().collect();
            let (_, least, _) = rates.select_nth_unstable_by(TRACKED / 2, |a, b| b.total_cmp(a));
            let least = *least;
            self.keys.retain(|_, rate| *rate > least);
            self.keys.shrink_to(TRACKED);
        }
    }

    pub fn summary(&self, at: RecordTime) -> Summary {
        let mut keys: Vec<(u64, f64)> = self.keys.iter().map(|(&key, &rate)| (key, rate)).collect();
        keys.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        keys.truncate(Summary::LISTED);
        let listed: f64 = keys.iter().map(|(_, rate)| rate).sum();
        let rest_keys = (self.distinct - keys.len() as f64).max(1.0);
        Summary { at, rest: (self.total - listed).max(0.0), rest_keys, keys }
    }

    /// Goes on from what was last said.
    pub fn restore(summary: &Summary) -> Self {
        let listed: f64 = summary.keys.iter().map(|(_, rate)| rate).sum();
        Self {
            keys: summary.keys.iter().copied().collect(),
            total: listed + summary.rest,
            distinct: summary.keys.len() as f64 + summary.rest_keys,
            learned: f64::INFINITY,
        }
    }

    pub fn bytes(&self) -> usize {
        self.keys.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_keys_are_followed_whatever_comes_between() {
        let mut demand = Demand::default();
        for second in 0..60 {
            let mut batch: Vec<(u64, f64)> = (0..50).map(|key| (key, 100.0)).collect();
            batch.extend((0..5_000).map(|key| (1_000 + second * 5_000 + key, 1.0)));
            demand.learn(1000, 0.0, &batch);
        }
        let summary = demand.summary(RecordTime(0));
        let heavy = summary.keys[..50].iter().filter(|(key, rate)| *key < 50 && (rate - 100.0).abs() < 1.0);
        assert_eq!(heavy.count(), 50);
        assert!(summary.keys.len() <= Summary::LISTED);
        let total = summary.rest + summary.keys.iter().map(|(_, rate)| rate).sum::<f64>();
        assert!((total - 10_000.0).abs() < 10.0, "{total}");
        assert!(demand.bytes() < 128 << 10, "{}", demand.bytes());
    }
}
