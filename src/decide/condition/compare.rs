//! OTTL's comparison of values.
//!
//! Source: opentelemetry-collector-contrib, `pkg/ottl/compare.go` (v0.160): integers meet floats as floats, false is less
//! than true, nil equals nil only, and of different types only `!=` holds. Lists and maps have no order.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
};

use crate::decode::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// The right side of a comparison. Durations and enums are integers here: nanoseconds, OTLP's numbers.
#[derive(Clone, Debug)]
pub enum Constant {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
    /// Ids are bytes too.
    Bytes(Box<[u8]>),
}

/// How a value stands to another; None where they have no order.
pub fn order(a: Value<'_>, b: Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Nil, Value::Nil) => Some(Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(&b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(&b)),
        (Value::Int(a), Value::Double(b)) => (a as f64).partial_cmp(&b),
        (Value::Double(a), Value::Int(b)) => a.partial_cmp(&(b as f64)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(&b),
        (Value::Str(a), Value::Str(b)) | (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

// === impl Op ===

impl Op {
    /// Whether it holds of two sides that stand in this order; None: in no order, as of different types or NaN.
    pub fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Op::Eq => order.is_some_and(Ordering::is_eq),
            Op::Ne => order.is_none_or(Ordering::is_ne),
            Op::Lt => order.is_some_and(Ordering::is_lt),
            Op::Le => order.is_some_and(Ordering::is_le),
            Op::Gt => order.is_some_and(Ordering::is_gt),
            Op::Ge => order.is_some_and(Ordering::is_ge),
        }
    }

    /// The same comparison with its sides exchanged.
    pub fn flipped(self) -> Self {
        match self {
            Op::Lt => Op::Gt,
            Op::Le => Op::Ge,
            Op::Gt => Op::Lt,
            Op::Ge => Op::Le,
            Op::Eq | Op::Ne => self,
        }
    }

    pub fn symbol(self) -> &'static str {
        match self {
            Op::Eq => "==",
            Op::Ne => "!=",
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Gt => ">",
            Op::Ge => ">=",
        }
    }
}

// === impl Constant ===

impl Constant {
    /// How a value stands to this constant; None where they have no order. As [`order`], without a second value to be made:
    /// this is where the time of comparisons goes.
    #[inline]
    pub fn order(&self, value: Value<'_>) -> Option<Ordering> {
        match (value, self) {
            (Value::Nil, Constant::Nil) => Some(Ordering::Equal),
            (Value::Bool(a), Constant::Bool(b)) => Some(a.cmp(b)),
            (Value::Int(a), Constant::Int(b)) => Some(a.cmp(b)),
            (Value::Int(a), Constant::Float(b)) => (a as f64).partial_cmp(b),
            (Value::Double(a), Constant::Int(b)) => a.partial_cmp(&(*b as f64)),
            (Value::Double(a), Constant::Float(b)) => a.partial_cmp(b),
            (Value::Str(a), Constant::Text(b)) => Some(a.cmp(b.as_bytes())),
            (Value::Bytes(a), Constant::Bytes(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    pub fn value(&self) -> Value<'_> {
        match self {
            Constant::Nil => Value::Nil,
            Constant::Bool(value) => Value::Bool(*value),
            Constant::Int(value) => Value::Int(*value),
            Constant::Float(value) => Value::Double(*value),
            Constant::Text(text) => Value::Str(text.as_bytes()),
            Constant::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

/// Equal as written, so that equal comparisons are made once: floats by their bits.
impl PartialEq for Constant {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Constant::Nil, Constant::Nil) => true,
            (Constant::Bool(a), Constant::Bool(b)) => a == b,
            (Constant::Int(a), Constant::Int(b)) => a == b,
            (Constant::Float(a), Constant::Float(b)) => a.to_bits() == b.to_bits(),
            (Constant::Text(a), Constant::Text(b)) => a == b,
            (Constant::Bytes(a), Constant::Bytes(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Constant {}

impl Hash for Constant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Constant::Nil => {}
            Constant::Bool(value) => value.hash(state),
            Constant::Int(value) => value.hash(state),
            Constant::Float(value) => value.to_bits().hash(state),
            Constant::Text(value) => value.hash(state),
            Constant::Bytes(value) => value.hash(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The operators that hold, as OTTL has them.
    #[test]
    fn compares_as_ottl() {
        use Constant as C;
        use Value as V;
        let (less, equal, greater, other) = ("!= < <=", "== <= >=", "!= > >=", "!=");
        let text = |text: &str| C::Text(text.into());
        let table = [
            (V::Int(1), C::Int(2), less),
            (V::Int(2), C::Int(2), equal),
            (V::Int(3), C::Int(2), greater),
            (V::Int(i64::MIN), C::Int(i64::MAX), less),
            (V::Int(1), C::Float(1.5), less),
            (V::Int(1), C::Float(1.0), equal),
            (V::Int((1 << 53) + 1), C::Float((1_u64 << 53) as f64), equal),
            (V::Double(1.5), C::Int(1), greater),
            (V::Double(1.0), C::Int(1), equal),
            (V::Double(0.5), C::Float(0.5), equal),
            (V::Double(-0.0), C::Float(0.0), equal),
            (V::Double(f64::NAN), C::Float(0.5), other),
            (V::Double(f64::NAN), C::Int(0), other),
            (V::Bool(false), C::Bool(true), less),
            (V::Bool(true), C::Bool(true), equal),
            (V::Bool(true), C::Bool(false), greater),
            (V::Str(b"abc"), text("abd"), less),
            (V::Str(b"abc"), text("abc"), equal),
            (V::Str(b"B"), text("a"), less),
            (V::Str(b"b"), text(""), greater),
            (V::Nil, C::Nil, equal),
            // Of different types only `!=`.
            (V::Nil, C::Int(0), other),
            (V::Nil, C::Bool(false), other),
            (V::Nil, text(""), other),
            (V::Int(0), C::Nil, other),
            (V::Str(b""), C::Nil, other),
            (V::Str(b"500"), C::Int(500), other),
            (V::Int(500), text("500"), other),
            (V::Bool(true), C::Int(1), other),
            (V::Bool(true), text("true"), other),
            (V::Bytes(b"a"), text("a"), other),
            (V::Bytes(b"a"), C::Bytes((*b"b").into()), less),
            (V::Bytes(b"b"), C::Bytes((*b"b").into()), equal),
            (V::Str(b"b"), C::Bytes((*b"b").into()), other),
            (V::List(b""), C::Nil, other),
            (V::Map(b""), text(""), other),
        ];
        for (value, constant, holds) in table {
            for op in [Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge] {
                let expected = holds.split(' ').any(|symbol| symbol == op.symbol());
                assert_eq!(op.holds(constant.order(value)), expected, "{value:?} {} {constant:?}", op.symbol());
            }
        }
    }
}
