//! What the workers count, for `/metrics`, and the log.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;

use crate::{
    decide::Edition,
    model::Fingerprint,
    recall,
    rekey::Counts,
    sample::{coverage::Coverage, rare},
    source::Partition,
    stats::Cut,
    stats::{Completed, Stats},
    worker::AWAY,
};

/// The workers' latest snapshots, added up when somebody asks.
pub struct Telemetry {
    /// None before it is known how many there are.
    workers: OnceLock<Box<[Mutex<Option<Snapshot>>]>>,
    /// Of the stage before the workers, where there is one.
    rekeys: OnceLock<Box<[Mutex<Option<RekeySnapshot>>]>>,
    /// Traces of a keyed input that two workers decided on.
    spread: AtomicU64,
    /// Logs of decisions that lack what a restart would need.
    lacking: AtomicU64,
    /// Nothing is written: what is counted would be.
    dry_run: bool,
    /// Policies whose gauge is not 0.
    shown: Mutex<Vec<Fingerprint>>,
    prometheus: PrometheusHandle,
}

/// What a worker says of itself a few times a second.
pub struct Snapshot {
    pub stats: Stats,
    /// In which policies have the numbers of its stats.
    pub edition: Arc<Edition>,
    pub spans_held: u64,
    pub traces_held: u64,
    pub bytes_held: u64,
    /// Of an unkeyed input, what waits for partitions whose clocks are behind.
    pub records_waiting: u64,
    pub partitions: Vec<Progress>,
    /// When a broker was last known to answer.
    pub heard: Option<Instant>,
    pub alive: Instant,
}

/// Where a worker stands in one of its partitions.
pub struct Progress {
    pub partition: Partition,
    /// Records from the position to the head of the log.
    pub lag: u64,
    /// Of the watermark, in milliseconds.
    pub age: u64,
    /// Milliseconds until the log may remove the records at the watermark; None where it removes none for their age.
    pub left: Option<u64>,
}

/// What a thread of the re-key stage says of itself.
pub struct RekeySnapshot {
    pub counts: Counts,
    /// Its partitions, with their position lag in records.
    pub partitions: Vec<(Partition, u64)>,
    pub alive: Instant,
}

/// A worker that has not been heard of for so long hangs. Waiting for the commit of a revoked partition takes seconds.
const HANGS: Duration = Duration::from_secs(30);
/// A partition that is another's now: its gauges end when nobody has set them for so long. They are set when somebody asks.
const FORGOTTEN: Duration = Duration::from_secs(120);

const RELOADS: &str = "tailwater_policy_reloads_total";
const TAKEN: &str = "taken";
const REFUSED: &str = "refused";

/// Sends the log to standard error: text, or JSON where `json`. `RUST_LOG` chooses what.
pub fn log(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,librdkafka=error,rdkafka=error"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A second subscriber, in a test, is no harm.
    _ = if json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
}

// === impl Telemetry ===

