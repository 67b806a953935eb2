//! The arithmetic of the side-by-side run: figures that are wrong would not be seen in it.

#[path = "../benchmarks/side_by_side/figures.rs"]
mod figures;
#[path = "../benchmarks/side_by_side/kept.rs"]
mod kept;
#[path = "../benchmarks/side_by_side/loss.rs"]
mod loss;

use figures::{Spread, Tail, order, ratio};
use kept::{Kept, spans_of};
use loss::Loss;
use prost::Message;
use tailwater::generate::otlp::{ResourceSpans, ScopeSpans, Span, TracesData};

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
