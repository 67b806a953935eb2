//! `tailwater explain`

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::ArgGroup;
use prost::Message;

use super::{
    configured::{self, variables},
    files::Files,
    output,
    ranged::{Ranged, each, recorded},
};
use crate::{
    assemble::{Completion, Keying},
    config::{self, Config, Keyed, Policies},
    decide::of_such,
    decisions::schema::{Decision, Decisions, Rank, Reason},
    diagnostic::Diagnostics,
    encode::Stamps,
    engine::{Past, Settings},
    explain::Gathered,
    model::{Fingerprint, Threshold, TraceId},
    recall::Terms,
};

/// Says why a trace was kept or dropped: its spans, what each policy asked and found, the verdict, and what completed it.
///
/// The records come from a recording, or from the input topics of a configuration; then the verdict that was made is read
/// from its decision log. No group is joined, and nothing is written to Kafka.
#[derive(clap::Args)]
#[command(after_help = AFTER, group = ArgGroup::new("read").required(true).multiple(true))]
pub struct Args {
    /// 32 hex digits
    #[arg(value_name = "TRACE_ID", value_parser = trace)]
    trace: TraceId,

    #[command(flatten)]
    files: Files,

    /// Files, too
    #[arg(long, value_name = "FILES", hide = true)]
    policies: Vec<PathBuf>,

    /// The configuration whose policies, topics and decision log are read
    #[arg(short, long, value_name = "FILE", group = "read")]
    config: Option<PathBuf>,

    /// A file that `tailwater record` wrote, in place of the topics
    #[arg(long, value_name = "FILE", group = "read")]
    recording: Option<PathBuf>,

    #[command(flatten)]
    range: Ranged,
}

const AFTER: &str = "\
From the topics, and from a recording:
  tailwater explain -c tailwater.yaml --from -1h 4bf92f3577b34da6a3ce929d0e0e4736
  tailwater explain --recording hour.rec 4bf92f3577b34da6a3ce929d0e0e4736

By policies that are not in force:
  tailwater explain --recording hour.rec 4bf92f3577b34da6a3ce929d0e0e4736 new.yaml

What is explained is what the policies of now say to the records. Where the decision log says
otherwise, they were others then, or records are missing.

Exit codes: 0 explained; 1 nothing is known of the trace, something went wrong, or a file has
mistakes; 2 the command line has mistakes.";

