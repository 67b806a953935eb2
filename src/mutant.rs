//! Rules of the commit protocol, each of which a test build can switch off: a test that does not notice proves nothing.

/// Named by what is done instead of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "some are the simulation's alone"))]
pub enum Mutant {
    /// Traces are decided while a partition is not yet where it was before a restart.
    NoBarrier,
    /// P is wherever reading has come to after a restart.
    PositionFallsBack,
    /// A trace has one first offset, and not one in each partition.
    OneFirstOffset,
    /// Watermarks are those of when a tick is sent.
    WatermarkAtSend,
    /// What is decided after the cut goes out with it, its decisions later.
    OutputAfterCut,
    /// Decisions are read as far as they can be when it is asked.
    RestoreToStableOffset,
    /// What is remembered is a cache of some verdicts.
    VerdictsInCache,
    /// A tick's offsets are sent as the member of now.
    MembershipOfLater,
    /// All partitions follow the clock that is most ahead.
    ClockOfAll,
    /// The end of what can be read is the end of the log.
    StableEndIsHead,
    /// What was fetched and is not to be polled has been polled.
    EmptyQueueIsPolled,
    /// Records are rejected again when they are read again.
    RejectedAgain,
    /// What was handled before a restart is handled again.
    NothingSkipped,
    /// What the open tick holds of a partition stays when that is taken away.
    RevokedStaysInTick,
    /// An aborted tick is forgotten.
    AbortedIsForgotten,
    /// Decisions of a partition of which nothing else has changed are in no commit.
    DecisionsUnnamed,
    /// What tells of a transaction's end is how far the committed position is.
    PositionIsWitness,
    /// The oldest trace is not decided where memory is full.
    BudgetIgnored,
    /// What is complete is looked for once a turn, and not before each record.
    DeadlinesPerTurn,
    /// What samplers have learned is written beside the transaction.
    StateOutsideTransaction,
    /// What samplers had learned is not read back.
    LearnsAnew,
    /// All spans of a record stand in the envelopes of the first.
    FirstEnvelope,
    /// An unkeyed input is taken in as it comes.
    AsItComes,
    /// What is recalled goes out with the tick after that of its decisions and watermarks.
    RecallAfterCommit,
}

#[cfg(test)]
pub const MUTANTS: [Mutant; 24] = [
    Mutant::NoBarrier,
    Mutant::PositionFallsBack,
    Mutant::OneFirstOffset,
    Mutant::WatermarkAtSend,
    Mutant::OutputAfterCut,
    Mutant::RestoreToStableOffset,
    Mutant::VerdictsInCache,
    Mutant::MembershipOfLater,
    Mutant::ClockOfAll,
    Mutant::StableEndIsHead,
    Mutant::EmptyQueueIsPolled,
    Mutant::RejectedAgain,
    Mutant::NothingSkipped,
    Mutant::RevokedStaysInTick,
    Mutant::AbortedIsForgotten,
    Mutant::DecisionsUnnamed,
    Mutant::PositionIsWitness,
    Mutant::BudgetIgnored,
    Mutant::DeadlinesPerTurn,
    Mutant::FirstEnvelope,
    Mutant::StateOutsideTransaction,
    Mutant::LearnsAnew,
    Mutant::AsItComes,
    Mutant::RecallAfterCommit,
];

#[cfg(test)]
thread_local! {
    static SWITCHED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether a rule is switched off; never outside of tests.
#[cfg(test)]
pub fn is(mutant: Mutant) -> bool {
    SWITCHED.get() == Some(mutant)
}

#[cfg(not(test))]
#[inline(always)]
pub const fn is(_: Mutant) -> bool {
    false
}

/// Switches a rule off on this thread, or all on again.
#[cfg(test)]
pub fn switch(mutant: Option<Mutant>) {
    SWITCHED.set(mutant);
}

/// Does something by all rules.
#[cfg(test)]
pub fn without<T>(by_all: impl FnOnce() -> T) -> T {
    let switched = SWITCHED.replace(None);
    let done = by_all();
    SWITCHED.set(switched);
    done
}
