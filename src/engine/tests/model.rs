//! Assembly as one would write it without a thought of speed, beside the real one.
//!
//! No wheel, no arena, no interning, no budget: times are looked at span by span, in the words of C10 to C14.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, sample::select};

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Assign {
        next: i64,
    },
    /// After `step` ms, by a producer whose clock is `skew` ms off; the ceiling is so far above the time, or nowhere.
    Ingest {
        partition: usize,
        step: i64,
        skew: i64,
        ceiling: Option<i64>,
        gap: i64,
        spans: Vec<Spec>,
    },
    /// A record without a value.
    Nothing {
        partition: usize,
    },
    Elapse {
        partition: usize,
        ms: u64,
        ceiling: Option<i64>,
    },
    Cut,
    Revoke {
        partition: usize,
    },
    Finish {
        partition: usize,
    },
}

struct Model {
    settings: Settings,
    partitions: Vec<Option<Partition>>,
    /// By domain.
    now: BTreeMap<u32, i64>,
    /// By domain: grains below are over.
    over: BTreeMap<u32, i64>,
    /// How far any clock of an unkeyed input had come when time ran out (C14).
    ended: i64,
    held: BTreeMap<u8, Trace>,
    /// In the order they became so.
    too_large: Vec<u8>,
    /// Domain, kept, and when, in the order they fell.
    verdicts: Vec<(u8, u32, bool, i64)>,
    /// What is out, and what goes out with the next cut and the watermarks, by the partition it is said to come from.
    kept: Vec<(TraceId, Vec<u8>)>,
    open: Vec<(u32, (TraceId, Vec<u8>))>,
    /// Dead letters that go out with the next cut: by partition, how many spans each stands for, 0 for a whole record.
    buried: Vec<(u32, u64)>,
    rejected: u64,
    rejected_records: u64,
    decisions: BTreeMap<(bool, Reason), u64>,
    returned: u64,
}

#[derive(Default)]
struct Partition {
    times: Vec<i64>,
    /// Of the last 15 records, or of all, under the ceiling of the last.
    median: Option<i64>,
    clock: Option<i64>,
    /// After how many records a trace was stamped far ahead, and with what.
    leaps: Vec<(usize, i64, u8)>,
    next: i64,
    silent: Option<i64>,
    /// At the head, since the last record.
    rested: u64,
    finished: bool,
    /// What the driver sends next.
    time: i64,
}

#[derive(Default)]
struct Trace {
    domain: u32,
    spans: Vec<(u32, i64, i64, Spec)>,
    not_before: i64,
}

// === impl Model ===

impl Model {
    fn domain(&self, partition: u32) -> u32 {
        if self.settings.keying == Keying::Keyed { partition } else { 0 }
    }

    fn at(&mut self, partition: u32) -> &mut Partition {
        self.partitions[partition as usize].as_mut().expect("assigned")
    }

    fn assigned(&self) -> Vec<u32> {
        (0..).zip(&self.partitions).filter(|(_, p)| p.is_some()).map(|(at, _)| at).collect()
    }

    fn assign(&mut self, next: i64) -> u32 {
        let at = self.partitions.iter().position(Option::is_none).unwrap_or(self.partitions.len());
        if at == self.partitions.len() {
            self.partitions.push(None);
        }
        self.partitions[at] = Some(Partition { next, ..Partition::default() });
        let domain = self.domain(at as u32);
        self.now.remove(&domain);
        self.over.remove(&domain);
        at as u32
    }

    fn revoke(&mut self, partition: u32) {
        self.held.retain(|_, trace| {
            let touched = trace.spans.iter().any(|span| span.0 == partition);
            self.returned += if touched { trace.spans.len() as u64 } else { 0 };
            !touched
        });
        self.too_large.retain(|trace| self.held.contains_key(trace));
        // What was made of its records goes out with their watermark or not at all.
        let before = self.open.len();
        self.open.retain(|&(of, _)| of != partition);
        self.returned += (before - self.open.len()) as u64;
        for (_, spans) in self.buried.extract_if(.., |&mut (of, _)| of == partition) {
            self.returned += spans;
            self.rejected -= spans;
            self.rejected_records -= u64::from(spans == 0);
        }
        self.partitions[partition as usize] = None;
        let gone = self.domain(partition);
        if self.settings.keying == Keying::Keyed || self.assigned().is_empty() {
            self.verdicts.retain(|verdict| verdict.1 != gone);
            self.now.remove(&gone);
            self.over.remove(&gone);
        }
        self.end_if_finished();
        self.tell_time();
    }

