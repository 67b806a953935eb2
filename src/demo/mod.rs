//! `tailwater demo`: the processor at work on a shop's traffic, killed half-way, and checked against what was sent.
//!
//! The agents write traffic to Kafka and the truth to the [`ledger`]; the processor is a child of this same program, started as
//! a user would start it; the reader compares what comes out with the ledger. Only Kafka lies between them.

mod agents;
mod args;
mod broker;
mod due;
mod interrupt;
mod ledger;
mod processor;
mod reader;
mod report;
mod sabotage;
mod scrape;
mod screen;
mod stamp;
mod view;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};

pub use self::args::Args;
use self::{
    agents::Agents,
    args::{Fault, RESTART},
    broker::Broker,
    interrupt::Interrupt,
    ledger::Ledger,
    processor::{Processor, Workplace},
    reader::Reader,
    report::{Exit, Kill, Outcome, Report, rivals},
    scrape::Metrics,
    screen::{Ink, Screen, clock, thousands},
    view::{Meter, View},
};

/// Runs the demo. The exit code is 1 where the check found anything wrong.
///
/// # Errors
/// What leaves nothing to check: options that do not fit, a broker that is away, a processor that ends by itself.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    args.check()?;
    let interrupt = Interrupt::watch()?;
    let mut screen = Screen::new();
    let broker = Broker::start(args.kafka.as_deref())?;
    let workplace = Workplace::new(&broker)?;
    let seed = args.seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    introduce(&args, seed, &broker, &workplace, &mut screen);
    match attend(&args, seed, &broker, &workplace, &interrupt, &mut screen) {
        Ok(outcome) => {
            let report = Report::of(&outcome);
            conclude(&outcome, &report, &broker, &mut screen);
            if report.is_red() {
                screen.say(&format!("the processor's configuration and log are in {}", workplace.log().display()));
                workplace.keep();
            }
            Ok(if report.is_red() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Err(error) => {
            let log = workplace.log();
            let end = std::fs::read_to_string(&log).unwrap_or_default();
            let end: Vec<&str> = end.lines().rev().take(LOG_LINES).collect();
            screen.say(&end.into_iter().rev().collect::<Vec<_>>().join("\n"));
            workplace.keep();
            Err(error.context(format!("the demo did not come to its end; the processor's log is {}", log.display())))
        }
    }
}

/// Between two looks at everything.
const STEP: Duration = Duration::from_millis(200);
/// For the processor to decide and deliver the rest, once the last span is sent: the longest hold, and a restart before it.
const SETTLE: Duration = Duration::from_secs(45);
/// Nothing arrives for so long: the processor has read what there is.
const STILL: Duration = Duration::from_secs(2);
/// Of the processor's log, shown where the demo fails.
const LOG_LINES: usize = 15;

/// A run under way.
struct Attendant<'a> {
    args: &'a Args,
    workplace: &'a Workplace,
    interrupt: &'a Interrupt,
    screen: &'a mut Screen,
    ledger: Arc<Mutex<Ledger>>,
    agents: Agents,
    processor: Processor,
    metrics: Metrics,
    meter: Meter,
    kill: Option<Kill>,
}

fn attend(
    args: &Args,
    seed: u64,
    broker: &Broker,
    workplace: &Workplace,
    interrupt: &Interrupt,
    screen: &mut Screen,
) -> anyhow::Result<Outcome> {
    let mut processor = Processor::start(workplace)?;
    processor.wait_until_ready(workplace, || interrupt.asked())?;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let reader = Reader::start(broker, ledger.clone())?;
    let agents = Agents::start(args, seed, broker, ledger.clone())?;
    let mut attendant = Attendant {
        args,
        workplace,
        interrupt,
        screen,
        ledger: ledger.clone(),
        agents,
        processor,
        metrics: Metrics::default(),
        meter: Meter::default(),
        kill: None,
    };
    attendant.flow()?;
    let settled = attendant.settle()?;
    let Attendant { agents, processor, metrics, mut kill, .. } = attendant;
    let acked = agents.sent();
    let sabotage = agents.finish()?;
    if let Some(kill) = &mut kill {
        let received = kill.received + metrics.count("tailwater_spans_received_total");
        kill.again = received.saturating_sub(acked.0);
    }
    let exit = match processor.terminate()? {
        Some((status, took)) if status.success() => Exit::Zero(took),
        Some((status, _)) => Exit::Other(status.to_string()),
        None => Exit::Never,
    };
    let dead_letters = reader.finish()?;
    let ledger = ledger.lock().expect("no holder panics");
    Ok(Outcome {
        sent: ledger.sent.clone(),
        seen: ledger.seen.clone(),
        findings: ledger.findings(),
        acked,
        dead_letters,
        exactly_once: !broker.is_embedded(),
        interrupted: interrupt.asked(),
        log: kill.as_ref().and_then(|kill| kill.back).filter(|_| broker.is_embedded()).map(|back| args.log_use(back)),
        kill,
        sabotage,
        held: settled.then(|| metrics.count("tailwater_traces_held")),
        own_lost: metrics.sum("tailwater_spans_lost", &[]),
        exit,
    })
}

// === impl Attendant ===

