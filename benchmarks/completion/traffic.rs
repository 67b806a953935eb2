//! Traces as completion sees them: when each span comes, and what the trace looks like then.

use std::iter;

use fastrand::Rng;
use tailwater::{
    model::RecordTime,
    sample::trail::{Form, Forms, Link},
};

/// Of one operation, in the order its spans come.
#[derive(Clone, Debug)]
pub struct Trace {
    pub operation: u16,
    /// Of those that are in different partitions it is different.
    pub place: u32,
    pub arrivals: Vec<Arrival>,
}

#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub at: RecordTime,
    /// From then on.
    pub form: Form,
}

#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Traces a second.
    pub rate: f64,
    /// Half of the traces have fewer.
    pub spans: usize,
    /// The median time between two spans in milliseconds, and σ.
    pub gap: (f64, f64),
    /// The share of traces of which something comes much later: what they sent to a queue was worked on.
    pub tails: f64,
}

/// The share of traces that lose a parent.
const LOST: f64 = 0.005;

/// How long a tail keeps waiting, in milliseconds, evenly.
const TAIL: (f64, f64) = (5_000.0, 60_000.0);

/// So many operations, the n-th of them with an n-th of the traces of the first. Four have tails, in one of a hundred traces of all.
pub fn operations(count: usize, rate: f64) -> Vec<Operation> {
    let all = |of: &dyn Fn(usize) -> bool| (1..=count).filter(|&n| of(n)).map(|n| 1.0 / n as f64).sum::<f64>();
    let has_tails = |n: usize| [5, 10, 20, 100].contains(&n);
    let (sum, with_tails) = (all(&|_| true), all(&has_tails));
    let operation = |n: usize| Operation {
        rate: rate / n as f64 / sum,
        spans: 5 + 7 * n % 20,
        gap: ([20.0, 60.0, 150.0, 40.0, 300.0, 80.0, 10.0][n % 7], [1.0, 0.7, 1.3][n % 3]),
        tails: if has_tails(n) { 0.01 * sum / with_tails } else { 0.0 },
    };
    (1..=count).map(operation).collect()
}

/// All traces of so many seconds, in the order of their first spans. At each second gaps are longer by a factor.
pub fn traffic(
    operations: Vec<Operation>,
    seconds: u64,
    seed: u64,
    factor: impl Fn(f64) -> f64,
) -> impl Iterator<Item = Trace> {
    let mut rng = Rng::with_seed(seed);
    let mut forms = Forms::default();
    let mut sums: Vec<f64> = Vec::new();
    for operation in &operations {
        sums.push(sums.last().unwrap_or(&0.0) + operation.rate);
    }
    let total = *sums.last().expect("an operation");
    let mut now = 0.0;
    iter::from_fn(move || {
        now += -unit(&mut rng).ln() / total * 1000.0;
        let drawn = unit(&mut rng) * total;
        let operation = sums.partition_point(|&sum| sum < drawn).min(operations.len() - 1);
        let slower = operations[operation].slower(factor(now / 1000.0));
        (now < seconds as f64 * 1000.0).then(|| Trace {
            operation: operation as u16,
            place: rng.u32(..),
            arrivals: slower.trace(now, &mut rng, &mut forms),
        })
    })
}

/// Above 0 and below 1.
fn unit(rng: &mut Rng) -> f64 {
    (rng.u64(..1 << 53) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Source: Box, Muller, 1958.
fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * unit(rng).ln()).sqrt() * (std::f64::consts::TAU * unit(rng)).cos()
}

// === impl Operation ===

impl Operation {
    fn slower(self, factor: f64) -> Self {
        Self { gap: (self.gap.0 * factor, self.gap.1), ..self }
    }

    fn trace(&self, start: f64, rng: &mut Rng, forms: &mut Forms) -> Vec<Arrival> {
        let count = ((self.spans as f64 * (0.4 * normal(rng)).exp()) as usize).clamp(2, 200);
        // Children end before their parents, mostly, and are sent by others.
        let mut drawn: Vec<(f64, Link)> = Vec::new();
        for span in 1..=count as u64 {
            let parent = if span == 1 { 0 } else { rng.u64(1..span) };
            drawn.push((2.0 * normal(rng) - span as f64, Link { span, parent, ends: span == 1 }));
        }
        drawn.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut links: Vec<Link> = drawn.into_iter().map(|(_, link)| link).collect();
        let mut times = vec![start];
        while times.len() < count {
            times.push(times[times.len() - 1] + self.gap(rng));
        }
        if unit(rng) < self.tails {
            let mut at = times[count - 1] + TAIL.0 + unit(rng) * (TAIL.1 - TAIL.0);
            let parent = links[rng.usize(..count)].span;
            for more in 1..=rng.u64(1..=4) {
                links.push(Link { span: count as u64 + more, parent, ends: false });
                times.push(at);
                at += self.gap(rng);
            }
        }
        if unit(rng) < LOST {
            let is_parent = |at: &usize| links.iter().any(|link| link.parent == links[*at].span);
            let parents: Vec<usize> = (0..links.len()).filter(is_parent).collect();
            let lost = parents[rng.usize(..parents.len())];
            links.remove(lost);
            times.remove(lost);
        }
        let arrivals = times.iter().zip(forms.of(&links));
        arrivals.map(|(at, form)| Arrival { at: RecordTime(*at as i64), form }).collect()
    }

    fn gap(&self, rng: &mut Rng) -> f64 {
        let (median, sigma) = self.gap;
        median * (sigma * normal(rng)).exp()
    }
}
