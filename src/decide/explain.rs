//! Why a condition holds or not: each of its parts, asked on its own.
//!
//! The parts are compiled as conditions of their own, and asked by the same program that judges. So an explanation cannot
//! say anything else than what decided.

use std::{collections::HashMap, ops::Range as Bytes, sync::Arc};

use super::{
    Context, Facts, Part, PolicySet, Scratch, Tree, Values,
    condition::{self, Formula, Scope, Subject},
    look::Passing,
    program::Fact,
};
use crate::{
    decode::{Batch, Span, Value, detail::Detail},
    diagnostic::{Diagnostics, Location, Source},
    model::{Randomness, RecordTime},
    units,
    yaml::{Kind, Node},
};

/// What all policies of a set ask, part by part.
#[derive(Debug)]
pub struct Questions {
    /// A policy for each condition that is asked.
    set: Arc<PolicySet>,
    all: Vec<Question>,
    /// By policy: its questions in `all`.
    of: Vec<Bytes<usize>>,
}

/// A part of a condition.
#[derive(Debug)]
struct Question {
    /// As written, on one line.
    text: String,
    scope: Scope,
    /// Which policy of the set it is.
    number: usize,
    /// As written, and what they name.
    paths: Vec<(String, Subject)>,
}

/// What the spans of a trace have said so far.
#[derive(Debug)]
pub struct Tally {
    /// By policy of the set: how many spans it holds of.
    holds: Vec<usize>,
    /// By question asked of spans: what was found where it holds, and where it does not.
    found: Vec<[Found; 2]>,
    /// By question and path: what the root has.
    root: Vec<Vec<String>>,
    scratch: Scratch,
}

/// Values of a part in some spans: a few, and how many other spans there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub values: Vec<Seen>,
    pub others: usize,
}

/// A value, and the first of the spans that had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub value: String,
    pub span: Option<usize>,
    pub spans: usize,
}

/// A part of a condition, and what was found.
#[derive(Clone, Debug)]
pub struct Row {
    /// As written, on one line.
    pub text: String,
    pub scope: Scope,
    /// Of the trace; of some span, where it is asked of spans.
    pub holds: bool,
    /// How many spans it holds of.
    pub spans: usize,
    /// In the spans where it holds, if there are any, else in all.
    pub found: Found,
}

/// Different values that are kept of each part.
const VALUES: usize = 3;
/// Letters that are shown of a text: longer ones would break the table.
const SHOWN: usize = 60;

// === impl PolicySet ===

impl PolicySet {
    /// Whether the condition of a policy, by its number, holds.
    pub fn holds(&self, policy: usize, facts: Facts<'_>) -> bool {
        self.matches(&self.policies[policy], facts)
    }

    /// What a condition compares that asks for one number.
    fn number(&self, policy: usize, facts: Facts<'_>) -> Option<String> {
        let mut when = &self.policies[policy].when;
        while let Formula::Not(inner) = when {
            when = inner;
        }
        let Formula::Leaf(fact) = when else { return None };
        Some(match *fact {
            Fact::Count(counter, ..) => facts.counts[usize::from(counter)].to_string(),
            Fact::Duration(..) => units::nanoseconds(facts.duration_ns),
            Fact::Spans(..) => facts.span_count.to_string(),
            Fact::Bytes(..) => facts.bytes.to_string(),
            Fact::Services(..) => facts.tree.services().to_string(),
            Fact::Depth(..) => facts.tree.depth().to_string(),
            Fact::Siblings(mark, ..) => facts.tree.siblings(mark).to_string(),
            Fact::Different(path, ..) => facts.values.count(path).to_string(),
            Fact::Values(path, ..) => match facts.values.count(path) {
                1 => "1 value".to_owned(),
                count => format!("{count} values"),
            },
            Fact::Shape(..) => format!("\"{:016x}\"", facts.tree.shape()),
            Fact::Seen(_) | Fact::Root(_) | Fact::Under { .. } | Fact::Complete => return None,
        })
    }
}

// === impl Questions ===

