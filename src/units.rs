//! Texts with units: durations, sizes, probabilities, dates.

use std::time::Duration;

use jiff::{Timestamp, civil::Date, tz::Offset};

use crate::{diagnostic::Diagnostics, model::RecordTime, yaml::Node};

/// `500ms`, `2s`, `1m30s`, `1.5h`: numbers with units, large before small, to the millisecond.
///
/// # Errors
/// Anything else: also a bare number, 0 too, and what is not a whole number of milliseconds or does not fit 64 bits of them.
pub fn duration(text: &str) -> Result<Duration, Mistake> {
    if number(text).is_some() {
        return Err(Mistake::new(format!("`{text}` has no unit"), format!("did you mean {text}s?")));
    }
    let no_duration = || Mistake::new(format!("`{text}` is not a duration"), "write 500ms, 2s, 1m30s, 10m or 1h");
    let (mut rest, mut total, mut larger) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(digits(rest));
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len()));
        let scale = MILLISECONDS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
        let (Some(number), Some(scale)) = (number(digits), scale) else { return Err(no_duration()) };
        if scale >= larger {
            return Err(no_duration());
        }
        let part = number.times(scale).map_err(|wrong| wrong.mistake(text, "a millisecond"))?;
        total = total.checked_add(part).ok_or_else(|| Wrong::TooLarge.mistake(text, ""))?;
        (rest, larger) = (after, scale);
    }
    if text.is_empty() { Err(no_duration()) } else { Ok(Duration::from_millis(total)) }
}

/// Bytes: `4096`, `5MB`, `64MiB`, `1.5GiB`.
///
/// # Errors
/// Anything else: also what is not a whole number of bytes or does not fit 64 bits.
pub fn size(text: &str) -> Result<u64, Mistake> {
    let (digits, unit) = text.split_at(digits(text));
    let (Some(number), Some((_, scale))) = (number(digits), BYTES.iter().find(|(name, _)| *name == unit)) else {
        let same =
            |name: &str| name.eq_ignore_ascii_case(unit) || name.strip_suffix('B').is_some_and(|name| name == unit);
        let hint = match BYTES.iter().find(|(name, _)| !unit.is_empty() && number(digits).is_some() && same(name)) {
            Some((meant, _)) => format!("did you mean {digits}{meant}?"),
            None => "write 4096, 5MB, 64MiB or 1GiB".into(),
        };
        return Err(Mistake::new(format!("`{text}` is not a size"), hint));
    };
    number.times(*scale).map_err(|wrong| wrong.mistake(text, "a byte"))
}

/// `1%`, `0.01`, `1/100`, from 0 to 1.
///
/// # Errors
/// Anything else: also a bare 1 or more, which may be meant as per cent.
pub fn probability(text: &str) -> Result<f64, Mistake> {
    let no_probability = || Mistake::new(format!("`{text}` is not a probability"), "write 1%, 0.01 or 1/100");
    let float = |text: &str| number(text).and_then(|_| text.parse::<f64>().ok());
    let value = if let Some(percent) = text.strip_suffix('%') {
        float(percent).ok_or_else(no_probability)? / 100.0
    } else if let Some((part, whole)) = text.split_once('/') {
        let (part, whole) = (float(part).ok_or_else(no_probability)?, float(whole).ok_or_else(no_probability)?);
        if whole == 0.0 {
            return Err(no_probability());
        }
        part / whole
    } else {
        let value = float(text).ok_or_else(no_probability)?;
        if (1.0..=100.0).contains(&value) {
            let hint = format!("did you mean {text}%? all is 100%");
            return Err(Mistake::new(format!("`{text}` could be per cent or all"), hint));
        }
        value
    };
    if value > 1.0 {
        return Err(Mistake::new(format!("`{text}` is more than all"), "write 100% or less"));
    }
    Ok(value)
}

