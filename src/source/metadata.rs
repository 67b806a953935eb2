//! What rides along with a committed offset (C6).

use std::fmt;

/// The metadata of an offset commit: `format:clock`.
///
/// Format 0 knows no decision log: the committed offset W is also the position P, so everything from W on is read and
/// decided again after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The partition's clock, in milliseconds since the Unix epoch.
    pub clock: Option<i64>,
}

// === impl Metadata ===

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0:")?;
        self.clock.map_or(Ok(()), |clock| write!(f, "{clock}"))
    }
}
