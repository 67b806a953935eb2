//! A record is taken in: first its time, then its spans, each into its trace.

use std::fmt::Display;

use super::{Engine, Full, LOOK, output::Given, sets::Live, workspace::Workspace};
use crate::{
    assemble::{Keying, Origin, Placed},
    decide::linked,
    decode::{self, Batch, Headers, detail},
    limits,
    model::{self, RecordTime},
    mutant::{self, Mutant},
    recall::Terms,
};

/// A record of a partition.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    pub partition: u32,
    pub offset: i64,
    pub timestamp: Option<RecordTime>,
    pub headers: &'a dyn Headers,
    pub payload: Option<&'a [u8]>,
}

/// What becomes of a span that comes when the verdict on its trace is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// As if its trace began with it.
    Decide,
    Drop,
    DeadLetter,
}

impl Engine {
    /// Takes a record in: first its time, which completes traces, then its spans. `ceiling` bounds the time it may set.
    ///
    /// # Errors
    /// `Full`: nothing of the record was taken in.
    pub fn ingest(&mut self, record: Record<'_>, ceiling: RecordTime) -> Result<(), Full> {
        let Record { partition, offset, timestamp, headers, payload } = record;
        self.reach(partition, offset);
        let (domain, is_keyed) = (self.assembly.time().domain(partition), self.settings.keying == Keying::Keyed);
        if self.observed != Some((partition, offset)) {
            // By turns it is as late as the partition's clock said before. What it says then is time when all have reached it, and
            // how soon they do may depend on the wall clock, where one of them rests.
            if !is_keyed {
                self.complete(domain)?;
            }
            if let Some(timestamp) = timestamp {
                self.observe(partition, timestamp, ceiling);
            }
            self.observed = Some((partition, offset));
        }
        if is_keyed && !mutant::is(Mutant::DeadlinesPerTurn) {
            self.complete(domain)?;
        }
        match payload {
            None => self.reject_record(partition, offset, "the record has no value".into(), &[]),
            Some(payload) if payload.len() > limits::RECORD_BYTES => {
                let reason = format!("the record has {} bytes, more than {}", payload.len(), limits::RECORD_BYTES);
                self.reject_record(partition, offset, reason.into(), &[]);
            }
            Some(payload) => {
                if let Some(Terms { shelf_life, .. }) = self.settings.recall {
                    // A log is removed in pieces, by the latest of their records: one wrong producer shortens no record's life.
                    let at = self.assembly.time().partition(partition);
                    if at.clock.now().or(timestamp).is_some_and(|time| ceiling.since(time) > shelf_life) {
                        at.fragile = offset + 1;
                    }
                }
                let origin = self.assembly.origin(partition, offset, timestamp, ceiling);
                self.take(origin, headers, payload)?;
            }
        }
        self.observed = None;
        self.reach(partition, offset + 1);
        Ok(())
    }

    fn observe(&mut self, partition: u32, timestamp: RecordTime, ceiling: RecordTime) {
        // A clock that is held back says nothing of a record that is ahead of it.
        let at = self.assembly.time().partition(partition);
        if let Some(now) = at.clock.now().filter(|_| !at.is_limited())
            && now.since(timestamp).max(timestamp.since(now)) > self.settings.completion.max_wait
        {
            self.stats.skewed += 1;
        }
        self.assembly.observe(partition, timestamp, ceiling);
    }

    fn take(&mut self, origin: Origin, headers: &dyn Headers, received: &[u8]) -> Result<(), Full> {
        let mut protobuf = std::mem::take(&mut self.scratch.protobuf);
        let taken = match decode::protobuf(received, &mut protobuf) {
            Ok(payload) => self.take_protobuf(origin, headers, payload, received),
            Err(refused) => self.reject(origin, &refused, received),
        };
        self.scratch.protobuf = protobuf;
        self.scratch.trim();
        self.lessons.trim(LOOK);
        self.sets.trim(LOOK);
        taken
    }

    fn take_protobuf(
        &mut self,
        origin: Origin,
        headers: &dyn Headers,
        payload: &[u8],
        received: &[u8],
    ) -> Result<(), Full> {
        let Origin { partition, offset, .. } = origin;
        let mut batch = std::mem::take(&mut self.scratch.batch);
        let taken = match self.sets.decode(payload, headers, &mut batch) {
            Ok(()) => self.make_room(self.need(payload, &batch), batch.spans.len()).map(|fits| {
                if fits {
                    self.place(origin, payload, &batch);
                } else {
                    let reason = format!("{} spans in one record are more than the buffer takes", batch.spans.len());
                    self.reject_record(partition, offset, reason.into(), received);
                }
            }),
            Err(malformed) => self.reject(origin, &malformed, received),
        };
        self.scratch.batch = batch;
        taken
    }

