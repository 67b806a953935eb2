use std::fmt;
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata { pub incarnation: u64, pub tick: u64, pub position: i64, pub floor: i64, pub last: Option<i64>, pub clock: Option<i64> }
impl fmt::Display for Metadata { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "1:") } }
impl Metadata { pub fn parse(_: &str, committed: i64) -> Result<Self, String> { Ok(Self { position: committed, ..Self::default() }) } }
