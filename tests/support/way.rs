//! A way to the broker that can be cut, and on which requests can be held back.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// A port that is ours from the start, so that nobody can take it while the way is cut. Whoever connects then is turned
/// away at once.
pub struct Way {
    pub port: u16,
    /// The connections that lead through; None while the way is cut.
    streams: Arc<Mutex<Option<Vec<TcpStream>>>>,
    gate: Arc<Gate>,
}

/// A kind of request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Produce,
    /// For records that are read again.
    Recall,
    AddOffsetsToTxn,
    EndTxn,
}

/// The way is open for as long as this lives; its end cuts every connection.
pub struct Open<'way>(&'way Way);

/// For as long as this lives, a connection stops at its next request of a kind. At the end the request goes on, though its client
/// may be gone.
pub struct Held<'way>(&'way Gate);

/// Where requests wait, and bytes are counted.
#[derive(Default)]
struct Gate {
    /// The kind that does not pass, and how many have come.
    closed: Mutex<Option<(Request, usize)>>,
    opened: Condvar,
    /// Bytes of requests, and of answers.
    passed: [AtomicU64; 2],
}

/// To where answers go, counted as they do.
struct Counted<'a>(&'a mut TcpStream, &'a AtomicU64);

// === impl Way ===

impl Way {
    /// Cut, for now.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let streams = Arc::new(Mutex::new(None));
        let gate = Arc::new(Gate::default());
        thread::spawn({
            let (streams, gate) = (streams.clone(), gate.clone());
            move || {
                for near in listener.incoming() {
                    // Under the lock: a way that is cut meanwhile cuts this connection too.
                    let Some(open) = &mut *lock(&streams) else { continue };
                    if let Err(error) = near.and_then(|near| pass_on(near, target, open, &gate)) {
                        eprintln!("the way to {target}: {error}");
                    }
                }
            }
        });
        Self { port, streams, gate }
    }

    /// What a client on it starts from.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn open(&self) -> Open<'_> {
        let before = lock(&self.streams).replace(Vec::new());
        assert!(before.is_none(), "the way is open already");
        Open(self)
    }

    pub fn hold(&self, request: Request) -> Held<'_> {
        let before = lock(&self.gate.closed).replace((request, 0));
        assert!(before.is_none(), "requests are held back already");
        Held(&self.gate)
    }

    /// Bytes of requests, and of answers, over all connections that there ever were.
    pub fn passed(&self) -> [u64; 2] {
        self.gate.passed.each_ref().map(|bytes| bytes.load(Ordering::Relaxed))
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        for stream in lock(&self.0.streams).take().into_iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

// === impl Held ===

impl Held<'_> {
    /// Whether a request has come.
    pub fn is_reached(&self) -> bool {
        lock(&self.0.closed).is_some_and(|(_, waiting)| waiting > 0)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *lock(&self.0.closed) = None;
        self.0.opened.notify_all();
    }
}

// === impl Request ===

impl Request {
    /// By its head in Kafka's protocol: two bytes are the kind, two the version, four a number, and then its client says who it is. None
    /// of what is never held back.
    fn of(head: &[u8]) -> Option<Self> {
        let (kind, rest) = head.split_first_chunk()?;
        let (length, rest) = rest.get(6..)?.split_first_chunk()?;
        let client = rest.get(..u16::from_be_bytes(*length).into()).unwrap_or_default();
        match i16::from_be_bytes(*kind) {
            0 => Some(Self::Produce),
            1 if client.ends_with(b"-recall") => Some(Self::Recall),
            25 => Some(Self::AddOffsetsToTxn),
            26 => Some(Self::EndTxn),
            _ => None,
        }
    }
}

// === impl Gate ===

impl Gate {
    fn pass(&self, request: Request) {
        let is_held = |closed: &mut Option<(Request, usize)>| closed.is_some_and(|(held, _)| held == request);
        let mut closed = lock(&self.closed);
        if is_held(&mut closed) {
            *closed = closed.map(|(held, waiting)| (held, waiting + 1));
            drop(self.opened.wait_while(closed, is_held));
        }
    }
}

fn pass_on(near: TcpStream, target: u16, streams: &mut Vec<TcpStream>, gate: &Arc<Gate>) -> io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", target))?;
    streams.extend([near.try_clone()?, far.try_clone()?]);
    let (mut requests, mut answers) = ([near.try_clone()?, far.try_clone()?], [far, near]);
    thread::spawn({
        let gate = gate.clone();
        move || {
            let [from, to] = &mut requests;
            let _ = pass_requests(from, to, &gate);
            let _ = to.shutdown(Shutdown::Both);
        }
    });
    let gate = gate.clone();
    thread::spawn(move || {
        let [from, to] = &mut answers;
        let _ = io::copy(from, &mut Counted(to, &gate.passed[1]));
        let _ = to.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// One by one, until there are no more: a length, then as much.
fn pass_requests(from: &mut TcpStream, to: &mut TcpStream, gate: &Gate) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        from.read_exact(&mut request)?;
        if let Some(request) = Request::of(&request) {
            gate.pass(request);
        }
        let request = [&length, &request[..]].concat();
        to.write_all(&request)?;
        gate.passed[0].fetch_add(request.len() as u64, Ordering::Relaxed);
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.1.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
