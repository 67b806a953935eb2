//! What the demo is asked for, and whether that fits.

use std::{fmt, time::Duration};

use anyhow::{Context, bail, ensure};

use crate::generate::Shape;

/// See the processor at work, with no prerequisites
///
/// An embedded broker, a shop's traffic, and the processor as a child that is killed half-way and started again. At the end a table
/// checks what came out against what was sent; the exit code is 1 where anything is wrong.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 all is as it must be, 1 it is not, or something went wrong, 2 the command line has mistakes."
)]
pub struct Args {
    /// How long traffic flows: 60s, 5m. The processor is killed half-way
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(super) time: Duration,
    /// Use a real broker instead of the embedded one; topics are created under a name of this run and deleted at the end
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) kafka: Option<String>,
    /// Spoil the run on purpose, to see the check turn red
    #[arg(long = "break", value_name = "HOW")]
    pub(super) fault: Option<Fault>,
    /// Spans a second
    #[arg(long, value_name = "N", default_value_t = 4_000)]
    pub(super) rate: u32,
    /// The same seed gives the same traces, but for the clock; printed at the start
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Fault {
    /// One span of a trace that must be kept never reaches Kafka
    DropOneSpan,
}

/// Of the input topic: on the embedded broker the log is bounded by the partition, so there are many.
pub(super) const PARTITIONS: i32 = 32;
/// `completion.quiet` and `completion.max_wait` of the processor.
pub(super) const QUIET: Duration = Duration::from_secs(1);
pub(super) const MAX_WAIT: Duration = Duration::from_secs(6);
/// `session.timeout.ms` of the processor: how long its group waits for a member that was killed. The least a Kafka broker allows.
pub(super) const SESSION: Duration = Duration::from_secs(6);
/// From the kill until the input is read again: the session, then a rebalance; 12 s on the embedded broker, and slack for a busy machine.
pub(super) const RESTART: Duration = Duration::from_secs(20);

/// How much of a partition's log is in use between a span's arrival and the end of its need.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogUse {
    pub rate: u32,
    pub window: Duration,
    /// Bytes of one partition's log, taken by `window` of traffic.
    pub bytes: u64,
}

/// librdkafka's mock broker keeps this of a partition, then loses the oldest without a word (`rd_kafka_mock_partition_new`).
const MOCK_LOG_BYTES: u64 = 5 << 20;
/// A span's share of a keyed record with key, framing and a batch of its own; a test measures it.
const LOG_BYTES_PER_SPAN: u64 = 700;
/// What a restart may read again is what was undecided: the longest hold, and 3 s for the tick, its commit and a busy machine.
const REREAD: Duration = MAX_WAIT.saturating_add(Duration::from_secs(3));
/// Below, what a restart may read again is about all there was before the kill, and no bound on it says anything.
const SHORTEST: Duration = Duration::from_secs(30);
/// The ledger holds what must be kept: some 4 % of the spans at 40 bytes each, so 80 MB at most.
const MOST_SPANS: u64 = 50_000_000;
const LONGEST: Duration = Duration::from_secs(3600);
/// Below, the kill may come when no trace is undecided, or none was kept yet.
const LOWEST_RATE: u32 = 500;
/// What one generator thread is sure to manage.
const HIGHEST_RATE: u32 = 100_000;

// === impl Args ===

impl Args {
    /// Refuses what cannot be run or checked.
    ///
    /// # Errors
    /// What does not fit, and what would.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.time >= SHORTEST,
            "--for {:?} is too short to be killed half-way: at least {SHORTEST:?}",
            self.time
        );
        ensure!(self.time <= LONGEST, "--for {:?} is too long: at most {LONGEST:?}", self.time);
        ensure!(
            (LOWEST_RATE..=HIGHEST_RATE).contains(&self.rate),
            "--rate {} is not within {LOWEST_RATE}..={HIGHEST_RATE}",
            self.rate
        );
        let spans = u64::from(self.rate) * self.time.as_secs();
        ensure!(
            spans <= MOST_SPANS,
            "--for × --rate is {spans} spans; what must be kept of at most {MOST_SPANS} is remembered"
        );
        if self.kafka.is_none() {
            let log = self.log_use(RESTART);
            let most = HIGHEST_RATE.min((LogUse::ROOM / LogUse::of(1000, log.window).bytes * 1000) as u32);
            ensure!(log.fits(), "{log}: too much; take --rate {most} or less, or a real broker with --kafka");
        }
        Ok(())
    }

    /// From a span's arrival, held for long, over a restart.
    pub(super) fn log_use(&self, restart: Duration) -> LogUse {
        LogUse::of(self.rate, MAX_WAIT + restart)
    }

    /// Spans that a restart may read again.
    pub(super) fn most_reread(&self) -> u64 {
        u64::from(self.rate) * REREAD.as_secs()
    }

    /// Traffic whose every root has ended a second and more before `MAX_WAIT`, for agents that are held up on a busy machine.
    pub(super) fn shape(&self, epoch_ns: u64) -> Shape {
        Shape {
            epoch_ns,
            spans_per_second: f64::from(self.rate),
            slow_ms: 2_200..3_200,
            calm_ms: 1_500,
            late_ms: 1_500..3_500,
            // A minute should show some of the kept.
            late_share: 0.06,
            ..Shape::default()
        }
    }
}

