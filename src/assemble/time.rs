//! Which clock a trace follows (C10).

use super::{
    anchors::{Queue, Queues},
    clock::{Clock, Moment},
    floor::Floor,
    leaps::Leaps,
    marks::Marks,
    slab::NIL,
    verdicts::Fallen,
    wheel::Wheel,
};
use crate::{
    limits,
    model::RecordTime,
    mutant::{self, Mutant},
};

/// Whether all spans of a trace are in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keying {
    /// A trace follows the clock of its partition.
    Keyed,
    /// A trace follows the slowest clock.
    Unkeyed,
}

/// The partitions of a worker and the domains of time over them.
pub struct Time {
    keying: Keying,
    /// How many partitions have not yet come again to where they were.
    behind: usize,
    /// Bytes of what is kept for each tick, as of the last cut.
    ticks: usize,
    partitions: Vec<Option<Partition>>,
    /// One a partition where keyed, else one in all.
    domains: Vec<Domain>,
    /// How far the clocks of an unkeyed input had come, the one most ahead, when time ran out.
    ended: RecordTime,
    /// Bytes of the leaps of all partitions: asked for at every decision, changed at few records.
    leap_bytes: usize,
}

pub struct Partition {
    pub clock: Clock,
    leaps: Leaps,
    pub marks: Marks,
    /// Spans were seen before the clock was established.
    pub early: bool,
    /// The offset after the last record taken in.
    pub next: i64,
    pub queue: Queue,
    pub floor: Floor,
    /// P of the life before: what lies below was handled then. Until it is reached again, nothing is decided.
    handled: i64,
    /// What its clock was there.
    resumes: Option<RecordTime>,
    /// Wall-clock time at which it was last seen at the head of a log that has shown no record yet: what comes later holds no
    /// time back that is before.
    silent: Option<RecordTime>,
    /// The clock does not pass it: of what is earlier, everything stands before what is read next.
    frontier: RecordTime,
    pub rank: u32,
    /// The log may soon begin behind what is below: that stays in memory.
    pub fragile: i64,
    finished: bool,
}

/// What shares one time.
#[derive(Default)]
pub struct Domain {
    /// None while some partition's clock is not established.
    pub now: Option<RecordTime>,
    pub wheel: Wheel,
    pub fallen: Fallen,
    /// The partition that time waits for, and whose turn it is: the least in rank of those whose clocks are furthest behind. `NIL` where there is none.
    slowest: u32,
}

/// Where a partition begins for a worker, as its last owner committed it.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// W: what is read first.
    pub offset: i64,
    /// P: what lies below is taken in and, if its trace was decided, handled.
    pub position: i64,
    /// F: the first record of the decision log that matters.
    pub floor: i64,
    /// The last record of the decision log.
    pub last: Option<i64>,
    pub tick: u64,
    /// What its clock was at W.
    pub since: Moment,
    /// And at P.
    pub clock: Option<RecordTime>,
    /// Its place among all partitions of the input, whosever they are: the same in each life. Of partitions whose clocks say the same, the
    /// one with the least is read first.
    pub rank: u32,
}

// === impl Start ===

impl Start {
    /// Of a partition that nobody has read before.
    pub fn at(offset: i64) -> Self {
        Self { offset, position: offset, floor: 0, last: None, tick: 0, since: Moment::default(), clock: None, rank: 0 }
    }
}

// === impl Time ===

impl Time {
    pub fn new(keying: Keying) -> Self {
        let domains = match keying {
            Keying::Keyed => Vec::new(),
            Keying::Unkeyed => vec![Domain::default()],
        };
        Self { keying, behind: 0, ticks: 0, partitions: Vec::new(), domains, ended: RecordTime::START, leap_bytes: 0 }
    }

