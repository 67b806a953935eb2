//! Samplers that learn, as written.

use super::{Reader, names};
use crate::{
    decide::{
        budget::Unit,
        condition::{self, Aspect},
        fnv::fnv,
        sampler::Sampler,
        tree::mix,
    },
    sample::{Adaptive, Ceiling, Rare, Rule, Slowest},
    units,
    yaml::{Fields, Kind, Node},
};

/// A sampler that learns.
#[derive(Debug)]
pub struct Learning<'a> {
    /// The place of its policy.
    pub policy: u16,
    pub sampler: Sampler<Aspect>,
    /// What it tells traces apart by, as text.
    pub by: &'a [Node],
}

/// Of a sampler: nobody tells traces apart by more.
const KEYS_MAX: usize = 16;
/// What `slowest` measures where nothing is said.
const MEASURE: &str = "root.duration";
/// What it remembers, the same: long enough for an operation called a few times a second to show its outliers.
const WINDOW: &str = "10m";
/// In which `rare` keeps its floor, the same: one example of each kind in four hours of reading on call is not looked for longer.
const PERIOD: &str = "15m";
/// How many it keeps, the same: one is an example.
const AT_LEAST: &str = "1";
/// What `adaptive` can be told to come to.
const GOALS: [&str; 3] = ["probability", "traces_per_second", "spans_per_second"];
/// What the last of them counts.
const SPANS: &str = "trace.span_count";
/// Of a ceiling: what may be saved up, where nothing is said. With less, the share of a small partition is soon below what one
/// trace costs.
const BURST: &str = "5s";

