//! Traffic, record by record when its time has come.

use std::{
    collections::HashMap,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tailwater::generate::{Shape, Traffic, keyed};

use super::{
    real::kafka::{Topic, kafka},
    topic,
};

/// Produces in a thread of its own.
pub struct Feed(JoinHandle<Result<Lives, String>>);

/// When traces were sent.
#[derive(Default)]
pub struct Lives {
    /// Milliseconds from the Unix epoch to the begin of the traffic.
    pub epoch: u64,
    traces: HashMap<u128, Life>,
}

/// Milliseconds from the begin of the traffic.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub first: u64,
    pub last: u64,
    pub spans: usize,
}

const SEED: u64 = 7;
/// A record that goes out later than this is no steady traffic any more.
const LATE: u64 = 1_000;

// === impl Feed ===

impl Feed {
    /// Spans per second, keyed, for a while.
    pub fn start(topic: &Topic, rate: f64, length: Duration) -> Self {
        let topic = topic.clone();
        Self(thread::spawn(move || feed(&topic, rate, length)))
    }

    /// # Errors
    /// It could not be produced in time.
    pub fn end(self) -> Result<Lives, String> {
        self.0.join().expect("it does not panic")
    }
}

fn feed(topic: &Topic, rate: f64, length: Duration) -> Result<Lives, String> {
    let producer: BaseProducer = topic::client(&kafka().bootstrap)
        .set("linger.ms", "5")
        .set("partitioner", "murmur2_random")
        .create()
        .expect("a producer");
    let mut lives = Lives { epoch: now(), traces: HashMap::new() };
    // All that belongs to a trace has come before the wait is over: the longest lasts 7.5 s, and its late span comes 1.5 s after.
    let shape = Shape {
        epoch_ns: lives.epoch * 1_000_000,
        spans_per_second: rate,
        slow_ms: 5_200..6_000,
        late_ms: 500..1_500,
        ..Shape::default()
    };
    let end = length.as_millis() as u64;
    for record in keyed(Traffic::new(SEED, shape)).take_while(|record| record.at_ms < end) {
        let at = lives.epoch + record.at_ms;
        while now() < at {
            producer.poll(Duration::from_millis(1));
        }
        if now() > at + LATE {
            return Err("the traffic could not be produced in time".to_owned());
        }
        lives.note(u128::from_be_bytes(record.spans[0].0.0), record.at_ms, record.spans.len());
        let key = record.key.expect("it is keyed");
        let next = BaseRecord::to(&topic.name).payload(&record.value).key(&key[..]).timestamp(at as i64);
        producer.send(next).map_err(|(error, _)| format!("the traffic could not be produced: {error}"))?;
    }
    producer.flush(Duration::from_secs(60)).expect("all of it is acknowledged");
    Ok(lives)
}

/// Milliseconds after the Unix epoch.
pub fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("it is later").as_millis() as u64
}

// === impl Lives ===

impl Lives {
    pub fn of(&self, trace: u128) -> Option<Life> {
        self.traces.get(&trace).copied()
    }

    pub fn all(&self) -> impl Iterator<Item = (u128, Life)> {
        self.traces.iter().map(|(trace, life)| (*trace, *life))
    }

    fn note(&mut self, trace: u128, at: u64, spans: usize) {
        let life = self.traces.entry(trace).or_insert(Life { first: at, last: at, spans: 0 });
        life.last = at;
        life.spans += spans;
    }
}
