//! An attribute that is a number here and text there: of different types nothing is equal.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Policy, tests};
use crate::{
    decide::condition::{Around, Constant, SpanTest, Subject, Test},
    diagnostic::{Diagnostics, Location},
};

/// A path, of what it is and what its name is.
type Path<'w> = (&'static str, &'w Subject);

pub fn find(all: &[Policy<'_>], found: &mut Diagnostics) {
    // How each path was first compared; None once it was told.
    let mut known: HashMap<Path<'_>, Option<(&'static str, Location)>, FixedState> = HashMap::default();
    for condition in all.iter().filter_map(|policy| policy.condition.as_ref()) {
        let mut here: HashMap<Path<'_>, Vec<(&'static str, _)>, FixedState> = HashMap::default();
        tests(&condition.written, "", &mut |at, function, test| {
            if let Some(kind) = kind(test) {
                let is_of_span = matches!(test.subject, Subject::OfSpan(_));
                let of_item = ["any_event", "any_link"].contains(&function) && !is_of_span;
                let of = if of_item { "item" } else { "span" };
                here.entry((of, test.subject.bare())).or_default().push((kind, at));
            }
        });
        let mut here: Vec<_> = here.into_iter().collect();
        here.sort_by_key(|(_, compared)| compared[0].1.start);
        for (path, compared) in here {
            let (kind, at) = compared[0];
            // Who compares with both knows that it may be either.
            if compared.iter().any(|(other, _)| *other != kind) {
                continue;
            }
            match known.entry(path).or_insert_with(|| Some((kind, condition.at(at)))) {
                Some((first, place)) if *first != kind => {
                    let text = condition.text(at);
                    found
                        .warn(&condition.at(at), format!("`{text}` compares with {kind} what is {first} elsewhere"))
                        .also(place, format!("{first} here"))
                        .hint(
                            "values of different types are never equal: write what is sent, or `Int(…)`, `String(…)`",
                        );
                    known.insert(path, None);
                }
                _ => {}
            }
        }
    }
}

/// The type that a sender has to send for this to hold.
fn kind(SpanTest { subject, test }: &SpanTest) -> Option<&'static str> {
    let is_any = matches!(
        subject.bare(),
        Subject::Attribute(_)
            | Subject::ResourceAttribute(_)
            | Subject::Inside(..)
            | Subject::Around(Around::ScopeAttribute(_))
    );
    let Test::Compare(_, constant) = test else { return None };
    match constant {
        _ if !is_any => None,
        Constant::Text(_) => Some("text"),
        Constant::Int(_) | Constant::Float(_) => Some("a number"),
        Constant::Bool(_) => Some("true or false"),
        Constant::Nil | Constant::Bytes(_) => None,
    }
}
