//! The figures as a plot: every run is a mark.

use super::{
    contender::Contender,
    drain::Drain,
    floor::Floor,
    plot::{Axis, BLUE, Figure, GREEN, GREY, Mark, Panel, Series, VERMILION},
    row::{ROWS, is_quick},
};

/// Of a run that measured every kind of traffic, and nothing otherwise.
pub fn draw(drains: &[Drain]) {
    let drains: Vec<&Drain> = drains.iter().filter(|drain| !drain.row.holds_all()).collect();
    if is_quick() || drains.len() < ROWS.iter().filter(|row| !row.holds_all()).count() {
        return;
    }
    let names: Vec<&str> = drains.iter().map(|drain| drain.row.name).collect();
    let series = [
        Series::new("floor: consume and walk", GREY, Mark::Crosses, marks(&drains, Contender::Floor(Floor::Walk))),
        Series::new("Tailwater", BLUE, Mark::Circles, marks(&drains, Contender::Tailwater)),
        Series::new("Collector, tuned", GREEN, Mark::Triangles, marks(&drains, Contender::Tuned)),
        Series::new("Collector, default", VERMILION, Mark::Triangles, marks(&drains, Contender::Collector)),
    ];
    let panel = Panel {
        title: "a full topic, read to its end".to_owned(),
        x: Axis::names("", &names),
        y: Axis::log("spans per CPU-second", &[10e3, 30e3, 100e3, 300e3, 1e6, 3e6]),
        series: series.into(),
    };
    Figure { name: "side-by-side", columns: 1, height: 320, panels: vec![panel] }.save();
}

/// Those that count.
fn marks(drains: &[&Drain], contender: Contender) -> Vec<(f64, f64)> {
    let lines = drains.iter().enumerate().filter_map(|(at, drain)| Some((at, drain, drain.lines.of(contender)?)));
    let lines = lines.filter(|(_, _, line)| line.void.is_none());
    lines.flat_map(|(at, drain, line)| drain.per_cpu(line).into_iter().map(move |each| (at as f64, each))).collect()
}
