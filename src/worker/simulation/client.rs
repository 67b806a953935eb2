//! A worker's way to the simulated broker: a consumer, and a producer whose steps are taken one by one.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Timestamp,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::OwnedMessage,
};

use super::{
    super::io::Io,
    broker::{Broker, Refusal},
    judge::{Judge, Letter},
    learned::{self, Ends},
};
use crate::{
    assemble::Keying,
    decide::PolicySet,
    decisions,
    forward::{Delivered, Outcome, Parcel, contents},
    model::RecordTime,
    mutant::{self, Mutant},
    recall::Partial,
    sample::Learned,
    source::{self, Beginning, Event, Head, Memory, Metadata, NoBeginning, Partition, Restored, Wanted},
    tick::{Dead, Logged},
};

/// What all clients share.
pub struct World {
    pub broker: RefCell<Broker>,
    pub partitions: Vec<Partition>,
    pub random: RefCell<fastrand::Rng>,
    /// Milliseconds.
    pub now: Cell<u64>,
    /// What the clocks of the processes say at 0.
    pub start: Instant,
    pub policies: Arc<PolicySet>,
    pub names: Vec<String>,
    pub at_least_once: bool,
    pub keying: Keying,
}

/// Of one worker.
pub struct Client {
    pub world: Rc<World>,
    pub name: String,
    incarnation: u64,
    consumer: RefCell<Consumer>,
    producer: Producer,
}

#[derive(Default)]
struct Consumer {
    member: Option<u32>,
    told: u32,
    owned: BTreeSet<usize>,
    /// A rebalance that waits for the worker's answer.
    awaiting: Option<Awaiting>,
    lost: bool,
    events: VecDeque<Event>,
    positions: BTreeMap<usize, Fetch>,
    /// How often the broker was asked for records, and how often it had been when the group last rebalanced: what was fetched by
    /// then is thrown away, and statistics do not know it until it is asked again.
    fetches: i64,
    rebalanced: i64,
    /// Records that may still be polled before the worker has to look at something else.
    left: usize,
    latest: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaiting {
    Assign,
    Unassign,
}

struct Fetch {
    next: usize,
    paused: bool,
}

#[derive(Default)]
struct Producer {
    epoch: Option<u32>,
    out: Option<Out>,
    done: Option<anyhow::Result<Delivered>>,
    /// Partitions taken away since the tick went out.
    revoked: HashSet<Partition>,
    /// The next request fails.
    pub fails: bool,
}

/// Of each partition, by its number in the world: what is committed.
type Commits = Vec<(usize, i64, Metadata)>;

/// A tick that is out.
struct Out {
    parcel: Parcel,
    membership: (u32, u32),
    /// Records that are read again first: the number of the partition, and the offset.
    left: Vec<(u32, i64)>,
    /// What goes into the transaction, and what is sent after it.
    pieces: VecDeque<Piece>,
    after: VecDeque<Piece>,
    acknowledged: bool,
    /// What the group said to its offsets.
    reply: Option<(Outcome, Commits)>,
    logged: Vec<Logged>,
    stage: Stage,
    /// The cluster was asked to commit it.
    asked: bool,
}

enum Piece {
    /// The number in the engine, the partition, the record.
    Decisions(u32, usize, Vec<u8>),
    Kept(Vec<u64>),
    Dead(Letter),
    State(Learned<usize>),
}

/// How far a worker's transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// No tick is out.
    Idle,
    /// What was given up is read again.
    Recalling,
    Producing,
    Offsets,
    Ending,
    /// Decided; its markers are being written.
    Marking,
    Aborting,
    /// Of its end there is no word: another producer has taken the name, and finds out.
    Renewing,
    /// With at-least-once delivery, the output after the decisions, and then the offsets.
    Output,
    Committing,
}

// === impl World ===

impl World {
    fn index(&self, partition: &Partition) -> usize {
        self.partitions.iter().position(|known| known == partition).expect("a partition of the world")
    }

