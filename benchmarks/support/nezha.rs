//! Real traces of the Online Boutique, with the faults that were put into it, where they are at hand: they are a third party's, and no
//! part of this project.

#![allow(dead_code, reason = "every user takes a part of it")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A fault, and when it was put in, in nanoseconds since 1970.
pub struct Fault {
    pub at: u64,
    pub kind: String,
    pub service: String,
}

/// The rows of each minute, in their order; None where they are not there. A row is a span: its trace, itself, its parent or `root`, pod,
/// name, start and end in nanoseconds since 1970.
pub fn minutes() -> Option<Vec<String>> {
    let folder = fs::read_dir(folder().join("online-boutique/trace")).ok()?;
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let minute = |file: &PathBuf| {
        let unpacked = Command::new("gzip").arg("-dc").arg(file).output().expect("gzip starts");
        assert!(unpacked.status.success(), "{}", file.display());
        let text = String::from_utf8(unpacked.stdout).expect("text");
        text.split_once('\n').expect("a head").1.to_owned()
    };
    Some(files.iter().map(minute).collect())
}

/// All faults of the day, in the order of time.
pub fn faults() -> Option<Vec<Fault>> {
    let file = fs::read(folder().join("online-boutique/2022-08-23-fault_list.json")).ok()?;
    let hours: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    let faults = hours.as_object().expect("hours").values().flat_map(|hour| hour.as_array().expect("faults"));
    let fault = |fault: &serde_json::Value| {
        let text = |field: &str| fault[field].as_str().expect("text");
        let at = text("inject_timestamp").parse::<u64>().expect("seconds") * 1_000_000_000;
        Fault { at, kind: text("inject_type").to_owned(), service: service(text("inject_pod")).to_owned() }
    };
    let mut faults: Vec<Fault> = faults.map(fault).collect();
    faults.sort_by_key(|fault| fault.at);
    Some(faults)
}

/// Of a pod, whose name ends with those of its replica set and its own.
pub fn service(pod: &str) -> &str {
    pod.rsplitn(3, '-').last().expect("a name")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/nezha")
}
