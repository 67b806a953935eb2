//! The configuration a command is given.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
};

use crate::{
    config::{Config, Flag},
    diagnostic::Diagnostics,
};

#[derive(clap::Args)]
pub struct Configured {
    /// The configuration, a YAML file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,

    /// Overrides kafka.brokers
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,

    /// Overrides input.group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

// === impl Configured ===

impl Configured {
    /// # Errors
    /// All mistakes; no broker is contacted.
    pub fn read(&self, more: Option<Flag>) -> Result<Config, Diagnostics> {
        let flags = [
            ("--brokers", &["kafka", "brokers"], self.brokers.clone()),
            ("--group", &["input", "group"], self.group.clone()),
        ];
        let flags = flags.into_iter().filter_map(|(name, path, value)| Some(Flag { name, path, value: value? }));
        Config::load(&self.config, variables(), flags.chain(more))
    }
}

/// The environment.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        // What is not UTF-8 is none of ours.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    })
}

/// Shows mistakes to whoever reads standard error.
pub fn show(diagnostics: &Diagnostics) {
    eprintln!("{}", if is_coloured() { diagnostics.coloured() } else { diagnostics.to_string() });
}

/// Whether standard error is read by a person who has not said no to colours (no-color.org: set and not empty).
fn is_coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
