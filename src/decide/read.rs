//! Policies as written, from YAML.

mod budget;
mod follow;
mod learning;

pub use learning::Learning;

use std::collections::HashMap;

use super::{
    Action, List, Match,
    budget::Budget,
    condition::{self, Formula, SpanTest, TraceTest},
    follow::Follower,
    probability::threshold,
    randomness,
};
use crate::{
    diagnostic::{Diagnostics, Location},
    model::{RecordTime, Threshold},
    units,
    yaml::{Fields, Kind, Node},
};

/// A verdict names its policy by 16 bits; a person who has ten thousand generates them.
const POLICIES_MAX: usize = 10_000;
/// Bytes of a name: it becomes a label of metrics and a field of every decision.
const NAME_MAX: usize = 128;
/// Groups inside each other: nobody follows more, and they are walked on the stack.
const DEPTH_MAX: usize = 8;

/// A piece of the list of policies in the configuration.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// The root of a policy file: a mapping.
    File(&'a Node),
    /// One policy, written in the configuration itself.
    Policy(&'a Node),
    /// The condition on what counts as the root of a trace.
    Root(&'a Node),
}

/// All policies of all parts.
#[derive(Debug)]
pub struct Policies<'a> {
    pub list: List,
    /// In the order written, each group before what it is made of.
    pub policies: Vec<Policy<'a>>,
    /// In the order of their policies.
    pub learning: Vec<Learning<'a>>,
    /// Those of groups before those around them.
    pub budgets: Vec<Budget>,
    pub followers: Vec<Follower>,
    pub randomness: randomness::Source,
    pub root: Option<(Formula<SpanTest>, String)>,
}

#[derive(Debug)]
pub struct Policy<'a> {
    pub name: String,
    pub at: Location,
    pub when: Formula<TraceTest>,
    /// The condition as text; None where there is none.
    pub written: Option<&'a Node>,
    pub until: Option<RecordTime>,
    pub shadow: bool,
    pub action: Action,
}

/// Reads all parts, in order. None where there was a mistake.
pub fn read<'a>(parts: &[Part<'a>], diagnostics: &mut Diagnostics) -> Option<Policies<'a>> {
    let before = diagnostics.0.len();
    let mut reader = Reader {
        diagnostics,
        policies: Vec::new(),
        learning: Vec::new(),
        budgets: Vec::new(),
        following: Vec::new(),
        names: HashMap::new(),
        matching: None,
        budget: None,
        otherwise: None,
        randomness: None,
        root: None,
    };
    // How policies meet may be said in a file that comes after them.
    let parts: Vec<_> = parts.iter().filter_map(|part| reader.head(*part)).collect();
    let matching = reader.matching.map_or(Some(Match::default()), |(matching, _)| matching);
    let around = Around { matching, depth: 0, budgeted: reader.budget.is_some() };
    for part in parts {
        match part {
            Opened::File(fields) => reader.file(fields, around),
            Opened::Policy(node) => reader.add(node, around),
        }
    }
    if let Some((Some(node), _)) = reader.budget {
        reader.budget(node, "", 0..reader.policies.len());
    }
    let followers = reader.followers();
    let Reader { diagnostics, policies, learning, budgets, otherwise, randomness, root, .. } = reader;
    let randomness = randomness.map_or(Some(randomness::Source::default()), |(source, _)| source);
    if diagnostics.0.len() > before {
        return None;
    }
    let otherwise = otherwise.map_or(Some(Threshold::NEVER), |(threshold, _)| threshold);
    let list = List { matching: matching?, policies: 0..place(policies.len()), otherwise };
    let policies = policies.into_iter().collect::<Option<Vec<_>>>()?;
    let budgets = budgets.into_iter().map(|budget| budget.over(policies.len())).collect();
    Some(Policies { list, policies, learning, budgets, followers, randomness: randomness?, root })
}

