//! Conditions of which YAML takes a character for its own.

use std::ops::Range;

/// What YAML took, why, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    pub at: Range<usize>,
    pub message: String,
    pub hint: String,
}

/// The fields that hold conditions: of policies and groups, and `completion.root`. No list holds any.
const FIELDS: [&str; 2] = ["when:", "root:"];
/// Bytes looked at on each side: a condition has no more, and a file of a megabyte may have ten thousand wrong ones.
const NEAR: usize = 16 << 10;

/// What YAML took of the last condition that begins before the end of the line of `at`; None where it took nothing that this
/// knows of. `flow`: the condition is known to stand inside of `{ }`.
pub fn find(text: &str, at: usize, flow: bool) -> Option<Cut> {
    let begin = text.floor_char_boundary(at.saturating_sub(NEAR));
    let cut = find_in(&text[begin..text.ceil_char_boundary(at.saturating_add(NEAR))], at - begin, flow)?;
    Some(Cut { at: begin + cut.at.start..begin + cut.at.end, ..cut })
}

fn find_in(text: &str, at: usize, flow: bool) -> Option<Cut> {
    let at = text.floor_char_boundary(at);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    let key = FIELDS.iter().filter_map(|field| last_key(&text[..end], field)).max()?;
    let line = text[..key].rfind('\n').map_or(0, |newline| newline + 1);
    let start = key + FIELDS[0].len();
    let begin = start + text[start..].find(|c: char| !c.is_whitespace()).unwrap_or(0);
    // It may begin on the next line, further in than its key.
    let is_below = text[start..begin].rfind('\n').map(|newline| goes_on(&text[start + newline + 1..], key - line));
    let start = if is_below == Some(false) { return None } else { begin };
    let flow = flow || text[line..key].contains('{');
    let meant = Meant::read(text, start, flow, key - line);
    let field = &format!("{} ", &text[key..key + FIELDS[0].len()]);
    meant.first(field).or_else(|| meant.inside(field))
}

/// A condition as the person meant it: its own quotes and brackets say where it ends.
struct Meant<'t> {
    source: &'t str,
    start: usize,
    text: &'t str,
    /// It ends outside of its own quotes and brackets.
    closed: bool,
    /// The first character inside of these that YAML does not take as text.
    taken: Option<(usize, char)>,
}

// === impl Meant ===

