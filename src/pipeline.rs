//! Builds all parts of the processor, runs them, stops them.

mod admin;
mod crew;
mod floors;
mod internal;
mod preflight;
mod purge;
mod reload;

pub use preflight::{Finding, Level, preflight};
pub use reload::Load;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use rdkafka::error::KafkaResult;
use tokio::sync::watch;

use crate::{
    assemble::Keying,
    config::{Config, Keyed, Start, Workers},
    decide::Edition,
    forward::FRAMING,
    instance::Instance,
    limits, ops,
    rekey::{self, Frontier, Rekey},
    source::{self, Board, Missing, Partition, Refusal, Silence, Topics, Use},
    telemetry::Telemetry,
    worker::{Ends, Orders, Worker},
};
use admin::Admin;
use crew::Crew;
use reload::Reload;

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// Handle what the topics hold now, then end.
    pub until_end: bool,
    /// Go on without records that were removed before they were read.
    pub accept_expired: bool,
    /// Write nothing.
    pub dry_run: bool,
}

/// One request to a broker, and the pause between two.
const REQUEST: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);
/// After so long of answers without it, a topic is missing.
const SETTLING: Duration = Duration::from_secs(5);
/// The promise is 10 s from SIGTERM to exit; a worker that does not come back by then is left behind.
const GRACE: Duration = Duration::from_millis(9500);
/// librdkafka's default.
const PRODUCER_LIMIT: usize = 1_000_000;

