//! The figures as plots.

use super::{
    Day,
    plot::{Axis, BLACK, BLUE, Figure, GREEN, Mark, Panel, Series, VERMILION, number},
    slowest::{Judgement, Outcome, truth::Tally},
};

const SLOWEST: &str = "slowest";
const FIXED: &str = "fixed threshold";
const P95: &str = "p95 rule";

/// Each outcome a point for each rule, by traces in a window.
pub fn rules(outcomes: &[(f64, Outcome)]) {
    let panel = |rate: f64| {
        let of = |tally: fn(&Outcome) -> (f64, f64)| {
            let outcomes = outcomes.iter().filter(move |(other, _)| *other == rate);
            outcomes.map(move |(_, outcome)| tally(outcome)).collect::<Vec<_>>()
        };
        Panel {
            title: format!("{} traces in a window", number(rate)),
            x: Axis::log("traces kept for each that is beyond p99.9", &[0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]),
            y: Axis::linear("kept of those beyond, %", &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
            series: vec![
                Series::new(
                    P95,
                    GREEN,
                    Mark::Crosses,
                    of(|outcome| (outcome.p95.cost(), 100.0 * outcome.p95.coverage())),
                ),
                Series::new(
                    FIXED,
                    VERMILION,
                    Mark::Triangles,
                    of(|outcome| (outcome.fixed.cost(), 100.0 * outcome.fixed.coverage())),
                ),
                Series::new(
                    SLOWEST,
                    BLUE,
                    Mark::Circles,
                    of(|outcome| (outcome.cost(), 100.0 * outcome.slowest.coverage())),
                ),
            ],
        }
    };
    Figure { name: "slowest-rules", columns: 2, height: 240, panels: vec![panel(100_000.0), panel(10_000.0)] }.save();
}

/// What was learned, beside what is exact: a day in each panel.
pub fn thresholds(days: [(&str, &Day); 3]) {
    let panel = |(name, day): (&str, &Day)| {
        // What is exact for a window is so from its beginning to its end.
        let exact = day.windows.iter().enumerate().flat_map(|(number, window)| {
            let exact = 1e-6 * window.exact.expect("traces in each window");
            [number, number + 1].map(|number| (number as f64 / 6.0, exact))
        });
        let learned = day.thresholds.iter().zip(1..).map(|(value, minute)| (f64::from(minute) / 60.0, 1e-6 * value));
        let fixed = 1e-6 * day.windows[0].exact.expect("traces in each window");
        let scale = 10_f64.powf(fixed.log10().floor());
        Panel {
            title: name.to_owned(),
            x: hours(),
            y: Axis::log("threshold, ms", &[1.0, 2.0, 4.0, 8.0].map(|tick| tick * scale)),
            series: vec![
                Series::new("exact p99.9 of each window", BLACK, Mark::Line, exact),
                Series::new(FIXED, VERMILION, Mark::Line, [(0.0, fixed), (24.0, fixed)]),
                Series::new("learned by slowest", BLUE, Mark::Line, learned.step_by(5)),
            ],
        }
    };
    Figure { name: "slowest-thresholds", columns: 3, height: 200, panels: days.map(panel).into() }.save();
}

/// Window by window: coverage over cost, a day in each column.
pub fn windows(days: [(&str, &Day); 3]) {
    let coverage = days.iter().map(|(name, day)| {
        let y = Axis::linear("kept of those beyond, %", &[0.0, 25.0, 50.0, 75.0, 100.0]);
        by_window(name, y, day, |tally| 100.0 * tally.coverage())
    });
    let cost = days.iter().map(|(name, day)| {
        let y = Axis::log("kept for each beyond", &[0.1, 1.0, 10.0, 100.0, 1_000.0]);
        by_window(name, y, day, Tally::cost)
    });
    Figure { name: "slowest-windows", columns: 3, height: 190, panels: coverage.chain(cost).collect() }.save();
}

fn by_window(title: &str, y: Axis, day: &Day, of: fn(&Tally) -> f64) -> Panel {
    let points = |from: usize, tally: fn(&Judgement) -> &Tally| {
        let windows = day.windows.iter().enumerate().skip(from);
        windows.map(move |(number, window)| ((number as f64 + 0.5) / 6.0, of(tally(window))))
    };
    Panel {
        title: title.to_owned(),
        x: hours(),
        y,
        series: vec![
            // These have no threshold in the first window.
            Series::new(P95, GREEN, Mark::Line, points(1, |window| &window.p95)),
            Series::new(FIXED, VERMILION, Mark::Line, points(1, |window| &window.fixed)),
            Series::new(SLOWEST, BLUE, Mark::Line, points(0, |window| &window.slowest)),
        ],
    }
}

fn hours() -> Axis {
    Axis::linear("record time, h", &[0.0, 6.0, 12.0, 18.0, 24.0])
}
