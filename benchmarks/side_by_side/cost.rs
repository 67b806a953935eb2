//! What a process costs, as the kernel counts it.

use std::{
    fs,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::real::leash::Leash;

/// Of a whole life, from its start to its end.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Seconds of user and system time, of all threads.
    pub cpu: f64,
    /// Seconds.
    pub wall: f64,
    /// The most that was resident at a time.
    pub peak_bytes: u64,
}

/// A process that is measured; killed when this one ends.
pub struct Process {
    child: Child,
    _leash: Leash,
    began: Instant,
    peak_bytes: u64,
}

/// What `/proc/PID/stat` says.
struct Times {
    ended: bool,
    cpu: f64,
}

/// Between two looks. A peak in the last of them is not seen.
const LOOK: Duration = Duration::from_millis(20);
/// The kernel tells times in hundredths of a second, whatever its own clock does (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

// === impl Process ===

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let began = Instant::now();
        let child = command.spawn().expect("the program starts");
        Self { _leash: Leash::on(&child), child, began, peak_bytes: 0 }
    }

    /// Looks again, after a while. An ended process stays to be looked at until it is waited for.
    pub fn has_ended(&mut self) -> bool {
        thread::sleep(LOOK);
        let status = self.file("status");
        self.peak_bytes = bytes(&status, "VmHWM:").unwrap_or(self.peak_bytes);
        times(&self.file("stat")).is_some_and(|times| times.ended)
    }

    /// Seconds of user and system time so far.
    pub fn cpu(&self) -> f64 {
        cpu(Pid::from_child(&self.child))
    }

    /// What is in memory now.
    pub fn resident_bytes(&self) -> u64 {
        bytes(&self.file("status"), "VmRSS:").unwrap_or_default()
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it has not been waited for");
    }

    /// SIGKILL; nothing of it runs on when this returns.
    pub fn kill(mut self) {
        self.child.kill().expect("it has not been waited for");
        self.child.wait().expect("a child can be waited for");
    }

    /// Waits for it; None where it failed.
    pub fn end(mut self) -> Option<Cost> {
        while !self.has_ended() {}
        let wall = self.began.elapsed().as_secs_f64();
        let cpu = self.cpu();
        let status = self.child.wait().expect("a child can be waited for");
        status.success().then_some(Cost { cpu, wall, peak_bytes: self.peak_bytes })
    }

    fn file(&self, name: &str) -> String {
        file(Pid::from_child(&self.child), name)
    }
}

/// Seconds of user and system time that a process has had so far.
pub fn cpu(process: Pid) -> f64 {
    times(&file(process, "stat")).expect("Linux").cpu
}

fn file(process: Pid, name: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{name}", process.as_raw_nonzero())).expect("Linux")
}

fn times(stat: &str) -> Option<Times> {
    // The name in front of it may have blanks and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(Times { ended: fields.first() == Some(&"Z"), cpu: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND })
}

/// What `/proc/PID/status` says; None once it has ended.
fn bytes(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}
