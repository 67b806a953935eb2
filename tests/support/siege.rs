//! A processor that is killed again and again, and what each kill was worth.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    time::Duration,
};

use super::{
    kafka::{Group, Kafka, Record, Topic},
    load::{Deal, Load},
    log::{Entry, Log, Place},
    observer::{Commit, Observed, Observer, commits},
    oracle::{Copies, Expected, TraceId, hex, named},
    processor::{Job, Processor},
    wait::wait_until,
};

/// The topics, the program's configuration, and the kills so far; watched all the while.
pub struct Siege {
    pub job: Job,
    pub inputs: Vec<Topic>,
    pub output: Topic,
    /// The last are the workers. Before them is the stage that re-keys, if there is one.
    stages: Vec<Stage>,
    kills: Vec<Kill>,
    /// How far the output was read at the last kill, and at which kill each trace was out first.
    next: Vec<i64>,
    out: HashMap<TraceId, usize>,
}

/// What reads some topics as a group and writes one.
pub struct Stage {
    pub output: Topic,
    inputs: Vec<Topic>,
    group: Group,
    observer: Observer,
}

struct Kill {
    /// In a word.
    when: String,
    /// What was committed at that moment.
    commits: Vec<Commit>,
    /// How many spans this life of the program had read, where it had committed nothing.
    read: Option<u64>,
}

/// What came of a siege.
pub struct Outcome {
    pub kept: usize,
    pub kills: usize,
    /// Kills with kept output committed, more than a tenth of the topic below the watermarks, and a trace that must be kept
    /// read and not out.
    pub counting: usize,
    /// Kills before a start was where the one before it had been.
    pub replaying: usize,
    pub looks: usize,
}

/// Reading takes seconds, so that a kill finds the program amid it.
pub const SLOWLY: &str = "queued.min.messages: 1, fetch.queue.backoff.ms: 100, fetch.message.max.bytes: 5000, ";

/// For all that an input holds to be read.
const PATIENCE: Duration = Duration::from_secs(120);

// === impl Siege ===

impl Siege {
    /// Of new topics, each with so many partitions.
    pub fn new(kafka: &Kafka, name: &str, inputs: &[&str], partitions: i32) -> Self {
        let mut siege = Self::unwatched(kafka, name, inputs, partitions);
        siege.stages = vec![Stage::new(name, &siege.inputs, &siege.output)];
        siege
    }

    /// With the stage that re-keys before the workers.
    pub fn rekeyed(kafka: &Kafka, name: &str, inputs: &[&str], partitions: i32) -> Self {
        let mut siege = Self::unwatched(kafka, name, inputs, partitions);
        siege.job.keyed = "rekey";
        // There from the start, so that it can be watched.
        let between = kafka.topic_with(&format!("{name}-by-trace"), partitions, &[("retention.ms", "-1")]);
        let rekey = Stage::new(&format!("{name}-rekey"), &siege.inputs, &between);
        siege.stages = vec![rekey, Stage::new(name, &[between], &siege.output)];
        siege
    }

    fn unwatched(kafka: &Kafka, name: &str, inputs: &[&str], partitions: i32) -> Self {
        let inputs: Vec<Topic> =
            inputs.iter().map(|input| kafka.topic(&format!("{name}-{input}"), partitions)).collect();
        let mut job = Job::named(name);
        job.brokers.clone_from(&kafka.bootstrap);
        job.inputs = inputs.iter().map(|input| input.name.clone()).collect();
        // Ticks come often, so that a kill hits one.
        job.more = "tick: { interval: 100ms }\n".to_owned();
        // The group knows who comes back, and does not wait for the session of a member that was killed.
        job.properties = format!("group.instance.id: {name}, ");
        let output = kafka.topic(&job.output, 2);
        let (stages, kills) = (Vec::new(), Vec::new());
        Self { job, inputs, output, stages, kills, next: vec![0; 2], out: HashMap::new() }
    }

    pub fn load(&self, seed: u64, deal: Deal) -> Load {
        Load::start(&self.inputs.iter().collect::<Vec<_>>(), seed, deal)
    }

