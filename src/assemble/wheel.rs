//! A timing wheel: which traces are due, in the order of time.
//!
//! Deadlines are kept to 64 ms, rounded up, so firing them is a function of record time alone. Entries are chained through
//! the traces themselves; arming costs nothing but two links.

use super::slab::NIL;

/// A trace as the wheel sees it.
pub trait Armed {
    /// The grain it is armed for, and its neighbours in the slot.
    fn timer(&mut self, at: u32) -> &mut Timer;
}

#[derive(Clone, Copy, Debug)]
pub struct Timer {
    pub grain: i64,
    pub previous: u32,
    pub next: u32,
}

pub struct Wheel {
    slots: Box<[u32; SLOTS]>,
    /// All grains below are done.
    cursor: i64,
    len: u32,
}

/// Milliseconds a grain.
pub const GRAIN: i64 = 64;
/// Grains whose alarms may ring as one: 1.024 s, about as long as a tick.
pub const TOGETHER: i64 = 16;
/// 65 s a round: a longer deadline stays in its slot for another.
const SLOTS: usize = 1024;

/// Before all times there are.
const BEGINNING: i64 = i64::MIN / 2;

/// The first grain at whose beginning `ms` has been reached.
pub fn grain(ms: i64) -> i64 {
    ms.saturating_add(GRAIN - 1).div_euclid(GRAIN)
}

// === impl Wheel ===

impl Wheel {
    pub fn arm(&mut self, traces: &mut impl Armed, at: u32, grain: i64) {
        let grain = grain.max(self.cursor);
        let slot = Self::slot(grain);
        let next = std::mem::replace(&mut self.slots[slot], at);
        *traces.timer(at) = Timer { grain, previous: NIL, next };
        if next != NIL {
            traces.timer(next).previous = at;
        }
        self.len += 1;
    }

    pub fn disarm(&mut self, traces: &mut impl Armed, at: u32) {
        let Timer { grain, previous, next } = *traces.timer(at);
        match previous {
            NIL => self.slots[Self::slot(grain)] = next,
            _ => traces.timer(previous).next = next,
        }
        if next != NIL {
            traces.timer(next).previous = previous;
        }
        self.len -= 1;
    }

    /// Disarms what is armed for the earliest grain reached at `now` into `due`, in no order; false where nothing is due.
    pub fn due(&mut self, traces: &mut impl Armed, now: i64, due: &mut Vec<u32>) -> bool {
        let now = now.div_euclid(GRAIN);
        let mut silent = 0;
        while self.cursor <= now {
            if self.len == 0 {
                self.cursor = now + 1;
                return false;
            }
            if silent == SLOTS {
                // A round without an alarm, as when time begins: the next is far, and found rather than walked to.
                self.cursor = self.earliest(traces).min(now + 1);
                silent = 0;
                continue;
            }
            let mut at = self.slots[Self::slot(self.cursor)];
            while at != NIL {
                let timer = *traces.timer(at);
                if timer.grain <= self.cursor {
                    due.push(at);
                    self.disarm(traces, at);
                }
                at = timer.next;
            }
            if !due.is_empty() {
                // The grain stays current: what is armed while these are handled may be due in it too.
                return true;
            }
            self.cursor += 1;
            silent += 1;
        }
        false
    }

    fn earliest(&self, traces: &mut impl Armed) -> i64 {
        let mut earliest = i64::MAX;
        for &head in self.slots.iter() {
            let mut at = head;
            while at != NIL {
                let timer = *traces.timer(at);
                earliest = earliest.min(timer.grain);
                at = timer.next;
            }
        }
        earliest
    }

    /// Time begins anew.
    pub fn rewind(&mut self) {
        self.cursor = BEGINNING;
    }

    /// The grain now ringing, or the next to ring; none before time begins.
    pub fn current(&self) -> Option<i64> {
        (self.cursor != BEGINNING).then_some(self.cursor)
    }

    /// What a wheel has allocated.
    pub const BYTES: usize = size_of::<[u32; SLOTS]>();

    fn slot(grain: i64) -> usize {
        grain.rem_euclid(SLOTS as i64) as usize
    }
}

impl Default for Wheel {
    fn default() -> Self {
        Self { slots: Box::new([NIL; SLOTS]), cursor: BEGINNING, len: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Timers(Vec<Timer>);

    impl Armed for Timers {
        fn timer(&mut self, at: u32) -> &mut Timer {
            &mut self.0[at as usize]
        }
    }

    proptest! {
        /// Alarms anywhere within days, some disarmed, time going on in steps from none to days.
        #[test]
        fn rings_in_order_when_due_and_not_before(
            steps in prop::collection::vec((prop::collection::vec((-3_000_i64..5_000, prop::bool::weighted(0.2)), 0..6), prop::sample::select(vec![0_i64, 1, 64, 5_000, 70_000, 9_000_000])), 1..30),
        ) {
            let (mut wheel, mut timers) = (Wheel::default(), Timers(Vec::new()));
            let mut armed: Vec<(i64, u32)> = Vec::new();
            let mut now = 1_700_000_000_000_i64;
            for (alarms, step) in steps {
                for (distance, gone) in alarms {
                    let at = timers.0.len() as u32;
                    timers.0.push(Timer { grain: 0, previous: NIL, next: NIL });
                    wheel.arm(&mut timers, at, grain(now) + distance);
                    if gone {
                        wheel.disarm(&mut timers, at);
                    } else {
                        armed.push((timers.0[at as usize].grain, at));
                        prop_assert!(timers.0[at as usize].grain >= grain(now) + distance);
                    }
                }
                now += step;
                let mut due = Vec::new();
                while wheel.due(&mut timers, now, &mut due) {
                    armed.sort_unstable();
                    let ringing: Vec<_> = armed.iter().take_while(|alarm| alarm.0 == armed[0].0).map(|a| a.1).collect();
                    prop_assert!(armed[0].0 * GRAIN <= now && Some(armed[0].0) == wheel.current());
                    armed.drain(..ringing.len());
                    due.sort_unstable();
                    prop_assert_eq!(std::mem::take(&mut due), ringing);
                }
                prop_assert!(armed.iter().all(|alarm| alarm.0 * GRAIN > now));
            }
        }
    }
}
