//! Ticks on their way out: cut, delivered, settled, in this order (I4).

use std::time::{Duration, Instant};

use anyhow::bail;

use super::Worker;
use crate::forward::{Delivered, Outcome, Parcel};

/// In a row, for the same content. A rebalance aborts one or two.
pub const ABORTS: u32 = 10;
/// librdkafka has calls that ignore their timeout and may wait for ever; brokers that answer do so in a fraction of this.
pub const HANGS: Duration = Duration::from_secs(60);

impl Worker {
    /// Settles the tick that is out, when it has come to its end, and cuts the next when that is due.
    pub(super) fn deliver(&mut self, interval: Duration) -> anyhow::Result<()> {
        self.progress(Duration::ZERO)?;
        if self.forward.is_busy() {
            return self.watch();
        }
        if let Some(parcel) = self.again.take() {
            return self.send(parcel);
        }
        if !(self.engine.full() || self.last_cut.elapsed() >= interval) {
            return Ok(());
        }
        self.last_cut = Instant::now();
        let mut tick = self.engine.cut();
        tick.watermarks.retain(|watermark| self.owned.commits(watermark));
        if tick.is_empty() && tick.watermarks.is_empty() {
            self.engine.settle(tick, &[]);
            return Ok(());
        }
        let names = self.owned.iter().map(|owned| (owned.at, owned.partition.clone())).collect();
        self.send(Parcel { tick, names, membership: None })
    }

    /// Goes on with the tick that is out.
    pub(super) fn progress(&mut self, wait: Duration) -> anyhow::Result<()> {
        match self.forward.progress(wait)? {
            Some(delivered) => self.settle(delivered),
            None => Ok(()),
        }
    }

    /// Whether everything decided is out and committed. Asked again and again, it becomes so.
    pub(super) fn conclude(&mut self) -> anyhow::Result<bool> {
        self.deliver(Duration::ZERO)?;
        Ok(!self.forward.is_busy() && self.again.is_none() && self.engine.is_drained())
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

    /// Sends a parcel as a member of the group as of now. Whatever of its partitions was taken away is out of it by now, and
    /// what is taken away later makes the group refuse it.
    fn send(&mut self, mut parcel: Parcel) -> anyhow::Result<()> {
        parcel.membership = self.source.membership();
        self.forward.begin(parcel)
    }

    fn settle(&mut self, delivered: Delivered) -> anyhow::Result<()> {
        let Delivered { mut parcel, logged, outcome, revoked } = delivered;
        let committed = match outcome {
            Outcome::Committed => true,
            Outcome::Uncommitted(error) => {
                tracing::warn!(%error, "offsets were not committed; the next tick tries again");
                false
            }
            Outcome::Aborted(error) => {
                self.aborts += 1;
                if self.aborts > ABORTS {
                    bail!("{ABORTS} transactions in a row were aborted, the last because: {error}");
                }
                tracing::warn!(%error, "a transaction was aborted; its content is sent again");
                for (at, name) in &parcel.names {
                    if revoked.contains(name) {
                        self.engine.discard(&mut parcel.tick, *at);
                    }
                }
                self.again = Some(parcel);
                return Ok(());
            }
        };
        self.aborts = 0;
        for watermark in &parcel.tick.watermarks {
            if let Some(owned) = self.owned.by_number(watermark.partition) {
                owned.committed = committed.then_some(*watermark);
            }
        }
        self.engine.settle(parcel.tick, &logged);
        self.begin()
    }

    fn watch(&self) -> anyhow::Result<()> {
        let answers = self.heard.is_some_and(|heard| heard.elapsed() < super::AWAY);
        if self.forward.committing().is_some_and(|since| since > HANGS) && answers {
            bail!(
                "a transaction has not come to its end for {} s though brokers answer; whether it did is known at the next start",
                HANGS.as_secs()
            );
        }
        Ok(())
    }
}