    /// Of the workers.
    pub fn commits(&self) -> Vec<Commit> {
        self.workers().commits()
    }

    fn workers(&self) -> &Stage {
        self.stages.last().expect("there are workers")
    }

    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Waits until all that the input holds by now is read and committed.
    pub fn wait_for_all(&self) {
        self.stages.iter().for_each(Stage::wait_for_all);
    }

    /// Whether a transaction is open in the output.
    pub fn is_open(&self) -> bool {
        self.workers().is_open()
    }

    /// When the spans of some traces came, and what was decided of them.
    fn tell(&self, traces: &[TraceId], inputs: &[Topic]) -> String {
        let mut told = String::new();
        for input in inputs {
            let group = &self.job.group;
            let decisions = match inputs {
                [_] => format!("{group}-decisions"),
                _ => format!("{group}-decisions-{}", input.name),
            };
            input.each(|record| {
                let mut spans: Vec<_> = named(&record.value).into_iter().map(|span| span.trace).collect();
                spans.retain(|trace| traces.contains(trace));
                if let [trace, ..] = spans[..] {
                    let Record { partition, offset, timestamp, .. } = record;
                    let (topic, spans) = (&input.name, spans.len());
                    _ = writeln!(told, "{}: {spans} spans at {topic}/{partition}@{offset}, {timestamp}", hex(&trace));
                }
            });
            let decisions = input.beside(&decisions);
            decisions.each(|record| {
                for of in tailwater::decisions::decode(&record.value, &[]).expect("a record of decisions").decisions {
                    if traces.contains(&of.trace.0) {
                        let Record { partition, offset, timestamp, .. } = record;
                        let topic = &decisions.name;
                        _ = writeln!(told, "{}: {of:?} at {topic}/{partition}@{offset}, {timestamp}", hex(&of.trace.0));
                    }
                }
            });
        }
        told
    }

    pub fn kill(&mut self, processor: Processor, when: impl Into<String>, read: Option<u64>) {
        processor.kill();
        let kill = self.kills.len();
        self.kills.push(Kill { when: when.into(), commits: self.commits(), read });
        self.output.each_from(&mut self.next, |record| {
            named(&record.value).iter().for_each(|span| _ = self.out.entry(span.trace).or_insert(kill));
        });
    }

    /// Handles the rest and judges all of it. No start may have had more record time to read again than the slowest trace takes,
    /// and `more_ms`.
    pub fn judge(mut self, more_ms: i64) -> Outcome {
        let workers = self.stages.pop().expect("there are workers");
        let rekeyed: Option<Observed> = self.stages.pop().map(|rekey| {
            // What is decided is removed from its topic at the end, so that is too late for a last look.
            let _processor = self.job.run();
            rekey.wait_for_all();
            rekey.observer.end()
        });
        self.job.run_until_end();
        let inputs: Vec<&Topic> = self.inputs.iter().collect();
        let expected = Expected::of(&inputs);
        let read = workers.inputs.clone();
        expected.check_telling(&self.output.settle().records(), Copies::One, |traces| self.tell(traces, &read));
        let mut log = Log::read(&inputs);
        if let Some(rekeyed) = rekeyed {
            let (checked, looks) = rekeyed.check(&log, &expected);
            assert!(checked > 0 && looks > self.kills.len(), "{checked} re-keyed traces in {looks} looks");
            assert_eq!(rekeyed.output.places().count(), expected.spans, "re-keyed spans");
            log = rekeyed.output;
        }
        let (checked, looks) = workers.observer.end().check(&log, &expected);
        assert!(checked > 0 && looks > self.kills.len(), "{checked} traces in {looks} looks");

        let (kept, busy) = (log.kept(&expected), Busy::of(&log));
        let hold_ms = busy.slowest(&log).saturating_add(more_ms);
        let (mut counting, mut replaying) = (0, 0);
        for (number, kill) in self.kills.iter().enumerate() {
            let Kill { when, commits, read: before } = kill;
            let tenth = commits.iter().zip(log.ends()).all(|(commit, end)| commit.watermark > end / 10);
            let out = |trace: &TraceId| self.out.get(trace).is_some_and(|at| *at <= number);
            let read = |of: &Place<'_>| commits[of.partition].position > of.offset;
            let at_risk = kept.iter().filter(|(trace, spans)| !out(trace) && spans.iter().any(read)).count();
            let delivered = self.out.values().filter(|at| **at <= number).count();
            let again = log.within(commits.iter().map(|commit| commit.watermark..commit.position));
            let (reread, hold) = (again.iter().map(Vec::len).sum::<usize>(), busy.longest(&again));
            let counts = tenth && at_risk > 0 && delivered > 0;
            println!(
                "kill {:>2} {when:<26} {delivered:>5} traces out, {at_risk:>3} at risk, {reread:>6} records read again, of \
                 {:>5.1} s{}",
                number + 1,
                hold as f64 / 1000.0,
                if counts { "" } else { "; does not count" },
            );
            assert!(
                hold <= hold_ms,
                "{hold} ms of records are read again, and nothing is held for more than {hold_ms} ms"
            );
            counting += usize::from(counts);
            let spans: usize = again.iter().flatten().map(|record| record.spans.len()).sum();
            // Numbers are published every 250 ms.
            replaying += usize::from(before.is_some_and(|read| read < spans as u64 * 2 / 3));
        }
        Outcome { kept: expected.kept.len(), kills: self.kills.len(), counting, replaying, looks }
    }
}

