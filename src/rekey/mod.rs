//! The stage before the workers, where the input is not keyed by trace id and more than one worker is to run: brings the spans
//! of a trace together on one partition of a topic of ours, exactly once.

mod frontier;
mod headers;
mod lane;
mod partition;
mod split;

pub use frontier::Frontier;
pub use headers::{frontier, headers};
pub use partition::{hash, partition};

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rdkafka::{Message, error::KafkaError};

use crate::{
    config::Config,
    forward::{self, Delivered, Forward, Name, Outcome, Parcel, Retry, Route},
    source::{Event, NoBeginning, Partition, Source},
    telemetry::{RekeySnapshot, Telemetry},
    worker::{Ends, REVOKE, STOP, ceiling, read_failed, timestamp, wall_clock},
};
use lane::Lane;
use split::Split;

/// A thread of the stage.
pub struct Rekey {
    source: Source,
    forward: Forward,
    split: Split,
    lanes: Vec<Lane>,
    /// Where in `lanes` the last record's partition is: records come in long runs.
    last: usize,
    /// The number of the next partition that is taken on.
    next: u32,
    /// The number of the open tick.
    tick: u64,
    /// Assigned, and not yet taken on.
    arriving: Option<Vec<Partition>>,
    /// A tick whose transaction was aborted, to be sent before anything newer.
    again: Retry,
    counts: Counts,
    orders: Orders,
    last_cut: Instant,
    last_published: Instant,
    /// Since when it is told to stop.
    stopping: Option<Instant>,
}

/// What a thread of the stage is told.
#[derive(Clone)]
pub struct Orders {
    pub number: usize,
    /// Of the whole: group, output, dead letters.
    pub config: Arc<Config>,
    /// As [`crate::config::Input::before_rekey`] has it.
    pub before: Arc<Config>,
    /// Of the topic that is written.
    pub partitions: i32,
    /// The largest record that topic takes, in bytes.
    pub record_bytes: usize,
    /// The name under which transactions are fenced.
    pub transactional_id: String,
    pub frontier: Arc<Frontier>,
    pub telemetry: Arc<Telemetry>,
    pub stop: Arc<AtomicBool>,
    /// With `--until-end`.
    pub ends: Option<Arc<Ends>>,
    /// With `--accept-expired`.
    pub accept_expired: bool,
}

/// What is committed, since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Brought to the partition of their trace.
    pub spans: u64,
    /// They are in so many records.
    pub records: u64,
    /// Spans in the dead letters.
    pub rejected: u64,
    /// Records in the dead letters as a whole.
    pub rejected_records: u64,
}

/// Records between two looks at everything else: some milliseconds.
const RUN: usize = 1000;
/// How long a poll may wait when there is nothing else to do, and when a tick is out.
const IDLE: Duration = Duration::from_millis(50);
const BUSY: Duration = Duration::from_millis(5);
/// Between two transactions: each adds to the time before a verdict, and takes some 200 ms itself.
const INTERVAL: Duration = Duration::from_millis(200);
/// How often librdkafka takes stock of the heads of the logs.
const STATISTICS: Duration = Duration::from_millis(500);
const PUBLISH: Duration = Duration::from_millis(250);

// === impl Rekey ===

impl Rekey {
    /// # Errors
    /// Kafka properties that librdkafka refuses.
    pub fn new(orders: Orders) -> anyhow::Result<Self> {
        let source =
            Source::new(&orders.before, STATISTICS, Some(orders.number)).context("the consumer's configuration")?;
        let route = Route {
            topic: orders.config.input.by_trace(),
            partitions: Some(orders.partitions),
            record_bytes: orders.record_bytes,
        };
        let forward = Forward::new(&orders.config, &orders.transactional_id, route, source.committer())
            .context("the producer's configuration")?;
        Ok(Self {
            source,
            forward,
            split: Split::new(orders.record_bytes),
            lanes: Vec::new(),
            last: 0,
            next: 0,
            tick: 1,
            arriving: None,
            again: Retry::default(),
            counts: Counts::default(),
            last_cut: Instant::now(),
            last_published: Instant::now(),
            stopping: None,
            orders,
        })
    }