    /// Takes a partition on; its number is free for another after `remove`.
    pub fn add(&mut self, start: Start) -> u32 {
        let Start { offset, position, floor, last, tick, since, clock: resumes, rank } = start;
        let clock = Clock::at(since);
        let partition = Partition {
            marks: Marks::new(offset, &clock),
            clock,
            leaps: Leaps::default(),
            early: false,
            next: offset,
            queue: Queue::default(),
            floor: Floor::new(tick, position, floor, last),
            handled: position,
            resumes,
            silent: None,
            frontier: RecordTime::END,
            rank,
            fragile: 0,
            finished: false,
        };
        self.behind += usize::from(partition.is_behind());
        let at = self.partitions.iter().position(Option::is_none).unwrap_or_else(|| {
            self.partitions.push(None);
            self.partitions.len() - 1
        });
        self.partitions[at] = Some(partition);
        let domain = self.domain(at as u32) as usize;
        if self.domains.len() <= domain {
            self.domains.push(Domain::default());
        }
        // Whatever time it was for the partitions that were there, this one may be behind.
        let domain = &mut self.domains[domain];
        domain.now = None;
        domain.wheel.rewind();
        self.reach(at as u32, offset);
        if self.keying == Keying::Unkeyed {
            self.recompute(0);
        }
        at as u32
    }

    /// Everything of a partition below `offset` has been read.
    #[inline(always)]
    pub fn reach(&mut self, partition: u32, offset: i64) {
        let at = self.partition(partition);
        let was_behind = at.is_behind();
        at.next = at.next.max(offset);
        let is_behind = at.is_behind();
        if is_behind && !mutant::is(Mutant::NoBarrier) {
            return;
        }
        let resumes = at.resumes.take();
        if let Some(clock) = resumes {
            at.clock.resume(clock);
        }
        let is_back = was_behind && !is_behind;
        self.behind -= usize::from(is_back);
        if is_back && self.keying == Keying::Unkeyed {
            self.recompute(0);
        } else if resumes.is_some() {
            self.moved(partition);
        }
    }

    /// Whether something of a domain is still to be read that was handled in the life before: what is decided now would be
    /// decided on a part.
    #[inline(always)]
    pub fn is_behind(&self, domain: u32) -> bool {
        !mutant::is(Mutant::NoBarrier)
            && self.behind > 0
            && match self.keying {
                Keying::Keyed => self.partitions[domain as usize].as_ref().is_some_and(Partition::is_behind),
                Keying::Unkeyed => true,
            }
    }

    /// Whether any partition is.
    pub fn is_any_behind(&self) -> bool {
        self.behind > 0
    }

    /// The newest tick of which nothing is read again, in all partitions of a domain.
    pub fn passed(&self, domain: u32) -> u64 {
        match self.keying {
            Keying::Keyed => self.partitions[domain as usize].as_ref().map_or(u64::MAX, |p| p.floor.passed()),
            Keying::Unkeyed => self.partitions().map(|(_, p)| p.floor.passed()).min().unwrap_or(u64::MAX),
        }
    }

    /// Looks how much memory is kept for each tick, which changes little between cuts.
    pub fn weigh_ticks(&mut self) {
        let floors = self.partitions().map(|(_, p)| p.floor.bytes() + p.marks.bytes()).sum::<usize>();
        self.ticks = floors + self.domains.iter().map(|domain| domain.fallen.bytes()).sum::<usize>();
    }

    /// Whether a record was handled in the life before.
    #[inline(always)]
    pub fn was_handled(&mut self, partition: u32, offset: i64) -> bool {
        offset < self.partition(partition).handled
    }

    /// Whether no other partition shares its time.
    pub fn is_alone(&self, partition: u32) -> bool {
        self.keying == Keying::Keyed || self.partitions().all(|(at, _)| at == partition)
    }

    pub fn remove(&mut self, partition: u32) {
        let (alone, domain) = (self.is_alone(partition), self.domain(partition) as usize);
        self.leap_bytes -= self.partition(partition).leaps.bytes();
        self.behind -= usize::from(self.partition(partition).is_behind());
        self.partitions[partition as usize] = None;
        if alone {
            // Whoever comes next begins at the offset committed, at the time of then.
            self.domains[domain] = Domain::default();
        }
        // What is left may all be finished, or no longer wait for the one that went.
        self.end_if_finished();
        self.recompute(domain);
    }

    /// Notes that the partition's latest record stamped a trace far ahead of its clock.
    pub fn note_leap(&mut self, partition: u32, stamp: RecordTime, trace: [u8; 16]) {
        self.with_leaps(partition, |leaps, clock| leaps.note(clock.seen(), stamp, trace));
    }

    /// The next leap to be judged now: what a trace was stamped with. When nothing has come for `rest` milliseconds at the head
    /// of the log, that is every one.
    pub fn next_leap(&mut self, partition: u32, rest: u64) -> Option<(RecordTime, [u8; 16])> {
        self.with_leaps(partition, |leaps, clock| {
            leaps.next(if clock.rested() < rest { clock.seen() } else { usize::MAX })
        })
    }

