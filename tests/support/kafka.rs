//! A real Apache Kafka: one broker for the whole run, and some for tests that do evil to theirs.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, Headers, OwnedHeaders},
    metadata::MetadataTopic,
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    acl::{self, Operation, Resource},
    certificates::Certificates,
    port::free_ports,
    wait::{wait_for, wait_until},
    way::Way,
};

/// The broker, started when first asked for. It ends with this process, however that ends.
pub fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::run(1, ""))
}

pub struct Kafka {
    /// Without any security, and everything is allowed.
    pub bootstrap: String,
    /// TLS; a user says a password, by SCRAM-SHA-512 or PLAIN.
    pub sasl: String,
    /// TLS; a client shows a certificate, whose name is the user.
    pub mutual: String,
    pub certificates: Certificates,
    /// Clients that start from `outside` are sent back to it for everything.
    pub outside: Way,
    brokers: Vec<Broker>,
}

struct Broker {
    folder: PathBuf,
    /// While its standard input is open, the broker lives.
    shell: Child,
}

/// A broker's ports.
#[derive(Clone, Copy)]
struct Ports {
    inside: u16,
    controller: u16,
    /// What `outside` leads to, and how clients come there.
    outside: [u16; 2],
    sasl: u16,
    mutual: u16,
}

#[derive(Clone)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    bootstrap: String,
}

/// Sends records to a topic.
pub struct Sender {
    topic: String,
    producer: BaseProducer<Refusals>,
}

/// A record to produce, or as it was read. `offset` is the broker's to give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What a group has committed, asked again and again.
pub struct Group {
    consumer: BaseConsumer,
    partitions: TopicPartitionList,
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// None before the first commit.
    pub offset: Option<i64>,
    pub metadata: String,
}

/// Users of `sasl`, who may do nothing until a test allows it, with their password.
const SCRAM_USER: &str = "scram";
const PLAIN_USERS: [&str; 12] = [
    "plain",
    "limited",
    "no-read",
    "no-write",
    "no-group",
    "no-transactions",
    "no-create",
    "no-decisions",
    "dry",
    "staged",
    "unstaged",
    "unfenced",
];
pub const PASSWORD: &str = "hunter2";

/// Partitions of the log of transactions: each one's leader coordinates those that belong there.
const COORDINATORS: i32 = 4;

/// What Java is told of what does not run for long: so it takes a third less of CPU. Where much passes through, it pays to compile well.
const SHORT_LIVED: &str = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC";
/// For a broker to come up.
const START: Duration = Duration::from_secs(120);
/// For one answer of a broker that is there.
const ANSWER: Duration = Duration::from_secs(30);
/// One request to a broker that may stand still, and all that are tried.
const REQUEST: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);
/// A transaction that a killed program left open ends with the next program's start, or after this.
const OPEN: Duration = Duration::from_secs(60);

// === impl Kafka ===

impl Kafka {
    pub fn topic(&self, name: &str, partitions: i32) -> Topic {
        self.topic_with(name, partitions, &[])
    }

    /// A new topic; `settings` are the broker's topic configuration.
    pub fn topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Topic {
        let admin: AdminClient<DefaultClientContext> = client(&self.bootstrap).create().expect("an admin client");
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let results = runtime.block_on(admin.create_topics([&topic], &options)).expect("topics can be created");
        results.into_iter().for_each(|result| {
            result.expect("the topic is new");
        });
        self.existing(name, partitions)
    }

    /// A topic that the program makes, or has made.
    pub fn existing(&self, name: &str, partitions: i32) -> Topic {
        Topic { name: name.to_owned(), bootstrap: self.bootstrap.clone(), partitions }
    }

    /// The names of those that begin so, in order.
    pub fn topics(&self, prefix: &str) -> Vec<String> {
        let consumer: BaseConsumer = client(&self.bootstrap).create().expect("a consumer");
        let answer = consumer.fetch_metadata(None, ANSWER).expect("metadata");
        let names = answer.topics().iter().map(|topic| topic.name().to_owned());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names
    }