    fn reject(&mut self, origin: Origin, why: &dyn Display, received: &[u8]) -> Result<(), Full> {
        self.make_room(received.len(), 0)?;
        self.reject_record(origin.partition, origin.offset, why.to_string().into(), received);
        Ok(())
    }

    fn place(&mut self, origin: Origin, payload: &[u8], batch: &Batch) {
        let Self { assembly, sets, scratch, .. } = self;
        let Workspace { scopes, resources, .. } = scratch;
        assembly.envelopes.sweep();
        resources.clear();
        scopes.clear();
        for resource in &batch.resources {
            resources.push(assembly.envelopes.resource(resource.rest.of(&batch.rest), resource.outer));
        }
        for scope in &batch.scopes {
            let resource = resources[scope.resource as usize];
            let scope = assembly.envelopes.scope(resource, scope.rest.of(&batch.rest), sets.now().context());
            if let Some(before) = sets.before() {
                assembly.envelopes.remind(scope, before.context());
            }
            scopes.push(scope);
        }
        self.stats.received += (batch.spans.len() + batch.rejected.len()) as u64;
        let mut late = std::mem::take(&mut self.scratch.late);
        let mut past = std::mem::take(&mut self.scratch.past);
        late.clear();
        past.clear();
        for (at, span) in batch.spans.iter().enumerate() {
            let scope = if mutant::is(Mutant::FirstEnvelope) { 0 } else { span.scope as usize };
            let scope = self.scratch.scopes[scope];
            if self.assembly.is_past(origin, span) {
                self.stats.past += 1;
                if self.settings.past != Past::Decide {
                    past.push(at as u32);
                    continue;
                }
            }
            match self.assembly.place(origin, span, scope, payload) {
                Placed::Held { trace, span } => self.hold((trace, span), scope, at, payload, batch),
                Placed::Late { verdict, old } => {
                    self.stats.late(verdict.reason);
                    self.learn_waits_of_late(origin, span);
                    if old {
                        self.renew(verdict, origin.partition, span);
                    }
                    if verdict.verdict.keep {
                        late.push((at as u32, verdict.verdict.threshold));
                    } else {
                        self.stats.late_dropped += 1;
                        self.stats.dropped += 1;
                        self.regret(origin, scope, payload, batch, span);
                    }
                }
                Placed::Skipped => self.stats.skipped += 1,
            }
        }
        let given = Given { payload, batch };
        if !late.is_empty() {
            self.forward_late(origin, &mut late, &given);
        }
        self.scratch.late = late;
        self.set_aside(origin, &past, &given);
        self.scratch.past = past;
        self.reject_spans(origin, &given);
    }

    /// Shows a span of a batch that joined a held trace to the policies this one began with.
    fn hold(&mut self, (trace, held): (u32, u32), scope: u32, at: usize, payload: &[u8], batch: &Batch) {
        let Self { assembly, sets, .. } = self;
        let (Live { edition, scratch, .. }, batch) = sets.of(assembly.generation_of(trace), batch);
        let (policies, span) = (&edition.policies, &batch.spans[at]);
        let (context, bits, counts, notes) = assembly.facts_in(trace, held, scope);
        policies.observe(context, payload, batch, span, scratch, bits, counts, notes);
        let (acts, service, name) = (model::acts(notes), context.service, span.name);
        if policies.asks_links() {
            let links = detail::links(span.bytes.of(payload)).filter(|link| is_trace_id(link.trace_id));
            links.for_each(|link| assembly.note_link(trace, linked(link.trace_id)));
        }
        if (acts || span.is_root()) && assembly.crown(trace, span, acts) {
            policies.crown(payload, batch, span, scratch, assembly.facts(trace).0);
            self.expect(trace, service, name.of(payload));
        }
        self.assembly.arm(trace);
    }
}

/// Those of a context that is not valid name nothing.
fn is_trace_id(id: &[u8]) -> bool {
    id.try_into().is_ok_and(|id: [u8; 16]| id != [0; 16])
}