/// A part of which the mistakes were named that make it no mapping, and of which `match` was read.
enum Opened<'a> {
    File(Fields<'a>),
    Policy(&'a Node),
}

struct Reader<'a, 'd> {
    diagnostics: &'d mut Diagnostics,
    /// None where there was a mistake.
    policies: Vec<Option<Policy<'a>>>,
    learning: Vec<Learning<'a>>,
    budgets: Vec<budget::Read>,
    /// The places of samplers that follow, and the names of the policies that begin groups, if they are named.
    following: Vec<(u16, Option<&'a [Node]>)>,
    names: HashMap<&'a str, &'a Location>,
    /// Of all files, and where it stands.
    matching: Option<(Option<Match>, &'a Location)>,
    otherwise: Option<(Option<Threshold>, &'a Location)>,
    budget: Option<(Option<&'a Node>, &'a Location)>,
    randomness: Option<(Option<randomness::Source>, &'a Location)>,
    root: Option<(Formula<SpanTest>, String)>,
}

/// What a policy stands in.
#[derive(Clone, Copy)]
struct Around {
    /// Of its list; None where that is not known, for it was a mistake.
    matching: Option<Match>,
    /// In so many groups.
    depth: usize,
    /// There is a budget over it.
    budgeted: bool,
}

// === impl Reader ===

impl<'a> Reader<'a, '_> {
    fn head(&mut self, part: Part<'a>) -> Option<Opened<'a>> {
        let node = match part {
            Part::File(node) => node,
            Part::Policy(node) => return Some(Opened::Policy(node)),
            Part::Root(node) => {
                self.root =
                    self.condition(node, "`root`", condition::read_span).map(|root| (root, node.text().to_owned()));
                return None;
            }
        };
        if let Kind::Seq(_) = node.kind {
            let hint = "write `policies:` on a line of its own above the list";
            return self.error(node, "a policy file must be a mapping, not a list", hint);
        }
        let mut fields = Fields::of(node, "a policy file", self.diagnostics)?;
        if let Some(node) = fields.take("match") {
            let matching = self.how(node);
            once("match", node, &mut self.matching, matching, self.diagnostics);
        }
        if let Some(node) = fields.take("budget") {
            once("budget", node, &mut self.budget, Some(node), self.diagnostics);
        }
        Some(Opened::File(fields))
    }

    fn file(&mut self, mut fields: Fields<'a>, around: Around) {
        if let Some(node) = fields.take("policies")
            && let Some(policies) = node.as_seq("`policies`", self.diagnostics)
        {
            policies.iter().for_each(|policy| self.add(policy, around));
        }
        if let Some(node) = fields.take("otherwise") {
            let otherwise = self.rest(node);
            once("otherwise", node, &mut self.otherwise, otherwise, self.diagnostics);
        }
        if let Some(node) = fields.take("randomness") {
            let source = self.randomness(node);
            once("randomness", node, &mut self.randomness, source, self.diagnostics);
        }
        // Read by `cases`, which knows the policies of all files.
        fields.take("tests");
        fields.finish(self.diagnostics);
    }

    fn randomness(&mut self, node: &Node) -> Option<randomness::Source> {
        if node.is_text("trace") {
            return Some(randomness::Source::Trace);
        }
        if !matches!(node.kind, Kind::Map(_)) {
            return self.error(
                node,
                "`randomness` is neither trace nor a hash",
                "write `randomness: { fnv: default-hash-seed }` to pick the traces that the Collector picks",
            );
        }
        let mut fields = Fields::of(node, "`randomness`", self.diagnostics)?;
        let salt = fields.require("fnv", "write `fnv: default-hash-seed`, the Collector's salt", self.diagnostics);
        fields.finish(self.diagnostics);
        Some(randomness::Source::Fnv(salt?.as_str("`fnv`", self.diagnostics)?.into()))
    }

    fn add(&mut self, node: &'a Node, around: Around) {
        let number = self.policies.len();
        if number > POLICIES_MAX {
            return;
        }
        self.policies.push(None);
        if number == POLICIES_MAX {
            self.diagnostics.error(&node.at, format!("more than {POLICIES_MAX} policies"));
            return;
        }
        self.policies[number] = self.policy(node, around);
    }

    fn policy(&mut self, node: &'a Node, around: Around) -> Option<Policy<'a>> {
        let mut fields = Fields::of(node, "a policy", self.diagnostics)?;
        let name = fields.require("name", "write `name: errors`", self.diagnostics).and_then(|node| self.name(node));
        let written = fields.take("when");
        let when = match written {
            Some(node) => self.condition(node, "`when`", condition::read),
            None => Some(Formula::constant(true)),
        };
        let until = fields.take("until").and_then(|node| units::read(node, "`until`", units::until, self.diagnostics));
        let shadow = fields.take("shadow").and_then(|node| node.as_bool("`shadow`", self.diagnostics));
        if let Some(node) = fields.take("note") {
            node.as_str("`note`", self.diagnostics);
        }
        let action = match fields.take("policies") {
            Some(policies) => {
                let name = name.as_deref().unwrap_or_default();
                self.group(&mut fields, policies, name, around).map(Action::Group)
            }
            None => self.action(&mut fields, name.as_deref().unwrap_or_default(), around),
        };
        fields.finish(self.diagnostics);
        let shadow = shadow.unwrap_or_default();
        Some(Policy { name: name?, at: node.at.clone(), when: when?, written, until, shadow, action: action? })
    }

    fn name(&mut self, node: &'a Node) -> Option<String> {
        let name = node.as_str("`name`", self.diagnostics)?;
        if name.trim() != name || name.is_empty() || name.chars().any(char::is_control) {
            return self.error(node, "a name is one line, without space around it", "write `name: errors`");
        }
        if name.len() > NAME_MAX {
            return self.error(
                node,
                &format!("a name of {} bytes", name.len()),
                &format!("at most {NAME_MAX}: it labels metrics"),
            );
        }
        if name == "otherwise" {
            return self.error(node, "`otherwise` is the name of what happens to the rest", "choose another name");
        }
        if let Some(first) = self.names.get(name) {
            self.diagnostics.error(&node.at, format!("two policies named `{name}`")).also(first, "the first is here");
            return None;
        }
        self.names.insert(name, &node.at);
        Some(name.to_owned())
    }

    fn condition<C>(
        &mut self,
        node: &Node,
        what: &str,
        read: fn(&str) -> Result<C, Vec<condition::Error>>,
    ) -> Option<C> {
        if let Kind::Seq(_) = node.kind {
            let hint = "write one condition: its parts are joined with `and` or `or`";
            return self.error(node, &format!("{what} must be text, not a list"), hint);
        }
        let text = node.as_str(what, self.diagnostics)?;
        match read(text) {
            Ok(condition) => Some(condition),
            Err(_) if node.cut(self.diagnostics) => None,
            Err(errors) => {
                for error in errors {
                    let diagnostic = self.diagnostics.error(&node.locate(error.at), error.message);
                    if let Some(hint) = error.hint {
                        diagnostic.hint(hint);
                    }
                }
                None
            }
        }
    }

    /// The fields of a group that a policy has not.
    fn group(&mut self, fields: &mut Fields<'a>, node: &'a Node, name: &str, around: Around) -> Option<List> {
        let matching = fields.take("match").map_or(Some(Match::default()), |node| self.how(node));
        let otherwise = fields.take("otherwise").map(|node| self.rest(node));
        let budget = fields.take("budget");
        let policies = node.as_seq("`policies`", self.diagnostics)?;
        if policies.is_empty() {
            return self.error(node, "a group without policies", "remove the group, or write policies into it");
        }
        let budgeted = around.budgeted || budget.is_some();
        let inside = Around { matching, depth: around.depth + 1, budgeted };
        if inside.depth > DEPTH_MAX {
            let hint = "write the groups further in side by side";
            return self.error(node, &format!("more than {DEPTH_MAX} groups inside each other"), hint);
        }
        let first = place(self.policies.len());
        policies.iter().for_each(|policy| self.add(policy, inside));
        if let Some(node) = budget {
            self.budget(node, name, usize::from(first)..self.policies.len());
        }
        let policies = first..place(self.policies.len());
        let otherwise = match otherwise {
            Some(threshold) => Some(threshold?),
            None => None,
        };
        Some(List { matching: matching?, policies, otherwise })
    }

    /// The fields of a policy that a group has not.
    fn action(&mut self, fields: &mut Fields<'a>, policy: &str, around: Around) -> Option<Action> {
        let (keep, drop) = (fields.take("keep"), fields.take("drop"));
        let protect = fields.take("protect").filter(|node| node.as_bool("`protect`", self.diagnostics) == Some(true));
        let on_reject = fields.take("on_reject");
        let (node, name) = match (keep, drop) {
            (Some(node), None) => (node, "keep"),
            (None, Some(node)) => (node, "drop"),
            (Some(_), Some(node)) => {
                return self.error(node, "a policy has `keep` or `drop`, not both", "make two policies of it");
            }
            (None, None) => {
                let hint =
                    "write `keep: always`, `keep: { probability: 1% }` or `drop: always`; a group has `policies`";
                self.diagnostics.error(fields.at, "a policy needs `keep` or `drop`").hint(hint);
                return None;
            }
        };
        let keeps = drop.is_none().then_some(policy);
        let first = place(self.learning.len());
        let threshold = self.samplers(node, name, keeps);
        let samplers = first..place(self.learning.len());
        if let Some(at) = on_reject {
            if !at.is_text("next") {
                let hint = "write `on_reject: next`, or nothing: then the search ends";
                self.diagnostics.error(&at.at, "`on_reject` is not `next`").hint(hint);
            } else if around.matching == Some(Match::Any) {
                let hint = "remove it: with `match: any` every policy is asked";
                self.diagnostics.error(&at.at, "`on_reject` where a sampler's no ends nothing").hint(hint);
            } else if node.is_text("always") {
                let hint = "remove it: `always` rejects nothing";
                self.diagnostics.error(&at.at, "`on_reject` without a sampler").hint(hint);
            }
        }
        if let Some(at) = protect {
            if drop.is_some() {
                let hint = "write it at the policies that no `drop` may veto";
                self.diagnostics.error(&at.at, "`protect` for what is dropped").hint(hint);
            } else if around.matching == Some(Match::First) && !around.budgeted {
                let hint = "with `match: first` the policy that stands first decides: move this one up";
                self.diagnostics.error(&at.at, "`protect` where nothing vetoes").hint(hint);
            }
        }
        let ends = around.matching == Some(Match::First) && on_reject.is_none();
        Some(match drop {
            // What is dropped has the least randomness, so that the rest is what a sampler would keep.
            Some(_) => Action::Drop { threshold: threshold?.complement(), ends },
            None => Action::Keep { threshold: threshold?, samplers, protect: protect.is_some(), ends },
        })
    }

    /// What `keep` and `drop` take, as the threshold of what is kept, or would be, as far as randomness decides. Those that
    /// learn become samplers of the policy that `keeps`.
    fn samplers(&mut self, node: &'a Node, name: &str, keeps: Option<&str>) -> Option<Threshold> {
        match &node.kind {
            _ if node.is_text("always") => Some(Threshold::ALWAYS),
            Kind::Map(_) => self.sampler(node, keeps),
            // All use the same randomness: what passes the highest threshold passes them all.
            Kind::Seq(samplers) if !samplers.is_empty() => {
                let thresholds: Vec<_> = samplers.iter().map(|sampler| self.sampler(sampler, keeps)).collect();
                thresholds.into_iter().collect::<Option<Vec<_>>>()?.into_iter().max()
            }
            _ => self.error(
                node,
                &format!("`{name}` is neither `always`, a sampler nor a list of samplers"),
                &format!("write `{name}: always` or `{name}: {{ probability: {} }}`", meant(node)),
            ),
        }
    }

    fn sampler(&mut self, node: &'a Node, keeps: Option<&str>) -> Option<Threshold> {
        let before = self.diagnostics.0.len();
        let mut fields = Fields::of(node, "a sampler", self.diagnostics)?;
        let samplers = ["probability", "slowest", "rare", "adaptive", "rate", "follow"];
        let given = samplers.map(|name| Some((name, fields.take(name)?)));
        let mut given = given.into_iter().flatten();
        fields.finish(self.diagnostics);
        match (given.next(), given.next()) {
            (Some(_), Some((name, node))) => {
                let hint = format!("write a list: `[ {{ probability: 10% }}, {{ {name}: … }} ]`");
                self.error(node, "two samplers in one", &hint)
            }
            (Some(("probability", node)), None) => {
                units::read(node, "`probability`", units::probability, self.diagnostics).map(threshold)
            }
            (Some((name, node)), None) => {
                let Some(policy) = keeps else {
                    let hint = format!("it is for what a policy keeps: `keep: {{ {name}: … }}`");
                    return self.error(node, &format!("`{name}` outside of `keep`"), &hint);
                };
                let learning = self.learning(name, node, policy)?;
                self.learning.push(learning);
                Some(Threshold::ALWAYS)
            }
            (None, _) if self.diagnostics.0.len() == before => {
                self.error(node, "no sampler", "write `{ probability: 1% }` or `{ slowest: { quantile: 0.999 } }`")
            }
            (None, _) => None,
        }
    }

    fn how(&mut self, node: &Node) -> Option<Match> {
        match &node.kind {
            _ if node.is_text("any") => Some(Match::Any),
            _ if node.is_text("first") => Some(Match::First),
            _ => self.error(node, "`match` is neither any nor first", "write `match: any` or `match: first`"),
        }
    }

    fn rest(&mut self, node: &'a Node) -> Option<Threshold> {
        match &node.kind {
            _ if node.is_text("drop") => Some(Threshold::NEVER),
            _ if node.is_text("keep") => Some(Threshold::ALWAYS),
            Kind::Map(_) => self.sampler(node, None),
            _ => self.error(
                node,
                "`otherwise` is neither drop, keep nor a sampler",
                &format!("write `otherwise: drop`, `keep` or `{{ probability: {} }}`", meant(node)),
            ),
        }
    }

    fn error<T>(&mut self, node: &Node, message: &str, hint: &str) -> Option<T> {
        self.diagnostics.error(&node.at, message).hint(hint);
        None
    }
}

/// Sets what stands in one file only.
fn once<'a, T>(
    name: &str,
    node: &'a Node,
    place: &mut Option<(Option<T>, &'a Location)>,
    value: Option<T>,
    diagnostics: &mut Diagnostics,
) {
    if let Some((_, first)) = place {
        diagnostics
            .error(&node.at, format!("`{name}` stands in two files"))
            .also(first, "the first is here")
            .hint("the files are read as one list: write it in one of them");
    } else {
        *place = Some((value, &node.at));
    }
}

/// The probability that stands where a sampler should, or an example.
fn meant(node: &Node) -> &str {
    if units::probability(node.text()).is_ok() { node.text() } else { "1%" }
}

/// Names to choose from.
fn names<const N: usize>(names: [&str; N]) -> String {
    names.map(|name| format!("`{name}`")).join(", ")
}

/// A place among at most [`POLICIES_MAX`].
fn place(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
