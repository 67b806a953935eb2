//! Names, scopes and types: a tree as written into questions that can be asked.

use std::ops::Range;

use super::{
    Aspect, Constant, Deny, Error, Expression, Field, Formula, Number, Op, Pattern, SpanTest, Subject, Test, TraceTest,
    ast::{Expr, ExprKind, Literal, Segment},
    function, literal,
    path::{self, Path},
    types::{self, Type, Value},
    value::computed,
};
use crate::{decide::values, diagnostic::nearest};

/// Checks a condition on one span.
///
/// # Errors
/// Every mistake in it.
pub fn check_span(text: &str, tree: &Expr<'_>) -> Result<Formula<SpanTest>, Vec<Error>> {
    let mut checker = Checker { text, quantifier: Some("completion.root"), item: None, errors: Vec::new() };
    match checker.formula(tree, Checker::span_test) {
        Some(formula) if checker.errors.is_empty() => Ok(formula),
        _ => Err(checker.errors),
    }
}

/// Checks a condition on a whole trace.
///
/// # Errors
/// Every mistake in it.
pub fn check(text: &str, tree: &Expr<'_>) -> Result<Formula<TraceTest>, Vec<Error>> {
    let mut checker = Checker { text, quantifier: None, item: None, errors: Vec::new() };
    match checker.formula(tree, Checker::trace_test) {
        Some(formula) if checker.errors.is_empty() => Ok(formula),
        _ => Err(checker.errors),
    }
}

/// Checks what a sampler tells traces apart by.
///
/// # Errors
/// Every mistake in it.
pub fn check_key(text: &str, tree: &Expr<'_>) -> Result<Aspect, Vec<Error>> {
    check_aspect(text, tree, |_| true)
}

/// Checks what a sampler measures.
///
/// # Errors
/// Every mistake in it.
pub fn check_measure(text: &str, tree: &Expr<'_>) -> Result<Aspect, Vec<Error>> {
    check_aspect(text, tree, |kind| matches!(kind, Type::Any | Type::Int | Type::Double | Type::Duration | Type::Count))
}

fn check_aspect(text: &str, tree: &Expr<'_>, fits: fn(Type) -> bool) -> Result<Aspect, Vec<Error>> {
    if let ExprKind::Path(segments) = &tree.kind
        && let Ok(Path::Span(..)) = path::resolve(segments, None)
    {
        let error = Error::new(tree.at.clone(), format!("`{text}` is of a span, and a trace has many"));
        return Err(vec![error.hint(format!("did you mean `root.{}`?", text.trim_start_matches("span.")))]);
    }
    let mut checker = Checker { text, quantifier: None, item: None, errors: Vec::new() };
    let (aspect, kind) = match checker.operand(tree, tree) {
        Some(Operand::Asked(Asked::Subject(subject), kind)) => (Aspect::Root(Expression::Path(subject)), kind),
        Some(Operand::Asked(Asked::Number(number), kind)) => (Aspect::Trace(number), kind),
        Some(Operand::Computed(expression, kind)) => (Aspect::Root(expression), kind),
        Some(Operand::Constant(_)) => {
            return Err(vec![
                Error::new(tree.at.clone(), format!("`{text}` is the same of all traces"))
                    .hint("write a path, such as `root.service`"),
            ]);
        }
        None => return Err(checker.errors),
    };
    if !fits(kind) {
        return Err(vec![
            Error::new(tree.at.clone(), format!("`{text}` is no number"))
                .hint("write `root.duration`, `trace.duration` or an attribute that is a number"),
        ]);
    }
    Ok(aspect)
}

/// Checks a condition on one event or link, as stands inside of `item`.
///
/// # Errors
/// Every mistake in it.
pub fn check_item(text: &str, tree: &Expr<'_>, item: &str) -> Result<Formula<SpanTest>, Vec<Error>> {
    let mut checker = Checker { text, quantifier: Some("any"), item: Some(item), errors: Vec::new() };
    match checker.formula(tree, Checker::span_test) {
        Some(formula) if checker.errors.is_empty() => Ok(formula),
        _ => Err(checker.errors),
    }
}

/// The functions that are true or false of what stands in them.
const CONDITIONS: [&str; 10] =
    ["any", "all", "none", "any_event", "any_link", "child_of", "descendant_of", "calls", "IsMatch", "IsRootSpan"];
