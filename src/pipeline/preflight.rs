//! Tries out what a run will need of a cluster, and changes nothing that anybody can see.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use super::{
    REQUEST,
    admin::{Admin, Settings},
    check, inputs,
    internal::{Internal, Standing, TOPIC_LIMIT},
    workers_config,
};
use crate::{
    assemble::Keying,
    config::{Config, Delivery, Keyed, Workers},
    instance,
    source::{self, Expired, Metadata, Refusal, Silence, Topics, Trouble, Use},
    table::several,
};

/// What one check found. `Display` is its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// What was looked at, in a word.
    pub subject: &'static str,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok,
    /// It runs, and may not do so well or for long.
    Warning,
    /// It would not run.
    Error,
}

/// For a record, a transaction, or an answer.
const PATIENCE: Duration = Duration::from_secs(15);
const STEP: Duration = Duration::from_millis(100);
/// A larger record is not made only to be refused.
const MAX_PROBE: usize = 16 << 20;

/// Checks everything that can be checked without running. Where brokers do not answer, nothing else is.
pub async fn preflight(config: &Arc<Config>) -> Vec<Finding> {
    let mut found = Findings::default();
    let brokers = &config.kafka.brokers;
    let topics = match Topics::ask(config, REQUEST) {
        Ok(topics) => topics,
        Err(Silence::Away(why)) => {
            found.error(
                "brokers",
                format!("{brokers} cannot be reached ({why}); start them, or correct `kafka.brokers`"),
            );
            return found.0;
        }
        Err(refused) => {
            found.error("brokers", refused);
            return found.0;
        }
    };
    found.ok("brokers", format!("{brokers} answers"));
    match check(config, &topics, false) {
        Ok(Ok(partitions)) => {
            found.ok("topics", format!("input and output exist; {} to read", several(partitions, "partition")))
        }
        Ok(Err(missing)) => found.error("topics", missing),
        Err(refusal) => found.error("topics", refusal),
    }
    let admin = match Admin::new(config) {
        Ok(admin) => admin,
        Err(error) => {
            found.error("brokers", error);
            return found.0;
        }
    };
    let mut readers = vec![workers_config(config)];
    if config.input.keyed == Keyed::Rekey {
        readers.insert(0, Config { input: config.input.before_rekey(), ..Config::clone(config) });
    }
    let mut preflight = Preflight { config, readers, topics, admin, found };
    preflight.internal().await;
    preflight.retention().await;
    preflight.replication().await;
    preflight.keying();
    preflight.reading();
    preflight.position();
    preflight.writing().await;
    preflight.removing().await;
    preflight.found.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

struct Preflight<'a> {
    config: &'a Arc<Config>,
    /// Each a group, and what it reads: the re-key stage, where there is one, and the workers.
    readers: Vec<Config>,
    topics: Topics,
    admin: Admin,
    found: Findings,
}

// === impl Preflight ===

