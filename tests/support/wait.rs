//! Waiting for a condition, never for time to pass.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Asks again until there is an answer; panics with what was waited for when `deadline` is over.
pub fn wait_for<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// As [`wait_for`], for something that is or is not so.
pub fn wait_until(what: &str, deadline: Duration, mut so: impl FnMut() -> bool) {
    wait_for(what, deadline, || so().then_some(()));
}
