//! What all samplers of a worker have learned.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{
    Account, Adaptive, Candidate, Ceiling, Malformed,
    budget::{self, Class},
    coverage::Coverage,
    follow::{Follow, Mark},
    keys::{Holder, Key},
    known::{Division, Hears, Known, Learns, Remembers, Table},
    rare::{self, Rare},
    rate::{self, Closed},
    slowest::{Fate, Slowest},
    waits::Waits,
};
use crate::model::RecordTime;

/// By sampler, whatever its rule is.
#[derive(Debug, Default)]
pub struct States {
    slowest: Samplers<Slowest>,
    rare: Samplers<Rare>,
    adaptive: Samplers<Adaptive>,
    /// Of rates and budgets.
    ceilings: Samplers<Ceiling>,
    follow: Samplers<Follow>,
    /// How long traces wait, where that is learned.
    waits: Option<Waits>,
    /// Partitions of the input, whosever they are, and those of this worker.
    shared: u32,
    assigned: u32,
    /// What all partitions spend below a ceiling is one.
    pooled: bool,
    /// Of all samplers and partitions, the one that has the first turn to be written.
    first: usize,
    /// The latest time at which anything was learned.
    latest: Option<RecordTime>,
}

type Samplers<R> = HashMap<u64, Known<R>, FixedState>;

/// What a sampler goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    Slowest(Slowest),
    Rare(Rare),
    Adaptive(Adaptive),
    Rate(Ceiling),
    Budget(Ceiling),
    Follow(Follow),
}

/// A trace, as a sampler sees it.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Where it began.
    pub partition: u32,
    pub key: Key,
    /// 1 where the rule measures nothing.
    pub value: f64,
    /// When it was decided.
    pub time: RecordTime,
}

/// How far down a kept trace is among those that a sampler keeps of its kind: those before it, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    pub before: u32,
    pub most: u32,
}

/// What came of windows or periods that are over.
#[derive(Clone, Copy, Debug)]
pub enum Over {
    Slowest(Coverage),
    Rare(rare::Coverage),
    /// Nothing to tell.
    Nothing,
}

/// A state as it is written: the last of a partition and a name counts. `P` is how the partition is called; here they are known by
/// their places among all.
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

/// What is done to the samplers of all rules alike.
trait All {
    fn forget(&mut self, partition: u32);
    fn revoke(&mut self, partition: u32);
    fn keep(&mut self, is_asked: &dyn Fn(u64) -> bool);
    fn tables(&mut self) -> Vec<(u64, u32, &mut dyn Table)>;
    fn bytes(&self) -> usize;
}

// === impl States ===

impl States {
    /// How long traces wait is learned too.
    pub fn wait_by(&mut self, waits: Waits) {
        self.waits = Some(waits);
    }

    /// How long traces wait, where that is learned.
    pub fn waits(&mut self) -> Option<&mut Waits> {
        self.waits.as_mut()
    }

    /// The same, if what was written has its name.
    pub fn waits_of(&mut self, written: &Learned) -> Option<&mut Waits> {
        self.waits.as_mut().filter(|waits| waits.name() == written.name.sampler)
    }

    /// The input has so many partitions: what is not here is another worker's.
    pub fn share(&mut self, partitions: u32) {
        self.shared = partitions;
    }

    /// All partitions are of this worker, and of one time.
    pub fn pool(&mut self) {
        self.pooled = true;
    }

    /// One more partition is this worker's. What others have said of it was of their time.
    pub fn assign(&mut self, partition: u32) {
        self.assigned += 1;
        self.all().into_iter().for_each(|samplers| samplers.forget(partition));
        self.waits.iter_mut().for_each(|waits| waits.forget(partition));
    }

    /// A partition is another's now, and what was learned of it.
    pub fn revoke(&mut self, partition: u32) {
        self.assigned -= 1;
        self.all().into_iter().for_each(|samplers| samplers.revoke(partition));
        self.waits.iter_mut().for_each(|waits| waits.revoke(partition));
    }

    /// With what probability a trace of a partition of this worker is to be kept.
    pub fn probability(&self, sampler: u64, rule: &Rule, measured: Measured) -> f64 {
        let measured = self.timely(measured);
        match rule {
            Rule::Slowest(rule) => probability(&self.slowest, sampler, rule, measured, self.division()),
            Rule::Rare(rule) => probability(&self.rare, sampler, rule, measured, self.division()),
            Rule::Adaptive(rule) => probability(&self.adaptive, sampler, rule, measured, self.division()),
            // That is known when all of a batch are, and what follows has more keys than one.
            Rule::Rate(_) | Rule::Budget(_) | Rule::Follow(_) => 0.0,
        }
    }