/// Those that look at spans on their own.
pub const QUANTIFIERS: [&str; 6] = ["any", "all", "none", "child_of", "descendant_of", "calls"];
/// The other names that take arguments, beside [`function::FUNCTIONS`].
const OTHERS: [&str; 6] = ["count", "siblings", "values", "Duration", "SpanID", "TraceID"];

/// Of all functions.
pub fn names() -> impl Iterator<Item = &'static str> {
    CONDITIONS.into_iter().chain(OTHERS).chain(function::FUNCTIONS.iter().map(|signature| signature.name))
}

pub(super) struct Checker<'t> {
    pub(super) text: &'t str,
    /// Whose argument is being checked.
    quantifier: Option<&'t str>,
    /// The same, of those that look at events and links.
    item: Option<&'t str>,
    errors: Vec<Error>,
}

/// One side of a comparison, or an argument.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Asked(Asked, Type),
    Computed(Expression, Type),
    Constant(Value),
}

/// What a constant is compared with.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Subject(Subject),
    Number(Number),
}

enum Comparison {
    Constant(Asked, Op, Constant),
    Computed(SpanTest),
}

// === impl Checker ===

/// None stands for a part with a mistake in it, which is then among the errors.
impl<'t> Checker<'t> {
    /// A condition; `test` reads what is neither joined nor negated.
    fn formula<L: Deny>(
        &mut self,
        expr: &Expr<'t>,
        test: fn(&mut Self, &Expr<'t>) -> Option<Formula<L>>,
    ) -> Option<Formula<L>> {
        match &expr.kind {
            ExprKind::And(parts) => self.formulas(parts, test).map(Formula::All),
            ExprKind::Or(parts) => self.formulas(parts, test).map(Formula::Any),
            ExprKind::Not(inner) => self.formula(inner, test).map(Formula::denied),
            ExprKind::Literal(Literal::Bool(value)) => Some(Formula::constant(*value)),
            ExprKind::Compare { op, sides } => match compared_with_bool(*op, sides) {
                Some((condition, true)) => self.formula(condition, test),
                Some((condition, false)) => self.formula(condition, test).map(Formula::denied),
                None => test(self, expr),
            },
            _ => test(self, expr),
        }
    }

    fn formulas<L: Deny>(
        &mut self,
        parts: &[Expr<'t>],
        test: fn(&mut Self, &Expr<'t>) -> Option<Formula<L>>,
    ) -> Option<Vec<Formula<L>>> {
        // Not short-circuited: every part names its own mistakes.
        let parts: Vec<_> = parts.iter().map(|part| self.formula(part, test)).collect();
        parts.into_iter().collect()
    }

    fn trace_test(&mut self, expr: &Expr<'t>) -> Option<Formula<TraceTest>> {
        match &expr.kind {
            ExprKind::Compare { op, sides } => Some(match self.comparison(expr, *op, sides)? {
                Comparison::Computed(test) => Formula::Leaf(TraceTest::Root(test)),
                Comparison::Constant(asked, op, constant) => compared(op, |op| match (asked, constant) {
                    (Asked::Number(number), Constant::Int(value)) => TraceTest::Number(number, op, value),
                    (Asked::Subject(subject), constant) => {
                        TraceTest::Root(SpanTest { subject, test: Test::Compare(op, constant) })
                    }
                    (Asked::Number(_), _) => unreachable!("numbers have the types Duration, Count, Shape and Values"),
                }),
            }),
            ExprKind::Call { name: name @ ("any" | "all" | "none"), args } => {
                let inner = self.quantified(expr, name, args)?;
                Some(match *name {
                    "any" => Formula::Leaf(TraceTest::Any(inner)),
                    "none" => Formula::Leaf(TraceTest::Any(inner)).negated(),
                    _ => Formula::Leaf(TraceTest::Any(inner.negated())).negated(),
                })
            }
            ExprKind::Call { name: name @ ("any_event" | "any_link"), args } => {
                let test = self.any_of(expr, name, args)?;
                Some(Formula::Leaf(TraceTest::Any(Formula::Leaf(test))))
            }
            ExprKind::Call { name: name @ ("child_of" | "descendant_of"), args } => {
                let [below, above] = args.as_slice() else {
                    let message = format!("`{name}` takes two conditions on spans, not {}", args.len());
                    let hint = format!(
                        "write `{name}(status.code == STATUS_CODE_ERROR, service == \"checkout\")`: the first is the one below"
                    );
                    return self.error(&expr.at, message, hint);
                };
                // Both name their mistakes.
                let (below, above) = (self.on_span(name, below), self.on_span(name, above));
                Some(Formula::Leaf(TraceTest::Under { below: below?, above: above?, direct: *name == "child_of" }))
            }
            ExprKind::Call { name: "calls", args } => self.calls(expr, args).map(Formula::Leaf),
            ExprKind::Path(segments) if matches!(path::resolve(segments, None), Ok(Path::Complete)) => {
                Some(Formula::Leaf(TraceTest::Complete))
            }
            ExprKind::Call { name: "IsMatch", args } => {
                Some(Formula::Leaf(TraceTest::Root(self.is_match(expr, args)?)))
            }
            _ => Some(Formula::Leaf(TraceTest::Root(self.alone(expr)?))),
        }
    }

    fn span_test(&mut self, expr: &Expr<'t>) -> Option<Formula<SpanTest>> {
        match &expr.kind {
            ExprKind::Compare { op, sides } => match self.comparison(expr, *op, sides)? {
                Comparison::Computed(test) => Some(Formula::Leaf(test)),
                Comparison::Constant(Asked::Subject(subject), op, constant) => {
                    Some(compared(op, |op| SpanTest { subject, test: Test::Compare(op, constant) }))
                }
                Comparison::Constant(Asked::Number(_), ..) => {
                    unreachable!("numbers are refused inside a quantifier")
                }
            },
            ExprKind::Call { name: name @ ("any_event" | "any_link"), args } => {
                self.any_of(expr, name, args).map(Formula::Leaf)
            }
            ExprKind::Call { name: "IsMatch", args } => self.is_match(expr, args).map(Formula::Leaf),
            _ => self.alone(expr).map(Formula::Leaf),
        }
    }

    /// The argument of a quantifier.
    fn quantified(&mut self, expr: &Expr<'t>, name: &'t str, args: &[Expr<'t>]) -> Option<Formula<SpanTest>> {
        if let Some(outer) = self.around() {
            let one = self.item.map_or("span", thing);
            let hint = format!("the argument is tested on one {one}: join quantifiers outside, with `and` or `or`");
            return self.error(&expr.at, format!("`{name}(…)` inside `{outer}(…)`"), hint);
        }
        let [arg] = args else {
            let message = format!("`{name}` takes one condition on a span, not {}", args.len());
            return self.error(&expr.at, message, format!("write `{name}(status.code == STATUS_CODE_ERROR)`"));
        };
        self.on_span(name, arg)
    }

    /// A condition on one span, inside the brackets of `name`.
    fn on_span(&mut self, name: &'t str, arg: &Expr<'t>) -> Option<Formula<SpanTest>> {
        let outer = self.quantifier.replace(name);
        let formula = self.formula(arg, Self::span_test);
        self.quantifier = outer;
        formula
    }

    /// One service called another: a span of it has one of the other below.
    fn calls(&mut self, expr: &Expr<'t>, args: &[Expr<'t>]) -> Option<TraceTest> {
        let of = |service: &Expr<'t>| match &service.kind {
            ExprKind::Literal(Literal::Text(name)) => {
                let test = Test::Compare(Op::Eq, Constant::Text(name.as_str().into()));
                Some(Formula::Leaf(SpanTest { subject: path::service(), test }))
            }
            _ => None,
        };
        match args {
            [caller, callee] if let (Some(above), Some(below)) = (of(caller), of(callee)) => {
                Some(TraceTest::Under { below, above, direct: true })
            }
            _ => self.error(
                &expr.at,
                "`calls` takes the names of two services",
                "write `calls(\"checkout\", \"payments\")`: who calls, and who is called",
            ),
        }
    }

    /// The function inside of which the condition stands.
    fn around(&self) -> Option<&'t str> {
        self.item.or(self.quantifier)
    }

    /// Whether some event or link of a span is such.
    fn any_of(&mut self, expr: &Expr<'t>, name: &'t str, args: &[Expr<'t>]) -> Option<SpanTest> {
        let one = thing(name);
        if let Some(outer) = self.item {
            let inner = thing(outer);
            let hint = format!("the argument is tested on one {inner}: join the two outside, with `and` or `or`");
            return self.error(&expr.at, format!("`{name}(…)` inside `{outer}(…)`"), hint);
        }
        let [arg] = args else {
            let message = format!("`{name}` takes one condition on a span's {one}, not {}", args.len());
            let example = if one == "event" { "name == \"exception\"" } else { "attributes[\"key\"] != nil" };
            return self.error(&expr.at, message, format!("write `{name}({example})`"));
        };
        self.item = Some(name);
        let formula = self.formula(arg, Self::span_test);
        self.item = None;
        let subject = if one == "event" { Subject::Events } else { Subject::Links };
        Some(SpanTest { subject, test: Test::Any(Box::new(formula?)) })
    }

    fn is_match(&mut self, expr: &Expr<'t>, args: &[Expr<'t>]) -> Option<SpanTest> {
        let [subject, pattern] = args else {
            let message = format!("`IsMatch` takes a path and a pattern, not {} arguments", args.len());
            return self.error(&expr.at, message, "write `IsMatch(root.name, \"^GET \")`");
        };
        let compiled = match &pattern.kind {
            ExprKind::Literal(Literal::Text(text)) => match Pattern::new(text) {
                Ok(compiled) => Some(compiled),
                Err(why) => self.error(&pattern.at, format!("wrong pattern: {why}"), "the syntax is RE2's"),
            },
            _ => self.error(&pattern.at, "a pattern is text", "text stands in double quotes"),
        };
        match self.operand(expr, subject)? {
            Operand::Asked(Asked::Subject(subject), Type::Any | Type::Text) => {
                Some(SpanTest { subject, test: Test::Matches(compiled?) })
            }
            Operand::Computed(of, Type::Any | Type::Text | Type::Int | Type::Double) => {
                Some(computed(Expression::Matches(Box::new(of), compiled?)))
            }
            _ => {
                let message = format!("`{}` has no text to match", self.written(subject));
                self.error(&subject.at, message, "names, services and attributes have")
            }
        }
    }

    /// What is asked, and the constant to its right; or both sides, where neither is one.
    fn comparison(&mut self, expr: &Expr<'t>, op: Op, sides: &[Expr<'t>; 2]) -> Option<Comparison> {
        let [left, right] = sides;
        // Both sides name their mistakes.
        let operands = (self.operand(expr, left), self.operand(expr, right));
        let (asked, kind, op, value, path, constant) = match (operands.0?, operands.1?) {
            (Operand::Asked(asked, kind), Operand::Constant(value)) => (asked, kind, op, value, left, right),
            (Operand::Constant(value), Operand::Asked(asked, kind)) => (asked, kind, op.flipped(), value, right, left),
            (Operand::Constant(_), Operand::Constant(_)) => {
                let message = format!("`{}` compares two constants", self.written(expr));
                return self.error(&expr.at, message, "one side is a path, such as `root.attributes[\"key\"]`");
            }
            (Operand::Asked(Asked::Number(Number::Values(of)), kind), Operand::Computed(..))
                if let ExprKind::List(items) = &right.kind =>
            {
                return self.values_comparison(expr, op, (of, kind), left, items);
            }
            (Operand::Computed(..), Operand::Asked(Asked::Number(Number::Values(of)), kind))
                if let ExprKind::List(items) = &left.kind =>
            {
                return self.values_comparison(expr, op, (of, kind), right, items);
            }
            (a, b) => return self.computed_comparison(expr, op, [(a, left), (b, right)]).map(Comparison::Computed),
        };
        self.ordered(expr, op, kind)?;
        if value == Value::Literal(Literal::Nil) {
            return match asked {
                Asked::Number(_) => {
                    self.error(&expr.at, format!("`{}` is never nil", self.written(path)), "compare it with a value")
                }
                Asked::Subject(_) if matches!(op, Op::Eq | Op::Ne) => {
                    Some(Comparison::Constant(asked, op, Constant::Nil))
                }
                Asked::Subject(_) => self.error(
                    &expr.at,
                    format!("`{}` orders nil", self.written(expr)),
                    "compare nil with `==` or `!=`",
                ),
            };
        }
        let fitting = types::constant(value, kind, self.written(path), self.written(constant), &constant.at);
        Some(Comparison::Constant(asked, op, self.accept(fitting)?))
    }

