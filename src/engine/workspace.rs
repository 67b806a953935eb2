//! Scratch space.

use super::LOOK;
use crate::{
    decide::{Tree, Values},
    decode::Batch,
    encode::Item,
    model::Threshold,
};

/// Scratch space that outlives a record, so that records cost no allocation.
#[derive(Default)]
pub struct Workspace {
    pub batch: Batch,
    /// A record that came in JSON.
    pub protobuf: Vec<u8>,
    /// The interned scope of each of the batch's.
    pub scopes: Vec<u32>,
    pub resources: Vec<u32>,
    /// The batch's spans that follow a verdict to keep, and its threshold.
    pub late: Vec<(u32, Threshold)>,
    /// Those that came when any verdict on their trace is forgotten.
    pub past: Vec<u32>,
    /// What one late span alone says to the policies.
    pub bits: Vec<u64>,
    pub counts: Vec<u32>,
    pub notes: Vec<u64>,
    pub tree: Tree,
    pub values: Values,
    pub links: Vec<u64>,
    pub spans: Vec<u32>,
    pub items: Vec<Item>,
    /// What is stamped on them.
    pub stamped: Vec<u8>,
    pub partitions: Vec<u32>,
}

// === impl Workspace ===

impl Workspace {
    pub fn bytes(&self) -> usize {
        let Self {
            batch,
            protobuf,
            scopes,
            resources,
            late,
            past,
            spans,
            items,
            stamped,
            tree,
            values,
            links,
            bits: _,
            counts: _,
            notes: _,
            partitions: _,
        } = self;
        batch.bytes()
            + tree.bytes()
            + values.bytes()
            + links.capacity() * size_of::<u64>()
            + (scopes.capacity() + resources.capacity() + past.capacity() + spans.capacity()) * size_of::<u32>()
            + late.capacity() * size_of::<(u32, Threshold)>()
            + items.capacity() * size_of::<Item>()
            + stamped.capacity()
            + protobuf.capacity()
    }

    /// What a huge record needed does not stay.
    pub fn trim(&mut self) {
        if self.bytes() > LOOK {
            self.batch = Batch::default();
            self.protobuf = Vec::new();
            self.tree = Tree::default();
            self.values = Values::default();
            self.links = Vec::new();
            self.scopes = Vec::new();
            self.resources = Vec::new();
            self.late = Vec::new();
            self.past = Vec::new();
            self.spans = Vec::new();
            self.items = Vec::new();
            self.stamped = Vec::new();
        }
    }
}
