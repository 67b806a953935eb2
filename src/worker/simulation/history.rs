//! One history: what happens, to whom, in which order, out of a seed.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use tokio::sync::watch;

use super::{
    super::{Arrival, Ends, Orders, Worker, waiting::Waiting},
    broker::{Broker, Input},
    client::{Client, Stage, World},
    judge::{self, Judge, Trace},
    record::{self, Sent},
    undisturbed,
};
use crate::{
    assemble::Keying,
    config::{Config, Delivery},
    decide::Edition,
    generate::otlp::{Span, Status},
    source::Partition,
    telemetry::Telemetry,
};

/// What the workers of a history are told.
#[derive(Clone)]
pub struct Setup {
    pub keying: Keying,
    pub config: Arc<Config>,
    pub telemetry: Arc<Telemetry>,
    /// The clocks of the processes begin there.
    pub start: Instant,
    /// Verdicts are remembered for good.
    pub for_good: bool,
    /// All records are there, and long have been, when the first is read: what is decided is a function of them (I5).
    pub backlog: bool,
    /// Spans are so large that memory decides.
    pub large: bool,
    /// Payload is given up now and then.
    pub gives_up: bool,
    /// Prints what happens.
    pub tells: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// A record comes in.
    Produce {
        dice: u64,
    },
    /// Everybody does a bit of everything.
    Round {
        records: u8,
    },
    /// A worker looks at everything once and takes so many records.
    Turn {
        worker: u8,
        records: u8,
    },
    /// A producer makes so many steps.
    Step {
        worker: u8,
        steps: u8,
    },
    Heartbeat {
        worker: u8,
    },
    TakeStock {
        worker: u8,
    },
    Marker {
        dice: u64,
    },
    Time {
        ms: u64,
    },
    Fault {
        fault: Fault,
        dice: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process dies at once.
    Kill,
    /// It dies, and its last request arrives all the same.
    KillInFlight,
    /// It stands still, until it is thawed or replaced.
    Freeze,
    /// The group gives a member up that is there.
    Expel,
    /// A transaction that is open takes too long.
    TimeOut,
    /// A request fails.
    Refuse,
    /// A generation that moves nothing.
    Bump,
    /// One more process.
    Start,
    /// A transaction upstream stays open, and hides what comes after.
    Hide,
}

/// Where a worker is when a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    Starting,
    Waiting,
    Restoring,
    /// Not yet where its predecessor was.
    Behind,
    Sending(Stage),
}

/// An aborted tick is sent again at once: nothing strikes in between.
pub const MOMENTS: [Moment; 14] = [
    Moment::Starting,
    Moment::Waiting,
    Moment::Restoring,
    Moment::Behind,
    Moment::Sending(Stage::Idle),
    Moment::Sending(Stage::Recalling),
    Moment::Sending(Stage::Producing),
    Moment::Sending(Stage::Offsets),
    Moment::Sending(Stage::Ending),
    Moment::Sending(Stage::Marking),
    Moment::Sending(Stage::Aborting),
    Moment::Sending(Stage::Renewing),
    Moment::Sending(Stage::Output),
    Moment::Sending(Stage::Committing),
];

pub type Table = BTreeMap<(Fault, Moment), u64>;

/// The world while a history goes on.
struct Run {
    setup: Setup,
    world: Rc<World>,
    workers: Vec<Process>,
    /// Members whose process is dead, and the rounds until the group gives them up.
    ghosts: Vec<(u32, u8)>,
    /// Upstream transactions, and the partition each hides.
    hidden: Vec<(usize, usize)>,
    /// Records since the last with a wrong clock, and when the last of all came, by partition.
    sane: Vec<(u32, i64)>,
    /// Traces that are not closed.
    growing: Vec<usize>,
    slots: usize,
    /// A partition that hardly anything is written to.
    quiet: Option<usize>,
    /// Rounds until a process dies again that has just been replaced.
    doomed: Option<u8>,
    exits: usize,
    /// Where an unkeyed backlog ends: what rests long before the wall clock would hold it back.
    ends: Option<HashMap<Partition, i64>>,
}

