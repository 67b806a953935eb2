//! Child processes that cannot outlive the tests.

use std::process::{Child, Command, Stdio};

/// Kills a process when this one is gone, even by SIGKILL: libtest drops no statics, and a killed test drops nothing.
pub struct Leash(Child);

impl Leash {
    pub fn on(process: &Child) -> Self {
        // The pipe closes with us. A Ctrl-C reaches the shell too, and must not end it before its work is done.
        let script = "trap '' INT TERM HUP; read -r _; kill -9 \"$1\" 2>/dev/null";
        let shell = Command::new("sh")
            .args(["-c", script, "leash", &process.id().to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        Self(shell)
    }
}

impl Drop for Leash {
    /// The process has ended, and its id may be another's by now.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
