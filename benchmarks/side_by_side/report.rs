//! The table, and a file with everything that it is made of.

use std::{env, fs, path::Path};

use serde_json::{Value, json};
use tailwater::generate::Shape;

use super::{
    contender::Contender,
    drain::{Drain, Drained},
    figures::Spread,
    kept::Kept,
    kills::Killed,
    lines::Line,
    loss::Loss,
    machine::{machine, versions},
    plot::number,
    row::is_quick,
    stage::WAIT,
    steady::{Pace, Steady},
};

const MIB: f64 = (1 << 20) as f64;

pub fn print_drain(drain: &Drain) {
    let content = &drain.content;
    println!("\n{}", drain.row.title());
    let [records, spans] = [content.records, content.spans].map(|count| number(count as f64));
    println!(
        "{records} records, {spans} spans, {:.0} MiB; kept: {}",
        content.bytes as f64 / MIB,
        all_kept(&drain.lines.kept)
    );
    let head = ["k spans/CPU-s", "k spans/s", "peak MiB", "peak B/span", "broker CPU-s", "Tailwater ×"];
    println!("  {:<28}{}", "", cells(head));
    for line in &drain.lines.lines {
        let thousands = |samples: Vec<f64>| show(Spread::of(samples).map(|spread| spread.map(|each| each / 1e3)), 0);
        let peak = Spread::of(line.runs.iter().map(|run| run.cost.peak_bytes as f64));
        let ratio = drain.ratio(line).filter(|_| line.contender != Contender::Tailwater);
        let figures = [
            thousands(drain.per_cpu(line)),
            thousands(drain.per_second(line)),
            show(peak.map(|peak| peak.map(|bytes| bytes / MIB)), 0),
            peak.map_or_else(String::new, |peak| format!("{:.0}", peak.median / content.spans as f64)),
            show(Spread::of(line.runs.iter().map(|run| run.broker)), 1),
            show(ratio, 2),
        ];
        println!("  {:<28}{}", line.contender.name(), cells(figures.each_ref().map(String::as_str)));
        if let Some(reason) = &line.void {
            println!("  {:<28}VOID: {reason}", "");
        }
    }
}

pub fn print_steady(steady: &Steady) {
    let Steady { share, rate, .. } = steady;
    println!("\nsteady: {} spans/s, {share} % of what the Collector can", number(rate.round()));
    println!("kept of what was looked at: {}", all_kept(&steady.lines.kept));
    let head =
        ["cores", "broker's cores", "resident MiB", "last → out, p50 ms", "last → out, p99 ms", "beyond wait, p99 ms"];
    println!("  {:<28}{}", "", cells(head));
    for line in &steady.lines.lines {
        let of = |figure: fn(&Pace) -> f64, decimals| show(Spread::of(line.runs.iter().map(figure)), decimals);
        let figures = [
            of(|pace| pace.cores, 3),
            of(|pace| pace.broker_cores, 3),
            of(|pace| pace.resident_bytes as f64 / MIB, 0),
            of(|pace| pace.after_last.median, 0),
            of(|pace| pace.after_last.p99, 0),
            of(|pace| pace.beyond_wait.p99, 0),
        ];
        println!("  {:<28}{}", line.contender.name(), cells(figures.each_ref().map(String::as_str)));
        if let Some(reason) = &line.void {
            println!("  {:<28}VOID: {reason}", "");
        }
    }
}

pub fn print_killed(killed: &Killed) {
    let Killed { contender, kills, rate, loss } = killed;
    println!("\nkilled {kills} times at {} spans/s, {}:", number(rate.round()), contender.name());
    match loss {
        Ok(Loss { traces, lost, torn, doubled }) => {
            let each = (lost + torn) as f64 / *kills as f64;
            println!(
                "  of {} traces {lost} lost and {torn} torn, {each:.0} a kill; {:.0} begin in the time of a wait; {doubled} spans twice",
                number(*traces as f64),
                waiting(*rate),
            );
        }
        Err(reason) => println!("  VOID: {reason}"),
    }
}

/// Traces that begin in the time of a wait.
fn waiting(rate: f64) -> f64 {
    rate * WAIT.as_secs_f64() / Shape::SPANS_PER_TRACE
}

