//! Files nobody would write and bytes nobody would send: nothing panics, hangs, or takes memory out of proportion.
//!
//! Inputs are right ones, changed: cut, doubled, mixed with each other and with words of the language. So they get further than
//! noise does. `make fuzz` goes on until one fails.

#[path = "../benchmarks/support/mod.rs"]
mod support;

use std::{
    env, fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status, TracesData,
        span::{Event, Link},
    },
};
use prost::Message;
use support::{Counting, Feed, Form, counting, feed, policies, records::in_json};
use tailwater::{
    cases,
    decide::{self, Part, PolicySet, condition},
    decisions,
    diagnostic::{Diagnostics, Source},
    engine::Settings,
    import, yaml,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Each target in `make test`; TAILWATER_INPUTS=0 is without end.
const INPUTS: u64 = 5_000;
/// Of an input: what takes more than proportion takes it early.
const BYTES: usize = 32 << 10;
/// A hang is told from a busy machine; an input takes a millisecond or two.
const LONGEST: Duration = Duration::from_secs(20);
/// Bytes allocated at once: some regular expressions of a megabyte, and their caches.
const MOST: isize = 256 << 20;
/// Of OTTL, of YAML and of policies, and what either knows as special.
const WORDS: [&str; 56] = [
    "any(",
    "all(",
    "none(",
    "count(",
    "any_event(",
    "any_link(",
    "child_of(",
    "descendant_of(",
    "siblings(",
    "calls(",
    ")",
    "[",
    "]",
    "(",
    "not ",
    " and ",
    " or ",
    " == ",
    " != ",
    " < ",
    ", ",
    "\"",
    "'",
    "\\",
    "-",
    " + ",
    " / 0",
    "nil",
    "2s",
    "99999999999999999999",
    "0x",
    "IsMatch(name, \"(a{99}){99}\")",
    "(?i)(.*)*",
    "[\"k\"]",
    "[0]",
    "attributes",
    "root.",
    "trace.",
    "span.",
    "resource.",
    "STATUS_CODE_ERROR",
    "name",
    "ü",
    "\0",
    "when: ",
    "root: ",
    "policies: ",
    "match: first\n",
    "\n",
    "\n  ",
    "- ",
    ": ",
    " #",
    "&a ",
    "*a",
    "{ ",
];

#[test]
fn conditions() {
    fuzz(&lines(), |text| {
        let text = String::from_utf8_lossy(text);
        for read in [condition::read(&text).err(), condition::read_span(&text).err()] {
            assert!(read.is_none_or(|errors| {
                !errors.is_empty() && errors.iter().all(|error| text.get(error.at.clone()).is_some())
            }));
        }
    });
}

#[test]
fn policy_files() {
    fuzz(&files("policies"), |text| {
        let mut told = Diagnostics::default();
        if let Some(root) = yaml::parse(source(text), &mut told) {
            let parts = [Part::File(&root)];
            match PolicySet::compile(&parts, &mut told) {
                Some(set) => drop(cases::read(&root, &set, &mut told)),
                None => assert!(!told.is_empty()),
            }
            told.0.extend(decide::lint(&parts).0);
        }
        _ = told.to_string();
        _ = told.json();
    });
}

#[test]
fn imports() {
    let mut seeds = files("tests/collector");
    seeds.extend([REFINERY.into(), LIMITS.into()]);
    fuzz(&seeds, |text| {
        let mut told = Diagnostics::default();
        let Some(root) = yaml::parse(source(text), &mut told) else { return };
        let version = "0.160".parse().expect("a version");
        let drafts = [
            import::collector(&root, None, version, &mut told),
            import::refinery(&root, "__default__", &mut Diagnostics::default()),
        ];
        for draft in drafts.into_iter().flatten() {
            let mut mistakes = Diagnostics::default();
            let read = yaml::parse(source(draft.text().as_bytes()), &mut mistakes);
            assert!(read.is_some(), "what is written is YAML: {mistakes}\n{}", draft.text());
        }
        _ = told.to_string();
    });
}

/// Into the engine, with policies that look at everything there is.
#[test]
fn records() {
    let lines = lines();
    let policy = |(i, line): (usize, &Vec<u8>)| {
        let when = String::from_utf8_lossy(line).replace('\'', "''");
        format!("- {{ name: p{i}, when: '{when}', keep: {{ probability: 50% }} }}\n")
    };
    let written: String = lines.iter().enumerate().map(policy).collect();
    let set = policies::compile(format!("policies:\n{written}"));
    let settings = Settings { buffer: 16 << 20, ..feed::settings(Form::Keyed) };
    let mut engine = None::<Feed>;
    let mut at_ms = 0;
    let mut seeds = messages();
    seeds.extend(messages().iter().map(|message| in_json(message)));
    fuzz(&seeds, |value| {
        let engine = engine.get_or_insert_with(|| Feed::new(settings, set.clone()));
        at_ms += 50;
        engine.ingest(0, at_ms, value);
        assert_eq!(engine.engine.stats().lost(engine.engine.spans_held()), 0);
    });
    if let Some(mut engine) = engine {
        engine.finish();
        assert_eq!(engine.engine.stats().lost(engine.engine.spans_held()), 0);
    }
}

#[test]
fn decision_logs() {
    // As src/decisions.proto has it: of a format, an incarnation and a tick, a name and a decision.
    let decision = [&[0x0a, 16][..], &[7; 16], &[0x10, 1, 0x18, 1, 0x20, 1, 0x28, 5, 0x30, 9, 0x38, 3]].concat();
    let head = [0x08, 1, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x18, 8, 0x22, 1, b'a', 0x2a, decision.len() as u8];
    let record = [&head[..], &decision].concat();
    let names = ["a".to_owned(), "b".to_owned()];
    assert_eq!(decisions::decode(&record, &names).expect("a right one").decisions.len(), 1);
    fuzz(&[record], |value| drop(decisions::decode(value, &names)));
}

const REFINERY: &str = r#"
RulesVersion: 2
Samplers:
  __default__:
    RulesBasedSampler:
      Rules:
        - Name: errors
          SampleRate: 1
          Scope: span
          Conditions:
            - { Field: error, Operator: exists }
            - { Fields: [http.status_code, status], Operator: ">=", Value: 500, Datatype: int }
            - { Field: root.name, Operator: matches, Value: "^GET .*" }
        - { Name: rest, SampleRate: 10 }
        - { Name: learned, Sampler: { EMAThroughputSampler: { GoalThroughputPerSec: 50, FieldList: [root.name, "a'b"], UseTraceLength: true } } }
"#;

const LIMITS: &str = r#"
policies:
  - { name: spans, type: rate_limiting, rate_limiting: { spans_per_second: 35, burst_capacity: 100 } }
  - { name: bytes, type: bytes_limiting, bytes_limiting: { bytes_per_second: 1000000 } }
  - name: both
    type: composite
    composite:
      max_total_spans_per_second: 1000
      policy_order: [rest, half]
      composite_sub_policy:
        - { name: half, type: probabilistic, probabilistic: { sampling_percentage: 50 } }
        - { name: rest, type: always_sample }
      rate_allocation: [{ policy: half, percent: 50 }]
"#;

/// Gives a target one input after the other. A failure says how to have it again, as the first.
fn fuzz(seeds: &[Vec<u8>], mut target: impl FnMut(&[u8])) {
    assert!(!seeds.is_empty());
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let first = number("TAILWATER_SEED").unwrap_or_else(|| fastrand::u64(..));
    let inputs = number("TAILWATER_INPUTS").unwrap_or(INPUTS);
    for i in (0..).take_while(|i| inputs == 0 || *i < inputs) {
        let given = Given(first.wrapping_add(i));
        let input = changed(seeds, &mut Rng::with_seed(given.0));
        let (start, before) = (Instant::now(), counting::counts().live);
        counting::reset_peak();
        target(&input);
        let (took, bytes) = (start.elapsed(), counting::counts().peak - before);
        assert!(took < LONGEST, "{took:?} for {} bytes", input.len());
        assert!(bytes < MOST, "{bytes} bytes at once for {}", input.len());
    }
}

/// The seed of the input at hand.
struct Given(u64);

impl Drop for Given {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("TAILWATER_SEED={} TAILWATER_INPUTS=1 repeats this input", self.0);
        }
    }
}

