//! The call tree of a trace: who called whom, for what policies ask of it.
//!
//! It is grown from ids when a trace is judged, and only if some policy asks. What it answers does not depend on the order
//! in which spans arrived, nor on the spans being a tree: ids may be there twice, name each other in circles, or name nobody.

use super::fnv::fnv;
use crate::model::ACTS;

/// A span, as far as the tree knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    pub id: u64,
    /// 0 names nobody.
    pub parent: u64,
    /// By [`hash`]; 0 where it has none.
    pub service: u64,
    /// By [`hash`].
    pub name: u64,
    /// Which marked predicates it fulfils, and [`ACTS`].
    pub marks: u64,
}

/// Keeps its memory from trace to trace.
#[derive(Debug, Default)]
pub struct Tree {
    /// In the order of their ids; of equal ones in the order of the rest, so that arrival does not count.
    nodes: Vec<Node>,
    /// The place of each node's parent, or `TOP`.
    parents: Vec<u32>,
    /// How many nodes from the top down to each, itself included.
    depths: Vec<u32>,
    /// The places of all nodes, from the top down.
    order: Vec<u32>,
    torn: bool,
}

/// Words that each span notes for its node, where its name is asked for: its marks and its name.
pub const NOTES: usize = 2;

/// Predicates that can be marked beside it.
pub const MARKS_MAX: usize = 63;

const TOP: u32 = u32::MAX;
/// The depth of what is being walked over.
const ON_THE_WAY: u32 = u32::MAX;

// === impl Tree ===

impl Tree {
    pub fn grow(&mut self, nodes: impl Iterator<Item = Node>) {
        self.nodes.clear();
        self.nodes.extend(nodes);
        self.nodes.sort_unstable();
        self.torn = false;
        self.parents.clear();
        for at in 0..self.nodes.len() {
            let Node { id, parent, marks, .. } = self.nodes[at];
            let place = self.nodes.partition_point(|node| node.id < parent);
            let is_there = parent != 0 && parent != id && self.nodes.get(place).is_some_and(|node| node.id == parent);
            self.torn |= !is_there && parent != 0 && marks & ACTS == 0;
            self.parents.push(if is_there { place as u32 } else { TOP });
        }
        self.measure();
        self.order.clear();
        self.order.extend(0..self.nodes.len() as u32);
        let depths = &self.depths;
        self.order.sort_by_key(|&at| depths[at as usize]);
    }

    /// Finds depths, and cuts circles open.
    fn measure(&mut self) {
        let Self { parents, depths, order: way, .. } = self;
        depths.clear();
        depths.resize(parents.len(), 0);
        for start in 0..parents.len() as u32 {
            way.clear();
            let mut at = start;
            while at != TOP && depths[at as usize] == 0 {
                depths[at as usize] = ON_THE_WAY;
                way.push(at);
                at = parents[at as usize];
            }
            let mut depth = match (at, way.last()) {
                (TOP, _) => 0,
                (met, Some(&last)) if depths[met as usize] == ON_THE_WAY => {
                    parents[last as usize] = TOP;
                    0
                }
                (known, _) => depths[known as usize],
            };
            for &at in way.iter().rev() {
                depth += 1;
                depths[at as usize] = depth;
            }
        }
    }

    /// Whether every parent that is named is there.
    pub fn is_whole(&self) -> bool {
        !self.torn
    }

    /// Spans on the longest way down.
    pub fn depth(&self) -> u32 {
        self.order.last().map_or(0, |&deepest| self.depths[deepest as usize])
    }

    /// How many different ones there are.
    pub fn services(&self) -> u32 {
        let mut services: Vec<u64> = self.nodes.iter().map(|node| node.service).filter(|&of| of != 0).collect();
        services.sort_unstable();
        services.dedup();
        services.len() as u32
    }

    /// Whether a span marked `below` was called by one marked `above`: by itself, if it is to be `direct`, or through others.
    pub fn has_under(&self, below: u8, above: u8, direct: bool) -> bool {
        let marked = |at: u32, mark: u8| self.nodes[at as usize].marks >> mark & 1 == 1;
        let mut is_under = vec![false; self.nodes.len()];
        self.order.iter().any(|&at| {
            let parent = self.parents[at as usize];
            let under = parent != TOP && (marked(parent, above) || !direct && is_under[parent as usize]);
            is_under[at as usize] = under;
            under && marked(at, below)
        })
    }

    /// The most calls of one kind, by service and name, that one span made, among those marked.
    pub fn siblings(&self, mark: u8) -> u32 {
        let marked = self.nodes.iter().filter(|node| node.marks >> mark & 1 == 1 && node.parent != 0);
        let mut calls: Vec<_> = marked.map(|node| (node.parent, node.service, node.name)).collect();
        calls.sort_unstable();
        calls.chunk_by(|a, b| a == b).map(<[_]>::len).max().unwrap_or(0) as u32
    }

    /// A hash of who calls whom, by service and name. Calls of the same shape under one span count once, so that a loop has
    /// the same shape however often it ran.
    pub fn shape(&self) -> u64 {
        let mut below = vec![0; self.nodes.len()];
        let mut level: Vec<(u32, u64)> = Vec::new();
        let mut top = 0;
        let from_below = |a: &u32, b: &u32| self.depths[*a as usize] == self.depths[*b as usize];
        for places in self.order.chunk_by(from_below).rev() {
            level.clear();
            level.extend(places.iter().map(|&at| {
                let Node { service, name, .. } = self.nodes[at as usize];
                (self.parents[at as usize], mix(mix(service, name), below[at as usize]))
            }));
            level.sort_unstable();
            level.dedup();
            for &(parent, shape) in &level {
                let sum = if parent == TOP { &mut top } else { &mut below[parent as usize] };
                *sum = mix(*sum, shape);
            }
        }
        top
    }

