//! The core: records and times in, ticks out.
//!
//! Decoding, assembly and decision in one state machine per worker, which never reads a clock, waits, logs or does I/O.
//! The processor, the demo, simulations and benchmarks all drive this one.

mod batch;
mod carry_out;
mod cut;
mod ingest;
mod judge;
mod late;
mod lessons;
mod letters;
pub mod output;
mod room;
mod sets;
#[cfg(test)]
mod tests;
mod workspace;

use std::sync::Arc;

use crate::{
    assemble::{Assembly, Completion, Keying, Reason, Standing, Start},
    decide::{Context, Edition, Facts, PolicySet, Verdict, Vote, Weight},
    decisions::Decision,
    encode::{Carried, Stamps},
    model::{Fingerprint, RecordTime, TraceId},
    mutant::{self, Mutant},
    recall::Terms,
    sample::{self, Learned, States},
    stats::Stats,
    tick::Tick,
};
pub use ingest::{Past, Record};
use judge::facts;
use lessons::Lessons;
use sets::{Sets, layout};
use workspace::Workspace;

pub struct Engine {
    settings: Settings,
    sets: Sets,
    assembly: Assembly<Context, Decided>,
    /// What samplers have learned.
    states: States,
    /// Policies whose samplers keep what they match, and no others do, whatever was learned.
    given: Option<Box<[u16]>>,
    /// How long traces wait is learned of these.
    lessons: Lessons,
    /// On the trace at hand.
    votes: Vec<Vote>,
    /// What is due together, below ceilings.
    batch: batch::Batch,
    tick: Tick,
    /// A tick that came back, its memory to be used again.
    spare: Tick,
    /// Bytes and spans of the tick that is out.
    out: (usize, u64),
    stats: Stats,
    /// What policies are worth to the traces that were judged; None where nobody asks.
    weighed: Option<Vec<Weighed>>,
    /// Bytes that may be taken in before the budget is looked at again.
    room: usize,
    /// What was learned is written as fast as it goes: nothing more will be.
    concluding: bool,
    /// The budget has no room for more output until a tick is settled.
    crowded: bool,
    /// What was held before a restart does not fit.
    stuck: bool,
    /// The record whose time was taken, while it waits to be taken in itself.
    observed: Option<(u32, i64)>,
    scratch: Workspace,
}

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub keying: Keying,
    pub completion: Completion,
    /// Milliseconds of record time for which a verdict is remembered.
    pub late_window: u64,
    /// What becomes of spans that come later still.
    pub past: Past,
    /// The byte budget for everything held (I3).
    pub buffer: usize,
    /// A tick with more output is full.
    pub tick_bytes: usize,
    /// The largest record the output takes.
    pub output_record_bytes: usize,
    /// What is stamped on kept spans.
    pub stamps: Stamps,
    /// Near the budget payload is given up, to be recalled. None where it is not, since nobody could recall it.
    pub recall: Option<Terms>,
}

/// A verdict of a life before, out of the decision log.
#[derive(Clone, Copy, Debug)]
pub struct Remembered {
    pub decision: Decision,
    /// Of the record it stands in: its tick and its offset.
    pub tick: u64,
    pub record: i64,
    /// Its output may not have been sent: it binds, and its spans are taken in again.
    pub bound: bool,
}

/// A verdict, and what each policy is worth to it.
#[derive(Clone, Debug)]
pub struct Weighed {
    pub decision: Decision,
    pub matching: Vec<Weight>,
}

/// A verdict as it is remembered.
#[derive(Clone, Copy, Debug)]
struct Decided {
    verdict: Verdict,
    reason: Reason,
    policies: Fingerprint,
}

/// The tick is full: cut it, and call again with the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Bytes taken in between two looks at the budget, at most: what is held is counted then, not at every record.
const LOOK: usize = 1 << 20;

/// Of what samplers have learned, each tick writes about so much: with ticks of 1 s that is 64 kB/s. A thousand states of 1 kB
/// are all written in 16 s; what a crash takes of them is some seconds of ten minutes.
const STATE_BYTES: usize = 1 << 16;

// === impl Engine ===

