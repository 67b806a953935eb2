//! Results as the documentation shows them: tables between two marks, of which the first names one.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// By name.
pub type Parts = Map<String, Value>;

const OURS: &str = "Tailwater";
const AGAIN: &str = "Tailwater again";
const DEFAULT: &str = "Collector, default";
const TUNED: &str = "Collector, tuned";
const FLOOR: &str = "consume and walk";
/// The main table: its rows, and what they are.
const MAIN: [(&str, &str); 2] = [
    ("keyed", "small records of 2 spans, keyed by trace id"),
    ("batched", "batches of 100 spans, traces mixed, no key"),
];
/// What costs are measured of as well.
const OTHERS: [(&str, &str); 10] = [
    ("keyed-long", "keyed, 203 spans a trace"),
    ("batched-long", "batched, 203 spans a trace"),
    ("keyed-100", "keyed, 100 policies"),
    ("batched-100", "batched, 100 policies"),
    ("everything", "keyed, everything is kept"),
    ("wide", "keyed, spans of 10 kB"),
    ("regexes", "keyed, 50 regular expressions more"),
    ("single", "keyed, traces of one span"),
    ("keyed-json", "keyed, OTLP/JSON"),
    ("batched-json", "batched, OTLP/JSON"),
];
const HELD: [(&str, &str); 3] = [("held-100k", "100,000"), ("held-1m", "1,000,000"), ("held-5m", "5,000,000")];
const STEADY: [&str; 4] = ["steady-25", "steady-50", "steady-75", "steady-100"];
const MIB: f64 = (1 << 20) as f64;
/// Of the main table; fewer are no result.
const ROUNDS: u64 = 5;
/// Of the traffic for which sizes are said: bytes of a span, spans of a trace, seconds of `late_window`.
const SPAN: f64 = 550.0;
const SPANS_PER_TRACE: f64 = 14.5;
const LATE_WINDOW: f64 = 600.0;
/// Bytes of a held trace beside its spans, of a remembered verdict, and of a worker that holds nothing.
const TRACE: f64 = 350.0;
const VERDICT: f64 = 72.0;
const WORKER: f64 = 16.0 * MIB;
/// Cores of a worker that has nothing to do but ticks.
const IDLE: f64 = 0.1;

/// The page, with what stands between `<!-- NAME: … -->` and `<!-- end -->` made anew.
///
/// # Panics
/// Where there is no table of that name, or no end to it.
pub fn fill(page: &str, parts: &Parts) -> String {
    let (mut filled, mut rest) = (String::new(), page);
    while let Some((before, behind)) = rest.split_once("<!-- ") {
        let (mark, behind) = behind.split_once(" -->\n").expect("a mark ends with its line");
        let (_, behind) = behind.split_once("<!-- end -->").expect("a table has an end");
        let (name, _) = mark.split_once(':').expect("a mark names its table");
        _ = write!(filled, "{before}<!-- {mark} -->\n{}<!-- end -->", table(name, parts));
        rest = behind;
    }
    filled + rest
}

fn table(name: &str, parts: &Parts) -> String {
    let names: Vec<&str> = match name {
        "main" => MAIN.map(|(name, _)| name).into(),
        "rows" | "wall" => OTHERS.map(|(name, _)| name).into(),
        "memory" => HELD.map(|(name, _)| name).into(),
        "steady" => STEADY.into(),
        "kills" => vec!["kills"],
        "workers" => vec!["workers"],
        "bytes" => vec!["keyed-bytes", "batched-bytes"],
        "sizing" => return sizing(parts),
        _ => panic!("there is no table `{name}`"),
    };
    let measured: Vec<&str> = names.into_iter().filter(|name| parts.contains_key(*name)).collect();
    if measured.is_empty() {
        return "Not measured in these results.\n".to_owned();
    }
    let table = match name {
        "main" => main(parts),
        "rows" => rows(parts),
        "wall" => wall(parts),
        "memory" => memory(parts),
        "steady" => steady(parts),
        "kills" => kills(&parts["kills"]),
        "workers" => workers(&parts["workers"]),
        _ => bytes(parts),
    };
    table + &measured_when(parts, &measured)
}

