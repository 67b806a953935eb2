//! A report for a person to read.

use std::fmt;

use jiff::Timestamp;

use super::{
    report::{Against, Amount, Change, Changes, Coverage, Input, List, Only, Outcome, Report},
    sample::Share,
};
use crate::table::{several, short, table};

/// Services and operations that are printed, and trace ids of a list; the rest is in the JSON.
const ROWS: usize = 20;
const IDS: usize = 10;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, candidate, current, changes, against } = self;
        input.fmt(f)?;
        writeln!(f)?;
        let mut sides =
            vec![vec!["", "kept", "share", "bytes", "share", "expected"].into_iter().map(str::to_owned).collect()];
        sides.push(side("these policies", candidate));
        sides.extend(current.iter().map(|current| side("the current ones", current)));
        if let Some(Against { name, kept, kept_bytes, .. }) = against {
            sides.push(vec![
                short(name),
                kept.kept.to_string(),
                percent(kept),
                bytes(kept_bytes.kept),
                percent(kept_bytes),
                String::new(),
            ]);
        }
        table(f, &sides)?;
        writeln!(f)?;
        candidate.complete(f)?;
        writeln!(f)?;
        candidate.policies(f)?;
        candidate.services(f)?;
        self.covered(f)?;
        candidate.operations(f)?;
        if let Some(changes) = changes {
            changes.fmt(f)?;
        }
        if let Some(against) = against {
            against.fmt(f)?;
        }
        Ok(())
    }
}

// === impl Report ===

impl Report {
    /// How much each keeps of what is looked for.
    fn covered(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { candidate, current, against, .. } = self;
        let row = |name: &str, Coverage { errors, slowest }: &Coverage| {
            vec![short(name), of(errors), percent(errors), of(slowest), percent(slowest)]
        };
        let mut rows = vec![["", "with an error", "kept", "above p99.9", "kept"].map(str::to_owned).to_vec()];
        rows.push(row("these policies", &candidate.coverage));
        rows.extend(current.iter().map(|current| row("the current ones", &current.coverage)));
        rows.extend(against.iter().map(|against| row(&against.name, &against.coverage)));
        table(f, &rows)?;
        writeln!(f)
    }
}

// === impl Input ===

impl Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, refused_records, partitions, keyed, sample, traces, spans, .. } = self;
        let keyed = if *keyed { "each trace in one of them" } else { "traces are in several of them" };
        writeln!(f, "{} of {}, {keyed}", several(*records, "record"), several(*partitions, "partition"))?;
        if let (Some(from), Some(to)) = (self.from.and_then(time), self.to.and_then(time)) {
            writeln!(f, "from {from} to {to}")?;
        }
        if *refused_records > 0 {
            writeln!(f, "{refused_records} records are no spans, or too large: they would be dead letters")?;
        }
        let of = if *sample < 1.0 { format!(", a sample of {} of all traces", share(*sample)) } else { String::new() };
        let (traces, spans) = (several(*traces, "trace"), several(*spans, "span"));
        writeln!(f, "{traces} with {spans}, {}{of}", bytes(self.bytes))
    }
}

fn time(ms: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(ms).ok()
}

// === impl Outcome ===

fn side(name: &str, outcome: &Outcome) -> Vec<String> {
    let Outcome { kept, kept_bytes, expected, expected_share, .. } = outcome;
    let expected = expected_share.map(|of| format!("{expected:.1}, {}", share(of))).unwrap_or_default();
    vec![name.to_owned(), kept.kept.to_string(), percent(kept), bytes(kept_bytes.kept), percent(kept_bytes), expected]
}

impl Outcome {
    fn complete(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = self.complete_by.iter().filter(|(_, count)| **count > 0);
        let by: Vec<String> = by.map(|(reason, count)| format!("{reason} {count}")).collect();
        writeln!(f, "complete by: {}", by.join(", "))?;
        match self.complete_by.get("memory") {
            Some(1..) => writeln!(f, "memory: memory.buffer was full, and verdicts came before their time"),
            _ => Ok(()),
        }?;
        match self.judged_again {
            0 => Ok(()),
            again => writeln!(f, "judged again: {again}, whose spans came after late_window"),
        }
    }

    fn policies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["policy", "matches", "keeps", "share", "bytes", "only it keeps", "drops", "only it drops"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for row in &self.policies {
            let name = short(&row.name);
            if row.shadow {
                let would = row.would.as_ref().map(|would| format!("would keep {}, drop {}", would.keep, would.drop));
                rows.push(
                    [format!("{name} (shadow)"), row.matches.traces.to_string()].into_iter().chain(would).collect(),
                );
                continue;
            }
            rows.push(vec![
                name,
                row.matches.traces.to_string(),
                row.kept.kept.to_string(),
                percent(&row.kept),
                bytes(row.kept_bytes),
                amount(row.only_kept_by_it),
                row.dropped.traces.to_string(),
                amount(row.only_dropped_by_it),
            ]);
        }
        table(f, &rows)?;
        writeln!(f)
    }

