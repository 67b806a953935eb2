//! One ceiling over all that policies keep, and who gives way.
//!
//! What policies keep comes in classes; the lower gives way later, and class 0 is what is protected. A class for which there
//! is no room is cut by randomness: of its traces those stay whose randomness is highest, down to the first that does not
//! fit, and each has the threshold of its policy or of the cut, whichever is higher. Where one of them costs more than there is room for,
//! each is kept with the probability at which the room is used on average, and what that spends too much is owed.

use std::cmp::Reverse;

use super::{
    account::Account,
    candidate::{Candidate, above, by_chance, fitting},
    ceiling::Ceiling,
    fair::Claim,
    rate::cost,
    share::Share,
};
use crate::model::{RecordTime, Threshold};

/// What became of one class of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class {
    pub class: u64,
    /// What of it stays. Never lower than of a class that gives way later.
    pub threshold: Threshold,
    pub asked: f64,
    pub spent: f64,
    /// Traces that policies kept and the budget does not. Of class 0 this is to be told: even what is protected is cut.
    pub cut: u64,
    /// Of these, how many had no chance, whatever their randomness: nothing had flowed in, and the bucket was empty. Estimates miss them.
    pub starved: u64,
}

/// What a class of a batch asks for.
#[derive(Clone, Copy)]
struct Asked {
    class: u64,
    /// For what no better class keeps.
    own: f64,
    /// For all that it would keep.
    all: f64,
}

/// What a class of a batch has.
#[derive(Clone, Copy)]
struct Room {
    granted: f64,
    /// There was more than its floor, whether it needed that or not.
    is_open: bool,
}

/// Of what flows in, what each class that asks has though those before it would take it all, and though the bucket owes as much and
/// more. Without it nothing of a class might be kept for long, and no weight can make up for that.
const FLOOR: f64 = 0.05;

/// The class of what is protected.
pub const PROTECTED: u64 = 0;

/// Classes there may be, so that their floors are the smaller part.
pub const CLASSES: usize = 8;

/// Decides what of a batch stays, in which all are kept by policies: raises the thresholds, and reorders it. A candidate's
/// key is its class; in each class that would keep a trace alone it is one, and all but the best have it for the threshold's sake.
pub fn close(
    budget: &Ceiling,
    account: &mut Account,
    now: RecordTime,
    share: &Share,
    batch: &mut [Candidate],
) -> Vec<Class> {
    batch.sort_unstable_by_key(|candidate| (candidate.key, Reverse(candidate.randomness), candidate.trace));
    let asked: Vec<Asked> = batch.chunk_by(|a, b| a.key == b.key).map(Asked::of).collect();
    let own: Vec<(u64, f64)> = asked.iter().map(|asked| (asked.class, asked.own)).collect();
    let funds = account.open(now, share, budget.burst, &own);
    let flow = FLOOR * funds.flow;
    let floors: Vec<f64> = asked.iter().map(|asked| asked.floor(flow)).collect();
    let rooms = in_turn(&own, &floors, funds.capacity, funds.reserve);
    let mut classes = Vec::with_capacity(asked.len());
    let mut threshold = Threshold::ALWAYS;
    for (at, traces) in batch.chunk_by_mut(|a, b| a.key == b.key).enumerate() {
        let (Asked { class, own: asked, all }, Room { granted, is_open }) = (asked[at], rooms[at]);
        let own: Vec<Candidate> = traces.iter().copied().filter(|candidate| !candidate.elsewhere).collect();
        // Of a floor, and of what is kept by chance, what others keep has its part, or the cut would depend on whether they do.
        let (ranked, room, for_all) = match is_open || all <= flow {
            true => (&own[..], granted, granted + all - asked),
            false => (&*traces, flow, flow),
        };
        let full = funds.full && at == 0;
        let bound = match full || ranked.iter().all(|candidate| candidate.cost as f64 <= room) {
            true => first_rejected(ranked, room, full),
            false => by_chance(traces, for_all),
        };
        threshold = bound.max(threshold);
        traces.iter_mut().for_each(|candidate| candidate.raise(threshold));
        let kept = traces.iter().filter(|candidate| !candidate.elsewhere && candidate.is_kept());
        let (count, spent) = kept.fold((0, 0.0), |(count, spent), kept| (count + 1, spent + kept.cost as f64));
        account.spend(spent);
        let cut = own.len() as u64 - count;
        let starved = if threshold == Threshold::NEVER { cut } else { 0 };
        classes.push(Class { class, threshold, asked, spent, cut, starved });
    }
    classes
}

