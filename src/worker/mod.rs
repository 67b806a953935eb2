//! One thread, one consumer, one producer, one engine: the shell around the core, which owns the clock and the I/O.

mod assignment;
mod delivery;
mod dry_run;
mod ends;
mod hearing;
mod io;
mod ownership;
#[cfg(test)]
mod simulation;
mod waiting;

pub use ends::Ends;
pub use io::wall_clock;
pub use ownership::REVOKE;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail};
use rdkafka::{
    Message,
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::sync::watch;

use crate::{
    assemble::{Completion, Keying},
    config::{Config, Input},
    decide::Edition,
    engine::{Engine, Full, Record, Settings},
    forward::Retry,
    limits,
    model::RecordTime,
    mutant::{self, Mutant},
    recall::Terms,
    rekey::{self, Frontier},
    source::{
        self, Beginning, Board, Partition, Refusal, Restored, Use, is_refused,
        record::{self, Beside},
    },
    telemetry::{Progress, Snapshot, Telemetry},
};
use assignment::Assignment;
use dry_run::DryRun;
use hearing::Hearing;
use io::{Io, Kafka};
use waiting::Waiting;

/// A worker, to be run on a thread of its own.
pub struct Worker<I: Io = Kafka> {
    engine: Engine,
    io: I,
    owned: Assignment,
    /// Assigned, and not yet taken on.
    arriving: Option<Arrival<I>>,
    /// Read back of an unkeyed input of which some partitions are not here yet.
    restored: Vec<Restored>,
    hearing: Hearing,
    /// A tick whose transaction was aborted, to be sent before anything newer.
    again: Retry,
    orders: Orders,
    /// Of an unkeyed input, what came before its turn.
    waiting: Waiting,
    /// The partition whose first record waits because the tick is full. Input is paused meanwhile.
    stalled: Option<u32>,
    last_cut: Instant,
    last_published: Instant,
    /// Since when it is told to stop.
    stopping: Option<Instant>,
    /// Since when an unkeyed input is owned in part.
    partial_since: Option<Instant>,
    /// When statistics last showed a broker that answers.
    heard: Option<Instant>,
    /// Policies were loaded that have to wait.
    awaited: bool,
}

/// What a worker is told, shared by all of a process.
#[derive(Clone)]
pub struct Orders {
    pub number: usize,
    /// How many there are.
    pub workers: usize,
    pub config: Arc<Config>,
    pub keying: Keying,
    /// Of an input that was re-keyed.
    pub frontier: Option<Arc<Frontier>>,
    /// Of all input topics, when the process began, sorted.
    pub partitions: Arc<[Partition]>,
    /// For how many milliseconds by their timestamps records are there; None where that is for ever.
    pub retention: Option<u64>,
    /// The largest record the output takes, in bytes.
    pub output_record_bytes: usize,
    /// The name under which transactions are fenced.
    pub transactional_id: String,
    pub telemetry: Arc<Telemetry>,
    pub stop: Arc<AtomicBool>,
    /// What samplers of all workers have learned.
    pub board: Option<Arc<Board>>,
    /// With `--until-end`.
    pub ends: Option<Arc<Ends>>,
    /// With `--accept-expired`.
    pub accept_expired: bool,
    /// Those that are to be in force, as they were loaded last.
    pub policies: watch::Receiver<Arc<Edition>>,
}

/// Partitions on their way in.
enum Arrival<I: Io> {
    /// The group is asked where they begin.
    Asked(Vec<Partition>),
    /// What was decided of them is read.
    Restoring(Vec<(Partition, Beginning)>, I::Restore),
}

/// Records between two looks at everything else: some milliseconds.
const RUN: usize = 1000;
/// How long a poll may wait when there is nothing else to do, and when a tick is out.
const IDLE: Duration = Duration::from_millis(50);
const BUSY: Duration = Duration::from_millis(5);
/// How often librdkafka takes stock of the heads of the logs. Idle partitions follow the wall clock in such steps.
const STATISTICS: Duration = Duration::from_millis(500);
/// For what is decided when told to stop: below the promised 10 s.
pub const STOP: Duration = Duration::from_secs(8);
/// Statistics come every half second while a broker answers.
pub const AWAY: Duration = Duration::from_secs(5);
const STUCK: &str = "what was held before the restart does not fit into memory.buffer, and deciding on a part of it would split \
                     traces: raise memory.buffer to what it was, or run as many workers as there were";
const PUBLISH: Duration = Duration::from_millis(250);

// === impl Worker ===

impl Worker {
    /// # Errors
    /// Kafka properties that librdkafka refuses.
    pub fn new(orders: Orders) -> anyhow::Result<Self> {
        let io = Kafka::new(&orders)?;
        Ok(Self::with(io, orders))
    }
}

impl Worker<DryRun> {
    /// Which does nothing but count; `partitions` are those of the input.
    ///
    /// # Errors
    /// Kafka properties that librdkafka refuses.
    pub fn dry_run(orders: Orders, partitions: &[Partition]) -> anyhow::Result<Self> {
        let io = DryRun::new(&orders, partitions)?;
        Ok(Self::with(io, orders))
    }
}

impl<I: Io> Worker<I> {
    fn with(io: I, orders: Orders) -> Self {
        let now = io.now();
        let mut engine = Engine::new(settings(&orders), orders.config.policies.clone());
        engine.share(orders.partitions.len() as u32);
        Self {
            engine,
            io,
            owned: Assignment::default(),
            arriving: None,
            restored: Vec::new(),
            hearing: Hearing::new(orders.board.clone(), now),
            again: Retry::default(),
            waiting: Waiting::new(early(&orders), orders.partitions.len()),
            stalled: None,
            last_cut: now,
            last_published: now,
            stopping: None,
            partial_since: None,
            heard: None,
            awaited: false,
            orders,
        }
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
        self.reload();
        self.hear();
        self.deliver(self.orders.config.tick.interval)?;
        self.take_waiting()?;
        self.read()?;
        self.is_done()
    }

    /// Takes policies on that were loaded anew. Where they have to wait, others that come meanwhile take their place.
    fn reload(&mut self) {
        // Where nobody loads any, there is nobody to hear of.
        if !self.orders.policies.has_changed().unwrap_or(false) {
            return;
        }
        let edition = self.orders.policies.borrow_and_update().clone();
        let waits = !self.engine.reload(&edition);
        if waits {
            self.orders.policies.mark_changed();
        }
        if waits && !self.awaited {
            tracing::info!(
                "the policies {} wait: for traces that began under those before the last, for a tick that is out, or for what is \
                 read again after a restart",
                edition.policies.fingerprint()
            );
        }
        self.awaited = waits;
    }

    /// Takes nothing more in and finishes what is decided; nothing undecided is forced.
    fn stop(&mut self) -> anyhow::Result<bool> {
        let since = *self.stopping.get_or_insert_with(|| self.io.now());
        if self.conclude()? {
            return Ok(true);
        }
        if self.since(since) > STOP {
            if self.engine.is_drained() && self.again.is_empty() && self.io.is_acknowledged() {
                tracing::warn!(
                    "the last offsets were not committed; what follows them is read again at the next start"
                );
                return Ok(true);
            }
            bail!(
                "the output did not take the last tick in time; what it lacks is read and sent again at the next start"
            );
        }
        // Keeps the membership alive. Records that still come are not taken in.
        _ = self.io.poll(BUSY);
        Ok(false)
    }

    fn read(&mut self) -> anyhow::Result<()> {
        let ceiling = self.ceiling();
        let is_merged = self.orders.keying == Keying::Unkeyed;
        let mut wait = if self.io.is_sending() || self.stalled.is_some() { BUSY } else { IDLE };
        for _ in 0..RUN {
            let record = match self.io.poll(wait) {
                Some(Ok(record)) => record,
                Some(Err(error)) => return self.poll_failed(error),
                None => return Ok(()),
            };
            wait = Duration::ZERO;
            let Some(owned) = self.owned.find(record.topic(), record.partition()) else { continue };
            if owned.flows != Some(true) || record.offset() < owned.fetched {
                // Fetched before a pause took hold; it comes again after the resume.
                continue;
            }
            if owned.end.is_some_and(|end| record.offset() >= end) {
                // What is before the end may have been a transaction's marker, which never comes.
                owned.end_here(&mut self.engine);
                continue;
            }
            let timestamp = source::timestamp(&record).unwrap_or_else(|| self.io.wall_clock());
            let taken = Record {
                partition: owned.at,
                offset: record.offset(),
                timestamp: Some(timestamp),
                headers: &Beside(&record),
                payload: record.payload(),
            };
            if self.orders.frontier.is_some()
                && let Some(frontier) = rekey::frontier(&record)
            {
                self.engine.limit(owned.at, frontier);
            }
            owned.fetched = taken.offset + 1;
            owned.nearly = None;
            if is_merged
                && !mutant::is(Mutant::AsItComes)
                && (self.engine.turn() != Some(owned.at) || self.waiting.has(owned.at))
            {
                if !self.waiting.has(owned.at) {
                    self.engine.announce(owned.at, timestamp);
                }
                self.waiting.push(owned.at, timestamp, record::owned(&record));
                drop(record);
                if self.waiting.is_full() {
                    self.regulate()?;
                }
                continue;
            }
            if self.engine.ingest(taken, ceiling) == Err(Full) {
                if self.engine.is_stuck() {
                    bail!(STUCK);
                }
                self.waiting.push(owned.at, timestamp, record::owned(&record));
                self.stalled = Some(owned.at);
                drop(record);
                return self.regulate();
            }
            owned.position = owned.fetched;
            owned.finish_at_end(&mut self.engine);
            if is_merged {
                drop(record);
                self.take_waiting()?;
            }
        }
        Ok(())
    }

    /// Takes in what may no longer wait: the record for which the tick was too full, then those whose turn it is.
    fn take_waiting(&mut self) -> anyhow::Result<()> {
        if self.waiting.records() == 0 {
            return Ok(());
        }
        let (mut is_held_up, ceiling) = (self.stalled.is_some() || self.waiting.is_full(), self.ceiling());
        while let Some(partition) = self.stalled.or_else(|| self.engine.turn())
            && let Some(record) = self.waiting.first(partition)
        {
            let position = record.offset + 1;
            if self.engine.ingest(record, ceiling) == Err(Full) {
                if self.engine.is_stuck() {
                    bail!(STUCK);
                }
                is_held_up = true;
                self.stalled = Some(partition);
                break;
            }
            self.stalled = None;
            self.waiting.pop(partition);
            let owned = self.owned.by_number(partition).expect("what was taken away waits no longer");
            owned.position = position;
            owned.finish_at_end(&mut self.engine);
            if !self.waiting.has(partition) {
                self.rest(partition);
            }
        }
        if is_held_up { self.regulate() } else { Ok(()) }
    }

    /// Whether input waits: for the tick, or for the rest of an unkeyed input.
    fn is_paused(&self) -> bool {
        self.stalled.is_some() || self.partial_since.is_some()
    }

    #[cfg(test)]
    fn is_sending(&self) -> bool {
        self.io.is_sending() || !self.again.is_empty()
    }

    fn since(&self, then: Instant) -> Duration {
        self.io.now().duration_since(then)
    }

    /// How far clocks may go: just above the wall clock.
    fn ceiling(&self) -> RecordTime {
        self.io.wall_clock().plus(limits::AHEAD)
    }

    fn poll_failed(&self, error: KafkaError) -> anyhow::Result<()> {
        // One broker of several may be wrongly set up.
        if let Some(refusal) = self.io.refusal()
            && self.heard.is_none_or(|heard| self.since(heard) >= AWAY)
        {
            return Err(refusal.into());
        }
        let positions = self.owned.iter().map(|owned| (&owned.partition, owned.fetched));
        read_failed(error, &self.orders.config.input, positions)
    }

    fn publish(&mut self, every: Duration) {
        if self.since(self.last_published) < every {
            return;
        }
        let now = self.io.now();
        self.last_published = now;
        let (ceiling, Self { engine, owned, orders, .. }) = (self.ceiling(), &mut *self);
        let partitions = owned.iter().map(|owned| {
            let (lag, age) = (owned.lag(), owned.watermark_age);
            let passed = if lag == 0 && age == 0 {
                // Nothing of it is still needed.
                0
            } else {
                engine.clock(owned.at).map_or(0, |clock| ceiling.since(clock)).saturating_add(age)
            };
            let left = orders.retention.map(|ms| ms.saturating_sub(passed));
            Progress { partition: owned.partition.clone(), lag, age, left }
        });
        let partitions = partitions.collect();
        self.orders.telemetry.publish(
            self.orders.number,
            Snapshot {
                stats: self.engine.stats().clone(),
                edition: self.engine.edition().clone(),
                spans_held: self.engine.spans_held(),
                traces_held: u64::from(self.engine.traces_held()),
                bytes_held: (self.engine.bytes_held() + self.waiting.bytes()) as u64,
                records_waiting: self.waiting.records() as u64,
                partitions,
                heard: self.heard,
                alive: now,
            },
        );
    }
}

// === impl Orders ===

impl Orders {
    /// A partition's place among all, which is the same in each life. None of one that was added meanwhile.
    fn rank(&self, partition: &Partition) -> Option<u32> {
        self.partitions.binary_search(partition).ok().map(|at| at as u32)
    }
}

/// Of a worker's engine.
fn settings(orders: &Orders) -> Settings {
    let Orders { config, keying, output_record_bytes, retention, .. } = orders;
    let buffer = buffer(orders) - early(orders);
    let completion = Completion {
        quiet: config.completion.quiet.as_millis() as u64,
        completeness: config.completion.completeness,
        max_wait: config.completion.max_wait.as_millis() as u64,
        max_trace_bytes: config.completion.max_trace_bytes as usize,
    };
    // What is held now is read again within a wait, and the clocks of brokers are about right.
    let shelf_life = retention.map_or(u64::MAX, |ms| ms.saturating_sub(2 * completion.max_wait));
    Settings {
        keying: *keying,
        completion,
        late_window: config.late_window.as_millis() as u64,
        past: config.late,
        buffer,
        // Two ticks are in memory at a time, one open, one out: together no more than a quarter of the budget.
        tick_bytes: (config.tick.bytes as usize).min(buffer / 8),
        output_record_bytes: *output_record_bytes,
        stamps: config.stamps,
        recall: config.memory.recall.then_some(Terms { partial: config.memory.recall_partial, shelf_life }),
    }
}

/// A worker's share of the budget.
fn buffer(orders: &Orders) -> usize {
    orders.config.memory.buffer as usize / orders.workers
}

/// The part of it for what comes before its turn. Librdkafka hands over what it fetched of one partition after the other, megabytes
/// at a time, and holds no more than 16 MiB: an eighth of the default is room for all of that.
fn early(orders: &Orders) -> usize {
    if orders.keying == Keying::Unkeyed { buffer(orders) / 8 } else { 0 }
}

/// What it means that reading failed.
///
/// # Errors
/// It cannot go on.
pub fn read_failed<'p>(
    error: KafkaError,
    input: &Input,
    positions: impl Iterator<Item = (&'p Partition, i64)>,
) -> anyhow::Result<()> {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
            let positions =
                positions.map(|((topic, partition), position)| format!("{topic}/{partition} at {position}"));
            bail!(
                "the log no longer holds a position of group `{}` ({}). If records were removed before they were read, the \
                 next start says how many; if the topic was made anew, move the group's offsets on purpose \
                 (kafka-consumer-groups --reset-offsets)",
                input.group,
                positions.collect::<Vec<_>>().join(", "),
            )
        }
        _ if is_refused(&error) => {
            let topics = input.topics.iter().map(|topic| &*topic.name).collect::<Vec<_>>();
            Err(match Refusal::of_right(&error, &input.group, Use::Read(&topics)) {
                Some(refusal) => refusal.into(),
                None => anyhow!(error).context(format!("reading {}", topics.join(", "))),
            })
        }
        _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => Err(error.into()),
        _ => {
            tracing::warn!(%error, "Kafka; going on");
            Ok(())
        }
    }
}

/// How far clocks may go: just above the wall clock.
pub fn ceiling() -> RecordTime {
    wall_clock().plus(limits::AHEAD)
}

/// A record's time; that of its arrival where producer and broker gave it none.
pub fn timestamp(record: &impl Message) -> RecordTime {
    source::timestamp(record).unwrap_or_else(wall_clock)
}
