//! The figures as a plot.

use super::{
    Compared,
    completion::Outcome,
    plot::{Axis, BLUE, Figure, GREEN, Mark, Panel, Series, VERMILION},
};

/// How many spans were too late, by how long traces were held.
pub fn held(compared: &Compared) {
    let learned = [Outcome::all(&compared.learned)];
    let panel = |title: &str, held: fn(&Outcome) -> f64| {
        let points = |outcomes: &[Outcome]| {
            let point = |outcome: &Outcome| (held(outcome), 100.0 * (1.0 - outcome.completeness()));
            outcomes.iter().map(point).collect::<Vec<_>>()
        };
        let (waits, quiets) = (points(&compared.waits), points(&compared.quiets));
        Panel {
            title: title.to_owned(),
            x: Axis::log("held, s", &[1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0]),
            y: Axis::log("spans too late, %", &[0.01, 0.1, 1.0, 10.0]),
            series: vec![
                Series::new("fixed wait", VERMILION, Mark::Line, waits.clone()),
                Series::new("", VERMILION, Mark::Triangles, waits),
                Series::new("fixed quiet period", GREEN, Mark::Line, quiets.clone()),
                Series::new("", GREEN, Mark::Crosses, quiets),
                Series::new("learned quiet periods", BLUE, Mark::Circles, points(&learned)),
            ],
        }
    };
    let panels = vec![panel("median", |outcome| outcome.held(0.5)), panel("mean", Outcome::mean)];
    Figure { name: "completion", columns: 2, height: 240, panels }.save();
}
