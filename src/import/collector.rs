//! The Collector's `tail_sampling` processor.
//!
//! Source: opentelemetry-collector-contrib, `processor/tailsamplingprocessor`, v0.160; what other versions do is in [`Version`].

mod fields;
mod leaf;

use super::draft::{Action, Draft, Entry, Missing, Policy, checked};
use crate::{
    diagnostic::Diagnostics,
    yaml::{Fields, Kind, Node},
};
use fields::{number, text, texts};
use leaf::{Leaf, block, rate};

/// A release of the Collector, by its minor number: v0.160 is 160.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32);

/// Reads the processor out of a whole collector configuration, out of its `processors`, or from its own block. `processor` says
/// which, where there are several.
///
/// Mistakes go to `diagnostics`, and then there is nothing.
pub fn collector(
    root: &Node,
    processor: Option<&str>,
    version: Version,
    diagnostics: &mut Diagnostics,
) -> Option<Draft> {
    let block = find(root, processor, diagnostics)?;
    let before = diagnostics.0.len();
    let mut fields = Fields::of(block, "`tail_sampling`", diagnostics)?;
    let policies = fields.require("policies", "a list of policies", diagnostics)?;
    let mut draft = Draft { remarks: remarks(&mut fields), ..Draft::default() };
    let mut reader = Reader { version, diagnostics, salt: None, limits: false };
    for node in policies.as_seq("`policies`", reader.diagnostics)? {
        let Some(entry) = reader.policy(node) else { continue };
        if draft.entries.iter().any(|before| before.name == entry.name) {
            reader.diagnostics.error(&node.at, format!("the Collector refuses two policies named `{}`", entry.name));
        }
        draft.entries.push(entry);
    }
    draft.salt = reader.salt;
    if reader.limits {
        draft.remarks.extend(LIMITS.map(str::to_owned));
    }
    (diagnostics.0.len() == before).then_some(draft)
}

/// A sub-policy of a `composite` that has no allocation has an even share, and before it had nothing.
const EVEN_SHARES: Version = Version(159);

/// What differs wherever there is a limit.
const LIMITS: [&str; 4] = [
    "Rates: the Collector's are of each Collector and follow its clock; here they are of all workers together, and a second is one \
     of the records.",
    "The Collector lets through what comes first. Here what is above a rate is cut by randomness, and the weights say so: about as \
     much is kept, but not the same traces.",
    "In the Collector a rate is also used up by traces that other policies keep; here only by those that no other keeps for \
     certain. So all policies together may keep more.",
    "The Collector never keeps a trace that is larger than a burst; here it is kept when as much is saved up as can be.",
];

struct Reader<'d> {
    version: Version,
    diagnostics: &'d mut Diagnostics,
    /// Of the first probability.
    salt: Option<String>,
    /// Some policy has a limit.
    limits: bool,
}

/// A policy, with remarks on it.
type Imported = Result<(Policy, Vec<String>), Missing>;

/// What all must say yes, and remarks on it.
#[derive(Default)]
struct Asked {
    conditions: Vec<String>,
    samplers: Vec<String>,
    remarks: Vec<String>,
}

// === impl Version ===

impl Default for Version {
    fn default() -> Self {
        Self(160)
    }
}

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let minor = text.trim_start_matches('v').split('.').nth(1).and_then(|minor| minor.parse().ok());
        minor.map(Self).ok_or_else(|| format!("`{text}` is no version of the Collector; write 0.160"))
    }
}

// === impl Asked ===

impl Asked {
    fn add(&mut self, (leaf, remarks): (Leaf, Vec<String>)) {
        self.remarks.extend(remarks);
        match leaf {
            Leaf::Condition(when) => self.conditions.push(when),
            Leaf::Sampler(sampler) => self.samplers.push(sampler),
        }
    }

    fn keep(self, keep: fn(Vec<String>) -> Action) -> Imported {
        let Self { conditions, samplers, remarks } = self;
        Ok((checked(Policy { when: joined(conditions), action: keep(samplers) })?, remarks))
    }

    fn drop(self) -> Imported {
        if !self.samplers.is_empty() {
            return Err(Missing("it drops what a sampler picks".into()));
        }
        self.keep(|_| Action::Drop)
    }

    /// In a composite: so many spans a second, counted from one second to the next.
    fn below(mut self, spans: u64, is_last: bool) -> Imported {
        let passes = !self.samplers.is_empty() && !is_last;
        if passes {
            self.remarks.push(
                "In the Collector what its sampler does not pick goes on to the next, and what is above its rate does not. Here \
                 both do."
                    .into(),
            );
        }
        if spans == 0 {
            self.remarks.push("Nothing is allocated to it: of what it matches nothing is kept.".into());
            self.samplers.push("{ probability: 0% }".into());
        } else {
            self.samplers.push(rate("spans_per_second", spans, "1s"));
        }
        self.keep(if passes { Action::KeepOrPass } else { Action::Keep })
    }
}

