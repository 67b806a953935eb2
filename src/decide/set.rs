//! All policies of a processor, compiled.

use std::{iter, ops::Range};

use super::{
    Action, Context, Part, Policy, Scratch,
    budget::Budget,
    condition::Field,
    fnv::fnv,
    follow::Follower,
    part::{Part as Value, Place},
    policy::List,
    program::{self, Program, Source},
    randomness, read,
    sampler::Sampler,
};
use crate::{
    decode::{self, Batch, Headers, Malformed, Span},
    diagnostic::Diagnostics,
    model::{Fingerprint, Randomness, Threshold, TraceId},
    yaml::{Kind, Node},
};

/// Policies as they are in force: never changed, and shared by all workers.
#[derive(Debug)]
pub struct PolicySet {
    /// Those of the files; the others are in groups.
    pub(super) list: List,
    pub(super) policies: Vec<Policy>,
    /// Those that learn.
    pub(super) samplers: Vec<Sampler<Place>>,
    /// Those of groups before those around them.
    pub(super) budgets: Vec<Budget>,
    /// Classes of all budgets.
    pub(super) claims: usize,
    pub(super) followers: Vec<Follower>,
    pub(super) has_shadows: bool,
    randomness: randomness::Source,
    /// The condition on what counts as a root, as text.
    pub(super) root: Option<String>,
    pub(super) program: Program,
    blank: Vec<u64>,
    fingerprint: Fingerprint,
}

// === impl PolicySet ===

