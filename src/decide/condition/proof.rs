//! What can be shown of conditions without a trace: that one never holds, or that another holds wherever it does.
//!
//! A condition is taken apart into its ways to hold, each of them literals that hold together. What is not certain is not
//! claimed, and neither is what would take too long to find out.

use std::hash::Hash;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Constant, Field, Formula, Number, Op, SpanTest, Subject, Test, TraceTest};
use crate::decode::Value;

/// Shows things, with a bound on what that takes in all.
#[derive(Debug)]
pub struct Proof {
    left: u32,
}

/// A question, and whether it is answered so.
pub type Literal<'f, L> = (&'f L, bool);

/// What literals are about.
pub trait Question: Eq + Hash + Sized {
    /// Whether these certainly do not hold together.
    fn clash(proof: &mut Proof, literals: &[Literal<'_, Self>]) -> bool;
}

/// Literals of one condition, all of its ways together: far more than what people write comes to.
const WAYS_MAX: usize = 10_000;
/// Literals looked at in all: some tenths of a second.
const STEPS_MAX: u32 = 2_000_000;
/// From here on not every whole number is a double, and comparing the two rounds.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The ways in which a condition comes to this; None where there are too many.
pub fn ways<L>(formula: &Formula<L>, whether: bool) -> Option<Vec<Vec<Literal<'_, L>>>> {
    let (parts, together) = match formula {
        Formula::Leaf(leaf) => return Some(vec![vec![(leaf, whether)]]),
        Formula::Not(inner) => return ways(inner, !whether),
        Formula::All(parts) => (parts, whether),
        Formula::Any(parts) => (parts, !whether),
    };
    let mut all = if together { vec![Vec::new()] } else { Vec::new() };
    for part in parts {
        let some = ways(part, whether)?;
        if together {
            let size = |ways: &[Vec<_>]| ways.iter().map(Vec::len).sum::<usize>();
            if all.len() * size(&some) + some.len() * size(&all) > WAYS_MAX {
                return None;
            }
            all = all.iter().flat_map(|a| some.iter().map(|b| [a.as_slice(), b].concat())).collect();
        } else {
            all.extend(some);
        }
        if all.len() > WAYS_MAX {
            return None;
        }
    }
    Some(all)
}

/// Whether some value of a path fulfils all of these. `root`: of a root, which may never come.
fn possible(subject: &Subject, tests: &[Literal<'_, Test>], root: bool) -> bool {
    let constants: Vec<&Constant> = tests
        .iter()
        .filter_map(|(test, _)| match test {
            Test::Compare(_, constant) => Some(constant),
            _ => None,
        })
        .collect();
    let rounds = |constant: &&&Constant| matches!(constant, Constant::Float(value) if value.abs() >= EXACT);
    if constants.iter().any(|constant| rounds(&constant)) {
        return true;
    }
    // One value of each kind that these tell apart: what is equal to a constant, and what comes next.
    let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
    let mut ints = vec![i64::MIN, 0];
    let mut doubles = vec![f64::NEG_INFINITY, f64::NAN];
    for constant in constants {
        match constant {
            Constant::Text(text) => texts.extend([text.as_bytes().to_vec(), [text.as_bytes(), b"\0"].concat()]),
            Constant::Bytes(bytes) => texts.extend([bytes.to_vec(), [bytes, b"\0".as_slice()].concat()]),
            Constant::Int(value) => {
                ints.extend([*value, value.saturating_add(1)]);
                doubles.extend([*value as f64, (*value as f64).next_up()]);
            }
            Constant::Float(value) => {
                ints.extend([value.floor() as i64, value.floor() as i64 + 1]);
                doubles.extend([*value, value.next_up()]);
            }
            Constant::Nil | Constant::Bool(_) => {}
        }
    }
    let others = [Value::Nil, Value::Bool(false), Value::Bool(true), Value::List(b""), Value::Map(b"")];
    let texts = texts.iter().flat_map(|text| [Value::Str(text), Value::Bytes(text)]);
    let values = others.into_iter().chain(texts).chain(ints.into_iter().map(Value::Int));
    let mut values = values.chain(doubles.into_iter().map(Value::Double));
    let exact =
        tests.iter().any(|(test, whether)| *whether && matches!(test, Test::Compare(Op::Eq, Constant::Text(_))));
    let fulfils = |value: Value<'_>, (test, whether): &Literal<'_, Test>| match test {
        Test::Compare(op, constant) => op.holds(constant.order(value)) == *whether,
        // A value that stands for others like it says nothing of what matches them.
        Test::Matches(pattern) => match value {
            Value::Int(_) | Value::Double(_) => true,
            Value::Str(_) if !exact => true,
            _ => pattern.is_match(value) == *whether,
        },
        Test::Comes(..) | Test::Any(_) => true,
    };
    values.any(|value| may_be(subject, value, root) && tests.iter().all(|literal| fulfils(value, literal)))
}

/// Whether a path may have a value of this type. More than is so does no harm.
fn may_be(subject: &Subject, value: Value<'_>, root: bool) -> bool {
    match (subject, value) {
        (Subject::Name | Subject::Kind | Subject::Status | Subject::Duration, Value::Nil) => root,
        (Subject::Name, value) => matches!(value, Value::Str(_)),
        (Subject::Kind | Subject::Status, value) => matches!(value, Value::Int(_)),
        (Subject::Duration, value) => matches!(value, Value::Int(0..)),
        (Subject::Field(Field::IsRoot), value) => matches!(value, Value::Bool(_) | Value::Nil),
        (Subject::OfSpan(subject), value) => may_be(subject, value, root),
        _ => true,
    }
}

/// Whether literals about spans certainly do not hold together of one span, or of the root.
fn clash_on_span(proof: &mut Proof, literals: &[Literal<'_, SpanTest>], root: bool) -> bool {
    let mut subjects: HashMap<&Subject, Vec<Literal<'_, Test>>, FixedState> = HashMap::default();
    for (SpanTest { subject, test }, whether) in literals {
        subjects.entry(subject).or_default().push((test, *whether));
    }
    subjects.iter().any(|(subject, tests)| {
        if opposed(tests.iter().copied()) {
            return true;
        }
        // Each test is tried with the values of all.
        if !proof.may_go_on(tests.len() * tests.len()) {
            return false;
        }
        let comes = |whether: bool| {
            tests.iter().filter_map(move |(test, holds)| match test {
                Test::Comes(expression, to) if *holds && *to == whether => Some(expression),
                _ => None,
            })
        };
        let many = |whether: bool| {
            tests.iter().filter_map(move |(test, holds)| match test {
                Test::Any(formula) if *holds == whether => Some(&**formula),
                _ => None,
            })
        };
        !possible(subject, tests, root)
            || comes(true).any(|expression| comes(false).any(|other| other == expression))
            || many(true).any(|some| proof.never(some) || many(false).any(|none| proof.implies(some, none)))
    })
}

/// Whether one literal is the negation of another.
fn opposed<'f, L: Eq + Hash + 'f>(literals: impl Iterator<Item = Literal<'f, L>>) -> bool {
    let mut seen: HashMap<&L, bool, FixedState> = HashMap::default();
    literals.into_iter().any(|(leaf, whether)| *seen.entry(leaf).or_insert(whether) != whether)
}

// === impl Proof ===

impl Default for Proof {
    fn default() -> Self {
        Self { left: STEPS_MAX }
    }
}

impl Proof {
    /// Whether nothing fulfils it. False where that is not certain.
    pub fn never<L: Question>(&mut self, formula: &Formula<L>) -> bool {
        ways(formula, true).is_some_and(|ways| ways.iter().all(|way| self.clash(way)))
    }

    /// Whether everything fulfils it. False where that is not certain.
    pub fn always<L: Question>(&mut self, formula: &Formula<L>) -> bool {
        ways(formula, false).is_some_and(|ways| ways.iter().all(|way| self.clash(way)))
    }

    /// Whether all that fulfils one fulfils the other. False where that is not certain.
    pub fn implies<L: Question>(&mut self, one: &Formula<L>, other: &Formula<L>) -> bool {
        if self.is_exhausted() {
            return false;
        }
        let (Some(ones), Some(others)) = (ways(one, true), ways(other, false)) else { return false };
        ones.iter().all(|one| others.iter().all(|other| self.clash(&[one.as_slice(), other].concat())))
    }

    /// Whether these certainly do not hold together.
    pub fn clash<L: Question>(&mut self, literals: &[Literal<'_, L>]) -> bool {
        self.may_go_on(literals.len() + 1) && L::clash(self, literals)
    }

    /// Nothing more was shown from some point on.
    pub fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    fn may_go_on(&mut self, steps: usize) -> bool {
        self.left = self.left.saturating_sub(u32::try_from(steps).unwrap_or(u32::MAX));
        self.left > 0
    }
}

// === impl SpanTest ===

impl Question for SpanTest {
    fn clash(proof: &mut Proof, literals: &[Literal<'_, Self>]) -> bool {
        clash_on_span(proof, literals, false)
    }
}

// === impl TraceTest ===

impl Question for TraceTest {
    fn clash(proof: &mut Proof, literals: &[Literal<'_, Self>]) -> bool {
        if opposed(literals.iter().copied()) {
            return true;
        }
        // What some span is, and what none is.
        let (mut some, mut none) = (Vec::new(), Vec::new());
        let mut root = Vec::new();
        let mut numbers: HashMap<&Number, Vec<(Op, i64, bool)>, FixedState> = HashMap::default();
        for (test, whether) in literals {
            match (test, whether) {
                (TraceTest::Any(formula), true) => some.push(formula.clone()),
                (TraceTest::Any(formula), false) => none.push(formula),
                (TraceTest::Root(test), whether) => root.push((test, *whether)),
                (TraceTest::Under { below, above, .. }, true) => some.extend([below.clone(), above.clone()]),
                (TraceTest::Number(number, op, value), whether) => {
                    numbers.entry(number).or_default().push((*op, *value, *whether));
                }
                (TraceTest::Under { .. } | TraceTest::Complete, _) => {}
            }
        }
        if clash_on_span(proof, &root, true) {
            return true;
        }
        if comes_of_a_root(&root) {
            let literal = |(test, whether): &Literal<'_, SpanTest>| {
                let leaf = Formula::Leaf((*test).clone());
                if *whether { leaf } else { leaf.negated() }
            };
            some.push(Formula::All(root.iter().map(literal).collect()));
        }
        for (number, tests) in &numbers {
            let least = match number {
                Number::Shape | Number::Values(_) => i64::MIN,
                Number::Spans => 1,
                _ => 0,
            };
            let edges = tests.iter().flat_map(|(_, value, _)| [*value, value.saturating_add(1)]);
            let fulfils =
                |value: &i64| tests.iter().all(|(op, than, whether)| op.holds(Some(value.cmp(than))) == *whether);
            let values: Vec<i64> = edges.chain([least, 0, 1]).filter(|value| *value >= least).filter(fulfils).collect();
            if values.is_empty() {
                return true;
            }
            match number {
                Number::Count(formula) | Number::Siblings(formula) if !values.contains(&0) => {
                    some.push(formula.clone());
                }
                Number::Count(formula) if values.iter().all(|value| *value == 0) => none.push(formula),
                _ => {}
            }
        }
        some.iter().any(|some| proof.never(some) || none.iter().any(|none| proof.implies(some, none)))
            // A trace has a span.
            || none.iter().any(|none| proof.always(*none))
    }
}

/// Whether these hold of a root only, and not where it never came.
fn comes_of_a_root(literals: &[Literal<'_, SpanTest>]) -> bool {
    literals.iter().any(|(SpanTest { test, .. }, whether)| match test {
        Test::Compare(op, constant) => op.holds(constant.order(Value::Nil)) != *whether,
        Test::Matches(_) | Test::Any(_) => *whether,
        Test::Comes(..) => false,
    })
}
