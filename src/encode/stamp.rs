//! What is stamped on the spans of a kept trace: its weight on each, and on its root why it was kept.
//!
//! Sources: OpenTelemetry, "TraceState: Probability Sampling" and OTEP 235. All samplers use the same randomness R, so that a span
//! that two of them let pass has the greater of their thresholds. `docs/sampling.md` has the rules.

use super::trace_state::{self, Sampling};
use crate::{
    decode::{
        NoThreshold, Range, explicit_randomness, explicit_threshold,
        wire::{Reader, Wire, put_varint},
    },
    model::{Randomness, Threshold, TraceId},
};

/// What is stamped at all. With nothing of it, spans go out as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// The sampling threshold, on every span: it tells for how many spans this one stands.
    pub weights: bool,
    /// A span that comes without one was not sampled before; else nobody knows.
    pub assume_unsampled: bool,
    /// The rest is for the root.
    pub policy: bool,
    pub reason: bool,
    pub completion: bool,
}

/// Why a trace was kept, in a word each.
#[derive(Clone, Copy, Debug)]
pub struct Notes<'a> {
    pub policy: &'a str,
    pub reason: &'a str,
    pub completion: &'a str,
}

/// Stamps the spans of a trace, one after the other.
pub struct Stamp<'a, 'b> {
    pub stamps: Stamps,
    pub trace: TraceId,
    /// By which it was decided, against this threshold.
    pub randomness: Randomness,
    pub threshold: Threshold,
    pub notes: Notes<'a>,
    /// What the edits put in stands here.
    pub stamped: &'a mut Vec<u8>,
    /// Spans of a trace are often alike: what the one before had, and what became of it.
    pub before: Option<(Seen<'b>, Put)>,
}

/// How a span's body is changed: where `cut` stood in it, there is what `put` says of the stamped bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edit {
    pub cut: Range,
    pub put: Range,
}

/// What a span says of sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'b> {
    trace_state: &'b [u8],
    /// It was stamped as of unknown probability before.
    is_unknown: bool,
}

/// What is put into a span.
#[derive(Clone, Copy, Debug)]
pub struct Put {
    range: Range,
    /// A trace state is, in place of the one that is there.
    replaces: bool,
}

/// Bytes that are added to a span at most, but for the notes of a root: an `ot` entry with `rv` and `th`, in a field of its own, takes
/// 40; the attribute of an unknown probability is instead of it.
pub const SPAN_STAMP: usize = 48;
/// Bytes of a span with a trace id and nothing else, with its tag and length.
pub const SPAN_LEAST: usize = 20;

/// Fields of a span.
const TRACE_STATE: u32 = 3;
const ATTRIBUTES: u32 = 9;
const START: u32 = 7;
/// What a `KeyValue` with the key [`UNKNOWN`] begins with.
const IS_UNKNOWN: &[u8] = b"\x0a\x10sampling.unknown";
const UNKNOWN: &str = "sampling.unknown";

// === impl Stamps ===

impl Stamps {
    pub const NONE: Self =
        Self { weights: false, assume_unsampled: true, policy: false, reason: false, completion: false };

    /// Something is stamped on roots.
    pub fn has_notes(self) -> bool {
        self.policy || self.reason || self.completion
    }

    pub fn is_none(self) -> bool {
        !self.weights && !self.has_notes()
    }
}

impl Default for Stamps {
    fn default() -> Self {
        Self { weights: true, assume_unsampled: true, policy: true, reason: true, completion: true }
    }
}

// === impl Stamp ===