    /// How far down a trace that a sampler keeps is among those that it keeps, before it is learned of.
    pub fn rank(&self, sampler: u64, rule: &Rule, measured: Measured) -> Option<Rank> {
        let measured = self.timely(measured);
        match rule {
            Rule::Slowest(rule) => Some(known(&self.slowest, sampler, |known| known.rank(rule, measured))),
            Rule::Rare(rule) => Some(known(&self.rare, sampler, |known| known.rank(rule, measured))),
            // The threshold says it.
            Rule::Adaptive(_) | Rule::Rate(_) | Rule::Budget(_) | Rule::Follow(_) => None,
        }
    }

    /// Learns of one, and tells what came of what is over now.
    pub fn learn(&mut self, sampler: u64, rule: &Rule, measured: Measured, fate: Fate) -> Over {
        let measured = self.timely(measured);
        let division = self.division();
        self.latest = self.latest.max(Some(measured.time));
        match rule {
            Rule::Slowest(rule) => Over::Slowest(learn(&mut self.slowest, sampler, rule, (measured, fate), division)),
            Rule::Rare(rule) => Over::Rare(learn(&mut self.rare, sampler, rule, (measured, fate), division)),
            Rule::Adaptive(rule) => {
                learn(&mut self.adaptive, sampler, rule, (measured, fate), division);
                Over::Nothing
            }
            Rule::Rate(_) | Rule::Budget(_) | Rule::Follow(_) => Over::Nothing,
        }
    }

    /// It is to learn of a trace that is kept, when the verdict is carried out. Others are judged before.
    pub fn expect(&mut self, sampler: u64, rule: &Rule, measured: Measured) {
        if let Rule::Rare(rule) = rule {
            let measured = self.timely(measured);
            self.rare.entry(sampler).or_default().expect(rule, measured);
        }
    }

    /// Whether there are other workers.
    pub fn are_shared(&self) -> bool {
        self.division().workers > 1
    }

    /// Whether a trace would be kept that has to be pledged to the other workers before.
    pub fn would_pledge(&self, sampler: u64, rule: &Rare, measured: Measured) -> bool {
        let measured = self.timely(measured);
        self.of_floors(sampler, |known| rule.would_pledge(measured, known, self.division()))
    }

    pub fn pledge(&mut self, sampler: u64, rule: &Rare, measured: Measured) {
        let measured = self.timely(measured);
        rule.pledge(measured, self.rare.entry(sampler).or_default());
    }

    /// Whether a trace is kept that was pledged.
    pub fn confirms(&self, sampler: u64, rule: &Rare, measured: Measured) -> bool {
        let measured = self.timely(measured);
        self.of_floors(sampler, |known| rule.confirms(measured, known, self.division()))
    }

    /// The verdict on a trace that was pledged is carried out, and was learned of.
    pub fn settle(&mut self, sampler: u64, rule: &Rare, measured: Measured, kept: bool) {
        let measured = self.timely(measured);
        rule.settle(measured, kept, self.rare.entry(sampler).or_default());
    }

    /// What was expected will be learned.
    pub fn expect_no_more(&mut self) {
        self.rare.values_mut().for_each(Known::expect_no_more);
    }

    /// The best mark of kept traces that any of these keys has at this time.
    pub fn marked(&self, sampler: u64, keys: &[u64], time: RecordTime) -> Option<Mark> {
        Follow::find(keys, self.follow.get(&sampler)?, self.in_time(time))
    }

    /// A trace of a partition is kept that has these keys. They are marked as the one is that it follows, or else anew. Says how many
    /// marks have left before their time for want of room.
    pub fn mark(
        &mut self,
        (sampler, rule): (u64, Follow),
        (partition, time): (u32, RecordTime),
        keys: &[u64],
        (followed, certain): (Option<Mark>, bool),
    ) -> u64 {
        let now = self.now(time);
        // Who follows does not make the time longer, or a key that is in every trace would keep all, for ever.
        let until = followed.map_or(now.plus(rule.lasts), |mark| mark.until);
        let mark = Mark { certain, until };
        rule.mark(partition, keys, mark, self.follow.entry(sampler).or_default(), now)
    }

