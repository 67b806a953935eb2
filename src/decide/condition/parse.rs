//! Tokens into a tree.

use std::ops::Range;

use super::{
    Error,
    ast::{Expr, ExprKind, Literal, Segment},
    expression::Math,
    literal,
    token::{Lexer, Token, TokenKind},
};

/// A condition's length in bytes: some two hundred comparisons. Every mistake shows the text it stands in.
const TEXT_MAX: usize = 16 << 10;
/// Parentheses, `not`s and calls inside each other. What follows walks the tree recursively, in at most some 100 kB of stack.
const DEPTH_MAX: usize = 64;

/// Values of a list, and arguments of a function: beyond it a regular expression says it better.
const LIST_MAX: usize = 256;

/// How tightly operators bind, as in OTTL: products tightest, then sums, comparisons, `not`, `and`, `or`.
const ANY: u8 = 0;
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const COMPARE: u8 = 4;
const SUM: u8 = 5;
const PRODUCT: u8 = 6;
const SIGN: u8 = 7;

/// # Errors
/// The first place at which the text is no condition.
pub fn parse(text: &str) -> Result<Expr<'_>, Error> {
    if text.len() > TEXT_MAX {
        return Err(Error::new(0..0, format!("a condition of {} bytes; at most {TEXT_MAX} are read", text.len()))
            .hint("split it into several policies, or use one IsMatch for many values"));
    }
    let mut lexer = Lexer::new(text);
    let token = lexer.next()?;
    if token.kind == TokenKind::End {
        return Err(Error::new(0..text.len(), "the condition is empty").hint("leave `when` out to mean every trace"));
    }
    let mut parser = Parser { text, lexer, token, depth: 0 };
    let expr = parser.expr(ANY)?;
    match parser.token.kind {
        TokenKind::End => Ok(expr),
        TokenKind::Close => Err(parser.unexpected("this parenthesis closes nothing")),
        _ => Err(parser.unexpected("the condition should end here").hint("conditions are joined with `and` or `or`")),
    }
}

struct Parser<'t> {
    text: &'t str,
    lexer: Lexer<'t>,
    /// The one looked at.
    token: Token,
    depth: usize,
}

// === impl Parser ===

