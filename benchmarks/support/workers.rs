//! Partitions of several workers, each of which is an engine: what samplers learn is told two ticks late, and a worker that is killed falls
//! back to what its ticks have written.

use std::{collections::BTreeMap, sync::Arc};

use fastrand::Rng;
use prost::Message;
use tailwater::{
    assemble::{Completion, Start},
    decide::PolicySet,
    decisions::Decision,
    engine::{Engine, Full, Record, Remembered, Settings},
    generate::otlp,
    model::{RecordTime, Threshold},
    sample::{Learned, Name},
    tick::{Logged, Tick, Watermark},
};

use super::{
    cluster::Second,
    support::{Form, feed, partitions::Told, policies::compile},
    traces::Trace,
};

pub struct Workers {
    rng: Rng,
    policies: Arc<PolicySet>,
    /// Seconds.
    period: i64,
    engines: Vec<Option<Engine>>,
    /// When a worker that is down is back.
    back: Vec<i64>,
    partitions: Vec<Partition>,
    told: Told,
    /// All that came, by number.
    traces: Vec<Trace>,
    /// By period and key: traces, and how many of them were kept.
    pub kept: BTreeMap<(i64, u64), (u32, u32)>,
    pub decided: Vec<Decided>,
    /// By the second of the verdict: spans that came, and that were kept.
    pub seconds: Vec<Second>,
    /// The same, of traces that failed.
    pub failed: Second,
    now: i64,
    pub kills: Vec<i64>,
}

/// A trace, the second of its verdict, and the threshold.
pub struct Decided {
    pub second: i64,
    pub trace: Trace,
    pub threshold: Threshold,
}

/// A partition as a broker has it.
#[derive(Default)]
struct Partition {
    /// Time stamps, and numbers of traces.
    log: Vec<(RecordTime, usize)>,
    /// What is read next.
    next: usize,
    start: Option<Start>,
    /// Ticks, and what they decided.
    decisions: Vec<(u64, Vec<Decision>)>,
    learned: BTreeMap<Name, Vec<u8>>,
}

const DOWN: i64 = 7;
/// Milliseconds. So much earlier than it is counted a trace comes: then it is decided in the second in which it is counted.
const QUIET: i64 = 1000;
/// The first second, in milliseconds: a multiple of all periods.
const EPOCH: i64 = 28_000_000 * 60_000;
/// As in OTLP.
const SERVER: i32 = 2;
/// One of so many traces fails.
const FAILS: u64 = 20;

pub const RARE: &str = "policies: [{ name: each, keep: { rare: { by: [root.name], at_least: 1, per: 1m } } }]";

/// Spans a second.
pub fn rate(goal: u32) -> String {
    format!("policies: [{{ name: some, keep: {{ rate: {{ spans_per_second: {goal}, by: [root.name] }} }} }}]")
}

/// Spans a second, of all and of each key.
pub fn each(goal: u32, each: u32) -> String {
    rate(goal).replace("by:", &format!("each: {each}, by:"))
}

/// Spans a second. What failed is protected.
pub fn budget(goal: u32) -> String {
    format!(
        "
policies:
  - {{ name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always, protect: true }}
  - {{ name: all, keep: always }}
budget: {{ spans_per_second: {goal}, give_way: [all] }}
"
    )
}

/// Traces a second.
pub fn adaptive(goal: u32) -> String {
    format!("policies: [{{ name: some, keep: {{ adaptive: {{ traces_per_second: {goal}, by: [root.name] }} }} }}]")
}

/// All at once, in spans a second: what failed is protected, and some keys have a rate.
pub fn overlapping(rate: u32, budget: u32, give_way: &str) -> String {
    format!(
        "
policies:
  - {{ name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always, protect: true }}
  - {{ name: some, keep: {{ adaptive: {{ probability: 10%, by: [root.name] }} }} }}
  - name: rated
    when: root.kind == SPAN_KIND_SERVER
    keep: {{ rate: {{ spans_per_second: {rate}, by: [root.name] }} }}
  - {{ name: all, keep: {{ probability: 5% }} }}
budget: {{ spans_per_second: {budget}, give_way: [{give_way}] }}
"
    )
}

/// A server's.
pub fn is_rated(trace: &Trace) -> bool {
    trace.key.is_multiple_of(3)
}

pub fn fails(trace: &Trace) -> bool {
    trace.randomness.0.is_multiple_of(FAILS)
}

// === impl Workers ===

