//! Who runs over the topics.

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    cost::{Cost, Process},
    floor::Floor,
    kept::Kept,
    real::kafka::{Group, Topic, kafka},
    topic,
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
    Floor(Floor),
}

/// What a topic is to be drained with.
pub struct Drain<'a> {
    pub input: &'a Topic,
    /// Where logs and policies are.
    pub folder: &'a Path,
    /// The Collector's policies, and what was imported from them.
    pub policies: [PathBuf; 2],
}

/// What came of it.
pub struct Run {
    pub cost: Cost,
    /// None of a floor, which keeps nothing.
    pub kept: Option<Kept>,
}

/// For the whole of a topic.
const PATIENCE: Duration = Duration::from_secs(600);

// === impl Contender ===

impl Contender {
    /// All of them; `Given` where somebody has given one.
    pub fn all() -> Vec<Self> {
        let given = env::var_os("COLLECTOR_CONFIG").map(|_| Self::Given);
        let before = [Self::Collector, Self::Tuned].into_iter().chain(given);
        let floors = [Self::Floor(Floor::Walk), Self::Floor(Floor::Consume)];
        before.chain([Self::Tailwater, Self::Again]).chain(floors).collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Collector => "Collector, default",
            Self::Tuned => "Collector, tuned",
            Self::Given => "Collector, COLLECTOR_CONFIG",
            Self::Tailwater => "Tailwater",
            Self::Again => "Tailwater again",
            Self::Floor(floor) => floor.name(),
        }
    }

    /// Runs it over the topic, under a group that nobody has had.
    ///
    /// # Errors
    /// It failed, or did not read the topic.
    pub fn run(self, drain: &Drain<'_>, group: &str) -> Result<Run, String> {
        let brokers = &kafka().bootstrap;
        if let Self::Floor(floor) = self {
            let mut command = floor.command(brokers, &drain.input.name);
            let cost = Process::start(command.stdout(Stdio::null())).end().ok_or("it failed")?;
            return Ok(Run { cost, kept: None });
        }
        let output = kafka().existing(&format!("{group}-kept"), topic::PARTITIONS);
        topic::create(brokers, &output.name);
        let log = drain.folder.join(format!("{group}.log"));
        let cost = match self {
            Self::Tailwater | Self::Again => tailwater(drain, group, &output, &log).end(),
            _ => self.collector(drain, group, &output, &log)?.end(),
        };
        let kept = Kept::of(&output);
        let made = ["kept", "dead-letters", "decisions", "samplers"].map(|name| format!("{group}-{name}"));
        topic::delete(brokers, &made.each_ref().map(String::as_str));
        let cost = cost.ok_or_else(|| format!("it failed: {}", last_line(&log)))?;
        Ok(Run { cost, kept: Some(kept) })
    }

    /// The Collector when it has read everything and was told to end: it decides what it holds, without the rest of its wait.
    fn collector(self, drain: &Drain<'_>, group: &str, output: &Topic, log: &Path) -> Result<Process, String> {
        let mut command = Command::new(program());
        for config in self.configs().iter().chain([&drain.policies[0]]) {
            command.arg("--config").arg(format!("file:{}", config.display()));
        }
        let names = [("BROKERS", &kafka().bootstrap), ("INPUT", &drain.input.name), ("OUTPUT", &output.name)];
        command.envs(names).env("GROUP", group);
        if self == Self::Tuned {
            command.env("GOGC", "400");
        }
        let mut process = Process::start(command.stderr(File::create(log).expect("a log")));
        let (begun, all) = (Instant::now(), drain.input.ends().iter().sum::<i64>());
        let committed = Group::of(group, &[drain.input]);
        while committed.committed().iter().filter_map(|of| of.offset).sum::<i64>() < all {
            if process.has_ended() || begun.elapsed() > PATIENCE {
                return Err(format!("it does not read: {}", last_line(log)));
            }
        }
        process.terminate();
        Ok(process)
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
            Self::Tailwater | Self::Again => vec![of("tailwater.yaml")],
            Self::Floor(_) => Vec::new(),
        }
    }
}

fn tailwater(drain: &Drain<'_>, group: &str, output: &Topic, log: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater"));
    command.args(["run", "--until-end", "-c"]).args(Contender::Tailwater.configs());
    command
        .env("TAILWATER__KAFKA__BROKERS", &kafka().bootstrap)
        .env("TAILWATER__INPUT__TOPICS", &drain.input.name)
        .env("TAILWATER__INPUT__GROUP", group)
        .env("TAILWATER__OUTPUT__KAFKA__TOPIC", &output.name)
        .env("TAILWATER__POLICIES", &drain.policies[1]);
    Process::start(command.stdout(Stdio::null()).stderr(File::create(log).expect("a log")))
}

/// That of `COLLECTOR_BIN`, or else the one that is built from its sources, which takes a while.
pub fn program() -> PathBuf {
    if let Some(program) = env::var_os("COLLECTOR_BIN") {
        return program.into();
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder of the target folder");
    let program = target.join("collector/collector");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/collector/fetch");
    let done = Command::new(script).arg(&program).status().expect("tests/collector/fetch runs");
    assert!(done.success(), "the Collector could not be built: are Go and the network there?");
    program
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}
