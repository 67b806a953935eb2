//! What other workers have learned, as far as it was heard of.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Name, slowest::State};

/// Whoever sends them bounds how many there are.
#[derive(Debug, Default)]
pub struct Others {
    /// With the partition that each is of.
    states: HashMap<Name, Vec<(u32, State)>, FixedState>,
    /// Bytes of all states.
    bytes: usize,
}

// === impl Others ===

impl Others {
    /// Of all partitions of others.
    pub fn states(&self, name: Name) -> impl Iterator<Item = &State> + Clone {
        self.states.get(&name).into_iter().flatten().map(|(_, state)| state)
    }

    pub fn hear(&mut self, partition: u32, name: Name, state: State) {
        self.bytes += bytes(&state);
        let of = self.states.entry(name).or_default();
        match of.iter_mut().find(|(known, _)| *known == partition) {
            Some((_, known)) => {
                self.bytes -= bytes(known);
                *known = state;
            }
            None => {
                // There are as many as there are partitions, and they come one after the other.
                of.reserve_exact(1);
                of.push((partition, state));
            }
        }
    }

    pub fn retain(&mut self, stays: impl Fn(u32, Name, &State) -> bool) {
        let Self { states, bytes: all } = self;
        states.retain(|&name, of| {
            of.retain(|(partition, state)| {
                let stays = stays(*partition, name, state);
                *all -= if stays { 0 } else { bytes(state) };
                stays
            });
            of.shrink_to_fit();
            !of.is_empty()
        });
    }

    pub fn bytes(&self) -> usize {
        self.states.allocation_size() + self.bytes
    }
}

fn bytes(state: &State) -> usize {
    size_of::<(u32, State)>() + state.bytes()
}
