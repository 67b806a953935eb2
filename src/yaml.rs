//! YAML as a tree in which every node knows where it stands.
//!
//! Texts are not typed: `no` is the text `no`, and the reader of a field says what it wants.

mod cut;

use std::{collections::HashMap, fs::File, io::Read, iter::Peekable, ops::Range, path::Path, sync::Arc};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::diagnostic::{Diagnostic, Diagnostics, Location, Source, nearest};

/// Bytes of one source: a policy file of a megabyte is a mistake, and every limit below multiplies with it.
pub const MAX_SOURCE: usize = 1 << 20;
/// Nodes of one document with its aliases expanded: ten aliases of ten aliases, nine levels deep, is a billion.
const MAX_NODES: usize = 100_000;
/// Bytes of text with the aliases expanded: one long text and many aliases of it stay below the limit of nodes.
const MAX_TEXT: usize = 4 * MAX_SOURCE;
/// Mappings and sequences inside each other: whoever walks the tree does so on the stack.
const MAX_DEPTH: usize = 64;

/// A node and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    pub at: Location,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// The text as YAML sees it. `quoted` tells `"1"` and block scalars from `1`; an empty plain scalar is null.
    Scalar {
        text: String,
        quoted: bool,
    },
    Seq(Vec<Node>),
    /// In the order written, keys unique.
    Map(Vec<(Node, Node)>),
}

/// The fields of a mapping, taken by name; what is left at `finish` is an unknown field.
pub struct Fields<'a> {
    pub at: &'a Location,
    entries: Vec<(&'a Node, &'a Node)>,
    known: Vec<&'static str>,
}

/// Reads one document of at most [`MAX_SOURCE`] bytes. Mistakes go to `diagnostics`, and then there is no node.
/// An empty document is an empty mapping; an alias is a copy that stands where its anchor stands.
pub fn parse(source: Arc<Source>, diagnostics: &mut Diagnostics) -> Option<Node> {
    let before = diagnostics.0.len();
    let at = |range| Location { source: source.clone(), range };
    if source.text.len() > MAX_SOURCE {
        diagnostics.error(&at(0..0), "more than 1 MiB of YAML");
        return None;
    }
    // The scanner takes NUL for the end of the text and would drop the rest without a word.
    if let Some(nul) = source.text.find('\0') {
        diagnostics.error(&at(nul..nul + 1), "a NUL byte is not YAML");
        return None;
    }
    let mut tree = Tree::new(&source, diagnostics);
    tree.read()?;
    let root = tree.root;
    (diagnostics.0.len() == before).then_some(())?;
    match root {
        Some(node) if !node.is_null() => Some(node),
        _ => Some(Node { at: at(0..0), kind: Kind::Map(Vec::new()) }),
    }
}

/// Reads a file, to be parsed: a little more than [`MAX_SOURCE`] bytes at most, which is enough to say that it is too long.
///
/// # Errors
/// A sentence that names the file: it cannot be read, is not UTF-8, or is too long and cut inside a letter.
pub fn open(path: &Path) -> Result<Arc<Source>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SOURCE as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Arc::new(Source { name: path.display().to_string(), text })),
        // A letter cut in two by the limit is no mistake of its own.
        Err(error) if error.as_bytes().len() > MAX_SOURCE => Err(format!("{} is longer than 1 MiB", path.display())),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            Err(format!("{} is not UTF-8, from byte {at} on", path.display()))
        }
    }
}

/// A tree under construction, event by event.
struct Tree<'a> {
    source: &'a Arc<Source>,
    /// Byte offsets by character index, where they differ: the scanner counts characters.
    offsets: Option<Vec<usize>>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    text: usize,
    /// Where the last token ended: a block collection ends there, not where the next token starts.
    end: usize,
    diagnostics: &'a mut Diagnostics,
}

/// A collection whose end has not come.
struct Open {
    start: usize,
    anchor: usize,
    nodes: Collection,
}

enum Collection {
    Seq(Vec<Node>),
    Map { entries: Vec<(Node, Node)>, key: Option<Node>, places: HashMap<String, Location> },
}

/// One character of a scalar's text as it is written in the source.
struct Written {
    range: Range<usize>,
    character: char,
}

// === impl Node ===