impl Questions {
    pub fn new(policies: &PolicySet) -> Self {
        let (mut asked, mut all, mut of) = (Asked::default(), Vec::new(), Vec::new());
        for policy in policies.policies() {
            let start = all.len();
            asked.questions(&policy.written, &mut all);
            of.push(start..all.len());
        }
        let nodes = asked.nodes;
        // Of what was checked already only bounds are left to be exceeded. Then parts are not explained.
        let root = policies.root.as_ref().map(|written| Node::plain(nowhere(), written.as_str()));
        let set = compile(&nodes, root.as_ref()).unwrap_or_else(|| {
            of.iter_mut().for_each(|of| *of = 0..0);
            all.clear();
            compile(&[], root.as_ref()).expect("no policies are no mistake")
        });
        Self { set: Arc::new(set), all, of }
    }

    /// For an engine that reads what the one that judges reads; its facts answer what is asked of the trace.
    pub fn policies(&self) -> &Arc<PolicySet> {
        &self.set
    }

    pub fn tally(&self) -> Tally {
        Tally {
            holds: vec![0; self.set.policies().len()],
            found: vec![<[Found; 2]>::default(); self.all.len()],
            root: self.all.iter().map(|question| vec!["nil".to_owned(); question.paths.len()]).collect(),
            scratch: self.set.scratch(),
        }
    }

    /// Asks a span, the trace's span number `at`, on its own. `batch` was decoded with the keys of [`Self::policies`]; `root`:
    /// it is the trace's root by now.
    pub fn ask(&self, payload: &[u8], batch: &Batch, span: &Span, at: usize, root: bool, tally: &mut Tally) {
        let set = &self.set;
        let scope = batch.scopes[span.scope as usize];
        let resource = batch.resources[scope.resource as usize].rest.of(&batch.rest);
        let context: Context = set.context(resource, scope.rest.of(&batch.rest));
        let (mut bits, mut counts) = (set.blank().to_vec(), vec![0; set.counters()]);
        let mut notes = vec![0; set.notes()];
        set.observe(&context, payload, batch, span, &mut tally.scratch, &mut bits, &mut counts, &mut notes);
        let facts = Facts {
            bits: &bits,
            counts: &counts,
            duration_ns: span.duration(),
            span_count: 1,
            bytes: span.bytes.of(payload).len() as u64,
            randomness: Randomness(0),
            time: RecordTime::START,
            complete: false,
            tree: &Tree::default(),
            values: &Values::default(),
            links: &[],
            votes: &[],
            cuts: &[],
        };
        let holds: Vec<bool> = (0..set.policies().len()).map(|number| set.holds(number, facts)).collect();
        for (count, holds) in tally.holds.iter_mut().zip(&holds) {
            *count += usize::from(*holds);
        }
        let detail = Detail::of(span.bytes.of(payload));
        let around = (resource, scope.rest.of(&batch.rest));
        let passing = Passing { payload, batch, span, program: &set.program, detail, around };
        let value = |(_, subject): &(_, Subject)| value(subject, &passing);
        for (question, (found, of_root)) in self.all.iter().zip(tally.found.iter_mut().zip(&mut tally.root)) {
            match question.scope {
                Scope::Span => {
                    let values = question.paths.iter().map(value).collect::<Vec<_>>();
                    found[usize::from(!holds[question.number])].add(question.said(&values), at);
                }
                Scope::Trace if root => *of_root = question.paths.iter().map(value).collect(),
                Scope::Trace => {}
            }
        }
    }

    /// What was asked by a policy's condition, and found. `facts` are those of [`Self::policies`]; `root` is the number of the
    /// root.
    pub fn rows(&self, policy: usize, facts: Facts<'_>, tally: &Tally, root: Option<usize>) -> Vec<Row> {
        let rows = self.of[policy].clone().map(|at| {
            let Question { text, scope, number, .. } = &self.all[at];
            let (holds, spans, found) = match scope {
                Scope::Span => {
                    let [with, without] = &tally.found[at];
                    let spans = tally.holds[*number];
                    (spans > 0, spans, if spans > 0 { with } else { without }.clone())
                }
                Scope::Trace => {
                    (self.set.holds(*number, facts), 0, self.of_trace(&self.all[at], facts, &tally.root[at], root))
                }
            };
            Row { text: text.clone(), scope: *scope, holds, spans, found }
        });
        rows.collect()
    }

