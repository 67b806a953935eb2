//! A goal of probability or throughput, with more for rare keys and less for frequent ones.
//!
//! Source: Honeycomb's dynsampler-go (`emasamplerate.go`, `emathroughput.go`): exponential means of each key's traffic, and of
//! the goal each key gets a part by the logarithm of its mean. Here a key's part is max–min fair with that logarithm as its
//! weight, so probabilities are exact and not 1 in a whole number, and no key's name matters; and keys without a mean (new
//! ones, and those beyond the bound) have a part together, learned as that of a key is, so they cannot overrun the goal.
//!
//! Thresholds are made of the past alone, so a verdict is immediate, and weights are unbiased as those of a fixed probability.

use std::collections::VecDeque;

use super::{
    Malformed, Measured,
    demand::Keys,
    fair::{Claim, level},
    keys::{self, Holder},
    known::{self, Division, Known, Learns, Remembers, Table},
    pack::{Reader, VALUE, Writer},
    share::{Said, Share, Shares, Summary, fairly},
    slowest::Fate,
};
use crate::{
    decide::threshold,
    model::{RecordTime, Threshold},
};

/// The rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Adaptive {
    /// So much of all traffic is kept.
    Probability(f64),
    /// So much a second.
    Throughput(f64),
}

/// A partition's state.
#[derive(Clone, Debug)]
pub struct Means {
    /// Of a throughput, what counts is this partition's share.
    goal: Adaptive,
    /// The most keys that have a mean.
    limit: usize,
    keys: Keys<Key>,
    strangers: Strangers,
    /// When the interval began. None: nothing was seen since the start.
    begun: Option<RecordTime>,
    /// How long it is to last, in milliseconds.
    length: u64,
    /// This interval so far.
    seen: Seen,
    /// The traffic a second, which follows steps within a second.
    speed: f64,
    /// What is not yet in `speed`: the traffic since this time.
    since: Option<(RecordTime, Seen)>,
    /// A key is kept with the probability min(1, level · weight / mean).
    level: f64,
    /// By how much the goal is aimed higher, for what the means do not foresee.
    aim: f64,
    /// The share of all traffic that is here, so that keys weigh the same however many partitions there are.
    part: f64,
    /// The head is to be written, and the means of these keys, the first first.
    is_new: bool,
    changed: VecDeque<u64>,
}

/// What is written of a partition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Written {
    Head(Head),
    /// Of one key; 0 when it is gone. What is counted in an interval that is not over is lost in a crash.
    Mean(f32),
}

/// Beside the means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// When what is in `speed` was last counted.
    at: RecordTime,
    length: u64,
    speed: f64,
    level: f64,
    aim: f64,
    part: f64,
    /// Of strangers.
    mean: f64,
    keys: f64,
}

/// Traffic in an interval of full length.
#[derive(Clone, Copy, Debug, Default)]
struct Key {
    /// 0: none yet.
    mean: f32,
    count: f32,
    /// It is to be written.
    changed: bool,
}

/// Keys without a mean.
#[derive(Clone, Copy, Debug, Default)]
struct Strangers {
    mean: f64,
    /// How many there are of them in an interval.
    keys: f64,
    count: f64,
    /// Traffic of keys that have no place.
    beyond: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    traces: f64,
    cost: f64,
    /// The cost of what is kept, on average over the randomness, and of what was to be.
    kept: f64,
    aimed: f64,
}

/// Milliseconds. The first intervals are shorter, so that one second is enough to begin with.
const INTERVAL: u64 = 15_000;
const FIRST: u64 = 1_000;

/// The latest interval's weight in a mean, and the mean below which a key is a stranger again. As in dynsampler-go.
const WEIGHT: f64 = 0.5;
const AGED: f64 = 0.5;

/// Before anything is known of a throughput; as in dynsampler-go.
const INITIAL: f64 = 0.1;

/// A second in which traffic is by more than this factor another is a step, and not noise, if it has as many traces.
const STEP: f64 = 1.5;
const STEP_TRACES: f64 = 30.0;

