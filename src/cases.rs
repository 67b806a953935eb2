//! The tests beside policies: a trace as a person writes it, and what the policies are to make of it.
//!
//! The trace becomes the bytes that a producer would send, and goes through the engine that runs live.

#[cfg(test)]
mod tests;
mod trace;

use std::{fmt, path::Path, sync::Arc};

use crate::{
    assemble::{Completion, Keying},
    decide::{Action, PolicySet, percentage, threshold},
    diagnostic::{Diagnostics, Location, nearest},
    encode::Stamps,
    engine::{Past, Record, Settings},
    explain::{Explanation, Follow},
    limits,
    model::{Randomness, Threshold, TraceId},
    recording, units,
    yaml::{Fields, Kind, Node},
};
use trace::Trace;

/// A test of policies.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub at: Location,
    trace: Trace,
    /// The policies whose samplers that learn keep it.
    given: Vec<u16>,
    expect: Expect,
}

/// What is said of samplers.
struct Given {
    /// What those that learn nothing look at.
    randomness: Randomness,
    learned: Vec<u16>,
}

/// What is expected of a verdict; all that is said has to be so.
#[derive(Debug, Default)]
struct Expect {
    /// Kept or not, and by what, if that is said: None is `otherwise`.
    verdict: Option<(bool, Option<Option<usize>>)>,
    /// Policies whose conditions hold, whatever else does.
    matches: Vec<usize>,
    probability: Option<Threshold>,
}

/// A test that failed.
#[derive(Debug)]
pub struct Failure {
    /// What was expected and is not so.
    expected: Vec<String>,
    /// None where the trace was not judged.
    explanation: Option<Explanation>,
}

const EXPECT: &str = "write `expect: { keep: errors }`, `{ drop: otherwise }`, `{ matches: [errors] }`, `{ probability: 1% }`, `keep` or `drop`";

const TRACE: &str = "write `trace: [ { name: GET /healthz, status: error } ]`";

/// Time does not pass in a test: all spans are there, and then the input ends.
const SETTINGS: Settings = Settings {
    keying: Keying::Keyed,
    completion: Completion { quiet: 1000, completeness: None, max_wait: 10_000, max_trace_bytes: usize::MAX },
    late_window: 1000,
    past: Past::Decide,
    // A trace may be an eighth of it.
    buffer: 16 * limits::RECORD_BYTES,
    tick_bytes: 2 * limits::RECORD_BYTES,
    output_record_bytes: 2 * limits::RECORD_BYTES,
    stamps: Stamps::NONE,
    recall: None,
};

/// Reads the `tests` of a policy file, whose root this is, if it has any. They are about all `policies`, of whatever file.
pub fn read(file: &Node, policies: &PolicySet, diagnostics: &mut Diagnostics) -> Vec<Case> {
    let Some(tests) = file.get("tests") else { return Vec::new() };
    let cases = tests.as_seq("`tests`", diagnostics).unwrap_or_default();
    let mut reader = Reader { policies, diagnostics };
    cases.iter().filter_map(|node| reader.case(node)).collect()
}

struct Reader<'r> {
    policies: &'r PolicySet,
    diagnostics: &'r mut Diagnostics,
}

// === impl Reader ===