// === impl Reader ===

/// None is a mistake, which is then in the diagnostics.
impl Reader<'_> {
    fn policy(&mut self, node: &Node) -> Option<Entry> {
        let mut fields = Fields::of(node, "a policy", self.diagnostics)?;
        let name = fields.require("name", "write `name: errors`", self.diagnostics)?;
        let name = name.as_str("`name`", self.diagnostics)?.trim().to_owned();
        let kind = fields.require("type", "write `type: status_code`", self.diagnostics)?;
        let kind = kind.as_str("`type`", self.diagnostics)?;
        let read = match kind {
            "composite" => {
                let block = block(&mut fields, "composite", self.diagnostics)?;
                self.composite(&name, block)?
            }
            "drop" => self.all(&mut fields, "drop", "drop_sub_policy")?.and_then(Asked::drop),
            kind => self.asked(kind, &mut fields)?.and_then(|asked| asked.keep(Action::Keep)),
        };
        Some(entry(name, read))
    }

    /// What a policy asks that is neither a `drop` nor a `composite`.
    fn asked(&mut self, kind: &str, fields: &mut Fields<'_>) -> Option<Result<Asked, Missing>> {
        if kind == "and" {
            return self.all(fields, "and", "and_sub_policy");
        }
        Some(self.leaf(kind, fields)?.map(|read| {
            let mut asked = Asked::default();
            asked.add(read);
            asked
        }))
    }

    /// The sub-policies of `and` and `drop`: all must say yes.
    fn all(
        &mut self,
        fields: &mut Fields<'_>,
        block: &'static str,
        list: &'static str,
    ) -> Option<Result<Asked, Missing>> {
        let node = fields.require(block, "its sub-policies", self.diagnostics)?;
        let mut inner = Fields::of(node, "the block of a policy", self.diagnostics)?;
        let nodes = inner.require(list, "a list of policies", self.diagnostics)?.as_seq(list, self.diagnostics)?;
        let mut all = Ok(Asked::default());
        for (at, node) in (1..).zip(nodes) {
            let mut fields = Fields::of(node, "a policy", self.diagnostics)?;
            let kind = fields.require("type", "write `type: status_code`", self.diagnostics)?;
            let kind = kind.as_str("`type`", self.diagnostics)?;
            let read = self.leaf(kind, &mut fields)?;
            let Ok(asked) = &mut all else { continue };
            match read {
                Ok(read) => asked.add(read),
                Err(missing) => {
                    all = Err(missing);
                    continue;
                }
            }
            if is_limit(kind) && at < nodes.len() {
                asked.remarks.push(
                    "In the Collector its rate is also used up by what the sub-policies behind it turn down; here it is not."
                        .into(),
                );
            }
        }
        Some(all)
    }

    /// Its sub-policies are asked one after the other. The first that says yes decides, and what is above its rate is not kept,
    /// whatever the others say.
    fn composite(&mut self, name: &str, mut fields: Fields<'_>) -> Option<Imported> {
        let most = number(&mut fields, "max_total_spans_per_second", self.diagnostics)?;
        let order = texts(&mut fields, "policy_order", self.diagnostics)?;
        let nodes = fields.require("composite_sub_policy", "a list of policies", self.diagnostics)?;
        let nodes = nodes.as_seq("`composite_sub_policy`", self.diagnostics)?;
        let allocated = allocations(&mut fields, self.diagnostics)?;
        fields.finish(self.diagnostics);
        self.limits = true;
        let (mut entries, mut names, mut all) = (Vec::new(), Vec::new(), 0);
        for (at, node) in (1..).zip(nodes) {
            let mut fields = Fields::of(node, "a policy", self.diagnostics)?;
            let sub = text(&mut fields, "name", self.diagnostics)?;
            let kind = fields.require("type", "write `type: status_code`", self.diagnostics)?;
            let kind = kind.as_str("`type`", self.diagnostics)?;
            let share = match allocated.iter().rev().find(|(policy, _)| *policy == sub) {
                Some((_, percent)) if *percent > 0 => *percent as f64 / 100.0 * most as f64,
                None if self.version < EVEN_SHARES => 0.0,
                _ => most as f64 / nodes.len() as f64,
            };
            let spans = (share as u64).min(most);
            let is_last = at == nodes.len();
            let below = |asked: Asked| asked.below(spans, is_last);
            match self.asked(kind, &mut fields)?.and_then(below) {
                Ok(read) => entries.push(entry(format!("{name}/{sub}"), Ok(read))),
                Err(Missing(why)) => return Some(Err(Missing(format!("`{sub}` in it: {why}")))),
            }
            names.push(sub);
            all += spans;
        }
        if entries.is_empty() {
            return Some(Err(Missing("there is nothing in it, and it keeps nothing".into())));
        }
        let mut remarks = Vec::new();
        if !order.is_empty() && order != names {
            let order = "policy_order: the Collector goes by the order of composite_sub_policy, whatever stands there.";
            remarks.push(order.to_owned());
        }
        if all > most {
            remarks.push(format!(
                "rate_allocation comes to {all} spans a second. The Collector holds max_total_spans_per_second: {most} for each \
                 sub-policy, not for all together, and so does this; `budget: {{ spans_per_second: {most} }}` in the group would."
            ));
        }
        Some(Ok((Policy { when: None, action: Action::First(entries) }, remarks)))
    }
}