    fn observe(&mut self, partition: u32, time: i64, ceiling: i64) {
        let at = self.at(partition);
        at.times.push(time);
        at.rested = 0;
        at.silent = None;
        let mut last: Vec<_> = at.times.iter().rev().take(15).copied().collect();
        last.sort_unstable();
        at.median = Some(last[(last.len() - 1) / 2].min(ceiling));
        let is_early = at.clock.is_none();
        if at.clock.is_some() || last.len() == 15 {
            at.clock = at.clock.max(at.median);
        }
        if is_early {
            self.stamp_early(partition);
        }
        self.tell_time();
        self.judge_leaps(partition);
    }

    /// 15 records later, or when nothing has come for as long as a trace may wait, the clock shows whether a leap was one.
    fn judge_leaps(&mut self, partition: u32) {
        let max_wait = self.settings.completion.max_wait as i64;
        let at = self.at(partition);
        let (count, rested) = (at.times.len(), at.rested >= max_wait as u64);
        let Some(clock) = at.clock else { return };
        for (_, stamp, trace) in at.leaps.extract_if(.., |leap| leap.0 + 15 <= count || rested).collect::<Vec<_>>() {
            if stamp > clock.saturating_add(max_wait)
                && let Some(trace) = self.held.get_mut(&trace)
            {
                trace.spans.iter_mut().for_each(|span| span.2 = span.2.min(clock));
                trace.not_before = self.over.get(&trace.domain).copied().unwrap_or(i64::MIN);
            }
        }
    }

    /// What came before there was a clock is seen no earlier than what that says first.
    fn stamp_early(&mut self, partition: u32) {
        let max_wait = self.settings.completion.max_wait as i64;
        let Some(clock) = self.at(partition).clock else { return };
        let plausible = self.latest(partition, clock.saturating_add(max_wait));
        let here = self.held.values_mut().filter(|trace| trace.spans.iter().any(|span| span.0 == partition));
        here.flat_map(|trace| &mut trace.spans).for_each(|span| span.2 = span.2.max(plausible));
    }

    /// The clock, or the latest of the last records.
    fn latest(&mut self, partition: u32, ceiling: i64) -> i64 {
        let at = self.at(partition);
        let latest = at.times.iter().rev().take(15).filter(|&&time| time <= ceiling).max().copied();
        latest.max(at.clock).expect("there is a clock")
    }

    fn elapse(&mut self, partition: u32, ms: u64, ceiling: i64) {
        let at = self.at(partition);
        if at.clock.is_none() {
            at.clock = at.median.map(|median| median.min(ceiling));
            self.stamp_early(partition);
        }
        let leap = self.settings.completion.max_wait;
        let at = self.at(partition);
        at.silent = at.times.is_empty().then_some(if ceiling == i64::MAX { ceiling } else { ceiling - 1_000 });
        at.rested += ms;
        let clock = at.clock;
        let far = clock.filter(|_| at.rested < leap).map_or(i64::MAX, |clock| clock + leap as i64);
        let latest = at.times.iter().rev().take(15).filter(|&&time| time <= ceiling.min(far)).max().copied();
        at.clock = clock.max(latest).max(clock.map(|clock| clock.saturating_add(ms as i64).min(ceiling)));
        // Nothing has come for so long that the others wait for nothing (C12).
        if at.clock.is_some() && at.rested >= leap && self.settings.keying == Keying::Unkeyed {
            let there = self.partitions.iter().flatten().filter(|p| !p.finished);
            let farthest = there.filter_map(|p| p.clock).max().map(|clock| clock.min(ceiling));
            let at = self.at(partition);
            at.clock = at.clock.max(farthest);
        }
        self.tell_time();
        self.judge_leaps(partition);
    }

    fn finish(&mut self, partition: u32) {
        let at = self.at(partition);
        at.finished = true;
        at.clock = at.clock.or(at.median);
        self.end_if_finished();
        self.tell_time();
    }

