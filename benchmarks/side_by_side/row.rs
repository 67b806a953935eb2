//! The rows of the table: a kind of traffic, in a form, under policies.

use std::env;

use tailwater::generate::{Record, batched, keyed};

use super::{number, policies::Policies, support::Form, traffic::Kind};

pub struct Row {
    pub name: &'static str,
    pub kind: Kind,
    pub form: Form,
    pub policies: Policies,
    /// So many spans, all of which are held until the last has come.
    held: Option<usize>,
}

const BATCH: usize = 100;
/// What 60,000 of the shop's traces have; `SPANS` says otherwise.
const SPANS: usize = 870_000;
/// So many spans have the bytes of one of 10 kB.
const NARROW: usize = 20;
/// What `QUICK` makes of them.
const QUICK: usize = 15;

pub const ROWS: [Row; 13] = [
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
    Row::holding("held-100k", 100_000),
    Row::holding("held-1m", 1_000_000),
    Row::holding("held-5m", 5_000_000),
];

/// A run that shows that everything works, and no figures.
pub fn is_quick() -> bool {
    env::var_os("QUICK").is_some_and(|quick| !quick.is_empty())
}

// === impl Row ===

impl Row {
    pub const fn new(name: &'static str, kind: Kind, form: Form, policies: Policies) -> Self {
        Self { name, kind, form, policies, held: None }
    }

    const fn holding(name: &'static str, spans: usize) -> Self {
        Self { held: Some(spans), ..Self::new(name, Kind::Shop, Form::Keyed, Policies::Five) }
    }

    pub fn holds_all(&self) -> bool {
        self.held.is_some()
    }

    /// The Collector needs 15 GB for it, so it has to be asked for.
    pub fn is_large(&self) -> bool {
        self.held.is_some_and(|spans| spans > 2_000_000)
    }

    pub fn title(&self) -> String {
        let held = if self.holds_all() { ", all held to the end" } else { "" };
        format!("{}: {}, {}, {}{held}", self.name, self.form.name(), self.kind.name(), self.policies.name())
    }

    pub fn records(&self) -> Box<dyn Iterator<Item = Record>> {
        let traces = self.kind.traces(self.spans());
        match self.form {
            Form::Keyed => Box::new(keyed(traces)),
            Form::Batched => Box::new(batched(traces, BATCH)),
        }
    }

    /// About.
    fn spans(&self) -> usize {
        let all = self.held.unwrap_or(number("SPANS").map_or(SPANS, |spans| spans as usize));
        let spans = if self.kind == Kind::Wide { all / NARROW } else { all };
        if is_quick() { spans / QUICK } else { spans }
    }
}
