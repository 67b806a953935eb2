//! What samplers promise, held against traffic out of seeds. `cargo bench --bench samplers` prints the same figures at length.

#[path = "../benchmarks/support/cluster.rs"]
mod cluster;
#[path = "../benchmarks/support/estimate.rs"]
mod estimate;
#[path = "../benchmarks/support/mod.rs"]
mod support;
#[path = "../benchmarks/support/traces.rs"]
mod traces;
#[path = "../benchmarks/support/workers.rs"]
mod workers;

use std::{collections::BTreeSet, fs, path::Path};

use cluster::{Second, adaptive, budget, play, rate};
use estimate::Coverage;
use tailwater::{
    model::{RecordTime, Threshold},
    sample::{Adaptive, Share, adaptive::Means, ceiling::BURST, known::Table as _},
};
use traces::Traces;
use workers::Workers;

const KEYS: [usize; 4] = [10, 500, 2_000, 20_000];

/// The most that was kept above 1.05 of a goal in any window, in seconds of the goal.
fn excess(seconds: &[Second], goal: f64) -> f64 {
    let (mut now, mut most) = (0.0_f64, 0.0_f64);
    for second in seconds {
        now = (now + second.kept - 1.05 * goal).max(0.0);
        most = most.max(now);
    }
    most / goal
}

/// Of a goal, what was kept from one second on.
fn share(seconds: &[Second], goal: f64) -> f64 {
    seconds.iter().map(|second| second.kept).sum::<f64>() / seconds.len() as f64 / goal
}

#[test]
fn a_rate_holds_under_any_number_of_keys() {
    for (partitions, keys) in [(1, 10), (1, 20_000), (4, 500), (32, 2_000), (32, 20_000)] {
        let mut traces = Traces::new(7, keys, 2_000.0);
        (traces.partitions, traces.cost) = (partitions, 15);
        let all = play(&mut rate(1, partitions, 3_000.0), &mut traces, 60, |_, _| 1.0);
        let held = share(&all[10..], 3_000.0);
        assert!((0.98..=1.01).contains(&held), "{partitions} partitions, {keys} keys: {held}");
        assert!(excess(&all, 3_000.0) < 0.2, "{partitions} partitions, {keys} keys: {}", excess(&all, 3_000.0));
    }
}

#[test]
fn after_ten_kills_a_rate_is_a_goal_and_a_burst_at_most() {
    for partitions in [1, 4, 32] {
        for seed in 0..3 {
            let mut traces = Traces::new(seed, 500, 1_000.0);
            (traces.partitions, traces.cost) = (partitions, 15);
            let mut cluster = rate(seed, partitions, 3_000.0);
            cluster.kills = (1..=10).map(|kill| 11 * kill + seed as i64).collect();
            cluster.skew = seed as i64;
            // Traffic rests, comes back ten times as strong, and the fullest bucket meets it.
            let factor = |second: i64, _| [1.0, 0.01, 10.0][(second / 20) as usize % 3];
            let all = play(&mut cluster, &mut traces, 130, factor);
            let most = excess(&all, 3_000.0);
            assert!(most <= BURST, "{partitions} partitions, seed {seed}: {most} s of the goal too much");
        }
    }
}

#[test]
fn what_one_key_leaves_goes_to_the_others() {
    // The heaviest of ten keys rests: the rate is still used up by the others.
    let mut traces = Traces::new(5, 10, 1_000.0);
    traces.partitions = 4;
    let factor = |second, key| if second > 30 && key == 0 { 0.0 } else { 1.0 };
    let all = play(&mut rate(1, 4, 300.0), &mut traces, 60, factor);
    assert!((0.98..=1.01).contains(&share(&all[30..], 300.0)), "{}", share(&all[30..], 300.0));
}

