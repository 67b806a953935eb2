//! `tailwater run`

use std::process::ExitCode;

use super::{
    configured::{self, Configured},
    output,
};
use crate::{
    config::Flag,
    pipeline::{self, Mode},
    telemetry,
};

/// Runs until SIGTERM or Ctrl-C: then nothing more is taken in, what is decided is delivered and committed, and the exit
/// code is 0 within 10 seconds. Undecided traces are not forced; the next start reads them again.
///
/// Policies are loaded anew when their files change, and on SIGHUP; with a mistake in them, those before stay in force.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(flatten)]
    configured: Configured,

    /// Handle what the topics hold now, decide all of it by record time, deliver, commit, exit 0. Wants to be the only
    /// process of its group
    #[arg(long)]
    until_end: bool,

    /// Go on without records that were removed from the input before they were read: where there are any, a start is
    /// refused otherwise. They are counted in tailwater_records_expired_total
    #[arg(long)]
    accept_expired: bool,

    /// Write nothing: no output, no dead letters, no verdicts, no topic, no offset. All metrics are as in a run,
    /// tailwater_dry_run is 1, and at the end they are printed. Joins no group, so that a processor beside it is not
    /// disturbed, and begins at the end of the topics; with --until-end at their start
    #[arg(long)]
    dry_run: bool,

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
  TAILWATER__INPUT__GROUP=tailwater-eu tailwater run -c tailwater.yaml

Beside a processor, to see what it would keep:
  tailwater run -c tailwater.yaml --dry-run --listen 127.0.0.1:8081

Exit codes: 0 stopped, or all done with --until-end; 1 something went wrong or a file has mistakes, 2 the command line has
mistakes.";

/// Mistakes in the files are all printed, and then no broker is contacted.
///
/// # Errors
/// The reason to exit non-zero. Mistakes in the files are none: they are printed here, and the exit code says it.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let listen = args.listen.map(|value| Flag { name: "--listen", path: &["http", "listen"], value });
    let load = move || args.configured.read(listen.clone());
    let Ok(config) = load().inspect_err(configured::show) else { return Ok(ExitCode::FAILURE) };
    telemetry::log(args.log_json);
    let Args { until_end, accept_expired, dry_run, .. } = args;
    let mode = Mode { until_end, accept_expired, dry_run };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(pipeline::run(config, mode, Box::new(load)));
    // A consumer that does not close, or a thread that waits for a broker, must not keep the process.
    runtime.shutdown_background();
    let telemetry = ended?;
    if dry_run {
        output::write(format_args!("{}", telemetry.render()))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::*;
    use crate::config::Config;

    #[test]
    fn the_configuration_in_the_help_works_in_this_repository() {
        let folder = tempfile::tempdir().expect("a folder");
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"), folder.path().join("policies"))
            .expect("a link");
        let file = folder.path().join("tailwater.yaml");
        let yaml =
            EXAMPLE.lines().skip(1).take_while(|line| line.starts_with("  ")).map(|line| format!("{}\n", &line[2..]));
        fs::write(&file, yaml.collect::<String>()).expect("a file");
        let config = Config::load(&file, [], []).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        assert!(config.policies.policies().len() > 5, "of all files");
    }
}
