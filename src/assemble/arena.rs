//! The held payload: span bytes, copied once, in large chunks.
//!
//! Every item carries the number of its owner before its bytes, so a chunk can be walked and its survivors moved without
//! an index beside it. A chunk less than half alive is emptied into the open one: a record that mixes many traces is not
//! pinned whole by its slowest. Moving costs at most a byte copied for every byte freed.

use super::slab::{Linked, NIL, Slab};
use crate::lines;

/// Where an item's bytes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    chunk: u32,
    at: u32,
}

/// An item's owner knows where its item stands, or `Place::NOWHERE` once it has given it up.
pub trait Owner: Linked + Clone {
    fn place(&mut self) -> &mut Place;
}

#[derive(Default)]
pub struct Arena {
    chunks: Vec<Chunk>,
    open: Option<u32>,
    /// Numbers of empty chunks with their memory, at most `SPARE`, and of those without.
    spare: Vec<u32>,
    bare: Vec<u32>,
    /// Chunks less than half alive.
    sparse: Vec<u32>,
    bytes: usize,
    /// Chunks opened so far.
    opened: u64,
}

#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    live: u32,
    /// When it was opened: it rises with every chunk.
    opened: u64,
    /// All of it has to stay.
    stays: bool,
}

/// Large against an item and small against the smallest budget (16 MiB).
const CHUNK: usize = 256 << 10;
/// Owner and length, 4 bytes each.
const HEADER: usize = 8;
/// Chunks that keep their memory when empty: enough to absorb the swing between two ticks at the smallest budget.
const SPARE: usize = 4;

// === impl Place ===

impl Place {
    pub const NOWHERE: Self = Self { chunk: NIL, at: 0 };
}

// === impl Arena ===

impl Arena {
    /// Copies an item of `owner`.
    pub fn push(&mut self, owner: u32, item: &[u8]) -> Place {
        let size = item.len() + HEADER;
        let open = match self.open {
            Some(open) if self.chunks[open as usize].room() >= size => open,
            _ => self.open(size),
        };
        let chunk = &mut self.chunks[open as usize];
        chunk.bytes.extend_from_slice(&owner.to_le_bytes());
        chunk.bytes.extend_from_slice(&(item.len() as u32).to_le_bytes());
        let at = chunk.bytes.len() as u32;
        chunk.bytes.extend_from_slice(item);
        chunk.live += size as u32;
        Place { chunk: open, at }
    }

    #[inline(always)]
    pub fn get(&self, place: Place, len: u32) -> &[u8] {
        &self.chunks[place.chunk as usize].bytes[place.at as usize..][..len as usize]
    }

    /// Gives an item up. Its place means nothing from here on.
    pub fn release(&mut self, place: Place, len: u32) {
        let chunk = &mut self.chunks[place.chunk as usize];
        let half = (chunk.bytes.len() / 2) as u32;
        let before = chunk.live;
        chunk.live -= len + HEADER as u32;
        if self.open == Some(place.chunk) {
            return;
        }
        if chunk.live == 0 {
            self.empty(place.chunk);
        } else if before >= half && chunk.live < half {
            self.sparse.push(place.chunk);
        }
    }

    /// Empties one chunk that is less than half alive; false where there is none.
    pub fn compact<T: Owner>(&mut self, owners: &mut Slab<T>) -> bool {
        let Some(from) = self.sparse.pop() else { return false };
        if self.chunks[from as usize].live == 0 || self.open == Some(from) {
            return true;
        }
        let bytes = std::mem::take(&mut self.chunks[from as usize].bytes);
        lines::touch(&bytes);
        for (owner, at, item) in items(&bytes) {
            if let Some(place) = held(owners, owner, Place { chunk: from, at }) {
                *place = self.push(owner, item);
            }
        }
        self.chunks[from as usize].bytes = bytes;
        self.empty(from);
        true
    }

    /// Gives up the items of the chunk that was opened first, which are nowhere from now on, but for those that have to stay;
    /// returns how many. What has to stay once has to for good. None where all of it has.
    pub fn give_up<T: Owner>(&mut self, owners: &mut Slab<T>, stays: impl Fn(&T) -> bool) -> Option<usize> {
        loop {
            let full = (0..).zip(&self.chunks);
            let full = full.filter(|(at, chunk)| chunk.live > 0 && !chunk.stays && self.open != Some(*at));
            let (_, oldest) = full.map(|(at, chunk)| (chunk.opened, at)).min()?;
            let given_up = self.give_up_chunk(oldest, owners, &stays);
            if given_up > 0 {
                return Some(given_up);
            }
            self.chunks[oldest as usize].stays = true;
        }
    }

    /// What has to stay is asked for anew.
    pub fn reconsider(&mut self) {
        self.chunks.iter_mut().for_each(|chunk| chunk.stays = false);
    }

