//! Real traces of the Online Boutique, faults included, as durations.

use std::collections::BTreeMap;

use fastrand::Rng;
use tailwater::model::RecordTime;

use super::{
    nezha,
    traffic::{Trace, WINDOW},
};

/// How the thirteen minutes are replayed, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// A minute takes so many milliseconds, and has as many traces as the rate asks for.
    Minutes(u64),
    /// Every trace in its turn, as fast as the rate asks for.
    Turns,
}

/// The durations of root spans in nanoseconds, by minute, in their order; None where the traces are not there.
pub fn minutes() -> Option<Vec<Vec<f64>>> {
    let minute = |rows: &String| {
        let mut durations = BTreeMap::new();
        for row in rows.lines() {
            let fields: Vec<&str> = row.split(',').collect();
            if let [_, _, "root", _, _, start, end, ..] = fields[..] {
                let [start, end] = [start, end].map(|time| time.parse::<u64>().expect("a time"));
                durations.insert((start, durations.len()), (end - start) as f64);
            }
        }
        durations.into_values().collect()
    };
    Some(nezha::minutes()?.iter().map(minute).collect())
}

/// Each duration is changed by up to 2 %, or each would come again and again to the nanosecond.
pub fn traffic(
    minutes: Vec<Vec<f64>>,
    replay: Replay,
    rate: u64,
    windows: u64,
    seed: u64,
) -> impl Iterator<Item = Trace> {
    let mut rng = Rng::with_seed(seed);
    let turns: Vec<f64> = minutes.iter().flatten().copied().collect();
    (0..rate * windows).map(move |number| {
        let at = number * WINDOW / rate;
        let duration = match replay {
            Replay::Minutes(ms) => rng.choice(&minutes[(at / ms) as usize % minutes.len()]).copied(),
            Replay::Turns => turns.get(number as usize % turns.len()).copied(),
        };
        let value = duration.expect("a trace in each minute") * (0.98 + 0.04 * rng.f64());
        Trace { at: RecordTime(at as i64), operation: 0, value }
    })
}