    /// Whether all spans together have these values, and no others.
    fn values_comparison(
        &mut self,
        expr: &Expr<'t>,
        op: Op,
        (of, kind): (Subject, Type),
        values: &Expr<'t>,
        items: &[Expr<'t>],
    ) -> Option<Comparison> {
        self.ordered(expr, op, kind)?;
        let ExprKind::Call { args, .. } = &values.kind else { return None };
        let (path, kind) = self.values_of(values, args)?;
        debug_assert_eq!(path, of);
        let constants: Vec<_> = items
            .iter()
            .map(|item| match self.operand(expr, item)? {
                Operand::Constant(Value::Literal(Literal::Nil)) => {
                    self.error(&item.at, "what is absent is no value", "leave `nil` out")
                }
                Operand::Constant(value) => {
                    let fitting = types::constant(value, kind, self.written(&args[0]), self.written(item), &item.at);
                    self.accept(fitting)
                }
                _ => {
                    let message = format!("`{}` is no constant", self.written(item));
                    self.error(&item.at, message, "the values are compared with constants")
                }
            })
            .collect();
        let constants = constants.into_iter().collect::<Option<Vec<_>>>()?;
        let key = values::key(constants.iter().map(Constant::value)).cast_signed();
        Some(Comparison::Constant(Asked::Number(Number::Values(of)), op, Constant::Int(key)))
    }

    /// The path of `values(…)`, and its type.
    fn values_of(&mut self, expr: &Expr<'t>, args: &[Expr<'t>]) -> Option<(Subject, Type)> {
        if let Some(outer) = self.around() {
            let message = format!("`values(…)` inside `{outer}(…)`, which looks at one of them at a time");
            return self.error(&expr.at, message, format!("move it outside, and join the two: `… and {outer}(…)`"));
        }
        let [arg @ Expr { kind: ExprKind::Path(_), .. }] = args else {
            return self.error(&expr.at, "`values` takes one path of a span", "write `values(service)`");
        };
        self.quantifier = Some("values");
        let operand = self.operand(arg, arg);
        self.quantifier = None;
        match operand? {
            Operand::Asked(Asked::Subject(subject), kind) => Some((subject, kind)),
            _ => self.error(&arg.at, "`values` takes one path of a span", "write `values(service)`"),
        }
    }

