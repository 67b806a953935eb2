//! What is made durable of a tick beside its output: its decisions and its offsets.

use super::{Parcel, name};
use crate::{
    assemble::Moment,
    decisions,
    model::RecordTime,
    source::{Metadata, Partition},
    tick::{Logged, Tick, Watermark},
};

/// The decisions of a tick, packed for the log of each partition.
pub fn decisions(tick: &Tick, incarnation: u64, limit: usize) -> Vec<(u32, Vec<u8>)> {
    let packed = tick.decisions.chunk_by(|a, b| a.0 == b.0).flat_map(|of| {
        let decisions = of.iter().map(|(_, decision)| *decision);
        let values = decisions::encode(incarnation, tick.number, decisions, &tick.names, limit);
        values.into_iter().map(|value| (of[0].0, value))
    });
    packed.collect()
}

/// What is committed of each partition, when the decisions stand where `logged` says.
pub fn commits<'p>(
    parcel: &'p Parcel,
    logged: &[Logged],
    incarnation: u64,
) -> impl Iterator<Item = (&'p Partition, i64, Metadata)> {
    let last = |watermark: &Watermark| {
        let now = logged.iter().find(|logged| logged.partition == watermark.partition && watermark.settled);
        now.map(|logged| logged.last).or(watermark.last)
    };
    parcel.tick.watermarks.iter().filter_map(move |watermark| {
        let name = name(&parcel.names, watermark.partition)?;
        let clock = watermark.clock.filter(|&clock| clock != RecordTime::END).map(|clock| clock.0);
        let metadata = Metadata {
            incarnation,
            tick: parcel.tick.number,
            position: watermark.position,
            floor: watermark.floor,
            last: last(watermark),
            since: if watermark.since.now == Some(RecordTime::END) { Moment::default() } else { watermark.since },
            clock,
            wall: clock.map(|_| parcel.wall.0),
            began_with: name.began_with,
        };
        Some((&name.partition, watermark.offset, metadata))
    })
}