impl PolicySet {
    /// Reads and compiles policies, in the order given. All mistakes go to `diagnostics`, and then there is no set.
    pub fn compile(parts: &[Part<'_>], diagnostics: &mut Diagnostics) -> Option<Self> {
        let read = read::read(parts, diagnostics)?;
        let conditions: Vec<_> = read.policies.iter().map(|policy| policy.when.clone()).collect();
        let aspects: Vec<_> = read.learning.iter().flat_map(|of| of.sampler.aspects(of.policy)).collect();
        let acts = read.root.as_ref().map(|(root, _)| root);
        let source = Source { conditions: &conditions, acts, aspects: &aspects };
        let (program, facts, places) = match program::compile(source) {
            Ok(compiled) => compiled,
            Err((place, full)) => {
                match read.policies.get(place) {
                    Some(policy) => diagnostics.error(&policy.at, full.to_string()),
                    // The condition on roots, where there are no policies.
                    None => diagnostics.error_nowhere(full.to_string()),
                };
                return None;
            }
        };
        let policy = |(read, when)| {
            let read::Policy { name, written, action, shadow, until, .. } = read;
            let written = written.map_or("", Node::text).to_owned();
            Policy { name, written, action, shadow, until, when }
        };
        let policies: Vec<_> = read.policies.into_iter().zip(facts).map(policy).collect();
        let has_shadows = policies.iter().any(|policy| policy.shadow);
        let mut blank = vec![0; program.seen_words()];
        blank.extend_from_slice(&program.nil[..program.root_words()]);
        blank.extend(program.parts.iter().map(Value::blank));
        let mut places = places.into_iter();
        let samplers = read.learning.into_iter().map(|of| of.sampler.placed(&mut places));
        let samplers = samplers.collect();
        let root = read.root.map(|(_, written)| written);
        Some(Self {
            list: read.list,
            policies,
            samplers,
            claims: read.budgets.iter().map(Budget::claims).sum(),
            budgets: read.budgets,
            followers: read.followers,
            has_shadows,
            randomness: read.randomness,
            root,
            program,
            blank,
            fingerprint: fingerprint(parts),
        })
    }

    /// Takes a record apart, into what is carried and what these policies look at.
    ///
    /// # Errors
    /// Something is malformed that they look at, or is more than a record may hold.
    pub fn decode(&self, payload: &[u8], headers: &dyn Headers, batch: &mut Batch) -> Result<(), Malformed> {
        decode::decode(payload, &self.program.keys, batch)?;
        self.program.beside.iter().try_for_each(|field| match field {
            Field::Header(key) => batch.note(headers.header(key)),
            _ => batch.note(headers.topic()),
        })
    }

    /// In the order written, each group before what it is made of; `Verdict::policy` is a place in it.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The policies and groups of a list, with their places, but not what is in its groups.
    pub(super) fn members(&self, list: &List) -> impl Iterator<Item = (u16, &Policy)> {
        let Range { mut start, end } = list.policies;
        iter::from_fn(move || {
            let number = start;
            let policy = (number < end).then(|| &self.policies[usize::from(number)])?;
            start = match &policy.action {
                Action::Group(inner) => inner.policies.end,
                _ => number + 1,
            };
            Some((number, policy))
        })
    }

    /// The samplers of a policy that learn, as it says them.
    pub fn samplers(&self, policy: &Policy) -> impl Iterator<Item = &str> {
        let samplers = match &policy.action {
            Action::Keep { samplers, .. } => usize::from(samplers.start)..usize::from(samplers.end),
            _ => 0..0,
        };
        self.samplers[samplers].iter().map(|sampler| sampler.written.as_str())
    }

    /// Those of groups before those around them.
    pub fn budgets(&self) -> &[Budget] {
        &self.budgets
    }

    /// The condition on what counts as a root, as text.
    pub fn root(&self) -> Option<&str> {
        self.root.as_deref()
    }

    /// Tells these policies from others.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// What of the rest is kept.
    pub fn otherwise(&self) -> Threshold {
        self.list.otherwise.unwrap_or(Threshold::NEVER)
    }

    /// How many words of bits the facts of a trace take.
    pub fn words(&self) -> usize {
        self.blank.len()
    }

    /// How many counters the facts of a trace take. They begin at 0.
    pub fn counters(&self) -> usize {
        self.program.counters
    }

    /// The bits of a trace of which nothing was seen: of a root that never comes everything is nil.
    pub fn blank(&self) -> &[u64] {
        &self.blank
    }

    /// How many words of notes are kept of each span.
    pub fn notes(&self) -> usize {
        self.program.notes()
    }

    /// Whether the call tree is asked for.
    pub fn asks_tree(&self) -> bool {
        self.program.asks_tree
    }

    /// What probabilities are decided by, of a trace with its `own` randomness.
    pub fn randomness(&self, trace: TraceId, own: Randomness) -> Randomness {
        self.randomness.of(trace, own)
    }

    /// What a worker needs to observe spans.
    pub fn scratch(&self) -> Scratch {
        Scratch::new(&self.program)
    }

    /// What spans of this resource and scope have in common: once for each, kept by the caller. Both are the fields of the
    /// message around the spans, as in `Batch::rest`.
    pub fn context(&self, resource_rest: &[u8], scope_rest: &[u8]) -> Context {
        Context::new(&self.program, resource_rest, scope_rest)
    }

    /// Folds a span of `batch`, which was decoded from `payload` for these policies, into the facts of its trace, and writes the
    /// `notes` that are kept of it.
    #[allow(clippy::too_many_arguments)]
    pub fn observe(
        &self,
        context: &Context,
        payload: &[u8],
        batch: &Batch,
        span: &Span,
        scratch: &mut Scratch,
        bits: &mut [u64],
        counts: &mut [u32],
        notes: &mut [u64],
    ) {
        self.program.observe(context, payload, batch, span, scratch, bits, counts, notes);
    }

    /// The span observed last is its trace's root from now on.
    pub fn crown(&self, payload: &[u8], batch: &Batch, span: &Span, scratch: &Scratch, bits: &mut [u64]) {
        self.program.crown(payload, batch, span, scratch, bits);
    }
}

/// Of policies as they are written, but for comments, layout and the tests beside them. It stands in the decision log, so it
/// may not change from version to version.
fn fingerprint(parts: &[Part<'_>]) -> Fingerprint {
    let mut said = Vec::new();
    for part in parts {
        match part {
            Part::File(node) => say(node, true, &mut said),
            Part::Policy(node) | Part::Root(node) => say(node, false, &mut said),
        }
    }
    let hash = fnv(&said);
    Fingerprint(((hash ^ hash >> 32) as u32).max(1))
}

/// What a node says, such that no two say the same.
fn say(node: &Node, is_file: bool, said: &mut Vec<u8>) {
    match &node.kind {
        Kind::Scalar { text, .. } => {
            said.push(if node.is_null() { b'0' } else { b'"' });
            said.extend((text.len() as u64).to_le_bytes());
            said.extend(text.as_bytes());
        }
        Kind::Seq(nodes) => {
            said.push(b'[');
            nodes.iter().for_each(|node| say(node, false, said));
            said.push(b']');
        }
        Kind::Map(entries) => {
            said.push(b'{');
            for (key, value) in entries.iter().filter(|(key, _)| !is_file || !key.is_text("tests")) {
                say(key, false, said);
                say(value, false, said);
            }
            said.push(b'}');
        }
    }
}
