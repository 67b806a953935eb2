mod schema;

use std::{fs, path::PathBuf};

use insta::assert_snapshot;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::decide::Part;

const LEAST: &str = "kafka: { brokers: localhost:9092 }
input: { topics: [spans] }
output: [ { kafka: { topic: spans-kept } } ]
policies: [ { name: errors, keep: always } ]
";

fn names(config: &Config) -> Vec<&str> {
    config.policies.policies().iter().map(|policy| policy.name.as_str()).collect()
}

/// A folder with files, the first of which is the configuration.
struct Files {
    folder: TempDir,
    config: PathBuf,
}

// === impl Files ===

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("written");
        }
        let config = folder.path().join(files[0].0);
        Self { folder, config }
    }

    /// The configuration, or the mistakes without the folder's name.
    fn load(&self, variables: &[(&str, &str)], flags: &[Flag]) -> Result<Config, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let folder = format!("{}/", self.folder.path().display());
        Config::load(&self.config, variables, flags.iter().cloned())
            .map_err(|diagnostics| diagnostics.to_string().replace(&folder, ""))
    }
}

fn load(text: &str) -> Result<Config, String> {
    Files::new(&[("tailwater.yaml", text)]).load(&[], &[])
}

fn mistakes(text: &str) -> String {
    load(text).expect_err("a mistake")
}

/// What one more part, or another one, makes of the least configuration.
fn with(part: &str) -> Result<Config, String> {
    let name = part.split_once(':').expect("a part").0;
    let rest: String = LEAST.lines().filter(|line| !line.starts_with(name)).map(|line| format!("{line}\n")).collect();
    load(&format!("{rest}{part}\n"))
}

