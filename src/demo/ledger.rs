//! What was sent, what is due, and what of it was seen among the kept.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::{
    due::{Due, KEEPING, SLOW_NS, in_the_hundredth},
    stamp::Stamped,
};
use crate::{
    generate::{Truth, carried, otlp},
    model::TraceId,
};

/// Ground truth on one side, kept records on the other.
#[derive(Default)]
pub(super) struct Ledger {
    pub sent: Sent,
    pub seen: Seen,
    due: HashMap<TraceId, Entry>,
    /// Kept, and not due. Bounded by `MOST_UNEXPECTED`.
    unexpected: HashSet<TraceId>,
    killed: bool,
}

/// Of all traffic, and what others would have made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub traces: u64,
    pub spans: u64,
    /// By policy, as in [`KEEPING`].
    pub due: [u64; KEEPING.len()],
    pub due_traces: u64,
    pub due_spans: u64,
    pub head: Rival,
    pub threshold: Rival,
}

/// What a simpler sampler would have kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rival {
    pub traces: u64,
    /// Of the traces with an error.
    pub errors: u64,
    /// Of the slow traces.
    pub slow: u64,
}

/// Counted as records are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub spans: u64,
    /// Due traces of which every span that is not late was seen, by policy.
    pub whole: [u64; KEEPING.len()],
    /// Spans seen again, before and after the kill.
    pub doubled: [u64; 2],
    /// Spans of a due trace with other bytes than were sent, the stamp aside, or that were never sent.
    pub changed: u64,
    /// Spans of a due trace whose weight is not that of the policies that keep it.
    pub misweighed: u64,
    /// Records that hold no OTLP, or a span without ids.
    pub unreadable: u64,
    /// Spans in a record whose key is not their trace's id.
    pub misaddressed: u64,
}

/// How it stands, when all is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Due, but no span seen.
    pub lost: u64,
    /// Due, and seen in part.
    pub split: u64,
    pub unexpected: u64,
    pub late_due: u64,
    pub late_seen: u64,
    /// One trace that is not as it should be.
    pub example: Option<TraceId>,
}

struct Entry {
    due: Due,
    /// Spans that are not late and were not seen yet.
    missing: u32,
    spans: Vec<Expected>,
}

struct Expected {
    id: u64,
    fingerprint: u64,
    late: bool,
    copies: u32,
}

/// Beyond, another unexpected trace is not worth its memory: the run is red.
const MOST_UNEXPECTED: usize = 10_000;

// === impl Ledger ===

impl Ledger {
    /// Takes down a trace before any of its spans is sent.
    pub fn expect(&mut self, id: TraceId, truth: &Truth) {
        let due = Due::of(truth);
        let (error, slow) = (u64::from(truth.error), u64::from(truth.duration_ns > SLOW_NS));
        let sent = &mut self.sent;
        sent.traces += 1;
        sent.spans += truth.spans.len() as u64;
        for (rival, keeps) in [(&mut sent.head, in_the_hundredth(truth)), (&mut sent.threshold, slow > 0)] {
            if keeps {
                *rival = Rival { traces: rival.traces + 1, errors: rival.errors + error, slow: rival.slow + slow };
            }
        }
        if !due.kept() {
            return;
        }
        for (policy, count) in sent.due.iter_mut().enumerate() {
            *count += u64::from(due.by(policy));
        }
        sent.due_traces += 1;
        sent.due_spans += truth.spans.len() as u64;
        let spans: Vec<Expected> = truth
            .spans
            .iter()
            .map(|span| Expected { id: span.id, fingerprint: span.fingerprint, late: span.late, copies: 0 })
            .collect();
        let missing = spans.iter().filter(|span| !span.late).count() as u32;
        self.due.insert(id, Entry { due, missing, spans });
    }

    /// Takes down a kept record.
    pub fn observe(&mut self, key: Option<&[u8]>, value: &[u8]) {
        let Ok(spans) = carried(value) else {
            self.seen.unreadable += 1;
            return;
        };
        for mut span in spans {
            let Ok(mut stamped) = Stamped::read(&span.span) else {
                self.seen.unreadable += 1;
                continue;
            };
            span.span = std::mem::take(&mut stamped.span);
            let fingerprint = span.fingerprint();
            let decoded = otlp::Span::decode(&span.span[..]).unwrap_or_default();
            let ids = TraceId::new(&decoded.trace_id).zip(<[u8; 8]>::try_from(&decoded.span_id[..]).ok());
            let Some((trace, id)) = ids else {
                self.seen.unreadable += 1;
                continue;
            };
            self.seen.spans += 1;
            self.seen.misaddressed += u64::from(key != Some(&trace.hex()[..]));
            self.tick_off(trace, u64::from_be_bytes(id), fingerprint, &stamped);
        }
    }

