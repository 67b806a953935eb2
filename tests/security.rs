//! Brokers that ask who is there, and what users may do.

use std::time::Duration;

use tailwater::generate::Shape;

use crate::support::{
    acl::{Operation, Operation::*, Resource, Resource::*},
    kafka::{PASSWORD, kafka},
    oracle::{Copies, Expected},
    processor::{Ended, Job},
    seed::seed,
    spans::{failed, keyed, span, trace},
    traffic::Shop,
    witness,
};

const PATIENCE: Duration = Duration::from_secs(60);

const SCRAM: &str = "security.protocol: SASL_SSL, sasl.mechanism: SCRAM-SHA-512, sasl.username: scram, \
                     sasl.password: { env: KAFKA_PASSWORD }, ssl.ca.pem: { env: KAFKA_CA }";
const PLAIN: &str = "security.protocol: SASL_SSL, sasl.mechanism: PLAIN, sasl.username: { env: KAFKA_USER }, \
                     sasl.password: { env: KAFKA_PASSWORD }, ssl.ca.pem: { env: KAFKA_CA }";
const MUTUAL: &str = "security.protocol: SSL, ssl.ca.pem: { env: KAFKA_CA }";
/// Where our certificate and its key are. The path is not known before the run.
const CERTIFICATE: &str = "TAILWATER__KAFKA__PROPERTIES__SSL_CERTIFICATE_LOCATION";
const KEY: &str = "TAILWATER__KAFKA__PROPERTIES__SSL_KEY_PEM__FILE";

/// A job on a listener with a security of its own.
fn job(name: &str, brokers: &str, properties: &'static str) -> Job {
    let variables = vec![
        ("KAFKA_CA", kafka().certificates.text("ca.pem")),
        ("KAFKA_USER", name.to_owned()),
        ("KAFKA_PASSWORD", PASSWORD.to_owned()),
    ];
    Job { brokers: brokers.to_owned(), properties: properties.to_owned(), variables, ..Job::named(name) }
}

fn certified(mut job: Job, name: &str) -> Job {
    let certificates = &kafka().certificates;
    job.variables.push((CERTIFICATE, certificates.path(&format!("{name}.pem"))));
    job.variables.push((KEY, certificates.path(&format!("{name}.key"))));
    job
}

/// All that README.md asks for, for the jobs of this file: topics, group and transactions begin with their name.
fn rights(name: &str) -> Vec<(Operation, Resource<'_>)> {
    let [input, output, beside, samplers, transactions] =
        ["-spans", "-kept", "-d", "-samplers", "/"].map(|end| &*format!("{name}{end}").leak());
    let internal = |topics| [Create, Read, Write, DescribeConfigs].map(|right| (right, Topics(topics)));
    let mut rights = vec![
        (Read, Topic(input)),
        (DescribeConfigs, Topic(input)),
        (Write, Topic(output)),
        (DescribeConfigs, Topic(output)),
        (Read, Group(name)),
        (Write, TransactionalIds(transactions)),
    ];
    rights.extend([beside, samplers].into_iter().flat_map(internal));
    rights
}

fn runs_end_to_end(job: &Job, user: &str) {
    let input = kafka().topic(&job.inputs[0], 2);
    let output = kafka().topic(&job.output, 2);
    kafka().allow(user, &rights(&job.group));
    let shop = Shop { seed: seed(), traces: 2_000, shape: Shape::default() };
    input.produce(shop.keyed(2));
    let ended = job.run_until_end();
    let expected = Expected::of(&[&input]);
    let kept = output.records();
    expected.check(&kept, Copies::One);
    // The second run remembers what was decided, so it reads it back.
    input.produce([keyed(0, 0, vec![failed(span(trace(1), 1, 0, 0))])]);
    let again = job.run_until_end();
    Expected::of(&[&input]).check(&output.records(), Copies::One);
    for said in [ended.said, again.said] {
        assert!(!said.contains(PASSWORD) && !said.contains("PRIVATE KEY"), "a secret in\n{said}");
        assert!(!said.contains("uthoriz"), "the rights are not enough:\n{said}");
    }
}

#[test]
fn scram_over_tls_end_to_end() {
    runs_end_to_end(&job("scram", &kafka().sasl, SCRAM), "scram");
    witness("security-scram");
}

#[test]
fn plain_over_tls_end_to_end() {
    runs_end_to_end(&job("plain", &kafka().sasl, PLAIN), "plain");
    witness("security-plain");
}

#[test]
fn certificates_on_both_sides_end_to_end() {
    runs_end_to_end(&certified(job("mutual", &kafka().mutual, MUTUAL), "client"), "client");
    witness("security-mutual");
}

