//! What a person configures: a YAML file, over it `TAILWATER__…` environment variables, over them flags.
//!
//! Reading collects every mistake of the configuration and of the policies before it fails, and contacts no broker.

mod kafka;
mod layers;
mod policies;
mod topics;
mod values;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use values::{bounded, choice, flag};

use crate::{
    decide::PolicySet,
    diagnostic::{Diagnostics, Location, Source},
    encode::Stamps,
    engine::Past,
    limits,
    recall::Partial,
    units,
    yaml::{self, Fields, Kind, Node},
};

pub use kafka::Kafka;
pub use layers::Flag;
pub use policies::{Policies, Written as WrittenPolicies, contents, load as load_policies};
pub use topics::{Encoding, Input, Keyed, Start, Topic};

/// The whole configuration, checked as far as it can be without a broker.
#[derive(Clone, Debug)]
pub struct Config {
    pub kafka: Kafka,
    pub input: Input,
    /// The topic that kept traces go to.
    pub output: Topic,
    /// What is stamped on them. By default all that there is.
    pub stamps: Stamps,
    pub delivery: Delivery,
    pub completion: Completion,
    pub memory: Memory,
    /// For how long, in record time, a verdict is remembered for spans that come late. Default 10m.
    pub late_window: Duration,
    /// What becomes of spans that come later still. By default their traces are decided as if they began there.
    pub late: Past,
    pub workers: Workers,
    /// Compiled.
    pub policies: Arc<PolicySet>,
    /// As they were written, with their tests.
    pub written_policies: WrittenPolicies,
    /// The files and folders that all of this stands in.
    pub sources: Vec<PathBuf>,
    pub http: Http,
    pub tick: Tick,
}

/// How output, verdicts and offsets go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// In one transaction: the default.
    ExactlyOnce,
    /// Offsets are committed when the output is acknowledged.
    AtLeastOnce,
}

/// When a trace is complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// How long nothing must have arrived, once the root has ended and no parent is missing. Where that is learned, so long until enough
    /// is known. Default 5s.
    pub quiet: Duration,
    /// The share of all spans that are to come before the verdict, for which quiet periods are learned of each operation; None where
    /// `quiet` is the same for all. Default 99.9%.
    pub completeness: Option<f64>,
    /// From a trace's first record to its verdict at the latest. Default 30s.
    pub max_wait: Duration,
    /// Bytes at which a trace is decided as it is. Default 16MiB, and never more than an eighth of a worker's share of the
    /// buffer.
    pub max_trace_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of traces held and verdicts remembered, over all workers, which share it evenly: at least 16MiB a worker.
    /// Default 1GiB.
    pub buffer: u64,
    /// Near that, payload is given up and read again from the input where its trace is kept. Default true.
    pub recall: bool,
    /// What becomes of a trace of which the input has lost some by then. Default [`Partial::DeadLetter`].
    pub recall_partial: Partial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// The default: one where the topic is not keyed, else by the cores of the machine.
    Auto,
    /// From 1 to 64.
    Fixed(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
}

/// How often output is made durable and offsets are committed: after whichever comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Default 1s.
    pub interval: Duration,
    /// Bytes of output. Default 64MiB, and never more than an eighth of a worker's share of the buffer.
    pub bytes: u64,
}

/// For how long a verdict is remembered where nothing else is said.
pub const LATE_WINDOW: Duration = Duration::from_secs(600);
/// The longest hold and the longest memory: after a restart the log is read again from the oldest undecided trace, and
/// remembered verdicts count in the budget.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A thread, a consumer and a producer each; more than 64 belong on more machines.
const MAX_WORKERS: u64 = 64;
/// Below, waiting serves nothing; above, 200,000 spans of an operation are not enough to learn of.
const COMPLETENESS: RangeInclusive<f64> = 0.5..=0.999_99;
/// A commit takes a broker up to 400 ms: below 100 ms commits only queue. Above 30 s there is more to send than
/// went in within the 30 s that a transaction may take (`transaction.timeout.ms`).
const TICK: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30);
/// A record may be a megabyte, and a tick holds one at least; what a tick holds is in memory twice while it is sent.
const TICK_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 30;

/// What is around the configuration file, for what it only names.
struct Surroundings<'a> {
    file: &'a Arc<Source>,
    /// In which it is.
    folder: &'a Path,
    variables: &'a BTreeMap<String, String>,
}

const POLICIES: &str = "write\npolicies: [policies/]";

// === impl Config ===

