//! Traffic for samplers: traces as keys, costs and randomness, second after second.

use fastrand::Rng;
use tailwater::model::{Randomness, Threshold};

use super::support::partitions::draw;

#[derive(Clone, Copy, Debug)]
pub struct Trace {
    pub key: u64,
    pub cost: u64,
    pub randomness: Randomness,
    pub partition: usize,
}

/// Keys that come by Zipf's law with the exponent 1.1, as tenants, routes and customers do.
pub struct Traces {
    rng: Rng,
    /// Up to each key.
    sums: Vec<f64>,
    pub per_second: f64,
    /// Partition 0 carries half of the traffic, where there are more.
    pub partitions: usize,
    /// Spans of a trace are 1 to twice this less 1, or what `cost` is where that is 1.
    pub cost: u64,
}

// === impl Traces ===

impl Traces {
    pub fn new(seed: u64, keys: usize, per_second: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=keys).map(|rank| {
            sum += (rank as f64).powf(-1.1);
            sum
        });
        Self { sums: sums.collect(), rng: Rng::with_seed(seed), per_second, partitions: 1, cost: 1 }
    }

    /// Other keys from now on.
    pub fn second(&mut self, factor: impl Fn(u64) -> f64) -> Vec<Trace> {
        let most = [0_u64, 1, 2, 3, 5, 9].map(&factor).into_iter().fold(1.0, f64::max);
        let count = poisson(&mut self.rng, self.per_second * most);
        (0..count)
            .filter_map(|_| {
                let at = self.rng.f64() * self.sums[self.sums.len() - 1];
                let key = self.sums.partition_point(|sum| *sum < at) as u64;
                let taken = self.rng.f64() * most < factor(key);
                taken.then(|| self.trace(key))
            })
            .collect()
    }

    /// One of a key.
    pub fn trace(&mut self, key: u64) -> Trace {
        let partition = draw(&mut self.rng, self.partitions);
        Trace {
            // As a hash: anything can be made of its digits.
            key: (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            cost: self.rng.u64(1..2 * self.cost),
            randomness: Randomness(self.rng.u64(0..Threshold::NEVER.0)),
            partition,
        }
    }
}

fn poisson(rng: &mut Rng, mean: f64) -> u64 {
    // By the normal where that is as good: the sum of twelve is one nearly.
    if mean > 100.0 {
        let normal = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
        return (mean + mean.sqrt() * normal).round().max(0.0) as u64;
    }
    let (bound, mut product, mut count) = ((-mean).exp(), rng.f64(), 0);
    while product > bound {
        product *= rng.f64();
        count += 1;
    }
    count
}
