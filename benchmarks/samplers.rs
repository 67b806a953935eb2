//! How well samplers hold their goals, what they cost and what they remember. `cargo bench --bench samplers`, or a part of it:
//! `cargo bench --bench samplers -- steps`.
//!
//! The traffic comes out of seeds, so that the figures are the same on every machine, but for nanoseconds.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/estimate.rs"]
mod estimate;
#[path = "support/parts.rs"]
mod parts;
#[path = "support/plot.rs"]
mod plot;
#[path = "samplers/plots.rs"]
mod plots;
#[path = "support/refinery.rs"]
mod refinery;
#[path = "support/mod.rs"]
mod support;
#[path = "support/traces.rs"]
mod traces;
#[path = "support/workers.rs"]
mod workers;

use std::{
    collections::{BTreeMap, VecDeque},
    hint::black_box,
    time::Instant,
};

use cluster::{Cluster, Member, Second, adaptive, budget, candidates, play, rate};
use refinery::Refinery;
use tailwater::{
    model::{RecordTime, Threshold},
    sample::{
        Adaptive, Ceiling, Measured, Rare, Rule, Share, States,
        adaptive::Means,
        budget,
        ceiling::{BURST, Between},
        keys::Key,
        known::{Division, Known, Table as _},
        rate,
        slowest::Fate,
    },
};
use traces::{Trace, Traces};
use workers::Workers;

const KEYS: [usize; 4] = [10, 500, 2_000, 20_000];
const PARTITIONS: [usize; 3] = [1, 4, 32];

/// Before figures are taken, in seconds.
const WARM_UP: usize = 60;

/// So many seeded samples.
const RUNS: u64 = 3_000;
/// And through engines.
const ENGINE_RUNS: u64 = 1_000;

/// Keys of a minute, as they have come so far.
#[derive(Default)]
struct Seen {
    /// By minute and key: whether a sample of one in ten has one.
    keys: BTreeMap<(i64, u64), bool>,
    counts: Vec<Uncovered>,
}

/// Of how many keys that have come in this minute nothing is kept so far.
struct Uncovered {
    second: i64,
    sampled: usize,
    rare: usize,
}

fn main() {
    parts::run(&[
        ("rates", rates),
        ("goals", goals),
        ("theirs", theirs),
        ("steps", steps),
        ("floor", floor),
        ("engines", engines),
        ("each", each),
        ("ceiling", ceiling),
        ("estimates", estimates),
        ("truth", truth),
        ("costs", costs),
    ]);
}

fn rates() {
    println!(
        "rate: 3,000 spans/s of 60,000 (4,000 traces/s), one partition with half of the traffic; of the goal, in per cent"
    );
    println!(
        "rough: traffic rests, and comes back ten times as strong, again and again, with 10 kills; kept above 1.05 of the"
    );
    println!("goal in the worst window, in seconds of the goal; a bucket holds 5");
    println!("{:>10}{:>10}{:>10}{:>16}{:>10}", "partitions", "keys", "kept", "with 10 kills", "rough");
    for partitions in PARTITIONS {
        for keys in KEYS {
            let run = |kills: i64, factor: fn(i64) -> f64| {
                let mut cluster = rate(1, partitions, 3_000.0);
                cluster.kills = (1..=kills).map(|kill| 20 + 22 * kill).collect();
                play(&mut cluster, &mut spans(partitions, keys), 300, |second, _| factor(second))
            };
            let (calm, killed) = (run(0, |_| 1.0), run(10, |_| 1.0));
            let rough = run(10, |second| [0.3, 0.003, 3.0][(second / 20) as usize % 3]);
            let (calm, killed) = (share(&calm, 3_000.0), share(&killed, 3_000.0));
            println!("{partitions:>10}{keys:>10}{calm:>10.1}{killed:>16.1}{:>10.2}", excess(&rough, 3_000.0));
        }
    }
}

