//! Spans into traces, held until the workflow is complete.
//!
//! One table per worker, single-threaded, no lock. Payload stands in an [`arena`], envelopes are [`intern`]ed, everything
//! else is a fixed-size entry in a slab, so that bytes held are known exactly.
//!
//! Part of the pure core: no clock, no lock, no I/O. Time comes with the records.

mod anchors;
mod arena;
mod clock;
mod completion;
mod deadline;
mod floor;
mod intern;
mod leaps;
mod links;
mod marks;
mod memory;
mod most;
mod remembered;
mod slab;
mod time;
mod verdicts;
mod wheel;

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable, hash_table::Entry as TableEntry};

pub use clock::{Clock, Moment, Stamps, WINDOW as CLOCK_WINDOW};
pub use completion::{Completion, Reason};
pub use deadline::PutOff;
pub use intern::{Envelope, Interner};
pub use time::{Keying, Start};
pub use verdicts::Standing;

use crate::{
    decode::Span,
    model::{self, Randomness, RecordTime, TraceId},
    mutant::{self, Mutant},
    sample::{Link, Periods, Wait, keys::Key},
};
use anchors::Anchors;
use arena::{Arena, Owner, Place};
use completion::Structure;
use deadline::IDLE;
use links::Links;
use marks::Mark;
use most::Most;
use slab::{Linked, NIL, Rows, Slab};
use time::Time;
use verdicts::{Verdicts, Written};
use wheel::{Armed, Timer};

/// The traces of one worker. `C` is remembered with each distinct scope, `V` is a verdict; both are opaque here.
pub struct Assembly<C, V> {
    completion: Completion,
    late_window: u64,
    time: Time,
    /// Every trace held or remembered; the high bit tells which.
    table: HashTable<u32>,
    hasher: RandomState,
    traces: Slab<Trace>,
    spans: Slab<Held>,
    anchors: Anchors,
    links: Links,
    arena: Arena,
    pub envelopes: Interner<C>,
    verdicts: Verdicts<V>,
    /// Verdicts that bind traces held again.
    bound: HashMap<u32, V, RandomState>,
    /// The number of the open tick.
    pub tick: u64,
    /// Of the policies that new traces begin under: 0 and 1 in turns.
    generation: usize,
    generations: [Generation; 2],
    /// What policies have seen of each held trace, opaque here.
    bits: Rows<u64>,
    counts: Rows<u32>,
    /// And of each held span, the same way.
    notes: Rows<u64>,
    /// Traces of the current grain still to be looked at, the next one last, and those that have become too large.
    due: Vec<u32>,
    structure: Structure,
    /// Where quiet periods are learned, what is known of each held trace's, and when each held span came.
    expected: Rows<Expected>,
    arrivals: Rows<Arrival>,
    /// 1 there, and 0 elsewhere.
    learns: usize,
    /// Alarms ring in batches.
    together: bool,
    /// Of the spans of held traces, and of their bytes with what stands around them.
    lengths: Most,
    sizes: Most,
}

/// What policies remember of the traces that begin under them.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// The bits of a trace of which nothing was seen.
    pub blank: Box<[u64]>,
    /// Counters of a trace.
    pub counts: usize,
    /// Words of each span.
    pub notes: usize,
}

/// Traces that began under the same policies.
#[derive(Default)]
struct Generation {
    layout: Layout,
    held: u32,
}

/// How long a held trace waits, by its operation, which is opaque here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    pub operation: Key,
    pub wait: Wait,
}

/// When a held span came.
#[derive(Clone, Copy, Debug, Default)]
struct Arrival {
    at: RecordTime,
    /// It is a root that has ended.
    ends: bool,
}

/// The record a span came in.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    pub partition: u32,
    pub offset: i64,
    /// When its spans were seen: never before the partition's clock, and not at it where the record is later, for the
    /// clock stands for some records after a lull and then leaps.
    pub seen: RecordTime,
    /// That is so far ahead of the clock that the record's producer may be wrong.
    leaps: bool,
}

/// The record a held span came in, and which of its spans it is.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    pub partition: u32,
    pub offset: i64,
    pub id: u64,
    pub parent: u64,
}

