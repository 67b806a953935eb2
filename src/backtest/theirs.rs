//! What another sampler kept.

use std::collections::HashSet;

use anyhow::ensure;

use super::{sample::Sample, spool::MOST};
use crate::{
    decode::{self, Batch, Keys},
    model::TraceId,
    recording::Record,
};

/// The traces in the records that it wrote.
pub struct Theirs {
    pub traces: HashSet<TraceId>,
    /// Records that are no spans.
    pub refused: u64,
    /// As many traces as are taken.
    pub(super) most: usize,
    sample: Sample,
    batch: Batch,
    nothing_wanted: Keys,
}

// === impl Theirs ===

impl Theirs {
    pub fn new(sample: Sample) -> Self {
        let (batch, nothing_wanted) = (Batch::default(), Keys::new([]));
        Self { traces: HashSet::new(), refused: 0, most: MOST.traces, sample, batch, nothing_wanted }
    }

    /// # Errors
    /// There are too many traces.
    pub fn add(&mut self, record: &Record) -> anyhow::Result<()> {
        let value = record.value.as_deref().unwrap_or_default();
        if decode::decode(value, &self.nothing_wanted, &mut self.batch).is_err() {
            self.refused += 1;
            return Ok(());
        }
        let Self { traces, most, sample, batch, .. } = self;
        traces.extend(batch.spans.iter().map(|span| TraceId(span.trace_id)).filter(|trace| sample.has(*trace)));
        ensure!(
            traces.len() <= *most,
            "more than {most} traces were kept by the other; choose a shorter range, or a part of the traces with --sample"
        );
        Ok(())
    }
}
