//! A way to the broker that can be cut.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

/// A port that is ours from the start, so that nobody can take it while the way is cut. Whoever connects then is turned
/// away at once.
pub struct Way {
    pub port: u16,
    pub target: u16,
    /// The connections that lead through; None while the way is cut.
    streams: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

/// The way is open for as long as this lives; its end cuts every connection.
pub struct Open<'way>(&'way Way);

// === impl Way ===

impl Way {
    /// Cut, for now.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let streams = Arc::new(Mutex::new(None));
        thread::spawn({
            let streams = streams.clone();
            move || {
                for near in listener.incoming() {
                    // Under the lock: a way that is cut meanwhile cuts this connection too.
                    let Some(open) = &mut *lock(&streams) else { continue };
                    if let Err(error) = near.and_then(|near| pass_on(near, target, open)) {
                        eprintln!("the way to {target}: {error}");
                    }
                }
            }
        });
        Self { port, target, streams }
    }

    pub fn open(&self) -> Open<'_> {
        let before = lock(&self.streams).replace(Vec::new());
        assert!(before.is_none(), "the way is open already");
        Open(self)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        for stream in lock(&self.0.streams).take().into_iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass_on(near: TcpStream, target: u16, streams: &mut Vec<TcpStream>) -> io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", target))?;
    streams.extend([near.try_clone()?, far.try_clone()?]);
    for (mut from, mut to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
