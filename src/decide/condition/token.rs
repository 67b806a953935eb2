//! The text of a condition into tokens.

use std::ops::Range;

use super::{Error, compare::Op};

/// Reads one token after another; after the end it yields `End` for ever.
pub struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub at: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Word,
    /// Digits, with or without fraction and exponent, unsigned.
    Number,
    /// Digits with a unit: not yet known to be one.
    Duration,
    /// `0x` and hexadecimal digits.
    Bytes,
    /// In double quotes, which are part of it.
    Text,
    And,
    Or,
    Not,
    Compare(Op),
    Minus,
    Plus,
    Star,
    Slash,
    Dot,
    Comma,
    Open,
    Close,
    OpenKey,
    CloseKey,
    End,
}

// === impl Lexer ===

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// # Errors
    /// A character no token begins with, or a string without its end.
    pub fn next(&mut self) -> Result<Token, Error> {
        self.skip(char::is_whitespace);
        let start = self.at;
        let mut rest = self.rest().chars();
        let Some(first) = rest.next() else {
            return Ok(Token { kind: TokenKind::End, at: start..start });
        };
        let second = rest.next();
        let kind = match first {
            'a'..='z' | 'A'..='Z' | '_' => self.word(),
            '0' if second == Some('x') => self.bytes(),
            '0'..='9' => self.number(),
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => self.number(),
            '"' => self.string()?,
            _ => self.symbol(first, second)?,
        };
        Ok(Token { kind, at: start..self.at })
    }

    fn word(&mut self) -> TokenKind {
        let start = self.at;
        self.skip(is_word);
        match &self.text[start..self.at] {
            "and" => TokenKind::And,
            "or" => TokenKind::Or,
            "not" => TokenKind::Not,
            _ => TokenKind::Word,
        }
    }

    fn number(&mut self) -> TokenKind {
        self.skip(|c| c.is_ascii_digit());
        if self.rest().starts_with('.') {
            self.at += 1;
            self.skip(|c| c.is_ascii_digit());
        }
        let exponent = self.rest().strip_prefix(['e', 'E']).map(|rest| rest.trim_start_matches(['+', '-']));
        if let Some(digits) = exponent
            && digits.starts_with(|c: char| c.is_ascii_digit())
        {
            self.at = self.text.len() - digits.len();
            self.skip(|c| c.is_ascii_digit());
        }
        // The rest of `1m30s` is digits again. A unit that is none is named when the value is read.
        let number = self.at;
        if self.rest().starts_with(is_unit) {
            self.skip(|c| is_unit(c) || c.is_ascii_digit() || c == '.');
        }
        if self.at == number { TokenKind::Number } else { TokenKind::Duration }
    }

    /// What is no digit is named when the value is read.
    fn bytes(&mut self) -> TokenKind {
        self.skip(is_word);
        TokenKind::Bytes
    }

    fn string(&mut self) -> Result<TokenKind, Error> {
        let start = self.at;
        let mut escaped = false;
        for (i, c) in self.rest().char_indices().skip(1) {
            match c {
                '"' if !escaped => {
                    self.at += i + 1;
                    return Ok(TokenKind::Text);
                }
                _ => escaped = c == '\\' && !escaped,
            }
        }
        Err(Error::new(start..self.text.len(), "this string has no end").hint("close it with `\"`"))
    }

    fn symbol(&mut self, first: char, second: Option<char>) -> Result<TokenKind, Error> {
        let double = |kind| (kind, 2);
        let (kind, len) = match (first, second) {
            ('=', Some('=')) => double(TokenKind::Compare(Op::Eq)),
            ('!', Some('=')) => double(TokenKind::Compare(Op::Ne)),
            ('<', Some('=')) => double(TokenKind::Compare(Op::Le)),
            ('>', Some('=')) => double(TokenKind::Compare(Op::Ge)),
            ('<', _) => (TokenKind::Compare(Op::Lt), 1),
            ('>', _) => (TokenKind::Compare(Op::Gt), 1),
            ('-', _) => (TokenKind::Minus, 1),
            ('+', _) => (TokenKind::Plus, 1),
            ('*', _) => (TokenKind::Star, 1),
            ('/', _) => (TokenKind::Slash, 1),
            ('.', _) => (TokenKind::Dot, 1),
            (',', _) => (TokenKind::Comma, 1),
            ('(', _) => (TokenKind::Open, 1),
            (')', _) => (TokenKind::Close, 1),
            ('[', _) => (TokenKind::OpenKey, 1),
            (']', _) => (TokenKind::CloseKey, 1),
            _ => return Err(self.foreign(first, second)),
        };
        self.at += len;
        Ok(kind)
    }

    /// What other languages write and this one does not.
    fn foreign(&self, first: char, second: Option<char>) -> Error {
        let (len, hint) = match (first, second) {
            ('&', Some('&')) => (2, "write `and`"),
            ('|', Some('|')) => (2, "write `or`"),
            ('=' | '!', Some('~')) => (2, "write `IsMatch(path, \"regex\")`"),
            ('!', _) => (1, "write `not`"),
            ('=', _) => (1, "write `==`"),
            ('#', _) => (1, "a condition has no comments: write them above it, or as its `note`"),
            ('\'' | '`' | '“' | '”' | '‘' | '’', _) => {
                (first.len_utf8(), "text stands in double quotes: `\"…\"`")
            }
            _ => {
                let at = self.at..self.at + first.len_utf8();
                return Error::new(at, format!("`{}` means nothing here", first.escape_debug()));
            }
        };
        let at = self.at..self.at + len;
        Error::new(at.clone(), format!("`{}` means nothing here", &self.text[at])).hint(hint)
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip(&mut self, mut wanted: impl FnMut(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `µs` has a letter outside ASCII, and Unicode has two of them.
fn is_unit(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == 'µ' || c == 'μ'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Result<Vec<(TokenKind, &str)>, Error> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            let token = lexer.next()?;
            if token.kind == TokenKind::End {
                return Ok(tokens);
            }
            tokens.push((token.kind, &text[token.at]));
        }
    }

    #[test]
    fn tells_numbers_durations_and_dots_apart() {
        use TokenKind::*;
        assert_eq!(
            kinds("a.b[\"c\\\"d\"] >= -1.5e3 .5 1m30s 2µs 1e 7x.5 0x0aF*/").unwrap(),
            [
                (Word, "a"),
                (Dot, "."),
                (Word, "b"),
                (OpenKey, "["),
                (Text, "\"c\\\"d\""),
                (CloseKey, "]"),
                (Compare(Op::Ge), ">="),
                (Minus, "-"),
                (Number, "1.5e3"),
                (Number, ".5"),
                (Duration, "1m30s"),
                (Duration, "2µs"),
                (Duration, "1e"),
                (Duration, "7x.5"),
                (Bytes, "0x0aF"),
                (Star, "*"),
                (Slash, "/"),
            ]
        );
        assert_eq!(kinds("android and(or)not").unwrap().len(), 6);
    }

    #[test]
    fn names_what_other_languages_write() {
        for (text, hint) in [
            ("a && b", "`and`"),
            ("!a", "`not`"),
            ("a = 1", "`==`"),
            ("'a'", "double quotes"),
            ("“a”", "double quotes"),
        ] {
            assert!(kinds(text).unwrap_err().hint.unwrap().contains(hint), "{text}");
        }
        assert_eq!(kinds("a # b").unwrap_err().at, 2..3);
        assert_eq!(kinds(r#"a == "b\""#).unwrap_err().message, "this string has no end");
    }
}