impl Engine {
    pub fn new(mut settings: Settings, policies: Arc<PolicySet>) -> Self {
        // A trace that is kept is in memory twice while it is written, and a tick while the next one fills.
        let share = settings.buffer / 8;
        settings.tick_bytes = settings.tick_bytes.min(share);
        settings.completion.max_trace_bytes = settings.completion.max_trace_bytes.min(share);
        let Settings { keying, completion, late_window, .. } = settings;
        let mut engine = Self {
            assembly: Assembly::new(keying, completion, late_window, layout(&policies)),
            stats: Stats::new(policies.policies().len()),
            weighed: None,
            settings,
            sets: Sets::new(Arc::new(Edition::first(policies))),
            states: States::default(),
            given: None,
            lessons: Lessons::default(),
            votes: Vec::new(),
            batch: batch::Batch::default(),
            tick: Tick::default(),
            spare: Tick::default(),
            out: (0, 0),
            room: 0,
            concluding: false,
            crowded: false,
            stuck: false,
            observed: None,
            scratch: Workspace::default(),
        };
        if keying == Keying::Unkeyed {
            engine.states.pool();
        }
        engine.begin_to_learn_waits();
        engine.gather_or_not();
        engine
    }

    /// Puts policies in force for the traces that begin from now on; those that are held finish under the policies they began
    /// with. False where that has to wait, and is to be tried again: until a tick is settled, or until the traces are decided
    /// that began before the reload before.
    pub fn reload(&mut self, edition: &Arc<Edition>) -> bool {
        self.retire();
        // What is read again after a restart is judged by the policies of the start, as far as that can be said.
        if self.sets.before().is_some() || self.is_behind() || !self.batch.is_carried_out() {
            return false;
        }
        let layout = layout(&edition.policies);
        let grows_trees = edition.policies.asks_tree() && !self.sets.ask_tree();
        let more = self.assembly.turning(&layout) + if grows_trees { self.tree_bytes(self.largest(0)) } else { 0 };
        if more > 0 && self.evict(more + self.assembly.growth(0) + self.reserve(0), 0).is_err() {
            return false;
        }
        self.assembly.turn(layout);
        self.sets.turn(edition.clone(), self.assembly.generation());
        self.stats.grow(edition.names.len());
        self.gather_or_not();
        self.retire();
        self.wrote();
        true
    }

    /// The policies that new traces begin under.
    pub fn edition(&self) -> &Arc<Edition> {
        self.sets.edition()
    }

    /// Lets go of policies of which no trace is held any more.
    fn retire(&mut self) {
        if self.sets.before().is_some() && self.assembly.retire() {
            self.sets.retire();
            let Self { sets, states, .. } = self;
            states.retain(|sampler| sets.rule(sampler).is_some());
            self.gather_or_not();
        }
    }

    /// Takes a partition on, to be fed from `start.offset` once what is remembered of it is restored. Its number is good until
    /// it is revoked. Until its old position is reached again nothing of it is decided, and what was handled is skipped.
    pub fn assign(&mut self, start: Start) -> u32 {
        // Ticks rise in the history of each partition, whoever owns it.
        self.assembly.tick = self.assembly.tick.max(start.tick + 1);
        self.states.assign(start.rank);
        self.assembly.time().add(start)
    }

    /// Remembers what was decided of a partition's traces before. All of it comes before the partition's first record, in the
    /// order of (tick, trace).
    pub fn restore(&mut self, partition: u32, remembered: Remembered) {
        let Remembered { decision, tick, record, bound } = remembered;
        let Decision { trace, verdict, reason, decided, policies, .. } = decision;
        // A tick that was logged and not committed has its number too.
        self.assembly.tick = self.assembly.tick.max(tick + 1);
        let standing = if bound { Standing::Bound } else { Standing::Restored };
        self.assembly.restore(
            partition,
            record,
            tick,
            decided,
            (trace, Decided { verdict, reason, policies }, standing),
        );
    }

    /// Whether anything is learned.
    pub fn learns(&self) -> bool {
        self.settings.completion.completeness.is_some() || self.sets.all().any(|live| live.policies().learns())
    }