/// Runs the processor until SIGTERM, SIGINT, or the end of a finite input. Returns what was counted. Meanwhile `load` is what
/// reads the configuration again, for its policies.
///
/// # Errors
/// The reason to exit non-zero.
pub async fn run(config: Config, mode: Mode, load: Load) -> anyhow::Result<Arc<Telemetry>> {
    let stop = Arc::new(AtomicBool::new(false));
    let loaded = Arc::new(config);
    let config = if mode.dry_run { Arc::new(dry_run(&loaded, mode.until_end)?) } else { loaded.clone() };
    let telemetry = Arc::new(Telemetry::install(mode.dry_run)?);
    let (reload, policies) = Reload::new(loaded, load, telemetry.clone())?;
    tokio::spawn(reload.run());
    let mut http = tokio::spawn(ops::serve(config.http.listen, telemetry.clone()));
    let mut signals = std::pin::pin!(terminated());
    // Until the brokers answer there is nothing to be ready for; the HTTP side is up from the start.
    let work = async {
        match prepare(&config, mode, telemetry.clone(), policies, stop.clone()).await? {
            Some(plan) => plan.work(config.workers, stop.clone()).await,
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
    }?;
    Ok(telemetry.clone())
}

/// What a dry run is to do: read the same beside the processor, all that is there or what is still to come.
///
/// # Errors
/// It cannot do without writing.
fn dry_run(config: &Config, until_end: bool) -> anyhow::Result<Config> {
    if config.input.keyed == Keyed::Rekey {
        bail!(
            "with `input.keyed: rekey` traces go through a topic of ours, and a dry run writes nothing. Let one worker read all \
             of the input, with `keyed: no` and `workers: auto`, or look at a range of it with `tailwater backtest`"
        );
    }
    let (start, from) = if until_end { (Start::Earliest, "the start") } else { (Start::Latest, "the end") };
    let input = config.input.dry_run(start);
    tracing::info!(group = input.group, "a dry run, from {from} of the log: nothing is written, nothing is committed");
    Ok(Config { input, ..config.clone() })
}

/// What is to be done.
struct Plan {
    orders: Orders,
    /// For the stage before the workers, where there is one.
    rekey: Option<rekey::Orders>,
    /// Of a dry run: what is to be read.
    dry_run: Option<Arc<[Partition]>>,
}

/// Learns what the cluster says, with patience for one that is away; None where told to stop meanwhile.
async fn prepare(
    config: &Arc<Config>,
    mode: Mode,
    telemetry: Arc<Telemetry>,
    policies: watch::Receiver<Arc<Edition>>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Option<Plan>> {
    let mut answered = None;
    loop {
        if stop.load(Ordering::Acquire) {
            return Ok(None);
        }
        match learn(config, mode).await? {
            Ok(cluster) => return Plan::new(config, cluster, mode, telemetry, policies, stop).map(Some),
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
    /// All that the workers are to read.
    partitions: BTreeSet<Partition>,
    /// For how many milliseconds it is there; None where that is for ever.
    retention: Option<u64>,
    output_record_bytes: usize,
    ends: Option<Arc<Ends>>,
    /// Of the topic that the input goes through, if it is re-keyed: how many partitions, and the largest record.
    by_trace: Option<(i32, usize)>,
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
        let checked = check(&asked, &topics, mode.dry_run);
        Ok((topics, checked))
    };
    let (topics, checked) = match tokio::task::spawn_blocking(asking).await? {
        Ok((topics, checked)) => (topics, checked?),
        Err(Silence::Away(why)) => return Ok(Err(Unready::Away(why))),
        Err(beyond_waiting) => return Err(beyond_waiting.into()),
    };
    if let Err(missing) = checked {
        return Ok(Err(Unready::Missing(missing)));
    }
    let admin = Admin::new(config)?;
    if !mode.dry_run
        && let Err(error) = internal::prepare(config, &topics, &admin).await?
    {
        return Ok(Err(Unready::Away(error.to_string())));
    }
    let mut by_trace = None;
    if config.input.keyed == Keyed::Rekey {
        let topic = config.input.by_trace();
        let Some(partitions) = topics.partitions(&topic) else {
            return Ok(Err(Unready::Missing(missing(config, "internal", &topic))));
        };
        let largest = admin.settings(&topic).await.as_ref().and_then(internal::largest_record);
        by_trace = Some((partitions, largest.unwrap_or(internal::TOPIC_LIMIT)));
    }
    let output_record_bytes = record_limit(config, &admin).await;
    let mut retention = None;
    for topic in inputs(&workers_config(config)) {
        let of_topic = internal::retention(admin.settings(topic).await.as_ref());
        retention = retention.into_iter().chain(of_topic).min();
    }
    let asked = config.clone();
    let look = move || -> KafkaResult<_> {
        let keying = keying(&asked, &topics)?;
        let ends = mode.until_end.then(|| ends(&asked, &topics)).transpose()?;
        let partitions = input_partitions(&workers_config(&asked), &topics).collect();
        Ok(Cluster { keying, partitions, retention, output_record_bytes, ends: ends.map(Arc::new), by_trace })
    };
    match tokio::task::spawn_blocking(look).await? {
        Ok(cluster) => Ok(Ok(cluster)),
        Err(error) => match Refusal::of_right(&error, &config.input.group, Use::Read(&inputs(config))) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(Err(Unready::Away(error.to_string()))),
        },
    }
}

// === impl Plan ===

impl Plan {
    fn new(
        config: &Arc<Config>,
        cluster: Cluster,
        mode: Mode,
        telemetry: Arc<Telemetry>,
        policies: watch::Receiver<Arc<Edition>>,
        stop: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let Cluster { keying, partitions, retention, output_record_bytes, ends, by_trace } = cluster;
        let dry_run = mode.dry_run.then(|| partitions.iter().cloned().collect());
        let mut orders = Orders {
            number: 0,
            workers: 1,
            config: Arc::new(workers_config(config)),
            keying,
            frontier: None,
            partitions: partitions.into_iter().collect(),
            retention,
            output_record_bytes,
            transactional_id: String::new(),
            telemetry,
            stop,
            board: None,
            ends,
            accept_expired: mode.accept_expired,
            policies,
        };
        let Some((partitions, largest)) = by_trace else {
            // A dry run has no decisions that others could read.
            if keying == Keying::Keyed && dry_run.is_none() {
                source::watch_spread(config, orders.telemetry.clone(), orders.stop.clone())?;
            }
            return Ok(Self { orders, rekey: None, dry_run });
        };
        let before = Arc::new(Config { input: config.input.before_rekey(), ..Config::clone(config) });
        let frontier = Frontier::follow(&before, orders.ends.clone(), orders.stop.clone())?;
        let rekey = rekey::Orders {
            number: 0,
            config: config.clone(),
            before,
            partitions,
            record_bytes: producer_limit(config).unwrap_or(largest).min(largest).saturating_sub(FRAMING).max(FRAMING),
            transactional_id: String::new(),
            frontier: frontier.clone(),
            telemetry: orders.telemetry.clone(),
            stop: orders.stop.clone(),
            ends: orders.ends.take(),
            accept_expired: mode.accept_expired,
        };
        orders.frontier = Some(frontier);
        Ok(Self { orders, rekey: Some(rekey), dry_run })
    }

    /// Starts the threads and waits for all of them. The first to fail stops the others.
    async fn work(self, workers: Workers, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
        let Self { mut orders, rekey, dry_run } = self;
        let count = count(&orders, workers)?;
        let instance = Instance::claim(&orders.config.input.group);
        let mut crew = Crew::new(stop.clone());
        orders.telemetry.start(count, rekey.as_ref().map_or(0, |_| count));
        if let Some(rekey) = &rekey {
            for number in 0..count {
                let transactional_id = instance.transactional_id(format_args!("rekey-{number}"));
                let orders = rekey::Orders { number, transactional_id, ..rekey.clone() };
                crew.start(format!("rekey-{number}"), || Rekey::new(orders), Rekey::run)?;
            }
            // What is read to its end is first written to its end.
            if rekey.ends.is_some() {
                crew.end().await?;
                if stop.load(Ordering::Acquire) {
                    return Ok(());
                }
                orders.ends = Some(Arc::new(written(&orders.config).await?));
                crew = Crew::new(stop);
            }
            tokio::spawn(purge::run(orders.config.clone(), rekey.partitions));
        }
        // A dry run remembers nothing over a restart.
        if dry_run.is_none() {
            let Orders { config, partitions, telemetry, .. } = &orders;
            tokio::spawn(floors::watch(config.clone(), partitions.clone(), telemetry.clone()));
        }
        if orders.keying == Keying::Keyed {
            // In a worker's memory they take some four times as much: an eighth of its share.
            let most = orders.config.memory.buffer as usize / count / 32;
            orders.board = Some(match dry_run {
                None => Board::follow(&orders.config, most, orders.stop.clone())?,
                Some(_) => Arc::new(Board::new(most)),
            });
        }
        for number in 0..count {
            let transactional_id = instance.transactional_id(number);
            let orders = Orders { number, workers: count, transactional_id, ..orders.clone() };
            let name = format!("worker-{number}");
            match dry_run.clone() {
                None => crew.start(name, || Worker::new(orders), Worker::run)?,
                Some(read) => crew.start(name, move || Worker::dry_run(orders, &read), Worker::run)?,
            }
        }
        crew.end().await?;
        if let (Some(rekey), Some(_)) = (rekey, orders.ends) {
            purge::once(&orders.config, rekey.partitions).await;
        }
        Ok(())
    }
}

/// What the workers are to read.
fn workers_config(config: &Config) -> Config {
    match config.input.keyed {
        Keyed::Rekey => Config { input: config.input.behind_rekey(), ..config.clone() },
        _ => config.clone(),
    }
}

/// How many workers there are to be.
fn count(orders: &Orders, workers: Workers) -> anyhow::Result<usize> {
    let buffer = orders.config.memory.buffer;
    let affordable = usize::try_from(buffer / limits::WORKER_BUFFER).unwrap_or(usize::MAX).max(1);
    match (orders.keying, workers) {
        (Keying::Keyed, Workers::Auto) => {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            Ok(cores.min(orders.partitions.len()).min(affordable))
        }
        (Keying::Keyed, Workers::Fixed(wanted)) if wanted > affordable => bail!(
            "workers is {wanted}, and memory.buffer has room for {affordable}: each needs {} MiB",
            limits::WORKER_BUFFER >> 20
        ),
        (Keying::Keyed, Workers::Fixed(wanted)) => Ok(wanted.min(orders.partitions.len())),
        (Keying::Unkeyed, Workers::Auto | Workers::Fixed(1)) => Ok(1),
        (Keying::Unkeyed, Workers::Fixed(wanted)) => bail!(
            "workers is {wanted}, but the input is not keyed by trace id: only one worker sees whole traces. Set \
             `input.keyed: rekey`, which brings them together first, or `workers: auto`, or key the topic by trace id"
        ),
    }
}

fn keying(config: &Config, topics: &Topics) -> KafkaResult<Keying> {
    let (keying, because) = match config.input.keyed {
        Keyed::Yes => (Keying::Keyed, "the configuration says so".to_owned()),
        Keyed::No => (Keying::Unkeyed, "the configuration says so".to_owned()),
        Keyed::Rekey => (Keying::Keyed, "it is re-keyed".to_owned()),
        Keyed::Auto => {
            let look = source::look_at_keys(config, topics)?;
            (look.keying, look.because)
        }
    };
    match keying {
        Keying::Keyed => tracing::info!("the input is keyed by trace id: {because}"),
        Keying::Unkeyed => tracing::info!(
            "the input is not keyed by trace id: {because}; one worker reads all of it. `input.keyed: rekey` allows more"
        ),
    }
    Ok(keying)
}

fn ends(config: &Config, topics: &Topics) -> KafkaResult<Ends> {
    let mut ends = HashMap::new();
    for (topic, partition) in input_partitions(config, topics) {
        let (_, high) = topics.watermarks(&topic, partition, REQUEST)?;
        ends.insert((topic, partition), high);
    }
    Ok(Ends::new(ends))
}

fn input_partitions(config: &Config, topics: &Topics) -> impl Iterator<Item = Partition> {
    config.input.topics.iter().flat_map(|input| {
        let name = Arc::<str>::from(&*input.name);
        (0..topics.partitions(&name).unwrap_or(0)).map(move |partition| (name.clone(), partition))
    })
}

/// Where the re-keyed input ends now. All of it is committed, whether its markers are there or not.
async fn written(config: &Config) -> anyhow::Result<Ends> {
    let mut config = config.clone();
    config.kafka.properties.insert("isolation.level".to_owned(), "read_uncommitted".to_owned());
    tokio::task::spawn_blocking(move || Ok(ends(&config, &Topics::ask(&config, REQUEST)?)?)).await?
}

/// How many partitions the input has, if all topics are there. A dry run needs no output.
///
/// # Errors
/// The outer one is a topic that may not be seen.
fn check(config: &Config, topics: &Topics, dry_run: bool) -> Result<Result<i32, Missing>, Refusal> {
    let find = |name: &str, role: &'static str, used: Use<'_>| match topics.partitions(name) {
        Some(partitions) => Ok(Ok(partitions)),
        None => match topics.refusal(name, &config.input.group, used, REQUEST) {
            Some(refusal) => Err(refusal),
            None => Ok(Err(missing(config, role, name))),
        },
    };
    if !dry_run && let Err(missing) = find(&config.output.name, "output", Use::Write(&[&config.output.name]))? {
        return Ok(Err(missing));
    }
    let input = config.input.topics.iter();
    input.map(|topic| find(&topic.name, "input", Use::Read(&[&topic.name]))).sum()
}

fn inputs(config: &Config) -> Vec<&str> {
    config.input.topics.iter().map(|topic| &*topic.name).collect()
}

fn missing(config: &Config, role: &'static str, topic: &str) -> Missing {
    let key = match role {
        "input" => "input.topics",
        "output" => "output",
        _ => "input.group",
    };
    Missing { role, topic: topic.to_owned(), brokers: config.kafka.brokers.clone(), key }
}

/// The largest value a record of the output may have: the producer's limit and the topic's, whichever is less.
async fn record_limit(config: &Config, admin: &Admin) -> usize {
    let settings = admin.settings(&config.output.name).await;
    let topic = settings.as_ref().and_then(internal::largest_record).unwrap_or(internal::TOPIC_LIMIT);
    producer_limit(config).unwrap_or(PRODUCER_LIMIT).min(topic).saturating_sub(FRAMING).max(FRAMING)
}

/// Where it is configured.
fn producer_limit(config: &Config) -> Option<usize> {
    config.kafka.properties.get("message.max.bytes")?.parse().ok()
}

async fn terminated() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    Ok(())
}
