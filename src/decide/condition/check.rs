//! Names, scopes and types: a tree as written into questions that can be asked.

use std::ops::Range;

use super::{
    Constant, Error, Formula, Number, Op, Pattern, SpanTest, Subject, Test, TraceTest,
    ast::{Expr, ExprKind, Literal},
    literal,
    path::{self, Path},
    types::{self, Type, Value},
};
use crate::diagnostic::nearest;

/// Checks a condition on one span.
///
/// # Errors
/// Every mistake in it.
pub fn check_span(text: &str, tree: &Expr<'_>) -> Result<Formula<SpanTest>, Vec<Error>> {
    let mut checker = Checker { text, quantifier: Some("completion.root"), errors: Vec::new() };
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
    let mut checker = Checker { text, quantifier: None, errors: Vec::new() };
    match checker.formula(tree, Checker::trace_test) {
        Some(formula) if checker.errors.is_empty() => Ok(formula),
        _ => Err(checker.errors),
    }
}

/// The functions that are true or false.
const CONDITIONS: [&str; 7] = ["any", "all", "none", "child_of", "descendant_of", "calls", "IsMatch"];
/// Those that look at spans on their own.
const QUANTIFIERS: [&str; 6] = ["any", "all", "none", "child_of", "descendant_of", "calls"];
/// The functions that are a number of spans.
const NUMBERS: [&str; 2] = ["count", "siblings"];

struct Checker<'t> {
    text: &'t str,
    /// Whose argument is being checked.
    quantifier: Option<&'t str>,
    errors: Vec<Error>,
}

/// One side of a comparison.
enum Operand {
    Asked(Asked, Type),
    Constant(Value),
}

/// What a constant is compared with.
enum Asked {
    Subject(Subject),
    Number(Number),
}

// === impl Checker ===

/// None stands for a part with a mistake in it, which is then among the errors.
impl<'t> Checker<'t> {
    /// A condition; `test` reads what is neither joined nor negated.
    fn formula<L>(
        &mut self,
        expr: &Expr<'t>,
        test: fn(&mut Self, &Expr<'t>) -> Option<Formula<L>>,
    ) -> Option<Formula<L>> {
        match &expr.kind {
            ExprKind::And(parts) => self.formulas(parts, test).map(Formula::All),
            ExprKind::Or(parts) => self.formulas(parts, test).map(Formula::Any),
            ExprKind::Not(inner) => self.formula(inner, test).map(Formula::negated),
            ExprKind::Literal(Literal::Bool(value)) => Some(Formula::constant(*value)),
            ExprKind::Compare { op, sides } => match compared_with_bool(*op, sides) {
                Some((condition, true)) => self.formula(condition, test),
                Some((condition, false)) => self.formula(condition, test).map(Formula::negated),
                None => test(self, expr),
            },
            _ => test(self, expr),
        }
    }

    fn formulas<L>(
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
            ExprKind::Compare { op, sides } => {
                let (asked, op, constant) = self.comparison(expr, *op, sides)?;
                Some(compared(op, |op| match (asked, constant) {
                    (Asked::Number(number), Constant::Int(value)) => TraceTest::Number(number, op, value),
                    (Asked::Subject(subject), constant) => {
                        TraceTest::Root(SpanTest { subject, test: Test::Compare(op, constant) })
                    }
                    (Asked::Number(_), _) => unreachable!("numbers have the types Duration, Count and Shape"),
                }))
            }
            ExprKind::Call { name: name @ ("any" | "all" | "none"), args } => {
                let inner = self.quantified(expr, name, args)?;
                Some(match *name {
                    "any" => Formula::Leaf(TraceTest::Any(inner)),
                    "none" => Formula::Leaf(TraceTest::Any(inner)).negated(),
                    _ => Formula::Leaf(TraceTest::Any(inner.negated())).negated(),
                })
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
            ExprKind::Path(segments) if matches!(path::resolve(segments), Ok(Path::Complete)) => {
                Some(Formula::Leaf(TraceTest::Complete))
            }
            ExprKind::Call { name: "IsMatch", args } => {
                Some(Formula::Leaf(TraceTest::Root(self.is_match(expr, args)?)))
            }
            _ => self.no_condition(expr),
        }
    }

    fn span_test(&mut self, expr: &Expr<'t>) -> Option<Formula<SpanTest>> {
        match &expr.kind {
            ExprKind::Compare { op, sides } => match self.comparison(expr, *op, sides)? {
                (Asked::Subject(subject), op, constant) => {
                    Some(compared(op, |op| SpanTest { subject, test: Test::Compare(op, constant) }))
                }
                (Asked::Number(_), ..) => unreachable!("numbers are refused inside a quantifier"),
            },
            ExprKind::Call { name: "IsMatch", args } => self.is_match(expr, args).map(Formula::Leaf),
            _ => self.no_condition(expr),
        }
    }

    /// The argument of a quantifier.
    fn quantified(&mut self, expr: &Expr<'t>, name: &'t str, args: &[Expr<'t>]) -> Option<Formula<SpanTest>> {
        if let Some(outer) = self.quantifier {
            let hint = "the argument is tested on one span: join quantifiers outside, with `and` or `or`";
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
            _ => {
                let message = format!("`{}` has no text to match", self.written(subject));
                self.error(&subject.at, message, "names, services and attributes have")
            }
        }
    }

    /// What is asked, and the constant to its right.
    fn comparison(&mut self, expr: &Expr<'t>, op: Op, sides: &[Expr<'t>; 2]) -> Option<(Asked, Op, Constant)> {
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
            (Operand::Asked(..), Operand::Asked(..)) => {
                let message = format!("`{}` compares two paths, which is not available yet", self.written(expr));
                return self.error(&expr.at, message, "one side is a constant");
            }
        };
        if kind == Type::Shape && !matches!(op, Op::Eq | Op::Ne) {
            let message = format!("`{}` orders a hash", self.written(expr));
            return self.error(&expr.at, message, "compare it with `==` or `!=`");
        }
        if value == Value::Literal(Literal::Nil) {
            return match asked {
                Asked::Number(_) => {
                    self.error(&expr.at, format!("`{}` is never nil", self.written(path)), "compare it with a value")
                }
                Asked::Subject(_) if matches!(op, Op::Eq | Op::Ne) => Some((asked, op, Constant::Nil)),
                Asked::Subject(_) => self.error(
                    &expr.at,
                    format!("`{}` orders nil", self.written(expr)),
                    "compare nil with `==` or `!=`",
                ),
            };
        }
        let fitting = types::constant(value, kind, self.written(path), self.written(constant), &constant.at);
        Some((asked, op, self.accept(fitting)?))
    }

