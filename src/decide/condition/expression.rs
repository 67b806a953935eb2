//! Values computed from what is looked at, and conditions on them.
//!
//! As OTTL has it (v0.160, `pkg/ottl/math.go` and `ottlfuncs`): what cannot be computed, as a sum with a text, comes to
//! nothing, and then no condition with it holds.

use std::cmp::Ordering;

use super::{
    Constant, Op, Pattern, Subject,
    compare::order,
    function::{self, Function},
};
use crate::decode::{Key, Value, elements};

/// The longest text that is computed, and the values of a list that are looked at, so that a span takes little memory to
/// judge. What is only looked at may be longer.
pub const COMPUTED_MAX: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expression {
    Constant(Constant),
    Path(Subject),
    List(Vec<Self>),
    /// From left to right.
    Math(Box<Self>, Vec<(Math, Self)>),
    Call(Function, Vec<Self>),
    Matches(Box<Self>, Pattern),
    /// What stands inside of it.
    Inside(Box<Self>, Vec<Key>),
    Compare(Op, Box<[Self; 2]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Math {
    Add,
    Sub,
    Mul,
    Div,
}

/// What an expression comes to.
#[derive(Clone, Debug)]
pub enum Computed<'a> {
    Value(Value<'a>),
    Text(Vec<u8>),
    List(Vec<Self>),
}

/// Why it comes to nothing: its types do not fit, or a bound is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncomputable;

// === impl Expression ===

impl Expression {
    /// What it comes to where `look` is what the subjects are.
    pub fn compute<'a>(&'a self, look: &dyn Fn(&Subject) -> Computed<'a>) -> Result<Computed<'a>, Uncomputable> {
        Ok(match self {
            Expression::Constant(constant) => Computed::Value(constant.value()),
            Expression::Path(subject) => look(subject),
            Expression::List(items) => {
                Computed::List(items.iter().map(|item| item.compute(look)).collect::<Result<_, _>>()?)
            }
            Expression::Math(first, rest) => {
                let mut result = first.compute(look)?.scalar()?;
                for (math, operand) in rest {
                    result = math.apply(result, operand.compute(look)?.scalar()?)?;
                }
                Computed::Value(result)
            }
            Expression::Call(function, args) => {
                let args = args.iter().map(|arg| arg.compute(look)).collect::<Result<Vec<_>, _>>()?;
                function::call(*function, &args)?
            }
            Expression::Matches(of, pattern) => {
                let of = of.compute(look)?;
                Computed::Value(Value::Bool(of.value().is_some_and(|value| pattern.is_match(value))))
            }
            Expression::Inside(of, keys) => of.compute(look)?.inside(keys),
            Expression::Compare(op, sides) => {
                let [left, right] = &**sides;
                Computed::Value(Value::Bool(holds(&left.compute(look)?, *op, &right.compute(look)?)))
            }
        })
    }

    /// Whether it comes to this; what cannot be computed comes to neither.
    pub fn comes_to<'a>(&'a self, whether: bool, look: &dyn Fn(&Subject) -> Computed<'a>) -> bool {
        matches!(self.compute(look), Ok(Computed::Value(Value::Bool(value))) if value == whether)
    }

    /// Visits what it looks at.
    pub fn subjects(&self, visit: &mut impl FnMut(&Subject)) {
        match self {
            Expression::Constant(_) => {}
            Expression::Path(subject) => visit(subject),
            Expression::List(parts) | Expression::Call(_, parts) => parts.iter().for_each(|part| part.subjects(visit)),
            Expression::Math(first, rest) => {
                first.subjects(visit);
                rest.iter().for_each(|(_, part)| part.subjects(visit));
            }
            Expression::Matches(of, _) | Expression::Inside(of, _) => of.subjects(visit),
            Expression::Compare(_, sides) => sides.iter().for_each(|side| side.subjects(visit)),
        }
    }

    pub fn patterns(&self, visit: &mut impl FnMut(&Pattern)) {
        match self {
            Expression::Constant(_) | Expression::Path(_) => {}
            Expression::List(parts) | Expression::Call(_, parts) => parts.iter().for_each(|part| part.patterns(visit)),
            Expression::Math(first, rest) => {
                first.patterns(visit);
                rest.iter().for_each(|(_, part)| part.patterns(visit));
            }
            Expression::Matches(of, pattern) => {
                visit(pattern);
                of.patterns(visit);
            }
            Expression::Inside(of, _) => of.patterns(visit),
            Expression::Compare(_, sides) => sides.iter().for_each(|side| side.patterns(visit)),
        }
    }
}

/// OTTL's comparison, where lists are equal if their values are, and of the same types. A map is equal to nothing, and
/// neither is a list with lists or maps in it.
fn holds(left: &Computed<'_>, op: Op, right: &Computed<'_>) -> bool {
    match (left.elements(), right.elements()) {
        (Some(left), Some(right)) => match op {
            Op::Eq => same(left, right),
            Op::Ne => !same(left, right),
            _ => false,
        },
        (None, None) => op.holds(left.order(right)),
        _ => op == Op::Ne,
    }
}

fn same(left: Vec<Value<'_>>, right: Vec<Value<'_>>) -> bool {
    let equal = |(a, b): (&Value<'_>, &Value<'_>)| {
        std::mem::discriminant(a) == std::mem::discriminant(b) && order(*a, *b) == Some(Ordering::Equal)
    };
    left.len() == right.len() && left.iter().zip(&right).all(equal)
}

// === impl Math ===

impl Math {
    pub fn apply<'a>(self, a: Value<'_>, b: Value<'_>) -> Result<Value<'a>, Uncomputable> {
        Ok(match (a, b) {
            (Value::Int(a), Value::Int(b)) => Value::Int(self.ints(a, b)?),
            (Value::Int(a), Value::Double(b)) => Value::Double(self.doubles(a as f64, b)?),
            (Value::Double(a), Value::Int(b)) => Value::Double(self.doubles(a, b as f64)?),
            (Value::Double(a), Value::Double(b)) => Value::Double(self.doubles(a, b)?),
            _ => return Err(Uncomputable),
        })
    }

    /// What does not fit 64 bits wraps, as in Go.
    fn ints(self, a: i64, b: i64) -> Result<i64, Uncomputable> {
        match self {
            Math::Add => Ok(a.wrapping_add(b)),
            Math::Sub => Ok(a.wrapping_sub(b)),
            Math::Mul => Ok(a.wrapping_mul(b)),
            Math::Div if b == 0 => Err(Uncomputable),
            Math::Div => Ok(a.wrapping_div(b)),
        }
    }

    fn doubles(self, a: f64, b: f64) -> Result<f64, Uncomputable> {
        match self {
            Math::Add => Ok(a + b),
            Math::Sub => Ok(a - b),
            Math::Mul => Ok(a * b),
            Math::Div if b == 0.0 => Err(Uncomputable),
            Math::Div => Ok(a / b),
        }
    }
}

// === impl Computed ===

impl<'a> Computed<'a> {
    pub const NIL: Self = Computed::Value(Value::Nil);

    /// None of a list that was computed.
    pub fn value(&self) -> Option<Value<'_>> {
        match self {
            Computed::Value(value) => Some(*value),
            Computed::Text(text) => Some(Value::Str(text)),
            Computed::List(_) => None,
        }
    }

    /// Where it is a list; of a very long one, the first.
    pub fn elements(&self) -> Option<Vec<Value<'_>>> {
        match self {
            Computed::Value(Value::List(list)) => Some(elements(list).take(COMPUTED_MAX).collect()),
            // What is computed holds no lists that matter: one inside another is equal to nothing.
            Computed::List(items) => Some(items.iter().map(|item| item.value().unwrap_or(Value::List(&[]))).collect()),
            _ => None,
        }
    }

    fn scalar(self) -> Result<Value<'a>, Uncomputable> {
        match self {
            Computed::Value(value) => Ok(value),
            // A text is no number.
            Computed::Text(_) | Computed::List(_) => Err(Uncomputable),
        }
    }

    fn order(&self, other: &Computed<'_>) -> Option<Ordering> {
        order(self.value()?, other.value()?)
    }

    /// What stands inside of it.
    pub fn inside(self, keys: &[Key]) -> Self {
        match (self, keys) {
            (this, []) => this,
            (Computed::Value(value), keys) => Computed::Value(keys.iter().fold(value, |value, key| value.entry(key))),
            (Computed::List(mut items), [Key::Place(place), rest @ ..]) if (*place as usize) < items.len() => {
                items.swap_remove(*place as usize).inside(rest)
            }
            _ => Computed::NIL,
        }
    }
}