struct Process {
    worker: Worker<Client>,
    slot: usize,
    frozen: bool,
}

/// Until everything has healed.
const ROUNDS: usize = 600;
/// Milliseconds of record time: as configured.
pub const MAX_WAIT: i64 = 8_000;
const JITTER: i64 = 300;
/// Before a backlog is read: no clock of its producers is ahead of that.
const BACKLOG_MS: u64 = 2 * 3_600_000;
/// Bytes of a large span.
const LARGE: std::ops::Range<usize> = 50_000..300_000;
const SLOTS: usize = 3;

/// Once more each: often there is no transaction to time out, and no place for one more process.
const OFTEN: [Fault; 5] = [Fault::TimeOut, Fault::TimeOut, Fault::TimeOut, Fault::TimeOut, Fault::Start];

/// The actions of a seed.
pub fn actions(seed: u64) -> Vec<Action> {
    let mut random = fastrand::Rng::with_seed(seed);
    // The median is 200.
    let count = random.usize(60..340);
    // Some histories are calm, some are wild.
    let faults = [4, 11, 28][random.usize(..3)];
    let mut action = |_| {
        let worker = random.u8(..);
        match random.usize(..100 + faults) {
            0..32 => Action::Produce { dice: random.u64(..) },
            32..58 => Action::Round { records: random.u8(..6) },
            58..72 => Action::Turn { worker, records: random.u8(..12) },
            72..84 => Action::Step { worker, steps: random.u8(1..4) },
            84..87 => Action::Heartbeat { worker },
            87..90 => Action::TakeStock { worker },
            90..94 => Action::Marker { dice: random.u64(..) },
            94..100 => Action::Time { ms: [50, 250, 1_000, 3_000, 9_000][random.usize(..5)] },
            _ => {
                let fault = random.usize(..FAULTS.len() + OFTEN.len());
                let fault = FAULTS.get(fault).copied().unwrap_or_else(|| OFTEN[fault - FAULTS.len()]);
                Action::Fault { fault, dice: random.u64(..) }
            }
        }
    };
    (0..count).map(&mut action).collect()
}

pub const FAULTS: [Fault; 9] = [
    Fault::Kill,
    Fault::KillInFlight,
    Fault::Freeze,
    Fault::Expel,
    Fault::TimeOut,
    Fault::Refuse,
    Fault::Bump,
    Fault::Start,
    Fault::Hide,
];

/// Plays a history to its end, where everything has healed; returns what was wrong.
pub fn play(setup: &Setup, seed: u64, actions: &[Action], table: &mut Table) -> Option<String> {
    let played = catch_unwind(AssertUnwindSafe(|| play_all(setup, seed, actions, table)));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Some(format!("panicked: {}", text.unwrap_or_default()))
    })
}

fn play_all(setup: &Setup, seed: u64, actions: &[Action], table: &mut Table) -> Option<String> {
    let mut run = Run::new(setup.clone(), seed);
    let (before, actions): (Vec<Action>, Vec<Action>) =
        actions.iter().partition(|action| setup.backlog && matches!(action, Action::Produce { .. }));
    if setup.backlog {
        run.fill(&before, seed);
    }
    run.begin();
    for action in actions {
        run.act(action, table);
        if let Some(wrong) = run.wrong() {
            return Some(wrong);
        }
    }
    run.heal(ROUNDS);
    run.wrong()
}

/// A process is away for ten minutes, in which one partition goes on and the others rest: does what goes on wait as long again?
pub fn rest_through_a_downtime(setup: &Setup) -> Option<String> {
    let mut run = Run::new(setup.clone(), 1);
    run.begin();
    run.quiet = None;
    let mut dice = fastrand::Rng::with_seed(2);
    for _ in 0..60 {
        run.produce(dice.u64(..));
        run.act(Action::Round { records: 6 }, &mut Table::new());
        run.pass(100);
    }
    run.kill(0);
    run.pass(600_000);
    let goes_on = |dice: &u64| fastrand::Rng::with_seed(*dice).usize(..run.world.partitions.len()) == 0;
    let records: Vec<u64> = (0..).filter(goes_on).take(30).collect();
    records.into_iter().for_each(|dice| run.produce(dice));
    run.heal(90);
    run.wrong()
}

