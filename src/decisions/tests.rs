//! Records of the decision log, there and back.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;

const NAMES: [&str; 3] = ["errors", "slow", "checkout"];

fn names() -> Vec<String> {
    NAMES.map(String::from).into()
}

fn decision(trace: u8, verdict: Verdict) -> Decision {
    Decision {
        trace: TraceId([trace; 16]),
        verdict,
        rank: None,
        reason: Reason::Structure,
        decided: RecordTime(1_700_000_000_000),
        spans: 7,
        policies: Fingerprint(0x0102_0304),
    }
}

fn kept(policy: Option<u16>) -> Verdict {
    Verdict { keep: true, policy, threshold: Threshold::ALWAYS }
}

fn read_all(values: &[Vec<u8>], names: &[String]) -> Vec<Decision> {
    values.iter().flat_map(|value| decode(value, names).expect("ours").decisions).collect()
}

prop_compose! {
    fn any_decision()(
        id in 1..=u128::MAX,
        keep: bool,
        policy in option::of(0..3_u16),
        threshold in prop_oneof![Just(0), Just(Threshold::NEVER.0), 0..=Threshold::NEVER.0],
        rank in option::of((any::<u32>(), any::<u32>())),
        reason in select(&Reason::ALL[..]),
        decided in prop_oneof![any::<i64>(), Just(i64::MAX)],
        spans: u32,
        policies in prop_oneof![0..3_u32, any::<u32>()],
    ) -> Decision {
        let verdict = Verdict { keep, policy, threshold: Threshold(threshold) };
        let (decided, policies) = (RecordTime(decided), Fingerprint(policies));
        let rank = rank.map(|(before, most)| Rank { before, most });
        Decision { trace: TraceId(id.to_be_bytes()), verdict, rank, reason, decided, spans, policies }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        incarnation: u64, tick: u64, decisions in vec(any_decision(), 0..60), limit in LEAST_LIMIT..2000,
    ) {
        let values = encode(incarnation, tick, decisions.iter().copied(), &names(), limit);
        for value in &values {
            prop_assert!(value.len() <= limit);
            let logged = decode(value, &names()).expect("ours");
            prop_assert_eq!((logged.incarnation, logged.tick), (incarnation, tick));
            prop_assert!(!logged.decisions.is_empty());
        }
        prop_assert_eq!(read_all(&values, &names()), decisions);
    }

    /// The next decision would not have fitted: a record costs a request's overhead and a place in the log.
    #[test]
    fn records_are_full(decisions in vec(any_decision(), 1..60), limit in LEAST_LIMIT..2000) {
        let values = encode(1, 1, decisions.into_iter(), &names(), limit);
        for value in &values[..values.len() - 1] {
            prop_assert!(value.len() > limit - LEAST_LIMIT);
        }
    }

    #[test]
    fn anything_is_read_or_refused(value in vec(any::<u8>(), 0..200)) {
        _ = decode(&value, &names());
    }

    #[test]
    fn a_torn_record_is_refused_or_read_in_part(decisions in vec(any_decision(), 1..4), cut in 0.0..1.0) {
        let value = encode(1, 1, decisions.iter().copied(), &names(), 10_000).remove(0);
        let cut = (value.len() as f64 * cut) as usize;
        if let Ok(logged) = decode(&value[..cut], &names()) {
            // What tells the policies stands behind them.
            let anonymous = |decision: &Decision| Decision { policies: Fingerprint::UNKNOWN, ..*decision };
            let [decisions, read] = [&decisions, &logged.decisions].map(|of| of.iter().map(anonymous).collect::<Vec<_>>());
            prop_assert!(decisions.starts_with(&read));
        }
    }
}

#[test]
fn the_largest_decision_fits_the_least_limit() {
    let longest = vec!["n".repeat(128)];
    let verdict = Verdict { keep: true, policy: Some(0), threshold: Threshold(Threshold::NEVER.0 - 1) };
    let rank = Some(Rank { before: u32::MAX, most: u32::MAX });
    let largest = Decision { decided: RecordTime(i64::MIN), spans: u32::MAX, rank, ..decision(0xff, verdict) };
    let values = encode(u64::MAX, u64::MAX, [largest; 9].into_iter(), &longest, LEAST_LIMIT);
    assert!(values.len() > 1);
    assert!(values.iter().all(|value| value.len() <= LEAST_LIMIT), "{values:?}");
    assert_eq!(read_all(&values, &longest), [largest; 9]);
}

