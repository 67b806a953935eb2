//! A real Apache Kafka: one broker for the whole run.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, Headers, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};

use super::{
    acl::{self, Operation, Resource},
    certificates::Certificates,
    port::free_ports,
    wait::wait_for,
    way::Way,
};

/// The broker, started when first asked for. It ends with this process, however that ends.
pub fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(Kafka::start)
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
}

#[derive(Clone)]
pub struct Topic {
    pub name: String,
    bootstrap: String,
    partitions: i32,
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

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// None before the first commit.
    pub offset: Option<i64>,
    pub metadata: String,
}

/// Users of `sasl`, who may do nothing until a test allows it, with their password.
const SCRAM_USER: &str = "scram";
const PLAIN_USERS: [&str; 8] =
    ["plain", "limited", "no-read", "no-write", "no-group", "no-transactions", "no-create", "no-decisions"];
pub const PASSWORD: &str = "hunter2";

/// For one answer of a broker that is there.
const ANSWER: Duration = Duration::from_secs(30);

// === impl Kafka ===

impl Kafka {
    pub fn topic(&self, name: &str, partitions: i32) -> Topic {
        self.topic_with(name, partitions, &[])
    }

    /// A new topic; `settings` are the broker's topic configuration.
    pub fn topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Topic {
        let admin: AdminClient<DefaultClientContext> = client(&self.bootstrap).create().expect("an admin client");
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
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

    /// Lets a user do something.
    pub fn allow(&self, user: &str, rights: &[(Operation, Resource<'_>)]) {
        acl::allow(&self.bootstrap, user, rights);
    }

    fn start() -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder of the target folder");
        let jars = target.join("kafka/libs");
        fetch(&jars);
        let folder = tempfile::Builder::new().prefix("kafka-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        // The shell below removes it: statics are not dropped.
        let folder = folder.expect("a folder for the broker").keep();
        let [port, controller, inside, sasl, mutual] = free_ports();
        let local = |port: u16| format!("127.0.0.1:{port}");
        let kafka = Self {
            bootstrap: local(port),
            sasl: local(sasl),
            mutual: local(mutual),
            certificates: Certificates::make(&folder),
            outside: Way::to(inside),
        };
        let settings = properties(&folder, port, controller, [inside, kafka.outside.port], [sasl, mutual]);
        let settings = settings + &security(&kafka.certificates);
        fs::write(folder.join("server.properties"), settings).expect("a broker's settings");
        let mut broker = spawn(&jars, &folder);
        let probe: BaseConsumer = client(&kafka.bootstrap).create().expect("a client");
        wait_for("Kafka to answer", Duration::from_secs(120), || {
            let ended = broker.try_wait().expect("the broker's shell can be waited for");
            assert!(ended.is_none(), "Kafka ended:\n{}", tail(&folder.join("log")));
            let answer = probe.fetch_metadata(None, Duration::from_secs(1)).ok()?;
            (!answer.brokers().is_empty()).then_some(())
        });
        // Its standard input must stay open for as long as this process lives.
        std::mem::forget(broker);
        kafka
    }
}

/// `make test` has done it already; a lone `cargo test` has not.
fn fetch(jars: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/fetch");
    let done = Command::new(script).arg(jars).status().expect("tests/kafka/fetch runs");
    assert!(done.success(), "Kafka's jars could not be fetched: are Maven and the network there?");
}

fn properties(
    folder: &Path,
    port: u16,
    controller: u16,
    [inside, outside]: [u16; 2],
    [sasl, mutual]: [u16; 2],
) -> String {
    let data = folder.join("data");
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=BROKER\n\
         listeners=BROKER://127.0.0.1:{port},OUTSIDE://127.0.0.1:{inside},SASL://127.0.0.1:{sasl},\
         MUTUAL://127.0.0.1:{mutual},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=BROKER://127.0.0.1:{port},OUTSIDE://127.0.0.1:{outside},SASL://127.0.0.1:{sasl},\
         MUTUAL://127.0.0.1:{mutual}\n\
         listener.security.protocol.map=BROKER:PLAINTEXT,OUTSIDE:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL,\
         CONTROLLER:PLAINTEXT\n\
         log.dirs={data}\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\n\
         group.initial.rebalance.delay.ms=0\n\
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
fn spawn(jars: &Path, folder: &Path) -> Child {
    let script = r#"
        trap '' INT TERM HUP
        java -cp "$1/*" kafka.tools.StorageTool format -t dGFpbHdhdGVyLXRlc3RzIQ -c "$2/server.properties" \
            --add-scram "SCRAM-SHA-512=[name=$3,password=$4]" || exit 1
        java -Xms512m -Xmx1g -cp "$1/*" kafka.Kafka "$2/server.properties" &
        broker=$!
        (read -r _; kill -9 $broker) <&3 &
        wait $broker
        # 137: we killed it. One that ended by itself leaves its log.
        [ $? -eq 137 ] && rm -rf "$2"
    "#;
    let log = File::create(folder.join("log")).expect("a log");
    // A background job's standard input is taken from it, so the pipe is kept as descriptor 3.
    Command::new("sh")
        .args(["-c", &format!("exec 3<&0 </dev/null; {script}"), "kafka"])
        .args([jars, folder])
        .args([SCRAM_USER, PASSWORD])
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
    /// All of them, acknowledged.
    pub fn produce(&self, records: impl IntoIterator<Item = Record>) {
        self.sender().send(records);
    }

    pub fn sender(&self) -> Sender {
        let mut config = client(&self.bootstrap);
        config.set("enable.idempotence", "true").set("compression.type", "lz4").set("linger.ms", "20");
        config.set("message.max.bytes", "20000000");
        let producer = config.create_with_context(Refusals::default()).expect("a producer");
        Sender { topic: self.name.clone(), producer }
    }

    /// Shows every record the topic holds now: those of a partition in their order, partitions in any.
    pub fn each(&self, mut see: impl FnMut(&Record)) {
        let mut config = client(&self.bootstrap);
        config.set("group.id", "tests").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        config.set("fetch.queue.backoff.ms", "10");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut all = TopicPartitionList::new();
        for partition in 0..self.partitions {
            all.add_partition_offset(&self.name, partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&all).expect("partitions to read");
        let mut ended = vec![false; all.count()];
        while ended.contains(&false) {
            match consumer.poll(ANSWER) {
                Some(Ok(message)) => see(&Record::from(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => ended[partition as usize] = true,
                Some(Err(error)) => panic!("{}: {error}", self.name),
                None => panic!("{} is silent", self.name),
            }
        }
    }

    /// Removes what is below an offset, by partition, as retention does.
    pub fn expire(&self, below: &[i64]) {
        let admin: AdminClient<DefaultClientContext> = client(&self.bootstrap).create().expect("an admin client");
        let mut offsets = TopicPartitionList::new();
        for (partition, below) in (0..).zip(below) {
            offsets.add_partition_offset(&self.name, partition, Offset::Offset(*below)).expect("an offset");
        }
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let removed = runtime.block_on(admin.delete_records(&offsets, &options)).expect("records can be removed");
        removed.elements().iter().for_each(|element| element.error().expect("records are removed"));
    }

    pub fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        self.each(|record| records.push(record.clone()));
        records
    }

    /// The offset after the last record, by partition.
    pub fn ends(&self) -> Vec<i64> {
        let consumer: BaseConsumer = client(&self.bootstrap).create().expect("a consumer");
        let end = |partition| consumer.fetch_watermarks(&self.name, partition, ANSWER).expect("watermarks").1;
        (0..self.partitions).map(end).collect()
    }

    /// By partition.
    pub fn committed(&self, group: &str) -> Vec<Committed> {
        let consumer: BaseConsumer = client(&self.bootstrap).set("group.id", group).create().expect("a consumer");
        let mut all = TopicPartitionList::new();
        all.add_partition_range(&self.name, 0, self.partitions - 1);
        // A new group's coordinator may have yet to be found.
        let committed =
            wait_for("the committed offsets", ANSWER, || consumer.committed_offsets(all.clone(), ANSWER).ok());
        let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
        let elements = committed.elements();
        let by_partition = elements
            .iter()
            .map(|each| Committed { offset: offset(each.offset()), metadata: each.metadata().to_owned() });
        by_partition.collect()
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
        producer.flush(2 * ANSWER).expect("everything is answered");
        assert_eq!(producer.context().0.load(Ordering::SeqCst), 0, "records that {topic} refused");
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
