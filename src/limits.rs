//! Bounds that are not configuration, each with its reason.

/// The largest record taken in, in bytes. Brokers default to 1 MiB and are rarely set above 16 MiB; a larger one goes to
/// the dead letters as a pointer, so that one record cannot fill a small byte budget (16 MiB at least).
pub const RECORD_BYTES: usize = 8 << 20;

/// Spans, scopes and resources of one record, all together. An empty one takes 2 bytes on the wire and a hundred here, so
/// without a bound 8 MiB become a gigabyte. A span of a real trace is hardly ever below 128 bytes. So the scratch space of
/// the record in hand, which is beside the budget, is at most twice `RECORD_BYTES`, and three times for a record in JSON.
pub const RECORD_PARTS: usize = 1 << 16;

/// Bytes a span may cost in memory beside its payload: its entry, its item's header, and a share of the tables, all
/// rounded up. Used to make room before a record is taken in.
pub const SPAN_OVERHEAD: usize = 256;

/// Of these, what stands beside its payload and not in a table.
pub const SPAN_HEADER: usize = 32;

/// The least share of `memory.buffer` a worker can work with: its other bounds are parts of it, and below, tables and ticks
/// leave no room for traces.
pub const WORKER_BUFFER: u64 = 16 << 20;

/// Bytes a resource or scope may cost in memory beside its fields and what policies make of it: its entry and a share of
/// the tables.
pub const ENVELOPE_OVERHEAD: usize = 256;

/// Milliseconds by which the clock of a partition may be ahead of the wall clock (C11).
pub const AHEAD: u64 = 1000;