    /// One side of the comparison, or an argument of the call, `around`.
    fn operand(&mut self, around: &Expr<'t>, expr: &Expr<'t>) -> Option<Operand> {
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
                let path = self.accept(path::resolve(segments))?;
                self.in_scope(around, expr, path)
            }
            ExprKind::Call { name: name @ ("count" | "siblings"), args } => {
                let inner = self.quantified(expr, name, args)?;
                let number = if *name == "count" { Number::Count(inner) } else { Number::Siblings(inner) };
                Some(Operand::Asked(Asked::Number(number), Type::Count))
            }
            ExprKind::Call { name: "Duration", args } => match args.as_slice() {
                [Expr { at, kind: ExprKind::Literal(Literal::Text(text)) }] => {
                    literal(Literal::Duration(self.accept(literal::duration(text, at))?))
                }
                _ => self.error(&expr.at, "`Duration` takes one text", "write `Duration(\"2s\")`, or `2s`"),
            },
            ExprKind::Call { name, args } if QUANTIFIERS.contains(name) && self.quantifier.is_some() => {
                // Names the mistake, which is the nesting.
                self.quantified(expr, name, args);
                None
            }
            ExprKind::Call { name, .. } if !CONDITIONS.contains(name) => self.unknown_function(name, &expr.at),
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

    /// Spans are looked at inside a quantifier, the root and the trace outside.
    fn in_scope(&mut self, around: &Expr<'t>, expr: &Expr<'t>, path: Path) -> Option<Operand> {
        let written = self.written(expr);
        let compared = if around.at == expr.at { format!("{written} == …") } else { self.written(around).to_owned() };
        match (path, self.quantifier) {
            (Path::Complete, None) => {
                let message = format!("`{written}` is true or false by itself");
                self.error(&expr.at, message, format!("write `{written}` or `not {written}`"))
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
                let message = format!("`{written}` inside `{quantifier}(…)`, which looks at one span at a time");
                self.error(&expr.at, message, format!("move it outside: `{compared} and {quantifier}(…)`"))
            }
        }
    }

    /// What stands where a condition should.
    fn no_condition<T>(&mut self, expr: &Expr<'t>) -> Option<T> {
        let written = self.written(expr);
        let hint = match self.operand(expr, expr)? {
            Operand::Asked(_, Type::Any) => {
                format!("write `{written} == true`, or `{written} != nil` if it is to exist")
            }
            Operand::Asked(_, Type::Count) => format!("compare it: `{written} > 3`"),
            Operand::Asked(_, Type::Duration) => format!("compare it: `{written} > 2s`"),
            Operand::Asked(..) => format!("compare it: `{written} == …`"),
            Operand::Constant(_) => "compare a path with it".to_owned(),
        };
        self.error(&expr.at, format!("`{written}` is a value, not a condition"), hint)
    }

    fn unknown_function<T>(&mut self, name: &str, at: &Range<usize>) -> Option<T> {
        let known = || CONDITIONS.into_iter().chain(NUMBERS).chain(["Duration"]);
        let hint = match nearest(name, known()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the functions are {}", types::listed(known())),
        };
        self.error(&(at.start..at.start + name.len()), format!("unknown function `{name}`"), hint)
    }

    fn accept<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    fn error<T>(&mut self, at: &Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.errors.push(Error::new(at.clone(), message).hint(hint));
        None
    }

    fn written(&self, expr: &Expr<'t>) -> &'t str {
        &self.text[expr.at.clone()]
    }
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
        ExprKind::Path(segments) => matches!(path::resolve(segments), Ok(Path::Complete)),
        ExprKind::Literal(_) => false,
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
