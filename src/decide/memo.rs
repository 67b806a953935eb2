//! Which patterns matched the texts seen lately.
//!
//! Names repeat, and twenty patterns on a name cost more than all else done for a span. A forgotten text costs only time,
//! so what is remembered never changes a result.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::condition::Pattern;
use crate::decode::Value;

/// Texts remembered: more than the operations that most systems have. With the texts 100 kB a worker.
const TEXTS: usize = 1024;
/// Bytes of a text worth remembering: longer ones hold ids and seldom repeat.
const TEXT_MAX: usize = 64;

/// A worker's own patterns, and what they matched.
#[derive(Debug)]
pub struct Memo {
    patterns: Vec<Pattern>,
    /// Each text has one place; a newer one takes it. Empty until first needed.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// By the first of the atoms asked; none has this number before the place is taken.
    asked: u16,
    len: u8,
    text: [u8; TEXT_MAX],
    matched: Vec<u16>,
}

// === impl Memo ===

impl Memo {
    pub fn new(patterns: &[Pattern]) -> Self {
        Self { patterns: patterns.to_vec(), entries: Vec::new() }
    }

    /// Names the atoms whose pattern matches. `asked` holds atoms and their patterns, always the same behind one atom.
    #[inline]
    pub fn matching(&mut self, asked: &[(u16, u16)], value: Value<'_>, mut matched: impl FnMut(u16)) {
        let text = match value {
            // One pattern is as fast as the memo.
            Value::Str(text) if asked.len() > 1 && text.len() <= TEXT_MAX => text,
            _ => return matching(&self.patterns, asked, value, matched),
        };
        if self.entries.is_empty() {
            self.entries = vec![Entry { asked: u16::MAX, len: 0, text: [0; TEXT_MAX], matched: Vec::new() }; TEXTS];
        }
        let hash = FixedState::with_seed(u64::from(asked[0].0)).hash_one(text);
        let entry = &mut self.entries[hash as usize % TEXTS];
        if entry.asked != asked[0].0 || entry.text[..usize::from(entry.len)] != *text {
            entry.asked = asked[0].0;
            entry.len = text.len() as u8;
            entry.text[..text.len()].copy_from_slice(text);
            entry.matched.clear();
            matching(&self.patterns, asked, value, |atom| entry.matched.push(atom));
        }
        entry.matched.iter().for_each(|atom| matched(*atom));
    }
}

/// The same, without a memory.
pub fn matching(patterns: &[Pattern], asked: &[(u16, u16)], value: Value<'_>, mut matched: impl FnMut(u16)) {
    for (atom, pattern) in asked {
        if patterns[usize::from(*pattern)].is_match(value) {
            matched(*atom);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_without_mixing_up() {
        let patterns = ["^a", "b", "^$"].map(|pattern| Pattern::new(pattern).unwrap());
        let mut memo = Memo::new(&patterns);
        let (names, services) = ([(0, 0), (1, 1), (2, 2)], [(3, 1), (4, 0)]);
        // More texts than places, so that they drive each other out.
        for round in 0..3 {
            for i in 0..3 * TEXTS {
                for text in [format!("a{i}"), format!("b{i}"), format!("{i}{}", "ab".repeat(i % 40)), String::new()] {
                    for asked in [&names[..], &services[..]] {
                        let value = Value::Str(text.as_bytes());
                        let (mut remembered, mut matched) = (Vec::new(), Vec::new());
                        memo.matching(asked, value, |atom| remembered.push(atom));
                        matching(&patterns, asked, value, |atom| matched.push(atom));
                        assert_eq!(remembered, matched, "{text:?} in round {round}");
                    }
                }
            }
        }
    }
}
