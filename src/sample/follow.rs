//! What kept traces have in common with others that belong to the same causal group: for a time, those are kept too.
//!
//! A kept trace leaves marks: the hashes of what tells its group. They are written in blocks, which follow each other in a ring.
//! The id of a message never comes again, and on a compacted topic a state of its own would stay forever.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{
    Malformed,
    keys::{Holder, Key},
    known::{self, Hears, Known, Remembers, Written},
    pack::{Reader, VALUE, Writer},
};
use crate::model::RecordTime;

/// The rule, in milliseconds of record time: how long marks last, and how much longer than others a trace waits for one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Follow {
    pub lasts: u64,
    pub wait: u64,
}

/// Something of a kept trace that others may have too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// All traces like the one that began the group are kept; else it was one of a sample.
    pub certain: bool,
    pub until: RecordTime,
}

/// The marks of a partition.
#[derive(Debug, Default)]
pub struct Marks {
    /// In the order of their numbers; the last is the one that is filled.
    blocks: VecDeque<Block>,
    index: Index,
    /// Of the next block.
    number: u64,
    /// Those from here on are to be written.
    changed: Option<u64>,
}

/// Marks that are written together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    number: u64,
    marks: Vec<(u64, Mark)>,
}

/// The marks of other workers' partitions.
#[derive(Debug, Default)]
pub struct Heard {
    blocks: HashMap<(u32, Holder), Block, FixedState>,
    /// Bytes of all marks: what is held is asked for at every decision.
    bytes: usize,
    index: Index,
}

/// When the last marks of each key are over.
#[derive(Debug, Default)]
struct Index(HashMap<u64, Ends, FixedState>);

#[derive(Clone, Copy, Debug)]
struct Ends {
    certain: RecordTime,
    by_chance: RecordTime,
}

/// Marks in a block: each tick writes the one that is filled.
const BLOCK_MARKS: usize = 128;

/// Blocks of a partition, at most: 102,400 marks, which take 6 MB. A partition that keeps 50 traces a second with three keys each
/// needs 90,000 for ten minutes.
const BLOCKS: u64 = 800;

// === impl Follow ===

impl Follow {
    /// The best mark that any of these keys has.
    pub fn find(keys: &[u64], known: &Known<Self>, now: RecordTime) -> Option<Mark> {
        let own = known.own.iter().map(|(_, marks)| &marks.index);
        own.chain([&known.others.index]).flat_map(|index| keys.iter().filter_map(|key| index.find(*key, now))).max()
    }

    /// Marks these keys of a trace of the partition, and says how many marks have left before their time for want of room.
    pub fn mark(self, partition: u32, keys: &[u64], mark: Mark, known: &mut Known<Self>, now: RecordTime) -> u64 {
        let marks = known.table(partition, &self, now);
        marks.expire(now);
        keys.iter().map(|key| marks.add(*key, mark, now)).sum()
    }
}

impl Remembers for Follow {
    type State = Block;
    type Table = Marks;
    type Others = Heard;

    fn table(&self, _: RecordTime) -> Marks {
        Marks::default()
    }

    fn put(marks: &mut Marks, _: Holder, block: Block) {
        marks.put(block);
    }

    fn read(&self, value: &[u8]) -> Result<Block, Malformed> {
        Block::from_bytes(value)
    }

    fn time(&self, block: &Block) -> RecordTime {
        RecordTime(block.last().0.saturating_sub(i64::try_from(self.lasts).unwrap_or(i64::MAX)))
    }

    fn is_past(&self, block: &Block, now: RecordTime) -> bool {
        block.last() < now
    }

    /// What was kept was kept, whosever the partition is.
    fn revoked(partition: u32, marks: Marks, others: &mut Heard) {
        marks.blocks.into_iter().for_each(|block| others.hear(partition, block.holder(), block));
    }
}

// === impl Marks ===

impl Marks {
    fn add(&mut self, key: u64, mark: Mark, now: RecordTime) -> u64 {
        if !self.index.add(key, mark) {
            return 0;
        }
        let mut gone = 0;
        if self.blocks.back().is_none_or(|block| block.marks.len() >= BLOCK_MARKS) {
            self.blocks.push_back(Block { number: self.number, marks: Vec::new() });
            self.number += 1;
            if self.blocks.len() as u64 > BLOCKS {
                gone = self.drop_first(now);
            }
        }
        if let Some(block) = self.blocks.back_mut() {
            block.marks.push((key, mark));
            self.changed = Some(self.changed.map_or(block.number, |changed| changed.min(block.number)));
        }
        gone
    }

