//! What all samplers of a worker have learned.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use prost::Message;

use super::{
    Others,
    coverage::Coverage,
    keys::{self, Holder, Key, Keys},
    schema,
    sketch::Malformed,
    slowest::{Fate, Slowest, State},
};
use crate::model::RecordTime;

/// By sampler and partition.
#[derive(Debug, Default)]
pub struct States {
    samplers: HashMap<u64, Vec<(u32, Keys)>, FixedState>,
    others: Others,
    /// Of all samplers and partitions, the one that has the first turn to be written.
    first: usize,
    /// The latest time at which anything was learned.
    latest: Option<RecordTime>,
}

/// A trace, as a sampler sees it.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub key: Key,
    pub value: f64,
    /// When it was decided.
    pub time: RecordTime,
}

/// A state as it is written: the last of a partition and a name counts. `P` is how the partition is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned<P = u32> {
    pub partition: P,
    pub name: Name,
    pub value: Vec<u8>,
}

/// Whose state it is, in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    pub sampler: u64,
    pub holder: Holder,
}

/// Keys of a sampler in a partition that have a state of their own. What is beyond shares.
const KEYS_MAX: usize = 10_000;

fn read(value: &[u8], rule: &Slowest) -> Result<State, Malformed> {
    State::read(&schema::Slowest::decode(value).map_err(|_| Malformed("no message"))?, rule)
}

// === impl States ===

impl States {
    /// With what probability a trace is to be kept.
    pub fn probability(&self, sampler: u64, rule: &Slowest, Measured { key, value, time }: Measured) -> f64 {
        let partitions = self.samplers.get(&sampler).into_iter().flatten().map(|(_, keys)| keys);
        let others = |holder| self.others.states(Name { sampler, holder });
        keys::probability(rule, key, value, self.at(time), partitions, others)
    }

    /// Learns of a trace of a partition, and tells what came of the windows that are over now.
    pub fn learn(
        &mut self,
        (sampler, partition): (u64, u32),
        rule: &Slowest,
        Measured { key, value, time }: Measured,
        fate: Fate,
    ) -> Coverage {
        let time = self.at(time);
        self.latest = self.latest.max(Some(time));
        let over = self.keys((sampler, partition), rule, time).learn(key, value, fate, time);
        over.iter().fold(Coverage::default(), |mut sum, (_, window)| {
            sum += Coverage::of(window);
            sum
        })
    }

    /// Writes what was learned since it was last written, up to about so many bytes; what finds no room has its turn later.
    pub fn write(&mut self, mut room: usize, to: &mut Vec<Learned>) {
        let all =
            self.samplers.iter_mut().flat_map(|(sampler, of)| of.iter_mut().map(|(of, keys)| (*sampler, *of, keys)));
        let mut all: Vec<_> = all.collect();
        if all.is_empty() {
            return;
        }
        self.first = (self.first + 1) % all.len();
        all.rotate_left(self.first);
        for (sampler, partition, keys) in all {
            keys.write(|holder, state| {
                if room == 0 {
                    return false;
                }
                let value = state.write().encode_to_vec();
                room = room.saturating_sub(value.len() + size_of::<Learned>());
                to.push(Learned { partition, name: Name { sampler, holder }, value });
                true
            });
        }
    }

    /// Takes on what was written of a partition in a life before, of a sampler with this rule.
    ///
    /// # Errors
    /// Nothing of this version wrote it.
    pub fn restore(&mut self, written: &Learned, rule: &Slowest) -> Result<(), Malformed> {
        let Learned { partition, name: Name { sampler, holder }, ref value } = *written;
        let state = read(value, rule)?;
        let time = state.time(rule);
        self.latest = self.latest.max(Some(time));
        self.keys((sampler, partition), rule, time).put(holder, state);
        Ok(())
    }

    /// Hears what was learned of a partition of another worker, which is numbered apart from those of this one.
    ///
    /// # Errors
    /// Nothing of this version wrote it.
    pub fn hear(&mut self, written: &Learned, rule: &Slowest) -> Result<(), Malformed> {
        self.others.hear(written.partition, written.name, read(&written.value, rule)?);
        Ok(())
    }

