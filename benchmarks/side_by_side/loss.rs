//! What did not come out of a processor that keeps everything.

use std::collections::HashMap;

use super::kept::Name;

/// Every span that was sent should come out, once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    pub traces: usize,
    /// Traces of which nothing came out.
    pub lost: usize,
    /// Traces of which not all spans came out.
    pub torn: usize,
    /// Spans that came out more than once.
    pub doubled: usize,
}

// === impl Loss ===

impl Loss {
    /// `sent` are traces with the number of their spans.
    pub fn of(sent: impl Iterator<Item = (u128, usize)>, out: impl Iterator<Item = Name>) -> Self {
        let mut times: HashMap<Name, usize> = HashMap::new();
        out.for_each(|name| *times.entry(name).or_default() += 1);
        let mut spans: HashMap<u128, usize> = HashMap::new();
        times.keys().for_each(|(trace, _)| *spans.entry(*trace).or_default() += 1);
        let doubled = times.values().filter(|times| **times > 1).count();
        let mut loss = Self { doubled, ..Self::default() };
        for (trace, sent) in sent {
            let out = spans.get(&trace).copied().unwrap_or_default();
            loss.traces += 1;
            loss.lost += usize::from(out == 0);
            loss.torn += usize::from((1..sent).contains(&out));
        }
        loss
    }
}
