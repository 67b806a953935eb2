//! Which values are beyond a quantile of all that are seen: the slowest of the slow.

use std::mem;

use prost::Message;

use super::{Malformed, Rank, known, schema, sketch::Sketch};
use crate::model::RecordTime;

/// The rule. A value is kept where it is expected to be among the highest `tail` of all, when the window under way is over.
///
/// Windows begin at multiples of their length, in record time. How many values of a window will be above a given one is not
/// known before its end. What has passed of it is counted; for the rest of it, the window before is taken. So the *rank* of a
/// value is
///
/// ```text
/// above(current) + w · above(previous),    w = the share of the window that is still to come,
/// ```
///
/// and it is kept where its rank is at most
///
/// ```text
/// m + LEAN · √m + FIRST,    m = tail · (count(current) + w · count(previous)).
/// ```
///
/// √m is the standard error of a count of m. With few values seen, m is near 0 and FIRST is what is left: the first values of
/// a key are kept, then those that few are above. So the rule for the warm-up is the rule.
///
/// Of values that are alike, as timeouts are, no more are kept than fit: each with the same probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slowest {
    tail: f64,
    window: u64,
}

/// What one partition has seen of one key, or several partitions together.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The number of the window under way.
    window: i64,
    current: Sketch,
    /// Traces of it that the rule chose.
    chosen: u64,
    previous: Sketch,
    /// Of windows before, where the last holds too few values to go by.
    older: Sketch,
    usual: Option<Usual>,
    /// By how much this window speaks against what was usual: the logarithm of how much likelier it is if half as many are high.
    doubt: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Current,
    Previous,
    Older,
}

/// A window that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub start: RecordTime,
    /// Marked are those of traces that were kept.
    pub values: Sketch,
    /// Traces that the rule chose.
    pub chosen: u64,
}

/// Where a value stands among those of a window as it will be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    above: f64,
    /// Those that are alike.
    beside: f64,
    /// So many are kept, from the highest down.
    limit: f64,
}

/// What became of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// This rule would have it kept.
    pub chosen: bool,
    /// It was kept, by whatever policy.
    pub kept: bool,
}

/// What was high before this window, and how much a value below it says that this is so no more.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Usual {
    level: f64,
    against: f64,
}

/// Standard errors by which the rule leans to the side of keeping. Of 100,000 log-normal values in a window, with mild drift over a day,
/// 99.8 % of those beyond the quantile are kept at 1.23 times their number; at 1.75, as many at 1.20, but 99.4 % where they are narrow.
const LEAN: f64 = 2.0;
/// So many are kept before anything is known, and in each window as a reserve.
const FIRST: f64 = 1.0;
/// Values beyond the quantile that are enough to go by. With fewer, windows before the last are not forgotten. At 10, what was long ago
/// weighed too much: of 10,000 values in a window, with mild drift, 97 % of those beyond were kept; now it is 99.7 %.
const ENOUGH: f64 = 1.0;
/// The doubt, of all partitions together, at which windows before this one are forgotten. Where nothing has changed, that happens
/// in fewer than exp(-6) of all windows, which is one of 400.
const DOUBT_MAX: f64 = 6.0;
/// A share of a window that is too short for that: traffic that comes in bursts has lulls.
const LULL: f64 = 0.1;
/// The logarithm of one half.
const HALF: f64 = -core::f64::consts::LN_2;
/// High is what is among the highest, this many times the tail: more values are high than are beyond the quantile, and it is
/// known sooner whether they still are. A slow minute of ten is still seen.
const HIGH: f64 = 10.0;

/// The only one there is.
const FORMAT: u32 = 1;

// === impl Place ===

impl Place {
    /// With what probability the value is to be kept, which is 0 or 1 but for values that are alike.
    pub fn probability(self) -> f64 {
        let Self { above, beside, limit } = self;
        if above > limit {
            0.0
        } else if beside <= limit - above {
            1.0
        } else {
            (limit - above) / beside
        }
    }

    pub fn rank(self) -> Rank {
        // A cast from float to integer saturates.
        Rank { before: self.above.round() as u32, most: self.limit.floor() as u32 }
    }
}

// === impl Slowest ===

impl Slowest {
    /// `quantile` is between 0 and 1, `window` are milliseconds, above 0.
    pub fn new(quantile: f64, window: u64) -> Self {
        Self { tail: 1.0 - quantile, window: window.max(1) }
    }

