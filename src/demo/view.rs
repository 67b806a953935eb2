//! What is shown while the demo runs.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    due::{Due, KEEPING},
    ledger::{Seen, Sent},
    report::rivals,
    scrape::{self, Metrics},
    screen::{Ink, Screen, clock, thousands},
};

/// One moment.
pub(super) struct View<'a> {
    pub phase: &'a str,
    pub elapsed: Duration,
    pub length: Duration,
    pub port: u16,
    /// Of the processor, as it runs now.
    pub metrics: &'a Metrics,
    pub spans_per_second: u64,
    pub sent: &'a Sent,
    pub seen: &'a Seen,
}

/// A rate out of a counter, over the last seconds.
#[derive(Default)]
pub(super) struct Meter(VecDeque<(Instant, u64)>);

/// Over what a rate is taken.
const WINDOW: Duration = Duration::from_secs(2);

// === impl View ===

impl View<'_> {
    pub fn lines(&self, screen: &Screen) -> Vec<String> {
        let Self { metrics, sent, seen, .. } = self;
        let label = |text: &str| screen.paint(Ink::Dim, &format!("  {text:<9}"));
        let mut lines = vec![
            String::new(),
            format!(
                "{}  {} of {}  {}",
                screen.paint(Ink::Bold, "tailwater demo"),
                clock(self.elapsed),
                clock(self.length),
                screen.paint(Ink::Bold, self.phase)
            ),
            format!(
                "{}{} spans/s   {} spans received   held {} traces, {} spans",
                label("in"),
                thousands(self.spans_per_second),
                thousands(metrics.count("tailwater_spans_received_total")),
                thousands(metrics.count("tailwater_traces_held")),
                thousands(metrics.count("tailwater_spans_held")),
            ),
            format!("{}{}", label("verdicts"), self.verdicts()),
            format!(
                "{}{} of {} errors so far (the rest is on its way)   {} of {} spans sent   late {}   lost {}",
                label("kept"),
                thousands(seen.whole[Due::ERRORS]),
                thousands(sent.due[Due::ERRORS]),
                thousands(seen.spans),
                thousands(sent.spans),
                thousands(metrics.count("tailwater_spans_late_total")),
                metrics.count("tailwater_spans_lost"),
            ),
        ];
        lines.extend(rivals(sent).map(|(name, keeps)| format!("{}{name} would have kept {keeps}", label("instead"))));
        lines.push(format!("{}{}", label("look"), scrape::url(self.port)));
        lines
    }

    pub fn short(&self) -> String {
        let kept: Vec<String> = KEEPING
            .iter()
            .zip(self.seen.whole)
            .zip(self.sent.due)
            .map(|((policy, whole), due)| format!("{policy} {whole}/{due}"))
            .collect();
        format!(
            "{}  {}: {} spans/s in, held {} traces, kept {}, lost {}",
            clock(self.elapsed),
            self.phase,
            self.spans_per_second,
            self.metrics.count("tailwater_traces_held"),
            kept.join(", "),
            self.metrics.count("tailwater_spans_lost"),
        )
    }

    fn verdicts(&self) -> String {
        const DECIDED: &str = "tailwater_traces_decided_total";
        let mut kept = self.metrics.by(DECIDED, "policy", &[("verdict", "keep")]);
        kept.sort_by_key(|(policy, _)| KEEPING.iter().position(|known| known == policy));
        let kept: Vec<String> = kept.iter().map(|(policy, n)| format!("{policy} {}", thousands(*n))).collect();
        let dropped = self.metrics.sum(DECIDED, &[("verdict", "drop")]).unwrap_or(0.0) as u64;
        let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(" · ") };
        format!("keep: {kept}   drop: {}   (since its start)", thousands(dropped))
    }
}

// === impl Meter ===

impl Meter {
    /// Takes down a reading, and returns the rate per second.
    pub fn read(&mut self, now: Instant, count: u64) -> u64 {
        // The counter of a new process begins again.
        if self.0.back().is_some_and(|(_, last)| count < *last) {
            self.0.clear();
        }
        self.0.push_back((now, count));
        while self.0.len() > 2 && now.duration_since(self.0[1].0) >= WINDOW {
            self.0.pop_front();
        }
        let (then, before) = self.0[0];
        let seconds = now.duration_since(then).as_secs_f64();
        if seconds > 0.0 { ((count - before) as f64 / seconds) as u64 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_starts_again_with_the_process() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(meter.read(at(0), 0), 0);
        assert_eq!(meter.read(at(1_000), 4_000), 4_000);
        assert_eq!(meter.read(at(4_000), 4_000), 0);
        assert_eq!(meter.read(at(5_000), 10), 0);
        assert_eq!(meter.read(at(6_000), 1_010), 1_000);
        for step in 0..100_000 {
            meter.read(at(6_000 + step), 1_010);
        }
        assert!(meter.0.len() <= WINDOW.as_millis() as usize + 2);
    }
}
