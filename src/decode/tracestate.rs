//! The W3C trace state, and OpenTelemetry's entry in it.

use crate::model::Randomness;

/// The explicit randomness `rv` of the `ot` vendor entry: exactly 14 hex digits, lower-case.
/// Source: OpenTelemetry, "TraceState Handling". Anything else counts as absent.
pub fn explicit_randomness(trace_state: &[u8]) -> Option<Randomness> {
    let entry = trace_state_entry(trace_state, b"ot")?;
    let digits = entry.split(|&c| c == b';').find_map(|pair| pair.strip_prefix(b"rv:"))?;
    if digits.len() != 14 || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok().map(Randomness)
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
}
