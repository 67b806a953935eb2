//! From a kept sample in a file to what there was, by the real program.

use std::{fs, path::Path};

use serde_json::Value;
use tailwater::{
    generate::{Shape, Trace, Traffic},
    recording::{Record, Writer},
};

use crate::support::{
    command::{tailwater, text},
    oracle::hex,
};

/// Of all seeds one in 20 has the truth outside of an interval, so it is not drawn anew each time.
const SEED: u64 = 1;
/// T for a tenth: 2^56 − round(2^56 / 10).
const TENTH: u64 = 0xe6_6666_6666_6666;

/// The spans of a trace with a trace state: field 3 behind all others of a span.
fn weighed(trace: &Trace, trace_state: &str) -> Record {
    let mut value = Vec::new();
    for span in &trace.spans {
        let stamped = [&span.bytes[..], &field(3, trace_state.as_bytes())].concat();
        let scope = [field(1, &span.origin.scope), field(2, &stamped)].concat();
        let resource = [field(1, &span.origin.resource), field(2, &scope)].concat();
        value.extend(field(1, &resource));
    }
    Record {
        topic: "kept".to_owned(),
        key: Some(hex(&trace.id.0).into_bytes()),
        value: Some(value),
        ..Record::default()
    }
}

/// A field of a protobuf message, of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let (mut field, mut length) = (vec![number << 3 | 2], bytes.len());
    while length >= 128 {
        field.push(length as u8 | 128);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend(bytes);
    field
}

fn write(path: &Path, records: impl Iterator<Item = Record>) {
    let mut writer = Writer::create(path).expect("a file");
    records.for_each(|record| writer.write(&record).expect("written"));
    writer.finish().expect("finished");
}

/// Errors are kept, and a tenth of the rest: the estimates are of all.
#[test]
fn a_recording_tells_what_there_was() {
    let traces: Vec<Trace> = Traffic::new(SEED, Shape::default()).take(20_000).collect();
    let kept = traces.iter().filter_map(|trace| match &trace.truth {
        truth if truth.error => Some(weighed(trace, "ot=th:0")),
        truth if truth.randomness >= TENTH => Some(weighed(trace, "vendor=x,ot=th:e6666666666666")),
        _ => None,
    });
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = folder.path().join("kept.rec");
    write(&file, kept);
    let said = tailwater(folder.path(), &["estimate", "kept.rec", "--by", "service", "--json", "report.json"]);
    let printed = text(&said.stdout);
    assert!(said.status.success(), "{}", text(&said.stderr));

    let report = fs::read_to_string(folder.path().join("report.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let errors = traces.iter().filter(|trace| trace.truth.error).count() as f64;
    let mut durations: Vec<f64> = traces.iter().map(|trace| trace.truth.duration_ns as f64 / 1e6).collect();
    durations.sort_by(f64::total_cmp);
    let all = &report["all"];
    let near = |of: &Value, truth: f64| {
        let [value, low, high] = ["value", "low", "high"].map(|end| of[end].as_f64().expect("a number"));
        assert!(low <= value && value <= high && (low..=high).contains(&truth), "{truth} is not within {of}");
    };
    near(&all["traces"], 20_000.0);
    assert_eq!((&all["errors"]["value"], &all["errors"]["low"]), (&errors.into(), &errors.into()), "all are kept");
    for (name, at) in [("p50", 10_000), ("p90", 18_000), ("p99", 19_800)] {
        near(&all["duration_ms"][name], durations[at - 1]);
    }
    let services = report["groups"].as_array().expect("groups");
    for service in services.iter().take(2) {
        let name = service["service"].as_str().expect("a name");
        near(&service["traces"], traces.iter().filter(|trace| trace.truth.root_service == name).count() as f64);
        assert!(printed.contains(name), "{printed}");
    }
    assert!(printed.contains("exact") && printed.contains("p99.9"), "{printed}");
}

#[test]
fn what_cannot_be_estimated_is_said() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let trace = Traffic::new(1, Shape::default()).next().expect("a trace");
    write(&folder.path().join("unweighed.rec"), [weighed(&trace, "vendor=x")].into_iter());
    let said = tailwater(folder.path(), &["estimate", "unweighed.rec"]);
    assert!(text(&said.stdout).contains("1 of the traces have no weight"), "{}", text(&said.stdout));
    write(&folder.path().join("empty.rec"), std::iter::empty());
    for (args, code, words) in [
        (&["estimate", "empty.rec"][..], 1, "no records"),
        (
            &["estimate", "missing.rec"],
            1,
            "there is no file missing.rec; for a topic of this name, say -c or --brokers",
        ),
        (&["estimate"], 2, "FILE|TOPIC"),
        (&["estimate", "empty.rec", "--by", "moon"], 2, "operation"),
    ] {
        let said = tailwater(folder.path(), args);
        assert_eq!(said.status.code(), Some(code), "{args:?}");
        assert!(text(&said.stderr).contains(words), "{args:?}: {}", text(&said.stderr));
    }
}
