//! Names that spans bring, by number.

use std::collections::HashMap;

use crate::decode::{Value, resource_attribute};

/// Texts by number. Number 0 is for those that have none.
pub struct Names {
    numbers: HashMap<Box<[u8]>, u32>,
    all: Vec<Box<[u8]>>,
}

/// Services, and what they do.
#[derive(Default)]
pub struct Operations {
    pub services: Names,
    /// The service, by its number in 4 bytes, and the name of the span.
    all: Names,
}

/// Different services and different operations: names that hold ids are a mistake of who writes spans, and must not fill
/// memory.
const NAMES: usize = 1 << 16;
/// Bytes of a name that are looked at.
const NAME: usize = 204;

const SERVICE: &[u8] = b"service.name";

// === impl Operations ===

impl Operations {
    /// The number of the service whose resource has these fields.
    pub fn service(&mut self, resource: &[u8]) -> u32 {
        match resource_attribute(resource, SERVICE) {
            Value::Str(service) => self.services.number(service),
            _ => 0,
        }
    }

    pub fn number(&mut self, service: u32, name: &[u8]) -> u32 {
        self.all.number(&[&service.to_be_bytes(), name].concat())
    }

    /// The service and the name, as text. Both are empty of number 0.
    pub fn text(&self, number: u32) -> (String, String) {
        match self.all.get(number).split_first_chunk::<4>() {
            Some((service, name)) => {
                (self.services.text(u32::from_be_bytes(*service)), String::from_utf8_lossy(name).into_owned())
            }
            None => (String::new(), String::new()),
        }
    }
}

// === impl Names ===

impl Names {
    fn number(&mut self, name: &[u8]) -> u32 {
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

    fn get(&self, number: u32) -> &[u8] {
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
