//! Traffic that comes in while a test does something else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::kafka::{Record, Topic};

/// Flows until it is ended, one portion after the other; the broker's answers set the pace.
pub struct Stream {
    ending: Arc<AtomicBool>,
    flowing: JoinHandle<i64>,
}

// === impl Stream ===

impl Stream {
    /// The first portion is there when this returns.
    pub fn start(topic: &Topic, portion: usize, mut records: impl Iterator<Item = Record> + Send + 'static) -> Self {
        let sender = topic.sender();
        let mut send = move || {
            let mut last = 0;
            sender.send(records.by_ref().take(portion).inspect(|record| last = record.timestamp));
            last
        };
        let mut last = send();
        let ending = Arc::new(AtomicBool::new(false));
        let flowing = thread::spawn({
            let ending = ending.clone();
            move || {
                while !ending.load(Ordering::SeqCst) {
                    last = send();
                }
                last
            }
        });
        Self { ending, flowing }
    }

    /// When all that was sent is acknowledged; the time of the last record.
    pub fn end(self) -> i64 {
        self.ending.store(true, Ordering::SeqCst);
        self.flowing.join().expect("the broker takes it all")
    }
}
