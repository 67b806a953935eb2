//! A tick whose transaction was aborted: the same content is sent again before anything newer (C3).

use std::time::{Duration, Instant};

use anyhow::bail;
use rdkafka::error::KafkaError;

use super::Parcel;

#[derive(Default)]
pub struct Retry {
    parcel: Option<Parcel>,
    /// In a row, and the last.
    aborts: u32,
    aborted: Option<Instant>,
}

/// In a row, for the same content. A rebalance aborts one or two.
const ABORTS: u32 = 10;
/// Between two. A member that the group has put out hears of it with its next heartbeat, after 3 s by default; until then each is
/// refused.
const AGAIN: Duration = Duration::from_secs(1);
/// librdkafka has calls that ignore their timeout and may wait for ever; brokers that answer do so in a fraction of this.
const HANGS: Duration = Duration::from_secs(60);

/// Watches a transaction that has been `committing` for so long (C20).
///
/// # Errors
/// It is not over, though brokers answer.
pub fn watch(committing: Option<Duration>, brokers_answer: bool) -> anyhow::Result<()> {
    if committing.is_some_and(|since| since > HANGS) && brokers_answer {
        bail!(
            "a transaction has not come to its end for {} s though brokers answer; whether it did is known at the next start",
            HANGS.as_secs()
        );
    }
    Ok(())
}

// === impl Retry ===

impl Retry {
    /// Takes note that it was aborted.
    ///
    /// # Errors
    /// So often that another try is pointless.
    pub fn abort(&mut self, error: &KafkaError, now: Instant) -> anyhow::Result<()> {
        self.aborts += 1;
        if self.aborts > ABORTS {
            bail!("{ABORTS} transactions in a row were aborted, the last because: {error}");
        }
        tracing::warn!(%error, "a transaction was aborted; its content is sent again");
        self.aborted = Some(now);
        Ok(())
    }

    pub fn keep(&mut self, parcel: Parcel) {
        self.parcel = Some(parcel);
    }

    /// A tick is out.
    pub fn reset(&mut self) {
        (self.aborts, self.aborted) = (0, None);
    }

    /// Whether it is too early to send anything.
    pub fn is_early(&self, now: Instant) -> bool {
        self.aborted.is_some_and(|aborted| now.duration_since(aborted) < AGAIN)
    }

    pub fn is_empty(&self) -> bool {
        self.parcel.is_none()
    }

    pub fn parcel(&mut self) -> Option<&mut Parcel> {
        self.parcel.as_mut()
    }

    pub fn take(&mut self) -> Option<Parcel> {
        self.parcel.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_hangs_where_brokers_answer() {
        let longer = HANGS + Duration::from_millis(1);
        assert!(watch(Some(longer), true).unwrap_err().to_string().contains("for 60 s"));
        for (committing, brokers_answer) in [(Some(longer), false), (Some(HANGS), true), (None, true)] {
            assert!(watch(committing, brokers_answer).is_ok(), "{committing:?}, {brokers_answer}");
        }
    }
}
