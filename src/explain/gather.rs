//! What of many records one trace needs.

use std::collections::HashMap;

use anyhow::ensure;

use super::{Explanation, Follow};
use crate::{
    assemble::Keying,
    decide::PolicySet,
    decode::{Batch, Decoder},
    engine::{self, Settings},
    model::{RecordTime, TraceId},
    recording::Record,
};
use std::sync::Arc;

/// Records, of which only those are whole that hold spans of the trace: of the others their time is enough.
pub struct Gathered {
    trace: TraceId,
    notes: Vec<Note>,
    /// Those that are whole.
    records: Vec<Record>,
    partitions: HashMap<(String, i32), Partition>,
    decoder: Decoder,
}

struct Note {
    /// The time of its partition: what is behind comes no earlier than what is before.
    time: i64,
    partition: u32,
    offset: i64,
    timestamp: Option<i64>,
    /// In `records`.
    record: Option<u32>,
}

struct Partition {
    number: u32,
    first: i64,
    time: i64,
    has_trace: bool,
}

/// Records in a range: 40 bytes each.
const RECORDS: usize = 50_000_000;

// === impl Gathered ===

impl Gathered {
    pub fn new(trace: TraceId) -> Self {
        Self { trace, notes: Vec::new(), records: Vec::new(), partitions: HashMap::new(), decoder: Decoder::default() }
    }

    /// # Errors
    /// There are too many.
    pub fn add(&mut self, record: Record) -> anyhow::Result<()> {
        ensure!(self.notes.len() < RECORDS, "more than {RECORDS} records; choose a shorter range");
        let Record { offset, timestamp, .. } = record;
        let number = self.partitions.len() as u32;
        let first = Partition { number, first: offset, time: i64::MIN, has_trace: false };
        let partition = self.partitions.entry((record.topic.clone(), record.partition)).or_insert(first);
        partition.time = partition.time.max(timestamp.unwrap_or(i64::MIN));
        let value = record.value.as_deref().unwrap_or_default();
        let holds = |batch: &Batch| batch.spans.iter().any(|span| span.trace_id == self.trace.0);
        let held = self.decoder.read(value).ok().filter(|(_, batch)| holds(batch)).map(|(payload, _)| payload.to_vec());
        partition.has_trace |= held.is_some();
        let whole = held.is_some().then_some(self.records.len() as u32);
        self.notes.push(Note { time: partition.time, partition: partition.number, offset, timestamp, record: whole });
        self.records.extend(held.map(|payload| Record { value: Some(payload), ..record }));
        Ok(())
    }

    /// What the policies make of the trace, read as a worker would: by the time of the records. Empty where there is no span
    /// of it.
    pub fn explain(mut self, settings: Settings, policies: Arc<PolicySet>) -> Vec<Explanation> {
        let of_trace = self.partitions.values().filter(|partition| partition.has_trace).count();
        // In one partition it follows that one's clock; over several, the slowest.
        let keying = if of_trace > 1 { Keying::Unkeyed } else { Keying::Keyed };
        let mut follow = Follow::new(self.trace, Settings { keying, ..settings }, policies);
        let mut partitions: Vec<&Partition> = self.partitions.values().collect();
        partitions.sort_by_key(|partition| partition.number);
        let numbers: Vec<u32> = partitions.iter().map(|partition| follow.assign(partition.first)).collect();
        self.notes.sort_by_key(|note| (note.time, note.partition, note.offset));
        let empty = Record::default();
        for Note { partition, offset, timestamp, record, .. } in self.notes {
            // Nothing in it is a message without spans.
            let record = record.map_or(&empty, |record| &self.records[record as usize]);
            follow.ingest(engine::Record {
                partition: numbers[partition as usize],
                offset,
                timestamp: timestamp.map(RecordTime),
                headers: record,
                payload: Some(record.value.as_deref().unwrap_or_default()),
            });
        }
        follow.finish()
    }
}
