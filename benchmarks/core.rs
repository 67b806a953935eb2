//! Time and allocations of the core, by divan: `cargo bench --bench core`.

mod support;

use std::sync::LazyLock;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use support::{
    Case, Form, Records,
    cases::{SECONDS, WARM_UP},
    records::spans,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

static KEYED: LazyLock<Records> = LazyLock::new(|| Records::generate(Form::Keyed, SECONDS));
static BATCHED: LazyLock<Records> = LazyLock::new(|| Records::generate(Form::Batched, SECONDS));

fn main() {
    divan::main();
}

#[divan::bench(args = Case::ALL, sample_count = 10, sample_size = 1)]
fn keyed(bencher: Bencher<'_, '_>, case: Case) {
    run(bencher, case, &KEYED);
}

#[divan::bench(args = Case::ALL, sample_count = 10, sample_size = 1)]
fn batched(bencher: Bencher<'_, '_>, case: Case) {
    run(bencher, case, &BATCHED);
}

fn run(bencher: Bencher<'_, '_>, case: Case, records: &Records) {
    let (warm_up, measured) = records.split(WARM_UP);
    bencher
        .counter(ItemsCount::new(spans(measured)))
        .with_inputs(|| case.warm(records.form, warm_up))
        .bench_local_refs(|run| run.take(measured));
}