impl Node {
    /// A plain text that stands at a location; null if it is empty.
    pub fn plain(at: Location, text: impl Into<String>) -> Self {
        Self { at, kind: Kind::Scalar { text: text.into(), quoted: false } }
    }

    /// Where a byte range of a scalar's text stands in the source: folding, indentation and quotes are undone.
    /// The whole node where that cannot be told.
    pub fn locate(&self, range: Range<usize>) -> Location {
        let Kind::Scalar { text, .. } = &self.kind else { return self.at.clone() };
        let raw = self.at.text();
        // A block scalar may begin with a quote of its own, so what is written is tried before what quotes mean.
        let found = align(text, written_plain(raw), &range)
            .or_else(|| align(text, written_single(raw), &range))
            .or_else(|| align(text, written_double(raw), &range));
        match found {
            Some(found) => self.at.with_range(self.at.range.start + found.start..self.at.range.start + found.end),
            None => self.at.clone(),
        }
    }

    /// Whether YAML took something of the condition that the node is for its own, where it ends or begins: that is the mistake
    /// then, and what is left means nothing.
    pub fn cut(&self, diagnostics: &mut Diagnostics) -> bool {
        if !matches!(self.kind, Kind::Scalar { quoted: false, .. }) {
            return false;
        }
        let Location { source, range } = &self.at;
        let flow = source.text[range.end..].trim_start_matches(' ').starts_with([',', '[', ']', '{', '}']);
        let cut = cut::find(&source.text, range.end, flow);
        cut.is_some_and(|cut| {
            diagnostics.error(&self.at.with_range(cut.at), cut.message).hint(cut.hint);
            true
        })
    }

    /// Nodes, bytes of text and depth of mappings and lists.
    fn size(&self) -> (usize, usize, usize) {
        let children: Vec<&Node> = match &self.kind {
            Kind::Scalar { text, .. } => return (1, text.len(), 0),
            Kind::Seq(nodes) => nodes.iter().collect(),
            Kind::Map(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
        };
        children
            .into_iter()
            .map(Self::size)
            .fold((1, 0, 1), |(nodes, text, depth), child| (nodes + child.0, text + child.1, depth.max(child.2 + 1)))
    }

    /// The value of a field of a mapping; None where there is none, or no mapping.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(key, _)| key.is_text(name)).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, quoted: false } if text.is_empty())
    }

