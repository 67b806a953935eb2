//! The verdict on a trace.

use super::{
    Action, Match, Policy, PolicySet, Tree,
    program::{Fact, bit},
};
use crate::model::{Randomness, Threshold};

/// What is known of a trace when it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// As `PolicySet::observe` left them; they began as `PolicySet::blank`.
    pub bits: &'a [u64],
    pub counts: &'a [u32],
    /// Last end minus first start, in nanoseconds.
    pub duration_ns: u64,
    pub span_count: u32,
    pub randomness: Randomness,
    /// Its root has ended and every parent is there.
    pub complete: bool,
    /// Grown only if `PolicySet::asks_tree`.
    pub tree: &'a Tree,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub keep: bool,
    /// In `PolicySet::policies`; None: `otherwise`.
    pub policy: Option<u16>,
    /// Of all traces with these facts, those are kept whose randomness reaches it; so it does not depend on the trace's
    /// own. `NEVER` of what a policy drops.
    pub threshold: Threshold,
}

// === impl PolicySet ===

impl PolicySet {
    pub fn decide(&self, facts: Facts<'_>) -> Verdict {
        match self.matching {
            Match::Any => self.decide_any(facts),
            Match::First => self.decide_first(facts),
        }
    }

    fn decide_any(&self, facts: Facts<'_>) -> Verdict {
        let policies = || (0_u16..).zip(&self.policies);
        let veto = policies().find(|(_, policy)| policy.action == Action::Drop && self.matches(policy, facts));
        if let Some((policy, _)) = veto {
            return Verdict { keep: false, policy: Some(policy), threshold: Threshold::NEVER };
        }
        // All use the same randomness: what the lowest threshold lets pass is the union of what they all do.
        let mut lowest: Option<(Threshold, u16)> = None;
        for (number, policy) in policies() {
            if let Action::Keep(threshold) = policy.action
                && lowest.is_none_or(|(lowest, _)| threshold < lowest)
                && self.matches(policy, facts)
            {
                lowest = Some((threshold, number));
                if threshold == Threshold::ALWAYS {
                    break;
                }
            }
        }
        let (by_policy, policy) =
            lowest.map_or((Threshold::NEVER, None), |(threshold, policy)| (threshold, Some(policy)));
        // What no policy keeps, `otherwise` may: it belongs to the union.
        let threshold = by_policy.min(self.otherwise);
        let named = if facts.randomness.0 >= by_policy.0 { policy } else { None };
        Verdict { keep: facts.randomness.0 >= threshold.0, policy: named, threshold }
    }

    fn decide_first(&self, facts: Facts<'_>) -> Verdict {
        let first = (0..).zip(&self.policies).find(|(_, policy)| self.matches(policy, facts));
        let (policy, threshold) = match first {
            Some((number, Policy { action: Action::Keep(threshold), .. })) => (Some(number), *threshold),
            Some((number, Policy { action: Action::Drop, .. })) => (Some(number), Threshold::NEVER),
            None => (None, self.otherwise),
        };
        Verdict { keep: facts.randomness.0 >= threshold.0, policy, threshold }
    }

