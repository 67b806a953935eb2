//! The W3C trace state, and OpenTelemetry's entry in it.

use crate::model::{Randomness, Threshold};

/// The key of OpenTelemetry's entry.
pub const OT: &[u8] = b"ot";

/// A `th` that is no threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoThreshold;

/// The explicit randomness `rv` of the `ot` vendor entry: exactly 14 hex digits, lower-case.
/// Source: OpenTelemetry, "TraceState Handling". Anything else counts as absent.
pub fn explicit_randomness(trace_state: &[u8]) -> Option<Randomness> {
    let digits = ot_value(trace_state, b"rv:")?;
    if digits.len() == 14 { hexadecimal(digits).map(Randomness) } else { None }
}

/// The sampling threshold `th` of the `ot` vendor entry: 1 to 14 hex digits, lower-case, of which zeros at the end may be
/// left out. Source: as above.
///
/// # Errors
/// There is one, and it is none of these.
pub fn explicit_threshold(trace_state: &[u8]) -> Result<Option<Threshold>, NoThreshold> {
    match ot_value(trace_state, b"th:") {
        None => Ok(None),
        Some(digits) if (1..=14).contains(&digits.len()) => {
            let number = hexadecimal(digits).ok_or(NoThreshold)?;
            Ok(Some(Threshold(number << (4 * (14 - digits.len())))))
        }
        Some(_) => Err(NoThreshold),
    }
}

/// What stands behind a key of the `ot` entry; the key is given with its colon.
fn ot_value<'a>(trace_state: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    trace_state_entry(trace_state, OT)?.split(|&c| c == b';').find_map(|pair| pair.strip_prefix(key))
}

/// Of at most 16 lower-case digits.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, &digit| match digit {
        b'0'..=b'9' | b'a'..=b'f' => Some(number << 4 | u64::from((digit as char).to_digit(16)?)),
        _ => None,
    })
}

/// The value of a vendor's entry.
#[inline]
pub fn trace_state_entry<'a>(trace_state: &'a [u8], vendor: &[u8]) -> Option<&'a [u8]> {
    trace_state.split(|&c| c == b',').find_map(|entry| entry.trim_ascii().strip_prefix(vendor)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rv_and_nothing_else() {
        assert_eq!(explicit_randomness(b"a=b, ot=th:8;rv:4000000000000c ,c=d"), Some(Randomness(0x40_0000_0000_000c)));
        for absent in [
            &b""[..],
            b"ot=th:8",
            b"ot=rv:4000",
            b"ot=rv:zz000000000000",
            b"ot=rv:4000000000000C",
            b"xot=rv:40000000000000",
            b"ot=rv:+0000000000000",
        ] {
            assert_eq!(explicit_randomness(absent), None, "{}", absent.escape_ascii());
        }
    }

    #[test]
    fn reads_th_and_nothing_else() {
        let th = |digits: &str| explicit_threshold(format!("a=b, ot=rv:4000000000000c;th:{digits} ,c=d").as_bytes());
        for (digits, threshold) in [("0", 0), ("8", 1 << 55), ("c000", 3 << 54), ("ffffffffffffff", (1 << 56) - 1)] {
            assert_eq!(th(digits), Ok(Some(Threshold(threshold))), "{digits}");
        }
        for wrong in ["", "g", "8 0", "A", "+1", "0x8", "000000000000000"] {
            assert_eq!(th(wrong), Err(NoThreshold), "{wrong}");
        }
        for absent in [&b""[..], b"ot=rv:40000000000000", b"ot=th", b"xot=th:8", b"ot="] {
            assert_eq!(explicit_threshold(absent), Ok(None), "{}", absent.escape_ascii());
        }
    }
}