    fn commits(&self, out: &Out, incarnation: u64) -> Commits {
        let commits = contents::commits(&out.parcel, &out.logged, incarnation);
        commits.map(|(partition, offset, metadata)| (self.index(partition), offset, metadata)).collect()
    }

    pub fn pass(&self, ms: u64) {
        self.now.set(self.now.get() + ms);
        self.broker.borrow_mut().judge.expire(self.now.get() as i64);
    }
}

// === impl Client ===

impl Client {
    pub fn new(world: Rc<World>, name: String) -> Self {
        let incarnation = world.random.borrow_mut().u64(..);
        Self { world, name, incarnation, consumer: RefCell::default(), producer: Producer::default() }
    }

    pub fn member(&self) -> Option<u32> {
        self.consumer.borrow().member
    }

    pub fn stage(&self) -> Stage {
        self.producer.out.as_ref().map_or(Stage::Idle, |out| out.stage)
    }

    pub fn has_name(&self) -> bool {
        self.producer.epoch.is_some()
    }

    /// So many records may be polled.
    pub fn allow(&self, records: usize) {
        self.consumer.borrow_mut().left = records;
    }

    /// The next request of the producer fails.
    pub fn fail(&mut self) {
        self.producer.fails = true;
    }

    fn index(&self, partition: &Partition) -> usize {
        self.world.index(partition)
    }

    /// The consumer hears of its group.
    pub fn heartbeat(&self) {
        let consumer = &mut *self.consumer.borrow_mut();
        let broker = &mut *self.world.broker.borrow_mut();
        let partitions = broker.input.len();
        let named = |of: &BTreeSet<usize>| of.iter().map(|&at| self.world.partitions[at].clone()).collect();
        let Some(member) = consumer.member else {
            let member = broker.group.join(partitions);
            (consumer.member, consumer.told, consumer.lost) = (Some(member), 0, false);
            return;
        };
        if consumer.awaiting.is_some() {
            return;
        }
        let Some(known) = broker.group.members.get(&member) else {
            if consumer.owned.is_empty() {
                consumer.member = None;
            } else {
                consumer.lost = true;
                consumer.awaiting = Some(Awaiting::Unassign);
                consumer.events.push_back(Event::Revoked(named(&consumer.owned)));
            }
            return;
        };
        if known.told == broker.group.generation && consumer.told == known.told {
            // Partitions that others have let go of since.
            let (_, free) = broker.group.target(member);
            if free.is_empty() {
                return;
            }
        }
        consumer.told = broker.group.generation;
        consumer.rebalanced = consumer.fetches;
        let (target, free) = broker.group.target(member);
        let revoked: BTreeSet<usize> = consumer.owned.difference(target).copied().collect();
        let known = broker.group.members.get_mut(&member).expect("looked at above");
        known.told = consumer.told;
        if !revoked.is_empty() {
            consumer.awaiting = Some(Awaiting::Unassign);
            consumer.events.push_back(Event::Revoked(named(&revoked)));
        } else if !free.is_empty() {
            consumer.awaiting = Some(Awaiting::Assign);
            consumer.events.push_back(Event::Assigned(named(&free)));
            known.owned.extend(&free);
            consumer.owned.extend(&free);
        }
    }

    /// The consumer takes stock.
    pub fn take_stock(&self) {
        let consumer = &mut *self.consumer.borrow_mut();
        let broker = self.world.broker.borrow();
        consumer.fetches += self.world.random.borrow_mut().i64(0..4);
        let (fetches, knows) = (consumer.fetches, consumer.fetches > consumer.rebalanced);
        let of = |(&at, fetch): (&usize, &Fetch)| {
            let log = &broker.input[at];
            // Fetched, or not yet: both happen.
            let (next, queued) = match log.next(fetch.next) {
                Some((_, _)) if self.world.random.borrow_mut().bool() => (log.stable(), usize::from(knows)),
                Some((next, _)) => (next, 0),
                None => (log.stable().max(fetch.next), 0),
            };
            Head {
                partition: self.world.partitions[at].clone(),
                high: log.high() as i64,
                next: next as i64,
                queued: queued as i64,
                broker: 0,
                fetches,
                fresh: !fetch.paused,
                at: self.now(),
            }
        };
        let heads = consumer.positions.iter().map(of).collect();
        consumer.events.push_back(Event::Heads { heads, connected: true, at: self.world.now.get() as i64 });
    }