impl Workers {
    /// `period` is in seconds.
    pub fn new(seed: u64, partitions: usize, policies: &str, period: i64) -> Self {
        let workers = partitions.min(4);
        let mut all = Self {
            rng: Rng::with_seed(seed),
            policies: compile(policies.to_owned()),
            period,
            engines: (0..workers).map(|_| None).collect(),
            back: vec![0; workers],
            partitions: (0..partitions).map(|_| Partition::default()).collect(),
            told: Told::default(),
            traces: Vec::new(),
            kept: BTreeMap::new(),
            decided: Vec::new(),
            seconds: Vec::new(),
            failed: Second::default(),
            now: 0,
            kills: Vec::new(),
        };
        (0..workers).for_each(|worker| all.begin(worker));
        all
    }

    /// Of each key what became of it in each of the first seconds, so many.
    pub fn by_key(&self, seconds: usize) -> BTreeMap<u64, Vec<Second>> {
        let mut keys: BTreeMap<u64, Vec<Second>> = BTreeMap::new();
        for Decided { second, trace, threshold } in &self.decided {
            let of = keys.entry(trace.key).or_insert_with(|| vec![Second::default(); seconds]);
            if let Some(place) = of.get_mut(*second as usize) {
                place.asked += trace.cost as f64;
                place.kept += if trace.randomness.0 >= threshold.0 { trace.cost as f64 } else { 0.0 };
            }
        }
        keys
    }

    /// One second of the wall clock. What comes in it is decided in the next.
    pub fn second(&mut self, traces: Vec<Trace>) {
        self.now += 1;
        let count = traces.len() as i64;
        for (at, trace) in (0..).zip(traces) {
            let time = RecordTime(EPOCH + self.now * 1000 + at * 1000 / count - QUIET);
            self.partitions[trace.partition].log.push((time, self.traces.len()));
            self.traces.push(trace);
        }
        let workers = self.engines.len();
        let engines = self.engines.iter_mut().enumerate();
        self.told.hear(self.now, workers, engines.filter_map(|(worker, engine)| Some((worker, engine.as_mut()?))));
        let killed = self.kills.contains(&self.now).then(|| self.rng.usize(..self.engines.len()));
        for worker in 0..self.engines.len() {
            if self.engines[worker].is_none() && self.now >= self.back[worker] {
                self.begin(worker);
            }
            if let Some(engine) = self.engines[worker].take() {
                self.turn(worker, engine, killed == Some(worker));
            }
        }
    }

    /// Reads to the end, and commits what that comes to, unless it is killed before.
    fn turn(&mut self, worker: usize, mut engine: Engine, killed: bool) {
        for (at, place) in (0..).zip(self.own(worker)) {
            // It stands at the head of the log.
            if self.partitions[place].next == self.partitions[place].log.len() {
                engine.elapse(at, 1000, RecordTime::END);
            }
            while let Some(&(time, number)) = self.partitions[place].log.get(self.partitions[place].next) {
                let value = encode(number, &self.traces[number]);
                let offset = self.partitions[place].next as i64;
                let record =
                    Record { partition: at, offset, timestamp: Some(time), headers: &(), payload: Some(&value) };
                assert_ne!(engine.ingest(record, RecordTime::END), Err(Full), "a tick takes a second");
                self.partitions[place].next += 1;
            }
        }
        while engine.advance() == Err(Full) {}
        let tick = engine.cut();
        if killed {
            self.back[worker] = self.now + DOWN;
        } else {
            self.commit(worker, &mut engine, tick);
            self.engines[worker] = Some(engine);
        }
    }

    fn commit(&mut self, worker: usize, engine: &mut Engine, tick: Tick) {
        let own = self.own(worker);
        let mut logged = Vec::new();
        for of in tick.decisions.chunk_by(|a, b| a.0 == b.0) {
            let log = &mut self.partitions[own[of[0].0 as usize]].decisions;
            let record = log.len() as i64;
            log.push((tick.number, of.iter().map(|(_, decision)| *decision).collect()));
            logged.push(Logged { partition: of[0].0, first: record, last: record });
        }
        tick.decisions.iter().for_each(|(_, decision)| self.count(decision));
        for watermark in &tick.watermarks {
            let Watermark { partition, offset, position, floor, last, since, clock, .. } = *watermark;
            let now = logged.iter().find(|logged| logged.partition == partition).map(|logged| logged.last);
            let (last, tick, place) = (now.or(last), tick.number, own[partition as usize]);
            let rank = place as u32;
            self.partitions[place].start = Some(Start { offset, position, floor, last, tick, since, clock, rank });
        }
        for learned in &tick.states {
            let place = own[learned.partition as usize];
            self.partitions[place].learned.insert(learned.name, learned.value.clone());
            self.told.tell(self.now, learned.clone().called(place as u32));
        }
        engine.settle(tick, &logged);
    }

