//! What rides along with a committed offset (C6).

use std::fmt;

use crate::{
    assemble::{CLOCK_WINDOW, Moment, Stamps},
    model::RecordTime,
};

/// The metadata of an offset commit, as text: `2:incarnation:tick:position:floor:last:since:clock:wall:stamps:began_with`, the
/// incarnation in hex, `-` for what there is none of.
///
/// The committed offset is the watermark W: no record below holds a span of an undecided trace. The rest is what a successor
/// needs to go on from there without deciding anything twice, or otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The worker's life that committed. Another one than one's own means that the partition went to someone else.
    pub incarnation: u64,
    /// Rises by one with every commit of a life, and never repeats. With the incarnation it tells whether a commit of which no
    /// answer came was made: the position may stand still while timers decide traces.
    pub tick: u64,
    /// P: every span below was taken in and, if its trace was decided, handled. Never below the committed offset.
    pub position: i64,
    /// F: the offset in the decision log where the oldest remembered decision is. Remembered is all from there on.
    pub floor: i64,
    /// The offset of the last record of decisions that is committed with this. A successor has restored what was
    /// remembered when it has read that record, and not before: commit markers reach partitions at different times.
    ///
    /// The offset, not the tick of that record: one tick may have several records, and most ticks have none here; only the
    /// offset says exactly which is the last, and whether it is still in the log.
    pub last: Option<i64>,
    /// What the partition's clock was at the committed offset, `since` in milliseconds since the Unix epoch. `stamps` are the
    /// timestamps of the last 15 records below, the oldest first, in milliseconds after `since`, or the Unix epoch where there
    /// is none, with commas between them.
    pub since: Moment,
    /// Its clock at the position, in milliseconds since the Unix epoch.
    pub clock: Option<i64>,
    /// The wall clock at that time, in the same unit: how far its records are behind.
    pub wall: Option<i64>,
    /// How many partitions the topic had when the group began with it: the configured start is for these, and what was added
    /// later is read whole (C4). 0 where that is not known.
    pub began_with: i32,
}

/// A commit that was not ours, or not this version's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error(
        "the committed offset was written by a newer version of Tailwater (metadata of format {0}; this one reads up to 2); \
         run that version"
    )]
    Newer(u32),
    #[error(
        "the committed offset has the metadata {0:?}, which is not Tailwater's: another program commits in this group. Give \
         each a group of its own (`input.group`)"
    )]
    Foreign(String),
}

/// Kafka's default bound on metadata is 4096 bytes. So much of a foreign one is shown.
const SHOWN: usize = 100;

// === impl Metadata ===

impl Metadata {
    /// Where no decisions are remembered: everything from the committed offset on is read and decided.
    pub fn at(position: i64, clock: Option<i64>) -> Self {
        Self { position, clock, ..Self::default() }
    }

    /// The first offset in the decision log that is read back; None where nothing is remembered.
    pub fn needs_from(&self) -> Option<i64> {
        self.last.filter(|&last| last >= self.floor).map(|_| self.floor)
    }

    /// Reads the metadata of a committed offset. None at all, as after an administrator moved the offsets, and format 0
    /// (`0:clock`) mean that no decisions are remembered. Format 1 does not know what the group began with.
    ///
    /// # Errors
    /// A newer version or another program committed.
    pub fn parse(text: &str, committed: i64) -> Result<Self, Unknown> {
        if text.is_empty() {
            return Ok(Self::at(committed, None));
        }
        let foreign = || Unknown::Foreign(text.chars().take(SHOWN).collect());
        let (format, rest) = text.split_once(':').ok_or_else(foreign)?;
        let parsed = match format.parse().map_err(|_| foreign())? {
            0 if rest.is_empty() => Some(Self::at(committed, None)),
            0 => rest.parse().ok().map(|clock| Self::at(committed, Some(clock))),
            1 => Self::parse_fields(&format!("{rest}:0")),
            2 => Self::parse_fields(rest),
            newer => return Err(Unknown::Newer(newer)),
        };
        parsed.ok_or_else(foreign)
    }

    fn parse_fields(text: &str) -> Option<Self> {
        let mut fields = text.split(':');
        let metadata = Self {
            incarnation: u64::from_str_radix(fields.next()?, 16).ok()?,
            tick: fields.next()?.parse().ok()?,
            position: fields.next()?.parse().ok()?,
            floor: fields.next()?.parse().ok()?,
            last: optional(fields.next()?)?,
            since: Moment { now: optional(fields.next()?)?.map(RecordTime), stamps: Stamps::default() },
            clock: optional(fields.next()?)?,
            wall: optional(fields.next()?)?,
            began_with: 0,
        };
        let stamps = stamps(fields.next()?, metadata.since.now)?;
        let since = Moment { stamps, ..metadata.since };
        let metadata = Self { since, began_with: fields.next()?.parse().ok()?, ..metadata };
        fields.next().is_none().then_some(metadata)
    }
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { incarnation, tick, position, floor, last, since, clock, wall, began_with } = self;
        let Moment { now: since, stamps } = since;
        write!(f, "2:{incarnation:x}:{tick}:{position}:{floor}")?;
        [last, &since.map(|since| since.0), clock, wall].into_iter().try_for_each(|field| match field {
            Some(number) => write!(f, ":{number}"),
            None => write!(f, ":-"),
        })?;
        let since = since.map_or(0, |since| since.0);
        match stamps.as_slice() {
            [] => write!(f, ":-")?,
            [first, rest @ ..] => {
                write!(f, ":{}", first.wrapping_sub(since))?;
                rest.iter().try_for_each(|stamp| write!(f, ",{}", stamp.wrapping_sub(since)))?;
            }
        }
        write!(f, ":{began_with}")
    }
}

