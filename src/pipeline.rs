//! Builds all parts of the processor, runs them, stops them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
};
use tokio::sync::mpsc;

use crate::{
    assemble::Keying,
    config::{Config, Keyed, Workers},
    ops,
    source::{self, Missing, Topics},
    telemetry::Telemetry,
    worker::{Ends, Orders, Worker},
};

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// Handle what the topics hold now, then end.
    pub until_end: bool,
}

/// One request to a broker, and the pause between two.
const REQUEST: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);
/// After so long of answers without it, a topic is missing.
const SETTLING: Duration = Duration::from_secs(5);
/// The promise is 10 s from SIGTERM to exit; a worker that does not come back by then is left behind.
const GRACE: Duration = Duration::from_millis(9500);
/// A record's key, headers and framing beside its value.
const FRAMING: usize = 512;
/// librdkafka's and the broker's defaults.
const PRODUCER_LIMIT: usize = 1_000_000;
const TOPIC_LIMIT: usize = 1_048_588;

/// Runs the processor until SIGTERM, SIGINT, or the end of a finite input.
///
/// # Errors
/// The reason to exit non-zero.
pub async fn run(config: Config, mode: Mode) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let config = Arc::new(config);
    let names = config.policies.policies().iter().map(|policy| policy.name.clone()).collect();
    let telemetry = Arc::new(Telemetry::install(names)?);
    let mut http = tokio::spawn(ops::serve(config.http.listen, telemetry.clone()));
    let mut signals = std::pin::pin!(terminated());
    // Until the brokers answer there is nothing to be ready for; the HTTP side is up from the start.
    let work = async {
        match prepare(&config, mode, telemetry, stop.clone()).await? {
            Some(orders) => work(orders, config.workers, stop.clone()).await,
            None => Ok(()),
        }
    };
    let mut work = std::pin::pin!(work);
    tokio::select! {
        ended = &mut work => ended,
        served = &mut http => served.context("the HTTP server panicked")?,
        signal = &mut signals => {
            signal?;
            tracing::info!("stopping: finishing what is decided");
            stop.store(true, Ordering::Release);
            tokio::time::timeout(GRACE, work).await.unwrap_or_else(|_| Err(anyhow!("a worker did not stop in time")))
        }
    }
}

/// Learns what the cluster says, with patience for one that is away; None where told to stop meanwhile.
async fn prepare(
    config: &Arc<Config>,
    mode: Mode,
    telemetry: Arc<Telemetry>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Option<Orders>> {
    let mut answered = None;
    let (topics, partitions) = loop {
        if stop.load(Ordering::Acquire) {
            return Ok(None);
        }
        let asked = config.clone();
        match tokio::task::spawn_blocking(move || Topics::ask(&asked, REQUEST)).await? {
            Ok(topics) => {
                let since: Instant = *answered.get_or_insert_with(Instant::now);
                match check(config, &topics) {
                    Ok(partitions) => break (topics, partitions),
                    // A topic that was just created takes a moment to be known.
                    Err(missing) if since.elapsed() > SETTLING => return Err(missing.into()),
                    Err(_) => {}
                }
            }
            Err(error) => tracing::warn!("cannot reach Kafka at {} ({error}); trying again", config.kafka.brokers),
        }
        tokio::time::sleep(PAUSE).await;
    };
    if topics.partitions(&config.input.dead_letters()).is_none() {
        create(config, &config.input.dead_letters(), partitions).await?;
    }
    let output_record_bytes = record_limit(config).await;
    let (keying, ends) = {
        let config = config.clone();
        let look = move || {
            let keying = keying(&config, &topics)?;
            let ends = mode.until_end.then(|| ends(&config, &topics)).transpose()?;
            anyhow::Ok((keying, ends.map(Arc::new)))
        };
        tokio::task::spawn_blocking(look).await??
    };
    Ok(Some(Orders {
        number: 0,
        workers: 1,
        config: config.clone(),
        keying,
        partitions: partitions as usize,
        output_record_bytes,
        telemetry,
        stop,
        ends,
    }))
}

/// Starts the workers and waits for all of them. The first to fail stops the others.
async fn work(orders: Orders, workers: Workers, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let available = match workers {
        Workers::Auto => thread::available_parallelism().map_or(1, usize::from),
        Workers::Fixed(workers) => workers,
    };
    let count = match (orders.keying, workers) {
        (Keying::Keyed, _) => available.min(orders.partitions),
        (Keying::Unkeyed, Workers::Auto | Workers::Fixed(1)) => 1,
        (Keying::Unkeyed, Workers::Fixed(wanted)) => {
            return Err(anyhow!(
                "workers is {wanted}, but the input is not keyed by trace id: only one worker sees whole traces. Set \
                 `workers: auto`, or key the topic by trace id"
            ));
        }
    };
    orders.telemetry.start(count);
    let (done, mut ended) = mpsc::channel(count);
    for number in 0..count {
        let orders = Orders { number, workers: count, ..orders.clone() };
        let done = done.clone();
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Worker::new(orders)?.run()));
            let result = result.unwrap_or_else(|_| Err(anyhow!("worker {number} panicked")));
            // Nobody listens when the process is already on its way out.
            _ = done.blocking_send(result);
        })?;
    }
    drop(done);
    let mut first = Ok(());
    while let Some(result) = ended.recv().await {
        if result.is_err() {
            stop.store(true, Ordering::Release);
        }
        first = first.and(result);
    }
    first
}