/// A right input made wrong, or another right one.
fn changed(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = rng.choice(seeds).expect("there are seeds").clone();
    for _ in 0..rng.u8(0..8) {
        let (a, b) = (rng.usize(0..=input.len()), rng.usize(0..=input.len()));
        // Most changes are small: what is left is to be understood.
        let (start, end) = if rng.u8(0..4) > 0 { (a, input.len().min(a + b % 24)) } else { (a.min(b), a.max(b)) };
        match rng.u8(0..7) {
            0 => input.iter_mut().skip(a).take(1).for_each(|byte| *byte = rng.u8(..)),
            1 => drop(input.drain(start..end)),
            2 => {
                let part = input[start..end].repeat(if rng.bool() { 1 } else { rng.usize(1..400) });
                input.splice(end..end, part.into_iter().take(BYTES));
            }
            3 => {
                let other = rng.choice(seeds).expect("there are seeds");
                let from = rng.usize(0..=other.len());
                let part = &other[from..other.len().min(from + rng.usize(0..200))];
                input.splice(start..end, part.iter().copied());
            }
            4 | 5 => {
                let word = rng.choice(WORDS).expect("there are words");
                let word = word.repeat(if rng.u8(0..8) > 0 { 1 } else { rng.usize(1..200) });
                input.splice(a..a, word.into_bytes());
            }
            _ => drop(input.splice(start..end, rng.choice(NUMBERS).expect("there are numbers"))),
        }
        input.truncate(BYTES);
    }
    input
}