/// `0.999`, `99.9%`: a share of traces that are less, between 0 and 1.
///
/// # Errors
/// Anything else.
pub fn quantile(text: &str) -> Result<f64, Mistake> {
    let no_quantile = || Mistake::new(format!("`{text}` is not a quantile"), "write 0.999, or 99.9%");
    let value = probability(text).map_err(|_| no_quantile())?;
    if value > 0.0 && value < 1.0 { Ok(value) } else { Err(no_quantile()) }
}

/// A duration in which something is learned or counted, from a minute to a day, in milliseconds.
///
/// # Errors
/// Anything else.
pub fn window(text: &str) -> Result<u64, Mistake> {
    let window = duration(text)?;
    if (Duration::from_secs(60)..=Duration::from_secs(86_400)).contains(&window) {
        return Ok(window.as_millis() as u64);
    }
    Err(Mistake::new(format!("`{text}` is not from 1m to 24h"), "write such as 10m"))
}

/// A number of traces that is kept at least.
///
/// # Errors
/// Anything else.
pub fn floor(text: &str) -> Result<u32, Mistake> {
    let floor = text.parse().ok().filter(|floor| (1..=1000).contains(floor));
    floor.ok_or_else(|| Mistake::new(format!("`{text}` is no number of traces"), "write 1 to 1000"))
}

/// A number of something in a second, above 0.
///
/// # Errors
/// Anything else.
pub fn per_second(text: &str) -> Result<f64, Mistake> {
    let number = text.parse().ok().filter(|number| (0.001..=1e9).contains(number));
    number.ok_or_else(|| Mistake::new(format!("`{text}` is no number a second"), "write such as 200, or 0.5"))
}

/// A number of bytes in a second, above 0.
///
/// # Errors
/// Anything else.
pub fn bytes_per_second(text: &str) -> Result<f64, Mistake> {
    let size = size(text)?;
    if size > 0 { Ok(size as f64) } else { Err(Mistake::new("nothing a second", "write such as 10MiB")) }
}

/// How much longer something may be waited for, up to ten minutes, in milliseconds.
///
/// # Errors
/// Anything else.
pub fn wait(text: &str) -> Result<u64, Mistake> {
    let wait = duration(text)?;
    if wait <= Duration::from_secs(600) {
        return Ok(wait.as_millis() as u64);
    }
    Err(Mistake::new(format!("`{text}` is more than 10m"), "write such as 5s, or 0s"))
}

/// How much of a rate may be saved up, in seconds: from one to ten minutes.
///
/// # Errors
/// Anything else.
pub fn burst(text: &str) -> Result<f64, Mistake> {
    let burst = duration(text)?;
    if (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&burst) {
        return Ok(burst.as_secs_f64());
    }
    Err(Mistake::new(format!("`{text}` is not from 1s to 10m"), "write such as 5s"))
}

/// The last millisecond of a date, in UTC, or of a moment: `2026-12-24`, `2026-12-24T18:00:00Z`, `2026-12-24T19:00:00+01:00`.
///
/// # Errors
/// Anything else: also a time without an offset.
pub fn until(text: &str) -> Result<RecordTime, Mistake> {
    if let Ok(date) = Date::strptime("%Y-%m-%d", text) {
        let last = Offset::UTC.to_timestamp(date.at(23, 59, 59, 999_000_000));
        let last = last.map_err(|_| Mistake::new(format!("`{text}` is too far away"), "write a nearer date"))?;
        return Ok(RecordTime(last.as_millisecond()));
    }
    match (text.parse::<Timestamp>(), format!("{text}Z").parse::<Timestamp>()) {
        (Ok(moment), _) => Ok(RecordTime(moment.as_millisecond())),
        (_, Ok(_)) => Err(Mistake::new(format!("`{text}` has no offset from UTC"), format!("did you mean {text}Z?"))),
        _ => Err(Mistake::new(format!("`{text}` is no date"), "write 2026-12-24 or 2026-12-24T18:00:00Z")),
    }
}

/// Nanoseconds in the largest unit that fits: `1.5s`, `250ms`.
pub fn nanoseconds(ns: u64) -> String {
    format!("{:?}", Duration::from_nanos(ns))
}