fn keying(config: &Config, topics: &Topics) -> anyhow::Result<Keying> {
    let (keying, because) = match config.input.keyed {
        Keyed::Yes => (Keying::Keyed, "the configuration says so".to_owned()),
        Keyed::No => (Keying::Unkeyed, "the configuration says so".to_owned()),
        Keyed::Auto => {
            let look = source::look_at_keys(config, topics).context("looking at the input's keys")?;
            (look.keying, look.because)
        }
    };
    let keyed = if keying == Keying::Keyed { "keyed" } else { "not keyed" };
    tracing::info!("the input is {keyed} by trace id: {because}");
    Ok(keying)
}

fn ends(config: &Config, topics: &Topics) -> anyhow::Result<Ends> {
    let mut ends = HashMap::new();
    for input in &config.input.topics {
        for partition in 0..topics.partitions(&input.name).unwrap_or(0) {
            let (_, high) = topics.watermarks(&input.name, partition, REQUEST)?;
            ends.insert((input.name.as_str().into(), partition), high);
        }
    }
    Ok(Ends::new(ends))
}

/// How many partitions the input has, if all topics are there.
fn check(config: &Config, topics: &Topics) -> Result<i32, Missing> {
    topics.partitions(&config.output.name).ok_or_else(|| missing(config, "output", &config.output.name))?;
    let input = config.input.topics.iter();
    input.map(|topic| topics.partitions(&topic.name).ok_or_else(|| missing(config, "input", &topic.name))).sum()
}

fn missing(config: &Config, role: &'static str, topic: &str) -> Missing {
    let key = if role == "input" { "input.topics" } else { "output" };
    Missing { role, topic: topic.to_owned(), brokers: config.kafka.brokers.clone(), key }
}

fn admin(config: &Config) -> anyhow::Result<AdminClient<DefaultClientContext>> {
    Ok(source::client(config).create()?)
}

/// Creates an internal topic.
async fn create(config: &Config, topic: &str, partitions: i32) -> anyhow::Result<()> {
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().operation_timeout(Some(REQUEST));
    let created = admin(config)?.create_topics([&new], &options).await;
    let reason = match created.as_deref() {
        Ok([Ok(_) | Err((_, rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists))]) => {
            tracing::info!(topic, "created");
            return Ok(());
        }
        Ok([Err((_, code))]) => code.to_string(),
        Ok(_) => "the broker's answer names another topic".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(anyhow!("the topic for dead letters, `{topic}`, does not exist and cannot be created ({reason}); create it"))
}

/// The largest value a record of the output may have: the producer's limit and the topic's, whichever is less.
async fn record_limit(config: &Config) -> usize {
    let producer =
        config.kafka.properties.get("message.max.bytes").and_then(|v| v.parse().ok()).unwrap_or(PRODUCER_LIMIT);
    let topic = async {
        let resource = ResourceSpecifier::Topic(&config.output.name);
        let options = AdminOptions::new().request_timeout(Some(REQUEST));
        let described = admin(config).ok()?.describe_configs([&resource], &options).await.ok()?;
        let described = described.into_iter().next()?.ok()?;
        described.get("max.message.bytes")?.value.as_deref()?.parse::<usize>().ok()
    };
    let topic = topic.await.unwrap_or(TOPIC_LIMIT);
    producer.min(topic).saturating_sub(FRAMING).max(FRAMING)
}

async fn terminated() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    Ok(())
}
