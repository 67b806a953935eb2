//! Kept traces whose bytes were given up: what is to be read again of the log, and what comes of it.
//!
//! Near the byte budget the oldest payload is given up, and of a span only what is known of it stays, with the record it came in: the
//! log is the buffer. A trace that is kept nevertheless is in the tick by that, and whoever brings the tick out reads its records
//! again before anything of it is sent.
//!
//! Part of the pure core: records are brought, from wherever they are.

use std::{
    collections::BTreeMap,
    mem,
    ops::{AddAssign, Range},
};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::{
    assemble::{Assembly, Envelope, Interner, Source},
    decode::Decoder,
    encode::{self, Carried, Edit, Item},
    engine::output::{Named, Output, Why},
    model::TraceId,
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
    /// Those of the records that are read again, in the order of these.
    order: Vec<u32>,
    decoder: Decoder,
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
    spans: Range<u32>,
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

/// A trace that is not whole any more.
struct Missing {
    of: Named,
    spans: usize,
    gone: usize,
    /// Some are in a partition that is another worker's by now.
    moved: bool,
}

/// The partition of what is no longer this worker's to read.
const ELSEWHERE: u32 = u32::MAX;
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
        // Those of a record that are in memory too: its spans are told apart by their order.
        order.extend(traces.iter().flat_map(|trace| trace.spans.clone()));
        let record = |at: &u32| sought[*at as usize].record();
        // Spans of one trace in one record stay in the order they came.
        order.sort_by_key(record);
        found.reserve_exact(self.payload.saturating_sub(found.len()));
        let mut records: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
        for of_record in order.chunk_by(|a, b| record(a) == record(b)) {
            if of_record.iter().any(|at| sought[*at as usize].at.is_none()) {
                let (partition, offset) = record(&of_record[0]);
                records.entry(partition).or_default().push(offset);
            }
        }
        records
    }

    /// Takes what is sought of a record.
    pub fn take(&mut self, partition: u32, offset: i64, value: &[u8]) {
        let Self { traces, sought, order, found, decoder, read, .. } = self;
        let record = |at: &u32| sought[*at as usize].record();
        let of_record = &order[order.partition_point(|at| record(at) < (partition, offset))..];
        let of_record = &of_record[..of_record.partition_point(|at| record(at) == (partition, offset))];
        if of_record.is_empty() {
            return;
        }
        let Ok((value, batch)) = decoder.read(value) else { return };
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
                if sought.at.is_none() {
                    sought.at = Some(found.len() as u32);
                    found.extend_from_slice(bytes);
                    read.spans += 1;
                    read.recalled += u64::from(len);
                }
                next[at].1 = rest;
            }
        }
    }

    /// Takes out what came from a partition, unless some of it came from others too, of which one `stays`.
    pub fn discard(&mut self, partition: u32, stays: impl Fn(TraceId) -> bool) {
        self.traces.retain(|Recalled { of, .. }| if of.shared { stays(of.trace) } else { of.partition != partition });
        self.due = self.traces.iter().map(|trace| trace.due).sum();
        // Its number may be another's by the time they are read.
        self.sought
            .iter_mut()
            .filter(|of| of.source.partition == partition)
            .for_each(|of| of.source.partition = ELSEWHERE);
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
        let Self { traces, sought, envelopes, due, payload, found, order: _, decoder, read: _ } = self;
        if traces.capacity() == 0 {
            return 0;
        }
        let beside = traces.capacity() * size_of::<Recalled>() + sought.capacity() * Self::SPAN + decoder.bytes();
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

    fn is_elsewhere(&self) -> bool {
        self.at.is_none() && self.source.partition == ELSEWHERE
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
            let gone = spans.len() - items.len();
            let missing = (gone > 0).then(|| {
                let moved = recall.sought[spans.start as usize..spans.end as usize].iter().any(Sought::is_elsewhere);
                Missing { of: *of, spans: spans.len(), gone, moved }
            });
            if let Some(missing) = &missing {
                read.partial += 1;
                read.gone += gone as u64;
                if partial == Partial::DeadLetter {
                    items.sort_unstable();
                    self.set_aside(missing, &items, &recall, record_bytes);
                    continue;
                }
            }
            let completion = if missing.is_some() { INCOMPLETE } else { why.completion };
            Why { completion, ..*why }.stamp(&self.names, &mut items, &recall, &mut stamped);
            items.sort_unstable();
            let refused = Output { tick: self, record_bytes, tick_bytes: usize::MAX, stamped: &stamped }
                .write(&mut items, &recall, *of);
            if let Some(dead) = refused.too_large(*of, record_bytes) {
                self.bury(dead);
            }
            if let Some(missing) = missing {
                self.bury(missing.letter(gone, 0..0));
            }
        }
        self.recall.read = read;
    }

    /// Sends what is left of a trace to the dead letters.
    fn set_aside(&mut self, missing: &Missing, left: &[Item], recall: &Recall, record_bytes: usize) {
        let (mut rest, mut stands_for) = (left, missing.gone);
        loop {
            let start = self.bytes.len();
            let fitting = encode::fitting(rest, recall, record_bytes);
            // One that is too large by itself is only named.
            let (piece, behind) = rest.split_at(fitting.max(1).min(rest.len()));
            if fitting > 0 {
                encode::traces_data(piece, recall, &[], &mut self.bytes);
            }
            self.bury(missing.letter(stands_for + piece.len(), start..self.bytes.len()));
            (rest, stands_for) = (behind, 0);
            if rest.is_empty() {
                break;
            }
        }
    }
}

