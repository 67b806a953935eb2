//! `tailwater demo`, run as a newcomer runs it, and with a fault: it must see the difference.

use std::{
    process::{Command, Stdio},
    thread,
};

use crate::support::seed::seed;

/// How it ended, and what stood on the screen.
struct Run {
    code: Option<i32>,
    text: String,
}

// === impl Run ===

impl Run {
    /// As short as it may be. It ends by itself, and its processor with it, so nothing here has to end it.
    fn of(seed: u64, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater"));
        command.args(["demo", "--for", "30s", "--rate", "1000", "--seed", &seed.to_string()]).args(more);
        // A red run leaves its files for a person.
        command.env("TMPDIR", env!("CARGO_TARGET_TMPDIR"));
        let output = command.stdin(Stdio::null()).output().expect("the program starts");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Self { code: output.status.code(), text }
    }

    /// A row of the table at the end.
    fn row(&self, what: &str) -> &str {
        let row = |line: &&str| line.trim_start().trim_start_matches(['✓', '✗', '·', ' ']).starts_with(what);
        self.text.lines().find(row).unwrap_or_else(|| panic!("no row `{what}` in:\n{}", self.text)).trim()
    }

    fn is_green(&self, what: &str) {
        assert!(self.row(what).starts_with('✓'), "{what} in:\n{}", self.text);
    }
}

#[test]
fn the_demo_is_green_and_red_where_it_is_spoilt() {
    let seed = seed();
    let (good, spoilt) = thread::scope(|scope| {
        let good = scope.spawn(|| Run::of(seed, &[]));
        let spoilt = Run::of(seed, &["--break", "drop-one-span"]);
        (good.join().expect("it only waits"), spoilt)
    });

    assert_eq!(good.code, Some(0), "{}", good.text);
    assert!(!good.text.contains('✗'), "{}", good.text);
    for what in ["SIGKILL at", "spans re-read after the kill", "log needed for hold and restart", "lost", "split"] {
        good.is_green(what);
    }
    for words in ["/metrics", "a 1 % head sample would have kept", "only slower than 2 s would have kept"] {
        assert!(good.text.contains(words), "{words} in:\n{}", good.text);
    }

    assert_eq!(spoilt.code, Some(1), "{}", spoilt.text);
    let (withheld, split) = (spoilt.row("spoilt on purpose"), spoilt.row("split"));
    let trace = withheld.split(' ').find(|word| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit()));
    let trace = trace.unwrap_or_else(|| panic!("no trace in `{withheld}`"));
    assert!(split.starts_with('✗') && split.ends_with(&format!(" 1   such as {trace}")), "{}", spoilt.text);
    for what in ["SIGKILL at", "spans re-read after the kill", "lost"] {
        spoilt.is_green(what);
    }
}
