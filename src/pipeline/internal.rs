//! The topics that are ours: made where they are missing, checked where they are there.

use std::{fmt, time::Duration};

use anyhow::{anyhow, bail};
use rdkafka::{
    admin::{NewTopic, TopicReplication},
    error::KafkaResult,
};

use super::{
    admin::{Admin, Settings},
    workers_config,
};
use crate::{
    config::{Config, Keyed},
    source::Topics,
};

/// Makes and checks all of them.
///
/// # Errors
/// The outer ones are beyond waiting: a topic that has to be made or changed by someone else. The inner one is a cluster that
/// is away.
pub async fn prepare(config: &Config, topics: &Topics, admin: &Admin) -> anyhow::Result<KafkaResult<()>> {
    for internal in Internal::all(config, topics, admin).await {
        match internal.settle(topics, admin, true).await? {
            Ok(Standing::New) => tracing::info!(topic = internal.topic, "created, with {}", internal.wanted),
            Ok(Standing::There(warnings)) => {
                warnings.iter().for_each(|warning| tracing::warn!(topic = internal.topic, "{warning}"));
            }
            Err(away) => return Ok(Err(away)),
        }
    }
    Ok(Ok(()))
}

/// The largest record a topic takes.
pub fn largest_record(settings: &Settings) -> Option<usize> {
    settings.get("max.message.bytes")?.parse().ok()
}

/// A topic of ours.
pub struct Internal {
    pub topic: String,
    pub wanted: Wanted,
    role: Role,
}

/// What a topic of ours is for, and how long its records are to be there.
enum Role {
    DeadLetters,
    /// On traces of the topic that it is beside.
    Decisions(String, Retention),
    /// Of the topic that it is beside.
    Samplers(String),
    ByTrace(Retention),
}

/// A topic that workers read, or will.
struct Read {
    topic: String,
    partitions: i32,
    settings: Option<Settings>,
}

/// How a topic of ours is.
pub enum Standing {
    /// Made, or to be made.
    New,
    /// With what is not as it should be.
    There(Vec<String>),
}

/// How long records of decisions are to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retention {
    Ms(i64),
    Forever,
}