impl<'t> Meant<'t> {
    fn read(source: &'t str, start: usize, flow: bool, indent: usize) -> Self {
        let (mut quoted, mut escaped, mut depth) = (false, false, 0_usize);
        let (mut taken, mut end) = (None, source.len());
        let mut before = ' ';
        for (i, c) in source[start..].char_indices() {
            let at = start + i;
            let rest = &source[at + c.len_utf8()..];
            if c == '\n' && (flow || !goes_on(rest, indent)) {
                end = at;
                break;
            }
            let own = match c {
                '#' => before.is_whitespace(),
                ':' => rest.is_empty() || rest.starts_with(char::is_whitespace),
                ',' | '[' | ']' | '{' | '}' => flow,
                _ => false,
            };
            if own {
                if !quoted && depth == 0 && c != '[' {
                    end = at;
                    break;
                }
                taken = taken.or(Some((at, c)));
            }
            match c {
                '"' if !escaped => quoted = !quoted,
                '(' | '[' if !quoted => depth += 1,
                ')' | ']' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            escaped = quoted && c == '\\' && !escaped;
            before = c;
        }
        let text = source[start..end].trim_end();
        Self { source, start, text, closed: !quoted && depth == 0, taken }
    }

    /// What YAML makes of the first character.
    fn first(&self, field: &str) -> Option<Cut> {
        let first = self.text.chars().next()?;
        let second = self.text[first.len_utf8()..].chars().next();
        let what = match first {
            '"' => return self.double(field),
            '\'' => return self.single(field),
            '!' => {
                let hint = format!("a condition is negated by `not`: {field}not {}", self.text[1..].trim_start());
                return Some(self.cut(0..1, "YAML takes a `!` in front for a tag", hint));
            }
            '*' => "for the alias of another value",
            '&' if self.text.split_whitespace().next().is_some_and(|anchor| anchor.contains(['(', '.', '"'])) => {
                "for the name of an anchor"
            }
            '%' | '@' | '`' => {
                let message = format!("in YAML no text has a `{first}` in front");
                return Some(self.cut(0..1, message, quoted(field, self.text)));
            }
            '[' => "for a list",
            '{' => "for a mapping",
            '|' | '>' if !self.text.lines().next()?[1..].trim_matches(['-', '+', ' ', '\r']).is_empty() => {
                "for the head of a block of text"
            }
            '-' | '?' if second.is_some_and(char::is_whitespace) => "for a list or a key",
            _ => return None,
        };
        let message = format!("YAML takes a `{first}` in front {what}");
        Some(self.cut(0..first.len_utf8(), message, quoted(field, self.text)))
    }

    /// A quote in front: of a text in the condition, or around all of it with quotes inside.
    fn double(&self, field: &str) -> Option<Cut> {
        let close = closing(self.text)?;
        let behind = &self.text[close + 1..];
        if behind.is_empty() {
            return self.escape(field, close);
        }
        // A text in the condition is followed by an operator, what is quoted twice by its own middle.
        if behind.starts_with(|c: char| c.is_whitespace() || "=!<>+)".contains(c)) {
            let message = "YAML takes a quote in front for one around the whole text";
            return Some(self.cut(0..1, message, quoted(field, self.text)));
        }
        let inner = unwrapped(self.source[self.start..].lines().next()?)?;
        Some(self.cut(close..close + 1, "YAML ends the text at this quote", quoted(field, inner)))
    }

    /// The same of single quotes. In a condition, text stands in double ones.
    fn single(&self, field: &str) -> Option<Cut> {
        let close = 1 + self.text[1..].replace("''", "  ").find('\'')?;
        if self.text[close + 1..].is_empty() {
            return None;
        }
        let inner = self.text[1..].strip_suffix('\'').filter(|_| !self.text[close + 1..].starts_with(' '));
        let meant = inner.unwrap_or(self.text).replace('\'', "\"");
        Some(self.cut(close..close + 1, "YAML ends the text at this quote", quoted(field, &meant)))
    }

    /// A `\` of a pattern in YAML's double quotes, which have escapes of their own.
    fn escape(&self, field: &str, close: usize) -> Option<Cut> {
        let mut wrong = None;
        let mut meant = String::new();
        let mut characters = self.text[1..close].char_indices();
        while let Some((i, c)) = characters.next() {
            if c != '\\' {
                meant.push(c);
                continue;
            }
            let (_, escape) = characters.next()?;
            if !"0abtnvfre\"/\\N_LPxuU\n".contains(escape) {
                wrong = wrong.or(Some((1 + i, escape)));
            }
            match escape {
                '"' => meant.push('"'),
                '\\' => meant.push_str("\\\\"),
                _ => meant.extend(['\\', '\\', escape]),
            }
        }
        let (at, escape) = wrong?;
        let message = format!("in double quotes, YAML knows no `\\{escape}`");
        Some(self.cut(at..at + 1 + escape.len_utf8(), message, quoted(field, &meant)))
    }

    fn inside(&self, field: &str) -> Option<Cut> {
        let (at, c) = self.taken?;
        let at = at - self.start;
        let message = match c {
            '#' => "YAML takes ` #` for the beginning of a comment".to_owned(),
            ':' => "YAML takes `: ` for the end of a key".to_owned(),
            ',' => "inside of `{ }`, YAML takes `,` for the end of a value".to_owned(),
            _ => format!("inside of `{{ }}`, YAML takes `{c}` for its own"),
        };
        let hint = if self.closed && !self.text.contains('\n') {
            quoted(field, self.text)
        } else {
            format!("write the condition on lines of its own below `{field}>-`, where all is text")
        };
        Some(self.cut(at..at + 1, message, hint))
    }

    fn cut(&self, at: Range<usize>, message: impl Into<String>, hint: String) -> Cut {
        Cut { at: self.start + at.start..self.start + at.end, message: message.into(), hint }
    }
}

/// Where a field is written last: it is a key, not a part of another or of text.
fn last_key(text: &str, field: &str) -> Option<usize> {
    let is_key = |at: &usize| {
        let before = text[..*at].chars().next_back();
        let behind = text[at + field.len()..].chars().next();
        before.is_none_or(|c| c.is_whitespace() || c == '{' || c == ',') && behind.is_none_or(char::is_whitespace)
    };
    text.rmatch_indices(field).map(|(at, _)| at).find(is_key)
}

/// Whether a value goes on in this line: it stands further in than its key.
fn goes_on(line: &str, indent: usize) -> bool {
    let text = line.trim_start_matches(' ');
    line.len() - text.len() > indent && !text.starts_with(['\n', '\r'])
}

/// What stands between the quotes around a whole condition, which has quotes of its own.
fn unwrapped(line: &str) -> Option<&str> {
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_usize);
    for (i, c) in line.char_indices().skip(1) {
        match c {
            '"' if !quoted && depth == 0 => {
                let behind = line[i + 1..].trim_start();
                if behind.is_empty() || behind.starts_with([',', '}', '#']) {
                    return Some(&line[1..i]);
                }
                quoted = true;
            }
            '"' if !escaped => quoted = !quoted,
            '(' | '[' if !quoted => depth += 1,
            ')' | ']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = quoted && c == '\\' && !escaped;
    }
    None
}

/// Where the double quote in front is closed.
fn closing(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().skip(1).find_map(|(i, c)| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(i)
    })
}

fn quoted(field: &str, text: &str) -> String {
    format!("quote the condition: {field}'{}'", text.replace('\'', "''"))
}
