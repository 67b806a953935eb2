//! Conditions compiled: every question once, numbered.
//!
//! **Atoms** are questions about one span that need no other. **Predicates** are boolean functions of atoms: the arguments
//! of quantifiers. What a condition asks of a trace is then a bit, a counter or a number, a [`Fact`].

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{
    condition::{Aspect, Computed, Constant, Field, Formula, Number, Op, Pattern, SpanTest, Subject, Test, TraceTest},
    look,
    part::{Part, Place},
    tree::{self, MARKS_MAX},
    values::PATHS_MAX,
};
use crate::decode::{Key, Keys, Value};

/// Atoms, predicates and attribute keys are numbered by 16 bits. At this bound the bits of a trace take 16 kB.
const NUMBERED_MAX: usize = u16::MAX as usize;
/// 4 bytes each in every trace.
const COUNTERS_MAX: usize = 1_000;
/// 8 bytes each in every trace.
const PARTS_MAX: usize = 1_000;
/// What it costs to rely on an answer: more than to rely on any number of things that are known anyway, or it would be asked of every span.
const ASKED: u32 = 1 << 20;
/// A megabyte each at worst.
const PATTERNS_MAX: usize = 1_000;

/// What all conditions of a policy set ask, of spans.
#[derive(Debug)]
pub struct Program {
    pub keys: Keys,
    /// By slot in `keys`.
    pub attributes: Vec<Probe>,
    pub name: Probe,
    pub kind: Probe,
    pub status: Probe,
    pub duration: Probe,
    /// What the spans of a resource and scope have in common.
    pub around: Vec<(Subject, Probe)>,
    /// Of these, the questions about several: places in `computations`.
    pub around_several: Vec<u16>,
    pub rare: Rare,
    /// What is looked at of records beside their value, as a batch has it.
    pub beside: Vec<Field>,
    pub computations: Vec<Computation>,
    pub patterns: Vec<Pattern>,
    /// The atoms that hold of nil, as bits.
    pub nil: Vec<u64>,
    /// What it costs to rely on an atom staying as it is of nil: the more spans change it, the more. 0: no span does.
    pub costs: Vec<u32>,
    /// So many atoms, the first, are asked of the root.
    pub roots: usize,
    /// So many predicates, the first, are counted.
    pub counters: usize,
    pub predicates: Vec<Formula<u16>>,
    /// The predicates that each span of a trace remembers, and what else it does.
    pub marked: Vec<u16>,
    /// The predicate of what acts as a root.
    pub acts: Option<u16>,
    /// What samplers look at of the root.
    pub parts: Vec<Part>,
    /// Some of it has to be found in the span's bytes.
    pub parts_detailed: bool,
    /// Some condition asks who called whom, and by what name.
    pub asks_tree: bool,
    pub asks_names: bool,
    /// Of these all values in a trace are asked for.
    pub values: Vec<Subject>,
    pub asks_links: bool,
}

/// A condition on the facts of a trace.
pub type Compiled = Formula<Fact>;

/// What a condition asks of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Some span fulfilled the predicate.
    Seen(u16),
    /// The root fulfilled the atom.
    Root(u16),
    Count(u16, Op, i64),
    /// Nanoseconds.
    Duration(Op, i64),
    Spans(Op, i64),
    Bytes(Op, i64),
    /// The marks of two predicates.
    Under {
        below: u8,
        above: u8,
        direct: bool,
    },
    Complete,
    Services(Op, i64),
    Depth(Op, i64),
    Siblings(u8, Op, i64),
    Shape(Op, i64),
    /// Places in `Program::values`.
    Values(u8, Op, i64),
    Different(u8, Op, i64),
}

/// The atoms about one subject.
#[derive(Debug, Default)]
pub struct Probe {
    /// Hold of nil and of nothing else.
    nil: Vec<u16>,
    /// Equality with a text: one look for all of them, where some has the length.
    texts: HashMap<Box<[u8]>, u16, FixedState>,
    /// The lengths of `texts`, modulo 64, as bits.
    lengths: u64,
    /// Those that hold of whole numbers from one on, in its order, where there are no others: a look at those that hold.
    from: Vec<(i64, u16)>,
    /// None of them holds of nil.
    comparisons: Vec<(u16, Op, Constant)>,
    /// Atoms and their patterns in `Program::patterns`; none of them holds of nil.
    pub patterns: Vec<(u16, u16)>,
    pub more: Option<Box<More>>,
}

