//! Traffic at a steady rate: what it takes to keep up with it, and how long after its last span a trace is out.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    contender::Contender,
    cost::{self, Process},
    feed::{self, Feed, Lives},
    figures::Tail,
    kept::{Kept, Name},
    lines::Lines,
    policies::Policies,
    real::kafka::kafka,
    report,
    row::is_quick,
    stage::{SURELY, Stage, WAIT},
    watch::Watch,
};

/// A rate, with what all of them made of it.
pub struct Steady {
    /// Per cent of what the Collector can.
    pub share: u32,
    /// Spans per second.
    pub rate: f64,
    pub lines: Lines<Pace>,
}

/// A run, in the time that is looked at.
pub struct Pace {
    /// CPU-seconds per second.
    pub cores: f64,
    pub broker_cores: f64,
    /// The median of what was in memory.
    pub resident_bytes: u64,
    /// Milliseconds from the last span of a kept trace to its output.
    pub after_last: Tail,
    /// Milliseconds from the end of the wait, which begins with a trace's first span.
    pub beyond_wait: Tail,
}

/// Start-up, and the time until as much is decided as comes.
const WARM_UP: Duration = Duration::from_secs(15);
const SHARES: [u32; 4] = [25, 50, 75, 100];

/// Runs all of them at all rates. `capacity` is what the Collector can, in spans per second.
pub fn steady(capacity: f64, rounds: usize) -> Vec<Steady> {
    let shares = if is_quick() { &SHARES[..1] } else { &SHARES };
    let all = shares.iter().map(|share| {
        let (contenders, rate) = (Contender::of_steady_traffic(), capacity * f64::from(*share) / 100.0);
        let name = format!("steady-{share}");
        let lines = Lines::measure(contenders, rounds, &name, |contender, group| run(contender, rate, group));
        let steady = Steady { share: *share, rate, lines };
        report::print_steady(&steady);
        steady
    });
    all.collect()
}

/// What is looked at begins and ends so long after the traffic.
fn window() -> [Duration; 2] {
    let waits = if is_quick() { 1 } else { 5 };
    [WARM_UP, WARM_UP + waits * WAIT]
}

/// One contender, for as long as there is traffic.
fn run(contender: Contender, rate: f64, group: &str) -> Result<(Pace, Option<Kept>), String> {
    let (stage, [from, to]) = (Stage::of(group), window());
    let task = stage.task(Policies::Five, rate);
    let watch = Watch::start(&stage.output);
    let mut process = contender.start(&task, group, &stage.output, &[]);
    let feed = Feed::start(&stage.input, rate, to + WAIT + SURELY);
    let [cores, broker_cores, resident] =
        looked_at(&mut process, [from, to]).ok_or_else(|| format!("it ended by itself: {}", task.last_line(group)))?;
    let lives = feed.end()?;
    task.ends(process, group)?;
    let delays = delays(&lives, &watch.end(), [from, to]);
    let (after_last, beyond_wait, kept) = delays.ok_or("it kept nothing")?;
    Ok((Pace { cores, broker_cores, resident_bytes: resident as u64, after_last, beyond_wait }, Some(kept)))
}

/// Cores of the process and of the broker, and bytes in memory, between two times from now on; None where it ended before.
fn looked_at(process: &mut Process, [from, to]: [Duration; 2]) -> Option<[f64; 3]> {
    let begun = Instant::now();
    let mut until = |time: Duration, resident: &mut Vec<f64>| {
        while begun.elapsed() < time {
            if process.has_ended() {
                return None;
            }
            resident.push(process.resident_bytes() as f64);
        }
        Some((begun.elapsed().as_secs_f64(), process.cpu(), cost::cpu(kafka().process(0))))
    };
    let before = until(from, &mut Vec::new())?;
    let mut resident = Vec::new();
    let after = until(to, &mut resident)?;
    let seconds = after.0 - before.0;
    let resident = Tail::of(resident).map_or(0.0, |bytes| bytes.median);
    Some([(after.1 - before.1) / seconds, (after.2 - before.2) / seconds, resident])
}

/// After the last span, and beyond the wait, of the kept traces that began in the time that is looked at.
fn delays(lives: &Lives, out: &[(Name, u64)], window: [Duration; 2]) -> Option<(Tail, Tail, Kept)> {
    let [from, to] = window.map(|of| of.as_millis() as u64);
    let mut last_out: HashMap<u128, u64> = HashMap::new();
    let mut kept = Vec::new();
    for (name, at) in out {
        if lives.of(name.0).is_some_and(|life| (from..to).contains(&life.first)) {
            let last = last_out.entry(name.0).or_default();
            *last = (*last).max(*at);
            kept.push(*name);
        }
    }
    let delays = |since: fn(&feed::Life) -> u64| {
        let each = last_out.iter().filter_map(|(trace, out)| Some((lives.of(*trace)?, out)));
        Tail::of(each.map(|(life, out)| *out as f64 - (lives.epoch + since(&life)) as f64))
    };
    Some((delays(|life| life.last)?, delays(|life| life.first + WAIT.as_millis() as u64)?, kept.into_iter().collect()))
}
