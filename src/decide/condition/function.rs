//! The functions whose value is looked at: what they take, and what they come to.
//!
//! As in OTTL (v0.160, `pkg/ottl/ottlfuncs`), by the same names.

use super::{
    expression::{COMPUTED_MAX, Computed, Uncomputable},
    pattern,
    types::Type,
};
use crate::decode::{Bodies, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    Bool,
    Concat,
    ContainsValue,
    Double,
    HasPrefix,
    HasSuffix,
    Hours,
    Int,
    IsBool,
    IsDouble,
    IsInt,
    IsList,
    IsMap,
    IsString,
    Len,
    Microseconds,
    Milliseconds,
    Minutes,
    Nanoseconds,
    Seconds,
    Split,
    String,
    Substring,
    ToLowerCase,
    ToUpperCase,
    Trim,
    TrimPrefix,
    TrimSuffix,
}

/// Parts into which a text is split, each with memory of its own: paths and lists of names have some tens at most.
const PARTS_MAX: usize = 1024;

/// What a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param {
    Any,
    Text,
    Int,
    List,
    Duration,
}

#[derive(Debug)]
pub struct Signature {
    pub name: &'static str,
    pub function: Function,
    pub params: &'static [Param],
    /// So many of them, the last, may be left out.
    pub optional: usize,
    pub result: Type,
    pub example: &'static str,
}

const fn of(
    name: &'static str,
    function: Function,
    params: &'static [Param],
    result: Type,
    example: &'static str,
) -> Signature {
    Signature { name, function, params, optional: 0, result, example }
}

#[rustfmt::skip]
pub const FUNCTIONS: [Signature; 28] = {
    use Function as F;
    use Param::{Any, Duration, Int, List, Text};
    [
        of("Bool", F::Bool, &[Any], Type::Bool, "Bool(attributes[\"retry\"])"),
        of("Concat", F::Concat, &[List, Text], Type::Text, "Concat([name, service], \" \")"),
        of("ContainsValue", F::ContainsValue, &[List, Any], Type::Bool, "ContainsValue([\"a\", \"b\"], name)"),
        of("Double", F::Double, &[Any], Type::Double, "Double(attributes[\"load\"])"),
        of("HasPrefix", F::HasPrefix, &[Text, Text], Type::Bool, "HasPrefix(name, \"GET \")"),
        of("HasSuffix", F::HasSuffix, &[Text, Text], Type::Bool, "HasSuffix(name, \"/healthz\")"),
        of("Hours", F::Hours, &[Duration], Type::Double, "Hours(duration)"),
        of("Int", F::Int, &[Any], Type::Int, "Int(attributes[\"http.status_code\"])"),
        of("IsBool", F::IsBool, &[Any], Type::Bool, "IsBool(attributes[\"retry\"])"),
        of("IsDouble", F::IsDouble, &[Any], Type::Bool, "IsDouble(attributes[\"load\"])"),
        of("IsInt", F::IsInt, &[Any], Type::Bool, "IsInt(attributes[\"http.status_code\"])"),
        of("IsList", F::IsList, &[Any], Type::Bool, "IsList(attributes[\"tags\"])"),
        of("IsMap", F::IsMap, &[Any], Type::Bool, "IsMap(attributes[\"user\"])"),
        of("IsString", F::IsString, &[Any], Type::Bool, "IsString(attributes[\"user\"])"),
        of("Len", F::Len, &[Any], Type::Int, "Len(attributes[\"db.query.text\"])"),
        of("Microseconds", F::Microseconds, &[Duration], Type::Int, "Microseconds(duration)"),
        of("Milliseconds", F::Milliseconds, &[Duration], Type::Int, "Milliseconds(duration)"),
        of("Minutes", F::Minutes, &[Duration], Type::Double, "Minutes(duration)"),
        of("Nanoseconds", F::Nanoseconds, &[Duration], Type::Int, "Nanoseconds(duration)"),
        of("Seconds", F::Seconds, &[Duration], Type::Double, "Seconds(duration)"),
        of("Split", F::Split, &[Text, Text], Type::List, "Split(name, \"/\")"),
        of("String", F::String, &[Any], Type::Text, "String(attributes[\"http.status_code\"])"),
        of("Substring", F::Substring, &[Text, Int, Int], Type::Text, "Substring(name, 0, 4)"),
        of("ToLowerCase", F::ToLowerCase, &[Text], Type::Text, "ToLowerCase(name)"),
        of("ToUpperCase", F::ToUpperCase, &[Text], Type::Text, "ToUpperCase(name)"),
        Signature { optional: 1, ..of("Trim", F::Trim, &[Text, Text], Type::Text, "Trim(name, \"/\")") },
        of("TrimPrefix", F::TrimPrefix, &[Text, Text], Type::Text, "TrimPrefix(name, \"/api\")"),
        of("TrimSuffix", F::TrimSuffix, &[Text, Text], Type::Text, "TrimSuffix(name, \"/\")"),
    ]
};

