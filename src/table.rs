//! Tables for people to read.

use std::fmt;

/// Letters of a name: a longer one would move the numbers out of sight.
const NAME: usize = 48;

/// The first column stands on the left, the others on the right.
pub fn table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..).map_while(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Names come from outside: none breaks a line, or the table.
pub fn short(name: &str) -> String {
    let mut letters = name.chars().map(|c| if c.is_control() { '·' } else { c });
    let start: String = letters.by_ref().take(NAME).collect();
    match (start.is_empty(), letters.next()) {
        (true, _) => "(none)".to_owned(),
        (_, Some(_)) => format!("{start}…"),
        (_, None) => start,
    }
}

pub fn several<N: fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    format!("{count} {noun}{}", if count == N::from(1) { "" } else { "s" })
}