/// Where a span went.
pub enum Placed<V> {
    /// Into a held trace.
    Held { trace: u32, span: u32 },
    /// Its trace has its verdict. `old`: it will soon be forgotten.
    Late { verdict: V, old: bool },
    /// It was handled before a restart.
    Skipped,
}

/// Where a partition stands when a tick is cut.
pub struct Cut {
    pub offset: i64,
    /// What the clock was there.
    pub since: Moment,
    /// Milliseconds of record time that the first held trace has waited.
    pub age: u64,
    pub position: i64,
    pub floor: i64,
    pub last: Option<i64>,
    pub settled: bool,
    pub clock: Option<RecordTime>,
}

/// What a decision needs to know of a trace.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub id: TraceId,
    pub span_count: u32,
    /// Of the spans.
    pub bytes: u64,
    /// Last end − first start, in nanoseconds.
    pub duration: u64,
    pub has_root: bool,
    /// There is one, and it has ended.
    pub root_ended: bool,
    /// `rv` where a span carries it, else from the trace id.
    pub randomness: Randomness,
    /// Touched more than one partition.
    pub spread: bool,
}

#[derive(Clone)]
struct Trace {
    id: [u8; 16],
    timer: Timer,
    /// Record time of the first and the last span.
    first_seen: i64,
    last_seen: i64,
    /// Nanoseconds: least start and greatest end.
    start: u64,
    end: u64,
    root: Option<Root>,
    randomness: Option<Randomness>,
    bytes: u64,
    /// Of what stands around its spans, as often as a span has another scope than the one before it, which is the last one's.
    around: u64,
    scope: u32,
    /// The latest span; each leads to the one before.
    spans: u32,
    span_count: u32,
    anchors: u32,
    links: u32,
    domain: u32,
    /// A parent was missing when last looked at, and nothing has arrived since.
    torn: bool,
    generation: u8,
    put_off: Option<PutOff>,
    /// Of one that was put off, milliseconds after its first span: when it is judged again, and when for the last time.
    again: u32,
    last: u32,
}

/// The root is one that acts as such, if the configuration says what does; then the ended one, then the earliest, then the
/// one with the least id: it does not depend on arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Root {
    plain: bool,
    running: bool,
    start: u64,
    id: u64,
}

#[derive(Clone)]
struct Held {
    id: u64,
    parent: u64,
    /// Of the record it came in.
    offset: i64,
    partition: u32,
    /// Nowhere once its bytes are given up.
    place: Place,
    len: u32,
    scope: u32,
    next: u32,
}

const REMEMBERED: u32 = 1 << 31;
// === impl Assembly ===

impl<C, V: Copy> Assembly<C, V> {
    pub fn new(keying: Keying, completion: Completion, late_window: u64, layout: Layout) -> Self {
        let learns = usize::from(completion.completeness.is_some());
        Self {
            completion,
            late_window,
            time: Time::new(keying),
            table: HashTable::new(),
            hasher: RandomState::default(),
            traces: Slab::default(),
            spans: Slab::default(),
            anchors: Anchors::default(),
            links: Links::default(),
            arena: Arena::default(),
            envelopes: Interner::default(),
            verdicts: Verdicts::default(),
            bound: HashMap::default(),
            tick: 1,
            generation: 0,
            bits: Rows::new(layout.blank.len()),
            counts: Rows::new(layout.counts),
            notes: Rows::new(layout.notes),
            generations: [Generation { layout, held: 0 }, Generation::default()],
            due: Vec::new(),
            structure: Structure::default(),
            expected: Rows::new(learns),
            arrivals: Rows::new(learns),
            learns,
            together: false,
            lengths: Most::default(),
            sizes: Most::default(),
        }
    }

    pub fn time(&mut self) -> &mut Time {
        &mut self.time
    }

    /// The generation of policies that new traces begin under.
    pub fn generation(&self) -> usize {
        self.generation
    }

    /// The generation of policies that a held trace began under.
    #[inline(always)]
    pub fn generation_of(&self, trace: u32) -> usize {
        usize::from(self.traces[trace].generation)
    }

