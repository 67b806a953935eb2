//! Tailwater and the OpenTelemetry Collector over the same topics, with the same policies, in turn: `make side-by-side`, or
//! `cargo bench --bench side_by_side -- keyed steady` for some of it. README.md says what is equal and what makes a line void.

#[path = "side_by_side/contender.rs"]
mod contender;
#[path = "side_by_side/cost.rs"]
mod cost;
#[path = "side_by_side/drain.rs"]
mod drain;
#[path = "side_by_side/feed.rs"]
mod feed;
#[path = "side_by_side/figures.rs"]
mod figures;
#[path = "side_by_side/floor.rs"]
mod floor;
#[path = "side_by_side/kept.rs"]
mod kept;
#[path = "side_by_side/kills.rs"]
mod kills;
#[path = "side_by_side/lines.rs"]
mod lines;
#[path = "side_by_side/loss.rs"]
mod loss;
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
#[path = "side_by_side/stage.rs"]
mod stage;
#[path = "side_by_side/steady.rs"]
mod steady;
mod support;
#[path = "support/topic.rs"]
mod topic;
#[path = "side_by_side/traffic.rs"]
mod traffic;
#[path = "side_by_side/watch.rs"]
mod watch;

use std::env;

use floor::Floor;
use row::{ROWS, is_quick};

/// Rounds, where `REPEATS` says nothing else: each contender runs once in each.
const ROUNDS: usize = 5;
/// Of each, where `KILLS` says nothing else.
const KILLS: usize = 20;
/// What is no row: traffic at steady rates, and kills in it.
const PARTS: [&str; 2] = ["steady", "kills"];

fn main() {
    // Cargo says `--bench` to every benchmark.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [floor::WORD, name, brokers, topic] = &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return Floor::named(name).run(brokers, topic);
    }
    let is_known = |word: &String| PARTS.contains(&word.as_str()) || ROWS.iter().any(|row| row.name == *word);
    if let Some(unknown) = words.iter().find(|word| !is_known(word)) {
        panic!("there is no row `{unknown}`; there are {}, {}", ROWS.map(|row| row.name).join(", "), PARTS.join(", "));
    }
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    let rounds = number("REPEATS").map_or(if is_quick() { 1 } else { ROUNDS }, |rounds| rounds as usize);
    println!(
        "{rounds} rounds, there and back; median (least–most). CPU is that of the process, the broker's is not in it."
    );
    if is_quick() {
        println!("QUICK: this shows that it works; the figures are of start-up more than of anything else.");
    }
    println!("OTLP/JSON is not among the rows: Tailwater does not read it yet.");
    let rows = ROWS.into_iter().filter(|row| is_wanted(row.name) && !(words.is_empty() && row.is_large()));
    let drains = rows.map(|row| drain::drain(row, rounds)).collect::<Vec<_>>();
    let [is_steady, is_killed] = PARTS.map(is_wanted);
    let capacity = (is_steady || is_killed).then(|| number("CAPACITY").unwrap_or_else(drain::capacity));
    let steady = capacity.filter(|_| is_steady).map(|capacity| steady::steady(capacity, rounds)).unwrap_or_default();
    let times = number("KILLS").map_or(if is_quick() { 1 } else { KILLS }, |kills| kills as usize);
    // Who is killed has to catch up.
    let kills = capacity.filter(|_| is_killed).map(|capacity| kills::kills(capacity / 4.0, times)).unwrap_or_default();
    report::save(&drains, &steady, &kills, rounds);
    plots::draw(&drains);
}

/// What a variable says; None where it is not there, or empty.
fn number(variable: &str) -> Option<f64> {
    let text = env::var(variable).ok().filter(|text| !text.is_empty())?;
    let number = text.parse().ok().filter(|number| *number >= 1.0);
    Some(number.unwrap_or_else(|| panic!("{variable} must be a number from 1 on, not `{text}`")))
}
