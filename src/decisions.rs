//! The decision log: every verdict, kept and dropped, as records that outlive a worker.
//!
//! Their schema is public: [`schema`], and `decisions.proto` for other programs. Here they become records and are read back,
//! without I/O.

pub mod schema;

use prost::Message;

use crate::{
    assemble::Reason,
    decide::Verdict,
    model::{Fingerprint, RecordTime, Threshold, TraceId},
    sample::Rank,
};

/// A verdict, and all that has to be remembered of its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub trace: TraceId,
    pub verdict: Verdict,
    /// How far down it is among those that the samplers of its policy keep, as far as they say so.
    pub rank: Option<Rank>,
    pub reason: Reason,
    pub decided: RecordTime,
    /// The spans of the trace so far.
    pub spans: u32,
    /// The policies that were asked.
    pub policies: Fingerprint,
}

/// A record that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub incarnation: u64,
    pub tick: u64,
    pub decisions: Vec<Decision>,
}

/// Why a record cannot be read, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("a newer version wrote it (format {0}; this one reads up to {FORMAT}); run that version")]
    Newer(u32),
    #[error(
        "it is not a record of decisions ({0}); let nothing else write to this topic, and go on with a new `input.group`"
    )]
    Foreign(String),
}

/// The format that is written, and the only one there is.
const FORMAT: u32 = 1;
/// Bytes that any record may have: a head, one decision and the longest name of a policy fit in.
pub const LEAST_LIMIT: usize = 256;

/// Packs the decisions of one tick for one partition into the values of records of at most `limit` bytes, which is to be
/// at least [`LEAST_LIMIT`]. `names` are the policies that verdicts name by number.
pub fn encode(
    incarnation: u64,
    tick: u64,
    decisions: impl Iterator<Item = Decision>,
    names: &[String],
    limit: usize,
) -> Vec<Vec<u8>> {
    let head = schema::Decisions { format: FORMAT, incarnation, tick, ..Default::default() }.encode_to_vec();
    let mut packer =
        Packer { values: Vec::new(), head, places: vec![0; names.len()], named: 0, sets: Vec::new(), limit };
    let mut part = schema::Decisions { decisions: vec![schema::Decision::default()], ..Default::default() };
    for decision in decisions {
        packer.push(&decision, names, &mut part);
    }
    packer.values
}

/// Reads a record's value. A policy that is not among `names` any more becomes None.
///
/// # Errors
/// A newer version or something else wrote it. Nothing is skipped: a decision that is not remembered is made again.
pub fn decode(value: &[u8], names: &[String]) -> Result<Logged, Unreadable> {
    let record = schema::Decisions::decode(value).map_err(|error| foreign(error.to_string()))?;
    match record.format {
        FORMAT => {}
        0 => return Err(foreign("it has no format")),
        newer => return Err(Unreadable::Newer(newer)),
    }
    let policies: Vec<Option<u16>> = record.policies.iter().map(|name| number(name, names)).collect();
    let sets = if record.sets.is_empty() { &[0] } else { &*record.sets };
    let read = |decision| read(decision, &policies, sets);
    let decisions = record.decisions.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Logged { incarnation: record.incarnation, tick: record.tick, decisions })
}

/// Fills one record after the other.
///
/// Messages laid end to end are one message, in which lists are joined: so a record grows by parts, and its size is known
/// before a part is added.
struct Packer {
    values: Vec<Vec<u8>>,
    head: Vec<u8>,
    /// By policy: its place among the names of the last record, from 1 on; 0 where it is not named there.
    places: Vec<u32>,
    /// Names in the last record.
    named: u32,
    /// Those of the last record.
    sets: Vec<Fingerprint>,
    limit: usize,
}

// === impl Packer ===

impl Packer {
    /// Adds a decision; `part` is scratch space with one decision in it.
    fn push(&mut self, decision: &Decision, names: &[String], part: &mut schema::Decisions) {
        write(decision, &mut part.decisions[0]);
        let policy = decision.verdict.policy.map(usize::from);
        self.name(policy, names, part);
        self.name_set(decision.policies, part);
        let room = self.values.last().map_or(0, |value| self.limit.saturating_sub(value.len()));
        if part.encoded_len() > room {
            self.begin();
            self.name(policy, names, part);
            self.name_set(decision.policies, part);
        }
        if let Some(policy) = policy {
            self.places[policy] = part.decisions[0].policy;
            self.named = self.named.max(part.decisions[0].policy);
        }
        self.sets.extend(part.sets.first().map(|set| Fingerprint(*set)));
        let value = self.values.last_mut().expect("the first part finds no room");
        part.encode(value).expect("a vector grows");
    }

