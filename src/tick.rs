//! What the core wants done, frozen at a cut (C2).

use std::{borrow::Cow, ops::Range, sync::Arc};

use crate::{
    assemble::Moment,
    decisions::Decision,
    model::{RecordTime, TraceId},
    recall::Recall,
    sample::Learned,
};

/// Everything that happened between two cuts. Its outputs are to be acknowledged before its watermarks are committed.
#[derive(Debug, Default)]
pub struct Tick {
    /// Kept and dead bytes, one behind the other.
    pub bytes: Vec<u8>,
    /// Rises by one with every cut, in the history of each partition.
    pub number: u64,
    pub kept: Vec<Kept>,
    pub dead: Vec<Dead>,
    /// Kept traces of which the bytes have still to be read again.
    pub recall: Recall,
    /// Verdicts for the decision log of each partition that holds a span of the trace; sorted by partition.
    pub decisions: Vec<(u32, Decision)>,
    /// What samplers have learned of each partition.
    pub states: Vec<Learned>,
    /// The policies that verdicts name by number.
    pub names: Arc<[String]>,
    pub watermarks: Vec<Watermark>,
    /// Of a re-keyed input: of what is earlier, everything is out.
    pub frontier: Option<RecordTime>,
    /// Bytes of the dead letters' reasons, and of the headers of what is kept, as often as they are sent.
    beside: usize,
}

/// A record for the output: a whole trace, a part of one too large for a record, or a late span.
#[derive(Debug)]
pub struct Kept {
    pub trace: TraceId,
    pub spans: u32,
    /// A record it came from.
    pub partition: u32,
    pub offset: i64,
    /// What it is stamped with, where not with the time it is sent.
    pub timestamp: Option<RecordTime>,
    /// It also holds spans of another partition, which would be lost with it while that one is here.
    pub shared: bool,
    /// Of the record it came from, where it goes on with them.
    pub headers: Option<HeaderList>,
    pub bytes: Range<usize>,
}

/// Headers of a record, which those that were made of it share.
pub type HeaderList = Arc<[(String, Option<Vec<u8>>)]>;

/// A record for the dead letters.
#[derive(Debug)]
pub struct Dead {
    pub partition: u32,
    pub offset: i64,
    /// Spans it stands for; 0 for a record as a whole, of which it is not known.
    pub spans: u32,
    pub reason: Cow<'static, str>,
    /// Empty for a pointer: what it names is too large to be copied.
    pub bytes: Range<usize>,
}

/// How far a partition had come at the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    pub partition: u32,
    /// W: what may be committed.
    pub offset: i64,
    /// P: below it every span is taken in and, if its trace was decided, handled.
    pub position: i64,
    /// F: the first record of the decision log that holds something remembered.
    pub floor: i64,
    /// The last record of the decision log up to which everything decided has been acted on, but for those of this tick.
    pub last: Option<i64>,
    /// With this tick it is all that has been decided.
    pub settled: bool,
    /// What the clock was at W.
    pub since: Moment,
    /// And at P.
    pub clock: Option<RecordTime>,
    /// Milliseconds of record time the first undecided span has waited.
    pub age: u64,
}

/// Where the decisions of a tick stand in the log of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    pub partition: u32,
    pub first: i64,
    pub last: i64,
}

// === impl Watermark ===

impl Watermark {
    /// Whether committing it would tell nothing new. The clock of an idle partition is not worth a commit.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self { offset, position, floor, last, .. } = *other;
        (self.offset, self.position, self.floor, self.last) == (offset, position, floor, last)
    }
}

// === impl Tick ===

impl Tick {
    /// Nothing to send; there may be watermarks.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
            && self.dead.is_empty()
            && self.recall.is_empty()
            && self.decisions.is_empty()
            && self.states.is_empty()
    }

    /// Spans on their way out, to the output or the dead letters.
    pub fn spans(&self) -> u64 {
        let kept = self.kept.iter().map(|kept| u64::from(kept.spans)).sum::<u64>();
        kept + self.recall.spans() + self.dead.iter().map(|dead| u64::from(dead.spans)).sum::<u64>()
    }

    pub fn bury(&mut self, dead: Dead) {
        self.beside += dead.reason_bytes();
        self.dead.push(dead);
    }

    /// Gives headers to what was kept from this place on.
    pub fn carry(&mut self, from: usize, headers: &HeaderList) {
        for kept in &mut self.kept[from..] {
            kept.headers = Some(headers.clone());
            self.beside += kept.header_bytes();
        }
    }

    /// Takes out what came from a partition, and says of how many spans.
    pub fn discard(&mut self, partition: u32) -> u64 {
        let before = self.spans();
        let Self { kept, dead, recall, decisions, states, watermarks, beside, .. } = self;
        decisions.retain(|&(of, _)| of != partition);
        let stays = |trace| decisions.iter().any(|(_, decision)| decision.trace == trace);
        recall.discard(partition, stays);
        kept.retain(|kept| if kept.shared { stays(kept.trace) } else { kept.partition != partition });
        dead.retain(|dead| dead.partition != partition);
        states.retain(|state| state.partition != partition);
        watermarks.retain(|watermark| watermark.partition != partition);
        *beside = dead.iter().map(Dead::reason_bytes).chain(kept.iter().map(Kept::header_bytes)).sum();
        if self.is_empty() {
            self.bytes.clear();
        }
        before - self.spans()
    }

    pub fn clear(&mut self) {
        let Self { bytes, number: _, kept, dead, recall, decisions, states, names: _, watermarks, frontier, beside } =
            self;
        bytes.clear();
        kept.clear();
        dead.clear();
        recall.clear();
        decisions.clear();
        states.clear();
        watermarks.clear();
        *frontier = None;
        *beside = 0;
    }

    /// Bytes in use.
    pub fn size(&self) -> usize {
        self.bytes.len()
            + self.beside
            + self.recall.size()
            + size_of_val(&*self.kept)
            + size_of_val(&*self.dead)
            + size_of_val(&*self.decisions)
            + self.states.iter().map(|state| state.value.len() + size_of::<Learned>()).sum::<usize>()
    }

    /// Bytes allocated.
    pub fn allocated(&self) -> usize {
        self.bytes.capacity()
            + self.beside
            + self.recall.allocated()
            // When what was recalled is written, what is there may have to be moved.
            + if self.recall.is_empty() { 0 } else { self.bytes.len() }
            + self.kept.capacity() * size_of::<Kept>()
            + self.dead.capacity() * size_of::<Dead>()
            + self.decisions.capacity() * size_of::<(u32, Decision)>()
            + self.states.capacity() * size_of::<Learned>()
            + self.states.iter().map(|state| state.value.capacity()).sum::<usize>()
            + self.watermarks.capacity() * size_of::<Watermark>()
    }
}

// === impl Kept ===

impl Kept {
    fn header_bytes(&self) -> usize {
        self.headers.as_deref().map_or(0, header_bytes)
    }
}

/// As a broker counts them, or a little more.
pub fn header_bytes(headers: &[(String, Option<Vec<u8>>)]) -> usize {
    const LENGTHS: usize = 10;
    headers.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len) + LENGTHS).sum()
}

// === impl Dead ===

impl Dead {
    /// Bytes its reason has allocated.
    fn reason_bytes(&self) -> usize {
        match &self.reason {
            Cow::Borrowed(_) => 0,
            Cow::Owned(reason) => reason.capacity(),
        }
    }
}
