//! Policies loaded anew while the processor runs: when their files change, and on SIGHUP.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::{JoinError, spawn_blocking},
    time::sleep,
};

use crate::{
    config::{self, Config},
    decide::Edition,
    diagnostic::Diagnostics,
    telemetry::Telemetry,
};

/// Reads the configuration as at the start: the same file, environment and flags.
pub type Load = Box<dyn Fn() -> Result<Config, Diagnostics> + Send + Sync>;

/// Looks after the files that policies stand in, and hands what they come to to the workers.
pub struct Reload {
    /// What runs.
    config: Arc<Config>,
    load: Arc<Load>,
    telemetry: Arc<Telemetry>,
    policies: watch::Sender<Arc<Edition>>,
    hangup: Signal,
    /// The files and folders to look at, as the configuration names them that was loaded last.
    sources: Vec<PathBuf>,
    files: Files,
    /// Why what is there was refused.
    refused: Option<String>,
}

/// What files hold, as a hash: when they were looked at last, and when they were loaded last.
#[derive(Default)]
struct Files {
    seen: Option<u64>,
    loaded: Option<u64>,
}

/// Between two looks, which read all files. The system would tell of changes, but of each way to make one in another way, and
/// on a network's file system not at all.
const LOOK: Duration = Duration::from_secs(1);
/// Looks take one part of so many of the time at most, however many files there are.
const SHARE: u32 = 50;

// === impl Reload ===

impl Reload {
    /// With where workers learn of the policies.
    ///
    /// # Errors
    /// The system has no signals.
    pub fn new(
        config: Arc<Config>,
        load: Load,
        telemetry: Arc<Telemetry>,
    ) -> anyhow::Result<(Self, watch::Receiver<Arc<Edition>>)> {
        let (policies, receiver) = watch::channel(Arc::new(Edition::first(config.policies.clone())));
        let reload = Self {
            sources: config.sources.clone(),
            config,
            load: Arc::new(load),
            telemetry,
            policies,
            hangup: signal(SignalKind::hangup())?,
            // Nothing is known of the files: what changed since the start is found by loading them once more.
            files: Files::default(),
            refused: None,
        };
        Ok((reload, receiver))
    }

    pub async fn run(mut self) {
        let mut pause = LOOK;
        loop {
            let asked = tokio::select! {
                Some(()) = self.hangup.recv() => true,
                () = sleep(pause) => false,
            };
            let begun = Instant::now();
            if let Err(panic) = self.look(asked).await {
                tracing::error!("the policies cannot be looked at, and those in force stay: {panic}");
            }
            pause = LOOK.max(begun.elapsed() * SHARE);
        }
    }

    async fn look(&mut self, asked: bool) -> Result<(), JoinError> {
        if let Some(pipe) = self.sources.iter().find(|path| is_read_once(path)) {
            if asked {
                self.refuse(&format!("{} can be read once only: that takes a restart", pipe.display()));
            }
            return Ok(());
        }
        let sources = self.sources.clone();
        let held = spawn_blocking(move || config::contents(&sources)).await?;
        let settled = self.files.settle(held);
        // What is wrong may be in a file that is named since: it is in no list.
        if !(asked || settled || self.refused.is_some()) {
            return Ok(());
        }
        self.files.loaded = Some(held);
        let load = self.load.clone();
        match spawn_blocking(move || load()).await? {
            Ok(config) => self.take(config, asked),
            Err(mistakes) => {
                let mistakes = mistakes.to_string();
                if asked || self.refused.as_ref() != Some(&mistakes) {
                    self.refuse(&mistakes);
                }
                self.refused = Some(mistakes);
            }
        }
        Ok(())
    }