/// How far the aim may be off the goal, and how soon it follows. It makes good what is steady; a step is over before.
const AIM: f64 = 1.5;
const AIM_WEIGHT: f64 = 0.5;

/// Keys of a partition that have a mean, at most: that is 4.3 MB. The others have a part together.
const KEYS_MAX: usize = 100_000;

/// Whose the head is.
const HEAD: Holder = Holder::Group(0);

/// Between two steps of what is aimed at, in milliseconds.
const STEP_MS: u64 = 1_000;

// === impl Adaptive ===

impl Adaptive {
    fn per_second(&self) -> f64 {
        match self {
            Self::Probability(_) => 0.0,
            Self::Throughput(per_second) => *per_second,
        }
    }

    /// What is kept before anything is known.
    fn initial(&self) -> f64 {
        match self {
            Self::Probability(probability) => *probability,
            Self::Throughput(_) => INITIAL,
        }
    }
}

impl Remembers for Adaptive {
    type State = Written;
    type Table = Means;
    type Others = Shares;

    fn table(&self, _: RecordTime) -> Means {
        Means::new(*self, KEYS_MAX)
    }

    fn put(means: &mut Means, holder: Holder, written: Written) {
        means.restore(holder, written);
    }

    fn read(&self, value: &[u8]) -> Result<Written, Malformed> {
        Written::from_bytes(value)
    }

    fn time(&self, written: &Written) -> RecordTime {
        match written {
            Written::Head(head) => head.at,
            Written::Mean(_) => RecordTime(0),
        }
    }

    fn is_past(&self, _: &Written, _: RecordTime) -> bool {
        false
    }

    fn rest(&self, partition: u32, now: RecordTime, known: &mut Known<Self>, division: Division) {
        let means = known.table(partition, self, now);
        means.goal = *self;
        if means.is_due(now) {
            known.others.aim(self.per_second(), None, division.partitions as usize);
            let share = known.others.of(partition as usize, now, fairly);
            let means = known.table(partition, self, now);
            means.advance(now, &share);
            if let Some(summary) = means.summary() {
                known.others.hear(partition as usize, summary);
            }
        }
    }
}

impl Learns for Adaptive {
    type Over = ();

    fn probability(&self, measured: Measured, known: &Known<Self>, _: Division) -> f64 {
        let own = known.find(measured.partition);
        own.map_or_else(|| self.initial(), |means| means.probability(measured.key.0))
    }

    fn learn(&self, measured: Measured, _: Fate, known: &mut Known<Self>, division: Division) {
        let Measured { partition, key, value, time } = measured;
        self.rest(partition, time, known, division);
        let means = known.table(partition, self, time);
        means.count(key.0, value, means.probability(key.0));
    }
}

/// Others go by what a partition's head says.
impl Said for Written {
    fn summary(&self) -> Option<Summary> {
        match self {
            Self::Head(head) => Some(summary(head.at, head.speed)),
            Self::Mean(_) => None,
        }
    }
}

fn summary(at: RecordTime, speed: f64) -> Summary {
    Summary { at, keys: Vec::new(), rest: speed, rest_keys: 1.0 }
}

// === impl Means ===

impl Means {
    pub fn new(goal: Adaptive, limit: usize) -> Self {
        Self {
            goal,
            limit,
            keys: Keys::default(),
            strangers: Strangers::default(),
            begun: None,
            length: FIRST,
            seen: Seen::default(),
            speed: 0.0,
            since: None,
            level: 0.0,
            aim: 1.0,
            part: 1.0,
            is_new: false,
            changed: VecDeque::new(),
        }
    }

    /// The threshold for a trace, which is counted.
    pub fn ask(&mut self, key: u64, cost: f64) -> Threshold {
        let probability = self.probability(key);
        self.count(key, cost, probability);
        threshold(probability)
    }