/// What a topic is to be like. `Display` says it as a person would set it.
pub struct Wanted {
    partitions: i32,
    settings: Vec<(&'static str, String)>,
}

/// The broker's default for the retention of the input.
const WEEK: i64 = 7 * 24 * 60 * 60 * 1000;
/// Restarts and the clocks of brokers may take so much longer.
const SPARE: Duration = Duration::from_secs(60 * 60);

const RETENTION: &str = "retention.ms";
/// Counted in bytes, a burst of traces would shorten what is remembered.
const RETENTION_BYTES: &str = "retention.bytes";
const CLEANUP: &str = "cleanup.policy";
const TIMESTAMPS: &str = "message.timestamp.type";
const APPENDED: &str = "LogAppendTime";
/// The broker's default for the largest record.
pub const TOPIC_LIMIT: usize = 1_048_588;
/// What is removed is removed in segments, of which each partition has one at least. As Kafka Streams has it, about.
const SEGMENT: &str = "67108864";
/// The last state of each key, and none of a key that was not seen for a week.
const COMPACTED: &str = "compact,delete";
/// What is not compacted yet is read at each start: the segment in use, and a tenth of the rest.
const SAMPLERS_SEGMENT: &str = "8388608";
const SAMPLERS_DIRTY: &str = "0.1";

fn miscounted(topic: &str, role: &Role, there: i32, input: &str, partitions: i32) -> String {
    let todo = if there < partitions {
        format!(
            "If `{input}` was given partitions, give `{topic}` as many (kafka-topics --alter --topic {topic} --partitions \
             {partitions}): added partitions are read from their start; traces that were under way then may be judged in parts. \
             Or choose"
        )
    } else {
        "Choose".to_owned()
    };
    format!(
        "`{topic}` has {there} partitions, but the input topic `{input}` has {partitions}: {role} are beside the \
         partition of their traces, and another number of partitions puts traces elsewhere. {todo} a new `input.group`, \
         which begins with decisions of its own"
    )
}

/// For how many milliseconds a topic keeps its records, by their timestamps; None where that is for ever.
pub fn retention(settings: Option<&Settings>) -> Option<u64> {
    match Retention::of(settings) {
        Retention::Ms(ms) => Some(ms.max(0) as u64),
        Retention::Forever => None,
    }
}

/// Checks a topic of decisions that is there; returns what is not as it should be.
///
/// # Errors
/// Its records do not stay as they are.
fn check(topic: &str, settings: Option<&Settings>, wanted: Retention) -> anyhow::Result<Vec<String>> {
    let Some(settings) = settings else {
        return Ok(vec![format!(
            "the broker does not say how long decisions are kept (is DescribeConfigs allowed?); {RETENTION}={wanted} is \
             enough"
        )]);
    };
    if let Some(cleanup) = settings.get(CLEANUP).filter(|cleanup| *cleanup != "delete") {
        bail!("`{topic}` has {CLEANUP}={cleanup}, which removes decisions that are still needed; set {CLEANUP}=delete");
    }
    let early = "decisions may be gone before the spans they are about, and the next restart then fails";
    // By the clock of a worker that is behind, they are old when they are written.
    let timestamps = settings.get(TIMESTAMPS).filter(|timestamps| *timestamps != APPENDED);
    let timestamps = timestamps.map(|timestamps| format!("{TIMESTAMPS} is {timestamps} and has to be {APPENDED}"));
    let wrong = short(settings, wanted).into_iter().chain(timestamps);
    Ok(wrong.map(|wrong| format!("{wrong} (kafka-configs --alter --topic {topic} --add-config): {early}")).collect())
}

/// Checks a topic of samplers' states that is there; returns what is not as it should be.
fn check_samplers(topic: &str, settings: Option<&Settings>) -> Vec<String> {
    let cleanup = settings.and_then(|settings| settings.get(CLEANUP));
    let grows = cleanup.filter(|cleanup| !cleanup.contains("compact")).map(|cleanup| {
        format!(
            "{CLEANUP} is {cleanup} and has to be {COMPACTED} (kafka-configs --alter --topic {topic} --add-config): all \
             states ever written are read at each start, and those of idle keys are removed with them"
        )
    });
    grows.into_iter().collect()
}

/// Checks a topic of re-keyed spans that is there; returns what is not as it should be.
///
/// # Errors
/// Its records do not stay as they are, or lose their time.
fn check_by_trace(topic: &str, settings: Option<&Settings>, wanted: Retention) -> anyhow::Result<Vec<String>> {
    let Some(settings) = settings else { return Ok(Vec::new()) };
    if let Some(cleanup) = settings.get(CLEANUP).filter(|cleanup| *cleanup != "delete") {
        bail!("`{topic}` has {CLEANUP}={cleanup}, which removes spans that are still needed; set {CLEANUP}=delete");
    }
    if let Some(timestamps) = settings.get(TIMESTAMPS).filter(|timestamps| *timestamps != "CreateTime") {
        bail!(
            "`{topic}` has {TIMESTAMPS}={timestamps}, but a span is judged by the time it had in the input; set \
             {TIMESTAMPS}=CreateTime"
        );
    }
    let early = "spans may be gone before they are read, and the processor then stops";
    Ok(short(settings, wanted).into_iter().map(|wrong| format!("{wrong}: {early}")).collect())
}

/// What may remove records too early.
fn short(settings: &Settings, wanted: Retention) -> Vec<String> {
    let there = settings.get(RETENTION).and_then(|text| Retention::parse(text)).filter(|there| !there.covers(wanted));
    let bytes = settings.get(RETENTION_BYTES).filter(|bytes| *bytes != "-1");
    let least = if wanted == Retention::Forever { "" } else { "at least " };
    let retention = there.map(|there| format!("{RETENTION} is {there} and has to be {least}{wanted}"));
    let bytes = bytes.map(|bytes| format!("{RETENTION_BYTES} is {bytes} and has to be -1"));
    retention.into_iter().chain(bytes).collect()
}

// === impl Internal ===

impl Internal {
    /// All of them, as they should be. Where the input is re-keyed, decisions are beside the topic that it goes through.
    pub async fn all(config: &Config, topics: &Topics, admin: &Admin) -> Vec<Self> {
        let mut all = Vec::new();
        let mut read = Vec::new();
        for input in &config.input.topics {
            let partitions = topics.partitions(&input.name).unwrap_or(0);
            let settings = admin.settings(&input.name).await;
            read.push(Read { topic: input.name.clone(), partitions, settings });
        }
        if config.input.keyed == Keyed::Rekey {
            let by_trace = Self::by_trace(config, &read);
            read = vec![by_trace.read(topics, admin).await];
            all.push(by_trace);
        }
        all.push(Self {
            topic: config.input.dead_letters(),
            wanted: Wanted { partitions: read.iter().map(|read| read.partitions).sum(), settings: Vec::new() },
            role: Role::DeadLetters,
        });
        let input = workers_config(config).input;
        for Read { topic, partitions, settings } in read {
            let retention = Retention::beside(settings.as_ref(), config.late_window);
            all.push(Self {
                wanted: Wanted::decisions(partitions, retention),
                topic: input.decisions(&topic),
                role: Role::Decisions(topic.clone(), retention),
            });
            all.push(Self {
                wanted: Wanted::samplers(partitions),
                topic: input.samplers(&topic),
                role: Role::Samplers(topic),
            });
        }
        all
    }

