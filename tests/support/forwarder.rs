//! The name by which `lifecycle` knows a [`Way`](super::way::Way).

use super::{kafka::kafka, way::Open};

pub struct Forwarder;

impl Forwarder {
    /// Opens the broker's way outside, which is the only one.
    pub fn open(_port: u16, _target: u16) -> Open<'static> {
        kafka().outside.open()
    }
}