    /// One side of the comparison, or an argument of the call, `around`.
    pub(super) fn operand(&mut self, around: &Expr<'t>, expr: &Expr<'t>) -> Option<Operand> {
        let literal = |literal| Some(Operand::Constant(Value::Literal(literal)));
        match &expr.kind {
            ExprKind::Literal(value) => literal(value.clone()),
            ExprKind::Path(segments) => {
                if let [segment] = segments.as_slice()
                    && segment.keys.is_empty()
                    && let Some(value) = types::named(segment.name, &expr.at)
                {
                    return self.accept(value).map(Operand::Constant);
                }
                let is_right = around.at.start < expr.at.start && around.at.end == expr.at.end;
                if let [Segment { name, keys, .. }] = segments.as_slice()
                    && is_right
                    && keys.is_empty()
                    && path::is_foreign(name)
                {
                    let hint = format!("text stands in double quotes: `\"{name}\"`");
                    return self.error(&expr.at, format!("unknown path `{name}`"), hint);
                }
                let path = self.accept(path::resolve(segments, self.item))?;
                self.in_scope(around, expr, path)
            }
            ExprKind::Call { name: name @ ("count" | "siblings"), args } => {
                let inner = self.quantified(expr, name, args)?;
                let number = if *name == "count" { Number::Count(inner) } else { Number::Siblings(inner) };
                Some(Operand::Asked(Asked::Number(number), Type::Count))
            }
            ExprKind::Call { name: "values", args } => {
                let (of, _) = self.values_of(expr, args)?;
                Some(Operand::Asked(Asked::Number(Number::Values(of)), Type::Values))
            }
            ExprKind::Call { name: "Len", args }
                if let [Expr { kind: ExprKind::Call { name: "values", args }, .. }] = args.as_slice() =>
            {
                let (of, _) = self.values_of(expr, args)?;
                Some(Operand::Asked(Asked::Number(Number::Different(of)), Type::Count))
            }
            ExprKind::Call { name: "Duration", args } => match args.as_slice() {
                [Expr { at, kind: ExprKind::Literal(Literal::Text(text)) }] => {
                    literal(Literal::Duration(self.accept(literal::duration(text, at))?))
                }
                _ => self.error(&expr.at, "`Duration` takes one text", "write `Duration(\"2s\")`, or `2s`"),
            },
            ExprKind::Call { name, args } if QUANTIFIERS.contains(name) && self.around().is_some() => {
                // Names the mistake, which is the nesting.
                self.quantified(expr, name, args);
                None
            }
            ExprKind::Call { name: "IsRootSpan", args } if args.is_empty() => {
                let path = path::of_its_span(Subject::Field(Field::IsRoot), Type::Bool, self.item);
                self.in_scope(around, expr, path)
            }
            ExprKind::Call { name: "IsRootSpan", .. } => {
                self.error(&expr.at, "`IsRootSpan` takes nothing", "write `IsRootSpan()`")
            }
            ExprKind::Call { name: name @ ("SpanID" | "TraceID"), args } => self.id(expr, name, args),
            ExprKind::Call { name, args } if let Some(signature) = function::named(name) => {
                self.call(around, expr, signature, args)
            }
            ExprKind::Call { name, .. } if !CONDITIONS.contains(name) => self.unknown_function(name, &expr.at),
            ExprKind::Math { first, rest } => self.math(around, expr, first, rest),
            ExprKind::List(items) => self.list(around, items),
            ExprKind::Inside { of, keys } => self.inside(around, expr, of, keys),
            ExprKind::Call { .. }
            | ExprKind::Not(_)
            | ExprKind::And(_)
            | ExprKind::Or(_)
            | ExprKind::Compare { .. } => {
                let message = format!("`{}` is a condition, not a value", self.written(expr));
                self.error(&expr.at, message, "conditions are joined with `and` and `or`, and negated with `not`")
            }
        }
    }

