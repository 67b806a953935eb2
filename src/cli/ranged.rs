//! A range of topics or of a recording, as a command is given it.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{bail, ensure};
use jiff::Timestamp;

use super::progress::Progress;
use crate::{
    config::Kafka,
    recording::{Reader, Record},
    source::{self, Offsets, Place, Range, WantedRange},
    units,
};

#[derive(clap::Args)]
pub struct Ranged {
    /// Where to begin: earliest, latest, a time such as 2026-12-24T18:00:00Z, or -1h for an hour ago; in a recording, before
    /// its latest record. Times are those of the records
    #[arg(long, value_name = "PLACE", default_value = "earliest", allow_hyphen_values = true, value_parser = named)]
    from: Named,

    /// Where to end, in the same words
    #[arg(long, value_name = "PLACE", default_value = "latest", allow_hyphen_values = true, value_parser = named)]
    to: Named,

    /// Only these partitions, from one offset to another, which is not included: 0:100-200,3:0-50
    #[arg(long, value_name = "PARTITION:FROM-TO,…", value_delimiter = ',', value_parser = offsets)]
    offsets: Vec<(i32, Offsets)>,
}

/// A place as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Place(Place),
    /// So long before now, or before the end of a recording.
    Ago(Duration),
}

/// Tells which records of a recording are in a range.
struct Cut {
    wanted: WantedRange,
    /// Of each partition of a topic, whether its records are at or behind the beginning, and the end.
    reached: HashMap<(String, i32), [bool; 2]>,
}

const SEVERAL: &str = "--offsets is about one topic, and there are several; `tailwater record --topic` copies one";

/// Reads a range to its end, and shows how far it is.
///
/// # Errors
/// The brokers refuse or do not answer, or a record is not taken.
pub fn each(
    kafka: &Kafka,
    wanted: &WantedRange,
    what: &str,
    mut take: impl FnMut(Record) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut range = Range::open(source::client_of(kafka), wanted)?;
    let mut progress = Progress::new(what);
    while let Some(record) = range.read()? {
        take(record)?;
        progress.at(range.done(), range.total());
    }
    Ok(())
}

/// Reads the same range of a recording.
///
/// # Errors
/// It cannot be read, offsets are those of several topics, or a record is not taken.
pub fn recorded(path: &Path, range: &Ranged, mut take: impl FnMut(Record) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut cut = Cut { wanted: range.wanted(Vec::new(), Some(path))?, reached: HashMap::new() };
    for record in Reader::open(path)? {
        let record = record?;
        if cut.holds(&record)? {
            take(record)?;
        }
    }
    Ok(())
}

// === impl Ranged ===

impl Ranged {
    /// # Errors
    /// Offsets of several topics: nobody knows which is meant.
    pub fn of(&self, topics: Vec<String>) -> anyhow::Result<WantedRange> {
        if !self.offsets.is_empty() && topics.len() > 1 {
            bail!(SEVERAL);
        }
        self.wanted(topics, None)
    }

    /// To the end of other topics, in which what belongs to the range, of topics or of a recording, stands later.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub fn and_later(&self, topics: Vec<String>, recording: Option<&Path>) -> anyhow::Result<WantedRange> {
        Ok(WantedRange { to: Place::Latest, offsets: Default::default(), ..self.wanted(topics, recording)? })
    }

    fn wanted(&self, topics: Vec<String>, recording: Option<&Path>) -> anyhow::Result<WantedRange> {
        let ages = [self.from, self.to].iter().any(|place| matches!(place, Named::Ago(_)));
        // Asked only where it is needed: a recording is read for it.
        let end = match (ages, recording) {
            (true, Some(recording)) => latest(recording)?,
            (true, None) => i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?,
            (false, _) => 0,
        };
        let offsets = self.offsets.iter().cloned().collect();
        Ok(WantedRange { topics, from: self.from.before(end), to: self.to.before(end), offsets })
    }
}

// === impl Named ===

impl Named {
    fn before(self, end: i64) -> Place {
        match self {
            Named::Place(place) => place,
            Named::Ago(ago) => Place::At(end.saturating_sub_unsigned(ago.as_millis() as u64)),
        }
    }
}

// === impl Cut ===

impl Cut {
    /// Those of a partition are asked about in their order.
    fn holds(&mut self, record: &Record) -> anyhow::Result<bool> {
        let Self { wanted, reached } = self;
        let Record { topic, partition, offset, timestamp, .. } = record;
        if !wanted.offsets.is_empty() {
            ensure!(reached.keys().all(|(other, _)| other == topic), SEVERAL);
        }
        let reached = reached.entry((topic.clone(), *partition)).or_default();
        for (reached, place) in reached.iter_mut().zip([wanted.from, wanted.to]) {
            *reached |= match place {
                Place::Earliest => true,
                Place::Latest => false,
                Place::At(at) => timestamp.is_some_and(|time| time >= at),
            };
        }
        let offsets = wanted.offsets.get(partition);
        Ok(*reached == [true, false] && offsets.map_or(wanted.offsets.is_empty(), |offsets| offsets.contains(offset)))
    }
}

/// The time of the latest record.
fn latest(recording: &Path) -> anyhow::Result<i64> {
    let mut latest = i64::MIN;
    for record in Reader::open(recording)? {
        latest = latest.max(record?.timestamp.unwrap_or(i64::MIN));
    }
    Ok(latest)
}