    fn with_leaps<T>(&mut self, partition: u32, change: impl FnOnce(&mut Leaps, &Clock) -> T) -> T {
        let Partition { clock, leaps, .. } =
            self.partitions[partition as usize].as_mut().expect("assigned, not revoked");
        let before = leaps.bytes();
        let result = change(leaps, clock);
        self.leap_bytes = self.leap_bytes + leaps.bytes() - before;
        result
    }

    /// Up to where the partition's clock may go from now on. What was known stays known.
    pub fn limit(&mut self, partition: u32, frontier: RecordTime) {
        let at = self.partition(partition);
        at.frontier = if at.is_limited() { at.frontier.max(frontier) } else { frontier };
    }

    pub fn observe(&mut self, partition: u32, timestamp: RecordTime, ceiling: RecordTime) {
        let at = self.partition(partition);
        at.silent = None;
        if at.frontier == RecordTime::START {
            return;
        }
        at.marks.pass(at.next, &at.clock);
        at.clock.observe(timestamp, ceiling.min(at.frontier));
        self.moved(partition);
    }

    /// The partition is at the head of its log, where `ms` of wall-clock time passed, at `rest` or without anybody looking; a
    /// leap is one of more than so many.
    pub fn elapse(&mut self, partition: u32, ms: u64, rest: bool, ceiling: RecordTime, leap: u64) {
        let at = self.partition(partition);
        if at.frontier == RecordTime::START {
            return;
        }
        let pass = if rest { Clock::elapse } else { Clock::catch_up };
        pass(&mut at.clock, ms, ceiling.min(at.frontier), leap);
        // It has rested so long that what others wait for is not to come.
        if at.clock.rested() >= leap
            && let Some(farthest) = self.farthest()
        {
            self.partition(partition).clock.rise(farthest.min(ceiling));
        }
        let at = self.partition(partition);
        let wall_clock = if ceiling == RecordTime::END {
            RecordTime::END
        } else {
            RecordTime(ceiling.0.saturating_sub(limits::AHEAD as i64))
        };
        at.silent = at.clock.now().is_none().then_some(wall_clock);
        self.moved(partition);
    }

    /// The partition's input has ended. When all have, time runs out.
    pub fn finish(&mut self, partition: u32) {
        let at = self.partition(partition);
        at.finished = true;
        at.clock.establish(RecordTime::END);
        let end = at.next.max(at.handled);
        self.reach(partition, end);
        self.end_if_finished();
        self.recompute(self.domain(partition) as usize);
    }

    /// A record of the partition waits for its turn. Of one that was silent it is known now when its records are from, whatever the wall
    /// clock said: they may be older than all the others.
    pub fn announce(&mut self, partition: u32, timestamp: RecordTime) {
        let at = self.partition(partition);
        if at.silent.is_some_and(|silent| timestamp < silent) {
            at.silent = Some(timestamp);
            self.recompute(self.domain(partition) as usize);
        }
    }

    /// Where partitions share their time: the one whose records come next.
    #[inline(always)]
    pub fn turn(&self) -> Option<u32> {
        match self.keying {
            Keying::Keyed => None,
            Keying::Unkeyed => Some(self.domains[0].slowest).filter(|&slowest| slowest != NIL),
        }
    }

    pub fn domain(&self, partition: u32) -> u32 {
        match self.keying {
            Keying::Keyed => partition,
            Keying::Unkeyed => 0,
        }
    }

    pub fn keying(&self) -> Keying {
        self.keying
    }

    #[inline(always)]
    pub fn partition(&mut self, partition: u32) -> &mut Partition {
        self.partitions[partition as usize].as_mut().expect("assigned by the driver, not yet revoked")
    }

    /// Payload of what a partition has below it stays in memory; all of it, where the partition is somebody else's.
    pub fn fragile(&self, partition: u32) -> i64 {
        self.partitions.get(partition as usize).and_then(Option::as_ref).map_or(i64::MAX, |of| of.fragile)
    }

    pub fn assigned(&self, partition: u32) -> &Partition {
        self.partitions[partition as usize].as_ref().expect("assigned by the driver, not yet revoked")
    }

