//! The command line: what was typed, and which library call it means.

mod backtest;
mod check;
mod configured;
mod estimate;
mod explain;
mod files;
mod import;
mod output;
mod progress;
mod ranged;
mod record;
mod run;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::demo;

/// Keep the traces that matter, whole.
///
/// Tailwater reads raw spans from Kafka, holds each trace until its workflow is complete, judges the whole trace by your
/// policies, and forwards the kept traces unchanged.
#[derive(Parser)]
#[command(name = "tailwater", version, arg_required_else_help = true, after_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the processor: raw spans in, kept traces out
    Run(run::Args),

    /// Show every mistake in policies and the configuration; with --preflight, try out what a run needs of the brokers
    Check(check::Args),

    /// Write another sampler's policies as Tailwater's: the Collector's tail_sampling, Refinery's rules
    Import(import::Args),

    /// Run the tests that stand beside the policies
    Test(test::Args),

    /// Copy a range of a topic into a file
    Record(record::Args),

    /// Show what policies would keep of a recording, or of a range of the topics, and what changes
    Backtest(backtest::Args),

    /// Tell from what was kept how much there was: counts and quantiles, with intervals
    Estimate(estimate::Args),

    /// Say why a trace was kept or dropped
    Explain(explain::Args),

    /// See it work, with nothing to set up: a broker, traffic, and a processor that gets killed, checked against the truth
    Demo(demo::Args),
}

const AFTER: &str = "\
See it work first: `tailwater demo` needs no Kafka and no configuration.
Exit codes: 0 done, 1 something went wrong or a file has mistakes, 2 the command line has mistakes.";

/// The program.
pub fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let result = match command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Import(args) => import::run(args),
        Command::Test(args) => test::run(args),
        Command::Record(args) => record::run(args),
        Command::Backtest(args) => backtest::run(args),
        Command::Estimate(args) => estimate::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Demo(args) => demo::run(args),
    };
    result.unwrap_or_else(|error| {
        // The alternate form is the whole chain in one line.
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