    /// Decides what there is room for below a rate, of what a partition asks for at this time.
    pub fn rate(
        &mut self,
        sampler: u64,
        rule: &Ceiling,
        (partition, now): (u32, RecordTime),
        batch: &mut [Candidate],
    ) -> Closed {
        let (now, division) = (self.now(now), self.spenders());
        let known = self.ceilings.entry(sampler).or_default();
        rule.close((partition, now), known, division, |rule, account, now, share| {
            rate::close(rule, account, now, share, batch)
        })
    }

    /// Decides what stays below a budget, of what policies keep of a partition at this time.
    pub fn budget(
        &mut self,
        sampler: u64,
        rule: &Ceiling,
        (partition, now): (u32, RecordTime),
        batch: &mut [Candidate],
    ) -> Vec<Class> {
        let (now, division) = (self.now(now), self.spenders());
        let known = self.ceilings.entry(sampler).or_default();
        rule.close((partition, now), known, division, |rule, account, now, share| {
            budget::close(rule, account, now, share, batch)
        })
    }

    /// Time has come so far in a partition of this worker, where nothing may have come of late.
    pub fn rest(&mut self, sampler: u64, rule: &Rule, partition: u32, now: RecordTime) {
        let (now, division) = (self.now(now), self.division());
        match rule {
            Rule::Adaptive(rule) => rule.rest(partition, now, self.adaptive.entry(sampler).or_default(), division),
            Rule::Rate(rule) | Rule::Budget(rule) => {
                let division = self.spenders();
                rule.rest(partition, now, self.ceilings.entry(sampler).or_default(), division);
            }
            Rule::Slowest(_) | Rule::Rare(_) | Rule::Follow(_) => {}
        }
    }

    /// Writes what was learned since it was last written, up to about so many bytes; what finds no room has its turn later. But what was
    /// spent is written at once: a restart must not spend it again. And so is what others are to follow.
    pub fn write(&mut self, mut room: usize, mut write: impl FnMut(Learned)) {
        self.first += 1;
        let first = self.first;
        let Self { slowest, rare, adaptive, ceilings, follow, waits, .. } = self;
        let samplers: [&mut dyn All; 3] = [slowest, rare, adaptive];
        let mut tables: Vec<_> = samplers.into_iter().flat_map(All::tables).collect();
        if let Some(waits) = waits {
            let name = waits.name();
            tables.extend(waits.tables().map(|(partition, table)| (name, partition, table)));
        }
        let turn = first % tables.len().max(1);
        tables.rotate_left(turn);
        let hurried = ceilings.tables().into_iter().chain(follow.tables()).map(|table| (table, true));
        for ((sampler, partition, table), at_once) in hurried.chain(tables.into_iter().map(|table| (table, false))) {
            table.write(&mut |holder, state| {
                if room == 0 && !at_once {
                    return false;
                }
                let value = state.to_bytes();
                room = room.saturating_sub(value.len() + size_of::<Learned>());
                write(Learned { partition, name: Name { sampler, holder }, value });
                true
            });
        }
    }

    /// Takes on what was written of a partition in a life before, of a sampler with this rule.
    ///
    /// # Errors
    /// Nothing of this version wrote it.
    pub fn restore(&mut self, written: &Learned, rule: &Rule) -> Result<(), Malformed> {
        let time = match rule {
            Rule::Slowest(rule) => restore(&mut self.slowest, written, rule),
            Rule::Rare(rule) => restore(&mut self.rare, written, rule),
            Rule::Adaptive(rule) => restore(&mut self.adaptive, written, rule),
            Rule::Rate(rule) | Rule::Budget(rule) => restore(&mut self.ceilings, written, rule),
            Rule::Follow(rule) => restore(&mut self.follow, written, rule),
        };
        self.latest = self.latest.max(Some(time?));
        Ok(())
    }

    /// Hears what was learned of a partition of another worker.
    ///
    /// # Errors
    /// Nothing of this version wrote it.
    pub fn hear(&mut self, written: &Learned, rule: &Rule) -> Result<(), Malformed> {
        match rule {
            Rule::Slowest(rule) => hear(&mut self.slowest, written, rule),
            Rule::Rare(rule) => hear(&mut self.rare, written, rule),
            Rule::Adaptive(rule) => hear(&mut self.adaptive, written, rule),
            Rule::Rate(rule) | Rule::Budget(rule) => hear(&mut self.ceilings, written, rule),
            Rule::Follow(rule) => hear(&mut self.follow, written, rule),
        }
    }

