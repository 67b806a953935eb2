//! Policies on an engine of their own.

use tailwater::{
    assemble::Start,
    engine::{Engine, Full, Record},
    model::RecordTime,
};

use super::support::{Form, feed::settings, policies::compile};

pub struct Way {
    engine: Engine,
    offset: i64,
    /// Milliseconds.
    cut: i64,
    /// By the number of a trace, from 1 on: it is kept.
    kept: Vec<bool>,
}

/// Milliseconds of record time.
const TICK: i64 = 1000;

// === impl Way ===

impl Way {
    /// Keeps a share of the traces, where so many come in a second.
    pub fn ours(share: f64, rate: f64) -> Self {
        Self::new(ours(share, rate))
    }

    pub fn uniform(share: f64) -> Self {
        Self::new(format!("policies: []\notherwise: {{ probability: {share} }}"))
    }

    pub fn errors_only() -> Self {
        Self::new(format!("policies:\n{ERRORS}"))
    }

    pub fn new(policies: String) -> Self {
        let mut engine = Engine::new(settings(Form::Keyed), compile(policies));
        engine.share(1);
        engine.assign(Start::at(0));
        Self { engine, offset: 0, cut: 0, kept: Vec::new() }
    }

    /// A record with a whole trace, in the order of time.
    pub fn take(&mut self, at_ms: i64, value: &[u8]) {
        if at_ms >= self.cut + TICK {
            self.cut = at_ms;
            self.tick();
        }
        let timestamp = Some(RecordTime(at_ms));
        let record = Record { partition: 0, offset: self.offset, timestamp, headers: &(), payload: Some(value) };
        self.offset += 1;
        while self.engine.ingest(record, RecordTime::END) == Err(Full) {
            self.tick();
        }
    }

    /// Of each trace, whether it is kept.
    pub fn finish(mut self) -> Vec<bool> {
        self.engine.finish(0);
        while self.engine.advance() == Err(Full) {
            self.tick();
        }
        self.tick();
        self.kept
    }

    fn tick(&mut self) {
        let tick = self.engine.cut();
        for (_, decision) in &tick.decisions {
            let number = u64::from_be_bytes(decision.trace.0[..8].try_into().expect("8 of 16 bytes")) as usize;
            self.kept.resize(self.kept.len().max(number), false);
            self.kept[number - 1] = decision.verdict.keep;
        }
        self.engine.settle(tick, &[]);
    }
}

const ERRORS: &str = "  - { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always, protect: true }";

/// What a budget leaves is for the slowest and the rare of each shape, as all pages of this shop are one operation. In a calm hour they
/// and the rest ask for half of it, so that there is something saved up when a fault comes.
fn ours(share: f64, rate: f64) -> String {
    let (slowest, rest, budget) = (1.0 - share / 4.0, share / 4.0, share * rate);
    let at_least = (100.0 * share).max(1.0) as u32;
    // Of each window some of each kind are kept, however few there are to be: in 10 minutes that would be all of a thousandth.
    let (window, per) = if share < 0.01 { ("2h", "2h") } else { ("10m", "15m") };
    format!(
        "
policies:
{ERRORS}
  - name: slowest
    keep: {{ slowest: {{ quantile: {slowest}, by: [root.service, root.name, trace.shape], window: {window} }} }}
    protect: true
  - name: rare
    keep: {{ rare: {{ by: [root.service, root.name, trace.shape], at_least: {at_least}, per: {per} }} }}
    protect: true
  - {{ name: rest, keep: {{ probability: {rest} }} }}
budget: {{ traces_per_second: {budget}, burst: 10m, give_way: [rest] }}
"
    )
}