/// One partition has long been at rest when the group is new: do the others wait as long for it again?
pub fn begin_after_a_rest(setup: &Setup) -> Option<String> {
    let mut run = Run::new(setup.clone(), 1);
    run.quiet = None;
    let partitions = run.world.partitions.len();
    let at = |dice: &u64| fastrand::Rng::with_seed(*dice).usize(..partitions);
    (0..).filter(|dice| at(dice) == 0).take(20).for_each(|dice| run.produce(dice));
    run.pass(BACKLOG_MS);
    run.growing.clear();
    (0..).filter(|dice| at(dice) > 0).take(60).for_each(|dice| {
        run.produce(dice);
        run.pass(100);
    });
    run.begin();
    run.heal(150);
    run.wrong()
}

// === impl Run ===

impl Run {
    fn new(setup: Setup, seed: u64) -> Self {
        let partitions: Vec<(Arc<str>, i32)> = setup
            .config
            .input
            .topics
            .iter()
            .flat_map(|topic| (0..2).map(|at| (Arc::from(&*topic.name), at)))
            .take(3)
            .collect();
        let names: Vec<String> = setup.config.policies.policies().iter().map(|policy| policy.name.clone()).collect();
        let count = partitions.len();
        let world = World {
            broker: RefCell::new(Broker::new(count, Judge::new(count, names.clone(), &setup))),
            partitions,
            random: RefCell::new(fastrand::Rng::with_seed(seed ^ 0x5eed)),
            now: Cell::new(1_000_000),
            start: setup.start,
            policies: setup.config.policies.clone(),
            names,
            at_least_once: setup.config.delivery == Delivery::AtLeastOnce,
            keying: setup.keying,
        };
        // Where memory decides, who takes another's partitions over may not have enough.
        let alone = setup.keying == Keying::Unkeyed || setup.large;
        let slots = if alone { 1 } else { world.random.borrow_mut().usize(2..=SLOTS) };
        Self {
            setup,
            world: Rc::new(world),
            workers: Vec::new(),
            ghosts: Vec::new(),
            hidden: Vec::new(),
            sane: vec![(0, 0); count],
            growing: Vec::new(),
            slots,
            quiet: (seed / 4).is_multiple_of(2).then_some(seed as usize / 8 % count),
            doomed: None,
            exits: 0,
            ends: None,
        }
    }

    fn begin(&mut self) {
        (0..self.slots).for_each(|slot| self.start(slot));
    }

    /// Writes the records of a backlog, of which one partition may be held back by a transaction until later.
    fn fill(&mut self, records: &[Action], seed: u64) {
        if seed & 1 << 20 != 0 {
            self.hide(seed as usize >> 21);
        }
        for &record in records {
            let Action::Produce { dice } = record else { continue };
            self.act(record, &mut Table::new());
            self.pass(if dice.is_multiple_of(16) { 3_000 } else { dice % 256 });
        }
        self.pass(BACKLOG_MS);
        if self.setup.keying == Keying::Unkeyed {
            let ends = self.world.broker.borrow().input.iter().map(|log| log.high() as i64).collect::<Vec<_>>();
            self.ends = Some(self.world.partitions.iter().cloned().zip(ends).collect());
        }
        let World { partitions, broker, .. } = &*self.world;
        let verdicts = undisturbed::verdicts(&self.orders(0), partitions, &broker.borrow().input);
        self.world.broker.borrow_mut().judge.expect(verdicts);
    }

    fn tell(&self, line: impl FnOnce() -> String) {
        self.world.broker.borrow().judge.tell(line);
    }

    fn wrong(&self) -> Option<String> {
        self.world.broker.borrow().judge.wrong.clone()
    }

    fn blame(&self, what: String) {
        self.world.broker.borrow_mut().judge.wrong(what);
    }