fn goals() {
    println!("\nadaptive: of the goal, in per cent, on average over the randomness; 4,000 traces/s");
    println!(
        "{:>10}{:>10}{:>10}{:>10}{:>14}{:>16}",
        "partitions", "keys", "10 %", "1 %", "200 traces/s", "with 10 kills"
    );
    for partitions in PARTITIONS {
        for keys in KEYS {
            let run = |goal: f64, kills: i64| {
                let mut cluster = adaptive(1, partitions, goal);
                cluster.kills = (1..=kills).map(|kill| 20 + 22 * kill).collect();
                expected(&mut cluster, partitions, keys, goal)
            };
            let (tenth, hundredth) = (run(0.1, 0), run(0.01, 0));
            let (calm, killed) = (run(200.0, 0), run(200.0, 10));
            println!("{partitions:>10}{keys:>10}{tenth:>10.1}{hundredth:>10.1}{calm:>14.1}{killed:>16.1}");
        }
    }
}

/// Of a goal, in per cent, what thresholds keep on average.
fn expected<M: Member>(cluster: &mut Cluster<M>, partitions: usize, keys: usize, goal: f64) -> f64 {
    let mut traces = Traces::new(7, keys, 4_000.0);
    traces.partitions = partitions;
    let (mut asked, mut kept) = (0.0, 0.0);
    for _ in 0..300 {
        cluster.second(traces.second(|_| 1.0), |second, _, threshold| {
            if second > WARM_UP as i64 {
                asked += 1.0;
                kept += 1.0 - threshold.0 as f64 / 2_f64.powi(56);
            }
        });
    }
    let aim = if goal < 1.0 { goal * asked } else { goal * (300 - WARM_UP) as f64 };
    100.0 * kept / aim
}

fn theirs() {
    println!(
        "\nthroughput of 200 traces/s of 10,000, in per cent: Refinery's EMAThroughput (500 keys at most) and adaptive"
    );
    println!("{:>10}{:>12}{:>12}", "keys", "Refinery", "adaptive");
    let mut points = [Vec::new(), Vec::new()];
    for keys in KEYS {
        let (mut traces, mut theirs) = (Traces::new(7, keys, 10_000.0), Refinery::new(200.0));
        let mut ours = Means::new(Adaptive::Throughput(200.0), 100_000);
        let (mut kept, mut kept_here) = (0.0, 0.0);
        for second in 1..=300 {
            for trace in traces.second(|_| 1.0) {
                let (rate, threshold) = (theirs.ask(trace.key), ours.ask(trace.key, 1.0));
                if second > WARM_UP as i64 {
                    kept += 1.0 / rate;
                    kept_here += 1.0 - threshold.0 as f64 / 2_f64.powi(56);
                }
            }
            theirs.advance(second);
            ours.advance(RecordTime(second * 1000), &Share::whole(200.0));
        }
        let goal = 2.0 * (300 - WARM_UP) as f64;
        println!("{keys:>10}{:>12.1}{:>12.1}", kept / goal, kept_here / goal);
        points[0].push((keys as f64, kept / goal));
        points[1].push((keys as f64, kept_here / goal));
    }
    let [theirs, ours] = points;
    plots::keys(&theirs, &ours);
}

fn steps() {
    println!("\nadaptive, 200 traces/s: traffic of 1,000 traces/s times ten for 60 s; kept, in per cent of the goal");
    println!(
        "{:>10}{:>14}{:>12}{:>12}{:>12}{:>14}{:>14}",
        "keys", "first second", "second", "third", "to the end", "1 s after", "10 s after"
    );
    for keys in KEYS {
        let mut traces = Traces::new(7, keys, 1_000.0);
        let factor = |second, _| if (101..=160).contains(&second) { 10.0 } else { 1.0 };
        let all = play(&mut adaptive(1, 1, 200.0), &mut traces, 200, factor);
        let of = |from: usize, to: usize| share(&all[from..to], 200.0);
        let (up, down) = ([of(100, 101), of(101, 102), of(102, 103), of(103, 160)], [of(160, 161), of(161, 171)]);
        println!(
            "{keys:>10}{:>14.0}{:>12.0}{:>12.0}{:>12.1}{:>14.0}{:>14.1}",
            up[0], up[1], up[2], up[3], down[0], down[1]
        );
    }
    plots::steps();
}

/// Seconds that pass until a trace is decided: one, and the six of a pledge, and one by which alarms may be late.
const DECIDED: i64 = 8;

