//! A policy that decides nothing, for another decides it all.

use super::{Policy, places};
use crate::{
    decide::{Action, List, Match, condition::proof::Proof},
    diagnostic::Diagnostics,
    model::Threshold,
};

pub fn find(list: &List, all: &[Policy<'_>], proof: &mut Proof, found: &mut Diagnostics) {
    let places = places(list, all);
    for (number, place) in places.iter().enumerate() {
        if proof.is_exhausted() {
            return;
        }
        let policy = &all[*place];
        if let Action::Group(inner) = &policy.read.action {
            find(inner, all, proof, found);
        }
        // What is in the shadow is only counted, and what never matches is told as that.
        if policy.read.shadow || proof.never(&policy.whole) {
            continue;
        }
        let shadow = (0..).zip(&places).filter(|(other, _)| *other != number).find_map(|(other, place)| {
            let earlier = other < number;
            let other = &all[*place];
            let why = match list.matching {
                Match::First if earlier && is_end(other) => "is never asked: all that it matches is decided before, by",
                Match::First => return None,
                Match::Any => takes_all(other, policy, earlier)?,
            };
            (other.outlasts(policy) && proof.implies(&policy.whole, &other.read.when)).then_some((other, why))
        });
        if let Some((other, why)) = shadow {
            let hint = match list.matching {
                Match::First => "move it up, or remove it",
                Match::Any => "remove it, or narrow the other",
            };
            found
                .warn(&policy.read.at, format!("`{}` {why} `{}`", policy.name(), other.name()))
                .also(&other.read.at, "this one")
                .hint(hint);
        }
    }
}

/// Whether of the traces it matches none goes on to the next policy.
fn is_end(policy: &Policy<'_>) -> bool {
    match &policy.read.action {
        Action::Keep { ends, .. } | Action::Drop { ends, .. } => *ends,
        Action::Group(inner) => inner.otherwise.is_some(),
    }
}

/// How a policy that holds of all that another holds of leaves that one nothing to decide.
fn takes_all(other: &Policy<'_>, policy: &Policy<'_>, earlier: bool) -> Option<&'static str> {
    match (&other.read.action, &policy.read.action) {
        (
            Action::Keep { threshold: keeps, samplers, protect, .. },
            Action::Keep { threshold, protect: protects, .. },
        ) if samplers.is_empty()
            && (*protect || !protects)
            && (keeps.0 < threshold.0 || keeps == threshold && earlier) =>
        {
            Some("changes nothing: all that it keeps is kept by")
        }
        (Action::Drop { threshold: drops, .. }, Action::Keep { protect: false, .. }) if *drops == Threshold::NEVER => {
            Some("keeps nothing: all that it matches is dropped by")
        }
        (Action::Drop { threshold: drops, .. }, Action::Drop { threshold, .. })
            if drops.0 > threshold.0 || drops == threshold && earlier =>
        {
            Some("changes nothing: all that it drops is dropped by")
        }
        _ => None,
    }
}