    /// Traces begin under other policies from now on. Those before have to be [retired](Self::retire).
    pub fn turn(&mut self, layout: Layout) {
        self.generation ^= 1;
        self.generations[self.generation].layout = layout;
        self.envelopes.turn();
        self.fit();
    }

    /// Forgets what policies before the present ones remember, unless traces are held that began under them.
    pub fn retire(&mut self) -> bool {
        let before = self.generation ^ 1;
        let retires = self.generations[before].held == 0;
        if retires {
            self.generations[before].layout = Layout::default();
            self.envelopes.retire();
            self.fit();
        }
        retires
    }

    /// Bytes that a turn to policies with this layout takes.
    pub fn turning(&self, layout: &Layout) -> usize {
        let Layout { blank, counts, notes } = layout;
        let bytes = self.bits.bytes_at(blank.len()).saturating_sub(self.bits.bytes());
        let bytes = bytes + self.counts.bytes_at(*counts).saturating_sub(self.counts.bytes());
        bytes + self.notes.bytes_at(*notes).saturating_sub(self.notes.bytes()) + self.envelopes.turning()
    }

    fn fit(&mut self) {
        let width = |of: fn(&Layout) -> usize| self.generations.iter().map(|at| of(&at.layout)).max().unwrap_or(0);
        let (bits, counts, notes) = (width(|of| of.blank.len()), width(|of| of.counts), width(|of| of.notes));
        self.bits.resize(bits);
        self.counts.resize(counts);
        self.notes.resize(notes);
    }

    /// Takes a record's time.
    pub fn observe(&mut self, partition: u32, timestamp: RecordTime, ceiling: RecordTime) {
        self.time.observe(partition, timestamp, ceiling);
        self.stamp_early(partition, ceiling);
        self.judge_leaps(partition);
    }

    /// The partition is at the head of its log, where `ms` of wall-clock time passed, at `rest` or without anybody looking.
    pub fn elapse(&mut self, partition: u32, ms: u64, rest: bool, ceiling: RecordTime) {
        self.time.partition(partition).clock.establish(ceiling);
        self.stamp_early(partition, ceiling);
        self.time.elapse(partition, ms, rest, ceiling, self.completion.max_wait);
        self.judge_leaps(partition);
    }

    /// Judges who was right a window ago, or before a long rest: a trace waits no longer for a wrong producer.
    fn judge_leaps(&mut self, partition: u32) {
        let max_wait = self.completion.max_wait;
        loop {
            let (leap, now) = (self.time.next_leap(partition, max_wait), self.time.partition(partition).clock.now());
            let (Some((stamp, trace)), Some(now)) = (leap, now) else { break };
            if stamp.since(now) > max_wait {
                self.pull_back(&trace, now);
            }
        }
    }

    /// What came before its clock was established was seen no earlier than the latest of those records: there was nothing
    /// to tell a producer by whose clock is behind.
    fn stamp_early(&mut self, partition: u32, ceiling: RecordTime) {
        let at = self.time.partition(partition);
        if !at.early || !at.clock.is_established() {
            return;
        }
        at.early = false;
        let now = at.clock.now().unwrap_or_default();
        let bound = now.plus(self.completion.max_wait);
        let seen = at.clock.caught_up(now, if at.is_limited() { bound.min(ceiling) } else { bound });
        for trace in self.anchors.traces(&at.queue) {
            let entry = &mut self.traces[trace];
            entry.first_seen = entry.first_seen.max(seen.0);
            entry.last_seen = entry.last_seen.max(seen.0);
        }
    }

