//! A processor that is killed again and again, and what each kill was worth.

use std::{collections::HashMap, fmt, time::Duration};

use super::{
    kafka::{Group, Kafka, Topic},
    load::{Deal, Load},
    observer::{Commit, Observer, commits},
    oracle::{Copies, Expected, TraceId, named},
    processor::{Job, Processor},
    wait::wait_until,
};

/// The topics, the program's configuration, and the kills so far; watched all the while.
pub struct Siege {
    pub job: Job,
    pub inputs: Vec<Topic>,
    pub output: Topic,
    group: Group,
    observer: Observer,
    kills: Vec<Kill>,
    /// How far the output was read at the last kill, and at which kill each trace was out first.
    next: Vec<i64>,
    out: HashMap<TraceId, usize>,
}

struct Kill {
    /// In a word.
    when: String,
    /// What was committed at that moment.
    commits: Vec<Commit>,
    /// Nothing had been committed by this life of the program, and the position of the one before not been reached.
    replaying: bool,
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

// === impl Siege ===

impl Siege {
    /// Of new topics, each with so many partitions.
    pub fn new(kafka: &Kafka, name: &str, inputs: &[&str], partitions: i32) -> Self {
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
        let all: Vec<&Topic> = inputs.iter().collect();
        let (group, observer) = (Group::of(name, &all), Observer::start(name, &all, &output));
        Self { job, inputs, output, group, observer, kills: Vec::new(), next: vec![0; 2], out: HashMap::new() }
    }

    pub fn load(&self, seed: u64, deal: Deal) -> Load {
        Load::start(&self.inputs.iter().collect::<Vec<_>>(), seed, deal)
    }

    pub fn commits(&self) -> Vec<Commit> {
        commits(&self.group)
    }

    /// Waits until all that the input holds by now is read and committed.
    pub fn wait_for_all(&self) {
        let ends: Vec<i64> = self.inputs.iter().flat_map(Topic::ends).collect();
        wait_until("all of the input to be read", Duration::from_secs(120), || {
            self.commits().iter().zip(&ends).all(|(commit, end)| commit.position >= *end)
        });
    }

    /// Whether a transaction is open in the output.
    pub fn is_open(&self) -> bool {
        self.output.ends() != self.output.open_ends()
    }

    /// Records between the watermarks and the positions committed: what a start reads before it decides.
    pub fn behind(&self) -> u64 {
        self.commits().iter().map(|commit| (commit.position - commit.watermark).unsigned_abs()).sum()
    }

    pub fn kill(&mut self, processor: Processor, when: impl Into<String>, replaying: bool) {
        processor.kill();
        let kill = self.kills.len();
        self.kills.push(Kill { when: when.into(), commits: self.commits(), replaying });
        self.output.each_from(&mut self.next, |record| {
            named(&record.value).iter().for_each(|span| _ = self.out.entry(span.trace).or_insert(kill));
        });
    }

    /// Handles the rest and judges all of it. No start may have had more than `hold_ms` of record time to read again.
    pub fn judge(self, hold_ms: i64) -> Outcome {
        self.job.run_until_end();
        let inputs: Vec<&Topic> = self.inputs.iter().collect();
        let expected = Expected::of(&inputs);
        expected.check(&self.output.records(), Copies::One);
        let (checked, looks) = self.observer.end().check(&inputs, &expected);
        assert!(checked > 0 && looks > self.kills.len(), "{checked} traces in {looks} looks");

        let log = Log::read(&inputs);
        let places = places(&inputs, &expected);
        let (mut counting, mut replaying) = (0, 0);
        for (number, kill) in self.kills.iter().enumerate() {
            let Kill { when, commits, .. } = kill;
            let tenth =
                commits.iter().zip(&log.0).all(|(commit, records)| commit.watermark > records.len() as i64 / 10);
            let out = |trace: &TraceId| self.out.get(trace).is_some_and(|at| *at <= number);
            let read = |of: &(usize, i64)| commits[of.0].position > of.1;
            let at_risk = places.iter().filter(|(trace, spans)| !out(trace) && spans.iter().any(read)).count();
            let delivered = self.out.values().filter(|at| **at <= number).count();
            let reread: i64 = commits.iter().map(|commit| commit.position - commit.watermark).sum();
            let hold = log.hold(commits);
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
                "{hold} ms of records are read again, and nothing is held for more than {hold_ms}"
            );
            counting += usize::from(counts);
            replaying += usize::from(kill.replaying);
        }
        Outcome { kept: expected.kept.len(), kills: self.kills.len(), counting, replaying, looks }
    }
}

/// Where the spans of kept traces are: partition, over all topics, and offset.
fn places(inputs: &[&Topic], expected: &Expected) -> HashMap<TraceId, Vec<(usize, i64)>> {
    let mut places: HashMap<TraceId, Vec<(usize, i64)>> = HashMap::new();
    let mut base = 0;
    for input in inputs {
        input.each(|record| {
            for span in named(&record.value) {
                if expected.kept.contains_key(&span.trace) {
                    places.entry(span.trace).or_default().push((base + record.partition as usize, record.offset));
                }
            }
        });
        base += input.partitions as usize;
    }
    places
}

/// The times of all records, by partition and offset, without the rests between them.
struct Log(Vec<Vec<i64>>);

/// Longer than this, nothing came.
const LULL_MS: i64 = 1_000;

// === impl Log ===

impl Log {
    fn read(inputs: &[&Topic]) -> Self {
        let mut times = Vec::new();
        for input in inputs {
            let base = times.len();
            times.resize(base + input.partitions as usize, Vec::new());
            input.each(|record| times[base + record.partition as usize].push(record.timestamp));
        }
        let mut all: Vec<i64> = times.iter().flatten().copied().collect();
        all.sort_unstable();
        let (mut busy, mut at) = (HashMap::new(), 0);
        let mut before = all.first().copied().unwrap_or(0);
        for time in all {
            at += (time - before).min(LULL_MS);
            before = time;
            busy.insert(time, at);
        }
        times.iter_mut().flatten().for_each(|time| *time = busy[&*time]);
        Self(times)
    }

    /// Milliseconds of traffic between the watermarks and the positions, at most.
    fn hold(&self, commits: &[Commit]) -> i64 {
        let of = |(commit, records): (&Commit, &Vec<i64>)| {
            let last = usize::try_from(commit.position - 1).ok().and_then(|at| records.get(at))?;
            Some(last - records.get(commit.watermark as usize)?)
        };
        commits.iter().zip(&self.0).filter_map(of).max().unwrap_or(0)
    }
}

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