impl<'a> Reader<'a, '_> {
    /// One of a policy that is the last by now.
    pub(super) fn learning(&mut self, name: &str, node: &'a Node, of: &str) -> Option<Learning<'a>> {
        let policy = super::place(self.policies.len().saturating_sub(1));
        let (example, read): (_, fn(&mut Self, &'a Node, &str) -> _) = match name {
            "rare" => ("write `rare: { by: [root.service, root.name] }`", Self::rare),
            "rate" => ("write `rate: { spans_per_second: 2000, by: [root.service] }`", Self::rate),
            "adaptive" => ("write `adaptive: { traces_per_second: 200, by: [root.service] }`", Self::adaptive),
            "follow" => ("write `follow: { by: [links] }`", Self::follow),
            _ => ("write `slowest: { quantile: 0.999 }`", Self::slowest),
        };
        if !matches!(node.kind, Kind::Map(_)) {
            return self.error(node, &format!("`{name}` must be a mapping, not {}", node.noun()), example);
        }
        let (sampler, by) = read(self, node, of)?;
        Some(Learning { policy, sampler, by })
    }

    fn slowest(&mut self, node: &'a Node, policy: &str) -> Option<(Sampler<Aspect>, &'a [Node])> {
        let mut fields = Fields::of(node, "`slowest`", self.diagnostics)?;
        let share = fields.require("quantile", "write `quantile: 0.999`: of a thousand, one is kept", self.diagnostics);
        let quantile = share.and_then(|node| units::read(node, "`quantile`", units::quantile, self.diagnostics));
        let (by, of, remembered) = (fields.take("by"), fields.take("of"), fields.take("window"));
        let window = self.or(remembered, "`window`", units::window, WINDOW);
        fields.finish(self.diagnostics);
        let keys = self.list(by)?;
        let by = self.keys(keys, condition::read_key);
        let measure = match of {
            Some(node) => self.condition(node, "`of`", condition::read_measure),
            None => condition::read_measure(MEASURE).ok(),
        };
        let (by, quantile, window) = (by?, quantile?, window?);
        let of_written = of.map_or(MEASURE, Node::text);
        let written = format!(
            "slowest {{ quantile: {}, of: {of_written}, by: [{}], window: {} }}",
            share.map_or("", Node::text),
            texts(keys).join(", "),
            remembered.map_or(WINDOW, Node::text),
        );
        // A change of these makes what was learned worthless; another quantile does not.
        let state = state(policy, texts(keys).into_iter().chain([of_written]), window);
        let rule = Rule::Slowest(Slowest::new(quantile, window));
        Some((Sampler { state, by, rule, of: Some(measure?), written }, keys))
    }

    fn rare(&mut self, node: &'a Node, policy: &str) -> Option<(Sampler<Aspect>, &'a [Node])> {
        let mut fields = Fields::of(node, "`rare`", self.diagnostics)?;
        let hint = "write `by: [root.service, root.name, trace.shape]`: some traces of each are kept";
        let keys = fields.require("by", hint, self.diagnostics);
        let (least, period) = (fields.take("at_least"), fields.take("per"));
        let at_least = self.or(least, "`at_least`", units::floor, AT_LEAST);
        let per = self.or(period, "`per`", units::window, PERIOD);
        fields.finish(self.diagnostics);
        let keys = self.list(Some(keys?))?;
        let (by, at_least, per) = (self.keys(keys, condition::read_key)?, at_least?, per?);
        let written = format!(
            "rare {{ by: [{}], at_least: {}, per: {} }}",
            texts(keys).join(", "),
            least.map_or(AT_LEAST, Node::text),
            period.map_or(PERIOD, Node::text),
        );
        let state = state(policy, ["rare"].into_iter().chain(texts(keys)), per);
        Some((Sampler { state, by, rule: Rule::Rare(Rare::new(at_least, per)), of: None, written }, keys))
    }

    fn adaptive(&mut self, node: &'a Node, policy: &str) -> Option<(Sampler<Aspect>, &'a [Node])> {
        let mut fields = Fields::of(node, "`adaptive`", self.diagnostics)?;
        let given = GOALS.map(|goal| Some((goal, fields.take(goal)?)));
        let mut given = given.into_iter().flatten();
        let by = fields.take("by");
        fields.finish(self.diagnostics);
        let (goal, of) = match (given.next(), given.next()) {
            (Some(goal), None) => goal,
            (Some(_), Some((_, node))) => return self.error(node, "two goals in one", "choose one of them"),
            (None, _) => return self.error(node, "no goal", "write `probability: 10%` or `traces_per_second: 200`"),
        };
        let rule = match goal {
            "probability" => {
                units::read(of, "`probability`", units::probability, self.diagnostics).map(Adaptive::Probability)
            }
            _ => units::read(of, &format!("`{goal}`"), units::per_second, self.diagnostics).map(Adaptive::Throughput),
        };
        let keys = self.list(by)?;
        let (by, rule) = (self.keys(keys, condition::read_key)?, Rule::Adaptive(rule?));
        let counts = if goal == "spans_per_second" { Some(condition::read_measure(SPANS).ok()?) } else { None };
        let written = format!("adaptive {{ {goal}: {}, by: [{}] }}", of.text(), texts(keys).join(", "));
        let unit = if counts.is_some() { SPANS } else { "traces" };
        let state = state(policy, ["adaptive", unit].into_iter().chain(texts(keys)), 0);
        Some((Sampler { state, by, rule, of: counts, written }, keys))
    }

    fn rate(&mut self, node: &'a Node, policy: &str) -> Option<(Sampler<Aspect>, &'a [Node])> {
        let mut fields = Fields::of(node, "`rate`", self.diagnostics)?;
        let (by, most) = (fields.take("by"), fields.take("each"));
        let ceiling = self.ceiling(&mut fields);
        fields.finish(self.diagnostics);
        let keys = self.list(by)?;
        let (by, (unit, per_second, burst, mut said)) = (self.keys(keys, condition::read_key)?, ceiling?);
        let mut rule = Ceiling::rate(per_second, burst);
        if let Some(node) = most {
            rule.each = Some(self.each(node, unit, per_second, keys)?);
            said.push_str(&format!(", each: {}", node.text()));
        }
        let of = unit.path().and_then(|path| condition::read_measure(path).ok());
        let written = format!("rate {{ {said}, by: [{}] }}", texts(keys).join(", "));
        let state = state(policy, ["rate", unit.name()].into_iter().chain(texts(keys)), 0);
        Some((Sampler { state, by, rule: Rule::Rate(rule), of, written }, keys))
    }

    /// What each key of a rate may have of what all have.
    fn each(&mut self, node: &'a Node, unit: Unit, all: f64, keys: &[Node]) -> Option<f64> {
        if keys.is_empty() {
            return self.error(
                node,
                "`each` without a key",
                "name what has a ceiling of its own: `by: [root.service]`",
            );
        }
        let each = units::read(node, "`each`", parse(unit), self.diagnostics)?;
        if each > all {
            let hint = format!("write less than `{}`, or leave `each` out", unit.name());
            return self.error(node, "each may have more than all together", &hint);
        }
        Some(each)
    }

    /// What is counted, how much of it there may be in a second, how many seconds may be saved up, and all this as a policy says it.
    pub(super) fn ceiling(&mut self, fields: &mut Fields<'a>) -> Option<(Unit, f64, f64, String)> {
        let given = Unit::ALL.map(|unit| Some((unit, fields.take(unit.name())?)));
        let mut given = given.into_iter().flatten();
        let saved = fields.take("burst");
        let burst = self.or(saved, "`burst`", units::burst, BURST);
        let (unit, of) = match (given.next(), given.next()) {
            (Some(given), None) => given,
            (Some(_), Some((_, node))) => return self.error(node, "two rates in one", "choose one of them"),
            (None, _) => {
                let hint = format!("write one of {}", names(Unit::ALL.map(Unit::name)));
                self.diagnostics.error(fields.at, "nothing says how much").hint(hint);
                return None;
            }
        };
        let per_second = units::read(of, &format!("`{}`", unit.name()), parse(unit), self.diagnostics);
        let said = format!("{}: {}, burst: {}", unit.name(), of.text(), saved.map_or(BURST, Node::text));
        Some((unit, per_second?, burst?, said))
    }

    /// What stands under `by`.
    pub(super) fn list(&mut self, by: Option<&'a Node>) -> Option<&'a [Node]> {
        by.map_or(Some(&[]), |node| node.as_seq("`by`", self.diagnostics))
    }

    pub(super) fn keys(
        &mut self,
        keys: &'a [Node],
        read: fn(&str) -> Result<Aspect, Vec<condition::Error>>,
    ) -> Option<Vec<Aspect>> {
        if let Some(node) = keys.get(KEYS_MAX) {
            return self.error(node, &format!("more than {KEYS_MAX} keys"), "join what belongs together");
        }
        // All of them are looked at: each may have a mistake of its own.
        let read: Vec<_> = keys.iter().map(|node| self.condition(node, "a key", read)).collect();
        read.into_iter().collect()
    }

    /// What is written, or what holds where nothing is.
    pub(super) fn or<T>(
        &mut self,
        node: Option<&Node>,
        what: &str,
        read: fn(&str) -> Result<T, units::Mistake>,
        default: &str,
    ) -> Option<T> {
        match node {
            Some(node) => units::read(node, what, read, self.diagnostics),
            None => read(default).ok(),
        }
    }
}

fn parse(unit: Unit) -> fn(&str) -> Result<f64, units::Mistake> {
    if unit == Unit::Bytes { units::bytes_per_second } else { units::per_second }
}

pub(super) fn texts(keys: &[Node]) -> Vec<&str> {
    keys.iter().map(Node::text).collect()
}

/// Tells what a sampler of a policy has learned from what others have, in all versions.
pub(super) fn state<'t>(policy: &str, texts: impl Iterator<Item = &'t str>, window: u64) -> u64 {
    mix(texts.fold(fnv(policy.as_bytes()), |hash, text| mix(hash, fnv(text.as_bytes()))), window)
}