    /// Remembers what samplers had learned of partitions, which are known by their places among all. What was learned by one that no
    /// policy has any more is forgotten.
    ///
    /// # Errors
    /// Nothing of this version wrote some of it.
    pub fn relearn(&mut self, learned: impl Iterator<Item = Learned>) -> Result<(), sample::Malformed> {
        let Self { sets, states, .. } = self;
        first_error(learned.filter_map(|of| match states.waits_of(&of) {
            Some(waits) => Some(waits.restore(of.partition, of.name.holder, &of.value)),
            None => Some(states.restore(&of, &sets.rule(of.name.sampler)?)),
        }))
    }

    /// The input has so many partitions: those that are not assigned here are other workers', of whose samplers it hears.
    pub fn share(&mut self, partitions: u32) {
        self.states.share(partitions);
    }

    /// Hears what samplers of other workers have learned of their partitions, which are known by their places among all.
    ///
    /// # Errors
    /// Nothing of this version wrote some of it.
    pub fn hear(&mut self, learned: impl Iterator<Item = Learned>) -> Result<(), sample::Malformed> {
        let Self { sets, states, .. } = self;
        let heard = first_error(learned.filter_map(|of| match states.waits_of(&of) {
            Some(waits) => Some(waits.hear(of.partition, of.name.holder, &of.value)),
            None => Some(states.hear(&of, &sets.rule(of.name.sampler)?)),
        }));
        states.expire(|sampler| sets.rule(sampler));
        self.room = 0;
        heard
    }

    /// Takes a partition away. Its undecided traces are given back, and what was made of its records since the last cut: it
    /// goes out with the watermark or not at all, and whoever owns the partition now reads it again (C8).
    pub fn revoke(&mut self, partition: u32) {
        if !mutant::is(Mutant::RevokedStaysInTick) {
            self.stats.returned += self.tick.discard(partition);
        }
        self.put_back(partition);
        let rank = self.assembly.rank(partition);
        let returned = &mut self.stats.returned;
        self.assembly.revoke(partition, |assembly, trace| *returned += u64::from(assembly.summary(trace).span_count));
        self.states.revoke(rank);
        self.lessons.revoke(rank);
        self.observed = self.observed.filter(|&(of, _)| of != partition);
        self.wrote();
    }

    /// Takes out of the tick that is out what it holds of a partition that was taken away: its next owner reads it again.
    pub fn discard(&mut self, tick: &mut Tick, partition: u32) {
        let returned = tick.discard(partition);
        self.stats.returned += returned;
        self.out.1 -= returned;
    }

    /// Everything of a partition below `offset` has been read; what lies before may be markers of transactions.
    pub fn reach(&mut self, partition: u32, offset: i64) {
        self.assembly.time().reach(partition, offset);
    }

    /// A record of a partition waits for its [turn](Self::turn), the first of those that do.
    pub fn announce(&mut self, partition: u32, timestamp: RecordTime) {
        self.assembly.time().announce(partition, timestamp);
    }

    /// Lets a partition's clock go no further, from now on, than to where everything has come that is earlier: of a log that
    /// others write to in no order of time. `START` where that is not known.
    pub fn limit(&mut self, partition: u32, frontier: RecordTime) {
        self.assembly.time().limit(partition, frontier);
    }

    /// Wall-clock milliseconds have passed while a partition stood at the head of its log.
    pub fn elapse(&mut self, partition: u32, ms: u64, ceiling: RecordTime) {
        self.assembly.elapse(partition, ms, true, ceiling);
    }

    /// They have passed since a partition that now stands there was last looked at, in another life: what is here may have come
    /// at any time in between.
    pub fn catch_up(&mut self, partition: u32, ms: u64, ceiling: RecordTime) {
        self.assembly.elapse(partition, ms, false, ceiling);
    }

    /// How far a partition's time has come.
    pub fn clock(&mut self, partition: u32) -> Option<RecordTime> {
        self.assembly.time().partition(partition).clock.now()
    }

    /// A partition's input has ended; when all have, time runs out to infinity.
    pub fn finish(&mut self, partition: u32) {
        self.assembly.time().finish(partition);
    }

    /// Decides what is complete at the present times.
    ///
    /// # Errors
    /// `Full`: there is more to decide.
    pub fn advance(&mut self) -> Result<(), Full> {
        (0..self.assembly.time().domains()).try_for_each(|domain| self.complete(domain))
    }

