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
    row::{is_quick, repeats},
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
/// Per cent of what the Collector can.
const SHARES: [u32; 4] = [25, 50, 75, 100];
/// Where `REPEATS` says nothing else: a run takes more than a minute.
const ROUNDS: usize = 3;

pub fn shares() -> &'static [u32] {
    if is_quick() { &SHARES[..1] } else { &SHARES }
}

/// Runs all of them at a rate. `capacity` is what the Collector can, in spans per second.
pub fn steady(capacity: f64, share: u32) -> Steady {
    let (contenders, rate) = (Contender::of_steady_traffic(), capacity * f64::from(share) / 100.0);
    let rounds = |contender| match contender {
        // What they are beside can be seen in a round.
        Contender::Again | Contender::Learned => 1,
        _ => repeats().unwrap_or(ROUNDS),
    };
    let lines =
        Lines::measure(contenders, rounds, &format!("steady-{share}"), |contender, group| run(contender, rate, group));
    let steady = Steady { share, rate, lines };
    report::print_steady(&steady);
    steady
}

/// What is looked at begins and ends so long after the traffic, which ends with it.
fn window() -> [Duration; 2] {
    let waits = if is_quick() { 3 } else { 5 };
    [WARM_UP, WARM_UP + waits * WAIT]
}

/// One contender, for as long as there is traffic.
fn run(contender: Contender, rate: f64, group: &str) -> Result<(Pace, Option<Kept>), String> {
    let (stage, [from, to]) = (Stage::of(group), window());
    let task = stage.task(Policies::Five, rate);
    let watch = Watch::start(&stage.output);
    let mut process = contender.start(&task, group, &stage.output, &[]);
    let feed = Feed::start(&stage.input, rate, to);
    let [cores, broker_cores, resident] =
        looked_at(&mut process, [from, to]).ok_or_else(|| format!("it ended by itself: {}", task.last_line(group)))?;
    let lives = feed.end()?;
    // One that is behind decides the rest when it is told to end, and its delays show it.
    if contender.is_collector() {
        task.is_read(&mut process, group)?;
    }
    task.ends(process, group)?;
    let delays = delays(&lives, &watch.end(), [from, to - WAIT - SURELY]);
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

/// After the last span, and beyond the wait, of the kept traces that began in a time.
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