impl Reader<'_> {
    fn case(&mut self, node: &Node) -> Option<Case> {
        let mut fields = Fields::of(node, "a test", self.diagnostics)?;
        let name = fields
            .require("name", "write `name: a failed checkout is kept`", self.diagnostics)
            .and_then(|node| node.as_str("`name`", self.diagnostics));
        let (record, trace_id) = (fields.take("record"), fields.take("trace_id"));
        // The name of a recording, or what stands beside the value of the record that the trace came in.
        let (record, beside) = match record {
            Some(node) if matches!(node.kind, Kind::Map(_)) => (None, trace::beside(node, self.diagnostics)),
            record => (record, Some(recording::Record::default())),
        };
        let trace = match record {
            Some(node) => self.recorded(node, trace_id),
            None => {
                let node = fields.require("trace", TRACE, self.diagnostics);
                node.and_then(|node| trace::read(node, beside?, self.diagnostics))
            }
        };
        if let (Some(_), Some(node)) = (record, fields.take("trace")) {
            self.diagnostics
                .error(&node.at, "a test has a `trace` or one out of a `record`, not both")
                .hint("make two tests of it; or write `record: { topic: spans }`, if that is meant");
        }
        if let (None, Some(node)) = (record, trace_id) {
            self.diagnostics.error(&node.at, "`trace_id` is of a trace in a `record`");
        }
        // A recorded trace has a randomness of its own.
        let otherwise = record.is_none().then_some(Given { randomness: Randomness(0), learned: Vec::new() });
        let given = fields.take("given").map_or(Some(otherwise), |node| self.given(node).map(Some));
        let expect = fields.require("expect", EXPECT, self.diagnostics).and_then(|node| self.expect(node));
        fields.finish(self.diagnostics);
        let mut trace = trace?;
        let given = given?;
        if let Some(Given { randomness, .. }) = given {
            self.draw(&mut trace, randomness, &node.at)?;
        }
        let given = given.map(|given| given.learned).unwrap_or_default();
        Some(Case { name: name?.to_owned(), at: node.at.clone(), trace, given, expect: expect? })
    }

    /// A file is relative to that of the test.
    fn recorded(&mut self, node: &Node, trace_id: Option<&Node>) -> Option<Trace> {
        let file = node.as_str("`record`", self.diagnostics)?;
        let id = match trace_id {
            Some(node) => {
                let id = TraceId::from_hex(node.as_str("`trace_id`", self.diagnostics)?.as_bytes());
                if id.is_none() {
                    self.diagnostics.error(&node.at, "`trace_id` must be 32 hex digits, not all 0");
                }
                Some(id?)
            }
            None => None,
        };
        let folder = Path::new(&node.at.source.name).parent().unwrap_or(Path::new(""));
        trace::recorded(&folder.join(file), id).map_err(|message| _ = self.diagnostics.error(&node.at, message)).ok()
    }

    /// All probabilities look at the same randomness. It is the least with which those that are given to keep do, so that a
    /// test does not depend on luck: where nothing is said, they say no, and so do samplers that learn.
    fn given(&mut self, node: &Node) -> Option<Given> {
        let Kind::Map(entries) = &node.kind else {
            self.diagnostics
                .error(&node.at, format!("`given` must be a mapping, not {}", node.noun()))
                .hint("write `given: { baseline: keep }`");
            return None;
        };
        let before = self.diagnostics.0.len();
        let (mut keep, mut reject, mut learned) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in entries {
            let Some((threshold, learns)) = self.sampler(key) else { continue };
            match value.text() {
                "keep" => {
                    keep.push((threshold, key));
                    learned.extend(learns);
                }
                "reject" if learns.is_some() => {}
                "reject" => reject.push((threshold, key)),
                _ => {
                    self.diagnostics
                        .error(&value.at, format!("what `{}` says is neither keep nor reject", key.text()))
                        .hint("write `given: { baseline: keep }`");
                }
            }
        }
        keep.sort_by_key(|(threshold, _)| *threshold);
        let drawn = keep.last().map_or(Threshold::ALWAYS, |(threshold, _)| *threshold);
        if let (Some((_, kept)), Some((_, key))) = (keep.last(), reject.iter().find(|(least, _)| *least <= drawn)) {
            let message = format!("where `{}` keeps a trace, `{}` does too", kept.text(), key.text());
            self.diagnostics
                .error(&key.at, message)
                .also(&kept.at, "it keeps fewer")
                .hint("all probabilities look at the same randomness of the trace");
        }
        let randomness = Randomness(drawn.0);
        (self.diagnostics.0.len() == before).then_some(Given { randomness, learned })
    }

    /// Gives the trace an id of which samplers say what they say of this randomness. Where that is a hash of the id, one is
    /// looked for.
    fn draw(&mut self, trace: &mut Trace, least: Randomness, at: &Location) -> Option<()> {
        // Hashes tried: samplers that differ by less than one trace in a million are told apart by nobody.
        const TRIES: u64 = 1 << 24;
        let thresholds = self.policies.policies().iter().filter_map(|policy| match &policy.action {
            Action::Keep { threshold, .. } | Action::Drop { threshold, .. } => Some(*threshold),
            Action::Group(list) => list.otherwise,
        });
        let all = thresholds.chain([self.policies.otherwise(), Threshold::NEVER]);
        let bound = all.filter(|threshold| threshold.0 > least.0).min().unwrap_or(Threshold::NEVER);
        let id = trace.id();
        let says = |own: Randomness| self.policies.randomness(id.with(own), own).0;
        let found = (0..TRIES).map(|more| Randomness((least.0 + more) % Threshold::NEVER.0));
        match { found }.find(|own| (least.0..bound.0).contains(&says(*own))) {
            Some(own) => trace.draw(own),
            None => {
                let message = "no trace id is known of which all samplers say what they are to say";
                self.diagnostics.error(at, message).hint("two probabilities are nearly the same");
                return None;
            }
        }
        Some(())
    }

    /// The threshold of a policy whose answer can be given, and its place if it learns.
    fn sampler(&mut self, name: &Node) -> Option<(Threshold, Option<u16>)> {
        let (threshold, learns) = match self.named(name)? {
            None => (self.policies.otherwise(), None),
            Some(policy) => match &self.policies.policies()[policy].action {
                Action::Keep { threshold, samplers, .. } => {
                    (*threshold, (!samplers.is_empty()).then_some(policy as u16))
                }
                Action::Drop { threshold, .. } => (*threshold, None),
                Action::Group(_) => (Threshold::NEVER, None),
            },
        };
        if learns.is_none() && (threshold == Threshold::ALWAYS || threshold == Threshold::NEVER) {
            let message = format!("`{}` has no sampler whose answer could be given", name.text());
            self.diagnostics.error(&name.at, message).hint("`given` is for policies that keep some of what matches");
            return None;
        }
        Some((threshold, learns))
    }

    fn expect(&mut self, node: &Node) -> Option<Expect> {
        let bare = match node.text() {
            "keep" => Some(true),
            "drop" => Some(false),
            _ => None,
        };
        if let Some(keep) = bare {
            return Some(Expect { verdict: Some((keep, None)), ..Expect::default() });
        }
        if !matches!(node.kind, Kind::Map(_)) {
            self.diagnostics.error(&node.at, format!("`expect` must be a mapping, not {}", node.noun())).hint(EXPECT);
            return None;
        }
        let before = self.diagnostics.0.len();
        let mut fields = Fields::of(node, "`expect`", self.diagnostics)?;
        let verdict = match (fields.take("keep"), fields.take("drop")) {
            (Some(_), Some(node)) => {
                self.diagnostics.error(&node.at, "a trace is kept or dropped, not both").hint(EXPECT);
                None
            }
            (Some(node), None) => self.named(node).map(|by| (true, Some(by))),
            (None, Some(node)) => self.named(node).map(|by| (false, Some(by))),
            (None, None) => None,
        };
        let mut matches = Vec::new();
        if let Some(node) = fields.take("matches") {
            for name in node.as_seq("`matches`", self.diagnostics).unwrap_or_default() {
                match self.named(name) {
                    Some(Some(policy)) => matches.push(policy),
                    Some(None) => {
                        self.diagnostics.error(&name.at, "`otherwise` has no condition");
                    }
                    None => {}
                }
            }
        }
        let probability = fields
            .take("probability")
            .and_then(|node| units::read(node, "`probability`", units::probability, self.diagnostics).map(threshold));
        fields.finish(self.diagnostics);
        if self.diagnostics.0.len() > before {
            return None;
        }
        let expect = Expect { verdict, matches, probability };
        if expect.verdict.is_none() && expect.matches.is_empty() && expect.probability.is_none() {
            self.diagnostics.error(&node.at, "nothing is expected").hint(EXPECT);
            return None;
        }
        Some(expect)
    }

    /// The number of a policy; of `otherwise` there is none.
    fn named(&mut self, node: &Node) -> Option<Option<usize>> {
        let name = node.as_str("the name of a policy", self.diagnostics)?;
        if name == "otherwise" {
            return Some(None);
        }
        let names = || self.policies.policies().iter().map(|policy| policy.name.as_str());
        if let Some(number) = names().position(|known| known == name) {
            return Some(Some(number));
        }
        let meant = nearest(name, names().chain(["otherwise"])).map(str::to_owned);
        let error = self.diagnostics.error(&node.at, format!("no policy is named `{name}`"));
        match meant {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error.hint("a test sees the policies of all files that are tested together"),
        };
        None
    }
}

