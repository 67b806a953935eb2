//! The arithmetic of Refinery's EMAThroughput sampler, to be compared with: dynsampler-go 0.6, `emathroughput.go`, in words.
//! Each trace counts as one event, and keys come in the order of their hashes instead of their names.

use std::collections::{BTreeMap, HashMap};

pub struct Refinery {
    goal: f64,
    means: BTreeMap<u64, f64>,
    rates: HashMap<u64, f64>,
    counts: HashMap<u64, f64>,
    intervals: u32,
    burst: f64,
}

pub const INTERVAL: i64 = 15;
const WEIGHT: f64 = 0.5;
const MAX_KEYS: usize = 500;
const INITIAL: f64 = 10.0;

// === impl Refinery ===

impl Refinery {
    pub fn new(per_second: f64) -> Self {
        Self {
            goal: per_second * INTERVAL as f64,
            means: BTreeMap::new(),
            rates: HashMap::new(),
            counts: HashMap::new(),
            intervals: 0,
            burst: f64::INFINITY,
        }
    }

    /// One trace of how many are kept.
    pub fn ask(&mut self, key: u64) -> f64 {
        let has_place = self.counts.len() < MAX_KEYS || self.counts.contains_key(&key) || self.means.contains_key(&key);
        if has_place {
            *self.counts.entry(key).or_default() += 1.0;
        }
        if self.intervals == 0 { INITIAL } else { self.rates.get(&key).copied().unwrap_or(1.0) }
    }

    /// Once a second.
    pub fn advance(&mut self, second: i64) {
        let count: f64 = self.counts.values().sum();
        let bursts = self.intervals >= 3 && count >= self.burst;
        if second % INTERVAL == 0 || bursts {
            self.close();
        }
    }

    fn close(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        if counts.is_empty() {
            return;
        }
        for (key, mean) in &mut self.means {
            *mean = WEIGHT * counts.get(key).copied().unwrap_or(0.0) + (1.0 - WEIGHT) * *mean;
        }
        for (key, count) in counts {
            self.means.entry(key).or_insert(WEIGHT * count);
        }
        self.means.retain(|_, mean| *mean >= WEIGHT);
        self.intervals += 1;
        self.burst = 2.0 * self.means.values().map(|mean| mean.max(1.0)).sum::<f64>();
        let ratio = self.goal / self.means.values().map(|mean| mean.max(1.0).log10()).sum::<f64>();
        let (mut extra, mut left) = (0.0, self.means.len() as f64);
        self.rates.clear();
        for (key, mean) in &self.means {
            let goal = (mean.max(1.0).log10() * ratio).max(1.0) + extra / left;
            extra -= extra / left;
            let rate = if *mean <= goal { 1.0 } else { (mean / goal).ceil() };
            extra += goal - mean / rate;
            left -= 1.0;
            self.rates.insert(*key, rate);
        }
    }
}
