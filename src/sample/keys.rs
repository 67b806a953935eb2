//! Which keys have a state of their own.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use prost::Message;

use super::{
    Malformed, Measured, Others, Rank,
    coverage::Coverage,
    known::{self, Division, Known, Learns, Remembers, State as _, Written},
    schema,
    sketch::Sketch,
    slowest::{Fate, Place, Slowest, State, Window},
};
use crate::model::RecordTime;

/// What a partition has seen of each key. What is bounded is the number of keys that have a state of their own.
///
/// A key earns one by its traffic, and not by coming first: until it has been seen `EARNS` times, it shares the state of its
/// *group*, that is of all such keys with the same low bits. Keys of which each is seen once, as of ids in a name, stay there, and
/// together cost what one key costs. Where all places are taken, a key that has been seen more often than another has its place.
/// One that has not been seen for `IDLE_WINDOWS` leaves.
///
/// Source: the candidates are counted as by Misra, Gries, "Finding Repeated Elements", Science of Computer Programming 2 (1982),
/// in sets of four.
#[derive(Debug)]
pub struct Keys {
    rule: Slowest,
    most: usize,
    groups: Vec<Held>,
    owners: Vec<Held>,
    /// By key: the place among the owners.
    places: HashMap<Key, u32, FixedState>,
    candidates: Vec<Candidate>,
    /// How often one found no place since there were so many places.
    crowded: usize,
    /// Where among the owners the next to give way is looked for.
    hand: usize,
    /// Where among all states the next to be written is looked for.
    next: usize,
    /// The number of the window under way.
    window: i64,
    /// Bytes of all states, beside their own size: what is held is asked for at every decision.
    states: usize,
}

/// The hash of the values of the attributes that make a key: the same in all workers and versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

/// Whose a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    Key(Key),
    /// Below `GROUPS`.
    Group(u8),
}

#[derive(Debug)]
struct Held {
    holder: Holder,
    state: State,
    /// The last window in which it learned something.
    seen: i64,
    /// It has learned something since it was last written.
    touched: bool,
    /// Seen as a candidate, before it had a state; it counts less with each window.
    earned: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Candidate {
    /// The low bits of the key; the others are in its place.
    key: u32,
    /// 0 where there is none.
    seen: u16,
}

/// No more keys can have a state of their own: with their candidates and no values, that is 400 MB.
pub const KEYS_MAX: usize = 1 << 20;
/// Keys of a sampler in a partition that have a state of their own, in a processor. What is beyond shares.
const OWNERS: usize = 10_000;
/// There is room for the candidates of so many at first, and of twice as many when they have come.
const KEYS_FIRST: usize = 64;
/// So many groups. What they keep is bounded as that of so many keys; of one group, values of different kinds are compared.
pub const GROUPS: u8 = 64;
/// Seen so often, a key has a state of its own: the first few values of a state are all kept, and are to be few of its traffic.
pub const EARNS: u16 = 32;
/// Windows without a value after which a key leaves: two hours of ten minutes.
pub const IDLE_WINDOWS: i64 = 12;
/// Owners among which the one to give way is looked for at a time.
const LOOKS: usize = 16;
/// Candidates for each key that may have a state of its own. A key that is a third of what is seen of those in its set is found.
const CANDIDATES: usize = 4;
/// Candidates that may drive each other out.
const SET: usize = 4;

/// Where a value of this key stands, by what is known of all partitions: of those of this worker, and of others, what each has of a key or
/// group.
pub fn place<'k, O: Iterator<Item = &'k State> + Clone>(
    rule: &Slowest,
    key: Key,
    value: f64,
    now: RecordTime,
    partitions: impl Iterator<Item = &'k Keys> + Clone,
    others: impl Fn(Holder) -> O,
) -> Place {
    let of = |holder| partitions.clone().filter_map(move |keys| keys.state(holder)).chain(others(holder));
    // A key may have a state of its own in some partitions, and not in others, where little of it is seen.
    let holder = if of(Holder::Key(key)).next().is_some() { Holder::Key(key) } else { key.group() };
    rule.place(value, now, of(holder))
}

/// How much was covered of a partition's window that is over, by what is known of all partitions: what each has of the window's
/// holder.
pub fn coverage<'s>(
    rule: &Slowest,
    partition: u32,
    window: &Window,
    partitions: impl Iterator<Item = (u32, &'s State)>,
) -> Coverage {
    let number = rule.number(window.start);
    let others = partitions.filter(|(other, _)| *other != partition);
    let mut others: Vec<(u32, &Sketch)> =
        others.filter_map(|(other, state)| Some((other, state.values(number)?))).collect();
    others.sort_unstable_by_key(|(other, _)| *other);
    let before = others.partition_point(|(other, _)| *other < partition);
    let sketches: Vec<&Sketch> = others.into_iter().map(|(_, sketch)| sketch).collect();
    Coverage::of(window, &sketches[..before], &sketches[before..])
}

// === impl Known ===

impl Known<Slowest> {
    /// How many of a trace's key are beyond it.
    pub fn rank(&self, rule: &Slowest, measured: Measured) -> Rank {
        self.place(rule, measured).rank()
    }

