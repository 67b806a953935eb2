//! Policies that meet, from what each says alone.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::decide::tests::{compiled, policy_set};

const ALWAYS: &str = "keep: always";
const DROP: &str = "drop: always";
const HALF: &str = "keep: { probability: 50% }";
const TENTH: &str = "keep: { probability: 10% }";
/// A tenth is left, of the highest randomness.
const THIN: &str = "drop: { probability: 90% }";

const T_HALF: Threshold = Threshold(1 << 55);

/// 2026-11-24.
const NOW: RecordTime = RecordTime(1_795_478_400_000);

/// Policies named by their places, groups and what is in them too. One with `!` before its action does not match.
fn set(matching: &str, otherwise: &str, policies: &[impl AsRef<str>]) -> PolicySet {
    policy_set(&file(matching, otherwise, policies))
}

fn file(matching: &str, otherwise: &str, policies: &[impl AsRef<str>]) -> String {
    let mut text = format!("match: {matching}\notherwise: {otherwise}\n");
    text += if policies.is_empty() { "" } else { "policies:\n" };
    let mut names = (0..).map(|number| format!("p{number}"));
    for policy in policies.iter().map(AsRef::as_ref) {
        let when = if policy.starts_with('!') { "trace.span_count == 3" } else { "trace.span_count == 2" };
        let name = names.next().unwrap_or_default();
        let mut policy = policy.trim_start_matches('!').to_owned();
        let inside = ["{ keep:", "{ drop:", "{ match:", "{ policies:"];
        while let Some(at) = inside.iter().filter_map(|begin| policy.find(begin)).min() {
            policy.insert_str(at + 1, &format!(" name: {},", names.next().unwrap_or_default()));
        }
        _ = writeln!(text, "- {{ name: {name}, when: {when}, {policy} }}");
    }
    text
}

/// A trace with two spans.
fn facts<'a>(set: &'a PolicySet, tree: &'a Tree, randomness: u64) -> Facts<'a> {
    let (bits, randomness, values) = (set.blank(), Randomness(randomness), &*Box::leak(Box::default()));
    Facts {
        bits,
        counts: &[],
        duration_ns: 0,
        span_count: 2,
        bytes: 200,
        randomness,
        time: NOW,
        complete: false,
        tree,
        values,
        links: &[],
        votes: &[],
        cuts: &[],
    }
}

fn judge(set: &PolicySet, randomness: u64) -> (bool, Option<u16>, Threshold) {
    let Verdict { keep, policy, threshold } = set.decide(facts(set, &Tree::default(), randomness));
    (keep, policy, threshold)
}

