//! The tools around policies: what they say, and with which exit code.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{
    command::{tailwater, text},
    kafka::kafka,
    oracle::hex,
    processor::Job,
    spans::{failed, keyed, passing_time, span, trace},
    witness,
};

#[test]
fn the_policies_pass_their_tests_together_and_each_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let alone = fs::read_dir(root.join("policies")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let alone = alone.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let alone: Vec<String> = alone.map(|path| path.display().to_string()).collect();
    assert!(alone.len() > 1);
    let mut tests = 0;
    for file in &alone {
        let ran = tailwater(root, &["test", file]);
        let said = text(&ran.stdout) + &text(&ran.stderr);
        assert!(ran.status.success(), "{file}: {said}");
        let count: usize = said.split(' ').next().and_then(|count| count.parse().ok()).expect("a number of tests");
        assert!(count > 0, "{file} has no tests");
        tests += count;
    }
    // What is not said is the folder `policies`.
    let together = tailwater(root, &["test"]);
    assert_eq!(text(&together.stdout), format!("{tests} tests, {tests} passed\n"), "{}", text(&together.stderr));
}

/// All of it but the two lines that stand in one file only.
#[test]
fn the_migrated_policies_are_what_is_imported() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let imported = tailwater(root, &["import", "tests/collector/migration.yaml"]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    let imported = text(&imported.stdout).replace("match: any\n", "").replace("\notherwise: drop\n", "");
    let file = fs::read_to_string(root.join("policies/migration.yaml")).expect("a file");
    assert!(imported.contains("drop: always") && file.contains(&imported), "{imported}");
}

#[test]
fn an_import_that_lacks_policies_says_which_and_by_its_exit_code() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let policies = "- { name: all, type: always_sample }\n- { name: ours, type: our_plugin }\n";
    fs::write(folder.path().join("collector.yaml"), format!("policies:\n{policies}")).expect("a file");
    let imported = tailwater(folder.path(), &["import", "collector.yaml", "-o", "imported.yaml"]);
    let said = text(&imported.stderr);
    assert_eq!(imported.status.code(), Some(3), "{said}");
    assert!(said.contains("`ours` is not imported"), "{said}");
    let file = fs::read_to_string(folder.path().join("imported.yaml")).expect("a file");
    assert!(file.contains("name: all") && file.contains("NOT IMPORTED: `ours`"), "{file}");
}

#[test]
fn the_examples_in_the_manual_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manual = fs::read_to_string(root.join("docs/tools.md")).expect("a file");
    let example = manual.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let help = text(&tailwater(root, &["test", "--help"]).stdout);
    let lines = help.lines().skip_while(|line| *line != "  tests:").take_while(|line| !line.is_empty());
    let policies = "policies: [ { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always } ]\n";
    let in_help = lines.map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect::<String>();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    for (file, content, tests) in
        [("manual.yaml", example.to_owned(), 2), ("help.yaml", format!("{policies}{in_help}"), 1)]
    {
        fs::write(folder.path().join(file), &content).expect("a file");
        let ran = tailwater(folder.path(), &["test", file]);
        let passed = format!("{tests} test{}, {tests} passed\n", if tests == 1 { "" } else { "s" });
        assert_eq!(text(&ran.stdout), passed, "{content}{}", text(&ran.stderr));
    }
}