/// The first lines of the mistakes.
fn messages(part: &str) -> String {
    let text = with(part).expect_err("a mistake");
    let lines = text.lines().filter(|line| line.starts_with("error") || line.contains("hint"));
    lines.map(|line| line.trim_start_matches([' ', '=']).trim_start_matches("error: ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_least_is_enough() {
    let config = load(LEAST).expect("a configuration");
    assert_eq!(config.kafka.brokers, "localhost:9092");
    assert!(config.kafka.properties.is_empty());
    assert_eq!(config.input.topics, [Topic { name: "spans".into(), encoding: Encoding::OtlpProto }]);
    assert_eq!(
        (config.input.group.as_str(), config.input.start, config.input.keyed),
        ("tailwater", Start::Earliest, Keyed::Auto)
    );
    assert_eq!(config.input.dead_letters(), "tailwater-dead-letters");
    assert_eq!(config.input.decisions("spans"), "tailwater-decisions");
    assert_eq!(config.output.name, "spans-kept");
    assert_eq!(config.delivery, Delivery::ExactlyOnce);
    let seconds = Duration::from_secs;
    assert_eq!(
        config.completion,
        Completion { quiet: seconds(5), completeness: Some(0.999), max_wait: seconds(30), max_trace_bytes: 16 << 20 }
    );
    assert_eq!(config.memory, Memory { buffer: 1 << 30, recall: true, recall_partial: Partial::DeadLetter });
    assert_eq!((config.late_window, config.workers), (seconds(600), Workers::Auto));
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.tick, Tick { interval: seconds(1), bytes: 64 << 20 });
    assert_eq!(names(&config), ["errors"]);
}

#[test]
fn the_whole_is_read() {
    let files = Files::new(&[
        (
            "conf/tailwater.yaml",
            r#"
kafka:  { brokers: [a:9092, "b:9093"], properties: { security.protocol: SSL, linger.ms: 5, enable.ssl.certificate.verification: false } }
input:  { topics: [spans, { name: more, encoding: otlp_json }], group: tw, encoding: otlp_proto, start: latest, keyed: no }
output: [ { kafka: { topic: kept, encoding: otlp_proto } } ]
delivery: exactly_once
completion: { quiet: auto, completeness: 99.5%, max_wait: 1m30s, max_trace_bytes: 8MiB }
memory: { buffer: 64MiB, recall: false, recall_partial: forward }
late_window: 1h
workers: 4
policies: [../policies/, { name: baseline, keep: { probability: 1% } }, one.yaml]
http:   { listen: "0.0.0.0:80" }
tick: { interval: 500ms, bytes: 1MiB }
"#,
        ),
        ("policies/b.yml", "policies: [ { name: b, drop: always } ]"),
        ("policies/a.yaml", "policies: [ { name: a, drop: always } ]"),
        ("policies/.hidden.yaml", "{"),
        ("policies/README.md", "{"),
        ("policies/folder/c.yaml", "{"),
        ("conf/one.yaml", "policies: [ { name: one, drop: always } ]"),
    ]);
    let config = files.load(&[], &[]).expect("a configuration");
    assert_eq!(config.kafka.brokers, "a:9092,b:9093");
    let properties: Vec<_> = config.kafka.properties.iter().map(|(name, text)| format!("{name}={text}")).collect();
    assert_eq!(properties, ["enable.ssl.certificate.verification=false", "linger.ms=5", "security.protocol=SSL"]);
    assert_eq!(config.input.topics.len(), 2);
    assert_eq!(config.input.decisions("more"), "tw-decisions-more");
    assert_eq!(config.delivery, Delivery::ExactlyOnce);
    assert_eq!(config.memory, Memory { buffer: 64 << 20, recall: false, recall_partial: Partial::Forward });
    assert_eq!((config.input.start, config.input.keyed), (Start::Latest, Keyed::No));
    assert_eq!((config.completion.quiet, config.completion.completeness), (Duration::from_secs(5), Some(0.995)));
    assert_eq!(config.workers, Workers::Fixed(4));
    assert_eq!(names(&config), ["a", "b", "baseline", "one"]);
}

#[test]
fn what_is_stamped_is_chosen_one_by_one() {
    let stamps = |output: &str, input: &str| {
        let output = format!("output: [ {{ kafka: {{ topic: spans-kept }}{output} }} ]");
        let text = LEAST.replace("output: [ { kafka: { topic: spans-kept } } ]", &output);
        load(&text.replace("topics: [spans]", &format!("topics: [spans]{input}"))).expect("a configuration").stamps
    };
    assert_eq!(stamps("", ""), Stamps::default(), "all");
    assert_eq!(stamps(", weights: false, stamp: []", ""), Stamps::NONE);
    let only = Stamps { assume_unsampled: false, policy: false, completion: false, ..Stamps::default() };
    assert_eq!(stamps(", stamp: [reason]", ", assume_unsampled: false"), only);
    let policy = Stamps { reason: false, completion: false, weights: false, ..Stamps::default() };
    let files = Files::new(&[("tailwater.yaml", LEAST)]);
    let variables = [
        ("TAILWATER__OUTPUT__KAFKA__TOPIC", "kept"),
        ("TAILWATER__OUTPUT__WEIGHTS", "false"),
        ("TAILWATER__OUTPUT__STAMP", "policy"),
    ];
    assert_eq!(files.load(&variables, &[]).expect("a configuration").stamps, policy);

    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sampling.md")).expect("a file");
    let blocks: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    // One is policies: `tests/labelled.rs` reads it.
    let [unsampled, all, _, waits] = blocks[..] else { panic!("{blocks:?}") };
    assert_eq!(with(all).expect("the docs").stamps, Stamps::default());
    assert!(!with(unsampled).expect("the docs").stamps.assume_unsampled);
    assert_eq!(with(waits).expect("the docs").completion, Completion::default());

    assert_snapshot!(messages("output: { kafka: { topic: a }, stamp: [polcy], weights: no }"), @"
    `weights`: unknown `no`
    hint: use true or false
    `stamp`: unknown `polcy`, did you mean `policy`?
    hint: a list of policy, reason and completion; [] for none, and `weights: false` too, leave spans as they came
    ");
    let [one, other] = ["", ", stamp: []"].map(|part| {
        load(&LEAST.replace("topic: spans-kept }", &format!("topic: spans-kept }}{part}"))).expect("a configuration")
    });
    assert_eq!((one.differences(&other), one.differences(&one)), (vec!["output"], vec![]));
}

#[test]
fn variables_override_the_file_and_flags_the_variables() {
    let files =
        Files::new(&[("tailwater.yaml", LEAST), ("policies/a.yaml", "policies: [ { name: a, drop: always } ]")]);
    let policies = files.folder.path().join("policies").display().to_string();
    let variables = [
        ("TAILWATER__INPUT__GROUP", "from-variable"),
        ("TAILWATER__INPUT__TOPICS", "one, two"),
        ("TAILWATER__OUTPUT__KAFKA__TOPIC", "elsewhere"),
        ("TAILWATER__KAFKA__BROKERS", "variable:9092"),
        ("TAILWATER__KAFKA__PROPERTIES__SASL_PASSWORD", "secret"),
        ("TAILWATER__POLICIES", policies.as_str()),
    ];
    let flags = [Flag { name: "--brokers", path: &["kafka", "brokers"], value: "flag:9092".into() }];
    let config = files.load(&variables, &flags).expect("a configuration");
    assert_eq!(config.kafka.brokers, "flag:9092");
    assert_eq!(config.input.group, "from-variable");
    assert_eq!(config.input.topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(config.output.name, "elsewhere");
    assert_eq!(names(&config), ["a"]);
    assert_eq!(config.kafka.properties["sasl.password"], "secret");
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn properties_come_from_variables_and_files() {
    let config = |properties: &str| {
        let kafka = format!("kafka: {{ brokers: a:1, properties: {{ {properties} }} }}");
        LEAST.replace("kafka: { brokers: localhost:9092 }", &kafka)
    };
    let written = "sasl.username: me, sasl.password: { env: PASSWORD }, ssl.key.pem: { file: key.pem }, \
                   ssl.key.password: hunter2, ssl.ca.pem: { file: ../ca }";
    let files = Files::new(&[
        ("conf/tailwater.yaml", &config(written)),
        ("conf/key.pem", "a\nb\r\n"),
        ("ca", "c"),
        ("conf/empty", "\n"),
        ("conf/long", &"x".repeat((1 << 20) + 1)),
    ]);
    let overridden = ("TAILWATER__KAFKA__PROPERTIES__SSL_KEY_PASSWORD__ENV", "OTHER");
    let read = |variables: &[(&str, &str)]| {
        let kafka = files.load(variables, &[]).expect("a configuration").kafka;
        let properties: Vec<String> = kafka.properties.iter().map(|(name, text)| format!("{name}={text:?}")).collect();
        (properties.join(" "), kafka.exposed)
    };
    let (properties, exposed) = read(&[("PASSWORD", "hunter1")]);
    assert_eq!(
        properties,
        r#"sasl.password="hunter1" sasl.username="me" ssl.ca.pem="c" ssl.key.password="hunter2" ssl.key.pem="a\nb""#
    );
    assert_eq!(exposed, ["ssl.key.password"], "in the file for all to read");
    let (properties, exposed) = read(&[("PASSWORD", "hunter1"), overridden, ("OTHER", "hunter3")]);
    assert!(properties.contains(r#"ssl.key.password="hunter3""#), "{properties}");
    assert_eq!(exposed, [""; 0]);

    let wrong = "sasl.password: { env: PASSWORD }, ssl.key.pem: { file: missing.pem }, ssl.ca.pem: { file: empty }, \
                 ssl.key.password: { env: A, file: b }, ssl.certificate.pem: { file: long }, \
                 ssl.keystore.password: { value: hunter2 }";
    fs::write(&files.config, config(wrong)).expect("written");
    let said = files.load(&[("A", "x")], &[]).expect_err("mistakes");
    let lines = said.lines().filter(|line| line.starts_with("error") || line.contains("hint"));
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
    error: the variable `PASSWORD` is not set
    error: conf/missing.pem cannot be read: No such file or directory (os error 2)
    error: conf/empty is empty
    error: the property `ssl.key.password` has two values, or none
      = hint: write the value itself, { env: VARIABLE } or { file: PATH }
    error: conf/long is longer than 1 MiB
    error: unknown field `value`
      = hint: known fields: env, file
    error: the property `ssl.keystore.password` has two values, or none
      = hint: write the value itself, { env: VARIABLE } or { file: PATH }
    ");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn the_security_in_the_readme_works() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("a file");
    let block = readme.split("```text\n").find(|block| block.starts_with("kafka:")).expect("a block of `kafka`");
    let kafka = block.split("```").next().unwrap_or_default();
    let config = LEAST.replace("kafka: { brokers: localhost:9092 }\n", kafka);
    let files = Files::new(&[("tailwater.yaml", &config), ("ca.pem", "a certificate\n")]);
    let kafka = files.load(&[("KAFKA_PASSWORD", "hunter2")], &[]).expect("a configuration").kafka;
    assert_eq!(kafka.properties["sasl.password"], "hunter2");
    assert_eq!(kafka.properties["ssl.ca.pem"], "a certificate");
}

#[test]
fn no_mistake_shows_a_secret() {
    let at_a_secret = [
        "kafka: { brokers: a:1, properties: { sasl.password: hunter2, linger.ms: soon } }",
        "kafka: { brokers: a:1, properties: { sasl.pasword: hunter2 } }",
        "kafka: { brokers: a:1, properties: { sasl.password: [hunter2] } }",
        "kafka: { brokers: a:1, properties: { sasl.password: hunter2, sasl.password: hunter2 } }",
        "kafka: { brokers: a:1, sasl.password: hunter2 }",
        "kafka: { brokers: a:1, properties: sasl.password=hunter2 }",
        "kafka:\n  brokers: a:1\n  properties:\n    sasl.password: a: hunter2",
        "kafka:\n  brokers: a:1\n  properties:\n    sasl.password: \"hunter2",
        "kafka:\n  brokers: a:1\n  properties:\n    ssl.key.pem: |\n      a\n   hunter2\n  : hunter2",
    ];
    for part in at_a_secret {
        let said = with(part).expect_err(part);
        assert!(!said.contains("hunter2"), "{said}");
    }
    let variables = [
        ("TAILWATER__KAFKA__PROPERTIES__SASL_PASWORD", "hunter2"),
        ("TAILWATER__KAFKA__PROPERTIES__SASL_PASSWORD__VALUE", "hunter2"),
        ("TAILWATER__KAFKA__PROPERTIES__SASL_PASSWORD", "hunter2\0"),
        ("TAILWATER__KAFKA__PROPERTIES", "{ sasl.password: hunter2 }"),
    ];
    let files = Files::new(&[("tailwater.yaml", LEAST)]);
    for variable in variables {
        let said = files.load(&[variable], &[]).expect_err(variable.0);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn nothing_says_what_to_write() {
    assert_snapshot!(mistakes(""), @"
    error: missing field `brokers`
     --> tailwater.yaml:1:1
      |
    1 |
      | ^
      |
      = hint: write
              kafka:
                brokers: localhost:9092

    error: missing field `topics`
     --> tailwater.yaml:1:1
      |
    1 |
      | ^
      |
      = hint: write
              input:
                topics: [spans]

    error: missing field `output`
     --> tailwater.yaml:1:1
      |
    1 |
      | ^
      |
      = hint: write
              output:
                - kafka:
                    topic: spans-kept

    error: missing field `policies`
     --> tailwater.yaml:1:1
      |
    1 |
      | ^
      |
      = hint: write
              policies: [policies/]

    4 errors
    ");
}

#[test]
fn several_mistakes_are_shown_at_once() {
    let text = r#"kafka:
  brokers: localhost:9o92
  properties:
    enable.auto.commit: true
input:
  topics: [spans, spans]
  grup: mine
completion:
  quiet: 5
  max_wait: 30 seconds
late_window: 10m
workers: 100
outputs: []
"#;
    assert_snapshot!(mistakes(text), @"
    error: `localhost:9o92` is not a broker
     --> tailwater.yaml:2:12
      |
    2 |   brokers: localhost:9o92
      |            ^^^^^^^^^^^^^^
      |
      = hint: write host:port, several with commas between

    error: `enable.auto.commit` cannot be set: offsets are committed only below what is undecided
     --> tailwater.yaml:4:5
      |
    4 |     enable.auto.commit: true
      |     ^^^^^^^^^^^^^^^^^^

    error: the topic `spans` is there twice
     --> tailwater.yaml:6:19
      |
    6 |   topics: [spans, spans]
      |                   ^^^^^
      |
     ::: tailwater.yaml:6:12
      |
    6 |   topics: [spans, spans]
      |            ----- first here

    error: unknown field `grup`, did you mean `group`?
     --> tailwater.yaml:7:3
      |
    7 |   grup: mine
      |   ^^^^

    error: missing field `output`
     --> tailwater.yaml:1:1
      |
    1 | kafka:
      | ^^^^^^
      |
      = hint: write
              output:
                - kafka:
                    topic: spans-kept

    error: `quiet`: `5` has no unit
     --> tailwater.yaml:9:10
      |
    9 |   quiet: 5
      |          ^
      |
      = hint: did you mean 5s?

    error: `max_wait`: `30 seconds` is not a duration
      --> tailwater.yaml:10:13
       |
    10 |   max_wait: 30 seconds
       |             ^^^^^^^^^^
       |
       = hint: write 500ms, 2s, 1m30s, 10m or 1h

    error: `workers` must be auto, or from 1 to 64
      --> tailwater.yaml:12:10
       |
    12 | workers: 100
       |          ^^^
       |
       = hint: what 64 workers cannot do is done by a second process in the same group

    error: missing field `policies`
     --> tailwater.yaml:1:1
      |
    1 | kafka:
      | ^^^^^^
      |
      = hint: write
              policies: [policies/]

    error: unknown field `outputs`, did you mean `output`?
      --> tailwater.yaml:13:1
       |
    13 | outputs: []
       | ^^^^^^^

    10 errors
    ");
}

#[test]
fn a_mistake_in_a_variable_or_flag_is_shown_there() {
    let files = Files::new(&[("tailwater.yaml", LEAST)]);
    let variables = [
        ("TAILWATER__COMPLETION__QUIET", "5"),
        ("TAILWATER__INPUT__GRUP", "secret"),
        ("TAILWATER__INPUT__TOPICS", "spans,a b"),
    ];
    let flags = [Flag { name: "--memory", path: &["memory", "buffer"], value: "1GB of it".into() }];
    assert_snapshot!(files.load(&variables, &flags).expect_err("mistakes"), @"
    error: `a b` cannot be the name of a topic
     --> TAILWATER__INPUT__TOPICS:1:7
      |
    1 | spans,a b
      |       ^^^
      |
      = hint: letters, digits, `.`, `_` and `-`, at most 249

    error: unknown field `grup`, did you mean `group`?
     --> environment variable:1:19
      |
    1 | TAILWATER__INPUT__GRUP
      |                   ^^^^

    error: `buffer`: `1GB of it` is not a size
     --> --memory:1:1
      |
    1 | 1GB of it
      | ^^^^^^^^^
      |
      = hint: write 4096, 5MB, 64MiB or 1GiB

    error: `quiet`: `5` has no unit
     --> TAILWATER__COMPLETION__QUIET:1:1
      |
    1 | 5
      | ^
      |
      = hint: did you mean 5s?

    4 errors
    ");
}

#[test]
fn mistakes_of_yaml_are_shown() {
    assert_snapshot!(mistakes("kafka:\n  brokers: a\ninput: {}\nkafka:\n  brokers: b\n"), @"
    error: `kafka` is there twice
     --> tailwater.yaml:4:1
      |
    4 | kafka:
      | ^^^^^
      |
     ::: tailwater.yaml:1:1
      |
    1 | kafka:
      | ----- first here

    1 error
    ");
    assert_snapshot!(mistakes("kafka:\n  brokers: [a\ninput: {}\n"), @"
    error: not YAML: illegal placement of ':' indicator
     --> tailwater.yaml:3:6
      |
    3 | input: {}
      |      ^
      |
      = hint: text with `: `, ` #` or a leading quote, bracket, `*`, `&` or `!` must be quoted, or stand on its own line below `>-`

    1 error
    ");
    assert_snapshot!(mistakes("- kafka\n"), @"
    error: the configuration must be a mapping, not a list
     --> tailwater.yaml:1:1
      |
    1 | - kafka
      | ^^^^^^^

    1 error
    ");
}

#[test]
fn policies_that_cannot_be_read_are_shown() {
    let config = LEAST.replace("{ name: errors, keep: always }", "missing.yaml, empty/, broken.yaml, latin.yaml");
    let files = Files::new(&[("tailwater.yaml", config.as_str()), ("broken.yaml", "a: [\n"), ("empty/notes.txt", "")]);
    fs::write(files.folder.path().join("latin.yaml"), b"a: \xe9\n").expect("written");
    assert_snapshot!(files.load(&[], &[]).expect_err("mistakes"), @"
    error: cannot read missing.yaml: No such file or directory (os error 2)
     --> tailwater.yaml:4:13
      |
    4 | policies: [ missing.yaml, empty/, broken.yaml, latin.yaml ]
      |             ^^^^^^^^^^^^

    error: empty/ holds no policy file
     --> tailwater.yaml:4:27
      |
    4 | policies: [ missing.yaml, empty/, broken.yaml, latin.yaml ]
      |                           ^^^^^^
      |
      = hint: policy files are its *.yaml and *.yml; folders in it are not looked into

    error: not YAML: while parsing a node, did not find expected node content
     --> broken.yaml:2:1
      |
    2 |
      | ^
      |
      = hint: text with `: `, ` #` or a leading quote, bracket, `*`, `&` or `!` must be quoted, or stand on its own line below `>-`

    error: latin.yaml is not UTF-8, from byte 3 on
     --> tailwater.yaml:4:48
      |
    4 | policies: [ missing.yaml, empty/, broken.yaml, latin.yaml ]
      |                                                ^^^^^^^^^^

    4 errors
    ");
    let missing = Files::new(&[("tailwater.yaml", "")]);
    fs::remove_file(&missing.config).expect("removed");
    assert_snapshot!(missing.load(&[], &[]).expect_err("mistakes"), @"
    error: cannot read tailwater.yaml: No such file or directory (os error 2)

    1 error
    ");
}

/// The policies of a configuration or of a policy file.
fn compile(name: &str, text: &str, folder: &Path) -> Result<Arc<PolicySet>, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let source = Arc::new(Source { name: name.into(), text: text.into() });
    let policies = if text.starts_with("kafka:") {
        Config::read(&source, folder, [], [], &mut diagnostics).map(|config| config.policies)
    } else {
        let node = yaml::parse(source, &mut diagnostics);
        node.and_then(|node| PolicySet::compile(&[Part::File(&node)], &mut diagnostics)).map(Arc::new)
    };
    policies.filter(|_| diagnostics.is_empty()).ok_or(diagnostics)
}

/// The configurations and policy files that people are shown, each with where.
fn shown() -> Vec<(String, String)> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut shown = Vec::new();
    for folder in ["policies", "benchmarks"] {
        for entry in fs::read_dir(repository.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                shown.push((path.display().to_string(), read(&path)));
            }
        }
    }
    for name in ["README.md", "docs/policies.md"] {
        let text = read(&repository.join(name));
        let blocks = text.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap_or_default());
        shown.extend(blocks.map(|block| (name.to_owned(), block.to_owned())));
    }
    assert!(shown.len() >= 12, "less is shown than there was: {}", shown.len());
    shown
}

#[test]
fn what_the_repository_shows_works() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut shown = shown();
    shown.push(("the folder".to_owned(), LEAST.replace("[ { name: errors, keep: always } ]", "[policies/]")));
    for (name, text) in &shown {
        // That file is shown as well, and is not there.
        let text = &text.replace("[ policies.yaml ]", "[ policies/ ]");
        let policies = compile(name, text, repository).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert!(!policies.policies().is_empty() || text.starts_with("tests:"), "{name} has no policies:\n{text}");
    }
}

#[test]
fn too_many_policies_are_refused() {
    let files = Files::new(&[("tailwater.yaml", &LEAST.replace("{ name: errors, keep: always }", "p"))]);
    fs::create_dir(files.folder.path().join("p")).expect("a folder");
    for n in 0..=1000 {
        fs::write(files.folder.path().join(format!("p/{n}.yaml")), "").expect("written");
    }
    assert!(files.load(&[], &[]).expect_err("mistakes").contains("more than 1000 policy files"));
    fs::write(files.folder.path().join("p/0.yaml"), "x".repeat(yaml::MAX_SOURCE + 1)).expect("written");
    fs::remove_file(files.folder.path().join("p/1.yaml")).expect("removed");
    assert!(files.load(&[], &[]).expect_err("mistakes").contains("more than 1 MiB"));
}

#[test]
fn values_are_checked() {
    let found = [
        "kafka: { brokers: '' }",
        "kafka: { brokers: [] }",
        "kafka: { brokers: a:1, properties: [x] }",
        "kafka: { brokers: a:1, properties: { linger.ms: [1], acks: 1 } }",
        "kafka: { brokers: a:1, properties: { securty.protocol: SSL, linger.ms: soon } }",
        "input: { topics: [] }",
        "input: { topics: }",
        "input: { topics: [^spans.*] }",
        "input: { topics: [{ name: spans, encoding: zipkin_json }], encoding: otlp_protobuf }",
        "input: { topics: spans, group: my group, start: last, keyed: rekeyed }",
        "input: { topics: spans, rekey_partitions: 4 }",
        "input: { topics: spans, keyed: rekey, rekey_partitions: 0 }",
        "input: { topics: tailwater-by-trace, keyed: rekey }",
        "input: { topics: tailwater-dead-letters }",
        "input: { topics: tailwater-decisions }",
        "input: { topics: [spans, tailwater-decisions-spans] }",
        "output: []",
        "output: [ { kafka: { topic: a } }, { kafka: { topic: b } } ]",
        "output: [ { kafka: { topic: kept, encoding: otlp_json } } ]",
        "output: [ { kafka: { topic: spans } } ]",
        "output: [ { kafka: { topic: tailwater-decisions } } ]",
        "output: [ { otlp: { endpoint: a } } ]",
        "delivery: twice",
        "completion: { quiet: 30s }",
        "completion: { quiet: 5s, completeness: 99% }",
        "completion: { completeness: 20% }",
        "completion: { quiet: 0s, max_wait: 25h, max_trace_bytes: 2GiB }",
        "memory: { buffer: 1MiB }",
        "memory: 1GiB",
        "memory: { recall: maybe, recall_partial: drop }",
        "late_window: 2",
        "workers: 0",
        "policies: []",
        "policies: { name: a }",
        "policies:",
        "http: { listen: localhost:8080 }",
        "http: { listen: ':9090' }",
        "tick: { interval: 10ms, bytes: 1KiB }",
    ]
    .map(|part| format!("{part}\n{}\n", messages(part)));
    assert_snapshot!(found.join("\n"), @"
    kafka: { brokers: '' }
    `brokers`: an empty name

    kafka: { brokers: [] }
    `brokers` must not be empty

    kafka: { brokers: a:1, properties: [x] }
    `properties` must be a mapping, not a list
    hint: write

    kafka: { brokers: a:1, properties: { linger.ms: [1], acks: 1 } }
    the property `linger.ms` must be text, not a list
    `acks` cannot be set: an offset is committed only when the output is on every replica in sync

    kafka: { brokers: a:1, properties: { securty.protocol: SSL, linger.ms: soon } }
    librdkafka has no property `securty.protocol`
    hint: librdkafka's CONFIGURATION.md lists all properties and their values
    librdkafka does not take this for `linger.ms`
    hint: librdkafka's CONFIGURATION.md lists all properties and their values

    input: { topics: [] }
    no topics
    hint: write

    input: { topics: }
    `topics` has no value

    input: { topics: [^spans.*] }
    `^spans.*` cannot be the name of a topic
    hint: letters, digits, `.`, `_` and `-`, at most 249

    input: { topics: [{ name: spans, encoding: zipkin_json }], encoding: otlp_protobuf }
    `encoding`: unknown `otlp_protobuf`, did you mean `otlp_proto`?
    hint: use otlp_proto or otlp_json
    `encoding`: `zipkin_json` is not available yet
    hint: use otlp_proto or otlp_json

    input: { topics: spans, group: my group, start: last, keyed: rekeyed }
    `group` cannot be `my group`
    hint: it begins the names of topics: letters, digits, `.`, `_` and `-`, at most 236
    `start`: unknown `last`, did you mean `latest`?
    hint: use earliest or latest
    `keyed`: unknown `rekeyed`, did you mean `rekey`?
    hint: use auto, yes, no or rekey

    input: { topics: spans, rekey_partitions: 4 }
    `rekey_partitions` is for `keyed: rekey` only

    input: { topics: spans, keyed: rekey, rekey_partitions: 0 }
    `rekey_partitions` must be from 1 to 10000

    input: { topics: tailwater-by-trace, keyed: rekey }
    `tailwater-by-trace` is where this group brings the spans of a trace together
    hint: read it in another group, with `keyed: yes`

    input: { topics: tailwater-dead-letters }
    `tailwater-dead-letters` is where this group writes undecodable records
    hint: read it in another group

    input: { topics: tailwater-decisions }
    `tailwater-decisions` is where this group writes its decisions
    hint: read it with another program

    input: { topics: [spans, tailwater-decisions-spans] }
    `tailwater-decisions-spans` is where this group writes its decisions
    hint: read it with another program

    output: []
    no output
    hint: write

    output: [ { kafka: { topic: a } }, { kafka: { topic: b } } ]
    more than one output is not available yet
    hint: other outputs can consume the topic of the first

    output: [ { kafka: { topic: kept, encoding: otlp_json } } ]
    `encoding`: `otlp_json` is not available yet
    hint: use otlp_proto

    output: [ { kafka: { topic: spans } } ]
    `spans` is also a topic of the input
    hint: kept traces would be read again, without end

    output: [ { kafka: { topic: tailwater-decisions } } ]
    `tailwater-decisions` is where this group writes its decisions

    output: [ { otlp: { endpoint: a } } ]
    missing field `kafka`
    hint: write
    unknown field `otlp`
    hint: known fields: kafka, weights, stamp

    delivery: twice
    `delivery`: unknown `twice`
    hint: use exactly_once or at_least_once

    completion: { quiet: 30s }
    `max_wait` (30s) must be longer than `quiet` (30s)

    completion: { quiet: 5s, completeness: 99% }
    `completeness` goes with a `quiet` that is learned
    hint: write `quiet: auto`

    completion: { completeness: 20% }
    `completeness` must be from 50% to 99.999%

    completion: { quiet: 0s, max_wait: 25h, max_trace_bytes: 2GiB }
    `quiet` must be from 1ms to 24h
    `max_wait` must be from 1ms to 24h
    `max_trace_bytes` must be at most `memory.buffer`

    memory: { buffer: 1MiB }
    `buffer` must be at least 16MiB a worker

    memory: 1GiB
    `memory` must be a mapping, not text

    memory: { recall: maybe, recall_partial: drop }
    `recall`: unknown `maybe`
    hint: use true or false
    `recall_partial`: unknown `drop`
    hint: use dead_letter or forward

    late_window: 2
    `late_window`: `2` has no unit
    hint: did you mean 2s?

    workers: 0
    `workers` must be auto, or from 1 to 64
    hint: what 64 workers cannot do is done by a second process in the same group

    policies: []
    no policies
    hint: write

    policies: { name: a }
    `policies` must be a list, not a mapping
    hint: a list stands in brackets, or has a `-` before each entry

    policies:
    `policies` has no value

    http: { listen: localhost:8080 }
    `localhost:8080` is not an address with a port
    hint: write 127.0.0.1:8080 for this machine only, 0.0.0.0:8080 for every interface

    http: { listen: ':9090' }
    `:9090` is not an address with a port
    hint: write 127.0.0.1:9090 for this machine only, 0.0.0.0:9090 for every interface

    tick: { interval: 10ms, bytes: 1KiB }
    `interval` must be from 100ms to 30s
    `bytes` must be from 1MiB to 1GiB
    ");
}

/// Kafka allows 249 letters, and what is too long is found out before a broker is asked.
#[test]
fn decisions_have_topics_with_names_that_are_allowed() {
    let lengths = [249 - "-decisions-".len() - 200, 250 - "-decisions-".len() - 200];
    let [fits, too_long] = lengths.map(|group| {
        let topics = format!("[{}, b]", "a".repeat(200));
        with(&format!("input: {{ topics: {topics}, group: {} }}", "g".repeat(group)))
    });
    let topic = "a".repeat(200);
    assert_eq!(fits.expect("a configuration").input.decisions(&topic).len(), 249);
    let error = too_long.expect_err("a name of 250 letters");
    assert!(error.contains("is no name of a topic") && error.contains("choose a shorter `group`"), "{error}");
    with(&format!("input: {{ topics: {topic}, group: {} }}", "g".repeat(236))).expect("one topic has its own name");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn reading_never_panics_and_always_says_why(
        text in r"((kafka|input|output|policies|completion|memory|tick|http|workers|late_window|delivery|brokers|topics|quiet|kafka.properties): |\n|\n  |- |\[|\]|\{|\}|, |[a-z0-9]{1,3}|5s|1MiB|auto){0,40}",
        name in "TAILWATER__(KAFKA|INPUT|OUTPUT|POLICIES|WORKERS)(__[A-Z_]{0,9}){0,3}",
        value in "[a-z0-9,:/ü ]{0,10}",
    ) {
        let source = Arc::new(Source { name: "tailwater.yaml".into(), text });
        let mut diagnostics = Diagnostics::default();
        let config = Config::read(&source, Path::new("nowhere"), [(name, value)], [], &mut diagnostics);
        prop_assert!(config.is_some() || !diagnostics.is_empty());
        let _ = diagnostics.to_string();
    }
}
