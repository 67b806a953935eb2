//! A condition taken apart into what it asks, as it was written.

use std::ops::Range;

use super::{
    Subject,
    ast::{Expr, ExprKind, Literal},
    check,
    parse::parse,
    path::{self, Path},
};

/// A part of a condition that is true or false on its own, and neither joined nor negated.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// In the condition.
    pub at: Range<usize>,
    pub scope: Scope,
    /// What it looks at, of the root or of a span, each with where it stands.
    pub paths: Vec<(Range<usize>, Subject)>,
}

/// Of what a part is true or false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Trace,
    /// Of each span: it stands in the brackets of the part before it.
    Span,
}

/// The parts of a condition in the order written, a quantifier before those of its argument. None of a text that does not
/// parse.
pub fn outline(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    if let Ok(tree) = parse(text) {
        walk(&tree, Scope::Trace, &mut parts);
    }
    parts
}

fn walk(expr: &Expr<'_>, scope: Scope, parts: &mut Vec<Part>) {
    match &expr.kind {
        ExprKind::Not(inner) => walk(inner, scope, parts),
        ExprKind::And(all) | ExprKind::Or(all) => all.iter().for_each(|part| walk(part, scope, parts)),
        ExprKind::Literal(Literal::Bool(_)) => {}
        ExprKind::Compare { op, sides } if let Some((condition, _)) = check::compared_with_bool(*op, sides) => {
            walk(condition, scope, parts);
        }
        _ => {
            let mut part = Part { at: expr.at.clone(), scope, paths: Vec::new() };
            let mut quantified = Vec::new();
            look(expr, &mut part.paths, &mut quantified);
            parts.push(part);
            quantified.into_iter().for_each(|inner| walk(inner, Scope::Span, parts));
        }
    }
}

/// Collects the paths in an expression, and the arguments of quantifiers, whose paths are of their own parts.
fn look<'e, 't>(expr: &'e Expr<'t>, paths: &mut Vec<(Range<usize>, Subject)>, quantified: &mut Vec<&'e Expr<'t>>) {
    const QUANTIFIERS: [&str; 7] = ["any", "all", "none", "count", "siblings", "child_of", "descendant_of"];
    match &expr.kind {
        ExprKind::Literal(_) => {}
        ExprKind::Path(segments) => {
            if let Ok(Path::Span(subject, _) | Path::Root(subject, _)) = path::resolve(segments, None) {
                paths.push((expr.at.clone(), subject));
            }
        }
        ExprKind::Call { name, args } if QUANTIFIERS.contains(name) => quantified.extend(args),
        // What they look at is of events and links.
        ExprKind::Call { name: "any_event" | "any_link", .. } => {}
        // Of all spans together.
        ExprKind::Call { name: "values", .. } => {}
        ExprKind::Math { first, rest } => {
            look(first, paths, quantified);
            rest.iter().for_each(|(_, part)| look(part, paths, quantified));
        }
        ExprKind::List(all) => all.iter().for_each(|part| look(part, paths, quantified)),
        ExprKind::Inside { of, .. } => look(of, paths, quantified),
        ExprKind::Call { args, .. } => args.iter().for_each(|arg| look(arg, paths, quantified)),
        ExprKind::Not(inner) => look(inner, paths, quantified),
        ExprKind::And(all) | ExprKind::Or(all) => all.iter().for_each(|part| look(part, paths, quantified)),
        ExprKind::Compare { sides, .. } => sides.iter().for_each(|side| look(side, paths, quantified)),
    }
}
