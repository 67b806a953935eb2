//! What is lost when the processor is killed in the middle of steady traffic and starts again at once.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{
    contender::Contender,
    feed::{Feed, Lives},
    kept::Name,
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

/// Everything is kept, so every span that was sent should come out, once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    pub traces: usize,
    /// Traces of which nothing came out.
    pub lost: usize,
    /// Traces of which not all spans came out.
    pub torn: usize,
    /// Spans that came out more than once.
    pub doubled: usize,
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
    Ok(Loss::of(&lives, watch.end().into_iter().map(|(name, _)| name)))
}

// === impl Loss ===

impl Loss {
    fn of(lives: &Lives, out: impl Iterator<Item = Name>) -> Self {
        let mut times: HashMap<Name, usize> = HashMap::new();
        out.for_each(|name| *times.entry(name).or_default() += 1);
        let mut spans: HashMap<u128, usize> = HashMap::new();
        times.keys().for_each(|(trace, _)| *spans.entry(*trace).or_default() += 1);
        let mut loss = Self { doubled: times.values().filter(|times| **times > 1).count(), ..Self::default() };
        for (trace, life) in lives.all() {
            loss.traces += 1;
            match spans.get(&trace) {
                None => loss.lost += 1,
                Some(spans) if *spans < life.spans => loss.torn += 1,
                Some(_) => {}
            }
        }
        loss
    }
}