    /// The text. None, and an error, for null, a list or a mapping. `what` completes "… must be text": "`group`".
    pub fn as_str(&self, what: &str, diagnostics: &mut Diagnostics) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } if !self.is_null() => Some(text),
            Kind::Scalar { .. } => {
                diagnostics.error(&self.at, format!("{what} has no value"));
                None
            }
            _ => {
                diagnostics.error(&self.at, format!("{what} must be text, not {}", self.noun()));
                None
            }
        }
    }

    /// `true` or `false`, unquoted. None, and an error, for all else.
    pub fn as_bool(&self, what: &str, diagnostics: &mut Diagnostics) -> Option<bool> {
        match &self.kind {
            Kind::Scalar { text, quoted: false } if text == "true" => Some(true),
            Kind::Scalar { text, quoted: false } if text == "false" => Some(false),
            _ => {
                diagnostics.error(&self.at, format!("{what} must be true or false"));
                None
            }
        }
    }

    /// A whole number. None, and an error, for all else.
    pub fn as_u64(&self, what: &str, diagnostics: &mut Diagnostics) -> Option<u64> {
        let number = match &self.kind {
            Kind::Scalar { text, .. } if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            diagnostics.error(&self.at, format!("{what} must be a whole number"));
        }
        number
    }

    /// The nodes of a list. None, and an error, for all else.
    pub fn as_seq(&self, what: &str, diagnostics: &mut Diagnostics) -> Option<&[Node]> {
        match &self.kind {
            Kind::Seq(nodes) => Some(nodes),
            _ => {
                diagnostics
                    .error(&self.at, format!("{what} must be a list, not {}", self.noun()))
                    .hint("a list stands in brackets, or has a `-` before each entry");
                None
            }
        }
    }

    /// The text of a scalar, empty of all else.
    pub fn text(&self) -> &str {
        match &self.kind {
            Kind::Scalar { text, .. } => text,
            _ => "",
        }
    }

    /// Whether the node is this text, quoted or not.
    pub fn is_text(&self, wanted: &str) -> bool {
        matches!(&self.kind, Kind::Scalar { text, .. } if text == wanted)
    }

    /// What the node is, for a sentence.
    pub fn noun(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar { .. } if self.is_null() => "nothing",
            Kind::Scalar { .. } => "text",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// None, and an error, where the node is no mapping; null is an empty one. `what` completes "… must be a mapping":
    /// "a policy".
    pub fn of(node: &'a Node, what: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let entries = match &node.kind {
            Kind::Map(entries) => entries.iter().map(|(key, value)| (key, value)).collect(),
            _ if node.is_null() => Vec::new(),
            _ => {
                diagnostics.error(&node.at, format!("{what} must be a mapping, not {}", node.noun()));
                return None;
            }
        };
        Some(Self { at: &node.at, entries, known: Vec::new() })
    }

    /// The value of a field, if it is there.
    pub fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        let at = self.entries.iter().position(|(key, _)| key.is_text(name))?;
        Some(self.entries.remove(at).1)
    }

    /// The value of a field that must be there. `example` is the hint: the YAML to write.
    pub fn require(&mut self, name: &'static str, example: &str, diagnostics: &mut Diagnostics) -> Option<&'a Node> {
        let node = self.take(name);
        if node.is_none() {
            diagnostics.error(self.at, format!("missing field `{name}`")).hint(example);
        }
        node
    }

    /// Names what was not taken: "unknown field `statuss`, did you mean `status`?".
    pub fn finish(self, diagnostics: &mut Diagnostics) {
        for (key, _) in self.entries {
            let name = match &key.kind {
                Kind::Scalar { text, .. } => text.as_str(),
                _ => "",
            };
            match nearest(name, self.known.iter().copied()) {
                Some(meant) => {
                    diagnostics.error(&key.at, format!("unknown field `{name}`, did you mean `{meant}`?"));
                }
                None if name.contains('.') && self.known.contains(&"attributes") => {
                    diagnostics
                        .error(&key.at, format!("unknown field `{name}`"))
                        .hint(format!("an attribute stands in `attributes`: `attributes: {{ {name}: … }}`"));
                }
                None => {
                    let known = self.known.join(", ");
                    diagnostics
                        .error(&key.at, format!("unknown field `{name}`"))
                        .hint(format!("known fields: {known}"));
                }
            }
        }
    }
}

// === impl Tree ===

impl<'a> Tree<'a> {
    fn new(source: &'a Arc<Source>, diagnostics: &'a mut Diagnostics) -> Self {
        let text = &source.text;
        let offsets = (!text.is_ascii()).then(|| text.char_indices().map(|(offset, _)| offset).collect());
        Self {
            source,
            offsets,
            open: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            documents: 0,
            nodes: 0,
            text: 0,
            end: 0,
            diagnostics,
        }
    }

    /// None where reading cannot go on.
    fn read(&mut self) -> Option<()> {
        for event in Parser::new_from_str(&self.source.text) {
            match event {
                Ok((event, span)) => self.event(event, span)?,
                Err(error) => {
                    let at = self.offset(error.marker().index());
                    if self.cut(at) {
                        return None;
                    }
                    let hint = match error.info() {
                        info if info.contains("tab") => "YAML is indented with spaces",
                        info if info.contains("block") => "what belongs together begins in one column",
                        info if info.contains("mapping values") && self.is_first_key(at) => {
                            "what belongs together begins in one column: the key, and those above and below it"
                        }
                        _ => {
                            "text with `: `, ` #` or a leading quote, bracket, `*`, `&` or `!` must be quoted, or stand on its own line below `>-`"
                        }
                    };
                    self.error(at..at, format!("not YAML: {}", error.info())).hint(hint);
                    return None;
                }
            }
        }
        Some(())
    }