    /// A record whose time has been observed.
    pub fn origin(
        &mut self,
        partition: u32,
        offset: i64,
        timestamp: Option<RecordTime>,
        ceiling: RecordTime,
    ) -> Origin {
        let at = self.time.partition(partition);
        at.early |= !at.clock.is_established();
        let now = at.clock.now();
        let behind = now.filter(|&now| timestamp < Some(now));
        let seen = match (behind, at.is_limited()) {
            // Its producer's clock may be behind. It came after the records before it, with which the partition's clock has
            // not caught up.
            (Some(now), false) => at.clock.greatest().unwrap_or_default().max(now),
            // Where it is not told who was right, a wrong producer's time must not be taken.
            (Some(now), true) => at.clock.caught_up(now, now.plus(self.completion.max_wait).min(ceiling)),
            // One from the future, too: what was seen when must not depend on when it is read, and it is judged soon.
            (None, false) => timestamp.unwrap_or_default(),
            (None, true) => timestamp.unwrap_or_default().min(ceiling),
        };
        let leaps = !at.is_limited() && now.is_none_or(|now| seen.since(now) > self.completion.max_wait);
        Origin { partition, offset, seen, leaps }
    }

    /// Whether a span comes so long after its end that its trace, if it was decided, is forgotten: nobody knows it, and the
    /// longest wait and the late window are over.
    #[inline(always)]
    pub fn is_past(&self, origin: Origin, span: &Span) -> bool {
        let ended = (span.end.max(span.start) / 1_000_000) as i64;
        let lateness = self.completion.max_wait.saturating_add(self.late_window);
        let now = self.time.assigned(origin.partition).clock.now().unwrap_or_default();
        ended != 0 && now.since(RecordTime(ended)) > lateness && self.find(&span.trace_id).is_none()
    }

    /// The place of a partition among all.
    pub fn rank(&self, partition: u32) -> u32 {
        self.time.assigned(partition).rank
    }

    /// Its place in the table.
    fn find(&self, id: &[u8; 16]) -> Option<u32> {
        self.table.find(self.hasher.hash_one(id), |&at| self.is(at, id)).copied()
    }

    /// Puts a span into its trace. Its bytes are in `payload`.
    pub fn place(&mut self, origin: Origin, span: &Span, scope: u32, payload: &[u8]) -> Placed<V> {
        let Origin { partition, offset, seen, leaps } = origin;
        let trace = match self.find_or_open(partition, &span.trace_id) {
            Ok(trace) => trace,
            Err(remembered) => match self.consult(remembered, partition, offset) {
                Some(placed) => return placed,
                None => match self.find_or_open(partition, &span.trace_id) {
                    Ok(trace) => {
                        self.bound.insert(trace, self.verdicts.verdict(remembered));
                        trace
                    }
                    Err(_) => return Placed::Skipped,
                },
            },
        };
        let bytes = span.bytes.of(payload);
        let held = Held {
            id: span.span_id,
            parent: span.parent_id,
            offset,
            partition,
            place: Place::NOWHERE,
            len: bytes.len() as u32,
            scope,
            next: self.traces[trace].spans,
        };
        let at = self.spans.insert(held);
        self.notes.cover(self.spans.pages());
        self.arrivals.cover(self.spans.pages());
        self.arrivals.row(at, self.learns).fill(Arrival { at: seen, ends: false });
        self.spans[at].place = self.arena.push(at, bytes);
        self.envelopes.hold(scope);

        let entry = &mut self.traces[trace];
        if leaps && seen.0 > entry.last_seen {
            self.time.note_leap(partition, seen, entry.id);
        }
        entry.spans = at;
        entry.span_count += 1;
        self.lengths.grow(u64::from(entry.span_count) - 1, u64::from(entry.span_count));
        let before = entry.size();
        entry.bytes += bytes.len() as u64;
        if entry.scope != scope {
            entry.scope = scope;
            entry.around += self.envelopes.around(scope) as u64;
        }
        self.sizes.grow(before, entry.size());
        entry.first_seen = entry.first_seen.min(seen.0);
        entry.last_seen = entry.last_seen.max(seen.0);
        entry.torn = false;
        if span.start != 0 {
            entry.start = entry.start.min(span.start);
        }
        entry.end = entry.end.max(span.end);
        if let Some(randomness) = span.randomness {
            // One trace has one rv; where producers disagree the least does not depend on arrival.
            entry.randomness = Some(entry.randomness.map_or(randomness, |known| known.min(randomness)));
        }
        entry.anchors = self.anchors.add(entry.anchors, trace, partition, offset, &mut self.time);
        Placed::Held { trace, span: at }
    }