    pub fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + (self.parents.capacity() + self.depths.capacity() + self.order.capacity()) * size_of::<u32>()
    }
}

/// FNV-1a, 64 bits, and never 0. Shapes are written to topics, so it must not change from version to version.
pub fn hash(text: &[u8]) -> u64 {
    fnv(text).max(1)
}

/// Two hashes into one, in this order. The finalizer is MurmurHash3's.
pub fn mix(a: u64, b: u64) -> u64 {
    let mut mixed = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b;
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        mixed = (mixed ^ mixed >> 33).wrapping_mul(factor);
    }
    mixed ^ mixed >> 33
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(id: u64, parent: u64, name: u64, marks: u64) -> Node {
        Node { id, parent, service: name % 3, name, marks }
    }

    fn tree(nodes: &[Node]) -> Tree {
        let mut tree = Tree::default();
        tree.grow(nodes.iter().copied());
        tree
    }

    #[test]
    fn who_called_whom() {
        // 1 → 2 → 4, 1 → 3.
        let tree = tree(&[node(1, 0, 7, 1), node(2, 1, 8, 0), node(3, 1, 8, 2), node(4, 2, 9, 2)]);
        assert!(tree.is_whole());
        assert_eq!((tree.depth(), tree.services()), (3, 2));
        assert!(tree.has_under(1, 0, true), "3 under 1");
        assert!(!tree.has_under(0, 1, false));
        let above = [node(1, 0, 7, 1), node(2, 1, 8, 0), node(4, 2, 9, 2)];
        assert!(!super::tests::tree(&above).has_under(1, 0, true), "4 is not called by 1 itself");
        assert!(super::tests::tree(&above).has_under(1, 0, false));
    }

    #[test]
    fn a_span_that_acts_as_root_needs_no_parent() {
        assert!(!tree(&[node(2, 1, 0, 0)]).is_whole());
        assert!(tree(&[node(2, 1, 0, ACTS), node(3, 2, 0, 0)]).is_whole());
        assert!(!tree(&[node(2, 1, 0, ACTS), node(3, 4, 0, 0)]).is_whole());
    }

    #[test]
    fn siblings_are_calls_of_one_kind_by_one_span() {
        let mut nodes = vec![node(1, 0, 5, 1)];
        nodes.extend((2..12).map(|id| node(id, 1, id % 2, 1)));
        nodes.extend((12..16).map(|id| node(id, 2, 1, 1)));
        assert_eq!(tree(&nodes).siblings(0), 5);
        assert_eq!(tree(&nodes).siblings(1), 0);
    }

    #[test]
    fn a_loop_has_one_shape_and_another_callee_another() {
        let called = |times: u64, name: u64| {
            let calls = (0..times).map(|call| node(10 + call, 1, name, 0));
            let nodes: Vec<_> = [node(1, 0, 5, 0)].into_iter().chain(calls).collect();
            tree(&nodes).shape()
        };
        assert_eq!(called(1, 6), called(9, 6));
        assert_ne!(called(1, 6), called(1, 7));
        assert_ne!(called(0, 6), called(1, 6));
        // Under whom it is called matters.
        let (under_first, under_second) = (
            [node(1, 0, 5, 0), node(2, 1, 6, 0), node(3, 1, 7, 0)],
            [node(1, 0, 5, 0), node(2, 1, 6, 0), node(3, 2, 7, 0)],
        );
        assert_ne!(tree(&under_first).shape(), tree(&under_second).shape());
        // What stands in topics stays what it is.
        assert_eq!(called(2, 6), 7_847_040_594_119_461_281);
    }

    proptest! {
        /// Circles and doubles too.
        #[test]
        fn arrival_does_not_count(
            nodes in prop::collection::vec((1..9_u64, 0..9_u64, 0..3_u64, 0..4_u64), 0..24), seed: u64,
        ) {
            let nodes: Vec<_> = nodes.into_iter().map(|(id, parent, name, marks)| node(id, parent, name, marks)).collect();
            let mut shuffled = nodes.clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            let answers = |nodes: &[Node]| {
                let tree = tree(nodes);
                (tree.is_whole(), tree.depth(), tree.services(), tree.shape(), tree.siblings(0), tree.has_under(0, 1, false), tree.has_under(0, 1, true))
            };
            prop_assert_eq!(answers(&nodes), answers(&shuffled));
        }

        #[test]
        fn of_a_true_tree_depths_are_what_they_seem(parents in prop::collection::vec(0..20_usize, 1..40)) {
            let nodes: Vec<_> = (0..).zip(&parents).map(|(at, &parent)| {
                let parent = if at == 0 { 0 } else { parent as u64 % at + 1 };
                node(at + 1, parent, 0, 0)
            }).collect();
            let depth = |mut at: u64| {
                let mut depth = 0;
                while at != 0 {
                    (at, depth) = (nodes[at as usize - 1].parent, depth + 1);
                }
                depth
            };
            prop_assert_eq!(tree(&nodes).depth(), (1..=nodes.len() as u64).map(depth).max().unwrap());
            prop_assert!(tree(&nodes).is_whole());
        }
    }
}
