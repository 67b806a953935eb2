//! Truth of many things from the truth of each.

use super::Deny;

/// A boolean function over leaves. `All([])` is true and `Any([])` is false.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Formula<L> {
    Leaf(L),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
}

// === impl Formula ===

impl<L> Formula<L> {
    pub const fn constant(value: bool) -> Self {
        if value { Formula::All(Vec::new()) } else { Formula::Any(Vec::new()) }
    }

    pub fn negated(self) -> Self {
        match self {
            Formula::Not(inner) => *inner,
            other => Formula::Not(Box::new(other)),
        }
    }

    /// What holds where this can be computed and does not hold.
    pub fn denied(self) -> Self
    where
        L: Deny,
    {
        let each = |parts: Vec<Self>| parts.into_iter().map(Self::denied).collect();
        match self {
            Formula::Leaf(l) => l.denied(),
            Formula::Not(inner) => *inner,
            Formula::All(parts) => Formula::Any(each(parts)),
            Formula::Any(parts) => Formula::All(each(parts)),
        }
    }

    #[inline]
    pub fn holds(&self, leaf: &impl Fn(&L) -> bool) -> bool {
        match self {
            Formula::Leaf(l) => leaf(l),
            Formula::Not(inner) => !inner.holds(leaf),
            Formula::All(parts) => parts.iter().all(|part| part.holds(leaf)),
            Formula::Any(parts) => parts.iter().any(|part| part.holds(leaf)),
        }
    }

    pub fn leaves<'f>(&'f self, visit: &mut dyn FnMut(&'f L)) {
        match self {
            Formula::Leaf(l) => visit(l),
            Formula::Not(inner) => inner.leaves(visit),
            Formula::All(parts) | Formula::Any(parts) => parts.iter().for_each(|part| part.leaves(visit)),
        }
    }

    /// The same function over other leaves.
    pub fn try_map<M, E>(&self, leaf: &mut impl FnMut(&L) -> Result<M, E>) -> Result<Formula<M>, E> {
        Ok(match self {
            Formula::All(parts) => Formula::All(parts.iter().map(|part| part.try_map(leaf)).collect::<Result<_, E>>()?),
            Formula::Any(parts) => Formula::Any(parts.iter().map(|part| part.try_map(leaf)).collect::<Result<_, E>>()?),
            Formula::Not(inner) => Formula::Not(Box::new(inner.try_map(leaf)?)),
            Formula::Leaf(l) => Formula::Leaf(leaf(l)?),
        })
    }

    /// Whether the formula holds, and appends to `out` leaves that suffice as the reason: while none of them changes, it
    /// keeps its value. Of several reasons it takes the cheapest. `leaf` tells whether a leaf holds and what it costs to
    /// rely on it; a leaf that costs nothing never changes and is not appended.
    pub fn reason(&self, leaf: &impl Fn(&L) -> (bool, u32), out: &mut Vec<L>) -> (bool, u32)
    where
        L: Copy,
    {
        match self {
            Formula::Leaf(l) => {
                let (holds, cost) = leaf(l);
                if cost > 0 {
                    out.push(*l);
                }
                (holds, cost)
            }
            Formula::Not(inner) => {
                let (holds, cost) = inner.reason(leaf, out);
                (!holds, cost)
            }
            Formula::All(parts) => Self::reason_of(parts, false, leaf, out),
            Formula::Any(parts) => Self::reason_of(parts, true, leaf, out),
        }
    }

    /// One part with the `decisive` value is reason enough; without one, all parts together are.
    fn reason_of(parts: &[Self], decisive: bool, leaf: &impl Fn(&L) -> (bool, u32), out: &mut Vec<L>) -> (bool, u32)
    where
        L: Copy,
    {
        let base = out.len();
        let mut sum: u32 = 0;
        let mut cheapest: Option<u32> = None;
        for part in parts {
            let start = out.len();
            let (holds, cost) = part.reason(leaf, out);
            if holds == decisive && cheapest.is_none_or(|best| cost < best) {
                out.drain(base..start);
                cheapest = Some(cost);
            } else if cheapest.is_some() {
                out.truncate(start);
            } else {
                sum = sum.saturating_add(cost);
            }
        }
        cheapest.map_or((!decisive, sum), |cost| (decisive, cost))
    }
}
