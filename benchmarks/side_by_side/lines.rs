//! What several contenders made of the same task, round by round.

use super::{contender::Contender, figures::order, kept::Kept};

pub struct Lines<R> {
    pub lines: Vec<Line<R>>,
    /// All that was kept by anybody, each once: one, if all goes well.
    pub kept: Vec<Kept>,
}

/// A contender's runs.
pub struct Line<R> {
    pub contender: Contender,
    pub runs: Vec<R>,
    /// Which of what was kept, run by run; none of a floor.
    pub kept: Vec<usize>,
    /// Why its figures do not count.
    pub void: Option<String>,
}

// === impl Lines ===

impl<R> Lines<R> {
    /// Has each contender run once in each of its rounds, under a group that nobody has had, and compares what they kept. A run tells
    /// its figures and what was kept, or why there are none.
    pub fn measure(
        contenders: Vec<Contender>,
        rounds: impl Fn(Contender) -> usize,
        name: &str,
        mut run: impl FnMut(Contender, &str) -> Result<(R, Option<Kept>), String>,
    ) -> Self {
        let line = |contender| Line { contender, runs: Vec::new(), kept: Vec::new(), void: None };
        let mut lines = Self { lines: contenders.into_iter().map(line).collect(), kept: Vec::new() };
        let most = lines.lines.iter().map(|line| rounds(line.contender)).max().unwrap_or_default();
        for round in 0..most {
            for at in order(round, lines.lines.len()) {
                let Line { contender, void, .. } = &lines.lines[at];
                // One that has failed is not waited for again.
                if void.is_none() && round < rounds(*contender) {
                    let ran = run(*contender, &format!("{name}-{at}-{round}"));
                    lines.add(at, ran);
                }
            }
        }
        lines.compare();
        lines
    }

    pub fn of(&self, contender: Contender) -> Option<&Line<R>> {
        self.lines.iter().find(|line| line.contender == contender)
    }

    fn add(&mut self, at: usize, ran: Result<(R, Option<Kept>), String>) {
        let (figures, kept) = match ran {
            Ok(ran) => ran,
            Err(reason) => return self.lines[at].void = Some(reason),
        };
        self.lines[at].runs.push(figures);
        if let Some(kept) = kept {
            let known = self.kept.iter().position(|other| *other == kept);
            let place = known.unwrap_or_else(|| {
                self.kept.push(kept);
                self.kept.len() - 1
            });
            self.lines[at].kept.push(place);
        }
    }

    /// Figures count only where the same was kept, in every run.
    fn compare(&mut self) {
        let Some(ours) = self.of(Contender::Tailwater).and_then(|line| line.kept.first().copied()) else { return };
        for line in &mut self.lines {
            if let (None, Some(other)) = (&line.void, line.kept.iter().find(|kept| **kept != ours)) {
                let differing = self.kept[*other].differing(&self.kept[ours]);
                line.void = Some(format!("{differing} traces differ from what Tailwater kept at first"));
            }
        }
    }
}
