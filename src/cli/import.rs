//! `tailwater import`

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;

use super::output;
use crate::{
    diagnostic::Diagnostics,
    import::{self, Version},
    yaml,
};

/// Writes the policies of the OpenTelemetry Collector's `tail_sampling` processor, or Honeycomb Refinery's rules, as a policy
/// file.
///
/// The file keeps and drops the same traces. A comment stands beside every policy where that cannot be, or where the original
/// does something its writer will not have meant.
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    /// A whole collector configuration, its `processors`, or the block of the processor alone; or Refinery's rules
    file: PathBuf,

    /// The processor's name, such as tail_sampling/errors, where the file has several
    #[arg(long, value_name = "NAME")]
    processor: Option<String>,

    /// The environment whose rules are wanted, of Refinery's
    #[arg(long, value_name = "NAME", default_value = "__default__")]
    environment: String,

    /// The Collector's release whose verdicts are wanted
    #[arg(long, value_name = "VERSION", default_value = "0.160")]
    collector_version: Version,

    /// Where to write to; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

const AFTER: &str = "\
Look at the result with `tailwater check`. Policies that could not be imported are named on standard error and stand in the
file as comments.
Exit codes: 0 done, 1 a mistake in the file, 2 the command line has mistakes, 3 done, but policies are missing.";

/// # Errors
/// The output cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut diagnostics = Diagnostics::default();
    let source = yaml::open(&args.file).map_err(anyhow::Error::msg)?;
    let root = yaml::parse(source, &mut diagnostics);
    let draft = root.and_then(|root| match import::is_refinery(&root) {
        true => import::refinery(&root, &args.environment, &mut diagnostics),
        false => import::collector(&root, args.processor.as_deref(), args.collector_version, &mut diagnostics),
    });
    let Some(draft) = draft else {
        eprint!("{diagnostics}");
        return Ok(ExitCode::FAILURE);
    };
    match &args.output {
        Some(path) => fs::write(path, draft.text()).with_context(|| format!("cannot write {}", path.display()))?,
        None => output::write(format_args!("{}", draft.text()))?,
    }
    let mut complete = true;
    for (name, why) in draft.missing() {
        eprintln!("warning: `{name}` is not imported: {why}");
        complete = false;
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(3) })
}
