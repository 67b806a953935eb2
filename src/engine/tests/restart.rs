//! Crashes: what is durable, and what a new life makes of it.
//!
//! A tick is durable as a whole or not at all, as a transaction is. Everything else is gone with the engine.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, sample::select};

use super::*;
use crate::{decisions::Decision, tick::Logged};

#[derive(Clone, Debug)]
enum Op {
    /// The next record of a partition, this much later than the one before, by a producer whose clock is `skew` ms off.
    Give { partition: usize, step: i64, skew: i64, spans: Vec<Spec> },
    /// A tick goes out and is committed.
    Commit,
    /// A tick goes out and is not; the worker dies, perhaps before it has read much again.
    Crash,
    /// Whatever is complete is decided.
    Advance,
}

/// What outlives a crash.
struct Disk {
    settings: Settings,
    input: Vec<Vec<(i64, Vec<Spec>)>>,
    /// Of each partition.
    commits: Vec<Start>,
    log: Vec<Vec<(u64, Vec<Decision>)>>,
    kept: Vec<(TraceId, Vec<u8>)>,
    numbers: Vec<u64>,
}

struct Life {
    engine: Engine,
    /// The next offset to be read, by partition.
    next: Vec<usize>,
}

const PARTITIONS: usize = 3;

// === impl Life ===

impl Life {
    fn begin(disk: &Disk) -> Self {
        let mut engine = Engine::new(disk.settings, policies(ERRORS));
        let next = disk.commits.iter().map(|start| start.offset as usize).collect();
        for (at, start) in (0..).zip(&disk.commits) {
            assert_eq!(engine.assign(*start), at);
        }
        let mut remembered = Vec::new();
        for (at, (start, log)) in (0..).zip(iter::zip(&disk.commits, &disk.log)) {
            for (record, (tick, decisions)) in (0..).zip(log).skip(start.floor as usize) {
                let of = |&decision| (at, Remembered { decision, tick: *tick, record, bound: false });
                remembered.extend(decisions.iter().map(of));
            }
        }
        remembered.sort_by_key(|(_, remembered)| (remembered.tick, remembered.decision.trace));
        remembered.into_iter().for_each(|(at, remembered)| engine.restore(at, remembered));
        Self { engine, next }
    }

    /// Reads what is there: one partition after the other or, of an unkeyed input, by turns, as far as all are there.
    fn read(&mut self, disk: &mut Disk) {
        match disk.settings.keying {
            Keying::Keyed => (0..PARTITIONS).for_each(|at| while self.take(disk, at) {}),
            Keying::Unkeyed => {
                while let Some(at) = self.engine.turn()
                    && self.take(disk, at as usize)
                {}
            }
        }
        self.check();
    }

    /// Takes the next record of a partition, if there is one.
    fn take(&mut self, disk: &mut Disk, at: usize) -> bool {
        let Some((time, spans)) = disk.input[at].get(self.next[at]).cloned() else { return false };
        let payload = record(&spans);
        let (offset, timestamp) = (self.next[at] as i64, Some(RecordTime(time)));
        let record = Record { partition: at as u32, offset, timestamp, headers: &(), payload: Some(&payload) };
        while self.engine.ingest(record, RecordTime::END) == Err(Full) {
            self.commit(disk);
        }
        self.next[at] += 1;
        true
    }

    /// No more is to come.
    fn finish(&mut self, disk: &mut Disk) {
        let mut left: BTreeSet<u32> = (0..PARTITIONS as u32).collect();
        while let Some(&first) = left.first() {
            self.read(disk);
            let ends = self.engine.turn().unwrap_or(first);
            self.engine.finish(ends);
            left.remove(&ends);
        }
    }

    fn advance(&mut self, disk: &mut Disk) {
        while self.engine.advance() == Err(Full) {
            self.commit(disk);
        }
    }

    fn commit(&mut self, disk: &mut Disk) {
        let tick = self.engine.cut();
        assert!(disk.numbers.last().is_none_or(|last| *last < tick.number), "ticks rise");
        disk.numbers.push(tick.number);
        for kept in &tick.kept {
            disk.kept.extend(raw_spans(&tick.bytes[kept.bytes.clone()]).into_iter().map(|span| (kept.trace, span)));
        }
        let mut logged = Vec::new();
        for of in tick.decisions.chunk_by(|a, b| a.0 == b.0) {
            let at = of[0].0;
            let log = &mut disk.log[at as usize];
            let record = log.len() as i64;
            log.push((tick.number, of.iter().map(|(_, decision)| *decision).collect()));
            logged.push(Logged { partition: at, first: record, last: record });
        }
        for watermark in &tick.watermarks {
            let Watermark { partition, offset, position, floor, last, since, clock, .. } = *watermark;
            let now = logged.iter().find(|logged| logged.partition == partition).map(|logged| logged.last);
            let before = &mut disk.commits[partition as usize];
            let start = Start { offset, position, floor, last: now.or(last), tick: tick.number, since, clock, rank: 0 };
            assert!(
                before.offset <= offset && before.position <= position && before.floor <= floor,
                "{before:?} {start:?}"
            );
            assert!(offset <= position);
            *before = start;
        }
        self.engine.settle(tick, &logged);
        self.check();
    }

    /// I1.
    fn check(&self) {
        assert_eq!(self.engine.stats().lost(self.engine.spans_held()), 0);
    }
}

fn spec(partitions: usize) -> impl Strategy<Value = (usize, Vec<Spec>)> {
    let spans = (1..13_u8, 1..6_u64, 0..5_u64, prop::bool::weighted(0.2)).prop_map(|(trace, id, parent, error)| Spec {
        trace,
        id,
        parent,
        running: false,
        error,
        size: 0,
    });
    (0..partitions, prop::collection::vec(spans, 0..4))
}

