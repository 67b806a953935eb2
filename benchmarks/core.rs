//! Time and allocations of the core, by divan: `cargo bench --bench core`.

mod support;

use std::sync::LazyLock;

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use serde::de::IgnoredAny;
use support::{
    Case, Form, Records,
    cases::{SECONDS, WARM_UP},
    records::{in_json, spans},
};
use tailwater::decode;

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

/// OTLP/JSON brought to protobuf, beside a walk over its values.
#[divan::bench(args = [Form::Keyed, Form::Batched], sample_count = 10, sample_size = 1)]
fn json(bencher: Bencher<'_, '_>, form: Form) {
    let mut buffer = Vec::new();
    each_json(bencher, form, |json| _ = black_box(decode::protobuf(json, &mut buffer).expect("OTLP/JSON")));
}

#[divan::bench(args = [Form::Keyed, Form::Batched], sample_count = 10, sample_size = 1)]
fn json_walk(bencher: Bencher<'_, '_>, form: Form) {
    each_json(bencher, form, |json| _ = serde_json::from_slice::<IgnoredAny>(json).expect("JSON"));
}

fn each_json(bencher: Bencher<'_, '_>, form: Form, mut read: impl FnMut(&[u8])) {
    let records = if form == Form::Keyed { &KEYED } else { &BATCHED };
    let (_, measured) = records.split(WARM_UP);
    let json: Vec<_> = measured.iter().map(|record| in_json(&record.value)).collect();
    bencher.counter(ItemsCount::new(spans(measured))).bench_local(|| json.iter().for_each(|json| read(json)));
}

fn run(bencher: Bencher<'_, '_>, case: Case, records: &Records) {
    let (warm_up, measured) = records.split(WARM_UP);
    bencher
        .counter(ItemsCount::new(spans(measured)))
        .with_inputs(|| case.warm(records.form, warm_up))
        .bench_local_refs(|run| run.take(measured));
}