impl Config {
    /// Reads the file, `TAILWATER__…` among the variables, the flags, and the policy files they name.
    ///
    /// # Errors
    /// Every mistake found, each with the place of the file, variable or flag where it stands.
    pub fn load(
        path: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = Flag>,
    ) -> Result<Self, Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        match yaml::open(path) {
            Ok(file) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                let config = Self::read(&file, folder, variables, flags, &mut diagnostics);
                let mut config = config.filter(|_| diagnostics.is_empty()).ok_or(diagnostics)?;
                config.sources.push(path.to_owned());
                Ok(config)
            }
            Err(message) => {
                diagnostics.error_nowhere(message);
                Err(diagnostics)
            }
        }
    }

    /// What another configuration says otherwise, but for the policies.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let Self {
            kafka,
            input,
            output,
            stamps,
            delivery,
            completion,
            memory,
            late_window,
            late,
            workers,
            policies: _,
            written_policies: _,
            sources: _,
            http,
            tick,
        } = self;
        let parts = [
            ("kafka", *kafka != other.kafka),
            ("input", *input != other.input),
            ("output", (output, stamps) != (&other.output, &other.stamps)),
            ("delivery", *delivery != other.delivery),
            ("completion", *completion != other.completion),
            ("memory", *memory != other.memory),
            ("late_window", *late_window != other.late_window),
            ("late", *late != other.late),
            ("workers", *workers != other.workers),
            ("http", *http != other.http),
            ("tick", *tick != other.tick),
        ];
        parts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    /// None only with an error.
    fn read(
        file: &Arc<Source>,
        folder: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = Flag>,
        d: &mut Diagnostics,
    ) -> Option<Self> {
        let variables: BTreeMap<String, String> = variables.into_iter().collect();
        let around = Surroundings { file, folder, variables: &variables };
        let mut layers = vec![yaml::parse(file.clone(), d)?];
        layers.extend(layers::environment(&variables));
        layers.extend(flags.into_iter().map(layers::flag));
        let root = layers::merge(&layers, d)?;
        // A part that is not there is read as an empty one: its defaults, or what it lacks.
        let nothing = Node { at: root.at.clone(), kind: Kind::Map(Vec::new()) };
        let mut fields = Fields::of(&root, "the configuration", d)?;
        let kafka = kafka::kafka(fields.take("kafka").unwrap_or(&nothing), &around, d);
        let input = topics::input(fields.take("input").unwrap_or(&nothing), d);
        let output =
            fields.require("output", topics::OUTPUT, d).and_then(|node| topics::output(node, input.as_ref(), d));
        let delivery = fields.take("delivery").map_or(Some(Delivery::ExactlyOnce), |node| delivery(node, d));
        let memory = memory(fields.take("memory").unwrap_or(&nothing), d);
        let (completion, root) = completion(fields.take("completion").unwrap_or(&nothing), memory.as_ref(), d);
        let late_window = fields.take("late_window").map_or(Some(LATE_WINDOW), |node| {
            bounded(node, "`late_window`", units::duration, Duration::ZERO..=DAY, "from 0s to 24h", d)
        });
        let late = fields.take("late").map_or(Some(Past::Decide), |node| {
            let choices = [("decide", Past::Decide), ("drop", Past::Drop), ("dead_letter", Past::DeadLetter)];
            choice(node, "`late`", &choices.map(|(name, past)| (name, Some(past))), d)
        });
        let workers = fields.take("workers").map_or(Some(Workers::Auto), |node| workers(node, d));
        let policies = fields.require("policies", POLICIES, d).and_then(|node| policies::read(node, root, &around, d));
        let http = http(fields.take("http").unwrap_or(&nothing), d);
        let tick = tick(fields.take("tick").unwrap_or(&nothing), d);
        fields.finish(d);
        let (policies::Policies { set: policies, written: written_policies }, sources) = policies?;
        let (output, stamps) = output?;
        Some(Self {
            kafka: kafka?,
            input: input?,
            output,
            stamps,
            delivery: delivery?,
            completion: completion?,
            memory: memory?,
            late_window: late_window?,
            late: late?,
            workers: workers?,
            policies,
            written_policies,
            sources,
            http: http?,
            tick: tick?,
        })
    }
}

// === impl Completion ===

impl Default for Completion {
    fn default() -> Self {
        Self {
            quiet: Duration::from_secs(5),
            completeness: Some(0.999),
            max_wait: Duration::from_secs(30),
            max_trace_bytes: 16 << 20,
        }
    }
}

// === impl Surroundings ===

impl Surroundings<'_> {
    /// Whether something stands in the file, and not in a variable or a flag.
    fn is_in_file(&self, at: &Location) -> bool {
        Arc::ptr_eq(&at.source, self.file)
    }

    /// A path named in the file is relative to its folder, others to the working directory.
    fn path(&self, path: &str, at: &Location) -> PathBuf {
        if self.is_in_file(at) { self.folder.join(path) } else { PathBuf::from(path) }
    }
}

// === the parts ===

fn delivery(node: &Node, d: &mut Diagnostics) -> Option<Delivery> {
    let choices = [("exactly_once", Some(Delivery::ExactlyOnce)), ("at_least_once", Some(Delivery::AtLeastOnce))];
    choice(node, "`delivery`", &choices, d)
}

fn memory(node: &Node, d: &mut Diagnostics) -> Option<Memory> {
    let mut fields = Fields::of(node, "`memory`", d)?;
    // For one worker; how many there are is not known before the topics are.
    let buffer = fields.take("buffer").map_or(Some(1 << 30), |node| {
        bounded(node, "`buffer`", units::size, limits::WORKER_BUFFER..=u64::MAX, "at least 16MiB a worker", d)
    });
    let recall = fields.take("recall").map_or(Some(true), |node| flag(node, "`recall`", d));
    let choices = [("dead_letter", Some(Partial::DeadLetter)), ("forward", Some(Partial::Forward))];
    let partial = fields.take("recall_partial");
    let partial = partial.map_or(Some(Partial::default()), |node| choice(node, "`recall_partial`", &choices, d));
    fields.finish(d);
    Some(Memory { buffer: buffer?, recall: recall?, recall_partial: partial? })
}