    pub(super) fn matches(&self, policy: &Policy, facts: Facts<'_>) -> bool {
        let of_root = self.program.seen_words();
        policy.when.holds(&|fact| match *fact {
            Fact::Seen(predicate) => bit(facts.bits, predicate),
            Fact::Root(atom) => bit(&facts.bits[of_root..], atom),
            Fact::Count(counter, op, value) => {
                op.holds(Some(i64::from(facts.counts[usize::from(counter)]).cmp(&value)))
            }
            Fact::Duration(op, value) => {
                op.holds(Some(i64::try_from(facts.duration_ns).unwrap_or(i64::MAX).cmp(&value)))
            }
            Fact::Spans(op, value) => op.holds(Some(i64::from(facts.span_count).cmp(&value))),
            Fact::Under { below, above, direct } => facts.tree.has_under(below, above, direct),
            Fact::Complete => facts.complete,
            Fact::Services(op, value) => op.holds(Some(i64::from(facts.tree.services()).cmp(&value))),
            Fact::Depth(op, value) => op.holds(Some(i64::from(facts.tree.depth()).cmp(&value))),
            Fact::Siblings(mark, op, value) => op.holds(Some(i64::from(facts.tree.siblings(mark)).cmp(&value))),
            Fact::Shape(op, value) => op.holds(Some(facts.tree.shape().cast_signed().cmp(&value))),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::tests::policy_set;

    const ALWAYS: &str = "keep: always";
    const DROP: &str = "drop: always";
    const HALF: &str = "keep: { probability: 50% }";
    const TENTH: &str = "keep: { probability: 10% }";

    const T_HALF: Threshold = Threshold(1 << 55);

    /// The verdict on a trace with two spans; a policy with `!` before its action does not match.
    fn judge(matching: &str, otherwise: &str, actions: &[&str], randomness: u64) -> (bool, Option<u16>, Threshold) {
        let mut text = format!("match: {matching}\notherwise: {otherwise}\n");
        text += if actions.is_empty() { "" } else { "policies:\n" };
        for (i, action) in actions.iter().enumerate() {
            let when = if action.starts_with('!') { "trace.span_count == 3" } else { "trace.span_count == 2" };
            text += &format!("- {{ name: p{i}, when: {when}, {} }}\n", action.trim_start_matches('!'));
        }
        let set = policy_set(&text);
        let randomness = Randomness(randomness);
        let tree = Tree::default();
        let facts = Facts {
            bits: set.blank(),
            counts: &[],
            duration_ns: 0,
            span_count: 2,
            randomness,
            complete: false,
            tree: &tree,
        };
        let Verdict { keep, policy, threshold } = set.decide(facts);
        (keep, policy, threshold)
    }

    /// {any, first} × {keep, drop, a sampler says no, nothing matches} × otherwise.
    #[test]
    fn follows_the_table() {
        let (always, never) = (Threshold::ALWAYS, Threshold::NEVER);
        let low = 0; // every sampler says no
        let high = (1 << 56) - 1; // every sampler says yes
        let tenth = super::super::threshold(0.1);
        let middle = 3 << 54; // 50 % says yes, 10 % says no
        type Row = (&'static str, &'static str, &'static [&'static str], u64, (bool, Option<u16>, Threshold));
        let table: &[Row] = &[
            // Kept by the first that keeps.
            ("any", "drop", &["!drop: always", ALWAYS, ALWAYS], low, (true, Some(1), always)),
            ("first", "drop", &["!drop: always", ALWAYS, ALWAYS], low, (true, Some(1), always)),
            // A veto stands anywhere, and the first of them is named; in `first` only what comes first counts.
            ("any", "keep", &[ALWAYS, DROP, DROP], high, (false, Some(1), never)),
            ("first", "keep", &[ALWAYS, DROP], high, (true, Some(0), always)),
            ("first", "keep", &[DROP, ALWAYS], high, (false, Some(0), never)),
            ("any", "keep", &["!drop: always", ALWAYS], low, (true, Some(1), always)),
            // A sampler says no.
            ("any", "drop", &[HALF], low, (false, None, T_HALF)),
            ("any", "keep", &[HALF], low, (true, None, always)),
            ("any", "drop", &[HALF, ALWAYS], low, (true, Some(1), always)),
            ("first", "keep", &[HALF, ALWAYS], low, (false, Some(0), T_HALF)),
            // It says yes.
            ("any", "drop", &[HALF], high, (true, Some(0), T_HALF)),
            ("first", "drop", &[HALF], high, (true, Some(0), T_HALF)),
            // A union has the lowest threshold, whoever let the trace pass.
            ("any", "drop", &[TENTH, HALF], middle, (true, Some(1), T_HALF)),
            ("any", "drop", &[TENTH, HALF], high, (true, Some(1), T_HALF)),
            ("any", "drop", &[HALF, HALF], high, (true, Some(0), T_HALF)),
            ("any", "{ probability: 50% }", &[TENTH], middle, (true, None, T_HALF)),
            ("any", "{ probability: 50% }", &[TENTH], high, (true, Some(0), T_HALF)),
            ("first", "{ probability: 50% }", &[TENTH], middle, (false, Some(0), tenth)),
            // Those of a list must agree.
            ("any", "drop", &["keep: [{ probability: 50% }, { probability: 10% }]"], middle, (false, None, tenth)),
            ("any", "drop", &["keep: [{ probability: 50% }, { probability: 10% }]"], high, (true, Some(0), tenth)),
            // Never by a probability of 0, always by one of 100 %.
            ("any", "drop", &["keep: { probability: 0 }"], high, (false, None, never)),
            ("first", "drop", &["keep: { probability: 100% }"], low, (true, Some(0), always)),
            // Nothing matches.
            ("any", "drop", &["!keep: always"], high, (false, None, never)),
            ("any", "keep", &["!drop: always"], low, (true, None, always)),
            ("first", "{ probability: 50% }", &["!keep: always"], low, (false, None, T_HALF)),
            ("first", "{ probability: 50% }", &["!keep: always"], high, (true, None, T_HALF)),
            ("any", "keep", &[], low, (true, None, always)),
        ];
        for (matching, otherwise, actions, randomness, expected) in table {
            let verdict = judge(matching, otherwise, actions, *randomness);
            assert_eq!(verdict, *expected, "{matching}, otherwise {otherwise}, {actions:?}, {randomness:x}");
        }
    }

    #[test]
    fn keeps_the_share_it_says() {
        let set = policy_set("policies: [{ name: some, keep: { probability: 1% } }]");
        let mut id = 0x9e37_79b9_7f4a_7c15_u64;
        let n = 1_000_000;
        let mut kept = 0;
        for _ in 0..n {
            // A splitmix sequence for ids.
            id = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (id ^ id >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            let randomness = Randomness((mixed ^ mixed >> 31) & (Threshold::NEVER.0 - 1));
            let facts = Facts {
                bits: set.blank(),
                counts: &[],
                duration_ns: 0,
                span_count: 1,
                randomness,
                complete: false,
                tree: &Tree::default(),
            };
            let verdict = set.decide(facts);
            assert_eq!(verdict.keep, randomness.0 >= verdict.threshold.0);
            kept += u32::from(verdict.keep);
        }
        // Five standard deviations of a binomial: sqrt(n · p · (1 − p)) is 99.5.
        assert!(kept.abs_diff(n / 100) < 500, "{kept} of {n}");
    }

    proptest! {
        /// A threshold keeps exactly the share it was made of, to one of 2^56.
        #[test]
        fn thresholds_are_shares(share in 0.0..=1.0_f64) {
            let threshold = super::super::threshold(share);
            let kept = (Threshold::NEVER.0 - threshold.0) as f64 / Threshold::NEVER.0 as f64;
            prop_assert!((kept - share).abs() <= 0.5 / Threshold::NEVER.0 as f64 || threshold.0 == Threshold::NEVER.0 - 1);
        }
    }
}