    /// Whether a span that was placed last is its trace's root from now on: one without a parent, or one that `acts` as a root.
    pub fn crown(&mut self, trace: u32, span: &Span, acts: bool) -> bool {
        let entry = &mut self.traces[trace];
        self.arrivals.row(entry.spans, self.learns).iter_mut().for_each(|arrival| arrival.ends = span.end != 0);
        let candidate = Root { plain: !acts, running: span.end == 0, start: span.start, id: span.span_id };
        let better = entry.root.is_none_or(|root| candidate <= root);
        if better {
            entry.root = Some(candidate);
        }
        better
    }

    /// A trace is linked with another, which has this key.
    pub fn note_link(&mut self, trace: u32, key: u64) {
        let entry = &mut self.traces[trace];
        entry.links = self.links.add(entry.links, key);
    }

    /// The keys of what a trace is linked with, as often as its spans say so.
    pub fn links(&self, trace: u32) -> impl Iterator<Item = u64> {
        self.links.keys(self.traces[trace].links)
    }

    /// How long a trace waits from now on.
    pub fn expect(&mut self, trace: u32, expected: Expected) {
        self.expected.row(trace, self.learns).fill(expected);
    }

    /// By what a trace waits whose root has ended; None also where that is not learned.
    pub fn expected(&self, trace: u32) -> Option<Expected> {
        let ended = self.traces[trace].root.is_some_and(|root| !root.running);
        self.expected.first(trace).filter(|_| ended)
    }

    fn periods(&self, trace: u32) -> Periods {
        self.expected.first(trace).map_or_else(|| self.completion.periods(), |expected| expected.wait.periods)
    }

    /// What the spans of a trace say of its structure, and when each came, in that order. Only where quiet periods are learned.
    pub fn arrivals(&mut self, trace: u32, arrivals: &mut Vec<(RecordTime, Link)>) {
        arrivals.clear();
        let Trace { first_seen, last_seen, spans, generation, .. } = self.traces[trace];
        let words = self.generations[usize::from(generation)].layout.notes;
        let mut at = spans;
        while let Some(arrival) = Some(at).filter(|at| *at != NIL).and_then(|at| self.arrivals.first(at)) {
            let Held { id, parent, next, .. } = self.spans[at];
            let acts = model::acts(self.notes.row(at, words));
            // It was stamped with what was known of time when it came, and its trace with what was known later.
            let seen = arrival.at.0.max(first_seen).min(last_seen);
            let link = Link { span: id, parent: if acts { 0 } else { parent }, ends: arrival.ends };
            arrivals.push((RecordTime(seen), link));
            at = next;
        }
        arrivals.reverse();
    }

    /// Milliseconds of record time for which a trace is held that is decided then.
    pub fn held_for(&self, trace: u32, reason: Reason, decided: RecordTime) -> u64 {
        let Trace { first_seen, last_seen, .. } = self.traces[trace];
        // When time has run out it is no time to count to.
        let until = if reason == Reason::End { RecordTime(last_seen) } else { decided };
        until.since(RecordTime(first_seen))
    }

    fn is(&self, at: u32, id: &[u8; 16]) -> bool {
        let of = if at & REMEMBERED == 0 { &self.traces[at].id } else { self.verdicts.id(at & !REMEMBERED) };
        of == id
    }

    /// What time it is for the traces of a partition.
    pub fn now(&mut self, partition: u32) -> RecordTime {
        let domain = self.time.domain(partition);
        self.time.in_domain(domain).now.unwrap_or_default()
    }

    /// The partitions a held trace has spans in.
    pub fn partitions_of(&self, trace: u32, partitions: &mut Vec<u32>) {
        partitions.clear();
        self.anchors.partitions(self.traces[trace].anchors, partitions);
    }

