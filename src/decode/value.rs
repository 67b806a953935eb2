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
/// Of an `AnyValue` that is text.
const TEXT: u8 = 1 << 3 | 2;

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

/// The form most have: a text below 128 bytes, and nothing else.
#[inline]
fn short_text(value: &[u8]) -> Option<&[u8]> {
    let (&[TEXT, len @ 0..0x80], text) = value.split_first_chunk()? else { return None };
    (text.len() == usize::from(len)).then_some(text)
}

// === impl Value ===

impl<'a> Value<'a> {
    /// Reads an encoded `AnyValue`. Of a oneof set twice the last wins.
    #[inline]
    pub fn parse(payload: &'a [u8], range: Range) -> Result<Self, Malformed> {
        match short_text(range.of(payload)) {
            Some(text) => Ok(Value::Str(text)),
            None => Self::parse_any(payload, range),
        }
    }

    fn parse_any(payload: &'a [u8], range: Range) -> Result<Self, Malformed> {
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

    /// What stands under a key of a map, or at a place of a list; nil where nothing does.
    pub fn entry(self, key: &Key) -> Self {
        match (self, key) {
            (Value::Map(map), Key::Name(name)) => attribute(map, 1, name.as_bytes()),
            (Value::List(list), Key::Place(place)) => elements(list).nth(*place as usize).unwrap_or(Value::Nil),
            _ => Value::Nil,
        }
    }
}

/// The values in an encoded `ArrayValue`; one that is malformed counts as nil.
pub fn elements(list: &[u8]) -> impl Iterator<Item = Value<'_>> {
    Bodies::of(list, 1)
        .map(|value| Value::parse(value, Range { start: 0, end: value.len() as u32 }).unwrap_or(Value::Nil))
}

/// How to get further into a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Name(String),
    Place(u32),
}

/// The value of an attribute of the resource in `rest`, the fields of a `ResourceSpans` other than its scopes; of a key
/// given twice the first counts, as in the Collector. Malformed attributes count as absent.
pub fn resource_attribute<'a>(rest: &'a [u8], key: &[u8]) -> Value<'a> {
    attribute_in(rest, 1, key)
}

/// The same of the scope in `rest`, the fields of a `ScopeSpans` other than its spans.
pub fn scope_attribute<'a>(rest: &'a [u8], key: &[u8]) -> Value<'a> {
    attribute_in(rest, 3, key)
}

/// A message that is given twice has the attributes of both.
fn attribute_in<'a>(rest: &'a [u8], number: u32, key: &[u8]) -> Value<'a> {
    let attributes = Bodies::of(rest, 1).flat_map(|message| Bodies::of(message, number));
    attributes.into_iter().find_map(|pair| value_of(pair, key)).unwrap_or(Value::Nil)
}

/// The value of an attribute of a message whose attributes are its fields of this number.
pub fn attribute<'a>(message: &'a [u8], number: u32, key: &[u8]) -> Value<'a> {
    Bodies::of(message, number).find_map(|pair| value_of(pair, key)).unwrap_or(Value::Nil)
}

/// The bodies of the fields of one number in a message, up to where it is malformed.
pub struct Bodies<'a> {
    reader: Option<Reader<'a>>,
    number: u32,
}

/// The value in a `KeyValue` of this key.
fn value_of<'a>(pair: &'a [u8], key: &[u8]) -> Option<Value<'a>> {
    let (name, value) = key_value(pair, Range { start: 0, end: pair.len() as u32 }).ok()?;
    (name == key).then(|| Value::parse(pair, value).unwrap_or(Value::Nil))
}

// === impl Bodies ===

impl<'a> Bodies<'a> {
    pub fn of(message: &'a [u8], number: u32) -> Self {
        Self { reader: Reader::new(message).ok(), number }
    }
}

impl<'a> Iterator for Bodies<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let reader = self.reader.as_mut()?;
        while let Ok(Some(field)) = reader.field() {
            if field.number == self.number
                && let Ok((body, _)) = field.bytes()
            {
                return Some(body);
            }
        }
        self.reader = None;
        None
    }
}
