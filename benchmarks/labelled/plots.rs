//! The figures as a plot.

use super::{
    labelled::{Outcome, Tally},
    plot::{Axis, BLUE, Figure, GREY, Mark, Panel, Series, VERMILION},
};

/// By budget, what is kept of the windows of faults.
pub fn shares(shares: &[f64], ours: &[Outcome], uniform: &[Outcome], errors: &Outcome) {
    let panel = |title: &str, of: fn(&Outcome) -> Tally| {
        let points = |outcomes: &[Outcome]| {
            let kept = outcomes.iter().map(|outcome| 100.0 * of(outcome).share());
            shares.iter().map(|share| 100.0 * share).zip(kept).collect::<Vec<_>>()
        };
        let errors = shares.iter().map(|share| (100.0 * share, 100.0 * of(errors).share()));
        let (ours, uniform) = (points(ours), points(uniform));
        Panel {
            title: title.to_owned(),
            x: Axis::log("budget, % of all traces", &[0.1, 1.0, 5.0, 10.0]),
            y: Axis::linear("kept, %", &[0.0, 25.0, 50.0, 75.0, 100.0]),
            series: vec![
                Series::new("errors only", GREY, Mark::Line, errors),
                Series::new("uniform", VERMILION, Mark::Line, uniform.clone()),
                Series::new("", VERMILION, Mark::Triangles, uniform),
                Series::new("slowest and rare, below a budget", BLUE, Mark::Line, ours.clone()),
                Series::new("", BLUE, Mark::Circles, ours),
            ],
        }
    };
    let panels = vec![panel("all traces of fault windows", Outcome::window), panel("visible ones", Outcome::visible)];
    Figure { name: "labelled", columns: 2, height: 240, panels }.save();
}
