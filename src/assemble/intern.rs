//! Envelopes, each kept once: a process sends the same resource and scopes with every record.
//!
//! So the payload held is smaller than the payload received, and what policies ask of a resource is answered once for all
//! its spans.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use super::slab::NIL;

/// `C` is what is remembered with each scope, for the policies of now and, while they have traces, for those before.
#[derive(Debug)]
pub struct Interner<C> {
    table: HashTable<u32>,
    hasher: RandomState,
    envelopes: Vec<Option<Envelope<C>>>,
    free: Vec<u32>,
    idle: usize,
    bytes: usize,
    /// With more, what nobody holds is forgotten.
    limit: usize,
}

/// A resource (without parent) or a scope (with its resource as parent): the fields of its message without the children.
#[derive(Debug)]
pub struct Envelope<C> {
    pub parent: u32,
    pub rest: Box<[u8]>,
    /// So many leading bytes of a resource's `rest` are unknown fields of the message around it.
    pub outer: u32,
    context: Option<C>,
    /// Seldom there; with the bytes it has allocated.
    before: Option<Box<(C, usize)>>,
    references: u32,
    /// Bytes allocated but for `before`.
    bytes: usize,
}

/// Unreferenced envelopes to keep: those of a fleet that sends now and then, against the price of interning them anew.
const IDLE: usize = 1024;
/// Bytes of envelopes that nobody needs to look at: small against the smallest budget (16 MiB).
const LIMIT: usize = 1 << 20;
/// Envelopes that may come between two looks at the budget.
const GROWTH: usize = 4096;

// === impl Interner ===

impl<C> Interner<C> {
    pub fn resource(&mut self, rest: &[u8], outer: u32) -> u32 {
        self.intern(NIL, rest, outer)
    }

    /// `context` is asked for where it is not known yet, from the resource's fields and the scope's, with the bytes it has
    /// allocated.
    pub fn scope(&mut self, resource: u32, rest: &[u8], context: impl FnOnce(&[u8], &[u8]) -> (C, usize)) -> u32 {
        let at = self.intern(resource, rest, 0);
        if self.get(at).context.is_none() {
            let (context, bytes) = context(self.own(resource), rest);
            let scope = self.get_mut(at);
            scope.context = Some(context);
            scope.bytes += bytes;
            self.bytes += bytes;
        }
        at
    }

    /// Has a scope remember what it means to the policies before.
    pub fn remind(&mut self, at: u32, context: impl FnOnce(&[u8], &[u8]) -> (C, usize)) {
        let scope = self.get(at);
        if scope.before.is_none() {
            let (context, bytes) = context(self.own(scope.parent), &scope.rest);
            self.bytes += bytes + size_of::<(C, usize)>();
            self.get_mut(at).before = Some(Box::new((context, bytes)));
        }
    }

    /// There are other policies now.
    pub fn turn(&mut self) {
        for envelope in self.envelopes.iter_mut().flatten() {
            if let Some(context) = envelope.context.take() {
                let bytes = envelope.bytes - envelope.rest.len();
                envelope.bytes -= bytes;
                envelope.before = Some(Box::new((context, bytes)));
                self.bytes += size_of::<(C, usize)>();
            }
        }
    }

    /// Bytes that a turn takes.
    pub fn turning(&self) -> usize {
        (self.envelopes.len() - self.free.len()) * size_of::<(C, usize)>()
    }

    /// The policies before have no traces any more.
    pub fn retire(&mut self) {
        for envelope in self.envelopes.iter_mut().flatten() {
            self.bytes -= envelope.before_bytes();
            envelope.before = None;
        }
    }

    /// A resource's own fields.
    fn own(&self, resource: u32) -> &[u8] {
        let resource = self.get(resource);
        &resource.rest[resource.outer as usize..]
    }

    fn get_mut(&mut self, at: u32) -> &mut Envelope<C> {
        self.envelopes[at as usize].as_mut().expect("referenced, so it is there")
    }

    pub fn get(&self, at: u32) -> &Envelope<C> {
        self.envelopes[at as usize].as_ref().expect("referenced, so it is there")
    }

    /// Bytes of a scope and its resource.
    pub fn around(&self, scope: u32) -> usize {
        let scope = self.get(scope);
        scope.rest.len() + self.get(scope.parent).rest.len()
    }

    #[inline(always)]
    pub fn hold(&mut self, at: u32) {
        let envelope = self.envelopes[at as usize].as_mut().expect("just interned");
        if envelope.references == 0 {
            self.idle -= 1;
        }
        envelope.references += 1;
    }

    #[inline(always)]
    pub fn release(&mut self, at: u32) {
        let envelope = self.envelopes[at as usize].as_mut().expect("held, so it is there");
        envelope.references -= 1;
        if envelope.references == 0 {
            self.idle += 1;
        }
    }

    /// Forgets unreferenced envelopes where they have become too many. Numbers just interned and not yet held die here.
    pub fn sweep(&mut self) {
        // Half of all, so that a sweep is paid for by as many envelopes interned since.
        if self.idle <= IDLE.max((self.envelopes.len() - self.free.len()) / 2) && self.bytes <= self.limit {
            return;
        }
        // Scopes first: they hold their resources.
        for scopes in [true, false] {
            for at in 0..self.envelopes.len() {
                if let Some(envelope) = &self.envelopes[at]
                    && envelope.references == 0
                    && (envelope.parent != NIL) == scopes
                {
                    self.forget(at as u32);
                }
            }
        }
        self.limit = LIMIT.max(self.bytes * 2);
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.bytes
            + self.table.allocation_size()
            + self.envelopes.capacity() * size_of::<Option<Envelope<C>>>()
            + self.free.capacity() * size_of::<u32>()
    }

