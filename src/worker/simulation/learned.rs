//! Whether samplers have learned of each trace once.

use std::collections::BTreeMap;

use prost::Message;

use super::{broker::Broker, client::World, log::Log};
use crate::{
    assemble::Keying,
    decisions,
    sample::{Learned, Name, schema},
};

/// The policy that learns, in the histories that have it.
const LEARNER: &str = "learns";

/// Where logs ended when it was asked.
#[derive(Clone, Copy)]
pub struct Ends {
    pub partition: usize,
    pub decided: usize,
    pub learned: usize,
}

/// The states that committed reads find below an offset.
pub fn latest(states: &Log<Learned<usize>>, end: usize) -> BTreeMap<Name, Learned<usize>> {
    states.committed(0).take_while(|(at, _)| *at < end).map(|(_, of)| (of.name, of.clone())).collect()
}

/// Compares what was decided of partitions with what was learned of them: each verdict teaches once, in the partition that the trace
/// began in. The decisions of a trace of an unkeyed input are in one of its partitions, and not always in that one.
///
/// What is sent outside of a transaction may be lost.
pub fn judge(broker: &mut Broker, world: &World, ends: &[Ends]) {
    if !world.names.iter().any(|name| name == LEARNER) {
        return;
    }
    let apart: Vec<&[Ends]> = match world.keying {
        Keying::Keyed => ends.chunks(1).collect(),
        Keying::Unkeyed if ends.len() == world.partitions.len() => vec![ends],
        Keying::Unkeyed => Vec::new(),
    };
    for together in apart {
        // What a transaction holds back may still be committed.
        if together.iter().any(|ends| broker.decisions[ends.partition].stable() < ends.decided) {
            continue;
        }
        let decided: usize = together.iter().map(|ends| decided(broker, ends, &world.names)).sum();
        let states =
            together.iter().flat_map(|ends| latest(&broker.states[ends.partition], ends.learned).into_values());
        let learned: u64 = states.map(count).sum();
        if learned > decided as u64 || (learned < decided as u64 && !world.at_least_once) {
            let of: Vec<_> = together.iter().map(|ends| ends.partition).collect();
            broker.judge.wrong(format!("of {of:?}, {decided} traces were decided, and {learned} learned of"));
        }
    }
}

/// Traces; a verdict that is only renewed stands for no spans.
fn decided(broker: &Broker, ends: &Ends, names: &[String]) -> usize {
    let log = broker.decisions[ends.partition].committed(0).take_while(|(at, _)| *at < ends.decided);
    let decisions = log.flat_map(|(_, value)| decisions::decode(value, names).map_or(Vec::new(), |of| of.decisions));
    decisions.filter(|decision| decision.spans > 0).count()
}

fn count(learned: Learned<usize>) -> u64 {
    let state = schema::Slowest::decode(&*learned.value).unwrap_or_default();
    [state.current, state.previous, state.older].iter().flatten().map(|sketch| sketch.count).sum()
}
