//! OTLP/JSON as OTLP protobuf, which is what all behind it reads.
//!
//! Source: "JSON Protobuf Encoding" of the OTLP specification, and ProtoJSON (protobuf.dev) where that is silent. Names are in
//! lowerCamelCase, ids in hexadecimal, 64-bit numbers and enumerations may be strings, null is absent, and a field that is not
//! known is left out. Numbers of fields: opentelemetry-proto 1.10.
//!
//! Fields are written as they come, so nothing is built of them. What is written is always shorter: the name of a field has more
//! letters than its tag, its value and its length have bytes.

use std::fmt;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::de::{DeserializeSeed, Deserializer, Error, Expected, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::wire::put_varint;

/// Why a record that begins as JSON is not OTLP/JSON, and where. The texts go to people, in the dead letters.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not OTLP/JSON: {0}")]
pub struct NotJson(String);

/// A message, as JSON has it.
struct Message(&'static [Field]);

struct Field {
    name: &'static str,
    number: u32,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    /// Bytes, in hexadecimal.
    Id,
    /// Bytes, in base64.
    Bytes,
    Bool,
    Int64,
    Uint32,
    Fixed32,
    Fixed64,
    Double,
    /// The names of its numbers, from 0.
    Enum(&'static [&'static str]),
    One(&'static Message),
    Each(&'static Message),
}

/// The fields of a message, to be written. Whether there were some, and none was known.
struct Fields<'a> {
    of: &'static Message,
    out: &'a mut Vec<u8>,
}

/// The name of a field, of a message.
struct Name(&'static Message);

/// The value of a field, to be written.
struct Value<'a> {
    field: &'static Field,
    out: &'a mut Vec<u8>,
}

/// One of several values of a field.
struct Element<'a>(Value<'a>);

static TRACES_DATA: Message = Message(&[each("resourceSpans", 1, &RESOURCE_SPANS)]);

static RESOURCE_SPANS: Message =
    Message(&[one("resource", 1, &RESOURCE), each("scopeSpans", 2, &SCOPE_SPANS), field("schemaUrl", 3, Kind::Text)]);

static RESOURCE: Message = Message(&[
    each("attributes", 1, &KEY_VALUE),
    field("droppedAttributesCount", 2, Kind::Uint32),
    each("entityRefs", 3, &ENTITY_REF),
]);

static ENTITY_REF: Message = Message(&[
    field("schemaUrl", 1, Kind::Text),
    field("type", 2, Kind::Text),
    field("idKeys", 3, Kind::Texts),
    field("descriptionKeys", 4, Kind::Texts),
]);

static SCOPE_SPANS: Message =
    Message(&[one("scope", 1, &SCOPE), each("spans", 2, &SPAN), field("schemaUrl", 3, Kind::Text)]);

static SCOPE: Message = Message(&[
    field("name", 1, Kind::Text),
    field("version", 2, Kind::Text),
    each("attributes", 3, &KEY_VALUE),
    field("droppedAttributesCount", 4, Kind::Uint32),
]);

static SPAN: Message = Message(&[
    field("traceId", 1, Kind::Id),
    field("spanId", 2, Kind::Id),
    field("traceState", 3, Kind::Text),
    field("parentSpanId", 4, Kind::Id),
    field("flags", 16, Kind::Fixed32),
    field("name", 5, Kind::Text),
    field("kind", 6, Kind::Enum(SPAN_KINDS)),
    field("startTimeUnixNano", 7, Kind::Fixed64),
    field("endTimeUnixNano", 8, Kind::Fixed64),
    each("attributes", 9, &KEY_VALUE),
    field("droppedAttributesCount", 10, Kind::Uint32),
    each("events", 11, &EVENT),
    field("droppedEventsCount", 12, Kind::Uint32),
    each("links", 13, &LINK),
    field("droppedLinksCount", 14, Kind::Uint32),
    one("status", 15, &STATUS),
]);

static EVENT: Message = Message(&[
    field("timeUnixNano", 1, Kind::Fixed64),
    field("name", 2, Kind::Text),
    each("attributes", 3, &KEY_VALUE),
    field("droppedAttributesCount", 4, Kind::Uint32),
]);

static LINK: Message = Message(&[
    field("traceId", 1, Kind::Id),
    field("spanId", 2, Kind::Id),
    field("traceState", 3, Kind::Text),
    each("attributes", 4, &KEY_VALUE),
    field("droppedAttributesCount", 5, Kind::Uint32),
    field("flags", 6, Kind::Fixed32),
]);

static STATUS: Message = Message(&[field("message", 2, Kind::Text), field("code", 3, Kind::Enum(STATUS_CODES))]);

static KEY_VALUE: Message = Message(&[field("key", 1, Kind::Text), one("value", 2, &ANY_VALUE)]);

static ANY_VALUE: Message = Message(&[
    field("stringValue", 1, Kind::Text),
    field("boolValue", 2, Kind::Bool),
    field("intValue", 3, Kind::Int64),
    field("doubleValue", 4, Kind::Double),
    one("arrayValue", 5, &ARRAY_VALUE),
    one("kvlistValue", 6, &KEY_VALUE_LIST),
    field("bytesValue", 7, Kind::Bytes),
]);

static ARRAY_VALUE: Message = Message(&[each("values", 1, &ANY_VALUE)]);

static KEY_VALUE_LIST: Message = Message(&[each("values", 1, &KEY_VALUE)]);

const SPAN_KINDS: &[&str] = &[
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

const STATUS_CODES: &[&str] = &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// ProtoJSON takes it with and without padding.
const BASE64: GeneralPurpose = base64_of(&alphabet::STANDARD);
const URL_SAFE: GeneralPurpose = base64_of(&alphabet::URL_SAFE);

/// Bytes of what is said about a mistake.
const QUOTED: usize = 200;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const FIXED32: u32 = 5;

/// A record as OTLP protobuf: as it is, or, where it begins as an object of JSON does, what that says, in `buffer`. No OTLP
/// protobuf begins so: a brace would be the tag of a group.
///
/// # Errors
/// It begins as JSON, and is not OTLP.
pub fn protobuf<'a>(payload: &'a [u8], buffer: &'a mut Vec<u8>) -> Result<&'a [u8], NotJson> {
    if payload.first() != Some(&b'{') {
        return Ok(payload);
    }
    buffer.clear();
    // Once for all is several times as fast as string by string.
    let text = str::from_utf8(payload).map_err(|error| NotJson(error.to_string()))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let is_foreign = Fields { of: &TRACES_DATA, out: buffer }.deserialize(&mut json)?;
    json.end()?;
    if is_foreign { Err(NotJson("no resourceSpans, only unknown fields".to_owned())) } else { Ok(buffer) }
}

const fn field(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind }
}

const fn one(name: &'static str, number: u32, message: &'static Message) -> Field {
    field(name, number, Kind::One(message))
}

const fn each(name: &'static str, number: u32, message: &'static Message) -> Field {
    field(name, number, Kind::Each(message))
}

const fn base64_of(alphabet: &alphabet::Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, config.with_decode_allow_trailing_bits(true))
}

