//! Whether samplers have learned of each trace once.

use std::{collections::BTreeMap, iter::Sum};

use prost::Message;

use super::{broker::Broker, client::World, log::Log};
use crate::{
    assemble::Keying,
    decide::PolicySet,
    decisions,
    sample::{Learned, Name, Rule, known::Remembers, schema},
};

/// The policy that learns, in the histories that have it.
const LEARNER: &str = "learns";

/// Where logs ended when it was asked.
#[derive(Clone, Copy)]
pub struct Ends {
    pub partition: usize,
    pub decided: usize,
    pub learned: usize,
    /// Whether the group counted on who asked. If not, somebody else's transaction may have stood half written there, and be committed.
    pub current: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Traces {
    all: u64,
    kept: u64,
    /// By its id, each that is kept.
    marked: u64,
}

/// The states that committed reads find below an offset.
pub fn latest(states: &Log<Learned<usize>>, end: usize) -> BTreeMap<Name, Learned<usize>> {
    states.committed(0).take_while(|(at, _)| *at < end).map(|(_, of)| (of.name, of.clone())).collect()
}

/// Compares what was decided of partitions with what was learned of them: each verdict teaches each sampler once, in the partition that
/// the trace began in. The decisions of a trace of an unkeyed input are in one of its partitions, and not always in that one.
///
/// What is sent outside of a transaction may be lost.
pub fn judge(broker: &mut Broker, world: &World, ends: &[Ends]) {
    if !world.names.iter().any(|name| name == LEARNER) || ends.iter().any(|ends| !ends.current) {
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
        let decided: Traces = together.iter().map(|ends| decided(broker, ends, &world.names)).sum();
        let learned: Traces = together.iter().map(|ends| learned(broker, ends, &world.policies)).sum();
        let counts = |of: &Traces| [of.all, of.kept, of.marked];
        let pairs = || counts(&learned).into_iter().zip(counts(&decided));
        let too_few = pairs().any(|(learned, decided)| learned < decided);
        if pairs().any(|(learned, decided)| learned > decided) || (too_few && !world.at_least_once) {
            let of: Vec<_> = together.iter().map(|ends| ends.partition).collect();
            broker.judge.wrong(format!("of {of:?}, {decided:?} were decided, and {learned:?} learned of"));
        }
    }
}

/// Traces; a verdict that is only renewed stands for no spans.
fn decided(broker: &Broker, ends: &Ends, names: &[String]) -> Traces {
    let log = broker.decisions[ends.partition].committed(0).take_while(|(at, _)| *at < ends.decided);
    let decisions = log.flat_map(|(_, value)| decisions::decode(value, names).map_or(Vec::new(), |of| of.decisions));
    let decisions = decisions.filter(|decision| decision.spans > 0);
    let kept = decisions.map(|decision| u64::from(decision.verdict.keep));
    kept.map(|kept| Traces { all: 1, kept, marked: kept }).sum()
}

/// One sampler learns of all, one counts those that are kept, and one marks them.
fn learned(broker: &Broker, ends: &Ends, policies: &PolicySet) -> Traces {
    let rule = |sampler| policies.rules().find_map(|(name, rule)| (name == sampler).then_some(rule));
    let states = latest(&broker.states[ends.partition], ends.learned).into_values();
    let traces = states.filter_map(|of| match rule(of.name.sampler)? {
        Rule::Slowest(_) => {
            let state = schema::Slowest::decode(&*of.value).ok()?;
            let all = [state.current, state.previous, state.older].iter().flatten().map(|sketch| sketch.count).sum();
            Some(Traces { all, ..Traces::default() })
        }
        Rule::Rare(rule) => Some(Traces { kept: rule.read(&of.value).ok()?.kept(), ..Traces::default() }),
        Rule::Follow(rule) => Some(Traces { marked: rule.read(&of.value).ok()?.count() as u64, ..Traces::default() }),
        Rule::Adaptive(_) | Rule::Rate(_) | Rule::Budget(_) => None,
    });
    traces.sum()
}

impl Sum for Traces {
    fn sum<I: Iterator<Item = Self>>(each: I) -> Self {
        each.fold(Self::default(), |sum, of| Self {
            all: sum.all + of.all,
            kept: sum.kept + of.kept,
            marked: sum.marked + of.marked,
        })
    }
}
