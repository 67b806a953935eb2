//! TCP ports nobody listens on.

use std::{
    net::TcpListener,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// Below those that systems give to connections that do not ask for one (Linux: from 32768 on): between being found free here and
/// being listened on, one of those could be given to any client.
const FIRST: u16 = 20_000;
const PORTS: u16 = 12_000;

/// No two calls of this process give the same. Another process, which began somewhere else, may take one before it is used.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(..PORTS)));
    let next = || FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
    std::array::from_fn(|_| {
        (0..PORTS).map(|_| next()).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
    })
}
