//! One table of what a span costs: time, instructions, allocations. `cargo bench --bench table`.
//!
//! Instructions are counted by Valgrind, which runs this program again for each case, over the first half of the records and
//! over all of them: the difference is what the second half costs, start-up and warm-up taken out.

#[path = "support/cpu.rs"]
mod cpu;
mod support;

use std::{env, hint::black_box, path::Path, process::Command};

use anyhow::{Context, ensure};
use cpu::cpu_time;
use support::{
    Case, Counting, Form, Records,
    cases::{SECONDS, WARM_UP},
    counting,
    records::spans,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Names the case to be counted, to the program under Valgrind.
const COUNTED: &str = "TAILWATER_COUNTED";
const ROUNDS: usize = 9;

/// Seconds of traffic under Valgrind, which is fifty times slower; half of it is counted.
const COUNTED_SECONDS: u64 = 16;

fn main() -> anyhow::Result<()> {
    if let Ok(counted) = env::var(COUNTED) {
        return count(&counted);
    }
    println!("{:<24}{:<24}{:>12}{:>16}{:>15}", "records", "case", "CPU ns/span", "instr./span", "alloc./span");
    let folder = tempfile::tempdir()?;
    for form in Form::ALL {
        let records = Records::generate(form, SECONDS);
        let short = Records::generate(form, COUNTED_SECONDS);
        let file = folder.path().join(form.name());
        short.save(&file)?;
        for case in Case::ALL {
            let (ns, allocations) = time(case, &records);
            let instructions = instructions(case, &short, &file)?;
            println!("{:<24}{:<24}{ns:>12.0}{instructions:>16.0}{allocations:>15.4}", form.name(), case.name());
        }
    }
    Ok(())
}

/// Nanoseconds of CPU time, the median of all rounds, and allocations, each a span.
fn time(case: Case, records: &Records) -> (f64, f64) {
    let (warm_up, measured) = records.split(WARM_UP);
    let mut allocations = 0;
    let mut rounds = [(); ROUNDS].map(|()| {
        let mut run = case.warm(records.form, warm_up);
        let before = counting::counts().allocations;
        let start = cpu_time();
        black_box(run.take(measured));
        let elapsed = cpu_time() - start;
        allocations = counting::counts().allocations - before;
        elapsed
    });
    rounds.sort_unstable();
    let spans = spans(measured) as f64;
    (rounds[ROUNDS / 2] as f64 / spans, allocations as f64 / spans)
}

fn instructions(case: Case, records: &Records, file: &Path) -> anyhow::Result<f64> {
    let count = |seconds: u64| -> anyhow::Result<f64> {
        let case = Case::ALL.iter().position(|&other| other == case).expect("all are there");
        let form = Form::ALL.iter().position(|&other| other == records.form).expect("all are there");
        let output = Command::new("valgrind")
            .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
            .arg(env::current_exe()?)
            .env(COUNTED, format!("{case} {form} {seconds} {}", file.display()))
            .output()
            .context("valgrind is needed to count instructions")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "valgrind: {said}");
        let refs =
            said.lines().find_map(|line| line.split_once("I   refs:")).context("valgrind counts no instructions")?;
        Ok(refs.1.trim().replace(',', "").parse()?)
    };
    let (_, counted) = records.split(COUNTED_SECONDS / 2);
    Ok((count(COUNTED_SECONDS)? - count(COUNTED_SECONDS / 2)?) / spans(counted) as f64)
}

/// Runs a case under Valgrind.
fn count(counted: &str) -> anyhow::Result<()> {
    let mut words = counted.splitn(4, ' ');
    let mut word = || words.next().context("four words");
    let (case, form) = (Case::ALL[word()?.parse::<usize>()?], Form::ALL[word()?.parse::<usize>()?]);
    let seconds = word()?.parse()?;
    let records = Records::load(form, Path::new(word()?))?;
    let mut run = case.warm(form, &[]);
    black_box(run.take(records.split(seconds).0));
    Ok(())
}
