//! What is asked of a cluster about topics and their settings.

use std::{collections::HashMap, time::Duration};

use rdkafka::{
    TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use crate::{
    config::Config,
    source::{self, Trouble},
};

pub struct Admin(AdminClient<Trouble>);

/// A topic's settings as the broker has them, its defaults among them.
pub type Settings = HashMap<String, String>;

const REQUEST: Duration = Duration::from_secs(5);

// === impl Admin ===

impl Admin {
    pub fn new(config: &Config) -> KafkaResult<Self> {
        Ok(Self(source::client(config).create_with_context(Trouble::default())?))
    }

    /// Creates a topic, unless someone else was faster; or asks whether it could, where it is not to be `real`.
    ///
    /// # Errors
    /// The inner one is the broker's refusal; the outer one, that it gave no answer.
    pub async fn create(&self, topic: &NewTopic<'_>, real: bool) -> KafkaResult<Result<(), RDKafkaErrorCode>> {
        let options = AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST));
        let options = options.validate_only(!real);
        match &self.0.create_topics([topic], &options).await?[..] {
            [Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))] => Ok(Ok(())),
            // Of a cluster that is busy with itself.
            [Err((_, code @ (RDKafkaErrorCode::NotController | RDKafkaErrorCode::RequestTimedOut)))] => {
                Err(KafkaError::AdminOp(*code))
            }
            [Err((_, code))] => Ok(Err(*code)),
            _ => Err(KafkaError::AdminOp(RDKafkaErrorCode::BadMessage)),
        }
    }

    /// Removes the records before these offsets.
    ///
    /// # Errors
    /// The broker does not answer, or refuses.
    pub async fn remove_before(&self, offsets: &TopicPartitionList) -> KafkaResult<()> {
        let options = AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST));
        let removed = self.0.delete_records(offsets, &options).await?;
        removed.elements().iter().try_for_each(|element| element.error())
    }

    /// None where the broker does not say: it may not be allowed, and nothing depends on it alone.
    pub async fn settings(&self, topic: &str) -> Option<Settings> {
        let options = AdminOptions::new().request_timeout(Some(REQUEST));
        let described = self.0.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await.ok()?;
        let entries = described.into_iter().next()?.ok()?.entries;
        Some(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
    }
}
