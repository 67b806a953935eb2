//! `root.attributes["x"] != "y"`: it holds also where nobody sent an `x`.

use super::{About, Condition, is_nil, negative, tests};
use crate::{
    decide::condition::{
        Around, Constant, Field, Formula, Op, SpanTest, Subject, Test,
        proof::{Proof, ways},
        written::Written,
    },
    diagnostic::Diagnostics,
};

/// The attribute that every sender sends.
const SERVICE: &str = "service.name";

pub fn find(condition: &Condition<'_>, proof: &mut Proof, found: &mut Diagnostics) {
    // Whoever writes `nil` of a path has thought of it.
    let mut thought_of = Vec::new();
    tests(&condition.written, "", &mut |_, _, test| {
        if is_nil(test) {
            thought_of.push(&test.subject);
        }
    });
    search(condition, &condition.written, &thought_of, proof, found);
    for argument in condition.arguments() {
        // `all(x != y)` is `none(x == y)`, and says so.
        if argument.function != "all" && !negative::is_trap(argument) {
            search(condition, &argument.condition, &thought_of, proof, found);
        }
    }
}

fn search<L: About>(
    condition: &Condition<'_>,
    written: &Written<L>,
    thought_of: &[&Subject],
    proof: &mut Proof,
    found: &mut Diagnostics,
) {
    let mut told: Vec<&L> = Vec::new();
    for way in ways(&written.formula, true).unwrap_or_default() {
        for (asked, whether) in &way {
            let Some(test) = asked.test() else { continue };
            if *whether || !holds_of_nil(test) || thought_of.contains(&&test.subject) || told.contains(asked) {
                continue;
            }
            let nil = L::of(SpanTest { subject: test.subject.clone(), test: Test::Compare(Op::Eq, Constant::Nil) });
            if proof.clash(&[way.as_slice(), &[(&nil, true)]].concat()) {
                continue;
            }
            told.push(asked);
            tell(condition, written, asked, found);
        }
    }
}

fn tell<L: About>(condition: &Condition<'_>, written: &Written<L>, asked: &L, found: &mut Diagnostics) {
    let mut place = None;
    written.leaves(&mut |leaf| {
        let is_it = match &leaf.formula {
            Formula::Leaf(leaf) => leaf == asked,
            Formula::Not(inner) => matches!(&**inner, Formula::Leaf(leaf) if leaf == asked),
            _ => false,
        };
        if is_it && place.is_none() {
            place = Some(leaf);
        }
    });
    let Some(leaf) = place else { return };
    let text = condition.text(&leaf.at);
    // The path is all that stands before the operator, or the first argument.
    let path = text.trim_start_matches("IsMatch(").split(['=', '!', '<', '>', ',']).next().unwrap_or(text).trim();
    let text = if matches!(leaf.formula, Formula::Not(_)) { text.to_owned() } else { format!("not {text}") };
    found
        .warn(&condition.at(&leaf.at), format!("`{text}` holds also where `{path}` is absent"))
        .hint(format!("say which is meant: `{path} != nil and {text}`, or `({path} == nil or {text})`"));
}

/// Whether its negation holds where nothing was sent that need not be.
fn holds_of_nil(SpanTest { subject, test }: &SpanTest) -> bool {
    let may_lack = match subject.bare() {
        Subject::Attribute(_) | Subject::Inside(..) => true,
        Subject::ResourceAttribute(key) => key != SERVICE,
        Subject::Around(Around::ScopeAttribute(_)) => true,
        Subject::Field(Field::TraceStateEntry(_) | Field::Header(_)) => true,
        _ => false,
    };
    // What is not marked as true is not true.
    let compares = match test {
        Test::Compare(_, constant) => !matches!(constant, Constant::Nil | Constant::Bool(_)),
        Test::Matches(_) => true,
        Test::Comes(..) | Test::Any(_) => false,
    };
    may_lack && compares
}
