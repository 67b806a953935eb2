//! Ticks on their way out: sent, acknowledged, committed, in this order (I4).

use std::time::{Duration, Instant};

use rdkafka::consumer::CommitMode;

use super::Worker;
use crate::{model::RecordTime, source::Metadata, tick::Tick};

impl Worker {
    /// Sends the tick that is out, commits it when it is acknowledged, and cuts the next when it is due.
    pub(super) fn deliver(&mut self, interval: Duration) -> anyhow::Result<()> {
        self.progress(Duration::ZERO)?;
        if self.forward.is_busy() || !(self.engine.full() || self.last_cut.elapsed() >= interval) {
            return Ok(());
        }
        self.last_cut = Instant::now();
        let tick = self.engine.cut();
        if tick.is_empty() {
            self.settle(tick, CommitMode::Async);
        } else {
            self.forward.begin(tick);
        }
        Ok(())
    }

    /// Goes on with the tick that is out.
    pub(super) fn progress(&mut self, wait: Duration) -> anyhow::Result<()> {
        if let Some(tick) = self.forward.progress(wait, &self.owned)? {
            self.settle(tick, CommitMode::Async);
        }
        Ok(())
    }

    /// Whether everything decided is acknowledged and committed. Asked again and again, it becomes so.
    pub(super) fn conclude(&mut self) -> anyhow::Result<bool> {
        self.deliver(Duration::ZERO)?;
        if self.forward.is_busy() || !self.engine.is_drained() {
            return Ok(false);
        }
        let tick = self.engine.cut();
        // The commits of before were not waited for.
        self.owned.iter_mut().for_each(|owned| owned.committed = None);
        Ok(self.settle(tick, CommitMode::Sync))
    }

    /// Whether a finite input is handled to its end by all workers.
    pub(super) fn is_done(&mut self) -> anyhow::Result<bool> {
        let Some(ends) = self.orders.ends.clone() else { return Ok(false) };
        let mine = || self.owned.iter().map(|owned| &owned.partition);
        if self.owned.iter().all(|owned| owned.finished)
            && self.stalled.is_none()
            && self.engine.traces_held() == 0
            && !ends.has_all(mine())
            && self.conclude()?
        {
            ends.finish(self.owned.iter().map(|owned| &owned.partition));
        }
        Ok(ends.all_finished())
    }

    /// Everything of a tick is acknowledged: its watermarks may be committed. False where that failed; the next tick
    /// tries again.
    fn settle(&mut self, tick: Tick, mode: CommitMode) -> bool {
        let mut moved = Vec::new();
        for watermark in &tick.watermarks {
            let Some(owned) = self.owned.by_number(watermark.partition) else { continue };
            owned.watermark_age = watermark.age;
            if owned.committed != Some(watermark.offset) {
                owned.committed = Some(watermark.offset);
                let clock = watermark.clock.filter(|&clock| clock != RecordTime::END).map(|clock| clock.0);
                moved.push((owned.partition.clone(), watermark.offset, Metadata { clock }));
            }
        }
        let offsets = moved.iter().map(|(partition, offset, metadata)| (partition, *offset, *metadata));
        let committed = self.source.commit(offsets, mode);
        self.engine.settle(tick);
        if let Err(error) = &committed {
            self.commit_failed(error);
        }
        committed.is_ok()
    }

    pub(super) fn commit_failed(&mut self, error: &rdkafka::error::KafkaError) {
        tracing::warn!(%error, "offsets were not committed; the next tick tries again");
        self.owned.iter_mut().for_each(|owned| owned.committed = None);
    }
}
