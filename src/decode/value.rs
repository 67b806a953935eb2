//! OTLP's attribute values, borrowed.

use super::wire::{Malformed, Range, Reader};

/// An `AnyValue`. Strings are as received: UTF-8 is not checked for what may only be carried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Absent, or an `AnyValue` with nothing set.
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    Str(&'a [u8]),
    Bytes(&'a [u8]),
    /// An encoded `ArrayValue`.
    List(&'a [u8]),
    /// An encoded `KeyValueList`.
    Map(&'a [u8]),
}

/// Tags of a `KeyValue`: fields 1 and 2, length-delimited.
const KEY: u8 = 1 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;

/// A `KeyValue`'s key, and where its `AnyValue` stands.
#[inline]
pub(super) fn key_value(payload: &[u8], range: Range) -> Result<(&[u8], Range), Malformed> {
    match short_key_value(payload, range) {
        Some(found) => Ok(found),
        None => any_key_value(payload, range),
    }
}

/// The form nearly all have: a key, then a value, both below 128 bytes, and nothing else. Every attribute of every span
/// passes here.
#[inline]
fn short_key_value(payload: &[u8], range: Range) -> Option<(&[u8], Range)> {
    let (&[KEY, len @ 0..0x80], rest) = range.of(payload).split_first_chunk()? else { return None };
    let (key, rest) = rest.split_at_checked(usize::from(len))?;
    let (&[VALUE, len @ 0..0x80], value) = rest.split_first_chunk()? else { return None };
    let whole = value.len() == usize::from(len);
    whole.then(|| (key, Range { start: range.end - u32::from(len), end: range.end }))
}

fn any_key_value(payload: &[u8], range: Range) -> Result<(&[u8], Range), Malformed> {
    let (mut key, mut value): (&[u8], _) = (&[], Range::default());
    let mut reader = Reader::within(payload, range);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => key = field.bytes()?.0,
            2 => value = field.bytes()?.1,
            _ => {}
        }
    }
    Ok((key, value))
}

// === impl Value ===

impl<'a> Value<'a> {
    /// Reads an encoded `AnyValue`. Of a oneof set twice the last wins.
    pub fn parse(payload: &'a [u8], range: Range) -> Result<Self, Malformed> {
        let mut value = Value::Nil;
        let mut reader = Reader::within(payload, range);
        while let Some(field) = reader.field()? {
            value = match field.number {
                1 => Value::Str(field.bytes()?.0),
                2 => Value::Bool(field.varint()? != 0),
                3 => Value::Int(field.varint()? as i64),
                4 => Value::Double(f64::from_bits(field.fixed64()?)),
                5 => Value::List(field.bytes()?.0),
                6 => Value::Map(field.bytes()?.0),
                7 => Value::Bytes(field.bytes()?.0),
                _ => value,
            };
        }
        Ok(value)
    }
}

/// The value of an attribute of the resource in `rest`, the fields of a `ResourceSpans` other than its scopes; of a key
/// given twice the first counts, as in the Collector. Malformed attributes count as absent.
pub fn resource_attribute<'a>(rest: &'a [u8], key: &[u8]) -> Value<'a> {
    attribute_in(rest, key).ok().flatten().unwrap_or(Value::Nil)
}

fn attribute_in<'a>(rest: &'a [u8], key: &[u8]) -> Result<Option<Value<'a>>, Malformed> {
    let mut fields = Reader::new(rest)?;
    while let Some(field) = fields.field()? {
        if field.number != 1 {
            continue;
        }
        let mut resource = Reader::within(rest, field.bytes()?.1);
        while let Some(field) = resource.field()? {
            if field.number == 1 {
                let (name, value) = key_value(rest, field.bytes()?.1)?;
                if name == key {
                    return Value::parse(rest, value).map(Some);
                }
            }
        }
    }
    Ok(None)
}
