//! The table at the end, which checks itself.

use std::{fmt::Write, time::Duration};

use super::{
    args::LogUse,
    due::KEEPING,
    ledger::{Findings, Rival, Seen, Sent},
    sabotage::Sabotage,
    screen::{Ink, Screen, clock, thousands},
};

/// Rows, each good, bad or a note.
pub(super) struct Report {
    rows: Vec<Row>,
}

/// All that was seen of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub sent: Sent,
    pub seen: Seen,
    pub findings: Findings,
    /// Input spans the broker acknowledged, and refused.
    pub acked: (u64, u64),
    pub dead_letters: u64,
    /// Whether ticks were transactions: the embedded broker has none.
    pub exactly_once: bool,
    /// Ctrl-C: not everything may have come to pass.
    pub interrupted: bool,
    /// None where the run was ended before.
    pub kill: Option<Kill>,
    /// Over the restart as it was; None where nothing bounds the log.
    pub log: Option<LogUse>,
    /// What was to be spoilt, and was or was not.
    pub sabotage: Option<Sabotage>,
    /// Traces held at the end; None where the processor did not say in time.
    pub held: Option<u64>,
    /// Invariant I1, by the processor's own account: `tailwater_spans_lost`.
    pub own_lost: Option<f64>,
    pub exit: Exit,
}

#[derive(Clone, Debug)]
pub(super) struct Kill {
    /// After the start of the traffic.
    pub at: Duration,
    /// What the processor had received, and held undecided.
    pub received: u64,
    pub held_traces: u64,
    pub held_spans: u64,
    /// Spans of its output that were seen.
    pub kept_spans: u64,
    /// From its start until the new one was ready.
    pub back: Option<Duration>,
    /// Spans received again; counted at the end.
    pub again: u64,
    /// More would be more than what was undecided: the offsets committed are too old.
    pub most_again: u64,
}

/// What SIGTERM came to.
#[derive(Clone, Debug, Default)]
pub(super) enum Exit {
    #[default]
    Never,
    Zero(Duration),
    Other(String),
}

struct Row {
    mark: Mark,
    what: String,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Good,
    Bad,
    Note,
}

// === impl Report ===

impl Report {
    pub fn of(outcome: &Outcome) -> Self {
        let mut report = Self { rows: Vec::new() };
        report.kept(outcome);
        report.whole(outcome);
        report.killed(outcome);
        report.log(outcome);
        report.accounts(outcome);
        report.spoilt(outcome);
        report
    }

    pub fn is_red(&self) -> bool {
        self.rows.iter().any(|row| row.mark == Mark::Bad)
    }

    pub fn render(&self, screen: &Screen) -> String {
        let mut text = String::new();
        for Row { mark, what, value } in &self.rows {
            let sign = match mark {
                Mark::Good => screen.paint(Ink::Green, "✓"),
                Mark::Bad => screen.paint(Ink::Red, "✗"),
                Mark::Note => "·".to_owned(),
            };
            let value = if *mark == Mark::Bad { screen.paint(Ink::Red, value) } else { value.clone() };
            let _ = writeln!(text, "  {sign} {what:<36} {value}");
        }
        text
    }

    fn kept(&mut self, Outcome { sent, seen, .. }: &Outcome) {
        let of = format!("{} of {}", thousands(sent.due_traces), thousands(sent.traces));
        self.check("traces that are due", sent.due_traces > 0, of);
        for ((policy, due), whole) in KEEPING.iter().zip(sent.due).zip(seen.whole) {
            let what = format!("kept whole: {policy}");
            match due {
                0 => self.note(&what, "none in this traffic".to_owned()),
                _ => self.check(&what, due == whole, format!("{}/{}", thousands(whole), thousands(due))),
            }
        }
    }

