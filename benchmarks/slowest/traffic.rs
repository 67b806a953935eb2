//! Traces as a sampler sees them: when, of which operation, how long.

use fastrand::Rng;
use tailwater::model::RecordTime;

/// Milliseconds of a window: the default.
pub const WINDOW: u64 = 600_000;

#[derive(Clone, Copy, Debug)]
pub struct Trace {
    pub at: RecordTime,
    pub operation: u16,
    /// A duration in nanoseconds.
    pub value: f64,
}

/// What the durations of an operation are like.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Of this σ.
    Lognormal(f64),
    /// Of this α: the lower, the heavier the tail.
    Pareto(f64),
    /// 30 % from a cache, ten times as fast as the others.
    Bimodal,
    /// Log-normal, but for this share, which times out: exactly 30 s.
    Timeouts(f64),
}

/// By what factor durations change, by the number of windows that have passed.
#[derive(Clone, Copy, Debug)]
pub enum Course {
    /// By so much up and down, a day long.
    Day(f64),
    /// By so much a window, for good.
    Drift(f64),
    /// A deploy that makes everything slower by this factor, and is taken back.
    Deploy { by: f64, from: f64, until: f64 },
    /// All is slower by this factor for so many windows, six times a day.
    Incidents { by: f64, of: f64 },
}

#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub shape: Shape,
    pub course: Course,
    /// Traces in a window, on average over a day.
    pub rate: f64,
}

/// One operation each, by name.
pub const CASES: [(&str, Shape, Course); 9] = [
    ("log-normal, mild drift over a day", Shape::Lognormal(0.5), Course::Day(0.3)),
    ("narrow, mild drift over a day", Shape::Lognormal(0.2), Course::Day(0.3)),
    ("Pareto, 0.5 % slower each window", Shape::Pareto(1.5), Course::Drift(0.005)),
    ("bimodal, mild drift over a day", Shape::Bimodal, Course::Day(0.3)),
    ("0.04 % time out, mild drift over a day", Shape::Timeouts(0.0004), Course::Day(0.3)),
    ("0.4 % time out, mild drift over a day", Shape::Timeouts(0.004), Course::Day(0.3)),
    ("a deploy, 1.5 x slower, and back", Shape::Lognormal(0.5), Course::Deploy { by: 1.5, from: 10.4, until: 30.3 }),
    ("a deploy, 3 x slower, and back", Shape::Lognormal(0.5), Course::Deploy { by: 3.0, from: 10.4, until: 30.3 }),
    ("six minutes a day 4 x slower", Shape::Lognormal(0.5), Course::Incidents { by: 4.0, of: 0.1 }),
];

/// So many operations, the n-th of them with an n-th of the traces of the first, and with durations of all kinds.
pub fn zipf(count: usize, first: f64) -> Vec<Operation> {
    let operation = |number: usize| {
        let (_, shape, course) = CASES[number % CASES.len()];
        Operation { shape, course, rate: first / (number + 1) as f64 }
    };
    (0..count).map(operation).collect()
}

/// All traces of some windows, in the order of time. Rates follow the day, by 30 % up and down.
pub fn traffic(operations: Vec<Operation>, windows: u64, seed: u64) -> impl Iterator<Item = Trace> {
    let mut rng = Rng::with_seed(seed);
    let mut sums: Vec<f64> = Vec::new();
    for operation in &operations {
        sums.push(sums.last().unwrap_or(&0.0) + operation.rate);
    }
    let total = *sums.last().expect("an operation");
    let mut now = 0.0;
    std::iter::from_fn(move || {
        now += -unit(&mut rng).ln() / (total * (1.0 + 0.3 * day(now).cos()));
        let drawn = unit(&mut rng) * total;
        let operation = sums.partition_point(|&sum| sum < drawn).min(operations.len() - 1);
        let Operation { shape, course, .. } = operations[operation];
        let value = shape.draw(course.factor(now), &mut rng);
        let at = RecordTime((now * WINDOW as f64) as i64);
        (now < windows as f64).then_some(Trace { at, operation: operation as u16, value })
    })
}

fn day(windows: f64) -> f64 {
    std::f64::consts::TAU * windows / 144.0
}

/// Above 0 and below 1.
fn unit(rng: &mut Rng) -> f64 {
    (rng.u64(..1 << 53) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Source: Box, Muller, 1958.
fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * unit(rng).ln()).sqrt() * (std::f64::consts::TAU * unit(rng)).cos()
}

// === impl Shape ===

impl Shape {
    fn draw(self, factor: f64, rng: &mut Rng) -> f64 {
        match self {
            Self::Lognormal(sigma) => factor * 50e6 * (sigma * normal(rng)).exp(),
            Self::Pareto(alpha) => factor * 20e6 * unit(rng).powf(-1.0 / alpha),
            Self::Bimodal if unit(rng) < 0.3 => factor * 5e6 * (0.4 * normal(rng)).exp(),
            Self::Bimodal => factor * 50e6 * (0.4 * normal(rng)).exp(),
            Self::Timeouts(share) if unit(rng) < share => 30e9,
            Self::Timeouts(_) => (factor * 50e6 * (0.6 * normal(rng)).exp()).min(30e9),
        }
    }
}

// === impl Course ===

impl Course {
    fn factor(self, now: f64) -> f64 {
        match self {
            Self::Day(by) => 1.0 + by * day(now).sin(),
            Self::Drift(by) => (1.0 + by).powf(now),
            Self::Deploy { by, from, until } => {
                if (from..until).contains(&now) {
                    by
                } else {
                    1.0
                }
            }
            Self::Incidents { by, of } => {
                if (now + 12.3).rem_euclid(24.0) < of {
                    by
                } else {
                    1.0
                }
            }
        }
    }
}