    /// Works until told to stop, or until the end of a finite input.
    ///
    /// # Errors
    /// What makes going on pointless or unsafe; the process is to exit with the reason.
    pub fn run(&mut self) -> anyhow::Result<()> {
        while !self.turn()? {
            self.publish(PUBLISH);
        }
        self.publish(Duration::ZERO);
        Ok(())
    }

    /// One turn of everything; true when there is nothing more to do.
    fn turn(&mut self) -> anyhow::Result<bool> {
        self.handle_events()?;
        if self.orders.stop.load(Ordering::Acquire) {
            return self.stop();
        }
        self.deliver(INTERVAL)?;
        self.hold_back()?;
        self.read()?;
        self.is_done()
    }

    /// Takes nothing more in and finishes what is open.
    fn stop(&mut self) -> anyhow::Result<bool> {
        let since = *self.stopping.get_or_insert_with(Instant::now);
        if self.conclude()? {
            return Ok(true);
        }
        if since.elapsed() > STOP {
            bail!("the last re-keyed records were not committed in time; they are read again at the next start");
        }
        // Keeps the membership alive. Records that still come are not taken in.
        _ = self.source.poll(BUSY);
        Ok(false)
    }

    /// Whether all that was read is committed. Asked again and again, it becomes so.
    fn conclude(&mut self) -> anyhow::Result<bool> {
        self.deliver(Duration::ZERO)?;
        Ok(!self.forward.is_busy() && self.again.is_empty() && self.split.tick.is_empty())
    }

    /// Whether a finite input is re-keyed to its end by all threads.
    fn is_done(&mut self) -> anyhow::Result<bool> {
        let Some(ends) = &self.orders.ends else { return Ok(false) };
        Ok(ends.all_finished() && !self.forward.is_busy())
    }

