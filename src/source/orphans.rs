//! Partitions that a group gave to nobody.
//!
//! A cooperative group moves a partition in two steps: who has it is told to give it back, and joins again to say that it did
//! (KIP-429). A static member that dies in between comes back to what it was told to keep, and the group sees no reason to hand
//! anything out (KIP-345): all is at rest, and nobody reads the partition until the next member comes or goes. So who comes back
//! looks.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use super::{Partition, client};
use crate::config::Config;

/// Whether there are any that nobody has adopted yet.
pub struct Orphans(Arc<AtomicBool>);

/// Who has what in a group at rest.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    members: BTreeMap<String, Vec<u8>>,
    orphans: Vec<Partition>,
}

/// Between two looks: more than a member takes to give back what it was told to.
const PAUSE: Duration = Duration::from_secs(6);
const REQUEST: Duration = Duration::from_secs(5);

// === impl Orphans ===

impl Orphans {
    /// Begins to look, until every partition is somebody's, or nobody asks any more.
    ///
    /// # Errors
    /// A property librdkafka does not know or refuses; no thread to be had.
    pub fn watch(config: &Config) -> anyhow::Result<Self> {
        let found = Arc::new(AtomicBool::new(false));
        let consumer: BaseConsumer = client(config).set("group.id", &config.input.group).create()?;
        let group = config.input.group.clone();
        let topics: Vec<Arc<str>> = config.input.topics.iter().map(|topic| topic.name.as_str().into()).collect();
        let watching = Arc::downgrade(&found);
        thread::Builder::new().name("orphans".into()).spawn(move || watch(&consumer, &group, &topics, &watching))?;
        Ok(Self(found))
    }

    /// True once for each time that some were found. Who is told takes care of them.
    pub fn are_found(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

fn watch(consumer: &BaseConsumer, group: &str, topics: &[Arc<str>], found: &Weak<AtomicBool>) {
    let mut before = None;
    loop {
        thread::sleep(PAUSE);
        if found.strong_count() == 0 {
            return;
        }
        let look = look(consumer, group, topics).unwrap_or_else(|error| {
            tracing::debug!(%error, "who has which partition is not to be had; asking again");
            None
        });
        // Seen once, a member may be about to give it back.
        let is_at_rest = look.is_some() && look == before;
        match &look {
            Some(Look { orphans, .. }) if orphans.is_empty() => return,
            Some(Look { orphans, .. }) if is_at_rest => {
                let (topic, partition) = &orphans[0];
                tracing::warn!(
                    group,
                    "{} partitions were given to nobody, {topic}/{partition} first: a member came back amid a move. Joining anew, \
                     so that the group hands them out",
                    orphans.len(),
                );
                if let Some(found) = found.upgrade() {
                    found.store(true, Ordering::Relaxed);
                }
                before = None;
            }
            _ => before = look,
        }
    }
}

/// None where the group is not at rest, or a member does not say what it has.
fn look(consumer: &BaseConsumer, group: &str, topics: &[Arc<str>]) -> KafkaResult<Option<Look>> {
    let list = consumer.fetch_group_list(Some(group), REQUEST)?;
    let Some(group) = list.groups().iter().find(|group| group.state() == "Stable") else { return Ok(None) };
    let mut members = BTreeMap::new();
    let mut owned = Vec::new();
    for member in group.members() {
        let assignment = member.assignment().unwrap_or_default();
        let Some(partitions) = partitions(assignment) else { return Ok(None) };
        owned.extend(partitions);
        members.insert(member.id().to_owned(), assignment.to_vec());
    }
    let mut orphans = Vec::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), REQUEST)?;
        let all = metadata.topics().iter().flat_map(|of| of.partitions()).map(|of| (topic.clone(), of.id()));
        orphans.extend(all.filter(|of| !owned.contains(of)));
    }
    Ok(Some(Look { members, orphans }))
}

/// What is in an assignment: a version, and topics with their partitions (Kafka's `ConsumerProtocolAssignment.json`).
fn partitions(mut assignment: &[u8]) -> Option<Vec<Partition>> {
    let mut partitions = Vec::new();
    // Nothing at all is an assignment of nothing.
    if assignment.is_empty() {
        return Some(partitions);
    }
    let _version = i16::from_be_bytes(*take(&mut assignment)?);
    let topics = i32::from_be_bytes(*take(&mut assignment)?);
    for _ in 0..topics {
        let length = u16::from_be_bytes(*take(&mut assignment)?);
        let topic: Arc<str> = std::str::from_utf8(assignment.split_off(..usize::from(length))?).ok()?.into();
        for _ in 0..i32::from_be_bytes(*take(&mut assignment)?) {
            partitions.push((topic.clone(), i32::from_be_bytes(*take(&mut assignment)?)));
        }
    }
    Some(partitions)
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read() {
        let two = b"\0\x03\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x05\0\x02bc\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff";
        assert_eq!(partitions(two), Some(vec![("a".into(), 0), ("a".into(), 5), ("bc".into(), 1)]));
        assert_eq!(partitions(b""), Some(vec![]));
        assert_eq!(partitions(b"\0\0\0\0\0\0\0\0\0\0"), Some(vec![]));
    }

    #[test]
    fn what_is_no_assignment_says_nothing() {
        assert_eq!(partitions(b"\0\0\0\0"), None);
        assert_eq!(partitions(b"\0\0\x7f\xff\xff\xff\0\x01a\x7f\xff\xff\xff\0\0\0\0"), None);
        assert_eq!(partitions(b"\0\0\0\0\0\x01\xff\xffa"), None);
        assert_eq!(partitions(b"\0\0\0\0\0\x01\0\x01\xff\0\0\0\0"), None);
    }
}
