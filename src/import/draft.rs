//! A policy file that is being written.

use std::fmt::Write;

use crate::decide::condition;

/// Entries and the remarks beside them, in the order they will stand.
#[derive(Debug, Default)]
pub struct Draft {
    /// At the head of the file.
    pub remarks: Vec<String>,
    /// The first policy that matches decides, and what none matches is kept.
    pub first: bool,
    /// The salt of the Collector's hash, where that decides probabilities.
    pub salt: Option<String>,
    pub entries: Vec<Entry>,
}

#[derive(Debug)]
pub struct Entry {
    pub name: String,
    pub remarks: Vec<String>,
    pub policy: Result<Policy, Missing>,
}

/// A condition, if it has one, and what to do.
#[derive(Debug)]
pub struct Policy {
    pub when: Option<String>,
    pub action: Action,
}

#[derive(Debug)]
pub enum Action {
    /// With samplers that must all agree, or always.
    Keep(Vec<String>),
    /// The same, where what they turn down goes on to the next policy.
    KeepOrPass(Vec<String>),
    Drop,
    /// The first of these that matches decides.
    First(Vec<Entry>),
}

/// Why a policy is not there, in one sentence.
#[derive(Clone, Debug)]
pub struct Missing(pub String);

/// The width at which remarks and conditions are broken.
const WIDTH: usize = 110;

// === impl Draft ===

impl Draft {
    /// Policies that could not be had.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().filter_map(|entry| {
            let Missing(why) = entry.policy.as_ref().err()?;
            Some((entry.name.as_str(), why.as_str()))
        })
    }

    /// The file.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.remarks.iter().for_each(|remark| comment(&mut text, "", remark));
        let (matching, otherwise) = if self.first { ("first", "keep") } else { ("any", "drop") };
        _ = writeln!(text, "match: {matching}");
        if let Some(salt) = &self.salt {
            _ = writeln!(text, "randomness: {{ fnv: {} }}", scalar(salt));
        }
        text.push_str("policies:");
        if self.entries.iter().all(|entry| entry.policy.is_err()) {
            text.push_str(" []");
        }
        text.push('\n');
        for (at, entry) in self.entries.iter().enumerate() {
            if at > 0 {
                text.push('\n');
            }
            entry.write(&mut text, "  ");
        }
        _ = writeln!(text, "\notherwise: {otherwise}");
        text
    }
}

// === impl Entry ===

impl Entry {
    fn write(&self, text: &mut String, indent: &str) {
        self.remarks.iter().for_each(|remark| comment(text, indent, remark));
        let policy = match &self.policy {
            Ok(policy) => policy,
            Err(Missing(why)) => return comment(text, indent, &format!("NOT IMPORTED: `{}`: {why}", self.name)),
        };
        let Policy { when, action } = policy;
        _ = writeln!(text, "{indent}- name: {}", scalar(&self.name));
        if let Some(when) = when {
            // Folded: nothing in it means anything to YAML, and line breaks are spaces.
            _ = writeln!(text, "{indent}  when: >-");
            wrap(text, &format!("{indent}    "), when);
        }
        match action {
            Action::Drop => _ = writeln!(text, "{indent}  drop: always"),
            Action::Keep(samplers) => keep(text, indent, samplers),
            Action::KeepOrPass(samplers) => {
                keep(text, indent, samplers);
                _ = writeln!(text, "{indent}  on_reject: next");
            }
            Action::First(entries) => {
                _ = writeln!(text, "{indent}  match: first\n{indent}  policies:");
                entries.iter().for_each(|entry| entry.write(text, &format!("{indent}    ")));
            }
        }
    }
}

fn keep(text: &mut String, indent: &str, samplers: &[String]) {
    let written = match samplers {
        [] => "always".to_owned(),
        [sampler] => sampler.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    if written.len() <= WIDTH {
        _ = writeln!(text, "{indent}  keep: {written}");
    } else {
        _ = writeln!(text, "{indent}  keep:");
        wrap(text, &format!("{indent}    "), &written);
    }
}

/// A path within flow style, where brackets and quotes have a meaning.
pub fn flow(path: &str) -> String {
    let plain = !path.contains(['[', '"', '\'']);
    if plain { path.to_owned() } else { format!("'{}'", path.replace('\'', "''")) }
}

/// As YAML reads it back.
pub fn scalar(text: &str) -> String {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
    let word = ["true", "false", "null", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    if starts && plain && !word { text.to_owned() } else { quoted(text) }
}

/// In double quotes, for YAML and for conditions.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// What is named in it may hold anything; where a line ended, YAML would begin.
fn comment(text: &mut String, indent: &str, remark: &str) {
    let ends_a_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let mut line = String::with_capacity(remark.len());
    for c in remark.chars() {
        if ends_a_line(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    wrap(text, &format!("{indent}# "), &line);
}

/// Breaks at spaces outside double quotes: a break between them would be read as another space, or as none.
fn wrap(text: &mut String, indent: &str, line: &str) {
    let (mut start, mut space) = (0, None);
    let mut inside = false;
    let mut before = '\0';
    for (at, c) in line.char_indices() {
        inside ^= c == '"' && before != '\\';
        if c == ' ' && !inside {
            if at - start > WIDTH
                && let Some(space) = space
            {
                _ = writeln!(text, "{indent}{}", &line[start..space]);
                start = space + 1;
            }
            space = Some(at);
        }
        // An escaped backslash does not escape the next.
        before = if before == '\\' { '\0' } else { c };
    }
    _ = writeln!(text, "{indent}{}", &line[start..]);
}

/// A condition that is not understood is not imported.
pub fn checked(policy: Policy) -> Result<Policy, Missing> {
    let Some(when) = &policy.when else { return Ok(policy) };
    match condition::read(when) {
        Ok(_) => Ok(policy),
        Err(errors) => {
            let error = &errors[0];
            Err(Missing(format!("{}, in {when}", error.message)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_conditions_break_between_words() {
        let mut text = String::new();
        let line = format!("any(name == \"{} x\") and {}", "a b  c ".repeat(30), "trace.complete and ".repeat(20));
        wrap(&mut text, "  ", line.trim_end());
        assert!(text.lines().count() > 3);
        let joined = text.lines().map(|line| &line[2..]).collect::<Vec<_>>().join(" ");
        assert_eq!(joined, line.trim_end());
    }

    #[test]
    fn what_is_named_in_a_remark_stays_in_it() {
        let mut text = String::new();
        comment(&mut text, "", "`a\nb\r\u{85}\u{2028}c`, é");
        assert_eq!(text, "# `a\\nb\\r\\u{85}\\u{2028}c`, é\n");
    }

    #[test]
    fn names_that_mean_something_are_quoted() {
        for (name, written) in
            [("errors", "errors"), ("a b", "\"a b\""), ("true", "\"true\""), ("1st", "\"1st\""), ("a\"b", "\"a\\\"b\"")]
        {
            assert_eq!(scalar(name), written);
        }
    }
}