#[test]
fn an_adaptive_goal_holds_to_two_per_cent_and_at_20000_keys_to_five() {
    for (partitions, goal) in [(1, 0.1), (4, 100.0), (32, 0.05)] {
        for keys in KEYS {
            let mut traces = Traces::new(9, keys, 1_000.0);
            traces.partitions = partitions;
            let all = play(&mut adaptive(1, partitions, goal), &mut traces, 240, |_, _| 1.0);
            let asked: f64 = all[60..].iter().map(|second| second.asked).sum::<f64>() / 180.0;
            let aim = if goal < 1.0 { goal * asked } else { goal };
            let held = share(&all[60..], aim);
            // Two per cent, and three standard errors of what randomness keeps.
            let error = 3.0 / (aim * 180.0).sqrt();
            let bound = if keys > 2_000 { 0.05 } else { 0.02 } + error;
            assert!((held - 1.0).abs() < bound, "{partitions} partitions, goal {goal}, {keys} keys: {held}");
        }
    }
}

/// As a processor has it: engines, what their ticks write, and what others hear of it.
#[test]
fn a_rate_and_a_budget_hold_over_engines_and_kills() {
    for partitions in [1, 4, 32] {
        // One of four workers is away for more than half of the time, and a budget holds back half of each bucket.
        for (policies, least) in [(workers::rate(900), 0.9), (workers::budget(900), 0.75)] {
            let mut traces = Traces::new(8, 500, 400.0);
            (traces.partitions, traces.cost) = (partitions, 5);
            let mut workers = Workers::new(2, partitions, &policies, 60);
            workers.kills = (1..=10).map(|kill| 12 * kill).collect();
            // All are back for the last ten, and decide what waited.
            (0..140).for_each(|_| workers.second(traces.second(|_| 1.0)));
            let seconds = &workers.seconds[..130];
            let (kept, above) = (share(&seconds[20..], 900.0), excess(seconds, 900.0));
            println!("{partitions} partitions, {policies}: {kept:.3} of the goal, {above:.2} s above");
            assert!((least..=1.03).contains(&kept), "{partitions} partitions, {policies}: {kept} of the goal");
            assert!(above <= BURST, "{partitions} partitions, {policies}: {above} s of the goal too much");
        }
    }
}

#[test]
fn no_key_has_more_than_each_may_over_engines_and_kills() {
    const EACH: f64 = 40.0;
    for (partitions, least) in [(1, 0.97), (4, 0.9), (32, 0.65)] {
        let mut traces = Traces::new(8, 100, 400.0);
        (traces.partitions, traces.cost) = (partitions, 5);
        let mut workers = Workers::new(2, partitions, &workers::each(100_000, EACH as u32), 60);
        workers.kills = (1..=10).map(|kill| 12 * kill).collect();
        (0..140).for_each(|_| workers.second(traces.second(|_| 1.0)));
        let keys = workers.by_key(130);
        let asks = |seconds: &[Second]| seconds.iter().map(|second| second.asked).sum::<f64>() / 130.0;
        let large = keys.values().filter(|seconds| asks(seconds) > 1.5 * EACH);
        assert!(large.clone().count() > 3);
        for seconds in large {
            let kept = share(&seconds[20..], EACH);
            println!("{partitions} partitions: {kept:.3} of what a key may have");
            assert!((least..=1.05).contains(&kept), "{partitions} partitions: {kept} of what a key may have");
        }
        for seconds in keys.values() {
            assert!(excess(seconds, EACH) <= BURST, "{partitions} partitions: {} s too much", excess(seconds, EACH));
        }
    }
}

#[test]
fn an_adaptive_goal_holds_over_engines_and_kills() {
    for partitions in [1, 4, 32] {
        let mut traces = Traces::new(8, 500, 1_000.0);
        traces.partitions = partitions;
        let mut workers = Workers::new(2, partitions, &workers::adaptive(100), 60);
        workers.kills = (1..=10).map(|kill| 60 + 17 * kill).collect();
        (0..250).for_each(|_| workers.second(traces.second(|_| 1.0)));
        let kept = share(&workers.seconds[60..240], 100.0);
        println!("{partitions} partitions: {kept:.3} of the goal");
        // Each kill takes what was counted of an interval of 15 s.
        assert!((0.93..=1.07).contains(&kept), "{partitions} partitions: {kept} of the goal");
    }
}

