//! Honeycomb Refinery's rules, version 2 of their format.
//!
//! Source: Refinery 3, `rules.md` and `sample/rules.go`.

use super::{
    draft::{Action, Draft, Entry, Missing, Policy, checked, quoted},
    dynamic::{self, Dynamic},
};
use crate::{
    diagnostic::Diagnostics,
    yaml::{Fields, Kind, Node},
};

/// Whether a file is Refinery's.
pub fn is_refinery(root: &Node) -> bool {
    root.get("RulesVersion").is_some() || root.get("Samplers").is_some()
}

/// Reads the rules of an environment.
///
/// Mistakes go to `diagnostics`, and then there is nothing.
pub fn refinery(root: &Node, environment: &str, diagnostics: &mut Diagnostics) -> Option<Draft> {
    let before = diagnostics.0.len();
    let mut fields = Fields::of(root, "Refinery's rules", diagnostics)?;
    fields.take("RulesVersion");
    let samplers = fields.require("Samplers", "samplers by environment", diagnostics)?;
    fields.finish(diagnostics);
    let Some(sampler) = samplers.get(environment) else {
        let names = match &samplers.kind {
            Kind::Map(entries) => entries.iter().map(|(key, _)| key.at.text().trim().to_owned()).collect(),
            _ => Vec::new(),
        };
        let names = names.join(", ");
        diagnostics.error(&samplers.at, format!("no environment `{environment}`")).hint(format!("there are {names}"));
        return None;
    };
    let mut draft = Draft {
        remarks: vec![format!(
            "Imported from Refinery's rules for {environment}. Refinery hashes trace ids in its own way: the shares are the \
             same, the traces picked are not."
        )],
        first: true,
        ..Draft::default()
    };
    let mut dynamic = Dynamic::default();
    match sampler.get("RulesBasedSampler") {
        Some(node) => {
            let mut fields = Fields::of(node, "`RulesBasedSampler`", diagnostics)?;
            if fields.take("CheckNestedFields").is_some_and(|node| node.is_text("true")) {
                draft
                    .remarks
                    .push("CheckNestedFields: fields are attributes here, and not looked for within them.".into());
            }
            let rules = fields.require("Rules", "a list of rules", diagnostics)?.as_seq("`Rules`", diagnostics)?;
            fields.finish(diagnostics);
            for rule in rules {
                draft.entries.extend(read_rule(rule, &mut dynamic, diagnostics));
            }
        }
        None => {
            let (remarks, policy) = match downstream(sampler, &mut dynamic, diagnostics)? {
                Ok((sampler, remarks)) => (remarks, Ok(Policy { when: None, action: keep(sampler) })),
                Err(missing) => (Vec::new(), Err(missing)),
            };
            draft.entries.push(Entry { name: environment.to_owned(), remarks, policy });
        }
    }
    (diagnostics.0.len() == before).then_some(draft)
}

/// A condition is met by one span, and each perhaps by another; or all by one.
#[derive(Clone, Copy, PartialEq)]
enum Scope {
    Trace,
    Span,
}

fn read_rule(node: &Node, dynamic: &mut Dynamic, d: &mut Diagnostics) -> Option<Entry> {
    let mut fields = Fields::of(node, "a rule", d)?;
    let name = fields.require("Name", "write `Name: errors`", d)?.as_str("`Name`", d)?.trim().to_owned();
    let scope = match fields.take("Scope") {
        Some(node) if node.is_text("span") => Scope::Span,
        Some(node) if !node.is_text("trace") => {
            d.error(&node.at, "`Scope` is neither trace nor span");
            return None;
        }
        _ => Scope::Trace,
    };
    let drops = fields.take("Drop").is_some_and(|node| node.is_text("true"));
    let rate = fields.take("SampleRate").map_or(Some(1), |node| node.as_u64("`SampleRate`", d));
    let sampler = fields.take("Sampler");
    let conditions = fields.take("Conditions").map_or(Some(&[][..]), |node| node.as_seq("`Conditions`", d));
    fields.finish(d);
    let (action, mut remarks) = match sampler {
        Some(sampler) => match downstream(sampler, dynamic, d)? {
            Ok((sampler, remarks)) => (keep(sampler), remarks),
            Err(missing) => return Some(Entry { name, remarks: Vec::new(), policy: Err(missing) }),
        },
        None if drops => (Action::Drop, Vec::new()),
        None => (keep(share(rate?)), Vec::new()),
    };
    if drops && sampler.is_some() {
        remarks.push("Drop: true has no effect beside a Sampler.".into());
    }
    let (mut of_spans, mut of_trace) = (Vec::new(), Vec::new());
    for node in conditions? {
        match read_condition(node, scope, &mut remarks, d)? {
            Ok(Asked::Span(condition)) => of_spans.push(condition),
            Ok(Asked::Trace(condition)) => of_trace.push(condition),
            Err(missing) => return Some(Entry { name, remarks, policy: Err(missing) }),
        }
    }
    if scope == Scope::Span && !of_spans.is_empty() {
        of_trace.push(format!("any({})", of_spans.join(" and ")));
    } else {
        of_trace.extend(of_spans.into_iter().map(|condition| format!("any({condition})")));
    }
    let when = (!of_trace.is_empty()).then(|| of_trace.join(" and "));
    if when.is_none() && matches!(action, Action::Drop) {
        remarks.push("It matches every trace that comes so far.".into());
    }
    Some(Entry { name, remarks, policy: checked(Policy { when, action }) })
}

