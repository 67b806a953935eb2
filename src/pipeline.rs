//! Builds all parts of the processor, runs them, stops them.

mod admin;
mod internal;
mod preflight;

pub use preflight::{Finding, Level, preflight};

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use rdkafka::error::KafkaResult;
use tokio::sync::mpsc;

use crate::{
    assemble::Keying,
    config::{Config, Keyed, Workers},
    instance::Instance,
    limits, ops,
    source::{self, Missing, Refusal, Silence, Topics, Use},
    telemetry::Telemetry,
    worker::{Ends, Orders, Worker},
};
use admin::Admin;

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// Handle what the topics hold now, then end.
    pub until_end: bool,
    /// Go on without records that were removed before they were read.
    pub accept_expired: bool,
}

/// One request to a broker, and the pause between two.
const REQUEST: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);
/// After so long of answers without it, a topic is missing.
const SETTLING: Duration = Duration::from_secs(5);
/// The promise is 10 s from SIGTERM to exit; a worker that does not come back by then is left behind.
const GRACE: Duration = Duration::from_millis(9500);
/// For consumers to leave the group; a request to a broker that answers.
const GOODBYE: Duration = Duration::from_secs(1);
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
    loop {
        if stop.load(Ordering::Acquire) {
            return Ok(None);
        }
        match learn(config, mode).await? {
            Ok(cluster) => {
                let Cluster { keying, partitions, output_record_bytes, ends } = cluster;
                return Ok(Some(Orders {
                    number: 0,
                    workers: 1,
                    config: config.clone(),
                    keying,
                    partitions: partitions as usize,
                    output_record_bytes,
                    transactional_id: String::new(),
                    telemetry,
                    stop,
                    ends,
                    accept_expired: mode.accept_expired,
                }));
            }
            // A topic that was just created takes a moment to be known.
            Err(Unready::Missing(missing)) => {
                let since: Instant = *answered.get_or_insert_with(Instant::now);
                if since.elapsed() > SETTLING {
                    return Err(missing.into());
                }
            }
            Err(Unready::Away(error)) => {
                answered = None;
                tracing::warn!("cannot reach Kafka at {} ({error}); trying again", config.kafka.brokers);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a cluster says of our topics.
struct Cluster {
    keying: Keying,
    partitions: i32,
    output_record_bytes: usize,
    ends: Option<Arc<Ends>>,
}

/// Why a cluster does not say it, and may soon.
enum Unready {
    Away(String),
    Missing(Missing),
}

/// Asks once.
///
/// # Errors
/// The outer ones are beyond waiting.
async fn learn(config: &Arc<Config>, mode: Mode) -> anyhow::Result<Result<Cluster, Unready>> {
    let asked = config.clone();
    let asking = move || -> Result<_, Silence> {
        let topics = Topics::ask(&asked, REQUEST)?;
        let partitions = check(&asked, &topics);
        Ok((topics, partitions))
    };
    let (topics, partitions) = match tokio::task::spawn_blocking(asking).await? {
        Ok((topics, partitions)) => (topics, partitions?),
        Err(Silence::Away(why)) => return Ok(Err(Unready::Away(why))),
        Err(beyond_waiting) => return Err(beyond_waiting.into()),
    };
    let partitions = match partitions {
        Ok(partitions) => partitions,
        Err(missing) => return Ok(Err(Unready::Missing(missing))),
    };
    let admin = Admin::new(config)?;
    if let Err(error) = internal::prepare(config, &topics, &admin).await? {
        return Ok(Err(Unready::Away(error.to_string())));
    }
    let output_record_bytes = record_limit(config, &admin).await;
    let asked = config.clone();
    let look = move || -> KafkaResult<_> {
        let keying = keying(&asked, &topics)?;
        let ends = mode.until_end.then(|| ends(&asked, &topics)).transpose()?;
        Ok(Cluster { keying, partitions, output_record_bytes, ends: ends.map(Arc::new) })
    };
    match tokio::task::spawn_blocking(look).await? {
        Ok(cluster) => Ok(Ok(cluster)),
        Err(error) => match Refusal::of_right(&error, &config.input.group, Use::Read(&inputs(config))) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(Err(Unready::Away(error.to_string()))),
        },
    }
}

/// Starts the workers and waits for all of them. The first to fail stops the others.
async fn work(orders: Orders, workers: Workers, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let count = count(&orders, workers)?;
    orders.telemetry.start(count);
    let instance = Instance::claim(&orders.config.input.group);
    let (done, mut ended) = mpsc::channel(count);
    let (hold, mut closed) = mpsc::channel::<()>(1);
    for number in 0..count {
        let transactional_id = instance.transactional_id(number);
        let orders = Orders { number, workers: count, transactional_id, ..orders.clone() };
        let (done, hold) = (done.clone(), hold.clone());
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let mut worker = None;
            let result =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker.insert(Worker::new(orders)?).run()));
            let result = result.unwrap_or_else(|_| Err(anyhow!("worker {number} panicked")));
            // Nobody listens when the process is already on its way out.
            _ = done.blocking_send(result);
            // A consumer says goodbye to its group, which may take as long as the group likes.
            drop(worker);
            drop(hold);
        })?;
    }
    drop((done, hold));
    let mut first = Ok(());
    while let Some(result) = ended.recv().await {
        if result.is_err() {
            stop.store(true, Ordering::Release);
        }
        first = first.and(result);
    }
    _ = tokio::time::timeout(GOODBYE, closed.recv()).await;
    first
}

