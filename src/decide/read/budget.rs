//! Budgets, as written.

use std::ops::Range;

use super::Reader;
use crate::{
    decide::{
        Action,
        budget::{Budget, OUTSIDE},
        fnv::fnv,
        tree::mix,
    },
    sample::{
        Ceiling,
        budget::{CLASSES, PROTECTED},
    },
    yaml::{Fields, Kind, Node},
};

/// A budget over some of the policies.
#[derive(Debug)]
pub struct Read {
    /// Its classes are of these alone.
    budget: Budget,
    over: Range<usize>,
    /// Of all of a file.
    outermost: bool,
}

/// The class of those that nothing is said of, and the last, of what `otherwise` keeps.
const OTHERS: u8 = 1;
const REST: u8 = CLASSES as u8 - 1;
/// Between them are those that give way.
const NAMES_MAX: usize = CLASSES - 3;

impl<'a> Reader<'a, '_> {
    /// Of a group of this name, or of all, over the policies at these places.
    pub(super) fn budget(&mut self, node: &'a Node, group: &str, over: Range<usize>) {
        let read = self.read_budget(node, group, &over);
        let outermost = group.is_empty();
        self.budgets.extend(read.map(|budget| Read { budget, over, outermost }));
    }

    fn read_budget(&mut self, node: &'a Node, group: &str, over: &Range<usize>) -> Option<Budget> {
        if !matches!(node.kind, Kind::Map(_)) {
            let message = format!("`budget` must be a mapping, not {}", node.noun());
            return self.error(node, &message, "write `budget: { spans_per_second: 5000, give_way: [baseline] }`");
        }
        let mut fields = Fields::of(node, "`budget`", self.diagnostics)?;
        let give_way = fields.take("give_way");
        let ceiling = self.ceiling(&mut fields);
        fields.finish(self.diagnostics);
        let names = give_way.map_or(Some(&[][..]), |node| node.as_seq("`give_way`", self.diagnostics))?;
        if let Some(node) = names.get(NAMES_MAX) {
            let hint = "put some of them into a group: it gives way as one";
            return self.error(node, &format!("more than {NAMES_MAX} give way one after the other"), hint);
        }
        let classes = self.classes(names, over)?;
        let (unit, per_second, burst, said) = ceiling?;
        let texts: Vec<_> = names.iter().map(Node::text).collect();
        Some(Budget {
            state: mix(mix(fnv(group.as_bytes()), fnv(b"budget")), fnv(unit.name().as_bytes())),
            ceiling: Ceiling::budget(per_second, burst),
            unit,
            classes,
            written: format!("{{ {said}, give_way: [{}] }}", texts.join(", ")),
        })
    }

    /// Of each of these policies, if those that give way are `names`, the first first.
    fn classes(&mut self, names: &'a [Node], over: &Range<usize>) -> Option<Box<[u8]>> {
        let mut classes = vec![OTHERS; over.len()];
        let mut whole = true;
        for (at, node) in names.iter().enumerate() {
            let name = node.as_str("a name", self.diagnostics)?;
            match self.member(name, over) {
                Some(of) => classes[of.start - over.start..of.end - over.start].fill(REST - 1 - at as u8),
                // A policy with a mistake may have the name.
                None if self.policies[over.clone()].iter().any(Option::is_none) => whole = false,
                None => {
                    let hint = "name policies or groups that stand directly under the budget";
                    self.diagnostics.error(&node.at, format!("no policy `{name}` is under this budget")).hint(hint);
                    whole = false;
                }
            }
        }
        for (class, policy) in classes.iter_mut().zip(&self.policies[over.clone()]) {
            if policy.as_ref().is_some_and(|policy| policy.action.is_protected()) {
                *class = PROTECTED as u8;
            }
        }
        for node in names {
            if let Some(of) = self.member(node.text(), over)
                && self.policies[of.start].as_ref().is_some_and(|policy| policy.action.is_protected())
            {
                let hint = "remove it here, or its `protect: true`";
                self.diagnostics
                    .error(&node.at, format!("`{}` is protected: it gives way last", node.text()))
                    .hint(hint);
                whole = false;
            }
        }
        whole.then(|| classes.into())
    }

    /// The places of a policy, or of a group and those in it, that stands in a list and in no group of it.
    fn member(&self, name: &str, over: &Range<usize>) -> Option<Range<usize>> {
        let mut at = over.start;
        while at < over.end {
            let policy = self.policies[at].as_ref()?;
            let end = match &policy.action {
                Action::Group(list) => usize::from(list.policies.end),
                _ => at + 1,
            };
            if policy.name == name {
                return Some(at..end);
            }
            at = end;
        }
        None
    }
}

// === impl Read ===

impl Read {
    /// Among so many policies.
    pub fn over(self, policies: usize) -> Budget {
        let Self { budget, over, outermost } = self;
        let mut classes = vec![OUTSIDE; policies + 1];
        classes[over.clone()].copy_from_slice(&budget.classes);
        if outermost {
            classes[policies] = REST;
        } else {
            // The group itself stands before its policies, and keeps by its `otherwise`.
            classes[over.start - 1] = REST;
        }
        Budget { classes: classes.into(), ..budget }
    }
}
