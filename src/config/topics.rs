//! What is read and what is written.

use std::collections::BTreeMap;

use super::values::{choice, flag, names};
use crate::{
    diagnostic::{Diagnostics, Location, nearest},
    encode::Stamps,
    yaml::{Fields, Kind, Node},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Not empty, no name twice.
    pub topics: Vec<Topic>,
    /// The consumer group, whose name begins the names of the internal topics. Default `tailwater`.
    pub group: String,
    pub start: Start,
    pub keyed: Keyed,
    /// Partitions of the topic that a re-keyed input goes through. None, the default: as many as the input has.
    pub rekey_partitions: Option<i32>,
    /// A span without a sampling threshold was not sampled before; else nobody knows. Default true.
    pub assume_unsampled: bool,
}

/// A topic, and how its records are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub encoding: Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `ExportTraceServiceRequest`, which is `TracesData` on the wire.
    OtlpProto,
    /// The same in JSON. Records of the two are told apart one by one, so a topic may hold both.
    OtlpJson,
}

/// Where a group that never committed begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The default.
    Earliest,
    Latest,
}

/// Whether all records of a trace are in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyed {
    /// The default: look at the topic.
    Auto,
    Yes,
    No,
    /// They are brought together in a topic of ours first.
    Rekey,
}

/// More topics than anybody subscribes to by name; each costs an internal topic.
const MAX_TOPICS: usize = 1000;
/// Kafka's own limit for the name of a topic.
const MAX_NAME: usize = 249;
const LETTERS: &str = "letters, digits, `.`, `_` and `-`";
const DEAD_LETTERS: &str = "-dead-letters";
const DECISIONS: &str = "-decisions";
const SAMPLERS: &str = "-samplers";
const BY_TRACE: &str = "-by-trace";
const REKEY: &str = "-rekey";
const DRY_RUN: &str = "-dry-run";
/// Partitions are files and threads' shares; a topic with more is a mistake.
const MAX_PARTITIONS: i32 = 10_000;

const TOPICS: &str = "write\ninput:\n  topics: [spans]";
pub(super) const OUTPUT: &str = "write\noutput:\n  - kafka:\n      topic: spans-kept";

/// Encodings that are read.
const READ: &[(&str, Encoding)] = &[("otlp_proto", Encoding::OtlpProto), ("otlp_json", Encoding::OtlpJson)];
/// Encodings that are written.
const WRITTEN: &[(&str, Encoding)] = &[("otlp_proto", Encoding::OtlpProto)];
/// Encodings that have a name.
const ENCODINGS: [&str; 7] =
    ["otlp_proto", "otlp_json", "jaeger_proto", "jaeger_json", "zipkin_proto", "zipkin_json", "zipkin_thrift"];

pub(super) fn input(node: &Node, d: &mut Diagnostics) -> Option<Input> {
    let mut fields = Fields::of(node, "`input`", d)?;
    let encoding = fields.take("encoding").map_or(Some(Encoding::OtlpProto), |node| encoding(node, READ, d));
    let listed = fields.require("topics", TOPICS, d);
    let topics = listed.and_then(|node| topics(node, encoding.unwrap_or(Encoding::OtlpProto), d));
    let group = fields.take("group").map_or(Some("tailwater".into()), |node| group(node, d));
    let start = fields.take("start").map_or(Some(Start::Earliest), |node| {
        choice(node, "`start`", &[("earliest", Some(Start::Earliest)), ("latest", Some(Start::Latest))], d)
    });
    let keyed = fields.take("keyed").map_or(Some(Keyed::Auto), |node| {
        let choices = [("auto", Keyed::Auto), ("yes", Keyed::Yes), ("no", Keyed::No), ("rekey", Keyed::Rekey)];
        choice(node, "`keyed`", &choices.map(|(name, keyed)| (name, Some(keyed))), d)
    });
    let counted = fields.take("rekey_partitions");
    let rekey_partitions = counted.map_or(Some(None), |node| partitions(node, d).map(Some));
    if let (Some(node), Some(Keyed::Auto | Keyed::Yes | Keyed::No)) = (counted, keyed) {
        d.error(&node.at, "`rekey_partitions` is for `keyed: rekey` only");
    }
    let assume_unsampled =
        fields.take("assume_unsampled").map_or(Some(true), |node| flag(node, "`assume_unsampled`", d));
    fields.finish(d);
    encoding?;
    let input = Input {
        topics: topics?,
        group: group?,
        start: start?,
        keyed: keyed?,
        rekey_partitions: rekey_partitions?,
        assume_unsampled: assume_unsampled?,
    };
    if let Some(node) = listed {
        internal(&input, node, d);
    }
    Some(input)
}

