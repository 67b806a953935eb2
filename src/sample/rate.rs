//! Spans, traces or bytes a second, max–min fair between keys.
//!
//! A batch of traces is decided when it closes, as a whole. What the bucket holds is shared out between the keys; each trace
//! ranks by its randomness over its key's part of what it asks for, and the first that does not fit makes the threshold of
//! all: sequential Poisson sampling (Ohlsson 1998), also known as priority sampling (Duffield, Lund and Thorup 2007). So a
//! key's traces are kept with the probability of its share, though that be less than a trace, and the bucket never gives
//! more than it holds, whatever the number of keys.
//!
//! Where a trace of the batch costs more than the bucket holds, each is kept with the probability of its key's share, and what that
//! spends too much is owed.
//!
//! Where each key has a ceiling of its own, its traces are cut to that before, in the same way. What is left has a threshold then, and
//! ranks by its randomness over what that lets through.

use super::{
    account::{Account, Funds},
    allowances::Allowances,
    candidate::{Candidate, above, below, by_chance, fitting},
    ceiling::Ceiling,
    fair::{Claim, level},
    share::Share,
};
use crate::model::RecordTime;

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Closed {
    pub asked: f64,
    pub spent: f64,
    /// Traces that were not kept whatever their randomness: the bucket was empty, and nothing had flowed in. Estimates miss them.
    pub starved: u64,
}

/// Decides the batch that closes at `now`: raises the thresholds, and reorders it.
pub fn close(rate: &Ceiling, account: &mut Account, now: RecordTime, share: &Share, batch: &mut [Candidate]) -> Closed {
    batch.sort_unstable_by_key(|candidate| (candidate.key, candidate.trace));
    let mut asked = costs(batch);
    let wanted = asked.iter().map(|(_, cost)| cost).sum();
    let funds = account.open(now, share, rate.burst, &asked).or_owing();
    let (mut left, mut starved) = (batch.len(), 0);
    if rate.each.is_some() {
        starved = cut_each(rate, account, now, share, batch);
        batch.sort_unstable_by_key(|candidate| (!candidate.is_kept(), candidate.key, candidate.trace));
        left = batch.partition_point(Candidate::is_kept);
        asked = costs(&batch[..left]);
    } else {
        // The policy may have been another before.
        account.allowances = Allowances::default();
    }
    let batch = &mut batch[..left];
    let mut claims: Vec<Claim> = asked.iter().map(|&(key, demand)| Claim { demand, weight: share.part(key) }).collect();
    let level = level(&mut claims, funds.capacity);
    let part = |&(key, demand): &(u64, f64)| (level * share.part(key) / demand).min(1.0);
    let parts: Vec<f64> = asked.iter().map(part).collect();
    starved += cut(batch, &parts, funds);
    let mut spent = 0.0;
    for traces in by_key(batch) {
        let kept = traces.iter().filter(|candidate| candidate.is_kept()).map(|candidate| candidate.cost as f64).sum();
        account.allowances.spend(traces[0].key, kept);
        spent += kept;
    }
    account.allowances.trim();
    account.spend(spent);
    Closed { asked: wanted, spent, starved }
}

/// Cuts the traces of each key to what the key may have. How many had no chance.
fn cut_each(rate: &Ceiling, account: &mut Account, now: RecordTime, share: &Share, batch: &mut [Candidate]) -> u64 {
    let mut starved = 0;
    for traces in by_key_mut(batch) {
        if let Some(each) = share.each(traces[0].key) {
            let funds = account.allowances.open(traces[0].key, now, each, rate.burst).or_owing();
            starved += cut(traces, &[(funds.capacity / cost(traces)).min(1.0)], funds);
        }
    }
    starved
}

/// Cuts a batch, sorted by key, to what fits; of each key there is room for a part. How many traces had no chance.
fn cut(batch: &mut [Candidate], parts: &[f64], funds: Funds) -> u64 {
    if !funds.full && batch.iter().any(|candidate| candidate.cost as f64 > funds.capacity) {
        for (traces, part) in by_key_mut(batch).zip(parts) {
            let threshold = by_chance(traces, part * cost(traces));
            traces.iter_mut().for_each(|candidate| candidate.raise(threshold));
        }
        return if funds.capacity > 0.0 { 0 } else { batch.len() as u64 };
    }
    let mut order: Vec<(f64, Candidate)> = Vec::with_capacity(batch.len());
    for (traces, part) in by_key(batch).zip(parts) {
        order.extend(traces.iter().map(|one| (one.rank() / (part * one.odds()), *one)));
    }
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.trace.cmp(&b.1.trace)));
    let kept = fitting(order.iter().map(|(_, candidate)| candidate.cost), funds.capacity, funds.full);
    if let Some(&(bound, first)) = order.get(kept) {
        for (traces, part) in by_key_mut(batch).zip(parts) {
            for candidate in traces {
                let alike = candidate.key == first.key && candidate.threshold == first.threshold;
                let reaches = || below(bound * part * candidate.odds());
                candidate.raise(if alike { above(first.randomness) } else { reaches() });
            }
        }
    }
    0
}

