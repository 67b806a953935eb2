//! What the processor has stamped on a span, read and taken off apart from the processor's own code.

use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, decode_key, skip_field},
};

use super::due::Due;
use crate::generate::otlp::KeyValue;

/// The traffic has no trace states, and no attributes whose names begin so.
const OURS: &str = "tailwater.";
/// Fields of a span.
const TRACE_STATE: u32 = 3;
const ATTRIBUTE: u32 = 9;
/// All traces alike are kept.
const ALWAYS: &str = "ot=th:0";
/// One in a hundred: 2^56 − round(2^56 / 100), in hexadecimal.
const HUNDREDTH: &str = "ot=th:fd70a3d70a3d71";

/// A span as it was sent, and the weight that was stamped on it.
pub(super) struct Stamped {
    pub span: Vec<u8>,
    pub trace_state: Vec<u8>,
}

// === impl Stamped ===

impl Stamped {
    /// # Errors
    /// It is no message.
    pub fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut stamped = Self { span: Vec::with_capacity(bytes.len()), trace_state: Vec::new() };
        let mut rest = bytes;
        while !rest.is_empty() {
            let before = rest;
            let (number, wire) = decode_key(&mut rest)?;
            let mut content = rest;
            skip_field(wire, number, &mut rest, DecodeContext::default())?;
            let whole = &before[..before.len() - rest.len()];
            match number {
                TRACE_STATE => stamped.trace_state = Vec::<u8>::from(length_delimited(&mut content)?),
                ATTRIBUTE if KeyValue::decode(length_delimited(&mut content)?)?.key.starts_with(OURS) => {}
                _ => stamped.span.extend_from_slice(whole),
            }
        }
        Ok(stamped)
    }

    /// Whether the weight is that of a trace that is kept by these policies.
    pub fn weighs(&self, due: Due) -> bool {
        let weight = if due.must() { ALWAYS } else { HUNDREDTH };
        self.trace_state == weight.as_bytes()
    }
}

/// The content of a field that was skipped before.
fn length_delimited<'a>(field: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let len = prost::encoding::decode_varint(field)? as usize;
    Ok(field.get(..len).unwrap_or_default())
}
