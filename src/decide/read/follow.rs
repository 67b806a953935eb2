//! Samplers that follow, as written.

use std::mem;

use super::{
    Reader,
    learning::{state, texts},
    place,
};
use crate::{
    decide::{
        Action,
        condition::{self, Aspect},
        follow::Follower,
        sampler::Sampler,
    },
    sample::{Follow, Rule},
    units,
    yaml::{Fields, Node},
};

/// How long marks last where nothing is said: what was put off for longer has seldom to do with what put it off.
const LASTS: &str = "10m";
/// How much longer than others a trace is held, the same: what other workers keep is heard of by then.
const WAIT: &str = "5s";

impl<'a> Reader<'a, '_> {
    pub(super) fn follow(&mut self, node: &'a Node, policy: &str) -> Option<(Sampler<Aspect>, &'a [Node])> {
        let mut fields = Fields::of(node, "`follow`", self.diagnostics)?;
        let keys = fields.require("by", "write `by: [links]`", self.diagnostics);
        let (of, lasting, waiting) = (fields.take("of"), fields.take("for"), fields.take("wait"));
        let lasts = self.or(lasting, "`for`", units::window, LASTS);
        let wait = self.or(waiting, "`wait`", units::wait, WAIT);
        fields.finish(self.diagnostics);
        let of = of.map(|of| of.as_seq("`of`", self.diagnostics));
        let keys = self.list(Some(keys?))?;
        if keys.is_empty() {
            return self.error(node, "`follow` by nothing", "write `by: [links]`");
        }
        let (by, lasts, wait) = (self.keys(keys, read_cause)?, lasts?, wait?);
        let of = match of {
            Some(Some([])) => return self.error(node, "nobody is followed", "name a policy in `of`, or remove it"),
            Some(of) => Some(of?),
            None => None,
        };
        let begin = of.map_or(String::new(), |of| format!(", of: [{}]", texts(of).join(", ")));
        let written = format!(
            "follow {{ by: [{}]{begin}, for: {}, wait: {} }}",
            texts(keys).join(", "),
            lasting.map_or(LASTS, Node::text),
            waiting.map_or(WAIT, Node::text),
        );
        self.following.push((place(self.learning.len()), of));
        let state = state(policy, ["follow"].into_iter().chain(texts(keys)), 0);
        Some((Sampler { state, by, rule: Rule::Follow(Follow { lasts, wait }), of: None, written }, keys))
    }

    /// Samplers that follow, when all policies are read that they may name.
    pub(super) fn followers(&mut self) -> Vec<Follower> {
        let following = mem::take(&mut self.following);
        let follower = |(sampler, names): (u16, Option<&'a [Node]>)| {
            let of = match names {
                Some(names) => Some(self.begin(names)?),
                None => None,
            };
            Some(Follower { sampler, of })
        };
        following.into_iter().filter_map(follower).collect()
    }

    /// The places of policies with these names, and of all that is in the groups among them.
    fn begin(&mut self, names: &'a [Node]) -> Option<Box<[u16]>> {
        let mut places = Vec::new();
        let mut whole = true;
        for node in names {
            let name = node.as_str("a name", self.diagnostics)?;
            let named = |policy: &&super::Policy<'_>| policy.name == name;
            match self.policies.iter().position(|policy| policy.as_ref().filter(named).is_some()) {
                Some(at) => match self.policies[at].as_ref().map(|policy| &policy.action) {
                    Some(Action::Group(list)) => places.extend(place(at)..list.policies.end),
                    _ => places.push(place(at)),
                },
                // A policy with a mistake may have the name.
                None if self.policies.iter().any(Option::is_none) => whole = false,
                None => {
                    let hint = "name policies or groups whose traces others are to follow";
                    self.diagnostics.error(&node.at, format!("there is no policy `{name}`")).hint(hint);
                    whole = false;
                }
            }
        }
        places.sort_unstable();
        places.dedup();
        whole.then(|| places.into())
    }
}

/// What is to be the same of traces that belong together: `links`, or a key.
fn read_cause(text: &str) -> Result<Aspect, Vec<condition::Error>> {
    if text == "links" {
        return Ok(Aspect::Links);
    }
    condition::read_key(text).map_err(|mut errors| {
        for hint in errors.iter_mut().filter_map(|error| error.hint.as_mut()) {
            if hint.starts_with("did you mean `root.") && condition::read_key(&format!("values({text})")).is_ok() {
                hint.push_str(&format!(" or, of all spans, `values({text})`?"));
            } else if text.starts_with("link") {
                "write `links`: the traces that it is linked with".clone_into(hint);
            }
        }
        errors
    })
}