    fn place(&self, rule: &Slowest, measured: Measured) -> Place {
        let Measured { key, value, time, .. } = measured;
        let own = self.own.iter().map(|(_, keys)| keys);
        place(rule, key, value, time, own, |holder| self.others.of(holder).map(|(_, state)| state))
    }
}

// === impl Keys ===

impl Keys {
    /// At most `most` keys have a state of their own, at least one and never more than `KEYS_MAX`.
    pub fn new(rule: Slowest, most: usize, now: RecordTime) -> Self {
        let most = most.clamp(1, KEYS_MAX);
        let group = |group| Held::new(Holder::Group(group), State::new(&rule, now));
        Self {
            rule,
            most,
            groups: (0..GROUPS).map(group).collect(),
            owners: Vec::new(),
            places: HashMap::default(),
            candidates: vec![Candidate::default(); most.min(KEYS_FIRST) * CANDIDATES],
            crowded: 0,
            hand: 0,
            next: 0,
            window: rule.number(now),
            states: 0,
        }
    }

    /// Whose state a key's values are in.
    pub fn holder(&self, key: Key) -> Holder {
        if self.places.contains_key(&key) { Holder::Key(key) } else { key.group() }
    }

    /// None of a key that has no state of its own.
    pub fn state(&self, holder: Holder) -> Option<&State> {
        match holder {
            Holder::Key(key) => self.places.get(&key).map(|&place| &self.owners[place as usize].state),
            Holder::Group(group) => self.groups.get(usize::from(group)).map(|held| &held.state),
        }
    }

    /// Learns of a trace. Gives the windows that are over now.
    pub fn learn(&mut self, key: Key, value: f64, fate: Fate, now: RecordTime) -> Vec<(Holder, Window)> {
        let over = self.advance(now);
        let held = match self.holder(key) {
            Holder::Key(key) => &mut self.owners[self.places[&key] as usize],
            Holder::Group(group) => &mut self.groups[usize::from(group)],
        };
        self.states -= held.state.bytes();
        held.state.learn(&self.rule, value, fate, now);
        self.states += held.state.bytes();
        (held.seen, held.touched) = (self.window, true);
        if let Holder::Group(_) = held.holder {
            self.consider(key, now);
        }
        over
    }

    /// Time passes. Gives the windows that are over now; keys that have been idle leave.
    pub fn advance(&mut self, now: RecordTime) -> Vec<(Holder, Window)> {
        let mut over = Vec::new();
        if self.rule.number(now) <= self.window {
            return over;
        }
        self.window = self.rule.number(now);
        for held in self.groups.iter_mut().chain(&mut self.owners) {
            let window = held.state.advance(&self.rule, now).filter(|window| window.values.count() > 0);
            over.extend(window.map(|window| (held.holder, window)));
            held.earned /= 2;
        }
        self.states = self.held().map(|held| held.state.bytes()).sum();
        for place in (0..self.owners.len()).rev() {
            if self.window.saturating_sub(self.owners[place].seen) > IDLE_WINDOWS {
                self.remove(place);
            }
        }
        // What is compared with two windows of others is not to be of ten.
        if self.owners.len() == self.most {
            self.candidates.iter_mut().for_each(|candidate| candidate.seen /= 2);
        }
        over
    }

    /// Takes the state of a life before, or of another worker. One for which there is no place is left out.
    pub fn put(&mut self, holder: Holder, state: State) {
        let held = Held::new(holder, state);
        let place = match holder {
            Holder::Group(group) => self.groups.get_mut(usize::from(group)),
            Holder::Key(key) => match self.places.get(&key) {
                Some(&place) => self.owners.get_mut(place as usize),
                None if self.owners.len() < self.most => return self.push(key, held),
                None => None,
            },
        };
        if let Some(place) = place {
            self.states = self.states + held.state.bytes() - place.state.bytes();
            *place = held;
        }
    }

