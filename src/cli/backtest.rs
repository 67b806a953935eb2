//! `tailwater backtest`

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use clap::ArgGroup;

use super::{
    configured::{self, variables},
    explain,
    files::Files,
    output::{self, Format},
    progress::Progress,
    ranged::{Ranged, each, recorded},
};
use crate::{
    backtest::{Question, Records, Report, Sample, Spool, Theirs},
    config::Config,
    decide::PolicySet,
    diagnostic::Diagnostics,
    recording::Reader,
    units,
};

/// Shows what policies would keep of records that are there already: how much, what each policy is worth, and what changes.
///
/// The records come from a recording, or from a range of the input topics of a configuration. No group is joined, and nothing
/// is written to Kafka. The same records and files always give the same result, to the byte.
#[derive(clap::Args)]
#[command(after_help = AFTER, group = ArgGroup::new("read").required(true).multiple(true))]
pub struct Args {
    #[command(flatten)]
    files: Files,

    /// The configuration whose topics are read, whose times and bounds apply, and whose policies are the current ones
    #[arg(short, long, value_name = "FILE", group = "read")]
    config: Option<PathBuf>,

    /// A file that `tailwater record` wrote, in place of the topics
    #[arg(long, value_name = "FILE", group = "read")]
    recording: Option<PathBuf>,

    /// Policy files or folders to compare with, in place of the configuration's
    #[arg(long, value_name = "FILES", num_args = 1..)]
    current: Vec<PathBuf>,

    #[command(flatten)]
    range: Ranged,

    /// Look at a part of the traces only, chosen by a hash of their ids, such as 10%
    #[arg(long, value_name = "PROBABILITY", default_value = "100%", value_parser = sample)]
    sample: Sample,

    /// Compare with what another sampler kept: a topic of the same brokers, read from --from to its end
    #[arg(long, value_name = "TOPIC", requires = "config")]
    against: Option<String>,

    /// The same, out of a file that `tailwater record` wrote; it is read whole
    #[arg(long, value_name = "FILE", conflicts_with = "against")]
    against_recording: Option<PathBuf>,

    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Write it to a file, too, as --format json prints it
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const AFTER: &str = "\
What new policies would have made of the last hour, beside those that run:
  tailwater backtest -c tailwater.yaml --from -1h new-policies/

Of a recording, without Kafka, one file against another:
  tailwater backtest --recording hour.rec new.yaml --current old.yaml

Beside what another sampler kept of the same spans:
  tailwater backtest -c tailwater.yaml --from -1h --against spans-kept-by-another

What is said:
  kept, share, bytes   by the real randomness of each trace; bytes are those of the spans
  expected             what is kept on average, by the probability each trace has
  matches              traces a policy's condition holds of, whatever else is said of them
  only it keeps        traces that would be dropped without this policy: what it is worth
  above p99.9          traces that take longer than 99.9 % of those of the same operation,
                       which is the service and the name of the root span
With --sample an interval stands behind each share: of 100 such samples, 95 have the share of
all traces in theirs. It holds for traces; bytes have none.

Time is that of the records. What is open when they end is decided there, with the reason `end`,
and what began before them is cut: a longer range has less of both. Values of records wait in a
temporary file, in TMPDIR.

Exit codes: 0 done; 1 something went wrong, or a file has mistakes; 2 the command line has
mistakes.";

/// What is asked of.
struct Sets {
    candidate: Arc<PolicySet>,
    current: Option<Arc<PolicySet>>,
}

/// # Errors
/// The brokers or a recording cannot be read, or there is too much in them; a file cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (config, Sets { candidate, current }) = match read(&args) {
        Ok(read) => read,
        Err(mistakes) => {
            configured::show(&mistakes);
            return Ok(ExitCode::FAILURE);
        }
    };
    let records = records(&args, config.as_ref())?;
    if records.is_empty() {
        bail!("there are no records in the range");
    }
    let theirs = theirs(&args, config.as_ref())?;
    let settings = explain::settings(config.as_ref());
    let mut progress = Progress::new("judging traces");
    let question = Question { settings, candidate, current, theirs };
    let report = question.ask(&records, |done| progress.at(done, records.len()))?;
    drop(progress);
    if let Some(path) = &args.json {
        fs::write(path, json(&report)? + "\n").with_context(|| format!("{} cannot be written", path.display()))?;
    }
    match args.format {
        Format::Text => output::write(format_args!("{report}"))?,
        Format::Json => output::say(format_args!("{}", json(&report)?))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read(args: &Args) -> Result<(Option<Config>, Sets), Diagnostics> {
    let config = args.config.as_ref().map(|path| Config::load(path, variables(), [])).transpose()?;
    let candidate = args.files.load(config.as_ref())?.set;
    let current = Files { named: args.current.clone() };
    // Policies are not compared with themselves.
    let configured = config.is_some() && !args.files.named.is_empty();
    let current = if configured || !args.current.is_empty() { Some(current.load(config.as_ref())?.set) } else { None };
    Ok((config, Sets { candidate, current }))
}

fn records(args: &Args, config: Option<&Config>) -> anyhow::Result<Records> {
    let mut spool = Spool::new(args.sample)?;
    match (&args.recording, config) {
        (Some(path), _) => recorded(path, &args.range, |record| spool.add(record))?,
        (None, Some(config)) => {
            let wanted = args.range.of(config.input.names())?;
            each(&config.kafka, &wanted, "reading spans", |record| spool.add(record))?;
        }
        (None, None) => bail!("a configuration or a recording is needed"),
    }
    spool.merge()
}

fn theirs(args: &Args, config: Option<&Config>) -> anyhow::Result<Option<(String, Theirs)>> {
    let mut theirs = Theirs::new(args.sample);
    let name = match (&args.against_recording, &args.against, config) {
        (Some(path), ..) => {
            Reader::open(path)?.try_for_each(|record| theirs.add(&record?))?;
            path.display().to_string()
        }
        (None, Some(topic), Some(config)) => {
            // What it kept came out later than it came in.
            let wanted = args.range.and_later(vec![topic.clone()], args.recording.as_deref())?;
            each(&config.kafka, &wanted, "reading what was kept", |record| theirs.add(&record))?;
            topic.clone()
        }
        _ => return Ok(None),
    };
    Ok(Some((name, theirs)))
}

fn json(report: &Report) -> anyhow::Result<String> {
    serde_json::to_string_pretty(report).context("the report is no JSON")
}

fn sample(text: &str) -> Result<Sample, String> {
    let probability = units::probability(text).map_err(|mistake| mistake.to_string())?;
    if probability == 0.0 {
        return Err("a sample of nothing says nothing".to_owned());
    }
    Ok(Sample { probability })
}
