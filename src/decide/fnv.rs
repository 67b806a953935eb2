//! FNV-1a, of 64 bits.

/// Source: Fowler, Noll, Vo; RFC 9923.
pub fn fnv<'b>(bytes: impl IntoIterator<Item = &'b u8>) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, fold)
}