/// And the condition on what counts as a root, which is compiled with the policies.
fn completion<'n>(
    node: &'n Node,
    memory: Option<&Memory>,
    d: &mut Diagnostics,
) -> (Option<Completion>, Option<&'n Node>) {
    let Some(mut fields) = Fields::of(node, "`completion`", d) else { return (None, None) };
    let root = fields.take("root");
    (bounds(fields, memory, d), root)
}

fn bounds(mut fields: Fields<'_>, memory: Option<&Memory>, d: &mut Diagnostics) -> Option<Completion> {
    let default = Completion::default();
    let shortest = Duration::from_millis(1);
    let (quiet_at, max_wait_at) = (fields.take("quiet"), fields.take("max_wait"));
    let fixed = quiet_at.filter(|node| !node.is_text("auto"));
    let completeness = completeness(fields.take("completeness"), fixed.is_some(), d);
    let quiet = fixed.map_or(Some(default.quiet), |node| {
        bounded(node, "`quiet`", units::duration, shortest..=DAY, "from 1ms to 24h", d)
    });
    let max_wait = max_wait_at.map_or(Some(default.max_wait), |node| {
        bounded(node, "`max_wait`", units::duration, shortest..=DAY, "from 1ms to 24h", d)
    });
    let largest = memory.map_or(u64::MAX, |memory| memory.buffer);
    let max_trace_bytes = fields.take("max_trace_bytes").map_or(Some(default.max_trace_bytes), |node| {
        bounded(node, "`max_trace_bytes`", units::size, 1..=largest, "at most `memory.buffer`", d)
    });
    fields.finish(d);
    let (quiet, max_wait) = (quiet?, max_wait?);
    if let Some(wrong) = max_wait_at.or(quiet_at).filter(|_| max_wait <= quiet) {
        let message = format!("`max_wait` ({max_wait:?}) must be longer than `quiet` ({quiet:?})");
        d.error(&wrong.at, message);
        return None;
    }
    Some(Completion { quiet, completeness: completeness?, max_wait, max_trace_bytes: max_trace_bytes? })
}

/// None only with an error.
fn completeness(node: Option<&Node>, is_fixed: bool, d: &mut Diagnostics) -> Option<Option<f64>> {
    match node {
        Some(node) if is_fixed => {
            d.error(&node.at, "`completeness` goes with a `quiet` that is learned").hint("write `quiet: auto`");
            None
        }
        Some(node) => {
            let share = bounded(node, "`completeness`", units::quantile, COMPLETENESS, "from 50% to 99.999%", d)?;
            // What is learned is kept by the goal, and 99.9% is 0.999.
            Some(Some((share * 1e6).round() / 1e6))
        }
        None if is_fixed => Some(None),
        None => Some(Completion::default().completeness),
    }
}

fn workers(node: &Node, d: &mut Diagnostics) -> Option<Workers> {
    match node.as_str("`workers`", d)? {
        "auto" => Some(Workers::Auto),
        text => match text.parse() {
            Ok(workers @ 1..=MAX_WORKERS) => Some(Workers::Fixed(usize::try_from(workers).ok()?)),
            _ => {
                d.error(&node.at, "`workers` must be auto, or from 1 to 64")
                    .hint("what 64 workers cannot do is done by a second process in the same group");
                None
            }
        },
    }
}

fn http(node: &Node, d: &mut Diagnostics) -> Option<Http> {
    let mut fields = Fields::of(node, "`http`", d)?;
    let listen = fields.take("listen").map_or(Some(SocketAddr::from(([127, 0, 0, 1], 8080))), |node| {
        let text = node.as_str("`listen`", d)?;
        text.parse()
            .map_err(|_| {
                let port = text.rsplit_once(':').map_or(text, |(_, port)| port).parse().unwrap_or(8080_u16);
                d.error(&node.at, format!("`{text}` is not an address with a port"))
                    .hint(format!("write 127.0.0.1:{port} for this machine only, 0.0.0.0:{port} for every interface"));
            })
            .ok()
    });
    fields.finish(d);
    Some(Http { listen: listen? })
}

fn tick(node: &Node, d: &mut Diagnostics) -> Option<Tick> {
    let mut fields = Fields::of(node, "`tick`", d)?;
    let interval = fields.take("interval").map_or(Some(Duration::from_secs(1)), |node| {
        bounded(node, "`interval`", units::duration, TICK, "from 100ms to 30s", d)
    });
    let bytes = fields
        .take("bytes")
        .map_or(Some(64 << 20), |node| bounded(node, "`bytes`", units::size, TICK_BYTES, "from 1MiB to 1GiB", d));
    fields.finish(d);
    Some(Tick { interval: interval?, bytes: bytes? })
}

#[cfg(test)]
mod tests;