fn main(parts: &Parts) -> String {
    let rows = MAIN.iter().filter_map(|(name, what)| Some((parts.get(*name)?, *what)));
    let rows: Vec<(&Value, &str)> = rows.collect();
    let least = rows.iter().flat_map(|(part, what)| {
        [DEFAULT, TUNED].map(|of| (line(part, of).and_then(|line| spread(line, "tailwater_times")), of, *what))
    });
    // Where one does not count, nobody knows which is the smallest.
    let all: Option<Vec<_>> = least.map(|(times, of, what)| Some((times?, of, what))).collect();
    let least = all.and_then(|all| all.into_iter().min_by(|a, b| a.0[0].total_cmp(&b.0[0])));
    let mut text = least.map_or_else(String::new, |(times, of, what)| {
        let whom = if of == TUNED { "the OpenTelemetry Collector, tuned" } else { "the OpenTelemetry Collector" };
        format!(
            "**{}** times as many spans per CPU-second as {whom}, on {what}: the smallest ratio of this table.\n\n",
            show(times, 1.0, 1)
        )
    });
    text += &head(&[
        "spans per CPU-second, in thousands",
        "Tailwater",
        "the same again",
        "Collector, default",
        "",
        "Collector, tuned",
        "",
        "consume and walk",
    ]);
    for (part, what) in rows {
        _ = writeln!(
            text,
            "| {what} | {} | {} | {} | × {} | {} | × {} | {} |",
            thousands(part, OURS),
            thousands(part, AGAIN),
            thousands(part, DEFAULT),
            times(part, DEFAULT),
            thousands(part, TUNED),
            times(part, TUNED),
            thousands(part, FLOOR),
        );
    }
    text
}

fn rows(parts: &Parts) -> String {
    let mut text = head(&[
        "spans per CPU-second, in thousands",
        "Tailwater",
        "Collector, default",
        "",
        "Collector, tuned",
        "",
        "of the floor",
        "peak MiB: Tailwater",
        "Collector",
        "tuned",
    ]);
    for (name, what) in MAIN.iter().chain(&OTHERS) {
        let Some(part) = parts.get(*name) else { continue };
        _ = writeln!(
            text,
            "| {what} | {} | {} | × {} | {} | × {} | {} | {} | {} | {} |",
            thousands(part, OURS),
            thousands(part, DEFAULT),
            times(part, DEFAULT),
            thousands(part, TUNED),
            times(part, TUNED),
            share(part),
            of(part, OURS, "peak_bytes", MIB),
            of(part, DEFAULT, "peak_bytes", MIB),
            of(part, TUNED, "peak_bytes", MIB),
        );
    }
    text
}

/// By the clock.
fn wall(parts: &Parts) -> String {
    let mut text = head(&[
        "spans/s by the clock, in thousands",
        "spans of the topic",
        "Tailwater",
        "Collector, default",
        "Collector, tuned",
    ]);
    for (name, what) in MAIN.iter().chain(&OTHERS) {
        let Some(part) = parts.get(*name) else { continue };
        let [ours, default, tuned] = [OURS, DEFAULT, TUNED].map(|whose| of(part, whose, "spans_per_second", 1e3));
        let spans = thousand(number(part, "spans"));
        _ = writeln!(text, "| {what} | {spans} | {ours} | {default} | {tuned} |");
    }
    text
}

fn memory(parts: &Parts) -> String {
    let mut text = head(&[
        "spans held",
        "payload, B a span",
        "Tailwater: MiB",
        "B a span",
        "Collector, default: MiB",
        "B a span",
        "Collector, tuned: MiB",
        "B a span",
    ]);
    for (name, held) in HELD {
        let Some(part) = parts.get(name) else { continue };
        let spans = number(part, "spans");
        let payload = number(part, "bytes") / spans;
        let peak =
            |whose| format!("{} | {}", of(part, whose, "peak_bytes", MIB), median(part, whose, "peak_bytes", spans));
        _ = writeln!(text, "| {held} | {payload:.0} | {} | {} | {} |", peak(OURS), peak(DEFAULT), peak(TUNED));
    }
    text
}

fn steady(parts: &Parts) -> String {
    let mut text = head(&[
        "offered",
        "",
        "cores",
        "times Tailwater's",
        "broker's cores",
        "resident MiB",
        "last span → output, ms: p50",
        "p99",
        "beyond the wait, ms: p99",
    ]);
    for part in STEADY.iter().filter_map(|name| parts.get(*name)) {
        let offered = format!(
            "{} % of what the Collector can, {} spans/s",
            part["of_capacity"],
            thousand(number(part, "offered_spans_per_second"))
        );
        let ours = line(part, OURS).and_then(|ours| middle(ours, "/cores"));
        for line in lines(part) {
            let name = line["contender"].as_str().unwrap_or_default();
            if let Some(reason) = line["void"].as_str() {
                _ = writeln!(text, "| {offered} | {name} | void: {reason} | | | | | | |");
                continue;
            }
            let of = |path: &str, unit: f64, decimals: usize| {
                middle(line, path).map_or("–".to_owned(), |middle| format!("{:.decimals$}", middle / unit))
            };
            let times = middle(line, "/cores").zip(ours.filter(|_| name != OURS));
            _ = writeln!(
                text,
                "| {offered} | {name} | {} | {} | {} | {} | {} | {} | {} |",
                of("/cores", 1.0, 3),
                times.map_or(String::new(), |(cores, ours)| format!("× {:.1}", cores / ours)),
                of("/broker_cores", 1.0, 3),
                of("/resident_bytes", MIB, 0),
                of("/last_span_to_output_ms/median", 1.0, 0),
                of("/last_span_to_output_ms/p99", 1.0, 0),
                of("/beyond_the_wait_ms/p99", 1.0, 0),
            );
        }
    }
    text
}

