//! Ticks are cut, and settled when they are out.

use super::{Engine, STATE_BYTES};
use crate::{
    assemble::Cut,
    tick::{Logged, Tick, Watermark},
};

impl Engine {
    /// Freezes what happened since the last cut, and the watermarks as of now. A partition that is not yet where it was
    /// before has none.
    pub fn cut(&mut self) -> Tick {
        self.retire();
        let mut tick = std::mem::replace(&mut self.tick, std::mem::take(&mut self.spare));
        tick.number = self.assembly.tick;
        tick.names.clone_from(&self.edition().names);
        tick.decisions.sort_unstable_by_key(|&(partition, _)| partition);
        if !self.concluding {
            self.rest();
        }
        self.forget_trails();
        let room = if self.concluding { self.settings.tick_bytes } else { STATE_BYTES };
        let time = self.assembly.time();
        self.states.write(room, |of| {
            let at = time.partitions().find(|(_, partition)| partition.rank == of.partition);
            tick.states.extend(at.map(|(at, _)| of.called(at)));
        });
        self.watermarks(&mut tick.watermarks);
        self.assembly.time().weigh_ticks();
        self.assembly.tick += 1;
        self.out = (tick.allocated(), tick.spans());
        tick
    }

    pub(crate) fn watermarks(&mut self, watermarks: &mut Vec<Watermark>) {
        let partitions = self.assembly.time().partitions().map(|(at, _)| at).collect::<Vec<_>>();
        watermarks.extend(partitions.into_iter().filter_map(|partition| {
            let Cut { offset, since, age, position, floor, last, settled, clock } = self.assembly.cut(partition)?;
            Some(Watermark { partition, offset, position, floor, last, settled, since, clock, age })
        }));
    }

    /// The ticks from now on are the last ones.
    pub fn conclude(&mut self) {
        self.concluding = true;
    }

    /// A tick is out and committed; `logged` is where its decisions stand.
    pub fn settle(&mut self, mut tick: Tick, logged: &[Logged]) {
        // What nobody has recalled nobody sends either: a dry run.
        let recalled = tick.recall.spans();
        self.stats.forwarded += recalled + tick.kept.iter().map(|kept| u64::from(kept.spans)).sum::<u64>();
        self.stats.recall += tick.recall.read;
        self.stats.rejected += tick.dead.iter().map(|dead| u64::from(dead.spans)).sum::<u64>();
        self.stats.rejected_records += tick.dead.iter().filter(|dead| dead.spans == 0).count() as u64;
        let owned = |at: u32| tick.watermarks.iter().any(|watermark| watermark.partition == at);
        for &Logged { partition, first, last } in logged.iter().filter(|logged| owned(logged.partition)) {
            self.assembly.time().partition(partition).floor.logged(tick.number, first, last);
        }
        tick.clear();
        self.out = (0, 0);
        self.room = 0;
        // A tick that was blown up by one moment keeps its memory no longer than that.
        if tick.allocated() <= self.settings.tick_bytes * 2 {
            self.spare = tick;
        }
        self.wrote();
    }
}
