//! What samplers of all workers have learned, as they wrote it: one thread of each process follows it for its workers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use super::{Learned, Partition, client};
use crate::{config::Config, sample::Name};

/// The last state of each name and partition, in the order they came.
#[derive(Default)]
pub struct Board(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    states: HashMap<(Partition, Name), Entry>,
    order: BTreeMap<u64, (Partition, Name)>,
    /// The number of the next.
    next: u64,
    bytes: usize,
}

struct Entry {
    number: u64,
    value: Vec<u8>,
}

const STEP: Duration = Duration::from_millis(100);
const REQUEST: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);
/// What librdkafka may hold of it: the topics are small, and nobody is in a hurry.
const QUEUE_KBYTES: &str = "4096";

// === impl Board ===

impl Board {
    /// Begins to follow the topics of samplers from their start, until `stop`. Where there is more than `most` bytes, what was
    /// written last is known.
    ///
    /// # Errors
    /// A property librdkafka does not know or refuses; no thread to be had.
    pub fn follow(config: &Config, most: usize, stop: Arc<AtomicBool>) -> anyhow::Result<Arc<Self>> {
        let consumer: BaseConsumer = client(config)
            // Never joined; the user may know no other.
            .set("group.id", &config.input.group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("queued.max.messages.kbytes", QUEUE_KBYTES)
            .create()?;
        let topics =
            config.input.topics.iter().map(|topic| (topic.name.as_str().into(), config.input.samplers(&topic.name)));
        let topics: Vec<(Arc<str>, String)> = topics.collect();
        let board = Arc::new(Self::default());
        let following = board.clone();
        thread::Builder::new().name("board".into()).spawn(move || {
            let mut assigned = false;
            while !stop.load(Ordering::Acquire) {
                let done = if assigned { following.look(&consumer, &topics, most) } else { assign(&consumer, &topics) };
                assigned |= done.is_ok();
                if let Err(error) = done {
                    tracing::warn!(%error, "following what samplers of other workers learn; going on");
                    thread::sleep(PAUSE);
                }
            }
        })?;
        Ok(board)
    }

    /// What came from a number on, which then is that of the next to come.
    pub fn since(&self, number: &mut u64) -> Vec<Learned> {
        let entries = &*self.entries();
        let new = entries.order.range(*number..).filter_map(|(_, of)| {
            let (partition, name) = of.clone();
            Some(Learned { partition, name, value: entries.states.get(of)?.value.clone() })
        });
        let new = new.collect();
        *number = entries.next;
        new
    }

    fn look(&self, consumer: &BaseConsumer, topics: &[(Arc<str>, String)], most: usize) -> KafkaResult<()> {
        let Some(record) = consumer.poll(STEP).transpose()? else { return Ok(()) };
        let topic = topics.iter().find(|(_, ours)| ours == record.topic());
        // What somebody else wrote there is no state of ours.
        if let (Some((topic, _)), Some(name)) = (topic, record.key().and_then(Name::from_bytes)) {
            let value = record.payload().unwrap_or_default().to_vec();
            self.entries().put(((topic.clone(), record.partition()), name), value, most);
        }
        Ok(())
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn assign(consumer: &BaseConsumer, topics: &[(Arc<str>, String)]) -> KafkaResult<()> {
    let mut all = TopicPartitionList::new();
    for (_, ours) in topics {
        let metadata = consumer.fetch_metadata(Some(ours), REQUEST)?;
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            all.add_partition_offset(ours, partition.id(), Offset::Beginning)?;
        }
    }
    consumer.assign(&all)
}

// === impl Entries ===

impl Entries {
    fn put(&mut self, of: (Partition, Name), value: Vec<u8>, most: usize) {
        let number = self.next;
        self.next += 1;
        self.bytes += bytes(&value);
        self.order.insert(number, of.clone());
        if let Some(before) = self.states.insert(of, Entry { number, value }) {
            self.order.remove(&before.number);
            self.bytes -= bytes(&before.value);
        }
        while self.bytes > most
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.bytes -= self.states.remove(&oldest).map_or(0, |entry| bytes(&entry.value));
        }
    }
}

/// With what it takes to find it.
fn bytes(value: &[u8]) -> usize {
    value.len() + 2 * size_of::<(Partition, Name)>() + size_of::<Entry>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::keys::Holder;

    fn of(partition: i32, group: u8) -> (Partition, Name) {
        (("spans".into(), partition), Name { sampler: 7, holder: Holder::Group(group) })
    }

    #[test]
    fn what_is_new_is_told_once() {
        let (board, mut next) = (Board::default(), 0);
        let put = |partition, group, value: &str| board.entries().put(of(partition, group), value.into(), 1 << 20);
        let mut new = || {
            let new = board.since(&mut next).into_iter();
            new.map(|of| (of.partition.1, of.name, String::from_utf8(of.value).expect("text"))).collect::<Vec<_>>()
        };
        put(0, 1, "a");
        put(1, 1, "b");
        put(0, 1, "c");
        assert_eq!(new(), [(1, of(1, 1).1, "b".to_owned()), (0, of(0, 1).1, "c".to_owned())]);
        assert_eq!(new(), []);
        put(1, 1, "d");
        assert_eq!(new(), [(1, of(1, 1).1, "d".to_owned())]);
        assert_eq!(board.since(&mut 0).len(), 2, "whoever begins anew hears all of it");
    }

    #[test]
    fn there_is_a_bound() {
        let board = Board::default();
        let most = 3 * bytes(b"abc");
        for group in [1, 2, 3, 1, 4] {
            board.entries().put(of(0, group), b"abc".to_vec(), most);
        }
        let known: Vec<_> = board.since(&mut 0).into_iter().map(|learned| learned.name).collect();
        assert_eq!(known, [of(0, 3).1, of(0, 1).1, of(0, 4).1], "that which was not written for longest goes");
        let entries = board.entries();
        assert_eq!((entries.states.len(), entries.order.len(), entries.bytes), (3, 3, most));
    }
}
