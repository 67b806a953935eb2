//! What a backtest found. Serialised, it is what `--format json` prints.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    judge::Judged,
    sample::{Sample, Share},
    spool::Records,
    theirs::Theirs,
    traces::{Trace, Traces},
};
use crate::{
    assemble::Reason,
    decide::{Action, List as Policies, Verdict, Weight},
    model::Threshold,
};

#[derive(Debug, Serialize)]
pub struct Report {
    pub input: Input,
    pub candidate: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Outcome>,
    /// From the current policies to the candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// What was read. Of a sample, traces, spans and bytes are those of the sample.
#[derive(Debug, Serialize)]
pub struct Input {
    pub records: u64,
    /// Records that would be dead letters: not decodable, or too large.
    pub refused_records: u64,
    pub partitions: usize,
    /// Every trace is in one partition.
    pub keyed: bool,
    /// The first and the last timestamp, in milliseconds since the Unix epoch.
    pub from: Option<i64>,
    pub to: Option<i64>,
    /// The part of all traces that was looked at.
    pub sample: f64,
    pub traces: u64,
    pub spans: u64,
    /// Of spans, without what they share.
    pub bytes: u64,
}

/// What a set of policies makes of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub kept: Share,
    pub kept_bytes: Share,
    /// Traces that are kept on average, by what probability each has: the randomness of these does not count.
    pub expected: f64,
    pub expected_share: Option<f64>,
    /// Verdicts by what completed their traces.
    pub complete_by: BTreeMap<&'static str, u64>,
    /// Traces that came back when their verdict was forgotten, and were judged anew.
    pub judged_again: u64,
    /// In their order; the last is `otherwise`.
    pub policies: Vec<PolicyRow>,
    /// By name.
    pub services: Vec<ServiceRow>,
    pub coverage: Coverage,
    /// By (service, name).
    pub operations: Vec<OperationRow>,
}

#[derive(Debug, Serialize)]
pub struct PolicyRow {
    pub name: String,
    /// As if absent: it is in the shadow, or the group around it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// Traces its condition holds of; of `otherwise`: those it decides.
    pub matches: Amount,
    /// Of all traces, those that are kept due to it.
    pub kept: Share,
    pub kept_bytes: u64,
    /// Those that are dropped due to it.
    pub dropped: Amount,
    /// Kept, and without this policy they would not be.
    pub only_kept_by_it: Amount,
    /// Dropped, and without this policy they would not be.
    pub only_dropped_by_it: Amount,
    /// Of one that is in the shadow itself: what it would have said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would: Option<Would>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Would {
    pub keep: u64,
    pub drop: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    pub traces: u64,
    pub bytes: u64,
}

/// Of the traces that have a span of the service, and of that service's bytes.
#[derive(Debug, Serialize)]
pub struct ServiceRow {
    /// Empty where spans do not say.
    pub name: String,
    pub kept: Share,
    pub kept_bytes: Share,
}

/// How much is kept of what is looked for.
#[derive(Debug, Serialize)]
pub struct Coverage {
    /// Of the traces with an error.
    pub errors: Share,
    /// Of those that take longer than 99.9 % of the traces of their operation.
    pub slowest: Share,
}

/// Of the traces whose root does this.
#[derive(Debug, Serialize)]
pub struct OperationRow {
    /// Both are empty where there is no root.
    pub service: String,
    pub name: String,
    pub kept: Share,
    /// Nanoseconds, exactly: the least duration that 99.9 % of the traces do not exceed.
    pub p999: u64,
    #[serde(flatten)]
    pub coverage: Coverage,
}

#[derive(Debug, Serialize)]
pub struct Changes {
    pub newly_kept: List<Change>,
    pub newly_dropped: List<Change>,
}

/// How many there are, and the first by their ids.
#[derive(Debug, Serialize)]
pub struct List<T> {
    pub traces: u64,
    pub bytes: u64,
    pub listed: Vec<T>,
}

#[derive(Debug, Serialize)]
pub struct Change {
    pub trace_id: String,
    /// What the verdict is due to: by the candidate, and before.
    pub by: String,
    pub before: String,
    pub error: bool,
}

