//! What each partition may spend of a goal that is one for all of them.
//!
//! Workers share nothing, so all compute the shares of all from the same summaries, those of one moment some ticks ago, and
//! the shares come to the goal. Who has not heard of all the others uses an even share at most.

use std::collections::VecDeque;

use super::{
    Malformed,
    demand::Keys,
    fair::{Claim, level},
    keys::Holder,
    known::Hears,
    pack::{Reader, VALUE, Writer},
};
use crate::model::RecordTime;

/// What a partition asked for lately, a second, as the others hear of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The close of the batch after which it was said.
    pub at: RecordTime,
    /// Those that asked for most.
    pub keys: Vec<(u64, f64)>,
    /// The others together, and how many there were of them in a batch.
    pub rest: f64,
    pub rest_keys: f64,
}

/// A goal, and what was heard of each partition.
#[derive(Clone, Debug)]
pub struct Shares {
    per_second: f64,
    /// What a key may have of it at most.
    each: Option<f64>,
    partitions: Vec<View>,
}

/// What may tell of a partition.
pub trait Said {
    fn summary(&self) -> Option<Summary>;
}

/// How a goal is split between keys that ask for more than it.
pub type Split = fn(&[(u64, Claim)], f64) -> Vec<f64>;

/// A partition's part.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    pub per_second: f64,
    /// Of all that was asked for under a key, what was asked for here.
    parts: Keys<f64>,
    /// The same of keys that nobody listed.
    rest: f64,
    each: Option<Each>,
}

/// What a key may have in a partition, where it may have no more than so much in all of them.
#[derive(Clone, Debug, PartialEq)]
struct Each {
    per_second: f64,
    /// What keys asked for here. Of one that is not listed it was no more than the edge.
    own: Keys<f64>,
    edge: f64,
    /// What keys asked for in all partitions beyond the edges, and the edges of all.
    sums: Keys<f64>,
    edges: f64,
}

#[derive(Clone, Debug, Default)]
struct View {
    /// The latest behind.
    heard: VecDeque<Summary>,
    /// What its share was when all had been heard of.
    last: Option<f64>,
}

/// Shares are those of so many milliseconds ago: summaries are up to two ticks of a second late, and all must have them.
pub const LAG: u64 = 3_000;

/// So much later than that and a partition counts as not heard of: its worker is away, or it is far behind in record time.
const PATIENCE: u64 = 5_000;

/// A partition counts as asking for this part at least of what would be its even part of a key's: so it can begin with a key.
const BEGINS: f64 = 1.0 / 16.0;

/// Summaries kept of a partition: one for each second of `LAG` and `PATIENCE`.
const HEARD: usize = 8;

// === impl Shares ===

impl Shares {
    /// # Panics
    /// Without partitions.
    pub fn new(per_second: f64, partitions: usize) -> Self {
        assert!(partitions > 0, "a goal is shared by someone");
        Self { per_second, each: None, partitions: vec![View::default(); partitions] }
    }

    /// From now on the goal is another, or shared by others. Partitions never become fewer.
    pub fn aim(&mut self, per_second: f64, each: Option<f64>, partitions: usize) {
        self.per_second = per_second;
        self.each = each;
        self.widen(partitions);
    }

    pub fn widen(&mut self, partitions: usize) {
        if partitions > self.partitions.len() {
            self.partitions.resize_with(partitions, View::default);
        }
    }

    /// Of one's own partitions too, when it is committed: nobody knows more of himself than the others do.
    pub fn hear(&mut self, partition: usize, summary: Summary) {
        let Some(view) = self.partitions.get_mut(partition) else { return };
        if view.heard.back().is_none_or(|latest| latest.at < summary.at) {
            view.heard.push_back(summary);
            if view.heard.len() > HEARD {
                view.heard.pop_front();
            }
        }
    }

