//! Ticks on their way out: cut, delivered, settled, in this order (I4).

use std::time::Duration;

use super::{Worker, io::Io};
use crate::{
    forward::{self, Delivered, Name, Outcome, Parcel},
    mutant::{self, Mutant},
    tick::Tick,
};

impl<I: Io> Worker<I> {
    /// Settles the tick that is out, when it has come to its end, and cuts the next when that is due.
    pub(super) fn deliver(&mut self, interval: Duration) -> anyhow::Result<()> {
        self.progress(Duration::ZERO)?;
        if self.io.is_sending() {
            return self.watch();
        }
        if self.again.is_early(self.io.now()) {
            return Ok(());
        }
        if let Some(parcel) = self.again.take() {
            return self.io.send(parcel);
        }
        // What is remembered of an unkeyed input is not here before all of it is: no commit says how much of it matters.
        let whole = self.partial_since.is_none();
        if !(self.engine.full() || self.since(self.last_cut) >= interval) || !whole {
            return Ok(());
        }
        self.last_cut = self.io.now();
        let mut tick = self.engine.cut();
        #[cfg(test)]
        self.mutate(&mut tick)?;
        let Tick { decisions, states, watermarks, .. } = &mut tick;
        // A restart reads the decision log as far as a commit says: what is decided is news, though nothing else has moved.
        let decides = |of: u32| {
            decisions.binary_search_by_key(&of, |&(partition, _)| partition).is_ok()
                && !mutant::is(Mutant::DecisionsUnnamed)
        };
        // With the offsets, the group is asked whether a partition is still ours to write what was learned of it.
        let learns = |of: u32| states.iter().any(|state| state.partition == of);
        watermarks.retain(|watermark| {
            let of = watermark.partition;
            self.owned.commits(watermark) || decides(of) || learns(of)
        });
        if tick.is_empty() && tick.watermarks.is_empty() {
            self.engine.settle(tick, &[]);
            return Ok(());
        }
        let parcel = self.parcel(tick);
        self.io.send(parcel)
    }

    pub(super) fn parcel(&self, tick: Tick) -> Parcel {
        let names = self.owned.iter().map(|owned| {
            let (at, partition, (_, standing)) = (owned.at, owned.partition.clone(), owned.standing);
            Name { at, partition, began_with: standing.began_with }
        });
        let standing = self.owned.iter().map(|owned| {
            let (offset, metadata) = owned.standing;
            (owned.partition.clone(), offset, metadata)
        });
        Parcel {
            tick,
            names: names.collect(),
            standing: standing.collect(),
            wall: self.io.wall_clock(),
            membership: None,
        }
    }

    /// Goes on with the tick that is out.
    pub(super) fn progress(&mut self, wait: Duration) -> anyhow::Result<()> {
        match self.io.sent(wait)? {
            Some(delivered) => self.settle(delivered),
            None => Ok(()),
        }
    }

    /// Whether everything decided is out and committed. Asked again and again, it becomes so.
    pub(super) fn conclude(&mut self) -> anyhow::Result<bool> {
        self.engine.conclude();
        self.deliver(Duration::ZERO)?;
        Ok(!self.io.is_sending() && self.again.is_empty() && self.engine.is_drained())
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
        let Delivered { mut parcel, logged, commits, outcome, revoked } = delivered;
        let committed = match outcome {
            Outcome::Committed => true,
            Outcome::Uncommitted(error) => {
                tracing::warn!(%error, "offsets were not committed; the next tick tries again");
                false
            }
            Outcome::Aborted(error) => {
                self.again.abort(&error, self.io.now())?;
                for name in &parcel.names {
                    if revoked.contains(&name.partition) {
                        self.engine.discard(&mut parcel.tick, name.at);
                    }
                }
                if !mutant::is(Mutant::AbortedIsForgotten) {
                    self.again.keep(parcel);
                }
                return Ok(());
            }
        };
        self.again.reset();
        for watermark in &parcel.tick.watermarks {
            if let Some(owned) = self.owned.by_number(watermark.partition) {
                owned.committed = committed.then_some(*watermark);
                if committed {
                    self.orders.telemetry.expire(std::mem::take(&mut owned.expired));
                }
            }
        }
        for (partition, offset, metadata) in commits {
            if let Some(owned) = self.owned.find(&partition.0, partition.1).filter(|_| !revoked.contains(&partition)) {
                owned.standing = (offset, metadata);
            }
        }
        self.engine.settle(parcel.tick, &logged);
        self.begin()
    }

    fn watch(&self) -> anyhow::Result<()> {
        let answers = self.heard.is_some_and(|heard| self.since(heard) < super::AWAY);
        forward::watch(self.io.committing(), answers)
    }
}
