//! Tailwater and the OpenTelemetry Collector over the same topics, with the same policies, in turn: `make side-by-side`, or
//! `cargo bench --bench side_by_side -- keyed batched` for some rows. README.md says what is equal and what makes a line void.

#[path = "side_by_side/contender.rs"]
mod contender;
#[path = "side_by_side/cost.rs"]
mod cost;
#[path = "side_by_side/drain.rs"]
mod drain;
#[path = "side_by_side/figures.rs"]
mod figures;
#[path = "side_by_side/floor.rs"]
mod floor;
#[path = "side_by_side/kept.rs"]
mod kept;
#[path = "side_by_side/machine.rs"]
mod machine;
#[path = "support/plot.rs"]
mod plot;
#[path = "side_by_side/plots.rs"]
mod plots;
#[path = "side_by_side/policies.rs"]
mod policies;
#[allow(dead_code, unused_imports, reason = "the tests take the rest")]
#[path = "../tests/support/mod.rs"]
mod real;
#[path = "side_by_side/report.rs"]
mod report;
#[path = "side_by_side/row.rs"]
mod row;
mod support;
#[path = "support/topic.rs"]
mod topic;
#[path = "side_by_side/traffic.rs"]
mod traffic;

use std::env;

use floor::Floor;
use row::{ROWS, is_quick};

/// Rounds, where `REPEATS` says nothing else: each contender runs once in each.
const ROUNDS: usize = 5;
const QUICK_ROUNDS: usize = 2;

fn main() {
    // Cargo says `--bench` to every benchmark.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [floor::WORD, name, brokers, topic] = &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return Floor::named(name).run(brokers, topic);
    }
    let unknown = words.iter().find(|word| ROWS.iter().all(|row| row.name != **word));
    assert!(unknown.is_none(), "{unknown:?} is no row; there are {}", ROWS.map(|row| row.name).join(", "));
    let rounds = env::var("REPEATS").ok().filter(|repeats| !repeats.is_empty());
    let rounds = rounds.map_or(if is_quick() { QUICK_ROUNDS } else { ROUNDS }, |repeats| {
        repeats.parse().ok().filter(|rounds| *rounds > 0).expect("REPEATS is a number above 0")
    });
    println!(
        "{rounds} rounds, there and back; median (least–most). CPU is that of the process, the broker's is not in it."
    );
    if is_quick() {
        println!("QUICK: this shows that it works; the figures are of start-up more than of anything else.");
    }
    println!("OTLP/JSON is not among the rows: Tailwater does not read it yet.");
    let rows = ROWS.into_iter().filter(|row| words.is_empty() || words.iter().any(|word| word == row.name));
    let drains = rows.map(|row| drain::drain(row, rounds)).collect::<Vec<_>>();
    report::save(&drains, rounds);
    plots::draw(&drains);
}