#[test]
fn a_step_passes_for_a_second_and_a_restart_begins_where_it_was() {
    for keys in KEYS {
        let mut traces = Traces::new(3, keys, 1_000.0);
        let mut cluster = adaptive(1, 1, 100.0);
        cluster.kills = vec![70];
        let factor = |second, _| if (40..90).contains(&second) { 10.0 } else { 1.0 };
        let all = play(&mut cluster, &mut traces, 120, factor);
        let step = all[39].kept / 100.0;
        assert!(step < 13.0, "{keys} keys: {step} of the goal in the second of the step");
        for (what, seconds) in [("a step", 40..60), ("a restart", 69..85), ("a step down", 91..115)] {
            let held = share(&all[seconds], 100.0);
            assert!((0.8..=1.2).contains(&held), "{keys} keys, after {what}: {held}");
        }
    }
}

#[test]
fn keys_that_rest_leave_their_part_and_their_place() {
    let mut traces = Traces::new(6, 2_000, 1_000.0);
    let mut sampler = Means::new(Adaptive::Throughput(200.0), 1_000);
    let (mut kept, mut least) = (0.0, usize::MAX);
    for second in 0..400_i64 {
        let factor = |key| if second > 100 && key < 100 { 0.0 } else { 1.0 };
        for trace in traces.second(factor) {
            let threshold = sampler.ask(trace.key, 1.0);
            kept += if second > 160 && trace.randomness.0 >= threshold.0 { 1.0 } else { 0.0 };
        }
        sampler.advance(RecordTime(second * 1000), &Share::whole(100.0));
        least = least.min(sampler.bytes());
    }
    let held = kept / 239.0 / 100.0;
    assert!((0.95..=1.05).contains(&held), "{held}");
}

#[test]
fn a_floor_is_a_floor_and_after_kills_no_more() {
    for (partitions, at_least) in [(1, 1), (4, 1), (32, 1), (32, 3)] {
        let workers = partitions.min(4) as u32;
        let mut traces = Traces::new(8, 2_000, 400.0);
        traces.partitions = partitions;
        let policies = workers::RARE.replace("at_least: 1", &format!("at_least: {at_least}"));
        let mut floors = Workers::new(2, partitions, &policies, 60);
        floors.kills = (1..=10).map(|kill| 17 * kill).collect();
        for _ in 1..240 {
            floors.second(traces.second(|_| 1.0));
        }
        let (mut all, mut uncovered) = (0, 0);
        for (&(period, key), &(seen, kept)) in &floors.kept {
            all += 1;
            uncovered += u32::from(kept < at_least.min(seen));
            let before = floors.kept.get(&(period - 1, key)).map_or(0, |(seen, _)| *seen);
            // Of the frequent, half of which is in one partition, that one goes first, unless its worker is away by then. Of others each keeps
            // its part where there is no time to pledge, or nobody to hear of it.
            let away = floors.kills.iter().any(|kill| (-10..7).contains(&(kill - period * 60)));
            let most = if before >= 100 && !away { at_least } else { at_least + workers - 1 };
            assert!(kept <= most, "{partitions} partitions: {kept} of {seen} kept, {before} before");
        }
        let more = floors.kept.values().filter(|(_, kept)| *kept > at_least).count();
        println!("{partitions} partitions, {at_least}: {all} keys, {uncovered} uncovered, {more} with more");
        assert!(more <= all as usize / 400, "{partitions} partitions: {more} of {all} have more than {at_least}");
        // Of a floor above 1, each worker keeps its part at once and waits for the others before it keeps more.
        let bound = if at_least == 1 { 0 } else { all * 4 / 100 };
        assert!(uncovered <= bound, "{partitions} partitions: {uncovered} of {all} uncovered");
        assert!(floors.kept.values().all(|(_, kept)| *kept > 0), "{partitions} partitions");
    }
}