    pub fn partitions(&self) -> impl Iterator<Item = (u32, &Partition)> {
        self.partitions.iter().enumerate().filter_map(|(at, p)| Some((at as u32, p.as_ref()?)))
    }

    /// Whether a deadline is reached only because time has run out. Which partition of an unkeyed input ends last does not matter, nor
    /// whether what was due by the clock of another was decided before.
    pub fn is_after_all(&self, deadline: RecordTime) -> bool {
        deadline > self.ended
    }

    #[inline(always)]
    pub fn in_domain(&mut self, domain: u32) -> &mut Domain {
        &mut self.domains[domain as usize]
    }

    pub fn domains(&self) -> u32 {
        self.domains.len() as u32
    }

    pub fn bytes(&self) -> usize {
        self.domains.len() * (Wheel::BYTES + size_of::<Domain>())
            + self.partitions.capacity() * size_of::<Option<Partition>>()
            + self.ticks
            + self.leap_bytes
    }

    /// Where partitions share their time, the clock most ahead.
    fn farthest(&self) -> Option<RecordTime> {
        match self.keying {
            Keying::Keyed => None,
            Keying::Unkeyed => self.partitions().filter(|(_, p)| !p.finished).filter_map(|(_, p)| p.clock.now()).max(),
        }
    }

    fn end_if_finished(&mut self) {
        if self.partitions.iter().flatten().all(|p| p.finished) {
            let Self { keying, partitions, ended, .. } = self;
            for p in partitions.iter_mut().flatten() {
                if *keying == Keying::Unkeyed
                    && let Some(now) = p.clock.now().filter(|&now| now != RecordTime::END)
                {
                    *ended = now.max(*ended);
                }
                p.clock.end();
            }
            (0..self.domains.len()).for_each(|domain| self.recompute(domain));
        }
    }

    fn moved(&mut self, partition: u32) {
        let domain = self.domain(partition);
        let clock = self.partition(partition).clock.now();
        let Domain { now, slowest, .. } = self.domains[domain as usize];
        if clock.is_some() && clock == now && slowest == partition {
            return;
        }
        if now.is_none() || slowest == partition || slowest == NIL || clock < now {
            self.recompute(domain as usize);
        }
    }

    fn recompute(&mut self, domain: usize) {
        let members = match self.keying {
            Keying::Keyed if !mutant::is(Mutant::ClockOfAll) => domain..domain + 1,
            _ => 0..self.partitions.len(),
        };
        // Until all are where they were before a restart, those come first that are not: what is held by then was held before, and no
        // more has to fit into memory.
        let is_behind = self.keying == Keying::Unkeyed && self.is_behind(0);
        let (mut slowest, mut is_told) = (None, false);
        for at in members {
            let Some(partition) = &self.partitions[at] else { continue };
            // A finished partition leaves the minimum; when all are finished, every clock stands at the end.
            let clock = partition.clock.now();
            if self.keying == Keying::Unkeyed && partition.finished && clock != Some(RecordTime::END) {
                continue;
            }
            // Where nothing has been said, it is not known whether record time is the wall clock's.
            is_told |= clock.is_some();
            let turn = (
                is_behind && !partition.is_behind(),
                partition.reached().unwrap_or(RecordTime::START),
                partition.rank,
                at as u32,
            );
            if slowest.is_none_or(|least| (turn < least) != mutant::is(Mutant::ClockOfAll)) {
                slowest = Some(turn);
            }
        }
        let domain = &mut self.domains[domain];
        domain.slowest = slowest.map_or(NIL, |(.., partition)| partition);
        if let Some((_, now, ..)) = slowest.filter(|&(_, now, ..)| is_told && !is_behind && now != RecordTime::START) {
            domain.now = domain.now.max(Some(now));
        }
    }
}

// === impl Partition ===

impl Partition {
    /// How far time has come: what comes next of it is not before. None where that is not known.
    pub fn reached(&self) -> Option<RecordTime> {
        self.clock.now().or(self.silent)
    }

    /// Whether its clock may stand behind what has come, and for how long, is not told by its own records.
    pub fn is_limited(&self) -> bool {
        self.frontier != RecordTime::END
    }

    /// Whether it is to be read again as far as it was read before.
    pub fn is_behind(&self) -> bool {
        self.next < self.handled
    }
}

impl Queues for Time {
    fn queue(&mut self, partition: u32) -> &mut Queue {
        &mut self.partition(partition).queue
    }
}
