//! Looks whether the decisions that a restart would read back are still in their logs.
//!
//! What runs has them in memory and goes on; who comes after it would be refused (C7). So it is said while it is no harm yet: once
//! the floor has risen above what is gone, a restart does without it.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use crate::{
    config::Config,
    source::{self, Expired, Metadata, Partition},
    telemetry::Telemetry,
};

/// Brokers look for what is too old every five minutes, unless they are told otherwise.
const INTERVAL: Duration = Duration::from_secs(30);
const REQUEST: Duration = Duration::from_secs(5);

/// Looks again and again. `config` and `partitions` are those of the workers.
pub async fn watch(config: Arc<Config>, partitions: Arc<[Partition]>, telemetry: Arc<Telemetry>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let (config, partitions) = (config.clone(), partitions.clone());
        match tokio::task::spawn_blocking(move || gone(&config, &partitions)).await {
            Ok(Ok(gone)) => {
                for Expired { partition: (topic, partition), committed, start } in &gone {
                    tracing::error!(
                        %topic,
                        partition,
                        "decisions below {start} are gone, and a restart would need them from {committed} on and be refused: give the \
                         topic a longer retention.ms, and restart when this is over, late_window from now at the latest"
                    );
                }
                telemetry.miss_decisions(gone.len() as u64);
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "whether decisions are still in their logs is not to be had; going on")
            }
            Err(error) => tracing::warn!(%error, "the look at the logs of decisions"),
        }
    }
}

/// Logs of decisions that begin above their floor.
fn gone(config: &Config, partitions: &[Partition]) -> KafkaResult<Vec<Expired>> {
    // Pending offsets are of no interest, nor worth a wait.
    let consumer: BaseConsumer = source::client(config)
        .set("group.id", &config.input.group)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_uncommitted")
        .create()?;
    let mut gone = source::expired(&consumer, &floors(config, &consumer, partitions)?, REQUEST)?;
    if !gone.is_empty() {
        // The floor may have risen before the start of the log did.
        let now = floors(config, &consumer, partitions)?;
        gone.retain(|of| {
            let floor = now.find_partition(&of.partition.0, of.partition.1).map(|floor| floor.offset());
            matches!(floor, Some(Offset::Offset(floor)) if floor < of.start)
        });
    }
    Ok(gone)
}

/// From where on a restart would read the logs of decisions.
fn floors(config: &Config, consumer: &BaseConsumer, partitions: &[Partition]) -> KafkaResult<TopicPartitionList> {
    let mut all = TopicPartitionList::with_capacity(partitions.len());
    partitions.iter().for_each(|(topic, partition)| _ = all.add_partition(topic, *partition));
    let mut floors = TopicPartitionList::new();
    for element in consumer.committed_offsets(all, REQUEST)?.elements() {
        element.error()?;
        let Offset::Offset(offset) = element.offset() else { continue };
        // What is not ours is for the workers to refuse.
        if let Some(floor) = Metadata::parse(element.metadata(), offset).ok().and_then(|of| of.needs_from()) {
            let decisions = config.input.decisions(element.topic());
            floors.add_partition_offset(&decisions, element.partition(), Offset::Offset(floor))?;
        }
    }
    Ok(floors)
}
