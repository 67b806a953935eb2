//! A verdict is carried out: it is logged and remembered, and what is kept is written.

use super::{
    Decided, Engine, Weighed, Workspace,
    batch::Due,
    judge::Judged,
    output::{Named, Output, Why},
};
use crate::{
    assemble::Keying,
    decisions::Decision,
    encode::{self, Edit, Item},
    mutant::{self, Mutant},
};

impl Engine {
    /// Carries out what was judged.
    pub(super) fn carry_out(&mut self, judged: Judged) {
        self.teach(&judged);
        let Judged { due: Due { trace, reason, decided, .. }, verdict, rank, policies, matching, bound, .. } = judged;
        let summary = self.assembly.summary(trace);
        let spans = summary.span_count;
        let decision = Decision { trace: summary.id, verdict, rank, reason, decided, spans, policies };
        self.log(trace, decision);
        if let Some(weighed) = &mut self.weighed {
            weighed.push(Weighed { decision, matching });
        }
        self.stats.decided(verdict, reason);
        self.stats.held(reason, spans, self.assembly.held_for(trace, reason, decided));
        let shared = summary.spread && self.settings.keying == Keying::Keyed;
        self.stats.spread += u64::from(shared);
        if verdict.keep {
            self.write(trace, &decision, shared);
        } else {
            self.stats.dropped += u64::from(summary.span_count);
        }
        if !bound {
            self.learn_waits_of(trace, decided);
        }
        self.assembly.release(trace, Some((Decided { verdict, reason, policies }, decided)));
        self.assembly.compact();
        // Remembered verdicts may take a quarter of the budget; then the oldest go before their time.
        let most = if mutant::is(Mutant::VerdictsInCache) { 300 } else { self.settings.buffer / 4 };
        while self.assembly.remembered_bytes() > most {
            match self.assembly.forget_any() {
                0 => break,
                count => self.stats.forgotten += u64::from(count),
            }
        }
        self.wrote();
    }

    /// Notes a decision for the log of each partition that a restart may read the trace from. Of an unkeyed input all are
    /// restored together, and one is enough.
    fn log(&mut self, trace: u32, decision: Decision) {
        let mut partitions = std::mem::take(&mut self.scratch.partitions);
        self.assembly.partitions_of(trace, &mut partitions);
        if self.settings.keying == Keying::Unkeyed {
            partitions.truncate(1);
        }
        self.tick.decisions.extend(partitions.iter().map(|&partition| (partition, decision)));
        self.scratch.partitions = partitions;
    }

    /// Writes a kept trace to the tick, in several records where one is too small; or has it recalled, where its bytes were given up.
    fn write(&mut self, trace: u32, decision: &Decision, shared: bool) {
        let Self { assembly, scratch: Workspace { spans, items, .. }, .. } = self;
        assembly.spans_of(trace, spans);
        items.clear();
        items.extend(spans.iter().enumerate().map(|(order, &span)| {
            let (scope, len) = assembly.carried(span);
            let resource = assembly.envelopes.get(scope).parent;
            Item { resource, scope, order: order as u32, span, len, edit: Edit::default() }
        }));
        let (partition, offset) = assembly.first_place(trace);
        let of = Named { trace: decision.trace, partition, offset, timestamp: None, shared };
        let why = self.why(trace, decision);
        let Self { assembly, sets, scratch: Workspace { items, stamped, .. }, tick, settings, .. } = self;
        if items.iter().any(|item| assembly.is_given_up(item.span)) {
            return tick.recall.seek(of, why, items, assembly, settings.output_record_bytes);
        }
        why.stamp(&sets.edition().names, items, assembly, stamped);
        items.sort_unstable();
        // At once and not by doubling, for the trace may be large.
        tick.bytes.reserve(encode::size(items, assembly, settings.output_record_bytes));
        let output = Output { tick, record_bytes: settings.output_record_bytes, tick_bytes: usize::MAX, stamped };
        let refused = output.write(items, assembly, of);
        self.refuse(of, refused);
    }

    fn why(&self, trace: u32, decision: &Decision) -> Why {
        let Self { assembly, sets, settings, .. } = self;
        let own = assembly.summary(trace).randomness;
        let asked = sets.asked(assembly.generation_of(trace)).policies();
        Why {
            stamps: settings.stamps,
            trace: decision.trace,
            randomness: asked.randomness(decision.trace, own),
            verdict: decision.verdict,
            completion: decision.reason.name(),
            root: assembly.root(trace),
        }
    }
}
