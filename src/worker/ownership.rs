//! Which partitions a worker has, and how far their time has come.

use std::{sync::atomic::Ordering, time::Duration};

use anyhow::bail;

use super::{Arrival, BUSY, Orders, Worker, assignment::Owned, io::Io};
use crate::{
    assemble::{Keying, Start},
    engine::Remembered,
    model::RecordTime,
    mutant::{self, Mutant},
    sample::Learned,
    source::{Beginning, Event, Head, Memory, Metadata, NoBeginning, Partition, Polled, Restored, Wanted},
};

/// For a tick in flight when a partition is revoked: well below the session timeout of 45 s.
pub const REVOKE: Duration = Duration::from_secs(5);
/// For all partitions of an unkeyed input to arrive (C9).
const WHOLE: Duration = Duration::from_secs(30);

impl<I: Io> Worker<I> {
    pub(super) fn handle_events(&mut self) -> anyhow::Result<()> {
        while let Some(event) = self.io.next_event() {
            match event {
                Event::Assigned(partitions) => self.arriving = Some(Arrival::Asked(partitions)),
                Event::Revoked(partitions) => self.revoked(&partitions)?,
                Event::Heads { heads, connected, at } => {
                    if connected {
                        self.heard = Some(self.io.now());
                    }
                    heads.iter().for_each(|head| self.at_head(head, at));
                }
            }
        }
        self.take_on()?;
        // `Full` is taken care of by the next cut; this is asked again.
        _ = self.engine.advance();
        if let Some(since) = self.partial_since
            && self.since(since) > WHOLE
            && self.stopping.is_none()
        {
            bail!(
                "the input is not keyed by trace id, so one worker has to hold all {} partitions, but the group gave this \
                 one {}: stop the other members of group `{}`",
                self.orders.partitions.len(),
                self.owned.len(),
                self.orders.config.input.group,
            );
        }
        Ok(())
    }

    /// Takes on what was assigned, once it is known where it begins and what was decided. Asked every turn until then: the
    /// group waits for the answer, and everything else goes on.
    fn take_on(&mut self) -> anyhow::Result<()> {
        let Some(arrival) = self.arriving.take() else { return Ok(()) };
        if self.orders.stop.load(Ordering::Acquire) {
            return Ok(self.io.assign(&[])?);
        }
        match arrival {
            Arrival::Asked(partitions) if let Some(added) = self.added(&partitions) => bail!(added),
            Arrival::Asked(partitions) => match self.io.beginnings(&partitions) {
                Ok(beginnings) => {
                    let restore = self.restore(&beginnings)?;
                    self.arriving = Some(Arrival::Restoring(beginnings, restore));
                }
                Err(NoBeginning::Away(error)) => {
                    tracing::warn!(%error, "the committed offsets are not to be had yet; trying again");
                    self.arriving = Some(Arrival::Asked(partitions));
                }
                Err(beyond_waiting) => return Err(beyond_waiting.into()),
            },
            Arrival::Restoring(beginnings, mut restore) => match self.io.restored(&mut restore, BUSY)? {
                Some(memory) => return self.take_over(beginnings, memory),
                None => self.arriving = Some(Arrival::Restoring(beginnings, restore)),
            },
        }
        Ok(())
    }

    /// Why what is assigned cannot be worked on: a partition that was added meanwhile has no place for its decisions, and keys
    /// are elsewhere now (C4).
    fn added(&self, partitions: &[Partition]) -> Option<String> {
        let Orders { partitions: known, config, .. } = &self.orders;
        let (topic, partition) = partitions.iter().find(|partition| self.orders.rank(partition).is_none())?;
        let before = known.iter().filter(|(of, _)| of == topic).count();
        let (decisions, samplers) = (config.input.decisions(topic), config.input.samplers(topic));
        Some(format!(
            "the topic `{topic}` had {before} partitions when this process began, and now has a partition {partition}, for which \
             `{decisions}` and `{samplers}` have no place. Give them as many partitions, and start again: added partitions are \
             read from their start"
        ))
    }