#[test]
fn names_stand_once_in_every_record_that_needs_them() {
    let decisions = [kept(Some(2)), kept(None), kept(Some(0)), kept(Some(2))].map(|verdict| decision(1, verdict));
    let values = encode(1, 1, decisions.into_iter(), &names(), 10_000);
    let record = schema::Decisions::decode(&values[0][..]).expect("a record");
    assert_eq!(record.policies, ["checkout", "errors"]);
    assert_eq!(record.decisions.iter().map(|decision| decision.policy).collect::<Vec<_>>(), [1, 0, 2, 1]);

    let many = encode(1, 1, [decision(1, kept(Some(1))); 40].into_iter(), &names(), LEAST_LIMIT);
    assert!(many.len() > 1);
    for value in many {
        assert_eq!(schema::Decisions::decode(&value[..]).expect("a record").policies, ["slow"]);
    }
}

#[test]
fn sets_are_named_once_a_record() {
    let of = |set| Decision { policies: Fingerprint(set), ..decision(1, kept(None)) };
    let value = encode(1, 1, [5, 5, 9, 5].map(of).into_iter(), &[], 10_000).remove(0);
    let record = schema::Decisions::decode(&value[..]).expect("a record");
    assert_eq!(record.sets, [5, 9]);
    assert_eq!(record.decisions.iter().map(|decision| decision.set).collect::<Vec<_>>(), [0, 0, 1, 0]);
}

#[test]
fn the_usual_thresholds_are_left_out() {
    let threshold = |keep, threshold| {
        let verdict = Verdict { keep, policy: None, threshold };
        let values = encode(1, 1, [decision(1, verdict)].into_iter(), &[], LEAST_LIMIT);
        schema::Decisions::decode(&values[0][..]).expect("a record").decisions[0].threshold
    };
    assert_eq!(threshold(true, Threshold::ALWAYS), None);
    assert_eq!(threshold(false, Threshold::NEVER), None);
    assert_eq!(threshold(false, Threshold::ALWAYS), Some(0));
    assert_eq!(threshold(true, Threshold(5)), Some(5));
}

#[test]
fn policies_are_found_by_name_and_may_be_gone() {
    let decisions = [0, 1, 2].map(|policy| decision(1, kept(Some(policy))));
    let values = encode(1, 1, decisions.into_iter(), &names(), 10_000);
    let now = ["checkout", "new", "errors"].map(String::from);
    let read = read_all(&values, &now);
    assert_eq!(read.iter().map(|decision| decision.verdict.policy).collect::<Vec<_>>(), [Some(2), None, Some(0)]);
    assert!(read.iter().all(|decision| decision.verdict.keep));
}

#[test]
fn what_cannot_be_read_says_what_to_do() {
    let written = |change: fn(&mut schema::Decisions)| {
        let value = encode(1, 1, [decision(1, kept(Some(0)))].into_iter(), &names(), LEAST_LIMIT).remove(0);
        let mut record = schema::Decisions::decode(&value[..]).expect("a record");
        change(&mut record);
        decode(&record.encode_to_vec(), &names()).expect_err("unreadable").to_string()
    };
    assert_eq!(
        written(|record| record.format = 2),
        "a newer version wrote it (format 2; this one reads up to 1); run that version"
    );
    let advice = "; let nothing else write to this topic, and go on with a new `input.group`";
    for (message, wrong) in [
        ("it has no format", written(|record| record.format = 0)),
        ("a trace id has 15 bytes, not 16", written(|record| record.decisions[0].trace_id = vec![1; 15])),
        ("a trace id is zero", written(|record| record.decisions[0].trace_id = vec![0; 16])),
        ("a policy has the number 2, of 1", written(|record| record.decisions[0].policy = 2)),
        ("a policy set has the number 1, of 1", written(|record| record.decisions[0].set = 1)),
        ("a reason has the number 0", written(|record| record.decisions[0].reason = 0)),
        ("a reason has the number 7", written(|record| record.decisions[0].reason = 7)),
        ("a threshold is 72057594037927937", written(|record| record.decisions[0].threshold = Some((1 << 56) + 1))),
    ] {
        assert_eq!(wrong, format!("it is not a record of decisions ({message}){advice}"));
    }
}

