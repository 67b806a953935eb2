//! What is wrong with a file a person wrote, where, and what to do about it.
//!
//! Every reader of configuration or policies collects [`Diagnostics`] and goes on, so that one run names every mistake.

use std::{fmt, ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::json;

use crate::secret;

/// Mistakes shown in full. Past a hundred nobody reads on, and a wrong file of a megabyte would print gigabytes.
const SHOWN: usize = 100;

/// A text a person wrote: a file, or one environment variable or flag.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// As the person would name it: a path as given, `TAILWATER__INPUT__GROUP`, `--brokers`.
    pub name: String,
    pub text: String,
}

/// A byte range in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub source: Arc<Source>,
    pub range: Range<usize>,
}

/// One mistake: a sentence without a full stop, where, and a hint of what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub message: String,
    pub at: Option<Location>,
    /// A second place that belongs to the mistake, with its label: where a name was first used.
    pub also: Option<(Location, String)>,
    pub hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    /// It can be read, and is hardly meant so.
    Warning,
}

/// The mistakes found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

/// The candidate a person most likely meant, if one is near enough.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters wrong is still a slip; more is another word.
    let allowed = text.chars().count().div_ceil(3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(text, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

// === impl Diagnostics ===

impl Diagnostics {
    pub fn error(&mut self, at: &Location, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, Some(at.clone()), message.into())
    }

    pub fn warn(&mut self, at: &Location, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, Some(at.clone()), message.into())
    }

    /// A mistake that stands nowhere: a file that cannot be read.
    pub fn error_nowhere(&mut self, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, None, message.into())
    }

    pub fn warn_nowhere(&mut self, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, None, message.into())
    }

    fn push(&mut self, severity: Severity, at: Option<Location>, message: String) -> &mut Diagnostic {
        self.0.push(Diagnostic { severity, message, at, also: None, hint: None });
        self.0.last_mut().expect("just pushed")
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As [`fmt::Display`] prints them, in the colours of a terminal.
    pub fn coloured(&self) -> String {
        self.render(&Renderer::styled())
    }

    /// For programs: objects with file, line, column, end (line and column too), severity, message and hint. What stands
    /// nowhere has no file, line, column and end; they are null then, as the hint is that there is none of.
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.0.iter().map(Diagnostic::json).collect()
    }

    fn render(&self, renderer: &Renderer) -> String {
        let mut text = String::new();
        for diagnostic in self.0.iter().take(SHOWN) {
            text += &renderer.render(&[diagnostic.group()]);
            text += "\n\n";
        }
        if self.0.len() > SHOWN {
            text += &format!("… and {} more\n\n", self.0.len() - SHOWN);
        }
        text + &self.sum()
    }

    /// "1 error, 2 warnings".
    fn sum(&self) -> String {
        let sum = |severity: Severity| {
            let number = self.0.iter().filter(|diagnostic| diagnostic.severity == severity).count();
            (number > 0).then(|| format!("{number} {}{}", severity.word(), if number == 1 { "" } else { "s" }))
        };
        [Severity::Error, Severity::Warning].into_iter().filter_map(sum).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl std::error::Error for Diagnostics {}

// === impl Severity ===

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

// === impl Diagnostic ===

impl Diagnostic {
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn also(&mut self, at: &Location, label: impl Into<String>) -> &mut Self {
        self.also = Some((at.clone(), label.into()));
        self
    }

    fn json(&self) -> serde_json::Value {
        let start = self.at.as_ref().map(Location::line_column);
        let end = self.at.as_ref().map(Location::end);
        json!({
            "file": self.at.as_ref().map(|at| &at.source.name),
            "line": start.map(|(line, _)| line),
            "column": start.map(|(_, column)| column),
            "end": end.map(|(line, column)| json!({ "line": line, "column": column })),
            "severity": self.severity.word(),
            "message": self.message,
            "hint": self.hint,
        })
    }

    fn group(&self) -> Group<'_> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()));
        if let Some(at) = &self.at {
            group = group.element(at.snippet(AnnotationKind::Primary, None));
        }
        if let Some((also, label)) = &self.also {
            group = group.element(also.snippet(AnnotationKind::Context, Some(label)));
        }
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
        }
        group
    }
}

// === impl Location ===

impl Location {
    /// The line and the column of the start, both from 1, the column in characters.
    pub fn line_column(&self) -> (usize, usize) {
        self.line_column_of(self.clamped().start)
    }

    /// The same of what comes right behind it.
    pub fn end(&self) -> (usize, usize) {
        self.line_column_of(self.clamped().end)
    }

    fn line_column_of(&self, at: usize) -> (usize, usize) {
        let before = &self.source.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The text at the location.
    pub fn text(&self) -> &str {
        &self.source.text[self.clamped()]
    }

    /// The same source, another range.
    pub fn with_range(&self, range: Range<usize>) -> Self {
        Self { source: self.source.clone(), range }
    }

    /// Ranges are made by arithmetic on texts; a wrong one must still print.
    fn clamped(&self) -> Range<usize> {
        let text = &self.source.text;
        let start = text.floor_char_boundary(self.range.start);
        start..text.ceil_char_boundary(self.range.end).max(start)
    }

    /// One line only: a mistake in a mapping of fifty lines is shown by how the mapping begins. No secret is shown.
    fn snippet<'a>(
        &'a self,
        kind: AnnotationKind,
        label: Option<&'a String>,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let (range, text) = (self.clamped(), &self.source.text);
        let start = text[..range.start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[range.start..].find('\n').map_or(text.len(), |newline| range.start + newline);
        let end = start + text[start..end].trim_end_matches('\r').len();
        let line = secret::shown(text, start..end);
        let within = |at: usize| (at - start).min(line.len());
        let annotation = kind.span(within(range.start)..within(range.end)).label(label);
        Snippet::source(line).line_start(self.line_column().0).path(self.source.name.as_str()).annotation(annotation)
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source { name: "tailwater.yaml".into(), text: text.into() })
    }