/// Ends with exit code 1 and one line that has all the words, and says no secret.
fn ends_with(job: &Job, words: &[&str]) {
    let Ended { status, said, .. } = job.start(&[]).ends_within(PATIENCE);
    assert_eq!(status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    let lines = said.lines().filter(|line| line.starts_with("error: ")).count();
    println!("{}: {last}", job.group);
    assert!(last.starts_with("error: ") && lines == 1, "one line of an error in:\n{said}");
    for word in words {
        assert!(last.contains(word), "{word} in:\n{said}");
    }
    assert!(!said.contains(PASSWORD) && !said.contains("no-password"), "a secret in\n{said}");
}

#[test]
fn a_wrong_password_is_named() {
    for (name, properties) in [("scram", SCRAM), ("plain", PLAIN)] {
        let mut job = job(name, &kafka().sasl, properties);
        job.variables.push(("KAFKA_PASSWORD", "no-password".to_owned()));
        ends_with(&job, &["Authentication failed", "`sasl.password`", &kafka().sasl]);
    }
    witness("security-password");
}

#[test]
fn a_wrong_certificate_is_named() {
    let mut untrusted = certified(job("certificate", &kafka().mutual, MUTUAL), "client");
    untrusted.variables.push(("KAFKA_CA", kafka().certificates.text("stranger.pem")));
    ends_with(&untrusted, &["certificate verify failed", "`ssl.ca.location`", &kafka().mutual]);
    let missing = job("certificate", &kafka().mutual, MUTUAL);
    ends_with(&missing, &["alert", "`ssl.certificate.location`", "`ssl.key.location`", &kafka().mutual]);
    let unknown = certified(missing, "stranger");
    ends_with(&unknown, &["alert", "`ssl.certificate.location`", &kafka().mutual]);
    witness("security-certificate");
}

/// Tells which rights a user lacks.
type IsMissing = fn(&(Operation, Resource<'_>)) -> bool;

#[test]
fn a_missing_right_is_named() {
    let cases: [(&str, IsMissing, &[&str]); 6] = [
        ("no-read", |right| matches!(right, (Read, Topic(_))), &["read `no-read-spans`", "grant Read"]),
        ("no-write", |right| matches!(right, (Write, Topic(_))), &["write to", "`no-write-kept`", "grant Write"]),
        ("no-group", |right| matches!(right, (Read, Group(_))), &["group `no-group`", "grant Read"]),
        (
            "no-transactions",
            |right| matches!(right, (_, TransactionalIds(_))),
            &["transactions", "grant Write", "`no-transactions/`", "at_least_once"],
        ),
        (
            "no-create",
            |right| matches!(right, (Create, _)),
            &["`no-create-dead-letters`", "Create", "create it with 1"],
        ),
        ("no-decisions", |right| matches!(right, (Write, Topics(_))), &["`no-decisions-decisions`", "grant Write"]),
    ];
    for (user, missing, words) in cases {
        let input = kafka().topic(&format!("{user}-spans"), 1);
        let output = kafka().topic(&format!("{user}-kept"), 1);
        input.produce([keyed(0, 0, vec![failed(span(trace(1), 1, 0, 0))])]);
        // Without these two, a topic is not seen at all.
        let mut rights: Vec<_> = rights(user).into_iter().filter(|right| !missing(right)).collect();
        let [input, output] = [&input.name, &output.name];
        rights.extend([(Describe, Topic(input)), (Describe, Topic(output))]);
        kafka().allow(user, &rights);
        ends_with(&job(user, &kafka().sasl, PLAIN), words);
    }
    let mut unseen = job("plain", &kafka().sasl, PLAIN);
    unseen.inputs = vec!["no-read-spans".to_owned()];
    unseen.output = "no-read-kept".to_owned();
    ends_with(&unseen, &["write to `no-read-kept`", "grant Write"]);
    witness("security-rights");
}

/// The same records go out in the same order, over a kill too, and a warning says what is missing.
#[test]
fn at_least_once_does_without_the_right_to_transactions() {
    let mut job = job("unfenced", &kafka().sasl, PLAIN);
    job.more = "delivery: at_least_once\ntick: { interval: 100ms }\n".to_owned();
    let input = kafka().topic(&job.inputs[0], 2);
    let output = kafka().topic(&job.output, 2);
    let rights: Vec<_> =
        rights("unfenced").into_iter().filter(|right| !matches!(right, (_, TransactionalIds(_)))).collect();
    kafka().allow("unfenced", &rights);
    let shop = Shop { seed: seed(), traces: 2_000, shape: Shape::default() };
    input.produce(shop.keyed(2));
    let mut first = job.run();
    first.wait_until("it to deliver", |metrics| metrics.forwarded() > 0);
    first.kill();
    let ended = job.run_until_end();
    Expected::of(&[&input]).check(&output.records(), Copies::OneOrMore);
    assert!(ended.said.contains("no transactions are to be had"), "{}", ended.said);
    witness("security-unfenced");
}

#[test]
fn a_dry_run_needs_to_read_only() {
    let input = kafka().topic("dry-spans", 1);
    input.produce([keyed(0, 0, vec![failed(span(trace(1), 1, 0, 0))])]);
    let job = Job { keyed: "yes", ..job("dry", &kafka().sasl, PLAIN) };
    for (right, lacks) in [
        ((Describe, Topic("dry-spans")), "be in the group `dry-dry-run`: grant Read"),
        ((Read, Group("dry-dry-run")), "read `dry-spans`: grant Read"),
    ] {
        kafka().allow("dry", &[right]);
        let ran = job.ask("run", &["--dry-run", "--until-end"]);
        assert!(!ran.status.success() && ran.said.contains(lacks), "{lacks} in:\n{}", ran.said);
    }
    kafka().allow("dry", &[(Read, Topic("dry-spans"))]);
    let ran = job.ask("run", &["--dry-run", "--until-end"]);
    assert!(ran.status.success() && ran.metrics().forwarded() == 1, "{}", ran.said);
    witness("security-dry-run");
}
