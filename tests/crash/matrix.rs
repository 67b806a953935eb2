//! Kills at every moment that can be told from outside, under steady load, on each shape of input.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    kafka::kafka,
    load::Deal,
    processor::{Job, Processor},
    seed::{repeat, seed},
    siege::{SLOWLY, Siege, State},
    traffic::{keyed, spread},
    wait::wait_until,
    witness,
};

#[test]
fn keyed_by_two_workers() {
    matrix("crash-matrix-keyed", &["spans"], KEYED, keyed);
}

/// Every trace of three records or more is on three partitions or more.
#[test]
fn spread_over_all_partitions_of_one_worker() {
    matrix("crash-matrix-spread", &["spans"], UNKEYED, spread);
}

/// Each trace is in one of them.
#[test]
fn two_topics() {
    matrix("crash-matrix-topics", &["spans-a", "spans-b"], KEYED, keyed);
}

/// Two transactions bring a span out: the one that takes it to the partition of its trace, and the one of the verdict.
#[test]
fn rekeyed_for_three_workers() {
    matrix("crash-matrix-rekeyed", &["spans"], REKEYED, spread);
}

/// Each takes its own partitions up again; now and then both are dead.
#[test]
fn two_processors_in_turn() {
    const KILLS: usize = 10;
    let name = "crash-pair";
    let mut siege = Siege::new(kafka(), name, &["spans"], 4);
    siege.job.keyed = "yes";
    siege.job.more.push_str("workers: 1\n");
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let load = siege.load(seed, keyed);
    let job = |siege: &Siege, of: usize| {
        Job { properties: format!("group.instance.id: {name}-{of}, "), ..siege.job.clone() }.run()
    };
    let mut running = [0, 1].map(|of| Some(job(&siege, of)));
    for kill in 0..KILLS {
        for (of, processor) in running.iter_mut().enumerate() {
            let processor = processor.get_or_insert_with(|| job(&siege, of));
            processor.wait_until("it to deliver", |metrics| metrics.forwarded() > 0);
        }
        thread::sleep(Duration::from_millis(random.u64(0..1000)));
        let both = random.bool();
        for of in [kill % 2, (kill + 1) % 2].into_iter().take(1 + usize::from(both)) {
            let processor = running[of].take().expect("it was started");
            siege.kill(processor, format!("{of}"), State::Anything);
        }
    }
    load.end();
    drop(running);
    let outcome = siege.judge(0);
    println!("{name}: {outcome}");
    assert!(outcome.counting * 2 >= outcome.kills, "too few kills count");
    witness(name);
}

/// When the program is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// While it reads what was decided before.
    Restoring,
    /// Before it is where the one before it was.
    Replaying,
    /// When nothing comes in and timers decide.
    Idle,
    /// While a transaction is open.
    Open,
    /// When the output of a transaction has just appeared.
    Output,
    /// When offsets have just moved.
    Offsets,
    Random,
}

/// More than a quarter before the position is reached again, some in a row, and as many while the input rests. `Random` stands for
/// any of the rest, each as often.
const ORDER: [Moment; 18] = {
    use Moment::{Idle as I, Random as X, Replaying as R};
    [X, R, X, R, R, I, I, X, X, R, I, X, I, R, X, I, X, X]
};
const REST: [Moment; 8] = {
    use Moment::{Offsets, Open, Output, Random, Restoring};
    [Restoring, Open, Open, Output, Output, Offsets, Offsets, Random]
};
const PASSES: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60);
/// Of each kind that is missing where a busy machine let moments pass.
const MORE: usize = 12;
/// For some traces to be under way when the input comes to rest.
const FLOW: i64 = 500;
/// What the configuration says of the input, and what it means.
#[derive(Clone, Copy)]
struct Input {
    keyed: &'static str,
    more: &'static str,
    /// How far a partition may be ahead of what its traces wait for.
    ahead_ms: i64,
}

const KEYED: Input = Input { keyed: "yes", more: "workers: 2\n", ahead_ms: 0 };
/// A partition may be `max_wait` ahead of the others.
const UNKEYED: Input = Input { keyed: "no", more: "", ahead_ms: 30_000 };
/// And what workers behind the stage know of its clocks is 3 s old, with ticks and answers, in which a load makes four times as much.
const REKEYED: Input = Input { keyed: "rekey", more: "workers: 3\n", ahead_ms: 30_000 + 12_000 };