    /// Spans are looked at inside a quantifier, the root and the trace outside, events and links, and their span, inside
    /// theirs.
    fn in_scope(&mut self, around: &Expr<'t>, expr: &Expr<'t>, path: Path) -> Option<Operand> {
        let written = self.written(expr);
        let whole = around.at != expr.at || matches!(path, Path::Span(_, Type::Bool));
        let compared = if whole { self.written(around).to_owned() } else { format!("{written} == …") };
        match (path, self.around()) {
            (Path::Complete, None) => {
                let message = format!("`{written}` is true or false by itself");
                self.error(&expr.at, message, format!("write `{written}` or `not {written}`"))
            }
            (Path::Event(subject, kind), Some("any_event")) | (Path::Link(subject, kind), Some("any_link")) => {
                Some(Operand::Asked(Asked::Subject(subject), kind))
            }
            (Path::Event(..), Some("any_link")) => {
                let message = format!("`{written}` is of an event, and a link has none");
                self.error(&expr.at, message, format!("move it outside: `any_event({compared}) and any_link(…)`"))
            }
            (Path::Event(..) | Path::Link(..), _) => {
                let message = format!("`{written}` is of an event, and a span has many");
                self.error(&expr.at, message, format!("did you mean `any_event({compared})`?"))
            }
            (Path::Span(..), Some(item @ ("any_event" | "any_link"))) => {
                let one = thing(item);
                let message =
                    format!("`{written}` is of the span, inside `{item}(…)`, which looks at one {one} at a time");
                self.error(&expr.at, message, format!("did you mean `span.{written}`?"))
            }
            (Path::Span(subject, kind), Some(_)) | (Path::Root(subject, kind), None) => {
                Some(Operand::Asked(Asked::Subject(subject), kind))
            }
            (Path::Trace(number, kind), None) => Some(Operand::Asked(Asked::Number(number), kind)),
            (Path::Span(..), None) => {
                let message = format!("`{written}` is of a span, and a trace has many");
                self.error(&expr.at, message, format!("did you mean `any({compared})`?"))
            }
            (path, Some(quantifier)) => {
                let compared = if path == Path::Complete { written } else { &compared };
                let one = self.item.map_or("span", thing);
                let message = format!("`{written}` inside `{quantifier}(…)`, which looks at one {one} at a time");
                self.error(&expr.at, message, format!("move it outside: `{compared} and {quantifier}(…)`"))
            }
        }
    }