/// What few policies look at, and no span is looked at for where none does.
#[derive(Debug, Default)]
pub struct Rare {
    pub fields: Vec<(Field, Probe)>,
    pub asked: Vec<Question>,
    /// Some of it has to be found in the span's bytes.
    pub detailed: bool,
}

/// What is asked of a span where it makes a difference.
#[derive(Debug)]
pub struct Question {
    /// In `Program::computations`.
    pub place: u16,
    /// It is asked of the root, too, and so of every span.
    pub of_root: bool,
    /// The predicates it is part of.
    pub predicates: Vec<u16>,
}

/// A question that is no comparison with a constant.
#[derive(Clone, Debug)]
pub struct Computation {
    pub atom: u16,
    /// Whether it holds of nil.
    pub nil: bool,
    pub test: SpanTest,
}

/// Of a probe, what few have.
#[derive(Debug, Default)]
pub struct More {
    /// Places in `Program::computations`.
    computations: Vec<u16>,
    /// What stands inside of the value.
    inside: Vec<(Vec<Key>, Probe)>,
}

/// Names the atoms of patterns that match a value.
pub type Matching<'m> = &'m mut dyn FnMut(&[(u16, u16)], Value<'_>, &mut dyn FnMut(u16));

/// A bound on a whole policy set that a condition exceeds.
#[derive(Debug, thiserror::Error)]
pub enum Full {
    #[error("more than {NUMBERED_MAX} different comparisons in all policies")]
    Atoms,
    #[error("more than {NUMBERED_MAX} different arguments of quantifiers in all policies")]
    Predicates,
    #[error("more than {COUNTERS_MAX} different counts in all policies")]
    Counters,
    #[error("more than {PARTS_MAX} different keys and measures of samplers in all policies")]
    Parts,
    #[error("more than {PATTERNS_MAX} different patterns in all policies")]
    Patterns,
    #[error("more than {MARKS_MAX} different arguments of child_of, descendant_of, calls and siblings in all policies")]
    Marks,
    #[error("more than {PATHS_MAX} different arguments of values in all policies")]
    Values,
}

/// What is compiled together.
#[derive(Default)]
pub struct Source<'s> {
    pub conditions: &'s [Formula<TraceTest>],
    /// On what acts as a root.
    pub acts: Option<&'s Formula<SpanTest>>,
    /// What samplers look at, for the condition at this place, and whether they measure it.
    pub aspects: &'s [(usize, Aspect, bool)],
}

/// The program, what each condition asks of a trace, and where each aspect is found.
pub type Output = (Program, Vec<Compiled>, Vec<Place>);

