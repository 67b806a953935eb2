//! All estimates of a sample: for all of it, and for its parts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Estimated, Kept, QUANTILES, Unit, kept::Trace, quantile, total};

/// As `--json` writes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub source: String,
    pub records: u64,
    /// Records that hold no spans.
    pub refused_records: u64,
    pub spans: u64,
    pub by: By,
    pub all: Group,
    /// Those of most traces first.
    pub groups: Vec<Group>,
}

/// What a sample is parted by: what its roots say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Service and name of the root span
    #[default]
    Operation,
    /// Service of the root span
    Service,
}

/// Traces that have something in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// Of the root; both are missing for all together, and for traces without a root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Traces in the sample that have a weight, and those that have none, which no estimate counts.
    pub kept: u64,
    pub without_weight: u64,
    pub traces: Estimated,
    /// Some span of theirs has the status ERROR.
    pub errors: Estimated,
    /// Of the time from the first start to the last end, in milliseconds. None without traces.
    pub duration_ms: BTreeMap<&'static str, Option<Estimated>>,
}

/// What quantiles are called.
pub const NAMES: [&str; QUANTILES.len()] = ["p50", "p90", "p99", "p99.9"];

// === impl Report ===

impl Report {
    pub fn new(source: String, kept: &Kept, by: By) -> Self {
        let key = |trace: &Trace| match by {
            By::Operation => trace.operation,
            By::Service => trace.service,
        };
        let mut parts: BTreeMap<u32, Vec<&Trace>> = BTreeMap::new();
        kept.traces().for_each(|trace| parts.entry(key(trace)).or_default().push(trace));
        let named = |number: u32| match (number, by) {
            (0, _) => (None, None),
            (_, By::Service) => (Some(kept.operations.services.text(number)), None),
            (_, By::Operation) => {
                let (service, name) = kept.operations.text(number);
                (Some(service), Some(name))
            }
        };
        let of = |(number, traces): (u32, Vec<&Trace>)| {
            let (service, name) = named(number);
            Group { service, name, ..Group::of(traces.into_iter()) }
        };
        let mut groups: Vec<Group> = parts.into_iter().map(of).collect();
        // Numbers depend on the order of the records, and names do not.
        groups.sort_by(|a, b| {
            let names = |group: &Group| (group.service.clone(), group.name.clone());
            b.traces.value.total_cmp(&a.traces.value).then_with(|| names(a).cmp(&names(b)))
        });
        let &Kept { records, refused, spans, .. } = kept;
        Self { source, records, refused_records: refused, spans, by, all: Group::of(kept.traces()), groups }
    }
}

// === impl Group ===

impl Group {
    fn of<'a>(traces: impl Iterator<Item = &'a Trace>) -> Self {
        let (mut units, mut without_weight): (Vec<Unit>, u64) = (Vec::new(), 0);
        for trace in traces {
            match trace.unit() {
                Some(unit) => units.push(unit),
                None => without_weight += 1,
            }
        }
        units.sort_unstable_by_key(|unit| (unit.duration, unit.threshold, unit.failed));
        let ms = |Estimated { value, low, high }: Estimated| Estimated {
            value: value / 1e6,
            low: low / 1e6,
            high: high.map(|high| high / 1e6),
        };
        let quantiles = QUANTILES.map(|share| quantile(&units, share).map(ms));
        Self {
            service: None,
            name: None,
            kept: units.len() as u64,
            without_weight,
            traces: total(units.iter().copied()),
            errors: total(units.iter().copied().filter(|unit| unit.failed)),
            duration_ms: NAMES.into_iter().zip(quantiles).collect(),
        }
    }
}
