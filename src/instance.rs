//! The name of a process among those of its group, the same after a restart.

use std::{
    env, fmt,
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
};

/// A process's name, for as long as this is held.
///
/// Transactions are named after it. A worker that comes back under its old name ends the transaction its predecessor left
/// open; under a new one it would be left to time out, and all readers of the output would wait. Two processes under one
/// name would stop each other: a name is the host's and a lock's on it. Containers have a host name each; if they share
/// one (host networking), they must share the folder for temporary files too.
#[derive(Debug)]
pub struct Instance {
    group: String,
    host: String,
    slot: String,
    /// Held, not read: it is the lock on the slot, which the system gives back however the process ends.
    _lock: Option<File>,
}

/// Processes of one group on one host. A process uses as many cores as there are: a second one is an exception.
const SLOTS: usize = 64;

// === impl Instance ===

impl Instance {
    /// Takes the first name that no other process on this host has.
    ///
    /// Where no slot can be locked (the folder for temporary files is not writable, or all are taken), the process id is
    /// the name, and a warning says what that costs.
    pub fn claim(group: &str) -> Self {
        Self::claim_in(&env::temp_dir(), group)
    }

    /// The `transactional.id` of a worker, by its number or name: `<group>/<host>/<slot>/<worker>`. It begins with the group, as the names of
    /// internal topics do, so that one prefix is enough for a broker's access rules.
    pub fn transactional_id(&self, worker: impl fmt::Display) -> String {
        let Self { group, host, slot, .. } = self;
        format!("{group}/{host}/{slot}/{worker}")
    }

    fn claim_in(folder: &Path, group: &str) -> Self {
        let host = host();
        let (slot, lock) = match lock_first(folder, group) {
            Ok((slot, lock)) => (slot.to_string(), Some(lock)),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "no lock file in {}: after a restart, readers of the output wait until the transactions of this \
                     process have timed out",
                    folder.display()
                );
                (format!("process-{}", std::process::id()), None)
            }
        };
        Self { group: group.to_owned(), host, slot, _lock: lock }
    }
}

/// The `transactional.id` of who only tries transactions out, which is none of a worker's.
pub fn preflight_id(group: &str) -> String {
    format!("{group}/{}/preflight", host())
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The first slot that is free, or why the last was not.
fn lock_first(folder: &Path, group: &str) -> io::Result<(usize, File)> {
    let mut last = io::Error::from(io::ErrorKind::WouldBlock);
    for slot in 0..SLOTS {
        match lock(&folder.join(format!("tailwater-{group}-{slot}.lock"))) {
            Ok(lock) => return Ok((slot, lock)),
            // Another user's file, which cannot be opened, is as good as taken.
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::new(io::ErrorKind::WouldBlock, "all slots are taken"),
        TryLockError::Error(error) => error,
    })?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_slot_is_one_process_s_and_free_again_after_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let claim = |group| Instance::claim_in(folder.path(), group);
        let (first, second, other) = (claim("g"), claim("g"), claim("h"));
        assert_eq!([&first.slot, &second.slot, &other.slot], ["0", "1", "0"]);
        drop(first);
        let third = claim("g");
        assert_eq!(third.slot, "0");
        assert!(folder.path().join("tailwater-g-1.lock").exists());
    }

    #[test]
    fn workers_and_processes_have_ids_of_their_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let claim = |group| Instance::claim_in(folder.path(), group);
        let (first, second) = (claim("g"), claim("g"));
        let host = first.host.clone();
        assert!(!host.is_empty());
        assert_eq!(first.transactional_id(0), format!("g/{host}/0/0"));
        assert_eq!(first.transactional_id(3), format!("g/{host}/0/3"));
        assert_eq!(second.transactional_id(0), format!("g/{host}/1/0"));
    }

    #[test]
    fn without_a_slot_the_process_id_is_the_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let nowhere = Instance::claim_in(&folder.path().join("missing"), "g");
        assert_eq!(nowhere.slot, format!("process-{}", std::process::id()));
        let all: Vec<_> = (0..SLOTS).map(|_| Instance::claim_in(folder.path(), "g")).collect();
        assert_eq!(all[SLOTS - 1].slot, "63");
        assert_eq!(Instance::claim_in(folder.path(), "g").slot, nowhere.slot);
    }

    #[test]
    fn what_cannot_be_opened_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("tailwater-g-0.lock")).expect("a folder in the way");
        assert_eq!(Instance::claim_in(folder.path(), "g").slot, "1");
    }
}
