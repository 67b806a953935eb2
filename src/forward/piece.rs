//! The records that a tick is sent as.

use rdkafka::{
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord},
};

use super::{Parcel, contents, deliveries::Deliveries};
use crate::{
    config::Input,
    rekey,
    sample::Learned,
    source::Partition,
    tick::{Dead, Tick},
};

/// A record on its way.
pub enum Piece {
    /// In `Tick::kept`.
    Kept(usize),
    /// In `Tick::dead`.
    Dead(usize),
    /// Decisions of a partition.
    Decisions { partition: u32, value: Vec<u8> },
    /// In `Tick::states`.
    State(usize),
}

/// Where kept traces go.
pub struct Route {
    pub topic: String,
    /// How many of it there are, where each trace has one of its own; else the producer chooses by the key.
    pub partitions: Option<i32>,
    /// The largest record it takes, in bytes.
    pub record_bytes: usize,
}

/// A record's key, headers and framing beside its value.
pub const FRAMING: usize = 512;
/// A partition that is in no tick of ours.
const UNNAMED: KafkaError = KafkaError::MessageProduction(RDKafkaErrorCode::UnknownPartition);

// === impl Piece ===

impl Piece {
    /// The decisions of a tick, in records of at most `limit` bytes.
    pub fn decisions(tick: &Tick, incarnation: u64, limit: usize) -> impl Iterator<Item = Self> + use<> {
        let packed = contents::decisions(tick, incarnation, limit);
        packed.into_iter().map(|(partition, value)| Self::Decisions { partition, value })
    }

    /// All else that is in a tick.
    pub fn output(tick: &Tick) -> impl Iterator<Item = Self> + use<> {
        // What was refused as too large is among the dead.
        let kept = tick.kept.iter().enumerate().filter(|(_, kept)| kept.spans > 0).map(|(at, _)| Self::Kept(at));
        let dead = (0..tick.dead.len()).map(Self::Dead);
        // After the decisions: what was learned and not decided would be learned again.
        let states = (0..tick.states.len()).map(Self::State);
        kept.chain(dead).chain(states).collect::<Vec<_>>().into_iter()
    }

    /// Hands it to a producer, which knows it by its number.
    pub fn send(
        &self,
        number: usize,
        parcel: &Parcel,
        (route, input): (&Route, &Input),
        producer: &BaseProducer<Deliveries>,
    ) -> KafkaResult<()> {
        let tick = &parcel.tick;
        match self {
            Self::Kept(kept) => {
                let kept = &tick.kept[*kept];
                let key = kept.trace.hex();
                let payload = &tick.bytes[kept.bytes.clone()];
                let mut record = BaseRecord::with_opaque_to(&route.topic, number).key(&key[..]).payload(payload);
                record.partition = route.partitions.map(|count| rekey::partition(kept.trace, count));
                record.timestamp = kept.timestamp.map(|timestamp| timestamp.0);
                if route.partitions.is_some()
                    && let Some((topic, _)) = parcel.name(kept.partition)
                {
                    record.headers = Some(rekey::headers(topic, tick.frontier, kept.headers.as_ref()));
                }
                producer.send(record).map_err(|(error, _)| error)
            }
            Self::Dead(dead) => {
                let dead = &tick.dead[*dead];
                let topic = input.dead_letters();
                let record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&topic, number)
                    .headers(headers(dead, parcel.name(dead.partition)))
                    .payload(&tick.bytes[dead.bytes.clone()]);
                producer.send(record).map_err(|(error, _)| error)
            }
            Self::Decisions { partition, value } => {
                let (topic, partition) = parcel.name(*partition).ok_or(UNNAMED)?;
                let topic = input.decisions(topic);
                let record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&topic, number)
                    .partition(*partition)
                    .payload(value);
                producer.send(record).map_err(|(error, _)| error)
            }
            Self::State(state) => {
                let Learned { partition, name, value } = &tick.states[*state];
                let (topic, partition) = parcel.name(*partition).ok_or(UNNAMED)?;
                let (topic, key) = (input.samplers(topic), name.to_bytes());
                let record = BaseRecord::with_opaque_to(&topic, number).partition(*partition).key(&key).payload(value);
                producer.send(record).map_err(|(error, _)| error)
            }
        }
    }

    /// It was not delivered. What the broker will never take becomes a pointer in the dead letters; all else is sent again as it is.
    pub fn undelivered(&mut self, tick: &mut Tick, topic: &str, code: RDKafkaErrorCode) {
        match self {
            Self::Kept(kept) if is_too_large(code) => {
                let refused = &mut tick.kept[*kept];
                let (trace, len) = (refused.trace, refused.bytes.len());
                let spans = std::mem::take(&mut refused.spans);
                let reason = format!("`{topic}` refused {len} bytes of trace {trace} as too large");
                tracing::error!("{reason}; see its `max.message.bytes`");
                let (partition, offset) = (refused.partition, refused.offset);
                *self = Self::Dead(tick.dead.len());
                tick.bury(Dead { partition, offset, spans, reason: reason.into(), bytes: 0..0 });
            }
            Self::Dead(dead) if is_too_large(code) => tick.dead[*dead].bytes = 0..0,
            _ => tracing::warn!(%code, "a record was not delivered and is sent again"),
        }
    }
}

pub fn is_too_large(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
}

/// Where a dead letter came from, and why.
fn headers(dead: &Dead, name: Option<&Partition>) -> OwnedHeaders {
    let (topic, partition) = name.map_or(("", -1), |(topic, partition)| (&**topic, *partition));
    [
        ("tailwater.topic", topic),
        ("tailwater.partition", &partition.to_string()),
        ("tailwater.offset", &dead.offset.to_string()),
        ("tailwater.reason", &dead.reason),
    ]
    .into_iter()
    .fold(OwnedHeaders::new_with_capacity(4), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}