impl Attendant<'_> {
    /// Until the last span is sent.
    fn flow(&mut self) -> anyhow::Result<()> {
        while !self.agents.is_done() {
            if self.interrupt.asked() {
                self.agents.stop();
            } else if self.kill.is_none() && self.agents.elapsed() >= self.args.time / 2 {
                self.kill_and_restart()?;
            }
            self.look(if self.interrupt.asked() { "ending early" } else { "" })?;
        }
        Ok(())
    }

    /// Until the processor holds nothing; false where that takes too long.
    fn settle(&mut self) -> anyhow::Result<bool> {
        let started = Instant::now();
        let mut last = (Instant::now(), 0);
        while started.elapsed() < SETTLE {
            self.look("the last traces")?;
            let received = self.metrics.count("tailwater_spans_received_total");
            if received != last.1 {
                last = (Instant::now(), received);
            }
            let before = self.kill.as_ref().map_or(0, |kill| kill.received);
            let all = before + received >= self.agents.sent().0 && last.0.elapsed() >= STILL;
            let holds = self.metrics.sum("tailwater_traces_held", &[]);
            if all && holds == Some(0.0) && scrape::is_ready(self.workplace.port) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        let metrics = scrape::metrics(self.workplace.port).context("the processor's /metrics before the kill")?;
        let kept_spans = self.ledger.lock().expect("no holder panics").seen.spans;
        let kill = Kill {
            at: self.agents.elapsed(),
            received: metrics.count("tailwater_spans_received_total"),
            held_traces: metrics.count("tailwater_traces_held"),
            held_spans: metrics.count("tailwater_spans_held"),
            kept_spans,
            back: None,
            again: 0,
            most_again: self.args.most_reread(),
        };
        self.processor.kill()?;
        self.ledger.lock().expect("no holder panics").killed();
        self.processor = Processor::start(self.workplace)?;
        self.metrics = Metrics::default();
        self.screen.say(&format!(
            "{} SIGKILL: the processor held {} traces ({} spans) undecided; it is started again",
            clock(kill.at),
            thousands(kill.held_traces),
            thousands(kill.held_spans)
        ));
        self.kill = Some(kill);
        Ok(())
    }

    /// One step: looks at everything, and shows it.
    fn look(&mut self, phase: &str) -> anyhow::Result<()> {
        std::thread::sleep(STEP);
        if self.interrupt.insisted() {
            bail!("interrupted");
        }
        self.processor.check_alive()?;
        // A scrape that fails leaves the last numbers; the child is busy, or not yet there.
        if let Ok(metrics) = scrape::metrics(self.workplace.port) {
            self.metrics = metrics;
        }
        let restarting = self.kill.as_ref().is_some_and(|kill| kill.back.is_none());
        if restarting && scrape::is_ready(self.workplace.port) {
            let took = self.processor.started.elapsed();
            self.screen.say(&format!("{} ready again after {:.1} s", clock(self.agents.elapsed()), took.as_secs_f64()));
            self.kill.iter_mut().for_each(|kill| kill.back = Some(took));
        }
        let spans_per_second = self.meter.read(Instant::now(), self.metrics.count("tailwater_spans_received_total"));
        let (sent, seen) = {
            let ledger = self.ledger.lock().expect("no holder panics");
            (ledger.sent.clone(), ledger.seen.clone())
        };
        let phase = match (restarting, phase) {
            (true, _) => "killed, coming back",
            (false, "") => "flowing",
            (false, phase) => phase,
        };
        let view = View {
            phase,
            elapsed: self.agents.elapsed(),
            length: self.args.time,
            port: self.workplace.port,
            metrics: &self.metrics,
            spans_per_second,
            sent: &sent,
            seen: &seen,
        };
        let lines = view.lines(self.screen);
        self.screen.draw(&lines, &view.short());
        Ok(())
    }
}

fn introduce(args: &Args, seed: u64, broker: &Broker, workplace: &Workplace, screen: &mut Screen) {
    screen.say(&format!(
        "A shop of a dozen services sends {} spans/s for {}; half-way the processor is killed and started again.\n\
         {broker}\n\
         configuration {}, log {}, seed {seed}\n\
         the processor's own numbers are at {}",
        thousands(args.rate.into()),
        clock(args.time),
        workplace.config().display(),
        workplace.log().display(),
        scrape::url(workplace.port),
    ));
    if broker.is_embedded() {
        screen.say(&args.log_use(RESTART).to_string());
    }
    screen.say("waiting for the processor to be ready");
    if args.fault == Some(Fault::DropOneSpan) {
        screen.say("one span of a trace that must be kept is withheld from Kafka: this run must end red");
    }
}

fn conclude(outcome: &Outcome, report: &Report, broker: &Broker, screen: &mut Screen) {
    let Outcome { sent, seen, .. } = outcome;
    let mut text = format!(
        "\n{}\n\n{}\n",
        screen.paint(Ink::Bold, "What came out, against what was sent: ids and bytes of every span"),
        report.render(screen)
    );
    text.push_str(&format!(
        "  kept were {} of {} spans\n",
        thousands(seen.spans.saturating_sub(seen.doubled.iter().sum())),
        thousands(sent.spans)
    ));
    for (name, keeps) in rivals(sent) {
        text.push_str(&format!("  {name} would have kept {keeps}\n"));
    }
    if broker.is_embedded() {
        text.push_str(
            "\nThe embedded broker proves no durability, no transactions and no replication, and its log is 5 MiB a partition: \
             use --kafka HOST:PORT for a real one.\n",
        );
    }
    screen.say(&text);
    let (ink, word) = if report.is_red() {
        (Ink::Red, "✗ red: something above is wrong")
    } else {
        (Ink::Green, "✓ all as it should be")
    };
    let line = screen.paint(ink, word);
    screen.say(&line);
}
