//! The words everything else is said in.

use std::fmt;

/// A trace's id: 16 bytes, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

/// Sampling randomness R: 56 bits, uniform over traces.
/// Source: OpenTelemetry, "TraceState: Probability Sampling" (`rv`, else the low 56 bits of the trace id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Randomness(pub u64);

/// Sampling threshold T: a trace is kept iff R ≥ T. `ALWAYS` keeps all; `NEVER` (2^56) keeps none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Threshold(pub u64);

/// What tells one policy set from another: a hash of the policies as they are written. `UNKNOWN` of a decision that does not
/// name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u32);

/// A record's time in milliseconds since the Unix epoch: the only time the core knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordTime(pub i64);

// === impl TraceId ===

impl TraceId {
    /// None where the bytes are not 16 or all zero.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let id: [u8; 16] = bytes.try_into().ok()?;
        (id != [0; 16]).then_some(Self(id))
    }

    /// From 32 hex digits, either case.
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        let hex: &[u8; 32] = hex.try_into().ok()?;
        let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Self::new(&id)
    }

    /// Lower-case hex: the key of a kept record.
    pub fn hex(&self) -> [u8; 32] {
        let mut hex = [0; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
            pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
        }
        hex
    }

    /// With these low 56 bits.
    pub fn with(mut self, randomness: Randomness) -> Self {
        self.0[9..].copy_from_slice(&randomness.0.to_be_bytes()[1..]);
        self
    }

    /// The low 56 bits.
    pub fn randomness(&self) -> Randomness {
        let low = u64::from_be_bytes(self.0[8..].try_into().expect("8 of 16 bytes"));
        Randomness(low & (Threshold::NEVER.0 - 1))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.hex()).expect("hex digits"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Threshold ===

impl Threshold {
    pub const ALWAYS: Self = Self(0);
    pub const NEVER: Self = Self(1 << 56);

    /// Keeps the share that this one drops.
    pub fn complement(self) -> Self {
        Self(Self::NEVER.0 - self.0)
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    pub const UNKNOWN: Self = Self(0);
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// In the first word of what is noted of a span: it acts as the root of its trace.
pub const ACTS: u64 = 1 << 63;

/// Whether the span with these notes acts as the root of its trace.
pub fn acts(notes: &[u64]) -> bool {
    notes.first().is_some_and(|marks| marks & ACTS != 0)
}

// === impl RecordTime ===

impl RecordTime {
    /// Before everything.
    pub const START: Self = Self(i64::MIN);

    /// After everything: what time becomes when a finite input has ended.
    pub const END: Self = Self(i64::MAX);

    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
    }

    pub fn before(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)))
    }

    /// Milliseconds since an earlier time, 0 if it is not earlier.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}
