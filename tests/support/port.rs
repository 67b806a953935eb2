//! TCP ports nobody listens on.

use std::net::TcpListener;

/// Different ones, taken all at once. Another process may take one before it is used.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}
