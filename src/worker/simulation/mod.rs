//! The worker against a simulated Kafka: histories with faults out of seeds, each judged at every commit.

mod broker;
mod client;
mod history;
mod judge;
mod learned;
mod log;
mod mutants;
mod record;
mod undisturbed;

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
    mutant::{self, MUTANTS, Mutant},
    telemetry::Telemetry,
};
use history::{Action, FAULTS, MOMENTS, Setup, Table, actions, begin_after_a_rest, play, rest_through_a_downtime};

/// The shapes histories come in, the first time after time in turn, and those that take long now and then.
struct Setups {
    turn: Vec<Setup>,
    seldom: Vec<Setup>,
}

/// One history of so many, for it takes as long as some fifty others.
const SELDOM: u64 = 512;

/// In a group of its own for the sake of its budget.
const ERRORS: &str = "{ name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }";

/// Learn of every trace and decide none, so that verdicts stay a function of the records. Below ceilings traces are judged
/// together; this one is never reached.
const LEARNS: &str = "- { name: learns, shadow: true, keep: { slowest: { quantile: 0.9, of: trace.duration, window: 24h } } }\n\
                      - { name: counts, shadow: true, keep: { rare: { by: [], per: 24h } } }\n\
                      - { name: spends, shadow: true, keep: { rate: { traces_per_second: 1 } } }\n\
                      - { name: follows, shadow: true, keep: { follow: { by: [links], for: 24h } } }\n";

fn setups() -> Setups {
    let telemetry = Arc::new(Telemetry::unheard());
    let start = Instant::now();
    let folder = tempfile::tempdir().expect("a folder");
    let setup = |keying, delivery, kind: Kind| {
        let late_window = if kind == Kind::Forgetful { "3s" } else { "24h" };
        // The least there may be.
        let buffer = if kind == Kind::Large { "16MiB" } else { "1GiB" };
        // Where nothing is learned, nothing hides what becomes of decisions.
        let learns = if kind == Kind::Plain { LEARNS } else { "" };
        let errors = match kind {
            Kind::Plain => format!("{{ name: all, budget: {{ traces_per_second: 1000000 }}, policies: [ {ERRORS} ] }}"),
            _ => ERRORS.to_owned(),
        };
        let text = format!(
            "kafka: {{ brokers: nowhere }}\ninput: {{ topics: [spans, more] }}\n\
             output: [ {{ kafka: {{ topic: kept }} }} ]\ndelivery: {delivery}\n\
             completion: {{ quiet: 1s, max_wait: {}ms }}\nlate_window: {late_window}\ntick: {{ interval: 200ms }}\n\
             memory: {{ buffer: {buffer} }}\npolicies:\n\
             - {{ name: vetoed, when: any(name == \"veto\"), drop: always }}\n\
             - {errors}\n{learns}",
            history::MAX_WAIT
        );
        let path = folder.path().join("tailwater.yaml");
        std::fs::write(&path, text).expect("a file");
        let config = Config::load(&path, [], []).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        Setup {
            keying,
            config: Arc::new(config),
            telemetry: telemetry.clone(),
            start,
            for_good: kind != Kind::Forgetful,
            backlog: kind == Kind::Backlog,
            large: kind == Kind::Large,
            // Elsewhere all of it stays in memory.
            gives_up: kind != Kind::Forgetful,
            tells: false,
        }
    };
    use Keying::{Keyed, Unkeyed};
    let mut turn = Vec::new();
    for delivery in ["exactly_once", "at_least_once"] {
        for kind in [Kind::Plain, Kind::Forgetful] {
            turn.extend([Keyed, Unkeyed].map(|keying| setup(keying, delivery, kind)));
        }
        turn.extend([Keyed, Unkeyed].map(|keying| setup(keying, delivery, Kind::Backlog)));
    }
    let seldom = [Keyed, Unkeyed].map(|keying| setup(keying, "exactly_once", Kind::Large)).into();
    Setups { turn, seldom }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Verdicts are not remembered for good.
    Forgetful,
    Backlog,
    Large,
}

impl Setups {
    fn of(&self, seed: u64) -> &Setup {
        let (round, all) = match seed % SELDOM {
            0 => (seed / SELDOM, &self.seldom),
            _ => (seed, &self.turn),
        };
        &all[(round % all.len() as u64) as usize]
    }
}