    fn begin(&mut self) {
        self.values.push(self.head.clone());
        self.places.fill(0);
        self.named = 0;
        self.sets.clear();
    }

    /// Numbers the policy by its place in the last record, and adds its name where it has none there.
    fn name(&self, policy: Option<usize>, names: &[String], part: &mut schema::Decisions) {
        part.policies.clear();
        part.decisions[0].policy = match policy.map(|policy| (policy, self.places[policy])) {
            None => 0,
            Some((policy, 0)) => {
                part.policies.push(names[policy].clone());
                self.named + 1
            }
            Some((_, place)) => place,
        };
    }

    /// The same with the policies that were asked. There are few of them: what was in force lately.
    fn name_set(&self, policies: Fingerprint, part: &mut schema::Decisions) {
        part.sets.clear();
        let place = self.sets.iter().position(|set| *set == policies).unwrap_or_else(|| {
            part.sets.push(policies.0);
            self.sets.len()
        });
        part.decisions[0].set = place as u32;
    }
}

/// All but the policy and the set, whose numbers depend on the record.
fn write(decision: &Decision, to: &mut schema::Decision) {
    let Decision { trace, verdict, rank, reason, decided, spans, policies: _ } = decision;
    to.trace_id.clear();
    to.trace_id.extend(trace.0);
    to.keep = verdict.keep;
    to.set_reason(schema::Reason::from(*reason));
    to.threshold = (verdict.threshold != usual(verdict.keep)).then_some(verdict.threshold.0);
    to.decided_at = decided.0;
    to.spans = *spans;
    to.rank = rank.map(|Rank { before, most }| schema::Rank { before, most });
}

fn read(decision: &schema::Decision, policies: &[Option<u16>], sets: &[u32]) -> Result<Decision, Unreadable> {
    let policy = match decision.policy {
        0 => None,
        number => *policies
            .get(number as usize - 1)
            .ok_or_else(|| foreign(format!("a policy has the number {number}, of {}", policies.len())))?,
    };
    let reason = schema::Reason::try_from(decision.reason).ok().and_then(reason);
    let reason = reason.ok_or_else(|| foreign(format!("a reason has the number {}", decision.reason)))?;
    let threshold = decision.threshold.map_or(usual(decision.keep), Threshold);
    if threshold > Threshold::NEVER {
        return Err(foreign(format!("a threshold is {}", threshold.0)));
    }
    let verdict = Verdict { keep: decision.keep, policy, threshold };
    let trace = trace(&decision.trace_id)?;
    let set = sets.get(decision.set as usize);
    let set = set.ok_or_else(|| foreign(format!("a policy set has the number {}, of {}", decision.set, sets.len())))?;
    let (decided, policies) = (RecordTime(decision.decided_at), Fingerprint(*set));
    let rank = decision.rank.map(|schema::Rank { before, most }| Rank { before, most });
    Ok(Decision { trace, verdict, rank, reason, decided, spans: decision.spans, policies })
}

fn trace(id: &[u8]) -> Result<TraceId, Unreadable> {
    TraceId::new(id).ok_or_else(|| match id.len() {
        16 => foreign("a trace id is zero"),
        len => foreign(format!("a trace id has {len} bytes, not 16")),
    })
}

fn foreign(why: impl Into<String>) -> Unreadable {
    Unreadable::Foreign(why.into())
}

/// The threshold of what is kept or dropped without sampling.
fn usual(keep: bool) -> Threshold {
    if keep { Threshold::ALWAYS } else { Threshold::NEVER }
}

fn number(name: &str, names: &[String]) -> Option<u16> {
    let place = names.iter().position(|known| known == name)?;
    u16::try_from(place).ok()
}

/// None of one that is never written.
fn reason(reason: schema::Reason) -> Option<Reason> {
    match reason {
        schema::Reason::Unspecified => None,
        schema::Reason::Structure => Some(Reason::Structure),
        schema::Reason::MaxWait => Some(Reason::MaxWait),
        schema::Reason::Torn => Some(Reason::Torn),
        schema::Reason::Size => Some(Reason::Size),
        schema::Reason::Memory => Some(Reason::Memory),
        schema::Reason::End => Some(Reason::End),
    }
}

// === impl schema::Reason ===

impl From<Reason> for schema::Reason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Structure => Self::Structure,
            Reason::MaxWait => Self::MaxWait,
            Reason::Torn => Self::Torn,
            Reason::Size => Self::Size,
            Reason::Memory => Self::Memory,
            Reason::End => Self::End,
        }
    }
}

#[cfg(test)]
mod tests;
