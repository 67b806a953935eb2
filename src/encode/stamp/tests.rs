use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, TracesData},
};
use proptest::{prelude::*, sample::select};
use prost::Message;

use super::*;
use crate::{
    decode::{self, Batch, Keys, arbitrary},
    encode::Item,
};

const HALF: Threshold = Threshold(1 << 55);
const NOTES: Notes<'_> = Notes { policy: "errors", reason: "always", completion: "structure" };
const WEIGHTS: Stamps = Stamps { weights: true, ..Stamps::NONE };

struct Case {
    stamps: Stamps,
    trace: TraceId,
    randomness: Randomness,
    threshold: Threshold,
}

/// A trace that reaches three quarters.
const CASE: Case = Case {
    stamps: WEIGHTS,
    trace: TraceId([1, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0]),
    randomness: Randomness(3 << 54),
    threshold: HALF,
};

impl Case {
    fn stamped(&self, body: &[u8], is_root: bool) -> Vec<u8> {
        let Self { stamps, trace, randomness, threshold } = *self;
        let mut stamped = b"of another span".to_vec();
        let mut stamp =
            Stamp { stamps, trace, randomness, threshold, notes: NOTES, stamped: &mut stamped, before: None };
        // The second time it is remembered.
        let edits = [stamp.edit(body, is_root), stamp.edit(body, is_root)];
        let [first, second] = edits.map(|edit| edit.parts(body, &stamped).concat());
        assert_eq!(first, second);
        first
    }

    /// The trace state that goes out, and whether the probability is said to be unknown.
    fn out(&self, trace_state: &str) -> (String, bool) {
        let span = Span { trace_id: self.trace.0.to_vec(), trace_state: trace_state.to_owned(), ..Span::default() };
        let out = Span::decode(&self.stamped(&span.encode_to_vec(), false)[..]).expect("a span");
        let unknown = out.attributes.iter().map(|attribute| attribute.key.as_str()).collect::<Vec<_>>();
        assert!(unknown.is_empty() || unknown == ["sampling.unknown"], "{unknown:?}");
        let is_unknown = !unknown.is_empty();
        assert_eq!(out.attributes.first().map(value), is_unknown.then_some(Value::BoolValue(true)));
        (out.trace_state, is_unknown)
    }
}

fn value(attribute: &KeyValue) -> Value {
    attribute.value.clone().and_then(|value| value.value).expect("a value")
}

fn known(trace_state: &str) -> (String, bool) {
    (trace_state.to_owned(), false)
}

fn unknown(trace_state: &str) -> (String, bool) {
    (trace_state.to_owned(), true)
}

#[test]
fn the_greater_threshold_goes_out() {
    for (before, after) in [
        ("", known("ot=th:8")),
        ("ot=th:0", known("ot=th:8")),
        ("ot=th:4", known("ot=th:8")),
        ("ot=th:c,a=1", known("ot=th:c,a=1")),
        ("a=1,ot=th:c000", known("a=1,ot=th:c000")),
        ("a=1,ot=x:y", known("ot=x:y;th:8,a=1")),
        // R < T: not by this randomness.
        ("a=1,ot=th:d", unknown("a=1")),
        ("ot=th:d;x:y", unknown("ot=x:y")),
        // R is what `rv` says.
        ("ot=th:d;rv:e0000000000000", unknown("ot=rv:e0000000000000")),
        ("ot=th:D", unknown("")),
    ] {
        assert_eq!(CASE.out(before), after, "{before}");
    }
    // All were kept: each span by its own randomness.
    let always = Case { threshold: Threshold::ALWAYS, ..CASE };
    for (before, after) in [
        ("", known("ot=th:0")),
        ("ot=th:d;rv:e0000000000000", known("ot=th:d;rv:e0000000000000")),
        ("ot=th:d", unknown("")),
        ("ot=th:;rv:e0000000000000", unknown("ot=rv:e0000000000000")),
    ] {
        assert_eq!(always.out(before), after, "{before}");
    }
    assert_eq!(
        Case { threshold: Threshold(0xfd70a3d70a3d71), randomness: Randomness(u64::MAX >> 8), ..CASE }.out(""),
        known("ot=rv:ffffffffffffff;th:fd70a3d70a3d71"),
        "by another randomness, which is said"
    );
}

