//! How far a long read is, for whoever watches a terminal.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// A line on standard error that is written again and again; nothing where that is no terminal.
pub struct Progress {
    what: String,
    shown: Option<Instant>,
    terminal: bool,
}

const EVERY: Duration = Duration::from_millis(200);
const WIDTH: usize = 30;

// === impl Progress ===

impl Progress {
    pub fn new(what: impl Into<String>) -> Self {
        let terminal = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self { what: what.into(), shown: None, terminal }
    }

    pub fn at(&mut self, done: u64, total: u64) {
        if !self.terminal || self.shown.is_some_and(|shown| shown.elapsed() < EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        let part = done as f64 / total.max(1) as f64;
        let full = ((part * WIDTH as f64) as usize).min(WIDTH);
        let (bar, rest) = ("█".repeat(full), "░".repeat(WIDTH - full));
        eprint!("\r\x1b[K{} {bar}{rest} {:3.0} %", self.what, part * 100.0);
        _ = io::stderr().flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
