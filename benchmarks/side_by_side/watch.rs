//! An output as it comes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use super::{
    feed::now,
    kept::{Name, spans_of},
    real::kafka::{Topic, kafka},
    topic,
};

/// Reads in a thread of its own.
pub struct Watch {
    over: Arc<AtomicBool>,
    reading: Option<JoinHandle<Vec<(Name, u64)>>>,
}

/// Nothing has come for so long where all has come: longer than a fetch of the broker waits.
const REST: Duration = Duration::from_millis(500);

// === impl Watch ===

impl Watch {
    pub fn start(output: &Topic) -> Self {
        let (over, output) = (Arc::new(AtomicBool::new(false)), output.clone());
        let reading = thread::spawn({
            let over = over.clone();
            move || read(&output, &over)
        });
        Self { over, reading: Some(reading) }
    }

    /// All spans that came until nothing more did, and when they could be seen: milliseconds after the Unix epoch.
    pub fn end(mut self) -> Vec<(Name, u64)> {
        self.over.store(true, Ordering::Relaxed);
        let reading = self.reading.take().map(JoinHandle::join);
        reading.expect("it ends once").expect("it does not panic")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// As a reader of committed records sees it.
fn read(output: &Topic, over: &AtomicBool) -> Vec<(Name, u64)> {
    let mut client = topic::client(&kafka().bootstrap);
    client.set("group.id", "watch").set("enable.auto.commit", "false").set("fetch.wait.max.ms", "10");
    let consumer: BaseConsumer = client.create().expect("a consumer");
    let mut all = TopicPartitionList::new();
    for partition in 0..output.partitions {
        all.add_partition_offset(&output.name, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&all).expect("partitions to read");
    let mut seen = Vec::new();
    loop {
        let is_over = over.load(Ordering::Relaxed);
        let Some(message) = consumer.poll(REST) else {
            if is_over {
                return seen;
            }
            continue;
        };
        let (message, at) = (message.expect("no error"), now());
        seen.extend(spans_of(message.payload().expect("a value")).map(|name| (name, at)));
    }
}
