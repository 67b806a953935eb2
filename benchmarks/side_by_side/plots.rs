//! Results as a plot: every run is a mark.

use serde_json::Value;

use super::{
    contender::Contender,
    floor::Floor,
    plot::{Axis, BLUE, Figure, GREEN, GREY, Mark, Panel, Series, VERMILION},
    row::{Asks, ROWS},
    tables::Parts,
};

/// Of every kind of traffic that was measured.
pub fn draw(parts: &Parts) {
    let rows = ROWS.into_iter().filter(|row| row.asks == Asks::Cost);
    let rows: Vec<(&str, &Value)> = rows.filter_map(|row| Some((row.name, parts.get(row.name)?))).collect();
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    let series = [
        Series::new("floor: consume and walk", GREY, Mark::Crosses, marks(&rows, Contender::Floor(Floor::Walk))),
        Series::new("Tailwater", BLUE, Mark::Circles, marks(&rows, Contender::Tailwater)),
        Series::new("Collector, tuned", GREEN, Mark::Triangles, marks(&rows, Contender::Tuned)),
        Series::new("Collector, default", VERMILION, Mark::Triangles, marks(&rows, Contender::Collector)),
    ];
    let panel = Panel {
        title: "a full topic, read to its end".to_owned(),
        x: Axis::names("", &names),
        y: Axis::log("spans per CPU-second", &[10e3, 30e3, 100e3, 300e3, 1e6, 3e6, 10e6]),
        series: series.into(),
    };
    Figure { name: "side-by-side", columns: 1, height: 320, panels: vec![panel] }.save();
}

/// Those that count.
fn marks(rows: &[(&str, &Value)], contender: Contender) -> Vec<(f64, f64)> {
    let mut marks = Vec::new();
    for (at, (_, part)) in rows.iter().enumerate() {
        let lines = part["lines"].as_array().into_iter().flatten();
        for line in lines.filter(|line| line["contender"] == contender.name() && line["void"].is_null()) {
            let runs = line["runs"].as_array().into_iter().flatten();
            let seconds = runs.filter_map(|run| run["cpu_seconds"].as_f64());
            marks.extend(seconds.map(|seconds| (at as f64, part["spans"].as_f64().unwrap_or_default() / seconds)));
        }
    }
    marks
}
