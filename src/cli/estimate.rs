//! `tailwater estimate`

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use super::{
    configured::{self, variables},
    output::{self, Format},
    ranged::{Ranged, each, recorded},
    record::kafka,
};
use crate::{
    config::Config,
    estimate::{By, Kept, Report},
};

/// Tells from the traces that were kept how many there were, how many of them had an error, and how long they took.
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    /// A file that `tailwater record` wrote, or a topic with kept traces. Default: the output of the configuration
    #[arg(value_name = "FILE|TOPIC", required_unless_present = "config")]
    source: Option<String>,

    /// A configuration that names the brokers and how to reach them
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The brokers, in place of the configuration's
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,

    #[command(flatten)]
    range: Ranged,

    /// What traces are told apart by
    #[arg(long, value_enum, default_value_t)]
    by: By,

    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Write it to a file, too, as --format json prints it
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const AFTER: &str = "\
Each kept span says for how many it stands, by the sampling threshold in its trace state (ot=th),
which `run` stamps on all that it keeps. So the kept traces tell true counts, however policies
overlap, each with an interval: of 100 such samples, 95 have the truth in theirs.

The last hour of what a processor keeps:
  tailwater estimate -c tailwater.yaml --from -1h

Of a recording of it, without Kafka, by the service of the root:
  tailwater record -c tailwater.yaml --topic spans-kept -o kept.rec
  tailwater estimate kept.rec --by service

What is said:
  kept                 traces in the sample that say for how many they stand
  traces there were    how many all of them stand for
  with an error        of these, those with a span whose status is ERROR
  p50 … p99.9          so long a trace takes at most, from its first start to its last end, in
                       50 … 99.9 % of all; \"and more\": the sample says nothing of what is above
  exact                all of them were kept

A trace weighs as its root span does; without one, as its span of the least threshold. Those
without a threshold are counted apart: of what was sampled by something that does not say how,
no counts can be told. What policies drop always is not in a sample, and in no estimate.
The formulas, and what they take for granted, are in docs/sampling.md.

Exit codes: 0 done; 1 something went wrong, or a file has mistakes; 2 the command line has
mistakes.";

/// # Errors
/// The brokers or the recording cannot be read, or there is too much in it; a file cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = match args.config.as_ref().map(|path| Config::load(path, variables(), [])).transpose() {
        Ok(config) => config,
        Err(mistakes) => {
            configured::show(&mistakes);
            return Ok(ExitCode::FAILURE);
        }
    };
    let source = match (&args.source, &config) {
        (Some(source), _) => source.clone(),
        (None, Some(config)) => config.output.name.clone(),
        (None, None) => bail!("a file or a topic is needed"),
    };
    let mut kept = Kept::default();
    if args.source.is_some() && Path::new(&source).is_file() {
        recorded(Path::new(&source), &args.range, |record| kept.add(record.value.as_deref()))?;
    } else {
        read(&args, config, &source, &mut kept)?;
    }
    if kept.records == 0 {
        bail!("there are no records in the range");
    }
    let report = Report::new(source, &kept, args.by);
    let json = || serde_json::to_string_pretty(&report).context("the report is no JSON");
    if let Some(path) = &args.json {
        fs::write(path, json()? + "\n").with_context(|| format!("{} cannot be written", path.display()))?;
    }
    match args.format {
        Format::Text => output::write(format_args!("{report}"))?,
        Format::Json => output::say(format_args!("{}", json()?))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read(args: &Args, config: Option<Config>, topic: &str, kept: &mut Kept) -> anyhow::Result<()> {
    if config.is_none() && args.brokers.is_none() {
        bail!("there is no file {topic}; for a topic of this name, say -c or --brokers");
    }
    let kafka = kafka(config, args.brokers.clone());
    let wanted = args.range.of(vec![topic.to_owned()])?;
    each(&kafka, &wanted, "reading what was kept", |record| kept.add(record.value.as_deref()))
}