    /// A tick is cut: where a partition stands, if it is not behind. Of an unkeyed input another may be: then nothing is
    /// decided, but late spans and bad records of this one are in the tick, and are not to be read again.
    pub fn cut(&mut self, partition: u32) -> Option<Cut> {
        if self.time.partition(partition).is_behind() && !mutant::is(Mutant::PositionFallsBack) {
            return None;
        }
        let domain = self.time.domain(partition);
        let (watermark, first_seen) = self.watermark(partition);
        let oldest = self.time.in_domain(domain).fallen.oldest().map(|written| written.tick);
        let tick = self.tick;
        // A verdict of a life before whose trace is held again was not acted on; nor may one be whose trace is still to come.
        let settled = self.bound.is_empty() && !self.time.is_behind(domain);
        let at = self.time.partition(partition);
        let Mark { offset, moment: since } = at.marks.last_before(watermark, at.next, &at.clock);
        at.floor.cut(tick, at.next, offset);
        let (floor, last) = (at.floor.rise(oldest), at.floor.settle(settled));
        let clock = at.clock.now();
        let age = clock.zip(first_seen).map_or(0, |(clock, first_seen)| clock.since(first_seen));
        Some(Cut { offset, since, age, position: at.next, floor, last, settled, clock })
    }

    /// A trace that is held, by its id.
    pub fn held(&self, id: &[u8; 16]) -> Option<u32> {
        self.find(id).filter(|at| at & REMEMBERED == 0)
    }

    /// The id of the span that is a held trace's root by now.
    pub fn root(&self, trace: u32) -> Option<u64> {
        self.traces[trace].root.map(|root| root.id)
    }

    /// What policies have seen of a held trace.
    pub fn facts(&mut self, trace: u32) -> (&mut [u64], &mut [u32]) {
        let Layout { blank, counts, .. } = &self.generations[self.generation_of(trace)].layout;
        (self.bits.row(trace, blank.len()), self.counts.row(trace, *counts))
    }

    /// The same, with what is remembered with a scope, and of a span.
    #[inline(always)]
    pub fn facts_in(&mut self, trace: u32, span: u32, scope: u32) -> (&C, &mut [u64], &mut [u32], &mut [u64]) {
        let generation = self.generation_of(trace);
        let Layout { blank, counts, notes } = &self.generations[generation].layout;
        let context = self.envelopes.get(scope).context(generation != self.generation).expect("scopes have one");
        (context, self.bits.row(trace, blank.len()), self.counts.row(trace, *counts), self.notes.row(span, *notes))
    }

    /// The id of a span of a held trace, its parent's, what is remembered with its scope, and what policies keep of it.
    pub fn link(&mut self, trace: u32, span: u32) -> (u64, u64, Option<&C>, &[u64]) {
        let generation = self.generation_of(trace);
        let Held { id, parent, scope, .. } = self.spans[span];
        let context = self.envelopes.get(scope).context(generation != self.generation);
        (id, parent, context, self.notes.row(span, self.generations[generation].layout.notes))
    }

    /// The partition a trace was last seen first in, and the offset.
    pub fn first_place(&self, trace: u32) -> (u32, i64) {
        self.anchors.place(self.traces[trace].anchors)
    }

    pub fn summary(&self, trace: u32) -> Summary {
        let entry = &self.traces[trace];
        let id = TraceId(entry.id);
        Summary {
            id,
            span_count: entry.span_count,
            bytes: entry.bytes,
            duration: entry.end.saturating_sub(entry.start),
            has_root: entry.root.is_some(),
            root_ended: entry.root.is_some_and(|root| !root.running),
            randomness: entry.randomness.unwrap_or_else(|| id.randomness()),
            spread: self.anchors.spread(entry.anchors),
        }
    }

    /// The spans of a trace in the order they came.
    pub fn spans_of(&self, trace: u32, spans: &mut Vec<u32>) {
        spans.clear();
        let mut at = self.traces[trace].spans;
        while at != NIL {
            spans.push(at);
            at = self.spans[at].next;
        }
        spans.reverse();
    }

    pub fn span_id(&self, at: u32) -> u64 {
        self.spans[at].id
    }

    /// A held span's bytes, which have not been given up.
    pub fn span(&self, at: u32) -> &[u8] {
        let held = &self.spans[at];
        self.arena.get(held.place, held.len)
    }

    /// A held span's scope, and how many bytes it has.
    pub fn carried(&self, at: u32) -> (u32, u32) {
        let held = &self.spans[at];
        (held.scope, held.len)
    }