    fn take_over(&mut self, beginnings: Vec<(Partition, Beginning)>, memory: Memory) -> anyhow::Result<()> {
        self.io.assign(&beginnings)?;
        for (partition, Beginning { offset, committed, expired, metadata }) in beginnings {
            let rank = self.orders.rank(&partition).expect("one that was added meanwhile is not taken over");
            if expired > 0 {
                let (topic, partition) = &partition;
                tracing::warn!(%topic, partition, "{expired} records were removed before they were read; going on without");
            }
            let Metadata { tick, position, floor, last, since, .. } = metadata;
            let clock = metadata.clock.map(RecordTime);
            let at = self.engine.assign(Start { offset, position, floor, last, tick, since, clock, rank });
            if self.orders.frontier.is_some() {
                // Until a record says more.
                self.engine.limit(at, RecordTime::START);
            }
            let end = self.orders.ends.as_ref().and_then(|ends| ends.of(&partition));
            tracing::info!(topic = &*partition.0, partition = partition.1, start = offset, position, "assigned");
            self.owned.add(Owned {
                partition,
                at,
                position: offset,
                fetched: offset,
                read: offset,
                high: offset,
                end,
                finished: false,
                begun: committed,
                committed: None,
                standing: (offset, metadata),
                watermark_age: 0,
                expired: expired as u64,
                at_head: None,
                nearly: None,
                unheard: None,
                delay: metadata.wall.zip(metadata.clock).map(|(wall, clock)| wall - clock),
                flows: None,
                polled: Polled::default(),
            });
        }
        let partial = self.orders.keying == Keying::Unkeyed && self.owned.len() < self.orders.partitions.len();
        self.partial_since = partial.then(|| self.partial_since.unwrap_or_else(|| self.io.now()));
        let Memory { decisions, states } = memory;
        self.relearn(states);
        self.restored.extend(decisions);
        if !partial {
            self.remember();
            // When all are there: or time ran out for those that come first.
            self.owned.iter_mut().for_each(|owned| owned.finish_at_end(&mut self.engine));
        }
        self.regulate()
    }

    /// Remembers what was decided before, in the order it was written, over all partitions that share one time: that is the
    /// order in which it is forgotten.
    fn remember(&mut self) {
        let mut restored = std::mem::take(&mut self.restored);
        restored.sort_by_key(|restored| (restored.tick, restored.decision.trace));
        if !restored.is_empty() {
            tracing::info!("{} verdicts are remembered from before", restored.len());
        }
        for Restored { partition, tick, offset, decision, bound } in restored {
            if let Some(owned) = self.owned.find(&partition.0, partition.1) {
                self.engine.restore(owned.at, Remembered { tick, record: offset, decision, bound });
            }
        }
    }

    /// Remembers what samplers have learned. What cannot be read is learned again.
    fn relearn(&mut self, states: Vec<Learned<Partition>>) {
        if states.is_empty() || mutant::is(Mutant::LearnsAnew) {
            return;
        }
        tracing::info!("{} states of samplers are remembered from before", states.len());
        let Self { engine, owned, orders, .. } = self;
        let own = states.into_iter().filter_map(|of| {
            let (topic, partition) = &of.partition;
            let rank = owned.find(topic, *partition).and_then(|_| orders.rank(&of.partition))?;
            Some(of.called(rank))
        });
        if let Err(error) = engine.relearn(own) {
            tracing::warn!(%error, "some of what samplers had learned cannot be read, and is learned again");
        }
    }

    /// Begins to read what was decided of partitions before. Verdicts may take a quarter of the buffer, and so may these.
    fn restore(&self, beginnings: &[(Partition, Beginning)]) -> anyhow::Result<I::Restore> {
        let config = &self.orders.config;
        let learned = self.engine.learns();
        let wanted = beginnings.iter().map(|(partition, beginning)| {
            let Metadata { floor, last, .. } = beginning.metadata;
            Wanted { partition: partition.clone(), floor, last, learned }
        });
        let max_bytes = config.memory.buffer as usize / self.orders.workers / 4;
        self.io.restore(wanted.collect(), self.engine.edition().names.clone(), max_bytes)
    }

