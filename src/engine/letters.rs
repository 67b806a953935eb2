//! What cannot be taken in, or written, goes to the dead letters.

use std::borrow::Cow;

use super::{
    Engine,
    output::{Given, Named, Refused},
};
use crate::{
    assemble::Origin,
    decode::Batch,
    encode,
    mutant::{self, Mutant},
    tick::Dead,
};

/// Of the pointer to a record with more late or rejected spans than a tick takes.
pub(super) const TOO_MANY: &str = "more spans of the record are late, or without a trace, than one tick takes";

impl Engine {
    pub(super) fn reject_record(&mut self, partition: u32, offset: i64, reason: Cow<'static, str>, payload: &[u8]) {
        if self.assembly.time().was_handled(partition, offset) && !mutant::is(Mutant::RejectedAgain) {
            return;
        }
        self.room = 0;
        let start = self.tick.bytes.len();
        if payload.len() <= self.settings.output_record_bytes {
            self.tick.bytes.extend_from_slice(payload);
        }
        self.bury(partition, offset, 0, reason, start);
    }

    /// Spans without a usable trace id.
    pub(super) fn reject_spans(&mut self, origin: Origin, given: &Given<'_>) {
        let Batch { spans, rejected, .. } = given.batch;
        if self.assembly.time().was_handled(origin.partition, origin.offset) && !mutant::is(Mutant::RejectedAgain) {
            // Their dead letters are written.
            self.stats.skipped += rejected.len() as u64;
            return;
        }
        for (at, rejected) in (spans.len()..).zip(rejected) {
            self.reject_span(origin, at, given, rejected.reason());
        }
    }

    /// Sends one span of the record in hand to the dead letters.
    pub(super) fn reject_span(&mut self, origin: Origin, at: usize, given: &Given<'_>, reason: Cow<'static, str>) {
        if self.tick.size() >= self.overfull() {
            return self.bury_more(origin.partition, origin.offset, 1);
        }
        let (item, start) = ([given.item(at)], self.tick.bytes.len());
        if encode::fitting(&item, given, self.settings.output_record_bytes) > 0 {
            encode::traces_data(&item, given, &[], &mut self.tick.bytes);
        }
        self.bury(origin.partition, origin.offset, 1, reason, start);
    }

    /// Sends pointers to what the output did not take to the dead letters.
    pub(super) fn refuse(&mut self, of: Named, refused: Refused) {
        if let Some(dead) = refused.too_large(of, self.settings.output_record_bytes) {
            self.tick.bury(dead);
            self.wrote();
        }
        if refused.too_many > 0 {
            self.bury_more(of.partition, of.offset, refused.too_many);
        }
    }

    /// Sends what stands in the tick from `start` to the dead letters; nothing there makes a pointer.
    fn bury(&mut self, partition: u32, offset: i64, spans: u32, reason: Cow<'static, str>, start: usize) {
        self.tick.bury(Dead { partition, offset, spans, reason, bytes: start..self.tick.bytes.len() });
        self.wrote();
    }

    /// One pointer stands for all spans of a record for which a tick has no room.
    fn bury_more(&mut self, partition: u32, offset: i64, spans: u32) {
        match self.tick.dead.last_mut() {
            Some(last) if (last.partition, last.offset, &*last.reason) == (partition, offset, TOO_MANY) => {
                last.spans += spans;
            }
            _ => self.bury(partition, offset, spans, TOO_MANY.into(), self.tick.bytes.len()),
        }
    }

    /// The size at which a tick takes nothing more of a record that is taken in. It was not full before the record, but late
    /// and rejected spans stand each in their own envelopes, which may be larger than all of them.
    pub(super) fn overfull(&self) -> usize {
        self.settings.tick_bytes + self.settings.output_record_bytes
    }
}
