//! What another sampler kept.

use std::collections::HashSet;

use anyhow::ensure;

use super::{sample::Sample, spool::MOST};
use crate::{decode::Decoder, model::TraceId, recording::Record};

/// The traces in the records that it wrote.
pub struct Theirs {
    pub traces: HashSet<TraceId>,
    /// Records that are no spans.
    pub refused: u64,
    /// As many traces as are taken.
    pub(super) most: usize,
    sample: Sample,
    decoder: Decoder,
}

// === impl Theirs ===

impl Theirs {
    pub fn new(sample: Sample) -> Self {
        Self { traces: HashSet::new(), refused: 0, most: MOST.traces, sample, decoder: Decoder::default() }
    }

    /// # Errors
    /// There are too many traces.
    pub fn add(&mut self, record: &Record) -> anyhow::Result<()> {
        let Self { traces, refused, most, sample, decoder } = self;
        let Ok((_, batch)) = decoder.read(record.value.as_deref().unwrap_or_default()) else {
            *refused += 1;
            return Ok(());
        };
        traces.extend(batch.spans.iter().map(|span| TraceId(span.trace_id)).filter(|trace| sample.has(*trace)));
        ensure!(
            traces.len() <= *most,
            "more than {most} traces were kept by the other; choose a shorter range, or a part of the traces with --sample"
        );
        Ok(())
    }
}