    /// Where a value stands. The states are those of all partitions, as far as they are known, before they learn of the value.
    pub fn place<'s>(&self, value: f64, now: RecordTime, states: impl Iterator<Item = &'s State> + Clone) -> Place {
        let window = states.clone().map(|state| state.window).fold(self.number(now), i64::max);
        let doubt: f64 = states.clone().filter(|state| state.window == window).map(|state| state.doubt).sum();
        let sketches = || states.clone().flat_map(move |state| state.sketches(window));
        let count = |age| {
            let of_age = sketches().filter(|(other, _)| *other == age);
            of_age.map(|(_, sketch)| sketch.count() as f64).sum::<f64>()
        };

        let counts = [count(Age::Current), count(Age::Previous), count(Age::Older)];
        let to_come = self.still_to_come(now, window);
        let forgotten = doubt > DOUBT_MAX && to_come < 1.0 - LULL;
        let weights = if forgotten { [1.0, 0.0, 0.0] } else { self.weights(counts, to_come) };
        let expected = self.tail * counts.iter().zip(&weights).map(|(count, weight)| count * weight).sum::<f64>();
        let limit = expected + LEAN * expected.sqrt() + FIRST;

        let (mut above, mut beside) = (0.0, 0.0);
        for (age, sketch) in sketches() {
            let weight = weights[age as usize];
            if weight == 0.0 {
                continue;
            }
            // A cast from float to integer saturates.
            let place = sketch.place(value, ((limit - above) / weight) as u64);
            above += weight * place.above as f64;
            beside += weight * place.beside as f64;
            if above > limit {
                break;
            }
        }
        Place { above, beside, limit }
    }

    /// What sketches count by age: of the previous window as much as is still to come of this one, and of it and those before
    /// at least as much as is enough, if there is.
    fn weights(&self, [current, previous, older]: [f64; 3], to_come: f64) -> [f64; 3] {
        let missing =
            |seen: f64, of: f64| if of > 0.0 { ((ENOUGH / self.tail - seen) / of).clamp(0.0, 1.0) } else { 0.0 };
        let last = missing(current, previous).max(to_come);
        [1.0, last, missing(current + last * previous, older)]
    }

    pub(super) fn number(&self, at: RecordTime) -> i64 {
        at.0.div_euclid(self.length())
    }

    fn start(&self, window: i64) -> RecordTime {
        RecordTime(window.saturating_mul(self.length()))
    }

    fn length(&self) -> i64 {
        i64::try_from(self.window).unwrap_or(i64::MAX)
    }

    /// The share of a window that is still to come.
    fn still_to_come(&self, now: RecordTime, window: i64) -> f64 {
        1.0 - (now.since(self.start(window)) as f64 / self.window as f64).min(1.0)
    }
}

// === impl State ===

impl State {
    pub fn new(rule: &Slowest, now: RecordTime) -> Self {
        let none = || Sketch::new(rule.tail);
        Self {
            window: rule.number(now),
            current: none(),
            chosen: 0,
            previous: none(),
            older: none(),
            usual: None,
            doubt: 0.0,
        }
    }

    /// Learns of a trace. Time that goes back stands still. Gives the last window if that is over now.
    pub fn learn(&mut self, rule: &Slowest, value: f64, fate: Fate, now: RecordTime) -> Option<Window> {
        let over = self.advance(rule, now);
        self.current.add(value, fate.kept);
        self.chosen += u64::from(fate.chosen);
        if let Some(Usual { level, against }) = self.usual {
            self.doubt += if value >= level { HALF } else { against };
        }
        over
    }

    /// Time passes. Gives the last window if that is over now.
    pub fn advance(&mut self, rule: &Slowest, now: RecordTime) -> Option<Window> {
        let window = rule.number(now);
        if window <= self.window {
            return None;
        }
        let none = || Sketch::new(rule.tail);
        let mut values = mem::replace(&mut self.current, none());
        values.shrink();
        let over = Window { start: rule.start(self.window), values, chosen: mem::take(&mut self.chosen) };
        if self.doubt > DOUBT_MAX {
            (self.previous, self.older) = (none(), none());
        }
        let before = mem::replace(&mut self.previous, over.values.clone());
        self.previous.unmark();
        self.grow_older(rule, &before);
        if window > self.window + 1 {
            let before = mem::replace(&mut self.previous, none());
            self.grow_older(rule, &before);
        }
        self.window = window;
        self.look_back();
        Some(over)
    }