/// `earliest`, `latest`, `-1h`, `2026-12-24T18:00:00Z`.
fn named(text: &str) -> Result<Named, String> {
    match (text, text.strip_prefix('-'), text.parse::<Timestamp>()) {
        ("earliest", ..) => Ok(Named::Place(Place::Earliest)),
        ("latest", ..) => Ok(Named::Place(Place::Latest)),
        (_, Some(ago), _) => units::duration(ago).map(Named::Ago).map_err(|mistake| mistake.to_string()),
        (.., Ok(time)) => Ok(Named::Place(Place::At(time.as_millisecond()))),
        _ => Err("write earliest, latest, -1h for an hour ago, or a time such as 2026-12-24T18:00:00Z".to_owned()),
    }
}

/// `3:100-200`.
fn offsets(text: &str) -> Result<(i32, Offsets), String> {
    let parsed = || {
        let (partition, offsets) = text.split_once(':')?;
        let (from, to) = offsets.split_once('-')?;
        Some((partition.parse().ok()?, from.parse().ok()?..to.parse().ok()?))
    };
    parsed()
        .filter(|(partition, offsets): &(i32, Offsets)| *partition >= 0 && offsets.start <= offsets.end)
        .ok_or_else(|| "write PARTITION:FROM-TO, such as 0:100-200".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::recording::Writer;

    #[test]
    fn places_are_read() {
        assert_eq!(named("earliest"), Ok(Named::Place(Place::Earliest)));
        assert_eq!(named("latest"), Ok(Named::Place(Place::Latest)));
        assert_eq!(named("-1h30m"), Ok(Named::Ago(Duration::from_secs(5400))));
        for time in ["1970-01-01T01:00:02Z", "1970-01-01T02:00:02+01:00"] {
            assert_eq!(named(time), Ok(Named::Place(Place::At(3_602_000))));
        }
        for wrong in ["", "1h", "-1", "--1h", "now", "2026-12-24", "2026-12-24T18:00:00"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
        assert_eq!(offsets("3:100-200"), Ok((3, 100..200)));
        for wrong in ["", "3", "3:1", "3:2-1", "-1:0-1", "x:0-1", "3:-5-1"] {
            assert!(offsets(wrong).is_err(), "{wrong}");
        }
    }

    fn record(topic: &str, partition: i32, offset: i64, timestamp: Option<i64>) -> Record {
        Record { topic: topic.to_owned(), partition, offset, timestamp, ..Record::default() }
    }

    /// The places of the records that are in a range, which is given as it is typed.
    fn cut(records: &[Record], typed: &[&str]) -> anyhow::Result<Vec<(i32, i64)>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("spans.rec");
        let mut writer = Writer::create(&path)?;
        records.iter().try_for_each(|record| writer.write(record))?;
        writer.finish()?;
        let Line { range } = Line::try_parse_from([&["line"], typed].concat())?;
        let mut found = Vec::new();
        recorded(&path, &range, |record| {
            found.push((record.partition, record.offset));
            Ok(())
        })?;
        Ok(found)
    }

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        range: Ranged,
    }

    #[test]
    fn a_recording_has_the_ranges_that_its_topic_has() {
        // The third of partition 0 is a straggler: a range begins and ends at the first record that is not older.
        let times = [(0, 5, 1000), (1, 7, 1500), (0, 6, 3000), (0, 7, 1000), (1, 8, 4000), (0, 8, 5000)];
        let records = times.map(|(partition, offset, time)| record("spans", partition, offset, Some(time)));
        let all = times.map(|(partition, offset, _)| (partition, offset)).to_vec();
        for (typed, found) in [
            ("", &[0, 1, 2, 3, 4, 5][..]),
            ("--from earliest --to latest", &[0, 1, 2, 3, 4, 5]),
            ("--from latest", &[]),
            ("--to earliest", &[]),
            ("--from -2s", &[2, 3, 4, 5]),
            ("--from=-3500ms --to -2s", &[1]),
            ("--from -1h", &[0, 1, 2, 3, 4, 5]),
            ("--to -1h", &[]),
            ("--from 1970-01-01T00:00:01.001Z --to 1970-01-01T00:00:05Z", &[1, 2, 3, 4]),
            ("--offsets 0:6-8", &[2, 3]),
            ("--offsets 0:0-6,1:8-100", &[0, 4]),
            ("--offsets 0:6-9 --to -1ms", &[2, 3]),
            ("--offsets 7:0-9", &[]),
        ] {
            let typed: Vec<&str> = typed.split_terminator(' ').collect();
            let expected: Vec<_> = found.iter().map(|&at: &usize| all[at]).collect();
            assert_eq!(cut(&records, &typed).expect("a range"), expected, "{typed:?}");
        }
    }

    #[test]
    fn a_record_without_a_time_begins_and_ends_nothing() {
        let records = [record("spans", 0, 0, None), record("spans", 0, 1, Some(2000)), record("spans", 0, 2, None)];
        assert_eq!(cut(&records, &["--from", "-1s"]).expect("a range"), [(0, 1), (0, 2)]);
        assert_eq!(cut(&records[..1], &["--from", "-1s"]).expect("a range"), []);
        assert_eq!(cut(&[], &["--from", "-1s"]).expect("a range"), []);
    }

    #[test]
    fn offsets_are_those_of_one_topic() {
        let records = [record("spans", 0, 0, Some(1)), record("others", 0, 0, Some(1))];
        let refused = cut(&records, &["--offsets", "0:0-1"]).expect_err("two topics");
        assert!(refused.to_string().contains("tailwater record --topic"), "{refused}");
        assert_eq!(cut(&records, &["--from", "-1h"]).expect("a range").len(), 2, "each from a time of its own");
    }
}