pub fn named(name: &str) -> Option<&'static Signature> {
    FUNCTIONS.iter().find(|signature| signature.name == name)
}

/// What a function of these comes to; they are as many as it takes.
pub fn call<'a>(function: Function, args: &[Computed<'a>]) -> Result<Computed<'a>, Uncomputable> {
    let arg = |at: usize| args.get(at).ok_or(Uncomputable);
    let boolean = |value| Ok(Computed::Value(Value::Bool(value)));
    let int = |value| Ok(Computed::Value(Value::Int(value)));
    let double = |value| Ok(Computed::Value(Value::Double(value)));
    match function {
        Function::Bool => to_bool(arg(0)?),
        Function::Concat => concat(arg(0)?, text(arg(1)?)?),
        Function::ContainsValue => {
            let list = arg(0)?.elements().ok_or(Uncomputable)?;
            let wanted = arg(1)?.value();
            boolean(list.into_iter().any(|item| {
                wanted.is_some_and(|wanted| super::compare::order(item, wanted).is_some_and(std::cmp::Ordering::is_eq))
            }))
        }
        Function::Double => to_double(arg(0)?),
        Function::HasPrefix => boolean(text(arg(0)?)?.starts_with(text(arg(1)?)?)),
        Function::HasSuffix => boolean(text(arg(0)?)?.ends_with(text(arg(1)?)?)),
        Function::Hours => double(nanoseconds(arg(0)?)? as f64 / 3.6e12),
        Function::Int => to_int(arg(0)?),
        Function::IsBool => boolean(matches!(arg(0)?.value(), Some(Value::Bool(_)))),
        Function::IsDouble => boolean(matches!(arg(0)?.value(), Some(Value::Double(_)))),
        Function::IsInt => boolean(matches!(arg(0)?.value(), Some(Value::Int(_)))),
        Function::IsList => boolean(matches!(arg(0)?, Computed::List(_) | Computed::Value(Value::List(_)))),
        Function::IsMap => boolean(matches!(arg(0)?.value(), Some(Value::Map(_)))),
        Function::IsString => boolean(matches!(arg(0)?.value(), Some(Value::Str(_)))),
        Function::Len => int(len(arg(0)?)? as i64),
        Function::Microseconds => int(nanoseconds(arg(0)?)? / 1_000),
        Function::Milliseconds => int(nanoseconds(arg(0)?)? / 1_000_000),
        Function::Minutes => double(nanoseconds(arg(0)?)? as f64 / 6e10),
        Function::Nanoseconds => int(nanoseconds(arg(0)?)?),
        Function::Seconds => double(nanoseconds(arg(0)?)? as f64 / 1e9),
        Function::Split => split(text(arg(0)?)?, text(arg(1)?)?),
        Function::String => match arg(0)?.value() {
            Some(Value::Nil) => Ok(Computed::NIL),
            Some(value) => computed(pattern::text(value, &mut [0; 32]).ok_or(Uncomputable)?.to_vec()),
            None => Err(Uncomputable),
        },
        Function::Substring => substring(text(arg(0)?)?, whole(arg(1)?)?, whole(arg(2)?)?),
        Function::ToLowerCase => cased(text(arg(0)?)?, str::to_lowercase),
        Function::ToUpperCase => cased(text(arg(0)?)?, str::to_uppercase),
        Function::Trim => {
            let these = String::from_utf8_lossy(args.get(1).map_or(Ok(&b" "[..]), text)?);
            let text = lossy(text(arg(0)?)?)?;
            computed(text.trim_matches(|c| these.contains(c)).into())
        }
        Function::TrimPrefix => {
            let (text, prefix) = (text(arg(0)?)?, text(arg(1)?)?);
            computed(text.strip_prefix(prefix).unwrap_or(text).into())
        }
        Function::TrimSuffix => {
            let (text, suffix) = (text(arg(0)?)?, text(arg(1)?)?);
            computed(text.strip_suffix(suffix).unwrap_or(text).into())
        }
    }
}

fn text<'c>(arg: &'c Computed<'_>) -> Result<&'c [u8], Uncomputable> {
    match arg.value() {
        Some(Value::Str(text)) => Ok(text),
        _ => Err(Uncomputable),
    }
}