    fn take(&mut self, config: Config, asked: bool) {
        let told = self.refused.take().is_some() || asked;
        let others = self.config.differences(&config);
        if !others.is_empty() {
            tracing::warn!(
                "the configuration says otherwise than at the start: {}. That takes a restart",
                others.join(", ")
            );
        }
        self.sources = config.sources;
        let before = self.policies.borrow().clone();
        let (hash, hash_before) = (config.policies.fingerprint(), before.policies.fingerprint());
        if hash == hash_before {
            if told {
                tracing::info!("the policies are loaded again, and say nothing new: {hash}");
            }
            return;
        }
        match before.next(config.policies) {
            Ok(edition) => {
                tracing::info!(
                    "policies are loaded: {hash} ({} policies), after {hash_before}. Traces are judged by them that begin \
                     from now on",
                    edition.policies.policies().len()
                );
                self.telemetry.reloaded(true);
                self.policies.send_replace(Arc::new(edition));
            }
            Err(full) => self.refuse(&format!("{full}: that takes a restart")),
        }
    }

    fn refuse(&self, why: &str) {
        self.telemetry.reloaded(false);
        let hash = self.policies.borrow().policies.fingerprint();
        tracing::error!("the policies are refused, and {hash} stay in force:\n{why}");
    }
}

/// A pipe or the like: what it held is gone, and to wait for more could be for ever.
fn is_read_once(path: &Path) -> bool {
    path.exists() && !path.is_file() && !path.is_dir()
}

// === impl Files ===

impl Files {
    /// Whether what they hold is to be loaded: it is new, and was there at the last look too, for whoever writes a file may
    /// be halfway through.
    fn settle(&mut self, held: u64) -> bool {
        let stands = self.seen.replace(held) == Some(held);
        stands && self.loaded != Some(held)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_stands_still_is_loaded_once() {
        let mut files = Files::default();
        assert!(!files.settle(1) && files.settle(1));
        files.loaded = Some(1);
        assert!(!files.settle(1) && !files.settle(2) && !files.settle(3), "it is being written");
        assert!(files.settle(3));
        files.loaded = Some(3);
        assert!(!files.settle(1) && files.settle(1), "what it was before is new again");
    }

    #[test]
    fn only_files_and_folders_are_read_again() {
        use std::os::fd::AsRawFd;

        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let pipe = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
        assert!(is_read_once(&pipe));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.yaml");
        assert!(!is_read_once(folder.path()) && !is_read_once(&file), "what is missing may come");
        fs::write(&file, "").expect("a file");
        assert!(!is_read_once(&file));
    }

    #[test]
    fn every_way_to_change_a_file_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let paths = [at("mounted"), at("single.yaml"), at("not-there.yaml")];
        // As Kubernetes mounts it: links by way of a link that is swapped.
        for version in ["1", "2"] {
            fs::create_dir_all(at("mounted").join(version)).expect("a folder");
            fs::write(at("mounted").join(version).join("a.yaml"), version).expect("a file");
        }
        symlink("1", at("mounted/..data")).expect("a link");
        symlink("..data/a.yaml", at("mounted/a.yaml")).expect("a link");
        fs::write(at("single.yaml"), "a").expect("a file");
        let mut known = vec![config::contents(&paths)];
        let mut is_new = |what: &str| {
            let held = config::contents(&paths);
            assert_eq!(held, config::contents(&paths));
            assert!(!known.contains(&held), "{what}");
            known.push(held);
        };
        symlink("2", at("mounted/..next")).expect("a link");
        fs::rename(at("mounted/..next"), at("mounted/..data")).expect("a swap");
        is_new("a swap");
        fs::write(at("single.yaml"), "b").expect("a file");
        is_new("a write");
        fs::write(at("moved"), "c").expect("a file");
        fs::rename(at("moved"), at("single.yaml")).expect("a rename");
        is_new("a rename");
        fs::write(at("mounted/b.yaml"), "").expect("a file");
        is_new("one more");
        fs::remove_file(at("mounted/b.yaml")).expect("it is there");
        fs::remove_file(at("single.yaml")).expect("it is there");
        is_new("one less");
        fs::write(at("not-there.yaml"), "").expect("a file");
        is_new("one that was missed");
    }
}
