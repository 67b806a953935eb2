//! The Collector's `tail_sampling` processor.
//!
//! Source: opentelemetry-collector-contrib, `processor/tailsamplingprocessor`, v0.160; what other versions do is in [`Version`].

use regex::Regex;

use super::draft::{Action, Draft, Entry, Missing, Policy, quoted};
use crate::{
    decide::condition,
    diagnostic::{Diagnostics, Location},
    yaml::{Fields, Kind, Node},
};

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

/// v0.157: a latency equal to the threshold no longer counts.
const LATENCY_ABOVE: Version = Version(157);
/// Below it the minimum or maximum that is not given is 0 and not without bound.
const NUMBERS_UNBOUNDED: Version = Version(154);
/// Limits are buckets. Before, what was let through was counted from one second of the wall clock to the next.
const SAVED_UP: Version = Version(153);
/// A sub-policy of a `composite` that has no allocation has an even share, and before it had nothing.
const EVEN_SHARES: Version = Version(159);

/// Where `hash_salt` is not set.
const DEFAULT_SALT: &str = "default-hash-seed";

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

/// A policy without its name.
enum Leaf {
    Condition(String),
    /// What `keep` takes beside `always`.
    Sampler(String),
}

/// With remarks on it.
type Read = Result<(Leaf, Vec<String>), Missing>;

