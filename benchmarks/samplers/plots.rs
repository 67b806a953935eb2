//! The figures as plots.

use super::{
    KEYS, Uncovered,
    cluster::{Cluster, Member, Second, adaptive, play, rate},
    plot::{Axis, BLACK, BLUE, Figure, GREEN, GREY, Mark, Panel, Series, VERMILION, number},
    traces::Traces,
};

/// Of a goal, in per cent, by keys: Refinery's, and `adaptive`.
pub fn keys(theirs: &[(f64, f64)], ours: &[(f64, f64)]) {
    let panel = Panel {
        title: "200 of 10,000 traces/s are asked for".to_owned(),
        x: Axis::log("keys", &[10.0, 100.0, 500.0, 2_000.0, 20_000.0]),
        y: Axis::log("kept, % of the goal", &[50.0, 100.0, 200.0, 500.0, 1_000.0]),
        series: vec![
            Series::new("Refinery's EMAThroughput", VERMILION, Mark::Line, theirs.to_vec()),
            Series::new("", VERMILION, Mark::Triangles, theirs.to_vec()),
            Series::new("adaptive", BLUE, Mark::Line, ours.to_vec()),
            Series::new("", BLUE, Mark::Circles, ours.to_vec()),
        ],
    };
    Figure { name: "adaptive-keys", columns: 1, height: 220, panels: vec![panel] }.save();
}

const KILL: i64 = 60;
const STEP: [i64; 2] = [100, 160];
const END: i64 = 220;

/// `rate` and `adaptive` second by second. Four partitions, one with half of the traffic; a worker is killed before the step.
pub fn steps() {
    let mut panels = Vec::new();
    for keys in KEYS {
        let spans = Axis::linear("kept, spans/s", &[0.0, 1_500.0, 3_000.0, 4_500.0]);
        panels.push(step(
            format!("rate, {} keys", number(keys as f64)),
            3_000.0,
            spans,
            &run(rate(1, 4, 3_000.0), keys, 15),
        ));
        let traces = Axis::log("kept, traces/s", &[20.0, 60.0, 200.0, 600.0, 2_000.0]);
        panels.push(step(
            format!("adaptive, {} keys", number(keys as f64)),
            200.0,
            traces,
            &run(adaptive(1, 4, 200.0), keys, 1),
        ));
    }
    Figure { name: "goals", columns: 2, height: 150, panels }.save();
}

fn run<M: Member>(mut cluster: Cluster<M>, keys: usize, cost: u64) -> Vec<Second> {
    let mut traces = Traces::new(7, keys, 1_000.0);
    (traces.partitions, traces.cost) = (4, cost);
    cluster.kills = vec![KILL];
    let factor = |second, _| if (STEP[0] + 1..=STEP[1]).contains(&second) { 10.0 } else { 1.0 };
    play(&mut cluster, &mut traces, END, factor)
}

fn step(title: String, goal: f64, y: Axis, seconds: &[Second]) -> Panel {
    let kept = seconds.iter().zip(1..).map(|(second, at)| (f64::from(at), second.kept));
    Panel {
        title,
        x: Axis::linear("record time, s", &[0.0, 60.0, 100.0, 160.0, 220.0]),
        y,
        series: vec![
            Series::new("traffic times ten", GREY, Mark::Area, between(STEP[0] as f64, STEP[1] as f64)),
            Series::new("a worker is away", VERMILION, Mark::Area, between(KILL as f64, KILL as f64 + 7.0)),
            Series::new("goal", BLACK, Mark::Hair, [(0.0, goal), (END as f64, goal)]),
            Series::new("kept", BLUE, Mark::Line, kept),
        ],
    }
}

/// From the bottom to the top.
fn between(from: f64, to: f64) -> [(f64, f64); 4] {
    [(from, f64::MIN), (to, f64::MIN), (to, f64::MAX), (from, f64::MAX)]
}

/// Keys without a kept trace, second by second.
pub fn uncovered(counts: &[Uncovered]) {
    let of = |count: fn(&Uncovered) -> usize| counts.iter().map(move |at| (at.second as f64, count(at) as f64));
    let panel = Panel {
        title: "1 trace a key and minute; 400 traces/s of 2,000 keys, 32 partitions".to_owned(),
        x: Axis::linear("record time, s", &[0.0, 60.0, 120.0, 180.0, 240.0]),
        y: Axis::linear("keys not covered yet", &[0.0, 500.0, 1_000.0, 1_500.0]),
        series: vec![
            Series::new("one trace in ten by chance", VERMILION, Mark::Line, of(|at| at.sampled)),
            Series::new("rare, with 10 kills", BLUE, Mark::Line, of(|at| at.rare)),
        ],
    };
    Figure { name: "rare", columns: 1, height: 220, panels: vec![panel] }.save();
}

/// Of classes that ask for more and more together, what each keeps, in per cent.
pub fn classes(asked: &[(f64, [f64; 4])]) {
    let of = |class: usize| asked.iter().map(move |(asked, kept)| (*asked, kept[class]));
    let panel = Panel {
        title: "four classes ask for as much each; 3,000 spans/s are there".to_owned(),
        x: Axis::log("asked, spans/s", &[1_500.0, 3_000.0, 6_000.0, 12_000.0, 30_000.0]),
        y: Axis::linear("kept of each class, %", &[0.0, 25.0, 50.0, 75.0, 100.0]),
        series: vec![
            Series::new("protected", BLUE, Mark::Line, of(0)),
            Series::new("second", GREEN, Mark::Line, of(1)),
            Series::new("third", VERMILION, Mark::Line, of(2)),
            Series::new("fourth", GREY, Mark::Line, of(3)),
        ],
    };
    Figure { name: "budget", columns: 1, height: 240, panels: vec![panel] }.save();
}

/// Shares of intervals that cover the truth, each with its own interval of 95 %.
pub fn estimates(coverage: &[(&'static str, f64)], runs: u64) {
    let names: Vec<&str> = coverage.iter().rev().map(|(what, _)| *what).collect();
    let dots = coverage.iter().rev().enumerate().map(|(row, (_, covered))| (100.0 * covered, row as f64));
    let mut series = vec![
        Series::new("93 to 97 %", GREY, Mark::Area, between(93.0, 97.0)),
        Series::new("nominal", BLACK, Mark::Hair, [(95.0, f64::MIN), (95.0, f64::MAX)]),
        Series::new("covered", BLUE, Mark::Circles, dots.clone()),
    ];
    for (covered, row) in dots {
        let error = 1.96 * (covered * (100.0 - covered) / runs as f64).sqrt();
        series.push(Series::new("", BLUE, Mark::Line, [(covered - error, row), (covered + error, row)]));
    }
    let panel = Panel {
        title: format!("intervals of 95 % in {} runs", number(runs as f64)),
        x: Axis::linear("cover the truth, %", &[90.0, 91.0, 92.0, 93.0, 94.0, 95.0, 96.0, 97.0, 98.0, 99.0, 100.0]),
        y: Axis::names("", &names),
        series,
    };
    Figure { name: "estimates", columns: 1, height: 240, panels: vec![panel] }.save();
}
