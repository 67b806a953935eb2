//! How long traces wait for another span, where that is learned: asked when a root comes, taught by the traces that are decided, and by
//! the spans that come later.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::Engine;
use crate::{
    assemble::{Expected, Origin},
    decide,
    decode::Span,
    model::RecordTime,
    sample::{Forms, Gaps, Link, Quiet, Trail, Waits, keys::Key},
};

/// The trails of decided traces of which more may come, and scratch space.
///
/// Which traces teach must not depend on whether anything of them is late. So all teach of which a trail is kept, and no others; where
/// there is no place for a trail, a trace teaches nothing.
#[derive(Default)]
pub struct Lessons {
    most: usize,
    trails: HashMap<[u8; 16], Followed, RandomState>,
    /// By partition, as by its place among all: its trails in the order they were begun, and until when they are of use.
    ends: HashMap<u32, VecDeque<(RecordTime, [u8; 16])>, RandomState>,
    forms: Forms,
    arrivals: Vec<(RecordTime, Link)>,
    links: Vec<Link>,
    gaps: Vec<Gaps>,
}

#[derive(Clone, Copy)]
struct Followed {
    trail: Trail,
    operation: Key,
    /// It waited by what was known of its operation.
    is_known: bool,
    partition: u32,
}

/// Of the budget, what has been learned may take a 16th, and trails as much.
const SHARE: usize = 16;

/// Bytes that a trail takes, with its places in both tables, which double when they are full.
const TRAIL_BYTES: usize = 2 * (size_of::<([u8; 16], Followed)>() + 1) + 2 * size_of::<(RecordTime, [u8; 16])>();

// === impl Engine ===

impl Engine {
    /// Begins to learn, if that is asked for.
    pub(super) fn begin_to_learn_waits(&mut self) {
        let completion = self.settings.completion;
        let Some(completeness) = completion.completeness else { return };
        let room = self.settings.buffer / SHARE;
        let rule = Quiet::new(completeness, completion.quiet, completion.max_wait);
        self.states.wait_by(Waits::new(rule, room));
        self.lessons.most = room / TRAIL_BYTES;
    }

    /// A trace waits by its operation, which is that of its root.
    pub(super) fn expect(&mut self, trace: u32, service: u64, root: &[u8]) {
        if let Some(waits) = self.states.waits() {
            let operation = Key(decide::operation(service, root));
            self.assembly.expect(trace, Expected { operation, wait: waits.wait(operation) });
        }
    }

    /// Learns of a trace that is decided.
    pub(super) fn learn_waits_of(&mut self, trace: u32, decided: RecordTime) {
        let Self { assembly, states, lessons, settings, .. } = self;
        let Some((waits, expected)) = states.waits().zip(assembly.expected(trace)) else { return };
        if lessons.trails.len() >= lessons.most {
            return;
        }
        let partition = assembly.rank(assembly.first_place(trace).0);
        assembly.arrivals(trace, &mut lessons.arrivals);
        let Some(trail) = lessons.follow() else { return };
        let Expected { operation, wait } = expected;
        waits.learn(partition, operation, &lessons.gaps, wait.is_known, decided);
        let until = trail.first().plus(settings.completion.max_wait);
        let followed = Followed { trail, operation, is_known: wait.is_known, partition };
        lessons.keep(assembly.summary(trace).id.0, followed, until);
    }

    /// Learns of a span that came too late, as far as it could have been waited for.
    pub(super) fn learn_waits_of_late(&mut self, origin: Origin, span: &Span) {
        let Some(waits) = self.states.waits() else { return };
        let Some(Followed { trail, operation, is_known, partition }) = self.lessons.trails.get_mut(&span.trace_id)
        else {
            return;
        };
        if origin.seen.since(trail.first()) <= self.settings.completion.max_wait {
            let gaps = trail.pass(origin.seen);
            waits.learn(*partition, *operation, &[gaps], *is_known, self.assembly.now(origin.partition));
            self.room = 0;
        }
    }

    /// Forgets the trails of which nothing more is to be learned.
    pub(super) fn forget_trails(&mut self) {
        if self.lessons.trails.is_empty() {
            return;
        }
        let partitions: Vec<_> = self.assembly.time().partitions().map(|(at, of)| (at, of.rank)).collect();
        for (at, rank) in partitions {
            let now = self.assembly.now(at);
            self.lessons.expire(rank, now);
        }
    }
}

// === impl Lessons ===

impl Lessons {
    /// A partition is another's now, and its traces.
    pub fn revoke(&mut self, partition: u32) {
        self.ends.remove(&partition);
        self.trails.retain(|_, followed| followed.partition != partition);
    }

    pub fn bytes(&self) -> usize {
        let Self { most: _, trails, ends, forms, arrivals, links, gaps } = self;
        trails.allocation_size()
            + ends.allocation_size()
            + ends.values().map(|ends| ends.capacity() * size_of::<(RecordTime, [u8; 16])>()).sum::<usize>()
            + forms.bytes()
            + arrivals.capacity() * size_of::<(RecordTime, Link)>()
            + links.capacity() * size_of::<Link>()
            + gaps.capacity() * size_of::<Gaps>()
    }

    /// What a huge trace needed does not stay.
    pub fn trim(&mut self, most: usize) {
        if self.arrivals.capacity() * size_of::<(RecordTime, Link)>() > most {
            (self.forms, self.arrivals, self.links, self.gaps) = Default::default();
        }
    }

    /// Follows a trace through its arrivals, and notes the gaps before each.
    fn follow(&mut self) -> Option<Trail> {
        let Self { forms, arrivals, links, gaps, .. } = self;
        links.clear();
        links.extend(arrivals.iter().map(|(_, link)| *link));
        gaps.clear();
        let (first, _) = arrivals.first()?;
        let mut trail = Trail::new(*first);
        for ((at, _), form) in arrivals.iter().zip(forms.of(links)) {
            gaps.push(trail.pass(*at));
            trail.form = form;
        }
        Some(trail)
    }

    fn keep(&mut self, id: [u8; 16], followed: Followed, until: RecordTime) {
        self.ends.entry(followed.partition).or_default().push_back((until, id));
        self.trails.insert(id, followed);
    }

    fn expire(&mut self, partition: u32, now: RecordTime) {
        let Self { ends, trails, .. } = self;
        let Some(ends) = ends.get_mut(&partition) else { return };
        // They were begun when they were decided, so one that ends soon may stand behind one that does not.
        while let Some((_, id)) = ends.pop_front_if(|(until, _)| *until < now) {
            trails.remove(&id);
        }
    }
}
