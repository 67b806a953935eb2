//! What the policies must do with a trace, said once more, from the truth and by hand.

use crate::generate::Truth;

/// The file that the processor is given, and that [`Due::of`] restates.
pub(super) const POLICIES: &str = include_str!("../../policies/errors-and-slow.yaml");

/// The keeping policies, by the names in the file.
pub(super) const KEEPING: [&str; 4] = ["errors", "server-errors", "slow", "baseline"];

/// `trace.duration > 2s`.
pub(super) const SLOW_NS: u64 = 2_000_000_000;

/// Which policies keep a trace: a bit for each of [`KEEPING`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Due(u8);

// === impl Due ===

impl Due {
    pub const ERRORS: usize = 0;

    pub fn of(truth: &Truth) -> Self {
        if truth.health_check && !truth.error {
            return Self(0);
        }
        let keeps = [truth.error, truth.http_5xx, truth.duration_ns > SLOW_NS, in_the_hundredth(truth)];
        Self(keeps.iter().enumerate().fold(0, |bits, (at, keep)| bits | u8::from(*keep) << at))
    }

    pub fn kept(self) -> bool {
        self.0 != 0
    }

    /// Kept whatever its id is.
    pub fn must(self) -> bool {
        self.0 & 0b111 != 0
    }

    pub fn by(self, policy: usize) -> bool {
        self.0 >> policy & 1 != 0
    }
}

/// R ≥ T with T = round((1 − p) · 2^56). Source: OpenTelemetry, "TraceState: Probability Sampling".
pub(super) fn in_the_hundredth(truth: &Truth) -> bool {
    // Whole numbers, so that no rounding of ours agrees by chance with another's: ⌊(99 · 2^56 + 50) / 100⌋.
    truth.randomness >= ((99u64 << 56) / 100) + u64::from((99u128 << 56) % 100 >= 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth() -> Truth {
        Truth {
            randomness: 0,
            error: false,
            http_5xx: false,
            health_check: false,
            duration_ns: 1_000_000,
            root_service: "storefront",
            spans: Vec::new(),
        }
    }

    #[test]
    fn each_policy_keeps_its_own() {
        assert!(!Due::of(&truth()).kept());
        let error = Due::of(&Truth { error: true, ..truth() });
        assert!(error.must() && error.by(Due::ERRORS) && !error.by(1));
        assert!(Due::of(&Truth { http_5xx: true, ..truth() }).by(1));
        assert!(!Due::of(&Truth { duration_ns: SLOW_NS, ..truth() }).kept());
        assert!(Due::of(&Truth { duration_ns: SLOW_NS + 1, ..truth() }).by(2));
        let baseline = Due::of(&Truth { randomness: (1 << 56) - 1, ..truth() });
        assert!(baseline.kept() && !baseline.must() && baseline.by(3));
    }

    #[test]
    fn a_drop_vetoes() {
        assert!(!Due::of(&Truth { health_check: true, randomness: (1 << 56) - 1, ..truth() }).kept());
        assert!(Due::of(&Truth { health_check: true, error: true, ..truth() }).must());
    }

    #[test]
    fn the_hundredth_begins_where_the_specification_says() {
        // 0.99 as a float is off by up to 2^-54, which is 4 of 2^56.
        let threshold = (0.99 * (1u64 << 56) as f64).round() as u64;
        assert!(in_the_hundredth(&Truth { randomness: threshold + 4, ..truth() }));
        assert!(!in_the_hundredth(&Truth { randomness: threshold - 4, ..truth() }));
    }

    #[test]
    fn the_file_says_the_same() {
        for policy in KEEPING {
            assert!(POLICIES.contains(&format!("- name: {policy}\n")), "{policy}");
        }
        for condition in [
            r#"root.attributes["http.route"] == "/healthz" and none(status.code == STATUS_CODE_ERROR)"#,
            "when: any(status.code == STATUS_CODE_ERROR)",
            r#"when: any(attributes["http.response.status_code"] >= 500)"#,
            "when: trace.duration > 2s",
            "keep: { probability: 1% }",
            "match: any",
            "otherwise: drop",
        ] {
            assert!(POLICIES.contains(condition), "{condition}");
        }
    }
}