    /// Counts a trace that is kept with this probability.
    fn count(&mut self, key: u64, cost: f64, probability: f64) {
        self.seen.add(cost, probability);
        if let Some((_, seen)) = &mut self.since {
            seen.add(cost, probability);
        }
        let has_place = self.keys.len() < self.limit;
        let known = match self.keys.get_mut(&key) {
            Some(known) => Some(known),
            None if has_place => Some(self.keys.entry(key).or_default()),
            None => None,
        };
        match known {
            Some(known) => {
                known.count += cost as f32;
                if known.mean == 0.0 {
                    self.strangers.count += cost;
                }
            }
            None => {
                self.strangers.count += cost;
                self.strangers.beyond += cost;
            }
        }
    }

    fn is_due(&self, now: RecordTime) -> bool {
        self.since.is_none_or(|(since, _)| now.since(since) >= STEP_MS)
    }

    /// Time goes on, once a second: what was learned is put to use. `share` is this partition's of the goal.
    pub fn advance(&mut self, now: RecordTime, share: &Share) {
        self.part = share.part(u64::MAX);
        let begun = *self.begun.get_or_insert(now.before(FIRST));
        let (since, seen) = self.since.unwrap_or((now.before(FIRST), self.seen));
        if now <= since {
            return;
        }
        self.since = Some((now, Seen::default()));
        self.is_new = true;
        // What does not come says nothing about what will: time at rest does not count, nor what time leaps by.
        let passed = now.since(since);
        let counts = if seen.traces == 0.0 { 0 } else { passed.min(INTERVAL) };
        let begun = begun.plus(passed - counts);
        self.begun = Some(begun);
        if counts == 0 {
            return;
        }
        self.seen.aimed += match self.goal {
            // How long that took is not known.
            _ if passed > INTERVAL => seen.kept,
            Adaptive::Probability(probability) => probability * seen.cost,
            Adaptive::Throughput(_) => (share.per_second * passed as f64 / 1000.0).min(seen.cost),
        };
        self.follow(seen, passed);
        if now.since(begun) >= self.length {
            self.close(now.since(begun));
            (self.begun, self.length) = (Some(now), (self.length * 2).min(INTERVAL));
        }
        self.aim_at(share.per_second);
    }

    fn follow(&mut self, seen: Seen, passed: u64) {
        let speed = seen.cost * 1000.0 / passed as f64;
        let ratio = speed / self.speed;
        let is_known = seen.traces >= STEP_TRACES && passed <= INTERVAL;
        let is_step = !(1.0 / STEP..=STEP).contains(&ratio) && (is_known || self.speed == 0.0);
        self.speed += if is_step { 1.0 } else { 0.2 } * (speed - self.speed);
    }

    /// The interval is over: means are made of its counts.
    fn close(&mut self, passed: u64) {
        let seen = std::mem::take(&mut self.seen);
        let scale = INTERVAL as f64 / passed as f64;
        let is_first = self.level == 0.0;
        let weight = if is_first { 1.0 } else { 1.0 - (1.0 - WEIGHT).powf((1.0 / scale).max(1.0)) };
        let (mut new, mut new_cost, mut single) = (0.0, 0.0, 0.0);
        let each = seen.cost / seen.traces;
        for (&number, key) in &mut self.keys {
            if key.count > 0.0 && !key.changed {
                key.changed = true;
                self.changed.push_back(number);
            }
            if key.mean == 0.0 {
                new += 1.0;
                new_cost += f64::from(key.count);
                single += if f64::from(key.count) <= each { f64::from(key.count) } else { 0.0 };
            }
            let count = f64::from(key.count) * scale;
            key.mean = (weight * count + (1.0 - weight) * f64::from(key.mean)) as f32;
            key.count = 0.0;
        }
        let changed = &mut self.changed;
        self.keys.retain(|&number, key| {
            let stays = f64::from(key.mean) >= AGED * each;
            if !stays && !key.changed {
                changed.push_back(number);
            }
            stays
        });
        // Of keys that come and go again before their turn only the last is of use.
        changed.drain(..changed.len().saturating_sub(2 * self.limit));
        let strangers = std::mem::take(&mut self.strangers);
        // Who has no place is as frequent as who came in time to have one.
        let keys = if new_cost > 0.0 { strangers.count * new / new_cost } else { strangers.count / each };
        self.strangers = if is_first {
            // Good and Turing: what has not been seen is as much as what has been seen once.
            Strangers { mean: (single + strangers.beyond) * scale, keys: (single / each).max(1.0), ..strangers }
        } else {
            Strangers {
                mean: strangers.mean + weight * (strangers.count * scale - strangers.mean),
                keys: strangers.keys + weight * (keys - strangers.keys),
                ..strangers
            }
        };
        (self.strangers.count, self.strangers.beyond) = (0.0, 0.0);
        if !is_first {
            let missed = (seen.aimed / seen.kept).powf(AIM_WEIGHT);
            self.aim = if missed.is_finite() { (self.aim * missed).clamp(1.0 / AIM, AIM) } else { 1.0 };
        }
    }