    fn orders(&self, slot: usize) -> Orders {
        Orders {
            number: 0,
            workers: 1,
            config: self.setup.config.clone(),
            keying: self.setup.keying,
            partitions: self.world.partitions.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect(),
            retention: None,
            output_record_bytes: 1 << 20,
            transactional_id: format!("slot-{slot}"),
            telemetry: self.setup.telemetry.clone(),
            stop: Arc::new(AtomicBool::new(false)),
            board: None,
            ends: self.ends.clone().map(|ends| Arc::new(Ends::new(ends))),
            frontier: None,
            accept_expired: false,
            policies: watch::channel(Arc::new(Edition::first(self.setup.config.policies.clone()))).1,
        }
    }

    fn start(&mut self, slot: usize) {
        let orders = self.orders(slot);
        let client = Client::new(self.world.clone(), orders.transactional_id.clone());
        let mut worker = Worker::with(client, orders);
        if self.setup.keying == Keying::Unkeyed && !self.setup.large {
            // Some records, so that partitions are paused for it.
            worker.waiting = Waiting::new(3_000, worker.orders.partitions.len());
        }
        self.workers.push(Process { worker, slot, frozen: false });
    }

    /// Starts a process again, unless another has its name by now.
    fn replace(&mut self, slot: usize) {
        if self.workers.iter().all(|process| process.slot != slot || process.frozen) {
            self.start(slot);
        }
    }

    fn act(&mut self, action: Action, table: &mut Table) {
        self.tell(|| format!("{action:?}"));
        match action {
            Action::Produce { dice } => self.produce(dice),
            Action::Round { records } => {
                self.forget_ghosts(false);
                self.doom();
                for at in (0..self.workers.len()).rev() {
                    if !self.workers[at].frozen {
                        let io = &mut self.workers[at].worker.io;
                        io.heartbeat();
                        if records % 2 == 0 {
                            io.take_stock();
                        }
                        io.step();
                        io.step();
                        self.turn(at, records);
                    }
                }
                let dice = self.world.random.borrow_mut().u64(..);
                self.mark(dice);
            }
            Action::Turn { worker, records } => {
                if let Some(at) = self.awake(worker) {
                    self.turn(at, records);
                }
            }
            Action::Step { worker, steps } => {
                if let Some(at) = self.awake(worker) {
                    (0..steps).for_each(|_| self.workers[at].worker.io.step());
                }
            }
            Action::Heartbeat { worker } => {
                if let Some(at) = self.awake(worker) {
                    self.workers[at].worker.io.heartbeat();
                }
            }
            Action::TakeStock { worker } => {
                if let Some(at) = self.awake(worker) {
                    self.workers[at].worker.io.take_stock();
                }
            }
            Action::Marker { dice } => self.mark(dice),
            Action::Time { ms } => self.pass(ms),
            Action::Fault { fault, dice } => self.strike(fault, dice, table),
        }
    }

    /// One of the markers that are due is written.
    fn mark(&self, dice: u64) {
        let markers = self.world.broker.borrow().markers();
        if !markers.is_empty() {
            let (txn, place) = markers[dice as usize % markers.len()];
            self.world.broker.borrow_mut().mark(txn, place);
        }
    }

    fn pass(&self, ms: u64) {
        self.world.pass(ms);
    }

    /// A worker that is there and not frozen.
    fn awake(&self, dice: u8) -> Option<usize> {
        let awake: Vec<usize> = (0..self.workers.len()).filter(|&at| !self.workers[at].frozen).collect();
        awake.get(usize::from(dice) % awake.len().max(1)).copied()
    }

    fn turn(&mut self, at: usize, records: u8) {
        let worker = &mut self.workers[at].worker;
        worker.io.allow(usize::from(records));
        if self.setup.gives_up && self.world.random.borrow_mut().u8(..) < 96 {
            worker.engine.give_all_up();
        }
        match worker.turn() {
            Ok(_) => {
                let lost = worker.engine.stats().lost(worker.engine.spans_held());
                let told = (lost != 0).then(|| format!("a worker lost {lost} spans (I1): {:?}", worker.engine.stats()));
                let (held, budget) = (worker.engine.bytes_held() as u64, self.setup.config.memory.buffer);
                if let Some(told) = told {
                    self.blame(told);
                }
                if held > budget {
                    self.blame(format!("a worker holds {held} bytes, more than {budget} (I3)"));
                }
            }
            // Whatever it was, the process exits with the reason, and is started again.
            Err(error) => {
                let slot = self.workers[at].slot;
                self.tell(|| format!("slot {slot} exits: {error:#}"));
                self.exits += 1;
                self.kill(at);
                self.replace(slot);
            }
        }
    }