    /// What a partition may spend in the batch that closes at `now` of its record time.
    pub fn of(&mut self, partition: usize, now: RecordTime, split: Split) -> Share {
        let even = self.per_second / self.partitions.len() as f64;
        let summaries: Option<Vec<&Summary>> = self.partitions.iter().map(|view| view.at(now)).collect();
        let last = self.partitions.get(partition).and_then(|view| view.last).unwrap_or(even);
        let Some(summaries) = summaries.filter(|_| partition < self.partitions.len()) else {
            let each = self.each.map(|each| Each::even(each, self.partitions.len()));
            return Share { per_second: last.min(even), parts: Keys::default(), rest: 1.0, each };
        };
        let share = share(&summaries, partition, (self.per_second, self.each), split);
        self.partitions[partition].last = Some(share.per_second);
        share
    }

    pub fn bytes(&self) -> usize {
        let heard = self.partitions.iter().flat_map(|view| &view.heard);
        self.partitions.capacity() * size_of::<View>()
            + self.partitions.iter().map(|view| view.heard.capacity() * size_of::<Summary>()).sum::<usize>()
            + heard.map(|summary| summary.keys.capacity() * size_of::<(u64, f64)>()).sum::<usize>()
    }
}

/// What is left when everybody has what they ask for goes out as room to grow: half by what is asked for, half evenly, so that
/// a partition at rest can begin.
fn share(summaries: &[&Summary], partition: usize, (goal, each): (f64, Option<f64>), split: Split) -> Share {
    let mut sums: Keys<f64> = Keys::default();
    for summary in summaries {
        summary.keys.iter().for_each(|&(key, rate)| *sums.entry(key).or_default() += rate);
    }
    let rest: f64 = summaries.iter().map(|summary| summary.rest).sum();
    // Traces of a key are in all partitions, mostly: these are not other keys than those of another partition.
    let rest_keys = summaries.iter().map(|summary| summary.rest_keys).fold(1.0, f64::max);
    let most = each.unwrap_or(f64::INFINITY);
    let mut claims: Vec<(u64, Claim)> =
        sums.iter().map(|(&key, &demand)| (key, Claim { demand: demand.min(most), weight: 1.0 })).collect();
    claims.push((u64::MAX, Claim { demand: rest.min(rest_keys * most), weight: rest_keys }));
    let granted = split(&claims, goal);

    let own = summaries[partition];
    let mut parts: Keys<f64> = own.keys.iter().map(|&(key, rate)| (key, ratio(rate, sums[&key]))).collect();
    let rest_part = ratio(own.rest, rest);
    let asked: f64 = sums.values().sum::<f64>() + rest;
    let left = (goal - granted.iter().sum::<f64>()).max(0.0);
    let mut per_second = 0.0;
    for ((key, _), granted) in claims.iter().zip(&granted) {
        per_second += granted * parts.get(key).copied().unwrap_or(0.0);
    }
    per_second += granted[granted.len() - 1] * rest_part;
    let part = ratio(own.keys.iter().map(|(_, rate)| rate).sum::<f64>() + own.rest, asked);
    let even = 1.0 / summaries.len() as f64;
    per_second += left * (if asked > 0.0 { part } else { even } + even) / 2.0;
    // In a weight of 0 nobody could begin.
    parts.retain(|_, part| *part > 0.0);
    let each = each.map(|each| Each::of(each, summaries, partition));
    Share { per_second, parts, rest: if rest_part > 0.0 { rest_part } else { even }, each }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The goal, max–min fair.
pub fn fairly(claims: &[(u64, Claim)], goal: f64) -> Vec<f64> {
    let level = level(&mut claims.iter().map(|(_, claim)| *claim).collect::<Vec<_>>(), goal);
    claims.iter().map(|(_, claim)| claim.share(level)).collect()
}

impl Default for Shares {
    /// Of nothing.
    fn default() -> Self {
        Self::new(0.0, 1)
    }
}

impl<S: Said> Hears<S> for Shares {
    fn hear(&mut self, partition: u32, _: Holder, said: S) {
        if let Some(summary) = said.summary() {
            self.widen(partition as usize + 1);
            Self::hear(self, partition as usize, summary);
        }
    }

    /// What was said of it is still true.
    fn forget(&mut self, _: u32) {}

    fn expire(&mut self, _: impl Fn(&S) -> bool) {}

    fn bytes(&self) -> usize {
        Self::bytes(self)
    }
}

// === impl Share ===

impl Share {
    /// All of a goal, where there is one partition.
    pub fn whole(per_second: f64) -> Self {
        Self { per_second, parts: Keys::default(), rest: 1.0, each: None }
    }

    /// How much of what is asked for under a key is asked for here.
    pub fn part(&self, key: u64) -> f64 {
        self.parts.get(&key).copied().unwrap_or(self.rest)
    }

    /// What a key may have here at most, a second; of all partitions together it is no more than it may have. None where there is no such
    /// ceiling.
    pub fn each(&self, key: u64) -> Option<f64> {
        self.each.as_ref().map(|each| each.of_key(key))
    }
}

// === impl Each ===

impl Each {
    fn even(per_second: f64, partitions: usize) -> Self {
        Self { per_second, own: Keys::default(), edge: 1.0, sums: Keys::default(), edges: partitions as f64 }
    }

    fn of(per_second: f64, summaries: &[&Summary], partition: usize) -> Self {
        let begins = BEGINS * per_second / summaries.len() as f64;
        let edges: Vec<f64> = summaries.iter().map(|summary| summary.edge().max(begins)).collect();
        let mut sums: Keys<f64> = Keys::default();
        for (summary, edge) in summaries.iter().zip(&edges) {
            for (key, rate) in &summary.keys {
                *sums.entry(*key).or_default() += (rate - edge).max(0.0);
            }
        }
        let own = summaries[partition].keys.iter().copied().collect();
        Self { per_second, own, edge: edges[partition], sums, edges: edges.iter().sum() }
    }

    fn of_key(&self, key: u64) -> f64 {
        let own = self.own.get(&key).copied().unwrap_or(0.0).max(self.edge);
        self.per_second * own / (self.sums.get(&key).copied().unwrap_or(0.0) + self.edges)
    }
}

// === impl View ===

impl View {
    /// What all others have heard of, too.
    fn at(&self, now: RecordTime) -> Option<&Summary> {
        let latest = self.heard.back().filter(|latest| now.since(latest.at) <= LAG + PATIENCE)?;
        let known = self.heard.iter().rev().find(|summary| now.since(summary.at) >= LAG);
        known.or(self.heard.front()).or(Some(latest))
    }
}

// === impl Summary ===

impl Summary {
    /// 2.6 kB of a partition and sampler on the wire at most.
    pub const LISTED: usize = 128;

    /// What was asked for at most under a key that is not listed.
    fn edge(&self) -> f64 {
        if self.keys.len() < Self::LISTED { 0.0 } else { self.keys.last().map_or(0.0, |(_, rate)| *rate) }
    }

    pub fn save(&self, into: &mut Writer) {
        into.time(Some(self.at));
        into.short(self.rest);
        into.short(self.rest_keys);
        into.number(self.keys.len() as u64);
        for &(key, rate) in &self.keys {
            into.key(key);
            into.short(rate);
        }
    }

    pub fn load(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let at = from.time()?.ok_or(VALUE)?;
        let (rest, rest_keys) = (from.short()?, from.short()?);
        let count = from.count(Self::LISTED)?;
        let keys = (0..count).map(|_| Ok((from.key()?, from.short()?))).collect::<Result<_, Malformed>>()?;
        Ok(Self { at, keys, rest, rest_keys })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut into = Writer::new();
        self.save(&mut into);
        into.bytes()
    }

    /// # Errors
    /// The bytes are not a summary of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes)?;
        let summary = Self::load(&mut from)?;
        from.end()?;
        Ok(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(second: i64, keys: &[(u64, f64)], rest: f64) -> Summary {
        Summary { at: RecordTime(second * 1000), keys: keys.to_vec(), rest, rest_keys: 1.0 }
    }

    fn shares(goal: f64, said: &[Summary]) -> Vec<f64> {
        let mut shares = Shares::new(goal, said.len());
        said.iter().enumerate().for_each(|(partition, summary)| shares.hear(partition, summary.clone()));
        let now = said[0].at.plus(LAG);
        (0..said.len()).map(|partition| shares.of(partition, now, fairly).per_second).collect()
    }

    #[test]
    fn a_goal_is_shared_by_what_keys_get_not_by_what_they_ask_for() {
        // Key 1 asks for 900 and key 2 for 100, each in a partition of its own: both get 100.
        assert_eq!(shares(200.0, &[summary(9, &[(1, 900.0)], 0.0), summary(9, &[(2, 100.0)], 0.0)]), [100.0, 100.0]);
        // Key 1 in both: its 100 are shared 8 to 1.
        let both = [summary(9, &[(1, 800.0)], 0.0), summary(9, &[(2, 100.0), (1, 100.0)], 0.0)];
        let shares = shares(200.0, &both);
        assert!((shares[0] - 800.0 / 9.0).abs() < 1e-9 && (shares[0] + shares[1] - 200.0).abs() < 1e-9, "{shares:?}");
    }

    #[test]
    fn room_to_grow_is_shared_out() {
        assert_eq!(shares(200.0, &[summary(9, &[(1, 100.0)], 0.0), summary(9, &[], 0.0)]), [175.0, 25.0]);
        assert_eq!(shares(200.0, &[summary(9, &[], 0.0), summary(9, &[], 0.0)]), [100.0, 100.0]);
    }

    #[test]
    fn who_has_not_heard_of_all_uses_an_even_share_at_most() {
        let mut shares = Shares::new(200.0, 2);
        assert_eq!(shares.of(0, RecordTime(12_000), fairly).per_second, 100.0);
        shares.hear(0, summary(9, &[(1, 100.0)], 0.0));
        assert_eq!(shares.of(0, RecordTime(12_000), fairly).per_second, 100.0);
        shares.hear(1, summary(9, &[(1, 900.0)], 0.0));
        assert_eq!(shares.of(0, RecordTime(12_000), fairly).per_second, 20.0);
        assert_eq!(shares.of(1, RecordTime(12_000), fairly).per_second, 180.0);
        // The other has gone: what was last known, and no more than half.
        shares.hear(0, summary(18, &[(1, 100.0)], 0.0));
        shares.hear(1, summary(14, &[(1, 900.0)], 0.0));
        assert_eq!(shares.of(0, RecordTime(30_000), fairly).per_second, 20.0);
        assert_eq!(shares.of(1, RecordTime(30_000), fairly).per_second, 100.0);
    }

    #[test]
    fn all_look_at_the_same_moment() {
        // Partition 1 has just grown. The worker of partition 0 has not heard of it, and its own does not use it yet.
        let (mut here, mut there) = (Shares::new(200.0, 2), Shares::new(200.0, 2));
        for second in 0..10 {
            let grown = if second < 8 { 100.0 } else { 1_000.0 };
            for shares in [&mut here, &mut there] {
                shares.hear(0, summary(second, &[(1, 300.0)], 0.0));
            }
            there.hear(1, summary(second, &[(1, grown)], 0.0));
            if second < 8 {
                here.hear(1, summary(second, &[(1, grown)], 0.0));
            }
        }
        let now = RecordTime(10_000);
        let sum = here.of(0, now, fairly).per_second + there.of(1, now, fairly).per_second;
        assert!((sum - 200.0).abs() < 1e-9, "{sum}");
    }
}