    /// Finds the level at which what the means foresee comes to the goal.
    fn aim_at(&mut self, per_second: f64) {
        let mut claims: Vec<Claim> =
            self.keys.values().filter(|key| key.mean > 0.0).map(|key| self.claim(*key)).collect();
        claims.extend(Some(self.strangers()).filter(|claim| claim.demand > 0.0));
        let foreseen: f64 = claims.iter().map(|claim| claim.demand).sum();
        if foreseen == 0.0 {
            return;
        }
        let probability = match self.goal {
            Adaptive::Probability(probability) => probability,
            Adaptive::Throughput(_) => per_second / self.speed,
        };
        // Where all is met there is no level, and what is written is a number.
        self.level = level(&mut claims, probability * self.aim * foreseen).min(f64::MAX);
    }

    fn probability(&self, key: u64) -> f64 {
        if self.level == 0.0 {
            return self.goal.initial();
        }
        let known = self.keys.get(&key).filter(|key| key.mean > 0.0);
        let claim = known.map_or_else(|| self.strangers(), |key| self.claim(*key));
        // Of strangers there were none: a new one is as a key that was seen once.
        if claim.demand > 0.0 { claim.share(self.level) / claim.demand } else { (self.level).min(1.0) }
    }

    fn claim(&self, key: Key) -> Claim {
        let mean = f64::from(key.mean);
        Claim { demand: mean, weight: (mean / self.part).ln_1p() }
    }

    fn strangers(&self) -> Claim {
        let Strangers { mean, keys, .. } = self.strangers;
        let keys = keys.max(1.0);
        Claim { demand: mean, weight: keys * (mean / keys / self.part).ln_1p() }
    }

    /// What the others are to know.
    pub fn summary(&self) -> Option<Summary> {
        self.since.map(|(at, _)| summary(at, self.speed))
    }

    /// Goes on from what was written, which comes in any order. Of keys beyond the limit nothing is kept.
    pub fn restore(&mut self, holder: Holder, written: Written) {
        match (holder, written) {
            (HEAD, Written::Head(head)) => {
                let Head { at, length, speed, level, aim, part, mean, keys } = head;
                (self.length, self.speed, self.level, self.aim, self.part) = (length, speed, level, aim, part);
                (self.strangers.mean, self.strangers.keys) = (mean, keys);
                self.since = Some((at, Seen::default()));
            }
            (Holder::Key(key), Written::Mean(mean)) if mean > 0.0 && self.keys.len() < self.limit => {
                self.keys.insert(key.0, Key { mean, ..Key::default() });
            }
            _ => {}
        }
    }

    fn head(&self) -> Option<Head> {
        let Self { length, speed, level, aim, part, strangers: Strangers { mean, keys, .. }, .. } = *self;
        self.since.map(|(at, _)| Head { at, length, speed, level, aim, part, mean, keys })
    }
}