    fn kill(&mut self, at: usize) {
        let process = self.workers.swap_remove(at);
        let rounds = self.world.random.borrow_mut().u8(..8);
        self.ghosts.extend(process.worker.io.member().map(|member| (member, rounds)));
    }

    fn moment(worker: &Worker<Client>) -> Moment {
        match (&worker.arriving, worker.io.stage()) {
            (_, Stage::Renewing) => Moment::Sending(Stage::Renewing),
            _ if !worker.io.has_name() => Moment::Starting,
            (Some(Arrival::Restoring(..)), _) => Moment::Restoring,
            (_, Stage::Idle) if worker.owned.is_empty() => Moment::Waiting,
            (_, Stage::Idle) if worker.engine.is_behind() => Moment::Behind,
            (_, stage) => Moment::Sending(stage),
        }
    }

    fn strike(&mut self, fault: Fault, dice: u64, table: &mut Table) {
        let Some(at) = self.awake(dice as u8) else {
            // All are frozen: one wakes.
            if let Some(process) = self.workers.first_mut() {
                process.frozen = false;
            }
            return;
        };
        // What befalls the cluster befalls all of them.
        let all = matches!(fault, Fault::TimeOut | Fault::Bump | Fault::Hide);
        let awake = self.workers.iter().enumerate().filter(|&(of, process)| of == at || all && !process.frozen);
        let moments: Vec<Moment> = awake.map(|(_, process)| Self::moment(&process.worker)).collect();
        if self.hit(fault, at, dice) {
            moments.into_iter().for_each(|moment| *table.entry((fault, moment)).or_default() += 1);
        }
    }

    /// Whether there was something to hit: the worker, where the fault is not one of the cluster's.
    fn hit(&mut self, fault: Fault, at: usize, dice: u64) -> bool {
        let partitions = self.world.partitions.len();
        match fault {
            Fault::Kill | Fault::KillInFlight => {
                if fault == Fault::KillInFlight {
                    self.workers[at].worker.io.step();
                }
                let slot = self.workers[at].slot;
                self.kill(at);
                self.replace(slot);
                // Some twice in a row.
                self.doomed = (dice & 0x100 != 0).then_some((dice >> 10) as u8 % 12);
            }
            Fault::Freeze => {
                let frozen = self.workers.iter().position(|process| process.frozen);
                match frozen {
                    Some(frozen) if dice & 0x100 != 0 => {
                        self.workers[frozen].frozen = false;
                        return false;
                    }
                    _ if self.workers.len() < SLOTS + 2 => {
                        self.workers[at].frozen = true;
                        let slot = self.workers[at].slot;
                        // Somebody takes its place, perhaps under its name.
                        if dice & 0x200 != 0 {
                            self.start(slot);
                        }
                        if dice & 0x400 != 0
                            && let Some(member) = self.workers[at].worker.io.member()
                        {
                            self.world.broker.borrow_mut().group.expel(member, partitions);
                        }
                    }
                    _ => return false,
                }
            }
            Fault::Expel => {
                self.forget_ghosts(true);
                let own = self.workers[at].worker.io.member();
                let members: Vec<u32> = self.world.broker.borrow().group.members.keys().copied().collect();
                let any = || members.get((dice >> 8) as usize % members.len().max(1)).copied();
                let Some(member) = own.filter(|own| members.contains(own)).or_else(any) else { return false };
                self.world.broker.borrow_mut().group.expel(member, partitions);
            }
            Fault::TimeOut => {
                let open = self.world.broker.borrow().undecided();
                let Some(&txn) = open.get((dice >> 8) as usize % open.len().max(1)) else { return false };
                self.world.broker.borrow_mut().time_out(txn);
            }
            Fault::Refuse => self.workers[at].worker.io.fail(),
            Fault::Bump => self.world.broker.borrow_mut().group.rebalance(partitions),
            Fault::Start => {
                let slot = (0..self.slots).find(|slot| self.workers.iter().all(|process| process.slot != *slot));
                match slot {
                    Some(slot) => self.start(slot),
                    None if self.workers.len() > 1 => self.kill(at),
                    None => return false,
                }
            }
            Fault::Hide => {
                if self.hidden.is_empty() {
                    self.hide(dice as usize);
                } else {
                    self.reveal();
                    return false;
                }
            }
        }
        true
    }

