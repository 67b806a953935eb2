//! The attribute keys some policy names.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Maps a key to its slot. A key no policy names costs one look into a 512-byte filter.
#[derive(Debug)]
pub struct Keys {
    slots: HashMap<Box<[u8]>, u16, FixedState>,
    /// For each length modulo 64, which last bytes (modulo 64) occur.
    filter: [u64; 64],
}

impl Keys {
    /// The slot of a key is its place in `keys`; at most 65,536 of them, each once.
    pub fn new<'k>(keys: impl IntoIterator<Item = &'k [u8]>) -> Self {
        let mut table = Self { slots: HashMap::default(), filter: [0; 64] };
        for (slot, key) in keys.into_iter().enumerate() {
            let slot = u16::try_from(slot).expect("the compiler of policies bounds the keys");
            let (row, bit) = Self::place(key);
            table.filter[row] |= bit;
            table.slots.insert(key.into(), slot);
        }
        table
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    #[inline(always)]
    pub fn slot(&self, key: &[u8]) -> Option<u16> {
        let (row, bit) = Self::place(key);
        if self.filter[row] & bit == 0 { None } else { self.slots.get(key).copied() }
    }

    #[inline(always)]
    fn place(key: &[u8]) -> (usize, u64) {
        let last = key.last().copied().unwrap_or(0);
        (key.len() % 64, 1 << (last % 64))
    }
}
