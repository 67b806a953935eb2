//! How single values are written.

use std::ops::RangeInclusive;

use crate::{
    diagnostic::{Diagnostics, Location, nearest},
    units,
    yaml::{Kind, Node},
};

/// Names, not empty: a list, or a text with commas between, which is how a variable or a flag writes a list.
pub fn names(node: &Node, what: &str, d: &mut Diagnostics) -> Option<Vec<(String, Location)>> {
    let before = d.0.len();
    let mut names = Vec::new();
    match &node.kind {
        Kind::Seq(nodes) => {
            for node in nodes {
                names.extend(node.as_str(what, d).map(|name| (name.to_owned(), node.at.clone())));
            }
        }
        _ => {
            let text = node.as_str(what, d)?;
            let mut start = 0;
            for part in text.split(',') {
                let name = part.trim();
                let at = start + (part.len() - part.trim_start().len());
                names.push((name.to_owned(), node.locate(at..at + name.len())));
                start += part.len() + 1;
            }
        }
    }
    match names.iter().find(|(name, _)| name.trim().is_empty()) {
        Some((_, at)) => {
            d.error(at, format!("{what}: an empty name"));
        }
        None if names.is_empty() && d.0.len() == before => {
            d.error(&node.at, format!("{what} must not be empty"));
        }
        None => {}
    }
    (d.0.len() == before).then_some(names)
}

/// One of several words; those without a value are known but not built yet.
pub fn choice<T: Copy>(node: &Node, what: &str, choices: &[(&str, Option<T>)], d: &mut Diagnostics) -> Option<T> {
    let text = node.as_str(what, d)?;
    let available: Vec<&str> = choices.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| *name).collect();
    let available = match available.as_slice() {
        [one] => format!("use {one}"),
        [several @ .., last] => format!("use {} or {last}", several.join(", ")),
        [] => String::new(),
    };
    let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) else {
        let message = match nearest(text, choices.iter().map(|(name, _)| *name)) {
            Some(meant) => format!("{what}: unknown `{text}`, did you mean `{meant}`?"),
            None => format!("{what}: unknown `{text}`"),
        };
        d.error(&node.at, message).hint(available);
        return None;
    };
    if value.is_none() {
        d.error(&node.at, format!("{what}: `{text}` is not available yet")).hint(available);
    }
    *value
}

pub fn flag(node: &Node, what: &str, d: &mut Diagnostics) -> Option<bool> {
    choice(node, what, &[("true", Some(true)), ("false", Some(false))], d)
}

/// A value with a unit inside a range, which `says` in words.
pub fn bounded<T: PartialOrd>(
    node: &Node,
    what: &str,
    parse: fn(&str) -> Result<T, units::Mistake>,
    range: RangeInclusive<T>,
    says: &str,
    d: &mut Diagnostics,
) -> Option<T> {
    let value = units::read(node, what, parse, d)?;
    let within = range.contains(&value);
    if !within {
        d.error(&node.at, format!("{what} must be {says}"));
    }
    within.then_some(value)
}
