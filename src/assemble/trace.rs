//! A held trace, but for its spans.

use super::{
    Assembly,
    deadline::{IDLE, PutOff},
    slab::{Linked, NIL, Slab},
    wheel::{Armed, Timer},
};
use crate::model::{Randomness, TraceId};

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
pub(super) struct Trace {
    pub(super) id: [u8; 16],
    pub(super) timer: Timer,
    /// Record time of the first and the last span.
    pub(super) first_seen: i64,
    pub(super) last_seen: i64,
    /// Nanoseconds: least start and greatest end.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) root: Option<Root>,
    pub(super) randomness: Option<Randomness>,
    pub(super) bytes: u64,
    /// Of what stands around its spans, as often as a span has another scope than the one before it, which is the last one's.
    pub(super) around: u64,
    pub(super) scope: u32,
    /// The latest span; each leads to the one before.
    pub(super) spans: u32,
    pub(super) span_count: u32,
    pub(super) anchors: u32,
    pub(super) links: u32,
    pub(super) domain: u32,
    /// A parent was missing when last looked at, and nothing has arrived since.
    pub(super) torn: bool,
    pub(super) generation: u8,
    pub(super) put_off: Option<PutOff>,
    /// Of one that was put off, milliseconds after its first span: when it is judged again, and when for the last time.
    pub(super) again: u32,
    pub(super) last: u32,
}

/// The root is one that acts as such, if the configuration says what does; then the ended one, then the earliest, then the
/// one with the least id: it does not depend on arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Root {
    pub(super) plain: bool,
    pub(super) running: bool,
    pub(super) start: u64,
    pub(super) id: u64,
}

// === impl Assembly ===

impl<C, V: Copy> Assembly<C, V> {
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

    /// The id of the span that is a held trace's root by now.
    pub fn root(&self, trace: u32) -> Option<u64> {
        self.traces[trace].root.map(|root| root.id)
    }
}

// === impl Trace ===

impl Trace {
    /// Without spans.
    pub(super) fn new(id: [u8; 16], domain: u32, generation: u8) -> Self {
        Self {
            id,
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
            domain,
            torn: false,
            generation,
            put_off: None,
            again: 0,
            last: 0,
        }
    }

    /// Bytes of its spans, and of what stands around them.
    #[inline(always)]
    pub(super) fn size(&self) -> u64 {
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