#[test]
fn a_test_that_fails_and_a_file_that_is_wrong_are_told_apart() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let policies = "policies: [ { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always } ]\n";
    let write = |tests: &str| fs::write(folder.path().join("shop.yaml"), format!("{policies}{tests}")).expect("a file");
    let run = || tailwater(folder.path(), &["test", "shop.yaml"]);

    write("tests:\n  - { name: fine, trace: [ { status: ok } ], expect: { keep: errors } }\n");
    let failed = run();
    assert_eq!(failed.status.code(), Some(1));
    let said = text(&failed.stdout);
    for words in [
        "FAILED shop.yaml:3: fine",
        "expected: kept by `errors`",
        "found:    dropped by otherwise",
        "of 0 of 1 span: STATUS_CODE_OK",
        "1 test, 0 passed, 1 failed",
    ] {
        assert!(said.contains(words), "{words} in:\n{said}");
    }

    write("tests:\n  - { name: fine, trace: [ { status: okay } ], expect: { keep: error } }\n");
    for (arguments, code) in [(&["test", "shop.yaml"][..], 2), (&["check", "shop.yaml"], 1)] {
        let wrong = tailwater(folder.path(), arguments);
        assert_eq!(wrong.status.code(), Some(code));
        let said = text(&wrong.stderr);
        for words in ["shop.yaml:3:38", "shop.yaml:3:64", "did you mean `errors`?"] {
            assert!(said.contains(words), "{words} in:\n{said}");
        }
    }
    assert_eq!(tailwater(folder.path(), &["test", "nowhere.yaml"]).status.code(), Some(2));
}

/// One way for all commands: by their names, by a configuration, both, or neither.
#[test]
fn policies_are_named_in_one_way() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let write = |name: &str, content: &str| fs::write(folder.path().join(name), content).expect("a file");
    let policies = |name: &str| {
        format!(
            "policies: [ {{ name: {name}, when: 'root.name == \"{name}\"', keep: always }} ]\n\
             tests: [ {{ name: kept, trace: [ {{ name: {name} }} ], expect: {{ keep: {name} }} }} ]\n"
        )
    };
    write("one.yaml", &policies("one"));
    write("two.yaml", &policies("two"));
    write(
        "tailwater.yaml",
        "kafka: { brokers: \"localhost:9092\" }\ninput: { topics: [spans] }\n\
         output: [ { kafka: { topic: spans-kept } } ]\npolicies: [one.yaml, two.yaml]\n",
    );
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    let run = |at: &str, arguments: &[&str]| tailwater(&folder.path().join(at), arguments);
    for command in ["check", "test"] {
        let nothing = run("", &[command]);
        let said = text(&nothing.stderr);
        assert_eq!(nothing.status.code(), Some(if command == "test" { 2 } else { 1 }), "{said}");
        assert!(said.contains("there is no folder `policies` here") && said.contains("-c tailwater.yaml"), "{said}");
    }
    for (arguments, tests) in [
        (&["one.yaml"][..], 1),
        (&["one.yaml", "two.yaml"], 2),
        (&["-c", "tailwater.yaml"], 2),
        (&["-c", "tailwater.yaml", "two.yaml"], 1),
    ] {
        let checked = run("", &[&["check"], arguments].concat());
        assert!(checked.status.success(), "{}", text(&checked.stderr));
        let tested = run("", &[&["test"], arguments].concat());
        let passed = format!("{tests} test{}, {tests} passed\n", if tests == 1 { "" } else { "s" });
        assert_eq!(text(&tested.stdout), passed, "{arguments:?}: {}", text(&tested.stderr));
    }
    fs::create_dir(folder.path().join("policies")).expect("a folder");
    write("policies/one.yaml", &policies("one"));
    for command in ["check", "test"] {
        let found = run("", &[command]);
        assert!(found.status.success(), "{}", text(&found.stderr));
    }
}

#[test]
fn mistakes_are_told_to_programs() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let policies = "policies:\n  - { name: a, when: any(statuss.code == 1), keep: always }\n  - { name: b }\n";
    fs::write(folder.path().join("shop.yaml"), policies).expect("a file");
    let checked = tailwater(folder.path(), &["check", "--format", "json", "shop.yaml"]);
    assert_eq!((checked.status.code(), text(&checked.stderr).as_str()), (Some(1), ""));
    let found: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    let first = serde_json::json!({
        "file": "shop.yaml", "line": 2, "column": 26, "end": { "line": 2, "column": 38 }, "severity": "error",
        "message": "unknown path `statuss.code`", "hint": "did you mean `status.code`?",
    });
    assert_eq!((found.as_array().map(Vec::len), &found[0]), (Some(2), &first), "{found}");

    fs::write(folder.path().join("shop.yaml"), "policies: [ { name: b, keep: always } ]").expect("a file");
    let checked = tailwater(folder.path(), &["check", "--format", "json", "shop.yaml"]);
    assert_eq!((checked.status.code(), text(&checked.stdout).as_str()), (Some(0), "[]\n"));
}