/// Varints where lengths and numbers end: the largest, one too long, more than there can be.
const NUMBERS: [[u8; 10]; 3] = [
    [255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
    [255, 255, 255, 255, 255, 255, 255, 255, 255, 127],
    [255, 255, 255, 255, 15, 128, 128, 128, 128, 0],
];

fn source(text: &[u8]) -> Arc<Source> {
    Arc::new(Source { name: "fuzz.yaml".into(), text: String::from_utf8_lossy(text).into_owned() })
}

/// The conditions in the manual.
fn lines() -> Vec<Vec<u8>> {
    let blocks = include_str!("../docs/conditions.md").split("```ottl\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    lines.filter(|line| !line.is_empty()).map(|line| line.as_bytes().to_vec()).collect()
}

/// The YAML of a folder.
fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ext| ext == "yaml")).collect();
    // The same input of the same seed on every machine.
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a file")).collect()
}

/// OTLP with something in every field that is looked at.
fn messages() -> Vec<Vec<u8>> {
    let text = |text: &str| Some(AnyValue { value: Some(Value::StringValue(text.into())) });
    let pair = |key: &str, value| KeyValue { key: key.into(), value, ..KeyValue::default() };
    let list = ArrayValue { values: vec![AnyValue { value: Some(Value::IntValue(-1)) }, AnyValue::default()] };
    let attributes = vec![
        pair("db.system", text("postgresql")),
        pair("tags", Some(AnyValue { value: Some(Value::ArrayValue(list)) })),
        pair("n", Some(AnyValue { value: Some(Value::DoubleValue(0.5)) })),
    ];
    let span = |id: u8, parent: &[u8]| Span {
        trace_id: vec![1; 16],
        span_id: vec![id; 8],
        parent_span_id: parent.to_vec(),
        trace_state: "vendor=debug,ot=rv:0123456789abcd".into(),
        name: "GET /".into(),
        kind: 2,
        start_time_unix_nano: 1_000,
        end_time_unix_nano: 3_000_000_000,
        attributes: attributes.clone(),
        events: vec![Event { name: "exception".into(), attributes: attributes.clone(), ..Event::default() }],
        links: vec![Link { trace_id: vec![2; 16], span_id: vec![2; 8], ..Link::default() }],
        status: Some(Status { message: "no".into(), code: 2 }),
        ..Span::default()
    };
    let scope = InstrumentationScope { name: "io.opentelemetry.kafka".into(), ..InstrumentationScope::default() };
    let message = |spans| TracesData {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![pair("service.name", text("checkout"))],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans { scope: Some(scope.clone()), spans, schema_url: "s".into() }],
            schema_url: "r".into(),
        }],
    };
    let spans = [vec![span(1, &[])], vec![span(2, &[1; 8]), span(3, &[2; 8])]];
    spans.into_iter().map(|spans| message(spans).encode_to_vec()).collect()
}
