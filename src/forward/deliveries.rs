//! What came of records that were sent.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use rdkafka::{
    ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Message},
    producer::ProducerContext,
};

/// Noted while the producer is polled; a record is known by its number.
#[derive(Default)]
pub struct Deliveries {
    acknowledged: AtomicUsize,
    failed: Mutex<Vec<(usize, RDKafkaErrorCode)>>,
    /// Offsets of all that were acknowledged.
    offsets: Mutex<Vec<(usize, i64)>>,
}

// === impl Deliveries ===

impl Deliveries {
    pub fn clear(&self) {
        self.acknowledged.store(0, Ordering::Relaxed);
        lock(&self.failed).clear();
        lock(&self.offsets).clear();
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub fn take_failed(&self) -> Vec<(usize, RDKafkaErrorCode)> {
        std::mem::take(&mut lock(&self.failed))
    }

    /// Where those that were acknowledged stand; below 0 where a retry was one that the broker knew already.
    pub fn offsets(&self) -> MutexGuard<'_, Vec<(usize, i64)>> {
        lock(&self.offsets)
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        match result {
            Ok(message) => {
                lock(&self.offsets).push((number, message.offset()));
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                lock(&self.failed).push((number, code));
            }
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