/// Numbers that are in logs: they never change.
#[test]
fn reasons_keep_their_numbers() {
    let numbers = Reason::ALL.map(|reason| (reason.name(), schema::Reason::from(reason) as i32));
    assert_eq!(numbers, [("structure", 1), ("torn", 6), ("max_wait", 2), ("size", 3), ("memory", 4), ("end", 5)]);
}

/// Bytes of format 1, as they are in logs.
#[test]
fn the_format_is_fixed() {
    let verdict = Verdict { keep: true, policy: Some(0), threshold: Threshold(5) };
    let decision = Decision { decided: RecordTime(3), ..decision(0xaa, verdict) };
    let value = encode(0x0102_0304_0506_0708, 9, [decision].into_iter(), &["p".to_owned()], LEAST_LIMIT).remove(0);
    let mut expected = vec![0x08, 1, 0x11, 8, 7, 6, 5, 4, 3, 2, 1, 0x18, 9, 0x22, 1, b'p', 0x2a, 30, 0x0a, 16];
    expected.extend([0xaa; 16]);
    expected.extend([0x10, 1, 0x18, 1, 0x20, 1, 0x28, 5, 0x30, 6, 0x38, 7]);
    let earlier = decode(&expected, &["p".to_owned()]).expect("a record of an earlier version").decisions;
    assert_eq!(earlier, [Decision { policies: Fingerprint::UNKNOWN, ..decision }]);
    expected.extend([0x32, 4, 4, 3, 2, 1]);
    assert_eq!(value, expected);
    // With a rank its decision is longer, and the policies stand behind it.
    let ranked = Decision { rank: Some(Rank { before: 2, most: 5 }), ..decision };
    let value = encode(0x0102_0304_0506_0708, 9, [ranked].into_iter(), &["p".to_owned()], LEAST_LIMIT).remove(0);
    expected.splice(17..18, [36]);
    expected.splice(48..48, [0x4a, 4, 0x08, 2, 0x10, 5]);
    assert_eq!(value, expected);
}

#[test]
fn the_proto_file_says_the_same() {
    let head = "// The records of Tailwater's decision log, the topics `<group>-decisions…`.\n\
                syntax = \"proto3\";\n\npackage tailwater.v1;\n";
    let expected = format!("{head}{}", proto(include_str!("schema.rs")));
    assert!(include_str!("../decisions.proto") == expected, "src/decisions.proto has to be:\n\n{expected}");
}

/// The messages of a Rust file as a proto file has them, comments too.
fn proto(rust: &str) -> String {
    let (mut proto, mut field) = (String::new(), None);
    for line in rust.lines() {
        let (indent, code) = line.split_at(line.len() - line.trim_start().len());
        let line = if let Some(text) = code.strip_prefix("///") {
            format!("//{text}")
        } else if let Some(name) = code.strip_prefix("pub struct ") {
            format!("message {name}")
        } else if let Some(name) = code.strip_prefix("pub enum ") {
            format!("enum {name}")
        } else if let Some(attribute) = code.strip_prefix("#[prost(") {
            field = Some(attribute.strip_suffix("\")]").expect("one line"));
            continue;
        } else if let Some((kind, number)) = field.take().map(|field| field.split_once(", tag = \"").expect("a tag")) {
            let (name, rust) = code.strip_prefix("pub ").and_then(|code| code.split_once(": ")).expect("a field");
            let inner =
                |rust: &str| rust.trim_end_matches([',', '>']).rsplit('<').next().unwrap_or_default().to_owned();
            let kind = match kind.split_once(", ") {
                Some(("message", label)) => format!("{label} {}", inner(rust)),
                Some((kind, label)) => format!("{label} {kind}"),
                None => kind
                    .split_once(" = ")
                    .map_or(kind, |(kind, what)| if kind == "bytes" { kind } else { what.trim_matches('"') })
                    .to_owned(),
            };
            format!("{kind} {name} = {number};")
        } else if let Some((name, number)) = code.strip_suffix(',').and_then(|code| code.split_once(" = ")) {
            let words =
                name.chars().map(|c| if c.is_uppercase() { format!("_{c}") } else { c.to_uppercase().to_string() });
            format!("REASON{} = {number};", words.collect::<String>())
        } else if code.is_empty() || code == "}" {
            code.to_owned()
        } else {
            continue;
        };
        proto += &format!("{}{line}\n", &indent[indent.len() / 2..]);
    }
    proto
}
