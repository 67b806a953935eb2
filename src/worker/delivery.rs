//! Ticks on their way out: sent, acknowledged, committed, in this order (I4).

use std::time::{Duration, Instant};

use super::Worker;
use crate::forward::{Delivered, Parcel};

impl Worker {
    /// Settles the tick that is out, when it is done, and cuts the next when that is due.
    pub(super) fn deliver(&mut self, interval: Duration) -> anyhow::Result<()> {
        self.progress(Duration::ZERO)?;
        if self.forward.is_busy() || !(self.engine.full() || self.last_cut.elapsed() >= interval) {
            return Ok(());
        }
        self.last_cut = Instant::now();
        let mut tick = self.engine.cut();
        tick.watermarks.retain(|watermark| self.owned.commits(watermark));
        if tick.is_empty() && tick.watermarks.is_empty() {
            self.engine.settle(tick);
            return Ok(());
        }
        let names = self.owned.iter().map(|owned| (owned.at, owned.partition.clone())).collect();
        self.forward.begin(Parcel { tick, names })
    }

    /// Goes on with the tick that is out.
    pub(super) fn progress(&mut self, wait: Duration) -> anyhow::Result<()> {
        match self.forward.progress(wait)? {
            Some(delivered) => self.settle(delivered),
            None => Ok(()),
        }
    }

    /// Whether everything decided is acknowledged and committed. Asked again and again, it becomes so.
    pub(super) fn conclude(&mut self) -> anyhow::Result<bool> {
        self.deliver(Duration::ZERO)?;
        Ok(!self.forward.is_busy() && self.engine.is_drained())
    }

    /// Whether a finite input is handled to its end by all workers.
    pub(super) fn is_done(&mut self) -> anyhow::Result<bool> {
        let Some(ends) = self.orders.ends.clone() else { return Ok(false) };
        let mine = || self.owned.iter().map(|owned| &owned.partition);
        if self.owned.iter().all(|owned| owned.finished)
            && self.arriving.is_none()
            && self.stalled.is_none()
            && self.engine.traces_held() == 0
            && !ends.has_all(mine())
            && self.conclude()?
        {
            ends.finish(self.owned.iter().map(|owned| &owned.partition));
        }
        Ok(ends.all_finished())
    }

    fn settle(&mut self, delivered: Delivered) -> anyhow::Result<()> {
        let Delivered { tick, committed, .. } = delivered;
        if let Err(error) = &committed {
            tracing::warn!(%error, "offsets were not committed; the next tick tries again");
        }
        for watermark in &tick.watermarks {
            if let Some(owned) = self.owned.by_number(watermark.partition) {
                owned.committed = committed.is_ok().then_some(watermark.offset);
            }
        }
        self.engine.settle(tick);
        self.begin()
    }
}
