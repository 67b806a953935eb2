//! Tailwater and the OpenTelemetry Collector over the same topics, with the same policies, in turn: `make bench`, or
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
#[path = "side_by_side/results.rs"]
mod results;
#[path = "side_by_side/row.rs"]
mod row;
#[path = "side_by_side/stage.rs"]
mod stage;
#[path = "side_by_side/steady.rs"]
mod steady;
mod support;
#[path = "side_by_side/tables.rs"]
mod tables;
#[path = "support/topic.rs"]
mod topic;
#[path = "side_by_side/traffic.rs"]
mod traffic;
#[path = "side_by_side/watch.rs"]
mod watch;

use std::{cell::LazyCell, env, fs, path::Path};

use floor::Floor;
use results::Results;
use row::{ROWS, Row, is_quick};

/// Of each, where `KILLS` says nothing else.
const KILLS: usize = 20;
/// What is no row: traffic at steady rates, and kills in it.
const PARTS: [&str; 2] = ["steady", "kills"];
/// Nothing is measured, and what was is shown.
const TABLES: &str = "tables";
/// For `held-5m`: the Collector, tuned, takes 19 GiB, and the broker is beside it.
const LARGE_KIB: u64 = 22 << 20;

fn main() {
    // Cargo says `--bench` to every benchmark.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [floor::WORD, name, brokers, topic] = &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return Floor::named(name).run(brokers, topic);
    }
    let is_known = |word: &String| PARTS.contains(&word.as_str()) || ROWS.iter().any(|row| row.name == *word);
    let mut results = Results::open();
    if words == [TABLES] {
        return show(&results);
    }
    if let Some(unknown) = words.iter().find(|word| !is_known(word)) {
        panic!("there is no row `{unknown}`; there are {}, {}", ROWS.map(|row| row.name).join(", "), PARTS.join(", "));
    }
    println!(
        "Each contender in turn, there and back; median (least–most). CPU is that of the process, the broker's is not in it."
    );
    if is_quick() {
        println!("QUICK: this shows that it works; the figures are of start-up more than of anything else.");
    }
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    let capacity = LazyCell::new(|| number("CAPACITY").unwrap_or_else(drain::capacity));
    for mut row in ROWS.into_iter().filter(|row| is_wanted(row.name)) {
        // Who says how many are to be read is not to be told.
        if row.is_main() && number("SPANS").is_none() {
            row.most = drain::most(*capacity);
        }
        if words.is_empty() && !has_room(&row) {
            println!("\n{} needs {} GiB of memory, and is left out.", row.name, LARGE_KIB >> 20);
            continue;
        }
        let drain = drain::drain(row);
        results.put(drain.row.name, results::row(&drain));
    }
    let [is_steady, is_killed] = PARTS.map(is_wanted);
    for share in steady::shares().iter().filter(|_| is_steady) {
        results.put(&format!("steady-{share}"), results::steady(&steady::steady(*capacity, *share)));
    }
    let times = number("KILLS").map_or(if is_quick() { 1 } else { KILLS }, |kills| kills as usize);
    if is_killed {
        // Who is killed has to catch up, beside the other.
        results.put("kills", results::kills(&kills::kills(*capacity / 8.0, times)));
    }
    show(&results);
}

/// In the documentation, where it shows these results.
fn show(results: &Results) {
    if !results.are_published() {
        return;
    }
    for page in ["README.md", "docs/performance.md"] {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let text = fs::read_to_string(&page).expect("a page");
        fs::write(&page, tables::fill(&text, results.all())).expect("a page is written");
        println!("shown in {}", page.display());
    }
    plots::draw(results.all());
}

fn has_room(row: &Row) -> bool {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    !row.is_large() || memory.is_some_and(|kib: u64| kib >= LARGE_KIB)
}

/// What a variable says; None where it is not there, or empty.
fn number(variable: &str) -> Option<f64> {
    let text = env::var(variable).ok().filter(|text| !text.is_empty())?;
    let number = text.parse().ok().filter(|number| *number >= 1.0);
    Some(number.unwrap_or_else(|| panic!("{variable} must be a number from 1 on, not `{text}`")))
}
