//! State in bytes: a version, then fields without names. What is not exactly that is an error.

use super::Malformed;
use crate::model::RecordTime;

/// The format of all that is written here.
const VERSION: u8 = 1;

const TRUNCATED: Malformed = Malformed("the bytes end inside a field");
pub const VALUE: Malformed = Malformed("a value is out of its range");

pub struct Writer(Vec<u8>);

pub struct Reader<'a>(&'a [u8]);

// === impl Writer ===

impl Writer {
    pub fn new() -> Self {
        Self(vec![VERSION])
    }

    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn time(&mut self, at: Option<RecordTime>) {
        self.number(u64::from(at.is_some()));
        if let Some(at) = at {
            self.0.extend(at.0.to_le_bytes());
        }
    }

    pub fn float(&mut self, value: f64) {
        self.0.extend(value.to_le_bytes());
    }

    /// To seven digits, which is more than any estimate has.
    pub fn short(&mut self, value: f64) {
        self.0.extend((value as f32).to_le_bytes());
    }

    pub fn key(&mut self, key: u64) {
        self.0.extend(key.to_le_bytes());
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => Ok(Self(rest)),
            Some((0, _)) => Err(VALUE),
            Some(_) => Err(Malformed("a newer version of Tailwater wrote it")),
            None => Err(TRUNCATED),
        }
    }

    pub fn number(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return Err(VALUE);
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(VALUE)
    }

    /// A number of things, at most so many.
    pub fn count(&mut self, most: usize) -> Result<usize, Malformed> {
        let count = self.number()?;
        usize::try_from(count).ok().filter(|&count| count <= most).ok_or(VALUE)
    }

    pub fn time(&mut self) -> Result<Option<RecordTime>, Malformed> {
        match self.number()? {
            0 => Ok(None),
            1 => Ok(Some(RecordTime(i64::from_le_bytes(self.take()?)))),
            _ => Err(VALUE),
        }
    }

    pub fn float(&mut self) -> Result<f64, Malformed> {
        Some(f64::from_le_bytes(self.take()?)).filter(|value| value.is_finite()).ok_or(VALUE)
    }

    /// Not below 0.
    pub fn short(&mut self) -> Result<f64, Malformed> {
        let value = f32::from_le_bytes(self.take()?);
        Some(f64::from(value)).filter(|value| value.is_finite() && *value >= 0.0).ok_or(VALUE)
    }

    pub fn key(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("there are bytes behind the last field")) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(TRUNCATED)?;
        self.0 = rest;
        Ok(*taken)
    }
}
