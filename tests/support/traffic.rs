//! The generator's shop as Kafka records.

use std::collections::HashMap;

use tailwater::generate::{self, Shape, Trace, Traffic, batched};

use super::kafka::Record;

/// A number of traces that can be drawn again.
pub struct Shop {
    pub seed: u64,
    pub traces: usize,
    pub shape: Shape,
}

impl Shop {
    pub fn traces(&self) -> impl Iterator<Item = Trace> + use<> {
        Traffic::new(self.seed, self.shape.clone()).take(self.traces)
    }

    /// Small records keyed by trace, each trace on one partition.
    pub fn keyed(&self, partitions: i32) -> impl Iterator<Item = Record> + use<> {
        keyed(Box::new(self.traces()), self.epoch(), partitions)
    }

    /// Batches of 100 spans that mix traces, dealt out to the partitions in turn.
    pub fn batched(&self, partitions: i32) -> impl Iterator<Item = Record> + use<> {
        self.batches_of(100, partitions)
    }

    pub fn batches_of(&self, spans: usize, partitions: i32) -> impl Iterator<Item = Record> + use<> {
        let (epoch, turn) = (self.epoch(), (0..partitions).cycle());
        batched(self.traces(), spans).zip(turn).map(move |(record, partition)| sent(record, epoch, partition))
    }

    /// When the traffic begins, ms after the Unix epoch.
    pub fn epoch(&self) -> i64 {
        i64::try_from(self.shape.epoch_ns / 1_000_000).expect("before the year 292,000,000")
    }
}

pub type Traces = Box<dyn Iterator<Item = Trace> + Send>;
pub type Records = Box<dyn Iterator<Item = Record> + Send>;

/// Small records keyed by trace, each trace on one partition.
pub fn keyed(traces: Traces, epoch: i64, partitions: i32) -> Records {
    Box::new(generate::keyed(traces).map(move |record| {
        let id = record.spans[0].0;
        let partition = i32::from(id.0[0]) % partitions;
        sent(record, epoch, partition)
    }))
}

/// Unkeyed batches that mix traces. The pieces of a trace go round the partitions, so that three are on three.
pub fn spread(traces: Traces, epoch: i64, partitions: i32) -> Records {
    const BATCH: usize = 8;
    let mut pieces = generate::keyed(traces);
    let mut turns = HashMap::new();
    let mut open: Vec<Vec<generate::Record>> = (0..partitions).map(|_| Vec::new()).collect();
    Box::new(std::iter::from_fn(move || {
        let full = loop {
            let Some(piece) = pieces.next() else { break open.iter().position(|batch| !batch.is_empty())? };
            let id = piece.spans[0].0;
            let turn = turns.entry(id).or_insert(usize::from(id.0[0]));
            *turn += 1;
            let at = *turn % open.len();
            open[at].push(piece);
            if open[at].len() == BATCH {
                break at;
            }
        };
        let batch = std::mem::take(&mut open[full]);
        let at_ms = batch.last().map_or(0, |piece| piece.at_ms);
        // Messages laid end to end are one, in which lists are joined.
        let (mut value, mut spans) = (Vec::new(), Vec::new());
        for piece in batch {
            value.extend(piece.value);
            spans.extend(piece.spans);
        }
        Some(sent(generate::Record { at_ms, key: None, value, spans }, epoch, full as i32))
    }))
}

fn sent(record: generate::Record, epoch: i64, partition: i32) -> Record {
    Record {
        partition,
        timestamp: epoch + i64::try_from(record.at_ms).expect("before the year 292,000,000"),
        key: record.key.map(Vec::from),
        value: record.value,
        ..Record::default()
    }
}
