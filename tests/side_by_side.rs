//! The arithmetic of the side-by-side run: figures that are wrong would not be seen in it. And that pages show what was measured, and
//! name commands that are there.

#[path = "../benchmarks/side_by_side/figures.rs"]
mod figures;
#[path = "../benchmarks/side_by_side/kept.rs"]
mod kept;
#[path = "../benchmarks/side_by_side/loss.rs"]
mod loss;
#[path = "../benchmarks/side_by_side/tables.rs"]
mod tables;

use std::{fs, path::Path};

use figures::{Spread, Tail, order, ratio};
use kept::{Kept, spans_of};
use loss::Loss;
use prost::Message;
use regex::Regex;
use serde_json::json;
use tables::{Parts, fill};
use tailwater::generate::otlp::{ResourceSpans, ScopeSpans, Span, TracesData};

/// Those that say how fast it is, and how that is measured.
const PAGES: [&str; 5] =
    ["README.md", "benchmarks/README.md", "docs/performance.md", "docs/reliability.md", "docs/sampling.md"];

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a file of the repository")
}

#[test]
fn what_pages_show_is_what_was_measured() {
    let results: Parts = serde_json::from_str(&file("benchmarks/side_by_side/results.json")).expect("results");
    for page in ["README.md", "docs/performance.md"] {
        assert!(file(page) == fill(&file(page), &results), "{page} shows other results: `make tables` writes it anew");
    }
}

#[test]
fn a_table_says_where_and_how_often() {
    let line = |contender: &str, times: [f64; 3]| {
        let spread = |[median, least, most]: [f64; 3]| json!({ "median": median, "least": least, "most": most });
        let per_second = spread(times.map(|times| 1e6 / times));
        json!({ "contender": contender, "void": null, "runs": [], "spans_per_cpu_second": per_second,
            "tailwater_times": spread(times) })
    };
    let mut void = line("Collector, tuned", [2.0; 3]);
    void["void"] = "3 traces differ".into();
    let lines = |last| {
        json!({ "rounds": 2, "date": "2026-11-29T10:00:00Z", "machine": { "cores": 2 }, "lines": [
        line("Tailwater", [1.0; 3]), line("Collector, default", [12.0, 11.0, 13.0]), last ] })
    };
    let parts: Parts = [("keyed", lines(line("Collector, tuned", [8.04, 7.0, 9.0]))), ("batched", lines(void))]
        .map(|(name, part)| (name.to_owned(), part))
        .into_iter()
        .collect();
    let page =
        fill("before\n<!-- main: by hand -->\nold\n<!-- end -->\n<!-- kills: x -->\n<!-- end -->\nbehind\n", &parts);
    assert!(
        page.starts_with("before\n<!-- main: by hand -->\n| spans per"),
        "no ratio is the smallest where one is void: {page}"
    );
    let sound =
        parts.iter().filter(|(name, _)| *name == "keyed").map(|(name, part)| (name.clone(), part.clone())).collect();
    let sound = fill(&page, &sound);
    assert!(sound.starts_with("before\n<!-- main: by hand -->\n**8.0 (7.0 – 9.0)** times as many"), "{sound}");
    assert!(
        page.contains("| 1000 (1000 – 1000) | void | 83 (91 – 77) | × 12.0 (11.0 – 13.0) | void | × void |"),
        "{page}"
    );
    assert!(page.contains("2026-11-29, 2 rounds, fewer than a main table needs"), "{page}");
    assert!(page.ends_with("<!-- kills: x -->\nNot measured in these results.\n<!-- end -->\nbehind\n"), "{page}");
    assert_eq!(fill(&page, &parts), page);
}