    /// What growing may allocate: the table is copied into one of twice its size.
    pub fn growth(&self) -> usize {
        let used = self.envelopes.len() - self.free.len();
        if used + GROWTH <= self.envelopes.capacity() && used + GROWTH <= self.table.capacity() {
            return 0;
        }
        self.table.allocation_size() * 2 + (self.envelopes.capacity() + GROWTH) * size_of::<Option<Envelope<C>>>()
    }

    fn intern(&mut self, parent: u32, rest: &[u8], outer: u32) -> u32 {
        let hash = self.hasher.hash_one((parent, outer, rest));
        let envelopes = &self.envelopes;
        let same = |&at: &u32| {
            envelopes[at as usize].as_ref().is_some_and(|e| e.parent == parent && e.outer == outer && *e.rest == *rest)
        };
        if let Some(&at) = self.table.find(hash, same) {
            return at;
        }
        let (rest, bytes) = (rest.into(), rest.len());
        let envelope = Envelope { parent, rest, outer, context: None, before: None, references: 0, bytes };
        self.bytes += bytes;
        self.idle += 1;
        if parent != NIL {
            self.hold(parent);
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.envelopes.push(None);
            self.envelopes.len() as u32 - 1
        });
        self.envelopes[at as usize] = Some(envelope);
        let Self { table, hasher, envelopes, .. } = self;
        table.insert_unique(hash, at, |&at| {
            let e = envelopes[at as usize].as_ref().expect("in the table, so it is there");
            hasher.hash_one((e.parent, e.outer, &*e.rest))
        });
        at
    }

    fn forget(&mut self, at: u32) {
        let Some(envelope) = self.envelopes[at as usize].take() else { return };
        let hash = self.hasher.hash_one((envelope.parent, envelope.outer, &*envelope.rest));
        if let Ok(entry) = self.table.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
        self.bytes -= envelope.bytes + envelope.before_bytes();
        self.idle -= 1;
        self.free.push(at);
        if envelope.parent != NIL {
            self.release(envelope.parent);
        }
    }
}

// === impl Envelope ===

impl<C> Envelope<C> {
    /// Of a resource: the unknown fields around it, and its own.
    pub fn parts(&self) -> (&[u8], &[u8]) {
        self.rest.split_at(self.outer as usize)
    }

    /// What it means to the policies of now, or to those `before`.
    #[inline(always)]
    pub fn context(&self, before: bool) -> Option<&C> {
        if before { self.before.as_ref().map(|before| &before.0) } else { self.context.as_ref() }
    }

    fn before_bytes(&self) -> usize {
        self.before.as_ref().map_or(0, |before| before.1 + size_of::<(C, usize)>())
    }
}

impl<C> Default for Interner<C> {
    fn default() -> Self {
        Self {
            table: HashTable::new(),
            hasher: RandomState::default(),
            envelopes: Vec::new(),
            free: Vec::new(),
            idle: 0,
            bytes: 0,
            limit: LIMIT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_kept_once_and_forgotten_when_nobody_holds_it() {
        let mut envelopes = Interner::<u32>::default();
        let large = vec![7; LIMIT];
        let resource = envelopes.resource(&large, 0);
        let scope = envelopes.scope(resource, b"scope", |rest, own| ((rest.len() + own.len()) as u32, 10));
        assert_eq!(envelopes.get(scope).context(false), Some(&(LIMIT as u32 + 5)));
        assert_eq!(envelopes.resource(&large, 0), resource);
        assert_eq!(envelopes.scope(resource, b"scope", |_, _| unreachable!("known")), scope);
        assert_ne!(envelopes.resource(&large, 1), resource, "where the outer fields end matters");
        envelopes.hold(scope);
        envelopes.sweep();
        assert_eq!(envelopes.bytes, LIMIT + 5 + 10, "a scope holds its resource");
        envelopes.release(scope);
        let other = envelopes.resource(&vec![8; 2 * LIMIT], 0);
        let other = envelopes.scope(other, b"", |_, _| (0, 0));
        envelopes.hold(other);
        envelopes.sweep();
        assert_eq!(envelopes.bytes, 2 * LIMIT);
    }

    #[test]
    fn a_scope_means_something_to_two_sets_of_policies() {
        let mut envelopes = Interner::<u32>::default();
        let resource = envelopes.resource(b"resource", 0);
        let scope = envelopes.scope(resource, b"a", |_, _| (1, 10));
        envelopes.turn();
        assert_eq!(envelopes.scope(resource, b"a", |rest, own| ((rest.len() + own.len()) as u32, 20)), scope);
        envelopes.remind(scope, |_, _| unreachable!("known"));
        let both =
            |envelopes: &Interner<u32>, at| [false, true].map(|before| envelopes.get(at).context(before).copied());
        assert_eq!(both(&envelopes, scope), [Some(9), Some(1)]);
        let new = envelopes.scope(resource, b"b", |_, _| (2, 20));
        envelopes.remind(new, |rest, own| ((rest.len() + own.len()) as u32, 10));
        assert_eq!(both(&envelopes, new), [Some(2), Some(9)]);
        envelopes.retire();
        assert_eq!(both(&envelopes, scope), [Some(9), None]);
        assert_eq!(envelopes.bytes, b"resource".len() + 2 * (1 + 20));
    }
}