// === impl Stage ===

impl Stage {
    fn new(group: &str, inputs: &[Topic], output: &Topic) -> Self {
        let all: Vec<&Topic> = inputs.iter().collect();
        let (group, observer) = (Group::of(group, &all), Observer::start(group, &all, output));
        Self { output: output.clone(), inputs: inputs.to_vec(), group, observer }
    }

    pub fn commits(&self) -> Vec<Commit> {
        commits(&self.group)
    }

    /// Whether a transaction is open in what it writes.
    pub fn is_open(&self) -> bool {
        self.output.ends() != self.output.open_ends()
    }

    fn wait_for_all(&self) {
        let ends: Vec<i64> = self.inputs.iter().flat_map(Topic::ends).collect();
        wait_until("all of the input to be read", PATIENCE, || {
            self.commits().iter().zip(&ends).all(|(commit, end)| commit.position >= *end)
        });
    }
}

/// Record times, without the rests between them.
struct Busy(HashMap<i64, i64>);

/// Longer than this, nothing came.
const LULL_MS: i64 = 1_000;

// === impl Busy ===

impl Busy {
    fn of(log: &Log) -> Self {
        let mut times: Vec<i64> = log.partitions().iter().flatten().map(|record| record.timestamp).collect();
        times.sort_unstable();
        let (mut at, mut before) = (0, times.first().copied().unwrap_or(0));
        let busy = times.into_iter().map(|time| {
            at += (time - before).min(LULL_MS);
            before = time;
            (time, at)
        });
        Self(busy.collect())
    }

    /// Milliseconds of traffic from the first record of a trace to its last, at most.
    fn slowest(&self, log: &Log) -> i64 {
        let mut traces = HashMap::new();
        for record in log.partitions().iter().flatten() {
            let at = self.0[&record.timestamp];
            for span in &record.spans {
                let (first, last) = traces.entry(span.trace).or_insert((at, at));
                (*first, *last) = (at.min(*first), at.max(*last));
            }
        }
        traces.values().map(|(first, last)| last - first).max().unwrap_or(0)
    }

    /// Milliseconds of traffic among records, at most of a partition.
    fn longest(&self, partitions: &[Vec<&Entry>]) -> i64 {
        let of = |records: &Vec<&Entry>| {
            let times = || records.iter().map(|record| self.0[&record.timestamp]);
            Some(times().max()? - times().min()?)
        };
        partitions.iter().filter_map(of).max().unwrap_or(0)
    }
}

// === impl Outcome ===

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kept, kills, counting, replaying, looks } = self;
        write!(
            f,
            "{kills} kills, {counting} count, {replaying} before the position was reached again; {kept:>4} traces kept, 0 lost, \
             0 in part, 0 doubled; {looks} looks"
        )
    }
}
