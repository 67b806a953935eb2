//! Where the records go: the embedded broker, or a real one.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::RDKafkaErrorCode,
    mocking::MockCluster,
    producer::DefaultProducerContext,
};

use super::args::PARTITIONS;

/// A broker with the demo's topics. They go with it.
pub(super) struct Broker {
    pub address: String,
    pub topics: Topics,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topics {
    pub group: String,
    pub input: String,
    pub output: String,
    pub dead_letters: String,
    pub decisions: String,
    pub samplers: String,
}

/// The partitions of the output and dead-letter topics.
pub(super) const OUTPUT_PARTITIONS: i32 = 4;

enum Kind {
    /// Lives in this process, on the thread that made it.
    Embedded(#[expect(dead_code, reason = "held so that it lives")] MockCluster<'static, DefaultProducerContext>),
    Real(AdminClient<DefaultClientContext>),
}

/// For each request about topics on a real broker.
const ADMIN_PATIENCE: Duration = Duration::from_secs(10);

// === impl Broker ===

impl Broker {
    /// # Errors
    /// It does not start or is away, or the topics cannot be created.
    pub fn start(real: Option<&str>) -> anyhow::Result<Self> {
        match real {
            None => Self::embedded(),
            Some(address) => Self::real(address),
        }
    }

    pub fn is_embedded(&self) -> bool {
        matches!(self.kind, Kind::Embedded(_))
    }

    fn embedded() -> anyhow::Result<Self> {
        let cluster = MockCluster::new(1).context("the embedded broker does not start")?;
        let topics = Topics::named("tailwater", "spans", "spans-kept");
        for (topic, partitions) in topics.all() {
            cluster.create_topic(topic, partitions, 1).with_context(|| format!("creating the topic {topic}"))?;
        }
        Ok(Self { address: cluster.bootstrap_servers(), topics, kind: Kind::Embedded(cluster) })
    }

    fn real(address: &str) -> anyhow::Result<Self> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", address).create().context("no Kafka client")?;
        // Runs on one broker must not meet: neither in a topic, nor in a group.
        let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let group = format!("tailwater-demo-{run}");
        let topics = Topics::named(&group, &format!("{group}-spans"), &format!("{group}-spans-kept"));
        // −1: as the broker does by default.
        let new: Vec<NewTopic> =
            topics.all().map(|(topic, n)| NewTopic::new(topic, n, TopicReplication::Fixed(-1))).into();
        let options = AdminOptions::new().request_timeout(Some(ADMIN_PATIENCE)).operation_timeout(Some(ADMIN_PATIENCE));
        let results =
            wait(admin.create_topics(&new, &options))?.with_context(|| format!("creating topics on {address}"))?;
        // From here on some topics may be there, and go with the broker.
        let broker = Self { address: address.to_owned(), topics: topics.clone(), kind: Kind::Real(admin) };
        match results.into_iter().find_map(Result::err) {
            Some((topic, code)) => bail!("creating the topic {topic} on {address}: {code}"),
            None => Ok(broker),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let Kind::Real(admin) = &self.kind else { return };
        let topics = self.topics.all().map(|(topic, _)| topic);
        let options = AdminOptions::new().request_timeout(Some(ADMIN_PATIENCE));
        // Without members it is only a name and offsets, which the broker forgets in time.
        let _ = wait(admin.delete_groups(&[&self.topics.group], &options));
        let left: Vec<String> = match wait(admin.delete_topics(&topics, &options)) {
            Ok(Ok(results)) => results
                .into_iter()
                .filter_map(Result::err)
                .filter(|(_, code)| *code != RDKafkaErrorCode::UnknownTopicOrPartition)
                .map(|(topic, code)| format!("{topic}: {code}"))
                .collect(),
            Ok(Err(error)) => vec![error.to_string()],
            Err(error) => vec![error.to_string()],
        };
        if !left.is_empty() {
            eprintln!("tailwater demo: topics are left on {}: {}", self.address, left.join(", "));
        }
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_embedded() { "embedded broker" } else { "broker" };
        write!(f, "{kind} {}, topics {} → {}", self.address, self.topics.input, self.topics.output)
    }
}

// === impl Topics ===

impl Topics {
    fn named(group: &str, input: &str, output: &str) -> Self {
        Self {
            group: group.to_owned(),
            input: input.to_owned(),
            output: output.to_owned(),
            dead_letters: format!("{group}-dead-letters"),
            decisions: format!("{group}-decisions"),
            samplers: format!("{group}-samplers"),
        }
    }

    /// With their partitions.
    pub fn all(&self) -> [(&str, i32); 5] {
        [
            (&self.input, PARTITIONS),
            (&self.output, OUTPUT_PARTITIONS),
            (&self.dead_letters, OUTPUT_PARTITIONS),
            (&self.decisions, PARTITIONS),
            (&self.samplers, PARTITIONS),
        ]
    }
}

fn wait<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?.block_on(future))
}