    /// Whether the bytes of a held span are here no more.
    pub fn is_given_up(&self, at: u32) -> bool {
        self.spans[at].place == Place::NOWHERE
    }

    /// Where a held span came from.
    pub fn source(&self, at: u32) -> Source {
        let Held { id, parent, offset, partition, .. } = self.spans[at];
        Source { partition, offset, id, parent }
    }

    /// Lets a trace go: with a verdict, which is remembered, or without, where it is given back undecided.
    pub fn release(&mut self, trace: u32, verdict: Option<(V, RecordTime)>) {
        let entry = self.traces[trace].clone();
        self.lengths.leave(u64::from(entry.span_count));
        self.sizes.leave(entry.size());
        let Trace { id, spans, anchors, links, domain, generation, .. } = entry;
        self.generations[usize::from(generation)].held -= 1;
        let mut at = spans;
        while at != NIL {
            let Held { place, len, scope, next, .. } = self.spans[at].clone();
            if place != Place::NOWHERE {
                self.arena.release(place, len);
            }
            self.envelopes.release(scope);
            self.spans[at].place = Place::NOWHERE;
            self.spans.remove(at);
            at = next;
        }
        self.anchors.remove(anchors, &mut self.time);
        self.links.remove(links);
        self.disarm(trace);
        let hash = self.hasher.hash_one(id);
        let entry = self.table.find_entry(hash, |&at| at == trace);
        match (entry, verdict) {
            (Ok(mut entry), Some((verdict, decided))) => {
                let fallen = &mut self.time.in_domain(domain).fallen;
                let written = Written { tick: self.tick, decided, touched: self.tick };
                *entry.get_mut() = self.verdicts.push(fallen, id, verdict, Standing::Here, written) | REMEMBERED;
            }
            (Ok(entry), None) => _ = entry.remove(),
            (Err(_), _) => debug_assert!(false, "a held trace is in the table"),
        }
        if !self.bound.is_empty() {
            self.bound.remove(&trace);
        }
        self.traces.remove(trace);
    }

    /// Takes a partition away. Its undecided traces are given back: `returned` is told of each before it goes. A trace of a
    /// keyed topic that is also in a partition still here stays with that one, or its spans there would be lost.
    pub fn revoke(&mut self, partition: u32, mut returned: impl FnMut(&Self, u32)) {
        loop {
            let queue = *anchors::Queues::queue(&mut self.time, partition);
            let Some((_, trace)) = self.anchors.first(&queue) else { break };
            if self.time.keying() == Keying::Keyed && self.anchors.spread(self.traces[trace].anchors) {
                self.leave(trace, partition);
            } else {
                returned(self, trace);
                self.release(trace, None);
            }
        }
        if self.time.is_alone(partition) {
            let domain = self.time.domain(partition);
            while self.time.in_domain(domain).fallen.oldest().is_some() {
                self.forget_tick(domain);
            }
        }
        self.time.remove(partition);
    }

    /// Takes a trace out of a partition, and out of its time.
    fn leave(&mut self, trace: u32, partition: u32) {
        // Nobody knows where they stand any more, so what is here of them stays.
        let mut at = self.traces[trace].spans;
        while at != NIL {
            let span = &mut self.spans[at];
            if span.partition == partition {
                span.partition = NIL;
            }
            at = span.next;
        }
        let anchors = self.anchors.remove_in(self.traces[trace].anchors, partition, &mut self.time);
        self.traces[trace].anchors = anchors;
        let domain = self.traces[trace].domain;
        if domain == self.time.domain(partition) {
            self.disarm(trace);
            let (stays, _) = self.anchors.place(anchors);
            self.traces[trace].domain = self.time.domain(stays);
            self.arm(trace);
        }
    }

    /// The held trace that came first, of those that may be decided: not while a part of it may still have to be read again.
    pub fn oldest(&self) -> Option<u32> {
        let heads = self.time.partitions().filter_map(|(_, partition)| self.anchors.first(&partition.queue));
        let ready = heads.map(|(_, trace)| trace).filter(|&trace| !self.time.is_behind(self.traces[trace].domain));
        ready.min_by_key(|&trace| (self.traces[trace].first_seen, self.traces[trace].id))
    }