    fn whole(&mut self, Outcome { seen, findings, .. }: &Outcome) {
        let hint = findings.example.map(|id| format!("   such as {id}")).unwrap_or_default();
        let (bad_trace, bad) = (|n: u64| format!("{}{}", thousands(n), if n > 0 { &hint[..] } else { "" }), thousands);
        self.check("lost: due, and nothing kept", findings.lost == 0, bad_trace(findings.lost));
        self.check("split: due, and kept in part", findings.split == 0, bad_trace(findings.split));
        self.check("unexpected: kept, and not due", findings.unexpected == 0, bad_trace(findings.unexpected));
        self.check("spans with other bytes than sent", seen.changed == 0, bad(seen.changed));
        self.check("spans with a wrong weight", seen.misweighed == 0, bad(seen.misweighed));
        let late = "late spans that followed their trace";
        match findings.late_due {
            0 => self.note(late, "none in this traffic".to_owned()),
            due => self.check(late, findings.late_seen == due, format!("{}/{}", bad(findings.late_seen), bad(due))),
        }
        let odd = seen.misaddressed + seen.unreadable;
        self.check("kept records badly keyed or encoded", odd == 0, bad(odd));
        self.check("spans doubled without a kill", seen.doubled[0] == 0, bad(seen.doubled[0]));
    }

    fn killed(&mut self, Outcome { kill, interrupted, seen, exactly_once, .. }: &Outcome) {
        let Some(kill) = kill else {
            match interrupted {
                true => self.note("SIGKILL", "ended before it".to_owned()),
                false => self.check("SIGKILL", false, "did not come to it".to_owned()),
            }
            return;
        };
        let back =
            kill.back.map_or("never ready again".to_owned(), |back| format!("ready after {:.1} s", back.as_secs_f64()));
        let value = format!(
            "{} traces, {} spans undecided, {} spans kept before; {back}",
            thousands(kill.held_traces),
            thousands(kill.held_spans),
            thousands(kill.kept_spans)
        );
        self.check(&format!("SIGKILL at {}", clock(kill.at)), kill.came_midway() && kill.back.is_some(), value);
        let value = format!("about {} of the {} received before", thousands(kill.again), thousands(kill.received));
        self.check("spans re-read after the kill", kill.reread_what_was_undecided(), value);
        let doubled = seen.doubled[1];
        let what = "spans doubled after the kill";
        if *exactly_once {
            self.check(what, doubled == 0, thousands(doubled));
        } else {
            self.note(what, format!("{}: without transactions, allowed", thousands(doubled)));
        }
    }

    /// What the embedded broker loses, it loses without a word.
    fn log(&mut self, Outcome { log, .. }: &Outcome) {
        if let Some(log) = log {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let (used, room, window) = (mib(log.bytes), mib(LogUse::ROOM), log.window.as_secs_f64());
            let value = format!("{used:.2} of {room:.2} MiB a partition, over {window:.1} s");
            self.check("log needed for hold and restart", log.fits(), value);
        }
    }

    fn accounts(&mut self, outcome: &Outcome) {
        let (acked, refused) = outcome.acked;
        let sent = format!("{}/{} spans", thousands(acked), thousands(acked + refused));
        self.check("input the broker acknowledged", refused == 0 && acked > 0, sent);
        self.check("dead letters", outcome.dead_letters == 0, thousands(outcome.dead_letters));
        let held = outcome.held.map_or("did not say, or not in time".to_owned(), |held| format!("{held} traces"));
        self.check("still undecided at the end", outcome.held == Some(0), held);
        let lost = outcome.own_lost.map_or("tailwater_spans_lost is missing".to_owned(), |lost| format!("{lost}"));
        self.check("lost, by its own account", outcome.own_lost == Some(0.0), lost);
        let (fine, exit) = match &outcome.exit {
            Exit::Zero(took) => (true, format!("exit 0 in {:.1} s", took.as_secs_f64())),
            Exit::Other(status) => (false, status.clone()),
            Exit::Never => (false, "did not end in time".to_owned()),
        };
        self.check("SIGTERM", fine, exit);
    }

    /// The other rows show what came of it.
    fn spoilt(&mut self, Outcome { sabotage, .. }: &Outcome) {
        let what = "spoilt on purpose";
        match sabotage {
            Some(Sabotage { trace: Some(id), .. }) => self.note(what, format!("a span of {id} was withheld")),
            Some(_) => self.check(what, false, "no trace came by that could be spoilt".to_owned()),
            None => {}
        }
    }

    fn check(&mut self, what: &str, good: bool, value: String) {
        let mark = if good { Mark::Good } else { Mark::Bad };
        self.rows.push(Row { mark, what: what.to_owned(), value });
    }

    fn note(&mut self, what: &str, value: String) {
        self.rows.push(Row { mark: Mark::Note, what: what.to_owned(), value });
    }
}