    /// The topic that a re-keyed input goes through.
    fn by_trace(config: &Config, inputs: &[Read]) -> Self {
        let partitions = inputs.iter().map(|input| input.partitions).sum();
        // A re-keyed record is stamped and as large as the one it was a part of.
        let (mut retention, mut largest) = (Retention::Ms(0), TOPIC_LIMIT);
        for Read { settings, .. } in inputs {
            let beside = Retention::beside(settings.as_ref(), config.late_window);
            retention = if retention.covers(beside) { retention } else { beside };
            largest = settings.as_ref().and_then(largest_record).unwrap_or(TOPIC_LIMIT).max(largest);
        }
        let partitions = config.input.rekey_partitions.unwrap_or(partitions);
        Self {
            topic: config.input.by_trace(),
            wanted: Wanted::by_trace(partitions, retention, largest),
            role: Role::ByTrace(retention),
        }
    }

    /// As who reads it finds it: as it is, or as it will be made.
    async fn read(&self, topics: &Topics, admin: &Admin) -> Read {
        let (partitions, settings) = match topics.partitions(&self.topic) {
            Some(there) => (there, admin.settings(&self.topic).await),
            None => (self.wanted.partitions, Some(self.wanted.settings())),
        };
        Read { topic: self.topic.clone(), partitions, settings }
    }

    /// Checks it, or makes it where it is not there; or asks whether it could be made, where it is not to be `real`.
    ///
    /// # Errors
    /// As those of [`prepare`].
    pub async fn settle(&self, topics: &Topics, admin: &Admin, real: bool) -> anyhow::Result<KafkaResult<Standing>> {
        let Self { topic, wanted, role } = self;
        let Some(there) = topics.partitions(topic) else {
            let new = NewTopic::new(topic, wanted.partitions, TopicReplication::Fixed(-1));
            let new = wanted.settings.iter().fold(new, |new, (name, value)| new.set(name, value));
            return match admin.create(&new, real).await {
                Ok(Ok(())) => Ok(Ok(Standing::New)),
                Ok(Err(code)) => Err(anyhow!(
                    "the topic for {role}, `{topic}`, does not exist and cannot be created ({code}); grant Create on it, or \
                     create it with {wanted}"
                )),
                Err(away) => Ok(Err(away)),
            };
        };
        let is_miscounted = there != wanted.partitions;
        let warnings = match role {
            Role::DeadLetters => Vec::new(),
            Role::Decisions(input, _) | Role::Samplers(input) if is_miscounted => {
                bail!(miscounted(topic, role, there, input, wanted.partitions))
            }
            Role::Samplers(_) => check_samplers(topic, admin.settings(topic).await.as_ref()),
            Role::Decisions(_, retention) => check(topic, admin.settings(topic).await.as_ref(), *retention)?,
            Role::ByTrace(_) if is_miscounted => bail!(
                "`{topic}` has {there} partitions and is to have {}, but traces that are half in would be parted. Go on \
                 with `input.rekey_partitions: {there}`, or choose a new `input.group`",
                wanted.partitions
            ),
            Role::ByTrace(retention) => check_by_trace(topic, admin.settings(topic).await.as_ref(), *retention)?,
        };
        Ok(Ok(Standing::There(warnings)))
    }
}

// === impl Role ===

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeadLetters => "dead letters",
            Self::Decisions(..) => "decisions",
            Self::Samplers(_) => "states of samplers",
            Self::ByTrace(_) => "re-keyed spans",
        })
    }
}