/// Checks the names of the internal topics against those of the input, which stand at `node`.
fn internal(input: &Input, node: &Node, d: &mut Diagnostics) {
    let is_read = |name: &String| input.topics.iter().any(|topic| topic.name == *name);
    let dead_letters = input.dead_letters();
    if is_read(&dead_letters) {
        d.error(&node.at, format!("`{dead_letters}` is where this group writes undecodable records"))
            .hint("read it in another group");
    }
    let by_trace = input.by_trace();
    if input.keyed == Keyed::Rekey && is_read(&by_trace) {
        d.error(&node.at, format!("`{by_trace}` is where this group brings the spans of a trace together"))
            .hint("read it in another group, with `keyed: yes`");
    }
    for (topic, what) in input.remembered() {
        if is_read(&topic) {
            d.error(&node.at, format!("`{topic}` is where this group writes {what}"))
                .hint("read it with another program");
        }
        if topic.len() > MAX_NAME {
            let message = format!("`{topic}`, where this group would write {what}, is no name of a topic");
            d.error(&node.at, message).hint(format!("Kafka allows {MAX_NAME} letters; choose a shorter `group`"));
        }
    }
}

fn topics(node: &Node, encoding: Encoding, d: &mut Diagnostics) -> Option<Vec<Topic>> {
    let entries = match &node.kind {
        Kind::Seq(entries) => entries.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut topics: BTreeMap<String, Location> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in entries {
        let (names, encoding) = match &entry.kind {
            Kind::Map(_) => {
                let Some((topic, at)) = topic(entry, "name", TOPICS, (encoding, READ), d) else { continue };
                (vec![(topic.name, at)], topic.encoding)
            }
            _ => (names(entry, "`topics`", d).unwrap_or_default(), encoding),
        };
        for (name, at) in names {
            if !legal_topic(&name, &at, d) {
                continue;
            }
            if let Some(first) = topics.get(&name) {
                d.error(&at, format!("the topic `{name}` is there twice")).also(first, "first here");
                continue;
            }
            topics.insert(name.clone(), at);
            found.push(Topic { name, encoding });
        }
    }
    if entries.is_empty() {
        d.error(&node.at, "no topics").hint(TOPICS);
    }
    if found.len() > MAX_TOPICS {
        d.error(&node.at, format!("more than {MAX_TOPICS} topics"));
    }
    Some(found)
}

/// `{ name, encoding }` of the input, `{ topic, encoding }` of the output.
fn topic(
    node: &Node,
    name: &'static str,
    example: &str,
    (default, known): (Encoding, &[(&str, Encoding)]),
    d: &mut Diagnostics,
) -> Option<(Topic, Location)> {
    let mut fields = Fields::of(node, "a topic", d)?;
    let named = fields.require(name, example, d).and_then(|node| Some((node.as_str("a topic", d)?, node)));
    let encoding = fields.take("encoding").map_or(Some(default), |node| encoding(node, known, d));
    fields.finish(d);
    let (name, node) = named?;
    Some((Topic { name: name.to_owned(), encoding: encoding? }, node.at.clone()))
}

fn partitions(node: &Node, d: &mut Diagnostics) -> Option<i32> {
    let text = node.as_str("`rekey_partitions`", d)?;
    let count = text.parse().ok().filter(|count| (1..=MAX_PARTITIONS).contains(count));
    if count.is_none() {
        d.error(&node.at, format!("`rekey_partitions` must be from 1 to {MAX_PARTITIONS}"));
    }
    count
}

fn group(node: &Node, d: &mut Diagnostics) -> Option<String> {
    let group = node.as_str("`group`", d)?;
    let legal = legal(group, MAX_NAME - DEAD_LETTERS.len());
    if !legal {
        let hint = format!("it begins the names of topics: {LETTERS}, at most {}", MAX_NAME - DEAD_LETTERS.len());
        d.error(&node.at, format!("`group` cannot be `{group}`")).hint(hint);
    }
    legal.then(|| group.to_owned())
}

/// Whether a name can be a topic's, by Kafka's rule.
fn legal(name: &str, max: usize) -> bool {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    letters && (1..=max).contains(&name.len()) && name != "." && name != ".."
}

fn legal_topic(name: &str, at: &Location, d: &mut Diagnostics) -> bool {
    let legal = legal(name, MAX_NAME);
    if !legal {
        d.error(at, format!("`{name}` cannot be the name of a topic")).hint(format!("{LETTERS}, at most {MAX_NAME}"));
    }
    legal
}

fn encoding(node: &Node, known: &[(&str, Encoding)], d: &mut Diagnostics) -> Option<Encoding> {
    let choices =
        ENCODINGS.map(|name| (name, known.iter().find(|(known, _)| *known == name).map(|(_, encoding)| *encoding)));
    choice(node, "`encoding`", &choices, d)
}

/// A list of exactly one, or, from a variable or a flag, the one itself; and what is stamped on spans.
pub(super) fn output(node: &Node, input: Option<&Input>, d: &mut Diagnostics) -> Option<(Topic, Stamps)> {
    let entry = match &node.kind {
        Kind::Seq(outputs) => match outputs.as_slice() {
            [output] => output,
            [] => {
                d.error(&node.at, "no output").hint(OUTPUT);
                return None;
            }
            [_, second, ..] => {
                d.error(&second.at, "more than one output is not available yet")
                    .hint("other outputs can consume the topic of the first");
                return None;
            }
        },
        _ => node,
    };
    let mut fields = Fields::of(entry, "an output", d)?;
    let kafka = fields.require("kafka", OUTPUT, d);
    let weights = fields.take("weights").map_or(Some(true), |node| flag(node, "`weights`", d));
    let stamped = fields.take("stamp").map_or(Some(Stamps::default()), |node| stamp(node, d));
    fields.finish(d);
    let (output, at) = topic(kafka?, "topic", OUTPUT, (Encoding::OtlpProto, WRITTEN), d)?;
    if !legal_topic(&output.name, &at, d) {
        return None;
    }
    if input.is_some_and(|input| input.topics.iter().any(|topic| topic.name == output.name)) {
        d.error(&at, format!("`{}` is also a topic of the input", output.name))
            .hint("kept traces would be read again, without end");
    }
    if input.is_some_and(|input| input.dead_letters() == output.name) {
        d.error(&at, format!("`{}` is where this group writes undecodable records", output.name));
    }
    let mut remembered = input.into_iter().flat_map(Input::remembered);
    if let Some((topic, what)) = remembered.find(|(topic, _)| *topic == output.name) {
        d.error(&at, format!("`{topic}` is where this group writes {what}"));
    }
    if input.is_some_and(|input| input.keyed == Keyed::Rekey && input.by_trace() == output.name) {
        d.error(&at, format!("`{}` is where this group brings the spans of a trace together", output.name));
    }
    let assume_unsampled = input.is_none_or(|input| input.assume_unsampled);
    Some((output, Stamps { weights: weights?, assume_unsampled, ..stamped? }))
}

/// What stands on roots: a list, which may be empty.
fn stamp(node: &Node, d: &mut Diagnostics) -> Option<Stamps> {
    let mut stamps = Stamps { policy: false, reason: false, completion: false, ..Stamps::default() };
    let nothing = matches!(&node.kind, Kind::Seq(nodes) if nodes.is_empty());
    let listed = if nothing { Vec::new() } else { names(node, "`stamp`", d)? };
    for (name, at) in listed {
        let on = match &*name {
            "policy" => &mut stamps.policy,
            "reason" => &mut stamps.reason,
            "completion" => &mut stamps.completion,
            _ => {
                let meant = nearest(&name, ["policy", "reason", "completion"]);
                let meant = meant.map(|meant| format!(", did you mean `{meant}`?")).unwrap_or_default();
                d.error(&at, format!("`stamp`: unknown `{name}`{meant}"))
                    .hint("a list of policy, reason and completion; [] for none, and `weights: false` too, leave spans as they came");
                return None;
            }
        };
        *on = true;
    }
    Some(stamps)
}

// === impl Input ===

impl Input {
    /// Of its topics.
    pub fn names(&self) -> Vec<String> {
        self.topics.iter().map(|topic| topic.name.clone()).collect()
    }

    /// The topic that undecodable records go to.
    pub fn dead_letters(&self) -> String {
        format!("{}{DEAD_LETTERS}", self.group)
    }

    /// The topic that decisions on the traces of an input topic go to.
    pub fn decisions(&self, topic: &str) -> String {
        self.beside(topic, DECISIONS)
    }

    /// The topic that holds what samplers have learned of the traces of an input topic.
    pub fn samplers(&self, topic: &str) -> String {
        self.beside(topic, SAMPLERS)
    }

    /// All that workers write and, after a restart, read, and what each of it is.
    pub fn remembered(&self) -> impl Iterator<Item = (String, &'static str)> {
        let names = || self.topics.iter().map(|topic| &*topic.name);
        let decisions = names().map(|topic| (self.decisions(topic), "its decisions"));
        decisions.chain(names().map(|topic| (self.samplers(topic), "what its samplers learn")))
    }

    /// A topic of ours that has a partition for each of an input topic.
    fn beside(&self, topic: &str, ours: &str) -> String {
        match &self.topics[..] {
            [_] => format!("{}{ours}", self.group),
            _ => format!("{}{ours}-{topic}", self.group),
        }
    }

    /// The topic that a re-keyed input goes through.
    pub fn by_trace(&self) -> String {
        format!("{}{BY_TRACE}", self.group)
    }

    /// What the re-key stage reads: the topics themselves, in a group beside ours.
    pub fn before_rekey(&self) -> Self {
        Self { group: format!("{}{REKEY}", self.group), ..self.clone() }
    }

    /// What a dry run reads: the same topics, in a group beside ours.
    pub fn dry_run(&self, start: Start) -> Self {
        Self { group: format!("{}{DRY_RUN}", self.group), start, ..self.clone() }
    }

    /// What the workers read behind the re-key stage.
    pub fn behind_rekey(&self) -> Self {
        let topic = Topic { name: self.by_trace(), encoding: Encoding::OtlpProto };
        Self { topics: vec![topic], start: Start::Earliest, keyed: Keyed::Yes, ..self.clone() }
    }
}
