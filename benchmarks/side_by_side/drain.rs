//! A full topic, read to its end by each contender in turn.

use std::time::Duration;

use super::{
    contender::{Contender, Task},
    cost::{self, Cost},
    figures::{Spread, ratio},
    kept::{Kept, spans_of},
    lines::{Line, Lines},
    policies::Policies,
    real::kafka::kafka,
    report,
    row::{Asks, Row},
    support::Form,
    topic::{self, Content},
    traffic::Kind,
};

/// A row with its figures.
pub struct Drain {
    pub row: Row,
    pub content: Content,
    pub lines: Lines<Drained>,
    /// Of the [`Task`].
    pub wait: Duration,
    pub traces: usize,
}

pub struct Drained {
    pub cost: Cost,
    /// CPU-seconds of the broker in the same time.
    pub broker: f64,
    /// Bytes to the broker and from it, where they are counted.
    pub passed: [u64; 2],
}

/// `memory.buffer`.
pub const BUFFER: &str = "4GiB";
/// The Collector's default.
const WAIT: Duration = Duration::from_secs(30);
/// Longer than any topic is read.
const HOUR: Duration = Duration::from_secs(3600);

/// Fills a topic, and runs them all over it.
pub fn drain(row: Row) -> Drain {
    let (contenders, rounds) = (Contender::of_drains(row.asks), row.rounds());
    let drain = Drain::measure(row, contenders, rounds);
    report::print_drain(&drain);
    drain
}

/// Spans per second that the Collector reads with its defaults, and decides, when it is alone.
pub fn capacity() -> f64 {
    let row = Row::new("capacity", Kind::Shop, Form::Keyed, Policies::Five);
    let drain = Drain::measure(row, vec![Contender::Collector], 1);
    drain.per_second(&drain.lines.lines[0]).first().copied().expect("the Collector reads its topic")
}

/// So many spans the Collector reads, which can so many in a second, before it decides on a trace of which it has not read all. It is
/// slower the more it holds, and in 58 s it was too slow.
pub fn most(capacity: f64) -> usize {
    (capacity * WAIT.as_secs_f64()) as usize
}

/// Runs a contender over the topic, and reads what it kept.
fn run(contender: Contender, task: &Task<'_>, group: &str) -> Result<(Drained, Option<Kept>), String> {
    let (brokers, output) = (&kafka().bootstrap, kafka().existing(&format!("{group}-kept"), topic::PARTITIONS));
    let before = (cost::cpu(kafka().process(0)), kafka().outside.passed());
    let drained = |cost| {
        let (broker, passed) = (cost::cpu(kafka().process(0)) - before.0, kafka().outside.passed());
        Drained { cost, broker, passed: [passed[0] - before.1[0], passed[1] - before.1[1]] }
    };
    if let Contender::Floor(_) = contender {
        let cost = contender.start(task, group, &output, &[]).end().ok_or("it failed")?;
        return Ok((drained(cost), None));
    }
    topic::create(brokers, &output.name);
    let mut process = contender.start(task, group, &output, &["--until-end"]);
    // It decides what it holds when it is told to end, without the rest of its wait.
    if contender.is_collector() {
        task.is_read(&mut process, group)?;
        process.terminate();
    }
    let cost = process.end().ok_or_else(|| format!("it failed: {}", task.last_line(group)))?;
    let drained = drained(cost);
    let mut kept = Vec::new();
    output.each(|record| kept.extend(spans_of(&record.value)));
    topic::delete_all_of(brokers, group);
    Ok((drained, Some(kept.into_iter().collect())))
}

/// A machine on which the Collector takes so long to read that it decides traces of which it has not read all.
fn blame_slowness(line: &mut Line<Drained>, wait: Duration) {
    let longest = line.runs.iter().map(|run| run.cost.wall).fold(0.0, f64::max);
    if let Some(reason) = line.void.as_mut().filter(|_| line.contender.is_collector() && longest > wait.as_secs_f64()) {
        reason.push_str(&format!(
            ": it took {longest:.0} s to read, and decides after {} s; let SPANS be less",
            wait.as_secs()
        ));
    }
}

// === impl Drain ===

impl Drain {
    fn measure(row: Row, contenders: Vec<Contender>, rounds: usize) -> Self {
        let brokers = &kafka().bootstrap;
        let input = kafka().existing(&format!("{}-spans", row.name), topic::PARTITIONS);
        topic::create(brokers, &input.name);
        let content = topic::fill(brokers, &input.name, Kind::epoch(), row.records());
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        // Clients that come by it are told to stay on it.
        let _open = (row.asks == Asks::Bytes).then(|| kafka().outside.open());
        let counted = kafka().outside.bootstrap();
        let wait = if row.holds_all() { HOUR } else { WAIT };
        let policies = row.policies.written(folder.path());
        // There are no more traces than spans, and room for them is asked of either of two shards.
        let traces = 2 * content.spans as usize;
        let by = if row.asks == Asks::Bytes { &counted } else { brokers };
        let (encoding, folder) = (row.encoding, folder.path());
        let task = Task { brokers: by, input: &input, encoding, folder, policies, wait, traces, buffer: BUFFER };
        let mut lines =
            Lines::measure(contenders, |_| rounds, row.name, |contender, group| run(contender, &task, group));
        lines.lines.iter_mut().for_each(|line| blame_slowness(line, wait));
        topic::delete(brokers, &[&input.name]);
        Self { row, content, lines, wait, traces }
    }

    /// Spans per CPU-second, run by run.
    pub fn per_cpu(&self, line: &Line<Drained>) -> Vec<f64> {
        line.runs.iter().map(|run| self.content.spans as f64 / run.cost.cpu).collect()
    }

    /// Spans per second, run by run.
    pub fn per_second(&self, line: &Line<Drained>) -> Vec<f64> {
        line.runs.iter().map(|run| self.content.spans as f64 / run.cost.wall).collect()
    }

    /// How many times as many spans per CPU-second are ours; None where either does not count.
    pub fn ratio(&self, line: &Line<Drained>) -> Option<Spread> {
        let ours = self.lines.of(Contender::Tailwater).filter(|ours| ours.void.is_none())?;
        if self.row.asks == Asks::Bytes {
            return None;
        }
        ratio(&self.per_cpu(ours), &self.per_cpu(line)).filter(|_| line.void.is_none())
    }
}