    /// The producer takes its next step.
    pub fn step(&mut self) {
        let fails = std::mem::take(&mut self.producer.fails);
        let broker = &mut *self.world.broker.borrow_mut();
        let Some(epoch) = self.producer.epoch else {
            self.producer.epoch = broker.init(&self.name).ok();
            return;
        };
        let Some(out) = &mut self.producer.out else { return };
        let result = match out.stage {
            Stage::Idle => return,
            Stage::Recalling => {
                if let Some((number, offset)) = out.left.pop() {
                    let log = &broker.input[place(&self.world, &out.parcel, number)];
                    let (_, input) =
                        log.next(offset as usize).filter(|(at, _)| *at == offset as usize).expect("it was read");
                    out.parcel.tick.recall.take(number, offset, &input.payload);
                }
                if out.left.is_empty() {
                    out.parcel.tick.fill(1 << 20, Partial::DeadLetter);
                    (out.pieces, out.after) = pieces(&self.world, &out.parcel, self.incarnation, &mut broker.judge);
                    out.stage = Stage::Producing;
                }
                Ok(())
            }
            Stage::Producing if fails => Err(Refusal::Generation),
            Stage::Producing => match out.pieces.pop_front() {
                None => {
                    out.stage = Stage::Offsets;
                    Ok(())
                }
                Some(Piece::Decisions(number, partition, value)) => {
                    broker.decide(&self.name, epoch, partition, value).map(|offset| {
                        note(&mut out.logged, number, offset as i64);
                    })
                }
                Some(Piece::Kept(spans)) => broker.keep(&self.name, epoch, &spans),
                Some(Piece::Dead(letter)) => broker.bury(&self.name, epoch, letter),
                Some(Piece::State(learned)) if mutant::is(Mutant::StateOutsideTransaction) => {
                    broker.states[learned.partition].append(None, learned);
                    Ok(())
                }
                Some(Piece::State(learned)) => broker.learn(&self.name, epoch, learned),
            },
            Stage::Offsets if fails => Err(Refusal::Generation),
            Stage::Offsets => {
                let offsets = if self.world.at_least_once {
                    // Those of partitions taken away since too: then the group refuses them all.
                    let standing = out.parcel.standing.iter();
                    standing
                        .map(|(partition, offset, metadata)| (self.world.index(partition), *offset, *metadata))
                        .collect()
                } else {
                    self.world.commits(out, self.incarnation)
                };
                let mut membership = out.membership;
                if mutant::is(Mutant::MembershipOfLater) {
                    let consumer = self.consumer.borrow();
                    membership = (consumer.member.unwrap_or_default(), consumer.told);
                }
                (out.stage, out.asked) = (Stage::Ending, !self.world.at_least_once);
                if offsets.is_empty() { Ok(()) } else { broker.send_offsets(&self.name, epoch, membership, offsets) }
            }
            Stage::Ending | Stage::Marking if fails => {
                // It arrives, or not.
                if out.stage == Stage::Ending && self.world.random.borrow_mut().bool() {
                    _ = broker.end(&self.name, epoch, true);
                }
                out.asked = true;
                return self.producer.renew();
            }
            Stage::Ending => {
                (out.stage, out.asked) = (Stage::Marking, true);
                broker.end(&self.name, epoch, true)
            }
            Stage::Marking | Stage::Aborting if !broker.is_done(&self.name) => Ok(()),
            Stage::Marking if self.world.at_least_once => {
                out.stage = Stage::Output;
                Ok(())
            }
            Stage::Marking => {
                let commits = self.world.commits(out, self.incarnation);
                return self.producer.finish(&self.world, Outcome::Committed, commits);
            }
            Stage::Output => {
                match out.after.pop_front() {
                    Some(Piece::Kept(spans)) => broker.judge.committed(std::iter::empty(), &spans, &[]),
                    Some(Piece::Dead(letter)) => {
                        broker.judge.committed(std::iter::empty(), &[], &[letter]);
                    }
                    Some(Piece::State(learned)) => _ = broker.states[learned.partition].append(None, learned),
                    Some(Piece::Decisions(..)) | None if out.acknowledged => out.stage = Stage::Committing,
                    // A round trip later.
                    Some(Piece::Decisions(..)) | None => out.acknowledged = true,
                }
                Ok(())
            }
            Stage::Committing if let Some((outcome, commits)) = out.reply.take() => {
                return self.producer.finish(&self.world, outcome, commits);
            }
            Stage::Committing => {
                let revoked = &self.producer.revoked;
                let mut commits = self.world.commits(out, self.incarnation);
                commits.retain(|(at, ..)| !revoked.contains(&self.world.partitions[*at]));
                let membership = {
                    let consumer = self.consumer.borrow();
                    (consumer.member.unwrap_or_default(), consumer.told)
                };
                let outcome = match broker.commit(membership, commits.clone()) {
                    Ok(()) => Outcome::Committed,
                    Err(_) => Outcome::Uncommitted(KafkaError::Canceled),
                };
                out.reply = Some((outcome, commits));
                Ok(())
            }
            Stage::Aborting => return self.producer.abort(&self.world),
            Stage::Renewing if !out.asked => return self.producer.abort(&self.world),
            // All that was to be committed were decisions.
            Stage::Renewing if self.world.at_least_once => return self.producer.fence(),
            Stage::Renewing => {
                let new: Vec<_> = contents::commits(&out.parcel, &out.logged, self.incarnation).collect();
                let of = |partition: &Partition| broker.offsets[self.world.index(partition)];
                let committed: Vec<_> = new.iter().map(|&(partition, ..)| (partition.clone(), of(partition))).collect();
                if new.iter().any(|(partition, ..)| broker.is_unstable(self.world.index(partition))) {
                    return;
                }
                let fate = contents::is_committed(&new, &out.parcel.standing, &committed);
                let commits = self.world.commits(out, self.incarnation);
                return match fate {
                    Some(true) => self.producer.finish(&self.world, Outcome::Committed, commits),
                    Some(false) | None => self.producer.abort(&self.world),
                };
            }
        };
        match result {
            Ok(()) | Err(Refusal::Busy) => {}
            Err(Refusal::Generation) => {
                out.stage = Stage::Aborting;
                match broker.end(&self.name, epoch, false) {
                    Err(Refusal::Fenced) if broker.has_timed_out(&self.name, epoch) => self.producer.renew(),
                    Err(Refusal::Fenced) => self.producer.fence(),
                    _ => {}
                }
            }
            Err(Refusal::Fenced) if broker.has_timed_out(&self.name, epoch) => self.producer.renew(),
            Err(Refusal::Fenced) => self.producer.fence(),
        }
    }
}