/// The same.
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

    fn leaf(&mut self, kind: &str, fields: &mut Fields<'_>) -> Option<Read> {
        match kind {
            "always_sample" => condition("true"),
            "trace_flags" => condition("any(flags - flags / 2 * 2 == 1)"),
            "latency" => {
                let block = block(fields, "latency", self.diagnostics)?;
                self.latency(block)
            }
            "numeric_attribute" => {
                let block = block(fields, "numeric_attribute", self.diagnostics)?;
                self.numeric(block)
            }
            "probabilistic" => {
                let block = block(fields, "probabilistic", self.diagnostics)?;
                self.probabilistic(block)
            }
            "not" => {
                let block = block(fields, "not", self.diagnostics)?;
                self.not(block)
            }
            "status_code" => status_code(block(fields, "status_code", self.diagnostics)?, self.diagnostics),
            "string_attribute" => string(block(fields, "string_attribute", self.diagnostics)?, self.diagnostics),
            "boolean_attribute" => boolean(block(fields, "boolean_attribute", self.diagnostics)?, self.diagnostics),
            "trace_state" => trace_state(block(fields, "trace_state", self.diagnostics)?, self.diagnostics),
            "span_count" => span_count(block(fields, "span_count", self.diagnostics)?, self.diagnostics),
            "ottl_condition" => ottl(block(fields, "ottl_condition", self.diagnostics)?, self.diagnostics),
            "rate_limiting" => {
                let block = block(fields, "rate_limiting", self.diagnostics)?;
                self.limit(block, "spans_per_second", Vec::new())
            }
            "bytes_limiting" => {
                let block = block(fields, "bytes_limiting", self.diagnostics)?;
                let counted = "The Collector counts a trace as it would be written, resources and scopes included; here its spans \
                               are counted.";
                self.limit(block, "bytes_per_second", vec![counted.to_owned()])
            }
            "composite" | "drop" | "and" => {
                Some(Err(Missing(format!("the Collector takes no `{kind}` in another policy"))))
            }
            kind => Some(Err(Missing(format!("`{kind}` is no policy type of the Collector itself")))),
        }
    }

    fn not(&mut self, mut fields: Fields<'_>) -> Option<Read> {
        let node = fields.require("not_sub_policy", "the policy to turn round", self.diagnostics)?;
        let mut inner = Fields::of(node, "a policy", self.diagnostics)?;
        let kind = inner.require("type", "write `type: status_code`", self.diagnostics)?;
        let kind = kind.as_str("`type`", self.diagnostics)?;
        Some(match self.leaf(kind, &mut inner)? {
            Ok((Leaf::Condition(when), remarks)) => Ok((Leaf::Condition(format!("not ({when})")), remarks)),
            Ok((Leaf::Sampler(_), _)) => Err(Missing("it keeps what a sampler does not pick".into())),
            missing => missing,
        })
    }

    /// So many of a unit a second, and what may be saved up of them: twice as many where nothing is said.
    fn limit(&mut self, mut fields: Fields<'_>, unit: &'static str, mut remarks: Vec<String>) -> Option<Read> {
        let per_second = number(&mut fields, unit, self.diagnostics)?;
        let capacity = number(&mut fields, "burst_capacity", self.diagnostics)?;
        fields.finish(self.diagnostics);
        if per_second == 0 {
            return condition("false");
        }
        self.limits = true;
        let ms = match capacity {
            _ if self.version < SAVED_UP => 1_000,
            0 => 2_000,
            capacity => capacity.saturating_mul(1_000) / per_second,
        };
        let held = ms.clamp(1_000, 600_000);
        if held != ms {
            remarks.push(format!(
                "burst_capacity: {capacity}. Here at least a second of a rate is saved up, and at most ten minutes."
            ));
        }
        let burst = if held % 1_000 == 0 { format!("{}s", held / 1_000) } else { format!("{held}ms") };
        Some(Ok((Leaf::Sampler(rate(unit, per_second, &burst)), remarks)))
    }

    fn latency(&mut self, mut fields: Fields<'_>) -> Option<Read> {
        let mut ms = |name| number(&mut fields, name, self.diagnostics);
        let (lower, upper) = (ms("threshold_ms"), ms("upper_threshold_ms"));
        fields.finish(self.diagnostics);
        let (lower, upper) = (lower?, upper?);
        // Whole milliseconds are compared: above 5000 means from 5001 on.
        let above = |ms: u64| format!("trace.duration >= {}ms", ms.saturating_add(1));
        let mut remarks = Vec::new();
        Some(Ok((
            Leaf::Condition(match upper {
                0 if self.version < LATENCY_ABOVE => format!("trace.duration >= {lower}ms"),
                0 => above(lower),
                _ => {
                    remarks.push(
                        "The Collector judges after each span, and keeps a trace that was between the bounds at any moment, \
                         also one that grew beyond them: what it keeps depends on the order of spans. Here the whole trace counts."
                            .to_owned(),
                    );
                    format!("{} and trace.duration < {}ms", above(lower), upper.saturating_add(1))
                }
            }),
            remarks,
        )))
    }

    fn numeric(&mut self, mut fields: Fields<'_>) -> Option<Read> {
        let d = &mut *self.diagnostics;
        let key = text(&mut fields, "key", d);
        let (min, max) = (integer(&mut fields, "min_value", d), integer(&mut fields, "max_value", d));
        let inverted = flag(&mut fields, "invert_match", d);
        fields.finish(d);
        let (key, min, max, inverted) = (key?, min?, max?, inverted?);
        let mut remarks = Vec::new();
        if min == 0 && max == 0 {
            return Some(Err(Missing("without a minimum and a maximum the Collector fails".into())));
        }
        if min == 0 || max == 0 {
            let which = if min == 0 { "min_value" } else { "max_value" };
            if self.version < NUMBERS_UNBOUNDED {
                remarks.push(format!("Before v0.154 a {which} of 0 was 0; here it is none, as it is since."));
            } else {
                remarks.push(format!("{which}: 0 is none to the Collector."));
            }
        }
        let reads_zero = min <= 0 && max >= 0;
        let bounds = |path: &str| {
            let lower = if min != 0 { format!(" and {path} >= {min}") } else { Default::default() };
            let upper = if max != 0 { format!(" and {path} <= {max}") } else { Default::default() };
            let integer = format!("IsInt({path}){lower}{upper}");
            if reads_zero { format!("{integer} or {path} != nil and not IsInt({path})") } else { integer }
        };
        if reads_zero {
            remarks.push(
                "The Collector reads what is no integer (a text, a fraction) as 0, which is within the bounds.".into(),
            );
        }
        attribute_condition(&key, inverted, bounds, remarks)
    }
    fn probabilistic(&mut self, mut fields: Fields<'_>) -> Option<Read> {
        let d = &mut *self.diagnostics;
        let salt = fields.take("hash_salt").filter(|node| !node.is_null());
        let salt = salt.map_or(Some(""), |node| node.as_str("`hash_salt`", d));
        let node = fields.take("sampling_percentage");
        let percentage = node.map_or(Some(0.0), |node| {
            let text = node.as_str("`sampling_percentage`", d)?;
            let percentage = text.parse::<f64>().ok().filter(|percentage| percentage.is_finite());
            if percentage.is_none() {
                d.error(&node.at, "`sampling_percentage` must be a number");
            }
            percentage
        });
        fields.finish(d);
        let (salt, percentage) = (salt?, percentage?);
        let salt = if salt.is_empty() { DEFAULT_SALT } else { salt };
        let known = self.salt.get_or_insert_with(|| salt.to_owned());
        let mut remarks = Vec::new();
        if *known != salt {
            remarks.push(format!(
                "hash_salt: {}. A policy file has one salt, that of its first probability: the share is the same here, the traces \
                 picked are not.",
                quoted(salt)
            ));
        }
        let percentage = percentage.clamp(0.0, 100.0);
        Some(Ok((Leaf::Sampler(format!("{{ probability: {percentage}% }}")), remarks)))
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

fn rate(unit: &str, per_second: u64, burst: &str) -> String {
    // More is no limit, and no rate of ours either.
    let per_second = per_second.min(1_000_000_000);
    format!("{{ rate: {{ {unit}: {per_second}, burst: {burst} }} }}")
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

/// The block of a policy that is named like its type.
fn block<'n>(fields: &mut Fields<'n>, kind: &'static str, d: &mut Diagnostics) -> Option<Fields<'n>> {
    let node = fields.require(kind, "the policy's own settings", d)?;
    Fields::of(node, "the block of a policy", d)
}

fn condition(when: impl Into<String>) -> Option<Read> {
    Some(Ok((Leaf::Condition(when.into()), Vec::new())))
}

/// Attributes are looked for on spans and on their resources; inverted, none of them may be such.
fn attribute_condition(
    key: &str,
    inverted: bool,
    such: impl Fn(&str) -> String,
    mut remarks: Vec<String>,
) -> Option<Read> {
    let key = quoted(key);
    let of_span = such(&format!("attributes[{key}]"));
    let of_resource = such(&format!("resource.attributes[{key}]"));
    if inverted {
        remarks.push("invert_match: true where no span and no resource has it, also where the key is nowhere.".into());
    }
    let quantifier = if inverted { "none" } else { "any" };
    Some(Ok((Leaf::Condition(format!("{quantifier}({of_span} or {of_resource})")), remarks)))
}

fn status_code(mut fields: Fields<'_>, d: &mut Diagnostics) -> Option<Read> {
    let node = fields.require("status_codes", "write `status_codes: [ERROR]`", d)?;
    let codes = node.as_seq("`status_codes`", d)?;
    fields.finish(d);
    if codes.is_empty() {
        d.error(&node.at, "the Collector refuses an empty list of status codes");
        return None;
    }
    let mut any = Vec::new();
    for code in codes {
        match code.as_str("a status code", d)? {
            code @ ("OK" | "ERROR" | "UNSET") => any.push(format!("status.code == STATUS_CODE_{code}")),
            other => {
                d.error(&code.at, format!("`{other}` is no status code")).hint("they are OK, ERROR and UNSET");
                return None;
            }
        }
    }
    condition(format!("any({})", any.join(" or ")))
}

fn string(mut fields: Fields<'_>, d: &mut Diagnostics) -> Option<Read> {
    let key = text(&mut fields, "key", d);
    let values = texts(&mut fields, "values", d);
    let (regex, inverted) = (flag(&mut fields, "enabled_regex_matching", d), flag(&mut fields, "invert_match", d));
    fields.take("cache_max_size");
    fields.finish(d);
    let (key, mut values, regex, inverted) = (key?, values?, regex?, inverted?);
    values.retain(|value| !value.is_empty());
    if values.is_empty() {
        return condition(if inverted { "true" } else { "false" });
    }
    if !regex {
        let equal = |path: &str| {
            values.iter().map(|value| format!("{path} == {}", quoted(value))).collect::<Vec<_>>().join(" or ")
        };
        return attribute_condition(&key, inverted, equal, Vec::new());
    }
    let mut matches_empty = false;
    for value in &values {
        match Regex::new(value) {
            Ok(regex) => matches_empty |= regex.is_match(""),
            Err(_) => return Some(Err(Missing(format!("the pattern {} is not understood here", quoted(value))))),
        }
    }
    // Texts only. An empty one on a span is passed over; on a resource it is matched, and so is what is no text, as if empty.
    let matching = |path: &str| {
        let any: Vec<_> = values.iter().map(|value| format!("IsMatch({path}, {})", quoted(value))).collect();
        let any = any.join(" or ");
        match (path.starts_with("resource."), matches_empty) {
            (true, true) => format!("{path} != nil and (not IsString({path}) or {any})"),
            (false, true) => format!("IsString({path}) and {path} != \"\" and ({any})"),
            (_, false) => format!("IsString({path}) and ({any})"),
        }
    };
    attribute_condition(&key, inverted, matching, Vec::new())
}

fn boolean(mut fields: Fields<'_>, d: &mut Diagnostics) -> Option<Read> {
    let (key, value) = (text(&mut fields, "key", d), flag(&mut fields, "value", d));
    let inverted = flag(&mut fields, "invert_match", d);
    fields.finish(d);
    let (key, value, inverted) = (key?, value?, inverted?);
    let mut remarks = Vec::new();
    if !value {
        remarks.push("The Collector reads what is no boolean as false.".to_owned());
    }
    let equal = |path: &str| match value {
        true => format!("{path} == true"),
        false => format!("{path} == false or {path} != nil and not IsBool({path})"),
    };
    attribute_condition(&key, inverted, equal, remarks)
}

fn trace_state(mut fields: Fields<'_>, d: &mut Diagnostics) -> Option<Read> {
    let (key, values) = (text(&mut fields, "key", d), texts(&mut fields, "values", d));
    fields.finish(d);
    let (key, mut values) = (key?, values?);
    // W3C's bound on an entry; the Collector passes over longer ones.
    values.retain(|value| !value.is_empty() && key.len() + value.len() < 256);
    if values.is_empty() {
        return condition("false");
    }
    let any: Vec<_> =
        values.iter().map(|value| format!("trace_state[{}] == {}", quoted(&key), quoted(value))).collect();
    condition(format!("any({})", any.join(" or ")))
}

fn span_count(mut fields: Fields<'_>, d: &mut Diagnostics) -> Option<Read> {
    let mut count = |name| number(&mut fields, name, d);
    let (min, max) = (count("min_spans"), count("max_spans"));
    fields.finish(d);
    let (min, max) = (min?, max?);
    condition(match (min, max) {
        (0, 0) => "true".to_owned(),
        (min, 0) => format!("trace.span_count >= {min}"),
        (0, max) => format!("trace.span_count <= {max}"),
        (min, max) => format!("trace.span_count >= {min} and trace.span_count <= {max}"),
    })
}

fn ottl(mut fields: Fields<'_>, d: &mut Diagnostics) -> Option<Read> {
    let mode = fields.take("error_mode").map_or(Some("ignore"), |node| node.as_str("`error_mode`", d));
    let (spans, events) = (texts(&mut fields, "span", d), texts(&mut fields, "spanevent", d));
    let at: Location = fields.at.clone();
    fields.finish(d);
    let (mode, spans, events) = (mode?, spans?, events?);
    let mut remarks = Vec::new();
    if mode == "propagate" {
        remarks.push("error_mode: propagate leaves the policy out where a condition fails; here a condition that fails is false.".into());
    }
    let any = |conditions: &[String]| {
        conditions.iter().map(|condition| format!("({})", condition.trim())).collect::<Vec<_>>().join(" or ")
    };
    let mut parts = Vec::new();
    if !spans.is_empty() {
        parts.push(format!("any({})", any(&spans)));
    }
    if !events.is_empty() {
        parts.push(format!("any_event({})", any(&events)));
    }
    if parts.is_empty() {
        d.error(&at, "the Collector refuses an `ottl_condition` without conditions");
        return None;
    }
    let when = if parts.len() > 1 { format!("({})", parts.join(" or ")) } else { parts.remove(0) };
    Some(Ok((Leaf::Condition(when), remarks)))
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

/// A condition that is not understood is not imported.
pub(super) fn checked(policy: Policy) -> Result<Policy, Missing> {
    let Some(when) = &policy.when else { return Ok(policy) };
    match condition::read(when) {
        Ok(_) => Ok(policy),
        Err(errors) => {
            let error = &errors[0];
            Err(Missing(format!("{}, in {when}", error.message)))
        }
    }
}

fn text(fields: &mut Fields<'_>, name: &'static str, d: &mut Diagnostics) -> Option<String> {
    plain(fields.require(name, "its name", d)?, name, d)
}

/// A text as the Collector reads it out of its configuration: `$$` stands for `$`, and `${…}` for what is elsewhere.
fn plain(node: &Node, name: &'static str, d: &mut Diagnostics) -> Option<String> {
    let text = node.as_str(name, d)?;
    let parts: Vec<&str> = text.split("$$").collect();
    if parts.iter().any(|part| part.contains("${")) {
        d.error(&node.at, "the Collector puts something else in the place of `${…}`").hint("write what it stands for");
        return None;
    }
    Some(parts.join("$"))
}

fn texts(fields: &mut Fields<'_>, name: &'static str, d: &mut Diagnostics) -> Option<Vec<String>> {
    let Some(node) = fields.take(name) else { return Some(Vec::new()) };
    if node.is_null() {
        return Some(Vec::new());
    }
    let nodes = node.as_seq(name, d)?;
    nodes.iter().map(|node| if node.is_null() { Some(String::new()) } else { plain(node, name, d) }).collect()
}

fn flag(fields: &mut Fields<'_>, name: &'static str, d: &mut Diagnostics) -> Option<bool> {
    fields.take(name).map_or(Some(false), |node| node.as_bool(name, d))
}

/// Not less than 0, which it also is where it is not given.
fn number(fields: &mut Fields<'_>, name: &'static str, d: &mut Diagnostics) -> Option<u64> {
    fields.take(name).map_or(Some(0), |node| node.as_u64(name, d))
}

fn integer(fields: &mut Fields<'_>, name: &'static str, d: &mut Diagnostics) -> Option<i64> {
    let Some(node) = fields.take(name) else { return Some(0) };
    let number = node.as_str(name, d)?.parse().ok();
    if number.is_none() {
        d.error(&node.at, format!("`{name}` must be a whole number"));
    }
    number
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
