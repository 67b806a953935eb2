//! The parts of a program.

use std::env;

/// Those that are named on the command line, else all.
pub fn run(parts: &[(&str, fn())]) {
    let named: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, part) in parts {
        if named.is_empty() || named.iter().any(|other| other == name) {
            part();
        }
    }
}
