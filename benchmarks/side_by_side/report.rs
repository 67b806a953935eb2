//! What is printed as it comes.

use tailwater::generate::Shape;

use super::{
    contender::Contender,
    drain::{Drain, Drained},
    figures::Spread,
    kept::Kept,
    kills::Killed,
    lines::Line,
    loss::Loss,
    plot::number,
    row::Asks,
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
    let head = match drain.row.asks {
        Asks::Bytes => ["to the broker, B/span", "from it, B/span", "", "", "", ""],
        _ => ["k spans/CPU-s", "k spans/s", "peak MiB", "peak B/span", "broker CPU-s", "Tailwater ×"],
    };
    println!("  {:<28}{}", "", cells(head));
    for line in &drain.lines.lines {
        let figures = match drain.row.asks {
            Asks::Bytes => bytes(drain, line),
            _ => costs(drain, line),
        };
        println!("  {:<28}{}", line.contender.name(), cells(figures.each_ref().map(String::as_str)));
        if let Some(reason) = &line.void {
            println!("  {:<28}VOID: {reason}", "");
        }
    }
}

fn costs(drain: &Drain, line: &Line<Drained>) -> [String; 6] {
    let thousands = |samples: Vec<f64>| show(Spread::of(samples).map(|spread| spread.map(|each| each / 1e3)), 0);
    let peak = Spread::of(line.runs.iter().map(|run| run.cost.peak_bytes as f64));
    let ratio = drain.ratio(line).filter(|_| line.contender != Contender::Tailwater);
    [
        thousands(drain.per_cpu(line)),
        thousands(drain.per_second(line)),
        show(peak.map(|peak| peak.map(|bytes| bytes / MIB)), 0),
        peak.map_or_else(String::new, |peak| format!("{:.0}", peak.median / drain.content.spans as f64)),
        show(Spread::of(line.runs.iter().map(|run| run.broker)), 1),
        show(ratio, 2),
    ]
}

fn bytes(drain: &Drain, line: &Line<Drained>) -> [String; 6] {
    let a_span = |way: usize| {
        let each = line.runs.iter().map(|run| run.passed[way] as f64 / drain.content.spans as f64);
        show(Spread::of(each), 1)
    };
    [a_span(0), a_span(1)]
        .into_iter()
        .chain(std::iter::repeat_n(String::new(), 4))
        .collect::<Vec<_>>()
        .try_into()
        .expect("six")
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
pub fn waiting(rate: f64) -> f64 {
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
