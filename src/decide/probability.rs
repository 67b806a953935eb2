//! Probabilities and the thresholds they stand for.

use crate::model::Threshold;

/// T with P(R ≥ T) = p: T = 2^56 − round(p · 2^56), exact at 0 and 1. A probability above 0 keeps at least one of 2^56,
/// and what is outside of 0 to 1 is taken as the nearer of them.
///
/// Source: OpenTelemetry, "TraceState: Probability Sampling", p = (2^56 − T) / 2^56; rounded as
/// opentelemetry-collector-contrib `pkg/sampling`. p is scaled before it is subtracted: 1 − p would lose its low digits.
pub fn threshold(probability: f64) -> Threshold {
    let never = Threshold::NEVER.0;
    // A cast from float to integer saturates.
    let kept = (probability * never as f64).round() as u64;
    let least = u64::from(probability > 0.0);
    Threshold(never - kept.clamp(least, never))
}

/// The probability that a threshold stands for, in per cent: `100 %`, `1 %`, `0.1 %`.
pub fn percentage(threshold: Threshold) -> String {
    let kept = (Threshold::NEVER.0 - threshold.0.min(Threshold::NEVER.0)) as f64 / Threshold::NEVER.0 as f64;
    // Six digits are as many as anybody writes.
    let rounded = format!("{:.6}", kept * 100.0);
    let short = rounded.trim_end_matches('0').trim_end_matches('.');
    if short == "0" && kept > 0.0 { format!("{:.1e} %", kept * 100.0) } else { format!("{short} %") }
}

/// What a verdict says of traces like its own, with this threshold.
pub fn of_such(keep: bool, threshold: Threshold) -> String {
    match threshold {
        Threshold::NEVER if keep => "it goes with one of a sample, and stands for no others".to_owned(),
        _ => format!("of such traces {} are kept", percentage(threshold)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_exact_at_its_ends() {
        assert_eq!(threshold(0.0), Threshold::NEVER);
        assert_eq!(threshold(1.0), Threshold::ALWAYS);
        assert_eq!(threshold(0.5), Threshold(1 << 55));
        assert_eq!(threshold(0.25), Threshold(3 << 54));
        assert_eq!(threshold(0.01), Threshold(0xfd_70a3_d70a_3d71));
        assert_eq!(threshold(2_f64.powi(-56)), Threshold((1 << 56) - 1));
        assert_eq!(threshold(f64::MIN_POSITIVE), Threshold((1 << 56) - 1));
        assert_eq!(threshold(7.0), Threshold::ALWAYS);
        assert_eq!(threshold(-7.0), Threshold::NEVER);
        assert_eq!(threshold(f64::NAN), Threshold::NEVER);
    }

    #[test]
    fn is_shown_in_per_cent() {
        let shown = |probability| percentage(threshold(probability));
        assert_eq!(shown(1.0), "100 %");
        assert_eq!(shown(0.01), "1 %");
        assert_eq!(shown(0.125), "12.5 %");
        assert_eq!(shown(1.0 / 3.0), "33.333333 %");
        assert_eq!(shown(0.0), "0 %");
        assert_eq!(shown(1e-12), "1.0e-10 %");
    }
}
