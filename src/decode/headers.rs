//! What stands beside a record's value.

/// The topic and the headers of a record, looked at only where a policy asks.
pub trait Headers {
    /// The topic it came in by; None where nobody says.
    fn topic(&self) -> Option<&[u8]>;

    /// The value of the first header of this key; None where there is none, or it is null.
    fn header(&self, key: &str) -> Option<&[u8]>;
}

/// Of a record of which only the value is known.
impl Headers for () {
    fn topic(&self) -> Option<&[u8]> {
        None
    }

    fn header(&self, _: &str) -> Option<&[u8]> {
        None
    }
}