    fn give_up_chunk<T: Owner>(&mut self, from: u32, owners: &mut Slab<T>, stays: impl Fn(&T) -> bool) -> usize {
        let bytes = std::mem::take(&mut self.chunks[from as usize].bytes);
        let (mut given_up, mut left) = (0, Vec::new());
        for (owner, at, item) in items(&bytes) {
            if held(owners, owner, Place { chunk: from, at }).is_none() {
                continue;
            }
            if stays(&owners[owner]) {
                left.push((owner, item));
            } else {
                *owners[owner].place() = Place::NOWHERE;
                given_up += 1;
            }
        }
        if given_up > 0 {
            left.into_iter().for_each(|(owner, item)| *owners[owner].place() = self.push(owner, item));
        }
        self.chunks[from as usize].bytes = bytes;
        if given_up > 0 {
            self.empty(from);
        }
        given_up
    }

    /// The next item goes into another chunk.
    #[cfg(test)]
    pub fn close(&mut self) {
        self.open = self.open.filter(|open| self.chunks[*open as usize].live == 0);
    }

    /// Bytes allocated, alive or not.
    pub fn bytes(&self) -> usize {
        self.bytes + self.chunks.capacity() * size_of::<Chunk>()
    }

    fn open(&mut self, size: usize) -> u32 {
        if let Some(full) = self.open.take() {
            let chunk = &self.chunks[full as usize];
            if chunk.live == 0 {
                self.empty(full);
            } else if (chunk.live as usize) < chunk.bytes.len() / 2 {
                self.sparse.push(full);
            }
        }
        let open = self.spare.pop().or_else(|| self.bare.pop()).unwrap_or_else(|| {
            self.chunks.push(Chunk::default());
            self.chunks.len() as u32 - 1
        });
        let chunk = &mut self.chunks[open as usize];
        if chunk.bytes.capacity() < size {
            self.bytes -= chunk.bytes.capacity();
            chunk.bytes = Vec::with_capacity(size.max(CHUNK));
            self.bytes += chunk.bytes.capacity();
        }
        self.opened += 1;
        (chunk.opened, chunk.stays) = (self.opened, false);
        self.open = Some(open);
        open
    }

    fn empty(&mut self, at: u32) {
        let chunk = &mut self.chunks[at as usize];
        chunk.live = 0;
        chunk.bytes.clear();
        if self.spare.len() < SPARE && chunk.bytes.capacity() == CHUNK {
            self.spare.push(at);
        } else {
            self.bytes -= chunk.bytes.capacity();
            chunk.bytes = Vec::new();
            self.bare.push(at);
        }
    }
}

/// The items of a chunk: each one's owner, where it stands, and its bytes.
fn items(chunk: &[u8]) -> impl Iterator<Item = (u32, u32, &[u8])> {
    let mut rest = chunk;
    std::iter::from_fn(move || {
        let (header, behind) = rest.split_first_chunk::<HEADER>()?;
        let owner = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let at = (chunk.len() - behind.len()) as u32;
        let (item, next) = behind.split_at(len);
        rest = next;
        Some((owner, at, item))
    })
}

/// Where an item's owner knows it to be, if it still is there.
fn held<T: Owner>(owners: &mut Slab<T>, owner: u32, at: Place) -> Option<&mut Place> {
    owners.get_mut(owner).map(Owner::place).filter(|place| **place == at)
}

// === impl Chunk ===

impl Chunk {
    fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone)]
    struct Item {
        place: Place,
        next: u32,
    }

    impl Linked for Item {
        fn link(&mut self) -> &mut u32 {
            &mut self.next
        }
    }

    impl Owner for Item {
        fn place(&mut self) -> &mut Place {
            &mut self.place
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]

        /// Items come and go in any order; what is held is intact, and memory is in proportion to it.
        #[test]
        fn what_is_held_survives_compaction(
            ops in prop::collection::vec((prop::sample::select(vec![0, 10, 3_000, 40_000, CHUNK]), any::<prop::sample::Index>(), prop::bool::weighted(0.55)), 1..400),
        ) {
            let (mut arena, mut owners) = (Arena::default(), Slab::default());
            let mut held: Vec<(u32, Vec<u8>)> = Vec::new();
            for (i, (size, which, push)) in ops.into_iter().enumerate() {
                if push || held.is_empty() {
                    let bytes = vec![i as u8; size];
                    let at = owners.insert(Item { place: Place::NOWHERE, next: NIL });
                    owners[at].place = arena.push(at, &bytes);
                    held.push((at, bytes));
                } else {
                    let (at, bytes) = held.swap_remove(which.index(held.len()));
                    arena.release(owners[at].place, bytes.len() as u32);
                    owners[at].place = Place::NOWHERE;
                    owners.remove(at);
                    while arena.compact(&mut owners) {}
                }
                for (at, bytes) in &held {
                    prop_assert_eq!(arena.get(owners[*at].place, bytes.len() as u32), &bytes[..]);
                }
                let allocated: usize = arena.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
                prop_assert_eq!(arena.bytes, allocated);
                let live: usize = held.iter().map(|(_, bytes)| bytes.len() + HEADER).sum();
                // Half alive, the tail of a chunk that did not take the next item, the spare ones, the open one.
                prop_assert!(allocated <= 4 * live + (SPARE + 2) * 2 * CHUNK, "{allocated} for {live}");
            }
        }
    }
}