    fn put(&mut self, block: Block) {
        self.number = self.number.max(block.number + 1);
        self.index.add_all(&block);
        let at = self.blocks.partition_point(|before| before.number < block.number);
        self.blocks.insert(at, block);
    }

    /// The last one stays: it is filled further.
    fn expire(&mut self, now: RecordTime) {
        while self.blocks.len() > 1 && self.blocks[0].last() < now {
            self.drop_first(now);
        }
    }

    /// Says how many of it were not over.
    fn drop_first(&mut self, now: RecordTime) -> u64 {
        let Some(first) = self.blocks.pop_front() else { return 0 };
        self.index.remove_all(&first);
        first.marks.iter().filter(|(_, mark)| mark.until >= now).count() as u64
    }

    /// Bytes that are to be written, at most, with one block more.
    pub fn unwritten(&self) -> usize {
        (self.changed.map_or(0, |changed| self.number - changed) as usize + 1) * Block::WRITTEN
    }
}

impl known::Table for Marks {
    fn write(&mut self, write: &mut dyn FnMut(Holder, &dyn Written) -> bool) {
        let Some(changed) = self.changed else { return };
        for block in self.blocks.iter().filter(|block| block.number >= changed) {
            if !write(block.holder(), block) {
                self.changed = Some(block.number);
                return;
            }
        }
        self.changed = None;
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.blocks.capacity() * size_of::<Block>()
            + self.blocks.len() * BLOCK_MARKS * size_of::<(u64, Mark)>()
            + self.index.0.allocation_size()
    }
}

// === impl Block ===

impl Block {
    /// Bytes of one that is written, at most.
    pub const WRITTEN: usize = 16 + BLOCK_MARKS * 18;

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.marks.len()
    }

    fn holder(&self) -> Holder {
        Holder::Key(Key(self.number % BLOCKS))
    }

    /// When all of it is over.
    fn last(&self) -> RecordTime {
        self.marks.iter().map(|(_, mark)| mark.until).max().unwrap_or(RecordTime::START)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes)?;
        // The next has a number too.
        let number = Some(from.number()?).filter(|number| *number < u64::MAX).ok_or(VALUE)?;
        let count = from.count(BLOCK_MARKS)?;
        let mut marks = Vec::with_capacity(count);
        for _ in 0..count {
            let (key, said) = (from.key()?, from.number()?);
            let until = i64::try_from(said >> 1).map_err(|_| VALUE)?;
            marks.push((key, Mark { certain: said & 1 == 1, until: RecordTime(until) }));
        }
        from.end()?;
        Ok(Self { number, marks })
    }
}

impl Written for Block {
    fn to_bytes(&self) -> Vec<u8> {
        let mut into = Writer::new();
        into.number(self.number);
        into.number(self.marks.len() as u64);
        for (key, Mark { certain, until }) in &self.marks {
            into.key(*key);
            // Half of all time is more than enough.
            into.number((until.0.max(0) as u64) << 1 | u64::from(*certain));
        }
        into.bytes()
    }
}

impl known::State for Block {
    fn bytes(&self) -> usize {
        self.marks.capacity() * size_of::<(u64, Mark)>()
    }
}

// === impl Heard ===

impl Hears<Block> for Heard {
    fn hear(&mut self, partition: u32, holder: Holder, block: Block) {
        self.bytes += known::State::bytes(&block);
        if let Some(before) = self.blocks.remove(&(partition, holder)) {
            self.bytes -= known::State::bytes(&before);
            self.index.remove_all(&before);
        }
        self.index.add_all(&block);
        self.blocks.insert((partition, holder), block);
    }

    fn forget(&mut self, partition: u32) {
        self.retain(|of, _| of != partition);
    }

    fn expire(&mut self, is_past: impl Fn(&Block) -> bool) {
        self.retain(|_, block| !is_past(block));
    }

    fn bytes(&self) -> usize {
        self.blocks.allocation_size() + self.bytes + self.index.0.allocation_size()
    }
}

impl Heard {
    fn retain(&mut self, stays: impl Fn(u32, &Block) -> bool) {
        let Self { blocks, bytes, index } = self;
        blocks.retain(|(partition, _), block| {
            let stays = stays(*partition, block);
            if !stays {
                *bytes -= known::State::bytes(block);
                index.remove_all(block);
            }
            stays
        });
    }
}

