//! The worker against a simulated Kafka: histories with faults out of seeds, each judged at every commit.

mod broker;
mod client;
mod history;
mod judge;
mod log;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use crate::{
    assemble::Keying,
    config::Config,
    mutant::{self, Mutant},
    telemetry::Telemetry,
};
use history::{Action, FAULTS, Setup, Table, actions, play};

/// The shapes histories come in.
fn setups() -> Vec<Setup> {
    let telemetry = Arc::new(Telemetry::unheard());
    let start = Instant::now();
    let folder = std::env::temp_dir().join(format!("tailwater-simulation-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut setups = Vec::new();
    for (name, keying, topics, for_good) in [
        ("keyed", Keying::Keyed, "spans, more", true),
        ("unkeyed", Keying::Unkeyed, "spans, more", true),
        ("forgetful", Keying::Keyed, "spans, more", false),
        ("unkeyed-forgetful", Keying::Unkeyed, "spans, more", false),
    ] {
        let late_window = if for_good { "24h" } else { "3s" };
        let text = format!(
            "kafka: {{ brokers: nowhere }}\ninput: {{ topics: [{topics}] }}\noutput: [ {{ kafka: {{ topic: kept }} }} ]\n\
             completion: {{ quiet: 1s, max_wait: {}ms }}\nlate_window: {late_window}\ntick: {{ interval: 200ms }}\npolicies:\n\
             - {{ name: vetoed, when: any(name == \"veto\"), drop: always }}\n\
             - {{ name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }}\n",
            history::MAX_WAIT
        );
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        let config = Config::load(&path, [], []).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        setups.push(Setup { keying, config: Arc::new(config), telemetry: telemetry.clone(), start, for_good });
    }
    std::fs::remove_dir_all(&folder).expect("it was made above");
    setups
}

/// A history that fails, and why.
struct Failure {
    seed: u64,
    wrong: String,
}

/// Plays histories from `first` on until one fails, over all cores.
fn search(setups: &[Setup], mutant: Option<Mutant>, first: u64, count: u64) -> (Option<Failure>, Table) {
    let next = AtomicU64::new(first);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<(Option<Failure>, Table)> = thread::scope(|scope| {
        let part = || {
            mutant::switch(mutant);
            let mut table = Table::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return (None, table);
                }
                let setup = &setups[seed as usize % setups.len()];
                if let Some(wrong) = play(setup, seed, &actions(seed), &mut table) {
                    next.store(first + count, Ordering::Relaxed);
                    return (Some(Failure { seed, wrong }), table);
                }
            }
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(part)).collect();
        running.into_iter().map(|thread| thread.join().expect("a history panicked")).collect()
    });
    let mut table = Table::new();
    let mut failure: Option<Failure> = None;
    for (failed, of) in parts {
        of.into_iter().for_each(|(pair, times)| *table.entry(pair).or_default() += times);
        failure = match (failure, failed) {
            (Some(a), Some(b)) => Some(if a.seed < b.seed { a } else { b }),
            (a, b) => a.or(b),
        };
    }
    (failure, table)
}

/// What is left of a history that fails when everything is taken out that it fails without.
fn shrink(setup: &Setup, seed: u64) -> (Vec<Action>, String) {
    let mut left = actions(seed);
    let mut wrong = play(setup, seed, &left, &mut Table::new()).expect("it fails");
    let mut size = left.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < left.len() {
            let mut less = left.clone();
            less.drain(at..(at + size).min(left.len()));
            match play(setup, seed, &less, &mut Table::new()) {
                Some(still) if kind(&still) == kind(&wrong) => (left, wrong) = (less, still),
                _ => at += size,
            }
        }
        size /= 2;
    }
    (left, wrong)
}

/// What is wrong, whichever trace or place it is.
fn kind(wrong: &str) -> String {
    wrong.chars().filter(|letter| !letter.is_ascii_digit()).take(40).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// `TAILWATER_SEED` replays one history, `TAILWATER_HISTORIES` says how many to play.
#[test]
fn histories_lose_split_and_double_nothing() {
    let setups = setups();
    let (first, count) = match number("TAILWATER_SEED") {
        Some(seed) => (seed, 1),
        None => (fastrand::u64(..1 << 48), number("TAILWATER_HISTORIES").unwrap_or(20_000)),
    };
    let (failure, table) = search(&setups, None, first, count);
    if let Some(Failure { seed, wrong }) = failure {
        let setup = &setups[seed as usize % setups.len()];
        let (left, still) = shrink(setup, seed);
        if number("TAILWATER_SEED").is_some() { judge::TELL.store(true, Ordering::Relaxed); play(setup, seed, &left, &mut Table::new()); }
        left.iter().for_each(|action| println!("{action:?}"));
        panic!("TAILWATER_SEED={seed} repeats this: {wrong}\nand with what is shown above: {still}");
    }
    for (pair, times) in table {
        println!("{times:8} {pair:?}");
    }
    let _ = FAULTS;
}
