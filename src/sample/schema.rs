//! Sampler state as it is written.

use prost::Message;

/// Of one key in one partition.
#[derive(Clone, PartialEq, Message)]
pub struct Slowest {
    /// 1. A reader refuses any other: fields may mean something else there.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The number of the window that is under way.
    #[prost(sint64, tag = "2")]
    pub window: i64,
    #[prost(message, optional, tag = "3")]
    pub current: Option<Sketch>,
    #[prost(uint64, tag = "4")]
    pub chosen: u64,
    #[prost(message, optional, tag = "5")]
    pub previous: Option<Sketch>,
    #[prost(message, optional, tag = "6")]
    pub older: Option<Sketch>,
    #[prost(double, tag = "7")]
    pub doubt: f64,
}

/// Of the gaps of one operation in one partition.
#[derive(Clone, PartialEq, Message)]
pub struct Quiet {
    /// 1. A reader refuses any other: fields may mean something else there.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// Record times of the first and the last lesson.
    #[prost(sint64, tag = "2")]
    pub since: i64,
    #[prost(sint64, tag = "3")]
    pub until: i64,
    #[prost(message, optional, tag = "4")]
    pub current: Option<Generation>,
    #[prost(message, optional, tag = "5")]
    pub previous: Option<Generation>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Generation {
    #[prost(message, optional, tag = "1")]
    pub whole: Option<Sketch>,
    #[prost(message, optional, tag = "2")]
    pub torn: Option<Sketch>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Sketch {
    #[prost(uint32, tag = "1")]
    pub fineness: u32,
    #[prost(uint64, tag = "2")]
    pub count: u64,
    #[prost(uint64, tag = "3")]
    pub marked: u64,
    #[prost(uint32, tag = "4")]
    pub floor: u32,
    /// From the index of each bucket down to that of the next, the highest first.
    #[prost(uint32, repeated, tag = "5")]
    pub steps: Vec<u32>,
    #[prost(uint32, repeated, tag = "6")]
    pub counts: Vec<u32>,
    /// Empty where nothing is marked.
    #[prost(uint32, repeated, tag = "7")]
    pub marks: Vec<u32>,
}