/// Beside what another sampler kept. Traces that are not in the input do not count.
#[derive(Debug, Serialize)]
pub struct Against {
    pub name: String,
    /// It kept them, and they are not in the input.
    pub unknown: u64,
    /// Its records that are no spans.
    pub refused_records: u64,
    pub kept: Share,
    pub kept_bytes: Share,
    pub coverage: Coverage,
    pub both: u64,
    pub only_ours: List<Only>,
    pub only_theirs: List<Only>,
}

#[derive(Debug, Serialize)]
pub struct Only {
    pub trace_id: String,
    /// What our verdict is due to.
    pub by: String,
    pub error: bool,
}

/// Trace ids in a list: more are a topic, not a list to read.
const LISTED: usize = 1000;

// === impl Report ===

impl Report {
    pub(super) fn new(
        records: &Records,
        traces: &Traces,
        candidate: &Judged,
        current: Option<&Judged>,
        theirs: Option<&(String, Theirs)>,
    ) -> Self {
        let sample = records.sample;
        let look = Look { traces, sample, slowest: Slowest::of(traces) };
        let times = records.times();
        let input = Input {
            records: records.len(),
            refused_records: records.refused,
            partitions: records.partitions.len(),
            keyed: !records.spread,
            from: times.map(|(from, _)| from.0),
            to: times.map(|(_, to)| to.0),
            sample: sample.probability,
            traces: traces.all().len() as u64,
            spans: traces.all().iter().map(|trace| u64::from(trace.spans)).sum(),
            bytes: traces.all().iter().map(|trace| traces.bytes(trace)).sum(),
        };
        Self {
            input,
            candidate: look.outcome(candidate),
            current: current.map(|current| look.outcome(current)),
            changes: current.map(|current| look.changes(candidate, current)),
            against: theirs.map(|(name, theirs)| look.against(name, candidate, theirs)),
        }
    }
}

/// The traces, seen by whatever kept some of them.
struct Look<'a> {
    traces: &'a Traces,
    sample: Sample,
    slowest: Slowest,
}

/// By operation, the 99.9th percentile of the durations: of n the ⌈0.999 n⌉th.
struct Slowest(BTreeMap<u32, u64>);

/// So many, and so many of them kept.
#[derive(Clone, Copy, Default)]
struct Tally {
    of: u64,
    kept: u64,
}

#[derive(Clone, Copy, Default)]
struct Covered {
    all: Tally,
    errors: Tally,
    slowest: Tally,
}

// === impl Slowest ===

impl Slowest {
    fn of(traces: &Traces) -> Self {
        let mut durations: Vec<(u32, u64)> =
            traces.all().iter().map(|trace| (trace.operation, trace.course.duration())).collect();
        durations.sort_unstable();
        let of = |durations: &[(u32, u64)]| durations[(durations.len() * 999).div_ceil(1000) - 1];
        Self(durations.chunk_by(|a, b| a.0 == b.0).map(of).collect())
    }

    fn has(&self, trace: &Trace) -> bool {
        trace.course.duration() > self.0[&trace.operation]
    }
}

// === impl Look ===