    /// Writes states that have learned something since they were last written, in turns, for as long as `write` has room for
    /// another.
    pub fn write(&mut self, mut write: impl FnMut(Holder, &State) -> bool) {
        let (groups, all) = (self.groups.len(), self.groups.len() + self.owners.len());
        for step in 0..all {
            let place = (self.next + step) % all;
            let held = if place < groups { &mut self.groups[place] } else { &mut self.owners[place - groups] };
            if !held.touched {
                continue;
            }
            if !write(held.holder, &held.state) {
                self.next = place;
                return;
            }
            held.touched = false;
        }
    }

    /// A key without a state of its own was seen.
    fn consider(&mut self, key: Key, now: RecordTime) {
        let (own, sets) = (key.0 as u32, self.candidates.len() / SET);
        let first = (key.0 >> 32) as usize % sets * SET;
        let set = &mut self.candidates[first..first + SET];
        let known = set.iter().position(|candidate| candidate.key == own && candidate.seen > 0);
        let Some(place) = known.or_else(|| set.iter().position(|candidate| candidate.seen == 0)) else {
            // All are taken: the one that was seen least comes nearer to being driven out.
            set.iter_mut().min_by_key(|candidate| candidate.seen).into_iter().for_each(|least| least.seen -= 1);
            self.crowd();
            return;
        };
        let seen = set[place].seen.saturating_add(1);
        set[place] = Candidate { key: own, seen };
        if seen >= EARNS && self.make_place(seen) {
            self.candidates[first + place].seen = 0;
            self.push(key, Held { earned: seen, ..Held::new(Holder::Key(key), State::new(&self.rule, now)) });
        }
    }

    /// A candidate found no place. There is twice the room when that was so as often as there are places; those that are counted now
    /// are counted anew.
    fn crowd(&mut self) {
        let room = self.candidates.len() / CANDIDATES;
        self.crowded += 1;
        if self.crowded >= self.candidates.len() && room < self.most {
            self.candidates = vec![Candidate::default(); (room * 2).min(self.most) * CANDIDATES];
            self.crowded = 0;
        }
    }

    /// Whether there is a place for a key that was seen so often. Another gives way that was seen less.
    fn make_place(&mut self, seen: u16) -> bool {
        if self.owners.len() < self.most {
            return true;
        }
        let looked = (0..LOOKS).map(|step| (self.hand + step) % self.most);
        let least = looked.map(|place| (self.owners[place].traffic(self.window), place)).min();
        self.hand = (self.hand + LOOKS) % self.most;
        match least {
            Some((traffic, place)) if traffic < u64::from(seen) => {
                self.remove(place);
                true
            }
            _ => false,
        }
    }

    fn held(&self) -> impl Iterator<Item = &Held> {
        self.groups.iter().chain(&self.owners)
    }

    fn push(&mut self, key: Key, held: Held) {
        self.states += held.state.bytes();
        self.places.insert(key, self.owners.len() as u32);
        self.owners.push(held);
    }

    fn remove(&mut self, place: usize) {
        let removed = self.owners.swap_remove(place);
        self.states -= removed.state.bytes();
        if let Holder::Key(key) = removed.holder {
            self.places.remove(&key);
        }
        if let Some(Held { holder: Holder::Key(moved), .. }) = self.owners.get(place) {
            self.places.insert(*moved, place as u32);
        }
    }
}

impl known::Table for Keys {
    fn write(&mut self, write: &mut dyn FnMut(Holder, &dyn Written) -> bool) {
        Self::write(self, |holder, state| write(holder, state));
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.states
            + (self.groups.capacity() + self.owners.capacity()) * size_of::<Held>()
            + self.candidates.capacity() * size_of::<Candidate>()
            + self.places.allocation_size()
    }
}

// === impl Slowest ===

impl Remembers for Slowest {
    type State = State;
    type Table = Keys;
    type Others = Others<State>;

    fn table(&self, now: RecordTime) -> Keys {
        Keys::new(*self, OWNERS, now)
    }

    fn put(keys: &mut Keys, holder: Holder, state: State) {
        keys.put(holder, state);
    }

    fn read(&self, value: &[u8]) -> Result<State, Malformed> {
        State::read(&schema::Slowest::decode(value).map_err(|_| Malformed("no message"))?, self)
    }