    /// A condition that is no comparison: what is true or false by itself.
    fn alone(&mut self, expr: &Expr<'t>) -> Option<SpanTest> {
        let written = self.written(expr);
        let hint = match self.operand(expr, expr)? {
            Operand::Asked(Asked::Subject(subject), Type::Bool) => {
                return Some(SpanTest { subject, test: Test::Compare(Op::Eq, Constant::Bool(true)) });
            }
            Operand::Computed(expression, Type::Bool) => return Some(computed(expression)),
            Operand::Asked(_, Type::Any) => {
                format!("write `{written} == true`, or `{written} != nil` if it is to exist")
            }
            Operand::Asked(_, Type::Values) => format!("compare it with a list: `{written} == [\"cart\"]`"),
            Operand::Asked(_, Type::Count) | Operand::Computed(_, Type::Int | Type::Double) => {
                format!("compare it: `{written} > 3`")
            }
            Operand::Asked(_, Type::Duration) | Operand::Computed(_, Type::Duration) => {
                format!("compare it: `{written} > 2s`")
            }
            Operand::Asked(..) | Operand::Computed(..) => format!("compare it: `{written} == …`"),
            Operand::Constant(_) => "compare a path with it".to_owned(),
        };
        self.error(&expr.at, format!("`{written}` is a value, not a condition"), hint)
    }

