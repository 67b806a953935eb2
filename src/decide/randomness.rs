//! Where a trace's randomness comes from.

use super::fnv::fnv;
use crate::model::{Randomness, TraceId};

/// What probabilities are decided by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// `rv` of the trace state, else the low 56 bits of the trace id: all samplers that follow the specification agree.
    #[default]
    Trace,
    /// The Collector's hash of the trace id behind a salt.
    ///
    /// Source: opentelemetry-collector-contrib, `processor/tailsamplingprocessor/internal/sampling/probabilistic.go`: FNV-1a of 64
    /// bits, kept where it is not above the threshold. Of it the upper 56 bits are taken, which is another verdict for one
    /// trace of 2^56.
    Fnv(Box<str>),
}

// === impl Source ===

impl Source {
    /// `own` is what the trace brings.
    pub fn of(&self, trace: TraceId, own: Randomness) -> Randomness {
        match self {
            Self::Trace => own,
            Self::Fnv(salt) => {
                // The lower the hash, the sooner it is kept.
                Randomness(!fnv(salt.as_bytes().iter().chain(&trace.0)) >> 8)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes as the Collector's own code made them.
    #[test]
    fn hashes_as_the_collector_does() {
        let cases = [
            ("default-hash-seed", 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128, 0xa545_33ba_2e49_70b5_u64),
            ("test-salt", 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xdf9c_aa2a_9f0d_52f1),
        ];
        for (salt, trace, hash) in cases {
            let randomness = Source::Fnv(salt.into()).of(TraceId(trace.to_be_bytes()), Randomness(0));
            assert_eq!(randomness, Randomness(!hash >> 8), "{salt}");
        }
        assert_eq!(Source::Trace.of(TraceId([1; 16]), Randomness(7)), Randomness(7));
    }
}