/// {any, first} × {keep, drop, a sampler says no, shadow, expired, protect, nothing matches} × otherwise.
#[test]
fn follows_the_table() {
    let (always, never) = (Threshold::ALWAYS, Threshold::NEVER);
    let low = 0; // every sampler says no
    let high = (1 << 56) - 1; // every sampler says yes
    let tenth = super::super::threshold(0.1);
    let thin = super::super::threshold(0.9).complement();
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
        ("first", "drop", &["keep: { probability: 50% }, on_reject: next", ALWAYS], low, (true, Some(1), always)),
        ("first", "drop", &["keep: { probability: 50% }, on_reject: next", ALWAYS], high, (true, Some(0), always)),
        ("first", "drop", &["keep: { probability: 50% }, on_reject: next", TENTH], low, (false, Some(1), T_HALF)),
        ("first", "drop", &["keep: { probability: 10% }, on_reject: next", HALF], middle, (true, Some(1), T_HALF)),
        ("first", "drop", &["keep: { probability: 50% }, on_reject: next", DROP], low, (false, Some(1), T_HALF)),
        ("first", "keep", &["keep: { probability: 50% }, on_reject: next"], low, (true, None, always)),
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
        // A share is dropped, of the lowest randomness.
        ("any", "drop", &[THIN, ALWAYS], low, (false, Some(0), thin)),
        ("any", "drop", &[ALWAYS, THIN], high, (true, Some(0), thin)),
        ("any", "keep", &[THIN], high, (true, None, thin)),
        ("any", "drop", &[THIN, DROP, ALWAYS], low, (false, Some(0), never)),
        ("any", "drop", &[THIN, DROP, ALWAYS], high, (false, Some(1), never)),
        (
            "any",
            "drop",
            &["drop: [{ probability: 90% }, { probability: 50% }]", ALWAYS],
            middle,
            (true, Some(1), T_HALF),
        ),
        ("any", "drop", &["drop: { probability: 0 }", ALWAYS], low, (true, Some(1), always)),
        ("any", "drop", &["drop: { probability: 100% }", ALWAYS], high, (false, Some(0), never)),
        ("first", "drop", &[THIN, DROP], low, (false, Some(0), thin)),
        ("first", "drop", &[THIN, DROP], high, (true, Some(0), thin)),
        ("first", "drop", &["drop: { probability: 90% }, on_reject: next", HALF], low, (false, Some(0), thin)),
        ("first", "drop", &["drop: { probability: 90% }, on_reject: next", HALF], high, (true, Some(1), thin)),
        ("first", "drop", &["drop: { probability: 50% }, on_reject: next", TENTH], middle, (false, Some(1), tenth)),
        // No veto reaches what is protected.
        ("any", "drop", &[DROP, "keep: always, protect: true"], low, (true, Some(1), always)),
        ("any", "drop", &[DROP, ALWAYS, "keep: { probability: 50% }, protect: true"], low, (false, Some(0), T_HALF)),
        ("any", "drop", &[DROP, ALWAYS, "keep: { probability: 50% }, protect: true"], high, (true, Some(2), T_HALF)),
        ("any", "drop", &[ALWAYS, "keep: always, protect: true"], low, (true, Some(1), always)),
        // As if they were absent.
        ("any", "drop", &["keep: always, shadow: true"], high, (false, None, never)),
        ("any", "drop", &["drop: always, shadow: true", ALWAYS], low, (true, Some(1), always)),
        ("first", "drop", &["drop: always, shadow: true", ALWAYS], low, (true, Some(1), always)),
        ("first", "drop", &["keep: { probability: 50% }, shadow: true", ALWAYS], low, (true, Some(1), always)),
        ("any", "drop", &["keep: always, until: 2026-11-23"], high, (false, None, never)),
        ("any", "drop", &["drop: always, until: 2026-11-23", ALWAYS], low, (true, Some(1), always)),
        ("first", "drop", &["drop: always, until: 2026-11-23", ALWAYS], low, (true, Some(1), always)),
        ("first", "drop", &["keep: { probability: 50% }, until: 2026-11-23", ALWAYS], low, (true, Some(1), always)),
        // To the end of the day, and of the millisecond.
        ("any", "drop", &["keep: always, until: 2026-11-24"], low, (true, Some(0), always)),
        ("any", "drop", &["keep: always, until: 2026-11-24T00:00:00Z"], low, (true, Some(0), always)),
        ("any", "drop", &["keep: always, until: 2026-11-23T23:59:59.999Z"], low, (false, None, never)),
        // A group answers by its policies, and by itself where its `otherwise` does.
        ("any", "drop", &["policies: [{ keep: always }]"], low, (true, Some(1), always)),
        ("any", "drop", &["policies: [{ keep: always }, { drop: always }]", ALWAYS], low, (false, Some(2), never)),
        ("any", "drop", &["!policies: [{ drop: always }]", ALWAYS], low, (true, Some(2), always)),
        ("any", "drop", &["policies: [{ keep: { probability: 10% } }], otherwise: keep"], low, (true, Some(0), always)),
        ("any", "keep", &["policies: [{ keep: { probability: 10% } }], otherwise: drop"], low, (true, None, always)),
        (
            "first",
            "keep",
            &["policies: [{ keep: { probability: 10% } }], otherwise: drop"],
            low,
            (false, Some(0), tenth),
        ),
        ("first", "keep", &["policies: [{ keep: { probability: 10% } }]"], low, (true, None, always)),
        ("first", "keep", &["match: first, policies: [{ keep: { probability: 10% } }]"], low, (false, Some(1), tenth)),
        ("any", "keep", &["match: first, policies: [{ keep: { probability: 10% } }]"], low, (true, None, always)),
        // Protection reaches through lists of `any`, and not out of one of `first`.
        (
            "any",
            "drop",
            &["policies: [{ policies: [{ keep: always, protect: true }] }]", DROP],
            low,
            (true, Some(2), always),
        ),
        (
            "any",
            "drop",
            &["match: first, policies: [{ policies: [{ drop: always }, { keep: always, protect: true }] }]"],
            low,
            (true, Some(3), always),
        ),
        (
            "any",
            "drop",
            &["match: first, policies: [{ policies: [{ keep: always, protect: true }] }]", DROP],
            low,
            (false, Some(3), never),
        ),
        // Nothing matches.
        ("any", "drop", &["!keep: always"], high, (false, None, never)),
        ("any", "keep", &["!drop: always"], low, (true, None, always)),
        ("first", "{ probability: 50% }", &["!keep: always"], low, (false, None, T_HALF)),
        ("first", "{ probability: 50% }", &["!keep: always"], high, (true, None, T_HALF)),
        ("any", "keep", &[], low, (true, None, always)),
    ];
    for (matching, otherwise, policies, randomness, expected) in table {
        let verdict = judge(&set(matching, otherwise, policies), *randomness);
        assert_eq!(verdict, *expected, "{matching}, otherwise {otherwise}, {policies:?}, {randomness:x}");
    }
}