    fn time(&self, state: &State) -> RecordTime {
        state.time(self)
    }

    fn is_past(&self, state: &State, now: RecordTime) -> bool {
        self.number(now).saturating_sub(state.window()) > IDLE_WINDOWS
    }
}

impl Learns for Slowest {
    type Over = Coverage;

    fn probability(&self, measured: Measured, known: &Known<Self>, _: Division) -> f64 {
        known.place(self, measured).probability()
    }

    fn learn(&self, measured: Measured, fate: Fate, known: &mut Known<Self>, _: Division) -> Coverage {
        let Measured { partition, key, value, time } = measured;
        let over = known.table(partition, self, time).learn(key, value, fate, time);
        over.iter().fold(Coverage::default(), |mut sum, (holder, window)| {
            let own = known.own.iter().filter_map(|(of, keys)| Some((*of, keys.state(*holder)?)));
            sum += coverage(self, partition, window, own.chain(known.others.of(*holder)));
            sum
        })
    }
}

// === impl Holder ===

impl Holder {
    pub fn to_bytes(self) -> [u8; 9] {
        let (kind, number) = match self {
            Self::Key(key) => (0, key.0),
            Self::Group(group) => (1, u64::from(group)),
        };
        let mut bytes = [kind; 9];
        bytes[1..].copy_from_slice(&number.to_be_bytes());
        bytes
    }

    /// None of what was not written by `to_bytes`.
    pub fn from_bytes([kind, number @ ..]: [u8; 9]) -> Option<Self> {
        let number = u64::from_be_bytes(number);
        match kind {
            0 => Some(Self::Key(Key(number))),
            1 => u8::try_from(number).ok().filter(|&group| group < GROUPS).map(Self::Group),
            _ => None,
        }
    }
}

// === impl Key ===

impl Key {
    fn group(self) -> Holder {
        Holder::Group((self.0 % u64::from(GROUPS)) as u8)
    }
}

// === impl Held ===

impl Held {
    fn new(holder: Holder, state: State) -> Self {
        Self { holder, seen: state.window(), state, touched: false, earned: 0 }
    }

