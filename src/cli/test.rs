//! `tailwater test`

use std::{path::PathBuf, process::ExitCode};

use super::{configured, files::Files, output};
use crate::{
    cases::{self, Case},
    config::{Config, Policies},
    diagnostic::Diagnostics,
};

/// Runs the tests that stand beside the policies: no Kafka is needed. All files are read as one list, as `policies` of a
/// configuration is, so a test sees the policies of every file that is tested with its own.
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    #[command(flatten)]
    files: Files,

    /// A configuration: its policies are tested, unless files are named, and it says what counts as a root
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const AFTER: &str = "\
A test, beside `policies:` in the same file:
  tests:
    - name: a failing health check is kept
      trace:
        - { name: GET /healthz, status: error, attributes: { http.route: /healthz } }
      expect: { keep: errors }

A span has, all of it optional:
  name, service         text; nothing
  kind                  internal, server, client, producer, consumer; internal
  status                unset, ok, error, or { code: error, message: TEXT }; unset
  start, duration       such as 250ms, from the beginning of the trace; 0s and 1ms
  parent                the name of another span; the first span is the root, and all
                        others are its children
  root                  false: its parent never comes; true: it has none
  attributes, resource  mappings; values have the type they have in YAML: 500 is a
                        number, \"500\" is text
  scope                 a name, or { name, version, attributes }
  events                a list of names, or of { name, time, attributes }
  links                 a list of { trace_id, span_id, attributes }
  repeat                how many such spans there are; 1
A span without service and resource has those of the first span.

In place of trace:
  record: FILE          the trace in a file that `tailwater record` wrote; the path is
                        relative to the policy file
  trace_id: HEX         which, where there are several

expect, all of which has to be so:
  keep: NAME            kept by this policy, or by `otherwise`
  drop: NAME            dropped by it
  matches: [NAMES]      the conditions of these policies hold, and others may
  probability: 1%       of such traces so many are kept
or expect: keep, expect: drop, whatever it is due to.

given: { NAME: keep }   what a sampler says, keep or reject; those not named say no

Exit codes: 0 all tests passed, 1 a test failed, 2 a file or the command line has mistakes.";

/// # Errors
/// None: mistakes in the files are printed, and the exit code says it.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (policies, cases) = match read(&args) {
        Ok(read) => read,
        Err(diagnostics) => {
            configured::show(&diagnostics);
            return Ok(ExitCode::from(2));
        }
    };
    let mut failed = 0;
    for case in &cases {
        if let Some(failure) = case.run(&policies.set) {
            failed += 1;
            let line = case.at.line_column().0;
            output::say(format_args!("FAILED {}:{line}: {}", case.at.source.name, case.name))?;
            failure.to_string().lines().try_for_each(|line| output::say(format_args!("  {line}")))?;
            output::say(format_args!(""))?;
        }
    }
    let (tests, passed) = (cases.len(), cases.len() - failed);
    let failures = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    output::say(format_args!("{tests} test{}, {passed} passed{failures}", if tests == 1 { "" } else { "s" }))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The policies, and all their tests.
fn read(args: &Args) -> Result<(Policies, Vec<Case>), Diagnostics> {
    let config = args.config.as_ref().map(|path| Config::load(path, configured::variables(), [])).transpose()?;
    let policies = args.files.load(config.as_ref())?;
    let mut diagnostics = Diagnostics::default();
    let cases = policies.written.files().flat_map(|file| cases::read(file, &policies.set, &mut diagnostics)).collect();
    if diagnostics.is_empty() { Ok((policies, cases)) } else { Err(diagnostics) }
}
