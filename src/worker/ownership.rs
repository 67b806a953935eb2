//! Which partitions a worker has, and how far their time has come.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::bail;

use super::{BUSY, STATISTICS, Worker, assignment::Owned, ceiling};
use crate::{
    assemble::Keying,
    source::{Event, Head, Partition},
};

/// For a tick in flight when a partition is revoked: well below the session timeout of 45 s.
const REVOKE: Duration = Duration::from_secs(5);
/// For all partitions of an unkeyed input to arrive (protocol §5).
const WHOLE: Duration = Duration::from_secs(30);

impl Worker {
    pub(super) fn handle_events(&mut self) -> anyhow::Result<()> {
        while let Some(event) = self.source.next_event() {
            match event {
                Event::Assigned(partitions) => self.assigned(&partitions)?,
                Event::Revoked(partitions) => self.revoked(&partitions)?,
                Event::CommitFailed(error) => self.commit_failed(&error),
                Event::Heads { heads, connected } => {
                    if connected {
                        self.heard = Some(Instant::now());
                    }
                    heads.iter().for_each(|head| self.at_head(head));
                }
            }
        }
        // `Full` is taken care of by the next cut; this is asked again.
        _ = self.engine.advance();
        if let Some(since) = self.partial_since
            && since.elapsed() > WHOLE
        {
            bail!(
                "the input is not keyed by trace id, so one worker has to hold all {} partitions, but the group gave this \
                 one {}: stop the other members of group `{}`",
                self.orders.partitions,
                self.owned.len(),
                self.orders.config.input.group,
            );
        }
        Ok(())
    }

    fn assigned(&mut self, partitions: &[Partition]) -> anyhow::Result<()> {
        let starts = loop {
            match self.source.starts(partitions) {
                Ok(starts) => break starts,
                Err(error) if self.orders.stop.load(Ordering::Acquire) => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "the committed offsets are not to be had yet; trying again"),
            }
        };
        self.source.assign(&starts)?;
        for (partition, &start) in &starts {
            let at = self.engine.assign(start);
            let end = self.orders.ends.as_ref().and_then(|ends| ends.of(partition));
            let finished = end.is_some_and(|end| start >= end);
            if finished {
                self.engine.finish(at);
            }
            tracing::info!(topic = &*partition.0, partition = partition.1, start, "assigned");
            self.owned.add(Owned {
                partition: partition.clone(),
                at,
                position: start,
                high: start,
                end,
                finished,
                ahead: false,
                committed: None,
                watermark_age: 0,
                at_head: None,
            });
        }
        let was_partial = self.partial_since.is_some();
        let partial = self.orders.keying == Keying::Unkeyed && self.owned.len() < self.orders.partitions;
        self.partial_since = partial.then(|| self.partial_since.unwrap_or_else(Instant::now));
        if self.is_paused() {
            self.source.pause(partitions)?;
        } else if was_partial {
            self.resume_all()?;
        }
        Ok(())
    }

    /// What is in flight is finished, what is undecided is given back (protocol §3.6).
    fn revoked(&mut self, partitions: &[Partition]) -> anyhow::Result<()> {
        if !self.source.lost() {
            let deadline = Instant::now() + REVOKE;
            while self.forward.is_busy() && Instant::now() < deadline {
                self.progress(BUSY)?;
            }
        }
        for partition in partitions {
            if let Some(owned) = self.owned.remove(partition) {
                self.engine.revoke(owned.at);
                self.forward.forget(owned.at);
                tracing::info!(topic = &*partition.0, partition = partition.1, "revoked");
            }
        }
        self.source.unassign(partitions)?;
        if self.orders.keying == Keying::Unkeyed && !self.owned.is_empty() {
            bail!(
                "the input is not keyed by trace id, so one worker has to hold all its partitions, but another member \
                 joined group `{}` and took some",
                self.orders.config.input.group
            );
        }
        Ok(())
    }

    /// Protocol §6.3: a clock follows the wall clock only at the head of the log, from its last value.
    fn at_head(&mut self, head: &Head) {
        let paused = self.is_paused();
        let Some(owned) = self.owned.find(&head.partition.0, head.partition.1) else { return };
        owned.high = owned.high.max(head.high);
        let all_polled = |up_to: i64| head.next >= up_to && (owned.position >= up_to || head.queued == 0);
        if let Some(end) = owned.end {
            if !owned.finished && head.fresh && all_polled(end) {
                owned.finished = true;
                self.engine.finish(owned.at);
            }
            return;
        }
        if !head.fresh || owned.ahead || paused || head.high < 0 || !all_polled(head.high) {
            owned.at_head = None;
            return;
        }
        let now = Instant::now();
        let since = owned.at_head.replace(now).map_or(Duration::ZERO, |before| now - before);
        // A process that was stopped has not seen the time in between.
        let ms = since.min(STATISTICS * 2).as_millis() as u64;
        self.engine.elapse(owned.at, ms, ceiling());
    }
}
