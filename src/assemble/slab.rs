//! Entries addressed by 32-bit numbers, in pages: no entry ever moves, growing copies nothing, memory is exact to a page.

use std::ops::{Index, IndexMut};

/// The number of no entry.
pub const NIL: u32 = u32::MAX;

/// Free entries are chained through a link the entry has anyway.
pub trait Linked {
    fn link(&mut self) -> &mut u32;
}

pub struct Slab<T> {
    pages: Vec<Box<[T]>>,
    free: u32,
    used: u32,
    len: u32,
}

const PAGE_BITS: u32 = 10;
const PAGE: usize = 1 << PAGE_BITS;

// === impl Slab ===

impl<T: Linked + Clone> Slab<T> {
    pub fn insert(&mut self, mut entry: T) -> u32 {
        self.len += 1;
        if self.free != NIL {
            let at = self.free;
            std::mem::swap(&mut self[at], &mut entry);
            self.free = *entry.link();
            return at;
        }
        let at = self.used;
        assert!(at < NIL, "the byte budget ends long before 2^32 entries");
        if at as usize == self.pages.len() * PAGE {
            self.pages.push(vec![entry; PAGE].into_boxed_slice());
        } else {
            self[at] = entry;
        }
        self.used += 1;
        at
    }

    pub fn remove(&mut self, at: u32) {
        let free = self.free;
        *self[at].link() = free;
        self.free = at;
        self.len -= 1;
        if self.len == 0 {
            // Whatever moment made them many, it is over. One page stays for the next entry.
            self.pages.truncate(1);
            self.free = NIL;
            self.used = 0;
        }
    }

    /// None for a number whose page is gone.
    pub fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.pages.get_mut((at >> PAGE_BITS) as usize)?.get_mut(at as usize % PAGE)
    }

    pub fn len(&self) -> u32 {
        self.len
    }

    /// Entries that have a page and are free.
    pub fn spare(&self) -> usize {
        self.pages.len() * PAGE - self.len as usize
    }

    /// Entries that have a page, used or free.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    pub fn bytes(&self) -> usize {
        self.pages.len() * PAGE * size_of::<T>()
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), free: NIL, used: 0, len: 0 }
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, at: u32) -> &T {
        &self.pages[(at >> PAGE_BITS) as usize][at as usize % PAGE]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline(always)]
    fn index_mut(&mut self, at: u32) -> &mut T {
        &mut self.pages[(at >> PAGE_BITS) as usize][at as usize % PAGE]
    }
}

/// What is known of an entry beside it: words in pages beside the slab's, as many for each as the longest needs.
pub struct Rows<T> {
    pages: Vec<Box<[T]>>,
    width: usize,
}

// === impl Rows ===

impl<T: Copy + Default> Rows<T> {
    pub fn new(width: usize) -> Self {
        Self { pages: Vec::new(), width }
    }

    /// Has as many pages as the slab.
    #[inline(always)]
    pub fn cover(&mut self, pages: usize) {
        self.pages.truncate(pages);
        while self.pages.len() < pages {
            self.pages.push(vec![T::default(); PAGE * self.width].into_boxed_slice());
        }
    }

    /// Of one that needs `len` words.
    #[inline(always)]
    pub fn row(&mut self, at: u32, len: usize) -> &mut [T] {
        let start = at as usize % PAGE * self.width;
        &mut self.pages[(at >> PAGE_BITS) as usize][start..start + len]
    }

    /// The first word of one, where words are kept.
    #[inline(always)]
    pub fn first(&self, at: u32) -> Option<T> {
        let page = self.pages.get((at >> PAGE_BITS) as usize)?;
        page.get(at as usize % PAGE * self.width).copied()
    }

    /// The longest needs more, or less, from now on. Page by page, so that nothing is in memory twice.
    pub fn resize(&mut self, width: usize) {
        let common = self.width.min(width);
        if width != self.width {
            for page in &mut self.pages {
                let mut resized = vec![T::default(); PAGE * width].into_boxed_slice();
                for at in 0..PAGE {
                    let (to, from) = (at * width, at * self.width);
                    resized[to..to + common].copy_from_slice(&page[from..from + common]);
                }
                *page = resized;
            }
        }
        self.width = width;
    }

    /// Bytes that rows of such a width would take.
    pub fn bytes_at(&self, width: usize) -> usize {
        self.pages.len() * PAGE * width * size_of::<T>()
    }

    pub fn bytes(&self) -> usize {
        self.bytes_at(self.width)
    }
}
