//! Drives the engine as a worker does, without Kafka.

use std::sync::Arc;

use tailwater::{
    assemble::{Completion, Start},
    decide::PolicySet,
    encode::Stamps,
    engine::{self, Engine, Full, Past, Settings},
    model::RecordTime,
    tick::Tick,
};

use super::records::{Form, PARTITIONS, Record};

pub struct Feed {
    pub engine: Engine,
    /// The next offset of each partition.
    offsets: [i64; PARTITIONS as usize],
    /// A tick out, acknowledged when the next one is cut.
    out: Option<Tick>,
    cut_ms: u64,
    /// Bytes and spans of all ticks.
    pub forwarded: (usize, u64),
}

/// Of record time; at the head of the log that is the wall clock's second, the default.
const TICK_MS: u64 = 1000;

/// The defaults, but a late window of 10 s, so that forgetting is measured too after the shortest warm-up.
pub fn settings(form: Form) -> Settings {
    Settings {
        keying: form.keying(),
        completion: Completion { quiet: 5_000, completeness: None, max_wait: 30_000, max_trace_bytes: 16 << 20 },
        late_window: 10_000,
        past: Past::Decide,
        buffer: 1 << 30,
        tick_bytes: 64 << 20,
        output_record_bytes: 1_000_000,
        stamps: Stamps::default(),
        recall: None,
    }
}

// === impl Feed ===

impl Feed {
    pub fn new(settings: Settings, policies: Arc<PolicySet>) -> Self {
        let mut engine = Engine::new(settings, policies);
        (0..PARTITIONS).for_each(|partition| assert_eq!(engine.assign(Start::at(0)), partition));
        Self { engine, offsets: [0; PARTITIONS as usize], out: None, cut_ms: 0, forwarded: (0, 0) }
    }

    pub fn take(&mut self, records: &[Record]) {
        records.iter().for_each(|record| self.push(record));
    }

    pub fn push(&mut self, record: &Record) {
        if record.at_ms >= self.cut_ms + TICK_MS {
            self.cut_ms = record.at_ms;
            self.cut();
        }
        self.ingest(record.partition, record.at_ms, &record.value);
    }

    pub fn ingest(&mut self, partition: u32, at_ms: u64, value: &[u8]) {
        let offset = self.offsets[partition as usize];
        self.offsets[partition as usize] += 1;
        let record = engine::Record {
            partition,
            offset,
            timestamp: Some(RecordTime(at_ms as i64)),
            headers: &(),
            payload: Some(value),
        };
        // As a worker, which pauses its input until the tick that is out has come back.
        while self.engine.ingest(record, RecordTime::END) == Err(Full) {
            self.cut();
        }
    }

    pub fn cut(&mut self) {
        if let Some(out) = self.out.take() {
            self.engine.settle(out, &[]);
        }
        let tick = self.engine.cut();
        self.forwarded.0 += tick.bytes.len();
        self.forwarded.1 += tick.spans();
        if tick.is_empty() {
            self.engine.settle(tick, &[]);
        } else {
            self.out = Some(tick);
        }
    }

    /// Lets time run out.
    pub fn finish(&mut self) {
        (0..PARTITIONS).for_each(|partition| self.engine.finish(partition));
        while self.engine.advance() == Err(Full) {
            self.cut();
        }
        self.cut();
        self.cut();
    }
}