/// How many workers there are to be.
fn count(orders: &Orders, workers: Workers) -> anyhow::Result<usize> {
    let buffer = orders.config.memory.buffer;
    let affordable = usize::try_from(buffer / limits::WORKER_BUFFER).unwrap_or(usize::MAX).max(1);
    match (orders.keying, workers) {
        (Keying::Keyed, Workers::Auto) => {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            Ok(cores.min(orders.partitions).min(affordable))
        }
        (Keying::Keyed, Workers::Fixed(wanted)) if wanted > affordable => bail!(
            "workers is {wanted}, and memory.buffer has room for {affordable}: each needs {} MiB",
            limits::WORKER_BUFFER >> 20
        ),
        (Keying::Keyed, Workers::Fixed(wanted)) => Ok(wanted.min(orders.partitions)),
        (Keying::Unkeyed, Workers::Auto | Workers::Fixed(1)) => Ok(1),
        (Keying::Unkeyed, Workers::Fixed(wanted)) => bail!(
            "workers is {wanted}, but the input is not keyed by trace id: only one worker sees whole traces. Set \
             `workers: auto`, or key the topic by trace id"
        ),
    }
}

fn keying(config: &Config, topics: &Topics) -> KafkaResult<Keying> {
    let (keying, because) = match config.input.keyed {
        Keyed::Yes => (Keying::Keyed, "the configuration says so".to_owned()),
        Keyed::No => (Keying::Unkeyed, "the configuration says so".to_owned()),
        Keyed::Auto => {
            let look = source::look_at_keys(config, topics)?;
            (look.keying, look.because)
        }
    };
    let keyed = if keying == Keying::Keyed { "keyed" } else { "not keyed" };
    tracing::info!("the input is {keyed} by trace id: {because}");
    Ok(keying)
}

fn ends(config: &Config, topics: &Topics) -> KafkaResult<Ends> {
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
///
/// # Errors
/// The outer one is a topic that may not be seen.
fn check(config: &Config, topics: &Topics) -> Result<Result<i32, Missing>, Refusal> {
    let find = |name: &str, role: &'static str, used: Use<'_>| match topics.partitions(name) {
        Some(partitions) => Ok(Ok(partitions)),
        None => match topics.refusal(name, &config.input.group, used, REQUEST) {
            Some(refusal) => Err(refusal),
            None => Ok(Err(missing(config, role, name))),
        },
    };
    if let Err(missing) = find(&config.output.name, "output", Use::Write(&[&config.output.name]))? {
        return Ok(Err(missing));
    }
    let input = config.input.topics.iter();
    input.map(|topic| find(&topic.name, "input", Use::Read(&[&topic.name]))).sum()
}

fn inputs(config: &Config) -> Vec<&str> {
    config.input.topics.iter().map(|topic| &*topic.name).collect()
}

fn missing(config: &Config, role: &'static str, topic: &str) -> Missing {
    let key = if role == "input" { "input.topics" } else { "output" };
    Missing { role, topic: topic.to_owned(), brokers: config.kafka.brokers.clone(), key }
}

/// The largest value a record of the output may have: the producer's limit and the topic's, whichever is less.
async fn record_limit(config: &Config, admin: &Admin) -> usize {
    let producer =
        config.kafka.properties.get("message.max.bytes").and_then(|v| v.parse().ok()).unwrap_or(PRODUCER_LIMIT);
    let settings = admin.settings(&config.output.name).await;
    let topic = settings.and_then(|settings| settings.get("max.message.bytes")?.parse().ok()).unwrap_or(TOPIC_LIMIT);
    producer.min(topic).saturating_sub(FRAMING).max(FRAMING)
}

async fn terminated() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    Ok(())
}