    fn count(&mut self, decision: &Decision) {
        let trace = &self.traces[number(decision)];
        let second = (decision.decided.0 - EPOCH).div_euclid(1000);
        let (keep, cost) = (decision.verdict.keep, trace.cost as f64);
        self.decided.push(Decided { second, trace: *trace, threshold: decision.verdict.threshold });
        let kept = self.kept.entry((second / self.period, trace.key)).or_default();
        *kept = (kept.0 + 1, kept.1 + u32::from(keep));
        self.seconds.resize(self.seconds.len().max(second as usize + 1), Second::default());
        for place in [&mut self.seconds[second as usize], &mut self.failed] {
            place.asked += cost;
            place.kept += if keep { cost } else { 0.0 };
            if !fails(trace) {
                break;
            }
        }
    }

    /// From what is committed. Of others it hears as the rest do, what is on its way included: a start reads to the end.
    fn begin(&mut self, worker: usize) {
        let mut engine = Engine::new(settings(), self.policies.clone());
        engine.share(self.partitions.len() as u32);
        let own = self.own(worker);
        let mut remembered = Vec::new();
        for (at, &place) in (0..).zip(&own) {
            let partition = &mut self.partitions[place];
            let start = partition.start.unwrap_or(Start { rank: place as u32, ..Start::at(0) });
            assert_eq!(engine.assign(start), at);
            partition.next = start.offset as usize;
            for (record, (tick, decisions)) in (0..).zip(&partition.decisions).skip(start.floor as usize) {
                let of = |&decision| (at, Remembered { decision, tick: *tick, record, bound: false });
                remembered.extend(decisions.iter().map(of));
            }
        }
        remembered.sort_by_key(|(_, remembered)| (remembered.tick, remembered.decision.trace));
        remembered.into_iter().for_each(|(at, remembered)| engine.restore(at, remembered));
        let (own, others): (Vec<Learned>, Vec<Learned>) =
            self.learned().partition(|learned| own.contains(&(learned.partition as usize)));
        engine.relearn(own.into_iter()).expect("as written");
        engine.hear(others.into_iter()).expect("as written");
        self.engines[worker] = Some(engine);
    }

    fn learned(&self) -> impl Iterator<Item = Learned> {
        (0..).zip(&self.partitions).flat_map(|(place, partition)| {
            let learned = partition.learned.iter();
            learned.map(move |(&name, value)| Learned { partition: place, name, value: value.clone() })
        })
    }

    /// The partitions of a worker, in the order in which its engine numbers them.
    fn own(&self, worker: usize) -> Vec<usize> {
        (worker..self.partitions.len()).step_by(self.engines.len()).collect()
    }
}

fn settings() -> Settings {
    let settings = feed::settings(Form::Keyed);
    Settings { completion: Completion { quiet: QUIET as u64, ..settings.completion }, ..settings }
}

fn number(decision: &Decision) -> usize {
    u64::from_be_bytes(decision.trace.0[..8].try_into().expect("8 of 16 bytes")) as usize - 1
}

/// A root, named by its key, and as many children as make up the cost.
fn encode(number: usize, trace: &Trace) -> Vec<u8> {
    let id = u128::from(number as u64 + 1) << 64 | u128::from(trace.randomness.0);
    let span = |number: u64| otlp::Span {
        trace_id: id.to_be_bytes().to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        parent_span_id: if number == 1 { Vec::new() } else { 1_u64.to_be_bytes().to_vec() },
        name: if number == 1 { format!("{:x}", trace.key) } else { String::new() },
        kind: if number == 1 && is_rated(trace) { SERVER } else { 0 },
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        status: (number == 1 && fails(trace))
            .then(|| otlp::Status { code: otlp::Code::Error.into(), ..otlp::Status::default() }),
        ..otlp::Span::default()
    };
    let spans = (1..=trace.cost).map(span).collect();
    let scope_spans = vec![otlp::ScopeSpans { spans, ..otlp::ScopeSpans::default() }];
    let resource_spans = vec![otlp::ResourceSpans { scope_spans, ..otlp::ResourceSpans::default() }];
    otlp::TracesData { resource_spans }.encode_to_vec()
}
