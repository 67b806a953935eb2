//! Who runs over the topics.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    cost::Process,
    floor::Floor,
    real::{
        collector,
        kafka::{Group, Topic},
    },
    row::{Asks, Encoding},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The Collector with its defaults.
    Collector,
    Tuned,
    /// With `COLLECTOR_CONFIG` over its defaults.
    Given,
    Tailwater,
    /// The same once more: how far two lines are apart that are the same.
    Again,
    /// With its default: it learns how long traces wait, and waits no longer.
    Learned,
    /// With so many workers, where the others have one a core.
    Workers(u8),
    Floor(Floor),
}

/// What a contender is to do.
pub struct Task<'a> {
    pub brokers: &'a str,
    pub input: &'a Topic,
    /// Of the input.
    pub encoding: Encoding,
    /// Where logs and policies are.
    pub folder: &'a Path,
    /// The Collector's policies, and what was imported from them.
    pub policies: [PathBuf; 2],
    /// From a trace's first span to its verdict.
    pub wait: Duration,
    /// The most traces that the Collector remembers.
    pub traces: usize,
    /// `memory.buffer` of Tailwater.
    pub buffer: &'static str,
}

/// For the Collector to read on.
const PATIENCE: Duration = Duration::from_secs(600);

// === impl Contender ===

impl Contender {
    /// Those that read a full topic; `Given` where somebody has given one.
    pub fn of_drains(asks: Asks) -> Vec<Self> {
        let floors = [Self::Floor(Floor::Walk), Self::Floor(Floor::Consume)];
        match asks {
            Asks::Cost | Asks::Held(_) => {
                Self::collectors().chain([Self::Tailwater, Self::Again]).chain(floors).collect()
            }
            Asks::Workers => vec![Self::Tailwater, Self::Workers(1), Self::Workers(2)],
            Asks::Bytes => Self::collectors().chain([Self::Tailwater]).collect(),
        }
    }

    /// Those that keep up with traffic.
    pub fn of_steady_traffic() -> Vec<Self> {
        Self::collectors().chain([Self::Tailwater, Self::Again, Self::Learned]).collect()
    }

    fn collectors() -> impl Iterator<Item = Self> {
        [Self::Collector, Self::Tuned].into_iter().chain(env::var_os("COLLECTOR_CONFIG").map(|_| Self::Given))
    }