/// Of the topic, and of a recording of it.
#[test]
fn a_trace_is_explained_kept_or_dropped() {
    let input = kafka().topic("tools-spans", 2);
    kafka().topic("tools-kept", 1);
    let job = Job::named("tools");
    let (kept, dropped, late) = (trace(1), trace(2), failed(span(trace(2), 2, 1, 0)));
    input.produce([
        keyed(0, 0, vec![span(kept, 1, 0, 0), failed(span(kept, 2, 1, 3))]),
        keyed(1, 0, vec![span(dropped, 1, 0, 0)]),
    ]);
    input.produce(passing_time(1, 100, 60_000));
    input.produce([keyed(1, 61_000, vec![late])]);
    job.run_until_end();

    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = folder.path().join("tools.rec").display().to_string();
    let recorded = job.ask("record", &["-o", &file]);
    assert!(recorded.status.success(), "{}", recorded.said);
    let records: i64 = input.ends().iter().sum();
    assert!(recorded.said.starts_with(&format!("{records} records, ")), "{}", recorded.said);

    for (id, logged, words) in [
        (
            kept,
            "in the decision log: kept by `errors`; of such traces 100 % are kept; complete by structure, with 2 spans; by the policies ",
            &["kept by `errors`", "true   of 1 of 2 spans: STATUS_CODE_ERROR in \"span 2\"", "trace.duration > 5s"][..],
        ),
        (
            dropped,
            "in the decision log: dropped by otherwise; of such traces 1 % are kept; complete by structure, with 1 span; by the policies ",
            &[
                "dropped by otherwise",
                "false  of 0 of 1 span: STATUS_CODE_UNSET in \"span 1\"",
                "1 span that came after",
            ],
        ),
    ] {
        let live = job.ask("explain", &[&hex(&id)]);
        let read = job.ask("explain", &["--recording", &file, &hex(&id)]);
        assert!(live.status.success() && read.status.success(), "{}\n{}", live.said, read.said);
        assert!(live.said.contains(logged), "{}", live.said);
        for words in words {
            assert!(read.said.contains(words), "{words} in:\n{}", read.said);
        }
        assert!(live.said.contains(&read.said), "{}\n{}", live.said, read.said);
    }
    // A part of the topic, or of the recording, by the same words as elsewhere.
    let part = job.ask("explain", &["--offsets", "1:0-1", &hex(&kept)]);
    assert!(part.status.success() && part.said.contains("in the decision log") && part.said.contains("no span of"));
    let part = job.ask("explain", &["--recording", &file, "--offsets", "1:0-1", &hex(&kept)]);
    assert_eq!(part.status.code(), Some(1), "{}", part.said);
    assert!(part.said.starts_with("no span of"), "{}", part.said);
    let nobody = job.ask("explain", &["--recording", &file, &hex(&trace(3_000_000))]);
    assert_eq!(nobody.status.code(), Some(1), "{}", nobody.said);

    // The same records judged again: what the processor kept is what is kept.
    let backtest = |more: &[&str]| {
        let said = job.ask("backtest", &[&["--format", "json"], more].concat());
        assert!(said.status.success(), "{}", said.said);
        serde_json::from_str::<Value>(&said.said).expect("JSON")
    };
    let live = backtest(&["--against", "tools-kept"]);
    assert_eq!((&live["candidate"]["kept"]["kept"], &live["against"]["both"]), (&1.into(), &1.into()), "{live}");
    for only in ["only_ours", "only_theirs"] {
        assert_eq!(live["against"][only]["traces"], 0, "{live}");
    }
    let read = backtest(&["--recording", &file]);
    assert_eq!((&read["candidate"], &read["input"]), (&live["candidate"], &live["input"]));
    // A part of the topic, a part of the traces, other policies beside, and a file for programs.
    for (range, records) in [
        (&["--offsets", "0:0-1"][..], Some(1)),
        (&["--offsets", "0:0-1,1:0-3", "--to", "2020-01-01T00:00:00Z"], None),
        (&["--from", "1970-01-01T00:00:00Z", "--offsets", "1:1-3"], Some(2)),
    ] {
        for from in [&[][..], &["--recording", &file]] {
            let part = job.ask("backtest", &[&["--format", "json"], range, from].concat());
            let part: Value = serde_json::from_str(&part.said).unwrap_or_default();
            assert_eq!(part["input"]["records"].as_u64(), records, "{range:?} {from:?}: {part}");
        }
    }
    let sample = backtest(&["--sample", "50%"]);
    assert_eq!(sample["input"]["sample"], 0.5);
    assert!(sample["input"]["traces"].as_u64() < live["input"]["traces"].as_u64(), "{sample}");
    let path = |name| folder.path().join(name).display().to_string();
    let (nothing, report) = (path("nothing.yaml"), path("report.json"));
    fs::write(&nothing, "policies: [ { name: nothing, when: any(name == \"no such name\"), keep: always } ]\n")
        .expect("a file");
    let beside = backtest(&["--current", &nothing]);
    assert_eq!((&beside["current"]["kept"]["kept"], &beside["candidate"]["kept"]["kept"]), (&0.into(), &1.into()));
    let said = job.ask("backtest", &["--current", &nothing, "--json", &report]);
    assert!(said.status.success() && said.said.contains("kept"), "{}", said.said);
    let written = fs::read_to_string(&report).expect("a report");
    assert_eq!(serde_json::from_str::<Value>(&written).expect("JSON"), beside);

    // What was kept, out of the topic it is in, and by a recording of it: one trace, which is kept for certain.
    let kept_file = path("kept.rec");
    let recorded = job.ask("record", &["--topic", "tools-kept", "-o", &kept_file]);
    assert!(recorded.status.success(), "{}", recorded.said);
    let range = ["--from", "-1h", "--offsets", "0:0-10"];
    for source in
        [&[][..], &[&["tools-kept"], &range[..]].concat(), &[&kept_file], &[&[&*kept_file], &range[..]].concat()]
    {
        let said = job.ask("estimate", &[source, &["--format", "json"]].concat());
        assert!(said.status.success(), "{}", said.said);
        let estimated: Value = serde_json::from_str(&said.said).expect("JSON");
        let exact = serde_json::json!({ "value": 1.0, "low": 1.0, "high": 1.0 });
        assert_eq!((&estimated["all"]["traces"], &estimated["all"]["errors"]), (&exact, &exact), "{estimated}");
        let group = &estimated["groups"][0];
        assert_eq!((&group["service"], &group["name"]), (&"orders".into(), &"span 1".into()), "{estimated}");
    }

    // One trace of the recording as a test.
    let tests = format!(
        "policies: [ {{ name: failed, when: any(status.code == STATUS_CODE_ERROR), keep: always }} ]\n\
         tests:\n\
         - {{ name: kept, record: tools.rec, trace_id: {}, expect: {{ keep: failed }} }}\n\
         - {{ name: whole, record: tools.rec, trace_id: {}, expect: {{ keep: failed }} }}\n",
        hex(&kept),
        hex(&dropped),
    );
    fs::write(folder.path().join("policies.yaml"), tests).expect("a file");
    let ran = tailwater(folder.path(), &["test", "policies.yaml"]);
    assert_eq!(text(&ran.stdout), "2 tests, 2 passed\n", "{}", text(&ran.stderr));
    witness("tools");
}