/// A field's value by one of the above. None, and an error at the node, where it is wrong. `what`: "`quiet`".
pub fn read<T>(
    node: &Node,
    what: &str,
    parse: fn(&str) -> Result<T, Mistake>,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    match parse(node.as_str(what, diagnostics)?) {
        Ok(value) => Some(value),
        Err(mistake) => {
            diagnostics.error(&node.at, format!("{what}: {}", mistake.message)).hint(mistake.hint);
            None
        }
    }
}

/// What is wrong with a text, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct Mistake {
    pub message: String,
    pub hint: String,
}

const MILLISECONDS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

const BYTES: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// A decimal number, exactly: the digits without the point, and how many stood behind it.
struct Number {
    digits: u64,
    behind: u32,
}

enum Wrong {
    TooLarge,
    TooFine,
}

/// How many bytes at the beginning may be a number.
fn digits(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len())
}

/// None unless the text is digits with at most one point between them, of at most 18: more do not fit.
fn number(text: &str) -> Option<Number> {
    let (before, behind) = text.split_once('.').unwrap_or((text, "0"));
    let decimal = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !decimal(before) || !decimal(behind) || before.len() + behind.len() > 19 {
        return None;
    }
    let digits = format!("{before}{behind}").parse().ok()?;
    Some(Number { digits, behind: u32::try_from(behind.len()).ok()? })
}

// === impl Number ===

impl Number {
    fn times(&self, scale: u64) -> Result<u64, Wrong> {
        let (whole, tens) = (u128::from(self.digits) * u128::from(scale), 10_u128.pow(self.behind));
        if whole % tens != 0 {
            return Err(Wrong::TooFine);
        }
        u64::try_from(whole / tens).map_err(|_| Wrong::TooLarge)
    }
}

// === impl Wrong ===

impl Wrong {
    fn mistake(&self, text: &str, grain: &str) -> Mistake {
        match self {
            Self::TooLarge => Mistake::new(format!("`{text}` is too large"), "write a smaller one"),
            Self::TooFine => Mistake::new(
                format!("`{text}` is not a whole number of the smallest unit"),
                format!("the smallest is {grain}"),
            ),
        }
    }
}

// === impl Mistake ===

impl Mistake {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrong<T: std::fmt::Debug>(result: Result<T, Mistake>) -> String {
        result.expect_err("a mistake").to_string()
    }