    /// Lets partitions be read whose start is now committed. The tick that commits it is cut at once.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        let mut begun = false;
        for owned in self.owned.iter_mut().filter(|owned| !owned.begun && owned.committed.is_some()) {
            (owned.begun, begun) = (true, true);
        }
        if begun { self.regulate() } else { Ok(()) }
    }

    /// Tells librdkafka which partitions may flow, where that is news.
    pub(super) fn regulate(&mut self) -> anyhow::Result<()> {
        let waits = self.is_paused();
        let (mut flowing, mut paused) = (Vec::new(), Vec::new());
        for owned in self.owned.iter_mut() {
            let flows = !waits && owned.begun && !self.waiting.holds_up(owned.at);
            if owned.flows.replace(flows) != Some(flows) {
                owned.polled = Polled::told();
                (if flows { &mut flowing } else { &mut paused }).push(owned.partition.clone());
            }
        }
        // Asked with each record while there is enough, and seldom news.
        if !paused.is_empty() {
            self.io.pause(&paused)?;
        }
        if !flowing.is_empty() {
            self.io.resume(&flowing)?;
        }
        Ok(())
    }

    /// What is in flight is finished, what is undecided is given back (C8).
    fn revoked(&mut self, partitions: &[Partition]) -> anyhow::Result<()> {
        if !self.io.lost() {
            let deadline = self.io.now() + REVOKE;
            while self.io.is_sending() && self.io.now() < deadline {
                self.progress(BUSY)?;
            }
        }
        let stalled = self.stalled;
        for partition in partitions {
            if let Some(owned) = self.owned.remove(partition) {
                if let Some(again) = self.again.parcel() {
                    self.engine.discard(&mut again.tick, owned.at);
                    again.standing.retain(|(of, ..)| of != partition);
                }
                self.engine.revoke(owned.at);
                self.waiting.remove(owned.at);
                self.stalled = self.stalled.filter(|&at| at != owned.at);
                self.io.disown(partition);
                self.hearing.begin_anew();
                tracing::info!(topic = &*partition.0, partition = partition.1, "revoked");
            }
        }
        self.io.unassign(partitions)?;
        if self.stalled != stalled {
            self.regulate()?;
        }
        if self.orders.keying == Keying::Unkeyed && !self.owned.is_empty() && self.stopping.is_none() {
            bail!(
                "the input is not keyed by trace id, so one worker has to hold all its partitions, but another member \
                 joined group `{}` and took some",
                self.orders.config.input.group
            );
        }
        Ok(())
    }

    /// C12: a clock follows the wall clock only at the head of the log, from its last value.
    fn at_head(&mut self, head: &Head, at: i64) {
        let Some(owned) = self.owned.find(&head.partition.0, head.partition.1) else { return };
        owned.high = owned.high.max(head.high);
        let polled = owned.polled.below(head, owned.fetched);
        let Some(polled) = polled.filter(|_| owned.flows == Some(true)) else { return };
        let waits = self.waiting.has(owned.at);
        if !waits && polled >= head.next {
            // What lies before may be markers of transactions, which never come.
            self.engine.reach(owned.at, head.next);
            owned.read = owned.read.max(head.next);
        }
        if let Some(end) = owned.end {
            if polled >= end {
                owned.end_here(&mut self.engine);
            }
            return;
        }
        let high = if mutant::is(Mutant::StableEndIsHead) { head.next } else { head.high };
        if head.high < 0 || polled < high {
            return;
        }
        if let Some(frontier) = self.orders.frontier.as_ref().and_then(|frontier| frontier.settled(head.at)) {
            self.engine.limit(owned.at, frontier);
        }
        owned.nearly = Some((head.at, at));
        if !waits {
            let partition = owned.at;
            self.rest(partition);
        }
    }

    /// A partition of which nothing waits any more rests, if it was at the head of its log when that was last looked at.
    pub(super) fn rest(&mut self, partition: u32) {
        let ceiling = self.ceiling();
        let Some(owned) = self.owned.by_number(partition) else { return };
        let Some((then, at)) = owned.nearly.take() else { return };
        // What has come since may be earlier than now.
        let ceiling = RecordTime(ceiling.0 - self.io.now().duration_since(then).as_millis() as i64);
        let (ms, delay) = (owned.passed(at), owned.delay.take());
        self.engine.elapse(partition, ms, ceiling);
        if let (Some(delay), Some(clock)) = (delay, self.engine.clock(partition)) {
            let away = (at - delay).saturating_sub(clock.0).max(0) as u64;
            self.engine.catch_up(partition, away, ceiling);
        }
    }
}
