//! The real program as a child process.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{
    kafka::{Topic, kafka},
    leash::Leash,
    wait::{wait_for, wait_until},
};

/// What to keep, as the oracle judges it: errors, answers of 500 and more, longer than 5 s, 1 % of the rest.
pub const POLICIES: &str = r#"
policies:
  - name: errors
    when: any(status.code == STATUS_CODE_ERROR)
    keep: always
  - name: server-errors
    when: any(attributes["http.response.status_code"] >= 500)
    keep: always
  - name: slow
    when: trace.duration > 5s
    keep: always
  - name: baseline
    keep: { probability: 1% }
otherwise: drop
"#;

/// A group waits for a killed member until its session is over. Brokers allow no less than these 6 s, if they are not told to.
const SESSION: &str = "session.timeout.ms: 6000, heartbeat.interval.ms: 1000, ";

/// What to run the program on. The names of topics and group start with the test's, so that tests share a broker.
#[derive(Clone)]
pub struct Job {
    pub brokers: String,
    pub inputs: Vec<String>,
    pub output: String,
    pub group: String,
    /// Whether the input is keyed by trace id.
    pub keyed: &'static str,
    /// More of the input's fields.
    pub input: &'static str,
    pub quiet: &'static str,
    pub max_wait: &'static str,
    pub policies: String,
    /// How the group notices that it is gone; librdkafka's properties.
    pub session: &'static str,
    /// More of librdkafka's properties.
    pub properties: String,
    /// More lines of the configuration file.
    pub more: String,
    /// Variables of the environment.
    pub variables: Vec<(&'static str, String)>,
}

/// A running `tailwater run`, killed when dropped.
pub struct Processor {
    child: Child,
    _leash: Leash,
    said: Arc<Mutex<String>>,
    listening: Option<JoinHandle<()>>,
    folder: TempDir,
}

/// How it ended, and all it said on standard error.
pub struct Ended {
    pub status: ExitStatus,
    pub said: String,
    pub took: Duration,
}

/// What a command came to, and all it said.
pub struct Checked {
    pub status: ExitStatus,
    pub said: String,
}

/// The program's own numbers, labels added up.
pub struct Metrics(String);

// === impl Job ===

impl Job {
    /// Reads `<name>-spans`, writes `<name>-kept`, as the group `<name>`.
    pub fn named(name: &str) -> Self {
        Self {
            brokers: kafka().bootstrap.clone(),
            inputs: vec![format!("{name}-spans")],
            output: format!("{name}-kept"),
            group: name.to_owned(),
            keyed: "auto",
            input: "",
            quiet: "2s",
            max_wait: "30s",
            policies: POLICIES.to_owned(),
            session: SESSION,
            properties: String::new(),
            more: String::new(),
            variables: Vec::new(),
        }
    }

    pub fn dead_letters(&self) -> String {
        format!("{}-dead-letters", self.group)
    }

    /// The name of a worker's transactions, the first of its process, where no other process of the group is on this host.
    pub fn transactional_id(&self) -> String {
        format!("{}/{}/0/0", self.group, rustix::system::uname().nodename().to_string_lossy())
    }

    pub fn run(&self) -> Processor {
        self.start(&[])
    }

    /// Runs until so many records of the input are committed, and is killed.
    pub fn live_until(&self, input: &Topic, reached: i64) {
        let processor = self.run();
        let committed = || input.committed(&self.group).iter().filter_map(|of| of.offset).sum::<i64>();
        wait_until("a part to be committed", Duration::from_secs(60), || committed() >= reached);
        processor.kill();
    }

    /// Runs to the end of the topics and wants to see it succeed.
    pub fn run_until_end(&self) -> Ended {
        let ended = self.start(&["--until-end"]).ends_within(Duration::from_secs(300));
        assert!(ended.status.success(), "{}\n{}", ended.status, ended.said);
        ended
    }

    pub fn start(&self, flags: &[&str]) -> Processor {
        let folder = self.folder();
        let mut child = self
            .command("run", &folder, flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let said = Arc::new(Mutex::new(String::new()));
        let listening = thread::spawn({
            let (stderr, said) = (child.stderr.take().expect("piped"), said.clone());
            move || listen(stderr, &said)
        });
        Processor { _leash: Leash::on(&child), child, said, listening: Some(listening), folder }
    }

    /// `tailwater check`.
    pub fn check(&self, flags: &[&str]) -> Checked {
        self.ask("check", flags)
    }

    /// Another command with the same configuration.
    pub fn ask(&self, command: &str, flags: &[&str]) -> Checked {
        let output = self.command(command, &self.folder(), flags).output().expect("the program starts");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        Checked { status: output.status, said }
    }

    /// With the configuration in it.
    fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        fs::write(folder.path().join("tailwater.yaml"), self.config()).expect("a configuration");
        fs::write(folder.path().join("policies.yaml"), &self.policies).expect("policies");
        folder
    }

    fn command(&self, name: &str, folder: &TempDir, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater"));
        command.args([name, "-c"]).arg(folder.path().join("tailwater.yaml")).args(flags);
        command.envs(self.variables.iter().cloned());
        command
    }