fn entry(name: String, read: Imported) -> Entry {
    match read {
        Ok((policy, remarks)) => Entry { name, remarks, policy: Ok(policy) },
        Err(missing) => Entry { name, remarks: Vec::new(), policy: Err(missing) },
    }
}

fn is_limit(kind: &str) -> bool {
    matches!(kind, "rate_limiting" | "bytes_limiting")
}

/// Of a composite: what each sub-policy may have, in per cent of all.
fn allocations(fields: &mut Fields<'_>, d: &mut Diagnostics) -> Option<Vec<(String, u64)>> {
    let Some(node) = fields.take("rate_allocation") else { return Some(Vec::new()) };
    let nodes = node.as_seq("`rate_allocation`", d)?;
    let read = |node| {
        let mut fields = Fields::of(node, "an allocation", d)?;
        let policy = text(&mut fields, "policy", d)?;
        let percent = number(&mut fields, "percent", d)?;
        fields.finish(d);
        Some((policy, percent))
    };
    nodes.iter().map(read).collect()
}

/// None where there is nothing to ask.
fn joined(mut conditions: Vec<String>) -> Option<String> {
    conditions.retain(|condition| condition != "true");
    match conditions.len() {
        0 => None,
        1 => conditions.pop(),
        _ => Some(conditions.join(" and ")),
    }
}

/// What the settings around the policies mean here.
fn remarks(fields: &mut Fields<'_>) -> Vec<String> {
    let mut remarks = vec!["Imported from the Collector's tail_sampling.".to_owned()];
    let shown = |node: &Node| node.at.text().trim().to_owned();
    if let Some(wait) = fields.take("decision_wait") {
        remarks.push(format!(
            "decision_wait: {}. Tailwater decides when a trace is complete; `completion: {{ max_wait: … }}` in its configuration \
             bounds the wait.",
            shown(wait)
        ));
    }
    if fields.take("sample_on_first_match").is_some_and(|node| node.is_text("true")) {
        remarks.push(
            "sample_on_first_match decided which policy is named, and which rates are used up, not what is kept otherwise."
                .to_owned(),
        );
    }
    if fields.take("num_traces").is_some() {
        remarks.push("num_traces: memory is bounded in bytes here, by `memory: { buffer: … }`.".to_owned());
    }
    if fields.take("decision_cache").is_some() {
        remarks.push("decision_cache: every verdict is remembered for `late_window`.".to_owned());
    }
    if fields.take("sampling_strategy").is_some_and(|node| node.is_text("span-ingest")) {
        remarks
            .push("sampling_strategy: span-ingest judges each batch alone; here the whole trace is judged.".to_owned());
    }
    remarks
}

/// The settings of the processor.
fn find<'n>(root: &'n Node, processor: Option<&str>, d: &mut Diagnostics) -> Option<&'n Node> {
    let has = |node: &Node, name: &str| node.get(name).is_some();
    if has(root, "policies") && !has(root, "processors") {
        return Some(root);
    }
    let among = root.get("processors").unwrap_or(root);
    let Kind::Map(entries) = &among.kind else {
        d.error(&root.at, "no `tail_sampling` here")
            .hint("a whole collector configuration, its `processors`, or the processor's block");
        return None;
    };
    let named = |key: &'n Node| match &key.kind {
        Kind::Scalar { text, .. } => text.as_str(),
        _ => "",
    };
    let found: Vec<(&str, &Node)> = entries.iter().map(|(key, value)| (named(key), value)).collect();
    let found: Vec<_> = found
        .into_iter()
        .filter(|(name, _)| match processor {
            Some(processor) => *name == processor,
            None => name.split('/').next() == Some("tail_sampling"),
        })
        .collect();
    match found.as_slice() {
        [(_, block)] => Some(block),
        [] => {
            let name = processor.unwrap_or("tail_sampling");
            d.error(&among.at, format!("no processor `{name}`"))
                .hint("a whole collector configuration, its `processors`, or the processor's block");
            None
        }
        several => {
            let names: Vec<_> = several.iter().map(|(name, _)| *name).collect();
            d.error(&among.at, format!("several processors: {}", names.join(", "))).hint("say which, with --processor");
            None
        }
    }
}