impl Telemetry {
    /// Installs the recorder of the process.
    ///
    /// # Errors
    /// There is one already.
    pub fn install(dry_run: bool) -> anyhow::Result<Self> {
        let recorder = PrometheusBuilder::new().idle_timeout(MetricKindMask::GAUGE, Some(FORGOTTEN)).build_recorder();
        let prometheus = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| anyhow::anyhow!("metrics are installed twice"))?;
        describe();
        let telemetry = Self::with(dry_run, prometheus);
        telemetry.expire(0);
        for result in [TAKEN, REFUSED] {
            counter!(RELOADS, "result" => result).increment(0);
        }
        Ok(telemetry)
    }

    /// Nobody asks it.
    #[cfg(test)]
    pub fn unheard() -> Self {
        Self::with(false, PrometheusBuilder::new().build_recorder().handle())
    }

    fn with(dry_run: bool, prometheus: PrometheusHandle) -> Self {
        let (workers, rekeys) = (OnceLock::new(), OnceLock::new());
        let (spread, lacking) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { workers, rekeys, spread, lacking, dry_run, shown: Mutex::default(), prometheus }
    }

    /// So many workers are about to start, and so many threads of a stage before them.
    pub fn start(&self, workers: usize, rekeys: usize) {
        self.rekeys.get_or_init(|| (0..rekeys).map(|_| Mutex::default()).collect());
        self.workers.get_or_init(|| (0..workers).map(|_| Mutex::default()).collect());
    }

    /// So many records of the input were removed before they were read.
    pub fn expire(&self, records: u64) {
        counter!("tailwater_records_expired_total").increment(records);
    }

    /// Policies were loaded anew, or would have been if they had no mistakes.
    pub fn reloaded(&self, taken: bool) {
        counter!(RELOADS, "result" => if taken { TAKEN } else { REFUSED }).increment(1);
    }

    pub fn publish(&self, worker: usize, snapshot: Snapshot) {
        if let Some(of) = self.workers().get(worker) {
            *lock(of) = Some(snapshot);
        }
    }

    pub fn publish_rekey(&self, thread: usize, snapshot: RekeySnapshot) {
        if let Some(of) = self.rekeys().get(thread) {
            *lock(of) = Some(snapshot);
        }
    }

    /// Two workers have decided on one trace; how often that was so before.
    pub fn spread(&self) -> u64 {
        self.spread.fetch_add(1, Ordering::Relaxed)
    }

    /// So many logs of decisions lack some that a restart would need.
    pub fn miss_decisions(&self, logs: u64) {
        self.lacking.store(logs, Ordering::Relaxed);
    }

    /// No worker hangs.
    pub fn is_alive(&self) -> bool {
        let lives = |alive: Option<Instant>| alive.is_none_or(|alive| alive.elapsed() < HANGS);
        self.workers().iter().all(|worker| lives(lock(worker).as_ref().map(|of| of.alive)))
            && self.rekeys().iter().all(|thread| lives(lock(thread).as_ref().map(|of| of.alive)))
    }

    /// Why the process is not ready; None when every worker is in the group and hears a broker.
    pub fn not_ready(&self) -> Option<&'static str> {
        if self.workers.get().is_none() {
            return Some("Kafka has not answered yet");
        }
        const SPREAD: &str = "traces of an input said to be keyed by trace id are spread over partitions";
        if self.spread.load(Ordering::Relaxed) > 0 {
            return Some(SPREAD);
        }
        if self.lacking.load(Ordering::Relaxed) > 0 {
            return Some("decisions are gone that a restart would need");
        }
        if self.rekeys().iter().any(|thread| lock(thread).is_none()) {
            return Some("a re-key thread has not started yet");
        }
        let mut partitions = 0;
        for worker in self.workers() {
            match &*lock(worker) {
                Some(of) if of.stats.spread > 0 => return Some(SPREAD),
                Some(of) if of.heard.is_some_and(|heard| heard.elapsed() < AWAY) => partitions += of.partitions.len(),
                Some(_) => return Some("no broker answers"),
                None => return Some("a worker has not started yet"),
            }
        }
        (partitions == 0).then_some("no partition is assigned yet")
    }

    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut total = Totals::default();
        total.add("tailwater_traces_spread_total", self.spread.load(Ordering::Relaxed));
        for worker in self.workers() {
            if let Some(snapshot) = &*lock(worker) {
                self.record(snapshot, &mut total);
            }
        }
        for thread in self.rekeys() {
            if let Some(snapshot) = &*lock(thread) {
                record_rekey(snapshot, &mut total);
            }
        }
        self.show(&total.in_force);
        total.record();
        gauge!("tailwater_decisions_gone").set(self.lacking.load(Ordering::Relaxed) as f64);
        gauge!("tailwater_dry_run").set(if self.dry_run { 1.0 } else { 0.0 });
        self.prometheus.run_upkeep();
        self.prometheus.render()
    }

    /// Shows which policies are in force; of those that were, that they are not.
    fn show(&self, in_force: &[Fingerprint]) {
        let mut shown = lock(&self.shown);
        shown.extend(in_force);
        shown.sort();
        shown.dedup();
        shown.retain(|of| {
            let workers = in_force.iter().filter(|in_force| *in_force == of).count();
            gauge!("tailwater_policies_in_force", "hash" => of.to_string()).set(workers as f64);
            workers > 0
        });
    }

    fn workers(&self) -> &[Mutex<Option<Snapshot>>] {
        self.workers.get().map_or(&[], |workers| workers)
    }

    fn rekeys(&self) -> &[Mutex<Option<RekeySnapshot>>] {
        self.rekeys.get().map_or(&[], |rekeys| rekeys)
    }

    /// Adds a worker to the totals, and sets what is its own.
    fn record(&self, snapshot: &Snapshot, total: &mut Totals) {
        let Snapshot { stats, edition, spans_held, traces_held, bytes_held, records_waiting, partitions, .. } =
            snapshot;
        let names = &*edition.names;
        total.in_force.push(edition.policies.fingerprint());
        total.add("tailwater_spans_received_total", stats.received);
        total.add("tailwater_spans_forwarded_total", stats.forwarded);
        total.add("tailwater_spans_dropped_total", stats.dropped);
        total.add("tailwater_spans_rejected_total", stats.rejected);
        total.add("tailwater_spans_returned_total", stats.returned);
        total.add("tailwater_spans_skipped_total", stats.skipped);
        total.add("tailwater_records_rejected_total", stats.rejected_records);
        total.add("tailwater_records_skewed_total", stats.skewed);
        total.add("tailwater_traces_spread_total", stats.spread);
        total.add("tailwater_verdicts_forgotten_total", stats.forgotten);
        total.add("tailwater_marks_forgotten_total", stats.unmarked);
        total.add("tailwater_spans_past_total", stats.past);
        total.add("tailwater_spans_given_up_total", stats.given_up);
        let recall::Read { records, bytes, traces, spans, recalled, partial, gone } = stats.recall;
        total.add("tailwater_recall_records_read_total", records);
        total.add("tailwater_recall_bytes_read_total", bytes);
        total.add("tailwater_recall_bytes_kept_total", recalled);
        total.add("tailwater_traces_recalled_total", traces);
        total.add("tailwater_spans_recalled_total", spans);
        total.add("tailwater_traces_recalled_in_part_total", partial);
        total.add("tailwater_spans_gone_total", gone);
        for (policy, spans) in names.iter().zip(&stats.regret).filter(|(_, spans)| **spans > 0) {
            total.regret.push(([("policy", policy.clone())], *spans));
        }
        for (policy, [drop, keep]) in names.iter().zip(&stats.shadows) {
            let traces = which(policy, "verdict", [("drop", *drop), ("keep", *keep)]);
            total.shadows.extend(traces.into_iter().filter(|(_, traces)| *traces > 0));
        }
        // Where windows or periods are over, none covered or uncovered is a figure.
        for (policy, coverage) in
            names.iter().zip(&stats.slowest).filter(|(_, coverage)| coverage.beyond + coverage.chosen > 0)
        {
            let Coverage { beyond, covered, chosen } = *coverage;
            let traces = [("beyond", beyond), ("covered", covered), ("chosen", chosen)];
            total.slowest.extend(which(policy, "which", traces));
        }
        for (policy, coverage) in names.iter().zip(&stats.rare).filter(|(_, coverage)| coverage.keys > 0) {
            let rare::Coverage { keys, uncovered, crowded } = *coverage;
            total.rare_keys.extend(which(policy, "which", [("seen", keys), ("uncovered", uncovered)]));
            total.rare_crowded.push(([("policy", policy.clone())], crowded));
        }
        for (policy, cut) in names.iter().zip(&stats.cuts).filter(|(_, cut)| **cut != Cut::default()) {
            let Cut { by_rate, by_budget, protected, starved } = *cut;
            let traces = [("rate", by_rate), ("budget", by_budget), ("protected", protected), ("starved", starved)];
            total.cuts.extend(which(policy, "which", traces));
        }
        for (reason, Completed { before, late, held }) in stats.completed() {
            let label = |when: &str| [("reason", reason.name().to_owned()), ("when", when.to_owned())];
            total.completion.extend([(label("before"), before), (label("late"), late)]);
            total.held.push(([("reason", reason.name().to_owned())], held / 1000));
        }
        total.late_kept += stats.late_kept;
        total.late_dropped += stats.late_dropped;
        total.spans_held += spans_held;
        total.traces_held += traces_held;
        total.bytes_held += bytes_held;
        total.records_waiting += records_waiting;
        total.lost += stats.lost(*spans_held);
        for (policy, keep, reason, traces) in stats.decisions().filter(|(.., traces)| *traces > 0) {
            let policy = policy.map_or("otherwise", |at| &names[at]);
            let verdict = if keep { "keep" } else { "drop" };
            let labels = [("verdict", verdict), ("policy", policy), ("reason", reason.name())];
            total.decided.push((labels.map(|(label, of)| (label, of.to_owned())), traces));
        }
        for Progress { partition: (topic, partition), lag, age, left } in partitions {
            let labels = [("topic", topic.to_string()), ("partition", partition.to_string())];
            gauge!("tailwater_position_lag_records", &labels).set(*lag as f64);
            gauge!("tailwater_watermark_age_seconds", &labels).set(*age as f64 / 1000.0);
            if let Some(left) = left {
                gauge!("tailwater_retention_left_seconds", &labels).set(*left as f64 / 1000.0);
            }
        }
    }
}

