//! More comes than can be handled, for a while: it waits in Kafka, and memory stays within its bounds.

use std::{
    thread,
    time::{Duration, Instant},
};

use tailwater::generate::Shape;

use crate::support::{
    kafka::kafka,
    load::{self, Load, PACE},
    oracle::{Copies, Expected},
    processor::Job,
    seed::{seed, soak},
    traffic::spread,
    wait::wait_until,
    witness,
};

const PARTITIONS: i32 = 4;
/// On the wall.
const SPANS_PER_SECOND: f64 = 40_000.0;
/// The processor runs for so long and then stands still for so long: what is left of it can do a tenth of this, at most.
const RUNS: Duration = Duration::from_millis(5);
const STANDS: Duration = Duration::from_millis(995);
/// Where no soak is asked for.
const SHORT: Duration = Duration::from_secs(10);
/// And as long again as the load took.
const PATIENCE: Duration = Duration::from_secs(120);
/// What is held of this traffic at a time is more.
const BUFFER: u64 = 128 << 20;
/// What docs/performance.md says that a container is given, with one worker.
const LIMIT: u64 = BUFFER + (96 << 20) + (64 << 20);

#[test]
fn ten_times_what_it_can_do() {
    let length = soak().max(SHORT);
    let input = kafka().topic("overload-spans", PARTITIONS);
    let output = kafka().topic("overload-kept", 1);
    let job = Job {
        keyed: "no",
        quiet: "30s",
        max_wait: "2m",
        // The verdicts of ten minutes would take a quarter of so small a buffer.
        more: format!("memory: {{ buffer: {BUFFER} }}\nworkers: 1\nlate_window: 1m\n"),
        ..Job::named("overload")
    };
    let processor = job.run();
    wait_until("it to be ready", PATIENCE, || processor.is_ready());

    let shape = Shape { spans_per_second: SPANS_PER_SECOND / f64::from(PACE), ..load::shape() };
    let load = Load::start(&[&input], seed(), shape, spread);
    let start = Instant::now();
    while start.elapsed() < length {
        processor.freeze();
        thread::sleep(STANDS);
        processor.thaw();
        thread::sleep(RUNS);
    }
    let received = processor.metrics().expect("it runs").received();
    load.end();
    let catching_up = Instant::now();
    let expected = Expected::of(&[&input]);
    let spans = expected.spans as u64;
    // How far it is behind it may not have been told yet.
    wait_until("all to be read", PATIENCE + length, || {
        processor.metrics().is_some_and(|metrics| metrics.received() == spans)
    });
    let (metrics, peak) = (processor.metrics().expect("it runs"), processor.peak_bytes());

    println!(
        "{length:?} in which {spans} spans came and {received} were read; then {:.0?} for the rest; \
         {} given up of memory, {} decided early for it; {} MiB at most, of {}",
        catching_up.elapsed(),
        metrics.sum("tailwater_spans_given_up_total"),
        metrics.decided("memory"),
        peak >> 20,
        LIMIT >> 20,
    );
    assert!(received * 10 <= spans, "{received} of {spans}: this was no load of ten times what it can do");
    assert!(peak <= LIMIT, "{peak} bytes");
    assert!(metrics.sum("tailwater_spans_given_up_total") > spans / 10, "all of it fits into memory");
    assert_eq!((metrics.lost(), metrics.decided("memory")), (0, 0));
    assert!(processor.terminate().status.success());
    job.run_until_end();
    expected.check(&output.records(), Copies::One);
    witness("overload");
}
