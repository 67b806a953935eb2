//! When which trace comes: each fault once, as it was, and hours of normal traffic in between.

use fastrand::Rng;

use super::{
    nezha::{self, Fault},
    trace::{self, Trace},
};

pub struct Replay {
    pub traces: Vec<Trace>,
    /// Of the day's, those of which there are traces.
    pub faults: Vec<Fault>,
    /// In the order of their ends.
    pub comings: Vec<Coming>,
    /// Normal traces a second.
    pub rate: f64,
}

/// A trace that comes, perhaps not for the first time.
pub struct Coming {
    /// By its place.
    pub trace: usize,
    /// Nanoseconds since 1970.
    pub start: u64,
    end: u64,
    /// Its times are so many times as long: a trace that comes again is not the same to the nanosecond.
    pub stretch: f64,
}

const SECOND: f64 = 1e9;
/// Nanoseconds between two normal traces, above which none are at hand.
const GAP: u64 = 20_000_000_000;
/// When the first trace comes.
const EPOCH: u64 = 1_700_000_000_000_000_000;

// === impl Replay ===

impl Replay {
    /// With so many minutes of normal traffic before each fault; None where no traces are at hand.
    pub fn new(minutes: u64, seed: u64) -> Option<Self> {
        let mut faults = nezha::faults()?;
        let traces = trace::traces(&faults)?;
        // The day went on, but the traces at hand end before.
        faults.truncate(1 + traces.iter().filter_map(|trace| trace.fault).max()?);
        let rate = rate(&traces);
        let mut replay = Self { traces, faults, comings: Vec::new(), rate };
        let mut rng = Rng::with_seed(seed);
        let mut now = EPOCH;
        for fault in 0..replay.faults.len() {
            now = replay.pass(now, 60 * minutes, &mut rng);
            now = replay.fail(now, fault);
        }
        replay.comings.sort_by_key(|coming| coming.end);
        Some(replay)
    }

    /// Seconds of normal traffic: gives when they are over.
    fn pass(&mut self, from: u64, seconds: u64, rng: &mut Rng) -> u64 {
        let of = |(place, trace): (usize, &Trace)| trace.fault.is_none().then_some(place);
        let normal: Vec<usize> = self.traces.iter().enumerate().filter_map(of).collect();
        let (mut now, end) = (from as f64, from + seconds * SECOND as u64);
        loop {
            now += -(1.0 - rng.f64()).ln() / self.rate * SECOND;
            if now >= end as f64 {
                return end;
            }
            let trace = *rng.choice(&normal).expect("normal traces");
            self.come(trace, now as u64, 0.98 + 0.04 * rng.f64());
        }
    }

    /// The traces of a fault's window, in the time that they took: gives when it is over.
    fn fail(&mut self, from: u64, fault: usize) -> u64 {
        let places = (0..self.traces.len()).filter(|&place| self.traces[place].fault == Some(fault));
        let places: Vec<usize> = places.collect();
        let first = self.traces[places[0]].start;
        let mut last = from;
        for place in places {
            last = from + self.traces[place].start - first;
            self.come(place, last, 1.0);
        }
        last
    }

    fn come(&mut self, trace: usize, start: u64, stretch: f64) {
        let end = start + (self.traces[trace].duration as f64 * stretch) as u64;
        self.comings.push(Coming { trace, start, end, stretch });
    }
}

/// Normal traces a second, where there are any.
fn rate(traces: &[Trace]) -> f64 {
    let starts: Vec<u64> = traces.iter().filter(|trace| trace.fault.is_none()).map(|trace| trace.start).collect();
    let gaps = starts.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap < GAP);
    let (count, sum) = gaps.fold((0.0, 0), |(count, sum), gap| (count + 1.0, sum + gap));
    count / (sum as f64 / SECOND)
}

// === impl Coming ===

impl Coming {
    /// When its last span ended, in milliseconds since 1970.
    pub fn end_ms(&self) -> i64 {
        (self.end / 1_000_000) as i64
    }
}
