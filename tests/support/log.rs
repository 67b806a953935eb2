//! What topics hold, as an outsider reads it.

use std::{collections::HashMap, ops::Range};

use super::{
    kafka::Topic,
    oracle::{Expected, Named, TraceId, named},
};

/// By partition, in the order of offsets; the partitions of several topics one after the other.
#[derive(Default)]
pub struct Log(Vec<Vec<Entry>>);

/// A record.
pub struct Entry {
    pub offset: i64,
    pub timestamp: i64,
    pub spans: Vec<Named>,
}

/// Where a span is.
pub struct Place<'a> {
    pub partition: usize,
    pub offset: i64,
    pub trace: &'a TraceId,
    pub span: &'a [u8],
}

// === impl Log ===

impl Log {
    pub fn read(topics: &[&Topic]) -> Self {
        let mut log = Self::default();
        for topic in topics {
            let mut of = Self::of(topic);
            of.read_on(topic);
            log.0.append(&mut of.0);
        }
        log
    }

    /// Nothing of it is read yet.
    pub fn of(topic: &Topic) -> Self {
        Self((0..topic.partitions).map(|_| Vec::new()).collect())
    }

    /// Reads what has come since.
    pub fn read_on(&mut self, topic: &Topic) {
        topic.each_from(&mut self.ends(), |record| {
            let entry = Entry { offset: record.offset, timestamp: record.timestamp, spans: named(&record.value) };
            self.0[record.partition as usize].push(entry);
        });
    }

    pub fn partitions(&self) -> &[Vec<Entry>] {
        &self.0
    }

    /// After the last record, by partition.
    pub fn ends(&self) -> Vec<i64> {
        self.0.iter().map(|records| records.last().map_or(0, |record| record.offset + 1)).collect()
    }

    /// The first offsets that are not before a time.
    pub fn offsets_at(&self, time: i64) -> Vec<i64> {
        let of = |(records, end): (&Vec<Entry>, i64)| {
            records.get(records.partition_point(|record| record.timestamp < time)).map_or(end, |record| record.offset)
        };
        self.0.iter().zip(self.ends()).map(of).collect()
    }

    pub fn spans_from(&self, offsets: &[i64]) -> u64 {
        let left = |(records, from): (&Vec<Entry>, &i64)| {
            records.iter().filter(|record| record.offset >= *from).map(|record| record.spans.len() as u64).sum::<u64>()
        };
        self.0.iter().zip(offsets).map(left).sum()
    }

    /// Of each partition, what lies between two offsets.
    pub fn within(&self, offsets: impl Iterator<Item = Range<i64>>) -> Vec<Vec<&Entry>> {
        let partitions = self.0.iter().zip(offsets);
        partitions
            .map(|(records, offsets)| records.iter().filter(|record| offsets.contains(&record.offset)).collect())
            .collect()
    }

    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.0.iter().enumerate().flat_map(|(partition, records)| {
            records.iter().flat_map(move |&Entry { offset, ref spans, .. }| {
                spans.iter().map(move |Named { trace, span, .. }| Place { partition, offset, trace, span })
            })
        })
    }

    /// Of the traces that must be kept.
    pub fn kept(&self, expected: &Expected) -> HashMap<&TraceId, Vec<Place<'_>>> {
        let mut kept: HashMap<_, Vec<_>> = HashMap::new();
        for place in self.places().filter(|place| expected.kept.contains_key(place.trace)) {
            kept.entry(place.trace).or_default().push(place);
        }
        kept
    }
}
