//! Records that were removed from the log before the group had read them.

use std::{fmt, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaResult,
};

use super::Partition;

/// Of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    pub partition: Partition,
    pub committed: i64,
    /// Of the log.
    pub start: i64,
}

/// Compares committed offsets with where the logs begin.
pub fn expired<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    committed: &TopicPartitionList,
    timeout: Duration,
) -> KafkaResult<Vec<Expired>> {
    let mut starts = TopicPartitionList::with_capacity(committed.count());
    for element in committed.elements() {
        // A broker that is asked for the offset of this time says where the log begins; so all are asked for at once.
        starts.add_partition_offset(element.topic(), element.partition(), Offset::Beginning)?;
    }
    // A member may be given nothing, and librdkafka does not ask for nothing.
    if starts.count() == 0 {
        return Ok(Vec::new());
    }
    let starts = consumer.offsets_for_times(starts, timeout).and_then(|starts| {
        starts.elements().iter().try_for_each(|element| element.error())?;
        Ok(starts)
    });
    let starts = match starts {
        Ok(starts) => starts,
        Err(error) => {
            // A partition that was between two leaders is remembered without one, for a quarter of an hour, unless somebody asks.
            let mut topics: Vec<_> = committed.elements().iter().map(|element| element.topic().to_owned()).collect();
            topics.dedup();
            topics.iter().try_for_each(|topic| consumer.fetch_metadata(Some(topic), timeout).map(|_| ()))?;
            return Err(error);
        }
    };
    let mut expired = Vec::new();
    for element in starts.elements() {
        let committed = committed.find_partition(element.topic(), element.partition()).map(|of| of.offset());
        if let (Offset::Offset(start), Some(Offset::Offset(committed))) = (element.offset(), committed)
            && committed < start
        {
            expired.push(Expired { partition: (element.topic().into(), element.partition()), committed, start });
        }
    }
    Ok(expired)
}

// === impl Expired ===

impl Expired {
    pub fn records(&self) -> i64 {
        self.start - self.committed
    }
}

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition: (topic, partition), committed, start } = self;
        write!(f, "{} of {topic}/{partition} (offsets {committed} to {})", self.records(), start - 1)
    }
}
