//! Traffic that looks like a shop's, with the truth about it: for the demo, the tests and the benchmarks.
//!
//! Pure and seeded: no clock, no I/O. [`Traffic`] draws traces and says of each what is true, from what it decided and never
//! from its own bytes; [`keyed`] and [`batched`] cut traces into the records that agents would send.
//!
//! ```text
//! let truths = RefCell::new(Vec::new());
//! let traces = Traffic::new(7, Shape::default()).take(60_000).inspect(|t| truths.borrow_mut().push((t.id, t.truth.clone())));
//! for record in keyed(traces) { /* send record.key and record.value at record.at_ms */ }
//! ```

pub mod envelope;
pub mod otlp;
mod records;
mod shop;
mod traffic;
mod workflow;
mod write;

pub use envelope::{Carried, carried};
pub use records::{Record, batched, keyed};
pub use traffic::{Origin, Shape, Span, SpanTruth, Trace, Traffic, Truth};