impl Table for Means {
    fn write(&mut self, write: &mut dyn FnMut(Holder, &dyn known::Written) -> bool) {
        if let Some(head) = self.head().filter(|_| self.is_new) {
            if !write(HEAD, &Written::Head(head)) {
                return;
            }
            self.is_new = false;
        }
        while let Some(number) = self.changed.front() {
            let key = self.keys.get_mut(number);
            if !write(Holder::Key(keys::Key(*number)), &Written::Mean(key.as_ref().map_or(0.0, |key| key.mean))) {
                return;
            }
            key.into_iter().for_each(|key| key.changed = false);
            self.changed.pop_front();
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.keys.allocation_size() + self.changed.capacity() * size_of::<u64>()
    }
}

// === impl Written ===

impl Written {
    /// # Errors
    /// The bytes are not of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes)?;
        let written = match from.time()? {
            None => Self::Mean(from.short()? as f32),
            Some(at) => Self::Head(Head {
                at,
                length: Some(from.number()?).filter(|length| (FIRST..=INTERVAL).contains(length)).ok_or(VALUE)?,
                speed: amount(&mut from)?,
                level: amount(&mut from)?,
                aim: amount(&mut from)?.clamp(1.0 / AIM, AIM),
                part: Some(amount(&mut from)?).filter(|part| *part > 0.0).ok_or(VALUE)?,
                mean: amount(&mut from)?,
                keys: amount(&mut from)?,
            }),
        };
        from.end()?;
        Ok(written)
    }
}

fn amount(from: &mut Reader<'_>) -> Result<f64, Malformed> {
    Some(from.float()?).filter(|amount| *amount >= 0.0).ok_or(VALUE)
}

impl known::Written for Written {
    fn to_bytes(&self) -> Vec<u8> {
        let mut into = Writer::new();
        match *self {
            Self::Mean(mean) => {
                into.time(None);
                into.short(f64::from(mean));
            }
            Self::Head(Head { at, length, speed, level, aim, part, mean, keys }) => {
                into.time(Some(at));
                into.number(length);
                [speed, level, aim, part, mean, keys].iter().for_each(|value| into.float(*value));
            }
        }
        into.bytes()
    }
}

impl known::State for Written {
    fn bytes(&self) -> usize {
        0
    }
}

// === impl Seen ===

impl Seen {
    fn add(&mut self, cost: f64, probability: f64) {
        self.traces += 1.0;
        self.cost += cost;
        self.kept += cost * probability;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fastrand::Rng;
    use proptest::{collection::vec, prelude::*};

    use super::{known::Written as _, *};

    fn second(second: i64) -> RecordTime {
        RecordTime(1_000_000_000_000 + second * 1000)
    }

    /// How likely a trace is to be kept.
    fn ask(sampler: &mut Means, key: u64) -> f64 {
        1.0 - sampler.ask(key, 1.0).0 as f64 / Threshold::NEVER.0 as f64
    }

    /// A second in which key n comes n times, up to 50.
    fn run(sampler: &mut Means, seconds: std::ops::Range<i64>) -> f64 {
        let mut kept = 0.0;
        for now in seconds {
            for key in 1..=50_u64 {
                kept += (0..key).map(|_| ask(sampler, key)).sum::<f64>();
            }
            sampler.advance(second(now), &Share::whole(100.0));
        }
        kept
    }

    #[test]
    fn rare_keys_are_kept_with_more_probability_and_frequent_ones_in_greater_number() {
        let mut sampler = Means::new(Adaptive::Throughput(100.0), 1_000);
        run(&mut sampler, 0..60);
        let probabilities: Vec<f64> = (1..=50).map(|key| ask(&mut sampler, key)).collect();
        assert!(probabilities.windows(2).all(|pair| pair[0] >= pair[1]), "{probabilities:?}");
        let counts: Vec<f64> =
            probabilities.iter().zip(1..).map(|(probability, key)| probability * f64::from(key)).collect();
        assert!(counts.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9), "{counts:?}");
        let kept = run(&mut sampler, 60..100) / 40.0;
        assert!((99.0..101.0).contains(&kept), "{kept}");
    }