    /// What others have not learned anything more of for long is forgotten, and what samplers have learned that have no rule.
    pub fn expire<'r>(&mut self, rule: impl Fn(u64) -> Option<&'r Slowest>) {
        let Some(now) = self.latest else { return };
        self.others.retain(|_, name, state| {
            rule(name.sampler).is_some_and(|rule| rule.number(now).saturating_sub(state.window()) <= keys::IDLE_WINDOWS)
        });
    }

    /// A partition is no other worker's any more.
    pub fn unhear(&mut self, other: u32) {
        self.others.retain(|of, _, _| of != other);
    }

    /// A partition is another's now, and what was learned of it.
    pub fn revoke(&mut self, partition: u32) {
        self.samplers.retain(|_, of| {
            of.retain(|(owner, _)| *owner != partition);
            !of.is_empty()
        });
    }

    /// Forgets what other samplers have learned.
    pub fn retain(&mut self, is_asked: impl Fn(u64) -> bool) {
        self.samplers.retain(|sampler, _| is_asked(*sampler));
        self.others.retain(|_, name, _| is_asked(name.sampler));
    }

    pub fn bytes(&self) -> usize {
        self.samplers.values().flatten().map(|(_, keys)| keys.bytes()).sum::<usize>() + self.others.bytes()
    }

    fn keys(&mut self, (sampler, partition): (u64, u32), rule: &Slowest, time: RecordTime) -> &mut Keys {
        let of = self.samplers.entry(sampler).or_default();
        let place = of.iter().position(|(owner, _)| *owner == partition).unwrap_or_else(|| {
            of.push((partition, Keys::new(*rule, KEYS_MAX, time)));
            of.len() - 1
        });
        &mut of[place].1
    }

    /// When the input has ended, time stands where it was.
    fn at(&self, time: RecordTime) -> RecordTime {
        if time == RecordTime::END { self.latest.unwrap_or(RecordTime(0)) } else { time }
    }
}

// === impl Learned ===

impl<P> Learned<P> {
    /// The same, where the partition is called otherwise.
    pub fn called<Q>(self, partition: Q) -> Learned<Q> {
        let Self { partition: _, name, value } = self;
        Learned { partition, name, value }
    }
}

// === impl Name ===

