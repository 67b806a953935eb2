//! Records of whose attributes nothing is asked.

use super::{Batch, Keys, decode, json, json::NotJson, wire::Malformed};

/// Reads one record after the other.
#[derive(Debug)]
pub struct Decoder {
    batch: Batch,
    nothing_wanted: Keys,
    protobuf: Vec<u8>,
}

/// Why a record cannot be taken in. The texts go to people, in the dead letters.
#[derive(Debug, thiserror::Error)]
pub enum NotOtlp {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    NotJson(#[from] NotJson),
}

// === impl Decoder ===

impl Decoder {
    /// The record as protobuf, and what stands in it.
    ///
    /// # Errors
    /// It is neither OTLP protobuf nor OTLP/JSON.
    pub fn read<'a>(&'a mut self, record: &'a [u8]) -> Result<(&'a [u8], &'a Batch), NotOtlp> {
        let payload = json::protobuf(record, &mut self.protobuf)?;
        decode(payload, &self.nothing_wanted, &mut self.batch)?;
        Ok((payload, &self.batch))
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.batch.bytes() + self.protobuf.capacity()
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self { batch: Batch::default(), nothing_wanted: Keys::new([]), protobuf: Vec::new() }
    }
}