    fn unknown_function<T>(&mut self, name: &str, at: &Range<usize>) -> Option<T> {
        let hint = match nearest(name, names()).or_else(|| elsewhere(name)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "docs/conditions.md lists the functions".to_owned(),
        };
        self.error(&(at.start..at.start + name.len()), format!("unknown function `{name}`"), hint)
    }

    pub(super) fn accept<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    pub(super) fn error<T>(
        &mut self,
        at: &Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<T> {
        self.errors.push(Error::new(at.clone(), message).hint(hint));
        None
    }

    pub(super) fn written(&self, expr: &Expr<'t>) -> &'t str {
        &self.text[expr.at.clone()]
    }
}

/// What does what a function of other languages does.
fn elsewhere(name: &str) -> Option<&'static str> {
    match name.to_ascii_lowercase().as_str() {
        "startswith" => Some("HasPrefix"),
        "endswith" => Some("HasSuffix"),
        "contains" | "like" | "matches" | "regex" => Some("IsMatch"),
        "lower" => Some("ToLowerCase"),
        "upper" => Some("ToUpperCase"),
        _ => None,
    }
}

/// What `any_event` and `any_link` look at one of.
fn thing(item: &str) -> &'static str {
    if item == "any_event" { "event" } else { "link" }
}

/// `IsMatch(…) == true`, as older examples of OTTL write it: the condition, and whether it is meant as it stands.
pub fn compared_with_bool<'e, 't>(op: Op, sides: &'e [Expr<'t>; 2]) -> Option<(&'e Expr<'t>, bool)> {
    let (condition, value) = match sides {
        [condition, Expr { kind: ExprKind::Literal(Literal::Bool(value)), .. }]
        | [Expr { kind: ExprKind::Literal(Literal::Bool(value)), .. }, condition] => (condition, *value),
        _ => return None,
    };
    let is_condition = match &condition.kind {
        ExprKind::Call { name, .. } => CONDITIONS.contains(name),
        ExprKind::Not(_) | ExprKind::And(_) | ExprKind::Or(_) | ExprKind::Compare { .. } => true,
        ExprKind::Path(segments) => matches!(path::resolve(segments, None), Ok(Path::Complete)),
        ExprKind::Literal(_) | ExprKind::Math { .. } | ExprKind::List(_) | ExprKind::Inside { .. } => false,
    };
    match op {
        Op::Eq if is_condition => Some((condition, value)),
        Op::Ne if is_condition => Some((condition, !value)),
        _ => None,
    }
}

/// `!=` is the negation of `==` for every value, and no test knows it.
fn compared<L>(op: Op, leaf: impl FnOnce(Op) -> L) -> Formula<L> {
    match op {
        Op::Ne => Formula::Leaf(leaf(Op::Eq)).negated(),
        op => Formula::Leaf(leaf(op)),
    }
}