enum Asked {
    Span(String),
    Trace(String),
}

fn read_condition(
    node: &Node,
    scope: Scope,
    remarks: &mut Vec<String>,
    d: &mut Diagnostics,
) -> Option<Result<Asked, Missing>> {
    let mut fields = Fields::of(node, "a condition", d)?;
    let names = match (fields.take("Fields"), fields.take("Field")) {
        (Some(node), _) => {
            node.as_seq("`Fields`", d)?.iter().map(|node| node.as_str("a field", d)).collect::<Option<Vec<_>>>()?
        }
        (None, Some(node)) => vec![node.as_str("`Field`", d)?],
        (None, None) => Vec::new(),
    };
    let operator = fields.require("Operator", "write `Operator: =`", d)?;
    let operator_at = &operator.at;
    let operator = operator.as_str("`Operator`", d)?;
    let value = fields.take("Value");
    let datatype = fields.take("Datatype").map_or(Some(""), |node| node.as_str("`Datatype`", d))?;
    fields.finish(d);
    if operator == "has-root-span" {
        if scope == Scope::Span {
            remarks.push("has-root-span in a rule of scope span never matches in Refinery; here it does.".into());
        }
        let has = value.is_none_or(|value| !value.is_text("false"));
        return Some(Ok(Asked::Trace(format!("root.name {} nil", if has { "!=" } else { "==" }))));
    }
    let [name] = names.as_slice() else {
        return Some(Err(Missing("the first of several fields that a span has is not to be asked for here".into())));
    };
    if *name == "?.NUM_DESCENDANTS" {
        let number = value?.as_u64("`Value`", d)?;
        let operator = if operator == "=" { "==" } else { operator };
        return Some(Ok(Asked::Trace(format!("trace.span_count {operator} {number}"))));
    }
    let (prefix, name) = match name.strip_prefix("root.") {
        Some(name) => ("root.", name),
        None => ("", *name),
    };
    let Some(such) = comparison(operator, value, datatype, d)? else {
        d.error(operator_at, format!("unknown operator `{operator}`"));
        return None;
    };
    let condition = such(&paths(prefix, name));
    let negative = ["!=", "does-not-contain", "not-exists", "not-in"].contains(&operator);
    if negative && prefix.is_empty() && scope == Scope::Trace {
        remarks.push(format!(
            "`{name} {operator}`: true as soon as one span is not such, also where it has no {name}. Often none(…) is meant."
        ));
    }
    Some(Ok(if prefix.is_empty() { Asked::Span(condition) } else { Asked::Trace(condition) }))
}

type Such = Box<dyn Fn(&[String]) -> String>;

