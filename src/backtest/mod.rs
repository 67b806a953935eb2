//! Policies over records that are there already: what they would keep, and what changes against others.
//!
//! Records are brought into one order first, that of their partitions' clocks, so the same records and policies always give
//! the same result, however the records came. Then each set of policies reads them in an engine of its own.

mod judge;
mod report;
mod sample;
mod spool;
mod text;
mod theirs;
mod traces;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use report::Report;
pub use sample::Sample;
pub use spool::{Records, Spool};
pub use theirs::Theirs;

use crate::{assemble::Keying, decide::PolicySet, decode::Decoder, engine::Settings};
use judge::Judge;
use traces::Traces;

/// What is compared.
pub struct Question {
    pub settings: Settings,
    pub candidate: Arc<PolicySet>,
    /// What the candidate would take the place of.
    pub current: Option<Arc<PolicySet>>,
    /// What another sampler kept, and by what name it is told.
    pub theirs: Option<(String, Theirs)>,
}

// === impl Question ===

impl Question {
    /// Asks the policies. `progress` is told how many records are behind.
    ///
    /// # Errors
    /// The records cannot be read again.
    pub fn ask(self, records: &Records, mut progress: impl FnMut(u64)) -> anyhow::Result<Report> {
        let Self { settings, candidate, current, theirs } = self;
        let keying = if records.spread { Keying::Unkeyed } else { Keying::Keyed };
        let judge = |policies| Judge::new(Settings { keying, ..settings }, policies, records);
        let (mut candidate, mut current) = (judge(candidate), current.map(judge));
        let mut traces = Traces::default();
        let mut decoder = Decoder::default();
        let mut done = 0;
        records.each(|record| {
            for judge in [Some(&mut candidate), current.as_mut()].into_iter().flatten() {
                judge.ingest(record, &traces);
            }
            // What was decided was decided before the spans of this record.
            if let Ok((payload, batch)) = decoder.read(record.payload) {
                traces.add(payload, batch, records.sample);
            }
            done += 1;
            progress(done);
        })?;
        let current = current.map(|judge| judge.finish(&traces));
        Ok(Report::new(records, &traces, &candidate.finish(&traces), current.as_ref(), theirs.as_ref()))
    }
}
