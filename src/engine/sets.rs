//! The policies in force: those of new traces and, while there are any, those of traces that began before a reload.

use std::sync::Arc;

use crate::{
    assemble::Layout,
    decide::{Context, Edition, PolicySet, Scratch},
    decode::{Batch, Headers, Malformed},
    limits,
    sample::Rule,
};

/// At most two, so that what a record costs is bounded: it is decoded for each.
pub struct Sets {
    now: Live,
    before: Option<Box<Before>>,
}

/// Policies, and what it takes to ask them.
pub struct Live {
    pub edition: Arc<Edition>,
    pub scratch: Scratch,
    /// Of the traces that begin under it.
    generation: usize,
    /// Bytes a new scope may cost beside its own.
    scope_overhead: usize,
}

struct Before {
    live: Live,
    /// The record in hand, with the attributes that these policies name.
    batch: Batch,
}

// === impl Sets ===

impl Sets {
    pub fn new(edition: Arc<Edition>) -> Self {
        Self { now: Live::new(edition, 0), before: None }
    }

    /// Those that new traces begin under.
    pub fn now(&mut self) -> &mut Live {
        &mut self.now
    }

    pub fn edition(&self) -> &Arc<Edition> {
        &self.now.edition
    }

    /// Those of traces that began before the last reload.
    pub fn before(&self) -> Option<&Live> {
        self.before.as_ref().map(|before| &before.live)
    }

    /// Others are in force, for traces of a generation.
    pub fn turn(&mut self, edition: Arc<Edition>, generation: usize) {
        let live = std::mem::replace(&mut self.now, Live::new(edition, generation));
        self.before = Some(Box::new(Before { live, batch: Batch::default() }));
    }

    /// Of those before, no traces are left.
    pub fn retire(&mut self) {
        self.before = None;
    }

    /// The policies of a generation, and the record in hand as it was decoded for them: `batch` is for the present ones.
    #[inline(always)]
    pub fn of<'a>(&'a mut self, generation: usize, batch: &'a Batch) -> (&'a mut Live, &'a Batch) {
        match &mut self.before {
            Some(before) if before.live.generation == generation => (&mut before.live, &before.batch),
            _ => (&mut self.now, batch),
        }
    }

    /// The policies of a generation.
    pub fn asked(&self, generation: usize) -> &Live {
        self.all().find(|live| live.generation == generation).unwrap_or(&self.now)
    }

    /// Takes a record apart for all of them: into `batch` for the present ones. The spans are the same.
    ///
    /// # Errors
    /// Something is malformed that one of them looks at.
    pub fn decode(&mut self, payload: &[u8], headers: &dyn Headers, batch: &mut Batch) -> Result<(), Malformed> {
        self.now.policies().decode(payload, headers, batch)?;
        match &mut self.before {
            Some(before) => before.live.policies().decode(payload, headers, &mut before.batch),
            None => Ok(()),
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &Live> {
        std::iter::once(&self.now).chain(self.before())
    }

    /// What something of this name goes by that goes by what was, if they have it.
    pub fn rule(&self, name: u64) -> Option<Rule> {
        self.all().find_map(|live| live.policies().rules().find(|(of, _)| *of == name)).map(|(_, rule)| rule)
    }

    /// Something for each, with its generation.
    pub fn each<T>(&self, make: impl Fn(&PolicySet) -> T) -> Vec<(usize, T)> {
        self.all().map(|live| (live.generation, make(live.policies()))).collect()
    }

    /// Votes on a trace, at most.
    pub fn votes(&self) -> usize {
        self.all().map(|live| live.policies().votes()).max().unwrap_or(0)
    }

    /// What a trace claims of budgets, at most.
    pub fn claims(&self) -> usize {
        self.all().map(|live| live.policies().claims()).max().unwrap_or(0)
    }

    pub fn have_ceilings(&self) -> bool {
        self.all().any(|live| live.policies().has_ceilings())
    }

    pub fn ask_tree(&self) -> bool {
        self.all().any(|live| live.policies().asks_tree())
    }

    pub fn ask_links(&self) -> bool {
        self.all().any(|live| live.policies().asks_links())
    }

    /// Words of notes that a span may take.
    pub fn notes(&self) -> usize {
        self.all().map(|live| live.policies().notes()).max().unwrap_or(0)
    }

    /// Bytes a new scope may cost beside its own.
    pub fn scope_overhead(&self) -> usize {
        self.all().map(|live| live.scope_overhead).sum()
    }

    /// Bytes allocated for the record in hand.
    pub fn bytes(&self) -> usize {
        self.before.as_ref().map_or(0, |before| before.batch.bytes())
    }

    /// What a huge record needed does not stay.
    pub fn trim(&mut self, most: usize) {
        if let Some(before) = &mut self.before
            && before.batch.bytes() > most
        {
            before.batch = Batch::default();
        }
    }
}

// === impl Live ===

impl Live {
    fn new(edition: Arc<Edition>, generation: usize) -> Self {
        let policies = &edition.policies;
        let scope_overhead = policies.context(&[], &[]).bytes() + limits::ENVELOPE_OVERHEAD;
        Self { scratch: policies.scratch(), generation, scope_overhead, edition }
    }

    pub fn policies(&self) -> &PolicySet {
        &self.edition.policies
    }

    /// Makes what they remember with a scope, from the resource's fields and the scope's, and says what it has allocated.
    pub fn context(&self) -> impl FnOnce(&[u8], &[u8]) -> (Context, usize) {
        |resource, scope| {
            let context = self.policies().context(resource, scope);
            let bytes = context.bytes() - size_of::<Context>();
            (context, bytes)
        }
    }
}

/// What policies remember of traces.
pub fn layout(policies: &PolicySet) -> Layout {
    Layout { blank: policies.blank().into(), counts: policies.counters(), notes: policies.notes() }
}
