//! Payload that was given up, and is recalled.

use super::*;
use crate::recall::{Partial, Terms};

const HALF: &str = "policies: [ { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }, { name: half, keep: { probability: 50% } } ]";

/// The least there may be.
const LEAST: usize = 16 << 20;

fn recalled(keying: Keying, partial: Partial) -> Settings {
    Settings { stamps: Stamps::default(), recall: Some(Terms { partial, ..Terms::FOREVER }), ..settings(keying) }
}

/// A hundred traces at a time, each of which has a span in each of ten records, all of a batch of them in so many partitions.
fn feed(rig: &mut Rig, partitions: u32, batches: i64, size: usize) {
    for batch in 0..batches {
        for record in 0..10_i64 {
            let spans = (0..100_u64).map(|n| Otlp {
                trace_id: [[1; 8], (batch as u64 * 100 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()].concat(),
                ..otlp(&Spec {
                    id: record as u64 + 1,
                    parent: u64::from(record > 0),
                    error: n == 0 && record == 5,
                    size,
                    ..ROOT
                })
            });
            let (partition, offset) = (record as u32 % partitions, batch * 10 + record);
            let service = ["shop", "cart", "mail"][record as usize % 3];
            rig.give(partition, offset, offset, Some(&record_of(service, spans.collect())));
            let Settings { buffer, .. } = rig.engine.settings;
            assert!(rig.engine.bytes_held() <= buffer, "{} at {offset}", rig.engine.bytes_held());
        }
    }
    (0..partitions).for_each(|partition| rig.engine.finish(partition));
    rig.advance();
}

#[test]
fn memory_far_too_small_changes_nothing_of_what_is_kept() {
    for (keying, partitions) in [(Keying::Keyed, 1), (Keying::Unkeyed, 2)] {
        let play = |buffer, recall| {
            let mut rig = Rig::new(Settings { buffer, recall, ..recalled(keying, Partial::DeadLetter) }, HALF);
            (0..partitions).for_each(|_| _ = rig.engine.assign(Start::at(0)));
            feed(&mut rig, partitions, 50, 2_400);
            rig
        };
        let (whole, recalled) = (play(1 << 30, None), play(LEAST, Some(Terms::FOREVER)));
        assert_eq!(whole.decisions(), recalled.decisions());
        assert_eq!(whole.by_trace(), recalled.by_trace());
        assert!(recalled.dead.is_empty(), "{:?}", recalled.dead.first());
        let (stats, kept) = (recalled.engine.stats(), recalled.kept.len() as u64);
        assert!(stats.given_up > stats.received / 2, "{} of {}", stats.given_up, stats.received);
        assert!(stats.recall.traces > kept / 2, "{} of {kept}", stats.recall.traces);
        assert_eq!((stats.recall.partial, stats.recall.gone), (0, 0));
        assert_eq!(whole.engine.stats().given_up, 0);
    }
}

/// What is known of traces stays in memory, and is too much by itself one day.
#[test]
fn what_is_known_of_traces_alone_may_be_too_much() {
    let mut rig = Rig::new(Settings { buffer: LEAST, ..recalled(Keying::Keyed, Partial::DeadLetter) }, ERRORS);
    rig.engine.assign(Start::at(0));
    let mut most = 0;
    for offset in 0..3_000_i64 {
        let spans = (0..50_u64).map(|n| Otlp {
            trace_id: (u128::from(offset as u64) << 32 | u128::from(n) | 1 << 100).to_be_bytes().to_vec(),
            ..otlp(&Spec { size: 300, error: n == 0, ..ROOT })
        });
        rig.give(0, offset, 0, Some(&record_of("shop", spans.collect())));
        assert!(rig.engine.bytes_held() <= LEAST, "{} at {offset}", rig.engine.bytes_held());
        most = most.max(rig.engine.traces_held());
    }
    rig.cut();
    let decisions = rig.decisions();
    assert_eq!(decisions.keys().map(|(_, reason)| *reason).collect::<Vec<_>>(), [Reason::Memory; 2]);
    assert!(most > 20_000, "{most} traces, in memory for some {}", LEAST / 400);
    assert_eq!(rig.kept.len() as u64, decisions[&(true, Reason::Memory)]);
}

#[test]
fn a_trace_that_is_no_longer_whole_in_the_log_is_set_aside_or_says_so() {
    for partial in [Partial::DeadLetter, Partial::Forward] {
        let mut rig = Rig::new(recalled(Keying::Keyed, partial), ALL);
        rig.engine.assign(Start::at(0));
        rig.spans(0, 0, &[CHILD]);
        rig.spans(1, 100, &[ROOT, Spec { trace: 2, ..ROOT }]);
        rig.engine.give_all_up();
        rig.spans(2, 200, &[Spec { id: 3, ..CHILD }]);
        rig.log.remove(&(0, 0));
        rig.engine.finish(0);
        rig.advance();
        let lacking = "1 of the 3 spans of trace 01010101010101010101010101010101 were removed from the log";
        let [(offset, reason, bytes)] = &rig.dead[..] else { panic!("{:?}", rig.dead) };
        assert!(*offset == 0 && reason.starts_with(lacking), "{reason}");
        let stats = rig.engine.stats();
        assert_eq!((stats.recall.traces, stats.recall.partial, stats.recall.gone), (2, 1, 1));
        rig.kept.sort();
        let left: Vec<_> = rig.kept.iter().map(|(trace, spans)| (*trace, spans.len())).collect();
        match partial {
            Partial::DeadLetter => {
                assert_eq!(raw_spans(bytes).len(), 2, "what is left of it is not lost");
                assert_eq!(left, [(of_trace(2), 1)]);
                assert_eq!((stats.forwarded, stats.rejected), (1, 3));
            }
            Partial::Forward => {
                assert!(bytes.is_empty());
                assert_eq!(left, [(of_trace(1), 2), (of_trace(2), 1)]);
                assert_eq!((stats.forwarded, stats.rejected), (3, 1));
                let says = |spans: &[Vec<u8>]| spans.iter().any(|span| span.windows(10).any(|at| at == b"incomplete"));
                assert_eq!(rig.kept.iter().map(|(_, spans)| says(spans)).collect::<Vec<_>>(), [true, false]);
            }
        }
    }
}

/// Of a trace's spans in a record not all may have been held.
#[test]
fn of_a_record_no_more_is_recalled_than_was_held() {
    let past = Past::DeadLetter;
    let mut rig = Rig::new(Settings { past, ..recalled(Keying::Keyed, Partial::DeadLetter) }, ALL);
    rig.engine.assign(Start::at(0));
    let now = 10_000_000;
    (0..20).for_each(|offset| rig.spans(offset, now, &[]));
    let ended = |span: &Spec, ms: i64| Otlp { end_time_unix_nano: ms as u64 * 1_000_000, ..otlp(span) };
    let (past, on_time) = (|span: &Spec| ended(span, 1), |span: &Spec| ended(span, now));
    let twice = Spec { id: 3, ..CHILD };
    let spans = vec![past(&CHILD), on_time(&ROOT), on_time(&twice), on_time(&twice), past(&Spec { trace: 2, ..ROOT })];
    rig.give(0, 20, now, Some(&record_of("shop", spans)));
    rig.engine.give_all_up();
    rig.engine.finish(0);
    rig.advance();
    assert_eq!(rig.dead.len(), 2, "two are past: {:?}", rig.dead);
    let [(trace, spans)] = &rig.kept[..] else { panic!("{:?}", rig.kept) };
    assert_eq!((*trace, spans.len()), (of_trace(1), 3));
    assert_eq!(rig.engine.stats().recall.gone, 0);
}

/// What a partition that is taken away had in the tick is not read again.
#[test]
fn what_is_revoked_is_not_recalled() {
    let mut rig = Rig::new(recalled(Keying::Keyed, Partial::DeadLetter), ALL);
    let [stays, goes] = [0, 1].map(|_| rig.engine.assign(Start::at(0)));
    for (partition, trace) in [(stays, 1), (goes, 2)] {
        rig.give(partition, 0, 0, Some(&record(&[Spec { trace, ..ROOT }])));
        rig.engine.give_all_up();
        rig.engine.elapse(partition, 20_000, RecordTime::END);
        rig.engine.elapse(partition, 20_000, RecordTime::END);
    }
    _ = rig.engine.advance();
    rig.engine.revoke(goes);
    rig.assert_conserved();
    rig.cut();
    assert_eq!(rig.kept.iter().map(|(trace, _)| *trace).collect::<Vec<_>>(), [of_trace(1)]);
    assert_eq!(rig.engine.stats().returned, 1);
}

/// Of records that are nearly as old as the log keeps them nothing is given up, and what is in memory is not sought.
#[test]
fn what_the_log_may_lose_soon_stays_in_memory() {
    let recall = Some(Terms { shelf_life: 60_000, ..Terms::FOREVER });
    let mut rig = Rig::new(Settings { recall, ..settings(Keying::Keyed) }, ALL);
    rig.engine.assign(Start::at(0));
    let spans = |trace| [3, trace].map(|trace| Spec { trace, id: u64::from(trace), ..CHILD });
    rig.give_below(RecordTime(100_000), 0, 0, 39_000, Some(&record(&spans(1))));
    rig.give_below(RecordTime(98_000), 0, 1, 39_000, Some(&record(&spans(2))));
    rig.engine.give_all_up();
    assert_eq!(rig.engine.stats().given_up, 2);
    rig.log.remove(&(0, 0));
    rig.engine.finish(0);
    rig.advance();
    assert!(rig.dead.is_empty(), "{:?}", rig.dead);
    assert_eq!(rig.by_trace().values().map(Vec::len).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(rig.engine.stats().recall.traces, 2);
}

/// After a downtime everything may be as old as that: then nothing else would go on.
#[test]
fn what_the_log_may_lose_soon_is_given_up_before_nothing_goes_on() {
    let recall = Some(Terms { shelf_life: 0, ..Terms::FOREVER });
    let mut rig = Rig::new(Settings { buffer: LEAST, recall, ..settings(Keying::Unkeyed) }, ERRORS);
    rig.engine.assign(Start { position: 1_000, ..Start::at(0) });
    for offset in 0..1_000 {
        let spans = (0..20_u64).map(|n| Otlp {
            trace_id: (u128::from(offset as u64) << 32 | u128::from(n) | 1 << 100).to_be_bytes().to_vec(),
            ..otlp(&Spec { size: 1_200, ..CHILD })
        });
        rig.give(0, offset, 0, Some(&record_of("shop", spans.collect())));
        assert!(!rig.engine.is_stuck() && rig.engine.bytes_held() <= LEAST);
    }
    assert!(rig.engine.stats().given_up > 10_000 && rig.decisions().is_empty());
}
