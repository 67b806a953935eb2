//! What takes more than a condition to do wrong.

use super::super::{Worker, io::Io};
use crate::{
    mutant::{self, Mutant},
    tick::Tick,
};

impl<I: Io> Worker<I> {
    /// A tick has been cut, and is about to be sent.
    pub fn mutate(&mut self, tick: &mut Tick) -> anyhow::Result<()> {
        if mutant::is(Mutant::RecallAfterCommit) && !tick.recall.is_empty() {
            let mut later = self.engine.cut();
            later.recall = std::mem::take(&mut tick.recall);
            let later = self.parcel(later);
            self.again.keep(later);
            return Ok(());
        }
        let at_send = mutant::is(Mutant::WatermarkAtSend);
        if !at_send && !mutant::is(Mutant::OutputAfterCut) {
            return Ok(());
        }
        self.read()?;
        _ = self.engine.advance();
        if at_send {
            tick.watermarks.clear();
            self.engine.watermarks(&mut tick.watermarks);
        } else {
            let mut later = self.engine.cut();
            let shift = tick.bytes.len();
            tick.bytes.extend_from_slice(&later.bytes);
            for mut kept in later.kept.drain(..) {
                kept.bytes = kept.bytes.start + shift..kept.bytes.end + shift;
                tick.kept.push(kept);
            }
            if !later.is_empty() {
                let later = self.parcel(later);
                self.again.keep(later);
            }
        }
        Ok(())
    }
}
