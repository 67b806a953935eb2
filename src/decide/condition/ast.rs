//! A condition as written, before names and types are looked at.

use std::ops::Range;

use super::{compare::Op, expression::Math};

/// A part of a condition and its byte range in the text; parentheses around it are not part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr<'t> {
    pub at: Range<usize>,
    pub kind: ExprKind<'t>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind<'t> {
    Literal(Literal),
    /// `root.attributes["k"]`: at least one segment.
    Path(Vec<Segment<'t>>),
    Call {
        name: &'t str,
        args: Vec<Expr<'t>>,
    },
    Not(Box<Expr<'t>>),
    /// Two or more. A chain is one node, so that its length adds no depth.
    And(Vec<Expr<'t>>),
    /// Two or more.
    Or(Vec<Expr<'t>>),
    /// From left to right, and a chain is one node here too.
    Math {
        first: Box<Expr<'t>>,
        rest: Vec<(Math, Expr<'t>)>,
    },
    List(Vec<Expr<'t>>),
    /// `Split(name, "/")[0]`.
    Inside {
        of: Box<Expr<'t>>,
        keys: Vec<(Literal, Range<usize>)>,
    },
    Compare {
        op: Op,
        sides: Box<[Expr<'t>; 2]>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Nanoseconds.
    Duration(u64),
}

/// A name between the dots of a path, and the keys in brackets after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment<'t> {
    pub name: &'t str,
    pub at: Range<usize>,
    pub keys: Vec<(Literal, Range<usize>)>,
}