    /// The number of the window under way.
    pub fn window(&self) -> i64 {
        self.window
    }

    /// When that began.
    pub fn time(&self, rule: &Slowest) -> RecordTime {
        rule.start(self.window)
    }

    /// Values in this window and before, as far as they count.
    pub fn count(&self) -> u64 {
        self.current.count() + self.previous.count()
    }

    /// In the window of this number, where that is this one or the last.
    pub fn values(&self, window: i64) -> Option<&Sketch> {
        match self.window.checked_sub(window) {
            Some(0) => Some(&self.current),
            Some(1) => Some(&self.previous),
            _ => None,
        }
    }

    /// In this window.
    pub fn current(&self) -> &Sketch {
        &self.current
    }

    pub fn write(&self) -> schema::Slowest {
        let Self { window, current, chosen, previous, older, usual: _, doubt } = self;
        let [current, previous, older] = [current, previous, older].map(|sketch| Some(sketch.write()));
        schema::Slowest { format: FORMAT, window: *window, current, chosen: *chosen, previous, older, doubt: *doubt }
    }

    /// # Errors
    /// It was not written by `write` of this version.
    pub fn read(written: &schema::Slowest, rule: &Slowest) -> Result<Self, Malformed> {
        let schema::Slowest { format, window, ref current, chosen, ref previous, ref older, doubt } = *written;
        if format != FORMAT {
            return Err(Malformed("a format that this version does not know"));
        }
        if !doubt.is_finite() {
            return Err(Malformed("a doubt that is no number"));
        }
        let read = |sketch: &Option<schema::Sketch>| {
            Sketch::read(sketch.as_ref().ok_or(Malformed("a sketch that is missing"))?, rule.tail)
        };
        let (current, previous, older) = (read(current)?, read(previous)?, read(older)?);
        let mut state = Self { window, current, chosen, previous, older, usual: None, doubt: 0.0 };
        state.look_back();
        state.doubt = doubt;
        Ok(state)
    }

    /// As they are in this window, which may be a later one.
    fn sketches(&self, window: i64) -> [(Age, &Sketch); 3] {
        let later = window.saturating_sub(self.window).clamp(0, 2) as usize;
        let ages = [Age::Current, Age::Previous, Age::Older, Age::Older, Age::Older];
        [(ages[later], &self.current), (ages[later + 1], &self.previous), (ages[later + 2], &self.older)]
    }

    /// Takes in what is not the previous window any more, and forgets what is not needed beside the previous.
    fn grow_older(&mut self, rule: &Slowest, before: &Sketch) {
        let enough = (ENOUGH / rule.tail) as u64;
        if self.previous.count() >= enough {
            self.older = Sketch::new(rule.tail);
            return;
        }
        self.older.merge(before);
        while self.older.count() > 2 * enough {
            self.older.halve();
        }
    }

    /// Takes from the windows before what is usual.
    fn look_back(&mut self) {
        self.usual = Usual::of(&self.previous).or_else(|| Usual::of(&self.older));
        self.doubt = 0.0;
    }
}

impl known::Written for State {
    fn to_bytes(&self) -> Vec<u8> {
        self.write().encode_to_vec()
    }
}

impl known::State for State {
    fn bytes(&self) -> usize {
        self.current.bytes() + self.previous.bytes() + self.older.bytes()
    }
}

// === impl Usual ===