/// The median of a line's runs.
fn middle(line: &Value, path: &str) -> Option<f64> {
    let runs = line["runs"].as_array().into_iter().flatten();
    let mut runs: Vec<f64> = runs.filter_map(|run| run.pointer(path)?.as_f64()).collect();
    runs.sort_by(f64::total_cmp);
    runs.get(runs.len() / 2).copied()
}

fn kills(part: &Value) -> String {
    let mut text = head(&[
        "",
        "kills",
        "traces sent",
        "lost",
        "torn",
        "lost or torn a kill",
        "begin in the time of a wait",
        "spans twice",
    ]);
    for line in lines(part) {
        let name = line["contender"].as_str().unwrap_or_default();
        let Some(loss) = line["loss"].as_object() else {
            _ = writeln!(text, "| {name} | void: {} | | | | | | |", line["void"].as_str().unwrap_or_default());
            continue;
        };
        let [traces, lost, torn, doubled] =
            ["traces", "lost", "torn", "doubled_spans"].map(|of| loss[of].as_f64().unwrap_or(f64::NAN));
        let kills = number(line, "kills");
        _ = writeln!(
            text,
            "| {name} | {kills} | {} | {lost} | {torn} | {:.0} | {:.0} | {doubled} |",
            thousand(traces),
            (lost + torn) / kills,
            number(line, "traces_in_a_wait"),
        );
    }
    text
}

fn workers(part: &Value) -> String {
    let mut text = head(&["", "thousands of spans per CPU-second", "thousands of spans/s"]);
    for name in ["Tailwater, one worker", "Tailwater, two workers", OURS] {
        let what = if name == OURS { "Tailwater, a worker a core" } else { name };
        _ = writeln!(text, "| {what} | {} | {} |", thousands(part, name), of(part, name, "spans_per_second", 1e3));
    }
    let times = |figure: &str| {
        let [two, one] =
            ["Tailwater, two workers", "Tailwater, one worker"].map(|name| spread(line(part, name)?, figure));
        two.zip(one).map_or("void".to_owned(), |([two, ..], [one, ..])| format!("× {:.2}", two / one))
    };
    _ = writeln!(text, "| two beside one | {} | {} |", times("spans_per_cpu_second"), times("spans_per_second"));
    text
}

fn bytes(parts: &Parts) -> String {
    let mut text = head(&[
        "bytes a span",
        "in the topic",
        "broker → Tailwater",
        "Tailwater → broker",
        "broker → Collector",
        "Collector → broker",
    ]);
    for (name, what) in MAIN {
        let Some(part) = parts.get(&format!("{name}-bytes")) else { continue };
        let spans = number(part, "spans");
        let each = |whose: &str, way: &str| {
            let run = line(part, whose).and_then(|line| line["runs"][0][way].as_f64());
            run.map_or("–".to_owned(), |bytes| format!("{:.1}", bytes / spans))
        };
        _ = writeln!(
            text,
            "| {what} | {:.1} | {} | {} | {} | {} |",
            number(part, "bytes") / spans,
            each(OURS, "bytes_from_broker"),
            each(OURS, "bytes_to_broker"),
            each(DEFAULT, "bytes_from_broker"),
            each(DEFAULT, "bytes_to_broker"),
        );
    }
    text
}

/// Of a table.
fn head(columns: &[&str]) -> String {
    format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()))
}

/// By the formula of the page, for what it says above the table.
fn sizing(parts: &Parts) -> String {
    let per_cpu = MAIN.iter().filter_map(|(name, _)| spread(line(parts.get(*name)?, OURS)?, "spans_per_cpu_second"));
    let Some(per_cpu) = per_cpu.map(|[median, ..]| median).min_by(f64::total_cmp) else {
        return "Not measured in these results.\n".to_owned();
    };
    let mut text = head(&["spans/s", "traces held for 6 s: `memory.buffer`", "for 30 s", "cores"]);
    for rate in [1_000.0, 10_000.0, 50_000.0, 100_000.0, 200_000.0, 500_000.0] {
        let verdicts = rate / SPANS_PER_TRACE * LATE_WINDOW * VERDICT;
        let buffer = |wait: f64| {
            let held = rate * wait * (SPAN + TRACE / SPANS_PER_TRACE);
            // Verdicts take a quarter at most.
            let all = (1.25 * (held + verdicts) + WORKER).max(4.0 * verdicts);
            format!("{} MiB", thousand((all / MIB).ceil()))
        };
        _ = writeln!(
            text,
            "| {} | {} | {} | {:.2} |",
            thousand(rate),
            buffer(6.0),
            buffer(30.0),
            IDLE + 2.0 * rate / per_cpu
        );
    }
    text
}