/// None where it is no number, Some(None) where there is none.
fn optional(text: &str) -> Option<Option<i64>> {
    match text {
        "-" => Some(None),
        text => text.parse().ok().map(Some),
    }
}

/// None where they are no numbers, or too many.
fn stamps(text: &str, since: Option<RecordTime>) -> Option<Stamps> {
    if text == "-" {
        return Some(Stamps::default());
    }
    let since = since.map_or(0, |since| since.0);
    let stamps = text.split(',').map(|stamp| stamp.parse().ok().map(|stamp: i64| stamp.wrapping_add(since)));
    (text.split(',').count() <= CLOCK_WINDOW).then(|| stamps.collect()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    #[test]
    fn the_text_is_fixed() {
        let metadata = Metadata {
            incarnation: 0xbeef,
            tick: 7,
            position: 200,
            floor: 12,
            last: Some(40),
            since: Moment { now: Some(RecordTime(-9)), stamps: [-20, -10, -9, 3_599_991].into_iter().collect() },
            clock: Some(-5),
            wall: Some(9),
            began_with: 3,
        };
        assert_eq!(metadata.to_string(), "2:beef:7:200:12:40:-9:-5:9:-11,-1,0,3600000:3");
        let before = Metadata::parse("1:beef:7:200:12:40:-9:-5:9:-11,-1,0,3600000", 9);
        assert_eq!(before, Ok(Metadata { began_with: 0, ..metadata }));
        let without = Metadata { since: Moment { stamps: Stamps::default(), ..metadata.since }, ..metadata };
        assert_eq!(without.to_string(), "2:beef:7:200:12:40:-9:-5:9:-:3");
        assert_eq!(Metadata::at(3, None).to_string(), "2:0:0:3:0:-:-:-:-:-:0");
    }

    #[test]
    fn before_there_was_a_decision_log() {
        assert_eq!(Metadata::parse("", 9), Ok(Metadata::at(9, None)));
        assert_eq!(Metadata::parse("0:", 9), Ok(Metadata::at(9, None)));
        assert_eq!(Metadata::parse("0:1700000000000", 9), Ok(Metadata::at(9, Some(1_700_000_000_000))));
    }

    #[test]
    fn a_newer_format_is_named() {
        let error = Metadata::parse("3:whatever", 9).expect_err("newer");
        assert_eq!(
            error.to_string(),
            "the committed offset was written by a newer version of Tailwater (metadata of format 3; this one reads up \
             to 2); run that version"
        );
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let wrong = [
            "x",
            "-1:",
            "0:x",
            "0:1:2",
            "1:",
            "1:0:0:3:0:-:-:-:-",
            "1:0:0:3:0:-:-:-:-:-:-",
            "1:g:0:3:0:-:-:-:-:-",
            "1:0:-1:3:0:-:-:-:-:-",
            "1:0:0:-:0:-:-:-:-:-",
            "1:0:0:3:0:-:7:-:-:0,",
            "1:0:0:3:0:-:7:-:-:0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0",
            "1:0:0:3:0:-:7:-:-:",
            "1:0:0:3:0:-:::",
            "2:0:0:3:0:-:-:-:-:-",
            "2:0:0:3:0:-:-:-:-:-:-",
            "2:0:0:3:0:-:-:-:-:-:1:1",
            "connect-7",
            "99999999999:",
        ];
        for text in wrong {
            assert_eq!(Metadata::parse(text, 9), Err(Unknown::Foreign(text.into())), "{text}");
        }
        let Err(Unknown::Foreign(shown)) = Metadata::parse(&"ü".repeat(4096), 9) else { panic!("not ours") };
        assert_eq!(shown.chars().count(), SHOWN);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            incarnation: u64, tick: u64, position: i64, floor: i64, last in option::of(any::<i64>()), since in option::of(any::<i64>()), stamps in vec(any::<i64>(), 0..=CLOCK_WINDOW), clock in option::of(any::<i64>()), wall in option::of(any::<i64>()), began_with: i32,
        ) {
            let since = Moment { now: since.map(RecordTime), stamps: stamps.into_iter().collect() };
            let metadata = Metadata { incarnation, tick, position, floor, last, since, clock, wall, began_with };
            prop_assert_eq!(Metadata::parse(&metadata.to_string(), 9), Ok(metadata));
        }

        #[test]
        fn nothing_panics(text in "[0-3]?:?([0-9a-f-]{0,20}:){0,9}\\PC{0,9}") {
            _ = Metadata::parse(&text, 9);
        }
    }
}
