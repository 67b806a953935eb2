//! The table, and a file with everything that it is made of.

use std::{env, fs, path::Path};

use serde_json::{Value, json};

use super::{
    contender::Contender,
    drain::{Drain, Line},
    figures::Spread,
    machine::{machine, versions},
    plot::number,
    row::is_quick,
};

const MIB: f64 = (1 << 20) as f64;

pub fn print(drain: &Drain) {
    let content = &drain.content;
    println!("\n{}", drain.row.title());
    let [records, spans] = [content.records, content.spans].map(|count| number(count as f64));
    println!("{records} records, {spans} spans, {:.0} MiB; {}", content.bytes as f64 / MIB, kept(drain));
    println!("  {:<28}{:>24}{:>24}{:>20}{:>20}", "", "k spans/CPU-s", "k spans/s", "peak MiB", "Tailwater ×");
    for line in &drain.lines {
        let thousands = |samples: Vec<f64>| show(Spread::of(samples).map(|spread| spread.map(|each| each / 1e3)), 0);
        let peak = Spread::of(line.costs.iter().map(|cost| cost.peak_bytes as f64 / MIB));
        println!(
            "  {:<28}{:>24}{:>24}{:>20}{:>20}",
            line.contender.name(),
            thousands(drain.per_cpu(line)),
            thousands(drain.per_second(line)),
            show(peak, 0),
            show(drain.ratio(line).filter(|_| line.contender != Contender::Tailwater), 2),
        );
        if let Some(reason) = &line.void {
            println!("  {:<28}VOID: {reason}", "");
        }
    }
}

fn show(spread: Option<Spread>, decimals: usize) -> String {
    spread.map_or("–".to_owned(), |spread| format!("{spread:.decimals$}"))
}

fn kept(drain: &Drain) -> String {
    let each = |kept: &super::kept::Kept| format!("{} traces with {} spans", kept.traces(), kept.spans());
    format!("kept: {}", drain.kept.iter().map(each).collect::<Vec<_>>().join(", or "))
}

/// In the file that `RESULTS` names, or else under the target folder.
pub fn save(drains: &[Drain], rounds: usize) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder of the target folder");
    let file = env::var_os("RESULTS").filter(|file| !file.is_empty());
    let file = file.map_or(target.join("side-by-side.json"), Into::into);
    let all = json!({
        "date": jiff::Timestamp::now().to_string(),
        "quick": is_quick(),
        "rounds": rounds,
        "machine": machine(),
        "versions": versions(),
        "configurations": Contender::all().into_iter().map(configuration).collect::<Vec<_>>(),
        "rows": drains.iter().map(row).collect::<Vec<_>>(),
    });
    let text = serde_json::to_string_pretty(&all).expect("no map has other keys than texts");
    fs::write(&file, text + "\n").expect("the results are written");
    println!("\nall of it: {}", file.display());
}

fn configuration(contender: Contender) -> Value {
    let files = contender.configs();
    let texts = files.iter().map(|file| fs::read_to_string(file).expect("a configuration")).collect::<Vec<_>>();
    json!({ "contender": contender.name(), "files": texts })
}

fn row(drain: &Drain) -> Value {
    json!({
        "name": drain.row.name,
        "title": drain.row.title(),
        "policies": drain.row.policies.collector(),
        "records": drain.content.records,
        "spans": drain.content.spans,
        "bytes": drain.content.bytes,
        "kept": drain.kept.iter().map(|kept| json!({ "traces": kept.traces(), "spans": kept.spans() })).collect::<Vec<_>>(),
        "lines": drain.lines.iter().map(|of| line(drain, of)).collect::<Vec<_>>(),
    })
}

fn line(drain: &Drain, line: &Line) -> Value {
    let runs = line
        .costs
        .iter()
        .map(|cost| json!({ "cpu_seconds": cost.cpu, "wall_seconds": cost.wall, "peak_bytes": cost.peak_bytes }));
    json!({
        "contender": line.contender.name(),
        "void": line.void,
        "runs": runs.collect::<Vec<_>>(),
        "kept": line.kept,
        "spans_per_cpu_second": spread(Spread::of(drain.per_cpu(line))),
        "spans_per_second": spread(Spread::of(drain.per_second(line))),
        "peak_bytes": spread(Spread::of(line.costs.iter().map(|cost| cost.peak_bytes as f64))),
        "tailwater_times": spread(drain.ratio(line)),
    })
}

fn spread(of: Option<Spread>) -> Value {
    of.map_or(Value::Null, |of| json!({ "median": of.median, "least": of.least, "most": of.most }))
}