fn floor() {
    println!("\nrare, 1 trace a key and minute; 400 traces/s of 2,000 keys, 10 kills in 4 minutes, through engines");
    println!(
        "{:>10}{:>12}{:>12}{:>16}{:>14}",
        "partitions", "key-minutes", "uncovered", "more than one", "most of a key"
    );
    for partitions in PARTITIONS {
        let mut traces = Traces::new(8, 2_000, 400.0);
        traces.partitions = partitions;
        let mut floors = Workers::new(2, partitions, workers::RARE, 60);
        floors.kills = (1..=10).map(|kill| 17 * kill).collect();
        let (mut seen, mut before) = (Seen::default(), VecDeque::new());
        for second in 1..240 {
            let traces = traces.second(|_| 1.0);
            before.push_back(traces.clone());
            floors.second(traces);
            // What came so long ago is decided by now, though it was pledged, unless its worker is away.
            if let Some(traces) = before.pop_front_if(|_| second > DECIDED) {
                seen.note(second - DECIDED, &traces);
                seen.count(second - DECIDED, &floors);
            }
        }
        let kept = || floors.kept.values().map(|(_, kept)| *kept);
        let (none, more) = (kept().filter(|kept| *kept == 0).count(), kept().filter(|kept| *kept > 1).count());
        println!("{partitions:>10}{:>12}{none:>12}{more:>16}{:>14}", floors.kept.len(), kept().max().unwrap_or(0));
        if partitions == 32 {
            plots::uncovered(&seen.counts);
        }
    }
}

/// So many traces a second come to engines.
const TO_ENGINES: f64 = 600.0;

fn engines() {
    println!(
        "\nthrough engines: 600 traces/s of 2,000 keys, 10 kills in 4 minutes; of the goal, in per cent, from second 30 on"
    );
    println!("above: of 1.05 of the goal in the worst window, in seconds of the goal: a bucket holds 5");
    println!("{:>10}{:>10}{:>10}{:>10}{:>10}", "partitions", "", "kept", "above", "failed");
    let samplers = [
        ("rate", workers::rate(3_000), 15, 3_000.0),
        ("budget", workers::budget(3_000), 15, 3_000.0),
        ("adaptive", workers::adaptive(60), 1, 60.0),
    ];
    for partitions in PARTITIONS {
        for (name, policies, cost, goal) in &samplers {
            let mut traces = Traces::new(7, 2_000, TO_ENGINES);
            (traces.partitions, traces.cost) = (partitions, *cost);
            let mut workers = Workers::new(1, partitions, policies, 60);
            workers.kills = (1..=10).map(|kill| 20 + 20 * kill).collect();
            // All are back for the last seconds, and decide what waited.
            (1..=250).for_each(|_| workers.second(traces.second(|_| 1.0)));
            let (seconds, failed) = (&workers.seconds[..240], workers.failed);
            println!(
                "{partitions:>10}{name:>10}{:>10.1}{:>10.2}{:>10.1}",
                share(&seconds[30..], *goal),
                excess(seconds, *goal),
                100.0 * failed.kept / failed.asked
            );
        }
    }
}

/// Spans a second of each key, of which far fewer are asked for than of all.
const EACH: f64 = 100.0;

fn each() {
    println!(
        "\nthe same, with a rate of 100 spans/s for each key, where all have room: of keys that ask for twice as much and more"
    );
    println!("{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}", "partitions", "keys", "of them", "kept", "most", "above");
    for partitions in PARTITIONS {
        for keys in KEYS {
            let mut traces = Traces::new(7, keys, TO_ENGINES);
            (traces.partitions, traces.cost) = (partitions, 15);
            let mut workers = Workers::new(1, partitions, &workers::each(1_000_000, EACH as u32), 60);
            workers.kills = (1..=10).map(|kill| 20 + 20 * kill).collect();
            (1..=250).for_each(|_| workers.second(traces.second(|_| 1.0)));
            let keys_seen = workers.by_key(240);
            let asks = |seconds: &[Second]| seconds.iter().map(|second| second.asked).sum::<f64>() / 240.0;
            let large: Vec<_> = keys_seen.values().filter(|seconds| asks(seconds) >= 2.0 * EACH).collect();
            let kept: Vec<f64> = large.iter().map(|seconds| share(&seconds[30..], EACH)).collect();
            let above = keys_seen.values().map(|seconds| excess(seconds, EACH)).fold(0.0, f64::max);
            println!(
                "{partitions:>10}{keys:>10}{:>10}{:>10.1}{:>10.1}{above:>10.2}",
                large.len(),
                kept.iter().sum::<f64>() / kept.len() as f64,
                kept.iter().copied().fold(0.0, f64::max),
            );
        }
    }
}