// === impl Index ===

impl Index {
    fn find(&self, key: u64, now: RecordTime) -> Option<Mark> {
        let Ends { certain, by_chance } = *self.0.get(&key)?;
        let ends = [Mark { certain: true, until: certain }, Mark { certain: false, until: by_chance }];
        ends.into_iter().find(|mark| mark.until >= now)
    }

    /// False where one that is as good lasts as long.
    fn add(&mut self, key: u64, mark: Mark) -> bool {
        let ends = self.0.entry(key).or_insert(Ends::NONE);
        let is_news = mark.until > ends.certain && (mark.certain || mark.until > ends.by_chance);
        if is_news {
            *ends.of(mark) = mark.until;
        }
        is_news
    }

    fn add_all(&mut self, block: &Block) {
        for (key, mark) in &block.marks {
            self.add(*key, *mark);
        }
    }

    /// One that lasts longer, for another block's sake, stays.
    fn remove_all(&mut self, block: &Block) {
        for (key, mark) in &block.marks {
            let Some(ends) = self.0.get_mut(key) else { continue };
            let end = ends.of(*mark);
            if *end == mark.until {
                *end = RecordTime::START;
            }
            if ends.certain == RecordTime::START && ends.by_chance == RecordTime::START {
                self.0.remove(key);
            }
        }
    }
}

// === impl Ends ===

impl Ends {
    const NONE: Self = Self { certain: RecordTime::START, by_chance: RecordTime::START };