fn op(partitions: usize) -> impl Strategy<Value = Op> {
    let step = select(vec![0, 1, 64, 300, 1_100, 5_000, 12_000]);
    let skew = prop_oneof![6 => Just(0), 1 => select(vec![-3_600_000, -700, 700, 3_600_000])];
    prop_oneof![
        20 => (spec(partitions), step, skew)
            .prop_map(|((partition, spans), step, skew)| Op::Give { partition, step, skew, spans }),
        5 => Just(Op::Commit),
        3 => Just(Op::Advance),
        2 => Just(Op::Crash),
    ]
}

/// What is left of a history.
fn crash(keying: Keying, late_window: u64, tick_bytes: usize, ops: &[Op]) -> Disk {
    let mut disk = Disk {
        settings: Settings { late_window, tick_bytes, ..settings(keying) },
        input: vec![Vec::new(); PARTITIONS],
        commits: vec![Start::at(0); PARTITIONS],
        log: vec![Vec::new(); PARTITIONS],
        kept: Vec::new(),
        numbers: Vec::new(),
    };
    let mut life = Life::begin(&disk);
    let (mut time, mut count) = ([0_i64; PARTITIONS], [0; PARTITIONS]);
    for op in ops {
        match op {
            Op::Give { partition, step, skew, spans } => {
                let mut spans = spans.clone();
                if keying == Keying::Keyed {
                    spans.retain(|span| usize::from(span.trace) % PARTITIONS == *partition);
                }
                for span in &mut spans {
                    // Each is known by its bytes.
                    count[*partition] += 1;
                    span.size = count[*partition] * PARTITIONS + partition;
                }
                time[*partition] += step;
                disk.input[*partition].push((time[*partition] + skew, spans));
                life.read(&mut disk);
            }
            Op::Commit => life.commit(&mut disk),
            Op::Advance => life.advance(&mut disk),
            Op::Crash => {
                _ = life.engine.cut();
                life = Life::begin(&disk);
                life.read(&mut disk);
            }
        }
    }
    life.finish(&mut disk);
    life.advance(&mut disk);
    life.commit(&mut disk);
    assert_eq!(life.engine.traces_held(), 0);
    disk
}

/// By trace, whether it is kept, why it was complete and on how many spans, when that was first decided.
fn verdicts(disk: &Disk) -> BTreeMap<TraceId, (bool, Reason, u32)> {
    let mut verdicts = BTreeMap::new();
    for decision in disk.log.iter().flatten().flat_map(|(_, decisions)| decisions) {
        let of = (decision.verdict.keep, decision.reason, decision.spans);
        verdicts.entry(decision.trace).or_insert(of);
    }
    verdicts
}

fn judge(disk: &Disk, one_verdict: bool) {
    let mut out = BTreeMap::<_, usize>::new();
    disk.kept.iter().for_each(|kept| *out.entry(kept.clone()).or_default() += 1);
    assert!(out.values().all(|&copies| copies == 1), "a span is out twice");
    let mut verdicts = BTreeMap::<TraceId, BTreeSet<bool>>::new();
    for (_, decisions) in disk.log.iter().flatten() {
        for decision in decisions {
            verdicts.entry(decision.trace).or_default().insert(decision.verdict.keep);
        }
    }
    for (_, spans) in disk.input.iter().flatten() {
        for span in spans {
            let of = &verdicts[&of_trace(span.trace)];
            let is_out = out.contains_key(&(of_trace(span.trace), otlp(span).encode_to_vec()));
            if one_verdict {
                assert_eq!(of.len(), 1, "trace {} has two verdicts", span.trace);
            }
            if of.len() == 1 {
                assert_eq!(is_out, of.contains(&true), "a span of trace {} against its verdict", span.trace);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn crashes_lose_split_and_double_nothing(
        keying in select(vec![Keying::Keyed, Keying::Unkeyed]),
        late_window in select(vec![FOREVER, 2_000, 20_000]),
        tick_bytes in select(vec![1, 1 << 20]),
        ops in prop::collection::vec(op(PARTITIONS), 1..150),
    ) {
        judge(&crash(keying, late_window, tick_bytes, &ops), late_window == FOREVER);
    }

    /// I5: who dies and comes back sees everything when it would have.
    #[test]
    fn crashes_change_no_verdict(ops in prop::collection::vec(op(PARTITIONS), 1..250)) {
        let calm: Vec<Op> = ops.iter().filter(|op| !matches!(op, Op::Crash)).cloned().collect();
        let of = |ops: &[Op]| verdicts(&crash(Keying::Keyed, FOREVER, 1 << 20, ops));
        prop_assert_eq!(of(&ops), of(&calm));
    }

    /// I5, of an unkeyed input: however its partitions come, and whoever dies meanwhile, the same spans are judged together.
    #[test]
    fn the_order_in_which_partitions_come_changes_nothing(ops in prop::collection::vec(op(PARTITIONS), 1..250)) {
        let partition = |op: &Op| if let Op::Give { partition, .. } = op { Some(*partition) } else { None };
        let mut calm: Vec<Op> = ops.iter().filter(|op| partition(op).is_some()).cloned().collect();
        calm.sort_by_key(partition);
        let of = |ops: &[Op]| {
            let disk = crash(Keying::Unkeyed, FOREVER, 1 << 20, ops);
            let kept: BTreeSet<(TraceId, Vec<u8>)> = disk.kept.iter().cloned().collect();
            (verdicts(&disk), kept)
        };
        prop_assert_eq!(of(&ops), of(&calm));
    }
}
