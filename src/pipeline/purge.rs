//! Removes re-keyed records that nothing will read again: the input holds them too.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use super::admin::Admin;
use crate::{config::Config, source};

/// As often as Kafka Streams does it.
const INTERVAL: Duration = Duration::from_secs(30);
const REQUEST: Duration = Duration::from_secs(5);

/// Removes what the workers' watermarks have passed, again and again. `config` is that of the workers.
pub async fn run(config: Arc<Config>, partitions: i32) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        once(&config, partitions).await;
    }
}

/// Removes what the workers' watermarks have passed.
pub async fn once(config: &Arc<Config>, partitions: i32) {
    if let Err(error) = purge(config, partitions).await {
        tracing::warn!(
            %error,
            "re-keyed records that are no longer needed were not removed from {} (is DeleteRecords allowed?)",
            config.input.topics[0].name
        );
    }
}

async fn purge(config: &Arc<Config>, partitions: i32) -> anyhow::Result<()> {
    let asked = config.clone();
    let passed = tokio::task::spawn_blocking(move || watermarks(&asked, partitions)).await??;
    if passed.count() > 0 {
        Admin::new(config)?.remove_before(&passed).await?;
    }
    Ok(())
}

fn watermarks(config: &Config, partitions: i32) -> KafkaResult<TopicPartitionList> {
    // Pending offsets are of no interest, nor worth a wait.
    let consumer: BaseConsumer = source::client(config)
        .set("group.id", &config.input.group)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_uncommitted")
        .create()?;
    let mut all = TopicPartitionList::new();
    all.add_partition_range(&config.input.topics[0].name, 0, partitions - 1);
    let mut passed = TopicPartitionList::new();
    for element in consumer.committed_offsets(all, REQUEST)?.elements() {
        element.error()?;
        if matches!(element.offset(), Offset::Offset(offset) if offset > 0) {
            passed.add_partition_offset(element.topic(), element.partition(), element.offset())?;
        }
    }
    Ok(passed)
}
