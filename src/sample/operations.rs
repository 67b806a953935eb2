//! Which operations have a quiet period of their own.

use std::{collections::VecDeque, mem};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, hash_map::Entry};

use super::{
    keys::{Holder, Key},
    known::{State as _, Table, Written},
    quiet::{Quiet, State, window},
    trail::Gaps,
};
use crate::model::RecordTime;

/// What a partition has seen of the gaps of each operation.
///
/// The number of operations with a state of their own is bounded. Where all places are taken, those leave at the end of a window
/// that were not seen in the one before it, as of ids in a name, and others come.
///
/// Source: Manku, Motwani, "Approximate Frequency Counts over Data Streams", VLDB (2002): room is made at the end of each window, by
/// what is not seen.
#[derive(Debug)]
pub struct Operations {
    rule: Quiet,
    most: usize,
    others: Held,
    own: HashMap<Key, Held, FixedState>,
    /// Those that have learned something since they were last written, the next to be written first.
    touched: VecDeque<Holder>,
    /// The number of the window under way.
    window: i64,
    /// Bytes of all states, beside their own size: what is held is asked for at every decision.
    states: usize,
}

#[derive(Debug)]
struct Held {
    state: State,
    touched: bool,
}

/// What there is memory for, beside the state of the others, which is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Operations without a state.
    Newcomers,
    /// What those with a state learn.
    Lessons,
    Nothing,
}

/// Operations of a partition that have a state of their own, in a processor. Each takes at most 25 kB, and hardly ever more than two.
pub const OPERATIONS: usize = 10_000;

/// Windows without a lesson after which an operation leaves, where there is room: a day.
pub const IDLE_WINDOWS: i64 = 144;

/// All of which too little is known, together.
pub const OTHERS: Holder = Holder::Group(0);

// === impl Operations ===

impl Operations {
    /// At most `most` operations have a state of their own.
    pub fn new(rule: Quiet, most: usize, now: RecordTime) -> Self {
        Self {
            rule,
            most,
            others: Held::new(State::new(&rule, now)),
            own: HashMap::default(),
            touched: VecDeque::new(),
            window: window(now),
            states: 0,
        }
    }

    /// None of an operation that has no state of its own.
    pub fn state(&self, holder: Holder) -> Option<&State> {
        match holder {
            OTHERS => Some(&self.others.state),
            Holder::Key(key) => self.own.get(&key).map(|held| &held.state),
            Holder::Group(_) => None,
        }
    }

    /// Learns of the spans of a trace that was decided, or of late ones. `is_known`: it waited by what is known of its operation, and
    /// not by what is known of the others.
    pub fn learn(&mut self, key: Key, spans: &[Gaps], is_known: bool, room: Room, now: RecordTime) {
        self.advance(room, now);
        let is_full = self.is_full(room);
        let Self { rule, own, others, .. } = self;
        let held = match own.entry(key) {
            Entry::Occupied(held) if room != Room::Nothing => Some(held.into_mut()),
            Entry::Vacant(place) if !is_full => Some(place.insert(Held::new(State::new(rule, now)))),
            _ => None,
        };
        let own = held.map(|held| (Holder::Key(key), held));
        let others = (!is_known).then_some((OTHERS, others));
        for (holder, held) in own.into_iter().chain(others) {
            self.states -= held.state.bytes();
            held.state.learn(rule, spans, now);
            self.states += held.state.bytes();
            if !held.touched {
                held.touched = true;
                self.touched.push_back(holder);
            }
        }
    }

    /// Takes the state of a life before. One for which there is no place is left out.
    pub fn put(&mut self, holder: Holder, state: State) {
        self.window = self.window.max(window(state.until()));
        let bytes = state.bytes();
        let before = match holder {
            OTHERS => mem::replace(&mut self.others, Held::new(state)).state.bytes(),
            Holder::Key(key) if self.own.contains_key(&key) || self.own.len() < self.most => {
                self.own.insert(key, Held::new(state)).map_or(0, |held| held.state.bytes())
            }
            _ => return,
        };
        self.states = self.states + bytes - before;
    }

    /// Time passes: at the end of a window, operations leave that were not seen for long.
    fn advance(&mut self, room: Room, now: RecordTime) {
        if window(now) <= self.window {
            return;
        }
        let least = if self.is_full(room) { self.window } else { window(now).saturating_sub(IDLE_WINDOWS) };
        let states = &mut self.states;
        self.own.retain(|_, held| {
            let stays = window(held.state.until()) >= least;
            *states -= if stays { 0 } else { held.state.bytes() };
            stays
        });
        let Self { own, touched, .. } = self;
        touched.retain(|holder| match holder {
            Holder::Key(key) => own.contains_key(key),
            Holder::Group(_) => true,
        });
        self.window = window(now);
    }

    fn is_full(&self, room: Room) -> bool {
        room != Room::Newcomers || self.own.len() >= self.most
    }
}

impl Table for Operations {
    fn write(&mut self, write: &mut dyn FnMut(Holder, &dyn Written) -> bool) {
        while let Some(&holder) = self.touched.front() {
            let held = match holder {
                Holder::Key(key) => self.own.get_mut(&key),
                Holder::Group(_) => Some(&mut self.others),
            };
            // What has left is not written any more.
            if let Some(held) = held {
                if !write(holder, &held.state) {
                    return;
                }
                held.touched = false;
            }
            self.touched.pop_front();
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.states + self.own.allocation_size() + self.touched.capacity() * size_of::<Holder>()
    }
}

// === impl Held ===

impl Held {
    fn new(state: State) -> Self {
        Self { state, touched: false }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, ops::Range};

