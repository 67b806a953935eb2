//! Traces finish under the policies they began under: two generations of them at a time.

use super::Assembly;

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
pub(super) struct Generation {
    pub(super) layout: Layout,
    pub(super) held: u32,
}

impl<C, V: Copy> Assembly<C, V> {
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
}
