//! Records that mix traces into records of one trace each.

use std::borrow::Cow;

use crate::{
    decode::Decoder,
    encode::{self, Item},
    engine::output::{Given, Named, Output, Refused},
    limits,
    model::{RecordTime, TraceId},
    tick::{Dead, HeaderList, Tick, header_bytes},
};

/// Takes records apart, into a tick.
pub struct Split {
    pub tick: Tick,
    /// The largest record its topic takes, in bytes.
    record_bytes: usize,
    decoder: Decoder,
    /// The batch's spans, by trace.
    order: Vec<u32>,
    items: Vec<Item>,
}

/// Of output, before it is sent: some 30,000 spans.
const FULL: usize = 16 << 20;
/// Of output, if a record becomes more than it was: its envelopes stand around every one of its traces. A million bytes of
/// batches as they are sent become a few; what goes beyond this is a pointer in the dead letters.
const OVERFULL: usize = 4 * FULL;

// === impl Split ===

impl Split {
    pub fn new(record_bytes: usize) -> Self {
        Self { tick: Tick::default(), record_bytes, decoder: Decoder::default(), order: Vec::new(), items: Vec::new() }
    }

    pub fn is_full(&self) -> bool {
        self.tick.size() >= FULL
    }

    /// Takes a record apart: spans of one trace become one record, stamped as theirs was, and what is no use a dead letter.
    pub fn take(
        &mut self,
        partition: u32,
        offset: i64,
        timestamp: RecordTime,
        headers: &HeaderList,
        payload: Option<&[u8]>,
    ) {
        let Some(received) = payload else {
            return self.bury(partition, offset, 0, "the record has no value".into(), 0..0);
        };
        if received.len() > limits::RECORD_BYTES {
            let reason = format!("the record has {} bytes, more than {}", received.len(), limits::RECORD_BYTES);
            return self.bury(partition, offset, 0, reason.into(), 0..0);
        }
        let mut decoder = std::mem::take(&mut self.decoder);
        match decoder.read(received) {
            Ok((payload, batch)) => {
                let given = Given { payload, batch };
                self.write(partition, offset, timestamp, headers, &given);
                self.reject(partition, offset, &given);
            }
            Err(refused) => {
                let start = self.tick.bytes.len();
                if received.len() <= self.record_bytes {
                    self.tick.bytes.extend_from_slice(received);
                }
                let bytes = start..self.tick.bytes.len();
                self.bury(partition, offset, 0, refused.to_string().into(), bytes);
            }
        }
        // What a huge record needed does not stay.
        self.decoder = if decoder.bytes() > limits::RECORD_BYTES { Decoder::default() } else { decoder };
    }

    fn write(&mut self, partition: u32, offset: i64, timestamp: RecordTime, headers: &HeaderList, given: &Given<'_>) {
        // They go with each of the records, and the topic counts them.
        let record_bytes = self.record_bytes.saturating_sub(header_bytes(headers));
        let trace_of = |&at: &u32| given.batch.spans[at as usize].trace_id;
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(0..given.batch.spans.len() as u32);
        order.sort_unstable_by_key(|at| (trace_of(at), *at));
        for spans in order.chunk_by(|a, b| trace_of(a) == trace_of(b)) {
            self.items.clear();
            self.items.extend(spans.iter().map(|&at| given.item(at as usize)));
            self.items.sort_unstable();
            let trace = TraceId(trace_of(&spans[0]));
            let of = Named { trace, partition, offset, timestamp: Some(timestamp), shared: false };
            let (first, tick) = (self.tick.kept.len(), &mut self.tick);
            let output = Output { tick, record_bytes, tick_bytes: OVERFULL, stamped: &[] };
            let Refused { too_large, largest, too_many } = output.write(&mut self.items, given, of);
            if !headers.is_empty() {
                self.tick.carry(first, headers);
            }
            if too_large > 0 {
                let reason =
                    format!("a span of trace {trace} has {largest} bytes, more than is re-keyed ({record_bytes})");
                self.bury(partition, offset, too_large, reason.into(), 0..0);
            }
            self.count_more(partition, offset, too_many);
        }
        self.order = order;
    }

    /// Spans without a usable trace id.
    fn reject(&mut self, partition: u32, offset: i64, given: &Given<'_>) {
        for (at, rejected) in (given.batch.spans.len()..).zip(&given.batch.rejected) {
            if self.tick.size() >= OVERFULL {
                self.count_more(partition, offset, 1);
                continue;
            }
            let (item, start) = ([given.item(at)], self.tick.bytes.len());
            if encode::fitting(&item, given, self.record_bytes) > 0 {
                encode::traces_data(&item, given, &[], &mut self.tick.bytes);
            }
            let bytes = start..self.tick.bytes.len();
            self.bury(partition, offset, 1, rejected.reason(), bytes);
        }
    }

    /// One pointer stands for all spans of a record that there is no room for.
    fn count_more(&mut self, partition: u32, offset: i64, spans: u32) {
        const REASON: &str = "the record's envelopes, around each of its traces, are too much to be re-keyed";
        match self.tick.dead.last_mut() {
            _ if spans == 0 => {}
            Some(last) if (last.partition, last.offset, &*last.reason) == (partition, offset, REASON) => {
                last.spans += spans;
            }
            _ => self.bury(partition, offset, spans, REASON.into(), 0..0),
        }
    }

    fn bury(
        &mut self,
        partition: u32,
        offset: i64,
        spans: u32,
        reason: Cow<'static, str>,
        bytes: std::ops::Range<usize>,
    ) {
        self.tick.bury(Dead { partition, offset, spans, reason, bytes });
    }
}

#[cfg(test)]
mod tests;
