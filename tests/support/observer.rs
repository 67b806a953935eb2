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
    log::{Log, Place},
    oracle::{Expected, hex},
};

/// Looks again and again at the commits of a group, then at what readers of committed records find in what it writes: the output,
/// or the topic of re-keyed spans.
pub struct Observer {
    ending: Arc<AtomicBool>,
    watching: JoinHandle<Observed>,
}

/// What a group has committed for a partition, and its metadata in the form `1:incarnation:tick:position:floor:last:since:clock:wall:stamps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    pub watermark: i64,
    pub incarnation: u64,
    pub tick: u64,
    pub position: i64,
    pub floor: i64,
}

/// All that was seen.
pub struct Observed {
    /// Commits by topic and partition, and how far the output had been read after they were known.
    looks: Vec<(Vec<Commit>, Vec<i64>)>,
    pub output: Log,
}

/// Between two looks at commits that do not change.
const PAUSE: Duration = Duration::from_millis(20);

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
                let mut observed = Observed { looks: Vec::new(), output: Log::of(&output) };
                loop {
                    // Before the look, so that the last one comes after the end.
                    let last = ending.load(Ordering::SeqCst);
                    let commits = commits(&group);
                    let before = observed.looks.last().map(|(commits, _)| commits);
                    if before != Some(&commits) {
                        before.iter().for_each(|before| nothing_fell(before, &commits));
                        observed.read(&output);
                        observed.looks.push((commits, observed.output.ends()));
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
        let ["2", incarnation, tick, position, floor, _last, _since, _clock, _wall, _stamps, _began_with] = fields[..]
        else {
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
    /// Reads everything there is by now.
    fn read(&mut self, output: &Topic) {
        self.output.read_on(&output.settle());
    }

    /// Panics where a trace that had to be kept, of which something lay below a watermark, was not out with all its spans that
    /// lay below the positions; and where a span was out more often than it was in. Returns how many such traces and looks
    /// there were.
    pub fn check(&self, inputs: &Log, expected: &Expected) -> (usize, usize) {
        // A broker that was killed forgets what idempotent producers of old records sent last, and takes it again.
        let mut copies: HashMap<_, usize> = HashMap::new();
        inputs.places().for_each(|place| *copies.entry((place.trace, place.span)).or_default() += 1);
        let mut seen = HashMap::new();
        for Place { partition, offset, trace, span } in self.output.places() {
            let at = (partition, offset);
            let first = *seen.entry((trace, span)).or_insert(at);
            let left =
                copies.get_mut(&(trace, span)).and_then(|copies| copies.checked_sub(1).map(|left| *copies = left));
            let trace = hex(trace);
            assert!(left.is_some(), "a span of trace {trace} was out once more, at {first:?} and {at:?} of the output");
        }
        // Nothing falls, so all that matters is the first look at which it is so.
        let first = |so: &dyn Fn(&[Commit]) -> bool| self.looks.partition_point(|(commits, _)| !so(commits));
        let mut checked = 0;
        for (trace, spans) in inputs.kept(expected) {
            let passed = |of: &Place<'_>| first(&|commits| commits[of.partition].watermark > of.offset);
            let done = spans.iter().map(passed).min().unwrap_or(usize::MAX);
            for Place { partition, offset, span, .. } in spans {
                let handled = first(&|commits| commits[partition].position > offset);
                let Some((commits, read)) = self.looks.get(done.max(handled)) else { continue };
                let out = seen.get(&(trace, span)).is_some_and(|(partition, offset)| *offset < read[*partition]);
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
