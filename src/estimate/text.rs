//! Estimates for a person to read.

use std::fmt;

use super::{
    Estimated, Report,
    report::{By, Group, NAMES},
};
use crate::table::{several, short, table};

/// Groups that are printed; the rest is in the JSON.
const ROWS: usize = 20;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, records, refused_records, spans, by, all, groups } = self;
        let traces = several(all.kept + all.without_weight, "trace");
        writeln!(f, "{source}: {}, {traces} kept with {}", several(*records, "record"), several(*spans, "span"))?;
        if *refused_records > 0 {
            writeln!(f, "{refused_records} records are no spans, or too large")?;
        }
        if all.without_weight > 0 {
            writeln!(
                f,
                "{} of the traces have no weight (no `th` in the trace state): no estimate counts them",
                all.without_weight
            )?;
        }
        let first = match by {
            By::Operation => "operation",
            By::Service => "service",
        };
        let shown = || std::iter::once(("all".to_owned(), all)).chain(groups.iter().take(ROWS).map(named));
        let head = [first, "kept", "traces there were", "95 % interval", "with an error", "95 % interval"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(shown().map(|(name, group)| {
            let [traces, errors] = [&group.traces, &group.errors].map(|of| (count(of.value), interval(of, count)));
            vec![name, group.kept.to_string(), traces.0, traces.1, errors.0, errors.1]
        }));
        writeln!(f)?;
        table(f, &rows)?;

        let mut rows = vec![vec![format!("{first}, ms a trace takes")]];
        rows[0].extend(NAMES.into_iter().flat_map(|name| [name.to_owned(), "95 % interval".to_owned()]));
        rows.extend(shown().map(|(name, group)| {
            let cells = NAMES.into_iter().flat_map(|quantile| match &group.duration_ms[quantile] {
                Some(of) => [ms(of.value), interval(of, ms)],
                None => ["–".to_owned(), String::new()],
            });
            std::iter::once(name).chain(cells).collect()
        }));
        writeln!(f)?;
        table(f, &rows)?;
        match groups.len().saturating_sub(ROWS) {
            0 => Ok(()),
            more => writeln!(f, "  … and {more} more, which --json has"),
        }
    }
}

fn named(group: &Group) -> (String, &Group) {
    let name = match (&group.service, &group.name) {
        (None, _) => "(no root)".to_owned(),
        (Some(service), None) => short(service),
        (Some(service), Some(name)) => short(&format!("{service} {name}")),
    };
    (name, group)
}

/// The ends; nothing where the number is exact.
fn interval(of: &Estimated, shown: fn(f64) -> String) -> String {
    match of.high {
        Some(high) if high == of.low => "exact".to_owned(),
        Some(high) => format!("{} to {}", shown(of.low), shown(high)),
        None => format!("{} and more", shown(of.low)),
    }
}

fn count(number: f64) -> String {
    format!("{number:.0}")
}

/// Three digits at least.
fn ms(ms: f64) -> String {
    match ms {
        100.0.. => format!("{ms:.0}"),
        10.0.. => format!("{ms:.1}"),
        1.0.. => format!("{ms:.2}"),
        _ => format!("{ms:.3}"),
    }
}