/// What goes into the transaction, and what is sent after it.
fn pieces(world: &World, parcel: &Parcel, incarnation: u64, judge: &mut Judge) -> (VecDeque<Piece>, VecDeque<Piece>) {
    let place = |number| place(world, parcel, number);
    let tick = &parcel.tick;
    let decided = contents::decisions(tick, incarnation, 4096);
    let decided = decided.into_iter().map(|(number, value)| Piece::Decisions(number, place(number), value));
    let kept = tick.kept.iter().map(|kept| Piece::Kept(judge.sent(&tick.bytes[kept.bytes.clone()])));
    let dead = tick.dead.iter().map(|&Dead { partition, offset, spans, .. }| {
        Piece::Dead(Letter { partition: place(partition), offset, spans })
    });
    let states = tick.states.iter().map(|learned| Piece::State(learned.clone().called(place(learned.partition))));
    let (decided, output): (VecDeque<_>, VecDeque<_>) = (decided.collect(), kept.chain(dead).chain(states).collect());
    if world.at_least_once { (decided, output) } else { (decided.into_iter().chain(output).collect(), VecDeque::new()) }
}

/// Which partition of the world a tick knows by this number.
fn place(world: &World, parcel: &Parcel, number: u32) -> usize {
    world.index(parcel.name(number).expect("its partitions have names"))
}

