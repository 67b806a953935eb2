//! A condition as it was written, each part with what it asks.

use std::ops::Range;

use super::{
    Deny, Error, Formula, SpanTest, TraceTest,
    ast::{Expr, ExprKind, Literal},
    check,
    parse::parse,
};

/// A condition, or a part of one.
#[derive(Clone, Debug)]
pub struct Written<L> {
    pub at: Range<usize>,
    pub formula: Formula<L>,
    /// What it joins or negates.
    pub parts: Vec<Self>,
    /// The conditions in the brackets of a part that joins nothing.
    pub arguments: Vec<Argument>,
}

/// A condition on spans, or on their events or links.
#[derive(Clone, Debug)]
pub struct Argument {
    pub function: String,
    /// Of the call.
    pub at: Range<usize>,
    pub condition: Written<SpanTest>,
}

/// None of a text that is no condition.
pub fn written(text: &str) -> Option<Written<TraceTest>> {
    written_as(text, &parse(text).ok()?, &check::check)
}

/// A condition on one span.
pub fn written_span(text: &str) -> Option<Written<SpanTest>> {
    written_as(text, &parse(text).ok()?, &check::check_span)
}

type Check<'c, L> = &'c dyn Fn(&str, &Expr<'_>) -> Result<Formula<L>, Vec<Error>>;

fn written_as<L: Deny + Clone>(text: &str, expr: &Expr<'_>, check: Check<'_, L>) -> Option<Written<L>> {
    let all = |parts: &[Expr<'_>]| parts.iter().map(|part| written_as(text, part, check)).collect::<Option<Vec<_>>>();
    let formulas = |parts: &[Written<L>]| parts.iter().map(|part| part.formula.clone()).collect();
    let mut arguments = Vec::new();
    let (formula, parts) = match &expr.kind {
        ExprKind::And(parts) => {
            let parts = all(parts)?;
            (Formula::All(formulas(&parts)), parts)
        }
        ExprKind::Or(parts) => {
            let parts = all(parts)?;
            (Formula::Any(formulas(&parts)), parts)
        }
        ExprKind::Not(inner) => {
            let inner = written_as(text, inner, check)?;
            (inner.formula.clone().denied(), vec![inner])
        }
        ExprKind::Compare { op, sides } if let Some((condition, whether)) = check::compared_with_bool(*op, sides) => {
            let inner = written_as(text, condition, check)?;
            let formula = inner.formula.clone();
            (if whether { formula } else { formula.denied() }, vec![inner])
        }
        ExprKind::Literal(Literal::Bool(value)) => (Formula::constant(*value), Vec::new()),
        _ => {
            find(text, expr, &mut arguments);
            (check(text, expr).ok()?, Vec::new())
        }
    };
    Some(Written { at: expr.at.clone(), formula, parts, arguments })
}

/// Finds the conditions in an expression that are asked of something else than it is.
fn find(text: &str, expr: &Expr<'_>, arguments: &mut Vec<Argument>) {
    match &expr.kind {
        ExprKind::Literal(_) | ExprKind::Path(_) => {}
        ExprKind::Call { name: name @ ("any_event" | "any_link"), args } => {
            add(text, expr, name, args, &|text, expr| check::check_item(text, expr, name), arguments);
        }
        ExprKind::Call { name, args } if check::QUANTIFIERS.contains(name) || ["count", "siblings"].contains(name) => {
            add(text, expr, name, args, &check::check_span, arguments);
        }
        ExprKind::Call { args: parts, .. } | ExprKind::List(parts) | ExprKind::And(parts) | ExprKind::Or(parts) => {
            parts.iter().for_each(|part| find(text, part, arguments));
        }
        ExprKind::Math { first, rest } => {
            find(text, first, arguments);
            rest.iter().for_each(|(_, part)| find(text, part, arguments));
        }
        ExprKind::Not(inner) | ExprKind::Inside { of: inner, .. } => find(text, inner, arguments),
        ExprKind::Compare { sides, .. } => sides.iter().for_each(|side| find(text, side, arguments)),
    }
}

fn add(
    text: &str,
    call: &Expr<'_>,
    name: &str,
    args: &[Expr<'_>],
    check: Check<'_, SpanTest>,
    arguments: &mut Vec<Argument>,
) {
    let argument = |arg| {
        let condition = written_as(text, arg, check)?;
        Some(Argument { function: name.to_owned(), at: call.at.clone(), condition })
    };
    // The names of services in `calls` are no conditions.
    arguments.extend(args.iter().filter_map(argument));
}

// === impl Written ===

impl<L> Written<L> {
    /// Visits the parts that join nothing.
    pub fn leaves<'w>(&'w self, visit: &mut dyn FnMut(&'w Self)) {
        if self.parts.is_empty() {
            visit(self);
        }
        self.parts.iter().for_each(|part| part.leaves(visit));
    }

    /// Visits the arguments in it and in their arguments, those outside first.
    pub fn arguments<'w>(&'w self, visit: &mut dyn FnMut(&'w Argument)) {
        self.leaves(&mut |leaf| {
            for argument in &leaf.arguments {
                visit(argument);
                argument.condition.arguments(visit);
            }
        });
    }
}