/// The tables of the reference say what share is kept.
#[test]
fn follows_the_tables_of_the_reference() {
    let reference = include_str!("../../../docs/policies.md");
    let mut rows = 0;
    for row in reference.lines().filter(|row| row.starts_with("| `any` |") || row.starts_with("| `first` |")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, matching, policies, share, ..] = cells[..] else { panic!("{row}") };
        let (mut otherwise, mut of) = ("drop", Vec::new());
        for policy in policies.split('`').skip(1).step_by(2) {
            match policy.strip_prefix("otherwise: ") {
                Some(rest) => otherwise = rest,
                None => of.push(policy),
            }
        }
        rows += 1;
        let set = compiled(&file(matching.trim_matches('`'), otherwise, &of));
        if share == "refused" {
            assert!(set.is_err(), "{row}");
            continue;
        }
        let threshold = set
            .unwrap_or_else(|diagnostics| panic!("{row}\n{diagnostics}"))
            .decide(facts(&policy_set(""), &Tree::default(), 0))
            .threshold;
        let percent = (threshold.complement().0 as f64 / Threshold::NEVER.0 as f64 * 1e6).round() / 1e4;
        assert_eq!(format!("{percent} %"), share, "{row}");
    }
    assert!(rows >= 40, "{rows} rows");
}

#[test]
fn counts_what_is_said_in_the_shadow() {
    let policies = [
        "keep: always, shadow: true",
        "keep: { probability: 50% }, shadow: true",
        "drop: always, shadow: true",
        "!keep: always, shadow: true",
        "keep: always, shadow: true, until: 2026-11-23",
        "shadow: true, policies: [{ keep: { probability: 50% } }, { keep: always, shadow: true }], otherwise: drop",
        "!policies: [{ keep: always, shadow: true }]",
        "policies: [{ drop: always, shadow: true }]",
    ];
    let told = |matching: &str, randomness| {
        let set = set(matching, "drop", &policies);
        let mut told = Vec::new();
        set.shadows(facts(&set, &Tree::default(), randomness), |policy, keep| {
            told.push((set.policies()[usize::from(policy)].name.clone(), keep))
        });
        told.into_iter().map(|(name, keep)| format!("{name} {keep}")).collect::<Vec<_>>()
    };
    assert_eq!(told("any", 0), ["p0 true", "p2 false", "p5 false", "p7 true", "p11 false"]);
    assert_eq!(told("any", 1 << 55), ["p0 true", "p1 true", "p2 false", "p5 true", "p7 true", "p11 false"]);
    assert_eq!(told("first", 0), ["p0 true", "p1 false", "p2 false", "p5 false", "p7 true", "p11 false"]);
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
        let randomness = (mixed ^ mixed >> 31) & (Threshold::NEVER.0 - 1);
        let verdict = set.decide(facts(&set, &Tree::default(), randomness));
        assert_eq!(verdict.keep, randomness >= verdict.threshold.0);
        kept += u32::from(verdict.keep);
    }
    // Five standard deviations of a binomial: sqrt(n · p · (1 − p)) is 99.5.
    assert!(kept.abs_diff(n / 100) < 500, "{kept} of {n}");
}