// === impl Retention ===

impl Retention {
    /// Of a topic with these settings.
    fn of(settings: Option<&Settings>) -> Self {
        let setting = |name: &str| settings.and_then(|settings| settings.get(name));
        // What is only compacted stays.
        if setting(CLEANUP).is_some_and(|cleanup| !cleanup.contains("delete")) {
            return Self::Forever;
        }
        setting(RETENTION).and_then(|text| Self::parse(text)).unwrap_or(Self::Ms(WEEK))
    }

    /// For decisions on traces of a topic with these settings: for as long as a span of theirs can be read or be late.
    fn beside(input: Option<&Settings>, late_window: Duration) -> Self {
        let more = (late_window + SPARE).as_millis() as i64;
        match Self::of(input) {
            Self::Ms(ms) => Self::Ms(ms.saturating_add(more)),
            Self::Forever => Self::Forever,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.parse().ok()? {
            -1 => Some(Self::Forever),
            ms => Some(Self::Ms(ms)),
        }
    }

    fn covers(self, wanted: Self) -> bool {
        match (self, wanted) {
            (Self::Forever, _) => true,
            (Self::Ms(_), Self::Forever) => false,
            (Self::Ms(there), Self::Ms(wanted)) => there >= wanted,
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ms(ms) => write!(f, "{ms}"),
            Self::Forever => write!(f, "-1"),
        }
    }
}

// === impl Wanted ===

impl Wanted {
    fn decisions(partitions: i32, retention: Retention) -> Self {
        let settings = vec![
            (CLEANUP, "delete".to_owned()),
            // Kept by the time of the broker that keeps them.
            (TIMESTAMPS, APPENDED.to_owned()),
            (RETENTION, retention.to_string()),
            (RETENTION_BYTES, "-1".to_owned()),
        ];
        Self { partitions, settings }
    }

    fn samplers(partitions: i32) -> Self {
        let settings = vec![
            (CLEANUP, COMPACTED.to_owned()),
            (TIMESTAMPS, APPENDED.to_owned()),
            (RETENTION, WEEK.to_string()),
            (RETENTION_BYTES, "-1".to_owned()),
            ("segment.bytes", SAMPLERS_SEGMENT.to_owned()),
            ("min.cleanable.dirty.ratio", SAMPLERS_DIRTY.to_owned()),
        ];
        Self { partitions, settings }
    }

    fn by_trace(partitions: i32, retention: Retention, largest: usize) -> Self {
        let settings = vec![
            (CLEANUP, "delete".to_owned()),
            (TIMESTAMPS, "CreateTime".to_owned()),
            (RETENTION, retention.to_string()),
            (RETENTION_BYTES, "-1".to_owned()),
            ("max.message.bytes", largest.to_string()),
            ("segment.bytes", SEGMENT.to_owned()),
        ];
        Self { partitions, settings }
    }