fn whole(arg: &Computed<'_>) -> Result<i64, Uncomputable> {
    match arg.value() {
        Some(Value::Int(value)) => Ok(value),
        _ => Err(Uncomputable),
    }
}

fn nanoseconds(arg: &Computed<'_>) -> Result<i64, Uncomputable> {
    whole(arg)
}

fn computed<'a>(text: Vec<u8>) -> Result<Computed<'a>, Uncomputable> {
    if text.len() > COMPUTED_MAX { Err(Uncomputable) } else { Ok(Computed::Text(text)) }
}

/// As Go has it, for whom bytes that are no text are a character each.
fn lossy(text: &[u8]) -> Result<std::borrow::Cow<'_, str>, Uncomputable> {
    if text.len() > COMPUTED_MAX { Err(Uncomputable) } else { Ok(String::from_utf8_lossy(text)) }
}

fn cased<'a>(text: &[u8], case: fn(&str) -> String) -> Result<Computed<'a>, Uncomputable> {
    computed(case(&lossy(text)?).into_bytes())
}

fn to_int<'a>(arg: &Computed<'_>) -> Result<Computed<'a>, Uncomputable> {
    Ok(Computed::Value(match arg.value().ok_or(Uncomputable)? {
        Value::Nil => Value::Nil,
        Value::Int(value) => Value::Int(value),
        Value::Double(value) => Value::Int(value as i64),
        Value::Bool(value) => Value::Int(i64::from(value)),
        Value::Str(text) => Value::Int(utf8(text)?.parse().map_err(|_| Uncomputable)?),
        _ => return Err(Uncomputable),
    }))
}

fn to_double<'a>(arg: &Computed<'_>) -> Result<Computed<'a>, Uncomputable> {
    Ok(Computed::Value(match arg.value().ok_or(Uncomputable)? {
        Value::Nil => Value::Nil,
        Value::Int(value) => Value::Double(value as f64),
        Value::Double(value) => Value::Double(value),
        Value::Bool(value) => Value::Double(f64::from(u8::from(value))),
        Value::Str(text) => Value::Double(utf8(text)?.parse().map_err(|_| Uncomputable)?),
        _ => return Err(Uncomputable),
    }))
}

fn utf8(text: &[u8]) -> Result<&str, Uncomputable> {
    str::from_utf8(text).map_err(|_| Uncomputable)
}

/// Of texts those that Go takes for one.
fn to_bool<'a>(arg: &Computed<'_>) -> Result<Computed<'a>, Uncomputable> {
    Ok(Computed::Value(match arg.value().ok_or(Uncomputable)? {
        Value::Nil => Value::Nil,
        Value::Bool(value) => Value::Bool(value),
        Value::Int(value) => Value::Bool(value != 0),
        Value::Double(value) => Value::Bool(value != 0.0),
        Value::Str(b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True") => Value::Bool(true),
        Value::Str(b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False") => Value::Bool(false),
        _ => return Err(Uncomputable),
    }))
}

fn len(arg: &Computed<'_>) -> Result<usize, Uncomputable> {
    match arg {
        Computed::List(items) => Ok(items.len()),
        Computed::Text(text) => Ok(text.len()),
        Computed::Value(Value::Str(bytes) | Value::Bytes(bytes)) => Ok(bytes.len()),
        Computed::Value(Value::List(encoded) | Value::Map(encoded)) => Ok(Bodies::of(encoded, 1).count()),
        Computed::Value(_) => Err(Uncomputable),
    }
}

/// What is absent is written as `<nil>`.
fn concat<'a>(list: &Computed<'_>, between: &[u8]) -> Result<Computed<'a>, Uncomputable> {
    let mut whole = Vec::new();
    for (at, value) in list.elements().ok_or(Uncomputable)?.into_iter().enumerate() {
        if at > 0 {
            whole.extend_from_slice(between);
        }
        match value {
            Value::Nil => whole.extend_from_slice(b"<nil>"),
            value => whole.extend_from_slice(pattern::text(value, &mut [0; 32]).ok_or(Uncomputable)?),
        }
        if whole.len() > COMPUTED_MAX {
            return Err(Uncomputable);
        }
    }
    Ok(Computed::Text(whole))
}

/// By nothing it is split into its characters.
fn split<'a>(text: &[u8], by: &[u8]) -> Result<Computed<'a>, Uncomputable> {
    let (text, by) = (lossy(text)?, String::from_utf8_lossy(by));
    let part = |part: &str| Computed::Text(part.as_bytes().to_vec());
    let parts: Vec<_> = if by.is_empty() {
        let characters = text.char_indices().map(|(at, c)| part(&text[at..at + c.len_utf8()]));
        characters.take(PARTS_MAX + 1).collect()
    } else {
        text.split(&*by).map(part).take(PARTS_MAX + 1).collect()
    };
    if parts.len() > PARTS_MAX { Err(Uncomputable) } else { Ok(Computed::List(parts)) }
}

