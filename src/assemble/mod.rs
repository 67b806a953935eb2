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
mod cut;
mod deadline;
mod floor;
mod generation;
mod intern;
mod leaps;
mod links;
mod marks;
mod memory;
mod most;
mod release;
mod remembered;
mod seen;
mod slab;
mod time;
mod trace;
mod verdicts;
mod wheel;

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable, hash_table::Entry as TableEntry};

pub use clock::{Clock, Moment, Stamps, WINDOW as CLOCK_WINDOW};
pub use completion::{Completion, Reason};
pub use cut::Cut;
pub use deadline::PutOff;
pub use generation::Layout;
pub use intern::{Envelope, Interner};
pub use seen::Origin;
pub use time::{Keying, Start};
pub use trace::Summary;
pub use verdicts::Standing;

use crate::{
    decode::Span,
    model::{self, RecordTime},
    sample::{Link, Periods, Wait, keys::Key},
};
use anchors::Anchors;
use arena::{Arena, Owner, Place};
use completion::Structure;
use generation::Generation;
use links::Links;
use most::Most;
use slab::{Linked, NIL, Rows, Slab};
use time::Time;
use trace::{Root, Trace};
use verdicts::Verdicts;

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

/// Of a place in the table: it is that of a verdict.
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

    /// A trace that is held, by its id.
    pub fn held(&self, id: &[u8; 16]) -> Option<u32> {
        self.find(id).filter(|at| at & REMEMBERED == 0)
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

    /// The held trace that came first, of those that may be decided: not while a part of it may still have to be read again.
    pub fn oldest(&self) -> Option<u32> {
        let heads = self.time.partitions().filter_map(|(_, partition)| self.anchors.first(&partition.queue));
        let ready = heads.map(|(_, trace)| trace).filter(|&trace| !self.time.is_behind(self.traces[trace].domain));
        ready.min_by_key(|&trace| (self.traces[trace].first_seen, self.traces[trace].id))
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
        let trace = Trace::new(*id, self.time.domain(partition), self.generation as u8);
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
