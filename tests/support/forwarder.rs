//! A way to the broker that can be cut.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Passes connections on for as long as it lives; dropping it cuts them and refuses more.
pub struct Forwarder {
    port: u16,
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    accepting: Option<thread::JoinHandle<()>>,
}

impl Forwarder {
    pub fn open(port: u16, target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the forwarder's port is free");
        let cut = Arc::new(AtomicBool::new(false));
        let streams = Arc::new(Mutex::new(Vec::new()));
        let accepting = thread::spawn({
            let (cut, streams) = (cut.clone(), streams.clone());
            move || {
                for near in listener.incoming() {
                    if cut.load(Ordering::SeqCst) {
                        break;
                    }
                    if let Err(error) = near.and_then(|near| pass_on(near, target, &streams)) {
                        eprintln!("forwarder: {error}");
                    }
                }
            }
        });
        Self { port, cut, streams, accepting: Some(accepting) }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.cut.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in self.streams.lock().expect("no panic under this lock").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass_on(near: TcpStream, target: u16, streams: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", target))?;
    streams.lock().expect("no panic under this lock").extend([near.try_clone()?, far.try_clone()?]);
    for (mut from, mut to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}
