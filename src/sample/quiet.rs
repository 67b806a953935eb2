//! How long to wait for another span, learned from how long spans have kept others waiting.

use std::mem;

use prost::Message;

use super::{
    Malformed, Others,
    keys::Holder,
    known::{self, Remembers},
    operations::{IDLE_WINDOWS, OPERATIONS, Operations},
    schema,
    sketch::Sketch,
    trail::Gaps,
};
use crate::model::RecordTime;

/// The rule: of all spans of an operation that could have been waited for, a share of at most `1 − completeness` comes after the
/// verdict.
///
/// A span is late where a [gap](Gaps) before it was longer than the quiet period: its trace was decided in that gap, and whatever
/// comes behind it is late too. So for each span the longest gap before it is counted, and not each gap once, and the share of
/// spans whose gap is longer than q is exactly what a quiet period q makes late:
///
/// ```text
/// late(q) = #{spans with a longest gap > q} / n
/// ```
///
/// The quiet period is the least q of which no more than r spans speak against it:
///
/// ```text
/// r = m − LEAN · √m, and at least 0,    m = n · (1 − completeness) / 2.
/// ```
///
/// The half is for the two forms in which a trace waits, whole and torn: each has its quiet period and its half of what may be
/// late. √m is the standard error of a count of m. Whatever gaps are like, those of the next span are longer than all but the longest
/// r of n with a probability of (r + 1) / (n + 1), if it is like those before it (Wilks, "Determination of Sample Sizes for Setting
/// Tolerance Limits", Annals of Mathematical Statistics 12, 1941). So from m = 1 on, which is 2,000 spans for 99.9 %, no more are
/// expected to be late than may be.
///
/// What comes after the verdict counts as what comes before it, with the gap that it had. So what was waited hides nothing: a gap
/// that was longer than the quiet period is seen, only later, for as long as verdicts are remembered. What came more than
/// `max_wait` after the first span of its trace is not to be counted here: no quiet period reaches it, and waiting longer for
/// all others would be in vain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quiet {
    /// The share of spans that may be late, for each form.
    late: f64,
    default: Periods,
}

/// How long a trace waits for another span, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Periods {
    /// While it is whole.
    pub whole: u64,
    /// While a parent is missing: never shorter.
    pub torn: u64,
}

/// What one partition has seen of one operation.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The times of the first and the last lesson.
    since: RecordTime,
    until: RecordTime,
    current: Generation,
    previous: Generation,
}

/// The longest gaps before each span that came while it lasted.
#[derive(Clone, Debug, PartialEq)]
struct Generation {
    whole: Sketch,
    torn: Sketch,
}

/// Milliseconds of record time, counted from the epoch. A generation ends with a window, and what counts is the one under way and
/// the one before: so a slow hour is forgotten in at most twice as long, and what has to come again in that time is a tail.
const WINDOW: i64 = 600_000;

/// Standard errors by which the quiet period leans to the side of waiting. Late spans come in groups, of a trace each, so that the
/// error of their count is larger than that of single ones.
const LEAN: f64 = 2.0;

/// Spans that may be late, of all that are counted, that are enough to go by. With fewer, not even the longest gap of all that were
/// seen would be expected to be enough.
const ENOUGH: f64 = 1.0;

/// And with fewer no generation ends: the lean is about a third of so many.
const KEPT: f64 = 32.0;

const NAME: u64 = u64::from_be_bytes(*b"quietude");

/// The only one there is.
const FORMAT: u32 = 1;

/// The number of the window that a time is in.
pub(super) fn window(at: RecordTime) -> i64 {
    at.0.div_euclid(WINDOW)
}

// === impl Quiet ===

impl Quiet {
    /// `completeness` is between 0 and 1. Until enough is known, a whole trace waits for `default` milliseconds, and a torn one for
    /// `max_wait`.
    pub fn new(completeness: f64, default: u64, max_wait: u64) -> Self {
        let default = Periods { whole: default.min(max_wait), torn: max_wait };
        Self { late: (1.0 - completeness) / 2.0, default }
    }

    /// What its states are written under, beside those of samplers, whose names are hashes too. What was learned for another goal, or
    /// below another bound, is of no use.
    pub fn name(&self) -> u64 {
        let mix = |name: u64, part: u64| (name.rotate_left(29) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        [self.late.to_bits(), self.max_wait()].into_iter().fold(NAME, mix)
    }

    /// Before anything is known.
    pub fn default(&self) -> Periods {
        self.default
    }

    pub fn max_wait(&self) -> u64 {
        self.default.torn
    }

    /// How long to wait, by what all these have seen. None before so many spans were seen that some may be late, and for as long as
    /// `max_wait`: what keeps others waiting longest comes last.
    pub fn periods<'s>(&self, states: impl Iterator<Item = &'s State> + Clone) -> Option<Periods> {
        if !states.clone().any(|state| state.until.since(state.since) >= self.max_wait()) {
            return None;
        }
        let generations = states.flat_map(|state| [&state.current, &state.previous]);
        let whole = self.period(generations.clone().map(|generation| &generation.whole))?;
        let torn = self.period(generations.map(|generation| &generation.torn))?;
        Some(Periods { whole, torn: torn.max(whole) })
    }