    /// The watermark, below which no record holds a span of a held trace (I4), and since when the trace at it is held.
    pub fn watermark(&self, partition: u32) -> (i64, Option<RecordTime>) {
        let partition = self.time.assigned(partition);
        match self.anchors.first(&partition.queue) {
            Some((offset, trace)) => (offset, Some(RecordTime(self.traces[trace].first_seen))),
            None => (partition.next, None),
        }
    }

    pub fn is_behind(&self) -> bool {
        self.time.is_any_behind()
    }

    pub fn spans_held(&self) -> u32 {
        self.spans.len()
    }

    /// Spans that a held trace has at most; less than twice as many as one has.
    pub fn longest(&self) -> usize {
        self.lengths.bound() as usize
    }

    /// Bytes that a held trace has at most, with what stands around its spans; less than twice as many as one has.
    pub fn largest(&self) -> usize {
        self.sizes.bound() as usize
    }

    pub fn traces_held(&self) -> u32 {
        self.traces.len()
    }

    /// The held trace of a span, opened where it is new; Err where it has its verdict, with that one's number.
    fn find_or_open(&mut self, partition: u32, id: &[u8; 16]) -> Result<u32, u32> {
        let hash = self.hasher.hash_one(id);
        let Self { table, traces, verdicts, hasher, .. } = self;
        let id_of = |at: u32| if at & REMEMBERED == 0 { &traces[at].id } else { verdicts.id(at & !REMEMBERED) };
        let entry = table.entry(hash, |&at| id_of(at) == id, |&at| hasher.hash_one(id_of(at)));
        let vacant = match entry {
            TableEntry::Occupied(entry) => {
                let at = *entry.get();
                return if at & REMEMBERED == 0 { Ok(at) } else { Err(at & !REMEMBERED) };
            }
            TableEntry::Vacant(vacant) => vacant,
        };
        let trace = Trace {
            id: *id,
            timer: Timer { grain: IDLE, previous: NIL, next: NIL },
            first_seen: i64::MAX,
            last_seen: i64::MIN,
            start: u64::MAX,
            end: 0,
            root: None,
            randomness: None,
            bytes: 0,
            around: 0,
            scope: NIL,
            spans: NIL,
            span_count: 0,
            anchors: NIL,
            links: NIL,
            domain: self.time.domain(partition),
            torn: false,
            generation: self.generation as u8,
            put_off: None,
            again: 0,
            last: 0,
        };
        let at = traces.insert(trace);
        vacant.insert(at);
        self.bits.cover(self.traces.pages());
        self.counts.cover(self.traces.pages());
        self.expected.cover(self.traces.pages());
        self.expected.row(at, self.learns).fill(Expected::default());
        let Generation { layout: Layout { blank, counts, .. }, held } = &mut self.generations[self.generation];
        *held += 1;
        self.bits.row(at, blank.len()).copy_from_slice(blank);
        self.counts.row(at, *counts).fill(0);
        Ok(at)
    }

    /// A held trace was not seen after `now`, whatever it was stamped with.
    fn pull_back(&mut self, id: &[u8; 16], now: RecordTime) {
        let Some(trace) = self.held(id) else { return };
        let entry = &mut self.traces[trace];
        entry.first_seen = entry.first_seen.min(now.0);
        entry.last_seen = entry.last_seen.min(now.0);
        self.arm(trace);
    }
}

// === impl Trace ===

impl Trace {
    /// Bytes of its spans, and of what stands around them.
    #[inline(always)]
    fn size(&self) -> u64 {
        self.bytes + self.around
    }
}

impl Linked for Trace {
    fn link(&mut self) -> &mut u32 {
        &mut self.timer.next
    }
}

impl Armed for Slab<Trace> {
    #[inline(always)]
    fn timer(&mut self, at: u32) -> &mut Timer {
        &mut self[at].timer
    }
}

// === impl Held ===

impl Linked for Held {
    fn link(&mut self) -> &mut u32 {
        &mut self.next
    }
}

impl Owner for Held {
    fn place(&mut self) -> &mut Place {
        &mut self.place
    }
}
