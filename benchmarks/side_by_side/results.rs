//! The file with everything that was measured: part by part, each with its date, so that parts of several runs stand in one.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{
    contender::Contender,
    drain::{BUFFER, Drain, Drained},
    figures::Spread,
    kept::Kept,
    kills::Killed,
    lines::Line,
    machine::{machine, versions},
    report::waiting,
    row::{Asks, is_quick},
    stage::WAIT,
    steady::{Pace, Steady},
};

pub struct Results {
    file: PathBuf,
    /// By name, as the file has them.
    parts: Map<String, Value>,
    /// Where, and with what: the same for all parts of this run. Found out when the first is there, for it takes the Collector.
    setting: OnceCell<Value>,
}

/// What is committed, and shown in the documentation: `make bench` names it.
const PUBLISHED: &str = "benchmarks/side_by_side/results.json";

// === impl Results ===

impl Results {
    /// In the file that `RESULTS` names, or else under the target folder.
    pub fn open() -> Self {
        let given = env::var_os("RESULTS").filter(|file| !file.is_empty());
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder of the target folder");
        let file = given.map_or(target.join("side-by-side.json"), |file| repository().join(file));
        let text = fs::read_to_string(&file).unwrap_or("{}".to_owned());
        let parts = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self { file, parts, setting: OnceCell::new() }
    }

    pub fn all(&self) -> &Map<String, Value> {
        &self.parts
    }

    /// Whether the documentation shows these.
    pub fn are_published(&self) -> bool {
        self.file == repository().join(PUBLISHED)
    }

    /// In the place of what was measured before; it is in the file when this returns.
    pub fn put(&mut self, name: &str, mut part: Value) {
        let setting = self.setting.get_or_init(setting).as_object().expect("a map").clone();
        let part_of = part.as_object_mut().expect("a map");
        part_of.extend(setting);
        part_of.insert("date".to_owned(), jiff::Timestamp::now().to_string().into());
        part_of.insert("quick".to_owned(), is_quick().into());
        self.parts.insert(name.to_owned(), part);
        let text = serde_json::to_string_pretty(&self.parts).expect("no map has other keys than texts");
        // Whenever this is interrupted, one of the two is whole.
        let new = self.file.with_extension("new");
        fs::write(&new, text + "\n").and_then(|()| fs::rename(&new, &self.file)).expect("the results are written");
        println!("\n{name}: in {}", self.file.display());
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn setting() -> Value {
    let contenders = Contender::of_drains(Asks::Cost).into_iter().filter(|contender| *contender != Contender::Again);
    let configurations = contenders.filter(|of| !of.configs().is_empty()).map(configuration).collect::<Vec<_>>();
    json!({ "machine": machine(), "versions": versions(), "configurations": configurations })
}

fn configuration(contender: Contender) -> Value {
    let files = contender.configs();
    let texts = files.iter().map(|file| fs::read_to_string(file).expect("a configuration")).collect::<Vec<_>>();
    let environment: BTreeMap<_, _> = contender.environment().into_iter().collect();
    json!({ "contender": contender.name(), "files": texts, "environment": environment })
}

pub fn row(drain: &Drain) -> Value {
    json!({
        "title": drain.row.title(),
        "policies": drain.row.policies.collector(),
        "records": drain.content.records,
        "spans": drain.content.spans,
        "bytes": drain.content.bytes,
        "rounds": drain.row.rounds(),
        "wait_seconds": drain.wait.as_secs_f64(),
        "collector_num_traces": drain.traces,
        "tailwater_memory_buffer": BUFFER,
        "kept": drain.lines.kept.iter().map(kept).collect::<Vec<_>>(),
        "lines": drain.lines.lines.iter().map(|of| line(drain, of)).collect::<Vec<_>>(),
    })
}

fn line(drain: &Drain, line: &Line<Drained>) -> Value {
    let runs = line.runs.iter().map(|Drained { cost, broker, passed: [to, from] }| {
        json!({
            "cpu_seconds": cost.cpu,
            "wall_seconds": cost.wall,
            "peak_bytes": cost.peak_bytes,
            "broker_cpu_seconds": broker,
            "bytes_to_broker": to,
            "bytes_from_broker": from,
        })
    });
    json!({
        "contender": line.contender.name(),
        "void": line.void,
        "runs": runs.collect::<Vec<_>>(),
        "kept": line.kept,
        "spans_per_cpu_second": spread(Spread::of(drain.per_cpu(line))),
        "spans_per_second": spread(Spread::of(drain.per_second(line))),
        "peak_bytes": spread(Spread::of(line.runs.iter().map(|run| run.cost.peak_bytes as f64))),
        "tailwater_times": spread(drain.ratio(line)),
    })
}

pub fn steady(steady: &Steady) -> Value {
    json!({
        "offered_spans_per_second": steady.rate,
        "of_capacity": steady.share,
        "wait_seconds": WAIT.as_secs_f64(),
        "rounds": steady.lines.lines.iter().map(|line| line.runs.len()).max(),
        "kept": steady.lines.kept.iter().map(kept).collect::<Vec<_>>(),
        "lines": steady.lines.lines.iter().map(of_pace).collect::<Vec<_>>(),
    })
}

fn of_pace(line: &Line<Pace>) -> Value {
    let runs = line.runs.iter().map(|pace| {
        json!({
            "cores": pace.cores,
            "broker_cores": pace.broker_cores,
            "resident_bytes": pace.resident_bytes,
            "last_span_to_output_ms": { "median": pace.after_last.median, "p99": pace.after_last.p99 },
            "beyond_the_wait_ms": { "median": pace.beyond_wait.median, "p99": pace.beyond_wait.p99 },
        })
    });
    json!({ "contender": line.contender.name(), "void": line.void, "kept": line.kept, "runs": runs.collect::<Vec<_>>() })
}

pub fn kills(all: &[Killed]) -> Value {
    json!({ "lines": all.iter().map(killed).collect::<Vec<_>>() })
}

fn killed(killed: &Killed) -> Value {
    let loss = killed.loss.as_ref().map(
        |loss| json!({ "traces": loss.traces, "lost": loss.lost, "torn": loss.torn, "doubled_spans": loss.doubled }),
    );
    json!({
        "contender": killed.contender.name(),
        "kills": killed.kills,
        "offered_spans_per_second": killed.rate,
        "traces_in_a_wait": waiting(killed.rate),
        "loss": loss.ok(),
        "void": killed.loss.as_ref().err(),
    })
}

fn kept(kept: &Kept) -> Value {
    json!({ "traces": kept.traces(), "spans": kept.spans() })
}

fn spread(of: Option<Spread>) -> Value {
    of.map_or(Value::Null, |of| json!({ "median": of.median, "least": of.least, "most": of.most }))
}