/// Cells of a table in a Markdown file are text between backquotes.
#[test]
fn the_table_in_the_docs_is_so() {
    let page = include_str!("../../../docs/sampling.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| R | came with")).skip(2);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 5);
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let texts = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let [randomness, before, threshold] = [1, 2, 3].map(|cell| texts(cells[cell]).pop().unwrap_or_default());
        assert_eq!(randomness, format!("{:014x}", CASE.randomness.0));
        let threshold = explicit_threshold(format!("ot=th:{threshold}").as_bytes()).expect("legible").expect("one");
        let (state, is_unknown) = Case { threshold, ..CASE }.out(&before);
        let mut out = vec![state];
        out.retain(|state| !state.is_empty());
        out.extend(is_unknown.then(|| UNKNOWN.to_owned()));
        assert_eq!(texts(cells[4]), out, "{row}");
    }
}

#[test]
fn two_draws_are_no_threshold() {
    let hashed = Case { randomness: Randomness(0x9_0000_0000_0000 << 4), ..CASE };
    assert_eq!(hashed.out(""), known("ot=rv:90000000000000;th:8"));
    assert_eq!(hashed.out("ot=th:0"), known("ot=rv:90000000000000;th:8"));
    assert_eq!(hashed.out("ot=th:4"), unknown(""));
    assert_eq!(hashed.out("ot=rv:f0000000000000"), unknown("ot=rv:f0000000000000"));
    assert_eq!(hashed.out("ot=rv:90000000000000;th:4"), known("ot=rv:90000000000000;th:8"), "it is the same");
    // A late span whose policies are others by now.
    let changed = Case { randomness: Randomness(1), ..CASE };
    assert_eq!(changed.out(""), unknown(""));
}

#[test]
fn what_nobody_says_is_unknown_where_it_is_not_assumed() {
    let unsaid = Case { stamps: Stamps { assume_unsampled: false, ..WEIGHTS }, ..CASE };
    assert_eq!(unsaid.out(""), unknown(""));
    assert_eq!(unsaid.out("a=1,ot=rv:c0000000000000"), unknown("a=1,ot=rv:c0000000000000"));
    assert_eq!(unsaid.out("ot=th:4"), known("ot=th:8"));
    // What was unknown before stays so, and is said once.
    let span = Span { trace_id: CASE.trace.0.to_vec(), ..Span::default() };
    let once = unsaid.stamped(&span.encode_to_vec(), false);
    assert_eq!(CASE.stamped(&once, false), once);
}

#[test]
fn no_room_is_unknown() {
    let long = format!("ot=x:{},a=1", "y".repeat(252));
    assert_eq!(CASE.out(&long), unknown(&long));
}

#[test]
fn the_last_of_several_trace_states_counts() {
    let state = |text: &str| {
        let mut field = Vec::new();
        put_bytes(TRACE_STATE, text.as_bytes(), &mut field);
        field
    };
    let body = [state("ot=th:4"), state("ot=th:d")].concat();
    let out = Span::decode(&CASE.stamped(&body, false)[..]).expect("a span");
    assert_eq!(out.trace_state, "", "and not the first, once the last is erased");
}

#[test]
fn notes_are_for_the_root_and_one_by_one() {
    let span = Span { trace_id: CASE.trace.0.to_vec(), name: "root".to_owned(), ..Span::default() };
    let body = span.encode_to_vec();
    let all = [("tailwater.policy", "errors"), ("tailwater.reason", "always"), ("tailwater.completion", "structure")];
    for mask in 0..8_usize {
        let [policy, reason, completion] = [1, 2, 4].map(|bit| mask & bit != 0);
        let case = Case { stamps: Stamps { policy, reason, completion, ..Stamps::NONE }, ..CASE };
        let out = Span::decode(&case.stamped(&body, true)[..]).expect("a span");
        let notes: Vec<_> = out.attributes.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect();
        let wanted = all.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1);
        let wanted: Vec<_> =
            wanted.map(|(_, (key, text))| ((*key).to_owned(), Value::StringValue((*text).to_owned()))).collect();
        assert_eq!(notes, wanted);
        assert_eq!(Span { attributes: Vec::new(), ..out }, span);
        assert_eq!(case.stamped(&body, false), body, "another span goes as it came");
    }
}