impl Preflight<'_> {
    /// The topics that are ours.
    async fn internal(&mut self) {
        for internal in Internal::all(self.config, &self.topics, &self.admin).await {
            let topic = &internal.topic;
            match internal.settle(&self.topics, &self.admin, false).await {
                Ok(Ok(Standing::New)) => {
                    self.found.ok("internal", format!("`{topic}` will be created, with {}", internal.wanted));
                }
                Ok(Ok(Standing::There(warnings))) if warnings.is_empty() => {
                    self.found.ok("internal", format!("`{topic}` exists"));
                }
                Ok(Ok(Standing::There(warnings))) => {
                    warnings.iter().for_each(|warning| self.found.warn("internal", format!("`{topic}`: {warning}")));
                }
                Ok(Err(away)) => self.found.error("internal", format!("`{topic}`: {away}; try again")),
                Err(wrong) => self.found.error("internal", wrong),
            }
        }
    }

    /// Whether the input stays for long enough to be read again.
    async fn retention(&mut self) {
        let least = 2 * self.config.completion.max_wait;
        for topic in inputs(self.config) {
            let settings = self.admin.settings(topic).await;
            let Some(retention) = settings.as_ref().and_then(|of| of.get("retention.ms")?.parse::<i64>().ok()) else {
                self.found.warn(
                    "retention",
                    format!("the broker does not say how long `{topic}` keeps records; grant DescribeConfigs on it"),
                );
                continue;
            };
            let forever = retention < 0;
            if !forever && u128::from(retention.unsigned_abs()) < least.as_millis() {
                self.found.warn(
                    "retention",
                    format!(
                        "`{topic}` keeps records for {:?}, and a restart reads those of the last {:?} again; set \
                         retention.ms to {} at least",
                        Duration::from_millis(retention.unsigned_abs()),
                        self.config.completion.max_wait,
                        least.as_millis()
                    ),
                );
            } else {
                let kept = if forever { "for ever".to_owned() } else { format!("for {retention} ms") };
                self.found.ok("retention", format!("`{topic}` keeps records {kept}"));
            }
        }
    }

    /// Whether a broker may fail.
    async fn replication(&mut self) {
        let config = self.config;
        let written = self.written();
        for topic in inputs(config).into_iter().chain(written.iter().map(String::as_str)) {
            let Some(shape) = self.topics.shape(topic) else { continue };
            let settings = self.admin.settings(topic).await;
            let least = settings.as_ref().and_then(|of| of.get("min.insync.replicas")?.parse().ok()).unwrap_or(1_usize);
            let (replicas, in_sync) = (shape.replicas, shape.in_sync);
            let writes = written.iter().any(|of| of == topic);
            if writes && in_sync < least {
                self.found.error(
                    "replication",
                    format!(
                        "`{topic}` takes no records: {in_sync} replicas are in sync and min.insync.replicas is {least}"
                    ),
                );
            } else if replicas == 1 {
                self.found.warn(
                    "replication",
                    format!("`{topic}` has one replica: what is in it goes with its broker; 3 are usual"),
                );
            } else if in_sync < replicas {
                self.found.warn("replication", format!("`{topic}`: {in_sync} of {replicas} replicas are in sync"));
            } else if writes && least >= replicas {
                let message = format!(
                    "`{topic}` takes no records while a broker is away: min.insync.replicas is {least} of {replicas}; set \
                     it to {}",
                    replicas - 1
                );
                self.found.warn("replication", message);
            } else {
                self.found
                    .ok("replication", format!("`{topic}`: {replicas} replicas, at least {least} of them in sync"));
            }
        }
    }

    /// Whether `input.keyed` and `workers` fit the topic.
    fn keying(&mut self) {
        let config = self.config;
        if inputs(config).iter().any(|topic| self.topics.partitions(topic).is_none()) {
            return;
        }
        let look = match source::look_at_keys(config, &self.topics) {
            Ok(look) => look,
            Err(error) => return self.failed("keying", error, &config.input.group, Use::Read(&inputs(config))),
        };
        let because = look.because;
        let several = matches!(config.workers, Workers::Fixed(2..));
        match (config.input.keyed, look.keying) {
            (Keyed::Rekey, Keying::Unkeyed) => {
                self.found.ok("keying", format!("not keyed by trace id, and brought together first: {because}"));
            }
            (Keyed::Rekey, Keying::Keyed) => self.found.warn(
                "keying",
                format!("keyed by trace id already ({because}); `input.keyed: auto` does without the re-key stage"),
            ),
            (Keyed::Yes, Keying::Unkeyed) if look.conclusive => self.found.error(
                "keying",
                format!("`input.keyed` is yes, but {because}: traces would be split; say auto, or key by trace id"),
            ),
            (Keyed::Yes, _) => self.found.ok("keying", format!("keyed, as configured; {because}")),
            (Keyed::Auto, Keying::Keyed) => self.found.ok("keying", format!("keyed by trace id: {because}")),
            _ if several => self.found.error(
                "keying",
                format!("not keyed by trace id ({because}), so one worker has to do: set `workers: auto`, or `input.keyed: rekey`"),
            ),
            (Keyed::Auto, Keying::Unkeyed) if !look.conclusive => self.found.warn(
                "keying",
                format!(
                    "taken as not keyed, with one worker, because {because}; say `input.keyed: yes` where you know"
                ),
            ),
            _ => self.found.ok("keying", format!("not keyed by trace id, so one worker: {because}")),
        }
    }

    /// Whether records may be read, by reading one.
    fn reading(&mut self) {
        let remembered = self.remembered();
        let inputs = self.readers.iter().flat_map(|reader| inputs(reader).into_iter().map(str::to_owned));
        for topic in inputs.chain(remembered).collect::<Vec<_>>() {
            if self.topics.partitions(&topic).is_none() {
                continue;
            }
            match read(self.config, &topic) {
                Ok(()) => self.found.ok("reading", format!("`{topic}` can be read")),
                Err(error) => self.failed("reading", error, &self.config.input.group, Use::Read(&[&topic])),
            }
        }
    }

    /// Whether what each group has yet to read is still there, and what it remembers.
    fn position(&mut self) {
        for reader in self.readers.clone() {
            let group = &reader.input.group;
            match self.positions(&reader) {
                Ok((committed, expired)) if expired.is_empty() => {
                    let message = format!(
                        "the group `{group}` has committed {}, all within the log",
                        several(committed, "partition")
                    );
                    self.found.ok("position", message);
                }
                Ok((_, expired)) => {
                    let all = expired.iter().map(Expired::to_string).collect::<Vec<_>>().join(", ");
                    let todo = "start with --accept-expired to go on without them";
                    self.found.error("position", format!("records were removed before they were read: {all}; {todo}"));
                }
                Err(error) => self.failed("position", error, group, Use::Read(&inputs(&reader))),
            }
        }
    }

    fn positions(&mut self, reader: &Config) -> KafkaResult<(usize, Vec<Expired>)> {
        let consumer = consumer(reader)?;
        let mut all = TopicPartitionList::new();
        for topic in inputs(reader) {
            if let Some(partitions) = self.topics.partitions(topic) {
                all.add_partition_range(topic, 0, partitions - 1);
            }
        }
        // Not there yet, and librdkafka does not ask for nothing.
        if all.count() == 0 {
            return Ok((0, Vec::new()));
        }
        let committed = consumer.committed_offsets(all, PATIENCE)?;
        let mut count = 0;
        for element in committed.elements() {
            let Offset::Offset(offset) = element.offset() else { continue };
            count += 1;
            let metadata = Metadata::parse(element.metadata(), offset).ok();
            let Some(floor) = metadata.and_then(|of| of.needs_from()) else { continue };
            let decisions = reader.input.decisions(element.topic());
            let Ok((low, _)) = self.topics.watermarks(&decisions, element.partition(), REQUEST) else { continue };
            if low > floor {
                let name = format!("{decisions}/{}", element.partition());
                let todo = "reset the group's offsets to go on without them";
                self.found.error(
                    "position",
                    format!("decisions of {name} below {low} are gone, and needed from {floor} on; {todo}"),
                );
            }
        }
        Ok((count, source::expired(&consumer, &committed, PATIENCE)?))
    }

    /// Whether records may be written, and in transactions.
    async fn writing(&mut self) {
        let config = self.config;
        let transactional = config.delivery == Delivery::ExactlyOnce;
        if transactional && !self.transactions() {
            return;
        }
        for topic in self.written() {
            if self.topics.partitions(&topic).is_none() {
                continue;
            }
            let settings = self.admin.settings(&topic).await;
            let Some(bytes) = probe_bytes(settings.as_ref(), transactional) else {
                self.found.warn("writing", format!("whether `{topic}` can be written is not known before it is"));
                continue;
            };
            match write(config, &topic, bytes) {
                Ok(()) => self.found.ok("writing", format!("`{topic}` can be written")),
                Err(error) => self.failed("writing", error, &config.input.group, Use::Write(&[&topic])),
            }
        }
    }

    /// Whether each group's offsets may be committed in transactions; false where there are no transactions at all.
    fn transactions(&mut self) -> bool {
        let config = self.config;
        for reader in self.readers.clone() {
            let group = &reader.input.group;
            // Behind the re-key stage, a topic that may have yet to be made.
            let topic = inputs(&reader)[0];
            let topic = if self.topics.partitions(topic).is_some() { topic } else { inputs(config)[0] };
            match transaction(config, &reader, topic) {
                Ok(()) => self.found.ok("transactions", format!("they can be made, as the group `{group}`")),
                Err(error) => {
                    // Of the right to commit, what is written knows nothing.
                    let goes_on = matches!(
                        error.rdkafka_error_code(),
                        Some(RDKafkaErrorCode::GroupAuthorizationFailed | RDKafkaErrorCode::TopicAuthorizationFailed)
                    );
                    // Both have transactions named after ours.
                    let named = if goes_on { group } else { &config.input.group };
                    self.failed("transactions", error, named, Use::Read(&[topic]));
                    if !goes_on {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Whether re-keyed records may be removed when they are done with, by removing none.
    async fn removing(&mut self) {
        let topic = self.config.input.by_trace();
        if self.config.input.keyed != Keyed::Rekey || self.topics.partitions(&topic).is_none() {
            return;
        }
        let removed = match self.start(&topic) {
            Ok(start) => self.admin.remove_before(&start).await,
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => self.found.ok("removing", format!("records of `{topic}` can be removed when they are done with")),
            Err(error) => self.found.warn(
                "removing",
                format!(
                    "records of `{topic}` cannot be removed when they are done with, and stay as long as those of the \
                     input ({error}); grant Delete on it"
                ),
            ),
        }
    }

    /// Where the log of a topic's first partition begins.
    fn start(&self, topic: &str) -> KafkaResult<TopicPartitionList> {
        let (low, _) = self.topics.watermarks(topic, 0, REQUEST)?;
        let mut start = TopicPartitionList::new();
        start.add_partition_offset(topic, 0, Offset::Offset(low))?;
        Ok(start)
    }

    /// The topics that workers write to and, after a restart, read.
    fn remembered(&self) -> Vec<String> {
        workers_config(self.config).input.remembered().map(|(topic, _)| topic).collect()
    }

    /// Everything that a run writes to.
    fn written(&self) -> Vec<String> {
        let input = &self.config.input;
        let by_trace = (input.keyed == Keyed::Rekey).then(|| input.by_trace());
        let written = [self.config.output.name.clone(), input.dead_letters()].into_iter().chain(by_trace);
        written.chain(self.remembered()).collect()
    }

    fn failed(&mut self, subject: &'static str, error: KafkaError, group: &str, used: Use<'_>) {
        match Refusal::of_right(&error, group, used) {
            Some(refusal) => self.found.error(subject, refusal),
            None => self.found.error(subject, error),
        }
    }
}

/// Of the group by name only: it is not joined.
fn consumer(config: &Config) -> KafkaResult<BaseConsumer<Trouble>> {
    source::client(config)
        .set("group.id", &config.input.group)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "100")
        .create_with_context(Trouble::default())
}

fn read(config: &Config, topic: &str) -> KafkaResult<()> {
    let consumer = consumer(config)?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&from)?;
    let begun = Instant::now();
    let mut last = KafkaError::NoMessageReceived;
    while begun.elapsed() < PATIENCE {
        match consumer.poll(STEP) {
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) if Refusal::of_right(&error, "", Use::Read(&[])).is_some() => return Err(error),
            Some(Err(error)) => last = error,
            None => {}
        }
    }
    Err(last)
}

/// A name of its own: it fences no worker, and another preflight on this host at most.
fn producer(config: &Config, transactional: bool) -> KafkaResult<BaseProducer<Outcome>> {
    let mut client: ClientConfig = source::client(config);
    // Larger than what a broker takes, as it is to refuse it.
    client.set("message.max.bytes", (2 * MAX_PROBE).to_string());
    if transactional {
        client.set("transactional.id", instance::preflight_id(&config.input.group)).set("enable.idempotence", "true");
    }
    client.create_with_context(Outcome::default())
}

/// Sends an offset of a reader's group in a transaction, and takes it back.
fn transaction(config: &Config, reader: &Config, topic: &str) -> KafkaResult<()> {
    let consumer = consumer(reader)?;
    let producer = producer(config, true)?;
    producer.init_transactions(PATIENCE)?;
    producer.begin_transaction()?;
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, 0, Offset::Offset(0))?;
    let Some(member) = consumer.group_metadata() else { return Err(KafkaError::Canceled) };
    let sent = producer.send_offsets_to_transaction(&offsets, &member, PATIENCE);
    let aborted = producer.abort_transaction(PATIENCE);
    sent.and(aborted)
}

