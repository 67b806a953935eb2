//! Names and types of what is computed.

use std::ops::Range;

use super::{
    Constant, Expression, Field, Number, Op, SpanTest, Subject, Test,
    ast::{Expr, ExprKind, Literal},
    check::{Asked, Checker, Operand},
    expression::{Computed, Math},
    function::{Param, Signature},
    literal, path,
    types::{self, Type, Value},
};
use crate::decode;

/// The question whether an expression comes to true.
pub fn computed(expression: Expression) -> SpanTest {
    if let Some((op, ns)) = longer(&expression) {
        return SpanTest { subject: Subject::Duration, test: Test::Compare(op, Constant::Int(ns)) };
    }
    let mut subjects = Vec::new();
    expression.subjects(&mut |subject| subjects.push(subject.clone()));
    subjects.dedup();
    let subject = match subjects.as_slice() {
        [only] => only.clone(),
        _ => Subject::Several,
    };
    SpanTest { subject, test: Test::Comes(Box::new(expression), true) }
}

/// `end_time_unix_nano - start_time_unix_nano > 5`, as OTTL says it, is a duration: that is known of every span, and the times have to be
/// looked for. Only where it is above something: what has not ended has no duration, and ends before it starts here.
fn longer(expression: &Expression) -> Option<(Op, i64)> {
    let Expression::Compare(op, sides) = expression else { return None };
    let (op, math, ns) = match &**sides {
        [math, Expression::Constant(Constant::Int(ns))] => (*op, math, *ns),
        [Expression::Constant(Constant::Int(ns)), math] => (op.flipped(), math, *ns),
        _ => return None,
    };
    let Expression::Math(first, rest) = math else { return None };
    let lasts = **first == Expression::Path(Subject::Field(Field::End))
        && **rest == [(Math::Sub, Expression::Path(Subject::Field(Field::Start)))];
    (lasts && ns > 0 && matches!(op, Op::Gt | Op::Ge)).then_some((op, ns))
}

// === impl Checker ===

