//! The generator's shop as Kafka records.

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
        let epoch = self.epoch();
        generate::keyed(self.traces()).map(move |record| {
            let id = record.spans[0].0;
            let partition = (id.0[0] as i32) % partitions;
            sent(record, epoch, partition)
        })
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

fn sent(record: generate::Record, epoch: i64, partition: i32) -> Record {
    Record {
        partition,
        timestamp: epoch + i64::try_from(record.at_ms).expect("before the year 292,000,000"),
        key: record.key.map(Vec::from),
        value: record.value,
        ..Record::default()
    }
}