/// How large a record has to be for a topic to refuse it; None where it might be taken, and nobody could take it back.
fn probe_bytes(settings: Option<&Settings>, transactional: bool) -> Option<usize> {
    let limit = settings.and_then(|settings| settings.get("max.message.bytes")?.parse::<usize>().ok());
    let limit = if transactional { limit.or(Some(TOPIC_LIMIT)) } else { limit };
    limit.map(|limit| limit + 1).filter(|&bytes| bytes <= MAX_PROBE)
}

/// Sends a record that is too large: rights are looked at first, and then it is refused, so that nothing is written.
fn write(config: &Config, topic: &str, bytes: usize) -> KafkaResult<()> {
    let transactional = config.delivery == Delivery::ExactlyOnce;
    let producer = producer(config, transactional)?;
    if transactional {
        producer.init_transactions(PATIENCE)?;
        producer.begin_transaction()?;
    }
    // Nothing that compresses.
    let payload: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(bytes).collect();
    let record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).payload(&payload);
    producer.send(record).map_err(|(error, _)| error)?;
    let begun = Instant::now();
    let outcome = loop {
        producer.poll(STEP);
        if let Some(outcome) = producer.context().take() {
            break outcome;
        }
        if begun.elapsed() > PATIENCE {
            break Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut));
        }
    };
    let mut result = match outcome {
        Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)) => Ok(()),
        // It took it: the transaction takes it back.
        other => other,
    };
    if transactional {
        // What was purged from the queue does not know why, but the transaction does.
        if result.is_err()
            && let Err(KafkaError::Transaction(error)) = producer.begin_transaction()
            && error.txn_requires_abort()
        {
            result = Err(KafkaError::Transaction(error));
        }
        // A transaction that no partition came to has nothing to abort, and says so.
        let aborted = producer.abort_transaction(PATIENCE);
        result = result.and(aborted);
    }
    result
}

/// What came of the one record.
#[derive(Default)]
struct Outcome(Mutex<Option<KafkaResult<()>>>);

// === impl Outcome ===

impl Outcome {
    fn take(&self) -> Option<KafkaResult<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Outcome {
    /// The outcome says it.
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Outcome {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let outcome = result.as_ref().map(|message| _ = message.offset()).map_err(|(error, _)| error.clone());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}

// === impl Findings ===

impl Findings {
    fn ok(&mut self, subject: &'static str, message: impl fmt::Display) {
        self.push(Level::Ok, subject, message);
    }

    fn warn(&mut self, subject: &'static str, message: impl fmt::Display) {
        self.push(Level::Warning, subject, message);
    }

    fn error(&mut self, subject: &'static str, message: impl fmt::Display) {
        self.push(Level::Error, subject, message);
    }

    fn push(&mut self, level: Level, subject: &'static str, message: impl fmt::Display) {
        self.0.push(Finding { level, subject, message: message.to_string() });
    }
}

// === impl Finding ===

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, subject, message } = self;
        write!(f, "{:<8} {subject}: {message}", level.name())
    }
}

// === impl Level ===

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}