impl Usual {
    /// None where too few values are known.
    fn of(before: &Sketch) -> Option<Self> {
        // A cast from float to integer saturates.
        let high = (before.tail() * HIGH * before.count() as f64) as u64;
        let (level, place) = before.at(high.min(before.stored()).checked_sub(1)?);
        let share = (place.above + place.beside) as f64 / before.count() as f64;
        // Where most are alike, nothing is high.
        (share < 0.5).then(|| Self { level, against: ((1.0 - share / 2.0) / (1.0 - share)).ln() })
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::{collection::vec, prelude::*};
    use prost::Message;

    use super::*;
    use crate::sample::coverage::Coverage;

    /// Milliseconds.
    const WINDOW: u64 = 60_000;
    const RULE: Slowest = Slowest { tail: 0.01, window: WINDOW };

    /// One partition, and what it makes of traces.
    struct Run {
        state: State,
        rng: Rng,
    }

    impl Run {
        fn new() -> Self {
            Self { state: State::new(&RULE, RecordTime(0)), rng: Rng::with_seed(3) }
        }

        fn take(&mut self, value: f64, at: RecordTime) -> bool {
            let probability = RULE.place(value, at, [&self.state].into_iter()).probability();
            let kept = probability > 0.0 && self.rng.f64() < probability;
            self.state.learn(&RULE, value, Fate { chosen: kept, kept }, at);
            kept
        }

        /// A window of so many traces, each `by` times as long as an exponential one. How many were kept, and how many of the
        /// slowest hundredth.
        fn window(&mut self, number: u64, traces: u64, by: f64) -> (usize, usize) {
            let mut all = Vec::new();
            for trace in 0..traces {
                let value = -(1.0 - self.rng.f64()).ln() * by;
                all.push((value, self.take(value, RecordTime((number * WINDOW + trace * WINDOW / traces) as i64))));
            }
            let kept = all.iter().filter(|(_, kept)| *kept).count();
            all.sort_by(|a, b| b.0.total_cmp(&a.0));
            (kept, all[..traces as usize / 100].iter().filter(|(_, kept)| *kept).count())
        }
    }

    #[test]
    fn the_first_are_kept_and_then_the_highest() {
        let mut run = Run::new();
        let kept: Vec<_> = [5.0, 4.0, 3.0, 6.0, 4.0, 7.0].iter().map(|value| run.take(*value, RecordTime(0))).collect();
        assert_eq!(kept, [true, true, false, true, false, true]);
    }

    #[test]
    fn little_more_is_kept_than_is_beyond_the_quantile() {
        let mut run = Run::new();
        let (warm_up, _) = run.window(0, 10_000, 1.0);
        assert!(warm_up < 200, "{warm_up}");
        for number in 1..10 {
            let (kept, covered) = run.window(number, 10_000, 1.0);
            assert!(covered >= 95 && kept <= 160, "{kept} {covered}");
        }
    }

    #[test]
    fn a_step_up_is_no_flood() {
        let mut run = Run::new();
        (0..3).for_each(|number| _ = run.window(number, 10_000, 1.0));
        // Of k values after it, the one that comes next is among the highest 121 with a probability of 121 / k: 655 in all, by chance
        // some more.
        let (kept, covered) = run.window(3, 10_000, 1000.0);
        assert!(kept <= 720 && covered == 100, "{kept} {covered}");
        let (kept, covered) = run.window(4, 10_000, 1000.0);
        assert!(kept <= 160 && covered >= 95, "{kept} {covered}");
    }

    #[test]
    fn after_a_step_down_what_was_is_soon_forgotten() {
        let mut run = Run::new();
        (0..3).for_each(|number| _ = run.window(number, 10_000, 1000.0));
        let (kept, covered) = run.window(3, 10_000, 1.0);
        assert!(covered >= 95 && kept <= 200, "{kept} {covered}");
    }

    #[test]
    fn after_a_slow_minute_what_is_usual_is_soon_known_again() {
        let mut run = Run::new();
        run.window(0, 10_000, 1.0);
        // A tenth of a window.
        for trace in 0..1000 {
            run.take(1000.0 + f64::from(trace % 97), RecordTime(WINDOW as i64 * 3 / 2 + i64::from(trace) * 6));
        }
        let (kept, covered) = run.window(2, 10_000, 1.0);
        assert!(covered >= 85 && kept <= 200, "{kept} {covered}");
    }

    #[test]
    fn of_those_alike_no_more_are_kept_than_fit() {
        let mut run = Run::new();
        run.window(0, 10_000, 1.0);
        let kept: usize = (1..6)
            .map(|number| {
                // One in ten times out.
                let at = |trace: u64| RecordTime((number * WINDOW + trace * 6) as i64);
                (0..10_000).filter(|trace| run.take(if trace % 10 == 0 { 30.0 } else { 1.0 }, at(*trace))).count()
            })
            .sum();
        // The first window is one after a step up.
        assert!((500..1000).contains(&kept), "{kept} of 500 that are beyond");
    }

    #[test]
    fn a_rare_key_is_compared_with_windows_long_ago() {
        let mut run = Run::new();
        // Ten in each window, of which one that had only these would keep three.
        let kept: usize = (0..300).map(|number| run.window(number, 10, 1.0).0).sum();
        assert!(kept < 300, "{kept}");
    }

    #[test]
    fn the_window_that_is_over_tells_its_coverage() {
        let mut run = Run::new();
        let mut chosen = 0;
        for trace in 0..1000 {
            chosen += u64::from(run.take(f64::from(trace), RecordTime(0)));
        }
        let window = run.state.advance(&RULE, RecordTime(WINDOW as i64 * 7)).expect("over");
        assert_eq!(window.start, RecordTime(0));
        assert_eq!(Coverage::of(&window, &[], &[]), Coverage { beyond: 10, covered: 10, chosen });
        assert_eq!(Coverage::of(&window, &[], &[]).excess(), chosen - 10);
        assert_eq!(run.state.advance(&RULE, RecordTime(0)), None);
    }

    /// Values at times that stand still, go back, and leap.
    fn traces() -> impl Strategy<Value = Vec<(f64, i64)>> {
        let time = prop_oneof![9 => 0_i64..4 * WINDOW as i64, 1 => any::<i64>()];
        vec((prop_oneof![9 => 0.0..1e9_f64, 1 => any::<f64>()], time), 0..400)
    }

    fn learned(traces: &[(f64, i64)]) -> State {
        let mut state = State::new(&RULE, RecordTime(0));
        for &(value, at) in traces {
            state.learn(&RULE, value, Fate { chosen: value > 1.0, kept: value > 2.0 }, RecordTime(at));
        }
        state
    }

    proptest! {
        #[test]
        fn a_probability_is_one(traces in traces(), value: f64, at: i64) {
            let states = [learned(&traces), learned(&traces[traces.len() / 2..])];
            let probability = RULE.place(value, RecordTime(at), states.iter()).probability();
            prop_assert!((0.0..=1.0).contains(&probability), "{}", probability);
        }

        #[test]
        fn what_is_higher_is_rather_kept(traces in traces(), values: [f64; 2], at: i64) {
            let states = [learned(&traces), learned(&traces[traces.len() / 2..])];
            let of = |value| RULE.place(value, RecordTime(at), states.iter()).probability();
            prop_assert!(of(values[0].max(values[1])) >= of(values[0].min(values[1])));
        }

        /// Partitions together say what one would say that had seen it all.
        #[test]
        fn partitions_together_say_the_same(values in vec((0.0..1e3_f64, 0_i64..3), 0..60), value in 0.0..1e3_f64, half: bool) {
            let mut traces: Vec<_> = values.iter().map(|(value, window)| (*value, window * WINDOW as i64)).collect();
            traces.sort_by_key(|trace| trace.1);
            let (even, odd): (Vec<_>, Vec<_>) = traces.iter().partition(|(value, _)| (*value as u64).is_multiple_of(2));
            let parts = [learned(&even), learned(&odd)];
            let now = RecordTime(2 * WINDOW as i64 + if half { WINDOW as i64 / 2 } else { 0 });
            let apart = RULE.place(value, now, parts.iter()).probability();
            let together = RULE.place(value, now, [&learned(&traces)].into_iter()).probability();
            prop_assert!((apart - together).abs() < 1e-9, "{} {}", apart, together);
        }

        #[test]
        fn what_is_written_is_read(traces in traces()) {
            let state = learned(&traces);
            prop_assert_eq!(State::read(&state.write(), &RULE), Ok(state));
        }

        #[test]
        fn what_is_damaged_is_refused_or_works(traces in traces(), bytes in vec(any::<(u16, u8)>(), 1..9), value: f64, at: i64) {
            let mut written = learned(&traces).write().encode_to_vec();
            for (at, byte) in bytes {
                let at = usize::from(at) % written.len();
                written[at] = byte;
            }
            let read = schema::Slowest::decode(&*written).ok().and_then(|written| State::read(&written, &RULE).ok());
            if let Some(mut state) = read {
                let probability = RULE.place(value, RecordTime(at), [&state].into_iter()).probability();
                prop_assert!((0.0..=1.0).contains(&probability), "{}", probability);
                state.learn(&RULE, value, Fate::default(), RecordTime(at));
            }
        }
    }
}