    fn end_if_finished(&mut self) {
        if self.partitions.iter().flatten().all(|p| p.finished) {
            let clocks = self.partitions.iter().flatten().filter_map(|p| p.clock).filter(|&clock| clock < i64::MAX);
            if self.settings.keying == Keying::Unkeyed {
                self.ended = clocks.fold(self.ended, i64::max);
            }
            self.partitions.iter_mut().flatten().for_each(|p| p.clock = Some(i64::MAX));
        }
    }

    fn tell_time(&mut self) {
        for domain in self.assigned().into_iter().map(|at| self.domain(at)).collect::<BTreeSet<_>>() {
            let members = self.assigned().into_iter().filter(|&at| self.domain(at) == domain);
            let members = members.map(|at| self.partitions[at as usize].as_ref().expect("assigned"));
            let members: Vec<_> = members
                .filter(|p| !(self.settings.keying == Keying::Unkeyed && p.finished && p.clock != Some(i64::MAX)))
                .collect();
            // One that has said nothing, and was not seen to have nothing to say, is waited for.
            let said = members.iter().filter(|p| p.clock.is_some() || p.silent.is_none()).map(|p| p.clock);
            let silent = members.iter().filter(|p| p.clock.is_none()).filter_map(|p| p.silent);
            let slowest = said.min().flatten().map(|said| silent.fold(said, i64::min));
            if let Some(slowest) = slowest {
                let now = self.now.entry(domain).or_insert(slowest);
                *now = slowest.max(*now);
            }
        }
    }

    /// The 64 ms at whose beginning a trace is complete if nothing more comes, and why.
    fn due(&self, trace: &Trace) -> (i64, Reason) {
        let last = trace.spans.iter().map(|span| span.2).max().unwrap_or(0);
        let (bound, quiet) = (self.bound(trace), last.saturating_add(self.settings.completion.quiet as i64));
        let spans = || trace.spans.iter().map(|span| &span.3);
        let ended = spans().any(|span| span.parent == 0 && !span.running);
        let whole = spans().all(|span| span.parent == 0 || spans().any(|other| other.id == span.parent));
        let (at, reason) =
            if ended && whole && quiet <= bound { (quiet, Reason::Structure) } else { (bound, Reason::MaxWait) };
        (rounded(at).max(trace.not_before), reason)
    }

    /// When it has been waited for long enough.
    fn bound(&self, trace: &Trace) -> i64 {
        let first = trace.spans.iter().map(|span| span.2).min().unwrap_or(0);
        first.saturating_add(self.settings.completion.max_wait as i64)
    }

    fn complete(&mut self, domain: u32) {
        // First what has become too large, the last of it first: the order matters where there is no time to remember it by.
        while let Some(trace) = self.too_large.pop() {
            let held = &self.held[&trace];
            let last = held.spans.iter().map(|span| span.2).max().expect("one at least");
            let over = self.over.get(&held.domain).map(|over| over.saturating_mul(64));
            self.decide(trace, Reason::Size, over.unwrap_or(last));
        }
        let Some(&now) = self.now.get(&domain) else { return };
        let here = self.held.iter().filter(|(_, held)| held.domain == domain);
        let mut due: Vec<_> = here.map(|(&trace, held)| (self.due(held), trace)).collect();
        due.retain(|&((grain, _), _)| grain <= now.div_euclid(64));
        due.sort_by_key(|&((grain, _), trace)| (grain, trace));
        for ((grain, reason), trace) in due {
            // What some clock had come to was due; the rest is decided because nothing more comes.
            let bound = self.bound(&self.held[&trace]);
            let is_end = reason == Reason::MaxWait && now == i64::MAX && rounded(bound).saturating_mul(64) > self.ended;
            let reason = if is_end { Reason::End } else { reason };
            self.decide(trace, reason, grain.saturating_mul(64));
        }
        let over = self.over.entry(domain).or_insert(i64::MIN);
        *over = (now.div_euclid(64) + 1).max(*over);
    }

    fn decide(&mut self, trace: u8, reason: Reason, decided: i64) {
        let Trace { domain, spans, .. } = self.held.remove(&trace).expect("held");
        let keep = spans.iter().any(|span| span.3.error);
        *self.decisions.entry((keep, reason)).or_default() += 1;
        self.verdicts.push((trace, domain, keep, decided));
        if keep {
            // Said to come from the partition it reached last.
            let newest = (0..spans.len()).rfind(|&at| spans[..at].iter().all(|before| before.0 != spans[at].0));
            let of = spans[newest.expect("one at least")].0;
            self.open.extend(spans.iter().map(|span| (of, (of_trace(trace), otlp(&span.3).encode_to_vec()))));
        }
    }

