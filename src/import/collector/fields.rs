//! Settings as the Collector reads them.

use crate::{
    diagnostic::Diagnostics,
    yaml::{Fields, Node},
};

pub(super) fn text(fields: &mut Fields<'_>, name: &'static str, d: &mut Diagnostics) -> Option<String> {
    plain(fields.require(name, "its name", d)?, name, d)
}

/// A text as the Collector reads it out of its configuration: `$$` stands for `$`, and `${…}` for what is elsewhere.
fn plain(node: &Node, name: &'static str, d: &mut Diagnostics) -> Option<String> {
    let text = node.as_str(name, d)?;
    let parts: Vec<&str> = text.split("$$").collect();
    if parts.iter().any(|part| part.contains("${")) {
        d.error(&node.at, "the Collector puts something else in the place of `${…}`").hint("write what it stands for");
        return None;
    }
    Some(parts.join("$"))
}

pub(super) fn texts(fields: &mut Fields<'_>, name: &'static str, d: &mut Diagnostics) -> Option<Vec<String>> {
    let Some(node) = fields.take(name) else { return Some(Vec::new()) };
    if node.is_null() {
        return Some(Vec::new());
    }
    let nodes = node.as_seq(name, d)?;
    nodes.iter().map(|node| if node.is_null() { Some(String::new()) } else { plain(node, name, d) }).collect()
}

pub(super) fn flag(fields: &mut Fields<'_>, name: &'static str, d: &mut Diagnostics) -> Option<bool> {
    fields.take(name).map_or(Some(false), |node| node.as_bool(name, d))
}

/// Not less than 0, which it also is where it is not given.
pub(super) fn number(fields: &mut Fields<'_>, name: &'static str, d: &mut Diagnostics) -> Option<u64> {
    fields.take(name).map_or(Some(0), |node| node.as_u64(name, d))
}

pub(super) fn integer(fields: &mut Fields<'_>, name: &'static str, d: &mut Diagnostics) -> Option<i64> {
    let Some(node) = fields.take(name) else { return Some(0) };
    let number = node.as_str(name, d)?.parse().ok();
    if number.is_none() {
        d.error(&node.at, format!("`{name}` must be a whole number"));
    }
    number
}