// === impl Producer ===

impl Producer {
    fn fence(&mut self) {
        self.out = None;
        self.done = Some(Err(anyhow::anyhow!("fenced")));
    }

    /// Takes the name anew, whoever has it.
    fn renew(&mut self) {
        self.epoch = None;
        if let Some(out) = &mut self.out {
            out.stage = Stage::Renewing;
        }
    }

    fn abort(&mut self, world: &World) {
        self.finish(world, Outcome::Aborted(KafkaError::Canceled), Vec::new());
    }

    fn finish(&mut self, world: &World, outcome: Outcome, commits: Commits) {
        let Some(Out { parcel, logged, .. }) = self.out.take() else { return };
        let logged = if matches!(outcome, Outcome::Aborted(_)) { Vec::new() } else { logged };
        let named = |(at, offset, metadata): (usize, _, _)| (world.partitions[at].clone(), offset, metadata);
        let committed = matches!(outcome, Outcome::Committed);
        let commits = commits.into_iter().filter(|_| committed).map(named).collect();
        self.done = Some(Ok(Delivered { parcel, logged, commits, outcome, revoked: HashSet::new() }));
    }
}

fn note(logged: &mut Vec<Logged>, partition: u32, offset: i64) {
    match logged.iter_mut().find(|known| known.partition == partition) {
        Some(known) => known.last = offset,
        None => logged.push(Logged { partition, first: offset, last: offset }),
    }
}

impl Io for Client {
    type Record<'a> = OwnedMessage;
    /// What is wanted, and where the log ended when it was asked.
    type Restore = Vec<(Wanted, i64, Ends)>;

    fn now(&self) -> Instant {
        self.world.start + Duration::from_millis(self.world.now.get())
    }

    fn wall_clock(&self) -> RecordTime {
        RecordTime(self.world.now.get() as i64)
    }

    fn poll(&self, _: Duration) -> Option<KafkaResult<OwnedMessage>> {
        let consumer = &mut *self.consumer.borrow_mut();
        let broker = self.world.broker.borrow();
        consumer.left = consumer.left.checked_sub(1)?;
        let readable = |(&at, fetch): (&usize, &Fetch)| {
            (!fetch.paused && broker.input[at].next(fetch.next).is_some()).then_some(at)
        };
        let mut readable: Vec<usize> = consumer.positions.iter().filter_map(readable).collect();
        let mut random = self.world.random.borrow_mut();
        // Long runs come from one partition.
        if readable.contains(&consumer.latest) && random.u8(..) < 200 {
            readable = vec![consumer.latest];
        }
        let at = *readable.get(random.usize(..readable.len().max(1)))?;
        consumer.latest = at;
        let fetch = consumer.positions.get_mut(&at).expect("one of them");
        let (offset, input) = broker.input[at].next(fetch.next).expect("readable");
        fetch.next = offset + 1;
        let (topic, partition) = &self.world.partitions[at];
        let (payload, time) = (Some(input.payload.clone()), Timestamp::CreateTime(input.time));
        Some(Ok(OwnedMessage::new(payload, None, topic.to_string(), time, *partition, offset as i64, None)))
    }

    fn next_event(&self) -> Option<Event> {
        self.consumer.borrow_mut().events.pop_front()
    }

