//! What a person at a terminal sees.

use std::{fs, net::TcpListener, path::Path};

use crate::support::command::{tailwater, text};

#[test]
fn help_says_what_there_is() {
    let here = Path::new(".");
    let help = tailwater(here, &["--help"]);
    assert!(help.status.success());
    for word in ["run", "check", "test", "record", "backtest", "estimate", "explain", "demo", "Kafka"] {
        assert!(text(&help.stdout).contains(word), "{word} in:\n{}", text(&help.stdout));
    }
    for command in ["run", "check", "import", "test", "record", "backtest", "estimate", "explain", "demo"] {
        let help = text(&tailwater(here, &[command, "--help"]).stdout);
        assert!(help.contains("Exit codes: 0 "), "{help}");
    }
    let run = tailwater(here, &["run", "--help"]);
    assert!(run.status.success());
    for word in ["--config", "--until-end", "--accept-expired", "--dry-run", "TAILWATER__"] {
        assert!(text(&run.stdout).contains(word), "{word} in:\n{}", text(&run.stdout));
    }
    let check = tailwater(here, &["check", "--help"]);
    for word in ["--config", "--preflight", "Exit codes", "warning"] {
        assert!(text(&check.stdout).contains(word), "{word} in:\n{}", text(&check.stdout));
    }
    let demo = tailwater(here, &["demo", "--help"]);
    for word in ["--for", "--kafka", "--break"] {
        assert!(text(&demo.stdout).contains(word), "{word} in:\n{}", text(&demo.stdout));
    }
}

#[test]
fn every_mistake_is_shown_at_once_and_before_kafka_is_touched() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    // Whoever connects is not accepted, but would be seen.
    let broker = TcpListener::bind("127.0.0.1:0").expect("a port");
    broker.set_nonblocking(true).expect("a socket can be nonblocking");
    let config = format!(
        "kafka: {{ brokers: \"{}\" }}\n\
         input: {{ topics: [spans], grup: tailwater }}\n\
         output: [{{ kafka: {{ topic: spans-kept }} }}]\n\
         completion: {{ max_wait: 30 }}\n\
         policies: [policies.yaml]\n",
        broker.local_addr().expect("bound")
    );
    let policies = "policies:\n  \
        - name: errors\n    \
          when: any(statuss.code == STATUS_CODE_ERROR)\n    \
          keep: always\n  \
        - name: baseline\n    \
          keep: { probability: 2 }\n";
    fs::write(folder.path().join("tailwater.yaml"), config).expect("a file");
    fs::write(folder.path().join("policies.yaml"), policies).expect("a file");
    let run = tailwater(folder.path(), &["run", "-c", "tailwater.yaml"]);
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{said}");
    for words in [
        "tailwater.yaml:2:27",
        "grup",
        "did you mean `group`?",
        "tailwater.yaml:4:25",
        "policies.yaml:3:15",
        "unknown path `statuss.code`",
        "did you mean `status.code`?",
        "policies.yaml:6:26",
    ] {
        assert!(said.contains(words), "{words} in:\n{said}");
    }
    assert!(broker.accept().is_err(), "it connected to the broker");
}

#[test]
fn a_dry_run_does_not_re_key_and_says_what_to_do() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let config = "kafka: { brokers: \"localhost:1\" }\n\
                  input: { topics: [spans], keyed: rekey }\n\
                  output: [{ kafka: { topic: spans-kept } }]\n\
                  policies: [ { name: all, keep: always } ]\n";
    fs::write(folder.path().join("tailwater.yaml"), config).expect("a file");
    let run = tailwater(folder.path(), &["run", "--dry-run", "-c", "tailwater.yaml"]);
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{said}");
    for words in ["a dry run writes nothing", "`keyed: no`", "`tailwater backtest`"] {
        assert!(said.contains(words), "{words} in:\n{said}");
    }
}

#[test]
fn the_readme_shows_what_is_printed() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let config = "kafka: { brokers: \"localhost:9092\" }\n\
                  input: { topics: [spans] }\n\
                  output: [{ kafka: { topic: spans-kept } }]\n\
                  policies: [shop.yaml]\n";
    let policies = "policies:\n  \
        - name: errors\n    \
          when: any(statuss.code == STATUS_CODE_ERROR)\n    \
          keep: always\n  \
        - name: slow-checkout\n    \
          when: service == \"checkout\" and trace.duration > 2\n    \
          keep: always\n";
    fs::write(folder.path().join("tailwater.yaml"), config).expect("a file");
    fs::write(folder.path().join("shop.yaml"), policies).expect("a file");
    let said = text(&tailwater(folder.path(), &["run", "-c", "tailwater.yaml"]).stderr);
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("a file");
    assert!(readme.contains(&format!("```text\n{said}```\n")), "not in README.md:\n{said}");
}

#[test]
fn warnings_fail_a_check_only_where_they_are_to() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let policies = "policies: [ { name: p, when: 'any(name != \"a\")', keep: always } ]\n";
    fs::write(folder.path().join("shop.yaml"), policies).expect("a file");
    for (arguments, code, stream) in [
        (&["check", "shop.yaml"][..], 0, "stderr"),
        (&["check", "shop.yaml", "--deny-warnings"], 1, "stderr"),
        (&["check", "shop.yaml", "--format", "json", "--deny-warnings"], 1, "stdout"),
    ] {
        let check = tailwater(folder.path(), arguments);
        let said = text(if stream == "stdout" { &check.stdout } else { &check.stderr });
        assert_eq!(check.status.code(), Some(code), "{said}");
        assert!(said.contains("one span that lacks it is enough") && said.contains("warning"), "{said}");
    }
}

#[test]
fn the_worked_policies_give_no_cause_for_warnings() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(here.join("policies")).expect("a folder").map(|entry| entry.expect("a file").path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    assert!(files.len() > 5);
    for file in files {
        let check = tailwater(here, &["check", "--deny-warnings", file.to_str().expect("a name")]);
        assert!(check.status.success(), "{}", text(&check.stderr));
    }
}

#[test]
fn what_is_to_be_read_is_asked_for() {
    for command in [&["backtest", "shop.yaml"][..], &["explain", "4bf92f3577b34da6a3ce929d0e0e4736"]] {
        let asked = tailwater(Path::new("."), command);
        let said = text(&asked.stderr);
        assert_eq!(asked.status.code(), Some(2), "{said}");
        assert!(said.contains("--config <FILE>|--recording <FILE>"), "{said}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let run = tailwater(Path::new("."), &["run", "-c", "nowhere.yaml"]);
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains("nowhere.yaml"), "{said}");
}
