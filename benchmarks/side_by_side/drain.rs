//! A full topic, read to its end by each contender in turn.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

use super::{
    contender::{self, Contender},
    cost::Cost,
    figures::{Spread, order, ratio},
    kept::Kept,
    real::kafka::kafka,
    report,
    row::Row,
    topic::{self, Content},
    traffic::Kind,
};

/// A row with its figures.
pub struct Drain {
    pub row: Row,
    pub content: Content,
    pub lines: Vec<Line>,
    /// All that was kept by anybody, each once: one, if all goes well.
    pub kept: Vec<Kept>,
}

/// A contender's runs.
pub struct Line {
    pub contender: Contender,
    pub costs: Vec<Cost>,
    /// Which of what was kept, run by run.
    pub kept: Vec<usize>,
    /// Why its figures do not count.
    pub void: Option<String>,
}

/// Fills a topic, and runs them all over it.
pub fn drain(row: Row, rounds: usize) -> Drain {
    let brokers = &kafka().bootstrap;
    let input = kafka().existing(&format!("{}-spans", row.name), topic::PARTITIONS);
    topic::create(brokers, &input.name);
    let content = topic::fill(brokers, &input.name, Kind::epoch(), row.records());
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let task = contender::Drain { input: &input, policies: policies(&row, &folder), folder: folder.path() };
    let lines = Contender::all().into_iter().map(Line::of).collect();
    let mut drain = Drain { row, content, lines, kept: Vec::new() };
    for round in 0..rounds {
        for at in order(round, drain.lines.len()) {
            let line = &mut drain.lines[at];
            // One that has failed is not waited for again.
            if line.void.is_none() {
                match line.contender.run(&task, &format!("{}-{at}-{round}", drain.row.name)) {
                    Ok(run) => line.add(run, &mut drain.kept),
                    Err(reason) => line.void = Some(reason),
                }
            }
        }
    }
    topic::delete(brokers, &[&input.name]);
    drain.compare();
    report::print(&drain);
    drain
}

/// The Collector's, and what is imported from them.
fn policies(row: &Row, folder: &TempDir) -> [PathBuf; 2] {
    let [theirs, ours] = ["collector.yaml", "tailwater.yaml"].map(|name| folder.path().join(name));
    fs::write(&theirs, row.policies.collector()).expect("policies");
    let mut import = Command::new(env!("CARGO_BIN_EXE_tailwater"));
    let imported = import.arg("import").arg(&theirs).arg("--output").arg(&ours).status().expect("the program starts");
    assert!(imported.success(), "the policies of {} cannot be imported", row.name);
    [theirs, ours]
}

// === impl Drain ===

impl Drain {
    /// Figures count only where the same was kept, in every run.
    fn compare(&mut self) {
        let Some(ours) = self.line(Contender::Tailwater).and_then(|line| line.kept.first().copied()) else { return };
        for line in &mut self.lines {
            if let (None, Some(other)) = (&line.void, line.kept.iter().find(|kept| **kept != ours)) {
                let differing = self.kept[*other].differing(&self.kept[ours]);
                line.void = Some(format!("{differing} traces differ from what Tailwater kept at first"));
            }
        }
    }

    pub fn line(&self, contender: Contender) -> Option<&Line> {
        self.lines.iter().find(|line| line.contender == contender)
    }

    /// Spans per CPU-second, run by run.
    pub fn per_cpu(&self, line: &Line) -> Vec<f64> {
        line.costs.iter().map(|cost| self.content.spans as f64 / cost.cpu).collect()
    }

    /// Spans per second, run by run.
    pub fn per_second(&self, line: &Line) -> Vec<f64> {
        line.costs.iter().map(|cost| self.content.spans as f64 / cost.wall).collect()
    }

    /// How many times as many spans per CPU-second are ours; None where either does not count.
    pub fn ratio(&self, line: &Line) -> Option<Spread> {
        let ours = self.line(Contender::Tailwater).filter(|ours| ours.void.is_none())?;
        ratio(&self.per_cpu(ours), &self.per_cpu(line)).filter(|_| line.void.is_none())
    }
}

// === impl Line ===

impl Line {
    fn of(contender: Contender) -> Self {
        Self { contender, costs: Vec::new(), kept: Vec::new(), void: None }
    }

    fn add(&mut self, run: contender::Run, all: &mut Vec<Kept>) {
        self.costs.push(run.cost);
        if let Some(kept) = run.kept {
            let known = all.iter().position(|other| *other == kept);
            self.kept.push(known.unwrap_or_else(|| {
                all.push(kept);
                all.len() - 1
            }));
        }
    }
}
