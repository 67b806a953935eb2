//! What is lost when the processor is killed in the middle of steady traffic and starts again at once.

use std::time::{Duration, Instant};

use fastrand::Rng;

use super::{
    contender::Contender,
    feed::Feed,
    loss::Loss,
    policies::Policies,
    report,
    stage::{Stage, WAIT},
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

/// Each contender killed so often, at this rate in spans per second.
pub fn kills(rate: f64, kills: usize) -> Vec<Killed> {
    let each = [Contender::Collector, Contender::Tailwater].map(|contender| {
        let killed = Killed { contender, kills, rate, loss: run(contender, rate, kills) };
        report::print_killed(&killed);
        killed
    });
    each.into()
}

fn run(contender: Contender, rate: f64, kills: usize) -> Result<Loss, String> {
    let group = format!("kills-{}", u8::from(contender.is_collector()));
    let stage = Stage::of(&group);
    let task = stage.task(Policies::All, rate);
    let mut rng = Rng::with_seed(SEED);
    let watch = Watch::start(&stage.output);
    let mut process = contender.start(&task, &group, &stage.output, &[]);
    let feed = Feed::start(&stage.input, rate, (STEADY_AGAIN + CHANCE) * kills as u32 + WAIT);
    for _ in 0..kills {
        let (begun, life) = (Instant::now(), STEADY_AGAIN + CHANCE.mul_f64(rng.f64()));
        while begun.elapsed() < life {
            if process.has_ended() {
                return Err(format!("it ended by itself: {}", task.last_line(&group)));
            }
        }
        process.kill();
        process = contender.start(&task, &group, &stage.output, &[]);
    }
    let lives = feed.end()?;
    task.ends(process, &group)?;
    let sent = lives.all().map(|(trace, life)| (trace, life.spans));
    Ok(Loss::of(sent, watch.end().into_iter().map(|(name, _)| name)))
}
