//! One table of what a span costs: time, instructions, allocations. `cargo bench --bench table`.

#[path = "support/cpu.rs"]
mod cpu;
mod support;

use std::hint::black_box;

use cpu::cpu_time;
use support::{
    Case, Counting, Form, Records,
    cases::{SECONDS, WARM_UP},
    counting,
    instructions::{self, Counter},
    records::spans,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: usize = 9;

/// Seconds of traffic under Valgrind, which is fifty times slower; half of it is counted.
const COUNTED_SECONDS: u64 = 16;

fn main() -> anyhow::Result<()> {
    if instructions::is_counted()? {
        return Ok(());
    }
    println!("{:<24}{:<24}{:>12}{:>16}{:>15}", "records", "case", "CPU ns/span", "instr./span", "alloc./span");
    for form in Form::ALL {
        let records = Records::generate(form, SECONDS);
        let short = Records::generate(form, COUNTED_SECONDS);
        let counter = Counter::over(&short, COUNTED_SECONDS)?;
        for case in Case::ALL {
            let (ns, allocations) = time(case, &records);
            let instructions = counter.instructions(case)?;
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
