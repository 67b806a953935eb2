//! Kept traces whose bytes were given up: what is to be read again of the log, and what comes of it.
//!
//! Near the byte budget the oldest payload is given up, and of a span only what is known of it stays, with the record it came in: the
//! log is the buffer. A trace that is kept nevertheless is in the tick by that, and whoever brings the tick out reads its records
//! again before anything of it is sent.
//!
//! Part of the pure core: records are brought, from wherever they are.

use std::{collections::BTreeMap, mem, ops::AddAssign};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::{
    assemble::{Assembly, Envelope, Interner, Source},
    decode::{self, Batch, Keys},
    encode::{self, Carried, Edit, Item},
    engine::output::{Named, Output, Why},
    tick::{Dead, Tick},
};

/// What a tick seeks.
#[derive(Debug, Default)]
pub struct Recall {
    traces: Vec<Recalled>,
    /// Of each trace one behind the other, in the order they came.
    sought: Vec<Sought>,
    envelopes: Interner<()>,
    /// Bytes of its records, at most.
    due: usize,
    /// Bytes of the spans themselves.
    payload: usize,
    /// Those that are still in memory, and those that were found.
    found: Vec<u8>,
    /// The sought ones that are read again, in the order of their records.
    order: Vec<u32>,
    batch: Batch,
    pub read: Read,
}

/// How payload is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub partial: Partial,
    /// Milliseconds from a record's timestamp by the wall clock for which its bytes can be read again. Of older ones they stay in memory:
    /// the log may begin behind them before they are needed.
    pub shelf_life: u64,
}

/// What becomes of a trace of which some spans are no longer in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partial {
    /// It is set aside, with what is left of it.
    #[default]
    DeadLetter,
    /// What is left of it is forwarded, and says so.
    Forward,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Records that were read, and bytes of their values: those between the ones that were sought too.
    pub records: u64,
    pub bytes: u64,
    pub traces: u64,
    pub spans: u64,
    /// Bytes of these spans.
    pub recalled: u64,
    /// Traces of which something was gone, and so many spans.
    pub partial: u64,
    pub gone: u64,
}

/// A trace that is kept.
#[derive(Debug)]
struct Recalled {
    of: Named,
    why: Why,
    /// In `sought`.
    spans: std::ops::Range<u32>,
    due: usize,
}

#[derive(Debug)]
struct Sought {
    source: Source,
    len: u32,
    scope: u32,
    /// In `found`.
    at: Option<u32>,
}

/// Stamped on the root in place of why the trace was complete.
const INCOMPLETE: &str = "incomplete";
/// The trace state, the attributes and the lengths that are put into a span beside the names that stand there.
const NOTES: usize = 512;

// === impl Terms ===

impl Terms {
    /// Where nothing is ever removed, or nothing is recalled.
    pub const FOREVER: Self = Self { partial: Partial::DeadLetter, shelf_life: u64::MAX };
}

// === impl Recall ===

impl Recall {
    /// Bytes that are noted of a span, with where it is read and when it is written.
    pub const SPAN: usize = size_of::<Sought>() + size_of::<u32>() + 2 * size_of::<i64>() + size_of::<Item>();

    pub fn is_empty(&self) -> bool {
        self.traces.is_empty()
    }

    /// Has a trace recalled, whose spans are the items, in the order they came, to be written in records of so many bytes at most.
    pub fn seek<C, V: Copy>(
        &mut self,
        of: Named,
        why: Why,
        items: &mut [Item],
        held: &Assembly<C, V>,
        record_bytes: usize,
    ) {
        let first = self.sought.len() as u32;
        // Envelopes may be large, and many spans have one.
        let mut scopes: HashMap<u32, u32, FixedState> = HashMap::default();
        for item in items.iter() {
            let scope = *scopes.entry(item.scope).or_insert_with(|| {
                let Envelope { rest, outer, .. } = held.envelopes.get(item.resource);
                let resource = self.envelopes.resource(rest, *outer);
                self.envelopes.scope(resource, held.scope(item.scope), |_, _| ((), 0))
            });
            let at = (!held.is_given_up(item.span)).then_some(self.found.len() as u32);
            if at.is_some() {
                self.found.extend_from_slice(held.span(item.span));
            }
            self.sought.push(Sought { source: held.source(item.span), len: item.len, scope, at });
            self.payload += item.len as usize;
        }
        items.sort_unstable();
        let due = encode::size(items, held, record_bytes) + items.len() * encode::SPAN_STAMP + NOTES;
        self.due += due;
        self.traces.push(Recalled { of, why, spans: first..self.sought.len() as u32, due });
    }