impl<'t> Checker<'t> {
    /// A comparison in which neither side is a constant, or one is computed.
    pub(super) fn computed_comparison(
        &mut self,
        expr: &Expr<'t>,
        op: Op,
        sides: [(Operand, &Expr<'t>); 2],
    ) -> Option<SpanTest> {
        let kind = |operand: &Operand| match operand {
            Operand::Asked(_, kind) | Operand::Computed(_, kind) => Some(*kind),
            Operand::Constant(_) => None,
        };
        let kinds = sides.each_ref().map(|(operand, _)| kind(operand));
        let [(left, left_expr), (right, right_expr)] = sides;
        let sides = match kinds {
            [Some(a), Some(b)] => {
                if !types::comparable(a, b) {
                    let message =
                        format!("`{}` compares {} with {}", self.written(expr), types::name(a), types::name(b));
                    return self.error(&expr.at, message, types::converted(a, b));
                }
                self.ordered(expr, op, a)?;
                self.ordered(expr, op, b)?;
                [self.expression(left_expr, left)?, self.expression(right_expr, right)?]
            }
            [Some(kind), None] => {
                self.ordered(expr, op, kind)?;
                let right = self.fitting(expr, op, kind, left_expr, right, right_expr)?;
                [self.expression(left_expr, left)?, right]
            }
            [None, Some(kind)] => {
                self.ordered(expr, op, kind)?;
                let left = self.fitting(expr, op, kind, right_expr, left, left_expr)?;
                [left, self.expression(right_expr, right)?]
            }
            [None, None] => return None,
        };
        self.with_path(expr, Expression::Compare(op, Box::new(sides))).map(computed)
    }

    /// A constant beside something computed.
    fn fitting(
        &mut self,
        expr: &Expr<'t>,
        op: Op,
        kind: Type,
        path: &Expr<'t>,
        operand: Operand,
        written: &Expr<'t>,
    ) -> Option<Expression> {
        let Operand::Constant(value) = operand else { return None };
        if value == Value::Literal(Literal::Nil) {
            if matches!(op, Op::Eq | Op::Ne) {
                return Some(Expression::Constant(Constant::Nil));
            }
            let message = format!("`{}` orders nil", self.written(expr));
            return self.error(&expr.at, message, "compare nil with `==` or `!=`");
        }
        let fitting = types::constant(value, kind, self.written(path), self.written(written), &written.at);
        self.accept(fitting).map(Expression::Constant)
    }

    /// Ids, hashes and lists are equal or not, and no more.
    pub(super) fn ordered(&mut self, expr: &Expr<'t>, op: Op, kind: Type) -> Option<()> {
        if matches!(op, Op::Eq | Op::Ne)
            || !matches!(kind, Type::TraceId | Type::SpanId | Type::List | Type::Shape | Type::Values)
        {
            return Some(());
        }
        let message = format!("`{}` orders {}", self.written(expr), types::name(kind));
        self.error(&expr.at, message, "compare it with `==` or `!=`")
    }

    pub(super) fn call(
        &mut self,
        around: &Expr<'t>,
        expr: &Expr<'t>,
        signature: &Signature,
        args: &[Expr<'t>],
    ) -> Option<Operand> {
        let Signature { name, function, params, optional, result, example } = *signature;
        if args.len() > params.len() || args.len() + optional < params.len() {
            let takes = if params.len() == 1 { "1 argument".to_owned() } else { format!("{} arguments", params.len()) };
            let message = format!("`{name}` takes {takes}, not {}", args.len());
            return self.error(&expr.at, message, format!("write `{example}`"));
        }
        // Every argument names its mistakes.
        let args: Vec<_> =
            args.iter().zip(params).map(|(arg, param)| self.argument(around, arg, *param, name)).collect();
        let args = args.into_iter().collect::<Option<Vec<_>>>()?;
        self.folded(expr, Expression::Call(function, args), result)
    }

    fn argument(&mut self, around: &Expr<'t>, arg: &Expr<'t>, param: Param, name: &str) -> Option<Expression> {
        let operand = self.operand(around, arg)?;
        let kind = match &operand {
            Operand::Asked(_, kind) | Operand::Computed(_, kind) => *kind,
            Operand::Constant(value) => types::of(value),
        };
        let (fits, wanted) = match param {
            Param::Any => (true, "a value"),
            Param::Text => (matches!(kind, Type::Text | Type::Any), "text"),
            Param::Int => (matches!(kind, Type::Int | Type::Any | Type::Kind | Type::Status), "a whole number"),
            Param::List => (matches!(kind, Type::List | Type::Any), "a list"),
            Param::Duration => (kind == Type::Duration, "a duration"),
        };
        if !fits {
            let message = format!("`{}` is {}, and `{name}` takes {wanted}", self.written(arg), types::name(kind));
            let hint = match (param, kind) {
                (Param::Text, Type::TraceId | Type::SpanId | Type::Kind) => {
                    format!("did you mean `{}.string`?", self.written(arg))
                }
                (Param::Text, Type::Int | Type::Double) => format!("did you mean `String({})`?", self.written(arg)),
                (Param::Duration, _) => "durations are `duration`, `2s` and what is between two times".to_owned(),
                (Param::List, Type::Values) => "`any(… == …)` asks whether one of them is such".to_owned(),
                (Param::List, _) => format!("did you mean `[{}]`?", self.written(arg)),
                _ => format!("docs/conditions.md says what `{name}` does"),
            };
            return self.error(&arg.at, message, hint);
        }
        self.expression(arg, operand)
    }

    pub(super) fn math(
        &mut self,
        around: &Expr<'t>,
        expr: &Expr<'t>,
        first: &Expr<'t>,
        rest: &[(Math, Expr<'t>)],
    ) -> Option<Operand> {
        // Every operand names its mistakes.
        let operand = self.part(around, first);
        let operands: Vec<_> =
            rest.iter().map(|(math, operand)| (*math, operand, self.part(around, operand))).collect();
        let (first, mut kind) = operand?;
        let mut parts = Vec::with_capacity(operands.len());
        for (math, operand, number) in operands {
            let (part, other) = number?;
            kind = match types::math(math, kind, other) {
                Some(kind) => kind,
                None => {
                    let message = format!(
                        "`{}` calculates with {} and {}",
                        self.written(expr),
                        types::name(kind),
                        types::name(other)
                    );
                    return self.error(&operand.at, message, types::converted(kind, other));
                }
            };
            parts.push((math, part));
        }
        self.folded(expr, Expression::Math(Box::new(first), parts), kind)
    }

    /// An operand or a value of a list.
    fn part(&mut self, around: &Expr<'t>, expr: &Expr<'t>) -> Option<(Expression, Type)> {
        let operand = self.operand(around, expr)?;
        let kind = match &operand {
            Operand::Asked(_, kind) | Operand::Computed(_, kind) => *kind,
            Operand::Constant(value) => types::of(value),
        };
        Some((self.expression(expr, operand)?, kind))
    }

    pub(super) fn list(&mut self, around: &Expr<'t>, items: &[Expr<'t>]) -> Option<Operand> {
        let items: Vec<_> = items.iter().map(|item| self.part(around, item)).collect();
        let items = items.into_iter().map(|item| item.map(|(item, _)| item)).collect::<Option<Vec<_>>>()?;
        Some(Operand::Computed(Expression::List(items), Type::List))
    }

    pub(super) fn inside(
        &mut self,
        around: &Expr<'t>,
        expr: &Expr<'t>,
        of: &Expr<'t>,
        keys: &[(Literal, Range<usize>)],
    ) -> Option<Operand> {
        let keys = self.accept(path::keys(keys));
        match self.operand(around, of)? {
            Operand::Computed(of, Type::List) => {
                Some(Operand::Computed(Expression::Inside(Box::new(of), keys?), Type::Any))
            }
            _ => {
                let message = format!("`{}` has nothing inside", self.written(of));
                self.error(&expr.at, message, "keys stand behind attributes and `Split(…)`")
            }
        }
    }

    /// `SpanID(0x…)`, or the same in hexadecimal digits.
    pub(super) fn id(&mut self, expr: &Expr<'t>, name: &str, args: &[Expr<'t>]) -> Option<Operand> {
        let len = if name == "SpanID" { 8 } else { 16 };
        let id = match args {
            [Expr { kind: ExprKind::Literal(Literal::Bytes(bytes)), .. }] => Some(bytes.clone()),
            [Expr { kind: ExprKind::Literal(Literal::Text(text)), .. }] => literal::hex(text),
            _ => None,
        };
        match id.filter(|id| id.len() == len) {
            Some(id) => Some(Operand::Constant(Value::Literal(Literal::Bytes(id)))),
            None => self.error(
                &expr.at,
                format!("`{name}` takes {len} bytes"),
                format!("write `{name}(0x{})`", "0123456789abcdef".repeat(len / 8)),
            ),
        }
    }

    /// What is computed, or its value where there is no path in it.
    fn folded(&mut self, expr: &Expr<'t>, expression: Expression, kind: Type) -> Option<Operand> {
        let mut paths = 0;
        expression.subjects(&mut |_| paths += 1);
        if paths > 0 {
            return Some(Operand::Computed(expression, kind));
        }
        let literal = match expression.compute(&|_| Computed::NIL) {
            Ok(Computed::Text(text)) => String::from_utf8(text).ok().map(Literal::Text),
            Ok(Computed::Value(value)) => match value {
                decode::Value::Nil => Some(Literal::Nil),
                decode::Value::Bool(value) => Some(Literal::Bool(value)),
                decode::Value::Int(value) if kind == Type::Duration => u64::try_from(value).ok().map(Literal::Duration),
                decode::Value::Int(value) => Some(Literal::Int(value)),
                decode::Value::Double(value) => Some(Literal::Float(value)),
                _ => None,
            },
            // A list is compared value by value, whatever made it.
            Ok(Computed::List(_)) => return Some(Operand::Computed(expression, kind)),
            Err(_) => None,
        };
        match literal {
            Some(literal) => Some(Operand::Constant(Value::Literal(literal))),
            None => self.error(&expr.at, format!("`{}` has no value", self.written(expr)), "it can never be computed"),
        }
    }

    fn expression(&mut self, expr: &Expr<'t>, operand: Operand) -> Option<Expression> {
        match operand {
            Operand::Asked(Asked::Number(Number::Values(_)), _) => {
                let message = format!("`{}` is known only when the trace is judged", self.written(expr));
                self.error(&expr.at, message, "compare it with a list: `values(service) == [\"cart\"]`")
            }
            Operand::Computed(expression, _) => Some(expression),
            Operand::Asked(Asked::Subject(subject), _) => Some(Expression::Path(subject)),
            Operand::Asked(Asked::Number(_), _) => {
                let message = format!("`{}` is known only when the trace is judged", self.written(expr));
                self.error(&expr.at, message, "compare it with a constant")
            }
            Operand::Constant(value) => Some(Expression::Constant(types::plain(value))),
        }
    }

    fn with_path(&mut self, expr: &Expr<'t>, expression: Expression) -> Option<Expression> {
        let mut paths = 0;
        expression.subjects(&mut |_| paths += 1);
        if paths > 0 {
            return Some(expression);
        }
        let message = format!("`{}` compares two constants", self.written(expr));
        self.error(&expr.at, message, "one side is a path, such as `root.attributes[\"key\"]`")
    }
}
