//! Kept spans into a tick, a trace at a time.

use std::sync::Arc;

use crate::{
    decide::Verdict,
    decode::{Batch, Range},
    encode::{self, Carried, Edit, Item, Notes, Stamp, Stamps},
    model::{Randomness, RecordTime, TraceId},
    tick::{Dead, Kept, Tick},
};

/// Where kept spans go, and how much of them.
pub struct Output<'a> {
    pub tick: &'a mut Tick,
    /// The largest record the output takes, in bytes.
    pub record_bytes: usize,
    /// A tick of this size takes nothing more.
    pub tick_bytes: usize,
    /// What the edits of the spans put in.
    pub stamped: &'a [u8],
}

/// A trace, and the record it is said to come from.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    pub trace: TraceId,
    pub partition: u32,
    pub offset: i64,
    /// What the record it is written to is stamped with, where not with the time it is sent.
    pub timestamp: Option<RecordTime>,
    /// Some of its spans come from another partition.
    pub shared: bool,
}

/// Why a trace is kept, and by what randomness it was decided: what is stamped on its spans.
#[derive(Clone, Copy, Debug)]
pub struct Why {
    pub stamps: Stamps,
    pub trace: TraceId,
    pub randomness: Randomness,
    /// The policy is by its number.
    pub verdict: Verdict,
    /// Why it was complete, in a word.
    pub completion: &'static str,
    /// The id of its root.
    pub root: Option<u64>,
}

/// Spans that were not written.
#[derive(Clone, Copy, Default)]
pub struct Refused {
    /// Too large for a record of the output, even alone; and the bytes of the largest.
    pub too_large: u32,
    pub largest: usize,
    /// The tick took no more.
    pub too_many: u32,
}

/// The spans of a record that are not held: first those of traces, then the rejected ones.
pub struct Given<'a> {
    pub payload: &'a [u8],
    pub batch: &'a Batch,
}

// === impl Output ===

impl Output<'_> {
    /// Writes spans of one trace, sorted, in several records where one is too small. What is stamped on a span is left out where
    /// the span would not fit with it.
    pub fn write(self, items: &mut [Item], carried: &impl Carried, of: Named) -> Refused {
        let Named { trace, partition, offset, timestamp, shared } = of;
        let mut refused = Refused::default();
        let mut rest = items;
        while !rest.is_empty() {
            if self.tick.size() >= self.tick_bytes {
                refused.too_many = rest.len() as u32;
                break;
            }
            let fitting = encode::fitting(rest, carried, self.record_bytes);
            if fitting == 0 && rest[0].unstamp() {
                continue;
            }
            let (record, behind) = rest.split_at_mut(fitting.max(1));
            if fitting == 0 {
                refused.too_large += 1;
                refused.largest = refused.largest.max(record[0].len as usize);
            } else {
                let start = self.tick.bytes.len();
                encode::traces_data(record, carried, self.stamped, &mut self.tick.bytes);
                let (spans, bytes) = (record.len() as u32, start..self.tick.bytes.len());
                self.tick.kept.push(Kept { trace, spans, partition, offset, timestamp, shared, headers: None, bytes });
            }
            rest = behind;
        }
        refused
    }
}

// === impl Why ===

impl Why {
    /// Stamps all spans of the trace, which are the items. `stamped` is emptied first; `names` are those of policies.
    pub fn stamp(&self, names: &Arc<[String]>, items: &mut [Item], carried: &impl Carried, stamped: &mut Vec<u8>) {
        let Self { stamps, trace, randomness, verdict, completion, root } = *self;
        stamped.clear();
        if stamps.is_none() {
            return;
        }
        let policy = verdict.policy.map_or("otherwise", |number| &names[usize::from(number)]);
        let notes = Notes { policy, reason: verdict.reason(), completion };
        let threshold = verdict.threshold;
        let mut stamp = Stamp { stamps, trace, randomness, threshold, notes, stamped, before: None };
        let mut root = root.or_else(|| earliest(items, carried));
        for item in items {
            // A span that came twice, or that two processes share, is noted on once.
            let is_root = root.take_if(|root| *root == carried.span_id(item.span)).is_some();
            item.stamp(stamp.edit(carried.span(item.span), is_root));
        }
    }
}

/// The id of what stands for the root of a trace without one: it does not depend on arrival.
fn earliest(items: &[Item], carried: &impl Carried) -> Option<u64> {
    let begun = items.iter().map(|item| (encode::start(carried.span(item.span)), carried.span_id(item.span)));
    begun.min().map(|(_, id)| id)
}

// === impl Refused ===

impl Refused {
    /// What is said in the dead letters of spans that no record of so many bytes takes.
    pub fn too_large(&self, of: Named, record_bytes: usize) -> Option<Dead> {
        let Named { trace, partition, offset, .. } = of;
        let Self { too_large, largest, .. } = *self;
        (too_large > 0).then(|| Dead {
            partition,
            offset,
            spans: too_large,
            reason: format!(
                "a span of trace {trace} has {largest} bytes, more than a record of the output takes ({record_bytes})"
            )
            .into(),
            bytes: 0..0,
        })
    }
}

// === impl Given ===

impl Given<'_> {
    pub fn item(&self, at: usize) -> Item {
        let (scope, range) = self.span_at(at);
        let resource = self.batch.scopes[scope as usize].resource;
        let edit = Edit::default();
        Item { resource, scope, order: at as u32, span: at as u32, len: range.len() as u32, edit }
    }

    fn span_at(&self, at: usize) -> (u32, Range) {
        let Batch { spans, rejected, .. } = self.batch;
        match at.checked_sub(spans.len()) {
            None => (spans[at].scope, spans[at].bytes),
            Some(at) => (rejected[at].scope, rejected[at].span),
        }
    }
}

impl Carried for Given<'_> {
    fn resource(&self, resource: u32) -> (&[u8], &[u8]) {
        let resource = &self.batch.resources[resource as usize];
        resource.rest.of(&self.batch.rest).split_at(resource.outer as usize)
    }

    fn scope(&self, scope: u32) -> &[u8] {
        self.batch.scopes[scope as usize].rest.of(&self.batch.rest)
    }

    fn span(&self, span: u32) -> &[u8] {
        self.span_at(span as usize).1.of(self.payload)
    }

    fn span_id(&self, span: u32) -> u64 {
        self.batch.spans.get(span as usize).map_or(0, |span| span.span_id)
    }
}
