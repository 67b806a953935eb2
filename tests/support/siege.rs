//! A processor that is killed again and again, and what each kill was worth.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    time::Duration,
};

use super::{
    kafka::{Group, Kafka, Record, Topic},
    load::{Deal, Load, shape},
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
    state: State,
}

/// What the program was surely amid when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Anything,
    /// It had read no further than so many spans, and committed nothing: it was not where the one before it had been.
    Replay {
        read: u64,
    },
    /// Nothing came in, timers had decided something, and had not decided everything.
    Rest,
}

/// What came of a siege.
pub struct Outcome {
    pub kept: usize,
    pub kills: usize,
    /// Kills with kept output committed, more than a tenth of the topic below the watermarks, and a trace that must be kept
    /// read and not out.
    pub counting: usize,
    /// Kills before a start was where the one before it had been, and how many of them came right after another.
    pub replaying: usize,
    pub in_a_row: usize,
    /// Kills while the input was at rest and timers decided.
    pub resting: usize,
    pub looks: usize,
}

/// Reading takes seconds, so that a kill finds the program amid it.
pub const SLOWLY: &str = "queued.min.messages: 1, fetch.queue.backoff.ms: 100, fetch.message.max.bytes: 5000, ";

/// How long a trace is quiet before it is decided: as a job has it, and rounded up.
const QUIET_MS: i64 = 2_000 + 64;
/// A clock is no later than what the last so many records show.
const CLOCK: usize = 15;
/// By so many records at most a restart begins before it must: there the clock was noted last. Where more than some thousand are
/// held it is an eighth of them, for then it is noted less often.
const MARK: usize = 16;
const EIGHTH: usize = 8;
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
        Load::start(&self.inputs.iter().collect::<Vec<_>>(), seed, shape(), deal)
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

    /// Kills it, and notes of the `state` it seemed to be in whether it was.
    pub fn kill(&mut self, processor: Processor, when: impl Into<String>, state: State) {
        processor.kill();
        let (kill, commits) = (self.kills.len(), self.commits());
        let surely = match state {
            // Numbers are published every 250 ms.
            State::Replay { read } => read < self.workers().spans_again(&commits) * 2 / 3,
            State::Anything | State::Rest => true,
        };
        let state = if surely { state } else { State::Anything };
        self.kills.push(Kill { when: when.into(), commits, state });
        self.output.each_from(&mut self.next, |record| {
            named(&record.value).iter().for_each(|span| _ = self.out.entry(span.trace).or_insert(kill));
        });
    }

    /// Kills so far, and those of them amid replays and at rest.
    pub fn tally(&self) -> (usize, usize, usize) {
        let of = |so: fn(&State) -> bool| self.kills.iter().filter(|kill| so(&kill.state)).count();
        (self.kills.len(), of(State::is_replay), of(|state| *state == State::Rest))
    }

    /// Waits until so many more records have come in.
    pub fn wait_for_more(&self, records: i64) {
        let all = || self.inputs.iter().flat_map(Topic::ends).sum::<i64>();
        let before = all();
        wait_until("more to come in", PATIENCE, || all() >= before + records);
    }

    /// Handles the rest and judges all of it. No start may have had more to read again than what comes while the slowest trace is
    /// held and, of an input whose partitions wait for each other, in the `more_ms` that one may be ahead.
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
        let held_ms = busy.slowest(&log) + QUIET_MS + more_ms;
        let (_, replaying, resting) = self.tally();
        let in_a_row = self.kills.windows(2).filter(|two| two.iter().all(|kill| kill.state.is_replay())).count();
        let mut counting = 0;
        for (number, kill) in self.kills.iter().enumerate() {
            let Kill { when, commits, state } = kill;
            let tenth = commits.iter().zip(log.ends()).all(|(commit, end)| commit.watermark > end / 10);
            let out = |trace: &TraceId| self.out.get(trace).is_some_and(|at| *at <= number);
            let read = |of: &Place<'_>| commits[of.partition].position > of.offset;
            let at_risk = kept.iter().filter(|(trace, spans)| !out(trace) && spans.iter().any(read)).count();
            let delivered = self.out.values().filter(|at| **at <= number).count();
            let again = log.within(commits.iter().map(|commit| commit.watermark..commit.position));
            let reread = again.iter().map(Vec::len).sum::<usize>();
            let first = |(records, commit): (&Vec<Entry>, &Commit)| {
                busy.first_again(records, commit.position, held_ms)..commit.position
            };
            let may: Vec<_> = log.partitions().iter().zip(commits).map(first).collect();
            let [hold, bound] = [&again, &log.within(may.iter().cloned())].map(|records| busy.longest(records));
            let counts = tenth && at_risk > 0 && delivered > 0;
            println!(
                "kill {:>2} {when:<26} {delivered:>5} traces out, {at_risk:>3} at risk, {reread:>6} records read again, of \
                 {:>5.1} s of {:.1}{}{}",
                number + 1,
                hold as f64 / 1000.0,
                bound as f64 / 1000.0,
                match state {
                    State::Anything => "",
                    State::Replay { .. } => ", amid a replay",
                    State::Rest => ", at rest",
                },
                if counts { "" } else { "; does not count" },
            );
            for (commit, may) in commits.iter().zip(may) {
                assert!(commit.watermark >= may.start, "{commit:?}: nothing before {} was held any more", may.start);
            }
            counting += usize::from(counts);
        }
        let (kept, kills) = (expected.kept.len(), self.kills.len());
        Outcome { kept, kills, counting, replaying, in_a_row, resting, looks }
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

    /// How many spans lie between the watermarks and the positions.
    fn spans_again(&self, commits: &[Commit]) -> u64 {
        let mut spans = 0;
        for (input, commits) in self.inputs.iter().zip(commits.chunks(self.inputs[0].partitions as usize)) {
            let mut next: Vec<i64> = commits.iter().map(|commit| commit.watermark).collect();
            input.each_from(&mut next, |record| {
                let is_again = record.offset < commits[record.partition as usize].position;
                spans += if is_again { named(&record.value).len() as u64 } else { 0 };
            });
        }
        spans
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

// === impl State ===

impl State {
    fn is_replay(&self) -> bool {
        matches!(self, Self::Replay { .. })
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

    /// The first record that a restart may have to read again, where all below a position is taken in and nothing is held for
    /// longer.
    fn first_again(&self, records: &[Entry], position: i64, held_ms: i64) -> i64 {
        let taken = &records[..records.partition_point(|record| record.offset < position)];
        let time = |record: &Entry| self.0[&record.timestamp];
        let Some(clock) = taken.iter().rev().take(CLOCK).map(time).min() else { return 0 };
        let held = taken.iter().position(|record| time(record) >= clock - held_ms).unwrap_or(0);
        let more = ((taken.len() - held) / EIGHTH).max(MARK);
        held.checked_sub(more).map_or(0, |first| taken[first].offset)
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
        let Self { kept, kills, counting, replaying, in_a_row, resting, looks } = self;
        write!(
            f,
            "{kills} kills, {counting} count, {replaying} before the position was reached again, {in_a_row} of them in a row, \
             {resting} at rest; {kept:>4} traces kept, 0 lost, 0 in part, 0 doubled; {looks} looks"
        )
    }
}
