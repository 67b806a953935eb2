//! How long the traces of a worker wait for another span.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{
    Malformed,
    keys::{Holder, Key},
    known::{Hears, Known, Remembers, Table},
    operations::{OTHERS, Room},
    quiet::{Periods, Quiet, window},
    trail::Gaps,
};
use crate::model::RecordTime;

/// What all partitions have seen of each operation: those of this worker, and those of others, some ticks late.
///
/// An operation goes by its own gaps once enough of them are known. Until then it goes by those of all such operations together,
/// and teaches them too: so of all that wait by these, no more spans are late than the rule says.
#[derive(Debug)]
pub struct Waits {
    rule: Quiet,
    /// Bytes, of which half are for operations that come, and all for what those that are there learn.
    room: usize,
    known: Known<Quiet>,
    /// What was last made of all that.
    made: HashMap<Holder, Made, FixedState>,
    /// The latest time at which anything was learned.
    latest: Option<RecordTime>,
}

/// How long a trace waits, and by what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    pub periods: Periods,
    /// By what is known of its operation, and not by what is known of the others.
    pub is_known: bool,
}

#[derive(Clone, Copy, Debug)]
struct Made {
    periods: Periods,
    asked: u32,
}

/// Traces that ask for a quiet period until it is looked at again: looking at all partitions costs more than a trace does. So many hardly
/// move what is made of 2,000 spans and more.
const ASKS: u32 = 32;

// === impl Waits ===

impl Waits {
    pub fn new(rule: Quiet, room: usize) -> Self {
        Self { rule, room, known: Known::default(), made: HashMap::default(), latest: None }
    }

    /// How long a trace of this operation waits for another span.
    pub fn wait(&mut self, key: Key) -> Wait {
        if let Some(periods) = self.periods(Holder::Key(key)) {
            return Wait { periods, is_known: true };
        }
        Wait { periods: self.periods(OTHERS).unwrap_or(self.rule.default()), is_known: false }
    }

    /// Learns of the spans of a trace of a partition that was decided, or of late ones. `is_known` is of how it [waited](Wait).
    pub fn learn(&mut self, partition: u32, key: Key, spans: &[Gaps], is_known: bool, now: RecordTime) {
        // When the input has ended, time stands where it was.
        let Some(now) = Some(now).filter(|now| *now != RecordTime::END).or(self.latest) else { return };
        self.advance(now);
        let room = self.room();
        self.known.table(partition, &self.rule, now).learn(key, spans, is_known, room, now);
    }

    /// What its states are written under.
    pub fn name(&self) -> u64 {
        self.rule.name()
    }

    /// Takes on the state of a partition from a life before.
    ///
    /// # Errors
    /// It was not written by this version.
    pub fn restore(&mut self, partition: u32, holder: Holder, value: &[u8]) -> Result<(), Malformed> {
        let state = self.rule.read(value)?;
        let now = self.rule.time(&state);
        self.made.clear();
        if self.room() != Room::Nothing {
            Quiet::put(self.known.table(partition, &self.rule, now), holder, state);
        }
        self.latest = self.latest.max(Some(now));
        Ok(())
    }

    /// Hears what was learned of a partition of another worker.
    ///
    /// # Errors
    /// It was not written by this version.
    pub fn hear(&mut self, partition: u32, holder: Holder, value: &[u8]) -> Result<(), Malformed> {
        let state = self.rule.read(value)?;
        let is_known = self.known.others.of(holder).any(|(of, _)| of == partition);
        if self.room() == Room::Newcomers || is_known && self.room() == Room::Lessons {
            self.known.others.hear(partition, holder, state);
        }
        Ok(())
    }

    /// A partition is no other worker's any more.
    pub fn forget(&mut self, partition: u32) {
        self.known.others.forget(partition);
        self.made.clear();
    }

    /// A partition is another's now, and what was learned of it.
    pub fn revoke(&mut self, partition: u32) {
        self.known.revoke(partition);
        self.made.clear();
    }

    /// What partitions have learned, to be written.
    pub fn tables(&mut self) -> impl Iterator<Item = (u32, &mut dyn Table)> {
        self.known.own.iter_mut().map(|(partition, table)| (*partition, table as &mut dyn Table))
    }

