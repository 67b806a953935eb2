//! A trace state with another sampling threshold in it.
//!
//! Sources: W3C, "Trace Context", `tracestate`; OpenTelemetry, "TraceState Handling".

use crate::{
    decode::{OT, trace_state_entry},
    model::{Randomness, Threshold},
};

/// What the `ot` entry is to say of sampling, all else in it as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    /// None: it says nothing.
    pub threshold: Option<Threshold>,
    /// Where it is to say one that it does not say yet.
    pub randomness: Option<Randomness>,
}

/// Members of a list. More of them, and the list as a whole may be dropped by who reads it.
const MEMBERS: usize = 32;
/// Bytes of the value of the `ot` entry.
const VALUE: usize = 256;

/// Writes a trace state anew: OpenTelemetry's entry first, as what has changed has to be, then those of others as they came; where
/// they are too many the last go. False where the entry has no room for the threshold; then there is none in it.
pub fn put(trace_state: &[u8], sampling: Sampling, out: &mut Vec<u8>) -> bool {
    let Sampling { threshold, randomness } = sampling;
    let start = out.len();
    let entry = trace_state_entry(trace_state, OT).unwrap_or_default();
    out.extend_from_slice(OT);
    out.push(b'=');
    let value = out.len();
    for pair in entry.split(|&c| c == b';').filter(|pair| !pair.is_empty() && !pair.starts_with(b"th:")) {
        put_pair(value, pair, out);
    }
    let others = out.len();
    if let Some(randomness) = randomness {
        put_pair(value, b"rv:", out);
        put_digits(randomness.0, out);
    }
    if let Some(threshold) = threshold {
        put_pair(value, b"th:", out);
        let digits = out.len();
        put_digits(threshold.0, out);
        while out.len() > digits + 1 && out.ends_with(b"0") {
            out.pop();
        }
    }
    let fits = out.len() - value <= VALUE;
    if !fits {
        out.truncate(others);
    }
    if out.len() == value {
        out.truncate(start);
    }
    let members = trace_state.split(|&c| c == b',').map(<[u8]>::trim_ascii).filter(|member| !is_ot_or_empty(member));
    for member in members.take(MEMBERS - usize::from(out.len() > start)) {
        if out.len() > start {
            out.push(b',');
        }
        out.extend_from_slice(member);
    }
    fits
}

/// Adds a pair to the entry whose value begins at `value`.
fn put_pair(value: usize, pair: &[u8], out: &mut Vec<u8>) {
    if out.len() > value {
        out.push(b';');
    }
    out.extend_from_slice(pair);
}

/// The key may be there once.
fn is_ot_or_empty(member: &[u8]) -> bool {
    member.is_empty() || member.strip_prefix(OT).is_some_and(|rest| rest.starts_with(b"="))
}

/// All 14 of them.
fn put_digits(number: u64, out: &mut Vec<u8>) {
    let digits = (0..14).rev().map(|at| b"0123456789abcdef"[(number >> (4 * at)) as usize & 15]);
    out.extend(digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(trace_state: &str, threshold: Option<u64>, randomness: Option<u64>) -> (String, bool) {
        let mut out = b"before".to_vec();
        let sampling = Sampling { threshold: threshold.map(Threshold), randomness: randomness.map(Randomness) };
        let fits = put(trace_state.as_bytes(), sampling, &mut out);
        (String::from_utf8(out.split_off(6)).expect("text"), fits)
    }

    #[test]
    fn a_threshold_is_set_changed_and_erased() {
        let half = Some(1 << 55);
        for (before, threshold, after) in [
            ("", half, "ot=th:8"),
            ("", Some(0), "ot=th:0"),
            ("", Some(0xfd_70a3_d70a_3d71), "ot=th:fd70a3d70a3d71"),
            ("", Some(1), "ot=th:00000000000001"),
            ("a=1, b=2", half, "ot=th:8,a=1,b=2"),
            ("a=1,ot=th:4;p:3;rv:ffffffffffffff,b=2", half, "ot=p:3;rv:ffffffffffffff;th:8,a=1,b=2"),
            ("a=1,ot=th:4,b=2", None, "a=1,b=2"),
            ("ot=th:4", None, ""),
            ("ot=th:4;x:y,,a=1", None, "ot=x:y,a=1"),
            ("ot=x:y,ot=th:1,otx=3", half, "ot=x:y;th:8,otx=3"),
            ("no member, =", half, "ot=th:8,no member,="),
        ] {
            assert_eq!(written(before, threshold, None), (after.to_owned(), true), "{before}");
        }
        assert_eq!(written("ot=x:y", half, Some(0xff)), ("ot=x:y;rv:000000000000ff;th:8".to_owned(), true));
    }

    #[test]
    fn limits_hold() {
        let others = |count: usize| (0..count).map(|at| format!("v{at}=x")).collect::<Vec<_>>().join(",");
        assert_eq!(written(&others(31), Some(0), None).0, format!("ot=th:0,{}", others(31)));
        assert_eq!(written(&others(32), Some(0), None).0, format!("ot=th:0,{}", others(31)), "the last one goes");
        assert_eq!(written(&format!("{},ot=th:8", others(32)), None, None).0, others(32), "and none where none comes");
        let long = |len: usize| format!("ot=x:{}", "y".repeat(len - 2));
        assert_eq!(written(&long(251), Some(0), None), (format!("{};th:0", long(251)), true));
        assert_eq!(written(&format!("{},a=1", long(252)), Some(0), None), (format!("{},a=1", long(252)), false));
    }
}
