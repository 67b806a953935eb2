//! What the core wants done, frozen at a cut (protocol §3).

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
    pub bytes: Range<usize>,
}

/// A record for the dead letters.
#[derive(Debug)]
pub struct Dead {
    pub partition: u32,
    pub offset: i64,
    /// 0 for a whole record; what it holds is not known.
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
