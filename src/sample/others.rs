//! What other workers have learned by one rule, as far as it was heard of.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{
    keys::Holder,
    known::{Hears, State},
};

#[derive(Debug)]
pub struct Others<S> {
    /// With the partition that each is of.
    states: HashMap<Holder, Vec<(u32, S)>, FixedState>,
    /// Bytes of all states.
    bytes: usize,
}

// === impl Others ===

impl<S: State> Others<S> {
    /// Of all partitions of others.
    pub fn of(&self, holder: Holder) -> impl Iterator<Item = (u32, &S)> + Clone {
        self.states.get(&holder).into_iter().flatten().map(|(partition, state)| (*partition, state))
    }
}

impl<S: State> Hears<S> for Others<S> {
    fn hear(&mut self, partition: u32, holder: Holder, state: S) {
        self.bytes += bytes(&state);
        let of = self.states.entry(holder).or_default();
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

    fn forget(&mut self, partition: u32) {
        self.retain(|of, _| of != partition);
    }

    fn expire(&mut self, is_past: impl Fn(&S) -> bool) {
        self.retain(|_, state| !is_past(state));
    }

    fn bytes(&self) -> usize {
        self.states.allocation_size() + self.bytes
    }
}

impl<S: State> Others<S> {
    fn retain(&mut self, stays: impl Fn(u32, &S) -> bool) {
        let Self { states, bytes: all } = self;
        states.retain(|_, of| {
            of.retain(|(partition, state)| {
                let stays = stays(*partition, state);
                *all -= if stays { 0 } else { bytes(state) };
                stays
            });
            of.shrink_to_fit();
            !of.is_empty()
        });
    }
}

impl<S> Default for Others<S> {
    fn default() -> Self {
        Self { states: HashMap::default(), bytes: 0 }
    }
}

fn bytes<S: State>(state: &S) -> usize {
    size_of::<(u32, S)>() + state.bytes()
}
