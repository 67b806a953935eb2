//! An explanation for a person to read.

use std::fmt;

use super::{Asked, Explanation, Policy, Seen};
use crate::{
    decide::{
        Action, Verdict,
        condition::Scope,
        explain::{Found, Row},
        of_such, percentage,
    },
    decisions::Decision,
    model::Threshold,
    table::several,
    units,
};

/// Spans that are printed; the rest is a number.
const SPANS: usize = 20;
/// A part that is longer does not move the others to the right.
const WIDTH: usize = 72;
/// Levels by which a span is moved to the right.
const DEPTH: usize = 8;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "trace {}, {}", self.trace, several(self.span_count, "span"))?;
        self.spans(f)?;
        if self.late > 0 {
            writeln!(f, "  and {} that came after the verdict, and followed it", several(self.late, "span"))?;
        }
        writeln!(f)?;
        self.policies(f)?;
        writeln!(f)?;
        self.verdict(f)
    }
}

// === impl Explanation ===

impl Explanation {
    fn spans(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.spans.iter().map(|span| span.start).filter(|&start| start != 0).min().unwrap_or(0);
        for (depth, span) in self.tree().into_iter().take(SPANS) {
            let indent = "  ".repeat(depth.min(DEPTH) + 1);
            let after = units::nanoseconds(span.start.saturating_sub(first));
            let duration = units::nanoseconds(span.duration);
            let error = if span.status == 2 { "  error" } else { "" };
            writeln!(f, "{indent}{}  +{after}  {duration}{error}", quoted(&span.name))?;
        }
        match self.span_count.saturating_sub(SPANS) {
            0 => Ok(()),
            more => writeln!(f, "  … and {more} more"),
        }
    }

    /// The listed spans by their starts, each behind its parent, and how many of them it is below.
    fn tree(&self) -> Vec<(usize, &Seen)> {
        let mut left: Vec<&Seen> = self.spans.iter().collect();
        left.sort_by_key(|span| span.start);
        let (mut tree, mut below) = (Vec::new(), Vec::new());
        while !left.is_empty() {
            let has_parent = |span: &&Seen| span.parent != 0 && self.spans.iter().any(|other| other.id == span.parent);
            // Each has one only where some are in a circle, or left by a span of the same id.
            let top = left.iter().position(|span| !has_parent(span)).unwrap_or(0);
            below.push((0, left.remove(top)));
            while let Some((depth, span)) = below.pop() {
                tree.push((depth, span));
                let children = left.extract_if(.., |child| child.parent == span.id && span.id != 0);
                below.extend(children.map(|child| (depth + 1, child)).collect::<Vec<_>>().into_iter().rev());
            }
        }
        tree
    }

    /// The policies that match and those that do not, with what they asked and found.
    pub fn policies(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let width = self.policies.iter().map(|policy| policy.name.chars().count()).max().unwrap_or(0);
        for policy in &self.policies {
            let Policy { name, condition, matches, asked, rows, .. } = policy;
            let matches = match asked {
                Asked::Yes if *matches => "matches",
                Asked::Yes => "does not match",
                Asked::Over => "is over",
                Asked::Outside => "is not asked",
            };
            writeln!(f, "{name:width$}  {:14}  {}", matches, policy.does())?;
            // One that is its only part is shown with it.
            if !condition.is_empty() && rows.first().is_none_or(|row| row.text != *condition) {
                writeln!(f, "    when {condition}")?;
            }
            let width =
                rows.iter().map(|row| row.text.chars().count() + indent(row).len()).max().unwrap_or(0).min(WIDTH);
            for row in rows {
                let text = format!("{}{}", indent(row), row.text);
                let holds = if row.holds { "true " } else { "false" };
                writeln!(f, "{}", format!("{text:width$}  {holds}  {}", self.found(row)).trim_end())?;
            }
        }
        Ok(())
    }

