//! Verdicts that are remembered, each in the place its trace had in the table.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry as TableEntry;

use super::{
    Assembly, Placed, REMEMBERED,
    time::Domain,
    verdicts::{Standing, Written},
};
use crate::{
    model::{RecordTime, TraceId},
    mutant::{self, Mutant},
};

impl<C, V: Copy> Assembly<C, V> {
    /// Remembers a verdict of a life before, out of a record of the decision log that was written in `tick`. What its trace
    /// has was read before the open tick.
    pub fn restore(
        &mut self,
        partition: u32,
        record: i64,
        tick: u64,
        decided: RecordTime,
        restored: (TraceId, V, Standing),
    ) {
        let (TraceId(id), verdict, standing) = restored;
        self.time.partition(partition).floor.restore(tick, record);
        let written = Written { tick, decided, touched: self.tick - 1 };
        self.remember(self.time.domain(partition), id, verdict, standing, written);
    }

    /// Remembers a verdict anew, with those of the open tick. Returns when that was.
    pub fn renew(&mut self, partition: u32, id: &[u8; 16]) -> RecordTime {
        let (domain, decided) = (self.time.domain(partition), self.now(partition));
        if let Some(at) = self.find(id)
            && at & REMEMBERED != 0
        {
            let at = at & !REMEMBERED;
            let (standing, verdict) = (self.verdicts.standing(at), self.verdicts.verdict(at));
            self.remember(domain, *id, verdict, standing, Written { tick: self.tick, decided, touched: self.tick });
        }
        decided
    }

    /// The verdict a held trace is bound by.
    pub fn bound(&self, trace: u32) -> Option<V> {
        self.bound.get(&trace).copied()
    }

    /// Forgets the verdicts of a domain that are older than the late window.
    pub fn forget(&mut self, domain: u32) {
        while let Domain { now: Some(now), fallen, .. } = self.time.in_domain(domain)
            && let (now, Some(written)) = (*now, fallen.oldest())
            && now != RecordTime::END
            && now.since(written.decided) > self.late_window
            && self.forget_oldest(domain) > 0
        {}
    }

    /// Forgets the verdicts of the tick that is the oldest by the time of its domain, so that all remember about equally long,
    /// and says how many; 0 where a restart might still need them.
    pub fn forget_any(&mut self) -> u32 {
        let oldest = (0..self.time.domains()).filter_map(|domain| {
            let Domain { now, fallen, .. } = self.time.in_domain(domain);
            let (now, written) = (*now, fallen.oldest()?);
            self.is_over(written, domain).then(|| (now.map_or(0, |now| now.since(written.decided)), domain))
        });
        oldest.max().map_or(0, |(_, domain)| self.forget_oldest(domain))
    }

    /// What a remembered verdict says of a span; None where the trace is held again, under that verdict.
    pub(super) fn consult(&mut self, remembered: u32, partition: u32, offset: i64) -> Option<Placed<V>> {
        match self.verdicts.standing(remembered) {
            Standing::Restored if self.time.was_handled(partition, offset) && !mutant::is(Mutant::NothingSkipped) => {
                return Some(Placed::Skipped);
            }
            Standing::Bound => {
                let id = *self.verdicts.id(remembered);
                self.forget_place(&id, remembered);
                return None;
            }
            Standing::Restored | Standing::Here => {}
        }
        let domain = self.time.in_domain(self.time.domain(partition));
        let written = self.verdicts.touch(&mut domain.fallen, remembered, self.tick);
        let age = domain.now.zip(written).map_or(0, |(now, written)| now.since(written.decided));
        let old = domain.now != Some(RecordTime::END) && age > self.late_window / 2;
        Some(Placed::Late { verdict: self.verdicts.verdict(remembered), old })
    }

    /// A verdict that is remembered already goes to the end: it was written again.
    fn remember(&mut self, domain: u32, id: [u8; 16], verdict: V, standing: Standing, written: Written) {
        let fallen = &mut self.time.in_domain(domain).fallen;
        let at = self.verdicts.push(fallen, id, verdict, standing, written) | REMEMBERED;
        let Self { table, traces, verdicts, hasher, .. } = self;
        let id_of = |at: u32| if at & REMEMBERED == 0 { &traces[at].id } else { verdicts.id(at & !REMEMBERED) };
        match table.entry(hasher.hash_one(id), |&at| *id_of(at) == id, |&at| hasher.hash_one(id_of(at))) {
            TableEntry::Occupied(mut entry) => *entry.get_mut() = at,
            TableEntry::Vacant(entry) => _ = entry.insert(at),
        }
    }

    /// Forgets the verdicts of a domain's oldest tick, and says how many; 0 where a restart might still need them.
    fn forget_oldest(&mut self, domain: u32) -> u32 {
        match self.time.in_domain(domain).fallen.oldest() {
            Some(written) if self.is_over(written, domain) => self.forget_tick(domain),
            _ => 0,
        }
    }

    /// Whether no restart reads a span again of the traces that were decided then.
    fn is_over(&self, written: Written, domain: u32) -> bool {
        written.touched <= self.time.passed(domain) || mutant::is(Mutant::VerdictsInCache)
    }

    pub(super) fn forget_tick(&mut self, domain: u32) -> u32 {
        let before = self.verdicts.len();
        while let Some((at, id)) = self.verdicts.pop(&mut self.time.in_domain(domain).fallen) {
            self.forget_place(&id, at);
        }
        before - self.verdicts.len()
    }

    /// Takes a verdict out of the table, unless its trace has another entry there by now.
    fn forget_place(&mut self, id: &[u8; 16], at: u32) {
        if let Ok(entry) = self.table.find_entry(self.hasher.hash_one(id), |&other| other == at | REMEMBERED) {
            entry.remove();
        }
    }
}