fn cells<const N: usize>(cells: [&str; N]) -> String {
    cells.map(|cell| format!("{cell:>20}")).concat()
}

fn show(spread: Option<Spread>, decimals: usize) -> String {
    spread.map_or("–".to_owned(), |spread| format!("{spread:.decimals$}"))
}

fn all_kept(all: &[Kept]) -> String {
    let each = |kept: &Kept| format!("{} traces with {} spans", kept.traces(), kept.spans());
    all.iter().map(each).collect::<Vec<_>>().join(", or ")
}

/// In the file that `RESULTS` names, or else under the target folder.
pub fn save(drains: &[Drain], paces: &[Steady], kills: &[Killed], rounds: usize) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder of the target folder");
    let file = env::var_os("RESULTS").filter(|file| !file.is_empty());
    let file = file.map_or(target.join("side-by-side.json"), Into::into);
    let all = json!({
        "date": jiff::Timestamp::now().to_string(),
        "quick": is_quick(),
        "rounds": rounds,
        "machine": machine(),
        "versions": versions(),
        "configurations": Contender::of_drains().into_iter().map(configuration).collect::<Vec<_>>(),
        "rows": drains.iter().map(row).collect::<Vec<_>>(),
        "steady": paces.iter().map(steady).collect::<Vec<_>>(),
        "kills": kills.iter().map(killed).collect::<Vec<_>>(),
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
        "kept": drain.lines.kept.iter().map(|kept| json!({ "traces": kept.traces(), "spans": kept.spans() })).collect::<Vec<_>>(),
        "lines": drain.lines.lines.iter().map(|of| line(drain, of)).collect::<Vec<_>>(),
    })
}

fn line(drain: &Drain, line: &Line<Drained>) -> Value {
    let runs = line.runs.iter().map(|Drained { cost, broker }| {
        json!({
            "cpu_seconds": cost.cpu,
            "wall_seconds": cost.wall,
            "peak_bytes": cost.peak_bytes,
            "broker_cpu_seconds": broker,
        })
    });
    json!({
        "contender": line.contender.name(),
        "void": line.void,
        "runs": runs.collect::<Vec<_>>(),
        "kept": line.kept,
        "spans_per_cpu_second": spread(Spread::of(drain.per_cpu(line))),
        "spans_per_second": spread(Spread::of(drain.per_second(line))),
        "peak_bytes": spread(Spread::of(line.runs.iter().map(|run| run.cost.peak_bytes as f64))),
        "tailwater_times": spread(drain.ratio(line)),
    })
}

fn steady(steady: &Steady) -> Value {
    json!({
        "offered_spans_per_second": steady.rate,
        "of_capacity": steady.share,
        "wait_seconds": WAIT.as_secs_f64(),
        "kept": steady.lines.kept.iter().map(|kept| json!({ "traces": kept.traces(), "spans": kept.spans() })).collect::<Vec<_>>(),
        "lines": steady.lines.lines.iter().map(of_pace).collect::<Vec<_>>(),
    })
}

fn of_pace(line: &Line<Pace>) -> Value {
    let runs = line.runs.iter().map(|pace| {
        json!({
            "cores": pace.cores,
            "broker_cores": pace.broker_cores,
            "resident_bytes": pace.resident_bytes,
            "last_span_to_output_ms": { "median": pace.after_last.median, "p99": pace.after_last.p99 },
            "beyond_the_wait_ms": { "median": pace.beyond_wait.median, "p99": pace.beyond_wait.p99 },
        })
    });
    json!({ "contender": line.contender.name(), "void": line.void, "kept": line.kept, "runs": runs.collect::<Vec<_>>() })
}

fn killed(killed: &Killed) -> Value {
    let loss = killed.loss.as_ref().map(
        |loss| json!({ "traces": loss.traces, "lost": loss.lost, "torn": loss.torn, "doubled_spans": loss.doubled }),
    );
    json!({
        "contender": killed.contender.name(),
        "kills": killed.kills,
        "offered_spans_per_second": killed.rate,
        "traces_in_a_wait": waiting(killed.rate),
        "loss": loss.ok(),
        "void": killed.loss.as_ref().err(),
    })
}

fn spread(of: Option<Spread>) -> Value {
    of.map_or(Value::Null, |of| json!({ "median": of.median, "least": of.least, "most": of.most }))
}
