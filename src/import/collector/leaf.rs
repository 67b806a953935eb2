//! Policies that ask something by themselves.

use regex::Regex;

use super::{
    Reader, Version,
    fields::{flag, integer, number, text, texts},
};
use crate::{
    diagnostic::{Diagnostics, Location},
    import::draft::{Missing, quoted},
    yaml::Fields,
};

/// A policy without its name.
pub(super) enum Leaf {
    Condition(String),
    /// What `keep` takes beside `always`.
    Sampler(String),
}

/// With remarks on it.
pub(super) type Read = Result<(Leaf, Vec<String>), Missing>;

/// v0.157: a latency equal to the threshold no longer counts.
const LATENCY_ABOVE: Version = Version(157);
/// Below it the minimum or maximum that is not given is 0 and not without bound.
const NUMBERS_UNBOUNDED: Version = Version(154);
/// Limits are buckets. Before, what was let through was counted from one second of the wall clock to the next.
const SAVED_UP: Version = Version(153);
/// Where `hash_salt` is not set.
const DEFAULT_SALT: &str = "default-hash-seed";

// === impl Reader ===

impl Reader<'_> {
    pub(super) fn leaf(&mut self, kind: &str, fields: &mut Fields<'_>) -> Option<Read> {
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

/// The block of a policy that is named like its type.
pub(super) fn block<'n>(fields: &mut Fields<'n>, kind: &'static str, d: &mut Diagnostics) -> Option<Fields<'n>> {
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

pub(super) fn rate(unit: &str, per_second: u64, burst: &str) -> String {
    // More is no limit, and no rate of ours either.
    let per_second = per_second.min(1_000_000_000);
    format!("{{ rate: {{ {unit}: {per_second}, burst: {burst} }} }}")
}