// === impl LogUse ===

impl LogUse {
    /// Half, because traces fall on partitions unevenly and a busy machine may be slower than thought.
    pub const ROOM: u64 = MOCK_LOG_BYTES / 2;

    fn of(rate: u32, window: Duration) -> Self {
        let bytes = u64::from(rate) * LOG_BYTES_PER_SPAN * window.as_millis() as u64 / 1000 / PARTITIONS as u64;
        Self { rate, window, bytes }
    }

    pub fn fits(&self) -> bool {
        self.bytes <= Self::ROOM
    }
}

impl fmt::Display for LogUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} spans/s × {LOG_BYTES_PER_SPAN} B × ({} s held + {} s to restart) ÷ {PARTITIONS} partitions = {:.2} MiB of log, \
             half of the embedded broker's {} MiB allowed",
            self.rate,
            MAX_WAIT.as_secs(),
            self.window.saturating_sub(MAX_WAIT).as_secs(),
            self.bytes as f64 / f64::from(1 << 20),
            MOCK_LOG_BYTES >> 20,
        )
    }
}

/// `90`, `90s`, `5m`, `1h`.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().with_context(|| format!("`{text}` is not a time such as 60s or 5m"))?;
    let seconds = match &text[digits.len()..] {
        "" | "s" => number,
        "m" => number.saturating_mul(60),
        "h" => number.saturating_mul(3600),
        unit => bail!("unknown unit `{unit}`: s, m or h"),
    };
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;
    use crate::generate::{Record, Traffic, keyed};

    /// Of a record batch, and of a record in it at most. Source: `rdkafka_proto.h`, `RD_KAFKAP_MSGSET_V2_SIZE` and
    /// `RD_KAFKAP_MESSAGE_V2_MAX_OVERHEAD`.
    const FRAMING: usize = 61 + 36;

    fn parse(line: &str) -> anyhow::Result<Args> {
        let command = Args::augment_args(clap::Command::new("demo"));
        Ok(Args::from_arg_matches(&command.try_get_matches_from(format!("demo {line}").split_whitespace())?)?)
    }

    #[test]
    fn the_defaults_fit() {
        let args = parse("").unwrap();
        args.check().unwrap();
        assert_eq!(args.time, Duration::from_secs(60));
        let shape = args.shape(0);
        assert!(
            shape.slow_ms.end + shape.calm_ms + 1_000 < MAX_WAIT.as_millis() as u64,
            "a slow root comes before max_wait"
        );
        assert!(shape.late_ms.start > QUIET.as_millis() as u64, "a late span comes after the verdict");
    }

    #[test]
    fn a_span_takes_no_more_of_the_log_than_is_reckoned() {
        let traffic = Traffic::new(1, parse("").unwrap().shape(0)).take(5_000);
        let (bytes, spans) = keyed(traffic).fold((0, 0), |(bytes, spans), Record { key, value, spans: held, .. }| {
            (bytes + FRAMING + key.map_or(0, |key| key.len()) + value.len(), spans + held.len())
        });
        let most = LOG_BYTES_PER_SPAN as usize;
        assert!((most * 8 / 10..=most).contains(&(bytes / spans)), "{} B a span", bytes / spans);
    }

    #[test]
    fn the_log_in_use_grows_with_the_restart() {
        let args = parse("").unwrap();
        assert!(args.log_use(RESTART).fits());
        assert!(args.log_use(RESTART + Duration::from_millis(500)).bytes > args.log_use(RESTART).bytes);
        assert!(!args.log_use(RESTART * 3).fits());
    }

    #[test]
    fn the_shortest_run_can_show_too_much_read_again() {
        assert!(REREAD < SHORTEST / 2);
        assert!(REREAD > MAX_WAIT);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        parse("--for 30s --rate 500").unwrap().check().unwrap();
        assert!(parse("--rate 499").unwrap().check().is_err());
        assert!(parse("--for 29s").unwrap().check().unwrap_err().to_string().contains("too short"));
        assert!(parse("--for 2h").unwrap().check().unwrap_err().to_string().contains("too long"));
        let refused = parse("--rate 20000").unwrap().check().unwrap_err().to_string();
        assert!(refused.contains("÷ 32 partitions"), "{refused}");
        parse("--rate 20000 --kafka localhost:9092").unwrap().check().unwrap();
        assert!(
            parse("--rate 100000 --for 1h --kafka k:1")
                .unwrap()
                .check()
                .unwrap_err()
                .to_string()
                .contains("remembered")
        );
        assert!(parse("--break drop-two-spans").is_err());
        assert!(parse("--for soon").is_err());
        assert_eq!(parse("--for 2m --break drop-one-span").unwrap().fault, Some(Fault::DropOneSpan));
    }
}