    /// A transaction upstream begins, and what it writes to a partition hides what comes after.
    fn hide(&mut self, dice: usize) {
        let txn = self.world.broker.borrow_mut().begin_upstream();
        self.hidden.push((txn, dice % self.world.partitions.len()));
    }

    /// Upstream transactions come to their end.
    fn reveal(&mut self) {
        for (txn, _) in self.hidden.drain(..) {
            self.world.broker.borrow_mut().end_upstream(txn);
        }
    }

    fn doom(&mut self) {
        self.doomed = match self.doomed.take() {
            Some(0) => {
                let dice = self.world.random.borrow_mut().u8(..);
                if let Some(at) = self.awake(dice) {
                    let slot = self.workers[at].slot;
                    self.kill(at);
                    self.replace(slot);
                }
                None
            }
            rounds => rounds.map(|rounds| rounds - 1),
        };
    }

    /// The group gives up members whose process is dead, now or some rounds later.
    fn forget_ghosts(&mut self, now: bool) {
        let partitions = self.world.partitions.len();
        let mut broker = self.world.broker.borrow_mut();
        self.ghosts.retain_mut(|(member, rounds)| {
            let over = now || *rounds == 0;
            if over {
                broker.group.expel(*member, partitions);
            }
            *rounds = rounds.saturating_sub(1);
            !over
        });
    }

    fn produce(&mut self, dice: u64) {
        let mut random = fastrand::Rng::with_seed(dice);
        let mut broker = self.world.broker.borrow_mut();
        let partitions = broker.input.len();
        let now = self.world.now.get() as i64;
        let mut partition = random.usize(..partitions);
        if self.quiet == Some(partition) && random.u8(..) < 245 {
            partition = (partition + 1) % partitions;
        }
        let mut time = now + random.i64(-JITTER..=JITTER);
        let (sane, last) = self.sane[partition];
        // Of one as long as a trace may wait, not even a rest tells that it is over.
        let wrong_clock = sane > 16 && now - last < MAX_WAIT && random.u8(..) < 40;
        if wrong_clock {
            // Nothing tells when the first after a lull came if it does not say so itself.
            let ahead = random.bool() || now - last > JITTER;
            time += if ahead { 3_600_000 } else { -3_600_000 };
        }
        let hidden = self.hidden.iter().find(|(_, of)| *of == partition && random.bool()).map(|(txn, _)| *txn);
        if random.u8(..) < 8 {
            let input = Input { time, payload: vec![0xff; 3] };
            let offset = broker.produce(hidden, partition, input);
            broker.judge.produced(partition, offset, time, Vec::new());
            return;
        }
        let mut spans: Vec<(u64, Sent)> = Vec::new();
        for _ in 0..random.usize(1..4) {
            let grows = !self.growing.is_empty() && random.u8(..) < 170;
            let trace = if grows {
                self.growing[random.usize(..self.growing.len())]
            } else {
                let number = broker.judge.traces().len();
                let id = [[0x77; 8], (number as u64).to_be_bytes()].concat().try_into().expect("16 bytes");
                broker.judge.traces().push(Trace {
                    id,
                    spans: Vec::new(),
                    error: false,
                    veto: false,
                    strict: random.u8(..) < 180,
                    closed: false,
                    first: now,
                    verdict: None,
                });
                self.growing.push(number);
                number
            };
            if self.setup.keying == Keying::Keyed {
                let home = trace % partitions;
                if spans.is_empty() && !wrong_clock && hidden.is_none() {
                    partition = home;
                } else if home != partition {
                    continue;
                }
            }
            let id = broker.judge.span(trace);
            let of = &mut broker.judge.traces()[trace];
            of.strict &= now - of.first < judge::STRICT;
            let (error, veto) = (random.u8(..) < 50, random.u8(..) < 10);
            (of.error, of.veto) = (of.error | error, of.veto | veto);
            let root = of.spans.len() > 1 && random.u8(..) < 90;
            of.closed |= root;
            if root && (of.strict || random.bool()) {
                self.growing.retain(|growing| *growing != trace);
            }
            let span = Span {
                trace_id: of.id.to_vec(),
                span_id: id.to_be_bytes().to_vec(),
                // The root of a trace has the id of its first span's parent.
                parent_span_id: if root { Vec::new() } else { (u64::MAX - trace as u64).to_be_bytes().to_vec() },
                name: if veto { "veto".to_owned() } else { String::new() },
                start_time_unix_nano: 1,
                end_time_unix_nano: 2,
                status: error.then(|| Status { code: 2, ..Status::default() }),
                ..Span::default()
            };
            let more = if self.setup.large { random.usize(LARGE) } else { random.usize(..16) };
            let [resource, scope] = std::array::from_fn(|_| random.usize(..record::ENVELOPES));
            spans.push((id, Sent { resource, scope, bytes: record::span(&span, more) }));
        }
        if spans.is_empty() {
            return;
        }
        if hidden.is_none() {
            let (sane, _) = self.sane[partition];
            self.sane[partition] = (if wrong_clock { 0 } else { sane + 1 }, now);
        }
        let payload = record::record(spans.iter().map(|(_, sent)| sent));
        let offset = broker.produce(hidden, partition, Input { time, payload });
        broker.judge.produced(partition, offset, time, spans);
    }

