//! What is made durable of a tick beside its output: its decisions and its offsets.

use super::{Parcel, name};
use crate::{
    assemble::Moment,
    decisions,
    model::RecordTime,
    mutant::{self, Mutant},
    source::{Committed, Metadata, Partition},
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

/// Whether a transaction was committed, by what the group has of its partitions: what was to be committed or what was before. One
/// of them tells of all. None where all of it is something else, which others have committed since.
pub fn is_committed(
    new: &[(&Partition, i64, Metadata)],
    standing: &[(Partition, i64, Metadata)],
    committed: &[(Partition, Committed)],
) -> Option<bool> {
    new.iter().find_map(|&(partition, offset, metadata)| {
        let (_, now) = committed.iter().find(|(of, _)| of == partition)?;
        let before = standing.iter().find(|(of, ..)| of == partition).map(|&(_, offset, metadata)| (offset, metadata));
        match *now {
            Some((_, now)) if mutant::is(Mutant::PositionIsWitness) => Some(now.position == metadata.position),
            Some(now) if now == (offset, metadata) => Some(true),
            now if now.is_none() || now == before => Some(false),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_group_has_tells_whether_a_transaction_was_committed() {
        let [first, second]: [Partition; 2] = [("spans".into(), 0), ("spans".into(), 1)];
        // Neither its offset nor its position has moved: timers decided.
        let of = |incarnation, tick| Metadata { incarnation, tick, ..Metadata::at(10, None) };
        let (before, ours, theirs) = (of(1, 8), of(1, 9), of(2, 1));
        let new = [(&first, 10, ours), (&second, 10, ours)];
        let standing = [(first.clone(), 10, before), (second.clone(), 10, before)];
        let committed = |committed: &[(&Partition, Committed)]| {
            let committed = committed.iter().map(|(partition, of)| ((*partition).clone(), *of)).collect::<Vec<_>>();
            is_committed(&new, &standing, &committed)
        };
        assert_eq!(committed(&[(&first, Some((10, ours))), (&second, Some((10, ours)))]), Some(true));
        assert_eq!(committed(&[(&first, Some((10, before))), (&second, Some((10, before)))]), Some(false));
        assert_eq!(committed(&[(&first, None), (&second, None)]), Some(false), "the group has nothing yet");
        // One of them is another's by now.
        assert_eq!(committed(&[(&first, Some((10, theirs))), (&second, Some((10, ours)))]), Some(true));
        assert_eq!(committed(&[(&first, Some((10, theirs))), (&second, Some((10, before)))]), Some(false));
        assert_eq!(committed(&[(&first, Some((10, theirs))), (&second, Some((10, theirs)))]), None);
        assert_eq!(committed(&[]), None, "another program has");
    }
}
