//! What the benchmarks and the allocation test share: records, policies, a counting allocator, and what drives the core.
#![allow(dead_code, unused_imports, reason = "every user takes a part of it")]

pub mod cases;
pub mod counting;
pub mod feed;
pub mod instructions;
pub mod partitions;
pub mod policies;
pub mod records;

pub use cases::Case;
pub use counting::Counting;
pub use feed::Feed;
pub use records::{Form, Records};
