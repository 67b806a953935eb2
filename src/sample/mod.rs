//! Samplers that remember: whether one more trace of a kind is kept depends on what came before it.
//!
//! Part of the pure core: no clock, no lock, no I/O. Time is a partition's record time, which may stand still or leap. A
//! sampler's state belongs to one partition and is written with what it decided; what other partitions do is heard of in
//! [`Summary`]s, some ticks late. [`docs/sampling.md`](../../docs/sampling.md) says what each sampler promises.

mod account;
pub mod adaptive;
mod allowances;
mod bucket;
pub mod budget;
pub mod candidate;
pub mod ceiling;
pub mod coverage;
mod demand;
pub mod fair;
pub mod follow;
pub mod keys;
pub mod known;
mod malformed;
pub mod operations;
mod others;
mod pack;
pub mod quiet;
pub mod rare;
pub mod rate;
pub mod schema;
pub mod share;
pub mod sketch;
pub mod slowest;
mod states;
pub mod trail;
pub mod waits;

pub use account::Account;
pub use adaptive::Adaptive;
pub use candidate::Candidate;
pub use ceiling::Ceiling;
pub use follow::Follow;
pub use malformed::Malformed;
use others::Others;
pub use quiet::{Periods, Quiet};
pub use rare::Rare;
pub use share::{Share, Shares, Summary};
pub use slowest::Slowest;
pub use states::{Learned, Measured, Name, Over, Rank, Rule, States};
pub use trail::{Forms, Gaps, Link, Trail};
pub use waits::{Wait, Waits};