/// What keeps of these, of which the highest randomness comes first, as many as fit.
fn first_rejected(traces: &[Candidate], room: f64, full: bool) -> Threshold {
    let kept = fitting(traces.iter().map(|candidate| candidate.cost), room, full);
    traces.get(kept).map_or(Threshold::ALWAYS, |first| above(first.randomness))
}

/// A budget, class after class, each with its floor. Of the reserve only what is protected is given more than that.
fn in_turn(asked: &[(u64, f64)], floors: &[f64], capacity: f64, reserve: f64) -> Vec<Room> {
    let mut free = capacity - floors.iter().sum::<f64>();
    let grant = |(&(class, demand), floor): (&(u64, f64), &f64)| {
        let open = if class == PROTECTED { free } else { free - reserve };
        let more = (demand - floor).min(open.max(0.0));
        free -= more;
        Room { granted: floor + more, is_open: open > 0.0 }
    };
    asked.iter().zip(floors).map(grant).collect()
}

/// A budget over all partitions.
pub fn by_class(claims: &[(u64, Claim)], goal: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_unstable_by_key(|&at| claims[at].0);
    let asked: Vec<(u64, f64)> = order.iter().map(|&at| (claims[at].0, claims[at].1.demand)).collect();
    let mut granted = vec![0.0; claims.len()];
    let floors: Vec<f64> = asked.iter().map(|(_, demand)| demand.min(FLOOR * goal)).collect();
    order.into_iter().zip(in_turn(&asked, &floors, goal, 0.0)).for_each(|(at, room)| granted[at] = room.granted);
    granted
}

// === impl Asked ===

impl Asked {
    fn of(traces: &[Candidate]) -> Self {
        let own = traces.iter().filter(|candidate| !candidate.elsewhere).map(|candidate| candidate.cost as f64).sum();
        Self { class: traces[0].key, own, all: cost(traces) }
    }