/// A history that fails, and why.
struct Failure {
    seed: u64,
    wrong: String,
}

/// Plays histories from `first` on until one fails, over all cores.
fn search(setups: &Setups, mutant: Option<Mutant>, first: u64, count: u64) -> (Option<Failure>, Table) {
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
                let setup = setups.of(seed);
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

/// `TAILWATER_SEED` replays one history, `TAILWATER_HISTORIES` says how many to play; 0 plays on until one fails.
#[test]
fn histories_lose_split_and_double_nothing() {
    // An unkeyed input has one worker, and that are four of ten.
    const LEAST: u64 = 270_000;
    // Of each fault at each moment, so that the rare ones are tried as well: some take 350,000 histories.
    const TIMES: u64 = 1_000;
    const MOST: u64 = 4 * LEAST;
    let setups = setups();
    if let Some(seed) = number("TAILWATER_SEED") {
        return fail_if_wrong(&setups, search(&setups, None, seed, 1).0);
    }
    let first = fastrand::u64(..1 << 48);
    let count = number("TAILWATER_HISTORIES");
    let mut table = Table::new();
    let pairs = || MOMENTS.into_iter().flat_map(|moment| FAULTS.map(|fault| (fault, moment)));
    let is_full = |table: &Table| pairs().all(|pair| table.get(&pair).is_some_and(|times| *times >= TIMES));
    let mut played = 0;
    while match count {
        None => played < LEAST || played < MOST && !is_full(&table),
        Some(count) => count == 0 || played < count,
    } {
        let (failure, more) = search(&setups, None, first + played, LEAST / 3);
        fail_if_wrong(&setups, failure);
        more.into_iter().for_each(|(pair, times)| *table.entry(pair).or_default() += times);
        played += LEAST / 3;
        println!("{played} histories from {first} on are as they must be");
    }
    println!("faults that struck, and where the worker was:");
    for moment in MOMENTS {
        println!("{moment:?}");
        for fault in FAULTS {
            let times = table.get(&(fault, moment)).copied().unwrap_or(0);
            println!("{times:10} {fault:?}");
            assert!(times >= TIMES || count.is_some(), "{fault:?} at {moment:?} was seen {times} times");
        }
    }
}

fn fail_if_wrong(setups: &Setups, failure: Option<Failure>) {
    let Some(Failure { seed, wrong }) = failure else { return };
    let setup = setups.of(seed);
    let (left, still) = shrink(setup, seed);
    _ = play(&Setup { tells: true, ..setup.clone() }, seed, &left, &mut Table::new());
    panic!("TAILWATER_SEED={seed} repeats this: {wrong}\nand after what is told above: {still}");
}

/// Each rule, switched off, is noticed. Always by the same histories: whether they do is no matter of luck.
#[test]
fn every_mutant_is_found() {
    const WITHIN: u64 = 30_000;
    let setups = setups();
    let first = number("TAILWATER_SEED").unwrap_or(0);
    let missed: Vec<Mutant> = MUTANTS
        .into_iter()
        .filter(|&mutant| {
            let (failure, _) = search(&setups, Some(mutant), first, WITHIN);
            match &failure {
                Some(Failure { seed, wrong }) => println!("{mutant:?}, after {}: {wrong}", seed - first + 1),
                None => println!("{mutant:?} is not found"),
            }
            failure.is_none()
        })
        .collect();
    assert!(missed.is_empty(), "TAILWATER_SEED={first}: not found within {WITHIN} histories: {missed:?}");
}

#[test]
fn partitions_at_rest_hold_nothing_back_after_a_downtime() {
    for setup in setups().turn.iter().filter(|setup| setup.keying == Keying::Unkeyed) {
        assert_eq!(rest_through_a_downtime(&Setup { tells: true, ..setup.clone() }), None);
    }
}

#[test]
fn a_partition_that_came_to_rest_before_the_group_began_holds_nothing_back_for_long() {
    for setup in setups().turn.iter().filter(|setup| setup.keying == Keying::Unkeyed) {
        assert_eq!(begin_after_a_rest(&Setup { tells: true, ..setup.clone() }), None);
    }
}