fn ceiling() {
    println!(
        "\nbudget: 3,000 spans/s, of which four classes ask for as much each; kept, in per cent of what each asked for"
    );
    println!(
        "{:>10}{:>18}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "partitions", "asked, spans/s", "protected", "second", "third", "fourth", "all, %"
    );
    for partitions in PARTITIONS {
        for traffic in [100.0, 400.0, 2_000.0] {
            let (asked, kept, all) = classes(partitions, traffic);
            let [a, b, c, d] = kept;
            println!("{partitions:>10}{asked:>18.0}{a:>10.1}{b:>10.1}{c:>10.1}{d:>10.1}{all:>10.1}");
        }
    }
    let traffic = [100.0, 150.0, 200.0, 300.0, 400.0, 600.0, 800.0, 1_200.0, 2_000.0];
    let asked = traffic.map(|traffic| classes(1, traffic));
    plots::classes(&asked.map(|(asked, kept, _)| (asked, kept)));
}

/// Spans that were asked for in a second, what was kept of each class, and of the budget, both in per cent.
fn classes(partitions: usize, traffic: f64) -> (f64, [f64; 4], f64) {
    let mut traces = Traces::new(4, 20_000, traffic);
    (traces.partitions, traces.cost) = (partitions, 15);
    let mut cluster = budget(1, partitions, 3_000.0);
    let (mut asked, mut kept) = ([0.0; 4], [0.0; 4]);
    for _ in 0..120 {
        let mut all = traces.second(|_| 1.0);
        // Zipf's keys would not be as many in each class.
        all.iter_mut().for_each(|trace| trace.key = trace.randomness.0);
        cluster.second(all, |_, trace, threshold| {
            let class = (trace.key % 4) as usize;
            asked[class] += trace.cost as f64;
            kept[class] += if trace.randomness.0 >= threshold.0 { trace.cost as f64 } else { 0.0 };
        });
    }
    let all = kept.iter().sum::<f64>() / 120.0 / 30.0;
    (asked.iter().sum::<f64>() / 120.0, [0, 1, 2, 3].map(|class| 100.0 * kept[class] / asked[class]), all)
}

fn estimates() {
    println!("\nintervals of 95 % that cover the truth, in per cent of 3,000 runs (errors are never cut here)");
    let coverage = estimate::coverage(1, RUNS);
    for (what, covered) in &coverage.shares {
        println!("{what:>20}{:>8.1}", 100.0 * covered);
    }
    plots::estimates(&coverage.shares, RUNS);
}

fn truth() {
    println!(
        "\nthe same through engines, 1,000 traces/s, in {ENGINE_RUNS} runs; what gives way before the others: the sample of all, or nothing"
    );
    println!(
        "from: the first of 8 seconds of verdicts; no chance: traces not kept whatever their randomness; estimated: traces; in per cent"
    );
    let names = ["traces", "spans", "errors", "long", "rated", "others", "no chance", "estimated"];
    println!(
        "{:>10}{:>11}{:>6}{}",
        "partitions",
        "gives way",
        "from",
        names.map(|name| format!("{name:>10}")).concat()
    );
    for give_way in ["all", ""] {
        for partitions in PARTITIONS {
            let windows = estimate::through_engines(1, ENGINE_RUNS, partitions, give_way);
            for (from, coverage) in estimate::WINDOWS.iter().zip(windows) {
                let shares = coverage.shares.iter().map(|(_, share)| format!("{:>10.1}", 100.0 * share));
                println!(
                    "{partitions:>10}{give_way:>11}{from:>6}{}{:>10.3}{:>10.1}",
                    shares.collect::<String>(),
                    100.0 * coverage.starved,
                    100.0 * coverage.estimated
                );
            }
        }
    }
}

