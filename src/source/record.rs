//! A message of librdkafka's as the rest of us knows records.

use rdkafka::{
    Message,
    message::{Header, Headers as _},
};

use crate::{
    decode::Headers,
    recording::{self, Record, TOPIC},
};

/// Its topic and headers, which are looked at where they are.
pub struct Beside<'m, M>(pub &'m M);

/// All of it, copied.
pub fn owned(message: &impl Message) -> Record {
    Record {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        headers: headers(message).map(|Header { key, value }| header(key, value)).collect(),
        value: message.payload().map(<[u8]>::to_vec),
    }
}

/// In their order.
pub fn headers(message: &impl Message) -> impl Iterator<Item = Header<'_, &[u8]>> {
    message.headers().into_iter().flat_map(|headers| headers.iter())
}

fn header(key: &str, value: Option<&[u8]>) -> recording::Header {
    recording::Header { key: key.to_owned(), value: value.map(<[u8]>::to_vec) }
}

// === impl Beside ===

impl<M: Message> Headers for Beside<'_, M> {
    fn topic(&self) -> Option<&[u8]> {
        Some(self.header(TOPIC).unwrap_or(self.0.topic().as_bytes()))
    }

    fn header(&self, key: &str) -> Option<&[u8]> {
        headers(self.0).find(|header| header.key == key)?.value
    }
}