#[test]
fn the_commands_of_the_benchmarks_are_there() {
    let (makefile, manifest) = (file("Makefile"), file("Cargo.toml"));
    let command =
        Regex::new(r"(?m)(?:`|^    |\| )(?:[A-Z]+=\S+ )*(make|cargo bench --bench) ([a-z_-]+)").expect("a pattern");
    let mut commands = 0;
    for page in PAGES {
        for found in command.captures_iter(&file(page)) {
            let (_, [program, name]) = found.extract();
            let is_there = match program {
                "make" => makefile.contains(&format!("\n{name}:")),
                _ => manifest.contains(&format!("[[bench]]\nname = \"{name}\"")),
            };
            assert!(is_there, "{page}: there is no `{program} {name}`");
            commands += 1;
        }
    }
    assert!(commands > 20, "{commands} commands");
}

#[test]
fn a_spread_is_the_middle_and_the_ends() {
    let odd = Spread::of([3.0, 1.0, 8.0]).unwrap();
    assert_eq!(odd, Spread { median: 3.0, least: 1.0, most: 8.0 });
    assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]).unwrap().median, 3.0);
    assert_eq!(Spread::of([]), None);
    assert_eq!(format!("{odd:.0}"), "3 (1–8)");
    assert_eq!(odd.map(|each| each / 2.0).most, 4.0);
}

#[test]
fn a_tail_is_what_one_in_a_hundred_exceeds() {
    let tail = Tail::of((1..=200).rev().map(f64::from)).unwrap();
    assert_eq!(tail, Tail { median: 100.0, p99: 198.0 });
    assert_eq!(Tail::of([5.0]).unwrap(), Tail { median: 5.0, p99: 5.0 });
    assert_eq!(Tail::of([]), None);
}

#[test]
fn what_a_round_does_to_both_is_not_in_the_ratio() {
    // The second round is twice as slow for everybody.
    let ratio = ratio(&[1000.0, 500.0], &[100.0, 50.0]).unwrap();
    assert_eq!(ratio, Spread { median: 10.0, least: 10.0, most: 10.0 });
}

#[test]
fn contenders_run_there_and_back() {
    assert_eq!([order(0, 3), order(1, 3), order(2, 3)], [[0, 1, 2], [2, 1, 0], [0, 1, 2]]);
}

#[test]
fn every_trace_that_is_not_kept_alike_is_counted() {
    let kept = |spans: &[(u128, u64)]| spans.iter().copied().collect::<Kept>();
    let ours = kept(&[(3, 1), (1, 2), (1, 1), (2, 1)]);
    assert_eq!((ours.traces(), ours.spans()), (3, 4));
    assert_eq!(ours.differing(&kept(&[(1, 1), (2, 1), (1, 2), (3, 1)])), 0);
    // One without a span, one with a span twice, one that is not there, one more.
    assert_eq!(ours.differing(&kept(&[(1, 1), (2, 1), (2, 1), (4, 1)])), 4);
    assert_eq!(ours.differing(&kept(&[])), 3);
}

#[test]
fn spans_are_known_by_their_trace_and_their_id() {
    let span = |trace: u8, id: u8| Span { trace_id: vec![trace; 16], span_id: vec![id; 8], ..Span::default() };
    let scope = |spans: &[Span]| ScopeSpans { spans: spans.to_vec(), ..ScopeSpans::default() };
    let scope_spans = vec![scope(&[span(0, 1), span(0, 2)]), scope(&[span(255, 1)])];
    let record = TracesData { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] };
    let names: Vec<_> = spans_of(&record.encode_to_vec()).collect();
    assert_eq!(names, [(0, 0x0101_0101_0101_0101), (0, 0x0202_0202_0202_0202), (u128::MAX, 0x0101_0101_0101_0101)]);
}

#[test]
fn what_does_not_come_out_is_lost_or_torn() {
    let sent = [(1, 2), (2, 2), (3, 2), (4, 1)];
    let out = [(1, 1), (1, 2), (2, 1), (2, 1), (4, 1)];
    let loss = Loss::of(sent.into_iter(), out.into_iter());
    assert_eq!(loss, Loss { traces: 4, lost: 1, torn: 1, doubled: 1 });
}