fn costs() {
    println!("\n100,000 keys that all come every second, in one partition");
    println!("{:>10}{:>16}{:>14}{:>16}", "sampler", "memory, bytes", "ns a trace", "ns a second");
    let keys = 100_000;
    let mut traces = Traces::new(3, keys, 1.0);
    let all: Vec<Trace> = (0..keys as u64).map(|key| traces.trace(key)).collect();
    let share = Share::whole(10_000.0);
    let second = |second: i64| RecordTime(1_000_000_000_000 + second * 1000);
    let line = |name: &str, bytes: usize, start: Instant, advance: u128| {
        let rounds = 40 * keys as u128;
        println!("{name:>10}{bytes:>16}{:>14}{:>16}", (start.elapsed().as_nanos() - advance) / rounds, advance / 40);
    };

    let (mut sampler, mut advance, start) = (Means::new(Adaptive::Throughput(10_000.0), keys), 0, Instant::now());
    for now in 0..40 {
        all.iter().for_each(|trace| _ = black_box(sampler.ask(trace.key, 1.0)));
        let before = Instant::now();
        sampler.advance(second(now), &share);
        sampler.write(&mut |_, _| true);
        advance += before.elapsed().as_nanos();
    }
    line("adaptive", sampler.bytes(), start, advance);

    let (rule, mut sampler, start) = (Rule::Rare(Rare::new(1, 900_000)), States::default(), Instant::now());
    sampler.assign(0);
    for now in 0..40 {
        for trace in &all {
            let measured = Measured { partition: 0, key: Key(trace.key), value: 1.0, time: second(now) };
            let kept = black_box(sampler.probability(1, &rule, measured)) == 1.0;
            sampler.learn(1, &rule, measured, Fate { chosen: kept, kept });
        }
        sampler.write(usize::MAX, |_| ());
    }
    line("rare", sampler.bytes(), start, 0);

    let own: fn(&Trace) -> u64 = |trace| trace.key;
    let class: fn(&Trace) -> u64 = |trace| trace.key % 4;
    let (rate, budget) = (Ceiling::rate(10_000.0, BURST), Ceiling::budget(10_000.0, BURST));
    for (name, rule, key, cost) in [
        ("rate", rate, own, 1),
        ("each", Ceiling { each: Some(0.5), ..rate }, own, 1),
        ("by chance", rate, own, 100_000),
        ("budget", budget, class, 1),
        ("by chance", budget, class, 100_000),
    ] {
        let all: Vec<Trace> = all.iter().map(|trace| Trace { cost: cost * trace.cost, ..*trace }).collect();
        let (mut known, mut candidates_ns, start) = (Known::default(), 0, Instant::now());
        for now in 0..40 {
            let before = Instant::now();
            let mut batch = candidates(&all, key);
            candidates_ns += before.elapsed().as_nanos();
            let division = Division { partitions: 1, workers: 1 };
            rule.close((0, second(now)), &mut known, division, |rule, account, now, share| match rule.between {
                Between::Keys => _ = black_box(rate::close(rule, account, now, share, &mut batch)),
                Between::Classes => _ = black_box(budget::close(rule, account, now, share, &mut batch)),
            });
        }
        line(name, known.own[0].1.bytes(), start, candidates_ns);
    }
}

fn spans(partitions: usize, keys: usize) -> Traces {
    let mut traces = Traces::new(7, keys, 4_000.0);
    (traces.partitions, traces.cost) = (partitions, 15);
    traces
}

fn share(seconds: &[Second], goal: f64) -> f64 {
    100.0 * seconds.iter().map(|second| second.kept).sum::<f64>() / seconds.len() as f64 / goal
}

// === impl Seen ===

impl Seen {
    fn note(&mut self, second: i64, traces: &[Trace]) {
        for trace in traces {
            let sampled = trace.randomness.0 >= Threshold::NEVER.0 / 10 * 9;
            *self.keys.entry((second / 60, trace.key)).or_default() |= sampled;
        }
    }

    fn count(&mut self, second: i64, floors: &Workers) {
        let minute = || self.keys.range((second / 60, 0)..=(second / 60, u64::MAX));
        let sampled = minute().filter(|(_, sampled)| !**sampled).count();
        let rare = minute().filter(|(key, _)| floors.kept.get(key).is_none_or(|(_, kept)| *kept == 0)).count();
        self.counts.push(Uncovered { second, sampled, rare });
    }
}

/// The most that was kept above 1.05 of a goal in any window, in seconds of the goal.
fn excess(seconds: &[Second], goal: f64) -> f64 {
    let step = |(now, most): (f64, f64), second: &Second| {
        let now = (now + second.kept - 1.05 * goal).max(0.0);
        (now, most.max(now))
    };
    seconds.iter().fold((0.0, 0.0), step).1 / goal
}
