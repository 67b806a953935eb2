//! `tailwater record`

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};

use super::{
    configured::{self, variables},
    output,
    progress::Progress,
};
use crate::{
    config::{Config, Kafka},
    recording::Writer,
    source::{self, Offsets, Place, Range, WantedRange},
    units,
};

/// Copies a range of a topic into one file, for `tailwater explain` and for tests: records with topic, partition, offset,
/// timestamp, key, headers and value. No group is joined, and nothing is written to Kafka.
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    /// A configuration that names the brokers, how to reach them, and the topics of the input
    #[arg(short, long, value_name = "FILE", required_unless_present_all = ["brokers", "topics"])]
    config: Option<PathBuf>,

    /// The brokers, in place of the configuration's
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,

    /// A topic, in place of the configuration's input; several with commas between
    #[arg(long = "topic", value_name = "NAME,…", value_delimiter = ',')]
    topics: Vec<String>,

    /// Where to begin: earliest, latest, or -1h for an hour ago by the records' timestamps
    #[arg(long, value_name = "PLACE", default_value = "earliest", allow_hyphen_values = true, value_parser = place)]
    from: Place,

    /// Where to end, in the same words
    #[arg(long, value_name = "PLACE", default_value = "latest", allow_hyphen_values = true, value_parser = place)]
    to: Place,

    /// Only these partitions, from one offset to another, which is not included: 0:100-200,3:0-50
    #[arg(long, value_name = "PARTITION:FROM-TO,…", value_delimiter = ',', value_parser = offsets)]
    offsets: Vec<(i32, Offsets)>,

    /// The file; what is there already is replaced when the recording is whole
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

const AFTER: &str = "\
The last hour, of the topics of a configuration:
  tailwater record -c tailwater.yaml --from -1h -o hour.rec

The format is described in src/recording.proto: a zstd frame of protobuf messages, with a
checksum. A recording holds what the topic holds: treat it so. Only its owner may read the file.

Exit codes: 0 recorded; 1 something went wrong, or a file has mistakes; 2 the command line has
mistakes.";

/// # Errors
/// The brokers refuse or do not answer, or the disk is full.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { config, brokers, topics, from, to, offsets, output } = args;
    let config = match config.map(|path| Config::load(&path, variables(), [])).transpose() {
        Ok(config) => config,
        Err(mistakes) => {
            configured::show(&mistakes);
            return Ok(ExitCode::FAILURE);
        }
    };
    let topics = match &config {
        Some(config) if topics.is_empty() => config.input.topics.iter().map(|topic| topic.name.clone()).collect(),
        _ => topics,
    };
    let kafka = kafka(config, brokers);
    if !offsets.is_empty() && topics.len() > 1 {
        bail!("--offsets is about one topic; choose it with --topic");
    }

    let wanted = WantedRange { topics, from, to, offsets: offsets.into_iter().collect() };
    let mut range = Range::open(source::client_of(&kafka), &wanted)?;
    let write = || format!("cannot write {}", output.display());
    let mut writer = Writer::create(&output).with_context(write)?;
    let mut progress = Progress::new("recording");
    let (mut records, mut bytes) = (0_u64, 0_u64);
    while let Some(record) = range.read()? {
        records += 1;
        bytes += record.value.as_ref().map_or(0, Vec::len) as u64;
        writer.write(&record).with_context(write)?;
        progress.at(range.done(), range.total());
    }
    writer.finish().with_context(write)?;
    drop(progress);
    output::say(format_args!("{records} records, {bytes} bytes of values, in {}", output.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// A cluster: that of a configuration, or its brokers and nothing else.
pub fn kafka(config: Option<Config>, brokers: Option<String>) -> Kafka {
    let mut kafka = config.map(|config| config.kafka).unwrap_or_else(|| Kafka {
        brokers: String::new(),
        properties: BTreeMap::new(),
        exposed: Vec::new(),
    });
    kafka.brokers = brokers.unwrap_or(kafka.brokers);
    kafka
}

/// `earliest`, `latest`, `-1h`.
pub fn place(text: &str) -> Result<Place, String> {
    match (text, text.strip_prefix('-')) {
        ("earliest", _) => Ok(Place::Earliest),
        ("latest", _) => Ok(Place::Latest),
        (_, Some(ago)) => units::duration(ago).map(Place::Ago).map_err(|mistake| mistake.to_string()),
        _ => Err("write earliest, latest, or -1h for an hour ago".to_owned()),
    }
}

/// `3:100-200`.
pub fn offsets(text: &str) -> Result<(i32, Offsets), String> {
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
