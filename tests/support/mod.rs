//! The real broker, the real program, and a judge that shares no code with it.

pub mod acl;
mod certificates;
pub mod collector;
pub mod command;
pub mod kafka;
pub mod leash;
pub mod load;
pub mod log;
pub mod observer;
pub mod oracle;
mod port;
pub mod processor;
pub mod seed;
pub mod siege;
pub mod spans;
pub mod stream;
pub mod traffic;
pub mod wait;
pub mod way;
mod witness;

pub use witness::witness;