    /// Whether only a key stands before the place in its line.
    fn is_first_key(&self, at: usize) -> bool {
        let line = self.source.text[..at].rsplit('\n').next().unwrap_or_default();
        line.trim_start_matches([' ', '-']).chars().all(|c| c.is_alphanumeric() || c == '_')
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let range = self.range(span);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.error(range, "a second document").hint("one file holds one document: remove the `---`");
                    return None;
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &range);
                self.count(1, text.len(), 0, &range)?;
                let end = range.end;
                let at = self.at(if anchor == 0 { range } else { self.after_anchor(range, style) });
                let kind = Kind::Scalar { text: text.into_owned(), quoted: style != ScalarStyle::Plain };
                self.add(Node { at, kind }, anchor, end);
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    self.error(range, "an alias inside what it stands for");
                    return None;
                };
                let (nodes, text, depth) = node.size();
                self.count(nodes, text, depth, &range)?;
                self.add(self.anchors[&anchor].clone(), 0, range.end);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), &range);
                self.count(1, 0, 1, &range)?;
                self.open.push(Open { start: range.start, anchor, nodes: Collection::Seq(Vec::new()) });
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), &range);
                self.count(1, 0, 1, &range)?;
                let nodes = Collection::Map { entries: Vec::new(), key: None, places: HashMap::new() };
                self.open.push(Open { start: range.start, anchor, nodes });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { start, anchor, nodes } = self.open.pop()?;
                let kind = match nodes {
                    Collection::Seq(nodes) => Kind::Seq(nodes),
                    Collection::Map { entries, .. } => Kind::Map(entries),
                };
                // A block collection ends where its last node ended; the event stands where the next token starts.
                let end = if range.is_empty() { self.end.max(start) } else { range.end };
                self.add(Node { at: self.at(start..end), kind }, anchor, end);
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Some(())
    }

    /// Puts a finished node where it belongs. `end`: where it ends here, which for an alias is not where it stands.
    fn add(&mut self, node: Node, anchor: usize, end: usize) {
        self.end = end;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.nodes) {
            None => self.root = Some(node),
            Some(Collection::Seq(nodes)) => nodes.push(node),
            Some(Collection::Map { entries, key, places }) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    match &node.kind {
                        Kind::Scalar { text, quoted: false } if text == "<<" => {
                            self.diagnostics
                                .error(&node.at, "merge keys are not supported")
                                .hint("an alias can stand for a whole value: `key: *name`");
                        }
                        Kind::Scalar { text, .. } => match places.get(text) {
                            Some(first) => {
                                self.diagnostics
                                    .error(&node.at, format!("`{text}` is there twice"))
                                    .also(first, "first here");
                            }
                            None => {
                                places.insert(text.clone(), node.at.clone());
                            }
                        },
                        _ => {
                            self.diagnostics.error(&node.at, format!("a key must be text, not {}", node.noun()));
                        }
                    }
                    *key = Some(node);
                }
            },
        }
    }

    /// None, and an error, where the document grows over a limit.
    fn count(&mut self, nodes: usize, text: usize, depth: usize, range: &Range<usize>) -> Option<()> {
        self.nodes += nodes;
        self.text += text;
        let message = if self.nodes > MAX_NODES {
            format!("more than {MAX_NODES} nodes, with every alias written out")
        } else if self.text > MAX_TEXT {
            format!("more than {MAX_TEXT} bytes of text, with every alias written out")
        } else if self.open.len() + depth > MAX_DEPTH {
            format!("more than {MAX_DEPTH} mappings and lists inside each other")
        } else {
            return Some(());
        };
        self.error(range.clone(), message);
        None
    }

    /// Whether YAML took something of a condition for its own, which is then the mistake.
    fn cut(&mut self, at: usize) -> bool {
        let flow = self.open.iter().any(|open| self.source.text[open.start..].starts_with(['{', '[']));
        let cut = cut::find(&self.source.text, at, flow);
        cut.is_some_and(|cut| {
            self.error(cut.at, cut.message).hint(cut.hint);
            true
        })
    }

    fn refuse_tag(&mut self, tagged: bool, range: &Range<usize>) {
        if tagged && !self.cut(range.start) {
            self.error(range.clone(), "tags (`!…`) are not supported").hint("quote the text if it begins with `!`");
        }
    }

    /// The range of a scalar without its anchor, and without the head of a block scalar that follows the anchor.
    fn after_anchor(&self, range: Range<usize>, style: ScalarStyle) -> Range<usize> {
        let raw = &self.source.text[range.clone()];
        let mut rest = raw.split_once(char::is_whitespace).map_or("", |(_, rest)| rest).trim_start();
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) && rest.starts_with(['|', '>']) {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
        }
        range.end - rest.len()..range.end
    }

    fn error(&mut self, range: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        let at = self.at(range);
        self.diagnostics.error(&at, message)
    }

    fn at(&self, range: Range<usize>) -> Location {
        Location { source: self.source.clone(), range }
    }

    /// In bytes, without the space behind.
    fn range(&self, span: Span) -> Range<usize> {
        let start = self.offset(span.start.index());
        let end = self.offset(span.end.index()).max(start);
        start..start + self.source.text[start..end].trim_end().len()
    }

    fn offset(&self, character: usize) -> usize {
        let offset = match &self.offsets {
            Some(offsets) => offsets.get(character).copied(),
            None => Some(character),
        };
        offset.unwrap_or(usize::MAX).min(self.source.text.len())
    }
}