    fn ingest(&mut self, partition: u32, offset: i64, time: i64, ceiling: i64, spans: &[Spec]) {
        let domain = self.domain(partition);
        // By turns, it is as late as the clocks were before the record (C10); else as its own is with it.
        if self.settings.keying == Keying::Unkeyed {
            self.complete(domain);
        }
        self.observe(partition, time, ceiling);
        if self.settings.keying == Keying::Keyed {
            self.complete(domain);
        }
        let max_wait = self.settings.completion.max_wait as i64;
        let clock = self.at(partition).clock;
        let seen = match clock {
            Some(clock) if time < clock => self.latest(partition, i64::MAX).max(clock),
            _ => time,
        };
        let leaps = clock.is_none_or(|clock| seen > clock.saturating_add(max_wait));
        for span in spans {
            if span.trace == 0 {
                self.rejected += 1;
                self.buried.push((partition, 1));
                continue;
            }
            if let Some(&(_, _, keep, _)) = self.verdicts.iter().find(|verdict| verdict.0 == span.trace) {
                if keep {
                    self.open.push((partition, (of_trace(span.trace), otlp(span).encode_to_vec())));
                }
                continue;
            }
            let over = &self.over;
            let trace = self.held.entry(span.trace).or_insert_with(|| Trace { domain, ..Trace::default() });
            let latest = trace.spans.iter().map(|span| span.2).max();
            trace.spans.push((partition, offset, seen, span.clone()));
            trace.not_before = over.get(&trace.domain).copied().unwrap_or(i64::MIN);
            let bytes: usize = trace.spans.iter().map(|span| otlp(&span.3).encoded_len()).sum();
            // All have the same resource; the headers of two messages are not its own.
            let around = record(&[]).len() - 4;
            if bytes + around > self.settings.completion.max_trace_bytes && !self.too_large.contains(&span.trace) {
                self.too_large.push(span.trace);
            }
            if leaps && latest < Some(seen) {
                let at = self.partitions[partition as usize].as_mut().expect("assigned");
                at.leaps.push((at.times.len(), seen, span.trace));
            }
        }
        self.at(partition).next = offset + 1;
    }

    fn cut(&mut self) {
        self.kept.extend(self.open.drain(..).map(|(_, kept)| kept));
        self.buried.clear();
    }

    /// I4: the first record that holds a span of an undecided trace.
    fn watermarks(&self) -> Vec<(u32, i64, i64, Option<i64>)> {
        let watermark = |at: u32| {
            let p = self.partitions[at as usize].as_ref().expect("assigned");
            let spans = self.held.values().flat_map(|trace| &trace.spans);
            let first = spans.filter(|span| span.0 == at).map(|span| span.1).min();
            (at, first.unwrap_or(p.next), p.next, p.clock)
        };
        self.assigned().into_iter().map(watermark).collect()
    }
}

/// To the 64 ms at whose beginning it is over.
fn rounded(ms: i64) -> i64 {
    ms.saturating_add(63).div_euclid(64)
}

fn spec() -> impl Strategy<Value = Spec> {
    let error = prop::bool::weighted(0.15);
    // A trace 0 is none.
    (0..7_u8, 1..5_u64, 0..5_u64, prop::bool::weighted(0.2), error, select(vec![0, 0, 0, 50, 400]))
        .prop_map(|(trace, id, parent, running, error, size)| Spec { trace, id, parent, running, error, size })
}