/// Trace states as they may come.
fn trace_state() -> impl Strategy<Value = String> {
    let pair = select(vec!["th:0", "th:8", "th:c1", "th:", "th:ffffffffffffff", "rv:c0000000000000", "x:y", "", "th"]);
    let member = prop_oneof![
        3 => prop::collection::vec(pair, 0..4).prop_map(|pairs| format!("ot={}", pairs.join(";"))),
        2 => "[a-z]{1,3}=[a-z]{0,9}",
        1 => "[ -~]{0,9}",
    ];
    prop::collection::vec(member, 0..40).prop_map(|members| members.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// As another decoder sees it, nothing changes but what is to; and as bytes, one place.
    #[test]
    fn a_stamp_can_be_taken_off(
        data in arbitrary::traces_data(),
        states in prop::collection::vec(trace_state(), 1..6),
        seed in any::<u64>(),
        threshold in select(vec![0, 1 << 55, 3 << 54, (1 << 56) - 1]),
        [weights, assume_unsampled, policy, is_root] in any::<[bool; 4]>(),
    ) {
        let mut data: TracesData = data;
        let spans = data.resource_spans.iter_mut().flat_map(|of| &mut of.scope_spans).flat_map(|of| &mut of.spans);
        spans.zip(states.iter().cycle()).for_each(|(span, state)| span.trace_state.clone_from(state));
        let payload = arbitrary::shaken(&data, seed);
        let mut batch = Batch::default();
        // Nothing but unknown fields is no record.
        prop_assume!(decode::decode(&payload, &Keys::new([]), &mut batch).is_ok());
        for span in &batch.spans {
            let trace = TraceId(span.trace_id);
            let randomness = span.randomness.unwrap_or_else(|| trace.randomness());
            let stamps = Stamps { weights, assume_unsampled, policy, ..Stamps::NONE };
            let body = span.bytes.of(&payload);
            let mut stamped = Vec::new();
            let threshold = Threshold(threshold);
            let edit = Stamp { stamps, trace, randomness, threshold, notes: NOTES, stamped: &mut stamped, before: None }
                .edit(body, is_root);
            let out = edit.parts(body, &stamped).concat();
            let mut item = Item {
                resource: 0, scope: 0, order: 0, span: 0, len: body.len() as u32, edit: Edit::default(),
            };
            item.stamp(edit);
            prop_assert_eq!(item.len as usize, out.len());
            item.unstamp();
            prop_assert_eq!(item.len as usize, body.len());

            let (before, mut after) = (Span::decode(body).expect("a span"), Span::decode(&out[..]).expect("a span"));
            let (was, is) = (explicit_threshold(before.trace_state.as_bytes()), explicit_threshold(after.trace_state.as_bytes()));
            if weights {
                let out = is.expect("legible");
                let marked = after.attributes.iter().any(|attribute| attribute.key == UNKNOWN);
                prop_assert_eq!(out.is_none(), marked);
                prop_assert!(out.is_none_or(|out| out <= Threshold(randomness.0) && out >= threshold.max(was.unwrap_or(None).unwrap_or(threshold))));
            } else {
                prop_assert_eq!(&before.trace_state, &after.trace_state);
            }
            let entries = |state: &str| {
                let others = state.split(',').map(str::trim).filter(|member| !member.is_empty() && !member.starts_with("ot="));
                others.map(str::to_owned).collect::<Vec<_>>()
            };
            let (were, are) = (entries(&before.trace_state), entries(&after.trace_state));
            prop_assert!(were.starts_with(&are) && (are.len() == were.len() || after.trace_state.split(',').count() == 32));
            prop_assert_eq!(explicit_randomness(before.trace_state.as_bytes()), explicit_randomness(after.trace_state.as_bytes()));
            let ours = |attribute: &KeyValue| attribute.key == UNKNOWN || attribute.key.starts_with("tailwater.");
            prop_assert_eq!(after.attributes.iter().any(|attribute| attribute.key == "tailwater.policy"), policy && is_root);
            after.attributes.retain(|attribute| !ours(attribute));
            after.trace_state.clone_from(&before.trace_state);
            // By their text: a number may be none.
            prop_assert_eq!(format!("{after:?}"), format!("{before:?}"));
        }
    }
}

#[test]
fn a_start_is_found() {
    let span = Span { start_time_unix_nano: 7, name: "x".to_owned(), ..Span::default() };
    assert_eq!((start(&span.encode_to_vec()), start(b"")), (7, 0));
}
