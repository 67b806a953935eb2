//! On what, and with which versions.

use std::{fs, process::Command};

use serde_json::{Value, json};

use super::contender::program;

/// Kafka's, as `tests/kafka/pom.xml` has it.
const POM: &str = include_str!("../../tests/kafka/pom.xml");

pub fn machine() -> Value {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    json!({
        "processor": model.map(|(_, model)| model),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": memory.map(str::trim),
        "kernel": rustix::system::uname().release().to_string_lossy(),
    })
}

pub fn versions() -> Value {
    let (_, kafka) = POM.split_once("<artifactId>kafka_2.13</artifactId>").expect("Kafka is among them");
    let kafka = kafka.split_once("<version>").and_then(|(_, rest)| rest.split_once("</version>"));
    json!({
        "tailwater": env!("CARGO_PKG_VERSION"),
        "commit": said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=12"]),
        "collector": said(&program().to_string_lossy(), &["--version"]),
        "kafka": kafka.map(|(version, _)| version),
    })
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