    fn of(&mut self, mark: Mark) -> &mut RecordTime {
        if mark.certain { &mut self.certain } else { &mut self.by_chance }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::sample::known::{State as _, Table as _};

    const RULE: Follow = Follow { lasts: 60_000, wait: 0 };

    fn mark(known: &mut Known<Follow>, partition: u32, keys: impl IntoIterator<Item = u64>, at: i64) -> u64 {
        let mark = Mark { certain: true, until: RecordTime(at + 60_000) };
        let keys: Vec<_> = keys.into_iter().collect();
        RULE.mark(partition, &keys, mark, known, RecordTime(at))
    }

    fn is_marked(known: &Known<Follow>, key: u64, at: i64) -> bool {
        Follow::find(&[key], known, RecordTime(at)).is_some()
    }

    fn written(known: &mut Known<Follow>, partition: u32) -> Vec<(Holder, Vec<u8>)> {
        let mut written = Vec::new();
        known.table(partition, &RULE, RecordTime(0)).write(&mut |holder, state| {
            written.push((holder, state.to_bytes()));
            true
        });
        written
    }

    fn read(bytes: &[u8]) -> Block {
        RULE.read(bytes).expect("it was written so")
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in 0..u64::MAX, marks in vec((any::<u64>(), any::<bool>(), 0..i64::MAX), 0..=BLOCK_MARKS)) {
            let mark = |(key, certain, until)| (key, Mark { certain, until: RecordTime(until) });
            let block = Block { number, marks: marks.into_iter().map(mark).collect() };
            let bytes = block.to_bytes();
            prop_assert!(bytes.len() <= Block::WRITTEN, "{}", bytes.len());
            prop_assert_eq!(&Block::from_bytes(&bytes).unwrap(), &block);
            for end in 0..bytes.len() {
                prop_assert!(Block::from_bytes(&bytes[..end]).is_err());
            }
            prop_assert!(Block::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn marks_last_for_their_time() {
        let mut known = Known::default();
        mark(&mut known, 0, [1, 2], 0);
        assert!(is_marked(&known, 1, 60_000) && is_marked(&known, 2, 0) && !is_marked(&known, 3, 0));
        assert!(!is_marked(&known, 1, 60_001));
    }

    #[test]
    fn a_tick_writes_what_is_new() {
        let mut known = Known::default();
        mark(&mut known, 0, 0..1000, 0);
        assert_eq!(written(&mut known, 0).len(), 8);
        assert!(written(&mut known, 0).is_empty());
        mark(&mut known, 0, 0..1000, 0);
        assert!(written(&mut known, 0).is_empty(), "as long as before");
        mark(&mut known, 0, [1000], 0);
        let more = written(&mut known, 0);
        assert_eq!(more.len(), 1);
        assert_eq!(read(&more[0].1).marks.len(), 1000 % BLOCK_MARKS + 1);
        // All that is written may take no more than was said.
        mark(&mut known, 0, 2000..9999, 0);
        let room = known.table(0, &RULE, RecordTime(0)).unwritten();
        let bytes: usize = written(&mut known, 0).iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes <= room, "{bytes} of {room}");
    }

    #[test]
    fn a_life_after_goes_on_where_the_one_before_was() {
        let (mut before, mut after) = (Known::default(), Known::default());
        mark(&mut before, 0, 0..300, 0);
        let mut blocks = written(&mut before, 0);
        blocks.reverse();
        for (holder, bytes) in &blocks {
            Follow::put(after.table(0, &RULE, RecordTime(0)), *holder, read(bytes));
        }
        assert!((0..300).all(|key| is_marked(&after, key, 0)));
        assert!(written(&mut after, 0).is_empty());
        for known in [&mut before, &mut after] {
            mark(known, 0, [300], 1);
        }
        assert_eq!(written(&mut before, 0), written(&mut after, 0));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut known = Known::default();
        let most = BLOCKS * BLOCK_MARKS as u64;
        assert_eq!(mark(&mut known, 0, 0..most, 0), 0);
        let holders: std::collections::BTreeSet<_> =
            written(&mut known, 0).into_iter().map(|(holder, _)| holder).collect();
        assert_eq!(holders.len() as u64, BLOCKS);
        assert_eq!(mark(&mut known, 0, [most], 0), BLOCK_MARKS as u64, "the oldest leave");
        assert!(!is_marked(&known, 0, 0) && is_marked(&known, BLOCK_MARKS as u64, 0) && is_marked(&known, most, 0));
        assert!(holders.contains(&written(&mut known, 0)[0].0), "and so do they in the topic");
        let full = known.bytes();
        assert!(full < 7 << 20, "{full}");
        assert_eq!(mark(&mut known, 0, most + 1..2 * most, 60_001), 0, "what is over is no loss");
        assert!(known.bytes() <= full);
    }

    #[test]
    fn what_others_say_holds_until_they_say_otherwise() {
        let (mut own, mut other) = (Known::<Follow>::default(), Known::default());
        mark(&mut other, 1, 0..10, 0);
        for round in 0..2 {
            for (holder, bytes) in written(&mut other, 1) {
                own.others.hear(1, holder, read(&bytes));
            }
            assert!((0..10 + round).all(|key| is_marked(&own, key, 0)), "{round}");
            mark(&mut other, 1, [10], 0);
        }
        let heard = own.others.bytes();
        // The ring has come round: what was in the block is gone.
        let marks = vec![(77, Mark { certain: false, until: RecordTime(60_000) })];
        own.others.hear(1, Holder::Key(Key(0)), Block { number: BLOCKS, marks });
        assert!(!is_marked(&own, 1, 0) && is_marked(&own, 77, 0));
        assert!(own.others.bytes() <= heard);
        own.others.expire(|block| RULE.is_past(block, RecordTime(60_001)));
        assert!(!is_marked(&own, 77, 0) && own.others.index.0.is_empty());
        // A partition that goes to another worker was this one's until then.
        mark(&mut own, 0, [5], 0);
        own.revoke(0);
        assert!(is_marked(&own, 5, 0));
        own.others.forget(0);
        assert!(!is_marked(&own, 5, 0));
        assert!(Block::default().bytes() == 0);
    }

    /// Whichever came first, also in a life after and for others.
    #[test]
    fn a_certain_mark_is_the_better_one_as_long_as_it_lasts() {
        let by_chance = Mark { certain: false, until: RecordTime(9) };
        let certain = Mark { certain: true, until: RecordTime(1) };
        for marks in [[by_chance, certain], [certain, by_chance]] {
            let [mut known, mut after, mut other] = [(); 3].map(|()| Known::<Follow>::default());
            for mark in marks {
                RULE.mark(0, &[1], mark, &mut known, RecordTime(0));
            }
            for (holder, bytes) in written(&mut known, 0) {
                Follow::put(after.table(0, &RULE, RecordTime(0)), holder, read(&bytes));
                other.others.hear(0, holder, read(&bytes));
            }
            for known in [known, after, other] {
                assert_eq!(Follow::find(&[2, 1], &known, RecordTime(0)), Some(certain));
                assert_eq!(Follow::find(&[1], &known, RecordTime(2)), Some(by_chance), "the other is over sooner");
                assert_eq!(Follow::find(&[1], &known, RecordTime(10)), None);
            }
        }
    }
}