    /// No more faults: everything comes to its end, in a bounded number of rounds.
    fn heal(&mut self, rounds: usize) {
        self.reveal();
        while let Some(frozen) = self.workers.iter().position(|process| process.frozen) {
            self.kill(frozen);
        }
        if self.workers.is_empty() {
            self.start(0);
        }
        self.exits = 0;
        for round in 0..rounds {
            self.forget_ghosts(true);
            let open = self.world.broker.borrow().undecided();
            if round == 30 {
                // Those of the dead; the living have done theirs by now.
                open.into_iter().for_each(|txn| self.world.broker.borrow_mut().time_out(txn));
            }
            let markers = self.world.broker.borrow().markers();
            for (txn, place) in markers {
                self.world.broker.borrow_mut().mark(txn, place);
            }
            for at in (0..self.workers.len()).rev() {
                // Or it would tell others for ever that it is there.
                self.workers[at].worker.engine.conclude();
                let io = &mut self.workers[at].worker.io;
                io.heartbeat();
                io.take_stock();
                (0..8).for_each(|_| io.step());
                self.turn(at, 60);
            }
            // An idle partition may be as late as the history is long.
            self.pass(if round < 100 { 300 } else { 1_000 });
            if self.wrong().is_some() {
                return;
            }
            if self.is_over() {
                return self.world.broker.borrow_mut().judge.end();
            }
        }
        let offsets = self.world.broker.borrow().offsets.clone();
        let states: Vec<_> = self.workers.iter().map(|process| Self::moment(&process.worker)).collect();
        self.blame(format!("it does not come to its end: {states:?} {offsets:?}, {} exits", self.exits));
    }

    /// Everything is read, decided and committed.
    fn is_over(&self) -> bool {
        let broker = self.world.broker.borrow();
        let read = |(log, offset): (&super::log::Log<Input>, &Option<(i64, _)>)| {
            log.next(offset.map_or(0, |(w, _)| w) as usize).is_none()
        };
        broker.input.iter().zip(&broker.offsets).all(read)
            && self.workers.iter().all(|process| process.worker.engine.is_drained() && !process.worker.is_sending())
    }
}
