//! Records that came before their turn (C10).

use std::collections::VecDeque;

use crate::{engine::Record, model::RecordTime, recording};

/// What was read and not yet taken in, by the partitions' numbers in the engine.
#[derive(Default)]
pub struct Waiting {
    queues: Vec<Queue>,
    bytes: usize,
    records: usize,
    /// Bytes with which it is full: half of those that may wait.
    most: usize,
    /// Of a partition, so many may wait whatever the others have here: all of them together, the other half.
    share: usize,
    /// More did when this was last so, and at least half of that still does.
    is_full: bool,
}

/// Of a partition.
#[derive(Default)]
struct Queue {
    records: VecDeque<Early>,
    bytes: usize,
    /// It is to be read no further.
    held_up: bool,
}

struct Early {
    timestamp: RecordTime,
    record: recording::Record,
}

/// Places kept when there are no records.
const IDLE: usize = 64;

// === impl Waiting ===

impl Waiting {
    /// So many bytes of so many partitions may wait.
    pub fn new(most: usize, partitions: usize) -> Self {
        Self { most: most / 2, share: most / 2 / partitions.max(1), ..Self::default() }
    }

    /// Behind those of its partition that wait already.
    pub fn push(&mut self, partition: u32, timestamp: RecordTime, record: recording::Record) {
        let at = partition as usize;
        if self.queues.len() <= at {
            self.queues.resize_with(at + 1, Queue::default);
        }
        let early = Early { timestamp, record };
        let (queue, bytes) = (&mut self.queues[at], early.bytes());
        queue.bytes += bytes;
        self.bytes += bytes;
        self.records += 1;
        queue.records.push_back(early);
        self.is_full |= self.bytes > self.most;
    }

    /// The first of a partition.
    pub fn first(&self, partition: u32) -> Option<Record<'_>> {
        let Early { timestamp, record } = self.queues.get(partition as usize)?.records.front()?;
        let (offset, timestamp, payload) = (record.offset, Some(*timestamp), record.value.as_deref());
        Some(Record { partition, offset, timestamp, headers: record, payload })
    }

    /// It has been taken in.
    pub fn pop(&mut self, partition: u32) {
        let Some(queue) = self.queues.get_mut(partition as usize) else { return };
        let Some(early) = queue.records.pop_front() else { return };
        if queue.records.is_empty() {
            queue.records.shrink_to(IDLE);
        }
        let bytes = early.bytes();
        queue.bytes -= bytes;
        self.bytes -= bytes;
        self.records -= 1;
        self.is_full &= self.bytes > self.most / 2;
    }

    /// The partition was taken away.
    pub fn remove(&mut self, partition: u32) {
        while self.has(partition) {
            self.pop(partition);
        }
    }

    #[inline(always)]
    pub fn has(&self, partition: u32) -> bool {
        self.queues.get(partition as usize).is_some_and(|queue| !queue.records.is_empty())
    }

    /// Whether a partition is to be read no further: there is enough, and more than its share is of it. One that has little here
    /// always flows, for all may wait for that one; and goes on when half of its share is left, for what was fetched of it is lost
    /// each time.
    pub fn holds_up(&mut self, partition: u32) -> bool {
        let Some(queue) = self.queues.get_mut(partition as usize) else { return false };
        let enough = if queue.held_up { self.share / 2 } else { self.share };
        queue.held_up = self.is_full && queue.bytes > enough;
        queue.held_up
    }

    pub fn is_full(&self) -> bool {
        self.is_full
    }

    pub fn records(&self) -> usize {
        self.records
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

// === impl Early ===

impl Early {
    fn bytes(&self) -> usize {
        let recording::Record { topic, key, headers, value, .. } = &self.record;
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let beside =
            headers.iter().map(|header| size_of::<recording::Header>() + header.key.len() + len(&header.value));
        // A queue that has grown may have room for as many again.
        2 * size_of::<Self>() + topic.len() + len(key) + beside.sum::<usize>() + len(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(waiting: &mut Waiting, partition: u32, offset: i64, bytes: usize) {
        let record = recording::Record { offset, value: Some(vec![0; bytes]), ..recording::Record::default() };
        waiting.push(partition, RecordTime(0), record);
    }

    #[test]
    fn each_partition_has_its_order_and_all_have_one_bound() {
        let mut waiting = Waiting::new(2 * 9_900, 4);
        push(&mut waiting, 2, 5, 3_000);
        push(&mut waiting, 2, 7, 3_000);
        push(&mut waiting, 0, 1, 2_000);
        assert!(!waiting.is_full());
        push(&mut waiting, 0, 2, 2_000);
        push(&mut waiting, 1, 1, 10);
        assert!(waiting.holds_up(0) && waiting.holds_up(2) && !waiting.holds_up(1), "one that has little goes on");
        waiting.remove(1);
        assert_eq!((waiting.first(2).map(|record| record.offset), waiting.first(1).is_none()), (Some(5), true));
        waiting.pop(2);
        assert!(waiting.holds_up(2), "it has to come down to half of its share");
        waiting.pop(2);
        assert!(!waiting.has(2) && !waiting.holds_up(2) && !waiting.is_full());
        waiting.remove(0);
        assert_eq!((waiting.bytes(), waiting.records()), (0, 0));
    }
}