/// # Errors
/// The brokers or the recording cannot be read.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (config, policies) = match read(&args) {
        Ok(read) => read,
        Err(mistakes) => {
            configured::show(&mistakes);
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut gathered = Gathered::new(args.trace);
    let mut decided = Vec::new();
    match (&args.recording, &config) {
        (Some(path), _) => recorded(path, &args.range, |record| gathered.add(record))?,
        (None, Some(config)) => {
            let wanted = args.range.of(config.input.names())?;
            each(&config.kafka, &wanted, "reading spans", |record| gathered.add(record))?;
            decided = decisions(config, &args.range, args.trace)?;
        }
        (None, None) => bail!("a configuration or a recording is needed"),
    }
    let explanations = gathered.explain(settings(config.as_ref()), policies.set);
    for line in &decided {
        output::say(format_args!("in the decision log: {line}"))?;
    }
    for explanation in &explanations {
        output::say(format_args!("{explanation}"))?;
    }
    if explanations.is_empty() {
        output::say(format_args!("no span of the trace {} is in what was read", args.trace))?;
    }
    let known = !explanations.is_empty() || !decided.is_empty();
    Ok(if known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(args: &Args) -> Result<(Option<Config>, Policies), Diagnostics> {
    let config = args.config.as_ref().map(|path| Config::load(path, variables(), [])).transpose()?;
    let files = Files { named: [args.files.named.as_slice(), &args.policies].concat() };
    let policies = files.load(config.as_ref())?;
    Ok((config, policies))
}

/// Those a worker of the configuration has, but for what depends on how many there are.
pub fn settings(config: Option<&Config>) -> Settings {
    let (completion, late_window, past, buffer, recalls) = match config {
        Some(Config { completion, late_window, late, memory, .. }) => {
            (completion.clone(), *late_window, *late, memory.buffer as usize, memory.recall)
        }
        None => (config::Completion::default(), config::LATE_WINDOW, Past::Decide, 1 << 30, true),
    };
    Settings {
        keying: Keying::Keyed,
        completion: Completion {
            quiet: completion.quiet.as_millis() as u64,
            completeness: completion.completeness,
            max_wait: completion.max_wait.as_millis() as u64,
            max_trace_bytes: completion.max_trace_bytes as usize,
        },
        late_window: late_window.as_millis() as u64,
        past,
        buffer,
        tick_bytes: buffer / 8,
        output_record_bytes: 1 << 20,
        stamps: Stamps::NONE,
        // Nothing is written, so nothing is recalled; what it makes room for is.
        recall: recalls.then_some(Terms::FOREVER),
    }
}

/// What the decision log says of a trace, a line for each different verdict.
fn decisions(config: &Config, range: &Ranged, trace: TraceId) -> anyhow::Result<Vec<String>> {
    // Decisions are beside the topic that the workers read.
    let input = if config.input.keyed == Keyed::Rekey { &config.input.behind_rekey() } else { &config.input };
    let topics = input.topics.iter().map(|topic| input.decisions(&topic.name)).collect();
    let mut lines: Vec<String> = Vec::new();
    each(&config.kafka, &range.and_later(topics, None)?, "reading decisions", |record| {
        let Ok(Decisions { policies, decisions, sets, .. }) = Decisions::decode(&*record.value.unwrap_or_default())
        else {
            return Ok(());
        };
        for decision in decisions.into_iter().filter(|decision| decision.trace_id == trace.0) {
            let line = said(&decision, &policies, &sets);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        Ok(())
    })?;
    Ok(lines)
}

fn said(decision: &Decision, policies: &[String], sets: &[u32]) -> String {
    let Decision { keep, policy, threshold, spans, set, rank, .. } = *decision;
    let policy = (policy as usize).checked_sub(1).and_then(|at| policies.get(at));
    let policy = policy.map_or_else(|| "otherwise".to_owned(), |name| format!("`{name}`"));
    let threshold = threshold.map_or(if keep { Threshold::ALWAYS } else { Threshold::NEVER }, Threshold);
    let reason = match decision.reason() {
        Reason::Unspecified => "unknown",
        Reason::Structure => "structure",
        Reason::Torn => "torn",
        Reason::MaxWait => "max_wait",
        Reason::Size => "size",
        Reason::Memory => "memory",
        Reason::End => "end",
    };
    let verdict = if keep { "kept" } else { "dropped" };
    let asked = sets.get(set as usize).map(|hash| Fingerprint(*hash)).filter(|asked| *asked != Fingerprint::UNKNOWN);
    let rank = rank.map_or_else(String::new, |Rank { before, most }| {
        format!("; {before} of its kind were before it, of {most} that are kept")
    });
    format!(
        "{verdict} by {policy}; {}{rank}; complete by {reason}, with {spans} span{}{}",
        of_such(keep, threshold),
        if spans == 1 { "" } else { "s" },
        asked.map_or_else(String::new, |asked| format!("; by the policies {asked}"))
    )
}

fn trace(text: &str) -> Result<TraceId, String> {
    TraceId::from_hex(text.as_bytes()).ok_or_else(|| "a trace id is 32 hex digits, not all 0".to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn other_policies_have_the_root_of_the_configuration() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let config = "kafka: { brokers: \"localhost:9092\" }\n\
                      input: { topics: [spans] }\n\
                      output: [ { kafka: { topic: spans-kept } } ]\n\
                      completion: { root: 'service == \"gateway\"' }\n\
                      policies: [ { name: all, keep: always } ]\n";
        fs::write(path("tailwater.yaml"), config).expect("a file");
        fs::write(path("other.yaml"), "policies: [ { name: other, keep: always } ]").expect("a file");
        let (config, policies) = (path("tailwater.yaml"), path("other.yaml"));
        let trace = TraceId([1; 16]).to_string();
        let (trace, policies) = (trace.as_ref(), policies.as_os_str());
        for files in [&[trace, policies][..], &["--policies".as_ref(), policies, trace]] {
            let typed = [&["explain".as_ref(), "-c".as_ref(), config.as_os_str()], files].concat();
            let Line { args } = Line::parse_from(typed);
            let (_, policies) = read(&args).unwrap_or_else(|mistakes| panic!("{mistakes}"));
            assert_eq!(policies.set.policies()[0].name, "other");
            assert_eq!(policies.set.root(), Some("service == \"gateway\""));
        }
    }
}
