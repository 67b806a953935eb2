//! Which partition a trace goes to.

use crate::model::TraceId;

/// The partition of a trace in a topic of `count`: Kafka's `toPositive(murmur2(key)) % count` with the trace id in lower-case
/// hex as the key, which is what the Java clients choose. Fixed for good: spans already written stay where they are, and any
/// other way would part them from those that follow.
pub fn partition(trace: TraceId, count: i32) -> i32 {
    (hash(trace) & 0x7fff_ffff) as i32 % count
}

/// Kafka's hash of a trace's key.
pub fn hash(trace: TraceId) -> u32 {
    murmur2(&trace.hex())
}

/// `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Kafka's own tests (`UtilsTest.testMurmur2`).
    #[test]
    fn hashes_as_kafka_does() {
        let known = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, hash) in known {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn a_trace_keeps_its_partition_and_partitions_are_even() {
        let trace = |number: u128| TraceId(number.to_be_bytes());
        assert_eq!([1, 2, 3].map(|number| partition(trace(number), 1000)), GOLDEN);
        let mut counts = [0; 12];
        (1..=12_000).for_each(|number| counts[partition(trace(number), 12) as usize] += 1);
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    /// What is written stays where it is.
    const GOLDEN: [i32; 3] = [718, 528, 949];
}