// === impl Kill ===

impl Kill {
    fn came_midway(&self) -> bool {
        self.held_traces > 0 && self.kept_spans > 0
    }

    /// Not nothing, and not everything.
    fn reread_what_was_undecided(&self) -> bool {
        (1..=self.most_again).contains(&self.again) && self.again < self.received
    }
}

/// What a simpler sampler would have kept of the same traffic.
pub(super) fn rivals(sent: &Sent) -> [(&'static str, String); 2] {
    let [errors, _, slow, _] = sent.due;
    let say = |rival: &Rival| {
        format!(
            "{} traces, with {}/{} of the errors and {}/{} of the slow",
            thousands(rival.traces),
            thousands(rival.errors),
            thousands(errors),
            thousands(rival.slow),
            thousands(slow)
        )
    };
    [("a 1 % head sample", say(&sent.head)), ("only slower than 2 s", say(&sent.threshold))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::args::{Fault, MAX_WAIT, RESTART};

    fn log(bytes: u64) -> Option<LogUse> {
        Some(LogUse { rate: 1_000, window: MAX_WAIT + RESTART, bytes })
    }

    fn green() -> Outcome {
        Outcome {
            sent: Sent { due: [10, 2, 3, 0], due_traces: 12, traces: 60, ..Sent::default() },
            seen: Seen { whole: [10, 2, 3, 0], doubled: [0, 40], ..Seen::default() },
            findings: Findings { late_due: 4, late_seen: 4, ..Findings::default() },
            acked: (1_000, 0),
            dead_letters: 0,
            exactly_once: false,
            interrupted: false,
            log: log(LogUse::ROOM),
            sabotage: None,
            kill: Some(Kill {
                at: Duration::from_secs(30),
                received: 500,
                held_traces: 7,
                held_spans: 70,
                kept_spans: 90,
                back: Some(Duration::from_secs(9)),
                again: 120,
                most_again: 200,
            }),
            held: Some(0),
            own_lost: Some(0.0),
            exit: Exit::Zero(Duration::from_millis(300)),
        }
    }

    #[test]
    fn a_good_run_is_green() {
        let report = Report::of(&green());
        assert!(!report.is_red());
        let early = Outcome { interrupted: true, kill: None, log: None, ..green() };
        assert!(!Report::of(&early).is_red(), "ended before the kill");
        assert!(!Report::of(&Outcome { log: None, ..green() }).is_red(), "a broker with room");
    }

    #[test]
    fn each_fault_alone_is_red() {
        type Spoil = fn(&mut Outcome);
        let faults: [Spoil; 28] = [
            |o| o.exactly_once = true,
            |o| o.sent.due_traces = 0,
            |o| o.seen.whole[0] = 9,
            |o| o.seen.whole[2] = 4,
            |o| o.findings.lost = 1,
            |o| o.findings.split = 1,
            |o| o.findings.unexpected = 1,
            |o| o.seen.changed = 1,
            |o| o.seen.misweighed = 1,
            |o| o.findings.late_seen = 3,
            |o| o.seen.misaddressed = 1,
            |o| o.seen.unreadable = 1,
            |o| o.seen.doubled[0] = 1,
            |o| o.kill.as_mut().unwrap().back = None,
            |o| o.kill.as_mut().unwrap().held_traces = 0,
            |o| o.kill.as_mut().unwrap().kept_spans = 0,
            |o| o.kill.as_mut().unwrap().again = 0,
            |o| o.kill.as_mut().unwrap().again = 201,
            |o| o.kill.as_mut().unwrap().received = 120,
            |o| o.kill = None,
            |o| o.log = log(LogUse::ROOM + 1),
            |o| o.sabotage = Some(Sabotage::new(Fault::DropOneSpan)),
            |o| o.acked = (999, 1),
            |o| o.dead_letters = 1,
            |o| o.held = None,
            |o| o.own_lost = None,
            |o| o.own_lost = Some(-1.0),
            |o| o.exit = Exit::Other("exit status: 1".to_owned()),
        ];
        for (at, spoil) in faults.iter().enumerate() {
            let mut outcome = green();
            spoil(&mut outcome);
            let report = Report::of(&outcome);
            assert_eq!(report.rows.iter().filter(|row| row.mark == Mark::Bad).count(), 1, "fault {at}");
        }
    }
}
