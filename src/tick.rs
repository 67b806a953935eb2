//! What the core wants done, frozen at a cut (C2).

use std::{borrow::Cow, ops::Range};

use crate::model::{RecordTime, TraceId};

/// Everything that happened between two cuts. Its outputs are to be acknowledged before its watermarks are committed.
#[derive(Debug, Default)]
pub struct Tick {
    /// Kept and dead bytes, one behind the other.
    pub bytes: Vec<u8>,
    pub kept: Vec<Kept>,
    pub dead: Vec<Dead>,
    pub watermarks: Vec<Watermark>,
    /// Spans the output would not take, in the dead letters as pointers.
    pub refused: u64,
    /// Bytes of the dead letters' reasons.
    reasons: usize,
}

/// A record for the output: a whole trace, a part of one too large for a record, or a late span.
#[derive(Debug)]
pub struct Kept {
    pub trace: TraceId,
    pub spans: u32,
    /// A record it came from.
    pub partition: u32,
    pub offset: i64,
    /// It also holds spans of another partition, which would be lost with it.
    pub shared: bool,
    pub bytes: Range<usize>,
}

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

/// What was taken out of a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Spans that were kept.
    pub kept: u64,
    /// Spans in dead letters.
    pub dead: u64,
    /// Whole records in dead letters.
    pub records: u64,
}

/// How far a partition had come at the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    pub partition: u32,
    /// W: what may be committed.
    pub offset: i64,
    /// The offset after the last record taken in.
    pub position: i64,
    pub clock: Option<RecordTime>,
    /// Milliseconds of record time the first undecided span has waited.
    pub age: u64,
}

// === impl Tick ===

impl Tick {
    /// Nothing to send; there may be watermarks.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.dead.is_empty()
    }

    /// Spans on their way out.
    pub fn spans(&self) -> u64 {
        self.kept.iter().map(|kept| u64::from(kept.spans)).sum()
    }

    pub fn bury(&mut self, dead: Dead) {
        self.reasons += dead.reason_bytes();
        self.dead.push(dead);
    }

    /// Takes out what came from a partition.
    pub fn discard(&mut self, partition: u32) -> Discarded {
        let mut discarded = Discarded::default();
        self.kept.retain(|kept| {
            let stays = kept.partition != partition || kept.shared;
            discarded.kept += if stays { 0 } else { u64::from(kept.spans) };
            stays
        });
        let Self { dead, reasons, .. } = self;
        dead.retain(|dead| {
            let stays = dead.partition != partition;
            if !stays {
                discarded.dead += u64::from(dead.spans);
                discarded.records += u64::from(dead.spans == 0);
                *reasons -= dead.reason_bytes();
            }
            stays
        });
        if self.is_empty() {
            self.bytes.clear();
        }
        discarded
    }

    pub fn clear(&mut self) {
        let Self { bytes, kept, dead, watermarks, refused, reasons } = self;
        bytes.clear();
        kept.clear();
        dead.clear();
        watermarks.clear();
        *refused = 0;
        *reasons = 0;
    }

    /// Bytes in use.
    pub fn size(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.kept) + size_of_val(&*self.dead) + self.reasons
    }

    /// Bytes allocated.
    pub fn allocated(&self) -> usize {
        self.bytes.capacity()
            + self.reasons
            + self.kept.capacity() * size_of::<Kept>()
            + self.dead.capacity() * size_of::<Dead>()
            + self.watermarks.capacity() * size_of::<Watermark>()
    }
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