    fn config(&self) -> String {
        let Self { brokers, inputs, output, group, keyed, input, quiet, max_wait, session, properties, more, .. } =
            self;
        let inputs = inputs.join(", ");
        format!(
            "kafka: {{ brokers: \"{brokers}\", properties: {{ {session}{properties} }} }}\n\
             input: {{ topics: [{inputs}], group: {group}, keyed: {keyed}, encoding: otlp_proto, start: earliest, {input} }}\n\
             output: [{{ kafka: {{ topic: {output}, encoding: otlp_proto }} }}]\n\
             completion: {{ quiet: {quiet}, max_wait: {max_wait} }}\n\
             policies: [policies.yaml]\n\
             http: {{ listen: \"127.0.0.1:0\" }}\n\
             {more}"
        )
    }
}

fn listen(stderr: ChildStderr, said: &Mutex<String>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let mut said = said.lock().expect("no panic under this lock");
        said.push_str(&line);
        said.push('\n');
    }
}

// === impl Checked ===

impl Checked {
    /// What it has printed of them.
    pub fn metrics(&self) -> Metrics {
        Metrics(self.said.clone())
    }
}

// === impl Processor ===

impl Processor {
    pub fn ends_within(mut self, deadline: Duration) -> Ended {
        let start = Instant::now();
        let status =
            wait_for("the program to end", deadline, || self.child.try_wait().expect("a child can be waited for"));
        let took = start.elapsed();
        if let Some(listening) = self.listening.take() {
            listening.join().expect("listening does not panic");
        }
        Ended { status, said: self.said(), took }
    }

    /// SIGTERM, and how it takes it.
    pub fn terminate(self) -> Ended {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the program runs");
        self.ends_within(Duration::from_secs(30))
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).expect("the program runs");
    }

    /// Where its configuration and `policies.yaml` are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// SIGSTOP: it stands still, and its connections stay.
    pub fn freeze(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).expect("the program runs");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("the program runs");
    }

    /// SIGKILL; nothing of it runs on when this returns.
    pub fn kill(mut self) {
        self.child.kill().expect("the program runs");
        self.child.wait().expect("a child can be waited for");
    }

    /// The most memory it has had.
    pub fn peak_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the program runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts it");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// What it has said on standard error so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("no panic under this lock").clone()
    }

    /// The port is the system's choice; the program says which.
    fn http(&self) -> Option<SocketAddr> {
        let said = self.said();
        let (_, address) = said.split_once("metrics are at http://")?;
        address.split_once("/metrics")?.0.parse().ok()
    }

    /// The status of an answer and its body; None where nobody answers yet.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.http()?, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout above 0");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.get("/readyz"), Some((200, _)))
    }

    /// None where nobody answers yet.
    pub fn metrics(&self) -> Option<Metrics> {
        self.get("/metrics").map(|(_, text)| Metrics(text))
    }

    /// Waits until the program's numbers are so, while it runs.
    pub fn wait_until(&mut self, what: &str, so: impl FnMut(&Metrics) -> bool) {
        if !self.runs_until(what, so) {
            let status = self.child.wait().expect("a child can be waited for");
            panic!("{status} before {what}\n{}", self.said());
        }
    }

    /// Waits until the program's numbers are so; false where it has ended before.
    pub fn runs_until(&mut self, what: &str, mut so: impl FnMut(&Metrics) -> bool) -> bool {
        wait_for(what, Duration::from_secs(180), || {
            let ended = self.child.try_wait().expect("a child can be waited for").map(|_| false);
            ended.or_else(|| self.metrics().filter(|metrics| so(metrics)).map(|_| true))
        })
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        let metrics = thread::panicking().then(|| self.metrics()).flatten();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("--- the program said:\n{}", self.said());
        }
        if let Some(Metrics(text)) = metrics {
            println!("--- and counted:\n{text}");
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// 0 where the program has not counted any.
    pub fn sum(&self, name: &str) -> u64 {
        self.sum_where(name, "")
    }

    fn sum_where(&self, name: &str, label: &str) -> u64 {
        let samples = self.0.lines().filter_map(|line| line.strip_prefix(name));
        let samples = samples.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label));
        samples
            .map(|rest| rest.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or_default())
            .sum::<f64>() as u64
    }

    /// Of the sample with these labels and no others; None where the program shows none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        wanted.sort();
        self.0.lines().find_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let labels = sample.strip_prefix(name)?;
            let labels = labels.strip_prefix('{').map_or(labels, |labels| labels.trim_end_matches('}'));
            let mut labels: Vec<&str> = labels.split(',').filter(|label| !label.is_empty()).collect();
            labels.sort();
            (labels == wanted).then(|| value.parse().expect("a number"))
        })
    }

    pub fn received(&self) -> u64 {
        self.sum("tailwater_spans_received_total")
    }

    pub fn forwarded(&self) -> u64 {
        self.sum("tailwater_spans_forwarded_total")
    }

    pub fn rejected(&self) -> u64 {
        self.sum("tailwater_spans_rejected_total")
    }

    pub fn late(&self) -> u64 {
        self.sum("tailwater_spans_late_total")
    }

    pub fn held(&self) -> u64 {
        self.sum("tailwater_spans_held")
    }

    /// Traces decided for a reason.
    pub fn decided(&self, reason: &str) -> u64 {
        self.sum_where("tailwater_traces_decided_total", &format!("reason=\"{reason}\""))
    }

    /// Below 0 where spans went two ways.
    pub fn lost(&self) -> i64 {
        self.value("tailwater_spans_lost", &[]).expect("it is always there") as i64
    }
}