/// Compiles conditions together: what they ask of spans, what each then asks of a trace, and where samplers find what they
/// look at.
///
/// # Errors
/// The place of the condition that is too much.
pub fn compile(source: Source<'_>) -> Result<Output, (usize, Full)> {
    let Source { conditions, acts, aspects } = source;
    let mut builder = Builder::default();
    let each = |visit: &mut dyn FnMut(&Formula<TraceTest>) -> Result<(), Full>| {
        conditions.iter().enumerate().try_for_each(|(i, condition)| visit(condition).map_err(|full| (i, full)))
    };
    // What is asked of the root, and what is counted, gets the first numbers, so that a trace holds no more than these.
    each(&mut |condition| {
        builder.visit(condition, |builder, test| match test {
            TraceTest::Root(test) => builder.atom(test).map(drop),
            _ => Ok(()),
        })
    })?;
    let roots = builder.atoms.len();
    each(&mut |condition| {
        builder.visit(condition, |builder, test| match test {
            TraceTest::Number(Number::Count(inner), ..) => builder.predicate(inner).map(drop),
            _ => Ok(()),
        })?;
        if builder.predicates.len() > COUNTERS_MAX { Err(Full::Counters) } else { Ok(()) }
    })?;
    for (at, aspect, _) in aspects {
        if let Aspect::Trace(Number::Count(inner)) = aspect {
            builder.predicate(inner).map_err(|full| (*at, full))?;
        }
        if builder.predicates.len() > COUNTERS_MAX {
            return Err((*at, Full::Counters));
        }
    }
    let counters = builder.predicates.len();
    let mut facts = Vec::with_capacity(conditions.len());
    each(&mut |condition| {
        facts.push(condition.try_map(&mut |test| builder.fact(test))?);
        Ok(())
    })?;
    let acts = acts.map(|acts| builder.predicate(acts).map_err(|full| (0, full))).transpose()?;
    let place =
        |(at, aspect, measured): &(usize, Aspect, bool)| builder.place(aspect, *measured).map_err(|full| (*at, full));
    let places = aspects.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    let program = Program { acts, ..builder.finish(roots, counters) };
    let places = places.into_iter().map(|place| program.behind(place)).collect();
    Ok((program, facts, places))
}

#[derive(Default)]
struct Builder {
    atoms: Numbered<SpanTest>,
    predicates: Numbered<Formula<u16>>,
    patterns: Numbered<Pattern>,
    /// Predicates.
    marks: Numbered<u16>,
    parts: Numbered<Part>,
    asks_tree: bool,
    asks_names: bool,
    asks_links: bool,
    values: Numbered<Subject>,
    /// So that their probes can be numbered: an expression may look at several.
    subjects: Numbered<Subject>,
}

/// Different things in the order they came.
struct Numbered<T> {
    items: Vec<T>,
    numbers: HashMap<T, u16, FixedState>,
}

// === impl Program ===

impl Program {
    /// Words of bits that hold one bit for each predicate.
    pub fn seen_words(&self) -> usize {
        words(self.predicates.len())
    }

    /// Words that each span remembers: its marks, then its name, then what it adds to values. Each of them has its place where
    /// one behind it is there.
    pub fn notes(&self) -> usize {
        if !self.values.is_empty() {
            tree::NOTES + self.values.len()
        } else if self.asks_names {
            tree::NOTES
        } else {
            usize::from(!self.marked.is_empty() || self.acts.is_some())
        }
    }

    /// Words of bits that hold one bit for each atom asked of the root.
    pub fn root_words(&self) -> usize {
        words(self.roots)
    }

    /// Parts of the root stand behind all bits.
    fn behind(&self, place: Place) -> Place {
        let first = (self.seen_words() + self.root_words()) as u16;
        match place {
            Place::Hash(part) => Place::Hash(first + part),
            Place::Number(part) => Place::Number(first + part),
            place => place,
        }
    }
}

pub fn words(bits: usize) -> usize {
    bits.div_ceil(64)
}

pub fn bit(words: &[u64], number: u16) -> bool {
    words[usize::from(number / 64)] >> (number % 64) & 1 == 1
}

pub fn flip(words: &mut [u64], number: u16) {
    words[usize::from(number / 64)] ^= 1 << (number % 64);
}

// === impl Probe ===

impl Probe {
    pub fn is_empty(&self) -> bool {
        self.nil.is_empty()
            && self.texts.is_empty()
            && self.from.is_empty()
            && self.comparisons.is_empty()
            && self.patterns.is_empty()
            && self.more.is_none()
    }

    /// Names each atom that is for this value other than it is for nil.
    pub fn all_changes(
        &self,
        value: Value<'_>,
        computations: &[Computation],
        matching: Matching<'_>,
        change: &mut dyn FnMut(u16),
    ) {
        self.changes(value, &mut *change);
        if !self.patterns.is_empty() {
            matching(&self.patterns, value, change);
        }
        if let Some(more) = &self.more {
            more.changes(value, computations, matching, change);
        }
    }