    /// What others have not learned anything more of for long is forgotten.
    pub fn expire(&mut self, rule: impl Fn(u64) -> Option<Rule>) {
        let Some(now) = self.latest else { return };
        expire(&mut self.slowest, now, |of| if let Rule::Slowest(rule) = rule(of)? { Some(rule) } else { None });
        expire(&mut self.rare, now, |of| if let Rule::Rare(rule) = rule(of)? { Some(rule) } else { None });
        expire(&mut self.adaptive, now, |of| if let Rule::Adaptive(rule) = rule(of)? { Some(rule) } else { None });
        expire(&mut self.follow, now, |of| if let Rule::Follow(rule) = rule(of)? { Some(rule) } else { None });
    }

    /// Forgets what other samplers have learned.
    pub fn retain(&mut self, is_asked: impl Fn(u64) -> bool) {
        self.all().into_iter().for_each(|samplers| samplers.keep(&is_asked));
    }

    pub fn bytes(&self) -> usize {
        let all: [&dyn All; 5] = [&self.slowest, &self.rare, &self.adaptive, &self.ceilings, &self.follow];
        all.into_iter().map(All::bytes).sum::<usize>() + self.waits.as_ref().map_or(0, Waits::bytes)
    }

    fn all(&mut self) -> [&mut dyn All; 5] {
        [&mut self.slowest, &mut self.rare, &mut self.adaptive, &mut self.ceilings, &mut self.follow]
    }

    /// Bytes that are written at once, at most, whatever room there is.
    pub fn at_once(&self) -> usize {
        let accounts: usize = self.ceilings.values().map(|known| known.own.len()).sum();
        let marks = self.follow.values().flat_map(|known| &known.own).map(|(_, marks)| marks.unwritten());
        accounts * (Account::WRITTEN + size_of::<Learned>()) + marks.sum::<usize>()
    }

    /// Who shares a ceiling: where one worker has all partitions, their time is one, and so is what they spend.
    fn spenders(&self) -> Division {
        if self.pooled { Division { partitions: 1, workers: 1 } } else { self.division() }
    }

    /// As if all workers had as many partitions as this one.
    fn division(&self) -> Division {
        let partitions = self.shared.max(self.assigned).max(1);
        Division { partitions, workers: partitions.div_ceil(self.assigned.max(1)) }
    }

    /// Asks what is known by one floor: nothing, at first.
    fn of_floors(&self, sampler: u64, ask: impl FnOnce(&Known<Rare>) -> bool) -> bool {
        match self.rare.get(&sampler) {
            Some(known) => ask(known),
            None => ask(&Known::default()),
        }
    }

    fn timely(&self, measured: Measured) -> Measured {
        Measured { time: self.in_time(measured.time), ..measured }
    }

    /// When the input has ended, time stands where it was.
    fn in_time(&self, time: RecordTime) -> RecordTime {
        if time == RecordTime::END { self.latest.unwrap_or(RecordTime(0)) } else { time }
    }

    fn now(&mut self, now: RecordTime) -> RecordTime {
        if now != RecordTime::END {
            self.latest = self.latest.max(Some(now));
        }
        self.latest.unwrap_or(RecordTime(0)).min(now)
    }
}

fn probability<R: Learns>(
    samplers: &Samplers<R>,
    sampler: u64,
    rule: &R,
    measured: Measured,
    division: Division,
) -> f64 {
    known(samplers, sampler, |known| rule.probability(measured, known, division))
}

/// What a sampler says by what it knows, which may be nothing yet.
fn known<R: Remembers, T>(samplers: &Samplers<R>, sampler: u64, says: impl FnOnce(&Known<R>) -> T) -> T {
    match samplers.get(&sampler) {
        Some(known) => says(known),
        None => says(&Known::default()),
    }
}

fn learn<R: Learns>(
    samplers: &mut Samplers<R>,
    sampler: u64,
    rule: &R,
    (measured, fate): (Measured, Fate),
    division: Division,
) -> R::Over {
    rule.learn(measured, fate, samplers.entry(sampler).or_default(), division)
}

fn restore<R: Remembers>(samplers: &mut Samplers<R>, written: &Learned, rule: &R) -> Result<RecordTime, Malformed> {
    let state = rule.read(&written.value)?;
    let time = rule.time(&state);
    let known = samplers.entry(written.name.sampler).or_default();
    R::put(known.table(written.partition, rule, time), written.name.holder, state);
    Ok(time)
}

