//! What samplers of all workers have learned, as they wrote it: one thread of each process follows it for its workers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use rdkafka::{Message, Offset};

use super::{
    Partition,
    follow::{Followed, follow},
};
use crate::{
    config::Config,
    sample::{Learned, Name},
};

/// The last state of each name and partition, in the order they came. Where there is more than `most` bytes, what was written last
/// is known.
pub struct Board {
    entries: Mutex<Entries>,
    most: usize,
}

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

/// What librdkafka may hold of it: the topics are small, and nobody is in a hurry.
const QUEUE_KBYTES: &str = "4096";

// === impl Board ===

impl Board {
    pub fn new(most: usize) -> Self {
        Self { entries: Mutex::default(), most }
    }

    /// Begins to follow the topics of samplers from their start, until `stop`.
    ///
    /// # Errors
    /// As those of [`follow`].
    pub fn follow(config: &Config, most: usize, stop: Arc<AtomicBool>) -> anyhow::Result<Arc<Self>> {
        let followed = Followed {
            name: "board",
            what: "what samplers of other workers learn",
            topics: config.input.topics.iter().map(|topic| config.input.samplers(&topic.name)).collect(),
            from: Offset::Beginning,
            properties: &[
                ("auto.offset.reset", "earliest"),
                ("isolation.level", "read_committed"),
                ("queued.max.messages.kbytes", QUEUE_KBYTES),
            ],
        };
        let inputs: Vec<Arc<str>> = config.input.topics.iter().map(|topic| topic.name.as_str().into()).collect();
        let board = Arc::new(Self::new(most));
        let following = board.clone();
        follow(config, followed, stop, move |topic, record| {
            // What somebody else wrote there is no state of ours.
            if let Some(name) = record.key().and_then(Name::from_bytes) {
                let value = record.payload().unwrap_or_default().to_vec();
                following.put(Learned { partition: (inputs[topic].clone(), record.partition()), name, value });
            }
        })?;
        Ok(board)
    }

    pub fn put(&self, Learned { partition, name, value }: Learned<Partition>) {
        self.entries().put((partition, name), value, self.most);
    }

    /// What came from a number on, which then is that of the next to come.
    pub fn since(&self, number: &mut u64) -> Vec<Learned<Partition>> {
        let entries = &*self.entries();
        let new = entries.order.range(*number..).filter_map(|(_, of)| {
            let (partition, name) = of.clone();
            Some(Learned { partition, name, value: entries.states.get(of)?.value.clone() })
        });
        let new = new.collect();
        *number = entries.next;
        new
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let (board, mut next) = (Board::new(1 << 20), 0);
        let put = |partition, group, value: &str| {
            let (partition, name) = of(partition, group);
            board.put(Learned { partition, name, value: value.into() });
        };
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
        let most = 3 * bytes(b"abc");
        let board = Board::new(most);
        for group in [1, 2, 3, 1, 4] {
            let (partition, name) = of(0, group);
            board.put(Learned { partition, name, value: b"abc".to_vec() });
        }
        let known: Vec<_> = board.since(&mut 0).into_iter().map(|learned| learned.name).collect();
        assert_eq!(known, [of(0, 3).1, of(0, 1).1, of(0, 4).1], "that which was not written for longest goes");
        let entries = board.entries();
        assert_eq!((entries.states.len(), entries.order.len(), entries.bytes), (3, 3, most));
    }
}