    /// Of each partition the records that are to be read, by their offsets, which rise.
    pub fn begin(&mut self) -> BTreeMap<u32, Vec<i64>> {
        let Self { traces, sought, order, found, .. } = self;
        order.clear();
        let spans = traces.iter().flat_map(|trace| trace.spans.clone());
        order.extend(spans.filter(|span| sought[*span as usize].at.is_none()));
        let record = |at: &u32| sought[*at as usize].record();
        // Spans of one trace in one record stay in the order they came.
        order.sort_by_key(record);
        found.reserve_exact(self.payload.saturating_sub(found.len()));
        let mut records: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
        for (partition, offset) in order.iter().map(record) {
            let offsets = records.entry(partition).or_default();
            if offsets.last() != Some(&offset) {
                offsets.push(offset);
            }
        }
        records
    }

    /// Takes what is sought of a record.
    pub fn take(&mut self, partition: u32, offset: i64, value: &[u8]) {
        let Self { traces, sought, order, found, batch, .. } = self;
        let record = |at: &u32| sought[*at as usize].record();
        let of_record = &order[order.partition_point(|at| record(at) < (partition, offset))..];
        let of_record = &of_record[..of_record.partition_point(|at| record(at) == (partition, offset))];
        if of_record.is_empty() || decode::decode(value, &Keys::new([]), batch).is_err() {
            return;
        }
        // By their traces, each with the next of its spans.
        let trace_of = |at: u32| traces.partition_point(|trace| trace.spans.end <= at);
        let mut next: Vec<([u8; 16], &[u32])> = of_record
            .chunk_by(|a, b| trace_of(*a) == trace_of(*b))
            .map(|of| (traces[trace_of(of[0])].of.trace.0, of))
            .collect();
        next.sort_unstable();
        for span in &batch.spans {
            let Ok(at) = next.binary_search_by(|(trace, _)| trace.cmp(&span.trace_id)) else { continue };
            let Some((&first, rest)) = next[at].1.split_first() else { continue };
            let (sought, bytes) = (&mut sought[first as usize], span.bytes.of(value));
            let Sought { source: Source { id, parent, .. }, len, .. } = *sought;
            // One that came too late stands before those that were held.
            if (id, parent, len as usize) == (span.span_id, span.parent_id, bytes.len()) {
                sought.at = Some(found.len() as u32);
                found.extend_from_slice(bytes);
                next[at].1 = rest;
            }
        }
    }

    /// Takes out what came from a partition, unless some of it came from others too.
    pub fn discard(&mut self, partition: u32) {
        self.traces.retain(|trace| trace.of.partition != partition || trace.of.shared);
        self.due = self.traces.iter().map(|trace| trace.due).sum();
        // Its number may be another's by the time they are read.
        self.sought
            .iter_mut()
            .filter(|of| of.source.partition == partition)
            .for_each(|of| of.source.partition = u32::MAX);
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Spans that are sought.
    pub fn spans(&self) -> u64 {
        self.traces.iter().map(|trace| trace.spans.len() as u64).sum()
    }

    /// Bytes in use, and those of what is to be written.
    pub fn size(&self) -> usize {
        size_of_val(&*self.traces) + self.sought.len() * Self::SPAN + self.due
    }

    /// Bytes allocated, and those of what will be when it is found and when it is written.
    pub fn allocated(&self) -> usize {
        let Self { traces, sought, envelopes, due, payload, found, order: _, batch, read: _ } = self;
        if traces.capacity() == 0 {
            return 0;
        }
        let beside = traces.capacity() * size_of::<Recalled>() + sought.capacity() * Self::SPAN + batch.bytes();
        beside + envelopes.bytes() + due + (*payload).max(found.capacity())
    }
}

impl AddAssign for Read {
    fn add_assign(&mut self, other: Self) {
        let Self { records, bytes, traces, spans, recalled, partial, gone } = other;
        self.records += records;
        self.bytes += bytes;
        self.traces += traces;
        self.spans += spans;
        self.recalled += recalled;
        self.partial += partial;
        self.gone += gone;
    }
}

impl Carried for Recall {
    fn resource(&self, resource: u32) -> (&[u8], &[u8]) {
        self.envelopes.get(resource).parts()
    }