fn op() -> impl Strategy<Value = Op> {
    let partition = || 0..3_usize;
    let step = select(vec![0, 0, 1, 63, 64, 200, 700, 1_000, 5_000, 70_000, 400_000, -3_000, -60_000]);
    let skew = select(iter::repeat_n(0, 12).chain([3_600_000, -3_600_000, 15_000]).collect::<Vec<_>>());
    let ceiling = || select(vec![Some(1_000), Some(1_000), None]);
    let gap = select(vec![0, 0, 0, 1, 5]);
    let ingest = (partition(), step, skew, ceiling(), gap, prop::collection::vec(spec(), 0..4));
    prop_oneof![
        2 => (0..50_i64).prop_map(|next| Op::Assign { next }),
        24 => ingest.prop_map(|(partition, step, skew, ceiling, gap, spans)| {
            Op::Ingest { partition, step, skew, ceiling, gap, spans }
        }),
        1 => partition().prop_map(|partition| Op::Nothing { partition }),
        3 => (partition(), select(vec![1_u64, 64, 500, 1_000, 20_000, 300_000]), ceiling())
            .prop_map(|(partition, ms, ceiling)| Op::Elapse { partition, ms, ceiling }),
        3 => Just(Op::Cut),
        1 => partition().prop_map(|partition| Op::Revoke { partition }),
        1 => partition().prop_map(|partition| Op::Finish { partition }),
    ]
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let keying = select(vec![Keying::Keyed, Keying::Unkeyed]);
    let tick_bytes = select(vec![1, 300, 1 << 20]);
    let bounds = (select(vec![3_000_u64, 30_000, 200_000]), select(vec![600_usize, 1 << 20]));
    (keying, tick_bytes, bounds).prop_map(|(keying, tick_bytes, (max_wait, max_trace_bytes))| Settings {
        completion: Completion { quiet: 1_000, completeness: None, max_wait, max_trace_bytes },
        // What is forgotten, and when, depends on ticks: others test that.
        late_window: FOREVER,
        tick_bytes,
        ..settings(keying)
    })
}

/// Partitions that are there and not finished take records; the rest of an operation is made to fit. Where `seldom`, a cut
/// comes when it comes, and not after every operation.
fn run(mut settings: Settings, seldom: bool, ops: &[Op]) {
    if seldom {
        // None comes from a full tick.
        settings.tick_bytes = 1 << 20;
    }
    let mut rig = Rig::new(settings, ERRORS);
    let mut model = Model {
        settings,
        partitions: Vec::new(),
        now: BTreeMap::new(),
        over: BTreeMap::new(),
        ended: i64::MIN,
        held: BTreeMap::new(),
        too_large: Vec::new(),
        verdicts: Vec::new(),
        kept: Vec::new(),
        open: Vec::new(),
        buried: Vec::new(),
        rejected: 0,
        rejected_records: 0,
        decisions: BTreeMap::new(),
        returned: 0,
    };
    // Its number in the engine is its partition.
    let open = |model: &Model, partition: usize| {
        model.partitions.get(partition).is_some_and(|p| p.as_ref().is_some_and(|p| !p.finished))
    };
    let end = (0..3).map(|partition| Op::Finish { partition }).chain([Op::Cut]);
    for op in iter::once(Op::Assign { next: 0 }).chain(ops.iter().cloned()).chain(end) {
        match op.clone() {
            Op::Assign { next } if model.assigned().len() < 3 => {
                assert_eq!(rig.engine.assign(Start::at(next)), model.assign(next));
            }
            Op::Ingest { partition, step, skew, ceiling, gap, mut spans } if open(&model, partition) => {
                let at = partition as u32;
                if settings.keying == Keying::Keyed {
                    spans.retain(|span| usize::from(span.trace) % 3 == partition);
                }
                let p = model.at(at);
                p.time += step;
                let (time, offset) = (p.time + skew, p.next + gap);
                let ceiling = ceiling.map_or(i64::MAX, |above| p.time + above);
                rig.give_below(RecordTime(ceiling), at, offset, time, Some(&record(&spans)));
                model.ingest(at, offset, time, ceiling, &spans);
            }
            Op::Nothing { partition } if open(&model, partition) => {
                let at = partition as u32;
                let p = model.at(at);
                let (time, offset) = (p.time, p.next);
                rig.give(at, offset, time, None);
                model.ingest(at, offset, time, i64::MAX, &[]);
                model.rejected_records += 1;
                model.buried.push((at, 0));
            }
            Op::Elapse { partition, ms, ceiling } if open(&model, partition) => {
                let at = partition as u32;
                let ceiling = ceiling.map_or(i64::MAX, |above| model.at(at).time + above);
                rig.engine.elapse(at, ms, RecordTime(ceiling));
                model.elapse(at, ms, ceiling);
            }
            Op::Cut => {
                rig.advance();
                let domains = model.assigned().into_iter().map(|at| model.domain(at)).collect::<BTreeSet<_>>();
                domains.into_iter().for_each(|domain| model.complete(domain));
            }
            Op::Revoke { partition } if open(&model, partition) => {
                rig.engine.revoke(partition as u32);
                model.revoke(partition as u32);
            }
            Op::Finish { partition } if open(&model, partition) => {
                rig.engine.finish(partition as u32);
                model.finish(partition as u32);
            }
            _ => continue,
        }
        assert_eq!(rig.decisions(), model.decisions, "{op:?}");
        let cut = !seldom || matches!(op, Op::Cut);
        if cut {
            rig.cut();
            model.cut();
        }
        let stats = rig.engine.stats();
        // They are when they are out.
        let open: u64 = model.buried.iter().map(|&(_, spans)| spans).sum();
        let open_records = model.buried.iter().filter(|&&(_, spans)| spans == 0).count() as u64;
        let counts = (model.returned, model.rejected - open, model.rejected_records - open_records);
        assert_eq!((stats.returned, stats.rejected, stats.rejected_records), counts, "{op:?}");
        let mut kept: Vec<_> = rig.kept.iter().flat_map(|(id, spans)| spans.iter().map(|s| (*id, s.clone()))).collect();
        kept.sort();
        model.kept.sort();
        assert!(kept == model.kept, "{op:?}: {} spans are out, not {}", kept.len(), model.kept.len());
        let held = model.held.values().map(|trace| trace.spans.len()).sum::<usize>() + model.open.len();
        assert_eq!(
            (rig.engine.traces_held() as usize, rig.engine.spans_held()),
            (model.held.len(), held as u64 + open),
            "{op:?}"
        );
        if cut {
            let watermarks = rig.watermarks.iter().map(|w| {
                let (first, _) = rig.engine.assembly.watermark(w.partition);
                assert!(w.offset <= first, "{op:?}: {} is above {first}", w.offset);
                (w.partition, first, w.position, w.clock.map(|clock| clock.0))
            });
            assert_eq!(watermarks.collect::<Vec<_>>(), model.watermarks(), "{op:?}");
        }
    }
    rig.assert_conserved();
}

