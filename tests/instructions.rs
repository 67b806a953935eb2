//! What a span costs the core, in instructions, held against what it cost before: they are the same on every run, so a change shows
//! that time would hide in its noise. `make instructions` writes down what it costs now.
//!
//! The program is built as all tests are, hardly optimised, so the figures are not those of `cargo bench --bench table`. They rise
//! and fall with them, and a second build of everything would take longer than all that is counted.

#[path = "../benchmarks/support/mod.rs"]
mod support;

use std::{collections::BTreeMap, env, fs, path::Path, process::Command, thread};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use support::{
    Case, Form, Records,
    instructions::{self, Counter},
};

/// As they are written down.
#[derive(Serialize, Deserialize)]
struct Figures {
    /// The compiler, which has a word in it too.
    rustc: String,
    /// A span, by records and case.
    instructions: BTreeMap<String, BTreeMap<String, u64>>,
}

const FILE: &str = "benchmarks/instructions.json";
/// Per cent, both ways: from run to run and machine to machine they differ by a tenth of it.
const TOLERANCE: f64 = 1.5;
/// So slow that the second half of few spans sees everything: traces that are complete, or time out, and verdicts that are forgotten.
const SECONDS: u64 = 64;
const SPANS_PER_SECOND: f64 = 400.0;

fn main() -> anyhow::Result<()> {
    if instructions::is_counted()? {
        return Ok(());
    }
    let is = Figures::count()?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let was = serde_json::from_slice(&fs::read(&file).unwrap_or_default());
    let was = was.unwrap_or(Figures { rustc: "nothing".to_owned(), instructions: BTreeMap::new() });
    let changed = is.print_beside(&was);
    if env::var_os("TAILWATER_WRITE").is_some() {
        fs::write(&file, serde_json::to_string_pretty(&is)? + "\n")?;
        println!("written down in {FILE}");
        return Ok(());
    }
    if !cfg!(target_arch = "x86_64") {
        println!("{FILE} is of x86-64, so there is nothing to compare with");
        return Ok(());
    }
    ensure!(
        changed == 0,
        "{changed} of these differ by more than {TOLERANCE} %, and {FILE} was made with {}, this with {}: find out why, and where it \
         is meant, better or worse, `make instructions` writes it down",
        was.rustc,
        is.rustc,
    );
    Ok(())
}

// === impl Figures ===

impl Figures {
    /// Both forms at a time.
    fn count() -> anyhow::Result<Self> {
        let count = |form: Form| -> anyhow::Result<(String, BTreeMap<String, u64>)> {
            let records = Records::at(SPANS_PER_SECOND, form, SECONDS);
            let counter = Counter::over(&records, SECONDS)?;
            let case = |case: Case| Ok((case.name().to_owned(), counter.instructions(case)?.round() as u64));
            Ok((form.name().to_owned(), Case::ALL.into_iter().map(case).collect::<anyhow::Result<_>>()?))
        };
        let all = thread::scope(|scope| {
            let forms = Form::ALL.map(|form| scope.spawn(move || count(form)));
            forms.map(|form| form.join().expect("it does not panic"))
        });
        let rustc = Command::new("rustc").arg("--version").output().context("rustc has built this")?;
        let rustc = String::from_utf8_lossy(&rustc.stdout).trim().to_owned();
        Ok(Self { rustc, instructions: all.into_iter().collect::<anyhow::Result<_>>()? })
    }

    /// How many differ too much, those that are not in both among them.
    fn print_beside(&self, was: &Self) -> usize {
        println!("{:<24}{:<24}{:>10}{:>10}{:>10}", "instructions a span", "", "was", "is", "");
        let mut changed = 0;
        for form in Form::ALL {
            for case in Case::ALL {
                let of = |figures: &Self| figures.instructions.get(form.name())?.get(case.name()).copied();
                let is = of(self).expect("all were counted");
                let was = of(was).unwrap_or_default();
                let percent = (is as f64 / was as f64 - 1.0) * 100.0;
                println!("{:<24}{:<24}{was:>10}{is:>10}{percent:>+8.1} %", form.name(), case.name());
                changed += usize::from(percent.abs() > TOLERANCE);
            }
        }
        changed
    }
}