    fn scope(&self, scope: u32) -> &[u8] {
        &self.envelopes.get(scope).rest
    }

    fn span(&self, span: u32) -> &[u8] {
        let Sought { at, len, .. } = self.sought[span as usize];
        at.map_or(&[], |at| &self.found[at as usize..][..len as usize])
    }

    fn span_id(&self, span: u32) -> u64 {
        self.sought[span as usize].source.id
    }
}

// === impl Sought ===

impl Sought {
    /// Its partition and offset.
    fn record(&self) -> (u32, i64) {
        (self.source.partition, self.source.offset)
    }
}

// === impl Tick ===

impl Tick {
    /// Writes what was recalled, in records of so many bytes at most. What was not found is gone.
    pub fn fill(&mut self, record_bytes: usize, partial: Partial) {
        let recall = mem::take(&mut self.recall);
        self.bytes.reserve_exact(recall.due);
        let (mut items, mut stamped, mut read) = (Vec::new(), Vec::new(), recall.read);
        for Recalled { of, why, spans, .. } in &recall.traces {
            items.clear();
            items.extend(spans.clone().filter(|&span| recall.sought[span as usize].at.is_some()).map(|span| {
                let Sought { len, scope, .. } = recall.sought[span as usize];
                let resource = recall.envelopes.get(scope).parent;
                Item { resource, scope, order: span, span, len, edit: Edit::default() }
            }));
            read.traces += 1;
            read.spans += items.len() as u64;
            read.recalled += items.iter().map(|item| u64::from(item.len)).sum::<u64>();
            let gone = spans.len() - items.len();
            if gone > 0 {
                read.partial += 1;
                read.gone += gone as u64;
            }
            if gone > 0 && partial == Partial::DeadLetter {
                items.sort_unstable();
                self.set_aside(*of, spans.len(), &items, &recall, record_bytes);
                continue;
            }
            let completion = if gone > 0 { INCOMPLETE } else { why.completion };
            Why { completion, ..*why }.stamp(&self.names, &mut items, &recall, &mut stamped);
            items.sort_unstable();
            let refused = Output { tick: self, record_bytes, tick_bytes: usize::MAX, stamped: &stamped }
                .write(&mut items, &recall, *of);
            if let Some(dead) = refused.too_large(*of, record_bytes) {
                self.bury(dead);
            }
            if gone > 0 {
                self.bury(Dead { bytes: 0..0, ..lacking(*of, gone, spans.len(), gone) });
            }
        }
        self.recall.read = read;
    }

    /// Sends what is left of a trace to the dead letters.
    fn set_aside(&mut self, of: Named, spans: usize, left: &[Item], recall: &Recall, record_bytes: usize) {
        let gone = spans - left.len();
        let (mut rest, mut stands_for) = (left, gone);
        loop {
            let start = self.bytes.len();
            let fitting = encode::fitting(rest, recall, record_bytes);
            // One that is too large by itself is only named.
            let (piece, behind) = rest.split_at(fitting.max(1).min(rest.len()));
            if fitting > 0 {
                encode::traces_data(piece, recall, &[], &mut self.bytes);
            }
            let dead = lacking(of, gone, spans, stands_for + piece.len());
            self.bury(Dead { bytes: start..self.bytes.len(), ..dead });
            (rest, stands_for) = (behind, 0);
            if rest.is_empty() {
                break;
            }
        }
    }
}

/// What is said of a trace that is not whole any more; it stands for so many spans.
fn lacking(Named { trace, partition, offset, .. }: Named, gone: usize, of: usize, spans: usize) -> Dead {
    let reason = format!(
        "{gone} of the {of} spans of trace {trace} were removed from the log before they were read again: memory was too small to \
         hold them, and the retention of the input is too short"
    );
    Dead { partition, offset, spans: spans as u32, reason: reason.into(), bytes: 0..0 }
}