// === impl Missing ===

impl Missing {
    /// What is said of it, and what is left of it; it stands for so many spans.
    fn letter(&self, spans: usize, bytes: Range<usize>) -> Dead {
        let Self { of: Named { trace, partition, offset, .. }, spans: all, gone, moved } = *self;
        let why = if moved {
            "are in a partition that went to another worker before they were read again: memory was too small to hold them"
        } else {
            "were removed from the log before they were read again: memory was too small to hold them, and the retention of the input \
             is too short"
        };
        let reason = format!("{gone} of the {all} spans of trace {trace} {why}");
        Dead { partition, offset, spans: spans as u32, reason: reason.into(), bytes }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::{
        decide::Verdict,
        encode::Stamps,
        generate::otlp::{ResourceSpans, ScopeSpans, Span, TracesData},
        model::{Randomness, Threshold},
    };

    const TRACE: [u8; 16] = [7; 16];

    /// Two spans that only their bytes tell apart, of which one is still in memory.
    #[test]
    fn twins_are_told_apart_by_their_order() {
        let twin = |name: &str| Span {
            trace_id: TRACE.to_vec(),
            span_id: vec![1; 8],
            name: name.to_owned(),
            ..Span::default()
        };
        let twins = [twin("client"), twin("server")];
        let bytes = twins.each_ref().map(Message::encode_to_vec);
        let scope_spans = vec![ScopeSpans { spans: twins.to_vec(), ..ScopeSpans::default() }];
        let record = TracesData { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] };
        for in_memory in [0, 1] {
            let source = Source { partition: 0, offset: 5, id: u64::from_be_bytes([1; 8]), parent: 0 };
            let len = bytes[0].len() as u32;
            let sought = |at| Sought { source, len, scope: 0, at: (at == in_memory).then_some(0) };
            let mut recall = Recall {
                traces: vec![Recalled { of: named(), why: why(), spans: 0..2, due: 0 }],
                sought: [0, 1].map(sought).into(),
                found: bytes[in_memory].clone(),
                ..Recall::default()
            };
            assert_eq!(recall.begin(), [(0, vec![5])].into());
            recall.take(0, 5, &record.encode_to_vec());
            assert_eq!([0, 1].map(|span| recall.span(span).to_vec()), bytes);
            assert_eq!((recall.read.spans, recall.read.recalled), (1, len.into()));
        }
    }

    #[test]
    fn a_trace_of_several_partitions_stays_while_one_of_them_does() {
        let of = Named { shared: true, ..named() };
        let mut recall = Recall { traces: vec![Recalled { of, why: why(), spans: 0..0, due: 0 }], ..Recall::default() };
        recall.discard(0, |trace| trace == TraceId(TRACE));
        assert!(!recall.is_empty());
        recall.discard(1, |_| false);
        assert!(recall.is_empty());
    }

    fn named() -> Named {
        Named { trace: TraceId(TRACE), partition: 0, offset: 5, timestamp: None, shared: false }
    }

    fn why() -> Why {
        Why {
            stamps: Stamps::NONE,
            trace: TraceId(TRACE),
            randomness: Randomness(0),
            verdict: Verdict { keep: true, policy: None, threshold: Threshold::ALWAYS },
            completion: "structure",
            root: None,
        }
    }
}
