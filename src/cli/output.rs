//! Results on standard output.

use std::{
    fmt::Arguments,
    io::{self, ErrorKind, Write},
};

use anyhow::Context as _;

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs: one object on standard output
    Json,
}

/// A line.
///
/// # Errors
/// As of [`write`].
pub fn say(line: Arguments<'_>) -> anyhow::Result<()> {
    write(format_args!("{line}\n"))
}

/// Text that has its own ends of lines.
///
/// # Errors
/// It cannot be written. That nobody reads on is none: `head` has seen enough.
pub fn write(text: Arguments<'_>) -> anyhow::Result<()> {
    match io::stdout().lock().write_fmt(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("standard output cannot be written"),
        _ => Ok(()),
    }
}