#[test]
fn a_floor_counts_what_others_keep() {
    let mut traces = Traces::new(8, 50, 400.0);
    let policies = workers::RARE.replace("at_least: 1", "at_least: 2");
    let policies = format!("{policies}\notherwise: {{ probability: 10% }}");
    let mut floors = Workers::new(2, 1, &policies, 60);
    let mut by_others = 0;
    for _ in 0..59 {
        let traces = traces.second(|_| 1.0);
        by_others += traces.iter().filter(|trace| trace.randomness.0 >= Threshold::NEVER.0 / 10 * 9).count();
        floors.second(traces);
    }
    let kept: u32 = floors.kept.values().map(|(_, kept)| kept).sum();
    assert!((kept as usize) < by_others + 50, "{kept}, {by_others} by others");
    assert!(floors.kept.values().all(|(seen, kept)| kept >= seen.min(&2)));
}

#[test]
fn a_budget_holds_over_partitions_and_kills() {
    for partitions in [1, 4, 32] {
        let mut traces = Traces::new(4, 40, 1_000.0);
        (traces.partitions, traces.cost) = (partitions, 15);
        let mut cluster = budget(1, partitions, 3_000.0);
        cluster.kills = (1..=10).map(|kill| 10 * kill).collect();
        let all = play(&mut cluster, &mut traces, 120, |second, _| [1.0, 0.05, 3.0][(second / 20) as usize % 3]);
        assert!(excess(&all, 3_000.0) <= BURST, "{partitions} partitions: {}", excess(&all, 3_000.0));
        // Of these 20 s, 2.5 fill again what is held back for what is protected.
        assert!(share(&all[60..80], 3_000.0) > 0.8, "{partitions} partitions: {}", share(&all[60..80], 3_000.0));
    }
}

#[test]
fn intervals_cover_the_truth_as_often_as_they_say() {
    for (what, covered) in estimate::coverage(2, 1_000).shares {
        // What is protected and has room is all there, and the estimate exact.
        let as_said = if what == "errors" { covered == 1.0 } else { (0.93..=0.97).contains(&covered) };
        assert!(as_said, "{what}: {covered}");
    }
}

#[test]
fn estimates_through_engines_are_true_where_nothing_is_without_a_chance() {
    for partitions in [1, 4] {
        for Coverage { estimated, starved, .. } in estimate::through_engines(3, 12, partitions, "") {
            println!("{partitions} partitions: {estimated:.3} of the traces, {starved} without a chance");
            assert!(starved < 0.0001, "{partitions} partitions: {starved}");
            // Of 12 runs it has a standard error of 1 to 2 per cent.
            assert!((0.94..=1.06).contains(&estimated), "{partitions} partitions: {estimated}");
        }
    }
}

/// `make measure` and `make bench` draw all of them anew, so what is shown is what is drawn.
#[test]
fn the_plots_that_are_shown_are_there() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let pages = ["sampling.md", "performance.md"].map(|page| fs::read_to_string(docs.join(page)).expect("a page"));
    let links = pages.iter().flat_map(|page| page.split("](plots/").skip(1));
    let links = links.map(|rest| rest.split(')').next().expect("a part").to_owned());
    let shown: BTreeSet<String> = links.collect();
    let there = fs::read_dir(docs.join("plots")).expect("a folder");
    let there: BTreeSet<String> =
        there.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
    assert_eq!(shown, there);
    for name in there {
        let plot = fs::read_to_string(docs.join("plots").join(&name)).expect("text");
        assert!(plot.starts_with("<svg ") && plot.len() <= 40_000, "{name}: {} bytes", plot.len());
    }
}
