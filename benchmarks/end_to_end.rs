//! Spans per CPU-second of the whole processor, on a real broker: `KAFKA=host:port cargo bench --bench end_to_end`.
//!
//! Two topics of 60,000 traces, keyed small records and unkeyed batches of 100 spans, each handled `--until-end` by the
//! processor under a group of its own, several times, by turns with each kind of delivery. CPU is user + system time of the processor, not the broker's.

#[path = "support/topic.rs"]
mod topic;

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use tailwater::generate::{Record, Shape, Traffic, batched, keyed};
use topic::{PARTITIONS, create, delete, delete_all_of, fill};

const TRACES: usize = 60_000;
const RUNS: usize = 5;
const SEED: u64 = 7;
const DELIVERIES: [&str; 2] = ["exactly_once", "at_least_once"];

fn main() {
    let Ok(brokers) = std::env::var("KAFKA") else {
        eprintln!("say which broker: KAFKA=host:port cargo bench --bench end_to_end");
        return;
    };
    let shape = Shape { spans_per_second: 40_000.0, ..Shape::default() };
    let traces = || Traffic::new(SEED, shape.clone()).take(TRACES);
    let epoch = shape.epoch_ns / 1_000_000;
    println!("{TRACES} traces, {PARTITIONS} partitions, seed {SEED}, {RUNS} runs");
    println!("{:<44} {:>9} {:>15} {:>15} {:>12}", "topic", "spans", "spans/CPU-s", "range", "spans/s");
    case(&brokers, "keyed small records", epoch, keyed(traces()));
    case(&brokers, "unkeyed batches of 100 spans", epoch, batched(traces(), 100));
}

fn case(brokers: &str, name: &str, epoch: u64, records: impl Iterator<Item = Record>) {
    let run = format!("bench-{:x}", std::process::id() ^ name.len() as u32);
    let input = format!("{run}-spans");
    create(brokers, &input);
    let spans = fill(brokers, &input, epoch, records).spans;
    let mut figures = DELIVERIES.map(|_| Vec::new());
    for at in 0..RUNS {
        for (delivery, figures) in DELIVERIES.iter().zip(&mut figures) {
            let group = format!("{run}-{delivery}-{at}");
            figures.push(measure(brokers, &input, (&group, delivery), spans));
        }
    }
    let medians = DELIVERIES.iter().zip(&mut figures).map(|(delivery, figures)| {
        figures.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (median, wall) = figures[RUNS / 2];
        let range = format!("{:.0}k-{:.0}k", figures[0].0 / 1e3, figures[RUNS - 1].0 / 1e3);
        let name = format!("{name}, {delivery}");
        println!("{name:<44} {spans:>9} {median:>15.0} {range:>15} {wall:>12.0}");
        median
    });
    let medians = medians.collect::<Vec<_>>();
    println!("{} costs {:.1} % more than {}", DELIVERIES[0], (medians[1] / medians[0] - 1.0) * 100.0, DELIVERIES[1]);
    delete(brokers, &[&input]);
}

/// Spans per CPU-second and per second of one run.
fn measure(brokers: &str, input: &str, (group, delivery): (&str, &str), spans: u64) -> (f64, f64) {
    let output = format!("{group}-kept");
    create(brokers, &output);
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("tailwater.yaml");
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/benchmarks/policies.yaml");
    std::fs::write(
        &config,
        format!(
            "kafka: {{ brokers: \"{brokers}\" }}\n\
             input: {{ topics: [{input}], group: {group} }}\n\
             output: [ {{ kafka: {{ topic: {output} }} }} ]\n\
             policies: [ {policies} ]\n\
             delivery: {delivery}\n\
             workers: 1\n\
             http: {{ listen: \"127.0.0.1:0\" }}\n"
        ),
    )
    .expect("the configuration");
    let begun = Instant::now();
    // The shell's `times` tells the CPU time of its children.
    let shell = Command::new("sh")
        .args(["-c", "\"$0\" run -c \"$1\" --until-end || exit 1; times", env!("CARGO_BIN_EXE_tailwater")])
        .arg(&config)
        .env("RUST_LOG", "error")
        .stderr(Stdio::inherit())
        .output()
        .expect("a shell");
    let wall = begun.elapsed().as_secs_f64();
    assert!(shell.status.success(), "the processor failed");
    let times = String::from_utf8(shell.stdout).expect("text");
    let cpu: f64 = times.lines().last().expect("times of children").split_whitespace().map(seconds).sum();
    delete_all_of(brokers, group);
    (spans as f64 / cpu, spans as f64 / wall)
}

/// `0m1.23s`
fn seconds(text: &str) -> f64 {
    let (minutes, seconds) = text.trim_end_matches('s').split_once('m').expect("minutes and seconds");
    minutes.parse::<f64>().expect("minutes") * 60.0 + seconds.parse::<f64>().expect("seconds")
}
