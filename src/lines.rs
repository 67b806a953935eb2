//! Memory comes in lines.

use std::hint::black_box;

/// Bytes that come together.
const LINE: usize = 64;

/// Reads a byte of each line. What walks from item to item waits for memory at each, for where the next one begins stands in
/// the one before; these loads wait for nothing, so many of them are on their way at once.
pub fn touch(bytes: &[u8]) {
    black_box(bytes.iter().step_by(LINE).fold(0, |sum, byte| sum ^ byte));
}