    fn period<'s>(&self, gaps: impl Iterator<Item = &'s Sketch> + Clone) -> Option<u64> {
        let expected = self.late * gaps.clone().map(Sketch::count).sum::<u64>() as f64;
        // A cast from float to integer saturates.
        let rank = (expected - LEAN * expected.sqrt()) as u64;
        (expected >= ENOUGH).then(|| (Sketch::limit(gaps, rank).ceil() as u64).min(self.max_wait()))
    }
}

impl Remembers for Quiet {
    type State = State;
    type Table = Operations;
    type Others = Others<State>;

    fn table(&self, now: RecordTime) -> Operations {
        Operations::new(*self, OPERATIONS, now)
    }

    fn put(operations: &mut Operations, holder: Holder, state: State) {
        operations.put(holder, state);
    }

    fn read(&self, value: &[u8]) -> Result<State, Malformed> {
        State::read(&schema::Quiet::decode(value).map_err(|_| Malformed("no message"))?, self)
    }

    fn time(&self, state: &State) -> RecordTime {
        state.until
    }

    fn is_past(&self, state: &State, now: RecordTime) -> bool {
        window(state.until) < window(now).saturating_sub(IDLE_WINDOWS)
    }
}

// === impl State ===

impl State {
    pub fn new(rule: &Quiet, now: RecordTime) -> Self {
        let [current, previous] = [(); 2].map(|()| Generation::new(rule));
        Self { since: now, until: now, current, previous }
    }

    /// Learns of spans, of a trace that was decided or late ones. Time that goes back stands still.
    pub fn learn(&mut self, rule: &Quiet, spans: &[Gaps], now: RecordTime) {
        self.advance(rule, now);
        for gaps in spans {
            self.current.whole.add(gaps.whole as f64, false);
            self.current.torn.add(gaps.torn as f64, false);
        }
    }

    /// The time of the last lesson.
    pub fn until(&self) -> RecordTime {
        self.until
    }

    pub fn write(&self) -> schema::Quiet {
        let Self { since, until, current, previous } = self;
        let [current, previous] = [current, previous].map(|generation| Some(generation.write()));
        schema::Quiet { format: FORMAT, since: since.0, until: until.0, current, previous }
    }

    /// # Errors
    /// It was not written by `write` of this version.
    pub fn read(written: &schema::Quiet, rule: &Quiet) -> Result<Self, Malformed> {
        let schema::Quiet { format, since, until, ref current, ref previous } = *written;
        if format != FORMAT {
            return Err(Malformed("a format that this version does not know"));
        }
        if since > until {
            return Err(Malformed("an end before the beginning"));
        }
        let read = |generation: &Option<schema::Generation>| {
            Generation::read(generation.as_ref().ok_or(Malformed("a generation that is missing"))?, rule)
        };
        let (current, previous) = (read(current)?, read(previous)?);
        Ok(Self { since: RecordTime(since), until: RecordTime(until), current, previous })
    }

    /// Time passes: with a window a generation ends, if enough was seen of it.
    fn advance(&mut self, rule: &Quiet, now: RecordTime) {
        let is_over = window(now) > window(self.until);
        self.until = self.until.max(now);
        if is_over && rule.late * (self.current.whole.count() as f64) >= KEPT {
            self.previous = mem::replace(&mut self.current, Generation::new(rule));
            self.previous.shrink();
        }
    }
}

impl known::Written for State {
    fn to_bytes(&self) -> Vec<u8> {
        self.write().encode_to_vec()
    }
}

impl known::State for State {
    fn bytes(&self) -> usize {
        self.current.bytes() + self.previous.bytes()
    }
}

// === impl Generation ===

impl Generation {
    fn new(rule: &Quiet) -> Self {
        Self { whole: Sketch::new(rule.late), torn: Sketch::new(rule.late) }
    }

    /// Gives back memory that is not used: nothing more will be added.
    fn shrink(&mut self) {
        self.whole.shrink();
        self.torn.shrink();
    }

    fn bytes(&self) -> usize {
        self.whole.bytes() + self.torn.bytes()
    }

    fn write(&self) -> schema::Generation {
        schema::Generation { whole: Some(self.whole.write()), torn: Some(self.torn.write()) }
    }