/// In `make soak`, again with other traffic until its time is over.
fn matrix(name: &str, inputs: &[&str], of: Input, deal: Deal) {
    let mut random = fastrand::Rng::with_seed(seed());
    repeat(|round| {
        let name = if round == 0 { name.to_owned() } else { format!("{name}-{round}") };
        besiege(&name, inputs, of, deal, random.u64(..));
    });
    witness(name);
}

fn besiege(name: &str, inputs: &[&str], of: Input, deal: Deal, seed: u64) {
    let new = if of.keyed == "rekey" { Siege::rekeyed } else { Siege::new };
    let mut siege = new(kafka(), name, inputs, 4);
    siege.job.keyed = of.keyed;
    siege.job.more.push_str(of.more);
    let load = siege.load(seed, deal);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rest = || {
        let mut rest = REST;
        random.shuffle(&mut rest);
        rest
    };
    let rest: Vec<Moment> = (0..PASSES).flat_map(|_| rest()).collect();
    let mut rest = rest.into_iter();
    let start = Instant::now();
    let mut kill = |siege: &mut Siege, moment: Moment| {
        if moment == Moment::Idle {
            siege.wait_for_more(FLOW);
            load.rest();
        }
        let (processor, state) = live(siege, moment, &mut random);
        siege.kill(processor, format!("{moment:?} at {:.1?}", start.elapsed()), state);
        load.resume();
    };
    for moment in [ORDER; PASSES].into_iter().flatten() {
        let moment = if moment == Moment::Random { rest.next().unwrap_or(moment) } else { moment };
        kill(&mut siege, moment);
    }
    for _ in 0..MORE {
        let Some(moment) = lacks(&siege) else { break };
        kill(&mut siege, moment);
    }
    assert_eq!(lacks(&siege), None, "too few kills of this kind, of {:?}", siege.tally());
    load.end();
    let outcome = siege.judge(of.ahead_ms);
    println!("{name}: {outcome}");
    // The first ones find too little done; on a busy machine, half of them.
    assert!(outcome.counting * 3 >= outcome.kills, "too few kills count");
    assert!(outcome.in_a_row > 0, "none were in a row");
}

/// A quarter of the kills is to be before the position is reached again, and a quarter while timers decide: but what waits may be
/// decided all at once, between two looks, so that it is known of few of these.
fn lacks(siege: &Siege) -> Option<Moment> {
    let (kills, replaying, resting) = siege.tally();
    (replaying * 4 < kills).then_some(Moment::Replaying).or((resting < 2).then_some(Moment::Idle))
}

/// Runs the program until a moment has come; and what it seems to be amid then.
fn live(siege: &Siege, moment: Moment, random: &mut fastrand::Rng) -> (Processor, State) {
    let (job, before) = (&siege.job, siege.commits());
    if moment == Moment::Replaying {
        let mut processor = Job { properties: format!("{}{SLOWLY}", job.properties), ..job.clone() }.run();
        let mut read = 0;
        processor.wait_until("it to read again", |metrics| {
            read = metrics.received();
            read > 0
        });
        let state = if siege.commits() == before { State::Replay { read } } else { State::Anything };
        return (processor, state);
    }
    let mut processor = job.run();
    if moment == Moment::Restoring {
        wait_until("it to read back what was decided", PATIENCE, || processor.said().contains("reading back"));
        thread::sleep(Duration::from_millis(random.u64(0..50)));
        return (processor, State::Anything);
    }
    // It goes on from where the one before it was.
    processor.wait_until("it to commit", |_| {
        siege.commits().iter().zip(&before).any(|(now, before)| now.tick != before.tick && now.watermark > 0)
    });
    let stage = random.choice(siege.stages()).expect("there are workers");
    match moment {
        Moment::Idle => {
            let mut decided = None;
            let mut held = 0;
            processor.wait_until("timers to decide", |metrics| {
                if ["tailwater_rekey_lag_records", "tailwater_position_lag_records"]
                    .iter()
                    .any(|lag| metrics.sum(lag) > 0)
                {
                    return false;
                }
                held = metrics.held();
                let now = metrics.sum("tailwater_traces_decided_total");
                now > *decided.get_or_insert(now) || held == 0
            });
            return (processor, if held > 0 { State::Rest } else { State::Anything });
        }
        Moment::Open => {
            wait_until("an open transaction", PATIENCE, || stage.is_open());
        }
        Moment::Output => {
            let before = stage.output.ends();
            wait_until("output to appear", PATIENCE, || stage.output.ends() != before);
        }
        Moment::Offsets => {
            let before = stage.commits();
            wait_until("offsets to move", PATIENCE, || stage.commits() != before);
        }
        _ => thread::sleep(Duration::from_millis(random.u64(0..1500))),
    }
    (processor, State::Anything)
}
