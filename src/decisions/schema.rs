//! The records of the decision log, as messages. `decisions.proto` says the same for other programs; a test compares.

/// A record: decisions that one worker made between two commits on traces of one partition.
///
/// The log of an input topic has as many partitions, and the decisions on a trace are in every one from whose counterpart
/// a span of it came. A trace is there again when its verdict was renewed for a late span; the verdict is the same.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Decisions {
    /// 1. A reader should refuse any other: fields may mean something else there.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// Chosen at random at the start of a worker, to tell its ticks from those of others.
    #[prost(fixed64, tag = "2")]
    pub incarnation: u64,
    /// Counts the commits of a worker. What does not fit into one record is in several of the same tick.
    #[prost(uint64, tag = "3")]
    pub tick: u64,
    /// The names of the policies that the decisions of this record are due to, each once.
    #[prost(string, repeated, tag = "4")]
    pub policies: Vec<String>,
    /// In the order they were made. At least one.
    #[prost(message, repeated, tag = "5")]
    pub decisions: Vec<Decision>,
    /// Hashes of the policies as they are written, of each policy set that was asked, each once. 0 where it is not known; none
    /// in what earlier versions wrote.
    #[prost(fixed32, repeated, tag = "6")]
    pub sets: Vec<u32>,
}

/// The verdict on one trace.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Decision {
    /// 16 bytes, not all zero.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// Whether the trace goes to the output.
    #[prost(bool, tag = "2")]
    pub keep: bool,
    /// The policy it is due to, or the group whose `otherwise` it is: 1 for the first of `policies`, and so on. 0 if it is due
    /// to the `otherwise` of all.
    #[prost(uint32, tag = "3")]
    pub policy: u32,
    /// Why the trace was decided when it was.
    #[prost(enumeration = "Reason", tag = "4")]
    pub reason: i32,
    /// The sampling threshold, from 0 to 2^56: of all traces alike, those are kept whose 56 bits of randomness reach it.
    /// Where it is missing, all were kept or all dropped, as `keep` says: 0 or 2^56. 2^56 of a trace that is kept: it goes with
    /// one of a sample (`follow`), and stands for no others.
    #[prost(uint64, optional, tag = "5")]
    pub threshold: Option<u64>,
    /// In milliseconds since the Unix epoch, by the timestamps of the input's records. The largest value if the input had
    /// ended.
    #[prost(sint64, tag = "6")]
    pub decided_at: i64,
    /// The spans of the trace so far.
    #[prost(uint32, tag = "7")]
    pub spans: u32,
    /// The policy set that was asked: 0 for the first of `sets`, and so on.
    #[prost(uint32, tag = "8")]
    pub set: u32,
    /// Of a trace that is kept by a policy whose sampler counts what it keeps: where the trace stood then.
    #[prost(message, optional, tag = "9")]
    pub rank: Option<Rank>,
}

/// How far down a trace was among those that a sampler keeps of its kind.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Rank {
    /// Those before it: that are beyond it in the window (`slowest`), or were kept before it in the period (`rare`).
    #[prost(uint32, tag = "1")]
    pub before: u32,
    /// How many are kept of them.
    #[prost(uint32, tag = "2")]
    pub most: u32,
}

/// Why a trace was decided when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Reason {
    /// Never written.
    Unspecified = 0,
    /// The root had ended, no parent was missing, and the quiet period had passed.
    Structure = 1,
    /// `completion.max_wait` had passed.
    MaxWait = 2,
    /// The trace had outgrown `completion.max_trace_bytes`.
    Size = 3,
    /// `memory.buffer` was full, and the trace was the oldest.
    Memory = 4,
    /// The input had ended.
    End = 5,
    /// The root had ended, a parent was missing, and a learned quiet period had passed (`completion.quiet: auto`).
    Torn = 6,
}