// === impl NotJson ===

impl From<serde_json::Error> for NotJson {
    fn from(error: serde_json::Error) -> Self {
        let mut text = error.to_string();
        // It may quote what stands there, and then says where.
        if text.len() > QUOTED {
            text.truncate(text.floor_char_boundary(QUOTED));
            text += &format!("… at line {} column {}", error.line(), error.column());
        }
        Self(text)
    }
}

// === impl Fields ===

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let Self { of, out } = self;
        let (mut known, mut unknown) = (false, false);
        while let Some(field) = map.next_key_seed(Name(of))? {
            match field {
                Some(field) => map.next_value_seed(Value { field, out })?,
                None => _ = map.next_value::<IgnoredAny>()?,
            }
            known |= field.is_some();
            unknown |= field.is_none();
        }
        Ok(unknown && !known)
    }
}

// === impl Name ===

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let Self(Message(fields)) = self;
        Ok(fields.iter().find(|field| field.name == name))
    }
}

// === impl Value ===

impl Value<'_> {
    fn tag(&mut self, wire_type: u32) -> &mut Vec<u8> {
        put_varint(self.out, u64::from(self.field.number << 3 | wire_type));
        self.out
    }

    fn varint(&mut self, value: u64) {
        put_varint(self.tag(VARINT), value);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let out = self.tag(LENGTH_DELIMITED);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }

    /// Writes what has a length that is not known before, and returns what came of it.
    fn measured<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let out = self.tag(LENGTH_DELIMITED);
        let start = out.len();
        let written = write(out);
        let end = out.len();
        put_varint(out, (end - start) as u64);
        let length = out.len() - end;
        out[start..].rotate_right(length);
        written
    }

    fn taken<E: Error>(&self, is_taken: bool) -> Result<(), E> {
        // What stands there may be long.
        if is_taken { Ok(()) } else { Err(E::custom(format_args!("expected {}", self as &dyn Expected))) }
    }

    /// False where it is out of range, or the field does not take numbers.
    fn integer(&mut self, value: i128) -> bool {
        match self.field.kind {
            Kind::Int64 => i64::try_from(value).map(|value| self.varint(value as u64)).is_ok(),
            Kind::Uint32 => u32::try_from(value).map(|value| self.varint(value.into())).is_ok(),
            Kind::Enum(_) => i32::try_from(value).map(|value| self.varint(i64::from(value) as u64)).is_ok(),
            Kind::Fixed32 => {
                let fits = u32::try_from(value);
                fits.map(|value| self.tag(FIXED32).extend_from_slice(&value.to_le_bytes())).is_ok()
            }
            Kind::Fixed64 => {
                let fits = u64::try_from(value);
                fits.map(|value| self.tag(FIXED64).extend_from_slice(&value.to_le_bytes())).is_ok()
            }
            Kind::Double => {
                self.double(value as f64);
                true
            }
            _ => false,
        }
    }

    fn double(&mut self, value: f64) {
        self.tag(FIXED64).extend_from_slice(&value.to_le_bytes());
    }

    /// A number with a fraction or an exponent.
    fn float(&mut self, value: f64) -> bool {
        match self.field.kind {
            Kind::Double => {
                self.double(value);
                true
            }
            // 1.5e9 may stand for a whole number.
            _ => value.fract() == 0.0 && self.integer(value as i128),
        }
    }

    fn text(&mut self, text: &str) -> bool {
        match self.field.kind {
            Kind::Text | Kind::Texts => self.bytes(text.as_bytes()),
            Kind::Id => return self.measured(|out| hexadecimal(text.as_bytes(), out)),
            Kind::Bytes => {
                let engine = if text.contains(['-', '_']) { URL_SAFE } else { BASE64 };
                return self.measured(|out| engine.decode_vec(text, out).is_ok());
            }
            Kind::Enum(names) => match names.iter().position(|name| *name == text) {
                Some(number) => self.varint(number as u64),
                None => return self.number(text),
            },
            Kind::Double => match text.parse() {
                Ok(value) => self.double(value),
                Err(_) => return false,
            },
            _ => return self.number(text),
        }
        true
    }

    fn number(&mut self, text: &str) -> bool {
        if let Ok(value) = text.parse::<u64>() {
            self.integer(value.into())
        } else if let Ok(value) = text.parse::<i64>() {
            self.integer(value.into())
        } else {
            text.parse().is_ok_and(|value| self.float(value))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Field { name, kind, .. } = self.field;
        let what = match kind {
            Kind::Text => "a string",
            Kind::Texts => "an array of strings",
            Kind::Id => "hexadecimal digits",
            Kind::Bytes => "base64",
            Kind::Bool => "true or false",
            Kind::Int64 => "a whole number of 64 bits",
            Kind::Uint32 | Kind::Fixed32 => "a whole number of 32 bits, not below 0",
            Kind::Fixed64 => "a whole number of 64 bits, not below 0",
            Kind::Double => "a number",
            Kind::Enum(_) => "a number, or its name",
            Kind::One(_) => "an object",
            Kind::Each(_) => "an array of objects",
        };
        write!(f, "{what} as `{name}`")
    }

    /// null.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        let is_taken = matches!(self.field.kind, Kind::Bool);
        if is_taken {
            self.varint(value.into());
        }
        self.taken(is_taken)
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<(), E> {
        let is_taken = self.integer(value.into());
        self.taken(is_taken)
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<(), E> {
        let is_taken = self.integer(value.into());
        self.taken(is_taken)
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        let is_taken = self.float(value);
        self.taken(is_taken)
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        let is_taken = self.text(text);
        self.taken(is_taken)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        match self.field.kind {
            Kind::One(of) => self.measured(|out| Fields { of, out }.visit_map(map)).map(|_| ()),
            _ => self.taken(false),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { field, out } = self;
        if !matches!(field.kind, Kind::Each(_) | Kind::Texts) {
            return Value { field, out }.taken(false);
        }
        while elements.next_element_seed(Element(Value { field, out }))?.is_some() {}
        Ok(())
    }
}

// === impl Element ===

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self(mut value) = self;
        match value.field.kind {
            Kind::Each(of) => value.measured(|out| Fields { of, out }.deserialize(deserializer)).map(|_| ()),
            _ => deserializer.deserialize_str(value),
        }
    }
}

/// False where there are other letters, or their number is odd.
fn hexadecimal(digits: &[u8], out: &mut Vec<u8>) -> bool {
    let digit = |letter: u8| char::from(letter).to_digit(16);
    let (pairs, odd) = digits.as_chunks::<2>();
    odd.is_empty()
        && pairs.iter().all(|[high, low]| {
            let byte = digit(*high).zip(digit(*low)).map(|(high, low)| (high << 4 | low) as u8);
            out.extend(byte);
            byte.is_some()
        })
}

#[cfg(test)]
mod tests;