impl<'b> Stamp<'_, 'b> {
    /// What is stamped on a span, whose body is well-formed.
    pub fn edit(&mut self, body: &'b [u8], is_root: bool) -> Edit {
        let is_noted = is_root && self.stamps.has_notes();
        if !self.stamps.weights && !is_noted {
            return Edit::default();
        }
        let (seen, field) = look(body);
        let Put { range: mut put, replaces } = if self.stamps.weights {
            self.weight(seen)
        } else {
            Put { range: self.since(self.stamped.len()), replaces: false }
        };
        if is_noted {
            let start = self.stamped.len();
            self.stamped.extend_from_within(put.start as usize..put.end as usize);
            self.note();
            put = self.since(start);
        }
        let end = Range { start: body.len() as u32, end: body.len() as u32 };
        let cut = field.filter(|_| replaces).unwrap_or(end);
        if cut.is_empty() && put.is_empty() { Edit::default() } else { Edit { cut, put } }
    }

    fn weight(&mut self, seen: Seen<'b>) -> Put {
        if let Some((_, put)) = self.before.filter(|(before, _)| *before == seen) {
            return put;
        }
        let start = self.stamped.len();
        let written = explicit_threshold(seen.trace_state);
        let wanted = self.sampling(seen, written);
        // What says the right thing already stays as it is, and so does what says nothing and can say nothing.
        let stays = wanted.randomness.is_none() && written == Ok(wanted.threshold);
        let fits = stays || self.put_trace_state(seen.trace_state, wanted);
        if !seen.is_unknown && (wanted.threshold.is_none() || !fits) {
            put_attribute(UNKNOWN, self.stamped, |value| value.extend_from_slice(b"\x10\x01"));
        }
        let put = Put { range: self.since(start), replaces: !stays };
        self.before = Some((seen, put));
        put
    }

    /// What is to be said of a span: nothing, where its probability is unknown.
    fn sampling(&self, seen: Seen<'_>, written: Result<Option<Threshold>, NoThreshold>) -> Sampling {
        let unknown = Sampling::default();
        let before = match written {
            Ok(Some(threshold)) => threshold,
            Ok(None) if self.stamps.assume_unsampled && !seen.is_unknown => Threshold::ALWAYS,
            Ok(None) | Err(NoThreshold) => return unknown,
        };
        let explicit = explicit_randomness(seen.trace_state);
        let own = explicit.unwrap_or_else(|| self.trace.randomness());
        let threshold = before.max(self.threshold);
        let (threshold, randomness) = if self.threshold == Threshold::ALWAYS || own == self.randomness {
            (threshold, own)
        } else if explicit.is_none() && before == Threshold::ALWAYS {
            // Decided by another randomness than the span's own: with this one said, both go together again.
            (threshold, self.randomness)
        } else {
            // Two draws that have nothing to do with each other are no threshold.
            return unknown;
        };
        if randomness.0 < threshold.0 {
            return unknown;
        }
        Sampling { threshold: Some(threshold), randomness: (randomness != own).then_some(randomness) }
    }

    /// Puts a field in for the trace state, though nothing may be left of it: one that stands before would count then. False where
    /// the threshold has no room.
    fn put_trace_state(&mut self, trace_state: &[u8], sampling: Sampling) -> bool {
        let start = self.stamped.len();
        let fits = trace_state::put(trace_state, sampling, self.stamped);
        wrap(TRACE_STATE, start, self.stamped);
        fits
    }

    fn note(&mut self) {
        let Self { stamps, notes, stamped, .. } = self;
        for (is_wanted, key, text) in [
            (stamps.policy, "tailwater.policy", notes.policy),
            (stamps.reason, "tailwater.reason", notes.reason),
            (stamps.completion, "tailwater.completion", notes.completion),
        ] {
            if is_wanted {
                put_attribute(key, stamped, |value| put_bytes(1, text.as_bytes(), value));
            }
        }
    }

    fn since(&self, start: usize) -> Range {
        Range { start: start as u32, end: self.stamped.len() as u32 }
    }
}

// === impl Edit ===

impl Edit {
    /// A span's body as it is written, in three parts.
    pub fn parts<'a>(self, body: &'a [u8], stamped: &'a [u8]) -> [&'a [u8]; 3] {
        if self == Self::default() {
            return [body, &[], &[]];
        }
        [&body[..self.cut.start as usize], self.put.of(stamped), &body[self.cut.end as usize..]]
    }
}

/// When a span began, in nanoseconds since the Unix epoch; 0 where it does not say.
pub fn start(body: &[u8]) -> u64 {
    let mut start = 0;
    each(body, |number, value, _| {
        if let (START, Wire::Fixed64(ns)) = (number, value) {
            start = ns;
        }
    });
    start
}

/// What a span says of sampling, and where its trace state stands: of several the last counts.
fn look(body: &[u8]) -> (Seen<'_>, Option<Range>) {
    let (mut seen, mut at) = (Seen { trace_state: &[], is_unknown: false }, None);
    each(body, |number, value, range| match (number, value) {
        (TRACE_STATE, Wire::Bytes(bytes)) => (seen.trace_state, at) = (bytes, Some(range)),
        (ATTRIBUTES, Wire::Bytes(bytes)) => seen.is_unknown |= bytes.starts_with(IS_UNKNOWN),
        _ => {}
    });
    (seen, at)
}

/// Of a message that was walked before: there is no mistake in it.
fn each<'b>(body: &'b [u8], mut take: impl FnMut(u32, Wire<'b>, Range)) {
    let Ok(mut reader) = Reader::new(body) else { return };
    while let Ok(Some(field)) = reader.field() {
        take(field.number, field.value, field.range);
    }
}

/// An attribute of a span, with the `AnyValue` that `put` writes.
fn put_attribute(key: &str, out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put_bytes(1, key.as_bytes(), out);
    let value = out.len();
    put(out);
    wrap(2, value, out);
    wrap(ATTRIBUTES, start, out);
}

/// Makes what stands from `start` on the body of a field.
fn wrap(number: u32, start: usize, out: &mut Vec<u8>) {
    let end = out.len();
    put_varint(out, u64::from(number << 3 | 2));
    put_varint(out, (end - start) as u64);
    let head = out.len() - end;
    out[start..].rotate_right(head);
}

fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(out, u64::from(number << 3 | 2));
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