    /// The same, but for atoms of patterns and those of `more`.
    #[inline]
    pub fn changes(&self, value: Value<'_>, mut change: impl FnMut(u16)) {
        if value == Value::Nil {
            return;
        }
        self.nil.iter().for_each(|atom| change(*atom));
        match value {
            Value::Str(text) if self.lengths >> (text.len() % 64) & 1 == 1 => {
                self.texts.get(text).iter().for_each(|atom| change(**atom));
            }
            Value::Int(number) => {
                let held = self.from.iter().take_while(|(from, _)| *from <= number);
                held.for_each(|(_, atom)| change(*atom));
            }
            _ => {}
        }
        for (atom, op, constant) in &self.comparisons {
            if op.holds(constant.order(value)) {
                change(*atom);
            }
        }
    }
}

// === impl Rare ===

impl Rare {
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.asked.is_empty()
    }
}

// === impl Computation ===

impl Computation {
    /// Whether it is, for a span that `look` shows, other than it is for nil.
    pub fn changes<'a>(&'a self, span: &'a [u8], look: &dyn Fn(&Subject) -> Computed<'a>) -> bool {
        look::holds(&self.test, span, look) != self.nil
    }
}

// === impl More ===

impl More {
    pub fn changes(
        &self,
        value: Value<'_>,
        computations: &[Computation],
        matching: Matching<'_>,
        change: &mut dyn FnMut(u16),
    ) {
        for place in &self.computations {
            let computation = &computations[usize::from(*place)];
            if computation.changes(&[], &|_| Computed::Value(value)) {
                change(computation.atom);
            }
        }
        for (keys, probe) in &self.inside {
            let inner = keys.iter().fold(value, |value, key| value.entry(key));
            probe.all_changes(inner, computations, matching, change);
        }
    }
}

// === impl Builder ===

impl Builder {
    fn visit(
        &mut self,
        condition: &Formula<TraceTest>,
        visit: impl Fn(&mut Self, &TraceTest) -> Result<(), Full>,
    ) -> Result<(), Full> {
        condition.try_map(&mut |test| visit(self, test)).map(drop)
    }

    /// Where a sampler finds what it looks at.
    fn place(&mut self, aspect: &Aspect, measured: bool) -> Result<Place, Full> {
        use Number::{Bytes, Count, Depth, Different, Duration, Services, Shape, Siblings, Spans, Values};
        let number = match aspect {
            Aspect::Root(of) => {
                let part = self.parts.number(&Part { of: of.clone(), measured });
                let part = part.filter(|part| usize::from(*part) < PARTS_MAX).ok_or(Full::Parts)?;
                return Ok(if measured { Place::Number(part) } else { Place::Hash(part) });
            }
            Aspect::Trace(number) => number,
            Aspect::Links => {
                self.asks_links = true;
                return Ok(Place::Links);
            }
        };
        self.ask_tree(number);
        Ok(match number {
            Count(inner) => Place::Count(self.predicate(inner)?),
            Siblings(inner) => Place::Siblings(self.mark(inner)?),
            Duration => Place::Duration,
            Spans => Place::Spans,
            Bytes => Place::Bytes,
            Services => Place::Services,
            Depth => Place::Depth,
            Shape => Place::Shape,
            Values(of) => Place::Values(self.values_of(of)?),
            Different(of) => Place::Different(self.values_of(of)?),
        })
    }

    fn ask_tree(&mut self, number: &Number) {
        use Number::{Bytes, Count, Duration, Shape, Siblings, Spans};
        self.asks_tree |= !matches!(number, Count(_) | Duration | Spans | Bytes);
        self.asks_names |= matches!(number, Shape | Siblings(_));
    }