fn costs(batch: &[Candidate]) -> Vec<(u64, f64)> {
    by_key(batch).map(|traces| (traces[0].key, cost(traces))).collect()
}

fn by_key(batch: &[Candidate]) -> impl Iterator<Item = &[Candidate]> {
    batch.chunk_by(|a, b| a.key == b.key)
}

fn by_key_mut(batch: &mut [Candidate]) -> impl Iterator<Item = &mut [Candidate]> {
    batch.chunk_by_mut(|a, b| a.key == b.key)
}

pub fn cost(traces: &[Candidate]) -> f64 {
    traces.iter().map(|candidate| candidate.cost as f64).sum()
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::{
        model::{Randomness, Threshold},
        sample::{
            ceiling::BURST,
            known::{Division, Known},
        },
    };

    fn batch(rng: &mut Rng, counts: &[(u64, u32)], cost: u64) -> Vec<Candidate> {
        let traces = counts.iter().flat_map(|&(key, count)| (0..count).map(move |_| key));
        let trace = |(trace, key): (usize, u64)| Candidate {
            trace: trace as u32,
            key,
            cost: rng.u64(1..2 * cost),
            randomness: Randomness(rng.u64(0..Threshold::NEVER.0)),
            threshold: Threshold::ALWAYS,
            elsewhere: false,
        };
        traces.enumerate().map(trace).collect()
    }

    fn second(second: i64) -> RecordTime {
        RecordTime(second * 1000)
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        let mut rng = Rng::with_seed(1);
        let (rate, mut account) = (Ceiling::rate(0.0, BURST), Account::default());
        let mut traces = batch(&mut rng, &[(1, 50), (2, 50)], 1);
        let closed = close(&rate, &mut account, second(1), &Share::whole(100.0), &mut traces);
        assert_eq!(closed, Closed { asked: 100.0, spent: 100.0, starved: 0 });
        assert!(traces.iter().all(|trace| trace.threshold == Threshold::ALWAYS));
        let mut traces = batch(&mut rng, &[(1, 50)], 1);
        assert_eq!(
            close(&rate, &mut account, second(1), &Share::whole(100.0), &mut traces).starved,
            50,
            "in no time nothing flows in"
        );
        assert!(traces.iter().all(|trace| trace.threshold == Threshold::NEVER));
    }

    #[test]
    fn the_first_rejected_makes_the_threshold() {
        let mut rng = Rng::with_seed(2);
        let mut traces = batch(&mut rng, &[(1, 50)], 1);
        close(&Ceiling::rate(0.0, BURST), &mut Account::default(), second(1), &Share::whole(20.0), &mut traces);
        traces.sort_unstable_by_key(|trace| std::cmp::Reverse(trace.randomness));
        assert!(traces.iter().all(|trace| trace.threshold.0 == traces[20].randomness.0 + 1));
    }

    #[test]
    fn keys_that_ask_for_less_than_the_others_get_it() {
        let mut rng = Rng::with_seed(3);
        let (rate, mut account) = (Ceiling::rate(0.0, BURST), Account::default());
        let mut kept = [0.0; 3];
        for now in 0..400 {
            let mut traces = batch(&mut rng, &[(0, 10), (1, 100), (2, 1_000)], 1);
            close(&rate, &mut account, second(now), &Share::whole(100.0), &mut traces);
            traces.iter().filter(|trace| trace.is_kept()).for_each(|trace| kept[trace.key as usize] += 1.0 / 400.0);
        }
        // 10, 45 and 45 with a standard error of 0.3 at most.
        assert!((9.0..=10.0).contains(&kept[0]), "{kept:?}");
        assert!((44.0..46.5).contains(&kept[1]) && (44.0..46.5).contains(&kept[2]), "{kept:?}");
    }

    /// Traces of which each costs more than flows in, whatever their randomness is like: even, or as somebody leaves it who keeps
    /// one in a hundred by the same.
    #[test]
    fn what_is_owed_is_paid() {
        let mut rng = Rng::with_seed(8);
        for lowest in [0.0, 0.9, 0.99] {
            let (rate, mut account) = (Ceiling::rate(0.0, BURST), Account::default());
            let mut spent = 0.0;
            for now in 0..10_000 {
                let mut traces = batch(&mut rng, &[(0, 2), (1, 1)], 1);
                for trace in &mut traces {
                    trace.cost = 150;
                    let least = (Threshold::NEVER.0 as f64 * lowest) as u64;
                    trace.randomness = Randomness(rng.u64(least..Threshold::NEVER.0));
                }
                spent += close(&rate, &mut account, second(now), &Share::whole(100.0), &mut traces).spent;
            }
            // What is owed at the end is some bursts at most.
            assert!((0.95..1.005).contains(&(spent / 1_000_000.0)), "{lowest}: {spent}");
        }
    }

    /// Four partitions, in which keys ask for parts that differ, and one has half of all. Key 0 asks for far too much; key 1, in some
    /// seconds only; key 2, for less than it may have; each trace of key 3 costs what the key may have in two seconds.
    #[test]
    fn no_key_has_more_than_each_may() {
        const SECONDS: i64 = 600;
        const PARTS: [u64; 4] = [6, 3, 2, 1];
        const COSTS: [u64; 4] = [1, 1, 1, 80];
        let mut rng = Rng::with_seed(9);
        let rule = Ceiling { each: Some(40.0), ..Ceiling::rate(500.0, BURST) };
        let division = Division { partitions: 4, workers: 4 };
        let mut known = Known::default();
        let (mut kept, mut estimated, mut came) = ([0.0; 4], [0.0; 4], [0.0; 4]);
        for now in 0..SECONDS {
            for (partition, part) in (0..).zip(PARTS) {
                let asks = [70, if now % 20 < 2 { 60 } else { 0 }, 2, u64::from(partition == 0 || now % 8 == 0)];
                let counts: Vec<(u64, u32)> = (0..4)
                    .zip(asks)
                    .map(|(key, count)| (key, (if key == 3 { count } else { count * part }) as u32))
                    .collect();
                let mut traces = batch(&mut rng, &counts, 1);
                traces.iter_mut().for_each(|trace| trace.cost = COSTS[trace.key as usize]);
                traces.iter().for_each(|trace| came[trace.key as usize] += trace.cost as f64);
                rule.close((partition, second(now)), &mut known, division, |rule, account, now, share| {
                    close(rule, account, now, share, &mut traces)
                });
                for trace in traces.iter().filter(|trace| trace.is_kept()) {
                    kept[trace.key as usize] += trace.cost as f64 / SECONDS as f64;
                    estimated[trace.key as usize] += trace.cost as f64 * Threshold::NEVER.0 as f64 / trace.odds();
                }
            }
        }
        // 40 a second, and a burst in all.
        assert!((39.0..40.4).contains(&kept[0]), "{kept:?}");
        // Of each 20 seconds two are asked for, and five saved up: 14 at most.
        assert!((10.0..14.4).contains(&kept[1]), "{kept:?}");
        assert!(kept[2] > 23.9, "{kept:?}");
        assert!((20.0..40.4).contains(&kept[3]), "{kept:?}");
        for key in 0..4 {
            let ratio = estimated[key] / came[key];
            assert!((0.9..1.1).contains(&ratio), "{key}: {ratio}");
        }
    }

    /// Keys with a ceiling that none of them reaches alone and all of them do together, and one that is cut before: all have as much.
    #[test]
    fn what_each_may_have_is_no_head_start() {
        let mut rng = Rng::with_seed(10);
        let (rule, mut known) = (Ceiling { each: Some(60.0), ..Ceiling::rate(100.0, BURST) }, Known::default());
        let mut kept = [0.0; 3];
        for now in 0..400 {
            let mut traces = batch(&mut rng, &[(0, 1_000), (1, 50), (2, 55)], 1);
            rule.close(
                (0, second(now)),
                &mut known,
                Division { partitions: 1, workers: 1 },
                |rule, account, now, share| close(rule, account, now, share, &mut traces),
            );
            traces.iter().filter(|trace| trace.is_kept()).for_each(|trace| kept[trace.key as usize] += 1.0 / 400.0);
        }
        assert!(kept.iter().all(|kept| (32.3..34.3).contains(kept)), "{kept:?}");
    }

    /// The same sampler, of a policy that was changed in between and changed back: what keys owed is not held against them.
    #[test]
    fn without_a_ceiling_of_its_own_a_key_owes_nothing() {
        let rate = Ceiling::rate(100.0, BURST);
        let each = Ceiling { each: Some(1.0), ..rate };
        let (mut rng, mut known) = (Rng::with_seed(11), Known::default());
        let mut owes = |rule: &Ceiling, now| {
            let mut traces = batch(&mut rng, &[(0, 50)], 1);
            let division = Division { partitions: 1, workers: 1 };
            rule.close((0, second(now)), &mut known, division, |rule, account, now, share| {
                close(rule, account, now, share, &mut traces);
                !account.allowances.is_empty()
            })
        };
        assert!(owes(&each, 1));
        assert!(!owes(&rate, 2));
    }

    #[test]
    fn what_costs_more_than_the_bucket_holds_passes_a_full_one() {
        let (rate, mut account) = (Ceiling::rate(0.0, 1.0), Account::default());
        let large = Candidate { cost: 30, ..batch(&mut Rng::with_seed(7), &[(0, 1)], 1)[0] };
        let mut kept = 0;
        for now in 0..60 {
            close(&rate, &mut account, second(now), &Share::whole(10.0), &mut [large]);
            let mut traces = [large];
            close(&rate, &mut account, second(now), &Share::whole(10.0), &mut traces);
            kept += usize::from(traces[0].is_kept());
        }
        assert_eq!(kept, 0, "the first of each second has emptied it");
        let (rate, mut account) = (Ceiling::rate(0.0, 1.0), Account::default());
        let mut spent = 0.0;
        for now in 0..60 {
            spent += close(&rate, &mut account, second(now), &Share::whole(10.0), &mut [large]).spent;
        }
        assert!((580.0..=620.0).contains(&spent), "{spent}: 10 a second, and one trace");
    }
}