// === impl Case ===

impl Case {
    /// Puts the policies to the test; None where all is as expected.
    pub fn run(&self, policies: &Arc<PolicySet>) -> Option<Failure> {
        let mut follow = Follow::new(self.trace.id(), SETTINGS, policies.clone());
        follow.give(&self.given);
        let partition = follow.assign(0);
        for (offset, record) in (0..).zip(&self.trace.records()) {
            let payload = record.value.as_deref();
            follow.ingest(Record { partition, offset, timestamp: None, headers: record, payload });
        }
        let Some(explanation) = follow.finish().pop() else {
            // Out of a recording: what the engine refuses goes to the dead letters when it runs live.
            return Some(Failure { expected: vec!["a verdict".to_owned()], explanation: None });
        };
        let expected = self.expect.unmet(&explanation);
        (!expected.is_empty()).then_some(Failure { expected, explanation: Some(explanation) })
    }
}

// === impl Expect ===

impl Expect {
    /// What is not so.
    fn unmet(&self, found: &Explanation) -> Vec<String> {
        let Some(decision) = found.decision else { return vec!["a verdict".to_owned()] };
        let verdict = decision.verdict;
        let mut unmet = Vec::new();
        if let Some((keep, by)) = self.verdict {
            let number = |by: usize| u16::try_from(by).ok();
            if verdict.keep != keep || by.is_some_and(|by| by.and_then(number) != verdict.policy) {
                let by = by.map(|by| format!(" by {}", found.policy(by.and_then(number)))).unwrap_or_default();
                unmet.push(format!("{}{by}", if keep { "kept" } else { "dropped" }));
            }
        }
        let missing = self.matches.iter().filter(|&&policy| !found.policies[policy].matches);
        unmet.extend(missing.map(|&policy| format!("`{}` matches", found.policies[policy].name)));
        if let Some(probability) = self.probability.filter(|probability| *probability != verdict.threshold) {
            unmet.push(format!("of such traces {} are kept", percentage(probability)));
        }
        unmet
    }
}

// === impl Failure ===

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "expected: {}", self.expected.join("; "))?;
        let Some(explanation) = &self.explanation else {
            return writeln!(f, "found:    records that the processor does not take");
        };
        write!(f, "found:    ")?;
        explanation.verdict(f)?;
        explanation.policies(f)
    }
}
