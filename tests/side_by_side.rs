//! The arithmetic of the side-by-side run: figures that are wrong would not be seen in it.

#[path = "../benchmarks/side_by_side/figures.rs"]
mod figures;

use figures::{Spread, Tail, order, ratio};

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