    fn settings(&self) -> Settings {
        self.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} partitions", self.partitions)?;
        self.settings.iter().try_for_each(|(name, value)| write!(f, ", {name}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: Duration = Duration::from_secs(600);
    const MORE: i64 = (600 + 3600) * 1000;

    fn settings(settings: &[(&str, &str)]) -> Settings {
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn decisions_outlive_their_spans() {
        let beside = |input: &[(&str, &str)]| Retention::beside(Some(&settings(input)), MINUTES);
        assert_eq!(beside(&[("retention.ms", "1000")]), Retention::Ms(1000 + MORE));
        assert_eq!(beside(&[("retention.ms", "-1")]), Retention::Forever);
        assert_eq!(beside(&[("retention.ms", "9223372036854775807")]), Retention::Ms(i64::MAX));
        assert_eq!(beside(&[("retention.ms", "1000"), ("cleanup.policy", "compact")]), Retention::Forever);
        assert_eq!(beside(&[("retention.ms", "1"), ("cleanup.policy", "compact,delete")]), Retention::Ms(1 + MORE));
        assert_eq!(beside(&[]), Retention::Ms(WEEK + MORE));
        assert_eq!(Retention::beside(None, MINUTES), Retention::Ms(WEEK + MORE));
    }

    #[test]
    fn what_has_to_be_made_is_said() {
        let wanted = Wanted::decisions(12, Retention::Ms(5));
        assert_eq!(
            wanted.to_string(),
            "12 partitions, cleanup.policy=delete, message.timestamp.type=LogAppendTime, retention.ms=5, \
             retention.bytes=-1"
        );
        assert_eq!(Wanted::decisions(1, Retention::Forever).settings[2], ("retention.ms", "-1".to_owned()));
    }

    #[test]
    fn re_keyed_spans_keep_their_time() {
        let wanted = Wanted::by_trace(3, Retention::Ms(5), TOPIC_LIMIT).to_string();
        assert!(
            wanted.starts_with("3 partitions, cleanup.policy=delete, message.timestamp.type=CreateTime"),
            "{wanted}"
        );
        let ok = |there: &[(&str, &str)]| check_by_trace("b", Some(&settings(there)), Retention::Ms(5)).is_ok();
        assert!(ok(&[("cleanup.policy", "delete"), ("message.timestamp.type", "CreateTime")]));
        assert!(!ok(&[("message.timestamp.type", "LogAppendTime")]));
        assert!(!ok(&[("cleanup.policy", "compact")]));
        assert!(check_by_trace("b", None, Retention::Ms(5)).is_ok());
    }

    #[test]
    fn what_is_there_is_checked() {
        let ok = |there: &[(&str, &str)]| check("d", Some(&settings(there)), Retention::Ms(5)).is_ok();
        assert!(ok(&[("cleanup.policy", "delete"), ("retention.ms", "5")]));
        assert!(!ok(&[("cleanup.policy", "compact")]));
        assert!(!ok(&[("cleanup.policy", "compact,delete")]));
        assert!(check("d", None, Retention::Ms(5)).is_ok());
        let said = |timestamps| {
            let there = settings(&[("retention.ms", "5"), ("message.timestamp.type", timestamps)]);
            check("d", Some(&there), Retention::Ms(5)).expect("it runs").join("; ")
        };
        assert_eq!(said("LogAppendTime"), "");
        assert_eq!(
            said("CreateTime"),
            "message.timestamp.type is CreateTime and has to be LogAppendTime (kafka-configs --alter --topic d --add-config): decisions may \
             be gone before the spans they are about, and the next restart then fails"
        );

        let short = |there: &[(&str, &str)], wanted| short(&settings(there), wanted).join("; ");
        assert_eq!(short(&[("retention.ms", "5"), ("retention.bytes", "-1")], Retention::Ms(5)), "");
        assert_eq!(short(&[("retention.ms", "-1")], Retention::Forever), "");
        assert_eq!(
            short(&[("retention.ms", "4"), ("retention.bytes", "7")], Retention::Ms(5)),
            "retention.ms is 4 and has to be at least 5; retention.bytes is 7 and has to be -1"
        );
        assert_eq!(short(&[("retention.ms", "4")], Retention::Forever), "retention.ms is 4 and has to be -1");
    }
}