    /// The value of what is asked of a trace or its root.
    fn of_trace(&self, question: &Question, facts: Facts<'_>, of_root: &[String], root: Option<usize>) -> Found {
        let seen = match self.set.number(question.number, facts) {
            Some(value) => Seen { value, span: None, spans: 0 },
            None if of_root.is_empty() => return Found::default(),
            None => Seen { value: question.said(of_root), span: root, spans: 1 },
        };
        Found { values: vec![seen], others: 0 }
    }
}

fn compile(nodes: &[Node], root: Option<&Node>) -> Option<PolicySet> {
    let parts = nodes.iter().map(Part::Policy).chain(root.map(Part::Root)).collect::<Vec<_>>();
    PolicySet::compile(&parts, &mut Diagnostics::default())
}

/// Conditions to be asked, each once, as policies.
#[derive(Default)]
struct Asked {
    nodes: Vec<Node>,
    numbers: HashMap<String, usize>,
}

// === impl Asked ===

impl Asked {
    /// Adds the questions of one condition.
    fn questions(&mut self, text: &str, all: &mut Vec<Question>) {
        for part in condition::outline(text) {
            let written = |at: &Bytes<usize>| &text[at.clone()];
            let asked = match part.scope {
                Scope::Trace => written(&part.at).to_owned(),
                Scope::Span => format!("any({})", written(&part.at)),
            };
            // Out of parentheses that belong to a side of it, a part may not be one on its own.
            if condition::read(&asked).is_err() {
                continue;
            }
            let number = self.number(asked);
            let paths = part.paths.into_iter().map(|(at, subject)| (one_line(written(&at)), subject)).collect();
            all.push(Question { text: one_line(written(&part.at)), scope: part.scope, number, paths });
        }
    }

    fn number(&mut self, condition: String) -> usize {
        let nodes = &mut self.nodes;
        *self.numbers.entry(condition).or_insert_with_key(|condition| {
            nodes.push(policy(nodes.len(), condition.clone()));
            nodes.len() - 1
        })
    }
}

/// As it would stand in a file.
fn policy(number: usize, condition: String) -> Node {
    let at = nowhere();
    let fields = [("name", number.to_string()), ("when", condition), ("keep", "always".to_owned())];
    let entries = fields.map(|(key, value)| (Node::plain(at.clone(), key), Node::plain(at.clone(), value)));
    Node { at, kind: Kind::Map(entries.into()) }
}

fn nowhere() -> Location {
    Location { source: Arc::new(Source { name: String::new(), text: String::new() }), range: 0..0 }
}

/// A condition may be written on several lines.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

// === impl Question ===

impl Question {
    /// The values of all paths, named where there are several.
    fn said(&self, values: &[String]) -> String {
        match values {
            [value] => value.clone(),
            values => {
                let pairs = self.paths.iter().zip(values).map(|((path, _), value)| format!("{path} = {value}"));
                pairs.collect::<Vec<_>>().join(", ")
            }
        }
    }
}

// === impl Found ===

impl Found {
    fn add(&mut self, value: String, span: usize) {
        if value.is_empty() {
            return;
        }
        if let Some(seen) = self.values.iter_mut().find(|seen| seen.value == value) {
            seen.spans += 1;
        } else if self.values.len() < VALUES {
            self.values.push(Seen { value, span: Some(span), spans: 1 });
        } else {
            self.others += 1;
        }
    }
}

fn value(subject: &Subject, passing: &Passing<'_>) -> String {
    let span = passing.span;
    let named = |number: i32| condition::name_of(subject, number).map_or_else(|| number.to_string(), str::to_owned);
    match subject {
        Subject::Kind => named(span.kind),
        Subject::Status => named(span.status),
        Subject::Duration => units::nanoseconds(span.duration()),
        _ => passing.subject(subject).value().map_or_else(|| "a list".to_owned(), shown),
    }
}

/// As a condition would write it.
fn shown(value: Value<'_>) -> String {
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Double(value) => format!("{value:?}"),
        Value::Str(text) => {
            let text = String::from_utf8_lossy(text);
            match text.char_indices().nth(SHOWN) {
                Some((end, _)) => format!("{:?}…", &text[..end]),
                None => format!("{text:?}"),
            }
        }
        Value::Bytes(bytes) if bytes.len() <= 16 => {
            bytes.iter().fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))
        }
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}
