//! The rows of the table: a kind of traffic, in a form, under policies.

use std::env;

use tailwater::generate::Record;

use super::{
    number,
    policies::Policies,
    support::{Form, records::in_json},
    traffic::Kind,
};

pub struct Row {
    pub name: &'static str,
    pub kind: Kind,
    pub form: Form,
    pub encoding: Encoding,
    pub policies: Policies,
    pub asks: Asks,
    /// Spans, at most, of the main table.
    pub most: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Protobuf,
    Json,
}

/// What a row is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// What a span costs.
    Cost,
    /// What is taken by so many spans, all of which are held until the last has come.
    Held(usize),
    /// What a second worker adds.
    Workers,
    /// What goes over the wire: what counts it slows it down, so nothing else counts.
    Bytes,
}

/// What 60,000 of the shop's traces have; `SPANS` says otherwise.
const SPANS: usize = 870_000;
/// So many spans have the bytes of one of 10 kB.
const NARROW: usize = 20;
/// Two workers are through with the others' topic before they have started.
const LONGER: usize = 5;
/// Of the main table: so that starting and stopping is little of what is measured.
const MAIN: usize = 3;
/// What `QUICK` makes of them.
const QUICK: usize = 15;

/// The first two are the main table.
pub const ROWS: [Row; 18] = [
    Row::new("keyed", Kind::Shop, Form::Keyed, Policies::Five),
    Row::new("batched", Kind::Shop, Form::Batched, Policies::Five),
    Row::new("keyed-long", Kind::Long, Form::Keyed, Policies::Five),
    Row::new("batched-long", Kind::Long, Form::Batched, Policies::Five),
    Row::new("keyed-100", Kind::Shop, Form::Keyed, Policies::Hundred),
    Row::new("batched-100", Kind::Shop, Form::Batched, Policies::Hundred),
    Row::new("everything", Kind::Shop, Form::Keyed, Policies::All),
    Row::new("wide", Kind::Wide, Form::Keyed, Policies::Five),
    Row::new("regexes", Kind::Shop, Form::Keyed, Policies::Regexes),
    Row::new("single", Kind::Single, Form::Keyed, Policies::Five),
    Row::in_json("keyed-json", Form::Keyed),
    Row::in_json("batched-json", Form::Batched),
    Row::asking(Asks::Held(100_000), "held-100k", Form::Keyed),
    Row::asking(Asks::Held(1_000_000), "held-1m", Form::Keyed),
    Row::asking(Asks::Held(5_000_000), "held-5m", Form::Keyed),
    Row::asking(Asks::Workers, "workers", Form::Keyed),
    Row::asking(Asks::Bytes, "keyed-bytes", Form::Keyed),
    Row::asking(Asks::Bytes, "batched-bytes", Form::Batched),
];

/// Rounds of the main table, and of the other rows, where `REPEATS` says nothing else.
const MAIN_ROUNDS: usize = 5;
const ROUNDS: usize = 3;

/// A run that shows that everything works, and no figures.
pub fn is_quick() -> bool {
    env::var_os("QUICK").is_some_and(|quick| !quick.is_empty())
}

// === impl Encoding ===

impl Encoding {
    /// By the name that both give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Protobuf => "otlp_proto",
            Self::Json => "otlp_json",
        }
    }
}

// === impl Row ===

impl Row {
    pub const fn new(name: &'static str, kind: Kind, form: Form, policies: Policies) -> Self {
        Self { name, kind, form, encoding: Encoding::Protobuf, policies, asks: Asks::Cost, most: usize::MAX }
    }

    const fn in_json(name: &'static str, form: Form) -> Self {
        Self { encoding: Encoding::Json, ..Self::new(name, Kind::Shop, form, Policies::Five) }
    }

    const fn asking(asks: Asks, name: &'static str, form: Form) -> Self {
        Self { asks, ..Self::new(name, Kind::Shop, form, Policies::Five) }
    }

    pub fn holds_all(&self) -> bool {
        matches!(self.asks, Asks::Held(_))
    }

    /// What the Collector takes for it is not on every machine.
    pub fn is_large(&self) -> bool {
        matches!(self.asks, Asks::Held(spans) if spans > 2_000_000)
    }

    pub fn is_main(&self) -> bool {
        ["keyed", "batched"].contains(&self.name)
    }

    /// How often each contender runs.
    pub fn rounds(&self) -> usize {
        match (repeats(), self.asks) {
            // Neither differs from run to run by as much as it differs from contender to contender, and the one takes long.
            (_, Asks::Bytes) => 1,
            (None, _) if self.is_large() => 1,
            (None, _) if self.is_main() => MAIN_ROUNDS,
            (None, _) => ROUNDS,
            (Some(repeats), _) => repeats,
        }
    }

    pub fn title(&self) -> String {
        let asks = match self.asks {
            Asks::Cost => "",
            Asks::Held(_) => ", all held to the end",
            Asks::Workers => ", one worker and two",
            Asks::Bytes => ", counted on the wire",
        };
        let encoding = match self.encoding {
            Encoding::Protobuf => "",
            Encoding::Json => ", OTLP/JSON",
        };
        let Self { name, form, kind, policies, .. } = self;
        format!("{name}: {}, {}, {}{encoding}{asks}", form.name(), kind.name(), policies.name())
    }

    pub fn records(&self) -> Box<dyn Iterator<Item = Record>> {
        let records = self.form.cut(self.kind.traces(self.spans()));
        match self.encoding {
            Encoding::Protobuf => records,
            Encoding::Json => Box::new(records.map(|record| Record { value: in_json(&record.value), ..record })),
        }
    }

    /// About.
    fn spans(&self) -> usize {
        let all = number("SPANS").map_or(SPANS, |spans| spans as usize);
        let spans = match self.asks {
            Asks::Held(spans) => spans,
            Asks::Workers => all * LONGER,
            Asks::Cost if self.is_main() => self.most.min(all * MAIN),
            Asks::Cost | Asks::Bytes if self.kind == Kind::Wide => all / NARROW,
            Asks::Cost | Asks::Bytes => all,
        };
        if is_quick() { spans / QUICK } else { spans }
    }
}

/// What `REPEATS` says, and one where it is only to be shown that it works.
pub fn repeats() -> Option<usize> {
    number("REPEATS").map(|repeats| repeats as usize).or(is_quick().then_some(1))
}