    /// All of it.
    pub fn bytes(&self) -> usize {
        self.known.bytes() + self.made.allocation_size()
    }

    fn room(&self) -> Room {
        match self.bytes() {
            bytes if bytes < self.room / 2 => Room::Newcomers,
            bytes if bytes < self.room => Room::Lessons,
            _ => Room::Nothing,
        }
    }

    /// Time passes: what is not heard of for long is forgotten, and everything is looked at again.
    fn advance(&mut self, now: RecordTime) {
        if self.latest.is_none_or(|latest| window(now) > window(latest)) {
            let Self { rule, known, .. } = self;
            known.others.expire(|state| rule.is_past(state, now));
            self.made.clear();
        }
        self.latest = self.latest.max(Some(now));
    }

    /// What all have seen says of one of them; None where too little is known.
    fn periods(&mut self, holder: Holder) -> Option<Periods> {
        if let Some(made) = self.made.get_mut(&holder).filter(|made| made.asked < ASKS) {
            made.asked += 1;
            return Some(made.periods);
        }
        let own = self.known.own.iter().filter_map(|(_, operations)| operations.state(holder));
        let states = own.chain(self.known.others.of(holder).map(|(_, state)| state));
        // That too little is known is soon told, and is not to be believed for long.
        let periods = self.rule.periods(states)?;
        self.made.insert(holder, Made { periods, asked: 0 });
        Some(periods)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::sample::{known::Written, quiet::State};

    const MAX_WAIT: u64 = 30_000;

    /// One span of a hundred may be late while its trace is whole: 100 spans are enough.
    fn waits() -> Waits {
        Waits::new(Quiet::new(0.98, 5_000, MAX_WAIT), 1 << 20)
    }

    fn key(number: u64) -> Key {
        Key(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Spans with a gap each, one a second.
    fn teach(waits: &mut Waits, partition: u32, number: u64, gap: u64, seconds: Range<i64>) {
        for second in seconds {
            let Wait { is_known, .. } = wait(waits, number);
            waits.learn(partition, key(number), &[Gaps { whole: gap, torn: 0 }], is_known, RecordTime(second * 1000));
        }
    }

    /// What it is when it is looked at again.
    fn wait(waits: &mut Waits, number: u64) -> Wait {
        waits.made.clear();
        waits.wait(key(number))
    }

    /// Whether it is known, and waits for as long as a gap of so many milliseconds.
    fn waits_for(waits: &mut Waits, number: u64, gap: u64) -> bool {
        let Wait { periods, is_known } = wait(waits, number);
        assert!((gap..=gap + gap / 128 + 1).contains(&periods.whole), "{periods:?} for {gap}");
        is_known
    }

    /// Everything that is new.
    fn tell(from: &mut Waits, to: &mut Waits) {
        written(from, |partition, holder, value| to.hear(partition, holder, value).expect("it was written so"));
    }

    fn written(waits: &mut Waits, mut write: impl FnMut(u32, Holder, &[u8])) {
        for (partition, table) in waits.tables() {
            table.write(&mut |holder, state| {
                write(partition, holder, &state.to_bytes());
                true
            });
        }
    }

    #[test]
    fn who_is_not_known_waits_by_the_others() {
        let mut waits = waits();
        let default = Periods { whole: 5_000, torn: MAX_WAIT };
        assert_eq!(waits.wait(key(0)), Wait { periods: default, is_known: false });
        // Fifty operations, with two spans each.
        (0..100).for_each(|at| teach(&mut waits, 0, at as u64 % 50, 700, at..at + 1));
        assert!(!waits_for(&mut waits, 0, 700) && !waits_for(&mut waits, 99, 700));
        // One of them is known, and is slow: it is slow alone.
        teach(&mut waits, 0, 7, 9_000, 100..198);
        assert!(waits_for(&mut waits, 7, 9_000));
        let others = waits.known.own[0].1.state(OTHERS).cloned();
        teach(&mut waits, 0, 7, 20_000, 200..300);
        assert!(waits_for(&mut waits, 7, 20_000));
        assert_eq!(waits.known.own[0].1.state(OTHERS), others.as_ref(), "who is known teaches the others nothing");
    }

    #[test]
    fn it_is_looked_at_again_before_long() {
        let mut waits = waits();
        teach(&mut waits, 0, 1, 700, 0..200);
        assert!(waits_for(&mut waits, 1, 700));
        waits.learn(0, key(1), &[Gaps { whole: 9_000, torn: 0 }; 100], true, RecordTime(200_000));
        let asked: Vec<u64> = (0..=ASKS).map(|_| waits.wait(key(1)).periods.whole).collect();
        assert!(asked[0] < 9_000 && asked[ASKS as usize] >= 9_000, "{asked:?}");
    }

    #[test]
    fn the_end_of_time_is_no_time() {
        let (mut ended, mut other) = (waits(), waits());
        let gaps = [Gaps { whole: 700, torn: 0 }];
        ended.learn(0, key(1), &gaps, false, RecordTime::END);
        assert!(ended.known.own.is_empty(), "at no time");
        for (waits, last) in [(&mut ended, RecordTime::END), (&mut other, RecordTime(99_000))] {
            teach(waits, 0, 1, 700, 0..100);
            waits.learn(0, key(1), &gaps, false, last);
        }
        let of = |waits: &Waits| waits.known.own[0].1.state(Holder::Key(key(1))).cloned();
        assert_eq!(of(&ended), of(&other));
    }

    #[test]
    fn partitions_know_together() {
        let (mut one, mut two) = (waits(), waits());
        // Of a hundred spans, each of four partitions has a quarter, and the longest gap is in the last.
        for partition in 0..4 {
            let at = if partition % 2 == 0 { &mut one } else { &mut two };
            for second in 0..25 {
                teach(at, partition, 1, 100 * (u64::from(partition) + 1), 2 * second..2 * second + 1);
            }
        }
        assert!(!wait(&mut one, 1).is_known, "of half of them");
        tell(&mut two, &mut one);
        tell(&mut one, &mut two);
        assert!(waits_for(&mut one, 1, 400) && waits_for(&mut two, 1, 400));
        one.forget(3);
        assert!(!wait(&mut one, 1).is_known);
        two.revoke(1);
        assert!(!wait(&mut two, 1).is_known);
    }

    #[test]
    fn a_restart_knows_what_was_written() {
        let (mut before, mut after) = (waits(), waits());
        for second in 0..4_000 {
            teach(&mut before, second as u32 % 3, second as u64 % 7, second as u64 * 13 % 901, second..second + 1);
        }
        written(&mut before, |partition, holder, value| {
            after.restore(partition, holder, value).expect("it was written so")
        });
        for number in 0..9 {
            assert_eq!(wait(&mut before, number), wait(&mut after, number), "{number}");
        }
        written(&mut after, |_, _, _| unreachable!("nothing is new"));
    }

    #[test]
    fn what_others_have_not_told_for_a_day_is_forgotten() {
        let (mut own, mut other) = (waits(), waits());
        teach(&mut other, 1, 1, 9_000, 0..200);
        teach(&mut own, 0, 2, 100, 0..1);
        let bytes = own.bytes();
        tell(&mut other, &mut own);
        assert!(waits_for(&mut own, 1, 9_000) && own.bytes() > bytes);
        teach(&mut own, 0, 2, 100, 90_000..90_001);
        assert!(!wait(&mut own, 1).is_known);
        assert_eq!(own.known.others.of(Holder::Key(key(1))).count(), 0);
    }
    #[test]
    fn what_is_learned_has_a_bound() {
        let room = 100_000;
        let mut waits = Waits::new(Quiet::new(0.98, 5_000, MAX_WAIT), room);
        let mut longest = 0;
        for second in 0..20_000 {
            // Names with ids in them, and one that comes often.
            let number = if second % 2 == 0 { 1 } else { second as u64 };
            teach(&mut waits, 0, number, 100 + second as u64 % 7, second..second + 1);
            let heard = State::new(&waits.rule, RecordTime(second * 1000)).to_bytes();
            waits.hear(1, Holder::Key(key(number)), &heard).expect("it was written so");
            longest = longest.max(waits.bytes());
        }
        // A table of names doubles when it is full.
        assert!((room / 2..2 * room).contains(&longest), "{longest}");
        assert!(waits_for(&mut waits, 1, 106), "what is frequent is known");
        assert!(!waits_for(&mut waits, 19_999, 106), "and what has no place goes by all others");
    }
}