    fn services(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_by_key(|row| std::cmp::Reverse(row.kept_bytes.of));
        let mut rows =
            vec![["service", "traces", "kept", "share", "bytes", "kept", "share"].map(str::to_owned).to_vec()];
        for row in services.iter().take(ROWS) {
            rows.push(vec![
                short(&row.name),
                row.kept.of.to_string(),
                row.kept.kept.to_string(),
                percent(&row.kept),
                bytes(row.kept_bytes.of),
                bytes(row.kept_bytes.kept),
                percent(&row.kept_bytes),
            ]);
        }
        table(f, &rows)?;
        more(f, services.len(), ROWS)?;
        writeln!(f)
    }

    fn operations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut operations: Vec<_> = self.operations.iter().collect();
        operations.sort_by_key(|row| std::cmp::Reverse(row.kept.of));
        let head = ["operation", "traces", "kept", "share", "errors kept", "p99.9", "above kept"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for row in operations.iter().take(ROWS) {
            let name = if row.service.is_empty() && row.name.is_empty() {
                "(no root)".to_owned()
            } else {
                short(&format!("{} {}", row.service, row.name))
            };
            let Coverage { errors, slowest } = &row.coverage;
            let p999 = format!("{:.1} ms", row.p999 as f64 / 1e6);
            rows.push(vec![
                name,
                row.kept.of.to_string(),
                row.kept.kept.to_string(),
                percent(&row.kept),
                of(errors),
                p999,
                of(slowest),
            ]);
        }
        table(f, &rows)?;
        more(f, operations.len(), ROWS)
    }
}

// === impl Changes ===

impl Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |Change { trace_id, by, before, error }: &Change, keep: bool| {
            let (now, then) = if keep { ("kept", "dropped") } else { ("dropped", "kept") };
            format!(
                "{trace_id}  {now} by {by}, before {then} by {before}{}",
                if *error { ", with an error" } else { "" }
            )
        };
        list(f, "newly kept", &self.newly_kept, |change| told(change, true))?;
        list(f, "newly dropped", &self.newly_dropped, |change| told(change, false))
    }
}

// === impl Against ===

impl Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unknown, refused_records, both, only_ours, only_theirs, .. } = self;
        writeln!(f, "\nagainst {}: {} kept by both", short(name), several(*both, "trace"))?;
        if *unknown > 0 {
            writeln!(f, "  {} in it are not in the input", several(*unknown, "trace"))?;
        }
        if *refused_records > 0 {
            writeln!(f, "  {refused_records} of its records are no spans")?;
        }
        let told = |Only { trace_id, by, error }: &Only| {
            format!("{trace_id}  by {by}{}", if *error { ", with an error" } else { "" })
        };
        list(f, "kept by these policies only", only_ours, told)?;
        list(f, "kept by the other only", only_theirs, told)
    }
}

fn list<T>(f: &mut fmt::Formatter<'_>, what: &str, list: &List<T>, told: impl Fn(&T) -> String) -> fmt::Result {
    writeln!(f, "\n{what}: {}, {}", several(list.traces, "trace"), bytes(list.bytes))?;
    list.listed.iter().take(IDS).try_for_each(|one| writeln!(f, "  {}", told(one)))?;
    more(f, list.traces as usize, IDS)
}

fn more(f: &mut fmt::Formatter<'_>, count: usize, shown: usize) -> fmt::Result {
    match count.saturating_sub(shown) {
        0 => Ok(()),
        more => writeln!(f, "  … and {more} more"),
    }
}

fn of(Share { kept, of, .. }: &Share) -> String {
    format!("{kept} of {of}")
}

fn amount(Amount { traces, bytes: of, .. }: Amount) -> String {
    if traces == 0 { "0".to_owned() } else { format!("{traces}, {}", bytes(of)) }
}

/// With the interval of a sample.
fn percent(of: &Share) -> String {
    match (of.share, of.interval) {
        (None, _) => "–".to_owned(),
        (Some(of), None) => share(of),
        (Some(of), Some([low, high])) => format!("{} ({} to {})", share(of), share(low), share(high)),
    }
}

/// In per cent. What is not all is never shown as all, nor what is something as nothing.
fn share(share: f64) -> String {
    let percent = share * 100.0;
    let text = match percent {
        0.0 => "0".to_owned(),
        100.0 => "100".to_owned(),
        99.9.. => format!("{:.3}", percent.min(99.999)),
        10.0.. => format!("{percent:.1}"),
        0.01.. => format!("{percent:.2}"),
        _ => format!("{percent:.1e}"),
    };
    format!("{text} %")
}

fn bytes(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let Some(unit) = (0..units.len()).rev().find(|&at| bytes >= 1000_u64.pow(at as u32 + 1)) else {
        return format!("{bytes} B");
    };
    format!("{:.1} {}", bytes as f64 / 1000_f64.powi(unit as i32 + 1), units[unit])
}
