//! `tailwater record`

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::Context as _;

use super::{
    configured::{self, variables},
    output,
    ranged::{Ranged, each},
};
use crate::{
    config::{Config, Kafka},
    recording::Writer,
    table::several,
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

    #[command(flatten)]
    range: Ranged,

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
    let Args { config, brokers, topics, range, output } = args;
    let config = match config.map(|path| Config::load(&path, variables(), [])).transpose() {
        Ok(config) => config,
        Err(mistakes) => {
            configured::show(&mistakes);
            return Ok(ExitCode::FAILURE);
        }
    };
    let topics = match &config {
        Some(config) if topics.is_empty() => config.input.names(),
        _ => topics,
    };
    let wanted = range.of(topics)?;
    let write = || format!("cannot write {}", output.display());
    let mut writer = Writer::create(&output).with_context(write)?;
    let (mut records, mut bytes) = (0_u64, 0_u64);
    each(&kafka(config, brokers), &wanted, "recording", |record| {
        records += 1;
        bytes += record.value.as_ref().map_or(0, Vec::len) as u64;
        writer.write(&record).with_context(write)
    })?;
    writer.finish().with_context(write)?;
    output::say(format_args!("{}, {bytes} bytes of values, in {}", several(records, "record"), output.display()))?;
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