    fn beginnings(&self, partitions: &[Partition]) -> Result<Vec<(Partition, Beginning)>, NoBeginning> {
        let broker = self.world.broker.borrow();
        let of = |partition: &Partition| {
            let at = self.index(partition);
            if broker.is_unstable(at) {
                return Err(NoBeginning::Away(KafkaError::OffsetFetch(RDKafkaErrorCode::UnstableOffsetCommit)));
            }
            let beginning = match broker.offsets[at] {
                Some((offset, metadata)) => Beginning { offset, committed: true, expired: 0, metadata },
                None => Beginning { offset: 0, committed: false, expired: 0, metadata: Metadata::at(0, None) },
            };
            Ok((partition.clone(), beginning))
        };
        partitions.iter().map(of).collect()
    }

    fn refusal(&self) -> Option<source::Refusal> {
        None
    }

    fn assign(&self, beginnings: &[(Partition, Beginning)]) -> KafkaResult<()> {
        let consumer = &mut *self.consumer.borrow_mut();
        for (partition, Beginning { offset, .. }) in beginnings {
            consumer.positions.insert(self.index(partition), Fetch { next: *offset as usize, paused: false });
        }
        consumer.awaiting = None;
        Ok(())
    }

    fn unassign(&self, partitions: &[Partition]) -> KafkaResult<()> {
        let consumer = &mut *self.consumer.borrow_mut();
        let broker = &mut *self.world.broker.borrow_mut();
        for at in partitions.iter().map(|partition| self.index(partition)) {
            consumer.positions.remove(&at);
            consumer.owned.remove(&at);
        }
        consumer.awaiting = None;
        let member = consumer.member.and_then(|member| broker.group.members.get_mut(&member));
        match member {
            Some(member) if !consumer.lost => {
                member.owned.clone_from(&consumer.owned);
                broker.group.rebalance(self.world.partitions.len());
            }
            // Joins anew, when it has nothing left.
            _ if consumer.owned.is_empty() => consumer.member = None,
            _ => {}
        }
        Ok(())
    }

    fn lost(&self) -> bool {
        self.consumer.borrow().lost
    }

    fn pause(&self, partitions: &[Partition]) -> KafkaResult<()> {
        self.set_paused(partitions, true)
    }

    fn resume(&self, partitions: &[Partition]) -> KafkaResult<()> {
        self.set_paused(partitions, false)
    }

    fn restore(&self, wanted: Vec<Wanted>, _: Arc<[String]>, _: usize) -> anyhow::Result<Self::Restore> {
        let broker = self.world.broker.borrow();
        let end = |wanted: &Wanted| match wanted.last {
            _ if self.world.at_least_once => broker.decisions[self.index(&wanted.partition)].high() as i64,
            Some(last) => last + 1,
            None => 0,
        };
        let consumer = self.consumer.borrow();
        let current = consumer.member.is_some_and(|member| broker.group.is_current((member, consumer.told)));
        let ends = wanted.into_iter().map(|wanted| {
            let at = self.index(&wanted.partition);
            let (decided, learned) = (broker.decisions[at].high(), broker.states[at].high());
            let ends = Ends { partition: at, decided, learned, current };
            let end = end(&wanted);
            (wanted, end, ends)
        });
        Ok(ends.collect())
    }