    pub fn is_collector(self) -> bool {
        matches!(self, Self::Collector | Self::Tuned | Self::Given)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Collector => "Collector, default",
            Self::Tuned => "Collector, tuned",
            Self::Given => "Collector, COLLECTOR_CONFIG",
            Self::Tailwater => "Tailwater",
            Self::Again => "Tailwater again",
            Self::Learned => "Tailwater, learned waits",
            Self::Workers(1) => "Tailwater, one worker",
            Self::Workers(2) => "Tailwater, two workers",
            Self::Workers(_) => "Tailwater, more workers",
            Self::Floor(floor) => floor.name(),
        }
    }

    /// Starts it, under a group that nobody has had. What it says goes to [`Task::log`].
    pub fn start(self, task: &Task<'_>, group: &str, output: &Topic, flags: &[&str]) -> Process {
        let mut command = match self {
            Self::Floor(floor) => floor.command(task.brokers, &task.input.name),
            Self::Tailwater | Self::Again | Self::Learned | Self::Workers(_) => {
                self.tailwater(task, group, output, flags)
            }
            Self::Collector | Self::Tuned | Self::Given => self.collector(task, group, output),
        };
        let log = File::create(task.log(group)).expect("a log");
        Process::start(command.stdout(Stdio::null()).stderr(log))
    }

    fn tailwater(self, task: &Task<'_>, group: &str, output: &Topic, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater"));
        command.args(["run", "-c"]).args(self.configs()).args(flags);
        let quiet = match self {
            Self::Learned => "auto".to_owned(),
            // As long as a trace can be waited for at all.
            _ => format!("{}ms", task.wait.as_millis() - 1),
        };
        command
            .env("TAILWATER__KAFKA__BROKERS", task.brokers)
            .env("TAILWATER__INPUT__TOPICS", &task.input.name)
            .env("TAILWATER__INPUT__ENCODING", task.encoding.name())
            .env("TAILWATER__INPUT__GROUP", group)
            .env("TAILWATER__OUTPUT__KAFKA__TOPIC", &output.name)
            .env("TAILWATER__POLICIES", &task.policies[1])
            .env("TAILWATER__MEMORY__BUFFER", task.buffer)
            .env("TAILWATER__COMPLETION__QUIET", quiet)
            .env("TAILWATER__COMPLETION__MAX_WAIT", format!("{}ms", task.wait.as_millis()));
        if let Self::Workers(workers) = self {
            command.env("TAILWATER__WORKERS", workers.to_string());
        }
        command
    }

    fn collector(self, task: &Task<'_>, group: &str, output: &Topic) -> Command {
        let mut command = Command::new(program());
        for config in self.configs().iter().chain([&task.policies[0]]) {
            command.arg("--config").arg(format!("file:{}", config.display()));
        }
        command
            .env("BROKERS", task.brokers)
            .env("INPUT", &task.input.name)
            .env("ENCODING", task.encoding.name())
            .env("OUTPUT", &output.name)
            .env("GROUP", group)
            .env("WAIT", format!("{}ms", task.wait.as_millis()))
            .env("TRACES", task.traces.to_string())
            .envs(self.environment());
        command
    }

    /// What is in no configuration, whatever it is to do.
    pub fn environment(self) -> Option<(&'static str, &'static str)> {
        (self == Self::Tuned).then_some(("GOGC", "400"))
    }

    /// What is laid over each other, in order.
    pub fn configs(self) -> Vec<PathBuf> {
        let of = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("benchmarks/side_by_side").join(name);
        match self {
            Self::Collector => vec![of("collector.yaml")],
            Self::Tuned => vec![of("collector.yaml"), of("tuned.yaml")],
            Self::Given => {
                let given = env::var_os("COLLECTOR_CONFIG").map(PathBuf::from);
                [of("collector.yaml")].into_iter().chain(given).collect()
            }
            Self::Tailwater | Self::Again | Self::Learned | Self::Workers(_) => vec![of("tailwater.yaml")],
            Self::Floor(_) => Vec::new(),
        }
    }
}

// === impl Task ===

impl Task<'_> {
    /// Until the group has committed the end of the input: the Collector has read it then, and Tailwater has decided it.
    ///
    /// # Errors
    /// It has ended, or takes longer than anybody waits.
    pub fn is_read(&self, process: &mut Process, group: &str) -> Result<(), String> {
        let (begun, all) = (Instant::now(), self.input.ends().iter().sum::<i64>());
        let committed = Group::of(group, &[self.input]);
        while committed.committed().iter().filter_map(|of| of.offset).sum::<i64>() < all {
            if process.has_ended() || begun.elapsed() > PATIENCE {
                return Err(format!("it does not read: {}", self.last_line(group)));
            }
        }
        Ok(())
    }

    /// Ends what has taken in steady traffic.
    ///
    /// # Errors
    /// It fails.
    pub fn ends(&self, process: Process, group: &str) -> Result<(), String> {
        process.terminate();
        process.end().map(|_| ()).ok_or_else(|| format!("it failed: {}", self.last_line(group)))
    }

    pub fn last_line(&self, group: &str) -> String {
        let text = fs::read_to_string(self.log(group)).unwrap_or_default();
        text.lines().last().unwrap_or("it said nothing").to_owned()
    }

    fn log(&self, group: &str) -> PathBuf {
        self.folder.join(group).with_extension("log")
    }
}

/// That of `COLLECTOR_BIN`, or else the one that is built from its sources, which takes a while.
pub fn program() -> PathBuf {
    if let Some(program) = env::var_os("COLLECTOR_BIN") {
        return program.into();
    }
    collector::program()
}