/// In bytes, all of which must be there.
fn substring<'a>(text: &[u8], start: i64, length: i64) -> Result<Computed<'a>, Uncomputable> {
    let place = |number: i64| usize::try_from(number).map_err(|_| Uncomputable);
    let (start, length) = (place(start)?, place(length)?);
    let end = start.checked_add(length).ok_or(Uncomputable)?;
    let part = text.get(start..end).filter(|part| !part.is_empty()).ok_or(Uncomputable)?;
    computed(part.to_vec())
}

#[cfg(test)]
mod tests {
    use Value::{Bool, Bytes, Double, Int, Nil, Str};

    use super::*;

    /// What it comes to, shown; None where it cannot be computed.
    fn come(name: &str, args: &[Value<'_>]) -> Option<String> {
        let args: Vec<_> = args.iter().map(|arg| Computed::Value(*arg)).collect();
        let show = |value: Value<'_>| match value {
            Str(text) => format!("{:?}", String::from_utf8_lossy(text)),
            value => format!("{value:?}"),
        };
        call(named(name).expect("a function").function, &args).ok().map(|computed| match computed.elements() {
            Some(items) => items.into_iter().map(show).collect::<Vec<_>>().join(" "),
            None => show(computed.value().expect("no list")),
        })
    }

    /// Source: the tests of `pkg/ottl/ottlfuncs` (v0.160), as far as they are of values that spans have.
    #[test]
    fn comes_to_what_ottl_says() {
        let text = |text: &'static str| Str(text.as_bytes());
        // An encoded list of "a", 1, and a map with one key.
        let (list, map) = (Value::List(b"\x0a\x03\x0a\x01a\x0a\x02\x18\x01"), Value::Map(b"\x0a\x03\x0a\x01k"));
        let table: &[(&str, &[Value<'_>], Option<&str>)] = &[
            ("Int", &[text("50")], Some("Int(50)")),
            ("Int", &[text("+5")], Some("Int(5)")),
            ("Int", &[text("test")], None),
            ("Int", &[text("333333333.3")], None),
            ("Int", &[text("")], None),
            ("Int", &[Double(-55.9)], Some("Int(-55)")),
            ("Int", &[Bool(true)], Some("Int(1)")),
            ("Int", &[Nil], Some("Nil")),
            ("Int", &[list], None),
            ("Double", &[text("0.5")], Some("Double(0.5)")),
            ("Double", &[text("50")], Some("Double(50.0)")),
            ("Double", &[text("a")], None),
            ("Double", &[Bool(false)], Some("Double(0.0)")),
            ("Double", &[Nil], Some("Nil")),
            ("Bool", &[text("True")], Some("Bool(true)")),
            ("Bool", &[text("yes")], None),
            ("Bool", &[Int(2)], Some("Bool(true)")),
            ("Bool", &[Double(0.0)], Some("Bool(false)")),
            ("Bool", &[Nil], Some("Nil")),
            ("String", &[Int(7)], Some("\"7\"")),
            ("String", &[Double(1e21)], Some("\"1e+21\"")),
            ("String", &[Bool(true)], Some("\"true\"")),
            ("String", &[Nil], Some("Nil")),
            ("String", &[Bytes(b"a")], None),
            ("Len", &[text("ä")], Some("Int(2)")),
            ("Len", &[Bytes(b"abc")], Some("Int(3)")),
            ("Len", &[list], Some("Int(2)")),
            ("Len", &[map], Some("Int(1)")),
            ("Len", &[Int(5)], None),
            ("Len", &[Nil], None),
            ("Substring", &[text("123456789"), Int(3), Int(3)], Some("\"456\"")),
            ("Substring", &[text("123456789"), Int(0), Int(9)], Some("\"123456789\"")),
            ("Substring", &[text("123456789"), Int(3), Int(20)], None),
            ("Substring", &[text("123456789"), Int(-2), Int(6)], None),
            ("Substring", &[text("123456789"), Int(3), Int(0)], None),
            ("Substring", &[text(""), Int(0), Int(1)], None),
            ("Substring", &[text("1"), Int(i64::MAX), Int(i64::MAX)], None),
            ("Substring", &[Nil, Int(0), Int(1)], None),
            ("Split", &[text("A|B|C"), text("|")], Some(r#""A" "B" "C""#)),
            ("Split", &[text("A|B|C"), text("-")], Some(r#""A|B|C""#)),
            ("Split", &[text(""), text("|")], Some("\"\"")),
            ("Split", &[text("aä"), text("")], Some(r#""a" "ä""#)),
            ("Split", &[Int(1), text("|")], None),
            ("Concat", &[list, text(" ")], Some("\"a 1\"")),
            ("Concat", &[text("a"), text(" ")], None),
            ("ContainsValue", &[list, text("a")], Some("Bool(true)")),
            ("ContainsValue", &[list, Double(1.0)], Some("Bool(true)")),
            ("ContainsValue", &[list, Nil], Some("Bool(false)")),
            ("ContainsValue", &[Nil, text("a")], None),
            ("HasPrefix", &[text("hello"), text("hel")], Some("Bool(true)")),
            ("HasPrefix", &[text("hello"), text("lo")], Some("Bool(false)")),
            ("HasPrefix", &[Nil, text("lo")], None),
            ("HasSuffix", &[text("hello"), text("lo")], Some("Bool(true)")),
            ("HasSuffix", &[Int(5), text("5")], None),
            ("ToLowerCase", &[text("COMPLEX_STRING Ä")], Some("\"complex_string ä\"")),
            ("ToUpperCase", &[text("")], Some("\"\"")),
            ("ToUpperCase", &[Int(5)], None),
            ("Trim", &[text(" this is a test ")], Some("\"this is a test\"")),
            ("Trim", &[text("--a-b-"), text("-")], Some("\"a-b\"")),
            ("TrimPrefix", &[text("/a/a"), text("/a")], Some("\"/a\"")),
            ("TrimSuffix", &[text("/a/a"), text("/b")], Some("\"/a/a\"")),
            ("IsString", &[text("")], Some("Bool(true)")),
            ("IsString", &[Nil], Some("Bool(false)")),
            ("IsInt", &[Double(1.0)], Some("Bool(false)")),
            ("IsDouble", &[Double(1.0)], Some("Bool(true)")),
            ("IsBool", &[Bool(false)], Some("Bool(true)")),
            ("IsMap", &[map], Some("Bool(true)")),
            ("IsMap", &[list], Some("Bool(false)")),
            ("IsList", &[list], Some("Bool(true)")),
            ("Hours", &[Int(5_400_000_000_000)], Some("Double(1.5)")),
            ("Minutes", &[Int(90_000_000_000)], Some("Double(1.5)")),
            ("Seconds", &[Int(1_500_000_000)], Some("Double(1.5)")),
            ("Milliseconds", &[Int(1_999_999)], Some("Int(1)")),
            ("Microseconds", &[Int(-1_999)], Some("Int(-1)")),
            ("Nanoseconds", &[Int(5)], Some("Int(5)")),
            ("Seconds", &[Nil], None),
        ];
        for (name, args, expected) in table {
            assert_eq!(come(name, args).as_deref(), *expected, "{name} of {args:?}");
        }
        let named = |name: &&str| table.iter().any(|(other, ..)| other == name);
        let untried: Vec<_> = FUNCTIONS.iter().map(|signature| signature.name).filter(|name| !named(name)).collect();
        assert!(untried.is_empty(), "{untried:?}");
    }

    #[test]
    fn what_is_computed_is_bounded() {
        let long = "a".repeat(COMPUTED_MAX + 1);
        let text = Str(long.as_bytes());
        assert_eq!(come("Len", &[text]), Some(format!("Int({})", COMPUTED_MAX + 1)));
        assert!(come("Split", &[Str(&long.as_bytes()[..PARTS_MAX]), Str(b"")]).is_some());
        assert_eq!(come("HasPrefix", &[text, Str(b"aaa")]).as_deref(), Some("Bool(true)"));
        for (name, args) in [
            ("ToLowerCase", &[text][..]),
            ("Trim", &[text]),
            ("Split", &[text, Str(b"-")]),
            ("Split", &[Str(&long.as_bytes()[..PARTS_MAX + 1]), Str(b"")]),
            ("String", &[text]),
            ("TrimPrefix", &[text, Str(b"b")]),
            ("Substring", &[text, Int(0), Int(COMPUTED_MAX as i64 + 1)]),
        ] {
            assert_eq!(come(name, args), None, "{name}");
        }
    }

    /// Their examples are shown with mistakes, so they have to be right.
    #[test]
    fn examples_are_right() {
        for Signature { example, .. } in &FUNCTIONS {
            let condition = format!("any({example} == nil or {example} != nil)");
            assert!(super::super::read(&condition).is_ok(), "{example}");
        }
    }
}
