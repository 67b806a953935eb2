//! Configuration from several places: a file, over it environment variables, over them flags.
//!
//! The `config` crate merges; each value's origin there is the number of its layer. What was merged is then read from
//! the layers' own nodes again, so that every mistake shows where its value was written.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use config::{ConfigError, Map, Value, ValueKind};

use crate::{
    diagnostic::{Diagnostics, Location, Source},
    secret,
    yaml::{Kind, Node},
};

/// What an environment variable of ours begins with, and what stands between the names.
const PREFIX: &str = "TAILWATER__";
const SEPARATOR: &str = "__";
/// Names in one variable. No setting lies deeper, and whoever walks the tree does so on the stack.
const MAX_NAMES: usize = 8;
/// The one table below which everything is merged: the crate takes a key on top for a path, and dots in it for steps.
const ROOT: &str = "root";
/// What is shown of a secret.
const HIDDEN: &str = "********";

/// A flag that sets one value: `--brokers`, `["kafka", "brokers"]`, `localhost:9092`.
#[derive(Clone, Debug)]
pub struct Flag {
    pub name: &'static str,
    pub path: &'static [&'static str],
    pub value: String,
}

/// The layers as one tree: a later layer's text or list replaces an earlier one's, mappings are merged.
pub fn merge(layers: &[Node], diagnostics: &mut Diagnostics) -> Option<Node> {
    let mut builder = config::Config::builder();
    for (number, node) in layers.iter().enumerate() {
        builder = builder.add_source(Layer { number, node: node.clone() });
    }
    let merged = match builder.build() {
        Ok(merged) => merged.cache,
        Err(error) => {
            diagnostics.error_nowhere(error.to_string());
            return None;
        }
    };
    let ValueKind::Table(mut tables) = merged.kind else { return None };
    locate(&tables.remove(ROOT)?, &layers.iter().enumerate().collect::<Vec<_>>())
}

/// One layer for each variable `TAILWATER__INPUT__GROUP`, in the order of their names. Names are in either case; below
/// `kafka.properties` a single `_` is the dot of a property's name, since a shell sets no variable with a dot.
pub fn environment(variables: &BTreeMap<String, String>) -> Vec<Node> {
    variables.iter().filter_map(|(name, value)| variable(name.clone(), value.clone())).collect()
}

/// A flag as a layer.
pub fn flag(flag: Flag) -> Node {
    let source = Arc::new(Source { name: "command line".into(), text: flag.name.into() });
    let at = Location { source, range: 0..flag.name.len() };
    let keys = flag.path.iter().map(|name| Node::plain(at.clone(), *name)).collect();
    let shown = flag.value.clone();
    nest(keys, flag.name.into(), flag.value, shown)
}

/// A tree of values that comes from one place.
#[derive(Clone, Debug)]
struct Layer {
    number: usize,
    node: Node,
}

fn variable(name: String, value: String) -> Option<Node> {
    let path = name.strip_prefix(PREFIX)?;
    // A mistake in the name is shown in the name: the value may be a secret.
    let source = Arc::new(Source { name: "environment variable".into(), text: name.clone() });
    let mut keys = Vec::new();
    let mut start = PREFIX.len();
    for part in path.splitn(MAX_NAMES, SEPARATOR) {
        let at = Location { source: source.clone(), range: start..start + part.len() };
        let mut key = part.to_lowercase();
        if keys.len() >= 2 && ["kafka", "properties"].iter().zip(&keys).all(|(name, key): (_, &Node)| key.is_text(name))
        {
            key = key.replace('_', ".");
        }
        keys.push(Node::plain(at, key));
        start += part.len() + SEPARATOR.len();
    }
    let secret = |key: &Node| matches!(&key.kind, Kind::Scalar { text, .. } if secret::is_secret(text));
    let shown = if keys.iter().any(secret) { HIDDEN.to_owned() } else { value.clone() };
    Some(nest(keys, name, value, shown))
}

/// A mapping in a mapping for each key, around one value, of which mistakes show something else where it is a secret.
fn nest(keys: Vec<Node>, name: String, value: String, shown: String) -> Node {
    let range = 0..shown.len();
    let source = Arc::new(Source { name, text: shown });
    keys.into_iter().rev().fold(Node::plain(Location { source, range }, value), |inner, key| Node {
        at: key.at.clone(),
        kind: Kind::Map(vec![(key, inner)]),
    })
}

/// The merged tree with the nodes of the layers that have something at its place. The crate keeps the origin of texts
/// and lists; a table it builds anew.
fn locate(merged: &Value, layers: &[(usize, &Node)]) -> Option<Node> {
    let ValueKind::Table(table) = &merged.kind else {
        let number: usize = merged.origin()?.parse().ok()?;
        return layers.iter().find(|(layer, _)| *layer == number).map(|(_, node)| (*node).clone());
    };
    let mut at = None;
    let mut keys = Vec::new();
    let mut children: HashMap<&str, Vec<(usize, &Node)>> = HashMap::new();
    for (layer, node) in layers {
        let Kind::Map(entries) = &node.kind else { continue };
        at.get_or_insert(&node.at);
        for (key, child) in entries {
            let Kind::Scalar { text, .. } = &key.kind else { continue };
            let found = children.entry(text).or_default();
            if found.is_empty() {
                keys.push((key, text.as_str()));
            }
            found.push((*layer, child));
        }
    }
    let located = |(key, name): (&Node, &str)| Some((key.clone(), locate(table.get(name)?, &children[name])?));
    let entries = keys.into_iter().filter_map(located).collect();
    Some(Node { at: at?.clone(), kind: Kind::Map(entries) })
}