    /// SIGSTOP: a broker answers nobody, and its connections stay.
    pub fn freeze(&self, broker: usize) {
        self.signal(broker, Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self, broker: usize) {
        self.signal(broker, Signal::CONT);
    }

    /// SIGKILL of the only broker. It starts again on what it had on disk, and answers when this returns.
    pub fn kill(&self) {
        self.signal(0, Signal::KILL);
        wait_until("Kafka to be gone", ANSWER, || !self.answers());
        wait_until("Kafka to answer again", START, || self.answers());
    }

    /// SIGTERM of one broker of several: it hands over what it leads, and starts again on what it had on disk. When this returns,
    /// all copies of all partitions are in sync.
    pub fn restart(&self, broker: usize) {
        self.signal(broker, Signal::TERM);
        wait_until("a broker to be gone", START, || !self.is_in_sync());
        wait_until("all brokers to be in sync", START, || self.is_in_sync());
    }

    fn signal(&self, broker: usize, signal: Signal) {
        kill_process(self.process(broker), signal).expect("the broker runs");
    }

    pub fn process(&self, broker: usize) -> Pid {
        let pid = fs::read_to_string(self.brokers[broker].folder.join("pid")).expect("the broker's process id");
        pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process id")
    }

    fn is_in_sync(&self) -> bool {
        let probe: BaseConsumer = client(&self.bootstrap).create().expect("a client");
        probe.fetch_metadata(None, REQUEST).is_ok_and(|answer| {
            let mut partitions = answer.topics().iter().flat_map(MetadataTopic::partitions);
            partitions.all(|partition| partition.isr().len() == self.brokers.len())
        })
    }

    /// The broker that leads a partition.
    pub fn leader(&self, topic: &str, partition: i32) -> usize {
        let consumer: BaseConsumer = client(&self.bootstrap).create().expect("a client");
        let leader = wait_for("a leader", PATIENCE, || {
            let answer = consumer.fetch_metadata(Some(topic), REQUEST).ok()?;
            let partitions = answer.topics().first()?.partitions();
            partitions.iter().find(|of| of.id() == partition).map(|of| of.leader()).filter(|leader| *leader > 0)
        });
        leader as usize - 1
    }

    /// The broker that coordinates the transactions of a name.
    pub fn coordinator(&self, transactional_id: &str) -> usize {
        // As `String.hashCode` of Java has it, without its sign.
        let add = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(unit.into());
        let hash = transactional_id.encode_utf16().fold(0, add).checked_abs().unwrap_or(0);
        self.leader("__transaction_state", hash % COORDINATORS)
    }

    fn answers(&self) -> bool {
        let probe: BaseConsumer = client(&self.bootstrap).create().expect("a client");
        let answer = probe.fetch_metadata(None, Duration::from_secs(1));
        answer.is_ok_and(|answer| answer.brokers().len() == self.brokers.len())
    }

    /// Lets a user do something.
    pub fn allow(&self, user: &str, rights: &[(Operation, Resource<'_>)]) {
        acl::allow(&self.bootstrap, user, rights);
    }

    /// Brokers of one's own.
    pub fn start(brokers: usize) -> Self {
        Self::run(brokers, SHORT_LIVED)
    }

    fn run(brokers: usize, java: &str) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder of the target folder");
        let jars = target.join("kafka/libs");
        fetch(&jars);
        let mut ways = Vec::new();
        let ports: Vec<Ports> = (0..brokers)
            .map(|_| {
                let [inside, controller, outside, sasl, mutual] = free_ports();
                ways.push(Way::to(outside));
                Ports { inside, controller, outside: [outside, ways[ways.len() - 1].port], sasl, mutual }
            })
            .collect();
        let bootstrap = ports.iter().map(|of| format!("127.0.0.1:{}", of.inside)).collect::<Vec<_>>().join(",");
        let certificates = Certificates::make(&folder());
        let brokers = (0..brokers).map(|at| Broker::start(&jars, java, at, &ports, &certificates)).collect();
        let local = |port: u16| format!("127.0.0.1:{port}");
        let (sasl, mutual) = (local(ports[0].sasl), local(ports[0].mutual));
        let mut kafka = Self { bootstrap, sasl, mutual, certificates, outside: ways.remove(0), brokers };
        wait_until("Kafka to answer", START, || {
            kafka.brokers.iter_mut().for_each(Broker::check);
            kafka.answers()
        });
        kafka
    }
}

// === impl Broker ===

impl Broker {
    fn start(jars: &Path, java: &str, at: usize, ports: &[Ports], certificates: &Certificates) -> Self {
        let folder = folder();
        let settings = properties(&folder, at, ports) + &security(certificates);
        fs::write(folder.join("server.properties"), settings).expect("a broker's settings");
        let shell = spawn(jars, &folder, java);
        Self { folder, shell }
    }

    fn check(&mut self) {
        let ended = self.shell.try_wait().expect("the broker's shell can be waited for");
        assert!(ended.is_none(), "Kafka ended:\n{}", tail(&self.folder.join("log")));
    }
}

/// Statics are not dropped: a shell that has it removes it.
fn folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("kafka-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    folder.expect("a folder").keep()
}

/// `make test` has done it already; a lone `cargo test` has not.
fn fetch(jars: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/fetch");
    let done = Command::new(script).arg(jars).status().expect("tests/kafka/fetch runs");
    assert!(done.success(), "Kafka's jars could not be fetched: are Maven and the network there?");
}

fn properties(folder: &Path, at: usize, ports: &[Ports]) -> String {
    let data = folder.join("data");
    let Ports { inside, controller, outside: [port, outside], sasl, mutual } = ports[at];
    let (node, copies, in_sync) = (at + 1, ports.len(), ports.len().div_ceil(2));
    let voters = (1..).zip(ports).map(|(node, of)| format!("{node}@127.0.0.1:{}", of.controller));
    let voters = voters.collect::<Vec<_>>().join(",");
    format!(
        "process.roles=broker,controller\n\
         node.id={node}\n\
         controller.quorum.voters={voters}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=BROKER\n\
         listeners=BROKER://127.0.0.1:{inside},OUTSIDE://127.0.0.1:{port},SASL://127.0.0.1:{sasl},\
         MUTUAL://127.0.0.1:{mutual},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=BROKER://127.0.0.1:{inside},OUTSIDE://127.0.0.1:{outside},SASL://127.0.0.1:{sasl},\
         MUTUAL://127.0.0.1:{mutual}\n\
         listener.security.protocol.map=BROKER:PLAINTEXT,OUTSIDE:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL,\
         CONTROLLER:PLAINTEXT\n\
         log.dirs={data}\n\
         default.replication.factor={copies}\n\
         min.insync.replicas={in_sync}\n\
         offsets.topic.replication.factor={copies}\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor={copies}\n\
         transaction.state.log.min.isr={in_sync}\n\
         transaction.state.log.num.partitions={COORDINATORS}\n\
         group.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=2000\n\
         group.consumer.session.timeout.ms=6000\n\
         group.consumer.min.session.timeout.ms=6000\n\
         group.consumer.heartbeat.interval.ms=1000\n\
         group.consumer.min.heartbeat.interval.ms=1000\n\
         # As in production: what is not there must be named, not made.\n\
         auto.create.topics.enable=false\n\
         # Traffic has the times its seed gave it.\n\
         log.retention.ms=-1\n",
        data = data.display(),
    )
}

/// The settings of the two listeners that ask who is there, and of what users may do.
fn security(certificates: &Certificates) -> String {
    let modules = "org.apache.kafka.common.security";
    let users = PLAIN_USERS.map(|user| format!("user_{user}=\"{PASSWORD}\"")).join(" ");
    format!(
        "ssl.keystore.type=PEM\n\
         ssl.keystore.location={key}\n\
         ssl.truststore.type=PEM\n\
         ssl.truststore.location={ca}\n\
         listener.name.mutual.ssl.client.auth=required\n\
         ssl.principal.mapping.rules=RULE:^CN=(.*)$/$1/\n\
         listener.name.sasl.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN\n\
         listener.name.sasl.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;\n\
         listener.name.sasl.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required {users};\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:ANONYMOUS\n",
        key = certificates.path("broker.both"),
        ca = certificates.path("ca.pem"),
    )
}

/// A shell that formats the broker's folder, runs the broker, and takes both away when our end of its input closes.
fn spawn(jars: &Path, folder: &Path, java: &str) -> Child {
    let script = r#"
        trap '' INT TERM HUP
        java $6 -cp "$1/*" kafka.tools.StorageTool format -t dGFpbHdhdGVyLXRlc3RzIQ -c "$2/server.properties" \
            --add-scram "SCRAM-SHA-512=[name=$3,password=$4]" || exit 1
        (read -r _; touch "$2/over"; kill -9 "$(cat "$2/pid")") <&3 &
        while :; do
            # A broker that ignores the signal could not be asked to end.
            (trap - TERM; exec java -Xms512m -Xmx1g $5 -cp "$1/*" kafka.Kafka "$2/server.properties") &
            echo $! >"$2/pid"
            wait $!
            ended=$?
            # 137: a test killed it, or we did. 143: a test asked it to end.
            { [ $ended -eq 137 ] || [ $ended -eq 143 ]; } && [ ! -e "$2/over" ] || break
        done
        # One that ended by itself leaves its log.
        [ -e "$2/over" ] && rm -rf "$2"
    "#;
    let log = File::create(folder.join("log")).expect("a log");
    // A background job's standard input is taken from it, so the pipe is kept as descriptor 3.
    Command::new("sh")
        .args(["-c", &format!("exec 3<&0 </dev/null; {script}"), "kafka"])
        .args([jars, folder])
        .args([SCRAM_USER, PASSWORD])
        .args([java, SHORT_LIVED])
        .stdin(Stdio::piped())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("a shell")
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

// === impl Topic ===

impl Topic {
    /// Another with as many partitions.
    pub fn beside(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// All of them, acknowledged.
    pub fn produce(&self, records: impl IntoIterator<Item = Record>) {
        self.sender().send(records);
    }

    pub fn sender(&self) -> Sender {
        self.sender_of(10_000)
    }

    /// In batches of so many records at most.
    pub fn sender_of(&self, batch: usize) -> Sender {
        let mut config = client(&self.bootstrap);
        config.set("batch.num.messages", batch.to_string());
        config.set("enable.idempotence", "true").set("compression.type", "lz4").set("linger.ms", "20");
        config.set("message.max.bytes", "20000000");
        // After a broker's fall, or when one stands still, it is back before what it has is waited for in vain.
        config
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.timeout.ms", "5000")
            .set("request.timeout.ms", "5000");
        let producer = config.create_with_context(Refusals::default()).expect("a producer");
        Sender { topic: self.name.clone(), producer }
    }

    /// Shows every record the topic holds now: those of a partition in their order, partitions in any.
    pub fn each(&self, see: impl FnMut(&Record)) {
        self.each_from(&mut vec![0; self.partitions as usize], see);
    }

    /// As [`Topic::each`], from these offsets on, by partition; they become those of the next records to come.
    pub fn each_from(&self, next: &mut [i64], mut see: impl FnMut(&Record)) {
        let mut ended = vec![false; next.len()];
        let start = Instant::now();
        while ended.contains(&false) {
            // After a broker's fall a consumer may wait for ever for what is not to come; another one asks anew.
            assert!(start.elapsed() < PATIENCE * 2, "{} is silent", self.name);
            self.read_on(next, &mut ended, &mut see);
        }
    }

    /// Reads the partitions that have not ended, until they have or nothing comes any more.
    fn read_on(&self, next: &mut [i64], ended: &mut [bool], see: &mut impl FnMut(&Record)) {
        let mut config = client(&self.bootstrap);
        config.set("group.id", "tests").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        config.set("fetch.queue.backoff.ms", "10").set("fetch.wait.max.ms", "10").set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut all = TopicPartitionList::new();
        for (partition, next) in (0..).zip(&*next).filter(|(partition, _)| !ended[*partition as usize]) {
            all.add_partition_offset(&self.name, partition, Offset::Offset(*next)).expect("an offset");
        }
        consumer.assign(&all).expect("partitions to read");
        while ended.contains(&false) {
            match consumer.poll(ANSWER) {
                Some(Ok(message)) => {
                    let next = &mut next[message.partition() as usize];
                    // A broker that starts again may not know yet what it has, and what was read is read from the start.
                    if message.offset() >= *next {
                        *next = message.offset() + 1;
                        see(&Record::from(&message));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => ended[partition as usize] = true,
                // A broker that is gone for a while.
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => panic!("{}: {error}", self.name),
                None => return,
            }
        }
    }

    pub fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        self.each(|record| records.push(record.clone()));
        records
    }

    /// The traces whose ids are the keys of its records, in hex, if each is there once.
    pub fn traces(&self) -> BTreeSet<String> {
        let records = self.records();
        let keys = records.iter().map(|of| String::from_utf8(of.key.clone().expect("a key")).expect("hex"));
        let traces: BTreeSet<_> = keys.collect();
        assert_eq!(traces.len(), records.len(), "none is doubled");
        traces
    }

    /// The offset after the last record that readers of committed ones get, by partition.
    pub fn ends(&self) -> Vec<i64> {
        self.bounds().into_iter().map(|(_, end)| end).collect()
    }

    /// The offset after the last record, that of an open transaction too, by partition.
    pub fn open_ends(&self) -> Vec<i64> {
        self.bounds_for("read_uncommitted").into_iter().map(|(_, end)| end).collect()
    }

    /// The offsets of the first record and after the last, by partition.
    pub fn bounds(&self) -> Vec<(i64, i64)> {
        self.bounds_for("read_committed")
    }

    /// Waits until transactions that hold its readers up by now have ended: their markers reach partitions at different times.
    /// Returns the topic as a broker knows it that has seen this: one that stood still believes for a while that it leads, and
    /// shows what it had.
    pub fn settle(&self) -> Self {
        let views: Vec<Self> =
            self.bootstrap.split(',').map(|broker| Self { bootstrap: broker.to_owned(), ..self.clone() }).collect();
        let now = wait_for("a broker that knows it", OPEN, || {
            let open = views.iter().filter_map(|view| view.try_ends("read_uncommitted"));
            open.reduce(|one, other| one.into_iter().zip(other).map(|(one, other)| one.max(other)).collect())
        });
        let settled = |view: &&Self| {
            let stable = view.try_ends("read_committed");
            stable.is_some_and(|stable| stable.iter().zip(&now).all(|(stable, end)| stable >= end))
        };
        wait_for("its transactions to end", OPEN, || views.iter().find(settled).cloned())
    }

    /// By partition.
    pub fn committed(&self, group: &str) -> Vec<Committed> {
        Group::of(group, &[self]).committed()
    }

    /// Offsets of all partitions together.
    pub fn passed(&self, group: &str) -> i64 {
        self.committed(group).iter().filter_map(|of| of.offset).sum()
    }

    fn bounds_for(&self, readers: &str) -> Vec<(i64, i64)> {
        wait_for("watermarks", PATIENCE, || self.try_bounds(readers))
    }

    fn try_ends(&self, readers: &str) -> Option<Vec<i64>> {
        Some(self.try_bounds(readers)?.into_iter().map(|(_, end)| end).collect())
    }

    /// Asks once, and nothing is known of a partition that is between two leaders.
    fn try_bounds(&self, readers: &str) -> Option<Vec<(i64, i64)>> {
        let mut config = client(&self.bootstrap);
        let consumer: BaseConsumer = config.set("isolation.level", readers).create().expect("a consumer");
        (0..self.partitions).map(|partition| consumer.fetch_watermarks(&self.name, partition, REQUEST).ok()).collect()
    }

    /// Removes what is below these offsets, by partition, as retention does.
    pub fn expire(&self, below: &[i64]) {
        let admin: AdminClient<DefaultClientContext> = client(&self.bootstrap).create().expect("an admin client");
        let mut offsets = TopicPartitionList::new();
        for (partition, below) in (0..).zip(below) {
            offsets.add_partition_offset(&self.name, partition, Offset::Offset(*below)).expect("an offset");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let results = runtime.block_on(admin.delete_records(&offsets, &options)).expect("records can be removed");
        results.elements().iter().for_each(|of| of.error().expect("its records can be removed"));
    }

    /// Gives it more partitions, this many in all.
    pub fn grow(&self, partitions: i32) -> Self {
        let admin: AdminClient<DefaultClientContext> = client(&self.bootstrap).create().expect("an admin client");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let more = NewPartitions::new(&self.name, partitions as usize);
        let results = runtime.block_on(admin.create_partitions([&more], &options)).expect("partitions can be added");
        results.into_iter().for_each(|result| _ = result.expect("the topic is there"));
        Self { partitions, ..self.clone() }
    }

    /// Puts a group's offsets, as an administrator may.
    pub fn put(&self, group: &str, offsets: &[i64]) {
        let committed = offsets.iter().map(|offset| Committed { offset: Some(*offset), metadata: String::new() });
        self.put_committed(group, &committed.collect::<Vec<_>>());
    }

    /// Commits the same for a group, of the first partitions.
    pub fn put_committed(&self, group: &str, committed: &[Committed]) {
        let consumer: BaseConsumer = client(&self.bootstrap).set("group.id", group).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        for (partition, Committed { offset, metadata }) in (0..).zip(committed) {
            let mut element = list.add_partition(&self.name, partition);
            element.set_offset(offset.map_or(Offset::Invalid, Offset::Offset)).expect("an offset");
            element.set_metadata(metadata);
        }
        consumer.commit(&list, CommitMode::Sync).expect("offsets can be put");
    }

    /// Records in a transaction that stays open until the producer says otherwise.
    pub fn produce_open(&self, records: impl IntoIterator<Item = Record>) -> BaseProducer {
        let mut config = client(&self.bootstrap);
        // One name has one transaction.
        let name = format!("{}-upstream-{:x}", self.name, fastrand::u64(..));
        config.set("transactional.id", name).set("transaction.timeout.ms", "300000");
        let producer: BaseProducer = config.create().expect("a producer");
        producer.init_transactions(ANSWER).expect("transactions");
        producer.begin_transaction().expect("a transaction");
        for record in records {
            let next = BaseRecord::<Vec<u8>, [u8]>::to(&self.name).partition(record.partition);
            let mut next = next.payload(&record.value[..]).timestamp(record.timestamp);
            next.key = record.key.as_ref();
            producer.send(next).map_err(|(error, _)| error).expect("there is room");
        }
        producer.flush(ANSWER).expect("everything is answered");
        producer
    }

    /// False where nobody has made it.
    pub fn exists(&self) -> bool {
        let consumer: BaseConsumer = client(&self.bootstrap).create().expect("a consumer");
        let answer = consumer.fetch_metadata(None, ANSWER).expect("metadata");
        answer.topics().iter().any(|topic| topic.name() == self.name)
    }
}

// === impl Sender ===

impl Sender {
    /// All of them, acknowledged.
    pub fn send(&self, records: impl IntoIterator<Item = Record>) {
        let Self { topic, producer } = self;
        for record in records {
            let mut next = BaseRecord::to(topic)
                .partition(record.partition)
                .payload(&record.value)
                .timestamp(record.timestamp)
                .headers(headers(&record.headers));
            next.key = record.key.as_ref();
            while let Err((error, refused)) = producer.send(next) {
                let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                assert!(full, "{topic}: {error}");
                producer.poll(Duration::from_millis(100));
                next = refused;
            }
            producer.poll(Duration::ZERO);
        }
        // A broker that was killed may start meanwhile.
        producer.flush(START).expect("everything is answered");
        assert_eq!(producer.context().0.load(Ordering::SeqCst), 0, "records that {topic} refused");
    }
}

fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, NotLeaderForPartition, OperationTimedOut};
    let passing = [AllBrokersDown, BrokerTransportFailure, NotLeaderForPartition, OperationTimedOut];
    error.rdkafka_error_code().is_some_and(|code| passing.contains(&code))
}

// === impl Group ===

impl Group {
    pub fn of(group: &str, topics: &[&Topic]) -> Self {
        let mut config = client(&topics[0].bootstrap);
        // A reader of committed records would wait for transactions that a killed program left open.
        config.set("group.id", group).set("isolation.level", "read_uncommitted");
        // A tenth of this passes until another coordinator is asked for, where one stands still.
        config.set("coordinator.query.interval.ms", "10000").set("socket.timeout.ms", "5000");
        let mut partitions = TopicPartitionList::new();
        for topic in topics {
            partitions.add_partition_range(&topic.name, 0, topic.partitions - 1);
        }
        Self { consumer: config.create().expect("a consumer"), partitions }
    }

    /// By topic and partition, all of one moment.
    pub fn committed(&self) -> Vec<Committed> {
        // A new group's coordinator may have yet to be found, and one whose broker was killed may take its time.
        let committed = wait_for("the committed offsets", PATIENCE * 3, || {
            self.consumer.committed_offsets(self.partitions.clone(), REQUEST).ok()
        });
        let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
        let elements = committed.elements();
        let by_partition = elements
            .iter()
            .map(|each| Committed { offset: offset(each.offset()), metadata: each.metadata().to_owned() });
        by_partition.collect()
    }
}

// === impl Record ===

impl Record {
    /// A header's value, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        str::from_utf8(value).ok()
    }
}

impl<M: Message> From<&M> for Record {
    fn from(message: &M) -> Self {
        let header = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.unwrap_or_default().to_vec());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or_default(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec(),
            headers: message.headers().map(|headers| headers.iter().map(header).collect()).unwrap_or_default(),
        }
    }
}

fn headers(headers: &[(String, Vec<u8>)]) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(empty, |all, (key, value)| all.insert(Header { key, value: Some(value) }))
}

// === impl Refusals ===

/// How many records the broker did not take.
#[derive(Default)]
struct Refusals(AtomicU64);

impl ClientContext for Refusals {}

impl ProducerContext for Refusals {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let _ = writeln!(io::stderr(), "not delivered: {error}");
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}
