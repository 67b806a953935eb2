//! Which cluster, and how its clients are set.

use std::{collections::BTreeMap, fmt, fs::File, io::Read, path::Path};

use rdkafka::{ClientConfig, error::KafkaError, types::RDKafkaConfRes};

use super::{Surroundings, values::names};
use crate::{
    diagnostic::Diagnostics,
    secret,
    yaml::{Fields, Kind, Node},
};

/// The cluster. `Debug` leaves out what the properties say: there are passwords among them.
#[derive(Clone, PartialEq, Eq)]
pub struct Kafka {
    /// As librdkafka wants them: `host:port`, with commas between.
    pub brokers: String,
    /// Properties of librdkafka, for consumers and producers alike.
    pub properties: BTreeMap<String, String>,
    /// Those whose secrets stand in the configuration file.
    pub exposed: Vec<String>,
}

const WHERE: &str = "librdkafka's CONFIGURATION.md lists all properties and their values";
const BROKERS: &str = "write\nkafka:\n  brokers: localhost:9092";
const VALUE: &str = "write the value itself, { env: VARIABLE } or { file: PATH }";
/// A system's whole bundle of certificates is a quarter of it.
const MAX_FILE: u64 = 1 << 20;

/// Properties that delivery rests on, and why they are not free.
const OWNED: [(&str, &str); 13] = [
    ("bootstrap.servers", "it is `kafka.brokers`"),
    ("metadata.broker.list", "it is `kafka.brokers`"),
    ("group.id", "it is `input.group`"),
    ("auto.offset.reset", "it is `input.start`; a lost offset must not be skipped in silence"),
    ("enable.auto.commit", "offsets are committed only below what is undecided"),
    ("auto.commit.enable", "offsets are committed only below what is undecided"),
    ("enable.auto.offset.store", "offsets are stored only below what is undecided"),
    ("isolation.level", "spans of an aborted transaction must not be read"),
    ("enable.partition.eof", "the end of a partition is how time goes on"),
    ("acks", "an offset is committed only when the output is on every replica in sync"),
    ("request.required.acks", "an offset is committed only when the output is on every replica in sync"),
    ("enable.idempotence", "a retry must not write a trace twice"),
    ("transactional.id", "it fences one worker from another"),
];

pub(super) fn kafka(node: &Node, around: &Surroundings<'_>, d: &mut Diagnostics) -> Option<Kafka> {
    let mut fields = Fields::of(node, "`kafka`", d)?;
    let brokers = fields.require("brokers", BROKERS, d).and_then(|node| brokers(node, d));
    let mut kafka = Kafka { brokers: String::new(), properties: BTreeMap::new(), exposed: Vec::new() };
    let properties = fields.take("properties").map_or(Some(()), |node| properties(node, around, &mut kafka, d));
    fields.finish(d);
    properties?;
    Some(Kafka { brokers: brokers?, ..kafka })
}

fn brokers(node: &Node, d: &mut Diagnostics) -> Option<String> {
    let brokers = names(node, "`brokers`", d)?;
    for (broker, at) in &brokers {
        let port = broker.rsplit_once(':').map(|(_, port)| port);
        if broker.contains(char::is_whitespace) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            d.error(at, format!("`{broker}` is not a broker")).hint("write host:port, several with commas between");
        }
    }
    Some(brokers.into_iter().map(|(broker, _)| broker).collect::<Vec<_>>().join(","))
}

fn properties(node: &Node, around: &Surroundings<'_>, kafka: &mut Kafka, d: &mut Diagnostics) -> Option<()> {
    let entries = match &node.kind {
        Kind::Map(entries) => entries.as_slice(),
        _ if node.is_null() => &[],
        _ => {
            d.error(&node.at, format!("`properties` must be a mapping, not {}", node.noun()))
                .hint("write\nkafka:\n  properties:\n    security.protocol: SSL");
            return None;
        }
    };
    for (key, node) in entries {
        let Kind::Scalar { text: name, .. } = &key.kind else { continue };
        if let Some((_, reason)) = OWNED.iter().find(|(owned, _)| owned == name) {
            d.error(&key.at, format!("`{name}` cannot be set: {reason}"));
            continue;
        }
        let Some(text) = value(node, &format!("the property `{name}`"), around, d) else { continue };
        match ClientConfig::new().set(name, &text).create_native_config() {
            Ok(_) => {
                if secret::is_secret(name) && around.is_in_file(&node.at) && !matches!(node.kind, Kind::Map(_)) {
                    kafka.exposed.push(name.clone());
                }
                kafka.properties.insert(name.clone(), text);
            }
            Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
                d.error(&key.at, format!("librdkafka has no property `{name}`")).hint(WHERE);
            }
            Err(_) => _ = d.error(&node.at, format!("librdkafka does not take this for `{name}`")).hint(WHERE),
        }
    }
    Some(())
}

/// A text, or what a variable or a file says, which is how secrets stay out of the configuration.
fn value(node: &Node, what: &str, around: &Surroundings<'_>, d: &mut Diagnostics) -> Option<String> {
    let Kind::Map(_) = node.kind else { return Some(node.as_str(what, d)?.to_owned()) };
    let mut fields = Fields::of(node, what, d)?;
    let (env, file) = (fields.take("env"), fields.take("file"));
    fields.finish(d);
    let (place, at, read) = match (env, file) {
        (Some(node), None) => {
            let name = node.as_str("`env`", d)?;
            let variable = around.variables.get(name).cloned();
            (format!("the variable `{name}`"), &node.at, variable.ok_or_else(|| "is not set".to_owned()))
        }
        (None, Some(node)) => {
            let path = around.path(node.as_str("`file`", d)?, &node.at);
            (path.display().to_string(), &node.at, contents(&path))
        }
        _ => {
            d.error(&node.at, format!("{what} has two values, or none")).hint(VALUE);
            return None;
        }
    };
    match read {
        Ok(text) if !text.is_empty() => Some(text),
        Ok(_) => {
            d.error(at, format!("{place} is empty"));
            None
        }
        Err(wrong) => {
            d.error(at, format!("{place} {wrong}"));
            None
        }
    }
}

/// Of a file, without the newline an editor puts at its end; or what is wrong with it.
fn contents(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > MAX_FILE => Err("is longer than 1 MiB".to_owned()),
        Ok(_) => Ok(text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text)).to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

// === impl Kafka ===

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("Kafka").field("brokers", &self.brokers).field("properties", &names).finish()
    }
}