// === impl Layer ===

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(Map::from([(ROOT.to_owned(), self.value(&self.node))]))
    }
}

impl Layer {
    fn value(&self, node: &Node) -> Value {
        let kind = match &node.kind {
            Kind::Scalar { .. } if node.is_null() => ValueKind::Nil,
            Kind::Scalar { text, .. } => ValueKind::String(text.clone()),
            Kind::Seq(nodes) => ValueKind::Array(nodes.iter().map(|node| self.value(node)).collect()),
            Kind::Map(entries) => ValueKind::Table(
                entries
                    .iter()
                    .filter_map(|(key, value)| match &key.kind {
                        Kind::Scalar { text, .. } => Some((text.clone(), self.value(value))),
                        _ => None,
                    })
                    .collect(),
            ),
        };
        Value::new(Some(&self.number.to_string()), kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn merged(file: &str, variables: &[(&str, &str)], flags: &[Flag]) -> Node {
        let mut diagnostics = Diagnostics::default();
        let source = Arc::new(Source { name: "tailwater.yaml".into(), text: file.into() });
        let mut layers = vec![yaml::parse(source, &mut diagnostics).expect("YAML")];
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        layers.extend(environment(&variables));
        layers.extend(flags.iter().cloned().map(flag));
        merge(&layers, &mut diagnostics).expect("a tree")
    }

    /// Every leaf with where it stands.
    fn leaves(node: &Node, path: &str) -> Vec<String> {
        match &node.kind {
            Kind::Map(entries) if !entries.is_empty() => {
                entries.iter().flat_map(|(key, value)| leaves(value, &format!("{path}/{}", key.at.text()))).collect()
            }
            Kind::Seq(nodes) => nodes.iter().flat_map(|node| leaves(node, &format!("{path}/-"))).collect(),
            _ => {
                let (line, column) = node.at.line_column();
                vec![format!("{path} {} {}:{line}:{column}", node.at.text(), node.at.source.name)]
            }
        }
    }

    #[test]
    fn places_survive_merging() {
        let file = "b: { x.y: 1, z: [2, { q: 3 }] }\na:\n  k: ü\ntop.dot: 4\nempty: {}\nnull:\n";
        let node = merged(
            file,
            &[("TAILWATER__B__Z", "5"), ("TAILWATER__NEW__DEEP", "6"), ("OTHER__A", "x"), ("TAILWATER_LOG", "x")],
            &[Flag { name: "--k", path: &["a", "k"], value: "7".into() }],
        );
        insta::assert_snapshot!(leaves(&node, "").join("\n"), @"
        /b/x.y 1 tailwater.yaml:1:11
        /b/z 5 TAILWATER__B__Z:1:1
        /a/k 7 --k:1:1
        /top.dot 4 tailwater.yaml:4:10
        /empty {} tailwater.yaml:5:8
        /null  tailwater.yaml:6:5
        /NEW/DEEP 6 TAILWATER__NEW__DEEP:1:1
        ");
        assert_eq!(node.at.source.name, "tailwater.yaml");
    }

    #[test]
    fn a_text_replaces_a_mapping_and_back() {
        let node = merged(
            "a: { b: 1 }\nc: 2\nd: { e: 1 }\n",
            &[("TAILWATER__A", "x"), ("TAILWATER__C__D", "y"), ("TAILWATER__D", "1"), ("TAILWATER__D__F", "2")],
            &[],
        );
        insta::assert_snapshot!(leaves(&node, "").join("\n"), @"
        /a x TAILWATER__A:1:1
        /c/D y TAILWATER__C__D:1:1
        /d/F 2 TAILWATER__D__F:1:1
        ");
    }

    #[test]
    fn variables_name_properties_and_stay_bounded() {
        let long = format!("TAILWATER__{}", "A__".repeat(30_000));
        let node = merged(
            "",
            &[("TAILWATER__KAFKA__PROPERTIES__SASL_PASSWORD", "secret"), ("TAILWATER__", "1"), (&long, "1")],
            &[],
        );
        let Kind::Map(entries) = &node.kind else { panic!() };
        assert_eq!(entries.len(), 3);
        let kafka = &entries.iter().find(|(key, _)| key.is_text("kafka")).expect("there").1;
        let Kind::Map(kafka) = &kafka.kind else { panic!() };
        let Kind::Map(properties) = &kafka[0].1.kind else { panic!() };
        assert!(properties[0].0.is_text("sasl.password") && properties[0].1.is_text("secret"));
        assert_eq!(properties[0].0.at.text(), "SASL_PASSWORD");
    }
}
