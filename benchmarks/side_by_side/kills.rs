//! What is lost when the processor is killed in the middle of steady traffic and starts again at once.

use std::{
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{
    contender::{Contender, Task},
    cost::Process,
    feed::{Feed, Lives},
    loss::Loss,
    policies::Policies,
    report,
    stage::{SURELY, Stage, WAIT},
    watch::Watch,
};

pub struct Killed {
    pub contender: Contender,
    pub kills: usize,
    /// Spans per second.
    pub rate: f64,
    /// What came of it, or why nothing can be said.
    pub loss: Result<Loss, String>,
}

const SEED: u64 = 7;
/// The group waits for a killed member until its session is over, what was sent meanwhile is caught up with, and then as much is held
/// as the wait makes: at least so long after a start comes the next kill.
const STEADY_AGAIN: Duration = Duration::from_secs(30);
/// And so much later at most, so that it comes at any time between two decisions.
const CHANCE: Duration = Duration::from_secs(3);

/// Both killed so often over the same traffic, at this rate in spans per second, at times of their own.
pub fn kills(rate: f64, kills: usize) -> Vec<Killed> {
    let contenders = [Contender::Collector, Contender::Tailwater];
    let stages = ["kills-collector", "kills-tailwater"].map(Stage::of);
    let [stage, _] = &stages;
    let watches = stages.each_ref().map(|stage| Watch::start(&stage.output));
    let (lives, killed) = thread::scope(|scope| {
        let feed = Feed::start(&stage.input, rate, length(kills));
        let tasks = stages.each_ref().map(|own| (own, Task { input: &stage.input, ..own.task(Policies::All, rate) }));
        let runs: Vec<_> = contenders
            .into_iter()
            .zip(tasks)
            .zip(0..)
            .map(|((contender, (own, task)), nth)| {
                scope.spawn(move || run(contender, &task, own, Rng::with_seed(SEED + nth), kills))
            })
            .collect();
        (feed.end(), runs.into_iter().map(|run| run.join().expect("it does not panic")).collect::<Vec<_>>())
    });
    let each = contenders.into_iter().zip(killed).zip(watches).map(|((contender, killed), watch)| {
        let loss = killed.and_then(|()| lives.as_ref().map(|lives| loss(lives, watch)).map_err(Clone::clone));
        let killed = Killed { contender, kills, rate, loss };
        report::print_killed(&killed);
        killed
    });
    each.collect()
}

fn loss(lives: &Lives, watch: Watch) -> Loss {
    Loss::of(lives.all().map(|(trace, life)| (trace, life.spans)), watch.end().into_iter().map(|(name, _)| name))
}

/// Kills it so often, and lets it decide all that has come.
fn run(contender: Contender, task: &Task<'_>, stage: &Stage, mut rng: Rng, kills: usize) -> Result<(), String> {
    let start = || contender.start(task, &stage.group, &stage.output, &[]);
    let begun = Instant::now();
    let mut process = start();
    let live = |process: &mut Process, life: Duration| {
        let begun = Instant::now();
        while begun.elapsed() < life {
            if process.has_ended() {
                return Err(format!("it ended by itself: {}", task.last_line(&stage.group)));
            }
        }
        Ok(())
    };
    for _ in 0..kills {
        live(&mut process, STEADY_AGAIN + CHANCE.mul_f64(rng.f64()))?;
        process.kill();
        process = start();
    }
    // Until the traffic ends.
    live(&mut process, length(kills).saturating_sub(begun.elapsed()))?;
    task.is_read(&mut process, &stage.group)?;
    live(&mut process, WAIT + SURELY)?;
    task.ends(process, &stage.group)
}

/// Of the traffic: no kill comes after its end.
fn length(kills: usize) -> Duration {
    (STEADY_AGAIN + CHANCE) * kills as u32 + WAIT
}