    fn read(written: &schema::Generation, rule: &Quiet) -> Result<Self, Malformed> {
        let read = |sketch: &Option<schema::Sketch>| {
            Sketch::read(sketch.as_ref().ok_or(Malformed("a sketch that is missing"))?, rule.late)
        };
        Ok(Self { whole: read(&written.whole)?, torn: read(&written.torn)? })
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const MAX_WAIT: u64 = 30_000;

    fn rule() -> Quiet {
        Quiet::new(0.99, 5_000, MAX_WAIT)
    }

    fn periods(state: &State) -> Option<Periods> {
        rule().periods([state].into_iter())
    }

    /// Spans with an exponential gap of so many milliseconds on average while whole, and with a tenth of it while torn.
    fn spans(rng: &mut Rng, count: usize, mean: f64) -> Vec<Gaps> {
        let mut gap = |mean: f64| (-(1.0 - rng.f64()).ln() * mean) as u64;
        (0..count).map(|_| Gaps { whole: gap(mean), torn: gap(mean / 10.0) }).collect()
    }

    fn late(spans: &[Gaps], of: fn(Gaps) -> u64, period: u64) -> f64 {
        spans.iter().filter(|gaps| of(**gaps) > period).count() as f64 / spans.len() as f64
    }

    #[test]
    fn nothing_is_said_before_enough_is_known() {
        let mut state = State::new(&rule(), RecordTime(0));
        let span = [Gaps { whole: 700, torn: 900 }];
        for at in 0..199 {
            state.learn(&rule(), &span, RecordTime(at * 1000));
            assert_eq!(periods(&state), None, "of {at} spans, one that is late would be too many");
        }
        state.learn(&rule(), &span, RecordTime(199_000));
        let Periods { whole, torn } = periods(&state).expect("200 spans");
        assert!((700..704).contains(&whole) && (900..904).contains(&torn), "{whole} {torn}");

        let mut hasty = State::new(&rule(), RecordTime(0));
        hasty.learn(&rule(), &[Gaps::default(); 10_000], RecordTime(MAX_WAIT as i64 - 1));
        assert_eq!(periods(&hasty), None, "what is slow has not come yet");
        hasty.learn(&rule(), &[], RecordTime(MAX_WAIT as i64));
        assert_eq!(periods(&hasty), Some(Periods { whole: 0, torn: 0 }));
    }

    /// Of 1,000 seeds: the share of spans to come that is late is below what is allowed on average, and all but never above it by more
    /// than half; what is waited is not much longer than what would have been enough.
    #[test]
    fn few_enough_are_late() {
        let (mut sum, mut over) = (0.0, 0);
        for seed in 0..1_000 {
            let mut rng = Rng::with_seed(seed);
            let mut state = State::new(&rule(), RecordTime(0));
            for second in 0..60 {
                state.learn(&rule(), &spans(&mut rng, 50, 1_000.0), RecordTime(second * 1000));
            }
            let Periods { whole, torn } = periods(&state).expect("3,000 spans");
            let to_come = spans(&mut rng, 2_000, 1_000.0);
            // An exponential gap is longer than −ln(0.005) = 5.3 means with a probability of 0.5 %.
            assert!((4_000..12_000).contains(&whole) && whole <= MAX_WAIT, "seed {seed}: {whole}");
            let late = [late(&to_come, |gaps| gaps.whole, whole), late(&to_come, |gaps| gaps.torn, torn)];
            sum += late[0] / 1000.0;
            over += usize::from(late[0] > 0.0075);
            assert!(late[1] <= 0.001, "seed {seed}: a torn trace waits no shorter than a whole one");
        }
        // 7.2 of 15 may be late after the lean; the standard error of the mean is 0.00006.
        assert!((0.0018..0.0032).contains(&sum), "{sum}");
        assert!(over < 30, "{over}");
    }

    #[test]
    fn no_period_is_longer_than_max_wait() {
        let mut state = State::new(&rule(), RecordTime(0));
        state.learn(&rule(), &[Gaps { whole: 1 << 40, torn: u64::MAX }; 1_000], RecordTime(60_000));
        assert_eq!(periods(&state), Some(Periods { whole: MAX_WAIT, torn: MAX_WAIT }));
        assert_eq!(Quiet::new(0.99, 5_000, 2_000).default(), Periods { whole: 2_000, torn: 2_000 });
    }

    #[test]
    fn slow_times_are_noticed_at_once_and_forgotten_later() {
        let (rule, mut rng) = (rule(), Rng::with_seed(1));
        let mut state = State::new(&rule, RecordTime(0));
        let mut window = |state: &mut State, number: i64, mean| {
            for part in 0..30 {
                let at = RecordTime(number * WINDOW + part * WINDOW / 30);
                state.learn(&rule, &spans(&mut rng, 1_000, mean), at);
            }
            periods(state).expect("it knows").whole
        };
        let before = (0..3).map(|number| window(&mut state, number, 100.0)).last().expect("three");
        let slow = window(&mut state, 3, 1_000.0);
        assert!(before < 700 && slow > 4_500, "{before} {slow}");
        let after: Vec<u64> = (4..6).map(|number| window(&mut state, number, 100.0)).collect();
        assert!(after[0] > 3_000 && after[1] < 700, "{after:?}");
    }

    #[test]
    fn what_is_rare_is_not_forgotten() {
        let mut state = State::new(&rule(), RecordTime(0));
        for hour in 0..300 {
            state.learn(&rule(), &[Gaps { whole: 700, torn: 0 }; 10], RecordTime(hour * 3_600_000));
        }
        assert_eq!(state.current.whole.count(), 3_000);
    }

    fn is_in_bounds(periods: Periods) -> bool {
        periods.whole <= periods.torn && periods.torn <= MAX_WAIT
    }

    fn gaps() -> impl Strategy<Value = Gaps> {
        let gap = || prop_oneof![4 => 0..50_u64, 4 => 0..100_000_u64, 1 => any::<u64>()];
        (gap(), gap()).prop_map(|(whole, torn)| Gaps { whole, torn })
    }

    fn lessons() -> impl Strategy<Value = Vec<(i64, Vec<Gaps>)>> {
        let time = prop_oneof![9 => 0_i64..2_000_000, 1 => any::<i64>()];
        vec((time, vec(gaps(), 0..300)), 0..20)
    }

    fn of(lessons: &[(i64, Vec<Gaps>)]) -> State {
        let mut state = State::new(&rule(), RecordTime(0));
        lessons.iter().for_each(|(at, spans)| state.learn(&rule(), spans, RecordTime(*at)));
        state
    }

    proptest! {
        #[test]
        fn it_makes_no_difference_how_spans_are_read(lessons in lessons()) {
            let one = |(at, spans): &(i64, Vec<Gaps>)| spans.iter().map(|gaps| (*at, vec![*gaps])).collect::<Vec<_>>();
            let some: Vec<_> = lessons.iter().filter(|(_, spans)| !spans.is_empty()).cloned().collect();
            prop_assert_eq!(of(&some), of(&some.iter().flat_map(one).collect::<Vec<_>>()));
        }

        #[test]
        fn periods_are_in_bounds(lessons in lessons()) {
            prop_assert!(periods(&of(&lessons)).is_none_or(is_in_bounds));
        }

        #[test]
        fn what_is_written_is_read(lessons in lessons()) {
            let state = of(&lessons);
            prop_assert_eq!(State::read(&state.write(), &rule()), Ok(state));
        }

        #[test]
        fn what_partitions_have_seen_adds_up(spans in vec(gaps(), 0..600), at in 0.0..1.0) {
            let at = (at * spans.len() as f64) as usize;
            let [left, right, all] = [&spans[..at], &spans[at..], &spans].map(|spans| of(&[(50_000, spans.to_vec())]));
            prop_assert_eq!(rule().periods([&left, &right].into_iter()), periods(&all));
        }

        #[test]
        fn what_is_damaged_is_refused_or_sound(lessons in lessons(), bytes in vec(any::<(u16, u8)>(), 1..9)) {
            let mut written = of(&lessons).write().encode_to_vec();
            for (at, byte) in bytes {
                let at = usize::from(at) % written.len();
                written[at] = byte;
            }
            let read = schema::Quiet::decode(&*written).ok().and_then(|written| State::read(&written, &rule()).ok());
            if let Some(mut state) = read {
                state.learn(&rule(), &[Gaps::default()], RecordTime(i64::MAX));
                let other = of(&lessons);
                let periods = rule().periods([&state, &other].into_iter());
                prop_assert!(periods.is_none_or(is_in_bounds));
            }
        }
    }

    #[test]
    fn what_was_not_written_here_is_refused() {
        let written = of(&[(0, vec![Gaps::default()])]).write();
        let damaged = [
            schema::Quiet::default(),
            schema::Quiet { format: 2, ..written.clone() },
            schema::Quiet { since: 1, ..written.clone() },
            schema::Quiet { current: None, ..written.clone() },
            schema::Quiet { previous: None, ..written.clone() },
            schema::Quiet { current: Some(schema::Generation::default()), ..written.clone() },
        ];
        for damaged in damaged {
            assert!(State::read(&damaged, &rule()).is_err(), "{damaged:?}");
        }
        assert!(State::read(&written, &rule()).is_ok());
    }
}