/// A policy or a group as a person writes it.
#[derive(Clone, Debug)]
struct Written {
    matches: bool,
    shadow: bool,
    expired: bool,
    action: Does,
}

#[derive(Clone, Debug)]
enum Does {
    Keep { percent: u8, protect: bool, next: bool },
    Drop { percent: u8, next: bool },
    Group { first: bool, otherwise: Option<u8>, policies: Vec<Written> },
}

/// The randomness of traces, in bands within which no sampler below changes its mind: each begins at so many per cent.
const BANDS: [u8; 8] = [0, 1, 10, 25, 50, 75, 90, 99];
const PERCENT: [u8; 9] = [0, 1, 10, 25, 50, 75, 90, 99, 100];

impl Written {
    fn yaml(&self, first: bool, names: &mut impl Iterator<Item = u32>) -> String {
        let mut text = format!("{{ name: p{}", names.next().unwrap_or_default());
        text += if self.matches { "" } else { ", when: trace.span_count == 3" };
        text += if self.shadow { ", shadow: true" } else { "" };
        text += if self.expired { ", until: 2026-11-23" } else { ", until: 2026-11-24" };
        match &self.action {
            Does::Keep { percent, protect, next } => {
                _ = write!(text, ", keep: {{ probability: {percent}% }}");
                text += if *protect && !first { ", protect: true" } else { "" };
                text += if *next && first { ", on_reject: next" } else { "" };
            }
            Does::Drop { percent, next } => {
                _ = write!(text, ", drop: {{ probability: {percent}% }}");
                text += if *next && first { ", on_reject: next" } else { "" };
            }
            Does::Group { first, otherwise, policies } => {
                let inside: Vec<_> = policies.iter().map(|of| of.yaml(*first, names)).collect();
                _ = write!(
                    text,
                    ", match: {}, policies: [{}]",
                    if *first { "first" } else { "any" },
                    inside.join(", ")
                );
                if let Some(percent) = otherwise {
                    _ = write!(text, ", otherwise: {{ probability: {percent}% }}");
                }
            }
        }
        text + " }"
    }

    /// What it says in a band.
    fn says(&self, first: bool, band: u8) -> Said {
        match &self.action {
            Does::Keep { percent, protect, next } => match band >= 100 - percent {
                true if *protect && !first => Said::Protected,
                true => Said::Keep,
                false if first && !next => Said::Ended,
                false => Said::Nothing,
            },
            Does::Drop { percent, next } => match band < *percent {
                true => Said::Veto,
                false if first && !next => Said::Keep,
                false => Said::Nothing,
            },
            Does::Group { first, otherwise, policies } => say(policies, *first, *otherwise, band),
        }
    }
}

fn say(policies: &[Written], first: bool, otherwise: Option<u8>, band: u8) -> Said {
    let asked = policies.iter().filter(|policy| policy.matches && !policy.shadow && !policy.expired);
    let mut said = asked.map(|policy| policy.says(first, band));
    let said = if first {
        said.find(|said| *said != Said::Nothing).map(|said| if said == Said::Protected { Said::Keep } else { said })
    } else {
        said.filter(|said| *said != Said::Ended).max()
    };
    match (said.unwrap_or(Said::Nothing), otherwise) {
        (Said::Nothing, Some(percent)) if band >= 100 - percent => Said::Keep,
        (Said::Nothing, Some(_)) => Said::Ended,
        (said, _) => said,
    }
}

