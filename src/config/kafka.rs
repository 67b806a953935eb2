//! Which cluster, and how its clients are set.

use std::{collections::BTreeMap, fmt};

use rdkafka::{ClientConfig, error::KafkaError, types::RDKafkaConfRes};

use super::values::names;
use crate::{
    diagnostic::Diagnostics,
    yaml::{Fields, Kind, Node},
};

/// The cluster. `Debug` leaves out what the properties say: there are passwords among them.
#[derive(Clone)]
pub struct Kafka {
    /// As librdkafka wants them: `host:port`, with commas between.
    pub brokers: String,
    /// Properties of librdkafka, for consumers and producers alike.
    pub properties: BTreeMap<String, String>,
}

const WHERE: &str = "librdkafka's CONFIGURATION.md lists all properties and their values";
const BROKERS: &str = "write\nkafka:\n  brokers: localhost:9092";

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

pub(super) fn kafka(node: &Node, d: &mut Diagnostics) -> Option<Kafka> {
    let mut fields = Fields::of(node, "`kafka`", d)?;
    let brokers = fields.require("brokers", BROKERS, d).and_then(|node| brokers(node, d));
    let properties = fields.take("properties").map_or(Some(BTreeMap::new()), |node| properties(node, d));
    fields.finish(d);
    Some(Kafka { brokers: brokers?, properties: properties? })
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

fn properties(node: &Node, d: &mut Diagnostics) -> Option<BTreeMap<String, String>> {
    let entries = match &node.kind {
        Kind::Map(entries) => entries.as_slice(),
        _ if node.is_null() => &[],
        _ => {
            d.error(&node.at, format!("`properties` must be a mapping, not {}", node.noun()))
                .hint("write\nkafka:\n  properties:\n    security.protocol: SSL");
            return None;
        }
    };
    let mut properties = BTreeMap::new();
    for (key, value) in entries {
        let Kind::Scalar { text: name, .. } = &key.kind else { continue };
        if let Some((_, reason)) = OWNED.iter().find(|(owned, _)| owned == name) {
            d.error(&key.at, format!("`{name}` cannot be set: {reason}"));
        } else if let Some(text) = value.as_str(&format!("the property `{name}`"), d) {
            match ClientConfig::new().set(name, text).create_native_config() {
                Ok(_) => _ = properties.insert(name.clone(), text.to_owned()),
                Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
                    d.error(&key.at, format!("librdkafka has no property `{name}`")).hint(WHERE);
                }
                Err(_) => _ = d.error(&value.at, format!("librdkafka does not take this for `{name}`")).hint(WHERE),
            }
        }
    }
    Some(properties)
}

// === impl Kafka ===

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("Kafka").field("brokers", &self.brokers).field("properties", &names).finish()
    }
}