    /// Of an unkeyed input, the partition that is to be read next: the one whose clock is furthest behind. Who keeps to it takes
    /// the same records in, in the same order, however they came (C10).
    #[inline(always)]
    pub fn turn(&mut self) -> Option<u32> {
        self.assembly.time().turn()
    }

    /// Whether there is as much output as there may be before a tick is cut, or settled.
    pub fn full(&self) -> bool {
        self.crowded || self.tick.size() >= self.settings.tick_bytes
    }

    /// Whether what was held before a restart is more than the budget takes: going on would decide on a part of it.
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Whether some partition has not come again to where it was before a restart.
    pub fn is_behind(&self) -> bool {
        self.assembly.is_behind()
    }

    /// Whether everything decided is in a tick that was cut.
    pub fn is_drained(&self) -> bool {
        self.tick.is_empty() && self.batch.is_carried_out()
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// From now on the samplers that learn answer for a test: those of these policies, by place, keep what they match.
    pub fn give(&mut self, policies: &[u16]) {
        self.given = Some(policies.into());
        self.gather_or_not();
    }

    /// From now on notes what each policy is worth to each trace that is judged; whoever asks for it takes the notes.
    pub fn weigh(&mut self) {
        self.weighed = Some(Vec::new());
    }

    /// The notes since they were last taken, in the order of the verdicts.
    pub fn weighed(&mut self) -> Vec<Weighed> {
        self.weighed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Spans in undecided traces and in ticks not yet settled.
    pub fn spans_held(&self) -> u64 {
        u64::from(self.assembly.spans_held()) + self.tick.spans() + self.out.1
    }

    pub fn traces_held(&self) -> u32 {
        self.assembly.traces_held()
    }

    /// What is known by now of a trace that is held, and the id of the span that is its root.
    pub fn held(&mut self, id: TraceId) -> Option<(Facts<'_>, Option<u64>)> {
        let Self { assembly, sets, scratch, .. } = self;
        let trace = assembly.held(&id.0)?;
        let root = assembly.root(trace);
        let policies = sets.asked(assembly.generation_of(trace)).policies();
        Some((facts(assembly, policies, scratch, trace, false, RecordTime::START), root))
    }

    fn complete(&mut self, domain: u32) -> Result<(), Full> {
        if self.assembly.time().is_behind(domain) {
            return Ok(());
        }
        loop {
            if self.full() {
                return Err(Full);
            }
            if let Some(judged) = self.batch.next() {
                self.carry_out(judged);
            } else if self.assembly.rings_together() {
                if !self.gather(domain) {
                    break;
                }
            } else {
                let Some((trace, reason)) = self.assembly.next_complete(domain) else { break };
                self.decide(trace, reason);
            }
        }
        self.assembly.forget(domain);
        Ok(())
    }

    /// Decides a trace, if need be before what else is due with it.
    fn decide(&mut self, trace: u32, reason: Reason) {
        if self.assembly.rings_together() {
            let due = self.due(trace, reason);
            self.judge_batch(vec![due]);
            while let Some(judged) = self.batch.next() {
                self.carry_out(judged);
            }
        } else {
            let due = self.due(trace, reason);
            if self.pledges(&due) {
                return;
            }
            let judged = self.judge(due, 0, &[]);
            if !judged.waits {
                self.carry_out(judged);
            }
        }
    }
}

/// All is done, whatever fails.
fn first_error<E>(done: impl Iterator<Item = Result<(), E>>) -> Result<(), E> {
    done.filter_map(Result::err).reduce(|first, _| first).map_or(Ok(()), Err)
}

impl<C, V: Copy> Carried for Assembly<C, V> {
    fn resource(&self, resource: u32) -> (&[u8], &[u8]) {
        self.envelopes.get(resource).parts()
    }

    fn scope(&self, scope: u32) -> &[u8] {
        &self.envelopes.get(scope).rest
    }

    fn span(&self, span: u32) -> &[u8] {
        self.span(span)
    }

    fn span_id(&self, span: u32) -> u64 {
        self.span_id(span)
    }
}
