//! `tailwater check`

use std::{process::ExitCode, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    configured::{self, Configured},
    files::Files,
    output,
};
use crate::{
    cases,
    config::{Config, Policies},
    decide::PolicySet,
    diagnostic::Diagnostics,
    pipeline::{self, Finding, Level},
};

/// Shows every mistake in policies and their tests, with line and column, and in the configuration. Where the policies have
/// none, it warns of what they say and can hardly mean. With --preflight it also tries out, on the brokers, all that `run` will
/// need, and says what to do about what is missing.
///
/// The preflight reads records, and writes none: it sends one to each topic that is too large to be taken, in a transaction
/// that is aborted. It does not join the group and fences no worker, so it can be made while the processor runs.
#[derive(clap::Args)]
// Policies alone can be checked.
#[command(after_help = AFTER, mut_arg("config", |config| config.required(false)))]
pub struct Args {
    #[command(flatten)]
    files: Files,

    #[command(flatten)]
    configured: Option<Configured>,

    /// Try out brokers, topics, settings, keys, rights and transactions
    #[arg(long, requires = "config")]
    preflight: bool,

    /// End with exit code 1 where there is a warning
    #[arg(long)]
    deny_warnings: bool,

    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs: one array on standard output
    Json,
}

const AFTER: &str = "\
Policy files alone, without Kafka; and with the configuration they are for:
  tailwater check policies/
  tailwater check -c tailwater.yaml

A line for each check: ok, warning (it runs, but perhaps not for long) or error (it would not
run). With --format json, an object for each mistake, warning or error:
  { \"file\": \"policies/shop.yaml\", \"line\": 3, \"column\": 15,
    \"end\": { \"line\": 3, \"column\": 27 }, \"severity\": \"error\",
    \"message\": \"unknown path `statuss.code`\", \"hint\": \"did you mean `status.code`?\" }
Where something stands in no file, file, line, column and end are null; end is the place
behind it.

Exit codes: 0 no error, 1 an error or a mistake in a file, or with --deny-warnings a warning,
2 the command line has mistakes.";

/// Shares are computed of what was said three seconds ago, which comes up to two ticks late: with longer ones partitions go by
/// different moments.
const SELDOM: Duration = Duration::from_secs(2);

/// # Errors
/// The program itself cannot work. What the checks find is no error: it is printed, and the exit code says it.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (policies, config) = match read(&args) {
        Ok(read) => read,
        Err(mistakes) => {
            tell(args.format, &mistakes)?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut told = Diagnostics::default();
    policies.written.files().for_each(|file| _ = cases::read(file, &policies.set, &mut told));
    let mistaken = !told.is_empty();
    let lints = policies.written.lint();
    let mut warned = !lints.is_empty();
    told.0.extend(lints.0);
    if mistaken {
        tell(args.format, &told)?;
        return Ok(ExitCode::FAILURE);
    }
    let findings = match config {
        Some(config) => findings(Arc::new(config), &policies.set, args.preflight)?,
        None => Vec::new(),
    };
    match args.format {
        Format::Text => {
            if warned {
                configured::show(&told);
            }
            let whose = if args.files.named.is_empty() { "its" } else { "these" };
            let what = match &args.configured {
                Some(configured) => {
                    format!("configuration: {} and {whose} policies have no mistakes", configured.config.display())
                }
                None => "policies: they have no mistakes".to_owned(),
            };
            output::say(format_args!("ok       {what}"))?;
            findings.iter().try_for_each(|finding| output::say(format_args!("{finding}")))?;
        }
        Format::Json => {
            let findings = findings.iter().filter(|finding| finding.level > Level::Ok);
            output::say(format_args!("{}", told.json().into_iter().chain(findings.map(object)).collect::<Value>()))?;
        }
    }
    warned |= findings.iter().any(|finding| finding.level == Level::Warning);
    let wrong = findings.iter().any(|finding| finding.level == Level::Error);
    Ok(if wrong || warned && args.deny_warnings { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read(args: &Args) -> Result<(Policies, Option<Config>), Diagnostics> {
    let config = args.configured.as_ref().map(|configured| configured.read(None)).transpose()?;
    Ok((args.files.load(config.as_ref())?, config))
}

fn tell(format: Format, mistakes: &Diagnostics) -> anyhow::Result<()> {
    match format {
        Format::Text => {
            configured::show(mistakes);
            Ok(())
        }
        Format::Json => output::say(format_args!("{}", Value::from(mistakes.json()))),
    }
}

fn findings(config: Arc<Config>, policies: &PolicySet, preflight: bool) -> anyhow::Result<Vec<Finding>> {
    let mut findings = exposed(&config);
    findings.extend(seldom(config.tick.interval, policies));
    if preflight {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        findings.extend(runtime.block_on(pipeline::preflight(&config)));
        runtime.shutdown_background();
    }
    Ok(findings)
}

/// Whoever may read the file reads these secrets.
fn exposed(config: &Config) -> Vec<Finding> {
    let of = |name: &String| Finding {
        level: Level::Warning,
        subject: "configuration",
        message: format!("`{name}` stands in the file for all to read; write {{ env: VARIABLE }} or {{ file: PATH }}"),
    };
    config.kafka.exposed.iter().map(of).collect()
}

/// What one partition has learned comes to the others with a tick.
fn seldom(interval: Duration, policies: &PolicySet) -> Option<Finding> {
    (interval > SELDOM && policies.learns()).then(|| Finding {
        level: Level::Warning,
        subject: "configuration",
        message: format!(
            "with `tick.interval: {interval:?}` partitions hear of each other so seldom that goals which they share are met on average only; \
             write {SELDOM:?} or less"
        ),
    })
}

/// As the mistakes in files are shown.
fn object(finding: &Finding) -> Value {
    json!({
        "file": null,
        "line": null,
        "column": null,
        "end": null,
        "severity": if finding.level == Level::Error { "error" } else { "warning" },
        "message": format!("{}: {}", finding.subject, finding.message),
        "hint": null,
    })
}
