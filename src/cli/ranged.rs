//! A range of topics, as a command is given it.

use anyhow::bail;

use super::progress::Progress;
use crate::{
    config::Kafka,
    recording::Record,
    source::{self, Offsets, Place, Range, WantedRange},
    units,
};

#[derive(clap::Args)]
pub struct Ranged {
    /// Where to begin in the topics: earliest, latest, or -1h for an hour ago by the records' timestamps
    #[arg(long, value_name = "PLACE", default_value = "earliest", allow_hyphen_values = true, value_parser = place)]
    from: Place,

    /// Where to end, in the same words
    #[arg(long, value_name = "PLACE", default_value = "latest", allow_hyphen_values = true, value_parser = place)]
    to: Place,

    /// Only these partitions, from one offset to another, which is not included: 0:100-200,3:0-50
    #[arg(long, value_name = "PARTITION:FROM-TO,…", value_delimiter = ',', value_parser = offsets)]
    offsets: Vec<(i32, Offsets)>,
}

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

// === impl Ranged ===

impl Ranged {
    /// # Errors
    /// Offsets of several topics: nobody knows which is meant.
    pub fn of(&self, topics: Vec<String>) -> anyhow::Result<WantedRange> {
        if !self.offsets.is_empty() && topics.len() > 1 {
            bail!("--offsets is about one topic, and there are several; `tailwater record --topic` copies one");
        }
        Ok(WantedRange { topics, from: self.from, to: self.to, offsets: self.offsets.iter().cloned().collect() })
    }

    /// To the end of other topics, in which what belongs to the range stands later.
    pub fn and_later(&self, topics: Vec<String>) -> WantedRange {
        WantedRange { topics, from: self.from, to: Place::Latest, offsets: Default::default() }
    }
}

/// `earliest`, `latest`, `-1h`.
fn place(text: &str) -> Result<Place, String> {
    match (text, text.strip_prefix('-')) {
        ("earliest", _) => Ok(Place::Earliest),
        ("latest", _) => Ok(Place::Latest),
        (_, Some(ago)) => units::duration(ago).map(Place::Ago).map_err(|mistake| mistake.to_string()),
        _ => Err("write earliest, latest, or -1h for an hour ago".to_owned()),
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn places_are_read() {
        assert_eq!(place("earliest"), Ok(Place::Earliest));
        assert_eq!(place("latest"), Ok(Place::Latest));
        assert_eq!(place("-1h30m"), Ok(Place::Ago(Duration::from_secs(5400))));
        for wrong in ["", "1h", "-1", "--1h", "now"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
        assert_eq!(offsets("3:100-200"), Ok((3, 100..200)));
        for wrong in ["", "3", "3:1", "3:2-1", "-1:0-1", "x:0-1", "3:-5-1"] {
            assert!(offsets(wrong).is_err(), "{wrong}");
        }
    }
}
