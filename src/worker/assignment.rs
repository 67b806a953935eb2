//! The partitions a worker owns.

use std::time::Instant;

use crate::{
    engine::Engine,
    source::{Metadata, Partition, Polled},
    tick::Watermark,
};

/// Few to some thousands; found by topic, then by number.
#[derive(Default)]
pub struct Assignment {
    owned: Vec<Owned>,
    /// For each topic, where in `owned` its partitions are.
    topics: Vec<(std::sync::Arc<str>, Vec<Option<u32>>)>,
    /// The same by their numbers in the engine.
    numbers: Vec<Option<u32>>,
}

/// A partition, from assignment to revocation.
pub struct Owned {
    pub partition: Partition,
    /// Its number in the engine.
    pub at: u32,
    /// The offset after the last record taken in.
    pub position: i64,
    /// The offset after the last record that came: those in between wait.
    pub fetched: i64,
    /// The offset below which nothing is left to read: markers of transactions have offsets, too.
    pub read: i64,
    /// The high watermark last heard of.
    pub high: i64,
    /// Where its finite input ends.
    pub end: Option<i64>,
    pub finished: bool,
    /// Its start is committed: it may be read.
    pub begun: bool,
    /// What was last committed; None where nothing is, or a commit failed.
    pub committed: Option<Watermark>,
    /// What the group has committed, or will have before anything is read.
    pub standing: (i64, Metadata),
    /// Records removed before they were read, until its first commit passes over them: a next owner would find them gone too.
    pub expired: u64,
    /// Milliseconds of record time between its first undecided span and its clock.
    pub watermark_age: u64,
    /// When it was last seen at the head of its log, in milliseconds of the wall clock, and the position there.
    pub at_head: Option<(i64, i64)>,
    /// When it was seen at the head of its log but for records that wait, and what the wall clock said.
    pub nearly: Option<(Instant, i64)>,
    /// Milliseconds in which nothing was heard of it between two moments at the head, and when the later one was.
    pub unheard: Option<(u64, i64)>,
    /// Milliseconds that its records came behind the wall clock before it was ours. Those that are there when it comes are read
    /// late, and do not tell; so until it is first seen at the head of its log.
    pub delay: Option<i64>,
    /// What librdkafka was told. It remembers a pause over a revocation, so None is not true.
    pub flows: Option<bool>,
    /// What statistics said.
    pub polled: Polled,
}

/// Longer than it takes to look at a partition twice, every half second.
const UNHEARD_MS: u64 = 2_000;
/// A producer tries again to connect after 10 s at most, by librdkafka's default; the other clients' is 1 s.
const BACK_MS: i64 = 10_000;

// === impl Owned ===

impl Owned {
    /// Records between the position and the head of the log.
    pub fn lag(&self) -> u64 {
        (self.high - self.position.max(self.read)).max(0) as u64
    }

    /// Nothing more is to come below its end.
    pub fn end_here(&mut self, engine: &mut Engine) {
        self.end = Some(self.fetched);
        self.finish_at_end(engine);
    }

    /// A finite input that has been read to its end finishes, once.
    pub fn finish_at_end(&mut self, engine: &mut Engine) {
        if !self.finished && self.end.is_some_and(|end| self.position >= end) {
            self.finished = true;
            engine.finish(self.at);
        }
    }

    /// The time that has passed for it, seen at the head of its log now: all since it was there before, unless something came in
    /// between. If nothing was heard of it for long, the broker may have been away, and producers come back later than we do.
    pub fn passed(&mut self, at: i64) -> u64 {
        let before = self.at_head.replace((at, self.position)).filter(|&(_, position)| self.position <= position);
        let Some((before, _)) = before else {
            self.unheard = None;
            return 0;
        };
        let ms = (at - before).max(0) as u64;
        if ms > UNHEARD_MS {
            let more = self.unheard.map_or(0, |(ms, _)| ms);
            self.unheard = Some((more + ms, at));
            return 0;
        }
        let over = self.unheard.take_if(|&mut (_, since)| at - since >= BACK_MS);
        ms + over.map_or(0, |(ms, _)| ms)
    }
}

// === impl Assignment ===

impl Assignment {
    pub fn add(&mut self, owned: Owned) {
        self.owned.push(owned);
        self.index();
    }

    pub fn remove(&mut self, partition: &Partition) -> Option<Owned> {
        let at = self.owned.iter().position(|owned| owned.partition == *partition)?;
        let owned = self.owned.swap_remove(at);
        self.index();
        Some(owned)
    }

    #[inline]
    pub fn find(&mut self, topic: &str, partition: i32) -> Option<&mut Owned> {
        let (_, of) = self.topics.iter().find(|(name, _)| **name == *topic)?;
        let at = (*of.get(usize::try_from(partition).ok()?)?)?;
        self.owned.get_mut(at as usize)
    }

    pub fn by_number(&mut self, at: u32) -> Option<&mut Owned> {
        let at = (*self.numbers.get(at as usize)?)?;
        self.owned.get_mut(at as usize)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Owned> {
        self.owned.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Owned> {
        self.owned.iter_mut()
    }

    /// Whether a watermark is news to be committed. Takes note of its age.
    pub fn commits(&mut self, watermark: &Watermark) -> bool {
        self.by_number(watermark.partition).is_some_and(|owned| {
            owned.watermark_age = watermark.age;
            owned.committed.is_none_or(|committed| !committed.says_the_same(watermark))
        })
    }

    pub fn len(&self) -> usize {
        self.owned.len()
    }

    pub fn is_empty(&self) -> bool {
        self.owned.is_empty()
    }

    fn index(&mut self) {
        self.topics.clear();
        self.numbers.clear();
        for (at, owned) in self.owned.iter().enumerate() {
            let number = owned.at as usize;
            self.numbers.resize(self.numbers.len().max(number + 1), None);
            self.numbers[number] = Some(at as u32);
            let (topic, partition) = &owned.partition;
            let of = match self.topics.iter().position(|(name, _)| name == topic) {
                Some(known) => known,
                None => {
                    self.topics.push((topic.clone(), Vec::new()));
                    self.topics.len() - 1
                }
            };
            let of = &mut self.topics[of].1;
            let partition = *partition as usize;
            of.resize(of.len().max(partition + 1), None);
            of[partition] = Some(at as u32);
        }
    }
}
