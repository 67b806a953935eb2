//! Is a topic keyed by trace id? A look at some of its records tells.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use super::{Topics, client, refusal::Trouble};
use crate::{assemble::Keying, config::Config, decode::Decoder, model::TraceId};

/// What the look showed, in words for the log.
pub struct Look {
    pub keying: Keying,
    pub because: String,
    /// Some record told. Otherwise the worse is assumed.
    pub conclusive: bool,
}

/// The last records of so many partitions are looked at, so many of each: enough to meet every kind of producer that
/// matters, few enough to cost nothing.
const PARTITIONS: i32 = 16;
const RECORDS: i64 = 16;
/// The look ends without the records that have not come by then.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at the input. Several topics count as unkeyed (C9).
pub fn look(config: &Config, topics: &Topics) -> KafkaResult<Look> {
    let [input] = &config.input.topics[..] else {
        return Ok(unkeyed("several input topics may share traces"));
    };
    let mut assignment = TopicPartitionList::new();
    let mut expected = 0;
    for partition in 0..topics.partitions(&input.name).unwrap_or(0).min(PARTITIONS) {
        let (low, high) = topics.watermarks(&input.name, partition, PATIENCE)?;
        if high > low {
            let from = low.max(high - RECORDS);
            assignment.add_partition_offset(&input.name, partition, Offset::Offset(from))?;
            expected += high - from;
        }
    }
    if expected == 0 {
        return Ok(unkeyed("the topic is empty"));
    }
    // A group's name is needed to consume, and the user may know no other; the group is not joined.
    let consumer: BaseConsumer<Trouble> = client(config)
        .set("group.id", &config.input.group)
        .set("enable.auto.commit", "false")
        .create_with_context(Trouble::default())?;
    consumer.assign(&assignment)?;
    let mut decoder = Decoder::default();
    let (mut seen, mut failed, begun) = (0, None, Instant::now());
    while seen < expected && begun.elapsed() < PATIENCE {
        let record = match consumer.poll(Duration::from_millis(100)) {
            None => continue,
            Some(Ok(record)) => record,
            // Of some broker, not of the topic.
            Some(Err(error)) => {
                failed = Some(error);
                continue;
            }
        };
        seen += 1;
        let Ok((_, batch)) = decoder.read(record.payload().unwrap_or_default()) else { continue };
        let traces = batch.spans.iter().map(|span| span.trace_id).collect::<HashSet<_>>();
        let key = record.key().unwrap_or_default();
        let by_trace = |id: &[u8; 16]| key == id || TraceId::from_hex(key) == Some(TraceId(*id));
        if traces.len() > 1 {
            return Ok(Look { conclusive: true, ..unkeyed("a record holds several traces") });
        }
        if !traces.iter().all(by_trace) {
            return Ok(Look { conclusive: true, ..unkeyed("a record's key is not its trace id") });
        }
    }
    match (seen, failed) {
        (0, Some(error)) => Err(error),
        (0, None) => Ok(unkeyed("no record came in time to be looked at")),
        _ => {
            let because = format!("the keys of {seen} records are their trace ids");
            Ok(Look { keying: Keying::Keyed, because, conclusive: true })
        }
    }
}

fn unkeyed(because: &str) -> Look {
    Look { keying: Keying::Unkeyed, because: because.to_owned(), conclusive: false }
}
