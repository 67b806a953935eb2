//! The values written in a condition.

use std::ops::Range;

use super::Error;

/// Units of time and their nanoseconds. Source: Go's `time.ParseDuration`, whose syntax OTTL's `Duration("…")` has.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// What a string in double quotes says; `at` is where the quoted text stands. The escapes are Go's, as in OTTL:
/// `\\ \" \n \r \t \a \b \f \v \xHH \uHHHH \UHHHHHHHH`, with `\x` for ASCII only.
///
/// # Errors
/// At the escape that is none.
pub fn unquote(quoted: &str, at: &Range<usize>) -> Result<String, Error> {
    let mut rest = &quoted[1..quoted.len() - 1];
    let mut text = String::with_capacity(rest.len());
    while let Some(backslash) = rest.find('\\') {
        text.push_str(&rest[..backslash]);
        let tail = &rest[backslash..];
        let Some((c, len)) = escape(tail) else {
            let start = at.end - 1 - tail.len();
            let written: String = tail.chars().take(2).collect();
            return Err(Error::new(start..start + written.len(), format!("`{written}` is no escape"))
                .hint(format!("a backslash is written twice: `\\{written}`")));
        };
        text.push(c);
        rest = &tail[len..];
    }
    text.push_str(rest);
    Ok(text)
}

/// The character an escape stands for, and how long the escape is in bytes.
fn escape(text: &str) -> Option<(char, usize)> {
    let hex = |digits: usize| {
        let digits = text.get(2..2 + digits).filter(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit()))?;
        let code = u32::from_str_radix(digits, 16).ok()?;
        Some((char::from_u32(code)?, 2 + digits.len()))
    };
    let c = match text[1..].chars().next()? {
        c @ ('\\' | '"') => c,
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        'x' => return hex(2).filter(|(c, _)| c.is_ascii()),
        'u' => return hex(4),
        'U' => return hex(8),
        _ => return None,
    };
    Some((c, 2))
}

/// The bytes of `0x0af1`.
///
/// # Errors
/// Digits that are none, or half a byte.
pub fn bytes(text: &str, at: &Range<usize>) -> Result<Vec<u8>, Error> {
    hex(&text[2..]).ok_or_else(|| {
        Error::new(at.clone(), format!("`{text}` is not bytes"))
            .hint("bytes are `0x` and two hexadecimal digits for each")
    })
}

/// None where the text is not two hexadecimal digits for each byte, and at least one.
pub fn hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |c: &u8| char::from(*c).to_digit(16).map(|digit| digit as u8);
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty())
}

/// Nanoseconds of `1m30s`, `1.5h`, `250ms`; what is finer than a nanosecond is cut.
///
/// # Errors
/// A number without a unit, an unknown unit, more than 584 years.
pub fn duration(text: &str, at: &Range<usize>) -> Result<u64, Error> {
    let bad = |message: String| Error::new(at.clone(), message).hint("a duration is written `2s`, `1500ms` or `1m30s`");
    let mut rest = text;
    let mut total: u64 = 0;
    loop {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (number, tail) = rest.split_at(number);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        if number.is_empty() || unit.is_empty() {
            return Err(bad(format!("`{text}` is no duration")));
        }
        let Some((_, ns)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(bad(format!("`{unit}` is no unit of time")));
        };
        total = scaled(number, *ns)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| bad(format!("`{text}` is no duration this program can hold")))?;
        rest = tail;
        if rest.is_empty() {
            return Ok(total);
        }
    }
}

/// A decimal number times a unit, exactly. None where it is no number or the result does not fit.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // 18 digits fit 64 bits; further ones are below a nanosecond of every unit.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = u128::from(digits(fraction)?) * u128::from(unit) / 10_u128.pow(fraction.len() as u32);
    u64::try_from(u128::from(digits(whole)?) * u128::from(unit) + part).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unquotes_gos_escapes() {
        let unquoted = |text: &str| unquote(text, &(0..text.len()));
        assert_eq!(unquoted(r#""""#).unwrap(), "");
        assert_eq!(unquoted(r#""a\\d\"\n\t\x41\u00e4\U0001F600é""#).unwrap(), "a\\d\"\n\tAä😀é");
        for (bad, at) in
            [(r#""^\d+""#, 2..4), (r#""\x80""#, 1..3), (r#""\u12""#, 1..3), (r#""\u+123""#, 1..3), (r#""\é""#, 1..4)]
        {
            assert_eq!(unquoted(bad).unwrap_err().at, at, "{bad}");
        }
        assert_eq!(unquoted(r#""^\d""#).unwrap_err().hint.unwrap(), r"a backslash is written twice: `\\d`");
    }

    #[test]
    fn reads_durations_exactly() {
        let read = |text: &str| duration(text, &(0..text.len())).ok();
        for (text, ns) in [
            ("2s", 2_000_000_000),
            ("1500ms", 1_500_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".1us", 100),
            ("0.1234567891s", 123_456_789),
            ("1µs1μs", 2_000),
            ("0s", 0),
        ] {
            assert_eq!(read(text), Some(ns), "{text}");
        }
        for text in ["", "2", "s", "2d", "1.2.3s", ".s", "1s2", "-1s", "600000000000s", "99999999999999999999s"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
