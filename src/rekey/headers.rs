//! What a re-keyed record says beside its value: how far the input is re-keyed, where it was read, and the headers it had there.

use rdkafka::{
    Message,
    message::{Header, OwnedHeaders},
};

use crate::{model::RecordTime, recording::TOPIC, source::record, tick::HeaderList};

const FRONTIER: &str = "tailwater.frontier";

/// Of a record that was read from `topic`. Ours come first, and of two with one key the first counts. The frontier is in
/// milliseconds since the Unix epoch, as text.
pub fn headers(topic: &str, frontier: Option<RecordTime>, had: Option<&HeaderList>) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new().insert(Header { key: TOPIC, value: Some(topic) });
    if let Some(frontier) = frontier {
        headers = headers.insert(Header { key: FRONTIER, value: Some(&frontier.0.to_string()) });
    }
    let had = had.into_iter().flat_map(|had| had.iter());
    had.fold(headers, |headers, (key, value)| headers.insert(Header { key, value: value.as_ref() }))
}

/// What a re-keyed record says; None where nothing was known yet.
pub fn frontier(record: &impl Message) -> Option<RecordTime> {
    let header = record::headers(record).find(|header| header.key == FRONTIER)?;
    str::from_utf8(header.value?).ok()?.parse().ok().map(RecordTime)
}

/// Those of a record that is to be re-keyed.
pub fn list(record: &impl Message) -> HeaderList {
    record::headers(record).map(|Header { key, value }| (key.to_owned(), value.map(<[u8]>::to_vec))).collect()
}