/// What the stage brought together is received behind it. What it rejected is received nowhere else.
fn record_rekey(snapshot: &RekeySnapshot, total: &mut Totals) {
    let RekeySnapshot { counts: Counts { spans, records, rejected, rejected_records }, partitions, .. } = snapshot;
    total.add("tailwater_rekey_spans_total", *spans);
    total.add("tailwater_rekey_records_total", *records);
    total.add("tailwater_spans_received_total", *rejected);
    total.add("tailwater_spans_rejected_total", *rejected);
    total.add("tailwater_records_rejected_total", *rejected_records);
    for ((topic, partition), lag) in partitions {
        let labels = [("topic", topic.to_string()), ("partition", partition.to_string())];
        gauge!("tailwater_rekey_lag_records", &labels).set(*lag as f64);
    }
}

/// Sums over the workers.
#[derive(Default)]
struct Totals {
    counters: Vec<(&'static str, u64)>,
    late_kept: u64,
    late_dropped: u64,
    spans_held: u64,
    traces_held: u64,
    bytes_held: u64,
    records_waiting: u64,
    lost: i64,
    /// By worker.
    in_force: Vec<Fingerprint>,
    decided: Labelled<3>,
    /// By the reason of the verdict.
    completion: Labelled<2>,
    held: Labelled<1>,
    /// By policy.
    regret: Labelled<1>,
    shadows: Labelled<2>,
    slowest: Labelled<2>,
    rare_keys: Labelled<2>,
    rare_crowded: Labelled<1>,
    cuts: Labelled<2>,
}

/// Counts of workers that bear the same labels are to be added up.
type Labelled<const N: usize> = Vec<([(&'static str, String); N], u64)>;

fn which<const N: usize>(policy: &str, label: &'static str, counts: [(&str, u64); N]) -> Labelled<2> {
    counts.map(|(which, count)| ([("policy", policy.to_owned()), (label, which.to_owned())], count)).into()
}

fn absolute<const N: usize>(name: &'static str, mut counts: Labelled<N>) {
    counts.sort();
    for of in counts.chunk_by(|(a, _), (b, _)| a == b) {
        counter!(name, &of[0].0).absolute(of.iter().map(|(_, count)| count).sum());
    }
}

// === impl Totals ===

impl Totals {
    fn add(&mut self, name: &'static str, count: u64) {
        match self.counters.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += count,
            None => self.counters.push((name, count)),
        }
    }

    fn record(self) {
        for (name, count) in self.counters {
            counter!(name).absolute(count);
        }
        counter!("tailwater_spans_late_total", "verdict" => "keep").absolute(self.late_kept);
        counter!("tailwater_spans_late_total", "verdict" => "drop").absolute(self.late_dropped);
        gauge!("tailwater_spans_held").set(self.spans_held as f64);
        gauge!("tailwater_traces_held").set(self.traces_held as f64);
        gauge!("tailwater_bytes_held").set(self.bytes_held as f64);
        gauge!("tailwater_records_waiting").set(self.records_waiting as f64);
        gauge!("tailwater_spans_lost").set(self.lost as f64);
        absolute("tailwater_regret_spans_total", self.regret);
        absolute("tailwater_shadow_traces_total", self.shadows);
        absolute("tailwater_slowest_traces_total", self.slowest);
        absolute("tailwater_rare_keys_total", self.rare_keys);
        absolute("tailwater_rare_crowded_traces_total", self.rare_crowded);
        absolute("tailwater_cut_traces_total", self.cuts);
        absolute("tailwater_traces_decided_total", self.decided);
        absolute("tailwater_completion_spans_total", self.completion);
        absolute("tailwater_held_seconds_total", self.held);
    }
}

fn describe() {
    describe_counter!("tailwater_spans_received_total", "Spans read from the input, late ones included");
    describe_counter!("tailwater_spans_forwarded_total", "Spans of kept traces the output has acknowledged");
    describe_counter!("tailwater_spans_dropped_total", "Spans of traces dropped by verdict");
    describe_counter!("tailwater_spans_rejected_total", "Spans in the dead letters, with the reason");
    describe_counter!("tailwater_spans_returned_total", "Undecided spans whose partition went to another worker");
    describe_counter!("tailwater_spans_skipped_total", "Spans read again after a restart that were handled before it");
    describe_counter!(
        "tailwater_spans_late_total",
        "Spans that followed their trace's verdict (also forwarded or dropped)"
    );
    describe_counter!(
        "tailwater_spans_past_total",
        "Spans later than late_window, whose trace's verdict is forgotten: `late` says what becomes of them"
    );
    describe_counter!(
        "tailwater_regret_spans_total",
        "Late spans of dropped traces for which this policy would have kept them"
    );
    describe_counter!(
        "tailwater_shadow_traces_total",
        "Traces that this policy, of which it was said `shadow: true`, would have kept or dropped"
    );
    describe_counter!(
        "tailwater_slowest_traces_total",
        "Traces of windows that are over, by a policy with `slowest`: beyond the quantile; of these, covered, that is kept by \
         whatever policy; and chosen by the sampler, those it did not have to included"
    );
    describe_counter!(
        "tailwater_rare_keys_total",
        "Keys of periods that are over, by a policy with `rare`, once for each partition: seen; of these, uncovered, that is with fewer \
         kept traces than the floor says and there were"
    );
    describe_counter!(
        "tailwater_rare_crowded_traces_total",
        "Traces whose keys shared a floor, as a partition had more keys than it remembers, by a policy with `rare`"
    );
    describe_counter!(
        "tailwater_cut_traces_total",
        "Traces that this policy would have kept and that were cut: by its rate; by a budget; of those, protected, so that the budget is \
         too small for what is to give way last; and of all, starved, that is whatever their randomness, so that estimates miss them"
    );
    describe_counter!("tailwater_records_rejected_total", "Records in the dead letters as a whole");
    describe_counter!("tailwater_records_expired_total", "Records removed from the input before they were read");
    describe_counter!("tailwater_records_skewed_total", "Records whose time is off by more than max_wait");
    describe_counter!("tailwater_traces_decided_total", "Traces decided, by verdict, policy and completion reason");
    describe_counter!(
        "tailwater_completion_spans_total",
        "Spans of traces that were decided, by completion reason: before the verdict, or late; the share of those before it is the \
         completeness that was achieved"
    );
    describe_counter!(
        "tailwater_held_seconds_total",
        "Seconds of record time for which decided traces were held, from their first span to the verdict, by completion reason"
    );
    describe_counter!("tailwater_traces_spread_total", "Traces of a keyed topic found on several partitions");
    describe_counter!(
        "tailwater_verdicts_forgotten_total",
        "Verdicts forgotten before late_window, for lack of memory"
    );
    describe_counter!(
        "tailwater_spans_given_up_total",
        "Spans whose payload was given up for lack of memory, to be read again if their trace is kept"
    );
    describe_counter!("tailwater_recall_records_read_total", "Records read again for payload that was given up");
    describe_counter!(
        "tailwater_recall_bytes_read_total",
        "Bytes of these records; over those that were kept it is how many times as much was read as was needed"
    );
    describe_counter!("tailwater_recall_bytes_kept_total", "Bytes of spans that were taken out of these records");
    describe_counter!("tailwater_traces_recalled_total", "Kept traces of which payload had to be read again");
    describe_counter!("tailwater_spans_recalled_total", "Spans of these traces that were found again");
    describe_counter!(
        "tailwater_traces_recalled_in_part_total",
        "Kept traces of which the log had lost some by then: memory.recall_partial says what becomes of them"
    );
    describe_counter!("tailwater_spans_gone_total", "Spans of these traces that the log had lost");
    describe_counter!(
        "tailwater_marks_forgotten_total",
        "Marks of kept traces, by which others follow, that left before their time, as a partition had more than it remembers"
    );
    describe_counter!(RELOADS, "Policies loaded anew: taken, or refused for their mistakes");
    describe_gauge!("tailwater_policies_in_force", "Workers whose new traces are judged by policies of this hash");
    describe_counter!("tailwater_rekey_spans_total", "Spans brought to the partition of their trace, and committed");
    describe_counter!("tailwater_rekey_records_total", "Records they were written in, of one trace each");
    describe_gauge!(
        "tailwater_dry_run",
        "1 in a dry run, where nothing is written and the output acknowledges nothing"
    );
    describe_gauge!("tailwater_rekey_lag_records", "Records of the input that are not re-keyed yet");
    describe_gauge!("tailwater_spans_held", "Spans in undecided traces, or not yet acknowledged");
    describe_gauge!("tailwater_decisions_gone", "Partitions of the decision log that lack what a restart would need");
    describe_gauge!("tailwater_traces_held", "Undecided traces");
    describe_gauge!("tailwater_bytes_held", "Bytes allocated for everything held; at most memory.buffer");
    describe_gauge!(
        "tailwater_records_waiting",
        "Records of an input that is not keyed, read and not yet taken in: they wait for partitions whose clocks are behind"
    );
    describe_gauge!(
        "tailwater_spans_lost",
        "received - forwarded - dropped - rejected - returned - skipped - held; must be 0"
    );
    describe_gauge!("tailwater_position_lag_records", "Records between the position and the head of the log");
    describe_gauge!(
        "tailwater_retention_left_seconds",
        "Seconds until the input's retention.ms may remove records that are still needed; at 0 they are lost if a restart needs them"
    );
    describe_gauge!("tailwater_watermark_age_seconds", "Record time the oldest undecided trace has waited");
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