    use prost::Message;

    use super::*;
    use crate::sample::schema;

    const WINDOW: i64 = 600_000;

    fn rule() -> Quiet {
        Quiet::new(0.99, 5_000, 30_000)
    }

    fn operations(most: usize) -> Operations {
        Operations::new(rule(), most, RecordTime(0))
    }

    fn key(number: u64) -> Key {
        Key(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Spans with a gap each, one a second.
    fn teach(operations: &mut Operations, number: u64, gap: u64, seconds: Range<i64>) {
        for second in seconds {
            operations.learn(
                key(number),
                &[Gaps { whole: gap, torn: 0 }],
                false,
                Room::Newcomers,
                RecordTime(second * 1000),
            );
        }
    }

    fn learned(gaps: &[u64]) -> State {
        let mut state = State::new(&rule(), RecordTime(0));
        for (second, &whole) in gaps.iter().enumerate() {
            state.learn(&rule(), &[Gaps { whole, torn: 0 }], RecordTime(second as i64 * 1000));
        }
        state
    }

    #[test]
    fn who_waits_by_the_others_teaches_them() {
        let mut operations = operations(1);
        teach(&mut operations, 1, 100, 0..1);
        operations.learn(key(1), &[Gaps { whole: 200, torn: 0 }], true, Room::Newcomers, RecordTime(1000));
        assert_eq!(operations.state(Holder::Key(key(1))), Some(&learned(&[100, 200])));
        let mut others = learned(&[100]);
        assert_eq!(operations.state(OTHERS), Some(&others));
        // It finds no place.
        teach(&mut operations, 2, 300, 2..3);
        others.learn(&rule(), &[Gaps { whole: 300, torn: 0 }], RecordTime(2000));
        assert_eq!(operations.state(Holder::Key(key(2))), None);
        assert_eq!(operations.state(OTHERS), Some(&others));
    }

    #[test]
    fn ids_for_names_leave_again() {
        let mut operations = operations(100);
        for window in 0..6 {
            for number in 0..1_000 {
                let second = window * WINDOW / 1000 + number / 2;
                teach(&mut operations, 1_000_000 + (window * 1_000 + number) as u64, 0, second..second + 1);
                if number % 10 == 5 {
                    teach(&mut operations, 1, 9_000, second..second + 1);
                }
            }
            assert!(operations.own.len() <= 100);
            assert!(operations.touched.len() <= 101, "{}", operations.touched.len());
        }
        assert!(operations.own.contains_key(&key(1)), "it comes often, and finds a place when there is one");
        assert!(operations.bytes() < 150_000, "{}", operations.bytes());
    }

    #[test]
    fn what_was_not_seen_for_a_day_leaves() {
        let mut operations = operations(100);
        teach(&mut operations, 1, 9_000, 0..200);
        teach(&mut operations, 2, 100, 86_000..86_001);
        assert_eq!(operations.own.len(), 2);
        teach(&mut operations, 2, 100, 90_000..90_001);
        assert_eq!(operations.own.len(), 1);
    }

    fn written(operations: &mut Operations, most: usize) -> Vec<(Holder, Vec<u8>)> {
        let mut written = Vec::new();
        operations.write(&mut |holder, state| {
            let room = written.len() < most;
            if room {
                written.push((holder, state.to_bytes()));
            }
            room
        });
        written
    }

    #[test]
    fn what_is_written_is_remembered() {
        let mut before = operations(1_000);
        for second in 0..20_000_u64 {
            let number = second % 97 % 31;
            teach(&mut before, number, second * (number + 1) % 9_001, second as i64..second as i64 + 1);
        }
        let mut after = operations(1_000);
        for (holder, bytes) in written(&mut before, usize::MAX) {
            let read = State::read(&schema::Quiet::decode(&*bytes).expect("a message"), &rule());
            after.put(holder, read.expect("it was written so"));
        }
        for operations in [&mut before, &mut after] {
            assert_eq!(written(operations, usize::MAX).len(), 0, "nothing is new");
            teach(operations, 3, 29_000, 20_000..20_200);
        }
        for holder in (0..40).map(|number| Holder::Key(key(number))).chain([OTHERS]) {
            assert_eq!(before.state(holder), after.state(holder), "{holder:?}");
        }
        let held = |of: &Operations| of.own.values().chain([&of.others]).map(|held| held.state.bytes()).sum::<usize>();
        assert_eq!([held(&before), held(&after)], [before.states, after.states]);
    }

    #[test]
    fn all_have_their_turn_to_be_written() {
        let mut operations = operations(100);
        let mut seen = BTreeSet::new();
        for round in 0..11 {
            (0..10).for_each(|number| teach(&mut operations, number, 1, round..round + 1));
            seen.extend(written(&mut operations, 1).into_iter().map(|(holder, _)| holder));
        }
        assert_eq!(seen.len(), 11, "ten operations and the others");
    }

    #[test]
    fn what_has_no_place_is_not_taken() {
        let mut operations = operations(1);
        teach(&mut operations, 1, 700, 0..200);
        let bytes = operations.bytes();
        for holder in [Holder::Key(key(2)), Holder::Group(1)] {
            operations.put(holder, learned(&[1, 2, 3]));
        }
        assert_eq!((operations.own.len(), operations.bytes()), (1, bytes));
    }
}