    fn found(&self, row: &Row) -> String {
        let Found { values, others } = &row.found;
        let mut parts: Vec<String> = Vec::new();
        for seen in values {
            let name = seen.span.and_then(|span| self.spans.get(span)).map(|span| quoted(&span.name));
            parts.push(match (name, seen.spans) {
                (Some(name), 1) => format!("{} in {name}", seen.value),
                (Some(name), spans) => format!("{} in {name} and {} more", seen.value, spans - 1),
                (None, _) => seen.value.clone(),
            });
        }
        if *others > 0 {
            parts.push(format!("others in {}", several(*others, "span")));
        }
        let found = parts.join("; ");
        match row.scope {
            Scope::Span => format!("of {} of {}: {found}", row.spans, several(self.span_count, "span")),
            Scope::Trace => found,
        }
    }

    /// What became of the trace, and why then.
    pub fn verdict(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let Some(decision) = &self.decision else {
            return writeln!(f, "not decided yet: it waits for more spans, or for time to pass");
        };
        let Decision { verdict, reason, .. } = decision;
        if let Some(policy) = self.unknown(*verdict) {
            return writeln!(
                f,
                "kept by `{}` if it says so, which depends on what it had learned of the traces before: what it said is in the decision \
                 log, and `tailwater backtest` judges all of them; complete by {}",
                policy.name,
                reason.name(),
            );
        }
        writeln!(
            f,
            "{} by {}; {}; complete by {}",
            if verdict.keep { "kept" } else { "dropped" },
            self.policy(verdict.policy),
            of_such(verdict.keep, verdict.threshold),
            reason.name(),
        )
    }

    /// The policy that the verdict depends on where what it says is not known of one trace alone: the one it is due to, or one
    /// that may have kept what is left to `otherwise`.
    fn unknown(&self, verdict: Verdict) -> Option<&Policy> {
        let due = verdict.policy.and_then(|number| self.policies.get(usize::from(number)));
        let is_left = !verdict.keep && due.is_none_or(|due| matches!(due.action, Action::Group(_)));
        let mut matching = self.policies.iter().filter(|policy| is_left && policy.matches && !policy.shadow);
        due.filter(|due| due.depends()).or_else(|| matching.find(|policy| policy.depends()))
    }

    /// The name of what a verdict is due to.
    pub fn policy(&self, number: Option<u16>) -> String {
        let policy = number.and_then(|number| self.policies.get(usize::from(number)));
        policy.map_or_else(|| "otherwise".to_owned(), |policy| format!("`{}`", policy.name))
    }
}

// === impl Policy ===

impl Policy {
    /// Whether what it says is not known of one trace alone.
    fn depends(&self) -> bool {
        !self.samplers.is_empty() && self.says.is_none()
    }

    /// What it does with what it matches.
    fn does(&self) -> String {
        let action = match &self.action {
            Action::Keep { threshold, protect, .. } => {
                let share = self.samplers.is_empty() || *threshold != Threshold::ALWAYS;
                let share = share.then(|| percentage(*threshold));
                let parts: Vec<_> = share.into_iter().chain(self.samplers.iter().cloned()).collect();
                format!("keep {}{}", parts.join(" and "), if *protect { ", protected" } else { "" })
            }
            Action::Drop { threshold: Threshold::NEVER, .. } => "drop".to_owned(),
            Action::Drop { threshold, .. } => format!("drop all but {}", percentage(*threshold)),
            Action::Group(_) => "group".to_owned(),
        };
        let says = match self.says.filter(|_| self.matches) {
            Some(true) => ", says keep",
            Some(false) => ", says reject",
            None if self.matches && self.depends() => ", by what it has learned",
            None => "",
        };
        format!("{action}{says}{}", if self.shadow { ", in the shadow" } else { "" })
    }
}

fn indent(row: &Row) -> &'static str {
    match row.scope {
        Scope::Trace => "    ",
        Scope::Span => "      ",
    }
}

/// Names come from outside: none breaks a line.
fn quoted(name: &str) -> String {
    format!("{name:?}")
}
