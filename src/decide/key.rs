//! What values are told apart by.

use super::{
    condition::Computed,
    fnv::fnv,
    tree::{hash, mix},
};
use crate::decode::Value;

/// The key of a value: values that compare equal have one key, and others have others, as far as a hash goes. So `1` and `1.0`
/// have one, and so have whole numbers so large that they are equal to the same fraction. It is in what is written to topics, so
/// it must not change from version to version.
pub fn key_of(value: &Computed<'_>) -> u64 {
    match (value.elements(), value.value()) {
        (Some(elements), _) => elements.into_iter().fold(typed(6, &[]), |key, element| mix(key, scalar(element))),
        (None, value) => scalar(value.unwrap_or(Value::Nil)),
    }
}

/// The key of a trace that others are linked to, by its id.
pub fn linked(trace: &[u8]) -> u64 {
    scalar(Value::Bytes(trace))
}

/// The key of an operation, by the hash of its service (0 where it has none) and the name of its root.
pub fn operation(service: u64, name: &[u8]) -> u64 {
    mix(service, hash(name))
}

fn scalar(value: Value<'_>) -> u64 {
    match value {
        Value::Nil => typed(0, &[]),
        Value::Bool(value) => typed(1, &[value.into()]),
        Value::Int(value) => number(value as f64),
        Value::Double(value) => number(value),
        Value::Str(text) => typed(3, text),
        Value::Bytes(bytes) => typed(4, bytes),
        // Equal to nothing, and yet the same wherever it is the same.
        Value::List(encoded) | Value::Map(encoded) => typed(5, encoded),
    }
}

fn number(value: f64) -> u64 {
    // Minus zero is zero, and nobody tells what is no number from another.
    let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
    typed(2, &value.to_bits().to_le_bytes())
}

fn typed(kind: u8, bytes: &[u8]) -> u64 {
    fnv([kind].iter().chain(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::condition::{Expression, Op, Subject};

    /// As a condition compares them.
    fn equal(left: &Computed<'_>, right: &Computed<'_>) -> bool {
        let sides = [Subject::Kind, Subject::Status].map(Expression::Path);
        let compare = Expression::Compare(Op::Eq, Box::new(sides));
        let look = |subject: &Subject| if *subject == Subject::Kind { left.clone() } else { right.clone() };
        let compared = compare.compute(&look).expect("it compares");
        matches!(compared, Computed::Value(Value::Bool(true)))
    }

    #[test]
    fn values_have_one_key_where_they_compare_equal() {
        let text = |text: &str| Computed::Text(text.into());
        let values = [
            Computed::NIL,
            Computed::Value(Value::Bool(false)),
            Computed::Value(Value::Bool(true)),
            Computed::Value(Value::Int(0)),
            Computed::Value(Value::Int(1)),
            Computed::Value(Value::Int(1 << 53)),
            Computed::Value(Value::Double(0.0)),
            Computed::Value(Value::Double(-0.0)),
            Computed::Value(Value::Double(1.0)),
            Computed::Value(Value::Double(1.5)),
            Computed::Value(Value::Double((1_u64 << 53) as f64)),
            Computed::Value(Value::Str(b"")),
            Computed::Value(Value::Str(b"1")),
            Computed::Value(Value::Bytes(b"")),
            Computed::Value(Value::Bytes(b"1")),
            text("1"),
            // A list of the texts "a" and "b", as it came.
            Computed::Value(Value::List(b"\x0a\x03\x0a\x01a\x0a\x03\x0a\x01b")),
            Computed::List(vec![text("a"), text("b")]),
            Computed::List(vec![text("b"), text("a")]),
            Computed::List(vec![text("a")]),
            Computed::List(Vec::new()),
        ];
        for left in &values {
            for right in &values {
                assert_eq!(key_of(left) == key_of(right), equal(left, right), "{left:?} {right:?}");
            }
        }
    }

    /// Of two whole numbers and the fraction that both are equal to, all have one key.
    #[test]
    fn large_numbers_have_the_key_of_what_they_are_equal_to() {
        let [whole, more] = [1 << 53, (1 << 53) + 1].map(|number| Computed::Value(Value::Int(number)));
        let fraction = Computed::Value(Value::Double((1_u64 << 53) as f64));
        assert!(equal(&whole, &fraction) && equal(&more, &fraction));
        assert_eq!(key_of(&more), key_of(&fraction));
        let nans = [f64::NAN, -f64::NAN].map(|nan| key_of(&Computed::Value(Value::Double(nan))));
        assert_eq!(nans[0], nans[1]);
    }
}
