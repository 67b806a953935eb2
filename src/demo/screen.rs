//! A terminal that is redrawn in place, or plain lines where there is none.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// Standard output.
pub(super) struct Screen {
    terminal: bool,
    colour: bool,
    /// Lines of the last drawing.
    drawn: usize,
    last: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Green,
    Red,
    Bold,
    Dim,
}

/// Between two plain lines.
const EVERY: Duration = Duration::from_secs(5);

// === impl Screen ===

impl Screen {
    /// Colour only on a terminal, and only where `NO_COLOR` (no-color.org) is unset or empty.
    pub fn new() -> Self {
        let is = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let terminal = io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self { terminal, colour: terminal && !is("NO_COLOR"), drawn: 0, last: None }
    }

    pub fn paint(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Green => 32,
            Ink::Red => 31,
            Ink::Bold => 1,
            Ink::Dim => 2,
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Lines that stay.
    pub fn say(&mut self, text: &str) {
        let mut out = self.clear();
        out.push_str(text);
        out.push('\n');
        put(&out);
    }

    /// Lines that the next drawing replaces; without a terminal, now and then their short form.
    pub fn draw(&mut self, lines: &[String], short: &str) {
        if self.terminal {
            let mut out = self.clear();
            // A line that wraps would throw the count out.
            out.push_str("\x1b[?7l");
            for line in lines {
                out.push_str(line);
                out.push('\n');
            }
            out.push_str("\x1b[?7h");
            self.drawn = lines.len();
            put(&out);
        } else if self.last.is_none_or(|last| last.elapsed() >= EVERY) {
            self.last = Some(Instant::now());
            put(&format!("{short}\n"));
        }
    }

    fn clear(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `75 s` as `1:15`.
pub(super) fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

fn put(text: &str) {
    // A reader that has gone away is no reason to end the check.
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            ["0", "999", "1,000", "12,345,678"],
            [0, 999, 1_000, 12_345_678].map(thousands).each_ref().map(|s| &s[..])
        );
        assert_eq!(clock(Duration::from_secs(75)), "1:15");
    }

    #[test]
    fn colour_is_only_ink() {
        let mut screen = Screen { terminal: true, colour: false, drawn: 0, last: None };
        assert_eq!(screen.paint(Ink::Red, "✗"), "✗");
        screen.colour = true;
        assert_eq!(screen.paint(Ink::Red, "✗"), "\x1b[31m✗\x1b[0m");
    }
}