    fn fact(&mut self, test: &TraceTest) -> Result<Fact, Full> {
        use Number::{Bytes, Count, Depth, Different, Duration, Services, Shape, Siblings, Spans, Values};
        match test {
            TraceTest::Under { .. } | TraceTest::Complete => self.asks_tree = true,
            TraceTest::Number(number, ..) => self.ask_tree(number),
            TraceTest::Any(_) | TraceTest::Root(_) => {}
        }
        Ok(match test {
            TraceTest::Any(inner) => Fact::Seen(self.predicate(inner)?),
            TraceTest::Root(test) => Fact::Root(self.atom(test)?),
            TraceTest::Under { below, above, direct } => {
                Fact::Under { below: self.mark(below)?, above: self.mark(above)?, direct: *direct }
            }
            TraceTest::Complete => Fact::Complete,
            TraceTest::Number(Count(inner), op, value) => Fact::Count(self.predicate(inner)?, *op, *value),
            TraceTest::Number(Siblings(inner), op, value) => Fact::Siblings(self.mark(inner)?, *op, *value),
            TraceTest::Number(Duration, op, value) => Fact::Duration(*op, *value),
            TraceTest::Number(Spans, op, value) => Fact::Spans(*op, *value),
            TraceTest::Number(Bytes, op, value) => Fact::Bytes(*op, *value),
            TraceTest::Number(Services, op, value) => Fact::Services(*op, *value),
            TraceTest::Number(Depth, op, value) => Fact::Depth(*op, *value),
            TraceTest::Number(Shape, op, value) => Fact::Shape(*op, *value),
            TraceTest::Number(Values(of), op, value) => Fact::Values(self.values_of(of)?, *op, *value),
            TraceTest::Number(Different(of), op, value) => Fact::Different(self.values_of(of)?, *op, *value),
        })
    }

    /// The mark of a predicate that each span is to remember.
    fn mark(&mut self, formula: &Formula<SpanTest>) -> Result<u8, Full> {
        let predicate = self.predicate(formula)?;
        let mark = self.marks.number(&predicate).filter(|mark| usize::from(*mark) < MARKS_MAX).ok_or(Full::Marks)?;
        Ok(mark as u8)
    }

    fn values_of(&mut self, subject: &Subject) -> Result<u8, Full> {
        let fits = self.subjects.number(outermost(subject)).is_some();
        let path = self.values.number(subject).filter(|path| fits && usize::from(*path) < PATHS_MAX);
        path.map(|path| path as u8).ok_or(Full::Values)
    }

    fn predicate(&mut self, formula: &Formula<SpanTest>) -> Result<u16, Full> {
        let formula = formula.try_map(&mut |test| self.atom(test))?;
        self.predicates.number(&formula).ok_or(Full::Predicates)
    }

    fn atom(&mut self, test: &SpanTest) -> Result<u16, Full> {
        self.count_patterns(test)?;
        let mut fit = true;
        test.subjects(&mut |subject| fit &= self.subjects.number(outermost(subject)).is_some());
        self.atoms.number(test).filter(|_| fit).ok_or(Full::Atoms)
    }

    fn count_patterns(&mut self, test: &SpanTest) -> Result<(), Full> {
        let mut count =
            |pattern: &Pattern| self.patterns.number(pattern).is_some_and(|number| usize::from(number) < PATTERNS_MAX);
        let mut fit = true;
        match &test.test {
            Test::Compare(..) => {}
            Test::Matches(pattern) => fit = count(pattern),
            Test::Comes(expression, _) => expression.patterns(&mut |pattern| fit &= count(pattern)),
            Test::Any(formula) => return formula.try_map(&mut |test| self.count_patterns(test)).map(drop),
        }
        if fit { Ok(()) } else { Err(Full::Patterns) }
    }

