//! Watches from outside, while the program is killed and comes back: what a group has committed is out.
//!
//! It shares no code with the program: the metadata of a commit is read by its documented form, spans by another decoder.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    kafka::{Group, Topic},
    oracle::{Expected, TraceId, hex, named},
    wait::wait_until,
};

/// Looks again and again at the commits of a group, then at what readers of committed records find in the output.
pub struct Observer {
    ending: Arc<AtomicBool>,
    watching: JoinHandle<Observed>,
}

/// What a group has committed for a partition, and its metadata in the form `1:incarnation:tick:position:floor:last:since:clock:wall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    pub watermark: i64,
    pub incarnation: u64,
    pub tick: u64,
    pub position: i64,
    pub floor: i64,
}

/// All that was seen.
#[derive(Default)]
pub struct Observed {
    /// Commits by topic and partition, and how many spans of the output had been read after they were known.
    looks: Vec<(Vec<Commit>, usize)>,
    /// In the order they were read.
    output: Vec<(TraceId, Vec<u8>)>,
}

/// Between two looks at commits that do not change.
const PAUSE: Duration = Duration::from_millis(20);
/// A transaction that a killed program left open ends with the next program's start, or after this.
const OPEN: Duration = Duration::from_secs(60);

// === impl Observer ===

impl Observer {
    /// Panics in [`Observer::end`] when a watermark, position, floor or tick has fallen.
    pub fn start(group: &str, inputs: &[&Topic], output: &Topic) -> Self {
        let group = Group::of(group, inputs);
        let output = output.clone();
        let ending = Arc::new(AtomicBool::new(false));
        let watching = thread::spawn({
            let ending = ending.clone();
            move || {
                let mut observed = Observed::default();
                let mut next = vec![0; output.partitions as usize];
                loop {
                    // Before the look, so that the last one comes after the end.
                    let last = ending.load(Ordering::SeqCst);
                    let commits = commits(&group);
                    let before = observed.looks.last().map(|(commits, _)| commits);
                    if before != Some(&commits) {
                        before.iter().for_each(|before| nothing_fell(before, &commits));
                        observed.read(&output, &mut next);
                        observed.looks.push((commits, observed.output.len()));
                    }
                    if last {
                        return observed;
                    }
                    thread::sleep(PAUSE);
                }
            }
        });
        Self { ending, watching }
    }

    /// After one last look.
    pub fn end(self) -> Observed {
        self.ending.store(true, Ordering::SeqCst);
        self.watching.join().expect("nothing fell")
    }
}

/// What a group has committed, by topic and partition.
pub fn commits(group: &Group) -> Vec<Commit> {
    group.committed().iter().map(|of| Commit::parse(of.offset, &of.metadata)).collect()
}

fn nothing_fell(before: &[Commit], now: &[Commit]) {
    for (place, (before, now)) in before.iter().zip(now).enumerate() {
        let fell = now.watermark < before.watermark
            || now.position < before.position
            || now.floor < before.floor
            || now.tick < before.tick
            || (now.tick == before.tick && now != before);
        assert!(!fell, "partition {place} went from {before:?} to {now:?}");
    }
}

// === impl Commit ===

impl Commit {
    /// Before the first commit, all is 0.
    fn parse(offset: Option<i64>, metadata: &str) -> Self {
        let Some(watermark) = offset else {
            return Self { watermark: 0, incarnation: 0, tick: 0, position: 0, floor: 0 };
        };
        let fields: Vec<&str> = metadata.split(':').collect();
        let ["1", incarnation, tick, position, floor, _last, _since, _clock, _wall] = fields[..] else {
            panic!("metadata that is not documented: {metadata}");
        };
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("no number in {metadata}"));
        Self {
            watermark,
            incarnation: u64::from_str_radix(incarnation, 16).unwrap_or_else(|_| panic!("no life in {metadata}")),
            tick: number(tick) as u64,
            position: number(position),
            floor: number(floor),
        }
    }
}

// === impl Observed ===

impl Observed {
    /// Reads everything there is by now. Commit markers reach partitions at different times, so it waits for those of the
    /// output.
    fn read(&mut self, output: &Topic, next: &mut [i64]) {
        let now = output.open_ends();
        wait_until("the transactions in the output to end", OPEN, || {
            output.ends().iter().zip(&now).all(|(stable, end)| stable >= end)
        });
        output.each_from(next, |record| {
            self.output.extend(named(&record.value).into_iter().map(|span| (span.trace, span.span)));
        });
    }

    /// Panics where a trace that had to be kept, of which something lay below a watermark, was not out with all its spans that
    /// lay below the positions; and where a span was out twice. Returns how many such traces and looks there were.
    pub fn check(&self, inputs: &[&Topic], expected: &Expected) -> (usize, usize) {
        let mut seen: HashMap<(&TraceId, &[u8]), usize> = HashMap::new();
        for (place, (trace, span)) in self.output.iter().enumerate() {
            let before = seen.insert((trace, span), place);
            assert!(before.is_none(), "a span of trace {} was out twice", hex(trace));
        }
        // Of every kept trace: partition, offset, span.
        let mut places: HashMap<TraceId, Vec<(usize, i64, Vec<u8>)>> = HashMap::new();
        let mut base = 0;
        for input in inputs {
            input.each(|record| {
                let partition = base + record.partition as usize;
                for span in named(&record.value) {
                    if expected.kept.contains_key(&span.trace) {
                        places.entry(span.trace).or_default().push((partition, record.offset, span.span));
                    }
                }
            });
            base += input.partitions as usize;
        }
        let mut checked = 0;
        for (trace, spans) in &places {
            // Nothing falls, so all that matters is the first look at which it is so.
            let first = |so: &dyn Fn(&[Commit]) -> bool| self.looks.partition_point(|(commits, _)| !so(commits));
            let passed = |(partition, offset, _): &(usize, i64, Vec<u8>)| {
                first(&|commits| commits[*partition].watermark > *offset)
            };
            let done = spans.iter().map(passed).min().unwrap_or(usize::MAX);
            for (partition, offset, span) in spans {
                let handled = first(&|commits| commits[*partition].position > *offset);
                let Some((commits, read)) = self.looks.get(done.max(handled)) else { continue };
                let out = seen.get(&(trace, &span[..])).is_some_and(|place| place < read);
                assert!(
                    out,
                    "look {} of {}: trace {} was committed, and its span at {offset} of partition {partition} was not out: \
                     {commits:?}",
                    done.max(handled),
                    self.looks.len(),
                    hex(trace),
                );
            }
            checked += usize::from(done < self.looks.len());
        }
        (checked, self.looks.len())
    }
}