    #[test]
    fn keys_that_never_came_before_do_not_overrun_the_goal() {
        let mut rng = Rng::with_seed(7);
        let mut sampler = Means::new(Adaptive::Throughput(100.0), 1_000);
        let mut kept = 0.0;
        for now in 0..120 {
            for _ in 0..1_000 {
                let probability = ask(&mut sampler, rng.u64(..));
                kept += if now < 30 { 0.0 } else { probability / 90.0 };
            }
            sampler.advance(second(now), &Share::whole(100.0));
        }
        assert!((95.0..105.0).contains(&kept), "{kept} of 1,000 new keys a second");
        assert!(sampler.bytes() < 128 << 10, "{} B", sampler.bytes());
    }

    #[test]
    fn what_never_came_but_one_day_does_is_kept_as_what_came_once() {
        let mut sampler = Means::new(Adaptive::Probability(0.1), 1_000);
        run(&mut sampler, 0..300);
        let stranger = ask(&mut sampler, 99);
        assert!(stranger > 0.9, "{stranger}");
    }

    #[test]
    fn a_restart_goes_on_and_rest_is_not_forgotten() {
        let mut sampler = Means::new(Adaptive::Throughput(100.0), 1_000);
        let mut state = BTreeMap::new();
        run(&mut sampler, 0..76);
        sampler.write(&mut |holder, written| {
            state.insert(holder, written.to_bytes());
            true
        });
        let mut next = Means::new(Adaptive::Throughput(100.0), 1_000);
        for (holder, bytes) in &state {
            next.restore(*holder, Written::from_bytes(bytes).expect("as written"));
        }
        let of = |sampler: &Means, key| sampler.probability(key);
        for key in 1..=50 {
            let (before, after) = (of(&sampler, key), of(&next, key));
            assert!((before - after).abs() < 1e-6, "key {key}: {before}, then {after}");
        }
        // An hour without traffic, and without a warm-up after it.
        for now in 76..3_676 {
            next.advance(second(now), &Share::whole(100.0));
        }
        let kept = run(&mut next, 3_676..3_686) / 10.0;
        assert!((95.0..105.0).contains(&kept), "{kept}");
        // Nor is there one after a leap.
        let kept = run(&mut next, 90_000..90_010) / 10.0;
        assert!((80.0..120.0).contains(&kept), "{kept}");
    }

    #[test]
    fn a_goal_above_all_traffic_is_remembered() {
        let mut sampler = Means::new(Adaptive::Throughput(1e9), 10);
        for now in 0..30 {
            ask(&mut sampler, 1);
            sampler.advance(second(now), &Share::whole(1e9));
        }
        let head = sampler.head().expect("time went on");
        let bytes = known::Written::to_bytes(&Written::Head(head));
        assert_eq!(Written::from_bytes(&bytes), Ok(Written::Head(head)));
        assert_eq!(sampler.probability(1), 1.0);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in vec(any::<u8>(), 0..70), head in any::<bool>()) {
            let mut sampler = Means::new(Adaptive::Throughput(10.0), 10);
            let holder = if head { HEAD } else { Holder::Key(keys::Key(7)) };
            for bytes in [bytes.clone(), [&[1, 0], &bytes[..]].concat(), [&[1, 1], &bytes[..]].concat()] {
                Written::from_bytes(&bytes).into_iter().for_each(|written| sampler.restore(holder, written));
            }
            for now in 0..3 {
                ask(&mut sampler, 7);
                sampler.advance(second(now), &Share::whole(10.0));
            }
            prop_assert!((0.0..=1.0).contains(&ask(&mut sampler, 7)));
        }

        #[test]
        fn a_beginning_is_no_state(end in 0..70_usize) {
            let mut sampler = Means::new(Adaptive::Throughput(10.0), 10);
            run(&mut sampler, 0..3);
            let written = Written::Head(sampler.head().expect("time has passed"));
            let bytes = written.to_bytes();
            prop_assert_eq!(Written::from_bytes(&bytes), Ok(written));
            prop_assert!(end >= bytes.len() || Written::from_bytes(&bytes[..end]).is_err());
        }
    }
}
