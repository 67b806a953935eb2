//! `tailwater run`

use std::{path::PathBuf, process::ExitCode};

use crate::{
    config::{Config, Flag},
    pipeline::{self, Mode},
    telemetry,
};

/// Runs until SIGTERM or Ctrl-C: then nothing more is taken in, what is decided is delivered and committed, and the exit
/// code is 0 within 10 seconds. Undecided traces are not forced; the next start reads them again.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The configuration, a YAML file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,

    /// Handle what the topics hold now, decide all of it by record time, deliver, commit, exit 0. Wants to be the only
    /// process of its group
    #[arg(long)]
    until_end: bool,

    /// Overrides kafka.brokers
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,

    /// Overrides input.group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    /// Overrides http.listen, the address of /metrics, /livez and /readyz
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,

    /// Write the log as JSON. RUST_LOG chooses what is logged
    #[arg(long)]
    log_json: bool,
}

const EXAMPLE: &str = "\
The least configuration:
  kafka:    { brokers: \"localhost:9092\" }
  input:    { topics: [spans] }
  output:   [ { kafka: { topic: spans-kept } } ]
  policies: [ policies/ ]

Any value can be set from the environment, which goes before the file, and flags go before both:
  TAILWATER__INPUT__GROUP=tailwater-eu tailwater run -c tailwater.yaml";

/// Mistakes in the files are all printed, and then no broker is contacted.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let flags = [
        ("--brokers", &["kafka", "brokers"], args.brokers),
        ("--group", &["input", "group"], args.group),
        ("--listen", &["http", "listen"], args.listen),
    ];
    let flags = flags.into_iter().filter_map(|(name, path, value)| Some(Flag { name, path, value: value? }));
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        // What is not UTF-8 is none of ours.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    });
    let config = match Config::load(&args.config, variables, flags) {
        Ok(config) => config,
        Err(diagnostics) => {
            eprint!("{diagnostics}");
            return Ok(ExitCode::FAILURE);
        }
    };
    telemetry::log(args.log_json);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(pipeline::run(config, Mode { until_end: args.until_end }));
    // A consumer that does not close, or a thread that waits for a broker, must not keep the process.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}