impl Look<'_> {
    fn numbered(&self) -> impl Iterator<Item = (usize, &Trace)> {
        self.traces.all().iter().enumerate()
    }

    fn outcome(&self, judged: &Judged) -> Outcome {
        let (kept, kept_bytes) = self.kept(|trace| judged.keeps(trace));
        // The sum is exact, so its order does not count.
        let kept_of = |threshold: Threshold| u128::from(Threshold::NEVER.0 - threshold.0.min(Threshold::NEVER.0));
        let verdicts = self.numbered().filter_map(|(number, _)| judged.verdict(number));
        // Of one without a weight, what becomes of it is all that is known of how likely it was.
        let whole = |verdict: &Verdict| if verdict.is_weightless() { Threshold::ALWAYS } else { verdict.threshold };
        let expected = verdicts.map(|verdict| kept_of(whole(&verdict))).sum::<u128>();
        let expected = expected as f64 / Threshold::NEVER.0 as f64;
        let operations = self.operations(|trace| judged.keeps(trace));
        Outcome {
            kept,
            kept_bytes,
            expected,
            expected_share: (kept.of > 0).then(|| expected / kept.of as f64),
            complete_by: Reason::ALL.iter().map(|&reason| (reason.name(), judged.reasons[reason as usize])).collect(),
            judged_again: judged.again,
            policies: self.policies(judged),
            services: self.services(judged),
            coverage: self.coverage(|trace| judged.keeps(trace)),
            operations,
        }
    }

    fn kept(&self, keeps: impl Fn(usize) -> bool) -> (Share, Share) {
        let (mut traces, mut bytes) = (Tally::default(), Tally::default());
        for (number, trace) in self.numbered() {
            traces.add(1, keeps(number));
            bytes.add(self.traces.bytes(trace), keeps(number));
        }
        (traces.share(self.sample), bytes.plain())
    }

    fn policies(&self, judged: &Judged) -> Vec<PolicyRow> {
        let policies = judged.policies.policies();
        let mut rows: Vec<Row> = policies.iter().map(|policy| Row::new(&policy.name)).collect();
        for (number, policy) in policies.iter().enumerate().filter(|(_, policy)| policy.shadow) {
            rows[number].would = Some(Would::default());
            rows[number].shadow = true;
            if let Action::Group(Policies { policies, .. }) = &policy.action {
                rows[usize::from(policies.start)..usize::from(policies.end)]
                    .iter_mut()
                    .for_each(|row| row.shadow = true);
            }
        }
        let otherwise = rows.len();
        rows.push(Row::new("otherwise"));
        for (number, trace) in self.numbered() {
            let Some(verdict) = judged.verdict(number) else { continue };
            let bytes = self.traces.bytes(trace);
            let by = &mut rows[verdict.policy.map_or(otherwise, usize::from)];
            by.decides.add(1, verdict.keep);
            by.bytes.add(bytes, verdict.keep);
            for &Weight { policy, without, would } in judged.matching(number) {
                let row = &mut rows[usize::from(policy)];
                row.matches.add(bytes);
                match (verdict.keep, without) {
                    (true, false) => row.only_kept.add(bytes),
                    (false, true) => row.only_dropped.add(bytes),
                    _ => {}
                }
                if let (Some(says), Some(keep)) = (&mut row.would, would) {
                    *(if keep { &mut says.keep } else { &mut says.drop }) += 1;
                }
            }
        }
        let rest = &mut rows[otherwise];
        rest.matches = Amount { traces: rest.decides.of, bytes: rest.bytes.of };
        rows.into_iter().map(|row| row.told(self)).collect()
    }

    fn services(&self, judged: &Judged) -> Vec<ServiceRow> {
        let mut tallies: BTreeMap<u32, (Tally, Tally)> = BTreeMap::new();
        for (number, trace) in self.numbered() {
            let keep = judged.keeps(number);
            for (service, bytes) in self.traces.parts(trace) {
                let (traces, of_bytes) = tallies.entry(service).or_default();
                traces.add(1, keep);
                of_bytes.add(bytes, keep);
            }
        }
        let row = |(service, (traces, bytes)): (u32, (Tally, Tally))| ServiceRow {
            name: self.traces.operations.services.text(service),
            kept: traces.share(self.sample),
            kept_bytes: bytes.plain(),
        };
        let mut rows: Vec<_> = tallies.into_iter().map(row).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    fn coverage(&self, keeps: impl Fn(usize) -> bool) -> Coverage {
        let mut covered = Covered::default();
        self.numbered().for_each(|(number, trace)| covered.add(trace, &self.slowest, keeps(number)));
        covered.told(self.sample)
    }

    fn operations(&self, keeps: impl Fn(usize) -> bool) -> Vec<OperationRow> {
        let mut tallies: BTreeMap<u32, Covered> = BTreeMap::new();
        for (number, trace) in self.numbered() {
            tallies.entry(trace.operation).or_default().add(trace, &self.slowest, keeps(number));
        }
        let row = |(operation, covered): (u32, Covered)| {
            let (service, name) = self.traces.operations.text(operation);
            let (kept, p999) = (covered.all.share(self.sample), self.slowest.0[&operation]);
            OperationRow { service, name, kept, p999, coverage: covered.told(self.sample) }
        };
        let mut rows: Vec<_> = tallies.into_iter().map(row).collect();
        rows.sort_by(|a, b| (&a.service, &a.name).cmp(&(&b.service, &b.name)));
        rows
    }

    fn changes(&self, candidate: &Judged, current: &Judged) -> Changes {
        let of = |keep: bool| {
            let changed = |number: usize| (candidate.keeps(number), current.keeps(number)) == (keep, !keep);
            self.list(changed, |number, trace| Change {
                trace_id: trace.id.to_string(),
                by: candidate.by(number).to_owned(),
                before: current.by(number).to_owned(),
                error: trace.course.failed,
            })
        };
        Changes { newly_kept: of(true), newly_dropped: of(false) }
    }

    fn against(&self, name: &str, ours: &Judged, theirs: &Theirs) -> Against {
        let all = self.traces.all();
        let keep = |number: usize| theirs.traces.contains(&all[number].id);
        let (kept, kept_bytes) = self.kept(keep);
        let only = |number: usize, trace: &Trace| Only {
            trace_id: trace.id.to_string(),
            by: ours.by(number).to_owned(),
            error: trace.course.failed,
        };
        Against {
            name: name.to_owned(),
            unknown: theirs.traces.len() as u64 - kept.kept,
            refused_records: theirs.refused,
            kept,
            kept_bytes,
            coverage: self.coverage(keep),
            both: self.numbered().filter(|&(number, _)| keep(number) && ours.keeps(number)).count() as u64,
            only_ours: self.list(|number| ours.keeps(number) && !keep(number), only),
            only_theirs: self.list(|number| keep(number) && !ours.keeps(number), only),
        }
    }

    /// The traces that are asked for.
    fn list<T>(&self, asked: impl Fn(usize) -> bool, told: impl Fn(usize, &Trace) -> T) -> List<T> {
        let mut found: Vec<_> = self.numbered().filter(|&(number, _)| asked(number)).collect();
        found.sort_unstable_by_key(|(_, trace)| trace.id);
        List {
            traces: found.len() as u64,
            bytes: found.iter().map(|(_, trace)| self.traces.bytes(trace)).sum(),
            listed: found.into_iter().take(LISTED).map(|(number, trace)| told(number, trace)).collect(),
        }
    }
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, amount: u64, kept: bool) {
        self.of += amount;
        self.kept += if kept { amount } else { 0 };
    }

    fn share(self, sample: Sample) -> Share {
        sample.share(self.kept, self.of)
    }

    /// Of bytes: they are not drawn one by one, so there is no interval.
    fn plain(self) -> Share {
        self.share(Sample::ALL)
    }
}