    #[test]
    fn durations() {
        let ms = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("2s"), Ok(2000));
        assert_eq!(ms("1m30s"), Ok(90_000));
        assert_eq!(ms("10m"), Ok(600_000));
        assert_eq!(ms("1.5h"), Ok(5_400_000));
        assert_eq!(ms("0s"), Ok(0));
        assert_eq!(wrong(duration("30")), "`30` has no unit; did you mean 30s?");
        assert_eq!(wrong(duration("0")), "`0` has no unit; did you mean 0s?");
        assert_eq!(
            wrong(duration("0.5ms")),
            "`0.5ms` is not a whole number of the smallest unit; the smallest is a millisecond"
        );
        assert_eq!(wrong(duration("99999999999999999h")), "`99999999999999999h` is too large; write a smaller one");
        for text in ["", "s", "2 s", "2S", "1d", "30s1m", "1s1s", "-1s", "1s ", "1m30", "1..5s", ".5s", "auto", "2ß"] {
            assert!(wrong(duration(text)).contains("is not a duration; write 500ms"), "{text}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("0B"), Ok(0));
        assert_eq!(size("5MB"), Ok(5_000_000));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1.5GiB"), Ok(3 << 29));
        assert_eq!(size("2TiB"), Ok(2 << 40));
        assert_eq!(wrong(size("1Gi")), "`1Gi` is not a size; did you mean 1GiB?");
        assert_eq!(wrong(size("1gb")), "`1gb` is not a size; did you mean 1GB?");
        assert_eq!(wrong(size("1G")), "`1G` is not a size; did you mean 1GB?");
        assert_eq!(wrong(size("all")), "`all` is not a size; write 4096, 5MB, 64MiB or 1GiB");
        assert_eq!(wrong(size("0.3B")), "`0.3B` is not a whole number of the smallest unit; the smallest is a byte");
        assert_eq!(wrong(size("999999999TiB")), "`999999999TiB` is too large; write a smaller one");
        for text in ["", "-1", "1 GiB", "GiB", "1.GiB", "99999999999999999999"] {
            assert!(wrong(size(text)).contains("is not a size"), "{text}");
        }
    }

    #[test]
    fn probabilities() {
        assert_eq!(probability("1%"), Ok(0.01));
        assert_eq!(probability("0.01"), Ok(0.01));
        assert_eq!(probability("1/100"), Ok(0.01));
        assert_eq!(probability("0"), Ok(0.0));
        assert_eq!(probability("100%"), Ok(1.0));
        assert_eq!(probability("1/1"), Ok(1.0));
        assert_eq!(wrong(probability("1")), "`1` could be per cent or all; did you mean 1%? all is 100%");
        assert_eq!(wrong(probability("10")), "`10` could be per cent or all; did you mean 10%? all is 100%");
        assert_eq!(wrong(probability("101%")), "`101%` is more than all; write 100% or less");
        assert_eq!(wrong(probability("1000")), "`1000` is more than all; write 100% or less");
        for text in ["", "%", "1/0", "-0.1", "nan", "inf", "1e-3", "1 %", "one"] {
            assert!(wrong(probability(text)).contains("is not a probability; write 1%"), "{text}");
        }
    }

    #[test]
    fn dates() {
        let ms = |text| until(text).map(|RecordTime(ms)| ms);
        assert_eq!(ms("1970-01-01"), Ok(86_399_999), "the whole day");
        assert_eq!(ms("2026-12-24"), Ok(1_798_156_799_999));
        assert_eq!(ms("2024-02-29"), Ok(1_709_251_199_999));
        assert_eq!(ms("2026-12-24T18:00:00Z"), Ok(1_798_135_200_000));
        assert_eq!(ms("2026-12-24t18:00:00.5z"), Ok(1_798_135_200_500));
        assert_eq!(ms("2026-12-24T19:00:00+01:00"), Ok(1_798_135_200_000));
        assert_eq!(
            wrong(until("2026-12-24T18:00:00")),
            "`2026-12-24T18:00:00` has no offset from UTC; did you mean 2026-12-24T18:00:00Z?"
        );
        assert_eq!(wrong(until("9999-12-31")), "`9999-12-31` is too far away; write a nearer date");
        for text in ["", "tomorrow", "2026-02-29", "2026-13-01", "24.12.2026", "2026-12", "10m", "1798135200", "18:00"]
        {
            assert!(wrong(until(text)).contains("is no date; write 2026-12-24 or"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "([0-9.]{0,22}|ms|[smhTZ]|[KMGT]iB|%|/|-|:|\\PC){0,9}") {
            let _ = duration(&text);
            let _ = size(&text);
            let _ = until(&text);
            if let Ok(value) = probability(&text) {
                prop_assert!((0.0..=1.0).contains(&value));
            }
        }

        #[test]
        fn what_is_written_is_read(hours in 0_u64..1000, minutes in 0_u64..60, ms in 0_u64..60_000, mib in 0_u64..1 << 40, whole in 1_u64..1_000_000) {
            let text = format!("{hours}h{minutes}m{}.{:03}s", ms / 1000, ms % 1000);
            prop_assert_eq!(duration(&text), Ok(Duration::from_millis((hours * 60 + minutes) * 60_000 + ms)));
            prop_assert_eq!(size(&format!("{mib}MiB")), Ok(mib << 20));
            prop_assert_eq!(probability(&format!("1/{whole}")), Ok(1.0 / whole as f64));
        }
    }
}
