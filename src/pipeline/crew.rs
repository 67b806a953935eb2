//! The threads of a run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::anyhow;
use tokio::{sync::mpsc, time::timeout};

use super::GRACE;

/// Threads that stop when one of them fails.
pub struct Crew {
    stop: Arc<AtomicBool>,
    done: mpsc::UnboundedSender<anyhow::Result<()>>,
    ended: mpsc::UnboundedReceiver<anyhow::Result<()>>,
    hold: mpsc::Sender<()>,
    closed: mpsc::Receiver<()>,
}

/// For consumers to leave the group; a request to a broker that answers.
const GOODBYE: Duration = Duration::from_secs(1);

// === impl Crew ===

impl Crew {
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        let (done, ended) = mpsc::unbounded_channel();
        let (hold, closed) = mpsc::channel(1);
        Self { stop, done, ended, hold, closed }
    }

    /// Makes and runs something on a thread of its own.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn start<T: 'static>(
        &self,
        name: String,
        make: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
        run: fn(&mut T) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (done, hold) = (self.done.clone(), self.hold.clone());
        thread::Builder::new().name(name.clone()).spawn(move || {
            let mut made = None;
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(made.insert(make()?))));
            let result = result.unwrap_or_else(|_| Err(anyhow!("{name} panicked")));
            // Nobody listens when the process is already on its way out.
            _ = done.send(result);
            // A consumer says goodbye to its group, which may take as long as the group likes.
            drop(made);
            drop(hold);
        })?;
        Ok(())
    }

    /// Waits until all of them are done, where none fails, and not for long until they are gone: a consumer may never let go of
    /// its group.
    ///
    /// # Errors
    /// What the first of them to fail failed of.
    pub async fn end(self) -> anyhow::Result<()> {
        let Self { stop, done, mut ended, hold, mut closed } = self;
        drop((done, hold));
        let mut first = Ok(());
        // Where one fails, another may hang of the same cause.
        let mut patience = Duration::MAX;
        while let Ok(Some(result)) = timeout(patience, ended.recv()).await {
            if result.is_err() {
                stop.store(true, Ordering::Release);
                patience = GRACE;
            }
            first = first.and(result);
        }
        _ = timeout(GOODBYE, closed.recv()).await;
        first
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use anyhow::bail;

    use super::*;

    /// Is not gone before somebody says so.
    struct Stuck(Receiver<()>);

    impl Drop for Stuck {
        fn drop(&mut self) {
            _ = self.0.recv();
        }
    }

    fn waits(stop: &mut Arc<AtomicBool>) -> anyhow::Result<()> {
        while !stop.load(Ordering::Acquire) {
            thread::yield_now();
        }
        Ok(())
    }

    /// The reason that a crew ends with.
    fn reason(crew: Crew) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let ended = runtime.block_on(async { timeout(GRACE * 6, crew.end()).await });
        ended.expect("it ends").expect_err("one failed").to_string()
    }

    #[test]
    fn the_reason_is_told_though_a_consumer_is_not_let_go_of() {
        let stop = Arc::new(AtomicBool::new(false));
        let crew = Crew::new(stop.clone());
        let (hold, stuck) = channel();
        crew.start("stuck".to_owned(), || Ok(Stuck(stuck)), |_| bail!("the reason")).expect("a thread");
        crew.start("waiting".to_owned(), || Ok(stop), waits).expect("a thread");
        assert_eq!(reason(crew), "the reason");
        drop(hold);
    }

    #[test]
    fn the_reason_is_told_though_another_hangs() {
        let crew = Crew::new(Arc::default());
        let (hold, stuck) = channel::<()>();
        let hangs = |stuck: &mut Receiver<()>| Ok(_ = stuck.recv());
        crew.start("hanging".to_owned(), || Ok(stuck), hangs).expect("a thread");
        crew.start("failing".to_owned(), || Ok(()), |()| bail!("the reason")).expect("a thread");
        assert_eq!(reason(crew), "the reason");
        drop(hold);
    }
}
