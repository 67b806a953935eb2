//! Refinery's samplers that learn.
//!
//! Source: Refinery 3, `rules.md`, `sample/*.go`, and dynsampler-go. All of them count a trace as its spans, with their events and links.

use super::{
    draft::{Missing, flow},
    refinery::paths,
};
use crate::{
    diagnostic::Diagnostics,
    yaml::{Fields, Node},
};

/// Reads them out of one file.
#[derive(Default)]
pub struct Dynamic {
    /// Paths whose values in all spans are asked for by now.
    values: Vec<String>,
}

/// What `keep` takes, and remarks on it; none of the first where everything is kept.
pub type Read = Result<(Option<String>, Vec<String>), Missing>;

/// What a sampler comes to.
enum Goal {
    /// One of so many.
    Share(u64),
    /// Spans a second.
    Throughput(u64),
}

/// A policy file has no more paths for `values(…)`: they take memory of every span.
const VALUES_MAX: usize = 8;
/// A sampler has no more keys.
const KEYS_MAX: usize = 16;
/// Where no goal is given.
const SHARE: u64 = 10;
const THROUGHPUT: u64 = 100;

/// How they learn.
const LEARNING: [&str; 9] = [
    "ClearFrequency",
    "UpdateFrequency",
    "LookbackFrequency",
    "AdjustmentInterval",
    "Weight",
    "AgeOutValue",
    "BurstMultiple",
    "BurstDetectionDelay",
    "InitialSampleRate",
];

impl Dynamic {
    /// A sampler of this name. None is a mistake, which is then in the diagnostics.
    pub fn read(&mut self, name: &str, settings: &Node, d: &mut Diagnostics) -> Option<Read> {
        let mut remarks = Vec::new();
        let mut fields = Fields::of(settings, "a sampler", d)?;
        let mut number = |field, otherwise| {
            let given = fields.take(field).map_or(Some(0), |node| node.as_u64(field, d))?;
            Some(if given == 0 { otherwise } else { given })
        };
        let goal = match name {
            "DynamicSampler" => Goal::Share(number("SampleRate", SHARE)?),
            "EMADynamicSampler" => Goal::Share(number("GoalSampleRate", SHARE)?),
            "EMAThroughputSampler" | "WindowedThroughputSampler" | "TotalThroughputSampler" => {
                Goal::Throughput(number("GoalThroughputPerSec", THROUGHPUT)?)
            }
            _ => return Some(Err(Missing(format!("`{name}` is no sampler of Refinery's")))),
        };
        let of_cluster = flag(&mut fields, "UseClusterSize");
        let by_length = flag(&mut fields, "UseTraceLength");
        let names = fields.take("FieldList").map_or(Some(&[][..]), |node| node.as_seq("`FieldList`", d))?;
        let names = names.iter().map(|node| node.as_str("a field", d)).collect::<Option<Vec<_>>>()?;
        fields.take("MaxKeys");
        fields.take("SummarizeMode");
        let learning: Vec<_> = LEARNING.into_iter().filter(|name| fields.take(name).is_some()).collect();
        fields.finish(d);
        let goal = match goal {
            Goal::Share(1) => return Some(Ok((None, remarks))),
            Goal::Share(rate) => {
                remarks.push(format!(
                    "{name}: to Refinery one of {rate} spans, events and links counted; here one of {rate} traces."
                ));
                format!("probability: 1/{rate}")
            }
            Goal::Throughput(spans) => {
                let whose = if of_cluster { "the cluster" } else { "each node" };
                remarks.push(format!(
                    "GoalThroughputPerSec: Refinery's is of {whose}, with events and links counted; here it is of all workers \
                     together, and of spans alone."
                ));
                format!("spans_per_second: {spans}")
            }
        };
        if matches!(name, "WindowedThroughputSampler" | "TotalThroughputSampler") {
            remarks.push(format!(
                "By {name} each kind has an even part of the goal. Here frequent ones have more; `rate` with the same `by` is even, \
                 and a ceiling."
            ));
        }
        if !learning.is_empty() {
            remarks.push(format!("{}: there is nothing to set in how `adaptive` learns.", learning.join(", ")));
        }
        let mut by: Vec<_> = names.iter().flat_map(|name| self.keys(name, &mut remarks)).collect();
        by.extend(by_length.then(|| "trace.span_count".to_owned()));
        if by.len() > KEYS_MAX {
            return Some(Err(Missing(format!("its fields are {} keys, and {KEYS_MAX} are possible", by.len()))));
        }
        let by: Vec<_> = by.iter().map(|path| flow(path)).collect();
        let by = if by.is_empty() { String::new() } else { format!(", by: [{}]", by.join(", ")) };
        Some(Ok((Some(format!("{{ adaptive: {{ {goal}{by} }} }}")), remarks)))
    }

    /// Of a field of the root its value, of another all values that spans have: on the span, or on its resource.
    fn keys(&mut self, name: &str, remarks: &mut Vec<String>) -> Vec<String> {
        if let Some(name) = name.strip_prefix("root.") {
            return paths("root.", name);
        }
        let all = paths("", name);
        let new = all.iter().filter(|path| !self.values.contains(path)).cloned().collect::<Vec<_>>();
        if self.values.len() + new.len() > VALUES_MAX {
            remarks.push(format!(
                "{name}: all spans are looked at for {VALUES_MAX} paths at most, in all policies; of this the root's value counts."
            ));
            return paths("root.", name);
        }
        self.values.extend(new);
        all.iter().map(|path| format!("values({path})")).collect()
    }
}

fn flag(fields: &mut Fields<'_>, name: &'static str) -> bool {
    fields.take(name).is_some_and(|node| node.is_text("true"))
}
