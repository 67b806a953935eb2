//! Ctrl-C: asked once, the demo ends early and still checks itself; asked twice, it ends.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// How often SIGINT, SIGTERM or SIGHUP came.
pub(super) struct Interrupt(Arc<AtomicU32>);

// === impl Interrupt ===

impl Interrupt {
    /// Takes the signals over from here on.
    ///
    /// # Errors
    /// The system does not let them be watched.
    pub fn watch() -> anyhow::Result<Self> {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate, mut hangup) = {
            let _inside = runtime.enter();
            let watch = |kind| signal(kind).context("signals cannot be watched");
            (watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?, watch(SignalKind::hangup())?)
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hangup.recv() => {}
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            });
        })?;
        Ok(Self(count))
    }

    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    pub fn insisted(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1
    }
}