    /// What is known to have been seen lately.
    fn traffic(&self, window: i64) -> u64 {
        if window.saturating_sub(self.seen) > 1 { 0 } else { self.state.count() + u64::from(self.earned) }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use fastrand::Rng;

    use super::*;

    const WINDOW: u64 = 60_000;

    fn keys(most: usize) -> Keys {
        Keys::new(Slowest::new(0.99, WINDOW), most, RecordTime(0))
    }

    fn hashed(number: u64) -> Key {
        Key(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Whether it was kept.
    fn take(keys: &mut Keys, key: Key, value: f64, at: RecordTime) -> bool {
        let rule = keys.rule;
        let kept = place(&rule, key, value, at, [&*keys].into_iter(), |_| iter::empty()).probability() == 1.0;
        keys.learn(key, value, Fate { chosen: kept, kept }, at);
        kept
    }

    fn owners(keys: &Keys) -> impl Iterator<Item = Key> {
        keys.owners.iter().filter_map(|held| match held.holder {
            Holder::Key(key) => Some(key),
            Holder::Group(_) => None,
        })
    }

    /// What is known of places and owners fits together.
    fn sound(keys: &Keys) {
        assert!(keys.owners.len() <= keys.most);
        assert_eq!(keys.places.len(), keys.owners.len());
        assert_eq!(keys.states, keys.held().map(|held| held.state.bytes()).sum::<usize>());
        assert!(keys.owners.iter().enumerate().all(|(place, held)| match held.holder {
            Holder::Key(key) => keys.places[&key] as usize == place,
            Holder::Group(_) => false,
        }));
    }

    #[test]
    fn a_key_earns_its_own_state() {
        let mut keys = keys(10);
        for seen in 1..=EARNS {
            assert_eq!(keys.holder(hashed(1)), hashed(1).group(), "seen {seen} times");
            take(&mut keys, hashed(1), 1.0, RecordTime(0));
        }
        assert_eq!(keys.holder(hashed(1)), Holder::Key(hashed(1)));
        assert_eq!(keys.state(hashed(1).group()).map(State::count), Some(u64::from(EARNS)));
    }

    #[test]
    fn keys_seen_once_do_not_open_the_gates() {
        let mut keys = keys(1000);
        let mut rng = Rng::with_seed(4);
        let kept = (0..200_000).filter(|&number| take(&mut keys, hashed(number), rng.f64(), RecordTime(0))).count();
        // 1 % is 2,000; 64 groups lean, and each has begun with nothing.
        assert!(kept < 7000, "{kept}");
        assert_eq!(owners(&keys).count(), 0);
        sound(&keys);
    }

    #[test]
    fn who_is_seen_most_has_a_place_whoever_came_first() {
        let mut keys = keys(100);
        let mut rng = Rng::with_seed(5);
        let mut at = 0;
        let mut pass = |keys: &mut Keys, traces: usize, key: &mut dyn FnMut(&mut Rng) -> u64| {
            for _ in 0..traces {
                at += 1;
                take(keys, hashed(key(&mut rng)), 1.0, RecordTime(at));
            }
        };
        // A thousand rare keys fill the places.
        pass(&mut keys, 60_000, &mut |rng| 1000 + rng.u64(..1000));
        assert_eq!(owners(&keys).count(), 100);
        // Fifty that are seen ten times as often each come after them.
        pass(&mut keys, 120_000, &mut |rng| if rng.bool() { 1000 + rng.u64(..1000) } else { rng.u64(..50) });
        let frequent = (0..50).filter(|&key| keys.holder(hashed(key)) == Holder::Key(hashed(key))).count();
        assert_eq!(frequent, 50);
        sound(&keys);
    }

    #[test]
    fn idle_keys_leave() {
        let mut keys = keys(10);
        let at = |window: i64| RecordTime(window * WINDOW as i64);
        for _ in 0..EARNS {
            (1..3).for_each(|key| _ = take(&mut keys, hashed(key), 1.0, at(0)));
        }
        for window in 1..=IDLE_WINDOWS {
            take(&mut keys, hashed(1), 1.0, at(window));
        }
        assert_eq!(owners(&keys).count(), 2);
        keys.advance(at(IDLE_WINDOWS + 1));
        assert_eq!(owners(&keys).collect::<Vec<_>>(), [hashed(1)]);
        keys.advance(RecordTime::END);
        assert_eq!(owners(&keys).count(), 0);
        sound(&keys);
    }

    #[test]
    fn windows_that_are_over_are_told_once() {
        let mut keys = keys(10);
        (0..EARNS + 8).for_each(|_| _ = take(&mut keys, hashed(1), 1.0, RecordTime(0)));
        let over = keys.advance(RecordTime(WINDOW as i64));
        let counts: Vec<_> = over.iter().map(|(holder, window)| (*holder, window.values.count())).collect();
        assert_eq!(counts, [(hashed(1).group(), u64::from(EARNS)), (Holder::Key(hashed(1)), 8)]);
        assert!(keys.advance(RecordTime(WINDOW as i64 * 9)).is_empty());
    }

    #[test]
    fn what_was_touched_makes_a_copy() {
        let (mut keys, mut copy) = (keys(10), keys(10));
        let mut rng = Rng::with_seed(6);
        for tick in 0..100 {
            (0..50).for_each(|_| _ = take(&mut keys, hashed(rng.u64(..20)), rng.f64(), RecordTime(tick * 1000)));
            keys.write(|holder, state| {
                copy.put(holder, state.clone());
                true
            });
            keys.write(|holder, _| panic!("{holder:?} is written twice"));
        }
        assert_eq!(owners(&keys).count(), 10);
        for holder in owners(&keys).map(Holder::Key).chain((0..GROUPS).map(Holder::Group)) {
            let [original, copied] = [&keys, &copy].map(|keys| keys.state(holder).map(State::count));
            assert!(original == copied || copied.is_none(), "{holder:?}");
        }
        sound(&copy);
    }

    #[test]
    fn all_have_their_turn() {
        let mut keys = keys(100);
        let touch =
            |keys: &mut Keys| (0..4000).for_each(|number| _ = take(keys, hashed(number % 100), 1.0, RecordTime(0)));
        touch(&mut keys);
        let mut written = std::collections::BTreeSet::new();
        // Everything is touched all the time, and there is room for seven at a time.
        for _ in 0..(100 + usize::from(GROUPS)).div_ceil(7) {
            let mut room = 7;
            keys.write(|holder, _| {
                let fits = room > 0;
                if fits {
                    room -= 1;
                    written.insert(holder);
                }
                fits
            });
            touch(&mut keys);
        }
        assert_eq!(written.iter().filter(|holder| matches!(holder, Holder::Key(_))).count(), owners(&keys).count());
    }
}
