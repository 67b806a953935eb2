//! The rows of the table: a kind of traffic, in a form, under policies.

use std::env;

use tailwater::generate::{Record, batched, keyed};

use super::{policies::Policies, support::Form, traffic::Kind};

pub struct Row {
    pub name: &'static str,
    pub kind: Kind,
    pub form: Form,
    pub policies: Policies,
}

const BATCH: usize = 100;
/// What 60,000 of the shop's traces have; `SPANS` says otherwise.
const SPANS: usize = 870_000;
/// So many spans have the bytes of one of 10 kB.
const NARROW: usize = 20;
/// What `QUICK` makes of them.
const QUICK: usize = 15;

pub const ROWS: [Row; 10] = [
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
];

/// A run that shows that everything works, and no figures.
pub fn is_quick() -> bool {
    env::var_os("QUICK").is_some_and(|quick| !quick.is_empty())
}

// === impl Row ===

impl Row {
    const fn new(name: &'static str, kind: Kind, form: Form, policies: Policies) -> Self {
        Self { name, kind, form, policies }
    }

    pub fn title(&self) -> String {
        format!("{}: {}, {}, {}", self.name, self.form.name(), self.kind.name(), self.policies.name())
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
        let asked = env::var("SPANS").ok().filter(|spans| !spans.is_empty());
        let all = asked.map_or(SPANS, |spans| spans.parse().expect("SPANS is a number"));
        let spans = if self.kind == Kind::Wide { all / NARROW } else { all };
        if is_quick() { spans / QUICK } else { spans }
    }
}