/// What an operator asks of the paths a field may stand in. None: there is no such operator.
fn comparison(operator: &str, value: Option<&Node>, datatype: &str, d: &mut Diagnostics) -> Option<Option<Such>> {
    let any = |paths: &[String], each: &dyn Fn(&str) -> String| {
        let each: Vec<_> = paths.iter().map(|path| each(path)).collect();
        if each.len() == 1 { each.join("") } else { format!("({})", each.join(" or ")) }
    };
    let text =
        |d: &mut Diagnostics| value.map_or(Some(String::new()), |node| node.as_str("`Value`", d).map(str::to_owned));
    let such: Such = match operator {
        "exists" => Box::new(move |paths| any(paths, &|path| format!("{path} != nil"))),
        "not-exists" => {
            Box::new(move |paths| format!("not {}", grouped(&any(paths, &|path| format!("{path} != nil")))))
        }
        "=" | "!=" | ">" | "<" | ">=" | "<=" => {
            let literal = value.map_or(Some("nil".to_owned()), |node| literal(node, datatype, d))?;
            let op = if operator == "=" || operator == "!=" { "==" } else { operator }.to_owned();
            let negative = operator == "!=";
            Box::new(move |paths| {
                let positive = any(paths, &|path| format!("{path} {op} {literal}"));
                if negative { format!("not {}", grouped(&positive)) } else { positive }
            })
        }
        "in" | "not-in" => {
            let nodes = value?.as_seq("`Value`", d)?;
            let literals = nodes.iter().map(|node| literal(node, datatype, d)).collect::<Option<Vec<_>>>()?;
            let negative = operator == "not-in";
            Box::new(move |paths| {
                let of =
                    |path: &str| literals.iter().map(|l| format!("{path} == {l}")).collect::<Vec<_>>().join(" or ");
                let positive = format!("({})", any(paths, &of));
                if negative { format!("not {positive}") } else { positive }
            })
        }
        "starts-with" | "contains" | "does-not-contain" | "matches" => {
            let text = text(d)?;
            let pattern = quoted(&match operator {
                "matches" => text,
                "starts-with" => format!("^{}", regex::escape(&text)),
                _ => regex::escape(&text),
            });
            let negative = operator == "does-not-contain";
            Box::new(move |paths| {
                let positive = any(paths, &|path| format!("IsMatch({path}, {pattern})"));
                if negative { format!("not {}", grouped(&positive)) } else { positive }
            })
        }
        _ => return Some(None),
    };
    Some(Some(such))
}

fn grouped(condition: &str) -> String {
    if condition.starts_with('(') { condition.to_owned() } else { format!("({condition})") }
}

/// Where Honeycomb's field of this name stands in OTLP: on the span, or on its resource.
pub(super) fn paths(prefix: &str, name: &str) -> Vec<String> {
    let known = match name {
        "name" => "name",
        "service.name" | "service_name" => "service",
        _ => {
            let key = quoted(name);
            return vec![format!("{prefix}attributes[{key}]"), format!("{prefix}resource.attributes[{key}]")];
        }
    };
    vec![format!("{prefix}{known}")]
}

fn literal(node: &Node, datatype: &str, d: &mut Diagnostics) -> Option<String> {
    let quotes = matches!(&node.kind, Kind::Scalar { quoted: true, .. });
    let text = node.as_str("`Value`", d)?;
    let number = text.parse::<f64>().is_ok_and(f64::is_finite);
    Some(match datatype {
        "string" => quoted(text),
        "int" | "float" | "bool" => text.to_owned(),
        _ if !quotes && (number || text == "true" || text == "false") => text.to_owned(),
        _ => quoted(text),
    })
}

/// One of so many.
fn share(rate: u64) -> Option<String> {
    (rate > 1).then(|| format!("{{ probability: 1/{rate} }}"))
}

fn keep(sampler: Option<String>) -> Action {
    Action::Keep(sampler.into_iter().collect())
}

/// A sampler by itself, or behind a rule.
fn downstream(node: &Node, dynamic: &mut Dynamic, d: &mut Diagnostics) -> Option<dynamic::Read> {
    let Kind::Map(entries) = &node.kind else {
        d.error(&node.at, "a sampler is a mapping, such as `DeterministicSampler: { SampleRate: 10 }`");
        return None;
    };
    let Some((key, settings)) = entries.first() else {
        d.error(&node.at, "no sampler");
        return None;
    };
    if key.is_text("DeterministicSampler") {
        let rate = settings.get("SampleRate").map_or(Some(1), |node| node.as_u64("`SampleRate`", d))?;
        return Some(Ok((share(rate), Vec::new())));
    }
    dynamic.read(key.as_str("a sampler", d)?, settings, d)
}
