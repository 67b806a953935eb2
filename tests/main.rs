//! One binary: the real program on a real Kafka, judged by a decoder that shares no code with it.

mod bad_input;
mod ceilings;
mod collector;
mod command_line;
mod crash;
mod demo;
mod dry_run;
mod end_to_end;
mod estimate;
mod expired;
mod faults;
mod follow;
mod harness;
mod layers;
mod lifecycle;
mod manual;
mod metrics;
mod outliers;
mod partitions;
mod preflight;
mod rekey;
mod reload;
mod security;
mod support;
mod time;
mod tools;
