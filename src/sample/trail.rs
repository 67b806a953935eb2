//! When the spans of a trace came, and how long one had to wait for each.

use crate::{decode::Span, model::RecordTime};

/// The longest times without a span before one came, in milliseconds. It is in time where none was longer than what is waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// While its trace was whole.
    pub whole: u64,
    /// While it was torn.
    pub torn: u64,
}

/// What is remembered of a trace, held or decided, to tell what a span that comes teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trail {
    first: RecordTime,
    last: RecordTime,
    gaps: Gaps,
    /// What the trace looks like since its last span. Once it is decided nobody looks, and what it looked like then counts: that
    /// wait ended too early.
    pub form: Form,
}

/// What a trace looks like, as far as its spans have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// No root has ended. Nobody knows its operation, and it waits for as long as any trace may.
    Rootless,
    /// A parent is missing.
    Torn,
    /// The root has ended, and no parent is missing.
    Whole,
}

/// What a span says about the structure of its trace.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub span: u64,
    /// 0 names nothing.
    pub parent: u64,
    /// It is the root, and has ended.
    pub ends: bool,
}

/// Tells what traces looked like; keeps its scratch space.
#[derive(Debug, Default)]
pub struct Forms {
    /// Spans, and the place of each in the order they came.
    places: Vec<(u64, usize)>,
}

// === impl Trail ===

impl Trail {
    /// Of a trace whose first span comes.
    pub fn new(at: RecordTime) -> Self {
        Self { first: at, last: at, gaps: Gaps::default(), form: Form::Rootless }
    }

    /// A span comes. Gives the gaps before it. Time that goes back stands still.
    pub fn pass(&mut self, at: RecordTime) -> Gaps {
        let gap = at.since(self.last);
        match self.form {
            Form::Rootless => {}
            Form::Torn => self.gaps.torn = self.gaps.torn.max(gap),
            Form::Whole => self.gaps.whole = self.gaps.whole.max(gap),
        }
        self.last = self.last.max(at);
        self.gaps
    }

    /// When the first span came.
    pub fn first(&self) -> RecordTime {
        self.first
    }

    /// When the last span came, so far.
    pub fn last(&self) -> RecordTime {
        self.last
    }
}

// === impl Forms ===

impl Forms {
    /// What a trace looked like after each of its spans, which are given in the order they came.
    pub fn of<'l>(&'l mut self, links: &'l [Link]) -> impl Iterator<Item = Form> + 'l {
        self.places.clear();
        self.places.extend(links.iter().enumerate().map(|(place, link)| (link.span, place)));
        self.places.sort_unstable();
        let (mut ended, mut whole_from) = (false, 0);
        links.iter().enumerate().map(move |(place, link)| {
            ended |= link.ends;
            whole_from = whole_from.max(self.place(link.parent));
            match (ended, whole_from <= place) {
                (false, _) => Form::Rootless,
                (true, false) => Form::Torn,
                (true, true) => Form::Whole,
            }
        })
    }

    pub fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<(u64, usize)>()
    }

    /// The place of the first span with this id, which is named as a parent: behind all others if it has not come.
    fn place(&self, id: u64) -> usize {
        if id == 0 {
            return 0;
        }
        let at = self.places.partition_point(|&place| place < (id, 0));
        let found = self.places.get(at).filter(|(other, _)| *other == id && id != Span::NO_SPAN);
        found.map_or(usize::MAX, |&(_, place)| place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn each_span_has_the_longest_gaps_before_it() {
        let mut trail = Trail::new(RecordTime(1_000));
        assert_eq!(trail.pass(RecordTime(1_000)), Gaps::default());
        assert_eq!(trail.pass(RecordTime(9_000)), Gaps::default(), "it waits for a root whatever the quiet period is");
        trail.form = Form::Torn;
        assert_eq!(trail.pass(RecordTime(9_500)), Gaps { whole: 0, torn: 500 });
        trail.form = Form::Whole;
        assert_eq!(trail.pass(RecordTime(9_600)), Gaps { whole: 100, torn: 500 });
        assert_eq!(trail.pass(RecordTime(9_100)), Gaps { whole: 100, torn: 500 }, "a producer's clock is behind");
        assert_eq!(trail.pass(RecordTime(9_650)), Gaps { whole: 100, torn: 500 });
        assert_eq!(trail.pass(RecordTime(10_000)), Gaps { whole: 350, torn: 500 });
        assert_eq!((trail.first(), trail.last()), (RecordTime(1_000), RecordTime(10_000)));
    }

    fn links() -> impl Strategy<Value = Vec<Link>> {
        let id = || prop_oneof![8 => 0_u64..9, 1 => Just(Span::NO_SPAN)];
        let link = (id(), id(), proptest::bool::weighted(0.2));
        vec(link.prop_map(|(span, parent, ends)| Link { span, parent, ends }), 0..12)
    }

    proptest! {
        #[test]
        fn a_trace_is_whole_when_every_parent_is_there(links in links()) {
            let mut forms = Forms::default();
            for (last, form) in forms.of(&links).enumerate() {
                let seen = &links[..=last];
                let is_there = |id: u64| id == 0 || id != Span::NO_SPAN && seen.iter().any(|link| link.span == id);
                let ended = seen.iter().any(|link| link.ends);
                let whole = seen.iter().all(|link| is_there(link.parent));
                let expected = if !ended { Form::Rootless } else if whole { Form::Whole } else { Form::Torn };
                prop_assert_eq!(form, expected, "after {}", last);
            }
        }
    }
}
