//! What the core counts: plain numbers, read by whoever drives it.

use crate::{
    assemble::Reason,
    decide::Verdict,
    model::Threshold,
    recall,
    sample::{Over, coverage::Coverage, rare},
};

/// Counts since the start, of spans where nothing else is said.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub received: u64,
    /// Acknowledged by the output.
    pub forwarded: u64,
    /// By verdict.
    pub dropped: u64,
    /// Bad input, in the dead letters.
    pub rejected: u64,
    /// Undecided when their partition was taken away: whoever owns it now reads them again.
    pub returned: u64,
    /// Handled before a restart, and read again.
    pub skipped: u64,
    pub late_kept: u64,
    pub late_dropped: u64,
    /// Came when a verdict on their trace, if there was one, was forgotten; they are counted by what became of them too.
    pub past: u64,
    /// Late spans of dropped traces for which a policy would have kept them, by policy.
    pub regret: Vec<u64>,
    /// Traces that a policy in the shadow would have dropped, and kept, by policy.
    pub shadows: Vec<[u64; 2]>,
    /// What came of the windows of `slowest`, by policy.
    pub slowest: Vec<Coverage>,
    /// What came of the periods of `rare`, by policy.
    pub rare: Vec<rare::Coverage>,
    /// What ceilings dropped of what a policy would have kept, by policy.
    pub cuts: Vec<Cut>,
    /// Records in the dead letters as a whole; what spans they held is not known.
    pub rejected_records: u64,
    /// Records whose time is off by more than `max_wait`.
    pub skewed: u64,
    /// Traces of a keyed topic found on more than one partition.
    pub spread: u64,
    /// Verdicts forgotten before their time.
    pub forgotten: u64,
    /// Marks of kept traces that others were to follow, which left before their time.
    pub unmarked: u64,
    /// Whose payload was given up, near the budget.
    pub given_up: u64,
    /// What was read again of those that were kept.
    pub recall: recall::Read,
    /// By the reason of the verdict.
    completed: [Completed; Reason::ALL.len()],
    /// Traces by policy (the first is `otherwise`), verdict and reason.
    decided: Vec<[[u64; Reason::ALL.len()]; 2]>,
}

/// Traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    pub by_rate: u64,
    pub by_budget: u64,
    /// Of those, the ones that were to give way last.
    pub protected: u64,
    /// Of all, those that had no chance, whatever their randomness: estimates miss them.
    pub starved: u64,
}

// === impl Cut ===

impl Cut {
    /// One, of such of which so much is kept.
    pub fn by_rate(&mut self, threshold: Threshold) {
        self.by_rate += 1;
        self.starved += u64::from(threshold == Threshold::NEVER);
    }

    /// The same.
    pub fn by_budget(&mut self, threshold: Threshold, protected: bool) {
        self.by_budget += 1;
        self.protected += u64::from(protected);
        self.starved += u64::from(threshold == Threshold::NEVER);
    }
}

/// What is known of traces that were decided for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completed {
    /// Spans that came before the verdict, and after it.
    pub before: u64,
    pub late: u64,
    /// How long traces were held, in milliseconds of record time, all together.
    pub held: u64,
}

// === impl Stats ===

impl Stats {
    pub fn new(policies: usize) -> Self {
        let mut stats = Self::default();
        stats.grow(policies);
        stats
    }

    /// There are so many policies by now, if not more, which have the numbers below.
    pub fn grow(&mut self, policies: usize) {
        let policies = policies.max(self.regret.len());
        self.decided.resize(policies + 1, Default::default());
        self.regret.resize(policies, 0);
        self.shadows.resize(policies, Default::default());
        self.slowest.resize(policies, Default::default());
        self.rare.resize(policies, Default::default());
        self.cuts.resize(policies, Cut::default());
    }

    pub fn over(&mut self, policy: u16, over: Over) {
        let policy = usize::from(policy);
        match over {
            Over::Slowest(coverage) => self.slowest[policy] += coverage,
            Over::Rare(coverage) => self.rare[policy] += coverage,
            Over::Nothing => {}
        }
    }

    pub fn shadowed(&mut self, policy: u16, keep: bool) {
        self.shadows[usize::from(policy)][usize::from(keep)] += 1;
    }

    pub fn decided(&mut self, verdict: Verdict, reason: Reason) {
        let policy = verdict.policy.map_or(0, |policy| usize::from(policy) + 1);
        self.decided[policy][usize::from(verdict.keep)][reason as usize] += 1;
    }

    /// A trace of so many spans was held for so many milliseconds.
    pub fn held(&mut self, reason: Reason, spans: u32, ms: u64) {
        let completed = &mut self.completed[reason as usize];
        completed.before += u64::from(spans);
        // Stamps may be of any time.
        completed.held = completed.held.saturating_add(ms);
    }

    /// A span came after a verdict.
    pub fn late(&mut self, reason: Reason) {
        self.completed[reason as usize].late += 1;
    }

    pub fn completed(&self) -> impl Iterator<Item = (Reason, Completed)> {
        Reason::ALL.into_iter().map(|reason| (reason, self.completed[reason as usize]))
    }

    /// Traces decided: by policy (None is `otherwise`), kept or not, why they were complete, and how many.
    pub fn decisions(&self) -> impl Iterator<Item = (Option<usize>, bool, Reason, u64)> {
        self.decided.iter().enumerate().flat_map(move |(policy, verdicts)| {
            let policy = policy.checked_sub(1);
            verdicts.iter().enumerate().flat_map(move |(keep, reasons)| {
                Reason::ALL.into_iter().map(move |reason| (policy, keep == 1, reason, reasons[reason as usize]))
            })
        })
    }

    /// I1: what was received and is neither out, nor dropped, nor rejected, nor given back, nor held.
    pub fn lost(&self, held: u64) -> i64 {
        let accounted = self.forwarded + self.dropped + self.rejected + self.returned + self.skipped + held;
        self.received as i64 - accounted as i64
    }
}
