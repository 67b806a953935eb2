//! Names that spans bring, by number.

use std::collections::HashMap;

/// Texts by number. Number 0 is for those that have none.
pub struct Names {
    numbers: HashMap<Box<[u8]>, u32>,
    all: Vec<Box<[u8]>>,
}

/// Different services and different operations: names that hold ids are a mistake of who writes spans, and must not fill
/// memory.
const NAMES: usize = 1 << 16;
/// Bytes of a name that are looked at.
const NAME: usize = 204;

// === impl Names ===

impl Names {
    pub fn number(&mut self, name: &[u8]) -> u32 {
        let name = &name[..name.len().min(NAME)];
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        if name.is_empty() || self.all.len() >= NAMES {
            return 0;
        }
        let number = self.all.len() as u32;
        self.numbers.insert(name.into(), number);
        self.all.push(name.into());
        number
    }

    pub fn get(&self, number: u32) -> &[u8] {
        &self.all[number as usize]
    }

    pub fn text(&self, number: u32) -> String {
        String::from_utf8_lossy(self.get(number)).into_owned()
    }
}

impl Default for Names {
    fn default() -> Self {
        Self { numbers: HashMap::new(), all: vec![Box::default()] }
    }
}
