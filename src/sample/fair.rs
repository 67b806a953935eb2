//! Max–min fair shares of a capacity.
//!
//! Source: Bertsekas and Gallager, "Data Networks", 2nd edition, §6.5.2 (max–min flow control), with weights. Nobody gets more
//! than they ask for; what they leave goes to the others; who gets less than they ask for gets, by weight, as much as anyone.

/// Somebody who asks for a part of the capacity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    pub demand: f64,
    /// Above 0. One claim may stand for many that are alike: it has the sum of their demands and of their weights.
    pub weight: f64,
}

/// The water level L: shares are min(demand, L · weight), and they come to the capacity, or L is infinite and all demands are
/// met. Reorders the claims. O(n): each step halves them.
pub fn level(claims: &mut [Claim], capacity: f64) -> f64 {
    // Of the claims settled so far: the demands that are met, and the weights of those that are not.
    let (mut met, mut open, mut rest) = (0.0, 0.0, claims);
    while !rest.is_empty() {
        let middle = rest.len() / 2;
        let (below, pivot, above) = rest.select_nth_unstable_by(middle, |a, b| a.depth().total_cmp(&b.depth()));
        let demand = below.iter().map(|claim| claim.demand).sum::<f64>() + pivot.demand;
        let weight = above.iter().map(|claim| claim.weight).sum::<f64>();
        if met + demand + pivot.depth() * (open + weight) <= capacity {
            met += demand;
            rest = above;
        } else {
            open += weight + pivot.weight;
            rest = below;
        }
    }
    if open == 0.0 { f64::INFINITY } else { ((capacity - met) / open).max(0.0) }
}

// === impl Claim ===

impl Claim {
    pub fn share(self, level: f64) -> f64 {
        self.demand.min(level * self.weight)
    }

    /// The level at which the demand is met.
    fn depth(self) -> f64 {
        self.demand / self.weight
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn claims(demands: &[f64]) -> Vec<Claim> {
        demands.iter().map(|&demand| Claim { demand, weight: 1.0 }).collect()
    }

    #[test]
    fn what_one_leaves_goes_to_the_others() {
        assert_eq!(level(&mut claims(&[2.0, 8.0, 10.0]), 12.0), 5.0);
        assert_eq!(level(&mut claims(&[2.0, 4.0, 10.0]), 15.0), 9.0);
        assert_eq!(level(&mut claims(&[1.0, 1.0]), 2.0), f64::INFINITY);
        assert_eq!(level(&mut claims(&[1.0, 1.0]), 0.0), 0.0);
        assert_eq!(level(&mut [], 7.0), f64::INFINITY);
        let mut weighted = [Claim { demand: 9.0, weight: 1.0 }, Claim { demand: 9.0, weight: 3.0 }];
        assert_eq!(level(&mut weighted, 8.0), 2.0);
    }

    #[test]
    fn the_capacity_holds_under_any_number_of_keys() {
        for keys in [1, 10, 500, 20_000, 200_000] {
            let mut zipf: Vec<f64> = (1..=keys).map(|rank| 10_000.0 / f64::from(rank)).collect();
            let mut claims = claims(&zipf);
            let level = level(&mut claims, 2_000.0);
            zipf.iter_mut().for_each(|demand| *demand = demand.min(level));
            assert!((zipf.iter().sum::<f64>() - 2_000.0).abs() < 1e-6, "{keys} keys");
        }
    }

    proptest! {
        #[test]
        fn is_max_min(all in vec((0.0..100.0_f64, 0.1..10.0_f64), 0..40), capacity in 0.0..2000.0_f64) {
            let all: Vec<Claim> = all.into_iter().map(|(demand, weight)| Claim { demand, weight }).collect();
            let level = level(&mut all.clone(), capacity);
            let given: f64 = all.iter().map(|claim| claim.share(level)).sum();
            let asked: f64 = all.iter().map(|claim| claim.demand).sum();
            prop_assert!((given - asked.min(capacity)).abs() < 1e-6, "{given} of {capacity}, {asked} asked for");
            // Nobody could be given more without taking from somebody who has, by weight, no more.
            prop_assert!(level.is_finite() || given == asked);
        }
    }
}