// === impl Covered ===

impl Covered {
    fn add(&mut self, trace: &Trace, slowest: &Slowest, keep: bool) {
        self.all.add(1, keep);
        if trace.course.failed {
            self.errors.add(1, keep);
        }
        if slowest.has(trace) {
            self.slowest.add(1, keep);
        }
    }

    fn told(self, sample: Sample) -> Coverage {
        Coverage { errors: self.errors.share(sample), slowest: self.slowest.share(sample) }
    }
}

// === impl Amount ===

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.traces += 1;
        self.bytes += bytes;
    }
}

/// A policy while traces are counted.
#[derive(Default)]
struct Row {
    name: String,
    shadow: bool,
    matches: Amount,
    decides: Tally,
    bytes: Tally,
    only_kept: Amount,
    only_dropped: Amount,
    would: Option<Would>,
}

// === impl Row ===

impl Row {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    fn told(self, look: &Look<'_>) -> PolicyRow {
        let Self { name, shadow, matches, decides, bytes, only_kept, only_dropped, would } = self;
        PolicyRow {
            name,
            shadow,
            matches,
            kept: look.sample.share(decides.kept, look.traces.all().len() as u64),
            kept_bytes: bytes.kept,
            dropped: Amount { traces: decides.of - decides.kept, bytes: bytes.of - bytes.kept },
            only_kept_by_it: only_kept,
            only_dropped_by_it: only_dropped,
            would,
        }
    }
}