fn written() -> impl Strategy<Value = Written> {
    let percent = || prop::sample::select(&PERCENT[..]);
    let action = prop_oneof![
        (percent(), prop::bool::weighted(0.2), any::<bool>()).prop_map(|(percent, protect, next)| Does::Keep {
            percent,
            protect,
            next
        }),
        (percent(), any::<bool>()).prop_map(|(percent, next)| Does::Drop { percent, next }),
    ];
    let around = |action| {
        (prop::bool::weighted(0.8), prop::bool::weighted(0.1), prop::bool::weighted(0.1), action)
            .prop_map(|(matches, shadow, expired, action)| Written { matches, shadow, expired, action })
    };
    around(action.boxed()).prop_recursive(4, 24, 5, move |inside| {
        let group = (any::<bool>(), prop::option::of(percent()), prop::collection::vec(inside, 1..6));
        let group = group.prop_map(|(first, otherwise, policies)| Does::Group { first, otherwise, policies });
        around(group.boxed())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The threshold is the true probability, of whatever policies: measured on many traces that are alike but for their
    /// randomness, and judged by a walk over what was written.
    #[test]
    fn thresholds_are_true(
        policies in prop::collection::vec(written(), 1..6),
        first in any::<bool>(),
        otherwise in prop::sample::select(&PERCENT[..]),
        within in prop::collection::vec(0.001..0.999_f64, 20),
    ) {
        let mut names = 0..;
        let mut text = format!("match: {}\notherwise: {{ probability: {otherwise}% }}\npolicies:\n", if first { "first" } else { "any" });
        for policy in &policies {
            _ = writeln!(text, "- {}", policy.yaml(first, &mut names));
        }
        let set = policy_set(&text);
        let whole = Threshold::NEVER.0 as f64;
        let mut share = 0.0;
        for (number, &band) in BANDS.iter().enumerate() {
            let keep = matches!(say(&policies, first, Some(otherwise), band), Said::Keep | Said::Protected);
            let (start, end) = (f64::from(band) / 100.0, f64::from(*BANDS.get(number + 1).unwrap_or(&100)) / 100.0);
            share += if keep { end - start } else { 0.0 };
            for within in &within {
                let randomness = ((start + (end - start) * within) * whole) as u64;
                let verdict = set.decide(facts(&set, &Tree::default(), randomness));
                prop_assert_eq!(verdict.keep, keep, "{:x}, {}", randomness, text);
                prop_assert_eq!(verdict.keep, randomness >= verdict.threshold.0);
            }
        }
        let said = set.decide(facts(&set, &Tree::default(), 0)).threshold.complement().0 as f64 / whole;
        prop_assert!((said - share).abs() < 1e-9, "{} and not {}: {}", said, share, text);
    }

    /// A group without `otherwise` is its policies in its place, where they meet as those around it do.
    #[test]
    fn a_group_is_its_policies(policies in prop::collection::vec(written(), 3..6), first in any::<bool>(), randomness in 0_u64..1 << 56) {
        let mut names = 0..;
        let each: Vec<_> = policies.iter().map(|policy| policy.yaml(first, &mut names)).collect();
        let how = if first { "first" } else { "any" };
        let text = |inside: String| format!("match: {how}\notherwise: {{ probability: 25% }}\npolicies: [{inside}]");
        let flat = policy_set(&text(each.join(", ")));
        let [before, inside @ .., after] = &each[..] else { unreachable!() };
        let deep = policy_set(&text(format!("{before}, {{ name: group, match: {how}, policies: [{}] }}, {after}", inside.join(", "))));
        let named = |set: &PolicySet| {
            let verdict = set.decide(facts(set, &Tree::default(), randomness));
            (verdict.keep, verdict.threshold, verdict.policy.map(|policy| set.policies()[usize::from(policy)].name.clone()))
        };
        prop_assert_eq!(named(&flat), named(&deep), "{:?}", each);
    }

    /// A threshold keeps exactly the share it was made of, to one of 2^56.
    #[test]
    fn thresholds_are_shares(share in 0.0..=1.0_f64) {
        let threshold = super::super::threshold(share);
        let kept = (Threshold::NEVER.0 - threshold.0) as f64 / Threshold::NEVER.0 as f64;
        prop_assert!((kept - share).abs() <= 0.5 / Threshold::NEVER.0 as f64 || threshold.0 == Threshold::NEVER.0 - 1);
    }
}