fn hear<R: Remembers>(samplers: &mut Samplers<R>, written: &Learned, rule: &R) -> Result<(), Malformed> {
    let state = rule.read(&written.value)?;
    let known = samplers.entry(written.name.sampler).or_default();
    known.others.hear(written.partition, written.name.holder, state);
    Ok(())
}

fn expire<R: Remembers>(samplers: &mut Samplers<R>, now: RecordTime, rule: impl Fn(u64) -> Option<R>) {
    for (sampler, known) in samplers {
        if let Some(rule) = rule(*sampler) {
            known.others.expire(|state| rule.is_past(state, now));
        }
    }
}

// === impl Samplers ===

impl<R: Remembers> All for Samplers<R> {
    fn forget(&mut self, partition: u32) {
        self.values_mut().for_each(|known| known.others.forget(partition));
    }

    fn revoke(&mut self, partition: u32) {
        self.values_mut().for_each(|known| known.revoke(partition));
    }

    fn keep(&mut self, is_asked: &dyn Fn(u64) -> bool) {
        self.retain(|sampler, _| is_asked(*sampler));
    }

    fn tables(&mut self) -> Vec<(u64, u32, &mut dyn Table)> {
        let tables = self.iter_mut().flat_map(|(sampler, known)| {
            known.own.iter_mut().map(|(partition, table)| (*sampler, *partition, table as &mut dyn Table))
        });
        tables.collect()
    }

    fn bytes(&self) -> usize {
        self.allocation_size() + self.values().map(Known::bytes).sum::<usize>()
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
    use crate::sample::keys::IDLE_WINDOWS;

    const RULE: fn() -> Rule = || Rule::Slowest(Slowest::new(0.99, 60_000));

    fn learn(states: &mut States, partition: u32, key: u64, value: f64, time: i64) {
        let measured = Measured { partition, key: key_of(key), value, time: RecordTime(time) };
        states.learn(7, &RULE(), measured, Fate::default());
    }

    fn key_of(number: u64) -> Key {
        Key(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn written(states: &mut States) -> Vec<Learned> {
        let mut written = Vec::new();
        states.write(usize::MAX, |of| written.push(of));
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
            let at = Measured { partition: 0, key: key_of(2), value, time: RecordTime(100_000) };
            let [before, after] = [&states, &restored].map(|states| states.probability(7, &RULE(), at));
            assert_eq!(before, after, "{value}");
        }
        assert_eq!(
            States::default().probability(
                7,
                &RULE(),
                Measured { partition: 0, key: key_of(2), value: 1.0, time: RecordTime(0) }
            ),
            1.0
        );
        let at = Measured { partition: 0, key: key_of(2), value: 1.0, time: RecordTime(100_000) };
        assert_eq!(restored.probability(7, &RULE(), at), 0.0, "a second warm-up would keep it");
    }

    #[test]
    fn what_others_have_learned_counts() {
        let (mut own, mut other) = (States::default(), States::default());
        for number in 0..1000 {
            learn(&mut own, 0, 1, f64::from(number), 0);
            learn(&mut other, 1, 1, f64::from(number + 1000), 0);
        }
        let probability = |states: &States, value| {
            states.probability(7, &RULE(), Measured { partition: 0, key: key_of(1), value, time: RecordTime(0) })
        };
        assert_eq!(probability(&own, 999.5), 1.0);
        written(&mut other).iter().for_each(|state| own.hear(state, &RULE()).expect("it was written so"));
        assert_eq!((probability(&own, 999.5), probability(&own, 1999.5)), (0.0, 1.0));
        let heard = own.bytes();
        written(&mut other).iter().for_each(|state| own.hear(state, &RULE()).expect("it was written so"));
        assert_eq!(own.bytes(), heard, "nothing is new");
        assert!(written(&mut own).iter().all(|state| state.partition == 0), "what is others' is for them to write");

        own.assign(0);
        assert_eq!(probability(&own, 999.5), 0.0, "it was another");
        own.assign(1);
        assert_eq!(probability(&own, 999.5), 1.0);

        learn(&mut other, 1, 1, 1.0, 0);
        written(&mut other).iter().for_each(|state| own.hear(state, &RULE()).expect("it was written so"));
        learn(&mut own, 0, 1, 1.0, 60_000 * (IDLE_WINDOWS + 1));
        let known = own.bytes();
        own.expire(|_| Some(RULE()));
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
        states.write(1000, |of| some.push(of));
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
            states.write(1, |of| one.push(of));
            written.extend(one.iter().map(|state| state.partition));
        }
        assert_eq!(written.len(), 4, "{written:?}");
    }
}