    fn finish(mut self, roots: usize, counters: usize) -> Program {
        let atoms = self.atoms.items;
        let mut nil = vec![0; words(atoms.len())];
        let mut costs = Vec::with_capacity(atoms.len());
        let mut probes = Probes::default();
        let mut computations = Vec::new();
        for (atom, test) in (0..).zip(atoms) {
            match &test.test {
                Test::Compare(op, constant) => {
                    let (probe, cost) = probes.of(&test.subject);
                    costs.push(cost);
                    match constant {
                        Constant::Nil if op.holds(Constant::Nil.order(Value::Nil)) => {
                            flip(&mut nil, atom);
                            probe.nil.push(atom);
                        }
                        Constant::Text(text) if *op == Op::Eq => {
                            probe.texts.insert(text.as_bytes().into(), atom);
                            probe.lengths |= 1 << (text.len() % 64);
                        }
                        // Its value is never a fraction.
                        Constant::Int(value)
                            if test.subject == Subject::Duration
                                && let Some(from) = lower_bound(*op, *value) =>
                        {
                            probe.from.push((from, atom));
                        }
                        constant => probe.comparisons.push((atom, *op, constant.clone())),
                    }
                }
                Test::Matches(pattern) => {
                    let (probe, cost) = probes.of(&test.subject);
                    costs.push(cost);
                    if let Some(number) = self.patterns.number(pattern) {
                        probe.patterns.push((atom, number));
                    }
                }
                Test::Comes(..) | Test::Any(_) => {
                    // As many as atoms at most.
                    costs.push(probes.ask(&test, computations.len() as u16));
                    let of_nil = look::holds(&test, &[], &|_| Computed::NIL);
                    if of_nil {
                        flip(&mut nil, atom);
                    }
                    computations.push(Computation { atom, nil: of_nil, test });
                }
            }
        }
        self.values.items.iter().for_each(|subject| probes.see(subject));
        probes.duration.from.sort_unstable();
        let mut parts_detailed = false;
        for part in &self.parts.items {
            part.of.subjects(&mut |subject| parts_detailed |= probes.find(subject));
        }
        let Probes { keys, attributes, name, kind, status, duration, around_several, asked, detailed, .. } = probes;
        let fields = probes.fields.items.into_iter().zip(probes.field_probes).collect();
        let predicates = self.predicates.items;
        let asked = questions(&asked, &computations, roots, &predicates);
        Program {
            keys: Keys::new(keys.items.iter().map(Vec::as_slice)),
            attributes,
            name,
            kind,
            status,
            duration,
            around: probes.around.items.into_iter().zip(probes.around_probes).collect(),
            around_several,
            rare: Rare { fields, asked, detailed },
            beside: probes.beside.items,
            computations,
            patterns: self.patterns.items,
            nil,
            costs,
            roots,
            counters,
            predicates,
            marked: self.marks.items,
            acts: None,
            parts: self.parts.items,
            parts_detailed,
            asks_tree: self.asks_tree,
            asks_names: self.asks_names,
            asks_links: self.asks_links,
            values: self.values.items,
        }
    }
}

/// The probes of a program that is being built.
#[derive(Default)]
struct Probes {
    keys: Numbered<Vec<u8>>,
    attributes: Vec<Probe>,
    name: Probe,
    kind: Probe,
    status: Probe,
    duration: Probe,
    around: Numbered<Subject>,
    around_probes: Vec<Probe>,
    around_several: Vec<u16>,
    fields: Numbered<Field>,
    field_probes: Vec<Probe>,
    beside: Numbered<Field>,
    asked: Vec<u16>,
    detailed: bool,
}

// === impl Probes ===

impl Probes {
    /// The probe of a subject, new if the subject is, and what it costs to rely on it.
    fn of(&mut self, subject: &Subject) -> (&mut Probe, u32) {
        match subject {
            Subject::Attribute(key) => (slot(&mut self.keys, &key.as_bytes().to_vec(), &mut self.attributes), 1),
            Subject::Name => (&mut self.name, 2),
            Subject::Status => (&mut self.status, 3),
            Subject::Duration => (&mut self.duration, 4),
            Subject::Kind => (&mut self.kind, 5),
            Subject::Field(field) => {
                self.detailed |= self.find(subject);
                (slot(&mut self.fields, field, &mut self.field_probes), 6)
            }
            Subject::Inside(outer, keys) => {
                let (probe, cost) = self.of(outer);
                (inside(&mut probe.more.get_or_insert_default().inside, keys), cost)
            }
            // What is of many, or of several, is asked and not probed.
            Subject::ResourceAttribute(_)
            | Subject::Around(_)
            | Subject::Several
            | Subject::OfSpan(_)
            | Subject::Events
            | Subject::Links => (slot(&mut self.around, subject, &mut self.around_probes), 0),
        }
    }

