//! `tailwater check`

use std::{process::ExitCode, sync::Arc};

use super::configured::Configured;
use crate::{
    config::Config,
    pipeline::{self, Level},
};

/// Shows every mistake in the configuration and its policies, with line and column. With --preflight it also tries out, on
/// the brokers, all that `run` will need, and says what to do about what is missing.
///
/// The preflight reads records, and writes none: it sends one to each topic that is too large to be taken, in a transaction
/// that is aborted. It does not join the group and fences no worker, so it can be made while the processor runs.
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    #[command(flatten)]
    configured: Configured,

    /// Try out brokers, topics, settings, keys, rights and transactions
    #[arg(long)]
    preflight: bool,
}

const AFTER: &str = "\
A line for each check: ok, warning (it runs, but perhaps not for long) or error (it would not run).
Exit codes: 0 no error, 1 an error or a mistake in a file, 2 the command line has mistakes.";

/// # Errors
/// The program itself cannot work. What the checks find is no error: it is printed, and the exit code says it.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Some(config) = args.configured.load(None) else { return Ok(ExitCode::FAILURE) };
    let config = Arc::new(config);
    println!("ok       configuration: {} and its policies have no mistakes", args.configured.config.display());
    let exposed = exposed(&config);
    let mut worst = if exposed { Level::Warning } else { Level::Ok };
    if args.preflight {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let found = runtime.block_on(pipeline::preflight(&config));
        found.iter().for_each(|finding| println!("{finding}"));
        worst = found.iter().map(|finding| finding.level).fold(worst, Level::max);
        runtime.shutdown_background();
    }
    Ok(if worst == Level::Error { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whoever may read the file reads these secrets.
fn exposed(config: &Config) -> bool {
    for name in &config.kafka.exposed {
        println!(
            "warning  configuration: `{name}` stands in the file for all to read; write {{ env: VARIABLE }} or {{ file: \
             PATH }}"
        );
    }
    !config.kafka.exposed.is_empty()
}