/// What comes of records, per partition in their order, in the order of `turns`; a cut after every `every`.
fn verdicts(
    settings: Settings,
    partitions: &[Vec<(i64, Vec<Spec>)>],
    turns: &[usize],
    every: usize,
) -> impl PartialEq + std::fmt::Debug {
    let mut rig = Rig::new(settings, ERRORS);
    partitions.iter().for_each(|_| _ = rig.engine.assign(Start::at(0)));
    let mut next = vec![0; partitions.len()];
    let rest = (0..partitions.len()).flat_map(|at| iter::repeat_n(at, partitions[at].len()));
    for (turn, at) in turns.iter().map(|turn| turn % partitions.len()).chain(rest).enumerate() {
        if let Some((time, spans)) = partitions[at].get(next[at]) {
            rig.give(at as u32, next[at] as i64, *time, Some(&record(spans)));
            next[at] += 1;
        }
        if turn % every == 0 {
            rig.cut();
        }
    }
    (0..partitions.len()).for_each(|at| rig.engine.finish(at as u32));
    rig.advance();
    (rig.decisions(), rig.by_trace())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn assembly_is_what_the_model_says(settings in any_settings(), seldom: bool, ops in prop::collection::vec(op(), 1..150)) {
        run(settings, seldom, &ops);
    }

    /// I5.
    #[test]
    fn verdicts_do_not_depend_on_how_partitions_are_read(
        settings in any_settings(),
        steps in prop::collection::vec((0..3_usize, select(vec![0_i64, 0, 50, 500, 3_000, -500, 70_000, 600_000]), prop::collection::vec(spec(), 0..4)), 1..120),
        turns in prop::collection::vec(0..3_usize, 0..60),
        every in 1..20_usize,
    ) {
        let mut partitions = vec![Vec::new(); 3];
        let mut time = [0; 3];
        for (at, step, mut spans) in steps {
            spans.retain(|span| usize::from(span.trace) % 3 == at);
            time[at] += step;
            partitions[at].push((time[at], spans));
        }
        let settings = Settings { keying: Keying::Keyed, ..settings };
        prop_assert_eq!(verdicts(settings, &partitions, &[], 1), verdicts(settings, &partitions, &turns, every));
    }
}
