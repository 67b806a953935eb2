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
    pub fn traces(&self) -> impl Iterator<Item = Trace> {
        Traffic::new(self.seed, self.shape.clone()).take(self.traces)
    }

    /// Small records keyed by trace, each trace on one partition.
    pub fn keyed(&self, partitions: i32) -> impl Iterator<Item = Record> {
        generate::keyed(self.traces()).map(move |record| {
            let id = record.spans[0].0;
            let partition = (id.0[0] as i32) % partitions;
            self.record(partition, record)
        })
    }

    /// Batches of 100 spans that mix traces, dealt out to the partitions in turn.
    pub fn batched(&self, partitions: i32) -> impl Iterator<Item = Record> {
        self.batches_of(100, partitions)
    }

    pub fn batches_of(&self, spans: usize, partitions: i32) -> impl Iterator<Item = Record> {
        let turn = (0..partitions).cycle();
        batched(self.traces(), spans).zip(turn).map(|(record, partition)| self.record(partition, record))
    }

    fn record(&self, partition: i32, record: generate::Record) -> Record {
        let epoch = self.shape.epoch_ns / 1_000_000;
        Record {
            partition,
            timestamp: i64::try_from(epoch + record.at_ms).expect("before the year 292,000,000"),
            key: record.key.map(Vec::from),
            value: record.value,
            ..Record::default()
        }
    }
}
