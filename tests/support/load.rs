//! Steady traffic that goes on while a test does something else, and can rest.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tailwater::generate::{Shape, Traffic};

use super::{
    kafka::Topic,
    spans::EPOCH,
    traffic::{Records, Traces},
    wait::wait_until,
};

/// Flows at a multiple of the pace of its record time. While it rests, every trace that began is there in full.
pub struct Load {
    state: Arc<AtomicU8>,
    flowing: JoinHandle<()>,
}

/// How traces become records: by the time they begin at, for so many partitions over all topics.
pub type Deal = fn(Traces, i64, i32) -> Records;

/// Seconds of record time in one of the wall.
pub const PACE: u32 = 4;
/// Between two portions.
const STEP: Duration = Duration::from_millis(50);
/// Record time that passes while it rests: more than the test takes over it, so that no record is before its partition's
/// clock, and less than `max_wait`.
pub const REST_MS: i64 = 25_000;

const FLOWS: u8 = 0;
const SETTLES: u8 = 1;
const RESTS: u8 = 2;
const ENDS: u8 = 3;

/// Much to keep, and the slowest trace takes 9.5 s.
pub fn shape() -> Shape {
    Shape { spans_per_second: 700.0, error_share: 0.03, slow_share: 0.03, slow_ms: 5_200..8_000, ..Shape::default() }
}

// === impl Load ===

impl Load {
    /// Its records go to topics with as many partitions each, as if these were one.
    pub fn start(topics: &[&Topic], seed: u64, shape: Shape, deal: Deal) -> Self {
        let each = topics[0].partitions;
        let partitions = each * topics.len() as i32;
        let senders: Vec<_> = topics.iter().map(|topic| topic.sender()).collect();
        let state = Arc::new(AtomicU8::new(FLOWS));
        let flowing = thread::spawn({
            let state = state.clone();
            move || {
                let mut epoch = EPOCH;
                for episode in 0.. {
                    let shape = Shape { epoch_ns: epoch as u64 * 1_000_000, ..shape.clone() };
                    let mut traffic = Traffic::new(seed.wrapping_add(episode), shape);
                    let traces = std::iter::from_fn({
                        let state = state.clone();
                        move || (state.load(Ordering::SeqCst) == FLOWS).then(|| traffic.next()).flatten()
                    });
                    let mut records = deal(Box::new(traces), epoch, partitions).peekable();
                    let (begin, start) = (epoch, Instant::now());
                    while records.peek().is_some() {
                        let now = begin + (start.elapsed() * PACE).as_millis() as i64;
                        let due =
                            || records.next_if(|next| next.timestamp <= now || state.load(Ordering::SeqCst) != FLOWS);
                        let mut portions = vec![Vec::new(); senders.len()];
                        for mut record in std::iter::from_fn(due) {
                            epoch = epoch.max(record.timestamp);
                            let topic = record.partition / each;
                            record.partition %= each;
                            portions[topic as usize].push(record);
                        }
                        senders.iter().zip(portions).for_each(|(sender, portion)| sender.send(portion));
                        thread::sleep(STEP);
                    }
                    epoch += REST_MS;
                    _ = state.compare_exchange(SETTLES, RESTS, Ordering::SeqCst, Ordering::SeqCst);
                    while state.load(Ordering::SeqCst) == RESTS {
                        thread::sleep(STEP);
                    }
                    if state.load(Ordering::SeqCst) == ENDS {
                        return;
                    }
                }
            }
        });
        Self { state, flowing }
    }

    /// When this returns, nothing more comes.
    pub fn rest(&self) {
        self.state.store(SETTLES, Ordering::SeqCst);
        wait_until("the load to rest", Duration::from_secs(60), || {
            assert!(!self.flowing.is_finished(), "the load has ended");
            self.state.load(Ordering::SeqCst) == RESTS
        });
    }

    pub fn resume(&self) {
        self.state.store(FLOWS, Ordering::SeqCst);
    }

    pub fn end(self) {
        self.state.store(ENDS, Ordering::SeqCst);
        self.flowing.join().expect("the broker takes it all");
    }
}
