//! The processor under test: `tailwater run`, as a child, with the files a user would write.

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpSocket;

use super::{
    args::{MAX_WAIT, QUIET, SESSION},
    broker::Broker,
    due::POLICIES,
    scrape,
};

/// A folder with the configuration, the policies and the log.
pub(super) struct Workplace {
    folder: tempfile::TempDir,
    /// Of the processor's HTTP server.
    pub port: u16,
    #[expect(dead_code, reason = "held so that nobody else gets the port, also between two processors")]
    reserved: TcpSocket,
}

/// The running child. Dropped, it is killed.
pub(super) struct Processor {
    child: Child,
    pub started: Instant,
}

/// What SIGTERM may take: the contract of `run`.
const TERMINATION: Duration = Duration::from_secs(10);
/// For a child to be ready the first time: a rebalance takes 3 s on the embedded broker.
const READY: Duration = Duration::from_secs(40);
const STEP: Duration = Duration::from_millis(50);

// === impl Workplace ===

impl Workplace {
    /// # Errors
    /// The files cannot be written, or no port is free.
    pub fn new(broker: &Broker) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tailwater-demo-").tempdir().context("no folder for the demo")?;
        let reserved = reserve_port().context("no free port for the processor")?;
        let port = reserved.local_addr()?.port();
        let workplace = Self { folder, port, reserved };
        fs::create_dir(workplace.path("policies"))?;
        fs::write(workplace.path("policies/errors-and-slow.yaml"), POLICIES)?;
        fs::write(workplace.config(), configuration(broker, port))?;
        Ok(workplace)
    }

    pub fn config(&self) -> PathBuf {
        self.path("tailwater.yaml")
    }

    pub fn log(&self) -> PathBuf {
        self.path("processor.log")
    }

    /// Leaves the files where they are, for a person to look at.
    pub fn keep(mut self) {
        self.folder.disable_cleanup(true);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

// === impl Processor ===

impl Processor {
    /// Starts this same program as `run -c …`.
    ///
    /// # Errors
    /// It cannot be started, or its log not be written.
    pub fn start(workplace: &Workplace) -> anyhow::Result<Self> {
        Self::spawn(&std::env::current_exe().context("this program has no path")?, workplace)
    }

    fn spawn(program: &Path, workplace: &Workplace) -> anyhow::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(workplace.log())?;
        let mut command = Command::new(program);
        command.arg("run").arg("-c").arg(workplace.config());
        command.stdin(Stdio::null()).stdout(File::try_clone(&log)?).stderr(log).env("NO_COLOR", "1");
        // A group of its own: Ctrl-C ends the demo, and the demo ends the child.
        command.process_group(0);
        // The user's own settings are for the user's own processor.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TAILWATER__")) {
            command.env_remove(name);
        }
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { child, started: Instant::now() })
    }

    /// Waits until it is ready; `stop` ends the waiting.
    ///
    /// # Errors
    /// It is not ready in time, or has ended.
    pub fn wait_until_ready(&mut self, workplace: &Workplace, stop: impl Fn() -> bool) -> anyhow::Result<()> {
        while !scrape::is_ready(workplace.port) && !stop() {
            self.check_alive()?;
            if self.started.elapsed() > READY {
                bail!("the processor is not ready after {READY:?}");
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }

    /// # Errors
    /// It has ended by itself.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the processor ended by itself: {status}"),
            None => Ok(()),
        }
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// It cannot be signalled or waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM. None where it has not ended within [`TERMINATION`].
    ///
    /// # Errors
    /// It cannot be signalled or waited for.
    pub fn terminate(mut self) -> anyhow::Result<Option<(ExitStatus, Duration)>> {
        let asked = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("SIGTERM")?;
        while asked.elapsed() < TERMINATION {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some((status, asked.elapsed())));
            }
            std::thread::sleep(STEP);
        }
        Ok(None)
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A socket that is bound and never listens: no other bind and no connection is given its port, and who asks for just this port
/// may still listen on it.
fn reserve_port() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(socket)
}

/// As a user would write it.
fn configuration(broker: &Broker, port: u16) -> String {
    let topics = &broker.topics;
    format!(
        "kafka:\n\
         \x20 brokers: \"{brokers}\"\n\
         \x20 properties:\n\
         \x20   # So that a killed processor's partitions are free again soon.\n\
         \x20   session.timeout.ms: \"{session}\"\n\
         \x20   heartbeat.interval.ms: \"1000\"\n\
         input:\n\
         \x20 topics: [{input}]\n\
         \x20 group: {group}\n\
         \x20 encoding: otlp_proto\n\
         \x20 start: earliest\n\
         output:\n\
         \x20 - kafka: {{ topic: {output}, encoding: otlp_proto }}\n\
         delivery: {delivery}\n\
         completion: {{ quiet: {quiet}s, max_wait: {max_wait}s }}\n\
         memory: {{ buffer: 256MiB }}\n\
         late_window: 10m\n\
         policies: [policies/]\n\
         http: {{ listen: \"127.0.0.1:{port}\" }}\n",
        brokers = broker.address,
        session = SESSION.as_millis(),
        input = topics.input,
        group = topics.group,
        output = topics.output,
        // The embedded broker has no transactions to speak of.
        delivery = if broker.is_embedded() { "at_least_once" } else { "exactly_once" },
        quiet = QUIET.as_secs(),
        max_wait = MAX_WAIT.as_secs(),
    )
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::fs::PermissionsExt};

    use super::*;

    fn program(workplace: &Workplace, body: &str) -> PathBuf {
        let path = workplace.path("program");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_reserved_port_is_for_who_asks_for_it() {
        let reserved = reserve_port().unwrap();
        let port = reserved.local_addr().unwrap();
        for _ in 0..2 {
            TcpListener::bind(port).unwrap();
        }
        let exclusive = TcpSocket::new_v4().unwrap();
        assert!(exclusive.bind(port).is_err(), "without asking to share it");
    }

    #[test]
    fn a_child_is_started_watched_and_ended() {
        let broker = Broker::start(None).unwrap();
        let workplace = Workplace::new(&broker).unwrap();
        let config = fs::read_to_string(workplace.config()).unwrap();
        assert!(
            config.contains("\n    session.timeout.ms: \"6000\"\n") && config.contains(&broker.address),
            "{config}"
        );

        let obeys = program(&workplace, "trap 'exit 0' TERM\necho started $*\nwhile :; do sleep 0.05; done");
        let mut processor = Processor::spawn(&obeys, &workplace).unwrap();
        while !fs::read_to_string(workplace.log()).unwrap().contains("started run -c") {
            processor.check_alive().unwrap();
            std::thread::sleep(STEP);
        }
        let (status, took) = processor.terminate().unwrap().unwrap();
        assert!(status.success() && took < TERMINATION);

        let fails = program(&workplace, "exit 3");
        let mut processor = Processor::spawn(&fails, &workplace).unwrap();
        let error = processor.wait_until_ready(&workplace, || false).unwrap_err().to_string();
        assert!(error.contains("ended by itself"), "{error}");
    }
}
