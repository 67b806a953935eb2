//! Protocol Buffers on the wire: fields as they stand in the bytes, nothing copied, nothing allocated.
//!
//! Source: protobuf.dev, "Encoding". Groups (wire types 3 and 4) are refused: OTLP has none, and skipping them safely
//! needs recursion on input from outside.

/// Why bytes are not a message. The texts go to people, in the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the bytes end inside a field")]
    Truncated,
    #[error("a varint is longer than 64 bits")]
    Varint,
    #[error("a field number is 0 or above 2^29 - 1")]
    FieldNumber,
    #[error("wire type {0} is not one OTLP uses")]
    WireType(u8),
    #[error("field {0} has the wrong wire type")]
    WrongType(u32),
    #[error("no resource_spans, only unknown fields: this is not OTLP protobuf")]
    Foreign,
    #[error("the record holds more spans, scopes and resources, or more around them, than one may")]
    TooMany,
    #[error("the record is longer than 4 GiB")]
    TooLong,
}

/// Where something stands in the payload, in bytes. Payloads are below 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    pub start: u32,
    pub end: u32,
}

/// One field: its number, its value, and where it stands, tag included.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    pub number: u32,
    pub value: Wire<'a>,
    pub range: Range,
}

/// A field's value as its wire type has it.
#[derive(Clone, Copy, Debug)]
pub enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    /// Which ends where the field does.
    Bytes(&'a [u8]),
}

/// Walks the fields of one message that stands in `payload[range]`.
pub struct Reader<'a> {
    payload: &'a [u8],
    at: usize,
    end: usize,
}

/// How many bytes a varint takes.
pub const fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

// === impl Range ===

impl Range {
    pub fn of(self, payload: &[u8]) -> &[u8] {
        &payload[self.start as usize..self.end as usize]
    }

    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && u32::try_from(end).is_ok());
        Self { start: start as u32, end: end as u32 }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Of a whole payload.
    ///
    /// # Errors
    /// `TooLong` where its length does not fit 32 bits, so that every range below does.
    pub fn new(payload: &'a [u8]) -> Result<Self, Malformed> {
        if u32::try_from(payload.len()).is_err() {
            return Err(Malformed::TooLong);
        }
        Ok(Self { payload, at: 0, end: payload.len() })
    }

    /// Of a message inside a payload; the ranges it yields are of the payload.
    pub fn within(payload: &'a [u8], range: Range) -> Self {
        Self { payload, at: range.start as usize, end: range.end as usize }
    }

    /// The next field, or None at the end.
    ///
    /// # Errors
    /// What stands here is not a field, or goes on behind the message's end.
    #[inline(always)]
    pub fn field(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.at >= self.end {
            return Ok(None);
        }
        let start = self.at;
        let tag = self.varint()?;
        let number = match u32::try_from(tag >> 3) {
            Ok(number @ 1..=0x1fff_ffff) => number,
            _ => return Err(Malformed::FieldNumber),
        };
        let value = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = self.varint()?;
                let body = self.at;
                let end =
                    usize::try_from(len).ok().and_then(|len| body.checked_add(len)).ok_or(Malformed::Truncated)?;
                if end > self.end {
                    return Err(Malformed::Truncated);
                }
                self.at = end;
                Wire::Bytes(&self.payload[body..end])
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(Malformed::WireType(other as u8)),
        };
        Ok(Some(Field { number, value, range: Range::new(start, self.at) }))
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, Malformed> {
        let bytes = &self.payload[self.at..self.end];
        match bytes.first() {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(bytes),
        }
    }

    fn long_varint(&mut self, bytes: &[u8]) -> Result<u64, Malformed> {
        let mut value = 0;
        for (i, &byte) in bytes.iter().enumerate().take(10) {
            if i == 9 && byte > 1 {
                return Err(Malformed::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(if bytes.len() < 10 { Malformed::Truncated } else { Malformed::Varint })
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes = self.payload[self.at..self.end].first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.at += N;
        Ok(*bytes)
    }
}

// === impl Field ===

impl<'a> Field<'a> {
    /// The value and where it stands, of a string, a message or a packed list.
    ///
    /// # Errors
    /// `WrongType` where the field is of another wire type.
    #[inline(always)]
    pub fn bytes(&self) -> Result<(&'a [u8], Range), Malformed> {
        let end = self.range.end;
        match self.value {
            Wire::Bytes(bytes) => Ok((bytes, Range { start: end - bytes.len() as u32, end })),
            _ => Err(Malformed::WrongType(self.number)),
        }
    }

    /// The value of an integer, an enum or a boolean.
    ///
    /// # Errors
    /// `WrongType` where the field is of another wire type.
    #[inline(always)]
    pub fn varint(&self) -> Result<u64, Malformed> {
        match self.value {
            Wire::Varint(value) => Ok(value),
            _ => Err(Malformed::WrongType(self.number)),
        }
    }

    /// The value of a number of eight bytes.
    ///
    /// # Errors
    /// `WrongType` where the field is of another wire type.
    #[inline(always)]
    pub fn fixed64(&self) -> Result<u64, Malformed> {
        match self.value {
            Wire::Fixed64(value) => Ok(value),
            _ => Err(Malformed::WrongType(self.number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(bytes: &[u8]) -> Result<Option<u32>, Malformed> {
        Ok(Reader::new(bytes)?.field()?.map(|field| field.number))
    }

    #[test]
    fn refuses_what_is_not_a_field() {
        assert_eq!(first(&[]), Ok(None));
        assert_eq!(first(&[0x08]), Err(Malformed::Truncated));
        assert_eq!(first(&[0x00, 0x00]), Err(Malformed::FieldNumber));
        assert_eq!(first(&[0x0b]), Err(Malformed::WireType(3)), "a group");
        assert_eq!(first(&[0x0c]), Err(Malformed::WireType(4)), "a group's end");
        assert_eq!(first(&[0x0f, 0x00]), Err(Malformed::WireType(7)));
        assert_eq!(first(&[0x09, 1, 2, 3]), Err(Malformed::Truncated));
        assert_eq!(first(&[0x0a, 0x02, 0x00]), Err(Malformed::Truncated));
    }

    #[test]
    fn a_length_that_overflows_is_truncation() {
        let mut bytes = vec![0x0a];
        put_varint(&mut bytes, u64::MAX);
        assert_eq!(first(&bytes), Err(Malformed::Truncated));
    }

    #[test]
    fn a_varint_ends_at_64_bits() {
        let mut bytes = vec![0x08];
        bytes.extend([0xff; 9]);
        assert_eq!(first(&bytes), Err(Malformed::Truncated));
        assert_eq!(first(&[bytes.as_slice(), &[0x01]].concat()), Ok(Some(1)));
        assert_eq!(first(&[bytes.as_slice(), &[0x02]].concat()), Err(Malformed::Varint));
        assert_eq!(first(&[bytes.as_slice(), &[0xff, 0x01]].concat()), Err(Malformed::Varint), "overlong");
    }

    #[test]
    fn varint_len_is_what_put_varint_writes() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value), "{value}");
            }
        }
    }
}
