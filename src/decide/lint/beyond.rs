//! Rates that come to more than the budget they are under.

use super::Policy;
use crate::{
    decide::{
        budget::{Budget, OUTSIDE, Unit},
        condition::{Aspect, Number},
        read::Learning,
    },
    diagnostic::Diagnostics,
    sample::Rule,
};

pub fn find(budgets: &[Budget], learning: &[Learning<'_>], all: &[Policy<'_>], found: &mut Diagnostics) {
    for budget in budgets {
        let under = learning.iter().filter(|of| {
            let policy = usize::from(of.policy);
            budget.classes[policy] != OUTSIDE && !all[policy].shadow && unit(&of.sampler.of) == budget.unit
        });
        let rates = under.filter_map(|of| match &of.sampler.rule {
            Rule::Rate(rate) => Some((of.policy, rate.per_second)),
            _ => None,
        });
        let rates: Vec<_> = rates.collect();
        let sum: f64 = rates.iter().map(|(_, rate)| rate).sum();
        let ceiling = budget.ceiling.per_second;
        if let Some((policy, _)) = rates.last()
            && sum > ceiling
        {
            let unit = budget.unit.name().trim_end_matches("_per_second");
            let message = format!("the rates under a budget of {ceiling} {unit} a second come to {sum}");
            found
                .warn(&all[usize::from(*policy)].read.at, message)
                .hint("the budget cuts what is above it, whatever the rates say: raise it, or lower them");
        }
    }
}

/// What a rate counts.
fn unit(of: &Option<Aspect>) -> Unit {
    match of {
        Some(Aspect::Trace(Number::Spans)) => Unit::Spans,
        Some(_) => Unit::Bytes,
        None => Unit::Traces,
    }
}