    /// What it needs of a floor for all that it would keep.
    fn floor(&self, floor: f64) -> f64 {
        if self.all > 0.0 { self.all.min(floor) * self.own / self.all } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::model::Randomness;

    fn batch(rng: &mut Rng, counts: &[u32]) -> Vec<Candidate> {
        let classes = counts.iter().zip(0..).flat_map(|(&count, class)| (0..count).map(move |_| class));
        let trace = |(trace, key): (usize, u64)| Candidate {
            trace: trace as u32,
            key,
            cost: 1,
            randomness: Randomness(rng.u64(0..Threshold::NEVER.0)),
            threshold: Threshold::ALWAYS,
            elsewhere: false,
        };
        classes.enumerate().map(trace).collect()
    }

    #[test]
    fn the_last_class_gives_way_first_and_what_is_protected_last() {
        let mut rng = Rng::with_seed(4);
        let (budget, mut account, share) = (Ceiling::budget(0.0, 1.0), Account::default(), Share::whole(100.0));
        let mut close = |second: i64, counts: &[u32]| {
            let classes =
                super::close(&budget, &mut account, RecordTime(second * 1000), &share, &mut batch(&mut rng, counts));
            classes.iter().map(|class| (class.spent as u32, class.cut)).collect::<Vec<_>>()
        };
        assert_eq!(close(1, &[20, 30, 40]), [(20, 0), (30, 0), (40, 0)]);
        assert_eq!(close(2, &[20, 70, 400]), [(20, 0), (70, 0), (10, 390)]);
        assert_eq!(close(3, &[20, 700, 400]), [(20, 0), (75, 625), (5, 395)]);
        let last = close(4, &[700, 700, 400]);
        assert_eq!(last[..2], [(90, 610), (5, 695)], "even what is protected is cut");
        assert!(last[2].0 <= 5, "no more of what gives way first than of what gives way later: {last:?}");
    }

    /// A trace counts for one on average over its own randomness, whatever that of the others is: it is drawn anew, with the others
    /// as they are, and a class would keep some of them that a better one keeps.
    #[test]
    fn weights_are_true_whoever_keeps_a_trace() {
        const STEPS: u64 = 400;
        let mut rng = Rng::with_seed(9);
        let (mut counted, mut rounds) = (0.0, 0.0);
        for _ in 0..2_000 {
            let mut account = Account::default();
            let share = Share::whole(rng.f64() * 40.0 + 1.0);
            let budget = Ceiling::budget(0.0, 1.0 + 4.0 * rng.f64());
            // What came before has left less, or a debt.
            let before = rng.u32(0..20);
            super::close(&budget, &mut account, second(1), &share, &mut batch(&mut rng, &[before]));
            // What three classes keep of each.
            let traces: Vec<(u64, [u64; 3])> = (0..rng.u32(1..8))
                .map(|_| {
                    (rng.u64(1..20), [0; 3].map(|_| Threshold::NEVER.0 / 100 * [0, 50, 80, 95, 100][rng.usize(0..5)]))
                })
                .collect();
            let others: Vec<u64> = traces.iter().map(|_| rng.u64(0..Threshold::NEVER.0)).collect();
            rounds += 1.0;
            for step in 0..STEPS {
                let mut randomness = others.clone();
                randomness[0] = Threshold::NEVER.0 / STEPS * step + rng.u64(0..Threshold::NEVER.0 / STEPS);
                let mut batch = claims(&traces, &randomness);
                let closed = super::close(&budget, &mut account.clone(), second(2), &share, &mut batch);
                let cut = |class: u64| {
                    let last = closed.iter().take_while(|of| of.class <= class).last();
                    last.map_or(Threshold::ALWAYS, |of| of.threshold)
                };
                let least = (0..).zip(traces[0].1).map(|(class, keeps)| keeps.max(cut(class).0)).min().unwrap();
                if randomness[0] >= least {
                    let odds = (Threshold::NEVER.0 - least) as f64 / Threshold::NEVER.0 as f64;
                    counted += 1.0 / odds / STEPS as f64;
                }
            }
            // One that nobody keeps.
            if traces[0].1.iter().all(|keeps| *keeps >= Threshold::NEVER.0 / 100 * 100) {
                rounds -= 1.0;
            }
        }
        let mean = counted / rounds;
        assert!((0.97..1.03).contains(&mean), "{mean}");
    }

    /// Each trace in each class that keeps it.
    fn claims(traces: &[(u64, [u64; 3])], randomness: &[u64]) -> Vec<Candidate> {
        let mut all = Vec::new();
        for (trace, (&(cost, keeps), &randomness)) in (0..).zip(traces.iter().zip(randomness)) {
            let mut elsewhere = false;
            for (key, keeps) in (0..).zip(keeps).filter(|(_, keeps)| randomness >= *keeps) {
                let (randomness, threshold) = (Randomness(randomness), Threshold(keeps));
                all.push(Candidate { trace, key, cost, randomness, threshold, elsewhere });
                elsewhere = true;
            }
        }
        all
    }

    fn second(second: i64) -> RecordTime {
        RecordTime(second * 1000)
    }

    #[test]
    fn a_cut_never_lowers_a_threshold() {
        let mut rng = Rng::with_seed(5);
        let mut traces = batch(&mut rng, &[400]);
        for trace in &mut traces {
            trace.threshold = Threshold(trace.randomness.0 / 2);
        }
        let before = traces.clone();
        close(&Ceiling::budget(0.0, 1.0), &mut Account::default(), RecordTime(0), &Share::whole(100.0), &mut traces);
        traces.sort_unstable_by_key(|trace| trace.trace);
        assert_eq!(traces.iter().filter(|trace| trace.is_kept()).count(), 100);
        let mut by_randomness: Vec<&Candidate> = traces.iter().collect();
        by_randomness.sort_unstable_by_key(|trace| Reverse(trace.randomness));
        let cut = above(by_randomness[100].randomness);
        assert!(traces.iter().zip(&before).all(|(after, before)| after.threshold == before.threshold.max(cut)));
    }
}