// === where a text was written ===

/// Where a range of a text stands in what was written; None if that does not read as the text.
/// Runs of space agree whatever their length: folding and indentation change nothing else.
fn align(text: &str, written: impl Iterator<Item = Written>, range: &Range<usize>) -> Option<Range<usize>> {
    let mut written = written.peekable();
    let (mut start, mut end, mut last) = (None, None, 0);
    for (offset, character) in text.char_indices() {
        if !character.is_whitespace() {
            skip_space(&mut written);
        }
        if offset >= range.start && start.is_none() {
            start = Some(written.peek().map_or(last, |next| next.range.start));
        }
        if offset >= range.end && end.is_none() {
            end = Some(last);
        }
        let found = written.next_if(|next| match character.is_whitespace() {
            true => next.character.is_whitespace(),
            false => next.character == character,
        });
        match found {
            Some(found) => last = found.range.end,
            None if character.is_whitespace() => {}
            None => return None,
        }
    }
    skip_space(&mut written);
    if written.next().is_some() {
        return None;
    }
    let start = start.unwrap_or(last);
    Some(start..end.unwrap_or(last).max(start))
}

fn skip_space(written: &mut Peekable<impl Iterator<Item = Written>>) {
    while written.next_if(|next| next.character.is_whitespace()).is_some() {}
}

fn written_plain(raw: &str) -> impl Iterator<Item = Written> {
    raw.char_indices().map(|(start, character)| Written { range: start..start + character.len_utf8(), character })
}

/// Between single quotes, two of which are one.
fn written_single(raw: &str) -> impl Iterator<Item = Written> {
    let inner = raw.strip_prefix('\'').and_then(|raw| raw.strip_suffix('\'')).unwrap_or("");
    let mut rest = inner.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, character) = rest.next()?;
        let doubled = character == '\'' && rest.next_if(|(_, next)| *next == '\'').is_some();
        let length = if doubled { 2 } else { character.len_utf8() };
        Some(Written { range: start + 1..start + 1 + length, character })
    })
}

/// Between double quotes, with escapes; an escaped line break is space.
fn written_double(raw: &str) -> impl Iterator<Item = Written> {
    let inner = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or("");
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &inner[at..];
        let mut characters = rest.chars();
        let mut character = characters.next()?;
        let mut length = character.len_utf8();
        if character == '\\' {
            let escape = characters.next()?;
            let digits = match escape {
                'x' => 2,
                'u' => 4,
                'U' => 8,
                _ => 0,
            };
            length += escape.len_utf8() + digits;
            character = match escape {
                'x' | 'u' | 'U' => char::from_u32(u32::from_str_radix(rest.get(2..length)?, 16).ok()?)?,
                '0' => '\0',
                'a' => '\x07',
                'b' => '\x08',
                't' => '\t',
                'n' => '\n',
                'v' => '\x0b',
                'f' => '\x0c',
                'r' => '\r',
                'e' => '\x1b',
                'N' => '\u{85}',
                '_' => '\u{a0}',
                'L' => '\u{2028}',
                'P' => '\u{2029}',
                other => other,
            };
        }
        let start = at + 1;
        at += length;
        Some(Written { range: start..start + length, character })
    })
}

#[cfg(test)]
mod tests;
