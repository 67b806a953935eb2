//! Traces of an input said to be keyed by trace id that two workers see.
//!
//! What one worker sees on two partitions, its engine counts. What two workers see, neither knows; but the decision log says of
//! each trace on which partitions it was, whoever decided it. So one thread of each process follows the log of all, and looks
//! at a known share of traces.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::AtomicBool},
};

use rdkafka::{Message, Offset, message::BorrowedMessage};

use super::follow::{Followed, follow};
use crate::{config::Config, decisions, model::TraceId, rekey, telemetry::Telemetry};

/// One trace, and where it was decided first and again.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    trace: TraceId,
    partitions: [i32; 2],
}

/// Where the traces of the share were decided, the last of them.
#[derive(Default)]
struct Seen {
    places: HashMap<TraceId, Place>,
    /// In the order they came.
    order: VecDeque<TraceId>,
}

#[derive(Clone, Copy)]
struct Place {
    topic: usize,
    partition: i32,
    incarnation: u64,
    /// It was found to be spread, which is said once.
    found: bool,
}

/// Traces remembered: those of the last 16 million, in some megabytes.
const REMEMBERED: usize = 1 << 14;
/// So many are named in the log; the rest are counted.
const NAMED: u64 = 10;

/// Begins to follow the decision log from its end, until `stop`.
///
/// # Errors
/// As those of [`follow`].
pub fn watch(config: &Config, telemetry: Arc<Telemetry>, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let followed = Followed {
        name: "spread",
        what: "the decisions of other workers",
        topics: config.input.topics.iter().map(|topic| config.input.decisions(&topic.name)).collect(),
        from: Offset::End,
        // What was removed meanwhile is not missed.
        properties: &[("auto.offset.reset", "latest")],
    };
    let mut seen = Seen::default();
    follow(config, followed, stop, move |topic, record| look(topic, record, &mut seen, &telemetry))
}

fn look(topic: usize, record: &BorrowedMessage<'_>, seen: &mut Seen, telemetry: &Telemetry) {
    // What cannot be read is for those to say who have to.
    let Ok(logged) = decisions::decode(record.payload().unwrap_or_default(), &[]) else { return };
    let place = Place { topic, partition: record.partition(), incarnation: logged.incarnation, found: false };
    let traces = logged.decisions.iter().map(|decision| decision.trace);
    for Found { trace, partitions: [first, second] } in seen.look(traces, place) {
        if telemetry.spread() < NAMED {
            tracing::error!(
                %trace,
                "partitions {first} and {second} hold spans of one trace, and two workers decided on it: the input is not \
                 keyed by trace id. Set `input.keyed: rekey`, or see to the producers' keys and partitioners"
            );
        }
    }
}

/// One in 1024, the same for all. By the upper bits of the hash: the lower ones choose partitions.
fn is_of_the_share(trace: TraceId) -> bool {
    rekey::hash(trace) >> 22 == 0
}

// === impl Seen ===

impl Seen {
    /// Takes note of what was decided at a place, and returns what another worker decided at another.
    fn look(&mut self, traces: impl Iterator<Item = TraceId>, place: Place) -> Vec<Found> {
        let mut found = Vec::new();
        for trace in traces.filter(|&trace| is_of_the_share(trace)) {
            let Some(before) = self.places.get_mut(&trace) else {
                if self.order.len() == REMEMBERED {
                    self.order.pop_front().map(|oldest| self.places.remove(&oldest));
                }
                self.order.push_back(trace);
                self.places.insert(trace, place);
                continue;
            };
            let elsewhere = (before.topic, before.partition) != (place.topic, place.partition);
            if elsewhere && before.incarnation != place.incarnation && !before.found {
                before.found = true;
                found.push(Found { trace, partitions: [before.partition, place.partition] });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn trace(number: u64) -> TraceId {
        TraceId(u128::from(number).to_be_bytes())
    }

    fn place(partition: i32, incarnation: u64) -> Place {
        Place { topic: 0, partition, incarnation, found: false }
    }

    #[test]
    fn one_trace_in_a_thousand_is_looked_at() {
        let share = (1..100_000).filter(|&number| is_of_the_share(trace(number))).count();
        assert!((60..140).contains(&share), "{share}");
    }

    #[test]
    fn what_two_workers_decide_is_found_once() {
        let all: HashSet<TraceId> = (1..10_000).map(trace).collect();
        let share = all.iter().filter(|&&trace| is_of_the_share(trace)).count();
        assert!(share > 0);
        let mut seen = Seen::default();
        let mut look = |place| seen.look(all.iter().copied(), place).len();
        assert_eq!(look(place(1, 7)), 0);
        assert_eq!(look(place(1, 8)), 0, "a verdict that was renewed after a move");
        assert_eq!(look(place(2, 7)), 0, "one worker's own");
        assert_eq!(look(place(2, 9)), share);
        assert_eq!(look(place(3, 9)), 0, "it is known");
    }

    #[test]
    fn the_last_are_remembered() {
        let mut seen = Seen::default();
        let share = (1..).map(trace).filter(|&trace| is_of_the_share(trace)).take(REMEMBERED + 100);
        assert!(seen.look(share, place(1, 7)).is_empty());
        assert_eq!((seen.places.len(), seen.order.len()), (REMEMBERED, REMEMBERED));
    }
}
