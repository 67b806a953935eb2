//! Spans that come when there is a verdict on their trace: they follow it, and say what it would have been with them (I2).

use super::{
    Decided, Engine, Past, Workspace,
    judge::{noted, of_values},
    output::{Given, Named, Output},
    sets::Live,
};
use crate::{
    assemble::Origin,
    decide::{Answering, Facts, Node},
    decisions::Decision,
    decode::{Batch, Span},
    encode::{Notes, Stamp, Stamps},
    model::{self, Threshold, TraceId},
};

/// Of a span that is set aside because it is late beyond memory.
const PAST: &str = "the span came so late that the verdict on its trace, if there was one, is forgotten";

impl Engine {
    /// Late spans follow the verdict of their trace, to keep them, in as few records as hold them.
    pub(super) fn forward_late(&mut self, origin: Origin, late: &mut [(u32, Threshold)], given: &Given<'_>) {
        let Origin { partition, offset, .. } = origin;
        let trace_of = |(at, _): &(u32, Threshold)| given.batch.spans[*at as usize].trace_id;
        late.sort_unstable_by_key(|of| (trace_of(of), *of));
        self.stats.late_kept += late.len() as u64;
        for spans in late.chunk_by(|a, b| trace_of(a) == trace_of(b)) {
            let trace = TraceId(trace_of(&spans[0]));
            let Workspace { items, stamped, .. } = &mut self.scratch;
            items.clear();
            stamped.clear();
            for &(at, threshold) in spans {
                let (mut item, span) = (given.item(at as usize), &given.batch.spans[at as usize]);
                let own = span.randomness.unwrap_or_else(|| trace.randomness());
                let randomness = self.sets.now().policies().randomness(trace, own);
                // Why the trace was kept stands on what was its root when it was.
                let stamps = Stamps { policy: false, reason: false, completion: false, ..self.settings.stamps };
                let notes = Notes { policy: "", reason: "", completion: "" };
                let mut stamp = Stamp { stamps, trace, randomness, threshold, notes, stamped, before: None };
                item.stamp(stamp.edit(span.bytes.of(given.payload), false));
                items.push(item);
            }
            items.sort_unstable();
            let of = Named { trace, partition, offset, timestamp: None, shared: false };
            let (record_bytes, tick_bytes) = (self.settings.output_record_bytes, self.overfull());
            let Workspace { items, stamped, .. } = &mut self.scratch;
            let output = Output { tick: &mut self.tick, record_bytes, tick_bytes, stamped };
            let refused = output.write(items, given, of);
            self.refuse(of, refused);
        }
        self.wrote();
    }

    /// A verdict that late spans still ask for is written again before it is forgotten.
    pub(super) fn renew(&mut self, Decided { verdict, reason, policies }: Decided, partition: u32, span: &Span) {
        let decided = self.assembly.renew(partition, &span.trace_id);
        let decision =
            Decision { trace: TraceId(span.trace_id), verdict, rank: None, reason, decided, spans: 0, policies };
        self.tick.decisions.push((partition, decision));
    }

    /// Whether a policy would have kept the trace for the sake of this span, had it come in time (I2). Those that are in force
    /// now are asked: whoever reads the count can change only these.
    pub(super) fn regret(&mut self, origin: Origin, scope: u32, payload: &[u8], batch: &Batch, span: &Span) {
        let Self {
            assembly,
            sets,
            states,
            votes,
            scratch: Workspace { bits, counts, notes, tree, values, .. },
            stats,
            ..
        } = self;
        let Live { edition, scratch, .. } = sets.now();
        let policies = &edition.policies;
        let Some(context) = &assembly.envelopes.get(scope).context(false) else { return };
        let trace = TraceId(span.trace_id);
        bits.clear();
        bits.extend_from_slice(policies.blank());
        counts.clear();
        counts.resize(policies.counters(), 0);
        notes.clear();
        notes.resize(policies.notes(), 0);
        policies.observe(context, payload, batch, span, scratch, bits, counts, notes);
        let acts = model::acts(notes);
        if acts || span.is_root() {
            policies.crown(payload, batch, span, scratch, bits);
        }
        if policies.asks_tree() {
            let node = Node { id: span.span_id, parent: span.parent_id, service: context.service, ..Node::default() };
            tree.grow([noted(node, notes)].into_iter());
            values.clear();
            values.add(of_values(notes));
        }
        let known = Facts {
            complete: false,
            tree,
            values,
            links: &[],
            votes: &[],
            cuts: &[],
            bits,
            counts,
            duration_ns: span.duration(),
            span_count: 1,
            bytes: span.bytes.of(payload).len() as u64,
            randomness: policies.randomness(trace, span.randomness.unwrap_or_else(|| trace.randomness())),
            time: origin.seen,
        };
        policies.vote(known, Answering::Learned(states, assembly.rank(origin.partition)), votes);
        let verdict = policies.decide(Facts { votes, ..known });
        if let (true, Some(policy)) = (verdict.keep, verdict.policy) {
            stats.regret[usize::from(edition.number(policy))] += 1;
        }
    }

    /// Spans of traces that are past, where these are not decided anew.
    pub(super) fn set_aside(&mut self, origin: Origin, past: &[u32], given: &Given<'_>) {
        if past.is_empty() {
            return;
        }
        if self.assembly.time().was_handled(origin.partition, origin.offset) {
            self.stats.skipped += past.len() as u64;
        } else if self.settings.past == Past::Drop {
            self.stats.dropped += past.len() as u64;
        } else {
            for &at in past {
                self.reject_span(origin, at as usize, given, PAST.into());
            }
        }
    }
}
