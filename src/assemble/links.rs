//! What each held trace is linked with: keys, opaque here.

use super::slab::{Linked, NIL, Slab};

#[derive(Default)]
pub struct Links {
    links: Slab<Entry>,
}

#[derive(Clone)]
struct Entry {
    key: u64,
    next: u32,
}

// === impl Links ===

impl Links {
    /// Adds one to those that begin at `first`; returns where they begin now.
    pub fn add(&mut self, first: u32, key: u64) -> u32 {
        self.links.insert(Entry { key, next: first })
    }

    pub fn keys(&self, first: u32) -> impl Iterator<Item = u64> {
        let mut at = first;
        std::iter::from_fn(move || {
            let entry = (at != NIL).then(|| &self.links[at])?;
            at = entry.next;
            Some(entry.key)
        })
    }

    /// Takes all out that begin at `first`.
    pub fn remove(&mut self, first: u32) {
        let mut at = first;
        while at != NIL {
            let next = self.links[at].next;
            self.links.remove(at);
            at = next;
        }
    }

    pub fn bytes(&self) -> usize {
        self.links.bytes()
    }
}

// === impl Entry ===

impl Linked for Entry {
    fn link(&mut self) -> &mut u32 {
        &mut self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_a_trace_go_together() {
        let mut links = Links::default();
        let [one, other] =
            [0..2000, 5000..5003].map(|keys: std::ops::Range<u64>| keys.fold(NIL, |first, key| links.add(first, key)));
        assert!(links.keys(one).eq((0..2000).rev()) && links.keys(other).eq([5002, 5001, 5000]));
        assert_eq!(links.keys(NIL).count(), 0);
        let most = links.bytes();
        links.remove(one);
        assert!(links.keys(other).eq([5002, 5001, 5000]));
        let again = (0..2000).fold(other, |first, key| links.add(first, key));
        assert_eq!((links.keys(again).count(), links.bytes()), (2003, most), "the room is used again");
        links.remove(again);
        assert!(links.bytes() < most);
    }
}