    /// All at once, when the last record that is wanted can be read.
    fn restored(&self, wanted: &mut Self::Restore, _: Duration) -> anyhow::Result<Option<Memory>> {
        let broker = &mut *self.world.broker.borrow_mut();
        let mut memory = Memory::default();
        for (Wanted { partition, floor, last, .. }, end, ends) in wanted.iter() {
            let (log, states) = (&broker.decisions[ends.partition], &broker.states[ends.partition]);
            let is_there = log.stable() as i64 >= *end && states.stable() >= ends.learned;
            if !is_there && !mutant::is(Mutant::RestoreToStableOffset) {
                return Ok(None);
            }
            for (offset, value) in log.committed(*floor as usize).take_while(|(offset, _)| (*offset as i64) < *end) {
                let logged = decisions::decode(value, &self.world.names)?;
                let of = |decision| Restored {
                    partition: partition.clone(),
                    tick: logged.tick,
                    offset: offset as i64,
                    bound: last.is_none_or(|last| offset as i64 > last),
                    decision,
                };
                memory.decisions.extend(logged.decisions.into_iter().map(of));
            }
            let latest = learned::latest(states, ends.learned).into_values();
            memory.states.extend(latest.map(|learned| learned.called(partition.clone())));
        }
        let ends: Vec<_> = wanted.iter().map(|(.., ends)| *ends).collect();
        learned::judge(broker, &self.world, &ends);
        Ok(Some(memory))
    }

    fn send(&mut self, mut parcel: Parcel) -> anyhow::Result<()> {
        assert!(self.producer.out.is_none(), "one tick at a time");
        let membership = {
            let consumer = self.consumer.borrow();
            (consumer.member.unwrap_or_default(), consumer.told)
        };
        self.world.broker.borrow().judge.tell(|| {
            let Parcel { tick, names, .. } = &parcel;
            format!("{} sends tick {} of {names:?} as {membership:?}: {:?}", self.name, tick.number, tick.watermarks)
        });
        self.producer.revoked.clear();
        let records = parcel.tick.recall.begin();
        let left: Vec<_> =
            records.into_iter().flat_map(|(at, of)| of.into_iter().map(move |offset| (at, offset))).collect();
        let judge = &mut self.world.broker.borrow_mut().judge;
        let (stage, (pieces, after)) = if left.is_empty() {
            (Stage::Producing, pieces(&self.world, &parcel, self.incarnation, judge))
        } else {
            (Stage::Recalling, Default::default())
        };
        self.producer.out = Some(Out {
            parcel,
            membership,
            left,
            pieces,
            after,
            acknowledged: false,
            reply: None,
            logged: Vec::new(),
            stage,
            asked: false,
        });
        Ok(())
    }

    fn sent(&mut self, wait: Duration) -> anyhow::Result<Option<Delivered>> {
        if !wait.is_zero() {
            // Whoever waits lets the others go on.
            let ms = self.world.random.borrow_mut().u64(50..1_000);
            self.world.pass(ms);
            self.step();
            let markers = self.world.broker.borrow().markers();
            if !markers.is_empty() {
                let (txn, place) = markers[self.world.random.borrow_mut().usize(..markers.len())];
                self.world.broker.borrow_mut().mark(txn, place);
            }
        }
        let Some(done) = self.producer.done.take() else { return Ok(None) };
        let mut delivered = done?;
        let revoked = &self.producer.revoked;
        let names = &delivered.parcel.names;
        delivered.parcel.tick.watermarks.retain(|watermark| {
            names.iter().any(|name| name.at == watermark.partition && !revoked.contains(&name.partition))
        });
        delivered.parcel.standing.retain(|(partition, ..)| !revoked.contains(partition));
        delivered.revoked.clone_from(revoked);
        Ok(Some(delivered))
    }

    fn is_sending(&self) -> bool {
        self.producer.out.is_some() || self.producer.done.is_some()
    }

    fn is_acknowledged(&self) -> bool {
        !self.is_sending()
    }

    fn committing(&self) -> Option<Duration> {
        None
    }

    fn disown(&mut self, partition: &Partition) {
        self.producer.revoked.insert(partition.clone());
    }
}

impl Client {
    fn set_paused(&self, partitions: &[Partition], paused: bool) -> KafkaResult<()> {
        let consumer = &mut *self.consumer.borrow_mut();
        for partition in partitions {
            match consumer.positions.get_mut(&self.index(partition)) {
                Some(fetch) => fetch.paused = paused,
                None => return Err(KafkaError::Canceled),
            }
        }
        Ok(())
    }
}