    fn read(&mut self) -> anyhow::Result<()> {
        if self.split.is_full() {
            // What is fetched waits where it is: a pause would throw it away. It is not for long.
            return self.progress(BUSY);
        }
        let ceiling = ceiling();
        let mut wait = if self.forward.is_busy() { BUSY } else { IDLE };
        let Self { source, lanes, last, split, orders, .. } = self;
        for _ in 0..RUN {
            let Some(polled) = source.poll(wait) else { return Ok(()) };
            wait = Duration::ZERO;
            let record = match polled {
                Ok(record) => record,
                Err(error) => return self.poll_failed(error),
            };
            let of = |lane: &Lane| lane.partition.1 == record.partition() && *lane.partition.0 == *record.topic();
            if !lanes.get(*last).is_some_and(of) {
                let Some(found) = lanes.iter().position(of) else { continue };
                *last = found;
            }
            let lane = &mut lanes[*last];
            let offset = record.offset();
            if !lane.takes(offset) {
                continue;
            }
            // What is stamped far ahead of the wall clock would be refused by the broker, or be kept for ever.
            let timestamp = timestamp(&record).min(ceiling);
            split.take(lane.at, offset, timestamp, &headers::list(&record), record.payload());
            lane.pass(offset, timestamp, ceiling);
            let is_ahead = lane.ahead_of(orders.frontier.now()) > furthest(&orders.config);
            if is_ahead {
                lane.ahead = true;
                drop(record);
                return self.regulate();
            }
            if split.is_full() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn poll_failed(&self, error: KafkaError) -> anyhow::Result<()> {
        let positions = self.lanes.iter().map(|lane| (&lane.partition, lane.position));
        read_failed(error, &self.orders.before.input, positions)
    }

    /// Lets partitions go on that were ahead, once the slowest has come closer.
    fn hold_back(&mut self) -> anyhow::Result<()> {
        let (frontier, near) = (self.orders.frontier.now(), furthest(&self.orders.config) / 2);
        let mut closer = false;
        for lane in self.lanes.iter_mut().filter(|lane| lane.ahead && lane.ahead_of(frontier) <= near) {
            (lane.ahead, closer) = (false, true);
        }
        if closer { self.regulate() } else { Ok(()) }
    }

    /// Tells librdkafka which partitions may flow, where that is news.
    fn regulate(&mut self) -> anyhow::Result<()> {
        let (mut flowing, mut paused) = (Vec::new(), Vec::new());
        for lane in &mut self.lanes {
            let flows = lane.begun && !lane.ahead;
            if lane.regulate(flows) {
                (if flows { &mut flowing } else { &mut paused }).push(lane.partition.clone());
            }
        }
        self.source.pause(&paused)?;
        Ok(self.source.resume(&flowing)?)
    }

    fn handle_events(&mut self) -> anyhow::Result<()> {
        let leap = furthest(&self.orders.config);
        while let Some(event) = self.source.next_event() {
            match event {
                Event::Assigned(partitions) => self.arriving = Some(partitions),
                Event::Revoked(partitions) => self.revoked(&partitions)?,
                Event::Heads { heads, .. } => {
                    for head in heads {
                        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.partition == head.partition) {
                            lane.look(&head, STATISTICS, ceiling(), leap);
                        }
                    }
                }
            }
        }
        self.take_on()
    }

    /// Takes on what was assigned, once it is known where it begins.
    fn take_on(&mut self) -> anyhow::Result<()> {
        let Some(partitions) = self.arriving.take() else { return Ok(()) };
        if self.orders.stop.load(Ordering::Acquire) {
            return Ok(self.source.assign(&[])?);
        }
        let beginnings = match self.source.beginnings(&partitions, self.orders.accept_expired) {
            Ok(beginnings) => beginnings,
            Err(NoBeginning::Away(error)) => {
                tracing::warn!(%error, "the committed offsets are not to be had yet; trying again");
                self.arriving = Some(partitions);
                return Ok(());
            }
            Err(beyond_waiting) => return Err(beyond_waiting.into()),
        };
        self.source.assign(&beginnings)?;
        for (partition, beginning) in beginnings {
            let end = self.orders.ends.as_ref().and_then(|ends| ends.of(&partition));
            // Ticks rise in the history of each partition, whoever owns it.
            self.tick = self.tick.max(beginning.metadata.tick + 1);
            if beginning.expired > 0 {
                let ((topic, partition), expired) = (&partition, beginning.expired);
                tracing::warn!(%topic, partition, "{expired} records were removed before they were read; going on without");
                self.orders.telemetry.expire(expired as u64);
            }
            tracing::info!(topic = &*partition.0, partition = partition.1, start = beginning.offset, "to be re-keyed");
            self.lanes.push(Lane::new(partition, self.next, &beginning, end));
            self.next += 1;
        }
        self.regulate()
    }

    /// What is in flight is finished; what is read and not yet sent is the next owner's to read (C8).
    fn revoked(&mut self, partitions: &[Partition]) -> anyhow::Result<()> {
        if !self.source.lost() {
            let deadline = Instant::now() + REVOKE;
            while self.forward.is_busy() && Instant::now() < deadline {
                self.progress(BUSY)?;
            }
        }
        for partition in partitions {
            let Some(found) = self.lanes.iter().position(|lane| lane.partition == *partition) else { continue };
            let at = self.lanes.swap_remove(found).at;
            if let Some(again) = self.again.parcel() {
                again.tick.discard(at);
            }
            self.split.tick.discard(at);
            self.forward.forget(partition);
            tracing::info!(topic = &*partition.0, partition = partition.1, "no longer to be re-keyed here");
        }
        Ok(self.source.unassign(partitions)?)
    }

    /// Settles the tick that is out, when it has come to its end, and cuts the next when that is due.
    fn deliver(&mut self, interval: Duration) -> anyhow::Result<()> {
        self.progress(Duration::ZERO)?;
        if self.forward.is_busy() {
            return self.watch();
        }
        if self.again.is_early(Instant::now()) {
            return Ok(());
        }
        if let Some(parcel) = self.again.take() {
            return self.send(parcel);
        }
        if !(self.split.is_full() || self.last_cut.elapsed() >= interval) {
            return Ok(());
        }
        self.last_cut = Instant::now();
        let mut tick = std::mem::take(&mut self.split.tick);
        tick.number = self.tick;
        tick.frontier = self.orders.frontier.now();
        tick.watermarks.extend(self.lanes.iter().filter_map(|lane| lane.watermark()));
        if tick.is_empty() && tick.watermarks.is_empty() {
            return Ok(());
        }
        self.tick += 1;
        let names = self.lanes.iter().map(|lane| {
            let Lane { at, ref partition, standing: (_, standing), .. } = *lane;
            Name { at, partition: partition.clone(), began_with: standing.began_with }
        });
        let names = names.collect();
        let standing = self.lanes.iter().map(|lane| {
            let (offset, metadata) = lane.standing;
            (lane.partition.clone(), offset, metadata)
        });
        let standing = standing.collect();
        self.send(Parcel { tick, names, standing, wall: wall_clock(), membership: None })
    }

    /// Sends a parcel as a member of the group as of now (C19).
    fn send(&mut self, mut parcel: Parcel) -> anyhow::Result<()> {
        parcel.membership = self.source.membership();
        self.forward.begin(parcel)
    }

    /// Goes on with the tick that is out.
    fn progress(&mut self, wait: Duration) -> anyhow::Result<()> {
        match self.forward.progress(wait)? {
            Some(delivered) => self.settle(delivered),
            None => Ok(()),
        }
    }

    fn settle(&mut self, delivered: Delivered) -> anyhow::Result<()> {
        let Delivered { mut parcel, commits, outcome, revoked, .. } = delivered;
        let committed = match outcome {
            Outcome::Committed => true,
            Outcome::Uncommitted(error) => {
                tracing::warn!(%error, "offsets were not committed; the next tick tries again");
                false
            }
            Outcome::Aborted(error) => {
                self.again.abort(&error, Instant::now())?;
                for name in parcel.names.iter().filter(|name| revoked.contains(&name.partition)) {
                    parcel.tick.discard(name.at);
                }
                self.again.keep(parcel);
                return Ok(());
            }
        };
        self.again.reset();
        self.counts.add(&parcel);
        let mut begun = false;
        for watermark in &parcel.tick.watermarks {
            let Some(lane) = self.lanes.iter_mut().find(|lane| lane.at == watermark.partition) else { continue };
            lane.committed = committed.then_some(*watermark);
            if committed && !lane.begun {
                (lane.begun, begun) = (true, true);
            }
        }
        for (partition, offset, metadata) in commits {
            let lane = self.lanes.iter_mut().find(|lane| lane.partition == partition);
            if let Some(lane) = lane.filter(|_| !revoked.contains(&partition)) {
                lane.standing = (offset, metadata);
            }
        }
        if let Some(ends) = &self.orders.ends {
            ends.finish(self.lanes.iter().filter(|lane| lane.is_done()).map(|lane| &lane.partition));
        }
        if begun { self.regulate() } else { Ok(()) }
    }

    /// C20.
    fn watch(&self) -> anyhow::Result<()> {
        forward::watch(self.forward.committing(), self.orders.frontier.hears())
    }

    fn publish(&mut self, every: Duration) {
        if self.last_published.elapsed() < every {
            return;
        }
        self.last_published = Instant::now();
        let lag = |lane: &Lane| (lane.partition.clone(), lane.lag());
        self.orders.telemetry.publish_rekey(
            self.orders.number,
            RekeySnapshot {
                counts: self.counts,
                partitions: self.lanes.iter().map(lag).collect(),
                alive: Instant::now(),
            },
        );
    }
}

/// How far, in milliseconds, a partition may be ahead of the slowest: what it has beyond that has to be held behind the stage.
fn furthest(config: &Config) -> u64 {
    config.completion.max_wait.as_millis() as u64
}

// === impl Counts ===

impl Counts {
    fn add(&mut self, parcel: &Parcel) {
        let kept = parcel.tick.kept.iter().filter(|kept| kept.spans > 0);
        self.records += kept.clone().count() as u64;
        self.spans += kept.map(|kept| u64::from(kept.spans)).sum::<u64>();
        self.rejected += parcel.tick.dead.iter().map(|dead| u64::from(dead.spans)).sum::<u64>();
        self.rejected_records += parcel.tick.dead.iter().filter(|dead| dead.spans == 0).count() as u64;
    }
}