    /// From here on, spans may come again.
    pub fn killed(&mut self) {
        self.killed = true;
    }

    #[cfg(test)]
    pub fn is_due(&self, id: TraceId) -> bool {
        self.due.contains_key(&id)
    }

    pub fn findings(&self) -> Findings {
        let mut findings = Findings { unexpected: self.unexpected.len() as u64, ..Findings::default() };
        findings.example = self.unexpected.iter().next().copied();
        for (id, entry) in &self.due {
            findings.late_due += entry.spans.iter().filter(|span| span.late).count() as u64;
            findings.late_seen += entry.spans.iter().filter(|span| span.late && span.copies > 0).count() as u64;
            let seen = entry.spans.iter().filter(|span| span.copies > 0).count();
            match seen {
                0 => findings.lost += 1,
                _ if seen < entry.spans.len() => findings.split += 1,
                _ => continue,
            }
            findings.example = Some(*id);
        }
        findings
    }

    fn tick_off(&mut self, trace: TraceId, id: u64, fingerprint: u64, stamped: &Stamped) {
        let Some(entry) = self.due.get_mut(&trace) else {
            if self.unexpected.len() < MOST_UNEXPECTED {
                self.unexpected.insert(trace);
            }
            return;
        };
        let Some(span) = entry.spans.iter_mut().find(|span| span.id == id) else {
            self.seen.changed += 1;
            return;
        };
        self.seen.changed += u64::from(span.fingerprint != fingerprint);
        self.seen.misweighed += u64::from(!stamped.weighs(entry.due));
        span.copies += 1;
        if span.copies > 1 {
            self.seen.doubled[usize::from(self.killed)] += 1;
        } else if !span.late {
            entry.missing -= 1;
            if entry.missing == 0 {
                for (policy, count) in self.seen.whole.iter_mut().enumerate() {
                    *count += u64::from(entry.due.by(policy));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Record, Shape, Trace, Traffic, keyed};

    /// A ledger of some traffic, its due traces and their records.
    fn set_up() -> (Ledger, Vec<(Trace, Vec<Record>)>) {
        let mut ledger = Ledger::default();
        let mut due = Vec::new();
        for trace in Traffic::new(3, Shape { late_share: 0.3, ..Shape::default() }).take(2_000) {
            ledger.expect(trace.id, &trace.truth);
            if Due::of(&trace.truth).kept() {
                due.push((trace.clone(), keyed(std::iter::once(trace)).collect()));
            }
        }
        assert!(due.len() > 20);
        (ledger, due)
    }

    /// A record as a perfect processor would stamp it.
    fn observe(ledger: &mut Ledger, record: &Record) {
        let mut data = otlp::TracesData::decode(&record.value[..]).unwrap();
        for span in data.resource_spans.iter_mut().flat_map(|of| &mut of.scope_spans).flat_map(|of| &mut of.spans) {
            let trace = TraceId::new(&span.trace_id).unwrap();
            let must = ledger.due.get(&trace).is_some_and(|entry| entry.due.must());
            span.trace_state = if must { "ot=th:0" } else { "ot=th:fd70a3d70a3d71" }.to_owned();
            span.attributes.push(otlp::KeyValue::new("tailwater.policy", "errors"));
        }
        ledger.observe(record.key.as_ref().map(|key| &key[..]), &data.encode_to_vec());
    }

    #[test]
    fn all_kept_is_green() {
        let (mut ledger, due) = set_up();
        due.iter().flat_map(|(_, records)| records).for_each(|record| observe(&mut ledger, record));
        let findings = ledger.findings();
        assert_eq!((findings.lost, findings.split, findings.unexpected), (0, 0, 0));
        assert!(findings.late_due > 0);
        assert_eq!(findings.late_due, findings.late_seen);
        assert_eq!(findings.example, None);
        assert_eq!(ledger.seen.whole, ledger.sent.due);
        assert_eq!(ledger.seen.spans, ledger.sent.due_spans);
        assert_eq!(ledger.seen, Seen { spans: ledger.seen.spans, whole: ledger.seen.whole, ..Seen::default() });
    }

    #[test]
    fn lost_split_and_late_are_told_apart() {
        let (mut ledger, due) = set_up();
        let split = due.iter().position(|(trace, _)| trace.spans.len() > 4).unwrap();
        let late = due.iter().rposition(|(trace, _)| trace.truth.spans.iter().any(|span| span.late)).unwrap();
        let lost = (0..due.len()).find(|at| *at != split && *at != late).unwrap();
        for (at, (_, records)) in due.iter().enumerate() {
            // A late span is the last, in a record of its own.
            let records = if at == split || at == late { &records[..records.len() - 1] } else { &records[..] };
            if at != lost {
                records.iter().for_each(|record| observe(&mut ledger, record));
            }
        }
        let findings = ledger.findings();
        assert_eq!((findings.lost, findings.split), (1, 2));
        assert_eq!(
            findings.late_due - findings.late_seen,
            due[lost].0.truth.spans.iter().filter(|s| s.late).count() as u64 + 1
        );
        assert!(findings.example.is_some());
    }

    #[test]
    fn doubles_are_told_by_the_kill() {
        let (mut ledger, due) = set_up();
        let record = &due[0].1[0];
        observe(&mut ledger, record);
        observe(&mut ledger, record);
        ledger.killed();
        observe(&mut ledger, record);
        let spans = record.spans.len() as u64;
        assert_eq!(ledger.seen.doubled, [spans, spans]);
    }

    #[test]
    fn changed_bytes_are_seen() {
        let (mut ledger, due) = set_up();
        let record = &due[0].1[0];
        let mut data = otlp::TracesData::decode(&record.value[..]).unwrap();
        data.resource_spans[0].scope_spans[0].spans[0].name.push('!');
        let key = record.key.as_ref().map(|key| &key[..]);
        ledger.observe(key, &data.encode_to_vec());
        assert_eq!(ledger.seen.changed, 1);
        data.resource_spans[0].scope_spans[0].spans[0].span_id = vec![9; 8];
        ledger.observe(key, &data.encode_to_vec());
        assert!(ledger.seen.changed >= 2, "a span that was never sent");
        let mut data = otlp::TracesData::decode(&due[1].1[0].value[..]).unwrap();
        let before = ledger.seen.changed;
        data.resource_spans[0].resource.as_mut().unwrap().attributes.pop();
        ledger.observe(due[1].1[0].key.as_ref().map(|key| &key[..]), &data.encode_to_vec());
        assert_eq!(ledger.seen.changed, before + due[1].1[0].spans.len() as u64, "a resource that lost an attribute");
    }

    #[test]
    fn a_wrong_weight_is_seen() {
        let (mut ledger, due) = set_up();
        let record = &due[0].1[0];
        ledger.observe(record.key.as_ref().map(|key| &key[..]), &record.value);
        assert_eq!((ledger.seen.misweighed, ledger.seen.changed), (record.spans.len() as u64, 0), "there is none");
    }

    #[test]
    fn strangers_are_seen() {
        let (mut ledger, due) = set_up();
        let stranger = Traffic::new(4, Shape::default()).next().unwrap();
        let records: Vec<Record> = keyed(std::iter::once(stranger)).collect();
        records.iter().for_each(|record| observe(&mut ledger, record));
        assert_eq!(ledger.findings().unexpected, 1);
        ledger.observe(Some(b"another key"), &due[0].1[0].value);
        assert_eq!(ledger.seen.misaddressed, due[0].1[0].spans.len() as u64);
        ledger.observe(None, &[0x0a, 0xff]);
        assert_eq!(ledger.seen.unreadable, 1);
    }

    #[test]
    fn rivals_keep_what_they_keep() {
        let mut ledger = Ledger::default();
        let traces: Vec<Trace> = Traffic::new(8, Shape::default()).take(20_000).collect();
        traces.iter().for_each(|trace| ledger.expect(trace.id, &trace.truth));
        let Sent { traces: all, due, head, threshold, .. } = ledger.sent;
        assert_eq!(all, 20_000);
        assert_eq!(threshold.traces, due[2]);
        assert_eq!(threshold.slow, due[2]);
        assert!(threshold.errors < due[0] / 5);
        assert!((150..250).contains(&head.traces) && head.errors < due[0] / 10);
    }
}
