//! The OpenTelemetry Collector, built from its own sources, with one tail sampling processor a policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{
    kafka::{Topic, kafka},
    leash::Leash,
    oracle::TraceId,
    wait::wait_until,
};

/// Processors of one Collector, all of them with the same input, and where they write to.
pub struct Collector {
    folder: TempDir,
    name: String,
    output: Topic,
}

/// A Collector that reads, killed when this process ends.
pub struct Running<'c> {
    of: &'c Collector,
    child: Child,
    _leash: Leash,
}

/// How long it waits before it decides, where nothing is decided before it is told to end: then it has every span.
pub const AT_THE_END: &str = "1h";

/// To read the input; to decide and to write what was kept.
const READING: Duration = Duration::from_secs(180);
const WRITING: Duration = Duration::from_secs(180);

// === impl Collector ===

impl Collector {
    /// By name, the entries of `policies`, in YAML's flow style.
    pub fn of(input: &Topic, name: &str, decision_wait: &str, processors: &[(&str, &str)]) -> Self {
        let output = kafka().topic(&format!("{name}-kept"), 1);
        let brokers = &kafka().bootstrap;
        let tail_sampling = |(processor, policies): &(&str, &str)| {
            format!(
                "  tail_sampling/{processor}: {{ decision_wait: {decision_wait}, num_traces: 1000000, policies: {policies} }}\n"
            )
        };
        let exporter = |(processor, _): &(&str, &str)| {
            format!(
                "  kafka/{processor}: {{ brokers: [\"{brokers}\"], traces: {{ topic: {} }}, \
                 record_headers: [{{ name: processor, value: {processor} }}], producer: {{ linger: 1ms }}, \
                 sending_queue: {{ queue_size: 1000, block_on_overflow: true }} }}\n",
                output.name
            )
        };
        let pipeline = |(processor, _): &(&str, &str)| {
            format!(
                "    traces/{processor}: \
                 {{ receivers: [kafka], processors: [tail_sampling/{processor}], exporters: [kafka/{processor}] }}\n"
            )
        };
        let all = |line: &dyn Fn(&(&str, &str)) -> String| processors.iter().map(line).collect::<String>();
        let config = format!(
            "processors:\n{}exporters:\n{}service:\n  pipelines:\n{}",
            all(&tail_sampling),
            all(&exporter),
            all(&pipeline),
        );
        Self::reading(input, name, output, &config)
    }

    /// Writes on what it reads, unchanged, in another encoding, a trace a record.
    pub fn relay(input: &Topic, output: &Topic, name: &str, encoding: &str) -> Self {
        let brokers = &kafka().bootstrap;
        let config = format!(
            "exporters:\n  kafka: {{ brokers: [\"{brokers}\"], traces: {{ topic: {}, encoding: {encoding} }}, \
             partition_traces_by_id: true, sending_queue: {{ block_on_overflow: true }} }}\n\
             service:\n  pipelines:\n    traces: {{ receivers: [kafka], exporters: [kafka] }}\n",
            output.name,
        );
        Self::reading(input, name, output.clone(), &config)
    }

    /// By what its configuration says beside what it reads.
    fn reading(input: &Topic, name: &str, output: Topic, beside: &str) -> Self {
        let config = format!(
            "receivers:\n  kafka: {{ brokers: [\"{}\"], traces: {{ topics: [{}] }}, group_id: {name}, \
             initial_offset: earliest, message_marking: {{ after: true }}, autocommit: {{ interval: 100ms }} }}\n{beside}",
            kafka().bootstrap,
            input.name,
        );
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        fs::write(folder.path().join("collector.yaml"), config).expect("a configuration");
        Self { folder, name: name.to_owned(), output }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("collector.yaml")
    }

    /// Reads the whole input, and ends. What each processor kept.
    pub fn run(&self, input: &Topic) -> BTreeMap<String, BTreeSet<TraceId>> {
        self.start().end(input)
    }

    pub fn start(&self) -> Running<'_> {
        let child = Command::new(program())
            .arg("--config")
            .arg(format!("file:{}", self.config().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.log()).expect("a log"))
            .spawn()
            .expect("the Collector starts");
        Running { of: self, _leash: Leash::on(&child), child }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

// === impl Running ===

impl Running<'_> {
    /// Until it has read all that the input holds now.
    pub fn reads(&mut self, input: &Topic) {
        let said = || fs::read_to_string(self.of.log()).unwrap_or_default();
        let all: i64 = input.ends().iter().sum();
        wait_until("the Collector to have read its input", READING, || {
            let ended = self.child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "the Collector ended:\n{}", said());
            input.passed(&self.of.name) == all
        });
    }

    /// Reads the rest, decides what it holds, and ends. What each processor kept.
    pub fn end(self, input: &Topic) -> BTreeMap<String, BTreeSet<TraceId>> {
        let output = &self.of.output;
        self.stop(input);
        let mut kept: BTreeMap<String, BTreeSet<TraceId>> = BTreeMap::new();
        output.each(|record| {
            let processor = record.header("processor").expect("which processor it is from").to_owned();
            kept.entry(processor).or_default().extend(traces(&record.value));
        });
        kept
    }

    /// Reads the rest, writes what is left, and ends.
    pub fn stop(mut self, input: &Topic) {
        self.reads(input);
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the Collector runs");
        wait_until("the Collector to end", WRITING, || {
            self.child.try_wait().expect("a child can be waited for").is_some_and(|status| {
                assert!(status.success(), "{status}\n{}", fs::read_to_string(self.of.log()).unwrap_or_default());
                true
            })
        });
    }
}

/// The traces of a record.
pub fn traces(value: &[u8]) -> BTreeSet<TraceId> {
    let data = TracesData::decode(value).expect("OTLP");
    let scopes = data.resource_spans.into_iter().flat_map(|of| of.scope_spans);
    scopes.flat_map(|of| of.spans).map(|span| span.trace_id.try_into().expect("16 bytes")).collect()
}

/// `make test` has built it already; a lone `cargo test` has not.
pub fn program() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder of the target folder");
    let program = target.join("collector/collector");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/collector/fetch");
    let done = Command::new(script).arg(&program).status().expect("tests/collector/fetch runs");
    assert!(done.success(), "the Collector could not be built: are Go and the network there?");
    program
}