/// With commas between thousands.
fn thousand(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group));
    groups.collect::<Vec<_>>().join(",")
}

/// On which machine, with which versions, and when: one sentence for all that agree.
fn measured_when(parts: &Parts, names: &[&str]) -> String {
    let mut sentences: Vec<(String, Vec<&str>)> = Vec::new();
    for name in names {
        let sentence = setting(name, &parts[*name]);
        match sentences.iter_mut().find(|(other, _)| *other == sentence) {
            Some((_, names)) => names.push(name),
            None => sentences.push((sentence, vec![name])),
        }
    }
    let sentences = sentences.into_iter().map(|(sentence, names)| format!("`{}`: {sentence}", names.join("`, `")));
    format!("\n{}\n", sentences.collect::<Vec<_>>().join("\n"))
}

fn setting(name: &str, part: &Value) -> String {
    let text = |path: &str| part.pointer(path).and_then(Value::as_str).unwrap_or("?").trim();
    let memory = text("/machine/memory").trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / MIB;
    let rounds = part["rounds"].as_u64();
    let few = if part["quick"].as_bool() == Some(true) {
        " **A quick run: these are no figures.**".to_owned()
    } else if rounds.is_some_and(|rounds| rounds < 2) {
        " **One round: no more than a hint.**".to_owned()
    } else {
        String::new()
    };
    let rounds = rounds.map_or_else(String::new, |rounds| {
        let few = if rounds < ROUNDS && MAIN.iter().any(|(main, _)| *main == name) {
            ", fewer than a main table needs"
        } else {
            ""
        };
        format!(", {rounds} {}{few}", if rounds == 1 { "round" } else { "rounds" })
    });
    format!(
        "{}{rounds}; {}, {} cores that the broker shares, {memory:.0} GiB; Tailwater {}, Collector {}, Kafka {}.{few}",
        text("/date").split('T').next().unwrap_or_default(),
        text("/machine/processor"),
        part["machine"]["cores"],
        text("/versions/commit"),
        text("/versions/collector").trim_start_matches("collector version "),
        text("/versions/kafka"),
    )
}

fn lines(part: &Value) -> &[Value] {
    part["lines"].as_array().map_or(&[], Vec::as_slice)
}

/// None where its figures do not count.
fn line<'v>(part: &'v Value, contender: &str) -> Option<&'v Value> {
    lines(part).iter().find(|line| line["contender"] == contender && line["void"].is_null())
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or(f64::NAN)
}

/// Median, least and most.
fn spread(line: &Value, name: &str) -> Option<[f64; 3]> {
    let [median, least, most] = ["median", "least", "most"].map(|of| line[name][of].as_f64());
    Some([median?, least?, most?])
}

fn show([median, least, most]: [f64; 3], unit: f64, decimals: usize) -> String {
    format!("{:.decimals$} ({:.decimals$} – {:.decimals$})", median / unit, least / unit, most / unit)
}

fn of(part: &Value, contender: &str, name: &str, unit: f64) -> String {
    line(part, contender).and_then(|line| spread(line, name)).map_or("void".to_owned(), |of| show(of, unit, 0))
}

fn median(part: &Value, contender: &str, name: &str, unit: f64) -> String {
    let of = line(part, contender).and_then(|line| spread(line, name));
    of.map_or("void".to_owned(), |[median, ..]| format!("{:.0}", median / unit))
}

fn thousands(part: &Value, contender: &str) -> String {
    of(part, contender, "spans_per_cpu_second", 1e3)
}

fn times(part: &Value, contender: &str) -> String {
    let times = line(part, contender).and_then(|line| spread(line, "tailwater_times"));
    times.map_or("void".to_owned(), |times| show(times, 1.0, 1))
}

/// How much of what reading and walking alone would do, in per cent.
fn share(part: &Value) -> String {
    let floor = line(part, FLOOR).and_then(|line| spread(line, "tailwater_times"));
    floor.map_or("–".to_owned(), |[median, ..]| format!("{:.0} %", median * 100.0))
}