impl Name {
    pub fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(&self.sampler.to_be_bytes());
        bytes[8..].copy_from_slice(&self.holder.to_bytes());
        bytes
    }

    /// None of what was not written by `to_bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (sampler, holder) = bytes.split_first_chunk()?;
        let holder = Holder::from_bytes(holder.try_into().ok()?)?;
        Some(Self { sampler: u64::from_be_bytes(*sampler), holder })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: fn() -> Slowest = || Slowest::new(0.99, 60_000);

    fn learn(states: &mut States, partition: u32, key: u64, value: f64, time: i64) {
        let measured = Measured { key: key_of(key), value, time: RecordTime(time) };
        states.learn((7, partition), &RULE(), measured, Fate::default());
    }

    fn key_of(number: u64) -> Key {
        Key(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn written(states: &mut States) -> Vec<Learned> {
        let mut written = Vec::new();
        states.write(usize::MAX, &mut written);
        written
    }

    #[test]
    fn what_is_written_is_remembered() {
        let mut states = States::default();
        for number in 0..1000 {
            learn(&mut states, 3, number % 5, number as f64, number as i64 * 100);
        }
        let mut restored = States::default();
        for state in written(&mut states) {
            assert_eq!(Name::from_bytes(&state.name.to_bytes()), Some(state.name));
            restored.restore(&state, &RULE()).expect("it was written so");
        }
        assert!(written(&mut states).is_empty(), "nothing is new");
        assert!(written(&mut restored).is_empty(), "nothing is new");
        for value in [1.0, 500.0, 900.0, 985.0, 990.0, 995.0, 1005.0] {
            let at = Measured { key: key_of(2), value, time: RecordTime(100_000) };
            let [before, after] = [&states, &restored].map(|states| states.probability(7, &RULE(), at));
            assert_eq!(before, after, "{value}");
        }
        assert_eq!(
            States::default().probability(7, &RULE(), Measured { key: key_of(2), value: 1.0, time: RecordTime(0) }),
            1.0
        );
        let at = Measured { key: key_of(2), value: 1.0, time: RecordTime(100_000) };
        assert_eq!(restored.probability(7, &RULE(), at), 0.0, "a second warm-up would keep it");
    }

    #[test]
    fn what_others_have_learned_counts() {
        let (mut own, mut other) = (States::default(), States::default());
        for number in 0..1000 {
            learn(&mut own, 0, 1, f64::from(number), 0);
            learn(&mut other, 0, 1, f64::from(number + 1000), 0);
        }
        let probability = |states: &States, value| {
            states.probability(7, &RULE(), Measured { key: key_of(1), value, time: RecordTime(0) })
        };
        assert_eq!(probability(&own, 999.5), 1.0);
        // Partition 0 of another is not our own.
        written(&mut other).iter().for_each(|state| own.hear(state, &RULE()).expect("it was written so"));
        assert_eq!((probability(&own, 999.5), probability(&own, 1999.5)), (0.0, 1.0));
        let heard = own.bytes();
        written(&mut other).iter().for_each(|state| own.hear(state, &RULE()).expect("it was written so"));
        assert_eq!(own.bytes(), heard, "nothing is new");
        assert!(written(&mut own).iter().all(|state| state.partition == 0), "what is others' is for them to write");

        own.unhear(1);
        assert_eq!(probability(&own, 999.5), 0.0, "it was another");
        own.unhear(0);
        assert_eq!(probability(&own, 999.5), 1.0);

        learn(&mut other, 0, 1, 1.0, 0);
        written(&mut other).iter().for_each(|state| own.hear(state, &RULE()).expect("it was written so"));
        learn(&mut own, 0, 1, 1.0, 60_000 * (keys::IDLE_WINDOWS + 1));
        let known = own.bytes();
        own.expire(|_| None::<&Slowest>);
        assert!(own.bytes() < known);
    }

    #[test]
    fn what_was_not_written_here_is_refused() {
        let mut states = States::default();
        let name = Name { sampler: 7, holder: Holder::Group(1) };
        for value in [&b""[..], b"\xff", b"\x08\x02", b"\x08\x01"] {
            assert!(
                states.restore(&Learned { partition: 0, name, value: value.to_vec() }, &RULE()).is_err(),
                "{value:?}"
            );
        }
        assert_eq!(states.bytes(), 0);
        for name in [&b""[..], &[0; 16], &[0; 18], &[2; 17], &[1; 17]] {
            assert_eq!(Name::from_bytes(name), None, "{name:?}");
        }
    }

    #[test]
    fn no_more_is_written_than_there_is_room_for() {
        let mut states = States::default();
        for number in 0..10_000 {
            learn(&mut states, 0, number % 100, number as f64, 0);
        }
        let (mut some, mut all) = (Vec::new(), 0);
        states.write(1000, &mut some);
        all += some.len();
        assert!(some.iter().map(|state| state.value.len()).sum::<usize>() < 1000 + 10_000);
        assert!(some.len() < 20, "{}", some.len());
        all += written(&mut states).len();
        assert!(all > 100, "{all}");
    }

    #[test]
    fn all_partitions_have_their_turn() {
        let mut states = States::default();
        let mut written = std::collections::BTreeSet::new();
        // Everything is touched all the time, and there is room for one state.
        for _ in 0..4 {
            (0..4).for_each(|partition| learn(&mut states, partition, 0, 1.0, 0));
            let mut one = Vec::new();
            states.write(1, &mut one);
            written.extend(one.iter().map(|state| state.partition));
        }
        assert_eq!(written.len(), 4, "{written:?}");
    }
}