    /// Sees to it that what is asked of each span is there when it is looked at.
    fn see(&mut self, subject: &Subject) {
        self.detailed |= self.find(subject);
    }

    /// The same, and whether that takes another look at the span's bytes.
    fn find(&mut self, subject: &Subject) -> bool {
        match outermost(subject) {
            Subject::Attribute(key) => _ = slot(&mut self.keys, &key.as_bytes().to_vec(), &mut self.attributes),
            Subject::Field(field) => {
                if field.is_of_record() {
                    // As many as atoms look at, at most.
                    _ = self.beside.number(field);
                }
                return field.is_detail();
            }
            _ => {}
        }
        false
    }

    /// Places a computation where what it looks at is known; what it costs to rely on it.
    fn ask(&mut self, test: &SpanTest, place: u16) -> u32 {
        let is_of_many = matches!(test.test, Test::Any(_));
        if !is_of_many && test.subject != Subject::Several {
            let (probe, cost) = self.of(&test.subject);
            probe.more.get_or_insert_default().computations.push(place);
            return cost;
        }
        let mut on_span = is_of_many;
        test.subjects(&mut |subject| {
            on_span |= !subject.is_around();
            self.see(subject);
        });
        if !on_span {
            self.around_several.push(place);
            return 0;
        }
        self.asked.push(place);
        if is_of_many { ASKED } else { ASKED + 1 }
    }
}

/// What is asked, in these places, with the predicates it is part of.
fn questions(asked: &[u16], computations: &[Computation], roots: usize, predicates: &[Formula<u16>]) -> Vec<Question> {
    let atom = |place: u16| computations[usize::from(place)].atom;
    let mut questions: Vec<Question> = asked
        .iter()
        .map(|&place| Question { place, of_root: usize::from(atom(place)) < roots, predicates: Vec::new() })
        .collect();
    let numbers: HashMap<u16, usize, FixedState> = asked.iter().map(|place| atom(*place)).zip(0..).collect();
    for (number, predicate) in (0..).zip(predicates) {
        predicate.leaves(&mut |leaf| {
            if let Some(&at) = numbers.get(leaf)
                && questions[at].predicates.last() != Some(&number)
            {
                questions[at].predicates.push(number);
            }
        });
    }
    questions
}

/// The least whole number of which it holds, if it holds of all above.
fn lower_bound(op: Op, value: i64) -> Option<i64> {
    match op {
        Op::Ge => Some(value),
        Op::Gt => value.checked_add(1),
        _ => None,
    }
}

fn outermost(subject: &Subject) -> &Subject {
    match subject {
        Subject::Inside(outer, _) => outermost(outer),
        _ => subject,
    }
}

fn inside<'p>(probes: &'p mut Vec<(Vec<Key>, Probe)>, keys: &[Key]) -> &'p mut Probe {
    let place = probes.iter().position(|(known, _)| known == keys).unwrap_or(probes.len());
    if place == probes.len() {
        probes.push((keys.to_vec(), Probe::default()));
    }
    &mut probes[place].1
}

/// The probe of a key, new if the key is. Atoms are at most `NUMBERED_MAX`, and what each looks at is bounded by its text.
fn slot<'p, K: Clone + Eq + std::hash::Hash>(
    keys: &mut Numbered<K>,
    key: &K,
    probes: &'p mut Vec<Probe>,
) -> &'p mut Probe {
    let slot = keys.number(key).map_or(0, usize::from);
    if slot == probes.len() {
        probes.push(Probe::default());
    }
    &mut probes[slot]
}

// === impl Numbered ===

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { items: Vec::new(), numbers: HashMap::default() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbered<T> {
    fn len(&self) -> usize {
        self.items.len()
    }

    /// The number of an item, a new one if it is new; None where there are too many.
    fn number(&mut self, item: &T) -> Option<u16> {
        if let Some(number) = self.numbers.get(item) {
            return Some(*number);
        }
        let number = u16::try_from(self.items.len()).ok().filter(|number| usize::from(*number) < NUMBERED_MAX)?;
        self.items.push(item.clone());
        self.numbers.insert(item.clone(), number);
        Some(number)
    }
}
