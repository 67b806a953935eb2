//! Policies as written, from YAML.

use std::collections::HashMap;

use super::{
    Action, Match,
    condition::{self, Formula, SpanTest, TraceTest},
    probability::threshold,
};
use crate::{
    diagnostic::{Diagnostics, Location},
    model::Threshold,
    units,
    yaml::{Fields, Kind, Node},
};

/// A verdict names its policy by 16 bits; a person who has ten thousand generates them.
const POLICIES_MAX: usize = 10_000;
/// Bytes of a name: it becomes a label of metrics and a field of every decision.
const NAME_MAX: usize = 128;

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
pub struct Policies {
    pub matching: Match,
    pub policies: Vec<Policy>,
    pub otherwise: Threshold,
    pub root: Option<(Formula<SpanTest>, String)>,
}

#[derive(Debug)]
pub struct Policy {
    pub name: String,
    pub at: Location,
    pub when: Formula<TraceTest>,
    /// As text; empty where there is none.
    pub written: String,
    pub action: Action,
}

/// Reads all parts, in order. None where there was a mistake.
pub fn read(parts: &[Part<'_>], diagnostics: &mut Diagnostics) -> Option<Policies> {
    let before = diagnostics.0.len();
    let mut reader = Reader {
        diagnostics,
        policies: Vec::new(),
        count: 0,
        names: HashMap::new(),
        matching: None,
        otherwise: None,
        root: None,
    };
    for part in parts {
        match part {
            Part::File(node) => reader.file(node),
            Part::Policy(node) => reader.add(node),
            Part::Root(node) => {
                reader.root =
                    reader.condition(node, "`root`", condition::read_span).map(|root| (root, node.text().to_owned()));
            }
        }
    }
    let Reader { diagnostics, policies, matching, otherwise, root, .. } = reader;
    (diagnostics.0.len() == before).then(|| Policies {
        matching: matching.map_or(Match::default(), |(matching, _)| matching),
        policies,
        otherwise: otherwise.map_or(Threshold::NEVER, |(threshold, _)| threshold),
        root,
    })
}

struct Reader<'a, 'd> {
    diagnostics: &'d mut Diagnostics,
    policies: Vec<Policy>,
    /// Those with mistakes too.
    count: usize,
    names: HashMap<&'a str, &'a Location>,
    matching: Option<(Match, &'a Location)>,
    otherwise: Option<(Threshold, &'a Location)>,
    root: Option<(Formula<SpanTest>, String)>,
}

// === impl Reader ===

impl<'a> Reader<'a, '_> {
    fn file(&mut self, node: &'a Node) {
        let Some(mut fields) = Fields::of(node, "a policy file", self.diagnostics) else { return };
        if let Some(node) = fields.take("match") {
            let matching = match &node.kind {
                _ if node.is_text("any") => Some(Match::Any),
                _ if node.is_text("first") => Some(Match::First),
                _ => self.error(node, "`match` is neither any nor first", "write `match: any` or `match: first`"),
            };
            once("match", node, &mut self.matching, matching, self.diagnostics);
        }
        if let Some(node) = fields.take("policies")
            && let Some(policies) = node.as_seq("`policies`", self.diagnostics)
        {
            policies.iter().for_each(|policy| self.add(policy));
        }
        if let Some(node) = fields.take("otherwise") {
            let otherwise = match &node.kind {
                _ if node.is_text("drop") => Some(Threshold::NEVER),
                _ if node.is_text("keep") => Some(Threshold::ALWAYS),
                Kind::Map(_) => self.sampler(node),
                _ => self.error(
                    node,
                    "`otherwise` is neither drop, keep nor a sampler",
                    "write `otherwise: { probability: 1% }`",
                ),
            };
            once("otherwise", node, &mut self.otherwise, otherwise, self.diagnostics);
        }
        self.later(&mut fields, &["budget"]);
        // Read by `cases`, which knows the policies of all files.
        fields.take("tests");
        fields.finish(self.diagnostics);
    }

    fn add(&mut self, node: &'a Node) {
        self.count += 1;
        if self.count == POLICIES_MAX + 1 {
            self.diagnostics.error(&node.at, format!("more than {POLICIES_MAX} policies"));
        }
        if let Some(policy) = self.policy(node)
            && self.count <= POLICIES_MAX
        {
            self.policies.push(policy);
        }
    }

    fn policy(&mut self, node: &'a Node) -> Option<Policy> {
        let mut fields = Fields::of(node, "a policy", self.diagnostics)?;
        let name = fields.require("name", "write `name: errors`", self.diagnostics).and_then(|node| self.name(node));
        let (when, written) = match fields.take("when") {
            Some(node) => (self.condition(node, "`when`", condition::read), node.text()),
            None => (Some(Formula::constant(true)), ""),
        };
        let action = match (fields.take("keep"), fields.take("drop")) {
            (Some(node), None) => self.keep(node).map(Action::Keep),
            (None, Some(node)) if node.is_text("always") => Some(Action::Drop),
            (None, Some(node)) if matches!(node.kind, Kind::Map(_) | Kind::Seq(_)) => self.error(
                node,
                "`drop` with a sampler is not available yet",
                "write `drop: always`; what a sampler keeps is written with `keep`",
            ),
            (None, Some(node)) => self.error(node, "`drop` is not `always`", "write `drop: always`"),
            (Some(_), Some(node)) => {
                self.error(node, "a policy has `keep` or `drop`, not both", "make two policies of it")
            }
            (None, None) => {
                let hint = "write `keep: always`, `keep: { probability: 1% }` or `drop: always`";
                self.diagnostics.error(fields.at, "a policy needs `keep` or `drop`").hint(hint);
                None
            }
        };
        self.later(&mut fields, &["note", "on_reject", "policies", "protect", "shadow", "until"]);
        fields.finish(self.diagnostics);
        Some(Policy { name: name?, at: node.at.clone(), when: when?, written: written.to_owned(), action: action? })
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

    fn condition<L>(
        &mut self,
        node: &Node,
        what: &str,
        read: fn(&str) -> Result<Formula<L>, Vec<condition::Error>>,
    ) -> Option<Formula<L>> {
        let text = node.as_str(what, self.diagnostics)?;
        match read(text) {
            Ok(formula) => Some(formula),
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

    fn keep(&mut self, node: &Node) -> Option<Threshold> {
        match &node.kind {
            _ if node.is_text("always") => Some(Threshold::ALWAYS),
            Kind::Map(_) => self.sampler(node),
            // All use the same randomness: what passes the highest threshold passes them all.
            Kind::Seq(samplers) if !samplers.is_empty() => {
                let thresholds: Vec<_> = samplers.iter().map(|sampler| self.sampler(sampler)).collect();
                thresholds.into_iter().collect::<Option<Vec<_>>>()?.into_iter().max()
            }
            _ => self.error(
                node,
                "`keep` is neither `always`, a sampler nor a list of samplers",
                "write `keep: always` or `keep: { probability: 1% }`",
            ),
        }
    }

    fn sampler(&mut self, node: &Node) -> Option<Threshold> {
        let before = self.diagnostics.0.len();
        let mut fields = Fields::of(node, "a sampler", self.diagnostics)?;
        let probability = fields.take("probability");
        self.later(&mut fields, &["adaptive", "rare", "rate", "slowest"]);
        fields.finish(self.diagnostics);
        match probability {
            Some(node) => units::read(node, "`probability`", units::probability, self.diagnostics).map(threshold),
            None if self.diagnostics.0.len() == before => self.error(node, "no sampler", "write `{ probability: 1% }`"),
            None => None,
        }
    }

    /// Names what a later version has.
    fn later(&mut self, fields: &mut Fields<'_>, names: &[&'static str]) {
        for name in names {
            if let Some(node) = fields.take(name) {
                self.diagnostics.error(&node.at, format!("`{name}` is not available yet"));
            }
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
    place: &mut Option<(T, &'a Location)>,
    value: Option<T>,
    diagnostics: &mut Diagnostics,
) {
    if let Some((_, first)) = place {
        diagnostics
            .error(&node.at, format!("`{name}` stands in two files"))
            .also(first, "the first is here")
            .hint("the files are read as one list: write it in one of them");
    } else if let Some(value) = value {
        *place = Some((value, &node.at));
    }
}

#[cfg(test)]
mod tests;
