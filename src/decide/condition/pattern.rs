//! Regular expressions in conditions.

use std::{
    hash::{Hash, Hasher},
    io::Write,
};

use regex::bytes::{Regex, RegexBuilder};

use crate::decode::Value;

/// Compiled, at most so many bytes: ten times what the patterns of real policies take, and with the bound on their number
/// at most 1 GiB.
const SIZE_LIMIT: usize = 1 << 20;
/// Nested groups, far beyond what a person writes; the compiler of patterns is recursive.
const NEST_LIMIT: u32 = 64;

/// A pattern that matches anywhere in a text, in RE2's syntax. A clone has its own working memory: threads that share
/// one pattern wait for each other, so each has its own clone.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

// === impl Pattern ===

impl Pattern {
    /// # Errors
    /// What is wrong with the pattern, on one line.
    pub fn new(pattern: &str) -> Result<Self, String> {
        match RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).nest_limit(NEST_LIMIT).build() {
            Ok(regex) => Ok(Self(regex)),
            Err(regex::Error::CompiledTooBig(limit)) => Err(format!("takes more than {limit} bytes when compiled")),
            Err(error) => {
                // The message draws the pattern over several lines; its last one says what is wrong.
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                Err(last.trim_start_matches("error: ").to_owned())
            }
        }
    }

    /// OTTL's `IsMatch`: numbers and booleans are matched as they are written; nil, and a list, map or bytes, never match.
    pub fn is_match(&self, value: Value<'_>) -> bool {
        text(value, &mut [0; 32]).is_some_and(|text| self.0.is_match(text))
    }
}

/// Equal patterns are matched once.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

/// A value as it is written, in `digits` where it is a number; nil, lists, maps, bytes and what is no number have no text.
pub fn text<'t>(value: Value<'t>, digits: &'t mut [u8; 32]) -> Option<&'t [u8]> {
    Some(match value {
        Value::Str(text) => text,
        Value::Bool(true) => b"true",
        Value::Bool(false) => b"false",
        Value::Int(int) => written(digits, format_args!("{int}")),
        // As JSON has it: digits as long as they are readable, then an exponent with its sign.
        Value::Double(double) if !double.is_finite() => return None,
        Value::Double(double) => match double.abs() {
            1e21.. => {
                let plain = written(digits, format_args!("{double:e}")).len();
                let e = digits[..plain].iter().position(|&c| c == b'e').unwrap_or(plain);
                digits[e + 1..].rotate_right(1);
                digits[e + 1] = b'+';
                &digits[..plain + 1]
            }
            size if size < 1e-6 && size > 0.0 => written(digits, format_args!("{double:e}")),
            _ => written(digits, format_args!("{double}")),
        },
        Value::Nil | Value::Bytes(_) | Value::List(_) | Value::Map(_) => return None,
    })
}

/// The longest number, -1.2345678901234567e-308, has 24 bytes; one more is left for a sign.
fn written<'b>(buffer: &'b mut [u8; 32], number: std::fmt::Arguments<'_>) -> &'b [u8] {
    let mut left = &mut buffer[..];
    // Writing to a slice fails only where the slice ends, and then what fits is matched.
    let _ = left.write_fmt(number);
    let len = 32 - left.len();
    &buffer[..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_what_ottl_matches() {
        let matches = |pattern: &str, value: Value<'_>| Pattern::new(pattern).unwrap().is_match(value);
        let table: &[(Value<'_>, &str)] = &[
            (Value::Str(b"GET /healthz"), "healthz$"),
            (Value::Str(b"\xff\xfe x"), "x"),
            (Value::Int(503), "^5..$"),
            (Value::Int(i64::MIN), "^-9223372036854775808$"),
            (Value::Bool(true), "^true$"),
            (Value::Double(0.5), r"^0\.5$"),
            (Value::Double(3.0), "^3$"),
            (Value::Double(-0.0000015), r"^-0\.0000015$"),
            (Value::Double(1.5e-7), r"^1\.5e-7$"),
            (Value::Double(-1.2345678901234567e300), r"^-1\.2345678901234567e\+300$"),
            (Value::Double(1e20), "^100000000000000000000$"),
            (Value::Double(1e21), r"^1e\+21$"),
        ];
        for (value, pattern) in table {
            assert!(matches(pattern, *value), "{value:?} {pattern}");
        }
        for value in [Value::Nil, Value::Double(f64::NAN), Value::Bytes(b"a"), Value::List(b""), Value::Map(b"")] {
            assert!(!matches("", value), "{value:?}");
        }
    }

    #[test]
    fn refuses_what_is_too_big_or_wrong() {
        assert_eq!(Pattern::new("(a").unwrap_err(), "unclosed group");
        assert_eq!(
            Pattern::new(r"(?=a)").unwrap_err(),
            "look-around, including look-ahead and look-behind, is not supported"
        );
        assert!(Pattern::new(r"\w{1000}").unwrap_err().contains("when compiled"));
        assert!(Pattern::new(&"(".repeat(100)).is_err());
    }
}
