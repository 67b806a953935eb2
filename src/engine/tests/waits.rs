//! How long traces wait, where that is learned.

use super::*;
use crate::sample::Learned;

/// A root and its child: when each comes, in milliseconds after the trace begins. A late child has a parent that is known.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    child: i64,
    /// It names a parent that never comes.
    torn: bool,
}

const QUICK: Shape = Shape { name: "quick", child: 100, torn: false };
const SLOW: Shape = Shape { name: "slow", child: 12_000, torn: false };
const TORN: Shape = Shape { name: "quick", child: 100, torn: true };

/// Of four spans one may be late, as a rule; so little is learned of a hundred.
fn learning() -> Settings {
    let completion = Completion { quiet: 5_000, completeness: Some(0.9), max_wait: 30_000, max_trace_bytes: 1 << 20 };
    Settings { completion, ..settings(Keying::Keyed) }
}

fn rig(settings: Settings) -> Rig {
    let mut rig = Rig::new(settings, ALL);
    rig.engine.assign(Start::at(0));
    rig
}

/// A trace a second, each of two records, from a number on; then time goes on until all are decided. What was written of waits.
fn give(rig: &mut Rig, from: u64, shapes: &[Shape]) -> Vec<Learned> {
    let mut records: Vec<(i64, Vec<u8>)> = Vec::new();
    for (number, shape) in (from..).zip(shapes) {
        let at = number as i64 * 1000;
        let span = |id: u64, parent: u64| Otlp {
            trace_id: u128::from(number + 1).to_be_bytes().to_vec(),
            span_id: id.to_be_bytes().to_vec(),
            parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
            name: shape.name.into(),
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            ..Otlp::default()
        };
        records.push((at, record_of("shop", vec![span(1, 0)])));
        records.push((at + shape.child, record_of("shop", vec![span(2, if shape.torn { 9 } else { 1 })])));
    }
    records.sort();
    let mut states = Vec::new();
    let first = rig.engine.stats().received as i64;
    for (offset, (at, payload)) in (first..).zip(&records) {
        rig.give(0, offset, *at, Some(payload));
        let tick = rig.engine.cut();
        states.extend(tick.states.iter().map(|of| of.clone().called(0)));
        rig.engine.settle(tick, &[]);
    }
    states
}

/// For about how long one more trace of a shape is held, by its reason: deadlines are rounded.
fn held(rig: &mut Rig, shape: Shape) -> (Reason, u64) {
    rest(rig);
    let before: Vec<_> = rig.engine.stats().completed().map(|(_, of)| of.held).collect();
    let now = rig.engine.clock(0).map_or(0, |now| now.0 as u64 / 1000);
    give(rig, now + 1, &[shape]);
    rest(rig);
    let after: Vec<_> = rig.engine.stats().completed().collect();
    let decided = iter::zip(&after, before).find(|((_, of), held)| of.held > *held);
    let (&(reason, after), before) = decided.expect("it is decided");
    (reason, (after.held - before) / 200 * 200)
}

/// All that is held is decided.
fn rest(rig: &mut Rig) {
    rig.engine.elapse(0, 40_000, RecordTime::END);
    rig.advance();
    assert_eq!(rig.engine.traces_held(), 0);
}

#[test]
fn each_operation_waits_for_what_is_still_to_come() {
    let mut rig = rig(learning());
    assert_eq!(held(&mut rig, QUICK), (Reason::Structure, 5_000), "nothing is known");
    give(&mut rig, 100, &[QUICK, SLOW].repeat(200));
    let late = rig.engine.stats().completed().map(|(_, of)| of.late).sum::<u64>();
    assert!((1..100).contains(&late), "{late} of 200 that are slow: at first");
    let (reason, ms) = held(&mut rig, QUICK);
    assert!(reason == Reason::Structure && ms < 500, "{ms}");
    let (reason, ms) = held(&mut rig, SLOW);
    assert!(reason == Reason::Structure && (23_800..24_600).contains(&ms), "{ms}");
    assert_eq!(rig.engine.stats().completed().map(|(_, of)| of.late).sum::<u64>(), late, "none any more");
}

#[test]
fn who_lacks_a_parent_waits_no_longer_than_others_have_for_theirs() {
    let mut rig = rig(learning());
    assert_eq!(held(&mut rig, TORN), (Reason::MaxWait, 30_000), "nothing is known");
    give(&mut rig, 100, &[QUICK; 200]);
    let (reason, ms) = held(&mut rig, TORN);
    assert!(reason == Reason::Torn && ms < 500, "{ms}");
    let mut fixed =
        self::rig(Settings { completion: Completion { completeness: None, ..learning().completion }, ..learning() });
    assert!(give(&mut fixed, 100, &[QUICK; 200]).is_empty(), "nothing is learned");
    assert_eq!(held(&mut fixed, TORN), (Reason::MaxWait, 30_000));
    assert_eq!(held(&mut fixed, QUICK), (Reason::Structure, 5_000));
}

#[test]
fn a_restart_waits_as_before_and_others_do_too() {
    let mut before = rig(learning());
    let states = give(&mut before, 100, &[QUICK, SLOW].repeat(200));
    let [mut after, mut other] = [(); 2].map(|()| rig(learning()));
    after.engine.relearn(states.iter().cloned()).expect("it was written so");
    other.engine.hear(states.iter().map(|of| Learned { partition: 1, ..of.clone() })).expect("it was written so");
    // The first trace of an engine comes before it knows the time.
    [&mut before, &mut after, &mut other].into_iter().for_each(|rig| _ = held(rig, QUICK));
    for shape in [QUICK, SLOW] {
        let of = |rig: &mut Rig| held(rig, shape);
        assert_eq!([of(&mut after), of(&mut other)], [of(&mut before); 2], "{}", shape.name);
    }
    let goal = Completion { completeness: Some(0.8), ..learning().completion };
    let mut another = rig(Settings { completion: goal, ..learning() });
    another.engine.relearn(states.iter().cloned()).expect("it is not read");
    assert_eq!(held(&mut another, QUICK), (Reason::Structure, 5_000), "what was learned for another goal is of no use");
}

#[test]
fn what_is_learned_goes_with_its_partition() {
    let mut rig = rig(learning());
    let nothing = rig.engine.states.bytes() + rig.engine.lessons.bytes();
    give(&mut rig, 100, &[QUICK; 200]);
    assert!(rig.engine.states.bytes() + rig.engine.lessons.bytes() > nothing + 1_000);
    rig.engine.revoke(0);
    rig.engine.assign(Start::at(0));
    assert_eq!(held(&mut rig, QUICK), (Reason::Structure, 5_000));
}

/// A trace whose trail finds no place teaches nothing: not its gaps in time without those that come late.
#[test]
fn memory_for_what_is_learned_has_a_bound() {
    let small = Settings { buffer: 1 << 20, ..learning() };
    let mut rig = rig(small);
    for turn in 0..20 {
        let shapes: Vec<_> = (0..200).map(|_| QUICK).collect();
        give(&mut rig, 1 + turn * 200, &shapes);
        let bytes = rig.engine.states.bytes() + rig.engine.lessons.bytes();
        assert!(bytes <= small.buffer / 4, "{bytes}");
    }
}