impl<'t> Parser<'t> {
    /// A Pratt parser: the longest expression whose operators bind at least as tightly as `power`.
    fn expr(&mut self, power: u8) -> Result<Expr<'t>, Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.unexpected(&format!("nested more than {DEPTH_MAX} deep")));
        }
        let mut left = self.prefix()?;
        loop {
            let kind = self.token.kind;
            left = match kind {
                TokenKind::Or if power <= OR => self.chain(left, kind, OR, ExprKind::Or)?,
                TokenKind::And if power <= AND => self.chain(left, kind, AND, ExprKind::And)?,
                TokenKind::Compare(op) if power <= COMPARE => {
                    self.advance()?;
                    let right = self.expr(COMPARE + 1)?;
                    if matches!(self.token.kind, TokenKind::Compare(_)) {
                        return Err(self.unexpected("comparisons cannot be chained").hint("write `a < b and b < c`"));
                    }
                    let at = left.at.start..right.at.end;
                    Expr { at, kind: ExprKind::Compare { op, sides: Box::new([left, right]) } }
                }
                TokenKind::Plus | TokenKind::Minus if power <= SUM => self.math(left, SUM)?,
                TokenKind::Star | TokenKind::Slash if power <= PRODUCT => self.math(left, PRODUCT)?,
                TokenKind::Word if let Some(error) = self.foreign(&left) => return Err(error),
                _ => break,
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    /// All parts that one operator joins, as one node.
    fn chain(
        &mut self,
        first: Expr<'t>,
        operator: TokenKind,
        power: u8,
        join: fn(Vec<Expr<'t>>) -> ExprKind<'t>,
    ) -> Result<Expr<'t>, Error> {
        let (start, mut end) = (first.at.start, first.at.end);
        let mut parts = vec![first];
        while self.token.kind == operator {
            self.advance()?;
            let part = self.expr(power + 1)?;
            end = part.at.end;
            parts.push(part);
        }
        Ok(Expr { at: start..end, kind: join(parts) })
    }

    /// All that operators of this power join, as one node.
    fn math(&mut self, first: Expr<'t>, power: u8) -> Result<Expr<'t>, Error> {
        let (start, mut end) = (first.at.start, first.at.end);
        let mut rest = Vec::new();
        loop {
            let math = match self.token.kind {
                TokenKind::Plus if power == SUM => Math::Add,
                TokenKind::Minus if power == SUM => Math::Sub,
                TokenKind::Star if power == PRODUCT => Math::Mul,
                TokenKind::Slash if power == PRODUCT => Math::Div,
                _ => return Ok(Expr { at: start..end, kind: ExprKind::Math { first: Box::new(first), rest } }),
            };
            self.advance()?;
            let operand = self.expr(power + 1)?;
            end = operand.at.end;
            rest.push((math, operand));
        }
    }

    fn prefix(&mut self) -> Result<Expr<'t>, Error> {
        let Token { kind, at } = self.token.clone();
        let text = &self.text[at.clone()];
        let literal = match kind {
            TokenKind::Word => return self.word(),
            TokenKind::Not => {
                self.advance()?;
                let inner = self.expr(NOT)?;
                return Ok(Expr { at: at.start..inner.at.end, kind: ExprKind::Not(Box::new(inner)) });
            }
            TokenKind::Open => {
                self.advance()?;
                let inner = self.expr(ANY)?;
                self.close(at, TokenKind::Close)?;
                return Ok(inner);
            }
            TokenKind::Minus | TokenKind::Plus => return self.signed(),
            TokenKind::Number => number(text, at.clone())?,
            TokenKind::Duration => Literal::Duration(literal::duration(text, &at)?),
            TokenKind::Text => Literal::Text(literal::unquote(text, &at)?),
            TokenKind::Bytes => Literal::Bytes(literal::bytes(text, &at)?),
            TokenKind::OpenKey => return self.list(),
            _ => return Err(self.unexpected("a value or a condition should stand here")),
        };
        self.advance()?;
        Ok(Expr { at, kind: ExprKind::Literal(literal) })
    }

    fn signed(&mut self) -> Result<Expr<'t>, Error> {
        let start = self.token.at.start;
        let math = if self.token.kind == TokenKind::Minus { Math::Sub } else { Math::Add };
        self.advance()?;
        let at = start..self.token.at.end;
        match self.token.kind {
            // As one, so that the least number can be written.
            TokenKind::Number if self.token.at.start == start + 1 => {
                self.advance()?;
                Ok(Expr { at: at.clone(), kind: ExprKind::Literal(number(&self.text[at.clone()], at)?) })
            }
            TokenKind::Duration => Err(Error::new(at, "a duration has no sign: it is never negative")),
            _ => {
                let zero = Expr { at: start..start + 1, kind: ExprKind::Literal(Literal::Int(0)) };
                let operand = self.expr(SIGN)?;
                let at = start..operand.at.end;
                Ok(Expr { at, kind: ExprKind::Math { first: Box::new(zero), rest: vec![(math, operand)] } })
            }
        }
    }

    fn list(&mut self) -> Result<Expr<'t>, Error> {
        let open = self.advance()?.at;
        let (items, end) = self.items(open.clone(), TokenKind::CloseKey)?;
        Ok(Expr { at: open.start..end, kind: ExprKind::List(items) })
    }

    /// What stands between commas up to the end of the list; where that is.
    fn items(&mut self, open: Range<usize>, close: TokenKind) -> Result<(Vec<Expr<'t>>, usize), Error> {
        let mut items = Vec::new();
        while self.token.kind != close {
            if items.len() == LIST_MAX {
                return Err(self.unexpected(&format!("a list has at most {LIST_MAX} values")));
            }
            items.push(self.expr(ANY)?);
            if self.token.kind != TokenKind::Comma {
                break;
            }
            self.advance()?;
        }
        let end = self.close(open, close)?;
        Ok((items, end))
    }

    /// A word is a constant, a call or a path.
    fn word(&mut self) -> Result<Expr<'t>, Error> {
        let Token { at, .. } = self.advance()?;
        let name = &self.text[at.clone()];
        let constant = match name {
            "true" => Some(Literal::Bool(true)),
            "false" => Some(Literal::Bool(false)),
            "nil" => Some(Literal::Nil),
            _ => None,
        };
        if let Some(literal) = constant {
            return Ok(Expr { at, kind: ExprKind::Literal(literal) });
        }
        match self.token.kind {
            TokenKind::Open => self.call(name, at),
            _ => self.path(name, at),
        }
    }

    fn call(&mut self, name: &'t str, at: Range<usize>) -> Result<Expr<'t>, Error> {
        let open = self.advance()?.at;
        let (args, end) = self.items(open, TokenKind::Close)?;
        let call = Expr { at: at.start..end, kind: ExprKind::Call { name, args } };
        let keys = self.keys()?;
        Ok(match keys.last() {
            Some((_, last)) => Expr { at: at.start..last.end + 1, kind: ExprKind::Inside { of: Box::new(call), keys } },
            None => call,
        })
    }

    fn path(&mut self, first: &'t str, at: Range<usize>) -> Result<Expr<'t>, Error> {
        let start = at.start;
        let mut segments = vec![Segment { name: first, at, keys: self.keys()? }];
        while self.token.kind == TokenKind::Dot {
            self.advance()?;
            // `and`, `or`, `not` are names here: nothing else can stand behind a dot.
            match self.token.kind {
                TokenKind::Word | TokenKind::And | TokenKind::Or | TokenKind::Not => {}
                _ => return Err(self.unexpected("a name should follow the dot")),
            }
            let at = self.advance()?.at;
            segments.push(Segment { name: &self.text[at.clone()], at, keys: self.keys()? });
        }
        if self.token.kind == TokenKind::Open {
            let hint = "a function stands in front: `HasPrefix(name, \"GET \")`";
            return Err(self.unexpected("nothing is called behind a dot").hint(hint));
        }
        let end = segments.last().map_or(start, |last| last.keys.last().map_or(last.at.end, |(_, at)| at.end + 1));
        Ok(Expr { at: start..end, kind: ExprKind::Path(segments) })
    }

    /// The keys in brackets behind a name.
    fn keys(&mut self) -> Result<Vec<(Literal, Range<usize>)>, Error> {
        let mut keys = Vec::new();
        while self.token.kind == TokenKind::OpenKey {
            self.advance()?;
            let at = self.token.at.clone();
            let text = &self.text[at.clone()];
            let key = match self.token.kind {
                TokenKind::Text => Literal::Text(literal::unquote(text, &at)?),
                TokenKind::Number => number(text, at.clone())?,
                _ => {
                    return Err(self
                        .unexpected("a key should stand here")
                        .hint("a key stands in double quotes: `[\"key\"]`"));
                }
            };
            self.advance()?;
            if self.token.kind != TokenKind::CloseKey {
                return Err(self.unexpected("the key should end here, with `]`"));
            }
            keys.push((key, at.start..self.advance()?.at.start));
        }
        Ok(keys)
    }

    /// Takes what closes; where it ends.
    fn close(&mut self, open: Range<usize>, close: TokenKind) -> Result<usize, Error> {
        let (what, sign) = if close == TokenKind::Close { ("parenthesis", ")") } else { ("list", "]") };
        match self.token.kind {
            kind if kind == close => Ok(self.advance()?.at.end),
            TokenKind::End => Err(Error::new(open, format!("this {what} is never closed"))),
            _ => Err(self.unexpected(&format!("`{sign}` should stand here"))),
        }
    }

    /// The token looked at; the next one is looked at from now on.
    fn advance(&mut self) -> Result<Token, Error> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    /// What other languages write behind a value, and this one does not.
    fn foreign(&self, left: &Expr<'t>) -> Option<Error> {
        let at = self.token.at.clone();
        let (word, value) = (&self.text[at.clone()], &self.text[left.at.clone()]);
        let number = matches!(left.kind, ExprKind::Literal(Literal::Int(_) | Literal::Float(_)));
        let hint = match word.to_ascii_lowercase().as_str() {
            "in" => format!("write `ContainsValue([…], {value})`"),
            "and" | "or" | "not" => format!("write `{}`", word.to_ascii_lowercase()),
            "is" => format!("write `{value} == …` or `{value} != …`"),
            "contains" | "like" | "matches" => format!("write `IsMatch({value}, \"regex\")`"),
            "ns" | "us" | "ms" | "s" | "m" | "h" if number => format!("write `{value}{word}`"),
            _ => return None,
        };
        Some(Error::new(at, format!("`{word}` means nothing here")).hint(hint))
    }

    fn unexpected(&self, expected: &str) -> Error {
        let found = match self.token.kind {
            TokenKind::End => "the condition ends".to_owned(),
            _ => format!("found `{}`", &self.text[self.token.at.clone()]),
        };
        Error::new(self.token.at.clone(), format!("{expected}, {found}"))
    }
}

fn number(text: &str, at: Range<usize>) -> Result<Literal, Error> {
    let whole = text.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'+' | b'-'));
    let literal = if whole {
        text.parse().ok().map(Literal::Int)
    } else {
        text.parse().ok().filter(|float: &f64| float.is_finite()).map(Literal::Float)
    };
    literal.ok_or_else(|| Error::new(at, format!("`{text}` does not fit a number of 64 bits")))
}