    fn at(source: &Arc<Source>, range: Range<usize>) -> Location {
        Location { source: source.clone(), range }
    }

    #[test]
    fn shows_message_line_caret_second_place_and_hint() {
        let file = source("größe: 1\nkafka:\n  brokers: a\n  brokers: b\n");
        let mut diagnostics = Diagnostics::default();
        diagnostics
            .error(&at(&file, 33..40), "`brokers` is there twice")
            .also(&at(&file, 20..27), "first here")
            .hint("keep one");
        diagnostics.error(&at(&file, 0..7), "unknown field `größe`");
        diagnostics.error_nowhere("cannot read nothing.yaml: no such file");
        assert_snapshot!(diagnostics, @"
        error: `brokers` is there twice
         --> tailwater.yaml:4:3
          |
        4 |   brokers: b
          |   ^^^^^^^
          |
         ::: tailwater.yaml:3:3
          |
        3 |   brokers: a
          |   ------- first here
          |
          = hint: keep one

        error: unknown field `größe`
         --> tailwater.yaml:1:1
          |
        1 | größe: 1
          | ^^^^^

        error: cannot read nothing.yaml: no such file

        3 errors
        ");
    }

    #[test]
    fn shows_odd_places() {
        let empty = source("");
        let file = source("a:\r\n  b: ü\x1b[31m\r\n");
        let mut diagnostics = Diagnostics::default();
        diagnostics.error(&at(&empty, 0..0), "nothing at all");
        diagnostics.error(&at(&file, 2..2), "no value");
        diagnostics.error(&at(&file, 0..file.text.len()), "many lines");
        diagnostics.error(&at(&file, 10..700), "over the end, from inside a letter\x1b[31m");
        diagnostics.error(&at(&file, 800..800), "nowhere").hint("write\nkafka:\n  brokers: localhost:9092");
        assert_snapshot!(diagnostics, @"
        error: nothing at all
         --> tailwater.yaml:1:1
          |
        1 |
          | ^

        error: no value
         --> tailwater.yaml:1:3
          |
        1 | a:
          |   ^

        error: many lines
         --> tailwater.yaml:1:1
          |
        1 | a:
          | ^^

        error: over the end, from inside a letter␛[31m
         --> tailwater.yaml:2:6
          |
        2 |   b: ü␛[31m
          |      ^^^^^^

        error: nowhere
         --> tailwater.yaml:3:1
          |
        3 |
          | ^
          |
          = hint: write
                  kafka:
                    brokers: localhost:9092

        5 errors
        ");
        assert!(diagnostics.coloured().contains("\x1b["));
    }

    #[test]
    fn is_shown_to_programs() {
        let file = source("größe: 1\nkafka:\n  brokers: a\n");
        let mut diagnostics = Diagnostics::default();
        diagnostics.error(&at(&file, 11..16), "unknown `kafka`").hint("write `cafka`");
        diagnostics.error(&at(&file, 0..7), "wrong");
        diagnostics.error_nowhere("cannot read nothing.yaml");
        let end = json!({ "line": 1, "column": 6 });
        assert_eq!(
            serde_json::Value::from(diagnostics.json()),
            json!([
                { "file": "tailwater.yaml", "line": 2, "column": 1, "end": { "line": 2, "column": 6 }, "severity": "error",
                  "message": "unknown `kafka`", "hint": "write `cafka`" },
                { "file": "tailwater.yaml", "line": 1, "column": 1, "end": end, "severity": "error",
                  "message": "wrong", "hint": null },
                { "file": null, "line": null, "column": null, "end": null, "severity": "error",
                  "message": "cannot read nothing.yaml", "hint": null },
            ])
        );
    }

    #[test]
    fn bounds_what_it_shows() {
        let mut diagnostics = Diagnostics::default();
        for n in 0..1000 {
            diagnostics.error_nowhere(format!("number {n}"));
        }
        let text = diagnostics.to_string();
        assert!(text.contains("number 99\n") && !text.contains("number 100\n"));
        assert!(text.ends_with("… and 900 more\n\n1000 errors"), "{text}");
    }

    #[test]
    fn counts_columns_in_characters() {
        let file = source("ä: 1\nöü: 2");
        assert_eq!(at(&file, 0..1).line_column(), (1, 1));
        assert_eq!(at(&file, 10..11).line_column(), (2, 3));
        assert_eq!(at(&file, 999..1000).line_column(), (2, 6));
    }

    #[test]
    fn finds_what_was_meant() {
        let known = ["status", "start", "keyed"];
        assert_eq!(nearest("statuss", known), Some("status"));
        assert_eq!(nearest("satrt", known), Some("start"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }
}
